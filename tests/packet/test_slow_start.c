/* test_slow_start.c - how the first slow start ends before anything is lost: HyStart++ (RFC 9406), and what
 * peers gain that acknowledge in pieces, or what they never got. */
#include "harness.h"

#include "stack/internal.h"
#include "tcp/congestion.h"

#define FULL 1448u

static struct tcb *block(struct test *t)
{
	return (struct tcb *)app_conn(t, 0);
}

static struct test *begin(const char *algorithm)
{
	struct test *t = test_begin();

	t->services[0].send_bytes = 8 << 20;
	t->services[0].congestion = algorithm;
	t->peer->offer_timestamps = t->peer->offer_sack = true;
	t->peer->wscale = 10;
	test_start(t);
	open_server(t);
	block(t)->srtt_us = block(t)->min_rtt_us = 100 * MS; /* of the handshake */
	block(t)->rttvar_us = 50 * MS;
	app_send(t, 0, 6 << 20);
	return t;
}

/* All that is in flight arrives at once after rtt_ms, and is acknowledged by twos. */
static void round_trip(struct test *t, uint32_t rtt_ms)
{
	uint32_t end = block(t)->snd_nxt - t->peer->irs, ack = block(t)->snd_una - t->peer->irs;
	uint32_t sent_ts = t->peer->ts_seen;

	discard_out(t);
	sent_ts = tcp_clock(&t->stack->core, block(t)->ts_offset);
	pass_ms(t, rtt_ms);
	discard_out(t);
	while (ack != end) {
		ack += MIN_OF(2 * FULL, end - ack);
		inject(t, ". seq 1 ack %u ecr %u", ack, sent_ts);
		discard_out(t);
	}
}

/* It doubles with each round trip as long as these are as short as before. */
static void doubles_without_delay(void **state)
{
	struct test *t = begin(NULL);
	uint32_t before = block(t)->cwnd;

	(void)state;
	assert_int_equal(before, 10 * FULL);
	mark(t);
	for (unsigned i = 0; i < 4; i++)
		round_trip(t, 100);
	assert_int_equal(block(t)->cwnd, 16 * before);
	assert_int_equal(counted(t, tcp_slow_start_exits), 0);
	discard_events(t);
	test_finish(t);
}

/* A round trip that is longer by an eighth: growth by a quarter each, and after five of them it is over. */
static void longer_round_trips_end_it(void **state)
{
	static const char *const names[] = {"cubic", "newreno"};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct test *t = begin(names[i]);
		uint32_t before;

		mark(t);
		round_trip(t, 100);
		round_trip(t, 100);
		before = block(t)->cwnd;
		round_trip(t, 130);
		assert_in_range(block(t)->cwnd, before * 5 / 4, before * 8 / 5);
		for (unsigned more = 0; more < 5; more++) {
			assert_int_equal(block(t)->ssthresh, SSTHRESH_UNKNOWN);
			round_trip(t, 130);
		}
		assert_int_equal(counted(t, tcp_slow_start_exits), 1);
		assert_true(block(t)->ssthresh < SSTHRESH_UNKNOWN);
		discard_events(t);
		test_finish(t);
	}
}

/* It was nothing: a shorter round trip makes it double again. */
static void careful_for_nothing(void **state)
{
	struct test *t = begin(NULL);
	uint32_t before;

	(void)state;
	mark(t);
	round_trip(t, 100);
	round_trip(t, 100);
	round_trip(t, 130);
	round_trip(t, 100);
	before = block(t)->cwnd;
	round_trip(t, 100);
	assert_in_range(block(t)->cwnd, before * 19 / 10, before * 2);
	assert_int_equal(counted(t, tcp_slow_start_exits), 0);
	discard_events(t);
	test_finish(t);
}

/* Split acknowledgements (RFC 3465): a window grows by bytes, not by acknowledgements. */
static void split_acknowledgements_gain_nothing(void **state)
{
	struct test *t = begin(NULL);
	uint32_t before = block(t)->cwnd;

	(void)state;
	discard_out(t);
	pass_ms(t, 50);
	for (unsigned i = 1; i <= 100; i++) {
		inject(t, ". seq 1 ack %u", 1 + i * (10 * FULL / 100));
		discard_out(t);
	}
	assert_true(block(t)->cwnd <= 2 * before);
	discard_events(t);
	test_finish(t);
}

/* Optimistic acknowledgements: of what was never sent none counts; of what is on its way they move nothing
 * faster than one honest acknowledgement each eight segments would. */
static void optimistic_acknowledgements(void **state)
{
	struct test *t = begin(NULL);
	uint32_t before = block(t)->cwnd;

	(void)state;
	discard_out(t);
	pass_ms(t, 50);
	mark(t);
	inject(t, ". seq 1 ack %u", 1 + 11 * FULL); /* ten were sent */
	expect_drop(t, TCP_ACK_INVALID);
	assert_int_equal(counted(t, tcp_challenge_acks), 1);
	discard_out(t);
	assert_int_equal(block(t)->cwnd, before);
	inject(t, ". seq 1 ack %u", 1 + 10 * FULL); /* for all at once */
	assert_int_equal(block(t)->cwnd, before + 8 * FULL);
	discard_out(t);
	discard_events(t);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(doubles_without_delay),       TEST(longer_round_trips_end_it),
	TEST(careful_for_nothing),         TEST(split_acknowledgements_gain_nothing),
	TEST(optimistic_acknowledgements),
};

PACKET_MAIN(tests)
