/* rebuild.c - table, wheel and free lists from blocks, what is attached to them, and compact entries alone
 * (design idea 8).
 * In: those, each pool's `fresh`, the lists by age.  Out: the same stack. */
#include "stack/internal.h"
#include "tcp/model.h"
#include "tcp/pace.h"
#include "tcp/fastopen.h"

#include <string.h>

#include "base/plant.h"

static bool block_live(void *context, const void *object)
{
	const struct tcb *tcb = object;

	(void)context;
	return tcb->state != TCB_FREE || tcb->pending & (TCB_READY | TCB_WAITING);
}

static bool half_open_live(void *context, const void *object)
{
	(void)context;
	return ((const struct half_open *)object)->in_use;
}

static bool time_wait_live(void *context, const void *object)
{
	(void)context;
	return ((const struct time_wait *)object)->in_use;
}

/* An extension names its block, and is in use where the block names it. */
static bool extension_live(void *context, const void *object)
{
	const struct core *core = context;
	const struct tcp_extension *extension = object;
	uint32_t index =
		(uint32_t)(extension - (const struct tcp_extension *)(void *)core->extensions.objects);

	return extension->owner < core->blocks.fresh && tcb_at(core, extension->owner)->state != TCB_FREE &&
	       tcb_at(core, extension->owner)->extension == index;
}

/* Likewise a model, which its block's extension names. */
static bool model_live(void *context, const void *object)
{
	const struct core *core = context;
	const struct model *model = object;
	uint32_t index = (uint32_t)(model - (const struct model *)(void *)core->models.objects);
	const struct tcp_extension *extension;

	if (model->owner >= core->blocks.fresh || tcb_at(core, model->owner)->state == TCB_FREE)
		return false;
	extension = tcb_extension(core, tcb_at(core, model->owner));
	return extension && extension->owner == model->owner && extension->model == index + 1;
}

static bool range_live(void *context, const void *object)
{
	(void)context;
	return ((const struct sent_range *)object)->flags & SENT_MARK;
}

/* All that a scoreboard holds. */
static void mark_ranges(struct core *core, const struct tcb *tcb)
{
	uint32_t id = tcb->options & TCB_BOARD ? tcb_extension(core, tcb)->range_first : POOL_NONE;

	for (; id != POOL_NONE; id = ((struct sent_range *)pool_at(&core->ranges, id))->next)
		((struct sent_range *)pool_at(&core->ranges, id))->flags |= SENT_MARK;
}

static void ranges_unmark(struct core *core)
{
	for (uint32_t i = 0; i < core->ranges.fresh; i++)
		((struct sent_range *)pool_at(&core->ranges, i))->flags &= (uint8_t)~SENT_MARK;
}

static void ranges(struct core *core)
{
	ranges_unmark(core);
	for (uint32_t i = 0; i < core->blocks.fresh && !PLANTED(REBUILD_RANGES); i++)
		if (tcb_at(core, i)->state != TCB_FREE)
			mark_ranges(core, tcb_at(core, i));
	pool_rebuild(&core->ranges, core->ranges.fresh, range_live, NULL);
	ranges_unmark(core);
}

static void chunks(struct core *core)
{
	chunk_marks_clear(&core->chunks);
	for (uint32_t i = 0; i < core->blocks.fresh; i++) {
		const struct tcb *tcb = tcb_at(core, i);

		if (tcb->state == TCB_FREE)
			continue;
		chunk_mark_chain(&core->chunks, tcb->snd_head);
		chunk_mark_chain(&core->chunks, tcb->rcv_head);
		chunk_mark_chain(&core->chunks, tcb->ooo_head);
	}
	for (uint32_t i = 0; i < core->net.reply_count; i++)
		chunk_mark_chain(&core->chunks, net_reply_at(&core->net, i)->chunk);
	chunk_pool_rebuild(&core->chunks);
}

static bool group_live(void *context, const void *object)
{
	(void)context;
	return ((const struct group *)object)->in_use;
}

static void insert(struct core *core, const struct tuple4 *tuple, uint32_t ref)
{
	bool stored = flow_table_insert(&core->table, core_hash(core, tuple), ref);

	CHECK(stored);
}

static void blocks(struct core *core)
{
	for (uint32_t i = 0; i < core->blocks.fresh; i++) {
		struct tcb *tcb = tcb_at(core, i);

		tcb->timers &= (uint8_t) ~(TCB_FILED_NEAR | TCB_FILED_FAR);
		if (tcb->state == TCB_FREE)
			continue;
		insert(core, &tcb->tuple, flow_ref(FLOW_BLOCK, i));
		core->fastopen_pending += tcb_fast_opened(tcb);
		core->tuned_bytes += tcp_window_grown(core, tcb);
		conn_file_timers(core, i);
		pace_rebuild(core, i);
	}
}

/* References are counted anew; who holds a message otherwise stands in it. */
static void messages(struct core *core)
{
	message_rebuild_begin(&core->messages);
	for (uint32_t i = 0; i < core->blocks.fresh; i++)
		if (tcb_at(core, i)->state != TCB_FREE)
			sendq_recount(core, tcb_at(core, i));
	message_rebuild_end(&core->messages);
}

static void compact(struct core *core)
{
	for (uint32_t i = 0; i < core->half_opens.fresh; i++) {
		const struct half_open *entry = pool_at(&core->half_opens, i);

		if (entry->in_use)
			insert(core, &entry->tuple, flow_ref(FLOW_HALF_OPEN, i));
	}
	for (uint32_t i = 0; i < core->time_waits.fresh; i++) {
		const struct time_wait *entry = pool_at(&core->time_waits, i);

		if (entry->in_use)
			insert(core, &entry->tuple, flow_ref(FLOW_TIME_WAIT, i));
	}
}

void stack_rebuild(struct stack *stack, uint64_t now_us)
{
	struct core *core = &stack->core;

	stack_set_time(stack, now_us);
	flow_table_init(&core->table, core->table.buckets, core->table.capacity);
	wheel_clear(core->wheel, core->now_tick);
	wheel_clear(core->pacer, pacer_slot(now_us));
	memset(core->near_bits, 0, conn_near_bytes(core->blocks.capacity));
	tune_clear(core);
	core->tuned_bytes = 0;
	core->fastopen_pending = 0;
	messages(core);
	pool_rebuild(&core->blocks, core->blocks.fresh, block_live, NULL);
	pool_rebuild(&core->half_opens, core->half_opens.fresh, half_open_live, NULL);
	pool_rebuild(&core->time_waits, core->time_waits.fresh, time_wait_live, NULL);
	pool_rebuild(&core->extensions, core->extensions.fresh, extension_live, core);
	pool_rebuild(&core->models, core->models.fresh, model_live, core);
	chunks(core);
	ranges(core);
	pool_rebuild(&core->groups, core->groups.fresh, group_live, NULL);
	blocks(core);
	compact(core);
	admission_rebuild(core);
	/* What was on its way in fragments is sent again. */
	reassembly_init(&core->net.reassembly, core->net.reassembly.datagrams, &core->counters);
}
