/* compiler.h - what the compiler offers beyond C17, under one name each. */
#ifndef C10M_BASE_COMPILER_H
#define C10M_BASE_COMPILER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CACHE_LINE 64

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define PREFETCH_READ(p)  __builtin_prefetch((p), 0, 3)
#define PREFETCH_WRITE(p) __builtin_prefetch((p), 1, 3)

#define CACHE_ALIGNED __attribute__((aligned(CACHE_LINE)))
#define PURE_INLINE   static inline __attribute__((always_inline))
#define NO_INLINE     __attribute__((noinline))

/* One round of a loop that waits for another processor. */
#if defined(__x86_64__) || defined(__i386__)
#define RELAX_PROCESSOR() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define RELAX_PROCESSOR() __asm__ volatile("yield")
#else
#define RELAX_PROCESSOR() __asm__ volatile("")
#endif

#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))

/* Rounds up to a power of two. */
#define ALIGN_UP(x, power_of_two) (((x) + ((power_of_two)-1)) & ~((power_of_two)-1))

#endif
