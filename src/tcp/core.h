/* core.h - what one core's TCP works on. Every function of tcp/ and sock/ gets it first.
 *
 * Input stages return what happened (struct tcp_result); only timers, which start by themselves, call upwards
 * through `events`. */
#ifndef C10M_TCP_CORE_H
#define C10M_TCP_CORE_H

#include "base/random.h"
#include "base/seq.h"
#include "base/ticks.h"
#include "c10m/c10m.h"
#include "flow/owner.h"
#include "flow/ports.h"
#include "flow/table.h"
#include "mem/arena.h"
#include "mem/message.h"
#include "net/net.h"
#include "obs/stages.h"
#include "tcp/admission.h"
#include "tcp/tcb.h"
#include "timer/wheel.h"
#include "wire/tcp.h"

#define HALF_OPEN_TRIES 6
#define OOO_CHUNKS_MIN  16 /* that a connection may keep out of order, whatever its window */
#define SERVICES_MAX    16
#define SWEEPS_MAX      4 /* fan-outs that walk over all blocks at a time */

struct c10m_congestion_control;
struct core;
struct path_slot;
struct suspect;

struct core_events {
	void (*closed)(struct core *core, uint32_t index, enum c10m_close_reason reason);
	void (*timer)(struct core *core, uint32_t index);
	void (*trouble)(struct core *core, uint32_t index, enum c10m_trouble trouble);
};

struct index_list {
	uint32_t oldest, newest;
};

/* c10m_worker_timer. */
struct worker_timer {
	void (*on_time)(c10m_worker *worker, void *context); /* NULL: not set */
	void *context;
	uint32_t tick;
};

/* A fan-out walks over the blocks from `next` to `end`. */
struct sweep {
	uint32_t next, end; /* equal: it is through */
	bool taken;
};

/* What one connection has received since when: window.c. */
struct tune_slot {
	uint32_t index, generation;
	uint32_t from, since_us;
};

#define TUNE_SLOTS_MAX 4096u

#define FASTOPEN_COOKIE_BYTES 8 /* of those that we grant */
#define FASTOPEN_ENTRIES      256u

/* What a server has granted us: fastopen.c. */
struct fastopen_entry {
	uint32_t remote_ip, local_ip;
	uint32_t off_until; /* while losses is not 0: no fast open before */
	uint16_t mss;
	uint8_t cookie_bytes, losses;
	uint8_t cookie[16];
};

_Static_assert(sizeof(struct fastopen_entry) == 32, "two in a cache line");

/* A service's settings, defaults filled in. */
struct tcp_service {
	uint32_t receive_bytes, send_bytes, keepalive_ms, user_timeout_ms;
	uint32_t delayed_ack_ms;    /* 0: at once */
	uint32_t receive_max_bytes; /* up to which the window grows; receive_bytes: it does not */
	const struct c10m_congestion_control *congestion;
	uint16_t port;
	uint32_t groups, groups_at; /* how many a connection may be in; where they stand in its block */
	bool splices;               /* each connection has room for a splice */
	bool nodelay, tells_timeout;
	uint32_t user_timeout_max_ms;
	bool paced, ecn_asks, ecn_accepts;
	uint32_t fastopen_pending; /* that may wait at a time; 0: no fast open */
	bool fastopen_client;
	uint8_t wscale;        /* the least that tells of receive_max_bytes */
	uint8_t wscale_before; /* as it was before the service was read again ... */
	bool rescaled;
	uint32_t rescaled_tick; /* ... for the last time: SYN cookies of that time told this one */
	bool marked;            /* its packets have a time to live or a class of their own */
	uint8_t ttl, dscp;
};

/* 0: none. */
struct service_deadlines {
	uint32_t first_byte_ms, idle_ms, unsent_ms;
};

struct core_settings {
	uint32_t initial_window_segments, rto_min_us, rto_initial_us, time_wait_ms, fin_wait2_ms;
	uint32_t quick_acks;      /* full segments that are acknowledged at once at the start */
	uint64_t tuned_max_bytes; /* by which all windows together may grow */
	bool no_timestamps, no_window_scale, no_sack, always_cookies, tx_checksum, tx_segmentation, shared;
};

