/* checksum.h - the Internet checksum (RFC 1071, RFC 1624).
 *
 * Sums are of 16-bit words as they lie in memory (either byte order gives the right
 * checksum when it is stored the same way), kept unfolded in 32 bits. */
#ifndef C10M_WIRE_CHECKSUM_H
#define C10M_WIRE_CHECKSUM_H

#include "wire/bytes.h"

/* Adds `bytes` bytes to a sum. An odd last byte is padded with zero, so only the
 * last piece may be odd. The result fits in 32 bits again (partly folded). */
uint32_t csum_add(uint32_t sum, const void *data, size_t bytes);

/* Copies and adds in one pass. Regions do not overlap. */
uint32_t csum_copy(uint32_t sum, void *to, const void *from, size_t bytes);

PURE_INLINE uint32_t csum_join(uint32_t a, uint32_t b)
{
	uint32_t sum = a + b;

	return sum + (sum < a);
}

/* A sum of many 32-bit words, brought back to 32 bits. */
PURE_INLINE uint32_t csum_fold64(uint64_t sum)
{
	return csum_join((uint32_t)sum, (uint32_t)(sum >> 32));
}

/* The sum of a piece that starts at an odd offset of the whole. */
PURE_INLINE uint32_t csum_shift_odd(uint32_t sum)
{
	return sum << 8 | sum >> 24;
}

/* The value for a checksum field, in memory order: store it with memcpy. */
PURE_INLINE uint16_t csum_finish(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* Adds a header of whole 32-bit words.  It reads what the emitters have just written
 * in the size in which they wrote it, so that no load waits for a store. */
PURE_INLINE uint64_t csum_header(uint64_t sum, const uint8_t *at, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i += 4) {
		uint32_t word;

		memcpy(&word, at + i, sizeof(word));
		sum += word;
	}
	return sum;
}

/* The pseudo-header of TCP and UDP over IPv4; addresses in host order. */
PURE_INLINE uint32_t csum_pseudo4(uint32_t source, uint32_t destination, uint8_t protocol, uint32_t bytes)
{
	uint64_t sum = (uint64_t)NET32(source) + NET32(destination);

	/* Zero, protocol and length are both 16-bit words; their sum may carry into the word above. */
	return csum_fold64(sum + NET32(protocol + bytes));
}

#endif
