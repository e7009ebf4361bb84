/* test_rules.c - single rules of the RFCs that the other files, which go by what happens, do not ask for. */
#include "harness.h"

#include "stack/internal.h"
#include "wire/icmp.h"

#define SEGMENT 1460u
#define IP      ETH_HEADER_BYTES
#define TCP     (ETH_HEADER_BYTES + IPV4_HEADER_BYTES)

static struct tcb *block(struct test *t)
{
	return (struct tcb *)app_conn(t, 0);
}

/* --- windows ---------------------------------------------------------------------------------- */

/* All of 65535 bytes, and of a gigabyte: neither is negative for anybody.
 * proves RFC9293-MUST-1, RFC9293-REC-1 */
static void large_windows_are_large(void **state)
{
	(void)state;
	for (int wscale = -1; wscale <= 14; wscale += 15) {
		struct test *t = test_begin();
		unsigned fits = wscale < 0 ? 65535 / SEGMENT : 100;

		t->services[0].send_bytes = 1 << 20;
		t->peer->wscale = wscale;
		test_start(t);
		open_server(t);
		block(t)->cwnd = 200 * SEGMENT;
		app_send(t, 0, 100 * SEGMENT);
		assert_int_equal(discard_out(t), fits);
		test_finish(t);
	}
}

/* The right edge goes back over what is in flight: nothing new is sent, what lies inside goes again, and a
 * peer that answers is not given up, whatever is beyond its window.
 * proves RFC9293-MUST-34, RFC9293-MUST-35, RFC9293-SHLD-15, RFC9293-SHLD-16, RFC9293-SHLD-17 */
static void window_that_shrinks_below_what_is_in_flight(void **state)
{
	struct test *t = begin_open();
	struct tcp_segment segment;

	(void)state;
	inject(t, ". seq 1 ack 1 win 5000");
	app_send(t, 0, 20000);
	assert_int_equal(discard_out(t), 3);
	inject(t, ". seq 1 ack 1 win 2000");
	expect_nothing(t);
	expect_after(t, 200, ". seq 1 ack 1 len 1460");
	inject(t, ". seq 1 ack 1461 win 540");
	for (unsigned i = 0; i < 40; i++) {
		for (unsigned waited = 0; t->out_count == 0 && waited < 1300; waited++)
			pass_ms(t, 100);
		while (t->out_count > 0) {
			next_segment(t, &segment);
			assert_true(segment.seq - t->peer->irs + segment.payload_bytes <= 2002);
		}
		inject(t, ". seq 1 ack 2001 win 0");
	}
	expect_no_event(t);
	inject(t, ". seq 1 ack 4381 win 5000");
	expect(t, ". seq 4381 ack 1 len 1460");
	discard_out(t);
	test_finish(t);
}

/* The application reads nothing, and all room is taken. */
static struct test *begin_closed_window(void)
{
	struct test *t = begin_unread(1000);

	t->app.quiet = true;
	inject(t, ". seq 1 ack 1 len 1000");
	pass_ms(t, 41);
	expect(t, ". seq 1 ack 1001 win 0");
	return t;
}

/* An application that does not read for hours: each probe hears that the window is closed.
 * proves RFC9293-MAY-8 */
static void window_closed_for_hours(void **state)
{
	struct test *t = begin_closed_window();

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		pass_ms(t, 120 * 1000);
		expect_nothing(t);
		inject(t, ". seq 1001 ack 1 len 1");
		expect(t, ". seq 1 ack 1001 win 0");
		expect_drop(t, TCP_OUT_OF_WINDOW);
	}
	test_finish(t);
}

/* RFC 9293 section 3.4: resets count, whatever the window. */
static void closed_window_takes_a_reset(void **state)
{
	struct test *t = begin_closed_window();

	(void)state;
	inject(t, "R seq 1001");
	expect_event(t, "close reset");
	test_finish(t);
}

/* The four cases of RFC 9293 table 6, and their edges. The window is 1 to 1000, then closed at 1001.
 * proves RFC9293-EV-05 */
