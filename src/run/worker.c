/* worker.c - the loop of one core: receive, run the stack, send, and rest.
 * In: frames of the ports, the machine's clock, a stop. Out: frames, the services' callbacks.
 * Owns: what wakes it up; stack, ports and hooks are lent. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>

#include "port/capture.h"
#include "port/fault.h"
#include "run/relay.h"
#include "run/worker.h"
#include "sys/clock.h"

#define TX_ROUNDS        8       /* bursts sent before received frames get their turn again */
#define TX_FIRST_SPARE   4       /* frames reserved beyond one for each received */
#define SPIN_FIRST_NS    8000    /* a spin budget that grows from nothing starts here */
#define BLIND_SLEEP_NS   1000000 /* longest sleep over a port that cannot wake us */
#define BLOCKED_SLEEP_NS 50000   /* until we ask again whether the port has room */
#define PUBLISH_US       10000   /* counters are shown that often */
#define DRAIN_LOOK_US    10000   /* others are looked after that often, when all wait for the end */
#define LAST_LOOKS       32      /* bursts that arrived before the stop, at most, are still served */
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
		.spin_ns = config->spin_max_us * 1000,
		.now_ns = sys_now_ns(),
	};
	worker->idle_since_ns = worker->now_ns;
	worker->report_at_us = config->report_us ? stack_now_us(worker) + config->report_us : UINT64_MAX;
	statistics_begin(config->number);
	return waker_init(&worker->waker);
}

void worker_fini(struct worker *worker)
{
	waker_fini(&worker->waker);
	statistics_end(worker->config.number);
}

void worker_stop(struct worker *worker)
{
	atomic_store(&worker->stop, true);
	waker_ring(&worker->waker);
}

