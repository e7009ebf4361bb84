/* test_arp_icmp.c - neighbours and pings (RFC 826, RFC 1122 sections 2.3.2 and 3.2.2.6). */
#include "harness.h"

#include "wire/arp.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"

static struct test *begin_lonely(void)
{
	struct test *t = test_begin();

	t->no_neighbours = true;
	t->active = true;
	test_start(t);
	return t;
}

static void arp_request_is_answered(void **state)
{
	struct test *t = begin_lonely();
	uint8_t frame[FRAME_ROOM], mac[6];
	const struct out_frame *out;
	struct eth_header eth;
	struct arp_packet arp;

	(void)state;
	mark(t);
	mac_of(PEER_IP, mac);
	inject_raw(t, frame, build_arp(frame, ARP_REQUEST, PEER_IP, mac, STACK_IP, true));
	out = next_out(t);
	assert_int_equal(eth_parse(out->data, out->bytes, &eth), DROP_NONE);
	assert_memory_equal(eth.destination.octets, mac, 6);
	assert_memory_equal(eth.source.octets, t->config.mac.octets, 6);
	assert_int_equal(arp_parse(out->data + ETH_HEADER_BYTES, out->bytes - ETH_HEADER_BYTES, &arp),
			 DROP_NONE);
	assert_int_equal(arp.operation, ARP_REPLY);
	assert_int_equal(arp.sender_ip, STACK_IP);
	assert_int_equal(arp.target_ip, PEER_IP);
	assert_memory_equal(arp.sender.octets, t->config.mac.octets, 6);
	assert_memory_equal(arp.target.octets, mac, 6);
	assert_int_equal(counted(t, arp_replies_out), 1);
	test_finish(t);
}

static void arp_request_for_others_is_ignored(void **state)
{
	struct test *t = begin_lonely();
	uint8_t frame[FRAME_ROOM], mac[6];

	(void)state;
	mac_of(PEER_IP, mac);
	inject_raw(t, frame, build_arp(frame, ARP_REQUEST, PEER_IP, mac, STACK_IP + 50, true));
	expect_nothing(t);
	expect_drop(t, ARP_NOT_OURS);
	test_finish(t);
}

static void broken_arp(void **state)
{
	struct test *t = begin_lonely();
	uint8_t frame[FRAME_ROOM], mac[6];

	(void)state;
	mac_of(PEER_IP, mac);
	for (uint32_t at = 0; at < 8; at++) {
		uint32_t bytes = build_arp(frame, ARP_REQUEST, PEER_IP, mac, STACK_IP, true);

		frame[ETH_HEADER_BYTES + at] ^= 0x40;
		inject_raw(t, frame, bytes);
		expect_nothing(t);
		expect_drop_at(t, "broken_arp, octet", (int)at, DROP_ARP_MALFORMED);
	}
	for (uint32_t bytes = 0; bytes < ARP_BYTES; bytes++) {
		build_arp(frame, ARP_REQUEST, PEER_IP, mac, STACK_IP, true);
		inject_raw(t, frame, ETH_HEADER_BYTES + bytes);
		expect_drop_at(t, "broken_arp, bytes", (int)bytes, DROP_ARP_MALFORMED);
	}
	test_finish(t);
}

/* Who claims our own address, or a broadcast link address, is not learnt from. */
static void arp_that_poisons(void **state)
{
	struct test *t = begin_lonely();
	uint8_t frame[FRAME_ROOM], mac[6];

	(void)state;
	for (unsigned i = 1; i < DROP_COUNT; i++)
		ignore_drops(t, (enum drop_reason)i);
	mac_of(STACK_IP + 70, mac);
	inject_raw(t, frame, build_arp(frame, ARP_REQUEST, STACK_IP, mac, STACK_IP, true));
	discard_out(t);
	memset(mac, 0xff, 6);
	inject_raw(t, frame, build_arp(frame, ARP_REPLY, PEER_IP, mac, STACK_IP, false));
	app_connect(t, 5000);
	expect_arp_request(t, PEER_IP);
	test_finish(t);
}

