/* test_recovery.c - what the stack does about losses when the peer tells what has arrived: RFC 6675, RFC
 * 8985, RFC 6937, RFC 3522, RFC 3708. */
#include "harness.h"

#include <errno.h>

#include "stack/internal.h"
#include "tcp/congestion.h"
#include "wire/icmp.h"

#define SEGMENT 1460u

static uint32_t at(uint32_t segment)
{
	return 1 + SEGMENT * segment;
}

static struct tcb *block(struct test *t)
{
	return (struct tcb *)app_conn(t, 0);
}

/* A peer that takes SACK; the round trip takes so long; `segments` full ones are in flight. */
static struct test *begin_sent(uint64_t rtt_ms, unsigned segments)
{
	struct test *t = test_begin();

	t->services[0].send_bytes = 1 << 20;
	test_start(t);
	inject(t, "S seq 0 win 65535 mss 1460 sackok");
	expect(t, "S. seq 0 ack 1 mss 1460 sackok");
	pass_ms(t, rtt_ms);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	block(t)->cwnd = segments * SEGMENT;
	assert_int_equal(app_send(t, 0, 100 * SEGMENT), 100 * SEGMENT);
	for (unsigned i = 0; i < segments; i++)
		expect(t, ". seq %u ack 1 len 1460", at(i));
	pass_ms(t, rtt_ms);
	return t;
}

/* --- what is lost ------------------------------------------------------------------------------- */

/* RFC 8985 section 6.2 step 4: without reordering the third segment behind a hole proves it, at once. */
/* proves RFC6675-01, RFC8985-04 */
static void third_sacked_segment_retransmits(void **state)
{
	struct test *t = begin_sent(100, 10);

	(void)state;
	mark(t);
	inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(2));
	expect(t, ". seq %u ack 1 len 1460", at(10)); /* limited transmit: RFC 3042, RFC 6675 section 5 */
	inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(3));
	expect(t, ". seq %u ack 1 len 1460", at(11));
	inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(4));
	expect(t, ". seq 1 ack 1 len 1460");
	assert_int_equal(counted(t, tcp_fast_retransmits), 1);
	assert_int_equal(counted(t, tcp_retransmits), 1);
	assert_int_equal(usage(t).ranges, 4); /* sent again, arrived, sent before, sent since */
	discard_out(t);
	inject(t, ". seq 1 ack %u", at(12));
	discard_out(t);
	assert_int_equal(usage(t).ranges, 0);
	test_finish(t);
}

/* One segment behind the hole: lost a quarter of a round trip later, by the timer alone. */
/* proves RFC8985-01, RFC8985-04, RFC8985-05 */
static void reordering_window_by_the_timer(void **state)
{
	struct test *t = begin_sent(100, 10);

	(void)state;
	mark(t);
	inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(2));
	expect(t, ". seq %u ack 1 len 1460", at(10));
	expect_after(t, 25, ". seq 1 ack 1 len 1460");
	assert_int_equal(counted(t, tcp_reordering_windows), 1);
	assert_int_equal(counted(t, tcp_fast_retransmits), 1);
	assert_int_equal(counted(t, tcp_retransmit_timeouts), 0);
	discard_out(t);
	test_finish(t);
}

/* It comes within the window: nothing is sent again, and reordering is known from now on. */
/* proves RFC8985-03, RFC8985-04 */
static void reordering_is_no_loss(void **state)
{
	struct test *t = begin_sent(100, 10);

	(void)state;
	mark(t);
	inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(2));
	pass_ms(t, 20);
	discard_out(t);
	inject(t, ". seq 1 ack %u", at(2));
	discard_out(t);
	assert_int_equal(counted(t, tcp_retransmits), 0);
	assert_int_equal(counted(t, tcp_reordering_seen), 1);
	assert_int_equal(usage(t).ranges, 0);
	/* Three and more behind a hole prove nothing any more: the window is waited for. */
	inject(t, ". seq 1 ack %u sack %u-%u", at(2), at(3), at(8));
	discard_out(t);
	assert_int_equal(counted(t, tcp_fast_retransmits), 0);
	pass_ms(t, 27);
	assert_int_equal(counted(t, tcp_fast_retransmits), 1);
	discard_out(t);
	test_finish(t);
}

