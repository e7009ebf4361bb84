/* test_link.c - the port "wire": order and content between threads, room, sleeping, closing. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "numbered_frames.h"
#include "port/link.h"

#define FRAMES 256

#ifdef __SANITIZE_THREAD__
#define EXCHANGED 300000u
#else
#define EXCHANGED 2000000u
#endif

static void open_wire(struct port *ends[2], uint32_t frames)
{
	const struct link_config config = {.frames = frames, .frame_bytes = 2048, .mtu = 1500};

	assert_int_equal(link_open(&config, ends), 0);
}

static void close_wire(struct port *ends[2])
{
	port_close(ends[0]);
	port_close(ends[1]);
}

/* --- one thread -------------------------------------------------------------- */

static void test_both_directions(void **state)
{
	struct packet packet;
	struct port *ends[2];

	(void)state;
	open_wire(ends, FRAMES);
	for (uint32_t i = 0; i < 10 * FRAMES; i++) {
		send_one(ends[0], i);
		send_one(ends[1], i + 1000000);
		receive_one(ends[1], i);
		receive_one(ends[0], i + 1000000);
	}
	assert_int_equal(port_rx(ends[0], &packet, 1), 0);
	assert_int_equal(ends[0]->stats.tx_packets, 10 * FRAMES);
	assert_int_equal(ends[1]->stats.rx_packets, 10 * FRAMES);
	assert_int_equal(ends[1]->stats.rx_bytes, ends[0]->stats.tx_bytes);
	close_wire(ends);
}

/* A full wire lends nothing and loses nothing; what is not filled comes back at once. */
static void test_room(void **state)
{
	struct packet packets[FRAMES + 1];
	struct port *ends[2];

	(void)state;
	open_wire(ends, FRAMES);
	for (uint32_t round = 0; round < 3; round++) {
		assert_int_equal(port_tx_reserve(ends[0], packets, FRAMES + 1), FRAMES);
		assert_int_equal(ends[0]->stats.tx_full, 2 * round + 1);
		port_tx_submit(ends[0], packets, 0, FRAMES);
		assert_int_equal(port_tx_reserve(ends[0], packets, FRAMES), FRAMES);
		for (uint32_t i = 0; i < FRAMES; i++)
			write_frame(&packets[i], i);
		port_tx_submit(ends[0], packets, FRAMES, FRAMES);
		assert_int_equal(port_tx_reserve(ends[0], packets, 1), 0);
		assert_int_equal(ends[0]->stats.tx_full, 2 * round + 2);
		assert_int_equal(port_rx(ends[1], packets, FRAMES + 1), FRAMES);
		assert_int_equal(port_tx_reserve(ends[0], packets + FRAMES, 1), 0); /* they are only lent */
		ends[0]->stats.tx_full--;
		for (uint32_t i = 0; i < FRAMES; i++)
			assert_true(frame_is(&packets[i], i));
		port_rx_release(ends[1], packets, FRAMES);
	}
	close_wire(ends);
}

static void test_refused(void **state)
{
	const struct link_config wrong[] = {
		{.frames = 0, .frame_bytes = 2048, .mtu = 1500},
		{.frames = 100, .frame_bytes = 2048, .mtu = 1500},
		{.frames = 128, .frame_bytes = 32, .mtu = 10},
		{.frames = 128, .frame_bytes = 1500, .mtu = 1500},
		{.frames = 128, .frame_bytes = 70000, .mtu = 1500},
	};
	struct port *ends[2];

	(void)state;
	for (uint32_t i = 0; i < ARRAY_COUNT(wrong); i++)
		assert_int_equal(link_open(&wrong[i], ends), -EINVAL);
}

/* Frames that were sent can be read after the sender has gone. */
static void test_close_in_turn(void **state)
{
	struct port *ends[2];

	(void)state;
	open_wire(ends, FRAMES);
	send_one(ends[0], 5);
	port_close(ends[0]);
	receive_one(ends[1], 5);
	port_close(ends[1]);
}

/* --- two threads ------------------------------------------------------------- */

struct worker {
	struct port *port;
	uint32_t sent, received, wrong;
};

static void worker_send(struct worker *worker)
{
	struct packet packets[PORT_BURST];
	/* Bursts of changing size, of which the last reserved frame now and then is not needed. */
	uint32_t wanted = MIN_OF(1 + worker->sent * 31 % PORT_BURST, EXCHANGED - worker->sent);
	uint32_t room = port_tx_reserve(worker->port, packets, wanted);
	uint32_t filled = room > 1 && room % 3 == 0 ? room - 1 : room;

	for (uint32_t i = 0; i < filled; i++)
		write_frame(&packets[i], worker->sent++);
	port_tx_submit(worker->port, packets, filled, room);
}

