/* pool.c - laying out a pool, and finding its free objects again from the objects alone.
 * In: memory carved from the arena.  Out: an empty pool that has touched none of it.
 * Owns: nothing; the objects and the stack of free indices belong to the pool's core. */
#include "mem/pool.h"

static size_t objects_bytes(uint32_t capacity, uint32_t stride)
{
	return ALIGN_UP((size_t)capacity * stride, (size_t)CACHE_LINE);
}

size_t pool_bytes(uint32_t capacity, uint32_t stride)
{
	CHECK(stride > 0 && stride % 8 == 0);
	return objects_bytes(capacity, stride) + ALIGN_UP(capacity * sizeof(uint32_t), (size_t)CACHE_LINE);
}

/* Only the struct is written: ten million blocks become memory as they are taken. */
void pool_init(struct pool *pool, void *memory, uint32_t capacity, uint32_t stride)
{
	uint8_t *objects = memory;

	CHECK(stride > 0 && stride % 8 == 0);
	CHECK(capacity < POOL_NONE);
	CHECK((uintptr_t)memory % CACHE_LINE == 0);
	*pool = (struct pool){
		.objects = objects,
		.free_stack = (uint32_t *)(void *)(objects + objects_bytes(capacity, stride)),
		.stride = stride,
		.capacity = capacity,
	};
}

/* Goes downwards, so that the lowest free index is taken first and the live
 * objects stay close together. */
void pool_rebuild(struct pool *pool, uint32_t fresh, bool (*live)(void *context, const void *object),
		  void *context)
{
	CHECK(fresh <= pool->capacity);
	pool->fresh = fresh;
	pool->free_count = 0;
	for (uint32_t index = fresh; index-- > 0;) {
		if (!live(context, pool_at(pool, index)))
			pool->free_stack[pool->free_count++] = index;
	}
}
