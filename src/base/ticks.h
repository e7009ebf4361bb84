/* ticks.h - the two clocks of the core.
 *
 * now_us   64-bit microseconds since the arena's clock base: never wraps.
 * tick     32-bit milliseconds of the same clock: wraps after 49 days and is
 *          compared by difference, so a deadline lies at most 24 days ahead. */
#ifndef C10M_BASE_TICKS_H
#define C10M_BASE_TICKS_H

#include "base/compiler.h"

#define TICK_US          1000u
#define TICKS_PER_SECOND 1000u
#define TICKS_MAX_AHEAD  (24u * 24 * 3600 * TICKS_PER_SECOND)

PURE_INLINE uint32_t ticks_of_us(uint64_t now_us)
{
	return (uint32_t)(now_us / TICK_US);
}

/* A duration, rounded up: a timer never fires early. */
PURE_INLINE uint32_t ticks_round_up(uint64_t us)
{
	uint64_t ticks = (us + TICK_US - 1) / TICK_US;

	return ticks > TICKS_MAX_AHEAD ? TICKS_MAX_AHEAD : (uint32_t)ticks;
}

PURE_INLINE bool tick_reached(uint32_t deadline, uint32_t now)
{
	return (int32_t)(now - deadline) >= 0;
}

PURE_INLINE bool tick_before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

#endif
