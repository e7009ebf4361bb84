/* test_worker.c - the worker's loop over the port "wire", with a stack that does as the test says. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "port/link.h"
#include "run/worker.h"
#include "sys/clock.h"
#include "sys/process.h"

#define FRAMES 64u /* that fit into the wire */
#define MS     1000u

/* --- a stack that does as the test says ------------------------------------------------- */

struct stack {
	struct worker *worker;
	uint32_t received, sent;   /* frames */
	uint32_t output;           /* frames that wait to be sent */
	uint32_t stop_at_received; /* then the worker is stopped */
	uint32_t stop_at_sent;
	bool echo; /* a frame out for each one in */
	uint64_t deadline_us, fired_us;
	uint32_t deadlines, stop_at_deadlines;
	uint64_t period_us;          /* from one deadline to the next; 0: there is one only */
	uint32_t wound_down, slices; /* slices that stack_stop still needs */
	uint32_t connections;        /* the last ends at connections_until_us */
	uint64_t connections_until_us;
	uint64_t last_us;
};

static struct stack stack;

static void see_time(uint64_t now_us)
{
	assert_true(now_us >= stack.last_us);
	stack.last_us = now_us;
}

bool stack_elsewhere(struct stack *of, struct packet *packet)
{
	(void)of;
	(void)packet;
	return false;
}

void stack_rx(struct stack *of, uint64_t now_us, struct packet *packets, uint32_t count)
{
	see_time(now_us);
	assert_true(count > 0 && count <= PORT_BURST);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t number;

		memcpy(&number, packets[i].data, sizeof(number));
		assert_int_equal(number, of->received); /* in order, none lost */
		of->received++;
	}
	if (of->echo)
		of->output += count;
	if (of->received == of->stop_at_received)
		worker_stop(of->worker);
}

uint32_t stack_tx(struct stack *of, uint64_t now_us, struct packet *packets, uint32_t max)
{
	uint32_t count = MIN_OF(max, of->output);

	see_time(now_us);
	if (of->deadline_us <= now_us) {
		of->fired_us = now_us;
		of->deadline_us = of->period_us ? now_us + of->period_us : UINT64_MAX;
		if (++of->deadlines == of->stop_at_deadlines)
			worker_stop(of->worker);
	}
	for (uint32_t i = 0; i < count; i++) {
		memcpy(packets[i].data, &of->sent, sizeof(of->sent));
		packets[i].bytes = 60;
		of->sent++;
	}
	of->output -= count;
	if (of->stop_at_sent && of->sent >= of->stop_at_sent)
		worker_stop(of->worker);
	return count;
}

uint64_t stack_deadline(const struct stack *of)
{
	return of->deadline_us;
}

bool stack_has_output(const struct stack *of)
{
	return of->output > 0;
}

int stack_control(struct stack *of, uint64_t now_us, const struct stack_message *message)
{
	fail_msg("%p %u %p", (void *)of, (unsigned)now_us,
		 (const void *)message); /* not the loop's business */
	return 0;
}

void stack_wind_down(struct stack *of, uint64_t now_us)
{
	see_time(now_us);
	of->wound_down++;
}

const struct counters *stack_counters(const struct stack *of)
{
	static const struct counters none;

	(void)of;
	return &none;
}

c10m_worker *stack_worker(struct stack *of)
{
	return (c10m_worker *)of;
}

void c10m_worker_stats(const c10m_worker *of, struct c10m_stats *stats)
{
	const struct stack *from = (const struct stack *)of;
	bool open = worker_now_us(from->worker) < from->connections_until_us;

	*stats = (struct c10m_stats){.rx_packets = from->received,
				     .connections = open ? from->connections : 0};
}

void stack_begin(struct stack *of, uint64_t now_us)
{
	(void)of;
	see_time(now_us);
}

bool stack_stop(struct stack *of, uint64_t now_us)
{
	see_time(now_us);
	if (of->slices == 0)
		return true;
	if (of->output >= 300)
		return false; /* no room for more resets */
	of->slices--;
	of->output += 100; /* resets */
	return of->slices == 0;
}

/* --- the rig ------------------------------------------------------------------------------- */

static struct worker worker;
static struct port *near, *far;
static uint32_t far_sent, far_received;

