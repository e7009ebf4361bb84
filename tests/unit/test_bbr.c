/* test_bbr.c - the model of a path: samples of its rate, and what BBR makes of them, state by state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tcp/bbr.h"

#define MSS    1000u
#define MS     1000u
#define SECOND 1000000u

/* --- samples of the delivery rate */

static struct rate rate;
static struct rate_sample sample;

/* Ten segments sent at once, acknowledged one each millisecond: the acknowledgements' rate is it. */
static void rate_of_acknowledgements(void **state)
{
	(void)state;
	rate_begin(&rate, 1000, 0);
	rate_sent(&rate, 1000 + 10 * MSS, 10 * MSS, 10 * MSS, 0, 5 * MS);
	rate_acked(&rate, 1000 + MSS, 0, 0, 0, 105 * MS, &sample);
	assert_true(sample.valid);
	assert_int_equal(sample.newly_delivered, MSS);
	assert_int_equal(sample.rtt_us, 100 * MS);
	assert_int_equal(sample.in_flight, 10 * MSS);
	assert_int_equal(sample.bytes_per_s, 10 * MSS); /* of one segment in a tenth of a second */
	rate_acked(&rate, 1000 + 5 * MSS, 0, 0, 0, 110 * MS, &sample);
	assert_int_equal(sample.delivered, 5 * MSS);
}

/* What was sent slower than it was acknowledged went no faster than it was sent. */
static void rate_of_sending(void **state)
{
	uint32_t end = 0;

	(void)state;
	rate_begin(&rate, 0, 0);
	for (uint32_t i = 0; i < 10; i++) {
		end += MSS;
		rate_sent(&rate, end, MSS, end, 40 * MS, i * 10 * MS);
	}
	rate_acked(&rate, MSS, 0, 0, 0, 100 * MS, &sample);
	rate_acked(&rate, end, 0, 0, 0, 100 * MS + 1, &sample); /* all the rest, compressed */
	assert_in_range(sample.bytes_per_s, 90000, 112000);     /* and not a gigabyte */
}

/* A sample faster than any round trip is none; nor is one of what was sent again. */
static void no_sample(void **state)
{
	(void)state;
	rate_begin(&rate, 0, 0);
	rate_sent(&rate, MSS, MSS, MSS, 0, 0);
	rate_acked(&rate, MSS, 0, 0, 50 * MS, 20 * MS, &sample);
	assert_true(sample.valid);
	assert_int_equal(sample.bytes_per_s, 0);
	rate_sent(&rate, 3 * MSS, 2 * MSS, 2 * MSS, 0, 30 * MS);
	rate_acked(&rate, MSS, MSS, 3 * MSS, 0, 90 * MS, &sample);
	assert_true(sample.valid);
	rate_acked(&rate, 3 * MSS, 0, 3 * MSS, 0, 190 * MS, &sample); /* the hole was filled */
	assert_false(sample.valid);
	assert_int_equal(sample.newly_delivered, MSS);
}

static void peer_takes_back(void **state)
{
	(void)state;
	rate_begin(&rate, 0, 0);
	rate_sent(&rate, 4 * MSS, 4 * MSS, 4 * MSS, 0, 0);
	rate_acked(&rate, 0, 2 * MSS, 4 * MSS, 0, 50 * MS, &sample);
	assert_int_equal(sample.newly_delivered, 2 * MSS);
	rate_acked(&rate, 0, 0, 0, 0, 60 * MS, &sample);
	assert_int_equal(sample.newly_delivered, 0);
	assert_false(sample.valid);
	rate_acked(&rate, 3 * MSS, 0, 0, 0, 70 * MS, &sample);
	assert_int_equal(sample.newly_delivered, MSS);
}

