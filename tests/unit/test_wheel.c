/* test_wheel.c - every entry comes out once, never early, and late only as promised,
 * next to the wrap of ticks, over jumps, in a full wheel and with ten million entries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "base/ticks.h"
#include "timer/wheel.h"

#define BEFORE_WRAP (UINT32_MAX - 3000u)
#define DUE_MAX     512

/* The naive model: what is filed, and when it was. */
struct model {
	struct wheel *wheel;
	uint32_t count, now_tick;
	struct model_entry {
		uint32_t tick, distance;
		bool filed;
	} * entries;
	uint32_t live, late_count;
	uint32_t lateness_divisor; /* an entry may be its distance over this late; 0: not at all */
};

static struct wheel *wheel_made(uint32_t entries, uint32_t now_tick)
{
	void *memory = aligned_alloc(CACHE_LINE, wheel_bytes(entries));

	assert_non_null(memory);
	memset(memory, 0xa5, wheel_bytes(entries));
	return wheel_init(memory, entries, now_tick);
}

static struct model model_made(uint32_t count, uint32_t now_tick)
{
	struct model model = {
		.wheel = wheel_made(count, now_tick),
		.count = count,
		.now_tick = now_tick,
		.entries = calloc(count, sizeof(*model.entries)),
	};

	return model;
}

static void model_freed(struct model *model)
{
	free(model->wheel);
	free(model->entries);
}

static void model_file(struct model *model, uint32_t index, uint32_t distance)
{
	assert_false(model->entries[index].filed);
	assert_true(wheel_file(model->wheel, index, model->now_tick + distance));
	model->entries[index] = (struct model_entry){model->now_tick + distance, distance, true};
	model->live++;
}

static void model_check_due(struct model *model, const struct wheel_entry *due)
{
	struct model_entry *entry;
	uint32_t late;

	assert_true(due->index < model->count);
	entry = &model->entries[due->index];
	assert_true(entry->filed);
	assert_int_equal(entry->tick, due->tick);
	if (!tick_reached(entry->tick, model->now_tick))
		fail_msg("entry %u came %u ticks early", due->index, entry->tick - model->now_tick);
	late = model->now_tick - entry->tick;
	model->late_count += late > 0;
	if (late > (model->lateness_divisor ? entry->distance / model->lateness_divisor : 0))
		fail_msg("entry %u of distance %u came %u ticks late", due->index, entry->distance, late);
	entry->filed = false;
	model->live--;
}

static uint32_t model_expire(struct model *model, uint32_t max)
{
	struct wheel_entry due[DUE_MAX];
	uint32_t count = wheel_expire(model->wheel, model->now_tick, due, max);

	assert_true(count <= max);
	for (uint32_t i = 0; i < count; i++)
		model_check_due(model, &due[i]);
	assert_int_equal(wheel_live(model->wheel), model->live);
	return count;
}

/* Until nothing more is to be done at this tick. */
static void model_settle(struct model *model)
{
	uint32_t next;

	do
		while (model_expire(model, DUE_MAX) == DUE_MAX)
			;
	while (wheel_next(model->wheel, &next) && next == model->now_tick);
}

/* wheel_next says a tick at or before the earliest entry's, and never lies in the past. */
static void model_check_next(const struct model *model)
{
	uint32_t next = 0, earliest = UINT32_MAX;

	assert_int_equal(wheel_next(model->wheel, &next), model->live > 0);
	if (!model->live)
		return;
	for (uint32_t i = 0; i < model->count; i++)
		if (model->entries[i].filed)
			earliest = MIN_OF(earliest, model->entries[i].tick - model->now_tick);
	assert_true(next - model->now_tick <= earliest);
}

/* All magnitudes alike, up to the farthest. */
static uint32_t any_distance(struct random *random)
{
	return random_below(random, 1u << random_below(random, 32));
}

static void an_empty_wheel_sleeps(void **state)
{
	struct model model = model_made(10, BEFORE_WRAP);
	uint32_t next;

	(void)state;
	assert_false(wheel_next(model.wheel, &next));
	assert_int_equal(model_expire(&model, DUE_MAX), 0);
	assert_int_equal(wheel_live_bytes(model.wheel), 0);
	/* However long: 40 days cannot be told from -9 days, but nothing is there to be late. */
	model.now_tick += 40u * 24 * 3600 * TICKS_PER_SECOND;
	assert_int_equal(model_expire(&model, DUE_MAX), 0);
	model_file(&model, 3, 100);
	model.now_tick += 99;
	assert_int_equal(model_expire(&model, DUE_MAX), 0);
	assert_true(wheel_next(model.wheel, &next));
	assert_int_equal(next, model.now_tick + 1);
	model.now_tick++;
	assert_int_equal(model_expire(&model, DUE_MAX), 1);
	assert_int_equal(wheel_live_bytes(model.wheel), 0);
	model_freed(&model);
}

