/* test_destination.c - routes, and a table of destinations that is full most of the time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "net/destination.h"

#define OWN     0x0a000001u /* 10.0.0.1 */
#define GATEWAY 0x0a0000feu

/* Our network, and all else behind a gateway; 0: nothing else. */
static struct routes routes_made(uint8_t prefix_bits, uint32_t gateway)
{
	uint32_t mask = prefix_bits ? UINT32_MAX << (32 - prefix_bits) : 0;
	const struct route network = {.prefix = OWN & mask, .prefix_bits = prefix_bits};
	const struct route other = {.gateway = gateway};
	struct routes routes = {.mtu = 1500};

	routes_add_address(&routes, OWN, prefix_bits);
	routes_add(&routes, &network, ROUTE_LAST);
	if (gateway)
		routes_add(&routes, &other, ROUTE_LAST);
	return routes;
}

static void *table_made(struct destinations *table, uint32_t capacity)
{
	const struct siphash_key key = {0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};
	const struct routes routes = routes_made(24, GATEWAY);
	void *memory = aligned_alloc(CACHE_LINE, ALIGN_UP(destinations_bytes(capacity), (size_t)CACHE_LINE));

	assert_non_null(memory);
	memset(table, 0x5a, sizeof(*table)); /* nothing is taken for granted */
	destinations_init(table, memory, capacity, &routes, &key);
	return memory;
}

/* proves RFC1122-IP-12 */
static void next_hops(void **state)
{
	struct routes routes = routes_made(24, GATEWAY);

	(void)state;
	assert_int_equal(routes_next_hop(&routes, OWN + 7), OWN + 7);
	assert_int_equal(routes_next_hop(&routes, 0x0a0000ff), 0x0a0000ff);
	assert_int_equal(routes_next_hop(&routes, 0x0a000101), GATEWAY);
	assert_int_equal(routes_next_hop(&routes, 0x08080808), GATEWAY);
	routes = routes_made(24, 0);
	assert_int_equal(routes_next_hop(&routes, 0x08080808), 0);
	routes = routes_made(32, GATEWAY); /* all others are behind the gateway */
	assert_int_equal(routes_next_hop(&routes, OWN + 7), GATEWAY);
	routes = routes_made(0, GATEWAY); /* all are neighbours */
	assert_int_equal(routes_next_hop(&routes, 0x08080808), 0x08080808);
}

/* proves RFC1122-IP-19 */
static void broadcast_addresses(void **state)
{
	struct routes routes = routes_made(24, GATEWAY);

	(void)state;
	assert_true(routes_is_broadcast(&routes, UINT32_MAX));
	assert_true(routes_is_broadcast(&routes, 0x0a0000ff));
	assert_false(routes_is_broadcast(&routes, 0x0a0001ff));
	assert_false(routes_is_broadcast(&routes, 0x0a0000fe));
	routes = routes_made(30, GATEWAY);
	assert_true(routes_is_broadcast(&routes, 0x0a000003));
	assert_false(routes_is_broadcast(&routes, 0x0a000007));
	routes = routes_made(31, GATEWAY); /* RFC 3021 */
	assert_false(routes_is_broadcast(&routes, 0x0a000001));
	assert_false(routes_is_broadcast(&routes, 0x0a000000));
	routes = routes_made(32, GATEWAY);
	assert_false(routes_is_broadcast(&routes, 0x0a000001));
	routes = routes_made(0, GATEWAY);
	assert_true(routes_is_broadcast(&routes, UINT32_MAX));
	assert_false(routes_is_broadcast(&routes, 0x0a0000ff));
}

/* proves RFC9293-MUST-46 */
static void who_cannot_be_reached(void **state)
{
	struct destinations table;
	void *memory = table_made(&table, 8);

	(void)state;
	assert_int_equal(destination_for(&table, OWN, 0), DESTINATION_NONE);
	assert_int_equal(destination_for(&table, 0x0a0000ff, 0), DESTINATION_NONE);
	table.routes = routes_made(24, 0);
	assert_int_equal(destination_for(&table, 0x08080808, 0), DESTINATION_NONE);
	table.routes = routes_made(24, OWN);
	assert_int_equal(destination_for(&table, 0x08080808, 0), DESTINATION_NONE);
	free(memory);
}

static void one_neighbour_for_all_behind_it(void **state)
{
	struct destinations table;
	void *memory = table_made(&table, 8);
	uint16_t gateway = destination_for(&table, 0x08080808, 0), narrow, narrower;

	(void)state;
	assert_int_not_equal(gateway, DESTINATION_NONE);
	assert_int_equal(destination_for(&table, 0x09090909, 0), gateway);
	assert_int_equal(destination_for(&table, GATEWAY, 1500), gateway);
	assert_int_equal(destination_for(&table, GATEWAY, 9000), gateway); /* the interface's own is less */
	narrow = destination_for(&table, 0x08080808, 1400);
	narrower = destination_for(&table, 0x09090909, 600);
	assert_int_not_equal(narrow, narrower);
	assert_int_equal(destination_at(&table, narrow)->mtu, 1400);
	assert_int_equal(destination_at(&table, narrower)->mtu, 600);
	assert_int_equal(destination_for(&table, 0x0b0b0b0b, 1400), narrow);
	assert_ptr_equal(destination_hop(&table, narrow), destination_at(&table, gateway));
	assert_ptr_equal(destination_hop(&table, narrower), destination_at(&table, gateway));
	assert_int_equal(destination_at(&table, gateway)->refs, 2);
	free(memory);
}

