/* tcb.h - one connection's block: [TCB | socket | application state].
 *
 * Byte budget: 192 bytes of ours in three cache lines, then the application's.
 *   line 0  what every segment reads: identity, sequence numbers, windows      64
 *   line 1  what sending and timers need: queue, deadlines, RTT, cwnd          64
 *   line 2  receive queue, rare facts (48), recovery point (4), room for RACK and
 *           the algorithm (12)                                                64
 * What attaches only while it holds something: data chunks (queues), and one
 * tcp_extension while more than one chunk is queued (cursors), data came out of order (SACK blocks) or
 * was lost (scoreboard, with ranges of 16 bytes). Without an extension queues are walked from their heads
 * instead, no SACK blocks are sent, and NewReno recovers. */
#ifndef C10M_TCP_TCB_H
#define C10M_TCP_TCB_H

#include "flow/tuple.h"
#include "mem/chunk.h"
#include "wire/ethernet.h"

/* RFC 9293 section 3.3.2. LISTEN and TIME_WAIT have no block: a service number, a
 * compact entry. TCB_FREE marks a block that is not in use. */
enum tcp_state {
	TCB_FREE,
	TCP_SYN_SENT,
	TCP_SYN_RECEIVED, /* simultaneous open only; passive opens are compact entries */
	TCP_ESTABLISHED,
	TCP_FIN_WAIT_1,
	TCP_FIN_WAIT_2,
	TCP_CLOSE_WAIT,
	TCP_CLOSING,
	TCP_LAST_ACK,
	TCP_TIME_WAIT, /* only until the application has consumed the rest */
	TCP_CLOSED,    /* likewise after LAST_ACK */
};

/* tcb.options */
#define TCB_TIMESTAMPS  0x0001u
#define TCB_SACK        0x0002u
#define TCB_NODELAY     0x0004u
#define TCB_KEEPALIVE   0x0008u
#define TCB_ECN         0x0010u /* agreed on: ecn.h */
#define TCB_ACTIVE_OPEN 0x0020u
#define TCB_WSCALE      0x0040u
#define TCB_BACKED      0x0080u /* snd_nxt was pulled back after a timeout; recover is the highest sent */
#define TCB_COUNTED     0x0100u /* among its source's connections: admission.h */
#define TCB_KEYING      0x0200u /* the second of two lengths that a source may have */
#define TCB_BOARD       0x0400u /* the extension holds a scoreboard: recovery.h */
#define TCB_UNHEARD     0x0800u /* we opened it, and nothing but the SYN was acknowledged so far */
#define TCB_MISSES      0x1000u /* opened ahead of sweep 0 while it was under way; shifted for the others */

/* tcb.pending */
#define TCB_READY      0x0001u /* stands on the ready list */
#define TCB_WAITING    0x0002u /* waits for its neighbour */
#define TCB_ACK_NOW    0x0004u
#define TCB_FIN_QUEUED 0x0008u /* the application has closed its direction */
#define TCB_FIN_SENT   0x0010u
#define TCB_FIN_HELD   0x0020u /* a FIN arrived behind a hole: fin_seq */
#define TCB_FIN_TAKEN  0x0040u /* rcv_nxt covers the peer's FIN */
#define TCB_EOF_TOLD   0x0080u /* on_eof was called */
#define TCB_NO_READER  0x0100u /* c10m_close: nothing more is delivered */
#define TCB_WANTS_ROOM 0x0200u /* c10m_send took less: on_writable is owed */
#define TCB_RECOVERY   0x0400u /* fast recovery until snd_una reaches the recovery point */
#define TCB_RTX        0x0800u /* the first segment is to be sent again */
#define TCB_RESUME     0x1000u /* unread data is to be offered again */
#define TCB_PROBE      0x2000u /* a zero-window or keepalive probe is to be sent */
#define TCB_RTT_TIMING 0x4000u /* rtt_seq, rtt_start_us are valid */
#define TCB_ABORTING   0x8000u /* ended inside a callback: freed when it returns */

/* tcb.timers: which deadlines are set */
#define TCB_TIMER_RTX     0x01u /* retransmission, or persist when the window is closed */
#define TCB_TIMER_DELACK  0x02u
#define TCB_TIMER_KEEP    0x04u /* keepalive and silence; FIN_WAIT_2 */
#define TCB_TIMER_USER    0x08u
#define TCB_TIMER_PERSIST 0x10u /* TIMER_RTX means persist */
#define TCB_FILED_NEAR    0x20u /* a wheel entry stands at tick near_tick */
#define TCB_FILED_FAR     0x40u /* a wheel entry stands at tick far_tick */
#define TCB_TIMER_SOON    0x80u /* TIMER_RTX means to look for losses again, or to probe for a lost tail */

#define DUPLICATE_ACKS_MAX 15u

