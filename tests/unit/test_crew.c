/* test_crew.c - threads that start together, or not at all; and the sums of what workers show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "run/crew.h"
#include "run/statistics.h"

static struct member {
	pthread_t prepared_on, ran_on;
	int code;
	bool ran;
} members[5];

static atomic_uint prepared, ready_calls;

static int prepare(void *context, char error[CREW_ERROR_BYTES])
{
	struct member *member = context;

	member->prepared_on = pthread_self();
	atomic_fetch_add(&prepared, 1);
	if (member->code < 0)
		snprintf(error, CREW_ERROR_BYTES, "member %d", (int)(member - members));
	return member->code;
}

static void ready(void *context)
{
	assert_ptr_equal(context, &ready_calls);
	assert_int_equal(atomic_load(&prepared), 5);
	for (int i = 0; i < 5; i++)
		assert_false(members[i].ran);
	atomic_fetch_add(&ready_calls, 1);
}

static void run(void *context)
{
	struct member *member = context;

	assert_int_equal(atomic_load(&ready_calls), 1);
	member->ran_on = pthread_self();
	member->ran = true;
}

static struct crew crew_of_five(void)
{
	struct crew crew = {
		.count = 5, .prepare = prepare, .ready = ready, .context = &ready_calls, .run = run};

	memset(members, 0, sizeof(members));
	atomic_store(&prepared, 0);
	atomic_store(&ready_calls, 0);
	for (int i = 0; i < 5; i++)
		crew.members[i] = &members[i];
	return crew;
}

static void all_are_prepared_before_any_runs(void **state)
{
	struct crew crew = crew_of_five();
	char error[CREW_ERROR_BYTES] = "";

	(void)state;
	assert_int_equal(crew_run(&crew, error), 0);
	for (int i = 0; i < 5; i++) {
		assert_true(members[i].ran);
		assert_true(pthread_equal(members[i].prepared_on, members[i].ran_on));
		for (int j = 0; j < i; j++)
			assert_false(pthread_equal(members[i].ran_on, members[j].ran_on) && i < 2);
	}
	assert_true(pthread_equal(members[0].ran_on, pthread_self()));
}

static void one_failure_stops_all(void **state)
{
	(void)state;
	for (int who = 0; who < 5; who++) {
		struct crew crew = crew_of_five();
		char error[CREW_ERROR_BYTES] = "", wanted[32];

		members[who].code = -EPERM;
		assert_int_equal(crew_run(&crew, error), -EPERM);
		snprintf(wanted, sizeof(wanted), "member %d", who);
		assert_string_equal(error, wanted);
		assert_int_equal(atomic_load(&ready_calls), 0);
		for (int i = 0; i < 5; i++)
			assert_false(members[i].ran);
	}
}

/* --- statistics ------------------------------------------------------------------------------- */

static void sums_are_of_all_that_run(void **state)
{
	struct statistics one = {.stats.connections = 5, .worker.loops = 7}, sum;
	struct c10m_stats stats;

	(void)state;
	one.counters.rx_packets = 100;
	one.counters.drops[DROP_NO_BLOCK] = 3;
	one.handover.lost = 2;
	assert_int_equal(c10m_total_stats(&stats), 0);
	statistics_begin(3);
	statistics_begin(63);
	statistics_publish(3, &one);
	statistics_publish(63, &one);
	assert_false(statistics_read(4, &sum));
	assert_false(statistics_read(STACKS_MAX, &sum));
	assert_int_equal(statistics_sum(&sum), 2);
	assert_int_equal(sum.stats.connections, 10);
	assert_int_equal(sum.worker.loops, 14);
	assert_int_equal(sum.counters.rx_packets, 200);
	assert_int_equal(sum.counters.drops[DROP_NO_BLOCK], 6);
	assert_int_equal(sum.handover.lost, 4);
	statistics_end(63);
	assert_int_equal(c10m_total_stats(&stats), 1);
	assert_int_equal(stats.connections, 5);
	statistics_begin(63);
	assert_true(statistics_read(63, &sum));
	assert_int_equal(sum.stats.connections, 0);
	statistics_end(3);
	statistics_end(63);
}

/* No number is ever torn: both halves of each were written together. */
static atomic_bool done;

static void *publish_many(void *unused)
{
	struct statistics mine;
	uint64_t *words = (uint64_t *)&mine;

	for (uint64_t n = 1; n < 20000; n++) {
		for (size_t i = 0; i < sizeof(mine) / sizeof(*words); i++)
			words[i] = n << 32 | n;
		statistics_publish(9, &mine);
	}
	atomic_store(&done, true);
	return unused;
}

static void numbers_are_whole(void **state)
{
	struct statistics seen;
	const uint64_t *words = (const uint64_t *)&seen;
	pthread_t thread;

	(void)state;
	statistics_begin(9);
	assert_int_equal(pthread_create(&thread, NULL, publish_many, NULL), 0);
	while (!atomic_load(&done)) {
		assert_true(statistics_read(9, &seen));
		for (size_t i = 0; i < sizeof(seen) / sizeof(*words); i++)
			assert_int_equal(words[i] >> 32, (uint32_t)words[i]);
	}
	pthread_join(thread, NULL);
	statistics_end(9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_are_prepared_before_any_runs),
		cmocka_unit_test(one_failure_stops_all),
		cmocka_unit_test(sums_are_of_all_that_run),
		cmocka_unit_test(numbers_are_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
