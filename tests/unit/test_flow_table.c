/* test_flow_table.c - everything inserted is found, nothing else is, at full load, after
 * millions of changes and against chosen hashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "flow/table.h"
#include "flow/tuple.h"

static const struct siphash_key key = {0x6b7a9c0de1f20314, 0x8a5e3d2c1b0f9e77};

static struct flow_table table_made(uint32_t capacity)
{
	struct flow_table table;
	void *memory = aligned_alloc(CACHE_LINE, flow_table_bytes(capacity));

	assert_non_null(memory);
	flow_table_init(&table, memory, capacity);
	return table;
}

static void table_freed(struct flow_table *table)
{
	free(table->buckets);
}

/* The nth of 2^64 different tuples in random order: a bijection of n cut into fields. */
static uint64_t tuple_hash(uint64_t n)
{
	uint64_t bits = random_mix(&n);
	struct tuple4 tuple = {
		.local_ip = 0x0a000001,
		.remote_ip = (uint32_t)bits,
		.local_port = (uint16_t)(bits >> 48),
		.remote_port = (uint16_t)(bits >> 32),
	};

	return tuple4_hash(&key, &tuple);
}

/* How often the reference is among the candidates of the hash. */
static uint32_t times_found(const struct flow_table *table, uint64_t hash, uint32_t ref)
{
	uint32_t refs[FLOW_CANDIDATES_MAX], count = flow_table_candidates(table, hash, refs), times = 0;

	assert_true(count <= FLOW_CANDIDATES_MAX);
	for (uint32_t i = 0; i < count; i++)
		times += refs[i] == ref;
	return times;
}

static uint64_t entries_away(const struct flow_table *table)
{
	uint64_t away = 0;

	for (uint32_t i = 0; i < table->bucket_count; i++)
		away += table->buckets[i].overflow;
	return away;
}

static void references_keep_kind_and_index(void **state)
{
	uint32_t ref = flow_ref(FLOW_TIME_WAIT, FLOW_INDEX_MAX);

	(void)state;
	assert_int_equal(flow_ref_kind(ref), FLOW_TIME_WAIT);
	assert_int_equal(flow_ref_index(ref), FLOW_INDEX_MAX);
	assert_true(flow_ref(FLOW_BLOCK6, FLOW_INDEX_MAX) != FLOW_NONE);
	assert_int_equal(flow_ref(FLOW_BLOCK, 17), 17);
}

static void one_entry_lives_its_life(void **state)
{
	struct flow_table table = table_made(100);
	uint64_t hash = tuple_hash(1);

	(void)state;
	assert_int_equal(times_found(&table, hash, 5), 0);
	assert_false(flow_table_remove(&table, hash, 5));
	assert_true(flow_table_insert(&table, hash, 5));
	assert_int_equal(times_found(&table, hash, 5), 1);
	assert_int_equal(times_found(&table, tuple_hash(2), 5), 0);
	assert_false(flow_table_remove(&table, hash, 6));
	assert_false(flow_table_replace(&table, hash, 6, 7));
	assert_true(flow_table_replace(&table, hash, 5, 6));
	assert_int_equal(times_found(&table, hash, 5), 0);
	assert_int_equal(times_found(&table, hash, 6), 1);
	assert_int_equal(table.live, 1);
	assert_true(flow_table_verify(&table));
	assert_true(flow_table_remove(&table, hash, 6));
	assert_false(flow_table_remove(&table, hash, 6));
	assert_int_equal(table.live, 0);
	assert_true(flow_table_verify(&table));
	table_freed(&table);
}

