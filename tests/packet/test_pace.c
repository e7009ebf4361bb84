/* test_pace.c - large windows are sent spread over the round trip. */
#include "harness.h"

#include "stack/internal.h"
#include "tcp/pace.h"

#define FULL 1448u

static struct tcb *block(struct test *t)
{
	return (struct tcb *)app_conn(t, 0);
}

/* A window of so many segments, a round trip of 100 ms, and all of the window was just acknowledged but one.
 */
static struct test *begin(uint32_t segments, uint32_t flags)
{
	struct test *t = test_begin();

	t->services[0].send_bytes = 1 << 20;
	t->services[0].flags = (uint16_t)flags;
	t->peer->offer_timestamps = t->peer->offer_sack = true;
	t->peer->wscale = 10;
	test_start(t);
	open_server(t);
	block(t)->srtt_us = block(t)->min_rtt_us = 100 * MS;
	block(t)->rttvar_us = 50 * MS;
	app_send(t, 0, 700 * FULL);
	discard_out(t);
	pass_ms(t, 20);
	block(t)->cwnd = block(t)->ssthresh = 16 * FULL;
	inject(t, ". seq 1 ack %u", 1 + FULL);
	discard_out(t);
	pass_ms(t, 20);
	discard_out(t);
	block(t)->cwnd = block(t)->ssthresh = segments * FULL;
	block(t)->srtt_us = 100 * MS;
	return t;
}

static void end(struct test *t)
{
	discard_out(t);
	discard_events(t);
	test_finish(t);
}

/* A quarter more than the window a round trip: of 100 segments not one in each 0.8 ms. */
static void spreads_a_window(void **state)
{
	struct test *t = begin(100, C10M_PACED);
	unsigned sent = 0;

	(void)state;
	assert_true(block(t)->paced);
	inject(t, ". seq 1 ack %u", 1 + 2 * FULL);
	assert_in_range(discard_out(t), 1, 25); /* and what lateness allows */
	for (unsigned i = 0; i < 10; i++) {
		unsigned now;

		pass_ms(t, 4);
		now = discard_out(t);
		assert_in_range(now, 3, 7);
		sent += now;
	}
	assert_in_range(sent, 45, 55);
	end(t);
}

/* Who is late makes up for it, but for no more than an eighth of a round trip. */
static void lateness_is_bounded(void **state)
{
	struct test *t = begin(1000, C10M_PACED);

	(void)state;
	inject(t, ". seq 1 ack %u", 1 + 2 * FULL);
	discard_out(t);
	t->now_us += 100 * MS; /* nobody asked */
	inject(t, ". seq 1 ack %u", 1 + 3 * FULL);
	assert_in_range(discard_out(t), 140, 170); /* 12.5 a millisecond */
	end(t);
}

/* Who was held back by the window was not late. */
static void full_window_is_no_lateness(void **state)
{
	struct test *t = begin(1000, C10M_PACED);

	(void)state;
	pass_ms(t, 100);
	inject(t, ". seq 1 ack %u", 1 + 2 * FULL);
	assert_in_range(discard_out(t), 1, 30);
	end(t);
}

/* Whatever the service says, a window of which much comes free at once is no burst; when it is full again
 * that is over. */
static void bursts_are_spread(void **state)
{
	struct test *t = begin(600, 0);
	unsigned sent;

	(void)state;
	inject(t, ". seq 1 ack %u", 1 + 2 * FULL);
	assert_true(block(t)->paced);
	assert_in_range(discard_out(t), 1, 60);
	pass_ms(t, 10);
	sent = discard_out(t);
	assert_in_range(sent, 60, 95); /* 7.5 a millisecond */
	pass_ms(t, 90);
	assert_true(discard_out(t) > 400);
	inject(t, ". seq 1 ack %u", 1 + 4 * FULL);
	discard_out(t);
	assert_false(block(t)->paced);
	end(t);
}

/* Acknowledgements of our own do not wait. */
static void acknowledgements_go_at_once(void **state)
{
	struct test *t = begin(100, C10M_PACED);
	struct tcp_segment segment;
	unsigned frames;

	(void)state;
	inject(t, ". seq 1 ack %u", 1 + 2 * FULL);
	discard_out(t);
	t->app.quiet = true;
	inject(t, "P. seq 1 ack %u len 1448", 1 + 2 * FULL);
	inject(t, "P. seq 1449 ack %u len 1448", 1 + 2 * FULL);
	frames = t->out_count;
	assert_true(frames >= 1);
	while (frames--)
		next_segment(t, &segment);
	assert_int_equal(segment.ack - t->peer->iss, 2897);
	end(t);
}

/* As the service wants it: at once; and small windows always. */
static void unpaced(void **state)
{
	struct test *t = begin(100, 0);

	(void)state;
	assert_false(block(t)->paced);
	inject(t, ". seq 1 ack %u", 1 + 2 * FULL);
	assert_true(discard_out(t) > 60);
	end(t);
}

/* A rebuild forgets the pacer, and nobody waits for ever. */
static void survives_a_rebuild(void **state)
{
	struct test *t = begin(100, C10M_PACED);
	unsigned sent;

	(void)state;
	inject(t, ". seq 1 ack %u", 1 + 2 * FULL);
	discard_out(t);
	stack_rebuild(t->stack, t->now_us);
	stack_verify(t->stack);
	flush(t);
	discard_out(t);
	pass_ms(t, 20);
	sent = discard_out(t);
	assert_in_range(sent, 20, 30);
	end(t);
}

static const struct CMUnitTest tests[] = {
	TEST(spreads_a_window),   TEST(lateness_is_bounded),         TEST(full_window_is_no_lateness),
	TEST(bursts_are_spread),  TEST(acknowledgements_go_at_once), TEST(unpaced),
	TEST(survives_a_rebuild),
};

PACKET_MAIN(tests)
