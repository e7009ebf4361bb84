/* hugepages.h - the kernel's pools of huge pages: what is free, and room for more.
 *
 * Surplus pages are made when a mapping asks for them and vanish with it. The limit
 * on them is raised only while a mapping is made; a file lock on the limit keeps two
 * starting processes from putting back each other's value. */
#ifndef C10M_SYS_HUGEPAGES_H
#define C10M_SYS_HUGEPAGES_H

#include "base/compiler.h"

struct sys_huge_pool {
	uint64_t free;       /* of the pages that exist, promised ones included */
	uint64_t promised;   /* of the free: reserved for mappings that exist */
	uint64_t surplus;    /* of the existing: above what the administrator reserved */
	uint64_t overcommit; /* limit of surplus */
};

/* 0, or -errno; -ENOENT: the kernel knows no huge pages of this size. */
int sys_huge_pool_read(size_t page_bytes, struct sys_huge_pool *pool);
/* Pages that a new mapping can have without making any. */
uint64_t sys_huge_pool_ready(const struct sys_huge_pool *pool);

struct sys_huge_raise {
	int fd; /* holds the lock; -1: nothing was raised */
	uint64_t before, raised;
};

/* Raises the limit so that a mapping of `pages` can have those that are not ready made.
 * 0, or -errno (-EACCES: not root). */
int sys_huge_raise_begin(struct sys_huge_raise *raise, size_t page_bytes, uint64_t pages);
/* Puts the limit back unless somebody else has changed it since. */
void sys_huge_raise_end(struct sys_huge_raise *raise);

#endif
