/* test_pool.c - a pool of fixed-size objects: full, empty, rebuilt, and lazy. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* In every build: one test is about what these find. */
#undef C10M_SLOW_CHECKS
#define C10M_SLOW_CHECKS 1
#include "mem/pool.h"

#define COUNT  100
#define STRIDE 72

static void *memory_for(uint32_t capacity, uint32_t stride)
{
	void *memory = aligned_alloc(CACHE_LINE, pool_bytes(capacity, stride));

	assert_non_null(memory);
	memset(memory, 0xa5, pool_bytes(capacity, stride));
	return memory;
}

static void sizes_hold_objects_and_stack(void **state)
{
	(void)state;
	assert_int_equal(pool_bytes(COUNT, STRIDE), ALIGN_UP(COUNT * STRIDE, 64) + ALIGN_UP(COUNT * 4, 64));
	/* More than 4 GB: the product must not be cut to 32 bits. */
	assert_true(pool_bytes(50000000, 256) >= (size_t)50000000 * 260);
	assert_int_equal(pool_bytes(0, 8), 0);
}

static void exhaustion_is_answered_and_counted(void **state)
{
	uint8_t *memory = memory_for(COUNT, STRIDE);
	bool seen[COUNT] = {false};
	struct pool pool;

	(void)state;
	pool_init(&pool, memory, COUNT, STRIDE);
	for (unsigned i = 0; i < COUNT; i++) {
		uint32_t index = pool_take(&pool);

		assert_true(index < COUNT);
		assert_false(seen[index]);
		seen[index] = true;
		assert_ptr_equal(pool_at(&pool, index), memory + (size_t)index * STRIDE);
	}
	assert_int_equal(pool_room(&pool), 0);
	assert_int_equal(pool.exhausted, 0);
	assert_int_equal(pool_take(&pool), POOL_NONE);
	assert_int_equal(pool_take(&pool), POOL_NONE);
	assert_int_equal(pool.exhausted, 2);
	pool_give(&pool, 17);
	assert_int_equal(pool_room(&pool), 1);
	assert_int_equal(pool_take(&pool), 17);
	assert_int_equal(pool_live(&pool), COUNT);
	free(memory);
}

static void an_empty_capacity_is_always_exhausted(void **state)
{
	_Alignas(CACHE_LINE) uint8_t memory[CACHE_LINE];
	struct pool pool;

	(void)state;
	pool_init(&pool, memory, 0, 8);
	assert_int_equal(pool_take(&pool), POOL_NONE);
	assert_int_equal(pool.exhausted, 1);
}

static void objects_and_stack_do_not_overlap(void **state)
{
	uint8_t *memory = memory_for(COUNT, STRIDE);
	struct pool pool;

	(void)state;
	pool_init(&pool, memory, COUNT, STRIDE);
	for (unsigned i = 0; i < COUNT; i++)
		memset(pool_at(&pool, pool_take(&pool)), (int)i, STRIDE);
	for (uint32_t i = 0; i < COUNT; i++)
		pool_give(&pool, i);
	for (uint32_t i = 0; i < COUNT; i++) {
		const uint8_t *object = pool_at(&pool, i);

		for (unsigned byte = 0; byte < STRIDE; byte++)
			assert_int_equal(object[byte], i);
	}
	assert_true((uint8_t *)(pool.free_stack + COUNT) <= memory + pool_bytes(COUNT, STRIDE));
	free(memory);
}

static void init_and_take_leave_objects_untouched(void **state)
{
	uint8_t *memory = memory_for(COUNT, STRIDE);
	struct pool pool;

	(void)state;
	pool_init(&pool, memory, COUNT, STRIDE);
	while (pool_take(&pool) != POOL_NONE)
		;
	for (size_t i = 0; i < pool_bytes(COUNT, STRIDE); i++)
		assert_int_equal(memory[i], 0xa5);
	free(memory);
}

