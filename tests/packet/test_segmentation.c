/* test_segmentation.c - frames of several segments, for ports that cut and join them: what goes out is what
 * single segments would have been, and what comes in is worth as much as they would have been. */
#include "harness.h"

#include <string.h>

#define MSS 1460u

static struct test *begin_cutting(void)
{
	struct test *t = test_begin();

	t->config.tx_checksum = true;
	t->config.tx_segmentation = true;
	t->room = ROOM_MAX;
	return t;
}

/* A connection whose window is wide open, and its congestion window 64 segments. */
static struct test *begin_wide(void)
{
	struct test *t = begin_cutting();

	t->config.initial_window_segments = 64;
	t->services[0].send_bytes = 400000;
	t->peer->wscale = 7;
	t->peer->window = 20000;
	test_start(t);
	open_server(t);
	return t;
}

static void expect_segments(struct test *t, uint32_t first, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		expect(t, ". seq %u ack 1 len 1460", first + i * MSS);
}

/* --- sending ------------------------------------------------------------------------------- */

static void the_congestion_window_goes_in_one_frame(void **state)
{
	struct test *t = begin_cutting();

	(void)state;
	test_start(t);
	open_server(t);
	mark(t);
	app_send(t, 0, 60000);
	expect_segments(t, 1, 10);
	expect_nothing(t);
	assert_int_equal(t->cut, 1);
	assert_int_equal(t->longest, 10 * MSS);
	assert_int_equal(counted(t, tcp_segments_out), 10);
	assert_int_equal(counted(t, tx_packets), 1);
	inject(t, ". seq 1 ack %u", 1 + 10 * MSS);
	expect_segments(t, 1 + 10 * MSS, 11); /* RFC 5681 section 3.1: one more for each acknowledgement */
	assert_int_equal(t->cut, 2);
	discard_out(t);
	app_abort(t, 0);
	discard_out(t);
	discard_events(t);
	test_finish(t);
}

/* The longest IP packet has 65535 bytes: 44 segments and their headers. */
static void no_frame_is_longer_than_its_room(void **state)
{
	struct test *t = begin_wide();

	(void)state;
	app_send(t, 0, 64 * MSS);
	expect_segments(t, 1, 64);
	assert_int_equal(t->cut, 2);
	assert_int_equal(t->longest, 20 * MSS);
	inject(t, ". seq 1 ack %u", 1 + 64 * MSS);
	t->room = 10000;
	app_send(t, 0, 30 * MSS);
	expect_segments(t, 1 + 64 * MSS, 30);
	assert_int_equal(t->cut, 2 + 5);
	assert_int_equal(t->longest, 6 * MSS);
	inject(t, ". seq 1 ack %u", 1 + 94 * MSS);
	t->room = FRAME_ROOM;
	app_send(t, 0, 3 * MSS);
	expect_segments(t, 1 + 94 * MSS, 3);
	assert_int_equal(t->cut, 7);
	inject(t, ". seq 1 ack %u", 1 + 97 * MSS);
	test_finish(t);
}

static void the_peers_window_is_respected(void **state)
{
	struct test *t = begin_cutting();

	(void)state;
	t->peer->window = 5000;
	test_start(t);
	open_server(t);
	app_send(t, 0, 20000);
	expect_segments(t, 1, 3); /* the 620 bytes that are left are a silly window */
	expect_nothing(t);
	inject(t, ". seq 1 ack %u win 2000", 1 + 3 * MSS);
	expect_segments(t, 1 + 3 * MSS, 1);
	expect_nothing(t);
	inject(t, ". seq 1 ack %u win 0", 1 + 4 * MSS);
	expect_nothing(t);
	inject(t, ". seq 1 ack %u win 60000", 1 + 4 * MSS);
	expect_segments(t, 1 + 4 * MSS, 9);
	assert_int_equal(t->longest, 9 * MSS);
	inject(t, ". seq 1 ack %u win 60000", 1 + 13 * MSS);
	expect(t, "P. seq %u ack 1 len %u", 1 + 13 * MSS, 20000 - 13 * MSS);
	inject(t, ". seq 1 ack 20001");
	test_finish(t);
}

/* RFC 9293 section 3.7.4: what is no full segment waits while something is in flight. */
static void nagle_holds_back_the_tail_alone(void **state)
{
	struct test *t = begin_cutting();

	(void)state;
	test_start(t);
	open_server(t);
	app_send(t, 0, 2 * MSS + 100);
	expect_segments(t, 1, 2);
	expect_nothing(t);
	inject(t, ". seq 1 ack %u", 1 + 2 * MSS);
	expect(t, "P. seq %u ack 1 len 100", 1 + 2 * MSS);
	inject(t, ". seq 1 ack %u", 1 + 2 * MSS + 100);
	assert_int_equal(t->cut, 1);
	test_finish(t);
}