struct tcb {
	/* line 0 */
	struct tuple4 tuple;
	uint32_t generation;
	uint8_t state;
	uint8_t service : 4, dscp_high : 4; /* how routers on the way treat it: tcb_dscp */
	uint8_t stack_id : 6, dscp_low : 2;
	uint8_t timers;
	uint32_t rcv_nxt, rcv_adv; /* rcv_adv: right edge that we advertised; RCV.WND is the difference */
	uint32_t snd_una, snd_nxt, snd_wnd, snd_wl1;
	uint32_t ts_recent, last_ack_sent;
	uint16_t mss; /* payload bytes of a full segment, options taken off */
	uint16_t destination;
	uint16_t options, pending;
	uint8_t wscales;            /* the peer's, of windows that come << 4 | ours, as it was told */
	uint8_t duplicate_acks : 4; /* stays at DUPLICATE_ACKS_MAX */
	uint8_t paced : 1;          /* the extension says when the next segment may go: pace.c */
	uint8_t ecn : 3;            /* ecn.h */
	uint8_t acks_owed;          /* acknowledgements that must not be merged */
	uint8_t rack;               /* what was learnt of reordering: recovery.h */
	/* line 1 */
	uint32_t snd_head;  /* chunks from snd_una on */
	uint32_t snd_bytes; /* queued, from snd_una on, FIN and SYN not counted */
	uint32_t ready_next;
	uint32_t rtx_tick, delack_tick, keep_tick, user_tick;
	uint32_t near_tick, far_tick;
	uint32_t srtt_us, rttvar_us;
	uint32_t cwnd, ssthresh;
	uint32_t rtt_start_us, rtt_seq;
	uint32_t extension; /* POOL_NONE: none */
	/* line 2 */
	uint32_t rcv_head, rcv_tail, rcv_bytes; /* in order, not consumed yet */
	uint32_t ooo_head;                      /* out of order, by sequence number */
	uint32_t max_snd_wnd, ts_offset, last_rx_tick;
	uint32_t fin_seq;      /* TCB_FIN_HELD: of the FIN; else up to where all is acknowledged at once */
	uint32_t unacked_tick; /* since when nothing was acknowledged */
	uint32_t keepalive_ms;
	uint32_t user_timeout_ms : 31, timeout_set : 1; /* timeout_set: by the application, for this one */
	uint8_t backoff : 5, congestion : 3;            /* 0: the service's */
	uint8_t keep_probes : 4, grown : 4; /* grown: how often the window was doubled, window.c */
	uint16_t ooo_count;                 /* chunks */
	uint32_t recover;
	uint32_t min_rtt_us;   /* room for RACK */
	uint32_t algorithm[2]; /* the congestion control's own */
};

_Static_assert(sizeof(struct tcb) == 192, "the block's published budget");
_Static_assert(offsetof(struct tcb, snd_head) == 64 && offsetof(struct tcb, rcv_head) == 128, "three lines");

/* RFC 2474 section 3: the upper six bits of the type of service. */
static inline uint8_t tcb_dscp(const struct tcb *tcb)
{
	return (uint8_t)(tcb->dscp_high << 2 | tcb->dscp_low);
}

static inline void tcb_set_dscp(struct tcb *tcb, uint8_t dscp)
{
	tcb->dscp_high = dscp >> 2 & 15u;
	tcb->dscp_low = dscp & 3u;
}

/* The last bytes of each block, where a service has deadlines: what was seen at the last look. */
struct tcb_watch {
	uint32_t rcv_seen, heard_tick; /* rcv_nxt, and when it had last moved */
	uint32_t una_seen, una_tick;   /* snd_una, likewise */
	uint32_t keep_tick; /* keepalive's own: the timer stands at the earlier of it and the deadline */
	uint8_t keep_set, una_set;
	uint8_t first_byte; /* none has come yet, and one must */
	uint8_t pad;
	uint32_t reserve[2];
};

_Static_assert(sizeof(struct tcb_watch) == 32, "half a cache line");

/* tcp_extension.uses: what it is attached for; without any it goes back to the pool. */
#define EXTENSION_SEND    0x01u /* more than one chunk is queued to be sent */
#define EXTENSION_RECEIVE 0x02u /* data out of order, or a duplicate to tell of */

#define EXTENSION_BOARD      0x04u   /* something has arrived beyond a hole, or was lost: TCB_BOARD */
#define EXTENSION_UNDO       0x08u   /* the last recovery may still turn out to have been for nothing */
#define EXTENSION_PROBE      0x10u   /* the tail is, or was, sent again: RFC 8985 section 7 */
#define EXTENSION_URGENT_IN  0x0020u /* urgent data is to be read, up to rcv_up */
#define EXTENSION_URGENT_OUT 0x0040u /* urgent data is to be acknowledged, up to snd_up */
#define EXTENSION_TIMEOUT    0x0080u /* the user timeout is to be told: RFC 5482 */
#define EXTENSION_PATH       0x0400u /* a longer packet is tried: path.c */
#define EXTENSION_MODEL      0x0800u /* the algorithm works on a model of the path: model.h */
#define EXTENSION_FLIGHT     (EXTENSION_UNDO | EXTENSION_PROBE) /* over when all is acknowledged */

#define SACK_BLOCKS_MAX 4

