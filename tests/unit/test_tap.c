/* test_tap.c - the tap port over a socket that keeps frames apart, with the test as the kernel's end: what is
 * written is what was submitted, what a vnet header says is believed only where it fits the frame. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/virtio_net.h>

#include "base/random.h"
#include "port/choose.h"
#include "port/tap_internal.h"
#include "wire/bytes.h"

#define ETHERNET   14
#define TCP_AT     (ETHERNET + 20)
#define PAYLOAD_AT (TCP_AT + 32) /* behind timestamps */

struct rig {
	struct tap_port *tap;
	int kernel;
};

static int setup(void **state)
{
	static struct rig rig;
	int ends[2], room = 1 << 20;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
	for (int i = 0; i < 2; i++)
		setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	rig = (struct rig){.tap = tap_port_new(ends[0]), .kernel = ends[1]};
	assert_non_null(rig.tap);
	*state = &rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	port_close(&rig->tap->port);
	close(rig->kernel);
	return 0;
}

/* A TCP segment of so many bytes of frame. */
static void make_frame(uint8_t *frame, uint32_t bytes)
{
	memset(frame, 0, bytes);
	put16(frame + 12, 0x0800);
	frame[ETHERNET] = 0x45;
	put16(frame + ETHERNET + 2, (uint16_t)(bytes - ETHERNET));
	frame[ETHERNET + 9] = 6;
	frame[TCP_AT + 12] = 8 << 4;
	for (uint32_t i = PAYLOAD_AT; i < bytes; i++)
		frame[i] = (uint8_t)(i * 7 + (i >> 8));
}

static struct virtio_net_hdr partial(void)
{
	return (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = TCP_AT, .csum_offset = 16};
}

static struct virtio_net_hdr segments(void)
{
	struct virtio_net_hdr vnet = partial();

	vnet.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	vnet.gso_size = 1448;
	vnet.hdr_len = PAYLOAD_AT;
	return vnet;
}

/* --- the header --------------------------------------------------------------------- */

static bool parses(const struct virtio_net_hdr *vnet, uint8_t *frame, uint32_t bytes, struct packet *packet)
{
	*packet = (struct packet){.data = frame, .bytes = bytes};
	return tap_vnet_parse((const uint8_t *)vnet, packet);
}

static void headers_that_make_sense(void **state)
{
	uint8_t frame[3000];
	struct virtio_net_hdr vnet = {0};
	struct packet packet;

	(void)state;
	make_frame(frame, sizeof(frame));
	assert_true(parses(&vnet, frame, sizeof(frame), &packet));
	assert_int_equal(packet.checksum, PACKET_CSUM_NONE);
	vnet.flags = VIRTIO_NET_HDR_F_DATA_VALID;
	assert_true(parses(&vnet, frame, sizeof(frame), &packet));
	assert_int_equal(packet.checksum, PACKET_CSUM_VERIFIED);
	assert_int_equal(packet.csum_start, 0);
	vnet = partial();
	assert_true(parses(&vnet, frame, sizeof(frame), &packet));
	assert_int_equal(packet.checksum, PACKET_CSUM_PARTIAL);
	assert_int_equal(packet.csum_start, TCP_AT);
	vnet = segments();
	assert_true(parses(&vnet, frame, sizeof(frame), &packet));
	assert_int_equal(packet.gso_bytes, 1448);
	assert_int_equal(packet.header_bytes, PAYLOAD_AT);
	vnet.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	assert_true(parses(&vnet, frame, sizeof(frame), &packet));
	frame[ETHERNET + 9] = 17; /* UDP has its checksum elsewhere */
	vnet = partial();
	vnet.csum_offset = 6;
	assert_true(parses(&vnet, frame, sizeof(frame), &packet));
	assert_int_equal(packet.checksum, PACKET_CSUM_PARTIAL);
}

