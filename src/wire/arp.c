/* arp.c - ARP packets for IPv4 over Ethernet (RFC 826).
 * In: the bytes behind an Ethernet header.  Out: a struct, or a drop reason.  Owns: nothing. */
#include "wire/arp.h"

#define ARP_HARDWARE_ETHERNET 1

enum drop_reason arp_parse(const uint8_t *at, size_t bytes, struct arp_packet *arp)
{
	if (bytes < ARP_BYTES)
		return DROP_ARP_MALFORMED;
	if (get16(at) != ARP_HARDWARE_ETHERNET || get16(at + 2) != ETH_TYPE_IPV4 || at[4] != 6 || at[5] != 4)
		return DROP_ARP_MALFORMED;
	arp->operation = get16(at + 6);
	memcpy(&arp->sender, at + 8, 6);
	arp->sender_ip = get32(at + 14);
	memcpy(&arp->target, at + 18, 6);
	arp->target_ip = get32(at + 24);
	if (arp->operation != ARP_REQUEST && arp->operation != ARP_REPLY)
		return DROP_ARP_MALFORMED;
	/* A group address is nobody's own (RFC 1812 section 3.3.2). */
	if (eth_is_multicast(&arp->sender))
		return DROP_ARP_MALFORMED;
	return DROP_NONE;
}

void arp_emit(uint8_t *at, const struct arp_packet *arp)
{
	put16(at, ARP_HARDWARE_ETHERNET);
	put16(at + 2, ETH_TYPE_IPV4);
	at[4] = 6;
	at[5] = 4;
	put16(at + 6, arp->operation);
	memcpy(at + 8, &arp->sender, 6);
	put32(at + 14, arp->sender_ip);
	memcpy(at + 18, &arp->target, 6);
	put32(at + 24, arp->target_ip);
}
