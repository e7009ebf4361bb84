/* table.h - from a hashed four-tuple to a 32-bit flow reference.
 *
 * Buckets of one cache line: ten 16-bit tags, ten references, and a note of what
 * overflowed. An entry lives in its first bucket if there is room, else in its
 * second, found from the first and the tag alone (second = (mix(tag) - first) mod
 * buckets, its own inverse), so that entries can be moved without their hash.
 * The size is fixed at start: there is no rehash, hence no pause. */
#ifndef C10M_FLOW_TABLE_H
#define C10M_FLOW_TABLE_H

#include "base/check.h"
#include "base/simd.h"

#define FLOW_NONE           UINT32_MAX
#define FLOW_BUCKET_ENTRIES 10
#define FLOW_CANDIDATES_MAX (2 * FLOW_BUCKET_ENTRIES)

/* The two top bits of a reference name its kind, the other 30 are a pool index.
 * FLOW_NONE is never stored: index 2^30-1 of kind 3 does not exist. */
enum flow_kind {
	FLOW_BLOCK,     /* a connection's block */
	FLOW_HALF_OPEN, /* a compact entry in SYN_RECEIVED */
	FLOW_TIME_WAIT, /* a compact entry in TIME_WAIT */
	FLOW_BLOCK6,    /* an IPv6 block: its place */
};

#define FLOW_INDEX_MAX ((1u << 30) - 2)

PURE_INLINE uint32_t flow_ref(enum flow_kind kind, uint32_t index)
{
	CHECK(index <= FLOW_INDEX_MAX);
	return (uint32_t)kind << 30 | index;
}

PURE_INLINE enum flow_kind flow_ref_kind(uint32_t ref)
{
	return (enum flow_kind)(ref >> 30);
}

PURE_INLINE uint32_t flow_ref_index(uint32_t ref)
{
	return ref & ((1u << 30) - 1);
}

/* Invariants: tag 0 means empty; a bit of guests is set only where an entry lives in its
 * second bucket; overflow counts exactly the entries whose first bucket is this one and
 * which live elsewhere, and never exceeds FLOW_OVERFLOW_MAX: what would go beyond it
 * is refused (only all entries of a table in one bucket could come near). */
struct flow_bucket {
	uint16_t tags[FLOW_BUCKET_ENTRIES];
	uint16_t overflow;
	uint16_t guests;
	uint32_t refs[FLOW_BUCKET_ENTRIES];
} CACHE_ALIGNED;

#define FLOW_OVERFLOW_MAX UINT16_MAX

_Static_assert(sizeof(struct flow_bucket) == CACHE_LINE, "a lookup reads one line");
_Static_assert(FLOW_BUCKET_ENTRIES == SIMD_TAGS, "all tags of a bucket are compared at once");

struct flow_table {
	struct flow_bucket *buckets;
	uint32_t bucket_count;
	uint32_t capacity; /* entries that are promised to fit (stated load) */
	uint32_t live;
	uint64_t moves; /* entries moved to make room */
};

/* Bytes for `capacity` entries at the stated load of 80%. */
size_t flow_table_bytes(uint32_t capacity);
/* memory: cache-line aligned; it is cleared here. */
void flow_table_init(struct flow_table *table, void *memory, uint32_t capacity);

/* The bucket comes from the high half of the hash, the tag from the low half. */
PURE_INLINE uint32_t flow_first_bucket(const struct flow_table *table, uint64_t hash)
{
	return (uint32_t)((hash >> 32) * table->bucket_count >> 32);
}

PURE_INLINE uint16_t flow_tag(uint64_t hash)
{
	uint16_t tag = (uint16_t)hash;

	return tag ? tag : 1;
}

/* From either bucket of an entry to its other one; both may be the same. */
PURE_INLINE uint32_t flow_other_bucket(const struct flow_table *table, uint32_t bucket, uint16_t tag)
{
	uint32_t spread = tag * 0x9e3779b1u; /* 2^32 over the golden ratio: neighbours end up far apart */
	uint32_t sum = (uint32_t)((uint64_t)spread * table->bucket_count >> 32);

	return sum >= bucket ? sum - bucket : sum + table->bucket_count - bucket;
}

/* Prefetches the bucket that a lookup of this hash reads first. */
PURE_INLINE void flow_table_prefetch(const struct flow_table *table, uint64_t hash)
{
	PREFETCH_READ(&table->buckets[flow_first_bucket(table, hash)]);
}

/* For a stage between the two: prefetches the second bucket if the lookup will read it. */
PURE_INLINE void flow_table_prefetch_second(const struct flow_table *table, uint64_t hash)
{
	uint32_t first = flow_first_bucket(table, hash);

	if (unlikely(table->buckets[first].overflow))
		PREFETCH_READ(&table->buckets[flow_other_bucket(table, first, flow_tag(hash))]);
}

/* Appends the references of the matching slots. None or one is so much the rule that
 * telling these two apart takes no branch. */
PURE_INLINE uint32_t flow_bucket_collect(const struct flow_bucket *bucket, uint32_t match, uint32_t *refs)
{
	uint32_t count = match != 0;

	refs[0] = bucket->refs[__builtin_ctz(match | 1u << (FLOW_BUCKET_ENTRIES - 1))];
	for (match &= match - count; unlikely(match); match &= match - 1)
		refs[count++] = bucket->refs[__builtin_ctz(match)];
	return count;
}

/* The references in the first bucket whose tag agrees with the hash: at most FLOW_BUCKET_ENTRIES, almost
 * always none or one. refs[] beyond these is undefined. More than nine of ten entries are found here. */
PURE_INLINE uint32_t flow_table_first(const struct flow_table *table, uint64_t hash, uint32_t *refs)
{
	const struct flow_bucket *bucket = &table->buckets[flow_first_bucket(table, hash)];
	uint32_t match = simd_match_tags(bucket->tags, flow_tag(hash)) & ~(uint32_t)bucket->guests;

	return flow_bucket_collect(bucket, match, refs);
}

/* The same of the second bucket, which is read only when something overflowed into it. */
PURE_INLINE uint32_t flow_table_second(const struct flow_table *table, uint64_t hash, uint32_t *refs)
{
	uint32_t first = flow_first_bucket(table, hash), match;
	const struct flow_bucket *bucket;

	if (likely(!table->buckets[first].overflow))
		return 0;
	bucket = &table->buckets[flow_other_bucket(table, first, flow_tag(hash))];
	match = simd_match_tags(bucket->tags, flow_tag(hash)) & bucket->guests;
	return flow_bucket_collect(bucket, match, refs);
}

/* Both together, at most FLOW_CANDIDATES_MAX: the caller compares tuples. */
PURE_INLINE uint32_t flow_table_candidates(const struct flow_table *table, uint64_t hash, uint32_t *refs)
{
	uint32_t count = flow_table_first(table, hash, refs);

	return count + flow_table_second(table, hash, refs + count);
}

/* False when the table cannot take it (both buckets full and no move found, or capacity
 * reached). The caller has checked that the tuple is not there yet. */
bool flow_table_insert(struct flow_table *table, uint64_t hash, uint32_t ref);
/* False when it is not there. */
bool flow_table_remove(struct flow_table *table, uint64_t hash, uint32_t ref);
/* Puts another reference in the place of one that is there (half-open becomes a block). */
bool flow_table_replace(struct flow_table *table, uint64_t hash, uint32_t old_ref, uint32_t new_ref);

/* Walks the whole table: whether all invariants hold. For tests: it changes counts
 * while it works and leaves them as they were. */
bool flow_table_verify(struct flow_table *table);

#endif
