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
#include "run/client_shared.h"
#include "run/errand.h"
#include "run/mailbox.h"
#include "run/worker.h"
#include "sys/clock.h"

#define NEAR 10u /* worker of the client */
#define FAR  11u /* the echo server */
#define HOST 0x0a000002u
#define OURS (HOST - 1) /* NEAR's address, where threads accept */
#define DOOR 9

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
		.connections = 1000,
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
	services[1].port = DOOR;
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

/* --- accepting --------------------------------------------------------------------------------------------
 */

static c10m_client *open_with(uint32_t worker, const struct c10m_client_options *options)
{
	int error;
	c10m_client *client = c10m_client_open_with(worker, 1, options, &error);

	assert_non_null(client);
	return client;
}

static c10m_client *open_accepting(uint32_t accepts, uint32_t backlog)
{
	const struct c10m_client_options options = {.accepts = accepts, .backlog = backlog};

	return open_with(NEAR, &options);
}

/* A connection from the other worker; 0: it was refused. */
static c10m_stream knock(c10m_client *from)
{
	uint8_t byte;
	int error;
	c10m_stream stream = c10m_client_connect(from, OURS, DOOR, 10000, &error);

	assert_true(stream != 0 || error == -ECONNRESET);
	if (!stream || c10m_client_receive(from, stream, &byte, 1, 50) != -ECONNRESET)
		return stream;
	c10m_client_end(from, stream);
	return 0;
}

static uint64_t unaccepted(void)
{
	struct c10m_stats stats;

	usleep(30000); /* what workers show is that old at most */
	assert_true(c10m_total_stats(&stats) >= 1);
	return stats.unaccepted;
}

static void answer(c10m_client *client, c10m_stream stream)
{
	uint8_t bytes[3000];
	int64_t got;

	while ((got = c10m_client_receive(client, stream, bytes, sizeof(bytes), 10000)) > 0)
		assert_int_equal(c10m_client_send(client, stream, bytes, (size_t)got, 10000), got);
	assert_int_equal(got, 0);
	assert_int_equal(c10m_client_end(client, stream), 0);
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

static void *serve_in_order(void *count)
{
	c10m_client *client = open_accepting(8, 0);
	struct c10m_endpoints pair;
	int error;

	for (uintptr_t i = 0; i < (uintptr_t)count; i++) {
		c10m_stream stream = c10m_client_accept(client, 10000, &error);

		assert_true(stream != 0 && error == 0);
		assert_int_equal(c10m_client_endpoints(client, stream, &pair), 0);
		assert_true(pair.local_address == OURS && pair.local_port == DOOR &&
			    pair.remote_address == HOST);
		answer(client, stream);
		assert_int_equal(c10m_client_endpoints(client, stream, &pair), -ESTALE);
	}
	assert_int_equal(c10m_client_accept(client, 0, &error), 0);
	assert_int_equal(error, -EAGAIN);
	assert_int_equal(c10m_client_accept(client, 20, &error), 0);
	assert_int_equal(error, -ETIMEDOUT);
	c10m_client_close(client);
	return NULL;
}

/* More than it has room for at a time: places come round. */
static void a_thread_accepts(void **state)
{
	c10m_client *from = open_with(FAR, &(struct c10m_client_options){.streams = 4});
	pthread_t thread;
	uint8_t byte;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, serve_in_order, (void *)(uintptr_t)20), 0);
	usleep(50000);
	for (uint32_t i = 0; i < 20; i++) {
		int error;
		c10m_stream stream = c10m_client_connect(from, OURS, DOOR, 10000, &error);

		assert_true(stream != 0);
		talk(from, stream, i, 20000);
		assert_int_equal(c10m_client_end(from, stream), 0);
		assert_int_equal(c10m_client_receive(from, stream, &byte, 1, 0), -ESTALE);
	}
	pthread_join(thread, NULL);
	c10m_client_close(from);
	assert_int_equal(unaccepted(), 0);
}

