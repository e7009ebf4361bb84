/* ethernet.h - Ethernet II frames (RFC 894). */
#ifndef C10M_WIRE_ETHERNET_H
#define C10M_WIRE_ETHERNET_H

#include "obs/counters.h"
#include "wire/bytes.h"

#define ETH_HEADER_BYTES 14
#define ETH_TYPE_IPV4    0x0800
#define ETH_TYPE_ARP     0x0806
#define ETH_TYPE_IPV6    0x86dd

struct eth_address {
	uint8_t octets[6];
};

struct eth_header {
	struct eth_address destination, source;
	uint16_t type;
};

enum drop_reason eth_parse(const uint8_t *frame, size_t bytes, struct eth_header *header);
/* Writes ETH_HEADER_BYTES. */
void eth_emit(uint8_t *at, const struct eth_header *header);

extern const struct eth_address eth_broadcast;

PURE_INLINE bool eth_equal(const struct eth_address *a, const struct eth_address *b)
{
	uint32_t head_a, head_b;
	uint16_t tail_a, tail_b;

	memcpy(&head_a, a->octets, 4);
	memcpy(&head_b, b->octets, 4);
	memcpy(&tail_a, a->octets + 4, 2);
	memcpy(&tail_b, b->octets + 4, 2);
	return ((head_a ^ head_b) | (uint32_t)(tail_a ^ tail_b)) == 0;
}

/* Broadcast included. */
PURE_INLINE bool eth_is_multicast(const struct eth_address *address)
{
	return address->octets[0] & 1;
}

#endif
