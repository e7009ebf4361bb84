/* test_load.c - the parts of the load generator: histogram, tokens, schedule, window, jitter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <time.h>

#include "../../cli/load/histogram.h"
#include "../../cli/load/jitter.h"
#include "../../cli/load/schedule.h"
#include "../../cli/load/token.h"
#include "../../cli/load/window.h"

/* --- histogram -------------------------------------------------------------------------- */

static struct histogram histogram, other;

static int clear(void **state)
{
	(void)state;
	memset(&histogram, 0, sizeof(histogram));
	memset(&other, 0, sizeof(other));
	return 0;
}

/* Every value lies in its bucket, not above it, and the bucket is no wider than 1/64 of it. */
static void buckets_hold_their_values(void **state)
{
	uint64_t value = 1;

	(void)state;
	assert_int_equal(histogram_bucket(0), 0);
	for (; value < HISTOGRAM_MAX; value += value / 37 + 1) {
		uint32_t bucket = histogram_bucket(value);

		assert_true(bucket < HISTOGRAM_BUCKETS);
		assert_true(histogram_top(bucket) >= value);
		assert_true(histogram_top(bucket) - value <= value / 64);
		assert_true(histogram_top(bucket - 1) < value);
	}
	assert_int_equal(histogram_bucket(HISTOGRAM_MAX), HISTOGRAM_BUCKETS - 1);
	assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
	assert_true(histogram_top(HISTOGRAM_BUCKETS - 1) == HISTOGRAM_MAX);
}

static void percentiles_are_ranks(void **state)
{
	(void)state;
	assert_int_equal(histogram_percentile(&histogram, 0.99), 0);
	for (uint64_t value = 1; value <= 100; value++)
		histogram_add(&histogram, value);
	assert_int_equal(histogram_percentile(&histogram, 0.5), 50);
	assert_int_equal(histogram_percentile(&histogram, 0.99), 99);
	assert_int_equal(histogram_percentile(&histogram, 1), 100);
	assert_int_equal(histogram_percentile(&histogram, 0), 1);
	histogram_add(&histogram, 1000000);
	assert_int_equal(histogram_percentile(&histogram, 0.9999),
			 1000000); /* the max, not the bucket's top */
}

static void histograms_add_up_and_differ(void **state)
{
	static struct histogram sum, since;

	(void)state;
	histogram_add(&histogram, 5);
	histogram_add(&other, 7000);
	histogram_merge(&sum, &histogram);
	histogram_merge(&sum, &other);
	assert_int_equal(sum.count, 2);
	assert_int_equal(sum.max, 7000);
	histogram_since(&since, &sum, &histogram);
	assert_int_equal(since.count, 1);
	assert_int_equal(since.max, 7000);
	assert_int_equal(histogram_percentile(&since, 0.5), 7000);
	histogram_since(&since, &sum, &other);
	assert_int_equal(since.max, 5);
}

/* --- tokens ---------------------------------------------------------------------------------- */

static void tokens_match_at_any_cut(void **state)
{
	uint64_t seed = token_seed(1, 2, 3);
	uint8_t whole[100], piece[100];

	(void)state;
	token_fill(seed, 0, whole, sizeof(whole));
	for (size_t from = 0; from < sizeof(whole); from++)
		for (size_t to = from; to <= sizeof(whole); to++) {
			token_fill(seed, from, piece, to - from);
			assert_memory_equal(piece, whole + from, to - from);
			assert_true(token_matches(seed, from, whole + from, to - from));
		}
}

static void each_wrong_byte_is_seen(void **state)
{
	uint64_t seed = token_seed(1, 2, 3);
	uint8_t bytes[29];

	(void)state;
	token_fill(seed, 3, bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++) {
		bytes[i] ^= 0x10;
		assert_false(token_matches(seed, 3, bytes, sizeof(bytes)));
		bytes[i] ^= 0x10;
	}
	assert_true(token_matches(seed, 3, bytes, sizeof(bytes)));
}

/* Another request, another connection, another run, another place: none of them passes for this one. */
static void tokens_are_ones_own(void **state)
{
	uint8_t bytes[8];

	(void)state;
	token_fill(token_seed(1, 2, 3), 0, bytes, sizeof(bytes));
	assert_false(token_matches(token_seed(1, 2, 4), 0, bytes, sizeof(bytes)));
	assert_false(token_matches(token_seed(1, 3, 3), 0, bytes, sizeof(bytes)));
	assert_false(token_matches(token_seed(2, 2, 3), 0, bytes, sizeof(bytes)));
	assert_false(token_matches(token_seed(1, 2, 3), 8, bytes, sizeof(bytes)));
}

/* --- the schedule ---------------------------------------------------------------------------------- */

static void the_schedule_is_even(void **state)
{
	struct schedule schedule;

	(void)state;
	schedule_begin(&schedule, 1000, 100000); /* each 10 us */
	assert_int_equal(schedule_owed(&schedule, 999), 0);
	assert_int_equal(schedule_owed(&schedule, 1000), 1);
	assert_int_equal(schedule_take(&schedule), 1000);
	assert_int_equal(schedule_owed(&schedule, 1009), 0);
	assert_int_equal(schedule_next_us(&schedule), 1010);
	assert_int_equal(schedule_owed(&schedule, 1010), 1);
}

/* Who was kept away owes all of it, each with the time it was meant for. */
static void what_was_missed_is_owed(void **state)
{
	struct schedule schedule;

	(void)state;
	schedule_begin(&schedule, 0, 1000);
	assert_int_equal(schedule_owed(&schedule, 1000000), 1001);
	for (unsigned i = 0; i < 1001; i++)
		assert_int_equal(schedule_take(&schedule), i * 1000);
	assert_int_equal(schedule_owed(&schedule, 1000000), 0);
}

