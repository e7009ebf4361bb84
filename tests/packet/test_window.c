/* test_window.c - how the receive window grows, where that ends, and that nothing is taken back of it. */
#include "harness.h"

#include "stack/internal.h"

#define RTT_MS 20u

/* A server whose windows may grow; the handshake took a round trip of 20 ms. */
static struct test *begin_tuned(uint32_t most)
{
	struct test *t = test_begin();

	t->services[0].receive_max_bytes = most;
	t->config.connections = 256;
	t->peer->wscale = 7;
	t->app.quiet = true;
	return t;
}

static unsigned scale_of(uint32_t most)
{
	unsigned scale = 0;

	while (most >> scale > 65536)
		scale++;
	return scale;
}

/* The SYN-ACK tells of the scale that the largest window needs. */
static void open_tuned(struct test *t, uint32_t most)
{
	test_start(t);
	inject(t, "S seq 0 win 65535 mss 1460 wscale 7");
	expect(t, "S. seq 0 ack 1 win 65535 mss 1460 wscale %u", scale_of(most));
	pass_ms(t, RTT_MS);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
}

/* One round trip: the peer sends `segments` full ones. Returns the window that it is told of at the end, and
 * sees to it that the right edge never goes back. */
static uint32_t round_trip(struct test *t, unsigned segments, uint32_t most, uint32_t *edge)
{
	struct tcp_segment segment = {0};
	uint32_t window = 0;

	for (unsigned i = 0; i < segments; i++) {
		inject(t, ". len 1460");
		if (i % 2 == 0)
			continue;
		next_segment(t, &segment);
		window = (uint32_t)segment.window << scale_of(most);
		/* Less than a unit of it may be lost to the scale (RFC 7323 section 2.4). */
		assert_true((int32_t)(segment.ack + window - *edge) > -(1 << scale_of(most)));
		*edge = segment.ack + window;
	}
	pass_ms(t, RTT_MS);
	return window;
}

static void peer_that_fills_the_window_gets_a_larger_one(void **state)
{
	const uint32_t most = 1u << 20;
	struct test *t = begin_tuned(most);
	uint32_t edge = t->peer->iss, window = 0;

	(void)state;
	open_tuned(t, most);
	mark(t);
	for (unsigned i = 0; i < 4; i++)
		window = round_trip(t, 30, most, &edge); /* 43,800 bytes a round trip: more than half of it */
	assert_true(window > 65535 && window <= 4 * 65536);
	for (unsigned i = 0; i < 4; i++)
		window = round_trip(t, 120, most, &edge);
	assert_true(window >= 2 * 120 * 1460);
	for (unsigned i = 0; i < 8; i++)
		window = round_trip(t, 500, most, &edge);
	assert_true(window > most - (1u << scale_of(most)) - 2920 && window <= most);
	assert_int_equal(counted(t, tcp_windows_grown), 4);
	test_finish(t);
}

/* A round trip that brings less than half of the window asks for no more. */
static void peer_that_needs_no_more_gets_no_more(void **state)
{
	const uint32_t most = 1u << 20;
	struct test *t = begin_tuned(most);
	uint32_t edge = t->peer->iss;

	(void)state;
	open_tuned(t, most);
	mark(t);
	for (unsigned i = 0; i < 40; i++)
		assert_true(round_trip(t, 20, most, &edge) <= 65536);
	assert_int_equal(counted(t, tcp_windows_grown), 0);
	test_finish(t);
}

/* The application reads nothing: more room would only be filled, too. */
static void application_that_does_not_read_gets_no_more(void **state)
{
	const uint32_t most = 1u << 20;
	struct test *t = begin_tuned(most);
	uint32_t edge = t->peer->iss;

	(void)state;
	t->app.consume = 0;
	open_tuned(t, most);
	mark(t);
	round_trip(t, 24, most, &edge);
	round_trip(t, 20, most, &edge);
	assert_int_equal(counted(t, tcp_windows_grown), 0);
	assert_true(edge - t->peer->iss <= 1 + 65536);
	discard_out(t);
	test_finish(t);
}

static void without_a_larger_bound_it_stays(void **state)
{
	struct test *t = begin_tuned(0);
	uint32_t edge = t->peer->iss;

	(void)state;
	open_tuned(t, 0);
	mark(t);
	for (unsigned i = 0; i < 8; i++)
		assert_true(round_trip(t, 40, 0, &edge) <= 65536);
	assert_int_equal(counted(t, tcp_windows_grown), 0);
	test_finish(t);
}

