/* splice.c - what one connection receives is sent on another, without the application.
 * In: data in order (sock.c), room on the other side, ends.  Out: chunks in the other's send queue.
 * Backpressure needs no bookkeeping: what finds no room stays unread, so that the window closes by itself;
 * the acknowledgement that makes room puts the source on the ready list. Owns: struct splice of each block.
 */
#include "sock/splice.h"

#include <errno.h>

#include "sock/group.h"
#include "sock/sock.h"

static struct splice *splice_of(const struct core *core, const struct tcb *tcb)
{
	const struct tcp_service *service = &core->services[tcb->service];

	return (struct splice *)((uintptr_t)tcb + service->groups_at +
				 service->groups * sizeof(struct member));
}

uint32_t splice_target(const struct core *core, const struct tcb *tcb)
{
	return splice_of(core, tcb)->to - 1u;
}

uint32_t splice_source(const struct core *core, const struct tcb *tcb)
{
	return splice_of(core, tcb)->from - 1u;
}

static struct tcb *target_of(const struct core *core, const struct tcb *tcb)
{
	return tcb_at(core, splice_target(core, tcb));
}

/* Its turn on the ready list: what is kept goes on its way, whichever that is by then. */
static void look_again(struct core *core, struct tcb *tcb)
{
	tcb->pending |= TCB_RESUME;
	conn_ready(core, tcb_index(core, tcb));
}

static void unlink_from(struct core *core, struct tcb *tcb)
{
	splice_of(core, target_of(core, tcb))->from = 0;
	splice_of(core, tcb)->to = 0;
}

/* Whether data may still go there. If not, it is the application's again; but if that has been aborted, and
 * its turn to end has not come, the source ends with it and keeps what comes until then. */
static bool target_open(struct core *core, struct tcb *tcb)
{
	if (sock_may_send(target_of(core, tcb)))
		return true;
	if (target_of(core, tcb)->pending & TCB_ABORTING)
		return false;
	unlink_from(core, tcb);
	look_again(core, tcb);
	return false;
}

static void wait_for_room(struct core *core, struct tcb *target)
{
	core->counters.splice_waits += !(target->pending & TCB_WANTS_ROOM);
	target->pending |= TCB_WANTS_ROOM;
}

uint32_t splice_put(struct core *core, struct tcb *tcb, const uint8_t *data, uint32_t bytes)
{
	struct tcb *target;
	uint32_t taken;

	if (!target_open(core, tcb))
		return 0;
	target = target_of(core, tcb);
	taken = sendq_add(core, target, data, bytes);
	core->counters.splice_bytes += taken;
	if (taken < bytes)
		wait_for_room(core, target);
	conn_ready(core, tcb_index(core, target));
	return taken;
}

void splice_move(struct core *core, struct tcb *tcb)
{
	uint32_t before = tcb->rcv_bytes;
	struct tcb *target;

	if (before && target_open(core, tcb)) {
		target = target_of(core, tcb);
		while (tcb->rcv_head != CHUNK_NONE && sendq_move(core, target, tcb))
			continue;
		if (tcb->rcv_bytes)
			wait_for_room(core, target);
		core->counters.splice_bytes += before - tcb->rcv_bytes;
		core->counters.splice_moved_bytes += before - tcb->rcv_bytes;
		conn_ready(core, tcb_index(core, target));
	}
	tcp_window_update(core, tcb);
}

bool splice_eof(struct core *core, struct tcb *tcb)
{
	struct tcb *target = target_of(core, tcb);

	if (!target_open(core, tcb))
		return target->pending & TCB_ABORTING;
	unlink_from(core, tcb);
	c10m_shutdown((c10m_conn *)target);
	return true;
}

void splice_room(struct core *core, const struct tcb *tcb)
{
	look_again(core, tcb_at(core, splice_source(core, tcb)));
}

void splice_leave(struct core *core, struct tcb *tcb)
{
	if (splice_feeds(core, tcb))
		unlink_from(core, tcb);
	if (splice_is_fed(core, tcb)) {
		struct tcb *source = tcb_at(core, splice_source(core, tcb));

		unlink_from(core, source);
		look_again(core, source);
	}
}

static void end_with(struct core *core, uint32_t index)
{
	struct tcb *tcb = tcb_at(core, index);

	if (tcb->pending & TCB_ABORTING)
		return;
	tcb->pending |= TCB_ABORTING | TCB_RESUME;
	splice_of(core, tcb)->cut = 1;
	conn_ready_to_close(core, index);
	core->counters.splice_aborts++;
}

void splice_ended(struct core *core, struct tcb *tcb, enum c10m_close_reason reason)
{
	uint32_t target = splice_target(core, tcb), source = splice_source(core, tcb);

	splice_leave(core, tcb);
	if (reason == C10M_CLOSE_NORMAL || reason == C10M_CLOSE_STOPPED)
		return;
	if (target != POOL_NONE)
		end_with(core, target);
	if (source != POOL_NONE)
		end_with(core, source);
}

enum c10m_close_reason splice_abort_reason(const struct core *core, const struct tcb *tcb)
{
	if (core->services[tcb->service].splices && splice_of(core, tcb)->cut)
		return C10M_CLOSE_SPLICED;
	return C10M_CLOSE_ABORTED;
}

void splice_verify(const struct core *core, const struct tcb *tcb)
{
	const struct splice *splice = splice_of(core, tcb);
	uint32_t self = tcb_index(core, tcb) + 1;

	CHECK(!splice->cut || tcb->pending & TCB_ABORTING);
	if (splice->to)
		CHECK(target_of(core, tcb)->state != TCB_FREE &&
		      splice_of(core, target_of(core, tcb))->from == self);
	if (splice->from)
		CHECK(splice_of(core, tcb_at(core, splice->from - 1))->to == self);
	if (splice->to && tcb->rcv_bytes &&
	    !(tcb->pending & (TCB_READY | TCB_WAITING | TCB_NO_READER | TCB_ABORTING)) &&
	    !(target_of(core, tcb)->pending & TCB_ABORTING))
		CHECK(target_of(core, tcb)->pending & TCB_WANTS_ROOM && target_of(core, tcb)->snd_bytes);
}

/* --- the public functions */

static int refused(const struct core *core, const struct tcb *from, const struct tcb *to)
{
	if (from == to || !core->services[from->service].splices || !core->services[to->service].splices)
		return -EINVAL;
	if (from->stack_id != to->stack_id)
		return -EXDEV;
	if (from->pending & (TCB_NO_READER | TCB_ABORTING) || !sock_may_send(to))
		return -ENOTCONN;
	if (splice_feeds(core, from) || splice_is_fed(core, to))
		return -EBUSY;
	return 0;
}

int c10m_splice(c10m_conn *from, c10m_conn *to)
{
	struct core *core = (struct core *)c10m_conn_worker(from);
	struct tcb *source = (struct tcb *)from, *target = (struct tcb *)to;
	int error = refused(core, source, target);

	if (error)
		return error;
	core->counters.splices++;
	if (source->pending & TCB_EOF_TOLD) {
		c10m_shutdown(to);
		return 0;
	}
	splice_of(core, source)->to = tcb_index(core, target) + 1;
	splice_of(core, target)->from = (tcb_index(core, source) + 1) & INT32_MAX;
	look_again(core, source);
	return 0;
}

int c10m_unsplice(c10m_conn *from)
{
	struct core *core = (struct core *)c10m_conn_worker(from);
	struct tcb *source = (struct tcb *)from;

	if (!splice_feeds(core, source))
		return -ENOENT;
	unlink_from(core, source);
	look_again(core, source);
	return 0;
}
