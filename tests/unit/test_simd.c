/* test_simd.c - every variant gives what the plain one gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "base/simd.h"

/* Ten tags, and behind them what must not matter. */
struct lanes {
	uint16_t tags[SIMD_TAGS_BYTES / sizeof(uint16_t)] __attribute__((aligned(16)));
};

static void plain_says_what_it_should(void **state)
{
	struct lanes lanes = {{7, 0, 0xffff, 7, 0x7fff, 0x8000, 1, 0x0700, 0, 7, 7, 7, 0, 0xffff, 7, 7}};

	(void)state;
	assert_int_equal(simd_match_tags_plain(lanes.tags, 7), 1 << 0 | 1 << 3 | 1 << 9);
	assert_int_equal(simd_match_tags_plain(lanes.tags, 0), 1 << 1 | 1 << 8);
	assert_int_equal(simd_match_tags_plain(lanes.tags, 0xffff), 1 << 2);
	assert_int_equal(simd_match_tags_plain(lanes.tags, 0x8000), 1 << 5);
	assert_int_equal(simd_match_tags_plain(lanes.tags, 2), 0);
}

/* In a build without vectors both names are the plain variant. */
static void best_agrees_on_every_pattern(void **state)
{
	const uint16_t values[] = {0, 1, 0x00ff, 0x0100, 0x7fff, 0x8000, 0xff00, 0xffff};

	(void)state;
	for (uint32_t pattern = 0; pattern < 1u << SIMD_TAGS; pattern++)
		for (unsigned v = 0; v < ARRAY_COUNT(values); v++) {
			uint16_t other = values[(v + 1 + pattern % 7) % ARRAY_COUNT(values)];
			struct lanes lanes;

			for (unsigned i = 0; i < ARRAY_COUNT(lanes.tags); i++)
				lanes.tags[i] = pattern >> i % SIMD_TAGS & 1 ? values[v] : other;
			assert_int_equal(simd_match_tags(lanes.tags, values[v]), pattern);
			assert_int_equal(simd_match_tags_plain(lanes.tags, values[v]), pattern);
		}
}

static void best_agrees_on_random_tags(void **state)
{
	struct random random = random_seeded(1);

	(void)state;
	for (unsigned round = 0; round < 1000000; round++) {
		struct lanes lanes;
		/* Few values, so that many tags agree; each third round all values. */
		uint32_t values = round % 3 ? 4 : 65536;

		for (unsigned i = 0; i < ARRAY_COUNT(lanes.tags); i++)
			lanes.tags[i] = (uint16_t)(random_below(&random, values) * 0x5555u);
		uint16_t tag = lanes.tags[random_below(&random, ARRAY_COUNT(lanes.tags))];

		assert_int_equal(simd_match_tags(lanes.tags, tag), simd_match_tags_plain(lanes.tags, tag));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_says_what_it_should),
		cmocka_unit_test(best_agrees_on_every_pattern),
		cmocka_unit_test(best_agrees_on_random_tags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
