/* test_ecn.c - explicit congestion notification: RFC 3168 in both roles, DCTCP (RFC 8257), and peers that
 * misbehave. */
#include "harness.h"

#include "stack/internal.h"
#include "tcp/congestion.h"
#include "tcp/ecn.h"

#define SEGMENT 1460u

static uint32_t at(uint32_t segment)
{
	return 1 + SEGMENT * segment;
}

static struct tcb *block(struct test *t)
{
	return (struct tcb *)app_conn(t, 0);
}

/* A peer that asks, and takes SACK. */
static struct test *begin_asked(const char *algorithm)
{
	struct test *t = test_begin();

	t->services[0].send_bytes = 1 << 20;
	t->services[0].congestion = algorithm;
	t->services[0].flags = C10M_NODELAY;
	test_start(t);
	inject(t, "SEC seq 0 win 65535 mss 1460 sackok");
	expect(t, "S.E seq 0 ack 1 mss 1460 sackok");
	pass_ms(t, 100);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	return t;
}

static struct test *begin_sent(const char *algorithm, unsigned segments)
{
	struct test *t = begin_asked(algorithm);

	block(t)->cwnd = segments * SEGMENT;
	app_send(t, 0, 100 * SEGMENT);
	for (unsigned i = 0; i < segments; i++)
		expect(t, ". seq %u ack 1 len 1460 ect", at(i));
	pass_ms(t, 100);
	return t;
}

/* --- agreeing on it -------------------------------------------------------------------------------- */

/* proves RFC9293-SHLD-8, RFC3168-02, RFC3168-03 */
static void accepted_when_asked(void **state)
{
	struct test *t = begin_asked(NULL);

	(void)state;
	assert_true(block(t)->options & TCB_ECN);
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 1 len 100 ect");
	inject(t, ". seq 1 ack 101 len 10");
	expect_event(t, "data 10");
	expect_after(t, 40,
		     ". seq 101 ack 11"); /* an acknowledgement alone carries nothing (section 6.1.4) */
	test_finish(t);
}

/* proves RFC3168-01, RFC3168-02 */
static void not_asked_not_used(void **state)
{
	static const char *const syns[] = {"S seq 0 win 65535 mss 1460", "SE seq 0 win 65535 mss 1460",
					   "SC seq 0 win 65535 mss 1460"};

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct test *t = test_begin();

		test_start(t);
		inject(t, "%s", syns[i]);
		expect(t, "S. seq 0 ack 1 mss 1460");
		inject(t, ". seq 1 ack 1");
		expect_event(t, "open");
		app_send(t, 0, 100);
		expect(t, "P. seq 1 ack 1 len 100");
		inject(t, ".E seq 1 ack 101 len 10 ce"); /* means nothing here */
		expect_event(t, "data 10");
		expect_after(t, 40, ". seq 101 ack 11");
		test_finish(t);
	}
}

static void switched_off(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->services[0].ecn = C10M_ECN_OFF;
	test_start(t);
	inject(t, "SEC seq 0 win 65535 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	assert_false(block(t)->options & TCB_ECN);
	test_finish(t);
}

/* The agreement outlives a cookie where there are timestamps, and only there. */
static void with_cookies(void **state)
{
	(void)state;
	for (unsigned timestamps = 0; timestamps < 2; timestamps++) {
		struct test *t = test_begin();

		t->config.always_cookies = true;
		test_start(t);
		t->peer->timestamps = timestamps;
		if (timestamps) {
			inject(t, "SEC seq 0 win 65535 mss 1460 sackok");
			expect(t, "S.E seq 0 ack 1 mss 1460 sackok ts 0");
		} else {
			inject(t, "SEC seq 0 win 65535 mss 1460");
			expect(t, "S. seq 0 ack 1 mss 1460");
		}
		inject(t, ". seq 1 ack 1");
		expect_event(t, "open");
		assert_int_equal((block(t)->options & TCB_ECN) != 0, timestamps);
		if (timestamps)
			assert_true(block(t)->options & TCB_SACK);
		test_finish(t);
	}
}

static struct test *begin_asking(void)
{
	struct test *t = test_begin();

	t->active = true;
	t->services[0].ecn = t->services[1].ecn = C10M_ECN_ASK;
	t->config.no_timestamps = t->config.no_window_scale = t->config.no_sack = true;
	test_start(t);
	app_connect(t, 5000);
	expect(t, "SEC mss 1460");
	return t;
}

/* proves RFC3168-01 */
static void asked_and_agreed(void **state)
{
	struct test *t = begin_asking();

	(void)state;
	inject(t, "S.E seq 0 ack 1 win 65535 mss 1460");
	expect_event(t, "open");
	expect(t, ". seq 1 ack 1");
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 1 len 100 ect");
	test_finish(t);
}

/* A peer that knows nothing of it, and one that sends back whatever it got (section 6.1.1). */
/* proves RFC3168-01 */
static void asked_and_not_agreed(void **state)
{
	static const char *const answers[] = {"S.", "S.EC", "S.C"};

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct test *t = begin_asking();

		inject(t, "%s seq 0 ack 1 win 65535 mss 1460", answers[i]);
		expect_event(t, "open");
		expect(t, ". seq 1 ack 1");
		app_send(t, 0, 100);
		expect(t, "P. seq 1 ack 1 len 100");
		test_finish(t);
	}
}

