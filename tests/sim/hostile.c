/* hostile.c - a third host that sends anything: noise, mutants of what passed by, floods, old
 * duplicates, and a conversation of its own that keeps no rule.
 * In: what passed by (referee.c), what is sent to it.  Out: frames for both stacks.
 *
 * It is off the path: it may know the sequence numbers of a connection (a worst case), but never does it
 * send what a stack must obey: nothing of it may harm the streams of others. */
#include "sim.h"

#include "stack/internal.h"
#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"

static uint32_t draw(struct world *world, uint32_t n)
{
	return random_below(&world->random, n);
}

static void send(struct world *world, unsigned to, const uint8_t *frame, uint32_t bytes)
{
	link_deliver(world, (uint8_t)to, frame, bytes, world->now_us);
}

uint32_t hostile_headers(uint8_t *frame, unsigned to, uint32_t source, uint8_t protocol, uint32_t bytes)
{
	struct eth_header eth = {.type = ETH_TYPE_IPV4};
	struct ipv4_header ip = {
		.source = source,
		.destination = host_ip(to),
		.ttl = 64,
		.protocol = protocol,
		.flags = IPV4_DF,
		.total_bytes = (uint16_t)(20 + bytes),
	};

	host_mac(to, eth.destination.octets);
	host_mac(HOSTILE, eth.source.octets);
	eth_emit(frame, &eth);
	ipv4_emit(frame + ETH_HEADER_BYTES, &ip);
	return ETH_HEADER_BYTES + 20 + bytes;
}

static void send_segment(struct world *world, unsigned to, uint32_t source, const struct tcp_segment *segment)
{
	uint8_t frame[FRAME_ROOM];
	uint32_t header = tcp_emit(frame + ETH_HEADER_BYTES + 20, segment);
	uint32_t bytes = hostile_headers(frame, to, source, IP_PROTOCOL_TCP, header + segment->payload_bytes);

	memset(frame + ETH_HEADER_BYTES + 20 + header, 0xee, segment->payload_bytes);
	frame_fix_checksums(frame);
	send(world, to, frame, bytes);
}

static void noise(struct world *world, unsigned to)
{
	uint8_t frame[FRAME_ROOM];
	uint32_t bytes = draw(world, 1514);

	for (uint32_t i = 0; i < bytes; i++)
		frame[i] = (uint8_t)random_next(&world->random);
	if (bytes >= 6 && draw(world, 4) > 0)
		host_mac(to, frame);
	if (bytes >= 14 && draw(world, 4) > 0)
		put16(frame + 12, draw(world, 2) ? ETH_TYPE_IPV4 : ETH_TYPE_ARP);
	send(world, to, frame, bytes);
}

static void arp(struct world *world, unsigned to)
{
	uint8_t frame[FRAME_ROOM];
	struct eth_header eth = {.type = ETH_TYPE_ARP, .destination = eth_broadcast};
	struct arp_packet packet = {.operation = ARP_REQUEST,
				    .sender_ip = host_ip(HOSTILE),
				    .target_ip = draw(world, 2) ? host_ip(to) : 0x0a000042u};

	host_mac(HOSTILE, eth.source.octets);
	packet.sender = eth.source;
	eth_emit(frame, &eth);
	arp_emit(frame + ETH_HEADER_BYTES, &packet);
	if (draw(world, 3) == 0)
		frame[ETH_HEADER_BYTES + draw(world, 8)] ^= 0x55;
	send(world, to, frame, ETH_HEADER_BYTES + (draw(world, 8) ? ARP_BYTES : draw(world, ARP_BYTES)));
}

/* Puts right the checksum of an IPv4 header of any length. */
void hostile_fix_ip(uint8_t *frame)
{
	uint8_t *ip = frame + ETH_HEADER_BYTES;
	uint32_t sum = 0;

	put16(ip + 10, 0);
	for (unsigned i = 0; i < (ip[0] & 15u) * 4; i += 2)
		sum += get16(ip + i);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	put16(ip + 10, (uint16_t)~sum);
}

