/* afxdp_sums.h - checksums that a peer in memory left to hardware there is none of. */
#ifndef C10M_PORT_AFXDP_SUMS_H
#define C10M_PORT_AFXDP_SUMS_H

#include "mem/packet.h"

/* Whether nobody has made the checksum of this frame's TCP or UDP. `most`: the bytes that the IP packet may
 * have, more than are there when they are in other pieces. */
bool afxdp_sum_was_left(const uint8_t *frame, uint32_t bytes, uint32_t most);

/* Marks those of the frames PACKET_CSUM_VERIFIED whose TCP or UDP checksum was never made. */
void afxdp_sums_mark(struct packet *packets, uint32_t count);

#endif
