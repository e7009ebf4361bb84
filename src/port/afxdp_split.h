/* afxdp_split.h - frames that are too long for one of ours, as segments. */
#ifndef C10M_PORT_AFXDP_SPLIT_H
#define C10M_PORT_AFXDP_SPLIT_H

#include "mem/packet.h"

#define AFXDP_HEADERS_MAX (14 + 60 + 60) /* Ethernet, and the longest that IPv4 and TCP can have */

/* The frame whose pieces are coming in. */
struct afxdp_split {
	uint8_t headers[AFXDP_HEADERS_MAX];
	uint16_t header_bytes;
	bool open;     /* more pieces follow */
	bool refused;  /* they are of no use */
	uint32_t seq;  /* of the next byte of payload */
	uint32_t left; /* bytes of payload that are still to come */
};

/* Makes the next piece of a frame a segment of its own; `more`: pieces of the same frame follow. `before`:
 * bytes that are free in front of packet->data. False: the piece is of no use. */
bool afxdp_split_piece(struct afxdp_split *split, struct packet *packet, uint32_t before, bool more);

#endif
