/* test_splice.c - what arrives on one connection is sent on another: order, backpressure, ends. */
#include "harness.h"

#include <errno.h>

/* Two connections that peers 0 and 1 opened; slot 0 feeds slot 1. */
static struct test *begin_pair(uint32_t receive_bytes, uint32_t send_bytes)
{
	struct test *t = test_begin();

	t->services[0].flags = C10M_SPLICE;
	t->services[0].receive_bytes = receive_bytes;
	t->services[0].send_bytes = send_bytes;
	test_start(t);
	for (unsigned i = 0; i < 2; i++) {
		use_peer(t, i);
		open_server(t);
	}
	use_peer(t, 0);
	return t;
}

static void splice(struct test *t, unsigned from, unsigned to)
{
	flush(t);
	assert_int_equal(c10m_splice(app_conn(t, from), app_conn(t, to)), 0);
	flush(t);
}

static struct test *begin_spliced(uint32_t receive_bytes, uint32_t send_bytes)
{
	struct test *t = begin_pair(receive_bytes, send_bytes);

	splice(t, 0, 1);
	return t;
}

/* Peer 0 sends so many bytes in one burst. */
static void fill(struct test *t, uint32_t from, uint32_t bytes)
{
	static struct burst burst;

	use_peer(t, 0);
	burst.count = 0;
	for (uint32_t done = 0, part; done < bytes; done += part) {
		part = MIN_OF(bytes - done, 1460u);
		burst_add(t, &burst, ". seq %u ack 1 len %u", from + done, part);
	}
	if (bytes)
		inject_burst(t, &burst);
}

/* Takes all frames that wait; those with payload must go on to peer 1 from *next on. Returns the last window
 * that peer 0 was told, or -1. */
static int32_t take_all(struct test *t, uint32_t *next)
{
	struct tcp_segment segment;
	struct ipv4_header ip;
	int32_t window = -1;

	while (t->out_count) {
		take_segment(t, &ip, &segment);
		if (segment.destination_port == t->peers[0].port) {
			assert_int_equal(segment.payload_bytes, 0);
			window = segment.window;
			continue;
		}
		assert_int_equal(segment.seq, t->peers[1].irs + *next);
		for (uint32_t i = 0; i < segment.payload_bytes; i++)
			assert_int_equal(segment.payload[i], stream_byte(*next - 1 + i));
		*next += segment.payload_bytes;
	}
	return window;
}

/* --- data */

static void data_goes_on(void **state)
{
	struct test *t = begin_spliced(0, 0);

	(void)state;
	mark(t);
	inject(t, "P. seq 1 ack 1 len 100");
	use_peer(t, 1);
	expect(t, "P. seq 1 ack 1 len 100");
	inject(t, ". seq 1 ack 101");
	use_peer(t, 0);
	expect_after(t, 40, ". seq 1 ack 101");
	assert_int_equal(counted(t, splice_bytes), 100);
	assert_int_equal(counted(t, splice_moved_bytes), 0);
	test_finish(t);
}

static void both_directions(void **state)
{
	struct test *t = begin_spliced(0, 0);

	(void)state;
	splice(t, 1, 0);
	inject(t, "P. seq 1 ack 1 len 10");
	use_peer(t, 1);
	expect(t, "P. seq 1 ack 1 len 10");
	inject(t, "P. seq 1 ack 11 len 20");
	use_peer(t, 0);
	expect(t, "P. seq 1 ack 11 len 20");
	inject(t, ". seq 11 ack 21");
	use_peer(t, 1);
	expect_after(t, 40, ". seq 11 ack 21");
	test_finish(t);
}

