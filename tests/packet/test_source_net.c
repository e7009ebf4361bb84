/* test_source_net.c - a whole net of addresses that we connect from: who answers for it, which port each
 * connection gets, and what it costs. Frames are made by hand here, since the harness knows one address. */
#include "harness.h"

#include <errno.h>

#include "wire/arp.h"
#include "wire/ipv4.h"

#define NET        0x0a400000u /* 10.64.0.0/12 */
#define NET_BITS   12
#define LAST       0x0a4fffffu
#define SERVICE    1u
#define OTHER_PORT 9000

static struct test *begin_net(uint32_t prefix, unsigned bits)
{
	struct test *t = test_begin();

	t->active = true;
	t->config.source_net = ipv4_hosts(prefix, bits);
	t->config.connections = 200;
	test_start(t);
	return t;
}

static c10m_handle connect_from(struct test *t, uint32_t address, uint16_t port, uint16_t remote_port,
				int *error)
{
	const struct c10m_connect_request request = {
		.service = SERVICE,
		.local_address = address,
		.local_port = port,
		.remote_address = PEER_IP,
		.remote_port = remote_port,
	};
	c10m_handle handle = c10m_connect(stack_worker(t->stack), &request, error);

	flush(t);
	return handle;
}

/* The handshake of a connection that was just asked for. */
static uint16_t answer(struct test *t, uint32_t address, uint16_t remote_port)
{
	struct tcp_segment segment, reply;
	struct ipv4_header ip;

	take_segment(t, &ip, &segment);
	assert_int_equal(segment.flags, TCP_SYN);
	assert_int_equal(ip.source, address);
	assert_int_equal(ip.destination, PEER_IP);
	reply = (struct tcp_segment){.seq = 77,
				     .ack = segment.seq + 1,
				     .source_port = remote_port,
				     .destination_port = segment.source_port,
				     .flags = TCP_SYN | TCP_ACK,
				     .window = 1000};
	give_segment(t, PEER_IP, address, &reply);
	take_segment(t, &ip, &reply);
	assert_int_equal(reply.flags, TCP_ACK);
	assert_int_equal(ip.source, address);
	expect_event(t, "open");
	t->slot_count = 0; /* it is not spoken of any more */
	return segment.source_port;
}

/* proves RFC9293-MUST-43, RFC9293-MUST-45, RFC1122-IP-18 */
static void connects_from_any_host_of_the_net(void **state)
{
	const uint32_t from[] = {NET + 1, NET + 0x12345, LAST - 1};
	struct test *t = begin_net(NET, NET_BITS);
	uint32_t neighbours = usage(t).destinations;
	struct c10m_endpoints endpoints;

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(from); i++) {
		c10m_handle handle = connect_from(t, from[i], 0, OTHER_PORT, NULL);
		uint16_t port = answer(t, from[i], OTHER_PORT);

		c10m_conn_endpoints(c10m_conn_find(stack_worker(t->stack), handle), &endpoints);
		assert_int_equal(endpoints.local_address, from[i]);
		assert_int_equal(endpoints.local_port, port);
		assert_true(port >= 1024);
	}
	assert_int_equal(usage(t).connections, ARRAY_COUNT(from));
	assert_int_equal(usage(t).destinations, neighbours);
	stack_verify(t->stack);
	test_finish(t);
}

/* proves RFC1122-IP-03 */
static void which_addresses_may_be_asked_for(void **state)
{
	const uint32_t wrong[] = {NET, LAST, NET - 1, LAST + 1, PEER_IP, 0x7f000001u, UINT32_MAX};
	struct test *t = begin_net(NET, NET_BITS);
	uint32_t first = 0;
	int error;

	(void)state;
	assert_int_equal(c10m_source_net(stack_worker(t->stack), &first), (1u << 20) - 2);
	assert_int_equal(first, NET + 1);
	for (unsigned i = 0; i < ARRAY_COUNT(wrong); i++) {
		assert_true(connect_from(t, wrong[i], 0, OTHER_PORT, &error) == 0);
		assert_int_equal(error, -EINVAL);
	}
	/* Nor is one of them anybody else. */
	app_connect_to(t, NET + 5, 80, 0, &error);
	assert_int_equal(error, -EINVAL);
	expect_nothing(t);
	test_finish(t);
}

