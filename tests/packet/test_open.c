/* test_open.c - passive opens: from SYN to on_open (RFC 9293 sections 3.5, 3.10.7.2 to 3.10.7.4; RFC 4987).
 */
#include "harness.h"

#include "base/seq.h"

static struct test *begin(void)
{
	struct test *t = test_begin();

	test_start(t);
	return t;
}

/* proves RFC9293-MUST-14, RFC9293-SHLD-5, RFC9293-MAY-3, RFC9293-EV-02 */
static void syn_gets_syn_ack_and_ack_opens(void **state)
{
	struct test *t = begin();

	(void)state;
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 win 65535 mss 1460");
	expect_no_event(t);
	assert_int_equal(usage(t).connections, 0);
	assert_int_equal(usage(t).half_open, 1);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	assert_int_equal(usage(t).connections, 1);
	assert_int_equal(usage(t).half_open, 0);
	test_finish(t);
}

/* proves RFC9293-MUST-67, RFC7323-04 */
static void options_are_agreed_on(void **state)
{
	struct test *t = begin();
	struct tcp_segment segment;

	(void)state;
	inject(t, "S seq 0 win 1000 mss 1400 ts 0 wscale 7");
	next_segment(t, &segment);
	assert_int_equal(segment.flags, TCP_SYN | TCP_ACK);
	assert_int_equal(segment.options, TCP_OPT_MSS | TCP_OPT_TIMESTAMPS | TCP_OPT_WSCALE);
	assert_int_equal(segment.mss, 1460);
	assert_int_equal(segment.ts_ecr, t->peer->ts_base);
	t->peer->timestamps = true;
	inject(t, ". seq 1 ack 1 win 1");
	expect_event(t, "open");
	/* The window is scaled by 7 from now on: 128 bytes fit. */
	assert_int_equal(app_send(t, 0, 1000), 1000);
	expect(t, ". seq 1 ack 1 len 128");
	test_finish(t);
}

/* proves RFC7323-01, RFC7323-08 */
static void options_not_offered_are_not_used(void **state)
{
	struct test *t = begin();

	(void)state;
	inject(t, "S seq 0 win 1000 mss 1460 wscale 2");
	expect(t, "S. seq 0 ack 1 mss 1460 wscale 0");
	test_finish(t);
	t = begin();
	inject(t, "S seq 0 win 1000 mss 1460 ts 0");
	expect(t, "S. seq 0 ack 1 mss 1460 ts 0 ecr 0");
	test_finish(t);
	t = begin();
	inject(t, "S seq 0 win 1000");
	expect(t, "S. seq 0 ack 1 mss 1460");
	test_finish(t);
}

static void own_options_can_be_switched_off(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.no_timestamps = true;
	t->config.no_window_scale = true;
	test_start(t);
	inject(t, "S seq 0 win 1000 mss 1460 ts 0 wscale 7");
	expect(t, "S. seq 0 ack 1 mss 1460");
	test_finish(t);
}

/* RFC 9293 section 3.7.1: without the option 536 bytes. */
/* proves RFC9293-MUST-15 */
static void mss_is_536_when_not_given(void **state)
{
	struct test *t = begin();

	(void)state;
	inject(t, "S seq 0 win 10000");
	expect(t, "S. seq 0 ack 1 mss 1460");
	inject(t, ". seq 1 ack 1 win 10000");
	expect_event(t, "open");
	app_send(t, 0, 1072);
	expect(t, ". seq 1 len 536");
	expect(t, ". seq 537 len 536");
	test_finish(t);
}

/* proves RFC9293-MUST-4, RFC9293-MUST-14 */
static void peer_mss_limits_segments(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->peer->mss = 600;
	test_start(t);
	open_server(t);
	app_send(t, 0, 1200);
	expect(t, ". seq 1 len 600");
	expect(t, ". seq 601 len 600");
	test_finish(t);
}

