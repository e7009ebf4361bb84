/* report.c - what a stack holds, for people and tests; and whether all of it agrees. */
#include "stack/internal.h"

const struct counters *stack_counters(const struct stack *stack)
{
	return &stack->core.counters;
}

c10m_worker *stack_worker(struct stack *stack)
{
	return (c10m_worker *)&stack->core;
}

/* Ended blocks may still stand on a list: they are not connections. */
static uint32_t connections_of(const struct core *core)
{
	uint32_t live = pool_live(&core->blocks);

	for (uint32_t i = core->ready_head; i != POOL_NONE; i = tcb_at(core, i)->ready_next)
		live -= tcb_at(core, i)->state == TCB_FREE;
	return live;
}

void stack_usage(const struct stack *stack, struct stack_usage *usage)
{
	const struct core *core = &stack->core;

	*usage = (struct stack_usage){
		.connections = connections_of(core),
		.half_open = pool_live(&core->half_opens),
		.time_wait = pool_live(&core->time_waits),
		.destinations = core->net.destinations.used - 1,
		.table_entries = core->table.live,
		.timer_entries = wheel_live(core->wheel),
		.extensions = pool_live(&core->extensions),
		.replies = core->net.reply_count,
		.block_stride = core->blocks.stride,
		.arena_bytes = stack->arena_bytes,
		.block_bytes = stack->block_bytes,
		.table_bytes = stack->table_bytes,
		.wheel_bytes = stack->wheel_bytes,
		.chunk_bytes = stack->chunk_bytes,
		.compact_bytes = stack->compact_bytes,
	};
	for (unsigned i = 0; i < CHUNK_CLASSES; i++)
		usage->chunks[i] = pool_live(&core->chunks.classes[i]);
}

void c10m_worker_stats(const c10m_worker *worker, struct c10m_stats *stats)
{
	const struct core *core = (const struct core *)worker;
	const struct counters *counters = &core->counters;

	*stats = (struct c10m_stats){
		.connections = connections_of(core),
		.half_open = pool_live(&core->half_opens),
		.time_wait = pool_live(&core->time_waits),
		.opened = counters->tcp_established,
		.closed = counters->tcp_closed,
		.rx_packets = counters->rx_packets,
		.tx_packets = counters->tx_packets,
		.rx_bytes = counters->rx_bytes,
		.tx_bytes = counters->tx_bytes,
		.retransmits = counters->tcp_retransmits,
		.memory_bytes = ((const struct stack *)core)->arena_bytes,
	};
	for (unsigned i = 1; i < DROP_COUNT; i++)
		stats->drops += counters->drops[i];
}

static uint32_t chain_bytes(const struct core *core, uint32_t id, uint32_t *chunks)
{
	uint32_t bytes = 0;

	for (; id != CHUNK_NONE; id = chunk_at(&core->chunks, id)->next, (*chunks)++)
		bytes += chunk_at(&core->chunks, id)->bytes;
	return bytes;
}

/* A connection that waits for something must have its timer, filed no later than it is due. */
static void verify_timers(const struct core *core, const struct tcb *tcb)
{
	bool in_flight = tcb->snd_nxt != tcb->snd_una || tcb->options & TCB_BACKED;
	bool ready = tcb->pending & (TCB_READY | TCB_WAITING);
	uint32_t tick = tcb->rtx_tick;

	if (in_flight && !ready && tcb->state != TCP_TIME_WAIT && tcb->state != TCP_CLOSED)
		CHECK(tcb->timers & TCB_TIMER_RTX);
	if (!(tcb->timers & TCB_TIMER_RTX) || core->sweep_left || tcb->pending & TCB_READY)
		return; /* a ready one is filed after its output */
	CHECK((tcb->timers & TCB_FILED_NEAR && !tick_before(tick, tcb->near_tick)) ||
	      (tcb->timers & TCB_FILED_FAR && !tick_before(tick, tcb->far_tick)));
}

static uint32_t verify_block(struct core *core, uint32_t index)
{
	const struct tcb *tcb = tcb_at(core, index);
	uint32_t chunks = 0, ooo = 0;

	CHECK(core_find(core, &tcb->tuple, core_hash(core, &tcb->tuple)) == flow_ref(FLOW_BLOCK, index));
	CHECK(chain_bytes(core, tcb->snd_head, &chunks) == tcb->snd_bytes);
	CHECK(chain_bytes(core, tcb->rcv_head, &chunks) == tcb->rcv_bytes);
	chain_bytes(core, tcb->ooo_head, &ooo);
	CHECK(ooo == tcb->ooo_count);
	CHECK(seq_leq(tcb->snd_una, tcb->snd_nxt) && seq_leq(tcb->rcv_nxt, tcb->rcv_adv));
	verify_timers(core, tcb);
	return chunks + ooo;
}

void stack_verify(const struct stack *stack)
{
	struct core *core = (struct core *)(uintptr_t)&stack->core;
	uint32_t chunks = 0, live = 0, held = 0;

	for (uint32_t i = 0; i < core->blocks.fresh; i++) {
		const struct tcb *tcb = tcb_at(core, i);

		if (tcb->state == TCB_FREE)
			continue;
		live++;
		chunks += verify_block(core, i);
	}
	for (uint32_t i = 0; i < core->net.reply_count; i++)
		chunks += core->net.replies[(core->net.reply_first + i) % REPLIES].chunk != CHUNK_NONE;
	for (unsigned i = 0; i < CHUNK_CLASSES; i++)
		held += pool_live(&core->chunks.classes[i]);
	CHECK(chunks == held);
	CHECK(core->table.live == live + pool_live(&core->half_opens) + pool_live(&core->time_waits));
	flow_table_verify(&core->table);
}
