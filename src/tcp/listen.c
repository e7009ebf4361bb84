/* listen.c - connections that peers open: compact half-open entries, and SYN cookies when
 * these run out (RFC 4987). A block is taken only when the handshake completes, and an entry reserves none:
 * a flood of half-open ones refuses nobody. New connections are refused once all blocks are taken.
 * Owns: the half-open pool, its lists by number of transmissions. */
#include <string.h>

#include "base/plant.h"
#include "tcp/ecn.h"
#include "tcp/fastopen.h"

#define COOKIE_SLOT_LOG2 16 /* ticks: a cookie is good for 65 to 131 s */
#define COOKIE_NO_WSCALE 15
#define COOKIE_SACK      16
#define COOKIE_ECN       32
#define COOKIE_BITS      63u

static const uint16_t cookie_mss[8] = {64, 256, 536, 1024, 1220, 1400, 1440, 1460};

static struct half_open *entry_at(const struct core *core, uint32_t index)
{
	return pool_at(&core->half_opens, index);
}

static void list_add(struct core *core, uint32_t index)
{
	struct half_open *entry = entry_at(core, index);
	struct index_list *list = &core->half_open_lists[entry->tries];

	/* One tick more: this one may have almost passed. */
	entry->due_tick = core->now_tick + 1 + (core->settings.rto_initial_us / TICK_US << entry->tries);
	entry->older = list->newest;
	entry->newer = POOL_NONE;
	if (list->newest == POOL_NONE)
		list->oldest = index;
	else
		entry_at(core, list->newest)->newer = index;
	list->newest = index;
}

static void list_remove(struct core *core, uint32_t index)
{
	struct half_open *entry = entry_at(core, index);
	struct index_list *list = &core->half_open_lists[entry->tries];

	if (entry->older == POOL_NONE)
		list->oldest = entry->newer;
	else
		entry_at(core, entry->older)->newer = entry->newer;
	if (entry->newer == POOL_NONE)
		list->newest = entry->older;
	else
		entry_at(core, entry->newer)->older = entry->older;
}

/* The flow table's entry is the caller's. */
static void entry_give(struct core *core, uint32_t index)
{
	list_remove(core, index);
	entry_at(core, index)->in_use = 0;
	pool_give(&core->half_opens, index);
}

void half_open_free(struct core *core, uint32_t index)
{
	const struct half_open *entry = entry_at(core, index);

	flow_table_remove(&core->table, core_hash(core, &entry->tuple), flow_ref(FLOW_HALF_OPEN, index));
	entry_give(core, index);
}

static void syn_ack(struct core *core, const struct eth_address *to, const struct half_open *entry,
		    uint32_t ts_val)
{
	uint32_t window = MIN_OF(core->services[entry->service].receive_bytes, 65535u);
	uint8_t cookie[FASTOPEN_COOKIE_BYTES];
	struct tcp_segment segment = {
		.seq = entry->iss,
		.ack = entry->irs + 1,
		.flags = (uint8_t)(TCP_SYN | TCP_ACK | (entry->ecn ? TCP_ECE : 0)),
		.window = (uint16_t)window,
		.options = (uint8_t)(TCP_OPT_MSS | entry->options),
		.mss = (uint16_t)tcp_mss_for(core, core->net.destinations.routes.mtu),
		.wscale = entry->own_wscale,
		.ts_val = ts_val,
		.ts_ecr = entry->ts_recent,
		.user_timeout = user_timeout_offer(core, entry->service,
						   core->services[entry->service].user_timeout_ms),
	};

	if (segment.user_timeout)
		segment.options |= TCP_OPT_USER_TIMEOUT;
	if (segment.options & TCP_OPT_FASTOPEN) {
		fastopen_cookie(core, &entry->tuple, cookie);
		segment.cookie = cookie;
		segment.cookie_bytes = FASTOPEN_COOKIE_BYTES;
	}
	tcp_reply(core, to, &entry->tuple, &segment);
}

