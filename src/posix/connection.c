/* connection.c - how connections begin and end: bind, listen, accept, connect, shutdown, close.
 * In: calls; the callbacks of the stack. Out: commands to the stack; what changed, noted at the socket.
 * Owns: which service is whose; the queues of listening sockets. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "posix/internal.h"

/* The state of a connection. */
struct owner_of_conn {
	uint32_t socket_plus_one; /* 0: nobody */
};

static struct sockets *sockets_of(const c10m_conn *conn)
{
	return c10m_conn_user(conn);
}

static struct bsd_socket *owner_of_conn(c10m_conn *conn)
{
	const struct owner_of_conn *owner = c10m_conn_state(conn);

	return owner->socket_plus_one ? &sockets_of(conn)->sockets[owner->socket_plus_one - 1] : NULL;
}

static uint32_t plus_one(const struct sockets *sockets, const struct bsd_socket *socket)
{
	return (uint32_t)(socket - sockets->sockets) + 1;
}

static void disown(struct sockets *sockets, struct bsd_socket *socket)
{
	c10m_conn *conn = c10m_conn_find(sockets->worker, socket->conn);

	if (conn)
		((struct owner_of_conn *)c10m_conn_state(conn))->socket_plus_one = 0;
	socket->conn = 0;
}

/* --- callbacks ---------------------------------------------------------------------------------- */

static struct bsd_socket *listener_of(struct sockets *sockets, uint32_t service)
{
	for (unsigned i = 0; i < SOCKETS_MAX; i++) {
		struct bsd_socket *socket = &sockets->sockets[i];

		if (socket->kind == SOCKET_STREAM && socket->state == SOCKET_LISTENING &&
		    socket->service == service)
			return socket;
	}
	return NULL;
}

/* What a listening socket was told holds for whom it accepts. */
static void inherit(struct bsd_socket *socket, const struct bsd_socket *listener)
{
	socket->state = SOCKET_OPEN;
	socket->was_open = true;
	socket->accepted = true;
	socket->service = listener->service;
	socket->nodelay = listener->nodelay;
	socket->keepalive = listener->keepalive;
	socket->keep_idle_ms = listener->keep_idle_ms;
	socket->user_timeout_ms = listener->user_timeout_ms;
	socket->linger = listener->linger;
	socket->receive_bytes = listener->receive_bytes;
	socket->send_bytes = listener->send_bytes;
	memcpy(socket->congestion, listener->congestion, sizeof(socket->congestion));
}

static void arrived(struct sockets *sockets, c10m_conn *conn)
{
	struct bsd_socket *listener = listener_of(sockets, ((struct tcb *)conn)->service), *socket;

	socket = listener && listener->queued < listener->backlog ? socket_take(sockets) : NULL;
	if (!socket) {
		c10m_abort(conn);
		return;
	}
	inherit(socket, listener);
	socket->conn = c10m_conn_handle(conn);
	c10m_conn_endpoints(conn, &socket->ends);
	((struct owner_of_conn *)c10m_conn_state(conn))->socket_plus_one = plus_one(sockets, socket);
	listener->queue[listener->queued++] = (uint16_t)(socket - sockets->sockets);
	options_apply(sockets, socket);
	socket_changed(sockets, listener);
}

static void on_open(c10m_conn *conn)
{
	struct bsd_socket *socket = owner_of_conn(conn);

	if (!socket) {
		arrived(sockets_of(conn), conn);
		return;
	}
	socket->state = SOCKET_OPEN;
	socket->was_open = true;
	c10m_conn_endpoints(conn, &socket->ends);
	options_apply(sockets_of(conn), socket);
	socket_changed(sockets_of(conn), socket);
}

/* Bytes stay with the stack, which tells its window by them, until a call wants them. */
static size_t on_data(c10m_conn *conn, const void *data, size_t len)
{
	struct bsd_socket *socket = owner_of_conn(conn);

	if (!socket)
		return 0;
	socket_changed(sockets_of(conn), socket);
	return socket->no_read ? len : stream_offered(socket, data, len);
}

static void on_change(c10m_conn *conn)
{
	struct bsd_socket *socket = owner_of_conn(conn);

	if (socket)
		socket_changed(sockets_of(conn), socket);
}

