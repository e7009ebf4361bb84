/* test_pools.c - each pool empty in turn: what happens is defined, counted, and over when there is room again
 * (design idea 7). Blocks and half-open entries: see test_open.c. */
#include "harness.h"

#include <errno.h>
#include <stdlib.h>

static uint32_t chunks(struct test *t)
{
	struct stack_usage now = usage(t);

	return now.chunks[0] + now.chunks[1] + now.chunks[2];
}

static struct test *begin_chunks(uint32_t small, uint32_t middle, uint32_t large)
{
	struct test *t = test_begin();

	t->config.chunks.count[0] = small;
	t->config.chunks.count[1] = middle;
	t->config.chunks.count[2] = large;
	t->app.quiet = true;
	test_start(t);
	open_server(t);
	return t;
}

/* RFC 9293 allows to drop what there is no room for: it is not acknowledged, and taken when it comes again.
 */
static void no_chunk_for_unread_data(void **state)
{
	struct test *t = begin_chunks(2, 2, 2);
	uint32_t taken = 0;

	(void)state;
	t->app.consume = 0;
	ignore_drops(t, DROP_NO_CHUNK);
	for (unsigned i = 0; i < 60; i++) {
		inject(t, ". seq %u ack 1 len 1000", 1 + 1000 * i);
		pass_ms(t, 41);
		discard_out(t);
		stack_verify(t->stack);
	}
	assert_true(stack_counters(t->stack)->drops[DROP_NO_CHUNK] > 0);
	assert_int_equal(usage(t).connections, 1);
	t->app.consume = SIZE_MAX;
	app_resume(t, 0);
	discard_out(t);
	taken = (uint32_t)t->slots[0].rx_bytes;
	assert_true(taken > 0 && taken < 60000);
	for (uint32_t i = taken; i < 60000; i += 1000) {
		inject(t, ". seq %u ack 1 len 1000", 1 + i);
		pass_ms(t, 41);
		discard_out(t);
	}
	assert_in_range(t->slots[0].rx_bytes, 60000, 60999);
	test_finish(t);
}

static void no_chunk_for_out_of_order_data(void **state)
{
	struct test *t = begin_chunks(1, 1, 1);

	(void)state;
	ignore_drops(t, DROP_NO_CHUNK);
	ignore_drops(t, DROP_REASSEMBLY_FULL);
	ignore_drops(t, DROP_TCP_OUT_OF_WINDOW); /* what was kept comes again */
	for (unsigned i = 10; i > 0; i--) {
		inject(t, ". seq %u ack 1 len 1000", 1 + 2000 * i);
		expect(t, ". seq 1 ack 1");
		stack_verify(t->stack);
	}
	for (unsigned i = 0; i < 21; i++) {
		inject(t, ". seq %u ack 1 len 1000", 1 + 1000 * i);
		pass_ms(t, 41);
		discard_out(t);
	}
	assert_int_equal(t->slots[0].rx_bytes, 21000);
	assert_int_equal(chunks(t), 0);
	assert_int_equal(usage(t).extensions, 0);
	test_finish(t);
}

/* A peer that sends single bytes, every other one first, takes no chunk for each (design idea 4). */
static void single_bytes_share_chunks(void **state)
{
	struct test *t = begin_chunks(4096, 64, 64);

	(void)state;
	t->app.consume = 0;
	for (unsigned seq = 1; seq < 6000; seq += 100) {
		for (unsigned i = 0; i < 100; i++) {
			inject(t, ". seq %u ack 1 len 1", seq + (2 * i + 1) % 101);
			discard_out(t);
		}
	}
	assert_in_range(chunks(t), 3, 100); /* 6000 bytes */
	t->app.consume = SIZE_MAX;
	app_resume(t, 0);
	discard_out(t);
	assert_int_equal(t->slots[0].rx_bytes, 6000);
	assert_int_equal(chunks(t), 0);
	test_finish(t);
}

/* In-order data that the application consumes needs no chunk at all. */
static void consumed_data_needs_no_chunk(void **state)
{
	struct test *t = begin_chunks(1, 1, 1);

	(void)state;
	use_peer(t, 1);
	open_server(t);
	app_send(t, 1, 60000); /* takes all there is */
	discard_out(t);
	use_peer(t, 0);
	for (unsigned i = 0; i < 10; i++) {
		inject(t, ". seq %u ack 1 len 1460", 1 + 1460 * i);
		discard_out(t);
	}
	assert_int_equal(t->slots[0].rx_bytes, 14600);
	test_finish(t);
}

