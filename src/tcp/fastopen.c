/* fastopen.c - data in the SYN, both ways (RFC 7413): the server's cookies, and the client's memory of them.
 * A server's cookie is a keyed hash of both addresses and of the hour; nothing is kept of it. A connection
 * that a SYN with a good cookie opened is a block in SYN-RECEIVED that we have not opened ourselves, until
 * its handshake is complete: those are counted, and no more of them are let in than the service allows. In:
 * SYNs of both directions.  Out: what goes with ours.  Owns: core->fastopen. */
#include "tcp/fastopen.h"

#include <string.h>

#include "base/plant.h"
#include "wire/bytes.h"

#define KEY_US          3600000000ull /* a cookie is good for one to two of these */
#define RESETS_TICKS    60000u
#define OFF_TICKS       60000u /* without fast open after a SYN that was lost with it; doubled each time */
#define OFF_DOUBLED_MAX 10u
#define COOKIE_MIN      4u
#define MSS_UNKNOWN     536u

/* --- the server */

static uint64_t cookie_of(const struct core *core, const struct tuple4 *tuple, uint64_t hour)
{
	uint64_t words[2] = {(uint64_t)tuple->local_ip | (uint64_t)tuple->remote_ip << 32, hour};

	return siphash_words(&core->secrets->fastopen, words, 2, (uint64_t)16 << 56, 2, 4);
}

void fastopen_cookie(const struct core *core, const struct tuple4 *tuple,
		     uint8_t cookie[FASTOPEN_COOKIE_BYTES])
{
	uint64_t value = cookie_of(core, tuple, core->now_us / KEY_US);

	put32(cookie, (uint32_t)(value >> 32));
	put32(cookie + 4, (uint32_t)value);
}

static bool cookie_good(const struct core *core, const struct tuple4 *tuple,
			const struct tcp_segment *segment)
{
	uint64_t hour = core->now_us / KEY_US, value;

	if (segment->cookie_bytes != FASTOPEN_COOKIE_BYTES)
		return false;
	value = (uint64_t)get32(segment->cookie) << 32 | get32(segment->cookie + 4);
	return value == cookie_of(core, tuple, hour) ||
	       (hour > 0 && value == cookie_of(core, tuple, hour - 1));
}

/* Who resets what a forged SYN has opened must not make room for the next one (RFC 7413 section 5.1). */
static uint32_t waiting(struct core *core)
{
	if (core->now_tick - core->fastopen_resets_tick >= RESETS_TICKS) {
		core->fastopen_resets_tick = core->now_tick;
		core->fastopen_resets = 0;
	}
	return core->fastopen_pending + core->fastopen_resets;
}

bool fastopen_lets_in(struct core *core, uint32_t service, const struct tuple4 *tuple,
		      const struct tcp_segment *segment)
{
	if (!segment->payload_bytes || segment->cookie_bytes == 0)
		return false;
	if (!cookie_good(core, tuple, segment)) {
		core->counters.tcp_fastopen_bad_cookies++;
		return false;
	}
	if (waiting(core) >= core->services[service].fastopen_pending || pool_room(&core->half_opens) == 0) {
		core->counters.tcp_fastopen_overflows++;
		return false;
	}
	return true;
}

/* The block is there and established but for the last segment of its handshake. */
void fastopen_begin(struct core *core, struct tcb *tcb, const struct tcp_segment *segment,
		    struct tcp_result *result)
{
	tcb->state = TCP_SYN_RECEIVED;
	tcb->max_snd_wnd = tcb->snd_wnd;
	core->fastopen_pending++;
	core->counters.tcp_established--; /* counted when it is */
	core->counters.tcp_fastopen_accepted++;
	tcb->pending |= TCB_RTX | TCB_RTT_TIMING;
	tcb->rtt_seq = tcb->snd_una;
	tcb->rtt_start_us = (uint32_t)core->now_us;
	result->events |= TCP_EVENT_DATA;
	result->data = segment->payload;
	result->bytes = MIN_OF(segment->payload_bytes, tcb->rcv_adv - tcb->rcv_nxt);
	conn_ready(core, tcb_index(core, tcb));
}

/* The peer has our SYN-ACK. What was sent behind it, and lost with an earlier one, goes again. */
bool fastopen_complete(struct core *core, struct tcb *tcb, const struct tcp_segment *segment)
{
	if (segment->ack - tcb->snd_una > tcb_snd_max(tcb) - tcb->snd_una)
		return false;
	core->fastopen_pending--;
	core->counters.tcp_established++;
	tcb->state = TCP_ESTABLISHED;
	tcb->timers &= (uint8_t) ~(TCB_TIMER_RTX | TCB_TIMER_PERSIST);
	if (tcb->pending & TCB_RTT_TIMING && tcb->rtt_seq == tcb->snd_una) {
		tcp_rtt_sample(core, tcb, (uint32_t)core->now_us - tcb->rtt_start_us);
		tcb->pending &= (uint16_t)~TCB_RTT_TIMING;
	}
	if (tcb->backoff)
		tcb->cwnd = tcb->mss; /* the SYN-ACK was lost: RFC 5681 section 3.1 */
	if (tcb->backoff && tcb->snd_nxt != segment->ack) {
		tcb->recover = tcb_snd_max(tcb);
		tcb->options |= TCB_BACKED;
		tcb->snd_nxt = tcb->snd_una;
	}
	tcb->backoff = 0;
	tcb->pending &= (uint16_t)~TCB_RTX;
	tcb->unacked_tick = core->now_tick;
	if (tcb->snd_nxt != tcb->snd_una || tcb->options & TCB_BACKED)
		tcp_arm_rtx(core, tcb);
	tcp_window_update(core, tcb); /* what came with the SYN may have been read by now */
	conn_ready(core, tcb_index(core, tcb));
	return true;
}

