/* test_race.c - the thread sanitizer finds a race that is there: its silence in the other tests means
 * something. Built with b_sanitize=thread only. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ROUNDS 1000

/* A ring's cursor and what it hands over; `cursor` as it must be, or plain as it must not. */
struct shared {
	uint32_t slot;
	_Atomic uint32_t cursor;
	volatile uint32_t plain;
	int atomic;
};

static void *produce(void *argument)
{
	struct shared *shared = argument;

	shared->slot = 7;
	if (shared->atomic)
		atomic_store_explicit(&shared->cursor, 1, memory_order_release);
	else
		shared->plain = 1;
	return NULL;
}

static uint32_t consume(struct shared *shared)
{
	if (shared->atomic)
		while (atomic_load_explicit(&shared->cursor, memory_order_acquire) == 0)
			continue;
	else
		for (int i = 0; i < ROUNDS && shared->plain == 0; i++)
			usleep(100);
	return shared->slot;
}

/* What the sanitizer makes of it, as the exit code of a process of its own. */
static int code_of(int is_atomic)
{
	pid_t child = fork();
	int status = -1;

	assert_true(child >= 0);
	if (child == 0) {
		struct shared shared = {.atomic = is_atomic};
		pthread_t thread;

		if (!freopen("/dev/null", "w", stderr) || pthread_create(&thread, NULL, produce, &shared))
			_exit(99);
		if (consume(&shared) != 7)
			_exit(98);
		pthread_join(thread, NULL);
		exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void trap_a_planted_race_is_found(void **state)
{
	(void)state;
	assert_int_equal(code_of(0), 66); /* the sanitizer's own */
}

static void what_is_right_is_not_reported(void **state)
{
	(void)state;
	assert_int_equal(code_of(1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trap_a_planted_race_is_found),
		cmocka_unit_test(what_is_right_is_not_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
