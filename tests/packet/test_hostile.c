/* test_hostile.c - attacks on every state, and peers that gain nothing by lying about what they got (RFC
 * 5961, RFC 5681 section 3.1, RFC 3465, RFC 7323). Which test covers which attack: docs/hostile.md. */
#include "harness.h"

#include <stdlib.h>

#include "stack/internal.h"
#include "wire/icmp.h"

#define SEGMENT 1460u
#define FAR     1000000u /* outside of every window here */

static struct tcb *block(struct test *t)
{
	return (struct tcb *)app_conn(t, 0);
}

/* --- every state ----------------------------------------------------------------------------- */

/* What an attacker aims at: the peer's next number, and what it has to acknowledge. */
struct state {
	uint32_t seq, ack;
	void (*reach)(struct test *t);
	void (*go_on)(struct test *t); /* the connection goes on as if nothing had happened */
};

static void opens(struct test *t)
{
	inject(t, ". seq 1 ack 1 win 1000");
	expect_event(t, "open");
}

static void learn_numbers(struct test *t)
{
	struct tcp_segment segment;

	next_segment(t, &segment);
	t->peer->irs = segment.seq;
	t->peer->irs_known = true;
}

static void reach_half_open(struct test *t)
{
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
}

static void reach_established(struct test *t)
{
	open_server(t);
}

static void data_arrives(struct test *t)
{
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
}

static void reach_fin_wait_1(struct test *t)
{
	open_server(t);
	app_shutdown(t, 0);
	expect(t, "F. seq 1 ack 1");
}

static void peer_closes(struct test *t)
{
	inject(t, "F. seq 1 ack 2");
	expect_event(t, "eof");
	expect_event(t, "close normal");
}

static void reach_fin_wait_2(struct test *t)
{
	reach_fin_wait_1(t);
	inject(t, ". seq 1 ack 2");
}

static void reach_close_wait(struct test *t)
{
	t->app.keep_open = true;
	open_server(t);
	inject(t, "F. seq 1 ack 1");
	expect_event(t, "eof");
	expect(t, ". seq 1 ack 2");
}

static void we_close(struct test *t)
{
	app_close(t, 0);
	expect(t, "F. seq 1 ack 2");
	inject(t, ". seq 2 ack 2");
	expect_event(t, "close normal");
}

static void reach_closing(struct test *t)
{
	reach_fin_wait_1(t);
	t->app.keep_open = true;
	inject(t, "F. seq 1 ack 1");
	expect_event(t, "eof");
	expect(t, ". seq 2 ack 2");
}

static void our_fin_is_acknowledged(struct test *t)
{
	inject(t, ". seq 2 ack 2");
	expect_event(t, "close normal");
}

static void reach_last_ack(struct test *t)
{
	open_server(t);
	inject(t, "F. seq 1 ack 1");
	expect_event(t, "eof");
	expect(t, "F. seq 1 ack 2");
}

static void reach_time_wait(struct test *t)
{
	reach_fin_wait_2(t);
	peer_closes(t);
	expect(t, ". seq 2 ack 2");
}

static void fin_is_acknowledged_again(struct test *t)
{
	inject(t, "F. seq 1 ack 2");
	expect(t, ". seq 2 ack 2");
}

#define TIME_WAIT_AT 7

static const struct state states[] = {
	{1, 1, reach_half_open, opens},                     /* SYN-RECEIVED */
	{1, 1, reach_established, data_arrives},            /* ESTABLISHED */
	{1, 1, reach_fin_wait_1, peer_closes},              /* FIN-WAIT-1 */
	{1, 2, reach_fin_wait_2, peer_closes},              /* FIN-WAIT-2 */
	{2, 1, reach_close_wait, we_close},                 /* CLOSE-WAIT */
	{2, 1, reach_closing, our_fin_is_acknowledged},     /* CLOSING */
	{2, 1, reach_last_ack, our_fin_is_acknowledged},    /* LAST-ACK */
	{2, 2, reach_time_wait, fin_is_acknowledged_again}, /* TIME-WAIT */
};

