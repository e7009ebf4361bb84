/* test_persist.c - windows that the peer closes, and when a connection is given up (RFC 9293 sections 3.8.3,
 * 3.8.6). */
#include "harness.h"

#include "stack/internal.h"

#include "tcp/tcb.h"

/* --- zero window ------------------------------------------------------------------------------------ */

/* What was lost cannot go again: the window has closed over it. It is probed like any closed window. */
/* proves RFC9293-MUST-34, RFC9293-MUST-35 */
static void window_that_closes_over_a_loss_is_probed(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_send(t, 0, 1000);
	expect(t, "P. seq 1 ack 1 len 1000");
	inject(t, ". seq 1 ack 1 win 0");
	mark(t);
	pass_ms(t, 3000);
	assert_true(counted(t, tcp_zero_window_probes) > 0);
	expect(t, ". seq 1 ack 1 len 1");
	discard_out(t);
	inject(t, ". seq 1 ack 2 win 5000");
	expect(t, "P. seq 2 ack 1 len 999");
	test_finish(t);
}

/* RFC 9293 section 3.8.6.2.1: what fits into a small window goes after a while. */
/* proves RFC9293-MUST-38 */
static void small_window_is_used_in_the_end(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, ". seq 1 ack 1 win 5000");
	inject(t, ". seq 1 ack 1 win 500");
	app_send(t, 0, 4000);
	expect_nothing(t);
	pass_ms(t, 1100);
	expect(t, ". seq 1 ack 1 len 500");
	discard_out(t);
	inject(t, ". seq 1 ack 501 win 5000");
	expect(t, ". seq 501 ack 1 len 1460");
	discard_out(t);
	test_finish(t);
}

/* All of the window is out and its start was lost: an acknowledgement comes from the window's edge. */
static void acknowledgement_from_the_edge_counts(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->services[0].receive_bytes = 2000;
	test_start(t);
	open_server(t);
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 1 len 100");
	inject(t, ". seq 1001 ack 1 len 1000");
	expect(t, ". seq 101 ack 1 win 2000");
	inject(t, ". seq 2001 ack 101");
	pass_ms(t, 3000);
	expect_nothing(t); /* neither an answer nor a retransmission */
	test_finish(t);
}

/* Each has taken the other's probe, and neither counts its own as sent. */
static void probes_that_cross(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, ". seq 1 ack 1 win 0");
	app_send(t, 0, 100);
	mark(t);
	inject(t, ". seq 1 ack 1 win 0 len 1");
	pass_ms(t, 1100);
	assert_true(counted(t, tcp_zero_window_probes) > 0);
	discard_out(t);
	inject(t, ". seq 1 ack 2 win 1000"); /* not in our window, but what it acknowledges counts */
	expect_drop(t, TCP_OUT_OF_WINDOW);
	expect(t, "P. seq 2 ack 2 len 99");
	discard_events(t);
	test_finish(t);
}

/* Its segments repeat the small window: that is no news. */
static void talking_peer_does_not_put_the_probe_off(void **state)
{
	struct test *t = begin_open();
	struct tcp_segment segment;
	uint32_t sent = 0;

	(void)state;
	t->app.quiet = true;
	inject(t, ". seq 1 ack 1 win 5000");
	inject(t, ". seq 1 ack 1 win 500");
	app_send(t, 0, 4000);
	for (unsigned i = 0; i < 20; i++) {
		inject(t, "P. seq %u ack 1 win 500 len 10", 1 + 10 * i);
		pass_ms(t, 100);
		while (t->out_count) {
			next_segment(t, &segment);
			sent = MAX_OF(sent, segment.payload_bytes);
		}
	}
	assert_int_equal(sent, 500);
	test_finish(t);
}

/* RFC 7323 section 2.4: a window that was taken back by a few bytes does not stop what was in it from being
 * sent again. */
/* proves RFC9293-MUST-34, RFC9293-SHLD-16, RFC7323-05 */
static void window_taken_back_by_a_few_bytes(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_send(t, 0, 4 * 1460);
	assert_int_equal(discard_out(t), 4);
	inject(t, ". seq 1 ack 2921 win 2919");
	expect_after(t, 200, ". seq 2921 ack 1 len 1460");
	inject(t, ". seq 1 ack 4381 win 1459");
	expect(t, ". seq 4381 ack 1 len 1459");
	inject(t, ". seq 1 ack 5840 win 1459");
	expect(t, "P. seq 5840 ack 1 len 1");
	inject(t, ". seq 1 ack 5841");
	test_finish(t);
}