/* An absurd MSS must not make the stack send one byte a segment, nor none. */
static void segments_are_sane_with_mss(uint16_t mss)
{
	struct test *t = test_begin();
	struct tcp_segment segment;

	t->peer->mss = mss;
	test_start(t);
	open_server(t);
	app_send(t, 0, 300);
	next_segment(t, &segment);
	assert_true(segment.payload_bytes >= 40);
	discard_out(t);
	test_finish(t);
}

static void tiny_mss_is_raised(void **state)
{
	(void)state;
	segments_are_sane_with_mss(1);
}

static void mss_zero_is_harmless(void **state)
{
	(void)state;
	segments_are_sane_with_mss(0);
}

/* RFC 7323 section 2.3: a shift above 14 counts as 14. */
/* RFC 7323 section 2.2: only the window of a SYN is not scaled. */
/* proves RFC7323-02, RFC7323-04 */
static void challenge_of_a_half_open_connection_scales_its_window(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->services[0].receive_bytes = 300000;
	test_start(t);
	inject(t, "S seq 0 win 1000 mss 1460 wscale 7");
	expect(t, "S. seq 0 ack 1 win 65535 mss 1460 wscale 3");
	inject(t, ". seq 70000 ack 1");
	expect(t, ". seq 1 ack 1 win 8191");
	expect_drop(t, TCP_OUT_OF_WINDOW);
	test_finish(t);
}

/* proves RFC7323-03 */
static void wscale_above_14_counts_as_14(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->peer->wscale = 200;
	t->peer->window = 1;
	test_start(t);
	open_server(t);
	assert_int_equal(app_send(t, 0, 20000), 20000);
	/* 16384 bytes of window, initial window of 10 segments. */
	for (unsigned i = 0; i < 10; i++)
		expect(t, ". seq %u len 1460", 1 + 1460 * i);
	test_finish(t);
}

static void repeated_syn_gets_the_same_syn_ack(void **state)
{
	struct test *t = begin();

	(void)state;
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	pass_ms(t, 100);
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. aseq %u ack 1 mss 1460", t->peer->irs);
	assert_int_equal(usage(t).half_open, 1);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	test_finish(t);
}

/* proves RFC6298-01 */
static void syn_ack_is_sent_again_with_backoff(void **state)
{
	struct test *t = begin();

	(void)state;
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	mark(t);
	expect_after(t, 1000, "S. seq 0 ack 1 mss 1460");
	expect_after(t, 2000, "S. seq 0 ack 1 mss 1460");
	expect_after(t, 4000, "S. seq 0 ack 1 mss 1460");
	assert_int_equal(counted(t, tcp_syn_retransmits), 3);
	pass_ms(t, 300000);
	discard_out(t);
	assert_int_equal(usage(t).half_open, 0);
	assert_int_equal(counted(t, tcp_half_open_timeouts), 1);
	expect_no_event(t);
	test_finish(t);
}

static void open_after_retransmitted_syn_ack(void **state)
{
	struct test *t = begin();

	(void)state;
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	expect_after(t, 1000, "S. seq 0 ack 1 mss 1460");
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	pass_ms(t, 10000);
	test_finish(t);
}

/* proves RFC9293-MUST-11 */
static void reset_in_syn_received(void **state)
{
	struct test *t = begin();

	(void)state;
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	mark(t);
	inject(t, "R seq 1");
	assert_int_equal(usage(t).half_open, 0);
	assert_int_equal(counted(t, tcp_resets_in), 1);
	pass_ms(t, 20000);
	expect_no_event(t);
	test_finish(t);
}

static void reset_outside_the_window_in_syn_received(void **state)
{
	struct test *t = begin();

	(void)state;
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	inject(t, "R seq 70000");
	expect_drop(t, TCP_RST_IGNORED);
	assert_int_equal(usage(t).half_open, 1);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	test_finish(t);
}

/* RFC 9293 section 3.10.7.4, fifth: an unacceptable ACK in SYN-RECEIVED is answered by a reset. */
/* proves RFC9293-EV-08 */
static void wrong_ack_in_syn_received(void **state)
{
	struct test *t = begin();

	(void)state;
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	inject(t, ". seq 1 ack 5000");
	expect(t, "R seq 5000");
	expect_drop(t, TCP_ACK_INVALID);
	assert_int_equal(usage(t).half_open, 1);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	test_finish(t);
}

