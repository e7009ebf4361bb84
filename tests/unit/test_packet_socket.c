/* test_packet_socket.c - marks of frames between descriptors and the kernel's header. The sockets themselves:
 * tests/e2e/test_port_packet.py, test_bridge.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "port/packet_socket_vnet.h"
#include "wire/bytes.h"

static uint8_t memory[9000];

/* A TCP segment of so many bytes behind headers of 14 + 20 + 32 bytes, or the same for IPv6 and UDP. */
static struct packet frame_of(uint16_t type, uint32_t bytes)
{
	memset(memory, 0, sizeof(memory));
	put16(memory + 100 + 12, type);
	memory[100 + (type == 0x0800 ? 34 : 54) + 12] = 0x80;
	return (struct packet){.data = memory + 100, .bytes = bytes};
}

static void assert_round_trip(uint16_t type, const struct virtio_net_hdr *vnet, uint32_t headers)
{
	struct packet packet = frame_of(type, 5000);
	struct virtio_net_hdr back;

	if (vnet->gso_type & VIRTIO_NET_HDR_GSO_ECN)
		packet.data[vnet->csum_start + 13] = 0x80; /* CWR */
	assert_true(vnet_read(vnet, &packet));
	assert_int_equal(packet.checksum, PACKET_CSUM_PARTIAL);
	assert_int_equal(packet.gso_bytes, vnet->gso_size);
	assert_int_equal(packet.header_bytes, headers);
	vnet_write(&packet, &back);
	assert_memory_equal(&back, vnet, sizeof(back));
}

static void test_round_trips(void **state)
{
	static const struct {
		uint16_t type;
		uint8_t gso;
		uint16_t start, offset, headers;
	} cases[] = {
		{0x0800, VIRTIO_NET_HDR_GSO_TCPV4, 34, 16, 66},
		{0x0800, VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, 34, 16, 66},
		{0x86dd, VIRTIO_NET_HDR_GSO_TCPV6, 54, 16, 86},
		{0x0800, VIRTIO_NET_HDR_GSO_UDP_L4, 34, 6, 42},
		{0x86dd, VIRTIO_NET_HDR_GSO_UDP_L4, 54, 6, 62},
	};

	(void)state;
	for (uint32_t i = 0; i < ARRAY_COUNT(cases); i++) {
		const struct virtio_net_hdr vnet = {
			.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			.gso_type = cases[i].gso,
			.gso_size = 1448,
			.hdr_len = cases[i].headers,
			.csum_start = cases[i].start,
			.csum_offset = cases[i].offset,
		};

		assert_round_trip(cases[i].type, &vnet, cases[i].headers);
	}
}

static void test_plain_frames(void **state)
{
	struct virtio_net_hdr vnet = {0}, back;
	struct packet packet = frame_of(0x0800, 1514);

	(void)state;
	assert_true(vnet_read(&vnet, &packet));
	assert_int_equal(packet.checksum, PACKET_CSUM_NONE);
	vnet_write(&packet, &back);
	assert_memory_equal(&back, &vnet, sizeof(back));
	vnet.flags = VIRTIO_NET_HDR_F_DATA_VALID;
	assert_true(vnet_read(&vnet, &packet));
	assert_int_equal(packet.checksum, PACKET_CSUM_VERIFIED);
	vnet_write(&packet, &back);
	assert_int_equal(back.flags, 0);
	vnet = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
	assert_true(vnet_read(&vnet, &packet));
	vnet_write(&packet, &back);
	assert_memory_equal(&back, &vnet, sizeof(back));
}

