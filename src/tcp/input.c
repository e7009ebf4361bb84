/* input.c - a segment for a block, in the order of RFC 9293 section 3.10.7.4.
 * In: stack/ finds the block.  Out: a drop reason, or what the application must be told (tcp_result).
 * The caller offers the data and comes back through tcp_taken. */
#include "tcp/core.h"

#include "base/plant.h"
#include "tcp/congestion.h"
#include "tcp/ecn.h"
#include "tcp/model.h"
#include "tcp/fastopen.h"
#include "tcp/path.h"
#include "tcp/recovery.h"

#define CHALLENGES_PER_SECOND 100u

static void acknowledge_at_once(struct core *core, struct tcb *tcb)
{
	tcb->pending |= TCB_ACK_NOW;
	if (tcb->acks_owed < UINT8_MAX)
		tcb->acks_owed++;
	conn_ready(core, tcb_index(core, tcb));
}

/* RFC 5961 section 7: counted over all connections, and the limit itself is not to be measured from
 * outside (CVE-2016-5696), so that it is drawn anew each second. */
static void challenge(struct core *core, struct tcb *tcb)
{
	if (core->now_tick - core->challenge_tick >= TICKS_PER_SECOND) {
		core->challenge_tick = core->now_tick;
		core->challenge_tokens = CHALLENGES_PER_SECOND / 2 +
					 core_random_below(core, CHALLENGES_PER_SECOND);
	}
	if (core->challenge_tokens == 0) {
		core->counters.drops[DROP_REPLY_RATE]++;
		return;
	}
	core->challenge_tokens--;
	core->counters.tcp_challenge_acks++;
	acknowledge_at_once(core, tcb);
}

static void ended(struct tcp_result *result, enum c10m_close_reason reason)
{
	result->events |= TCP_EVENT_CLOSED;
	result->reason = reason;
}

static bool in_window(const struct tcb *tcb, const struct tcp_segment *segment)
{
	uint32_t window = tcb->rcv_adv - tcb->rcv_nxt, length = tcp_segment_length(segment);
	uint32_t edge = PLANTED(WINDOW_EDGE) ? window + 1 : window;

	/* The edge itself counts, against RFC 9293 section 3.10.7.4: who has filled the window and lost a
	 * part of it acknowledges from there, and two of that kind would exchange answers for ever. */
	if (length == 0)
		return segment->seq - tcb->rcv_nxt <= window;
	if (window == 0)
		return false;
	return segment->seq - tcb->rcv_nxt < edge || segment->seq + length - 1 - tcb->rcv_nxt < edge ||
	       (seq_lt(segment->seq, tcb->rcv_nxt) && seq_geq(segment->seq + length, tcb->rcv_adv));
}

/* --- SYN-SENT: RFC 9293 section 3.10.7.3 */

static void syn_acked(struct core *core, struct tcb *tcb, const struct tcp_segment *segment)
{
	const uint32_t ack = PLANTED(FASTOPEN_WHOLE) ? tcb->snd_nxt : segment->ack;

	fastopen_learn(core, tcb, segment);
	sendq_drop(core, tcb, ack - tcb->snd_una - 1); /* of what went with the SYN */
	tcb->snd_una = tcb->snd_nxt = ack;
	tcb->timers &= (uint8_t) ~(TCB_TIMER_RTX | TCB_TIMER_PERSIST);
	if (tcb->pending & TCB_RTT_TIMING)
		tcp_rtt_sample(core, tcb, (uint32_t)core->now_us - tcb->rtt_start_us);
	else
		tcb->cwnd = tcb->mss; /* the SYN was lost: RFC 5681 section 3.1 */
	tcb->pending &= (uint16_t) ~(TCB_RTT_TIMING | TCB_RTX);
	tcb->backoff = 0;
	tcb->unacked_tick = core->now_tick;
}

/* Our SYN, and of what went with it all or a part (RFC 7413 section 4.2). */
static bool acks_syn(const struct tcb *tcb, const struct tcp_segment *segment)
{
	return seq_gt(segment->ack, tcb->snd_una) && seq_leq(segment->ack, tcb->snd_nxt);
}

static enum drop_reason syn_sent_input(struct core *core, struct tcb *tcb, const struct tcp_segment *segment,
				       struct tcp_result *result)
{
	bool ack = segment->flags & TCP_ACK;

