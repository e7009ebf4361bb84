/* path.h - how long packets may be on their way: RFC 4821, RFC 1191, RFC 5927. */
#ifndef C10M_TCP_PATH_H
#define C10M_TCP_PATH_H

#include "tcp/core.h"

/* Of a connection whose packets are shorter than they were at first, or of which a router said that they
 * should be. */
struct path_slot {
	uint32_t index, generation; /* generation 0: free */
	uint32_t due_tick;          /* no longer packet is tried before */
	uint32_t start, end;        /* of the one that is on its way */
	uint32_t again_bytes;       /* sent again since it left */
	uint32_t told_tick, told_seq;
	uint16_t told;      /* what a router said, to be believed when what it quotes times out; 0: nothing */
	uint16_t top, lost; /* bytes of a packet: at first; of the shortest that did not arrive, or top + 1 */
	uint16_t tried;     /* of the one that is tried */
	uint8_t state;      /* path_state */
	uint8_t was_lost, undecided;
	uint8_t young; /* the first word of a router was believed while snd_una was `start` */
};

_Static_assert(sizeof(struct path_slot) == 44, "bytes of a place");

enum path_state { PATH_RESTS, PATH_WAITS, PATH_FLIES };

size_t path_bytes(uint32_t connections);
void path_clear(struct core *core);

/* ICMP: packets of this connection are too long, by more than `mtu` bytes; of one of so many bytes at seq. */
enum drop_reason path_told(struct core *core, struct tcb *tcb, uint32_t mtu, uint32_t quoted_bytes,
			   uint32_t seq);
/* The retransmission timer has fired: what is to be sent again may have to be shorter. */
void path_timeout(struct core *core, struct tcb *tcb);
void path_probe_timeout(struct core *core, struct tcb *tcb);
void path_give_up(struct core *core, struct tcb *tcb); /* what is tried, since all goes again */
/* Much goes out: is a longer packet to be tried? */
void path_consider(struct core *core, struct tcb *tcb);
/* Payload of the packet that is to be tried now, 0: none is. */
uint32_t path_trial_bytes(const struct core *core, const struct tcb *tcb);
void path_trial_sent(struct core *core, struct tcb *tcb, uint32_t start);
/* Something is sent again, but for a time-out; while EXTENSION_PATH is set: snd_una has moved. */
void path_sent_again(struct core *core, struct tcb *tcb, uint32_t start, uint32_t bytes);
void path_acked(struct core *core, struct tcb *tcb);
bool path_agrees(const struct core *core, const struct tcb *tcb); /* for stack_verify */

/* Its packets are shorter than the interface's. */
PURE_INLINE bool path_is_narrow(const struct core *core, const struct tcb *tcb)
{
	return destination_at(&core->net.destinations, tcb->destination)->mtu != 0;
}

PURE_INLINE bool path_tries(const struct core *core, const struct tcb *tcb)
{
	return tcb->extension != POOL_NONE && tcb_extension(core, tcb)->uses & EXTENSION_PATH;
}

#endif
