/* test_chunk.c - data chunks: which class serves, what it is charged, what an empty class does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mem/chunk.h"

static const struct chunk_config config = {.count = {4, 3, 2}};

struct fixture {
	struct chunk_pool chunks;
	void *memory;
};

static int setup(void **state)
{
	struct fixture *fixture = malloc(sizeof(*fixture));

	assert_non_null(fixture);
	fixture->memory = aligned_alloc(CACHE_LINE, chunk_pool_bytes(&config));
	assert_non_null(fixture->memory);
	memset(fixture->memory, 0xa5, chunk_pool_bytes(&config));
	chunk_pool_init(&fixture->chunks, fixture->memory, &config);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	free(fixture->memory);
	free(fixture);
	return 0;
}

static uint32_t charge(uint32_t id)
{
	return chunk_class_bytes[chunk_class(id)];
}

static void the_smallest_class_that_fits_serves(void **state)
{
	static const struct {
		uint32_t bytes, whole;
	} cases[] = {{0, 128},   {1, 128},    {112, 128},   {113, 512},
		     {496, 512}, {497, 2048}, {2032, 2048}, {65536, 2048}};
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
		uint32_t id = chunk_take(&fixture->chunks, cases[i].bytes);

		assert_int_not_equal(id, CHUNK_NONE);
		assert_int_equal(charge(id), cases[i].whole);
		assert_int_equal(chunk_capacity(id), cases[i].whole - 16);
		assert_int_equal(fixture->chunks.bytes_live, cases[i].whole);
		chunk_give(&fixture->chunks, id);
		assert_int_equal(fixture->chunks.bytes_live, 0);
	}
}

static void a_taken_chunk_is_empty(void **state)
{
	struct fixture *fixture = *state;
	uint32_t id = chunk_take(&fixture->chunks, 100);
	struct chunk *chunk = chunk_at(&fixture->chunks, id);

	memset(chunk, 0xff, charge(id));
	chunk_give(&fixture->chunks, id);
	assert_int_equal(chunk_take(&fixture->chunks, 100), id);
	assert_int_equal(chunk->next, CHUNK_NONE);
	assert_int_equal(chunk->start, 0);
	assert_int_equal(chunk->bytes, 0);
}

static void an_empty_class_falls_back_to_larger_then_smaller(void **state)
{
	static const uint32_t wanted[] = {512, 512, 512, 2048, 2048, 128, 128, 128, 128};
	struct fixture *fixture = *state;
	uint64_t live = 0;

	for (unsigned i = 0; i < ARRAY_COUNT(wanted); i++) {
		uint32_t id = chunk_take(&fixture->chunks, 200);

		assert_int_not_equal(id, CHUNK_NONE);
		assert_int_equal(charge(id), wanted[i]);
		live += wanted[i];
		assert_int_equal(fixture->chunks.bytes_live, live);
	}
	assert_int_equal(chunk_take(&fixture->chunks, 200), CHUNK_NONE);
	assert_int_equal(fixture->chunks.bytes_live, live);
	/* 7 takes found the middle class empty, 5 the large one, 1 the small one. */
	assert_int_equal(fixture->chunks.classes[1].exhausted, 7);
	assert_int_equal(fixture->chunks.classes[2].exhausted, 5);
	assert_int_equal(fixture->chunks.classes[0].exhausted, 1);
}

static void smaller_classes_are_tried_from_the_next_one_down(void **state)
{
	static const uint32_t wanted[] = {2048, 2048, 512, 512, 512, 128};
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < ARRAY_COUNT(wanted); i++)
		assert_int_equal(charge(chunk_take(&fixture->chunks, 2000)), wanted[i]);
}

