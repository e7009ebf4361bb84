/* fault_cut.h - long frames as the packets that a wire would carry, and sums that nobody has made yet. */
#ifndef C10M_PORT_FAULT_CUT_H
#define C10M_PORT_FAULT_CUT_H

#include "mem/packet.h"

/* How a long frame comes apart. Holds while the frame does. */
struct fault_cut {
	const struct packet *frame;
	uint32_t network, transport,
		headers;        /* offset of the IP header and of what follows it; bytes of all */
	uint32_t payload;       /* bytes of it in the whole frame */
	uint32_t segment_bytes; /* and in each segment but the last */
	uint32_t segments;
	bool ipv6, udp;
};

/* False when the frame is no longer than one packet, or nothing that can be cut: TCP, or UDP that asks for
 * it, over IPv4 or IPv6, behind up to two VLAN tags. A frame that does not say how long its segments are is
 * cut for the MTU. */
bool fault_cut_begin(struct fault_cut *cut, const struct packet *frame, uint32_t mtu);

/* Writes one segment to packet->data, which has room for headers and segment_bytes, and fills the rest of the
 * descriptor. What was left undone in the frame's checksum is left undone in the segment's. */
void fault_cut_segment(const struct fault_cut *cut, uint32_t number, struct packet *packet);

/* Makes the checksum of a frame that is PACKET_CSUM_PARTIAL. */
void fault_complete_sum(struct packet *packet);

/* Sets congestion experienced where the sender can say so (RFC 3168 section 5). False: it cannot. A frame
 * that has the mark already keeps it, and counts as marked. */
bool fault_mark_congestion(struct packet *packet);

/* Bytes that the frame takes of an Ethernet, preamble, gap and check sequence with it (IEEE 802.3). */
uint32_t fault_wire_bytes(const struct packet *packet);

#endif
