/* c10m.h - servers and clients that hold millions of TCP connections.
 *
 * A program describes services; c10m runs them on cores of their own, over a network
 * interface of their own, with its own TCP/IP (RFC 9293 and relatives) in user
 * space. A service is a set of callbacks. All callbacks of one connection run on
 * the same worker, one after the other: they need no locks, and must not block.
 *
 * Threads: functions that take a `c10m_conn *` or a `c10m_worker *` may be called only on
 * the worker that passed it, inside a callback. c10m_post may be called from any thread,
 * c10m_stop from anywhere, signal handlers included.
 *
 * Units: sizes are bytes, times say their unit in their name. IPv4 addresses and
 * ports are in host byte order (10.0.0.1 is 0x0a000001). */
#ifndef C10M_H
#define C10M_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define C10M_VERSION_MAJOR 0
#define C10M_VERSION_MINOR 1
#define C10M_VERSION_PATCH 0

#if defined(__GNUC__)
#define C10M_API __attribute__((visibility("default")))
#else
#define C10M_API
#endif

/* A connection, valid inside the callback that received it and in functions called from there.
 * To keep one, keep its handle. */
typedef struct c10m_conn c10m_conn;

/* One core's instance of c10m. */
typedef struct c10m_worker c10m_worker;

/* A name for a connection that may be kept for ever: worker, place and generation.
 * When the connection has ended, the handle is recognised as stale. 0 is no handle. */
typedef uint64_t c10m_handle;

/* Why a connection ended. */
enum c10m_close_reason {
	C10M_CLOSE_NORMAL,      /* both directions were closed and all data arrived */
	C10M_CLOSE_RESET,       /* the peer reset it (RFC 9293 section 3.10.7.4) */
	C10M_CLOSE_REFUSED,     /* c10m_connect: the peer has no listener there */
	C10M_CLOSE_TIMEOUT,     /* data or SYN unacknowledged for too long */
	C10M_CLOSE_KEEPALIVE,   /* keepalive probes unanswered */
	C10M_CLOSE_UNREACHABLE, /* c10m_connect: no route, or no such neighbour */
	C10M_CLOSE_ABORTED,     /* we called c10m_abort, or closed with unread data */
	C10M_CLOSE_STOPPED,     /* the worker stopped */
	C10M_CLOSE_DEADLINE,    /* first_byte_ms, idle_ms or unsent_ms of the service is over */
	C10M_CLOSE_SPLICED,     /* the connection that it was spliced with did not end in order */
	C10M_CLOSE_MEMORY,      /* memory has run out, and the peer kept its window closed (RFC 6429) */
};

/* c10m_service.on_trouble. */
enum c10m_trouble {
	C10M_TROUBLE_UNREACHABLE, /* a router, or the peer's host, says that it cannot be reached (ICMP) */
	C10M_TROUBLE_HOPS,        /* the hop limit was used up on the way (ICMP time exceeded) */
	C10M_TROUBLE_HEADER,      /* somebody could make no sense of a header (ICMP parameter problem) */
	C10M_TROUBLE_SILENCE,     /* data, or the SYN, was sent again three times without an answer (R1) */
};

/* Bits of c10m_service.flags. */
#define C10M_NODELAY 0x1u /* no Nagle: small segments go at once (RFC 9293 section 3.7.4) */
#define C10M_QUICKACK \
	0x2u /* what comes is acknowledged at once: for those who mostly do not answer it soon */
#define C10M_PACED \
	0x8u /* large windows go out spread over the round trip, not as acknowledgements allow: \
		docs/congestion.md */
#define C10M_SPLICE \
	0x40u /* connections may be spliced (c10m_splice): each takes 8 bytes of its block for it */
/* user_timeout_ms, where it is set, is told to the peer, and what the peer tells is heeded: the larger of
 * both counts, 100 s at least without a time of our own, user_timeout_max_ms at most (RFC 5482). */
#define C10M_USER_TIMEOUT_OPTION 0x4u
/* c10m_connect asks servers for cookies of TCP Fast Open, and sends what is given as `data` in the SYN where
 * it has one (RFC 7413). The server may get it twice: only for requests that may be repeated. */
#define C10M_FASTOPEN            0x10u

/* --- Limits: who may connect to a service, and how often.
 *
 * What c10m sends and receives does not pass nftables, iptables or any other filter of the kernel. These
 * limits are what stands in their place; they are looked at before a connection costs any memory. A refused
 * segment is dropped and counted by its reason, in silence or with a reset. */

/* All addresses that begin with the first `bits` bits of `address`; the bits behind these must be zero. */
struct c10m_prefix {
	uint8_t family;      /* 4, or 0 for short: IPv4. The room is for IPv6 later */
	uint8_t bits;        /* 0 to 32 */
	uint32_t address[4]; /* IPv4: in address[0], host byte order; the others are zero */
};

/* Bits of c10m_limits.flags. */
#define C10M_LIMITS_RESET      0x1u /* refuse by a reset; without it: in silence */
#define C10M_LIMITS_KEEP_LISTS 0x2u /* c10m_limits_set: leave the lists as they are, do not look at these */