/* What answers each of its frames by one of the peers' may send so many in a round of the worker. That takes
 * in one burst a round but may send several, and reads the clock once: half a burst goes out while the clock
 * stands, so that answers, and others' frames with them, are taken in as fast as they come. Faster, and they
 * would fill the port's ring and be lost. */
#define ROUND_FRAMES 32u

struct round_share {
	uint64_t at_us; /* the clock of the last round with a share; UINT64_MAX: none yet */
	uint32_t left;  /* of that round's */
};

struct core {
	struct counters counters;
	struct net net;
	struct pool blocks, half_opens, time_waits, extensions, ranges;
	struct chunk_pool chunks;
	struct message_pool messages;
	struct flow_table table;
	struct ports ports;
	struct random random;
	/* What each packet and each callback needs: one line, and the service's half of another. */
	CACHE_ALIGNED struct wheel *wheel;
	struct wheel *pacer; /* pace.c */
	const struct arena_secrets *secrets;
	const struct core_events *events;
	const struct c10m_service *callbacks;
	const struct owner *owner; /* NULL: all flows are ours */
	uint64_t now_us;
	uint32_t now_tick;
	uint32_t ready_head, ready_tail;
	uint32_t busy_index; /* the block whose callback runs: it is freed when that returns */
	struct tcp_service services[SERVICES_MAX];
	/* What each burst looks at: mostly to see that there is nothing to do. */
	struct core_settings settings;
	uint8_t *near_bits; /* two bits a block: see conn.c */
	uint32_t service_count;
	uint8_t stack_id;
	bool stopping;
	bool starved;              /* somebody without queued data was refused a chunk */
	bool starved_seen;         /* in this pass of the search */
	struct index_list closing; /* ready to send their end, whose turn comes after that of the others */
	struct index_list fanouts_active, fanouts_queued, fanouts_awaiting; /* `oldest` has the next turn */
	uint32_t reroute_next, reroute_left; /* blocks that still have to look for their way */
	uint32_t sweep_next, sweep_left;     /* blocks to be looked at, since a wheel entry was lacking */
	struct index_list time_wait_list;
	struct index_list half_open_lists[HALF_OPEN_TRIES];
	uint32_t starved_next; /* where the search for such goes on */
	bool reused;           /* the segment at hand is a SYN that took the place of a TIME_WAIT entry ... */
	uint32_t reused_seq;   /* ... which had sent so far */
	uint32_t challenge_tick, challenge_tokens;
	uint32_t cookie_tick; /* when the last SYN cookie went out */
	bool cookies_out;
	struct pool groups, fanouts;
	struct sweep sweeps[SWEEPS_MAX];
	struct worker_timer timer;
	struct round_share fanout_share, closing_share;
	struct service_deadlines deadlines[SERVICES_MAX];
	struct admission admission;
	struct pool models;  /* model.h */
	uint32_t model_next; /* where the search for an idle one goes on */
	struct tune_slot *tune;
	struct path_slot *paths; /* as many as `tune` has: path.c */
	uint32_t tune_mask;
	uint64_t tuned_bytes;      /* by which all windows together have grown */
	uint64_t chunk_bytes;      /* of all chunks there are */
	uint32_t fastopen_pending; /* connections that a SYN's data opened, and whose handshake goes on */
	uint32_t fastopen_resets, fastopen_resets_tick; /* of these, reset by the peer; since when counted */
	struct fastopen_entry fastopen[FASTOPEN_ENTRIES];
	struct suspect *suspects; /* as many as `tune` has: pressure.c */
	uint32_t pressure_left, pressure_next,
		pressure_tick; /* blocks to be asked for memory; the next; when last */
	struct stages stages;
	uint64_t owned[65536 / 64]; /* a bit for each port that is ours to answer for */
	uint8_t listeners[65536];   /* service + 1 of a port; 0: nobody */
};

/* What a segment meant for the application. */
#define TCP_EVENT_OPEN     0x01u
#define TCP_EVENT_DATA     0x02u /* data, bytes: in order, not yet taken */
#define TCP_EVENT_WRITABLE 0x04u
#define TCP_EVENT_CLOSED   0x08u /* reason */
#define TCP_EVENT_RESET    0x10u /* the segment is to be answered by a reset */
#define TCP_EVENT_URGENT   0x20u /* there is urgent data, or more of it */

