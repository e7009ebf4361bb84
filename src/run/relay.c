/* relay.c - sending through a neighbour.
 * In: frames of a worker without a queue. Out: the same frames, on the neighbour's port.
 * Owns: the port; the ring is lent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "run/relay.h"

#define ETHERNET_BYTES 14
#define GSO_ROOM       65472 /* packet.room has 16 bits */

struct relay {
	struct port port;
	struct frame_ring *ring;
	uint32_t room_bytes;
};

static struct relay *relay_of(struct port *port)
{
	return (struct relay *)port;
}

static uint32_t relay_rx(struct port *port, struct packet *packets, uint32_t max)
{
	(void)port;
	(void)packets;
	(void)max;
	return 0;
}

static void relay_rx_release(struct port *port, struct packet *packets, uint32_t count)
{
	(void)port;
	(void)packets;
	CHECK(count == 0);
}

static uint32_t relay_tx_reserve(struct port *port, struct packet *packets, uint32_t max)
{
	struct relay *relay = relay_of(port);
	uint32_t count = frame_ring_reserve(relay->ring, packets, max, relay->room_bytes);

	port->stats.tx_full += count < max;
	return count;
}

static void relay_tx_submit(struct port *port, struct packet *packets, uint32_t filled, uint32_t reserved)
{
	struct relay *relay = relay_of(port);

	CHECK(filled <= reserved);
	frame_ring_fill(relay->ring, packets, filled);
	frame_ring_publish(relay->ring);
	port->stats.tx_packets += filled;
	for (uint32_t i = 0; i < filled; i++)
		port->stats.tx_bytes += packets[i].bytes;
}

static bool relay_wait_prepare(struct port *port)
{
	(void)port;
	return true;
}

static void relay_close(struct port *port)
{
	free(relay_of(port));
}

static const struct port_ops relay_ops = {
	.name = "relay",
	.rx = relay_rx,
	.rx_release = relay_rx_release,
	.tx_reserve = relay_tx_reserve,
	.tx_submit = relay_tx_submit,
	.wait_prepare = relay_wait_prepare,
	.close = relay_close,
};

struct port *relay_open(struct frame_ring *ring, const struct port *real, uint32_t through)
{
	struct relay *relay = calloc(1, sizeof(*relay));

	if (!relay)
		return NULL;
	relay->port.ops = &relay_ops;
	relay->port.caps = real->caps;
	relay->port.wait_fd = -1;
	relay->ring = ring;
	relay->room_bytes = real->caps.tx_segmentation ? GSO_ROOM
						       : MIN_OF(real->caps.mtu + ETHERNET_BYTES, GSO_ROOM);
	snprintf(relay->port.text, sizeof(relay->port.text), "no queue of its own, sends through worker %u",
		 through);
	return &relay->port;
}

/* Room comes first: what has none stays in the ring, and holds back who sends. */
uint32_t relay_forward(struct frame_ring *ring, struct port *port, bool *blocked)
{
	struct packet frames[PORT_BURST], slots[PORT_BURST];
	uint32_t reserved, count, filled = 0;

	if (!frame_ring_waits(ring))
		return 0;
	reserved = port_tx_reserve(port, slots, PORT_BURST);
	count = reserved ? frame_ring_take(ring, frames, reserved) : 0;
	for (uint32_t i = 0; i < count; i++) {
		struct packet *slot = &slots[filled];
		struct packet sent = frames[i];

		if (frames[i].bytes > slot->room)
			continue; /* the neighbour's frames have the same room: it never happens */
		memcpy(slot->data, frames[i].data, frames[i].bytes);
		sent.data = slot->data;
		sent.room = slot->room;
		sent.port_ref = slot->port_ref;
		*slot = sent;
		filled++;
	}
	if (reserved > 0)
		port_tx_submit(port, slots, filled, reserved);
	frame_ring_release(ring);
	*blocked |= reserved == 0;
	return count;
}
