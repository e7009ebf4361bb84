/* test_close.c - the end of a connection, from every state (RFC 9293 sections 3.6, 3.10.4, 3.10.7.4; RFC
 * 1337; RFC 6191). */
#include "harness.h"

static struct test *begin_keep_open(void)
{
	struct test *t = test_begin();

	t->app.keep_open = true;
	test_start(t);
	open_server(t);
	return t;
}

static uint32_t chunks(struct test *t)
{
	struct stack_usage now = usage(t);

	return now.chunks[0] + now.chunks[1] + now.chunks[2];
}

/* --- the peer closes first ------------------------------------------------------------------ */

/* proves RFC9293-MUST-12, RFC9293-EV-09 */
static void peer_closes_first(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, "F. seq 1 ack 1");
	expect_event(t, "eof");
	expect(t, "F. seq 1 ack 2"); /* CLOSE_WAIT, and at once LAST_ACK */
	expect_no_event(t);
	inject(t, ". seq 2 ack 2");
	expect_event(t, "close normal");
	assert_int_equal(usage(t).connections, 0);
	assert_int_equal(usage(t).time_wait, 0);
	inject(t, ". seq 2 ack 2");
	expect(t, "R seq 2");
	expect_drop(t, TCP_NO_FLOW);
	test_finish(t);
}

static void close_wait_still_sends(void **state)
{
	struct test *t = begin_keep_open();

	(void)state;
	inject(t, "F. seq 1 ack 1");
	expect_event(t, "eof");
	expect(t, ". seq 1 ack 2");
	pass_ms(t, 60000);
	expect_no_event(t);
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 2 len 100");
	inject(t, ". seq 2 ack 101");
	app_close(t, 0);
	expect(t, "F. seq 101 ack 2");
	inject(t, ". seq 2 ack 102");
	expect_event(t, "close normal");
	test_finish(t);
}

static void repeated_fin_in_close_wait(void **state)
{
	struct test *t = begin_keep_open();

	(void)state;
	inject(t, "F. seq 1 ack 1");
	expect_event(t, "eof");
	expect(t, ". seq 1 ack 2");
	inject(t, "F. seq 1 ack 1");
	expect(t, ". seq 1 ack 2");
	expect_drops(t, TCP_OUT_OF_WINDOW);
	expect_no_event(t);
	test_finish(t);
}

static void fin_in_last_ack_is_sent_again(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, "F. seq 1 ack 1");
	expect_event(t, "eof");
	expect(t, "F. seq 1 ack 2");
	expect_after(t, 200, "F. seq 1 ack 2");
	expect_after(t, 400, "F. seq 1 ack 2");
	inject(t, ". seq 2 ack 2");
	expect_event(t, "close normal");
	pass_ms(t, 10000);
	test_finish(t);
}

static void fin_with_data(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, "FP. seq 1 ack 1 len 100");
	expect_event(t, "data 100");
	expect_event(t, "eof");
	expect(t, "F. seq 1 ack 102");
	inject(t, ". seq 102 ack 2");
	expect_event(t, "close normal");
	test_finish(t);
}

/* The end is told when all was consumed, not before. */
static void eof_waits_for_unread_data(void **state)
{
	struct test *t = begin_unread(0);

	(void)state;
	inject(t, "FP. seq 1 ack 1 len 100");
	expect_event(t, "data 100");
	expect(t, ". seq 1 ack 102");
	expect_no_event(t);
	t->app.consume = SIZE_MAX;
	app_resume(t, 0);
	expect_event(t, "data 100");
	expect_event(t, "eof");
	expect(t, "F. seq 1 ack 102");
	inject(t, ". seq 102 ack 2");
	expect_event(t, "close normal");
	test_finish(t);
}

/* A FIN behind a hole is remembered. */
static void fin_out_of_order(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, "F. seq 101 ack 1 len 50");
	expect(t, ". seq 1 ack 1");
	expect_no_event(t);
	inject(t, ". seq 1 ack 1 len 100");
	discard_events(t);
	expect(t, "F. seq 1 ack 152");
	inject(t, ". seq 152 ack 2");
	expect_event(t, "close normal");
	assert_int_equal(t->slots[0].rx_bytes, 150);
	test_finish(t);
}

