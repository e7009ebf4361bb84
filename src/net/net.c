/* net.c - replies without a connection, ARP, ping.
 * In: frames that the stack's stages hand over.  Out: frames in the ring of replies.
 * Owns: the ring, the rate limit, neighbour states in the destination table. */
#include "net/net.h"

#include <string.h>

#include "wire/arp.h"

size_t net_bytes(uint32_t destination_capacity)
{
	return REPLIES * sizeof(struct reply) + reassembly_bytes() +
	       ALIGN_UP(destinations_bytes(destination_capacity), (size_t)CACHE_LINE);
}

static void rate_draw(struct net *net, struct net_rate *rate)
{
	rate->drawn_tick = net->now_tick;
	rate->rate = rate->mean / 2 + random_below(net->random, rate->mean);
	rate->burst = rate->mean_burst / 2 + random_below(net->random, rate->mean_burst);
}

static void rate_init(struct net *net, struct net_rate *rate, uint32_t mean, uint32_t mean_burst)
{
	*rate = (struct net_rate){.mean = mean, .mean_burst = mean_burst, .tick = net->now_tick};
	rate_draw(net, rate);
	rate->tokens = rate->burst;
}

void net_init(struct net *net, void *memory, uint32_t destination_capacity, const struct routes *routes,
	      const struct siphash_key *key)
{
	uint8_t *at = memory;

	net->replies = memory;
	rate_init(net, &net->replies_rate, REPLY_RATE, REPLY_RATE_BURST);
	rate_init(net, &net->errors, ERROR_RATE, ERROR_RATE_BURST);
	at += REPLIES * sizeof(struct reply);
	reassembly_init(&net->reassembly, at, net->counters);
	at += reassembly_bytes();
	destinations_init(&net->destinations, at, destination_capacity, routes, key);
}

static struct reply *reply_add(struct net *net, uint32_t bytes)
{
	struct reply *reply;

	if (net->reply_count == REPLIES) {
		net->counters->drops[DROP_REPLY_QUEUE_FULL]++;
		return NULL;
	}
	reply = net_reply_at(net, net->reply_count++);
	reply->chunk = CHUNK_NONE;
	reply->bytes = bytes;
	return reply;
}

uint8_t *net_reply(struct net *net, uint32_t bytes)
{
	struct reply *reply;

	CHECK(bytes <= REPLY_INLINE);
	reply = reply_add(net, bytes);
	return reply ? reply->data : NULL;
}

bool net_rate_allows(struct net *net, struct net_rate *rate)
{
	uint32_t elapsed = net->now_tick - rate->tick;

	if (elapsed) {
		uint64_t parts = (uint64_t)elapsed * rate->rate + rate->part;
		uint64_t tokens = rate->tokens + parts / TICKS_PER_SECOND;

		if (net->now_tick - rate->drawn_tick >= TICKS_PER_SECOND)
			rate_draw(net, rate);
		rate->tokens = tokens > rate->burst ? rate->burst : (uint32_t)tokens;
		rate->part = (uint32_t)(parts % TICKS_PER_SECOND);
		rate->tick = net->now_tick;
	}
	if (rate->tokens == 0)
		return false;
	rate->tokens--;
	return true;
}

bool net_reply_allowed(struct net *net)
{
	return net_rate_allows(net, &net->replies_rate);
}

uint32_t net_replies_take(struct net *net, struct packet *packets, uint32_t max)
{
	uint32_t count = 0;

	for (; count < max && net->reply_count; count++) {
		struct reply *reply = net_reply_at(net, 0);
		const uint8_t *from = reply->data;

		if (reply->chunk != CHUNK_NONE)
			from = chunk_at(net->chunks, reply->chunk)->data;
		if (reply->bytes <= packets[count].room) {
			memcpy(packets[count].data, from, reply->bytes);
			packets[count].bytes = reply->bytes;
			packets[count].checksum = PACKET_CSUM_NONE;
		}
		if (reply->chunk != CHUNK_NONE)
			chunk_give(net->chunks, reply->chunk);
		net->reply_first = (net->reply_first + 1) % REPLIES;
		net->reply_count--;
		if (unlikely(reply->bytes > packets[count].room)) {
			net->counters->drops[DROP_PORT_FRAME]++;
			count--;
		}
	}
	return count;
}

