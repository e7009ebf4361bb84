/* clock.h - the machine's clock, for those who hand the time to the core.
 *
 * CLOCK_MONOTONIC through the vDSO: 21 ns where rdtsc costs 9 (measured), read
 * once a burst of some microseconds. Reading the counter directly would gain
 * less than 0.5% and drift away from every other process's clock. */
#ifndef C10M_SYS_CLOCK_H
#define C10M_SYS_CLOCK_H

#include <time.h>

#include "base/compiler.h"

PURE_INLINE uint64_t sys_now_ns(void)
{
	struct timespec now;

	/* Cannot fail: the clock exists on every Linux, the pointer is valid. */
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Above this the clock source has no vDSO and each reading is a system call. */
#define SYS_CLOCK_SLOW_NS 100

/* What one reading costs, measured now; takes about 0.1 ms. */
uint32_t sys_clock_cost_ns(void);
/* One sentence when the clock is slow, naming the clock source and what to do; else "". */
void sys_clock_advice(uint32_t cost_ns, char *text, size_t room);

#endif
