/* test_fanout.c - messages that many connections share: order, loss, empty pools, slow receivers. */
#include "fanout_test.h"

#include <errno.h>

/* --- one message --------------------------------------------------------------------------- */

static void one_message_reaches_all(void **state)
{
	struct test *t = begin_many(5);
	c10m_message message = message_at_position(t, 0, 100);
	struct done done = {0};

	(void)state;
	fan_out(t, message, &done);
	expect_each(t, 0, 5, 1, 100);
	assert_int_equal(done.calls, 1);
	assert_int_equal(done.result.queued, 5);
	assert_int_equal(done.result.acknowledged, 0);
	assert_int_equal(usage(t).messages, 1);
	assert_int_equal(usage(t).chunks[0], 5);
	assert_int_equal(c10m_message_pending(worker_of(t), message), 5);
	ack_each(t, 0, 4, 101);
	assert_int_equal(c10m_message_pending(worker_of(t), message), 1);
	ack_each(t, 4, 5, 101);
	assert_int_equal(usage(t).messages, 0);
	assert_int_equal(usage(t).chunks[0], 0);
	assert_int_equal(usage(t).fanouts, 0);
	test_finish(t);
}

static void lost_message_is_sent_again_from_the_one_copy(void **state)
{
	struct test *t = begin_many(2);
	struct done done = {0};

	(void)state;
	fan_out(t, message_at_position(t, 0, 100), &done);
	expect_each(t, 0, 2, 1, 100);
	ack_each(t, 0, 1, 101);
	use_peer(t, 1);
	expect_after(t, 200, "P. seq 1 ack 1 len 100");
	inject(t, ". seq 1 ack 31"); /* a part of it */
	expect_after(t, 400, "P. seq 31 ack 1 len 70");
	assert_int_equal(usage(t).messages, 1);
	inject(t, ". seq 1 ack 101");
	assert_int_equal(usage(t).messages, 0);
	test_finish(t);
}

static void long_message_goes_in_segments(void **state)
{
	struct test *t = begin_nodelay();
	struct done done = {0};

	(void)state;
	fan_out(t, message_at_position(t, 0, 5000), &done);
	for (unsigned i = 0; i < 3; i++)
		expect(t, ". seq %u ack 1 len 1460", 1 + 1460 * i);
	expect(t, "P. seq 4381 ack 1 len 620");
	for (unsigned i = 0; i < 3; i++) /* the first is lost */
		inject(t, ". seq 1 ack 1");
	expect(t, ". seq 1 ack 1 len 1460");
	inject(t, ". seq 1 ack 3001"); /* inside the third */
	expect(t, ". seq 3001 ack 1 len 1460");
	inject(t, ". seq 1 ack 5001");
	assert_int_equal(usage(t).messages + usage(t).chunks[0], 0);
	test_finish(t);
}

/* What c10m_send and messages put in stays in that order. */
static void messages_keep_their_place_among_other_data(void **state)
{
	struct test *t = begin_many(1);
	c10m_message message = message_at_position(t, 100, 50);

	(void)state;
	assert_int_equal(app_send(t, 0, 100), 100);
	expect(t, "P. seq 1 ack 1 len 100");
	assert_int_equal(c10m_conn_send_message(app_conn(t, 0), message), 50);
	t->slots[0].tx_bytes += 50;
	assert_int_equal(app_send(t, 0, 30), 30);
	c10m_message_release(worker_of(t), message);
	message = message_at_position(t, 180, 20);
	assert_int_equal(c10m_conn_send_message(app_conn(t, 0), message), 20);
	assert_int_equal(c10m_message_pending(worker_of(t), message), 1);
	flush(t);
	expect_nothing(t); /* Nagle */
	inject(t, ". seq 1 ack 101");
	expect(t, "P. seq 101 ack 1 len 100");
	inject(t, ". seq 1 ack 140"); /* inside the first message */
	expect_after(t, 200, "P. seq 140 ack 1 len 61");
	inject(t, ". seq 1 ack 165"); /* inside the data behind it */
	expect_after(t, 400, "P. seq 165 ack 1 len 36");
	stack_verify(t->stack);
	inject(t, ". seq 1 ack 201");
	assert_int_equal(usage(t).messages, 1); /* held */
	c10m_message_release(worker_of(t), message);
	assert_int_equal(usage(t).messages, 0);
	test_finish(t);
}

