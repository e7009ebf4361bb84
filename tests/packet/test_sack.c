/* test_sack.c - what is told of data out of order (RFC 2018) and of data that came twice (RFC 2883). */
#include "harness.h"

#include "stack/internal.h"

static struct test *begin_sack(bool timestamps)
{
	struct test *t = test_begin();

	t->peer->offer_sack = true;
	t->peer->offer_timestamps = timestamps;
	test_start(t);
	open_server(t);
	t->app.quiet = true;
	return t;
}

/* --- agreeing on it --------------------------------------------------------------------------- */

/* proves RFC2018-01 */
static void offered_and_answered(void **state)
{
	struct test *t = test_begin();

	(void)state;
	test_start(t);
	inject(t, "S seq 0 win 65535 mss 1460 sackok");
	expect(t, "S. seq 0 ack 1 mss 1460 sackok");
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	inject(t, ". seq 101 ack 1 len 100");
	expect(t, ". ack 1 sack 101-201");
	test_finish(t);
}

/* proves RFC2018-02 */
static void not_offered_not_used(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, ". seq 101 ack 1 len 100");
	expect(t, ". ack 1");
	inject(t, ". seq 101 ack 1 len 100");
	expect(t, ". ack 1");
	assert_int_equal(usage(t).extensions, 0);
	test_finish(t);
}

static void switched_off(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.no_sack = true;
	test_start(t);
	inject(t, "S seq 0 win 65535 mss 1460 sackok");
	expect(t, "S. seq 0 ack 1 mss 1460");
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	inject(t, ". seq 101 ack 1 len 100");
	expect(t, ". ack 1");
	test_finish(t);
}

/* Our own SYN offers it; the peer's answer decides. */
static void client_without_and_with(void **state)
{
	(void)state;
	for (unsigned with = 0; with < 2; with++) {
		struct test *t = test_begin();

		t->active = true;
		t->peer->offer_sack = with;
		test_start(t);
		open_client(t);
		t->app.quiet = true;
		inject(t, ". seq 101 ack 1 len 100");
		if (with)
			expect(t, ". ack 1 sack 101-201");
		else
			expect(t, ". ack 1");
		test_finish(t);
	}
}

/* The timestamp of a SYN cookie keeps window scale and SACK. */
static void cookies_keep_it(void **state)
{
	(void)state;
	for (unsigned with = 0; with < 2; with++) {
		struct test *t = test_begin();

		t->config.always_cookies = true;
		t->peer->offer_timestamps = true;
		t->peer->offer_sack = with;
		t->peer->wscale = 7;
		test_start(t);
		pass_ms(t, 12345);
		open_server(t);
		t->app.quiet = true;
		inject(t, ". seq 101 ack 1 win 12 len 100");
		if (with)
			expect(t, ". ack 1 sack 101-201");
		else
			expect(t, ". ack 1");
		app_send(t, 0, 1448); /* the window is 1536, not 12 */
		expect(t, ". seq 1 ack 1 len 1448");
		test_finish(t);
	}
}

/* --- blocks ------------------------------------------------------------------------------------- */

/* RFC 2018 section 4: the latest first, then those told last; up to four, three beside timestamps. */
/* proves RFC2018-03, RFC2018-04, RFC2018-07 */
static void latest_block_first(void **state)
{
	struct test *t = begin_sack(false);

	(void)state;
	inject(t, ". seq 1001 ack 1 len 100");
	expect(t, ". ack 1 sack 1001-1101");
	inject(t, ". seq 3001 ack 1 len 100");
	expect(t, ". ack 1 sack 3001-3101,1001-1101");
	inject(t, ". seq 2001 ack 1 len 100");
	expect(t, ". ack 1 sack 2001-2101,3001-3101,1001-1101");
	inject(t, ". seq 5001 ack 1 len 100");
	expect(t, ". ack 1 sack 5001-5101,2001-2101,3001-3101,1001-1101");
	inject(t, ". seq 7001 ack 1 len 100");
	expect(t, ". ack 1 sack 7001-7101,5001-5101,2001-2101,3001-3101");
	test_finish(t);
}

