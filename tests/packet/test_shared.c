/* test_shared.c - beside a kernel: it answers ARP, pings and the ports that are not ours, resolves neighbours
 * and tells of addresses and routes, which change while connections live. */
#include "harness.h"

#include <errno.h>

#include "wire/arp.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"

#define GATEWAY     (STACK_IP + 0xfdu) /* 10.0.0.254 */
#define FAR_AWAY    0x0b000001u
#define OTHER_IP    0x0a000101u /* 10.0.1.1: a second address of ours */
#define CLIENT_PORT 5000

static uint64_t client_ports[65536 / 64];

static int tell(struct test *t, struct stack_message message)
{
	int code = stack_control(t->stack, t->now_us, &message);

	flush(t);
	return code;
}

static void learn(struct test *t, uint32_t ip, bool permanent)
{
	struct stack_message message = {.kind = STACK_LEARN_NEIGHBOUR, .address = ip, .value = permanent};

	mac_of(ip, message.mac.octets);
	assert_int_equal(tell(t, message), 0);
}

static void lose(struct test *t, uint32_t ip, bool silent)
{
	assert_int_equal(
		tell(t, (struct stack_message){.kind = STACK_LOSE_NEIGHBOUR, .address = ip, .value = silent}),
		0);
}

static int route(struct test *t, enum stack_message_kind kind, uint32_t prefix, uint8_t bits,
		 uint32_t gateway)
{
	return tell(t, (struct stack_message){
			       .kind = kind,
			       .route = {.prefix = prefix, .prefix_bits = bits, .gateway = gateway},
			       .value = ROUTE_REPLACE,
		       });
}

static struct test *begin(bool active)
{
	struct test *t = test_begin();

	client_ports[CLIENT_PORT / 64] |= 0xffull << CLIENT_PORT % 64;
	t->config.shared = true;
	t->config.client_ports = client_ports;
	t->no_neighbours = true;
	t->active = active;
	test_start(t);
	assert_int_equal(route(t, STACK_ADD_ROUTE, STACK_IP & 0xffffff00u, 24, 0), 0);
	return t;
}

static struct test *begin_served(void)
{
	struct test *t = begin(false);

	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	inject(t, ". seq 1 ack 1 win 60000");
	expect_event(t, "open");
	return t;
}

static void expect_request_at(struct test *t, int line, uint32_t ip)
{
	struct stack_request request;

	flush(t);
	if (!stack_request(t->stack, &request) || request.kind != STACK_REQUEST_RESOLVE ||
	    request.address != ip)
		_fail(__FILE__, line);
}
#define expect_request(t, ip) expect_request_at((t), __LINE__, (ip))

static void expect_no_request(struct test *t)
{
	struct stack_request request;

	flush(t);
	assert_false(stack_request(t->stack, &request));
}

static void expect_to(struct test *t, uint32_t ip)
{
	const struct out_frame *out = next_out(t);
	uint8_t mac[6];

	mac_of(ip, mac);
	assert_memory_equal(out->data, mac, 6);
}

/* --- what is the kernel's -------------------------------------------------------------- */

static void arp_and_ping_are_the_kernels(void **state)
{
	struct test *t = begin(false);
	uint8_t frame[FRAME_ROOM], mac[6];

	(void)state;
	mac_of(PEER_IP, mac);
	inject_raw(t, frame, build_arp(frame, ARP_REQUEST, PEER_IP, mac, STACK_IP, true));
	expect_nothing(t);
	expect_drop(t, ARP_NOT_OURS);
	inject_raw(t, frame, build_icmp(t, frame, ICMP_ECHO_REQUEST, 0, 1, "12345678", 8));
	expect_nothing(t);
	expect_drop(t, ICMP_UNKNOWN);
	test_finish(t);
}

