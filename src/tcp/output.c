/* output.c - what a connection has to say, put into the port's frames.
 * In: the ready list.  Out: frames with headers, options, payload and checksums in one pass. */
#include "tcp/core.h"

#include <string.h>

#include "base/plant.h"
#include "tcp/congestion.h"
#include "tcp/ecn.h"
#include "tcp/pace.h"
#include "tcp/path.h"
#include "tcp/fastopen.h"
#include "tcp/recovery.h"
#include "wire/checksum.h"

#define HEADERS         (ETH_HEADER_BYTES + IPV4_HEADER_BYTES)
#define HEADERS_MAX     (HEADERS + 60u)
#define FRAME_BYTES_MAX (ETH_HEADER_BYTES + 65535u)

/* RCV.WND, never taken back (RFC 9293 section 3.8.6), and opened only by steps worth telling
 * (section 3.8.6.2.2). Where its edge cannot be told to the byte less is told, and what was told before is
 * still taken (RFC 7323 section 2.4): more would not fit into the buffer. */
static uint16_t window_to_advertise(struct core *core, struct tcb *tcb, bool syn)
{
	uint32_t limit = tcp_receive_limit(core, tcb);
	uint32_t room = tcp_receive_room(core, tcb), scale = syn ? 0 : tcb->wscales & 15;
	uint32_t right = tcb->rcv_nxt + room, window;

	if ((seq_lt(right, tcb->rcv_adv) && !PLANTED(WINDOW_BACK)) ||
	    (tcb->rcv_bytes && right - tcb->rcv_adv < MIN_OF(limit / 2, (uint32_t)tcb->mss)))
		right = tcb->rcv_adv;
	window = MIN_OF((right - tcb->rcv_nxt) >> scale, 65535u);
	right = tcb->rcv_nxt + (window << scale);
	tcb->rcv_adv = PLANTED(WINDOW_BACK) ? right : seq_max(right, tcb->rcv_adv);
	return (uint16_t)MIN_OF((tcb->rcv_adv - tcb->rcv_nxt) >> scale, 65535u);
}

static void acknowledged(struct core *core, struct tcb *tcb)
{
	(void)core;
	tcb->last_ack_sent = tcb->rcv_nxt;
	tcb->timers &= (uint8_t)~TCB_TIMER_DELACK;
	tcb->pending &= (uint16_t)~TCB_ACK_NOW;
}

/* The port adds the rest: the field holds the sum of the pseudo-header, not complemented. */
static void leave_checksum(struct packet *packet, uint8_t *at, uint32_t bytes, const struct tuple4 *tuple)
{
	uint16_t sum = (uint16_t)~csum_finish(
		csum_pseudo4(tuple->local_ip, tuple->remote_ip, IP_PROTOCOL_TCP, bytes));

	memcpy(at + 16, &sum, sizeof(sum));
	packet->checksum = PACKET_CSUM_PARTIAL;
	packet->csum_start = HEADERS;
	packet->csum_offset = 16;
}

/* The port makes segments of it, each with a copy of the headers. */
static void leave_cutting(struct core *core, const struct tcb *tcb, struct packet *packet, uint32_t headers)
{
	packet->gso_bytes = tcb->mss;
	packet->header_bytes = (uint16_t)headers;
	core->counters.tcp_segments_out += (packet->bytes - headers - 1) / tcb->mss;
}

/* What is told beside the usual. */
static void extension_tell(struct core *core, struct tcb *tcb, struct tcp_segment *segment, uint8_t *blocks)
{
	if (tcb_extension(core, tcb)->uses & EXTENSION_TIMEOUT)
		user_timeout_tell(core, tcb, segment);
	else
		sack_tell(core, tcb, segment, blocks);
	if (tcb->extension != POOL_NONE)
		urgent_tell(core, tcb, segment);
}

