/* packet_socket.h - the port on any Linux interface that needs nothing of it: AF_PACKET sockets.
 *
 * With an address: the frames that are for it and nothing else (ARP and IPv4), to serve where no better
 * port works. The kernel does not own the address, so it does not answer for it.
 * Without one: every frame that the interface receives, whoever it is for, to bridge.
 * Either way frames of up to 64 KB come and go with their checksums as the kernel left them. */
#ifndef C10M_PORT_PACKET_SOCKET_H
#define C10M_PORT_PACKET_SOCKET_H

#include "port/afxdp.h"

struct packet_socket_config {
	const char *interface;
	uint32_t address; /* IPv4, host byte order; 0: every frame, checksums and lengths left as they are */
	struct ipv4_range sources; /* ours as well, when there is an address */
	uint16_t vlan;             /* of this VLAN alone, when there is an address; 0: frames without a tag */
	uint16_t queues;           /* sockets that share the interface's flows, a port each; 0: one */
	uint32_t buffer_bytes;     /* of each socket in the kernel, each way; 0: a default */
};

struct packet_socket_stats {
	uint64_t tx_lost;    /* handed to the kernel, and dropped: the interface's queue was full, or down */
	uint64_t tx_refused; /* longer than the interface can carry, or headers that contradict its marks */
};

/* Returns the number of ports, or a negative errno with a sentence for the user in error. The kernel keeps
 * nothing of it after the ports are closed, or the process is killed. */
int packet_socket_open(const struct packet_socket_config *config, struct port **ports, uint32_t max_ports,
		       char error[PORT_ERROR_BYTES]);

/* Sends frames that lie in anybody's memory, and are the caller's again when it returns. Returns how many of
 * them are done with; fewer than count: the kernel has no room before wait_fd is writable. */
uint32_t packet_socket_send(struct port *port, const struct packet *packets, uint32_t count);

/* Whether the interface does not exist any more. Cheap while frames come in. */
bool packet_socket_gone(struct port *port);

/* Whether the kernel has said that it is down, and nothing came in since. */
bool packet_socket_down(const struct port *port);

const struct packet_socket_stats *packet_socket_stats(const struct port *port);

#endif