/* The kernel's SSH would suffer from an answer of ours. */
static void other_ports_are_never_answered_for(void **state)
{
	static const char *const lines[] = {"S seq 0 win 100", ". seq 5 ack 7", "S. seq 0 ack 1",
					    "F. seq 9 ack 9", "R seq 0"};
	struct test *t = begin(false);

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(lines); i++) {
		t->peer->stack_port = 22;
		inject(t, "%s", lines[i]);
		expect_nothing(t);
		expect_drop(t, TCP_NO_LISTENER);
	}
	/* For ours we answer, whether somebody listens or not. */
	t->peer->stack_port = CLIENT_PORT;
	inject(t, "S seq 0 win 100");
	expect(t, "R. seq 0 ack 1");
	expect_drop(t, TCP_NO_LISTENER);
	t->peer->stack_port = SERVER_PORT;
	inject(t, ". seq 5 aack 7");
	expect(t, "R aseq 7");
	expect_drop(t, TCP_NO_FLOW);
	test_finish(t);
}

static void connections_take_our_ports_only(void **state)
{
	struct test *t = begin(true);
	uint16_t seen = 0;
	int error;

	(void)state;
	learn(t, PEER_IP, false);
	app_connect_to(t, PEER_IP, 80, 9000, &error);
	assert_int_equal(error, -EADDRNOTAVAIL);
	for (unsigned i = 0; i < 8; i++) {
		struct c10m_endpoints endpoints;
		unsigned slot = app_connect_to(t, PEER_IP, 80, 0, NULL);

		c10m_conn_endpoints(app_conn(t, slot), &endpoints);
		assert_in_range(endpoints.local_port, CLIENT_PORT, CLIENT_PORT + 7);
		seen |= (uint16_t)(1u << (endpoints.local_port - CLIENT_PORT));
	}
	assert_int_equal(seen, 0xff);
	app_connect_to(t, PEER_IP, 80, 0, &error);
	assert_int_equal(error, -EADDRNOTAVAIL);
	discard_out(t);
	expect_request(t, PEER_IP);
	test_finish(t);
}

/* --- neighbours ---------------------------------------------------------------------------- */

static void the_kernel_is_asked_for_a_neighbour(void **state)
{
	struct test *t = begin(true);

	(void)state;
	app_connect(t, CLIENT_PORT);
	app_connect(t, CLIENT_PORT + 1);
	expect_nothing(t);
	expect_request(t, PEER_IP);
	expect_no_request(t);
	learn(t, PEER_IP + 7, false); /* nobody wants that one */
	assert_int_equal(usage(t).destinations, 1);
	learn(t, PEER_IP, false);
	expect_to(t, PEER_IP);
	expect_to(t, PEER_IP);
	assert_int_equal(counted(t, arp_requests_out), 0);
	test_finish(t);
}

static void a_silent_neighbour_ends_attempts(void **state)
{
	struct test *t = begin(true);

	(void)state;
	app_connect(t, CLIENT_PORT);
	expect_request(t, PEER_IP);
	lose(t, PEER_IP, true);
	expect_event(t, "close unreachable");
	lose(t, PEER_IP, true); /* again: nothing happens */
	/* The kernel says nothing at all: asked again each second, given up in the end. */
	app_connect(t, CLIENT_PORT);
	expect_request(t, PEER_IP);
	lose(t, PEER_IP, false); /* forgotten, not silent: still waited for */
	expect_no_event(t);
	pass_ms(t, 1003);
	expect_request(t, PEER_IP);
	pass_ms(t, 5000);
	expect_event(t, "close unreachable#1");
	assert_int_equal(counted(t, neighbour_timeouts), 2);
	test_finish(t);
}