/* Fills one frame. offset: of the payload from snd_una. */
static void emit(struct core *core, struct tcb *tcb, struct packet *packet, struct tcp_segment *segment,
		 uint32_t offset)
{
	const struct destination *hop = destination_hop(&core->net.destinations, tcb->destination);
	uint32_t header, sum, told = tcb->rcv_adv - tcb->last_ack_sent; /* the window we told last */
	uint8_t *at = packet->data + HEADERS, blocks[SACK_BYTES_MAX], tos = 0;

	segment->source_port = tcb->tuple.local_port;
	segment->destination_port = tcb->tuple.remote_port;
	if (unlikely(tcb->options & TCB_ECN))
		tos = ecn_output(tcb, segment);
	if (tcb->options & TCB_TIMESTAMPS) {
		segment->options |= TCP_OPT_TIMESTAMPS;
		segment->ts_val = tcp_clock(core, tcb->ts_offset);
		segment->ts_ecr = tcb->ts_recent;
	}
	if (segment->flags & TCP_ACK) {
		segment->ack = tcb->rcv_nxt;
		acknowledged(core, tcb);
		if (unlikely(tcb->extension != POOL_NONE))
			extension_tell(core, tcb, segment, blocks);
	}
	if (!(segment->flags & TCP_RST))
		segment->window = window_to_advertise(core, tcb, segment->flags & TCP_SYN);
	if (segment->window == 0 && told && !(segment->flags & TCP_RST))
		core->counters.tcp_zero_window_out++;
	header = tcp_emit(at, segment);
	packet->checksum = PACKET_CSUM_NONE;
	sum = sendq_copy(core, tcb, offset, at + header, segment->payload_bytes);
	if (core->settings.tx_checksum)
		leave_checksum(packet, at, header + segment->payload_bytes, &tcb->tuple);
	else
		tcp_store_checksum(at, header, segment->payload_bytes, sum, tcb->tuple.local_ip,
				   tcb->tuple.remote_ip);
	net_emit_headers(&core->net, packet->data, &hop->mac, tcb->tuple.local_ip, tcb->tuple.remote_ip,
			 IP_PROTOCOL_TCP, IPV4_HEADER_BYTES + header + segment->payload_bytes);
	if (unlikely(tos))
		ipv4_set_tos(packet->data + ETH_HEADER_BYTES, tos);
	if (unlikely(core->services[tcb->service].marked || tcb_dscp(tcb)))
		ipv4_mark(packet->data + ETH_HEADER_BYTES, core->services[tcb->service].ttl, tcb_dscp(tcb));
	packet->bytes = HEADERS + header + segment->payload_bytes;
	packet->gso_bytes = 0;
	core->counters.tcp_segments_out++;
	if (segment->payload_bytes > tcb->mss)
		leave_cutting(core, tcb, packet, HEADERS + header);
}

/* The answer to a SYN whose data has been taken. */
static void emit_fast_answer(struct core *core, struct tcb *tcb, struct packet *packet)
{
	uint8_t cookie[FASTOPEN_COOKIE_BYTES];
	struct tcp_segment segment = {
		.seq = tcb->snd_una - 1,
		.flags = (uint8_t)(TCP_SYN | TCP_ACK | (tcb->options & TCB_ECN ? TCP_ECE : 0)),
		.options = TCP_OPT_MSS | TCP_OPT_FASTOPEN,
		.mss = (uint16_t)tcp_mss_for(core, core->net.destinations.routes.mtu),
		.wscale = tcb->wscales & 15,
		.cookie = cookie,
		.cookie_bytes = FASTOPEN_COOKIE_BYTES,
		.user_timeout = user_timeout_offer(core, tcb->service, tcb->user_timeout_ms),
	};

	fastopen_cookie(core, &tcb->tuple, cookie);
	if (tcb->options & TCB_WSCALE)
		segment.options |= TCP_OPT_WSCALE;
	if (tcb->options & TCB_SACK)
		segment.options |= TCP_OPT_SACK_PERMITTED;
	if (segment.user_timeout)
		segment.options |= TCP_OPT_USER_TIMEOUT;
	emit(core, tcb, packet, &segment, 0);
	tcb->pending &= (uint16_t)~TCB_RTX;
	core->counters.tcp_syn_retransmits += tcb->backoff != 0;
	if (!(tcb->timers & TCB_TIMER_RTX))
		tcp_arm_rtx(core, tcb);
}

