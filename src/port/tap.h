/* tap.h - the port on a TAP device: the kernel is the other end of the cable.
 *
 * It needs no AF_XDP and, inside a user namespace (unshare -rn), no root. With vnet headers neither end
 * computes checksums, and frames of up to 64 KB cross in both directions. */
#ifndef C10M_PORT_TAP_H
#define C10M_PORT_TAP_H

#include "port/port.h"

struct tap_config {
	const char
		*interface; /* attached to when it exists, else created, and gone when the ports are closed */
	uint32_t address;   /* ours, host byte order: our link address is made of it */
	/* Of the kernel's end, when the device is created. 0: the first other host of our network. */
	uint32_t kernel_address;
	uint8_t prefix_bits;
	/* A network behind our address, which the kernel gets a route to when the device is created; 0 bits:
	 * none. */
	uint32_t network;
	uint8_t network_bits;
	uint16_t queues; /* to open; 0: one */
	bool must_exist; /* none is made: its kernel's end needs more than we could give it */
};

/* Whether there is an interface of this name, and a TAP device it is. */
bool tap_is_device(const char *interface);

/* Opens one port a queue into ports[0..max_ports). Returns the number of ports, or a negative errno
 * with a sentence for the user in error. */
int tap_open(const struct tap_config *config, struct port **ports, uint32_t max_ports,
	     char error[PORT_ERROR_BYTES]);

#endif
