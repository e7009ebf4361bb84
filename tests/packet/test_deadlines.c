/* test_deadlines.c - what a service demands of its peers: a first byte, no long silence, data taken. */
#include "harness.h"

static struct test *begin_deadlines(uint32_t first_byte_ms, uint32_t idle_ms, uint32_t unsent_ms)
{
	struct test *t = test_begin();

	t->services[0].first_byte_ms = first_byte_ms;
	t->services[0].idle_ms = idle_ms;
	t->services[0].unsent_ms = unsent_ms;
	t->app.quiet = true;
	t->app.keep_open = true;
	test_start(t);
	open_server(t);
	mark(t);
	return t;
}

/* The connection ends in so many milliseconds: not earlier, late by two ticks and 1/64 at most. */
static void expect_end_after(struct test *t, uint64_t ms)
{
	pass_us(t, ms * MS - 1);
	discard_out(t);
	expect_no_event(t);
	pass_us(t, 1 + (2 + ms / 64) * MS);
	expect_event(t, "close deadline");
	assert_int_equal(usage(t).connections, 0);
}

static void expect_alive_for(struct test *t, uint64_t ms)
{
	pass_ms(t, ms);
	discard_out(t);
	expect_no_event(t);
}

static void data(struct test *t, unsigned at, unsigned bytes)
{
	inject(t, "P. seq %u ack 1 len %u", at, bytes);
}

/* --- first byte */

static void no_first_byte(void **state)
{
	struct test *t = begin_deadlines(5000, 0, 0);

	(void)state;
	expect_end_after(t, 5000);
	expect(t, "R. seq 1 ack 1");
	assert_int_equal(counted(t, tcp_first_byte_deadlines), 1);
	assert_int_equal(counted(t, tcp_idle_deadlines), 0);
	test_finish(t);
}

static void acknowledgements_are_no_first_byte(void **state)
{
	struct test *t = begin_deadlines(5000, 0, 0);

	(void)state;
	pass_ms(t, 4900);
	inject(t, ". seq 1 ack 1");
	inject(t, ". seq 0 ack 1"); /* a keepalive probe of the peer's */
	expect(t, ". seq 1 ack 1");
	expect_drop(t, TCP_OUT_OF_WINDOW);
	inject(t, ". seq 2 ack 1 len 5 fill 7"); /* not the first */
	discard_out(t);
	expect_end_after(t, 100);
	discard_out(t);
	test_finish(t);
}

static void one_byte_is_enough(void **state)
{
	struct test *t = begin_deadlines(5000, 0, 0);

	(void)state;
	pass_ms(t, 4990);
	data(t, 1, 1);
	expect_alive_for(t, 24 * 3600 * 1000);
	test_finish(t);
}

static void what_we_send_is_no_first_byte(void **state)
{
	struct test *t = begin_deadlines(5000, 0, 0);

	(void)state;
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 1 len 100");
	pass_ms(t, 100);
	inject(t, ". seq 1 ack 101");
	expect_end_after(t, 4900);
	expect(t, "R. seq 101 ack 1");
	test_finish(t);
}

/* --- idle */

static void idle_from_the_start(void **state)
{
	struct test *t = begin_deadlines(0, 60000, 0);

	(void)state;
	expect_end_after(t, 60000);
	expect(t, "R. seq 1 ack 1");
	assert_int_equal(counted(t, tcp_idle_deadlines), 1);
	test_finish(t);
}

/* From the last byte, whenever it came; each byte counts. */
static void idle_since_the_last_byte(void **state)
{
	struct test *t = begin_deadlines(0, 10000, 0);

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		expect_alive_for(t, 300 + i * 500);
		data(t, 1 + i, 1);
	}
	expect_end_after(t, 10000);
	discard_out(t);
	assert_true(counted(t, timer_fired) < 100);
	test_finish(t);
}

static void first_byte_then_idle(void **state)
{
	struct test *t = begin_deadlines(3000, 20000, 0);

	(void)state;
	expect_alive_for(t, 2990);
	data(t, 1, 1);
	expect_end_after(t, 20000);
	discard_out(t);
	assert_int_equal(counted(t, tcp_first_byte_deadlines), 0);
	assert_int_equal(counted(t, tcp_idle_deadlines), 1);
	test_finish(t);
}

