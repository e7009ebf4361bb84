/* wheel.c - five rings of slots, from 1 tick to 2^26 ticks a slot.
 * In: whoever owns objects with deadlines.  Out: due entries, to the caller of
 * wheel_expire.  Owns: the slots and a pool of entry chunks.
 *
 * A slot is a list: one open chunk that takes entries, and a chain of full ones. When
 * the wheel's tick enters a slot, the whole list goes to its level's waiting list
 * at the cost of a few stores, and the slot is free for the next turn. Level 0's
 * waiting list is what is due; those of the levels above are worked off in slices,
 * the finest level first because it can bear the least delay.
 *
 * Together the levels cover all 2^32 ticks, and an entry lies less than 2^31 ahead: there is
 * nothing beyond the last level. */
#include "timer/wheel.h"

#include "base/ticks.h"

#include <string.h>

#define WHEEL_NONE       UINT32_MAX
#define WHEEL_SLOT_COUNT ((1u << WHEEL_SLOTS_LOG2_L0) + (WHEEL_LEVELS - 1) * (1u << WHEEL_SLOTS_LOG2))
#define WHEEL_WORD_BITS  64
/* Entries that one call of wheel_expire moves down: about a microsecond. */
#define WHEEL_SLICE      256

_Static_assert(WHEEL_SLOTS_LOG2_L0 + (WHEEL_LEVELS - 1) * WHEEL_SLOTS_LOG2 == 32, "covers every tick");

struct wheel_chunk {
	uint32_t next;
	uint32_t reserved;
	struct wheel_entry entries[WHEEL_CHUNK_ENTRIES];
};

_Static_assert(sizeof(struct wheel_chunk) == 512, "eight lines");

/* Only the open chunk is not full. Empty: open is WHEEL_NONE and open_count is
 * WHEEL_CHUNK_ENTRIES, so that one comparison tells that a chunk must be taken. */
struct wheel_list {
	uint32_t open, open_count;
	uint32_t full_first, full_last; /* linked by next; WHEEL_NONE when there is none */
};

struct wheel_waiting {
	struct wheel_list list;
	uint32_t drain, drain_count; /* the chunk that is being emptied */
};

/* Invariant: every chunk is full, or is the open or the drained one of a list. So
 * `capacity` entries never need more than capacity / 63 + WHEEL_PARTIAL_CHUNKS chunks, and
 * moving an entry from list to list never lacks one. */
struct wheel {
	struct wheel_list slots[WHEEL_SLOT_COUNT];
	struct wheel_waiting waiting[WHEEL_LEVELS];
	uint64_t used[WHEEL_SLOT_COUNT / WHEEL_WORD_BITS]; /* slots that are not empty */
	uint32_t now_tick;
	uint32_t live, capacity;
	uint32_t free_first; /* chunks given back */
	uint32_t fresh;      /* chunks from here on were never used */
	uint32_t chunks_live, chunk_count;
} CACHE_ALIGNED;

/* An open one for each slot, an open and a drained one for each waiting list, and the one
 * that the push of an entry takes before the drain gives its own back. */
#define WHEEL_PARTIAL_CHUNKS (WHEEL_SLOT_COUNT + 2 * WHEEL_LEVELS + 1)

struct wheel_level {
	uint8_t shift;     /* log2 of the ticks of a slot */
	uint8_t slot_mask; /* slots of the level - 1 */
	uint16_t base;     /* its first slot in wheel.slots */
};

#define L0 WHEEL_SLOTS_LOG2_L0
#define LN WHEEL_SLOTS_LOG2

static const struct wheel_level levels[WHEEL_LEVELS] = {
	{0, (1 << L0) - 1, 0},
	{L0, (1 << LN) - 1, 1 << L0},
	{L0 + LN, (1 << LN) - 1, (1 << L0) + (1 << LN)},
	{L0 + 2 * LN, (1 << LN) - 1, (1 << L0) + (2 << LN)},
	{L0 + 3 * LN, (1 << LN) - 1, (1 << L0) + (3 << LN)},
};

static uint32_t wheel_chunk_count(uint32_t entries)
{
	return entries / WHEEL_CHUNK_ENTRIES + WHEEL_PARTIAL_CHUNKS;
}

size_t wheel_bytes(uint32_t entries)
{
	return sizeof(struct wheel) + (size_t)wheel_chunk_count(entries) * sizeof(struct wheel_chunk);
}

