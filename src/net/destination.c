/* destination.c - the destination table.
 * In: addresses.  Out: indices.  Owns: entries and hash chains. */
#include "net/destination.h"

#include <string.h>

#define TAKE_TRIES 64u

static uint32_t heads_for(uint32_t capacity)
{
	uint32_t heads = 64;

	while (heads < capacity)
		heads *= 2;
	return heads;
}

size_t destinations_bytes(uint32_t capacity)
{
	return ALIGN_UP((size_t)capacity * sizeof(struct destination), (size_t)CACHE_LINE) +
	       (size_t)heads_for(capacity) * sizeof(uint32_t);
}

void destinations_init(struct destinations *table, void *memory, uint32_t capacity,
		       const struct routes *routes, const struct siphash_key *key)
{
	memset(memory, 0, destinations_bytes(capacity));
	table->entries = memory;
	table->heads =
		(uint32_t *)((uint8_t *)memory +
			     ALIGN_UP((size_t)capacity * sizeof(struct destination), (size_t)CACHE_LINE));
	table->head_mask = heads_for(capacity) - 1;
	table->capacity = capacity;
	table->used = 1;
	table->probing = 0;
	table->hand = 0;
	table->routes = *routes;
	table->key = *key;
}

static uint32_t *chain_of(struct destinations *table, uint32_t ip, uint32_t mtu)
{
	uint64_t name = (uint64_t)ip << 32 | mtu;

	return &table->heads[siphash_words(&table->key, &name, 1, (uint64_t)8 << 56, 1, 3) &
			     table->head_mask];
}

uint16_t destination_find(struct destinations *table, uint32_t hop_ip, uint32_t mtu)
{
	for (uint32_t i = *chain_of(table, hop_ip, mtu); i; i = table->entries[i].next)
		if (table->entries[i].ip == hop_ip && table->entries[i].mtu == mtu)
			return (uint16_t)i;
	return DESTINATION_NONE;
}

/* Permanent ones, and those that somebody holds or waits for, stay. One that was only asked about goes (a
 * SYN-ACK sent again asks for whoever a SYN named): should the answer come, it is learned from anew. */
static bool is_unused(const struct destination *entry)
{
	return entry->refs == 0 && entry->waiting == UINT32_MAX && entry->state != NEIGHBOUR_PERMANENT;
}

static void unlink_entry(struct destinations *table, uint32_t index)
{
	const struct destination *entry = &table->entries[index];
	uint32_t *link = chain_of(table, entry->ip, entry->mtu);

	while (*link != index)
		link = &table->entries[*link].next;
	*link = entry->next;
	if (entry->state == NEIGHBOUR_INCOMPLETE)
		table->probing--;
	if (entry->hop != index)
		table->entries[entry->hop].refs--;
}

/* A fresh entry, else one that nobody uses among the next few. 0: none. */
static uint32_t take(struct destinations *table)
{
	if (table->used < table->capacity)
		return table->used++;
	for (uint32_t tries = 0; tries < TAKE_TRIES; tries++) {
		table->hand = table->hand + 1 < table->capacity ? table->hand + 1 : 1;
		if (!is_unused(&table->entries[table->hand]))
			continue;
		unlink_entry(table, table->hand);
		return table->hand;
	}
	return 0;
}

static uint16_t add(struct destinations *table, uint32_t ip, uint32_t mtu)
{
	uint32_t index = take(table), *chain;

	if (!index)
		return DESTINATION_NONE;
	chain = chain_of(table, ip, mtu);
	table->entries[index] = (struct destination){
		.ip = ip,
		.mtu = (uint16_t)mtu,
		.hop = (uint16_t)index,
		.waiting = UINT32_MAX,
		.state = NEIGHBOUR_FREE,
		.next = *chain,
	};
	*chain = index;
	return (uint16_t)index;
}

void destination_hold(struct destinations *table, uint16_t index)
{
	if (index)
		destination_at(table, index)->refs++;
}

void destination_release(struct destinations *table, uint16_t index)
{
	if (!index)
		return;
	CHECK(destination_at(table, index)->refs > 0);
	destination_at(table, index)->refs--;
}

static uint16_t find_or_add(struct destinations *table, uint32_t ip, uint32_t mtu)
{
	uint16_t index = destination_find(table, ip, mtu);

	return index ? index : add(table, ip, mtu);
}

/* The path's MTU as an entry's name: the smallest that is known, 0 when it is the interface's. */
static uint32_t path_mtu(const struct destinations *table, const struct route *route, uint32_t mtu)
{
	if (route->mtu && (mtu == 0 || route->mtu < mtu))
		mtu = route->mtu;
	return mtu < table->routes.mtu ? mtu : 0;
}

uint16_t destination_for(struct destinations *table, uint32_t address, uint32_t mtu)
{
	const struct route *route = routes_find(&table->routes, address);
	uint32_t hop = routes_next_hop(&table->routes, address);
	uint16_t base, index;

	if (hop == 0 || routes_is_local(&table->routes, hop) || routes_is_broadcast(&table->routes, hop))
		return DESTINATION_NONE;
	base = find_or_add(table, hop, 0);
	mtu = path_mtu(table, route, mtu);
	if (mtu == 0 || !base)
		return base;
	table->entries[base].refs++; /* not to be taken for the entry that refers to it */
	index = destination_find(table, hop, mtu);
	if (!index) {
		index = add(table, hop, mtu);
		if (index) {
			table->entries[index].hop = base;
			return index;
		}
	}
	table->entries[base].refs--;
	return index;
}
