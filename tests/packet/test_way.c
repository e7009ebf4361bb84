/* test_way.c - rules about the way to the peer: IP headers, neighbours, gateways, what ICMP says of it. */
#include "harness.h"

#include "wire/icmp.h"

#define IP ETH_HEADER_BYTES

/* --- IP, ICMP and the link ---------------------------------------------------------------------------------
 */

/* Who is reached by the last hop has the right to be heard.
 * proves RFC1122-IP-09 */
static void hop_limits(void **state)
{
	struct test *t = begin_open();
	uint8_t frame[FRAME_ROOM];

	(void)state;
	for (uint8_t ttl = 0; ttl < 3; ttl++) {
		uint32_t bytes = build(t, frame, "P. seq %u ack 1 len 10", 1 + 10u * ttl);

		frame[IP + 8] = ttl;
		fix_checksums(frame, bytes);
		inject_raw(t, frame, bytes);
		expect_event(t, "data 10");
		pass_ms(t, 41);
		assert_int_equal(t->out[t->out_first].data[IP + 8], 64);
		expect(t, ". seq 1 ack %u", 11 + 10u * ttl);
	}
	test_finish(t);
}

/* Packets that are never cut need no ID: the same one twice says nothing. Ours say that they are not to be
 * cut. proves RFC6864-01, RFC1191-01 */
static void ids_of_atomic_datagrams(void **state)
{
	struct test *t = begin_open();
	uint8_t frame[FRAME_ROOM];

	(void)state;
	for (uint8_t i = 0; i < 3; i++) {
		uint32_t bytes = build(t, frame, "P. seq %u ack 1 len 10", 1 + 10u * i);

		put16(frame + IP + 4, 0x1234);
		fix_checksums(frame, bytes);
		inject_raw(t, frame, bytes);
		expect_event(t, "data 10");
		pass_ms(t, 41);
		assert_int_equal(get16(t->out[t->out_first].data + IP + 6), IPV4_DF);
		expect(t, ". seq 1 ack %u", 11 + 10u * i);
	}
	test_finish(t);
}

/* proves RFC1122-ICMP-10 */
static void address_mask_requests_get_no_answer(void **state)
{
	struct test *t = begin_open();
	uint8_t frame[FRAME_ROOM];
	static const uint8_t types[] = {17, 13, 15}; /* mask, time, information */

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(types); i++) {
		inject_raw(t, frame, build_icmp(t, frame, types[i], 0, 1, "\0\0\0\0", 4));
		expect_nothing(t);
		expect_drop(t, ICMP_UNKNOWN);
	}
	test_finish(t);
}

/* proves RFC1122-LINK-02 */
static void questions_are_a_second_apart(void **state)
{
	struct test *t = test_begin();
	uint64_t last_us = 0;
	unsigned questions = 0;

	(void)state;
	t->no_neighbours = t->active = true;
	test_start(t);
	for (unsigned i = 0; i < 400 && t->event_count == 0; i++) {
		if (i < 10)
			app_connect(t, (uint16_t)(5000 + i));
		for (; t->out_count > 0; questions++) {
			uint64_t at_us = t->out[t->out_first].at_us;

			expect_arp_request(t, PEER_IP);
			assert_true(questions == 0 || at_us - last_us > SECOND - MS);
			last_us = at_us;
		}
		pass_ms(t, 10);
	}
	assert_in_range(questions, 2, 5);
	discard_events(t);
	discard_out(t);
	ignore_drops(t, DROP_NEIGHBOUR_UNRESOLVED);
	test_finish(t);
}

/* Half a minute without a word: it is asked, first itself, then everybody; its address counts no more when it
 * does not answer.
 * proves RFC1122-LINK-01, RFC1122-IP-14 */
