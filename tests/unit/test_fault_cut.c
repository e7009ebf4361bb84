/* test_fault_cut.c - long frames as the packets of a wire, sums made late, congestion marks, bytes on a wire.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "port/fault_cut.h"
#include "wire/checksum.h"

#define FIN 0x01
#define PSH 0x08
#define ACK 0x10
#define CWR 0x80

enum { TCP = 6, UDP = 17 };

static uint8_t memory[70000], copy[70000];

struct shape {
	bool ipv6;
	uint8_t protocol;
	uint32_t tags;         /* of VLANs */
	uint32_t option_bytes; /* of IPv4, or another header of IPv6 */
	uint32_t payload;
	uint16_t gso;
};

static uint32_t pseudo_sum(const uint8_t *ip, bool ipv6, uint8_t protocol, uint32_t bytes)
{
	uint8_t tail[4] = {(uint8_t)(bytes >> 8), (uint8_t)bytes, 0, protocol};
	uint32_t sum = csum_add(0, ip + (ipv6 ? 8 : 12), ipv6 ? 32 : 8);

	return csum_join(sum, csum_add(0, tail, 4));
}

static uint32_t build_ip(uint8_t *ip, const struct shape *shape, uint32_t after)
{
	uint32_t bytes = shape->ipv6 ? 40 + shape->option_bytes : 20 + shape->option_bytes;
	uint16_t sum;

	for (uint32_t i = 0; i < bytes; i++)
		ip[i] = (uint8_t)(i * 7 + 1);
	if (shape->ipv6) {
		put32(ip, 0x60000000);
		put16(ip + 4, (uint16_t)(shape->option_bytes + after));
		ip[6] = shape->option_bytes ? 60 : shape->protocol;
		ip[40] = shape->option_bytes ? shape->protocol : ip[40];
		return bytes;
	}
	ip[0] = (uint8_t)(0x40 | bytes / 4);
	ip[1] = 0;
	put16(ip + 2, (uint16_t)(bytes + after));
	put16(ip + 4, 0xfffe); /* the identification wraps */
	put16(ip + 6, 0x4000);
	ip[9] = shape->protocol;
	put16(ip + 10, 0);
	sum = csum_finish(csum_add(0, ip, bytes));
	memcpy(ip + 10, &sum, 2);
	return bytes;
}

/* A frame as a kernel hands it over: whole, and its checksum left undone. */
static struct packet build(const struct shape *shape)
{
	uint32_t header = shape->protocol == TCP ? 32 : 8, at = 12;
	struct packet packet = {.data = memory, .checksum = PACKET_CSUM_PARTIAL, .gso_bytes = shape->gso};
	uint8_t *ip, *transport;
	uint16_t sum;

	memset(memory, 0x5a, sizeof(memory));
	for (uint32_t i = 0; i < shape->tags; i++, at += 4)
		put16(memory + at, i + 1 < shape->tags ? 0x88a8 : 0x8100);
	put16(memory + at, shape->ipv6 ? 0x86dd : 0x0800);
	ip = memory + at + 2;
	transport = ip + build_ip(ip, shape, header + shape->payload);
	memset(transport, 0, header);
	put32(transport + 4, 0xffffff00); /* sequence numbers wrap */
	transport[12] = 0x80;
	transport[13] = FIN | PSH | ACK | CWR;
	if (shape->protocol == UDP)
		put16(transport + 4, (uint16_t)(header + shape->payload));
	for (uint32_t i = 0; i < shape->payload; i++)
		transport[header + i] = (uint8_t)(i * 31 + i / 256);
	packet.csum_start = (uint16_t)(transport - memory);
	packet.csum_offset = shape->protocol == TCP ? 16 : 6;
	packet.bytes = packet.csum_start + header + shape->payload;
	packet.header_bytes = (uint16_t)(packet.csum_start + header);
	sum = (uint16_t)~csum_finish(pseudo_sum(ip, shape->ipv6, shape->protocol, header + shape->payload));
	memcpy(transport + packet.csum_offset, &sum, 2);
	return packet;
}

static void assert_sums(const struct shape *shape, const struct packet *packet, uint32_t network,
			uint32_t transport)
{
	const uint8_t *ip = packet->data + network;
	uint32_t bytes = packet->bytes - transport;

	if (!shape->ipv6)
		assert_int_equal(csum_finish(csum_add(0, ip, transport - network)), 0);
	assert_int_equal(csum_finish(csum_add(pseudo_sum(ip, shape->ipv6, shape->protocol, bytes),
					      packet->data + transport, bytes)),
			 0);
}

static void assert_tcp(const uint8_t *tcp, uint32_t offset, bool first, bool last)
{
	assert_int_equal(get32(tcp + 4), 0xffffff00 + offset);
	assert_int_equal(tcp[13], ACK | (first ? CWR : 0) | (last ? FIN | PSH : 0));
}

