/* token.c - making and checking what requests say.
 * In: a seed and a place. Out: bytes, or whether they are right. Owns: nothing. */
#include "token.h"

#define WORD sizeof(uint64_t)

/* A piece that lies within one word: at its start, at its end, or both. */
static size_t piece_bytes(uint64_t offset, size_t count)
{
	size_t left = WORD - offset % WORD;

	return MIN_OF(left, count);
}

void token_fill(uint64_t seed, uint64_t offset, uint8_t *bytes, size_t count)
{
	while (count > 0) {
		uint64_t word = token_word(seed, offset / WORD);
		size_t piece = piece_bytes(offset, count);

		memcpy(bytes, (const uint8_t *)&word + offset % WORD, piece);
		bytes += piece;
		offset += piece;
		count -= piece;
	}
}

bool token_matches(uint64_t seed, uint64_t offset, const uint8_t *bytes, size_t count)
{
	while (count > 0) {
		uint64_t word = token_word(seed, offset / WORD);
		size_t piece = piece_bytes(offset, count);

		if (memcmp(bytes, (const uint8_t *)&word + offset % WORD, piece) != 0)
			return false;
		bytes += piece;
		offset += piece;
		count -= piece;
	}
	return true;
}