/* Each single distance around the edges of slots and levels, from each phase. */
static void edges_of_levels_are_exact(void **state)
{
	struct random random = random_seeded(3);

	(void)state;
	for (uint32_t round = 0; round < 20000; round++) {
		uint32_t edge = 1u << random_below(&random, 31);
		uint32_t distance = edge + random_below(&random, 5) - 2, next;
		uint32_t start = (uint32_t)random_next(&random) & ~(round % 2 ? edge - 1 : 0);
		struct model model = model_made(1, start - random_below(&random, 3));

		if ((int32_t)distance < 0)
			distance = 0;
		model_file(&model, 0, distance);
		for (uint32_t wakeups = 0; model.live; wakeups++) {
			assert_true(wheel_next(model.wheel, &next));
			assert_true(next - model.now_tick <= distance);
			assert_true(wakeups <= 2 * WHEEL_LEVELS);
			model.now_tick = next;
			model_expire(&model, DUE_MAX);
		}
		model_freed(&model);
	}
}

static void the_past_fires_at_once(void **state)
{
	struct model model = model_made(10, 5);
	struct wheel_entry due[10];
	uint32_t next;

	(void)state;
	assert_true(wheel_file(model.wheel, 1, 5));
	assert_true(wheel_file(model.wheel, 2, 4));
	assert_true(wheel_file(model.wheel, 3, UINT32_MAX));
	assert_true(wheel_file(model.wheel, 4, 5 + (1u << 31) + 1));
	assert_true(wheel_file(model.wheel, 5, 5 + (1u << 31)));
	assert_true(wheel_next(model.wheel, &next));
	assert_int_equal(next, 5);
	assert_int_equal(wheel_expire(model.wheel, 5, due, 10), 4);
	assert_int_equal(wheel_live(model.wheel), 1);
	model_freed(&model);
}

/* Sleeps as wheel_next says and settles at each wake-up: nothing is a tick late. */
static void random_entries_on_time(void **state)
{
	enum { ENTRIES = 20000 };
	struct random random = random_seeded(4);
	struct model model = model_made(ENTRIES, BEFORE_WRAP);
	uint32_t next;

	(void)state;
	for (uint32_t i = 0; i < ENTRIES; i++)
		model_file(&model, i, any_distance(&random));
	for (uint32_t round = 0; model.live; round++) {
		model_settle(&model);
		if (round % 64 == 0)
			model_check_next(&model);
		/* A third of the wake-ups files some again, for half of the time. */
		for (uint32_t i = 0; i < 3 && round < 40000; i++) {
			uint32_t index = random_below(&random, 3 * ENTRIES);

			if (index < ENTRIES && !model.entries[index].filed)
				model_file(&model, index, any_distance(&random) >> 4);
		}
		if (wheel_next(model.wheel, &next))
			model.now_tick = next;
	}
	model_freed(&model);
}

/* One call a tick, and more in one coarse slot than a call moves down. */
static void one_call_a_tick_keeps_the_promise(void **state)
{
	enum { ENTRIES = 50000 };
	struct random random = random_seeded(5);
	struct model model = model_made(ENTRIES, BEFORE_WRAP);

	(void)state;
	model.lateness_divisor = 64;
	for (uint32_t i = 0; i < ENTRIES; i++)
		model_file(&model, i,
			   i % 2 ? 17000 + random_below(&random, 1000) : random_below(&random, 100000));
	while (model.live) {
		model.now_tick++;
		model_expire(&model, DUE_MAX);
	}
	assert_true(model.late_count > 0);
	model_freed(&model);
}

/* While 100,000 entries move down, those of the finest level stay exact. */
static void a_cascade_delays_no_one_near(void **state)
{
	enum { CROWD = 100000, NEAR = 2000 };
	struct model model = model_made(CROWD + NEAR, BEFORE_WRAP);
	struct wheel_entry due[DUE_MAX];
	uint32_t crowd_tick, next, busy_ticks = 0;

	(void)state;
	crowd_tick = (model.now_tick + (1u << 21)) & ~((1u << 20) - 1);
	for (uint32_t i = 0; i < CROWD; i++)
		assert_true(wheel_file(model.wheel, NEAR + i, crowd_tick + (1u << 19) + i));
	model.now_tick = crowd_tick - 200;
	assert_int_equal(wheel_expire(model.wheel, model.now_tick, due, DUE_MAX), 0);
	for (uint32_t i = 0; i < NEAR; i++) {
		uint32_t index = i, count;

		assert_true(wheel_file(model.wheel, index, model.now_tick + 1 + i % 3));
		if (i % 3 != 2)
			continue;
		for (uint32_t tick = 0; tick < 3; tick++) {
			model.now_tick++;
			count = wheel_expire(model.wheel, model.now_tick, due, DUE_MAX);
			for (uint32_t j = 0; j < count; j++)
				assert_int_equal(due[j].tick, model.now_tick);
			assert_int_equal(count, 1);
			busy_ticks += wheel_next(model.wheel, &next) && next == model.now_tick;
		}
	}
	assert_true(busy_ticks > CROWD / 512);
	model_freed(&model);
}