/* Samples are marked until the gap in what was sent has left the path. */
static void limited_by_the_application(void **state)
{
	(void)state;
	rate_begin(&rate, 0, 0);
	rate_sent(&rate, MSS, MSS, MSS, 0, 0);
	rate_starved(&rate, MSS);
	rate_sent(&rate, 2 * MSS, MSS, 2 * MSS, 0, 10 * MS);
	rate_acked(&rate, MSS, 0, 0, 0, 50 * MS, &sample);
	assert_false(sample.app_limited);
	rate_acked(&rate, 2 * MSS, 0, 0, 0, 60 * MS, &sample);
	assert_true(sample.app_limited);
	assert_false(rate.app_limited);
	rate_sent(&rate, 3 * MSS, MSS, MSS, 0, 70 * MS);
	rate_acked(&rate, 3 * MSS, 0, 0, 0, 120 * MS, &sample);
	assert_false(sample.app_limited);
}

/* Any window in a ring of 64: when it is full, parts get longer. */
static void ring_is_full(void **state)
{
	const struct rate_record *part;
	uint32_t end = 0;

	(void)state;
	rate_begin(&rate, 0, 0);
	for (uint32_t i = 0; i < 500; i++) {
		end += MSS;
		rate_sent(&rate, end, MSS, end, MS, i * MS);
	}
	assert_int_equal(rate.count, RATE_RECORDS);
	part = rate_lost(&rate, 30 * MSS, MSS);
	assert_non_null(part);
	assert_int_equal(part->sent_us, 30 * MS);
	part = rate_lost(&rate, 499 * MSS, MSS);
	assert_int_equal(part->in_flight, 500 * MSS);
	assert_null(rate_lost(&rate, 500 * MSS, MSS));
	rate_acked(&rate, end, 0, 0, 0, 600 * MS, &sample);
	assert_int_equal(rate.count, 0);
}

/* --- the state machine: a path of 1 MB/s and 100 ms, told of once a round trip */

#define RATE 1000000u
#define RTT  (100 * MS)
#define BDP  (100 * MSS)

struct path {
	struct bbr bbr;
	uint32_t now_us, delivered;
	uint32_t in_flight; /* after what is acknowledged; UINT32_MAX: what the model has */
	bool limited, recovering, window_full;
};

static void begin(struct path *path)
{
	*path = (struct path){.now_us = SECOND, .in_flight = UINT32_MAX};
	rate_begin(&rate, 0, path->now_us);
	bbr_begin(&path->bbr, 10 * MSS, MSS, RTT, path->now_us, 1);
}

/* A round trip later everything was delivered at this rate. */
static void round_at(struct path *path, uint64_t bytes_per_s, uint32_t rtt_us, uint32_t lost)
{
	struct rate_sample news = {
		.valid = true,
		.app_limited = path->limited,
		.bytes_per_s = bytes_per_s,
		.delivered = (uint32_t)(bytes_per_s * rtt_us / SECOND),
		.prior_delivered = path->delivered,
		.lost = lost,
		.newly_lost = lost,
		.in_flight = path->bbr.cwnd,
		.rtt_us = rtt_us,
	};
	struct bbr_ack ack = {
		.sample = &news,
		.in_flight = path->in_flight == UINT32_MAX ? path->bbr.cwnd : path->in_flight,
		.window_full = path->window_full,
		.recovering = path->recovering,
		.sack = true,
	};

	path->now_us += rtt_us;
	path->delivered += news.delivered;
	news.now_delivered = path->delivered;
	news.newly_delivered = news.delivered;
	ack.now_us = path->now_us;
	bbr_acked(&path->bbr, &ack, &rate);
}

/* The rate doubles until it is the path's, and stays there: three more rounds. */
static void fill(struct path *path)
{
	for (uint64_t bytes_per_s = RATE / 16; bytes_per_s < RATE; bytes_per_s *= 2)
		round_at(path, bytes_per_s, RTT, 0);
	for (unsigned i = 0; i < 4; i++)
		round_at(path, RATE, RTT, 0);
}

static void to_cruise(struct path *path)
{
	fill(path);
	path->in_flight = BDP / 2;
	round_at(path, RATE, RTT, 0);
	round_at(path, RATE, RTT, 0);
	assert_int_equal(path->bbr.state, BBR_PROBE_CRUISE);
}

