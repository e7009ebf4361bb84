/* test_sys_thread.c - clock, randomness, pinning, and what the process costs. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <cmocka.h>

#include "sys/clock.h"
#include "sys/entropy.h"
#include "sys/pin.h"
#include "sys/process.h"
#include "sys/topology.h"

static void the_clock_goes_forward_at_its_pace(void **state)
{
	const struct timespec wait = {.tv_nsec = 20000000};
	uint64_t start = sys_now_ns(), last = start;

	(void)state;
	for (unsigned i = 0; i < 10000; i++) {
		uint64_t now = sys_now_ns();

		assert_true(now >= last);
		last = now;
	}
	assert_true(last > start);
	start = sys_now_ns();
	nanosleep(&wait, NULL);
	assert_in_range(sys_now_ns() - start, 20000000, 5000000000u);
}

static void a_slow_clock_is_named(void **state)
{
	char text[256] = "x";

	(void)state;
	assert_in_range(sys_clock_cost_ns(), 1, 20000);
	sys_clock_advice(SYS_CLOCK_SLOW_NS, text, sizeof(text));
	assert_string_equal(text, "");
	sys_clock_advice(471, text, sizeof(text));
	assert_non_null(strstr(text, "471 ns"));
	assert_null(strchr(text, '\n'));
}

static void secrets_differ(void **state)
{
	struct arena_secrets one, two;
	uint64_t words[2 * sizeof(one) / 8];

	(void)state;
	assert_int_equal(sys_entropy_secrets(&one), 0);
	assert_int_equal(sys_entropy_secrets(&two), 0);
	memcpy(words, &one, sizeof(one));
	memcpy(words + sizeof(one) / 8, &two, sizeof(two));
	for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
		for (size_t j = 0; j < i; j++)
			assert_true(words[i] != words[j]);
	}
}

static void fills_are_whole_and_bounded(void **state)
{
	uint8_t buffer[SYS_ENTROPY_MAX + 1] = {0};
	size_t zeros = 0;

	(void)state;
	assert_int_equal(sys_entropy_fill(buffer, SYS_ENTROPY_MAX + 1), -EINVAL);
	assert_int_equal(buffer[0] | buffer[1] | buffer[SYS_ENTROPY_MAX], 0);
	assert_int_equal(sys_entropy_fill(buffer, SYS_ENTROPY_MAX), 0);
	for (size_t i = SYS_ENTROPY_MAX - 32; i < SYS_ENTROPY_MAX; i++)
		zeros += buffer[i] == 0;
	assert_true(zeros < 8);
	assert_int_equal(buffer[SYS_ENTROPY_MAX], 0);
}

static void a_thread_runs_where_it_is_pinned(void **state)
{
	static struct sys_topology topology;
	char error[SYS_ERROR_BYTES] = "";
	cpu_set_t before, now;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	assert_int_equal(sys_topology_read(&topology), 0);
	for (unsigned i = 0; i < topology.cpu_count; i++) {
		assert_int_equal(sys_pin_thread(topology.cpus[i].id, error), 0);
		assert_int_equal(sched_getcpu(), topology.cpus[i].id);
	}
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
	assert_int_equal(sys_pin_thread(CPU_SETSIZE - 1, error), -EINVAL);
	assert_non_null(strstr(error, "cpu 1023"));
	assert_int_equal(sys_pin_thread(-1, error), -EINVAL);
	assert_int_equal(sys_pin_thread(CPU_SETSIZE, error), -EINVAL);
	assert_int_equal(sched_getaffinity(0, sizeof(now), &now), 0);
	assert_true(CPU_EQUAL(&before, &now));
}

static void a_thread_bears_its_name(void **state)
{
	char before[16], name[16];

	(void)state;
	assert_int_equal(pthread_getname_np(pthread_self(), before, sizeof(before)), 0);
	sys_name_thread("c10m-worker-0123456789");
	assert_int_equal(pthread_getname_np(pthread_self(), name, sizeof(name)), 0);
	assert_string_equal(name, "c10m-worker-012");
	sys_name_thread(before);
}

static void processor_time_counts_work_and_no_sleep(void **state)
{
	const struct timespec wait = {.tv_nsec = 100000000};
	uint64_t thread = sys_thread_cpu_ns(), process = sys_process_cpu_ns();

	(void)state;
	nanosleep(&wait, NULL);
	assert_true(sys_thread_cpu_ns() - thread < 50000000);
	thread = sys_thread_cpu_ns();
	while (sys_thread_cpu_ns() - thread < 20000000)
		;
	assert_true(sys_process_cpu_ns() - process >= 20000000);
}

static void memory_is_counted_where_it_is_touched(void **state)
{
	const size_t bytes = 8 << 20;
	struct sys_usage before, after, range;
	uint8_t *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_ptr_not_equal(base, MAP_FAILED);
	/* A mapping of its own: it must not melt into a neighbour. */
	assert_int_equal(madvise(base, bytes, MADV_DONTDUMP), 0);
	assert_int_equal(sys_process_usage(&before), 0);
	assert_int_equal(sys_range_usage(base, bytes, &range), 0);
	assert_int_equal(range.resident_bytes, 0);
	memset(base, 1, bytes / 2);
	assert_int_equal(sys_range_usage(base, bytes, &range), 0);
	assert_in_range(range.resident_bytes, bytes / 2, bytes);
	assert_int_equal(range.hugetlb_bytes, 0);
	assert_int_equal(sys_process_usage(&after), 0);
	assert_true(after.resident_bytes >= before.resident_bytes + bytes / 2);
	munmap(base, bytes);
	assert_int_equal(sys_range_usage(base, bytes, &range), 0);
	assert_int_equal(range.resident_bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_clock_goes_forward_at_its_pace),
		cmocka_unit_test(a_slow_clock_is_named),
		cmocka_unit_test(secrets_differ),
		cmocka_unit_test(fills_are_whole_and_bounded),
		cmocka_unit_test(a_thread_runs_where_it_is_pinned),
		cmocka_unit_test(a_thread_bears_its_name),
		cmocka_unit_test(processor_time_counts_work_and_no_sleep),
		cmocka_unit_test(memory_is_counted_where_it_is_touched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
