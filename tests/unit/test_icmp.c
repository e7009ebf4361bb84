/* test_icmp.c - ICMP messages, and the packets that errors quote. */
#include "wire_test.h"

#include "wire/icmp.h"
#include "wire/ipv4.h"

static void known_echo(void **state)
{
	/* id 1, sequence 9, body "abcd" */
	static const uint8_t bytes[] = {8, 0, 0x33, 0x2f, 0, 1, 0, 9, 'a', 'b', 'c', 'd'};
	struct icmp_message message;
	uint8_t again[sizeof(bytes)];

	(void)state;
	assert_int_equal(icmp_parse(bytes, sizeof(bytes), &message), DROP_NONE);
	assert_int_equal(message.type, ICMP_ECHO_REQUEST);
	assert_int_equal(message.code, 0);
	assert_int_equal(message.rest, 0x00010009);
	assert_int_equal(message.body_bytes, 4);
	assert_ptr_equal(message.body, bytes + 8);
	assert_int_equal(icmp_emit(again, 8, 0, message.rest, message.body, 4), sizeof(bytes));
	assert_memory_equal(again, bytes, sizeof(bytes));
}

static void every_truncation(void **state)
{
	struct guarded guarded = guarded_make();
	struct icmp_message message;
	uint8_t packet[64], body[56];
	uint32_t bytes;

	(void)state;
	test_random_bytes(body, sizeof(body));
	bytes = icmp_emit(packet, ICMP_ECHO_REPLY, 0, 5, body, sizeof(body));
	assert_int_equal(bytes, 64);
	for (uint32_t cut = 0; cut < bytes; cut++)
		assert_int_equal(icmp_parse(guarded_put(guarded, packet, cut), cut, &message),
				 cut < ICMP_HEADER_BYTES ? DROP_ICMP_MALFORMED : DROP_ICMP_CHECKSUM);
	assert_int_equal(icmp_parse(guarded_put(guarded, packet, bytes), bytes, &message), DROP_NONE);
	guarded_free(guarded);
}