static int error_of(enum c10m_close_reason reason)
{
	static const int errors[] = {
		[C10M_CLOSE_NORMAL] = 0,
		[C10M_CLOSE_RESET] = ECONNRESET,
		[C10M_CLOSE_REFUSED] = ECONNREFUSED,
		[C10M_CLOSE_TIMEOUT] = ETIMEDOUT,
		[C10M_CLOSE_KEEPALIVE] = ETIMEDOUT,
		[C10M_CLOSE_UNREACHABLE] = EHOSTUNREACH,
		[C10M_CLOSE_ABORTED] = ECONNABORTED,
		[C10M_CLOSE_STOPPED] = ENETDOWN,
		[C10M_CLOSE_DEADLINE] = ETIMEDOUT,
	};

	return (size_t)reason < ARRAY_COUNT(errors) ? errors[reason] : EIO;
}

static void on_close(c10m_conn *conn, enum c10m_close_reason reason)
{
	struct bsd_socket *socket = owner_of_conn(conn);
	const struct tcb *tcb = (const struct tcb *)conn;

	if (!socket)
		return;
	socket->error = error_of(reason);
	/* As Linux has it: who was told of the end already has broken a pipe. */
	if (reason == C10M_CLOSE_RESET && tcb->pending & TCB_FIN_TAKEN)
		socket->error = EPIPE;
	socket->state = SOCKET_ENDED;
	socket->conn = 0;
	socket_changed(sockets_of(conn), socket);
}

void connection_services(struct sockets *sockets)
{
	for (unsigned i = 0; i < SOCKETS_SERVICES; i++)
		sockets->services[i] = (struct c10m_service){
			.name = "socket",
			.state_size = sizeof(struct owner_of_conn),
			.on_open = on_open,
			.on_data = on_data,
			.on_writable = on_change,
			.on_eof = on_change,
			.on_close = on_close,
			.receive_bytes = sockets->config.receive_bytes,
			.send_bytes = sockets->config.send_bytes,
			.congestion = sockets->config.congestion,
			.user = sockets,
		};
}

/* --- services ------------------------------------------------------------------------------------- */

static bool service_taken(const struct sockets *sockets, uint32_t service)
{
	for (unsigned i = 0; i < SOCKETS_MAX; i++) {
		const struct bsd_socket *socket = &sockets->sockets[i];

		if (socket->kind == SOCKET_STREAM && socket->owns_service && socket->service == service)
			return true;
	}
	return false;
}

/* A service of its own for this socket, on this port (0: it does not listen). */
static int service_take(struct sockets *sockets, struct bsd_socket *socket, uint16_t port)
{
	const struct sockets_config *config = &sockets->config;
	uint32_t service = SERVICE_SHARED + 1;
	int error;

	while (service < SOCKETS_SERVICES && service_taken(sockets, service))
		service++;
	if (service == SOCKETS_SERVICES)
		return -ENOBUFS;
	sockets->services[service].port = port;
	sockets->services[service].receive_bytes = socket->receive_bytes ? socket->receive_bytes
									 : config->receive_bytes;
	sockets->services[service].send_bytes = socket->send_bytes ? socket->send_bytes : config->send_bytes;
	error = stack_reread_service(sockets->stack, service);
	if (error) {
		sockets->services[service].port = 0;
		return error == -EINVAL && port ? -EADDRINUSE : error;
	}
	socket->service = service;
	socket->owns_service = true;
	return 0;
}

/* Its connections keep the limits for as long as nobody else takes it. */
static void service_give(struct sockets *sockets, struct bsd_socket *socket)
{
	if (!socket->owns_service)
		return;
	if (sockets->services[socket->service].port) {
		const struct stack_message message = {.kind = STACK_UNLISTEN, .value = socket->service};

		stack_control(sockets->stack, sockets->now_us, &message);
		sockets->services[socket->service].port = 0;
	}
	socket->owns_service = false;
}

/* --- calls ---------------------------------------------------------------------------------------- */

static int read_address(const struct socket_call *call, struct sockaddr_in *address)
{
	if (!call->address || !call->address_bytes || *call->address_bytes < sizeof(*address))
		return -EINVAL;
	memcpy(address, call->address, sizeof(*address));
	return address->sin_family == AF_INET ? 0 : -EAFNOSUPPORT;
}

