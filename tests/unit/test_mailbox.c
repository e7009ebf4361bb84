/* test_mailbox.c - messages from any thread to a worker, with a stack that takes notes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "run/mailbox.h"

#define NUMBER 5u

/* --- a stack that takes notes -------------------------------------------------------------- */

struct stack {
	uint64_t begun_us;
	uint32_t controls;
	struct stack_message last;
	int answer;
};

static struct stack stack;

c10m_worker *stack_worker(struct stack *of)
{
	return (c10m_worker *)of;
}

void stack_begin(struct stack *of, uint64_t now_us)
{
	of->begun_us = now_us;
}

int stack_control(struct stack *of, uint64_t now_us, const struct stack_message *message)
{
	assert_true(now_us >= of->begun_us);
	of->controls++;
	of->last = *message;
	return of->answer;
}

/* --- the rig --------------------------------------------------------------------------------- */

static struct mailbox *mailbox;
static struct waker waker;

static int setup(void **state)
{
	(void)state;
	stack = (struct stack){0};
	mailbox = mailbox_at(NUMBER);
	assert_int_equal(waker_init(&waker), 0);
	mailbox_open(mailbox, &stack, &waker);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	mailbox_close(mailbox, 1000);
	waker_fini(&waker);
	return 0;
}

static bool rung(void)
{
	struct pollfd fd = {.fd = waker.fd, .events = POLLIN};

	return poll(&fd, 1, 0) == 1;
}

/* --- the tests ---------------------------------------------------------------------------------- */

static uint32_t notes[4096], note_count;

static void note(c10m_worker *worker, void *argument)
{
	assert_ptr_equal(worker, &stack);
	notes[note_count++ % 4096] = (uint32_t)(uintptr_t)argument;
}

static void calls_come_in_order_and_once(void **state)
{
	(void)state;
	note_count = 0;
	assert_false(mailbox_run(mailbox, 10));
	for (uintptr_t i = 0; i < 100; i++)
		assert_int_equal(c10m_post(NUMBER, note, (void *)i), 0);
	assert_int_equal(note_count, 0);
	while (mailbox_run(mailbox, 20))
		assert_true(note_count <= 100);
	assert_int_equal(note_count, 100);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(notes[i], i);
	assert_int_equal(stack.begun_us, 20);
}

/* Others get their turn in between. */
static void a_round_runs_a_bounded_number(void **state)
{
	(void)state;
	note_count = 0;
	for (uintptr_t i = 0; i < 3 * MAILBOX_BURST; i++)
		assert_int_equal(c10m_post(NUMBER, note, (void *)i), 0);
	assert_true(mailbox_run(mailbox, 1));
	assert_int_equal(note_count, MAILBOX_BURST);
}

static void a_full_one_says_so(void **state)
{
	uint32_t sent = 0;

	(void)state;
	note_count = 0;
	while (sent < 2 * MAILBOX_MESSAGES && c10m_post(NUMBER, note, (void *)(uintptr_t)sent) == 0)
		sent++;
	assert_int_equal(sent, MAILBOX_MESSAGES);
	assert_int_equal(c10m_post(NUMBER, note, NULL), -EAGAIN);
	while (mailbox_run(mailbox, 1))
		continue;
	assert_int_equal(note_count, sent);
	assert_int_equal(c10m_post(NUMBER, note, NULL), 0);
}

static void a_closed_one_says_so(void **state)
{
	(void)state;
	note_count = 0;
	assert_int_equal(c10m_post(NUMBER + 1, note, NULL), -ESHUTDOWN);
	assert_int_equal(c10m_post(NUMBER, note, NULL), 0);
	mailbox_close(mailbox, 50);
	assert_int_equal(note_count, 1); /* what was taken is run */
	assert_int_equal(c10m_post(NUMBER, note, NULL), -ESHUTDOWN);
	mailbox_open(mailbox, &stack, &waker);
	assert_false(mailbox_run(mailbox, 60));
	assert_int_equal(c10m_post(NUMBER, note, NULL), 0);
}

static void nonsense_is_refused(void **state)
{
	(void)state;
	assert_int_equal(c10m_post(STACKS_MAX, note, NULL), -EINVAL);
	assert_int_equal(c10m_post(UINT32_MAX, note, NULL), -EINVAL);
	assert_int_equal(c10m_post(NUMBER, NULL, NULL), -EINVAL);
	assert_null(mailbox_at(STACKS_MAX));
}

