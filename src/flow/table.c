/* table.c - filling, emptying and checking the flow table.
 * In: flow stage, tcp, sock (insert, replace, remove).  Owns: the buckets.
 * Lookup is in the header: it is inlined into the stages. */
#include "flow/table.h"

#include <string.h>

/* The stated load: 8 of 10 entries of a bucket. The spare buckets keep the promise for
 * tables of a few entries, where chance deviates most from the mean. */
#define FLOW_BUCKET_LOAD   8
#define FLOW_SPARE_BUCKETS 16
#define FLOW_CAPACITY_MAX  (1u << 31)

/* A search for room looks at this many full buckets: both of the entry, the 20 that
 * their entries could move to, and some of the next round. At 80% load the first
 * round fails less than once in a million searches. */
#define FLOW_SEARCH_BUCKETS 62

struct flow_place {
	struct flow_bucket *bucket; /* NULL: nowhere */
	uint32_t slot;
};

struct flow_step {
	uint32_t bucket;
	uint8_t parent; /* the step whose entry in `slot` would move to this bucket */
	uint8_t slot;
};

struct flow_search {
	struct flow_step steps[FLOW_SEARCH_BUCKETS];
	uint32_t step_count;
	/* What was found: the entry in `slot` of this step's bucket can move to `target`. */
	uint32_t step, slot;
	uint32_t target, target_slot;
};

static uint32_t flow_bucket_count(uint32_t capacity)
{
	CHECK(capacity <= FLOW_CAPACITY_MAX);
	return capacity / FLOW_BUCKET_LOAD + FLOW_SPARE_BUCKETS;
}

size_t flow_table_bytes(uint32_t capacity)
{
	return (size_t)flow_bucket_count(capacity) * sizeof(struct flow_bucket);
}

void flow_table_init(struct flow_table *table, void *memory, uint32_t capacity)
{
	CHECK((uintptr_t)memory % CACHE_LINE == 0);
	*table = (struct flow_table){
		.buckets = memory,
		.bucket_count = flow_bucket_count(capacity),
		.capacity = capacity,
	};
	memset(memory, 0, flow_table_bytes(capacity));
}

/* Zero when the bucket is full. */
static uint32_t bucket_free_slots(const struct flow_bucket *bucket)
{
	return simd_match_tags(bucket->tags, 0);
}

static void bucket_put(struct flow_bucket *bucket, uint32_t slot, uint16_t tag, uint32_t ref, bool guest)
{
	CHECK(bucket->tags[slot] == 0);
	bucket->tags[slot] = tag;
	bucket->refs[slot] = ref;
	bucket->guests = (uint16_t)(bucket->guests | (uint32_t)guest << slot);
}

static void bucket_clear(struct flow_bucket *bucket, uint32_t slot)
{
	bucket->tags[slot] = 0;
	bucket->guests = (uint16_t)(bucket->guests & ~(1u << slot));
}

static bool bucket_is_guest(const struct flow_bucket *bucket, uint32_t slot)
{
	return bucket->guests >> slot & 1;
}

/* An entry leaves its first bucket, or one that left comes back or goes away. */
static void bucket_add_overflow(struct flow_bucket *bucket)
{
	CHECK(bucket->overflow < FLOW_OVERFLOW_MAX);
	bucket->overflow++;
}

static void bucket_drop_overflow(struct flow_bucket *bucket)
{
	CHECK(bucket->overflow > 0);
	bucket->overflow--;
}

/* Moves an entry to its other bucket. */
static void table_move(struct flow_table *table, uint32_t from, uint32_t slot, uint32_t to, uint32_t to_slot)
{
	struct flow_bucket *source = &table->buckets[from], *target = &table->buckets[to];
	uint16_t tag = source->tags[slot];
	bool goes_home = bucket_is_guest(source, slot);

	CHECK(tag != 0 && flow_other_bucket(table, from, tag) == to);
	if (goes_home)
		bucket_drop_overflow(target);
	else
		bucket_add_overflow(source);
	bucket_put(target, to_slot, tag, source->refs[slot], !goes_home);
	bucket_clear(source, slot);
	table->moves++;
}

/* Lets guests of a bucket move to their first buckets as far as these have room. Without
 * this, entries that come and go for long at full load leave 22% of them away from home and
 * 70% of the lookups with two buckets to read; with it 8% and 30% (6% and 22% after filling). */
