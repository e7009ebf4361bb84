/* ipv4.c - the IPv4 header, and addresses as text.
 * In: the bytes behind an Ethernet header.  Out: a struct, or a drop reason.  Owns: nothing. */
#include "wire/ipv4.h"

static void read_fields(const uint8_t *at, struct ipv4_header *header)
{
	uint16_t fragment = get16(at + 6);

	header->tos = at[1];
	header->total_bytes = get16(at + 2);
	header->id = get16(at + 4);
	header->flags = fragment & (IPV4_DF | IPV4_MF);
	header->fragment_offset = (uint16_t)(fragment << 3);
	header->ttl = at[8];
	header->protocol = at[9];
	header->source = get32(at + 12);
	header->destination = get32(at + 16);
}

enum drop_reason ipv4_parse(const uint8_t *at, size_t bytes, struct ipv4_header *header)
{
	uint32_t header_bytes;

	if (unlikely(bytes < IPV4_HEADER_BYTES))
		return DROP_IP_SHORT;
	if (unlikely(at[0] >> 4 != 4))
		return DROP_IP_VERSION;
	header_bytes = (at[0] & 15u) * 4;
	if (unlikely(header_bytes < IPV4_HEADER_BYTES || header_bytes > bytes))
		return DROP_IP_HEADER_LENGTH;
	header->header_bytes = (uint8_t)header_bytes;
	read_fields(at, header);
	if (unlikely(header->total_bytes < header_bytes || header->total_bytes > bytes))
		return DROP_IP_TOTAL_LENGTH;
	if (unlikely(csum_finish(csum_fold64(csum_header(0, at, header_bytes))) != 0))
		return DROP_IP_CHECKSUM;
	if (unlikely(!ipv4_is_unicast(header->source)))
		return DROP_IP_BAD_SOURCE;
	return DROP_NONE;
}

/* One decimal number without leading zeros, at most `max`; NULL when there is none. */
static const char *number_from_text(const char *text, unsigned max, unsigned *number)
{
	const char *start = text;
	unsigned value = 0;

	while (*text >= '0' && *text <= '9' && value <= max)
		value = value * 10 + (unsigned)(*text++ - '0');
	if (text == start || value > max || (*start == '0' && text != start + 1))
		return NULL;
	*number = value;
	return text;
}

/* Returns what follows the address, NULL when there is none. */
static const char *address_from_text(const char *text, uint32_t *address)
{
	uint32_t value = 0;

	for (int i = 0; i < 4; i++) {
		unsigned octet;

		if (i > 0 && *text++ != '.')
			return NULL;
		text = number_from_text(text, 255, &octet);
		if (!text)
			return NULL;
		value = value << 8 | octet;
	}
	*address = value;
	return text;
}

bool ipv4_from_text(const char *text, uint32_t *address)
{
	uint32_t value;
	const char *end = address_from_text(text, &value);

	if (!end || *end)
		return false;
	*address = value;
	return true;
}

bool ipv4_prefix_from_text(const char *text, uint32_t *address, unsigned *prefix_bits)
{
	uint32_t value;
	unsigned bits;
	const char *end = address_from_text(text, &value);

	if (!end || *end != '/')
		return false;
	end = number_from_text(end + 1, 32, &bits);
	if (!end || *end)
		return false;
	*address = value;
	*prefix_bits = bits;
	return true;
}

const char *ipv4_to_text(uint32_t address, char text[IPV4_TEXT_BYTES])
{
	char *at = text;

	for (int shift = 24; shift >= 0; shift -= 8) {
		uint32_t octet = address >> shift & 255;

		if (octet >= 100)
			*at++ = (char)('0' + octet / 100);
		if (octet >= 10)
			*at++ = (char)('0' + octet / 10 % 10);
		*at++ = (char)('0' + octet % 10);
		*at++ = shift ? '.' : '\0';
	}
	return text;
}

struct ipv4_range ipv4_hosts(uint32_t prefix, unsigned prefix_bits)
{
	uint32_t others = UINT32_MAX >> (prefix_bits - 1) >> 1, first = prefix & ~others;

	if (others <= 1)
		return (struct ipv4_range){first, others + 1};
	return (struct ipv4_range){first + 1, others - 1};
}
