/* test_icmp_errors.c - ICMP errors that are sent, and those that must not be (RFC 1122 section 3.2.2, RFC
 * 1812 section 4.3.2); options of IPv4 headers. */
#include "harness.h"

#include <string.h>

#include "wire/icmp.h"

#define IP_AT   ETH_HEADER_BYTES
#define BODY_AT (ETH_HEADER_BYTES + IPV4_HEADER_BYTES)
#define LSRR    0x83
#define SSRR    0x89

struct made {
	uint8_t frame[FRAME_ROOM];
	uint32_t bytes;
};

static struct made frame_of(struct test *t, uint8_t protocol, const void *body, uint32_t bytes)
{
	struct made made;
	uint8_t *ip = made.frame + IP_AT;

	build(t, made.frame, "P. seq 1 ack 1 len 100"); /* for its link header */
	t->peer->snd_nxt = 1;
	memcpy(made.frame + BODY_AT, body, bytes);
	put16(ip + 2, (uint16_t)(IPV4_HEADER_BYTES + bytes));
	ip[9] = protocol;
	made.bytes = BODY_AT + bytes;
	return made;
}

static void send_frame(struct test *t, struct made *made)
{
	uint8_t protocol = made->frame[IP_AT + 9];
	uint8_t *ip = made->frame + IP_AT;
	uint16_t sum;

	if (protocol == IP_PROTOCOL_TCP) {
		fix_checksums(made->frame, made->bytes);
	} else {
		put16(ip + 10, 0);
		sum = csum_finish(csum_add(0, ip, (ip[0] & 15u) * 4));
		memcpy(ip + 10, &sum, sizeof(sum));
	}
	inject_raw(t, made->frame, made->bytes);
}

/* An error of this kind comes out, and quotes the frame as it was sent. */
static void expect_error(struct test *t, const struct made *made, uint8_t type, uint8_t code)
{
	const struct out_frame *out = next_out(t);
	const uint8_t *icmp = out->data + BODY_AT;
	uint32_t quoted = out->bytes - BODY_AT - ICMP_HEADER_BYTES;

	assert_int_equal(out->data[IP_AT + 9], IP_PROTOCOL_ICMP);
	assert_int_equal(get32(out->data + IP_AT + 12), STACK_IP);
	assert_int_equal(get32(out->data + IP_AT + 16), PEER_IP);
	assert_memory_equal(out->data, made->frame + 6, 6);
	assert_int_equal(icmp[0], type);
	assert_int_equal(icmp[1], code);
	assert_int_equal(csum_finish(csum_add(0, icmp, out->bytes - BODY_AT)), 0);
	assert_true(quoted >= (made->frame[IP_AT] & 15u) * 4 + 8 || quoted == made->bytes - IP_AT);
	assert_memory_equal(icmp + ICMP_HEADER_BYTES, made->frame + IP_AT, quoted);
}

static struct made udp(struct test *t, const char *payload)
{
	uint8_t body[200];
	uint32_t bytes = 8 + (uint32_t)strlen(payload);
	uint16_t sum;

	put16(body, 5353);
	put16(body + 2, 33434);
	put16(body + 4, (uint16_t)bytes);
	put16(body + 6, 0);
	memcpy(body + 8, payload, bytes - 8);
	sum = csum_finish(csum_add(csum_pseudo4(PEER_IP, STACK_IP, IP_PROTOCOL_UDP, bytes), body, bytes));
	memcpy(body + 6, &sum, sizeof(sum));
	return frame_of(t, IP_PROTOCOL_UDP, body, bytes);
}