static void closed_window_is_probed_with_a_message(void **state)
{
	struct test *t = begin_many(1);
	struct done done = {0};

	(void)state;
	inject(t, ". seq 1 ack 1 win 0");
	fan_out(t, message_at_position(t, 0, 100), &done);
	expect_nothing(t);
	expect_after(t, 200, ". seq 1 ack 1 len 1");
	inject(t, ". seq 1 ack 1 win 65535");
	expect(t, "P. seq 1 ack 1 len 100");
	inject(t, ". seq 1 ack 101");
	assert_int_equal(usage(t).messages, 0);
	test_finish(t);
}

static void reset_gives_references_back(void **state)
{
	struct test *t = begin_many(3);
	struct done done = {0};

	(void)state;
	start(t, &(struct c10m_fanout_request){.message = message_at_position(t, 0, 100),
					       .flags = C10M_FANOUT_AWAIT,
					       .on_done = on_done,
					       .context = &done});
	expect_each(t, 0, 3, 1, 100);
	assert_int_equal(done.calls, 0);
	ack_each(t, 0, 1, 101);
	use_peer(t, 1);
	inject(t, "R seq 1");
	expect_event(t, "close reset#1");
	ack_each(t, 2, 3, 50); /* not all of it */
	assert_int_equal(done.calls, 0);
	app_abort(t, 2);
	expect_event(t, "close aborted#2");
	discard_out(t);
	assert_int_equal(done.calls, 1);
	assert_int_equal(done.result.queued, 3);
	assert_int_equal(done.result.acknowledged, 1);
	assert_int_equal(usage(t).messages + usage(t).chunks[0] + usage(t).fanouts, 0);
	test_finish(t);
}

/* --- what there is no room for ------------------------------------------------------------------ */

static void no_memory_for_a_message(void **state)
{
	struct test *t = test_begin();
	uint8_t data[2000] = {0};
	c10m_message a, b;

	(void)state;
	t->config.messages = (struct message_config){{1, 1, 0, 0}};
	test_start(t);
	mark(t);
	a = c10m_message_new(worker_of(t), data, 96);
	b = c10m_message_new(worker_of(t), data, 96); /* the next size serves */
	assert_true(a && b);
	assert_int_equal(c10m_message_new(worker_of(t), data, 1), 0);
	assert_int_equal(counted(t, messages_refused), 1);
	c10m_message_release(worker_of(t), a);
	c10m_message_release(worker_of(t), a); /* stale by now */
	assert_int_equal(c10m_message_new(worker_of(t), data, 97), 0);
	assert_true(c10m_message_new(worker_of(t), data, 96) != a);
	assert_int_equal(c10m_message_new(worker_of(t), data, 0), 0);
	assert_int_equal(c10m_message_new(worker_of(t), data, C10M_MESSAGE_MAX + 1), 0);
	test_finish(t);
}

