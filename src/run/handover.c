/* handover.c - hands frames to their owners.
 * In: bursts of a port, frames of other workers. Out: frames for our stack, frames for other workers,
 * messages about neighbours. Owns: nothing; the rings are the fleet's. */
#include <string.h>

#include "base/check.h"
#include "port/port.h"
#include "run/handover.h"
#include "run/mailbox.h"
#include "wire/arp.h"
#include "wire/ipv4.h"

#define FRAMES_AHEAD 4u
#define TOLD_A_MS    16u /* neighbours, at most: a flood of ARP must not fill the mailboxes */

/* --- neighbours ---------------------------------------------------------------- */

static bool may_tell(struct handover *handover, uint64_t now_us)
{
	if (handover->told_ms != now_us / 1000) {
		handover->told_ms = now_us / 1000;
		handover->told = 0;
	}
	return handover->told++ < TOLD_A_MS;
}

/* Worker 0 gets the frame itself, the others what it says. Who misses it (its mailbox is full) asks again. */
static void tell_neighbour(struct handover *handover, const struct packet *packet, uint64_t now_us)
{
	struct mailbox_message message = {.kind = MAILBOX_CONTROL, .control.kind = STACK_HEAR_NEIGHBOUR};
	struct arp_packet arp;

	if (arp_parse(packet->data + ETH_HEADER_BYTES, packet->bytes - ETH_HEADER_BYTES, &arp) ||
	    !may_tell(handover, now_us))
		return;
	message.control.address = arp.sender_ip;
	message.control.mac = arp.sender;
	for (uint32_t i = 1; i < handover->owner->workers; i++)
		if (mailbox_send(mailbox_at(i), &message) == 0)
			handover->stats.neighbours_told++;
}

static bool is_arp(const struct packet *packet)
{
	return packet->bytes >= ETH_HEADER_BYTES + ARP_BYTES && get16(packet->data + 12) == ETH_TYPE_ARP;
}

/* --- giving --------------------------------------------------------------------- */

static void publish_touched(struct handover *handover)
{
	for (; handover->touched; handover->touched &= handover->touched - 1)
		frame_ring_publish(handover->to[__builtin_ctzll(handover->touched)]);
}

static void give(struct handover *handover, uint32_t to, const struct packet *packet)
{
	handover->stats.given++;
	if (likely(frame_ring_put(handover->to[to], packet)))
		handover->touched |= 1ull << to;
	else
		handover->stats.lost++;
}

uint32_t handover_sort(struct handover *handover, struct packet *packets, uint32_t count, uint64_t now_us)
{
	struct packet others[PORT_BURST];
	uint32_t ours = 0, theirs = 0;

	CHECK(count <= PORT_BURST);
	handover->stats.landed += count;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t owner;

		if (i + FRAMES_AHEAD < count)
			PREFETCH_READ(packets[i + FRAMES_AHEAD].data);
		owner = owner_of_frame(handover->owner, packets[i].data, packets[i].bytes, handover->here);
		if (unlikely(owner == 0 && is_arp(&packets[i])))
			tell_neighbour(handover, &packets[i], now_us);
		if (owner == handover->here) {
			packets[ours++] = packets[i];
			continue;
		}
		give(handover, owner, &packets[i]);
		others[theirs++] = packets[i];
	}
	memcpy(packets + ours, others, theirs * sizeof(*others));
	publish_touched(handover);
	return ours;
}

void handover_pass(struct handover *handover, const struct packet *packet)
{
	uint32_t owner = owner_of_frame(handover->owner, packet->data, packet->bytes, handover->here);

	if (owner == handover->here)
		return;
	give(handover, owner, packet);
	publish_touched(handover);
}

/* --- taking --------------------------------------------------------------------- */

uint32_t handover_take(struct handover *handover, uint32_t from, struct packet *packets, uint32_t max)
{
	uint32_t count;

	if (!handover->from[from] || !frame_ring_waits(handover->from[from]))
		return 0;
	count = frame_ring_take(handover->from[from], packets, max);
	handover->stats.taken += count;
	return count;
}

void handover_release(struct handover *handover, uint32_t from)
{
	frame_ring_release(handover->from[from]);
}

bool handover_waits(const struct handover *handover)
{
	for (uint32_t i = 0; i < handover->owner->workers; i++)
		if (handover->from[i] && frame_ring_waits(handover->from[i]))
			return true;
	return false;
}
