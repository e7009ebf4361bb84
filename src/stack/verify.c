/* verify.c - whether everything in a stack agrees, for tests.
 * In: a stack between two calls.  Out: nothing, or the end of the program by CHECK. */
#include "stack/internal.h"
#include "tcp/fastopen.h"
#include "tcp/path.h"
#include "tcp/model.h"
#include "tcp/recovery.h"

/* What a walk over all blocks adds up. */
struct census {
	uint32_t live, ended;    /* connections; blocks that are over and only stand on a list */
	uint32_t ready, waiting; /* on the ready list, on a neighbour's */
	uint32_t held;           /* destinations */
	uint32_t chunks, extensions, ranges, models;
	uint32_t fast_opened;
	uint64_t grown; /* windows beyond those of their services */
};

static uint32_t chain_bytes(const struct core *core, uint32_t id, uint32_t *chunks)
{
	uint32_t bytes = 0;

	for (; id != CHUNK_NONE; id = chunk_at(&core->chunks, id)->next, (*chunks)++)
		bytes += chunk_at(&core->chunks, id)->bytes;
	return bytes;
}

static void verify_timer(const struct tcb *tcb, uint8_t timer, uint32_t tick)
{
	if (tcb->timers & timer)
		CHECK((tcb->timers & TCB_FILED_NEAR && !tick_before(tick, tcb->near_tick)) ||
		      (tcb->timers & TCB_FILED_FAR && !tick_before(tick, tcb->far_tick)));
}

/* A connection that waits for something must have its timer, and each timer a wheel entry that is not later.
 */
static void verify_timers(const struct core *core, const struct tcb *tcb)
{
	bool in_flight = tcb->snd_nxt != tcb->snd_una || tcb->options & TCB_BACKED;
	bool listed = tcb->pending & (TCB_READY | TCB_WAITING);

	if (in_flight && !listed && tcb->state != TCP_TIME_WAIT && tcb->state != TCP_CLOSED)
		CHECK(tcb->timers & TCB_TIMER_RTX);
	if (core->sweep_left || tcb->pending & TCB_READY)
		return; /* a ready one is filed after its output */
	verify_timer(tcb, TCB_TIMER_RTX, tcb->rtx_tick);
	verify_timer(tcb, TCB_TIMER_DELACK, tcb->delack_tick);
	verify_timer(tcb, TCB_TIMER_KEEP, tcb->keep_tick);
	verify_timer(tcb, TCB_TIMER_USER, tcb->user_tick);
}

static bool kept_out_of_order(const struct core *core, const struct tcb *tcb, const struct sack_block *block)
{
	uint32_t at = block->start;

	for (uint32_t id = tcb->ooo_head; id != CHUNK_NONE; id = chunk_at(&core->chunks, id)->next) {
		const struct chunk *chunk = chunk_at(&core->chunks, id);

		if (seq_leq(chunk->seq, at) && seq_lt(at, chunk->seq + chunk->bytes))
			at = chunk->seq + chunk->bytes;
	}
	return seq_geq(at, block->end);
}

/* It names its block, is there for something, and tells of nothing that is not kept. */
static void verify_extension(const struct core *core, const struct tcb *tcb)
{
	const struct tcp_extension *extension = tcb_extension(core, tcb);

	if (!extension)
		return;
	CHECK(extension->owner == tcb_index(core, tcb) && extension->uses);
	CHECK(!(extension->uses & EXTENSION_BOARD) == !(tcb->options & TCB_BOARD));
	CHECK(!(extension->uses & EXTENSION_MODEL) == !extension->model);
	if (extension->model)
		CHECK(((const struct model *)pool_at(&core->models, extension->model - 1u))->owner ==
		      extension->owner);
	CHECK(!(extension->uses & EXTENSION_FLIGHT) || tcb_snd_max(tcb) != tcb->snd_una);
	for (uint32_t i = 0; i < extension->sack_count; i++)
		CHECK(seq_gt(extension->sacks[i].start, tcb->rcv_nxt) &&
		      kept_out_of_order(core, tcb, &extension->sacks[i]));
}

