/* relay.h - the port of a worker that has no queue: its frames go out through a neighbour.
 *
 * The neighbour takes them from the ring, and sends them from its own port (worker_config.relayed).
 * Nothing is received here: what belongs to the worker is handed over. */
#ifndef C10M_RUN_RELAY_H
#define C10M_RUN_RELAY_H

#include "port/port.h"
#include "run/frame_ring.h"

/* Frames have the capabilities of `real`, the port of the worker `through`. NULL: no memory. */
struct port *relay_open(struct frame_ring *ring, const struct port *real, uint32_t through);

/* The neighbour's side: sends what fits; returns how many. *blocked: frames wait for room. */
uint32_t relay_forward(struct frame_ring *ring, struct port *port, bool *blocked);

#endif
