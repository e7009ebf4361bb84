/* test_connect.c - active opens (RFC 9293 sections 3.5 and 3.10.7.3). */
#include "harness.h"

#include <errno.h>

#include "base/seq.h"

static struct test *begin(void)
{
	struct test *t = test_begin();

	t->active = true;
	test_start(t);
	return t;
}

/* Connects and takes the SYN. */
static void connect_syn(struct test *t)
{
	struct tcp_segment segment;

	app_connect(t, 5000);
	next_segment(t, &segment);
	assert_int_equal(segment.flags, TCP_SYN);
	expect_nothing(t);
}

/* proves RFC9293-MUST-14, RFC9293-MUST-67, RFC9293-SHLD-5 */
static void connect_opens(void **state)
{
	struct test *t = begin();
	struct tcp_segment segment;

	(void)state;
	app_connect(t, 5000);
	next_segment(t, &segment);
	assert_int_equal(segment.flags, TCP_SYN);
	assert_int_equal(segment.ack, 0);
	assert_int_equal(segment.options,
			 TCP_OPT_MSS | TCP_OPT_SACK_PERMITTED | TCP_OPT_TIMESTAMPS | TCP_OPT_WSCALE);
	assert_int_equal(segment.mss, 1460);
	assert_int_equal(segment.ts_ecr, 0);
	expect_no_event(t);
	inject(t, "S. seq 0 ack 1 win 20000 mss 1460");
	expect(t, ". seq 1 ack 1");
	expect_event(t, "open");
	assert_int_equal(app_send(t, 0, 10), 10);
	expect(t, "P. seq 1 ack 1 len 10");
	inject(t, ". seq 1 ack 11");
	assert_int_equal(counted(t, tcp_active_opens), 1);
	test_finish(t);
}

static void connect_agrees_on_options(void **state)
{
	struct test *t = begin();

	(void)state;
	t->peer->offer_timestamps = true;
	t->peer->wscale = 3;
	t->peer->window = 80;
	open_client(t);
	assert_true(t->peer->timestamps);
	inject(t, ". seq 1 ack 1 win 10");
	app_send(t, 0, 1000);
	expect(t, "P. seq 1 ack 1 len 80");
	test_finish(t);
}

/* RFC 7323 section 2.2: the window in a SYN-ACK is not scaled. */
/* proves RFC7323-02 */
static void window_of_the_syn_ack_is_not_scaled(void **state)
{
	struct test *t = begin();

	(void)state;
	connect_syn(t);
	inject(t, "S. seq 0 ack 1 win 100 mss 1460 wscale 7");
	expect(t, ". seq 1 ack 1");
	expect_event(t, "open");
	app_send(t, 0, 1000);
	expect(t, "P. seq 1 ack 1 len 100");
	test_finish(t);
}

/* proves RFC9293-MUST-22, RFC9293-MUST-23, RFC6298-01 */
static void syn_is_sent_again_and_given_up(void **state)
{
	struct test *t = begin();
	struct tcp_segment segment;
	uint32_t iss;

	(void)state;
	app_connect(t, 5000);
	next_segment(t, &segment);
	iss = segment.seq;
	mark(t);
	for (uint64_t ms = 1000; ms <= 8000; ms *= 2) {
		expect_after(t, ms, "S aseq %u mss 1460 sackok ts 0 wscale 0", iss);
		expect_nothing(t);
	}
	assert_int_equal(counted(t, tcp_syn_retransmits), 4);
	pass_ms(t, (180 - 15) * 1000 - 100); /* three minutes in all, and not less */
	expect_no_event(t);
	pass_ms(t, 400 * 1000);
	discard_out(t);
	expect_event(t, "close timeout");
	assert_int_equal(counted(t, tcp_connect_timeouts), 1);
	assert_int_equal(usage(t).connections, 0);
	test_finish(t);
}

/* No path is too narrow for a SYN: who says so must not make the answer to it a stranger. */
static void syn_that_is_too_long_for_the_path(void **state)
{
	struct test *t = begin();

	(void)state;
	connect_syn(t);
	inject_icmp_error(t, 3, 4, 1000, 0);
	expect_drop(t, ICMP_NOT_IN_FLIGHT);
	inject(t, "S. seq 0 ack 1 win 65535 mss 1460");
	expect(t, ". seq 1 ack 1");
	expect_event(t, "open");
	test_finish(t);
}