static void fill(struct core *core, struct half_open *entry, const struct tuple4 *tuple,
		 const struct tcp_segment *segment)
{
	memset(entry, 0, sizeof(*entry));
	entry->tuple = *tuple;
	entry->irs = segment->seq;
	entry->service = (uint8_t)(core->listeners[tuple->local_port] - 1);
	entry->mss = segment->options & TCP_OPT_MSS ? segment->mss : 536;
	entry->window = segment->window;
	entry->wscale = segment->wscale;
	entry->own_wscale = core->services[entry->service].wscale;
	entry->ecn = ecn_is_asked(segment) && core->services[entry->service].ecn_accepts;
	entry->ts_recent = segment->ts_val;
	entry->user_timeout = segment->user_timeout;
	entry->ts_offset = core_ts_offset(core, tuple);
	entry->born_us = (uint32_t)core->now_us;
	if (segment->options & TCP_OPT_TIMESTAMPS && !core->settings.no_timestamps)
		entry->options |= TCP_OPT_TIMESTAMPS;
	if (segment->options & TCP_OPT_WSCALE && !core->settings.no_window_scale)
		entry->options |= TCP_OPT_WSCALE;
	if (segment->options & TCP_OPT_SACK_PERMITTED && !core->settings.no_sack)
		entry->options |= TCP_OPT_SACK_PERMITTED;
	if (segment->options & TCP_OPT_FASTOPEN && core->services[entry->service].fastopen_pending)
		entry->options |= TCP_OPT_FASTOPEN;
}

static uint32_t cookie_hash(const struct core *core, const struct tuple4 *tuple, uint32_t irs, uint32_t slot)
{
	uint64_t words[3] = {
		(uint64_t)tuple->local_ip | (uint64_t)tuple->remote_ip << 32,
		(uint64_t)tuple->local_port | (uint64_t)tuple->remote_port << 16,
		(uint64_t)irs | (uint64_t)slot << 32,
	};

	return (uint32_t)siphash_words(&core->secrets->cookie, words, 3, (uint64_t)24 << 56, 2, 4) & ~15u;
}

/* 28 bits of hash, the parity of the time slot, three bits of MSS class. */
static uint32_t cookie_make(const struct core *core, const struct half_open *entry)
{
	uint32_t slot = core->now_tick >> COOKIE_SLOT_LOG2, class = 7;

	while (class > 0 && cookie_mss[class] > entry->mss)
		class --;
	return cookie_hash(core, &entry->tuple, entry->irs, slot) | (slot & 1) << 3 | class;
}

static bool cookie_valid(const struct core *core, const struct tuple4 *tuple, uint32_t irs, uint32_t cookie)
{
	uint32_t slot = core->now_tick >> COOKIE_SLOT_LOG2;

	if ((slot & 1) != (cookie >> 3 & 1))
		slot = (slot - 1) & (UINT32_MAX >> COOKIE_SLOT_LOG2);
	return cookie_hash(core, tuple, irs, slot) == (cookie & ~15u);
}

/* The timestamp carries what the cookie has no room for: its low six bits are the window scale, SACK and ECN.
 * It never runs ahead of the clock. */
static uint32_t cookie_timestamp(const struct core *core, const struct half_open *entry)
{
	uint32_t clock = tcp_clock(core, entry->ts_offset);
	uint32_t scale = entry->options & TCP_OPT_WSCALE ? entry->wscale : COOKIE_NO_WSCALE;
	uint32_t sack = entry->options & TCP_OPT_SACK_PERMITTED ? COOKIE_SACK : 0;
	uint32_t value = (clock & ~COOKIE_BITS) | (entry->ecn ? COOKIE_ECN : 0) | sack | scale;

	return seq_gt(value, clock) ? value - (COOKIE_BITS + 1) : value;
}

