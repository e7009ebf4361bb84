/* test_frame_ring.c - the ring of frames between two workers, and sending through a neighbour. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "port/link.h"
#include "run/frame_ring.h"
#include "run/relay.h"

#define BYTES FRAME_RING_BYTES_MIN
#define LONG  65000u

static struct frame_ring ring;
static struct waker waker;
static uint8_t *memory, source[LONG];

static int setup(void **state)
{
	(void)state;
	memory = aligned_alloc(CACHE_LINE, BYTES);
	assert_non_null(memory);
	memset(memory, 0xa5, BYTES);
	assert_int_equal(waker_init(&waker), 0);
	frame_ring_init(&ring, memory, BYTES, &waker);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	waker_fini(&waker);
	free(memory);
	return 0;
}

/* A frame whose bytes say which one it is. */
static bool put(uint32_t number, uint32_t bytes)
{
	struct packet packet = {.data = source,
				.bytes = bytes,
				.checksum = PACKET_CSUM_PARTIAL,
				.csum_start = 34,
				.csum_offset = 16};

	for (uint32_t i = 0; i < bytes; i++)
		source[i] = (uint8_t)(number + i);
	return frame_ring_put(&ring, &packet);
}

static void expect(const struct packet *packet, uint32_t number, uint32_t bytes)
{
	assert_int_equal(packet->bytes, bytes);
	for (uint32_t i = 0; i < bytes; i++)
		if (packet->data[i] != (uint8_t)(number + i))
			fail_msg("frame %u differs at byte %u", number, i);
}

static void a_frame_arrives_as_it_was(void **state)
{
	struct packet packet = {.data = source,
				.bytes = 1000,
				.checksum = PACKET_CSUM_PARTIAL,
				.csum_start = 34,
				.csum_offset = 16,
				.gso_bytes = 1448,
				.header_bytes = 66};
	struct packet got;

	(void)state;
	assert_true(frame_ring_put(&ring, &packet));
	assert_int_equal(frame_ring_take(&ring, &got, 1), 0); /* not published yet */
	assert_false(frame_ring_waits(&ring));
	frame_ring_publish(&ring);
	assert_true(frame_ring_waits(&ring));
	assert_int_equal(frame_ring_take(&ring, &got, 1), 1);
	assert_int_equal(got.bytes, 1000);
	assert_memory_equal(got.data, source, 1000);
	assert_int_equal(got.checksum, PACKET_CSUM_PARTIAL);
	assert_int_equal(got.csum_start, 34);
	assert_int_equal(got.csum_offset, 16);
	assert_int_equal(got.gso_bytes, 1448);
	assert_int_equal(got.header_bytes, 66);
	assert_false(frame_ring_waits(&ring));
}

/* Every size at every place: records never wrap, nothing is lost, order is kept. */
static void sizes_and_places(void **state)
{
	uint32_t sent = 0, received = 0;

	(void)state;
	for (uint32_t round = 0; round < 3000; round++) {
		struct packet packets[8];
		uint32_t count;

		for (uint32_t i = 0; i < 1 + round % 5; i++, sent++)
			assert_true(put(sent, 1 + sent * 37 % 1600));
		frame_ring_publish(&ring);
		while ((count = frame_ring_take(&ring, packets, 8)) > 0) {
			for (uint32_t i = 0; i < count; i++, received++)
				expect(&packets[i], received, 1 + received * 37 % 1600);
			frame_ring_release(&ring);
		}
	}
	assert_int_equal(received, sent);
	assert_int_equal(ring.frames, sent);
}

static void the_longest_frames(void **state)
{
	struct packet packet;

	(void)state;
	for (uint32_t i = 0; i < 20; i++) {
		assert_true(put(i, LONG));
		frame_ring_publish(&ring);
		assert_int_equal(frame_ring_take(&ring, &packet, 1), 1);
		expect(&packet, i, LONG);
		frame_ring_release(&ring);
	}
}

/* What does not fit is refused and counted; room comes back by release, not by take. */
static void a_full_ring_refuses(void **state)
{
	uint32_t sent = 0, received = 0, count;
	struct packet packets[64];

	(void)state;
	while (put(sent, 64))
		sent++;
	assert_int_equal(sent, BYTES / 128);
	assert_int_equal(ring.full, 1);
	frame_ring_publish(&ring);
	assert_int_equal(frame_ring_take(&ring, packets, 64), 64);
	assert_false(put(sent, 64));
	frame_ring_release(&ring);
	for (uint32_t i = 0; i < 64; i++)
		assert_true(put(sent + i, 64));
	assert_false(put(0, 64));
	assert_int_equal(ring.full, 3);
	frame_ring_publish(&ring);
	for (received = 64; (count = frame_ring_take(&ring, packets, 64)) > 0; frame_ring_release(&ring))
		for (uint32_t i = 0; i < count; i++, received++)
			expect(&packets[i], received, 64);
	assert_int_equal(received, sent + 64);
}

