/* arena.h - all memory of one worker, in one piece that any process can map anywhere.
 *
 * The header at its start holds what a successor needs to carry on: the layout's
 * hash, the secrets, the base of the clock. Whatever lies behind it is carved in
 * a fixed order from the configuration, and links by index, never by pointer. */
#ifndef C10M_MEM_ARENA_H
#define C10M_MEM_ARENA_H

#include "base/siphash.h"

#define ARENA_MAGIC     0x316172656e613163ULL /* "c1arena1" */
#define ARENA_ALIGN_MAX 4096                  /* the smallest page: what every mapping's base has */

/* Drawn at start from the machine's randomness, never leaves the process. */
struct arena_secrets {
	struct siphash_key flow;      /* flow table */
	struct siphash_key isn;       /* initial sequence numbers, RFC 6528 */
	struct siphash_key cookie;    /* SYN cookies */
	struct siphash_key timestamp; /* timestamp offsets, RFC 7323 section 5.4 */
	struct siphash_key port;      /* ephemeral ports, RFC 6056 */
	uint64_t random_state[2];     /* seed of the core's own generator */
	struct siphash_key fastopen;  /* cookies of TCP Fast Open; the same for all workers of a process */
};

struct arena_header {
	uint64_t magic;
	uint64_t layout_hash;   /* of struct sizes and configuration: a successor must agree */
	uint64_t bytes;         /* of the whole arena */
	uint64_t clock_base_ns; /* CLOCK_MONOTONIC at which now_us was 0 */
	uint64_t state_offset;  /* where the stack's own struct lies */
	struct arena_secrets secrets;
};

struct arena {
	uint8_t *base; /* the header stands here; at least 4096-aligned */
	size_t bytes;
	size_t used; /* carved so far */
};

/* Lays a new arena over zeroed memory; secrets are copied into the header. */
void arena_init(struct arena *arena, void *memory, size_t bytes, const struct arena_secrets *secrets,
		uint64_t clock_base_ns);
/* NULL when it does not fit. align: a power of two, ARENA_ALIGN_MAX at most. */
void *arena_carve(struct arena *arena, size_t bytes, size_t align);
struct arena_header *arena_header(const struct arena *arena);

/* FNV-1a over what a layout depends on; start with ARENA_HASH_START. */
#define ARENA_HASH_START 0xcbf29ce484222325ULL
uint64_t arena_hash(uint64_t hash, const void *data, size_t bytes);

#endif
