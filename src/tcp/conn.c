/* conn.c - a block's life, the list of those with output, and when each wants to be looked at.
 * In: everybody in tcp/ and sock/.  Owns: the ready list; near_tick and far_tick of each block. */
#include "tcp/fastopen.h"

#include <string.h>

#define FAR_TICKS 2000u /* a deadline farther than this is filed apart from the near one */

const struct tuple4 *core_tuple_of(const struct core *core, uint32_t ref)
{
	uint32_t index = flow_ref_index(ref);

	switch (flow_ref_kind(ref)) {
	case FLOW_HALF_OPEN:
		return &((const struct half_open *)pool_at(&core->half_opens, index))->tuple;
	case FLOW_TIME_WAIT:
		return &((const struct time_wait *)pool_at(&core->time_waits, index))->tuple;
	default:
		return &tcb_at(core, index)->tuple;
	}
}

static uint32_t matching(const struct core *core, const struct tuple4 *tuple, const uint32_t *refs,
			 uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (likely(tuple4_equal(core_tuple_of(core, refs[i]), tuple)))
			return refs[i];
	return FLOW_NONE;
}

uint32_t core_find(struct core *core, const struct tuple4 *tuple, uint64_t hash)
{
	uint32_t refs[FLOW_BUCKET_ENTRIES];
	uint32_t ref = matching(core, tuple, refs, flow_table_first(&core->table, hash, refs));

	if (likely(ref != FLOW_NONE))
		return ref;
	return matching(core, tuple, refs, flow_table_second(&core->table, hash, refs));
}

bool core_insert(struct core *core, uint64_t hash, uint32_t ref)
{
	bool stored = flow_table_insert(&core->table, hash, ref);

	core->counters.flow_moves += core->table.moves;
	core->table.moves = 0;
	return stored;
}

uint32_t core_isn(const struct core *core, const struct tuple4 *tuple)
{
	uint64_t ips = (uint64_t)tuple->local_ip | (uint64_t)tuple->remote_ip << 32;
	uint64_t ports = (uint64_t)tuple->local_port | (uint64_t)tuple->remote_port << 16;
	uint64_t f = siphash_words(&core->secrets->isn, &ips, 1, ports | (uint64_t)12 << 56, 2, 4);

	return (uint32_t)f + (uint32_t)(core->now_us >> 2); /* RFC 6528: a tick of 4 us */
}

uint32_t core_ts_offset(const struct core *core, const struct tuple4 *tuple)
{
	uint64_t ips = (uint64_t)tuple->local_ip | (uint64_t)tuple->remote_ip << 32;

	/* One clock for each pair of hosts: RFC 6191 and PAWS of the next incarnation need it. */
	return (uint32_t)siphash_words(&core->secrets->timestamp, &ips, 1, (uint64_t)8 << 56, 2, 4);
}

uint32_t core_random_below(struct core *core, uint32_t bound)
{
	return (uint32_t)random_below(&core->random, bound);
}

/* Near entries that nobody waits for any longer are as many as requests, and looking at the block of each
 * would cost a miss. So two bits a block, all of them small enough to stay in a cache, say what stands in
 * the wheel: PRESENT, the entry at near_tick is there; ARMED, somebody waits for it (TCB_FILED_NEAR says the
 * same in the block). An entry that fires unarmed clears PRESENT and ends there. */
#define NEAR_PRESENT 1u
#define NEAR_ARMED   2u
#define NEAR_MASK    3u
#define NEAR_A_BYTE  4u

size_t conn_near_bytes(uint32_t blocks)
{
	return ALIGN_UP((size_t)blocks, NEAR_A_BYTE) / NEAR_A_BYTE;
}

static uint32_t near_bits(const struct core *core, uint32_t index)
{
	return core->near_bits[index / NEAR_A_BYTE] >> index % NEAR_A_BYTE * 2 & NEAR_MASK;
}

static void near_set(struct core *core, uint32_t index, uint32_t bits)
{
	uint8_t *at = &core->near_bits[index / NEAR_A_BYTE];
	uint32_t shift = index % NEAR_A_BYTE * 2;

	*at = (uint8_t)((*at & ~(NEAR_MASK << shift)) | bits << shift);
}

static void near_disarm(struct core *core, uint32_t index)
{
	struct tcb *tcb = tcb_at(core, index);

	if (!(tcb->timers & TCB_FILED_NEAR))
		return;
	tcb->timers &= (uint8_t)~TCB_FILED_NEAR;
	near_set(core, index, near_bits(core, index) & NEAR_PRESENT);
}

static void near_arm(struct core *core, uint32_t index)
{
	tcb_at(core, index)->timers |= TCB_FILED_NEAR;
	near_set(core, index, NEAR_PRESENT | NEAR_ARMED);
}