/* What a probe carried the peer has not taken: a reset from there would not be believed (RFC 5961). */
static void abort_while_probing_is_believed(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, ". seq 1 ack 1 win 0");
	app_send(t, 0, 100);
	expect_after(t, 200, ". seq 1 ack 1 len 1");
	app_abort(t, 0);
	expect(t, "R. seq 1 ack 1");
	expect_event(t, "close aborted");
	test_finish(t);
}

/* proves RFC9293-MUST-36, RFC9293-SHLD-29, RFC9293-SHLD-30 */
static void closed_window_is_probed_with_backoff(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, ". seq 1 ack 1 win 0");
	mark(t);
	app_send(t, 0, 100);
	expect_nothing(t);
	expect_after(t, 200, ". seq 1 ack 1 len 1");
	inject(t, ". seq 1 ack 1 win 0");
	expect_after(t, 400, ". seq 1 ack 1 len 1");
	inject(t, ". seq 1 ack 1 win 0");
	expect_after(t, 800, ". seq 1 ack 1 len 1");
	inject(t, ". seq 1 ack 1 win 0");
	assert_int_equal(counted(t, tcp_zero_window_probes), 3);
	inject(t, ". seq 1 ack 1 win 1000");
	expect(t, "P. seq 1 ack 1 len 100");
	inject(t, ". seq 1 ack 101 win 1000");
	test_finish(t);
}

/* How long a closed window was probed says nothing of the network behind it: the first time-out comes as
 * early as ever, and counts as one. A neighbour that was silent for a while is probed in the same way. */
static void probes_make_no_timeout_longer(void **state)
{
	struct test *t = begin_open();
	struct tcb *tcb = (struct tcb *)app_conn(t, 0);

	(void)state;
	inject(t, ". seq 1 ack 1 win 0");
	app_send(t, 0, 1000);
	pass_ms(t, 3000);
	discard_out(t);
	assert_true(tcb->backoff >= 3);
	inject(t, ". seq 1 ack 1 win 2000");
	expect(t, ". seq 1 ack 1 len 1000");
	assert_int_equal(tcb->backoff, 0);
	pass_ms(t, 210);
	assert_int_equal(discard_out(t), 1);
	assert_int_equal(tcb->ssthresh, 2u * tcb->mss);
	inject(t, ". seq 1 ack 1001 win 2000");
	test_finish(t);
}

/* The peer takes the byte of the probe. */
static void probe_that_is_taken(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, ". seq 1 ack 1 win 0");
	app_send(t, 0, 100);
	expect_after(t, 200, ". seq 1 ack 1 len 1");
	inject(t, ". seq 1 ack 2 win 99");
	expect(t, "P. seq 2 ack 1 len 99");
	inject(t, ". seq 1 ack 101 win 99");
	test_finish(t);
}

/* RFC 9293 section 3.8.6.1: as long as it answers, a closed window does not end the connection. */
/* proves RFC9293-MUST-37 */
static void answered_probes_go_on_for_ever(void **state)
{
	struct test *t = begin_open();
	struct tcp_segment segment;

	(void)state;
	inject(t, ". seq 1 ack 1 win 0");
	app_send(t, 0, 100);
	for (unsigned i = 0; i < 60; i++) {
		for (unsigned waited = 0; t->out_count == 0 && waited < 1300; waited++)
			pass_ms(t, 100);
		next_segment(t, &segment);
		inject(t, ". seq 1 ack 1 win 0");
	}
	expect_no_event(t);
	inject(t, ". seq 1 ack 1 win 1000");
	expect(t, "P. seq 1 ack 1 len 100");
	test_finish(t);
}

static void window_that_closes_with_data_in_flight(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_send(t, 0, 2000);
	expect(t, ". seq 1 ack 1 len 1460");
	inject(t, ". seq 1 ack 1461 win 0");
	expect_nothing(t);
	expect_after(t, 200, ". seq 1461 ack 1 len 1");
	inject(t, ". seq 1 ack 1461 win 5000");
	expect(t, "P. seq 1461 ack 1 len 540");
	test_finish(t);
}

static void lost_window_update_is_survived(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, ". seq 1 ack 1 win 0");
	app_send(t, 0, 100);
	expect_after(t, 200, ". seq 1 ack 1 len 1");
	/* The window has opened, but only the answer to the next probe says so. */
	expect_after(t, 400, ". seq 1 ack 1 len 1");
	inject(t, ". seq 1 ack 1 win 5000");
	expect(t, "P. seq 1 ack 1 len 100");
	test_finish(t);
}

