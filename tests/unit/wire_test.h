/* wire_test.h - what the tests of src/wire share: buffers between pages that may not be
 * touched, seeded random bytes, and the checksum as RFC 1071 words it. */
#ifndef C10M_TESTS_WIRE_TEST_H
#define C10M_TESTS_WIRE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "wire/bytes.h"

#define GUARDED_BYTES ((size_t)256 * 1024)

/* A read or write of one byte outside of `start`..`end` is a crash. */
struct guarded {
	uint8_t *start, *end;
};

PURE_INLINE struct guarded guarded_make(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *map = mmap(NULL, GUARDED_BYTES + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct guarded guarded = {map + page, map + page + GUARDED_BYTES};

	assert_ptr_not_equal(map, MAP_FAILED);
	assert_int_equal(mprotect(guarded.start, GUARDED_BYTES, PROT_READ | PROT_WRITE), 0);
	return guarded;
}

PURE_INLINE void guarded_free(struct guarded guarded)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	munmap(guarded.start - page, GUARDED_BYTES + 2 * page);
}

/* The bytes, copied so that the byte behind them cannot be read. */
PURE_INLINE uint8_t *guarded_put(struct guarded guarded, const void *bytes, size_t count)
{
	uint8_t *at = guarded.end - count;

	if (count)
		memcpy(at, bytes, count);
	return at;
}

PURE_INLINE uint64_t test_random(void)
{
	static uint64_t state = 0x9e3779b97f4a7c15;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * 0x2545f4914f6cdd1d;
}

PURE_INLINE uint32_t test_random_below(uint32_t bound)
{
	return (uint32_t)((test_random() >> 32) * bound >> 32);
}

PURE_INLINE void test_random_bytes(uint8_t *at, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		at[i] = (uint8_t)(test_random() >> 56);
}

/* The sum of big-endian words, as a number, folded. */
PURE_INLINE uint32_t naive_sum(uint32_t sum, const uint8_t *at, size_t bytes)
{
	uint64_t wide = sum;

	for (size_t i = 0; i < bytes; i++)
		wide += i % 2 ? at[i] : (uint32_t)at[i] << 8;
	while (wide >> 16)
		wide = (wide & 0xffff) + (wide >> 16);
	return (uint32_t)wide;
}

PURE_INLINE uint16_t naive_checksum(const uint8_t *at, size_t bytes)
{
	return (uint16_t)~naive_sum(0, at, bytes);
}

/* The same with the pseudo-header of RFC 9293 section 3.1. */
PURE_INLINE uint16_t naive_tcp_checksum(const uint8_t *at, size_t bytes, uint32_t source,
					uint32_t destination)
{
	uint8_t pseudo[12] = {0};

	put32(pseudo, source);
	put32(pseudo + 4, destination);
	pseudo[9] = 6;
	put16(pseudo + 10, (uint16_t)bytes);
	return (uint16_t)~naive_sum(naive_sum(0, pseudo, sizeof(pseudo)), at, bytes);
}

#endif
