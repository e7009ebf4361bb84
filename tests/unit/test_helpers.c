/* test_helpers.c - errands, watched descriptors, calls that may block and names; the test is the worker. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "run/errand.h"
#include "run/helpers.h"

#define NUMBER 5u
#define OTHER  6u

/* --- a stack that knows its number ---------------------------------------------------------- */

struct stack {
	uint32_t number;
};

static struct stack stack = {NUMBER}, other = {OTHER};

c10m_worker *stack_worker(struct stack *of)
{
	return (c10m_worker *)of;
}

uint32_t c10m_worker_number(const c10m_worker *worker)
{
	return ((const struct stack *)worker)->number;
}

void stack_begin(struct stack *of, uint64_t now_us)
{
	assert_true(of == &stack && now_us == 1);
}

/* --- the rig ----------------------------------------------------------------------------------- */

static struct waker waker;
static c10m_worker *worker;
static int pipe_fds[2];

static int setup(void **state)
{
	struct helpers_config config = {.blocking = 2};

	(void)state;
	worker = stack_worker(&stack);
	assert_int_equal(waker_init(&waker), 0);
	assert_int_equal(pipe2(pipe_fds, O_NONBLOCK), 0);
	errands_open(NUMBER, &stack, &waker);
	CPU_ZERO(&config.cpus); /* any */
	helpers_begin(&config);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	errands_close(NUMBER, 1);
	helpers_end();
	waker_fini(&waker);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	return 0;
}

/* As the worker does: looks, sleeps until it is woken; a ring may be one for what it has seen already. False:
 * nothing came for so long. */
static bool round_within(int ms)
{
	struct pollfd fd = {.fd = waker.fd, .events = POLLIN};
	bool moved, rung = true;

	for (;;) {
		waker_prepare(&waker);
		moved = errands_run(errands_at(NUMBER), 1);
		if (moved || !rung)
			break;
		rung = poll(&fd, 1, ms) == 1;
		waker_done(&waker, rung);
	}
	waker_done(&waker, false);
	return moved;
}

static void until(const uint32_t *count, uint32_t wanted)
{
	while (*count < wanted)
		assert_true(round_within(10000));
	assert_int_equal(*count, wanted);
}

/* --- errands -------------------------------------------------------------------------------------- */

#define GIVERS 3u
#define EACH   5000u

struct note {
	struct errand errand;
	uint32_t giver, number;
};

static uint32_t next_of[GIVERS], notes;

static void take_note(c10m_worker *of, struct errand *errand)
{
	struct note *note = (struct note *)errand;

	assert_ptr_equal(of, worker);
	assert_int_equal(note->number, next_of[note->giver]++);
	notes++;
	free(note);
}

static void *give_many(void *argument)
{
	for (uint32_t i = 0; i < EACH; i++) {
		struct note *note = malloc(sizeof(*note));

		*note = (struct note){{NULL, take_note}, (uint32_t)(uintptr_t)argument, i};
		assert_int_equal(errand_give(NUMBER, &note->errand), 0);
	}
	return NULL;
}

static void errands_come_in_order_and_once(void **state)
{
	pthread_t threads[GIVERS];
	struct note late = {.number = 0};

	(void)state;
	for (uintptr_t i = 0; i < GIVERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, give_many, (void *)i), 0);
	until(&notes, GIVERS * EACH);
	for (uint32_t i = 0; i < GIVERS; i++)
		pthread_join(threads[i], NULL);
	assert_false(round_within(0));
	assert_int_equal(errand_give(OTHER, &late.errand), -ESHUTDOWN);
}

/* --- descriptors ------------------------------------------------------------------------------------ */

static uint32_t calls;
static unsigned last_events;
static int close_in_callback, unwatch_in_callback;

static void on_ready(c10m_worker *of, int fd, unsigned events, void *argument)
{
	char byte;

	assert_ptr_equal(of, worker);
	assert_ptr_equal(argument, &calls);
	last_events = events;
	calls++;
	if (events & C10M_WATCH_READ && !close_in_callback)
		assert_true(read(fd, &byte, 1) >= 0);
	if (unwatch_in_callback)
		assert_int_equal(c10m_unwatch_fd(of, fd), 0);
	if (close_in_callback)
		close(fd);
}

static void watch(int fd, unsigned events)
{
	calls = 0;
	close_in_callback = unwatch_in_callback = 0;
	assert_int_equal(c10m_watch_fd(worker, fd, events, on_ready, &calls), 0);
}

