/* test_urgent.c - urgent data, both ways: where it ends is told, the data stays in line (RFC 9293
 * section 3.8.5, RFC 6093). */
#include "harness.h"

/* The pointer names what follows the last byte, and is told before the data. */
/* proves RFC9293-MUST-30, RFC9293-MUST-32, RFC9293-MUST-33 */
static void urgent_data_is_told_and_stays_in_line(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, "PU. seq 1 ack 1 len 10 urg 4");
	expect_event(t, "urgent 4");
	expect_event(t, "data 10");
	assert_int_equal(c10m_urgent_bytes(app_conn(t, 0)), 0);
	expect_after(t, 40, ". seq 1 ack 11");
	assert_int_equal(usage(t).extensions, 0);
	test_finish(t);
}

/* It may end in data that has not come yet; of any length. */
/* proves RFC9293-MUST-31, RFC9293-MUST-32 */
static void urgent_data_that_is_still_to_come(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, "PU. seq 1 ack 1 len 10 urg 60000");
	expect_event(t, "urgent 60000");
	expect_event(t, "data 10");
	assert_int_equal(c10m_urgent_bytes(app_conn(t, 0)), 59990);
	pass_ms(t, 50);
	discard_out(t);
	inject(t, "U. seq 11 ack 1 len 10 urg 59990"); /* the same once more */
	expect_event(t, "data 10");
	inject(t, "U. seq 21 ack 1 len 10 urg 65535"); /* and farther */
	expect_event(t, "urgent 65535");
	expect_event(t, "data 10");
	assert_int_equal(c10m_urgent_bytes(app_conn(t, 0)), 65525);
	pass_ms(t, 50);
	discard_out(t);
	test_finish(t);
}

/* Unread data counts until it is consumed. */
/* proves RFC9293-MUST-33 */
static void urgent_data_that_waits_to_be_read(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->app.consume = 3;
	test_start(t);
	open_server(t);
	inject(t, "PU. seq 1 ack 1 len 10 urg 8");
	expect_event(t, "urgent 8");
	expect_event(t, "data 10");
	expect_after(t, 40, ". seq 1 ack 11");
	assert_int_equal(c10m_urgent_bytes(app_conn(t, 0)), 5);
	app_resume(t, 0);
	expect_event(t, "data 7");
	assert_int_equal(c10m_urgent_bytes(app_conn(t, 0)), 2);
	t->app.consume = SIZE_MAX;
	app_resume(t, 0);
	expect_event(t, "data 4");
	assert_int_equal(c10m_urgent_bytes(app_conn(t, 0)), 0);
	test_finish(t);
}

/* The peer's FIN takes a sequence number, and is no byte. */
static void urgent_data_that_waits_before_the_end(void **state)
{
	struct test *t = begin_unread(0);

	(void)state;
	inject(t, "FPU. seq 1 ack 1 len 10 urg 8");
	expect_event(t, "urgent 8");
	expect_event(t, "data 10");
	expect(t, ". seq 1 ack 12");
	assert_int_equal(c10m_urgent_bytes(app_conn(t, 0)), 8);
	test_finish(t);
}

/* A pointer that goes back, or to what was read, tells nothing. */
static void pointers_to_what_is_over(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, "P. seq 1 ack 1 len 100");
	expect_event(t, "data 100");
	inject(t, "U. seq 50 ack 1 len 51 urg 20"); /* an old segment */
	discard_out(t);
	expect_drops(t, TCP_OUT_OF_WINDOW);
	inject(t, "U. seq 101 ack 1 len 10 urg 0");
	expect_event(t, "data 10");
	pass_ms(t, 50);
	discard_out(t);
	expect_no_event(t);
	assert_int_equal(usage(t).extensions, 0);
	test_finish(t);
}

/* RFC 9293 section 3.4: URG counts even while our window is closed. */
/* proves RFC9293-MUST-66 */
static void urgent_before_a_closed_window(void **state)
{
	struct test *t = begin_unread(1000);

	(void)state;
	inject(t, "P. seq 1 ack 1 len 1000");
	expect_event(t, "data 1000");
	expect_after(t, 40, ". seq 1 ack 1001 win 0");
	inject(t, "U. seq 1001 ack 1 len 1 urg 1");
	expect(t, ". seq 1 ack 1001 win 0");
	expect_drop(t, TCP_OUT_OF_WINDOW);
	expect_event(t, "urgent 1001");
	test_finish(t);
}

static void nothing_urgent_after_the_fin(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->app.keep_open = true;
	test_start(t);
	open_server(t);
	inject(t, "F. seq 1 ack 1");
	expect_event(t, "eof");
	expect(t, ". seq 1 ack 2");
	inject(t, "U. seq 2 ack 1 urg 100");
	expect_no_event(t);
	assert_int_equal(usage(t).extensions, 0);
	test_finish(t);
}

