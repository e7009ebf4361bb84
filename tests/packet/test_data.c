/* test_data.c - data in both directions: order, windows, acknowledgements, Nagle
 * (RFC 9293 sections 3.4, 3.7.4, 3.8.6, 3.10.7.4; RFC 1122 section 4.2.3; RFC 5681 section 4.2). */
#include "harness.h"

#include <stdlib.h>

/* --- receiving ------------------------------------------------------------------------- */

/* proves RFC9293-MUST-40, RFC9293-SHLD-18, RFC5681-14 */
static void data_in_order(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, "P. seq 1 ack 1 len 100");
	expect_event(t, "data 100");
	expect_after(t, 40, ". seq 1 ack 101");
	inject(t, "P. seq 101 ack 1 len 1");
	expect_event(t, "data 1");
	expect_after(t, 40, ". seq 1 ack 102");
	assert_int_equal(t->slots[0].rx_bytes, 101);
	test_finish(t);
}

/* RFC 1122 section 4.2.3.2: at least every second full segment is acknowledged at once. */
/* proves RFC9293-SHLD-19, RFC5681-14, RFC5681-15 */
static void every_second_full_segment_is_acknowledged(void **state)
{
	struct test *t = begin_open();

	(void)state;
	t->app.quiet = true;
	for (unsigned i = 0; i < 6; i += 2) {
		inject(t, ". seq %u ack 1 len 1460", 1 + i * 1460);
		expect_nothing(t);
		inject(t, ". seq %u ack 1 len 1460", 1 + (i + 1) * 1460);
		expect(t, ". seq 1 ack %u", 1 + (i + 2) * 1460);
	}
	test_finish(t);
}

/* Who seldom answers need not wait for something to send along. An answer takes it along all the same. */
static void quickack_acknowledges_at_once(void **state)
{
	struct test *t = test_begin();
	struct burst *burst = calloc(1, sizeof(*burst));

	(void)state;
	t->services[0].flags |= C10M_QUICKACK;
	test_start(t);
	open_server(t);
	t->app.quiet = true;
	inject(t, "P. seq 1 ack 1 len 10");
	expect(t, ". seq 1 ack 11");
	burst_add(t, burst, "P. seq 11 ack 1 len 10");
	burst_add(t, burst, "P. seq 21 ack 1 len 10");
	inject_burst(t, burst);
	free(burst);
	expect(t, ". seq 1 ack 31");
	pass_ms(t, 1000);
	expect_nothing(t);
	assert_int_equal(counted(t, tcp_delayed_acks), 0);
	test_finish(t);
}

/* The path may be narrower than either side knows: bytes count, not full segments (RFC 5681 section 4.2). */
static void smaller_segments_are_acknowledged_by_bytes(void **state)
{
	struct test *t = begin_open();

	(void)state;
	t->app.quiet = true;
	for (unsigned i = 0; i < 6; i += 3) {
		inject(t, ". seq %u ack 1 len 1400", 1 + 1400 * i);
		inject(t, ". seq %u ack 1 len 1400", 1 + 1400 * (i + 1));
		expect_nothing(t);
		inject(t, ". seq %u ack 1 len 1400", 1 + 1400 * (i + 2));
		expect(t, ". seq 1 ack %u", 1 + 1400 * (i + 3));
	}
	test_finish(t);
}

/* proves RFC9293-MUST-58, RFC9293-MUST-59 */
static void one_burst_makes_one_acknowledgement(void **state)
{
	struct test *t = begin_open();
	struct burst *burst = calloc(1, sizeof(*burst));

	(void)state;
	t->app.quiet = true;
	for (unsigned i = 0; i < 10; i++)
		burst_add(t, burst, ". seq %u ack 1 len 1460", 1 + i * 1460);
	inject_burst(t, burst);
	free(burst);
	expect(t, ". seq 1 ack 14601");
	assert_int_equal(t->slots[0].rx_bytes, 14600);
	test_finish(t);
}

/* Duplicate acknowledgements are never merged (design idea 5): each tells of a segment that left the network.
 */