	if (ack && !acks_syn(tcb, segment)) {
		result->events |= segment->flags & TCP_RST ? 0 : TCP_EVENT_RESET;
		return DROP_TCP_ACK_INVALID;
	}
	if (segment->flags & TCP_RST) {
		if (!ack)
			return DROP_TCP_RST_IGNORED;
		core->counters.tcp_resets_in++;
		ended(result, C10M_CLOSE_REFUSED);
		return DROP_NONE;
	}
	if (!(segment->flags & TCP_SYN))
		return DROP_TCP_FLAGS;
	tcp_learn_syn_options(core, tcb, segment);
	if (ack && ecn_is_agreed(segment) && core->services[tcb->service].ecn_asks && tcb->backoff == 0)
		tcb->options |= TCB_ECN;
	tcb->rcv_nxt = segment->seq + 1;
	tcb->last_ack_sent = tcb->rcv_nxt;
	tcb->fin_seq = tcb->rcv_nxt + core->settings.quick_acks * tcb->mss;
	tcb->rcv_adv = tcb->rcv_nxt + MIN_OF(tcp_receive_room(core, tcb), 65535u);
	tcb->cwnd = tcp_initial_window(core, tcb);
	tcb->snd_wnd = tcb->max_snd_wnd = segment->window;
	tcb->snd_wl1 = segment->seq;
	tcb->last_rx_tick = core->now_tick;
	if (!ack) { /* snd_nxt stays: the peer may have taken what our SYN carried */
		tcb->state = TCP_SYN_RECEIVED;
		tcb->pending |= TCB_RTX;
		tcb->pending &= (uint16_t)~TCB_RTT_TIMING;
		core->counters.tcp_simultaneous_opens++;
		conn_ready(core, tcb_index(core, tcb));
		return DROP_NONE;
	}
	syn_acked(core, tcb, segment);
	tcb->state = TCP_ESTABLISHED;
	tcb->options |= TCB_UNHEARD;
	core->counters.tcp_established++;
	tcp_watch_begin(core, tcb);
	tcp_arm_keepalive(core, tcb);
	result->events |= TCP_EVENT_OPEN;
	acknowledge_at_once(core, tcb);
	tcb->acks_owed = 0;
	return DROP_NONE;
}

/* --- the acknowledgement */

static void leave_recovery(struct tcb *tcb)
{
	tcb->cwnd = MIN_OF(tcb->cwnd, MAX_OF(tcb->ssthresh, 2u * tcb->mss));
	tcb->pending &= (uint16_t)~TCB_RECOVERY;
}

/* RFC 6582: a partial acknowledgement shows the next hole. */
static void ack_in_recovery(struct core *core, struct tcb *tcb, uint32_t acked)
{
	if (seq_geq(tcb->snd_una, tcb->recover)) {
		leave_recovery(tcb);
		return;
	}
	tcb->cwnd = tcb->cwnd > acked ? tcb->cwnd - acked : 0;
	tcb->cwnd += tcb->mss;
	tcb->pending |= TCB_RTX;
	conn_ready(core, tcb_index(core, tcb));
}

/* RFC 7323 section 4.1: a timestamp says which transmission was acknowledged. 0: there is none to believe. */
static uint32_t echoed_rtt_us(const struct core *core, const struct tcb *tcb,
			      const struct tcp_segment *segment)
{
	uint32_t ms = tcp_clock(core, tcb->ts_offset) - segment->ts_ecr;

	if (ms >= 60 * TICKS_PER_SECOND)
		return 0;
	return ms ? ms * TICK_US : TICK_US / 2;
}

/* Returns how long what is acknowledged now took; 0 when nobody knows. */
static uint32_t take_rtt(struct core *core, struct tcb *tcb, const struct tcp_segment *segment)
{
	bool echo = tcb->options & TCB_TIMESTAMPS && segment->options & TCP_OPT_TIMESTAMPS && segment->ts_ecr;
	uint32_t rtt_us = 0;

	if (tcb->pending & TCB_RTT_TIMING) {
		if (seq_lt(tcb->snd_una, tcb->rtt_seq)) /* only slow_start.c wants to know more often */
			return echo && tcb->extension != POOL_NONE ? echoed_rtt_us(core, tcb, segment) : 0;
		rtt_us = (uint32_t)core->now_us - tcb->rtt_start_us;
		tcp_rtt_sample(core, tcb, rtt_us);
		tcb->pending &= (uint16_t)~TCB_RTT_TIMING;
		tcb->backoff = 0; /* kept until a sample is good: RFC 6298 section 5 */
	} else if (echo) {
		rtt_us = echoed_rtt_us(core, tcb, segment);
		if (rtt_us)
			tcp_rtt_sample(core, tcb, rtt_us);
		tcb->backoff = 0;
	}
	return rtt_us;
}

