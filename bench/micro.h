/* micro.h - what the micro benchmarks share: huge memory, a clock, random numbers. */
#ifndef C10M_BENCH_MICRO_H
#define C10M_BENCH_MICRO_H

#include "base/compiler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define MICRO_HUGE_BYTES ((size_t)2 << 20)

/* Anonymous memory that asks for transparent huge pages, touched. Says how it went on
 * standard error when some of it is not in huge pages. */
static inline void *micro_map(size_t bytes)
{
	size_t whole = ALIGN_UP(bytes, MICRO_HUGE_BYTES);
	char *memory = mmap(NULL, whole + MICRO_HUGE_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *aligned = (char *)ALIGN_UP((uintptr_t)memory, MICRO_HUGE_BYTES);

	if (memory == MAP_FAILED) {
		fprintf(stderr, "no %zu bytes of memory\n", bytes);
		exit(1);
	}
	if (madvise(aligned, whole, MADV_HUGEPAGE))
		fprintf(stderr, "no transparent huge pages: expect figures about twice as high\n");
	memset(aligned, 0, whole);
	return aligned;
}

static inline uint64_t micro_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A bijection of 64-bit numbers that looks random: the nth key without a list of keys. */
PURE_INLINE uint64_t micro_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

/* Durations of single calls: how many took less than each power of two of nanoseconds. */
struct micro_pauses {
	uint64_t counts[64];
	uint64_t calls, worst_ns;
};

static inline void micro_pause_add(struct micro_pauses *pauses, uint64_t ns)
{
	pauses->counts[64 - __builtin_clzll(ns | 1)]++;
	pauses->calls++;
	pauses->worst_ns = MAX_OF(pauses->worst_ns, ns);
}

/* The power of two below which all calls but one in `one_in` stayed. */
static inline uint64_t micro_pause_below(const struct micro_pauses *pauses, uint64_t one_in)
{
	uint64_t above = pauses->calls;
	unsigned bits = 0;

	while (bits < 63 && above > pauses->calls / one_in)
		above -= pauses->counts[bits++];
	return 1ull << (bits ? bits - 1 : 0);
}

static inline void micro_pause_print(const char *what, const struct micro_pauses *pauses)
{
	printf("%-44s %9lu ns worst of %lu calls; all but 1 in 10^3 < %lu, 10^5 < %lu, 10^6 < %lu ns\n", what,
	       pauses->worst_ns, pauses->calls, micro_pause_below(pauses, 1000),
	       micro_pause_below(pauses, 100000), micro_pause_below(pauses, 1000000));
}

#endif