void worker_wind_down(struct worker *worker)
{
	atomic_store(&worker->wind_down, true);
	waker_ring(&worker->waker);
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

/* What other workers received for us. */
static uint32_t receive_from_others(struct worker *worker)
{
	struct handover *handover = worker->config.handover;
	struct packet packets[PORT_BURST];
	uint32_t total = 0;

	for (uint32_t from = 0; from < handover->owner->workers; from++) {
		uint32_t count = handover_take(handover, from, packets, PORT_BURST);

		if (count == 0)
			continue;
		stack_rx(worker->config.stack, stack_now_us(worker), packets, count);
		handover_release(handover, from);
		total += count;
	}
	return total;
}

static uint32_t receive(struct worker *worker)
{
	struct handover *handover = worker->config.handover;
	struct packet packets[PORT_BURST];
	uint32_t total = 0;

	for (uint32_t i = 0; i < worker->config.port_count; i++) {
		struct port *port = worker->config.ports[i];
		uint32_t count = port_rx(port, packets, PORT_BURST), ours = count;

		if (count == 0)
			continue;
		if (handover)
			ours = handover_sort(handover, packets, count, stack_now_us(worker));
		if (ours > 0)
			stack_rx(worker->config.stack, stack_now_us(worker), packets, ours);
		port_rx_release(port, packets, count);
		total += count;
	}
	if (!handover)
		return total;
	total += receive_from_others(worker);
	while (stack_elsewhere(worker->config.stack, &packets[0])) /* from fragments */
		handover_pass(handover, &packets[0]);
	return total;
}

/* True when one of them did something. */
static bool run_hooks(struct worker *worker)
{
	bool moved = false;

	for (uint32_t i = 0; i < worker->config.hook_count; i++) {
		const struct worker_hook *hook = &worker->config.hooks[i];

		moved |= hook->run(hook->context, stack_now_us(worker));
	}
	return moved;
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

/* Frames of workers that have no queue. */
static uint32_t send_for_others(struct worker *worker)
{
	uint32_t total = 0;

	for (uint32_t i = 0; i < worker->config.relayed_count; i++)
		total += relay_forward(worker->config.relayed[i], worker->config.ports[0], &worker->blocked);
	if (total > 0)
		worker->config.handover->stats.sent_for_others += total;
	return total;
}

static bool others_wait(const struct worker *worker)
{
	for (uint32_t i = 0; i < worker->config.relayed_count; i++)
		if (frame_ring_waits(worker->config.relayed[i]))
			return true;
	return worker->config.handover && handover_waits(worker->config.handover);
}

/* --- rest -------------------------------------------------------------------- */

static uint64_t hooks_deadline_us(const struct worker *worker)
{
	uint64_t at_us = UINT64_MAX;

	for (uint32_t i = 0; i < worker->config.hook_count; i++) {
		const struct worker_hook *hook = &worker->config.hooks[i];

		if (hook->deadline_us)
			at_us = MIN_OF(at_us, hook->deadline_us(hook->context));
	}
	return at_us;
}

/* When the loop must look again whatever arrives, as a number of nanoseconds from now. */
static uint64_t longest_sleep_ns(const struct worker *worker)
{
	uint64_t now_us = stack_now_us(worker);
	uint64_t at_us = MIN_OF(stack_deadline(worker->config.stack), worker->report_at_us);
	uint64_t limit_ns = 24ull * 3600 * 1000000000;

	if (worker->config.fault)
		at_us = MIN_OF(at_us, fault_deadline_us(worker->config.fault));
	at_us = MIN_OF(at_us, hooks_deadline_us(worker));
	if (worker->config.ports[0]->wait_fd < 0 && !worker->config.relay) /* who hands over wakes us */
		limit_ns = BLIND_SLEEP_NS;
	if (worker->winding_down)
		at_us = MIN_OF(at_us, MIN_OF(worker->drained_at_us, now_us + DRAIN_LOOK_US));
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

/* True when a frame, a hook's descriptor or another thread ended it. */
static bool wait_for_frames(struct worker *worker, uint64_t sleep_ns, bool *rung)
{
	struct pollfd fds[WORKER_QUEUES + WORKER_HOOKS + 1];
	const struct timespec timeout = {
		.tv_sec = (time_t)(sleep_ns / 1000000000),
		.tv_nsec = (long)(sleep_ns % 1000000000),
	};
	uint32_t count = worker->config.port_count;
	int ready;

	for (uint32_t i = 0; i < count; i++)
		fds[i] = (struct pollfd){.fd = worker->config.ports[i]->wait_fd, .events = POLLIN};
	for (uint32_t i = 0; i < worker->config.hook_count; i++)
		if (worker->config.hooks[i].fd > 0)
			fds[count++] = (struct pollfd){.fd = worker->config.hooks[i].fd, .events = POLLIN};
	fds[count] = (struct pollfd){.fd = worker->waker.fd, .events = POLLIN};
	ready = ppoll(fds, count + 1, &timeout, NULL);
	*rung = fds[count].revents != 0;
	return ready > 0;
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
	bool by_frame, rung = false;

	if (sleep_ns == 0)
		return;
	worker_publish(worker);
	waker_prepare(&worker->waker);
	if (!run_hooks(worker) && !others_wait(worker) && ports_agree_to_wait(worker) &&
	    !atomic_load(&worker->stop) && atomic_load(&worker->wind_down) == worker->winding_down) {
		by_frame = wait_for_frames(worker, sleep_ns, &rung);
		worker->now_ns = sys_now_ns();
		worker->stats.sleeps++;
		worker->stats.sleep_ns += worker->now_ns - start_ns;
		adapt_spin(worker, by_frame, worker->now_ns - start_ns);
	}
	waker_done(&worker->waker, rung);
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
		RELAX_PROCESSOR();
}

/* --- the loop ---------------------------------------------------------------- */

void worker_publish(struct worker *worker)
{
	struct statistics now = {.counters = *stack_counters(worker->config.stack), .worker = worker->stats};

	c10m_worker_stats(stack_worker(worker->config.stack), &now.stats);
	if (worker->config.handover) {
		now.handover = worker->config.handover->stats;
		now.stats.drops += now.handover.lost;
	}
	statistics_publish(worker->config.number, &now);
}

static void chores_when_due(struct worker *worker)
{
	uint64_t now_us = stack_now_us(worker);

	if (likely(now_us < worker->chores_at_us))
		return;
	if (now_us >= worker->publish_at_us) {
		worker_publish(worker);
		worker->publish_at_us = now_us + PUBLISH_US;
	}
	if (now_us >= worker->report_at_us) {
		worker->config.report(worker->config.report_context, now_us);
		worker->report_at_us = now_us + worker->config.report_us;
	}
	worker->chores_at_us = MIN_OF(worker->publish_at_us, worker->report_at_us);
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

static void wind_down(struct worker *worker)
{
	if (worker->winding_down)
		return;
	worker->winding_down = true;
	worker->drained_at_us = stack_now_us(worker) + (uint64_t)worker->config.drain_ms * 1000;
	stack_wind_down(worker->config.stack, stack_now_us(worker));
}

/* True when the loop may end: the time is over, or nobody has a connection left. */
static bool is_drained(struct worker *worker)
{
	atomic_uint *unended = worker->config.unended;
	struct c10m_stats stats;
	bool ended;

	if (likely(!atomic_load_explicit(&worker->wind_down, memory_order_relaxed)))
		return false;
	wind_down(worker);
	c10m_worker_stats(stack_worker(worker->config.stack), &stats);
	ended = stats.connections == 0 && !stack_has_output(worker->config.stack);
	if (unended && ended != worker->ended)
		atomic_fetch_add(unended, ended ? UINT_MAX : 1u);
	worker->ended = ended;
	return (ended && (!unended || atomic_load(unended) == 0)) ||
	       stack_now_us(worker) >= worker->drained_at_us;
}

void worker_run(struct worker *worker)
{
	bool wrapped = worker->config.fault || worker->config.capture;

	while (!atomic_load_explicit(&worker->stop, memory_order_relaxed) && !is_drained(worker)) {
		uint32_t received, sent, hooked;

		if (wrapped)
			tell_time(worker);
		received = receive(worker);
		worker->stats.bursts += received > 0;
		hooked = run_hooks(worker);
		sent = transmit(worker, received) + send_for_others(worker);
		chores_when_due(worker);
		round_done(worker, received + sent + hooked);
	}
}

/* --- the end ----------------------------------------------------------------- */

/* Takes output from the stack and throws it away: nobody waits for it any longer. */
static void discard_output(struct worker *worker)
{
	uint8_t scratch[SCRATCH_BYTES]; /* each worker's own: several end at the same time */
	struct packet frame = {.data = scratch, .room = SCRATCH_BYTES};
	int limit = STACK_BURST;

	while (limit-- > 0 && stack_tx(worker->config.stack, stack_now_us(worker), &frame, 1) > 0)
		frame = (struct packet){.data = scratch, .room = SCRATCH_BYTES};
}

static bool others_may_send(const struct worker *worker)
{
	for (uint32_t i = 0; i < worker->config.relayed_count; i++)
		if (!frame_ring_ended(worker->config.relayed[i]))
			return true;
	return false;
}

void worker_drain(struct worker *worker, uint32_t patience_ms)
{
	uint64_t end_ns = sys_now_ns() + (uint64_t)patience_ms * 1000000;
	bool stopped = false;

	worker->now_ns = sys_now_ns();
	/* A handshake's last segment among them makes a connection that can be told. */
	for (int i = 0; i < LAST_LOOKS && receive(worker) > 0; i++)
		continue;
	wind_down(worker);
	while (!stopped || ((stack_has_output(worker->config.stack) || others_may_send(worker)) &&
			    worker->now_ns < end_ns)) {
		stopped = stack_stop(worker->config.stack, stack_now_us(worker));
		if (worker->now_ns >= end_ns)
			discard_output(worker);
		else if (transmit(worker, PORT_BURST) + send_for_others(worker) == 0 && worker->blocked)
			ports_agree_to_wait(worker); /* makes the port send what it has */
		else if (worker->config.relayed_count > 0)
			sched_yield(); /* to those whose frames we wait for */
		worker->now_ns = sys_now_ns();
	}
	if (worker->config.relay)
		frame_ring_close(worker->config.relay);
	ports_agree_to_wait(worker);
	ports_wait_done(worker);
	worker_publish(worker);
}
