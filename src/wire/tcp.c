/* tcp.c - TCP options, the long way.
 * In: headers whose length is checked.  Out: the options, or a drop reason.  Owns: nothing. */
#include "wire/tcp.h"

/* RFC 9293 section 3.2, RFC 7323, RFC 2018. */
#define KIND_END            0
#define KIND_NOP            1
#define KIND_MSS            2
#define KIND_WSCALE         3
#define KIND_SACK_PERMITTED 4
#define KIND_SACK           5
#define KIND_TIMESTAMPS     8
#define KIND_USER_TIMEOUT   28
#define KIND_FASTOPEN       34

#define COOKIE_MIN 4
#define COOKIE_MAX 16

#define WSCALE_MAX 14

/* RFC 7413 section 4.1.1: one of a length that none has is ignored, and so is one outside of a SYN. */
static void parse_fastopen(const uint8_t *at, uint32_t bytes, struct tcp_segment *segment)
{
	uint32_t cookie_bytes = bytes - 2;

	if (!(segment->flags & TCP_SYN) || segment->options & TCP_OPT_SACK || cookie_bytes % 2 ||
	    cookie_bytes > COOKIE_MAX || (cookie_bytes && cookie_bytes < COOKIE_MIN))
		return;
	segment->options |= TCP_OPT_FASTOPEN;
	segment->cookie = at + 2;
	segment->cookie_bytes = (uint8_t)cookie_bytes;
}

/* One option of `bytes` bytes (2 or more, all inside the header); false when the length is
 * wrong for its kind. When a kind comes twice the last one counts. */
static bool parse_option(const uint8_t *at, uint32_t bytes, struct tcp_segment *segment)
{
	switch (at[0]) {
	case KIND_MSS:
		segment->options |= TCP_OPT_MSS;
		segment->mss = bytes == 4 ? get16(at + 2) : 0;
		return bytes == 4;
	case KIND_WSCALE:
		segment->options |= TCP_OPT_WSCALE;
		segment->wscale = bytes == 3 ? MIN_OF(at[2], WSCALE_MAX) : 0;
		return bytes == 3;
	case KIND_SACK_PERMITTED:
		segment->options |= TCP_OPT_SACK_PERMITTED;
		return bytes == 2;
	case KIND_SACK:
		segment->options = (uint8_t)((segment->options & ~TCP_OPT_FASTOPEN) | TCP_OPT_SACK);
		segment->sack = at + 2;
		segment->sack_blocks = (uint8_t)((bytes - 2) / 8);
		return bytes > 2 && (bytes - 2) % 8 == 0;
	case KIND_TIMESTAMPS:
		if (bytes != 10)
			return false;
		segment->options |= TCP_OPT_TIMESTAMPS;
		segment->ts_val = get32(at + 2);
		segment->ts_ecr = get32(at + 6);
		return true;
	case KIND_USER_TIMEOUT:
		if (bytes != 4)
			return true; /* RFC 5482 section 4: ignored */
		segment->options |= TCP_OPT_USER_TIMEOUT;
		segment->user_timeout = get16(at + 2);
		return true;
	case KIND_FASTOPEN:
		parse_fastopen(at, bytes, segment);
		return true;
	default:
		return true;
	}
}

enum drop_reason tcp_parse_options(const uint8_t *at, struct tcp_segment *segment)
{
	uint32_t offset = TCP_HEADER_BYTES;

	while (offset < segment->header_bytes) {
		uint32_t left = segment->header_bytes - offset, bytes;

		if (at[offset] == KIND_END)
			break;
		if (at[offset] == KIND_NOP) {
			offset++;
			continue;
		}
		if (left < 2)
			return DROP_TCP_OPTIONS;
		bytes = at[offset + 1];
		if (bytes < 2 || bytes > left || !parse_option(at + offset, bytes, segment))
			return DROP_TCP_OPTIONS;
		offset += bytes;
	}
	return DROP_NONE;
}

static uint8_t *emit_timestamps(uint8_t *at, const struct tcp_segment *segment)
{
	bool permitted = segment->options & TCP_OPT_SACK_PERMITTED;

	/* "SACK permitted" is as long as the two NOPs whose place it takes. */
	put32(at, permitted ? 0x0402080a : TCP_TIMESTAMPS_HEAD);
	put32(at + 4, segment->ts_val);
	put32(at + 8, segment->ts_ecr);
	return at + TCP_TIMESTAMPS_BYTES;
}

uint32_t tcp_emit_options(uint8_t *at, const struct tcp_segment *segment)
{
	uint32_t header_bytes = tcp_header_bytes(segment->options, segment->sack_blocks);
	uint8_t *option = at + TCP_HEADER_BYTES, *end = at + header_bytes;

	if (segment->options & TCP_OPT_MSS) {
		put32(option, 0x02040000u | segment->mss);
		option += 4;
	}
	if (segment->options & TCP_OPT_TIMESTAMPS) {
		option = emit_timestamps(option, segment);
	} else if (segment->options & TCP_OPT_SACK_PERMITTED) {
		put32(option, 0x01010402); /* as Linux: the NOPs first */
		option += 4;
	}
	if (segment->options & TCP_OPT_WSCALE) {
		put32(option, 0x01030300u | segment->wscale);
		option += 4;
	}
	if (segment->options & TCP_OPT_USER_TIMEOUT) {
		put32(option, 0x1c040000u | segment->user_timeout);
		option += 4;
	}
	if (segment->options & TCP_OPT_FASTOPEN) {
		memset(option, KIND_NOP, (size_t)(end - option));
		option[0] = KIND_FASTOPEN;
		option[1] = (uint8_t)(2 + segment->cookie_bytes);
		if (segment->cookie_bytes)
			memcpy(option + 2, segment->cookie, segment->cookie_bytes);
	} else if (option < end) {
		uint32_t blocks_bytes = (uint32_t)(end - option) - 4;

		put32(option, 0x01010500u | (blocks_bytes + 2));
		memcpy(option + 4, segment->sack, blocks_bytes);
	}
	return header_bytes;
}