static struct wheel_chunk *chunk_at(struct wheel *wheel, uint32_t index)
{
	return (struct wheel_chunk *)(wheel + 1) + index;
}

/* The chunk's first lines come into the cache while the one before it is used up. */
static void chunk_prefetch(struct wheel *wheel, uint32_t index)
{
	const char *line = (const char *)chunk_at(wheel, index);

	for (size_t offset = 0; offset < sizeof(struct wheel_chunk); offset += CACHE_LINE)
		PREFETCH_WRITE(line + offset);
}

static uint32_t chunk_take(struct wheel *wheel)
{
	uint32_t index = wheel->free_first;

	wheel->chunks_live++;
	if (index == WHEEL_NONE) {
		CHECK(wheel->fresh < wheel->chunk_count);
		return wheel->fresh++;
	}
	wheel->free_first = chunk_at(wheel, index)->next;
	if (wheel->free_first != WHEEL_NONE)
		PREFETCH_WRITE(chunk_at(wheel, wheel->free_first));
	return index;
}

static void chunk_give(struct wheel *wheel, uint32_t index)
{
	chunk_at(wheel, index)->next = wheel->free_first;
	wheel->free_first = index;
	wheel->chunks_live--;
}

static void list_reset(struct wheel_list *list)
{
	*list = (struct wheel_list){WHEEL_NONE, WHEEL_CHUNK_ENTRIES, WHEEL_NONE, WHEEL_NONE};
}

static bool list_empty(const struct wheel_list *list)
{
	return list->open == WHEEL_NONE;
}

/* Puts a chain of full chunks behind the list's own. */
static void list_append_full(struct wheel *wheel, struct wheel_list *list, uint32_t first, uint32_t last)
{
	chunk_at(wheel, last)->next = WHEEL_NONE;
	if (list->full_first == WHEEL_NONE)
		list->full_first = first;
	else
		chunk_at(wheel, list->full_last)->next = first;
	list->full_last = last;
}

static NO_INLINE void list_open_chunk(struct wheel *wheel, struct wheel_list *list)
{
	if (!list_empty(list))
		list_append_full(wheel, list, list->open, list->open);
	list->open = chunk_take(wheel);
	list->open_count = 0;
}

PURE_INLINE void list_push(struct wheel *wheel, struct wheel_list *list, struct wheel_entry entry)
{
	if (unlikely(list->open_count == WHEEL_CHUNK_ENTRIES))
		list_open_chunk(wheel, list);
	chunk_at(wheel, list->open)->entries[list->open_count++] = entry;
}

static bool waiting_empty(const struct wheel_waiting *waiting)
{
	return waiting->drain_count == 0 && list_empty(&waiting->list);
}

/* Moves a slot's list behind a waiting list: links, and at most one chunk of copying. */
static void waiting_append(struct wheel *wheel, struct wheel_waiting *waiting, struct wheel_list *slot)
{
	struct wheel_list *list = &waiting->list;

	if (slot->full_first != WHEEL_NONE)
		list_append_full(wheel, list, slot->full_first, slot->full_last);
	if (list_empty(list)) {
		list->open = slot->open;
		list->open_count = slot->open_count;
	} else {
		const struct wheel_chunk *open = chunk_at(wheel, slot->open);

		for (uint32_t i = 0; i < slot->open_count; i++)
			list_push(wheel, list, open->entries[i]);
		chunk_give(wheel, slot->open);
	}
	list_reset(slot);
}

/* Sees to it that there is a chunk to drain; false when nothing is waiting. */
static bool waiting_refill(struct wheel *wheel, struct wheel_waiting *waiting)
{
	struct wheel_list *list = &waiting->list;

	if (waiting->drain_count)
		return true;
	if (list_empty(list))
		return false;
	if (list->full_first != WHEEL_NONE) {
		waiting->drain = list->full_first;
		waiting->drain_count = WHEEL_CHUNK_ENTRIES;
		list->full_first = chunk_at(wheel, waiting->drain)->next;
		chunk_prefetch(wheel, list->full_first != WHEEL_NONE ? list->full_first : list->open);
	} else {
		waiting->drain = list->open;
		waiting->drain_count = list->open_count;
		list_reset(list);
	}
	return true;
}

/* The level whose slots reach `distance` > 0 ticks ahead, without a branch: its number
 * grows by one at 9, 15, 21 and 27 significant bits; dividing by six is multiplying by 43/256. */
