/* vlan.h - a port that wraps a port and is in one VLAN (IEEE 802.1Q): what is inside sees no tags. */
#ifndef C10M_PORT_VLAN_H
#define C10M_PORT_VLAN_H

#include "port/port.h"

#define VLAN_ID_MIN 1u
#define VLAN_ID_MAX 4094u /* 4095 is reserved, 0 means no VLAN at all */

/* Takes ownership of inner. NULL when memory is short. */
struct port *vlan_wrap(struct port *inner, uint16_t id);

#endif
