/* chunk.h - payload that must stay: unread, out of order, sent but not acknowledged.
 *
 * Three sizes, charged at their true size, so that one byte never pins 2 KB. A
 * chunk is named by a 32-bit id (class in the top two bits). Chunks of one queue
 * are linked by `next`. */
#ifndef C10M_MEM_CHUNK_H
#define C10M_MEM_CHUNK_H

#include "mem/pool.h"

#define CHUNK_NONE    UINT32_MAX
#define CHUNK_CLASSES 3

struct chunk {
	uint32_t next;      /* id of the chunk behind this one; CHUNK_NONE at the end */
	uint32_t seq;       /* owner's: sequence number of the first valid byte */
	uint16_t start;     /* first valid byte in data */
	uint16_t bytes;     /* valid bytes */
	uint32_t note : 31; /* owner's: 0 at first */
	uint32_t mark : 1;  /* 0, but for chunks that a rebuild has found in use */
	uint8_t data[];
};

#define CHUNK_NOTE_MAX     0x7fffffffu
#define CHUNK_HEADER_BYTES sizeof(struct chunk)
_Static_assert(sizeof(struct chunk) == 16, "header of a data chunk");

/* Whole sizes, header included. */
extern const uint32_t chunk_class_bytes[CHUNK_CLASSES]; /* 128, 512, 2048 */
#define CHUNK_BYTES_MAX (2048 - CHUNK_HEADER_BYTES)

struct chunk_pool {
	struct pool classes[CHUNK_CLASSES];
	uint64_t bytes_live; /* true size of all chunks in use */
};

struct chunk_config {
	uint32_t count[CHUNK_CLASSES];
};

size_t chunk_pool_bytes(const struct chunk_config *config);
void chunk_pool_init(struct chunk_pool *chunks, void *memory, const struct chunk_config *config);

PURE_INLINE uint32_t chunk_class(uint32_t id)
{
	return id >> 30;
}

PURE_INLINE struct chunk *chunk_at(const struct chunk_pool *chunks, uint32_t id)
{
	CHECK(chunk_class(id) < CHUNK_CLASSES);
	return pool_at(&chunks->classes[chunk_class(id)], id & 0x3fffffffu);
}

PURE_INLINE void chunk_prefetch(const struct chunk_pool *chunks, uint32_t id)
{
	pool_prefetch(&chunks->classes[chunk_class(id)], id & 0x3fffffffu);
}

/* Payload bytes that fit into a chunk. */
PURE_INLINE uint32_t chunk_capacity(uint32_t id)
{
	return chunk_class_bytes[chunk_class(id)] - (uint32_t)CHUNK_HEADER_BYTES;
}

/* The smallest class that holds `bytes` (or the largest class if none does). When
 * that class is empty a larger one is tried, then smaller ones: the caller sees by
 * chunk_capacity how much fits. CHUNK_NONE when every class is empty. The new chunk is empty
 * (next = CHUNK_NONE, start = bytes = 0). */
uint32_t chunk_take(struct chunk_pool *chunks, uint32_t bytes);
void chunk_give(struct chunk_pool *chunks, uint32_t id);
/* Gives a whole chain back; CHUNK_NONE is an empty chain. */
void chunk_give_chain(struct chunk_pool *chunks, uint32_t first);

/* A rebuild of the free stacks, in three steps: forget all marks, mark each chain that somebody owns, take
 * all chunks without a mark for free. It reads only what stands in the chunks, and each class's `fresh`. */
void chunk_marks_clear(struct chunk_pool *chunks);
void chunk_mark_chain(struct chunk_pool *chunks, uint32_t first);
void chunk_pool_rebuild(struct chunk_pool *chunks);

#endif