static void wrong_checksums(void **state)
{
	struct icmp_message message;
	uint8_t packet[31], body[23];

	(void)state;
	test_random_bytes(body, sizeof(body));
	icmp_emit(packet, ICMP_ECHO_REQUEST, 0, 5, body, sizeof(body));
	for (unsigned bit = 0; bit < sizeof(packet) * 8; bit++) {
		packet[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(icmp_parse(packet, sizeof(packet), &message), DROP_ICMP_CHECKSUM);
		packet[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void round_trip(void **state)
{
	struct guarded from = guarded_make(), to = guarded_make();

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		uint32_t body_bytes = round < 100 ? round : test_random_below(1473);
		uint8_t *body = from.end - body_bytes, *at = to.end - body_bytes - ICMP_HEADER_BYTES;
		uint8_t type = (uint8_t)test_random(), code = (uint8_t)test_random();
		uint32_t rest = (uint32_t)test_random();
		struct icmp_message message;

		test_random_bytes(body, MIN_OF(body_bytes, 64));
		assert_int_equal(icmp_emit(at, type, code, rest, body, body_bytes),
				 ICMP_HEADER_BYTES + body_bytes);
		assert_int_equal(naive_checksum(at, ICMP_HEADER_BYTES + body_bytes), 0);
		assert_int_equal(icmp_parse(at, ICMP_HEADER_BYTES + body_bytes, &message), DROP_NONE);
		assert_int_equal(message.type, type);
		assert_int_equal(message.code, code);
		assert_int_equal(message.rest, rest);
		assert_int_equal(message.body_bytes, body_bytes);
		assert_memory_equal(message.body, body, body_bytes);
	}
	guarded_free(from);
	guarded_free(to);
}

static void no_body(void **state)
{
	uint8_t packet[ICMP_HEADER_BYTES];
	struct icmp_message message;

	(void)state;
	assert_int_equal(icmp_emit(packet, ICMP_ECHO_REPLY, 0, 1, NULL, 0), ICMP_HEADER_BYTES);
	assert_int_equal(icmp_parse(packet, sizeof(packet), &message), DROP_NONE);
	assert_int_equal(message.body_bytes, 0);
}

static void error_types(void **state)
{
	(void)state;
	for (unsigned type = 0; type < 256; type++)
		assert_int_equal(icmp_is_error((uint8_t)type),
				 type == 3 || type == 4 || type == 5 || type == 11 || type == 12);
}

/* What a router quotes of a segment of ours: `header_bytes` of IP, 8 bytes of TCP. */
static void quoted_packet(uint8_t *at, uint8_t header_bytes)
{
	const struct ipv4_header ip = {
		.source = 0x0a000001,
		.destination = 0x0a000002,
		.total_bytes = 1500,
		.flags = IPV4_DF,
		.ttl = 1,
		.protocol = IP_PROTOCOL_TCP,
	};

	memset(at, 1, header_bytes);
	ipv4_emit(at, &ip);
	at[0] = (uint8_t)(0x40 | header_bytes / 4);
	put16(at + header_bytes, 80);
	put16(at + header_bytes + 2, 5000);
	put32(at + header_bytes + 4, 0xfffffffe);
}

static struct icmp_message error_about(const uint8_t *body, uint32_t bytes, uint32_t rest)
{
	return (struct icmp_message){
		.type = ICMP_UNREACHABLE,
		.code = ICMP_CODE_FRAGMENTATION_NEEDED,
		.rest = rest,
		.body = body,
		.body_bytes = bytes,
	};
}

/* proves RFC1122-ICMP-03 */
static void quotes_of_every_length(void **state)
{
	struct guarded guarded = guarded_make();

	(void)state;
	for (uint8_t header_bytes = 20; header_bytes <= 60; header_bytes = (uint8_t)(header_bytes + 4)) {
		for (uint32_t bytes = 0; bytes <= header_bytes + 8u; bytes++) {
			uint8_t packet[68];
			struct icmp_message message;
			struct icmp_quote quote;
			bool whole = bytes == header_bytes + 8u;

			quoted_packet(packet, header_bytes);
			message = error_about(guarded_put(guarded, packet, bytes), bytes, 0);
			assert_int_equal(icmp_parse_quote(&message, &quote),
					 whole ? DROP_NONE : DROP_ICMP_MALFORMED);
			if (!whole)
				continue;
			assert_int_equal(quote.source, 0x0a000001);
			assert_int_equal(quote.destination, 0x0a000002);
			assert_int_equal(quote.protocol, IP_PROTOCOL_TCP);
			assert_int_equal(quote.source_port, 80);
			assert_int_equal(quote.destination_port, 5000);
			assert_int_equal(quote.seq, 0xfffffffe);
			assert_int_equal(quote.total_bytes, 1500);
			assert_int_equal(quote.header_bytes, header_bytes);
		}
	}
	guarded_free(guarded);
}

static void malformed_quotes(void **state)
{
	uint8_t packet[68];
	struct icmp_message message;
	struct icmp_quote quote;

	(void)state;
	for (unsigned first = 0; first < 256; first++) { /* version and header length */
		bool right = first >> 4 == 4 && (first & 15) >= 5;

		quoted_packet(packet, 20);
		packet[0] = (uint8_t)first;
		message = error_about(packet, sizeof(packet), 0);
		assert_int_equal(icmp_parse_quote(&message, &quote), right ? DROP_NONE : DROP_ICMP_MALFORMED);
	}
	quoted_packet(packet, 20);
	message = error_about(packet, 28, 0);
	put16(packet + 6, 1); /* the second part of a datagram */
	assert_int_equal(icmp_parse_quote(&message, &quote), DROP_ICMP_MALFORMED);
	put16(packet + 6, IPV4_MF);
	assert_int_equal(icmp_parse_quote(&message, &quote), DROP_NONE);
	for (unsigned type = 0; type < 256; type++) {
		message.type = (uint8_t)type;
		assert_int_equal(icmp_parse_quote(&message, &quote),
				 icmp_is_error((uint8_t)type) ? DROP_NONE : DROP_ICMP_MALFORMED);
	}
}

/* proves RFC1191-01 */
static void next_mtu(void **state)
{
	static const struct {
		uint32_t rest;
		uint16_t total_bytes;
		uint32_t mtu;
	} cases[] = {
		{1400, 1500, 1400}, {0xffff0000u | 1280, 1500, 1280}, /* the upper half is unused */
		{67, 1500, 68},     {1, 1500, 68},
		{0, 65535, 32000},  {0, 32001, 32000},
		{0, 32000, 17914},  {0, 1501, 1492},
		{0, 1500, 1492},    {0, 1492, 1006},
		{0, 1006, 508},     {0, 508, 296},
		{0, 296, 68},       {0, 68, 68},
		{0, 0, 68},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct icmp_message message = error_about(NULL, 0, cases[i].rest);
		struct icmp_quote quote = {.total_bytes = cases[i].total_bytes, .header_bytes = 20};

		assert_int_equal(icmp_next_mtu(&message, &quote), cases[i].mtu);
	}
}

static void hostile_bytes(void **state)
{
	struct guarded guarded = guarded_make();
	unsigned seen[DROP_COUNT] = {0}, quotes = 0;

	(void)state;
	for (unsigned round = 0; round < 2000000; round++) {
		size_t bytes = test_random_below(80);
		uint8_t *at = guarded.end - bytes;
		struct icmp_message message;
		struct icmp_quote quote;
		enum drop_reason reason;

		test_random_bytes(at, bytes);
		if (bytes > 8 && round % 8) {
			at[0] = (uint8_t)(at[0] % 13);
			at[8] = (uint8_t)(0x40 | at[8] >> 4);
			if (bytes > 16 && round % 2)
				put16(at + 14, 0);
			put16(at + 2, 0);
			put16(at + 2, naive_checksum(at, bytes));
		}
		reason = icmp_parse(at, bytes, &message);
		seen[reason]++;
		if (reason == DROP_NONE && icmp_parse_quote(&message, &quote) == DROP_NONE) {
			quotes++;
			assert_true(icmp_next_mtu(&message, &quote) >= 68);
		}
	}
	assert_true(seen[DROP_NONE] > 0 && seen[DROP_ICMP_MALFORMED] > 0 && seen[DROP_ICMP_CHECKSUM] > 0);
	assert_true(quotes > 0);
	guarded_free(guarded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_echo),
		cmocka_unit_test(every_truncation),
		cmocka_unit_test(wrong_checksums),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(no_body),
		cmocka_unit_test(error_types),
		cmocka_unit_test(quotes_of_every_length),
		cmocka_unit_test(malformed_quotes),
		cmocka_unit_test(next_mtu),
		cmocka_unit_test(hostile_bytes),
	};

	return cmocka_run_group_tests_name("icmp", tests, NULL, NULL);
}