static void fan_out_waits_for_acknowledgements(void **state)
{
	struct test *t = begin_with_chunks(8, 16);
	struct done done = {0};

	(void)state;
	fan_out(t, message_at_position(t, 0, 10), &done);
	expect_each(t, 0, 6, 1, 10);
	expect_nothing(t);
	assert_int_equal(done.calls, 0);
	ack_each(t, 1, 2, 11);
	expect_each(t, 6, 7, 1, 10);
	expect_nothing(t);
	pass_ms(t, 190);
	expect_nothing(t);
	assert_int_equal(app_send(t, 15, 100), 100); /* others have memory all the while */
	use_peer(t, 15);
	expect(t, "P. seq 1 ack 1 len 100");
	inject(t, ". seq 1 ack 101");
	ack_each(t, 2, 6, 11);
	expect_each(t, 7, 11, 1, 10);
	ack_each(t, 0, 1, 11);
	expect_each(t, 11, 12, 1, 10);
	ack_each(t, 6, 12, 11);
	expect_each(t, 12, 15, 1, 10);
	use_peer(t, 15);
	{
		struct tcp_segment segment;

		next_segment(t, &segment);
		assert_int_equal(segment.payload_bytes, 10);
		assert_int_equal(segment.payload[0], stream_byte(0));
	}
	assert_int_equal(done.calls, 1);
	assert_int_equal(done.result.queued, 16);
	ack_each(t, 12, 15, 11);
	ack_each(t, 15, 16, 111);
	assert_int_equal(usage(t).chunks[0] + usage(t).messages, 0);
	test_finish(t);
}

static void patience_ends(void **state)
{
	struct test *t = begin_with_chunks(8, 10);
	struct done done = {0};

	(void)state;
	start(t, &(struct c10m_fanout_request){.message = message_at_position(t, 0, 10),
					       .patience_ms = 50,
					       .on_done = on_done,
					       .context = &done});
	expect_each(t, 0, 6, 1, 10);
	pass_ms(t, 49);
	assert_int_equal(done.calls, 0);
	pass_ms(t, 2);
	assert_int_equal(done.calls, 1);
	assert_int_equal(done.result.queued, 6);
	assert_int_equal(done.result.skipped, 4);
	expect_nothing(t);
	ack_each(t, 0, 6, 11);
	test_finish(t);
}

/* It waits for what others give back, however long: until then a worker with nothing else to do sleeps. */
static void without_patience_it_waits_asleep(void **state)
{
	struct test *t = begin_with_chunks(8, 10);
	struct done done = {0};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		start(t, &(struct c10m_fanout_request){.message = message_at_position(t, 10 * i, 10),
						       .on_done = on_done,
						       .context = &done});
		flush(t);
		assert_false(stack_has_output(t->stack));
		assert_true(stack_deadline(t->stack) >=
			    t->now_us + 100000); /* for what is not acknowledged */
	}
	expect_each(t, 0, 6, 1, 10);
	pass_ms(t, 50);
	assert_false(stack_has_output(t->stack));
	for (unsigned i = 0; i < 10; i++) {
		ack_each(t, i, i + 1, 11);
		discard_out(t);
	}
	assert_int_equal(done.calls, 1);
	assert_int_equal(done.result.queued, 10);
	test_finish(t);
}

static void no_chunk_for_a_message(void **state)
{
	struct test *t = begin_with_chunks(1, 2);
	c10m_message message = message_at_position(t, 0, 10);

	(void)state;
	for (unsigned i = 0; i < 5; i++) /* larger chunks serve too */
		assert_int_equal(c10m_conn_send_message(app_conn(t, 0), message), 10);
	assert_int_equal(c10m_conn_send_message(app_conn(t, 0), message), 0);
	assert_int_equal(c10m_conn_send_message(app_conn(t, 1), message), 0);
	flush(t);
	discard_out(t);
	use_peer(t, 0);
	inject(t, ". seq 1 ack 11");
	discard_out(t);
	inject(t, ". seq 1 ack 51");
	expect_event(t, "writable");
	discard_out(t);
	pass_ms(t, 10);
	expect_event(t, "writable#1");
	discard_events(t);
	c10m_message_release(worker_of(t), message);
	assert_int_equal(usage(t).messages, 0);
	test_finish(t);
}

/* --- slow receivers ------------------------------------------------------------------------------- */