/* All windows of a worker share a bound; who ends gives its part back. */
static void windows_share_a_bound(void **state)
{
	const uint32_t most = 1u << 20;
	struct test *t = begin_tuned(most);
	uint32_t edges[2], windows[2] = {0};

	(void)state;
	t->config.tuned_max_bytes = 200000;
	t->peers[1].wscale = 7;
	open_tuned(t, most);
	edges[0] = t->peer->iss;
	for (unsigned i = 0; i < 8; i++)
		windows[0] = round_trip(t, 200, most, &edges[0]);
	assert_int_equal(windows[0], 262144); /* 196,608 more than at the start */
	assert_true(counted(t, tcp_windows_bounded) > 0);
	app_abort(t, 0);
	discard_out(t);
	expect_event(t, "close aborted");
	use_peer(t, 1); /* what the first had is free again */
	inject(t, "S seq 0 win 65535 mss 1460 wscale 7");
	expect(t, "S. seq 0 ack 1 mss 1460 wscale %u", scale_of(most));
	pass_ms(t, RTT_MS);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open#1");
	edges[1] = t->peer->iss;
	for (unsigned i = 0; i < 8; i++)
		windows[1] = round_trip(t, 200, most, &edges[1]);
	assert_int_equal(windows[1], 262144);
	test_finish(t);
}

/* Memory runs short: what was promised is still taken, and no more is promised. */
static void pressure_shrinks_what_is_offered_not_what_was_promised(void **state)
{
	const uint32_t most = 1u << 20;
	struct test *t = begin_tuned(most);
	uint32_t edge = t->peer->iss, promised, window = 0;

	(void)state;
	t->config.chunks = (struct chunk_config){{16, 16, 200}};
	t->config.tuned_max_bytes = most;
	open_tuned(t, most);
	for (unsigned i = 0; i < 8; i++)
		window = round_trip(t, 200, most, &edge);
	promised = edge;
	assert_true(window > 500000);
	t->app.consume = 0; /* all chunks fill up */
	mark(t);
	ignore_drops(t, DROP_NO_CHUNK);
	for (unsigned i = 0; i < 310; i++) {
		inject(t, ". len 1460");
		discard_out(t);
	}
	assert_true(counted(t, tcp_windows_shrunk) > 0);
	t->app.consume = SIZE_MAX;
	app_resume(t, 0);
	discard_out(t);
	inject(t, ". seq %u len 1460", (uint32_t)t->slots[0].rx_bytes + 1);
	pass_ms(t, 50);
	assert_true(counted(t, tcp_window_updates) < 10);
	{
		struct tcp_segment segment;

		next_segment(t, &segment);
		/* The edge stands where it stood, to a unit of the scale, though the limit is 64 KB again. */
		assert_true(promised - (segment.ack + ((uint32_t)segment.window << scale_of(most))) < 16);
	}
	test_finish(t);
}

static uint32_t grown(struct test *t, unsigned slot)
{
	return ((struct tcb *)app_conn(t, slot))->grown;
}

/* Three quarters of the memory are taken, by whoever it is: nothing grows, what has grown halves each round
 * trip; and grows again when there is memory. */
static void memory_that_is_short_halves_windows(void **state)
{
	const uint32_t most = 1u << 20;
	struct test *t = begin_tuned(most);
	uint32_t edge = t->peer->iss;

	(void)state;
	t->config.chunks = (struct chunk_config){{16, 16, 200}};
	t->config.tuned_max_bytes = most;
	t->services[0].send_bytes = 1 << 20;
	open_tuned(t, most);
	use_peer(t, 1);
	open_server(t);
	use_peer(t, 0);
	for (unsigned i = 0; i < 8; i++)
		round_trip(t, 200, most, &edge);
	assert_int_equal(grown(t, 0), 4);
	app_send(t, 1, 280000); /* less than three quarters */
	discard_out(t);
	round_trip(t, 200, most, &edge);
	assert_int_equal(grown(t, 0), 4);
	app_send(t, 1, 60000); /* more */
	discard_out(t);
	for (unsigned i = 4; i-- > 0;) {
		round_trip(t, 40, most, &edge);
		discard_out(t); /* the peer's data of the other one goes again */
		assert_int_equal(grown(t, 0), i);
	}
	app_abort(t, 1);
	discard_out(t);
	discard_events(t);
	for (unsigned i = 0; i < 4; i++)
		round_trip(t, 40, most, &edge);
	assert_true(grown(t, 0) > 0);
	test_finish(t);
}

/* So many segments at once, and nothing for so long; a few times. */
static void bursts(struct test *t, unsigned segments, uint32_t ms)
{
	for (unsigned i = 0; i < 5; i++) {
		for (unsigned k = 0; k < segments; k++) {
			uint8_t frame[FRAME_ROOM];

			inject_raw(t, frame, build(t, frame, ". len 1460"));
		}
		pass_ms(t, ms);
		discard_out(t);
	}
}

