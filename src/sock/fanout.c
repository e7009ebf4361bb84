/* fanout.c - one message to many connections, a slice at a time.
 *
 * In: the application's requests; turns from stack/tx.c when nobody else has output.
 * Out: references in send queues, connections made ready; on_done.
 * Owns: the lists of fan-outs, the sweeps.
 *
 * What is in flight stays bounded: a slice is as large as the port has frames, and a fan-out rests while less
 * than a quarter of the small chunks is free. A stack that carries on in another process keeps what is queued
 * and forgets the fan-outs themselves: their callbacks were the old process's. */
#include "sock/fanout.h"

#include <errno.h>

#include "sock/sock.h"

#define QUANTUM    16u  /* visits before the next fan-out has its turn */
#define VISITS_MAX 256u /* in one slice, receivers or not */
#define AHEAD      8u   /* blocks on their way from memory in a sweep */

struct budget {
	uint32_t sends, visits;
};

static struct fanout *fanout_at(const struct core *core, uint32_t index)
{
	return pool_at(&core->fanouts, index);
}

/* --- lists ----------------------------------------------------------------------- */

static void list_add(const struct core *core, struct index_list *list, uint32_t index)
{
	fanout_at(core, index)->next = POOL_NONE;
	if (list->oldest == POOL_NONE)
		list->oldest = index;
	else
		fanout_at(core, list->newest)->next = index;
	list->newest = index;
}

static uint32_t list_take(const struct core *core, struct index_list *list)
{
	uint32_t index = list->oldest;

	list->oldest = fanout_at(core, index)->next;
	return index;
}

/* --- the start and the end --------------------------------------------------------- */

static void prefetch_block(const struct core *core, uint32_t index)
{
	const uint8_t *block = core->blocks.objects + (size_t)index * core->blocks.stride;

	PREFETCH_WRITE(block);
	PREFETCH_WRITE(block + CACHE_LINE);
	PREFETCH_WRITE(block + (size_t)2 * CACHE_LINE);
}

static void prefetch_member(const struct core *core, const struct fanout *fanout, uint32_t index)
{
	const struct tcp_service *service = &core->services[fanout->request.service];

	if (index == POOL_NONE)
		return;
	prefetch_block(core, index);
	PREFETCH_WRITE(core->blocks.objects + (size_t)index * core->blocks.stride + service->groups_at);
}

static bool has_turns(const struct core *core, const struct fanout *fanout)
{
	for (uint32_t i = core->fanouts_active.oldest; i != POOL_NONE; i = fanout_at(core, i)->next) {
		const struct fanout *other = fanout_at(core, i);

		if (other->group == fanout->group &&
		    (fanout->group != POOL_NONE || other->request.service == fanout->request.service))
			return true;
	}
	return false;
}

static bool take_sweep(struct core *core, struct fanout *fanout)
{
	for (uint8_t i = 0; i < SWEEPS_MAX; i++) {
		if (core->sweeps[i].taken)
			continue;
		core->sweeps[i] = (struct sweep){0, core->blocks.fresh, true};
		fanout->sweep = i;
		return true;
	}
	return false;
}

static void enter_group(struct core *core, struct fanout *fanout)
{
	const struct group *group = group_at(core, fanout->group);

	for (unsigned i = 0; i < GROUP_LISTS; i++) {
		fanout->cursors[i] = group->heads[i];
		prefetch_member(core, fanout, group->heads[i]);
	}
}

/* One at a time works on the same receivers: so each gets the messages in the order of the fan-outs. */
static bool begin(struct core *core, uint32_t index)
{
	struct fanout *fanout = fanout_at(core, index);

	if (has_turns(core, fanout))
		return false;
	if (fanout->group != POOL_NONE)
		enter_group(core, fanout);
	else if (!take_sweep(core, fanout))
		return false;
	list_add(core, &core->fanouts_active, index);
	return true;
}

/* One has come to its end: whoever waited for that begins. */
static void begin_queued(struct core *core)
{
	struct index_list old = core->fanouts_queued;

	core->fanouts_queued.oldest = POOL_NONE;
	while (old.oldest != POOL_NONE) {
		uint32_t index = list_take(core, &old);

		if (!begin(core, index))
			list_add(core, &core->fanouts_queued, index);
	}
}