static void a_longer_first_byte_than_idle(void **state)
{
	struct test *t = begin_deadlines(20000, 3000, 0);

	(void)state;
	expect_alive_for(t, 10000);
	data(t, 1, 1);
	expect_alive_for(t, 2990); /* the timer was filed for later: it must come earlier now */
	pass_ms(t, 20000 - 12990 + 400);
	expect_event(t, "close deadline");
	discard_out(t);
	test_finish(t);
}

/* Bare acknowledgements draw it out to twice as long and no longer. */
static void silence_behind_acknowledgements(void **state)
{
	struct test *t = begin_deadlines(0, 10000, 0);
	unsigned ms = 0;

	(void)state;
	expect_alive_for(t, 1000);
	data(t, 1, 5);
	for (; t->event_count == 0 && ms < 100000; ms += 100) {
		pass_ms(t, 100);
		discard_out(t);
		if (t->event_count == 0)
			inject(t, ". seq 6 ack 1");
	}
	expect_event(t, "close deadline");
	assert_in_range(ms, 10000, 20500);
	test_finish(t);
}

/* While the peer takes what we send it is not idle; from the last acknowledgement on it may be. */
static void a_long_answer_is_not_idle(void **state)
{
	struct test *t = begin_deadlines(0, 2000, 0);
	uint32_t sent = 1;

	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		app_send(t, 0, 500); /* so short that a path bears it */
		discard_out(t);
		expect_alive_for(t, 1900);
		sent += 500;
		inject(t, ". seq 1 ack %u", sent);
	}
	discard_out(t);
	expect_end_after(t, 2000);
	discard_out(t);
	test_finish(t);
}

static void unread_data_is_not_idle(void **state)
{
	struct test *t = begin_deadlines(0, 2000, 0);

	(void)state;
	t->app.consume = 0;
	data(t, 1, 10);
	expect_alive_for(t, 20000);
	t->app.consume = SIZE_MAX;
	app_resume(t, 0);
	pass_ms(t, 4100);
	expect_event(t, "close deadline");
	discard_out(t);
	test_finish(t);
}

/* Nothing more can come: the application has the word. */
static void not_after_the_end_of_the_peer(void **state)
{
	struct test *t = begin_deadlines(1000, 2000, 0);

	(void)state;
	inject(t, "F. seq 1 ack 1");
	expect(t, ". seq 1 ack 2");
	expect_event(t, "eof");
	expect_alive_for(t, 60000);
	app_close(t, 0);
	expect(t, "F. seq 1 ack 2");
	inject(t, ". seq 2 ack 2");
	expect_event(t, "close normal");
	test_finish(t);
}

static void after_our_half_close_too(void **state)
{
	struct test *t = begin_deadlines(0, 2000, 0);

	(void)state;
	app_shutdown(t, 0);
	expect(t, "F. seq 1 ack 1");
	inject(t, ". seq 1 ack 2");
	expect_end_after(t, 2000);
	expect(t, "R. seq 2 ack 1");
	test_finish(t);
}

/* FIN_WAIT_2 after a close waits as long as it always does. */
static void a_close_ends_the_deadline(void **state)
{
	struct test *t = begin_deadlines(0, 2000, 0);

	(void)state;
	app_close(t, 0);
	expect(t, "F. seq 1 ack 1");
	inject(t, ". seq 1 ack 2");
	expect_alive_for(t, 30000);
	inject(t, "F. seq 1 ack 2");
	expect(t, ". seq 2 ack 2");
	expect_event(t, "close normal");
	test_finish(t);
}

static void on_connections_that_we_open(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->active = true;
	t->services[1].first_byte_ms = 3000;
	t->services[1].idle_ms = 7000;
	test_start(t);
	open_client(t);
	expect_alive_for(t, 2900);
	inject(t, "P. seq 1 ack 1 len 1");
	expect_event(t, "data 1");
	expect_end_after(t, 7000);
	discard_out(t);
	test_finish(t);
}

/* --- beside keepalive, which shares the timer */