static void control_messages_reach_the_stack(void **state)
{
	const struct mailbox_message message = {
		.kind = MAILBOX_CONTROL,
		.control = {.kind = STACK_SET_NEIGHBOUR, .address = 0x0a000002, .mac = {{2, 0, 0, 0, 0, 9}}},
	};

	(void)state;
	assert_int_equal(mailbox_send(mailbox, &message), 0);
	assert_true(mailbox_run(mailbox, 5));
	assert_int_equal(stack.controls, 1);
	assert_int_equal(stack.last.kind, STACK_SET_NEIGHBOUR);
	assert_int_equal(stack.last.address, 0x0a000002);
	assert_int_equal(stack.last.mac.octets[5], 9);
	assert_int_equal(mailbox_refused(mailbox), 0);
	stack.answer = -EINVAL;
	assert_int_equal(mailbox_send(mailbox, &message), 0);
	assert_true(mailbox_run(mailbox, 5));
	assert_int_equal(mailbox_refused(mailbox), 1);
}

static void only_a_sleeper_is_woken(void **state)
{
	(void)state;
	assert_int_equal(c10m_post(NUMBER, note, NULL), 0);
	assert_false(rung());
	waker_prepare(&waker);
	assert_int_equal(c10m_post(NUMBER, note, NULL), 0);
	assert_true(rung());
	waker_done(&waker, true);
	assert_false(rung());
	waker_prepare(&waker);
	waker_done(&waker, false);
	assert_int_equal(c10m_post(NUMBER, note, NULL), 0);
	assert_false(rung());
}

static void post_again(c10m_worker *worker, void *argument)
{
	note(worker, argument);
	assert_int_equal(c10m_post(NUMBER, note, (void *)2), 0);
}

static void a_call_may_post(void **state)
{
	(void)state;
	note_count = 0;
	assert_int_equal(c10m_post(NUMBER, post_again, (void *)1), 0);
	assert_true(mailbox_run(mailbox, 1));
	assert_int_equal(note_count, 2);
	assert_int_equal(notes[1], 2);
}

/* --- many threads ------------------------------------------------------------------------------ */

#define THREADS 4u
#define EACH    20000u

/* Written by the poster without any care, read by the worker: the mailbox orders it. */
struct parcel {
	uint32_t thread, number;
};

static uint32_t next_of[THREADS], parcels;

static void unpack(c10m_worker *worker, void *argument)
{
	struct parcel *parcel = argument;

	(void)worker;
	assert_int_equal(parcel->number, next_of[parcel->thread]);
	next_of[parcel->thread]++;
	parcels++;
	free(parcel);
}

static void *post_many(void *argument)
{
	uint32_t thread = (uint32_t)(uintptr_t)argument;

	for (uint32_t i = 0; i < EACH; i++) {
		struct parcel *parcel = malloc(sizeof(*parcel));

		*parcel = (struct parcel){thread, i};
		while (c10m_post(NUMBER, unpack, parcel) == -EAGAIN)
			sched_yield();
	}
	return NULL;
}

static void many_threads_post_at_once(void **state)
{
	pthread_t threads[THREADS];

	(void)state;
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, post_many, (void *)i), 0);
	while (parcels < THREADS * EACH) {
		struct pollfd fd = {.fd = waker.fd, .events = POLLIN};

		waker_prepare(&waker);
		if (!mailbox_run(mailbox, 1))
			assert_true(poll(&fd, 1, 10000) == 1); /* nobody sleeps over a message */
		waker_done(&waker, fd.revents != 0);
	}
	for (uint32_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(next_of[i], EACH);
	}
}

/* Each call that was taken is made, each other one was refused: nothing in between. */
static atomic_uint accepted;
static uint32_t made;

static void make(c10m_worker *worker, void *argument)
{
	(void)worker;
	(void)argument;
	made++;
}

static void *post_until_closed(void *unused)
{
	int result;

	while ((result = c10m_post(NUMBER, make, NULL)) != -ESHUTDOWN) {
		if (result == 0)
			atomic_fetch_add(&accepted, 1);
		else
			sched_yield();
	}
	return unused;
}

static void closing_loses_no_message(void **state)
{
	pthread_t threads[2];

	(void)state;
	made = 0;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, post_until_closed, NULL), 0);
	while (made < 10000)
		mailbox_run(mailbox, 1);
	mailbox_close(mailbox, 1);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(made, atomic_load(&accepted));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(calls_come_in_order_and_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_round_runs_a_bounded_number, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_one_says_so, setup, teardown),
		cmocka_unit_test_setup_teardown(a_closed_one_says_so, setup, teardown),
		cmocka_unit_test_setup_teardown(nonsense_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(control_messages_reach_the_stack, setup, teardown),
		cmocka_unit_test_setup_teardown(only_a_sleeper_is_woken, setup, teardown),
		cmocka_unit_test_setup_teardown(a_call_may_post, setup, teardown),
		cmocka_unit_test_setup_teardown(many_threads_post_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(closing_loses_no_message, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
