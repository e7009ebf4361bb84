/* afxdp.h - the port on any Linux interface, through AF_XDP sockets. */
#ifndef C10M_PORT_AFXDP_H
#define C10M_PORT_AFXDP_H

#include "port/port.h"

enum afxdp_mode {
	AFXDP_AUTO, /* native where the driver has it, except where generic measured faster (veth) */
	AFXDP_GENERIC,
	AFXDP_NATIVE,
};

struct afxdp_config {
	const char *interface;
	uint32_t address; /* IPv4 address that is ours, host byte order; all else passes to the kernel */
	enum afxdp_mode mode;
	uint16_t queues; /* queues to open from queue 0 on; 0: all that the interface has */
	uint32_t frames; /* UMEM frames of 2 KB a queue; 0: a default */
	void *umem;      /* NULL: the port maps its own (huge pages where reserved) */
};

/* Loads the XDP program, attaches it by a BPF link and opens one port a queue into
 * ports[0..max_ports). The link lives as long as the ports: when the last is closed, or the process
 * is killed, the program is gone. Returns the number of ports, or a negative errno
 * with a sentence for the user in error. */
int afxdp_open(const struct afxdp_config *config, struct port **ports, uint32_t max_ports,
	       char error[PORT_ERROR_BYTES]);

#endif