/* Zero is no limit in each field. A source is an address, or all addresses of one prefix of source_bits.
 *
 * Lists: the longest prefix that holds the address decides; one that stands in both is denied. What no
 * prefix holds is denied when `allow` has any prefix, else allowed.
 * Caps: a source's connections are those its peers opened and that have not ended; TIME_WAIT does not count.
 * Only who has answered our SYN-ACK is counted: nobody can use up a stranger's share with forged addresses.
 * Sources are remembered in a table of fixed size. When it has no room for one more, that source's
 * connections are not capped, and counted as limit_untracked: to refuse them would let an attacker with many
 * addresses keep everybody else out. Each worker counts for itself: with several of them a source may have so
 * much on each, and c10m_limits_set is to be called on all. */
struct c10m_limits {
	const struct c10m_prefix *allow, *deny;
	size_t allow_count, deny_count;
	uint32_t source_connections; /* at the same time */
	uint32_t source_rate;        /* new connections a second, at most 1000000 ... */
	uint32_t source_burst;       /* ... and so many at once; 0: source_rate. Only with source_rate */
	uint32_t source_bits;        /* 1 to 32; 0: 32 */
	uint32_t flags;
	uint32_t reserved[3]; /* zero */
};

/* What a service is. Fields left out are zero, and zero is a useful default for each. It
 * is read once, by c10m_main; the strings and `user` must live until it returns. */
struct c10m_service {
	const char *name;
	uint16_t port; /* to listen on; 0: does not listen, for c10m_connect only */
	uint16_t flags;
	size_t state_size; /* bytes of the application's state in each connection's block, zeroed at open */

	/* The connection is established (accepted or connected). */
	void (*on_open)(c10m_conn *conn);
	/* Bytes have arrived, in order. They are valid until the callback returns. Returns how many were
	 * consumed, at most len; the rest is kept, and offered again with what follows, on c10m_resume, or
	 * when an acknowledgement has made room to send. At least 2032 bytes come in one piece when so many
	 * are there and memory allows: who waits for more keeps it in its own state. NULL: everything is
	 * consumed unseen. */
	size_t (*on_data)(c10m_conn *conn, const void *data, size_t len);
	/* After c10m_send took less than it was given: there is room again. */
	void (*on_writable)(c10m_conn *conn);
	/* The peer has closed its direction and all it sent was consumed. NULL: c10m_close. */
	void (*on_eof)(c10m_conn *conn);
	/* The time set with c10m_set_timer is over. */
	void (*on_timer)(c10m_conn *conn);
	/* The end, exactly once for each connection that opened, and for each c10m_connect that
	 * failed (which never opened). Nothing can be sent any more. */
	void (*on_close)(c10m_conn *conn, enum c10m_close_reason reason);

	/* Unread bytes kept for a connection, and the receive window at its start; 0: 65536. */
	uint32_t receive_bytes;
	uint32_t send_bytes;   /* bytes accepted and not acknowledged yet; 0: 65536 */
	uint32_t keepalive_ms; /* silence before the first probe; 0: no keepalive (RFC 9293 section 3.8.4) */
	uint32_t user_timeout_ms; /* data unacknowledged for this long ends the connection, also before a
				   * window that the peer keeps closed; 0: about 100 s or more, by backoff
				   * (RFC 9293 section 3.8.3, RFC 5482) */
	/* How much may be in flight: "cubic" (RFC 9438), "newreno" (RFC 5681),
	 * "bbr" (draft-ietf-ccwg-bbr) or "dctcp" (RFC 8257); NULL: "cubic". An algorithm
	 * of one's own comes before it: c10m/congestion.h. */
	const char *congestion;
	const struct c10m_congestion_control *congestion_control;

	/* Called on each worker, on its own thread, when it is ready: the place to call c10m_connect from. */
	void (*on_start)(c10m_worker *worker);
	void *user; /* the application's own; see c10m_conn_user */

	uint32_t groups; /* groups (c10m_group_join) that one connection may be in, at most 16; each takes 12
			  * bytes of its block */

	const struct c10m_limits *limits; /* who may connect; NULL: everybody. Read like the service itself */
	/* Deadlines: whose is over is reset, and on_close gets C10M_CLOSE_DEADLINE. 0: none; 24 days at most.
	 * If any service has one, each block keeps 32 bytes behind the application's state for it. */
	uint32_t first_byte_ms; /* from on_open to the first data of the peer */
	uint32_t idle_ms;   /* without new data from the peer, while nothing of ours waits to be acknowledged
			     * and nothing of the peer's to be consumed. Before the first data it counts
			     * from on_open when first_byte_ms is 0. Over after the peer's FIN and after
			     * c10m_close. A peer that goes on sending bare acknowledgements can draw it
			     * out to twice as long */
	uint32_t unsent_ms; /* while data that c10m_send took waits, none of it is acknowledged: even if the
			     * peer answers, as one does whose window stays closed. Looked at when the
			     * retransmission timer fires, so it takes at least that long; at most twice as
			     * long when a peer opens and closes its window on purpose */

