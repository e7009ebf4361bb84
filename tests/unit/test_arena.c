/* test_arena.c - carving: alignment, overflow, the same offsets wherever it is mapped; and a
 * worker's pools found again by a second mapping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mem/arena.h"
#include "mem/pool.h"

static _Alignas(4096) uint8_t memory[65536];
static _Alignas(4096) uint8_t other[65536];

static const struct arena_secrets secrets = {
	.flow = {1, 2},
	.isn = {3, 4},
	.cookie = {5, 6},
	.timestamp = {7, 8},
	.port = {9, 10},
	.random_state = {11, 12},
};

static struct arena fresh_arena(uint8_t *base, size_t bytes)
{
	struct arena arena;

	memset(base, 0, sizeof(memory));
	arena_init(&arena, base, bytes, &secrets, 123456789);
	return arena;
}

static void the_header_says_what_a_successor_needs(void **state)
{
	struct arena arena = fresh_arena(memory, sizeof(memory));
	const struct arena_header *header = arena_header(&arena);

	(void)state;
	assert_ptr_equal(header, memory);
	assert_true(header->magic == ARENA_MAGIC);
	assert_int_equal(header->bytes, sizeof(memory));
	assert_int_equal(header->clock_base_ns, 123456789);
	assert_memory_equal(&header->secrets, &secrets, sizeof(secrets));
	assert_true((uint8_t *)arena_carve(&arena, 1, 1) >= memory + sizeof(*header));
}

static void parts_are_aligned_and_apart(void **state)
{
	struct arena arena = fresh_arena(memory, sizeof(memory));
	uint8_t *end = memory + sizeof(struct arena_header);

	(void)state;
	for (size_t align = 1; align <= ARENA_ALIGN_MAX; align *= 2) {
		uint8_t *part = arena_carve(&arena, 3, align);

		assert_non_null(part);
		assert_int_equal((uintptr_t)part % align, 0);
		assert_true(part >= end);
		assert_true(part < end + align);
		end = part + 3;
	}
	assert_int_equal(arena.used, (size_t)(end - memory));
}

static void what_does_not_fit_is_refused_and_takes_nothing(void **state)
{
	struct arena arena = fresh_arena(memory, sizeof(memory));
	size_t used, rest;

	(void)state;
	assert_non_null(arena_carve(&arena, 100, 64));
	used = arena.used;
	rest = sizeof(memory) - used;
	assert_null(arena_carve(&arena, rest + 1, 1));
	assert_null(arena_carve(&arena, SIZE_MAX, 1));
	assert_null(arena_carve(&arena, SIZE_MAX, 64));
	assert_null(arena_carve(&arena, SIZE_MAX - used + 1, 1));
	assert_null(arena_carve(&arena, SIZE_MAX - 63, 64));
	assert_int_equal(arena.used, used);
	assert_ptr_equal(arena_carve(&arena, rest, 1), memory + used);
	assert_null(arena_carve(&arena, 1, 1));
	assert_ptr_equal(arena_carve(&arena, 0, 1), memory + sizeof(memory));
}

static void alignment_beyond_the_end_is_refused(void **state)
{
	struct arena arena = fresh_arena(memory, 4096 + 100);

	(void)state;
	assert_non_null(arena_carve(&arena, 4096 + 50 - arena.used, 1));
	assert_null(arena_carve(&arena, 0, 4096));
	assert_null(arena_carve(&arena, 1, 128));
	assert_non_null(arena_carve(&arena, 1, 1));
}

static void offsets_depend_on_the_order_alone(void **state)
{
	struct arena one = fresh_arena(memory, sizeof(memory));
	struct arena two = fresh_arena(other, sizeof(other));

	(void)state;
	for (size_t i = 0; i < 20; i++) {
		uint8_t *a = arena_carve(&one, 37 * i, (size_t)1 << i % 13);
		uint8_t *b = arena_carve(&two, 37 * i, (size_t)1 << i % 13);

		assert_non_null(a);
		assert_int_equal(a - memory, b - other);
	}
}

static bool object_in_use(void *context, const void *object)
{
	(void)context;
	return *(const uint64_t *)object != 0;
}

/* The bytes are copied elsewhere, as another process would map them. */
static void a_copy_elsewhere_carries_on(void **state)
{
	struct arena one = fresh_arena(memory, sizeof(memory)), two;
	struct pool pool, successor;

	(void)state;
	pool_init(&pool, arena_carve(&one, pool_bytes(100, 64), CACHE_LINE), 100, 64);
	for (uint64_t i = 0; i < 50; i++)
		*(uint64_t *)pool_at(&pool, pool_take(&pool)) = i % 2 ? i : 0;
	memcpy(other, memory, sizeof(memory));
	two = (struct arena){.base = other, .bytes = sizeof(other), .used = sizeof(struct arena_header)};
	assert_memory_equal(&arena_header(&two)->secrets, &secrets, sizeof(secrets));
	pool_init(&successor, arena_carve(&two, pool_bytes(100, 64), CACHE_LINE), 100, 64);
	pool_rebuild(&successor, 50, object_in_use, NULL);
	assert_int_equal(pool_live(&successor), 25);
	for (uint64_t i = 1; i < 50; i += 2)
		assert_int_equal(*(uint64_t *)pool_at(&successor, (uint32_t)i), i);
	for (unsigned i = 0; i < 25; i++)
		assert_int_equal(*(uint64_t *)pool_at(&successor, pool_take(&successor)), 0);
	assert_int_equal(pool_take(&successor), 50);
}

/* Published values of 64-bit FNV-1a. */
static void the_hash_is_fnv_1a(void **state)
{
	(void)state;
	assert_true(arena_hash(ARENA_HASH_START, "", 0) == ARENA_HASH_START);
	assert_true(arena_hash(ARENA_HASH_START, "a", 1) == 0xaf63dc4c8601ec8cULL);
	assert_true(arena_hash(ARENA_HASH_START, "foobar", 6) == 0x85944171f73967e8ULL);
	assert_true(arena_hash(arena_hash(ARENA_HASH_START, "foo", 3), "bar", 3) == 0x85944171f73967e8ULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_header_says_what_a_successor_needs),
		cmocka_unit_test(parts_are_aligned_and_apart),
		cmocka_unit_test(what_does_not_fit_is_refused_and_takes_nothing),
		cmocka_unit_test(alignment_beyond_the_end_is_refused),
		cmocka_unit_test(offsets_depend_on_the_order_alone),
		cmocka_unit_test(a_copy_elsewhere_carries_on),
		cmocka_unit_test(the_hash_is_fnv_1a),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