/* The SYN waits for the neighbour, and goes as soon as it is known. */
/* proves RFC1122-LINK-03 */
static void connect_resolves_first(void **state)
{
	struct test *t = begin_lonely();

	(void)state;
	mark(t);
	app_connect(t, 5000);
	expect_arp_request(t, PEER_IP);
	expect_nothing(t);
	pass_ms(t, 5);
	inject_arp_reply(t, PEER_IP);
	expect(t, "S mss 1460 sackok ts 0 wscale 0");
	assert_int_equal(counted(t, arp_requests_out), 1);
	assert_int_equal(counted(t, arp_replies_in), 1);
	inject(t, "S. seq 0 ack 1 win 20000 mss 1460");
	expect(t, ". seq 1 ack 1");
	expect_event(t, "open");
	test_finish(t);
}

static void unanswered_arp_is_asked_again_and_given_up(void **state)
{
	struct test *t = begin_lonely();
	unsigned requests = 1;

	(void)state;
	mark(t);
	ignore_drops(t, DROP_NEIGHBOUR_UNRESOLVED);
	app_connect(t, 5000);
	expect_arp_request(t, PEER_IP);
	for (unsigned i = 0; i < 3000 && t->event_count == 0; i++) {
		pass_ms(t, 10);
		for (; t->out_count > 0; requests++)
			expect_arp_request(t, PEER_IP);
	}
	expect_event(t, "close unreachable");
	assert_in_range(requests, 2, 10);
	assert_int_equal(counted(t, neighbour_timeouts), 1);
	assert_int_equal(usage(t).connections, 0);
	/* Later it may be there. */
	pass_ms(t, 30000);
	discard_out(t);
	app_connect(t, 5001);
	expect_arp_request(t, PEER_IP);
	inject_arp_reply(t, PEER_IP);
	expect(t, "S mss 1460 sackok ts 0 wscale 0");
	test_finish(t);
}

static void one_request_for_many_connects(void **state)
{
	struct test *t = begin_lonely();

	(void)state;
	for (unsigned i = 0; i < 10; i++)
		app_connect(t, (uint16_t)(5000 + i));
	expect_arp_request(t, PEER_IP);
	expect_nothing(t);
	inject_arp_reply(t, PEER_IP);
	assert_int_equal(discard_out(t), 10);
	test_finish(t);
}

/* A server answers the client without a question of its own: the request that came told it. */
static void learning_from_a_request(void **state)
{
	struct test *t = begin_lonely();
	uint8_t frame[FRAME_ROOM], mac[6];

	(void)state;
	mac_of(PEER_IP, mac);
	inject_raw(t, frame, build_arp(frame, ARP_REQUEST, PEER_IP, mac, STACK_IP, true));
	(void)next_out(t);
	app_connect(t, 5000);
	expect(t, "S mss 1460 sackok ts 0 wscale 0");
	test_finish(t);
}

/* The client's first SYN, from a host that was never heard of: it gets its answer, with or without a
 * question. */
static void syn_from_an_unknown_neighbour(void **state)
{
	struct test *t = begin_lonely();
	struct eth_header eth;

	(void)state;
	inject(t, "S seq 0 win 1000 mss 1460");
	assert_int_equal(t->out_count, 1);
	eth_parse(t->out[t->out_first].data, t->out[t->out_first].bytes, &eth);
	if (eth.type == ETH_TYPE_ARP) {
		expect_arp_request(t, PEER_IP);
		inject_arp_reply(t, PEER_IP);
		if (t->out_count == 0)
			pass_ms(t, 1003); /* the SYN-ACK that is sent again */
	}
	expect(t, "S. seq 0 ack 1 mss 1460");
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	test_finish(t);
}