/* A header with one option, well-formed or not. */
static void option(struct world *world, unsigned to)
{
	static const uint8_t kinds[] = {0, 1, 7, 68, 131, 137, 148, 99};
	uint8_t frame[FRAME_ROOM] = {0}, *ip = frame + ETH_HEADER_BYTES;
	uint32_t bytes = hostile_headers(frame, to, host_ip(HOSTILE), IP_PROTOCOL_TCP, 8 + 20);

	ip[0] = 0x47;
	ip[20] = kinds[draw(world, ARRAY_COUNT(kinds))];
	ip[21] = (uint8_t)draw(world, 10);
	ip[22] = (uint8_t)draw(world, 12);
	frame_fix_checksums(frame);
	send(world, to, frame, bytes);
}

/* Pieces of datagrams with few numbers: they overlap, disagree, come twice or are never whole. Now and then
 * two of them are a good ping. */
static void fragments(struct world *world, unsigned to)
{
	bool good = draw(world, 3) == 0;
	uint16_t id = (uint16_t)draw(world, 40);

	for (uint32_t i = 0; i < 2 + draw(world, 3); i++) {
		uint8_t frame[FRAME_ROOM] = {0}, *ip = frame + ETH_HEADER_BYTES;
		uint32_t offset = good ? i * 3 : draw(world, 9), bytes = good ? 24 : 4 * draw(world, 15);
		bool more = good ? i == 0 : draw(world, 4) > 0;
		uint16_t check;
		uint32_t total = hostile_headers(frame, to, host_ip(HOSTILE),
						 draw(world, 2) || good ? IP_PROTOCOL_ICMP : IP_PROTOCOL_TCP,
						 bytes);

		if (good && i == 0) { /* an echo request of nothing but zeros, and its sum */
			ip[IPV4_HEADER_BYTES] = ICMP_ECHO_REQUEST;
			put16(ip + IPV4_HEADER_BYTES + 2, 0xf7ff);
		}
		put16(ip + 4, good ? (uint16_t)(id + 1000) : id);
		put16(ip + 6, (uint16_t)((more ? IPV4_MF : 0) | offset));
		put16(ip + 10, 0);
		check = csum_finish(csum_add(0, ip, IPV4_HEADER_BYTES));
		memcpy(ip + 10, &check, sizeof(check));
		send(world, to, frame, total);
		if (draw(world, 8) == 0)
			send(world, to, frame, total);
	}
}

/* An IPv4 packet with something wrong in its header. */
static void bad_ip(struct world *world, unsigned to)
{
	static const uint32_t sources[] = {0, 0x7f000001, 0xe0000001, 0xffffffff, 0xf0000001};
	uint8_t frame[FRAME_ROOM] = {0}, *ip = frame + ETH_HEADER_BYTES;
	uint32_t bytes = hostile_headers(frame, to, host_ip(HOSTILE), IP_PROTOCOL_TCP, 40);

	switch (draw(world, 10)) {
	case 0:
		ip[0] = (uint8_t)(draw(world, 16) << 4 | 5);
		break;
	case 1:
		ip[0] = (uint8_t)(0x40 | draw(world, 5));
		break;
	case 2:
		put16(ip + 2, (uint16_t)draw(world, 65536));
		break;
	case 3:
		ip[10] ^= 0x10;
		send(world, to, frame, bytes);
		return;
	case 4:
		put32(ip + 12, sources[draw(world, ARRAY_COUNT(sources))]);
		break;
	case 5:
		put32(ip + 16, 0x0a000077);
		break;
	case 6:
		if (draw(world, 4) == 0)
			option(world, to);
		else
			fragments(world, to);
		return;
	case 7:
		ip[9] = (uint8_t)(draw(world, 2) ? IP_PROTOCOL_UDP : 132);
		break;
	case 8: /* too short for TCP */
		put16(ip + 2, (uint16_t)(20 + draw(world, 20)));
		break;
	default:
		put32(ip + 12, host_ip(to));
		break; /* from itself */
	}
	hostile_fix_ip(frame);
	send(world, to, frame, draw(world, 6) ? bytes : ETH_HEADER_BYTES + draw(world, 20));
}

