/* random.h - a small generator for choices that need speed and repetition, not secrecy.
 *
 * xoroshiro128++ (Blackman and Vigna). Its state is handed in, so that a seed
 * repeats a run exactly. Who sees its output can foretell the next one: nothing
 * that a peer must not guess may be made of it alone. */
#ifndef C10M_BASE_RANDOM_H
#define C10M_BASE_RANDOM_H

#include "base/compiler.h"

struct random {
	uint64_t s[2]; /* never both zero */
};

/* splitmix64: neighbouring seeds give unrelated states. */
PURE_INLINE uint64_t random_mix(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* Any seed will do, 0 too. */
PURE_INLINE struct random random_seeded(uint64_t seed)
{
	struct random random;

	random.s[0] = random_mix(&seed);
	random.s[1] = random_mix(&seed);
	return random;
}

/* From a state drawn elsewhere, as in struct arena_secrets. */
PURE_INLINE struct random random_from_state(const uint64_t state[2])
{
	struct random random = {{state[0], state[1]}};

	if ((state[0] | state[1]) == 0)
		return random_seeded(0);
	return random;
}

PURE_INLINE uint64_t random_rotl(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

PURE_INLINE uint64_t random_next(struct random *random)
{
	uint64_t s0 = random->s[0], s1 = random->s[1];
	uint64_t result = random_rotl(s0 + s1, 17) + s0;

	s1 ^= s0;
	random->s[0] = random_rotl(s0, 49) ^ s1 ^ (s1 << 21);
	random->s[1] = random_rotl(s1, 28);
	return result;
}

/* 0 to n - 1; 0 when n is 0. Off from uniform by less than n / 2^32. */
PURE_INLINE uint32_t random_below(struct random *random, uint32_t n)
{
	return (uint32_t)(((random_next(random) >> 32) * n) >> 32);
}

/* True `numerator` times out of `denominator`. */
PURE_INLINE bool random_chance(struct random *random, uint32_t numerator, uint32_t denominator)
{
	return random_below(random, denominator) < numerator;
}

#endif
