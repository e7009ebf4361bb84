/* siphash.c - SipHash-2-4 over any bytes.
 * In: a key and bytes.  Out: 64 bits.  Owns: nothing. */
#include "base/siphash.h"

/* Little-endian on every machine, from 0 to 8 bytes. */
static uint64_t load_bytes(const uint8_t *from, size_t bytes)
{
	uint64_t word = 0;

	for (size_t i = 0; i < bytes; i++)
		word |= (uint64_t)from[i] << (8 * i);
	return word;
}

static void compress(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	siphash_round(v);
	siphash_round(v);
	v[0] ^= word;
}

uint64_t siphash24_bytes(const struct siphash_key *key, const void *data, size_t bytes)
{
	const uint8_t *from = data;
	size_t whole = bytes & ~(size_t)7;
	uint64_t v[4] = {
		key->k0 ^ 0x736f6d6570736575ULL,
		key->k1 ^ 0x646f72616e646f6dULL,
		key->k0 ^ 0x6c7967656e657261ULL,
		key->k1 ^ 0x7465646279746573ULL,
	};

	for (size_t i = 0; i < whole; i += 8)
		compress(v, load_bytes(from + i, 8));
	compress(v, load_bytes(from + whole, bytes - whole) | (uint64_t)bytes << 56);
	v[2] ^= 0xff;
	for (unsigned round = 0; round < 4; round++)
		siphash_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