/* Connection 0 has 1000 bytes unacknowledged, connection 1 none. */
static struct test *begin_slow(void)
{
	struct test *t = begin_many(2);

	assert_int_equal(app_send(t, 0, 1000), 1000);
	use_peer(t, 0);
	expect(t, "P. seq 1 ack 1 len 1000");
	return t;
}

static void slow_receiver_is_skipped(void **state)
{
	struct test *t = begin_slow();
	struct done done = {0};

	(void)state;
	start(t, &(struct c10m_fanout_request){.message = message_at_position(t, 0, 100),
					       .queue_bytes = 1000,
					       .on_done = on_done,
					       .context = &done});
	expect_each(t, 1, 2, 1, 100);
	expect_nothing(t);
	assert_int_equal(done.result.queued, 1);
	assert_int_equal(done.result.skipped, 1);
	use_peer(t, 0);
	inject(t, ". seq 1 ack 1001");
	ack_each(t, 1, 2, 101);
	test_finish(t);
}

static void slow_receiver_is_closed(void **state)
{
	struct test *t = begin_slow();
	struct done done = {0};

	(void)state;
	start(t, &(struct c10m_fanout_request){.message = message_at_position(t, 0, 100),
					       .queue_bytes = 1000,
					       .slow = C10M_SLOW_CLOSE,
					       .on_done = on_done,
					       .context = &done});
	expect_event(t, "close aborted");
	assert_int_equal(done.result.closed, 1);
	assert_int_equal(done.result.queued, 1);
	expect_each(t, 1, 2, 1, 100);
	use_peer(t, 0);
	expect(t, "R. seq 1001 ack 1");
	ack_each(t, 1, 2, 101);
	test_finish(t);
}

static void push_state(struct test *t, uint32_t position, uint32_t bytes, uint32_t topic, struct done *done)
{
	start(t, &(struct c10m_fanout_request){.message = message_at_position(t, position, bytes),
					       .slow = C10M_SLOW_COALESCE,
					       .topic = topic,
					       .on_done = on_done,
					       .context = done});
}

/* Nagle keeps what follows the first back, so that it is unsent and the newest alone arrives. */
static void newest_message_of_a_topic_replaces_an_unsent_one(void **state)
{
	struct test *t = begin_slow();
	struct done done = {0};

	(void)state;
	use_peer(t, 1);
	inject(t, "R seq 1");
	expect_event(t, "close reset#1");
	use_peer(t, 0);
	push_state(t, 0, 200, 7, &done); /* not the stream's bytes: they are never sent */
	assert_int_equal(done.result.queued, 1);
	assert_int_equal(done.result.coalesced, 0);
	push_state(t, 1000, 90, 7, &done);
	assert_int_equal(done.result.coalesced, 1);
	push_state(t, 1090, 60, 8, &done);
	assert_int_equal(done.result.coalesced, 0);
	push_state(t, 1000, 100, 7, &done);
	assert_int_equal(done.result.coalesced, 1);
	push_state(t, 1100, 50, 8, &done);
	assert_int_equal(done.result.coalesced, 1);
	assert_int_equal(usage(t).messages, 2);
	stack_verify(t->stack);
	inject(t, ". seq 1 ack 1001");
	expect(t, "P. seq 1001 ack 1 len 150");
	push_state(t, 1150, 10, 7, &done); /* the older one is on its way: this comes behind it */
	assert_int_equal(done.result.coalesced, 0);
	assert_int_equal(usage(t).messages, 3);
	expect_after(t, 200, "P. seq 1001 ack 1 len 160");
	inject(t, ". seq 1 ack 1161");
	assert_int_equal(usage(t).messages + usage(t).chunks[0], 0);
	test_finish(t);
}

