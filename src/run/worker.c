/* worker.c - the loop of one core: receive, run the stack, send, and rest.
 * In: frames of the ports, the machine's clock, a stop. Out: frames, the services' callbacks.
 * Owns: the eventfd that ends a sleep; stack and ports are lent. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "port/capture.h"
#include "port/fault.h"
#include "run/worker.h"
#include "sys/clock.h"

#define TX_ROUNDS        8       /* bursts sent before received frames get their turn again */
#define TX_FIRST_SPARE   4       /* frames reserved beyond one for each received */
#define SPIN_FIRST_NS    8000    /* a spin budget that grows from nothing starts here */
#define BLIND_SLEEP_NS   1000000 /* longest sleep over a port that cannot wake us */
#define BLOCKED_SLEEP_NS 50000   /* until we ask again whether the port has room */
#define SCRATCH_BYTES    10240   /* a frame of the largest MTU that we take */

uint64_t worker_now_us(const struct worker *worker)
{
	return (sys_now_ns() - worker->config.clock_base_ns) / 1000;
}

static uint64_t stack_now_us(const struct worker *worker)
{
	return (worker->now_ns - worker->config.clock_base_ns) / 1000;
}

int worker_init(struct worker *worker, const struct worker_config *config)
{
	*worker = (struct worker){
		.config = *config,
		.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
		.spin_ns = config->spin_max_us * 1000,
		.now_ns = sys_now_ns(),
	};
	worker->idle_since_ns = worker->now_ns;
	worker->report_at_us = config->report_us ? stack_now_us(worker) + config->report_us : UINT64_MAX;
	return worker->wake_fd < 0 ? -errno : 0;
}

void worker_fini(struct worker *worker)
{
	if (worker->wake_fd >= 0)
		close(worker->wake_fd);
	worker->wake_fd = -1;
}

void worker_stop(struct worker *worker)
{
	const uint64_t one = 1;
	int saved = errno;

	atomic_store(&worker->stop, true);
	/* Full means that it is readable already. */
	if (write(worker->wake_fd, &one, sizeof(one)) < 0)
		errno = saved;
}

/* The wrapping ports read no clock. Wall time for captures: what people compare with other logs. */
static void tell_time(struct worker *worker)
{
	struct timespec wall;

	if (worker->config.fault)
		fault_set_time(worker->config.fault, stack_now_us(worker));
	if (worker->config.capture) {
		clock_gettime(CLOCK_REALTIME, &wall);
		capture_set_time(worker->config.capture,
				 (uint64_t)wall.tv_sec * 1000000 + (uint64_t)wall.tv_nsec / 1000);
	}
}

static uint32_t receive(struct worker *worker)
{
	struct packet packets[PORT_BURST];
	uint32_t total = 0;

	for (uint32_t i = 0; i < worker->config.port_count; i++) {
		struct port *port = worker->config.ports[i];
		uint32_t count = port_rx(port, packets, PORT_BURST);

		if (count == 0)
			continue;
		stack_rx(worker->config.stack, stack_now_us(worker), packets, count);
		port_rx_release(port, packets, count);
		total += count;
	}
	return total;
}

static bool output_due(const struct worker *worker)
{
	return stack_has_output(worker->config.stack) ||
	       stack_deadline(worker->config.stack) <= stack_now_us(worker);
}

/* Frames are reserved only when there is something to put into them, and at first only as many as
 * the received ones make likely: taking a frame and giving it back is work, too. A port without
 * room does not stop the timers: the stack runs what is due and keeps its output. */
