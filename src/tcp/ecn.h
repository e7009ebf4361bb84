/* ecn.h - explicit congestion notification (RFC 3168), and DCTCP's exact kind of it (RFC 8257).
 *
 * TCB_ECN: both ends have agreed on it. What else there is to know are three bits of the block. */
#ifndef C10M_TCP_ECN_H
#define C10M_TCP_ECN_H

#include "tcp/core.h"

/* tcb.ecn */
#define ECN_ECHO \
	1u /* a mark came, and the peer has not said yet that it knows; DCTCP: the last one came marked */
#define ECN_CWR     2u /* our next new segment says that we know */
#define ECN_REDUCED 4u /* and have slowed down for this window, until snd_una reaches recover */

/* Whether a SYN asks for it, and whether the answer to ours agrees. */
PURE_INLINE bool ecn_is_asked(const struct tcp_segment *segment)
{
	return (segment->flags & (TCP_ECE | TCP_CWR)) == (TCP_ECE | TCP_CWR);
}

PURE_INLINE bool ecn_is_agreed(const struct tcp_segment *segment)
{
	return (segment->flags & (TCP_ECE | TCP_CWR)) == TCP_ECE;
}

/* While TCB_ECN: a segment within the window, before it is processed; one about to be sent, whose IP header
 * gets the bits that are returned. */
void ecn_input(struct core *core, struct tcb *tcb, const struct tcp_segment *segment);
uint8_t ecn_output(struct tcb *tcb, struct tcp_segment *segment);

#endif