static void acceptability_in_all_four_cases(void **state)
{
	static const struct {
		int32_t seq;
		uint32_t bytes;
		bool taken;
	} cases[] = {
		{0, 0, false},     {1, 0, true},      {1000, 0, true}, {1002, 0, false},
		{-5000, 0, false}, {-9, 10, false},   {-8, 10, true},  {500, 10, true},
		{1000, 10, true},  {1001, 10, false}, {0, 1000, true}, {2000, 10, false},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
		struct test *t = test_begin();

		t->services[0].receive_bytes = 1000;
		t->app.quiet = true;
		test_start(t);
		open_server(t);
		mark(t);
		inject(t, ". seq %d ack 1 len %u", cases[i].seq, cases[i].bytes);
		if (cases[i].taken)
			assert_int_equal(counted(t, drops[DROP_TCP_OUT_OF_WINDOW]), 0);
		else
			expect_drop_at(t, "acceptability, case", (int)i, DROP_TCP_OUT_OF_WINDOW);
		if (!cases[i].taken)
			expect(t, ". seq 1 ack 1");
		discard_out(t);
		test_finish(t);
	}
}

/* --- segments ------------------------------------------------------------------------------------ */

/* Acknowledgement, text and FIN of one segment count, in this order.
 * proves RFC9293-EV-06 */
static void one_segment_with_all_of_it(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->services[0].send_bytes = 1000;
	t->app.keep_open = true;
	test_start(t);
	open_server(t);
	assert_int_equal(app_send(t, 0, 1500), 1000);
	expect(t, "P. seq 1 ack 1 len 1000");
	inject(t, "FP. seq 1 ack 1001 len 10");
	expect_event(t, "data 10");
	expect_event(t, "writable");
	expect_event(t, "eof");
	expect(t, ". seq 1001 ack 12");
	test_finish(t);
}

/* proves RFC9293-EV-02 */
static void listener_ignores_resets_and_resets_acknowledgements(void **state)
{
	struct test *t = test_begin();

	(void)state;
	test_start(t);
	inject(t, "R seq 5");
	expect_nothing(t);
	expect_drop(t, TCP_NO_FLOW);
	inject(t, "R. seq 5 aack 77");
	expect_nothing(t);
	expect_drop(t, TCP_NO_FLOW);
	inject(t, ". seq 5 aack 77");
	expect(t, "R aseq 77");
	expect_drop(t, TCP_NO_FLOW);
	t->peer->snd_nxt = 0;
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	test_finish(t);
}

/* proves RFC9293-SHLD-2 */
static void reset_that_carries_data(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, "R. seq 1 ack 1 len 20");
	expect_event(t, "close reset");
	expect_nothing(t);
	test_finish(t);
}

/* proves RFC9293-MUST-61 */
static void push_where_the_queue_ends(void **state)
{
	struct test *t = begin_nodelay();
	struct tcp_segment segment;

	(void)state;
	app_send(t, 0, 3000);
	for (unsigned i = 0; i < 3; i++) {
		next_segment(t, &segment);
		assert_int_equal(segment.flags, TCP_ACK | (i == 2 ? TCP_PSH : 0));
	}
	test_finish(t);
}

/* The smaller of what the peer takes and what the way carries, and options come off it; no packet is longer
 * than its way.
 * proves RFC9293-MUST-16, RFC9293-MUST-67, RFC1122-IP-17 */
static void effective_segment_size(void **state)
{
	static const struct {
		uint16_t peer_mss;
		uint32_t mtu, want;
		bool timestamps;
	} cases[] = {
		{1460, 1500, 1460, false}, {1460, 1500, 1448, true},  {1400, 1500, 1400, false},
		{1400, 1500, 1388, true},  {8960, 1500, 1460, false}, {8960, 1500, 1448, true},
		{1460, 1280, 1240, false}, {1460, 1280, 1228, true},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
		struct test *t = test_begin();
		struct tcp_segment segment;

		t->config.mtu = cases[i].mtu;
		t->peer->mss = cases[i].peer_mss;
		t->peer->offer_timestamps = cases[i].timestamps;
		test_start(t);
		inject(t, "S seq 0 win 1000 mss 1460");
		next_segment(t, &segment);
		assert_int_equal(segment.mss, cases[i].mtu - 40); /* options do not count here */
		inject(t, "R seq 1");
		open_server(t);
		app_send(t, 0, 5000);
		next_segment(t, &segment);
		assert_int_equal(segment.payload_bytes, cases[i].want);
		assert_true(t->out[t->out_first].bytes <= ETH_HEADER_BYTES + cases[i].mtu);
		discard_out(t);
		test_finish(t);
	}
}

/* --- who may open what ------------------------------------------------------------------------------ */

/* To listen changes nothing for those who are connected.
 * proves RFC9293-MUST-41 */
