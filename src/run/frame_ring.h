/* frame_ring.h - frames on their way from one worker to another: one writer, one reader, no lock.
 *
 * Frames lie in the ring itself, one behind the other in whole cache lines, each behind its record: a small
 * frame takes two lines, and one copy is all that a frame costs. A burst is published by one store,
 * which is why the ring is ours: those of Concurrency Kit publish each element on its own, and copy it
 * out again.
 *
 * Invariants: 0 <= written - released <= bytes; a record never wraps: what is left at the end of the ring is
 * skipped. */
#ifndef C10M_RUN_FRAME_RING_H
#define C10M_RUN_FRAME_RING_H

#include "mem/packet.h"
#include "run/waker.h"

#define FRAME_RING_BYTES_MIN 262144u /* four of the longest frames */

struct frame_ring {
	/* The writer's. */
	CACHE_ALIGNED atomic_uint published; /* bytes, ever: what the reader may look at */
	uint32_t written;                    /* the same, with what is not published yet */
	uint32_t released_seen, reserved_from;
	atomic_bool closed;
	uint64_t frames, full; /* written; refused */
	/* The reader's. */
	CACHE_ALIGNED atomic_uint released; /* bytes, ever: what the writer may write again */
	uint32_t taken;
	/* Constant. */
	CACHE_ALIGNED uint8_t *memory;
	uint32_t bytes; /* a power of two */
	struct waker *reader;
};

/* memory: cache-line aligned; bytes: a power of two, at least FRAME_RING_BYTES_MIN. */
void frame_ring_init(struct frame_ring *ring, void *memory, uint32_t bytes, struct waker *reader);

/* The writer's side. Copies a frame; false and counted: there is no room. */
bool frame_ring_put(struct frame_ring *ring, const struct packet *packet);
/* Lends room for up to `max` frames of room_bytes each; returns how many. No put in between. */
uint32_t frame_ring_reserve(struct frame_ring *ring, struct packet *packets, uint32_t max,
			    uint32_t room_bytes);
/* The first `filled` of those that were reserved; the others are taken back. */
void frame_ring_fill(struct frame_ring *ring, const struct packet *packets, uint32_t filled);
/* Shows the reader all that was put, and wakes it if it sleeps. */
void frame_ring_publish(struct frame_ring *ring);
/* The same, and nothing more will come. */
void frame_ring_close(struct frame_ring *ring);

/* The reader's side. Lends up to `max` frames, in order; they go back all at once by release. */
uint32_t frame_ring_take(struct frame_ring *ring, struct packet *packets, uint32_t max);
void frame_ring_release(struct frame_ring *ring);

/* Whether frames wait. The reader's. */
static inline bool frame_ring_waits(const struct frame_ring *ring)
{
	return atomic_load_explicit(&ring->published, memory_order_acquire) != ring->taken;
}

/* No frame waits, and none will come. The reader's. */
static inline bool frame_ring_ended(const struct frame_ring *ring)
{
	return atomic_load_explicit(&ring->closed, memory_order_acquire) && !frame_ring_waits(ring);
}

#endif
