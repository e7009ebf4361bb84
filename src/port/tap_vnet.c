/* tap_vnet.c - the header in front of each frame of a TAP device (VIRTIO 1.2 section 5.1.6): what is left
 * to be done to the frame.
 *
 * It comes from the kernel, but what it describes may come from anywhere: a bridge passes on what the sender
 * of a frame left undone. So its numbers are compared with the frame's own.
 * In: the header and the frame. Out: the packet's descriptor, and back. Owns: nothing. */
#include <linux/virtio_net.h>
#include <string.h>

#include "port/tap_internal.h"
#include "wire/bytes.h"

#define ETHERNET_BYTES 14u
#define TAG_BYTES      4u
#define TYPE_IPV4      0x0800
#define TYPE_VLAN      0x8100
#define IPV4_BYTES_MIN 20u
#define IPV4_FRAGMENT  0x3fff /* more-fragments and the offset, RFC 791 section 3.1 */
#define PROTOCOL_TCP   6
#define PROTOCOL_UDP   17
#define TCP_BYTES_MIN  20u

_Static_assert(sizeof(struct virtio_net_hdr) == TAP_VNET_BYTES, "the header without a buffer count");

/* Where the IPv4 header starts, behind a VLAN's tag if there is one; 0: there is none. */
static uint32_t ipv4_at(const struct packet *packet)
{
	uint32_t at = ETHERNET_BYTES;

	if (packet->bytes >= at + TAG_BYTES && get16(packet->data + at - 2) == TYPE_VLAN)
		at += TAG_BYTES;
	return packet->bytes >= at + IPV4_BYTES_MIN && get16(packet->data + at - 2) == TYPE_IPV4 ? at : 0;
}

/* Where the checksum of a whole IPv4 packet of TCP or UDP stands; false for anything else. */
static bool checksum_place(const struct packet *packet, uint32_t *start, uint32_t *offset)
{
	const uint32_t at = ipv4_at(packet);
	const uint8_t *ip = packet->data + at;

	if (at == 0 || ip[0] >> 4 != 4 || (get16(ip + 6) & IPV4_FRAGMENT) != 0)
		return false;
	if (ip[9] != PROTOCOL_TCP && ip[9] != PROTOCOL_UDP)
		return false;
	*start = at + (uint32_t)(ip[0] & 15) * 4;
	*offset = ip[9] == PROTOCOL_TCP ? 16 : 6;
	return true;
}

/* A sum that nobody has made cannot be wrong, where it is the one of this packet: else it is verified like
 * any other, and found wrong. */
static bool take_partial(const struct virtio_net_hdr *vnet, struct packet *packet)
{
	uint32_t start, offset;

	if ((uint32_t)vnet->csum_start + vnet->csum_offset + 2 > packet->bytes)
		return false;
	if (!checksum_place(packet, &start, &offset) || start != vnet->csum_start ||
	    offset != vnet->csum_offset)
		return true;
	packet->checksum = PACKET_CSUM_PARTIAL;
	packet->csum_start = vnet->csum_start;
	packet->csum_offset = vnet->csum_offset;
	return true;
}

/* Several segments in one frame: only TCP over IPv4 was asked for. */
static bool take_segments(const struct virtio_net_hdr *vnet, struct packet *packet)
{
	uint32_t headers;

	if ((vnet->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) != VIRTIO_NET_HDR_GSO_TCPV4 || vnet->gso_size == 0 ||
	    packet->csum_start == 0 || packet->csum_offset != 16 ||
	    packet->bytes < packet->csum_start + TCP_BYTES_MIN)
		return false;
	headers = packet->csum_start + (uint32_t)(packet->data[packet->csum_start + 12] >> 4) * 4;
	if (headers < packet->csum_start + TCP_BYTES_MIN || headers > packet->bytes)
		return false;
	packet->gso_bytes = vnet->gso_size;
	packet->header_bytes = (uint16_t)headers;
	return true;
}

bool tap_vnet_parse(const uint8_t header[TAP_VNET_BYTES], struct packet *packet)
{
	struct virtio_net_hdr vnet;

	memcpy(&vnet, header, sizeof(vnet));
	if (packet->bytes < ETHERNET_BYTES)
		return false;
	if (vnet.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		if (!take_partial(&vnet, packet))
			return false;
	} else if (vnet.flags & VIRTIO_NET_HDR_F_DATA_VALID) {
		packet->checksum = PACKET_CSUM_VERIFIED;
	}
	return vnet.gso_type == VIRTIO_NET_HDR_GSO_NONE || take_segments(&vnet, packet);
}

void tap_vnet_emit(uint8_t header[TAP_VNET_BYTES], const struct packet *packet)
{
	struct virtio_net_hdr vnet = {0};

	if (packet->checksum == PACKET_CSUM_PARTIAL) {
		vnet.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		vnet.csum_start = packet->csum_start;
		vnet.csum_offset = packet->csum_offset;
	}
	if (packet->gso_bytes) {
		vnet.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
		vnet.gso_size = packet->gso_bytes;
		vnet.hdr_len = packet->header_bytes;
	}
	memcpy(header, &vnet, sizeof(vnet));
}