static int setup_with(uint32_t spin_us)
{
	const struct link_config config = {.frames = FRAMES, .frame_bytes = 2048, .mtu = 1500};
	struct port *ends[2];
	struct worker_config worker_config = {.stack = &stack, .port_count = 1, .spin_max_us = spin_us};

	assert_int_equal(link_open(&config, ends), 0);
	near = ends[0];
	far = ends[1];
	far_sent = far_received = 0;
	worker_config.ports[0] = near;
	worker_config.clock_base_ns = sys_now_ns();
	stack = (struct stack){.worker = &worker, .deadline_us = UINT64_MAX};
	return worker_init(&worker, &worker_config);
}

static int setup(void **state)
{
	(void)state;
	return setup_with(50);
}

static int teardown(void **state)
{
	(void)state;
	worker_fini(&worker);
	port_close(near);
	port_close(far);
	return 0;
}

/* Sends up to `count` numbered frames from the far end; returns how many found room. */
static uint32_t far_send(uint32_t count)
{
	struct packet packets[PORT_BURST];
	uint32_t reserved = port_tx_reserve(far, packets, MIN_OF(count, (uint32_t)PORT_BURST));

	for (uint32_t i = 0; i < reserved; i++) {
		memcpy(packets[i].data, &far_sent, sizeof(far_sent));
		packets[i].bytes = 60;
		far_sent++;
	}
	if (reserved > 0)
		port_tx_submit(far, packets, reserved, reserved);
	return reserved;
}

static uint32_t far_receive(void)
{
	struct packet packets[PORT_BURST];
	uint32_t count = port_rx(far, packets, PORT_BURST);

	for (uint32_t i = 0; i < count; i++) {
		uint32_t number;

		memcpy(&number, packets[i].data, sizeof(number));
		assert_int_equal(number, far_received);
		far_received++;
	}
	if (count > 0)
		port_rx_release(far, packets, count);
	return count;
}

static pthread_t in_thread(void *(*run)(void *))
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, run, NULL), 0);
	return thread;
}

/* --- the tests -------------------------------------------------------------------------------- */

#define MANY 5000u

static void *exchange(void *unused)
{
	while (far_received < MANY) {
		if (far_sent < MANY)
			far_send(MANY - far_sent);
		if (far_receive() == 0)
			usleep(10);
	}
	return unused;
}

/* Many times the frames of the wire, so each must come back; and nothing is lost or turned round. */
static void frames_come_and_go(void **state)
{
	pthread_t thread;

	(void)state;
	stack.echo = true;
	stack.stop_at_sent = MANY;
	thread = in_thread(exchange);
	worker_run(&worker);
	pthread_join(thread, NULL);
	assert_int_equal(stack.received, MANY);
	assert_int_equal(far_received, MANY);
	assert_true(worker.stats.bursts > 0 && worker.stats.bursts <= MANY);
	assert_true(worker.stats.busy_ns > 0);
}

static void *receive_slowly(void *unused)
{
	while (far_received < 500) {
		usleep(2000);
		far_receive();
	}
	return unused;
}

/* A port without room holds output back: it is neither dropped nor forgotten. */
static void a_full_port_is_waited_for(void **state)
{
	pthread_t thread;

	(void)state;
	stack.output = 500;
	stack.stop_at_sent = 500;
	thread = in_thread(receive_slowly);
	worker_run(&worker);
	pthread_join(thread, NULL);
	assert_int_equal(far_received, 500);
	assert_true(worker.stats.tx_blocked > 0);
}

/* Timers run on time though nothing can be sent. */
static void a_full_port_does_not_stop_the_timers(void **state)
{
	(void)state;
	stack.output = 500;
	stack.deadline_us = 20 * MS;
	stack.stop_at_deadlines = 1;
	worker_run(&worker);
	assert_int_equal(stack.sent, FRAMES);
	assert_in_range(stack.fired_us, 20 * MS, 200 * MS);
}

static void a_deadline_ends_a_sleep(void **state)
{
	uint64_t cpu_ns = sys_thread_cpu_ns();

	(void)state;
	stack.deadline_us = 100 * MS;
	stack.stop_at_deadlines = 1;
	worker_run(&worker);
	assert_in_range(stack.fired_us, 100 * MS, 300 * MS);
	assert_true(worker.stats.sleeps >= 1);
	assert_true(worker.stats.sleep_ns > 80000000);
	assert_true(sys_thread_cpu_ns() - cpu_ns < 10000000);
}