/* More neighbours than questions fit: the rest is asked a second later, and none is given up for that. */
static void many_questions_are_bounded(void **state)
{
	struct test *t = test_begin();
	struct stack_request request;
	unsigned asked[2] = {0};

	(void)state;
	memset(client_ports, 0xff, sizeof(client_ports));
	t->config.shared = true;
	t->config.client_ports = client_ports;
	t->config.connections = 200;
	t->no_neighbours = true;
	t->active = true;
	test_start(t);
	memset(client_ports, 0, sizeof(client_ports));
	route(t, STACK_ADD_ROUTE, 0x0a000000u, 8, 0);
	for (unsigned round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < 60 && round == 0; i++)
			app_connect_to(t, PEER_IP + 2 * i, 80, 0, NULL);
		for (uint32_t i = 0; i < 40 && round == 0; i++) {
			const struct c10m_connect_request more = {
				.service = 1, .remote_address = 0x0a010001u + i, .remote_port = 80};
			int error;

			assert_true(c10m_connect(stack_worker(t->stack), &more, &error) != 0);
		}
		pass_ms(t, 10000); /* who could not be asked for is not given up */
		while (stack_request(t->stack, &request))
			asked[round]++;
		pass_ms(t, 1003);
	}
	assert_int_equal(asked[0], 64);
	assert_in_range(asked[1], 36, 64);
	assert_int_equal(discard_out(t), 0);
	expect_no_event(t);
	for (uint32_t i = 0; i < 40; i++)
		learn(t, 0x0a010001u + i, false);
	assert_int_equal(discard_out(t), 40);
	test_finish(t);
}

/* The kernel does not see our packets: without a word from us it would forget the neighbour. */
static void neighbours_in_use_are_confirmed(void **state)
{
	struct test *t = begin_served();
	unsigned requests = 0;

	(void)state;
	app_send(t, 0, 10);
	expect_request(t, PEER_IP);
	learn(t, PEER_IP, false);
	expect(t, "P. seq 1 ack 1 len 10");
	inject(t, ". seq 1 ack 11");
	for (unsigned second = 0; second < 120; second++) {
		struct stack_request request;

		pass_ms(t, 1000);
		app_send(t, 0, 10);
		assert_int_equal(discard_out(t), 1);
		inject(t, ". seq 1 ack %u", 21 + 10 * second);
		while (stack_request(t->stack, &request))
			requests++;
	}
	assert_in_range(requests, 6, 9);
	pass_ms(t, 100000); /* not in use: not a word */
	expect_no_request(t);
	test_finish(t);
}

static void a_neighbour_that_moves_or_vanishes(void **state)
{
	struct test *t = begin_served();
	struct stack_message moved = {.kind = STACK_LEARN_NEIGHBOUR, .address = PEER_IP};
	const struct out_frame *out;

	(void)state;
	learn(t, PEER_IP, true);
	app_send(t, 0, 10);
	expect_to(t, PEER_IP);
	expect_no_request(t); /* a permanent one needs no word from us */
	mac_of(PEER_IP + 100, moved.mac.octets);
	assert_int_equal(tell(t, moved), 0);
	inject(t, ". seq 1 ack 11");
	app_send(t, 0, 10);
	out = next_out(t);
	assert_memory_equal(out->data, moved.mac.octets, 6);
	inject(t, ". seq 1 ack 21");
	lose(t, PEER_IP, false);
	app_send(t, 0, 10);
	expect_nothing(t);
	expect_request(t, PEER_IP);
	learn(t, PEER_IP, false);
	expect(t, "P. seq 21 ack 1 len 10");
	moved.mac.octets[0] = 0xff;
	assert_int_equal(tell(t, moved), -EINVAL);
	test_finish(t);
}

static void doubted_neighbours_are_asked_for_again(void **state)
{
	struct test *t = begin_served();

	(void)state;
	app_send(t, 0, 10);
	expect_request(t, PEER_IP);
	learn(t, PEER_IP, false);
	expect(t, "P. seq 1 ack 1 len 10");
	inject(t, ". seq 1 ack 11");
	expect_no_request(t);
	assert_int_equal(tell(t, (struct stack_message){.kind = STACK_DOUBT_NEIGHBOURS}), 0);
	expect_no_request(t);
	app_send(t, 0, 10);
	expect(t, "P. seq 11 ack 1 len 10"); /* without waiting for the answer */
	expect_request(t, PEER_IP);
	test_finish(t);
}

