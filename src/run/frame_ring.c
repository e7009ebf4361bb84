/* frame_ring.c - the ring of frames between two workers.
 * In: frames of one worker's port or stack. Out: the same bytes, lent to another worker.
 * Owns: the cursors; the memory is lent. */
#include <string.h>

#include "base/check.h"
#include "base/plant.h"
#include "run/frame_ring.h"

#define AHEAD_BYTES 512u /* so far ahead lines are fetched that will be written or read soon */

/* In front of each frame. */
struct frame_record {
	uint32_t stride; /* bytes to the next record */
	uint32_t bytes;  /* of the frame; 0: nothing, go on at the start of the ring */
	uint16_t csum_start, csum_offset;
	uint16_t gso_bytes, header_bytes;
	uint8_t checksum;
	uint8_t unused[15];
};

_Static_assert(sizeof(struct frame_record) == 32, "a frame of 96 bytes and its record fill two lines");

static struct frame_record *record_at(const struct frame_ring *ring, uint32_t cursor)
{
	return (struct frame_record *)(void *)(ring->memory + (cursor & (ring->bytes - 1)));
}

static uint32_t stride_of(uint32_t bytes)
{
	return ALIGN_UP((uint32_t)sizeof(struct frame_record) + bytes, (uint32_t)CACHE_LINE);
}

void frame_ring_init(struct frame_ring *ring, void *memory, uint32_t bytes, struct waker *reader)
{
	CHECK(bytes >= FRAME_RING_BYTES_MIN && (bytes & (bytes - 1)) == 0);
	CHECK((uintptr_t)memory % CACHE_LINE == 0);
	memset(ring, 0, sizeof(*ring));
	atomic_init(&ring->published, 0);
	atomic_init(&ring->released, 0);
	atomic_init(&ring->closed, false);
	ring->memory = memory;
	ring->bytes = bytes;
	ring->reader = reader;
}

/* --- the writer ---------------------------------------------------------------- */

/* Room for one record in one piece; NULL when there is none. */
static struct frame_record *make_room(struct frame_ring *ring, uint32_t stride)
{
	uint32_t to_end = ring->bytes - (ring->written & (ring->bytes - 1));
	uint32_t skipped = stride <= to_end ? 0 : to_end;

	if (stride > ring->bytes / 2)
		return NULL;
	if (ring->bytes - (ring->written - ring->released_seen) < skipped + stride) {
		ring->released_seen = atomic_load_explicit(&ring->released, memory_order_acquire);
		if (ring->bytes - (ring->written - ring->released_seen) < skipped + stride)
			return NULL;
	}
	if (skipped > 0) {
		struct frame_record *rest = record_at(ring, ring->written);

		rest->stride = skipped;
		rest->bytes = 0;
		ring->written += skipped;
	}
	return record_at(ring, ring->written);
}

static void describe(struct frame_record *record, const struct packet *packet, uint32_t stride)
{
	*record = (struct frame_record){
		.stride = stride,
		.bytes = packet->bytes,
		.csum_start = packet->csum_start,
		.csum_offset = packet->csum_offset,
		.gso_bytes = packet->gso_bytes,
		.header_bytes = packet->header_bytes,
		.checksum = packet->checksum,
	};
}

bool frame_ring_put(struct frame_ring *ring, const struct packet *packet)
{
	uint32_t stride = stride_of(packet->bytes);
	struct frame_record *record = make_room(ring, stride);

	if (unlikely(!record || packet->bytes == 0)) {
		ring->full++;
		return false;
	}
	ring->written += stride;
	PREFETCH_WRITE(record_at(ring, ring->written + AHEAD_BYTES));
	PREFETCH_WRITE(record_at(ring, ring->written + AHEAD_BYTES + CACHE_LINE));
	if (PLANTED_RACE(HANDOVER_EARLY))
		frame_ring_publish(ring);
	describe(record, packet, stride);
	memcpy(record + 1, packet->data, packet->bytes);
	ring->frames++;
	return true;
}

/* A reserved frame keeps its whole room in the ring, however little of it is filled. */
uint32_t frame_ring_reserve(struct frame_ring *ring, struct packet *packets, uint32_t max,
			    uint32_t room_bytes)
{
	uint32_t stride = stride_of(room_bytes), count;

	ring->reserved_from = ring->written;
	for (count = 0; count < max; count++) {
		struct frame_record *record = make_room(ring, stride);

		if (!record)
			break;
		ring->written += stride;
		packets[count] = (struct packet){
			.data = (uint8_t *)(record + 1),
			.room = (uint16_t)room_bytes,
			.port_ref = ring->written, /* where this one ends */
		};
	}
	return count;
}

void frame_ring_fill(struct frame_ring *ring, const struct packet *packets, uint32_t filled)
{
	for (uint32_t i = 0; i < filled; i++) {
		struct frame_record *record =
			(struct frame_record *)(void *)(packets[i].data - sizeof(struct frame_record));
		uint32_t start = (uint32_t)(packets[i].data - ring->memory) -
				 (uint32_t)sizeof(struct frame_record);
		uint32_t end = (uint32_t)packets[i].port_ref;

		CHECK(packets[i].bytes > 0 && packets[i].bytes <= packets[i].room);
		describe(record, &packets[i], (end - start) & (ring->bytes - 1));
	}
	ring->frames += filled;
	/* A skip that was written behind the last one is written again by who needs it. */
	ring->written = filled ? (uint32_t)packets[filled - 1].port_ref : ring->reserved_from;
}

void frame_ring_publish(struct frame_ring *ring)
{
	if (ring->written == atomic_load_explicit(&ring->published, memory_order_relaxed))
		return;
	atomic_store_explicit(&ring->published, ring->written, memory_order_release);
	waker_wake(ring->reader);
}

void frame_ring_close(struct frame_ring *ring)
{
	frame_ring_publish(ring);
	atomic_store_explicit(&ring->closed, true, memory_order_release);
	waker_wake(ring->reader);
}

/* --- the reader ----------------------------------------------------------------- */

uint32_t frame_ring_take(struct frame_ring *ring, struct packet *packets, uint32_t max)
{
	uint32_t published = atomic_load_explicit(&ring->published, memory_order_acquire);
	uint32_t count = 0;

	while (count < max && ring->taken != published) {
		struct frame_record *record = record_at(ring, ring->taken);

		PREFETCH_READ(record_at(ring, ring->taken + AHEAD_BYTES));
		PREFETCH_READ(record_at(ring, ring->taken + AHEAD_BYTES + CACHE_LINE));
		ring->taken += record->stride;
		if (record->bytes == 0)
			continue;
		packets[count++] = (struct packet){
			.data = (uint8_t *)(record + 1),
			.bytes = record->bytes,
			.room = (uint16_t)MIN_OF(record->bytes, (uint32_t)UINT16_MAX),
			.checksum = record->checksum,
			.csum_start = record->csum_start,
			.csum_offset = record->csum_offset,
			.gso_bytes = record->gso_bytes,
			.header_bytes = record->header_bytes,
		};
	}
	return count;
}

void frame_ring_release(struct frame_ring *ring)
{
	atomic_store_explicit(&ring->released, ring->taken, memory_order_release);
}
