/* arp.h - address resolution for IPv4 over Ethernet (RFC 826). */
#ifndef C10M_WIRE_ARP_H
#define C10M_WIRE_ARP_H

#include "wire/ethernet.h"

#define ARP_BYTES   28
#define ARP_REQUEST 1
#define ARP_REPLY   2

struct arp_packet {
	uint16_t operation;
	struct eth_address sender, target;
	uint32_t sender_ip, target_ip; /* host order */
};

/* at: behind the Ethernet header. */
enum drop_reason arp_parse(const uint8_t *at, size_t bytes, struct arp_packet *arp);
void arp_emit(uint8_t *at, const struct arp_packet *arp);

#endif
