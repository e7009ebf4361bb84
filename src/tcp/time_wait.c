/* time_wait.c - connections that are over but for stray segments (RFC 9293 section 3.6.1).
 * A compact entry each, in one list by age: when the pool is full the oldest goes.
 * Owns: the pool of entries and their list. */
#include "tcp/core.h"

#include "base/plant.h"

static struct time_wait *entry_at(const struct core *core, uint32_t index)
{
	return pool_at(&core->time_waits, index);
}

static void list_add(struct core *core, uint32_t index)
{
	struct time_wait *entry = entry_at(core, index);
	struct index_list *list = &core->time_wait_list;

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
	struct time_wait *entry = entry_at(core, index);
	struct index_list *list = &core->time_wait_list;

	if (entry->older == POOL_NONE)
		list->oldest = entry->newer;
	else
		entry_at(core, entry->older)->newer = entry->newer;
	if (entry->newer == POOL_NONE)
		list->newest = entry->older;
	else
		entry_at(core, entry->newer)->older = entry->older;
}

static void entry_free(struct core *core, uint32_t index)
{
	struct time_wait *entry = entry_at(core, index);

	flow_table_remove(&core->table, core_hash(core, &entry->tuple), flow_ref(FLOW_TIME_WAIT, index));
	list_remove(core, index);
	entry->in_use = 0;
	pool_give(&core->time_waits, index);
}

/* Takes the place of the block in the flow table; conn_free then finds nothing to remove. */
void time_wait_enter(struct core *core, const struct tcb *tcb)
{
	uint64_t hash = core_hash(core, &tcb->tuple);
	uint32_t index = pool_take(&core->time_waits);
	struct time_wait *entry;

	core->counters.tcp_time_wait++;
	if (index == POOL_NONE && core->time_wait_list.oldest != POOL_NONE) {
		core->counters.tcp_time_wait_recycled++;
		entry_free(core, core->time_wait_list.oldest);
		index = pool_take(&core->time_waits);
	}
	if (index == POOL_NONE)
		return;
	entry = entry_at(core, index);
	entry->tuple = tcb->tuple;
	entry->snd_nxt = tcb->snd_nxt;
	entry->rcv_nxt = tcb->rcv_nxt;
	entry->ts_recent = tcb->ts_recent;
	entry->ts_offset = tcb->ts_offset;
	entry->window = (uint16_t)MIN_OF((tcb->rcv_adv - tcb->rcv_nxt) >> (tcb->wscales & 15), 65535u);
	entry->timestamps = !!(tcb->options & TCB_TIMESTAMPS);
	entry->in_use = 1;
	entry->due_tick = core->now_tick + core->settings.time_wait_ms;
	list_add(core, index);
	flow_table_replace(&core->table, hash, flow_ref(FLOW_BLOCK, tcb_index(core, tcb)),
			   flow_ref(FLOW_TIME_WAIT, index));
}

/* RFC 6191 section 2: a larger timestamp, or a larger sequence number, is a new incarnation. */
static bool is_new_incarnation(const struct time_wait *entry, const struct tcp_segment *segment)
{
	if ((segment->flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) != TCP_SYN)
		return false;
	if (entry->timestamps && segment->options & TCP_OPT_TIMESTAMPS && segment->ts_val != entry->ts_recent)
		return seq_gt(segment->ts_val, entry->ts_recent);
	return seq_gt(segment->seq, entry->rcv_nxt);
}

static void acknowledge(struct core *core, const uint8_t *frame, const struct time_wait *entry)
{
	struct tcp_segment ack = {
		.seq = entry->snd_nxt,
		.ack = entry->rcv_nxt,
		.flags = TCP_ACK,
		.window = entry->window,
	};
	struct eth_header eth;

	if (!net_reply_allowed(&core->net)) {
		core->counters.drops[DROP_REPLY_RATE]++;
		return;
	}
	if (entry->timestamps) {
		ack.options = TCP_OPT_TIMESTAMPS;
		ack.ts_val = tcp_clock(core, entry->ts_offset);
		ack.ts_ecr = entry->ts_recent;
	}
	eth_parse(frame, ETH_HEADER_BYTES, &eth);
	tcp_reply(core, &eth.source, &entry->tuple, &ack);
}

/* The peer may be in TIME_WAIT as well: its clock of us must have moved on, and it may know that only to the
 * second. */
bool time_wait_may_reuse(const struct core *core, uint32_t ref)
{
	const struct time_wait *entry;

	if (flow_ref_kind(ref) != FLOW_TIME_WAIT)
		return false;
	entry = entry_at(core, flow_ref_index(ref));
	return entry->timestamps &&
	       tick_reached(entry->due_tick - core->settings.time_wait_ms + TICKS_PER_SECOND, core->now_tick);
}

uint32_t time_wait_reuse(struct core *core, uint32_t ref)
{
	uint32_t snd_nxt = entry_at(core, flow_ref_index(ref))->snd_nxt;

	core->counters.tcp_time_wait_reused++;
	entry_free(core, flow_ref_index(ref));
	return snd_nxt;
}

bool tcp_time_wait_input(struct core *core, const uint8_t *frame, uint32_t index,
			 const struct tcp_segment *segment, enum drop_reason *reason)
{
	struct time_wait *entry = entry_at(core, index);

	*reason = DROP_TCP_TIME_WAIT;
	if (segment->flags & TCP_RST) {
		return false; /* RFC 1337 */
	}
	if (core->listeners[entry->tuple.local_port] && !core->stopping &&
	    is_new_incarnation(entry, segment)) {
		core->counters.tcp_time_wait_reused++;
		core->reused = true;
		core->reused_seq = entry->snd_nxt;
		entry_free(core, index);
		return true;
	}
	if (segment->flags & TCP_FIN && segment->seq + tcp_segment_length(segment) == entry->rcv_nxt) {
		entry->due_tick = core->now_tick + core->settings.time_wait_ms; /* 2 MSL anew */
		list_remove(core, index);
		list_add(core, index);
	} else if (!(segment->flags & TCP_SYN) && tcp_segment_length(segment) == 0 &&
		   segment->seq == entry->rcv_nxt) {
		return false; /* an acknowledgement in order needs no answer */
	}
	if (!PLANTED(TIME_WAIT_MUTE))
		acknowledge(core, frame, entry);
	return false;
}

void time_wait_expire(struct core *core)
{
	for (unsigned i = 0; i < 256 && core->time_wait_list.oldest != POOL_NONE; i++) {
		uint32_t index = core->time_wait_list.oldest;

		if (!tick_reached(entry_at(core, index)->due_tick, core->now_tick))
			return;
		entry_free(core, index);
	}
}

bool time_wait_deadline(const struct core *core, uint32_t *tick)
{
	if (core->time_wait_list.oldest == POOL_NONE)
		return false;
	*tick = entry_at(core, core->time_wait_list.oldest)->due_tick;
	return true;
}
