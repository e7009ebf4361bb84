/* fault.h - a port that wraps a port and mistreats what passes through it, by a seed.
 *
 * Faults strike frames in the receive direction (what the inner port delivers);
 * wrap both ends of a link to mistreat both directions. Time is handed in: nothing reads a clock.
 *
 * The order: lost, corrupted, duplicated; then the queue before a link of so many bits a second, where
 * frames wait, are marked or find no place; then the delay of the way, and with it the order. A long
 * frame (struct packet: gso_bytes) comes apart into the packets it stands for, and each has its own fate. */
#ifndef C10M_PORT_FAULT_H
#define C10M_PORT_FAULT_H

#include "port/port.h"

struct fault_config {
	double loss, duplicate, reorder, corrupt; /* probability of each, 0 to 1, for each frame */
	uint64_t delay_us, jitter_us;             /* delay +- jitter, uniform */
	uint64_t rate_bits;                       /* a second, on the wire; 0: no limit */
	uint64_t seed;
	/* Frames that may wait for the link; without a rate: for their time. More are lost, and counted. */
	uint32_t queue_frames; /* 0: 1000, without a rate 65536 */
	uint32_t ecn_frames;   /* marks congestion when so many wait for the link already; 0: never */
};

struct fault_stats {
	uint64_t seen, passed, lost, duplicated, reordered, corrupted, delayed;
	uint64_t cut;         /* long frames; what they were cut into counts as seen */
	uint64_t queue_drops; /* found no place before the link */
	uint64_t marked;      /* congestion experienced */
	uint64_t overflowed;  /* found no place to wait for their time */
	/* Between the moment a frame was due and the moment it was delivered. */
	uint64_t late_us, late_max_us, late_frames;
};

/* Takes ownership of inner. NULL when memory is short. */
struct port *fault_wrap(struct port *inner, const struct fault_config *config);
void fault_set_time(struct port *port, uint64_t now_us);
/* New probabilities, delays and rate from now on (a healed link: all zero). */
void fault_configure(struct port *port, const struct fault_config *config);
const struct fault_stats *fault_stats(const struct port *port);
/* Frames inside: seen, and neither passed on nor lost. */
uint32_t fault_waiting(const struct port *port);
/* When the next delayed frame is due; UINT64_MAX when none waits. */
uint64_t fault_deadline_us(const struct port *port);
/* "loss=2%,delay=20ms,jitter=5ms,reorder=1%,duplicate=1%,corrupt=0.1%,rate=100mbit,queue=1000,ecn=20,seed=7";
 * -EINVAL with a sentence. */
int fault_parse(const char *text, struct fault_config *config, char *error, size_t error_bytes);

#endif