/* What came before the splice is not lost, and goes first; it is moved, not copied. */
static void what_was_kept_goes_first(void **state)
{
	struct test *t = begin_pair(0, 0);

	(void)state;
	t->app.consume = 0;
	inject(t, "P. seq 1 ack 1 len 500");
	expect_event(t, "data 500");
	mark(t);
	splice(t, 0, 1);
	use_peer(t, 1);
	expect(t, "P. seq 1 ack 1 len 500");
	inject(t, ". seq 1 ack 501");
	assert_int_equal(counted(t, splice_moved_bytes), 500);
	use_peer(t, 0);
	expect_after(t, 40, ". seq 1 ack 501");
	inject(t, "P. seq 501 ack 1 len 7");
	use_peer(t, 1);
	expect(t, "P. seq 501 ack 1 len 7");
	discard_out(t);
	test_finish(t);
}

static void out_of_order_goes_on_in_order(void **state)
{
	struct test *t = begin_spliced(0, 0);

	(void)state;
	mark(t);
	inject(t, "P. seq 1001 ack 1 len 1000");
	expect(t, ". seq 1 ack 1");
	inject(t, ". seq 1 ack 1 len 1000");
	use_peer(t, 1);
	expect(t, ". seq 1 ack 1 len 1460");
	use_peer(t, 0);
	expect(t, ". seq 1 ack 2001");
	use_peer(t, 1);
	inject(t, ". seq 1 ack 1461");
	expect(t, "P. seq 1461 ack 1 len 540");
	assert_int_equal(counted(t, splice_moved_bytes), 1000);
	test_finish(t);
}

/* --- backpressure */

/* The queue of the one fills, then the window of the other closes; each acknowledgement opens it again.
 * Nothing is lost, nothing goes twice, and of what had to wait nothing is copied. */
static void window_closes_and_opens_with_the_other(void **state)
{
	struct test *t = begin_spliced(6000, 4000);
	uint32_t sent = 0, next = 1, rounds = 0, total = 60000;
	int32_t window = 6000, told;
	bool closed = false;

	(void)state;
	mark(t);
	while (next <= total) {
		uint32_t part = MIN_OF((uint32_t)window, total - sent);

		fill(t, 1 + sent, part);
		sent += part;
		pass_ms(t, 41);
		told = take_all(t, &next);
		closed |= told == 0;
		assert_true(sent - (next - 1) <= 10000 + 2032); /* never more than both queues hold */
		use_peer(t, 1);
		inject(t, ". seq 1 ack %u", next);
		flush(t);
		if (told < 0)
			told = 0;
		if (t->out_count) {
			int32_t later = take_all(t, &next);

			told = later >= 0 ? later : told;
		}
		window = told;
		stack_verify(t->stack);
		assert_true(++rounds < 200);
	}
	assert_true(closed);
	assert_int_equal(sent, total);
	assert_int_equal(counted(t, splice_bytes), total);
	assert_true(counted(t, splice_moved_bytes) > total / 3);
	assert_true(counted(t, splice_waits) > 3);
	assert_int_equal(t->slots[0].rx_bytes, 0);
	discard_out(t);
	test_finish(t);
}

/* The peer behind closes its window: it is probed, and meanwhile ours closes to the peer in front. */
static void zero_window_behind_closes_the_one_in_front(void **state)
{
	struct test *t = begin_spliced(3000, 2000);
	uint32_t next = 1;

	(void)state;
	use_peer(t, 1);
	inject(t, ". seq 1 ack 1 win 0");
	fill(t, 1, 3000);
	take_all(t, &next);
	fill(t, 3001, 2000);
	pass_ms(t, 41);
	assert_int_equal(take_all(t, &next), 0);
	assert_int_equal(next, 1);
	mark(t);
	pass_ms(t, 5000);
	assert_true(counted(t, tcp_zero_window_probes) > 0);
	discard_out(t);
	use_peer(t, 1);
	next = 1;
	for (unsigned i = 0; i < 20 && next <= 5000; i++) {
		inject(t, ". seq 1 ack %u win 5000", next);
		pass_ms(t, 50);
		take_all(t, &next);
	}
	assert_int_equal(next, 5001);
	inject(t, ". seq 1 ack 5001 win 5000");
	discard_out(t);
	test_finish(t);
}

/* --- ends */

