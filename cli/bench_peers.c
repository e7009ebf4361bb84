/* bench_peers.c - makes the frames of very many clients, and checks what they get.
 * In: the server's frames, the time. Out: SYN, ACK and request frames; counts of what came.
 * Owns: 16 bytes a client, and the acknowledgements that wait. */
#include <stdio.h>

#include "base/check.h"
#include "base/seq.h"
#include "bench_peers.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/print.h"
#include "wire/tcp.h"

#define PEERS_NETWORK  0x0a000000u /* 10.0.0.0 */
#define PEERS_PER_HOST 16
#define PORT_FIRST     20000
#define PORT_STEP      1000
#define WINDOW         512 /* times 2^7 */
#define WINDOW_SHIFT   7

enum peer_state {
	PEER_CLOSED,
	PEER_SYN_SENT,
	PEER_SYN_ACKED, /* the server's SYN has come, our ACK has not gone */
	PEER_OPEN,
	PEER_WAITING, /* for the reply */
	PEER_CLOSING, /* the server's FIN has come, ours goes with its acknowledgement */
};

size_t peers_bytes(uint32_t count)
{
	return ALIGN_UP(count * sizeof(struct peer), (size_t)CACHE_LINE) +
	       PEERS_ACKS_WAITING * sizeof(struct peers_ack);
}

void peers_init(struct peers *peers, void *memory)
{
	CHECK(peers->count > 0 && peers->count <= PEERS_MAX);
	peers->peer = memory;
	peers->acks = (struct peers_ack *)((uint8_t *)memory +
					   ALIGN_UP(peers->count * sizeof(struct peer), (size_t)CACHE_LINE));
	peers->ack_first = peers->ack_count = 0;
	peers->random = random_seeded(peers->count);
	peers->idle = 0;
	peers->stats = (struct peers_stats){0};
}

static uint32_t peer_address(uint32_t index)
{
	return PEERS_NETWORK + index / PEERS_PER_HOST;
}

static uint16_t peer_port(uint32_t index)
{
	return (uint16_t)(PORT_FIRST + index % PEERS_PER_HOST * PORT_STEP);
}

uint32_t peers_index(const struct peers *peers, uint32_t address, uint16_t port)
{
	uint32_t host = address - PEERS_NETWORK;
	uint32_t place = (uint32_t)(port - PORT_FIRST) / PORT_STEP;
	uint64_t index = (uint64_t)host * PEERS_PER_HOST + place;

	if (port < PORT_FIRST || (port - PORT_FIRST) % PORT_STEP || place >= PEERS_PER_HOST ||
	    index >= peers->count)
		return UINT32_MAX;
	return (uint32_t)index;
}

/* What a peer says in its n-th request: different in each. */
static void request_payload(uint32_t index, uint32_t asked, uint8_t payload[PEERS_REQUEST_BYTES])
{
	uint64_t word = ((uint64_t)index << 32 | asked) * 0x9e3779b97f4a7c15u;

	put32(payload, index);
	put32(payload + 4, asked);
	for (uint32_t i = 8; i < PEERS_REQUEST_BYTES; i += 8) {
		memcpy(payload + i, &word, 8);
		word = word << 13 | word >> 51;
	}
}

/* --- frames to the server -------------------------------------------------------- */