static void silent_neighbour_is_doubted_and_forgotten(void **state)
{
	static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	struct test *t = test_begin();
	uint8_t mac[6];
	unsigned asked = 0;

	(void)state;
	t->no_neighbours = t->active = true;
	ignore_drops(t, DROP_NEIGHBOUR_UNRESOLVED);
	test_start(t);
	app_connect(t, 5000);
	expect_arp_request(t, PEER_IP);
	inject_arp_reply(t, PEER_IP);
	expect(t, "S mss 1460 sackok ts 0 wscale 0");
	inject(t, "S. seq 0 ack 1 win 65535 mss 1460");
	expect(t, ". seq 1 ack 1");
	expect_event(t, "open");
	pass_ms(t, 40000);
	expect_nothing(t); /* nobody needs it */
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 1 len 100");
	mac_of(PEER_IP, mac);
	assert_memory_equal(t->out[t->out_first].data, mac, 6);
	expect_arp_request(t, PEER_IP);
	for (unsigned i = 0; i < 600 && asked == 0; i++) {
		pass_ms(t, 100);
		for (; t->out_count > 0; (void)next_out(t))
			asked += memcmp(t->out[t->out_first].data, everybody, 6) == 0;
	}
	assert_int_equal(asked, 1);
	pass_ms(t, 500);
	expect_nothing(t); /* nothing goes to the old address */
	inject_arp_reply(t, PEER_IP);
	expect(t, "P. seq 1 ack 1 len 100");
	discard_out(t);
	test_finish(t);
}

/* --- what is said of the way ------------------------------------------------------------------------------
 */

static unsigned troubles[4];

static void on_trouble(c10m_conn *conn, enum c10m_trouble trouble)
{
	struct c10m_endpoints endpoints;

	c10m_conn_endpoints(conn, &endpoints);
	assert_int_equal(endpoints.remote_address, PEER_IP);
	troubles[trouble]++;
}

/* Soft errors are told to who wants to hear of them, and to nobody else; those of what is not in flight are
 * not. proves RFC9293-MUST-47, RFC9293-SHLD-20, RFC9293-SHLD-25, RFC1122-ICMP-05, RFC1122-ICMP-07,
 * RFC1122-ICMP-08 */
static void soft_errors_are_told(void **state)
{
	(void)state;
	for (unsigned wanted = 0; wanted < 2; wanted++) {
		struct test *t = test_begin();

		memset(troubles, 0, sizeof(troubles));
		t->services[0].on_trouble = wanted ? on_trouble : NULL;
		test_start(t);
		open_server(t);
		app_send(t, 0, 100);
		expect(t, "P. seq 1 ack 1 len 100");
		inject_icmp_error(t, ICMP_UNREACHABLE, ICMP_CODE_NET_UNREACHABLE, 0, 1);
		inject_icmp_error(t, ICMP_UNREACHABLE, ICMP_CODE_HOST_UNREACHABLE, 0, 1);
		inject_icmp_error(t, ICMP_TIME_EXCEEDED, 0, 0, 1);
		inject_icmp_error(t, ICMP_PARAMETER_PROBLEM, 0, 0, 1);
		inject_icmp_error(t, ICMP_TIME_EXCEEDED, 0, 0, 5000);
		expect_drop(t, ICMP_NOT_IN_FLIGHT);
		assert_int_equal(troubles[C10M_TROUBLE_UNREACHABLE], 2 * wanted);
		assert_int_equal(troubles[C10M_TROUBLE_HOPS], wanted);
		assert_int_equal(troubles[C10M_TROUBLE_HEADER], wanted);
		assert_int_equal(troubles[C10M_TROUBLE_SILENCE], 0);
		app_close(t, 0); /* nothing is told any more */
		discard_out(t);
		inject_icmp_error(t, ICMP_TIME_EXCEEDED, 0, 0, 1);
		assert_int_equal(troubles[C10M_TROUBLE_HOPS], wanted);
		test_finish(t);
	}
}

static void abort_on_trouble(c10m_conn *conn, enum c10m_trouble trouble)
{
	on_trouble(conn, trouble);
	c10m_abort(conn);
}

