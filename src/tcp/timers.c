/* timers.c - what time does to a connection (RFC 6298, RFC 9293 sections 3.8.3, 3.8.4, 3.8.6.1). */
#include "tcp/core.h"

#include "base/plant.h"
#include "tcp/congestion.h"
#include "tcp/fastopen.h"
#include "tcp/path.h"
#include "tcp/recovery.h"

#define BACKOFF_MAX        31u
#define RTO_MAX_US         60000000u
#define RTO_UNKNOWN_US     3000000u
#define SYN_GIVE_UP_TICKS  180000u /* RFC 9293 section 3.8.3: three minutes at least */
#define USER_TIMEOUT_TICKS 900000u /* R2: 100 s at least; a quarter of an hour outlives most outages */
#define R1                 3u      /* retransmissions, RFC 9293 section 3.8.3: then the way is doubted */
#define KEEPALIVE_PROBES   9u
#define KEEPALIVE_PROBE_MS 75000u

void tcp_rtt_sample(struct core *core, struct tcb *tcb, uint32_t rtt_us)
{
	uint32_t delta;

	(void)core;
	rtt_us = MAX_OF(rtt_us, 1u);
	if (tcb->min_rtt_us == 0 || rtt_us < tcb->min_rtt_us)
		tcb->min_rtt_us = rtt_us;
	if (tcb->srtt_us == 0) {
		tcb->srtt_us = rtt_us;
		tcb->rttvar_us = rtt_us / 2;
		return;
	}
	delta = tcb->srtt_us > rtt_us ? tcb->srtt_us - rtt_us : rtt_us - tcb->srtt_us;
	tcb->rttvar_us = tcb->rttvar_us - tcb->rttvar_us / 4 + delta / 4;
	tcb->srtt_us = tcb->srtt_us - tcb->srtt_us / 8 + rtt_us / 8;
}

/* Section 2's K * RTTVAR. There is about one sample a round trip, mostly of what left first and met no queue,
 * so that the variance of a long path dies away; what is sent again meets the queue. The least time-out of a
 * second that the RFC asks for would cover that, ours does not. */
static uint32_t spread_us(const struct core *core, const struct tcb *tcb)
{
	uint32_t least_us = MIN_OF(tcb->srtt_us / 2, core->settings.rto_min_us);

	return MAX_OF(MAX_OF(TICK_US, least_us), 4u * tcb->rttvar_us);
}

uint32_t tcp_rto_us(const struct core *core, const struct tcb *tcb)
{
	uint64_t rto = core->settings.rto_initial_us;

	if (!tcb->srtt_us && tcb->state >= TCP_ESTABLISHED) /* RFC 6298 section 5.7: the SYN was lost */
		rto = MAX_OF(rto, RTO_UNKNOWN_US);
	if (tcb->srtt_us)
		rto = (uint64_t)tcb->srtt_us + spread_us(core, tcb);
	rto = MAX_OF(rto, core->settings.rto_min_us);
	rto <<= MIN_OF(tcb->backoff, 16);
	return (uint32_t)MIN_OF(rto, (uint64_t)RTO_MAX_US);
}

void tcp_arm_rtx(struct core *core, struct tcb *tcb)
{
	uint32_t after_us = tcp_rto_us(core, tcb);

	tcb->timers &= (uint8_t)~TCB_TIMER_SOON;
	if (tcb->snd_nxt != tcb->snd_una)
		tcb->timers &= (uint8_t)~TCB_TIMER_PERSIST;
	if (probe_is_worth_it(tcb, after_us) && probe_due_us(core, tcb, after_us, &after_us))
		tcb->timers |= TCB_TIMER_SOON;
	conn_set_timer(core, tcb, TCB_TIMER_RTX, core->now_tick + ticks_round_up(after_us));
}

void tcp_arm_probe(struct core *core, struct tcb *tcb)
{
	uint32_t after_us;

	if (!(tcb->options & TCB_SACK) || !(tcb->timers & TCB_TIMER_RTX) || tcb->timers & TCB_TIMER_PERSIST ||
	    tcb->snd_nxt - tcb->snd_una <= tcb->mss ||
	    !probe_due_us(core, tcb, tcp_rto_us(core, tcb), &after_us))
		return;
	conn_set_timer(core, tcb, TCB_TIMER_RTX, core->now_tick + ticks_round_up(after_us));
	tcb->timers |= TCB_TIMER_SOON;
}

