/* jitter.h - how long the worker was kept from its work.
 *
 * The time from turn to turn is the worker's own work and whatever else the machine did with its processor.
 * What a thread has had of its processor the kernel knows (CLOCK_THREAD_CPUTIME_ID): the rest of a long turn
 * was taken away, by interrupts, by other threads, by a hypervisor that tells. Asking costs a system call, so
 * it is asked once a millisecond and behind each long turn. A sleep counts as far as it was too long. */
#ifndef C10M_LOAD_JITTER_H
#define C10M_LOAD_JITTER_H

#include "histogram.h"

struct jitter {
	uint64_t wall_us, cpu_us; /* read together, last */
	uint64_t turn_us;         /* when the last turn began */
	uint64_t watched_us;      /* from the first turn to the last */
	uint64_t taken_us;        /* of it taken away */
	struct histogram taken;   /* times taken away at once, from JITTER_LONG_US on */
	struct histogram turns;   /* the time from turn to turn */
};

#define JITTER_LONG_US 20

/* At the start of each turn. rest_until_us: how long the worker was allowed to sleep; 0: not at all. Who
 * wakes later than that was kept from its work, too. */
void jitter_turn(struct jitter *jitter, uint64_t now_us, uint64_t rest_until_us);
/* What a moment chosen at random meets: how long until the worker has its processor back. share: 0 to 1. */
uint64_t jitter_percentile(const struct jitter *jitter, double share);
void jitter_merge(struct jitter *sum, const struct jitter *part);

#endif