void net_emit_headers(struct net *net, uint8_t *frame, const struct eth_address *to, uint32_t source,
		      uint32_t destination, uint8_t protocol, uint32_t ip_bytes)
{
	struct eth_header eth = {*to, net->destinations.routes.mac, ETH_TYPE_IPV4};
	struct ipv4_header ip = {
		.source = source,
		.destination = destination,
		.total_bytes = (uint16_t)ip_bytes,
		.flags = IPV4_DF,
		.ttl = IPV4_TTL,
		.protocol = protocol,
	};

	eth_emit(frame, &eth);
	ipv4_emit(frame + ETH_HEADER_BYTES, &ip); /* atomic: an ID of 0 (RFC 6864 section 4.1) */
}

static void arp_send(struct net *net, uint16_t operation, const struct eth_address *to, uint32_t sender_ip,
		     uint32_t target_ip)
{
	const struct routes *routes = &net->destinations.routes;
	struct eth_header eth = {*to, routes->mac, ETH_TYPE_ARP};
	struct arp_packet arp = {
		.operation = operation,
		.sender = routes->mac,
		.sender_ip = sender_ip,
		.target_ip = target_ip,
	};
	uint8_t *frame = net_reply(net, ETH_HEADER_BYTES + ARP_BYTES);

	if (!frame)
		return;
	if (operation == ARP_REPLY)
		arp.target = *to;
	eth_emit(frame, &eth);
	arp_emit(frame + ETH_HEADER_BYTES, &arp);
	if (operation == ARP_REQUEST)
		net->counters->arp_requests_out++;
	else
		net->counters->arp_replies_out++;
}

static void entry_set(struct net *net, struct destination *entry, const struct eth_address *mac,
		      bool permanent)
{
	uint32_t waiting = entry->waiting;

	if (entry->state == NEIGHBOUR_INCOMPLETE)
		net->destinations.probing--;
	entry->mac = *mac;
	entry->state = permanent ? NEIGHBOUR_PERMANENT : NEIGHBOUR_REACHABLE;
	entry->tries = 0;
	entry->confirmed_tick = net->now_tick;
	entry->waiting = UINT32_MAX;
	if (waiting != UINT32_MAX)
		net->resolved(net->context, waiting, true);
}

void net_set_neighbour(struct net *net, uint32_t ip, const struct eth_address *mac, bool permanent)
{
	struct destinations *table = &net->destinations;
	uint16_t index = destination_find(table, ip, 0);
	struct destination *entry;

	if (!index)
		index = destination_for(table, ip, 0);
	if (!index)
		return;
	entry = destination_hop(table, index);
	if (entry->ip == ip && (entry->state != NEIGHBOUR_PERMANENT || permanent))
		entry_set(net, entry, mac, permanent);
}

/* --- neighbours of the kernel's ---------------------------------------------------- */

void net_learn_neighbour(struct net *net, uint32_t ip, const struct eth_address *mac, bool permanent)
{
	uint16_t index = destination_find(&net->destinations, ip, 0);

	if (index)
		entry_set(net, destination_at(&net->destinations, index), mac, permanent);
}

void net_hear_neighbour(struct net *net, uint32_t ip, const struct eth_address *mac)
{
	uint16_t index = destination_find(&net->destinations, ip, 0);

	if (index && destination_at(&net->destinations, index)->state != NEIGHBOUR_PERMANENT)
		entry_set(net, destination_at(&net->destinations, index), mac, false);
}

static void entry_fail(struct net *net, struct destination *entry)
{
	uint32_t waiting = entry->waiting;

	entry->state = NEIGHBOUR_FREE;
	entry->tries = 0;
	entry->waiting = UINT32_MAX;
	net->destinations.probing--;
	net->counters->neighbour_timeouts++;
	net->ways_lost |= routes_forget(&net->destinations.routes, entry->ip);
	if (waiting != UINT32_MAX)
		net->resolved(net->context, waiting, false);
}

