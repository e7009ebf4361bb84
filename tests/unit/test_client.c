/* test_client.c - connections of ordinary threads, through a real stack and worker, to an echo server on
 * another. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "port/link.h"
#include "run/client.h"
#include "run/errand.h"
#include "run/mailbox.h"
#include "run/worker.h"
#include "sys/clock.h"

#define NEAR 10u /* worker of the client */
#define FAR  11u /* the echo server */
#define HOST 0x0a000002u

/* --- the services ------------------------------------------------------------------------------- */

static atomic_uint resets, opened;
static atomic_bool deaf; /* the server does not read */

static size_t echo_on_data(c10m_conn *conn, const void *data, size_t len)
{
	return atomic_load(&deaf) ? 0 : c10m_send(conn, data, len);
}

static void count_open(c10m_conn *conn)
{
	(void)conn;
	atomic_fetch_add(&opened, 1);
}

static void count_reset(c10m_conn *conn, enum c10m_close_reason reason)
{
	(void)conn;
	if (reason == C10M_CLOSE_RESET)
		atomic_fetch_add(&resets, 1);
}

static struct c10m_service services[2] = {
	{.name = "echo", .port = 7, .on_data = echo_on_data, .on_open = count_open, .on_close = count_reset}};

/* --- the rig ----------------------------------------------------------------------------------------- */

static struct node {
	struct worker worker;
	struct worker_config config;
	struct stack *stack;
	void *memory;
	pthread_t thread;
	bool running;
} nodes[2];

static struct port *ends[2];

static void make_node(struct node *node, uint32_t number, struct port *port)
{
	struct stack_config config = {
		.id = (uint8_t)number,
		.connections = 500,
		.services = services,
		.service_count = 2,
		.address = number == FAR ? HOST : HOST - 1,
		.prefix_bits = 24,
		.mac = {{2, 0, 0, 0, 0, (uint8_t)number}},
	};
	const struct arena_secrets secrets = {.flow = {number + 1, 3}, .random_state = {number + 1, 4}};
	size_t bytes = ALIGN_UP(stack_bytes(&config) + 65536, (size_t)4096);
	struct arena arena;

	*node = (struct node){.memory = aligned_alloc(4096, bytes)};
	assert_non_null(node->memory);
	memset(node->memory, 0, bytes);
	arena_init(&arena, node->memory, bytes, &secrets, sys_now_ns());
	node->stack = stack_init(&arena, &config, 0);
	assert_non_null(node->stack);
	node->config = (struct worker_config){.number = number,
					      .stack = node->stack,
					      .ports = {port},
					      .port_count = 1,
					      .spin_max_us = 50,
					      .clock_base_ns = sys_now_ns(),
					      .hook_count = 3};
	node->config.hooks[0] = (struct worker_hook){.run = mailbox_run, .context = mailbox_at(number)};
	node->config.hooks[1] = (struct worker_hook){.run = errands_run, .context = errands_at(number)};
	node->config.hooks[2] = (struct worker_hook){.run = clients_run,
						     .context = clients_open(number, node->stack)};
	assert_int_equal(worker_init(&node->worker, &node->config), 0);
	mailbox_open(mailbox_at(number), node->stack, &node->worker.waker);
	errands_open(number, node->stack, &node->worker.waker);
}

static void *run_node(void *argument)
{
	struct node *node = argument;
	uint32_t number = node->config.number;

	worker_run(&node->worker);
	mailbox_close(mailbox_at(number), worker_now_us(&node->worker));
	errands_close(number, worker_now_us(&node->worker));
	worker_drain(&node->worker, 100);
	clients_close(number);
	return NULL;
}

static void stop_node(struct node *node)
{
	if (!node->running)
		return;
	worker_stop(&node->worker);
	pthread_join(node->thread, NULL);
	node->running = false;
}

static int setup(void **state)
{
	const struct link_config config = {.frames = 256, .frame_bytes = 2048, .mtu = 1500};

	(void)state;
	atomic_store(&deaf, false);
	resets = opened = 0;
	c10m_client_service(&services[1], "client");
	assert_int_equal(link_open(&config, ends), 0);
	for (uint32_t i = 0; i < 2; i++)
		make_node(&nodes[i], NEAR + i, ends[i]);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(pthread_create(&nodes[i].thread, NULL, run_node, &nodes[i]), 0);
		nodes[i].running = true;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 2; i++) {
		stop_node(&nodes[i]);
		stack_fini(nodes[i].stack);
		worker_fini(&nodes[i].worker);
		free(nodes[i].memory);
		port_close(ends[i]);
	}
	return 0;
}