/* A fan-out to all connections means those that were open when it began. */
static uint16_t sweeps_missed(const struct core *core, uint32_t index)
{
	uint32_t missed = 0;

	for (unsigned i = 0; i < SWEEPS_MAX; i++)
		if (index >= core->sweeps[i].next && index < core->sweeps[i].end)
			missed |= TCB_MISSES << i;
	return (uint16_t)missed;
}

/* A wheel entry filed for the block's last owner stays accounted for. */
uint32_t conn_take(struct core *core, const struct tuple4 *tuple, uint8_t service)
{
	uint32_t index = pool_take(&core->blocks);
	const struct tcp_service *settings = &core->services[service];
	uint32_t generation, near_tick, far_tick;
	struct tcb *tcb;
	uint8_t filed;

	if (index == POOL_NONE)
		return POOL_NONE;
	tcb = tcb_at(core, index);
	generation = tcb->generation + 1;
	near_tick = tcb->near_tick;
	far_tick = tcb->far_tick;
	filed = tcb->timers & TCB_FILED_FAR;
	memset(tcb, 0, core->blocks.stride);
	tcb->tuple = *tuple;
	tcb->generation = generation ? generation : 1;
	tcb->near_tick = near_tick;
	tcb->far_tick = far_tick;
	tcb->timers = filed;
	tcb->service = service & 15u;
	tcb->stack_id = core->stack_id & 63u;
	tcb_set_dscp(tcb, settings->dscp);
	tcb->snd_head = CHUNK_NONE;
	tcb->rcv_head = CHUNK_NONE;
	tcb->rcv_tail = CHUNK_NONE;
	tcb->ooo_head = CHUNK_NONE;
	tcb->extension = POOL_NONE;
	tcb->ready_next = POOL_NONE;
	tcb->last_rx_tick = core->now_tick;
	tcb->options = sweeps_missed(core, index);
	tcb->keepalive_ms = settings->keepalive_ms;
	tcb->user_timeout_ms = settings->user_timeout_ms & 0x7fffffffu;
	if (settings->nodelay)
		tcb->options |= TCB_NODELAY;
	if (settings->keepalive_ms)
		tcb->options |= TCB_KEEPALIVE;
	return index;
}

/* A block on the ready list, or on a neighbour's, stays there as TCB_FREE and is given back when the list
 * comes to it: no list is searched for an ending connection. */
void conn_free(struct core *core, uint32_t index)
{
	struct tcb *tcb = tcb_at(core, index);

	fastopen_over(core, tcb, false);
	queues_free(core, tcb);
	if (unlikely(tcb->options & TCB_COUNTED))
		admission_release(core, tcb);
	if (unlikely(tcb->grown))
		tcp_window_release(core, tcb);
	destination_release(&core->net.destinations, tcb->destination);
	flow_table_remove(&core->table, core_hash(core, &tcb->tuple), flow_ref(FLOW_BLOCK, index));
	near_disarm(core, index);
	tcb->timers &= TCB_FILED_FAR;
	tcb->state = TCB_FREE;
	tcb->pending &= TCB_READY | TCB_WAITING;
	if (!tcb->pending)
		pool_give(&core->blocks, index);
	core->counters.tcp_closed++;
}

void conn_end(struct core *core, uint32_t index, enum c10m_close_reason reason)
{
	core->events->closed(core, index, reason);
	conn_free(core, index);
}

void conn_ready(struct core *core, uint32_t index)
{
	struct tcb *tcb = tcb_at(core, index);

	if (tcb->pending & (TCB_READY | TCB_WAITING))
		return;
	tcb->pending |= TCB_READY;
	tcb->ready_next = POOL_NONE;
	if (core->ready_head == POOL_NONE)
		core->ready_head = index;
	else
		tcb_at(core, core->ready_tail)->ready_next = index;
	core->ready_tail = index;
}

void conn_ready_to_close(struct core *core, uint32_t index)
{
	struct tcb *tcb = tcb_at(core, index);

	if (tcb->pending & (TCB_READY | TCB_WAITING))
		return;
	tcb->pending |= TCB_READY;
	tcb->ready_next = POOL_NONE;
	if (core->closing.oldest == POOL_NONE)
		core->closing.oldest = index;
	else
		tcb_at(core, core->closing.newest)->ready_next = index;
	core->closing.newest = index;
}

/* The retransmission or the persist timer asks for the neighbour again. */
static void wait_for_timer(struct core *core, uint32_t index)
{
	core->counters.drops[DROP_NEIGHBOUR_UNRESOLVED]++;
	tcp_arm_persist(core, tcb_at(core, index));
	conn_file_timers(core, index);
}