static void late_syn_ack_opens(void **state)
{
	struct test *t = begin();

	(void)state;
	connect_syn(t);
	pass_ms(t, 3500);
	assert_int_equal(discard_out(t), 2);
	inject(t, "S. seq 0 ack 1 win 20000 mss 1460");
	expect(t, ". seq 1 ack 1");
	expect_event(t, "open");
	pass_ms(t, 60000);
	test_finish(t);
}

/* proves RFC9293-EV-03 */
static void refused(void **state)
{
	struct test *t = begin();

	(void)state;
	connect_syn(t);
	inject(t, "R. aseq 0 ack 1");
	expect_event(t, "close refused");
	assert_int_equal(usage(t).connections, 0);
	test_finish(t);
}

/* RFC 9293 section 3.10.7.3: a reset without an acceptable ACK is dropped. */
/* proves RFC9293-EV-03 */
static void reset_that_acknowledges_nothing(void **state)
{
	struct test *t = begin();

	(void)state;
	connect_syn(t);
	inject(t, "R seq 0");
	expect_drops(t, TCP_RST_IGNORED);
	inject(t, "R. seq 0 ack 5");
	expect_drops(t, TCP_ACK_INVALID);
	expect_no_event(t);
	inject(t, "S. seq 0 ack 1 win 20000 mss 1460");
	expect(t, ". seq 1 ack 1");
	expect_event(t, "open");
	test_finish(t);
}

/* proves RFC9293-EV-03 */
static void wrong_ack_in_syn_sent(void **state)
{
	struct test *t = begin();

	(void)state;
	connect_syn(t);
	inject(t, "S. seq 0 ack 100 win 20000 mss 1460");
	expect(t, "R seq 100");
	expect_drop(t, TCP_ACK_INVALID);
	t->peer->snd_nxt = 0;
	inject(t, ". seq 0 ack 77");
	expect(t, "R seq 77");
	expect_drop(t, TCP_ACK_INVALID);
	inject(t, ". seq 0 ack 0"); /* SEG.ACK =< ISS */
	expect(t, "R seq 0");
	expect_drop(t, TCP_ACK_INVALID);
	expect_no_event(t);
	inject(t, "S. seq 0 ack 1 win 20000 mss 1460");
	expect(t, ". seq 1 ack 1");
	expect_event(t, "open");
	test_finish(t);
}

static void good_ack_without_syn_in_syn_sent(void **state)
{
	struct test *t = begin();

	(void)state;
	connect_syn(t);
	inject(t, ". seq 0 ack 1");
	expect_drops(t, TCP_FLAGS);
	expect_no_event(t);
	assert_int_equal(usage(t).connections, 1);
	test_finish(t);
}