static void write_address(const struct socket_call *call, uint32_t ip, uint16_t port)
{
	const struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(ip),
	};

	if (!call->address || !call->address_bytes)
		return;
	memcpy(call->address, &address, MIN_OF((size_t)*call->address_bytes, sizeof(address)));
	*call->address_bytes = sizeof(address);
}

int64_t call_bind(struct sockets *sockets, struct bsd_socket *socket, const struct socket_call *call)
{
	struct sockaddr_in address;
	int error = read_address(call, &address);

	(void)sockets;
	if (error)
		return error;
	if (socket->state != SOCKET_NEW || socket->ends.local_port)
		return -EINVAL;
	socket->ends.local_address = ntohl(address.sin_addr.s_addr);
	socket->ends.local_port = ntohs(address.sin_port);
	return 0;
}

int64_t call_listen(struct sockets *sockets, struct bsd_socket *socket, const struct socket_call *call)
{
	int error;

	if (socket->state != SOCKET_NEW && socket->state != SOCKET_LISTENING)
		return -EINVAL;
	if (socket->ends.local_port == 0)
		return -EDESTADDRREQ; /* we choose no port to listen on */
	/* As Linux counts: one more than was asked for. */
	socket->backlog = call->value0 < 0 || call->value0 >= BACKLOG_MAX ? BACKLOG_MAX
									  : (uint32_t)call->value0 + 1;
	if (socket->state == SOCKET_LISTENING)
		return 0;
	error = service_take(sockets, socket, socket->ends.local_port);
	if (!error)
		socket->state = SOCKET_LISTENING;
	return error;
}

static uint64_t later_us(const struct sockets *sockets, uint64_t us)
{
	return us ? sockets->now_us + us : UINT64_MAX;
}

int64_t call_accept(struct sockets *sockets, struct bsd_socket *socket, const struct socket_call *call)
{
	struct bsd_socket *accepted;
	int number;

	if (socket->state != SOCKET_LISTENING)
		return -EINVAL;
	if (socket->queued == 0)
		return socket->nonblocking ? -EAGAIN : SOCKET_WAITS;
	accepted = &sockets->sockets[socket->queue[0]];
	number = socket_number(sockets, accepted);
	if (number < 0)
		return number;
	memmove(socket->queue, socket->queue + 1, --socket->queued * sizeof(socket->queue[0]));
	accepted->nonblocking = call->flags & SOCK_NONBLOCK;
	write_address(call, accepted->ends.remote_address, accepted->ends.remote_port);
	return number;
}

static int64_t connect_begin(struct sockets *sockets, struct bsd_socket *socket,
			     const struct socket_call *call)
{
	const struct owner_of_conn owner = {plus_one(sockets, socket)};
	struct c10m_connect_request request = {.state = &owner, .state_bytes = sizeof(owner)};
	struct sockaddr_in address;
	int error = read_address(call, &address);

	if (error)
		return error;
	if ((socket->receive_bytes || socket->send_bytes) && !socket->owns_service)
		error = service_take(sockets, socket, 0);
	if (error)
		return error;
	request.service = socket->service;
	request.remote_address = ntohl(address.sin_addr.s_addr);
	request.remote_port = ntohs(address.sin_port);
	request.local_address = socket->ends.local_address;
	request.local_port = socket->ends.local_port;
	socket->state = SOCKET_CONNECTING;
	socket->conn = c10m_connect(sockets->worker, &request, &error);
	if (!socket->conn && socket->state == SOCKET_CONNECTING)
		socket->state = SOCKET_NEW;
	options_apply(sockets, socket);
	return error;
}

static int64_t connect_goes_on(struct bsd_socket *socket)
{
	int error;

	switch (socket->state) {
	case SOCKET_CONNECTING:
		return SOCKET_WAITS;
	case SOCKET_OPEN:
		return 0;
	default:
		error = socket_take_error(socket);
		socket->state = SOCKET_NEW; /* it may try again */
		return error ? -error : -ECONNABORTED;
	}
}

