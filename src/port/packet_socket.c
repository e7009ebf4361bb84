/* packet_socket.c - frames through an AF_PACKET socket, a burst a system call.
 * In: frames of the interface, frames to send. Out: lent frames, sent frames.
 * Owns: the memory of the frames it lends; those to send that the kernel has not taken yet.
 * The kernel copies a frame at each call: what is sent is the caller's again at once. A ring that the kernel
 * fills (TPACKET_V2) measured 15% slower on veth, for both ends: there the sender's core copies each frame,
 * and each slot must hold the longest one. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <string.h>

#include "base/check.h"
#include "port/packet_socket_internal.h"
#include "port/packet_socket_vnet.h"

#define ETHERNET_BYTES    14
#define POLLS_A_STATISTIC 4096

static struct packet_socket *socket_of(struct port *port)
{
	return (struct packet_socket *)port;
}

/* --- receiving --------------------------------------------------------------- */

/* Reading resets the kernel's counters. */
static void read_statistics(struct packet_socket *ps)
{
	struct tpacket_stats statistics = {0};
	socklen_t bytes = sizeof(statistics);

	if (getsockopt(ps->fd, SOL_PACKET, PACKET_STATISTICS, &statistics, &bytes) == 0)
		ps->port.stats.rx_dropped += statistics.tp_drops;
}

static uint8_t *receive_slot(const struct packet_socket *ps, uint32_t slot)
{
	return ps->receive + (size_t)slot * PACKET_SOCKET_SLOT + PACKET_SOCKET_HEADROOM;
}

static void prepare_messages(struct packet_socket *ps, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct packet_socket_message *message = &ps->messages[i];

		message->parts[0] = (struct iovec){&message->vnet, sizeof(message->vnet)};
		message->parts[1] = (struct iovec){receive_slot(ps, i), PACKET_SOCKET_BYTES_MAX};
		ps->headers[i].msg_hdr = (struct msghdr){
			.msg_iov = message->parts,
			.msg_iovlen = 2,
			.msg_control = ps->raw ? &message->control : NULL,
			.msg_controllen = ps->raw ? sizeof(message->control) : 0,
		};
	}
}

/* A tag that the kernel has taken out of the frame. */
static void restore_tag(struct msghdr *header, struct packet *packet)
{
	struct cmsghdr *part = CMSG_FIRSTHDR(header);
	struct tpacket_auxdata aux;

	if (!part || part->cmsg_level != SOL_PACKET || part->cmsg_type != PACKET_AUXDATA)
		return;
	memcpy(&aux, CMSG_DATA(part), sizeof(aux));
	if (!(aux.tp_status & TP_STATUS_VLAN_VALID))
		return;
	vnet_tag(packet, aux.tp_status & TP_STATUS_VLAN_TPID_VALID ? aux.tp_vlan_tpid : ETH_P_8021Q,
		 aux.tp_vlan_tci);
}

static bool read_message(struct packet_socket *ps, uint32_t slot, struct packet *packet)
{
	struct mmsghdr *header = &ps->headers[slot];
	struct packet_socket_message *message = &ps->messages[slot];

	*packet = (struct packet){
		.data = receive_slot(ps, slot),
		.bytes = header->msg_len - (uint32_t)sizeof(message->vnet),
		.room = UINT16_MAX,
		.port_ref = slot,
	};
	if (header->msg_len < sizeof(message->vnet) + ETHERNET_BYTES ||
	    (header->msg_hdr.msg_flags & MSG_TRUNC) || !vnet_read(&message->vnet, packet))
		return false;
	if (ps->raw)
		restore_tag(&header->msg_hdr, packet);
	else
		vnet_accept_sum(packet);
	return true;
}

static uint32_t read_messages(struct packet_socket *ps, uint32_t count, struct packet *packets)
{
	uint32_t taken = 0;
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (unlikely(!read_message(ps, i, &packets[taken]))) {
			ps->port.stats.rx_invalid++;
			continue;
		}
		bytes += packets[taken++].bytes;
	}
	ps->port.stats.rx_packets += taken;
	ps->port.stats.rx_bytes += bytes;
	return taken;
}

/* EINVAL: the kernel has thrown away a frame whose marks it could not put into words. */
static void note_error(struct packet_socket *ps, int error)
{
	if (error == EINVAL)
		ps->port.stats.rx_invalid++;
	else if (error == ENETDOWN || error == ENXIO || error == ENODEV)
		ps->down = true;
}

static uint32_t flush_waiting(struct packet_socket *ps);

static uint32_t packet_socket_rx(struct port *port, struct packet *packets, uint32_t max)
{
	struct packet_socket *ps = socket_of(port);
	uint32_t wanted = MIN_OF(max, PORT_BURST), count;
	int got;

	CHECK(ps->lent == 0);
	if (ps->waiting_count > 0)
		flush_waiting(ps);
	if (++ps->polls % POLLS_A_STATISTIC == 0)
		read_statistics(ps);
	prepare_messages(ps, wanted);
	got = recvmmsg(ps->fd, ps->headers, wanted, MSG_DONTWAIT | MSG_TRUNC, NULL);
	if (got <= 0) {
		if (got < 0)
			note_error(ps, errno);
		return 0;
	}
	ps->down = false;
	count = read_messages(ps, (uint32_t)got, packets);
	ps->lent = count;
	return count;
}