/* proves RFC6056-03 */
static void one_port_serves_several_targets(void **state)
{
	struct test *t = begin_net(NET, NET_BITS);
	int error;

	(void)state;
	for (uint16_t i = 0; i < 8; i++) {
		assert_true(connect_from(t, NET + 9, 5000, (uint16_t)(OTHER_PORT + i), NULL) != 0);
		assert_int_equal(answer(t, NET + 9, (uint16_t)(OTHER_PORT + i)), 5000);
	}
	assert_true(connect_from(t, NET + 9, 5000, OTHER_PORT, &error) == 0);
	assert_int_equal(error, -EADDRINUSE);
	assert_true(connect_from(t, NET + 10, 5000, OTHER_PORT, NULL) != 0);
	answer(t, NET + 10, OTHER_PORT);
	test_finish(t);
}

/* The order of ports tells nothing about another address's. */
static void each_address_has_ports_of_its_own(void **state)
{
	struct test *t = begin_net(NET, NET_BITS);
	unsigned same = 0;

	(void)state;
	for (uint32_t i = 0; i < 40; i++) {
		uint16_t one, two;

		connect_from(t, NET + 100 + i, 0, OTHER_PORT, NULL);
		one = answer(t, NET + 100 + i, OTHER_PORT);
		connect_from(t, NET + 200 + i, 0, OTHER_PORT, NULL);
		two = answer(t, NET + 200 + i, OTHER_PORT);
		same += one == two || one + 1 == two;
	}
	assert_true(same < 3);
	test_finish(t);
}

static void expect_arp_reply(struct test *t, uint32_t address)
{
	const struct out_frame *out = next_out(t);
	struct arp_packet arp;

	assert_int_equal(arp_parse(out->data + ETH_HEADER_BYTES, out->bytes - ETH_HEADER_BYTES, &arp),
			 DROP_NONE);
	assert_int_equal(arp.operation, ARP_REPLY);
	assert_int_equal(arp.sender_ip, address);
	assert_memory_equal(arp.sender.octets, t->config.mac.octets, 6);
}

static void arp_is_answered_for_each_host(void **state)
{
	const uint32_t hosts[] = {NET + 1, NET + 2, NET + 0x80000, LAST - 1, STACK_IP};
	const uint32_t others[] = {NET, LAST, NET - 1, LAST + 1};
	struct test *t = begin_net(NET, NET_BITS);
	uint8_t frame[FRAME_ROOM], mac[6];

	(void)state;
	mac_of(PEER_IP, mac);
	for (unsigned i = 0; i < ARRAY_COUNT(hosts); i++) {
		inject_raw(t, frame, build_arp(frame, ARP_REQUEST, PEER_IP, mac, hosts[i], true));
		expect_arp_reply(t, hosts[i]);
	}
	for (unsigned i = 0; i < ARRAY_COUNT(others); i++) {
		inject_raw(t, frame, build_arp(frame, ARP_REQUEST, PEER_IP, mac, others[i], true));
		expect_drop(t, ARP_NOT_OURS);
		expect_nothing(t);
	}
	test_finish(t);
}

static void strays_and_liars(void **state)
{
	struct test *t = begin_net(NET, NET_BITS);
	struct tcp_segment segment = {
		.seq = 5, .ack = 9, .source_port = 1, .destination_port = 2, .flags = TCP_ACK};
	struct ipv4_header ip;

	(void)state;
	give_segment(t, PEER_IP, NET + 3, &segment); /* to none of its connections: a reset from there */
	expect_drop(t, TCP_NO_FLOW);
	take_segment(t, &ip, &segment);
	assert_int_equal(segment.flags, TCP_RST);
	assert_int_equal(ip.source, NET + 3);
	segment = (struct tcp_segment){.seq = 5, .source_port = 1, .destination_port = 2, .flags = TCP_SYN};
	give_segment(t, NET + 4, STACK_IP, &segment); /* from ourselves */
	expect_drop(t, IP_BAD_SOURCE);
	give_segment(t, PEER_IP, NET, &segment); /* to the net as a whole */
	expect_drop(t, IP_NOT_OURS);
	give_segment(t, PEER_IP, LAST, &segment);
	expect_drop(t, IP_NOT_OURS);
	expect_nothing(t);
	test_finish(t);
}

