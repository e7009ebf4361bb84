/* afxdp.c - the packet path of the afxdp port: four rings shared with the kernel.
 * In: frames that the XDP program redirected, frames to send.
 * Out: lent frames, sent frames. The bytes of a ring come from outside: every
 * descriptor is read once, checked, and refused when its frame is not the kernel's.
 * Owns: which of its places each frame is in (see struct afxdp_port). */
#include <errno.h>
#include <sys/socket.h>

#include "base/check.h"
#include "port/afxdp_internal.h"
#include "port/afxdp_sums.h"

/* Every so many polls the kernel's own counters are read, and a stuck sender is kicked. */
#define POLLS_A_STATISTIC 65536
#define POLLS_A_KICK      64

static struct afxdp_port *afxdp_of(struct port *port)
{
	return (struct afxdp_port *)port;
}

/* --- what the kernel has to be told ------------------------------------------ */

/* Makes the kernel look at the transmit ring. Without room for more (EAGAIN, ENOBUFS) or with
 * a busy device (EBUSY) the rest is sent by a later kick. Other errors, a link that is down
 * for one, are no reason to spin: the regular kick of afxdp_rx tries again. */
static void afxdp_kick(struct afxdp_port *afxdp)
{
	ssize_t sent = sendto(afxdp->fd, NULL, 0, MSG_DONTWAIT, NULL, 0);

	afxdp->kick_pending = sent < 0 &&
			      (errno == EAGAIN || errno == EBUSY || errno == ENOBUFS || errno == EINTR);
}

/* True while the kernel has not fetched everything that was submitted. */
static bool afxdp_tx_waits(const struct afxdp_port *afxdp)
{
	return __atomic_load_n(afxdp->tx.consumer, __ATOMIC_RELAXED) != afxdp->tx.cached_prod;
}

static void afxdp_wake_receive(struct afxdp_port *afxdp)
{
	if (xsk_ring_prod__needs_wakeup(&afxdp->fill))
		recvfrom(afxdp->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

static void afxdp_read_statistics(struct afxdp_port *afxdp)
{
	struct xdp_statistics statistics = {0};
	socklen_t bytes = sizeof(statistics);

	if (getsockopt(afxdp->fd, SOL_XDP, XDP_STATISTICS, &statistics, &bytes) == 0)
		afxdp->port.stats.rx_dropped = statistics.rx_dropped + statistics.rx_ring_full;
}

/* --- frames ------------------------------------------------------------------ */

/* Frames to receive go back to the kernel. What does not fit waits on the spare stack. */
static void afxdp_fill(struct afxdp_port *afxdp)
{
	uint32_t room = xsk_prod_nb_free(&afxdp->fill, afxdp->spare_count);
	uint32_t count = MIN_OF(room, afxdp->spare_count);
	uint32_t at;

	if (count == 0 || xsk_ring_prod__reserve(&afxdp->fill, count, &at) != count)
		return;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t frame = afxdp->spare[--afxdp->spare_count];

		*xsk_ring_prod__fill_addr(&afxdp->fill, at + i) = (uint64_t)frame << AFXDP_FRAME_SHIFT;
	}
	xsk_ring_prod__submit(&afxdp->fill, count);
}

void afxdp_frames_init(struct afxdp_port *afxdp)
{
	uint32_t half = afxdp->frames / 2;

	for (uint32_t frame = half; frame-- > 0;) {
		afxdp->state[frame] = AFXDP_FRAME_FILL;
		afxdp->spare[afxdp->spare_count++] = frame;
	}
	for (uint32_t frame = afxdp->frames; frame-- > half;) {
		afxdp->state[frame] = AFXDP_FRAME_FREE;
		afxdp->free[afxdp->free_count++] = frame;
	}
	afxdp_fill(afxdp);
}

/* Takes back what the kernel has sent. */
static void afxdp_reap(struct afxdp_port *afxdp)
{
	uint32_t at, count = xsk_ring_cons__peek(&afxdp->completion, afxdp->frames, &at);

	if (count == 0)
		return;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t address = *(const volatile __u64 *)xsk_ring_cons__comp_addr(&afxdp->completion,
										     at + i);
		uint64_t frame = address >> AFXDP_FRAME_SHIFT;

		if (unlikely(frame >= afxdp->frames || afxdp->state[frame] != AFXDP_FRAME_SENDING)) {
			afxdp->port.stats.rx_invalid++;
			continue;
		}
		afxdp->state[frame] = AFXDP_FRAME_FREE;
		afxdp->free[afxdp->free_count++] = (uint32_t)frame;
		afxdp->sending--;
	}
	xsk_ring_cons__release(&afxdp->completion, count);
}

