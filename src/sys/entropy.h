/* entropy.h - the machine's randomness: seeds and secrets of a worker. */
#ifndef C10M_SYS_ENTROPY_H
#define C10M_SYS_ENTROPY_H

#include "mem/arena.h"

/* So much the kernel gives whole, not in parts. */
#define SYS_ENTROPY_MAX 256
_Static_assert(sizeof(struct arena_secrets) <= SYS_ENTROPY_MAX, "drawn in one piece");

/* 0, or -errno: the machine has no randomness to give, or too much was asked for.
 * Waits early at boot only. */
int sys_entropy_fill(void *to, size_t bytes);
/* All secrets of an arena, each different. */
int sys_entropy_secrets(struct arena_secrets *secrets);

#endif