	/* Called once on each worker when it is stopped, before any connection is reset: the place to say
	 * goodbye and to close what is idle, so that the time of --drain-ms is not waited out. Nothing
	 * listens any more; all else works, c10m_connect too. */
	void (*on_stop)(c10m_worker *worker);

	/* Called in each turn of the worker's loop, between receiving and sending, for those who begin things
	 * by themselves rather than answer: a load generator, a game's tick. It should do a slice of some ten
	 * microseconds. Returns when it must be called again at the latest, on the clock of c10m_now_us
	 * (c10m_now_us or less: there is more to do; UINT64_MAX: frames and timers alone wake the worker). */
	uint64_t (*on_turn)(c10m_worker *worker);

	/* Up to here the receive window grows, by doubling, while a peer fills it in a round trip and the
	 * application keeps up with it; so much may then be kept unread. At most 1 GB. 0: it grows up to
	 * --receive-max where receive_bytes is 0, too, else not at all. All windows of a worker together are
	 * bounded besides (docs/tcp.md). */
	uint32_t receive_max_bytes;

	/* The peer tells of urgent data, or of more of it: c10m_urgent_bytes. It comes before the on_data of
	 * what came with it; the data itself is kept in line (RFC 6093). NULL: not of interest. */
	void (*on_urgent)(c10m_conn *conn);
	uint32_t user_timeout_max_ms; /* with C10M_USER_TIMEOUT_OPTION; 0: an hour */

	/* Of every packet that is sent: how many routers it may pass (0: 64), and its class of service, 0 to
	 * 63 (the Diffserv field without ECN's two bits, RFC 2474). More counts as 0. */
	uint8_t ttl, dscp;

	/* Something is wrong with the way to the peer, and the connection goes on all the same (RFC 9293
	 * section 3.9.1.8). Messages of ICMP count only when they quote what is in flight, yet they may be
	 * forged. NULL: not of interest; not called any more after c10m_close. */
	void (*on_trouble)(c10m_conn *conn, enum c10m_trouble trouble);

	/* Explicit congestion notification (RFC 3168): one of C10M_ECN_ACCEPT, C10M_ECN_ASK, C10M_ECN_OFF. */
	uint32_t ecn;
	/* TCP Fast Open (RFC 7413): so many connections of a worker may at a time be opened by data in a SYN,
	 * and wait for the rest of their handshake. They are open to the application at once, and it may
	 * answer. A duplicate of such a SYN may open a connection again: only for requests that may be
	 * repeated. 0: none */
	uint32_t fastopen_pending;
};

/* c10m_service.ecn. Whatever is said, a SYN that asks and is not answered is sent again without. */
#define C10M_ECN_ACCEPT 0u /* when the peer asks; we ask only for an algorithm that needs it (dctcp) */
#define C10M_ECN_ASK    1u /* and ask ourselves, when we connect */
#define C10M_ECN_OFF    2u

/* Runs services until SIGINT, SIGTERM or c10m_stop. Options in argv choose interface, address and limits
 * (--help lists them); argv stays as it is. Anything else is refused, but for a program's own arguments
 * behind "--". Prints one line "name: listening on ADDRESS:PORT" on standard output for each listening
 * service when it is ready.
 * Returns the exit code for main: 0 stopped in order, 1 the machine refused (a sentence
 * on standard error says what to do), 2 wrong usage. */
#define c10m_main(argc, argv, services, count) \
	c10m_main_sized((argc), (argv), (services), (count), sizeof(struct c10m_service))
C10M_API int c10m_main_sized(int argc, char **argv, const struct c10m_service *services, size_t count,
			     size_t service_size);

/* Stops all workers, as SIGINT and SIGTERM do: listeners close and on_stop is called. With --drain-ms N what
 * is open may go on for so long, or until no worker has a connection left; without it, after that time, or
 * when stopped a second time, connections are reset with C10M_CLOSE_STOPPED. Any thread, any signal handler.
 */
C10M_API void c10m_stop(void);

/* The application's state inside the connection's block: state_size bytes, 64-byte aligned. */
C10M_API void *c10m_conn_state(c10m_conn *conn);
/* The service's `user`. */
C10M_API void *c10m_conn_user(const c10m_conn *conn);
C10M_API c10m_worker *c10m_conn_worker(c10m_conn *conn);
C10M_API c10m_handle c10m_conn_handle(const c10m_conn *conn);

struct c10m_endpoints {
	uint32_t local_address, remote_address;
	uint16_t local_port, remote_port;
};
/* Each connection stands in a place of its worker, numbered from 0; a place is taken again when its
 * connection has ended. To walk over all, or to pick one at random without keeping a list. No connection
 * stands at c10m_conn_places or beyond. c10m_conn_at: NULL when nobody stands there; it may not be open yet.
 * To look at a place costs a cache miss or two: ask for a few ahead by c10m_conn_prefetch. */
C10M_API uint32_t c10m_conn_places(const c10m_worker *worker);
C10M_API c10m_conn *c10m_conn_at(c10m_worker *worker, uint32_t place);
C10M_API void c10m_conn_prefetch(const c10m_worker *worker, uint32_t place);

