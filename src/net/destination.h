/* destination.h - where packets go: next hop, link address and path MTU, by 16-bit index.
 *
 * A connection keeps an index. Entries with the same next hop share its neighbour state through
 * the entry of the next hop itself (`hop`), whose MTU is the interface's. Entry 0 is never used.
 * A connection holds its entry; one that nobody holds gives way to a new one when the table is full.
 * Owns: at most 65534 entries. Neighbours are learned and asked for by ARP (RFC 826), at most once a
 * second each (RFC 1122 2.3.2.1), and confirmed again when they were silent for 30 s. Where the kernel
 * resolves neighbours, it is asked instead, and reminded of those in use. */
#ifndef C10M_NET_DESTINATION_H
#define C10M_NET_DESTINATION_H

#include "base/check.h"
#include "base/siphash.h"
#include "net/route.h"
#include "obs/counters.h"

#define DESTINATION_NONE   0
#define NEIGHBOUR_TRIES    3
#define NEIGHBOUR_RETRY_MS 1000u
#define NEIGHBOUR_FRESH_MS 30000u
#define NEIGHBOUR_USED_MS  15000u /* so often the kernel hears that one is in use */
#define PATH_MTU_MIN       552u   /* below, an ICMP lie is likelier than such a link */

enum neighbour_state {
	NEIGHBOUR_FREE,
	NEIGHBOUR_INCOMPLETE, /* asked for, no answer yet */
	NEIGHBOUR_REACHABLE,
	NEIGHBOUR_PERMANENT,
};

struct destination {
	uint32_t ip; /* next hop; with mtu the entry's name */
	uint32_t asked_tick;
	uint32_t confirmed_tick;
	uint32_t waiting; /* connections that wait for the link address: list by ready_next */
	uint16_t mtu;     /* of the path; 0: the interface's */
	uint16_t hop;     /* entry that holds the neighbour state (itself, unless a smaller MTU) */
	uint8_t state, tries;
	struct eth_address mac;
	uint8_t pad[2];
	uint32_t next; /* hash chain */
	uint32_t refs; /* connections, and entries that have this one as their hop */
};

_Static_assert(sizeof(struct destination) == 40, "bytes of a destination");

struct destinations {
	struct destination *entries;
	uint32_t *heads;
	struct siphash_key key; /* neighbours choose the addresses that are hashed */
	uint32_t head_mask, capacity, used;
	uint32_t probing; /* entries that are INCOMPLETE */
	uint32_t hand;    /* where the search for an entry nobody uses goes on */
	struct routes routes;
};

size_t destinations_bytes(uint32_t capacity);
/* key: secret; it may be the flow table's, whose inputs are longer. */
void destinations_init(struct destinations *table, void *memory, uint32_t capacity,
		       const struct routes *routes, const struct siphash_key *key);

/* The entry for an address at the MTU of its route (or `mtu` when that is smaller, and not 0);
 * DESTINATION_NONE when the table is full or there is no route. */
uint16_t destination_for(struct destinations *table, uint32_t address, uint32_t mtu);
/* The entry of a next hop if there is one; mtu 0: the one that holds its neighbour state. */
uint16_t destination_find(struct destinations *table, uint32_t hop_ip, uint32_t mtu);

/* A connection begins and ends to use an entry. DESTINATION_NONE is allowed. */
void destination_hold(struct destinations *table, uint16_t index);
void destination_release(struct destinations *table, uint16_t index);

static inline struct destination *destination_at(const struct destinations *table, uint16_t index)
{
	CHECK(index < table->capacity);
	return &table->entries[index];
}

/* Bytes of an IP packet that the way carries. */
static inline uint32_t destination_mtu(const struct destinations *table, uint16_t index)
{
	uint32_t mtu = destination_at(table, index)->mtu;

	return mtu && mtu < table->routes.mtu ? mtu : table->routes.mtu;
}

static inline struct destination *destination_hop(const struct destinations *table, uint16_t index)
{
	return destination_at(table, destination_at(table, index)->hop);
}

#endif