static uint32_t transmit(struct worker *worker, uint32_t received)
{
	struct packet frames[PORT_BURST];
	struct port *port = worker->config.ports[0];
	uint32_t total = 0, wanted = MIN_OF(PORT_BURST, received + TX_FIRST_SPARE);

	worker->blocked = false;
	for (int round = 0; round < TX_ROUNDS && output_due(worker); round++, wanted = PORT_BURST) {
		uint32_t reserved = port_tx_reserve(port, frames, wanted);
		uint32_t filled = stack_tx(worker->config.stack, stack_now_us(worker), frames, reserved);

		if (reserved > 0)
			port_tx_submit(port, frames, filled, reserved);
		total += filled;
		if (filled == reserved && reserved < wanted) {
			worker->blocked = stack_has_output(worker->config.stack);
			worker->stats.tx_blocked += worker->blocked;
			break;
		}
		if (filled < reserved)
			break;
	}
	return total;
}

/* --- rest -------------------------------------------------------------------- */

#if defined(__x86_64__) || defined(__i386__)
#define RELAX() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define RELAX() __asm__ volatile("yield")
#else
#define RELAX() __asm__ volatile("")
#endif

/* When the loop must look again whatever arrives, as a number of nanoseconds from now. */
static uint64_t longest_sleep_ns(const struct worker *worker)
{
	uint64_t now_us = stack_now_us(worker);
	uint64_t at_us = MIN_OF(stack_deadline(worker->config.stack), worker->report_at_us);
	uint64_t limit_ns = 24ull * 3600 * 1000000000;

	if (worker->config.fault)
		at_us = MIN_OF(at_us, fault_deadline_us(worker->config.fault));
	if (worker->config.ports[0]->wait_fd < 0)
		limit_ns = BLIND_SLEEP_NS;
	if (worker->blocked)
		limit_ns = BLOCKED_SLEEP_NS;
	if (at_us <= now_us)
		return 0;
	return at_us - now_us >= limit_ns / 1000 ? limit_ns : (at_us - now_us) * 1000;
}

static bool ports_agree_to_wait(struct worker *worker)
{
	bool agree = true;

	for (uint32_t i = 0; i < worker->config.port_count; i++)
		agree &= worker->config.ports[i]->ops->wait_prepare(worker->config.ports[i]);
	return agree;
}

static void ports_wait_done(struct worker *worker)
{
	for (uint32_t i = 0; i < worker->config.port_count; i++)
		if (worker->config.ports[i]->ops->wait_done)
			worker->config.ports[i]->ops->wait_done(worker->config.ports[i]);
}

/* True when a frame ended it. */
static bool wait_for_frames(struct worker *worker, uint64_t sleep_ns)
{
	struct pollfd fds[WORKER_QUEUES + 1];
	const struct timespec timeout = {
		.tv_sec = (time_t)(sleep_ns / 1000000000),
		.tv_nsec = (long)(sleep_ns % 1000000000),
	};
	uint32_t count = worker->config.port_count;
	int ready;

	for (uint32_t i = 0; i < count; i++)
		fds[i] = (struct pollfd){.fd = worker->config.ports[i]->wait_fd, .events = POLLIN};
	fds[count] = (struct pollfd){.fd = worker->wake_fd, .events = POLLIN};
	ready = ppoll(fds, count + 1, &timeout, NULL);
	return ready > (fds[count].revents != 0);
}

/* Looking pays when the next frame comes before a sleep would have paid: a short sleep says that
 * it would have, a long one that it was time wasted, or stolen from whoever shares this core. */
static void adapt_spin(struct worker *worker, bool by_frame, uint64_t slept_ns)
{
	uint32_t max_ns = worker->config.spin_max_us * 1000;

	if (by_frame && slept_ns <= max_ns) {
		worker->stats.short_sleeps++;
		worker->spin_ns = MIN_OF(max_ns, MAX_OF(worker->spin_ns * 2, SPIN_FIRST_NS));
	} else if (slept_ns > max_ns) {
		worker->spin_ns = worker->spin_ns / 2 < SPIN_FIRST_NS ? 0 : worker->spin_ns / 2;
	}
}

