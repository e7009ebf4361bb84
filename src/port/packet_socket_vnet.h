/* packet_socket_vnet.h - between packet descriptors and the header that stands before a frame in the kernel's
 * packet sockets (struct virtio_net_hdr, in this machine's byte order). */
#ifndef C10M_PORT_PACKET_SOCKET_VNET_H
#define C10M_PORT_PACKET_SOCKET_VNET_H

#include <linux/virtio_net.h>

#include "mem/packet.h"

/* Of Linux 6.2; older headers lack the name. */
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

/* Fills the marks of a received frame whose data and bytes stand already. False: the header contradicts the
 * frame, or asks for what is not understood here. */
bool vnet_read(const struct virtio_net_hdr *vnet, struct packet *packet);
/* For a frame that ends here: a sum that its sender on this machine has left undone cannot be wrong, where it
 * is the one of this packet's own TCP or UDP. Any other is left for the stack to verify. */
void vnet_accept_sum(struct packet *packet);
/* The header for a frame to send. */
void vnet_write(const struct packet *packet, struct virtio_net_hdr *vnet);
/* Puts a VLAN tag that the kernel took out back into the frame. Needs 4 bytes free before it. */
void vnet_tag(struct packet *packet, uint16_t type, uint16_t tag);

#endif