static void verify_block(struct core *core, uint32_t index, struct census *census)
{
	const struct tcb *tcb = tcb_at(core, index);
	uint32_t ooo = 0;

	CHECK(core_find(core, &tcb->tuple, core_hash(core, &tcb->tuple)) == flow_ref(FLOW_BLOCK, index));
	CHECK(chain_bytes(core, tcb->snd_head, &census->chunks) == tcb->snd_bytes);
	CHECK(chain_bytes(core, tcb->rcv_head, &census->chunks) == tcb->rcv_bytes);
	chain_bytes(core, tcb->ooo_head, &ooo);
	CHECK(ooo == tcb->ooo_count);
	CHECK(seq_leq(tcb->snd_una, tcb->snd_nxt) && seq_leq(tcb->rcv_nxt, tcb->rcv_adv));
	verify_extension(core, tcb);
	verify_timers(core, tcb);
	if (core->services[tcb->service].splices)
		splice_verify(core, tcb);
	CHECK(tcp_watch_armed(core, tcb));
	census->chunks += ooo;
	census->held += tcb->destination != DESTINATION_NONE;
	census->extensions += tcb->extension != POOL_NONE;
	census->models += tcb->extension != POOL_NONE && tcb_extension(core, tcb)->model;
	census->fast_opened += tcb_fast_opened(tcb);
	CHECK(path_agrees(core, tcb));
	census->grown += tcp_window_grown(core, tcb);
	if (tcb->options & TCB_BOARD) {
		board_verify(core, tcb);
		census->ranges += tcb_extension(core, tcb)->range_count;
	}
}

static void verify_blocks(struct core *core, struct census *census)
{
	for (uint32_t i = 0; i < core->blocks.fresh; i++) {
		const struct tcb *tcb = tcb_at(core, i);

		CHECK(conn_near_agrees(core, i));
		census->ready += (tcb->pending & TCB_READY) != 0;
		census->waiting += (tcb->pending & TCB_WAITING) != 0;
		if (tcb->state == TCB_FREE) {
			census->ended += (tcb->pending & (TCB_READY | TCB_WAITING)) != 0;
			continue;
		}
		census->live++;
		verify_block(core, i, census);
	}
}

/* How long a list of blocks is whose members all have `flag`. */
static uint32_t listed(const struct core *core, uint32_t first, uint16_t flag)
{
	uint32_t count = 0;

	for (uint32_t i = first; i != POOL_NONE; i = tcb_at(core, i)->ready_next, count++)
		CHECK(tcb_at(core, i)->pending & flag);
	return count;
}

static void verify_destinations(struct core *core, const struct census *census)
{
	struct destinations *table = &core->net.destinations;
	uint32_t refs = 0, held = census->held, waiting = 0, probing = 0;

	for (uint32_t i = 1; i < table->used; i++) {
		const struct destination *entry = destination_at(table, (uint16_t)i);

		CHECK(destination_find(table, entry->ip, entry->mtu) == i);
		refs += entry->refs;
		held += entry->hop != i;
		waiting += listed(core, entry->waiting, TCB_WAITING);
		probing += entry->state == NEIGHBOUR_INCOMPLETE;
	}
	CHECK(refs == held && waiting == census->waiting && probing == table->probing);
}

static void verify_half_opens(struct core *core)
{
	uint32_t count = 0;

	for (unsigned tries = 0; tries < HALF_OPEN_TRIES; tries++) {
		for (uint32_t i = core->half_open_lists[tries].oldest; i != POOL_NONE; count++) {
			const struct half_open *entry = pool_at(&core->half_opens, i);
			uint64_t hash = core_hash(core, &entry->tuple);

			CHECK(entry->in_use && entry->tries == tries);
			CHECK(core_find(core, &entry->tuple, hash) == flow_ref(FLOW_HALF_OPEN, i));
			i = entry->newer;
		}
	}
	CHECK(count == pool_live(&core->half_opens));
}

static void verify_time_waits(struct core *core)
{
	uint32_t count = 0;

	for (uint32_t i = core->time_wait_list.oldest; i != POOL_NONE; count++) {
		const struct time_wait *entry = pool_at(&core->time_waits, i);
		uint64_t hash = core_hash(core, &entry->tuple);

		CHECK(entry->in_use);
		CHECK(core_find(core, &entry->tuple, hash) == flow_ref(FLOW_TIME_WAIT, i));
		i = entry->newer;
	}
	CHECK(count == pool_live(&core->time_waits));
}

