/* net.h - what stands below TCP on one core: neighbours, and replies that belong to no connection.
 *
 * Where the kernel goes on using the interface (`shared`), ARP and pings are its own: neighbours are asked
 * for and confirmed by requests to it.
 *
 * A reply (ARP, ICMP, a reset, a SYN-ACK) is built whole when its cause arrives and waits in
 * a bounded ring until the port has room. */
#ifndef C10M_NET_NET_H
#define C10M_NET_NET_H

#include "mem/chunk.h"
#include "mem/packet.h"
#include "base/random.h"
#include "base/ticks.h"
#include "net/destination.h"
#include "net/reassembly.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"

#define REPLIES          1024u
#define REPLY_INLINE     116
#define REPLY_RATE_BURST 1000u  /* resets and ICMP at once, as a mean ... */
#define REPLY_RATE       10000u /* ... and a second */
#define ERROR_RATE_BURST 50u    /* ICMP errors, likewise (RFC 1812 section 4.3.2.8): they are of use to few */
#define ERROR_RATE       1000u
#define NET_REQUESTS     64u /* neighbours that the kernel is about to be asked for */

struct reply {
	uint32_t chunk; /* CHUNK_NONE: the frame is in data */
	uint32_t bytes;
	uint8_t data[REPLY_INLINE];
	uint32_t pad;
};

_Static_assert(sizeof(struct reply) == 128, "two cache lines");

/* A bucket of tokens. How fast it fills is drawn anew each second, between half and one and a half of the
 * mean: who counts the answers to his own probes learns nothing of those to others (CVE-2016-5696 and
 * CVE-2020-25705 are such attacks). */
struct net_rate {
	uint32_t mean, mean_burst;
	uint32_t tick, tokens, part;      /* part: thousandths of a token */
	uint32_t drawn_tick, rate, burst; /* this second's */
};

struct net {
	struct counters *counters;
	struct chunk_pool *chunks;
	struct destinations destinations;
	struct reply *replies;
	uint32_t reply_first, reply_count;
	uint32_t now_tick;
	struct random *random;
	struct net_rate replies_rate, errors;
	struct reassembly reassembly;
	uint32_t probe_tick; /* while some are INCOMPLETE: when net_tick looks at them again */
	bool shared;
	bool ways_lost; /* redirected ones: connections are to look for their ways again */
	uint32_t requests[NET_REQUESTS];
	uint32_t request_first, request_count;
	/* Called when a neighbour's link address became known, or it stays silent. */
	void (*resolved)(void *context, uint32_t waiting, bool reachable);
	void *context;
};

size_t net_bytes(uint32_t destination_capacity);
void net_init(struct net *net, void *memory, uint32_t destination_capacity, const struct routes *routes,
	      const struct siphash_key *key);

/* Room for a frame of at most REPLY_INLINE bytes; NULL and a counted drop when the ring is full. */
uint8_t *net_reply(struct net *net, uint32_t bytes);
/* A token for something that an attacker could make us send: false, not counted, when the rate is used up. */
bool net_rate_allows(struct net *net, struct net_rate *rate);
/* One for a reset, a challenge or the answer to a ping. */
bool net_reply_allowed(struct net *net);
/* The i-th of those that wait. */
PURE_INLINE struct reply *net_reply_at(const struct net *net, uint32_t i)
{
	return &net->replies[(net->reply_first + i) % REPLIES];
}
/* Moves waiting replies into frames; returns how many. */
uint32_t net_replies_take(struct net *net, struct packet *packets, uint32_t max);

enum drop_reason net_arp_input(struct net *net, const uint8_t *frame, size_t bytes);
/* Answers a ping; everything else is for the caller. */
enum drop_reason net_echo_reply(struct net *net, const uint8_t *frame, const struct ipv4_header *ip,
				const struct icmp_message *message);

/* An ICMP error about a packet of `bytes` bytes, its IPv4 header first, that came behind the Ethernet header
 * `link`; it quotes what came as it came. None is sent where RFC 1122 section 3.2.2 forbids it, or the rate
 * is used up. */
void net_error(struct net *net, const uint8_t *link, const uint8_t *packet, uint32_t bytes, uint8_t type,
	       uint8_t code, uint32_t rest);
/* Looks at the options of a header that has any. */
enum drop_reason net_options_input(struct net *net, const uint8_t *frame, const struct ipv4_header *ip);
/* A protocol that is not spoken here, or a port of UDP: says so, on an interface of our own. */
enum drop_reason net_refuse_protocol(struct net *net, const uint8_t *frame, const struct ipv4_header *ip);
enum drop_reason net_fragment_input(struct net *net, const uint8_t *frame, const struct ipv4_header *ip);
/* Gives up datagrams whose time is over. To be called when reassembly.next_tick is reached and any live. */
void net_fragments_tick(struct net *net);

/* Whether the link address of a destination is known; asks for it (once a second) when it is not, and
 * confirms it when it is old. */
bool net_resolve(struct net *net, uint16_t destination);
/* The peer has made progress: its next hop is alive. */
void net_confirm(struct net *net, uint16_t destination);
/* The peer is silent: its next hop is asked whether it lives (RFC 1122 section 3.3.1.4) when it is used next.
 */
void net_doubt(struct net *net, uint16_t destination);
void net_set_neighbour(struct net *net, uint32_t ip, const struct eth_address *mac, bool permanent);
/* The kernel speaks. Only neighbours that are wanted are taken: others are not worth a place. */
void net_learn_neighbour(struct net *net, uint32_t ip, const struct eth_address *mac, bool permanent);
/* Another worker got a frame of ARP. Of a permanent entry the network has no say. */
void net_hear_neighbour(struct net *net, uint32_t ip, const struct eth_address *mac);
/* `silent`: it was asked and did not answer. Else it is just not known any more. */
void net_lose_neighbour(struct net *net, uint32_t ip, bool silent);
/* News may have been missed: every neighbour is asked about again when it is next used. */
void net_doubt_neighbours(struct net *net);
/* The next neighbour that the kernel is to be asked for; false: none. */
bool net_request(struct net *net, uint32_t *ip);
/* Ways have changed: who waits for a neighbour looks anew for whom to wait. */
void net_release_waiters(struct net *net);
/* Asks again, gives up. To be called when net->probe_tick is reached. */
void net_tick(struct net *net);

/* Ethernet and IPv4 headers of a packet that goes out. */
void net_emit_headers(struct net *net, uint8_t *frame, const struct eth_address *to, uint32_t source,
		      uint32_t destination, uint8_t protocol, uint32_t ip_bytes);

#endif
