/* bytes.h - numbers in network order, at any alignment. */
#ifndef C10M_WIRE_BYTES_H
#define C10M_WIRE_BYTES_H

#include <string.h>

#include "base/compiler.h"

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NET16(x) __builtin_bswap16(x)
#define NET32(x) __builtin_bswap32(x)
#else
#define NET16(x) (x)
#define NET32(x) (x)
#endif

PURE_INLINE uint16_t get16(const void *at)
{
	uint16_t raw;

	memcpy(&raw, at, sizeof(raw));
	return NET16(raw);
}

PURE_INLINE uint32_t get32(const void *at)
{
	uint32_t raw;

	memcpy(&raw, at, sizeof(raw));
	return NET32(raw);
}

PURE_INLINE void put16(void *at, uint16_t value)
{
	uint16_t raw = NET16(value);

	memcpy(at, &raw, sizeof(raw));
}

PURE_INLINE void put32(void *at, uint32_t value)
{
	uint32_t raw = NET32(value);

	memcpy(at, &raw, sizeof(raw));
}

#endif
