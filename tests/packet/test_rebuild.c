/* test_rebuild.c - tables, wheel and free lists made again from blocks, chunks and compact entries alone, in
 * the middle of traffic (design idea 8). */
#include "harness.h"

#include <stdlib.h>

#include "stack/internal.h"

static void scramble_pool(struct pool *pool)
{
	memset(pool->free_stack, 0xee, pool->capacity * sizeof(*pool->free_stack));
	pool->free_count = 0xeeeeeeee;
}

/* What is to be made again holds nothing that helps. */
static void scramble(struct core *core)
{
	scramble_pool(&core->blocks);
	scramble_pool(&core->half_opens);
	scramble_pool(&core->time_waits);
	scramble_pool(&core->extensions);
	for (unsigned i = 0; i < CHUNK_CLASSES; i++)
		scramble_pool(&core->chunks.classes[i]);
	core->chunks.bytes_live = 0xeeeeeeee;
	memset(core->table.buckets, 0xee, core->table.bucket_count * sizeof(*core->table.buckets));
	core->table.live = 0xeeeeeeee;
}

static void rebuild(struct test *t)
{
	struct stack_usage before = usage(t), after;

	stack_verify(t->stack);
	scramble(&t->stack->core);
	stack_rebuild(t->stack, t->now_us);
	stack_verify(t->stack);
	after = usage(t);
	assert_int_equal(before.connections, after.connections);
	assert_int_equal(before.half_open, after.half_open);
	assert_int_equal(before.time_wait, after.time_wait);
	assert_int_equal(before.table_entries, after.table_entries);
	assert_int_equal(before.extensions, after.extensions);
	for (unsigned i = 0; i < CHUNK_CLASSES; i++)
		assert_int_equal(before.chunks[i], after.chunks[i]);
}

static void empty_stack(void **state)
{
	struct test *t = test_begin();

	(void)state;
	test_start(t);
	rebuild(t);
	open_server(t);
	test_finish(t);
}

static void idle_connection(void **state)
{
	struct test *t = begin_open();

	(void)state;
	rebuild(t);
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	expect_after(t, 40, ". seq 1 ack 11");
	test_finish(t);
}

static void retransmission_goes_on(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_send(t, 0, 3000);
	expect(t, ". seq 1 ack 1 len 1460");
	expect(t, ". seq 1461 ack 1 len 1460");
	pass_ms(t, 50);
	rebuild(t);
	expect_after(t, 150, ". seq 1 ack 1 len 1460");
	inject(t, ". seq 1 ack 2921");
	expect(t, "P. seq 2921 ack 1 len 80");
	test_finish(t);
}

static void delayed_acknowledgement_goes_on(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	rebuild(t);
	expect_after(t, 40, ". seq 1 ack 11");
	test_finish(t);
}

static void holes_and_unread_data_survive(void **state)
{
	struct test *t = begin_unread(0);

	(void)state;
	t->app.quiet = true;
	inject(t, ". seq 1 ack 1 len 500");
	inject(t, ". seq 1001 ack 1 len 500");
	expect(t, ". seq 1 ack 501");
	inject(t, "F. seq 2001 ack 1 len 500");
	expect(t, ". seq 1 ack 501");
	rebuild(t);
	t->app.consume = SIZE_MAX;
	inject(t, ". seq 501 ack 1 len 500");
	discard_out(t);
	inject(t, ". seq 1501 ack 1 len 500");
	expect(t, "F. seq 1 ack 2502");
	assert_int_equal(t->slots[0].rx_bytes, 2500);
	expect_event(t, "eof");
	inject(t, ". seq 2502 ack 2");
	expect_event(t, "close normal");
	test_finish(t);
}

static void half_open_and_time_wait_survive(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_close(t, 0);
	expect(t, "F. seq 1 ack 1");
	inject(t, "F. seq 1 ack 2");
	expect(t, ". seq 2 ack 2");
	expect_event(t, "close normal");
	use_peer(t, 1);
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	rebuild(t);
	expect_after(t, 1000, "S. seq 0 ack 1 mss 1460");
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open#1");
	use_peer(t, 0);
	inject(t, "F. seq 1 ack 2");
	expect(t, ". seq 2 ack 2");
	expect_drop(t, TCP_TIME_WAIT);
	pass_ms(t, 62000);
	assert_int_equal(usage(t).time_wait, 0);
	test_finish(t);
}

static void timers_survive(void **state)
{
	struct test *t = begin_open();

	(void)state;
	c10m_set_timer(app_conn(t, 0), 500);
	c10m_set_keepalive(app_conn(t, 0), 2000);
	flush(t);
	rebuild(t);
	pass_ms(t, 499);
	expect_no_event(t);
	pass_ms(t, 12);
	expect_event(t, "timer");
	pass_ms(t, 1600);
	assert_int_equal(discard_out(t), 1);
	assert_int_equal(stack_counters(t->stack)->tcp_keepalive_probes, 1);
	test_finish(t);
}

static void handles_survive(void **state)
{
	struct test *t = begin_open();

	(void)state;
	use_peer(t, 1);
	open_server(t);
	use_peer(t, 0);
	inject(t, "R seq 1");
	expect_event(t, "close reset");
	rebuild(t);
	assert_null(c10m_conn_find(stack_worker(t->stack), t->slots[0].handle));
	assert_non_null(c10m_conn_find(stack_worker(t->stack), t->slots[1].handle));
	test_finish(t);
}

