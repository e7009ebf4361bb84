/* owner.h - which of several workers a flow belongs to.
 *
 * A keyed hash of the four-tuple decides, the same for all workers: nobody outside can choose where
 * his flows go. Frames of no TCP flow (ARP, pings) belong to worker 0; an ICMP error belongs where the
 * flow that it quotes does. */
#ifndef C10M_FLOW_OWNER_H
#define C10M_FLOW_OWNER_H

#include "flow/tuple.h"

#define OWNER_WORKERS_MAX 64
#define OWNER_BY_HASH     UINT32_MAX

struct owner {
	struct siphash_key key; /* secret, and used for nothing else */
	uint32_t workers;
	uint32_t all; /* for tests: the worker that every flow belongs to; OWNER_BY_HASH: the hash decides */
};

/* all: OWNER_BY_HASH but in tests. */
void owner_init(struct owner *owner, const struct siphash_key *key, uint32_t workers, uint32_t all);

PURE_INLINE uint32_t owner_of(const struct owner *owner, const struct tuple4 *tuple)
{
	if (unlikely(owner->all != OWNER_BY_HASH))
		return owner->all;
	return (uint32_t)((tuple4_hash(&owner->key, tuple) >> 32) * owner->workers >> 32);
}

/* The worker that a frame belongs to. What cannot be parsed belongs `here`, where it is dropped. */
uint32_t owner_of_frame(const struct owner *owner, const uint8_t *frame, uint32_t bytes, uint32_t here);

#endif