/* --- giving up ------------------------------------------------------------------------------------------ */

/* proves RFC9293-MUST-21 */
static void user_timeout_ends_the_connection(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->services[0].user_timeout_ms = 5000;
	test_start(t);
	open_server(t);
	mark(t);
	app_send(t, 0, 100);
	pass_ms(t, 4900);
	expect_no_event(t);
	pass_ms(t, 400);
	expect_event(t, "close timeout");
	assert_int_equal(counted(t, tcp_user_timeouts), 1);
	assert_int_equal(usage(t).connections, 0);
	discard_out(t);
	pass_ms(t, 100000);
	test_finish(t);
}

/* It holds for what is out already. */
/* proves RFC9293-MUST-21 */
static void user_timeout_set_late(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_send(t, 0, 200);
	pass_ms(t, 14000); /* the timer has backed off to 12.8 s */
	discard_out(t);
	c10m_set_user_timeout(app_conn(t, 0), 15000);
	pass_ms(t, 1100);
	expect_event(t, "close timeout");
	discard_out(t);
	test_finish(t);
}

static void user_timeout_counts_from_the_last_progress(void **state)
{
	struct test *t = begin_open();

	(void)state;
	c10m_set_user_timeout(app_conn(t, 0), 5000);
	app_send(t, 0, 200);
	pass_ms(t, 4000);
	discard_out(t);
	inject(t, ". seq 1 ack 101");
	pass_ms(t, 4000);
	discard_out(t);
	expect_no_event(t);
	pass_ms(t, 2000);
	discard_out(t);
	expect_event(t, "close timeout");
	test_finish(t);
}

static void user_timeout_of_a_closed_window(void **state)
{
	struct test *t = begin_open();

	(void)state;
	c10m_set_user_timeout(app_conn(t, 0), 5000);
	inject(t, ". seq 1 ack 1 win 0");
	app_send(t, 0, 200);
	pass_ms(t, 10000); /* probes are not answered */
	discard_out(t);
	expect_event(t, "close timeout");
	test_finish(t);
}

/* Answers to probes are no progress: who set a time-out wants it to hold (RFC 5482). */
static void user_timeout_of_a_window_that_stays_closed(void **state)
{
	struct test *t = begin_open();

	(void)state;
	c10m_set_user_timeout(app_conn(t, 0), 5000);
	inject(t, ". seq 1 ack 1 win 0");
	app_send(t, 0, 200);
	for (unsigned i = 0; i < 48; i++) {
		pass_ms(t, 100);
		if (discard_out(t))
			inject(t, ". seq 1 ack 1 win 0");
	}
	expect_no_event(t);
	pass_ms(t, 300);
	discard_out(t);
	expect_event(t, "close timeout");
	test_finish(t);
}

/* RFC 9293 section 3.8.3: R2 is at least 100 seconds. */
/* proves RFC9293-SHLD-11 */
static void silence_ends_the_connection_after_100_seconds(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_send(t, 0, 100);
	pass_ms(t, 100 * 1000);
	expect_no_event(t);
	pass_ms(t, 3000 * 1000);
	expect_event(t, "close timeout");
	discard_out(t);
	assert_int_equal(usage(t).connections, 0);
	test_finish(t);
}

/* proves RFC9293-MUST-25 */
static void idle_connection_lives_for_ever(void **state)
{
	struct test *t = begin_open();

	(void)state;
	pass_ms(t, 90ULL * 24 * 3600 * 1000); /* beyond 49 days: the tick wraps */
	expect_nothing(t);
	expect_no_event(t);
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	expect_after(t, 40, ". seq 1 ack 11");
	app_send(t, 0, 10);
	expect(t, "P. seq 1 ack 11 len 10");
	expect_after(t, 200, "P. seq 1 ack 11 len 10");
	test_finish(t);
}

/* --- memory that closed windows pin: RFC 6429 */

/* Two peers with closed windows hold all chunks, the first for a while, the second just now. */
static struct test *begin_pinned(uint32_t answered_ms)
{
	struct test *t = test_begin();

