/* test_loss.c - what happens when segments are lost: timers, recovery, congestion control
 * (RFC 6298, RFC 5681, RFC 6582). Closed windows: test_persist.c. */
#include "harness.h"

#include "tcp/congestion.h"
#include "tcp/tcb.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"

#define SEGMENT 1460u

/* A handshake that took so long, so that the round-trip time is known. */
static struct test *begin_rtt(uint64_t ms)
{
	struct test *t = test_begin();

	test_start(t);
	inject(t, "S seq 0 win 65535 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	pass_ms(t, ms);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	return t;
}

/* The stack has sent `count` full segments, from 1 on. */
static struct test *begin_sent(unsigned count)
{
	struct test *t = begin_open();

	assert_int_equal(app_send(t, 0, 60000), 60000);
	for (unsigned i = 0; i < count; i++)
		expect(t, ". seq %u ack 1 len 1460", 1 + SEGMENT * i);
	return t;
}

/* --- the retransmission timer ------------------------------------------------------------- */

/* proves RFC9293-MUST-19, RFC6298-10 */
static void timeout_repeats_and_doubles(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 1 len 100");
	mark(t);
	for (uint64_t ms = 200; ms <= 12800; ms *= 2)
		expect_after(t, ms, "P. seq 1 ack 1 len 100");
	assert_int_equal(counted(t, tcp_retransmits), 7);
	assert_int_equal(counted(t, tcp_retransmit_timeouts), 7);
	inject(t, ". seq 1 ack 101");
	pass_ms(t, 100000);
	expect_nothing(t);
	test_finish(t);
}

/* RFC 6298 section 2.2: SRTT = 400, RTTVAR = 200, RTO = 400 + 4 * 200. */
/* proves RFC9293-MUST-18, RFC6298-02, RFC6298-09 */
static void timeout_follows_the_first_round_trip(void **state)
{
	struct test *t = begin_rtt(400);

	(void)state;
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 1 len 100");
	expect_after(t, 1200, "P. seq 1 ack 1 len 100");
	expect_after(t, 2400, "P. seq 1 ack 1 len 100");
	test_finish(t);
}

/* RFC 6298 section 2.3: the second sample of 400: RTTVAR = 150, RTO = 400 + 600. */
/* proves RFC9293-MUST-18, RFC6298-03, RFC6298-07 */
static void timeout_follows_later_round_trips(void **state)
{
	struct test *t = begin_rtt(400);

	(void)state;
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 1 len 100");
	pass_ms(t, 400);
	inject(t, ". seq 1 ack 101");
	app_send(t, 0, 100);
	expect(t, "P. seq 101 ack 1 len 100");
	expect_after(t, 1000, "P. seq 101 ack 1 len 100");
	test_finish(t);
}

/* RFC 6298 section 5.7: no sample, since the handshake lost something: three seconds, if not more. */
/* proves RFC6298-11 */
static void timeout_after_a_lost_syn_ack(void **state)
{
	struct test *t = test_begin();

	(void)state;
	test_start(t);
	inject(t, "S seq 0 win 65535 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	expect_after(t, 1000, "S. seq 0 ack 1 mss 1460");
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 1 len 100");
	expect_after(t, 3000, "P. seq 1 ack 1 len 100");
	expect_after(t, 6000, "P. seq 1 ack 1 len 100");
	test_finish(t);
}

/* RFC 6298 section 5.3: an acknowledgement of new data starts the timer anew. */
/* proves RFC6298-09, RFC6298-10 */
static void timer_starts_anew_with_each_acknowledgement(void **state)
{
	struct test *t = begin_sent(10);

	(void)state;
	pass_ms(t, 150);
	inject(t, ". seq 1 ack %u", 1 + SEGMENT);
	assert_int_equal(discard_out(t), 2);
	pass_ms(t, 150);
	expect_nothing(t);
	pass_ms(t, 100);
	expect(t, ". seq %u ack 1 len 1460", 1 + SEGMENT);
	discard_out(t);
	test_finish(t);
}

/* Karn: no sample from a segment that was sent twice; the backed-off timeout stays until a sample is good. */
/* proves RFC9293-MUST-18, RFC6298-06 */
static void karn(void **state)
{
	struct test *t = begin_rtt(400);

	(void)state;
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 1 len 100");
	expect_after(t, 1200, "P. seq 1 ack 1 len 100");
	pass_ms(t, 5); /* would be a round trip of 5, or of 1205 */
	inject(t, ". seq 1 ack 101");
	app_send(t, 0, 100);
	expect(t, "P. seq 101 ack 1 len 100");
	expect_after(t, 2400, "P. seq 101 ack 1 len 100");
	test_finish(t);
}

/* With timestamps a segment that was sent twice gives a sample (RFC 7323 section 4): 10 ms, not 1200. */
/* proves RFC6298-06, RFC7323-09 */
static void timestamps_measure_retransmissions(void **state)
{
	struct test *t = begin_with_timestamps();

	(void)state;
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 1 len 100");
	expect_after(t, 200, "P. seq 1 ack 1 len 100");
	expect_after(t, 400, "P. seq 1 ack 1 len 100");
	pass_ms(t, 10);
	inject(t, ". seq 1 ack 101");
	app_send(t, 0, 100);
	expect(t, "P. seq 101 ack 1 len 100");
	expect_after(t, 200, "P. seq 101 ack 1 len 100");
	test_finish(t);
}

static void timeout_never_below_the_minimum(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.rto_min_ms = 1000; /* RFC 6298 section 2.4 */
	test_start(t);
	open_server(t);
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 1 len 100");
	expect_after(t, 1000, "P. seq 1 ack 1 len 100");
	test_finish(t);
}

/* After a timeout one segment, from the start; then new data, which would tell that nothing was lost (RFC
 * 5682); when it does not, the rest, and what is acknowledged is not sent again. */
/* proves RFC5681-07, RFC6928-02 */
static void timeout_starts_over_with_one_segment(void **state)
{
	struct test *t = begin_sent(10);

	(void)state;
	expect_after(t, 200, ". seq 1 ack 1 len 1460");
	expect_nothing(t);
	inject(t, ". seq 1 ack %u", 1 + SEGMENT);
	expect(t, ". seq %u ack 1 len 1460", 1 + 10 * SEGMENT);
	expect(t, ". seq %u ack 1 len 1460", 1 + 11 * SEGMENT);
	expect_nothing(t);
	inject(t, ". seq 1 ack %u", 1 + SEGMENT);
	for (uint32_t i = 1; i <= 3; i++)
		expect(t, ". seq %u ack 1 len 1460", 1 + i * SEGMENT);
	expect_nothing(t);
	inject(t, ". seq 1 ack %u", 1 + 12 * SEGMENT); /* the rest had arrived */
	expect(t, ". seq %u ack 1 len 1460", 1 + 12 * SEGMENT);
	discard_out(t);
	test_finish(t);
}

/* A timer lost on re-arm (design section 7): many timeouts and acknowledgements in turn, never without a
 * timer. */
static void trap_timer_is_never_lost(void **state)
{
	struct test *t = begin_open();
	uint32_t seq = 1;

	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		app_send(t, 0, 100);
		expect(t, "P. seq %u ack 1 len 100", seq);
		for (unsigned j = 0; j <= i % 4; j++) {
			pass_ms(t, 130000);
			assert_true(discard_out(t) >= 1);
			stack_verify(t->stack);
		}
		seq += 100;
		inject(t, ". seq 1 ack %u", seq);
	}
	test_finish(t);
}

static void small_segments_are_sent_again_together(void **state)
{
	struct test *t = begin_nodelay();
	struct tcp_segment segment;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		app_send(t, 0, 100);
		expect(t, "P. seq %u ack 1 len 100", 1 + 100 * i);
	}
	pass_ms(t, 203);
	next_segment(t, &segment); /* 100 bytes or more (RFC 9293 section 3.10.8 leaves it open) */
	assert_int_equal(segment.seq, t->peer->irs + 1);
	assert_true(segment.payload_bytes >= 100 && segment.payload_bytes <= 300);
	discard_out(t);
	inject(t, ". seq 1 ack 301");
	pass_ms(t, 10000);
	expect_nothing(t);
	test_finish(t);
}

