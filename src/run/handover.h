/* handover.h - one worker's dealings with the others: frames that landed here go to their owners, and theirs
 * come from them.
 *
 * Which queue a frame arrives at is the card's or the kernel's choice; which worker it belongs to is
 * ours (flow/owner.h). A frame that landed elsewhere is copied to its owner over a ring. A ring that is full
 * drops: the sender will repeat it, and nobody waits for anybody. */
#ifndef C10M_RUN_HANDOVER_H
#define C10M_RUN_HANDOVER_H

#include "flow/owner.h"
#include "run/frame_ring.h"

struct handover_stats {
	uint64_t landed; /* frames that a queue of this worker received */
	uint64_t given;  /* of these to other workers */
	uint64_t lost;   /* of these dropped: the ring to the owner was full */
	uint64_t taken;  /* frames that other workers gave us */
	uint64_t sent_for_others, neighbours_told;
};

struct handover {
	const struct owner *owner;
	uint32_t here;                                                      /* our number, and our stack's */
	struct frame_ring *to[OWNER_WORKERS_MAX], *from[OWNER_WORKERS_MAX]; /* by worker; NULL: our own */
	uint64_t touched; /* rings that hold what is not published yet: a bit each */
	uint64_t told_ms; /* of the limit on neighbours that are told */
	uint32_t told;
	struct handover_stats stats;
};

/* After a queue gave a burst: frames of others are copied to them, and put behind ours, whose number it
 * returns. Neighbours that ARP tells about are told to all workers. */
uint32_t handover_sort(struct handover *handover, struct packet *packets, uint32_t count, uint64_t now_us);

/* A frame of our stack's that is another worker's (stack_elsewhere): it is copied there. */
void handover_pass(struct handover *handover, const struct packet *packet);

/* What worker `from` has for us: lent until handover_release. */
uint32_t handover_take(struct handover *handover, uint32_t from, struct packet *packets, uint32_t max);
void handover_release(struct handover *handover, uint32_t from);
/* Whether frames of others wait. */
bool handover_waits(const struct handover *handover);

#endif