void conn_waiters(void *context, uint32_t waiting, bool reachable)
{
	struct core *core = context;

	if (unlikely(core->net.ways_lost)) {
		core->net.ways_lost = false;
		tcp_reroute_begin(core);
	}
	while (waiting != POOL_NONE) {
		uint32_t index = waiting;
		struct tcb *tcb = tcb_at(core, index);

		waiting = tcb->ready_next;
		tcb->pending &= (uint16_t)~TCB_WAITING;
		if (tcb->state == TCB_FREE)
			pool_give(&core->blocks, index);
		else if (reachable || tcb->pending & TCB_RESUME) /* a command waits as well */
			conn_ready(core, index);
		else if (tcb->state == TCP_SYN_SENT || tcb->state == TCP_SYN_RECEIVED)
			conn_end(core, index, C10M_CLOSE_UNREACHABLE);
		else
			wait_for_timer(core, index);
	}
}

static uint32_t *tick_of(struct tcb *tcb, uint8_t timer)
{
	switch (timer) {
	case TCB_TIMER_RTX:
		return &tcb->rtx_tick;
	case TCB_TIMER_DELACK:
		return &tcb->delack_tick;
	case TCB_TIMER_KEEP:
		return &tcb->keep_tick;
	default:
		return &tcb->user_tick;
	}
}

/* A tick may have almost passed already: one more, so that no timer fires early. Only notes it:
 * conn_file_timers sees to the wheel, once, when all is said. */
void conn_set_timer(struct core *core, struct tcb *tcb, uint8_t timer, uint32_t tick)
{
	*tick_of(tcb, timer) = tick + 1;
	tcb->timers |= timer;
	(void)core;
}

static bool earliest(const struct tcb *tcb, uint32_t *tick)
{
	bool any = false;

	for (uint8_t timer = TCB_TIMER_RTX; timer <= TCB_TIMER_USER; timer = (uint8_t)(timer << 1)) {
		uint32_t one;

		if (!(tcb->timers & timer))
			continue;
		one = *tick_of((struct tcb *)(uintptr_t)tcb, timer);
		if (!any || tick_before(one, *tick))
			*tick = one;
		any = true;
	}
	return any;
}

bool conn_near_agrees(const struct core *core, uint32_t index)
{
	uint32_t bits = near_bits(core, index);

	return bits == (tcb_at(core, index)->timers & TCB_FILED_NEAR ? NEAR_PRESENT | NEAR_ARMED
								     : bits & NEAR_PRESENT);
}

bool conn_entry_matters(struct core *core, const struct wheel_entry *entry)
{
	bool matters = entry->index & CONN_ENTRY_FAR || near_bits(core, entry->index) & NEAR_ARMED;

	if (!matters)
		near_set(core, entry->index, 0);
	return matters;
}

bool conn_entry_fired(struct core *core, const struct wheel_entry *entry)
{
	uint32_t index = conn_entry_index(entry);
	struct tcb *tcb = tcb_at(core, index);

	if (entry->index & CONN_ENTRY_FAR) {
		if (!(tcb->timers & TCB_FILED_FAR) || tcb->far_tick != entry->tick)
			return false;
		tcb->timers &= (uint8_t)~TCB_FILED_FAR;
		return true;
	}
	if (tcb->near_tick != entry->tick)
		return false; /* overtaken by an earlier one */
	near_set(core, index, 0);
	if (!(tcb->timers & TCB_FILED_NEAR))
		return false; /* one that fired with it has ended the connection, or taken its deadline back
			       */
	tcb->timers &= (uint8_t)~TCB_FILED_NEAR;
	return true;
}

static bool near_covers(struct core *core, uint32_t index, uint32_t tick)
{
	struct tcb *tcb = tcb_at(core, index);
	bool filed = tcb->timers & TCB_FILED_NEAR;

	if ((!filed && !(near_bits(core, index) & NEAR_PRESENT)) || tick_before(tick, tcb->near_tick))
		return false;
	if (!filed)
		near_arm(core, index);
	return true;
}

/* Design idea 10: a deadline that moves later moves nothing; an earlier one files a new entry. A block knows
 * two of its entries, a near and a far one; a third, overtaken, finds out when it fires. */
void conn_file_timers(struct core *core, uint32_t index)
{
	struct tcb *tcb = tcb_at(core, index);
	uint32_t tick = 0;
	bool far;

	if (!earliest(tcb, &tick) || (tcb->timers & TCB_FILED_FAR && !tick_before(tick, tcb->far_tick))) {
		near_disarm(core, index);
		return;
	}
	if (near_covers(core, index, tick))
		return;
	far = !(tcb->timers & TCB_FILED_FAR) && (int32_t)(tick - core->now_tick) > (int32_t)FAR_TICKS;
	if (!wheel_file(core->wheel, index | (far ? CONN_ENTRY_FAR : 0), tick)) {
		core->counters.timer_sweeps += core->sweep_left == 0;
		core->sweep_left = core->blocks.fresh; /* a whole round, from where the sweep stands */
		return;
	}
	if (far) {
		tcb->far_tick = tick;
		tcb->timers |= TCB_FILED_FAR;
	} else {
		tcb->near_tick = tick;
		near_arm(core, index);
	}
}
