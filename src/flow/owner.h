/* owner.h - which of several workers a flow belongs to.
 *
 * A keyed hash of the four-tuple decides, the same for all workers: nobody outside can choose where
 * his flows go. Where the card tells how it spreads flows over its queues, its hash and its table decide, so
 * that they arrive where they belong. Frames of no TCP flow (ARP, pings) belong to worker 0; an ICMP error
 * belongs where the flow that it quotes does. */
#ifndef C10M_FLOW_OWNER_H
#define C10M_FLOW_OWNER_H

#include "flow/tuple.h"

#define OWNER_WORKERS_MAX 64
#define OWNER_BY_HASH     UINT32_MAX
#define OWNER_TUPLE_BYTES 12
#define OWNER_RSS_ENTRIES 1024

/* A card's receive side scaling: the Toeplitz hash under its key, as a sum of one entry for each byte of the
 * tuple, and the worker of each value of the hash's low bits. */
struct owner_rss {
	uint32_t tables[OWNER_TUPLE_BYTES][256];
	uint32_t entries; /* a power of two */
	uint8_t workers[OWNER_RSS_ENTRIES];
};

struct owner {
	struct siphash_key key; /* secret, and used for nothing else */
	uint32_t workers;
	uint32_t all; /* for tests: the worker that every flow belongs to; OWNER_BY_HASH: the hash decides */
	const struct owner_rss *rss; /* NULL: the keyed hash decides */
};

/* key: 16 bytes or more; entries: a power of two. */
void owner_rss_init(struct owner_rss *rss, const uint8_t *key, uint32_t key_bytes, uint32_t entries);
/* Of a segment from the remote end to ours. */
uint32_t owner_rss_hash(const struct owner_rss *rss, const struct tuple4 *tuple);

/* all: OWNER_BY_HASH but in tests. */
void owner_init(struct owner *owner, const struct siphash_key *key, uint32_t workers, uint32_t all);

PURE_INLINE uint32_t owner_of(const struct owner *owner, const struct tuple4 *tuple)
{
	if (unlikely(owner->all != OWNER_BY_HASH))
		return owner->all;
	if (owner->rss)
		return owner->rss->workers[owner_rss_hash(owner->rss, tuple) & (owner->rss->entries - 1)];
	return (uint32_t)((tuple4_hash(&owner->key, tuple) >> 32) * owner->workers >> 32);
}

/* The worker that a frame belongs to. What cannot be parsed belongs `here`, where it is dropped. */
uint32_t owner_of_frame(const struct owner *owner, const uint8_t *frame, uint32_t bytes, uint32_t here);

#endif
