/* test_time_wait.c - what happens to segments for a connection that is over. */
#include "harness.h"

/* We closed first and the peer has answered: its entry is all that is left. */
static struct test *begin_time_wait(bool timestamps)
{
	struct test *t = test_begin();

	t->peer->offer_timestamps = timestamps;
	test_start(t);
	open_server(t);
	app_close(t, 0);
	expect(t, "F. seq 1 ack 1");
	inject(t, "F. seq 1 ack 2");
	expect(t, ". seq 2 ack 2");
	expect_event(t, "close normal");
	assert_int_equal(usage(t).connections, 0);
	assert_int_equal(usage(t).time_wait, 1);
	return t;
}

/* proves RFC9293-EV-09 */
static void fin_and_its_acknowledgement_together(void **state)
{
	struct test *t = begin_time_wait(false);

	(void)state;
	test_finish(t);
}

/* proves RFC9293-EV-10 */
static void repeated_fin_in_time_wait(void **state)
{
	struct test *t = begin_time_wait(false);

	(void)state;
	pass_ms(t, 40000);
	inject(t, "F. seq 1 ack 2");
	expect(t, ". seq 2 ack 2");
	expect_drop(t, TCP_TIME_WAIT);
	pass_ms(t, 40000); /* the time starts anew (RFC 9293 section 3.10.7.4) */
	assert_int_equal(usage(t).time_wait, 1);
	pass_ms(t, 22000);
	assert_int_equal(usage(t).time_wait, 0);
	test_finish(t);
}

/* RFC 1337: a reset must not end TIME_WAIT. */
/* proves RFC1337-01 */
static void reset_in_time_wait_is_ignored(void **state)
{
	struct test *t = begin_time_wait(false);

	(void)state;
	inject(t, "R seq 2");
	expect_nothing(t);
	expect_drop(t, TCP_TIME_WAIT);
	assert_int_equal(usage(t).time_wait, 1);
	test_finish(t);
}

static void old_segments_in_time_wait(void **state)
{
	struct test *t = begin_time_wait(false);

	(void)state;
	inject(t, "P. seq 1 ack 2 len 10");
	discard_out(t); /* an acknowledgement, or silence */
	expect_drop(t, TCP_TIME_WAIT);
	inject(t, ". seq 2 ack 2");
	discard_out(t);
	expect_drop(t, TCP_TIME_WAIT);
	assert_int_equal(usage(t).time_wait, 1);
	expect_no_event(t);
	test_finish(t);
}

/* RFC 9293 section 3.10.7.4, RFC 6191: a SYN that is newer starts a connection at once. */
/* proves RFC9293-MAY-2, RFC6191-01 */
static void newer_syn_reuses_time_wait(void **state)
{
	struct test *t = begin_time_wait(false);

	(void)state;
	mark(t);
	t->peer->iss += 1000;
	t->peer->snd_nxt = 0;
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	assert_int_equal(counted(t, tcp_time_wait_reused), 1);
	assert_int_equal(usage(t).time_wait, 0);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open#1");
	test_finish(t);
}

/* proves RFC9293-SHLD-4, RFC6191-01 */
static void newer_timestamp_reuses_time_wait(void **state)
{
	struct test *t = begin_time_wait(true);

	(void)state;
	mark(t);
	t->peer->timestamps = false;
	t->peer->iss -= 100000; /* an older sequence number */
	t->peer->snd_nxt = 0;
	pass_ms(t, 10);
	inject(t, "S seq 0 win 1000 mss 1460 ts 0");
	expect(t, "S. seq 0 ack 1 mss 1460 ts 0");
	t->peer->timestamps = true;
	assert_int_equal(counted(t, tcp_time_wait_reused), 1);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open#1");
	test_finish(t);
}

/* proves RFC6191-02 */
static void older_syn_in_time_wait_is_acknowledged(void **state)
{
	struct test *t = begin_time_wait(false);

	(void)state;
	t->peer->snd_nxt = 0;
	inject(t, "S aseq %u win 1000 mss 1460", t->peer->iss - 5000);
	expect(t, ". seq 2 ack 2");
	expect_drop(t, TCP_TIME_WAIT);
	assert_int_equal(usage(t).time_wait, 1);
	test_finish(t);
}

/* Neither is newer: a SYN that begins where the old connection ended, and one of the same time that begins
 * before. */