/* --- fast retransmit and recovery ------------------------------------------------------------ */

static void duplicate_acks(struct test *t, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		inject(t, ". seq 1 ack 1");
}

/* proves RFC5681-10 */
static void third_duplicate_ack_retransmits(void **state)
{
	struct test *t = begin_sent(10);

	(void)state;
	mark(t);
	duplicate_acks(t, 1);
	discard_out(t); /* limited transmit (RFC 3042), if it is done */
	duplicate_acks(t, 1);
	discard_out(t);
	assert_int_equal(counted(t, tcp_fast_retransmits), 0);
	duplicate_acks(t, 1);
	expect(t, ". seq 1 ack 1 len 1460");
	assert_int_equal(counted(t, tcp_fast_retransmits), 1);
	assert_int_equal(counted(t, tcp_duplicate_acks), 3);
	discard_out(t);
	inject(t, ". seq 1 ack %u", 1 + 10 * SEGMENT);
	discard_out(t);
	test_finish(t);
}

/* RFC 5681 section 2: data, another window or nothing in flight make it no duplicate. */
/* proves RFC9293-EV-07, RFC5681-17 */
static void what_is_no_duplicate_ack(void **state)
{
	struct test *t = begin_sent(10);

	(void)state;
	mark(t);
	t->app.quiet = true;
	for (unsigned i = 0; i < 5; i++)
		inject(t, ". seq 1 ack 1 win %u", 60000 + i);
	for (unsigned i = 0; i < 5; i++) {
		inject(t, ". seq %u ack 1 len 10 win 60004", 1 + 10 * i);
		pass_ms(t, 20);
		discard_out(t);
	}
	assert_int_equal(counted(t, tcp_duplicate_acks), 0);
	assert_int_equal(counted(t, tcp_fast_retransmits), 0);
	test_finish(t);
}