/* --- routes, addresses, the link ------------------------------------------------------------ */

static struct test *begin_far(void)
{
	struct test *t = begin(true);

	route(t, STACK_ADD_ROUTE, 0, 0, GATEWAY);
	t->peer->ip = FAR_AWAY;
	t->peer->via = GATEWAY;
	app_connect(t, CLIENT_PORT);
	expect_request(t, GATEWAY);
	learn(t, GATEWAY, false);
	expect(t, "S mss 1460 sackok ts 0 wscale 0");
	inject(t, "S. seq 0 ack 1 win 60000 mss 1460");
	expect(t, ". seq 1 ack 1");
	expect_event(t, "open");
	return t;
}

static void connections_follow_a_route(void **state)
{
	struct test *t = begin_far();

	(void)state;
	app_send(t, 0, 100);
	expect_to(t, GATEWAY);
	inject(t, ". seq 1 ack 101");
	assert_int_equal(route(t, STACK_ADD_ROUTE, 0, 0, GATEWAY - 1), 0); /* in place of the other */
	app_send(t, 0, 100);
	expect_nothing(t);
	expect_request(t, GATEWAY - 1);
	learn(t, GATEWAY - 1, false);
	expect_to(t, GATEWAY - 1);
	inject(t, ". seq 1 ack 201");
	/* A better one, and away again. */
	route(t, STACK_ADD_ROUTE, FAR_AWAY, 32, GATEWAY);
	app_send(t, 0, 100);
	expect_to(t, GATEWAY);
	inject(t, ". seq 1 ack 301");
	assert_int_equal(route(t, STACK_REMOVE_ROUTE, FAR_AWAY, 32, GATEWAY), 0);
	assert_int_equal(route(t, STACK_REMOVE_ROUTE, FAR_AWAY, 32, GATEWAY), -EINVAL);
	app_send(t, 0, 100);
	expect_to(t, GATEWAY - 1);
	test_finish(t);
}

/* Who waits for the old gateway's link address is not left behind. */
static void who_waits_follows_too(void **state)
{
	struct test *t = begin(true);

	(void)state;
	route(t, STACK_ADD_ROUTE, 0, 0, GATEWAY);
	learn(t, GATEWAY - 1, false);
	app_connect_to(t, FAR_AWAY, 80, 0, NULL);
	expect_request(t, GATEWAY);
	expect_nothing(t);
	route(t, STACK_ADD_ROUTE, 0, 0, GATEWAY - 1);
	expect_request(t, GATEWAY - 1);
	learn(t, GATEWAY - 1, false);
	expect_to(t, GATEWAY - 1);
	lose(t, GATEWAY, true);
	expect_no_event(t);
	test_finish(t);
}

/* A link that goes down takes all routes with it: what lives goes on when it is back. */
static void without_any_route_the_last_way_is_kept(void **state)
{
	struct test *t = begin_far();
	int error;

	(void)state;
	assert_int_equal(tell(t, (struct stack_message){.kind = STACK_RETELL}), 0);
	tell(t, (struct stack_message){.kind = STACK_ADD_ADDRESS, .address = STACK_IP, .prefix_bits = 24});
	assert_int_equal(tell(t, (struct stack_message){.kind = STACK_RETOLD}), 0);
	app_connect_to(t, FAR_AWAY, 81, 0, &error);
	assert_int_equal(error, -ENETUNREACH);
	app_connect_to(t, PEER_IP, 81, 0, &error);
	assert_int_equal(error, -ENETUNREACH);
	app_send(t, 0, 100);
	expect_to(t, GATEWAY);
	route(t, STACK_ADD_ROUTE, STACK_IP & 0xffffff00u, 24, 0);
	route(t, STACK_ADD_ROUTE, 0, 0, GATEWAY);
	inject(t, ". seq 1 ack 101");
	app_send(t, 0, 100);
	expect_to(t, GATEWAY);
	test_finish(t);
}