static enum drop_reason send_cookie(struct core *core, const struct eth_address *to,
				    const struct tuple4 *tuple, const struct tcp_segment *segment)
{
	struct half_open entry;

	fill(core, &entry, tuple, segment);
	if (!(entry.options & TCP_OPT_TIMESTAMPS))
		entry.options = entry.ecn = 0;       /* nothing but the MSS fits */
	entry.options &= (uint8_t)~TCP_OPT_FASTOPEN; /* not while it is a flood */
	entry.iss = cookie_make(core, &entry);
	syn_ack(core, to, &entry, cookie_timestamp(core, &entry));
	core->counters.tcp_cookies_sent++;
	core->cookie_tick = core->now_tick;
	core->cookies_out = true;
	return DROP_NONE;
}

/* By a reset or in silence, as the service wants it. */
static enum drop_reason refuse(struct core *core, uint32_t service, const uint8_t *frame,
			       const struct tuple4 *tuple, const struct tcp_segment *segment,
			       enum drop_reason reason)
{
	if (core->admission.services[service].reset)
		tcp_send_reset(core, frame, tuple, segment);
	return reason;
}

static bool is_limit(enum drop_reason reason)
{
	return reason == DROP_LIMIT_DENIED || reason == DROP_LIMIT_CONNECTIONS || reason == DROP_LIMIT_RATE;
}

/* A block for a finished handshake; a reason when there is none. */
static enum drop_reason establish(struct core *core, const struct half_open *entry, uint64_t hash,
				  uint32_t half_open_ref, struct tcp_result *result)
{
	uint16_t destination = destination_for(&core->net.destinations, entry->tuple.remote_ip, 0);
	struct tcp_segment options = {
		.options = (uint8_t)(TCP_OPT_MSS | entry->options),
		.mss = entry->mss,
		.wscale = entry->wscale,
		.ts_val = entry->ts_recent,
	};
	enum drop_reason reason = admission_check(core, entry->service, entry->tuple.remote_ip);
	uint32_t index;
	struct tcb *tcb;
	bool stored;

	if (reason)
		return reason; /* others of this source were faster, or the limits are new */
	if (!destination)
		return DROP_NO_DESTINATION;
	index = conn_take(core, &entry->tuple, entry->service);
	if (index == POOL_NONE)
		return DROP_NO_BLOCK;
	tcb = tcb_at(core, index);
	stored = half_open_ref == FLOW_NONE
			 ? core_insert(core, hash, flow_ref(FLOW_BLOCK, index))
			 : flow_table_replace(&core->table, hash, half_open_ref, flow_ref(FLOW_BLOCK, index));
	if (!stored) {
		tcb->state = TCB_FREE;
		pool_give(&core->blocks, index);
		return DROP_NO_FLOW_SLOT;
	}
	tcb->destination = destination;
	destination_hold(&core->net.destinations, destination);
	tcb->ts_offset = entry->ts_offset;
	tcb->wscales = entry->own_wscale;
	tcp_learn_syn_options(core, tcb, &options);
	user_timeout_learn(core, tcb, entry->user_timeout);
	if (entry->ecn)
		tcb->options |= TCB_ECN;
	tcp_open_setup(core, tcb, entry->iss, entry->irs);
	tcb->state = TCP_ESTABLISHED;
	tcb->snd_wl1 = entry->irs;
	tcb->snd_wnd = entry->window;
	if (entry->tries == 0 && entry->in_use)
		tcp_rtt_sample(core, tcb, (uint32_t)core->now_us - entry->born_us);
	else if (entry->tries)
		tcb->cwnd = tcb->mss; /* RFC 5681 section 3.1: the SYN-ACK was lost */
	admission_count(core, tcb);
	core->counters.tcp_passive_opens++;
	core->counters.tcp_established++;
	result->events |= TCP_EVENT_OPEN;
	result->index = index;
	return DROP_NONE;
}