	t->config.chunks = (struct chunk_config){{4, 4, 8}};
	t->services[0].send_bytes = 12000;
	test_start(t);
	open_server(t);
	inject(t, ". seq 1 ack 1 win 0");
	app_send(t, 0, 12000);
	for (uint32_t ms = 0; ms < answered_ms; ms += 100) {
		pass_ms(t, 100);
		if (discard_out(t))
			inject(t, ". seq 1 ack 1 win 0");
	}
	use_peer(t, 1);
	open_server(t);
	inject(t, ". seq 1 ack 1 win 0");
	expect_no_event(t);
	return t;
}

static void closed_window_ends_when_memory_does(void **state)
{
	struct test *t = begin_pinned(10000);
	size_t sent;

	(void)state;
	mark(t);
	sent = app_send(t, 1, 12000);
	assert_true(sent < 12000); /* no more chunks: they are asked back */
	assert_int_equal(counted(t, tcp_pinned_ended), 1);
	expect_event(t, "close memory");
	use_peer(t, 0);
	expect(t, "R. seq 1 ack 1");
	use_peer(t, 1);
	assert_true(app_send(t, 1, 12000 - sent) > 0); /* he has waited less, and keeps what he has */
	discard_out(t);
	test_finish(t);
}

#define SILENT UINT32_MAX /* no window: the peer does not answer */

static void answer(struct test *t, unsigned peer, uint32_t ack, uint32_t window)
{
	uint8_t frame[FRAME_ROOM];

	use_peer(t, peer);
	inject_raw(t, frame, build(t, frame, ". seq 1 ack %u win %u", ack - t->peer->irs, window));
}

/* For so long, or until somebody's end: the second peer takes all it gets, and would get more if there were
 * memory. The first takes so many bytes at a time from `next` on, and tells of this window. */
static uint32_t take_slowly(struct test *t, uint32_t ms, uint32_t next, uint32_t bytes, uint32_t window)
{
	struct tcp_segment segment;
	struct ipv4_header ip;

	if (next == 1)
		answer(t, 1, t->peers[1].irs + 1, 60000);
	for (; ms > 0 && usage(t).connections == 2; ms -= 100) {
		pass_ms(t, 100);
		app_send(t, 1, 12000);
		while (t->out_count > 0 && usage(t).connections == 2) {
			uint32_t end;

			take_segment(t, &ip, &segment);
			end = segment.seq + segment.payload_bytes;
			if (segment.payload_bytes && segment.destination_port == t->peers[1].port)
				answer(t, 1, end, 60000);
			if (segment.payload_bytes == 0 || segment.destination_port == t->peers[1].port)
				continue;
			if (window == SILENT)
				continue;
			end -= t->peers[0].irs;
			next += end > next ? MIN_OF(bytes, end - next) : 0;
			answer(t, 0, next + t->peers[0].irs, window);
		}
	}
	return next;
}

/* A byte of each probe or segment pins the rest, whether the window is closed or not quite. */
static void crumbs_are_a_pin(void **state)
{
	static const uint32_t windows[] = {0, 1, 5};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(windows); i++) {
		struct test *t = begin_pinned(100);
		uint32_t next;

		mark(t);
		next = take_slowly(t, 4500, 1, 1, windows[i]);
		assert_int_equal(counted(t, tcp_pinned_ended), 0);
		take_slowly(t, 15000, next, 1, windows[i]);
		assert_int_equal(counted(t, tcp_pinned_ended), 1);
		assert_true(t->slots[0].closed && t->slots[0].reason == C10M_CLOSE_MEMORY);
		discard_events(t);
		discard_out(t);
		test_finish(t);
	}
}

/* Slow, and yet some memory comes back from it. */
static void who_takes_some_stays(void **state)
{
	struct test *t = begin_pinned(100);

	(void)state;
	mark(t);
	assert_in_range(take_slowly(t, 12000, 1, 200, 200), 4000, 11000);
	assert_int_equal(counted(t, tcp_pinned_ended), 0);
	assert_int_equal(usage(t).connections, 2);
	discard_events(t);
	discard_out(t);
	test_finish(t);
}

/* Who does not answer at all may only be out of reach: his time-out decides. */
static void who_is_silent_stays(void **state)
{
	struct test *t = begin_pinned(0);

	(void)state;
	use_peer(t, 0);
	inject(t, ". seq 1 ack 1 win 60000");
	discard_out(t);
	mark(t);
	take_slowly(t, 20000, 1, 0, SILENT);
	assert_int_equal(counted(t, tcp_pinned_ended), 0);
	assert_int_equal(usage(t).connections, 2);
	discard_events(t);
	discard_out(t);
	test_finish(t);
}