static void emit_syn(struct core *core, struct tcb *tcb, struct packet *packet)
{
	bool answer = tcb->state == TCP_SYN_RECEIVED;
	struct tcp_segment segment = {
		.seq = tcb->snd_una,
		.flags = (uint8_t)(TCP_SYN | (answer ? TCP_ACK : 0)),
		.options = TCP_OPT_MSS,
		.mss = (uint16_t)tcp_mss_for(core, core->net.destinations.routes.mtu),
		.wscale = tcb->wscales & 15,
	};

	if (answer ? tcb->options & TCB_WSCALE : !core->settings.no_window_scale)
		segment.options |= TCP_OPT_WSCALE;
	if (answer ? tcb->options & TCB_SACK : !core->settings.no_sack)
		segment.options |= TCP_OPT_SACK_PERMITTED;
	if (!answer && !core->settings.no_timestamps) {
		segment.options |= TCP_OPT_TIMESTAMPS;
		segment.ts_val = tcp_clock(core, tcb->ts_offset);
	}
	segment.user_timeout = user_timeout_offer(core, tcb->service, tcb->user_timeout_ms);
	if (segment.user_timeout)
		segment.options |= TCP_OPT_USER_TIMEOUT;
	if (!answer && core->services[tcb->service].ecn_asks && tcb->backoff == 0)
		segment.flags |= TCP_ECE | TCP_CWR; /* sent again without: RFC 3168 section 6.1.1.1 */
	if (!answer && tcb->backoff == 0 && core->services[tcb->service].fastopen_client)
		segment.payload_bytes = fastopen_offer(core, tcb, &segment);
	emit(core, tcb, packet, &segment, 0);
	tcb->pending &= (uint16_t)~TCB_RTX;
	if (tcb->backoff == 0 && !answer) {
		tcb->pending |= TCB_RTT_TIMING;
		tcb->rtt_start_us = (uint32_t)core->now_us;
	} else if (tcb->backoff) {
		core->counters.tcp_syn_retransmits++;
	}
	tcb->snd_nxt = seq_max(tcb->snd_nxt, tcb->snd_una + 1 + segment.payload_bytes);
	if (!(tcb->timers & TCB_TIMER_RTX))
		tcp_arm_rtx(core, tcb);
}

/* Nothing else is in flight. After a pause of more than a time-out cwnd says nothing of the network any more
 * (RFC 5681 section 4.1). */
static void first_in_flight(struct core *core, struct tcb *tcb)
{
	uint32_t restart = tcp_initial_window(core, tcb);

	if (tcb->timers & TCB_TIMER_PERSIST)
		tcb->backoff = 0; /* of probes of a closed window, or of a silent neighbour */
	if (tcb->cwnd > restart && core->now_tick - tcb->unacked_tick > tcp_rto_us(core, tcb) / TICK_US) {
		tcb->cwnd = restart;
		congestion_idle(core, tcb);
	}
	tcb->unacked_tick = core->now_tick;
}