struct tcp_result {
	uint32_t events;
	enum c10m_close_reason reason;
	uint32_t index; /* the block */
	const uint8_t *data;
	uint32_t bytes;
	bool fin; /* a FIN follows the data */
};

PURE_INLINE struct tcb *tcb_at(const struct core *core, uint32_t index)
{
	return pool_at(&core->blocks, index);
}

PURE_INLINE uint32_t tcb_index(const struct core *core, const struct tcb *tcb)
{
	return (uint32_t)((size_t)((const uint8_t *)tcb - core->blocks.objects) / core->blocks.stride);
}

PURE_INLINE uint64_t core_hash(const struct core *core, const struct tuple4 *tuple)
{
	return tuple4_hash(&core->secrets->flow, tuple);
}

PURE_INLINE bool core_owns_port(const struct core *core, uint16_t port)
{
	return core->owned[port / 64] >> port % 64 & 1;
}

/* --- conn.c: blocks, the ready list, deadlines */
bool core_insert(struct core *core, uint64_t hash, uint32_t ref); /* false: no room in the flow table */
uint32_t core_find(struct core *core, const struct tuple4 *tuple, uint64_t hash); /* reference or FLOW_NONE */
const struct tuple4 *core_tuple_of(const struct core *core, uint32_t ref);
uint32_t conn_take(struct core *core, const struct tuple4 *tuple, uint8_t service);
void conn_free(struct core *core, uint32_t index);
void conn_ready(struct core *core, uint32_t index);
/* The same for one that has nothing left but its end: very many may end at once, and the others go on. */
void conn_ready_to_close(struct core *core, uint32_t index);
PURE_INLINE uint32_t round_share_left(const struct core *core, const struct round_share *share)
{
	return core->now_us == share->at_us ? share->left : ROUND_FRAMES;
}
PURE_INLINE void round_share_take(const struct core *core, struct round_share *share, uint32_t frames)
{
	uint32_t left = round_share_left(core, share);

	*share = (struct round_share){core->now_us, left - frames};
}
/* Whether so much is ending that one more end has to wait for its turn. */
PURE_INLINE bool core_closes_many(const struct core *core)
{
	return core->closing.oldest != POOL_NONE || core->net.reply_count >= REPLIES / 2;
}
void conn_set_timer(struct core *core, struct tcb *tcb, uint8_t timer, uint32_t tick);
void conn_file_timers(struct core *core, uint32_t index);
size_t conn_near_bytes(uint32_t blocks);
bool conn_near_agrees(const struct core *core, uint32_t index); /* for stack_verify */
PURE_INLINE void conn_near_prefetch(const struct core *core, uint32_t index)
{
	PREFETCH_WRITE(&core->near_bits[index / 4]);
}
/* A wheel entry is a block's near or far one, or was overtaken by an earlier one and means nothing. */
#define CONN_ENTRY_FAR 0x80000000u /* in wheel_entry.index */
PURE_INLINE uint32_t conn_entry_index(const struct wheel_entry *entry)
{
	return entry->index & ~CONN_ENTRY_FAR;
}
/* For an entry that has fired, without touching the block: false when nobody waits for it. */
bool conn_entry_matters(struct core *core, const struct wheel_entry *entry);
/* The same with a look at the block, which then no longer counts on it. */
bool conn_entry_fired(struct core *core, const struct wheel_entry *entry);
/* Ends a connection: tells the application, frees the block. */
void conn_end(struct core *core, uint32_t index, enum c10m_close_reason reason);
void conn_waiters(void *context, uint32_t waiting, bool reachable);
uint32_t core_isn(const struct core *core, const struct tuple4 *tuple);
uint32_t core_ts_offset(const struct core *core, const struct tuple4 *tuple);
uint32_t core_random_below(struct core *core, uint32_t bound);

PURE_INLINE uint32_t tcp_clock(const struct core *core, uint32_t ts_offset)
{
	return core->now_tick + ts_offset;
}

