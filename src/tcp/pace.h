/* pace.h - output of large windows, spread over the round trip.
 *
 * tcb.paced says that it is: one bit beside what output looks at anyway, so that who is not paced pays
 * nothing. It needs an extension, which whoever has more than a chunk queued has. */
#ifndef C10M_TCP_PACE_H
#define C10M_TCP_PACE_H

#include "tcp/core.h"

size_t pacer_bytes(uint32_t extensions);
uint32_t pacer_slot(uint64_t us); /* the pacer's tick */
/* Whether the connection is to be paced from now on: to be asked after more than one segment was sent. */
void pace_consider(struct core *core, struct tcb *tcb);
/* While tcb.paced: whether a segment may go now. If not, the connection becomes ready when one may. */
bool pace_allows(struct core *core, struct tcb *tcb);
void pace_sent(struct core *core, struct tcb *tcb, uint32_t end, uint32_t bytes, bool again);
uint32_t pace_frame_bytes(const struct core *core, const struct tcb *tcb); /* for ports that cut frames */
void pace_expire(struct core *core);
uint64_t pace_deadline_us(const struct core *core);   /* UINT64_MAX: none */
void pace_rebuild(struct core *core, uint32_t index); /* the pacer has been cleared */

#endif