/* The full time-out, after a probe or a look that came before it. */
static void arm_timeout(struct core *core, struct tcb *tcb)
{
	uint32_t after_us = tcp_rto_us(core, tcb);

	tcb->timers &= (uint8_t)~TCB_TIMER_SOON;
	conn_set_timer(core, tcb, TCB_TIMER_RTX, core->now_tick + ticks_round_up(after_us));
	tcp_heed_user_timeout(tcb);
}

static void look_soon(struct core *core, struct tcb *tcb)
{
	arm_timeout(core, tcb);
	if (tcb->options & TCB_BOARD)
		recovery_look(core, tcb);
	else if (tcb->snd_nxt != tcb->snd_una)
		probe_begin(core, tcb);
	conn_ready(core, tcb_index(core, tcb));
}

void tcp_arm_keepalive(struct core *core, struct tcb *tcb)
{
	tcp_arm_slow(core, tcb, tcb->options & TCB_KEEPALIVE ? tcb->keepalive_ms : 0);
}

static bool given_up(const struct core *core, const struct tcb *tcb)
{
	uint32_t limit = tcb->user_timeout_ms ? tcb->user_timeout_ms : USER_TIMEOUT_TICKS;

	if (tcb->state == TCP_SYN_SENT || tcb->state == TCP_SYN_RECEIVED)
		limit = tcb->user_timeout_ms ? tcb->user_timeout_ms : SYN_GIVE_UP_TICKS;
	return tick_reached(tcb->unacked_tick + limit + 1, core->now_tick); /* its tick had begun before */
}

void tcp_heed_user_timeout(struct tcb *tcb)
{
	uint32_t end = tcb->unacked_tick + tcb->user_timeout_ms + 1;

	if (tcb->user_timeout_ms && tcb->timers & TCB_TIMER_RTX && tick_before(end, tcb->rtx_tick))
		tcb->rtx_tick = end;
}

/* The next look is at the backed-off time or when patience ends, whichever is first. */
static void rearm(struct core *core, struct tcb *tcb)
{
	uint32_t end;

	tcp_arm_rtx(core, tcb);
	tcp_heed_user_timeout(tcb);
	if (tcp_unsent_deadline(core, tcb, &end) && tick_before(end, tcb->rtx_tick))
		tcb->rtx_tick = end;
}

static void end_by_deadline(struct core *core, uint32_t index)
{
	tcp_abort_segment(core, tcb_at(core, index));
	conn_end(core, index, C10M_CLOSE_DEADLINE);
}

static void back_off(struct core *core, struct tcb *tcb)
{
	tcb->duplicate_acks = 0;
	if (tcb->backoff < BACKOFF_MAX)
		tcb->backoff++;
	if (!PLANTED(LOST_TIMER))
		rearm(core, tcb);
}

/* Go back to snd_una in slow start: what the peer has already is acknowledged as a whole. */
static void retransmit(struct core *core, struct tcb *tcb)
{
	bool syn = tcb->state == TCP_SYN_SENT || tcb->state == TCP_SYN_RECEIVED;

	core->counters.tcp_retransmit_timeouts++;
	if (!syn)
		path_timeout(core, tcb);
	if (!syn && tcb->options & TCB_SACK && recovery_timeout(core, tcb)) {
		tcb->pending &= (uint16_t)~TCB_RTT_TIMING;
		back_off(core, tcb);
		return;
	}
	board_detach(core, tcb);
	if (!syn) {
		frto_timeout(core, tcb,
			     tcb->backoff == 0 && !(tcb->pending & TCB_RECOVERY) &&
				     !(tcb->options & TCB_BACKED));
		congestion_timeout(core, tcb, tcb->backoff == 0);
		tcb->recover = tcb_snd_max(tcb);
		tcb->options |= TCB_BACKED;
		tcb->snd_nxt = tcb->snd_una;
	} else {
		tcb->pending |= TCB_RTX;
	}
	tcb->pending &= (uint16_t) ~(TCB_RECOVERY | TCB_RTT_TIMING);
	back_off(core, tcb);
}