/* --- the functions of the port ----------------------------------------------- */

/* A received descriptor is ours to look at when its frame was given to the kernel to
 * receive into, and all its bytes lie in that one frame. */
static bool afxdp_descriptor_valid(const struct afxdp_port *afxdp, uint64_t address, uint32_t bytes)
{
	uint64_t frame = address >> AFXDP_FRAME_SHIFT;
	uint64_t offset = address & (AFXDP_FRAME_BYTES - 1);

	return frame < afxdp->frames && afxdp->state[frame] == AFXDP_FRAME_FILL &&
	       bytes <= AFXDP_FRAME_BYTES - offset;
}

/* Long frames come in pieces. A piece of no use goes back at once, and with it the rest of its frame. */
static bool afxdp_take_piece(struct afxdp_port *afxdp, struct packet *packet, bool more)
{
	uint64_t frame = packet->port_ref;

	if (afxdp_split_piece(&afxdp->split, packet, AFXDP_FRAME_BYTES - packet->room, more))
		return true;
	afxdp->port.stats.rx_invalid++;
	afxdp->state[frame] = AFXDP_FRAME_FILL;
	afxdp->spare[afxdp->spare_count++] = (uint32_t)frame;
	return false;
}

static uint32_t afxdp_take(struct afxdp_port *afxdp, uint32_t at, uint32_t count, struct packet *packets)
{
	uint64_t bytes = 0;
	uint32_t taken = 0;

	for (uint32_t i = 0; i < count; i++) {
		const volatile struct xdp_desc *shared = xsk_ring_cons__rx_desc(&afxdp->rx, at + i);
		uint64_t address = shared->addr;
		uint32_t length = shared->len;
		bool more = shared->options & XDP_PKT_CONTD;

		if (unlikely(!afxdp_descriptor_valid(afxdp, address, length))) {
			afxdp->port.stats.rx_invalid++;
			afxdp->split.refused = true; /* what follows of its frame has lost its place */
			afxdp->split.open = more;
			continue;
		}
		afxdp->state[address >> AFXDP_FRAME_SHIFT] = AFXDP_FRAME_LENT;
		packets[taken] = (struct packet){
			.data = afxdp->umem + address,
			.bytes = length,
			.room = (uint16_t)(AFXDP_FRAME_BYTES - (address & (AFXDP_FRAME_BYTES - 1))),
			.port_ref = address >> AFXDP_FRAME_SHIFT,
		};
		PREFETCH_READ(afxdp->umem + address);
		bytes += length;
		if (unlikely(more || afxdp->split.open) && !afxdp_take_piece(afxdp, &packets[taken], more))
			continue;
		taken++;
	}
	afxdp->port.stats.rx_packets += taken;
	afxdp->port.stats.rx_bytes += bytes;
	return taken;
}

/* What is done between bursts, when something asks for it. */
static void afxdp_rx_chores(struct afxdp_port *afxdp)
{
	uint32_t polls = ++afxdp->polls;

	if (afxdp->kick_pending)
		afxdp_kick(afxdp);
	else if (afxdp->sending > 0 && polls % POLLS_A_KICK == 0) {
		afxdp_reap(afxdp);
		if (afxdp->sending > 0 && xsk_ring_prod__needs_wakeup(&afxdp->tx))
			afxdp_kick(afxdp);
	}
	if (polls % POLLS_A_STATISTIC == 0)
		afxdp_read_statistics(afxdp);
	if (unlikely(afxdp->spare_count > 0))
		afxdp_fill(afxdp);
	afxdp_wake_receive(afxdp);
}

static uint32_t afxdp_rx(struct port *port, struct packet *packets, uint32_t max)
{
	struct afxdp_port *afxdp = afxdp_of(port);
	uint32_t at, count, taken;

	afxdp_rx_chores(afxdp);
	count = xsk_ring_cons__peek(&afxdp->rx, max, &at);
	if (count == 0)
		return 0;
	taken = afxdp_take(afxdp, at, count, packets);
	xsk_ring_cons__release(&afxdp->rx, count);
	if (afxdp->left_sums)
		afxdp_sums_mark(packets, taken);
	return taken;
}

static void afxdp_rx_release(struct port *port, struct packet *packets, uint32_t count)
{
	struct afxdp_port *afxdp = afxdp_of(port);

	for (uint32_t i = 0; i < count; i++) {
		uint64_t frame = packets[i].port_ref;

		CHECK(frame < afxdp->frames && afxdp->state[frame] == AFXDP_FRAME_LENT);
		afxdp->state[frame] = AFXDP_FRAME_FILL;
		afxdp->spare[afxdp->spare_count++] = (uint32_t)frame;
	}
	afxdp_fill(afxdp);
}