/* It is a round trip that counts: neither a burst within a part of one, nor many of them together. */
static void bursts_are_measured_by_the_round_trip(void **state)
{
	const uint32_t most = 1u << 20;
	struct test *t = begin_tuned(most);

	(void)state;
	open_tuned(t, most);
	bursts(t, 24, RTT_MS * 10);
	assert_int_equal(grown(t, 0), 0);
	for (unsigned i = 0; i < 10; i++) {
		bursts(t, 2, 1); /* 10 segments within a quarter of a round trip */
		pass_ms(t, RTT_MS - 5);
	}
	assert_int_equal(grown(t, 0), 0);
	test_finish(t);
}

/* What was measured of a connection says nothing of the next one in its block. */
static void measurements_end_with_their_connection(void **state)
{
	const uint32_t most = 1u << 20;
	struct test *t = begin_tuned(most);
	uint32_t edge = t->peer->iss, index;

	(void)state;
	open_tuned(t, most);
	index = tcb_index(&t->stack->core, (struct tcb *)app_conn(t, 0));
	round_trip(t, 10, most, &edge);
	app_abort(t, 0);
	discard_out(t);
	discard_events(t);
	use_peer(t, 1);
	t->peer->wscale = 7;
	t->peer->iss = edge + 1000000;
	inject(t, "S seq 0 win 65535 mss 1460 wscale 7");
	expect(t, "S. seq 0 ack 1 mss 1460 wscale %u", scale_of(most));
	pass_ms(t, RTT_MS);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open#1");
	assert_int_equal(tcb_index(&t->stack->core, (struct tcb *)app_conn(t, 1)), index);
	edge = t->peer->iss;
	round_trip(t, 4, most, &edge);
	round_trip(t, 4, most, &edge);
	assert_int_equal(grown(t, 1), 0);
	test_finish(t);
}

/* A rebuilt stack goes on with the same windows (stack_verify compares the sum). */
static void windows_outlive_a_rebuild(void **state)
{
	const uint32_t most = 1u << 20;
	struct test *t = begin_tuned(most);
	uint32_t edge = t->peer->iss, before = 0;

	(void)state;
	open_tuned(t, most);
	for (unsigned i = 0; i < 6; i++)
		before = round_trip(t, 100, most, &edge);
	stack_rebuild(t->stack, t->now_us);
	stack_verify(t->stack);
	assert_true(round_trip(t, 100, most, &edge) >= before);
	test_finish(t);
}

/* Without window scaling no more than 64 KB can be told, and nothing is charged to the worker for more. */
static void without_a_scale_it_ends_at_64_kilobytes(void **state)
{
	static const uint32_t starts[] = {16384, 40000, 65535, 65536};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(starts); i++) {
		struct test *t = begin_tuned(1u << 20);
		uint32_t edge = t->peer->iss;

		t->services[0].receive_bytes = starts[i];
		test_start(t);
		inject(t, "S seq 0 win 65535 mss 1460");
		expect(t, "S. seq 0 ack 1 mss 1460");
		pass_ms(t, RTT_MS);
		inject(t, ". seq 1 ack 1");
		expect_event(t, "open");
		mark(t);
		for (unsigned round = 0; round < 8; round++)
			assert_true(round_trip(t, starts[i] < 20000 ? 10 : 26, 0, &edge) <= 65535);
		assert_int_equal(counted(t, tcp_windows_grown), starts[i] == 16384 ? 2 : 0);
		assert_true(t->stack->core.tuned_bytes <= 65536 - MIN_OF(starts[i], 65536u));
		test_finish(t);
	}
}

/* --- a service is read again while connections open ------------------------------------------------ */

static void take_window(struct test *t, uint32_t scale)
{
	struct tcp_segment segment;

	inject(t, ". len 1460");
	inject(t, ". len 1460");
	next_segment(t, &segment);
	/* 64 KB, in units of what the SYN-ACK or the SYN told. */
	assert_in_range((uint32_t)segment.window << scale, 65536 - 2920 - (1u << scale), 65536);
}

static void reread(struct test *t, uint32_t most)
{
	t->services[0].receive_max_bytes = most;
	assert_int_equal(stack_reread_service(t->stack, 0), 0);
}

static void scale_is_what_the_syn_ack_told(void **state)
{
	struct test *t = begin_tuned(4u << 20);

	(void)state;
	test_start(t);
	inject(t, "S seq 0 win 65535 mss 1460 wscale 7");
	expect(t, "S. seq 0 ack 1 mss 1460 wscale 6");
	reread(t, 1u << 20);
	inject(t, "S seq 0 win 65535 mss 1460 wscale 7");
	expect(t, "S. seq 0 ack 1 mss 1460 wscale 6"); /* as the first time */
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	take_window(t, 6);
	test_finish(t);
}

