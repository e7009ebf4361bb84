/* simd.h - the few places where one instruction looks at many numbers.
 *
 * Each operation has a plain variant, which says what it means and works
 * everywhere, and variants for the machines that have something better; the name
 * without a suffix is the best that this build has. */
#ifndef C10M_BASE_SIMD_H
#define C10M_BASE_SIMD_H

#include "base/compiler.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__) && defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#define SIMD_TAGS       10 /* compared */
#define SIMD_TAGS_BYTES 32 /* readable from `tags` on: the vectors are longer than ten tags */

/* Bit i of the result says whether tags[i] equals tag; tags: 16-byte aligned. */
PURE_INLINE uint32_t simd_match_tags_plain(const uint16_t *tags, uint16_t tag)
{
	uint32_t match = 0;

	for (unsigned i = 0; i < SIMD_TAGS; i++)
		match |= (uint32_t)(tags[i] == tag) << i;
	return match;
}

#if defined(__SSE2__)

/* Signed saturation keeps 0 and -1 what they are when the lanes become bytes. */
PURE_INLINE uint32_t simd_match_tags_sse2(const uint16_t *tags, uint16_t tag)
{
	const __m128i *vectors = (const __m128i *)(const void *)tags;
	__m128i wanted = _mm_set1_epi16((short)tag);
	__m128i low = _mm_cmpeq_epi16(_mm_load_si128(vectors), wanted);
	__m128i high = _mm_cmpeq_epi16(_mm_load_si128(vectors + 1), wanted);

	return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(low, high)) & ((1u << SIMD_TAGS) - 1);
}

#define simd_match_tags simd_match_tags_sse2

#elif defined(__aarch64__) && defined(__ARM_NEON)

/* Every lane that agrees keeps a bit of its own, so that their sum is the mask. */
PURE_INLINE uint32_t simd_match_tags_neon(const uint16_t *tags, uint16_t tag)
{
	static const uint16_t bits[16] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512};
	uint16x8_t wanted = vdupq_n_u16(tag);
	uint16x8_t low = vandq_u16(vceqq_u16(vld1q_u16(tags), wanted), vld1q_u16(bits));
	uint16x8_t high = vandq_u16(vceqq_u16(vld1q_u16(tags + 8), wanted), vld1q_u16(bits + 8));

	return vaddvq_u16(vorrq_u16(low, high));
}

#define simd_match_tags simd_match_tags_neon

#else

#define simd_match_tags simd_match_tags_plain

#endif

#endif
