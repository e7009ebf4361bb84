/* link.h - the port "wire": two ports joined through memory.
 * What one end submits, the other receives. Both ends in one thread, or one thread each. */
#ifndef C10M_PORT_LINK_H
#define C10M_PORT_LINK_H

#include "port/port.h"

struct link_config {
	uint32_t frames;      /* frames in flight in each direction; a power of two */
	uint32_t frame_bytes; /* 2048 unless larger frames are wanted */
	uint32_t mtu;
};

/* ends[0] and ends[1] are both closed by port_close. A negative errno when memory is short. */
int link_open(const struct link_config *config, struct port *ends[2]);

#endif
