/* sources.h - how many connections each source has, and how fast it opens new ones.
 *
 * A hash table of fixed size, keyed by a secret: two buckets of one cache line for each source, four sources
 * a bucket. An entry knows its source by 28 bits of the hash and the service; two sources that agree in these
 * and in their buckets would share their limits, which is rarer than one in 10^7 in a full table.
 *
 * Who has connections is never forgotten. Who has none gives way when both buckets are full: first whoever
 * has its whole burst left, so that nothing is lost by it, then whoever comes closest to that. When all eight
 * have connections there is no entry, and the caller lets the source pass: an attacker who fills the table
 * needs as many true addresses as it has room, and gains connections without a cap, not the power to keep
 * others out.
 *
 * Rates are token buckets: a whole burst at first, `rate` tokens a second, one for each new connection. */
#ifndef C10M_NET_SOURCES_H
#define C10M_NET_SOURCES_H

#include "base/check.h"

#define SOURCE_WAYS     4
#define SOURCE_SERVICES 16 /* four bits of an entry */
#define SOURCE_TOKEN    1000u

struct source {
	uint32_t tag; /* hash << 4 | service; the hash's part is never 0 in an entry that is in use */
	uint32_t connections;
	uint32_t tick, tokens; /* how many there were at that tick, in thousandths */
};

struct source_bucket {
	struct source sources[SOURCE_WAYS];
} CACHE_ALIGNED;

_Static_assert(sizeof(struct source_bucket) == CACHE_LINE, "one line a bucket");

struct source_rate {
	uint32_t rate;  /* tokens a second; 0: the source always has all */
	uint32_t burst; /* tokens at most */
};

struct source_table {
	struct source_bucket *buckets;
	uint32_t bucket_count;
	struct source_rate rates[SOURCE_SERVICES];
	uint64_t forgotten; /* entries that gave way before their burst was whole again */
};

size_t source_table_bytes(uint32_t sources);
/* memory: cache-line aligned; it is cleared here. */
void source_table_init(struct source_table *table, void *memory, uint32_t sources);
void source_table_clear(struct source_table *table);

/* NULL when it is not known, which is as good as one without connections and with all tokens. */
struct source *source_find(const struct source_table *table, uint32_t service, uint64_t hash);
/* Found, or made; NULL when both buckets are full of sources with connections. */
struct source *source_make(struct source_table *table, uint32_t service, uint64_t hash, uint32_t now_tick);
/* Thousandths of tokens now. source: NULL for one that is not known. */
uint32_t source_tokens(const struct source_table *table, uint32_t service, const struct source *source,
		       uint32_t now_tick);
/* Takes a token, if there is one. */
void source_spend(const struct source_table *table, struct source *source, uint32_t now_tick);
/* Of all sources together, for tests: a walk over the table. */
uint64_t source_table_connections(const struct source_table *table);

#endif