C10M_API void c10m_conn_endpoints(const c10m_conn *conn, struct c10m_endpoints *endpoints);

/* Which algorithm says how much may be in flight, from now on, by its name (see c10m_service.congestion).
 * -ENOENT when there is none of that name. */
C10M_API int c10m_set_congestion(c10m_conn *conn, const char *name);

/* The connection behind a handle; NULL when it has ended or belongs to another worker. */
C10M_API c10m_conn *c10m_conn_find(c10m_worker *worker, c10m_handle handle);

/* Copies bytes into the send queue and returns how many were accepted: fewer than len when
 * the connection's send_bytes or the worker's memory is used up (on_writable follows), 0 after c10m_close or
 * c10m_shutdown. What was accepted is sent, and sent again until acknowledged. */
C10M_API size_t c10m_send(c10m_conn *conn, const void *data, size_t len);
/* Bytes that c10m_send would accept now, as far as send_bytes says. To ask is not to wait: on_writable comes
 * only after c10m_send, or c10m_conn_send_message, took less than it was given. */
C10M_API size_t c10m_send_room(const c10m_conn *conn);
/* The same for data that the peer is told to be urgent, up to its last byte (RFC 9293 section 3.8.5): for
 * protocols that ask for it; new ones should not (RFC 6093). When no memory is left to note that, it goes as
 * plain data. */
C10M_API size_t c10m_send_urgent(c10m_conn *conn, const void *data, size_t len);
/* How many bytes of what was not consumed yet, and of what will come, lie before the end of urgent data. 0:
 * no urgent data is left, or no memory was to note it. */
C10M_API size_t c10m_urgent_bytes(const c10m_conn *conn);
/* Offers unread data to on_data again, once the current callback has returned. */
C10M_API void c10m_resume(c10m_conn *conn);

/* Half-close: what was accepted is sent, then FIN. Data still arrives. */
C10M_API void c10m_shutdown(c10m_conn *conn);
/* Closes: what was accepted is sent, then FIN. Nothing more is delivered but on_close, and on_timer, which
 * may call c10m_abort where the peer takes too long. When unread data is dropped by it, the peer gets a reset
 * (RFC 9293 section 3.6.1). */
C10M_API void c10m_close(c10m_conn *conn);
/* Resets the connection now and drops all queues. on_close follows when the current callback has returned. */
C10M_API void c10m_abort(c10m_conn *conn);

/* on_timer is called once in `ms` milliseconds (up to 24 days); 0 takes it back. One timer a connection. */
C10M_API void c10m_set_timer(c10m_conn *conn, uint32_t ms);
/* Changes the service's defaults for one connection. */
C10M_API void c10m_set_nodelay(c10m_conn *conn, int on);
C10M_API void c10m_set_dscp(c10m_conn *conn, uint8_t dscp); /* from the next segment on */
C10M_API void c10m_set_keepalive(c10m_conn *conn, uint32_t ms);
C10M_API void c10m_set_user_timeout(c10m_conn *conn, uint32_t ms); /* the peer changes it no more */

/* Addresses of our own beside the worker's, all fit to connect from: those of --source-net. Returns how many,
 * 0 when there are none; they follow each other from *first on. */
C10M_API uint32_t c10m_source_net(const c10m_worker *worker, uint32_t *first);

/* Opens a connection; service is an index into the services of c10m_main. local_address 0 is the worker's;
 * any of c10m_source_net may be given. local_port 0 picks one (RFC 6056) that is free from there to this
 * remote address and port, and for many connections from one address takes longer the fewer are left. One
 * address and port may serve connections to several remote ones. With several workers the answers come to the
 * one that asks: a port that is given must be one of its own. The handle, or 0 with a negative errno in
 * *error (may be NULL): -ENOMEM no block left, -EADDRNOTAVAIL no port left, or the given one is another
 * worker's, -EADDRINUSE, -EINVAL, -ENETUNREACH. on_open or on_close follows. state: copied into the
 * connection's state when not NULL. */
struct c10m_connect_request {
	uint32_t service;
	uint32_t remote_address, local_address;
	uint16_t remote_port, local_port;
	const void *state;
	size_t state_bytes;
	/* What is to be sent first, as by c10m_send in on_open; in the SYN with C10M_FASTOPEN. Copied; as
	 * much as send_bytes at most (else -EINVAL); all of it or nothing (-ENOMEM). */
	const void *data;
	size_t data_bytes;
};
C10M_API c10m_handle c10m_connect(c10m_worker *worker, const struct c10m_connect_request *request,
				  int *error);

/* --- Splices: what arrives on one connection is sent on another, for proxies. ---
 *
 * A splice has one direction; a proxy makes two of them. Data of a frame is copied once, into the queue of
 * the other connection; what had to wait is moved there without a copy. The application sees none of it. When
 * the other's queue is full (its service's send_bytes), data waits unread (receive_bytes) and the window
 * closes; it opens again as the other's peer acknowledges. */