static void listening_anew_leaves_connections_alone(void **state)
{
	struct test *t = begin_open();
	struct stack_message message = {.kind = STACK_LISTEN, .value = 0};

	(void)state;
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 1 len 100");
	stack_control(t->stack, t->now_us, &message);
	message.kind = STACK_UNLISTEN;
	assert_int_equal(stack_control(t->stack, t->now_us, &message), 0);
	message.kind = STACK_LISTEN;
	assert_int_equal(stack_control(t->stack, t->now_us, &message), 0);
	inject(t, "P. seq 1 ack 101 len 10");
	expect_event(t, "data 10");
	expect_after(t, 40, ". seq 101 ack 11");
	use_peer(t, 1);
	open_server(t);
	test_finish(t);
}

/* One port, asked for by us and listened on at the same time.
 * proves RFC9293-MUST-42 */
static void listens_while_the_same_port_connects(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->active = true;
	test_start(t);
	app_connect(t, SERVER_PORT);
	expect(t, "S mss 1460 sackok ts 0 wscale 0"); /* SYN-SENT */
	use_peer(t, 1);
	t->peer->stack_port = SERVER_PORT;
	open_server(t);
	use_peer(t, 0);
	inject(t, "S seq 0 win 1000 mss 1460"); /* SYN-RECEIVED */
	expect(t, "S. seq 0 ack 1 mss 1460");
	use_peer(t, 2);
	t->peer->stack_port = SERVER_PORT;
	open_server(t);
	use_peer(t, 0);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	test_finish(t);
}

/* proves RFC1122-IP-06 */
static void loopback_addresses_stay_inside(void **state)
{
	struct test *t = test_begin();
	uint8_t frame[FRAME_ROOM];
	uint32_t bytes;
	int error;

	(void)state;
	t->active = true;
	test_start(t);
	app_connect_to(t, 0x7f000001u, 80, 0, &error);
	assert_true(error < 0);
	bytes = build(t, frame, "S seq 0 win 1000 mss 1460");
	put32(frame + IP + 12, 0x7f000001u);
	fix_checksums(frame, bytes);
	inject_raw(t, frame, bytes);
	expect_nothing(t);
	expect_drop(t, IP_BAD_SOURCE);
	test_finish(t);
}

/* Another key, other numbers: who does not know it can compute none.
 * proves RFC9293-MUST-9, RFC9293-SHLD-1, RFC6528-02 */
static void first_numbers_depend_on_a_secret(void **state)
{
	struct test *t = begin_open();
	struct core *core = &t->stack->core;
	struct arena_secrets other = *core->secrets;
	const struct arena_secrets *own = core->secrets;
	const struct tuple4 tuple = {STACK_IP, PEER_IP, SERVER_PORT, PEER_PORT};
	uint32_t before = core_isn(core, &tuple);

	(void)state;
	core->secrets = &other;
	assert_int_equal(core_isn(core, &tuple), before);
	for (unsigned i = 0; i < sizeof(other.isn); i++) {
		((uint8_t *)&other.isn)[i] ^= 1;
		assert_int_not_equal(core_isn(core, &tuple) >> 4, before >> 4);
		((uint8_t *)&other.isn)[i] ^= 1;
	}
	core->secrets = own;
	test_finish(t);
}

/* --- time-outs ---------------------------------------------------------------------------------------- */

/* proves RFC9293-MUST-26 */
static void no_keepalive_while_data_is_out(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->services[0].keepalive_ms = 5000;
	test_start(t);
	open_server(t);
	app_send(t, 0, 100);
	mark(t);
	pass_ms(t, 60000);
	assert_true(counted(t, tcp_retransmits) > 5);
	assert_int_equal(counted(t, tcp_keepalive_probes), 0);
	discard_out(t);
	test_finish(t);
}

/* proves RFC6298-05 */
static void timeouts_grow_to_a_minute(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 1 len 100");
	for (uint64_t ms = 200; ms < 60000; ms *= 2)
		expect_after(t, ms, "P. seq 1 ack 1 len 100");
	for (unsigned i = 0; i < 3; i++)
		expect_after(t, 60000, "P. seq 1 ack 1 len 100");
	test_finish(t);
}

/* Each round trip gives a sample; many equal ones leave no variance, and the timer still waits for more than
 * one round trip.
 * proves RFC6298-07, RFC6298-08 */
static void equal_round_trips_leave_the_clocks_granularity(void **state)
{
	struct test *t = test_begin();
	uint32_t seq = 1;

	(void)state;
	t->config.rto_min_ms = 1;
	test_start(t);
	open_server(t);
	for (unsigned i = 0; i < 60; i++) {
		app_send(t, 0, 100);
		expect(t, "P. seq %u ack 1 len 100", seq);
		pass_ms(t, 50);
		discard_out(t); /* the first ones time out */
		seq += 100;
		inject(t, ". seq 1 ack %u", seq);
		discard_out(t);
	}
	assert_in_range(block(t)->srtt_us, 49500, 50500);
	assert_true(block(t)->rttvar_us < 250);
	app_send(t, 0, 100);
	expect(t, "P. seq %u ack 1 len 100", seq);
	expect_after(t, 51, "P. seq %u ack 1 len 100", seq);
	discard_out(t);
	test_finish(t);
}