static void one_message_may_stand_beyond_the_limit(void **state)
{
	struct test *t = begin_slow();
	struct done done = {0};
	struct c10m_fanout_request request = {
		.slow = C10M_SLOW_COALESCE,
		.queue_bytes = 1000,
		.on_done = on_done,
		.context = &done,
	};

	(void)state;
	request.topic = 1;
	request.message = message_at_position(t, 1000, 100);
	request.except = t->slots[1].handle;
	start(t, &request);
	assert_int_equal(done.result.queued, 1);
	request.topic = 2;
	request.message = message_at_position(t, 0, 100);
	start(t, &request);
	assert_int_equal(done.result.skipped, 1);
	use_peer(t, 0);
	inject(t, ". seq 1 ack 1001");
	expect(t, "P. seq 1001 ack 1 len 100");
	inject(t, ". seq 1 ack 1101");
	test_finish(t);
}

/* A message must not stand in the middle of what the application writes in two parts. */
static void who_waits_for_room_is_slow(void **state)
{
	struct test *t = test_begin();
	struct done done = {0};

	(void)state;
	t->services[0].send_bytes = 1000;
	test_start(t);
	open_server(t);
	assert_int_equal(app_send(t, 0, 1500), 1000);
	expect(t, "P. seq 1 ack 1 len 1000");
	inject(t, ". seq 1 ack 901");
	expect_event(t, "writable");
	assert_int_equal(app_send(t, 0, 1000), 900);
	start(t, &(struct c10m_fanout_request){.message = message_at_position(t, 0, 10),
					       .queue_bytes = 60000,
					       .on_done = on_done,
					       .context = &done});
	assert_int_equal(done.result.skipped, 1);
	discard_out(t);
	inject(t, ". seq 1 ack 1001");
	discard_out(t);
	inject(t, ". seq 1 ack 1901");
	discard_events(t);
	test_finish(t);
}

/* --- who receives ---------------------------------------------------------------------------------- */

static int only_even(c10m_conn *conn, void *context)
{
	struct test *t = context;

	for (unsigned i = 0; i < t->slot_count; i += 2)
		if (t->slots[i].handle == c10m_conn_handle(conn))
			return 1;
	return 0;
}

static void filter_and_exception(void **state)
{
	struct test *t = begin_many(5);

	(void)state;
	start(t, &(struct c10m_fanout_request){.message = message_at_position(t, 0, 10),
					       .filter = only_even,
					       .context = t,
					       .except = t->slots[2].handle});
	expect_each(t, 0, 1, 1, 10);
	expect_each(t, 4, 5, 1, 10);
	expect_nothing(t);
	ack_each(t, 0, 1, 11);
	ack_each(t, 4, 5, 11);
	test_finish(t);
}

static int end_it(c10m_conn *conn, void *context)
{
	(void)context;
	c10m_abort(conn);
	return 1;
}

static void filter_may_end_a_connection(void **state)
{
	struct test *t = begin_many(3);

	(void)state;
	start(t, &(struct c10m_fanout_request){.message = message_at_position(t, 0, 10), .filter = end_it});
	for (unsigned i = 0; i < 3; i++) {
		use_peer(t, i);
		expect(t, "R. seq 1 ack 1");
	}
	discard_events(t);
	assert_int_equal(usage(t).connections + usage(t).messages, 0);
	test_finish(t);
}

/* The fan-out is made to stand still after six; block 2 is taken by another connection meanwhile, and so is
 * block 8. */