int c10m_fanout(c10m_worker *worker, const struct c10m_fanout_request *request)
{
	struct core *core = (struct core *)worker;
	uint32_t message = sock_message_find(core, request->message), group = POOL_NONE, index;
	struct fanout *fanout;

	if (request->group)
		group = group_find(core, request->group);
	if (message == MESSAGE_NONE || (request->group ? group == POOL_NONE : false) ||
	    request->service >= core->service_count ||
	    (request->slow == C10M_SLOW_COALESCE && request->topic == 0))
		return -EINVAL;
	index = pool_take(&core->fanouts);
	if (index == POOL_NONE)
		return -EAGAIN;
	fanout = fanout_at(core, index);
	*fanout = (struct fanout){
		.request = *request,
		.result.message = request->message,
		.message = message,
		.bytes = message_at(&core->messages, message)->bytes,
		.acknowledged_before = message_at(&core->messages, message)->acknowledged,
		.group = group,
		.sweep = SWEEP_NONE,
	};
	message_hold(&core->messages, message);
	if (group != POOL_NONE)
		group_at(core, group)->fanouts++;
	if (!begin(core, index))
		list_add(core, &core->fanouts_queued, index);
	return 0;
}

/* Its place is free before the application hears of it, so that it can start the next. */
static void finish(struct core *core, uint32_t index)
{
	struct fanout done = *fanout_at(core, index);

	pool_give(&core->fanouts, index);
	done.result.acknowledged = message_at(&core->messages, done.message)->acknowledged -
				   done.acknowledged_before;
	core->busy_index = SOCK_BUSY_ELSEWHERE;
	if (done.request.on_done)
		done.request.on_done((c10m_worker *)core, &done.result, done.request.context);
	core->busy_index = POOL_NONE;
	message_release(&core->messages, done.message);
}

static bool is_awaited(const struct core *core, const struct fanout *fanout)
{
	return message_at(&core->messages, fanout->message)->references > 0;
}

/* All had their turn. */
static void conclude(struct core *core, uint32_t index)
{
	struct fanout *fanout = fanout_at(core, index);

	core->counters.fanouts++;
	core->counters.fanout_queued += fanout->result.queued;
	core->counters.fanout_skipped += fanout->result.skipped;
	if (fanout->group != POOL_NONE) {
		group_at(core, fanout->group)->fanouts--;
		group_settle(core, fanout->group);
	} else {
		core->sweeps[fanout->sweep] = (struct sweep){0};
	}
	begin_queued(core);
	if (fanout->request.flags & C10M_FANOUT_AWAIT && is_awaited(core, fanout))
		list_add(core, &core->fanouts_awaiting, index);
	else
		finish(core, index);
}

/* --- one receiver -------------------------------------------------------------------- */

static void slow_receiver(struct fanout *fanout, c10m_conn *conn)
{
	if (fanout->request.slow == C10M_SLOW_CLOSE) {
		fanout->result.closed++;
		c10m_abort(conn);
	} else {
		fanout->result.skipped++;
	}
}

static uint32_t limit_of(const struct core *core, const struct fanout *fanout, const struct tcb *tcb)
{
	return fanout->request.queue_bytes ? fanout->request.queue_bytes
					   : core->services[tcb->service].send_bytes;
}

/* A connection with nothing queued takes it at once, whatever the limits. */
static bool is_slow(const struct core *core, const struct fanout *fanout, const struct tcb *tcb)
{
	uint32_t more = fanout->request.slow == C10M_SLOW_COALESCE ? 0 : fanout->bytes;

	if (tcb->pending & TCB_WANTS_ROOM)
		return true;
	return tcb->snd_bytes && tcb->snd_bytes + more > limit_of(core, fanout, tcb);
}

static void deliver(struct core *core, struct fanout *fanout, uint32_t index)
{
	struct tcb *tcb = tcb_at(core, index);
	uint32_t topic = fanout->request.topic;

	if (unlikely(fanout->given_up)) {
		fanout->result.skipped++;
		return;
	}
	if (fanout->request.slow == C10M_SLOW_COALESCE && tcb->snd_bytes &&
	    sendq_replace(core, tcb, fanout->message, topic)) {
		fanout->result.coalesced++;
	} else if (is_slow(core, fanout, tcb)) {
		slow_receiver(fanout, (c10m_conn *)tcb);
		return;
	} else if (!sendq_refer(core, tcb, fanout->message, topic)) {
		fanout->result.skipped++;
		return;
	}
	fanout->result.queued++;
	conn_ready(core, index);
}

/* It may end the connection. */
static bool filter_takes(struct core *core, const struct fanout *fanout, uint32_t index)
{
	struct tcb *tcb = tcb_at(core, index);
	bool takes;

	core->busy_index = index;
	takes = fanout->request.filter((c10m_conn *)tcb, fanout->request.context);
	core->busy_index = POOL_NONE;
	if (likely(sock_may_send(tcb)))
		return takes;
	sock_settle(core, index);
	return false;
}