static void room_that_was_reserved(void **state)
{
	struct packet packets[64], got[64];
	uint32_t number = 0;

	(void)state;
	for (uint32_t round = 0; round < 500; round++) {
		uint32_t reserved = frame_ring_reserve(&ring, packets, 64, 1514);
		uint32_t filled = round % (reserved + 1), first = number;

		assert_true(reserved > 50);
		for (uint32_t i = 0; i < filled; i++, number++) {
			packets[i].bytes = 1 + number % 1514;
			memset(packets[i].data, (int)number, packets[i].bytes);
		}
		frame_ring_fill(&ring, packets, filled);
		frame_ring_publish(&ring);
		assert_int_equal(frame_ring_take(&ring, got, 64), filled);
		for (uint32_t i = 0; i < filled; i++) {
			assert_int_equal(got[i].bytes, 1 + (first + i) % 1514);
			assert_int_equal(got[i].data[got[i].bytes - 1], (uint8_t)(first + i));
		}
		frame_ring_release(&ring);
	}
}

static void only_a_sleeper_is_woken_and_an_end_is_seen(void **state)
{
	struct packet packet;

	(void)state;
	waker_prepare(&waker);
	put(0, 60);
	assert_true(atomic_load(&waker.asleep));
	frame_ring_publish(&ring);
	assert_false(atomic_load(&waker.asleep));
	waker_done(&waker, true);
	frame_ring_close(&ring);
	assert_false(frame_ring_ended(&ring));
	assert_int_equal(frame_ring_take(&ring, &packet, 1), 1);
	assert_true(frame_ring_ended(&ring));
}

/* --- two threads ------------------------------------------------------------------------- */

#define MANY 200000u

static void *put_many(void *unused)
{
	for (uint32_t i = 0; i < MANY;) {
		uint32_t burst = i % 60 + 1;

		for (uint32_t j = 0; j < burst && i < MANY; j++) {
			if (!put(i, 60 + i % 200))
				break;
			i++;
		}
		frame_ring_publish(&ring);
	}
	return unused;
}

static void two_threads(void **state)
{
	struct packet packets[64];
	uint32_t received = 0;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, put_many, NULL), 0);
	while (received < MANY) {
		uint32_t count = frame_ring_take(&ring, packets, 64);

		for (uint32_t i = 0; i < count; i++, received++) {
			assert_int_equal(packets[i].bytes, 60 + received % 200);
			assert_int_equal(packets[i].data[0], (uint8_t)received);
			assert_int_equal(packets[i].data[59], (uint8_t)(received + 59));
		}
		if (count > 0)
			frame_ring_release(&ring);
		else
			sched_yield();
	}
	pthread_join(thread, NULL);
}

/* --- through a neighbour -------------------------------------------------------------------- */

/* The neighbour's port has room for 16 frames: the others wait, in order, and none is lost. */
static void frames_go_out_through_a_neighbour(void **state)
{
	const struct link_config config = {.frames = 16, .frame_bytes = 2048, .mtu = 1500};
	struct packet packets[PORT_BURST];
	uint32_t sent = 0, received = 0;
	struct port *ends[2], *port;
	bool was_blocked = false;

	(void)state;
	assert_int_equal(link_open(&config, ends), 0);
	port = relay_open(&ring, ends[0], 0);
	assert_non_null(port);
	assert_int_equal(port->caps.mtu, 1500);
	assert_int_equal(port_rx(port, packets, PORT_BURST), 0);
	while (received < 500) {
		uint32_t count = sent < 500 ? port_tx_reserve(port, packets, 40) : 0;
		bool blocked = false;

		for (uint32_t i = 0; i < count; i++, sent++) {
			assert_true(packets[i].room >= 1514);
			packets[i].bytes = 60 + sent;
			memset(packets[i].data, (int)sent, packets[i].bytes);
		}
		if (count > 0)
			port_tx_submit(port, packets, count, count);
		while (relay_forward(&ring, ends[0], &blocked) > 0)
			continue;
		was_blocked |= blocked;
		count = port_rx(ends[1], packets, 10);
		for (uint32_t i = 0; i < count; i++, received++) {
			assert_int_equal(packets[i].bytes, 60 + received);
			assert_int_equal(packets[i].data[59 + received], (uint8_t)received);
		}
		port_rx_release(ends[1], packets, count);
	}
	assert_true(was_blocked);
	assert_int_equal(port->stats.tx_packets, sent);
	port_close(port);
	port_close(ends[0]);
	port_close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_frame_arrives_as_it_was, setup, teardown),
		cmocka_unit_test_setup_teardown(sizes_and_places, setup, teardown),
		cmocka_unit_test_setup_teardown(the_longest_frames, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_ring_refuses, setup, teardown),
		cmocka_unit_test_setup_teardown(room_that_was_reserved, setup, teardown),
		cmocka_unit_test_setup_teardown(only_a_sleeper_is_woken_and_an_end_is_seen, setup, teardown),
		cmocka_unit_test_setup_teardown(two_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(frames_go_out_through_a_neighbour, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