static void bare_fin_out_of_order(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, "F. seq 101 ack 1");
	expect(t, ". seq 1 ack 1");
	expect_no_event(t);
	inject(t, ". seq 1 ack 1 len 100");
	expect_event(t, "data 100");
	expect_event(t, "eof");
	expect(t, "F. seq 1 ack 102");
	inject(t, ". seq 102 ack 2");
	expect_event(t, "close normal");
	test_finish(t);
}

/* What lies behind a FIN was never sent by an honest peer: it is not delivered. */
static void data_behind_the_fin(void **state)
{
	struct test *t = begin_keep_open();

	(void)state;
	inject(t, "F. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	expect_event(t, "eof");
	expect(t, ". seq 1 ack 12");
	inject(t, "P. seq 12 ack 1 len 20");
	pass_ms(t, 100);
	discard_out(t);
	expect_no_event(t);
	ignore_drops(t, DROP_TCP_OUT_OF_WINDOW);
	ignore_drops(t, DROP_TCP_FLAGS);
	ignore_drops(t, DROP_TCP_AFTER_CLOSE);
	assert_int_equal(t->slots[0].rx_bytes, 10);
	test_finish(t);
}

static void data_kept_behind_the_fin(void **state)
{
	struct test *t = begin_keep_open();

	(void)state;
	inject(t, ". seq 31 ack 1 len 20"); /* kept */
	expect(t, ". seq 1 ack 1");
	inject(t, "F. seq 1 ack 1 len 10"); /* ends before it */
	expect_event(t, "data 10");
	expect_event(t, "eof");
	expect(t, ". seq 1 ack 12");
	assert_int_equal(t->slots[0].rx_bytes, 10);
	app_close(t, 0);
	expect(t, "F. seq 1 ack 12");
	inject(t, ". seq 12 ack 2");
	expect_event(t, "close normal");
	assert_int_equal(chunks(t), 0);
	test_finish(t);
}

/* The same, where no hole tells them apart. */
static void data_kept_right_behind_the_fin(void **state)
{
	struct test *t = begin_keep_open();

	(void)state;
	inject(t, ". seq 11 ack 1 len 20"); /* kept */
	expect(t, ". seq 1 ack 1");
	inject(t, "F. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	expect_event(t, "eof");
	expect(t, ". seq 1 ack 12");
	assert_int_equal(t->slots[0].rx_bytes, 10);
	assert_int_equal(chunks(t), 0);
	test_finish(t);
}

/* --- we close first ------------------------------------------------------------------------------ */

/* proves RFC9293-MUST-13, RFC9293-EV-09 */
static void we_close_first(void **state)
{
	struct test *t = begin_open();

	(void)state;
	mark(t);
	app_close(t, 0);
	expect(t, "F. seq 1 ack 1"); /* FIN_WAIT_1 */
	inject(t, ". seq 1 ack 2");  /* FIN_WAIT_2 */
	expect_no_event(t);
	inject(t, "F. seq 1 ack 2");
	expect(t, ". seq 2 ack 2");
	expect_event(t, "close normal");
	assert_int_equal(usage(t).time_wait, 1);
	assert_int_equal(usage(t).connections, 0);
	assert_int_equal(counted(t, tcp_time_wait), 1);
	pass_ms(t, 59000);
	assert_int_equal(usage(t).time_wait, 1);
	pass_ms(t, 3000);
	assert_int_equal(usage(t).time_wait, 0);
	assert_int_equal(usage(t).table_entries, 0);
	test_finish(t);
}

/* proves RFC9293-EV-09 */
static void simultaneous_close(void **state)
{
	struct test *t = begin_open();

	(void)state;
	mark(t);
	app_close(t, 0);
	expect(t, "F. seq 1 ack 1");
	inject(t, "F. seq 1 ack 1"); /* crossed */
	expect(t, ". seq 2 ack 2");  /* CLOSING */
	assert_int_equal(counted(t, tcp_simultaneous_closes), 1);
	expect_no_event(t);
	inject(t, ". seq 2 ack 2");
	expect_event(t, "close normal");
	assert_int_equal(usage(t).time_wait, 1);
	test_finish(t);
}

static void fin_is_sent_again_in_closing(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_close(t, 0);
	expect(t, "F. seq 1 ack 1");
	inject(t, "F. seq 1 ack 1");
	expect(t, ". seq 2 ack 2");
	expect_after(t, 200, "F. seq 1 ack 2");
	inject(t, "F. seq 1 ack 1"); /* our ACK was lost too */
	expect(t, ". seq 2 ack 2");
	expect_drops(t, TCP_OUT_OF_WINDOW);
	inject(t, ". seq 2 ack 2");
	expect_event(t, "close normal");
	test_finish(t);
}

/* proves RFC9293-EV-11 */
static void half_close_still_receives(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_shutdown(t, 0);
	expect(t, "F. seq 1 ack 1");
	inject(t, ". seq 1 ack 2");
	assert_int_equal(app_send(t, 0, 10), 0);
	inject(t, "P. seq 1 ack 2 len 100");
	expect_event(t, "data 100");
	expect_after(t, 40, ". seq 2 ack 101");
	pass_ms(t, 200 * 1000); /* no limit for a half-closed connection that the application keeps */
	inject(t, "P. seq 101 ack 2 len 100");
	expect_event(t, "data 100");
	expect_after(t, 40, ". seq 2 ack 201");
	inject(t, "F. seq 201 ack 2");
	expect_event(t, "eof");
	expect(t, ". seq 2 ack 202");
	expect_event(t, "close normal");
	assert_int_equal(usage(t).time_wait, 1);
	test_finish(t);
}

/* proves RFC9293-EV-11 */
static void close_sends_what_was_accepted_first(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_send(t, 0, 3000);
	expect(t, ". seq 1 ack 1 len 1460");
	expect(t, ". seq 1461 ack 1 len 1460");
	app_close(t, 0);
	expect(t, "FP. seq 2921 ack 1 len 80"); /* Nagle does not hold the last segment */
	inject(t, ". seq 1 ack 3002");
	inject(t, "F. seq 1 ack 3002");
	expect(t, ". seq 3002 ack 2");
	expect_event(t, "close normal");
	test_finish(t);
}

static void fin_waits_for_the_window(void **state)
{
	struct test *t = begin_open();
	struct tcp_segment segment;

	(void)state;
	inject(t, ". seq 1 ack 1 win 0");
	app_send(t, 0, 100);
	app_close(t, 0);
	expect_nothing(t);
	pass_ms(t, 203);
	next_segment(t, &segment);
	assert_int_equal(segment.flags & TCP_FIN, 0);
	inject(t, ". seq 1 ack 1 win 1000");
	expect(t, "FP. seq 1 ack 1 len 100");
	inject(t, "F. seq 1 ack 102");
	expect(t, ". seq 102 ack 2");
	expect_event(t, "close normal");
	test_finish(t);
}

/* A FIN is not taken while the window is closed. As long as the peer says so it is alive (RFC 9293
 * section 3.8.6.1). */
static void fin_before_a_closed_window_waits_for_ever(void **state)
{
	struct test *t = begin_open();
	struct tcp_segment segment;

	(void)state;
	inject(t, ". seq 1 ack 1 win 0");
	app_shutdown(t, 0);
	for (unsigned i = 0; i < 40; i++) {
		for (unsigned waited = 0; t->out_count == 0 && waited < 1300; waited++)
			pass_ms(t, 100);
		next_segment(t, &segment);
		assert_int_equal(segment.flags, TCP_FIN | TCP_ACK);
		discard_out(t);
		inject(t, ". seq 1 ack 1 win 0");
		discard_out(t);
	}
	expect_no_event(t);
	inject(t, ". seq 1 ack 2 win 1000");
	pass_ms(t, 100000);
	expect_nothing(t);
	test_finish(t);
}

static void lost_fin_with_data_is_sent_again(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 1 len 100");
	app_close(t, 0);
	expect(t, "F. seq 101 ack 1");
	pass_ms(t, 203);
	expect(t, "FP. seq 1 ack 1 len 100");
	inject(t, ". seq 1 ack 102");
	discard_out(t);
	inject(t, "F. seq 1 ack 102");
	expect(t, ". seq 102 ack 2");
	expect_event(t, "close normal");
	test_finish(t);
}

/* RFC 1122 section 4.2.2.13: data that nobody will read any more is answered by a reset. */
/* proves RFC9293-SHLD-3, RFC9293-MAY-1 */
static void data_after_close_is_reset(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_close(t, 0);
	expect(t, "F. seq 1 ack 1");
	inject(t, "P. seq 1 ack 2 len 10");
	expect(t, "R seq 2");
	expect_drop(t, TCP_AFTER_CLOSE);
	expect_event(t, "close aborted");
	assert_int_equal(usage(t).connections, 0);
	test_finish(t);
}

/* RFC 9293 section 3.6.1: closing with unread data is an abort. */
/* proves RFC9293-SHLD-3 */
static void close_with_unread_data_is_reset(void **state)
{
	struct test *t = begin_unread(0);

	(void)state;
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	expect_after(t, 40, ". seq 1 ack 11");
	app_close(t, 0);
	expect(t, "R. seq 1 ack 11");
	expect_event(t, "close aborted");
	assert_int_equal(usage(t).connections, 0);
	assert_int_equal(chunks(t), 0);
	test_finish(t);
}

/* proves RFC9293-EV-12 */
static void abort_resets(void **state)
{
	struct test *t = begin_open();

	(void)state;
	mark(t);
	app_send(t, 0, 5000);
	discard_out(t);
	app_abort(t, 0);
	expect(t, "R. seq 4381 ack 1");
	expect_event(t, "close aborted");
	assert_int_equal(counted(t, tcp_resets_out), 1);
	assert_int_equal(usage(t).connections, 0);
	assert_int_equal(chunks(t), 0);
	test_finish(t);
}

static void inject_raw_fin(struct test *t)
{
	uint8_t frame[FRAME_ROOM];

	inject_raw(t, frame, build(t, frame, "F. seq 1 ack 1"));
}

/* RFC 9293 section 3.10.5 lets an abort in CLOSING and in LAST_ACK end in silence, since both sides have
 * closed. Not so when data on its way is given up: a peer that still waits for it must not take its end for
 * granted. */
static void abort_in_last_ack_or_closing(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		bool data = i & 1, last_ack = i & 2;
		struct test *t = begin_open();

		t->app.keep_open = true;
		if (data)
			app_send(t, 0, 100);
		if (last_ack)
			inject_raw_fin(t);
		app_close(t, 0);
		discard_out(t);
		if (!last_ack)
			inject_raw_fin(t);
		discard_out(t);
		discard_events(t);
		app_abort(t, 0);
		if (data)
			expect(t, "R. seq 102 ack 2");
		expect_nothing(t);
		discard_events(t);
		assert_int_equal(usage(t).connections, 0);
		test_finish(t);
	}
}

/* --- closing inside callbacks ------------------------------------------------------------------ */

static void hook_close_on_data(struct test *t, c10m_conn *conn, unsigned slot, const char *event)
{
	(void)t;
	(void)slot;
	if (event[0] == 'd')
		c10m_close(conn);
}

static void close_inside_on_data(void **state)
{
	struct test *t = begin_open();

	(void)state;
	t->app.hook = hook_close_on_data;
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	expect(t, "F. seq 1 ack 11");
	inject(t, "F. seq 11 ack 2");
	expect(t, ". seq 2 ack 12");
	expect_event(t, "close normal");
	test_finish(t);
}

/* What on_data does not consume when it closes is unread (RFC 9293 section 3.6.1). */
static void close_inside_on_data_with_some_left(void **state)
{
	struct test *t = begin_open();

	(void)state;
	t->app.hook = hook_close_on_data;
	t->app.consume = 4;
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	expect(t, "R. seq 1 ack 5");
	expect_event(t, "close aborted");
	assert_int_equal(usage(t).connections, 0);
	test_finish(t);
}

static void close_inside_on_data_with_more_behind(void **state)
{
	struct test *t = begin_open();

	(void)state;
	t->app.consume = 0;
	inject(t, ". seq 1 ack 1 len 1000");
	inject(t, ". seq 1001 ack 1 len 1000");
	inject(t, ". seq 2001 ack 1 len 1000");
	discard_out(t);
	discard_events(t);
	t->app.hook = hook_close_on_data;
	t->app.consume = SIZE_MAX;
	app_resume(t, 0);
	expect_event(t, "data 2032");
	expect(t, "R. seq 1 ack 3001");
	expect_event(t, "close aborted");
	assert_int_equal(chunks(t), 0);
	test_finish(t);
}

static void hook_abort_on_data(struct test *t, c10m_conn *conn, unsigned slot, const char *event)
{
	(void)slot;
	if (event[0] == 'd') {
		c10m_abort(conn);
		assert_false(t->slots[0].closed); /* on_close comes after the callback */
	}
}

static void abort_inside_on_data(void **state)
{
	struct test *t = begin_open();

	(void)state;
	t->app.hook = hook_abort_on_data;
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	expect_event(t, "close aborted");
	expect(t, "R. seq 1 ack 11");
	assert_int_equal(usage(t).connections, 0);
	test_finish(t);
}

static void hook_abort_on_open(struct test *t, c10m_conn *conn, unsigned slot, const char *event)
{
	(void)t;
	(void)slot;
	if (event[0] == 'o')
		c10m_abort(conn);
}

static void abort_inside_on_open_with_data_behind_it(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->app.hook = hook_abort_on_open;
	test_start(t);
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "open");
	expect_event(t, "close aborted");
	expect(t, "R. seq 1");
	assert_int_equal(usage(t).connections, 0);
	test_finish(t);
}