static void data_instead_of_the_lost_ack_opens(void **state)
{
	struct test *t = begin();

	(void)state;
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	inject(t, "P. seq 1 ack 1 len 100");
	expect_event(t, "open");
	expect_event(t, "data 100");
	expect_after(t, 40, ". seq 1 ack 101");
	test_finish(t);
}

static void fin_on_the_third_segment(void **state)
{
	struct test *t = begin();

	(void)state;
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	inject(t, "F. seq 1 ack 1 len 10");
	expect_event(t, "open");
	expect_event(t, "data 10");
	expect_event(t, "eof");
	expect(t, "F. seq 1 ack 12");
	inject(t, ". seq 12 ack 2");
	expect_event(t, "close normal");
	test_finish(t);
}

/* The stages of a burst: what the first packet opened, the second must find. */
static void ack_data_and_fin_in_one_burst(void **state)
{
	struct test *t = begin();
	struct burst burst = {.count = 0};

	(void)state;
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	burst_add(t, &burst, ". seq 1 ack 1");
	burst_add(t, &burst, "P. seq 1 ack 1 len 10");
	burst_add(t, &burst, "F. seq 11 ack 1");
	inject_burst(t, &burst);
	expect_event(t, "open");
	expect_event(t, "data 10");
	expect_event(t, "eof");
	expect(t, "F. seq 1 ack 12");
	inject(t, ". seq 12 ack 2");
	expect_event(t, "close normal");
	test_finish(t);
}

static void two_syns_in_one_burst_make_one_entry(void **state)
{
	struct test *t = begin();
	struct burst burst = {.count = 0};

	(void)state;
	burst_add(t, &burst, "S seq 0 win 1000 mss 1460");
	burst_add(t, &burst, "S seq 0 win 1000 mss 1460");
	inject_burst(t, &burst);
	assert_int_equal(usage(t).half_open, 1);
	assert_int_equal(usage(t).table_entries, 1);
	expect(t, "S. seq 0 ack 1 mss 1460");
	expect(t, "S. aseq %u ack 1 mss 1460", t->peer->irs);
	test_finish(t);
}

/* proves RFC9293-EV-01 */
static void port_without_listener_is_refused(void **state)
{
	struct test *t = begin();

	(void)state;
	t->peer->stack_port = 81;
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "R. aseq 0 ack 1");
	expect_drop(t, TCP_NO_LISTENER);
	/* RFC 9293 section 3.10.7.1: data counts, an ACK gives the reset its number, a reset gets none. */
	inject(t, "S seq 0 len 10 win 1000");
	expect(t, "R. aseq 0 ack 11");
	expect_drop(t, TCP_NO_LISTENER);
	inject(t, ". seq 100 aack 77777");
	expect(t, "R aseq 77777");
	expect_drops(t, TCP_NO_FLOW);
	inject(t, "R seq 0");
	expect_drops(t, TCP_NO_FLOW);
	test_finish(t);
}

/* proves RFC9293-EV-02 */
static void segment_of_no_connection_is_reset(void **state)
{
	struct test *t = begin();

	(void)state;
	inject(t, "P. seq 500 aack 123456 len 20");
	expect(t, "R aseq 123456");
	expect_drops(t, TCP_NO_FLOW);
	inject(t, "F seq 500"); /* the port listens: RFC 9293 section 3.10.7.2, fourth */
	expect_nothing(t);
	expect_drop(t, TCP_FLAGS);
	t->peer->stack_port = 81;
	inject(t, "F seq 500");
	expect(t, "R. aseq 0 ack 501");
	expect_drop(t, TCP_NO_FLOW);
	test_finish(t);
}

