/* ecn.c - what marks of congestion lead to: as a receiver we tell of them, as a sender we slow down.
 * In: segments of connections that agreed on it.  Out: flags, the bits of the IP header, congestion control.
 * Owns: tcb.ecn. Nothing but new data is ever sent as ECN-capable: no SYN, no acknowledgement alone, nothing
 * that is sent again, no window probe (RFC 3168 sections 6.1.1, 6.1.4 to 6.1.6). */
#include "tcp/ecn.h"

#include "tcp/congestion.h"

#define ECT0 2u

/* RFC 8257 section 3.2: what came before the change is acknowledged with what was true then, where one can
 * still get in front. */
static void tell_exactly(struct core *core, struct tcb *tcb, bool marked)
{
	if (marked == ((tcb->ecn & ECN_ECHO) != 0))
		return;
	if (tcb->rcv_nxt != tcb->last_ack_sent)
		tcp_ack_before(core, tcb, tcb->ecn & ECN_ECHO ? TCP_ECE : 0);
	tcb->ecn = (uint8_t)(tcb->ecn ^ ECN_ECHO) & 7u;
	tcb->pending |= TCB_ACK_NOW;
	conn_ready(core, tcb_index(core, tcb));
}

/* RFC 3168 section 6.1.3: until the peer says CWR all acknowledgements say ECE. A mark that comes along with
 * CWR is a new one. */
static void receive(struct core *core, struct tcb *tcb, const struct tcp_segment *segment)
{
	bool marked = segment->options & TCP_OPT_CE && segment->payload_bytes;

	core->counters.tcp_ecn_marks_in += marked;
	if (congestion_of(core, tcb)->flags & C10M_CONGESTION_ECN) {
		if (segment->payload_bytes)
			tell_exactly(core, tcb, marked);
		return;
	}
	if (segment->flags & TCP_CWR && segment->payload_bytes)
		tcb->ecn &= (uint8_t)~ECN_ECHO & 7u;
	if (!marked || tcb->ecn & ECN_ECHO)
		return;
	tcb->ecn |= ECN_ECHO;
	tcb->pending |= TCB_ACK_NOW;
	conn_ready(core, tcb_index(core, tcb));
}

/* Section 6.1.2: as after a loss, once for each window. What was lost in the same window has slowed us down
 * already. */
static void slow_down(struct core *core, struct tcb *tcb, uint32_t acked)
{
	bool first = !(tcb->ecn & ECN_REDUCED) && !(tcb->pending & TCB_RECOVERY) &&
		     !(tcb->options & TCB_BACKED);

	core->counters.tcp_ecn_echoes_in++;
	congestion_marked(core, tcb, acked, first);
	if (!first)
		return;
	tcb->recover = tcb->snd_nxt;
	tcb->ecn |= ECN_CWR | ECN_REDUCED;
	core->counters.tcp_ecn_reductions++;
}

void ecn_input(struct core *core, struct tcb *tcb, const struct tcp_segment *segment)
{
	if (tcb->ecn & ECN_REDUCED && seq_geq(segment->ack, tcb->recover))
		tcb->ecn &= (uint8_t)~ECN_REDUCED & 7u;
	/* What acknowledges too much, or is old, tells of nothing. */
	if (segment->flags & TCP_ECE && seq_geq(segment->ack, tcb->snd_una) &&
	    seq_leq(segment->ack, tcb_snd_max(tcb)) && tcb_snd_max(tcb) != tcb->snd_una)
		slow_down(core, tcb, segment->ack - tcb->snd_una);
	receive(core, tcb, segment);
}

uint8_t ecn_output(struct tcb *tcb, struct tcp_segment *segment)
{
	if (segment->flags & (TCP_SYN | TCP_RST))
		return 0;
	if (tcb->ecn & ECN_ECHO)
		segment->flags |= TCP_ECE;
	if (segment->payload_bytes == 0 || seq_lt(segment->seq, tcb_snd_max(tcb)) ||
	    tcb->timers & TCB_TIMER_PERSIST)
		return 0;
	if (tcb->ecn & ECN_CWR)
		segment->flags |= TCP_CWR;
	tcb->ecn &= (uint8_t)~ECN_CWR & 7u;
	return ECT0;
}