static bool rtx_expired(struct core *core, uint32_t index)
{
	struct tcb *tcb = tcb_at(core, index);
	uint32_t end;

	if (tcb->timers & TCB_TIMER_SOON) {
		look_soon(core, tcb);
		return true;
	}
	if (given_up(core, tcb)) {
		if (tcb->state == TCP_SYN_SENT)
			core->counters.tcp_connect_timeouts++;
		else
			core->counters.tcp_user_timeouts++;
		tcp_abort_segment(core, tcb);
		conn_end(core, index, C10M_CLOSE_TIMEOUT);
		return false;
	}
	if (tcp_unsent_deadline(core, tcb, &end) && tick_reached(end, core->now_tick)) {
		core->counters.tcp_unsent_deadlines++;
		end_by_deadline(core, index);
		return false;
	}
	if (tcb->timers & TCB_TIMER_PERSIST) {
		tcb->pending |= TCB_PROBE;
		if (tcb->backoff < BACKOFF_MAX)
			tcb->backoff++;
		path_probe_timeout(core, tcb);
		rearm(core, tcb);
		tcb->timers |= TCB_TIMER_PERSIST;
	} else {
		retransmit(core, tcb);
	}
	conn_ready(core, index);
	if (tcb->backoff != R1 || tcb->timers & TCB_TIMER_PERSIST)
		return true;
	net_doubt(&core->net, tcb->destination);
	fastopen_doubt(core, tcb);
	core->events->trouble(core, index, C10M_TROUBLE_SILENCE);
	return false;
}

static bool keep_expired(struct core *core, uint32_t index)
{
	struct tcb *tcb = tcb_at(core, index);
	uint32_t silent = core->now_tick - tcb->last_rx_tick;
	bool keep_due;

	if (tcb->state == TCP_FIN_WAIT_2 && tcb->pending & TCB_NO_READER) {
		conn_end(core, index, C10M_CLOSE_NORMAL);
		return false;
	}
	if (!tcp_watch_silence(core, tcb, &keep_due)) {
		end_by_deadline(core, index);
		return false;
	}
	if (!keep_due || !tcb->keepalive_ms || tcb->state == TCP_TIME_WAIT || tcb->state == TCP_CLOSED)
		return true;
	if (silent < tcb->keepalive_ms || tcb->snd_nxt != tcb->snd_una) {
		uint32_t left = silent < tcb->keepalive_ms ? tcb->keepalive_ms - silent : tcb->keepalive_ms;

		tcp_arm_slow(core, tcb, left);
		return true;
	}
	if (tcb->keep_probes >= KEEPALIVE_PROBES) {
		core->counters.tcp_keepalive_timeouts++;
		tcp_abort_segment(core, tcb);
		conn_end(core, index, C10M_CLOSE_KEEPALIVE);
		return false;
	}
	tcb->keep_probes++;
	tcb->pending |= TCB_PROBE;
	if (!PLANTED(KEEPALIVE_ONCE))
		tcp_arm_slow(core, tcb, MIN_OF(KEEPALIVE_PROBE_MS, tcb->keepalive_ms));
	conn_ready(core, index);
	return true;
}

static bool take_due(struct core *core, struct tcb *tcb, uint8_t timer, uint32_t tick)
{
	if (!(tcb->timers & timer) || !tick_reached(tick, core->now_tick))
		return false;
	tcb->timers &= (uint8_t)~timer;
	core->counters.timer_fired++;
	return true;
}

void tcp_timers_run(struct core *core, uint32_t index)
{
	struct tcb *tcb = tcb_at(core, index);

	if (take_due(core, tcb, TCB_TIMER_DELACK, tcb->delack_tick)) {
		tcb->pending |= TCB_ACK_NOW;
		if (!(tcb->pending & TCB_FIN_HELD))
			tcb->fin_seq = tcb->rcv_nxt; /* the start is over */
		core->counters.tcp_delayed_acks++;
		conn_ready(core, index);
	}
	if (take_due(core, tcb, TCB_TIMER_RTX, tcb->rtx_tick) && !rtx_expired(core, index))
		return;
	if (take_due(core, tcb, TCB_TIMER_KEEP, tcb->keep_tick) && !keep_expired(core, index))
		return;
	if (take_due(core, tcb, TCB_TIMER_USER, tcb->user_tick)) {
		core->events->timer(core, index);
		return;
	}
	conn_file_timers(core, index);
}