/* RFC 6582 section 3.2: a partial acknowledgement retransmits the next hole at once. */
static void partial_acknowledgement(void **state)
{
	struct test *t = begin_sent(10);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		discard_out(t);
		duplicate_acks(t, 1);
	}
	expect(t, ". seq 1 ack 1 len 1460");
	discard_out(t);
	mark(t);
	inject(t, ". seq 1 ack %u", 1 + 3 * SEGMENT);
	expect(t, ". seq %u ack 1 len 1460", 1 + 3 * SEGMENT);
	discard_out(t);
	inject(t, ". seq 1 ack %u", 1 + 6 * SEGMENT);
	expect(t, ". seq %u ack 1 len 1460", 1 + 6 * SEGMENT);
	discard_out(t);
	assert_int_equal(counted(t, tcp_retransmit_timeouts), 0);
	test_finish(t);
}

/* Two gigabytes after the last loss, half of all numbers lie between that and the next. */
static void a_loss_long_after_the_last_one(void **state)
{
	struct test *t = begin_sent(10);
	struct tcb *tcb = (struct tcb *)app_conn(t, 0);

	(void)state;
	tcb->recover -= 0x7fffffff - 3 * SEGMENT; /* as if so much had been sent since */
	for (unsigned i = 1; i <= 5; i++) {
		inject(t, ". seq 1 ack %u", 1 + i * SEGMENT);
		discard_out(t);
	}
	mark(t);
	for (unsigned i = 0; i < 3; i++) {
		inject(t, ". seq 1 ack %u", 1 + 5 * SEGMENT);
		discard_out(t);
	}
	assert_int_equal(counted(t, tcp_fast_retransmits), 1);
	test_finish(t);
}

/* Loss and its repair in one burst: what comes after goes once. */
static void acknowledgement_takes_a_retransmission_back(void **state)
{
	struct test *t = begin_open();
	struct burst burst = {.count = 0};

	(void)state;
	app_send(t, 0, 10 * SEGMENT);
	assert_int_equal(discard_out(t), 10);
	duplicate_acks(t, 2);
	burst_add(t, &burst, ". seq 1 ack 1");
	burst_add(t, &burst, ". seq 1 ack %u", 1 + 10 * SEGMENT);
	inject_burst(t, &burst);
	expect_nothing(t);
	app_send(t, 0, 100);
	expect(t, "P. seq %u ack 1 len 100", 1 + 10 * SEGMENT);
	expect_nothing(t);
	test_finish(t);
}

/* As many frames as the port has room for. */
static void send_some(struct test *t, uint32_t max)
{
	uint8_t frames[4][FRAME_ROOM];
	struct packet packets[4];

	for (uint32_t i = 0; i < max; i++)
		packets[i] = (struct packet){.data = frames[i], .room = FRAME_ROOM};
	assert_int_equal(stack_tx(t->stack, t->now_us, packets, max), max);
}

