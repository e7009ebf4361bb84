/* test_message.c - shared messages: which class serves, who keeps one alive, what an empty pool does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mem/message.h"

static const struct message_config config = {.count = {3, 2, 1, 1}};

struct fixture {
	struct message_pool messages;
	void *memory;
};

static int setup(void **state)
{
	struct fixture *fixture = malloc(sizeof(*fixture));

	assert_non_null(fixture);
	fixture->memory = aligned_alloc(CACHE_LINE, message_pool_bytes(&config));
	assert_non_null(fixture->memory);
	memset(fixture->memory, 0xa5, message_pool_bytes(&config));
	message_pool_init(&fixture->messages, fixture->memory, &config);
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

static uint32_t make(struct fixture *fixture, uint32_t bytes)
{
	static uint8_t data[65536];

	for (uint32_t i = 0; i < bytes && i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + bytes);
	return message_make(&fixture->messages, data, bytes);
}

static void the_smallest_class_that_fits_serves(void **state)
{
	static const struct {
		uint32_t bytes, class;
	} cases[] = {{1, 0}, {96, 0}, {97, 1}, {992, 1}, {993, 2}, {8160, 2}, {8161, 3}, {65504, 3}};
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
		uint32_t id = make(fixture, cases[i].bytes);
		const struct message *message;

		assert_int_not_equal(id, MESSAGE_NONE);
		assert_int_equal(id >> MESSAGE_INDEX_BITS, cases[i].class);
		message = message_at(&fixture->messages, id);
		assert_int_equal(message->bytes, cases[i].bytes);
		assert_int_equal(message->data[cases[i].bytes - 1],
				 (uint8_t)((cases[i].bytes - 1) * 7 + cases[i].bytes));
		assert_int_equal(message_live(&fixture->messages), 1);
		message_release(&fixture->messages, id);
		assert_int_equal(message_live(&fixture->messages), 0);
	}
}

static void what_does_not_fit_is_refused(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(make(fixture, 0), MESSAGE_NONE);
	assert_int_equal(make(fixture, 65505), MESSAGE_NONE);
	assert_int_not_equal(make(fixture, 60000), MESSAGE_NONE);
	assert_int_equal(make(fixture, 60000), MESSAGE_NONE);
}

static void an_empty_class_is_helped_by_larger_ones(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < 3 + 2 + 1 + 1; i++)
		assert_int_not_equal(make(fixture, 10), MESSAGE_NONE);
	assert_int_equal(make(fixture, 10), MESSAGE_NONE);
	assert_int_equal(message_live(&fixture->messages), 7);
}

static void holds_and_references_keep_it(void **state)
{
	struct fixture *fixture = *state;
	struct message_pool *messages = &fixture->messages;
	uint32_t id = make(fixture, 10), generation = message_at(messages, id)->generation;

	message_refer(messages, id);
	message_refer(messages, id);
	message_hold(messages, id);
	message_release(messages, id);
	message_release(messages, id);
	assert_int_equal(message_find(messages, id, generation), id);
	message_unrefer(messages, id, true);
	assert_int_equal(message_live(messages), 1);
	assert_int_equal(message_at(messages, id)->acknowledged, 1);
	message_unrefer(messages, id, false);
	assert_int_equal(message_live(messages), 0);
	assert_int_equal(message_find(messages, id, generation), MESSAGE_NONE);
}

static void a_stale_name_is_recognised(void **state)
{
	struct fixture *fixture = *state;
	struct message_pool *messages = &fixture->messages;
	uint32_t id = make(fixture, 10), generation = message_at(messages, id)->generation;

	message_release(messages, id);
	assert_int_equal(make(fixture, 10), id); /* the same place */
	assert_int_equal(message_find(messages, id, generation), MESSAGE_NONE);
	assert_int_equal(message_find(messages, id, message_at(messages, id)->generation), id);
	assert_int_equal(message_find(messages, id + 1, generation), MESSAGE_NONE); /* never taken */
	assert_int_equal(message_find(messages, 3u << MESSAGE_INDEX_BITS, 1), MESSAGE_NONE);
	assert_int_equal(message_find(messages, UINT32_MAX, UINT32_MAX), MESSAGE_NONE);
}

static void rebuild_finds_what_is_free(void **state)
{
	struct fixture *fixture = *state;
	struct message_pool *messages = &fixture->messages;
	uint32_t held = make(fixture, 10), referred = make(fixture, 10), forgotten = make(fixture, 10);

	message_refer(messages, referred);
	message_release(messages, referred);
	message_refer(messages, forgotten);
	message_release(messages, forgotten);
	message_rebuild_begin(messages);
	message_refer(messages, referred); /* the only one that a queue still names */
	message_rebuild_end(messages);
	assert_int_equal(message_live(messages), 2);
	assert_int_equal(message_at(messages, held)->holds, 1);
	assert_int_equal(make(fixture, 10), forgotten);
	message_unrefer(messages, referred, true);
	message_release(messages, held);
	assert_int_equal(message_live(messages), 1);
}

static void count(void *context, const struct message *message)
{
	*(uint32_t *)context += message->bytes;
}

static void each_live_one_is_visited(void **state)
{
	struct fixture *fixture = *state;
	uint32_t sum = 0, gone = make(fixture, 5);

	make(fixture, 10);
	make(fixture, 2000);
	message_release(&fixture->messages, gone);
	message_each(&fixture->messages, count, &sum);
	assert_int_equal(sum, 2010);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_smallest_class_that_fits_serves),
		TEST(what_does_not_fit_is_refused),
		TEST(an_empty_class_is_helped_by_larger_ones),
		TEST(holds_and_references_keep_it),
		TEST(a_stale_name_is_recognised),
		TEST(rebuild_finds_what_is_free),
		TEST(each_live_one_is_visited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