/* Ten million connections are not looked at in one go, each time that memory is short. */
static void looking_for_memory_takes_turns(void **state)
{
	struct test *t = test_begin();
	struct pool *blocks;
	uint32_t others[5000];

	(void)state;
	t->config.connections = 6000;
	t->config.chunks = (struct chunk_config){{4, 4, 8}};
	t->services[0].send_bytes = 20000;
	test_start(t);
	blocks = &t->stack->core.blocks;
	for (unsigned i = 0; i < ARRAY_COUNT(others); i++)
		others[i] = pool_take(blocks);
	open_server(t); /* behind all of them */
	inject(t, ". seq 1 ack 1 win 0");
	app_send(t, 0, 9000);
	for (unsigned i = 0; i < 100; i++) {
		pass_ms(t, 100);
		if (discard_out(t))
			inject(t, ". seq 1 ack 1 win 0");
	}
	mark(t);
	app_send(t, 0, 20000); /* more than there is */
	assert_in_range(t->stack->core.pressure_left, 4000, 5000);
	assert_true(stack_deadline(t->stack) > t->now_us);
	pass_ms(t, 5);
	assert_in_range(t->stack->core.pressure_left, 1000, 4000);
	assert_int_equal(counted(t, tcp_pinned_ended), 0);
	pass_ms(t, 10);
	assert_int_equal(t->stack->core.pressure_left, 0);
	assert_int_equal(counted(t, tcp_pinned_ended), 1);
	expect_event(t, "close memory");
	discard_out(t);
	for (unsigned i = 0; i < ARRAY_COUNT(others); i++)
		pool_give(blocks, others[i]);
	test_finish(t);
}

static void memory_for_all_ends_nobody(void **state)
{
	struct test *t = begin_pinned(10000);

	(void)state;
	app_send(t, 1, 3000);
	pass_ms(t, 20000);
	discard_out(t);
	expect_no_event(t);
	assert_int_equal(usage(t).connections, 2);
	test_finish(t);
}

/* Who has closed its window for a moment may open it again. */
static void short_pause_is_no_pin(void **state)
{
	struct test *t = begin_pinned(1000);

	(void)state;
	mark(t);
	app_send(t, 1, 12000);
	pass_ms(t, 100);
	discard_out(t);
	assert_int_equal(counted(t, tcp_pinned_ended), 0);
	expect_no_event(t);
	test_finish(t);
}

/* Data that a peer acknowledges in time is none of it, however short memory is. */
static void open_windows_are_left_alone(void **state)
{
	struct test *t = begin_pinned(0);

	(void)state;
	use_peer(t, 0);
	inject(t, ". seq 1 ack 1 win 60000");
	discard_out(t);
	mark(t);
	app_send(t, 1, 12000);
	pass_ms(t, 5000);
	discard_out(t);
	assert_int_equal(counted(t, tcp_pinned_ended), 0);
	expect_no_event(t);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(window_that_closes_over_a_loss_is_probed),
	TEST(small_window_is_used_in_the_end),
	TEST(acknowledgement_from_the_edge_counts),
	TEST(probes_that_cross),
	TEST(talking_peer_does_not_put_the_probe_off),
	TEST(window_taken_back_by_a_few_bytes),
	TEST(abort_while_probing_is_believed),
	TEST(closed_window_is_probed_with_backoff),
	TEST(probes_make_no_timeout_longer),
	TEST(probe_that_is_taken),
	TEST(answered_probes_go_on_for_ever),
	TEST(window_that_closes_with_data_in_flight),
	TEST(lost_window_update_is_survived),
	TEST(user_timeout_ends_the_connection),
	TEST(user_timeout_set_late),
	TEST(user_timeout_counts_from_the_last_progress),
	TEST(user_timeout_of_a_closed_window),
	TEST(user_timeout_of_a_window_that_stays_closed),
	TEST(silence_ends_the_connection_after_100_seconds),
	TEST(idle_connection_lives_for_ever),
	TEST(closed_window_ends_when_memory_does),
	TEST(crumbs_are_a_pin),
	TEST(who_takes_some_stays),
	TEST(who_is_silent_stays),
	TEST(looking_for_memory_takes_turns),
	TEST(memory_for_all_ends_nobody),
	TEST(short_pause_is_no_pin),
	TEST(open_windows_are_left_alone),
};

PACKET_MAIN(tests)