static void a_closed_route_refuses(void **state)
{
	struct test *t = begin(true);
	int error;

	(void)state;
	route(t, STACK_ADD_ROUTE, 0, 0, GATEWAY);
	tell(t, (struct stack_message){
			.kind = STACK_ADD_ROUTE,
			.route = {.prefix = FAR_AWAY & 0xff000000u, .prefix_bits = 8, .closed = true},
		});
	app_connect_to(t, FAR_AWAY, 80, 0, &error);
	assert_int_equal(error, -ENETUNREACH);
	test_finish(t);
}

static void the_mtu_of_a_route(void **state)
{
	struct test *t = begin(true);

	(void)state;
	tell(t, (struct stack_message){.kind = STACK_ADD_ROUTE, .route = {.gateway = GATEWAY, .mtu = 1000}});
	t->peer->ip = FAR_AWAY;
	t->peer->via = GATEWAY;
	app_connect(t, CLIENT_PORT);
	learn(t, GATEWAY, false);
	expect(t, "S mss 1460 sackok ts 0 wscale 0");
	inject(t, "S. seq 0 ack 1 win 60000 mss 1460");
	expect(t, ". seq 1 ack 1");
	expect_event(t, "open");
	app_send(t, 0, 2000);
	expect(t, ". seq 1 ack 1 len 960");
	discard_out(t);
	expect_request(t, GATEWAY);
	test_finish(t);
}

static void the_mtu_of_the_link_changes(void **state)
{
	struct test *t = begin_far();
	struct stack_message link = {.kind = STACK_SET_LINK, .value = 1000};

	(void)state;
	mac_of(STACK_IP, link.mac.octets);
	app_send(t, 0, 2920);
	expect(t, ". seq 1 ack 1 len 1460");
	expect(t, "P. seq 1461 ack 1 len 1460");
	assert_int_equal(tell(t, link), 0);
	expect(t, ". seq 1 ack 1 len 960"); /* what does not fit any more goes again */
	discard_out(t);
	inject(t, ". seq 1 ack 2921");
	link.value = 1500;
	link.mac.octets[5] ^= 1;
	memcpy(t->config.mac.octets, link.mac.octets, 6);
	assert_int_equal(tell(t, link), 0);
	app_send(t, 0, 960);
	expect(t, "P. seq 2921 ack 1 len 960");
	mac_of(STACK_IP, link.mac.octets);
	memcpy(t->config.mac.octets, link.mac.octets, 6);
	assert_int_equal(tell(t, link), 0);
	link.value = 100;
	assert_int_equal(tell(t, link), -EINVAL);
	use_peer(t, 1);
	t->peer->ip = FAR_AWAY;
	inject(t, "S seq 0 win 1000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460"); /* new ones have all of it */
	test_finish(t);
}

/* A frame of the harness, made for another address of ours. */
static void inject_for(struct test *t, uint32_t ip, const char *line)
{
	uint8_t frame[FRAME_ROOM];
	uint32_t bytes = build(t, frame, "%s", line);

	put32(frame + ETH_HEADER_BYTES + 16, ip);
	fix_checksums(frame, bytes);
	inject_raw(t, frame, bytes);
}