static void services_without_callbacks(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->services[0] = (struct c10m_service){.name = "silent", .port = SERVER_PORT};
	test_start(t);
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	inject(t, "P. seq 1 ack 1 len 100"); /* consumed unseen */
	expect_after(t, 40, ". seq 1 ack 101 win 65535");
	inject(t, "F. seq 101 ack 1"); /* no on_eof: closed */
	expect(t, "F. seq 1 ack 102");
	inject(t, ". seq 102 ack 2");
	assert_int_equal(usage(t).connections, 0);
	test_finish(t);
}

/* --- resets in every state ------------------------------------------------------------------------- */

/* proves RFC9293-MUST-12 */
static void reset_ends_each_state(void **state)
{
	struct test *t;

	(void)state;
	t = begin_open(); /* ESTABLISHED */
	app_send(t, 0, 3000);
	discard_out(t);
	inject(t, "R seq 1");
	expect_event(t, "close reset");
	assert_int_equal(usage(t).connections + chunks(t), 0);
	test_finish(t);

	t = begin_open(); /* FIN_WAIT_1 */
	app_shutdown(t, 0);
	expect(t, "F. seq 1 ack 1");
	inject(t, "R seq 1");
	expect_event(t, "close reset");
	test_finish(t);

	t = begin_open(); /* FIN_WAIT_2 */
	app_shutdown(t, 0);
	expect(t, "F. seq 1 ack 1");
	inject(t, ". seq 1 ack 2");
	inject(t, "R seq 1");
	expect_event(t, "close reset");
	test_finish(t);

	t = begin_keep_open(); /* CLOSE_WAIT */
	inject(t, "F. seq 1 ack 1");
	expect_event(t, "eof");
	expect(t, ". seq 1 ack 2");
	inject(t, "R seq 2");
	expect_event(t, "close reset");
	test_finish(t);
}

