/* test_vlan.c - a port in a VLAN: which frames are ours, what a tag does to a frame and to what is said about
 * it, and that every frame of the port inside goes back to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "port/link.h"
#include "port/vlan.h"
#include "wire/bytes.h"

#define FRAMES 64u
#define ID     5

struct rig {
	struct port *far, *near; /* the cable's other end, and our side of it */
	struct port *port;       /* in the VLAN */
};

static int setup(void **state)
{
	static struct rig rig;
	const struct link_config config = {.frames = FRAMES, .frame_bytes = 2048, .mtu = 1500};
	struct port *ends[2];

	assert_int_equal(link_open(&config, ends), 0);
	rig = (struct rig){.far = ends[0], .near = ends[1], .port = vlan_wrap(ends[1], ID)};
	assert_non_null(rig.port);
	*state = &rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	port_close(rig->far);
	port_close(rig->port);
	return 0;
}

/* A frame of so many bytes behind its addresses, which start with the tag, or whatever stands there. */
static void send_frame(struct port *port, const void *behind, uint32_t bytes)
{
	struct packet packet;

	assert_int_equal(port_tx_reserve(port, &packet, 1), 1);
	for (uint8_t i = 0; i < 12; i++)
		packet.data[i] = (uint8_t)(i + 1);
	memcpy(packet.data + 12, behind, bytes);
	packet.bytes = 12 + bytes;
	port_tx_submit(port, &packet, 1, 1);
}

static void assert_addresses(const struct packet *packet)
{
	for (uint8_t i = 0; i < 12; i++)
		assert_int_equal(packet->data[i], i + 1);
}

/* --- what comes in ------------------------------------------------------------------- */

static void the_tag_comes_off(void **state)
{
	static const uint8_t tags[][8] = {
		{0x81, 0, 0x00, 5, 8, 0, 'a', 'b'}, /* as we send it */
		{0x81, 0, 0xe0, 5, 8, 0, 'a', 'b'}, /* the highest priority */
		{0x81, 0, 0x10, 5, 8, 0, 'a', 'b'}, /* may be dropped */
	};
	struct rig *rig = *state;
	struct packet packet;

	for (size_t i = 0; i < ARRAY_COUNT(tags); i++) {
		send_frame(rig->far, tags[i], sizeof(tags[i]));
		assert_int_equal(port_rx(rig->port, &packet, 1), 1);
		assert_int_equal(packet.bytes, 12 + 4);
		assert_addresses(&packet);
		assert_memory_equal(packet.data + 12,
				    "\x08\x00"
				    "ab",
				    4);
		port_rx_release(rig->port, &packet, 1);
	}
	assert_int_equal(rig->port->stats.rx_others, 0);
	assert_int_equal(rig->port->stats.rx_packets, ARRAY_COUNT(tags));
}

static void other_frames_are_not_ours(void **state)
{
	static const struct {
		uint8_t behind[8];
		uint32_t bytes;
	} frames[] = {
		{{8, 0, 'a', 'b', 'c', 'd'}, 6},      /* no tag */
		{{0x81, 0, 0, 6, 8, 0, 'a', 'b'}, 8}, /* the next VLAN */
		{{0x81, 0, 0, 0, 8, 0, 'a', 'b'}, 8}, /* a priority alone */
		{{0x81, 0, 1, 5, 8, 0, 'a', 'b'}, 8}, /* 261 */
		{{0x88, 0xa8, 0, 5, 8, 0, 'a', 'b'}, 8},
		{{0x81, 0, 0, 5, 8}, 5}, /* cut short */
		{{0x81, 0, 0}, 3},
		{{0}, 2},
	};
	struct rig *rig = *state;
	struct packet packet;

	for (uint32_t i = 0; i < 10 * FRAMES; i++) { /* more than there are: each went back */
		size_t kind = i % ARRAY_COUNT(frames);

		send_frame(rig->far, frames[kind].behind, frames[kind].bytes);
		assert_int_equal(port_rx(rig->port, &packet, 1), 0);
	}
	assert_int_equal(rig->port->stats.rx_others, 10 * FRAMES);
}