static void fin_acked(struct core *core, struct tcb *tcb)
{
	tcb->timers &= (uint8_t) ~(TCB_TIMER_RTX | TCB_TIMER_PERSIST);
	switch (tcb->state) {
	case TCP_FIN_WAIT_1:
		tcb->state = TCP_FIN_WAIT_2;
		if (tcb->pending & TCB_NO_READER)
			conn_set_timer(core, tcb, TCB_TIMER_KEEP,
				       core->now_tick + core->settings.fin_wait2_ms);
		break;
	case TCP_CLOSING:
		tcb->state = TCP_TIME_WAIT;
		break;
	case TCP_LAST_ACK:
		tcb->state = TCP_CLOSED;
		break;
	default:
		break;
	}
}

/* Without SACK blocks, and without a scoreboard, nothing of recovery.c is touched. */
static void recover(struct core *core, struct tcb *tcb, const struct tcp_segment *segment, uint32_t acked,
		    uint32_t rtt_us)
{
	if (unlikely(tcb->options & TCB_BOARD || segment->options & TCP_OPT_SACK) &&
	    tcb->options & TCB_SACK && recovery_input(core, tcb, segment, acked))
		return;
	if (tcb->pending & TCB_RECOVERY)
		ack_in_recovery(core, tcb, acked);
	else if (likely(!(segment->flags & TCP_ECE)) || !(tcb->options & TCB_ECN))
		congestion_acked(core, tcb, acked, rtt_us);
}

/* A probe of the tail has its answer; when nothing is in flight no trace of its losses is left. */
static void flight_acked(struct core *core, struct tcb *tcb)
{
	probe_acked(core, tcb, false);
	urgent_acked(core, tcb);
	if (tcb->extension != POOL_NONE && path_tries(core, tcb))
		path_acked(core, tcb);
	if (tcb->extension != POOL_NONE)
		frto_acked(core, tcb);
	if (tcb->extension == POOL_NONE || tcb->snd_una != tcb->snd_nxt)
		return;
	probe_cancel(core, tcb);
	if (!PLANTED(PROBE_LEFT))
		extension_drop(core, tcb, EXTENSION_FLIGHT);
}

static void new_ack(struct core *core, struct tcb *tcb, const struct tcp_segment *segment,
		    struct tcp_result *result)
{
	uint32_t acked = segment->ack - tcb->snd_una;
	bool fin = tcb->pending & TCB_FIN_SENT && acked == tcb->snd_bytes + 1;
	uint32_t data = fin ? acked - 1 : acked, rtt_us;

	sendq_drop(core, tcb, data);
	tcb->snd_una = segment->ack;
	if (seq_lt(tcb->snd_nxt, tcb->snd_una))
		tcb->snd_nxt = tcb->snd_una;
	if (tcb->options & TCB_BACKED && seq_geq(tcb->snd_nxt, tcb->recover))
		tcb->options &= (uint16_t)~TCB_BACKED;
	tcb->options &= (uint16_t)~TCB_UNHEARD;
	rtt_us = take_rtt(core, tcb, segment);
	tcb->keep_probes = 0;
	tcb->duplicate_acks = 0;
	tcb->unacked_tick = core->now_tick;
	tcb->pending &= (uint16_t)~TCB_RTX;
	net_confirm(&core->net, tcb->destination);
	tcb->timers &= (uint8_t) ~(TCB_TIMER_RTX | TCB_TIMER_PERSIST);
	if (fin)
		fin_acked(core, tcb);
	else if (tcb->snd_nxt != tcb->snd_una)
		tcp_arm_rtx(core, tcb);
	recover(core, tcb, segment, acked, rtt_us);
	if (seq_gt(tcb->snd_una, tcb->recover))
		tcb->recover = tcb->snd_una - 1; /* must not fall behind by half of all numbers */
	if (unlikely(tcb->extension != POOL_NONE))
		flight_acked(core, tcb);
	if (data && (tcb->pending & TCB_WANTS_ROOM || tcb->rcv_bytes))
		result->events |= TCP_EVENT_WRITABLE;
}

