/* afxdp_sums.h - checksums that a peer in memory left to hardware there is none of. */
#ifndef C10M_PORT_AFXDP_SUMS_H
#define C10M_PORT_AFXDP_SUMS_H

#include "mem/packet.h"

/* Marks those of the frames PACKET_CSUM_VERIFIED whose TCP or UDP checksum was never made. */
void afxdp_sums_mark(struct packet *packets, uint32_t count);

#endif