/* proves RFC9293-MAY-13, RFC5681-08 */
static void out_of_order_segments_in_one_burst_each_answered(void **state)
{
	struct test *t = begin_open();
	struct burst *burst = calloc(1, sizeof(*burst));

	(void)state;
	for (unsigned i = 1; i <= 4; i++)
		burst_add(t, burst, ". seq %u ack 1 len 100", 1 + i * 100);
	inject_burst(t, burst);
	free(burst);
	for (unsigned i = 1; i <= 4; i++)
		expect(t, ". seq 1 ack 1");
	expect_no_event(t);
	inject(t, ". seq 1 ack 1 len 100");
	expect(t, ". seq 1 ack 501");
	discard_events(t);
	assert_int_equal(t->slots[0].rx_bytes, 500);
	test_finish(t);
}

static void permute(struct test *t, const unsigned order[4])
{
	uint32_t next = 1, mask = 0;

	for (unsigned i = 0; i < 4; i++) {
		uint32_t before = next;

		inject(t, ". seq %u ack 1 len 100", 1 + order[i] * 100);
		mask |= 1u << order[i];
		while (mask & (1u << ((next - 1) / 100)))
			next += 100;
		if (next == before) { /* out of order: a duplicate acknowledgement at once */
			expect(t, ". seq 1 ack %u", next);
			continue;
		}
		pass_ms(t, 41); /* in order it may wait, filling a hole it may not (RFC 5681 section 4.2) */
		expect(t, ". seq 1 ack %u", next);
	}
	assert_int_equal(t->slots[0].rx_bytes, 400);
}

/* proves RFC9293-SHLD-31 */
static void all_orders_of_four_segments(void **state)
{
	unsigned tried = 0;

	(void)state;
	for (unsigned code = 0; code < 256; code++) {
		const unsigned order[4] = {code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6};
		struct test *t;

		if ((1u << order[0] | 1u << order[1] | 1u << order[2] | 1u << order[3]) != 15)
			continue;
		t = begin_open();
		t->app.quiet = true;
		permute(t, order);
		discard_events(t);
		test_finish(t);
		tried++;
	}
	assert_int_equal(tried, 24);
}

/* proves RFC5681-08 */
static void filling_a_hole_is_acknowledged_at_once(void **state)
{
	struct test *t = begin_open();

	(void)state;
	t->app.quiet = true;
	inject(t, ". seq 101 ack 1 len 100");
	expect(t, ". seq 1 ack 1");
	inject(t, ". seq 1 ack 1 len 100");
	expect(t, ". seq 1 ack 201");
	mark(t);
	inject(t, ". seq 401 ack 1 len 100");
	expect(t, ". seq 1 ack 201");
	inject(t, ". seq 201 ack 1 len 100"); /* a part of the hole */
	expect(t, ". seq 1 ack 301");
	inject(t, ". seq 301 ack 1 len 100");
	expect(t, ". seq 1 ack 501");
	assert_int_equal(counted(t, tcp_out_of_order), 1);
	assert_true(counted(t, tcp_reassembled) >= 1);
	test_finish(t);
}

static void overlapping_segments(void **state)
{
	struct test *t = begin_open();

	(void)state;
	t->app.quiet = true;
	inject(t, ". seq 1 ack 1 len 100");
	expect_after(t, 40, ". seq 1 ack 101");
	inject(t, ". seq 51 ack 1 len 100"); /* half old, half new */
	expect_after(t, 40, ". seq 1 ack 151");
	inject(t, ". seq 201 ack 1 len 100");
	expect(t, ". seq 1 ack 151");
	inject(t, ". seq 181 ack 1 len 200"); /* encloses what is kept */
	expect(t, ". seq 1 ack 151");
	inject(t, ". seq 251 ack 1 len 50"); /* enclosed by what is kept */
	expect(t, ". seq 1 ack 151");
	inject(t, ". seq 101 ack 1 len 110"); /* from the old into what is kept */
	expect(t, ". seq 1 ack 381");
	assert_int_equal(t->slots[0].rx_bytes, 380);
	test_finish(t);
}

/* The content of what was kept first and of what came later may differ: whatever is chosen, lengths stay
 * right. */
