/* session_peers.c - what the peers of the session fuzzer send.
 * In: the input's bytes, what each peer knows.  Out: frames, in bursts.  Owns: nothing.
 *
 * Sequence numbers are relative to what a peer knows, and checksums are right. */
#include "session.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/seq.h"
#include "wire/arp.h"
#include "wire/checksum.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"

static void queue(uint32_t bytes)
{
	run.bytes[run.count++] = bytes;
	if (run.burst && run.count < STACK_BURST)
		return;
	deliver();
	transmit(1000);
}

uint8_t byte(void)
{
	return run.at < run.end ? *run.at++ : 0;
}

uint16_t word(void)
{
	uint16_t high = byte();

	return (uint16_t)(high << 8 | byte());
}

/* -32768 to 32767, modulo 2^32. */
static uint32_t offset(void)
{
	return word() - 0x8000u;
}

unsigned which(void)
{
	return byte() % PEERS;
}

static uint8_t *frame_start(uint8_t protocol, uint32_t body_bytes)
{
	uint8_t *frame = run.frames[run.count];
	const struct eth_header eth = {
		.destination = run.config.mac, .source = {{2, 0, 0, 0, 0, 2}}, .type = ETH_TYPE_IPV4};
	const struct ipv4_header ip = {.source = PEER_IP,
				       .destination = STACK_IP,
				       .ttl = 64,
				       .tos = run.ecn,
				       .flags = IPV4_DF,
				       .protocol = protocol,
				       .total_bytes = (uint16_t)(IPV4_HEADER_BYTES + body_bytes)};

	eth_emit(frame, &eth);
	ipv4_emit(frame + ETH_HEADER_BYTES, &ip);
	return frame + ETH_HEADER_BYTES + IPV4_HEADER_BYTES;
}

static uint32_t sum_of(const uint8_t *at, uint32_t bytes)
{
	static const uint8_t padding;
	uint8_t *copy = malloc(bytes + 2);
	uint32_t sum = 0;

	CHECK(copy);
	memcpy(copy, at, bytes);
	copy[bytes] = padding;
	for (uint32_t i = 0; i < bytes; i += 2) {
		uint16_t pair;

		memcpy(&pair, copy + i, 2);
		sum += pair;
	}
	free(copy);
	return sum;
}

/* Options of the input instead of those that fit; NULL: those that fit. */
static void send_segment(unsigned index, struct tcp_segment *segment, const uint8_t *options,
			 uint32_t option_bytes)
{
	struct peer *peer = &run.peers[index];
	uint8_t *tcp, header[TCP_HEADER_BYTES_MAX];
	uint32_t header_bytes, end = segment->seq + tcp_segment_length(segment);

	segment->source_port = (uint16_t)(5000 + index);
	segment->destination_port = (uint16_t)(peer->active ? LOCAL_PORT + index : PORT);
	header_bytes = tcp_emit(header, segment);
	if (options) {
		header_bytes = TCP_HEADER_BYTES + ALIGN_UP(option_bytes, 4u);
		memset(header + TCP_HEADER_BYTES, 0, sizeof(header) - TCP_HEADER_BYTES);
		memcpy(header + TCP_HEADER_BYTES, options, option_bytes);
		header[12] = (uint8_t)(header_bytes / 4 << 4);
	}
	tcp = frame_start(IP_PROTOCOL_TCP, header_bytes + segment->payload_bytes);
	memcpy(tcp, header, header_bytes);
	for (uint32_t i = 0; i < segment->payload_bytes; i++)
		tcp[header_bytes + i] = (uint8_t)(segment->seq + i + !!(segment->flags & TCP_SYN));
	tcp_store_checksum(tcp, header_bytes, segment->payload_bytes,
			   sum_of(tcp + header_bytes, segment->payload_bytes), PEER_IP, STACK_IP);
	if (!(segment->flags & TCP_RST))
		peer->snd_max = seq_max(peer->snd_max, end);
	if (segment->flags & TCP_ACK)
		peer->ack_sent = segment->ack;
	if (segment->seq == peer->snd_nxt && !(segment->flags & TCP_RST))
		peer->snd_nxt = end;
	queue(ETH_HEADER_BYTES + IPV4_HEADER_BYTES + header_bytes + segment->payload_bytes);
}

static struct tcp_segment right_segment(unsigned index, uint8_t flags, uint32_t bytes)
{
	struct peer *peer = &run.peers[index];
	struct tcp_segment segment = {
		.flags = flags,
		.seq = peer->snd_nxt,
		.ack = peer->rcv_nxt,
		.window = 40000,
		.payload_bytes = bytes,
		.options = peer->timestamps ? TCP_OPT_TIMESTAMPS : 0,
		.ts_ecr = peer->ts_seen,
		.ts_val = peer->ts_base + (uint32_t)(run.now_us / 1000),
	};

	return segment;
}

static void act_syn(unsigned index)
{
	struct peer *peer = &run.peers[index];
	struct tcp_segment segment = right_segment(index, peer->active ? TCP_SYN | TCP_ACK : TCP_SYN, 0);

	if (index & 1)
		segment.flags |= (uint8_t)(peer->active ? TCP_ECE : TCP_ECE | TCP_CWR);
	segment.seq = peer->iss;
	segment.mss = 1460;
	segment.wscale = 3;
	segment.options = (uint8_t)(TCP_OPT_MSS | (index & 1 ? TCP_OPT_WSCALE : 0) |
				    (index & 2 ? TCP_OPT_TIMESTAMPS : 0) |
				    (index == 1 || index == 2 ? TCP_OPT_SACK_PERMITTED : 0));
	send_segment(index, &segment, NULL, 0);
}

