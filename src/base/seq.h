/* seq.h - arithmetic modulo 2^32 (RFC 9293, section 3.4).
 * Two numbers compare by the sign of their difference, so that the order holds
 * across the wrap as long as they are less than 2^31 apart. */
#ifndef C10M_BASE_SEQ_H
#define C10M_BASE_SEQ_H

#include "base/compiler.h"

PURE_INLINE bool seq_lt(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

PURE_INLINE bool seq_leq(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) <= 0;
}

PURE_INLINE bool seq_gt(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) > 0;
}

PURE_INLINE bool seq_geq(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) >= 0;
}

PURE_INLINE uint32_t seq_max(uint32_t a, uint32_t b)
{
	return seq_gt(a, b) ? a : b;
}

PURE_INLINE uint32_t seq_min(uint32_t a, uint32_t b)
{
	return seq_lt(a, b) ? a : b;
}

#endif