static void other_bucket_is_its_own_inverse(void **state)
{
	const uint32_t capacities[] = {1, 9, 1000, 12345, 10000000, 1u << 30};

	(void)state;
	for (unsigned c = 0; c < ARRAY_COUNT(capacities); c++) {
		struct flow_table table = {
			.bucket_count = (uint32_t)(flow_table_bytes(capacities[c]) / CACHE_LINE)};

		for (uint32_t tag = 1; tag < 65536; tag++) {
			uint32_t bucket = (uint32_t)((uint64_t)table.bucket_count * tag >> 16);
			uint32_t other = flow_other_bucket(&table, bucket, (uint16_t)tag);

			assert_true(other < table.bucket_count);
			assert_int_equal(flow_other_bucket(&table, other, (uint16_t)tag), bucket);
		}
		assert_int_equal(flow_first_bucket(&table, UINT64_MAX), table.bucket_count - 1);
		assert_int_equal(flow_first_bucket(&table, 0), 0);
	}
}

static void a_zero_tag_is_an_entry_too(void **state)
{
	struct flow_table table = table_made(100);

	(void)state;
	assert_true(flow_table_insert(&table, 0x1234567800000000, 9));
	assert_int_equal(times_found(&table, 0x1234567800000000, 9), 1);
	assert_true(flow_table_verify(&table));
	assert_true(flow_table_remove(&table, 0x1234567800000000, 9));
	assert_true(flow_table_verify(&table));
	table_freed(&table);
}

/* Chance deviates most in small tables: their capacity holds as well. */
static void small_tables_take_their_capacity(void **state)
{
	(void)state;
	for (uint32_t capacity = 0; capacity < 5000; capacity += 1 + capacity / 16)
		for (uint64_t seed = 0; seed < 50; seed++) {
			struct flow_table table = table_made(capacity);
			uint64_t base = seed << 32 | (uint64_t)capacity << 16;

			for (uint32_t i = 0; i < capacity; i++)
				assert_true(flow_table_insert(&table, tuple_hash(base + i), i));
			assert_false(flow_table_insert(&table, tuple_hash(base + capacity), capacity));
			for (uint32_t i = 0; i < capacity; i++)
				assert_int_equal(times_found(&table, tuple_hash(base + i), i), 1);
			assert_true(flow_table_verify(&table));
			table_freed(&table);
		}
}

#ifdef __SANITIZE_ADDRESS__
#define MANY 1000000u /* the sanitizer is slow: the release build does all */
#else
#define MANY 10000000u
#endif

static void ten_million_fit_and_are_found(void **state)
{
	struct flow_table table = table_made(MANY);
	uint32_t refs[FLOW_CANDIDATES_MAX];
	uint64_t strangers = 0;

	(void)state;
	assert_true(flow_table_bytes(MANY) <=
		    MANY * 8ull + 16 * CACHE_LINE); /* 80% of 10 entries in 64 bytes */
	for (uint32_t i = 0; i < MANY; i++)
		if (!flow_table_insert(&table, tuple_hash(i), i))
			fail_msg("insertion %u was refused", i);
	assert_false(flow_table_insert(&table, tuple_hash(MANY), MANY));
	assert_true(flow_table_verify(&table));
	assert_true(entries_away(&table) < MANY / 10);
	for (uint32_t i = 0; i < MANY; i++) {
		strangers += flow_table_candidates(&table, tuple_hash(i), refs) - 1;
		if (times_found(&table, tuple_hash(i), i) != 1)
			fail_msg("entry %u is not found once", i);
	}
	for (uint32_t i = MANY; i < 2 * MANY; i++)
		strangers += flow_table_candidates(&table, tuple_hash(i), refs);
	/* 8 entries a bucket, 1.3 buckets, 65535 tags: 1.5 in 10,000 lookups. */
	assert_true(strangers < 2 * MANY / 5000);
	for (uint32_t i = 0; i < MANY; i++)
		if (!flow_table_remove(&table, tuple_hash(i), i))
			fail_msg("entry %u was lost", i);
	assert_int_equal(table.live, 0);
	assert_int_equal(entries_away(&table), 0);
	assert_true(flow_table_verify(&table));
	table_freed(&table);
}

