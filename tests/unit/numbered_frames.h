/* numbered_frames.h - frames that the tests of ports send and know again. */
#ifndef C10M_TESTS_NUMBERED_FRAMES_H
#define C10M_TESTS_NUMBERED_FRAMES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "port/port.h"

/* Every frame says its number, in a length and a filling that follow from it. */
PURE_INLINE uint32_t length_of(uint32_t number)
{
	return 64 + number * 7 % 1000;
}

PURE_INLINE void write_frame(struct packet *packet, uint32_t number)
{
	packet->bytes = length_of(number);
	memcpy(packet->data, &number, sizeof(number));
	memset(packet->data + 4, (int)(number & 0xff), 60);
	packet->data[packet->bytes - 1] = (uint8_t)(number >> 8);
}

PURE_INLINE bool frame_is(const struct packet *packet, uint32_t number)
{
	uint32_t written;

	memcpy(&written, packet->data, sizeof(written));
	return written == number && packet->bytes == length_of(number) &&
	       packet->data[40] == (number & 0xff) &&
	       packet->data[packet->bytes - 1] == ((number >> 8) & 0xff) &&
	       packet->checksum == PACKET_CSUM_NONE;
}

PURE_INLINE void send_one(struct port *port, uint32_t number)
{
	struct packet packet;

	assert_int_equal(port_tx_reserve(port, &packet, 1), 1);
	write_frame(&packet, number);
	port_tx_submit(port, &packet, 1, 1);
}

PURE_INLINE void receive_one(struct port *port, uint32_t number)
{
	struct packet packet;

	assert_int_equal(port_rx(port, &packet, 1), 1);
	assert_true(frame_is(&packet, number));
	port_rx_release(port, &packet, 1);
}

#endif