static void ping(struct world *world, unsigned to)
{
	uint8_t frame[FRAME_ROOM], body[1472] = {0};
	uint32_t bytes = icmp_emit(frame + ETH_HEADER_BYTES + 20, ICMP_ECHO_REQUEST, 0, 7, body,
				   draw(world, 4) ? draw(world, 28) : draw(world, sizeof(body)));

	send(world, to, frame, hostile_headers(frame, to, host_ip(HOSTILE), IP_PROTOCOL_ICMP, bytes));
}

/* An error about the flow's last segment. Returns its bytes. */
static uint32_t icmp_about(struct world *world, const struct flow *flow, uint8_t *icmp)
{
	static const uint8_t kinds[][2] = {
		{ICMP_UNREACHABLE, ICMP_CODE_HOST_UNREACHABLE},
		{ICMP_UNREACHABLE, ICMP_CODE_NET_UNREACHABLE},
		{ICMP_TIME_EXCEEDED, 0},
		{ICMP_UNREACHABLE, ICMP_CODE_PORT_UNREACHABLE},
		{ICMP_SOURCE_QUENCH, 0},
		{ICMP_REDIRECT, 1},
	};
	uint32_t kind = draw(world, ARRAY_COUNT(kinds));
	uint8_t body[28];

	memcpy(body, world->referee.last[flow - world->referee.flows] + ETH_HEADER_BYTES, sizeof(body));
	/* A hard error in flight would end the connection: only what is not in flight. */
	if (kind == 3 || draw(world, 3) == 0)
		put32(body + 24, flow->snd_max + 1 + draw(world, 1u << 30));
	if (draw(world, 4) == 0)
		put16(body + 20, 7);
	return icmp_emit(icmp, kinds[kind][0], kinds[kind][1], 0, body,
			 draw(world, 8) ? sizeof(body) : draw(world, 28));
}

static void icmp(struct world *world, unsigned to)
{
	uint8_t frame[FRAME_ROOM];
	const struct flow *flow = referee_any_flow(world);
	uint32_t bytes;

	if (draw(world, 3) == 0 || !flow) {
		ping(world, to);
		return;
	}
	to = host_of(world, flow->source); /* who sent the segment gets the error */
	bytes = icmp_about(world, flow, frame + ETH_HEADER_BYTES + 20);
	bytes = hostile_headers(frame, to, draw(world, 2) ? ROUTER_IP : host_ip(HOSTILE), IP_PROTOCOL_ICMP,
				bytes);
	if (draw(world, 8) == 0)
		frame[ETH_HEADER_BYTES + 22] ^= 1;
	if (draw(world, 16) == 0)
		frame[ETH_HEADER_BYTES + 20] = 99;
	send(world, to, frame, bytes);
}

/* --- mutants of real connections -------------------------------------------------------- */

static bool has_timestamps(const uint8_t *frame)
{
	const uint8_t *tcp = frame + ETH_HEADER_BYTES + 20;

	return (tcp[12] >> 4) == 8 && tcp[20] == 1 && tcp[22] == 8;
}

/* Whether the receiver of this flow has sent timestamps since it opened: before its first answer a cookie may
 * hold its state, which remembers none. */
static bool knows_timestamps(struct world *world, const struct flow *flow)
{
	const struct flow *reverse = referee_reverse(world, flow);

	return flow->ts_offered && reverse && reverse->ts_offered && reverse->last_bytes > 0 &&
	       has_timestamps(world->referee.last[reverse - world->referee.flows]);
}

/* A sender's segment, its payload replaced, with the next sequence number it will use, from before the wrap:
 * its timestamp is older than the connection. PAWS must drop it (RFC 7323 section 5). */
static void old_duplicate(struct world *world, const struct flow *flow, uint8_t *frame)
{
	uint8_t *tcp = frame + ETH_HEADER_BYTES + 20;
	const struct flow *reverse = referee_reverse(world, flow);
	uint32_t payload = 1 + draw(world, 100), bytes;

	if (!reverse || reverse->ambiguous || !has_timestamps(frame) || !knows_timestamps(world, flow))
		return;
	bytes = 20 + 32 + payload;
	put16(frame + ETH_HEADER_BYTES + 2, (uint16_t)bytes);
	put32(tcp + 4, reverse->ack_max);
	tcp[13] = TCP_ACK | TCP_PSH;
	put32(tcp + 24, flow->ts_first - 1 - draw(world, 1u << 20));
	memset(tcp + 32, 0xdd, payload);
	frame_fix_checksums(frame);
	send(world, host_of(world, flow->destination), frame, ETH_HEADER_BYTES + bytes);
}