static void startup_until_the_rate_stays(void **state)
{
	struct path path;
	uint64_t before;

	(void)state;
	begin(&path);
	assert_int_equal(path.bbr.state, BBR_STARTUP);
	assert_int_equal(path.bbr.pacing_rate, 10ull * MSS * 10 * 277 / 100);
	before = path.bbr.pacing_rate;
	round_at(&path, RATE / 8, RTT, 0);
	assert_true(path.bbr.pacing_rate > before);
	round_at(&path, RATE / 4, RTT, 0);
	round_at(&path, RATE / 2, RTT, 0);
	round_at(&path, RATE, RTT, 0);
	round_at(&path, RATE, RTT, 0);
	round_at(&path, RATE, RTT, 0);
	assert_int_equal(path.bbr.state, BBR_STARTUP);
	round_at(&path, RATE, RTT, 0);
	assert_int_equal(path.bbr.state, BBR_DRAIN);
	assert_in_range(path.bbr.pacing_rate, RATE * 48ull / 100, RATE * 51ull / 100);
}

/* What the application limits says nothing: neither that the path is full, nor that it is slower. */
static void limited_samples_do_not_count(void **state)
{
	struct path path;

	(void)state;
	begin(&path);
	round_at(&path, RATE, RTT, 0);
	path.limited = true;
	for (unsigned i = 0; i < 10; i++)
		round_at(&path, RATE / 10, RTT, 0);
	assert_int_equal(path.bbr.state, BBR_STARTUP);
	assert_int_equal(path.bbr.bw, RATE);
	round_at(&path, 2 * RATE, RTT, 0); /* unless it is faster */
	assert_int_equal(path.bbr.bw, 2 * RATE);
}

static void startup_ends_by_losses(void **state)
{
	struct path path;

	(void)state;
	begin(&path);
	round_at(&path, RATE / 4, RTT, 0);
	round_at(&path, RATE / 2, RTT, 0);
	bbr_recovery(&path.bbr);
	path.recovering = true;
	for (unsigned i = 0; i < 5; i++)
		bbr_lost(&path.bbr, 2 * MSS, 50 * MSS, 2 * MSS * (i + 1), false, path.delivered, path.now_us);
	round_at(&path, RATE, RTT, 10 * MSS);
	assert_int_equal(path.bbr.state, BBR_STARTUP); /* five ranges may be a burst */
	for (unsigned i = 0; i < 6; i++)
		bbr_lost(&path.bbr, 2 * MSS, 50 * MSS, 2 * MSS * (i + 1), false, path.delivered, path.now_us);
	round_at(&path, 2 * RATE, RTT, 12 * MSS);
	assert_true(path.bbr.full_reached);
	assert_int_not_equal(path.bbr.state, BBR_STARTUP);
	assert_in_range(path.bbr.inflight_long, 2 * BDP, 2 * BDP);
	bbr_undo(&path.bbr, path.delivered, path.now_us); /* nothing was lost after all */
	assert_int_equal(path.bbr.state, BBR_STARTUP);
	assert_false(path.bbr.full_reached);
	assert_int_equal(path.bbr.inflight_long, BBR_INFINITE);
}

static void drains_to_the_path(void **state)
{
	struct path path;

	(void)state;
	begin(&path);
	fill(&path);
	assert_int_equal(path.bbr.state, BBR_DRAIN);
	path.in_flight = 2 * BDP;
	round_at(&path, RATE, RTT, 0);
	assert_int_equal(path.bbr.state, BBR_DRAIN);
	path.in_flight = BDP;
	round_at(&path, RATE, RTT, 0);
	assert_int_equal(path.bbr.state, BBR_PROBE_CRUISE); /* nothing is left that DOWN could drain */
}

/* A queue of others does not drain: after three rounds that is over, too. */
static void drain_is_bounded(void **state)
{
	struct path path;

	(void)state;
	begin(&path);
	fill(&path);
	path.in_flight = 5 * BDP;
	for (unsigned i = 0; i < 3; i++) {
		round_at(&path, RATE, RTT, 0);
		assert_int_equal(path.bbr.state, BBR_DRAIN);
	}
	round_at(&path, RATE, RTT, 0);
	assert_int_equal(path.bbr.state, BBR_PROBE_DOWN);
}