/* Sends what stands at snd_nxt: payload, FIN or both. */
static void emit_data(struct core *core, struct tcb *tcb, struct packet *packet, uint32_t seq, uint32_t bytes,
		      bool fin)
{
	uint32_t offset = seq - tcb->snd_una, end = seq + bytes + fin;
	bool again = seq_lt(seq, tcb_snd_max(tcb));
	struct tcp_segment segment = {.seq = seq, .flags = TCP_ACK, .payload_bytes = bytes};

	if (bytes && offset + bytes == tcb->snd_bytes)
		segment.flags |= TCP_PSH;
	if (fin)
		segment.flags |= TCP_FIN;
	emit(core, tcb, packet, &segment, offset);
	if (again) {
		core->counters.tcp_retransmits++;
		tcb->pending &= (uint16_t)~TCB_RTT_TIMING; /* Karn */
	} else {
		core->counters.tcp_data_bytes_out += bytes;
		if (!(tcb->pending & TCB_RTT_TIMING)) {
			tcb->pending |= TCB_RTT_TIMING;
			tcb->rtt_seq = end;
			tcb->rtt_start_us = (uint32_t)core->now_us;
		}
	}
	if (seq_gt(end, tcb->snd_nxt))
		tcb->snd_nxt = end;
	if (tcb->options & TCB_BACKED && seq_geq(tcb->snd_nxt, tcb->recover))
		tcb->options &= (uint16_t)~TCB_BACKED;
	if (unlikely(tcb->options & TCB_BOARD))
		recovery_sent(core, tcb, seq, end, again);
	if (unlikely(tcb->paced))
		pace_sent(core, tcb, end, bytes, again);
	if (!(tcb->timers & TCB_TIMER_RTX) || tcb->timers & TCB_TIMER_PERSIST) {
		if (tcb->snd_una + bytes + fin == tcb->snd_nxt)
			first_in_flight(core, tcb);
		tcp_arm_rtx(core, tcb);
	}
}

static void close_state(struct core *core, struct tcb *tcb)
{
	(void)core;
	if (tcb->pending & TCB_FIN_SENT)
		return;
	tcb->pending |= TCB_FIN_SENT;
	if (tcb->state == TCP_ESTABLISHED || tcb->state == TCP_SYN_RECEIVED)
		tcb->state = TCP_FIN_WAIT_1;
	else if (tcb->state == TCP_CLOSE_WAIT)
		tcb->state = TCP_LAST_ACK;
}

/* RFC 3042: the first two duplicate acknowledgements let a new segment out each, so that a window too small
 * for three of them loses no time to the retransmission timer. */
static uint32_t congestion_window(const struct tcb *tcb)
{
	uint32_t limited = tcb->duplicate_acks <= 2 ? tcb->duplicate_acks * tcb->mss : 0u;

	return tcb->pending & TCB_RECOVERY || tcb->options & TCB_BACKED ? tcb->cwnd : tcb->cwnd + limited;
}

/* How many bytes of payload one frame takes: full segments, of what was never sent before as many as fit
 * when the port cuts them. */
static uint32_t frame_limit(const struct core *core, const struct tcb *tcb, const struct packet *packet)
{
	uint32_t room = MIN_OF((uint32_t)packet->room, FRAME_BYTES_MAX), mss = tcb->mss;

	if (!core->settings.tx_segmentation || tcb->options & TCB_BACKED || tcb->ecn & ECN_CWR ||
	    room < HEADERS_MAX + mss)
		return mss;
	if (tcb->extension != POOL_NONE && tcb_extension(core, tcb)->uses & EXTENSION_URGENT_OUT)
		return mss; /* the pointer differs from segment to segment */
	room -= HEADERS_MAX;
	if (unlikely(tcb->paced))
		room = MIN_OF(room, pace_frame_bytes(core, tcb));
	return room - room % mss;
}

/* Whether a last segment that is not full may go now. */
static bool tail_may_go(const struct tcb *tcb, uint32_t flight, uint32_t bytes)
{
	if (flight == 0 || tcb->options & TCB_NODELAY)
		return true;
	return bytes >= tcb->max_snd_wnd / 2 && tcb->max_snd_wnd < 2u * tcb->mss;
}

/* Of the windows, what is left for new data. */
static uint32_t usable_window(const struct core *core, const struct tcb *tcb, uint32_t flight)
{
	uint32_t offered = tcb->snd_wnd > flight ? tcb->snd_wnd - flight : 0, used = flight, window;

	if (unlikely(tcb->options & TCB_BOARD)) {
		used = board_pipe(core, tcb);
		window = tcb->cwnd;
	} else {
		window = congestion_window(tcb);
	}
	return MIN_OF(window > used ? window - used : 0, offered);
}

