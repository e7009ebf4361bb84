/* splice.h - what one connection receives is sent on another, without the application.
 *
 * Each connection has at most one that it feeds, and one that feeds it. Both ends of a splice name each
 * other; whatever ends one of them ends the splice. Room for it stands in each block of a service that asks
 * for it (C10M_SPLICE), behind the places in groups. */
#ifndef C10M_SOCK_SPLICE_H
#define C10M_SOCK_SPLICE_H

#include "tcp/core.h"

/* Indices and one; 0: none. */
struct splice {
	uint32_t to;
	uint32_t from : 31, cut : 1; /* cut: another has ended, and this one ends for that */
};

_Static_assert(sizeof(struct splice) == 8, "what c10m.h says a splice costs");

/* Whom the connection feeds, or is fed by: POOL_NONE when it is nobody. */
uint32_t splice_target(const struct core *core, const struct tcb *tcb);
uint32_t splice_source(const struct core *core, const struct tcb *tcb);

PURE_INLINE bool splice_feeds(const struct core *core, const struct tcb *tcb)
{
	return unlikely(core->services[tcb->service].splices) && splice_target(core, tcb) != POOL_NONE;
}

PURE_INLINE bool splice_is_fed(const struct core *core, const struct tcb *tcb)
{
	return unlikely(core->services[tcb->service].splices) && splice_source(core, tcb) != POOL_NONE;
}

/* For one that feeds another. Data of a frame is copied behind what the other sends; returns how much. */
uint32_t splice_put(struct core *core, struct tcb *tcb, const uint8_t *data, uint32_t bytes);
/* What is kept goes there chunk by chunk, none of it copied, as far as there is room. */
void splice_move(struct core *core, struct tcb *tcb);
/* The peer's FIN: all before it has gone, and it follows. False: the application has shut the other down, and
 * is to be told. */
bool splice_eof(struct core *core, struct tcb *tcb);

/* For one that is fed: there is room again. */
void splice_room(struct core *core, const struct tcb *tcb);

/* The application closes: both splices end, and what the source keeps is offered to the application again. */
void splice_leave(struct core *core, struct tcb *tcb);
/* The connection has ended: unless that was in order, those that it is spliced with end, too. */
void splice_ended(struct core *core, struct tcb *tcb, enum c10m_close_reason reason);
/* Why one ends that was reset by us. */
enum c10m_close_reason splice_abort_reason(const struct core *core, const struct tcb *tcb);
void splice_verify(const struct core *core, const struct tcb *tcb);

#endif
