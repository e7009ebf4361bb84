/* sockets.c - the table of descriptors, and calls that wait.
 * In: calls, time. Out: results, at once or when what they wait for has happened.
 * Owns: struct sockets; which descriptor is which socket. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "posix/internal.h"

struct sockets *sockets_new(const struct sockets_config *config)
{
	struct sockets *sockets = calloc(1, sizeof(*sockets));

	if (!sockets)
		return NULL;
	sockets->config = *config;
	sockets->waiting_end = &sockets->waiting;
	connection_services(sockets);
	return sockets;
}

const struct c10m_service *sockets_services(const struct sockets *sockets)
{
	return sockets->services;
}

void sockets_attach(struct sockets *sockets, struct stack *stack)
{
	sockets->stack = stack;
	sockets->worker = stack_worker(stack);
}

void sockets_free(struct sockets *sockets)
{
	for (unsigned i = 0; i < SOCKETS_MAX; i++)
		free(sockets->sockets[i].watches);
	free(sockets);
}

struct bsd_socket *socket_take(struct sockets *sockets)
{
	for (unsigned i = 0; i < SOCKETS_MAX; i++) {
		struct bsd_socket *socket = &sockets->sockets[i];

		if (socket->kind != SOCKET_FREE)
			continue;
		*socket = (struct bsd_socket){.kind = SOCKET_STREAM, .number = NUMBER_NONE};
		return socket;
	}
	return NULL;
}

static void give_number(struct sockets *sockets, struct bsd_socket *socket)
{
	if (socket->number == NUMBER_NONE)
		return;
	epoll_forget(sockets, socket->number);
	sockets->numbers[socket->number] = NULL;
	if (sockets->config.close_number)
		sockets->config.close_number(sockets->config.context, socket->number);
	socket->number = NUMBER_NONE;
}

void socket_release(struct sockets *sockets, struct bsd_socket *socket)
{
	give_number(sockets, socket);
	free(socket->watches);
	*socket = (struct bsd_socket){.kind = SOCKET_FREE, .number = NUMBER_NONE};
	sockets->changed = true;
}

struct bsd_socket *socket_of(struct sockets *sockets, int number)
{
	return number >= 0 && number < SOCKETS_NUMBERS_MAX ? sockets->numbers[number] : NULL;
}

static int least_number(const struct sockets *sockets)
{
	for (int number = 3; number < SOCKETS_NUMBERS_MAX; number++)
		if (!sockets->numbers[number])
			return number;
	return -EMFILE;
}

int socket_number(struct sockets *sockets, struct bsd_socket *socket)
{
	const struct sockets_config *config = &sockets->config;
	int number = config->open_number ? config->open_number(config->context) : least_number(sockets);

	if (number >= SOCKETS_NUMBERS_MAX) {
		config->close_number(config->context, number);
		number = -EMFILE;
	}
	if (number < 0)
		return number;
	if (sockets->numbers[number])
		connection_forget(sockets, sockets->numbers[number]);
	sockets->numbers[number] = socket;
	socket->number = number;
	return number;
}

void socket_changed(struct sockets *sockets, struct bsd_socket *socket)
{
	socket->changes++;
	sockets->changed = true;
}

struct tcb *socket_tcb(struct sockets *sockets, const struct bsd_socket *socket)
{
	return socket->conn ? (struct tcb *)c10m_conn_find(sockets->worker, socket->conn) : NULL;
}

/* --- calls ------------------------------------------------------------------------------------- */