static void who_finds_no_room_is_reset_and_counted(void **state)
{
	c10m_client *from = open_with(FAR, &(struct c10m_client_options){0}), *client;
	c10m_stream first;
	int error;

	(void)state;
	assert_int_equal(knock(from), 0); /* nobody is there */
	client = open_client();
	assert_int_equal(knock(from), 0); /* somebody who does not accept */
	assert_int_equal(c10m_client_accept(client, -1, &error), 0);
	assert_int_equal(error, -EINVAL);
	c10m_client_close(client);
	assert_int_equal(unaccepted(), 2);

	client = open_accepting(3, 2);
	assert_true(knock(from) && knock(from));
	assert_int_equal(knock(from), 0); /* two wait */
	first = c10m_client_accept(client, 10000, &error);
	assert_true(first != 0);
	assert_true(knock(from) != 0);
	assert_true(c10m_client_accept(client, 10000, &error) && c10m_client_accept(client, 10000, &error));
	assert_int_equal(knock(from), 0); /* three are open */
	assert_int_equal(unaccepted(), 4);
	assert_int_equal(c10m_client_end(client, first), 0);
	assert_true(knock(from) != 0);
	c10m_client_close(client);
	assert_int_equal(unaccepted(), 4);
	c10m_client_close(from);
}

static void clients_take_turns(void **state)
{
	c10m_client *from = open_with(FAR, &(struct c10m_client_options){0});
	c10m_client *clients[3] = {open_accepting(3, 0), open_accepting(8, 0), open_accepting(8, 0)};
	unsigned counts[3] = {0};
	int error;

	(void)state;
	for (uint32_t i = 0; i < 12; i++)
		assert_true(knock(from) != 0);
	for (uint32_t i = 0; i < 3; i++)
		while (c10m_client_accept(clients[i], 0, &error))
			counts[i]++;
	assert_int_equal(counts[0], 3);
	assert_true(counts[1] + counts[2] == 9 && counts[1] >= 4 && counts[2] >= 4);
	c10m_client_close(clients[1]);
	assert_true(knock(from) != 0);
	assert_true(c10m_client_accept(clients[2], 1000, &error) != 0);
	c10m_client_close(clients[2]);
	c10m_client_close(clients[0]);
	c10m_client_close(from);
}

static void *accept_and_die(void *unused)
{
	c10m_client *client = open_accepting(8, 0);
	int error;

	assert_true(c10m_client_accept(client, 10000, &error) != 0);
	usleep(100000); /* others have come, and nobody takes them */
	return unused;
}

static void a_dead_thread_leaves_the_door_to_others(void **state)
{
	c10m_client *from = open_with(FAR, &(struct c10m_client_options){0}), *heir;
	c10m_stream streams[3];
	pthread_t thread;
	uint8_t byte;
	int error;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, accept_and_die, NULL), 0);
	usleep(50000);
	for (int i = 0; i < 3; i++)
		streams[i] = c10m_client_connect(from, OURS, DOOR, 10000, &error);
	pthread_join(thread, NULL);
	for (int i = 0; i < 3; i++)
		assert_int_equal(c10m_client_receive(from, streams[i], &byte, 1, 5000), -ECONNRESET);
	heir = open_accepting(8, 0);
	assert_true(knock(from) && c10m_client_accept(heir, 5000, &error));
	c10m_client_close(heir);
	c10m_client_close(from);
}

static void a_worker_that_stops_ends_the_accepting(void **state)
{
	c10m_client *client = open_accepting(8, 0), *from = open_with(FAR, &(struct c10m_client_options){0});
	struct c10m_stream_event event;
	c10m_stream stream;
	pthread_t thread;
	uint8_t byte;
	int error;

	(void)state;
	assert_true(knock(from) != 0);
	assert_int_equal(c10m_client_wait(client, &event, 1, 5000), 1);
	assert_true(event.stream == 0 && event.events == C10M_STREAM_ACCEPTABLE);
	assert_int_equal(c10m_client_wait(client, &event, 1, 5000), 1); /* as long as it waits */
	assert_int_equal(pthread_create(&thread, NULL, stop_later, NULL), 0);
	pthread_join(thread, NULL);
	stream = c10m_client_accept(client, -1, &error); /* it had come before the end */
	assert_true(stream != 0);
	assert_int_equal(c10m_client_receive(client, stream, &byte, 1, -1), -ESHUTDOWN);
	assert_int_equal(c10m_client_accept(client, -1, &error), 0);
	assert_int_equal(error, -ESHUTDOWN);
	assert_int_equal(c10m_client_wait(client, &event, 1, -1), 1);
	assert_int_equal(event.events, C10M_STREAM_ACCEPTABLE); /* that nobody comes is told, once */
	while (c10m_client_wait(client, &event, 1, -1) == 1)
		assert_true(event.stream == stream && event.events & C10M_STREAM_ENDED);
	assert_int_equal(c10m_client_wait(client, &event, 1, -1), -ESHUTDOWN);
	c10m_client_close(client);
	c10m_client_close(from);
}