/* Each segment is right for itself, and together they carry the payload. */
static void assert_cut(const struct shape *shape)
{
	struct packet frame = build(shape), segment;
	uint32_t network = 14 + 4 * shape->tags, offset = 0;
	uint32_t transport = network + (shape->ipv6 ? 40 : 20) + shape->option_bytes;
	uint32_t header = shape->protocol == TCP ? 32 : 8;
	struct fault_cut cut;

	assert_true(fault_cut_begin(&cut, &frame, 1500));
	assert_int_equal(cut.segments, (shape->payload + cut.segment_bytes - 1) / cut.segment_bytes);
	for (uint32_t i = 0; i < cut.segments; i++) {
		uint32_t payload = MIN_OF(cut.segment_bytes, shape->payload - offset);

		segment = (struct packet){.data = copy, .room = 2048};
		fault_cut_segment(&cut, i, &segment);
		assert_int_equal(segment.bytes, transport + header + payload);
		assert_int_equal(segment.gso_bytes, 0);
		assert_memory_equal(copy + transport + header, memory + transport + header + offset, payload);
		if (shape->ipv6)
			assert_int_equal(get16(copy + network + 4), segment.bytes - network - 40);
		else
			assert_int_equal(get16(copy + network + 2), segment.bytes - network);
		if (!shape->ipv6)
			assert_int_equal(get16(copy + network + 4), (uint16_t)(0xfffe + i));
		if (shape->protocol == TCP)
			assert_tcp(copy + transport, offset, i == 0, i + 1 == cut.segments);
		else
			assert_int_equal(get16(copy + transport + 4), 8 + payload);
		assert_int_equal(segment.checksum, PACKET_CSUM_PARTIAL);
		fault_complete_sum(&segment);
		assert_int_equal(segment.checksum, PACKET_CSUM_NONE);
		assert_sums(shape, &segment, network, transport);
		offset += payload;
	}
	assert_int_equal(offset, shape->payload);
}

static void test_cuts(void **state)
{
	static const struct shape shapes[] = {
		{false, TCP, 0, 0, 65000, 1448},
		{false, TCP, 0, 8, 14480, 1448},
		{false, TCP, 1, 0, 1449, 1448},
		{false, TCP, 2, 0, 5000, 536},
		{true, TCP, 0, 0, 65000, 1428},
		{true, TCP, 1, 8, 5000, 1400},
		{false, UDP, 0, 0, 5000, 1200},
		{true, UDP, 0, 0, 5000, 1200},
		{true, UDP, 2, 16, 5001, 1000},
		{false, TCP, 0, 0, 9000, 0}, /* does not say how long its segments are */
	};

	(void)state;
	for (uint32_t i = 0; i < ARRAY_COUNT(shapes); i++)
		assert_cut(&shapes[i]);
}

/* A frame whose sum is known to be right keeps that mark. */
static void test_verified(void **state)
{
	const struct shape shape = {false, TCP, 0, 0, 5000, 0};
	struct packet frame = build(&shape), segment = {.data = copy, .room = 2048};
	struct fault_cut cut;

	(void)state;
	frame.checksum = PACKET_CSUM_VERIFIED;
	assert_true(fault_cut_begin(&cut, &frame, 1500));
	fault_cut_segment(&cut, 1, &segment);
	assert_int_equal(segment.bytes, 1514);
	assert_int_equal(segment.checksum, PACKET_CSUM_VERIFIED);
}

static bool cuts(const struct packet *frame)
{
	struct fault_cut cut;

	return fault_cut_begin(&cut, frame, 1500);
}

static void test_left_alone(void **state)
{
	const struct shape shape = {false, TCP, 0, 0, 5000, 1000};
	struct packet frame = build(&shape);

	(void)state;
	frame.gso_bytes = 0;
	frame.bytes = 1522; /* no longer than one packet with two tags */
	assert_false(cuts(&frame));
	frame = build(&shape);
	frame.gso_bytes = 5000;
	assert_false(cuts(&frame));
	frame = build(&shape);
	put16(memory + 20, 0x2000); /* a fragment */
	assert_false(cuts(&frame));
	frame = build(&shape);
	memory[23] = 1; /* ICMP */
	assert_false(cuts(&frame));
	frame = build(&shape);
	memory[14] = 0x44;
	assert_false(cuts(&frame));
	frame = build(&shape);
	memory[34 + 12] = 0x40;
	assert_false(cuts(&frame));
	frame = build(&shape);
	put16(memory + 16, 5053); /* one byte more than there is */
	assert_false(cuts(&frame));
	frame = build(&shape);
	put16(memory + 16, 52); /* no payload */
	assert_false(cuts(&frame));
	frame = build(&shape);
	frame.csum_start = 60;
	assert_false(cuts(&frame));
	frame = build(&shape);
	frame.csum_offset = 6;
	assert_false(cuts(&frame));
	assert_true((frame = build(&shape), cuts(&frame)));
}

/* Whatever a stranger writes into a frame: nothing outside it is read, and no segment is longer than promised
 * (the sanitizer looks on). */