/* proves RFC1122-ICMP-02 */
static void a_closed_port_of_udp(void **state)
{
	struct test *t = begin_open();
	struct made made = udp(t, "traceroute asks so");

	(void)state;
	send_frame(t, &made);
	expect_drop(t, IP_PROTOCOL);
	expect_error(t, &made, ICMP_UNREACHABLE, ICMP_CODE_PORT_UNREACHABLE);
	put16(made.frame + BODY_AT + 6, 0); /* no checksum: it may be so */
	send_frame(t, &made);
	expect_drop(t, IP_PROTOCOL);
	expect_error(t, &made, ICMP_UNREACHABLE, ICMP_CODE_PORT_UNREACHABLE);
	put16(made.frame + BODY_AT + 6, 0x1234); /* damaged: who sent it is not known */
	send_frame(t, &made);
	expect_drop(t, IP_PROTOCOL);
	expect_nothing(t);
	put16(made.frame + BODY_AT + 4, 7); /* shorter than its header */
	send_frame(t, &made);
	expect_drop(t, IP_PROTOCOL);
	expect_nothing(t);
	test_finish(t);
}

static void a_protocol_that_nobody_speaks(void **state)
{
	struct test *t = begin_open();
	struct made made = frame_of(t, 132, "sctp would be here", 18);

	(void)state;
	mark(t);
	send_frame(t, &made);
	expect_drop(t, IP_PROTOCOL);
	expect_error(t, &made, ICMP_UNREACHABLE, ICMP_CODE_PROTOCOL_UNREACHABLE);
	assert_int_equal(counted(t, icmp_errors_out), 1);
	test_finish(t);
}

/* RFC 1122 section 3.2.2: the cases in which nothing may be said.
 * proves RFC1122-ICMP-04 */
static void silence(void **state)
{
	struct test *t = begin_open();
	struct made good = frame_of(t, 132, "0123456789abcdef", 16), made;
	uint8_t error[ICMP_HEADER_BYTES + 28] = {ICMP_UNREACHABLE, 1};

	(void)state;
	for (unsigned i = 1; i < DROP_COUNT; i++)
		ignore_drops(t, (enum drop_reason)i);
	made = good;
	put16(made.frame + IP_AT + 6, 0x0002); /* a later fragment */
	send_frame(t, &made);
	made = good;
	memset(made.frame, 0xff, 6); /* to all on the link */
	send_frame(t, &made);
	made = good;
	put32(made.frame + IP_AT + 16, 0x0a0000ff); /* to all of the net */
	send_frame(t, &made);
	made = good;
	put32(made.frame + IP_AT + 16, 0xe0000001); /* multicast */
	send_frame(t, &made);
	for (unsigned i = 0; i < 6; i++) {
		static const uint32_t sources[] = {0,          0x7f000001, 0xe0000001,
						   0xffffffff, 0x0a0000ff, STACK_IP};

		made = good;
		put32(made.frame + IP_AT + 12, sources[i]);
		send_frame(t, &made);
	}
	made = frame_of(t, IP_PROTOCOL_ICMP, error,
			sizeof(error)); /* an error, with options that are wrong */
	made.frame[IP_AT] = 0x46;
	made.frame[IP_AT + 20] = 7;
	made.frame[IP_AT + 21] = 0;
	made.frame[IP_AT + 24] = ICMP_UNREACHABLE;
	send_frame(t, &made);
	expect_nothing(t);
	assert_int_equal(stack_counters(t->stack)->icmp_errors_out, 0);
	send_frame(t, &good);
	expect_error(t, &good, ICMP_UNREACHABLE, ICMP_CODE_PROTOCOL_UNREACHABLE);
	test_finish(t);
}

/* The first fragment may be answered, the later ones are not. */
static void fragments_of_what_nobody_speaks(void **state)
{
	struct test *t = begin_open();
	struct made made = udp(t, "fragments");

	(void)state;
	put16(made.frame + IP_AT + 6, IPV4_MF);
	send_frame(t, &made);
	expect_drop(t, IP_PROTOCOL);
	expect_error(t, &made, ICMP_UNREACHABLE, ICMP_CODE_PORT_UNREACHABLE);
	put16(made.frame + IP_AT + 6, 3);
	send_frame(t, &made);
	expect_drop(t, IP_PROTOCOL);
	expect_nothing(t);
	test_finish(t);
}