static void a_deadline_in_the_past_is_now(void **state)
{
	(void)state;
	stack.deadline_us = 0;
	stack.stop_at_deadlines = 1;
	worker_run(&worker);
	assert_int_equal(worker.stats.sleeps, 0);
}

static _Atomic uint64_t event_us;

static void *stop_later(void *unused)
{
	usleep(50 * MS);
	event_us = worker_now_us(&worker);
	worker_stop(&worker);
	return unused;
}

static void a_stop_ends_a_sleep(void **state)
{
	pthread_t thread = in_thread(stop_later);

	(void)state;
	worker_run(&worker);
	assert_in_range(worker_now_us(&worker) - event_us, 0, 200 * MS);
	pthread_join(thread, NULL);
	assert_true(worker.stats.sleeps >= 1);
	assert_true(worker.stats.sleeps < 10);
}

static void a_stop_before_the_start_counts(void **state)
{
	(void)state;
	worker_stop(&worker);
	worker_run(&worker);
	assert_int_equal(worker.stats.loops, 0);
}

static void *send_later(void *unused)
{
	usleep(50 * MS);
	event_us = worker_now_us(&worker);
	far_send(1);
	return unused;
}

static void a_frame_ends_a_sleep(void **state)
{
	pthread_t thread = in_thread(send_later);

	(void)state;
	stack.stop_at_received = 1;
	worker_run(&worker);
	pthread_join(thread, NULL);
	assert_in_range(stack.last_us - event_us, 0, 200 * MS);
	assert_true(worker.stats.sleeps >= 1);
}

/* What was looked for in vain long enough is not looked for any more. */
static void long_sleeps_end_the_spinning(void **state)
{
	(void)state;
	assert_int_equal(worker.spin_ns, 50000);
	stack.deadline_us = 0;
	stack.period_us = 3 * MS;
	stack.stop_at_deadlines = 12;
	worker_run(&worker);
	assert_int_equal(worker.spin_ns, 0);
	assert_true(worker.stats.sleeps >= 8);
}

/* A spin budget that covers the wait needs no sleep at all. */
static void a_spin_saves_the_sleep(void **state)
{
	teardown(state);
	assert_int_equal(setup_with(1000 * MS), 0);
	stack.deadline_us = 5 * MS;
	stack.stop_at_deadlines = 1;
	worker_run(&worker);
	assert_int_equal(worker.stats.sleeps, 0);
	assert_true(worker.stats.spin_ns > 4000000);
}

static void count_report(void *context, uint64_t now_us)
{
	see_time(now_us);
	(*(uint32_t *)context)++;
}

static void reports_come_in_their_time(void **state)
{
	uint32_t reports = 0;

	(void)state;
	worker.config.report = count_report;
	worker.config.report_context = &reports;
	worker.config.report_us = 10 * MS;
	worker.report_at_us = 10 * MS;
	stack.deadline_us = 105 * MS;
	stack.stop_at_deadlines = 1;
	worker_run(&worker);
	assert_in_range(reports, 3, 11);
}

/* --- hooks ------------------------------------------------------------------------------------ */

static struct hook {
	uint32_t calls, stop_at_calls;
	uint32_t works; /* calls that find something to do */
	uint64_t deadline_us;
	atomic_uint brought; /* by another thread */
	uint32_t taken;
} hook;

static bool hook_run(void *context, uint64_t now_us)
{
	struct hook *of = context;
	bool moved = of->works > 0;

	see_time(now_us);
	of->works -= moved;
	for (; of->taken < of->brought; of->taken++)
		moved = true;
	if (of->deadline_us <= now_us) {
		of->deadline_us = UINT64_MAX;
		stack.fired_us = now_us;
		worker_stop(&worker);
	}
	if (++of->calls == of->stop_at_calls)
		worker_stop(&worker);
	return moved;
}

static uint64_t hook_deadline_us(void *context)
{
	return ((struct hook *)context)->deadline_us;
}

static void hook_up(int fd)
{
	hook = (struct hook){.deadline_us = UINT64_MAX};
	worker.config.hooks[0] = (struct worker_hook){hook_run, hook_deadline_us, &hook, fd};
	worker.config.hook_count = 1;
}