static size_t send_urgent(struct test *t, size_t bytes)
{
	uint8_t data[4096];
	size_t sent;

	for (size_t i = 0; i < bytes; i++)
		data[i] = stream_byte(t->slots[0].tx_bytes + i);
	flush(t);
	sent = c10m_send_urgent(app_conn(t, 0), data, bytes);
	t->slots[0].tx_bytes += sent;
	flush(t);
	return sent;
}

/* proves RFC9293-MUST-30, RFC9293-MUST-62 */
/* RFC 6093 section 3: the pointer names the byte that follows, and each segment before it carries it. */
static void urgent_data_is_sent_with_its_pointer(void **state)
{
	struct test *t = begin_open();

	(void)state;
	assert_int_equal(send_urgent(t, 2000), 2000);
	expect(t, "U. seq 1 ack 1 len 1460 urg 2000");
	inject(t, ". seq 1 ack 1461");
	expect(t, "PU. seq 1461 ack 1 len 540 urg 540");
	inject(t, ". seq 1 ack 2001");
	app_send(t, 0, 10);
	expect(t, "P. seq 2001 ack 1 len 10 urg 0");
	assert_int_equal(usage(t).extensions, 0);
	test_finish(t);
}

/* What follows the urgent data is not urgent, even before any of it is acknowledged. */
static void what_follows_is_not_urgent(void **state)
{
	struct test *t = begin_open();

	(void)state;
	send_urgent(t, 1460);
	app_send(t, 0, 2920);
	expect(t, "PU. seq 1 ack 1 len 1460 urg 1460");
	expect(t, ". seq 1461 ack 1 len 1460 urg 0");
	expect(t, "P. seq 2921 ack 1 len 1460 urg 0");
	inject(t, ". seq 1 ack 4381");
	test_finish(t);
}

/* It ends farther ahead than the field can tell: as far as that goes, and exactly once it is near enough. */
static void an_end_that_is_far_ahead(void **state)
{
	struct test *t = test_begin();
	uint32_t end = 70000, sent = 1;

	(void)state;
	t->services[0].send_bytes = 200000;
	test_start(t);
	open_server(t);
	inject(t, ". seq 1 ack 1 win 0");
	app_send(t, 0, end - 4000);
	send_urgent(t, 4000);
	expect(t, "U. seq 1 ack 1 urg 65535");
	inject(t, ". seq 1 ack 1 win 60000");
	while (sent <= end) {
		struct tcp_segment segment;
		uint8_t frame[FRAME_ROOM];
		uint32_t left;

		next_segment(t, &segment);
		left = end + 1 - (segment.seq - t->peer->irs);
		assert_true(segment.flags & TCP_URG);
		assert_int_equal(segment.urgent, left < 65535 ? left : 65535);
		sent += segment.payload_bytes;
		inject_raw(t, frame, build(t, frame, ". seq 1 ack %u win 60000", sent));
	}
	assert_int_equal(usage(t).extensions, 0);
	test_finish(t);
}

/* What is sent again is as urgent as before. */
static void lost_urgent_data_is_urgent_again(void **state)
{
	struct test *t = begin_open();

	(void)state;
	send_urgent(t, 100);
	expect(t, "PU. seq 1 ack 1 len 100 urg 100");
	expect_after(t, 200, "PU. seq 1 ack 1 len 100 urg 100");
	inject(t, ". seq 1 ack 101");
	assert_int_equal(usage(t).extensions, 0);
	test_finish(t);
}

/* The peer's window is closed: an acknowledgement tells. */
static void closed_window_does_not_hold_the_pointer_back(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, ". seq 1 ack 1 win 0");
	send_urgent(t, 100);
	expect(t, "U. seq 1 ack 1 urg 100");
	inject(t, ". seq 1 ack 1 win 1000");
	expect(t, "PU. seq 1 ack 1 len 100 urg 100");
	inject(t, ". seq 1 ack 101");
	test_finish(t);
}

static void no_memory_for_a_pointer(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->config.extensions = 1;
	t->app.quiet = true;
	test_start(t);
	open_server(t);
	app_send(t, 0, 8000); /* takes the one that there is, for its queue */
	discard_out(t);
	use_peer(t, 1);
	open_server(t);
	inject(t, "PU. seq 1 ack 1 len 10 urg 4");
	expect_event(t, "urgent 0#1"); /* told, though not how far */
	pass_ms(t, 50);
	discard_out(t);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(urgent_data_is_told_and_stays_in_line),
	TEST(urgent_data_that_is_still_to_come),
	TEST(urgent_data_that_waits_to_be_read),
	TEST(urgent_data_that_waits_before_the_end),
	TEST(pointers_to_what_is_over),
	TEST(urgent_before_a_closed_window),
	TEST(nothing_urgent_after_the_fin),
	TEST(urgent_data_is_sent_with_its_pointer),
	TEST(what_follows_is_not_urgent),
	TEST(an_end_that_is_far_ahead),
	TEST(lost_urgent_data_is_urgent_again),
	TEST(closed_window_does_not_hold_the_pointer_back),
	TEST(no_memory_for_a_pointer),
};

PACKET_MAIN(tests)