/* RFC 5681 section 2 says what a duplicate acknowledgement is, section 3.2 what it does. */
static void duplicate_ack(struct core *core, struct tcb *tcb)
{
	core->counters.tcp_duplicate_acks++;
	if (tcb->duplicate_acks < DUPLICATE_ACKS_MAX)
		tcb->duplicate_acks++;
	if (unlikely(tcb->extension != POOL_NONE))
		frto_duplicate(core, tcb);
	if (tcb->pending & TCB_RECOVERY) {
		tcb->cwnd += tcb->mss;
	} else if (tcb->duplicate_acks == 3 &&
		   (seq_gt(tcb->snd_una, tcb->recover) || tcb->ecn & ECN_REDUCED)) {
		extension_drop(core, tcb,
			       EXTENSION_UNDO); /* a loss before this one is not to be undone any more */
		congestion_loss(core, tcb);
		tcb->cwnd = tcb->ssthresh + 3u * tcb->mss;
		tcb->recover = tcb_snd_max(tcb);
		tcb->pending |= TCB_RECOVERY | TCB_RTX;
		core->counters.tcp_fast_retransmits++;
	}
	conn_ready(core, tcb_index(core, tcb));
}

static void update_window(struct core *core, struct tcb *tcb, const struct tcp_segment *segment)
{
	uint32_t window = (uint32_t)segment->window << (tcb->wscales >> 4);

	if (!(seq_lt(tcb->snd_wl1, segment->seq) || seq_lt(tcb->snd_una, segment->ack) ||
	      (tcb->snd_wl1 == segment->seq && segment->ack == tcb->snd_una)))
		return;
	if (window == 0 && tcb->snd_wnd != 0)
		core->counters.tcp_zero_window_in++;
	if (tcb->timers & TCB_TIMER_PERSIST && (window > tcb->snd_wnd || segment->ack != tcb->snd_una)) {
		tcb->timers &= (uint8_t) ~(TCB_TIMER_PERSIST | TCB_TIMER_RTX);
		tcb->backoff = 0;
	}
	tcb->snd_wnd = window;
	tcb->max_snd_wnd = MAX_OF(tcb->max_snd_wnd, window);
	tcb->snd_wl1 = segment->seq;
}

/* False when the segment must be dropped. */
static bool ack_input(struct core *core, struct tcb *tcb, const struct tcp_segment *segment,
		      struct tcp_result *result)
{
	uint32_t window = (uint32_t)segment->window << (tcb->wscales >> 4);
	bool same_window = window == tcb->snd_wnd;
	bool beyond = PLANTED(ACK_PLAIN_COMPARE) ? segment->ack > tcb_snd_max(tcb)
						 : seq_gt(segment->ack, tcb_snd_max(tcb));

	/* RFC 5961 section 5.2 */
	if (beyond || seq_lt(segment->ack, tcb->snd_una - tcb->max_snd_wnd)) {
		challenge(core, tcb);
		return false;
	}
	if (seq_gt(segment->ack, tcb->snd_una)) {
		update_window(core, tcb, segment);
		new_ack(core, tcb, segment, result);
	} else if (segment->ack == tcb->snd_una) {
		bool outstanding = tcb->snd_nxt != tcb->snd_una;

		/* It answers, and that is enough (RFC 9293 section 3.8.6.1) but for who has set a time-out.
		 */
		if ((tcb->timers & TCB_TIMER_PERSIST || window == 0) && !tcb->user_timeout_ms)
			tcb->unacked_tick = core->now_tick;
		update_window(core, tcb, segment);
		if (outstanding && (tcb->options & TCB_BOARD || segment->options & TCP_OPT_SACK) &&
		    tcb->options & TCB_SACK && recovery_input(core, tcb, segment, 0))
			core->counters.tcp_duplicate_acks++;
		else if (outstanding && same_window && tcp_segment_length(segment) == 0)
			duplicate_ack(core, tcb);
	}
	if (unlikely(tcb->paced))
		model_acked(core, tcb);
	if (tcb->snd_bytes || tcb->pending & TCB_FIN_QUEUED)
		conn_ready(core, tcb_index(core, tcb));
	return true;
}

/* --- the payload */

static void hold_fin(struct tcb *tcb, uint32_t seq)
{
	if (PLANTED(FIN_LOST))
		return;
	tcb->pending |= TCB_FIN_HELD;
	tcb->fin_seq = seq;
}