/* An answer that was never sent has no retransmission timer: something else must ask again. */
/* proves RFC1122-LINK-05 */
static void data_for_a_silent_neighbour_goes_when_it_speaks(void **state)
{
	struct test *t = begin_lonely();

	(void)state;
	ignore_drops(t, DROP_NEIGHBOUR_UNRESOLVED);
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	app_send(t, 0, 100);
	pass_ms(t, 20000);
	assert_true(discard_out(t) > 3); /* questions */
	inject_arp_reply(t, PEER_IP);
	for (unsigned i = 0; i < 600 && t->out_count == 0; i++)
		pass_ms(t, 100);
	expect(t, "P. seq 1 ack 1 len 100");
	discard_out(t);
	pass_ms(t, 210); /* how long the neighbour was asked makes no time-out longer */
	expect(t, "P. seq 1 ack 1 len 100");
	test_finish(t);
}

/* A simultaneous open whose answer never went out ends like a connection attempt. */
static void simultaneous_open_with_a_silent_neighbour(void **state)
{
	struct test *t = begin_lonely();

	(void)state;
	app_connect(t, 5000);
	expect_arp_request(t, PEER_IP);
	inject(t, "S seq 0 win 1000 mss 1460");
	pass_ms(t, 20000);
	discard_out(t);
	expect_event(t, "close unreachable");
	test_finish(t);
}

static void neighbour_that_moves(void **state)
{
	struct test *t = begin_lonely();
	uint8_t frame[FRAME_ROOM], mac[6];
	const struct out_frame *out;

	(void)state;
	app_connect(t, 5000);
	expect_arp_request(t, PEER_IP);
	inject_arp_reply(t, PEER_IP);
	expect(t, "S mss 1460 sackok ts 0 wscale 0");
	mac_of(PEER_IP + 100, mac); /* the same host with another card */
	inject_raw(t, frame, build_arp(frame, ARP_REQUEST, PEER_IP, mac, STACK_IP, true));
	(void)next_out(t);
	pass_ms(t, 1003);
	out = next_out(t);
	assert_memory_equal(out->data, mac, 6);
	test_finish(t);
}

/* Frames of ARP that another worker got are heard like those that came here: what waits goes on, a permanent
 * entry stays, and nobody who is not wanted gets a place. */
static void what_another_worker_heard(void **state)
{
	struct test *t = begin_lonely();
	struct stack_message heard = {.kind = STACK_HEAR_NEIGHBOUR, .address = PEER_IP};
	struct stack_message fixed = {.kind = STACK_SET_NEIGHBOUR, .address = PEER_IP};
	uint32_t known;

	(void)state;
	app_connect(t, 5000);
	expect_arp_request(t, PEER_IP);
	known = usage(t).destinations;
	mac_of(PEER_IP, heard.mac.octets);
	mac_of(PEER_IP, fixed.mac.octets);
	assert_int_equal(stack_control(t->stack, t->now_us, &heard), 0);
	flush(t);
	expect(t, "S mss 1460 sackok ts 0 wscale 0");
	assert_int_equal(stack_control(t->stack, t->now_us, &fixed), 0);
	mac_of(PEER_IP + 100, heard.mac.octets); /* forged */
	assert_int_equal(stack_control(t->stack, t->now_us, &heard), 0);
	heard.address = PEER_IP + 7;
	assert_int_equal(stack_control(t->stack, t->now_us, &heard), 0);
	assert_int_equal(usage(t).destinations, known);
	pass_ms(t, 1003);
	assert_memory_equal(next_out(t)->data, fixed.mac.octets, 6);
	test_finish(t);
}

/* Its block stands on the neighbour's list for a while yet: it is no connection any longer. */
static void ended_while_waiting_for_a_neighbour(void **state)
{
	struct test *t = begin_lonely();

	(void)state;
	app_connect(t, 5000);
	expect_arp_request(t, PEER_IP);
	assert_int_equal(usage(t).connections, 1);
	app_abort(t, 0);
	expect_event(t, "close aborted");
	assert_int_equal(usage(t).connections, 0);
	pass_ms(t, 10000);
	discard_out(t);
	assert_int_equal(usage(t).connections, 0);
	test_finish(t);
}

