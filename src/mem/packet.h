/* packet.h - the descriptor of one frame on its way between a port and a stack.
 *
 * A received frame is lent: `data` is valid from port rx until port release. A
 * frame to send is reserved from the port, filled by the stack and submitted.
 * The descriptor knows segmentation and checksum state, so that a port with
 * offloads and one without look the same to the stack. */
#ifndef C10M_MEM_PACKET_H
#define C10M_MEM_PACKET_H

#include "base/compiler.h"

enum packet_checksum {
	PACKET_CSUM_NONE,     /* rx: to be verified; tx: complete in software */
	PACKET_CSUM_VERIFIED, /* rx: the port has verified the transport checksum */
	PACKET_CSUM_PARTIAL,  /* the sum of the pseudo-header stands in the field,
			       * the rest is to be added from csum_start on; rx: a sender on this machine
			       * has left it to hardware that there is none of, so nothing can be wrong */
};

struct packet {
	uint8_t *data;         /* first byte of the Ethernet header */
	uint32_t bytes;        /* rx: length of the frame; tx: filled by the stack */
	uint16_t room;         /* tx: bytes that fit at data */
	uint8_t checksum;      /* enum packet_checksum */
	uint8_t fragments;     /* further buffers that belong to this frame: 0 so far */
	uint16_t csum_start;   /* PARTIAL: offset of the transport header in the frame */
	uint16_t csum_offset;  /* PARTIAL: offset of the checksum field behind that */
	uint16_t gso_bytes;    /* payload bytes a segment; 0: one segment */
	uint16_t header_bytes; /* gso: bytes of all headers, copied before each segment */
	uint64_t port_ref;     /* the port's own note (frame address, slot); opaque here */
};

_Static_assert(sizeof(struct packet) == 32, "two descriptors a cache line");

#endif