static uint32_t afxdp_tx_reserve(struct port *port, struct packet *packets, uint32_t max)
{
	struct afxdp_port *afxdp = afxdp_of(port);
	uint32_t room, count;

	afxdp_reap(afxdp);
	room = xsk_prod_nb_free(&afxdp->tx, max + afxdp->reserved);
	room -= MIN_OF(room, afxdp->reserved); /* places already promised */
	count = MIN_OF(MIN_OF(max, room), afxdp->free_count);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t frame = afxdp->free[--afxdp->free_count];

		afxdp->state[frame] = AFXDP_FRAME_RESERVED;
		packets[i] = (struct packet){
			.data = afxdp->umem + ((size_t)frame << AFXDP_FRAME_SHIFT),
			.room = AFXDP_FRAME_BYTES,
			.port_ref = frame,
		};
	}
	afxdp->reserved += count;
	if (count < max) {
		port->stats.tx_full++;
		afxdp->kick_pending = afxdp->sending > 0;
	}
	return count;
}

static void afxdp_give_back(struct afxdp_port *afxdp, const struct packet *packets, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t frame = packets[i].port_ref;

		CHECK(frame < afxdp->frames && afxdp->state[frame] == AFXDP_FRAME_RESERVED);
		afxdp->state[frame] = AFXDP_FRAME_FREE;
		afxdp->free[afxdp->free_count++] = (uint32_t)frame;
	}
}

/* The kernel drops an empty descriptor and never completes it: the frame would be lost. */
static void afxdp_enqueue(struct afxdp_port *afxdp, const struct packet *packets, uint32_t count)
{
	uint64_t bytes = 0;
	uint32_t at, got;

	got = xsk_ring_prod__reserve(&afxdp->tx, count, &at);
	CHECK(got == count); /* tx_reserve promised no more than there is */
	for (uint32_t i = 0; i < count; i++) {
		uint64_t frame = packets[i].port_ref;

		CHECK(frame < afxdp->frames && afxdp->state[frame] == AFXDP_FRAME_RESERVED);
		CHECK(packets[i].bytes > 0 && packets[i].bytes <= AFXDP_FRAME_BYTES);
		afxdp->state[frame] = AFXDP_FRAME_SENDING;
		*xsk_ring_prod__tx_desc(&afxdp->tx, at + i) = (struct xdp_desc){
			.addr = frame << AFXDP_FRAME_SHIFT,
			.len = packets[i].bytes,
		};
		bytes += packets[i].bytes;
	}
	xsk_ring_prod__submit(&afxdp->tx, count);
	afxdp->sending += count;
	afxdp->port.stats.tx_packets += count;
	afxdp->port.stats.tx_bytes += bytes;
}

static void afxdp_tx_submit(struct port *port, struct packet *packets, uint32_t filled, uint32_t reserved)
{
	struct afxdp_port *afxdp = afxdp_of(port);

	CHECK(filled <= reserved && reserved <= afxdp->reserved);
	afxdp_give_back(afxdp, packets + filled, reserved - filled);
	afxdp->reserved -= reserved;
	if (filled == 0)
		return;
	afxdp_enqueue(afxdp, packets, filled);
	if (xsk_ring_prod__needs_wakeup(&afxdp->tx))
		afxdp_kick(afxdp);
}

/* wait_fd is readable as long as a frame lies in the ring, so nothing that comes after this
 * look is missed. While the kernel owes us the sending of a frame we do not sleep. */
static bool afxdp_wait_prepare(struct port *port)
{
	struct afxdp_port *afxdp = afxdp_of(port);

	afxdp_reap(afxdp);
	afxdp_fill(afxdp);
	afxdp_wake_receive(afxdp);
	if (afxdp->kick_pending || (afxdp_tx_waits(afxdp) && xsk_ring_prod__needs_wakeup(&afxdp->tx)))
		afxdp_kick(afxdp);
	afxdp_read_statistics(afxdp);
	return !afxdp->kick_pending && xsk_cons_nb_avail(&afxdp->rx, 1) == 0;
}

bool afxdp_is(const struct port *port)
{
	return port->ops == &afxdp_ops;
}

uint32_t afxdp_mtu_max(void)
{
	return AFXDP_MTU_MAX;
}

const struct port_ops afxdp_ops = {
	.name = "afxdp",
	.rx = afxdp_rx,
	.rx_release = afxdp_rx_release,
	.tx_reserve = afxdp_tx_reserve,
	.tx_submit = afxdp_tx_submit,
	.wait_prepare = afxdp_wait_prepare,
	.close = afxdp_close,
};