static void fin_becomes_fin(void **state)
{
	struct test *t = begin_spliced(0, 0);

	(void)state;
	splice(t, 1, 0);
	inject(t, "FP. seq 1 ack 1 len 10");
	use_peer(t, 1);
	expect(t, "FP. seq 1 ack 1 len 10");
	use_peer(t, 0);
	expect(t, ". seq 1 ack 12");
	use_peer(t, 1); /* the other direction goes on */
	inject(t, "P. seq 1 ack 12 len 30");
	use_peer(t, 0);
	expect(t, "P. seq 1 ack 12 len 30");
	inject(t, ". seq 12 ack 31");
	use_peer(t, 1);
	inject(t, "F. seq 31 ack 12");
	expect(t, ". seq 12 ack 32");
	use_peer(t, 0);
	expect(t, "F. seq 31 ack 12");
	expect_event(t, "close normal#1");
	inject(t, ". seq 12 ack 32");
	expect_event(t, "close normal");
	assert_int_equal(usage(t).connections, 0);
	test_finish(t);
}

static void fin_waits_for_what_came_before(void **state)
{
	struct test *t = begin_spliced(4000, 1460);
	uint32_t next = 1;

	(void)state;
	inject(t, ". seq 1 ack 1 len 1460");
	take_all(t, &next);
	use_peer(t, 0);
	inject(t, "FP. seq 1461 ack 1 len 1000");
	expect(t, ". seq 1 ack 2462");
	expect_nothing(t);
	use_peer(t, 1);
	inject(t, ". seq 1 ack 1461");
	expect(t, "FP. seq 1461 ack 1 len 1000");
	inject(t, ". seq 1 ack 2462");
	test_finish(t);
}

/* The peer had closed before there was a splice, and the application knows. */
static void splice_after_the_end(void **state)
{
	struct test *t = begin_pair(0, 0);

	(void)state;
	t->app.keep_open = true;
	inject(t, "F. seq 1 ack 1");
	expect_event(t, "eof");
	expect(t, ". seq 1 ack 2");
	splice(t, 0, 1);
	use_peer(t, 1);
	expect(t, "F. seq 1 ack 1");
	inject(t, ". seq 1 ack 2");
	test_finish(t);
}

static void reset_ends_the_other(void **state)
{
	struct test *t = begin_spliced(0, 0);

	(void)state;
	mark(t);
	inject(t, "R seq 1");
	expect_event(t, "close reset");
	expect_event(t, "close spliced#1");
	use_peer(t, 1);
	expect(t, "R. seq 1 ack 1");
	assert_int_equal(counted(t, splice_aborts), 1);
	assert_int_equal(usage(t).connections, 0);
	test_finish(t);
}

/* Also with data on its way in both queues, and against the direction of the splice. */
static void reset_behind_ends_the_one_in_front(void **state)
{
	struct test *t = begin_spliced(4000, 1460);

	(void)state;
	fill(t, 1, 2920);
	discard_out(t);
	use_peer(t, 1);
	inject(t, "R seq 1");
	expect_event(t, "close reset#1");
	expect_event(t, "close spliced");
	use_peer(t, 0);
	expect(t, "R. seq 1 ack 2921");
	assert_int_equal(usage(t).chunks[0] + usage(t).chunks[1] + usage(t).chunks[2], 0);
	test_finish(t);
}

/* Each ends with the one before it. */
static void reset_ends_a_chain(void **state)
{
	struct test *t = begin_spliced(0, 0);

	(void)state;
	use_peer(t, 2);
	open_server(t);
	splice(t, 1, 2);
	use_peer(t, 0);
	inject(t, "R seq 1");
	expect_event(t, "close reset");
	expect_event(t, "close spliced#1");
	expect_event(t, "close spliced#2");
	discard_out(t);
	assert_int_equal(usage(t).connections, 0);
	test_finish(t);
}

static void abort_ends_the_other(void **state)
{
	struct test *t = begin_spliced(0, 0);

	(void)state;
	app_abort(t, 1);
	expect_event(t, "close aborted#1");
	expect_event(t, "close spliced");
	discard_out(t);
	test_finish(t);
}

