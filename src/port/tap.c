/* tap.c - the packet path of the tap port: a system call a frame, which may be 64 KB long.
 * In: frames of the kernel's end, each behind its vnet header. Out: lent frames, sent frames.
 * Owns: the descriptor, an area that is filled anew by each burst, and the frames to send. A frame is sent
 * when write returns, so that all frames are free between two bursts. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "port/tap_internal.h"

_Static_assert(TAP_HEAD_BYTES + TAP_ROOM_BYTES <= TAP_SLOT_BYTES, "a frame to send fits its slot");
_Static_assert(TAP_HEAD_BYTES + 14 + 65535 <= TAP_SLOT_BYTES, "so does the longest one to receive");
_Static_assert(TAP_SLOT_BYTES % CACHE_LINE == 0 && TAP_TX_FRAMES <= UINT8_MAX, "slots and their numbers");

static struct tap_port *tap_of(struct port *port)
{
	return (struct tap_port *)port;
}

/* --- receiving --------------------------------------------------------------- */

/* A device that was deleted gives no more frames, and would end every sleep at once. */
static void tap_read_failed(struct tap_port *tap, int number)
{
	if (number == EAGAIN || number == EINTR)
		return;
	tap->port.wait_fd = -1;
	tap->port.gone = number == EBADFD;
}

static uint32_t tap_rx(struct port *port, struct packet *packets, uint32_t max)
{
	struct tap_port *tap = tap_of(port);
	uint32_t count = 0, used = 0;

	CHECK(tap->lent == 0);
	for (uint32_t tries = 0; tries < max && used + TAP_SLOT_BYTES <= TAP_RX_BYTES; tries++) {
		uint8_t *frame = tap->rx_area + used + TAP_HEAD_BYTES, *header = frame - TAP_VNET_BYTES;
		ssize_t got = read(tap->fd, header, TAP_SLOT_BYTES - TAP_HEAD_BYTES + TAP_VNET_BYTES);

		if (got < 0) {
			tap_read_failed(tap, errno);
			break;
		}
		packets[count] = (struct packet){.data = frame, .bytes = (uint32_t)got - TAP_VNET_BYTES};
		if (got <= TAP_VNET_BYTES || !tap_vnet_parse(header, &packets[count])) {
			port->stats.rx_invalid++;
			continue;
		}
		packets[count].room = (uint16_t)MIN_OF(packets[count].bytes, (uint32_t)UINT16_MAX);
		port->stats.rx_bytes += packets[count].bytes;
		used += ALIGN_UP(TAP_HEAD_BYTES + packets[count].bytes, (uint32_t)CACHE_LINE);
		count++;
	}
	tap->lent = count;
	port->stats.rx_packets += count;
	return count;
}

static void tap_rx_release(struct port *port, struct packet *packets, uint32_t count)
{
	struct tap_port *tap = tap_of(port);

	(void)packets;
	CHECK(count <= tap->lent);
	tap->lent -= count;
}

/* --- sending ----------------------------------------------------------------- */

static uint32_t tap_tx_reserve(struct port *port, struct packet *packets, uint32_t max)
{
	struct tap_port *tap = tap_of(port);
	uint32_t count = MIN_OF(max, tap->free_count);

	for (uint32_t i = 0; i < count; i++) {
		uint32_t frame = tap->free[--tap->free_count];

		packets[i] = (struct packet){
			.data = tap->tx_area + (size_t)frame * TAP_SLOT_BYTES + TAP_HEAD_BYTES,
			.room = TAP_ROOM_BYTES,
			.port_ref = frame,
		};
	}
	if (count < max)
		port->stats.tx_full++;
	return count;
}

/* What the kernel does not take (the device is down, memory is short) is lost, as on any cable. */
static void tap_send(struct tap_port *tap, const struct packet *packet)
{
	uint8_t *header = packet->data - TAP_VNET_BYTES;
	size_t bytes = TAP_VNET_BYTES + packet->bytes;

	CHECK(packet->bytes > 0 && packet->bytes <= TAP_ROOM_BYTES);
	tap_vnet_emit(header, packet);
	if (write(tap->fd, header, bytes) == (ssize_t)bytes) {
		tap->port.stats.tx_packets++;
		tap->port.stats.tx_bytes += packet->bytes;
	} else {
		tap->port.stats.tx_lost++;
	}
}

static void tap_tx_submit(struct port *port, struct packet *packets, uint32_t filled, uint32_t reserved)
{
	struct tap_port *tap = tap_of(port);

	CHECK(filled <= reserved && tap->free_count + reserved <= TAP_TX_FRAMES);
	for (uint32_t i = 0; i < filled; i++)
		tap_send(tap, &packets[i]);
	while (reserved > 0) { /* the first is lent first again: it is warm */
		CHECK(packets[--reserved].port_ref < TAP_TX_FRAMES);
		tap->free[tap->free_count++] = (uint8_t)packets[reserved].port_ref;
	}
}

/* --- the rest ---------------------------------------------------------------- */

/* The descriptor is readable as long as a frame waits. */
static bool tap_wait_prepare(struct port *port)
{
	(void)port;
	return true;
}

static void tap_close(struct port *port)
{
	struct tap_port *tap = tap_of(port);

	close(tap->fd);
	free(tap->rx_area);
	free(tap->tx_area);
	free(tap);
}

const struct port_ops tap_ops = {
	.name = "tap",
	.rx = tap_rx,
	.rx_release = tap_rx_release,
	.tx_reserve = tap_tx_reserve,
	.tx_submit = tap_tx_submit,
	.wait_prepare = tap_wait_prepare,
	.close = tap_close,
};

struct tap_port *tap_port_new(int fd)
{
	struct tap_port *tap = calloc(1, sizeof(*tap));

	if (!tap)
		return NULL;
	tap->port.ops = &tap_ops;
	tap->port.wait_fd = tap->fd = fd;
	tap->rx_area = aligned_alloc(CACHE_LINE, TAP_RX_BYTES);
	tap->tx_area = aligned_alloc(CACHE_LINE, (size_t)TAP_TX_FRAMES * TAP_SLOT_BYTES);
	for (uint32_t frame = TAP_TX_FRAMES; frame-- > 0;)
		tap->free[tap->free_count++] = (uint8_t)frame;
	if (tap->rx_area && tap->tx_area)
		return tap;
	free(tap->rx_area);
	free(tap->tx_area);
	free(tap);
	return NULL;
}
