/* test_timers.c - timers of connections: the application's, keepalive, and all of them at once
 * (RFC 9293 section 3.8.4, design idea 10). */
#include "harness.h"

static void set_timer(struct test *t, unsigned slot, uint32_t ms)
{
	flush(t);
	c10m_set_timer(app_conn(t, slot), ms);
	flush(t);
}

/* Fires within a tick or two, or 1/64 of its length; never early. */
static void expect_timer_after(struct test *t, uint64_t ms)
{
	pass_us(t, ms * MS - 1);
	expect_no_event(t);
	pass_us(t, 1 + (2 + ms / 64) * MS);
	expect_event(t, "timer");
}

static void timer_fires_in_time(void **state)
{
	static const uint32_t lengths_ms[] = {
		1, 2, 5, 40, 255, 256, 257, 1000, 16383, 16384, 16385, 100000, 1048576, 24 * 3600 * 1000,
	};
	struct test *t = begin_open();

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(lengths_ms); i++) {
		set_timer(t, 0, lengths_ms[i]);
		expect_timer_after(t, lengths_ms[i]);
		expect_no_event(t);
	}
	test_finish(t);
}

/* The longest, 24 days: 31 bits of milliseconds (design section 7: conversions by the wrong factor). */
static void trap_the_longest_timer(void **state)
{
	const uint64_t longest_ms = 24ULL * 24 * 3600 * 1000;
	struct test *t = begin_open();

	(void)state;
	set_timer(t, 0, (uint32_t)longest_ms);
	pass_ms(t, longest_ms - 1000);
	expect_no_event(t);
	pass_ms(t, longest_ms / 60);
	expect_event(t, "timer");
	test_finish(t);
}

static void zero_takes_it_back(void **state)
{
	struct test *t = begin_open();

	(void)state;
	set_timer(t, 0, 100);
	pass_ms(t, 50);
	set_timer(t, 0, 0);
	pass_ms(t, 10000);
	expect_no_event(t);
	test_finish(t);
}

static void moved_earlier_and_later(void **state)
{
	struct test *t = begin_open();

	(void)state;
	set_timer(t, 0, 1000);
	pass_ms(t, 10);
	set_timer(t, 0, 100); /* earlier: a new entry */
	expect_timer_after(t, 100);
	pass_ms(t, 5000);
	expect_no_event(t); /* the old entry does nothing */
	set_timer(t, 0, 100);
	pass_ms(t, 50);
	set_timer(t, 0, 1000); /* later: the entry finds out when it fires */
	expect_timer_after(t, 1000);
	test_finish(t);
}

static void moved_often(void **state)
{
	struct test *t = begin_open();

	(void)state;
	for (unsigned i = 0; i < 2000; i++) {
		set_timer(t, 0, 1 + (i * 7919) % 5000);
		if (i % 50 == 0)
			stack_verify(t->stack);
	}
	set_timer(t, 0, 300);
	expect_timer_after(t, 300);
	pass_ms(t, 20000);
	expect_no_event(t);
	assert_true(usage(t).timer_entries <= 64);
	test_finish(t);
}

static void hook_rearm(struct test *t, c10m_conn *conn, unsigned slot, const char *event)
{
	(void)t;
	(void)slot;
	if (event[0] == 't')
		c10m_set_timer(conn, 100);
}

static void timer_set_again_inside_its_callback(void **state)
{
	struct test *t = begin_open();

	(void)state;
	t->app.hook = hook_rearm;
	set_timer(t, 0, 100);
	for (unsigned i = 0; i < 50; i++) {
		unsigned ms = 0;

		for (; t->event_count == 0 && ms < 200; ms++)
			pass_ms(t, 1);
		assert_in_range(ms, 100, 103);
		expect_event(t, "timer");
	}
	test_finish(t);
}

static void hook_close(struct test *t, c10m_conn *conn, unsigned slot, const char *event)
{
	(void)t;
	(void)slot;
	if (event[0] == 't')
		c10m_abort(conn);
}

static void abort_inside_the_callback(void **state)
{
	struct test *t = begin_open();

	(void)state;
	t->app.hook = hook_close;
	set_timer(t, 0, 100);
	pass_ms(t, 103);
	expect_event(t, "timer");
	expect_event(t, "close aborted");
	expect(t, "R. seq 1 ack 1");
	pass_ms(t, 1000);
	test_finish(t);
}

/* The block is used again: the old connection's timer must not reach the new one. */
static void timer_of_an_ended_connection(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.connections = 1;
	test_start(t);
	open_server(t);
	set_timer(t, 0, 1000);
	inject(t, "R seq 1");
	expect_event(t, "close reset");
	use_peer(t, 1);
	open_server(t);
	pass_ms(t, 5000);
	expect_no_event(t);
	set_timer(t, 1, 100);
	pass_ms(t, 103);
	expect_event(t, "timer#1");
	test_finish(t);
}