/* A pause of hours: all that fell due comes, in calls of bounded size, and nothing else. */
static void a_jump_fires_what_is_due_and_no_more(void **state)
{
	enum { ENTRIES = 60000 };
	const uint32_t hour = 3600 * TICKS_PER_SECOND;
	struct random random = random_seeded(6);
	struct model model = model_made(ENTRIES, BEFORE_WRAP);
	uint32_t calls = 0, next;

	(void)state;
	model.lateness_divisor = 1; /* the pause is ours */
	for (uint32_t i = 0; i < ENTRIES; i++)
		model_file(&model, i, 1 + random_below(&random, 10 * hour));
	model_expire(&model, DUE_MAX);
	model.now_tick += 6 * hour;
	for (uint32_t i = 0; i < ENTRIES; i++)
		if (model.entries[i].filed)
			model.entries[i].distance = UINT32_MAX;
	do {
		model_expire(&model, 64);
		calls++;
	} while (wheel_next(model.wheel, &next) && next == model.now_tick);
	assert_true(calls > model.count / 1000);
	for (uint32_t i = 0; i < ENTRIES; i++)
		assert_int_equal(model.entries[i].filed,
				 !tick_reached(model.entries[i].tick, model.now_tick));
	model.late_count = 0;
	model.lateness_divisor = 0;
	while (wheel_next(model.wheel, &next)) {
		model.now_tick = next;
		model_settle(&model);
	}
	assert_int_equal(model.live, 0);
	assert_int_equal(model.late_count, 0);
	model_freed(&model);
}

/* Small wheels under every kind of treatment: a full one refuses, loses nothing and never
 * lacks a chunk, also when nobody takes what is due. */
static void a_full_wheel_refuses_and_loses_nothing(void **state)
{
	struct random random = random_seeded(7);

	(void)state;
	for (uint32_t round = 0; round < 300; round++) {
		uint32_t entries = 1 + random_below(&random, 3000), reach = 1u << random_below(&random, 31);
		struct model model = model_made(entries, (uint32_t)random_next(&random));

		model.lateness_divisor = 1;
		for (uint32_t step = 0; step < 3000; step++) {
			uint32_t index = random_below(&random, entries), action = random_below(&random, 8);

			for (; action < 4 && index < entries && !model.entries[index].filed; index++) {
				model_file(&model, index, random_below(&random, reach));
				model.entries[index].distance = UINT32_MAX; /* late as we are */
			}
			if (model.live == entries)
				assert_false(wheel_file(model.wheel, 0, model.now_tick + 1));
			if (action == 5)
				model.now_tick += random_below(&random, reach / 256 + 2);
			if (action > 4)
				model_expire(&model, random_below(&random, 3) * random_below(&random, 20));
			assert_true(wheel_live_bytes(model.wheel) <= wheel_bytes(entries));
		}
		for (uint32_t next; wheel_next(model.wheel, &next); model_expire(&model, DUE_MAX))
			model.now_tick = next;
		assert_int_equal(model.live, 0);
		assert_int_equal(wheel_live_bytes(model.wheel), 0);
		model_freed(&model);
	}
}

/* The case that needs the most chunks: one entry a slot, then as many full chunks as fit. */
static void capacity_is_kept_at_the_worst_packing(void **state)
{
	enum { ENTRIES = 63 * 600 };
	struct model model = model_made(ENTRIES, 0);
	uint32_t index = 0;

	(void)state;
	for (uint32_t shift = 0; shift <= 26; shift += shift ? 6 : 8)
		for (uint32_t slot = 1; slot < (shift == 26 ? 32 : shift ? 64 : 256); slot++)
			model_file(&model, index++, (slot << shift) + (shift ? 1u << shift >> 1 : 0));
	for (; index < ENTRIES; index++)
		model_file(&model, index, index % 256);
	assert_false(wheel_file(model.wheel, 0, 1));
	while (model.live) {
		uint32_t next;

		assert_true(wheel_next(model.wheel, &next));
		model.now_tick = next;
		model_settle(&model);
	}
	model_freed(&model);
}