static void unlisten_refuses_and_listen_accepts_again(void **state)
{
	struct test *t = begin();
	struct stack_message message = {.kind = STACK_UNLISTEN, .value = 0};

	(void)state;
	assert_int_equal(stack_control(t->stack, t->now_us, &message), 0);
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "R. aseq 0 ack 1");
	expect_drop(t, TCP_NO_LISTENER);
	message.kind = STACK_LISTEN;
	assert_int_equal(stack_control(t->stack, t->now_us, &message), 0);
	open_server(t);
	test_finish(t);
}

/* New connections are refused, the established one goes on (design idea 13). */
static void limit_of_connections(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.connections = 1;
	test_start(t);
	open_server(t);
	use_peer(t, 1);
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "R. aseq 0 ack 1");
	expect_drop(t, TCP_REFUSED);
	use_peer(t, 0);
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	expect_after(t, 40, ". seq 1 ack 11");
	app_abort(t, 0);
	expect(t, "R. seq 1 ack 11");
	expect_event(t, "close aborted");
	use_peer(t, 1);
	open_server(t);
	test_finish(t);
}

/* RFC 6528: the clock moves it, the tuple moves it. */
/* proves RFC9293-MUST-8, RFC9293-SHLD-1, RFC6528-01 */
static void initial_sequence_numbers(void **state)
{
	struct test *t = begin();
	uint32_t first, other, later;

	(void)state;
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	first = t->peer->irs;
	inject(t, "R seq 1");
	use_peer(t, 1);
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	other = t->peer->irs;
	assert_true(other - first > 1000000 || first - other > 1000000);
	inject(t, "R seq 1");
	use_peer(t, 0);
	pass_ms(t, 1000);
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	later = t->peer->irs;
	assert_true(seq_gt(later, first));
	assert_in_range(later - first, 200000, 300000);
	test_finish(t);
}

/* --- cookies ------------------------------------------------------------------------ */

static struct test *begin_full(void)
{
	struct test *t = test_begin();

	t->config.half_open = 2;
	test_start(t);
	for (unsigned i = 1; i <= 2; i++) {
		use_peer(t, i);
		inject(t, "S seq 0 win 1000 mss 1460");
		expect(t, "S. seq 0 ack 1 mss 1460");
	}
	use_peer(t, 0);
	mark(t);
	return t;
}

/* proves RFC4987-03, RFC4987-04 */
static void full_pool_sends_cookies(void **state)
{
	struct test *t = begin_full();

	(void)state;
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	assert_int_equal(counted(t, tcp_cookies_sent), 1);
	assert_int_equal(usage(t).half_open, 2);
	assert_int_equal(usage(t).connections, 0);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	assert_int_equal(counted(t, tcp_cookies_accepted), 1);
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	app_send(t, 0, 3000);
	expect(t, ". seq 1 ack 11 len 1460");
	expect(t, ". seq 1461 ack 11 len 1460");
	discard_out(t);
	test_finish(t);
}

static void cookie_with_data_on_the_third_segment(void **state)
{
	struct test *t = begin_full();

	(void)state;
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "open");
	expect_event(t, "data 10");
	expect_after(t, 40, ". seq 1 ack 11");
	test_finish(t);
}

/* proves RFC4987-02, RFC4987-03 */
static void wrong_cookie_is_refused(void **state)
{
	struct test *t = begin_full();

	(void)state;
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	inject(t, ". seq 1 ack 2");
	expect(t, "R seq 2");
	expect_drop(t, TCP_COOKIE_INVALID);
	inject(t, ". seq 2 ack 1"); /* not the number of the SYN */
	expect(t, "R seq 1");
	expect_drop(t, TCP_COOKIE_INVALID);
	use_peer(t, 5);
	inject(t, ". seq 1 aack %u", t->peers[0].irs + 1); /* another peer's */
	expect(t, "R aseq %u", t->peers[0].irs + 1);
	expect_drop(t, TCP_COOKIE_INVALID);
	expect_no_event(t);
	assert_int_equal(usage(t).connections, 0);
	test_finish(t);
}

