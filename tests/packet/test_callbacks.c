/* test_callbacks.c - what callbacks may do to their own connection and to others: whatever it is, the
 * callbacks that follow from it come when the current one has returned. */
#include "harness.h"

static unsigned depth, deepest, calls;
static c10m_handle others[SLOTS_MAX];

static c10m_conn *other(struct test *t, unsigned slot)
{
	return c10m_conn_find(stack_worker(t->stack), t->slots[slot].handle);
}

static void enter(void)
{
	depth++;
	calls++;
	deepest = MAX_OF(deepest, depth);
}

static struct test *begin_many(unsigned count)
{
	struct test *t = test_begin();

	depth = deepest = calls = 0;
	test_start(t);
	for (unsigned i = 0; i < count; i++) {
		t->peers[i % PEERS_MAX].port = (uint16_t)(2000 + i);
		use_peer(t, i % PEERS_MAX);
		open_server(t);
	}
	use_peer(t, 0);
	return t;
}

static void hook_abort_second(struct test *t, c10m_conn *conn, unsigned slot, const char *event)
{
	(void)conn;
	enter();
	if (slot == 0 && strcmp(event, "data") == 0)
		c10m_abort(other(t, 1));
	depth--;
}

static void abort_of_another(void **state)
{
	struct test *t = begin_many(2);

	(void)state;
	t->app.hook = hook_abort_second;
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	expect_event(t, "close aborted#1");
	assert_int_equal(deepest, 1);
	discard_out(t);
	assert_int_equal(usage(t).connections, 1);
	test_finish(t);
}

static void hook_abort_each_other(struct test *t, c10m_conn *conn, unsigned slot, const char *event)
{
	(void)conn;
	enter();
	if (slot == 0 && strcmp(event, "data") == 0)
		c10m_abort(other(t, 1));
	if (slot == 1 && strcmp(event, "close") == 0 && other(t, 0))
		c10m_abort(other(t, 0));
	depth--;
}

/* The first one's data callback would still run when it is taken from under it. */
static void abort_of_each_other(void **state)
{
	struct test *t = begin_many(3);

	(void)state;
	t->app.hook = hook_abort_each_other;
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	expect_event(t, "close aborted#1");
	expect_event(t, "close aborted");
	assert_int_equal(deepest, 1);
	assert_int_equal(discard_out(t), 2);
	stack_verify(t->stack);
	assert_int_equal(usage(t).connections, 1);
	t->app.hook = NULL;
	for (unsigned i = 3; i < 6; i++) { /* no block was given back twice */
		use_peer(t, i);
		open_server(t);
	}
	stack_verify(t->stack);
	assert_int_equal(usage(t).connections, 4);
	test_finish(t);
}

static void hook_abort_next(struct test *t, c10m_conn *conn, unsigned slot, const char *event)
{
	(void)conn;
	enter();
	if (strcmp(event, "close") == 0 && slot + 1 < t->slot_count)
		c10m_abort(other(t, slot + 1));
	depth--;
}

/* One falls after the other, as many as there are: not one on top of the other. */
static void chain_of_aborts(void **state)
{
	struct test *t = begin_many(SLOTS_MAX - 4);

	(void)state;
	t->app.hook = hook_abort_next;
	app_abort(t, 0);
	expect_event(t, "close aborted");
	for (unsigned i = 1; i < SLOTS_MAX - 4; i++)
		expect_event(t, "close aborted#%u", i);
	assert_int_equal(deepest, 1);
	discard_out(t);
	assert_int_equal(usage(t).connections, 0);
	test_finish(t);
}

static void hook_close_second(struct test *t, c10m_conn *conn, unsigned slot, const char *event)
{
	(void)conn;
	if (slot == 0 && strcmp(event, "data") == 0)
		c10m_close(other(t, 1));
}

static void close_of_another(void **state)
{
	struct test *t = begin_many(2);

	(void)state;
	t->app.hook = hook_close_second;
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	use_peer(t, 1);
	expect(t, "F. seq 1 ack 1");
	inject(t, "F. seq 1 ack 2");
	expect(t, ". seq 2 ack 2");
	expect_event(t, "close normal#1");
	discard_out(t);
	test_finish(t);
}

static void close_of_another_with_unread_data(void **state)
{
	struct test *t = begin_many(2);

	(void)state;
	t->app.consume = 0;
	use_peer(t, 1);
	inject(t, "P. seq 1 ack 1 len 20");
	expect_event(t, "data 20#1");
	expect_after(t, 40, ". seq 1 ack 21");
	t->app.consume = SIZE_MAX;
	t->app.hook = hook_close_second;
	use_peer(t, 0);
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	use_peer(t, 1);
	expect(t, "R. seq 1 ack 21");
	expect_event(t, "close aborted#1");
	discard_out(t);
	test_finish(t);
}

