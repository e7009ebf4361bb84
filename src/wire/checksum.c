/* checksum.c - the Internet checksum of any bytes at any alignment.
 * In: everything that parses or emits.  Out: sums.  Owns: nothing. */
#include "wire/checksum.h"

#include "base/simd_sum.h"

/* The last 0 to 3 bytes; a single one is padded with zero behind it. */
PURE_INLINE uint64_t sum_tail(uint8_t *to, const uint8_t *from, size_t bytes)
{
	uint64_t sum = 0;
	uint16_t word;

	if (bytes & 2) {
		memcpy(&word, from, 2);
		if (to)
			memcpy(to, &word, 2);
		sum += word;
	}
	if (bytes & 1) {
		const uint8_t last[2] = {from[bytes - 1], 0};

		memcpy(&word, last, 2);
		if (to)
			to[bytes - 1] = last[0];
		sum += word;
	}
	return sum;
}

/* Fewer bytes than a block. */
PURE_INLINE uint64_t sum_short(uint8_t *to, const uint8_t *from, size_t bytes)
{
	uint64_t sum = 0;

	while (bytes >= 8) {
		uint64_t words;

		memcpy(&words, from, 8);
		if (to) {
			memcpy(to, &words, 8);
			to += 8;
		}
		sum += (uint32_t)words + (words >> 32);
		from += 8;
		bytes -= 8;
	}
	if (bytes & 4) {
		uint32_t word;

		memcpy(&word, from, 4);
		if (to) {
			memcpy(to, &word, 4);
			to += 4;
		}
		sum += word;
		from += 4;
	}
	return sum + sum_tail(to, from, bytes & 3);
}

PURE_INLINE uint32_t sum_all(uint32_t start, uint8_t *to, const uint8_t *from, size_t bytes)
{
	size_t whole = bytes / SIMD_SUM_BLOCK_BYTES * SIMD_SUM_BLOCK_BYTES;
	uint64_t sum = start;

	if (whole) {
		sum += simd_sum_blocks(to, from, whole / SIMD_SUM_BLOCK_BYTES);
		from += whole;
		to = to ? to + whole : NULL;
	}
	return csum_fold64(sum + sum_short(to, from, bytes - whole));
}

uint32_t csum_add(uint32_t sum, const void *data, size_t bytes)
{
	return sum_all(sum, NULL, data, bytes);
}

uint32_t csum_copy(uint32_t sum, void *to, const void *from, size_t bytes)
{
	return sum_all(sum, to, from, bytes);
}
