/* prefix_set.c - rules to ranges, and the search among these.
 * In: prefixes, sorted here.  Out: an answer for each address.  Owns: the ranges. */
#include "net/prefix_set.h"

#define DEPTH_MAX 33 /* prefixes that can lie within each other */

static uint32_t level_size(uint32_t below)
{
	return (below + PREFIX_FANOUT - 1) / PREFIX_FANOUT;
}

static uint32_t line_up(uint32_t keys)
{
	return ALIGN_UP(keys, (uint32_t)PREFIX_FANOUT);
}

size_t prefix_set_bytes(uint32_t rules)
{
	size_t keys = 0;

	for (uint32_t size = PREFIX_RANGES(rules);; size = level_size(size)) {
		keys += line_up(size);
		if (size <= PREFIX_FANOUT)
			return keys * sizeof(uint32_t);
	}
}

void prefix_set_init(struct prefix_set *set, void *memory, uint32_t rules)
{
	uint32_t *at = memory, size = PREFIX_RANGES(rules);

	CHECK(rules <= PREFIX_RULES_MAX);
	*set = (struct prefix_set){.capacity = size};
	for (uint32_t level = 0;; level++, size = level_size(size)) {
		CHECK(level < PREFIX_LEVELS);
		set->levels[level] = at;
		at += line_up(size);
		if (size <= PREFIX_FANOUT)
			break;
	}
	prefix_set_build(set, NULL, 0, true);
}

/* --- sorting: in place and without a worst case that an attacker's list could bring about */

static void sift(uint64_t *heap, uint32_t at, uint32_t count)
{
	for (;;) {
		uint32_t child = 2 * at + 1;
		uint64_t value = heap[at];

		if (child >= count)
			return;
		if (child + 1 < count && heap[child + 1] > heap[child])
			child++;
		if (heap[child] <= value)
			return;
		heap[at] = heap[child];
		heap[child] = value;
		at = child;
	}
}

static void sort(uint64_t *rules, uint32_t count)
{
	for (uint32_t i = count / 2; i-- > 0;)
		sift(rules, i, count);
	for (uint32_t end = count; end-- > 1;) {
		uint64_t largest = rules[0];

		rules[0] = rules[end];
		rules[end] = largest;
		sift(rules, 0, end);
	}
}

/* --- building */

static bool answer_of(const struct prefix_set *set, uint32_t range)
{
	return set->first_allowed == !(range & 1);
}

/* From this address on the answer is another one; what begins at the same address counts the latest. */
static void begin_range(struct prefix_set *set, uint32_t start, bool allowed)
{
	if (set->count && set->levels[0][set->count - 1] == start)
		set->count--;
	if (set->count == 0)
		set->first_allowed = allowed;
	else if (answer_of(set, set->count - 1) == allowed)
		return;
	CHECK(set->count < set->capacity);
	set->levels[0][set->count++] = start;
}

struct open_prefix {
	uint32_t first, last;
	bool allowed;
};

struct nesting {
	struct open_prefix open[DEPTH_MAX + 1]; /* [0]: all that stands in no prefix */
	uint32_t depth;
};

/* Ends the prefixes that end before this address. */
static void close_before(struct prefix_set *set, struct nesting *nesting, uint64_t address)
{
	while (nesting->depth && nesting->open[nesting->depth].last < address) {
		uint32_t last = nesting->open[nesting->depth--].last;

		if (last != UINT32_MAX)
			begin_range(set, last + 1, nesting->open[nesting->depth].allowed);
	}
}

static void open_rule(struct prefix_set *set, struct nesting *nesting, uint64_t rule)
{
	uint32_t first = (uint32_t)(rule >> 32), bits = (uint32_t)rule >> 1;
	const struct open_prefix prefix = {first, first | (bits < 32 ? UINT32_MAX >> bits : 0), !(rule & 1)};
	const struct open_prefix *inner;

	close_before(set, nesting, first);
	inner = &nesting->open[nesting->depth];
	if (nesting->depth == 0 || inner->first != first || inner->last != prefix.last) /* else once more */
		nesting->depth++;
	CHECK(nesting->depth <= DEPTH_MAX);
	nesting->open[nesting->depth] = prefix;
	begin_range(set, first, prefix.allowed);
}

/* The rest of a level's last line is no key. */
static void build_levels(struct prefix_set *set)
{
	uint32_t count = set->count;

	for (set->level_count = 0;; set->level_count++) {
		uint32_t *keys = set->levels[set->level_count];

		for (uint32_t i = 0; set->level_count && i < count; i++)
			keys[i] = set->levels[set->level_count - 1][i * PREFIX_FANOUT];
		for (uint32_t i = count; i < line_up(count); i++)
			keys[i] = UINT32_MAX;
		if (count <= PREFIX_FANOUT)
			break;
		count = level_size(count);
	}
	set->level_count++;
}

void prefix_set_build(struct prefix_set *set, uint64_t *rules, uint32_t count, bool others_allowed)
{
	struct nesting nesting = {.open = {{.allowed = others_allowed}}};

	set->count = 0;
	begin_range(set, 0, others_allowed);
	if (count)
		sort(rules, count);
	for (uint32_t i = 0; i < count; i++)
		open_rule(set, &nesting, rules[i]);
	close_before(set, &nesting, (uint64_t)UINT32_MAX + 1);
	build_levels(set);
}

bool prefix_set_allows(const struct prefix_set *set, uint32_t address)
{
	uint32_t at = 0;

	if (unlikely(address == UINT32_MAX)) /* the rest of a line would count, too */
		return answer_of(set, set->count - 1);
	for (uint32_t level = set->level_count; level-- > 0;) {
		const uint32_t *keys = set->levels[level] + at * PREFIX_FANOUT;
		uint32_t reached = 0;

		for (uint32_t i = 0; i < PREFIX_FANOUT; i++)
			reached += keys[i] <= address;
		at = at * PREFIX_FANOUT + reached - 1;
	}
	return answer_of(set, at);
}
