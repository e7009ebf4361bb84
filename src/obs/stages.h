/* stages.h - where a burst's time goes: cycles for each stage of rx.c and tx.c.
 * Off by default, and then it costs nothing; -Dstage_cycles=true compiles it in, and `c10m bench stack`
 * tells. The time of a stage ends where the next begins: what is between two of them belongs to the earlier.
 */
#ifndef C10M_OBS_STAGES_H
#define C10M_OBS_STAGES_H

#include "base/cycles.h"

#define STAGES(X) \
	X(OUTSIDE, "outside") \
	X(PARSE, "parse and verify") \
	X(PROBE, "probe the table") \
	X(LOOK_AHEAD, "look into blocks") \
	X(PROCESS, "process") \
	X(TIMERS, "timers") \
	X(OUTPUT, "output")

#define STAGE_ENUM(name, text) STAGE_##name,
enum stage { STAGES(STAGE_ENUM) STAGE_COUNT };
#undef STAGE_ENUM

struct stages {
	uint64_t since; /* the count when the current stage began */
	enum stage current;
	uint64_t cycles[STAGE_COUNT], visits[STAGE_COUNT];
};

/* The stage at hand ends, another begins. */
PURE_INLINE void stage_begin(struct stages *stages, enum stage stage)
{
	if (STAGE_CYCLES) {
		uint64_t now = cycles_now();

		stages->cycles[stages->current] += now - stages->since;
		stages->visits[stages->current]++;
		stages->since = now;
		stages->current = stage;
	}
}

extern const char *const stage_names[STAGE_COUNT];

#endif