static void test_any_bytes(void **state)
{
	const struct shape shape = {false, TCP, 0, 0, 4000, 1000}, other = {true, UDP, 1, 8, 4000, 1000};
	struct random random = random_seeded(5);
	uint32_t done = 0;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct packet frame = build(round % 2 ? &shape : &other);
		uint32_t bytes = random_below(&random, 4) ? frame.bytes : random_below(&random, frame.bytes);
		struct packet segment = {.data = copy, .room = UINT16_MAX};
		struct fault_cut cut;

		for (uint32_t flips = random_below(&random, 4); flips > 0; flips--)
			memory[12 + random_below(&random, 80)] = (uint8_t)random_next(&random);
		if (random_below(&random, 4) == 0)
			frame.csum_start = (uint16_t)random_below(&random, bytes + 1);
		frame.bytes = bytes;
		memmove(memory + sizeof(memory) - bytes, memory, bytes); /* nothing behind it */
		frame.data = memory + sizeof(memory) - bytes;
		fault_mark_congestion(&frame);
		if (!fault_cut_begin(&cut, &frame, 1500))
			continue;
		done++;
		assert_true(cut.headers + cut.payload <= bytes);
		for (uint32_t i = 0; i < cut.segments; i++) {
			fault_cut_segment(&cut, i, &segment);
			assert_true(segment.bytes <= cut.headers + cut.segment_bytes);
			fault_complete_sum(&segment);
		}
	}
	assert_in_range(done, 5000, 19000);
}

/* --- marks ------------------------------------------------------------------- */

static void test_marks(void **state)
{
	const struct shape v4 = {false, TCP, 1, 4, 100, 0}, v6 = {true, TCP, 0, 0, 100, 0};

	(void)state;
	for (uint8_t ecn = 0; ecn < 4; ecn++) {
		struct packet frame = build(&v4);
		uint16_t sum;

		memory[19] = (uint8_t)(0xb8 | ecn);
		put16(memory + 28, 0);
		sum = csum_finish(csum_add(0, memory + 18, 24));
		memcpy(memory + 28, &sum, 2);
		assert_int_equal(fault_mark_congestion(&frame), ecn != 0);
		assert_int_equal(memory[19], 0xb8 | (ecn ? 3 : 0));
		assert_int_equal(csum_finish(csum_add(0, memory + 18, 24)), 0);
		frame = build(&v6);
		memory[14] = 0x6f;
		memory[15] = (uint8_t)(0x8f | ecn << 4);
		assert_int_equal(fault_mark_congestion(&frame), ecn != 0);
		assert_int_equal(memory[14], 0x6f);
		assert_int_equal(memory[15], 0x8f | (ecn ? 0x30 : 0));
	}
}

/* A header that was damaged before stays so: the receiver has to find out. */
static void test_a_mark_mends_nothing(void **state)
{
	const struct shape shape = {false, TCP, 0, 0, 100, 0};
	struct packet frame = build(&shape);

	(void)state;
	memory[15] = 2;
	assert_true(csum_finish(csum_add(0, memory + 14, 20)) != 0);
	assert_true(fault_mark_congestion(&frame));
	assert_int_equal(memory[15], 3);
	assert_true(csum_finish(csum_add(0, memory + 14, 20)) != 0);
}

static void test_no_marks(void **state)
{
	const struct shape shape = {false, TCP, 0, 0, 100, 0};
	struct packet frame = build(&shape);

	(void)state;
	put16(memory + 12, 0x0806);
	memory[15] = 1;
	assert_false(fault_mark_congestion(&frame));
	put16(memory + 12, 0x0800);
	frame.bytes = 33;
	assert_false(fault_mark_congestion(&frame));
	frame.bytes = 13;
	assert_false(fault_mark_congestion(&frame));
}

/* --- the wire ------------------------------------------------------------------ */

/* IEEE 802.3: preamble 8, gap 12, check sequence 4, and no frame below 64. */
static void test_wire_bytes(void **state)
{
	struct packet packet = {.bytes = 1514};

	(void)state;
	assert_int_equal(fault_wire_bytes(&packet), 1538);
	packet.bytes = 42;
	assert_int_equal(fault_wire_bytes(&packet), 84);
	packet.bytes = 60;
	assert_int_equal(fault_wire_bytes(&packet), 84);
	packet.bytes = 61;
	assert_int_equal(fault_wire_bytes(&packet), 85);
	packet = (struct packet){.bytes = 66 + 3 * 1448, .gso_bytes = 1448, .header_bytes = 66};
	assert_int_equal(fault_wire_bytes(&packet), 3 * 1538);
	packet.bytes += 1;
	assert_int_equal(fault_wire_bytes(&packet), 3 * 1538 + 91);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cuts),       cmocka_unit_test(test_verified),
		cmocka_unit_test(test_left_alone), cmocka_unit_test(test_any_bytes),
		cmocka_unit_test(test_marks),      cmocka_unit_test(test_a_mark_mends_nothing),
		cmocka_unit_test(test_no_marks),   cmocka_unit_test(test_wire_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
