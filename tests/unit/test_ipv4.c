/* test_ipv4.c - IPv4 headers and addresses as text. */
#include "wire_test.h"

#include "wire/ipv4.h"

static const struct ipv4_header usual = {
	.source = 0x0a000002,
	.destination = 0x0a000001,
	.total_bytes = 60,
	.id = 0x1234,
	.flags = IPV4_DF,
	.header_bytes = 20,
	.ttl = 64,
	.protocol = IP_PROTOCOL_TCP,
};

/* Puts the right checksum into a header of any length. */
static void seal(uint8_t *at)
{
	put16(at + 10, 0);
	put16(at + 10, naive_checksum(at, (at[0] & 15u) * 4));
}

static void assert_same(const struct ipv4_header *a, const struct ipv4_header *b)
{
	assert_int_equal(a->source, b->source);
	assert_int_equal(a->destination, b->destination);
	assert_int_equal(a->total_bytes, b->total_bytes);
	assert_int_equal(a->id, b->id);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->fragment_offset, b->fragment_offset);
	assert_int_equal(a->tos, b->tos);
	assert_int_equal(a->ttl, b->ttl);
	assert_int_equal(a->protocol, b->protocol);
}

static void known_header(void **state)
{
	static const uint8_t bytes[] = {0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
					0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};
	uint8_t packet[0x73] = {0}, again[IPV4_HEADER_BYTES];
	struct ipv4_header header;

	(void)state;
	memcpy(packet, bytes, sizeof(bytes));
	assert_int_equal(ipv4_parse(packet, sizeof(packet), &header), DROP_NONE);
	assert_int_equal(header.source, 0xc0a80001);
	assert_int_equal(header.destination, 0xc0a800c7);
	assert_int_equal(header.protocol, IP_PROTOCOL_UDP);
	assert_int_equal(header.total_bytes, 0x73);
	assert_int_equal(header.header_bytes, 20);
	assert_int_equal(header.flags, IPV4_DF);
	assert_int_equal(header.fragment_offset, 0);
	ipv4_emit(again, &header);
	assert_memory_equal(again, bytes, sizeof(bytes));
}

static void every_truncation(void **state)
{
	struct guarded guarded = guarded_make();
	uint8_t packet[60] = {0};
	struct ipv4_header header;

	(void)state;
	ipv4_emit(packet, &usual);
	for (size_t bytes = 0; bytes < 60; bytes++)
		assert_int_equal(ipv4_parse(guarded_put(guarded, packet, bytes), bytes, &header),
				 bytes < 20 ? DROP_IP_SHORT : DROP_IP_TOTAL_LENGTH);
	assert_int_equal(ipv4_parse(guarded_put(guarded, packet, 60), 60, &header), DROP_NONE);
	guarded_free(guarded);
}

/* proves RFC1122-IP-01 */
static void wrong_versions(void **state)
{
	uint8_t packet[60] = {0};
	struct ipv4_header header;

	(void)state;
	for (unsigned version = 0; version < 16; version++) {
		ipv4_emit(packet, &usual);
		packet[0] = (uint8_t)(version << 4 | 5);
		seal(packet);
		assert_int_equal(ipv4_parse(packet, sizeof(packet), &header),
				 version == 4 ? DROP_NONE : DROP_IP_VERSION);
	}
}

/* All header lengths over all packet lengths: too small, beyond the packet, with options. */
static void header_lengths(void **state)
{
	struct guarded guarded = guarded_make();

	(void)state;
	for (unsigned words = 0; words < 16; words++) {
		for (uint16_t bytes = 20; bytes <= 64; bytes++) {
			struct ipv4_header in = usual, out;
			enum drop_reason want = DROP_NONE;
			uint8_t packet[64];
			uint8_t *at;

			memset(packet, 1, sizeof(packet));
			in.total_bytes = bytes;
			ipv4_emit(packet, &in);
			packet[0] = (uint8_t)(0x40 | words);
			if (words < 5 || words * 4 > bytes)
				want = DROP_IP_HEADER_LENGTH;
			else
				seal(packet);
			at = guarded_put(guarded, packet, bytes);
			assert_int_equal(ipv4_parse(at, bytes, &out), want);
			if (want == DROP_NONE)
				assert_int_equal(out.header_bytes, words * 4);
		}
	}
	guarded_free(guarded);
}