/* Down, cruise, and after two to three seconds refill for a round, then up until the rate does not follow. */
static void cycle(void **state)
{
	uint32_t began_us;
	struct path path;

	(void)state;
	begin(&path);
	to_cruise(&path);
	assert_in_range(path.bbr.pacing_rate, RATE * 98ull / 100, RATE);
	assert_in_range(path.bbr.cwnd, 2 * BDP, 3 * BDP); /* and what came together */
	began_us = path.bbr.cycle_at;
	while (path.bbr.state == BBR_PROBE_CRUISE)
		round_at(&path, RATE, RTT, 0);
	assert_int_equal(path.bbr.state, BBR_PROBE_REFILL);
	assert_in_range(path.now_us - began_us, 2 * SECOND, 3 * SECOND + RTT);
	round_at(&path, RATE, RTT, 0);
	assert_int_equal(path.bbr.state, BBR_PROBE_UP);
	assert_in_range(path.bbr.pacing_rate, RATE * 123ull / 100, RATE * 125ull / 100);
	round_at(&path, RATE * 5 / 4, RTT, 0); /* there is more */
	assert_int_equal(path.bbr.bw, RATE * 5 / 4);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(path.bbr.state, BBR_PROBE_UP);
		round_at(&path, RATE * 5 / 4, RTT, 0);
	}
	assert_int_equal(path.bbr.state, BBR_PROBE_DOWN);
	assert_in_range(path.bbr.pacing_rate, RATE * 110ull / 100, RATE * 113ull / 100);
}

/* Small windows probe as often as Reno would. */
static void probes_as_often_as_reno(void **state)
{
	struct path path;
	unsigned rounds = 0;

	(void)state;
	begin(&path);
	for (unsigned i = 0; i < 6; i++)
		round_at(&path, RATE / 20, RTT, 0); /* five segments a round trip */
	path.in_flight = MSS;
	for (; path.bbr.state != BBR_PROBE_REFILL && rounds < 50; rounds++)
		round_at(&path, RATE / 20, RTT, 0);
	assert_in_range(rounds, 3, 9);
}

/* The maximum is that of this cycle and of the last one. */
static void maximum_is_forgotten(void **state)
{
	struct path path;

	(void)state;
	begin(&path);
	to_cruise(&path);
	path.in_flight = 10 * MSS;
	for (unsigned cycles = 0; cycles < 3; cycles++) {
		while (path.bbr.state != BBR_PROBE_UP)
			round_at(&path, RATE / 2, RTT, 0);
		while (path.bbr.state == BBR_PROBE_UP)
			round_at(&path, RATE / 2, RTT, 0);
		while (path.bbr.state != BBR_PROBE_CRUISE)
			round_at(&path, RATE / 2, RTT, 0);
	}
	assert_int_equal(path.bbr.bw, RATE / 2);
}

/* Losses while nothing is probed: the model follows what arrives, by 0.7 a round at most, until it probes. */
static void losses_bound_the_model(void **state)
{
	struct path path;
	uint32_t cwnd;

	(void)state;
	begin(&path);
	to_cruise(&path);
	cwnd = path.bbr.cwnd;
	round_at(&path, RATE, RTT, 0);
	bbr_lost(&path.bbr, MSS, BDP, MSS, false, path.delivered, path.now_us);
	round_at(&path, RATE / 10, RTT, MSS);
	assert_in_range(path.bbr.bw, RATE * 69ull / 100, RATE);
	assert_true(path.bbr.cwnd < cwnd);
	bbr_lost(&path.bbr, MSS, BDP, MSS, false, path.delivered, path.now_us);
	round_at(&path, RATE / 10, RTT, MSS);
	assert_in_range(path.bbr.bw, RATE * 48ull / 100, RATE * 71ull / 100);
	while (path.bbr.state == BBR_PROBE_CRUISE)
		round_at(&path, RATE / 10, RTT, 0);
	assert_int_equal(path.bbr.state, BBR_PROBE_REFILL);
	assert_int_equal(path.bbr.bw, RATE);
}

static void to_up(struct path *path)
{
	while (path->bbr.state != BBR_PROBE_UP)
		round_at(path, RATE, RTT, 0);
}

