/* ports.h - which local port an outgoing connection gets (RFC 6056).
 *
 * Double-hash selection (RFC 6056, section 3.3.4): a keyed hash of both addresses and
 * the remote port gives where in the range to start, and a counter, shared by the few
 * destinations that hash to it, how far this place has moved on. So ports to one
 * destination follow each other and are reused late, while nobody outside can tell
 * from one destination's ports where another's stand.
 *
 * A search that meets a port in use goes on with the next; after a row of 64 it jumps to
 * another row, so that a long stretch of old connections does not cost a walk along it. Every
 * port comes once in PORTS_COUNT tries. */
#ifndef C10M_FLOW_PORTS_H
#define C10M_FLOW_PORTS_H

#include "base/check.h"
#include "flow/tuple.h"

#define PORTS_FIRST    1024u
#define PORTS_COUNT    (65536u - PORTS_FIRST)
#define PORTS_COUNTERS 1024u

/* No pointers: it may lie in the arena. */
struct ports {
	struct siphash_key key;
	uint32_t first, count,
		row_step; /* places that are looked at: whole rows; how rows follow each other */
	uint32_t counters[PORTS_COUNTERS];
	uint64_t excluded[PORTS_COUNT / 64]; /* a bit a port: listening */
};

/* What a search asks about a candidate. */
struct ports_query {
	/* Whether no connection has this four-tuple. */
	bool (*is_free)(void *context, const struct tuple4 *tuple);
	/* Whether packets of this four-tuple arrive at the asking worker; NULL: all do. */
	bool (*lands_here)(void *context, const struct tuple4 *tuple);
	void *context;
	uint32_t tries_max; /* candidates looked at, in whole rows of 64; PORTS_COUNT looks at all */
};

/* key: secret, and used for nothing else. */
void ports_init(struct ports *ports, const struct siphash_key *key);

/* Only ports that have their bit in `allowed` (65536 of them) are given from here on. The fewer rows these
 * lie in, the faster a search; none at all is allowed. */
void ports_restrict(struct ports *ports, const uint64_t *allowed);

/* A port that has a listener is not given to an outgoing connection. The first listener of
 * a port excludes it, the last one to go admits it; a port below 1024 needs neither. */
void ports_exclude(struct ports *ports, uint16_t port);
void ports_admit(struct ports *ports, uint16_t port);

/* Fills in tuple->local_port; the other three numbers are given. 0, or
 *  -EADDRNOTAVAIL  every port is in use towards this destination: another local address
 *                  is needed, or one of the connections must close
 *  -EAGAIN         none was found in tries_max candidates; asking again goes on from there */
int ports_choose(struct ports *ports, const struct ports_query *query, struct tuple4 *tuple);

#endif
