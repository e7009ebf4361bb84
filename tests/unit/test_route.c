/* test_route.c - which address is ours and which way is taken, whatever comes and goes; a table of random
 * routes against a search that knows no order. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/route.h"

#define IP(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

static struct routes table;

static void begin(void)
{
	memset(&table, 0, sizeof(table));
}

static int add(uint32_t prefix, uint8_t bits, uint32_t gateway, uint32_t metric, enum route_place place)
{
	const struct route route = {
		.prefix = prefix, .prefix_bits = bits, .gateway = gateway, .metric = metric};

	return routes_add(&table, &route, place);
}

static bool drop(uint32_t prefix, uint8_t bits, uint32_t gateway, uint32_t metric)
{
	const struct route route = {
		.prefix = prefix, .prefix_bits = bits, .gateway = gateway, .metric = metric};

	return routes_remove(&table, &route);
}

static void addresses_come_and_go(void **state)
{
	(void)state;
	begin();
	assert_false(routes_is_local(&table, 0));
	assert_false(routes_is_broadcast(&table, 0));
	assert_true(routes_is_broadcast(&table, UINT32_MAX));
	for (uint32_t i = 0; i < ROUTES_ADDRESSES; i++)
		assert_int_equal(routes_add_address(&table, IP(10, 0, i, 1), 24), 0);
	assert_int_equal(routes_add_address(&table, IP(10, 1, 0, 1), 24), -ENOSPC);
	assert_int_equal(routes_add_address(&table, IP(10, 0, 3, 1), 25), 0); /* another prefix */
	for (uint32_t i = 0; i < ROUTES_ADDRESSES; i++) {
		assert_true(routes_is_local(&table, IP(10, 0, i, 1)));
		assert_true(routes_is_broadcast(&table, IP(10, 0, i, i == 3 ? 127 : 255)));
		assert_false(routes_is_local(&table, IP(10, 0, i, 2)));
	}
	assert_false(routes_is_broadcast(&table, IP(10, 0, 3, 255)));
	assert_true(routes_remove_address(&table, IP(10, 0, 0, 1)));
	assert_false(routes_remove_address(&table, IP(10, 0, 0, 1)));
	assert_false(routes_is_local(&table, IP(10, 0, 0, 1)));
	assert_true(routes_is_local(&table, IP(10, 0, 1, 1)));
	for (uint32_t i = 1; i < ROUTES_ADDRESSES; i++)
		assert_true(routes_remove_address(&table, IP(10, 0, i, 1)));
	assert_false(routes_is_local(&table, 0) || routes_is_local(&table, IP(10, 0, 1, 1)));
	assert_int_equal(routes_source(&table, IP(10, 0, 1, 9)), 0);
}

static void a_range_is_ours_beside_them(void **state)
{
	(void)state;
	begin();
	table.sources = ipv4_hosts(IP(10, 64, 0, 0), 12);
	assert_false(routes_is_local(&table, 0) || routes_is_local(&table, UINT32_MAX));
	assert_int_equal(routes_add_address(&table, IP(10, 0, 0, 1), 24), 0);
	assert_true(routes_is_local(&table, IP(10, 64, 0, 1)) &&
		    routes_is_local(&table, IP(10, 79, 255, 254)));
	assert_true(routes_is_local(&table, IP(10, 0, 0, 1)));
	assert_false(routes_is_local(&table, IP(10, 64, 0, 0)) ||
		     routes_is_local(&table, IP(10, 79, 255, 255)));
	assert_false(routes_is_local(&table, IP(10, 63, 255, 255)) ||
		     routes_is_local(&table, IP(10, 80, 0, 0)));
	/* Nothing is said of it when the rest is told anew. */
	routes_begin(&table);
	routes_end(&table);
	assert_false(routes_is_local(&table, IP(10, 0, 0, 1)));
	assert_true(routes_is_local(&table, IP(10, 70, 1, 1)));
}

/* RFC 3021. */
static void small_networks_have_no_broadcast(void **state)
{
	(void)state;
	begin();
	assert_int_equal(routes_add_address(&table, IP(10, 0, 0, 1), 32), 0);
	assert_int_equal(routes_add_address(&table, IP(10, 0, 0, 4), 31), 0);
	for (uint32_t i = 0; i < 256; i++)
		assert_false(routes_is_broadcast(&table, IP(10, 0, 0, i)));
}

