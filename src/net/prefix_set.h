/* prefix_set.h - which addresses a list of prefixes lets in: the longest prefix decides.
 *
 * The prefixes are cut into ranges of addresses that are answered alike. Neighbouring ranges are answered
 * differently, so a range is nothing but its first address, and its place says allowed or denied. They stand
 * sorted, and above them every 16th, 256th and so on, in lines of 16: a lookup reads one cache line a level,
 * four for 32,000 prefixes. The ranges of IPv6 would have wider keys and be no different otherwise.
 *
 * Invariants: the first range begins at address 0; the ranges ascend. */
#ifndef C10M_NET_PREFIX_SET_H
#define C10M_NET_PREFIX_SET_H

#include "base/check.h"

#define PREFIX_FANOUT    16
#define PREFIX_LEVELS    6
#define PREFIX_RULES_MAX (1u << 20)
#define PREFIX_RANGES(n) (2u * (n) + 1) /* that n rules make at most */

struct prefix_set {
	uint32_t *levels[PREFIX_LEVELS]; /* [0]: the ranges; above: every 16th of the level below */
	uint32_t capacity, count;        /* ranges */
	uint32_t level_count;            /* that these ranges need */
	bool first_allowed; /* the answer for range 0; that for range i is the same when i is even */
};

/* Sorts as the builder wants it: by address, then the shorter first, then allowed before denied. */
PURE_INLINE uint64_t prefix_rule(uint32_t address, uint32_t bits, bool allow)
{
	return (uint64_t)address << 32 | bits << 1 | !allow;
}

/* Bytes for the set of so many rules. */
size_t prefix_set_bytes(uint32_t rules);
/* memory: cache-line aligned. The set lets everybody in. */
void prefix_set_init(struct prefix_set *set, void *memory, uint32_t rules);
/* Builds the set anew; the array is sorted. Of equal prefixes the denied one counts. Who stands in no prefix
 * is let in when others_allowed. No more rules than it was made for, none with bits behind its length. */
void prefix_set_build(struct prefix_set *set, uint64_t *rules, uint32_t count, bool others_allowed);
bool prefix_set_allows(const struct prefix_set *set, uint32_t address);

#endif