/* From now on what arrives on `from`, and what it keeps unread, is sent on `to` behind what that has queued.
 * When the peer of `from` has closed and all was sent on, `to` is shut down (c10m_shutdown) and the splice is
 * over; on_eof is not called. When either ends otherwise than in order, the other is reset, and its on_close
 * gets C10M_CLOSE_SPLICED. c10m_close on either ends its splices. When `to` can take no more since the
 * application has shut it down, the splice ends, and data goes to on_data again. While it lasts, on_data of
 * `from` and on_writable of `to` are not called (once it may come afterwards, unasked). Both connections are
 * of one worker and of services with C10M_SPLICE; `to` is open, and each may have one splice into it and one
 * out of it. The peer of `from` may have closed before, with on_eof called: then `to` is shut down at once.
 * Until both are open on_data returns 0, so that what comes is kept, and on_eof must be given, since without
 * it c10m closes. 0, or -ENOTCONN: `to` is not open for sending, or `from` was closed by us, -EBUSY: there is
 * such a splice already, -EXDEV: of another worker, -EINVAL: both are the same, or a service has no
 * C10M_SPLICE. */
C10M_API int c10m_splice(c10m_conn *from, c10m_conn *to);
/* Ends the splice out of `from`: what arrives, and what is kept, goes to on_data again. What was sent on is
 * sent. 0, or -ENOENT: there is none. */
C10M_API int c10m_unsplice(c10m_conn *from);

/* --- Messages, groups and fan-outs: the same bytes to many connections of one worker. ---
 *
 * A message is stored once, however many connections it is sent to; what a connection queues is a reference
 * of 128 bytes. It keeps its place among the bytes of c10m_send, and is sent again from the one copy. The
 * memory for messages is sized at start. */

/* A message of one worker: a name that may be kept; a stale one is recognised. 0 is no message. */
typedef uint64_t c10m_message;

#define C10M_MESSAGE_MAX 65504 /* bytes */

/* Copies 1 to C10M_MESSAGE_MAX bytes into a message that the caller holds until c10m_message_release.
 * 0: too long, empty, or the worker's memory for messages is used up. */
C10M_API c10m_message c10m_message_new(c10m_worker *worker, const void *data, size_t len);
/* Gives up the caller's hold. What is queued is sent all the same: the message goes when nobody needs it
 * any longer. To be called once; a stale message does nothing. */
C10M_API void c10m_message_release(c10m_worker *worker, c10m_message message);
/* In how many places of send queues it stands: neither acknowledged nor given up. */
C10M_API uint32_t c10m_message_pending(const c10m_worker *worker, c10m_message message);
/* Puts the whole message behind what the connection has queued: its length, or 0 when send_bytes or memory
 * does not allow it (on_writable follows), the message is stale, or nothing may be sent any more. An empty
 * queue takes a message of any length. */
C10M_API size_t c10m_conn_send_message(c10m_conn *conn, c10m_message message);

/* A set of connections of one worker, such as a chat room. 0 is no group. */
typedef uint64_t c10m_group;

/* 0: no group is left. */
C10M_API c10m_group c10m_group_new(c10m_worker *worker);
/* Nobody can join any more; the group goes when its last member has left. */
C10M_API void c10m_group_release(c10m_worker *worker, c10m_group group);
/* 0, also when it is a member already. -EINVAL: stale group, or the connection has ended; -ENOSPC: it is in
 * c10m_service.groups others. A connection that ends leaves by itself, after on_close. */
C10M_API int c10m_group_join(c10m_conn *conn, c10m_group group);
/* 0, or -ENOENT when it is no member. */
C10M_API int c10m_group_leave(c10m_conn *conn, c10m_group group);
/* Members; 0 for a stale group. */
C10M_API uint32_t c10m_group_count(const c10m_worker *worker, c10m_group group);

/* What becomes of a message for a slow receiver: one whose send queue would hold more than queue_bytes with
 * it, or whose application waits for on_writable (the message would stand in the middle of what it writes).
 */
enum c10m_slow_policy {
	C10M_SLOW_SKIP,     /* it does not get this message */
	C10M_SLOW_COALESCE, /* at most one message of this topic waits for each receiver, slow or not: the new
			     * one takes the place of an older one that was not sent yet. One message may
			     * stand beyond queue_bytes; who has more than that skips it */
	C10M_SLOW_CLOSE,    /* it is reset: on_close with C10M_CLOSE_ABORTED */
};

/* Bits of c10m_fanout_request.flags. */
#define C10M_FANOUT_AWAIT \
	0x1u /* on_done comes when the message is neither queued nor unacknowledged anywhere */

struct c10m_fanout_result {
	c10m_message message; /* valid in on_done, even when the caller has released it */
	uint32_t queued;      /* receivers that got it, or will: coalesced ones are among them */
	uint32_t coalesced;   /* it took the place of an older message of the topic */
	uint32_t skipped; /* slow ones, and those that no memory was left for until patience_ms was over */
	uint32_t closed;  /* slow ones that were reset */
	uint32_t acknowledged; /* whole and so far, by all receivers of the message since this fan-out began;
				* with C10M_FANOUT_AWAIT final: the rest ended, or got a newer one instead */
};