/* A frame of one segment is no long frame: the kernel would refuse it. */
static void test_a_single_segment(void **state)
{
	struct packet packet = frame_of(0x0800, 1514);
	struct virtio_net_hdr vnet;

	(void)state;
	packet.checksum = PACKET_CSUM_PARTIAL;
	packet.csum_start = 34;
	packet.csum_offset = 16;
	packet.gso_bytes = 1448;
	packet.header_bytes = 66;
	vnet_write(&packet, &vnet);
	assert_int_equal(vnet.gso_type, VIRTIO_NET_HDR_GSO_NONE);
	assert_int_equal(vnet.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	packet.bytes++;
	vnet_write(&packet, &vnet);
	assert_int_equal(vnet.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
}

static void test_contradictions_are_refused(void **state)
{
	const struct virtio_net_hdr good = {
		VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 66, 1448, 34, 16};
	struct virtio_net_hdr wrong[] = {good, good, good, good, good, good, good, good};
	struct packet packet = frame_of(0x0800, 5000);

	(void)state;
	assert_true(vnet_read(&good, &packet));
	wrong[0].csum_start = 4983;
	wrong[1].csum_start = 13;
	wrong[2].csum_offset = 6;
	wrong[3].gso_size = 0;
	wrong[4].gso_type = VIRTIO_NET_HDR_GSO_UDP;
	wrong[5].gso_type = 77;
	wrong[6].flags = 0;
	wrong[7].csum_start = 35; /* a header of 0 bytes is said to stand there */
	for (uint32_t i = 0; i < ARRAY_COUNT(wrong); i++) {
		packet = frame_of(0x0800, 5000);
		assert_false(vnet_read(&wrong[i], &packet));
	}
	packet = frame_of(0x0800, 60);
	assert_false(vnet_read(&good, &packet));
}

static void test_any_header(void **state)
{
	struct random random = random_seeded(11);
	struct virtio_net_hdr vnet;

	(void)state;
	for (int round = 0; round < 100000; round++) {
		uint64_t bytes[2] = {random_next(&random), random_next(&random)};
		struct packet packet = frame_of(0x0800, 14 + random_below(&random, 200));

		memcpy(&vnet, bytes, sizeof(vnet));
		vnet.flags &= 3;
		vnet.csum_start &= 0xff;
		vnet.csum_offset = round % 2 ? 16 : vnet.csum_offset & 0xff;
		if (vnet_read(&vnet, &packet)) {
			assert_true(packet.header_bytes <= packet.bytes);
			vnet_write(&packet, &vnet);
		}
	}
}

static uint8_t accepted(uint8_t protocol, uint8_t version, uint16_t fragment, uint16_t start, uint16_t offset)
{
	struct packet packet = frame_of(0x0800, 100);

	packet.data[14] = version;
	put16(packet.data + 20, fragment);
	packet.data[23] = protocol;
	packet.checksum = PACKET_CSUM_PARTIAL;
	packet.csum_start = start;
	packet.csum_offset = offset;
	vnet_accept_sum(&packet);
	return packet.checksum;
}

/* Only what is this packet's own: a bridge passes on marks that a stranger has made. */
static void test_sums_that_are_accepted(void **state)
{
	struct packet verified = {.checksum = PACKET_CSUM_VERIFIED};

	(void)state;
	assert_int_equal(accepted(6, 0x45, 0x4000, 34, 16), PACKET_CSUM_VERIFIED);
	assert_int_equal(accepted(17, 0x46, 0, 38, 6), PACKET_CSUM_VERIFIED);
	assert_int_equal(accepted(6, 0x45, 0, 38, 16), PACKET_CSUM_NONE);
	assert_int_equal(accepted(6, 0x45, 0, 34, 6), PACKET_CSUM_NONE);
	assert_int_equal(accepted(1, 0x45, 0, 34, 6), PACKET_CSUM_NONE);
	assert_int_equal(accepted(6, 0x65, 0, 34, 16), PACKET_CSUM_NONE);
	assert_int_equal(accepted(6, 0x45, 0x2000, 34, 16), PACKET_CSUM_NONE);
	vnet_accept_sum(&verified);
	assert_int_equal(verified.checksum, PACKET_CSUM_VERIFIED);
}

static void test_tag(void **state)
{
	const struct virtio_net_hdr vnet = {
		VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 66, 1448, 34, 16};
	struct packet packet = frame_of(0x0800, 5000);

	(void)state;
	for (uint8_t i = 0; i < 12; i++)
		packet.data[i] = (uint8_t)(i + 1);
	assert_true(vnet_read(&vnet, &packet));
	vnet_tag(&packet, 0x8100, 0x2005);
	assert_ptr_equal(packet.data, memory + 96);
	assert_int_equal(packet.bytes, 5004);
	for (uint8_t i = 0; i < 12; i++)
		assert_int_equal(packet.data[i], i + 1);
	assert_int_equal(get32(packet.data + 12), 0x81002005);
	assert_int_equal(get16(packet.data + 16), 0x0800);
	assert_int_equal(packet.csum_start, 38);
	assert_int_equal(packet.header_bytes, 70);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_plain_frames),
		cmocka_unit_test(test_a_single_segment),
		cmocka_unit_test(test_contradictions_are_refused),
		cmocka_unit_test(test_any_header),
		cmocka_unit_test(test_sums_that_are_accepted),
		cmocka_unit_test(test_tag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
