/* fastopen.h - data in the SYN (RFC 7413). */
#ifndef C10M_TCP_FASTOPEN_H
#define C10M_TCP_FASTOPEN_H

#include "tcp/core.h"

/* A block that a SYN with a cookie opened, until its handshake is complete. */
PURE_INLINE bool tcb_fast_opened(const struct tcb *tcb)
{
	return tcb->state == TCP_SYN_RECEIVED && !(tcb->options & TCB_ACTIVE_OPEN);
}

/* The server: what it grants to who asks; whether a SYN may open a connection with its data. */
void fastopen_cookie(const struct core *core, const struct tuple4 *tuple,
		     uint8_t cookie[FASTOPEN_COOKIE_BYTES]);
bool fastopen_lets_in(struct core *core, uint32_t service, const struct tuple4 *tuple,
		      const struct tcp_segment *segment);
void fastopen_begin(struct core *core, struct tcb *tcb, const struct tcp_segment *segment,
		    struct tcp_result *result);
/* An acknowledgement of our SYN-ACK; false when it acknowledges something else. */
bool fastopen_complete(struct core *core, struct tcb *tcb, const struct tcp_segment *segment);
void fastopen_over(struct core *core, const struct tcb *tcb, bool reset); /* it is reset; the block ends */

/* The client: adds the option to a SYN, returns how many bytes go with it; and what its answer tells. */
uint32_t fastopen_offer(struct core *core, struct tcb *tcb, struct tcp_segment *segment);
void fastopen_learn(struct core *core, const struct tcb *tcb, const struct tcp_segment *segment);
/* What we sent is lost again and again: a path that swallows all that follows data in a SYN is known by
 * connections of which nothing but the SYN was ever acknowledged (RFC 7413 section 4.1.3.1). */
void fastopen_doubt(struct core *core, const struct tcb *tcb);

#endif