static void overlap_with_other_content(void **state)
{
	struct test *t = begin_open();

	(void)state;
	t->app.quiet = t->app.no_check = true;
	inject(t, ". seq 101 ack 1 len 100");
	expect(t, ". seq 1 ack 1");
	inject(t, ". seq 51 ack 1 len 100 fill 255");
	expect(t, ". seq 1 ack 1");
	inject(t, ". seq 1 ack 1 len 60 fill 255");
	expect(t, ". seq 1 ack 201");
	assert_int_equal(t->slots[0].rx_bytes, 200);
	test_finish(t);
}

static void many_holes_filled_backwards(void **state)
{
	struct test *t = begin_open();
	unsigned holes = 20;

	(void)state;
	t->app.quiet = true;
	ignore_drops(t, DROP_REASSEMBLY_FULL);
	for (unsigned i = holes; i > 0; i--) {
		inject(t, ". seq %u ack 1 len 50", 1 + 100 * i);
		expect(t, ". seq 1 ack 1");
	}
	/* What was dropped for too many holes is sent again, as a sender would. */
	for (unsigned i = 0; i <= holes; i++) {
		inject(t, ". seq %u ack 1 len 100", 1 + 100 * i);
		pass_ms(t, 41);
		discard_out(t);
	}
	assert_int_equal(t->slots[0].rx_bytes, 100 * (holes + 1));
	test_finish(t);
}

static void duplicate_is_acknowledged_and_not_delivered(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, "P. seq 1 ack 1 len 100");
	expect_event(t, "data 100");
	expect_after(t, 40, ". seq 1 ack 101");
	inject(t, "P. seq 1 ack 1 len 100");
	expect(t, ". seq 1 ack 101");
	expect_drop(t, TCP_OUT_OF_WINDOW);
	expect_no_event(t);
	test_finish(t);
}

/* proves RFC9293-EV-05 */
static void beyond_the_window(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, ". seq 65536 ack 1 len 10"); /* the window is 1 to 65535 */
	expect(t, ". seq 1 ack 1");
	expect_drop(t, TCP_OUT_OF_WINDOW);
	inject(t, ". seq 2000000 ack 1 len 10");
	expect(t, ". seq 1 ack 1");
	expect_drop(t, TCP_OUT_OF_WINDOW);
	expect_no_event(t);
	test_finish(t);
}

/* receive_bytes of 1000: byte 1000 is the last that is taken, whatever more comes. */
/* proves RFC9293-EV-05 */
static void window_edge_exactly(void **state)
{
	struct test *t = begin_unread(1000);

	(void)state;
	inject(t, ". seq 1 ack 1 len 900");
	expect_event(t, "data 900");
	expect_after(t, 40, ". seq 1 ack 901 win 100");
	inject(t, ". seq 901 ack 1 len 101"); /* one byte too many */
	pass_ms(t, 41);
	expect(t, ". seq 1 ack 1001 win 0");
	expect_event(t, "data 1000");
	assert_int_equal(usage(t).connections, 1);
	inject(t, ". seq 1001 ack 1 len 1"); /* a probe of the closed window */
	expect(t, ". seq 1 ack 1001 win 0");
	expect_drops(t, TCP_OUT_OF_WINDOW);
	expect_no_event(t);
	test_finish(t);
}

static void out_of_order_at_the_window_edge(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->services[0].receive_bytes = 1000;
	test_start(t);
	open_server(t);
	inject(t, ". seq 901 ack 1 len 101"); /* 901 to 1001: the last byte is outside */
	expect(t, ". seq 1 ack 1");
	inject(t, ". seq 1 ack 1 len 900");
	expect(t, ". seq 1 ack 1001");
	discard_events(t);
	assert_int_equal(t->slots[0].rx_bytes, 1000);
	test_finish(t);
}

/* With checksum offload the field holds the pseudo-header's sum and the port does the rest. */
/* proves RFC9293-MUST-2 */
static void port_completes_checksums(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.tx_checksum = true;
	test_start(t);
	open_server(t);
	app_send(t, 0, 1460);
	expect(t, "P. seq 1 ack 1 len 1460");
	assert_int_equal(t->partial, 1);
	inject(t, ". seq 1 ack 1461");
	app_send(t, 0, 3);
	expect(t, "P. seq 1461 ack 1 len 3");
	assert_int_equal(t->partial, 2);
	inject(t, ". seq 1 ack 1464");
	test_finish(t);
}