static void syn_that_is_no_newer_is_acknowledged(void **state)
{
	struct test *t = begin_time_wait(false);

	(void)state;
	inject(t, "S seq 2 win 1000 mss 1460");
	expect(t, ". seq 2 ack 2");
	expect_drop(t, TCP_TIME_WAIT);
	assert_int_equal(usage(t).time_wait, 1);
	test_finish(t);
	t = begin_time_wait(true);
	inject(t, "S seq 2 win 1000 mss 1460");
	expect(t, ". seq 2 ack 2");
	expect_drop(t, TCP_TIME_WAIT);
	assert_int_equal(usage(t).time_wait, 1);
	test_finish(t);
}

/* Within the same tick of the peer's clock the sequence number decides (RFC 6191 section 2). */
static void newer_syn_of_the_same_time_reuses_time_wait(void **state)
{
	struct test *t = begin_time_wait(true);

	(void)state;
	mark(t);
	t->peer->timestamps = false;
	t->peer->iss += 1000;
	t->peer->snd_nxt = 0;
	inject(t, "S seq 0 win 1000 mss 1460 ts 0");
	expect(t, "S. seq 0 ack 1 mss 1460 ts 0");
	t->peer->timestamps = true;
	assert_int_equal(counted(t, tcp_time_wait_reused), 1);
	test_finish(t);
}

/* A SYN that nobody takes leaves the entry alone. */
static void refused_syn_does_not_end_time_wait(void **state)
{
	struct test *t = begin_time_wait(false);
	struct stack_message message = {.kind = STACK_UNLISTEN, .value = 0};

	(void)state;
	inject(t, "SF seq 5000 win 1000 mss 1460");
	discard_out(t);
	expect_drop(t, TCP_TIME_WAIT);
	assert_int_equal(usage(t).time_wait, 1);
	assert_int_equal(stack_control(t->stack, t->now_us, &message), 0);
	inject(t, "S seq 5000 win 1000 mss 1460");
	discard_out(t);
	expect_drop(t, TCP_TIME_WAIT);
	assert_int_equal(usage(t).time_wait, 1);
	test_finish(t);
}

/* The new incarnation's numbers lie above all of the old one's (RFC 6191 section 2, RFC 6528). */
static void new_incarnation_has_higher_numbers(void **state)
{
	struct test *t = begin_time_wait(false);
	uint32_t before = t->peer->irs;

	(void)state;
	t->peer->iss += 1000;
	t->peer->snd_nxt = 0;
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	assert_in_range(t->peer->irs - before, 2, 1u << 31);
	test_finish(t);
}

static void connect_does_not_take_a_port_in_time_wait(void **state)
{
	struct test *t = test_begin();
	int error;

	(void)state;
	t->active = true;
	test_start(t);
	open_client(t);
	app_close(t, 0);
	expect(t, "F. seq 1 ack 1");
	inject(t, "F. seq 1 ack 2");
	expect(t, ". seq 2 ack 2");
	expect_event(t, "close normal");
	app_connect_to(t, t->peer->ip, t->peer->port, 5000, &error);
	assert_true(error < 0);
	expect_nothing(t);
	pass_ms(t, 70000);
	app_connect_to(t, t->peer->ip, t->peer->port, 5000, &error);
	assert_int_equal(error, 0);
	discard_out(t);
	test_finish(t);
}

/* We opened it and closed it first. */
static struct test *begin_client_time_wait(bool timestamps, uint32_t sent)
{
	struct test *t = test_begin();

	t->active = true;
	t->peer->offer_timestamps = timestamps;
	test_start(t);
	open_client(t);
	for (uint32_t done = 0; done < sent; done += 10 * 1448) {
		app_send(t, 0, 10 * 1448);
		discard_out(t);
		t->peer->rcv_nxt = 1 + done + 10 * 1448;
		inject(t, ". seq 1 ack %u", 1 + done + 10 * 1448);
	}
	app_close(t, 0);
	expect(t, "F. seq %u ack 1", 1 + sent);
	inject(t, "F. seq 1 ack %u", 2 + sent);
	expect(t, ". seq %u ack 2", 2 + sent);
	expect_event(t, "close normal");
	assert_int_equal(usage(t).time_wait, 1);
	return t;
}

static int connect_again(struct test *t)
{
	int error;

	flush(t);
	app_connect_to(t, t->peer->ip, t->peer->port, 5000, &error);
	return error;
}