struct c10m_fanout_request {
	c10m_message message;
	c10m_group group; /* to its members; 0: to all connections of `service` */
	uint32_t service; /* index into the services of c10m_main */
	uint32_t flags;
	c10m_handle except; /* this one does not get it; 0: nobody */
	enum c10m_slow_policy slow;
	uint32_t topic;       /* for C10M_SLOW_COALESCE: not 0 */
	uint32_t queue_bytes; /* 0: the service's send_bytes */
	/* Memory for references is bounded, and a quarter of it is left to others: a large fan-out goes on as
	 * acknowledgements come in. When none was free for so long, the rest is skipped. 0: waits. */
	uint32_t patience_ms;
	/* Called for each connection when its turn comes; 0: it does not get the message. May be NULL. */
	int (*filter)(c10m_conn *conn, void *context);
	/* Called once, when all had their turn. It may start the next fan-out. May be NULL. */
	void (*on_done)(c10m_worker *worker, const struct c10m_fanout_result *result, void *context);
	void *context;
};

#define C10M_FANOUTS_MAX 64 /* under way or queued on one worker */

/* Starts to send a message to many connections of this worker, in slices between which all others are served.
 * Fan-outs to the same group, or to the same service, work one after the other: each receiver gets their
 * messages in the order of these calls. Those to others take turns (of whole services, four at a time).
 * Receivers are those that are established and have not closed their direction of sending when their turn
 * comes, and that were members, or had their block, when the fan-out began to work: who joins or opens later
 * gets nothing, who leaves or ends before its turn neither. The fan-out holds the message itself. 0, -EINVAL:
 * stale message or group, no such service, no topic to coalesce by; -EAGAIN: C10M_FANOUTS_MAX are under way
 * or queued. */
C10M_API int c10m_fanout(c10m_worker *worker, const struct c10m_fanout_request *request);

/* Puts other limits in force for a service, from the next segment on: what is established stays. Called on
 * the worker (from another thread by c10m_post), so that no segment is looked at in between: the lists are
 * built beside those in force and take their place when they are whole. NULL: no limits. Nothing is kept of
 * the arguments. Takes in the order of 0.1 ms for a thousand prefixes. 0, or with nothing changed: -EINVAL no
 * such service, or a prefix or number that makes no sense; -ENOSPC more prefixes than there is room for
 * (twice as many as the services had at the start, at least 1024 for each); -EBUSY source_bits was changed
 * just now and existing connections are still being counted anew: try again in a moment. */
C10M_API int c10m_limits_set(c10m_worker *worker, uint32_t service, const struct c10m_limits *limits);
/* What a new connection from this address would meet now. */
enum c10m_limits_answer {
	C10M_LIMITS_WELCOME,
	C10M_LIMITS_DENIED,      /* by the lists */
	C10M_LIMITS_CONNECTIONS, /* the source has as many as it may */
	C10M_LIMITS_RATE,        /* the source has opened as many as it may for now */
};
C10M_API enum c10m_limits_answer c10m_limits_check(const c10m_worker *worker, uint32_t service,
						   uint32_t address);

/* `on_time` is called once in `ms` milliseconds (up to 24 days), on this worker; 0 takes it back. One timer a
 * worker, which a new call replaces; on_time may set it again. */
C10M_API void c10m_worker_timer(c10m_worker *worker, uint32_t ms,
				void (*on_time)(c10m_worker *worker, void *context), void *context);

/* Microseconds on the worker's clock, read once a burst. */
C10M_API uint64_t c10m_now_us(const c10m_worker *worker);

struct c10m_stats {
	uint64_t connections;    /* now */
	uint64_t half_open;      /* now */
	uint64_t time_wait;      /* now */
	uint64_t opened, closed; /* since start */
	uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes;
	uint64_t retransmits;
	uint64_t drops;        /* packets dropped for any reason */
	uint64_t memory_bytes; /* of the worker's arena */
	uint64_t unaccepted;   /* connections reset because no c10m_client had room for them */
};
C10M_API void c10m_worker_stats(const c10m_worker *worker, struct c10m_stats *stats);

/* --- from any thread to a worker -------------------------------------------------------- */

/* Calls function(worker, argument) on a worker, once, soon: there it may do all that a callback may. Any
 * thread, workers included, but no signal handler. What one thread posts to one worker is called in that
 * order. Workers are numbered from 0. 0, or -EAGAIN: too many calls wait, try again later, -ESHUTDOWN: that
 * worker does not run (any longer), -EINVAL. What was posted with success is called even when the
 * worker stops, while its connections are still there. */
C10M_API int c10m_post(uint32_t worker, void (*function)(c10m_worker *worker, void *argument),
		       void *argument);
/* The number of the worker that a connection belongs to. */
C10M_API uint32_t c10m_handle_worker(c10m_handle handle);
C10M_API uint32_t c10m_worker_number(const c10m_worker *worker);
/* The sums over all workers, a hundredth of a second old at most; returns how many workers run. Any thread.
 */