/* --- the congestion window ---------------------------------------------------------------------------- */

/* Neither the SYN nor its answer counts as data.
 * proves RFC5681-02 */
static void handshakes_do_not_grow_the_window(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->active = true;
	test_start(t);
	open_client(t);
	app_send(t, 0, 30 * SEGMENT);
	assert_int_equal(discard_out(t), 10);
	test_finish(t);
}

/* proves RFC5681-03, RFC6928-02 */
static void one_segment_after_a_lost_handshake(void **state)
{
	struct test *t = test_begin();

	(void)state;
	test_start(t);
	inject(t, "S seq 0 win 65535 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	expect_after(t, 1000, "S. seq 0 ack 1 mss 1460");
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	app_send(t, 0, 30 * SEGMENT);
	expect(t, ". seq 1 ack 1 len 1460");
	expect_nothing(t);
	test_finish(t);

	t = test_begin();
	t->active = true;
	test_start(t);
	app_connect(t, 5000);
	expect(t, "S mss 1460 sackok ts 0 wscale 0");
	expect_after(t, 1000, "S mss 1460 sackok ts 0 wscale 0");
	inject(t, "S. seq 0 ack 1 win 65535 mss 1460");
	expect(t, ". seq 1 ack 1");
	expect_event(t, "open");
	app_send(t, 0, 30 * SEGMENT);
	expect(t, ". seq 1 ack 1 len 1460");
	expect_nothing(t);
	test_finish(t);
}

/* min(10 * MSS, max(2 * MSS, 14600)).
 * proves RFC6928-01 */
static void initial_window_of_long_segments(void **state)
{
	static const struct {
		uint16_t mss;
		uint32_t window;
	} cases[] = {{536, 5360}, {1460, 14600}, {2000, 14600}, {7300, 14600}, {8000, 16000}, {8960, 17920}};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
		struct test *t = test_begin();

		t->config.mtu = 9000;
		t->peer->mss = cases[i].mss;
		test_start(t);
		open_server(t);
		assert_int_equal(block(t)->cwnd, cases[i].window);
		test_finish(t);
	}
}

/* A third duplicate: ssthresh + 3, and one more for each that follows; an acknowledgement of new data takes
 * it all back. proves RFC5681-10, RFC5681-11, RFC5681-12 */
static void recovery_inflates_and_deflates(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_send(t, 0, 10 * SEGMENT);
	assert_int_equal(discard_out(t), 10);
	for (unsigned i = 0; i < 3; i++)
		inject(t, ". seq 1 ack 1");
	expect(t, ". seq 1 ack 1 len 1460");
	assert_int_equal(block(t)->ssthresh, 5 * SEGMENT);
	for (unsigned i = 3; i < 8; i++) {
		assert_int_equal(block(t)->cwnd, (5 + i) * SEGMENT);
		inject(t, ". seq 1 ack 1");
	}
	inject(t, ". seq 1 ack %u", 1 + 10 * SEGMENT);
	assert_int_equal(block(t)->cwnd, 5 * SEGMENT);
	expect_nothing(t);
	test_finish(t);
}

static void lose_first(struct test *t, uint32_t una)
{
	for (unsigned i = 0; i < 3; i++) {
		discard_out(t);
		inject(t, ". seq 1 ack %u", una);
	}
	discard_out(t);
}

/* proves RFC5681-16 */
static void losses_in_two_windows_reduce_twice(void **state)
{
	struct test *t = begin_open();
	uint32_t first;

	(void)state;
	app_send(t, 0, 40 * SEGMENT);
	assert_int_equal(discard_out(t), 10);
	lose_first(t, 1);
	first = block(t)->ssthresh;
	assert_int_equal(first, 5 * SEGMENT);
	inject(t, ". seq 1 ack %u", block(t)->snd_nxt - t->peer->irs);
	discard_out(t);
	inject(t, ". seq 1 ack %u",
	       block(t)->snd_una + SEGMENT - t->peer->irs); /* beyond the first one's end */
	lose_first(t, block(t)->snd_una - t->peer->irs);
	assert_true(block(t)->ssthresh < first);
	test_finish(t);
}

/* --- timestamps and scales ------------------------------------------------------------------------------ */

