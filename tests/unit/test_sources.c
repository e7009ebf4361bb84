/* test_sources.c - the table of sources: rates on a fake clock, and what happens when it is full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "net/sources.h"

#define START (UINT32_MAX - 500) /* the clock wraps half a second later */

struct fixture {
	struct source_table table;
	struct random random;
	void *memory;
};

static struct fixture *fixture_make(uint32_t sources, uint32_t rate, uint32_t burst)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->memory = aligned_alloc(CACHE_LINE, source_table_bytes(sources));
	source_table_init(&f->table, f->memory, sources);
	f->table.rates[0] = (struct source_rate){rate, burst};
	f->random = random_seeded(11);
	return f;
}

static void fixture_free(struct fixture *f)
{
	free(f->memory);
	free(f);
}

/* Whether a new connection gets a token. */
static bool try(struct fixture *f, uint64_t hash, uint32_t tick)
{
	struct source *source = source_find(&f->table, 0, hash);

	if (source_tokens(&f->table, 0, source, tick) < SOURCE_TOKEN)
		return false;
	source = source_make(&f->table, 0, hash, tick);
	assert_non_null(source);
	source_spend(&f->table, source, tick);
	return true;
}

static void a_burst_then_the_rate(void **state)
{
	struct fixture *f = fixture_make(64, 10, 3);
	unsigned passed = 0;

	(void)state;
	for (unsigned i = 0; i < 10; i++)
		passed += try(f, 5, START);
	assert_int_equal(passed, 3);
	assert_false(try(f, 5, START + 99));
	assert_true(try(f, 5, START + 100));
	assert_false(try(f, 5, START + 199));
	assert_true(try(f, 6, START + 199)); /* another source */
	passed = 0;
	for (uint32_t tick = START + 200; tick != START + 10200; tick++)
		passed += try(f, 5, tick);
	assert_int_equal(passed, 100); /* ten seconds */
	fixture_free(f);
}

/* In no window of any length more than burst and rate allow, and never less than the rate offers. */
static void random_arrivals_stay_within_the_rate(void **state)
{
	enum { SPAN = 20000 };
	static uint32_t passed_by[SPAN + 1];

	(void)state;
	for (unsigned round = 0; round < 30; round++) {
		struct random random = random_seeded(round);
		uint32_t rate = 1 + random_below(&random, round % 2 ? 2000 : 20);
		uint32_t burst = 1 + random_below(&random, 50), offered = 1 + random_below(&random, 8);
		struct fixture *f = fixture_make(64, rate, burst);

		for (uint32_t t = 0; t < SPAN; t++) {
			passed_by[t + 1] = passed_by[t];
			for (uint32_t i = random_below(&random, offered + 1); i > 0; i--)
				passed_by[t + 1] += try(f, 77, START + t);
		}
		for (uint32_t i = 0; i < 2000; i++) {
			uint32_t from = random_below(&random, SPAN),
				 to = from + random_below(&random, SPAN - from);
			uint64_t most = burst + (uint64_t)(to - from) * rate / 1000 + 1;

			assert_true(passed_by[to] - passed_by[from] <= most);
		}
		fixture_free(f);
	}
}

static void a_long_silence_gives_one_burst_only(void **state)
{
	struct fixture *f = fixture_make(64, 1000000, 5);
	unsigned passed = 0;

	(void)state;
	assert_true(try(f, 1, START));
	for (unsigned i = 0; i < 100; i++)
		passed += try(f, 1, START + 4000000000u);
	assert_int_equal(passed, 5);
	fixture_free(f);
}

static void no_rate_no_end(void **state)
{
	struct fixture *f = fixture_make(64, 0, 0);

	(void)state;
	assert_int_equal(source_tokens(&f->table, 0, NULL, START), 0);
	assert_int_equal(source_tokens(&f->table, 0, source_make(&f->table, 0, 3, START), START), 0);
	fixture_free(f);
}

static void services_are_kept_apart(void **state)
{
	struct fixture *f = fixture_make(64, 1, 1);
	struct source *first = source_make(&f->table, 0, 99, START), *second;

	(void)state;
	assert_non_null(first);
	first->connections = 1; /* else it gives way at once: it has nothing to remember */
	second = source_make(&f->table, 15, 99, START);
	assert_ptr_not_equal(first, second);
	assert_ptr_equal(source_find(&f->table, 0, 99), first);
	assert_ptr_equal(source_find(&f->table, 15, 99), second);
	assert_null(source_find(&f->table, 7, 99));
	fixture_free(f);
}

/* Many sources with connections fill the table: further ones find no place, nobody is lost, no memory grows.
 */
static void full_of_connections(void **state)
{
	enum { SOURCES = 4096, TRIES = 4 * SOURCES };
	static uint64_t hashes[TRIES];
	struct fixture *f = fixture_make(SOURCES, 0, 0);
	uint32_t kept = 0, before_the_first = 0;

	(void)state;
	for (uint32_t i = 0; i < TRIES; i++) {
		uint64_t hash = random_next(&f->random);
		struct source *source = source_make(&f->table, 0, hash, START);

		if (source) {
			source->connections++;
			hashes[kept++] = hash;
		} else if (!before_the_first) {
			before_the_first = kept;
		}
	}
	assert_in_range(kept, SOURCES * 95 / 100, SOURCES);
	assert_in_range(before_the_first, SOURCES * 50 / 100, SOURCES); /* chosen between two buckets */
	assert_int_equal(f->table.forgotten, 0);
	assert_int_equal(source_table_connections(&f->table), kept);
	for (uint32_t i = 0; i < kept; i++) {
		struct source *source = source_find(&f->table, 0, hashes[i]);

		assert_non_null(source);
		assert_true(source->connections >= 1);
		source->connections--;
	}
	assert_int_equal(source_table_connections(&f->table), 0);
	for (uint32_t i = 0; i < 1000; i++) /* and all may be replaced now */
		assert_non_null(source_make(&f->table, 0, random_next(&f->random), START));
	fixture_free(f);
}

/* Without connections the one that has the most tokens gives way; a source with connections never. */
static void who_gives_way(void **state)
{
	struct fixture *f = fixture_make(SOURCE_WAYS, 10, 10); /* one bucket: first and second are the same */
	struct source *holder = source_make(&f->table, 0, 1, START);

	(void)state;
	holder->connections = 1;
	for (unsigned i = 0; i < 9; i++)
		assert_true(try(f, 2, START));
	assert_true(try(f, 3, START));
	assert_true(try(f, 3, START));
	assert_true(try(f, 4, START));
	assert_int_equal(f->table.forgotten, 0);
	assert_non_null(source_make(&f->table, 0, 5, START)); /* in the place of 4 */
	assert_int_equal(f->table.forgotten, 1);
	assert_null(source_find(&f->table, 0, 4));
	assert_non_null(source_find(&f->table, 0, 3));
	assert_non_null(source_make(&f->table, 0, 6, START + 100)); /* of 5, which had spent nothing */
	assert_int_equal(f->table.forgotten, 1);
	assert_null(source_find(&f->table, 0, 5));
	assert_non_null(source_find(&f->table, 0, 2)); /* still to be held back */
	assert_ptr_equal(source_find(&f->table, 0, 1), holder);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_burst_then_the_rate),
		cmocka_unit_test(random_arrivals_stay_within_the_rate),
		cmocka_unit_test(a_long_silence_gives_one_burst_only),
		cmocka_unit_test(no_rate_no_end),
		cmocka_unit_test(services_are_kept_apart),
		cmocka_unit_test(full_of_connections),
		cmocka_unit_test(who_gives_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
