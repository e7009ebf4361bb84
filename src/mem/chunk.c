/* chunk.c - taking and giving back data chunks of three sizes.
 * In: how many bytes are to be kept.  Out: the id of a chunk, charged at its true size.
 * Owns: three pools, one behind the other in one piece of arena. */
#include "mem/chunk.h"

#define CHUNK_INDEX_BITS 30

const uint32_t chunk_class_bytes[CHUNK_CLASSES] = {128, 512, 2048};

size_t chunk_pool_bytes(const struct chunk_config *config)
{
	size_t bytes = 0;

	for (unsigned class = 0; class < CHUNK_CLASSES; class ++)
		bytes += pool_bytes(config->count[class], chunk_class_bytes[class]);
	return bytes;
}

void chunk_pool_init(struct chunk_pool *chunks, void *memory, const struct chunk_config *config)
{
	uint8_t *next = memory;

	for (unsigned class = 0; class < CHUNK_CLASSES; class ++) {
		CHECK(config->count[class] < 1u << CHUNK_INDEX_BITS);
		pool_init(&chunks->classes[class], next, config->count[class], chunk_class_bytes[class]);
		next += pool_bytes(config->count[class], chunk_class_bytes[class]);
	}
	chunks->bytes_live = 0;
}

static unsigned class_for(uint32_t bytes)
{
	unsigned class = 0;

	while (class < CHUNK_CLASSES - 1 && chunk_class_bytes[class] - CHUNK_HEADER_BYTES < bytes)
		class ++;
	return class;
}

static uint32_t take_from(struct chunk_pool *chunks, unsigned class)
{
	uint32_t index = pool_take(&chunks->classes[class]);
	struct chunk *chunk;

	if (unlikely(index == POOL_NONE))
		return CHUNK_NONE;
	chunk = pool_at(&chunks->classes[class], index);
	chunk->next = CHUNK_NONE;
	chunk->seq = 0;
	chunk->start = 0;
	chunk->bytes = 0;
	chunk->note = 0;
	chunk->mark = 0;
	chunks->bytes_live += chunk_class_bytes[class];
	return class << CHUNK_INDEX_BITS | index;
}

uint32_t chunk_take(struct chunk_pool *chunks, uint32_t bytes)
{
	unsigned best = class_for(bytes);
	uint32_t id = CHUNK_NONE;

	for (unsigned class = best; class < CHUNK_CLASSES && id == CHUNK_NONE; class ++)
		id = take_from(chunks, class);
	for (unsigned class = best; class -- > 0 && id == CHUNK_NONE;)
		id = take_from(chunks, class);
	return id;
}

void chunk_give(struct chunk_pool *chunks, uint32_t id)
{
	unsigned class = chunk_class(id);

	CHECK(class < CHUNK_CLASSES);
	CHECK(chunks->bytes_live >= chunk_class_bytes[class]);
	pool_give(&chunks->classes[class], id & ((1u << CHUNK_INDEX_BITS) - 1));
	chunks->bytes_live -= chunk_class_bytes[class];
}

void chunk_give_chain(struct chunk_pool *chunks, uint32_t first)
{
	while (first != CHUNK_NONE) {
		uint32_t next = chunk_at(chunks, first)->next;

		chunk_give(chunks, first);
		first = next;
	}
}

void chunk_marks_clear(struct chunk_pool *chunks)
{
	for (unsigned class = 0; class < CHUNK_CLASSES; class ++) {
		struct pool *pool = &chunks->classes[class];

		for (uint32_t index = 0; index < pool->fresh; index++)
			((struct chunk *)pool_at(pool, index))->mark = 0;
	}
}

void chunk_mark_chain(struct chunk_pool *chunks, uint32_t first)
{
	for (uint32_t id = first; id != CHUNK_NONE; id = chunk_at(chunks, id)->next)
		chunk_at(chunks, id)->mark = 1;
}

static bool is_marked(void *context, const void *object)
{
	(void)context;
	return ((const struct chunk *)object)->mark;
}

void chunk_pool_rebuild(struct chunk_pool *chunks)
{
	chunks->bytes_live = 0;
	for (unsigned class = 0; class < CHUNK_CLASSES; class ++) {
		struct pool *pool = &chunks->classes[class];

		pool_rebuild(pool, pool->fresh, is_marked, NULL);
		chunks->bytes_live += (uint64_t)pool_live(pool) * chunk_class_bytes[class];
	}
	chunk_marks_clear(chunks);
}
