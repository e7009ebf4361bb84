/* deadlines.c - what a service demands of its peers: a first byte, no long silence, data taken.
 * In: the timers that a connection has anyway, and what segments leave in its block: rcv_nxt, snd_una.
 * Out: whether a deadline is over.  Owns: struct tcb_watch at the end of each block, which exists only where
 * a service has deadlines.
 *
 * Nothing is noted when a segment comes. Whoever looks compares with what he saw the last time: when rcv_nxt
 * has moved, the peer was heard at last_rx_tick at the latest. So an honest peer's deadline is exact, and one
 * who hides its silence behind bare acknowledgements is found out at the next look, one deadline later. */
#include "tcp/core.h"

#define RTO_MAX_TICKS 60000u

static struct tcb_watch *watch_of(const struct core *core, const struct tcb *tcb)
{
	return (struct tcb_watch *)((uintptr_t)tcb + core->blocks.stride - sizeof(struct tcb_watch));
}

static const struct service_deadlines *deadlines_of(const struct core *core, const struct tcb *tcb)
{
	return &core->deadlines[tcb->service];
}

static bool watches_silence(const struct core *core, const struct tcb *tcb)
{
	const struct service_deadlines *deadlines = deadlines_of(core, tcb);

	return deadlines->first_byte_ms || deadlines->idle_ms;
}

/* --- silence, beside keepalive in the same timer */

static uint32_t later(uint32_t a, uint32_t b)
{
	return tick_before(a, b) ? b : a;
}

/* Since when the connection is quiet: while data is on its way or unread it is not. */
static uint32_t quiet_since(const struct core *core, const struct tcb *tcb, const struct tcb_watch *watch)
{
	if (watch->first_byte)
		return watch->heard_tick;
	if (tcb->snd_bytes || tcb->rcv_bytes)
		return core->now_tick;
	return later(watch->heard_tick, tcb->unacked_tick);
}

/* A tick may have almost passed already: one more. */
static bool silence_deadline(const struct core *core, const struct tcb *tcb, uint32_t *tick)
{
	const struct tcb_watch *watch = watch_of(core, tcb);
	uint32_t limit = watch->first_byte ? deadlines_of(core, tcb)->first_byte_ms
					   : deadlines_of(core, tcb)->idle_ms;

	if (!limit || tcb->pending & (TCB_FIN_TAKEN | TCB_NO_READER))
		return false;
	*tick = quiet_since(core, tcb, watch) + limit + 1;
	return true;
}

static void arm_earlier(const struct core *core, struct tcb *tcb)
{
	const struct tcb_watch *watch = watch_of(core, tcb);
	bool any = watch->keep_set;
	uint32_t tick = watch->keep_tick, silence;

	if (silence_deadline(core, tcb, &silence) && (!any || tick_before(silence, tick))) {
		tick = silence;
		any = true;
	}
	if (!any)
		return;
	tcb->keep_tick = tick;
	tcb->timers |= TCB_TIMER_KEEP;
}

void tcp_arm_slow(struct core *core, struct tcb *tcb, uint32_t keep_ms)
{
	struct tcb_watch *watch;

	if (keep_ms)
		conn_set_timer(core, tcb, TCB_TIMER_KEEP, core->now_tick + keep_ms);
	if (likely(!watches_silence(core, tcb)))
		return;
	watch = watch_of(core, tcb);
	watch->keep_set = keep_ms != 0;
	watch->keep_tick = tcb->keep_tick;
	arm_earlier(core, tcb);
}

void tcp_watch_begin(struct core *core, struct tcb *tcb)
{
	struct tcb_watch *watch;

	if (likely(!watches_silence(core, tcb)))
		return;
	watch = watch_of(core, tcb);
	watch->rcv_seen = tcb->rcv_nxt;
	watch->heard_tick = core->now_tick;
	watch->first_byte = deadlines_of(core, tcb)->first_byte_ms != 0;
}

static void look(const struct tcb *tcb, struct tcb_watch *watch)
{
	if (tcb->rcv_nxt == watch->rcv_seen)
		return;
	watch->rcv_seen = tcb->rcv_nxt;
	watch->heard_tick = tcb->last_rx_tick;
	watch->first_byte = false;
}

bool tcp_watch_silence(struct core *core, struct tcb *tcb, bool *keep_due)
{
	struct tcb_watch *watch;
	uint32_t tick;

	*keep_due = true;
	if (likely(!watches_silence(core, tcb)))
		return true;
	watch = watch_of(core, tcb);
	look(tcb, watch);
	if (silence_deadline(core, tcb, &tick) && tick_reached(tick, core->now_tick)) {
		core->counters.tcp_first_byte_deadlines += watch->first_byte;
		core->counters.tcp_idle_deadlines += !watch->first_byte;
		return false;
	}
	*keep_due = watch->keep_set && tick_reached(watch->keep_tick, core->now_tick);
	watch->keep_set = watch->keep_set && !*keep_due;
	arm_earlier(core, tcb);
	return true;
}

bool tcp_watch_armed(const struct core *core, const struct tcb *tcb)
{
	uint32_t tick;

	return tcb->state < TCP_ESTABLISHED || !watches_silence(core, tcb) ||
	       !silence_deadline(core, tcb, &tick) || tcb->timers & TCB_TIMER_KEEP;
}

/* --- data that the peer does not take, beside the retransmission timer: it runs as long as there is any */

/* What was seen long ago, when another four gigabytes had just been acknowledged, is no stalled byte. */
static bool is_stale(const struct core *core, const struct tcb_watch *watch, uint32_t limit)
{
	return core->now_tick - watch->una_tick > (uint64_t)2 * limit + 2 * RTO_MAX_TICKS;
}

bool tcp_unsent_deadline(struct core *core, struct tcb *tcb, uint32_t *tick)
{
	uint32_t limit = deadlines_of(core, tcb)->unsent_ms;
	struct tcb_watch *watch;

	if (likely(!limit) || tcb->snd_bytes == 0 || tcb->state < TCP_ESTABLISHED)
		return false;
	watch = watch_of(core, tcb);
	if (!watch->una_set || watch->una_seen != tcb->snd_una || is_stale(core, watch, limit)) {
		watch->una_set = 1;
		watch->una_seen = tcb->snd_una;
		watch->una_tick = tcb->unacked_tick;
	}
	*tick = watch->una_tick + limit + 1;
	return true;
}