static struct test *begin_with_keepalive(uint32_t keepalive_ms, uint32_t idle_ms)
{
	struct test *t = test_begin();

	t->services[0].keepalive_ms = keepalive_ms;
	t->services[0].idle_ms = idle_ms;
	t->app.quiet = true;
	test_start(t);
	open_server(t);
	mark(t);
	return t;
}

static void keepalive_goes_on(void **state)
{
	struct test *t = begin_with_keepalive(10000, 35000);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct tcp_segment probe;

		pass_ms(t, 10200);
		next_segment(t, &probe);
		assert_int_equal(probe.seq, t->peer->irs);
		expect_nothing(t);
		inject(t, ". seq 1 ack 1"); /* alive, but says nothing */
	}
	pass_ms(t, 5400);
	expect_event(t, "close deadline");
	discard_out(t);
	assert_int_equal(counted(t, tcp_keepalive_probes), 3);
	test_finish(t);
}

static void keepalive_still_finds_the_dead(void **state)
{
	struct test *t = begin_with_keepalive(1000, 60000);

	(void)state;
	pass_ms(t, 12000);
	expect_event(t, "close keepalive");
	assert_int_equal(counted(t, tcp_keepalive_probes), 9);
	discard_out(t);
	test_finish(t);
}

/* Looks for the deadline are no reason to probe. */
static void deadlines_add_no_probes(void **state)
{
	struct test *t = begin_with_keepalive(10000, 1500);

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		pass_ms(t, 1400);
		discard_out(t);
		data(t, 1 + i, 1);
	}
	assert_int_equal(counted(t, tcp_keepalive_probes), 0);
	c10m_set_keepalive(app_conn(t, 0), 0); /* taken away: the deadline stays */
	flush(t);
	expect_end_after(t, 1500);
	discard_out(t);
	test_finish(t);
}

/* Unread data puts the deadline off again and again; the probes stay as far apart as they were. */
static void looks_in_between_probe_nothing(void **state)
{
	struct test *t = begin_with_keepalive(10000, 1500);

	(void)state;
	t->app.consume = 0;
	data(t, 1, 10);
	pass_ms(t, 45000);
	discard_out(t);
	assert_in_range(counted(t, tcp_keepalive_probes), 3, 4);
	expect_no_event(t);
	pass_ms(t, 100000);
	expect_event(t, "close keepalive");
	assert_int_equal(counted(t, tcp_keepalive_probes), 9);
	discard_out(t);
	test_finish(t);
}

/* --- unsent */

static void a_dead_peer_takes_nothing(void **state)
{
	struct test *t = begin_deadlines(0, 0, 5000);

	(void)state;
	expect_alive_for(t, 100000); /* nothing to send, nothing to wait for */
	assert_true(stack_deadline(t->stack) > t->now_us + 1000 * SECOND);
	app_send(t, 0, 100);
	discard_out(t);
	expect_end_after(t, 5000);
	discard_out(t);
	assert_int_equal(counted(t, tcp_unsent_deadlines), 1);
	test_finish(t);
}

/* From the last byte that was acknowledged. */
static void progress_puts_it_off(void **state)
{
	struct test *t = begin_deadlines(0, 0, 5000);

	(void)state;
	app_send(t, 0, 10);
	discard_out(t);
	for (unsigned i = 0; i < 10; i++) {
		expect_alive_for(t, 4000);
		inject(t, ". seq 1 ack %u", 2 + i);
		discard_out(t);
		if (i < 9)
			expect_no_event(t);
	}
	expect_alive_for(t, 60000);
	test_finish(t);
}

/* A peer that keeps its window closed and answers every probe lives for ever by RFC 9293 section 3.8.6.1. */
static void a_closed_window_that_answers(void **state)
{
	struct test *t = begin_deadlines(0, 0, 10000);
	uint64_t start_us;

	(void)state;
	inject(t, ". seq 1 ack 1 win 0");
	app_send(t, 0, 100);
	start_us = t->now_us;
	while (t->event_count == 0 && t->now_us < start_us + 100 * SECOND) {
		pass_ms(t, 50);
		if (t->event_count == 0 && discard_out(t) > 0)
			inject(t, ". seq 1 ack 1 win 0");
	}
	expect_event(t, "close deadline");
	assert_in_range(t->now_us - start_us, 10 * SECOND, 20 * SECOND + 500 * MS);
	discard_out(t);
	assert_int_equal(counted(t, tcp_unsent_deadlines), 1);
	test_finish(t);
}