/* proves RFC1122-IP-13 */
static void the_longest_prefix_wins_then_the_metric(void **state)
{
	(void)state;
	begin();
	assert_int_equal(routes_next_hop(&table, IP(10, 0, 0, 9)), 0);
	assert_int_equal(add(0, 0, IP(10, 0, 0, 254), 100, ROUTE_LAST), 0);
	assert_int_equal(add(IP(10, 0, 0, 0), 24, 0, 0, ROUTE_LAST), 0);
	assert_int_equal(add(IP(10, 1, 0, 0), 16, IP(10, 0, 0, 2), 0, ROUTE_LAST), 0);
	assert_int_equal(add(IP(10, 1, 2, 3), 32, IP(10, 0, 0, 3), 0, ROUTE_LAST), 0);
	assert_int_equal(routes_next_hop(&table, IP(10, 0, 0, 9)), IP(10, 0, 0, 9));
	assert_int_equal(routes_next_hop(&table, IP(10, 1, 9, 9)), IP(10, 0, 0, 2));
	assert_int_equal(routes_next_hop(&table, IP(10, 1, 2, 3)), IP(10, 0, 0, 3));
	assert_int_equal(routes_next_hop(&table, IP(8, 8, 8, 8)), IP(10, 0, 0, 254));
	assert_int_equal(add(0, 0, IP(10, 0, 0, 253), 50, ROUTE_LAST), 0);
	assert_int_equal(routes_next_hop(&table, IP(8, 8, 8, 8)), IP(10, 0, 0, 253));
	assert_true(drop(0, 0, IP(10, 0, 0, 253), 50));
	assert_false(drop(0, 0, IP(10, 0, 0, 253), 50));
	assert_int_equal(routes_next_hop(&table, IP(8, 8, 8, 8)), IP(10, 0, 0, 254));
	assert_int_equal(add(IP(10, 0, 0, 1), 24, 0, 0, ROUTE_LAST), -EINVAL);
	assert_int_equal(add(0, 33, 0, 0, ROUTE_LAST), -EINVAL);
}

/* proves RFC1122-IP-13 */
static void equals_stand_in_the_order_that_was_asked_for(void **state)
{
	uint32_t changes;

	(void)state;
	begin();
	add(0, 0, 1, 0, ROUTE_LAST);
	add(0, 0, 2, 0, ROUTE_LAST);
	assert_int_equal(routes_next_hop(&table, 99), 1);
	add(0, 0, 3, 0, ROUTE_FIRST);
	assert_int_equal(routes_next_hop(&table, 99), 3);
	add(0, 0, 4, 0, ROUTE_REPLACE);
	assert_int_equal(routes_next_hop(&table, 99), 4);
	assert_int_equal(table.route_count, 3);
	changes = table.changes;
	add(0, 0, 2, 0, ROUTE_LAST); /* known already */
	assert_int_equal(table.changes, changes);
	assert_true(drop(0, 0, 4, 0));
	assert_int_equal(routes_next_hop(&table, 99), 1);
	assert_true(drop(0, 0, 1, 0));
	assert_int_equal(routes_next_hop(&table, 99), 2);
	assert_true(table.changes > changes);
}

/* A closed way hides the wider ones: packets must not leave by a way the kernel would not take. */
static void closed_ways(void **state)
{
	const struct route closed = {.prefix = IP(10, 9, 0, 0), .prefix_bits = 16, .closed = true};

	(void)state;
	begin();
	add(0, 0, IP(10, 0, 0, 254), 0, ROUTE_LAST);
	assert_int_equal(routes_add(&table, &closed, ROUTE_LAST), 0);
	assert_int_equal(routes_next_hop(&table, IP(10, 9, 1, 1)), 0);
	assert_int_equal(routes_next_hop(&table, IP(10, 8, 1, 1)), IP(10, 0, 0, 254));
}

/* proves RFC9293-MUST-44 */
static void source_of_a_connection(void **state)
{
	struct route wish = {.prefix = IP(10, 9, 0, 0), .prefix_bits = 16, .gateway = IP(10, 0, 2, 254)};

	(void)state;
	begin();
	routes_add_address(&table, IP(10, 0, 1, 1), 24);
	routes_add_address(&table, IP(10, 0, 2, 1), 24);
	routes_add_address(&table, IP(10, 0, 2, 7), 24);
	routes_add(&table, &wish, ROUTE_LAST);
	assert_int_equal(routes_source(&table, IP(10, 0, 2, 9)), IP(10, 0, 2, 1));
	assert_int_equal(routes_source(&table, IP(10, 9, 0, 1)), IP(10, 0, 2, 1)); /* the gateway's network */
	assert_int_equal(routes_source(&table, IP(8, 8, 8, 8)), IP(10, 0, 1, 1));
	wish.source = IP(10, 0, 2, 7);
	routes_add(&table, &wish, ROUTE_LAST);
	assert_int_equal(routes_source(&table, IP(10, 9, 0, 1)), IP(10, 0, 2, 7));
	routes_remove_address(&table, IP(10, 0, 2, 7)); /* the wish is for one that is not ours */
	assert_int_equal(routes_source(&table, IP(10, 9, 0, 1)), IP(10, 0, 2, 1));
}