static void who_opens_meanwhile_gets_nothing(void **state)
{
	struct test *t = begin_with_chunks(8, 10);
	struct done done = {0};

	(void)state;
	fan_out(t, message_at_position(t, 0, 10), &done);
	expect_each(t, 0, 6, 1, 10);
	use_peer(t, 8);
	inject(t, "R seq 1"); /* gone before its turn */
	expect_event(t, "close reset#8");
	use_peer(t, 10);
	open_server(t); /* in its block */
	assert_int_equal(usage(t).connections, 10);
	use_peer(t, 11);
	open_server(t);
	app_shutdown(t, 9); /* sends no more */
	use_peer(t, 9);
	expect(t, "F. seq 1 ack 1");
	inject(t, ". seq 1 ack 2");
	ack_each(t, 0, 6, 11);
	expect_each(t, 6, 8, 1, 10);
	expect_nothing(t);
	assert_int_equal(done.calls, 1);
	assert_int_equal(done.result.queued, 8);
	ack_each(t, 6, 8, 11);
	fan_out(t, message_at_position(t, 10, 10), &done); /* the next reaches them: bytes of another place */
	expect_each(t, 0, 6, 11, 10);
	ack_each(t, 0, 6, 21);
	expect_each(t, 6, 8, 11, 10);
	assert_int_equal(discard_out(t), 2);
	assert_int_equal(done.result.queued, 10);
	ack_each(t, 6, 8, 21);
	ack_each(t, 10, 12, 11);
	assert_int_equal(usage(t).messages, 0);
	test_finish(t);
}

static void closing_and_connecting_ones_get_nothing(void **state)
{
	struct test *t = begin_many(2);
	struct done done = {0};

	(void)state;
	app_close(t, 0);
	use_peer(t, 0);
	expect(t, "F. seq 1 ack 1");
	use_peer(t, 2);
	app_connect(t, 6000);
	expect(t, "S seq 0 mss 1460 sackok wscale 0 ts 0");
	start(t, &(struct c10m_fanout_request){.message = message_at_position(t, 0, 10),
					       .service = 1,
					       .on_done = on_done,
					       .context = &done});
	assert_int_equal(done.result.queued, 0);
	fan_out(t, message_at_position(t, 0, 10), &done);
	assert_int_equal(done.result.queued, 1);
	expect_each(t, 1, 2, 1, 10);
	ack_each(t, 1, 2, 11);
	use_peer(t, 0);
	inject(t, "R seq 1");
	use_peer(t, 2);
	inject(t, "R. seq 0 ack 1");
	discard_events(t);
	discard_out(t);
	test_finish(t);
}

/* --- several at once ------------------------------------------------------------------------------------ */

static void several_take_turns(void **state)
{
	struct test *t = begin_many(3);
	struct done done[5] = {0};

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		const struct c10m_fanout_request request = {.message = message_at_position(t, 10 * i, 10),
							    .on_done = on_done,
							    .context = &done[i]};

		assert_int_equal(c10m_fanout(worker_of(t), &request), 0);
		c10m_message_release(worker_of(t), request.message);
	}
	flush(t);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(done[i].calls, 1);
		assert_int_equal(done[i].result.queued, 3);
	}
	expect_each(t, 0, 3, 1, 50); /* all five had their turn before the first frame was filled */
	ack_each(t, 0, 3, 51);
	assert_int_equal(usage(t).messages + usage(t).chunks[0] + usage(t).extensions, 0);
	test_finish(t);
}

/* Lets so many frames out; each receiver must have had every message before the letter of this one. */
static void let_out(struct test *t, uint32_t frames, char last[PEERS_MAX])
{
	uint8_t data[16][FRAME_ROOM];
	struct packet packets[16];
	uint32_t count;

	for (uint32_t i = 0; i < frames; i++)
		packets[i] = (struct packet){.data = data[i], .room = FRAME_ROOM};
	count = stack_tx(t->stack, t->now_us, packets, frames);
	for (uint32_t i = 0; i < count; i++) {
		unsigned peer = (unsigned)(data[i][36] << 8 | data[i][37]) - PEER_PORT;

		for (uint32_t at = 14 + 20 + 20; at < packets[i].bytes; at++)
			assert_int_equal(data[i][at], ++last[peer]);
	}
}