static void abort_inside_on_trouble(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->services[0].on_trouble = abort_on_trouble;
	test_start(t);
	open_server(t);
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 1 len 100");
	inject_icmp_error(t, ICMP_TIME_EXCEEDED, 0, 0, 1);
	expect(t, "R. seq 101 ack 1");
	expect_event(t, "close aborted");
	use_peer(t, 1);
	open_server(t);
	app_send(t, 1, 100);
	pass_ms(t, 200 + 400 + 800 + 10); /* R1 */
	expect_event(t, "close aborted#1");
	discard_out(t);
	test_finish(t);
}

/* After three retransmissions the application hears of it, and the next hop is asked whether it is there.
 * proves RFC9293-MUST-20, RFC9293-SHLD-9, RFC9293-SHLD-10 */
static void three_retransmissions_raise_doubts(void **state)
{
	struct test *t = test_begin();

	(void)state;
	memset(troubles, 0, sizeof(troubles));
	t->no_neighbours = true;
	t->services[0].on_trouble = on_trouble;
	test_start(t);
	inject_arp_reply(t, PEER_IP);
	open_server(t);
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 1 len 100");
	expect_after(t, 200, "P. seq 1 ack 1 len 100");
	expect_after(t, 400, "P. seq 1 ack 1 len 100");
	expect_nothing(t);
	assert_int_equal(troubles[C10M_TROUBLE_SILENCE], 0);
	expect_after(t, 800, "P. seq 1 ack 1 len 100");
	expect_arp_request(t, PEER_IP);
	inject_arp_reply(t, PEER_IP);
	assert_int_equal(troubles[C10M_TROUBLE_SILENCE], 1);
	expect_after(t, 1600, "P. seq 1 ack 1 len 100");
	expect_nothing(t);
	pass_ms(t, 3600 * 1000);
	discard_out(t);
	expect_event(t, "close timeout"); /* R2 */
	assert_int_equal(troubles[C10M_TROUBLE_SILENCE], 1);
	ignore_drops(t, DROP_NEIGHBOUR_UNRESOLVED);
	test_finish(t);
}

/* The next frame's type of service and hop limit. Its checksum is right, or the harness would not take it. */
static void expect_marks(struct test *t, uint8_t tos, uint8_t ttl)
{
	const struct out_frame *out = &t->out[t->out_first];

	assert_true(t->out_count > 0);
	assert_int_equal(out->data[IP + 1], tos);
	assert_int_equal(out->data[IP + 8], ttl);
}

/* From the answer to the SYN on, and changed on the way.
 * proves RFC9293-MUST-48, RFC9293-MUST-49, RFC9293-SHLD-21, RFC9293-SHLD-22, RFC1122-IP-08, RFC1122-IP-10 */
static void type_of_service_and_hop_limit(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->services[0].dscp = 10;
	t->services[0].ttl = 3;
	t->services[1].dscp = 63;
	test_start(t);
	inject(t, "S seq 0 win 1000 mss 1460");
	expect_marks(t, 0x28, 3);
	expect(t, "S. seq 0 ack 1 mss 1460");
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	app_send(t, 0, 10);
	expect_marks(t, 0x28, 3);
	expect(t, "P. seq 1 ack 1 len 10");
	inject(t, ". seq 1 ack 11");
	for (unsigned i = 0; i < 6; i++) {
		c10m_set_dscp(app_conn(t, 0), (uint8_t)(12 * i));
		app_send(t, 0, 10);
		expect_marks(t, (uint8_t)(12 * i << 2), 3);
		discard_out(t);
		inject(t, ". seq 1 ack %u", 21 + 10 * i);
	}
	use_peer(t, 1);
	app_connect_to(t, PEER_IP, t->peer->port, 5000, NULL);
	expect_marks(t, 0xfc, 64);
	discard_out(t);
	test_finish(t);
}

/* --- redirects -------------------------------------------------------------------------------------------
 */

#define GATEWAY  0x0a0000feu
#define FAR_AWAY 0x0b000001u