/* Not more than some thousand a second, and resets are not kept from going out. */
static void errors_are_limited_in_rate(void **state)
{
	struct test *t = begin_open();
	struct made made = udp(t, "flood");
	unsigned count = 0;

	(void)state;
	ignore_drops(t, DROP_IP_PROTOCOL);
	ignore_drops(t, DROP_ICMP_RATE);
	ignore_drops(t, DROP_TCP_NO_FLOW);
	ignore_drops(t, DROP_TCP_NO_LISTENER);
	for (unsigned ms = 0; ms < 10000; ms++) {
		for (unsigned i = 0; i < 5; i++)
			send_frame(t, &made);
		pass_ms(t, 1);
		count += discard_out(t);
	}
	assert_in_range(count, 6000, 14000);
	assert_true(stack_counters(t->stack)->drops[DROP_ICMP_RATE] > 30000);
	use_peer(t, 1);
	inject(t, ". seq 5 ack 7");
	assert_int_equal(discard_out(t), 1);
	use_peer(t, 0);
	test_finish(t);
}

/* --- options of headers -------------------------------------------------------------------------- */

/* A segment whose IPv4 header has these options, of 4 * words bytes. */
static struct made with_options(struct test *t, const uint8_t *options, uint32_t words)
{
	struct made made;
	uint32_t bytes = build(t, made.frame, "P. ack 1 len 10");

	memmove(made.frame + BODY_AT + 4 * words, made.frame + BODY_AT, bytes - BODY_AT);
	memcpy(made.frame + BODY_AT, options, (size_t)4 * words);
	made.frame[IP_AT] = (uint8_t)(0x45 + words);
	made.bytes = bytes + 4 * words;
	put16(made.frame + IP_AT + 2, (uint16_t)(made.bytes - IP_AT));
	return made;
}

/* What is not understood is passed over (RFC 9293 MUST-50).
 * proves RFC9293-MUST-50, RFC1122-IP-11 */
static void options_are_passed_over(void **state)
{
	static const uint8_t options[][8] = {
		{1, 1, 1, 1, 1, 1, 1, 0},       /* NOP */
		{0, 0xff, 1, 2, 3, 4, 5, 6},    /* the end, and rubbish behind it */
		{7, 8, 4, 0, 0, 0, 0, 0},       /* record route */
		{68, 8, 5, 0, 0, 0, 0, 0},      /* timestamps */
		{0x88, 4, 1, 2, 0x94, 4, 0, 0}, /* stream id, router alert */
		{99, 8, 1, 2, 3, 4, 5, 6},      /* never heard of */
	};
	struct test *t = begin_open();

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(options); i++) {
		struct made made = with_options(t, options[i], 2);

		send_frame(t, &made);
		expect_event(t, "data 10");
		pass_ms(t, 50);
		expect(t, ". seq 1 ack %u", 11 + 10 * i);
	}
	test_finish(t);
}

static void options_that_are_wrong(void **state)
{
	static const struct {
		uint8_t options[8], pointer;
	} cases[] = {
		{{7, 0, 4, 0, 0, 0, 0, 0}, 21}, /* a length that would never end */
		{{7, 1, 4, 0, 0, 0, 0, 0}, 21},    {{7, 9, 4, 0, 0, 0, 0, 0}, 21}, /* beyond the header */
		{{1, 1, 1, 1, 1, 1, 1, 99}, 28},                                   /* no length at all */
		{{1, 68, 200, 0, 0, 0, 0, 0}, 22},
	};
	struct test *t = begin_open();

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
		struct made made = with_options(t, cases[i].options, 2);

		t->peer->snd_nxt = 1;
		send_frame(t, &made);
		expect_drop(t, IP_OPTIONS);
		assert_int_equal(t->out[t->out_first].data[BODY_AT + 4], cases[i].pointer);
		expect_error(t, &made, ICMP_PARAMETER_PROBLEM, 0);
	}
	test_finish(t);
}