static void no_chunk_to_send_from(void **state)
{
	struct test *t = begin_chunks(1, 1, 1);
	size_t sent;

	(void)state;
	mark(t);
	sent = app_send(t, 0, 60000);
	assert_in_range(sent, 1, 3000);
	assert_true(counted(t, tcp_send_refused) >= 1);
	assert_int_equal(app_send(t, 0, 1), 0);
	discard_out(t);
	inject(t, ". seq 1 ack %u", (unsigned)(1 + MIN_OF(sent, (size_t)1460)));
	discard_out(t);
	inject(t, ". seq 1 ack %u", (unsigned)(1 + sent));
	discard_out(t);
	expect_event(t, "writable");
	discard_events(t);
	assert_true(app_send(t, 0, 1000) > 0);
	discard_out(t);
	test_finish(t);
}

/* One connection holds every chunk; another waits, and is told when there is one. */
static void writable_comes_when_another_connection_gives_chunks_back(void **state)
{
	struct test *t = begin_chunks(1, 1, 1);
	size_t sent = app_send(t, 0, 60000);

	(void)state;
	discard_out(t);
	use_peer(t, 1);
	open_server(t);
	assert_int_equal(app_send(t, 1, 100), 0);
	expect_no_event(t);
	use_peer(t, 0);
	inject(t, "R seq 1");
	expect_event(t, "close reset");
	pass_ms(t, 5000);
	expect_event(t, "writable#1");
	assert_int_equal(app_send(t, 1, 100), 100);
	discard_out(t);
	assert_true(sent > 0);
	test_finish(t);
}

static void take_all_chunks(struct test *t, c10m_conn *conn, unsigned slot, const char *event)
{
	static const uint8_t data[60000];

	(void)t;
	(void)slot;
	if (strcmp(event, "writable") == 0)
		c10m_send(conn, data, sizeof(data));
}

/* While the search for those who wait stands still, one that it has passed begins to wait. */
static void waiting_behind_the_search_is_not_forgotten(void **state)
{
	struct test *t = begin_chunks(1, 1, 1);

	(void)state;
	for (unsigned i = 1; i < 3; i++) {
		use_peer(t, i);
		open_server(t);
	}
	app_send(t, 2, 60000);
	discard_out(t);
	assert_int_equal(app_send(t, 1, 100), 0);
	t->app.hook = take_all_chunks;
	inject(t, "R seq 1");
	expect_event(t, "close reset#2");
	pass_ms(t, 10);
	expect_event(t, "writable#1");
	t->app.hook = NULL;
	assert_int_equal(app_send(t, 0, 100), 0);
	discard_out(t);
	use_peer(t, 1);
	inject(t, "R seq 1");
	expect_event(t, "close reset#1");
	pass_ms(t, 10);
	expect_event(t, "writable");
	discard_out(t);
	test_finish(t);
}

/* The oldest goes (design idea 3). */
static void time_wait_pool_full(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.time_wait = 2;
	test_start(t);
	mark(t);
	for (unsigned i = 0; i < 3; i++) {
		use_peer(t, i);
		open_server(t);
		app_close(t, i);
		expect(t, "F. seq 1 ack 1");
		inject(t, "F. seq 1 ack 2");
		expect(t, ". seq 2 ack 2");
		expect_event(t, i ? "close normal#%u" : "close normal", i);
		pass_ms(t, 10);
	}
	assert_int_equal(usage(t).time_wait, 2);
	assert_int_equal(counted(t, tcp_time_wait_recycled), 1);
	use_peer(t, 0);
	inject(t, "F. seq 1 ack 2"); /* forgotten */
	expect(t, "R seq 2");
	expect_drop(t, TCP_NO_FLOW);
	use_peer(t, 2);
	inject(t, "F. seq 1 ack 2"); /* remembered */
	expect(t, ". seq 2 ack 2");
	expect_drop(t, TCP_TIME_WAIT);
	pass_ms(t, 70000);
	assert_int_equal(usage(t).time_wait, 0);
	assert_int_equal(usage(t).table_entries, 0);
	test_finish(t);
}