static uint32_t emit(const struct peers *peers, uint32_t index, uint8_t *frame, struct tcp_segment *segment)
{
	const struct eth_header eth = {peers->server_mac, peers->gateway_mac, ETH_TYPE_IPV4};
	uint8_t *tcp = frame + ETH_HEADER_BYTES + IPV4_HEADER_BYTES;
	uint32_t header_bytes, sum = 0;
	struct ipv4_header ip = {
		.source = peer_address(index),
		.destination = peers->server,
		.flags = IPV4_DF,
		.ttl = 64,
		.protocol = IP_PROTOCOL_TCP,
	};

	segment->source_port = peer_port(index);
	segment->destination_port = peers->port;
	segment->options |= TCP_OPT_TIMESTAMPS;
	header_bytes = tcp_emit(tcp, segment);
	ip.total_bytes = (uint16_t)(IPV4_HEADER_BYTES + header_bytes + segment->payload_bytes);
	eth_emit(frame, &eth);
	ipv4_emit(frame + ETH_HEADER_BYTES, &ip);
	if (segment->payload_bytes > 0)
		sum = csum_copy(0, tcp + header_bytes, segment->payload, segment->payload_bytes);
	tcp_store_checksum(tcp, header_bytes, segment->payload_bytes, sum, ip.source, ip.destination);
	return ETH_HEADER_BYTES + ip.total_bytes;
}

/* A clock of milliseconds, as RFC 7323 section 5.4 recommends; never 0. */
static uint32_t timestamp(uint64_t now_us)
{
	return (uint32_t)(now_us / 1000) + 1000;
}

static struct tcp_segment segment_of(const struct peer *peer, uint8_t flags, uint64_t now_us)
{
	return (struct tcp_segment){
		.seq = peer->seq,
		.ack = peer->ack,
		.flags = flags,
		.window = WINDOW,
		.ts_val = timestamp(now_us),
		.ts_ecr = peer->ts_echo,
	};
}

uint32_t peers_syn(struct peers *peers, uint32_t index, uint8_t *frame, uint64_t now_us)
{
	struct peer *peer = &peers->peer[index];
	struct tcp_segment segment;

	peer->seq = (uint32_t)((index + 1) * 0x9e3779b97f4a7c15u >> 32);
	segment = segment_of(peer, TCP_SYN, now_us);
	segment.options = TCP_OPT_MSS | TCP_OPT_WSCALE;
	segment.mss = 1460;
	segment.wscale = WINDOW_SHIFT;
	peer->seq++;
	peer->state = PEER_SYN_SENT;
	return emit(peers, index, frame, &segment);
}

uint32_t peers_complete(struct peers *peers, uint32_t index, uint8_t *frame, uint64_t now_us)
{
	struct peer *peer = &peers->peer[index];
	struct tcp_segment segment = segment_of(peer, TCP_ACK, now_us);

	if (peer->state != PEER_SYN_ACKED)
		return 0;
	peer->state = PEER_OPEN;
	peers->idle++;
	return emit(peers, index, frame, &segment);
}

uint32_t peers_request(struct peers *peers, uint32_t index, uint8_t *frame, uint64_t now_us)
{
	struct peer *peer = &peers->peer[index];
	struct tcp_segment segment = segment_of(peer, TCP_ACK | TCP_PSH, now_us);
	uint8_t payload[PEERS_REQUEST_BYTES];

	CHECK(peer->state == PEER_OPEN);
	peer->asked++;
	request_payload(index, peer->asked, payload);
	segment.payload = payload;
	segment.payload_bytes = PEERS_REQUEST_BYTES;
	peer->seq += PEERS_REQUEST_BYTES;
	peer->state = PEER_WAITING;
	peers->idle--;
	return emit(peers, index, frame, &segment);
}

uint32_t peers_pick(struct peers *peers)
{
	uint32_t index = random_below(&peers->random, peers->count);

	if (peers->idle == 0)
		return UINT32_MAX;
	while (peers->peer[index].state != PEER_OPEN)
		index = index + 1 < peers->count ? index + 1 : 0;
	return index;
}

uint32_t peers_due_ack(struct peers *peers, uint8_t *frame, uint64_t now_us)
{
	while (peers->ack_count > 0) {
		const struct peers_ack *oldest = &peers->acks[peers->ack_first];
		const struct peer *peer = &peers->peer[oldest->index];
		struct tcp_segment segment;

		/* An almost full ring makes the oldest due at once. */
		if (oldest->due_us > now_us && peers->ack_count < PEERS_ACKS_WAITING / 4 * 3)
			return 0;
		peers->ack_first = (peers->ack_first + 1) % PEERS_ACKS_WAITING;
		peers->ack_count--;
		if (peer->asked != oldest->asked)
			continue; /* a newer request has acknowledged it */
		segment = segment_of(peer, peer->state == PEER_CLOSING ? TCP_ACK | TCP_FIN : TCP_ACK, now_us);
		peers->stats.acks++;
		return emit(peers, oldest->index, frame, &segment);
	}
	return 0;
}

