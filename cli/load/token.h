/* token.h - what each request says: bytes that belong to one request of one connection alone.
 *
 * A seed is made of a secret of the run, the connection's number and the request's; every 8 bytes of the
 * request follow from the seed and their place. So an answer can be checked piece by piece as it comes, and
 * an answer to another request, or for another connection, differs from its first 8 bytes on. */
#ifndef C10M_LOAD_TOKEN_H
#define C10M_LOAD_TOKEN_H

#include <string.h>

#include "base/compiler.h"

PURE_INLINE uint64_t token_mix(uint64_t value)
{
	value ^= value >> 32;
	value *= 0xd6e8feb86659fd93u;
	value ^= value >> 32;
	value *= 0xd6e8feb86659fd93u;
	return value ^ value >> 32;
}

PURE_INLINE uint64_t token_seed(uint64_t secret, uint64_t connection, uint32_t request)
{
	return token_mix(token_mix(secret + connection * 0x9e3779b97f4a7c15u) + request);
}

PURE_INLINE uint64_t token_word(uint64_t seed, uint64_t place)
{
	return token_mix(seed + place * 0x9e3779b97f4a7c15u);
}

/* The bytes from `offset` on. */
void token_fill(uint64_t seed, uint64_t offset, uint8_t *bytes, size_t count);
bool token_matches(uint64_t seed, uint64_t offset, const uint8_t *bytes, size_t count);

#endif