/* Section 6.1.1.1: something on the path drops SYNs that ask; then it is not used. */
static void asked_in_vain(void **state)
{
	struct test *t = begin_asking();

	(void)state;
	expect_after(t, 1000, "S mss 1460");
	inject(t, "S.E seq 0 ack 1 win 65535 mss 1460");
	expect_event(t, "open");
	expect(t, ". seq 1 ack 1");
	assert_false(block(t)->options & TCB_ECN);
	test_finish(t);
}

/* --- receiving ------------------------------------------------------------------------------------- */

/* Section 6.1.3: all acknowledgements say ECE until the peer says CWR. */
/* proves RFC3168-04 */
static void marks_are_echoed_until_cwr(void **state)
{
	struct test *t = begin_asked(NULL);

	(void)state;
	t->app.quiet = true;
	mark(t);
	inject(t, ". seq 1 ack 1 len 1000 ce");
	expect(t, ".E seq 1 ack 1001");
	inject(t, ". seq 1001 ack 1 len 1000 ect");
	expect_after(t, 40, ".E seq 1 ack 2001");
	app_send(t, 0, 100);
	expect(t, "P.E seq 1 ack 2001 len 100 ect");
	inject(t, ".C seq 2001 ack 101 len 1000 ect");
	expect_after(t, 40, ". seq 101 ack 3001");
	inject(t, ".C seq 3001 ack 101 len 1000 ce"); /* a new one in the same packet */
	expect(t, ".E seq 101 ack 4001");
	assert_int_equal(counted(t, tcp_ecn_marks_in), 2);
	test_finish(t);
}

/* A mark on an acknowledgement alone means nothing: it must not have been sent as capable. */
static void mark_without_data(void **state)
{
	struct test *t = begin_asked(NULL);

	(void)state;
	inject(t, ". seq 1 ack 1 ce");
	inject(t, ". seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	expect_after(t, 40, ". seq 1 ack 11");
	test_finish(t);
}

/* --- sending --------------------------------------------------------------------------------------- */

/* Section 6.1.2: once for each window, however often it is told; CWR on the next new segment. */
/* proves RFC3168-05 */
static void slows_down_once_a_window(void **state)
{
	static const char *const names[] = {"cubic", "newreno"};
	static const uint32_t want[] = {7, 5};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct test *t = begin_sent(names[i], 10);

		mark(t);
		inject(t, ".E seq 1 ack %u", at(1));
		assert_in_range(block(t)->cwnd, want[i] * SEGMENT, (want[i] + 1) * SEGMENT);
		for (unsigned acked = 2; acked <= 9; acked++) {
			inject(t, ".E seq 1 ack %u", at(acked));
			while (t->out_count > 0) {
				struct tcp_segment segment;

				next_segment(t, &segment);
				assert_int_equal((segment.flags & TCP_CWR) != 0,
						 segment.seq - t->peer->irs == at(10));
			}
		}
		assert_int_equal(counted(t, tcp_ecn_reductions), 1);
		assert_int_equal(counted(t, tcp_retransmits), 0);
		inject(t, ".E seq 1 ack %u", at(11)); /* beyond the window: a new one */
		assert_int_equal(counted(t, tcp_ecn_reductions), 2);
		discard_out(t);
		discard_events(t);
		test_finish(t);
	}
}