/* Too many losses while it probes: so much does not fit, and the next probe goes only so far. */
static void probe_goes_too_far(void **state)
{
	struct path path;

	(void)state;
	begin(&path);
	to_cruise(&path);
	to_up(&path);
	bbr_lost(&path.bbr, MSS, 130 * MSS, MSS, false, path.delivered, path.now_us);
	assert_int_equal(path.bbr.state, BBR_PROBE_UP); /* one of a hundred is not too many */
	bbr_lost(&path.bbr, 3 * MSS, 130 * MSS, 4 * MSS, false, path.delivered, path.now_us);
	assert_int_equal(path.bbr.state, BBR_PROBE_DOWN);
	assert_in_range(path.bbr.inflight_long, 127 * MSS, 130 * MSS);
	path.in_flight = BDP / 2;
	round_at(&path, RATE, RTT, 4 * MSS);
	round_at(&path, RATE, RTT, 0);
	assert_true(path.bbr.cwnd <= path.bbr.inflight_long / 100 * 85 + MSS); /* room for others */
	to_up(&path);
	path.in_flight = path.bbr.inflight_long;
	round_at(&path, RATE, RTT, 0);
	assert_int_equal(path.bbr.state, BBR_PROBE_DOWN);
	assert_true(path.bbr.precautionary);
	path.in_flight = BDP / 2;
	round_at(&path, RATE, RTT, 0); /* it was safe: at once once more, and on */
	assert_int_equal(path.bbr.state, BBR_PROBE_REFILL);
}

/* The bound rises by 1, 2, 4... segments a round while the window is used up to it. */
static void bound_rises(void **state)
{
	struct path path;
	uint32_t bound;

	(void)state;
	begin(&path);
	to_cruise(&path);
	path.bbr.inflight_long = BDP;
	to_up(&path);
	path.window_full = true;
	path.in_flight = BDP - MSS;
	bound = path.bbr.inflight_long;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(path.bbr.state, BBR_PROBE_UP);
		round_at(&path, RATE, RTT, 0);
	}
	assert_in_range(path.bbr.inflight_long - bound, 3 * MSS, 10 * MSS);
}

static void marks_are_losses(void **state)
{
	struct path path;

	(void)state;
	begin(&path);
	to_cruise(&path);
	for (unsigned i = 0; i < 2; i++) {
		bbr_marked(&path.bbr, BDP, path.delivered, path.now_us);
		round_at(&path, RATE / 10, RTT, 0);
	}
	assert_in_range(path.bbr.bw, RATE / 2, RATE * 71ull / 100);
	begin(&path);
	to_cruise(&path);
	to_up(&path);
	bbr_marked(&path.bbr, BDP * 11 / 10, path.delivered, path.now_us);
	assert_int_equal(path.bbr.state, BBR_PROBE_DOWN);
	assert_int_equal(path.bbr.inflight_long, BDP * 11 / 10);
}

/* After five seconds without a shorter round trip half of the window has to do for 200 ms and a round. */
static void probes_the_round_trip(void **state)
{
	struct path path;
	uint32_t cwnd = 0, began_us;

	(void)state;
	begin(&path);
	to_cruise(&path);
	path.in_flight = BDP;
	while (path.bbr.state != BBR_PROBE_RTT) {
		cwnd = path.bbr.cwnd;
		round_at(&path, RATE, RTT + 10 * MS, 0);
		assert_true(path.now_us < 8 * SECOND);
	}
	assert_in_range(path.now_us, 6 * SECOND, 6 * SECOND + 2 * RTT);
	assert_in_range(path.bbr.cwnd, BDP / 2, BDP / 2 + MSS);
	assert_true(rate.app_limited); /* what comes now says nothing of the rate */
	round_at(&path, RATE, RTT, 0);
	assert_int_equal(path.bbr.state, BBR_PROBE_RTT); /* too much is still in flight */
	path.in_flight = BDP / 2;
	began_us = path.now_us;
	while (path.bbr.state == BBR_PROBE_RTT)
		round_at(&path, RATE / 2, RTT, 0);
	assert_in_range(path.now_us - began_us, 300 * MS, 500 * MS);
	assert_int_equal(path.bbr.state, BBR_PROBE_CRUISE);
	assert_in_range(path.bbr.cwnd, cwnd - 10 * MSS, cwnd + 10 * MSS);
	assert_int_equal(path.bbr.bw, RATE);
}