static void timeout_ends_the_other(void **state)
{
	struct test *t = begin_spliced(0, 0);

	(void)state;
	c10m_set_user_timeout(app_conn(t, 1), 3000);
	inject(t, "P. seq 1 ack 1 len 10");
	pass_ms(t, 4000);
	expect_event(t, "close timeout#1");
	expect_event(t, "close spliced");
	discard_out(t);
	test_finish(t);
}

/* --- the application takes part again */

static void unsplice_gives_data_back(void **state)
{
	struct test *t = begin_spliced(4000, 1460);

	(void)state;
	fill(t, 1, 2460); /* for the last 1000 is no room */
	discard_out(t);
	t->slots[0].rx_bytes = 1460; /* what it will see goes on from there */
	assert_int_equal(c10m_unsplice(app_conn(t, 0)), 0);
	assert_int_equal(c10m_unsplice(app_conn(t, 0)), -ENOENT);
	flush(t);
	expect_event(t, "data 1000");
	discard_out(t);
	inject(t, "P. seq 2461 ack 1 len 5");
	expect_event(t, "data 5");
	discard_out(t);
	use_peer(t, 1);
	inject(t, ". seq 1 ack 1461");
	expect_event(t, "writable#1"); /* the splice had waited for it */
	expect_no_event(t);
	test_finish(t);
}

static void shutdown_of_the_target_gives_data_back(void **state)
{
	struct test *t = begin_spliced(0, 0);

	(void)state;
	app_shutdown(t, 1);
	use_peer(t, 1);
	expect(t, "F. seq 1 ack 1");
	use_peer(t, 0);
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	discard_out(t);
	test_finish(t);
}

/* And its end. */
static void shutdown_of_the_target_gives_the_end_back(void **state)
{
	struct test *t = begin_spliced(0, 0);

	(void)state;
	t->app.keep_open = true;
	app_shutdown(t, 1);
	use_peer(t, 1);
	expect(t, "F. seq 1 ack 1");
	use_peer(t, 0);
	inject(t, "F. seq 1 ack 1");
	expect_event(t, "eof");
	discard_out(t);
	test_finish(t);
}

static void abort_the_other(struct test *t, c10m_conn *conn, unsigned slot, const char *event)
{
	c10m_conn *other = c10m_conn_find(c10m_conn_worker(conn), t->slots[1].handle);

	(void)slot;
	if (strcmp(event, "urgent") != 0)
		return;
	c10m_resume(other); /* its turn comes with those of all that are ready */
	c10m_abort(other);
}

/* An abort out of a callback waits for its turn; what comes in between changes nothing. */
static void begin_abort_within(const char *segment)
{
	struct test *t = begin_spliced(0, 0);

	t->app.hook = abort_the_other;
	inject(t, "%s", segment);
	expect_event(t, "urgent 10");
	expect_event(t, "close aborted#1");
	expect_event(t, "close spliced");
	expect_no_event(t);
	discard_out(t);
	assert_int_equal(usage(t).connections, 0);
	test_finish(t);
}

static void data_between_abort_and_end(void **state)
{
	(void)state;
	begin_abort_within("PU. seq 1 ack 1 len 10 urg 10");
}

static void fin_between_abort_and_end(void **state)
{
	(void)state;
	begin_abort_within("FU. seq 1 ack 1 urg 10");
}

static void close_ends_the_splice_and_not_the_other(void **state)
{
	struct test *t = begin_spliced(0, 0);

	(void)state;
	splice(t, 1, 0);
	app_close(t, 1);
	use_peer(t, 1);
	expect(t, "F. seq 1 ack 1");
	inject(t, "F. seq 1 ack 2");
	expect(t, ". seq 2 ack 2");
	expect_event(t, "close normal#1");
	use_peer(t, 0);
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	discard_out(t);
	test_finish(t);
}

