/* pool.h - fixed-size objects in one piece of arena, owned by one core.
 *
 * Objects are named by a 32-bit index. The free ones lie on a stack of indices
 * beside the objects, so that taking one touches no cold memory, and those never
 * taken are not even touched at start.
 * Invariant: free_count + live == fresh <= capacity (objects below `fresh` have
 * been taken at least once). */
#ifndef C10M_MEM_POOL_H
#define C10M_MEM_POOL_H

#include "base/check.h"

#define POOL_NONE UINT32_MAX

struct pool {
	uint8_t *objects;
	uint32_t *free_stack;
	uint32_t stride;     /* bytes from one object to the next */
	uint32_t capacity;   /* objects */
	uint32_t fresh;      /* objects that were ever taken */
	uint32_t free_count; /* indices on free_stack */
	uint64_t exhausted;  /* times pool_take found nothing */
};

/* Bytes of arena that pool_init will use; stride is a multiple of 8. */
size_t pool_bytes(uint32_t capacity, uint32_t stride);
/* memory: cache-line aligned, pool_bytes long; it need not be zero. */
void pool_init(struct pool *pool, void *memory, uint32_t capacity, uint32_t stride);

PURE_INLINE void *pool_at(const struct pool *pool, uint32_t index)
{
	CHECK(index < pool->capacity);
	return pool->objects + (size_t)index * pool->stride;
}

PURE_INLINE uint32_t pool_live(const struct pool *pool)
{
	return pool->fresh - pool->free_count;
}

PURE_INLINE uint32_t pool_room(const struct pool *pool)
{
	return pool->capacity - pool_live(pool);
}

/* The two lines that are written first. A store that misses holds up all stores behind it. */
PURE_INLINE void pool_prefetch(const struct pool *pool, uint32_t index)
{
	const uint8_t *object = pool->objects + (size_t)index * pool->stride;

	PREFETCH_WRITE(object);
	if (pool->stride > CACHE_LINE)
		PREFETCH_WRITE(object + CACHE_LINE);
}

/* POOL_NONE when it is empty. The object's content is undefined. */
PURE_INLINE uint32_t pool_take(struct pool *pool)
{
	if (likely(pool->free_count > 0)) {
		uint32_t index = pool->free_stack[--pool->free_count];

		if (pool->free_count > 4)
			pool_prefetch(pool, pool->free_stack[pool->free_count - 4]);
		return index;
	}
	if (likely(pool->fresh < pool->capacity))
		return pool->fresh++;
	pool->exhausted++;
	return POOL_NONE;
}

/* Whether it is one of the last that were given back: what is given back twice mostly is so at once. */
PURE_INLINE bool pool_given_lately(const struct pool *pool, uint32_t index)
{
	uint32_t end = pool->free_count, i = end - MIN_OF(end, 64u);

	while (i < end && pool->free_stack[i] != index)
		i++;
	return i < end;
}

PURE_INLINE void pool_give(struct pool *pool, uint32_t index)
{
	CHECK(index < pool->fresh && pool->free_count < pool->fresh);
	CHECK_SLOW(!pool_given_lately(pool, index));
	pool->free_stack[pool->free_count++] = index;
}

/* Rebuilds the free stack: live(context, object) says which objects are in use. */
void pool_rebuild(struct pool *pool, uint32_t fresh, bool (*live)(void *context, const void *object),
		  void *context);

#endif