static void visit(struct core *core, struct fanout *fanout, uint32_t index)
{
	struct tcb *tcb = tcb_at(core, index);
	c10m_conn *conn = (c10m_conn *)tcb;

	if (!sock_may_send(tcb) ||
	    (fanout->request.except && c10m_conn_handle(conn) == fanout->request.except))
		return;
	if (!fanout->request.filter || filter_takes(core, fanout, index))
		deliver(core, fanout, index);
}

/* --- turns ----------------------------------------------------------------------------- */

static bool has_room(const struct core *core)
{
	const struct pool *chunks = &core->chunks.classes[0];

	return pool_room(chunks) > chunks->capacity / 4;
}

static bool may_visit(const struct core *core, const struct fanout *fanout, const struct budget *budget)
{
	return budget->sends && budget->visits && (has_room(core) || fanout->given_up);
}

static bool sweep_turn(struct core *core, struct fanout *fanout, struct budget *budget)
{
	struct sweep *sweep = &core->sweeps[fanout->sweep];
	uint16_t misses = (uint16_t)(TCB_MISSES << fanout->sweep);

	for (uint32_t i = 0; i < QUANTUM && sweep->next < sweep->end && may_visit(core, fanout, budget);
	     i++) {
		uint32_t index = sweep->next++, queued = fanout->result.queued;
		struct tcb *tcb = tcb_at(core, index);

		if (index + AHEAD < sweep->end)
			prefetch_block(core, index + AHEAD);
		budget->visits--;
		if (tcb->state == TCB_FREE || tcb->service != fanout->request.service)
			continue;
		if (unlikely(tcb->options & misses))
			tcb->options &= (uint16_t)~misses;
		else
			visit(core, fanout, index);
		budget->sends -= fanout->result.queued != queued;
	}
	return sweep->next >= sweep->end;
}

/* One from each of the group's lists, so that the next of all are on their way from memory meanwhile. */
static bool group_turn(struct core *core, struct fanout *fanout, struct budget *budget)
{
	bool through = true;

	for (uint32_t i = 0; i < QUANTUM && may_visit(core, fanout, budget); i++) {
		uint32_t list = i % GROUP_LISTS, index = fanout->cursors[list];
		uint32_t queued = fanout->result.queued;

		if (index == POOL_NONE)
			continue;
		fanout->cursors[list] = group_member(core, index, fanout->group)->next;
		prefetch_member(core, fanout, fanout->cursors[list]);
		budget->visits--;
		visit(core, fanout, index);
		budget->sends -= fanout->result.queued != queued;
	}
	for (uint32_t i = 0; i < GROUP_LISTS; i++)
		through &= fanout->cursors[i] == POOL_NONE;
	return through;
}

static bool patience_is_over(const struct core *core, const struct fanout *fanout)
{
	return fanout->stalled && fanout->request.patience_ms &&
	       core->now_tick - fanout->stalled_tick >= fanout->request.patience_ms;
}

/* Whether it can go on. Notes since when it cannot, and gives up in the end. */
static bool can_go_on(const struct core *core, struct fanout *fanout)
{
	if (has_room(core) || fanout->given_up || core->stopping) {
		fanout->stalled = false;
		return true;
	}
	if (!fanout->stalled) {
		fanout->stalled = true;
		fanout->stalled_tick = core->now_tick;
	}
	fanout->given_up = patience_is_over(core, fanout);
	return fanout->given_up;
}

/* True when all had their turn. When the worker stops it is over for those that had none. */
static bool take_turn(struct core *core, struct fanout *fanout, struct budget *budget)
{
	if (unlikely(core->stopping))
		return true;
	return fanout->group != POOL_NONE ? group_turn(core, fanout, budget)
					  : sweep_turn(core, fanout, budget);
}

static void settle_awaiting(struct core *core)
{
	struct index_list old = core->fanouts_awaiting;

	core->fanouts_awaiting.oldest = POOL_NONE;
	while (old.oldest != POOL_NONE) {
		uint32_t index = list_take(core, &old);

		if (is_awaited(core, fanout_at(core, index)) && !core->stopping)
			list_add(core, &core->fanouts_awaiting, index);
		else
			finish(core, index);
	}
}