void net_lose_neighbour(struct net *net, uint32_t ip, bool silent)
{
	uint16_t index = destination_find(&net->destinations, ip, 0);
	struct destination *entry;

	if (!index)
		return;
	entry = destination_at(&net->destinations, index);
	if (entry->state != NEIGHBOUR_INCOMPLETE)
		entry->state = NEIGHBOUR_FREE;
	else if (silent)
		entry_fail(net, entry);
}

void net_doubt_neighbours(struct net *net)
{
	struct destinations *table = &net->destinations;

	for (uint32_t i = 1; i < table->used; i++) {
		struct destination *entry = &table->entries[i];

		if (entry->state == NEIGHBOUR_PERMANENT)
			entry->state = NEIGHBOUR_REACHABLE;
		entry->asked_tick = net->now_tick - NEIGHBOUR_USED_MS - 1;
	}
}

static bool request_add(struct net *net, uint32_t ip)
{
	if (net->request_count == NET_REQUESTS)
		return false;
	net->requests[(net->request_first + net->request_count++) % NET_REQUESTS] = ip;
	return true;
}

bool net_request(struct net *net, uint32_t *ip)
{
	if (net->request_count == 0)
		return false;
	*ip = net->requests[net->request_first];
	net->request_first = (net->request_first + 1) % NET_REQUESTS;
	net->request_count--;
	return true;
}

void net_release_waiters(struct net *net)
{
	for (uint32_t i = 1; i < net->destinations.used; i++) {
		struct destination *entry = &net->destinations.entries[i];
		uint32_t waiting = entry->waiting;

		entry->waiting = UINT32_MAX;
		if (waiting != UINT32_MAX)
			net->resolved(net->context, waiting, true);
	}
}

/* --- ARP ----------------------------------------------------------------------------- */

enum drop_reason net_arp_input(struct net *net, const uint8_t *frame, size_t bytes)
{
	const struct routes *routes = &net->destinations.routes;
	struct arp_packet arp;
	enum drop_reason reason = arp_parse(frame + ETH_HEADER_BYTES, bytes - ETH_HEADER_BYTES, &arp);
	bool for_us, known;

	if (reason)
		return reason;
	if (net->shared)
		return DROP_ARP_NOT_OURS;
	for_us = routes_is_local(routes, arp.target_ip);
	known = destination_find(&net->destinations, arp.sender_ip, 0) != DESTINATION_NONE;
	/* RFC 826: refresh what is known, learn from what is addressed to us. */
	if (!routes_is_local(routes, arp.sender_ip) && ipv4_is_unicast(arp.sender_ip) &&
	    routes_next_hop(routes, arp.sender_ip) == arp.sender_ip && (for_us || known))
		net_set_neighbour(net, arp.sender_ip, &arp.sender, false);
	if (!for_us)
		return DROP_ARP_NOT_OURS;
	if (arp.operation == ARP_REPLY)
		net->counters->arp_replies_in++;
	else
		arp_send(net, ARP_REPLY, &arp.sender, arp.target_ip, arp.sender_ip);
	return DROP_NONE;
}

/* A question that the kernel cannot be asked just now, for there are too many, does not count. */
static void ask(struct net *net, struct destination *entry, bool unicast)
{
	entry->asked_tick = net->now_tick;
	if (net->shared) {
		entry->tries += request_add(net, entry->ip);
		return;
	}
	entry->tries++;
	arp_send(net, ARP_REQUEST, unicast ? &entry->mac : &eth_broadcast,
		 routes_source(&net->destinations.routes, entry->ip), entry->ip);
}

/* Reminded, the kernel keeps the entry and finds out by itself whether the neighbour is still there. */
static void remind_kernel(struct net *net, struct destination *entry)
{
	if (request_add(net, entry->ip))
		entry->asked_tick = net->now_tick;
}