static void messages_come_in_the_order_of_the_calls(void **state)
{
	struct test *t = test_begin();
	char last[PEERS_MAX];

	(void)state;
	t->services[0].flags = C10M_NODELAY;
	test_start(t);
	open_many(t, 12);
	memset(last, 'A' - 1, sizeof(last));
	for (char letter = 'A'; letter <= 'F'; letter++) {
		const struct c10m_fanout_request request = {
			.message = c10m_message_new(worker_of(t), &letter, 1)};

		assert_int_equal(c10m_fanout(worker_of(t), &request), 0);
		c10m_message_release(worker_of(t), request.message);
	}
	for (unsigned i = 0; i < 60; i++, t->now_us++)
		let_out(t, 1 + i * 5 % 13, last); /* turns are cut short at different places */
	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(last[i], 'F');
	for (unsigned i = 0; i < 12; i++) {
		use_peer(t, i);
		inject(t, "R seq 1");
	}
	discard_events(t);
	test_finish(t);
}

static void requests_that_make_no_sense(void **state)
{
	struct test *t = begin_many(1);
	c10m_message message = message_at_position(t, 0, 10);
	struct c10m_fanout_request request = {.message = message};
	c10m_worker *worker = worker_of(t);

	(void)state;
	request.slow = C10M_SLOW_COALESCE;
	assert_int_equal(c10m_fanout(worker, &request), -EINVAL);
	request.topic = 1;
	request.service = 2;
	assert_int_equal(c10m_fanout(worker, &request), -EINVAL);
	request.service = 0;
	request.group = 77;
	assert_int_equal(c10m_fanout(worker, &request), -EINVAL);
	request.group = 0;
	request.message ^= (uint64_t)1 << 60; /* another worker's */
	assert_int_equal(c10m_fanout(worker, &request), -EINVAL);
	request.message = message;
	for (unsigned i = 0; i < C10M_FANOUTS_MAX; i++)
		assert_int_equal(c10m_fanout(worker, &request), 0);
	assert_int_equal(c10m_fanout(worker, &request), -EAGAIN);
	c10m_message_release(worker, message);
	pass_ms(t, 1); /* more than one round */
	discard_out(t);
	inject(t, ". seq 1 ack 11");
	discard_out(t);
	inject(t, ". seq 1 ack 21");
	assert_int_equal(usage(t).fanouts + usage(t).messages, 0);
	request.message = message; /* stale */
	assert_int_equal(c10m_fanout(worker, &request), -EINVAL);
	assert_int_equal(c10m_conn_send_message(app_conn(t, 0), message), 0);
	test_finish(t);
}

/* Acknowledgements have to be taken in as fast as messages go out. */
static void a_round_sends_half_a_burst(void **state)
{
	struct test *t = test_begin();
	struct done done = {0};

	(void)state;
	test_start(t);
	for (unsigned i = 0; i < 50; i++) {
		use_peer(t, 0);
		t->peer->port = (uint16_t)(2000 + i);
		open_server(t);
	}
	fan_out(t, message_at_position(t, 0, 10), &done);
	assert_int_equal(discard_out(t), 32);
	assert_int_equal(done.calls, 0);
	assert_true(stack_deadline(t->stack) == t->now_us + 1);
	pass_us(t, 1);
	assert_int_equal(discard_out(t), 18);
	assert_int_equal(done.calls, 1);
	for (unsigned i = 0; i < 50; i++)
		app_abort(t, i);
	discard_events(t);
	discard_out(t);
	test_finish(t);
}

static unsigned chained;

static void start_another(c10m_worker *worker, const struct c10m_fanout_result *result, void *context)
{
	struct c10m_fanout_request request = {
		.message = result->message, .on_done = start_another, .context = context};

	if (++chained < 5)
		assert_int_equal(c10m_fanout(worker, &request), 0);
}

