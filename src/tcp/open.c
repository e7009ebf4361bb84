/* open.c - active opens, and what both ways to open a connection share. */
#include <errno.h>

#include "tcp/congestion.h"

uint32_t tcp_mss_for(const struct core *core, uint32_t mtu)
{
	(void)core;
	return mtu - IPV4_HEADER_BYTES - TCP_HEADER_BYTES;
}

/* RFC 9293 section 3.7.1: the smaller of what the peer takes and what the path takes, options off. */
void tcp_set_mss(struct core *core, struct tcb *tcb, uint32_t peer_mss)
{
	uint32_t path = tcp_mss_for(core, destination_mtu(&core->net.destinations, tcb->destination));
	uint32_t mss = MIN_OF(peer_mss, path);

	if (tcb->options & TCB_TIMESTAMPS)
		mss -= 12;
	tcb->mss = (uint16_t)MAX_OF(mss, 36u);
}

void tcp_learn_syn_options(struct core *core, struct tcb *tcb, const struct tcp_segment *segment)
{
	uint32_t peer_mss = segment->options & TCP_OPT_MSS ? segment->mss : 536;
	uint8_t own_wscale = tcb->wscales & 15; /* as it was told */

	tcb->wscales = 0;
	if (segment->options & TCP_OPT_TIMESTAMPS && !core->settings.no_timestamps) {
		tcb->options |= TCB_TIMESTAMPS;
		tcb->ts_recent = segment->ts_val;
	}
	if (segment->options & TCP_OPT_WSCALE && !core->settings.no_window_scale) {
		tcb->options |= TCB_WSCALE;
		tcb->wscales = (uint8_t)(segment->wscale << 4 | own_wscale);
	}
	if (segment->options & TCP_OPT_SACK_PERMITTED && !core->settings.no_sack)
		tcb->options |= TCB_SACK;
	if (segment->options & TCP_OPT_USER_TIMEOUT)
		user_timeout_learn(core, tcb, segment->user_timeout);
	tcp_set_mss(core, tcb, MAX_OF(peer_mss, 48u));
}

/* RFC 6928: min(10 MSS, max(2 MSS, 14600)). */
uint32_t tcp_initial_window(const struct core *core, const struct tcb *tcb)
{
	uint32_t bytes = core->settings.initial_window_segments * tcb->mss;

	return MIN_OF(bytes, MAX_OF(2u * tcb->mss, 1460u * core->settings.initial_window_segments));
}

void tcp_open_setup(struct core *core, struct tcb *tcb, uint32_t iss, uint32_t irs)
{
	tcb->snd_una = iss + 1;
	tcb->snd_nxt = iss + 1;
	tcb->recover = iss;
	tcb->rcv_nxt = irs + 1;
	tcb->last_ack_sent = irs + 1;
	tcb->fin_seq = tcb->rcv_nxt + core->settings.quick_acks * tcb->mss;
	tcb->rcv_adv = tcb->rcv_nxt + MIN_OF(tcp_receive_room(core, tcb), 65535u);
	tcb->ssthresh = SSTHRESH_UNKNOWN;
	tcb->cwnd = tcp_initial_window(core, tcb);
	tcb->unacked_tick = core->now_tick;
	tcp_watch_begin(core, tcb);
	tcp_arm_keepalive(core, tcb);
}

int tcp_connect(struct core *core, const struct tuple4 *tuple, uint8_t service, uint32_t *index)
{
	uint64_t hash = core_hash(core, tuple);
	uint32_t ref = core_find(core, tuple, hash), iss = core_isn(core, tuple);
	struct tcb *tcb;
	uint16_t destination;

	if (ref != FLOW_NONE && !time_wait_may_reuse(core, ref))
		return -EADDRINUSE;
	destination = destination_for(&core->net.destinations, tuple->remote_ip, 0);
	if (!destination) {
		if (!routes_next_hop(&core->net.destinations.routes, tuple->remote_ip))
			return -ENETUNREACH;
		return -ENOMEM;
	}
	*index = conn_take(core, tuple, service);
	if (*index == POOL_NONE)
		return -ENOMEM;
	tcb = tcb_at(core, *index);
	if (ref != FLOW_NONE)
		iss = seq_max(iss, time_wait_reuse(core, ref) + 1);
	if (!core_insert(core, hash, flow_ref(FLOW_BLOCK, *index))) {
		tcb->state = TCB_FREE;
		pool_give(&core->blocks, *index);
		return -ENOMEM;
	}
	tcb->state = TCP_SYN_SENT;
	tcb->destination = destination;
	destination_hold(&core->net.destinations, destination);
	tcb->ts_offset = core_ts_offset(core, tuple);
	tcb->options |= TCB_ACTIVE_OPEN;
	tcb->wscales = core->services[service].wscale;
	tcb->mss = 536;
	tcp_open_setup(core, tcb, iss, 0);
	tcb->snd_una--; /* the SYN itself */
	tcb->timers &= (uint8_t)~TCB_TIMER_KEEP;
	tcb->pending |= TCB_RTX;
	core->counters.tcp_active_opens++;
	conn_ready(core, *index);
	return 0;
}
