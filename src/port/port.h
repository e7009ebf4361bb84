/* port.h - any way to move frames, as one small struct of functions over bursts.
 *
 * One port belongs to one thread. Receiving: rx lends up to `max` frames, the
 * caller looks at them and hands the same descriptors to rx_release, in any order, before
 * the next rx. Sending: tx_reserve lends empty frames (`room` bytes at `data`),
 * the caller fills the first `filled` of them and hands all of them to tx_submit, which
 * sends those and takes the others back. A submitted frame is the port's until it
 * completes: completions are the port's own business. tx_reserve returning fewer than
 * asked for is how a port says that it has no room; nothing is ever dropped silently. */
#ifndef C10M_PORT_PORT_H
#define C10M_PORT_PORT_H

#include "mem/packet.h"

#define PORT_BURST       64
#define PORT_ERROR_BYTES 256 /* room for a sentence when a port cannot be opened */

struct port;

struct port_ops {
	const char *name;
	uint32_t (*rx)(struct port *port, struct packet *packets, uint32_t max);
	void (*rx_release)(struct port *port, struct packet *packets, uint32_t count);
	uint32_t (*tx_reserve)(struct port *port, struct packet *packets, uint32_t max);
	void (*tx_submit)(struct port *port, struct packet *packets, uint32_t filled, uint32_t reserved);
	/* Called before the thread sleeps: asks the port to make wait_fd readable on the next
	 * frame. False when frames are already there: do not sleep. */
	bool (*wait_prepare)(struct port *port);
	/* Called after the thread slept. May be NULL. */
	void (*wait_done)(struct port *port);
	void (*close)(struct port *port);
};

struct port_caps {
	uint32_t mtu;         /* bytes of an IP packet that one frame carries */
	uint8_t address[6];   /* link address; all zero: none */
	bool tx_checksum;     /* takes PACKET_CSUM_PARTIAL */
	bool rx_checksum;     /* marks frames PACKET_CSUM_VERIFIED */
	bool tx_segmentation; /* takes gso_bytes */
	uint16_t queues;      /* queues that the interface has for us */
	uint16_t
		vlan; /* gives frames of this VLAN alone, and has taken their tags off; 0: all, as they are */
};

struct port_stats {
	uint64_t rx_packets, rx_bytes;
	uint64_t tx_packets, tx_bytes;
	uint64_t rx_dropped; /* lost before we saw them: ring full, no frame left */
	uint64_t rx_invalid; /* descriptors that were refused */
	uint64_t rx_others;  /* of another VLAN, or of none when we are in one */
	uint64_t tx_full;    /* tx_reserve gave fewer frames than asked for */
	uint64_t tx_lost;    /* submitted, and not taken by the machine: the interface is down */
};

struct port {
	const struct port_ops *ops;
	struct port_caps caps;
	struct port_stats stats;
	int wait_fd;        /* to poll for input; -1: none, the caller must not sleep long */
	bool gone;          /* the interface was deleted: nothing comes or goes any more */
	const char *advice; /* what the user should know about it; NULL: nothing */
	char text[96];      /* one line for people: what it is and which mode it runs in */
};

static inline uint32_t port_rx(struct port *port, struct packet *packets, uint32_t max)
{
	return port->ops->rx(port, packets, max);
}

static inline void port_rx_release(struct port *port, struct packet *packets, uint32_t count)
{
	port->ops->rx_release(port, packets, count);
}

static inline uint32_t port_tx_reserve(struct port *port, struct packet *packets, uint32_t max)
{
	return port->ops->tx_reserve(port, packets, max);
}

static inline void port_tx_submit(struct port *port, struct packet *packets, uint32_t filled,
				  uint32_t reserved)
{
	port->ops->tx_submit(port, packets, filled, reserved);
}

static inline void port_close(struct port *port)
{
	if (port)
		port->ops->close(port);
}

/* Why a port cannot be opened: writes the sentence and returns -number. */
__attribute__((format(printf, 3, 4))) int port_refuse(char error[PORT_ERROR_BYTES], int number,
						      const char *format, ...);

#endif