static void clearing_forgets_and_refiling_rebuilds(void **state)
{
	enum { ENTRIES = 5000 };
	struct random random = random_seeded(8);
	struct model model = model_made(ENTRIES, BEFORE_WRAP);
	uint32_t next;

	(void)state;
	for (uint32_t i = 0; i < ENTRIES; i++)
		model_file(&model, i, any_distance(&random));
	model.now_tick += 777; /* entries wait on several levels */
	wheel_expire(model.wheel, model.now_tick, NULL, 0);
	model.now_tick += 1u << 20;
	wheel_clear(model.wheel, model.now_tick);
	assert_int_equal(wheel_live(model.wheel), 0);
	assert_int_equal(wheel_live_bytes(model.wheel), 0);
	assert_false(wheel_next(model.wheel, &next));
	model.live = 0;
	for (uint32_t i = 0; i < ENTRIES; i++) {
		model.entries[i].filed = false;
		model_file(&model, i, any_distance(&random));
	}
	while (wheel_next(model.wheel, &next)) {
		model.now_tick = next;
		model_settle(&model);
	}
	assert_int_equal(model.live, 0);
	model_freed(&model);
}

/* The memory goes on working wherever it is copied to. */
static void a_copy_elsewhere_carries_on(void **state)
{
	enum { ENTRIES = 5000 };
	struct random random = random_seeded(9);
	struct model model = model_made(ENTRIES, BEFORE_WRAP);
	uint32_t next;

	(void)state;
	for (uint32_t i = 0; i < ENTRIES; i++)
		model_file(&model, i, any_distance(&random));
	for (uint32_t round = 0; wheel_next(model.wheel, &next); round++) {
		model.now_tick = next;
		model_settle(&model);
		if (round % 1000 == 500) {
			struct wheel *copy = wheel_made(ENTRIES, 0);

			memcpy(copy, model.wheel, wheel_bytes(ENTRIES));
			memset(model.wheel, 0x5a, wheel_bytes(ENTRIES));
			free(model.wheel);
			model.wheel = copy;
		}
	}
	assert_int_equal(model.live, 0);
	model_freed(&model);
}

#ifdef __SANITIZE_ADDRESS__
#define MANY 1000000u /* the sanitizer is slow: the release build does all */
#else
#define MANY 10000000u
#endif

/* Ten million keepalives within two hours. */
static void ten_million_in_their_bytes(void **state)
{
	const uint32_t reach = 2 * 3600 * TICKS_PER_SECOND;
	struct random random = random_seeded(10);
	struct wheel *wheel = wheel_made(MANY, BEFORE_WRAP);
	uint32_t *ticks = calloc(MANY, sizeof(*ticks)), now_tick = BEFORE_WRAP, late_worst = 0, next;
	struct wheel_entry due[DUE_MAX];

	(void)state;
	assert_true(wheel_bytes(10000000) <= 83000000); /* the chunks begun in each slot count little */
	for (uint32_t i = 0; i < MANY; i++) {
		ticks[i] = now_tick + 1 + random_below(&random, reach);
		if (!wheel_file(wheel, i, ticks[i]))
			fail_msg("entry %u was refused", i);
	}
	assert_false(wheel_file(wheel, 0, now_tick + 1));
	assert_true(wheel_live_bytes(wheel) <= wheel_bytes(MANY));
	for (; wheel_next(wheel, &next); now_tick++) {
		uint32_t count = wheel_expire(wheel, now_tick, due, DUE_MAX);

		for (uint32_t i = 0; i < count; i++) {
			if (due[i].tick != ticks[due[i].index] || !tick_reached(due[i].tick, now_tick))
				fail_msg("entry %u comes early or twice", due[i].index);
			late_worst = MAX_OF(late_worst, now_tick - due[i].tick);
			ticks[due[i].index] = due[i].tick - 1; /* to be recognised when it comes again */
		}
	}
	assert_int_equal(wheel_live(wheel), 0);
	assert_int_equal(wheel_live_bytes(wheel), 0);
	/* 1.5 million stand in a slot of 17 minutes: 1/64 of that. */
	assert_true(late_worst <= (1u << 20) / 64);
	free(ticks);
	free(wheel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_wheel_sleeps),
		cmocka_unit_test(edges_of_levels_are_exact),
		cmocka_unit_test(the_past_fires_at_once),
		cmocka_unit_test(random_entries_on_time),
		cmocka_unit_test(one_call_a_tick_keeps_the_promise),
		cmocka_unit_test(a_cascade_delays_no_one_near),
		cmocka_unit_test(a_jump_fires_what_is_due_and_no_more),
		cmocka_unit_test(a_full_wheel_refuses_and_loses_nothing),
		cmocka_unit_test(capacity_is_kept_at_the_worst_packing),
		cmocka_unit_test(clearing_forgets_and_refiling_rebuilds),
		cmocka_unit_test(a_copy_elsewhere_carries_on),
		cmocka_unit_test(ten_million_in_their_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
