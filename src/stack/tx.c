/* tx.c - what is due by time, then what waits to be sent.
 * In: the wheel, the ready list, the ring of replies.  Out: filled frames. */
#include "base/plant.h"
#include "stack/internal.h"
#include "tcp/pace.h"

#define DUE_MAX 64u
#define DUE_ROUNDS \
	64u /* timers of a call: 4096, some hundred microseconds; stack_deadline says when more \
	     */
#define CLOSING_TURNS 128u
#define SWEEP_STEP    1024u
#define FANOUT_SLICES 8u /* in one stack_tx, for those that lead to no frame */

static bool fanouts_exist(const struct core *core)
{
	return core->fanouts_active.oldest != POOL_NONE || core->fanouts_awaiting.oldest != POOL_NONE;
}

/* Most near entries are armed no longer: they end here, without a look at their blocks. Returns how many are
 * left, at the start of due. */
static uint32_t drop_unarmed(struct core *core, struct wheel_entry *due, uint32_t count)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < count; i++)
		conn_near_prefetch(core, conn_entry_index(&due[i]));
	for (uint32_t i = 0; i < count; i++)
		if (conn_entry_matters(core, &due[i]))
			due[left++] = due[i];
	return left;
}

static void run_due(struct core *core, const struct wheel_entry *due, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *block = pool_at(&core->blocks, conn_entry_index(&due[i]));

		PREFETCH_WRITE(block);
		PREFETCH_WRITE(block + CACHE_LINE);
	}
	for (uint32_t i = 0; i < count; i++) {
		uint32_t index = conn_entry_index(&due[i]);

		if (!conn_entry_fired(core, &due[i]) || tcb_at(core, index)->state == TCB_FREE)
			continue;
		tcp_timers_run(core, index);
		core->counters.timer_refiled += tcb_at(core, index)->state != TCB_FREE;
	}
}

static void expire(struct core *core)
{
	struct wheel_entry due[DUE_MAX];
	uint32_t count = DUE_MAX;

	for (uint32_t round = 0; round < DUE_ROUNDS && count == DUE_MAX; round++) {
		count = wheel_expire(core->wheel, core->now_tick, due, DUE_MAX);
		run_due(core, due, drop_unarmed(core, due, count));
	}
}

/* No wheel entry was left for somebody: look at all blocks, a slice at a time, round and round until all are
 * filed again. */
static void sweep(struct core *core)
{
	uint32_t count = MIN_OF(SWEEP_STEP, core->sweep_left);

	core->sweep_left -= count;
	for (; count; count--) { /* a failed filing asks for another round */
		uint32_t index = core->sweep_next;

		core->sweep_next = index + 1 < core->blocks.fresh ? index + 1 : 0;
		if (tcb_at(core, index)->state != TCB_FREE)
			tcp_timers_run(core, index);
	}
}

static void run_timers(struct stack *stack)
{
	struct core *core = &stack->core;

	expire(core);
	if (unlikely(wheel_live(core->pacer)))
		pace_expire(core);
	if (unlikely(core->sweep_left))
		sweep(core);
	if (unlikely(core->reroute_left))
		tcp_reroute(core);
	if (unlikely(core->pressure_left))
		pressure_relieve(core);
	if (unlikely(core->admission.recounting))
		admission_recount(core);
	if (unlikely(sock_can_feed(core)))
		sock_feed_starved(core);
	if (core->timer.on_time && tick_reached(core->timer.tick, core->now_tick))
		sock_worker_timer(core);
	half_open_expire(core);
	time_wait_expire(core);
	if (core->net.destinations.probing && tick_reached(core->net.probe_tick, core->now_tick))
		net_tick(&core->net);
	if (unlikely(core->net.reassembly.live) &&
	    tick_reached(core->net.reassembly.next_tick, core->now_tick))
		net_fragments_tick(&core->net);
}

static uint32_t ready_pop(struct core *core)
{
	uint32_t index = core->ready_head;
	struct tcb *tcb = tcb_at(core, index);

	core->ready_head = tcb->ready_next;
	if (core->ready_head != POOL_NONE)
		PREFETCH_WRITE(pool_at(&core->blocks, core->ready_head));
	tcb->pending &= (uint16_t)~TCB_READY;
	return index;
}

static void wait_for_neighbour(struct core *core, uint32_t index)
{
	struct tcb *tcb = tcb_at(core, index);
	struct destination *hop = destination_hop(&core->net.destinations, tcb->destination);

	tcb->pending |= TCB_WAITING;
	tcb->ready_next = hop->waiting;
	hop->waiting = index;
}

/* One connection's turn; frames filled. */
static uint32_t serve(struct core *core, uint32_t index, struct packet *packets, uint32_t max)
{
	struct tcb *tcb = tcb_at(core, index);
	uint32_t count;

	if (tcb->state == TCB_FREE) {
		pool_give(&core->blocks, index);
		return 0;
	}
	if (tcb->pending & TCB_RESUME) {
		uint32_t generation = tcb->generation;

		if (unlikely(tcb->pending & TCB_ABORTING) && core->net.reply_count >= REPLIES / 2) {
			conn_ready_to_close(core, index); /* when there is room for its reset */
			return 0;
		}
		sock_resume(core, index);
		if (tcb->state == TCB_FREE || tcb->generation != generation || tcb->pending & TCB_READY)
			return 0;
	}
	if (!net_resolve(&core->net, tcb->destination)) {
		wait_for_neighbour(core, index);
		conn_file_timers(core, index);
		return 0;
	}
	count = tcp_output(core, index, packets, max);
	if (count == max && !PLANTED(READY_LOST)) /* perhaps there is more */
		conn_ready(core, index);
	conn_file_timers(core, index);
	return count;
}