/* All holes are found at once, and sent again in order, each once. */
/* proves RFC6675-02, RFC6675-03, RFC6675-04, RFC6675-06 */
static void several_holes_one_recovery(void **state)
{
	struct test *t = begin_sent(100, 20);
	struct tcp_segment segment;
	uint32_t want[] = {at(0), at(4), at(5), at(9)}, next = 0;

	(void)state;
	mark(t);
	inject(t, ". seq 1 ack 1 sack %u-%u,%u-%u,%u-%u", at(10), at(20), at(6), at(9), at(1), at(4));
	while (t->out_count > 0) {
		next_segment(t, &segment);
		if (segment.seq - t->peer->irs < at(20))
			assert_int_equal(segment.seq - t->peer->irs, want[next++]);
	}
	inject(t, ". seq 1 ack %u sack %u-%u,%u-%u", at(4), at(10), at(20), at(6), at(9));
	while (t->out_count > 0) {
		next_segment(t, &segment);
		if (segment.seq - t->peer->irs < at(20))
			assert_int_equal(segment.seq - t->peer->irs, want[next++]);
	}
	inject(t, ". seq 1 ack %u sack %u-%u", at(9), at(10), at(20));
	discard_out(t);
	assert_int_equal(counted(t, tcp_fast_retransmits), 1);
	assert_int_equal(counted(t, tcp_retransmits), 4);
	assert_int_equal(counted(t, tcp_retransmit_timeouts), 0);
	test_finish(t);
}

/* RFC 8985 section 6.2: what was sent again is lost again when something sent later has arrived. */
/* proves RFC8985-01, RFC8985-05 */
static void lost_retransmission_is_found(void **state)
{
	struct test *t = begin_sent(100, 10);

	(void)state;
	inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(4));
	expect(t, ". seq 1 ack 1 len 1460");
	inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(9));
	assert_true(discard_out(t) > 0); /* new data, sent after it */
	mark(t);
	pass_ms(t, 100);
	inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(11));
	expect(t, ". seq 1 ack 1 len 1460");
	assert_int_equal(counted(t, tcp_lost_again), 1);
	assert_int_equal(counted(t, tcp_retransmit_timeouts), 0);
	discard_out(t);
	test_finish(t);
}

/* RFC 8985 section 6.2 step 2: what arrives sooner after it was sent again than any round trip took had only
 * been late, and proves nothing of what else was sent again. proves RFC8985-02 */
static void late_original_proves_no_loss(void **state)
{
	struct test *t = begin_sent(100, 20);

	(void)state;
	mark(t);
	inject(t, ". seq 1 ack 1 sack %u-%u,%u-%u", at(6), at(20), at(1), at(5));
	discard_out(t);
	assert_int_equal(counted(t, tcp_retransmits), 2);
	pass_ms(t, 1);
	inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(20));
	discard_out(t);
	assert_int_equal(counted(t, tcp_retransmits), 2);
	assert_int_equal(counted(t, tcp_lost_again), 0);
	test_finish(t);
}

/* --- how much may be sent ------------------------------------------------------------------------- */

/* RFC 6937: of twenty in flight one is lost; cwnd is halved over a round trip: a segment for each two that
 * arrive, and the window is not left empty. */
/* proves RFC2018-06, RFC6675-01, RFC6675-02, RFC6675-04 */
static void proportional_rate_reduction(void **state)
{
	struct test *t = begin_sent(100, 20);
	unsigned sent = 0;

	(void)state;
	inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(2));
	discard_out(t);
	inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(3));
	discard_out(t);
	inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(4));
	assert_int_equal(discard_out(t), 1);
	assert_int_equal(block(t)->ssthresh, 10 * SEGMENT);
	for (unsigned i = 5; i <= 20; i++) {
		inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(i));
		assert_true(t->out_count <= 1);
		sent += discard_out(t);
	}
	assert_in_range(sent, 6, 9);
	inject(t, ". seq 1 ack %u", at(20));
	assert_int_equal(block(t)->cwnd, 10 * SEGMENT);
	discard_out(t);
	test_finish(t);
}

