/* admission.h - who may open a connection to a service: lists of prefixes, caps for each source.
 *
 * A SYN is only looked at: its source may be forged, so it costs nobody a share. When the handshake completes
 * the peer has proven its address: it is looked at again, takes a token, and is counted until its block is
 * freed. Blocks are the truth: a flag in each says that it is counted, and counts can be made from them
 * again. */
#ifndef C10M_TCP_ADMISSION_H
#define C10M_TCP_ADMISSION_H

#include "c10m/c10m.h"
#include "net/prefix_set.h"
#include "net/sources.h"
#include "obs/counters.h"

struct core;
struct tcb;

struct service_limits {
	struct prefix_set sets[2]; /* one in force, one to be built */
	uint32_t source_connections;
	bool active; /* any limit at all */
	bool reset;
	uint8_t current; /* which of sets */
	uint8_t keying;  /* which of bits; a counted block remembers under which one */
	uint8_t bits[2]; /* of a source */
};

struct admission {
	struct source_table sources;
	struct service_limits services[SOURCE_SERVICES];
	uint64_t *scratch; /* room for `rules` rules while a set is built */
	uint32_t rules;
	uint64_t counted;      /* connections in the table */
	uint32_t recounting;   /* a bit for each service whose connections are counted anew ... */
	uint32_t recount_next; /* ... from this block on */
};

/* Prefixes that each service has room for, when these services start with some. */
uint32_t admission_rules(const struct c10m_service *services, uint32_t count);
size_t admission_bytes(uint32_t services, uint32_t rules, uint32_t sources);
/* memory: cache-line aligned, admission_bytes long. */
void admission_init(struct admission *admission, void *memory, uint32_t services, uint32_t rules,
		    uint32_t sources);
/* NULL, or what makes no sense, as in "a prefix ...". */
const char *admission_wrong(const struct c10m_limits *limits);
int admission_set(struct core *core, uint32_t service, const struct c10m_limits *limits);

/* Changes nothing: DROP_NONE, or why a new connection is refused now. */
enum drop_reason admission_check(const struct core *core, uint32_t service, uint32_t address);
/* By the lists alone. */
bool admission_lets_in(const struct core *core, uint32_t service, uint32_t address);
/* A peer has opened this connection. */
void admission_count(struct core *core, struct tcb *tcb);
/* A counted one ends. */
void admission_release(struct core *core, const struct tcb *tcb);
/* Counts a slice of blocks anew; to be called while `recounting` is not 0. */
void admission_recount(struct core *core);
/* All counts from the blocks alone. */
void admission_rebuild(struct core *core);
/* Whether table and blocks agree; aborts by CHECK. For tests. */
void admission_verify(const struct core *core);

#endif