/* The attack is made in each state; whatever is answered, the connection goes on. */
static void in_each_state(void (*attack)(struct test *t, const struct state *state))
{
	for (unsigned i = 0; i < ARRAY_COUNT(states); i++) {
		struct test *t = test_begin();

		test_start(t);
		states[i].reach(t);
		for (unsigned reason = 0; reason < DROP_COUNT; reason++)
			t->drops_ignored[reason] = true;
		attack(t, &states[i]);
		assert_true(discard_out(t) <= 1);
		expect_no_event(t);
		states[i].go_on(t);
		discard_out(t);
		test_finish(t);
	}
}

static void attack_reset_inside(struct test *t, const struct state *state)
{
	inject(t, "R seq %u", state->seq + 1);
}

static void attack_reset_outside(struct test *t, const struct state *state)
{
	inject(t, "R seq %u", state->seq + FAR);
}

static void attack_reset_behind(struct test *t, const struct state *state)
{
	inject(t, "R. seq %u ack %u", state->seq - 1, state->ack);
}

/* In TIME-WAIT a SYN beyond the window is a new connection (RFC 9293 section 3.10.7.4). */
static void attack_syn_inside(struct test *t, const struct state *state)
{
	if (state != &states[TIME_WAIT_AT])
		inject(t, "S seq %u win 1000", state->seq + 10);
}

static void attack_syn_outside(struct test *t, const struct state *state)
{
	inject(t, "S seq %u win 1000", state->seq - FAR);
}

static void attack_syn_ack(struct test *t, const struct state *state)
{
	inject(t, "S. seq %u ack %u win 1000", state->seq + 10, state->ack);
}

static void attack_ack_never_sent(struct test *t, const struct state *state)
{
	inject(t, ". seq %u ack %u", state->seq, state->ack + FAR);
}

static void attack_ack_too_old(struct test *t, const struct state *state)
{
	inject(t, ". seq %u ack %u", state->seq, state->ack - 0x40000000u);
}

static void attack_beyond_window(struct test *t, const struct state *state)
{
	inject(t, "P. seq %u ack %u len 100", state->seq + FAR, state->ack);
}

static void attack_fin_beyond_window(struct test *t, const struct state *state)
{
	inject(t, "F. seq %u ack %u", state->seq + FAR, state->ack);
}

static void attack_without_ack(struct test *t, const struct state *state)
{
	inject(t, "FP seq %u len 10", state->seq);
}

static void attack_nothing_set(struct test *t, const struct state *state)
{
	inject(t, "- seq %u len 10", state->seq);
}

/* RFC 5927 section 5: no error ends a connection, in flight or not. */
static void attack_icmp(struct test *t, const struct state *state)
{
	for (uint8_t code = 0; code < 16; code++) {
		inject_icmp_error(t, ICMP_UNREACHABLE, code, 0, state->ack + FAR);
		if (code != ICMP_CODE_FRAGMENTATION_NEEDED)
			inject_icmp_error(t, ICMP_UNREACHABLE, code, 0, state->ack);
	}
}