static int64_t call_socket(struct sockets *sockets, const struct socket_call *call)
{
	struct bsd_socket *socket;
	int number;

	if (call->value0 != AF_INET)
		return -EAFNOSUPPORT;
	if ((call->value1 & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != SOCK_STREAM)
		return -ESOCKTNOSUPPORT;
	if (call->value2 != 0 && call->value2 != IP_PROTOCOL_TCP)
		return -EPROTONOSUPPORT;
	socket = socket_take(sockets);
	if (!socket)
		return -ENFILE;
	number = socket_number(sockets, socket);
	if (number < 0)
		socket_release(sockets, socket);
	else
		socket->nonblocking = call->value1 & SOCK_NONBLOCK;
	return number;
}

static int64_t call_fcntl(struct bsd_socket *socket, const struct socket_call *call)
{
	switch (call->value0) {
	case F_GETFL:
		return O_RDWR | (socket->nonblocking ? O_NONBLOCK : 0);
	case F_SETFL:
		socket->nonblocking = call->value1 & O_NONBLOCK;
		return 0;
	case F_GETFD:
	case F_SETFD:
		return 0;
	default:
		return -EINVAL;
	}
}

static int64_t try_stream(struct sockets *sockets, struct bsd_socket *socket, struct socket_call *call)
{
	switch (call->kind) {
	case CALL_BIND:
		return call_bind(sockets, socket, call);
	case CALL_LISTEN:
		return call_listen(sockets, socket, call);
	case CALL_ACCEPT:
		return call_accept(sockets, socket, call);
	case CALL_CONNECT:
		return call_connect(sockets, socket, call);
	case CALL_RECEIVE:
		return call_receive(sockets, socket, call);
	case CALL_SEND:
		return call_send(sockets, socket, call);
	case CALL_SHUTDOWN:
		return call_shutdown(sockets, socket, call);
	case CALL_CLOSE:
		return call_close(sockets, socket, call);
	case CALL_GET_OPTION:
		return call_get_option(sockets, socket, call);
	case CALL_SET_OPTION:
		return call_set_option(sockets, socket, call);
	case CALL_IOCTL:
		return call_ioctl(sockets, socket, call);
	case CALL_NAME:
		return call_name(sockets, socket, call);
	default:
		return -EINVAL;
	}
}

static int64_t try_epoll(struct sockets *sockets, struct bsd_socket *epoll, struct socket_call *call)
{
	switch (call->kind) {
	case CALL_EPOLL_CONTROL:
		return call_epoll_control(sockets, epoll, call);
	case CALL_EPOLL_WAIT:
		return call_epoll_wait(sockets, epoll, call);
	case CALL_CLOSE:
		socket_release(sockets, epoll);
		return 0;
	default:
		return -EINVAL;
	}
}

static int64_t try_call(struct sockets *sockets, struct socket_call *call)
{
	struct bsd_socket *socket;

	if (call->kind == CALL_SOCKET)
		return call_socket(sockets, call);
	if (call->kind == CALL_EPOLL_CREATE)
		return call_epoll_create(sockets);
	if (call->kind == CALL_POLL)
		return call_poll(sockets, call);
	socket = socket_of(sockets, call->number);
	if (!socket)
		return -EBADF;
	if (call->kind == CALL_FCNTL)
		return call_fcntl(socket, call);
	return socket->kind == SOCKET_EPOLL ? try_epoll(sockets, socket, call)
					    : try_stream(sockets, socket, call);
}

static void wait_for(struct sockets *sockets, struct socket_call *call)
{
	call->next = NULL;
	*sockets->waiting_end = call;
	sockets->waiting_end = &call->next;
}

bool sockets_call(struct sockets *sockets, uint64_t now_us, struct socket_call *call)
{
	stack_begin(sockets->stack, now_us);
	sockets->now_us = now_us;
	call->deadline_us = UINT64_MAX;
	call->progress = 0;
	call->begun = false;
	call->result = try_call(sockets, call);
	if (call->result != SOCKET_WAITS)
		return true;
	call->begun = true;
	wait_for(sockets, call);
	return false;
}

/* What one call does may let another go on: each is tried once a round. */
bool sockets_run(struct sockets *sockets, uint64_t now_us)
{
	bool due = sockets_deadline(sockets) <= now_us, any = false;
	struct socket_call *call = sockets->waiting, *next;

	sockets->now_us = now_us;
	if (!call || (!sockets->changed && !due))
		return false;
	stack_begin(sockets->stack, now_us);
	sockets->changed = false;
	sockets->waiting = NULL;
	sockets->waiting_end = &sockets->waiting;
	for (; call; call = next) {
		next = call->next;
		call->result = try_call(sockets, call);
		if (call->result == SOCKET_WAITS) {
			wait_for(sockets, call);
			continue;
		}
		any = true;
		call->finish(call);
	}
	return any;
}

uint64_t sockets_deadline(const struct sockets *sockets)
{
	uint64_t at_us = UINT64_MAX;

	for (const struct socket_call *call = sockets->waiting; call; call = call->next)
		at_us = MIN_OF(at_us, call->deadline_us);
	return sockets->changed && sockets->waiting ? 0 : at_us;
}

void sockets_end_waiting(struct sockets *sockets, int error)
{
	struct socket_call *call = sockets->waiting, *next;

	sockets->waiting = NULL;
	sockets->waiting_end = &sockets->waiting;
	for (; call; call = next) {
		next = call->next;
		call->result = error;
		call->finish(call);
	}
}