static void a_burst_of_both(void **state)
{
	struct rig *rig = *state;
	struct packet packets[FRAMES];

	for (uint32_t round = 0; round < 3; round++) {
		for (uint8_t i = 0; i < FRAMES; i++) {
			const uint8_t frame[] = {0x81, 0, 0, (uint8_t)(ID + (i % 3 == 1)), 8, 0, i};

			send_frame(rig->far, frame, sizeof(frame));
		}
		assert_int_equal(port_rx(rig->port, packets, FRAMES), FRAMES - FRAMES / 3);
		for (uint8_t i = 0, at = 0; i < FRAMES; i++)
			if (i % 3 != 1)
				assert_int_equal(packets[at++].data[14], i);
		port_rx_release(rig->port, packets, FRAMES - FRAMES / 3);
	}
	assert_int_equal(rig->port->stats.rx_others, 3 * (FRAMES / 3));
}

/* --- what goes out ------------------------------------------------------------------- */

static void the_tag_goes_on(void **state)
{
	struct rig *rig = *state;
	struct packet packets[2];

	send_frame(rig->port, "\x08\x06xyz", 5);
	assert_int_equal(port_rx(rig->far, packets, 2), 1);
	assert_int_equal(packets[0].bytes, 12 + 4 + 5);
	assert_addresses(&packets[0]);
	assert_memory_equal(packets[0].data + 12, "\x81\x00\x00\x05\x08\x06xyz", 9);
	port_rx_release(rig->far, packets, 1);
}

static void what_is_not_filled_goes_back(void **state)
{
	struct rig *rig = *state;
	struct packet packets[FRAMES];

	for (uint32_t round = 0; round < 3; round++) {
		assert_int_equal(port_tx_reserve(rig->port, packets, FRAMES), FRAMES);
		assert_int_equal(packets[0].room, 2048 - 4);
		port_tx_submit(rig->port, packets, 0, FRAMES);
	}
	assert_int_equal(port_rx(rig->far, packets, 1), 0);
}

/* --- what is said about a frame -------------------------------------------------------- */

/* A port that gives one frame again and again, and keeps what it was told of the one to send. */
struct echo_port {
	struct port port;
	uint8_t frame[100];
	struct packet given, sent;
};

static uint32_t echo_rx(struct port *port, struct packet *packets, uint32_t max)
{
	const struct echo_port *echo = (const struct echo_port *)port;

	assert_true(max > 0);
	packets[0] = echo->given;
	return 1;
}

static void echo_rx_release(struct port *port, struct packet *packets, uint32_t count)
{
	const struct echo_port *echo = (const struct echo_port *)port;

	assert_int_equal(count, 1);
	assert_ptr_equal(packets[0].data, echo->given.data);
	assert_int_equal(packets[0].bytes, echo->given.bytes);
}

static uint32_t echo_reserve(struct port *port, struct packet *packets, uint32_t max)
{
	struct echo_port *echo = (struct echo_port *)port;

	assert_true(max > 0);
	packets[0] = (struct packet){.data = echo->frame, .room = sizeof(echo->frame)};
	return 1;
}

static void echo_submit(struct port *port, struct packet *packets, uint32_t filled, uint32_t reserved)
{
	struct echo_port *echo = (struct echo_port *)port;

	assert_true(filled == 1 && reserved == 1);
	assert_ptr_equal(packets[0].data, echo->frame);
	echo->sent = packets[0];
}

static void echo_close(struct port *port)
{
	(void)port;
}

static const struct port_ops echo_ops = {
	.name = "echo",
	.rx = echo_rx,
	.rx_release = echo_rx_release,
	.tx_reserve = echo_reserve,
	.tx_submit = echo_submit,
	.close = echo_close,
};

static struct echo_port echo_new(void)
{
	return (struct echo_port){.port = {.ops = &echo_ops, .wait_fd = 7},
				  .frame = {[12] = 0x81, [15] = ID}};
}