#define IN_EACH_STATE(name) \
	static void name##_in_each_state(void **state) \
	{ \
		(void)state; \
		in_each_state(attack_##name); \
	}

IN_EACH_STATE(reset_inside)
IN_EACH_STATE(reset_outside)
IN_EACH_STATE(reset_behind)
IN_EACH_STATE(syn_inside)
IN_EACH_STATE(syn_outside)
IN_EACH_STATE(syn_ack)
IN_EACH_STATE(ack_never_sent)
IN_EACH_STATE(ack_too_old)
IN_EACH_STATE(beyond_window)
IN_EACH_STATE(fin_beyond_window)
IN_EACH_STATE(without_ack)
IN_EACH_STATE(nothing_set)
IN_EACH_STATE(icmp)

/* Who does not see our SYN cannot end the attempt, nor complete it. */
static void everything_but_the_right_answer_in_syn_sent(void **state)
{
	static const char *const attacks[] = {
		"R seq 0",
		"R. seq 0 ack 0",
		"R. seq 0 ack 1000",
		"S. seq 0 ack 1000 win 100",
		"S. seq 0 ack 0 win 1",
		". seq 0 ack 1000",
		". seq 0 ack 1",
		"P seq 0 len 10",
		"F seq 0",
		"- seq 0 len 1",
		"FP. seq 5 ack 0 len 5",
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(attacks); i++) {
		struct test *t = test_begin();

		t->active = true;
		test_start(t);
		app_connect(t, 6000);
		t->peer->stack_port = 6000;
		learn_numbers(t);
		for (unsigned reason = 0; reason < DROP_COUNT; reason++)
			t->drops_ignored[reason] = true;
		inject(t, "%s", attacks[i]);
		discard_out(t);
		expect_no_event(t);
		inject(t, "S. seq 0 ack 1 win 1000 mss 1460");
		expect_event(t, "open");
		discard_out(t);
		test_finish(t);
	}
}

/* --- lies about what has arrived --------------------------------------------------------------- */

/* Ten segments are in flight to a peer that takes everything. */
static struct test *begin_sent(void)
{
	struct test *t = test_begin();

	t->services[0].send_bytes = 1 << 20;
	t->services[0].congestion = "newreno";
	test_start(t);
	open_server(t);
	app_send(t, 0, 400 * SEGMENT);
	assert_int_equal(discard_out(t), 10);
	return t;
}

/* RFC 5681 section 3.1, RFC 3465: a segment acknowledged in splinters opens the window no wider. */
static void split_acknowledgements_gain_nothing(void **state)
{
	struct test *t = begin_sent();
	uint32_t before = block(t)->cwnd;

	(void)state;
	for (uint32_t ack = 11; ack <= 1 + SEGMENT; ack += 10) {
		inject(t, ". seq 1 ack %u", ack);
		discard_out(t);
	}
	inject(t, ". seq 1 ack %u", 1 + SEGMENT);
	assert_true(block(t)->cwnd <= before + SEGMENT);
	discard_out(t);
	test_finish(t);
}

/* Who acknowledges what has not arrived yet gains what it acknowledges, and loses what is lost: nothing of it
 * is sent again. Beyond what was sent nothing counts. */
static void optimistic_acknowledgements_end_at_what_was_sent(void **state)
{
	struct test *t = begin_sent();

	(void)state;
	inject(t, ". seq 1 ack %u", 1 + 10 * SEGMENT);
	assert_true(block(t)->cwnd <= 20 * SEGMENT);
	assert_true(discard_out(t) <= 20);
	inject(t, ". seq 1 ack %u", 1 + 100 * SEGMENT);
	expect(t, ". ack 1");
	expect_drop(t, TCP_ACK_INVALID);
	assert_true(block(t)->cwnd <= 20 * SEGMENT);
	test_finish(t);
}

/* Duplicates beyond those that show a loss let one segment out each, and what they inflated goes with the
 * recovery: neither they nor a time-out in their midst make more of the window than it was. */
static void duplicates_without_end(void **state)
{
	struct test *t = begin_sent();

	(void)state;
	for (unsigned i = 0; i < 60; i++) {
		inject(t, ". seq 1 ack 1");
		discard_out(t);
	}
	assert_int_equal(block(t)->ssthresh, 5 * SEGMENT);
	discard_out(t);
	pass_ms(t, 2000);
	assert_true(block(t)->ssthresh <= 5 * SEGMENT);
	discard_out(t);
	test_finish(t);
}

/* RFC 7323 section 4.1: an echo of what was never sent is as good as a lie about the round trip; it may harm
 * the liar's own connection only within bounds. */
static void echoed_timestamps_that_lie(void **state)
{
	static const uint32_t lies[] = {1, 0x7fffffffu, 0x80000000u, 0xffffffffu};
	struct test *t = begin_with_timestamps();
	uint32_t ack = 1;

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(lies); i++) {
		app_send(t, 0, 100);
		discard_out(t);
		ack += 100;
		inject(t, ". seq 1 ack %u ecr %u", ack, t->peer->ts_seen + lies[i]);
		assert_true(block(t)->srtt_us <= 60 * SECOND && block(t)->backoff == 0);
	}
	app_send(t, 0, 100);
	discard_out(t);
	pass_ms(t, 61000);
	assert_true(discard_out(t) >= 1);
	inject(t, ". seq 1 ack %u", ack + 100);
	test_finish(t);
}

/* --- windows -------------------------------------------------------------------------------------- */

/* RFC 9293 section 3.8.6: a window taken back below what is in flight stops new data; what was sent is sent
 * again, into the window or as a probe, until the peer takes it. */
