/* cycles.h - the processor's own counter, for measuring short stretches of code: what it counts a second
 * depends on the machine. Compiled in by -Dstage_cycles=true alone: without it the core reads no clock. */
#ifndef C10M_BASE_CYCLES_H
#define C10M_BASE_CYCLES_H

#include "base/compiler.h"

#ifdef C10M_STAGE_CYCLES
#define STAGE_CYCLES 1
#if defined(__x86_64__)
#define cycles_now() __builtin_ia32_rdtsc()
#elif defined(__aarch64__)
PURE_INLINE uint64_t cycles_now(void)
{
	uint64_t count;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(count));
	return count;
}
#else
#error "this processor has no counter that is known here: leave stage_cycles off"
#endif
#else
#define STAGE_CYCLES 0
#define cycles_now() 0
#endif

#endif
