/* report.c - what a stack holds, for people and tests.
 * In: a stack.  Out: numbers.  Owns: nothing. */
#include "stack/internal.h"

const struct counters *stack_counters(const struct stack *stack)
{
	return &stack->core.counters;
}

const struct stages *stack_stages(const struct stack *stack)
{
	return &stack->core.stages;
}

c10m_worker *stack_worker(struct stack *stack)
{
	return (c10m_worker *)&stack->core;
}

/* Not what the pool holds: a block that has ended may still stand on a list. */
static uint32_t connections_of(const struct core *core)
{
	const struct counters *counters = &core->counters;

	return (uint32_t)(counters->tcp_active_opens + counters->tcp_passive_opens - counters->tcp_closed);
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
		.ranges = pool_live(&core->ranges),
		.models = pool_live(&core->models),
		.replies = core->net.reply_count,
		.messages = message_live(&core->messages),
		.groups = pool_live(&core->groups),
		.fanouts = pool_live(&core->fanouts),
		.source_connections = core->admission.counted,
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
		.unaccepted = counters->unaccepted,
	};
	for (unsigned i = 1; i < DROP_COUNT; i++)
		stats->drops += counters->drops[i];
}