static void a_descriptor_calls_back_as_long_as_it_is_ready(void **state)
{
	(void)state;
	watch(pipe_fds[0], C10M_WATCH_READ);
	assert_false(round_within(50));
	assert_int_equal(write(pipe_fds[1], "abc", 3), 3);
	until(&calls, 3); /* each reads one */
	assert_int_equal(last_events, C10M_WATCH_READ);
	assert_false(round_within(50));
	assert_int_equal(write(pipe_fds[1], "d", 1), 1);
	until(&calls, 4);
	assert_int_equal(c10m_unwatch_fd(worker, pipe_fds[0]), 0);
	assert_int_equal(c10m_unwatch_fd(worker, pipe_fds[0]), -ENOENT);
	assert_int_equal(write(pipe_fds[1], "e", 1), 1);
	assert_false(round_within(50));
}

static void nothing_comes_after_an_unwatch(void **state)
{
	struct pollfd rung = {.fd = waker.fd, .events = POLLIN};

	(void)state;
	waker_prepare(&waker);
	watch(pipe_fds[1], C10M_WATCH_WRITE);
	assert_int_equal(poll(&rung, 1, 10000), 1); /* it is on its way */
	assert_int_equal(c10m_unwatch_fd(worker, pipe_fds[1]), 0);
	assert_true(round_within(0));
	assert_int_equal(calls, 0);
	watch(pipe_fds[1], C10M_WATCH_WRITE);
	unwatch_in_callback = 1;
	until(&calls, 1);
	assert_int_equal(last_events, C10M_WATCH_WRITE);
	assert_false(round_within(50));
}

static void a_hang_up_is_told(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	watch(ends[0], C10M_WATCH_READ);
	close(ends[1]);
	unwatch_in_callback = 1;
	until(&calls, 1);
	assert_int_equal(last_events, C10M_WATCH_READ | C10M_WATCH_ERROR);
	close(ends[0]);
}

static void a_closed_descriptor_is_forgotten(void **state)
{
	int fd = dup(pipe_fds[0]), again;

	(void)state;
	watch(fd, C10M_WATCH_READ);
	close_in_callback = 1;
	assert_int_equal(write(pipe_fds[1], "ab", 2), 2);
	until(&calls, 1);
	assert_false(round_within(50));
	assert_int_equal(c10m_unwatch_fd(worker, fd), -ENOENT);
	watch(fd = dup(pipe_fds[0]), C10M_WATCH_READ);
	until(&calls, 2);
	close(fd); /* without a word; who has its number next is another */
	again = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(again, fd);
	assert_int_equal(c10m_watch_fd(worker, again, C10M_WATCH_WRITE, on_ready, &calls), 0);
	unwatch_in_callback = 1;
	calls = 0;
	until(&calls, 1);
	assert_int_equal(last_events, C10M_WATCH_WRITE);
	close(again);
}

static void what_cannot_be_watched_is_refused(void **state)
{
	int file = open("/proc/self/exe", O_RDONLY);

	(void)state;
	watch(pipe_fds[0], C10M_WATCH_READ);
	assert_int_equal(c10m_watch_fd(worker, pipe_fds[0], 1, on_ready, NULL), -EEXIST);
	assert_int_equal(c10m_watch_fd(stack_worker(&other), pipe_fds[0], 1, on_ready, NULL), -EEXIST);
	assert_int_equal(c10m_unwatch_fd(stack_worker(&other), pipe_fds[0]), -ENOENT);
	assert_int_equal(c10m_watch_fd(worker, -1, 1, on_ready, NULL), -EINVAL);
	assert_int_equal(c10m_watch_fd(worker, pipe_fds[1], 0, on_ready, NULL), -EINVAL);
	assert_int_equal(c10m_watch_fd(worker, pipe_fds[1], 8, on_ready, NULL), -EINVAL);
	assert_int_equal(c10m_watch_fd(worker, pipe_fds[1], 1, NULL, NULL), -EINVAL);
	assert_int_equal(c10m_watch_fd(worker, 12345, 1, on_ready, NULL), -EBADF);
	assert_int_equal(c10m_watch_fd(worker, file, 1, on_ready, NULL), -EPERM);
	close(file);
}

/* --- calls that may block ------------------------------------------------------------------------------ */

static uint32_t dones;
static pthread_t helper_seen;

static void add_one(void *argument)
{
	helper_seen = pthread_self();
	(*(uint32_t *)argument)++;
}

static void see_two(c10m_worker *of, void *argument)
{
	assert_ptr_equal(of, worker);
	assert_int_equal(*(uint32_t *)argument, 2);
	dones++;
}

static void work_is_done_elsewhere_and_told_here(void **state)
{
	uint32_t value = 1;

	(void)state;
	dones = 0;
	assert_int_equal(c10m_offload(worker, add_one, see_two, &value), 0);
	until(&dones, 1);
	assert_false(pthread_equal(helper_seen, pthread_self()));
	assert_int_equal(c10m_offload(worker, NULL, see_two, &value), -EINVAL);
}

