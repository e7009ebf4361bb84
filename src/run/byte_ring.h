/* byte_ring.h - bytes from one thread to another: one writer, one reader.
 *
 * Cursors count bytes since the beginning. Each is written by one side alone, and lies where its owner wants
 * it, away from the other's. They are stored and loaded in the one order that all threads agree on: who finds
 * no room may leave word of it and look once more, while the reader makes room first and looks for the word
 * then; one of them sees the other. (That costs the reader one exchange for each piece that it takes.) */
#ifndef C10M_RUN_BYTE_RING_H
#define C10M_RUN_BYTE_RING_H

#include <stdatomic.h>
#include <string.h>

#include "base/compiler.h"

struct byte_ring {
	uint8_t *bytes;
	uint32_t size;      /* a power of two */
	atomic_uint *end;   /* the writer's */
	atomic_uint *start; /* the reader's */
};

/* The writer: copies as much as there is room for, and returns how much that was. */
static inline uint32_t byte_ring_put(const struct byte_ring *ring, const void *data, size_t len)
{
	uint32_t end = atomic_load_explicit(ring->end, memory_order_relaxed);
	uint32_t room = ring->size - (end - atomic_load(ring->start));
	uint32_t bytes = (uint32_t)MIN_OF(len, (size_t)room);
	uint32_t at = end & (ring->size - 1), first = MIN_OF(bytes, ring->size - at);

	memcpy(ring->bytes + at, data, first);
	memcpy(ring->bytes, (const uint8_t *)data + first, bytes - first);
	atomic_store_explicit(ring->end, end + bytes, memory_order_release);
	return bytes;
}

/* The reader: what lies in one piece; 0 bytes when the ring is empty. */
static inline const uint8_t *byte_ring_look(const struct byte_ring *ring, uint32_t *bytes)
{
	uint32_t start = atomic_load_explicit(ring->start, memory_order_relaxed);
	uint32_t at = start & (ring->size - 1);

	*bytes = MIN_OF(atomic_load_explicit(ring->end, memory_order_acquire) - start, ring->size - at);
	return ring->bytes + at;
}

static inline void byte_ring_drop(const struct byte_ring *ring, uint32_t bytes)
{
	atomic_store(ring->start, atomic_load_explicit(ring->start, memory_order_relaxed) + bytes);
}

static inline uint32_t byte_ring_take(const struct byte_ring *ring, void *buffer, size_t len)
{
	uint32_t start = atomic_load_explicit(ring->start, memory_order_relaxed);
	uint32_t there = atomic_load_explicit(ring->end, memory_order_acquire) - start;
	uint32_t bytes = (uint32_t)MIN_OF(len, (size_t)there);
	uint32_t at = start & (ring->size - 1), first = MIN_OF(bytes, ring->size - at);

	if (bytes == 0)
		return 0;
	memcpy(buffer, ring->bytes + at, first);
	memcpy((uint8_t *)buffer + first, ring->bytes, bytes - first);
	atomic_store(ring->start, start + bytes);
	return bytes;
}

#endif