static uint32_t first_number(const struct core *core, const struct tuple4 *tuple)
{
	uint32_t iss = core_isn(core, tuple);

	if (core->reused && seq_leq(iss, core->reused_seq))
		iss = core->reused_seq + 1; /* RFC 1122 section 4.2.2.13, RFC 6191 section 2 */
	return iss;
}

/* RFC 7413 section 4.2.2: the block at once, and the SYN's data with it. False: as if it had no cookie. */
static bool fast_open(struct core *core, const struct tuple4 *tuple, uint64_t hash,
		      const struct tcp_segment *segment, struct tcp_result *result)
{
	uint32_t service = core->listeners[tuple->local_port] - 1u;
	struct half_open entry;

	if (!fastopen_lets_in(core, service, tuple, segment))
		return false;
	fill(core, &entry, tuple, segment);
	entry.iss = first_number(core, tuple);
	if (establish(core, &entry, hash, FLOW_NONE, result))
		return false;
	fastopen_begin(core, tcb_at(core, result->index), segment, result);
	return true;
}

static enum drop_reason syn_input(struct core *core, const uint8_t *frame, const struct tuple4 *tuple,
				  uint64_t hash, const struct tcp_segment *segment, struct tcp_result *result)
{
	uint32_t service = core->listeners[tuple->local_port] - 1u, index;
	enum drop_reason reason = admission_check(core, service, tuple->remote_ip);
	struct eth_header eth;
	struct half_open *entry;

	if (reason)
		return refuse(core, service, frame, tuple, segment, reason);
	eth_parse(frame, ETH_HEADER_BYTES, &eth);
	if (pool_room(&core->blocks) == 0) {
		tcp_send_reset(core, frame, tuple, segment);
		return DROP_TCP_REFUSED;
	}
	if (segment->options & TCP_OPT_FASTOPEN && core->services[service].fastopen_pending &&
	    !core->settings.always_cookies && fast_open(core, tuple, hash, segment, result))
		return DROP_NONE;
	if (core->settings.always_cookies)
		return send_cookie(core, &eth.source, tuple, segment);
	index = pool_take(&core->half_opens);
	if (index == POOL_NONE)
		return send_cookie(core, &eth.source, tuple, segment);
	if (!core_insert(core, hash, flow_ref(FLOW_HALF_OPEN, index))) {
		pool_give(&core->half_opens, index);
		return DROP_NO_FLOW_SLOT;
	}
	entry = entry_at(core, index);
	fill(core, entry, tuple, segment);
	entry->hop = eth.source;
	entry->iss = first_number(core, tuple);
	entry->in_use = 1;
	list_add(core, index);
	syn_ack(core, &eth.source, entry, tcp_clock(core, entry->ts_offset));
	return DROP_NONE;
}

/* The service may have been read again since the SYN cookie left, which the timestamp tells, but for the 64
 * ms that its low bits stood for. */
static uint8_t told_wscale(const struct core *core, const struct half_open *entry, uint32_t ts_ecr)
{
	const struct tcp_service *service = &core->services[entry->service];
	uint32_t sent_tick = ts_ecr - entry->ts_offset;

	if (service->rescaled && seq_lt(sent_tick, service->rescaled_tick) &&
	    core->now_tick - service->rescaled_tick < 2u << COOKIE_SLOT_LOG2)
		return service->wscale_before;
	return service->wscale;
}

static enum drop_reason cookie_input(struct core *core, const uint8_t *frame, const struct tuple4 *tuple,
				     uint64_t hash, const struct tcp_segment *segment,
				     struct tcp_result *result)
{
	uint32_t cookie = segment->ack - 1, scale = segment->ts_ecr & 15;
	struct half_open entry;
	enum drop_reason reason;