static NO_INLINE void table_send_home(struct flow_table *table, uint32_t from)
{
	struct flow_bucket *bucket = &table->buckets[from];
	uint32_t homes[FLOW_BUCKET_ENTRIES], guests, free_slots;

	for (guests = bucket->guests; guests; guests &= guests - 1) {
		uint32_t slot = (uint32_t)__builtin_ctz(guests);

		homes[slot] = flow_other_bucket(table, from, bucket->tags[slot]);
		PREFETCH_WRITE(&table->buckets[homes[slot]]);
	}
	for (guests = bucket->guests; guests; guests &= guests - 1) {
		uint32_t slot = (uint32_t)__builtin_ctz(guests);

		free_slots = bucket_free_slots(&table->buckets[homes[slot]]);
		if (free_slots)
			table_move(table, from, slot, homes[slot], (uint32_t)__builtin_ctz(free_slots));
	}
}

/* Looks where the entries of one full bucket could go: true when one of their other
 * buckets has room, else these buckets join the search. */
static bool search_expand(const struct flow_table *table, struct flow_search *search, uint32_t step)
{
	uint32_t from = search->steps[step].bucket, others[FLOW_BUCKET_ENTRIES], free_slots;
	const struct flow_bucket *bucket = &table->buckets[from];

	for (uint32_t slot = 0; slot < FLOW_BUCKET_ENTRIES; slot++) {
		others[slot] = flow_other_bucket(table, from, bucket->tags[slot]);
		PREFETCH_WRITE(&table->buckets[others[slot]]);
	}
	for (uint32_t slot = 0; slot < FLOW_BUCKET_ENTRIES; slot++) {
		if (others[slot] == from)
			continue;
		if (!bucket_is_guest(bucket, slot) && bucket->overflow == FLOW_OVERFLOW_MAX)
			continue;
		free_slots = bucket_free_slots(&table->buckets[others[slot]]);
		if (free_slots) {
			search->step = step;
			search->slot = slot;
			search->target = others[slot];
			search->target_slot = (uint32_t)__builtin_ctz(free_slots);
			return true;
		}
		if (search->step_count < FLOW_SEARCH_BUCKETS)
			search->steps[search->step_count++] = (struct flow_step){
				.bucket = others[slot],
				.parent = (uint8_t)step,
				.slot = (uint8_t)slot,
			};
	}
	return false;
}

/* Moves the entries of the path that was found, the last one first; returns the place in
 * one of the two starting buckets that this frees. Breadth first means a shortest path,
 * so no bucket is on it twice and each move finds what the search saw. */
static struct flow_place search_apply(struct flow_table *table, const struct flow_search *search,
				      uint32_t root_count)
{
	uint32_t step = search->step, slot = search->slot;
	uint32_t target = search->target, target_slot = search->target_slot;

	for (;;) {
		uint32_t from = search->steps[step].bucket;

		table_move(table, from, slot, target, target_slot);
		if (step < root_count)
			return (struct flow_place){&table->buckets[from], slot};
		target = from;
		target_slot = slot;
		slot = search->steps[step].slot;
		step = search->steps[step].parent;
	}
}

/* Both buckets are full: moves entries until one of them has a free place. */
static NO_INLINE struct flow_place table_make_room(struct flow_table *table, uint32_t first, uint32_t second)
{
	struct flow_search search = {.step_count = 1};
	uint32_t root_count = 1;

	search.steps[0].bucket = first;
	if (second != first && table->buckets[first].overflow < FLOW_OVERFLOW_MAX) {
		search.steps[1].bucket = second;
		search.step_count = root_count = 2;
	}
	for (uint32_t step = 0; step < search.step_count; step++)
		if (search_expand(table, &search, step))
			return search_apply(table, &search, root_count);
	return (struct flow_place){NULL, 0};
}

static struct flow_place table_room(struct flow_table *table, uint32_t first, uint16_t tag)
{
	struct flow_bucket *bucket = &table->buckets[first];
	uint32_t free_slots = bucket_free_slots(bucket), second;

	if (likely(free_slots))
		return (struct flow_place){bucket, (uint32_t)__builtin_ctz(free_slots)};
	second = flow_other_bucket(table, first, tag);
	free_slots = bucket_free_slots(&table->buckets[second]);
	if (likely(free_slots && bucket->overflow < FLOW_OVERFLOW_MAX))
		return (struct flow_place){&table->buckets[second], (uint32_t)__builtin_ctz(free_slots)};
	return table_make_room(table, first, second);
}