static void mutate_header(struct world *world, const struct flow *flow, uint8_t *frame)
{
	uint8_t *tcp = frame + ETH_HEADER_BYTES + 20;
	uint32_t beyond = flow->snd_max + 1 + draw(world, 3000);

	switch (draw(world, 12)) {
	case 0: /* a reset that does not hit (RFC 5961 section 3) */
		tcp[13] = TCP_RST | TCP_ACK;
		put32(tcp + 4, beyond);
		break;
	case 1: /* a SYN (section 4) */
		tcp[13] = TCP_SYN;
		put32(tcp + 4, beyond);
		break;
	case 2: /* data with an acknowledgement of nothing that was sent (section 5) */
		put32(tcp + 8, get32(tcp + 8) + (1u << 30));
		break;
	case 3:
		put32(tcp + 8, get32(tcp + 8) - (1u << 30));
		break;
	case 4:
		put32(tcp + 4, get32(tcp + 4) + (1u << 30));
		break;
	case 5:
		tcp[13] = 0;
		break;
	case 6:
		tcp[13] = (uint8_t)(TCP_SYN | TCP_FIN | TCP_RST);
		put32(tcp + 4, get32(tcp + 4) + (1u << 30));
		break;
	case 7:
		tcp[12] = (uint8_t)(draw(world, 5) << 4);
		break;
	case 8: /* payload becomes options, and must not be good ones by chance */
		tcp[12] = 0xf0;
		put16(tcp + 20, 0x4d00);
		break;
	case 9: /* options without a good length */
		if ((tcp[12] >> 4) > 5) {
			tcp[20] = 77;
			tcp[21] = (uint8_t)draw(world, 2);
		}
		break;
	case 10:
		put16(tcp + (draw(world, 2) ? 0 : 2), 0);
		break;
	default: /* the agreed timestamps are missing */
		if (has_timestamps(frame) && knows_timestamps(world, flow))
			memset(tcp + 20, 1, 12);
		break;
	}
}

/* A reset that would hit if it came in time, but old ones must not: what the sender said long ago. */
static void mutant(struct world *world)
{
	const struct flow *flow = referee_any_flow(world), *reverse;
	uint8_t frame[FRAME_ROOM], *tcp = frame + ETH_HEADER_BYTES + 20;
	uint8_t before;

	if (!flow)
		return;
	memcpy(frame, world->referee.last[flow - world->referee.flows], flow->last_bytes);
	if (draw(world, 4) == 0) {
		old_duplicate(world, flow, frame);
		return;
	}
	before = tcp[13];
	mutate_header(world, flow, frame);
	/* Who has sent no more than a SYN takes any that answers or crosses it: nothing helps against that.
	 */
	reverse = referee_reverse(world, flow);
	if (!reverse || !reverse->acked)
		tcp[13] &= (uint8_t)~TCP_SYN;
	if (tcp[13] == before && draw(world, 4) == 0)
		tcp[16] ^= 0x11; /* and a wrong checksum */
	else
		frame_fix_checksums(frame);
	send(world, host_of(world, flow->destination), frame, flow->last_bytes);
}

/* --- segments of its own ------------------------------------------------------------------- */

static void send_syn(struct world *world, unsigned to, uint32_t source, uint16_t source_port, uint16_t port)
{
	const struct tcp_segment syn = {
		.flags = TCP_SYN,
		.window = 1000,
		.seq = (uint32_t)random_next(&world->random),
		.source_port = source_port,
		.destination_port = port,
	};

	send_segment(world, to, source, &syn);
}

static void random_syn(struct world *world, unsigned to)
{
	uint16_t port = (uint16_t)(draw(world, 8) ? SERVER_PORT + draw(world, 2) : draw(world, 65536));

	send_syn(world, to, RANDOM_IP + draw(world, 100), (uint16_t)(20000 + draw(world, 20000)), port);
}