PURE_INLINE uint32_t tcb_snd_max(const struct tcb *tcb)
{
	return tcb->options & TCB_BACKED ? seq_max(tcb->recover, tcb->snd_nxt) : tcb->snd_nxt;
}

/* --- extension.c: what attaches while it holds something */
PURE_INLINE struct tcp_extension *tcb_extension(const struct core *core, const struct tcb *tcb)
{
	return tcb->extension == POOL_NONE ? NULL : pool_at(&core->extensions, tcb->extension);
}
/* Attaches one, if there is none yet, for this use; NULL when none is left, counted. */
struct tcp_extension *extension_hold(struct core *core, struct tcb *tcb, uint16_t use);
void extension_drop(struct core *core, struct tcb *tcb, uint16_t uses);

/* --- urgent.c: urgent data (RFC 6093) */
bool urgent_input(struct core *core, struct tcb *tcb,
		  const struct tcp_segment *segment);                 /* more than before */
uint32_t urgent_left(const struct core *core, const struct tcb *tcb); /* bytes to be read, up to its end */
bool urgent_begin(struct core *core, struct tcb *tcb); /* all that is queued is; false: it cannot be told */
void urgent_tell(struct core *core, struct tcb *tcb, struct tcp_segment *segment);
void urgent_acked(struct core *core, struct tcb *tcb);

/* --- user_timeout.c: the option of RFC 5482 */
uint16_t user_timeout_offer(const struct core *core, uint8_t service, uint32_t ms);
void user_timeout_learn(struct core *core, struct tcb *tcb, uint16_t raw);
void user_timeout_change(struct core *core, struct tcb *tcb); /* another one is to be told */
void user_timeout_tell(struct core *core, struct tcb *tcb, struct tcp_segment *segment);

/* --- sack.c: what is told of data out of order (RFC 2018), and of data that came twice (RFC 2883) */
/* chunk: where its last byte is kept. */
void sack_arrived(struct core *core, struct tcb *tcb, uint32_t start, uint32_t end, uint32_t chunk);
void sack_duplicate(struct core *core, struct tcb *tcb, uint32_t start, uint32_t end);
void sack_trim(struct core *core, struct tcb *tcb); /* rcv_nxt has moved, or the queue is empty now */
#define SACK_BYTES_MAX (8u * SACK_BLOCKS_MAX)
/* Adds the option when there is something to tell and room for it; `blocks` has SACK_BYTES_MAX bytes. */
void sack_tell(struct core *core, struct tcb *tcb, struct tcp_segment *segment, uint8_t *blocks);
bool sack_waits(const struct core *core, const struct tcb *tcb); /* something is to be told */

/* --- queues.c: what was sent and what was received */
uint32_t sendq_add(struct core *core, struct tcb *tcb, const uint8_t *data, uint32_t bytes); /* accepted */
#define SENDQ_LOOK_MAX 64 /* chunks that are looked at for something to replace */
/* Puts a reference to a message behind all that is queued; false when no chunk is left. */
bool sendq_refer(struct core *core, struct tcb *tcb, uint32_t message, uint32_t topic);
/* Puts a message in the place of one of the same topic of which nothing was ever sent; false: there is none.
 */
bool sendq_replace(struct core *core, struct tcb *tcb, uint32_t message, uint32_t topic);
/* Moves the first chunk of what `from` keeps unread behind what `to` sends, uncopied. False: no room for it
 * yet. */
bool sendq_move(struct core *core, struct tcb *to, struct tcb *from);
void sendq_recount(struct core *core, const struct tcb *tcb); /* counts its references to messages again */
void sendq_drop(struct core *core, struct tcb *tcb, uint32_t bytes); /* acknowledged */
/* Copies bytes at an offset from snd_una and returns their checksum, unless the port makes it. */
uint32_t sendq_copy(struct core *core, struct tcb *tcb, uint32_t offset, uint8_t *to, uint32_t bytes);
void queues_free(struct core *core, struct tcb *tcb);
uint32_t recvq_add(struct core *core, struct tcb *tcb, const uint8_t *data, uint32_t bytes);
/* What comes first: all that is kept, in one piece, or CHUNK_BYTES_MAX of it. Moves bytes between chunks. */
const uint8_t *recvq_head(struct core *core, struct tcb *tcb, uint32_t *bytes);
void recvq_consume(struct core *core, struct tcb *tcb, uint32_t bytes);
enum drop_reason ooo_add(struct core *core, struct tcb *tcb, uint32_t seq, const uint8_t *data,
			 uint32_t bytes);