/* Nothing is forwarded, and no answer goes along a way that the sender has laid (RFC 7126 section 4.3). */
static void source_routes(void **state)
{
	static const uint8_t loose[8] = {LSRR, 7, 4, 10, 0, 0, 9, 0},
			     strict[8] = {SSRR, 7, 4, 10, 0, 0, 9, 0}, done[8] = {LSRR, 7, 8, 10, 0, 0, 9, 0};
	struct test *t = begin_open();
	struct made made = with_options(t, loose, 2);

	(void)state;
	t->peer->snd_nxt = 1;
	send_frame(t, &made);
	expect_drop(t, IP_SOURCE_ROUTE);
	expect_error(t, &made, ICMP_UNREACHABLE, ICMP_CODE_SOURCE_ROUTE_FAILED);
	made = with_options(t, strict, 2);
	t->peer->snd_nxt = 1;
	send_frame(t, &made);
	expect_drop(t, IP_SOURCE_ROUTE);
	expect_error(t, &made, ICMP_UNREACHABLE, ICMP_CODE_SOURCE_ROUTE_FAILED);
	made = with_options(t, done, 2);
	t->peer->snd_nxt = 1;
	send_frame(t, &made);
	expect_drop(t, IP_SOURCE_ROUTE);
	expect_nothing(t);
	test_finish(t);
}

/* A datagram is not dropped because its time to live is at its end: we are no router (MUST of 3.2.1.7).
 * proves RFC1122-IP-09 */
static void time_to_live_of_what_comes_in(void **state)
{
	struct test *t = begin_open();

	(void)state;
	for (unsigned ttl = 0; ttl < 2; ttl++) {
		struct made made;

		made.bytes = build(t, made.frame, "P. ack 1 len 10");
		made.frame[IP_AT + 8] = (uint8_t)ttl;
		send_frame(t, &made);
		expect_event(t, "data 10");
		pass_ms(t, 50);
		discard_out(t);
	}
	test_finish(t);
}

static void expect_mark(struct test *t, uint8_t ttl, uint8_t dscp)
{
	const struct out_frame *out = next_out(t);

	assert_int_equal(out->data[IP_AT + 8], ttl);
	assert_int_equal(out->data[IP_AT + 1] >> 2, dscp);
	assert_int_equal(csum_finish(csum_add(0, out->data + IP_AT, IPV4_HEADER_BYTES)), 0);
}

/* A service says how far its packets go and what class they are of: all of them, the answer to a SYN
 * included. proves RFC9293-MUST-48, RFC9293-MUST-49, RFC9293-SHLD-22, RFC1122-IP-08, RFC1122-IP-10 */
static void packets_are_marked_as_the_service_says(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->services[0].ttl = 7;
	t->services[0].dscp = 46;
	test_start(t);
	inject(t, "S seq 0 win 60000 mss 1460");
	t->peer->irs_known = true;
	t->peer->irs = get32(t->out[t->out_first].data + BODY_AT + 4);
	expect_mark(t, 7, 46);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	app_send(t, 0, 100);
	expect_mark(t, 7, 46);
	inject(t, "P. seq 1 ack 101 len 10");
	expect_event(t, "data 10");
	app_close(t, 0);
	expect_mark(t, 7, 46);
	discard_events(t);
	use_peer(t, 1);
	inject(t, ". seq 5 ack 7"); /* of no connection: a reset of the same port */
	expect_drop(t, TCP_NO_FLOW);
	expect_mark(t, 7, 46);
	use_peer(t, 0);
	pass_ms(t, 300000);
	discard_out(t);
	discard_events(t);
	test_finish(t);
}

static void packets_are_plain_by_default(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->services[0].dscp = 64; /* there is no such class */
	test_start(t);
	open_server(t);
	app_send(t, 0, 100);
	expect_mark(t, 64, 0);
	pass_ms(t, 1);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(a_closed_port_of_udp),
	TEST(a_protocol_that_nobody_speaks),
	TEST(silence),
	TEST(fragments_of_what_nobody_speaks),
	TEST(errors_are_limited_in_rate),
	TEST(options_are_passed_over),
	TEST(options_that_are_wrong),
	TEST(source_routes),
	TEST(time_to_live_of_what_comes_in),
	TEST(packets_are_marked_as_the_service_says),
	TEST(packets_are_plain_by_default),
};

PACKET_MAIN(tests)
