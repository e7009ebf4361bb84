/* congestion.h - how much may be in flight: one small interface (c10m/congestion.h), one file an algorithm.
 *
 * Input and timers say what happened; the algorithm of the connection answers through a copy of what it may
 * see, so that one of an application's own can spoil nothing. */
#ifndef C10M_TCP_CONGESTION_H
#define C10M_TCP_CONGESTION_H

#include "c10m/congestion.h"
#include "tcp/core.h"

extern const struct c10m_congestion_control congestion_cubic, congestion_newreno;

/* NULL when there is none of that name; no name: the default. */
const struct c10m_congestion_control *congestion_find(const char *name);
bool congestion_set(struct tcb *tcb, const char *name); /* of one connection; false: there is none */
const struct c10m_congestion_control *congestion_of(const struct core *core, const struct tcb *tcb);

/* snd_una has moved by so many bytes. */
void congestion_acked(struct core *core, struct tcb *tcb, uint32_t bytes);
void congestion_loss(struct core *core, struct tcb *tcb);
void congestion_timeout(struct core *core, struct tcb *tcb, bool first);
void congestion_idle(struct core *core, struct tcb *tcb);

#endif
