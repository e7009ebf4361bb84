/* statistics.h - what each worker shows of its counters to whoever adds them up.
 *
 * A worker counts in plain memory that nobody else reads, and copies it a hundred times a second, and before
 * it sleeps, to where anybody may read it. Each number is whole; all of one copy were true within a
 * microsecond. */
#ifndef C10M_RUN_STATISTICS_H
#define C10M_RUN_STATISTICS_H

#include "run/handover.h"
#include "stack/stack.h"

struct worker_stats {
	uint64_t loops;    /* rounds of the loop */
	uint64_t bursts;   /* rounds that received frames */
	uint64_t busy_ns;  /* time of rounds that received or sent */
	uint64_t spin_ns;  /* time of rounds that found nothing to do */
	uint64_t sleep_ns; /* time asleep */
	uint64_t sleeps;
	uint64_t short_sleeps; /* woken by a frame before the longest spin would have ended */
	uint64_t tx_blocked;   /* rounds that ended because the port had no room */
};

struct statistics {
	struct c10m_stats stats;
	struct counters counters;
	struct worker_stats worker;
	struct handover_stats handover;
};

/* By the worker's number (its stack's id). The worker's side; the first call of a run begins with nothing. */
void statistics_begin(uint32_t number);
void statistics_publish(uint32_t number, const struct statistics *statistics);
void statistics_end(uint32_t number);

/* Any thread. False: no worker has this number. */
bool statistics_read(uint32_t number, struct statistics *statistics);
/* Adds all workers up; returns how many there are. */
uint32_t statistics_sum(struct statistics *sum);
/* Adds one to a sum. */
void statistics_add(struct statistics *sum, const struct statistics *part);

#endif