static void total_lengths(void **state)
{
	uint8_t packet[60] = {0};

	(void)state;
	for (unsigned total = 0; total < 65536; total++) {
		struct ipv4_header in = usual, out;

		in.total_bytes = (uint16_t)total;
		ipv4_emit(packet, &in);
		assert_int_equal(ipv4_parse(packet, sizeof(packet), &out),
				 total >= 20 && total <= sizeof(packet) ? DROP_NONE : DROP_IP_TOTAL_LENGTH);
	}
}

/* proves RFC1122-IP-02 */
static void wrong_checksums(void **state)
{
	uint8_t packet[60] = {0};
	struct ipv4_header header;

	(void)state;
	ipv4_emit(packet, &usual);
	for (unsigned bit = 64; bit < 160; bit++) { /* behind version, lengths and fragment */
		packet[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(ipv4_parse(packet, sizeof(packet), &header), DROP_IP_CHECKSUM);
		packet[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	/* Also in the options. */
	packet[0] = 0x46;
	seal(packet);
	assert_int_equal(ipv4_parse(packet, sizeof(packet), &header), DROP_NONE);
	packet[23] ^= 1;
	assert_int_equal(ipv4_parse(packet, sizeof(packet), &header), DROP_IP_CHECKSUM);
}

static void sources(void **state)
{
	static const struct {
		uint32_t address;
		bool good;
	} cases[] = {
		{0x00000000, false}, {0x00ffffff, false}, {0x01000000, true},  {0x0a000001, true},
		{0x7effffff, true},  {0x7f000001, false}, {0x7fffffff, false}, {0x80000000, true},
		{0xdfffffff, true},  {0xe0000001, false}, {0xefffffff, false}, {0xf0000000, false},
		{0xffffffff, false},
	};
	uint8_t packet[60] = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct ipv4_header in = usual, out;

		in.source = cases[i].address;
		ipv4_emit(packet, &in);
		assert_int_equal(ipv4_parse(packet, sizeof(packet), &out),
				 cases[i].good ? DROP_NONE : DROP_IP_BAD_SOURCE);
		assert_int_equal(ipv4_is_unicast(cases[i].address), cases[i].good);
	}
}

static void fragments_parse(void **state)
{
	struct ipv4_header in = usual, out;
	uint8_t packet[60] = {0};

	(void)state;
	in.flags = IPV4_MF;
	in.fragment_offset = 0xfff8;
	ipv4_emit(packet, &in);
	assert_int_equal(get16(packet + 6), 0x3fff);
	assert_int_equal(ipv4_parse(packet, sizeof(packet), &out), DROP_NONE);
	assert_int_equal(out.fragment_offset, 0xfff8);
	assert_int_equal(out.flags, IPV4_MF);
}

static void round_trip(void **state)
{
	struct guarded guarded = guarded_make();

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		struct ipv4_header in, out;
		uint8_t *at;

		test_random_bytes((uint8_t *)&in, sizeof(in));
		in.flags &= IPV4_DF | IPV4_MF;
		in.fragment_offset &= 0xfff8;
		in.source = 0x01000000 + test_random_below(0x7d000000);
		in.total_bytes = (uint16_t)(20 + test_random_below(65516));
		at = guarded.end - in.total_bytes;
		ipv4_emit(at, &in);
		assert_int_equal(naive_checksum(at, IPV4_HEADER_BYTES), 0);
		assert_int_equal(ipv4_parse(at, in.total_bytes, &out), DROP_NONE);
		assert_int_equal(out.header_bytes, IPV4_HEADER_BYTES);
		assert_same(&in, &out);
	}
	guarded_free(guarded);
}

/* Random bytes, half of them with a right checksum so that they get further in. */
static void hostile_bytes(void **state)
{
	struct guarded guarded = guarded_make();
	unsigned seen[DROP_COUNT] = {0};

	(void)state;
	for (unsigned round = 0; round < 2000000; round++) {
		size_t bytes = test_random_below(72);
		uint8_t *at = guarded.end - bytes;
		struct ipv4_header header;
		enum drop_reason reason;

		test_random_bytes(at, bytes);
		if (bytes >= 4 && round % 4) {
			at[0] = (uint8_t)(0x40 | at[0] >> 4);
			put16(at + 2, (uint16_t)test_random_below(72));
			if (round % 2 && bytes >= (at[0] & 15u) * 4 && (at[0] & 15) >= 5)
				seal(at);
		}
		reason = ipv4_parse(at, bytes, &header);
		seen[reason]++;
		if (reason == DROP_NONE) {
			assert_in_range(header.header_bytes, 20, 60);
			assert_in_range(header.total_bytes, header.header_bytes, bytes);
		}
	}
	for (unsigned reason = DROP_IP_SHORT; reason <= DROP_IP_CHECKSUM; reason++)
		assert_true(seen[reason] > 0);
	assert_true(seen[DROP_IP_BAD_SOURCE] > 0);
	assert_true(seen[DROP_NONE] > 0);
	guarded_free(guarded);
}

static void good_texts(void **state)
{
	static const struct {
		const char *text;
		uint32_t address;
	} cases[] = {
		{"0.0.0.0", 0},
		{"10.0.0.1", 0x0a000001},
		{"192.168.100.99", 0xc0a86463},
		{"255.255.255.255", 0xffffffff},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		char text[IPV4_TEXT_BYTES];
		uint32_t address = 1;

		assert_true(ipv4_from_text(cases[i].text, &address));
		assert_int_equal(address, cases[i].address);
		assert_string_equal(ipv4_to_text(address, text), cases[i].text);
	}
	for (unsigned round = 0; round < 10000; round++) {
		uint32_t in = (uint32_t)test_random(), out;
		char text[IPV4_TEXT_BYTES];

		assert_true(ipv4_from_text(ipv4_to_text(in, text), &out));
		assert_int_equal(in, out);
	}
}

static void bad_texts(void **state)
{
	static const char *const texts[] = {
		"",
		"1",
		"1.2.3",
		"1.2.3.",
		"1.2.3.4.",
		"1.2.3.4.5",
		".1.2.3",
		"1..2.3",
		"256.1.1.1",
		"1.1.1.256",
		"01.2.3.4",
		"1.2.3.00",
		" 1.2.3.4",
		"1.2.3.4 ",
		"+1.2.3.4",
		"-1.2.3.4",
		"1.2.3.4x",
		"0x1.2.3.4",
		"1.2.3.4/8",
		"a.b.c.d",
		"4294967297.0.0.1",
		"99999999999999999999.0.0.1",
	};
	uint32_t address = 77;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
		assert_false(ipv4_from_text(texts[i], &address));
		assert_int_equal(address, 77);
	}
}