static void hook_resume_other(struct test *t, c10m_conn *conn, unsigned slot, const char *event)
{
	(void)conn;
	enter();
	if (strcmp(event, "data") == 0 && calls < 6)
		c10m_resume(other(t, 1 - slot));
	depth--;
}

/* The data that the first looks at must not be taken away by the second's asking for it to be offered again.
 */
static void resume_of_each_other(void **state)
{
	struct test *t = begin_many(2);

	(void)state;
	t->app.consume = 0;
	for (unsigned i = 0; i < 2; i++) {
		use_peer(t, i);
		inject(t, "P. seq 1 ack 1 len 20");
		discard_events(t);
		expect_after(t, 40, ". seq 1 ack 21");
	}
	t->app.consume = 5;
	t->app.hook = hook_resume_other;
	app_resume(t, 0);
	for (unsigned i = 0; i < 3; i++) {
		expect_event(t, "data %u", 20 - 5 * i);
		expect_event(t, "data %u#1", 20 - 5 * i);
	}
	assert_int_equal(deepest, 1);
	stack_verify(t->stack);
	test_finish(t);
}

static void hook_connect_on_close(struct test *t, c10m_conn *conn, unsigned slot, const char *event)
{
	const struct c10m_connect_request request = {
		.service = 1,
		.remote_address = PEER_IP,
		.remote_port = 80,
		.local_port = 5000,
	};

	(void)conn;
	(void)slot;
	if (strcmp(event, "close") == 0)
		others[0] = c10m_connect(stack_worker(t->stack), &request, NULL);
}

static void connect_inside_on_close(void **state)
{
	struct test *t = begin_many(1);

	(void)state;
	t->app.hook = hook_connect_on_close;
	inject(t, "R seq 1");
	expect_event(t, "close reset");
	assert_true(others[0] != 0);
	t->app.hook = NULL;
	t->slots[t->slot_count++].handle = others[0];
	t->peer->stack_port = 5000;
	t->peer->port = 80;
	t->peer->irs_known = false;
	expect(t, "S mss 1460 sackok ts 0 wscale 0");
	app_abort(t, 1);
	expect_event(t, "close aborted#1");
	test_finish(t);
}

/* --- what is not delivered any more ------------------------------------------------------------------------
 */

static void hook_abort_on_timer(struct test *t, c10m_conn *conn, unsigned slot, const char *event)
{
	(void)t;
	(void)slot;
	if (strcmp(event, "timer") == 0)
		c10m_abort(conn);
}

/* Who is told nothing else may still end a close that lasts too long. */
static void timer_after_close(void **state)
{
	struct test *t = begin_many(1);

	(void)state;
	t->app.hook = hook_abort_on_timer;
	inject(t, ". seq 1 ack 1 win 0");
	app_send(t, 0, 100);
	c10m_set_timer(app_conn(t, 0), 100);
	app_close(t, 0);
	expect_nothing(t);
	pass_ms(t, 103);
	expect_event(t, "timer");
	expect_event(t, "close aborted");
	expect(t, "R. seq 1 ack 1");
	test_finish(t);
}

static void no_open_after_close(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->active = true;
	test_start(t);
	app_connect(t, 5000);
	expect(t, "S mss 1460 sackok ts 0 wscale 0");
	t->peer->snd_nxt = 0;
	inject(t, "S seq 0 win 1000 mss 1460"); /* both at once */
	expect(t, "S. seq 0 ack 1 mss 1460");
	app_close(t, 0);
	inject(t, ". seq 1 ack 1");
	expect_no_event(t);
	expect(t, "F. seq 1 ack 1");
	inject(t, "F. seq 1 ack 2");
	expect(t, ". seq 2 ack 2");
	expect_event(t, "close normal");
	test_finish(t);
}

/* A full close has its own time limit: keepalive settings do not take it away. */
static void keepalive_after_close(void **state)
{
	struct test *t = begin_many(1);

	(void)state;
	app_close(t, 0);
	expect(t, "F. seq 1 ack 1");
	inject(t, ". seq 1 ack 2");
	c10m_set_keepalive(app_conn(t, 0), 0);
	pass_ms(t, 70000);
	expect_event(t, "close normal");
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(abort_of_another),
	TEST(abort_of_each_other),
	TEST(chain_of_aborts),
	TEST(close_of_another),
	TEST(close_of_another_with_unread_data),
	TEST(resume_of_each_other),
	TEST(connect_inside_on_close),
	TEST(timer_after_close),
	TEST(no_open_after_close),
	TEST(keepalive_after_close),
};

PACKET_MAIN(tests)