static void hook_abort_the_other(struct test *t, c10m_conn *conn, unsigned slot, const char *event)
{
	(void)conn;
	if (event[0] == 't')
		c10m_abort(c10m_conn_find(stack_worker(t->stack), t->slots[!slot].handle));
}

/* Two are due in the same tick, and the first ends the other, whose entry has left the wheel by then: the
 * next connection in that block must not count on it. */
static void timer_of_one_that_another_ends(void **state)
{
	struct test *t = begin_open();

	(void)state;
	use_peer(t, 1);
	t->peer->port = 40001;
	open_server(t);
	t->app.hook = hook_abort_the_other;
	flush(t);
	c10m_set_timer(app_conn(t, 0), 100);
	c10m_set_timer(app_conn(t, 1), 100);
	flush(t);
	pass_ms(t, 110);
	assert_int_equal(usage(t).connections, 1);
	discard_events(t);
	discard_out(t);
	t->app.hook = NULL;
	use_peer(t, 2);
	t->peer->port = 40002;
	open_server(t);
	set_timer(t, 2, 300);
	pass_ms(t, 310);
	expect_event(t, "timer#2");
	test_finish(t);
}

static void application_timer_beside_retransmission(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_send(t, 0, 10);
	expect(t, "P. seq 1 ack 1 len 10");
	set_timer(t, 0, 300);
	expect_after(t, 200, "P. seq 1 ack 1 len 10");
	pass_ms(t, 105);
	expect_event(t, "timer");
	pass_ms(t, 300);
	expect(t, "P. seq 1 ack 1 len 10");
	inject(t, ". seq 1 ack 11");
	test_finish(t);
}

/* --- keepalive ------------------------------------------------------------------------------- */

static struct test *begin_keepalive(uint32_t ms)
{
	struct test *t = test_begin();

	t->services[0].keepalive_ms = ms;
	test_start(t);
	open_server(t);
	return t;
}

/* A probe repeats the last sequence number, so that it must be answered. */
static void take_probe(struct test *t)
{
	struct tcp_segment segment;

	next_segment(t, &segment);
	assert_int_equal(segment.flags, TCP_ACK);
	assert_int_equal(segment.seq - t->peer->irs, 0);
	assert_int_equal(segment.payload_bytes, 0);
}

/* proves RFC9293-MUST-27, RFC9293-SHLD-12, RFC9293-MAY-5 */
static void silence_is_probed(void **state)
{
	struct test *t = begin_keepalive(10000);

	(void)state;
	mark(t);
	pass_ms(t, 9990);
	expect_nothing(t);
	pass_ms(t, 200);
	take_probe(t);
	assert_int_equal(counted(t, tcp_keepalive_probes), 1);
	inject(t, ". seq 1 ack 1"); /* alive */
	pass_ms(t, 9500);
	expect_nothing(t);
	pass_ms(t, 700);
	take_probe(t);
	inject(t, ". seq 1 ack 1");
	expect_no_event(t);
	test_finish(t);
}

/* proves RFC9293-MUST-26 */
static void traffic_puts_the_probe_off(void **state)
{
	struct test *t = begin_keepalive(10000);

	(void)state;
	t->app.quiet = true;
	for (unsigned i = 0; i < 20; i++) {
		pass_ms(t, 6000);
		discard_out(t);
		inject(t, "P. seq %u ack 1 len 10", 1 + 10 * i);
		expect_after(t, 40, ". seq 1 ack %u", 11 + 10 * i);
	}
	assert_int_equal(stack_counters(t->stack)->tcp_keepalive_probes, 0);
	test_finish(t);
}

/* proves RFC9293-MUST-29 */
static void unanswered_probes_end_the_connection(void **state)
{
	struct test *t = begin_keepalive(10000);

	(void)state;
	mark(t);
	pass_ms(t, 20 * 60 * 1000);
	expect_event(t, "close keepalive");
	assert_in_range(counted(t, tcp_keepalive_probes), 2, 20);
	assert_int_equal(counted(t, tcp_keepalive_timeouts), 1);
	assert_int_equal(usage(t).connections, 0);
	discard_out(t);
	test_finish(t);
}

/* proves RFC9293-MUST-24 */
static void keepalive_set_on_one_connection(void **state)
{
	struct test *t = begin_open();

	(void)state;
	pass_ms(t, 3600 * 1000);
	expect_nothing(t);
	c10m_set_keepalive(app_conn(t, 0), 5000);
	flush(t);
	pass_ms(t, 5200);
	take_probe(t);
	inject(t, ". seq 1 ack 1");
	c10m_set_keepalive(app_conn(t, 0), 0);
	flush(t);
	pass_ms(t, 3600 * 1000);
	expect_nothing(t);
	expect_no_event(t);
	test_finish(t);
}