static void partly_consumed_data_is_offered_again(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->app.consume = 30;
	test_start(t);
	open_server(t);
	inject(t, ". seq 1 ack 1 len 100");
	expect_event(t, "data 100");
	expect_after(t, 40, ". seq 1 ack 101 win 65435"); /* 30 more bytes are not worth telling */
	inject(t, ". seq 101 ack 1 len 50");
	expect_event(t, "data 120"); /* in one piece, though it lies in two chunks */
	t->app.consume = SIZE_MAX;
	app_resume(t, 0);
	expect_event(t, "data 90");
	pass_ms(t, 41);
	expect(t, ". seq 1 ack 151");
	discard_out(t);
	assert_int_equal(t->slots[0].rx_bytes, 150);
	test_finish(t);
}

/* A message that came byte by byte, behind a hole too, is at last offered whole. */
static void message_in_small_pieces_is_offered_whole(void **state)
{
	struct test *t = begin_unread(0);

	(void)state;
	t->app.quiet = true;
	for (unsigned i = 0; i < 20; i++) {
		inject(t, ". seq %u ack 1 len 100", 1 + 100 * (i ^ 1));
		discard_out(t);
	}
	t->app.quiet = false;
	inject(t, ". seq 2001 ack 1 len 1");
	expect_event(t, "data 2001");
	inject(t, ". seq 2002 ack 1 len 1000");
	expect_event(t, "data 2032"); /* as much as the largest chunk holds */
	discard_out(t);
	t->app.consume = SIZE_MAX;
	app_resume(t, 0);
	expect_event(t, "data 2032");
	expect_event(t, "data 969");
	discard_out(t);
	assert_int_equal(t->slots[0].rx_bytes, 3001);
	test_finish(t);
}

static void unread_data_waits_for_resume(void **state)
{
	struct test *t = begin_unread(0);

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		inject(t, ". seq %u ack 1 len 1000", 1 + 1000 * i);
		expect_event(t, "data %u", i < 2 ? 1000 * (i + 1) : 2032); /* a piece as long as its chunk */
		discard_out(t);
	}
	t->app.consume = SIZE_MAX;
	app_resume(t, 0);
	expect_event(t, "data 2032");
	expect_event(t, "data 2032");
	expect_event(t, "data 936");
	pass_ms(t, 100);
	discard_out(t);
	app_resume(t, 0); /* nothing to offer */
	expect_no_event(t);
	test_finish(t);
}

/* An application that looks at c10m_send_room first, and leaves a request unread, is asked again. */
static void unread_data_is_offered_when_output_is_acknowledged(void **state)
{
	struct test *t = begin_unread(0);

	(void)state;
	app_send(t, 0, 1000);
	discard_out(t);
	inject(t, "P. seq 1 ack 1 len 100");
	expect_event(t, "data 100");
	discard_out(t);
	t->app.consume = SIZE_MAX;
	inject(t, ". seq 101 ack 1001");
	expect_event(t, "data 100");
	discard_out(t);
	pass_ms(t, 100);
	discard_out(t);
	test_finish(t);
}

/* --- the window that we offer --------------------------------------------------------------- */

/* RFC 9293 section 3.8.6.2.2: a closed window reopens only when a full segment or half the buffer is free. */
/* proves RFC9293-MUST-39 */
static void window_reopens_without_silliness(void **state)
{
	struct test *t = begin_unread(4000);

	(void)state;
	t->app.quiet = true;
	mark(t);
	inject(t, ". seq 1 ack 1 len 1460");
	inject(t, ". seq 1461 ack 1 len 1460");
	expect(t, ". seq 1 ack 2921 win 1080");
	inject(t, "P. seq 2921 ack 1 len 1080");
	pass_ms(t, 41);
	expect(t, ". seq 1 ack 4001 win 0");
	assert_int_equal(counted(t, tcp_zero_window_out), 1);
	t->app.consume = 100;
	app_resume(t, 0);
	pass_ms(t, 1000);
	expect_nothing(t); /* 100 free bytes are not worth a segment */
	t->app.consume = SIZE_MAX;
	app_resume(t, 0);
	expect(t, ". seq 1 ack 4001 win 4000");
	assert_int_equal(counted(t, tcp_window_updates), 1);
	test_finish(t);
}