static atomic_uint at_work, may_end;

static void block(void *argument)
{
	(void)argument;
	atomic_fetch_add(&at_work, 1);
	while (!atomic_load(&may_end))
		usleep(1000);
}

static void count_done(c10m_worker *of, void *argument)
{
	(void)of;
	(void)argument;
	dones++;
}

static void many_wait_for_a_few_and_more_are_refused(void **state)
{
	uint32_t taken = 0;

	(void)state;
	dones = 0;
	may_end = at_work = 0;
	while (taken < 10000 && c10m_offload(worker, block, count_done, NULL) == 0)
		taken++;
	assert_int_equal(taken, 1024);
	assert_int_equal(c10m_offload(worker, block, count_done, NULL), -EAGAIN);
	while (atomic_load(&at_work) < 2)
		usleep(1000);
	usleep(20000);
	assert_int_equal(atomic_load(&at_work), 2); /* as many as there are threads */
	atomic_store(&may_end, 1);
	until(&dones, taken);
	assert_int_equal(c10m_offload(worker, block, count_done, NULL), 0);
	until(&dones, taken + 1);
}

static void *let_go_later(void *unused)
{
	usleep(50000);
	atomic_store(&may_end, 1);
	return unused;
}

static void the_end_drops_what_has_not_begun(void **state)
{
	pthread_t thread;
	uint32_t value = 1;

	(void)state;
	dones = 0;
	may_end = at_work = 0;
	for (int i = 0; i < 2; i++)
		assert_int_equal(c10m_offload(worker, block, count_done, NULL), 0);
	assert_int_equal(c10m_offload(worker, add_one, count_done, &value), 0);
	while (atomic_load(&at_work) < 2)
		usleep(1000);
	errands_close(NUMBER, 1);
	assert_int_equal(pthread_create(&thread, NULL, let_go_later, NULL), 0);
	helpers_end(); /* waits for those that have */
	assert_int_equal(atomic_load(&may_end), 1);
	pthread_join(thread, NULL);
	assert_int_equal(value, 1);
	assert_int_equal(dones, 0);
	assert_int_equal(c10m_offload(worker, add_one, count_done, &value), -ESHUTDOWN);
	errands_open(NUMBER, &stack, &waker);
}

/* --- names ------------------------------------------------------------------------------------------------
 */

static struct c10m_resolved answer;

static void on_answer(c10m_worker *of, const struct c10m_resolved *resolved, void *argument)
{
	assert_ptr_equal(of, worker);
	assert_ptr_equal(argument, &answer);
	answer = *resolved;
	dones++;
}

static void names_have_addresses(void **state)
{
	char name[16] = "10.1.2.3", long_name[300] = {0};

	(void)state;
	dones = 0;
	assert_int_equal(c10m_resolve(worker, name, "8080", on_answer, &answer), 0);
	name[0] = 'x'; /* it was copied */
	until(&dones, 1);
	assert_int_equal(answer.error, 0);
	assert_int_equal(answer.count, 1);
	assert_int_equal(answer.addresses[0], 0x0a010203);
	assert_int_equal(answer.port, 8080);
	assert_int_equal(c10m_resolve(worker, "localhost", NULL, on_answer, &answer), 0);
	until(&dones, 2);
	assert_int_equal(answer.error, 0);
	assert_int_equal(answer.addresses[0], 0x7f000001);
	assert_int_equal(answer.port, 0);
	assert_int_equal(c10m_resolve(worker, "10.1.2.3", "no-such-service", on_answer, &answer), 0);
	until(&dones, 3);
	assert_int_equal(answer.error, -ENOENT);
	assert_int_equal(answer.count, 0);
	for (size_t i = 0; i < sizeof(long_name) - 1; i++)
		long_name[i] = 'a';
	assert_int_equal(c10m_resolve(worker, long_name, NULL, on_answer, &answer), -EINVAL);
	assert_int_equal(c10m_resolve(worker, "", NULL, on_answer, &answer), -EINVAL);
	assert_int_equal(c10m_resolve(worker, "a", NULL, NULL, &answer), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(errands_come_in_order_and_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_descriptor_calls_back_as_long_as_it_is_ready, setup,
						teardown),
		cmocka_unit_test_setup_teardown(nothing_comes_after_an_unwatch, setup, teardown),
		cmocka_unit_test_setup_teardown(a_hang_up_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(a_closed_descriptor_is_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_watched_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(work_is_done_elsewhere_and_told_here, setup, teardown),
		cmocka_unit_test_setup_teardown(many_wait_for_a_few_and_more_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_drops_what_has_not_begun, setup, teardown),
		cmocka_unit_test_setup_teardown(names_have_addresses, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
