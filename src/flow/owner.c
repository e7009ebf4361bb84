/* owner.c - which worker a received frame belongs to.
 * In: the bytes of a frame, from the network.  Out: the number of a worker.  Owns: nothing. */
#include "flow/owner.h"

#include "base/check.h"
#include "wire/bytes.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"

#define PORTS_BYTES 4 /* of a TCP header: both ports */
#define COMMON      0 /* the worker of what belongs to no flow */

void owner_init(struct owner *owner, const struct siphash_key *key, uint32_t workers, uint32_t all)
{
	CHECK(workers > 0 && workers <= OWNER_WORKERS_MAX && (all == OWNER_BY_HASH || all < workers));
	*owner = (struct owner){*key, workers, all, NULL};
}

/* --- the card's hash ------------------------------------------------------------ */

/* 32 bits of the key from a bit on; zeros follow it. */
static uint32_t key_window(const uint8_t *key, uint32_t key_bytes, uint32_t bit)
{
	uint64_t window = 0;

	for (uint32_t i = 0; i < 5; i++) {
		uint32_t at = bit / 8 + i;

		window = window << 8 | (at < key_bytes ? key[at] : 0u);
	}
	return (uint32_t)(window >> (8 - bit % 8));
}

void owner_rss_init(struct owner_rss *rss, const uint8_t *key, uint32_t key_bytes, uint32_t entries)
{
	CHECK(entries > 0 && entries <= OWNER_RSS_ENTRIES && (entries & (entries - 1)) == 0);
	*rss = (struct owner_rss){.entries = entries};
	for (uint32_t byte = 0; byte < OWNER_TUPLE_BYTES; byte++)
		for (uint32_t value = 0; value < 256; value++)
			for (uint32_t bit = 0; bit < 8; bit++)
				if (value & 0x80u >> bit)
					rss->tables[byte][value] ^= key_window(key, key_bytes,
									       byte * 8 + bit);
}

/* The card hashes what comes in: source first, in network order. */
uint32_t owner_rss_hash(const struct owner_rss *rss, const struct tuple4 *tuple)
{
	uint8_t bytes[OWNER_TUPLE_BYTES];
	uint32_t hash = 0;

	put32(bytes, tuple->remote_ip);
	put32(bytes + 4, tuple->local_ip);
	put16(bytes + 8, tuple->remote_port);
	put16(bytes + 10, tuple->local_port);
	for (uint32_t i = 0; i < OWNER_TUPLE_BYTES; i++)
		hash ^= rss->tables[i][bytes[i]];
	return hash;
}

/* --- frames -------------------------------------------------------------------------- */

/* An error quotes a packet of ours, seen from the other side: its source is our end. */
static uint32_t owner_of_icmp(const struct owner *owner, const uint8_t *at, size_t bytes, uint32_t here)
{
	struct icmp_message message;
	struct icmp_quote quote;
	struct tuple4 tuple;

	if (icmp_parse(at, bytes, &message))
		return here;
	if (message.type != ICMP_UNREACHABLE && message.type != ICMP_TIME_EXCEEDED &&
	    message.type != ICMP_PARAMETER_PROBLEM)
		return COMMON;
	if (icmp_parse_quote(&message, &quote))
		return here;
	if (quote.protocol != IP_PROTOCOL_TCP)
		return COMMON;
	tuple = (struct tuple4){quote.source, quote.destination, quote.source_port, quote.destination_port};
	return owner_of(owner, &tuple);
}

static uint32_t owner_of_ipv4(const struct owner *owner, const uint8_t *packet, size_t bytes, uint32_t here)
{
	struct ipv4_header ip;
	const uint8_t *at;
	struct tuple4 tuple;

	if (ipv4_parse(packet, bytes, &ip))
		return here;
	/* Only the first fragment has ports: all go to one place. */
	if (ip.flags & IPV4_MF || ip.fragment_offset)
		return COMMON;
	at = packet + ip.header_bytes;
	bytes = (size_t)ip.total_bytes - ip.header_bytes;
	if (ip.protocol == IP_PROTOCOL_ICMP)
		return owner_of_icmp(owner, at, bytes, here);
	if (ip.protocol != IP_PROTOCOL_TCP)
		return COMMON;
	if (bytes < PORTS_BYTES)
		return here;
	tuple = (struct tuple4){ip.destination, ip.source, get16(at + 2), get16(at)};
	return owner_of(owner, &tuple);
}

uint32_t owner_of_frame(const struct owner *owner, const uint8_t *frame, uint32_t bytes, uint32_t here)
{
	struct eth_header eth;

	if (eth_parse(frame, bytes, &eth))
		return here;
	if (likely(eth.type == ETH_TYPE_IPV4))
		return owner_of_ipv4(owner, frame + ETH_HEADER_BYTES, bytes - ETH_HEADER_BYTES, here);
	return COMMON;
}