/* --- the algorithm ----------------------------------------------------------------------------------- */

static void lose_one(struct test *t)
{
	inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(4));
	assert_true(discard_out(t) >= 1);
}

/* CUBIC leaves 0.7 of the window (RFC 9438 section 4.6), NewReno half of it. By name for each connection. */
/* proves RFC9293-MAY-18 */
static void algorithm_by_name(void **state)
{
	static const char *const names[] = {"cubic", "newreno"};
	static const uint32_t want[] = {14, 10};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct test *t = begin_sent(100, 20);

		assert_int_equal(c10m_set_congestion(app_conn(t, 0), names[i]), 0);
		lose_one(t);
		assert_int_equal(block(t)->ssthresh, want[i] * SEGMENT);
		assert_int_equal(c10m_set_congestion(app_conn(t, 0), "hope"), -ENOENT);
		assert_int_equal(c10m_set_congestion(app_conn(t, 0), NULL), -ENOENT);
		test_finish(t);
	}
}

/* An application's own; what it says is kept within bounds. */
static void own_acked(struct c10m_congestion *c, uint32_t bytes)
{
	(void)bytes;
	c->cwnd = 3 * c->mss;
	c->words[1]++;
}

static void own_loss(struct c10m_congestion *c)
{
	c->ssthresh = 0;
	c->cwnd = UINT32_MAX;
}

static void own_timeout(struct c10m_congestion *c, bool first)
{
	(void)first;
	c->cwnd = c->ssthresh = 0;
}

static const struct c10m_congestion_control own = {
	.name = "own",
	.acked = own_acked,
	.loss = own_loss,
	.timeout = own_timeout,
};

static void own_algorithm(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->peer->offer_sack = true;
	t->services[0].congestion_control = &own;
	test_start(t);
	open_server(t);
	app_send(t, 0, 40 * SEGMENT);
	assert_int_equal(discard_out(t), 10);
	inject(t, ". seq 1 ack %u", at(8));
	assert_int_equal(discard_out(t), 1); /* three in flight */
	assert_int_equal(block(t)->algorithm[1], 1);
	inject(t, ". seq 1 ack %u sack %u-%u", at(8), at(9), at(11));
	discard_out(t);
	pass_ms(t, 100);
	discard_out(t);
	assert_int_equal(block(t)->ssthresh, 2 * SEGMENT);
	pass_ms(t, 500);
	assert_int_equal(block(t)->cwnd, SEGMENT);
	discard_out(t);
	test_finish(t);
}

/* RFC 7661: a window that is not used does not grow. */
static void unused_window_does_not_grow(void **state)
{
	struct test *t = begin_open();
	uint32_t before = block(t)->cwnd;

	(void)state;
	for (unsigned i = 0; i < 30; i++) {
		app_send(t, 0, SEGMENT);
		expect(t, "P. seq %u ack 1 len 1460", at(i));
		inject(t, ". seq 1 ack %u", at(i + 1));
	}
	assert_int_equal(block(t)->cwnd, before);
	test_finish(t);
}

/* --- time-outs -------------------------------------------------------------------------------------- */

/* What the peer has is not sent again; cwnd starts from one segment. */
/* proves RFC6675-05 */
static void timeout_spares_what_has_arrived(void **state)
{
	struct test *t = begin_sent(100, 10);
	struct tcp_segment segment;

	(void)state;
	inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(4));
	discard_out(t);
	mark(t);
	pass_ms(t, 1000); /* everything after is lost, too */
	assert_true(counted(t, tcp_retransmit_timeouts) >= 1);
	while (t->out_count > 0) {
		next_segment(t, &segment);
		assert_int_equal(segment.seq - t->peer->irs, 1);
	}
	inject(t, ". seq 1 ack %u", at(4));
	expect(t, ". seq %u ack 1 len 1460", at(4));
	expect(t, ". seq %u ack 1 len 1460", at(5));
	expect_nothing(t);
	test_finish(t);
}

