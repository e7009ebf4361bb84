/* entropy.h - the machine's randomness: seeds and secrets of a worker. */
#ifndef C10M_SYS_ENTROPY_H
#define C10M_SYS_ENTROPY_H

#include "mem/arena.h"

/* 0, or -errno: the machine has no randomness to give. Waits early at boot only. */
int sys_entropy_fill(void *to, size_t bytes);
/* All secrets of an arena, each different. */
int sys_entropy_secrets(struct arena_secrets *secrets);

#endif
