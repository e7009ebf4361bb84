/* internal.h - what the files of posix/ share: the sockets themselves. */
#ifndef C10M_POSIX_INTERNAL_H
#define C10M_POSIX_INTERNAL_H

#include "posix/sockets.h"
#include "tcp/core.h"

#define SOCKETS_MAX      256
#define BACKLOG_MAX      128
#define EPOLL_WATCHES    64
#define SOCKET_WAITS     INT64_MIN /* not a result: the call has to wait */
#define NUMBER_NONE      (-1)
#define SERVICE_SHARED   0 /* of connections with the usual buffers; the others are one socket's */
#define SOCKETS_SERVICES STACK_SERVICES

enum socket_kind { SOCKET_FREE, SOCKET_STREAM, SOCKET_EPOLL };

enum socket_state {
	SOCKET_NEW,
	SOCKET_LISTENING,
	SOCKET_CONNECTING,
	SOCKET_OPEN,
	SOCKET_ENDED, /* its connection is over */
};

struct watch {
	int number; /* NUMBER_NONE: free */
	uint32_t events;
	uint32_t seen; /* changes of the socket that were told of: EPOLLET */
	bool told;     /* EPOLLONESHOT */
	epoll_data_t data;
};

struct bsd_socket {
	enum socket_kind kind;
	enum socket_state state;
	int number; /* NUMBER_NONE: not accepted yet, or closed */
	uint32_t service;
	bool owns_service;
	bool nonblocking, no_read, no_write, nodelay, was_open, accepted, reuse;
	bool connect_told; /* a second connect() has nothing more to say */
	c10m_handle conn;
	struct c10m_endpoints ends;
	int error; /* SO_ERROR, positive */
	uint32_t changes;
	uint32_t receive_bytes, send_bytes; /* 0: the usual */
	struct linger linger;
	uint32_t keep_idle_ms, user_timeout_ms;
	bool keepalive;
	uint64_t receive_us, send_us; /* SO_RCVTIMEO, SO_SNDTIMEO; 0: for ever */
	char congestion[16];
	uint16_t queue[BACKLOG_MAX]; /* listening: who can be accepted, the first first */
	uint32_t queued, backlog;
	/* A receive that is under way, inside on_data. */
	const struct iovec *iov;
	int iov_count;
	size_t wanted, taken;
	struct watch *watches; /* of an epoll instance */
};

struct sockets {
	struct sockets_config config;
	struct c10m_service services[SOCKETS_SERVICES];
	struct stack *stack;
	c10m_worker *worker;
	uint64_t now_us;
	bool changed;
	struct socket_call *waiting, **waiting_end;
	struct bsd_socket *numbers[SOCKETS_NUMBERS_MAX];
	struct bsd_socket sockets[SOCKETS_MAX];
};

/* sockets.c */
struct bsd_socket *socket_take(struct sockets *sockets); /* NULL: none is left */
void socket_release(struct sockets *sockets, struct bsd_socket *socket);
struct bsd_socket *socket_of(struct sockets *sockets, int number); /* NULL: no such descriptor */
/* Gives it a descriptor: the number, or a negative errno. */
int socket_number(struct sockets *sockets, struct bsd_socket *socket);
void socket_changed(struct sockets *sockets, struct bsd_socket *socket);
struct tcb *socket_tcb(struct sockets *sockets, const struct bsd_socket *socket); /* NULL: it has ended */

/* connection.c: how connections begin and end */
void connection_services(struct sockets *sockets);
/* Its descriptor was closed by the C library: as if by close. */
void connection_forget(struct sockets *sockets, struct bsd_socket *socket);
int64_t call_bind(struct sockets *sockets, struct bsd_socket *socket, const struct socket_call *call);
int64_t call_listen(struct sockets *sockets, struct bsd_socket *socket, const struct socket_call *call);
int64_t call_accept(struct sockets *sockets, struct bsd_socket *socket, const struct socket_call *call);
int64_t call_connect(struct sockets *sockets, struct bsd_socket *socket, struct socket_call *call);
int64_t call_shutdown(struct sockets *sockets, struct bsd_socket *socket, const struct socket_call *call);
int64_t call_close(struct sockets *sockets, struct bsd_socket *socket, struct socket_call *call);
int64_t call_name(struct sockets *sockets, struct bsd_socket *socket, const struct socket_call *call);

/* stream.c: bytes */
int64_t call_receive(struct sockets *sockets, struct bsd_socket *socket, struct socket_call *call);
int64_t call_send(struct sockets *sockets, struct bsd_socket *socket, struct socket_call *call);
size_t stream_offered(struct bsd_socket *socket, const void *data, size_t bytes);
/* The error that is to be told once; 0: none. */
int socket_take_error(struct bsd_socket *socket);

/* options.c */
int64_t call_get_option(struct sockets *sockets, struct bsd_socket *socket, const struct socket_call *call);
int64_t call_set_option(struct sockets *sockets, struct bsd_socket *socket, const struct socket_call *call);
int64_t call_ioctl(struct sockets *sockets, struct bsd_socket *socket, const struct socket_call *call);
/* info.c: struct tcp_info, as much of it as fits; returns its bytes. */
uint32_t info_fill(struct sockets *sockets, const struct bsd_socket *socket, void *to, uint32_t room);
/* options.c: what was set before there was a connection. */
void options_apply(struct sockets *sockets, struct bsd_socket *socket);

/* ready.c: poll and epoll */
int64_t call_poll(struct sockets *sockets, struct socket_call *call);
int64_t call_epoll_create(struct sockets *sockets);
int64_t call_epoll_control(struct sockets *sockets, struct bsd_socket *epoll, const struct socket_call *call);
int64_t call_epoll_wait(struct sockets *sockets, struct bsd_socket *epoll, struct socket_call *call);
void epoll_forget(struct sockets *sockets, int number);

#endif