/* RFC 2018 section 8: it acknowledges up to what it once had: that is sent again after a time-out. */
/* proves RFC2018-05, RFC2018-06 */
static void reneging(void **state)
{
	struct test *t = begin_sent(100, 4);

	(void)state;
	mark(t);
	block(t)->snd_wnd = 4 * SEGMENT;
	t->peer->window = 4 * SEGMENT;
	inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(4));
	expect(t, ". seq 1 ack 1 len 1460");
	inject(t, ". seq 1 ack %u win 4380", at(1));
	expect_nothing(t);
	expect_after(t, 300, ". seq %u ack 1 len 1460", at(1));
	assert_int_equal(counted(t, tcp_sack_reneged), 1);
	inject(t, ". seq 1 ack %u", at(2));
	expect(t, ". seq %u ack 1 len 1460", at(2));
	expect(t, ". seq %u ack 1 len 1460", at(3));
	inject(t, ". seq 1 ack %u", at(4));
	discard_out(t);
	test_finish(t);
}

/* --- it was not lost --------------------------------------------------------------------------------- */

static struct test *begin_timestamps(unsigned segments)
{
	struct test *t = test_begin();

	t->services[0].send_bytes = 1 << 20;
	t->peer->offer_timestamps = t->peer->offer_sack = true;
	test_start(t);
	open_server(t);
	block(t)->cwnd = segments * 1448;
	block(t)->srtt_us = block(t)->min_rtt_us = 50 * MS;
	assert_int_equal(app_send(t, 0, 144800), 144800);
	assert_int_equal(discard_out(t), segments);
	return t;
}

/* RFC 3522, RFC 4015: the acknowledgement was caused by what was sent first. */
static void spurious_timeout_is_undone(void **state)
{
	struct test *t = begin_timestamps(10);
	uint32_t sent_ts = t->peer->ts_seen;

	(void)state;
	(void)sent_ts;
	mark(t);
	pass_ms(t, 1000);
	assert_true(counted(t, tcp_retransmit_timeouts) >= 1);
	assert_true(discard_out(t) >= 1);
	assert_int_equal(block(t)->cwnd, 1448);
	inject(t, ". seq 1 ack %u ecr %u", 1 + 1448, sent_ts);
	assert_int_equal(counted(t, tcp_recoveries_undone), 1);
	assert_true(block(t)->cwnd >= 10 * 1448);
	discard_out(t);
	inject(t, ". seq 1 ack %u ecr %u", 1 + 10 * 1448, sent_ts);
	assert_int_equal(counted(t, tcp_recoveries_undone), 1);
	discard_out(t);
	test_finish(t);
}

/* RFC 3708: a D-SACK for all that was sent again. */
static void spurious_recovery_is_undone_by_duplicates(void **state)
{
	struct test *t = begin_sent(100, 10);
	uint32_t before;

	(void)state;
	before = block(t)->cwnd;
	inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(4));
	expect(t, ". seq 1 ack 1 len 1460");
	discard_out(t);
	mark(t);
	inject(t, ". seq 1 ack %u", at(4)); /* the first one was only late */
	discard_out(t);
	inject(t, ". seq 1 ack %u sack 1-%u", at(4), at(1));
	assert_int_equal(counted(t, tcp_duplicates_heard), 1);
	assert_int_equal(counted(t, tcp_recoveries_undone), 1);
	assert_true(block(t)->cwnd >= before);
	discard_out(t);
	test_finish(t);
}

/* RFC 6675 section 2: what came twice tells of no hole, however often it is told. */
static void duplicates_told_are_no_holes(void **state)
{
	struct test *t = begin_sent(100, 10);

	(void)state;
	inject(t, ". seq 1 ack %u", at(2));
	discard_out(t);
	mark(t);
	for (unsigned i = 0; i < 5; i++)
		inject(t, ". seq 1 ack %u sack 1-%u", at(2), at(1));
	assert_int_equal(counted(t, tcp_duplicates_heard), 5);
	assert_int_equal(counted(t, tcp_retransmits), 0);
	assert_int_equal(counted(t, tcp_fast_retransmits), 0);
	discard_out(t);
	test_finish(t);
}