static void prefixes(void **state)
{
	static const char *const bad[] = {
		"10.0.0.1",     "10.0.0.1/",    "10.0.0.1/33",         "10.0.0.1/-1", "10.0.0.1/024",
		"10.0.0.1/24x", "10.0.0.1//24", "10.0.0/24",           "/24",         "10.0.0.1 /24",
		"10.0.0.1/ 24", "10.0.0.1/24 ", "10.0.0.1/4294967320",
	};
	uint32_t address = 77;
	unsigned bits = 77;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		assert_false(ipv4_prefix_from_text(bad[i], &address, &bits));
		assert_int_equal(address, 77);
		assert_int_equal(bits, 77);
	}
	assert_true(ipv4_prefix_from_text("10.0.0.1/24", &address, &bits));
	assert_int_equal(address, 0x0a000001);
	assert_int_equal(bits, 24);
	assert_true(ipv4_prefix_from_text("0.0.0.0/0", &address, &bits));
	assert_int_equal(bits, 0);
	assert_true(ipv4_prefix_from_text("1.2.3.4/32", &address, &bits));
	assert_int_equal(bits, 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_header),   cmocka_unit_test(every_truncation),
		cmocka_unit_test(wrong_versions), cmocka_unit_test(header_lengths),
		cmocka_unit_test(total_lengths),  cmocka_unit_test(wrong_checksums),
		cmocka_unit_test(sources),        cmocka_unit_test(fragments_parse),
		cmocka_unit_test(round_trip),     cmocka_unit_test(hostile_bytes),
		cmocka_unit_test(good_texts),     cmocka_unit_test(bad_texts),
		cmocka_unit_test(prefixes),
	};

	return cmocka_run_group_tests_name("ipv4", tests, NULL, NULL);
}
