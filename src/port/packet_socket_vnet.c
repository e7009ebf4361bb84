/* packet_socket_vnet.c - marks of a frame: checksum left undone, payload left uncut, VLAN tag taken out.
 * In: the kernel's header, or a descriptor. Out: the other one. Owns: nothing.
 * A frame that nobody finished is one that stays on this machine, or meets a card that finishes it: what is
 * read here and written there unchanged arrives as the sender meant it. */
#include "port/packet_socket_vnet.h"
#include "wire/bytes.h"

#define ETHERNET_BYTES 14
#define LINK_ADDRESSES 12
#define TAG_BYTES      4
#define TYPE_IPV4      0x0800
#define TYPE_IPV6      0x86dd
#define TYPE_VLAN      0x8100
#define TYPE_QINQ      0x88a8
#define TAGS_MAX       2
#define IPV4_BYTES_MIN 20
#define IPV4_FRAGMENT  0x3fff /* more-fragments and the offset, RFC 791 section 3.1 */
#define PROTOCOL_TCP   6
#define PROTOCOL_UDP   17
#define TCP_OFFSET     12
#define TCP_FLAGS      13
#define TCP_BYTES_MIN  20
#define TCP_SUM        16
#define UDP_BYTES      8
#define UDP_SUM        6
#define FLAG_CWR       0x80

/* All headers of a long frame, from where its transport header starts; 0: not all there. */
static uint32_t headers_of(const struct packet *packet)
{
	uint32_t start = packet->csum_start, bytes;

	if (packet->csum_offset == UDP_SUM)
		return start + UDP_BYTES <= packet->bytes ? start + UDP_BYTES : 0;
	if (start + TCP_BYTES_MIN > packet->bytes)
		return 0;
	bytes = start + (uint32_t)(packet->data[start + TCP_OFFSET] >> 4) * 4;
	return bytes >= start + TCP_BYTES_MIN && bytes <= packet->bytes ? bytes : 0;
}

static bool read_length(const struct virtio_net_hdr *vnet, struct packet *packet)
{
	uint8_t type = vnet->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	bool tcp = type == VIRTIO_NET_HDR_GSO_TCPV4 || type == VIRTIO_NET_HDR_GSO_TCPV6;

	if (type == VIRTIO_NET_HDR_GSO_NONE)
		return true;
	if ((!tcp && type != VIRTIO_NET_HDR_GSO_UDP_L4) || vnet->gso_size == 0 ||
	    packet->checksum != PACKET_CSUM_PARTIAL || packet->csum_offset != (tcp ? TCP_SUM : UDP_SUM))
		return false;
	packet->gso_bytes = vnet->gso_size;
	packet->header_bytes = (uint16_t)headers_of(packet);
	return packet->header_bytes > 0;
}

bool vnet_read(const struct virtio_net_hdr *vnet, struct packet *packet)
{
	packet->checksum = PACKET_CSUM_NONE;
	if (vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		if (vnet->csum_start < ETHERNET_BYTES ||
		    (uint32_t)vnet->csum_start + vnet->csum_offset + 2 > packet->bytes)
			return false;
		packet->checksum = PACKET_CSUM_PARTIAL;
		packet->csum_start = vnet->csum_start;
		packet->csum_offset = vnet->csum_offset;
	} else if (vnet->flags & VIRTIO_NET_HDR_F_DATA_VALID) {
		packet->checksum = PACKET_CSUM_VERIFIED;
	}
	return read_length(vnet, packet);
}

void vnet_accept_sum(struct packet *packet)
{
	const uint8_t *ip = packet->data + ETHERNET_BYTES;
	uint16_t offset;

	if (packet->checksum != PACKET_CSUM_PARTIAL)
		return;
	packet->checksum = PACKET_CSUM_NONE;
	if (packet->bytes < ETHERNET_BYTES + IPV4_BYTES_MIN ||
	    get16(packet->data + LINK_ADDRESSES) != TYPE_IPV4 || ip[0] >> 4 != 4 ||
	    (get16(ip + 6) & IPV4_FRAGMENT) != 0)
		return;
	offset = ip[9] == PROTOCOL_TCP ? TCP_SUM : UDP_SUM;
	if ((ip[9] == PROTOCOL_TCP || ip[9] == PROTOCOL_UDP) && packet->csum_offset == offset &&
	    packet->csum_start == ETHERNET_BYTES + (ip[0] & 15) * 4)
		packet->checksum = PACKET_CSUM_VERIFIED;
}

/* The first type that is no VLAN's. */
static uint16_t network_type(const struct packet *packet)
{
	const uint8_t *at = packet->data + LINK_ADDRESSES;
	uint16_t type = get16(at);

	for (int tags = 0; tags < TAGS_MAX && (type == TYPE_VLAN || type == TYPE_QINQ); tags++)
		type = get16(at += TAG_BYTES);
	return type;
}

static uint8_t length_type(const struct packet *packet)
{
	uint8_t type = network_type(packet) == TYPE_IPV6 ? VIRTIO_NET_HDR_GSO_TCPV6
							 : VIRTIO_NET_HDR_GSO_TCPV4;

	if (packet->csum_offset == UDP_SUM)
		return VIRTIO_NET_HDR_GSO_UDP_L4;
	/* Only the first segment keeps CWR (RFC 3168 section 6.1.2): who cuts has to know. */
	if (packet->data[packet->csum_start + TCP_FLAGS] & FLAG_CWR)
		type |= VIRTIO_NET_HDR_GSO_ECN;
	return type;
}

void vnet_write(const struct packet *packet, struct virtio_net_hdr *vnet)
{
	*vnet = (struct virtio_net_hdr){0};
	if (packet->checksum != PACKET_CSUM_PARTIAL)
		return;
	vnet->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	vnet->csum_start = packet->csum_start;
	vnet->csum_offset = packet->csum_offset;
	/* One segment's worth needs no cutting, and the kernel wants a frame of several to be one. */
	if (packet->gso_bytes == 0 || packet->bytes <= (uint32_t)packet->header_bytes + packet->gso_bytes)
		return;
	vnet->gso_type = length_type(packet);
	vnet->gso_size = packet->gso_bytes;
	vnet->hdr_len = packet->header_bytes;
}

void vnet_tag(struct packet *packet, uint16_t type, uint16_t tag)
{
	packet->data -= TAG_BYTES;
	packet->bytes += TAG_BYTES;
	memmove(packet->data, packet->data + TAG_BYTES, LINK_ADDRESSES);
	put16(packet->data + LINK_ADDRESSES, type);
	put16(packet->data + LINK_ADDRESSES + 2, tag);
	if (packet->checksum == PACKET_CSUM_PARTIAL)
		packet->csum_start = (uint16_t)(packet->csum_start + TAG_BYTES);
	if (packet->gso_bytes)
		packet->header_bytes = (uint16_t)(packet->header_bytes + TAG_BYTES);
}