/* --- frames of the server ------------------------------------------------------------ */

static void note_wrong(struct peers *peers, const uint8_t *frame, uint32_t bytes, const char *why)
{
	char text[160];

	if (peers->stats.wrong++ > 0)
		return;
	frame_print(frame, bytes, text, sizeof(text));
	snprintf(peers->wrong, sizeof(peers->wrong), "%s: %s", why, text);
}

/* Peers are not equally far away: the last acknowledgement changes places with one of those before it. */
static void swap_acks(struct peers *peers, uint32_t last)
{
	uint32_t back = random_below(&peers->random, MIN_OF(peers->shuffle, peers->ack_count));
	struct peers_ack *a = &peers->acks[last];
	struct peers_ack *b = &peers->acks[(last + PEERS_ACKS_WAITING - back) % PEERS_ACKS_WAITING];
	struct peers_ack kept = *a;

	a->index = b->index;
	a->asked = b->asked;
	b->index = kept.index;
	b->asked = kept.asked;
}

static void await_ack(struct peers *peers, uint32_t index, uint64_t now_us)
{
	uint32_t last = (peers->ack_first + peers->ack_count) % PEERS_ACKS_WAITING;

	if (!peers->delayed_acks || peers->ack_count == PEERS_ACKS_WAITING)
		return; /* full: then the server sends it again, which is counted */
	peers->acks[last] = (struct peers_ack){index, peers->peer[index].asked,
					       now_us + PEERS_DELAYED_ACK_US};
	peers->ack_count++;
	if (peers->shuffle)
		swap_acks(peers, last);
}

static const char *take_syn_ack(struct peers *peers, struct peer *peer, const struct tcp_segment *segment)
{
	if (peer->state != PEER_SYN_SENT)
		return peer->state == PEER_CLOSED ? "SYN-ACK without a SYN" : NULL; /* again */
	if (segment->ack != peer->seq || !(segment->options & TCP_OPT_TIMESTAMPS) ||
	    !(segment->options & TCP_OPT_WSCALE))
		return "SYN-ACK that does not fit the SYN";
	peer->ack = segment->seq + 1;
	peer->ts_echo = segment->ts_val;
	peer->state = PEER_SYN_ACKED;
	peers->stats.opened++;
	return NULL;
}

static const char *take_push(struct peers *peers, uint32_t index, const struct tcp_segment *segment,
			     uint64_t now_us)
{
	struct peer *peer = &peers->peer[index];

	if (segment->seq != peer->ack || segment->payload_bytes != peers->push_bytes ||
	    memcmp(segment->payload, peers->push, peers->push_bytes) != 0)
		return "message with other bytes than were pushed";
	peer->ack += peers->push_bytes;
	peer->ts_echo = segment->ts_val;
	peers->stats.pushed++;
	await_ack(peers, index, now_us);
	return NULL;
}