	if (!cookie_valid(core, tuple, segment->seq - 1, cookie)) {
		tcp_send_reset(core, frame, tuple, segment);
		return DROP_TCP_COOKIE_INVALID;
	}
	fill(core, &entry, tuple, segment);
	entry.irs = segment->seq - 1;
	entry.iss = cookie;
	entry.mss = cookie_mss[cookie & 7];
	entry.ecn = entry.options & TCP_OPT_TIMESTAMPS && segment->ts_ecr & COOKIE_ECN &&
		    core->services[entry.service].ecn_accepts;
	if (entry.options & TCP_OPT_TIMESTAMPS && segment->ts_ecr & COOKIE_SACK)
		entry.options |= TCP_OPT_SACK_PERMITTED;
	if (entry.options & TCP_OPT_TIMESTAMPS && scale != COOKIE_NO_WSCALE) {
		entry.options |= TCP_OPT_WSCALE;
		entry.wscale = (uint8_t)scale;
		entry.own_wscale = told_wscale(core, &entry, segment->ts_ecr);
	}
	reason = establish(core, &entry, hash, FLOW_NONE, result);
	if (is_limit(reason))
		return refuse(core, entry.service, frame, tuple, segment, reason);
	if (reason)
		tcp_send_reset(core, frame, tuple, segment);
	else
		core->counters.tcp_cookies_accepted++;
	return reason;
}

