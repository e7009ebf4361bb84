/* fault.h - a port that wraps a port and mistreats what passes through it, by a seed.
 *
 * Faults strike frames in the receive direction (what the inner port delivers);
 * wrap both ends of a link to mistreat both directions. Time is handed in: nothing reads a clock. */
#ifndef C10M_PORT_FAULT_H
#define C10M_PORT_FAULT_H

#include "port/port.h"

struct fault_config {
	double loss, duplicate, reorder, corrupt; /* probability of each, 0 to 1, for each frame */
	uint64_t delay_us, jitter_us;             /* delay +- jitter, uniform */
	uint64_t seed;
	uint32_t queue_frames; /* frames that may wait; more are lost and counted */
};

struct fault_stats {
	uint64_t seen, passed, lost, duplicated, reordered, corrupted, delayed, overflowed;
};

/* Takes ownership of inner. NULL when memory is short. */
struct port *fault_wrap(struct port *inner, const struct fault_config *config);
void fault_set_time(struct port *port, uint64_t now_us);
/* New probabilities and delays from now on (a healed link: all zero). */
void fault_configure(struct port *port, const struct fault_config *config);
const struct fault_stats *fault_stats(const struct port *port);
/* When the next delayed frame is due; UINT64_MAX when none waits. */
uint64_t fault_deadline_us(const struct port *port);
/* "loss=2%,delay=20ms,jitter=5ms,reorder=1%,duplicate=1%,corrupt=0.1%,seed=7"; -EINVAL with a sentence. */
int fault_parse(const char *text, struct fault_config *config, char *error, size_t error_bytes);

#endif