enum probe_state { PROBE_WAITS, PROBE_WAS_NEW, PROBE_WAS_AGAIN };

/* sent_range.flags. LOST and AGAIN: sent again, and on its way. */
#define SENT_ARRIVED 0x01u
#define SENT_LOST    0x02u
#define SENT_AGAIN   0x04u
#define SENT_BEFORE  0x08u /* before there was a scoreboard: sent_us is not known */
#define SENT_EVER    0x10u /* sent again at some time: when it arrives, nobody knows which of them it was */
#define SENT_SPREAD  0x20u /* new data, sent within a part of a round trip from sent_us on */
#define SENT_MARK    0x80u /* set while a rebuild looks which ranges are in use */

/* A part of the window of which all has the same fate: from start to where the next one starts. */
struct sent_range {
	uint32_t start, sent_us, next;
	uint8_t flags, pad[3];
};

_Static_assert(sizeof(struct sent_range) == 16, "four in a cache line");

struct sack_block {
	uint32_t start, end;
};

/* Attached while it holds something. */
struct tcp_extension {
	uint32_t owner; /* block index */
	uint16_t uses;
	uint8_t sack_count : 4, has_duplicate : 4;
	uint8_t probe_state : 2, after_timeout : 1, undo_timed : 1, /* undo_timed: undo_ts is set */
		frto : 2, frto_original : 1;                        /* frto.c */
	uint32_t snd_tail;                                          /* last chunk of the send queue */
	uint32_t cursor_chunk, cursor_seq;        /* chunk that holds cursor_seq at its start */
	uint32_t ooo_last;                        /* chunk that took the last segment out of order */
	struct sack_block duplicate;              /* what arrived twice: RFC 2883 */
	struct sack_block sacks[SACK_BLOCKS_MAX]; /* what arrived out of order, the latest first: RFC 2018 */
	/* The scoreboard, and what belongs to it. */
	uint32_t range_first, range_last, range_count;
	uint32_t sacked_bytes, lost_bytes; /* lost and not sent again */
	uint32_t fack;                     /* end of the highest that has arrived */
	uint32_t rack_us, rack_end;        /* of what was sent last among all that has arrived */
	uint32_t rack_rtt_us;              /* and how long it took */
	uint32_t wider_end;                /* the reordering window grows again when this is acknowledged */
	/* Of recoveries; before anything was lost, of the slow start: how much fits onto the path, as far as
	 * is known; since when, and until when, acknowledgements came without a gap. */
	union {
		uint32_t prr_out, start_fits_bytes;
	};
	union {
		uint32_t prr_delivered, start_began_us;
	};
	union {
		uint32_t prr_flight, start_train_us;
	};
	uint32_t probe_end, probe_us;
	uint32_t undo_cwnd, undo_ssthresh, undo_algorithm[2];
	uint32_t undo_from, undo_ts, undo_bytes; /* sent again: from where, since when, how much */
	uint32_t rcv_up, snd_up;                 /* what follows the last byte of urgent data */
	/* The first slow start is watched: slow_start.c. All of it 0: not yet. */
	uint32_t start_end;                   /* of the round trip under way */
	uint32_t start_last_us, start_now_us; /* least of the last one and of this one */
	uint32_t start_base_us;               /* when it became careful; 0: it is not */
	uint8_t start_samples, start_rounds, start_under_way, start_by_train;
	/* Output is spread over the round trip, while tcb.paced is set: pace.c. */
	uint32_t pace_us;              /* when the next segment may go */
	uint32_t pace_slot;            /* the pacer's entry, if one is filed */
	uint8_t pace_filed, pace_held; /* held: by it, not by the window */
	uint16_t model;                /* its number + 1; 0: none. model.h */
};

_Static_assert(sizeof(struct tcp_extension) == 192, "whole cache lines");

/* A connection in SYN_RECEIVED that a peer opened: 64 bytes. */
struct half_open {
	struct tuple4 tuple;
	uint32_t iss, irs;
	uint32_t ts_recent, ts_offset;
	uint32_t due_tick;
	uint32_t older, newer; /* its list: all that were sent the same number of times */
	uint32_t born_us;      /* to time the round trip; low 32 bits */
	uint16_t mss, window;
	uint8_t wscale, options, service, tries;
	uint8_t in_use;
	struct eth_address hop; /* where its SYN came from: answers ask for no neighbour */
	uint8_t ecn;            /* its SYN asked for it */
	uint16_t user_timeout;  /* as the peer told it, or 0 */
	uint8_t own_wscale;     /* as the SYN-ACK told it */
	uint8_t reserve;
};

_Static_assert(sizeof(struct half_open) == 64, "one cache line");

struct time_wait {
	struct tuple4 tuple;
	uint32_t snd_nxt, rcv_nxt;
	uint32_t ts_recent, ts_offset;
	uint32_t due_tick;
	uint32_t older, newer;
	uint16_t window;
	uint8_t timestamps, in_use;
};

_Static_assert(sizeof(struct time_wait) == 44, "fits the compact pool's 48 bytes");

#define TIME_WAIT_STRIDE 48

#endif