/* What is sent again ends in the middle of what is left: the FIN stands behind all of it. */
static void fin_is_never_sent_before_the_last_byte(void **state)
{
	struct test *t = begin_open();
	uint8_t frame[FRAME_ROOM];
	struct packet packet = {.data = frame};
	uint8_t quote[IPV4_HEADER_BYTES + 8] = {0};
	const struct ipv4_header ip = {
		.source = STACK_IP,
		.destination = t->peer->ip,
		.flags = IPV4_DF,
		.ttl = 60,
		.protocol = IP_PROTOCOL_TCP,
		.total_bytes = 1500,
	};

	(void)state;
	app_send(t, 0, 1400);
	app_shutdown(t, 0);
	assert_int_equal(discard_out(t), 2);
	duplicate_acks(t, 3); /* in recovery ... */
	discard_out(t);
	((struct tcb *)app_conn(t, 0))->ssthresh = SSTHRESH_UNKNOWN; /* a router is believed at once */
	ipv4_emit(quote, &ip); /* ... the path turns out to be narrow, and the port has room for one frame */
	put16(quote + 20, t->peer->stack_port);
	put16(quote + 22, t->peer->port);
	put32(quote + 24, t->peer->irs + 1);
	packet.bytes = build_icmp(t, frame, ICMP_UNREACHABLE, ICMP_CODE_FRAGMENTATION_NEEDED, 1000, quote,
				  sizeof(quote));
	stack_rx(t->stack, t->now_us, &packet, 1);
	send_some(t, 1); /* 960 bytes */
	inject(t, ". seq 1 ack 501");
	expect(t, ". seq 501 ack 1 len 460");
	expect(t, "F. seq 961 ack 1 len 440");
	test_finish(t);
}

/* One loss halves the window once, however many duplicates come. */
static void one_recovery_for_one_loss(void **state)
{
	struct test *t = begin_sent(10);

	(void)state;
	mark(t);
	for (unsigned i = 0; i < 9; i++) {
		duplicate_acks(t, 1);
		discard_out(t);
	}
	assert_int_equal(counted(t, tcp_fast_retransmits), 1);
	assert_int_equal(counted(t, tcp_retransmits), 1);
	test_finish(t);
}

/* RFC 3042: without the new segments there would be no third duplicate, and a wait for the timer. */
/* proves RFC5681-09, RFC3042-01 */
static void small_windows_recover_by_limited_transmit(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.initial_window_segments = 2;
	test_start(t);
	open_server(t);
	app_send(t, 0, 60000);
	assert_int_equal(discard_out(t), 2);
	mark(t);
	for (unsigned i = 2; i < 4; i++) {
		duplicate_acks(t, 1); /* for the second segment, then for the third */
		expect(t, ". seq %u ack 1 len 1460", 1 + SEGMENT * i);
		expect_nothing(t);
	}
	duplicate_acks(t, 1);
	expect(t, ". seq 1 ack 1 len 1460");
	assert_int_equal(counted(t, tcp_fast_retransmits), 1);
	discard_out(t);
	test_finish(t);
}

/* RFC 5681 equation 4: half of what was in flight, so at most 5 segments after a loss with 10 in flight. */
/* proves RFC5681-12 */
static void window_is_halved_after_a_loss(void **state)
{
	struct test *t = begin_sent(10);
	unsigned sent;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		duplicate_acks(t, 1);
		assert_int_equal(discard_out(t), 1);
	}
	duplicate_acks(t, 1);
	expect(t, ". seq 1 ack 1 len 1460");
	sent = 12 + discard_out(t);
	inject(t, ". seq 1 ack %u", 1 + sent * SEGMENT);
	assert_in_range(discard_out(t), 1, 6);
	test_finish(t);
}

/* --- congestion window -------------------------------------------------------------------------- */

/* proves RFC5681-01, RFC5681-02, RFC6928-01 */
static void initial_window_is_ten_segments(void **state)
{
	struct test *t = begin_sent(10);

	(void)state;
	expect_nothing(t);
	test_finish(t);
}

static void initial_window_is_configured(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.initial_window_segments = 2;
	test_start(t);
	open_server(t);
	app_send(t, 0, 60000);
	expect(t, ". seq 1 ack 1 len 1460");
	expect(t, ". seq 1461 ack 1 len 1460");
	test_finish(t);
}

/* RFC 5681 section 3.1: each acknowledgement of new data adds a segment, besides what it frees. */
/* proves RFC9293-MUST-19, RFC5681-01 */
static void slow_start(void **state)
{
	struct test *t = begin_sent(10);
	uint32_t sent = 10;

	(void)state;
	for (uint32_t acked = 1; acked <= 10; acked++) {
		inject(t, ". seq 1 ack %u", 1 + acked * SEGMENT);
		expect(t, ". seq %u ack 1 len 1460", 1 + sent++ * SEGMENT);
		expect(t, ". seq %u ack 1 len 1460", 1 + sent++ * SEGMENT);
		expect_nothing(t);
	}
	test_finish(t);
}