/* proves RFC9293-SHLD-14 */
static void window_never_shrinks(void **state)
{
	struct test *t = begin_unread(10000);
	struct tcp_segment segment;
	uint32_t edge = 0, seq = 1;

	(void)state;
	t->app.quiet = true;
	for (unsigned i = 0; i < 20; i++) {
		uint32_t relative;

		inject(t, ". seq %u ack 1 len 400", seq);
		seq += 400;
		pass_ms(t, 41);
		next_segment(t, &segment);
		relative = segment.ack - t->peer->iss + segment.window;
		assert_true(relative >= edge);
		edge = relative;
		if (i % 3 == 2) {
			t->app.consume = 300;
			app_resume(t, 0);
			t->app.consume = 0;
			discard_out(t);
		}
	}
	test_finish(t);
}

/* With a scaled window its edge cannot always be told to the byte. What is told fits into the buffer and is
 * taken; less than a unit is lost of what was told before (RFC 7323 section 2.4). */
/* proves RFC7323-04 */
static void scaled_window_is_taken_to_its_edge(void **state)
{
	struct test *t = test_begin();
	struct tcp_segment segment;
	uint32_t total = 0, told = 1460, edge = 0;

	(void)state;
	t->services[0].receive_bytes = 300000;
	t->peer->wscale = 0;
	t->app.consume = 0;
	t->app.quiet = true;
	test_start(t);
	open_server(t);
	while (told > 0) {
		uint32_t bytes = MIN_OF(told, 1459u);

		inject(t, ". seq %u ack 1 len %u", 1 + total, bytes);
		total += bytes;
		pass_ms(t, 41);
		next_segment(t, &segment);
		assert_int_equal(segment.ack - t->peer->iss, 1 + total);
		told = (uint32_t)segment.window << 3;
		assert_true(total + told <= 300000);
		assert_true(total + told + 8 > edge);
		edge = MAX_OF(edge, total + told);
	}
	assert_in_range(total, 300000 - 15, 300000);
	t->app.consume = SIZE_MAX;
	app_resume(t, 0);
	expect(t, ". seq 1 ack %u win 37500", 1 + total);
	test_finish(t);
}

/* One service's large buffer does not make another's small one too small to be told of. */
static void each_service_has_its_own_scale(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->services[0].receive_bytes = 4000;
	t->services[1].receive_bytes = 1u << 30;
	test_start(t);
	inject(t, "S seq 0 win 1000 mss 1460 wscale 7");
	expect(t, "S. seq 0 ack 1 win 4000 mss 1460 wscale 0");
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	for (unsigned i = 0; i < 10; i++) {
		inject(t, ". seq %u ack 1 len 1460", 1 + 1460 * i);
		expect_event(t, "data 1460");
		if (i % 2)
			expect(t, ". seq 1 ack %u win 4000", 1 + 1460 * (i + 1));
	}
	app_connect(t, 5000);
	expect(t, "S mss 1460 sackok ts 0 wscale 14");
	app_abort(t, 1);
	expect_event(t, "close aborted#1");
	test_finish(t);
}

/* --- sending ------------------------------------------------------------------------------------ */

/* proves RFC9293-MUST-2, RFC9293-MUST-65, RFC9293-SHLD-28, RFC1122-IP-03, RFC2018-01 */
static void send_and_acknowledge(void **state)
{
	struct test *t = begin_open();

	(void)state;
	mark(t);
	assert_int_equal(app_send(t, 0, 3000), 3000);
	expect(t, ". seq 1 ack 1 len 1460");
	expect(t, ". seq 1461 ack 1 len 1460");
	expect_nothing(t); /* Nagle keeps the last 80 bytes */
	inject(t, ". seq 1 ack 2921");
	expect(t, "P. seq 2921 ack 1 len 80");
	inject(t, ". seq 1 ack 3001");
	pass_ms(t, 5000);
	assert_int_equal(counted(t, tcp_data_bytes_out), 3000);
	assert_int_equal(usage(t).chunks[0] + usage(t).chunks[1] + usage(t).chunks[2], 0);
	test_finish(t);
}