/* A queue makes the round trip half as long again as the smoothed one: what was sent before the scoreboard
 * there was is not younger than that, and what was sent since is not lost. */
static void queue_is_no_loss(void **state)
{
	struct test *t = begin_sent(100, 10);

	(void)state;
	block(t)->srtt_us = block(t)->min_rtt_us = 100 * MS;
	block(t)->rttvar_us = 200 * MS;
	inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(4));
	expect(t, ". seq 1 ack 1 len 1460");
	discard_out(t);
	pass_ms(t, 10);
	inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(8)); /* lets more out */
	assert_true(discard_out(t) >= 1);
	pass_ms(t, 130);
	mark(t);
	inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(10)); /* the last of before */
	discard_out(t);
	assert_int_equal(counted(t, tcp_retransmits), 0);
	test_finish(t);
}

/* RFC 4015 section 3.3: with the time-out its longer successor is undone, so that the next is a first one
 * again and makes the window smaller. */
static void undone_timeout_is_forgotten(void **state)
{
	struct test *t = begin_sent(100, 10);

	(void)state;
	block(t)->options &= (uint16_t)~TCB_TIMESTAMPS;
	pass_ms(t, 1000);
	assert_true(block(t)->backoff >= 1);
	discard_out(t);
	mark(t);
	for (unsigned i = 0; i < 3; i++) { /* all that was sent again has come twice */
		inject(t, ". seq 1 ack %u sack 1-%u", at(1), at(1));
		discard_out(t);
	}
	assert_int_equal(counted(t, tcp_recoveries_undone), 1);
	assert_int_equal(block(t)->backoff, 0);
	discard_out(t);
	pass_ms(t, 1000);
	assert_true(block(t)->ssthresh <= 10 * SEGMENT);
	discard_out(t);
	test_finish(t);
}

/* Without a range left NewReno recovers from the next loss, and its duplicates inflate the window: what is
 * told of the loss before leads back to no such window. */
static void next_loss_without_a_scoreboard_is_not_undone(void **state)
{
	struct test *t = begin_sent(100, 10);
	struct pool *pool = &t->stack->core.ranges;
	uint32_t taken = 0, before = block(t)->cwnd;

	(void)state;
	inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(4));
	expect(t, ". seq 1 ack 1 len 1460");
	discard_out(t);
	inject(t, ". seq 1 ack %u", block(t)->recover - t->peer->irs);
	discard_out(t);
	while (pool_take(pool) != POOL_NONE)
		taken++;
	for (unsigned i = 0; i < 30; i++) {
		inject(t, ". seq 1 ack %u", block(t)->snd_una - t->peer->irs);
		discard_out(t);
	}
	mark(t);
	inject(t, ". seq 1 ack %u sack 1-%u", block(t)->snd_una - t->peer->irs, at(1));
	discard_out(t);
	inject(t, ". seq 1 ack %u", block(t)->recover - t->peer->irs);
	discard_out(t);
	assert_int_equal(counted(t, tcp_recoveries_undone), 0);
	assert_true(block(t)->cwnd <= before);
	while (taken)
		pool_give(pool, --taken);
	test_finish(t);
}

/* Only a part of it came twice: the rest was lost. */
static void one_duplicate_of_two_undoes_nothing(void **state)
{
	struct test *t = begin_sent(100, 12);

	(void)state;
	inject(t, ". seq 1 ack 1 sack %u-%u", at(2), at(9));
	discard_out(t);
	inject(t, ". seq 1 ack 1 sack %u-%u", at(2), at(12));
	discard_out(t);
	mark(t);
	inject(t, ". seq 1 ack %u sack 1-%u", at(12), at(1));
	assert_int_equal(counted(t, tcp_recoveries_undone), 0);
	discard_out(t);
	test_finish(t);
}