C10M_API uint32_t c10m_total_stats(struct c10m_stats *stats);

/* --- the rest of a program: descriptors of the kernel, calls that block, names ------------------ */

#define C10M_WATCH_READ  0x1u /* there is something to read, or the end of it */
#define C10M_WATCH_WRITE 0x2u /* there is room to write */
#define C10M_WATCH_ERROR 0x4u /* only told, not asked for: it is hung up, or has an error */

typedef void c10m_watch_callback(c10m_worker *worker, int fd, unsigned events, void *argument);

/* Calls back on this worker whenever the descriptor (a socket of the kernel, a pipe, a timerfd...) is ready
 * for one of `events`, READ or WRITE or both; again and again while it is. A quiet descriptor costs nothing:
 * a thread of its own waits for it. Take the watch back before closing the descriptor; one that was closed is
 * forgotten. Watches end with the worker. 0, or -EINVAL, -EBADF, -EPERM: the kernel cannot wait for such a
 * file, -EEXIST: it is watched already, -ENOSPC: 1024 are, or another negative errno when the thread cannot
 * be started. */
C10M_API int c10m_watch_fd(c10m_worker *worker, int fd, unsigned events, c10m_watch_callback *callback,
			   void *argument);
/* No callback comes after it. 0, or -ENOENT: this worker does not watch it. */
C10M_API int c10m_unwatch_fd(c10m_worker *worker, int fd);

/* Calls work(argument) on one of a few helper threads (--helpers), where it may block, and then done(worker,
 * argument), which may be NULL, on this worker. What both share belongs to `work` until it returns. When the
 * worker stops, jobs that have not begun are dropped, and `done` is not called any more; c10m_main returns
 * when the last `work` has. 0, or -EAGAIN: 1024 jobs wait, -EINVAL, or another negative errno when no thread
 * can be started. */
C10M_API int c10m_offload(c10m_worker *worker, void (*work)(void *argument),
			  void (*done)(c10m_worker *worker, void *argument), void *argument);

#define C10M_RESOLVED_MAX 16

struct c10m_resolved {
	int error; /* 0, -ENOENT: no such name or service, -EAGAIN: the name server did not answer, -EIO: it
		    * refused, or another negative errno */
	uint32_t count;
	uint32_t addresses[C10M_RESOLVED_MAX]; /* IPv4, the best first (RFC 6724) */
	uint16_t port;                         /* of the service; 0: none was asked for */
};

typedef void c10m_resolve_callback(c10m_worker *worker, const struct c10m_resolved *resolved, void *argument);

/* Asks, as the rest of the system does (/etc/hosts, DNS), for the addresses of a name, and for the port of a
 * service ("http", "80", or NULL), on a helper thread. Calls back on this worker, unless it stops before.
 * Names are copied. 0, or -EAGAIN: too much is asked for already, -EINVAL, or as c10m_offload. */
C10M_API int c10m_resolve(c10m_worker *worker, const char *name, const char *service,
			  c10m_resolve_callback *callback, void *argument);

/* --- connections of ordinary threads ---------------------------------------------------------------
 *
 * A thread that is no worker opens a client; a worker then holds connections for it: those that the thread
 * opens, and, when the service has a port, those that peers open to it. So the stack runs on one core and the
 * application on another (a pipeline), chosen for each service; what it costs is in docs/pipeline.md. The
 * calls block until timeout_ms is over (0: not at all, -1: for ever). A client is its thread's alone. What a
 * thread leaves open when it ends or closes its client is reset. Memory is bounded, and taken when a stream
 * first uses it: for each of the streams, both kinds together, receive_bytes + send_bytes, and less than 192
 * bytes. */

typedef struct c10m_client c10m_client;

/* A connection of a client; a stale one is recognised. 0 is none. */
typedef uint64_t c10m_stream;

#define C10M_CLIENT_STREAMS     64        /* when the options do not say how many; */
#define C10M_CLIENT_STREAMS_MAX (1 << 20) /* they may say so many. A process may have 256 clients */

/* Describes a service for clients: one of those given to c10m_main. Its port, its limits and deadlines,
 * receive and send limits, keepalive and time-outs may be set in it, and on_start; the other callbacks, flags
 * and state are c10m's. Connections to its port go to the clients of the same worker that accept for this
 * service, one after the other. When none has room they are reset, and counted as c10m_stats.unaccepted: so
 * until the first client is open, too, and where a worker has none (with several workers each needs one). */
C10M_API void c10m_client_service(struct c10m_service *service, const char *name);

/* Bits of c10m_client_options.flags. */
/* A worker that sleeps is not woken by each call: it hears of all by c10m_client_poll, c10m_client_wait,
 * c10m_client_flush, or a call that waits. For loops: one wake for a burst. */
#define C10M_CLIENT_BATCH 0x1u