/* Not refused, but the checksum is not taken as verified: it will be looked at. */
static void a_partial_checksum_of_something_else_is_none(void **state)
{
	const struct {
		uint16_t at;
		uint8_t byte;
		uint16_t start, offset;
	} cases[] = {
		{12, 0x86, TCP_AT, 16},           /* not IPv4 */
		{ETHERNET, 0x65, TCP_AT, 16},     /* of another version */
		{ETHERNET, 0x46, TCP_AT, 16},     /* the header is longer than that */
		{ETHERNET + 6, 0x20, TCP_AT, 16}, /* a fragment */
		{ETHERNET + 7, 1, TCP_AT, 16},
		{ETHERNET + 9, 17, TCP_AT, 16}, /* UDP */
		{ETHERNET + 9, 47, TCP_AT, 16},
		{0, 0, TCP_AT + 1, 16},
		{0, 0, TCP_AT - 20, 16},
		{0, 0, TCP_AT, 17},
		{0, 0, 0, 50},
	};
	uint8_t frame[200];
	struct packet packet;

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
		struct virtio_net_hdr vnet = partial();

		make_frame(frame, sizeof(frame));
		if (cases[i].at)
			frame[cases[i].at] = cases[i].byte;
		vnet.csum_start = cases[i].start;
		vnet.csum_offset = cases[i].offset;
		assert_true(parses(&vnet, frame, sizeof(frame), &packet));
		assert_int_equal(packet.checksum, PACKET_CSUM_NONE);
		vnet.gso_type = VIRTIO_NET_HDR_GSO_TCPV4; /* but several of them are refused */
		vnet.gso_size = 100;
		assert_false(parses(&vnet, frame, sizeof(frame), &packet));
	}
}

/* The kernel puts a VLAN's tag into the frame, and counts from the frame's start all the same. */
static void headers_of_frames_with_a_tag(void **state)
{
	uint8_t frame[3000];
	struct virtio_net_hdr vnet = segments();
	struct packet packet;

	(void)state;
	make_frame(frame + 4, sizeof(frame) - 4);
	put16(frame + 12, 0x8100);
	put16(frame + 14, 5);
	vnet.csum_start += 4;
	assert_true(parses(&vnet, frame, sizeof(frame), &packet));
	assert_int_equal(packet.checksum, PACKET_CSUM_PARTIAL);
	assert_int_equal(packet.csum_start, TCP_AT + 4);
	assert_int_equal(packet.header_bytes, PAYLOAD_AT + 4);
	vnet.csum_start -= 4; /* is none of its sums */
	assert_false(parses(&vnet, frame, sizeof(frame), &packet));
	vnet = partial();
	vnet.csum_start += 4;
	put16(frame + 16, 0x8100); /* a second tag */
	assert_true(parses(&vnet, frame, sizeof(frame), &packet));
	assert_int_equal(packet.checksum, PACKET_CSUM_NONE);
	put16(frame + 16, 0x0800);
	assert_true(parses(&vnet, frame, 17, &packet) == false); /* the sum lies outside */
}

static void headers_that_make_no_sense(void **state)
{
	uint8_t frame[200];
	struct virtio_net_hdr vnet = partial();
	struct packet packet;

	(void)state;
	make_frame(frame, sizeof(frame));
	assert_false(parses(&vnet, frame, 13, &packet));
	assert_false(parses(&vnet, frame, TCP_AT + 17, &packet));
	assert_true(parses(&vnet, frame, TCP_AT + 18, &packet));
	vnet.csum_start = 65535;
	vnet.csum_offset = 65535;
	assert_false(parses(&vnet, frame, sizeof(frame), &packet));
	for (unsigned type = 1; type < 128; type++) {
		vnet = segments();
		vnet.gso_type = (uint8_t)type;
		assert_int_equal(parses(&vnet, frame, sizeof(frame), &packet),
				 type == VIRTIO_NET_HDR_GSO_TCPV4);
	}
	vnet = segments();
	vnet.gso_size = 0;
	assert_false(parses(&vnet, frame, sizeof(frame), &packet));
	vnet = segments();
	vnet.flags = 0; /* segments whose sums are said to be done */
	assert_false(parses(&vnet, frame, sizeof(frame), &packet));
	vnet = segments();
	assert_false(parses(&vnet, frame, TCP_AT + 19, &packet));
	assert_false(parses(&vnet, frame, PAYLOAD_AT - 1, &packet));
	frame[TCP_AT + 12] = 4 << 4; /* a TCP header of 16 bytes */
	assert_false(parses(&vnet, frame, sizeof(frame), &packet));
}