/* proves RFC4987-02, RFC4987-03 */
static void old_cookie_is_refused(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.always_cookies = true;
	test_start(t);
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	pass_ms(t, 10 * 60 * 1000);
	inject(t, ". seq 1 ack 1"); /* cookies are long out of use */
	expect(t, "R seq 1");
	expect_drop(t, TCP_NO_FLOW);
	use_peer(t, 1);
	inject(t, "S seq 0 win 1000 mss 1460"); /* and are in use again */
	expect(t, "S. seq 0 ack 1 mss 1460");
	use_peer(t, 0);
	inject(t, ". seq 1 ack 1");
	expect(t, "R seq 1");
	expect_drop(t, TCP_COOKIE_INVALID);
	test_finish(t);
}

/* proves RFC4987-04 */
static void cookie_is_good_for_some_seconds(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.always_cookies = true;
	test_start(t);
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	assert_int_equal(usage(t).half_open, 0);
	pass_ms(t, 30 * 1000);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	test_finish(t);
}

/* A small MSS survives the cookie, rounded down. */
/* proves RFC4987-02 */
static void cookie_remembers_the_mss(void **state)
{
	struct test *t = test_begin();
	struct tcp_segment segment;

	(void)state;
	t->config.always_cookies = true;
	test_start(t);
	inject(t, "S seq 0 win 60000 mss 700");
	expect(t, "S. seq 0 ack 1 mss 1460");
	inject(t, ". seq 1 ack 1 win 60000");
	expect_event(t, "open");
	app_send(t, 0, 2000);
	next_segment(t, &segment);
	assert_in_range(segment.payload_bytes, 216, 700);
	discard_out(t);
	test_finish(t);
}

/* proves RFC4987-02 */
static void cookie_keeps_timestamps_and_scale(void **state)
{
	struct test *t = test_begin();
	struct tcp_segment segment;

	(void)state;
	t->config.always_cookies = true;
	test_start(t);
	inject(t, "S seq 0 win 60000 mss 1460 ts 0 wscale 7");
	next_segment(t, &segment);
	assert_true(segment.options & TCP_OPT_TIMESTAMPS);
	t->peer->timestamps = true;
	inject(t, ". seq 1 ack 1 win 1");
	expect_event(t, "open");
	assert_int_equal(app_send(t, 0, 1000), 1000);
	if (segment.options & TCP_OPT_WSCALE)
		expect(t, ". seq 1 ack 1 len 128");
	else
		expect(t, ". seq 1 ack 1 len 1");
	test_finish(t);
}

static void flood_leaves_established_connections_alone(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.half_open = 4;
	test_start(t);
	open_server(t);
	for (unsigned i = 0; i < 1000; i++) {
		t->peers[1].port = (uint16_t)(1000 + i);
		t->peers[1].snd_nxt = 0;
		use_peer(t, 1);
		inject(t, "S seq 0 win 1000 mss 1460");
		discard_out(t);
	}
	use_peer(t, 0);
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	expect_after(t, 40, ". seq 1 ack 11");
	test_finish(t);
}

/* Half-open entries of a flood are no connections: while blocks are left, cookies take over, and only when
 * none is left a new connection is refused (design idea 13). */
/* proves RFC4987-01 */
static void flood_takes_no_room_from_others(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.connections = 4;
	t->config.half_open = 16;
	test_start(t);
	for (unsigned i = 0; i < 100; i++) {
		t->peers[15].port = (uint16_t)(1000 + i);
		t->peers[15].snd_nxt = 0;
		use_peer(t, 15);
		inject(t, "S seq 0 win 1000 mss 1460");
		expect(t, "S. seq 0 ack 1 mss 1460");
	}
	assert_int_equal(usage(t).half_open, 16);
	for (unsigned i = 0; i < 4; i++) {
		use_peer(t, i);
		open_server(t);
	}
	use_peer(t, 4);
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "R. aseq 0 ack 1");
	expect_drop(t, TCP_REFUSED);
	test_finish(t);
}

