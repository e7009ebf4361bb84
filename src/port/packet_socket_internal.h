/* packet_socket_internal.h - what the files of the packet socket port share among themselves. */
#ifndef C10M_PORT_PACKET_SOCKET_INTERNAL_H
#define C10M_PORT_PACKET_SOCKET_INTERNAL_H

#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <sys/socket.h>

#include "port/packet_socket.h"

#define PACKET_SOCKET_SENDS     128 /* frames that may wait for the kernel */
#define PACKET_SOCKET_HEADROOM  64  /* before a received frame: for its VLAN tag */
#define PACKET_SOCKET_BYTES_MAX 67520
#define PACKET_SOCKET_SLOT      (PACKET_SOCKET_HEADROOM + PACKET_SOCKET_BYTES_MAX)

/* What one message of recvmmsg and sendmmsg is made of. */
struct packet_socket_message {
	struct virtio_net_hdr vnet;
	struct iovec parts[2]; /* vnet, the frame */
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	} control;
};

/* Invariant: send_free + reserved + waiting == PACKET_SOCKET_SENDS. */
struct packet_socket {
	struct port port;
	int fd;
	int index; /* of the interface */
	char name[16];
	bool raw; /* frames as they are: for a bridge */
	uint16_t vlan;
	bool down; /* the kernel has said so, and nothing came since */
	uint32_t lent, reserved;
	uint32_t polls;
	struct packet_socket_stats stats;
	uint8_t *receive; /* PORT_BURST slots */
	uint8_t *send;    /* PACKET_SOCKET_SENDS slots */
	uint32_t send_free[PACKET_SOCKET_SENDS];
	uint32_t send_free_count;
	struct packet waiting[PACKET_SOCKET_SENDS]; /* submitted, and not yet taken by the kernel */
	uint32_t waiting_count;
	struct packet_socket_message messages[PORT_BURST];
	struct mmsghdr *headers; /* PORT_BURST */
};

extern const struct port_ops packet_socket_ops;

/* packet_socket_open.c */
void packet_socket_close(struct port *port);

#endif