/* Whatever comes, offsets stay inside the frame. The sanitizers watch the reads. */
static void headers_of_random_bytes(void **state)
{
	struct random random = random_seeded(7);
	uint8_t header[TAP_VNET_BYTES];

	(void)state;
	for (unsigned round = 0; round < 200000; round++) {
		uint32_t bytes = (uint32_t)(random_next(&random) % 100);
		uint8_t *frame = malloc(MAX_OF(bytes, 1u)); /* of exactly that size */
		struct packet packet = {.data = frame, .bytes = bytes};

		assert_non_null(frame);
		for (uint32_t i = 0; i < bytes; i++)
			frame[i] = (uint8_t)random_next(&random);
		if (bytes > 24 && round % 4) {
			put16(frame + 12, 0x0800);
			frame[ETHERNET] = (uint8_t)(0x40 | (frame[ETHERNET] & 15));
			frame[ETHERNET + 9] = 6;
			frame[ETHERNET + 6] = frame[ETHERNET + 7] = 0;
		}
		for (unsigned i = 0; i < sizeof(header); i++)
			header[i] = random_next(&random) % 3 ? (uint8_t)(random_next(&random) % 64) : 0;
		if (tap_vnet_parse(header, &packet) && packet.csum_start)
			assert_true(packet.csum_start + packet.csum_offset + 2u <= bytes &&
				    packet.header_bytes <= bytes);
		free(frame);
	}
}

/* --- receiving ------------------------------------------------------------------------- */

static void kernel_sends(const struct rig *rig, const struct virtio_net_hdr *vnet, uint32_t bytes)
{
	static uint8_t buffer[TAP_VNET_BYTES + 70000];

	memcpy(buffer, vnet, TAP_VNET_BYTES);
	make_frame(buffer + TAP_VNET_BYTES, bytes);
	assert_int_equal(send(rig->kernel, buffer, TAP_VNET_BYTES + bytes, 0), TAP_VNET_BYTES + bytes);
}

static void frames_of_all_lengths_arrive(void **state)
{
	static const uint32_t lengths[] = {60, 1514, ETHERNET + 65535, 66, 40000, 61};
	static uint8_t expected[70000];
	struct rig *rig = *state;
	struct port *port = &rig->tap->port;
	const struct virtio_net_hdr vnet = partial();
	struct packet packets[PORT_BURST];

	for (unsigned i = 0; i < ARRAY_COUNT(lengths); i++)
		kernel_sends(rig, &vnet, lengths[i]);
	assert_int_equal(port_rx(port, packets, PORT_BURST), ARRAY_COUNT(lengths));
	for (unsigned i = 0; i < ARRAY_COUNT(lengths); i++) {
		make_frame(expected, lengths[i]);
		assert_int_equal(packets[i].bytes, lengths[i]);
		assert_memory_equal(packets[i].data, expected, lengths[i]);
		assert_int_equal(packets[i].checksum, PACKET_CSUM_PARTIAL);
	}
	port_rx_release(port, packets, ARRAY_COUNT(lengths));
	assert_int_equal(port_rx(port, packets, PORT_BURST), 0);
	assert_int_equal(port->stats.rx_packets, ARRAY_COUNT(lengths));
	assert_int_equal(port->stats.rx_invalid, 0);
}