static void chunks_do_not_overlap(void **state)
{
	struct fixture *fixture = *state;
	uint32_t ids[9], count = 0, id;

	while ((id = chunk_take(&fixture->chunks, 1)) != CHUNK_NONE) {
		assert_true(count < ARRAY_COUNT(ids));
		memset(chunk_at(&fixture->chunks, id)->data, (int)count, chunk_capacity(id));
		ids[count++] = id;
	}
	assert_int_equal(count, 9);
	for (uint32_t i = 0; i < count; i++) {
		const struct chunk *chunk = chunk_at(&fixture->chunks, ids[i]);

		assert_int_equal(chunk->next, CHUNK_NONE);
		for (uint32_t byte = 0; byte < chunk_capacity(ids[i]); byte++)
			assert_int_equal(chunk->data[byte], i);
	}
}

static void a_chain_goes_back_whole(void **state)
{
	struct fixture *fixture = *state;
	uint32_t first = CHUNK_NONE;

	chunk_give_chain(&fixture->chunks, CHUNK_NONE);
	for (unsigned i = 0; i < 9; i++) {
		uint32_t id = chunk_take(&fixture->chunks, 2000);

		chunk_at(&fixture->chunks, id)->next = first;
		first = id;
	}
	assert_int_equal(fixture->chunks.bytes_live, 4 * 128 + 3 * 512 + 2 * 2048);
	chunk_give_chain(&fixture->chunks, first);
	assert_int_equal(fixture->chunks.bytes_live, 0);
	for (unsigned class = 0; class < CHUNK_CLASSES; class ++)
		assert_int_equal(pool_live(&fixture->chunks.classes[class]), 0);
}

/* Two chains are owned; what stood on the free stacks and in the count is forgotten. */
static void free_stacks_are_rebuilt_from_chains(void **state)
{
	struct fixture *fixture = *state;
	struct chunk_pool *chunks = &fixture->chunks;
	uint32_t ids[6], again;

	for (unsigned i = 0; i < 6; i++)
		ids[i] = chunk_take(chunks, i < 4 ? 100 : 400); /* all 4 small ones, 2 of 3 middle ones */
	chunk_at(chunks, ids[1])->next = ids[5];
	chunk_give(chunks, ids[0]);
	chunk_give(chunks, ids[2]);
	chunk_give(chunks, ids[4]);
	for (unsigned i = 0; i < CHUNK_CLASSES; i++) {
		memset(chunks->classes[i].free_stack, 0xee, config.count[i] * sizeof(uint32_t));
		chunks->classes[i].free_count = 77;
	}
	chunks->bytes_live = 77;
	for (unsigned times = 0; times < 2; times++) { /* marks do not last */
		chunk_marks_clear(chunks);
		chunk_mark_chain(chunks, ids[1]);
		chunk_mark_chain(chunks, ids[3]);
		chunk_mark_chain(chunks, CHUNK_NONE);
		chunk_pool_rebuild(chunks);
		assert_int_equal(chunks->bytes_live, 128 + 512 + 128);
		assert_int_equal(pool_live(&chunks->classes[0]), 2);
		assert_int_equal(pool_live(&chunks->classes[1]), 1);
		assert_int_equal(pool_live(&chunks->classes[2]), 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		again = chunk_take(chunks, 100);
		assert_true(again == ids[0] || again == ids[2]);
	}
	assert_int_equal(chunk_take(chunks, 400), ids[4]);
	chunk_give_chain(chunks, ids[1]);
	chunk_give_chain(chunks, ids[3]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_smallest_class_that_fits_serves, setup, teardown),
		cmocka_unit_test_setup_teardown(a_taken_chunk_is_empty, setup, teardown),
		cmocka_unit_test_setup_teardown(an_empty_class_falls_back_to_larger_then_smaller, setup,
						teardown),
		cmocka_unit_test_setup_teardown(smaller_classes_are_tried_from_the_next_one_down, setup,
						teardown),
		cmocka_unit_test_setup_teardown(chunks_do_not_overlap, setup, teardown),
		cmocka_unit_test_setup_teardown(a_chain_goes_back_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(free_stacks_are_rebuilt_from_chains, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