/* proves RFC2018-04 */
static void three_beside_timestamps(void **state)
{
	struct test *t = begin_sack(true);

	(void)state;
	inject(t, ". seq 1001 ack 1 len 100");
	expect(t, ". ack 1 sack 1001-1101");
	inject(t, ". seq 2001 ack 1 len 100");
	expect(t, ". ack 1 sack 2001-2101,1001-1101");
	inject(t, ". seq 3001 ack 1 len 100");
	expect(t, ". ack 1 sack 3001-3101,2001-2101,1001-1101");
	inject(t, ". seq 4001 ack 1 len 100");
	expect(t, ". ack 1 sack 4001-4101,3001-3101,2001-2101");
	test_finish(t);
}

static void blocks_grow_and_join(void **state)
{
	struct test *t = begin_sack(false);

	(void)state;
	inject(t, ". seq 1001 ack 1 len 100");
	expect(t, ". ack 1 sack 1001-1101");
	inject(t, ". seq 1101 ack 1 len 100");
	expect(t, ". ack 1 sack 1001-1201");
	inject(t, ". seq 2001 ack 1 len 100");
	expect(t, ". ack 1 sack 2001-2101,1001-1201");
	inject(t, ". seq 901 ack 1 len 100");
	expect(t, ". ack 1 sack 901-1201,2001-2101");
	inject(t, ". seq 1201 ack 1 len 800");
	expect(t, ". ack 1 sack 901-2101");
	inject(t, ". seq 1 ack 1 len 900");
	expect(t, ". ack 2101");
	assert_int_equal(usage(t).extensions, 0);
	test_finish(t);
}

/* What becomes in order is told of no longer; the rest is. */
static void blocks_end_below_the_acknowledgement(void **state)
{
	struct test *t = begin_sack(false);

	(void)state;
	inject(t, ". seq 101 ack 1 len 100");
	expect(t, ". ack 1 sack 101-201");
	inject(t, ". seq 301 ack 1 len 100");
	expect(t, ". ack 1 sack 301-401,101-201");
	inject(t, ". seq 1 ack 1 len 100");
	expect(t, ". ack 201 sack 301-401");
	inject(t, ". seq 201 ack 1 len 100");
	expect(t, ". ack 401");
	test_finish(t);
}

/* Only what is kept is told of: the window cuts it. */
static void no_block_beyond_the_window(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->services[0].receive_bytes = 2000;
	t->peer->offer_sack = true;
	test_start(t);
	open_server(t);
	inject(t, ". seq 1901 ack 1 len 1000");
	expect(t, ". ack 1 sack 1901-2001");
	test_finish(t);
}

/* No chunk is left: nothing is kept, nothing is told of, not even half of it. */
/* proves RFC2018-07 */
static void no_block_of_what_was_not_kept(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.chunks = (struct chunk_config){{1, 0, 0}};
	t->peer->offer_sack = true;
	test_start(t);
	open_server(t);
	inject(t, ". seq 1001 ack 1 len 200");
	expect(t, ". ack 1 sack 1001-1113");
	expect_drop(t, NO_CHUNK);
	inject(t, ". seq 2001 ack 1 len 200");
	expect(t, ". ack 1 sack 1001-1113");
	expect_drop(t, NO_CHUNK);
	test_finish(t);
}

/* A full segment has no room for the option: an acknowledgement of its own goes first. */
/* proves RFC2018-04 */
static void data_does_not_hide_blocks(void **state)
{
	struct test *t = begin_sack(false);
	struct burst burst = {0};

	(void)state;
	t->peer->window = 1460;
	inject(t, ". seq 1 ack 1");
	app_send(t, 0, 2920);
	expect(t, ". seq 1 ack 1 len 1460");
	burst_add(t, &burst, ". seq 101 ack 1461 len 100");
	inject_burst(t, &burst);
	expect(t, ". seq 1461 ack 1 sack 101-201");
	expect(t, "P. seq 1461 ack 1 len 1460");
	app_send(t, 0, 100); /* a short one takes them along */
	inject(t, ". seq 201 ack 2921 len 100");
	expect(t, ". seq 2921 ack 1 sack 101-301");
	expect(t, "P. seq 2921 ack 1 len 100 sack 101-301");
	test_finish(t);
}

/* --- data that came twice ------------------------------------------------------------------------ */