static void inject_arp(struct test *t, uint16_t operation, uint32_t ip)
{
	uint8_t frame[FRAME_ROOM], mac[6];

	mac_of(ip, mac);
	inject_raw(t, frame, build_arp(frame, operation, ip, mac, STACK_IP, operation == ARP_REQUEST));
}

/* Other neighbours are confirmed all the while, each by a question of its own: the one that does not answer
 * is asked again and given up in time all the same. */
/* proves RFC1122-IP-14 */
static void confirming_others_does_not_put_a_silent_neighbour_off(void **state)
{
	struct test *t = begin_lonely();
	unsigned asked = 0;

	(void)state;
	ignore_drops(t, DROP_NEIGHBOUR_UNRESOLVED);
	for (unsigned i = 0; i < 40; i++)
		inject_arp(t, ARP_REQUEST, PEER_IP + 1 + i);
	discard_out(t);
	pass_ms(t, 31 * 1000); /* by now all of them are old */
	app_connect(t, 5000);
	expect_arp_request(t, PEER_IP);
	for (unsigned i = 0; i < 40 && t->event_count == 0; i++) {
		app_connect_to(t, PEER_IP + 1 + i, 80, (uint16_t)(6000 + i), NULL);
		for (; t->out_count > 0; asked++)
			(void)next_out(t);
		inject_arp(t, ARP_REPLY, PEER_IP + 1 + i);
		pass_ms(t, 300);
	}
	assert_true(asked > 3);
	expect_event(t, "close unreachable");
	discard_out(t);
	test_finish(t);
}

/* Connections of silent neighbours end, and each neighbour is asked for to be told so. That must not take the
 * place that another peer needs. */
static void questions_that_nobody_waits_for_give_way(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->no_neighbours = true;
	t->config.connections = 200;
	t->config.destinations = 8;
	test_start(t);
	for (unsigned i = 0; i < 60; i++) {
		t->peer->ip = PEER_IP + 1 + i;
		open_server(t);
		app_abort(t, i);
		discard_events(t);
		pass_ms(t, 15);
		discard_out(t);
	}
	assert_true(stack_counters(t->stack)->arp_requests_out >= 8);
	assert_int_equal(stack_counters(t->stack)->neighbour_timeouts, 0);
	use_peer(t, 1);
	open_server(t);
	app_send(t, 60, 100);
	expect_arp_request(t, t->peer->ip);
	inject_arp(t, ARP_REPLY, t->peer->ip);
	expect(t, "P. seq 1 ack 1 len 100");
	inject(t, ". seq 1 ack 101");
	pass_ms(t, 200 * 1000);
	discard_out(t);
	test_finish(t);
}

/* --- ping -------------------------------------------------------------------------------------- */

/* proves RFC1122-ICMP-09 */
static void ping_is_answered_with_its_data(void **state)
{
	struct test *t = begin_open();
	uint8_t frame[FRAME_ROOM], body[1000];
	const uint8_t *icmp;
	const struct out_frame *out;

	(void)state;
	for (unsigned i = 0; i < sizeof(body); i++)
		body[i] = stream_byte(i);
	for (uint32_t bytes = 0; bytes <= sizeof(body); bytes += 125) {
		inject_raw(t, frame,
			   build_icmp(t, frame, ICMP_ECHO_REQUEST, 0, 0x12340001 + bytes, body, bytes));
		out = next_out(t);
		icmp = out->data + ETH_HEADER_BYTES + IPV4_HEADER_BYTES;
		assert_int_equal(out->bytes, ETH_HEADER_BYTES + IPV4_HEADER_BYTES + 8 + bytes);
		assert_int_equal(icmp[0], ICMP_ECHO_REPLY);
		assert_int_equal(get32(icmp + 4), 0x12340001 + bytes);
		assert_memory_equal(icmp + 8, body, bytes);
		assert_int_equal(get32(out->data + ETH_HEADER_BYTES + 16), PEER_IP);
		pass_ms(t, 1000);
	}
	test_finish(t);
}