/* Cuts the segment to the window and says where it goes. */
static enum drop_reason text_input(struct core *core, struct tcb *tcb, const struct tcp_segment *segment,
				   struct tcp_result *result)
{
	uint32_t seq = segment->seq, bytes = segment->payload_bytes, end = seq + bytes;
	bool fin = segment->flags & TCP_FIN;
	const uint8_t *data = segment->payload;
	uint32_t edge = tcb->rcv_adv + !!PLANTED(WINDOW_EDGE);

	if (tcp_segment_length(segment) == 0)
		return DROP_NONE;
	if (tcb->pending & TCB_FIN_TAKEN) {
		acknowledge_at_once(core, tcb); /* beyond the peer's own FIN: an old segment */
		return DROP_NONE;
	}
	if (seq_lt(seq, tcb->rcv_nxt)) {
		uint32_t old = MIN_OF(tcb->rcv_nxt - seq, bytes);

		sack_duplicate(core, tcb, seq, seq + old);
		data += old;
		seq += old;
		bytes -= old;
		if (bytes == 0 && !(fin && seq == tcb->rcv_nxt)) {
			acknowledge_at_once(core, tcb);
			return DROP_NONE;
		}
	}
	if (seq_gt(end, edge)) {
		uint32_t over = MIN_OF(end - edge, bytes);

		bytes -= over;
		fin = false;
	}
	if (bytes && tcb->pending & TCB_NO_READER) {
		result->events |= TCP_EVENT_RESET;
		ended(result, C10M_CLOSE_ABORTED);
		return DROP_TCP_AFTER_CLOSE;
	}
	if (seq == tcb->rcv_nxt) {
		result->data = data;
		result->bytes = bytes;
		result->fin = fin;
		result->events |= TCP_EVENT_DATA;
		return DROP_NONE;
	}
	core->counters.tcp_out_of_order++;
	acknowledge_at_once(core, tcb);
	if (fin)
		hold_fin(tcb, end);
	return bytes ? ooo_add(core, tcb, seq, data, bytes) : DROP_NONE;
}

void tcp_fin_received(struct core *core, struct tcb *tcb)
{
	tcb->rcv_nxt++;
	tcb->rcv_adv = seq_max(tcb->rcv_adv, tcb->rcv_nxt);
	ooo_give_all(core, tcb); /* nothing comes behind a FIN */
	tcb->pending |= TCB_FIN_TAKEN | TCB_ACK_NOW;
	tcb->pending &= (uint16_t)~TCB_FIN_HELD;
	conn_ready(core, tcb_index(core, tcb));
	switch (tcb->state) {
	case TCP_SYN_RECEIVED:
	case TCP_ESTABLISHED:
		tcb->state = TCP_CLOSE_WAIT;
		break;
	case TCP_FIN_WAIT_1:
		tcb->state = TCP_CLOSING;
		core->counters.tcp_simultaneous_closes++;
		break;
	case TCP_FIN_WAIT_2:
		tcb->state = TCP_TIME_WAIT;
		tcb->timers &= (uint8_t)~TCB_TIMER_KEEP;
		break;
	default:
		break;
	}
}

/* What is to be sent soon takes the acknowledgement along; who sends nothing soon says so. */
static void delay_ack(struct core *core, struct tcb *tcb)
{
	uint32_t ms = core->services[tcb->service].delayed_ack_ms;

	if (ms && seq_gt(tcb->rcv_nxt, tcb->fin_seq)) {
		conn_set_timer(core, tcb, TCB_TIMER_DELACK, core->now_tick + ms);
		return;
	}
	tcb->pending |= TCB_ACK_NOW;
	conn_ready(core, tcb_index(core, tcb));
}

/* Much has come. Of a start that is long over nothing is kept that the numbers could reach again. */
static void bulk_taken(struct core *core, struct tcb *tcb)
{
	const struct tcp_service *service = &core->services[tcb->service];

	if (service->receive_max_bytes > service->receive_bytes)
		tcp_tune_window(core, tcb);
	if (!(tcb->pending & TCB_FIN_HELD) && seq_lt(tcb->fin_seq, tcb->rcv_nxt))
		tcb->fin_seq = tcb->rcv_nxt;
}