bool net_resolve(struct net *net, uint16_t destination)
{
	struct destination *entry = destination_hop(&net->destinations, destination);

	if (likely(entry->state == NEIGHBOUR_PERMANENT))
		return true;
	if (entry->state == NEIGHBOUR_REACHABLE && net->shared) {
		if (unlikely(net->now_tick - entry->asked_tick > NEIGHBOUR_USED_MS))
			remind_kernel(net, entry);
		return true;
	}
	if (entry->state == NEIGHBOUR_REACHABLE) {
		if (unlikely(net->now_tick - entry->confirmed_tick > NEIGHBOUR_FRESH_MS) &&
		    (entry->tries == 0 || net->now_tick - entry->asked_tick >= NEIGHBOUR_RETRY_MS)) {
			if (entry->tries < NEIGHBOUR_TRIES) {
				ask(net, entry, true);
				return true;
			}
			entry->state = NEIGHBOUR_FREE; /* silent: start over by broadcast */
		} else {
			return true;
		}
	}
	if (entry->state == NEIGHBOUR_FREE) {
		entry->state = NEIGHBOUR_INCOMPLETE;
		entry->tries = 0;
		/* While others are asked for, net_tick comes within that time anyway. */
		if (net->destinations.probing++ == 0)
			net->probe_tick = net->now_tick + NEIGHBOUR_RETRY_MS;
		ask(net, entry, false);
	}
	return false;
}

void net_confirm(struct net *net, uint16_t destination)
{
	struct destination *entry = destination_hop(&net->destinations, destination);

	entry->confirmed_tick = net->now_tick;
	if (entry->state == NEIGHBOUR_REACHABLE)
		entry->tries = 0;
}

void net_doubt(struct net *net, uint16_t destination)
{
	struct destination *entry = destination_hop(&net->destinations, destination);

	entry->confirmed_tick = net->now_tick - NEIGHBOUR_FRESH_MS - 1;
	if (net->shared && entry->state == NEIGHBOUR_REACHABLE)
		entry->asked_tick = net->now_tick - NEIGHBOUR_USED_MS - 1;
}

void net_tick(struct net *net)
{
	struct destinations *table = &net->destinations;

	net->probe_tick = net->now_tick + NEIGHBOUR_RETRY_MS;
	for (uint32_t i = 1; i < table->used && table->probing; i++) {
		struct destination *entry = &table->entries[i];

		if (entry->state != NEIGHBOUR_INCOMPLETE ||
		    !tick_reached(entry->asked_tick + NEIGHBOUR_RETRY_MS, net->now_tick))
			continue;
		if (entry->tries < NEIGHBOUR_TRIES) {
			ask(net, entry, false);
			continue;
		}
		entry_fail(net, entry);
	}
}

enum drop_reason net_echo_reply(struct net *net, const uint8_t *frame, const struct ipv4_header *ip,
				const struct icmp_message *message)
{
	/* RFC 1122 section 3.2.2.6: what the link does not carry is cut off. */
	uint32_t ip_bytes = MIN_OF(IPV4_HEADER_BYTES + ICMP_HEADER_BYTES + message->body_bytes,
				   net->destinations.routes.mtu);
	uint32_t bytes = ETH_HEADER_BYTES + ip_bytes;
	struct eth_header eth;
	struct reply *reply;
	uint32_t chunk = CHUNK_NONE;
	uint8_t *at;

	if (!net_reply_allowed(net))
		return DROP_ICMP_RATE;
	if (bytes > REPLY_INLINE) {
		chunk = chunk_take(net->chunks, bytes);
		if (chunk == CHUNK_NONE || chunk_capacity(chunk) < bytes) {
			if (chunk != CHUNK_NONE)
				chunk_give(net->chunks, chunk);
			return DROP_NO_CHUNK;
		}
	}
	reply = reply_add(net, bytes);
	if (!reply) {
		if (chunk != CHUNK_NONE)
			chunk_give(net->chunks, chunk);
		return DROP_NONE; /* counted by reply_add */
	}
	reply->chunk = chunk;
	at = chunk == CHUNK_NONE ? reply->data : chunk_at(net->chunks, chunk)->data;
	eth_parse(frame, ETH_HEADER_BYTES, &eth);
	net_emit_headers(net, at, &eth.source, ip->destination, ip->source, IP_PROTOCOL_ICMP, ip_bytes);
	icmp_emit(at + ETH_HEADER_BYTES + IPV4_HEADER_BYTES, ICMP_ECHO_REPLY, 0, message->rest, message->body,
		  ip_bytes - IPV4_HEADER_BYTES - ICMP_HEADER_BYTES);
	net->counters->icmp_echo_replies++;
	return DROP_NONE;
}
