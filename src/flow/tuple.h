/* tuple.h - the four numbers that name a connection, as this host sees them. */
#ifndef C10M_FLOW_TUPLE_H
#define C10M_FLOW_TUPLE_H

#include "base/siphash.h"

/* Addresses and ports in host byte order. */
struct tuple4 {
	uint32_t local_ip, remote_ip;
	uint16_t local_port, remote_port;
};

_Static_assert(sizeof(struct tuple4) == 12, "no padding: it is compared and hashed whole");

PURE_INLINE bool tuple4_equal(const struct tuple4 *a, const struct tuple4 *b)
{
	return a->local_ip == b->local_ip && a->remote_ip == b->remote_ip && a->local_port == b->local_port &&
	       a->remote_port == b->remote_port;
}

/* SipHash-1-3: an attacker who picks addresses and ports must not pick buckets. */
PURE_INLINE uint64_t tuple4_hash(const struct siphash_key *key, const struct tuple4 *tuple)
{
	uint64_t ips = (uint64_t)tuple->local_ip | (uint64_t)tuple->remote_ip << 32;
	uint64_t ports = (uint64_t)tuple->local_port | (uint64_t)tuple->remote_port << 16;

	return siphash_words(key, &ips, 1, ports | (uint64_t)12 << 56, 1, 3);
}

#endif
