/* wire_port.h - the port "wire": a cable through shared memory to one other process.
 *
 * Who comes first listens at a path, who comes next joins; when the other end goes, its place is free for the
 * next, and frames go nowhere meanwhile, as on a cable that is not plugged in. Nothing that the other end
 * writes is trusted: one that breaks the rules is unplugged, and counted (port_stats.rx_invalid). */
#ifndef C10M_PORT_WIRE_PORT_H
#define C10M_PORT_WIRE_PORT_H

#include "port/port.h"

struct wire_config {
	const char *path;
	uint32_t address;  /* ours: the link address follows from it */
	bool no_checksums; /* both ends leave TCP checksums out: memory does not garble frames */
};

/* 0, or a negative errno with a sentence. Where another listens, its answer is waited for: ten seconds. */
int wire_open(const struct wire_config *config, struct port **port, char error[PORT_ERROR_BYTES]);

/* Whether another process is at the other end. */
bool wire_is_plugged(const struct port *port);

#endif