static void offsets_move_with_the_tag(void **state)
{
	struct echo_port echo = echo_new();
	struct port *port = vlan_wrap(&echo.port, ID);
	struct packet packet;

	(void)state;
	echo.given = (struct packet){.data = echo.frame,
				     .bytes = 100,
				     .room = 100,
				     .checksum = PACKET_CSUM_PARTIAL,
				     .csum_start = 38,
				     .csum_offset = 16,
				     .gso_bytes = 10,
				     .header_bytes = 70};
	assert_int_equal(port_rx(port, &packet, 1), 1);
	assert_ptr_equal(packet.data, echo.frame + 4);
	assert_int_equal(packet.csum_start, 34);
	assert_int_equal(packet.csum_offset, 16);
	assert_int_equal(packet.header_bytes, 66);
	assert_int_equal(packet.room, 96);
	port_rx_release(port, &packet, 1);
	assert_int_equal(port_tx_reserve(port, &packet, 1), 1);
	packet = (struct packet){.data = packet.data,
				 .bytes = 90,
				 .checksum = PACKET_CSUM_PARTIAL,
				 .csum_start = 34,
				 .csum_offset = 16,
				 .gso_bytes = 10,
				 .header_bytes = 66};
	port_tx_submit(port, &packet, 1, 1);
	assert_int_equal(echo.sent.csum_start, 38);
	assert_int_equal(echo.sent.header_bytes, 70);
	assert_int_equal(echo.sent.bytes, 94);
	port_close(port);
}

/* The other end of a wire may say anything. */
static void an_offset_inside_the_tag_is_believed_nothing(void **state)
{
	struct echo_port echo = echo_new();
	struct port *port = vlan_wrap(&echo.port, ID);
	struct packet packet;

	(void)state;
	for (uint16_t start = 0; start < 30; start++) {
		echo.frame[12] = 0x81;
		echo.frame[13] = echo.frame[14] = 0;
		echo.frame[15] = ID;
		echo.given = (struct packet){.data = echo.frame,
					     .bytes = 100,
					     .checksum = PACKET_CSUM_PARTIAL,
					     .csum_start = start};
		assert_int_equal(port_rx(port, &packet, 1), 1);
		assert_int_equal(packet.checksum, start < 18 ? PACKET_CSUM_NONE : PACKET_CSUM_PARTIAL);
		assert_true(start < 18 || packet.csum_start == start - 4);
		port_rx_release(port, &packet, 1);
	}
	port_close(port);
}

/* Where the kernel, or an XDP program, has taken the tag out. */
static void a_port_that_takes_tags_off_itself(void **state)
{
	struct echo_port echo = echo_new();
	struct port *port;
	struct packet packet;

	(void)state;
	echo.port.caps.vlan = ID;
	port = vlan_wrap(&echo.port, ID);
	echo.given = (struct packet){.data = echo.frame, .bytes = 60};
	put16(echo.frame + 12, 0x0800);
	assert_int_equal(port_rx(port, &packet, 1), 1);
	assert_ptr_equal(packet.data, echo.frame);
	port_rx_release(port, &packet, 1);
	assert_int_equal(port_tx_reserve(port, &packet, 1), 1);
	packet.bytes = 60;
	put16(packet.data + 12, 0x0800);
	port_tx_submit(port, &packet, 1, 1);
	assert_memory_equal(echo.frame + 12, "\x81\x00\x00\x05\x08\x00", 6);
	port_close(port);
}

static void what_becomes_of_the_interface_is_seen(void **state)
{
	struct echo_port echo = echo_new();
	struct port *port = vlan_wrap(&echo.port, ID);
	struct packet packet;

	(void)state;
	assert_int_equal(port->wait_fd, 7);
	echo.given = (struct packet){.data = echo.frame, .bytes = 60};
	echo.port.wait_fd = -1;
	echo.port.gone = true;
	assert_int_equal(port_rx(port, &packet, 1), 1);
	port_rx_release(port, &packet, 1);
	assert_int_equal(port->wait_fd, -1);
	assert_true(port->gone);
	port_close(port);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_tag_comes_off, setup, teardown),
		cmocka_unit_test_setup_teardown(other_frames_are_not_ours, setup, teardown),
		cmocka_unit_test_setup_teardown(a_burst_of_both, setup, teardown),
		cmocka_unit_test_setup_teardown(the_tag_goes_on, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_not_filled_goes_back, setup, teardown),
		cmocka_unit_test(offsets_move_with_the_tag),
		cmocka_unit_test(an_offset_inside_the_tag_is_believed_nothing),
		cmocka_unit_test(a_port_that_takes_tags_off_itself),
		cmocka_unit_test(what_becomes_of_the_interface_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
