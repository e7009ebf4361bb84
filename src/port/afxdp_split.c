/* afxdp_split.c - frames that are too long for one of ours, as segments.
 *
 * The kernel at the other end of a veth pair hands over TCP payload in frames of up to 64 KB, for a card
 * to cut, unless 'ethtool -K IF tso off' was said there. We get such a frame in pieces, each in a frame
 * of ours. A copy of its headers in front of each, with the piece's own sequence number and length,
 * makes each piece what the peer's card would have sent. No payload is copied. Its checksum was left
 * undone (afxdp_sums.c); a long frame for which that is not so is refused.
 * In: pieces, in order. Out: segments. Owns: the headers of the frame that is coming in. */
#include <string.h>

#include "port/afxdp_split.h"
#include "port/afxdp_sums.h"
#include "wire/checksum.h"

#define ETHERNET_BYTES 14
#define TCP_SEQ        4
#define TCP_OFFSET     12
#define TCP_FLAGS      13
#define TCP_BYTES_MIN  20
#define FLAG_FIN       0x01
#define FLAG_PSH       0x08
#define FLAG_CWR       0x80

static uint32_t ip_header_bytes(const uint8_t *frame)
{
	return (uint32_t)(frame[ETHERNET_BYTES] & 15) * 4;
}

/* The headers must be whole, and lie in the first piece. */
static bool split_begin(struct afxdp_split *split, const struct packet *packet)
{
	const uint8_t *frame = packet->data, *tcp;
	uint32_t headers, total, transport;

	if (!afxdp_sum_was_left(frame, packet->bytes, UINT16_MAX) || frame[ETHERNET_BYTES + 9] != 6)
		return false;
	transport = ETHERNET_BYTES + ip_header_bytes(frame);
	tcp = frame + transport;
	if (packet->bytes < transport + TCP_BYTES_MIN)
		return false;
	headers = transport + (uint32_t)(tcp[TCP_OFFSET] >> 4) * 4;
	total = ETHERNET_BYTES + get16(frame + ETHERNET_BYTES + 2);
	if (headers < transport + TCP_BYTES_MIN || packet->bytes <= headers || total <= headers)
		return false;
	memcpy(split->headers, frame, headers);
	split->header_bytes = (uint16_t)headers;
	split->seq = get32(tcp + TCP_SEQ);
	split->left = total - headers;
	return true;
}

/* Puts the headers in front of what is payload alone. */
static bool split_go_on(const struct afxdp_split *split, struct packet *packet, uint32_t before)
{
	if (before < split->header_bytes || packet->bytes == 0 || split->left == 0)
		return false;
	packet->data -= split->header_bytes;
	packet->bytes += split->header_bytes;
	packet->room = (uint16_t)(packet->room + split->header_bytes);
	memcpy(packet->data, split->headers, split->header_bytes);
	return true;
}

/* What a card does to each segment that it cuts: FIN and PSH belong to the last, CWR to the first. */
static void split_mend(struct afxdp_split *split, struct packet *packet, bool first)
{
	uint8_t *ip = packet->data + ETHERNET_BYTES, *tcp = ip + ip_header_bytes(packet->data);
	uint32_t payload = MIN_OF(packet->bytes - split->header_bytes, split->left);
	uint16_t sum;

	packet->bytes = split->header_bytes + payload;
	put16(ip + 2, (uint16_t)(packet->bytes - ETHERNET_BYTES));
	put16(ip + 10, 0);
	sum = csum_finish(csum_add(0, ip, ip_header_bytes(packet->data)));
	memcpy(ip + 10, &sum, sizeof(sum));
	put32(tcp + TCP_SEQ, split->seq);
	split->seq += payload;
	split->left -= payload;
	if (split->left > 0)
		tcp[TCP_FLAGS] &= (uint8_t) ~(FLAG_FIN | FLAG_PSH);
	if (!first)
		tcp[TCP_FLAGS] &= (uint8_t)~FLAG_CWR;
	packet->checksum = PACKET_CSUM_VERIFIED;
}

bool afxdp_split_piece(struct afxdp_split *split, struct packet *packet, uint32_t before, bool more)
{
	bool first = !split->open;

	if (first)
		split->refused = !split_begin(split, packet);
	else if (!split->refused)
		split->refused = !split_go_on(split, packet, before);
	split->open = more;
	if (split->refused)
		return false;
	split_mend(split, packet, first);
	return true;
}
