/* frame.c - any bytes as a frame: every parser, the printer, and each format once around.
 * In: bytes of libFuzzer.  Each input runs as it is, and once more with its IPv4 and ICMP
 * checksums put right, so that it gets further in.  What parsed is emitted, parsed again
 * and must agree. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "wire/arp.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/print.h"
#include "wire/tcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Compares all that tcp_emit carries; SACK blocks that do not fit are left out. */
static void check_tcp_agrees(const struct tcp_segment *in, const struct tcp_segment *out)
{
	bool cookie = out->options & TCP_OPT_FASTOPEN;
	uint8_t left_out = !cookie && out->sack_blocks ? 0 : TCP_OPT_SACK;

	CHECK(in->source_port == out->source_port && in->destination_port == out->destination_port);
	CHECK(in->seq == out->seq && in->ack == out->ack);
	CHECK(in->flags == out->flags && in->window == out->window && in->urgent == out->urgent);
	CHECK((in->options & ~left_out) == out->options);
	CHECK(in->mss == out->mss && in->wscale == out->wscale);
	CHECK(in->ts_val == out->ts_val && in->ts_ecr == out->ts_ecr);
	CHECK(cookie ? out->cookie_bytes == in->cookie_bytes : out->sack_blocks <= in->sack_blocks);
	if (cookie && out->cookie_bytes)
		CHECK(memcmp(in->cookie, out->cookie, out->cookie_bytes) == 0);
	else if (out->sack_blocks)
		CHECK(memcmp(in->sack, out->sack, 8u * out->sack_blocks) == 0);
}

static void tcp_again(const struct ipv4_header *ip, const struct tcp_segment *in)
{
	uint32_t header_bytes = tcp_header_bytes(in->options, in->sack_blocks);
	size_t bytes = header_bytes + in->payload_bytes;
	uint8_t *at = malloc(bytes); /* exact, so that one byte beyond it is seen */
	struct tcp_segment out;
	uint32_t sum;

	CHECK(at);
	CHECK(tcp_emit(at, in) == header_bytes);
	sum = csum_copy(0, at + header_bytes, in->payload, in->payload_bytes);
	tcp_store_checksum(at, header_bytes, in->payload_bytes, sum, ip->source, ip->destination);
	CHECK(tcp_checksum_good(at, bytes, ip->source, ip->destination));
	CHECK(tcp_parse(at, bytes, &out) == DROP_NONE);
	check_tcp_agrees(in, &out);
	CHECK(tcp_segment_length(in) == tcp_segment_length(&out));
	CHECK(memcmp(in->payload, out.payload, out.payload_bytes) == 0);
	free(at);
}

static void icmp_again(const struct icmp_message *in)
{
	uint8_t *at = malloc(ICMP_HEADER_BYTES + in->body_bytes);
	struct icmp_message out;
	struct icmp_quote quote;

	CHECK(at);
	if (icmp_parse_quote(in, &quote) == DROP_NONE)
		CHECK(icmp_next_mtu(in, &quote) >= 68);
	CHECK(icmp_emit(at, in->type, in->code, in->rest, in->body, in->body_bytes) ==
	      ICMP_HEADER_BYTES + in->body_bytes);
	CHECK(icmp_parse(at, ICMP_HEADER_BYTES + in->body_bytes, &out) == DROP_NONE);
	CHECK(in->type == out.type && in->code == out.code && in->rest == out.rest);
	CHECK(in->body_bytes == out.body_bytes && memcmp(in->body, out.body, out.body_bytes) == 0);
	free(at);
}

/* The header alone goes around, at the start of as many bytes as it speaks of. */
static void ipv4_again(const struct ipv4_header *in)
{
	uint8_t *at = calloc(1, in->total_bytes);
	struct ipv4_header out;

	CHECK(at);
	ipv4_emit(at, in);
	CHECK(ipv4_parse(at, in->total_bytes, &out) == DROP_NONE);
	CHECK(in->source == out.source && in->destination == out.destination);
	CHECK(in->total_bytes == out.total_bytes && in->id == out.id && in->flags == out.flags);
	CHECK(in->fragment_offset == out.fragment_offset && in->tos == out.tos);
	CHECK(in->ttl == out.ttl && in->protocol == out.protocol);
	CHECK(out.header_bytes == IPV4_HEADER_BYTES);
	free(at);
}

