/* afxdp_sums.c - checksums that a peer in memory left to hardware there is none of.
 *
 * The kernel at the other end of a veth pair leaves the sum of the pseudo-header in the
 * checksum field, for a card to add the rest, unless 'ethtool -K IF tx off' was said there.
 * An AF_XDP socket does not see the flag that says so. Such a frame is known by its field:
 * it equals the sum of its own pseudo-header. Nothing was between us and the sender that
 * could change a bit, and a frame that only looks like one is as rare as a
 * checksum that is right by accident, 1 in 65536 damaged ones.
 * In: frames received on veth. Out: the mark. Owns: nothing. */
#include "port/afxdp_sums.h"
#include "wire/bytes.h"

#define ETHERNET_BYTES 14
#define IPV4_BYTES_MIN 20
#define IPV4_FRAGMENT  0x3fff /* more-fragments and the offset, RFC 791 section 3.1 */
#define PROTOCOL_TCP   6
#define PROTOCOL_UDP   17
#define TCP_SUM_OFFSET 16
#define UDP_SUM_OFFSET 6

/* RFC 9293 section 3.1, RFC 768: addresses, protocol, length of what follows the IP header. */
static uint16_t pseudo_header_sum(const uint8_t *ip, uint32_t transport_bytes)
{
	uint32_t sum = ip[9] + transport_bytes;

	for (uint32_t at = 12; at < 20; at += 2)
		sum += get16(ip + at);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)(sum + (sum >> 16));
}

bool afxdp_sum_was_left(const uint8_t *frame, uint32_t bytes, uint32_t most)
{
	const uint8_t *ip = frame + ETHERNET_BYTES;
	uint32_t header, total, field;

	if (bytes < ETHERNET_BYTES + IPV4_BYTES_MIN || get16(frame + 12) != 0x0800 || ip[0] >> 4 != 4)
		return false;
	header = (uint32_t)(ip[0] & 15) * 4;
	total = get16(ip + 2);
	if (header < IPV4_BYTES_MIN || total > most || (get16(ip + 6) & IPV4_FRAGMENT) != 0)
		return false;
	if (ip[9] != PROTOCOL_TCP && ip[9] != PROTOCOL_UDP)
		return false;
	field = header + (ip[9] == PROTOCOL_TCP ? TCP_SUM_OFFSET : UDP_SUM_OFFSET);
	return field + 2 <= MIN_OF(total, bytes - ETHERNET_BYTES) &&
	       get16(ip + field) == pseudo_header_sum(ip, total - header);
}

void afxdp_sums_mark(struct packet *packets, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *frame = packets[i].data;
		uint32_t bytes = packets[i].bytes;

		if (bytes > ETHERNET_BYTES && afxdp_sum_was_left(frame, bytes, bytes - ETHERNET_BYTES))
			packets[i].checksum = PACKET_CSUM_VERIFIED;
	}
}