static void scale_is_what_the_syn_cookie_told(void **state)
{
	struct test *t = begin_tuned(4u << 20);

	(void)state;
	t->config.always_cookies = true; /* the timestamp tells when the cookie left */
	test_start(t);
	inject(t, "S seq 0 win 65535 mss 1460 wscale 7 ts 0");
	expect(t, "S. seq 0 ack 1 mss 1460 wscale 6 ts 0 ecr 0");
	t->peer->timestamps = true;
	pass_ms(t, 1000);
	reread(t, 1u << 20);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	take_window(t, 6);
	use_peer(t, 1);
	t->peer->wscale = 7;
	pass_ms(t, 1000);
	inject(t, "S seq 0 win 65535 mss 1460 wscale 7 ts 0");
	expect(t, "S. seq 0 ack 1 mss 1460 wscale 4 ts 0 ecr 2000");
	t->peer->timestamps = true;
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open#1");
	take_window(t, 4);
	test_finish(t);
}

static void scale_is_what_our_syn_told(void **state)
{
	struct test *t = begin_tuned(4u << 20);

	(void)state;
	t->active = true;
	t->config.no_timestamps = t->config.no_sack = true;
	t->services[1] = t->services[0];
	t->services[1].port = 0;
	test_start(t);
	app_connect(t, 5000);
	expect(t, "S seq 0 mss 1460 wscale 6");
	t->services[1].receive_max_bytes = 1u << 20;
	assert_int_equal(stack_reread_service(t->stack, 1), 0);
	expect_after(t, 1000, "S seq 0 mss 1460 wscale 6");
	inject(t, "S. seq 0 ack 1 win 65535 mss 1460 wscale 7");
	expect_event(t, "open");
	expect(t, ". seq 1 ack 1");
	take_window(t, 6);
	test_finish(t);
}

/* So does a change of the service's limits, in what all windows together have grown by (stack_verify). */
static void windows_outlive_other_limits(void **state)
{
	const uint32_t most = 1u << 20;
	struct test *t = begin_tuned(most);
	uint32_t edge = t->peer->iss;

	(void)state;
	open_tuned(t, most);
	for (unsigned i = 0; i < 6; i++)
		round_trip(t, 100, most, &edge);
	t->services[0].receive_bytes = 128u << 10;
	t->services[0].receive_max_bytes = 2u << 20;
	assert_int_equal(stack_reread_service(t->stack, 0), 0);
	stack_verify(t->stack);
	test_finish(t);
}

/* The first segments are acknowledged at once, so that a sender's slow start waits for no delay. */
static void start_is_acknowledged_quickly(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.quick_acks = 4;
	t->app.quiet = true;
	test_start(t);
	open_server(t);
	for (unsigned i = 0; i < 4; i++) {
		inject(t, "P. len 1460");
		expect(t, ". seq 1 ack %u", 1 + (i + 1) * 1460);
	}
	inject(t, "P. len 1000");
	expect_nothing(t);
	expect_after(t, 40, ". seq 1 ack %u", 1 + 4 * 1460 + 1000);
	/* And never again, though the numbers go around. */
	inject(t, "P. len 100");
	expect_after(t, 40, ". seq 1 ack %u", 1 + 4 * 1460 + 1100);
	test_finish(t);
}

static void start_of_a_connect_is_acknowledged_quickly(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->active = true;
	t->config.quick_acks = 2;
	t->app.quiet = true;
	test_start(t);
	open_client(t);
	inject(t, "P. len 1460");
	expect(t, ". seq 1 ack 1461");
	inject(t, "P. len 1460");
	expect(t, ". seq 1 ack 2921");
	inject(t, "P. len 1000");
	expect_nothing(t);
	expect_after(t, 40, ". seq 1 ack 3921");
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(peer_that_fills_the_window_gets_a_larger_one),
	TEST(peer_that_needs_no_more_gets_no_more),
	TEST(application_that_does_not_read_gets_no_more),
	TEST(without_a_larger_bound_it_stays),
	TEST(windows_share_a_bound),
	TEST(pressure_shrinks_what_is_offered_not_what_was_promised),
	TEST(memory_that_is_short_halves_windows),
	TEST(bursts_are_measured_by_the_round_trip),
	TEST(measurements_end_with_their_connection),
	TEST(windows_outlive_a_rebuild),
	TEST(without_a_scale_it_ends_at_64_kilobytes),
	TEST(scale_is_what_the_syn_ack_told),
	TEST(scale_is_what_the_syn_cookie_told),
	TEST(scale_is_what_our_syn_told),
	TEST(windows_outlive_other_limits),
	TEST(start_is_acknowledged_quickly),
	TEST(start_of_a_connect_is_acknowledged_quickly),
};

PACKET_MAIN(tests)
