/* reassembly.h - whole datagrams from fragments (RFC 791, RFC 815's problem, RFC 1122 section 3.3.2).
 *
 * Memory is its own and bounded: so many datagrams at a time, so many pages of payload, and of both a quarter
 * at most for one source, so that no source shuts others out. What is too much takes the place of the oldest.
 * An overlap drops the datagram with all of its fragments, those that are still to come included (RFC 5722,
 * applied to IPv4 too); one that came twice with the same bytes is no overlap.
 *
 * A whole datagram comes out as frames that the stack takes like any others. A long TCP segment comes out in
 * several, each a segment, its checksum verified before. UDP will come out whole, in its pages.
 * Invariant: a datagram that is dead or free has no pages. */
#ifndef C10M_NET_REASSEMBLY_H
#define C10M_NET_REASSEMBLY_H

#include "mem/packet.h"
#include "mem/pool.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"

#define REASSEMBLY_MAX            64u
#define REASSEMBLY_PAGES          256u
#define REASSEMBLY_PAGE_BYTES     2048u
#define REASSEMBLY_SOURCE_MAX     (REASSEMBLY_MAX / 4)
#define REASSEMBLY_SOURCE_PAGES   (REASSEMBLY_PAGES / 4)
#define REASSEMBLY_MS             60000u /* RFC 1122 section 3.3.2: 60 to 120 s */
#define REASSEMBLY_DATAGRAM_PAGES 32u    /* 65,535 bytes */
#define REASSEMBLY_QUOTE_BYTES    8u     /* behind the header, in an ICMP error */
#define REASSEMBLY_PIECE_BYTES    1500u  /* of IP in a frame that comes out */

enum reassembly_state {
	REASSEMBLY_FREE,
	REASSEMBLY_FILLING,
	REASSEMBLY_DEAD,  /* fragments overlapped: whatever else comes of it is dropped */
	REASSEMBLY_WHOLE, /* comes out next */
	REASSEMBLY_ASIDE, /* whole, and another worker's */
};

struct reassembly_datagram {
	uint32_t source, destination;
	uint16_t id;
	uint8_t protocol, state;
	uint8_t codepoints; /* of ECN that fragments had: a bit each */
	uint8_t header_bytes;
	bool has_first;
	uint32_t begun_tick, age;
	uint32_t end;     /* bytes of payload; 0: the last fragment has not come */
	uint32_t highest; /* end of what has come */
	uint32_t have_bytes;
	uint32_t page_count;
	uint32_t given_bytes;           /* of the payload that have come out */
	uint8_t link[ETH_HEADER_BYTES]; /* of the first fragment */
	uint8_t header[60];             /* its IPv4 header, as it came */
	uint32_t pages[REASSEMBLY_DATAGRAM_PAGES];
};

struct reassembly {
	struct counters *counters;
	struct reassembly_datagram *datagrams;
	struct pool pages;
	uint32_t live, ready, aside; /* not free; of these WHOLE, and ASIDE */
	uint32_t ages;
	uint32_t next_tick; /* while some are live: when reassembly_expire is to be called */
	uint8_t *frame;     /* the one that came out last ... */
	uint32_t current;   /* ... and of which datagram */
};

/* What an ICMP error says of a datagram that was given up. */
struct reassembly_quote {
	uint8_t link[ETH_HEADER_BYTES];
	uint8_t header_bytes;
	uint32_t bytes;
	uint8_t packet[60 + REASSEMBLY_QUOTE_BYTES];
};

size_t reassembly_bytes(void);
void reassembly_init(struct reassembly *table, void *memory, struct counters *counters);

/* `ip` is the header that stands in `frame`. DROP_NONE: kept. */
enum drop_reason reassembly_input(struct reassembly *table, const uint8_t *frame,
				  const struct ipv4_header *ip, uint32_t now_tick);
/* The next frame of a whole datagram, valid until the next call; `state`: WHOLE, or ASIDE for what was put
 * aside. False: there is none. */
bool reassembly_next(struct reassembly *table, enum reassembly_state state, struct packet *packet);
/* The datagram of the frame that came out last is another worker's: it comes out again as one of those. */
void reassembly_put_aside(struct reassembly *table);
/* Gives up one that was begun too long ago; true when an ICMP error is to be sent for it. To be called until
 * next_tick lies ahead or none is live. */
bool reassembly_expire(struct reassembly *table, uint32_t now_tick, struct reassembly_quote *quote);

#endif