/* proves RFC9293-MUST-10, RFC9293-EV-04 */
static void simultaneous_open(void **state)
{
	struct test *t = begin();

	(void)state;
	connect_syn(t);
	mark(t);
	inject(t, "S seq 0 win 20000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	expect_no_event(t);
	assert_int_equal(counted(t, tcp_simultaneous_opens), 1);
	inject(t, "S. seq 0 ack 1 win 20000 mss 1460");
	t->peer->snd_nxt = 1;
	expect_event(t, "open");
	discard_out(t); /* an ACK, or none: both sides have all they need */
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	expect_after(t, 40, ". seq 1 ack 11");
	app_send(t, 0, 10);
	expect(t, "P. seq 1 ack 11 len 10");
	inject(t, ". seq 11 ack 11");
	test_finish(t);
}

static void simultaneous_open_ended_by_a_plain_ack(void **state)
{
	struct test *t = begin();

	(void)state;
	connect_syn(t);
	inject(t, "S seq 0 win 20000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	test_finish(t);
}

/* The SYN-ACK of a simultaneous open is sent again too. */
/* proves RFC9293-MUST-10 */
static void simultaneous_open_survives_loss(void **state)
{
	struct test *t = begin();

	(void)state;
	connect_syn(t);
	inject(t, "S seq 0 win 20000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	expect_after(t, 1000, "S. seq 0 ack 1 mss 1460");
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	test_finish(t);
}

/* proves RFC9293-MUST-11 */
static void reset_after_simultaneous_open(void **state)
{
	struct test *t = begin();

	(void)state;
	connect_syn(t);
	inject(t, "S seq 0 win 20000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	inject(t, "R seq 1");
	expect_event(t, "close refused");
	assert_int_equal(usage(t).connections, 0);
	test_finish(t);
}

static void data_with_the_syn_ack_is_not_lost(void **state)
{
	struct test *t = begin();

	(void)state;
	connect_syn(t);
	inject(t, "S. seq 0 ack 1 win 20000 mss 1460 len 10");
	expect_event(t, "open");
	discard_out(t);
	t->peer->snd_nxt = 1;
	discard_events(t);
	inject(t, "P. seq 1 ack 1 len 10"); /* sent again: taken now, or known already */
	pass_ms(t, 100);
	assert_int_equal(t->slots[0].rx_bytes, 10);
	discard_out(t);
	discard_events(t);
	ignore_drops(t, DROP_TCP_OUT_OF_WINDOW);
	test_finish(t);
}

static void repeated_syn_ack_is_acknowledged_again(void **state)
{
	struct test *t = begin();

	(void)state;
	open_client(t);
	inject(t, "S. seq 0 ack 1 win 20000 mss 1460");
	expect(t, ". seq 1 ack 1");
	expect_drops(t, TCP_SYN_IN_CONNECTION);
	expect_no_event(t);
	test_finish(t);
}

static void send_before_open_waits(void **state)
{
	struct test *t = begin();
	size_t accepted;

	(void)state;
	connect_syn(t);
	accepted = app_send(t, 0, 100);
	expect_nothing(t);
	inject(t, "S. seq 0 ack 1 win 20000 mss 1460");
	expect_event(t, "open");
	if (accepted == 100)
		expect(t, "P. seq 1 ack 1 len 100");
	else
		expect(t, ". seq 1 ack 1");
	discard_events(t);
	test_finish(t);
}

/* The window of the SYN-ACK is the first that counts. */
static void nagle_from_the_first_segment_on(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->active = true;
	test_start(t);
	open_client(t);
	app_send(t, 0, 10);
	expect(t, "P. seq 1 ack 1 len 10");
	app_send(t, 0, 10);
	expect_nothing(t);
	inject(t, ". seq 1 ack 11");
	expect(t, "P. seq 11 ack 1 len 10");
	test_finish(t);
}

static void user_timeout_of_a_connect(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->active = true;
	t->services[1].user_timeout_ms = 5000;
	test_start(t);
	app_connect(t, 5000);
	pass_ms(t, 4990);
	expect_no_event(t);
	pass_ms(t, 100);
	expect_event(t, "close timeout");
	discard_out(t);
	test_finish(t);
}

static void close_before_open(void **state)
{
	struct test *t = begin();

	(void)state;
	connect_syn(t);
	app_close(t, 0);
	pass_ms(t, 10);
	expect_event(t, "close aborted");
	assert_int_equal(usage(t).connections, 0);
	test_finish(t);
}

static void abort_before_open(void **state)
{
	struct test *t = begin();

	(void)state;
	connect_syn(t);
	app_abort(t, 0);
	pass_ms(t, 10);
	discard_out(t);
	expect_event(t, "close aborted");
	assert_int_equal(usage(t).connections, 0);
	/* The answer that comes late finds nobody. */
	inject(t, "S. seq 0 ack 1 win 20000 mss 1460");
	expect(t, "R seq 1");
	expect_drop(t, TCP_NO_FLOW);
	test_finish(t);
}

/* proves RFC9293-MUST-46 */
static void addresses_and_ports_that_make_no_sense(void **state)
{
	struct test *t = begin();
	int error;

	(void)state;
	connect_syn(t);
	app_connect_to(t, PEER_IP, t->peer->port, 5000, &error);
	assert_int_equal(error, -EADDRINUSE);
	app_connect_to(t, PEER_IP, 0, 0, &error);
	assert_int_equal(error, -EINVAL);
	app_connect_to(t, 0, 80, 0, &error);
	assert_int_equal(error, -EINVAL);
	app_connect_to(t, 0xe0000001u, 80, 0, &error);
	assert_int_equal(error, -EINVAL);
	app_connect_to(t, 0xffffffffu, 80, 0, &error);
	assert_int_equal(error, -EINVAL);
	expect_nothing(t);
	test_finish(t);
}

/* proves RFC1122-IP-12 */
static void no_route(void **state)
{
	struct test *t = test_begin();
	int error;

	(void)state;
	t->active = true;
	t->config.gateway = 0;
	test_start(t);
	app_connect_to(t, 0x0b000001u, 80, 0, &error);
	assert_int_equal(error, -ENETUNREACH);
	test_finish(t);
}

/* proves RFC1122-IP-13 */
static void a_host_far_away_is_reached_through_the_gateway(void **state)
{
	struct test *t = begin();
	const struct out_frame *out;
	uint8_t mac[6];

	(void)state;
	app_connect_to(t, 0x0b000001u, 80, 0, NULL);
	out = next_out(t);
	mac_of(0x0a0000feu, mac);
	assert_memory_equal(out->data, mac, 6);
	test_finish(t);
}

static void no_block_left(void **state)
{
	struct test *t = test_begin();
	int error;

	(void)state;
	t->active = true;
	t->config.connections = 1;
	test_start(t);
	connect_syn(t);
	app_connect_to(t, PEER_IP, 81, 0, &error);
	assert_int_equal(error, -ENOMEM);
	inject(t, "R. aseq 0 ack 1");
	expect_event(t, "close refused");
	app_connect_to(t, PEER_IP, 81, 0, &error);
	assert_int_equal(error, 0);
	discard_out(t);
	test_finish(t);
}

/* RFC 6056: ports are drawn, and never twice to one place. */
/* proves RFC9293-MUST-44, RFC6056-01, RFC6056-03 */
static void ports_are_chosen_apart(void **state)
{
	struct test *t = begin();
	uint16_t ports[50];

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(ports); i++) {
		struct c10m_endpoints endpoints;
		unsigned slot = app_connect_to(t, PEER_IP, 80, 0, NULL);

		c10m_conn_endpoints(app_conn(t, slot), &endpoints);
		assert_int_equal(endpoints.local_address, STACK_IP);
		assert_int_equal(endpoints.remote_address, PEER_IP);
		assert_int_equal(endpoints.remote_port, 80);
		assert_true(endpoints.local_port >= 1024);
		ports[i] = endpoints.local_port;
		for (unsigned j = 0; j < i; j++)
			assert_int_not_equal(ports[i], ports[j]);
	}
	discard_out(t);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(connect_opens),
	TEST(connect_agrees_on_options),
	TEST(window_of_the_syn_ack_is_not_scaled),
	TEST(syn_is_sent_again_and_given_up),
	TEST(syn_that_is_too_long_for_the_path),
	TEST(late_syn_ack_opens),
	TEST(refused),
	TEST(reset_that_acknowledges_nothing),
	TEST(wrong_ack_in_syn_sent),
	TEST(good_ack_without_syn_in_syn_sent),
	TEST(simultaneous_open),
	TEST(simultaneous_open_ended_by_a_plain_ack),
	TEST(simultaneous_open_survives_loss),
	TEST(reset_after_simultaneous_open),
	TEST(data_with_the_syn_ack_is_not_lost),
	TEST(repeated_syn_ack_is_acknowledged_again),
	TEST(send_before_open_waits),
	TEST(nagle_from_the_first_segment_on),
	TEST(user_timeout_of_a_connect),
	TEST(close_before_open),
	TEST(abort_before_open),
	TEST(addresses_and_ports_that_make_no_sense),
	TEST(no_route),
	TEST(a_host_far_away_is_reached_through_the_gateway),
	TEST(no_block_left),
	TEST(ports_are_chosen_apart),
};

PACKET_MAIN(tests)
