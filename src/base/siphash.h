/* siphash.h - keyed hashes of short inputs whose sender may be hostile.
 *
 * SipHash (Aumasson and Bernstein, 2012): siphash13 for tables, where an
 * attacker sees no output; siphash24 where the output goes on the wire (initial
 * sequence numbers, cookies, timestamp offsets).  Words are little-endian. */
#ifndef C10M_BASE_SIPHASH_H
#define C10M_BASE_SIPHASH_H

#include "base/compiler.h"

struct siphash_key {
	uint64_t k0, k1;
};

#define SIPHASH_ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

PURE_INLINE void siphash_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = SIPHASH_ROTL(v[1], 13) ^ v[0];
	v[0] = SIPHASH_ROTL(v[0], 32);
	v[2] += v[3];
	v[3] = SIPHASH_ROTL(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = SIPHASH_ROTL(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = SIPHASH_ROTL(v[1], 17) ^ v[2];
	v[2] = SIPHASH_ROTL(v[2], 32);
}

/* Hashes `count` whole words and a last word that carries the length as the
 * specification asks: its top byte is the input's length in bytes modulo 256,
 * the bytes below it are the input's last 0 to 7 bytes. */
PURE_INLINE uint64_t siphash_words(const struct siphash_key *key, const uint64_t *words, unsigned count,
				   uint64_t last, unsigned c_rounds, unsigned d_rounds)
{
	uint64_t v[4] = {
		key->k0 ^ 0x736f6d6570736575ULL,
		key->k1 ^ 0x646f72616e646f6dULL,
		key->k0 ^ 0x6c7967656e657261ULL,
		key->k1 ^ 0x7465646279746573ULL,
	};

	for (unsigned i = 0; i <= count; i++) {
		uint64_t word = i < count ? words[i] : last;

		v[3] ^= word;
		for (unsigned round = 0; round < c_rounds; round++)
			siphash_round(v);
		v[0] ^= word;
	}
	v[2] ^= 0xff;
	for (unsigned round = 0; round < d_rounds; round++)
		siphash_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Any bytes; for the published test vectors and for rare, long inputs. */
uint64_t siphash24_bytes(const struct siphash_key *key, const void *data, size_t bytes);

#endif