/* What the search can do beyond what is promised: paths of several moves. */
static void moves_fill_far_beyond_the_stated_load(void **state)
{
	struct flow_table table = table_made(100000);
	uint32_t slots = table.bucket_count * FLOW_BUCKET_ENTRIES;

	(void)state;
	table.capacity = slots;
	while (flow_table_insert(&table, tuple_hash(table.live), table.live))
		;
	assert_true(table.live > slots / 100 * 97);
	assert_true(flow_table_verify(&table));
	for (uint32_t i = 0; i < table.live; i++)
		assert_int_equal(times_found(&table, tuple_hash(i), i), 1);
	table_freed(&table);
}

/* A full table in which a random entry goes and a new one comes, turned over 40 times. */
static void churn_at_full_load_never_degrades(void **state)
{
	enum { ENTRIES = 100000 };
	struct flow_table table = table_made(ENTRIES);
	struct random random = random_seeded(2);
	uint64_t *keys = calloc(ENTRIES, sizeof(*keys)), next = ENTRIES;

	(void)state;
	for (uint32_t i = 0; i < ENTRIES; i++) {
		keys[i] = i;
		assert_true(flow_table_insert(&table, tuple_hash(i), i));
	}
	for (uint32_t round = 0; round < 4000000; round++) {
		uint32_t ref = random_below(&random, ENTRIES);

		if (!flow_table_remove(&table, tuple_hash(keys[ref]), ref))
			fail_msg("entry %u was lost in round %u", ref, round);
		keys[ref] = next++;
		if (!flow_table_insert(&table, tuple_hash(keys[ref]), ref))
			fail_msg("insertion refused in round %u", round);
		if (round % 250000 == 0) {
			assert_true(flow_table_verify(&table));
			assert_true(entries_away(&table) < ENTRIES / 10);
		}
	}
	for (uint32_t i = 0; i < ENTRIES; i++)
		assert_int_equal(times_found(&table, tuple_hash(keys[i]), i), 1);
	assert_true(table.moves > 0);
	for (uint32_t i = 0; i < ENTRIES; i++)
		assert_true(flow_table_remove(&table, tuple_hash(keys[i]), i));
	assert_true(flow_table_verify(&table));
	assert_int_equal(entries_away(&table), 0);
	free(keys);
	table_freed(&table);
}

/* Fills and empties between 0 and full: counts stay exact on the way. */
static void tides_leave_nothing_behind(void **state)
{
	enum { ENTRIES = 20000 };
	struct flow_table table = table_made(ENTRIES);
	uint64_t from = 0, to = 0;

	(void)state;
	for (uint32_t tide = 0; tide < 100; tide++) {
		uint64_t high = from + (tide % 3 ? ENTRIES : ENTRIES / 2);

		for (; to < high; to++)
			assert_true(flow_table_insert(&table, tuple_hash(to), (uint32_t)to));
		assert_true(flow_table_verify(&table));
		for (uint64_t low = to - tide * 37; from < low; from++)
			assert_true(flow_table_remove(&table, tuple_hash(from), (uint32_t)from));
		assert_true(flow_table_verify(&table));
		assert_int_equal(table.live, to - from);
	}
	table_freed(&table);
}

/* The same bucket and tag for all: twenty fit, if need be at the cost of moving others. */
static void equal_hashes_are_refused_cleanly(void **state)
{
	enum { ENTRIES = 10000, INNOCENT = 7000 };
	const uint64_t hash = 0x8000000000001234;
	struct flow_table table = table_made(ENTRIES);
	uint32_t taken = 0, refs[FLOW_CANDIDATES_MAX];

	(void)state;
	for (uint32_t i = 0; i < INNOCENT; i++)
		assert_true(flow_table_insert(&table, tuple_hash(i), i));
	while (flow_table_insert(&table, hash, INNOCENT + taken))
		taken++;
	assert_int_equal(taken, FLOW_CANDIDATES_MAX);
	assert_int_equal(flow_table_candidates(&table, hash, refs), FLOW_CANDIDATES_MAX);
	for (uint32_t round = 0; round < 100; round++) {
		assert_false(flow_table_insert(&table, hash, ENTRIES));
		assert_true(flow_table_remove(&table, hash, INNOCENT + round % taken));
		assert_true(flow_table_insert(&table, hash, INNOCENT + round % taken));
	}
	for (uint32_t i = 0; i < INNOCENT; i++)
		assert_int_equal(times_found(&table, tuple_hash(i), i), 1);
	for (uint32_t i = 0; i < taken; i++)
		assert_int_equal(times_found(&table, hash, INNOCENT + i), 1);
	assert_true(flow_table_verify(&table));
	for (uint32_t i = 0; i < taken; i++)
		assert_true(flow_table_remove(&table, hash, INNOCENT + i));
	assert_int_equal(table.live, INNOCENT);
	assert_true(flow_table_verify(&table));
	table_freed(&table);
}