/* How many bytes may go at snd_nxt now: 0 none. Nagle and silly-window avoidance are RFC 9293 sections 3.7.4
 * and 3.8.6.2.1. */
static uint32_t sendable(const struct core *core, const struct tcb *tcb, uint32_t limit, bool *fin)
{
	uint32_t flight = tcb->snd_nxt - tcb->snd_una, unsent, bytes, tail;
	bool again = seq_lt(tcb->snd_nxt, tcb_snd_max(tcb)) && !(tcb->timers & TCB_TIMER_PERSIST);

	*fin = false;
	if (flight > tcb->snd_bytes)
		return 0; /* the FIN is out */
	unsent = tcb->snd_bytes - flight;
	bytes = MIN_OF(MIN_OF(unsent, usable_window(core, tcb, flight)), limit);
	tail = bytes < tcb->mss ? bytes : bytes == tcb->mss ? 0 : bytes % tcb->mss;
	if (bytes == unsent && tcb->pending & TCB_FIN_QUEUED && tcb->state != TCP_FIN_WAIT_2 &&
	    tcb->state < TCP_TIME_WAIT && tcb->state > TCP_SYN_RECEIVED)
		*fin = true;
	if (tail == 0 || *fin)
		return bytes;
	if (again) /* RFC 7323 section 2.4: a window taken back by less than a segment does not matter */
		return bytes;
	if (bytes > tail) /* full segments go anyway */
		return bytes == unsent && tail_may_go(tcb, flight + bytes - tail, tail) ? bytes
											: bytes - tail;
	if (bytes < unsent)
		return bytes >= tcb->max_snd_wnd / 2 ? bytes : 0;
	return tail_may_go(tcb, flight, bytes) ? bytes : 0;
}

static bool synchronised(const struct tcb *tcb)
{
	return tcb->state >= TCP_ESTABLISHED;
}

static void emit_again(struct core *core, struct tcb *tcb, struct packet *packet)
{
	uint32_t sent = MIN_OF(tcb->snd_bytes, tcb->snd_nxt - tcb->snd_una);
	uint32_t bytes = MIN_OF(sent, (uint32_t)tcb->mss);
	bool fin = bytes == tcb->snd_bytes && tcb->pending & TCB_FIN_SENT;

	tcb->pending &= (uint16_t)~TCB_RTX;
	if (bytes || fin)
		emit_data(core, tcb, packet, tcb->snd_una, bytes, fin);
	else
		packet->bytes = 0;
	path_sent_again(core, tcb, tcb->snd_una, bytes);
}

/* From start on at most a segment of what ends at `end` in sequence space, the FIN included. */
static void emit_part(struct core *core, struct tcb *tcb, struct packet *packet, uint32_t start, uint32_t end)
{
	uint32_t data_end = tcb->snd_una + tcb->snd_bytes;
	uint32_t bytes = MIN_OF(seq_min(end, data_end) - start, (uint32_t)tcb->mss);
	bool fin = seq_gt(end, data_end) && start + bytes == data_end;

	path_sent_again(core, tcb, start, bytes);
	emit_data(core, tcb, packet, start, bytes, fin);
}

/* The first that is lost, once the pipe has room for it. */
static bool emit_lost(struct core *core, struct tcb *tcb, struct packet *packet)
{
	uint32_t start, end, pipe = board_pipe(core, tcb);

	if (tcb_extension(core, tcb)->frto == FRTO_NEW_DATA || !board_lost(core, tcb, &start, &end))
		return false;
	if (pipe && pipe + MIN_OF(end - start, (uint32_t)tcb->mss) > tcb->cwnd)
		return false;
	emit_part(core, tcb, packet, start, end);
	if (start == tcb->snd_una && tcb->backoff == 0 && !(tcb->timers & TCB_TIMER_SOON)) {
		tcp_arm_rtx(core, tcb); /* it has a whole time-out to arrive, too */
		tcp_heed_user_timeout(tcb);
	}
	return true;
}

