/* test_user_timeout.c - the user timeout as an option of both ends (RFC 5482). */
#include "harness.h"

#include "tcp/tcb.h"

static struct test *begin_option(uint32_t ms)
{
	struct test *t = test_begin();

	for (unsigned i = 0; i < 2; i++) {
		t->services[i].flags |= C10M_USER_TIMEOUT_OPTION;
		t->services[i].user_timeout_ms = ms;
	}
	return t;
}

/* What is sent stays unacknowledged: after how many seconds is it over? */
static void expect_timeout(struct test *t, uint32_t seconds)
{
	app_send(t, 0, 100);
	pass_ms(t, seconds * 1000 - 200);
	discard_out(t);
	expect_no_event(t);
	pass_ms(t, 300);
	expect_event(t, "close timeout");
	discard_out(t);
	test_finish(t);
}

static void ours_goes_with_the_syn_ack(void **state)
{
	struct test *t = begin_option(30000);

	(void)state;
	test_start(t);
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460 uto 30");
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	expect_timeout(t, 30);
}

/* More minutes than the option's 15 bits hold: as many as these. */
static void the_longest_is_told_as_the_longest(void **state)
{
	struct test *t = begin_option(24u * 24 * 3600 * 1000);

	(void)state;
	test_start(t);
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460 uto 0xffff");
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	test_finish(t);
}

static void the_larger_wish_counts(void **state)
{
	struct test *t = begin_option(30000);

	(void)state;
	test_start(t);
	mark(t);
	inject(t, "S seq 0 win 1000 mss 1460 uto 45");
	expect(t, "S. seq 0 ack 1 mss 1460 uto 30");
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	assert_int_equal(counted(t, tcp_user_timeouts_learnt), 1);
	expect_timeout(t, 45);
}

/* A peer must not make us give up sooner than we would. */
static void a_shorter_wish_does_not(void **state)
{
	struct test *t = begin_option(30000);

	(void)state;
	test_start(t);
	inject(t, "S seq 0 win 1000 mss 1460 uto 5");
	discard_out(t);
	t->peer->irs_known = false;
	inject(t, "S seq 0 win 1000 mss 1460 uto 5");
	expect(t, "S. seq 0 ack 1 mss 1460 uto 30");
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	expect_timeout(t, 30);
}

/* Nor pin memory for ever: 32,767 minutes are 22 days. */
static void a_wish_has_its_limit(void **state)
{
	struct test *t = begin_option(30000);

	(void)state;
	t->services[0].user_timeout_max_ms = 60000;
	test_start(t);
	inject(t, "S seq 0 win 1000 mss 1460 uto 0xffff");
	expect(t, "S. seq 0 ack 1 mss 1460 uto 30");
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	expect_timeout(t, 60);
}

/* Unless the service says otherwise an hour is the limit; minutes are read as such. */
static void minutes_and_an_hour_at_most(void **state)
{
	static const uint32_t cases[][2] = {{0x8003, 180000},
					    {0x8000 | 59, 3540000},
					    {0x8000 | 61, 3600000},
					    {3599, 3599000},
					    {3601, 3600000}};
	struct test *t = begin_option(30000);

	(void)state;
	test_start(t);
	open_server(t);
	for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
		inject(t, ". seq 1 ack 1 uto %u", cases[i][0]);
		assert_int_equal(((struct tcb *)app_conn(t, 0))->user_timeout_ms, cases[i][1]);
	}
	test_finish(t);
}

/* A part of a second is told as a whole one: the peer must not give up before us. */
static void parts_of_a_second_are_told_as_one(void **state)
{
	struct test *t = begin_option(30001);

	(void)state;
	test_start(t);
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460 uto 31");
	test_finish(t);
}

/* The peer wishes for less than before, while data waits: heeded at once, not when it is next sent again. */
static void a_wish_counts_for_what_waits_already(void **state)
{
	struct test *t = begin_option(100000);

	(void)state;
	test_start(t);
	open_server(t);
	inject(t, ". seq 1 ack 1 uto 300");
	app_send(t, 0, 100);
	pass_ms(t, 103000); /* sent again after 102.2 s, and not before 162 */
	discard_out(t);
	inject(t, ". seq 1 ack 1 uto 110");
	pass_ms(t, 6800);
	expect_no_event(t);
	pass_ms(t, 400);
	expect_event(t, "close timeout");
	discard_out(t);
	test_finish(t);
}