static void destination_table_full(void **state)
{
	struct test *t = test_begin();
	unsigned refused = 0;

	(void)state;
	t->config.destinations = 4;
	t->no_neighbours = true;
	t->active = true;
	test_start(t);
	for (unsigned i = 0; i < 10; i++) {
		int error;

		app_connect_to(t, PEER_IP + i, 80, 0, &error);
		refused += error != 0;
	}
	assert_true(refused > 0);
	discard_out(t);
	ignore_drops(t, DROP_NEIGHBOUR_UNRESOLVED);
	pass_ms(t, 600 * 1000); /* all given up: there is room again */
	discard_events(t);
	discard_out(t);
	{
		int error;

		app_connect_to(t, PEER_IP + 9, 80, 0, &error);
		assert_int_equal(error, 0);
	}
	discard_out(t);
	test_finish(t);
}

/* Frames come in, but none goes out: replies without a connection wait in a queue with an end. */
static void reply_queue_full(void **state)
{
	struct test *t = begin_chunks(0, 0, 0);
	uint8_t frame[FRAME_ROOM];
	uint32_t bytes;

	(void)state;
	ignore_drops(t, DROP_TCP_NO_FLOW);
	ignore_drops(t, DROP_REPLY_RATE);
	ignore_drops(t, DROP_REPLY_QUEUE_FULL);
	use_peer(t, 1);
	for (unsigned i = 0; i < 20000; i++) {
		struct packet packet;

		bytes = build(t, frame, ". seq 5 ack %u", i);
		packet = (struct packet){.data = frame, .bytes = bytes};
		if (i % 100 == 0)
			t->now_us += 100 * MS; /* so that the rate is not what limits */
		stack_rx(t->stack, t->now_us, &packet, 1);
	}
	assert_true(stack_counters(t->stack)->drops[DROP_REPLY_QUEUE_FULL] > 0);
	stack_verify(t->stack);
	flush(t);
	assert_true(discard_out(t) > 0);
	assert_int_equal(usage(t).replies, 0);
	use_peer(t, 0);
	inject(t, "P. seq 1 ack 1 len 10");
	expect_after(t, 40, ". seq 1 ack 11");
	test_finish(t);
}

static bool accepts(const struct test *t)
{
	const size_t bytes = 5 << 20;
	uint8_t *memory = aligned_alloc(4096, bytes);
	struct stack *stack;
	struct arena arena;

	assert_non_null(memory);
	memset(memory, 0, bytes);
	arena_init(&arena, memory, bytes, &t->secrets, 0);
	stack = stack_init(&arena, &t->config, 0);
	if (stack)
		stack_fini(stack);
	free(memory);
	return stack != NULL;
}

/* A configuration that makes no sense, or does not fit, is refused. */
#define REFUSED(change) \
	do { \
		struct stack_config good = t->config; \
		struct c10m_service services[ARRAY_COUNT(t->services)]; \
\
		memcpy(services, t->services, sizeof(services)); \
		change; \
		assert_false(accepts(t)); \
		t->config = good; \
		memcpy(t->services, services, sizeof(services)); \
	} while (0)

static void stack_init_refuses(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.connections = 4;
	t->config.chunks.count[0] = t->config.chunks.count[1] = 4;
	assert_true(accepts(t));
	REFUSED(t->config.chunks.count[0] = 0);    /* a fan-out would wait for ever */
	REFUSED(t->config.connections = 10000000); /* does not fit into this arena */
	REFUSED(t->config.connections = 0);
	REFUSED(t->config.connections = 1u << 26);
	REFUSED(t->config.half_open = UINT32_MAX);
	REFUSED(t->config.time_wait = UINT32_MAX);
	REFUSED(t->config.destinations = 65535);
	REFUSED(t->config.service_count = 0);
	REFUSED(t->config.service_count = STACK_SERVICES + 1);
	REFUSED(t->config.id = STACKS_MAX);
	REFUSED(t->config.address = 0xe0000001u);
	REFUSED(t->config.gateway = 0xe0000001u);
	REFUSED(t->config.gateway = t->config.address);
	REFUSED(t->config.prefix_bits = 33);
	REFUSED(t->config.mtu = 575);
	REFUSED(t->config.mtu = 9001);
	REFUSED(t->config.rto_min_ms = 60001);
	REFUSED(t->config.rto_initial_ms = 60001);
	REFUSED(t->config.time_wait_ms = 1u << 31);
	REFUSED(t->config.fin_wait2_ms = 1u << 31);
	REFUSED(t->config.delayed_ack_ms = 1u << 31);
	REFUSED(t->services[0].state_size = (size_t)UINT32_MAX - 63); /* a block would wrap to 128 bytes */
	REFUSED(t->services[0].congestion = "hope");
	REFUSED(t->services[1].port = t->services[0].port);
	assert_true(accepts(t));
	free(t->out);
	free(t);
}

