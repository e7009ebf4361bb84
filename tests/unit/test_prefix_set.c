/* test_prefix_set.c - lists of prefixes, against a model that looks at every prefix. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "net/prefix_set.h"

struct rule {
	uint32_t address;
	uint8_t bits;
	bool allow;
};

struct list {
	struct rule *rules;
	uint32_t count;
	bool others_allowed;
};

static uint32_t mask_of(uint32_t bits)
{
	return bits ? UINT32_MAX << (32 - bits) : 0;
}

/* The longest that holds the address; of two alike the denying one. */
static bool model_allows(const struct list *list, uint32_t address)
{
	bool allowed = list->others_allowed;
	int longest = -1;

	for (uint32_t i = 0; i < list->count; i++) {
		const struct rule *rule = &list->rules[i];

		if (((rule->address ^ address) & mask_of(rule->bits)) != 0 || rule->bits < longest)
			continue;
		allowed = rule->bits == longest ? allowed && rule->allow : rule->allow;
		longest = rule->bits;
	}
	return allowed;
}

static void *memory_for(uint32_t rules)
{
	size_t bytes = ALIGN_UP(prefix_set_bytes(rules), (size_t)CACHE_LINE);
	void *memory = aligned_alloc(CACHE_LINE, bytes);

	assert_non_null(memory);
	memset(memory, 0xa5, bytes);
	return memory;
}

static void build(struct prefix_set *set, const struct list *list)
{
	uint64_t *rules = calloc(list->count + 1, sizeof(*rules));

	assert_non_null(rules);
	for (uint32_t i = 0; i < list->count; i++)
		rules[i] = prefix_rule(list->rules[i].address, list->rules[i].bits, list->rules[i].allow);
	prefix_set_build(set, rules, list->count, list->others_allowed);
	free(rules);
}

static void compare(const struct prefix_set *set, const struct list *list, uint32_t address)
{
	if (prefix_set_allows(set, address) != model_allows(list, address))
		fail_msg("%08x: %d expected, %u rules", address, model_allows(list, address), list->count);
}

/* Where an answer may change: at both ends of each prefix and beside them. */
static void compare_edges(const struct prefix_set *set, const struct list *list)
{
	for (uint32_t i = 0; i < list->count; i++) {
		uint32_t first = list->rules[i].address, last = first | ~mask_of(list->rules[i].bits);

		compare(set, list, first);
		compare(set, list, first - 1);
		compare(set, list, last);
		compare(set, list, last + 1);
	}
	compare(set, list, 0);
	compare(set, list, UINT32_MAX);
	compare(set, list, UINT32_MAX - 1);
}

static void draw_rules(struct random *random, struct list *list, uint32_t spread)
{
	for (uint32_t i = 0; i < list->count; i++) {
		uint32_t bits = random_below(random, 33);
		uint32_t address = (uint32_t)random_next(random);

		/* A small spread puts many prefixes inside each other, and the same ones twice. */
		if (spread)
			address = (address & spread) |
				  (random_chance(random, 1, 4) ? 0xffffff00u : 0x0a000000u);
		list->rules[i] = (struct rule){address & mask_of(bits), (uint8_t)bits,
					       random_below(random, 2)};
	}
	list->others_allowed = random_below(random, 2);
}

static void agrees_with_the_model(void **state)
{
	static const uint32_t spreads[] = {0, 0xff, 0x3, 0x00ffff00};
	struct random random = random_seeded(7);

	(void)state;
	for (unsigned round = 0; round < 400; round++) {
		uint32_t most = random_below(&random, round % 8 ? 40 : 700);
		void *memory = memory_for(most);
		struct list list = {.rules = calloc(most + 1, sizeof(struct rule))};
		struct prefix_set set;

		prefix_set_init(&set, memory, most);
		for (unsigned again = 0; again < 3; again++) { /* in the same memory */
			list.count = random_below(&random, most + 1);
			draw_rules(&random, &list, spreads[round % 4]);
			build(&set, &list);
			compare_edges(&set, &list);
			for (unsigned i = 0; i < 200; i++)
				compare(&set, &list, (uint32_t)random_next(&random));
		}
		free(list.rules);
		free(memory);
	}
}

static void nobody_and_everybody(void **state)
{
	void *memory = memory_for(0);
	struct prefix_set set;

	(void)state;
	prefix_set_init(&set, memory, 0);
	assert_true(prefix_set_allows(&set, 0));
	assert_true(prefix_set_allows(&set, UINT32_MAX));
	prefix_set_build(&set, NULL, 0, false);
	assert_false(prefix_set_allows(&set, 0));
	assert_false(prefix_set_allows(&set, 0x0a000001));
	assert_false(prefix_set_allows(&set, UINT32_MAX));
	free(memory);
}

/* Each address in each length, one inside the other, answers alternating. */
static void the_deepest_nesting(void **state)
{
	void *memory = memory_for(2 * 33);
	struct rule rules[2 * 33];
	struct list list = {rules, 0, true};
	struct prefix_set set;

	(void)state;
	for (uint8_t bits = 0; bits <= 32; bits++) {
		rules[list.count++] = (struct rule){0xffffffffu & mask_of(bits), bits, bits & 1};
		rules[list.count++] = (struct rule){0xffffffffu & mask_of(bits), bits, true};
	}
	prefix_set_init(&set, memory, list.count);
	build(&set, &list);
	compare_edges(&set, &list);
	assert_false(prefix_set_allows(&set, UINT32_MAX)); /* 32 bits: both lists have it */
	assert_true(prefix_set_allows(&set, UINT32_MAX - 1));
	free(memory);
}

/* As many ranges as fit: every second address of a stretch. */
static void a_full_set(void **state)
{
	enum { COUNT = 20000 };
	void *memory = memory_for(COUNT);
	struct list list = {calloc(COUNT, sizeof(struct rule)), COUNT, true};
	struct prefix_set set;

	(void)state;
	for (uint32_t i = 0; i < COUNT; i++)
		list.rules[COUNT - 1 - i] = (struct rule){0x0a000001u + 2 * i, 32, false};
	prefix_set_init(&set, memory, COUNT);
	build(&set, &list);
	assert_int_equal(set.count, PREFIX_RANGES(COUNT));
	assert_int_equal(set.level_count, 4);
	for (uint32_t i = 0; i < 2 * COUNT + 2; i++)
		assert_int_equal(prefix_set_allows(&set, 0x0a000000u + i), i % 2 == 0 || i > 2 * COUNT);
	free(list.rules);
	free(memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_and_everybody),
		cmocka_unit_test(agrees_with_the_model),
		cmocka_unit_test(the_deepest_nesting),
		cmocka_unit_test(a_full_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