/* Moves what has become in order to the receive queue and advances rcv_nxt. */
void ooo_drain(struct core *core, struct tcb *tcb);
void ooo_give_all(struct core *core, struct tcb *tcb);
uint32_t tcp_receive_room(const struct core *core, const struct tcb *tcb);

/* --- window.c: how much may be received at a time */
size_t tune_bytes(uint32_t connections);
uint32_t tune_slots(uint32_t connections);
void tune_clear(struct core *core);
void tcp_tune_window(struct core *core, struct tcb *tcb); /* much has come, and is acknowledged now */
uint32_t tcp_window_grown(const struct core *core, const struct tcb *tcb);
void tcp_window_release(struct core *core, struct tcb *tcb); /* of a block about to be freed */
void tcp_windows_recount(struct core *core); /* a service has other limits, under its connections */
void tcp_window_squeeze(struct core *core, struct tcb *tcb); /* no memory was left for what came */
PURE_INLINE uint32_t tcp_receive_limit(const struct core *core, const struct tcb *tcb)
{
	const struct tcp_service *service = &core->services[tcb->service];

	return (uint32_t)MIN_OF((uint64_t)service->receive_bytes << tcb->grown,
				(uint64_t)service->receive_max_bytes);
}

/* --- pressure.c: memory has run out */
size_t pressure_bytes(uint32_t connections);
void pressure_clear(struct core *core);
void pressure_begin(struct core *core); /* no chunk was left */
/* Looks at some blocks, while pressure_left is not 0; the tick from which it does so again. */
void pressure_relieve(struct core *core);
uint32_t pressure_deadline(const struct core *core);

/* --- segment.c: segments that belong to no block */
void tcp_send_reset(struct core *core, const uint8_t *frame, const struct tuple4 *tuple,
		    const struct tcp_segment *segment);
void tcp_reply(struct core *core, const struct eth_address *to, const struct tuple4 *tuple,
	       struct tcp_segment *segment);

/* --- listen.c: passive opens */
enum drop_reason tcp_listen_input(struct core *core, const uint8_t *frame, const struct tuple4 *tuple,
				  uint64_t hash, const struct tcp_segment *segment,
				  struct tcp_result *result);
/* index: of the half-open entry. CONTINUE (DROP_NONE with result->index set) lets the block take the segment.
 */
enum drop_reason tcp_half_open_input(struct core *core, const uint8_t *frame, uint32_t index, uint64_t hash,
				     const struct tcp_segment *segment, struct tcp_result *result);
void half_open_expire(struct core *core);
bool half_open_deadline(const struct core *core, uint32_t *tick);
void half_open_free(struct core *core, uint32_t index);

/* --- time_wait.c */
void time_wait_enter(struct core *core, const struct tcb *tcb);
/* True when the segment is a SYN that may start a new connection: the entry is gone. */
bool tcp_time_wait_input(struct core *core, const uint8_t *frame, uint32_t index,
			 const struct tcp_segment *segment, enum drop_reason *reason);
/* Whether a port of ours may connect to the same end again (RFC 6191): both know old segments by their
 * timestamps. ref: what the flow table has of it. */
bool time_wait_may_reuse(const struct core *core, uint32_t ref);
uint32_t time_wait_reuse(struct core *core,
			 uint32_t ref); /* takes it; returns what it would have sent next */
void time_wait_expire(struct core *core);
bool time_wait_deadline(const struct core *core, uint32_t *tick);

/* --- input.c: segments for a block */
/* Software GRO: whether a segment does nothing but go on where the one before it ended. Then it is taken,
 * with the result that tcp_input would have; false: nothing was done. */
bool tcp_goes_on(struct core *core, struct tcb *tcb, const struct tcp_segment *segment,
		 struct tcp_result *result);
enum drop_reason tcp_input(struct core *core, struct tcb *tcb, const struct tcp_segment *segment,
			   struct tcp_result *result);
