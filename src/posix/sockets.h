/* sockets.h - BSD sockets on top of one stack: descriptors, and calls that may have to wait.
 *
 * A call is a record. sockets_call does it, or lets it wait: then call->finish tells of its end, from inside
 * sockets_run. So it is the same whether the caller is a thread that sleeps meanwhile or a test on a fake
 * clock. All functions here belong to the worker's thread, and run outside of callbacks.
 *
 * Numbers are IPv4 TCP sockets and epoll instances. What is different from Linux: a reset that arrives drops
 * what was not read yet; at most STACK_SERVICES - 1 sockets listen, or connect with buffers of their own, at
 * a time. */
#ifndef C10M_POSIX_SOCKETS_H
#define C10M_POSIX_SOCKETS_H

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "stack/stack.h"

#define SOCKETS_NUMBERS_MAX 1024 /* descriptors are less than this */

struct sockets;

enum socket_call_kind {
	CALL_SOCKET,   /* flags: domain, type and protocol in value0 to value2 */
	CALL_BIND,     /* address */
	CALL_LISTEN,   /* value0: backlog */
	CALL_ACCEPT,   /* address to fill, flags: SOCK_NONBLOCK */
	CALL_CONNECT,  /* address */
	CALL_RECEIVE,  /* iov, flags */
	CALL_SEND,     /* iov, flags */
	CALL_SHUTDOWN, /* value0: how */
	CALL_CLOSE,
	CALL_GET_OPTION, /* value0: level, value1: option, value, value_bytes */
	CALL_SET_OPTION,
	CALL_FCNTL, /* value0: command, value1: argument */
	CALL_IOCTL, /* value0: request, value: an int */
	CALL_NAME,  /* address to fill; value0: 1 for the peer's */
	CALL_POLL,  /* polls, count, timeout_ms */
	CALL_EPOLL_CREATE,
	CALL_EPOLL_CONTROL, /* value0: operation, value1: number, events */
	CALL_EPOLL_WAIT,    /* events, count, timeout_ms */
};

struct socket_call {
	enum socket_call_kind kind;
	int number; /* the descriptor */
	int flags;
	int value0, value1, value2;
	void *address; /* struct sockaddr; may be NULL where it is to be filled */
	socklen_t *address_bytes;
	const struct iovec *iov;
	int iov_count;
	void *value;
	socklen_t *value_bytes;
	struct pollfd *polls;
	struct epoll_event *events;
	int count, timeout_ms;
	/* Called when a call that had to wait is done; it may free the call. */
	void (*finish)(struct socket_call *call);
	void *context;
	int64_t result; /* or a negative errno */
	/* While it waits. */
	struct socket_call *next;
	uint64_t deadline_us;
	size_t progress;
	bool begun;
};

struct sockets_config {
	uint32_t receive_bytes, send_bytes; /* of sockets that do not say; 0: 65536 */
	const char *congestion;             /* NULL: the default */
	/* A number for a new descriptor, or a negative errno; and it back. NULL: the least from 3 on. */
	int (*open_number)(void *context);
	void (*close_number)(void *context, int number);
	void *context;
};

/* Sockets, to be filled into a stack's configuration: STACK_SERVICES services at sockets_services(). NULL:
 * no memory. */
struct sockets *sockets_new(const struct sockets_config *config);
const struct c10m_service *sockets_services(const struct sockets *sockets);
/* The stack that was made of it. */
void sockets_attach(struct sockets *sockets, struct stack *stack);
void sockets_free(struct sockets *sockets);

/* True: done, the result is there. False: it waits, and call->finish follows. */
bool sockets_call(struct sockets *sockets, uint64_t now_us, struct socket_call *call);
/* Ends the waiting of those whose turn has come; true when there were any. To be called after every
 * stack_rx and stack_tx. */
bool sockets_run(struct sockets *sockets, uint64_t now_us);
/* When sockets_run must be called at the latest, UINT64_MAX: not at all. */
uint64_t sockets_deadline(const struct sockets *sockets);
/* Every call that waits ends with this error. */
void sockets_end_waiting(struct sockets *sockets, int error);

#endif