/* The worst case of a flow table whose key has leaked: SYNs that share a bucket, then such that share both.
 */
static void collide(struct world *world, unsigned to)
{
	const struct core *core = &world->nodes[to].stack->core;
	uint32_t buckets = core->table.bucket_count, a = draw(world, buckets), b = draw(world, buckets);
	struct tuple4 tuple = {.local_ip = host_ip(to), .local_port = SERVER_PORT};

	world->hostile.collisions--;
	for (uint32_t tries = 0, sent = 0; tries < 60000 && sent < 40; tries++) {
		uint64_t hash;
		uint32_t first, second;

		tuple.remote_ip = RANDOM_IP + draw(world, 100);
		tuple.remote_port = (uint16_t)(1024 + draw(world, 60000));
		hash = core_hash(core, &tuple);
		first = flow_first_bucket(&core->table, hash);
		second = flow_other_bucket(&core->table, first, flow_tag(hash));
		if ((first != a && first != b) || (sent >= 16 && second != a && second != b))
			continue;
		send_syn(world, to, tuple.remote_ip, tuple.remote_port, SERVER_PORT);
		sent++;
	}
}

static void stray(struct world *world, unsigned to)
{
	struct tcp_segment segment = {
		.flags = (uint8_t)(draw(world, 3) ? TCP_ACK : draw(world, 64)),
		.seq = (uint32_t)random_next(&world->random),
		.ack = (uint32_t)random_next(&world->random),
		.source_port = (uint16_t)(1 + draw(world, 65535)),
		.destination_port = (uint16_t)(draw(world, 3) ? SERVER_PORT : draw(world, 65536)),
		.window = (uint16_t)draw(world, 65536),
		.payload_bytes = draw(world, 3) ? 0 : draw(world, 1400),
	};

	segment.flags &= (uint8_t)~TCP_SYN;
	send_segment(world, to, host_ip(HOSTILE), &segment);
}

static void flood(struct world *world, unsigned to)
{
	uint32_t kind = draw(world, 4);

	for (uint32_t i = 0; i < world->hostile.flood; i++) {
		if (kind == 0)
			ping(world, to);
		else if (kind == 1)
			stray(world, to);
		else
			random_syn(world, to);
	}
}

static void own_open(struct world *world)
{
	struct hostile *hostile = &world->hostile;
	struct tcp_segment syn = {
		.flags = TCP_SYN,
		.window = (uint16_t)draw(world, 65536),
		.mss = (uint16_t)draw(world, 2000),
		.wscale = (uint8_t)draw(world, 16),
		.options = (uint8_t)(draw(world, 2) ? TCP_OPT_MSS | TCP_OPT_WSCALE : TCP_OPT_MSS),
	};

	hostile->target = draw(world, NODES);
	if (draw(world, 3))
		hostile->port = (uint16_t)(1 + draw(world, 65535));
	hostile->address = draw(world, 2) ? host_ip(HOSTILE) : ALIAS_IP + draw(world, ALIASES);
	hostile->open = false;
	hostile->snd = (uint32_t)random_next(&world->random);
	syn.seq = hostile->snd++;
	syn.source_port = hostile->port;
	syn.destination_port = (uint16_t)(SERVER_PORT + (hostile->port & 1));
	send_segment(world, hostile->target, hostile->address, &syn);
}

/* In the window and around it, with any flags. */
static void own_segment(struct world *world)
{
	struct hostile *hostile = &world->hostile;
	struct tcp_segment segment = {
		.flags = (uint8_t)(draw(world, 4) ? TCP_ACK : draw(world, 256)),
		.seq = hostile->snd,
		.ack = hostile->rcv,
		.window = (uint16_t)(draw(world, 3) ? 8000 : draw(world, 3)),
		.source_port = hostile->port,
		.destination_port = (uint16_t)(SERVER_PORT + (hostile->port & 1)),
		.payload_bytes = draw(world, 2) ? draw(world, 1400) : draw(world, 3),
	};

	switch (draw(world, 6)) {
	case 0:
		segment.seq += draw(world, 5000);
		break;
	case 1:
		segment.seq -= draw(world, 5000);
		break;
	case 2:
		segment.ack -= draw(world, 5000);
		break;
	case 3:
		segment.ack += draw(world, 100);
		break;
	default:
		hostile->snd += tcp_segment_length(&segment);
		break;
	}
	send_segment(world, hostile->target, hostile->address, &segment);
}

