/* clock.c - what it costs to read the clock.
 * In: the clock itself.  Out: nanoseconds, and advice where it is slow.  Owns: nothing. */
#include "sys/clock.h"

#include <stdio.h>
#include <string.h>

#include "sys/text.h"

#define ROUNDS   8
#define READINGS 400

/* The best of some rounds: an interruption makes a round longer, nothing makes it shorter. */
uint32_t sys_clock_cost_ns(void)
{
	uint64_t best = UINT64_MAX;

	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t start = sys_now_ns(), end = start;

		for (unsigned i = 0; i < READINGS; i++)
			end = sys_now_ns();
		best = MIN_OF(best, (end - start) / READINGS);
	}
	return (uint32_t)MIN_OF(best, (uint64_t)UINT32_MAX);
}

void sys_clock_advice(uint32_t cost_ns, char *text, size_t room)
{
	char source[64] = "unknown";

	text[0] = 0;
	if (cost_ns <= SYS_CLOCK_SLOW_NS)
		return;
	sys_text_read("/sys/devices/system/clocksource/clocksource0/current_clocksource", source,
		      sizeof(source));
	source[strcspn(source, "\n")] = 0;
	snprintf(text, room,
		 "Reading the clock costs %u ns, since the clock source is %s: boot with "
		 "clocksource=tsc if the processor's counter is stable.",
		 cost_ns, source);
}
