/* route.h - which addresses are ours, and which way leads to the others.
 *
 * Addresses: at most ROUTES_ADDRESSES; the first one is what outgoing connections get when no route says
 * otherwise. Routes: at most ROUTES_MAX, longest prefix first, then the smaller metric, then the order in
 * which they came. A table can be told anew as a whole: routes_begin, everything again, routes_end, which
 * forgets what was not mentioned. Invariant: places beyond the counts are zero.
 *
 * Beside these a whole range of addresses may be ours, for connections that we open: it is known by its ends,
 * costs no memory, and stays when the table is told anew. */
#ifndef C10M_NET_ROUTE_H
#define C10M_NET_ROUTE_H

#include "wire/ethernet.h"
#include "wire/ipv4.h"

#define ROUTES_ADDRESSES 8u
#define ROUTES_MAX       256u

struct local_address {
	uint32_t address;
	uint32_t mask;
	uint32_t broadcast; /* of its network; 0: there is none (RFC 3021) */
	uint8_t prefix_bits;
	bool seen; /* since routes_begin */
};

struct route {
	uint32_t prefix;
	uint32_t gateway; /* 0: the destination itself is the next hop */
	uint32_t source;  /* local address for connections that we open; 0: no wish */
	uint32_t metric;
	uint16_t mtu; /* of the way; 0: the interface's */
	uint8_t prefix_bits;
	bool closed;     /* leads to no place that we can reach: refused, or through another interface */
	bool seen;       /* since routes_begin */
	bool redirected; /* a gateway told of it: only as long as its own gateway answers */
};

struct routes {
	struct local_address addresses[ROUTES_ADDRESSES];
	uint32_t address_count, route_count;
	struct ipv4_range sources; /* ours as well */
	uint32_t changes;          /* of routes, so far */
	uint32_t mtu;              /* of the interface */
	struct eth_address mac;
	struct route routes[ROUTES_MAX];
};

enum route_place {
	ROUTE_LAST,    /* behind those with the same prefix and metric */
	ROUTE_FIRST,   /* before them */
	ROUTE_REPLACE, /* instead of the first of them */
};

/* Again with another prefix changes it. -ENOSPC: there are ROUTES_ADDRESSES of them. */
int routes_add_address(struct routes *table, uint32_t address, unsigned prefix_bits);
/* False when it is none of ours. */
bool routes_remove_address(struct routes *table, uint32_t address);

/* The same one again is no second one. -EINVAL: bits of the prefix lie beyond its length; -ENOSPC: the table
 * is full. */
int routes_add(struct routes *table, const struct route *route, enum route_place place);
/* The one with this prefix, metric, gateway and `closed`; false when there is none. */
bool routes_remove(struct routes *table, const struct route *route);

void routes_begin(struct routes *table);
void routes_end(struct routes *table);

/* A gateway does not answer: ways through it that another one told of are forgotten; whether there were any.
 */
bool routes_forget(struct routes *table, uint32_t gateway);
/* The way to an address; NULL: there is none. It may be closed. */
const struct route *routes_find(const struct routes *table, uint32_t address);
/* The neighbour that packets to an address are given to; 0: there is no way. */
uint32_t routes_next_hop(const struct routes *table, uint32_t address);
/* The local address for a connection to somewhere; 0: we have none. */
uint32_t routes_source(const struct routes *table, uint32_t address);

bool routes_other_is_local(const struct routes *table, uint32_t address);
bool routes_other_is_broadcast(const struct routes *table, uint32_t address);

/* One address is the rule: only more of them cost a call. 0 is no address. */
PURE_INLINE bool routes_is_local(const struct routes *table, uint32_t address)
{
	if (likely(address == table->addresses[0].address))
		return address != 0;
	if (ipv4_range_holds(&table->sources, address))
		return true;
	return unlikely(table->address_count > 1) && routes_other_is_local(table, address);
}

/* Names all hosts of a network of ours, or of any. */
PURE_INLINE bool routes_is_broadcast(const struct routes *table, uint32_t address)
{
	if (unlikely(address == UINT32_MAX || (address == table->addresses[0].broadcast && address != 0)))
		return true;
	return unlikely(table->address_count > 1) && routes_other_is_broadcast(table, address);
}

#endif
