/* port_owner.h - who has a TCP port. */
#ifndef C10M_SYS_PORT_OWNER_H
#define C10M_SYS_PORT_OWNER_H

#include "base/compiler.h"

#define PORT_OWNER_BYTES 64

/* "nginx (process 1234)" of a socket that is bound to this port, listening or not (the latter since
 * Linux 6.8). False when nobody can be found: it is not known, or of another user. */
bool sys_port_owner(uint16_t port, char text[PORT_OWNER_BYTES]);

#endif