/* RFC 9293 section 3.10.7.2. */
enum drop_reason tcp_listen_input(struct core *core, const uint8_t *frame, const struct tuple4 *tuple,
				  uint64_t hash, const struct tcp_segment *segment, struct tcp_result *result)
{
	bool listens = core->listeners[tuple->local_port] != 0 && !core->stopping;

	if (unlikely(!core_owns_port(core, tuple->local_port)))
		return DROP_TCP_NO_LISTENER; /* the kernel's to answer */
	if (segment->flags & TCP_SYN && segment->flags & (TCP_FIN | TCP_RST))
		return DROP_TCP_FLAGS;
	if (segment->flags & TCP_RST)
		return DROP_TCP_NO_FLOW;
	if (listens && !admission_lets_in(core, core->listeners[tuple->local_port] - 1u, tuple->remote_ip))
		return refuse(core, core->listeners[tuple->local_port] - 1u, frame, tuple, segment,
			      DROP_LIMIT_DENIED);
	if (listens && !(segment->flags & TCP_ACK)) {
		if ((segment->flags & (TCP_SYN | TCP_FIN)) == TCP_SYN)
			return syn_input(core, frame, tuple, hash, segment, result);
		return DROP_TCP_FLAGS;
	}
	if (listens && !(segment->flags & TCP_SYN) && core->cookies_out &&
	    core->now_tick - core->cookie_tick < 2u << COOKIE_SLOT_LOG2)
		return cookie_input(core, frame, tuple, hash, segment, result);
	tcp_send_reset(core, frame, tuple, segment);
	return (segment->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN ? DROP_TCP_NO_LISTENER : DROP_TCP_NO_FLOW;
}

static void acknowledge(struct core *core, const uint8_t *frame, const struct half_open *entry)
{
	uint32_t window = MIN_OF(core->services[entry->service].receive_bytes, 65535u);
	uint32_t scale = entry->options & TCP_OPT_WSCALE ? entry->own_wscale : 0;
	struct tcp_segment ack = {
		.seq = entry->iss + 1,
		.ack = entry->irs + 1,
		.flags = TCP_ACK,
		.window = (uint16_t)(window >> scale),
		.options = entry->options & TCP_OPT_TIMESTAMPS,
		.ts_val = tcp_clock(core, entry->ts_offset),
		.ts_ecr = entry->ts_recent,
	};
	struct eth_header eth;

	if (!net_reply_allowed(&core->net)) {
		core->counters.drops[DROP_REPLY_RATE]++;
		return;
	}
	eth_parse(frame, ETH_HEADER_BYTES, &eth);
	core->counters.tcp_challenge_acks++;
	tcp_reply(core, &eth.source, &entry->tuple, &ack);
}

/* RFC 9293 section 3.10.7.4 for SYN-RECEIVED of a passive open. */
enum drop_reason tcp_half_open_input(struct core *core, const uint8_t *frame, uint32_t index, uint64_t hash,
				     const struct tcp_segment *segment, struct tcp_result *result)
{
	struct half_open *entry = entry_at(core, index);
	uint32_t window = MIN_OF(core->services[entry->service].receive_bytes, 65535u);
	struct eth_header eth;
	enum drop_reason reason;

	eth_parse(frame, ETH_HEADER_BYTES, &eth);
	if ((segment->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN && segment->seq == entry->irs) {
		entry->hop = eth.source;
		syn_ack(core, &eth.source, entry, tcp_clock(core, entry->ts_offset));
		core->counters.tcp_syn_retransmits++;
		return DROP_NONE;
	}
	if (segment->flags & TCP_RST) {
		if (segment->seq != entry->irs + 1)
			return DROP_TCP_RST_IGNORED;
		core->counters.tcp_resets_in++;
		(PLANTED(HALF_OPEN_LEFT) ? entry_give : half_open_free)(core, index);
		return DROP_NONE;
	}
	if (entry->options & segment->options & TCP_OPT_TIMESTAMPS &&
	    seq_lt(segment->ts_val, entry->ts_recent)) {
		acknowledge(core, frame, entry);
		return DROP_TCP_OLD_DUPLICATE;
	}
	if (segment->seq - (entry->irs + 1) >= MAX_OF(window, 1u)) {
		acknowledge(core, frame, entry);
		return DROP_TCP_OUT_OF_WINDOW;
	}
	if (segment->flags & TCP_SYN) {
		acknowledge(core, frame, entry);
		return DROP_TCP_SYN_IN_CONNECTION;
	}
	if (!(segment->flags & TCP_ACK))
		return DROP_TCP_NO_ACK;
	if (segment->ack != entry->iss + 1) {
		tcp_send_reset(core, frame, &entry->tuple, segment);
		return DROP_TCP_ACK_INVALID;
	}
	reason = establish(core, entry, hash, flow_ref(FLOW_HALF_OPEN, index), result);
	if (!reason) {
		entry_give(core, index);
	} else if (reason == DROP_NO_BLOCK ||
		   (is_limit(reason) && core->admission.services[entry->service].reset)) {
		tcp_send_reset(core, frame, &entry->tuple, segment);
		half_open_free(core, index);
	} /* refused in silence it stays: the peer's next segment may find its source below the limit */
	return reason;
}

static void transmit_again(struct core *core, uint32_t index)
{
	struct half_open *entry = entry_at(core, index);

	list_remove(core, index);
	entry->tries++;
	list_add(core, index);
	core->counters.tcp_syn_retransmits++;
	core->counters.tcp_retransmits++;
	syn_ack(core, &entry->hop, entry, tcp_clock(core, entry->ts_offset));
}

void half_open_expire(struct core *core)
{
	for (unsigned tries = 0; tries < HALF_OPEN_TRIES; tries++) {
		struct index_list *list = &core->half_open_lists[tries];

		for (unsigned i = 0; i < 64 && list->oldest != POOL_NONE; i++) {
			uint32_t index = list->oldest;

			if (!tick_reached(entry_at(core, index)->due_tick, core->now_tick))
				break;
			if (tries + 1 < HALF_OPEN_TRIES) {
				transmit_again(core, index);
				continue;
			}
			core->counters.tcp_half_open_timeouts++;
			half_open_free(core, index);
		}
	}
}

bool half_open_deadline(const struct core *core, uint32_t *tick)
{
	bool any = false;

	for (unsigned tries = 0; tries < HALF_OPEN_TRIES; tries++) {
		uint32_t index = core->half_open_lists[tries].oldest;

		if (index == POOL_NONE)
			continue;
		if (!any || tick_before(entry_at(core, index)->due_tick, *tick))
			*tick = entry_at(core, index)->due_tick;
		any = true;
	}
	return any;
}