/* --- lost tails ------------------------------------------------------------------------------------- */

/* RFC 8985 section 7: after two round trips the last segment goes again, long before a time-out. */
/* proves RFC8985-06 */
static void tail_loss_probe_repairs(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.rto_min_ms = 1000;
	t->peer->offer_sack = true;
	test_start(t);
	inject(t, "S seq 0 win 65535 mss 1460 sackok");
	expect(t, "S. seq 0 ack 1 mss 1460 sackok");
	pass_ms(t, 50);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	mark(t);
	app_send(t, 0, 4 * SEGMENT);
	assert_int_equal(discard_out(t), 4);
	expect_after(t, 100, ". seq %u ack 1 len 1460", at(3));
	assert_int_equal(counted(t, tcp_tail_probes), 1);
	pass_ms(t, 50);
	inject(t, ". seq 1 ack 1 sack %u-%u", at(3), at(4)); /* all before it is lost */
	pass_ms(t, 20);
	assert_true(discard_out(t) >= 1);
	assert_int_equal(counted(t, tcp_retransmit_timeouts), 0);
	assert_int_equal(counted(t, tcp_fast_retransmits), 1);
	inject(t, ". seq 1 ack %u", at(4));
	expect_nothing(t);
	assert_int_equal(usage(t).extensions, 0);
	test_finish(t);
}

/* Something new is a probe as good. */
/* proves RFC8985-07 */
static void probe_with_new_data(void **state)
{
	struct test *t = begin_sent(100, 4);

	(void)state;
	t->config.rto_min_ms = 0;
	block(t)->rttvar_us = 100 * MS;
	inject(t, ". seq 1 ack %u", at(1));
	discard_out(t);
	block(t)->cwnd = 3 * SEGMENT;
	mark(t);
	pass_ms(t, 210);
	assert_int_equal(counted(t, tcp_tail_probes), 1);
	assert_int_equal(counted(t, tcp_retransmits), 0);
	assert_int_equal(discard_out(t), 1);
	inject(t, ". seq 1 ack %u", at(6));
	discard_out(t);
	assert_int_equal(counted(t, tcp_tail_probes_needed), 0);
	test_finish(t);
}

/* The peer of a client may know it by a SYN cookie alone: only the first segment is sure to be taken. */
static void probe_of_what_may_be_a_cookie(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->active = true;
	t->peer->offer_sack = true;
	t->config.rto_min_ms = 1000;
	test_start(t);
	open_client(t);
	block(t)->srtt_us = block(t)->min_rtt_us = 50 * MS;
	app_send(t, 0, 3 * SEGMENT);
	assert_int_equal(discard_out(t), 3);
	expect_after(t, 100, ". seq 1 ack 1 len 1460");
	inject(t, ". seq 1 ack %u", at(3));
	app_send(t, 0, 3 * SEGMENT);
	assert_int_equal(discard_out(t), 3);
	expect_after(t, 100, ". seq %u ack 1 len 1460", at(5));
	inject(t, ". seq 1 ack %u", at(6));
	test_finish(t);
}

/* One probe, then the time-out. */
/* proves RFC8985-07 */
static void one_probe_only(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.rto_min_ms = 1000;
	test_start(t);
	inject(t, "S seq 0 win 65535 mss 1460 sackok");
	expect(t, "S. seq 0 ack 1 mss 1460 sackok");
	pass_ms(t, 50);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	mark(t);
	app_send(t, 0, 2 * SEGMENT);
	assert_int_equal(discard_out(t), 2);
	expect_after(t, 100, ". seq %u ack 1 len 1460", at(1));
	expect_after(t, 1000, ". seq 1 ack 1 len 1460");
	assert_int_equal(counted(t, tcp_tail_probes), 1);
	assert_int_equal(counted(t, tcp_retransmit_timeouts), 1);
	discard_out(t);
	test_finish(t);
}