static void rest_asleep(struct worker *worker)
{
	uint64_t sleep_ns = longest_sleep_ns(worker);
	uint64_t start_ns = worker->now_ns;
	bool by_frame;

	if (sleep_ns == 0)
		return;
	if (ports_agree_to_wait(worker) && !atomic_load(&worker->stop)) {
		by_frame = wait_for_frames(worker, sleep_ns);
		worker->now_ns = sys_now_ns();
		worker->stats.sleeps++;
		worker->stats.sleep_ns += worker->now_ns - start_ns;
		adapt_spin(worker, by_frame, worker->now_ns - start_ns);
	}
	ports_wait_done(worker);
}

/* Nothing to do: look again at once, then with others let in between, then sleep. */
static void rest(struct worker *worker)
{
	uint64_t idle_ns = worker->now_ns - worker->idle_since_ns;

	if (idle_ns >= worker->spin_ns)
		rest_asleep(worker);
	else if (idle_ns >= worker->spin_ns / 2)
		sched_yield();
	else
		RELAX();
}

/* --- the loop ---------------------------------------------------------------- */

static void report_when_due(struct worker *worker)
{
	uint64_t now_us = stack_now_us(worker);

	if (likely(now_us < worker->report_at_us))
		return;
	worker->config.report(worker->config.report_context, now_us);
	worker->report_at_us = now_us + worker->config.report_us;
}

/* One reading of the clock a round. The time between two readings belongs to the
 * round before it, or to the sleep in it, which has read the clock itself. */
static void round_done(struct worker *worker, uint32_t moved)
{
	uint64_t before_ns = worker->now_ns;

	worker->stats.loops++;
	if (moved == 0) {
		rest(worker);
		before_ns = MAX_OF(before_ns, worker->now_ns);
	}
	worker->now_ns = sys_now_ns();
	if (moved > 0) {
		worker->stats.busy_ns += worker->now_ns - before_ns;
		worker->idle_since_ns = worker->now_ns;
	} else {
		worker->stats.spin_ns += worker->now_ns - before_ns;
	}
}

void worker_run(struct worker *worker)
{
	bool wrapped = worker->config.fault || worker->config.capture;

	while (!atomic_load_explicit(&worker->stop, memory_order_relaxed)) {
		uint32_t received, sent;

		if (wrapped)
			tell_time(worker);
		received = receive(worker);
		worker->stats.bursts += received > 0;
		sent = transmit(worker, received);
		report_when_due(worker);
		round_done(worker, received + sent);
	}
}

/* --- the end ----------------------------------------------------------------- */

static void unlisten(struct worker *worker)
{
	for (uint32_t i = 0; i < worker->config.service_count; i++) {
		const struct stack_message message = {.kind = STACK_UNLISTEN, .value = i};

		/* Refused for a service that does not listen: then there is nothing to do. */
		stack_control(worker->config.stack, stack_now_us(worker), &message);
	}
}

/* Takes output from the stack and throws it away: nobody waits for it any longer. */
static void discard_output(struct worker *worker)
{
	static uint8_t scratch[SCRATCH_BYTES];
	struct packet frame = {.data = scratch, .room = SCRATCH_BYTES};
	int limit = STACK_BURST;

	while (limit-- > 0 && stack_tx(worker->config.stack, stack_now_us(worker), &frame, 1) > 0)
		frame = (struct packet){.data = scratch, .room = SCRATCH_BYTES};
}

void worker_drain(struct worker *worker, uint32_t patience_ms)
{
	uint64_t end_ns = sys_now_ns() + (uint64_t)patience_ms * 1000000;
	bool stopped = false;

	worker->now_ns = sys_now_ns();
	unlisten(worker);
	while (!stopped || (stack_has_output(worker->config.stack) && worker->now_ns < end_ns)) {
		stopped = stack_stop(worker->config.stack, stack_now_us(worker));
		if (worker->now_ns >= end_ns)
			discard_output(worker);
		else if (transmit(worker, PORT_BURST) == 0 && worker->blocked)
			ports_agree_to_wait(worker); /* makes the port send what it has */
		worker->now_ns = sys_now_ns();
	}
	ports_agree_to_wait(worker);
	ports_wait_done(worker);
}