static void packet_socket_rx_release(struct port *port, struct packet *packets, uint32_t count)
{
	struct packet_socket *ps = socket_of(port);

	(void)packets;
	CHECK(count <= ps->lent);
	ps->lent -= count;
}

/* --- sending ----------------------------------------------------------------- */

static void write_messages(struct packet_socket *ps, const struct packet *packets, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct packet_socket_message *message = &ps->messages[i];

		vnet_write(&packets[i], &message->vnet);
		message->parts[0] = (struct iovec){&message->vnet, sizeof(message->vnet)};
		message->parts[1] = (struct iovec){packets[i].data, packets[i].bytes};
		ps->headers[i].msg_hdr = (struct msghdr){.msg_iov = message->parts, .msg_iovlen = 2};
	}
}

/* Whether the frame that the kernel has refused is done with. */
static bool refused(struct packet_socket *ps, int error)
{
	switch (error) {
	case EAGAIN:
	case EINTR:
		return false;
	case EMSGSIZE:
	case EINVAL:
		ps->stats.tx_refused++;
		ps->port.stats.tx_lost++;
		return true;
	default: /* ENOBUFS: the interface's queue is full. ENETDOWN, ENXIO: there is no link */
		note_error(ps, error);
		ps->stats.tx_lost++;
		ps->port.stats.tx_lost++;
		return true;
	}
}

static uint32_t send_burst(struct packet_socket *ps, const struct packet *packets, uint32_t count)
{
	uint64_t bytes = 0;
	int sent;

	write_messages(ps, packets, count);
	sent = sendmmsg(ps->fd, ps->headers, count, MSG_DONTWAIT);
	if (sent <= 0)
		return refused(ps, errno);
	for (int i = 0; i < sent; i++)
		bytes += packets[i].bytes;
	ps->port.stats.tx_packets += (uint64_t)sent;
	ps->port.stats.tx_bytes += bytes;
	return (uint32_t)sent;
}

uint32_t packet_socket_send(struct port *port, const struct packet *packets, uint32_t count)
{
	struct packet_socket *ps = socket_of(port);
	uint32_t done = 0, step;

	while (done < count) {
		step = send_burst(ps, packets + done, MIN_OF(count - done, PORT_BURST));
		if (step == 0)
			break;
		done += step;
	}
	return done;
}

/* What the kernel had no room for before; returns how many wait still. */
static uint32_t flush_waiting(struct packet_socket *ps)
{
	uint32_t done = packet_socket_send(&ps->port, ps->waiting, ps->waiting_count);

	for (uint32_t i = 0; i < done; i++)
		ps->send_free[ps->send_free_count++] = (uint32_t)ps->waiting[i].port_ref;
	ps->waiting_count -= done;
	memmove(ps->waiting, ps->waiting + done, ps->waiting_count * sizeof(ps->waiting[0]));
	return ps->waiting_count;
}

static uint32_t packet_socket_tx_reserve(struct port *port, struct packet *packets, uint32_t max)
{
	struct packet_socket *ps = socket_of(port);
	uint32_t count;

	if (ps->waiting_count > 0)
		flush_waiting(ps);
	count = MIN_OF(max, ps->send_free_count);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t slot = ps->send_free[--ps->send_free_count];

		packets[i] = (struct packet){
			.data = ps->send + (size_t)slot * PACKET_SOCKET_SLOT,
			.room = UINT16_MAX,
			.port_ref = slot,
		};
	}
	ps->reserved += count;
	if (count < max)
		port->stats.tx_full++;
	return count;
}

static void packet_socket_tx_submit(struct port *port, struct packet *packets, uint32_t filled,
				    uint32_t reserved)
{
	struct packet_socket *ps = socket_of(port);

	CHECK(filled <= reserved && reserved <= ps->reserved);
	for (uint32_t i = filled; i < reserved; i++)
		ps->send_free[ps->send_free_count++] = (uint32_t)packets[i].port_ref;
	ps->reserved -= reserved;
	for (uint32_t i = 0; i < filled; i++) {
		CHECK(packets[i].port_ref < PACKET_SOCKET_SENDS && packets[i].bytes <= PACKET_SOCKET_SLOT);
		ps->waiting[ps->waiting_count++] = packets[i];
	}
	if (filled > 0)
		flush_waiting(ps);
}

/* --- sleeping and looking ---------------------------------------------------- */

/* The socket is readable as long as a frame lies in it: nothing that comes after this look is missed. */
static bool packet_socket_wait_prepare(struct port *port)
{
	struct packet_socket *ps = socket_of(port);

	read_statistics(ps);
	return ps->waiting_count == 0 || flush_waiting(ps) == 0;
}

bool packet_socket_gone(struct port *port)
{
	struct packet_socket *ps = socket_of(port);
	char name[IF_NAMESIZE];

	return ps->down && !if_indextoname((unsigned)ps->index, name);
}

bool packet_socket_down(const struct port *port)
{
	return ((const struct packet_socket *)port)->down;
}

const struct packet_socket_stats *packet_socket_stats(const struct port *port)
{
	return &((const struct packet_socket *)port)->stats;
}

const struct port_ops packet_socket_ops = {
	.name = "packet",
	.rx = packet_socket_rx,
	.rx_release = packet_socket_rx_release,
	.tx_reserve = packet_socket_tx_reserve,
	.tx_submit = packet_socket_tx_submit,
	.wait_prepare = packet_socket_wait_prepare,
	.close = packet_socket_close,
};