static void control_refuses_what_makes_no_sense(void **state)
{
	struct test *t = begin_open();
	const struct eth_address mac = {{2, 0, 0, 0, 0, 9}};
	const struct stack_message wrong[] = {
		{.kind = STACK_SET_ADDRESS, .address = 0, .prefix_bits = 24},
		{.kind = STACK_SET_ADDRESS, .address = STACK_IP, .prefix_bits = 33},
		{.kind = STACK_SET_ADDRESS, .address = STACK_IP, .prefix_bits = 24, .gateway = STACK_IP},
		{.kind = STACK_SET_ADDRESS, .address = STACK_IP, .prefix_bits = 24, .gateway = UINT32_MAX},
		{.kind = STACK_SET_NEIGHBOUR, .address = STACK_IP, .mac = mac},
		{.kind = STACK_SET_NEIGHBOUR, .address = PEER_IP + (1u << 24), .mac = mac},
		{.kind = STACK_SET_NEIGHBOUR, .address = PEER_IP, .mac = eth_broadcast},
		{.kind = STACK_LISTEN, .value = 2},
		{.kind = STACK_UNLISTEN, .value = 1}, /* has no port */
		{.kind = (enum stack_message_kind)99},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(wrong); i++)
		if (stack_control(t->stack, t->now_us, &wrong[i]) != -EINVAL)
			fail_msg("message %u was not refused", i);
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	expect_after(t, 40, ". seq 1 ack 11");
	test_finish(t);
}

/* As many as may be half open: they go in slices, too. */
static void stopping_takes_slices(void **state)
{
	struct test *t = test_begin();
	unsigned calls = 1;

	(void)state;
	t->config.connections = t->config.half_open = 10000;
	test_start(t);
	for (unsigned i = 0; i < 10000; i++) {
		t->peer->port = (uint16_t)(1024 + i);
		t->peer->irs_known = false;
		inject(t, "S seq 0 win 1000 mss 1460");
		discard_out(t);
	}
	assert_int_equal(usage(t).half_open, 10000);
	for (; !stack_stop(t->stack, t->now_us); calls++)
		assert_in_range(usage(t).half_open, 1, 10000 - 4096 * calls);
	assert_int_equal(calls, 3);
	assert_int_equal(usage(t).half_open, 0);
	test_finish(t);
}

/* Thousands of connections come and go through small pools: nothing is lost. */
static void pools_balance(void **state)
{
	struct test *t = test_begin();
	struct stack_usage now;

	(void)state;
	t->app.quiet = true;
	t->config.connections = 8;
	t->config.time_wait = 4;
	test_start(t);
	for (unsigned i = 0; i < 2000; i++) {
		struct peer *peer = &t->peers[0];
		unsigned slot;

		t->slot_count = 0;
		memset(t->slots, 0, sizeof(t->slots));
		peer->port = (uint16_t)(2000 + i);
		slot = open_server(t);
		inject(t, ". seq 101 ack 1 len 100");
		expect(t, ". seq 1 ack 1");
		inject(t, ". seq 1 ack 1 len 50");
		discard_out(t);
		app_send(t, slot, 100 + i % 1000);
		discard_out(t);
		if (i % 3 == 0) {
			inject(t, "R seq 51");
		} else if (i % 3 == 1) {
			app_abort(t, slot);
		} else {
			inject(t, ". seq 51 ack %u len 50", 101 + i % 1000);
			app_close(t, slot);
			discard_out(t);
			inject(t, "F. seq 201 ack %u", 102 + i % 1000);
		}
		discard_out(t);
		discard_events(t);
		t->drops_seen = *stack_counters(t->stack);
	}
	pass_ms(t, 100000);
	now = usage(t);
	assert_int_equal(now.connections + now.half_open + now.time_wait + now.table_entries + now.extensions,
			 0);
	assert_int_equal(chunks(t), 0);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(no_chunk_for_unread_data),
	TEST(no_chunk_for_out_of_order_data),
	TEST(single_bytes_share_chunks),
	TEST(consumed_data_needs_no_chunk),
	TEST(no_chunk_to_send_from),
	TEST(writable_comes_when_another_connection_gives_chunks_back),
	TEST(waiting_behind_the_search_is_not_forgotten),
	TEST(time_wait_pool_full),
	TEST(destination_table_full),
	TEST(reply_queue_full),
	TEST(stack_init_refuses),
	TEST(control_refuses_what_makes_no_sense),
	TEST(stopping_takes_slices),
	TEST(pools_balance),
};

PACKET_MAIN(tests)