/* Opening the window and closing it again without taking anything is no progress either. */
static void a_window_that_opens_and_closes(void **state)
{
	struct test *t = begin_deadlines(0, 0, 10000);
	uint64_t start_us;

	(void)state;
	app_send(t, 0, 100);
	start_us = t->now_us;
	for (unsigned i = 0; t->event_count == 0 && t->now_us < start_us + 100 * SECOND; i++) {
		pass_ms(t, 70);
		discard_out(t);
		if (t->event_count == 0)
			inject(t, ". seq 1 ack 1 win %u", i % 2 ? 1000 : 0);
	}
	expect_event(t, "close deadline");
	assert_in_range(t->now_us - start_us, 10 * SECOND, 21 * SECOND);
	discard_out(t);
	test_finish(t);
}

/* Data that the application has given away before it closed is waited for as long. */
static void unsent_after_a_close(void **state)
{
	struct test *t = begin_deadlines(0, 0, 5000);

	(void)state;
	app_send(t, 0, 100);
	app_close(t, 0);
	discard_out(t);
	expect_end_after(t, 5000);
	discard_out(t);
	test_finish(t);
}

static void the_user_timeout_may_be_earlier(void **state)
{
	struct test *t = begin_deadlines(0, 0, 5000);

	(void)state;
	c10m_set_user_timeout(app_conn(t, 0), 2000);
	app_send(t, 0, 100);
	pass_ms(t, 2100);
	expect_event(t, "close timeout");
	discard_out(t);
	test_finish(t);
}

/* --- all of it */

/* A service without deadlines beside one that has some. */
static void another_service_has_none(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->services[1].idle_ms = 1000;
	test_start(t);
	assert_int_equal(usage(t).block_stride, 192 + 64);
	open_server(t);
	expect_alive_for(t, 100000);
	test_finish(t);
}

/* What is seen at the last look is part of the block. */
static void rebuilt_in_between(void **state)
{
	struct test *t = begin_deadlines(0, 10000, 0);

	(void)state;
	expect_alive_for(t, 4000);
	data(t, 1, 1);
	discard_out(t);
	stack_rebuild(t->stack, t->now_us);
	expect_alive_for(t, 9990);
	pass_ms(t, 200);
	expect_event(t, "close deadline");
	discard_out(t);
	test_finish(t);
}

/* The state is the application's, up to its last byte. */
static void no_room_is_taken_from_the_application(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->services[0].state_size = 64;
	t->services[0].idle_ms = 1000;
	test_start(t);
	assert_int_equal(usage(t).block_stride, 192 + 128);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(no_first_byte),
	TEST(acknowledgements_are_no_first_byte),
	TEST(one_byte_is_enough),
	TEST(what_we_send_is_no_first_byte),
	TEST(idle_from_the_start),
	TEST(idle_since_the_last_byte),
	TEST(first_byte_then_idle),
	TEST(a_longer_first_byte_than_idle),
	TEST(silence_behind_acknowledgements),
	TEST(a_long_answer_is_not_idle),
	TEST(unread_data_is_not_idle),
	TEST(not_after_the_end_of_the_peer),
	TEST(after_our_half_close_too),
	TEST(a_close_ends_the_deadline),
	TEST(on_connections_that_we_open),
	TEST(keepalive_goes_on),
	TEST(keepalive_still_finds_the_dead),
	TEST(deadlines_add_no_probes),
	TEST(looks_in_between_probe_nothing),
	TEST(a_dead_peer_takes_nothing),
	TEST(progress_puts_it_off),
	TEST(a_closed_window_that_answers),
	TEST(a_window_that_opens_and_closes),
	TEST(unsent_after_a_close),
	TEST(the_user_timeout_may_be_earlier),
	TEST(another_service_has_none),
	TEST(rebuilt_in_between),
	TEST(no_room_is_taken_from_the_application),
};

PACKET_MAIN(tests)
