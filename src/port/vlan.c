/* vlan.c - the tag of a VLAN goes in front of what is sent, and comes off what is received.
 * In: frames of the port inside, frames to send without a tag. Out: frames of this VLAN without their tag,
 * frames with it. Frames of other VLANs, and those without a tag, are counted and given back. Owns: the port
 * inside. The priority of what comes in is ignored; what goes out has none (IEEE 802.1Q).
 *
 * A tag moves twelve bytes of a line that is in the cache anyway. Who is in no VLAN has no such port. Some
 * ports take the tag off themselves, where it stands beside the frame: port_caps.vlan says so. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "port/vlan.h"
#include "wire/bytes.h"

#define ADDRESS_BYTES  12 /* both of them: the tag stands behind */
#define ETHERNET_BYTES 14
#define TAG_BYTES      4
#define TYPE_VLAN      0x8100
#define ID_MASK        0x0fff

struct vlan_port {
	struct port port;
	struct port *inner;
	uint64_t others;
	uint16_t id;
	bool untagged; /* the port inside does it */
};

static struct vlan_port *vlan_of(struct port *port)
{
	return (struct vlan_port *)port;
}

static void show_stats(struct vlan_port *vlan)
{
	vlan->port.stats = vlan->inner->stats;
	vlan->port.stats.rx_others += vlan->others;
}

/* --- receiving --------------------------------------------------------------- */

static bool is_ours(const struct vlan_port *vlan, const struct packet *packet)
{
	return packet->bytes >= ETHERNET_BYTES + TAG_BYTES &&
	       get16(packet->data + ADDRESS_BYTES) == TYPE_VLAN &&
	       (get16(packet->data + ADDRESS_BYTES + 2) & ID_MASK) == vlan->id;
}

/* Numbers that do not reach behind the tag are nonsense that somebody has sent: then the sum is verified. */
static void shift_back(struct packet *packet)
{
	if (packet->checksum == PACKET_CSUM_PARTIAL && packet->csum_start < ETHERNET_BYTES + TAG_BYTES)
		packet->checksum = PACKET_CSUM_NONE;
	if (packet->checksum == PACKET_CSUM_PARTIAL)
		packet->csum_start = (uint16_t)(packet->csum_start - TAG_BYTES);
	if (packet->gso_bytes)
		packet->header_bytes = (uint16_t)(packet->header_bytes - TAG_BYTES);
}

static void take_off(struct packet *packet)
{
	memmove(packet->data + TAG_BYTES, packet->data, ADDRESS_BYTES);
	packet->data += TAG_BYTES;
	packet->bytes -= TAG_BYTES;
	packet->room = (uint16_t)(packet->room - TAG_BYTES);
	shift_back(packet);
}

static uint32_t vlan_rx(struct port *port, struct packet *packets, uint32_t max)
{
	struct vlan_port *vlan = vlan_of(port);
	struct packet others[PORT_BURST];
	uint32_t count = port_rx(vlan->inner, packets, MIN_OF(max, (uint32_t)PORT_BURST));
	uint32_t ours = 0, other = 0;

	port->gone = vlan->inner->gone;
	port->wait_fd = vlan->inner->wait_fd;
	for (uint32_t i = 0; i < count && !vlan->untagged; i++) {
		if (likely(is_ours(vlan, &packets[i]))) {
			packets[ours] = packets[i];
			take_off(&packets[ours++]);
		} else {
			others[other++] = packets[i];
		}
	}
	if (other > 0)
		port_rx_release(vlan->inner, others, other);
	vlan->others += other;
	show_stats(vlan);
	return vlan->untagged ? count : ours;
}

static void vlan_rx_release(struct port *port, struct packet *packets, uint32_t count)
{
	struct vlan_port *vlan = vlan_of(port);

	for (uint32_t i = 0; i < count && !vlan->untagged; i++) {
		packets[i].data -= TAG_BYTES;
		packets[i].bytes += TAG_BYTES;
	}
	port_rx_release(vlan->inner, packets, count);
}

/* --- sending ----------------------------------------------------------------- */

static uint32_t vlan_tx_reserve(struct port *port, struct packet *packets, uint32_t max)
{
	struct vlan_port *vlan = vlan_of(port);
	uint32_t count = port_tx_reserve(vlan->inner, packets, max);

	for (uint32_t i = 0; i < count; i++) {
		packets[i].data += TAG_BYTES;
		packets[i].room = (uint16_t)(packets[i].room - TAG_BYTES);
	}
	show_stats(vlan);
	return count;
}

static void put_on(const struct vlan_port *vlan, struct packet *packet)
{
	memmove(packet->data, packet->data + TAG_BYTES, ADDRESS_BYTES);
	put16(packet->data + ADDRESS_BYTES, TYPE_VLAN);
	put16(packet->data + ADDRESS_BYTES + 2, vlan->id);
	packet->bytes += TAG_BYTES;
	if (packet->checksum == PACKET_CSUM_PARTIAL)
		packet->csum_start = (uint16_t)(packet->csum_start + TAG_BYTES);
	if (packet->gso_bytes)
		packet->header_bytes = (uint16_t)(packet->header_bytes + TAG_BYTES);
}

static void vlan_tx_submit(struct port *port, struct packet *packets, uint32_t filled, uint32_t reserved)
{
	struct vlan_port *vlan = vlan_of(port);

	for (uint32_t i = 0; i < reserved; i++) {
		packets[i].data -= TAG_BYTES;
		if (i < filled)
			put_on(vlan, &packets[i]);
	}
	port_tx_submit(vlan->inner, packets, filled, reserved);
	show_stats(vlan);
}

/* --- the rest ---------------------------------------------------------------- */

static bool vlan_wait_prepare(struct port *port)
{
	struct port *inner = vlan_of(port)->inner;

	return inner->ops->wait_prepare(inner);
}

static void vlan_wait_done(struct port *port)
{
	struct port *inner = vlan_of(port)->inner;

	if (inner->ops->wait_done)
		inner->ops->wait_done(inner);
}

static void vlan_close(struct port *port)
{
	port_close(vlan_of(port)->inner);
	free(port);
}

static const struct port_ops vlan_ops = {
	.name = "vlan",
	.rx = vlan_rx,
	.rx_release = vlan_rx_release,
	.tx_reserve = vlan_tx_reserve,
	.tx_submit = vlan_tx_submit,
	.wait_prepare = vlan_wait_prepare,
	.wait_done = vlan_wait_done,
	.close = vlan_close,
};

struct port *vlan_wrap(struct port *inner, uint16_t id)
{
	struct vlan_port *vlan = calloc(1, sizeof(*vlan));

	CHECK(id >= VLAN_ID_MIN && id <= VLAN_ID_MAX);
	if (!vlan)
		return NULL;
	vlan->inner = inner;
	vlan->id = id;
	vlan->untagged = inner->caps.vlan == id;
	vlan->port = (struct port){
		.ops = &vlan_ops, .caps = inner->caps, .wait_fd = inner->wait_fd, .advice = inner->advice};
	snprintf(vlan->port.text, sizeof(vlan->port.text), "VLAN %u of %.80s", id, inner->text);
	return &vlan->port;
}