PURE_INLINE uint32_t level_of(uint32_t distance)
{
	uint32_t bits = 32 - (uint32_t)__builtin_clz(distance | 7);

	return (bits - 3) * 43 >> 8;
}

PURE_INLINE void wheel_place(struct wheel *wheel, struct wheel_entry entry)
{
	uint32_t distance = entry.tick - wheel->now_tick, slot;
	const struct wheel_level *level;

	if (unlikely(tick_reached(entry.tick, wheel->now_tick))) {
		list_push(wheel, &wheel->waiting[0].list, entry);
		return;
	}
	level = &levels[level_of(distance)];
	slot = level->base + (entry.tick >> level->shift & level->slot_mask);
	wheel->used[slot / WHEEL_WORD_BITS] |= 1ull << slot % WHEEL_WORD_BITS;
	list_push(wheel, &wheel->slots[slot], entry);
}

bool wheel_file(struct wheel *wheel, uint32_t index, uint32_t tick)
{
	if (unlikely(wheel->live >= wheel->capacity))
		return false;
	wheel->live++;
	wheel_place(wheel, (struct wheel_entry){index, tick});
	return true;
}

/* Moves the slots [from, to) that are not empty to a waiting list. */
static void detach_slots(struct wheel *wheel, struct wheel_waiting *waiting, uint32_t from, uint32_t to)
{
	while (from < to) {
		uint32_t word = from / WHEEL_WORD_BITS, end = MIN_OF(to, (word + 1) * WHEEL_WORD_BITS);
		uint64_t mask = UINT64_MAX >> (WHEEL_WORD_BITS - (end - from)) << from % WHEEL_WORD_BITS;
		uint64_t found = wheel->used[word] & mask;

		wheel->used[word] &= ~mask;
		for (; found; found &= found - 1) {
			uint32_t slot = word * WHEEL_WORD_BITS + (uint32_t)__builtin_ctzll(found);

			waiting_append(wheel, waiting, &wheel->slots[slot]);
		}
		from = end;
	}
}

/* Detaches the slots of a level that are entered on the way to now_tick, oldest first.
 * False when no slot's edge was crossed: nor was one on the levels above. */
static bool advance_level(struct wheel *wheel, uint32_t number, uint32_t now_tick)
{
	const struct wheel_level *level = &levels[number];
	uint32_t position = wheel->now_tick >> level->shift, size = level->slot_mask + 1u, first, to_end;
	uint32_t steps = ((now_tick >> level->shift) - position) & UINT32_MAX >> level->shift;

	if (!steps)
		return false;
	steps = MIN_OF(steps, size);
	first = (position + 1) & level->slot_mask;
	to_end = MIN_OF(steps, size - first);
	first += level->base;
	detach_slots(wheel, &wheel->waiting[number], first, first + to_end);
	detach_slots(wheel, &wheel->waiting[number], level->base, level->base + steps - to_end);
	return true;
}

static void wheel_advance(struct wheel *wheel, uint32_t now_tick)
{
	/* An empty wheel may have been left alone for longer than ticks can tell. */
	if (!wheel->live)
		wheel->now_tick = now_tick;
	if (!tick_before(wheel->now_tick, now_tick))
		return;
	for (uint32_t level = 0; level < WHEEL_LEVELS; level++)
		if (!advance_level(wheel, level, now_tick))
			break;
	wheel->now_tick = now_tick;
}

static uint32_t hand_out(struct wheel *wheel, struct wheel_entry *due, uint32_t max)
{
	struct wheel_waiting *waiting = &wheel->waiting[0];
	uint32_t count = 0;

	while (count < max && waiting_refill(wheel, waiting)) {
		uint32_t n = MIN_OF(max - count, waiting->drain_count);

		waiting->drain_count -= n;
		memcpy(due + count, &chunk_at(wheel, waiting->drain)->entries[waiting->drain_count],
		       n * sizeof(*due));
		count += n;
		if (!waiting->drain_count)
			chunk_give(wheel, waiting->drain);
	}
	wheel->live -= count;
	return count;
}

/* Refiles up to `budget` waiting entries of a level; returns what is left of it. */
static uint32_t cascade_level(struct wheel *wheel, struct wheel_waiting *waiting, uint32_t budget)
{
	while (budget && waiting_refill(wheel, waiting)) {
		uint32_t n = MIN_OF(budget, waiting->drain_count), end = waiting->drain_count - n;
		const struct wheel_entry *entries = chunk_at(wheel, waiting->drain)->entries;

		budget -= n;
		for (uint32_t i = waiting->drain_count; i > end; i--)
			wheel_place(wheel, entries[i - 1]);
		waiting->drain_count = end;
		if (!end)
			chunk_give(wheel, waiting->drain);
	}
	return budget;
}