void tcp_taken(struct core *core, struct tcb *tcb, const struct tcp_result *result, uint32_t taken)
{
	uint32_t index = tcb_index(core, tcb);
	bool filled = tcb->ooo_head != CHUNK_NONE;

	tcb->rcv_nxt += taken;
	core->counters.tcp_data_bytes_in += taken;
	if (taken == result->bytes && result->fin) { /* what is kept from beyond it is none of the stream */
		tcp_fin_received(core, tcb);
		return;
	}
	if (filled) {
		ooo_drain(core, tcb);
		tcb->pending |= TCB_ACK_NOW; /* RFC 5681 section 3.2: at once when a hole is filled */
		conn_ready(core, index);
	}
	if (taken == result->bytes && tcb->pending & TCB_FIN_HELD && tcb->fin_seq == tcb->rcv_nxt) {
		tcp_fin_received(core, tcb);
		return;
	}
	if (taken < result->bytes) {
		tcb->pending |= TCB_ACK_NOW;
		conn_ready(core, index);
		return;
	}
	if (tcb->rcv_nxt - tcb->last_ack_sent >= 2u * tcb->mss) { /* RFC 5681 section 4.2 */
		tcb->pending |= TCB_ACK_NOW;
		conn_ready(core, index);
		bulk_taken(core, tcb);
	} else if (taken && !(tcb->timers & TCB_TIMER_DELACK)) {
		delay_ack(core, tcb);
	}
}

bool tcp_finished(const struct tcb *tcb)
{
	return (tcb->state == TCP_TIME_WAIT || tcb->state == TCP_CLOSED) &&
	       (tcb->pending & (TCB_NO_READER | TCB_EOF_TOLD));
}

/* --- the checks before all that */

/* Only the acknowledgement of our FIN was missing: no error to the user (RFC 9293 section 3.10.7.4). */
static void reset_at_the_end(struct tcb *tcb)
{
	tcb->state = TCP_CLOSED;
	tcb->timers &= (uint8_t) ~(TCB_TIMER_RTX | TCB_TIMER_PERSIST | TCB_TIMER_DELACK);
	tcb->pending &= (uint16_t) ~(TCB_RTX | TCB_ACK_NOW | TCB_PROBE);
	tcb->acks_owed = 0;
}

static enum drop_reason reset_input(struct core *core, struct tcb *tcb, const struct tcp_segment *segment,
				    struct tcp_result *result)
{
	if (tcb->state == TCP_TIME_WAIT || tcb->state == TCP_CLOSED)
		return DROP_TCP_RST_IGNORED; /* only unread data is left: RFC 1337 */
	if (segment->seq != tcb->rcv_nxt) {  /* RFC 5961 section 3.2 */
		if (segment->seq - tcb->rcv_nxt < tcb->rcv_adv - tcb->rcv_nxt)
			challenge(core, tcb);
		return DROP_TCP_RST_IGNORED;
	}
	core->counters.tcp_resets_in++;
	if ((tcb->state == TCP_CLOSING || tcb->state == TCP_LAST_ACK) && tcb->snd_bytes == 0) {
		reset_at_the_end(tcb);
		return DROP_NONE;
	}
	fastopen_over(core, tcb, true);
	ended(result, tcb->state == TCP_SYN_RECEIVED && !tcb_fast_opened(tcb) ? C10M_CLOSE_REFUSED
									      : C10M_CLOSE_RESET);
	return DROP_NONE;
}

/* RFC 7323 section 5.3, R1. A SYN is challenged whatever it carries (RFC 5961 section 4.2). */
static enum drop_reason timestamp_input(struct core *core, struct tcb *tcb, const struct tcp_segment *segment)
{
	if (!(tcb->options & TCB_TIMESTAMPS) || segment->flags & (TCP_RST | TCP_SYN))
		return DROP_NONE;
	if (!(segment->options & TCP_OPT_TIMESTAMPS))
		return DROP_TCP_TIMESTAMP_MISSING;
	if (seq_lt(segment->ts_val, tcb->ts_recent) && core->now_tick - tcb->last_rx_tick < TICKS_MAX_AHEAD &&
	    !PLANTED(PAWS_OFF)) {
		acknowledge_at_once(core, tcb);
		return DROP_TCP_OLD_DUPLICATE;
	}
	return DROP_NONE;
}

/* Only a segment whose numbers are both good shows that the peer lives, and what time it has (R3). One that
 * is older than the last has passed R1 after a silence so long that the last counts no more (section 5.5). */
static void heard(struct core *core, struct tcb *tcb, const struct tcp_segment *segment)
{
	if (tcb->options & TCB_TIMESTAMPS && seq_leq(segment->seq, tcb->last_ack_sent))
		tcb->ts_recent = segment->ts_val;
	tcb->last_rx_tick = core->now_tick;
	tcb->keep_probes = 0;
}

