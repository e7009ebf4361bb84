/* test_handles.c - names of connections that may be kept for ever (design idea 9), and what a connection
 * tells of itself. */
#include "harness.h"

static c10m_conn *find(struct test *t, c10m_handle handle)
{
	return c10m_conn_find(stack_worker(t->stack), handle);
}

static void handle_finds_its_connection(void **state)
{
	struct test *t = begin_open();
	c10m_handle handle = t->slots[0].handle;
	c10m_conn *conn = find(t, handle);

	(void)state;
	assert_non_null(conn);
	assert_true(c10m_conn_handle(conn) == handle);
	assert_ptr_equal(c10m_conn_worker(conn), stack_worker(t->stack));
	test_finish(t);
}

static void stale_after_each_kind_of_end(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, "R seq 1");
	expect_event(t, "close reset");
	assert_null(find(t, t->slots[0].handle));
	use_peer(t, 1);
	open_server(t);
	app_abort(t, 1);
	discard_out(t);
	expect_event(t, "close aborted#1");
	assert_null(find(t, t->slots[1].handle));
	use_peer(t, 2);
	open_server(t);
	app_close(t, 2);
	expect(t, "F. seq 1 ack 1");
	inject(t, "F. seq 1 ack 2");
	expect(t, ". seq 2 ack 2");
	expect_event(t, "close normal#2");
	assert_null(find(t, t->slots[2].handle));
	test_finish(t);
}

/* The same block serves again and again: no two of its connections share a handle. */
static void generations_differ(void **state)
{
	struct test *t = test_begin();
	c10m_handle seen[40];

	(void)state;
	t->config.connections = 1;
	test_start(t);
	for (unsigned i = 0; i < ARRAY_COUNT(seen); i++) {
		t->peers[0].port = (uint16_t)(1000 + i);
		open_server(t);
		seen[i] = t->slots[i].handle;
		assert_non_null(find(t, seen[i]));
		for (unsigned j = 0; j < i; j++) {
			assert_true(seen[j] != seen[i]);
			assert_null(find(t, seen[j]));
		}
		inject(t, "R seq 1");
		discard_events(t);
	}
	test_finish(t);
}

static void what_is_no_handle(void **state)
{
	struct test *t = begin_open();
	c10m_handle handle = t->slots[0].handle;

	(void)state;
	assert_null(find(t, 0));
	assert_null(find(t, UINT64_MAX));
	for (unsigned bit = 0; bit < 64; bit++)
		assert_null(find(t, handle ^ (1ULL << bit)));
	test_finish(t);
}

static void handle_inside_on_close(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, "R seq 1"); /* the harness compares the handle inside on_close */
	expect_event(t, "close reset");
	assert_int_equal(t->slot_count, 1);
	test_finish(t);
}

static void state_is_zeroed_for_each_connection(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.connections = 1;
	t->services[0].state_size = 200;
	test_start(t);
	for (unsigned i = 0; i < 5; i++) {
		uint8_t *bytes;

		t->peers[0].port = (uint16_t)(1000 + i);
		open_server(t);
		bytes = c10m_conn_state(app_conn(t, i));
		assert_int_equal((uintptr_t)bytes % 64, 0);
		for (unsigned j = 8; j < 200; j++)
			assert_int_equal(bytes[j], 0);
		memset(bytes + 8, 0xff, 192);
		inject(t, "R seq 1");
		discard_events(t);
	}
	test_finish(t);
}

static void endpoints_and_user(void **state)
{
	struct test *t = test_begin();
	struct c10m_endpoints endpoints;
	int mine;

	(void)state;
	t->services[0].user = &mine;
	test_start(t);
	open_server(t);
	c10m_conn_endpoints(app_conn(t, 0), &endpoints);
	assert_int_equal(endpoints.local_address, STACK_IP);
	assert_int_equal(endpoints.remote_address, PEER_IP);
	assert_int_equal(endpoints.local_port, SERVER_PORT);
	assert_int_equal(endpoints.remote_port, PEER_PORT);
	assert_ptr_equal(c10m_conn_user(app_conn(t, 0)), &mine);
	test_finish(t);
}

static void state_of_a_connect_is_copied(void **state)
{
	struct test *t = test_begin();
	uint32_t value = 0;
	struct c10m_connect_request request = {
		.service = 1,
		.remote_address = PEER_IP,
		.remote_port = 80,
		.state = &value,
		.state_bytes = sizeof(value),
	};
	int error = 0;
	c10m_handle handle;

	(void)state;
	t->active = true;
	test_start(t);
	handle = c10m_connect(stack_worker(t->stack), &request, &error);
	assert_true(handle != 0);
	t->slots[t->slot_count++].handle = handle;
	value = 77;
	assert_int_equal(*(uint32_t *)c10m_conn_state(find(t, handle)), 0);
	request.state_bytes = 100000;
	assert_true(c10m_connect(stack_worker(t->stack), &request, &error) == 0);
	assert_true(error < 0);
	request.state_bytes = 0;
	request.service = 99;
	assert_true(c10m_connect(stack_worker(t->stack), &request, &error) == 0);
	assert_true(error < 0);
	flush(t);
	discard_out(t);
	test_finish(t);
}

static void statistics(void **state)
{
	struct test *t = begin_open();
	struct c10m_stats stats;

	(void)state;
	use_peer(t, 1);
	inject(t, "S seq 0 win 1000 mss 1460");
	discard_out(t);
	c10m_worker_stats(stack_worker(t->stack), &stats);
	assert_int_equal(stats.connections, 1);
	assert_int_equal(stats.half_open, 1);
	assert_int_equal(stats.time_wait, 0);
	assert_int_equal(stats.opened, 1);
	assert_int_equal(stats.closed, 0);
	assert_int_equal(stats.rx_packets, 3);
	assert_int_equal(stats.tx_packets, 2);
	assert_int_equal(stats.drops, 0);
	assert_true(stats.rx_bytes >= 3 * 54 && stats.tx_bytes >= 2 * 54);
	assert_true(stats.memory_bytes > 0);
	use_peer(t, 0);
	inject(t, "R seq 1");
	expect_event(t, "close reset");
	c10m_worker_stats(stack_worker(t->stack), &stats);
	assert_int_equal(stats.connections, 0);
	assert_int_equal(stats.closed, 1);
	test_finish(t);
}

static void time_of_the_worker(void **state)
{
	struct test *t = begin_open();

	(void)state;
	pass_ms(t, 1234);
	assert_true(c10m_now_us(stack_worker(t->stack)) == t->now_us);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(handle_finds_its_connection),
	TEST(stale_after_each_kind_of_end),
	TEST(generations_differ),
	TEST(what_is_no_handle),
	TEST(handle_inside_on_close),
	TEST(state_is_zeroed_for_each_connection),
	TEST(endpoints_and_user),
	TEST(state_of_a_connect_is_copied),
	TEST(statistics),
	TEST(time_of_the_worker),
};

PACKET_MAIN(tests)