/* Each message brings an acknowledgement: see struct round_share. */
void fanout_slice(struct core *core, uint32_t most)
{
	struct budget budget = {MIN_OF(most, round_share_left(core, &core->fanout_share)), VISITS_MAX};
	uint32_t sends = budget.sends;

	if (core->fanouts_awaiting.oldest != POOL_NONE)
		settle_awaiting(core);
	for (uint32_t idle = 0; core->fanouts_active.oldest != POOL_NONE && budget.sends && budget.visits;) {
		uint32_t index = core->fanouts_active.oldest, before = --budget.visits;
		struct fanout *fanout = fanout_at(core, index);
		bool through = can_go_on(core, fanout) && take_turn(core, fanout, &budget);

		list_take(core,
			  &core->fanouts_active); /* not before: a member that leaves is looked for there */
		if (through) {
			conclude(core, index);
			continue;
		}
		list_add(core, &core->fanouts_active, index);
		idle = budget.visits == before ? idle + 1 : 0;
		if (idle >= pool_live(&core->fanouts)) /* all were asked, and none can go on */
			break;
	}
	round_share_take(core, &core->fanout_share, sends - budget.sends);
}

bool fanout_due(const struct core *core)
{
	return round_share_left(core, &core->fanout_share) > 0 && fanout_waits(core);
}

bool fanout_waits(const struct core *core)
{
	uint32_t index = core->fanouts_active.oldest;

	if (index != POOL_NONE && (has_room(core) || core->stopping))
		return true;
	for (; index != POOL_NONE; index = fanout_at(core, index)->next)
		if (!fanout_at(core, index)->stalled || fanout_at(core, index)->given_up ||
		    patience_is_over(core, fanout_at(core, index)))
			return true; /* not stalled: it has not seen yet that it is */
	for (index = core->fanouts_awaiting.oldest; index != POOL_NONE; index = fanout_at(core, index)->next)
		if (!is_awaited(core, fanout_at(core, index)) || core->stopping)
			return true;
	return false;
}

bool fanout_deadline(const struct core *core, uint32_t *tick)
{
	bool any = false;

	for (uint32_t index = core->fanouts_active.oldest; index != POOL_NONE;
	     index = fanout_at(core, index)->next) {
		const struct fanout *fanout = fanout_at(core, index);
		uint32_t due = fanout->stalled_tick + fanout->request.patience_ms;

		if (!fanout->stalled || !fanout->request.patience_ms)
			continue;
		if (!any || tick_before(due, *tick))
			*tick = due;
		any = true;
	}
	return any;
}

void fanout_step_over(struct core *core, uint32_t group, uint32_t index, uint32_t next)
{
	for (uint32_t at = core->fanouts_active.oldest; at != POOL_NONE; at = fanout_at(core, at)->next) {
		struct fanout *fanout = fanout_at(core, at);

		if (fanout->group == group && fanout->cursors[index % GROUP_LISTS] == index)
			fanout->cursors[index % GROUP_LISTS] = next;
	}
}

/* --- checks ------------------------------------------------------------------------------ */

static uint32_t group_verify(const struct core *core, uint32_t index)
{
	const struct group *group = group_at(core, index);
	uint32_t count = 0;

	for (uint32_t i = 0; i < GROUP_LISTS; i++)
		for (uint32_t at = group->heads[i], previous = POOL_NONE; at != POOL_NONE; count++) {
			const struct member *member = group_member(core, at, index);

			CHECK(tcb_at(core, at)->state != TCB_FREE && at % GROUP_LISTS == i);
			CHECK(member && member->previous == previous);
			previous = at;
			at = member->next;
		}
	CHECK(count == group->count && (count || !group->released || group->fanouts));
	return group->fanouts;
}

static uint32_t list_length(const struct core *core, const struct index_list *list, uint32_t *over_groups)
{
	uint32_t length = 0;

	for (uint32_t i = list->oldest; i != POOL_NONE; i = fanout_at(core, i)->next, length++)
		*over_groups += fanout_at(core, i)->group != POOL_NONE;
	return length;
}

void fanout_verify(const struct core *core)
{
	uint32_t over_groups = 0, sweeps = 0;
	uint32_t active = list_length(core, &core->fanouts_active, &over_groups);
	uint32_t queued = list_length(core, &core->fanouts_queued, &over_groups);
	uint32_t not_counted = 0, awaiting = list_length(core, &core->fanouts_awaiting, &not_counted);

	for (unsigned i = 0; i < SWEEPS_MAX; i++)
		sweeps += core->sweeps[i].taken;
	CHECK(active + queued + awaiting == pool_live(&core->fanouts) && (active || !queued));
	CHECK(sweeps <= active);
	for (uint32_t i = 0; i < core->groups.fresh; i++)
		if (group_at(core, i)->in_use)
			over_groups -= group_verify(core, i);
	CHECK(over_groups == 0);
}
