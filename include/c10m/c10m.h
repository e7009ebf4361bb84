/* c10m.h - servers and clients that hold millions of TCP connections.
 *
 * A program describes services; c10m runs them on cores of their own, over a network
 * interface of their own, with its own TCP/IP (RFC 9293 and relatives) in user
 * space. A service is a set of callbacks. All callbacks of one connection run on
 * the same worker, one after the other: they need no locks, and must not block.
 *
 * Threads: functions that take a `c10m_conn *` or a `c10m_worker *` may be called only on
 * the worker that passed it, inside a callback. Only c10m_stop may be called from
 * anywhere, signal handlers included.
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
};

/* Bits of c10m_service.flags. */
#define C10M_NODELAY 0x1u /* no Nagle: small segments go at once (RFC 9293 section 3.7.4) */

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
	 * consumed, at most len; the rest is kept, and offered again with what follows, when room to send
	 * appears, or on c10m_resume. At least 2032 bytes come in one piece when so many are there and memory
	 * allows: who waits for more keeps it in its own state. NULL: everything is consumed unseen. */
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

	uint32_t receive_bytes; /* unread bytes kept for a connection; 0: 65536 */
	uint32_t send_bytes;    /* bytes accepted and not acknowledged yet; 0: 65536 */
	uint32_t keepalive_ms;  /* silence before the first probe; 0: no keepalive (RFC 9293 section 3.8.4) */
	uint32_t user_timeout_ms; /* data unacknowledged for this long ends the connection; 0: about 100 s or
				   * more, by backoff (RFC 9293 section 3.8.3, RFC 5482) */
	const char *congestion;   /* name of the algorithm; NULL: "newreno" */

	/* Called on each worker when it is ready: the place to call c10m_connect from. */
	void (*on_start)(c10m_worker *worker);
	void *user; /* the application's own; see c10m_conn_user */
};

/* Runs services until SIGINT, SIGTERM or c10m_stop. Options in argv choose interface, address and limits
 * (--help lists them); they are taken out of argv by getopt rules. Prints one line "name: listening on
 * ADDRESS:PORT" on standard output for each listening service when it is ready.
 * Returns the exit code for main: 0 stopped in order, 1 the machine refused (a sentence
 * on standard error says what to do), 2 wrong usage. */
#define c10m_main(argc, argv, services, count) \
	c10m_main_sized((argc), (argv), (services), (count), sizeof(struct c10m_service))
C10M_API int c10m_main_sized(int argc, char **argv, const struct c10m_service *services, size_t count,
			     size_t service_size);

/* Stops all workers: listeners close, connections are reset with C10M_CLOSE_STOPPED. Any thread, any signal
 * handler. */
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
C10M_API void c10m_conn_endpoints(const c10m_conn *conn, struct c10m_endpoints *endpoints);

/* The connection behind a handle; NULL when it has ended or belongs to another worker. */
C10M_API c10m_conn *c10m_conn_find(c10m_worker *worker, c10m_handle handle);

/* Copies bytes into the send queue and returns how many were accepted: fewer than len when
 * the connection's send_bytes or the worker's memory is used up (on_writable follows), 0 after c10m_close or
 * c10m_shutdown. What was accepted is sent, and sent again until acknowledged. */
C10M_API size_t c10m_send(c10m_conn *conn, const void *data, size_t len);
/* Bytes that c10m_send would accept now, as far as send_bytes says. */
C10M_API size_t c10m_send_room(const c10m_conn *conn);
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
C10M_API void c10m_set_keepalive(c10m_conn *conn, uint32_t ms);
C10M_API void c10m_set_user_timeout(c10m_conn *conn, uint32_t ms);

/* Opens a connection; service is an index into the services of c10m_main. local_port 0 picks one
 * (RFC 6056), local_address 0 the worker's. The handle, or 0 with a negative errno in *error (may be NULL):
 * -ENOMEM no block left, -EADDRNOTAVAIL no port left, -EADDRINUSE, -EINVAL, -ENETUNREACH. on_open or on_close
 * follows. state: copied into the connection's state when not NULL. */
struct c10m_connect_request {
	uint32_t service;
	uint32_t remote_address, local_address;
	uint16_t remote_port, local_port;
	const void *state;
	size_t state_bytes;
};
C10M_API c10m_handle c10m_connect(c10m_worker *worker, const struct c10m_connect_request *request,
				  int *error);

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
};
C10M_API void c10m_worker_stats(const c10m_worker *worker, struct c10m_stats *stats);

/* "0.1.0" */
C10M_API const char *c10m_version(void);

#ifdef __cplusplus
}
#endif

#endif