static void window_taken_back_below_the_flight(void **state)
{
	struct test *t = begin_sent();
	uint32_t sent = 1 + 10 * SEGMENT;

	(void)state;
	inject(t, ". seq 1 ack %u win %u", 1 + SEGMENT, SEGMENT);
	expect_nothing(t);
	inject(t, ". seq 1 ack %u win 0", 1 + 2 * SEGMENT);
	expect_nothing(t);
	for (unsigned i = 0; i < 6; i++) {
		pass_ms(t, 61000);
		assert_true(discard_out(t) >= 1);
		inject(t, ". seq 1 ack %u win 0", 1 + 2 * SEGMENT);
		discard_out(t);
		expect_no_event(t);
	}
	inject(t, ". seq 1 ack %u win 65535", sent);
	assert_true(discard_out(t) >= 1);
	test_finish(t);
}

/* Open by a byte, shut, and so on: one byte each, and no more frames than the peer sends. */
static void window_that_opens_by_a_byte(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, ". seq 1 ack 1 win 0");
	app_send(t, 0, 1000);
	for (unsigned i = 0; i < 50; i++) {
		inject(t, ". seq 1 ack 1 win 1");
		assert_true(discard_out(t) <= 1);
		pass_ms(t, 10);
		assert_true(discard_out(t) <= 1);
	}
	pass_ms(t, 1000);
	assert_true(discard_out(t) >= 1);
	inject(t, ". seq 1 ack 2 win 2000");
	assert_true(discard_out(t) >= 1);
	inject(t, ". seq 1 ack 1001 win 2000");
	discard_out(t);
	test_finish(t);
}

/* --- the same burst ------------------------------------------------------------------------------- */

/* What the first frame of a burst ended, a later one must not find: the block was looked up before, and its
 * addresses still stand in it. */
static void connection_that_a_burst_ends_is_not_found_again(void **state)
{
	struct test *t = begin_open();
	struct burst *burst = calloc(1, sizeof(*burst));

	(void)state;
	app_send(t, 0, 100);
	discard_out(t);
	burst_add(t, burst, "R seq 1");
	burst_add(t, burst, "P. seq 1 ack 101 len 10");
	burst_add(t, burst, ". seq 11 ack 101");
	inject_burst(t, burst);
	free(burst);
	expect_event(t, "close reset");
	expect_no_event(t);
	expect_drops(t, TCP_NO_FLOW);
	assert_int_equal(discard_out(t), 2); /* a reset for each */
	assert_int_equal(usage(t).connections, 0);
	test_finish(t);
}

/* Likewise one that became an entry in TIME-WAIT: the FIN that comes again is acknowledged from there. */
static void connection_that_a_burst_puts_into_time_wait(void **state)
{
	struct test *t = begin_open();
	struct burst *burst = calloc(1, sizeof(*burst));

	(void)state;
	app_close(t, 0);
	expect(t, "F. seq 1 ack 1");
	burst_add(t, burst, ". seq 1 ack 2");
	burst_add(t, burst, "F. seq 1 ack 2");
	burst_add(t, burst, "F. seq 1 ack 2");
	inject_burst(t, burst);
	free(burst);
	expect_event(t, "close normal");
	expect_drops(t, TCP_TIME_WAIT);
	assert_int_equal(discard_out(t), 2);
	assert_int_equal(usage(t).time_wait, 1);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(reset_inside_in_each_state),
	TEST(reset_outside_in_each_state),
	TEST(reset_behind_in_each_state),
	TEST(syn_inside_in_each_state),
	TEST(syn_outside_in_each_state),
	TEST(syn_ack_in_each_state),
	TEST(ack_never_sent_in_each_state),
	TEST(ack_too_old_in_each_state),
	TEST(beyond_window_in_each_state),
	TEST(fin_beyond_window_in_each_state),
	TEST(without_ack_in_each_state),
	TEST(nothing_set_in_each_state),
	TEST(icmp_in_each_state),
	TEST(everything_but_the_right_answer_in_syn_sent),
	TEST(split_acknowledgements_gain_nothing),
	TEST(optimistic_acknowledgements_end_at_what_was_sent),
	TEST(duplicates_without_end),
	TEST(echoed_timestamps_that_lie),
	TEST(window_taken_back_below_the_flight),
	TEST(window_that_opens_by_a_byte),
	TEST(connection_that_a_burst_ends_is_not_found_again),
	TEST(connection_that_a_burst_puts_into_time_wait),
};

PACKET_MAIN(tests)
