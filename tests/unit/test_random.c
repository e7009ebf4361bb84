/* test_random.c - the seeded generator: it repeats, it spreads, it stays below its bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"

/* Published first outputs: splitmix64 from seed 1234567, xoroshiro128++ from state 1, 2. */
static void known_values(void **state)
{
	struct random random = {{1, 2}};
	uint64_t seed = 1234567;

	(void)state;
	assert_true(random_mix(&seed) == 6457827717110365317ULL);
	assert_true(random_mix(&seed) == 3203168211198807973ULL);
	assert_true(random_next(&random) == 393217);
	assert_true(random_next(&random) == 669327710093319ULL);
	assert_true(random_next(&random) == 1732421326133921491ULL);
}

static void one_seed_repeats_and_neighbours_differ(void **state)
{
	struct random a = random_seeded(7), b = random_seeded(7), c = random_seeded(8);
	unsigned same = 0;

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t value = random_next(&a);

		assert_true(value == random_next(&b));
		same += value == random_next(&c);
	}
	assert_int_equal(same, 0);
}

static void a_zero_state_still_runs(void **state)
{
	const uint64_t zero[2] = {0, 0};
	struct random random = random_from_state(zero);
	uint64_t sum = 0;

	(void)state;
	for (unsigned i = 0; i < 10; i++)
		sum |= random_next(&random);
	assert_true(sum != 0);
}

static void below_is_below_and_even(void **state)
{
	struct random random = random_seeded(1);
	unsigned hits[10] = {0};

	(void)state;
	for (unsigned i = 0; i < 100000; i++) {
		uint32_t value = random_below(&random, 10);

		assert_true(value < 10);
		hits[value]++;
	}
	for (unsigned i = 0; i < 10; i++)
		assert_in_range(hits[i], 9500, 10500);
	assert_int_equal(random_below(&random, 1), 0);
	assert_int_equal(random_below(&random, 0), 0);
}

static void chances_come_true_as_often_as_asked(void **state)
{
	struct random random = random_seeded(2);
	unsigned hits = 0;

	(void)state;
	for (unsigned i = 0; i < 100000; i++) {
		hits += random_chance(&random, 3, 100);
		assert_false(random_chance(&random, 0, 100));
		assert_true(random_chance(&random, 100, 100));
	}
	assert_in_range(hits, 2700, 3300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_values),
		cmocka_unit_test(one_seed_repeats_and_neighbours_differ),
		cmocka_unit_test(a_zero_state_still_runs),
		cmocka_unit_test(below_is_below_and_even),
		cmocka_unit_test(chances_come_true_as_often_as_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
