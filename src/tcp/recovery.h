/* recovery.h - what a sender does about losses when the peer tells what has arrived (RFC 2018).
 *
 * While all arrives in order none of this exists. With the first SACK block, or a time-out, a scoreboard is
 * attached: the window from snd_una to snd_nxt as ranges of one fate each. It goes when nothing that arrived,
 * or was lost, stands out any more. TCB_BOARD says that it is there; it never is beside TCB_BACKED.
 * Without one left in the pool NewReno recovers (RFC 6582). */
#ifndef C10M_TCP_RECOVERY_H
#define C10M_TCP_RECOVERY_H

#include "tcp/core.h"

/* --- board.c: the scoreboard */
/* Of one connection: a peer that lies costs no more than he lets us have in flight. */
#define BOARD_RANGES_MIN 512u
#define BOARD_RANGES_MAX 4096u
#define SENT_TOGETHER    32u /* the part of a round trip in which all is sent at the same time */

bool board_attach(struct core *core, struct tcb *tcb); /* false: there is no memory, counted */
void board_detach(struct core *core, struct tcb *tcb);
/* snd_una has moved. Returns how many bytes have arrived of which nobody knew. */
uint32_t board_acked(struct core *core, struct tcb *tcb);
/* A block that the peer tells of; likewise. What it cannot mean is ignored, counted. */
uint32_t board_arrived(struct core *core, struct tcb *tcb, uint32_t start, uint32_t end);
/* New data was sent, up to snd_nxt; something was sent again. */
void board_sent(struct core *core, struct tcb *tcb, uint32_t start);
void board_sent_again(struct core *core, struct tcb *tcb, uint32_t start, uint32_t end);
/* The first bytes that are lost and were not sent again; false: there are none. */
bool board_lost(const struct core *core, const struct tcb *tcb, uint32_t *start, uint32_t *end);
void board_join(struct core *core, struct tcb *tcb); /* neighbours of one fate become one range */
void board_lose(struct core *core, struct tcb *tcb, struct sent_range *range);
/* All that has not arrived is lost; when `forget`, the peer has lied and nothing has arrived. */
void board_lose_all(struct core *core, struct tcb *tcb, bool forget);
void board_regret(struct core *core, struct tcb *tcb); /* nothing was lost */
bool board_reneged(const struct core *core, const struct tcb *tcb);
void board_verify(const struct core *core, const struct tcb *tcb);

PURE_INLINE struct sent_range *range_at(const struct core *core, uint32_t id)
{
	return pool_at(&core->ranges, id);
}

PURE_INLINE uint32_t range_end(const struct core *core, const struct tcb *tcb, const struct sent_range *range)
{
	return range->next == POOL_NONE ? tcb->snd_nxt : range_at(core, range->next)->start;
}

/* Bytes on their way: RFC 6675 section 4, RFC 8985 section 6. */
PURE_INLINE uint32_t board_pipe(const struct core *core, const struct tcb *tcb)
{
	const struct tcp_extension *extension = tcb_extension(core, tcb);

	return tcb->snd_nxt - tcb->snd_una - extension->sacked_bytes - extension->lost_bytes;
}

/* --- rack.c: what is lost, by time (RFC 8985) */
#define RACK_REORDERING 0x80u /* tcb.rack: segments were seen out of order */
#define RACK_PERSIST    0x78u /* recoveries until the window is small again, in eights */
#define RACK_WIDER      0x07u /* quarters of a round trip that it has more than one */

/* A range, or a part of it that ends there, has arrived. */
void rack_arrived(struct core *core, struct tcb *tcb, const struct sent_range *range, uint32_t end);
/* Marks what is lost by now. Returns after how many microseconds more may be, 0: nothing more. */
uint32_t rack_detect(struct core *core, struct tcb *tcb);
void rack_duplicate_told(struct core *core, struct tcb *tcb); /* a D-SACK: the window was too small */
void rack_recovered(struct tcb *tcb);

/* --- probe.c: a tail whose loss nobody tells of (RFC 8985 section 7) */
/* When to probe, from now on; false when it is not worth it. */
bool probe_due_us(const struct core *core, const struct tcb *tcb, uint32_t rto_us, uint32_t *after_us);
#define DELAYED_ACK_MAX_US 200000u /* the RFC's TLP.max_ack_delay */
/* A single segment may wait for that, so that the time-out is mostly earlier. */
PURE_INLINE bool probe_is_worth_it(const struct tcb *tcb, uint32_t rto_us)
{
	return tcb->snd_nxt - tcb->snd_una > tcb->mss || rto_us > DELAYED_ACK_MAX_US;
}
bool probe_begin(struct core *core, struct tcb *tcb); /* false: no extension, count it as a time-out */
bool probe_waits(const struct core *core, const struct tcb *tcb);
void probe_sent(struct core *core, struct tcb *tcb, bool again);
void probe_cancel(struct core *core, struct tcb *tcb); /* what has not gone out yet */
void probe_acked(struct core *core, struct tcb *tcb, bool duplicate);

/* --- recovery.c: what follows from it for cwnd */
/* An acknowledgement while there is a board, or with SACK blocks; `acked`: by how much snd_una has moved.
 * False when there is no board and NewReno is to act. */
bool recovery_input(struct core *core, struct tcb *tcb, const struct tcp_segment *segment, uint32_t acked);
/* The reordering window is over. */
void recovery_look(struct core *core, struct tcb *tcb);
/* The retransmission timer: false when there is no board. */
bool recovery_timeout(struct core *core, struct tcb *tcb);
/* After a segment was sent while there is a board. */
void recovery_sent(struct core *core, struct tcb *tcb, uint32_t start, uint32_t end, bool again);
/* What undoing will need; undoing. */
void recovery_remember(struct core *core, struct tcb *tcb);
void recovery_undo(struct core *core, struct tcb *tcb);

/* --- frto.c: time-outs that were for nothing (RFC 5682) */
enum frto_state { FRTO_NONE, FRTO_TIMED_OUT, FRTO_NEW_DATA };
void frto_timeout(struct core *core, struct tcb *tcb, bool first);
void frto_told(struct core *core, struct tcb *tcb,
	       uint32_t acked);                      /* an acknowledgement while there is a board */
void frto_acked(struct core *core, struct tcb *tcb); /* snd_una has moved while there is none */
void frto_duplicate(struct core *core, struct tcb *tcb);

/* A probe shows a loss that it has repaired by itself. */
void recovery_slow_down(struct core *core, struct tcb *tcb);

#endif
