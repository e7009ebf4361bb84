/* fault_cut.c - what the fault port has to know of a frame's inside.
 * In: frames, long ones and such whose checksum was left undone. Out: segments, marks, sums.
 * Owns: nothing. Each byte may come from a stranger: what does not add up is left as it is. */
#include "port/fault_cut.h"
#include "wire/checksum.h"

#define ETHERNET_BYTES    14
#define ETHERNET_TYPE     12
#define TAG_BYTES         4
#define TAGS_MAX          2
#define TYPE_IPV4         0x0800
#define TYPE_IPV6         0x86dd
#define TYPE_VLAN         0x8100
#define TYPE_QINQ         0x88a8
#define IPV4_BYTES_MIN    20
#define IPV4_FRAGMENT     0x3fff /* more-fragments and the offset, RFC 791 section 3.1 */
#define IPV6_BYTES        40
#define TCP_BYTES_MIN     20
#define TCP_SUM           16
#define UDP_BYTES         8
#define UDP_SUM           6
#define PROTOCOL_TCP      6
#define PROTOCOL_UDP      17
#define FLAG_FIN          0x01
#define FLAG_PSH          0x08
#define FLAG_CWR          0x80
#define WIRE_BYTES_MIN    64 /* with the check sequence */
#define WIRE_CHECK_BYTES  4
#define WIRE_AROUND_BYTES 20 /* preamble and gap */
#define ECN_MASK          3
#define ECN_MARKED        3

/* --- reading ----------------------------------------------------------------- */

/* Where the IP header starts, and which; 0: there is none, or not all of it. */
static uint32_t find_network(const struct packet *frame, bool *ipv6)
{
	uint32_t at = ETHERNET_TYPE;
	uint16_t type;

	for (uint32_t tags = 0;; tags++, at += TAG_BYTES) {
		if (at + 2 > frame->bytes)
			return 0;
		type = get16(frame->data + at);
		if (tags == TAGS_MAX || (type != TYPE_VLAN && type != TYPE_QINQ))
			break;
	}
	at += 2;
	*ipv6 = type == TYPE_IPV6;
	if (type == TYPE_IPV4 && at + IPV4_BYTES_MIN <= frame->bytes && frame->data[at] >> 4 == 4)
		return at;
	if (*ipv6 && at + IPV6_BYTES <= frame->bytes && frame->data[at] >> 4 == 6)
		return at;
	return 0;
}

/* IPv6 may have more headers between; who left the checksum undone says where they end. */
static bool find_transport(struct fault_cut *cut)
{
	const uint8_t *ip = cut->frame->data + cut->network;
	uint8_t protocol = cut->ipv6 ? ip[6] : ip[9];

	if (cut->ipv6) {
		cut->transport = cut->network + IPV6_BYTES;
	} else {
		cut->transport = cut->network + (uint32_t)(ip[0] & 15) * 4;
		if ((get16(ip + 6) & IPV4_FRAGMENT) != 0 || cut->transport < cut->network + IPV4_BYTES_MIN)
			return false;
	}
	if (cut->frame->checksum == PACKET_CSUM_PARTIAL && cut->frame->csum_start != cut->transport) {
		if (!cut->ipv6 || cut->frame->csum_start < cut->transport)
			return false;
		cut->transport = cut->frame->csum_start;
		protocol = cut->frame->csum_offset == TCP_SUM ? PROTOCOL_TCP : PROTOCOL_UDP;
	}
	cut->udp = protocol == PROTOCOL_UDP;
	if (cut->frame->checksum == PACKET_CSUM_PARTIAL &&
	    cut->frame->csum_offset != (cut->udp ? UDP_SUM : TCP_SUM))
		return false;
	return protocol == PROTOCOL_TCP || (cut->udp && cut->frame->gso_bytes > 0);
}

static bool find_payload(struct fault_cut *cut)
{
	const struct packet *frame = cut->frame;
	const uint8_t *ip = frame->data + cut->network;
	uint32_t end = cut->network + (cut->ipv6 ? IPV6_BYTES + get16(ip + 4) : get16(ip + 2));
	uint32_t least = cut->transport + (cut->udp ? UDP_BYTES : TCP_BYTES_MIN);

	if (least > frame->bytes || end > frame->bytes)
		return false;
	cut->headers = cut->udp ? least
				: cut->transport + (uint32_t)(frame->data[cut->transport + 12] >> 4) * 4;
	if (cut->headers < least || cut->headers >= end)
		return false;
	cut->payload = end - cut->headers;
	return true;
}

bool fault_cut_begin(struct fault_cut *cut, const struct packet *frame, uint32_t mtu)
{
	*cut = (struct fault_cut){.frame = frame};
	if (frame->gso_bytes == 0 && frame->bytes <= mtu + ETHERNET_BYTES + TAGS_MAX * TAG_BYTES)
		return false;
	cut->network = find_network(frame, &cut->ipv6);
	if (cut->network == 0 || !find_transport(cut) || !find_payload(cut))
		return false;
	cut->segment_bytes = frame->gso_bytes;
	if (cut->segment_bytes == 0 && mtu > cut->headers - cut->network)
		cut->segment_bytes = mtu - (cut->headers - cut->network);
	if (cut->segment_bytes == 0 || cut->segment_bytes >= cut->payload)
		return false;
	cut->segments = (cut->payload + cut->segment_bytes - 1) / cut->segment_bytes;
	return true;
}

/* --- writing ----------------------------------------------------------------- */