/* All entries have one first bucket, their tags differ: as many leave it as the count can
 * count, then the table refuses, and nothing is lost. */
static void overflow_count_saturates_cleanly(void **state)
{
	enum { ENTRIES = 1000000, ATTEMPTS = 200000 };
	struct flow_table table = table_made(ENTRIES);
	uint8_t *taken = calloc(ATTEMPTS, 1);
	uint32_t taken_count = 0;

	(void)state;
	for (uint32_t i = 0; i < ATTEMPTS; i++) {
		taken[i] = flow_table_insert(&table, i % 65535 + 1, i);
		taken_count += taken[i];
	}
	assert_int_equal(table.buckets[0].overflow, FLOW_OVERFLOW_MAX);
	assert_int_equal(taken_count, FLOW_OVERFLOW_MAX + FLOW_BUCKET_ENTRIES);
	assert_true(flow_table_verify(&table));
	for (uint32_t i = 0; i < ATTEMPTS; i++)
		assert_int_equal(times_found(&table, i % 65535 + 1, i), taken[i]);
	/* Others still come in, also where they share buckets with these. */
	for (uint32_t i = 0; i < ENTRIES / 2; i++)
		assert_true(flow_table_insert(&table, tuple_hash(i) | 1ull << 63, ATTEMPTS + i));
	assert_true(flow_table_verify(&table));
	for (uint32_t i = 0; i < ATTEMPTS; i++)
		assert_int_equal(flow_table_remove(&table, i % 65535 + 1, i), taken[i]);
	assert_int_equal(table.buckets[0].overflow, 0);
	assert_true(flow_table_verify(&table));
	free(taken);
	table_freed(&table);
}

static void verify_finds_what_is_wrong(void **state)
{
	enum { ENTRIES = 1000 };
	struct flow_table table = table_made(ENTRIES);
	struct flow_bucket *bucket = table.buckets;

	(void)state;
	for (uint32_t i = 0; i < ENTRIES; i++)
		assert_true(flow_table_insert(&table, tuple_hash(i), i));
	while (!bucket->overflow)
		bucket++;
	bucket->overflow--;
	assert_false(flow_table_verify(&table));
	assert_false(flow_table_verify(&table));
	bucket->overflow = (uint16_t)(bucket->overflow + 2);
	assert_false(flow_table_verify(&table));
	bucket->overflow--;
	assert_true(flow_table_verify(&table));
	table.live++;
	assert_false(flow_table_verify(&table));
	table.live--;
	bucket->guests ^= 1;
	assert_false(flow_table_verify(&table));
	table_freed(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(references_keep_kind_and_index),
		cmocka_unit_test(one_entry_lives_its_life),
		cmocka_unit_test(other_bucket_is_its_own_inverse),
		cmocka_unit_test(a_zero_tag_is_an_entry_too),
		cmocka_unit_test(small_tables_take_their_capacity),
		cmocka_unit_test(ten_million_fit_and_are_found),
		cmocka_unit_test(moves_fill_far_beyond_the_stated_load),
		cmocka_unit_test(churn_at_full_load_never_degrades),
		cmocka_unit_test(tides_leave_nothing_behind),
		cmocka_unit_test(equal_hashes_are_refused_cleanly),
		cmocka_unit_test(overflow_count_saturates_cleanly),
		cmocka_unit_test(verify_finds_what_is_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