/* A longer path is believed after ten seconds. */
static void round_trip_grows(void **state)
{
	struct path path;

	(void)state;
	begin(&path);
	to_cruise(&path);
	path.in_flight = BDP / 2;
	while (path.now_us < 9 * SECOND)
		round_at(&path, RATE, 2 * RTT, 0);
	assert_int_equal(path.bbr.min_rtt_us, RTT);
	while (path.now_us < 18 * SECOND)
		round_at(&path, RATE, 2 * RTT, 0);
	assert_int_equal(path.bbr.min_rtt_us, 2 * RTT);
}

/* After a pause it goes on at the rate it knew, with the window it had, and probes no round trip for it. */
static void restarts_from_idle(void **state)
{
	struct path path;
	uint32_t cwnd;

	(void)state;
	begin(&path);
	to_cruise(&path);
	cwnd = path.bbr.cwnd;
	path.now_us += 20 * SECOND;
	path.limited = true;
	bbr_idle(&path.bbr, path.delivered, path.now_us);
	assert_in_range(path.bbr.pacing_rate, RATE * 98ull / 100, RATE);
	assert_int_equal(path.bbr.cwnd, cwnd);
	round_at(&path, RATE / 10, RTT, 0);
	assert_int_not_equal(path.bbr.state, BBR_PROBE_RTT);
	assert_int_equal(path.bbr.bw, RATE);
}

/* A time-out starts with a segment, and ends with what was before. */
static void timeout_and_back(void **state)
{
	struct path path;
	uint32_t cwnd;

	(void)state;
	begin(&path);
	to_cruise(&path);
	cwnd = path.bbr.cwnd;
	bbr_timeout(&path.bbr);
	assert_int_equal(path.bbr.cwnd, MSS);
	bbr_recovered(&path.bbr);
	assert_int_equal(path.bbr.cwnd, cwnd);
}

/* No rate and no round trip leads out of bounds. */
static void extremes(void **state)
{
	struct path path;

	(void)state;
	begin(&path);
	for (unsigned i = 0; i < 10; i++)
		round_at(&path, UINT64_MAX / 8, 1, 0);
	assert_in_range(path.bbr.cwnd, MSS, 1u << 30);
	begin(&path);
	for (unsigned i = 0; i < 10; i++)
		round_at(&path, 1, 100 * SECOND, UINT32_MAX / 2);
	assert_in_range(path.bbr.cwnd, 4 * MSS, 1u << 30);
	assert_true(path.bbr.pacing_rate > 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(rate_of_acknowledgements),
	cmocka_unit_test(rate_of_sending),
	cmocka_unit_test(no_sample),
	cmocka_unit_test(peer_takes_back),
	cmocka_unit_test(limited_by_the_application),
	cmocka_unit_test(ring_is_full),
	cmocka_unit_test(startup_until_the_rate_stays),
	cmocka_unit_test(limited_samples_do_not_count),
	cmocka_unit_test(startup_ends_by_losses),
	cmocka_unit_test(drains_to_the_path),
	cmocka_unit_test(drain_is_bounded),
	cmocka_unit_test(cycle),
	cmocka_unit_test(probes_as_often_as_reno),
	cmocka_unit_test(maximum_is_forgotten),
	cmocka_unit_test(losses_bound_the_model),
	cmocka_unit_test(probe_goes_too_far),
	cmocka_unit_test(bound_rises),
	cmocka_unit_test(marks_are_losses),
	cmocka_unit_test(probes_the_round_trip),
	cmocka_unit_test(round_trip_grows),
	cmocka_unit_test(restarts_from_idle),
	cmocka_unit_test(timeout_and_back),
	cmocka_unit_test(extremes),
};

int main(void)
{
	return cmocka_run_group_tests(tests, NULL, NULL);
}
