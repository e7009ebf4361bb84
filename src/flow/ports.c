/* ports.c - choice of an ephemeral port.
 * In: sock (connect), listeners (exclude, admit).  Out: a free local port.
 * Owns: the counters and the set of excluded ports. */
#include "flow/ports.h"

#include <errno.h>
#include <string.h>

/* The range is rows of 64 ports, 1008 of them unless it is restricted. Row numbers advance by a step that has
 * no factor in common with their number and lies near that over the golden ratio: all rows are visited once,
 * and neighbours in time are far apart. */
#define PORTS_ROW 64u

_Static_assert(PORTS_COUNT == 1008 * PORTS_ROW && PORTS_FIRST % PORTS_ROW == 0, "whole rows");

static uint32_t common_factor(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

static void range_set(struct ports *ports, uint32_t first, uint32_t count)
{
	uint32_t rows = count / PORTS_ROW, step = MAX_OF((rows * 1266u + 1024) / 2048, 1u);

	while (rows && common_factor(step, rows) != 1)
		step++;
	ports->first = first;
	ports->count = count;
	ports->row_step = step;
}

void ports_init(struct ports *ports, const struct siphash_key *key)
{
	memset(ports->excluded, 0, sizeof(ports->excluded));
	ports->key = *key;
	range_set(ports, 0, PORTS_COUNT);
	/* RFC 6056 asks for unpredictable initial counters. The length byte 8 keeps these inputs apart
	 * from those of ports_hash. */
	for (uint64_t i = 0; i < PORTS_COUNTERS; i++)
		ports->counters[i] = (uint32_t)siphash_words(key, &i, 1, (uint64_t)8 << 56, 2, 4) %
				     PORTS_COUNT;
}

static uint64_t *excluded_word(struct ports *ports, uint32_t place)
{
	return &ports->excluded[place / 64];
}

void ports_exclude(struct ports *ports, uint16_t port)
{
	uint32_t place = port - PORTS_FIRST;

	if (port >= PORTS_FIRST)
		*excluded_word(ports, place) |= 1ull << place % 64;
}

void ports_admit(struct ports *ports, uint16_t port)
{
	uint32_t place = port - PORTS_FIRST;

	if (port >= PORTS_FIRST)
		*excluded_word(ports, place) &= ~(1ull << place % 64);
}

void ports_restrict(struct ports *ports, const uint64_t *allowed)
{
	uint32_t first = PORTS_COUNT, end = 0;

	for (uint32_t row = 0; row < PORTS_COUNT / PORTS_ROW; row++) {
		uint64_t bits = allowed[PORTS_FIRST / PORTS_ROW + row];

		ports->excluded[row] |= ~bits;
		if (bits && first == PORTS_COUNT)
			first = row * PORTS_ROW;
		if (bits)
			end = (row + 1) * PORTS_ROW;
	}
	range_set(ports, MIN_OF(first, end), end - MIN_OF(first, end));
}

/* SipHash-2-4, since the ports that follow from it are seen on the wire. Different bits of one
 * output serve as the two functions that the RFC keys separately. */
static uint64_t ports_hash(const struct ports *ports, const struct tuple4 *tuple)
{
	uint64_t ips = (uint64_t)tuple->local_ip | (uint64_t)tuple->remote_ip << 32;

	return siphash_words(&ports->key, &ips, 1, tuple->remote_port | (uint64_t)10 << 56, 2, 4);
}

static bool port_usable(struct ports *ports, const struct ports_query *query, uint32_t place,
			struct tuple4 *tuple)
{
	if (*excluded_word(ports, place) >> place % 64 & 1)
		return false;
	tuple->local_port = (uint16_t)(PORTS_FIRST + place);
	if (query->lands_here && !query->lands_here(query->context, tuple))
		return false;
	return query->is_free(query->context, tuple);
}

int ports_choose(struct ports *ports, const struct ports_query *query, struct tuple4 *tuple)
{
	uint64_t hash = ports_hash(ports, tuple);
	uint32_t *counter = &ports->counters[(hash >> 32) % PORTS_COUNTERS];
	uint32_t count = ports->count, jump = PORTS_ROW * ports->row_step;
	uint32_t start = (uint32_t)hash % PORTS_COUNT + *counter;
	uint32_t tries = ALIGN_UP(MIN_OF(query->tries_max, count), PORTS_ROW);

	for (uint32_t i = 0; i < tries; i++) {
		uint32_t ahead = i / PORTS_ROW * jump + i % PORTS_ROW;

		if (port_usable(ports, query, ports->first + (start + ahead) % count, tuple)) {
			*counter = (*counter + ahead + 1) % count;
			return 0;
		}
	}
	if (tries == count)
		return -EADDRNOTAVAIL;
	*counter = (*counter + tries * ports->row_step) % count; /* the row after the last one */
	return -EAGAIN;
}