/* --- thousands ---------------------------------------------------------------------------- */

#define MANY 3000

static size_t echo(c10m_conn *conn, const void *data, size_t bytes)
{
	return c10m_send(conn, data, bytes);
}

struct many {
	uint32_t irs;
	uint32_t in, out;
};

static void aim(struct test *t, const struct many *many, unsigned i)
{
	struct peer *peer = &t->peers[0];

	peer->port = (uint16_t)(1024 + i);
	peer->ip = PEER_IP;
	peer->irs = many[i].irs;
	peer->irs_known = true;
	peer->snd_nxt = many[i].in;
	peer->rcv_nxt = many[i].out;
}

static void open_many(struct test *t, struct many *many)
{
	for (unsigned i = 0; i < MANY; i++) {
		aim(t, many, i);
		t->peer->snd_nxt = 0;
		inject(t, "S seq 0 win 60000 mss 1460");
		expect(t, "S. seq 0 ack 1 mss 1460");
		inject(t, ". seq 1 ack 1");
		many[i] = (struct many){.irs = t->peer->irs, .in = 1, .out = 1};
	}
}

/* A request of so many bytes is echoed; the answer is acknowledged by the next request. */
static void echo_many(struct test *t, struct many *many, uint32_t bytes)
{
	for (unsigned i = 0; i < MANY; i++) {
		aim(t, many, i);
		inject(t, "P. seq %u ack %u len %u", many[i].in, many[i].out, bytes);
		many[i].in += bytes;
		expect(t, "P. seq %u ack %u len %u", many[i].out, many[i].in, bytes);
		many[i].out += bytes;
	}
}

static void thousands_in_the_middle_of_traffic(void **state)
{
	struct test *t = test_begin();
	struct many *many = calloc(MANY, sizeof(*many));
	unsigned again;

	(void)state;
	assert_non_null(many);
	t->config.connections = MANY + 10;
	t->services[0] = (struct c10m_service){.name = "echo", .port = SERVER_PORT, .on_data = echo};
	test_start(t);
	open_many(t, many);
	echo_many(t, many, 64);
	rebuild(t); /* every connection has unacknowledged data and a running timer */
	assert_int_equal(usage(t).connections, MANY);
	echo_many(t, many, 100);
	rebuild(t);
	rebuild(t);
	echo_many(t, many, 7);
	pass_ms(t, 260);
	again = discard_out(t);
	assert_int_equal(again, MANY); /* each retransmits its last answer */
	for (unsigned i = 0; i < MANY; i++) {
		aim(t, many, i);
		inject(t, "R seq %u", many[i].in);
	}
	assert_int_equal(usage(t).connections, 0);
	assert_int_equal(usage(t).table_entries, 0);
	free(many);
	test_finish(t);
}

/* An answer to a ping stands in a chunk until the port takes it. */
static void waiting_replies_keep_their_chunks(void **state)
{
	struct test *t = begin_open();
	uint8_t frame[FRAME_ROOM], body[1000];
	const struct out_frame *out;
	struct packet packet = {.data = frame};

	(void)state;
	memset(body, 0x5a, sizeof(body));
	packet.bytes = build_icmp(t, frame, ICMP_ECHO_REQUEST, 0, 1, body, sizeof(body));
	stack_rx(t->stack, t->now_us, &packet, 1);
	assert_int_equal(usage(t).chunks[2], 1);
	rebuild(t);
	app_send(t, 0, 3000); /* takes chunks: not that one */
	flush(t);
	out = next_out(t);
	assert_int_equal(out->bytes, 42 + sizeof(body));
	assert_memory_equal(out->data + 42, body, sizeof(body));
	discard_out(t);
	inject(t, ". seq 1 ack 2921");
	discard_out(t);
	inject(t, ". seq 1 ack 3001");
	assert_int_equal(usage(t).chunks[2], 0);
	test_finish(t);
}

/* Connections end, their blocks are free; a rebuild must find the same free ones. */
static void free_lists_are_rebuilt(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.connections = PEERS_MAX;
	test_start(t);
	for (unsigned i = 0; i < PEERS_MAX; i++) {
		use_peer(t, i);
		open_server(t);
	}
	for (unsigned i = 0; i < PEERS_MAX; i += 2) {
		use_peer(t, i);
		inject(t, "R seq 1");
	}
	discard_events(t);
	rebuild(t);
	for (unsigned i = 0; i < PEERS_MAX; i += 2) {
		use_peer(t, i);
		pass_ms(t, 10);
		open_server(t);
	}
	assert_int_equal(usage(t).connections, PEERS_MAX);
	t->peers[0].port = 999;
	use_peer(t, 0);
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "R. aseq 0 aack %u", t->peer->iss + 1);
	expect_drop(t, TCP_REFUSED);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(empty_stack),
	TEST(idle_connection),
	TEST(retransmission_goes_on),
	TEST(delayed_acknowledgement_goes_on),
	TEST(holes_and_unread_data_survive),
	TEST(half_open_and_time_wait_survive),
	TEST(timers_survive),
	TEST(handles_survive),
	TEST(thousands_in_the_middle_of_traffic),
	TEST(waiting_replies_keep_their_chunks),
	TEST(free_lists_are_rebuilt),
};

PACKET_MAIN(tests)