static c10m_client *open_client(void)
{
	int error;
	c10m_client *client = c10m_client_open(NEAR, 1, &error);

	assert_non_null(client);
	return client;
}

static c10m_stream connect_to(c10m_client *client)
{
	int error;
	c10m_stream stream = c10m_client_connect(client, HOST, 7, 10000, &error);

	assert_int_equal(error, 0);
	assert_true(stream != 0);
	return stream;
}

static void wait_for(const atomic_uint *count, unsigned wanted)
{
	for (int i = 0; i < 5000 && atomic_load(count) < wanted; i++)
		usleep(1000);
	assert_int_equal(atomic_load(count), wanted);
}

/* --- the tests ------------------------------------------------------------------------------------------ */

static void talk(c10m_client *client, c10m_stream stream, uint32_t seed, uint32_t bytes)
{
	uint8_t out[3000], in[3000];

	for (uint32_t done = 0; done < bytes;) {
		uint32_t part = MIN_OF(bytes - done, (uint32_t)sizeof(out)), got = 0;

		for (uint32_t i = 0; i < part; i++)
			out[i] = (uint8_t)((done + i) * 7 + seed);
		assert_int_equal(c10m_client_send(client, stream, out, part, 10000), part);
		while (got < part) {
			int64_t more = c10m_client_receive(client, stream, in + got, part - got, 10000);

			assert_true(more > 0);
			got += (uint32_t)more;
		}
		assert_memory_equal(out, in, part);
		done += part;
	}
}

static void a_thread_talks_over_several_streams(void **state)
{
	c10m_client *client = open_client();
	c10m_stream streams[5];
	uint8_t byte;

	(void)state;
	for (uint32_t i = 0; i < 5; i++)
		streams[i] = connect_to(client);
	for (uint32_t round = 0; round < 3; round++)
		for (uint32_t i = 0; i < 5; i++)
			talk(client, streams[i], i, 40000);
	assert_int_equal(c10m_client_end(client, streams[0]), 0);
	assert_int_equal(c10m_client_end(client, streams[0]), -ESTALE);
	assert_int_equal(c10m_client_send(client, streams[0], "x", 1, 0), -ESTALE);
	assert_int_equal(c10m_client_receive(client, streams[0], &byte, 1, 0), -ESTALE);
	talk(client, connect_to(client), 9, 1000);
	assert_int_equal(c10m_client_receive(client, streams[0], &byte, 1, 0), -ESTALE);
	assert_int_equal(c10m_client_receive(client, streams[1], &byte, 1, 0), -EAGAIN);
	assert_int_equal(c10m_client_receive(client, streams[1], &byte, 1, 30), -ETIMEDOUT);
	assert_int_equal(c10m_client_receive(client, 0, &byte, 1, 0), -ESTALE);
	c10m_client_close(client);
	wait_for(&resets, 5); /* what was left open; what was closed was not reset */
	assert_int_equal(atomic_load(&opened), 6);
}

/* More than a ring holds waits at the worker, and comes when there is room. */
static void a_late_reader_gets_everything(void **state)
{
	static uint8_t out[60000], in[60000];
	c10m_client *client = open_client();
	c10m_stream stream = connect_to(client);
	size_t got = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 31 + i / 256);
	assert_int_equal(c10m_client_send(client, stream, out, sizeof(out), 10000), sizeof(out));
	usleep(50000);
	while (got < sizeof(in)) {
		int64_t more = c10m_client_receive(client, stream, in + got, sizeof(in) - got, 3000);

		assert_true(more > 0);
		got += (size_t)more;
	}
	assert_memory_equal(out, in, sizeof(out));
	c10m_client_close(client);
}

static void full_rings_refuse_and_time_out(void **state)
{
	static uint8_t bytes[1 << 20];
	c10m_client *client = open_client();
	c10m_stream stream = connect_to(client);
	int64_t sent;

	(void)state;
	atomic_store(&deaf, true);
	sent = c10m_client_send(client, stream, bytes, sizeof(bytes), 200);
	assert_true(sent > 16384 && sent < (int64_t)sizeof(bytes));
	assert_int_equal(c10m_client_send(client, stream, bytes, 1, 0), -EAGAIN);
	assert_int_equal(c10m_client_send(client, stream, bytes, 1, 20), -ETIMEDOUT);
	c10m_client_close(client);
	wait_for(&resets, 1);
}