/* RFC 6191, seen from the other side: timestamps tell old segments from new ones. */
static void connect_takes_a_port_in_time_wait_with_timestamps(void **state)
{
	struct test *t = begin_client_time_wait(true, 28 * 14480);
	uint32_t before = t->peer->irs + 28 * 14480 + 2;
	struct tcp_segment segment;

	(void)state;
	pass_ms(t, 900);
	assert_true(connect_again(t) < 0); /* the peer may count whole seconds */
	pass_ms(t, 200);
	mark(t);
	assert_int_equal(connect_again(t), 0);
	assert_int_equal(counted(t, tcp_time_wait_reused), 1);
	assert_int_equal(usage(t).time_wait, 0);
	t->peer->timestamps = false;
	next_segment(t, &segment);
	assert_int_equal(segment.flags, TCP_SYN);
	/* It has sent more than the clock of sequence numbers has moved on: still they are higher. */
	assert_in_range(segment.seq - before, 1, 1u << 30);
	discard_out(t);
	test_finish(t);
}

static void connect_does_not_take_it_without_timestamps(void **state)
{
	struct test *t = begin_client_time_wait(false, 0);

	(void)state;
	pass_ms(t, 20000);
	assert_true(connect_again(t) < 0);
	assert_int_equal(usage(t).time_wait, 1);
	test_finish(t);
}

/* A stray segment of the old connection ends as before: by its timestamp. */
static void old_segments_after_the_port_is_reused(void **state)
{
	struct test *t = begin_client_time_wait(true, 0);

	(void)state;
	pass_ms(t, 1100);
	assert_int_equal(connect_again(t), 0);
	discard_out(t);
	t->peer->iss += 70000;
	t->peer->snd_nxt = 0;
	t->peer->irs_known = false;
	pass_ms(t, 1010); /* the SYN again, to learn its number */
	expect(t, "S seq 0 mss 1460 wscale 0 sackok ts 0");
	inject(t, "S. seq 0 ack 1 win 60000 mss 1460 ts 0");
	expect(t, ". seq 1 ack 1");
	expect_event(t, "open#1");
	inject(t, "P. seq 1 ack 1 len 10 fill 7 ts -1500");
	discard_out(t);
	expect_drop(t, TCP_OLD_DUPLICATE);
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "data 10#1");
	pass_ms(t, 50);
	discard_out(t);
	test_finish(t);
}

/* A port is chosen as if nothing stood in TIME_WAIT, once its segments can be told apart. */
static void ports_in_time_wait_are_chosen_again(void **state)
{
	struct test *t = begin_client_time_wait(true, 0);
	int error;

	(void)state;
	app_connect_to(t, t->peer->ip, t->peer->port, 0, &error);
	assert_int_equal(error, 0);
	discard_out(t);
	test_finish(t);
}

/* The timestamp decides, not the sequence number: an old SYN that comes late starts nothing. */
static void older_timestamp_does_not_reuse_time_wait(void **state)
{
	struct test *t = begin_time_wait(true);

	(void)state;
	pass_ms(t, 100);
	t->peer->timestamps = false;
	t->peer->iss += 100000;
	t->peer->snd_nxt = 0;
	inject(t, "S seq 0 win 1000 mss 1460 ts -1000");
	discard_out(t);
	expect_drop(t, TCP_TIME_WAIT);
	assert_int_equal(usage(t).time_wait, 1);
	test_finish(t);
}

/* --- stopping ----------------------------------------------------------------------------------------------
 */

static const struct CMUnitTest tests[] = {
	TEST(fin_and_its_acknowledgement_together),
	TEST(repeated_fin_in_time_wait),
	TEST(reset_in_time_wait_is_ignored),
	TEST(old_segments_in_time_wait),
	TEST(newer_syn_reuses_time_wait),
	TEST(newer_timestamp_reuses_time_wait),
	TEST(older_syn_in_time_wait_is_acknowledged),
	TEST(syn_that_is_no_newer_is_acknowledged),
	TEST(newer_syn_of_the_same_time_reuses_time_wait),
	TEST(refused_syn_does_not_end_time_wait),
	TEST(new_incarnation_has_higher_numbers),
	TEST(connect_does_not_take_a_port_in_time_wait),
	TEST(connect_takes_a_port_in_time_wait_with_timestamps),
	TEST(connect_does_not_take_it_without_timestamps),
	TEST(old_segments_after_the_port_is_reused),
	TEST(ports_in_time_wait_are_chosen_again),
	TEST(older_timestamp_does_not_reuse_time_wait),
};

PACKET_MAIN(tests)
