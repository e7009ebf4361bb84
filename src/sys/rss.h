/* rss.h - how a network card spreads TCP over its receive queues, where it tells. */
#ifndef C10M_SYS_RSS_H
#define C10M_SYS_RSS_H

#include "base/compiler.h"

#define SYS_RSS_KEY_BYTES 64
#define SYS_RSS_ENTRIES   1024

struct sys_rss {
	uint32_t key_bytes, entries; /* entries: a power of two */
	uint8_t key[SYS_RSS_KEY_BYTES];
	uint32_t queues[SYS_RSS_ENTRIES]; /* by the low bits of the hash */
};

/* 0: TCP over IPv4 is spread by the Toeplitz hash of addresses and ports, and this table. -EOPNOTSUPP: it is
 * not, or nobody knows. Another negative errno: the kernel cannot be asked. */
int sys_rss_read(const char *interface, struct sys_rss *rss);

#endif