/* Nothing is told of room that nobody missed. */
static void room_is_told_to_who_missed_it(void **state)
{
	static uint8_t bytes[100000];
	c10m_client *client = open_accepting(8, 0), *from = open_with(FAR, &(struct c10m_client_options){0});
	struct c10m_stream_event event = {0};
	c10m_stream stream = knock(from), other;
	int64_t sent = 0, more, got = 0;
	int error;

	(void)state;
	other = c10m_client_accept(client, 5000, &error);
	assert_true(stream && other);
	assert_int_equal(c10m_client_wait(from, &event, 1, 5000), 1); /* it is open */
	assert_int_equal(c10m_client_send(from, stream, bytes, 1000, 0), 1000);
	assert_int_equal(c10m_client_wait(from, &event, 1, 100), 0);
	while ((more = c10m_client_send(from, stream, bytes, sizeof(bytes), 200)) > 0)
		sent += more;
	assert_int_equal(more, -ETIMEDOUT);
	while (c10m_client_wait(from, &event, 1, 100) > 0)
		assert_int_equal(c10m_client_send(from, stream, bytes, 1, 0), -EAGAIN);
	while (got < sent + 1000) {
		more = c10m_client_receive(client, other, bytes, sizeof(bytes), 5000);
		assert_true(more > 0);
		got += more;
	}
	assert_int_equal(c10m_client_wait(from, &event, 1, 5000), 1);
	assert_true(event.stream == stream && event.events == C10M_STREAM_WRITABLE);
	c10m_client_close(client);
	c10m_client_close(from);
}

static void hold_up(c10m_worker *worker, void *until)
{
	(void)worker;
	while (!atomic_load((atomic_bool *)until))
		usleep(1000);
}

/* What waited for the worker is told at once: not a wake, nor a write to the descriptor, for each stream. */
static void a_burst_makes_one_bell(void **state)
{
	c10m_client *client = open_accepting(40, 0), *from = open_with(FAR, &(struct c10m_client_options){0});
	struct c10m_stream_event events[64];
	c10m_stream streams[40];
	atomic_bool go = false;
	unsigned bells, told = 0;
	int error, count;

	(void)state;
	for (uint32_t i = 0; i < 40; i++) {
		streams[i] = c10m_client_connect(from, OURS, DOOR, 10000, &error);
		assert_true(streams[i] && c10m_client_accept(client, 10000, &error));
	}
	while (c10m_client_wait(client, events, 64, 50) > 0)
		continue;
	bells = atomic_load(&client->sequence);
	assert_int_equal(c10m_post(NEAR, hold_up, &go), 0);
	for (uint32_t i = 0; i < 40; i++)
		assert_int_equal(c10m_client_send(from, streams[i], "x", 1, 1000), 1);
	usleep(50000); /* all of it lies in the wire */
	atomic_store(&go, true);
	while (told < 40 && (count = c10m_client_wait(client, events, 64, 5000)) > 0)
		told += (unsigned)count;
	assert_int_equal(told, 40);
	usleep(50000); /* who looks may take all before the bell of that round */
	assert_in_range(atomic_load(&client->sequence) - bells, 1, 5);
	c10m_client_close(client);
	c10m_client_close(from);
}

/* --- many streams, small rings, bursts ------------------------------------------------------------------ */

#define MANY 400u

static atomic_bool many_over;

static void echo_event(c10m_client *client, const struct c10m_stream_event *event, uint8_t *bytes, size_t len)
{
	c10m_stream stream = event->stream;
	int64_t got;
	int error;

	if (event->events & C10M_STREAM_ACCEPTABLE)
		stream = c10m_client_accept(client, 0, &error);
	if (!stream)
		return;
	do {
		got = c10m_client_receive(client, stream, bytes, len, 0);
		if (got > 0)
			assert_int_equal(c10m_client_send(client, stream, bytes, (size_t)got, 10000), got);
	} while (got == (int64_t)len);
	if (got == 0 ||
	    (event->events & C10M_STREAM_EOF && c10m_client_receive(client, stream, bytes, 1, 0) == 0))
		c10m_client_end(client, stream);
}

