/* link.c - the wire between three hosts, and what goes wrong on it.
 * In: frames that a host sent.  Out: frames that are due for a host.  Owns: the frames on their way. */
#include "sim.h"

#include <stdlib.h>

#include "wire/ethernet.h"
#include "wire/icmp.h"

static bool frame_before(const struct frame *a, const struct frame *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void heap_push(struct link *link, struct frame *frame)
{
	uint32_t at = link->count++;

	if (link->count > link->room) {
		link->room = link->room ? link->room * 2 : 256;
		link->heap = realloc(link->heap, link->room * sizeof(*link->heap));
		CHECK(link->heap);
	}
	while (at > 0 && frame_before(frame, link->heap[(at - 1) / 2])) {
		link->heap[at] = link->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	link->heap[at] = frame;
}

static struct frame *heap_pop(struct link *link)
{
	struct frame *top = link->heap[0], *last = link->heap[--link->count];
	uint32_t at = 0, child;

	while ((child = 2 * at + 1) < link->count) {
		if (child + 1 < link->count && frame_before(link->heap[child + 1], link->heap[child]))
			child++;
		if (!frame_before(link->heap[child], last))
			break;
		link->heap[at] = link->heap[child];
		at = child;
	}
	link->heap[at] = last;
	return top;
}

static struct frame *frame_new(struct link *link)
{
	struct frame *frame = link->free;

	if (frame)
		link->free = frame->next_free;
	else
		frame = malloc(sizeof(*frame));
	CHECK(frame);
	return frame;
}

void link_give(struct link *link, struct frame *frame)
{
	frame->next_free = link->free;
	link->free = frame;
}

void link_free(struct link *link)
{
	while (link->count > 0)
		link_give(link, heap_pop(link));
	while (link->free) {
		struct frame *frame = link->free;

		link->free = frame->next_free;
		free(frame);
	}
	free(link->heap);
}

uint64_t link_next_us(const struct link *link)
{
	return link->count > 0 ? link->heap[0]->at_us : UINT64_MAX;
}

struct frame *link_take(struct world *world)
{
	struct link *link = &world->link;

	return link->count > 0 && link->heap[0]->at_us <= world->now_us ? heap_pop(link) : NULL;
}

void link_deliver(struct world *world, uint8_t to, const uint8_t *data, uint32_t bytes, uint64_t at_us)
{
	struct frame *frame = frame_new(&world->link);

	CHECK(bytes <= FRAME_ROOM);
	frame->at_us = at_us;
	frame->order = world->link.order++;
	frame->to = to;
	frame->bytes = bytes;
	frame->verified = false;
	memcpy(frame->data, data, bytes);
	heap_push(&world->link, frame);
}

/* --- checksums, by a plain sum of our own ------------------------------------------- */

static uint16_t plain_checksum(const uint8_t *at, uint32_t bytes, uint64_t sum)
{
	for (uint32_t i = 0; i + 1 < bytes; i += 2)
		sum += get16(at + i);
	if (bytes & 1)
		sum += (uint32_t)at[bytes - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static uint16_t transport_sum(const uint8_t *ip)
{
	uint32_t ip_bytes = (uint32_t)(ip[0] & 15) * 4, bytes = get16(ip + 2) - ip_bytes;
	uint64_t pseudo = 0;

	if (ip[9] == IP_PROTOCOL_TCP)
		pseudo = (uint64_t)get16(ip + 12) + get16(ip + 14) + get16(ip + 16) + get16(ip + 18) + ip[9] +
			 bytes;
	return plain_checksum(ip + ip_bytes, bytes, pseudo);
}

void frame_fix_checksums(uint8_t *frame)
{
	uint8_t *ip = frame + ETH_HEADER_BYTES;
	uint32_t ip_bytes = (uint32_t)(ip[0] & 15) * 4;
	uint8_t *field = ip + ip_bytes + (ip[9] == IP_PROTOCOL_TCP ? 16 : 2);

	put16(ip + 10, 0);
	put16(ip + 10, plain_checksum(ip, ip_bytes, 0));
	if (ip[9] != IP_PROTOCOL_TCP && ip[9] != IP_PROTOCOL_ICMP)
		return;
	put16(field, 0);
	put16(field, transport_sum(ip));
}

bool frame_checksums_good(const uint8_t *frame, uint32_t bytes)
{
	const uint8_t *ip = frame + ETH_HEADER_BYTES;

	if (bytes < ETH_HEADER_BYTES + 28 || get16(frame + 12) != ETH_TYPE_IPV4 || ip[0] != 0x45)
		return false;
	return bytes == ETH_HEADER_BYTES + (uint32_t)get16(ip + 2) && plain_checksum(ip, 20, 0) == 0 &&
	       transport_sum(ip) == 0;
}

/* --- faults --------------------------------------------------------------------------- */

static bool chance(struct world *world, uint32_t in_10000)
{
	return in_10000 > 0 && random_chance(&world->random, in_10000, 10000);
}

/* Up to three bits within one word: the checksum always finds that (Ethernet's own, which would hide
 * it, is left out). An ARP packet has no checksum: only its fixed fields are spoilt. */
static void corrupt(struct world *world, uint8_t *data, uint32_t bytes)
{
	bool arp = get16(data + 12) == ETH_TYPE_ARP;
	uint32_t words = arp ? 3 : (bytes - ETH_HEADER_BYTES) / 2;
	uint32_t word = ETH_HEADER_BYTES + 2 * random_below(&world->random, words);
	uint16_t value = get16(data + word);

	value ^= (uint16_t)(1u << random_below(&world->random, 16));
	if (random_chance(&world->random, 1, 2))
		value ^= (uint16_t)(1u << random_below(&world->random, 16));
	if (value == get16(data + word))
		value ^= 1;
	put16(data + word, value);
}

/* The segment goes on as two that overlap, as a middlebox might cut it. False: it cannot be cut. */
static bool resegment(struct world *world, uint8_t to, const uint8_t *data, uint64_t at_us)
{
	const uint8_t *ip = data + ETH_HEADER_BYTES;
	uint32_t header = 20 + (uint32_t)(ip[20 + 12] >> 4) * 4;
	uint32_t payload = get16(ip + 2) - header, cut, from, flags = ip[20 + 13];
	uint8_t part[FRAME_ROOM];

	if (ip[9] != IP_PROTOCOL_TCP || get16(data + 12) != ETH_TYPE_IPV4 || payload < 2 || (flags & TCP_SYN))
		return false;
	cut = 1 + random_below(&world->random, payload - 1);
	from = random_below(&world->random, cut + 1);
	memcpy(part, data, ETH_HEADER_BYTES + header + cut);
	put16(part + ETH_HEADER_BYTES + 2, (uint16_t)(header + cut));
	part[ETH_HEADER_BYTES + 33] = (uint8_t)(flags & (uint32_t) ~(TCP_FIN | TCP_PSH));
	frame_fix_checksums(part);
	link_deliver(world, to, part, ETH_HEADER_BYTES + header + cut, at_us);
	memcpy(part, data, ETH_HEADER_BYTES + header);
	memcpy(part + ETH_HEADER_BYTES + header, ip + header + from, payload - from);
	put16(part + ETH_HEADER_BYTES + 2, (uint16_t)(header + payload - from));
	put32(part + ETH_HEADER_BYTES + 24, get32(part + ETH_HEADER_BYTES + 24) + from);
	frame_fix_checksums(part);
	link_deliver(world, to, part, ETH_HEADER_BYTES + header + payload - from,
		     at_us + random_below(&world->random, 300));
	return true;
}

/* RFC 1191: the router answers what is too long for the next hop. */
static void frag_needed(struct world *world, uint8_t from, const uint8_t *data, uint32_t mtu)
{
	uint8_t frame[FRAME_ROOM];
	struct eth_header eth = {.type = ETH_TYPE_IPV4};
	struct ipv4_header ip = {.source = ROUTER_IP,
				 .destination = get32(data + ETH_HEADER_BYTES + 12),
				 .ttl = 64,
				 .protocol = IP_PROTOCOL_ICMP};
	uint32_t bytes = icmp_emit(frame + ETH_HEADER_BYTES + 20, ICMP_UNREACHABLE,
				   ICMP_CODE_FRAGMENTATION_NEEDED, mtu, data + ETH_HEADER_BYTES, 28);

	host_mac(from, eth.destination.octets);
	host_mac(HOSTILE, eth.source.octets);
	ip.total_bytes = (uint16_t)(20 + bytes);
	eth_emit(frame, &eth);
	ipv4_emit(frame + ETH_HEADER_BYTES, &ip);
	link_deliver(world, from, frame, ETH_HEADER_BYTES + 20 + bytes, world->now_us + 500);
}

static bool is_dead(const struct link *link, const uint8_t *data)
{
	const uint8_t *ip = data + ETH_HEADER_BYTES;

	if (get16(data + 12) != ETH_TYPE_IPV4 || ip[9] != IP_PROTOCOL_TCP)
		return false;
	for (uint32_t i = 0; i < link->dead_count; i++) {
		bool from = get32(ip + 12) == link->dead_ips[i] && get16(ip + 20) == link->dead_ports[i] &&
			    get16(ip + 22) == SERVER_PORT;
		bool to = get32(ip + 16) == link->dead_ips[i] && get16(ip + 22) == link->dead_ports[i] &&
			  get16(ip + 20) == SERVER_PORT;

		if (from || to)
			return true;
	}
	return false;
}

/* When the frame has left the sender's queue at the link's rate; UINT64_MAX: the queue is full. */
static uint64_t serialise(struct world *world, uint8_t from, const struct faults *faults, uint32_t bytes)
{
	uint64_t *busy_us = &world->link.busy_until_us[from];
	uint64_t start_us = MAX_OF(*busy_us, world->now_us);

	if (faults->bytes_per_ms == 0)
		return world->now_us;
	if ((start_us - world->now_us) * faults->bytes_per_ms / MS > faults->queue_bytes)
		return UINT64_MAX;
	*busy_us = start_us + (uint64_t)bytes * MS / faults->bytes_per_ms;
	return *busy_us;
}

static bool lost(struct world *world, uint8_t from, const struct faults *faults)
{
	uint64_t *outage_us = &world->link.outage_until_us[from];

	uint32_t *burst = &world->link.burst_left[from];

	if (*burst == 0 && chance(world, faults->burst_chance))
		*burst = 1 + random_below(&world->random, faults->burst_frames);
	if (*burst > 0) {
		--*burst;
		return true;
	}
	if (world->now_us >= world->down_us && world->now_us < world->up_us)
		return true;
	if (chance(world, faults->outage_chance))
		*outage_us = world->now_us + faults->outage_us / 2 +
			     random_below(&world->random, faults->outage_us);
	return world->now_us < *outage_us || chance(world, faults->loss);
}

/* A router whose queue grows says so in what may be marked: ECT(0), ECT(1) become CE. */
static void mark(uint8_t *data)
{
	uint8_t *ip = data + ETH_HEADER_BYTES;

	if (get16(data + 12) != ETH_TYPE_IPV4 || (ip[1] & 3) == 0)
		return;
	ip[1] |= 3;
	hostile_fix_ip(data);
}

static void carry(struct world *world, uint8_t from, uint8_t to, const uint8_t *data, uint32_t bytes)
{
	const struct faults *faults = &world->link.faults[from];
	uint8_t copy[FRAME_ROOM];
	uint64_t at_us = serialise(world, from, faults, bytes);

	if (world->strict && get16(data + 12) == ETH_TYPE_ARP) { /* or a neighbour might count as gone */
		link_deliver(world, to, data, bytes, at_us == UINT64_MAX ? world->now_us : at_us);
		return;
	}
	if (at_us == UINT64_MAX || lost(world, from, faults))
		return;
	at_us += faults->delay_us + random_below(&world->random, faults->jitter_us + 1);
	if (chance(world, faults->reorder))
		at_us += random_below(&world->random, 3 * faults->delay_us + 20 * MS);
	if (chance(world, faults->duplicate))
		link_deliver(world, to, data, bytes,
			     at_us + random_below(&world->random, 2 * faults->delay_us + MS));
	if (chance(world, faults->resegment) && resegment(world, to, data, at_us))
		return;
	memcpy(copy, data, bytes);
	if (chance(world, faults->mark))
		mark(copy);
	if (chance(world, faults->corrupt))
		corrupt(world, copy, bytes);
	link_deliver(world, to, copy, bytes, at_us);
}

/* The host that the router hands a frame to; HOSTS: it is not for the router to hand on. */
static unsigned routed_to(const struct world *world, uint8_t from, const uint8_t *data)
{
	uint8_t router[6];
	unsigned to;

	host_mac(HOSTILE, router);
	if (!world->routed || from >= NODES || get16(data + 12) != ETH_TYPE_IPV4 ||
	    memcmp(data, router, 6) != 0)
		return HOSTS;
	to = host_of(world, get32(data + ETH_HEADER_BYTES + 16));
	return to == from ? (unsigned)HOSTS : to;
}

static void route(struct world *world, uint8_t from, unsigned to, const uint8_t *data, uint32_t bytes)
{
	uint8_t copy[FRAME_ROOM];

	memcpy(copy, data, bytes);
	host_mac(to, copy);
	host_mac(HOSTILE, copy + 6);
	copy[ETH_HEADER_BYTES + 8]--;
	hostile_fix_ip(copy);
	carry(world, from, (uint8_t)to, copy, bytes);
}

void link_send(struct world *world, uint8_t from, const uint8_t *data, uint32_t bytes)
{
	const struct faults *faults = &world->link.faults[from];
	unsigned routed = routed_to(world, from, data);
	bool broadcast = data[0] & 1;

	if (is_dead(&world->link, data))
		return;
	if (get16(data + 12) == ETH_TYPE_IPV4 && bytes > ETH_HEADER_BYTES + faults->path_mtu) {
		frag_needed(world, from, data, faults->path_mtu);
		return;
	}
	if (routed != HOSTS) {
		route(world, from, routed, data, bytes);
		return;
	}
	for (uint8_t to = 0; to < HOSTS; to++) {
		uint8_t mac[6];

		host_mac(to, mac);
		if (to != from && (broadcast || memcmp(mac, data, 6) == 0))
			carry(world, from, to, data, bytes);
	}
}