/* RFC 2883 section 4.1: a whole segment below the acknowledgement; told once. */
/* proves RFC2883-01 */
static void duplicate_below(void **state)
{
	struct test *t = begin_sack(false);

	(void)state;
	inject(t, ". seq 1 ack 1 len 100");
	expect_after(t, 40, ". ack 101");
	mark(t);
	inject(t, ". seq 1 ack 1 len 100");
	expect(t, ". ack 101 sack 1-101");
	expect_drop(t, TCP_OUT_OF_WINDOW);
	assert_int_equal(counted(t, tcp_duplicates_told), 1);
	assert_int_equal(usage(t).extensions, 0);
	inject(t, ". seq 201 ack 1 len 100");
	expect(t, ". ack 101 sack 201-301");
	test_finish(t);
}

/* Section 4.2: only a part of it was there. */
/* proves RFC2883-01 */
static void duplicate_in_part(void **state)
{
	struct test *t = begin_sack(false);

	(void)state;
	inject(t, ". seq 1 ack 1 len 100");
	expect_after(t, 40, ". ack 101");
	inject(t, ". seq 51 ack 1 len 100");
	expect_after(t, 40, ". ack 151 sack 51-101");
	test_finish(t);
}

/* Section 4.3: twice out of order: the duplicate first, then the block that it lies in. */
/* proves RFC2883-01 */
static void duplicate_out_of_order(void **state)
{
	struct test *t = begin_sack(false);

	(void)state;
	inject(t, ". seq 1001 ack 1 len 500");
	expect(t, ". ack 1 sack 1001-1501");
	inject(t, ". seq 1101 ack 1 len 100");
	expect(t, ". ack 1 sack 1101-1201,1001-1501");
	inject(t, ". seq 1401 ack 1 len 200");
	expect(t, ". ack 1 sack 1401-1501,1001-1601");
	inject(t, ". seq 801 ack 1 len 300");
	expect(t, ". ack 1 sack 1001-1101,801-1601");
	test_finish(t);
}

/* Without an extension nothing is told, and all goes on. */
static void no_extension_left(void **state)
{
	struct test *t = begin_sack(false);
	struct pool *pool = &t->stack->core.extensions;
	uint32_t taken = 0;

	(void)state;
	while (pool_take(pool) != POOL_NONE)
		taken++;
	mark(t);
	inject(t, ". seq 101 ack 1 len 100");
	expect(t, ". ack 1");
	inject(t, ". seq 201 ack 1 len 100");
	expect(t, ". ack 1");
	inject(t, ". seq 201 ack 1 len 100");
	expect(t, ". ack 1");
	assert_true(counted(t, tcp_extensions_missing) >= 3);
	while (taken)
		pool_give(pool, --taken);
	inject(t, ". seq 401 ack 1 len 100");
	expect(t, ". ack 1 sack 401-501");
	inject(t, ". seq 1 ack 1 len 100");
	expect(t, ". ack 301 sack 401-501");
	inject(t, ". seq 301 ack 1 len 100");
	expect(t, ". ack 501");
	test_finish(t);
}

/* Many holes, filled from the front, from the back and at random: the stream comes out right. */
static void many_holes(void **state)
{
	struct test *t = begin_sack(false);
	uint32_t order[60];

	(void)state;
	for (uint32_t i = 0; i < 60; i++)
		order[i] = i;
	for (uint32_t i = 0; i < 60; i++) {
		uint32_t j = (i * 37 + 11) % 60, swap = order[i];

		order[i] = order[j];
		order[j] = swap;
	}
	for (uint32_t i = 0; i < 60; i++) {
		inject(t, ". seq %u ack 1 len 120", 101 + 100 * order[i]);
		discard_out(t);
	}
	inject(t, ". seq 1 ack 1 len 100");
	expect(t, ". ack 6121");
	assert_int_equal(t->slots[0].rx_bytes, 6120);
	assert_int_equal(usage(t).extensions, 0);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(offered_and_answered),
	TEST(not_offered_not_used),
	TEST(switched_off),
	TEST(client_without_and_with),
	TEST(cookies_keep_it),
	TEST(latest_block_first),
	TEST(three_beside_timestamps),
	TEST(blocks_grow_and_join),
	TEST(blocks_end_below_the_acknowledgement),
	TEST(no_block_beyond_the_window),
	TEST(no_block_of_what_was_not_kept),
	TEST(data_does_not_hide_blocks),
	TEST(duplicate_below),
	TEST(duplicate_in_part),
	TEST(duplicate_out_of_order),
	TEST(no_extension_left),
	TEST(many_holes),
};

PACKET_MAIN(tests)