static void told_anew(void **state)
{
	(void)state;
	begin();
	routes_add_address(&table, IP(10, 0, 1, 1), 24);
	routes_add_address(&table, IP(10, 0, 2, 1), 24);
	add(0, 0, 1, 0, ROUTE_LAST);
	add(IP(10, 0, 1, 0), 24, 0, 0, ROUTE_LAST);
	routes_begin(&table);
	routes_add_address(&table, IP(10, 0, 2, 1), 24);
	add(IP(10, 0, 1, 0), 24, 0, 0, ROUTE_LAST);
	add(IP(10, 0, 3, 0), 24, 0, 0, ROUTE_LAST);
	assert_int_equal(routes_next_hop(&table, 99), 1); /* nothing is lost meanwhile */
	routes_end(&table);
	assert_int_equal(table.address_count, 1);
	assert_true(routes_is_local(&table, IP(10, 0, 2, 1)));
	assert_int_equal(table.route_count, 2);
	assert_int_equal(routes_next_hop(&table, 99), 0);
	routes_begin(&table);
	routes_end(&table);
	assert_int_equal(table.address_count + table.route_count, 0);
}

static void a_full_table_says_so(void **state)
{
	(void)state;
	begin();
	for (uint32_t i = 0; i < ROUTES_MAX; i++)
		assert_int_equal(add(IP(10, i, 0, 0), 16, 1 + i, 0, ROUTE_LAST), 0);
	assert_int_equal(add(IP(11, 0, 0, 0), 16, 5, 0, ROUTE_LAST), -ENOSPC);
	assert_int_equal(add(IP(10, 7, 0, 0), 16, 77, 0, ROUTE_REPLACE), 0);
	assert_int_equal(routes_next_hop(&table, IP(10, 7, 1, 1)), 77);
	for (uint32_t i = 0; i < ROUTES_MAX; i++)
		assert_int_equal(routes_next_hop(&table, IP(10, i, 1, 1)), i == 7 ? 77 : 1 + i);
}

/* --- against a plain search ---------------------------------------------------------- */

static uint64_t seed = 88172645463325252u;

static uint32_t draw(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 16) % below;
}

static uint32_t plain_search(uint32_t address)
{
	const struct route *best = NULL;

	for (uint32_t i = 0; i < table.route_count; i++) {
		const struct route *route = &table.routes[i];
		uint64_t size = 1ull << (32 - route->prefix_bits);

		if (address < route->prefix || address >= route->prefix + size)
			continue;
		if (!best || route->prefix_bits > best->prefix_bits ||
		    (route->prefix_bits == best->prefix_bits && route->metric < best->metric))
			best = route;
	}
	return best ? best->gateway : 0;
}

static void random_tables(void **state)
{
	(void)state;
	begin();
	for (uint32_t round = 0; round < 20000; round++) {
		uint8_t bits = (uint8_t)draw(33);
		uint32_t mask = bits ? UINT32_MAX << (32 - bits) : 0, prefix = draw(16) << 28 & mask;
		uint32_t gateway = 1 + draw(5), metric = draw(3), address = draw(UINT32_MAX);

		prefix |= draw(4) << (32 - MAX_OF(bits, 2u)) & mask;
		if (draw(2))
			add(prefix, bits, gateway, metric, (enum route_place)draw(3));
		else
			drop(prefix, bits, gateway, metric);
		if (draw(2))
			address = prefix | (draw(UINT32_MAX) & ~mask);
		assert_int_equal(routes_next_hop(&table, address), plain_search(address));
	}
	assert_true(table.route_count > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_come_and_go),
		cmocka_unit_test(a_range_is_ours_beside_them),
		cmocka_unit_test(small_networks_have_no_broadcast),
		cmocka_unit_test(the_longest_prefix_wins_then_the_metric),
		cmocka_unit_test(equals_stand_in_the_order_that_was_asked_for),
		cmocka_unit_test(closed_ways),
		cmocka_unit_test(source_of_a_connection),
		cmocka_unit_test(told_anew),
		cmocka_unit_test(a_full_table_says_so),
		cmocka_unit_test(random_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