static void without_nagle_the_tail_goes_along(void **state)
{
	struct test *t = begin_cutting();

	(void)state;
	t->services[0].flags = C10M_NODELAY;
	test_start(t);
	open_server(t);
	app_send(t, 0, 2 * MSS + 100);
	expect_segments(t, 1, 2);
	expect(t, "P. seq %u ack 1 len 100", 1 + 2 * MSS);
	assert_int_equal(t->cut, 1);
	assert_int_equal(t->longest, 2 * MSS + 100);
	inject(t, ". seq 1 ack %u", 1 + 2 * MSS + 100);
	app_send(t, 0, MSS);
	expect(t, "P. seq %u ack 1 len 1460", 101 + 2 * MSS);
	assert_int_equal(t->cut, 1); /* one segment needs no cutting */
	inject(t, ". seq 1 ack %u", 101 + 3 * MSS);
	test_finish(t);
}

static void the_fin_goes_along(void **state)
{
	struct test *t = begin_cutting();

	(void)state;
	test_start(t);
	open_server(t);
	app_send(t, 0, 12 * MSS + 7);
	expect_segments(t, 1, 10);
	app_shutdown(t, 0);
	expect_nothing(t);
	inject(t, ". seq 1 ack %u", 1 + 10 * MSS);
	expect_segments(t, 1 + 10 * MSS, 2);
	expect(t, "FP. seq %u ack 1 len 7", 1 + 12 * MSS);
	assert_int_equal(t->cut, 2);
	assert_int_equal(t->longest, 2 * MSS + 7);
	inject(t, ". seq 1 ack %u", 1 + 12 * MSS + 8);
	inject(t, "F. seq 1 ack %u", 1 + 12 * MSS + 8);
	expect(t, ". seq %u ack 2", 1 + 12 * MSS + 8);
	discard_events(t);
	test_finish(t);
}

/* proves RFC7323-06 */
static void timestamps_are_in_every_segment(void **state)
{
	struct test *t = begin_cutting();

	(void)state;
	t->peer->offer_timestamps = true;
	test_start(t);
	open_server(t);
	app_send(t, 0, 20000);
	for (unsigned i = 0; i < 10; i++)
		expect(t, ". seq %u ack 1 len 1448", 1 + i * 1448);
	assert_int_equal(t->cut, 1);
	discard_out(t);
	app_abort(t, 0);
	discard_out(t);
	discard_events(t);
	test_finish(t);
}

/* --- losses ------------------------------------------------------------------------------------ */

static void what_is_sent_again_goes_in_single_segments(void **state)
{
	struct test *t = begin_cutting();

	(void)state;
	test_start(t);
	open_server(t);
	app_send(t, 0, 10 * MSS);
	expect_segments(t, 1, 10);
	expect_after(t, 200, ". seq 1 ack 1 len 1460");
	inject(t, ". seq 1 ack %u", 1 + MSS);
	expect_segments(t, 1 + MSS, 2);
	inject(t, ". seq 1 ack %u", 1 + 3 * MSS);
	expect_segments(t, 1 + 3 * MSS, 4);
	assert_int_equal(t->cut, 1);
	inject(t, ". seq 1 ack %u", 1 + 10 * MSS);
	app_send(t, 0, 4 * MSS); /* new data is cut again */
	expect_segments(t, 1 + 10 * MSS, 4);
	assert_int_equal(t->cut, 2);
	inject(t, ". seq 1 ack %u", 1 + 14 * MSS);
	test_finish(t);
}

static void a_lost_segment_of_a_long_frame_is_sent_again_alone(void **state)
{
	struct test *t = begin_cutting();

	(void)state;
	test_start(t);
	open_server(t);
	app_send(t, 0, 10 * MSS);
	expect_segments(t, 1, 10);
	inject(t, ". seq 1 ack %u", 1 + 4 * MSS);
	for (unsigned i = 0; i < 3; i++)
		inject(t, ". seq 1 ack %u", 1 + 4 * MSS);
	expect_segments(t, 1 + 4 * MSS, 1);
	expect_nothing(t);
	assert_int_equal(t->cut, 1);
	inject(t, ". seq 1 ack %u", 1 + 10 * MSS);
	test_finish(t);
}

static void a_smaller_path_mtu_makes_smaller_segments(void **state)
{
	struct test *t = begin_cutting();

	(void)state;
	test_start(t);
	open_server(t);
	app_send(t, 0, 10 * MSS);
	expect_segments(t, 1, 10);
	inject_icmp_error(t, 3, 4, 1000, 1);
	for (unsigned i = 0; i < 10; i++)
		expect(t, ". seq %u ack 1 len 960", 1 + i * 960);
	discard_out(t);
	inject(t, ". seq 1 ack %u", 1 + 10 * MSS);
	app_send(t, 0, 4 * 960);
	for (unsigned i = 0; i < 4; i++)
		expect(t, ". seq %u ack 1 len 960", 1 + 10 * MSS + i * 960);
	assert_int_equal(t->cut, 2);
	inject(t, ". seq 1 ack %u", 1 + 10 * MSS + 4 * 960);
	test_finish(t);
}