/* An acknowledgement of many segments adds all of them, up to eight (RFC 3465, RFC 9406 section 4.2). */
/* proves RFC5681-04 */
static void slow_start_counts_bytes(void **state)
{
	struct test *t = begin_sent(10);

	(void)state;
	inject(t, ". seq 1 ack %u", 1 + 4 * SEGMENT);
	assert_int_equal(discard_out(t), 8);
	test_finish(t);
}

/* Acknowledges, segment by segment, all that was in flight at its start; returns what was in flight at its
 * end. */
static uint32_t round_trip(struct test *t, uint32_t *acked, uint32_t *sent)
{
	uint32_t end = *sent;

	while (*acked < end) {
		inject(t, ". seq 1 ack %u", 1 + ++*acked * SEGMENT);
		*sent += discard_out(t);
	}
	return *sent - *acked;
}

/* RFC 5681 section 3.1: above ssthresh about one segment more a round trip. */
/* proves RFC9293-MUST-19, RFC5681-05 */
static void congestion_avoidance(void **state)
{
	struct test *t = test_begin();
	uint32_t acked = 10, sent = 10, before;

	(void)state;
	t->services[0].send_bytes = 300000;
	test_start(t);
	open_server(t);
	app_send(t, 0, 280000);
	assert_int_equal(discard_out(t), 10);
	expect_after(t, 200, ". seq 1 ack 1 len 1460"); /* ssthresh is 5 segments now, the window one */
	inject(t, ". seq 1 ack %u", 1 + acked * SEGMENT);
	sent += discard_out(t);
	while (sent - acked < 6)
		round_trip(t, &acked, &sent);
	for (unsigned i = 0; i < 6; i++) {
		before = sent - acked;
		assert_in_range(round_trip(t, &acked, &sent), before, before + 2);
	}
	assert_in_range(sent - acked, 9, 16);
	test_finish(t);
}

/* RFC 5681 section 4.1: what the network took before a pause says nothing of now. */
/* proves RFC5681-13, RFC6928-02 */
static void window_after_a_pause(void **state)
{
	struct test *t = test_begin();
	uint32_t sent = 10, acked = 0;

	(void)state;
	t->services[0].send_bytes = 300000;
	test_start(t);
	open_server(t);
	app_send(t, 0, 40 * SEGMENT);
	assert_int_equal(discard_out(t), 10);
	while (acked < 40)
		round_trip(t, &acked, &sent);
	pass_ms(t, 150); /* less than a retransmission time-out */
	app_send(t, 0, 80 * SEGMENT);
	sent += discard_out(t);
	assert_true(sent > 40 + 30);
	while (acked < 120)
		round_trip(t, &acked, &sent);
	pass_ms(t, 5000);
	app_send(t, 0, 40 * SEGMENT);
	assert_int_equal(discard_out(t), 10);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(timeout_repeats_and_doubles),
	TEST(timeout_follows_the_first_round_trip),
	TEST(timeout_follows_later_round_trips),
	TEST(timeout_after_a_lost_syn_ack),
	TEST(timer_starts_anew_with_each_acknowledgement),
	TEST(karn),
	TEST(timestamps_measure_retransmissions),
	TEST(timeout_never_below_the_minimum),
	TEST(timeout_starts_over_with_one_segment),
	TEST(trap_timer_is_never_lost),
	TEST(small_segments_are_sent_again_together),
	TEST(third_duplicate_ack_retransmits),
	TEST(what_is_no_duplicate_ack),
	TEST(partial_acknowledgement),
	TEST(a_loss_long_after_the_last_one),
	TEST(acknowledgement_takes_a_retransmission_back),
	TEST(fin_is_never_sent_before_the_last_byte),
	TEST(one_recovery_for_one_loss),
	TEST(small_windows_recover_by_limited_transmit),
	TEST(window_is_halved_after_a_loss),
	TEST(initial_window_is_ten_segments),
	TEST(initial_window_is_configured),
	TEST(slow_start),
	TEST(slow_start_counts_bytes),
	TEST(congestion_avoidance),
	TEST(window_after_a_pause),
};

PACKET_MAIN(tests)
