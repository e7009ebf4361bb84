/* fanout.h - one message to many connections, a slice at a time.
 *
 * A fan-out walks over all blocks (a sweep) or over a group. It is queued while an older one works on the
 * same receivers; then it stands in the list of the active ones and takes its turn there; with
 * C10M_FANOUT_AWAIT it waits at last, in a third list, until its message is referred to no more. */
#ifndef C10M_SOCK_FANOUT_H
#define C10M_SOCK_FANOUT_H

#include "sock/group.h"

#define SWEEP_NONE UINT8_MAX

struct fanout {
	struct c10m_fanout_request request;
	struct c10m_fanout_result result;
	uint32_t next; /* in its list */
	uint32_t message, bytes;
	uint32_t acknowledged_before;
	uint32_t group;                /* POOL_NONE: a sweep */
	uint32_t cursors[GROUP_LISTS]; /* whose turn comes next in each list of the group */
	uint32_t stalled_tick;         /* since when no memory was free */
	uint8_t sweep;                 /* of core->sweeps; SWEEP_NONE: none yet */
	bool stalled, given_up;
};

#define FANOUT_STRIDE ALIGN_UP(sizeof(struct fanout), (size_t)CACHE_LINE)

/* Fan-outs go on: at most `most` connections are given their message. */
void fanout_slice(struct core *core, uint32_t most);
/* Whether fanout_slice has something to do now; or as soon as the clock moves. */
bool fanout_due(const struct core *core);
bool fanout_waits(const struct core *core);
/* When it has at the latest; false: not by time. */
bool fanout_deadline(const struct core *core, uint32_t *tick);
/* A member leaves its group: who would have come to it next comes to the one behind it. */
void fanout_step_over(struct core *core, uint32_t group, uint32_t index, uint32_t next);
/* Checks what must always hold. */
void fanout_verify(const struct core *core);

#endif
