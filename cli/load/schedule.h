/* schedule.h - when things are meant to happen: so many a second, evenly, whatever becomes of them.
 *
 * Open loop: who falls behind owes what was missed, and each thing keeps the time at which it was meant to
 * happen, so that latency counted from it shows every stall. */
#ifndef C10M_LOAD_SCHEDULE_H
#define C10M_LOAD_SCHEDULE_H

#include "base/compiler.h"

struct schedule {
	uint64_t start_us;
	uint64_t done;     /* things taken */
	double per_us;     /* 0: no schedule */
	double us_of_each; /* 1 / per_us */
};

PURE_INLINE void schedule_begin(struct schedule *schedule, uint64_t now_us, double per_second)
{
	*schedule = (struct schedule){.start_us = now_us,
				      .per_us = per_second / 1e6,
				      .us_of_each = per_second > 0 ? 1e6 / per_second : 0};
}

/* When the next one is meant to happen. */
PURE_INLINE uint64_t schedule_next_us(const struct schedule *schedule)
{
	return schedule->start_us + (uint64_t)((double)schedule->done * schedule->us_of_each);
}

/* How many are meant to have happened by now and have not. */
PURE_INLINE uint64_t schedule_owed(const struct schedule *schedule, uint64_t now_us)
{
	uint64_t meant;

	if (now_us < schedule->start_us)
		return 0;
	meant = (uint64_t)((double)(now_us - schedule->start_us) * schedule->per_us) + 1;
	return meant > schedule->done ? meant - schedule->done : 0;
}

/* Takes the next one: the time at which it was meant to happen. */
PURE_INLINE uint64_t schedule_take(struct schedule *schedule)
{
	uint64_t at_us = schedule_next_us(schedule);

	schedule->done++;
	return at_us;
}

#endif
