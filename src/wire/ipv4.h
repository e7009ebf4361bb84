/* ipv4.h - the IPv4 header (RFC 791, RFC 1122 section 3.2.1). */
#ifndef C10M_WIRE_IPV4_H
#define C10M_WIRE_IPV4_H

#include "obs/counters.h"
#include "wire/checksum.h"

#define IPV4_HEADER_BYTES 20
#define IPV4_TTL          64
#define IP_PROTOCOL_ICMP  1
#define IP_PROTOCOL_TCP   6
#define IP_PROTOCOL_UDP   17

#define IPV4_DF 0x4000
#define IPV4_MF 0x2000

struct ipv4_header {
	uint32_t source, destination; /* host order */
	uint16_t total_bytes;
	uint16_t id;
	uint16_t flags;           /* IPV4_DF, IPV4_MF */
	uint16_t fragment_offset; /* bytes */
	uint8_t header_bytes;     /* 20 to 60 */
	uint8_t tos, ttl, protocol;
};

/* Checks version, lengths, checksum and that the source can be a host (RFC 1122 3.2.1.3:
 * not broadcast 255.255.255.255, multicast, class E, 0/8, 127/8). Bytes behind total_bytes are link padding.
 * Fragments parse well; the caller decides. */
enum drop_reason ipv4_parse(const uint8_t *at, size_t bytes, struct ipv4_header *header);

/* Writes IPV4_HEADER_BYTES, checksum included; header_bytes of the struct is ignored. */
PURE_INLINE void ipv4_emit(uint8_t *at, const struct ipv4_header *header)
{
	const uint32_t words[5] = {
		NET32(0x45000000u | (uint32_t)header->tos << 16 | header->total_bytes),
		NET32((uint32_t)header->id << 16 | header->flags | header->fragment_offset / 8u),
		NET32((uint32_t)header->ttl << 24 | (uint32_t)header->protocol << 16),
		NET32(header->source),
		NET32(header->destination),
	};
	uint64_t sum = (uint64_t)words[0] + words[1] + words[2] + words[3] + words[4];
	uint16_t check = csum_finish(csum_fold64(sum));

	memcpy(at, words, sizeof(words));
	memcpy(at + 10, &check, 2);
}

/* Gives a header without options, as emitted, another time to live and class of service; ECN's bits stay. */
PURE_INLINE void ipv4_mark(uint8_t *at, uint8_t ttl, uint8_t dscp)
{
	uint16_t check;

	at[1] = (uint8_t)(dscp << 2 | (at[1] & 3));
	at[8] = ttl;
	at[10] = at[11] = 0;
	check = csum_finish(csum_fold64(csum_header(0, at, IPV4_HEADER_BYTES)));
	memcpy(at + 10, &check, 2);
}

#define IPV4_ECN_CE 3 /* both bits of tos: congestion experienced (RFC 3168 section 5) */

/* Sets the type of service of a header that ipv4_emit wrote with 0. */
PURE_INLINE void ipv4_set_tos(uint8_t *at, uint8_t tos)
{
	uint32_t sum = (uint16_t)~get16(at + 10) + (uint32_t)tos;

	at[1] = tos;
	put16(at + 10, (uint16_t) ~((sum & 0xffff) + (sum >> 16)));
}

/* May name one host on a network: not 0/8, 127/8, multicast, class E or broadcast. */
PURE_INLINE bool ipv4_is_unicast(uint32_t address)
{
	uint32_t net = address >> 24;

	return net != 0 && net != 127 && net < 224;
}

/* Addresses that follow each other; none when count is 0. */
struct ipv4_range {
	uint32_t first, count;
};

PURE_INLINE bool ipv4_range_holds(const struct ipv4_range *range, uint32_t address)
{
	return address - range->first < range->count;
}

/* The hosts of a network of 1 to 32 bits: all of it but the first and the last address (RFC 1122 section
 * 3.2.1.3), which count where there are no more than two (RFC 3021). */
struct ipv4_range ipv4_hosts(uint32_t prefix, unsigned prefix_bits);

/* "10.0.0.1" and "10.0.0.1/24"; false when the text is anything else. */
bool ipv4_from_text(const char *text, uint32_t *address);
bool ipv4_prefix_from_text(const char *text, uint32_t *address, unsigned *prefix_bits);
#define IPV4_TEXT_BYTES 16
const char *ipv4_to_text(uint32_t address, char text[IPV4_TEXT_BYTES]);

#endif