/* What makes an entry stay, one reason at a time. */
static void a_full_table_gives_only_what_nobody_needs(void **state)
{
	struct destinations table;
	void *memory = table_made(&table, 3); /* two entries */
	uint16_t one = destination_for(&table, OWN + 1, 0), two = destination_for(&table, OWN + 2, 0);

	(void)state;
	destination_hold(&table, one);
	destination_hold(&table, two);
	assert_int_equal(destination_for(&table, OWN + 3, 0), DESTINATION_NONE);
	destination_release(&table, two);
	destination_at(&table, two)->waiting = 5;
	assert_int_equal(destination_for(&table, OWN + 3, 0), DESTINATION_NONE);
	destination_at(&table, two)->waiting = UINT32_MAX;
	destination_at(&table, two)->state = NEIGHBOUR_PERMANENT;
	assert_int_equal(destination_for(&table, OWN + 3, 0), DESTINATION_NONE);
	destination_at(&table, two)->state = NEIGHBOUR_INCOMPLETE;
	table.probing = 1;
	assert_int_equal(destination_for(&table, OWN + 3, 0), two);
	assert_int_equal(table.probing, 0);
	assert_int_equal(destination_find(&table, OWN + 2, 0), DESTINATION_NONE);
	assert_int_equal(destination_find(&table, OWN + 3, 0), two);
	assert_int_equal(destination_at(&table, two)->state, NEIGHBOUR_FREE);
	/* The only free entry must not become the one of a smaller MTU that refers to it. */
	assert_int_equal(destination_for(&table, OWN + 4, 1000), DESTINATION_NONE);
	assert_int_equal(destination_at(&table, two)->ip, OWN + 4);
	assert_int_equal(destination_at(&table, two)->refs, 0);
	destination_hold(&table, DESTINATION_NONE);
	destination_release(&table, DESTINATION_NONE);
	free(memory);
}

/* Addresses that meet in one chain under one key are spread by another: nobody outside can choose them. */
static void chains_depend_on_the_key(void **state)
{
	const struct siphash_key keys[2] = {{1, 2}, {3, 4}};
	const uint32_t capacity = 512;
	const struct routes routes = routes_made(8, GATEWAY);
	struct destinations table;
	void *memory = table_made(&table, capacity);
	uint32_t chosen[200], count = 0, longest[2] = {0};

	(void)state;
	for (uint32_t ip = OWN + 1; count < ARRAY_COUNT(chosen); ip++) {
		destinations_init(&table, memory, 2, &routes, &keys[0]);
		destination_for(&table, ip, 0);
		if (table.heads[5 & table.head_mask])
			chosen[count++] = ip;
	}
	for (unsigned k = 0; k < 2; k++) {
		destinations_init(&table, memory, capacity, &routes, &keys[k]);
		for (unsigned i = 0; i < count; i++)
			assert_int_not_equal(destination_for(&table, chosen[i], 0), DESTINATION_NONE);
		for (uint32_t head = 0; head <= table.head_mask; head++) {
			uint32_t length = 0;

			for (uint32_t i = table.heads[head]; i; i = table.entries[i].next)
				length++;
			longest[k] = MAX_OF(longest[k], length);
		}
	}
	assert_true(longest[0] >= 10); /* 200 over 8 of 512 chains */
	assert_true(longest[1] <= 8);
	free(memory);
}

/* --- against a model: what is held never changes, and nothing leaks ------------------------------ */

#define HELD     40
#define CAPACITY 24u

struct held {
	uint16_t index, mtu;
	uint32_t ip;
};

static void check(const struct destinations *table, const struct held *held)
{
	uint32_t refs = 0, wanted = 0;

	for (uint16_t i = 1; i < table->used; i++) {
		const struct destination *entry = destination_at(table, i);

		assert_int_equal(
			destination_find((struct destinations *)(uintptr_t)table, entry->ip, entry->mtu), i);
		assert_int_equal(destination_hop(table, i)->ip, entry->ip);
		assert_int_equal(destination_hop(table, i)->mtu, 0);
		refs += entry->refs;
		wanted += entry->hop != i;
	}
	for (unsigned i = 0; i < HELD; i++) {
		if (!held[i].index)
			continue;
		wanted++;
		assert_int_equal(destination_at(table, held[i].index)->ip, held[i].ip);
		assert_int_equal(destination_mtu(table, held[i].index), held[i].mtu);
	}
	assert_int_equal(refs, wanted);
}

static void what_is_held_stays(void **state)
{
	struct random random = random_seeded(7);
	struct held held[HELD] = {{0}};
	struct destinations table;
	void *memory = table_made(&table, CAPACITY);
	unsigned refused = 0, given = 0;

	(void)state;
	for (unsigned step = 0; step < 50000; step++) {
		struct held *one = &held[random_below(&random, HELD)];
		uint32_t ip = OWN + 1 + random_below(&random, 60), mtu = 1496 + random_below(&random, 5);

		if (one->index) {
			destination_release(&table, one->index);
			one->index = 0;
		} else {
			*one = (struct held){destination_for(&table, ip, mtu), (uint16_t)mtu, ip};
			destination_hold(&table, one->index);
			refused += !one->index;
			given += one->index != 0;
		}
		check(&table, held);
	}
	assert_true(refused > 100 && given > 10000);
	for (unsigned i = 0; i < HELD; i++)
		destination_release(&table, held[i].index);
	memset(held, 0, sizeof(held));
	check(&table, held);
	free(memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(next_hops),
		cmocka_unit_test(broadcast_addresses),
		cmocka_unit_test(who_cannot_be_reached),
		cmocka_unit_test(one_neighbour_for_all_behind_it),
		cmocka_unit_test(a_full_table_gives_only_what_nobody_needs),
		cmocka_unit_test(chains_depend_on_the_key),
		cmocka_unit_test(what_is_held_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