/* It arrives, though nothing else tells of a loss: the window is reduced all the same (section 7.4). */
/* proves RFC8985-08 */
static void repaired_by_the_probe_alone(void **state)
{
	struct test *t = begin_sent(100, 4);

	(void)state;
	block(t)->rttvar_us = 100 * MS;
	t->peer->window = 4 * 1460;
	inject(t, ". seq 1 ack 1 win %u", 4 * SEGMENT); /* no new data may go */
	discard_out(t);
	inject(t, ". seq 1 ack %u win %u", at(1), 3 * SEGMENT);
	expect_nothing(t);
	mark(t);
	pass_ms(t, 210);
	expect(t, ". seq %u ack 1 len 1460", at(3));
	assert_int_equal(counted(t, tcp_tail_probes), 1);
	inject(t, ". seq 1 ack %u win 65535", at(1));
	assert_true(discard_out(t) > 1);
	inject(t, ". seq 1 ack %u win 65535", at(4)); /* it had arrived, or it has now */
	discard_out(t);
	assert_int_equal(counted(t, tcp_tail_probes_needed), 0);
	inject(t, ". seq 1 ack %u win 65535", at(5)); /* nobody told of a duplicate: it was lost */
	discard_out(t);
	assert_int_equal(counted(t, tcp_tail_probes_needed), 1);
	test_finish(t);
}

/* --- bad input, and what is lacking ----------------------------------------------------------------- */

/* Blocks of what was never sent, of nothing, the wrong way round, below what is acknowledged. */
static void blocks_that_lie(void **state)
{
	struct test *t = begin_sent(100, 10);

	(void)state;
	mark(t);
	inject(t, ". seq 1 ack 1 sack %u-%u", at(10), at(11));
	inject(t, ". seq 1 ack 1 sack %u-%u", at(5), at(50));
	inject(t, ". seq 1 ack 1 sack %u-%u", at(5), at(4));
	inject(t, ". seq 1 ack 1 sack %u-%u", at(5), at(5));
	inject(t, ". seq 1 ack 1 sack %u-%u", at(3) + 0x80000000u, at(4) + 0x80000000u);
	assert_true(counted(t, tcp_sack_ignored) >= 4);
	assert_int_equal(counted(t, tcp_retransmits), 0);
	discard_out(t);
	inject(t, ". seq 1 ack %u", at(10));
	discard_out(t);
	test_finish(t);
}

/* A block that begins below what is acknowledged by now tells of the rest. */
static void blocks_that_begin_below(void **state)
{
	struct test *t = begin_sent(100, 10);

	(void)state;
	mark(t);
	inject(t, ". seq 1 ack %u sack %u-%u,%u-%u", at(2), at(7), at(8), at(1), at(3));
	discard_out(t);
	assert_int_equal(counted(t, tcp_sack_ignored), 0);
	assert_int_equal(usage(t).ranges, 5); /* arrived, not, arrived, not, new */
	inject(t, ". seq 1 ack %u", at(10));
	discard_out(t);
	test_finish(t);
}

/* Every second byte: the scoreboard is full at some point, and the connection lives on. */
static void many_small_blocks(void **state)
{
	struct test *t = begin_sent(100, 10);

	(void)state;
	mark(t);
	for (uint32_t i = 0; i < 1000; i++) {
		uint32_t byte = 100 + 10 * i;

		inject(t, ". seq 1 ack 1 sack %u-%u", byte, byte + 1);
		discard_out(t);
	}
	assert_in_range(usage(t).ranges, 100, 512);
	assert_true(counted(t, tcp_ranges_missing) > 0);
	stack_verify(t->stack);
	inject(t, ". seq 1 ack %u", at(10));
	discard_out(t);
	stack_verify(t->stack);
	test_finish(t);
}

