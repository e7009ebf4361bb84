/* tcp.h - TCP segments: stateless parse and emit (RFC 9293 section 3.1 and 3.2,
 * RFC 7323, RFC 2018). */
#ifndef C10M_WIRE_TCP_H
#define C10M_WIRE_TCP_H

#include "obs/counters.h"
#include "wire/checksum.h"

#define TCP_HEADER_BYTES     20
#define TCP_HEADER_BYTES_MAX 60

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_URG 0x20
#define TCP_ECE 0x40
#define TCP_CWR 0x80

/* Bits of tcp_segment.options. */
#define TCP_OPT_MSS            0x01
#define TCP_OPT_WSCALE         0x02
#define TCP_OPT_TIMESTAMPS     0x04
#define TCP_OPT_SACK_PERMITTED 0x08
#define TCP_OPT_SACK           0x10
#define TCP_OPT_USER_TIMEOUT   0x20
#define TCP_OPT_CE             0x80 /* no option: the packet came with a mark of congestion (RFC 3168) */
#define TCP_OPT_FASTOPEN       0x40 /* of a SYN; then there are no SACK blocks */

struct tcp_segment {
	uint32_t seq, ack;
	uint16_t source_port, destination_port;
	uint16_t window; /* as on the wire, not scaled */
	uint16_t urgent;
	uint8_t flags;
	uint8_t options; /* which of the following are there; the others are 0 */
	uint8_t wscale;  /* as received; more than 14 counts as 14 (RFC 7323 2.3) */
	union {
		uint8_t sack_blocks;  /* at sack, 8 bytes each, network order */
		uint8_t cookie_bytes; /* 0: it asks for one (RFC 7413) */
	};
	uint16_t mss;
	uint16_t header_bytes;
	uint32_t ts_val, ts_ecr;
	uint32_t payload_bytes;
	uint16_t user_timeout; /* RFC 5482: minutes when the top bit is set, else seconds */
	const uint8_t *payload;
	union {
		const uint8_t *sack, *cookie;
	};
};

/* NOP NOP and the head of a timestamps option: what nearly every segment carries. */
#define TCP_TIMESTAMPS_HEAD  0x0101080au
#define TCP_TIMESTAMPS_BYTES 12

/* Bytes of sequence space that the segment takes. */
PURE_INLINE uint32_t tcp_segment_length(const struct tcp_segment *segment)
{
	return segment->payload_bytes + !!(segment->flags & TCP_SYN) + !!(segment->flags & TCP_FIN);
}

/* The long way of tcp_parse: header_bytes is checked, the fixed part is read. */
enum drop_reason tcp_parse_options(const uint8_t *at, struct tcp_segment *segment);

/* Parses header and options; `bytes` is header and payload together. Does not look at the checksum.
 * Unknown options are skipped by their length; a length of 0, 1 or beyond the header, or one that is
 * wrong for a known option, is DROP_TCP_OPTIONS. Port 0 is DROP_TCP_PORT_ZERO.
 * The usual options (none; nop nop timestamps) take a short way. */
PURE_INLINE enum drop_reason tcp_parse(const uint8_t *at, size_t bytes, struct tcp_segment *segment)
{
	uint32_t header_bytes;

	if (unlikely(bytes < TCP_HEADER_BYTES))
		return DROP_TCP_SHORT;
	header_bytes = (uint32_t)(at[12] >> 4) * 4;
	if (unlikely(header_bytes < TCP_HEADER_BYTES || header_bytes > bytes))
		return DROP_TCP_HEADER_LENGTH;
	*segment = (struct tcp_segment){
		.source_port = get16(at),
		.destination_port = get16(at + 2),
		.seq = get32(at + 4),
		.ack = get32(at + 8),
		.flags = at[13],
		.window = get16(at + 14),
		.urgent = get16(at + 18),
		.header_bytes = (uint16_t)header_bytes,
		.payload = at + header_bytes,
		.payload_bytes = (uint32_t)(bytes - header_bytes),
	};
	if (unlikely(segment->source_port == 0 || segment->destination_port == 0))
		return DROP_TCP_PORT_ZERO;
	if (header_bytes == TCP_HEADER_BYTES)
		return DROP_NONE;
	if (unlikely(header_bytes != TCP_HEADER_BYTES + TCP_TIMESTAMPS_BYTES ||
		     get32(at + TCP_HEADER_BYTES) != TCP_TIMESTAMPS_HEAD))
		return tcp_parse_options(at, segment);
	segment->options = TCP_OPT_TIMESTAMPS;
	segment->ts_val = get32(at + TCP_HEADER_BYTES + 4);
	segment->ts_ecr = get32(at + TCP_HEADER_BYTES + 8);
	return DROP_NONE;
}