static void act_segment(unsigned index)
{
	struct tcp_segment segment = right_segment(index, byte(), 0);

	segment.seq += offset();
	segment.ack += offset();
	segment.window = word();
	segment.payload_bytes = word() % 1461;
	send_segment(index, &segment, NULL, 0);
}

static void act_options(unsigned index)
{
	struct tcp_segment segment = right_segment(index, byte(), 0);
	uint8_t options[40];
	uint32_t count = byte() % 41;

	for (uint32_t i = 0; i < count; i++)
		options[i] = byte();
	send_segment(index, &segment, options, count);
}

static void act_old(unsigned index)
{
	struct tcp_segment segment = right_segment(index, TCP_ACK, 10);

	segment.ts_val -= 1u + byte() * 50u;
	send_segment(index, &segment, NULL, 0);
}

static void act_sack(unsigned index)
{
	struct tcp_segment segment = right_segment(index, TCP_ACK, 0);
	uint8_t blocks[4 * 8];

	segment.sack_blocks = byte() & 3;
	segment.sack = blocks;
	segment.ack = run.peers[index].ack_sent + (segment.sack_blocks == 3 ? byte() * 20u : 0);
	segment.options |= TCP_OPT_SACK;
	for (unsigned i = 0; i <= segment.sack_blocks && i < 3; i++) {
		uint32_t start = segment.ack + offset();

		put32(blocks + (size_t)i * 8, start);
		put32(blocks + (size_t)i * 8 + 4, start + word() % 4096);
	}
	segment.sack_blocks = (uint8_t)MIN_OF(segment.sack_blocks + 1, 3);
	send_segment(index, &segment, NULL, 0);
}

static void act_time(unsigned index)
{
	struct tcp_segment segment = right_segment(index, TCP_ACK, 0);

	segment.options |= TCP_OPT_TIMESTAMPS;
	segment.ts_val += offset() << (byte() & 16);
	segment.ts_ecr += offset();
	segment.payload_bytes = byte();
	send_segment(index, &segment, NULL, 0);
}

static void act_icmp(unsigned index)
{
	struct peer *peer = &run.peers[index];
	uint8_t quote[IPV4_HEADER_BYTES + 8] = {0}, message[64], *at;
	const struct ipv4_header ip = {.source = STACK_IP,
				       .destination = PEER_IP,
				       .ttl = 60,
				       .flags = IPV4_DF,
				       .protocol = IP_PROTOCOL_TCP,
				       .total_bytes = 1500};
	uint8_t type = byte(), code = byte();
	uint32_t rest = word(), bytes;

	ipv4_emit(quote, &ip);
	put16(quote + 20, (uint16_t)(peer->active ? LOCAL_PORT + index : PORT));
	put16(quote + 22, (uint16_t)(5000 + index));
	put32(quote + 24, peer->rcv_nxt + offset());
	bytes = icmp_emit(message, type, code, rest, quote, sizeof(quote));
	at = frame_start(IP_PROTOCOL_ICMP, bytes);
	memcpy(at, message, bytes);
	queue(ETH_HEADER_BYTES + IPV4_HEADER_BYTES + bytes);
}

static void act_raw(void)
{
	uint32_t count = byte();

	for (uint32_t i = 0; i < count; i++)
		run.frames[run.count][i] = byte();
	queue(count);
}

static void act_arp(void)
{
	uint8_t *frame = run.frames[run.count];
	const struct eth_header eth = {
		.destination = eth_broadcast, .source = {{2, 0, 0, 0, 0, 2}}, .type = ETH_TYPE_ARP};
	const struct arp_packet arp = {.operation = (uint16_t)(1 + (byte() & 1)),
				       .sender = eth.source,
				       .sender_ip = PEER_IP,
				       .target_ip = STACK_IP};

	eth_emit(frame, &eth);
	arp_emit(frame + ETH_HEADER_BYTES, &arp);
	queue(ETH_HEADER_BYTES + ARP_BYTES);
}

/* A connection that the application still has is not forgotten. */
void act_reopen(unsigned index)
{
	struct peer *peer = &run.peers[index];

	if (peer->handle)
		return;
	peer->iss += 1u << 20;
	peer->snd_nxt = peer->snd_max = peer->iss;
	peer->irs_known = peer->acked = peer->active = peer->timestamps = false;
}

static void send_right(unsigned index, uint8_t flags, uint32_t bytes)
{
	struct tcp_segment segment = right_segment(index, flags, bytes);

	send_segment(index, &segment, NULL, 0);
}

/* Actions that are frames, and so may stand in a burst; false: another kind. */
bool act_frame(enum action action)
{
	switch (action) {
	case ACT_SYN:
		act_syn(which());
		break;
	case ACT_GOOD: {
		unsigned index = which();
		send_right(index, TCP_ACK, byte() * 5u);
		break;
	}
	case ACT_FIN:
		send_right(which(), TCP_ACK | TCP_FIN, 0);
		break;
	case ACT_SEGMENT:
		act_segment(which());
		break;
	case ACT_OPTIONS:
		act_options(which());
		break;
	case ACT_OLD:
		act_old(which());
		break;
	case ACT_ICMP:
		act_icmp(which());
		break;
	case ACT_RAW:
		act_raw();
		break;
	case ACT_ARP:
		act_arp();
		break;
	case ACT_BURST:
		run.burst = true;
		break;
	case ACT_SACK:
		act_sack(which());
		break;
	case ACT_TIME:
		act_time(which());
		break;
	case ACT_MARK:
		run.ecn = byte() & 3;
		break;
	default:
		return false;
	}
	return true;
}