/* Of three workers; the answers to what it opens must come to it. */
static void ports_are_those_of_the_worker(void **state)
{
	const struct siphash_key key = {3, 4};
	struct test *t = test_begin();
	struct owner owner;
	unsigned refused = 0;
	int error;

	(void)state;
	owner_init(&owner, &key, 3, t->config.id); /* the harness tries a port of its own */
	t->active = true;
	t->config.owner = &owner;
	t->config.source_net = ipv4_hosts(NET, NET_BITS);
	t->config.connections = 200;
	test_start(t);
	owner_init(&owner, &key, 3, OWNER_BY_HASH);
	for (uint32_t i = 1; i <= 100; i++) {
		struct tuple4 tuple = {NET + i, PEER_IP, 0, OTHER_PORT};

		assert_true(connect_from(t, NET + i, 0, OTHER_PORT, NULL) != 0);
		tuple.local_port = answer(t, NET + i, OTHER_PORT);
		assert_int_equal(owner_of(&owner, &tuple), t->config.id);
		tuple.local_port = 777;
		if (connect_from(t, NET + i, 777, OTHER_PORT, &error)) {
			assert_int_equal(owner_of(&owner, &tuple), t->config.id);
			answer(t, NET + i, OTHER_PORT);
			continue;
		}
		assert_int_equal(error, -EADDRNOTAVAIL);
		assert_int_not_equal(owner_of(&owner, &tuple), t->config.id);
		refused++;
	}
	assert_in_range(refused, 40, 95);
	test_finish(t);
}

/* Nets of one and two addresses have no address that names all of it. */
static void small_nets(void **state)
{
	struct test *t = begin_net(NET + 6, 31);
	int error;

	(void)state;
	assert_true(connect_from(t, NET + 6, 0, OTHER_PORT, NULL) != 0);
	answer(t, NET + 6, OTHER_PORT);
	assert_true(connect_from(t, NET + 7, 0, OTHER_PORT, NULL) != 0);
	answer(t, NET + 7, OTHER_PORT);
	assert_true(connect_from(t, NET + 8, 0, OTHER_PORT, &error) == 0);
	assert_int_equal(error, -EINVAL);
	test_finish(t);
}

static void it_costs_no_memory_and_must_make_sense(void **state)
{
	const struct ipv4_range wrong[] = {
		{STACK_IP - 1, 4},      {PEER_IP, 1}, {0x7e000000u, 1u << 25}, {0xdf000000u, 1u << 25},
		{0xffffff00u, 0xffffu}, {1, 5},       {0x7f000001u, 3}};
	struct test *t = test_begin();
	struct stack_config with = t->config;
	size_t bytes = stack_bytes(&with);

	(void)state;
	assert_true(bytes > 0);
	with.source_net = ipv4_hosts(0x0a800000u, 9);
	assert_int_equal(with.source_net.count, (1u << 23) - 2);
	assert_int_equal(stack_bytes(&with), bytes);
	with.gateway = PEER_IP;
	for (unsigned i = 0; i < ARRAY_COUNT(wrong); i++) {
		with.source_net = wrong[i];
		assert_int_equal(stack_bytes(&with), 0);
	}
	test_start(t);
	test_finish(t);
}

/* A server with peers on very many addresses: behind one router they need one entry. */
static void very_many_peers_behind_one_router(void **state)
{
	const uint32_t peers = 3000;
	struct test *t = test_begin();
	uint32_t before;

	(void)state;
	t->config.gateway = PEER_IP;
	t->config.connections = 4000;
	t->config.destinations = 16;
	t->app.quiet = true;
	test_start(t);
	before = usage(t).destinations;
	for (uint32_t i = 0; i < peers; i++) {
		struct tcp_segment segment = {.seq = 9,
					      .source_port = 1000,
					      .destination_port = SERVER_PORT,
					      .flags = TCP_SYN,
					      .window = 1000};
		struct tcp_segment reply;
		struct ipv4_header ip;

		give_segment(t, NET + 1 + i * 17, STACK_IP, &segment);
		take_segment(t, &ip, &reply);
		assert_int_equal(ip.destination, NET + 1 + i * 17);
		segment = (struct tcp_segment){.seq = 10,
					       .ack = reply.seq + 1,
					       .source_port = 1000,
					       .destination_port = SERVER_PORT,
					       .flags = TCP_ACK,
					       .window = 1000};
		give_segment(t, NET + 1 + i * 17, STACK_IP, &segment);
		discard_events(t);
		t->slot_count = 0;
	}
	assert_int_equal(usage(t).connections, peers);
	assert_true(usage(t).destinations == before);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(connects_from_any_host_of_the_net),      TEST(which_addresses_may_be_asked_for),
	TEST(one_port_serves_several_targets),        TEST(each_address_has_ports_of_its_own),
	TEST(arp_is_answered_for_each_host),          TEST(strays_and_liars),
	TEST(ports_are_those_of_the_worker),          TEST(small_nets),
	TEST(it_costs_no_memory_and_must_make_sense), TEST(very_many_peers_behind_one_router),
};

PACKET_MAIN(tests)
