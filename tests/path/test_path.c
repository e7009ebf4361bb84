/* test_path.c - what algorithms make of a path: a link of 100 Mbit/s with a queue, in virtual time. The
 * bounds are what a sender is worth, not what it happens to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "path.h"

#define MBIT 1000000u
#define MS   1000u

static const char *const windows[] = {"cubic", "newreno"};

static struct path_config config_of(const char *algorithm, uint32_t delay_ms, uint32_t queue_frames)
{
	return (struct path_config){
		.rate_bps = 100 * MBIT,
		.delay_us = delay_ms * MS,
		.queue_frames = queue_frames,
		.flows = 1,
		.algorithms = {algorithm},
		.seed = 1,
	};
}

/* Payload Mbit/s of one flow in so many seconds, the handshake included. */
static double rate_of(const struct path_config *config, unsigned seconds, struct path_counts *counts,
		      uint64_t *again)
{
	struct path *path = path_begin(config);
	double rate;

	path_open(path, 0);
	path_run(path, seconds * 1000000ull);
	rate = (double)path_received(path, 0) * 8 / MBIT / seconds;
	*counts = path_counts(path);
	*again = path_core(path)->counters.tcp_retransmits;
	path_end(path);
	return rate;
}

/* The first slow start finds out what a long path holds, and loses nothing: of 10 s it takes 4 until the path
 * is full. */
static void fills_a_long_path(void **state)
{
	struct path_counts counts;
	uint64_t again;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		for (uint32_t gather_us = 0; gather_us <= 500; gather_us += 500) {
			struct path_config config = config_of(windows[i], 200, 1000);

			config.gather_us = config.tx_late_us = gather_us;
			assert_true(rate_of(&config, 10, &counts, &again) > 57);
			assert_int_equal(counts.dropped, 0);
			assert_int_equal(again, 0);
		}
	}
}

static void fills_paths(void **state)
{
	static const struct {
		uint32_t delay_ms;
		double least;
	} cells[] = {{1, 93}, {20, 90}, {100, 76}};
	struct path_counts counts;
	uint64_t again;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		for (unsigned j = 0; j < ARRAY_COUNT(cells); j++) {
			struct path_config config = config_of(windows[i], cells[j].delay_ms, 1000);

			assert_true(rate_of(&config, 10, &counts, &again) > cells[j].least);
			assert_true(counts.dropped < 100);
		}
	}
}

/* What overflows a queue is sent again, and nothing else: though the queue makes round trips longer, and what
 * is sent again goes among what is new. */
static void sends_again_what_was_lost(void **state)
{
	static const uint32_t queues[] = {100, 200, 600};
	struct path_counts counts;
	uint64_t again;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		for (unsigned j = 0; j < ARRAY_COUNT(queues); j++) {
			struct path_config config = config_of(windows[i], 200, queues[j]);

			config.seed = j;
			rate_of(&config, 10, &counts, &again);
			assert_in_range(again, counts.dropped, counts.dropped + counts.dropped / 50 + 1);
		}
	}
}

/* After a recovery much of the window is free at once. It must not go out as one burst, which would overflow
 * the queue again. */
static void recovers_without_a_burst(void **state)
{
	struct path_config config = config_of("cubic", 100, 400);
	struct path *path = path_begin(&config);

	(void)state;
	path_open(path, 0);
	path_run(path, 6000 * MS);
	path_counts(path);
	path_change(path, 100 * MBIT, 100 * MS, 100);
	path_run(path, 100 * MS);
	path_change(path, 100 * MBIT, 100 * MS, 0);
	path_run(path, 1500 * MS);
	assert_true(path_core(path)->counters.tcp_fast_retransmits > 0);
	assert_int_equal(path_counts(path).dropped, 0);
	path_end(path);
}

/* BBR fills the path, keeps its queue short, and hardly minds losses by chance. */
static void bbr_models_the_path(void **state)
{
	static const struct {
		uint32_t delay_ms, loss;
		double least;
	} cells[] = {{1, 0, 90}, {1, 100, 80}, {20, 0, 85}, {20, 100, 65}, {100, 0, 60}, {100, 100, 50}};
	struct path_counts counts;
	uint64_t again;

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(cells); i++) {
		struct path_config config = config_of("bbr", cells[i].delay_ms, 1000);

		config.loss = cells[i].loss;
		assert_true(rate_of(&config, 10, &counts, &again) > cells[i].least);
	}
}

/* It follows a path whose rate falls and rises, and whose round trip grows. */
static void bbr_follows_the_path(void **state)
{
	struct path_config config = config_of("bbr", 20, 1000);
	struct path *path = path_begin(&config);
	uint64_t before;

	(void)state;
	path_open(path, 0);
	path_run(path, 10000 * MS);
	path_change(path, 20 * MBIT, 20 * MS, 0);
	path_run(path, 25000 * MS); /* the maximum is that of two cycles, and the queue makes them long */
	before = path_received(path, 0);
	path_run(path, 5000 * MS);
	assert_in_range((path_received(path, 0) - before) * 8 / 5, 16 * MBIT, 19 * MBIT);
	assert_true(path_queued(path) < 200);
	path_change(path, 100 * MBIT, 40 * MS, 0);
	path_run(path, 15000 * MS);
	before = path_received(path, 0);
	path_run(path, 5000 * MS);
	assert_true((path_received(path, 0) - before) * 8 / 5 > 75 * MBIT);
	path_rebuild(path);
	path_end(path);
}

/* What the application limits does not spoil the model, and after a pause it goes on at the rate that it
 * knew. */
static void bbr_keeps_its_model(void **state)
{
	struct path_config config = config_of("bbr", 20, 1000);
	struct path *path = path_begin(&config);
	uint64_t before;

	(void)state;
	path_open(path, 0);
	path_run(path, 6000 * MS);
	path_limit(path, 0, 0);
	path_run(path, 2000 * MS);
	for (unsigned i = 0; i < 100; i++) {
		path_limit(path, 0, 3000);
		path_run(path, 20 * MS);
	}
	before = path_received(path, 0);
	path_limit(path, 0, UINT64_MAX);
	path_run(path, 240 * MS);
	assert_true(path_received(path, 0) - before > 1800000); /* of 3 MB at most, less a round trip */
	assert_int_equal(path_counts(path).dropped, 0);
	path_end(path);
}

/* Two of them, or one beside CUBIC: nobody starves. */
static void bbr_shares(void **state)
{
	static const char *const others[] = {"bbr", "cubic"};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct path_config config = config_of("bbr", 20, 300);
		uint64_t rates[2];
		struct path *path;

		config.flows = 2;
		config.algorithms[1] = others[i];
		path = path_begin(&config);
		path_open(path, 0);
		path_run(path, 1000 * MS);
		path_open(path, 1);
		path_run(path, 30000 * MS);
		for (unsigned j = 0; j < 2; j++)
			rates[j] = path_received(path, j) * 8 / 30;
		assert_true(rates[0] > 15 * MBIT && rates[1] > 15 * MBIT);
		assert_true(rates[0] + rates[1] > 80 * MBIT);
		path_end(path);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(fills_a_long_path),         cmocka_unit_test(fills_paths),
	cmocka_unit_test(sends_again_what_was_lost), cmocka_unit_test(recovers_without_a_burst),
	cmocka_unit_test(bbr_models_the_path),       cmocka_unit_test(bbr_follows_the_path),
	cmocka_unit_test(bbr_keeps_its_model),       cmocka_unit_test(bbr_shares),
};

int main(void)
{
	return cmocka_run_group_tests(tests, NULL, NULL);
}