/* --- receiving ----------------------------------------------------------------------------------- */

/* It stands for many full segments: RFC 1122 section 4.2.3.2 asks for an acknowledgement now. */
static void a_long_frame_is_acknowledged_at_once(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, ". seq 1 ack 1 len 50000");
	expect(t, ". seq 1 ack 50001");
	expect_event(t, "data 50000");
	inject(t, ". seq 50001 ack 1 len 65495"); /* the longest there is */
	expect(t, ". seq 1 ack 115496");
	expect_event(t, "data 65495");
	assert_int_equal(t->slots[0].rx_bytes, 115495);
	test_finish(t);
}

static void what_is_beyond_the_window_is_cut_off(void **state)
{
	struct test *t = begin_open();

	(void)state;
	t->app.quiet = true;
	t->app.consume = 0;
	inject(t, ". seq 1 ack 1 len 60000");
	expect(t, ". seq 1 ack 60001 win 5535");
	inject(t, ". seq 60001 ack 1 len 20000");
	expect(t, ". seq 1 ack 65536 win 0");
	t->app.consume = SIZE_MAX;
	app_resume(t, 0);
	discard_out(t);
	assert_int_equal(t->slots[0].rx_bytes, 65535);
	discard_events(t);
	test_finish(t);
}

static void long_frames_out_of_order_are_put_in_order(void **state)
{
	struct test *t = begin_open();

	(void)state;
	t->app.quiet = true;
	inject(t, ". seq 30001 ack 1 len 30000");
	expect(t, ". seq 1 ack 1");
	inject(t, ". seq 10001 ack 1 len 40000"); /* overlaps */
	expect(t, ". seq 1 ack 1");
	inject(t, ". seq 1 ack 1 len 20000");
	expect(t, ". seq 1 ack 60001");
	discard_out(t);
	assert_int_equal(t->slots[0].rx_bytes, 60000);
	discard_events(t);
	test_finish(t);
}

static void the_fin_of_a_long_frame_counts(void **state)
{
	struct test *t = begin_open();

	(void)state;
	t->app.keep_open = true;
	inject(t, "F. seq 1 ack 1 len 40000");
	expect_event(t, "data 40000");
	expect_event(t, "eof");
	expect(t, ". seq 1 ack 40002");
	app_abort(t, 0);
	discard_out(t);
	discard_events(t);
	test_finish(t);
}

/* A segment as it comes from a sender on this machine, its sum left undone; the port says where it would be.
 */
static void inject_partial(struct test *t, uint16_t start, uint16_t offset)
{
	static const uint8_t undone[2] = {0xab, 0xcd};
	uint8_t frame[FRAME_ROOM];
	struct packet packet = {.data = frame, .checksum = PACKET_CSUM_PARTIAL};

	packet.csum_start = start;
	packet.csum_offset = offset;
	packet.bytes = build(t, frame, ". seq 1 ack 1 len 100");
	memcpy(frame + 34 + 16, undone, sizeof(undone));
	stack_rx(t->stack, t->now_us, &packet, 1);
	flush(t);
}

static void a_sum_left_undone_is_not_looked_at(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject_partial(t, 34, 16);
	expect_event(t, "data 100");
	expect_after(t, 40, ". seq 1 ack 101");
	test_finish(t);
}

/* Whoever says so: a sum elsewhere is another packet's, and this one's is wrong. */
static void a_sum_left_undone_elsewhere_is_wrong(void **state)
{
	static const uint16_t places[][2] = {{34, 6}, {33, 16}, {54, 16}, {0, 0}};
	struct test *t = begin_open();

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(places); i++) {
		inject_partial(t, places[i][0], places[i][1]);
		expect_drop(t, TCP_CHECKSUM);
	}
	expect_nothing(t);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(the_congestion_window_goes_in_one_frame),
	TEST(no_frame_is_longer_than_its_room),
	TEST(the_peers_window_is_respected),
	TEST(nagle_holds_back_the_tail_alone),
	TEST(without_nagle_the_tail_goes_along),
	TEST(the_fin_goes_along),
	TEST(timestamps_are_in_every_segment),
	TEST(what_is_sent_again_goes_in_single_segments),
	TEST(a_lost_segment_of_a_long_frame_is_sent_again_alone),
	TEST(a_smaller_path_mtu_makes_smaller_segments),
	TEST(a_long_frame_is_acknowledged_at_once),
	TEST(what_is_beyond_the_window_is_cut_off),
	TEST(long_frames_out_of_order_are_put_in_order),
	TEST(the_fin_of_a_long_frame_counts),
	TEST(a_sum_left_undone_is_not_looked_at),
	TEST(a_sum_left_undone_elsewhere_is_wrong),
};

PACKET_MAIN(tests)
