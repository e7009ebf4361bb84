/* afxdp.h - the port on any Linux interface, through AF_XDP sockets. */
#ifndef C10M_PORT_AFXDP_H
#define C10M_PORT_AFXDP_H

#include "port/port.h"
#include "wire/ipv4.h"

enum afxdp_mode {
	AFXDP_AUTO, /* native where the driver has it, except where generic measured faster (veth) */
	AFXDP_GENERIC,
	AFXDP_NATIVE,
};

struct afxdp_config {
	const char *interface;
	uint32_t address; /* IPv4 address that is ours, host byte order; all else passes to the kernel */
	struct ipv4_range sources; /* ours as well */
	bool shared;               /* instead: nothing is ours until it is claimed, and then by TCP port */
	uint16_t vlan;             /* of this VLAN alone, whose tag is taken off what comes in; 0: no tags */
	bool tags_must_show; /* refuse an interface where the kernel may keep tags out of XDP's sight (veth)
			      */
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

/* From now on (or no longer) these are ours: TCP to a claimed port at a claimed address, and the ICMP errors
 * about it. `port` is any of the interface's, none of a wrapping one. -ENOSPC: too many addresses. */
int afxdp_claim_address(struct port *port, uint32_t address);
void afxdp_disclaim_address(struct port *port, uint32_t address);
void afxdp_claim_port(struct port *port, uint16_t number);
void afxdp_disclaim_port(struct port *port, uint16_t number);

/* Frames of ours that came on queues which nobody serves: the interface has got more of them since. */
uint64_t afxdp_stray_frames(struct port *port);

/* While a flood of SYNs is on, on all queues of the interface: how many may pass in a second, on each of the
 * machine's processors. `again` is for those that are sent a second time, as honest clients do. 0: all pass,
 * as in the beginning. Any thread. */
void afxdp_police(struct port *port, uint32_t first_rate, uint32_t again_rate);

struct afxdp_syns {
	uint64_t first, again; /* that have passed while they were policed */
	uint64_t dropped;
};
void afxdp_police_counts(struct port *port, struct afxdp_syns *syns);

/* Whether the port is of this kind. */
bool afxdp_is(const struct port *port);
/* The largest MTU that its frames have room for, whatever the interface's is now. */
uint32_t afxdp_mtu_max(void);

#endif