int64_t call_connect(struct sockets *sockets, struct bsd_socket *socket, struct socket_call *call)
{
	int64_t result;

	if (call->begun) {
		result = connect_goes_on(socket);
		return result == SOCKET_WAITS && sockets->now_us >= call->deadline_us ? -EINPROGRESS : result;
	}
	if (socket->state == SOCKET_OPEN && !socket->connect_told && !socket->accepted) {
		socket->connect_told = true;
		return 0;
	}
	if (socket->state == SOCKET_OPEN || socket->state == SOCKET_LISTENING || socket->was_open)
		return -EISCONN;
	if (socket->state == SOCKET_ENDED)
		return connect_goes_on(socket);
	if (socket->state == SOCKET_CONNECTING)
		return -EALREADY;
	result = connect_begin(sockets, socket, call);
	if (result)
		return result;
	if (socket->nonblocking)
		return -EINPROGRESS;
	socket->connect_told = true;
	call->deadline_us = later_us(sockets, socket->send_us);
	return connect_goes_on(socket);
}

int64_t call_shutdown(struct sockets *sockets, struct bsd_socket *socket, const struct socket_call *call)
{
	struct tcb *tcb = socket_tcb(sockets, socket);

	if (call->value0 < SHUT_RD || call->value0 > SHUT_RDWR)
		return -EINVAL;
	if (socket->state != SOCKET_OPEN || !tcb)
		return -ENOTCONN;
	if (call->value0 != SHUT_RD) {
		socket->no_write = true;
		c10m_shutdown((c10m_conn *)tcb);
	}
	if (call->value0 != SHUT_WR)
		socket->no_read = true;
	socket_changed(sockets, socket);
	return 0;
}

static void close_listener(struct sockets *sockets, struct bsd_socket *listener)
{
	for (uint32_t i = 0; i < listener->queued; i++) {
		struct bsd_socket *socket = &sockets->sockets[listener->queue[i]];
		struct tcb *tcb = socket_tcb(sockets, socket);

		disown(sockets, socket);
		if (tcb)
			c10m_abort((c10m_conn *)tcb);
		socket_release(sockets, socket);
	}
}

/* Whether all that was sent has been acknowledged, FIN included. */
static bool all_arrived(struct sockets *sockets, const struct bsd_socket *socket)
{
	const struct tcb *tcb = socket_tcb(sockets, socket);

	return !tcb || tcb->state == TCP_FIN_WAIT_2 || tcb->state == TCP_TIME_WAIT ||
	       tcb->state == TCP_CLOSED;
}

static void close_conn(struct sockets *sockets, struct bsd_socket *socket)
{
	c10m_conn *conn = (c10m_conn *)socket_tcb(sockets, socket);

	if (conn && socket->linger.l_onoff && socket->linger.l_linger == 0)
		c10m_abort(conn);
	else if (conn)
		c10m_close(conn);
}

void connection_forget(struct sockets *sockets, struct bsd_socket *socket)
{
	epoll_forget(sockets, socket->number);
	socket->number = NUMBER_NONE; /* somebody else's by now */
	if (socket->state == SOCKET_LISTENING)
		close_listener(sockets, socket);
	close_conn(sockets, socket);
	disown(sockets, socket);
	service_give(sockets, socket);
	socket_release(sockets, socket);
}

int64_t call_close(struct sockets *sockets, struct bsd_socket *socket, struct socket_call *call)
{
	bool lingers = socket->linger.l_onoff && socket->linger.l_linger > 0 && socket->conn != 0;

	if (!call->begun) {
		if (socket->state == SOCKET_LISTENING)
			close_listener(sockets, socket);
		close_conn(sockets, socket);
		call->deadline_us = later_us(sockets, (uint64_t)socket->linger.l_linger * 1000000);
	}
	if (lingers && !all_arrived(sockets, socket) && sockets->now_us < call->deadline_us)
		return SOCKET_WAITS;
	disown(sockets, socket);
	service_give(sockets, socket);
	socket_release(sockets, socket);
	return 0;
}

int64_t call_name(struct sockets *sockets, struct bsd_socket *socket, const struct socket_call *call)
{
	(void)sockets;
	if (call->value0 && socket->state != SOCKET_OPEN)
		return -ENOTCONN;
	if (call->value0)
		write_address(call, socket->ends.remote_address, socket->ends.remote_port);
	else
		write_address(call, socket->ends.local_address, socket->ends.local_port);
	return 0;
}