/* RFC 8985 section 7.3: something new when there is, else the last segment again. A peer that has
 * acknowledged no data may know us by a SYN cookie alone, which only the first segment proves. */
static void emit_tail_probe(struct core *core, struct tcb *tcb, struct packet *packet)
{
	uint32_t flight = tcb->snd_nxt - tcb->snd_una;
	uint32_t offered = tcb->snd_wnd > flight ? tcb->snd_wnd - flight : 0;
	uint32_t unsent = tcb->snd_bytes > flight ? tcb->snd_bytes - flight : 0;
	uint32_t bytes = MIN_OF(MIN_OF(unsent, offered), (uint32_t)tcb->mss);

	if (tcb->options & TCB_UNHEARD)
		bytes = 0;
	if (bytes)
		emit_data(core, tcb, packet, tcb->snd_nxt, bytes, false);
	else if (tcb->options & TCB_UNHEARD)
		emit_part(core, tcb, packet, tcb->snd_una, tcb->snd_nxt);
	else
		emit_part(core, tcb, packet, tcb->snd_nxt - MIN_OF(flight, (uint32_t)tcb->mss), tcb->snd_nxt);
	probe_sent(core, tcb, bytes == 0);
}

static void emit_probe(struct core *core, struct tcb *tcb, struct packet *packet)
{
	struct tcp_segment segment = {.seq = tcb->snd_nxt, .flags = TCP_ACK};

	tcb->pending &= (uint16_t)~TCB_PROBE;
	if (probe_waits(core, tcb)) {
		emit_tail_probe(core, tcb, packet);
		return;
	}
	if (tcb->timers & TCB_TIMER_PERSIST && tcb->snd_bytes) {
		/* A window too small for its own good is used in the end (RFC 9293 section 3.8.6.2.1). */
		segment.seq = tcb->snd_una;
		segment.payload_bytes =
			MAX_OF(MIN_OF(MIN_OF(tcb->snd_bytes, tcb->snd_wnd), (uint32_t)tcb->mss), 1u);
		tcb->recover = seq_max(tcb_snd_max(tcb), tcb->snd_una + segment.payload_bytes);
		tcb->options |= TCB_BACKED;
		core->counters.tcp_zero_window_probes++;
	} else {
		segment.seq--; /* RFC 9293 section 3.8.4 */
		core->counters.tcp_keepalive_probes++;
	}
	emit(core, tcb, packet, &segment, 0);
}

/* One byte beyond a closed window is all that is out: the peer has not taken it. */
static bool is_probing(const struct tcb *tcb)
{
	return tcb->timers & TCB_TIMER_PERSIST && tcb->recover == tcb->snd_una + 1;
}

/* SND.NXT as the peer knows it. */
static uint32_t next_number(const struct tcb *tcb)
{
	return is_probing(tcb) ? tcb->snd_nxt : tcb_snd_max(tcb);
}

static void emit_ack(struct core *core, struct tcb *tcb, struct packet *packet)
{
	struct tcp_segment segment = {.seq = next_number(tcb), .flags = TCP_ACK};

	emit(core, tcb, packet, &segment, 0);
	if (tcb->acks_owed)
		tcb->acks_owed--;
}

/* A closed window, or no neighbour: data with nothing in flight needs the persist timer. */
void tcp_arm_persist(struct core *core, struct tcb *tcb)
{
	if (!synchronised(tcb) || tcb->timers & TCB_TIMER_PERSIST || PLANTED(PERSIST_FORGOTTEN))
		return;
	if (tcb->snd_nxt != tcb->snd_una || (tcb->snd_bytes == 0 && !(tcb->pending & TCB_FIN_QUEUED)))
		return;
	if (tcb->pending & TCB_FIN_SENT && tcb->snd_bytes == 0)
		return;
	if (!(tcb->timers & TCB_TIMER_RTX)) { /* else the window forbids even to send again */
		tcb->backoff = 0;
		tcb->unacked_tick = core->now_tick;
	}
	tcb->timers |= TCB_TIMER_PERSIST;
	tcp_arm_rtx(core, tcb);
}

