/* icmp.h - ICMP for IPv4 (RFC 792, RFC 1191, RFC 1122 section 3.2.2). */
#ifndef C10M_WIRE_ICMP_H
#define C10M_WIRE_ICMP_H

#include "obs/counters.h"

#define ICMP_HEADER_BYTES      8
#define ICMP_ECHO_REPLY        0
#define ICMP_UNREACHABLE       3
#define ICMP_SOURCE_QUENCH     4
#define ICMP_REDIRECT          5
#define ICMP_ECHO_REQUEST      8
#define ICMP_TIME_EXCEEDED     11
#define ICMP_PARAMETER_PROBLEM 12

#define ICMP_CODE_NET_UNREACHABLE      0
#define ICMP_CODE_HOST_UNREACHABLE     1
#define ICMP_CODE_PROTOCOL_UNREACHABLE 2
#define ICMP_CODE_PORT_UNREACHABLE     3
#define ICMP_CODE_FRAGMENTATION_NEEDED 4
#define ICMP_CODE_SOURCE_ROUTE_FAILED  5
#define ICMP_CODE_REASSEMBLY_TIME      1 /* of time exceeded */

struct icmp_message {
	uint8_t type, code;
	uint32_t rest;       /* the second word, host order */
	const uint8_t *body; /* behind the 8-byte header */
	uint32_t body_bytes;
};

/* The start of the packet that an ICMP error quotes. */
struct icmp_quote {
	uint32_t source, destination; /* of the quoted packet: source is us */
	uint8_t protocol;
	uint16_t source_port, destination_port;
	uint32_t seq;         /* TCP sequence number */
	uint16_t total_bytes; /* of the quoted packet (for old routers that give no MTU) */
	uint8_t header_bytes;
};

/* at: behind the IPv4 header; checks length and checksum. */
enum drop_reason icmp_parse(const uint8_t *at, size_t bytes, struct icmp_message *message);
bool icmp_is_error(uint8_t type);
/* Needs the quoted header and 8 bytes behind it. */
enum drop_reason icmp_parse_quote(const struct icmp_message *message, struct icmp_quote *quote);
/* Next-hop MTU of a "fragmentation needed" (RFC 1191), from the plateau table when the router gave none. */
uint32_t icmp_next_mtu(const struct icmp_message *message, const struct icmp_quote *quote);
/* Writes header and body with checksum; returns the bytes written. */
uint32_t icmp_emit(uint8_t *at, uint8_t type, uint8_t code, uint32_t rest, const uint8_t *body,
		   uint32_t body_bytes);

#endif