/* RFC 9293 section 3.10.7.4: in CLOSING and LAST_ACK a reset just ends it; both sides had closed. */
static void reset_in_last_ack(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, "F. seq 1 ack 1");
	expect_event(t, "eof");
	expect(t, "F. seq 1 ack 2");
	inject(t, "R seq 2");
	expect_event(t, "close normal");
	expect_nothing(t);
	assert_int_equal(usage(t).connections, 0);
	test_finish(t);
}

static void reset_in_closing(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_shutdown(t, 0);
	expect(t, "F. seq 1 ack 1");
	inject(t, "F. seq 1 ack 1");
	expect_event(t, "eof");
	expect(t, ". seq 2 ack 2");
	inject(t, "R seq 2");
	expect_event(t, "close normal");
	expect_nothing(t);
	assert_int_equal(usage(t).connections, 0);
	test_finish(t);
}

/* The peer may not have got all of it: that is an error. */
static void reset_in_last_ack_with_data_out(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_send(t, 0, 100);
	discard_out(t);
	inject(t, "F. seq 1 ack 1");
	expect_event(t, "eof");
	discard_out(t);
	inject(t, "R seq 2");
	expect_event(t, "close reset");
	test_finish(t);
}

static void reset_gives_unread_data_back(void **state)
{
	struct test *t = begin_unread(0);

	(void)state;
	t->app.quiet = true;
	inject(t, ". seq 1 ack 1 len 1000");
	inject(t, ". seq 2001 ack 1 len 1000"); /* and what is out of order */
	discard_out(t);
	app_send(t, 0, 30000);
	discard_out(t);
	assert_true(chunks(t) > 0);
	inject(t, "R seq 1001");
	expect_event(t, "close reset");
	assert_int_equal(chunks(t), 0);
	assert_int_equal(usage(t).extensions, 0);
	test_finish(t);
}

