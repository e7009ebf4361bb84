/* congestion.h - how much may be in flight: one small interface, one file an algorithm.
 *
 * Called by input and timers with the connection's block; an algorithm changes cwnd,
 * ssthresh and its own words in `algorithm`, nothing else. */
#ifndef C10M_TCP_CONGESTION_H
#define C10M_TCP_CONGESTION_H

#include "tcp/tcb.h"

struct congestion_control {
	const char *name;
	void (*acked)(struct tcb *tcb, uint32_t bytes); /* new data acknowledged, not in recovery */
	void (*loss)(struct tcb *tcb, uint32_t flight); /* fast retransmit: sets ssthresh and cwnd */
	void (*timeout)(struct tcb *tcb, uint32_t flight, bool first); /* retransmission timeout */
};

extern const struct congestion_control congestion_newreno;
/* NULL when there is none of that name. */
const struct congestion_control *congestion_find(const char *name);

#endif