/* A burst ends when the area cannot hold a longest frame more, or when as many as asked for are there. */
static void a_burst_is_bounded_and_nothing_is_lost(void **state)
{
	struct rig *rig = *state;
	struct port *port = &rig->tap->port;
	const struct virtio_net_hdr vnet = segments();
	struct packet packets[PORT_BURST];
	uint32_t sent = 0, got = 0;

	for (unsigned round = 0; round < 30; round++) {
		for (unsigned i = 0; i < 3; i++, sent++)
			kernel_sends(rig, &vnet, sent % 2 ? 65000 : 100);
		for (uint32_t count; (count = port_rx(port, packets, 2)) > 0; got += count) {
			assert_in_range(count, 1, 2);
			for (uint32_t i = 0; i < count; i++)
				assert_int_equal(packets[i].bytes, (got + i) % 2 ? 65000 : 100);
			port_rx_release(port, packets, count);
		}
	}
	assert_int_equal(got, sent);
}

static void senseless_frames_are_counted_and_passed_over(void **state)
{
	struct rig *rig = *state;
	struct port *port = &rig->tap->port;
	struct virtio_net_hdr vnet = segments();
	struct packet packets[PORT_BURST];

	kernel_sends(rig, &vnet, 100);
	vnet.gso_type = VIRTIO_NET_HDR_GSO_UDP;
	kernel_sends(rig, &vnet, 100);
	assert_int_equal(send(rig->kernel, &vnet, 5, 0), 5);
	assert_int_equal(send(rig->kernel, &vnet, TAP_VNET_BYTES, 0), TAP_VNET_BYTES);
	vnet = segments();
	kernel_sends(rig, &vnet, 200);
	assert_int_equal(port_rx(port, packets, PORT_BURST), 2);
	assert_int_equal(packets[0].bytes, 100);
	assert_int_equal(packets[1].bytes, 200);
	assert_int_equal(port->stats.rx_invalid, 3);
	port_rx_release(port, packets, 2);
}

/* Reading says that something is wrong at once and for ever: no sleep may end by it. */
static void a_device_that_is_gone_wakes_nobody(void **state)
{
	struct rig *rig = *state;
	struct port *port = &rig->tap->port;
	struct packet packets[PORT_BURST];

	assert_true(port->wait_fd >= 0);
	assert_int_equal(port_rx(port, packets, PORT_BURST), 0);
	assert_true(port->wait_fd >= 0);
	close(rig->tap->fd);
	rig->tap->fd = -1;
	assert_int_equal(port_rx(port, packets, PORT_BURST), 0);
	assert_int_equal(port->wait_fd, -1);
	assert_true(port->ops->wait_prepare(port));
}

/* --- sending --------------------------------------------------------------------------- */

static void kernel_expects(const struct rig *rig, const struct virtio_net_hdr *vnet, uint32_t bytes)
{
	static uint8_t buffer[TAP_VNET_BYTES + 70000], expected[70000];

	assert_int_equal(recv(rig->kernel, buffer, sizeof(buffer), 0), TAP_VNET_BYTES + bytes);
	make_frame(expected, bytes);
	assert_memory_equal(buffer, vnet, TAP_VNET_BYTES);
	assert_memory_equal(buffer + TAP_VNET_BYTES, expected, bytes);
}

static void frames_leave_as_they_were_filled(void **state)
{
	struct rig *rig = *state;
	struct port *port = &rig->tap->port;
	struct virtio_net_hdr vnet = {0};
	struct packet packets[8];

	assert_int_equal(port_tx_reserve(port, packets, 8), 8);
	for (unsigned i = 0; i < 3; i++) {
		packets[i].bytes = i == 2 ? packets[i].room : 1000;
		make_frame(packets[i].data, packets[i].bytes);
	}
	packets[1].checksum = packets[2].checksum = PACKET_CSUM_PARTIAL;
	packets[1].csum_start = packets[2].csum_start = TCP_AT;
	packets[1].csum_offset = packets[2].csum_offset = 16;
	packets[2].gso_bytes = 1448;
	packets[2].header_bytes = PAYLOAD_AT;
	port_tx_submit(port, packets, 3, 8);
	kernel_expects(rig, &vnet, 1000);
	vnet = partial();
	kernel_expects(rig, &vnet, 1000);
	vnet = segments();
	kernel_expects(rig, &vnet, TAP_ROOM_BYTES);
	assert_int_equal(port->stats.tx_packets, 3);
	assert_int_equal(port->stats.tx_bytes, 2000 + TAP_ROOM_BYTES);
	assert_int_equal(port->stats.tx_lost, 0);
}