static void nobody_answers(void **state)
{
	c10m_client *client = open_client();
	int error;

	(void)state;
	assert_int_equal(c10m_client_connect(client, HOST, 8, 10000, &error), 0);
	assert_int_equal(error, -ECONNREFUSED);
	assert_int_equal(c10m_client_connect(client, HOST + 7, 7, 30, &error), 0);
	assert_int_equal(error, -ETIMEDOUT);
	for (uint32_t i = 0; i < 200; i++) /* a failed one leaves nothing behind */
		assert_int_equal(c10m_client_connect(client, HOST, 8, 10000, &error), 0);
	assert_int_equal(error, -ECONNREFUSED);
	assert_null(c10m_client_open(NEAR + 7, 1, &error));
	assert_int_equal(error, -ESHUTDOWN);
	assert_null(c10m_client_open(UINT32_MAX, 1, &error));
	assert_int_equal(error, -EINVAL);
	c10m_client_close(client);
}

static void places_are_bounded(void **state)
{
	c10m_client *client = open_client();
	int error;

	(void)state;
	for (int i = 0; i < C10M_CLIENT_STREAMS; i++)
		connect_to(client);
	assert_int_equal(c10m_client_connect(client, HOST, 7, 1000, &error), 0);
	assert_int_equal(error, -EAGAIN);
	wait_for(&opened, C10M_CLIENT_STREAMS); /* there, too */
	c10m_client_close(client);
	wait_for(&resets, C10M_CLIENT_STREAMS);
}

static void *leave(void *unused)
{
	c10m_client *first = open_client(), *second = open_client();

	talk(first, connect_to(first), 1, 100);
	connect_to(second);
	connect_to(second);
	wait_for(&opened, 3);
	return unused;
}

static void what_a_dead_thread_held_is_reset(void **state)
{
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, leave, NULL), 0);
	pthread_join(thread, NULL);
	wait_for(&resets, 3);
}

static void *stop_later(void *unused)
{
	usleep(50000);
	stop_node(&nodes[0]);
	return unused;
}

static void a_worker_that_stops_ends_the_waiting(void **state)
{
	c10m_client *client = open_client();
	c10m_stream stream = connect_to(client);
	pthread_t thread;
	uint8_t byte;
	int error;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, stop_later, NULL), 0);
	assert_int_equal(c10m_client_receive(client, stream, &byte, 1, -1), -ESHUTDOWN);
	pthread_join(thread, NULL);
	assert_int_equal(c10m_client_send(client, stream, "x", 1, -1), -ESHUTDOWN);
	assert_int_equal(c10m_client_connect(client, HOST, 7, -1, &error), 0);
	assert_int_equal(error, -ESHUTDOWN);
	c10m_client_close(client);
}

static void a_descriptor_tells_of_events(void **state)
{
	c10m_client *client = open_client();
	struct c10m_stream_event event;
	struct pollfd fd = {.fd = c10m_client_fd(client), .events = POLLIN};
	unsigned seen = 0;
	uint8_t byte = 0;
	int error;
	c10m_stream stream;

	(void)state;
	assert_int_equal(c10m_client_poll(client, &event, 1), 0);
	stream = c10m_client_connect(client, HOST, 7, 0, &error);
	assert_true(stream != 0 && error == 0);
	while (!(seen & C10M_STREAM_READABLE)) {
		assert_int_equal(poll(&fd, 1, 10000), 1);
		while (c10m_client_poll(client, &event, 1) == 1) {
			assert_true(event.stream == stream);
			if (event.events & C10M_STREAM_WRITABLE && !(seen & C10M_STREAM_WRITABLE))
				assert_int_equal(c10m_client_send(client, stream, "x", 1, 0), 1);
			seen |= event.events;
		}
	}
	assert_int_equal(c10m_client_receive(client, stream, &byte, 1, 0), 1);
	assert_int_equal(byte, 'x');
	stop_node(&nodes[1]); /* resets it */
	while (!(seen & C10M_STREAM_ENDED)) {
		assert_int_equal(poll(&fd, 1, 10000), 1);
		while (c10m_client_poll(client, &event, 1) == 1)
			seen |= event.events;
	}
	assert_int_equal(c10m_client_receive(client, stream, &byte, 1, 0), -ECONNRESET);
	c10m_client_close(client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_thread_talks_over_several_streams, setup, teardown),
		cmocka_unit_test_setup_teardown(a_late_reader_gets_everything, setup, teardown),
		cmocka_unit_test_setup_teardown(full_rings_refuse_and_time_out, setup, teardown),
		cmocka_unit_test_setup_teardown(nobody_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(places_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(what_a_dead_thread_held_is_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(a_worker_that_stops_ends_the_waiting, setup, teardown),
		cmocka_unit_test_setup_teardown(a_descriptor_tells_of_events, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