/* No range is left: NewReno recovers, by counting duplicates. */
static void without_a_scoreboard(void **state)
{
	struct test *t = begin_sent(100, 10);
	struct pool *pool = &t->stack->core.ranges;
	uint32_t taken = 0;

	(void)state;
	while (pool_take(pool) != POOL_NONE)
		taken++;
	mark(t);
	for (unsigned i = 2; i <= 4; i++) {
		assert_int_equal(counted(t, tcp_fast_retransmits), 0);
		discard_out(t);
		inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(i));
	}
	expect(t, ". seq 1 ack 1 len 1460");
	assert_int_equal(counted(t, tcp_fast_retransmits), 1);
	assert_true(counted(t, tcp_ranges_missing) >= 1);
	discard_out(t);
	pass_ms(t, 2000); /* and goes back after a time-out */
	assert_true(counted(t, tcp_retransmit_timeouts) >= 1);
	discard_out(t);
	while (taken)
		pool_give(pool, --taken);
	inject(t, ". seq 1 ack %u", at(12));
	discard_out(t);
	test_finish(t);
}

/* The path gets narrow in the middle of a recovery. */
static void path_shrinks_in_recovery(void **state)
{
	struct test *t = begin_sent(100, 10);
	struct tcp_segment segment;

	(void)state;
	inject_icmp_error(t, ICMP_UNREACHABLE, ICMP_CODE_FRAGMENTATION_NEEDED, 1400, 1);
	discard_out(t);
	inject(t, ". seq 1 ack 1 sack %u-%u", at(1), at(4));
	discard_out(t);
	assert_true(usage(t).ranges > 0);
	inject_icmp_error(t, ICMP_UNREACHABLE, ICMP_CODE_FRAGMENTATION_NEEDED, 1000, 1);
	assert_true(t->out_count > 0);
	while (t->out_count > 0) {
		next_segment(t, &segment);
		assert_true(segment.payload_bytes <= 960);
	}
	assert_int_equal(usage(t).ranges, 0);
	inject(t, ". seq 1 ack %u", at(10));
	discard_out(t);
	test_finish(t);
}

/* The FIN and what stands before it are lost, and found like everything else. */
static void lost_fin(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->peer->offer_sack = true;
	test_start(t);
	open_server(t);
	block(t)->srtt_us = block(t)->min_rtt_us = 100 * MS;
	app_send(t, 0, 3 * SEGMENT + 100);
	app_shutdown(t, 0);
	assert_int_equal(discard_out(t), 4);
	mark(t);
	inject(t, ". seq 1 ack 1 sack %u-%u", at(0) + 100, at(1));
	discard_out(t);
	pass_ms(t, 1000);
	discard_out(t);
	inject(t, ". seq 1 ack %u", at(3));
	expect(t, "F. seq %u ack 1 len 100", at(3));
	inject(t, ". seq 1 ack %u", at(3) + 101);
	stack_verify(t->stack);
	assert_int_equal(usage(t).ranges, 0);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(third_sacked_segment_retransmits),
	TEST(reordering_window_by_the_timer),
	TEST(reordering_is_no_loss),
	TEST(several_holes_one_recovery),
	TEST(lost_retransmission_is_found),
	TEST(late_original_proves_no_loss),
	TEST(proportional_rate_reduction),
	TEST(algorithm_by_name),
	TEST(own_algorithm),
	TEST(unused_window_does_not_grow),
	TEST(timeout_spares_what_has_arrived),
	TEST(reneging),
	TEST(spurious_timeout_is_undone),
	TEST(spurious_recovery_is_undone_by_duplicates),
	TEST(duplicates_told_are_no_holes),
	TEST(queue_is_no_loss),
	TEST(undone_timeout_is_forgotten),
	TEST(next_loss_without_a_scoreboard_is_not_undone),
	TEST(one_duplicate_of_two_undoes_nothing),
	TEST(tail_loss_probe_repairs),
	TEST(probe_with_new_data),
	TEST(probe_of_what_may_be_a_cookie),
	TEST(one_probe_only),
	TEST(repaired_by_the_probe_alone),
	TEST(blocks_that_lie),
	TEST(blocks_that_begin_below),
	TEST(many_small_blocks),
	TEST(without_a_scoreboard),
	TEST(path_shrinks_in_recovery),
	TEST(lost_fin),
};

PACKET_MAIN(tests)