void fastopen_over(struct core *core, const struct tcb *tcb, bool reset)
{
	if (!tcb_fast_opened(tcb))
		return;
	if (reset)
		core->fastopen_resets++;
	else if (!PLANTED(FASTOPEN_HELD))
		core->fastopen_pending--;
}

/* --- the client */

static struct fastopen_entry *entry_for(struct core *core, const struct tuple4 *tuple)
{
	uint64_t ips = (uint64_t)tuple->local_ip | (uint64_t)tuple->remote_ip << 32;
	uint64_t hash = siphash_words(&core->secrets->flow, &ips, 1, (uint64_t)8 << 56, 1, 3);

	return &core->fastopen[hash % FASTOPEN_ENTRIES];
}

static bool is_about(const struct fastopen_entry *entry, const struct tuple4 *tuple)
{
	return entry->remote_ip == tuple->remote_ip && entry->local_ip == tuple->local_ip;
}

static bool is_off(const struct core *core, const struct fastopen_entry *entry)
{
	return entry->losses && tick_before(core->now_tick, entry->off_until);
}

/* Adds the cookie, or asks for one; returns how many bytes of data may go along. The option must leave room
 * for all others: the user timeout goes without it. */
uint32_t fastopen_offer(struct core *core, struct tcb *tcb, struct tcp_segment *segment)
{
	const struct fastopen_entry *entry = entry_for(core, &tcb->tuple);
	bool known = is_about(entry, &tcb->tuple);
	uint32_t room;

	if (!core->services[tcb->service].fastopen_client || (known && is_off(core, entry)))
		return 0;
	segment->options |= TCP_OPT_FASTOPEN;
	segment->cookie = entry->cookie;
	segment->cookie_bytes = known ? entry->cookie_bytes : 0;
	if (tcp_header_bytes(segment->options, segment->cookie_bytes) > TCP_HEADER_BYTES_MAX)
		segment->options &= (uint8_t)~TCP_OPT_USER_TIMEOUT;
	tcb->rtt_seq = tcb->snd_una + 1; /* it went with the option: fastopen_learn */
	if (segment->cookie_bytes == 0)
		return 0;
	tcb->mss = (uint16_t)MIN_OF(
		(uint32_t)MAX_OF(entry->mss, MSS_UNKNOWN),
		tcp_mss_for(core, destination_mtu(&core->net.destinations, tcb->destination)));
	room = tcb->mss - (tcp_header_bytes(segment->options, segment->cookie_bytes) - TCP_HEADER_BYTES);
	return MIN_OF(tcb->snd_bytes, room);
}

/* A SYN was lost, though not the next one without the option, or all that followed it: perhaps the path does
 * not bear it. */
static void note_loss(struct core *core, struct fastopen_entry *entry)
{
	if (is_off(core, entry))
		return; /* many were on their way */
	entry->losses = (uint8_t)MIN_OF(entry->losses + 1u, OFF_DOUBLED_MAX + 1u);
	entry->off_until = core->now_tick + (OFF_TICKS << (entry->losses - 1u));
	core->counters.tcp_fastopen_switched_off++;
}

void fastopen_learn(struct core *core, const struct tcb *tcb, const struct tcp_segment *segment)
{
	struct fastopen_entry *entry = entry_for(core, &tcb->tuple);
	bool gives = segment->options & TCP_OPT_FASTOPEN && segment->cookie_bytes >= COOKIE_MIN;
	bool offered = tcb->rtt_seq == tcb->snd_una + 1, lost = tcb->backoff && offered;

	if (!core->services[tcb->service].fastopen_client ||
	    (!gives && !lost && !is_about(entry, &tcb->tuple)))
		return;
	if (!is_about(entry, &tcb->tuple))
		*entry = (struct fastopen_entry){.remote_ip = tcb->tuple.remote_ip,
						 .local_ip = tcb->tuple.local_ip};
	if (gives) {
		entry->cookie_bytes = segment->cookie_bytes;
		memcpy(entry->cookie, segment->cookie, segment->cookie_bytes);
		core->counters.tcp_fastopen_cookies_learnt++;
	}
	if (segment->options & TCP_OPT_MSS)
		entry->mss = segment->mss;
	if (lost)
		note_loss(core, entry);
	else if (offered)
		entry->losses = 0;
}

void fastopen_doubt(struct core *core, const struct tcb *tcb)
{
	struct fastopen_entry *entry = entry_for(core, &tcb->tuple);

	if (tcb->options & TCB_UNHEARD && core->services[tcb->service].fastopen_client &&
	    is_about(entry, &tcb->tuple) && entry->cookie_bytes)
		note_loss(core, entry);
}
