/* icmp.c - ICMP messages and the packets that errors quote.
 * In: the bytes behind an IPv4 header.  Out: structs, or a drop reason.  Owns: nothing. */
#include "wire/icmp.h"

#include "wire/ipv4.h"

/* RFC 791 section 3.2: every network carries this much. */
#define IPV4_MTU_MIN 68

enum drop_reason icmp_parse(const uint8_t *at, size_t bytes, struct icmp_message *message)
{
	if (bytes < ICMP_HEADER_BYTES)
		return DROP_ICMP_MALFORMED;
	if (csum_finish(csum_add(0, at, bytes)) != 0)
		return DROP_ICMP_CHECKSUM;
	message->type = at[0];
	message->code = at[1];
	message->rest = get32(at + 4);
	message->body = at + ICMP_HEADER_BYTES;
	message->body_bytes = (uint32_t)(bytes - ICMP_HEADER_BYTES);
	return DROP_NONE;
}

bool icmp_is_error(uint8_t type)
{
	return type == ICMP_UNREACHABLE || type == ICMP_SOURCE_QUENCH || type == ICMP_REDIRECT ||
	       type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETER_PROBLEM;
}

/* The quoted header's checksum is not looked at: routers on the way have changed the
 * header, and not all keep it right in the quote. */
enum drop_reason icmp_parse_quote(const struct icmp_message *message, struct icmp_quote *quote)
{
	const uint8_t *at = message->body;
	uint32_t header_bytes;

	if (!icmp_is_error(message->type) || message->body_bytes < IPV4_HEADER_BYTES + 8)
		return DROP_ICMP_MALFORMED;
	header_bytes = (at[0] & 15u) * 4;
	if (at[0] >> 4 != 4 || header_bytes < IPV4_HEADER_BYTES || message->body_bytes < header_bytes + 8)
		return DROP_ICMP_MALFORMED;
	if (get16(at + 6) & 0x1fff)
		return DROP_ICMP_MALFORMED; /* a later fragment: no ports in it */
	quote->total_bytes = get16(at + 2);
	quote->protocol = at[9];
	quote->source = get32(at + 12);
	quote->destination = get32(at + 16);
	quote->header_bytes = (uint8_t)header_bytes;
	quote->source_port = get16(at + header_bytes);
	quote->destination_port = get16(at + header_bytes + 2);
	quote->seq = get32(at + header_bytes + 4);
	return DROP_NONE;
}

uint32_t icmp_next_mtu(const struct icmp_message *message, const struct icmp_quote *quote)
{
	/* RFC 1191 section 7.1: sizes that links of the time had. */
	static const uint16_t plateaus[] = {32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296};
	uint32_t given = message->rest & 0xffff;

	if (given)
		return MAX_OF(given, IPV4_MTU_MIN);
	for (size_t i = 0; i < ARRAY_COUNT(plateaus); i++)
		if (plateaus[i] < quote->total_bytes)
			return plateaus[i];
	return IPV4_MTU_MIN;
}

uint32_t icmp_emit(uint8_t *at, uint8_t type, uint8_t code, uint32_t rest, const uint8_t *body,
		   uint32_t body_bytes)
{
	uint16_t check;
	uint32_t sum;

	at[0] = type;
	at[1] = code;
	put16(at + 2, 0);
	put32(at + 4, rest);
	sum = csum_fold64(csum_header(0, at, ICMP_HEADER_BYTES));
	if (body_bytes)
		sum = csum_copy(sum, at + ICMP_HEADER_BYTES, body, body_bytes);
	check = csum_finish(sum);
	memcpy(at + 2, &check, 2);
	return ICMP_HEADER_BYTES + body_bytes;
}