bool flow_table_insert(struct flow_table *table, uint64_t hash, uint32_t ref)
{
	uint32_t first = flow_first_bucket(table, hash);
	uint16_t tag = flow_tag(hash);
	struct flow_place place;
	bool guest;

	CHECK(ref != FLOW_NONE);
	if (unlikely(table->live >= table->capacity))
		return false;
	if (table->buckets[first].guests)
		table_send_home(table, first);
	place = table_room(table, first, tag);
	if (unlikely(!place.bucket))
		return false;
	guest = place.bucket != &table->buckets[first];
	if (guest)
		bucket_add_overflow(&table->buckets[first]);
	bucket_put(place.bucket, place.slot, tag, ref, guest);
	table->live++;
	return true;
}

static struct flow_place bucket_find(struct flow_bucket *bucket, uint32_t match, uint32_t ref)
{
	for (; match; match &= match - 1) {
		uint32_t slot = (uint32_t)__builtin_ctz(match);

		if (bucket->refs[slot] == ref)
			return (struct flow_place){bucket, slot};
	}
	return (struct flow_place){NULL, 0};
}

static struct flow_place table_find(const struct flow_table *table, uint64_t hash, uint32_t ref)
{
	uint32_t first = flow_first_bucket(table, hash);
	struct flow_bucket *bucket = &table->buckets[first];
	uint16_t tag = flow_tag(hash);
	uint32_t match = simd_match_tags(bucket->tags, tag) & ~(uint32_t)bucket->guests;
	struct flow_place place = bucket_find(bucket, match, ref);

	if (place.bucket || !bucket->overflow)
		return place;
	bucket = &table->buckets[flow_other_bucket(table, first, tag)];
	return bucket_find(bucket, simd_match_tags(bucket->tags, tag) & bucket->guests, ref);
}

bool flow_table_remove(struct flow_table *table, uint64_t hash, uint32_t ref)
{
	struct flow_place place = table_find(table, hash, ref);

	if (!place.bucket)
		return false;
	if (bucket_is_guest(place.bucket, place.slot))
		bucket_drop_overflow(&table->buckets[flow_first_bucket(table, hash)]);
	bucket_clear(place.bucket, place.slot);
	CHECK(table->live > 0);
	table->live--;
	return true;
}

bool flow_table_replace(struct flow_table *table, uint64_t hash, uint32_t old_ref, uint32_t new_ref)
{
	struct flow_place place = table_find(table, hash, old_ref);

	CHECK(new_ref != FLOW_NONE);
	if (!place.bucket)
		return false;
	place.bucket->refs[place.slot] = new_ref;
	return true;
}

/* Adds `sign` to the overflow count of each guest's first bucket, modulo 2^16. */
static void verify_shift_overflow(struct flow_table *table, uint16_t sign)
{
	for (uint32_t i = 0; i < table->bucket_count; i++) {
		const struct flow_bucket *bucket = &table->buckets[i];

		for (uint32_t guests = bucket->guests; guests; guests &= guests - 1) {
			uint16_t tag = bucket->tags[__builtin_ctz(guests)];
			struct flow_bucket *first = &table->buckets[flow_other_bucket(table, i, tag)];

			first->overflow = (uint16_t)(first->overflow + sign);
		}
	}
}

static bool verify_bucket(const struct flow_bucket *bucket, uint64_t *live)
{
	uint32_t used = ~bucket_free_slots(bucket) & ((1u << FLOW_BUCKET_ENTRIES) - 1);

	*live += (uint32_t)__builtin_popcount(used);
	if (bucket->guests & ~used)
		return false;
	for (; used; used &= used - 1)
		if (bucket->refs[__builtin_ctz(used)] == FLOW_NONE)
			return false;
	return true;
}

bool flow_table_verify(struct flow_table *table)
{
	uint64_t live = 0;
	bool exact = true;

	for (uint32_t i = 0; i < table->bucket_count; i++)
		if (!verify_bucket(&table->buckets[i], &live))
			return false;
	/* Take every guest off its first bucket's count: exactly zero must be left. */
	verify_shift_overflow(table, UINT16_MAX);
	for (uint32_t i = 0; i < table->bucket_count; i++)
		exact &= table->buckets[i].overflow == 0;
	verify_shift_overflow(table, 1);
	return exact && live == table->live && live <= table->capacity;
}