/* --- FIN_WAIT_2 ---------------------------------------------------------------------------------------- */

static void fin_wait_2_ends_after_a_full_close(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.fin_wait2_ms = 5000;
	test_start(t);
	open_server(t);
	app_close(t, 0);
	expect(t, "F. seq 1 ack 1");
	inject(t, ". seq 1 ack 2");
	pass_ms(t, 4900);
	assert_int_equal(usage(t).connections, 1);
	pass_ms(t, 300);
	assert_int_equal(usage(t).connections, 0);
	assert_int_equal(t->event_count, 1);
	discard_events(t);
	discard_out(t);
	test_finish(t);
}

/* --- TIME_WAIT ---------------------------------------------------------------------------------------------
 */

static void stop_resets_everyone(void **state)
{
	struct test *t = begin_open();
	bool stopped = false;

	(void)state;
	use_peer(t, 1);
	open_server(t);
	use_peer(t, 2);
	inject(t, "S seq 0 win 1000 mss 1460"); /* and one is half open */
	expect(t, "S. seq 0 ack 1 mss 1460");
	for (unsigned i = 0; i < 100 && !stopped; i++) {
		stopped = stack_stop(t->stack, t->now_us);
		flush(t);
	}
	assert_true(stopped);
	assert_int_equal(usage(t).connections, 0);
	assert_int_equal(t->event_count, 2);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(t->slots[i].reason, C10M_CLOSE_STOPPED);
	discard_events(t);
	assert_true(discard_out(t) >= 2);
	use_peer(t, 3);
	inject(t, "S seq 0 win 1000 mss 1460"); /* nobody listens any more */
	expect(t, "R. aseq 0 ack 1");
	expect_drops(t, TCP_NO_LISTENER);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(peer_closes_first),
	TEST(close_wait_still_sends),
	TEST(repeated_fin_in_close_wait),
	TEST(fin_in_last_ack_is_sent_again),
	TEST(fin_with_data),
	TEST(eof_waits_for_unread_data),
	TEST(fin_out_of_order),
	TEST(bare_fin_out_of_order),
	TEST(data_behind_the_fin),
	TEST(data_kept_behind_the_fin),
	TEST(data_kept_right_behind_the_fin),
	TEST(we_close_first),
	TEST(simultaneous_close),
	TEST(fin_is_sent_again_in_closing),
	TEST(half_close_still_receives),
	TEST(close_sends_what_was_accepted_first),
	TEST(fin_waits_for_the_window),
	TEST(fin_before_a_closed_window_waits_for_ever),
	TEST(lost_fin_with_data_is_sent_again),
	TEST(data_after_close_is_reset),
	TEST(close_with_unread_data_is_reset),
	TEST(abort_resets),
	TEST(close_inside_on_data),
	TEST(close_inside_on_data_with_some_left),
	TEST(close_inside_on_data_with_more_behind),
	TEST(abort_inside_on_data),
	TEST(abort_inside_on_open_with_data_behind_it),
	TEST(services_without_callbacks),
	TEST(reset_ends_each_state),
	TEST(reset_in_last_ack),
	TEST(reset_in_closing),
	TEST(reset_in_last_ack_with_data_out),
	TEST(abort_in_last_ack_or_closing),
	TEST(reset_gives_unread_data_back),
	TEST(fin_wait_2_ends_after_a_full_close),
	TEST(stop_resets_everyone),
};

PACKET_MAIN(tests)
