/* test_frto.c - time-outs that were for nothing are found out without timestamps (RFC 5682). */
#include "harness.h"

#include "stack/internal.h"

#define SEGMENT 1460u

static uint32_t at(uint32_t segment)
{
	return 1 + SEGMENT * segment;
}

static struct tcb *block(struct test *t)
{
	return (struct tcb *)app_conn(t, 0);
}

/* Ten segments are in flight, and the retransmission timer has expired. */
static struct test *begin(bool sack)
{
	struct test *t = test_begin();

	t->services[0].send_bytes = 1 << 20;
	test_start(t);
	inject(t, "S seq 0 win 65535 mss 1460%s", sack ? " sackok" : "");
	expect(t, "S. seq 0 ack 1 mss 1460%s", sack ? " sackok" : "");
	pass_ms(t, 100);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	app_send(t, 0, 100 * SEGMENT);
	assert_int_equal(discard_out(t), 10);
	mark(t);
	pass_ms(t, 700);
	assert_int_equal(counted(t, tcp_retransmit_timeouts), 1);
	discard_out(t);
	assert_int_equal(block(t)->cwnd, SEGMENT);
	return t;
}

static uint32_t next_seq(struct test *t)
{
	struct tcp_segment segment;

	next_segment(t, &segment);
	return segment.seq - t->peer->irs;
}

/* The acknowledgements were only late: new data, then all is as it was. */
static void late_acknowledgements(void **state)
{
	(void)state;
	for (unsigned sack = 0; sack < 2; sack++) {
		struct test *t = begin(sack);
		uint32_t end = block(t)->snd_nxt - t->peer->irs;

		end = seq_max(end, at(10)); /* a tail probe may have sent one more */
		inject(t, ". seq 1 ack %u", at(1));
		assert_true(t->out_count >= 1 && t->out_count <= 2);
		while (t->out_count)
			assert_true(next_seq(t) >= end);
		inject(t, ". seq 1 ack %u", at(2));
		assert_int_equal(counted(t, tcp_recoveries_undone), 1);
		assert_true(block(t)->cwnd >= 10 * SEGMENT);
		while (t->out_count)
			assert_true(next_seq(t) >= end);
		inject(t, ". seq 1 ack %u", at(10));
		discard_out(t);
		test_finish(t);
	}
}

/* All was lost: the new data draws a duplicate, and the old goes again. */
static void lost_indeed(void **state)
{
	(void)state;
	for (unsigned sack = 0; sack < 2; sack++) {
		struct test *t = begin(sack);

		inject(t, ". seq 1 ack %u", at(1));
		assert_true(discard_out(t) >= 1);
		if (sack)
			inject(t, ". seq 1 ack %u sack %u-%u", at(1), at(11), at(12));
		else
			inject(t, ". seq 1 ack %u", at(1));
		assert_true(t->out_count >= 1);
		assert_int_equal(next_seq(t), at(1));
		assert_int_equal(counted(t, tcp_recoveries_undone), 0);
		assert_true(block(t)->cwnd <= 4 * SEGMENT);
		discard_out(t);
		test_finish(t);
	}
}

/* Nothing new may be sent: the usual recovery. */
static void nothing_new(void **state)
{
	(void)state;
	for (unsigned sack = 0; sack < 2; sack++) {
		struct test *t = begin(sack);

		inject(t, ". seq 1 ack %u win %u", at(1), 9 * SEGMENT);
		assert_true(t->out_count >= 1);
		assert_int_equal(next_seq(t), at(1));
		discard_out(t);
		test_finish(t);
	}
}

static const struct CMUnitTest tests[] = {
	TEST(late_acknowledgements),
	TEST(lost_indeed),
	TEST(nothing_new),
};

PACKET_MAIN(tests)