static void uneven_rates_do_not_drift(void **state)
{
	struct schedule schedule;

	(void)state;
	schedule_begin(&schedule, 0, 3); /* no whole number of microseconds */
	for (unsigned i = 0; i < 3000000; i++)
		schedule_take(&schedule);
	assert_true(schedule_next_us(&schedule) == 1000000000000);
}

/* --- the window -------------------------------------------------------------------------------------- */

static void the_window_grows_while_answers_are_quick(void **state)
{
	struct window window;

	(void)state;
	window_begin(&window);
	for (unsigned i = 0; i < 100; i++)
		window_answered(&window, i, 200);
	assert_true(window.size >= WINDOW_FIRST + 100);
	for (unsigned i = 0; i < 100; i++)
		window_answered(&window, i, 10000); /* they queue somewhere */
	assert_true(window.size <= WINDOW_FIRST + 101);
	for (unsigned i = 0; i < 100000; i++)
		window_answered(&window, i, 200);
	assert_int_equal((int)window.size, (int)WINDOW_NEAR);
	window_begin(&window);
	for (unsigned i = 0; i < 100000; i++)
		window_answered(&window, i, 50000); /* far away: many are on their way */
	assert_int_equal((int)window.size, (int)WINDOW_MOST);
}

static void a_loss_halves_the_window_once(void **state)
{
	struct window window;
	double before;

	(void)state;
	window_begin(&window);
	for (unsigned i = 0; i < 480; i++)
		window_answered(&window, i, 200);
	before = window.size;
	window_answered(&window, 2000000, 1000300); /* its SYN was sent again */
	assert_true(window.size <= before / 2);
	window_lost(&window, 2000001);
	assert_true(window.size > before / 2 - 1);
	for (unsigned i = 0; i < 20; i++)
		window_lost(&window, 4000000 + i * WINDOW_CALM_US);
	assert_true(window.size >= WINDOW_LEAST);
}

/* A distant peer is no lossy one. */
static void a_long_way_is_no_loss(void **state)
{
	struct window window;

	(void)state;
	window_begin(&window);
	for (unsigned i = 0; i < 100; i++)
		window_answered(&window, i, WINDOW_LOST_US + 1);
	assert_true(window.size >= WINDOW_FIRST + 99);
}

/* --- jitter --------------------------------------------------------------------------------------------- */

static void pause_ms(long ms)
{
	const struct timespec time = {0, ms * 1000000};

	nanosleep(&time, NULL);
}

/* A thread that stood still had no processor: as much is said to have been taken. */
static void standing_still_is_taken_away(void **state)
{
	struct jitter jitter = {0};

	(void)state;
	jitter_turn(&jitter, 1000000, 0);
	pause_ms(30);
	jitter_turn(&jitter, 1030000, 0);
	assert_int_equal(jitter.taken.count, 1);
	assert_in_range(jitter.taken_us, 20000, 30000);
	assert_int_equal(jitter.watched_us, 30000);
	/* All the time is in one piece of 30 ms: half of all moments are 15 ms or more from its end. */
	assert_in_range(jitter_percentile(&jitter, 0.5), 9000, 15500);
	assert_true(jitter_percentile(&jitter, 0.5) < jitter_percentile(&jitter, 0.99));
}

/* Work is not: the turn is as long, but the thread had the processor. */
static void own_work_is_not_taken_away(void **state)
{
	struct jitter jitter = {0};
	struct timespec used;
	long start_us;

	(void)state;
	jitter_turn(&jitter, 1000000, 0);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	start_us = used.tv_sec * 1000000 + used.tv_nsec / 1000;
	do
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	while (used.tv_sec * 1000000 + used.tv_nsec / 1000 < start_us + 5000);
	jitter_turn(&jitter, 1005000, 0);
	assert_int_equal(jitter.taken.count, 0);
	assert_int_equal(jitter.turns.max, 5000);
}

static void a_sleep_counts_as_far_as_it_was_too_long(void **state)
{
	struct jitter jitter = {0};

	(void)state;
	jitter_turn(&jitter, 1000000, 0);
	jitter_turn(&jitter, 1500000, 1500000); /* woken in time, or by a frame */
	assert_int_equal(jitter.taken.count, 0);
	jitter_turn(&jitter, 1600070, 1600000);
	assert_int_equal(jitter.taken_us, 70);
	assert_int_equal(jitter.taken.max, 70);
	assert_int_equal(jitter.watched_us, 600070);
	assert_int_equal(jitter_percentile(&jitter, 0.99), 0); /* few moments meet it */
	assert_in_range(jitter_percentile(&jitter, 0.99999), 60, 70);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(buckets_hold_their_values),
	cmocka_unit_test_setup(percentiles_are_ranks, clear),
	cmocka_unit_test_setup(histograms_add_up_and_differ, clear),
	cmocka_unit_test(tokens_match_at_any_cut),
	cmocka_unit_test(each_wrong_byte_is_seen),
	cmocka_unit_test(tokens_are_ones_own),
	cmocka_unit_test(the_schedule_is_even),
	cmocka_unit_test(what_was_missed_is_owed),
	cmocka_unit_test(uneven_rates_do_not_drift),
	cmocka_unit_test(the_window_grows_while_answers_are_quick),
	cmocka_unit_test(a_loss_halves_the_window_once),
	cmocka_unit_test(a_long_way_is_no_loss),
	cmocka_unit_test(standing_still_is_taken_away),
	cmocka_unit_test(own_work_is_not_taken_away),
	cmocka_unit_test(a_sleep_counts_as_far_as_it_was_too_long),
};

int main(void)
{
	return cmocka_run_group_tests(tests, NULL, NULL);
}