/* A redirect that quotes what is in flight, from one host to another gateway. */
static void redirect(struct test *t, uint32_t from, uint32_t gateway, uint8_t code, uint32_t quoted_seq)
{
	uint8_t frame[FRAME_ROOM], quote[IPV4_HEADER_BYTES + 8] = {0};
	uint32_t peer_ip = t->peer->ip, bytes;
	const struct ipv4_header ip = {.source = STACK_IP,
				       .destination = peer_ip,
				       .ttl = 60,
				       .protocol = IP_PROTOCOL_TCP,
				       .total_bytes = 1500};

	ipv4_emit(quote, &ip);
	put16(quote + 20, t->peer->stack_port);
	put16(quote + 22, t->peer->port);
	put32(quote + 24, t->peer->irs + quoted_seq);
	t->peer->ip = from;
	bytes = build_icmp(t, frame, ICMP_REDIRECT, code, gateway, quote, sizeof(quote));
	inject_raw(t, frame, bytes);
	t->peer->ip = peer_ip;
}

static void expect_via(struct test *t, uint32_t gateway, const char *segment)
{
	t->peer->via = gateway;
	expect(t, "%s", segment);
}

/* The gateway in use names another one of the same net, for a host or for a net: what follows goes there. All
 * others are not believed. When the new one does not answer, the old way counts again.
 * proves RFC1122-ICMP-06 */
static void redirects_lead_to_another_gateway(void **state)
{
	static const uint32_t bad[] = {0x0c000001u, STACK_IP, 0x0a0000ffu, 0, 0x7f000001u};
	struct test *t = test_begin();

	(void)state;
	t->active = true;
	test_start(t);
	t->peer->ip = FAR_AWAY;
	t->peer->via = GATEWAY;
	open_client(t);
	app_send(t, 0, 10);
	expect_via(t, GATEWAY, "P. seq 1 ack 1 len 10");
	for (unsigned i = 0; i < ARRAY_COUNT(bad); i++) {
		redirect(t, GATEWAY, bad[i], 1, 1);
		expect_drop(t, ICMP_UNKNOWN);
	}
	redirect(t, PEER_IP, PEER_IP + 1, 1, 1); /* not the first hop */
	expect_drop(t, ICMP_UNKNOWN);
	redirect(t, GATEWAY, PEER_IP + 1, 1, 5000);
	expect_drop(t, ICMP_NOT_IN_FLIGHT);
	inject(t, ". seq 1 ack 11");
	app_send(t, 0, 10);
	expect_via(t, GATEWAY, "P. seq 11 ack 1 len 10");
	for (uint8_t code = 0; code < 2; code++) {
		redirect(t, code ? PEER_IP + 1 : GATEWAY, PEER_IP + 1 + code, code, 11 + 10u * code);
		inject(t, ". seq 1 ack %u", 21 + 10u * code);
		app_send(t, 0, 10);
		expect_via(t, PEER_IP + 1u + code,
			   code ? "P. seq 31 ack 1 len 10" : "P. seq 21 ack 1 len 10");
	}
	redirect(t, PEER_IP + 2, STACK_IP + 99, 1, 31); /* nobody is there */
	ignore_drops(t, DROP_NEIGHBOUR_UNRESOLVED);
	for (unsigned i = 0; i < 10 && t->out_count == 0; i++)
		pass_ms(t, 100);
	expect_arp_request(t, STACK_IP + 99);
	pass_ms(t, 30000);
	while (t->out_count > 1)
		(void)next_out(t);
	expect_via(t, GATEWAY, "P. seq 31 ack 1 len 10");
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(hop_limits),
	TEST(ids_of_atomic_datagrams),
	TEST(address_mask_requests_get_no_answer),
	TEST(questions_are_a_second_apart),
	TEST(silent_neighbour_is_doubted_and_forgotten),
	TEST(soft_errors_are_told),
	TEST(abort_inside_on_trouble),
	TEST(three_retransmissions_raise_doubts),
	TEST(type_of_service_and_hop_limit),
	TEST(redirects_lead_to_another_gateway),
};

PACKET_MAIN(tests)