/* What is sent again is not capable (section 6.1.5), and a loss in a window that shrank already does not
 * shrink it again. */
/* proves RFC3168-03 */
static void never_on_retransmissions(void **state)
{
	struct test *t = begin_sent(NULL, 10);

	(void)state;
	inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(4));
	expect(t, ". seq 1 ack 1 len 1460");
	discard_out(t);
	mark(t);
	inject(t, ".E seq 1 ack 1 sack %u-%u", at(1), at(5)); /* in the same window */
	assert_int_equal(counted(t, tcp_ecn_reductions), 0);
	discard_out(t);
	pass_ms(t, 3000);
	expect(t, ". seq 1 ack 1 len 1460");
	discard_out(t);
	test_finish(t);
}

/* Echoes in what acknowledges too much, or nothing that is on its way. */
static void echoes_that_lie(void **state)
{
	struct test *t = begin_sent(NULL, 10);

	(void)state;
	mark(t);
	inject(t, ".E seq 1 ack %u", at(50));
	expect_drop(t, TCP_ACK_INVALID);
	discard_out(t);
	inject(t, ". seq 1 ack %u", at(10));
	discard_out(t);
	discard_events(t);
	assert_int_equal(counted(t, tcp_ecn_reductions), 0);
	test_finish(t);
}

/* --- DCTCP ----------------------------------------------------------------------------------------- */

/* RFC 8257 section 3.2: a change is told at once, with what came before it acknowledged as it was. */
static void dctcp_tells_exactly(void **state)
{
	struct test *t = begin_asked("dctcp");

	(void)state;
	t->app.quiet = true;
	inject(t, ". seq 1 ack 1 len 1000 ect");
	inject(t, ". seq 1001 ack 1 len 1000 ce");
	expect(t, ". seq 1 ack 1001");
	expect(t, ".E seq 1 ack 2001");
	inject(t, ". seq 2001 ack 1 len 1000 ce");
	inject(t, ".C seq 3001 ack 1 len 1000 ect"); /* CWR changes nothing */
	expect(t, ".E seq 1 ack 3001");
	expect(t, ". seq 1 ack 4001");
	test_finish(t);
}

/* Seed 1162656: the neighbour had to be asked whether it is still there, the port took two frames, and what
 * should have gone first went last: an acknowledgement that went back. */
static void dctcp_does_not_tell_too_late(void **state)
{
	struct test *t = begin_asked("dctcp");
	struct destination *peer = destination_hop(&t->stack->core.net.destinations, block(t)->destination);

	(void)state;
	t->app.quiet = true;
	peer->state = NEIGHBOUR_REACHABLE;
	peer->confirmed_tick = t->stack->core.now_tick - NEIGHBOUR_FRESH_MS - 1;
	peer->tries = 0;
	inject(t, ". seq 1 ack 1 len 1000 ect");
	inject(t, ". seq 1001 ack 1 len 1000 ce");
	expect_arp_request(t, PEER_IP);
	inject_arp_reply(t, PEER_IP);
	expect(t, ".E seq 1 ack 2001");
	test_finish(t);
}

/* Section 3.3: little marked, little less. */
static void dctcp_shrinks_by_the_share(void **state)
{
	struct test *t = begin_sent("dctcp", 10);
	uint32_t before;

	(void)state;
	block(t)->algorithm[0] = (1u << 30) / 10 * 9; /* alpha is a tenth */
	before = block(t)->cwnd;
	inject(t, ".E seq 1 ack %u", at(1));
	assert_in_range(block(t)->cwnd, before * 94 / 100, before * 95 / 100);
	discard_out(t);
	discard_events(t);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(accepted_when_asked),
	TEST(not_asked_not_used),
	TEST(switched_off),
	TEST(with_cookies),
	TEST(asked_and_agreed),
	TEST(asked_and_not_agreed),
	TEST(asked_in_vain),
	TEST(marks_are_echoed_until_cwr),
	TEST(mark_without_data),
	TEST(slows_down_once_a_window),
	TEST(never_on_retransmissions),
	TEST(echoes_that_lie),
	TEST(dctcp_tells_exactly),
	TEST(dctcp_does_not_tell_too_late),
	TEST(dctcp_shrinks_by_the_share),
};

PACKET_MAIN(tests)