/* Its block went to somebody else while the handshake lasted: it is told so. */
static void handshake_that_finds_no_block_is_refused(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.connections = 1;
	test_start(t);
	use_peer(t, 1);
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	use_peer(t, 0);
	open_server(t);
	use_peer(t, 1);
	inject(t, ". seq 1 ack 1");
	expect(t, "R seq 1");
	expect_drop(t, NO_BLOCK);
	assert_int_equal(usage(t).half_open, 0);
	pass_ms(t, 100000);
	expect_no_event(t);
	test_finish(t);
}

/* The entry remembers where its SYN came from: a flood with invented addresses asks for no neighbours. */
static void half_open_entries_need_no_neighbour(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->no_neighbours = true;
	test_start(t);
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	expect_after(t, 1000, "S. seq 0 ack 1 mss 1460");
	expect_after(t, 2000, "S. seq 0 ack 1 mss 1460");
	assert_int_equal(usage(t).destinations, 0);
	test_finish(t);
}

/* RFC 9293 section 3.10.7.2: a SYN with FIN, or with RST, is no way to open. */
static void nonsense_flags_on_a_listener(void **state)
{
	struct test *t = begin();

	(void)state;
	inject(t, "SF seq 0 win 1000");
	expect_drop(t, TCP_FLAGS);
	inject(t, "SR seq 0 win 1000");
	expect_drops(t, TCP_FLAGS);
	inject(t, "- seq 0 win 1000");
	expect_drop(t, TCP_FLAGS);
	expect_nothing(t);
	assert_int_equal(usage(t).half_open, 0);
	test_finish(t);
}

static void syn_with_data_is_accepted_without_it(void **state)
{
	struct test *t = begin();

	(void)state;
	inject(t, "S seq 0 win 1000 len 100 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	t->peer->snd_nxt = 1;
	inject(t, "P. seq 1 ack 1 len 100");
	expect_event(t, "open");
	expect_event(t, "data 100");
	expect_after(t, 40, ". seq 1 ack 101");
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(syn_gets_syn_ack_and_ack_opens),
	TEST(options_are_agreed_on),
	TEST(options_not_offered_are_not_used),
	TEST(own_options_can_be_switched_off),
	TEST(mss_is_536_when_not_given),
	TEST(peer_mss_limits_segments),
	TEST(tiny_mss_is_raised),
	TEST(mss_zero_is_harmless),
	TEST(challenge_of_a_half_open_connection_scales_its_window),
	TEST(wscale_above_14_counts_as_14),
	TEST(repeated_syn_gets_the_same_syn_ack),
	TEST(syn_ack_is_sent_again_with_backoff),
	TEST(open_after_retransmitted_syn_ack),
	TEST(reset_in_syn_received),
	TEST(reset_outside_the_window_in_syn_received),
	TEST(wrong_ack_in_syn_received),
	TEST(data_instead_of_the_lost_ack_opens),
	TEST(fin_on_the_third_segment),
	TEST(ack_data_and_fin_in_one_burst),
	TEST(two_syns_in_one_burst_make_one_entry),
	TEST(port_without_listener_is_refused),
	TEST(segment_of_no_connection_is_reset),
	TEST(unlisten_refuses_and_listen_accepts_again),
	TEST(limit_of_connections),
	TEST(initial_sequence_numbers),
	TEST(full_pool_sends_cookies),
	TEST(cookie_with_data_on_the_third_segment),
	TEST(wrong_cookie_is_refused),
	TEST(old_cookie_is_refused),
	TEST(cookie_is_good_for_some_seconds),
	TEST(cookie_remembers_the_mss),
	TEST(cookie_keeps_timestamps_and_scale),
	TEST(flood_leaves_established_connections_alone),
	TEST(flood_takes_no_room_from_others),
	TEST(handshake_that_finds_no_block_is_refused),
	TEST(half_open_entries_need_no_neighbour),
	TEST(nonsense_flags_on_a_listener),
	TEST(syn_with_data_is_accepted_without_it),
};

PACKET_MAIN(tests)
