/* test_counters.c - each counter has a name and a sentence, and is added up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "obs/counters.h"

static void every_drop_reason_has_a_name_and_a_sentence(void **state)
{
	(void)state;
	for (unsigned i = 0; i < DROP_COUNT; i++) {
		assert_non_null(drop_reason_name(i));
		assert_true(strlen(drop_reason_text(i)) > 5);
		for (unsigned j = 0; j < i; j++) {
			assert_string_not_equal(drop_reason_name(i), drop_reason_name(j));
			assert_string_not_equal(drop_reason_text(i), drop_reason_text(j));
		}
	}
	assert_null(drop_reason_name(DROP_COUNT));
	assert_null(drop_reason_text(DROP_COUNT));
	assert_string_equal(drop_reason_name(DROP_PORT_FRAME), "PORT_FRAME"); /* the last one */
}

static void event_counters_stand_where_their_names_do(void **state)
{
	struct counters counters = {.rx_packets = 1, .tcp_closed = 2, .stack_tx_stalls = 3};
	uint64_t sum = 0;

	(void)state;
	for (unsigned i = 0; i < EVENT_COUNTER_COUNT; i++) {
		uint64_t value = event_counter_get(&counters, i);

		assert_true(strlen(event_counter_text(i)) > 5);
		assert_int_equal(strcmp(event_counter_name(i), "rx_packets") == 0, value == 1);
		assert_int_equal(strcmp(event_counter_name(i), "tcp_closed") == 0, value == 2);
		assert_int_equal(strcmp(event_counter_name(i), "stack_tx_stalls") == 0, value == 3);
		sum += value;
	}
	assert_int_equal(sum, 6);
	assert_null(event_counter_name(EVENT_COUNTER_COUNT));
	assert_null(event_counter_text(EVENT_COUNTER_COUNT));
	assert_int_equal(event_counter_get(&counters, EVENT_COUNTER_COUNT), 0);
}

static void all_are_added(void **state)
{
	struct counters sum, part;
	uint64_t *numbers = (uint64_t *)&part;

	(void)state;
	for (unsigned i = 0; i < sizeof(part) / sizeof(*numbers); i++)
		numbers[i] = (uint64_t)i << 32 | (i + 1);
	memset(&sum, 0, sizeof(sum));
	counters_add(&sum, &part);
	assert_memory_equal(&sum, &part, sizeof(sum));
	counters_add(&sum, &part);
	assert_int_equal(sum.drops[DROP_PORT_FRAME], 2 * part.drops[DROP_PORT_FRAME]);
	assert_int_equal(sum.stack_tx_stalls, 2 * part.stack_tx_stalls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_drop_reason_has_a_name_and_a_sentence),
		cmocka_unit_test(event_counters_stand_where_their_names_do),
		cmocka_unit_test(all_are_added),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