/* proves RFC9293-MUST-60, RFC9293-SHLD-7, RFC9293-SHLD-27, RFC9293-MAY-16 */
static void nagle_keeps_small_segments(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_send(t, 0, 10);
	expect(t, "P. seq 1 ack 1 len 10"); /* nothing in flight: at once */
	app_send(t, 0, 10);
	app_send(t, 0, 20);
	expect_nothing(t);
	inject(t, ". seq 1 ack 11");
	expect(t, "P. seq 11 ack 1 len 30"); /* together */
	app_send(t, 0, 1500);
	expect(t, ". seq 41 ack 1 len 1460"); /* a full one goes */
	inject(t, ". seq 1 ack 1501");
	expect(t, "P. seq 1501 ack 1 len 40");
	test_finish(t);
}

/* proves RFC9293-MUST-17 */
static void nodelay_sends_at_once(void **state)
{
	struct test *t = begin_nodelay();

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		app_send(t, 0, 10);
		expect(t, "P. seq %u ack 1 len 10", 1 + 10 * i);
	}
	c10m_set_nodelay(app_conn(t, 0), 0);
	app_send(t, 0, 10);
	expect_nothing(t);
	c10m_set_nodelay(app_conn(t, 0), 1);
	flush(t);
	expect(t, "P. seq 41 ack 1 len 10");
	test_finish(t);
}

static void answer_carries_the_acknowledgement(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, "P. seq 1 ack 1 len 50");
	expect_event(t, "data 50");
	app_send(t, 0, 50);
	expect(t, "P. seq 1 ack 51 len 50");
	inject(t, ". seq 51 ack 51");
	pass_ms(t, 100);
	expect_nothing(t);
	test_finish(t);
}

/* proves RFC9293-MUST-38, RFC5681-01 */
static void send_stops_at_the_peers_window(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, ". seq 1 ack 1 win 2000");
	app_send(t, 0, 5000);
	expect(t, ". seq 1 ack 1 len 1460");
	pass_ms(t, 10);
	/* RFC 9293 section 3.8.6.2.1: 540 bytes of window are not worth a segment while data is in flight. */
	expect_nothing(t);
	inject(t, ". seq 1 ack 1461 win 2920");
	expect(t, ". seq 1461 ack 1 len 1460");
	expect(t, ". seq 2921 ack 1 len 1460");
	inject(t, ". seq 1 ack 4381 win 2920");
	expect(t, "P. seq 4381 ack 1 len 620");
	test_finish(t);
}

static void send_buffer_fills_and_on_writable_follows(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->services[0].send_bytes = 4000;
	test_start(t);
	open_server(t);
	assert_int_equal(c10m_send_room(app_conn(t, 0)), 4000);
	assert_int_equal(app_send(t, 0, 5000), 4000);
	expect(t, ". seq 1 len 1460");
	expect(t, ". seq 1461 len 1460");
	assert_int_equal(c10m_send_room(app_conn(t, 0)), 0);
	assert_int_equal(app_send(t, 0, 1), 0);
	expect_no_event(t);
	inject(t, ". seq 1 ack 2921");
	expect(t, "P. seq 2921 len 1080");
	expect_event(t, "writable");
	expect_no_event(t);
	inject(t, ". seq 1 ack 4001");
	expect_no_event(t); /* once for each time that c10m_send took less */
	assert_int_equal(c10m_send_room(app_conn(t, 0)), 4000);
	test_finish(t);
}

static void acknowledgement_of_part_of_a_segment(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_send(t, 0, 1000);
	expect(t, "P. seq 1 ack 1 len 1000");
	inject(t, ". seq 1 ack 401");
	pass_ms(t, 100);
	expect_nothing(t);
	expect_after(t, 100, "P. seq 401 ack 1 len 600"); /* 200 ms after the acknowledgement */
	inject(t, ". seq 1 ack 1001");
	test_finish(t);
}

/* proves RFC5681-15 */
static void pure_acknowledgements_are_not_acknowledged(void **state)
{
	struct test *t = begin_open();

	(void)state;
	for (unsigned i = 0; i < 10; i++)
		inject(t, ". seq 1 ack 1 win %u", 1000 + i);
	pass_ms(t, 1000);
	expect_nothing(t);
	test_finish(t);
}