/* Whether the checksum over `bytes` bytes at `at` holds; addresses in host order. */
PURE_INLINE bool tcp_checksum_good(const uint8_t *at, size_t bytes, uint32_t source, uint32_t destination)
{
	/* 6 is the protocol number of TCP. */
	return csum_finish(csum_add(csum_pseudo4(source, destination, 6, (uint32_t)bytes), at, bytes)) == 0;
}

/* Bytes that tcp_emit will write for these options (a multiple of 4, 20 to 60). Only
 * so many SACK blocks are written as fit behind the other options; of a fast open sack_blocks is the bytes of
 * its cookie, and all of it must fit. */
PURE_INLINE uint32_t tcp_header_bytes(uint8_t options, uint8_t sack_blocks)
{
	uint32_t bytes = TCP_HEADER_BYTES, fit;

	if (options & TCP_OPT_MSS)
		bytes += 4;
	if (options & TCP_OPT_TIMESTAMPS)
		bytes += TCP_TIMESTAMPS_BYTES;
	else if (options & TCP_OPT_SACK_PERMITTED)
		bytes += 4;
	if (options & TCP_OPT_WSCALE)
		bytes += 4;
	if (options & TCP_OPT_USER_TIMEOUT)
		bytes += 4;
	if (options & TCP_OPT_FASTOPEN)
		return bytes + (uint32_t)ALIGN_UP(2u + sack_blocks, 4u);
	if (!(options & TCP_OPT_SACK) || sack_blocks == 0)
		return bytes;
	fit = (TCP_HEADER_BYTES_MAX - 4 - bytes) / 8;
	return bytes + 4 + 8 * MIN_OF(fit, sack_blocks);
}

/* The long way of tcp_emit: writes all options, returns the header's bytes. */
uint32_t tcp_emit_options(uint8_t *at, const struct tcp_segment *segment);

/* Writes header and options with a checksum field of zero; returns header bytes. Order of options:
 * MSS, SACK permitted, timestamps, NOP, window scale, user timeout, fast open; without SYN: NOP NOP
 * timestamps, NOP NOP SACK. segment->sack points to blocks in network order. */
PURE_INLINE uint32_t tcp_emit(uint8_t *at, const struct tcp_segment *segment)
{
	uint32_t header_bytes = TCP_HEADER_BYTES;

	if (segment->options == TCP_OPT_TIMESTAMPS) {
		put32(at + TCP_HEADER_BYTES, TCP_TIMESTAMPS_HEAD);
		put32(at + TCP_HEADER_BYTES + 4, segment->ts_val);
		put32(at + TCP_HEADER_BYTES + 8, segment->ts_ecr);
		header_bytes += TCP_TIMESTAMPS_BYTES;
	} else if (segment->options) {
		header_bytes = tcp_emit_options(at, segment);
	}
	put32(at, (uint32_t)segment->source_port << 16 | segment->destination_port);
	put32(at + 4, segment->seq);
	put32(at + 8, segment->ack);
	put32(at + 12, header_bytes << 26 | (uint32_t)segment->flags << 16 | segment->window);
	put32(at + 16, segment->urgent);
	return header_bytes;
}

/* Stores the checksum of a whole segment: pseudo-header, header at `at` and a payload
 * whose sum is already known (0 when there is none). */
PURE_INLINE void tcp_store_checksum(uint8_t *at, uint32_t header_bytes, uint32_t payload_bytes,
				    uint32_t payload_sum, uint32_t source, uint32_t destination)
{
	uint64_t sum = csum_pseudo4(source, destination, 6, header_bytes + payload_bytes);
	uint16_t check = csum_finish(csum_fold64(csum_header(sum + payload_sum, at, header_bytes)));

	memcpy(at + 16, &check, 2);
}

/* SACK block i in host order. */
PURE_INLINE void tcp_sack_block(const struct tcp_segment *segment, unsigned i, uint32_t *start, uint32_t *end)
{
	*start = get32(segment->sack + 8 * i);
	*end = get32(segment->sack + 8 * i + 4);
}

#endif