static enum drop_reason syn_received_ack(struct core *core, struct tcb *tcb,
					 const struct tcp_segment *segment, struct tcp_result *result)
{
	if (tcb_fast_opened(tcb) && fastopen_complete(core, tcb, segment))
		return DROP_NONE;
	if (tcb_fast_opened(tcb) || !acks_syn(tcb, segment)) {
		result->events |= TCP_EVENT_RESET;
		return DROP_TCP_ACK_INVALID;
	}
	syn_acked(core, tcb, segment);
	tcb->state = TCP_ESTABLISHED;
	tcb->snd_wnd = segment->window; /* of a SYN it is never scaled: RFC 7323 section 2.2 */
	if (!(segment->flags & TCP_SYN))
		tcb->snd_wnd <<= tcb->wscales >> 4;
	core->counters.tcp_established++;
	tcp_watch_begin(core, tcb);
	tcp_arm_keepalive(core, tcb);
	result->events |= TCP_EVENT_OPEN;
	if (tcb->snd_bytes) /* of what went with our SYN */
		conn_ready(core, tcb_index(core, tcb));
	return DROP_NONE;
}

/* What few segments carry. */
static NO_INLINE void rare_input(struct core *core, struct tcb *tcb, const struct tcp_segment *segment,
				 struct tcp_result *result)
{
	if (segment->flags & TCP_URG && urgent_input(core, tcb, segment))
		result->events |= TCP_EVENT_URGENT;
	if (segment->options & TCP_OPT_USER_TIMEOUT)
		user_timeout_learn(core, tcb, segment->user_timeout);
}

static bool has_rare(const struct tcp_segment *segment)
{
	return segment->flags & TCP_URG || segment->options & TCP_OPT_USER_TIMEOUT;
}

/* A closed window still takes acknowledgements (RFC 9293 section 3.10.7.4). So does the sequence number
 * before it: who probes our window does not count that byte as sent, and without its acknowledgements two
 * that probe each other would exchange answers for ever. */
static void ack_out_of_window(struct core *core, struct tcb *tcb, const struct tcp_segment *segment,
			      struct tcp_result *result)
{
	if (!ack_input(core, tcb, segment, result))
		return;
	heard(core, tcb, segment);
	if (has_rare(segment)) /* RFC 9293 section 3.4: URG counts before a closed window, too */
		rare_input(core, tcb, segment, result);
}

#define NO_PLAIN_OPTIONS (TCB_ECN | TCB_BOARD)
#define NO_PLAIN_PENDING (TCB_NO_READER | TCB_ABORTING | TCB_FIN_TAKEN)

/* Data in order, and nothing else that is new: no acknowledgement, no window, no option but the usual one. */
static bool is_plain(const struct tcb *tcb, const struct tcp_segment *segment)
{
	return segment->seq == tcb->rcv_nxt && segment->ack == tcb->snd_una &&
	       (segment->flags & (uint8_t)~TCP_PSH) == TCP_ACK &&
	       segment->options == (tcb->options & TCB_TIMESTAMPS ? TCP_OPT_TIMESTAMPS : 0) &&
	       (uint32_t)segment->window << (tcb->wscales >> 4) == tcb->snd_wnd && segment->window != 0 &&
	       segment->payload_bytes - 1u < tcb->rcv_adv - tcb->rcv_nxt && tcb->state == TCP_ESTABLISHED &&
	       !(tcb->options & NO_PLAIN_OPTIONS) && !(tcb->pending & NO_PLAIN_PENDING) &&
	       !(tcb->timers & TCB_TIMER_PERSIST) &&
	       (!(tcb->options & TCB_TIMESTAMPS) || seq_geq(segment->ts_val, tcb->ts_recent));
}

bool tcp_goes_on(struct core *core, struct tcb *tcb, const struct tcp_segment *segment,
		 struct tcp_result *result)
{
	if (!is_plain(tcb, segment))
		return false;
	tcb->snd_wl1 = segment->seq;
	heard(core, tcb, segment);
	if (tcb->snd_bytes || tcb->pending & TCB_FIN_QUEUED)
		conn_ready(core, tcb_index(core, tcb));
	result->data = segment->payload;
	result->bytes = segment->payload_bytes;
	result->events = TCP_EVENT_DATA;
	return true;
}

enum drop_reason tcp_input(struct core *core, struct tcb *tcb, const struct tcp_segment *segment,
			   struct tcp_result *result)
{
	enum drop_reason reason;