/* RFC 9293 section 3.10.7.4: a window from an older segment is not taken over. */
/* proves RFC9293-EV-07 */
static void old_segment_does_not_set_the_window(void **state)
{
	struct test *t = begin_open();

	(void)state;
	t->app.quiet = true;
	inject(t, ". seq 1 ack 1 len 100 win 5000");
	expect_after(t, 40, ". seq 1 ack 101");
	app_send(t, 0, 10);
	expect(t, "P. seq 1 ack 101 len 10");
	inject(t, ". seq 101 ack 11 win 5000");
	inject(t, ". seq 101 ack 1 win 0"); /* delayed: an older acknowledgement */
	app_send(t, 0, 10);
	expect(t, "P. seq 11 ack 101 len 10");
	test_finish(t);
}

static void data_both_ways_across_many_bytes(void **state)
{
	struct test *t = begin_open();
	uint32_t in = 1, out = 1;

	(void)state;
	t->app.quiet = true;
	for (unsigned i = 0; i < 200; i++) {
		inject(t, "P. seq %u ack %u len 700", in, out);
		in += 700;
		app_send(t, 0, 500);
		expect(t, "P. seq %u ack %u len 500", out, in);
		out += 500;
		inject(t, ". seq %u ack %u", in, out);
	}
	assert_int_equal(t->slots[0].rx_bytes, 140000);
	test_finish(t);
}

static void push_and_an_urgent_flag_that_points_nowhere(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, "PU. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	expect_after(t, 40, ". seq 1 ack 11");
	inject(t, ". seq 11 ack 1 len 10");
	expect_event(t, "data 10");
	expect_after(t, 40, ". seq 1 ack 21");
	test_finish(t);
}

/* Delayed output "for batching" costs idle latency (design section 7): what a burst causes leaves at its end.
 */
/* proves RFC9293-MUST-60 */
static void trap_output_is_flushed_at_the_end_of_every_burst(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_send(t, 0, 10);
	assert_int_equal(t->out_count, 1);
	assert_int_equal(t->out[t->out_first].at_us, t->now_us);
	expect(t, "P. seq 1 ack 1 len 10");
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(data_in_order),
	TEST(every_second_full_segment_is_acknowledged),
	TEST(quickack_acknowledges_at_once),
	TEST(smaller_segments_are_acknowledged_by_bytes),
	TEST(one_burst_makes_one_acknowledgement),
	TEST(out_of_order_segments_in_one_burst_each_answered),
	TEST(all_orders_of_four_segments),
	TEST(filling_a_hole_is_acknowledged_at_once),
	TEST(overlapping_segments),
	TEST(overlap_with_other_content),
	TEST(many_holes_filled_backwards),
	TEST(duplicate_is_acknowledged_and_not_delivered),
	TEST(beyond_the_window),
	TEST(window_edge_exactly),
	TEST(out_of_order_at_the_window_edge),
	TEST(port_completes_checksums),
	TEST(partly_consumed_data_is_offered_again),
	TEST(message_in_small_pieces_is_offered_whole),
	TEST(unread_data_waits_for_resume),
	TEST(unread_data_is_offered_when_output_is_acknowledged),
	TEST(window_reopens_without_silliness),
	TEST(window_never_shrinks),
	TEST(scaled_window_is_taken_to_its_edge),
	TEST(each_service_has_its_own_scale),
	TEST(send_and_acknowledge),
	TEST(nagle_keeps_small_segments),
	TEST(nodelay_sends_at_once),
	TEST(answer_carries_the_acknowledgement),
	TEST(send_stops_at_the_peers_window),
	TEST(send_buffer_fills_and_on_writable_follows),
	TEST(acknowledgement_of_part_of_a_segment),
	TEST(pure_acknowledgements_are_not_acknowledged),
	TEST(old_segment_does_not_set_the_window),
	TEST(data_both_ways_across_many_bytes),
	TEST(push_and_an_urgent_flag_that_points_nowhere),
	TEST(trap_output_is_flushed_at_the_end_of_every_burst),
};

PACKET_MAIN(tests)