static size_t resident_pages(void *memory, size_t bytes)
{
	size_t pages = bytes / (size_t)sysconf(_SC_PAGESIZE), resident = 0;
	unsigned char *map = malloc(pages);

	assert_non_null(map);
	assert_int_equal(mincore(memory, bytes, map), 0);
	for (size_t i = 0; i < pages; i++)
		resident += map[i] & 1;
	free(map);
	return resident;
}

static void ten_million_blocks_start_without_a_touch(void **state)
{
	size_t bytes = ALIGN_UP(pool_bytes(10000000, 256), (size_t)65536);
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			    -1, 0);
	struct pool pool;

	(void)state;
	assert_ptr_not_equal(memory, MAP_FAILED);
	pool_init(&pool, memory, 10000000, 256);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(pool_take(&pool), i);
	assert_int_equal(resident_pages(memory, bytes), 0);
	/* The check above can fail: one object written is one page. */
	memset(pool_at(&pool, 999), 1, 256);
	assert_true(resident_pages(memory, bytes) > 0);
	munmap(memory, bytes);
}

/* An object says in its first byte whether it is in use. */
static bool first_byte_set(void *context, const void *object)
{
	++*(unsigned *)context;
	return *(const uint8_t *)object != 0;
}

static void the_free_stack_is_rebuilt_from_objects(void **state)
{
	uint8_t *memory = memory_for(COUNT, STRIDE);
	bool taken[COUNT] = {false};
	unsigned calls = 0;
	struct pool pool;

	(void)state;
	pool_init(&pool, memory, COUNT, STRIDE);
	for (uint32_t i = 0; i < 60; i++)
		*(uint8_t *)pool_at(&pool, pool_take(&pool)) = i % 3 == 0;
	/* A successor knows the memory and `fresh` only. */
	pool_init(&pool, memory, COUNT, STRIDE);
	pool_rebuild(&pool, 60, first_byte_set, &calls);
	assert_int_equal(calls, 60);
	assert_int_equal(pool_live(&pool), 20);
	assert_int_equal(pool_room(&pool), COUNT - 20);
	for (unsigned i = 0; i < COUNT - 20; i++) {
		uint32_t index = pool_take(&pool);

		assert_true(index < COUNT);
		assert_true(index >= 60 || index % 3 != 0);
		assert_false(taken[index]);
		taken[index] = true;
	}
	assert_int_equal(pool_take(&pool), POOL_NONE);
	free(memory);
}

/* Whether the end is an abort. */
static bool giving_aborts(struct pool *pool, uint32_t index)
{
	const struct rlimit no_dump = {0, 0};
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		setrlimit(RLIMIT_CORE, &no_dump);
		signal(SIGABRT, SIG_DFL);
		close(STDERR_FILENO); /* what it has to say is expected */
		pool_give(pool, index);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void giving_what_was_not_taken_is_found(void **state)
{
	uint8_t *memory = memory_for(COUNT, STRIDE);
	struct pool pool;

	(void)state;
	pool_init(&pool, memory, COUNT, STRIDE);
	for (unsigned i = 0; i < 60; i++)
		pool_take(&pool);
	assert_true(giving_aborts(&pool, 60)); /* never taken */
	assert_true(giving_aborts(&pool, COUNT));
	assert_false(giving_aborts(&pool, 7));
	pool_give(&pool, 7);
	assert_true(giving_aborts(&pool, 7)); /* twice */
	for (uint32_t i = 20; i < 50; i++)
		pool_give(&pool, i);
	assert_true(giving_aborts(&pool, 7));
	assert_false(giving_aborts(&pool, 8));
	free(memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_hold_objects_and_stack),
		cmocka_unit_test(exhaustion_is_answered_and_counted),
		cmocka_unit_test(an_empty_capacity_is_always_exhausted),
		cmocka_unit_test(objects_and_stack_do_not_overlap),
		cmocka_unit_test(init_and_take_leave_objects_untouched),
		cmocka_unit_test(ten_million_blocks_start_without_a_touch),
		cmocka_unit_test(the_free_stack_is_rebuilt_from_objects),
		cmocka_unit_test(giving_what_was_not_taken_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