static void refusals(void **state)
{
	struct test *t = begin_pair(0, 0);
	unsigned plain;

	(void)state;
	use_peer(t, 2);
	plain = open_client(t); /* of a service without C10M_SPLICE */
	assert_int_equal(c10m_splice(app_conn(t, 0), app_conn(t, 0)), -EINVAL);
	assert_int_equal(c10m_splice(app_conn(t, 0), app_conn(t, plain)), -EINVAL);
	assert_int_equal(c10m_splice(app_conn(t, plain), app_conn(t, 0)), -EINVAL);
	assert_int_equal(c10m_unsplice(app_conn(t, plain)), -ENOENT);
	assert_int_equal(c10m_splice(app_conn(t, 0), app_conn(t, 1)), 0);
	assert_int_equal(c10m_splice(app_conn(t, 0), app_conn(t, 1)), -EBUSY);
	app_shutdown(t, 0);
	assert_int_equal(c10m_splice(app_conn(t, 1), app_conn(t, 0)), -ENOTCONN);
	discard_out(t);
	test_finish(t);
}

/* --- what goes wrong inside */

/* No chunk is left for what arrives: it is dropped, counted, and taken when the peer sends it again. */
static void without_chunks_data_comes_again(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->services[0].flags = C10M_SPLICE | C10M_NODELAY;
	t->config.chunks = (struct chunk_config){{1, 1, 1}};
	test_start(t);
	for (unsigned i = 0; i < 3; i++) {
		use_peer(t, i);
		open_server(t);
	}
	assert_int_equal(app_send(t, 2, 5000), 2032 + 496 + 112);
	discard_out(t);
	splice(t, 0, 1);
	use_peer(t, 0);
	inject(t, "P. seq 1 ack 1 len 100");
	expect(t, ". seq 1 ack 1");
	expect_drop(t, NO_CHUNK);
	use_peer(t, 2);
	inject(t, ". seq 1 ack 2641");
	expect_event(t, "writable#2");
	use_peer(t, 0);
	inject(t, "P. seq 1 ack 1 len 100");
	use_peer(t, 1);
	expect(t, "P. seq 1 ack 1 len 100");
	discard_out(t);
	test_finish(t);
}

/* All that can be rebuilt is rebuilt in the middle of it. */
static void rebuild_keeps_the_splice(void **state)
{
	struct test *t = begin_spliced(4000, 1460);
	uint32_t next = 1461;

	(void)state;
	fill(t, 1, 2460);
	discard_out(t);
	stack_rebuild(t->stack, t->now_us);
	stack_verify(t->stack);
	use_peer(t, 1);
	inject(t, ". seq 1 ack 1461");
	take_all(t, &next);
	assert_int_equal(next, 2461);
	inject(t, ". seq 1 ack 2461");
	discard_out(t);
	use_peer(t, 0);
	inject(t, "P. seq 2461 ack 1 len 10");
	take_all(t, &next);
	assert_int_equal(next, 2471);
	discard_out(t);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(data_goes_on),
	TEST(both_directions),
	TEST(what_was_kept_goes_first),
	TEST(out_of_order_goes_on_in_order),
	TEST(window_closes_and_opens_with_the_other),
	TEST(zero_window_behind_closes_the_one_in_front),
	TEST(fin_becomes_fin),
	TEST(fin_waits_for_what_came_before),
	TEST(splice_after_the_end),
	TEST(reset_ends_the_other),
	TEST(reset_behind_ends_the_one_in_front),
	TEST(reset_ends_a_chain),
	TEST(abort_ends_the_other),
	TEST(timeout_ends_the_other),
	TEST(unsplice_gives_data_back),
	TEST(shutdown_of_the_target_gives_data_back),
	TEST(shutdown_of_the_target_gives_the_end_back),
	TEST(data_between_abort_and_end),
	TEST(fin_between_abort_and_end),
	TEST(close_ends_the_splice_and_not_the_other),
	TEST(refusals),
	TEST(without_chunks_data_comes_again),
	TEST(rebuild_keeps_the_splice),
};

PACKET_MAIN(tests)
