/* test_ports.c - chosen ports are free, ours, in the range; all of them are reached, and who
 * does not know the key cannot tell one destination's from another's. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "flow/ports.h"

static const struct siphash_key key = {0x1122334455667788, 0x99aabbccddeeff00};

/* The connections of one destination, by local port. */
struct world {
	bool used[65536];
	uint32_t asked, worker;
};

static struct world world;
static struct ports ports;

static bool world_is_free(void *context, const struct tuple4 *tuple)
{
	struct world *asked = context;

	asked->asked++;
	return !asked->used[tuple->local_port];
}

/* Any rule that spreads ports over four workers. */
static bool world_lands_here(void *context, const struct tuple4 *tuple)
{
	const struct world *asked = context;

	return (tuple->local_port * 2654435761u >> 30) == asked->worker;
}

static struct ports_query query_made(uint32_t tries_max)
{
	memset(&world, 0, sizeof(world));
	ports_init(&ports, &key);
	return (struct ports_query){.is_free = world_is_free, .context = &world, .tries_max = tries_max};
}

static struct tuple4 to_destination(uint32_t remote_ip)
{
	return (struct tuple4){.local_ip = 0x0a000001, .remote_ip = remote_ip, .remote_port = 443};
}

/* proves RFC6056-01 */
static void every_port_is_given_once_then_none(void **state)
{
	struct ports_query query = query_made(PORTS_COUNT);
	struct tuple4 tuple = to_destination(1);
	uint32_t count = 0;

	(void)state;
	for (; ports_choose(&ports, &query, &tuple) == 0; count++) {
		assert_true(tuple.local_port >= PORTS_FIRST);
		assert_false(world.used[tuple.local_port]);
		world.used[tuple.local_port] = true;
	}
	assert_int_equal(count, PORTS_COUNT);
	/* They follow each other: a choice costs one try, until the last search fails. */
	assert_int_equal(world.asked, 2 * PORTS_COUNT);
	assert_int_equal(ports_choose(&ports, &query, &tuple), -EADDRNOTAVAIL);
	world.used[54321] = false;
	assert_int_equal(ports_choose(&ports, &query, &tuple), 0);
	assert_int_equal(tuple.local_port, 54321);
}

/* proves RFC6056-02 */
static void a_given_port_comes_back_late(void **state)
{
	struct ports_query query = query_made(16);
	struct tuple4 tuple = to_destination(1);
	static uint32_t last_given[65536];

	(void)state;
	memset(last_given, 0, sizeof(last_given));
	for (uint32_t i = 1; i < 300000; i++) {
		assert_int_equal(ports_choose(&ports, &query, &tuple), 0);
		assert_true(!last_given[tuple.local_port] || i - last_given[tuple.local_port] >= PORTS_COUNT);
		last_given[tuple.local_port] = i;
	}
}

/* proves RFC6056-01 */
static void listening_ports_are_left_out(void **state)
{
	struct ports_query query = query_made(PORTS_COUNT);
	struct tuple4 tuple = to_destination(1);
	uint32_t count = 0;

	(void)state;
	ports_exclude(&ports, 80); /* out of the range anyway */
	ports_exclude(&ports, 1024);
	ports_exclude(&ports, 8080);
	ports_exclude(&ports, 65535);
	ports_exclude(&ports, 9000);
	ports_admit(&ports, 9000);
	ports_admit(&ports, 22);
	for (; ports_choose(&ports, &query, &tuple) == 0; count++)
		world.used[tuple.local_port] = true;
	assert_int_equal(count, PORTS_COUNT - 3);
	assert_false(world.used[1024] || world.used[8080] || world.used[65535]);
	assert_true(world.used[9000]);
	ports_admit(&ports, 8080);
	assert_int_equal(ports_choose(&ports, &query, &tuple), 0);
	assert_int_equal(tuple.local_port, 8080);
}

static void workers_share_the_range(void **state)
{
	struct ports_query query = query_made(PORTS_COUNT);
	struct tuple4 tuple = to_destination(1);
	uint32_t count = 0;

	(void)state;
	query.lands_here = world_lands_here;
	for (world.worker = 0; world.worker < 4; world.worker++)
		for (; ports_choose(&ports, &query, &tuple) == 0; count++) {
			assert_true(world_lands_here(&world, &tuple));
			assert_false(world.used[tuple.local_port]);
			world.used[tuple.local_port] = true;
		}
	assert_int_equal(count, PORTS_COUNT);
}