/* One frame's worth; false when there is nothing to send. */
static bool output_one(struct core *core, struct tcb *tcb, struct packet *packet)
{
	bool fin, held;
	uint32_t bytes;

	if (tcb->state == TCP_SYN_SENT || tcb->state == TCP_SYN_RECEIVED) {
		if (tcb->pending & TCB_RTX) {
			if (tcb_fast_opened(tcb))
				emit_fast_answer(core, tcb, packet);
			else
				emit_syn(core, tcb, packet);
			return true;
		}
	} else if (tcb->pending & TCB_RTX && tcb->snd_nxt != tcb->snd_una) {
		emit_again(core, tcb, packet);
		if (packet->bytes)
			return true;
	}
	held = unlikely(tcb->paced) && !pace_allows(core, tcb);
	if (unlikely(tcb->options & TCB_BOARD) && !held && emit_lost(core, tcb, packet))
		return true;
	if (tcb->acks_owed > 1 || (unlikely(tcb->acks_owed) && sack_waits(core, tcb))) {
		emit_ack(core, tcb, packet);
		return true;
	}
	if ((likely(synchronised(tcb)) || tcb_fast_opened(tcb)) && !held) {
		bytes = sendable(core, tcb, frame_limit(core, tcb, packet), &fin);
		if (bytes || fin) {
			emit_data(core, tcb, packet, tcb->snd_nxt, bytes, fin);
			if (fin)
				close_state(core, tcb);
			tcb->acks_owed = 0;
			return true;
		}
	}
	if (tcb->pending & TCB_PROBE) {
		emit_probe(core, tcb, packet);
		return true;
	}
	if (tcb->pending & TCB_ACK_NOW || tcb->acks_owed) {
		if (tcb->state == TCP_SYN_SENT)
			return false;
		emit_ack(core, tcb, packet);
		return true;
	}
	return false;
}

/* After a frame nothing more is to be said: the frequent case, seen without asking for each reason again. */
static bool all_said(const struct tcb *tcb)
{
	return tcb->snd_nxt - tcb->snd_una == tcb->snd_bytes && tcb->acks_owed == 0 &&
	       !(tcb->pending & (TCB_RTX | TCB_ACK_NOW | TCB_PROBE | TCB_FIN_QUEUED)) &&
	       !(tcb->options & (TCB_BOARD | TCB_BACKED));
}

/* A packet that is longer than the others, with what is next: path.c. Only where more follows, so that its
 * loss is noticed at once, and not while anything else is missing. It may go beyond cwnd, by itself alone, as
 * after a duplicate acknowledgement (RFC 3042): where each acknowledgement lets one short segment out there
 * would never be room for it. */
static NO_INLINE bool emit_trial(struct core *core, struct tcb *tcb, struct packet *packet)
{
	uint32_t flight = tcb->snd_nxt - tcb->snd_una, bytes = path_trial_bytes(core, tcb);
	uint32_t start = tcb->snd_nxt;
	uint16_t mss = tcb->mss;

	if (!bytes || tcb->options & (TCB_BOARD | TCB_BACKED) || tcb->duplicate_acks ||
	    tcb->pending & (TCB_RECOVERY | TCB_FIN_SENT | TCB_RTX) || packet->room < HEADERS_MAX + bytes ||
	    tcb->snd_bytes < flight + bytes + 3u * mss || tcb->snd_wnd < flight + bytes || tcb->cwnd < flight)
		return false;
	tcb->mss = (uint16_t)bytes; /* a port that cuts frames is to leave it whole */
	emit_data(core, tcb, packet, start, bytes, false);
	tcb->mss = mss;
	path_trial_sent(core, tcb, start);
	return true;
}

