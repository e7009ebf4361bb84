/* tap_internal.h - what the files of the tap port share among themselves. */
#ifndef C10M_PORT_TAP_INTERNAL_H
#define C10M_PORT_TAP_INTERNAL_H

#include "port/tap.h"

#define TAP_VNET_BYTES 10 /* struct virtio_net_hdr */
/* A frame of 64 KB and its Ethernet header, rounded up; the IP header stands at a multiple of 64. */
#define TAP_SLOT_BYTES 65728u
#define TAP_HEAD_BYTES 50u /* before a frame in its slot: the vnet header, at the end of it */
#define TAP_ROOM_BYTES 65520u
/* Received frames lie one behind the other, so that small ones stay in few cache lines and the
 * area in the second-level cache. */
#define TAP_RX_BYTES   (8 * TAP_SLOT_BYTES)
#define TAP_TX_FRAMES  PORT_BURST

struct tap_port {
	struct port port;
	int fd;
	uint8_t *rx_area, *tx_area;
	uint32_t lent; /* frames between rx and rx_release */
	uint32_t free_count;
	uint8_t free[TAP_TX_FRAMES];
};

extern const struct port_ops tap_ops;

/* What a vnet header says about the frame behind it goes into the packet. False: it makes no sense, and the
 * frame must not be used. packet->data and packet->bytes are set. */
bool tap_vnet_parse(const uint8_t header[TAP_VNET_BYTES], struct packet *packet);
void tap_vnet_emit(uint8_t header[TAP_VNET_BYTES], const struct packet *packet);

/* A port over a descriptor that is read and written a frame at a time (tests give a socket). It owns fd from
 * then on. NULL: no memory. */
struct tap_port *tap_port_new(int fd);

#endif