static const char *take_reply(struct peers *peers, uint32_t index, const struct tcp_segment *segment,
			      uint64_t now_us)
{
	struct peer *peer = &peers->peer[index];
	uint8_t expected[PEERS_REQUEST_BYTES];

	if (seq_lt(segment->seq, peer->ack)) {
		peers->stats.again++;
		if (peers->push) /* no request will acknowledge it */
			await_ack(peers, index, now_us);
		return NULL;
	}
	if (peer->state == PEER_OPEN && peers->push)
		return take_push(peers, index, segment, now_us);
	if (peer->state != PEER_WAITING)
		return "data without a request";
	if (segment->seq != peer->ack || segment->ack != peer->seq)
		return "reply with other sequence numbers than expected";
	request_payload(index, peer->asked, expected);
	if (segment->payload_bytes != PEERS_REQUEST_BYTES ||
	    memcmp(segment->payload, expected, PEERS_REQUEST_BYTES) != 0)
		return "reply with other bytes than were sent";
	peer->ack += PEERS_REQUEST_BYTES;
	peer->ts_echo = segment->ts_val;
	peer->state = PEER_OPEN;
	peers->idle++;
	peers->stats.requests++;
	await_ack(peers, index, now_us);
	return NULL;
}

static const char *take_fin(struct peers *peers, uint32_t index, const struct tcp_segment *segment,
			    uint64_t now_us)
{
	struct peer *peer = &peers->peer[index];

	if (!peers->may_close)
		return "FIN";
	if (seq_lt(segment->seq, peer->ack)) {
		peers->stats.again++;
		await_ack(peers, index, now_us);
		return NULL;
	}
	if (segment->seq != peer->ack || segment->payload_bytes > 0 || peer->state != PEER_OPEN)
		return "FIN at another place than expected";
	peer->ack++;
	peer->ts_echo = segment->ts_val;
	peer->state = PEER_CLOSING;
	peers->idle--;
	peers->stats.closed++;
	await_ack(peers, index, now_us);
	return NULL;
}

static const char *take_segment(struct peers *peers, uint32_t index, const struct tcp_segment *segment,
				uint64_t now_us)
{
	if (segment->flags & TCP_RST) {
		peers->stats.resets++;
		/* Whoever says FIN once more is nobody when TIME_WAIT had to give way to younger ones. */
		return peers->peer[index].state == PEER_CLOSING ? NULL : "reset";
	}
	if (segment->flags & TCP_SYN)
		return take_syn_ack(peers, &peers->peer[index], segment);
	if (segment->flags & TCP_FIN)
		return take_fin(peers, index, segment, now_us);
	if (!(segment->options & TCP_OPT_TIMESTAMPS))
		return "segment without timestamps";
	if (segment->payload_bytes > 0)
		return take_reply(peers, index, segment, now_us);
	peers->stats.bare_acks++;
	return NULL;
}

uint32_t peers_take(struct peers *peers, const uint8_t *frame, uint32_t bytes, uint64_t now_us)
{
	const uint8_t *at = frame + ETH_HEADER_BYTES;
	struct eth_header eth;
	struct ipv4_header ip;
	struct tcp_segment segment;
	uint32_t index, tcp_bytes;
	const char *wrong;

	if (eth_parse(frame, bytes, &eth) != DROP_NONE || !eth_equal(&eth.destination, &peers->gateway_mac) ||
	    !eth_equal(&eth.source, &peers->server_mac) || eth.type != ETH_TYPE_IPV4 ||
	    ipv4_parse(at, bytes - ETH_HEADER_BYTES, &ip) != DROP_NONE || ip.source != peers->server ||
	    ip.protocol != IP_PROTOCOL_TCP) {
		note_wrong(peers, frame, bytes, "frame that is not from the server to the gateway");
		return UINT32_MAX;
	}
	at += ip.header_bytes;
	tcp_bytes = ip.total_bytes - ip.header_bytes;
	if (tcp_parse(at, tcp_bytes, &segment) != DROP_NONE || segment.source_port != peers->port ||
	    !tcp_checksum_good(at, tcp_bytes, ip.source, ip.destination)) {
		note_wrong(peers, frame, bytes, "segment that cannot be read");
		return UINT32_MAX;
	}
	index = peers_index(peers, ip.destination, segment.destination_port);
	wrong = index == UINT32_MAX ? "segment for nobody" : take_segment(peers, index, &segment, now_us);
	if (wrong)
		note_wrong(peers, frame, bytes, wrong);
	return index;
}