uint32_t tcp_output(struct core *core, uint32_t index, struct packet *packets, uint32_t max)
{
	struct tcb *tcb = tcb_at(core, index);
	uint32_t count = 0;

	while (count < max && output_one(core, tcb, &packets[count])) {
		core->counters.tx_bytes += packets[count].bytes;
		count++;
		if (likely(all_said(tcb)))
			break;
		if (unlikely(path_tries(core, tcb)) && count < max &&
		    emit_trial(core, tcb, &packets[count])) {
			core->counters.tx_bytes += packets[count].bytes;
			count++;
		}
	}
	if (count > 1) {
		tcp_arm_probe(core, tcb);
		pace_consider(core, tcb);
		if (unlikely(path_is_narrow(core, tcb)))
			path_consider(core, tcb);
	}
	if (count < max)
		tcp_arm_persist(core, tcb);
	return count;
}

void tcp_window_update(struct core *core, struct tcb *tcb)
{
	uint32_t limit = tcp_receive_limit(core, tcb);
	uint32_t right = tcb->rcv_nxt + tcp_receive_room(core, tcb);
	bool closed = tcb->rcv_adv - tcb->rcv_nxt < 1u << (tcb->wscales & 15);

	if (!synchronised(tcb) || tcb->pending & TCB_FIN_TAKEN || seq_leq(right, tcb->rcv_adv))
		return;
	if (right - tcb->rcv_adv < MIN_OF(limit / 2, (closed ? 1u : 2u) * tcb->mss))
		return;
	if (tcb->rcv_adv - tcb->rcv_nxt >= limit / 2)
		return; /* still wide open: the next acknowledgement says it */
	core->counters.tcp_window_updates += !(tcb->pending & TCB_ACK_NOW); /* else it goes along */
	tcb->pending |= TCB_ACK_NOW;
	conn_ready(core, tcb_index(core, tcb));
}

/* What a block about to be freed still has to say goes out as a reply. */
static void last_reply(struct core *core, const struct tcb *tcb, uint8_t flags)
{
	struct tcp_segment segment = {.seq = next_number(tcb), .ack = tcb->rcv_nxt, .flags = flags};

	if (tcb->state == TCP_SYN_SENT || !net_resolve(&core->net, tcb->destination))
		return;
	if (tcb->options & TCB_TIMESTAMPS) {
		segment.options = TCP_OPT_TIMESTAMPS;
		segment.ts_val = tcp_clock(core, tcb->ts_offset);
		segment.ts_ecr = tcb->ts_recent;
	}
	if (!(flags & TCP_RST))
		segment.window = (uint16_t)MIN_OF((tcb->rcv_adv - tcb->rcv_nxt) >> (tcb->wscales & 15),
						  65535u);
	tcp_reply(core, &destination_hop(&core->net.destinations, tcb->destination)->mac, &tcb->tuple,
		  &segment);
}

void tcp_abort_segment(struct core *core, const struct tcb *tcb)
{
	/* RFC 9293 section 3.10.5: where both sides have closed nobody is told, unless data was lost. */
	if ((tcb->state == TCP_CLOSING || tcb->state == TCP_LAST_ACK) && tcb->rcv_bytes == 0 &&
	    tcb->snd_bytes == 0)
		return;
	last_reply(core, tcb, TCP_RST | TCP_ACK);
}

void tcp_last_ack(struct core *core, struct tcb *tcb)
{
	if (tcb->pending & TCB_ACK_NOW || tcb->acks_owed)
		last_reply(core, tcb, TCP_ACK);
}

/* Only a reply that nobody else's stands before is sure to go before what the block itself has to say: not
 * even the question whether the neighbour is still there. */
void tcp_ack_before(struct core *core, struct tcb *tcb, uint8_t flags)
{
	if (!net_resolve(&core->net, tcb->destination) || core->net.reply_count)
		return;
	last_reply(core, tcb, (uint8_t)(TCP_ACK | flags));
	acknowledged(core, tcb);
}
