/* cut.h - what a card with segmentation offload does to a long frame, for tests that stand for one.
 * In: a frame that says gso_bytes. Out: its segments, sums and all. Owns: nothing. */
#ifndef C10M_TESTS_CUT_H
#define C10M_TESTS_CUT_H

#include <string.h>

#include "base/check.h"
#include "mem/packet.h"
#include "wire/checksum.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

/* The checksum whose pseudo-header stands in its field already. */
static inline void cut_complete(uint8_t *frame, uint32_t bytes, const struct packet *packet)
{
	uint16_t sum;

	CHECK(packet->csum_start + packet->csum_offset + 2u <= bytes);
	sum = csum_finish(csum_add(0, frame + packet->csum_start, bytes - packet->csum_start));
	memcpy(frame + packet->csum_start + packet->csum_offset, &sum, sizeof(sum));
}

static inline uint16_t cut_pseudo_sum(const uint8_t *frame, uint32_t tcp_bytes)
{
	const uint8_t *ip = frame + ETH_HEADER_BYTES;

	return (uint16_t)~csum_finish(
		csum_pseudo4(get32(ip + 12), get32(ip + 16), IP_PROTOCOL_TCP, tcp_bytes));
}

/* Everything that such a card relies on. */
static inline void cut_check(const struct packet *packet)
{
	const uint8_t *frame = packet->data, *tcp = frame + packet->csum_start;
	uint16_t pseudo = cut_pseudo_sum(frame, packet->bytes - packet->csum_start), field;

	CHECK(packet->checksum == PACKET_CSUM_PARTIAL && packet->csum_offset == 16);
	CHECK(packet->csum_start == ETH_HEADER_BYTES + IPV4_HEADER_BYTES);
	CHECK(packet->header_bytes == packet->csum_start + (uint32_t)(tcp[12] >> 4) * 4);
	CHECK(packet->bytes - packet->header_bytes > packet->gso_bytes && packet->gso_bytes > 0);
	CHECK(get16(frame + ETH_HEADER_BYTES + 2) == packet->bytes - ETH_HEADER_BYTES);
	memcpy(&field, tcp + packet->csum_offset, sizeof(field));
	CHECK(field == pseudo);
}

/* Writes the segment whose payload starts at `at` of the whole; returns its bytes. */
static inline uint32_t cut_segment(const struct packet *packet, uint32_t at, uint8_t *frame)
{
	uint32_t headers = packet->header_bytes, left = packet->bytes - headers - at;
	uint32_t payload = MIN_OF(left, (uint32_t)packet->gso_bytes), bytes = headers + payload;
	uint8_t *ip = frame + ETH_HEADER_BYTES, *tcp = frame + packet->csum_start;
	uint16_t sum;

	memcpy(frame, packet->data, headers);
	memcpy(frame + headers, packet->data + headers + at, payload);
	put16(ip + 2, (uint16_t)(bytes - ETH_HEADER_BYTES));
	put16(ip + 10, 0);
	sum = csum_finish(csum_add(0, ip, IPV4_HEADER_BYTES));
	memcpy(ip + 10, &sum, sizeof(sum));
	put32(tcp + 4, get32(tcp + 4) + at);
	if (payload < left)
		tcp[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	sum = cut_pseudo_sum(frame, bytes - packet->csum_start);
	memcpy(tcp + packet->csum_offset, &sum, sizeof(sum));
	cut_complete(frame, bytes, packet);
	return bytes;
}

#endif