static void write_ipv4(const struct fault_cut *cut, uint32_t number, struct packet *packet)
{
	uint8_t *ip = packet->data + cut->network;
	uint16_t sum;

	put16(ip + 2, (uint16_t)(packet->bytes - cut->network));
	put16(ip + 4, (uint16_t)(get16(ip + 4) + number));
	put16(ip + 10, 0);
	sum = csum_finish(csum_add(0, ip, (uint32_t)(ip[0] & 15) * 4));
	memcpy(ip + 10, &sum, sizeof(sum));
}

/* What a card does to each segment that it cuts: FIN and PSH belong to the last, CWR to the first. */
static void write_tcp(const struct fault_cut *cut, uint32_t number, struct packet *packet)
{
	uint8_t *tcp = packet->data + cut->transport;

	put32(tcp + 4, get32(tcp + 4) + number * cut->segment_bytes);
	if (number + 1 < cut->segments)
		tcp[13] &= (uint8_t) ~(FLAG_FIN | FLAG_PSH);
	if (number > 0)
		tcp[13] &= (uint8_t)~FLAG_CWR;
}

/* The length is part of the pseudo-header, whose sum stands in the field. */
static void adjust_sum(const struct fault_cut *cut, struct packet *packet)
{
	uint8_t *field = packet->data + packet->csum_start + packet->csum_offset;
	uint32_t before = cut->headers + cut->payload - cut->transport, now = packet->bytes - cut->transport;
	uint32_t sum = get16(field) + (0xffff - (before & 0xffff)) + (now & 0xffff);

	sum = (sum & 0xffff) + (sum >> 16);
	put16(field, (uint16_t)(sum + (sum >> 16)));
}

void fault_cut_segment(const struct fault_cut *cut, uint32_t number, struct packet *packet)
{
	const struct packet *frame = cut->frame;
	uint32_t offset = number * cut->segment_bytes;
	uint32_t payload = MIN_OF(cut->segment_bytes, cut->payload - offset);

	packet->bytes = cut->headers + payload;
	packet->checksum = frame->checksum;
	packet->csum_start = frame->csum_start;
	packet->csum_offset = frame->csum_offset;
	packet->gso_bytes = packet->header_bytes = 0;
	memcpy(packet->data, frame->data, cut->headers);
	memcpy(packet->data + cut->headers, frame->data + cut->headers + offset, payload);
	if (cut->ipv6)
		put16(packet->data + cut->network + 4, (uint16_t)(packet->bytes - cut->network - IPV6_BYTES));
	else
		write_ipv4(cut, number, packet);
	if (cut->udp)
		put16(packet->data + cut->transport + 4, (uint16_t)(UDP_BYTES + payload));
	else
		write_tcp(cut, number, packet);
	if (packet->checksum == PACKET_CSUM_PARTIAL)
		adjust_sum(cut, packet);
}

void fault_complete_sum(struct packet *packet)
{
	uint32_t end = (uint32_t)packet->csum_start + packet->csum_offset + 2;
	uint16_t sum;

	if (packet->checksum != PACKET_CSUM_PARTIAL || end > packet->bytes)
		return;
	sum = csum_finish(csum_add(0, packet->data + packet->csum_start, packet->bytes - packet->csum_start));
	if (sum == 0)
		sum = 0xffff; /* zero means none in UDP (RFC 768), and the same as this in TCP */
	memcpy(packet->data + packet->csum_start + packet->csum_offset, &sum, sizeof(sum));
	packet->checksum = PACKET_CSUM_NONE;
}

/* --- a bottleneck's view ------------------------------------------------------- */

bool fault_mark_congestion(struct packet *packet)
{
	bool ipv6;
	uint32_t network = find_network(packet, &ipv6), header;
	uint8_t *ip = packet->data + network;
	uint16_t sum;

	if (network == 0)
		return false;
	if (ipv6) {
		if ((ip[1] >> 4 & ECN_MASK) == 0)
			return false;
		ip[1] |= ECN_MARKED << 4;
		return true;
	}
	header = (uint32_t)(ip[0] & 15) * 4;
	if ((ip[1] & ECN_MASK) == 0 || header < IPV4_BYTES_MIN || network + header > packet->bytes)
		return false;
	/* RFC 1624: the sum follows the change, so that one that was wrong stays wrong. */
	if ((ip[1] & ECN_MASK) != ECN_MARKED) {
		uint16_t before = get16(ip), after = before | ECN_MARKED;
		uint32_t word = (uint32_t)(uint16_t)~get16(ip + 10) + (uint16_t)~before + after;

		word = (word & 0xffff) + (word >> 16);
		sum = (uint16_t) ~(uint16_t)(word + (word >> 16));
		put16(ip + 10, sum);
		put16(ip, after);
	}
	return true;
}

/* A packet of `bytes` without its check sequence. */
static uint32_t wire_bytes_of(uint32_t bytes)
{
	return MAX_OF(bytes + WIRE_CHECK_BYTES, WIRE_BYTES_MIN) + WIRE_AROUND_BYTES;
}

uint32_t fault_wire_bytes(const struct packet *packet)
{
	uint32_t payload, full, rest;

	if (packet->gso_bytes == 0 || packet->header_bytes == 0 || packet->bytes <= packet->header_bytes)
		return wire_bytes_of(packet->bytes);
	payload = packet->bytes - packet->header_bytes;
	full = payload / packet->gso_bytes;
	rest = payload % packet->gso_bytes;
	return full * wire_bytes_of((uint32_t)packet->header_bytes + packet->gso_bytes) +
	       (rest ? wire_bytes_of(packet->header_bytes + rest) : 0);
}