static void feed_arp(const uint8_t *at, size_t bytes)
{
	struct arp_packet arp;
	uint8_t again[ARP_BYTES];

	if (arp_parse(at, bytes, &arp) != DROP_NONE)
		return;
	arp_emit(again, &arp);
	CHECK(memcmp(at, again, ARP_BYTES) == 0);
}

static void feed_ipv4(const uint8_t *at, size_t bytes)
{
	struct ipv4_header ip;
	struct icmp_message message;
	struct tcp_segment segment;

	if (ipv4_parse(at, bytes, &ip) != DROP_NONE)
		return;
	CHECK(ip.header_bytes <= ip.total_bytes && ip.total_bytes <= bytes);
	ipv4_again(&ip);
	bytes = (size_t)(ip.total_bytes - ip.header_bytes);
	at += ip.header_bytes;
	if (ip.protocol == IP_PROTOCOL_ICMP && icmp_parse(at, bytes, &message) == DROP_NONE)
		icmp_again(&message);
	if (ip.protocol == IP_PROTOCOL_TCP && tcp_parse(at, bytes, &segment) == DROP_NONE) {
		CHECK(segment.header_bytes + segment.payload_bytes == bytes);
		tcp_again(&ip, &segment);
	}
}

static void feed_printer(const uint8_t *frame, size_t bytes)
{
	char text[512], little[40];
	int length = frame_print(frame, bytes, text, sizeof(text));

	CHECK(length > 0 && (size_t)length < sizeof(text) && strlen(text) == (size_t)length);
	CHECK(frame_print(frame, bytes, little, sizeof(little)) == length);
	CHECK(strncmp(text, little, sizeof(little) - 1) == 0);
}

static void feed(const uint8_t *frame, size_t bytes)
{
	struct eth_header eth;
	uint8_t again[ETH_HEADER_BYTES];

	feed_printer(frame, bytes);
	if (eth_parse(frame, bytes, &eth) != DROP_NONE)
		return;
	eth_emit(again, &eth);
	CHECK(memcmp(frame, again, ETH_HEADER_BYTES) == 0);
	frame += ETH_HEADER_BYTES;
	bytes -= ETH_HEADER_BYTES;
	if (eth.type == ETH_TYPE_ARP)
		feed_arp(frame, bytes);
	if (eth.type == ETH_TYPE_IPV4)
		feed_ipv4(frame, bytes);
}

static void seal(uint8_t *field, const uint8_t *from, size_t bytes)
{
	uint16_t check;

	put16(field, 0);
	check = csum_finish(csum_add(0, from, bytes));
	memcpy(field, &check, 2);
}

/* Puts right what random bytes never hit: header checksum, and that of an ICMP message. */
static void repair(uint8_t *frame, size_t bytes)
{
	uint8_t *ip = frame + ETH_HEADER_BYTES;
	size_t header_bytes, total_bytes;

	if (bytes < ETH_HEADER_BYTES + IPV4_HEADER_BYTES)
		return;
	header_bytes = (ip[0] & 15u) * 4;
	total_bytes = get16(ip + 2);
	if (header_bytes < IPV4_HEADER_BYTES || total_bytes < header_bytes ||
	    total_bytes > bytes - ETH_HEADER_BYTES)
		return;
	seal(ip + 10, ip, header_bytes);
	if (ip[9] == IP_PROTOCOL_ICMP && total_bytes >= header_bytes + ICMP_HEADER_BYTES)
		seal(ip + header_bytes + 2, ip + header_bytes, total_bytes - header_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	CHECK(copy);
	if (size)
		memcpy(copy, data, size);
	feed(data, size);
	repair(copy, size);
	feed(copy, size);
	free(copy);
	return 0;
}