static void oversize_ping(void **state)
{
	struct test *t = begin_open();
	uint8_t frame[FRAME_ROOM] = {0}, body[1472] = {0};

	(void)state;
	inject_raw(t, frame, build_icmp(t, frame, ICMP_ECHO_REQUEST, 0, 1, body, sizeof(body)));
	if (t->out_count > 0)
		assert_int_equal(next_out(t)->bytes, ETH_HEADER_BYTES + 1500);
	else
		expect_drops(t, ICMP_MALFORMED);
	test_finish(t);
}

/* proves RFC1122-ICMP-01 */
static void broken_pings(void **state)
{
	struct test *t = begin_open();
	uint8_t frame[FRAME_ROOM];
	uint32_t bytes = build_icmp(t, frame, ICMP_ECHO_REQUEST, 0, 1, "12345678", 8);

	(void)state;
	frame[ETH_HEADER_BYTES + IPV4_HEADER_BYTES + 2] ^= 1;
	inject_raw(t, frame, bytes);
	expect_nothing(t);
	expect_drop(t, ICMP_CHECKSUM);
	for (uint32_t cut = 0; cut < 8; cut++) {
		build_icmp(t, frame, ICMP_ECHO_REQUEST, 0, 1, "12345678", 8);
		put16(frame + ETH_HEADER_BYTES + 2, (uint16_t)(IPV4_HEADER_BYTES + cut));
		fix_checksums(frame, ETH_HEADER_BYTES + IPV4_HEADER_BYTES + cut);
		inject_raw(t, frame, ETH_HEADER_BYTES + IPV4_HEADER_BYTES + cut);
		expect_drop(t, ICMP_MALFORMED);
	}
	bytes = build_icmp(t, frame, 42, 0, 1, "12345678", 8);
	inject_raw(t, frame, bytes);
	expect_nothing(t);
	expect_drop(t, ICMP_UNKNOWN);
	bytes = build_icmp(t, frame, ICMP_ECHO_REPLY, 0, 1, "12345678", 8); /* we asked for none */
	inject_raw(t, frame, bytes);
	expect_nothing(t);
	expect_drop(t, ICMP_UNKNOWN);
	test_finish(t);
}

static void pings_are_limited(void **state)
{
	struct test *t = begin_open();
	uint8_t frame[FRAME_ROOM];
	uint32_t bytes = build_icmp(t, frame, ICMP_ECHO_REQUEST, 0, 1, "12345678", 8);

	(void)state;
	ignore_drops(t, DROP_ICMP_RATE);
	for (unsigned i = 0; i < 20000; i++) {
		inject_raw(t, frame, bytes);
		t->out_count = MIN_OF(t->out_count, 3000);
	}
	assert_true(discard_out(t) < 3000);
	assert_true(stack_counters(t->stack)->drops[DROP_ICMP_RATE] > 0);
	pass_ms(t, 5000);
	inject_raw(t, frame, bytes);
	(void)next_out(t);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(arp_request_is_answered),
	TEST(arp_request_for_others_is_ignored),
	TEST(broken_arp),
	TEST(arp_that_poisons),
	TEST(connect_resolves_first),
	TEST(unanswered_arp_is_asked_again_and_given_up),
	TEST(one_request_for_many_connects),
	TEST(learning_from_a_request),
	TEST(syn_from_an_unknown_neighbour),
	TEST(data_for_a_silent_neighbour_goes_when_it_speaks),
	TEST(simultaneous_open_with_a_silent_neighbour),
	TEST(neighbour_that_moves),
	TEST(what_another_worker_heard),
	TEST(ended_while_waiting_for_a_neighbour),
	TEST(confirming_others_does_not_put_a_silent_neighbour_off),
	TEST(questions_that_nobody_waits_for_give_way),
	TEST(ping_is_answered_with_its_data),
	TEST(oversize_ping),
	TEST(broken_pings),
	TEST(pings_are_limited),
};

PACKET_MAIN(tests)