void hostile_act(struct world *world)
{
	struct hostile *hostile = &world->hostile;
	unsigned to = draw(world, NODES);

	hostile->next_us = world->now_us + 1 + draw(world, hostile->gap_us);
	if (hostile->liar_frames && draw(world, 2)) {
		liar_act(world);
		return;
	}
	switch (draw(world, 16)) {
	case 0:
		noise(world, to);
		break;
	case 1:
		arp(world, to);
		break;
	case 2:
		bad_ip(world, to);
		break;
	case 3:
		icmp(world, to);
		break;
	case 4:
		if (world->hostile.collisions > 0 && draw(world, 4) == 0)
			collide(world, to);
		else
			flood(world, to);
		break;
	case 5:
		stray(world, to);
		break;
	case 6:
		own_open(world);
		break;
	case 7:
	case 8:
	case 9:
	case 10:
		mutant(world);
		break;
	default:
		if (hostile->open)
			own_segment(world);
		else
			own_open(world);
		break;
	}
}

static void answer_arp(struct world *world, const uint8_t *frame)
{
	uint8_t reply[FRAME_ROOM];
	struct eth_header eth = {.type = ETH_TYPE_ARP};
	struct arp_packet arp;

	if (arp_parse(frame + ETH_HEADER_BYTES, ARP_BYTES, &arp) || arp.operation != ARP_REQUEST ||
	    (arp.target_ip != host_ip(HOSTILE) && arp.target_ip != ROUTER_IP &&
	     arp.target_ip - ALIAS_IP >= ALIASES && arp.target_ip - LIAR_IP >= LIARS))
		return;
	eth.destination = arp.target = arp.sender;
	host_mac(HOSTILE, eth.source.octets);
	arp.sender = eth.source;
	arp.operation = ARP_REPLY;
	{
		uint32_t asked = arp.target_ip;

		arp.target_ip = arp.sender_ip;
		arp.sender_ip = asked;
	}
	eth_emit(reply, &eth);
	arp_emit(reply + ETH_HEADER_BYTES, &arp);
	link_send(world, HOSTILE, reply, ETH_HEADER_BYTES + ARP_BYTES);
}

static void to_liar(struct world *world, const uint8_t *ip)
{
	struct ipv4_header header;
	struct tcp_segment segment;

	if (ipv4_parse(ip, get16(ip + 2), &header) == DROP_NONE &&
	    tcp_parse(ip + 20, (size_t)header.total_bytes - 20, &segment) == DROP_NONE)
		liar_receive(world, &header, &segment);
}

void hostile_receive(struct world *world, const uint8_t *frame, uint32_t bytes)
{
	struct hostile *hostile = &world->hostile;
	const uint8_t *ip = frame + ETH_HEADER_BYTES, *tcp = ip + 20;

	if (bytes >= ETH_HEADER_BYTES + ARP_BYTES && get16(frame + 12) == ETH_TYPE_ARP)
		answer_arp(world, frame);
	if (hostile->on && !world->healed && frame_checksums_good(frame, bytes) && ip[9] == IP_PROTOCOL_TCP &&
	    get32(ip + 16) - LIAR_IP < LIARS)
		to_liar(world, ip);
	if (!hostile->on || world->healed || !frame_checksums_good(frame, bytes) ||
	    ip[9] != IP_PROTOCOL_TCP || get32(ip + 16) != hostile->address || get16(tcp + 2) != hostile->port)
		return;
	if ((tcp[13] & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK) && get32(tcp + 8) == hostile->snd) {
		hostile->open = true;
		hostile->rcv = get32(tcp + 4) + 1;
		own_segment(world);
	} else if (tcp[13] & TCP_RST) {
		hostile->open = false;
	} else if (draw(world, 2)) {
		hostile->rcv = get32(tcp + 4) + get16(ip + 2) - 20 - (uint32_t)(tcp[12] >> 4) * 4;
	}
}