/* RFC 9293 section 3.8.4: a probe of the peer's is answered. */
static void probe_of_the_peer_is_answered(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, ". seq 0 ack 1");
	expect(t, ". seq 1 ack 1");
	expect_drop(t, TCP_OUT_OF_WINDOW);
	pass_ms(t, 2000);
	inject(t, ". seq 0 ack 1 len 1"); /* with the octet of old stacks */
	expect(t, ". seq 1 ack 1");
	expect_drop(t, TCP_OUT_OF_WINDOW);
	expect_no_event(t);
	test_finish(t);
}

/* --- the stack's own deadline -------------------------------------------------------------------- */

static void nothing_to_do_has_no_deadline(void **state)
{
	struct test *t = begin_open();

	(void)state;
	pass_ms(t, 3600 * 1000);
	assert_true(stack_deadline(t->stack) > t->now_us + 1000 * SECOND);
	test_finish(t);
}

/* Nobody had a timer for longer than ticks can tell, and nobody called. Those of today are filed for today.
 */
static void first_timer_after_a_month_of_silence(void **state)
{
	struct test *t = begin_open();
	uint8_t frame[FRAME_ROOM];
	uint32_t bytes;

	(void)state;
	pass_ms(t, 1000);
	assert_true(stack_deadline(t->stack) == UINT64_MAX);
	bytes = build(t, frame, "P. seq 1 ack 1 len 10");
	t->now_us += 30ULL * 24 * 3600 * SECOND;
	inject_raw(t, frame, bytes);
	assert_in_range(stack_deadline(t->stack) - t->now_us, 39 * MS, 42 * MS);
	expect_event(t, "data 10");
	expect_after(t, 40, ". seq 1 ack 11");
	test_finish(t);
}

/* All timers of many connections, in one stack, each in time. */
static void many_timers(void **state)
{
	struct test *t = test_begin();
	uint64_t start_us;

	(void)state;
	test_start(t);
	for (unsigned i = 0; i < PEERS_MAX; i++) {
		use_peer(t, i);
		open_server(t);
	}
	start_us = t->now_us;
	for (unsigned i = 0; i < PEERS_MAX; i++)
		set_timer(t, i, 1000 + 500 * i);
	for (unsigned i = 0; i < PEERS_MAX; i++) {
		uint64_t due_us = start_us + (1000 + 500 * i) * (uint64_t)MS;

		pass_us(t, due_us - 1 - t->now_us);
		expect_no_event(t);
		pass_ms(t, 4 + (1000 + 500 * i) / 64);
		if (i == 0)
			expect_event(t, "timer");
		else
			expect_event(t, "timer#%u", i);
	}
	test_finish(t);
}

/* --- the worker's own timer ------------------------------------------------------------------ */

static unsigned times;

static void on_time(c10m_worker *worker, void *context)
{
	const unsigned *again = context;

	if (++times < *again)
		c10m_worker_timer(worker, 100, on_time, context);
}

static void worker_timer(void **state)
{
	struct test *t = test_begin();
	c10m_worker *worker;
	unsigned again = 3;

	(void)state;
	test_start(t);
	worker = stack_worker(t->stack);
	times = 0;
	c10m_worker_timer(worker, 100, on_time, &again);
	pass_ms(t, 99);
	assert_int_equal(times, 0);
	pass_ms(t, 3);
	assert_int_equal(times, 1);
	pass_ms(t, 1000);
	assert_int_equal(times, 3);
	c10m_worker_timer(worker, 100, on_time, &again);
	c10m_worker_timer(worker, 500, on_time, &again); /* in its place */
	pass_ms(t, 400);
	assert_int_equal(times, 3);
	c10m_worker_timer(worker, 0, on_time, &again);
	pass_ms(t, 1000);
	assert_int_equal(times, 3);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(timer_fires_in_time),
	TEST(trap_the_longest_timer),
	TEST(zero_takes_it_back),
	TEST(moved_earlier_and_later),
	TEST(moved_often),
	TEST(timer_set_again_inside_its_callback),
	TEST(abort_inside_the_callback),
	TEST(timer_of_an_ended_connection),
	TEST(timer_of_one_that_another_ends),
	TEST(application_timer_beside_retransmission),
	TEST(silence_is_probed),
	TEST(traffic_puts_the_probe_off),
	TEST(unanswered_probes_end_the_connection),
	TEST(keepalive_set_on_one_connection),
	TEST(probe_of_the_peer_is_answered),
	TEST(nothing_to_do_has_no_deadline),
	TEST(first_timer_after_a_month_of_silence),
	TEST(many_timers),
	TEST(worker_timer),
};

PACKET_MAIN(tests)
