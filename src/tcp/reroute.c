/* reroute.c - connections that look for their way again, because routes or the interface's MTU have changed.
 * In: stack_control.  Out: other destinations, smaller segments.  Owns: reroute_next, reroute_left.
 *
 * Ten million connections cannot be asked at once: it is done in slices. One whose way is gone keeps its last
 * next hop until there is another way: a link that goes down takes the routes with it. */
#include "tcp/recovery.h"

#define REROUTE_STEP 256u

void tcp_path_shrunk(struct core *core, struct tcb *tcb)
{
	tcp_set_mss(core, tcb, (uint32_t)tcb->mss + (tcb->options & TCB_TIMESTAMPS ? 12 : 0));
	if (tcb->options & TCB_BOARD) { /* too long is no loss of the kind that it knows */
		board_detach(core, tcb);
		tcb->pending &= (uint16_t)~TCB_RECOVERY;
	}
	if (!(tcb->options & TCB_BACKED)) {
		tcb->recover = tcb->snd_nxt;
		tcb->options |= TCB_BACKED;
	}
	tcb->snd_nxt = tcb->snd_una; /* all that was too long goes again, in smaller pieces */
	tcb->pending &= (uint16_t)~TCB_RTT_TIMING;
	conn_ready(core, tcb_index(core, tcb));
}

static bool too_long(const struct core *core, const struct tcb *tcb)
{
	uint32_t options = tcb->options & TCB_TIMESTAMPS ? 12 : 0;

	return tcb->mss + options >
	       tcp_mss_for(core, destination_mtu(&core->net.destinations, tcb->destination));
}

static void reroute(struct core *core, struct tcb *tcb)
{
	struct destinations *table = &core->net.destinations;
	uint32_t mtu = destination_at(table, tcb->destination)->mtu;
	uint16_t destination = destination_for(table, tcb->tuple.remote_ip, mtu);

	if (destination && destination != tcb->destination) {
		destination_hold(table, destination);
		destination_release(table, tcb->destination);
		tcb->destination = destination;
	}
	if (tcb->state >= TCP_ESTABLISHED && tcb->state < TCP_TIME_WAIT && too_long(core, tcb))
		tcp_path_shrunk(core, tcb);
}

void tcp_reroute_begin(struct core *core)
{
	core->reroute_left = core->blocks.fresh;
	if (core->reroute_next >= core->blocks.fresh)
		core->reroute_next = 0;
}

void tcp_reroute(struct core *core)
{
	uint32_t count = MIN_OF(REROUTE_STEP, core->reroute_left);

	core->reroute_left -= count;
	for (; count; count--) {
		uint32_t index = core->reroute_next;

		core->reroute_next = index + 1 < core->blocks.fresh ? index + 1 : 0;
		if (tcb_at(core, index)->state != TCB_FREE)
			reroute(core, tcb_at(core, index));
	}
	if (core->reroute_left == 0)
		net_release_waiters(&core->net);
}