static void addresses_come_and_go(void **state)
{
	struct test *t = begin(false);
	struct stack_message message = {.kind = STACK_ADD_ADDRESS, .address = OTHER_IP, .prefix_bits = 24};
	const struct out_frame *out;

	(void)state;
	inject_for(t, OTHER_IP, "S seq 0 win 1000 mss 1460");
	expect_drop(t, IP_NOT_OURS);
	assert_int_equal(tell(t, message), 0);
	inject_for(t, OTHER_IP, "S seq 0 win 1000 mss 1460");
	out = next_out(t);
	assert_int_equal(get32(out->data + ETH_HEADER_BYTES + 12), OTHER_IP);
	assert_int_equal(get32(out->data + ETH_HEADER_BYTES + 16), PEER_IP);
	inject(t, "S seq 0 win 1000 mss 1460"); /* the same ports, at the first address: another connection */
	expect(t, "S. seq 0 ack 1 mss 1460");
	assert_int_equal(usage(t).half_open, 2);
	message.kind = STACK_REMOVE_ADDRESS;
	assert_int_equal(tell(t, message), 0);
	assert_int_equal(tell(t, message), -EINVAL);
	inject_for(t, OTHER_IP, "S seq 0 win 1000 mss 1460");
	expect_drop(t, IP_NOT_OURS);
	message = (struct stack_message){.kind = STACK_REMOVE_ADDRESS, .address = STACK_IP};
	assert_int_equal(tell(t, message), 0); /* the last one */
	inject_for(t, STACK_IP, ". seq 1 ack 1");
	inject_for(t, 0, ". seq 1 ack 1");
	expect_drops(t, IP_NOT_OURS);
	discard_out(t);
	test_finish(t);
}

static void an_address_that_returns_finds_its_connections(void **state)
{
	struct test *t = begin_served();
	struct stack_message message = {.kind = STACK_REMOVE_ADDRESS, .address = STACK_IP, .prefix_bits = 24};
	int error;

	(void)state;
	learn(t, PEER_IP, false);
	tell(t, message);
	inject(t, "P. seq 1 ack 1 len 100");
	expect_drop(t, IP_NOT_OURS);
	app_connect_to(t, PEER_IP, 80, 0, &error);
	assert_int_equal(error, -EADDRNOTAVAIL);
	message.kind = STACK_ADD_ADDRESS;
	tell(t, message);
	inject(t, "P. seq 1 ack 1 len 100");
	expect_event(t, "data 100");
	expect_after(t, 40, ". seq 1 ack 101");
	test_finish(t);
}

static void messages_that_make_no_sense(void **state)
{
	struct test *t = begin(false);
	struct stack_message message = {.kind = STACK_ADD_ADDRESS, .address = 0x7f000001u};

	(void)state;
	assert_int_equal(tell(t, message), -EINVAL);
	message.address = OTHER_IP;
	message.prefix_bits = 33;
	assert_int_equal(tell(t, message), -EINVAL);
	message.prefix_bits = 24;
	for (uint32_t i = 0; i < ROUTES_ADDRESSES - 1; i++, message.address++)
		assert_int_equal(tell(t, message), 0);
	assert_int_equal(tell(t, message), -ENOSPC);
	for (uint32_t i = 1; i < ROUTES_MAX; i++)
		assert_int_equal(route(t, STACK_ADD_ROUTE, i << 16, 16, GATEWAY), 0);
	assert_int_equal(route(t, STACK_ADD_ROUTE, 0x70000000u, 16, GATEWAY), -ENOSPC);
	assert_int_equal(route(t, STACK_ADD_ROUTE, 1, 16, GATEWAY), -EINVAL);
	message = (struct stack_message){.kind = STACK_LEARN_NEIGHBOUR, .address = 0xe0000001u};
	assert_int_equal(tell(t, message), -EINVAL);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(arp_and_ping_are_the_kernels),
	TEST(other_ports_are_never_answered_for),
	TEST(connections_take_our_ports_only),
	TEST(the_kernel_is_asked_for_a_neighbour),
	TEST(a_silent_neighbour_ends_attempts),
	TEST(many_questions_are_bounded),
	TEST(neighbours_in_use_are_confirmed),
	TEST(a_neighbour_that_moves_or_vanishes),
	TEST(doubted_neighbours_are_asked_for_again),
	TEST(connections_follow_a_route),
	TEST(who_waits_follows_too),
	TEST(without_any_route_the_last_way_is_kept),
	TEST(a_closed_route_refuses),
	TEST(the_mtu_of_a_route),
	TEST(the_mtu_of_the_link_changes),
	TEST(addresses_come_and_go),
	TEST(an_address_that_returns_finds_its_connections),
	TEST(messages_that_make_no_sense),
};

PACKET_MAIN(tests)
