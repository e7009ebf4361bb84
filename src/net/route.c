/* route.c - local addresses and the route table: longest prefix match.
 * In: configuration, or the kernel's table as netlink tells it.  Out: next hops.
 * Owns: struct routes. It is small and asked once for each connection: a sorted array, looked through. */
#include "net/route.h"

#include <errno.h>
#include <string.h>

static uint32_t mask_of(unsigned prefix_bits)
{
	return prefix_bits ? UINT32_MAX << (32 - prefix_bits) : 0;
}

/* --- addresses --------------------------------------------------------------------- */

static struct local_address *address_find(struct routes *table, uint32_t address)
{
	for (uint32_t i = 0; i < table->address_count; i++)
		if (table->addresses[i].address == address)
			return &table->addresses[i];
	return NULL;
}

static void address_drop(struct routes *table, struct local_address *entry)
{
	struct local_address *end = &table->addresses[--table->address_count];

	memmove(entry, entry + 1, (size_t)(end - entry) * sizeof(*entry));
	memset(end, 0, sizeof(*end));
}

int routes_add_address(struct routes *table, uint32_t address, unsigned prefix_bits)
{
	struct local_address *entry = address_find(table, address);
	uint32_t mask = mask_of(prefix_bits);

	if (!entry) {
		if (table->address_count == ROUTES_ADDRESSES)
			return -ENOSPC;
		entry = &table->addresses[table->address_count++];
	}
	*entry = (struct local_address){
		.address = address,
		.mask = mask,
		.broadcast = prefix_bits < 31 ? address | ~mask : 0,
		.prefix_bits = (uint8_t)prefix_bits,
		.seen = true,
	};
	return 0;
}

bool routes_remove_address(struct routes *table, uint32_t address)
{
	struct local_address *entry = address_find(table, address);

	if (entry)
		address_drop(table, entry);
	return entry != NULL;
}

bool routes_other_is_local(const struct routes *table, uint32_t address)
{
	for (uint32_t i = 1; i < table->address_count; i++)
		if (table->addresses[i].address == address)
			return true;
	return false;
}

bool routes_other_is_broadcast(const struct routes *table, uint32_t address)
{
	for (uint32_t i = 1; i < table->address_count; i++)
		if (table->addresses[i].broadcast == address && address != 0)
			return true;
	return false;
}

/* --- routes ------------------------------------------------------------------------ */

/* Less than 0: a stands before b. */
static int compare(const struct route *a, const struct route *b)
{
	if (a->prefix_bits != b->prefix_bits)
		return b->prefix_bits - a->prefix_bits;
	if (a->prefix != b->prefix)
		return a->prefix < b->prefix ? -1 : 1;
	return a->metric < b->metric ? -1 : a->metric > b->metric;
}

static bool same_way(const struct route *a, const struct route *b)
{
	return compare(a, b) == 0 && a->gateway == b->gateway && a->closed == b->closed;
}

static void route_drop(struct routes *table, uint32_t at)
{
	table->route_count--;
	table->changes++;
	memmove(&table->routes[at], &table->routes[at + 1],
		(table->route_count - at) * sizeof(table->routes[0]));
	memset(&table->routes[table->route_count], 0, sizeof(table->routes[0]));
}

static struct route *route_find_same(struct routes *table, const struct route *route)
{
	for (uint32_t i = 0; i < table->route_count; i++)
		if (same_way(&table->routes[i], route))
			return &table->routes[i];
	return NULL;
}

static void route_insert(struct routes *table, uint32_t at, const struct route *route)
{
	memmove(&table->routes[at + 1], &table->routes[at],
		(table->route_count - at) * sizeof(table->routes[0]));
	table->routes[at] = *route;
	table->routes[at].seen = true;
	table->route_count++;
	table->changes++;
}

int routes_add(struct routes *table, const struct route *route, enum route_place place)
{
	struct route *same = route_find_same(table, route);
	uint32_t at = 0;

	if (route->prefix_bits > 32 || (route->prefix & ~mask_of(route->prefix_bits)) != 0)
		return -EINVAL;
	if (same && place != ROUTE_REPLACE) {
		table->changes += same->mtu != route->mtu;
		*same = *route;
		same->seen = true;
		return 0;
	}
	while (at < table->route_count && compare(&table->routes[at], route) < 0)
		at++;
	if (place == ROUTE_REPLACE && at < table->route_count && compare(&table->routes[at], route) == 0)
		route_drop(table, at);
	if (table->route_count == ROUTES_MAX)
		return -ENOSPC;
	while (place == ROUTE_LAST && at < table->route_count && compare(&table->routes[at], route) == 0)
		at++;
	route_insert(table, at, route);
	return 0;
}

bool routes_remove(struct routes *table, const struct route *route)
{
	struct route *same = route_find_same(table, route);

	if (same)
		route_drop(table, (uint32_t)(same - table->routes));
	return same != NULL;
}

bool routes_forget(struct routes *table, uint32_t gateway)
{
	uint32_t before = table->changes;

	for (uint32_t i = table->route_count; i-- > 0;)
		if (table->routes[i].redirected && table->routes[i].gateway == gateway)
			route_drop(table, i);
	return table->changes != before;
}

const struct route *routes_find(const struct routes *table, uint32_t address)
{
	for (uint32_t i = 0; i < table->route_count; i++) {
		const struct route *route = &table->routes[i];

		if (((address ^ route->prefix) & mask_of(route->prefix_bits)) == 0)
			return route;
	}
	return NULL;
}

uint32_t routes_next_hop(const struct routes *table, uint32_t address)
{
	const struct route *route = routes_find(table, address);

	if (!route || route->closed)
		return 0;
	return route->gateway ? route->gateway : address;
}

/* The route's wish, else the address whose network the next hop is in, else the first one. */
uint32_t routes_source(const struct routes *table, uint32_t address)
{
	const struct route *route = routes_find(table, address);
	uint32_t hop = route && route->gateway ? route->gateway : address;

	if (route && route->source && routes_is_local(table, route->source))
		return route->source;
	for (uint32_t i = 0; i < table->address_count; i++)
		if (((hop ^ table->addresses[i].address) & table->addresses[i].mask) == 0)
			return table->addresses[i].address;
	return table->addresses[0].address;
}

/* --- all of it anew ---------------------------------------------------------------- */

void routes_begin(struct routes *table)
{
	for (uint32_t i = 0; i < table->address_count; i++)
		table->addresses[i].seen = false;
	for (uint32_t i = 0; i < table->route_count; i++)
		table->routes[i].seen = false;
}

void routes_end(struct routes *table)
{
	for (uint32_t i = table->address_count; i-- > 0;)
		if (!table->addresses[i].seen)
			address_drop(table, &table->addresses[i]);
	for (uint32_t i = table->route_count; i-- > 0;)
		if (!table->routes[i].seen)
			route_drop(table, i);
}