	if (tcb->state == TCP_SYN_SENT)
		return syn_sent_input(core, tcb, segment, result);
	reason = timestamp_input(core, tcb, segment);
	if (reason)
		return reason;
	if (segment->flags & TCP_RST)
		return reset_input(core, tcb, segment, result);
	if (segment->flags & TCP_SYN) { /* RFC 5961 section 4.2 */
		if (tcb->state == TCP_SYN_RECEIVED && segment->seq + 1 == tcb->rcv_nxt) {
			if (segment->flags & TCP_ACK && acks_syn(tcb, segment))
				return syn_received_ack(core, tcb, segment, result);
			tcb->pending |= TCB_RTX;
			conn_ready(core, tcb_index(core, tcb));
			return DROP_NONE;
		}
		if (tcb_fast_opened(tcb) && !(segment->flags & TCP_ACK) &&
		    seq_lt(segment->seq, tcb->rcv_nxt)) {
			tcb->pending |= TCB_RTX;
			conn_ready(core, tcb_index(core, tcb));
			return DROP_NONE;
		}
		challenge(core, tcb);
		return DROP_TCP_SYN_IN_CONNECTION;
	}
	if (!in_window(tcb, segment)) {
		if (segment->flags & TCP_ACK && tcb->rcv_nxt - segment->seq <= 1 &&
		    tcb->state != TCP_SYN_RECEIVED)
			ack_out_of_window(core, tcb, segment, result);
		if (seq_lt(segment->seq, tcb->rcv_nxt))
			sack_duplicate(core, tcb, segment->seq,
				       seq_min(segment->seq + segment->payload_bytes, tcb->rcv_nxt));
		acknowledge_at_once(core, tcb);
		return DROP_TCP_OUT_OF_WINDOW;
	}
	if (!(segment->flags & TCP_ACK))
		return DROP_TCP_NO_ACK;
	if (tcb->state == TCP_SYN_RECEIVED) {
		reason = syn_received_ack(core, tcb, segment, result);
		if (reason)
			return reason;
	}
	if (unlikely(tcb->options & TCB_ECN))
		ecn_input(core, tcb, segment);
	if (!ack_input(core, tcb, segment, result))
		return DROP_TCP_ACK_INVALID;
	heard(core, tcb, segment);
	if (unlikely(has_rare(segment)))
		rare_input(core, tcb, segment, result);
	return text_input(core, tcb, segment, result);
}

/* RFC 5927: only an error that quotes what is in flight counts; hard errors are soft (section 5) once the
 * connection is established. */
enum drop_reason tcp_icmp_error(struct core *core, const struct icmp_message *message,
				const struct icmp_quote *quote)
{
	struct tuple4 tuple = {quote->source, quote->destination, quote->source_port,
			       quote->destination_port};
	uint32_t ref = core_find(core, &tuple, core_hash(core, &tuple)), index;
	struct tcb *tcb;

	if (ref == FLOW_NONE || flow_ref_kind(ref) != FLOW_BLOCK)
		return DROP_ICMP_NO_FLOW;
	index = flow_ref_index(ref);
	tcb = tcb_at(core, index);
	if (seq_lt(quote->seq, tcb->snd_una) || seq_geq(quote->seq, tcb_snd_max(tcb)))
		return DROP_ICMP_NOT_IN_FLIGHT;
	if (message->type == ICMP_UNREACHABLE && message->code == ICMP_CODE_FRAGMENTATION_NEEDED) {
		if (tcb->state < TCP_ESTABLISHED)
			return DROP_ICMP_NOT_IN_FLIGHT; /* a SYN is never too long */
		return path_told(core, tcb, icmp_next_mtu(message, quote), quote->total_bytes, quote->seq);
	}
	core->counters.tcp_soft_errors++;
	if (message->type == ICMP_UNREACHABLE && tcb->state == TCP_SYN_SENT &&
	    (message->code == ICMP_CODE_PROTOCOL_UNREACHABLE || message->code == ICMP_CODE_PORT_UNREACHABLE))
		conn_end(core, index, C10M_CLOSE_REFUSED);
	else
		core->events->trouble(core, index,
				      message->type == ICMP_UNREACHABLE     ? C10M_TROUBLE_UNREACHABLE
				      : message->type == ICMP_TIME_EXCEEDED ? C10M_TROUBLE_HOPS
									    : C10M_TROUBLE_HEADER);
	return DROP_NONE;
}