static void verify_chunks(const struct core *core, const struct census *census)
{
	uint32_t owned = census->chunks, live = 0;
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < core->net.reply_count; i++)
		owned += net_reply_at(&core->net, i)->chunk != CHUNK_NONE;
	for (unsigned i = 0; i < CHUNK_CLASSES; i++) {
		live += pool_live(&core->chunks.classes[i]);
		bytes += (uint64_t)pool_live(&core->chunks.classes[i]) * chunk_class_bytes[i];
	}
	CHECK(owned == live && bytes == core->chunks.bytes_live);
}

/* Datagrams and their pages agree with the counts. */
static void verify_fragments(const struct reassembly *table)
{
	uint32_t states[REASSEMBLY_ASIDE + 1] = {0}, pages = 0;

	for (uint32_t i = 0; i < REASSEMBLY_MAX; i++) {
		const struct reassembly_datagram *datagram = &table->datagrams[i];

		CHECK(datagram->state <= REASSEMBLY_ASIDE);
		states[datagram->state]++;
		if (datagram->state == REASSEMBLY_FREE || datagram->state == REASSEMBLY_DEAD)
			CHECK(datagram->page_count == 0);
		pages += datagram->page_count;
	}
	CHECK(table->live == REASSEMBLY_MAX - states[REASSEMBLY_FREE]);
	CHECK(table->ready == states[REASSEMBLY_WHOLE] && table->aside == states[REASSEMBLY_ASIDE]);
	CHECK(pages == pool_live(&table->pages));
}

static void sum_references(void *context, const struct message *message)
{
	*(uint64_t *)context += message->references;
}

static uint64_t references_of(const struct core *core)
{
	uint64_t sum = 0;

	message_each(&core->messages, sum_references, &sum);
	return sum;
}

static void unrefer_all(struct core *core, const struct tcb *tcb)
{
	for (uint32_t id = tcb->snd_head; id != CHUNK_NONE; id = chunk_at(&core->chunks, id)->next) {
		uint32_t note = chunk_at(&core->chunks, id)->note;

		if (note == 0)
			continue;
		CHECK(message_at(&core->messages, note - 1)->references > 0);
		message_at(&core->messages, note - 1)->references--;
	}
}

/* Takes off each message what the send queues refer to it: nothing may be left. Then puts it back. */
static void verify_messages(struct core *core)
{
	for (uint32_t i = 0; i < core->blocks.fresh; i++)
		if (tcb_at(core, i)->state != TCB_FREE)
			unrefer_all(core, tcb_at(core, i));
	CHECK(references_of(core) == 0);
	for (uint32_t i = 0; i < core->blocks.fresh; i++)
		if (tcb_at(core, i)->state != TCB_FREE)
			sendq_recount(core, tcb_at(core, i));
}

void stack_verify(const struct stack *stack)
{
	/* Nothing is changed but, for a moment, counts inside the flow table and of messages. */
	struct core *core = (struct core *)(uintptr_t)&stack->core;
	struct census census = {0};
	struct stack_usage usage;

	stack_usage(stack, &usage);
	verify_blocks(core, &census);
	CHECK(census.live == usage.connections);
	CHECK(census.live + census.ended == pool_live(&core->blocks));
	CHECK(census.extensions == pool_live(&core->extensions));
	CHECK(census.ranges == pool_live(&core->ranges));
	CHECK(census.models == pool_live(&core->models));
	CHECK(census.grown == core->tuned_bytes);
	CHECK(census.fast_opened == core->fastopen_pending);
	CHECK(census.ready ==
	      listed(core, core->ready_head, TCB_READY) + listed(core, core->closing.oldest, TCB_READY));
	CHECK(core->table.live == census.live + usage.half_open + usage.time_wait);
	CHECK(flow_table_verify(&core->table));
	verify_chunks(core, &census);
	verify_fragments(&core->net.reassembly);
	verify_destinations(core, &census);
	verify_half_opens(core);
	verify_time_waits(core);
	verify_messages(core);
	fanout_verify(core);
	admission_verify(core);
}