static void *serve_bursts(void *by_descriptor)
{
	const struct c10m_client_options options = {.accepts = 2 * MANY,
						    .streams = 1,
						    .receive_bytes = 256,
						    .send_bytes = 512,
						    .flags = C10M_CLIENT_BATCH};
	c10m_client *client = open_with(NEAR, &options);
	struct pollfd fd = {.fd = c10m_client_fd(client), .events = POLLIN};
	struct c10m_stream_event events[16];
	uint8_t bytes[256];

	while (!atomic_load(&many_over)) {
		int count;

		if (by_descriptor) {
			poll(&fd, 1, 100);
			count = c10m_client_poll(client, events, 16);
		} else {
			count = c10m_client_wait(client, events, 16, 100);
		}
		for (int i = 0; i < count; i++)
			echo_event(client, &events[i], bytes, sizeof(bytes));
	}
	c10m_client_close(client);
	return NULL;
}

static void many_streams(void *by_descriptor)
{
	c10m_client *from = open_with(FAR, &(struct c10m_client_options){.streams = 2 * MANY});
	static c10m_stream streams[MANY];
	pthread_t thread;
	int error;

	atomic_store(&many_over, false);
	assert_int_equal(pthread_create(&thread, NULL, serve_bursts, by_descriptor), 0);
	usleep(50000);
	for (uint32_t i = 0; i < MANY; i++) {
		streams[i] = c10m_client_connect(from, OURS, DOOR, 10000, &error);
		assert_true(streams[i] != 0);
	}
	for (uint32_t round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < MANY; i++)
			assert_int_equal(c10m_client_send(from, streams[i], &streams[i], 8, 1000), 8);
		for (uint32_t i = 0; i < MANY; i++) {
			c10m_stream back = 0;

			assert_int_equal(c10m_client_receive(from, streams[i], &back, 8, 10000), 8);
			assert_true(back == streams[i]);
		}
	}
	for (uint32_t i = 0; i < MANY; i++)
		talk(from, streams[i], i, i % 50 == 0 ? 9000 : 300);
	for (uint32_t i = 0; i < MANY; i += 2)
		c10m_client_end(from, streams[i]);
	for (uint32_t i = 0; i < MANY; i += 2) {
		streams[i] = c10m_client_connect(from, OURS, DOOR, 10000, &error);
		assert_true(streams[i] != 0);
		talk(from, streams[i], i, 300);
	}
	atomic_store(&many_over, true);
	pthread_join(thread, NULL);
	c10m_client_close(from);
}

static void many_streams_are_served_by_waiting(void **state)
{
	(void)state;
	many_streams(NULL);
}

static void many_streams_are_served_by_a_descriptor(void **state)
{
	(void)state;
	many_streams(&many_over);
}

static void options_that_make_no_sense_are_refused(void **state)
{
	static const struct c10m_client_options wrong[] = {{.streams = C10M_CLIENT_STREAMS_MAX + 1},
							   {.accepts = C10M_CLIENT_STREAMS_MAX + 1},
							   {.receive_bytes = 255},
							   {.receive_bytes = 1000},
							   {.send_bytes = 2 << 20},
							   {.send_bytes = 128},
							   {.flags = 2},
							   {.reserved = 1}};
	int error;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
		assert_null(c10m_client_open_with(NEAR, 1, &wrong[i], &error));
		assert_int_equal(error, -EINVAL);
	}
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
		cmocka_unit_test_setup_teardown(a_thread_accepts, setup, teardown),
		cmocka_unit_test_setup_teardown(who_finds_no_room_is_reset_and_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(clients_take_turns, setup, teardown),
		cmocka_unit_test_setup_teardown(a_dead_thread_leaves_the_door_to_others, setup, teardown),
		cmocka_unit_test_setup_teardown(a_worker_that_stops_ends_the_accepting, setup, teardown),
		cmocka_unit_test_setup_teardown(room_is_told_to_who_missed_it, setup, teardown),
		cmocka_unit_test_setup_teardown(a_burst_makes_one_bell, setup, teardown),
		cmocka_unit_test_setup_teardown(many_streams_are_served_by_waiting, setup, teardown),
		cmocka_unit_test_setup_teardown(many_streams_are_served_by_a_descriptor, setup, teardown),
		cmocka_unit_test_setup_teardown(options_that_make_no_sense_are_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
