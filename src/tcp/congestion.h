/* congestion.h - how much may be in flight: one small interface (c10m/congestion.h), one file an algorithm.
 *
 * Input and timers say what happened; the algorithm of the connection answers through a copy of what it may
 * see, so that one of an application's own can spoil nothing. */
#ifndef C10M_TCP_CONGESTION_H
#define C10M_TCP_CONGESTION_H

#include "c10m/congestion.h"
#include "tcp/core.h"

extern const struct c10m_congestion_control congestion_cubic, congestion_newreno, congestion_dctcp,
	congestion_bbr;

/* NULL when there is none of that name; no name: the default. */
const struct c10m_congestion_control *congestion_find(const char *name);
bool congestion_set(struct tcb *tcb, const char *name); /* of one connection; false: there is none */
const struct c10m_congestion_control *congestion_of(const struct core *core, const struct tcb *tcb);

#define CONGESTION_MODEL \
	0x80000000u /* flags: model.c is told, and what follows is what is left without a model */

#define SSTHRESH_UNKNOWN (UINT32_MAX >> 1) /* nothing was ever lost */
/* One acknowledgement lets the window grow by no more in slow start, so that stretched ones are no loss and
 * whoever splits his gains nothing (RFC 3465, RFC 9406 section 4.2). */
#define ABC_SEGMENTS     8u

/* snd_una has moved by so many bytes; rtt_us: that took so long, 0 when it is not known. */
void congestion_acked(struct core *core, struct tcb *tcb, uint32_t bytes, uint32_t rtt_us);
void congestion_loss(struct core *core, struct tcb *tcb);
void congestion_timeout(struct core *core, struct tcb *tcb, bool first);
void congestion_idle(struct core *core, struct tcb *tcb);
void congestion_undone(struct core *core, struct tcb *tcb); /* what was taken for a loss was none */
/* So many bytes were acknowledged with a mark; first: of a window. */
void congestion_marked(struct core *core, struct tcb *tcb, uint32_t bytes, bool first);

/* --- slow_start.c: by how many bytes of those acknowledged the first slow start may grow (RFC 9406) */
uint32_t slow_start_acked(struct core *core, struct tcb *tcb, uint32_t bytes, uint32_t rtt_us);

#endif