/* Without a time of our own nothing is told, and RFC 9293's 100 seconds are the least. */
static void without_our_own_the_least_is_100_seconds(void **state)
{
	struct test *t = begin_option(0);

	(void)state;
	test_start(t);
	open_server(t);
	inject(t, ". seq 1 ack 1 uto 5");
	expect_timeout(t, 100);
}

static void zero_and_broken_ones_are_ignored(void **state)
{
	struct test *t = begin_option(30000);
	uint8_t frame[FRAME_ROOM];
	uint32_t bytes;

	(void)state;
	test_start(t);
	inject(t, "S seq 0 win 1000 mss 1460");
	discard_out(t);
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460 uto 30");
	inject(t, ". seq 1 ack 1 uto 0");
	expect_event(t, "open");
	mark(t);
	inject(t, ". seq 1 ack 1 uto 0");
	inject(t, ". seq 1 ack 1 uto 0x8000");
	bytes = build(t, frame, ". seq 1 ack 1 uto 300");
	frame[ETH_HEADER_BYTES + IPV4_HEADER_BYTES + TCP_HEADER_BYTES + 1] = 3;
	frame[ETH_HEADER_BYTES + IPV4_HEADER_BYTES + TCP_HEADER_BYTES + 3] = 1; /* a NOP */
	fix_checksums(frame, bytes);
	inject_raw(t, frame, bytes);
	assert_int_equal(counted(t, tcp_user_timeouts_learnt), 0);
	expect_timeout(t, 30);
}

/* A service that does not ask for it neither tells nor heeds. */
static void off_unless_asked_for(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->services[0].user_timeout_ms = 30000;
	test_start(t);
	inject(t, "S seq 0 win 1000 mss 1460 uto 600");
	expect(t, "S. seq 0 ack 1 mss 1460");
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	inject(t, ". seq 1 ack 1 uto 600");
	expect_timeout(t, 30);
}

/* What the application sets for a connection is told, and stays whatever the peer wishes. */
static void a_change_is_told_and_stays(void **state)
{
	struct test *t = begin_option(30000);
	uint8_t data[1460];

	(void)state;
	test_start(t);
	inject(t, "S seq 0 win 60000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460 uto 30");
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	flush(t);
	c10m_set_user_timeout(app_conn(t, 0), 40000000); /* more seconds than the option tells: minutes */
	flush(t);
	expect(t, ". seq 1 ack 1 uto 0x829b");
	c10m_set_user_timeout(app_conn(t, 0), 20000);
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = stream_byte(i);
	c10m_send(app_conn(t, 0), data, sizeof(data)); /* a full segment has no room for it ... */
	t->slots[0].tx_bytes = sizeof(data);
	flush(t);
	expect(t, "P. seq 1 ack 1 len 1460");
	inject(t, "P. seq 1 ack 1461 len 1460 uto 500");
	expect_event(t, "data 1460");
	inject(t, "P. seq 1461 ack 1461 len 1460");
	expect_event(t, "data 1460");
	expect(t, ". seq 1461 ack 2921 uto 20"); /* ... an acknowledgement has */
	assert_int_equal(usage(t).extensions, 0);
	expect_timeout(t, 20);
}

static void ours_goes_with_the_syn(void **state)
{
	struct test *t = begin_option(30000);

	(void)state;
	t->active = true;
	test_start(t);
	app_connect(t, 5000);
	t->peer->stack_port = 5000;
	expect(t, "S seq 0 mss 1460 wscale 0 sackok ts 0 uto 30");
	t->peer->timestamps = false;
	inject(t, "S. seq 0 ack 1 win 1000 mss 1460 uto 50");
	expect(t, ". seq 1 ack 1");
	expect_event(t, "open");
	expect_timeout(t, 50);
}

static const struct CMUnitTest tests[] = {
	TEST(ours_goes_with_the_syn_ack),
	TEST(the_longest_is_told_as_the_longest),
	TEST(the_larger_wish_counts),
	TEST(a_shorter_wish_does_not),
	TEST(a_wish_has_its_limit),
	TEST(minutes_and_an_hour_at_most),
	TEST(parts_of_a_second_are_told_as_one),
	TEST(a_wish_counts_for_what_waits_already),
	TEST(without_our_own_the_least_is_100_seconds),
	TEST(zero_and_broken_ones_are_ignored),
	TEST(off_unless_asked_for),
	TEST(a_change_is_told_and_stays),
	TEST(ours_goes_with_the_syn),
};

PACKET_MAIN(tests)