uint32_t wheel_expire(struct wheel *wheel, uint32_t now_tick, struct wheel_entry *due, uint32_t max)
{
	uint32_t count, budget = WHEEL_SLICE;

	wheel_advance(wheel, now_tick);
	count = hand_out(wheel, due, max);
	for (uint32_t level = 1; level < WHEEL_LEVELS; level++)
		budget = cascade_level(wheel, &wheel->waiting[level], budget);
	if (budget < WHEEL_SLICE && count < max)
		count += hand_out(wheel, due + count, max - count);
	return count;
}

/* Slots from `position` (excluded) to the next used one of a level of 64; used != 0. */
static uint32_t steps_to_used(uint64_t used, uint32_t position)
{
	uint32_t turn = (position + 1) % WHEEL_WORD_BITS;
	uint64_t turned = used >> turn | used << (WHEEL_WORD_BITS - turn) % WHEEL_WORD_BITS;

	return (uint32_t)__builtin_ctzll(turned) + 1;
}

/* Ticks to the next used slot of level 0; UINT32_MAX when there is none. The ring has four
 * words; the one that holds the present comes twice, its later part first. */
static uint32_t fine_distance(const struct wheel *wheel)
{
	uint32_t start = (wheel->now_tick + 1) % (1u << L0), word = start / WHEEL_WORD_BITS;
	uint64_t used = wheel->used[word] & UINT64_MAX << start % WHEEL_WORD_BITS;

	for (uint32_t i = 0; i <= (1u << L0) / WHEEL_WORD_BITS; i++) {
		if (used) {
			uint32_t slot = word * WHEEL_WORD_BITS + (uint32_t)__builtin_ctzll(used);

			return ((slot - start) & ((1u << L0) - 1)) + 1;
		}
		word = (word + 1) % ((1u << L0) / WHEEL_WORD_BITS);
		used = wheel->used[word];
	}
	return UINT32_MAX;
}

bool wheel_next(const struct wheel *wheel, uint32_t *tick)
{
	uint32_t nearest;

	if (!wheel->live)
		return false;
	*tick = wheel->now_tick;
	for (uint32_t level = 0; level < WHEEL_LEVELS; level++)
		if (!waiting_empty(&wheel->waiting[level]))
			return true;
	nearest = fine_distance(wheel);
	for (uint32_t number = 1; number < WHEEL_LEVELS; number++) {
		const struct wheel_level *level = &levels[number];
		uint64_t used = wheel->used[level->base / WHEEL_WORD_BITS];
		uint32_t position = wheel->now_tick >> level->shift, start;

		if (!used)
			continue;
		start = (position + steps_to_used(used, position)) << level->shift;
		nearest = MIN_OF(nearest, start - wheel->now_tick);
	}
	*tick += nearest;
	return true;
}

uint32_t wheel_live(const struct wheel *wheel)
{
	return wheel->live;
}

uint64_t wheel_live_bytes(const struct wheel *wheel)
{
	return (uint64_t)wheel->chunks_live * sizeof(struct wheel_chunk);
}

void wheel_clear(struct wheel *wheel, uint32_t now_tick)
{
	for (uint32_t slot = 0; slot < WHEEL_SLOT_COUNT; slot++)
		list_reset(&wheel->slots[slot]);
	for (uint32_t level = 0; level < WHEEL_LEVELS; level++) {
		list_reset(&wheel->waiting[level].list);
		wheel->waiting[level].drain = WHEEL_NONE;
		wheel->waiting[level].drain_count = 0;
	}
	memset(wheel->used, 0, sizeof(wheel->used));
	wheel->now_tick = now_tick;
	wheel->live = 0;
	wheel->free_first = WHEEL_NONE;
	wheel->fresh = 0;
	wheel->chunks_live = 0;
}

struct wheel *wheel_init(void *memory, uint32_t entries, uint32_t now_tick)
{
	struct wheel *wheel = memory;

	CHECK((uintptr_t)memory % CACHE_LINE == 0);
	wheel->capacity = entries;
	wheel->chunk_count = wheel_chunk_count(entries);
	wheel_clear(wheel, now_tick);
	return wheel;
}