/* `taken` bytes of result->data were kept or consumed: acknowledges them, and the FIN behind them. */
void tcp_taken(struct core *core, struct tcb *tcb, const struct tcp_result *result, uint32_t taken);
/* The states after a FIN of the peer. */
void tcp_fin_received(struct core *core, struct tcb *tcb);
/* Whether nothing more can happen: both FINs done and everything delivered. */
bool tcp_finished(const struct tcb *tcb);
/* ICMP errors that quote one of our segments. */
enum drop_reason tcp_icmp_error(struct core *core, const struct icmp_message *message,
				const struct icmp_quote *quote);

/* --- output.c */
/* Fills at most max frames; returns how many. The neighbour is known. */
uint32_t tcp_output(struct core *core, uint32_t index, struct packet *packets, uint32_t max);
void tcp_window_update(struct core *core, struct tcb *tcb); /* after the application consumed */
/* Sees to it that data which cannot go now is looked at again. */
void tcp_arm_persist(struct core *core, struct tcb *tcb);
void tcp_abort_segment(struct core *core, const struct tcb *tcb);
void tcp_last_ack(struct core *core, struct tcb *tcb); /* of a block about to be freed */
/* Acknowledges what has come so far, before more of another kind is taken; not when many others are answered
 * at the same time, and it would come too late. */
void tcp_ack_before(struct core *core, struct tcb *tcb, uint8_t flags);

/* --- timers.c */
void tcp_timers_run(struct core *core, uint32_t index);
void tcp_arm_rtx(struct core *core, struct tcb *tcb);
void tcp_arm_probe(struct core *core, struct tcb *tcb); /* after output: more than one segment is in flight */
void tcp_arm_keepalive(struct core *core, struct tcb *tcb);
/* Looks no later than when the user's patience ends. */
void tcp_heed_user_timeout(struct tcb *tcb);
void tcp_rtt_sample(struct core *core, struct tcb *tcb, uint32_t rtt_us);
uint32_t tcp_rto_us(const struct core *core, const struct tcb *tcb);

/* --- reroute.c: the ways of connections after routes or the interface's MTU have changed */
/* An ICMP redirect from this address (RFC 1122 section 3.2.2.2). */
enum drop_reason tcp_redirect(struct core *core, uint32_t from, const struct icmp_message *message,
			      const struct icmp_quote *quote);
void tcp_reroute_begin(struct core *core);
void tcp_reroute(struct core *core); /* some of them, while reroute_left is not 0 */
/* The path's MTU is another one: smaller segments, and what was too long goes again. */
void tcp_path_shrunk(struct core *core, struct tcb *tcb);

/* --- deadlines.c: what a service demands of its peers */
void tcp_watch_begin(struct core *core, struct tcb *tcb); /* it is established */
/* Arms the timer that keepalive and the deadlines of silence share; keep_ms 0: no keepalive. */
void tcp_arm_slow(struct core *core, struct tcb *tcb, uint32_t keep_ms);
/* When that timer fires: false when the peer was silent for too long, counted. Else the timer is armed for
 * the next look, and *keep_due says whether keepalive is to act. */
bool tcp_watch_silence(struct core *core, struct tcb *tcb, bool *keep_due);
/* Whether it is armed if it has to be; for tests. */
bool tcp_watch_armed(const struct core *core, const struct tcb *tcb);
/* When the data that waits will have waited too long; false when there is none, or no such deadline. To be
 * asked when the retransmission timer fires. */
bool tcp_unsent_deadline(struct core *core, struct tcb *tcb, uint32_t *tick);

/* --- open.c: active opens and what both sides share */
void tcp_open_setup(struct core *core, struct tcb *tcb, uint32_t iss, uint32_t irs);
uint32_t tcp_initial_window(const struct core *core, const struct tcb *tcb);
void tcp_learn_syn_options(struct core *core, struct tcb *tcb, const struct tcp_segment *segment);
uint32_t tcp_mss_for(const struct core *core, uint32_t mtu); /* MSS to announce */
void tcp_set_mss(struct core *core, struct tcb *tcb, uint32_t peer_mss);
int tcp_connect(struct core *core, const struct tuple4 *tuple, uint8_t service, uint32_t *index);

#endif