/* Half of the range is one stretch of old connections: it costs a row, not a walk. */
static void a_long_stretch_in_use_is_jumped(void **state)
{
	struct ports_query query = query_made(1024);
	struct tuple4 tuple = to_destination(1);
	uint32_t asked_most = 0;

	(void)state;
	for (uint32_t port = 20000; port < 52000; port++)
		world.used[port] = true;
	for (uint32_t i = 0; i < 2 * PORTS_COUNT; i++) {
		world.asked = 0;
		assert_int_equal(ports_choose(&ports, &query, &tuple), 0);
		assert_false(world.used[tuple.local_port]);
		asked_most = MAX_OF(asked_most, world.asked);
	}
	assert_true(asked_most > 64);
	assert_true(asked_most <= 1024);
}

static void few_tries_end_and_go_on_elsewhere(void **state)
{
	struct ports_query query = query_made(100);
	struct tuple4 tuple = to_destination(1);
	uint32_t calls = 1;

	(void)state;
	for (uint32_t port = 0; port < 65536; port++)
		world.used[port] = port % 8192 != 77;
	for (; ports_choose(&ports, &query, &tuple) == -EAGAIN; calls++) {
		assert_true(world.asked <= calls * 128);
		assert_true(calls <= PORTS_COUNT / 128);
	}
	assert_int_equal(tuple.local_port % 8192, 77);
	assert_true(calls > 1);
	query.tries_max = 0;
	assert_int_equal(ports_choose(&ports, &query, &tuple), -EAGAIN);
}

/* First choices for neighbouring destinations and under another key have nothing to do with
 * each other, also among the many destinations that share a counter. */
/* proves RFC6056-02 */
static void places_are_keyed_and_spread(void **state)
{
	const struct siphash_key other_key = {key.k0, key.k1 ^ 1};
	uint32_t eighths[8] = {0}, same = 0, neighbours = 0, before = 0, different = 0;
	struct ports_query query = query_made(UINT32_MAX);
	static struct ports fresh, other_fresh;
	static bool seen[65536];

	(void)state;
	ports_init(&fresh, &key);
	ports_init(&other_fresh, &other_key);
	for (uint32_t ip = 0; ip < 8000; ip++) {
		struct tuple4 tuple = to_destination(ip), other = tuple;

		ports = fresh;
		assert_int_equal(ports_choose(&ports, &query, &tuple), 0);
		ports = other_fresh;
		assert_int_equal(ports_choose(&ports, &query, &other), 0);
		same += other.local_port == tuple.local_port;
		eighths[(tuple.local_port - PORTS_FIRST) / (PORTS_COUNT / 8)]++;
		neighbours += tuple.local_port - before < 16;
		before = tuple.local_port;
		different += !seen[tuple.local_port];
		seen[tuple.local_port] = true;
	}
	for (unsigned i = 0; i < 8; i++)
		assert_in_range(eighths[i], 850, 1150);
	assert_true(same <= 3);
	assert_true(neighbours < 20);
	assert_true(different > 7000);
}

/* Ports that are ours among those of a kernel: some stretch with holes, or none. */
static void only_allowed_ports_are_given(void **state)
{
	static const uint32_t ranges[][2] = {
		{1024, 1}, {61000, 1000}, {32768, 64}, {1500, 30000}, {65535, 1}};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(ranges); i++) {
		struct ports_query query = query_made(PORTS_COUNT);
		struct tuple4 tuple = to_destination(i);
		uint64_t allowed[65536 / 64] = {0};
		uint32_t wanted = 0, count = 0;

		for (uint32_t port = ranges[i][0]; port < ranges[i][0] + ranges[i][1]; port++) {
			if (port % 7 == 3)
				continue;
			allowed[port / 64] |= 1ull << port % 64;
			wanted++;
		}
		ports_restrict(&ports, allowed);
		for (; ports_choose(&ports, &query, &tuple) == 0; count++) {
			assert_true(allowed[tuple.local_port / 64] >> tuple.local_port % 64 & 1);
			assert_false(world.used[tuple.local_port]);
			world.used[tuple.local_port] = true;
		}
		assert_int_equal(count, wanted);
	}
}

static void no_port_is_allowed(void **state)
{
	struct ports_query query = query_made(PORTS_COUNT);
	struct tuple4 tuple = to_destination(1);
	const uint64_t allowed[65536 / 64] = {0};

	(void)state;
	ports_restrict(&ports, allowed);
	assert_int_equal(ports_choose(&ports, &query, &tuple), -EADDRNOTAVAIL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_port_is_given_once_then_none),
		cmocka_unit_test(a_given_port_comes_back_late),
		cmocka_unit_test(listening_ports_are_left_out),
		cmocka_unit_test(workers_share_the_range),
		cmocka_unit_test(a_long_stretch_in_use_is_jumped),
		cmocka_unit_test(few_tries_end_and_go_on_elsewhere),
		cmocka_unit_test(places_are_keyed_and_spread),
		cmocka_unit_test(only_allowed_ports_are_given),
		cmocka_unit_test(no_port_is_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
