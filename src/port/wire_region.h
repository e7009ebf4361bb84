/* wire_region.h - what one end of a wire between processes shows the other: its frames, and three counters.
 *
 * Each end makes a region of its own, which it alone can write: the other maps it to read only. So nobody
 * can change a frame that we have filled. What the other shows may change at any time, though: counters are
 * read once and then bounded, a descriptor is read once, and its frame is copied out before anybody looks at
 * it. */
#ifndef C10M_PORT_WIRE_REGION_H
#define C10M_PORT_WIRE_REGION_H

#include <stdatomic.h>

#include "base/compiler.h"

#define WIRE_SLOTS      1024u
#define WIRE_SLOT_BYTES 1984u /* 31 lines: frames that follow each other share no set of a cache */
#define WIRE_LINE       128   /* processors fetch lines in pairs */

struct wire_region {
	/* Slots that the owner has filled, ever: slot n lies at n % WIRE_SLOTS. */
	_Alignas(WIRE_LINE) atomic_uint sent;
	/* Slots of the other's region that the owner has copied out, ever. */
	_Alignas(WIRE_LINE) atomic_uint taken;
	/* Odd while the owner sleeps, and another number each time. */
	_Alignas(WIRE_LINE) atomic_uint sleeps;
	_Alignas(WIRE_LINE) _Atomic uint64_t descriptors[WIRE_SLOTS];
	_Alignas(WIRE_LINE) uint8_t frames[WIRE_SLOTS][WIRE_SLOT_BYTES];
};

_Static_assert(sizeof(struct wire_region) <= 2u << 20, "one huge page");

/* A descriptor: bytes of the frame, and where its checksum is to be completed (port.h, PACKET_CSUM_PARTIAL).
 */
#define WIRE_PARTIAL ((uint64_t)1 << 48)

/* Makes a region, sealed so that nobody else can ever write it, nor cut it or punch holes under the other's
 * feet. `fd` is for the other end. NULL: errno says why. */
struct wire_region *wire_region_make(int *fd);
/* Maps the other end's. NULL: it is not what wire_region_make gives. */
struct wire_region *wire_region_map(int fd);
void wire_region_unmap(struct wire_region *region);

#endif