/* proves RFC7323-01 */
static void scale_outside_of_a_syn_means_nothing(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->peer->window = 100;
	test_start(t);
	open_server(t);
	inject(t, ". seq 1 ack 1 win 100 wscale 5");
	app_send(t, 0, 1000);
	expect(t, "P. seq 1 ack 1 len 100");
	test_finish(t);
}

/* It counts milliseconds.
 * proves RFC7323-13 */
static void timestamps_tick_in_milliseconds(void **state)
{
	struct test *t = begin_with_timestamps();
	uint32_t before;

	(void)state;
	t->app.quiet = true;
	inject(t, "P. seq 5 ack 1 len 1");
	expect(t, ". seq 1 ack 1");
	for (unsigned ms = 1; ms < 20000; ms *= 3) {
		before = t->peer->ts_seen;
		pass_ms(t, ms);
		inject(t, "P. seq 5 ack 1 len 1");
		expect(t, ". seq 1 ack 1");
		assert_int_equal(t->peer->ts_seen - before, ms);
	}
	test_finish(t);
}

/* An acknowledgement of nothing new measures nothing.
 * proves RFC7323-09 */
static void echoes_without_news_measure_nothing(void **state)
{
	struct test *t = begin_with_timestamps();
	uint32_t srtt_us;

	(void)state;
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 1 len 100");
	pass_ms(t, 10);
	inject(t, ". seq 1 ack 101");
	srtt_us = block(t)->srtt_us;
	pass_ms(t, 30000);
	for (unsigned i = 0; i < 5; i++)
		inject(t, ". seq 1 ack 101");
	assert_int_equal(block(t)->srtt_us, srtt_us);
	test_finish(t);
}

/* What was sent again is measured by its echo alone; one that is a minute old or more is believed by nobody.
 * proves RFC7323-09, RFC6298-06 */
static void echoes_measure_what_was_sent_again(void **state)
{
	struct test *t = begin_with_timestamps();
	uint32_t old;

	(void)state;
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 1 len 100");
	old = t->peer->ts_seen;
	expect_after(t, 200, "P. seq 1 ack 1 len 100");
	pass_ms(t, 10);
	inject(t, ". seq 1 ack 101");
	assert_in_range(block(t)->srtt_us, 1200, 1300); /* an eighth of 10 ms */
	pass_ms(t, 61000);
	app_send(t, 0, 100);
	expect(t, "P. seq 101 ack 1 len 100");
	expect_after(t, 200, "P. seq 101 ack 1 len 100");
	inject(t, ". seq 1 ack 201 ecr %u", old);
	assert_in_range(block(t)->srtt_us, 1200, 1300); /* an eighth of 10 ms */
	test_finish(t);
}

/* With other stacks in the process each knows its own connections.
 */
static void connections_know_their_stack(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.id = 37;
	test_start(t);
	open_server(t);
	assert_ptr_equal(c10m_conn_worker(app_conn(t, 0)), stack_worker(t->stack));
	assert_int_equal(c10m_handle_worker(c10m_conn_handle(app_conn(t, 0))), 37);
	app_send(t, 0, 10);
	expect(t, "P. seq 1 ack 1 len 10");
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(large_windows_are_large),
	TEST(window_that_shrinks_below_what_is_in_flight),
	TEST(window_closed_for_hours),
	TEST(closed_window_takes_a_reset),
	TEST(acceptability_in_all_four_cases),
	TEST(one_segment_with_all_of_it),
	TEST(listener_ignores_resets_and_resets_acknowledgements),
	TEST(reset_that_carries_data),
	TEST(push_where_the_queue_ends),
	TEST(effective_segment_size),
	TEST(listening_anew_leaves_connections_alone),
	TEST(listens_while_the_same_port_connects),
	TEST(loopback_addresses_stay_inside),
	TEST(first_numbers_depend_on_a_secret),
	TEST(no_keepalive_while_data_is_out),
	TEST(timeouts_grow_to_a_minute),
	TEST(equal_round_trips_leave_the_clocks_granularity),
	TEST(handshakes_do_not_grow_the_window),
	TEST(one_segment_after_a_lost_handshake),
	TEST(initial_window_of_long_segments),
	TEST(recovery_inflates_and_deflates),
	TEST(losses_in_two_windows_reduce_twice),
	TEST(scale_outside_of_a_syn_means_nothing),
	TEST(timestamps_tick_in_milliseconds),
	TEST(echoes_without_news_measure_nothing),
	TEST(echoes_measure_what_was_sent_again),
	TEST(connections_know_their_stack),
};

PACKET_MAIN(tests)