static void on_done_may_start_the_next(void **state)
{
	struct test *t = begin_many(1);

	(void)state;
	chained = 0;
	start(t, &(struct c10m_fanout_request){.message = message_at_position(t, 0, 10),
					       .on_done = start_another});
	assert_int_equal(chained, 5);
	discard_out(t);
	inject(t, ". seq 1 ack 11");
	discard_out(t);
	inject(t, ". seq 1 ack 51");
	assert_int_equal(usage(t).messages + usage(t).fanouts, 0);
	test_finish(t);
}

/* --- the middle of everything ------------------------------------------------------------------------- */

static void rebuild_counts_references_anew(void **state)
{
	struct test *t = begin_with_chunks(8, 10);
	c10m_group room = c10m_group_new(worker_of(t));
	c10m_message held = message_at_position(t, 0, 10);
	struct done done = {0};

	(void)state;
	assert_int_equal(c10m_group_join(app_conn(t, 1), room), 0);
	fan_out(t, message_at_position(t, 0, 10), &done);
	expect_each(t, 0, 6, 1, 10);
	stack_rebuild(t->stack, t->now_us);
	stack_verify(t->stack);
	assert_int_equal(usage(t).messages, 2);
	assert_int_equal(usage(t).groups, 1);
	assert_int_equal(c10m_group_count(worker_of(t), room), 1);
	c10m_message_release(worker_of(t), held);
	ack_each(t, 0, 6, 11);
	expect_each(t, 6, 10, 1, 10);
	ack_each(t, 6, 10, 11);
	assert_int_equal(usage(t).messages, 0);
	test_finish(t);
}

static void stop_ends_fan_outs(void **state)
{
	struct test *t = begin_with_chunks(8, 10);
	struct done done[3] = {0};
	c10m_group room = c10m_group_new(worker_of(t));

	(void)state;
	for (unsigned i = 0; i < 10; i++)
		c10m_group_join(app_conn(t, i), room);
	start(t, &(struct c10m_fanout_request){.message = message_at_position(t, 0, 10),
					       .flags = C10M_FANOUT_AWAIT,
					       .group = room,
					       .on_done = on_done,
					       .context = &done[0]});
	discard_out(t);
	assert_int_equal(done[0].calls, 0);
	fan_out(t, message_at_position(t, 0, 10), &done[1]);
	to_group(t, room, message_at_position(t, 0, 10), &done[2]);
	while (!stack_stop(t->stack, t->now_us))
		flush(t);
	flush(t);
	discard_out(t);
	discard_events(t);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(done[i].calls, 1);
	assert_int_equal(usage(t).fanouts + usage(t).messages + usage(t).chunks[0] + usage(t).connections, 0);
	assert_int_equal(c10m_group_count(worker_of(t), room), 0);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(one_message_reaches_all),
	TEST(lost_message_is_sent_again_from_the_one_copy),
	TEST(long_message_goes_in_segments),
	TEST(messages_keep_their_place_among_other_data),
	TEST(closed_window_is_probed_with_a_message),
	TEST(reset_gives_references_back),
	TEST(no_memory_for_a_message),
	TEST(fan_out_waits_for_acknowledgements),
	TEST(patience_ends),
	TEST(without_patience_it_waits_asleep),
	TEST(no_chunk_for_a_message),
	TEST(slow_receiver_is_skipped),
	TEST(slow_receiver_is_closed),
	TEST(newest_message_of_a_topic_replaces_an_unsent_one),
	TEST(one_message_may_stand_beyond_the_limit),
	TEST(who_waits_for_room_is_slow),
	TEST(filter_and_exception),
	TEST(filter_may_end_a_connection),
	TEST(who_opens_meanwhile_gets_nothing),
	TEST(closing_and_connecting_ones_get_nothing),
	TEST(several_take_turns),
	TEST(messages_come_in_the_order_of_the_calls),
	TEST(requests_that_make_no_sense),
	TEST(a_round_sends_half_a_burst),
	TEST(on_done_may_start_the_next),
	TEST(rebuild_counts_references_anew),
	TEST(stop_ends_fan_outs),
};

PACKET_MAIN(tests)