/* Replies go first, since few wait; but strangers who cause many leave half of the room to connections. */
static uint32_t room_for_replies(const struct core *core, uint32_t max)
{
	return core->ready_head == POOL_NONE ? max : max - max / 2;
}

/* Connections that are ready have their turns. */
static uint32_t serve_ready(struct core *core, struct packet *packets, uint32_t max)
{
	uint32_t count = 0;

	for (uint32_t turns = 0; turns < 4096 && count < max && core->ready_head != POOL_NONE; turns++)
		count += serve(core, ready_pop(core), packets + count, max - count);
	return count;
}

/* Those that have nothing left but their end have their turns. Resets go through the ring of replies, half of
 * which is left to others. Each FIN brings another one: see struct round_share. */
static NO_INLINE uint32_t serve_closing(struct core *core, struct packet *packets, uint32_t room)
{
	uint32_t count = 0, max = MIN_OF(room, round_share_left(core, &core->closing_share));

	for (uint32_t turns = 0; turns < CLOSING_TURNS && count < max && core->closing.oldest != POOL_NONE &&
				 core->net.reply_count < REPLIES / 2;
	     turns++) {
		uint32_t index = core->closing.oldest;
		struct tcb *tcb = tcb_at(core, index);

		core->closing.oldest = tcb->ready_next;
		if (tcb->ready_next != POOL_NONE)
			PREFETCH_WRITE(pool_at(&core->blocks, tcb->ready_next));
		tcb->pending &= (uint16_t)~TCB_READY;
		count += serve(core, index, packets + count, max - count);
	}
	round_share_take(core, &core->closing_share, count);
	return count;
}

/* Nobody else has output: fan-outs fill what is left of the frames, so that they never go faster than these
 * go out. */
static NO_INLINE uint32_t serve_fanouts(struct core *core, struct packet *packets, uint32_t max)
{
	uint32_t count = 0;

	for (uint32_t slices = 0; slices < FANOUT_SLICES && count < max && fanout_due(core); slices++) {
		fanout_slice(core, max - count);
		count += serve_ready(core, packets + count, max - count);
	}
	return count;
}

uint32_t stack_tx(struct stack *stack, uint64_t now_us, struct packet *packets, uint32_t max)
{
	struct core *core = &stack->core;
	uint32_t count;

	stack_set_time(stack, now_us);
	stage_begin(&core->stages, STAGE_TIMERS);
	run_timers(stack);
	stage_begin(&core->stages, STAGE_OUTPUT);
	count = net_replies_take(&core->net, packets, room_for_replies(core, max));
	for (uint32_t i = 0; i < count; i++)
		core->counters.tx_bytes += packets[i].bytes;
	if (likely(core->closing.oldest == POOL_NONE)) {
		count += serve_ready(core, packets + count, max - count);
	} else { /* a quarter of the room is theirs, and what the others leave */
		count += serve_ready(core, packets + count, max - count - (max - count) / 4);
		count += serve_closing(core, packets + count, max - count);
	}
	if (unlikely(fanouts_exist(core)))
		count += serve_fanouts(core, packets + count, max - count);
	if (count < max && core->net.reply_count) {
		uint32_t more = net_replies_take(&core->net, packets + count, max - count);

		for (uint32_t i = 0; i < more; i++)
			core->counters.tx_bytes += packets[count + i].bytes;
		count += more;
	}
	core->counters.tx_packets += count;
	if (max && count == max && stack_has_output(stack))
		core->counters.stack_tx_stalls++;
	stage_begin(&core->stages, STAGE_OUTSIDE);
	return count;
}

bool stack_has_output(const struct stack *stack)
{
	const struct core *core = &stack->core;

	return core->ready_head != POOL_NONE || core->net.reply_count > 0 ||
	       core->closing.oldest != POOL_NONE || (unlikely(fanouts_exist(core)) && fanout_due(core));
}

static void nearer(bool has, uint32_t tick, uint32_t now, int64_t *best)
{
	int64_t ahead = (int32_t)(tick - now);

	if (has && ahead < *best)
		*best = ahead;
}

uint64_t stack_deadline(const struct stack *stack)
{
	const struct core *core = &stack->core;
	int64_t best = INT64_MAX;
	uint32_t tick = 0;
	bool has;

	if (stack_has_output(stack) || core->sweep_left || core->reroute_left || core->admission.recounting ||
	    sock_can_feed(core))
		return core->now_us;
	has = wheel_next(core->wheel, &tick);
	nearer(has, tick, core->now_tick, &best);
	has = half_open_deadline(core, &tick);
	nearer(has, tick, core->now_tick, &best);
	has = time_wait_deadline(core, &tick);
	nearer(has, tick, core->now_tick, &best);
	nearer(core->timer.on_time != NULL, core->timer.tick, core->now_tick, &best);
	if (fanouts_exist(core)) {
		if (fanout_waits(core))
			return core->now_us + 1;
		has = fanout_deadline(core, &tick);
		nearer(has, tick, core->now_tick, &best);
	}
	nearer(core->pressure_left > 0, pressure_deadline(core), core->now_tick, &best);
	nearer(core->net.destinations.probing > 0, core->net.probe_tick, core->now_tick, &best);
	nearer(core->net.reassembly.live > 0, core->net.reassembly.next_tick, core->now_tick, &best);
	if (best == INT64_MAX)
		return pace_deadline_us(core);
	if (best <= 0)
		return core->now_us;
	return MIN_OF((core->now_us / TICK_US + (uint64_t)best) * TICK_US, pace_deadline_us(core));
}