static void what_the_kernel_does_not_take_is_counted(void **state)
{
	struct rig *rig = *state;
	struct port *port = &rig->tap->port;
	struct packet packets[4];

	close(rig->kernel);
	rig->kernel = -1;
	assert_int_equal(port_tx_reserve(port, packets, 4), 4);
	for (unsigned i = 0; i < 4; i++) {
		packets[i].bytes = 60;
		make_frame(packets[i].data, 60);
	}
	port_tx_submit(port, packets, 4, 4);
	assert_int_equal(port->stats.tx_lost, 4);
	assert_int_equal(port->stats.tx_packets, 0);
	assert_int_equal(rig->tap->free_count, TAP_TX_FRAMES);
}

static void no_frame_is_lent_twice(void **state)
{
	struct rig *rig = *state;
	struct port *port = &rig->tap->port;
	struct packet packets[2 * PORT_BURST];
	bool seen[TAP_TX_FRAMES] = {0};

	for (unsigned round = 0; round < 100; round++) {
		uint32_t count = port_tx_reserve(port, packets, 1 + round % PORT_BURST);

		assert_int_equal(count, 1 + round % PORT_BURST);
		port_tx_submit(port, packets, 0, count);
	}
	assert_int_equal(port_tx_reserve(port, packets, 2 * PORT_BURST), TAP_TX_FRAMES);
	assert_int_equal(port->stats.tx_full, 1);
	for (unsigned i = 0; i < TAP_TX_FRAMES; i++) {
		assert_false(seen[packets[i].port_ref]);
		seen[packets[i].port_ref] = true;
		memset(packets[i].data - TAP_VNET_BYTES, 1, packets[i].room + TAP_VNET_BYTES);
	}
	port_tx_submit(port, packets, 0, TAP_TX_FRAMES);
}

/* --- opening --------------------------------------------------------------------------- */

static void what_cannot_be_opened_is_said(void **state)
{
	struct port *ports[2];
	char error[PORT_ERROR_BYTES] = "";
	struct tap_config config = {.interface = "", .address = 0x0a000001, .prefix_bits = 24};

	(void)state;
	assert_true(tap_open(&config, ports, 2, error) < 0);
	assert_non_null(strstr(error, "name one"));
	config.interface = "a-name-that-is-too-long";
	assert_true(tap_open(&config, ports, 2, error) < 0);
	config.interface = "tap0";
	config.queues = 3;
	assert_true(tap_open(&config, ports, 2, error) < 0);
	assert_non_null(strstr(error, "room for 2"));
	assert_false(tap_is_device("lo"));
	assert_false(tap_is_device("no-such-thing"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers_that_make_sense),
		cmocka_unit_test(a_partial_checksum_of_something_else_is_none),
		cmocka_unit_test(headers_of_frames_with_a_tag),
		cmocka_unit_test(headers_that_make_no_sense),
		cmocka_unit_test(headers_of_random_bytes),
		cmocka_unit_test_setup_teardown(frames_of_all_lengths_arrive, setup, teardown),
		cmocka_unit_test_setup_teardown(a_burst_is_bounded_and_nothing_is_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(senseless_frames_are_counted_and_passed_over, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_device_that_is_gone_wakes_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(frames_leave_as_they_were_filled, setup, teardown),
		cmocka_unit_test_setup_teardown(what_the_kernel_does_not_take_is_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(no_frame_is_lent_twice, setup, teardown),
		cmocka_unit_test(what_cannot_be_opened_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
