/* choose.h - which of the ports serves an interface best on this machine. */
#ifndef C10M_PORT_CHOOSE_H
#define C10M_PORT_CHOOSE_H

#include "port/afxdp.h"
#include "port/packet_socket.h"
#include "port/tap.h"
#include "port/wire_port.h"

enum port_kind {
	PORT_KIND_AUTO, /* a TAP device: tap; else afxdp where it works; else packet */
	PORT_KIND_AFXDP,
	PORT_KIND_TAP,
	PORT_KIND_PACKET,
	PORT_KIND_WIRE, /* no interface, but another process */
	PORT_KIND_COUNT,
};

/* "auto", "afxdp", ... as the user says it. */
extern const char *const port_kind_names[PORT_KIND_COUNT];

#define PORT_REASON_BYTES 320

struct port_choice {
	enum port_kind kind;
	const char *interface;
	uint32_t address; /* ours, host byte order */
	struct ipv4_range
		sources; /* ours as well, and the network that they are the hosts of; 0 bits: none */
	uint32_t source_net;
	uint8_t source_net_bits;
	bool shared;             /* afxdp alone: beside the kernel, nothing is ours until it is claimed */
	uint8_t prefix_bits;     /* of its network */
	uint16_t queues;         /* wanted where queues are ours to make: one a worker; 0: one */
	uint16_t vlan;           /* only its frames are ours; 0: those without a tag */
	enum afxdp_mode mode;    /* afxdp alone */
	uint32_t frames;         /* afxdp alone; 0: a default */
	uint32_t kernel_address; /* tap alone; 0: the first other host of the network */
	const char *wire;        /* wire alone: where the two ends meet */
	bool no_checksums;       /* wire alone */
};

/* Whether PORT_KIND_AUTO opens a TAP device for this name, unless another program holds it. */
bool port_is_tap(const char *interface);

/* Opens one port a queue into ports[0..max_ports), and says in `reason` why this kind ("" when the user named
 * it). Returns the number of ports, or a negative errno with a sentence for the user in error. */
int port_choose_open(const struct port_choice *choice, struct port **ports, uint32_t max_ports,
		     char reason[PORT_REASON_BYTES], char error[PORT_ERROR_BYTES]);

#endif
