/* wheel.h - which objects want to be looked at, and when.
 *
 * A slot holds packed arrays of entries (object index, tick) in wheel chunks, so
 * that a whole slot can be prefetched in bulk; nothing is threaded through the
 * objects. The wheel never deletes: an entry whose object wants to be seen later,
 * or not at all, is found out by the owner when it fires.
 *
 * Long ticks sit in coarse slots and move down in bounded slices, one each call.
 * While a slice is left wheel_next asks for the next call at once. Who calls but
 * once a tick gets an entry late by 1/64 of its distance at most, as long as its
 * slot holds no more than four entries for each tick that the slot is wide. */
#ifndef C10M_TIMER_WHEEL_H
#define C10M_TIMER_WHEEL_H

#include "base/check.h"

struct wheel_entry {
	uint32_t index; /* the object */
	uint32_t tick;  /* when; see base/ticks.h */
};

#define WHEEL_LEVELS        5
#define WHEEL_SLOTS_LOG2_L0 8  /* 256 slots of 1 tick */
#define WHEEL_SLOTS_LOG2    6  /* 64 slots in each further level */
#define WHEEL_CHUNK_ENTRIES 63 /* 8 bytes each and 8 bytes of header: 512 bytes */

struct wheel; /* lives in arena memory; opaque, position-independent but for its base */

/* Bytes for a wheel that holds `entries` entries (in packed chunks, plus one partly
 * filled chunk for each slot). Memory: cache-line aligned; need not be zero. */
size_t wheel_bytes(uint32_t entries);
struct wheel *wheel_init(void *memory, uint32_t entries, uint32_t now_tick);

/* Files an entry. A tick in the past fires at the next wheel_expire, as does one more
 * than 2^31 ahead. False when the wheel holds the entries it was made for: the owner must
 * then find its object in another way. */
bool wheel_file(struct wheel *wheel, uint32_t index, uint32_t tick);

/* Moves the wheel to now_tick and hands out up to `max` entries that are due, the earliest
 * ticks first as long as the caller keeps up, and in no particular order within a tick.
 * Work per call is bounded, whatever stands in the wheel. Returns how many; `max` means
 * that there may be more right now. now_tick is less than 2^31 ahead of the last call's,
 * unless the wheel is empty; one that lies behind it moves nothing. */
uint32_t wheel_expire(struct wheel *wheel, uint32_t now_tick, struct wheel_entry *due, uint32_t max);

/* A tick at or before the earliest entry's; false when the wheel is empty. It says
 * the wheel's own current tick when there is work that a bounded call left over. */
bool wheel_next(const struct wheel *wheel, uint32_t *tick);

uint32_t wheel_live(const struct wheel *wheel);       /* entries filed */
uint64_t wheel_live_bytes(const struct wheel *wheel); /* bytes of chunks in use */
/* Forgets all entries: the first step of a rebuild. */
void wheel_clear(struct wheel *wheel, uint32_t now_tick);

#endif
