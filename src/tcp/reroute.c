/* reroute.c - connections that look for their way again, because routes or the interface's MTU have changed.
 * In: stack_control.  Out: other destinations, smaller segments.  Owns: reroute_next, reroute_left.
 *
 * Ten million connections cannot be asked at once: it is done in slices. One whose way is gone keeps its last
 * next hop until there is another way: a link that goes down takes the routes with it. */
#include "tcp/path.h"
#include "tcp/recovery.h"

#define REROUTE_STEP 256u

void tcp_path_shrunk(struct core *core, struct tcb *tcb)
{
	path_give_up(core, tcb);
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

/* RFC 1122 section 3.2.2.2: only the gateway in use may name another one, and that must be our neighbour. Who
 * knows neither the connection nor what is in flight is not believed either (RFC 5927). */
enum drop_reason tcp_redirect(struct core *core, uint32_t from, const struct icmp_message *message,
			      const struct icmp_quote *quote)
{
	struct tuple4 tuple = {quote->source, quote->destination, quote->source_port,
			       quote->destination_port};
	struct routes *routes = &core->net.destinations.routes;
	const struct route way = {.prefix = quote->destination,
				  .gateway = message->rest,
				  .prefix_bits = 32,
				  .redirected = true};
	uint32_t ref = core_find(core, &tuple, core_hash(core, &tuple));
	const struct tcb *tcb;

	if (ref == FLOW_NONE || flow_ref_kind(ref) != FLOW_BLOCK)
		return DROP_ICMP_NO_FLOW;
	tcb = tcb_at(core, flow_ref_index(ref));
	if (seq_lt(quote->seq, tcb->snd_una) || seq_geq(quote->seq, tcb_snd_max(tcb)))
		return DROP_ICMP_NOT_IN_FLIGHT;
	if (from == quote->destination || routes_next_hop(routes, quote->destination) != from ||
	    routes_next_hop(routes, way.gateway) != way.gateway || !ipv4_is_unicast(way.gateway) ||
	    routes_is_local(routes, way.gateway) || routes_is_broadcast(routes, way.gateway))
		return DROP_ICMP_UNKNOWN;
	if (routes_add(routes, &way, ROUTE_REPLACE) == 0)
		tcp_reroute_begin(core);
	return DROP_NONE;
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