static void hooks_run_in_every_round(void **state)
{
	(void)state;
	hook_up(0);
	hook.works = 1000; /* so that it does not rest */
	hook.stop_at_calls = 1000;
	worker_run(&worker);
	assert_int_equal(worker.stats.loops, 1000);
	assert_int_equal(worker.stats.sleeps, 0);
}

static void a_deadline_of_a_hook_ends_a_sleep(void **state)
{
	(void)state;
	hook_up(0);
	hook.deadline_us = 50 * MS;
	worker_run(&worker);
	assert_in_range(stack.fired_us, 50 * MS, 250 * MS);
	assert_true(worker.stats.sleeps >= 1);
}

static int pipe_fds[2];

static void *write_later(void *unused)
{
	usleep(50 * MS);
	event_us = worker_now_us(&worker);
	assert_int_equal(write(pipe_fds[1], "x", 1), 1);
	return unused;
}

static bool read_and_stop(void *context, uint64_t now_us)
{
	char byte;

	(void)context;
	if (now_us < 40 * MS || read(pipe_fds[0], &byte, 1) != 1)
		return false;
	stack.fired_us = now_us;
	worker_stop(&worker);
	return true;
}

static void a_descriptor_of_a_hook_ends_a_sleep(void **state)
{
	pthread_t thread;

	(void)state;
	assert_int_equal(pipe2(pipe_fds, O_NONBLOCK), 0);
	hook_up(pipe_fds[0]);
	worker.config.hooks[0].run = read_and_stop;
	thread = in_thread(write_later);
	worker_run(&worker);
	pthread_join(thread, NULL);
	assert_in_range(stack.fired_us - event_us, 0, 200 * MS);
	assert_true(worker.stats.sleeps >= 1 && worker.stats.sleeps < 5);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

#define BROUGHT 20000u

static void *bring(void *unused)
{
	for (uint32_t i = 0; i < BROUGHT; i++) {
		atomic_fetch_add(&hook.brought, 1);
		waker_wake(&worker.waker);
		if (i % 64 == 0)
			usleep(i % 7 * 50);
	}
	worker_stop(&worker);
	return unused;
}

/* A wake-up that got lost would leave the last of them to the next one; the stop finds all taken, or one look
 * away. */
static void what_others_bring_is_never_slept_over(void **state)
{
	pthread_t thread;

	(void)state;
	teardown(state);
	assert_int_equal(setup_with(0), 0); /* sleeps at once */
	hook_up(0);
	thread = in_thread(bring);
	worker_run(&worker);
	pthread_join(thread, NULL);
	hook_run(&hook, worker_now_us(&worker));
	assert_int_equal(hook.taken, BROUGHT);
	assert_true(worker.stats.sleeps > 10);
}

static void *bring_one_later(void *unused)
{
	usleep(50 * MS);
	event_us = worker_now_us(&worker);
	atomic_fetch_add(&hook.brought, 1);
	waker_wake(&worker.waker);
	return unused;
}

static bool stop_when_brought(void *context, uint64_t now_us)
{
	struct hook *of = context;

	if (of->brought == 0)
		return false;
	stack.fired_us = now_us;
	worker_stop(&worker);
	return true;
}

static void a_wake_ends_a_sleep(void **state)
{
	pthread_t thread;

	(void)state;
	hook_up(0);
	worker.config.hooks[0].run = stop_when_brought;
	thread = in_thread(bring_one_later);
	worker_run(&worker);
	pthread_join(thread, NULL);
	assert_in_range(stack.fired_us - event_us, 0, 200 * MS);
	assert_true(worker.stats.sleeps >= 1 && worker.stats.sleeps < 5);
}

/* --- the end ----------------------------------------------------------------------------------- */

static void *receive_resets(void *unused)
{
	while (far_received < 1000)
		if (far_receive() == 0)
			usleep(10);
	return unused;
}

static void the_end_sends_every_reset(void **state)
{
	pthread_t thread = in_thread(receive_resets);

	(void)state;
	stack.slices = 10;
	worker_drain(&worker, 10000);
	pthread_join(thread, NULL);
	assert_int_equal(stack.wound_down, 1);
	assert_int_equal(stack.sent, 1000);
	assert_int_equal(far_received, 1000);
}

/* Nobody takes the resets: every connection ends nevertheless, and soon. */
static void the_end_has_an_end(void **state)
{
	uint64_t start_us = worker_now_us(&worker);

	(void)state;
	stack.slices = 10;
	worker_drain(&worker, 50);
	assert_int_equal(stack.slices, 0);
	assert_in_range(worker_now_us(&worker) - start_us, 0, 500 * MS);
}

static void *wind_down_later(void *unused)
{
	usleep(20 * MS);
	event_us = worker_now_us(&worker);
	worker_wind_down(&worker);
	return unused;
}

static void connections_may_end_by_themselves(void **state)
{
	pthread_t thread;

	(void)state;
	stack.connections = 3;
	stack.connections_until_us = 120 * MS;
	worker.config.drain_ms = 60000;
	thread = in_thread(wind_down_later);
	worker_run(&worker);
	pthread_join(thread, NULL);
	assert_int_equal(stack.wound_down, 1);
	assert_in_range(worker_now_us(&worker), 120 * MS, 400 * MS);
	worker_drain(&worker, 10);
	assert_int_equal(stack.wound_down, 1);
}

static void but_not_for_ever(void **state)
{
	pthread_t thread;

	(void)state;
	stack.connections = 3;
	stack.connections_until_us = UINT64_MAX;
	worker.config.drain_ms = 100;
	thread = in_thread(wind_down_later);
	worker_run(&worker);
	pthread_join(thread, NULL);
	assert_in_range(worker_now_us(&worker) - event_us, 99 * MS, 400 * MS);
	assert_true(worker.stats.sleeps >= 3); /* it does not spin for the time */
}

static void *stop_twice_later(void *unused)
{
	wind_down_later(unused);
	usleep(20 * MS);
	worker_stop(&worker);
	return unused;
}

static void a_second_stop_waits_for_nobody(void **state)
{
	pthread_t thread;

	(void)state;
	stack.connections = 3;
	stack.connections_until_us = UINT64_MAX;
	worker.config.drain_ms = 60000;
	thread = in_thread(stop_twice_later);
	worker_run(&worker);
	pthread_join(thread, NULL);
	assert_in_range(worker_now_us(&worker) - event_us, 20 * MS, 400 * MS);
}

/* Another worker has connections left, and may need us to send for it. */
static void nobody_ends_before_the_others_can(void **state)
{
	atomic_uint unended = 2;
	pthread_t thread;

	(void)state;
	worker.config.unended = &unended;
	worker.config.drain_ms = 100;
	thread = in_thread(wind_down_later);
	worker_run(&worker);
	pthread_join(thread, NULL);
	assert_int_equal(unended, 1);
	assert_in_range(worker_now_us(&worker) - event_us, 99 * MS, 400 * MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(frames_come_and_go, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_port_is_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_port_does_not_stop_the_timers, setup, teardown),
		cmocka_unit_test_setup_teardown(a_deadline_ends_a_sleep, setup, teardown),
		cmocka_unit_test_setup_teardown(a_deadline_in_the_past_is_now, setup, teardown),
		cmocka_unit_test_setup_teardown(a_stop_ends_a_sleep, setup, teardown),
		cmocka_unit_test_setup_teardown(a_stop_before_the_start_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(a_frame_ends_a_sleep, setup, teardown),
		cmocka_unit_test_setup_teardown(long_sleeps_end_the_spinning, setup, teardown),
		cmocka_unit_test_setup_teardown(a_spin_saves_the_sleep, setup, teardown),
		cmocka_unit_test_setup_teardown(reports_come_in_their_time, setup, teardown),
		cmocka_unit_test_setup_teardown(hooks_run_in_every_round, setup, teardown),
		cmocka_unit_test_setup_teardown(a_deadline_of_a_hook_ends_a_sleep, setup, teardown),
		cmocka_unit_test_setup_teardown(a_descriptor_of_a_hook_ends_a_sleep, setup, teardown),
		cmocka_unit_test_setup_teardown(what_others_bring_is_never_slept_over, setup, teardown),
		cmocka_unit_test_setup_teardown(a_wake_ends_a_sleep, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_sends_every_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_has_an_end, setup, teardown),
		cmocka_unit_test_setup_teardown(connections_may_end_by_themselves, setup, teardown),
		cmocka_unit_test_setup_teardown(but_not_for_ever, setup, teardown),
		cmocka_unit_test_setup_teardown(a_second_stop_waits_for_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(nobody_ends_before_the_others_can, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