/* Zero is a useful default for each. */
struct c10m_client_options {
	uint32_t streams;       /* opened by c10m_client_connect, at a time; 0: C10M_CLIENT_STREAMS */
	uint32_t accepts;       /* opened by peers, at a time; 0: none, the client does not accept */
	uint32_t backlog;       /* of these, not taken by c10m_client_accept yet; 0: all may be */
	uint32_t receive_bytes; /* kept for a stream between worker and thread: a power of two, 256 ... */
	uint32_t send_bytes;    /* ... to 1 MB; 0: 16384. The service's own limits count besides */
	uint32_t spin_us; /* that a call looks before it sleeps; 0: 20. More where the core is its own */
	uint32_t flags;
	uint32_t reserved; /* zero */
};

/* NULL and a negative errno: -EINVAL no such worker, or options that make no sense, -ESHUTDOWN it does not
 * run, -EAGAIN 256 clients are open or its mailbox is full, -ENOMEM, -EMFILE. service: index of one that
 * c10m_client_service has described. */
C10M_API c10m_client *c10m_client_open(uint32_t worker, uint32_t service, int *error);
C10M_API c10m_client *c10m_client_open_with(uint32_t worker, uint32_t service,
					    const struct c10m_client_options *options, int *error);
/* Resets what is open, waits to be accepted, or was ended while the connection could not take all its bytes,
 * and frees the client. */
C10M_API void c10m_client_close(c10m_client *client);

/* 0 and a negative errno: -ETIMEDOUT, -ECONNREFUSED, -EHOSTUNREACH..., as c10m_connect, -EAGAIN: all streams
 * are in use, or on their way out, -ESHUTDOWN: the worker has stopped. With timeout_ms 0 the stream is given
 * at once and connects meanwhile: C10M_STREAM_WRITABLE or C10M_STREAM_ENDED follows. */
C10M_API c10m_stream c10m_client_connect(c10m_client *client, uint32_t address, uint16_t port, int timeout_ms,
					 int *error);
/* The next connection that a peer has opened. It may hold bytes already, of which no event tells: receive. 0
 * and a negative errno: -EAGAIN (timeout_ms 0) or -ETIMEDOUT: nobody waits, -ESHUTDOWN: nobody waits, and the
 * worker does not listen any more: it stops, -EINVAL: the client does not accept. */
C10M_API c10m_stream c10m_client_accept(c10m_client *client, int timeout_ms, int *error);
/* Both ends of a stream. 0, -ESTALE, or -ENOTCONN: it connects still. */
C10M_API int c10m_client_endpoints(c10m_client *client, c10m_stream stream, struct c10m_endpoints *endpoints);
/* Returns how many bytes were taken: all, unless the time is over before. Or -EAGAIN (timeout_ms 0) or
 * -ETIMEDOUT when none were, -EPIPE or why it ended (-ECONNRESET, -ETIMEDOUT...), -ESTALE, -ESHUTDOWN. */
C10M_API int64_t c10m_client_send(c10m_client *client, c10m_stream stream, const void *data, size_t len,
				  int timeout_ms);
/* Waits for at least one byte and returns how many came; 0 when the peer has closed its direction. Errors as
 * c10m_client_send. */
C10M_API int64_t c10m_client_receive(c10m_client *client, c10m_stream stream, void *buffer, size_t len,
				     int timeout_ms);
/* Closes: what was taken is sent, then FIN. 0, or -ESTALE. */
C10M_API int c10m_client_end(c10m_client *client, c10m_stream stream);

#define C10M_STREAM_READABLE 0x1u /* bytes or the end have come */
#define C10M_STREAM_WRITABLE \
	0x2u /* it is open; or there is room after c10m_client_send took less than given */
#define C10M_STREAM_ENDED      0x4u
#define C10M_STREAM_EOF        0x8u  /* the peer has closed its direction: receive until 0 */
#define C10M_STREAM_ACCEPTABLE 0x10u /* of the client, stream 0: c10m_client_accept has an answer */

struct c10m_stream_event {
	c10m_stream stream;
	unsigned events;
};

/* For a loop of the thread's own: the descriptor becomes readable when there are events. */
C10M_API int c10m_client_fd(const c10m_client *client);
/* Takes up to `max` events, without waiting, and returns how many. Each tells of a change once: receive until
 * less comes than was asked for (with C10M_STREAM_EOF or C10M_STREAM_ENDED, until 0 or an error).
 * C10M_STREAM_ACCEPTABLE comes as long as connections wait. The descriptor rings for what comes after it. */
C10M_API int c10m_client_poll(c10m_client *client, struct c10m_stream_event *events, int max);
/* Waits for events instead of a descriptor, and makes no system call while it looks (spin_us): the way to
 * take them for a thread that has nothing else to wait for. How many, 0: the time is over, -ESHUTDOWN: the
 * worker has ended, and nothing is left to tell. */
C10M_API int c10m_client_wait(c10m_client *client, struct c10m_stream_event *events, int max, int timeout_ms);
/* With C10M_CLIENT_BATCH: the worker hears of what was asked so far. */
C10M_API void c10m_client_flush(c10m_client *client);

/* "0.1.0" */
C10M_API const char *c10m_version(void);

#ifdef __cplusplus
}
#endif

#endif
