/* test_siphash.c - SipHash against the values its authors published, and the word form against
 * the byte form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "flow/tuple.h"

/* The key is the bytes 0 to 15. */
static const struct siphash_key key = {0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};

/* SipHash-2-4 of the inputs "", 00, 00 01, 00 01 02, ... as 64-bit numbers. */
static const uint64_t vectors[] = {
	0x726fdb47dd0e0e31ULL, 0x74f839c593dc67fdULL, 0x0d6c8009d9a94f5aULL, 0x85676696d7fb7e2dULL,
	0xcf2794e0277187b7ULL, 0x18765564cd99a68dULL, 0xcbc9466e58fee3ceULL, 0xab0200f58b01d137ULL,
	0x93f5f5799a932462ULL, 0x9e0082df0ba9e4b0ULL, 0x7a5dbbc594ddb9f3ULL, 0xf4b32f46226bada7ULL,
	0x751e8fbc860ee5fbULL, 0x14ea5627c0843d90ULL, 0xf723ca908e7af2eeULL, 0xa129ca6149be45e5ULL,
};

static void fill(uint8_t *input, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		input[i] = (uint8_t)i;
}

static void published_vectors(void **state)
{
	uint8_t input[64];

	(void)state;
	fill(input, sizeof(input));
	for (size_t bytes = 0; bytes < ARRAY_COUNT(vectors); bytes++)
		assert_true(siphash24_bytes(&key, input, bytes) == vectors[bytes]);
	/* The last of the published list: 63 bytes. */
	assert_true(siphash24_bytes(&key, input, 63) == 0x958a324ceb064572ULL);
}

static void an_unaligned_input_gives_the_same(void **state)
{
	uint8_t input[32];

	(void)state;
	for (size_t shift = 0; shift < 8; shift++) {
		fill(input + shift, 15);
		assert_true(siphash24_bytes(&key, input + shift, 15) == vectors[15]);
	}
}

/* Words are little-endian on every machine. */
static uint64_t word_of(const uint8_t *from, size_t bytes)
{
	uint64_t word = 0;

	for (size_t i = 0; i < bytes; i++)
		word |= (uint64_t)from[i] << (8 * i);
	return word;
}

static void words_agree_with_bytes(void **state)
{
	uint8_t input[64];

	(void)state;
	fill(input, sizeof(input));
	for (unsigned bytes = 0; bytes < sizeof(input); bytes++) {
		uint64_t words[8], last;
		unsigned count = bytes / 8;

		for (unsigned i = 0; i < count; i++)
			words[i] = word_of(input + 8 * i, 8);
		last = word_of(input + 8 * count, bytes % 8) | (uint64_t)bytes << 56;
		assert_true(siphash_words(&key, words, count, last, 2, 4) ==
			    siphash24_bytes(&key, input, bytes));
	}
}

static void key_rounds_and_length_matter(void **state)
{
	const struct siphash_key other = {key.k0 ^ 1, key.k1};
	const uint64_t word = 42;
	const uint8_t zeros[8] = {0};
	uint64_t hash13 = siphash_words(&key, &word, 1, 8ULL << 56, 1, 3);

	(void)state;
	assert_true(hash13 != siphash_words(&other, &word, 1, 8ULL << 56, 1, 3));
	assert_true(hash13 != siphash_words(&key, &word, 1, 8ULL << 56, 2, 4));
	assert_true(siphash24_bytes(&key, zeros, 3) != siphash24_bytes(&key, zeros, 4));
}

/* Design section 7: who knows one key can choose peers that meet in one bucket of 4096; under another key,
 * they lie as far apart as any others. */
static void trap_peers_chosen_for_one_key_do_not_meet_under_another(void **state)
{
	const struct siphash_key other = {key.k0 + 1, key.k1};
	struct tuple4 tuple = {0x0a000001, 0x0a000002, 80, 0};
	uint64_t wanted = tuple4_hash(&key, &tuple) & 4095;
	uint8_t meeting[4096] = {0};
	unsigned found = 0;

	(void)state;
	while (found < 64) {
		uint64_t bucket;

		if (++tuple.remote_port == 0)
			tuple.remote_ip++;
		if ((tuple4_hash(&key, &tuple) & 4095) != wanted)
			continue;
		found++;
		bucket = tuple4_hash(&other, &tuple) & 4095;
		assert_true(++meeting[bucket] <= 3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_vectors),
		cmocka_unit_test(an_unaligned_input_gives_the_same),
		cmocka_unit_test(words_agree_with_bytes),
		cmocka_unit_test(key_rounds_and_length_matter),
		cmocka_unit_test(trap_peers_chosen_for_one_key_do_not_meet_under_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