static void worker_receive(struct worker *worker)
{
	struct packet packets[PORT_BURST], swap;
	uint32_t count = port_rx(worker->port, packets, PORT_BURST);

	for (uint32_t i = 0; i < count; i++)
		worker->wrong += !frame_is(&packets[i], worker->received++);
	if (count > 1) { /* in any order */
		swap = packets[0];
		packets[0] = packets[count - 1];
		packets[count - 1] = swap;
	}
	port_rx_release(worker->port, packets, count);
	if (count == 0)
		sched_yield();
}

static void *worker_run(void *argument)
{
	struct worker *worker = argument;

	while (worker->sent < EXCHANGED || worker->received < EXCHANGED) {
		if (worker->sent < EXCHANGED)
			worker_send(worker);
		worker_receive(worker);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct worker workers[2] = {0};
	struct port *ends[2];
	pthread_t threads[2];

	(void)state;
	open_wire(ends, FRAMES);
	for (int i = 0; i < 2; i++) {
		workers[i].port = ends[i];
		assert_int_equal(pthread_create(&threads[i], NULL, worker_run, &workers[i]), 0);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(workers[i].wrong, 0);
		assert_int_equal(ends[i]->stats.rx_packets, EXCHANGED);
		assert_int_equal(ends[i]->stats.tx_packets, EXCHANGED);
	}
	close_wire(ends);
}

/* --- sleeping ---------------------------------------------------------------- */

#define WAKES 20000u

struct sleeper {
	struct port *port;
	uint32_t received, slept, overslept;
	atomic_uint seen;
};

/* Sleeps whenever it may. Nobody else wakes it, so a lost wake-up shows as a long sleep. */
static void *sleeper_run(void *argument)
{
	struct sleeper *sleeper = argument;
	struct packet packet;

	while (sleeper->received < WAKES && sleeper->overslept == 0) {
		struct pollfd wait = {.fd = sleeper->port->wait_fd, .events = POLLIN};

		if (port_rx(sleeper->port, &packet, 1) == 1) {
			port_rx_release(sleeper->port, &packet, 1);
			atomic_store(&sleeper->seen, ++sleeper->received);
			continue;
		}
		if (!sleeper->port->ops->wait_prepare(sleeper->port))
			continue;
		sleeper->overslept += poll(&wait, 1, 10000) == 0;
		sleeper->slept++;
		sleeper->port->ops->wait_done(sleeper->port);
	}
	atomic_store(&sleeper->seen, WAKES); /* the sender waits no longer */
	return NULL;
}

static void test_wake(void **state)
{
	struct sleeper sleeper = {0};
	struct port *ends[2];
	pthread_t thread;

	(void)state;
	open_wire(ends, FRAMES);
	sleeper.port = ends[1];
	assert_int_equal(pthread_create(&thread, NULL, sleeper_run, &sleeper), 0);
	for (uint32_t i = 0; i < WAKES && atomic_load(&sleeper.seen) < WAKES; i++) {
		send_one(ends[0], i);
		/* Wait for it at different distances, to meet it at every point of falling asleep. */
		while (atomic_load(&sleeper.seen) + i % 3 < i + 1)
			sched_yield();
	}
	pthread_join(thread, NULL);
	assert_int_equal(sleeper.overslept, 0);
	assert_true(sleeper.slept > 100);
	close_wire(ends);
}

/* The eventfd costs nothing while nobody sleeps, and never keeps a worker from sleeping again. */
static void test_wake_only_sleepers(void **state)
{
	struct port *ends[2];
	struct pollfd wait;

	(void)state;
	open_wire(ends, FRAMES);
	wait = (struct pollfd){.fd = ends[1]->wait_fd, .events = POLLIN};
	send_one(ends[0], 0);
	assert_int_equal(poll(&wait, 1, 0), 0);
	assert_false(ends[1]->ops->wait_prepare(ends[1]));
	receive_one(ends[1], 0);
	assert_true(ends[1]->ops->wait_prepare(ends[1]));
	send_one(ends[0], 1);
	assert_int_equal(poll(&wait, 1, 0), 1);
	ends[1]->ops->wait_done(ends[1]);
	assert_int_equal(poll(&wait, 1, 0), 0);
	receive_one(ends[1], 1);
	close_wire(ends);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_directions),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_close_in_turn),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_wake),
		cmocka_unit_test(test_wake_only_sleepers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
