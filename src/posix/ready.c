/* ready.c - poll and epoll: which sockets are ready for what.
 * In: calls. Out: events, as Linux has them. Owns: what each epoll instance watches. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

#include "posix/internal.h"

static bool has_room(struct sockets *sockets, const struct bsd_socket *socket, struct tcb *tcb)
{
	const struct core *core = (const struct core *)sockets->worker;
	uint32_t limit = core->services[tcb->service].send_bytes;

	if (socket->no_write)
		return true; /* a send does not wait: it fails */
	return c10m_send_room((c10m_conn *)tcb) > limit / 3;
}

static unsigned open_events(struct sockets *sockets, const struct bsd_socket *socket)
{
	struct tcb *tcb = socket_tcb(sockets, socket);
	unsigned events = 0;
	bool end;

	if (!tcb)
		return 0;
	end = tcb->pending & TCB_FIN_TAKEN;
	if (tcb->rcv_bytes || end || socket->no_read)
		events |= POLLIN | POLLRDNORM;
	if (end || socket->no_read)
		events |= POLLRDHUP;
	if ((end || socket->no_read) && socket->no_write)
		events |= POLLHUP;
	if (has_room(sockets, socket, tcb))
		events |= POLLOUT | POLLWRNORM;
	return events;
}

static unsigned events_of(struct sockets *sockets, const struct bsd_socket *socket)
{
	unsigned error = socket->error ? POLLERR : 0;

	switch (socket->kind == SOCKET_EPOLL ? SOCKET_CONNECTING : socket->state) {
	case SOCKET_NEW:
		return POLLHUP | POLLOUT | POLLWRNORM | error;
	case SOCKET_LISTENING:
		return socket->queued ? POLLIN | POLLRDNORM : 0;
	case SOCKET_CONNECTING:
		return error;
	case SOCKET_OPEN:
		return open_events(sockets, socket) | error;
	case SOCKET_ENDED:
		break;
	}
	return POLLIN | POLLRDNORM | POLLRDHUP | POLLOUT | POLLWRNORM | POLLHUP | error;
}

static int look(struct sockets *sockets, struct socket_call *call)
{
	int ready = 0;

	for (int i = 0; i < call->count; i++) {
		struct pollfd *poll = &call->polls[i];
		const struct bsd_socket *socket = socket_of(sockets, poll->fd);
		unsigned wanted = (unsigned short)poll->events | POLLERR | POLLHUP;

		poll->revents = 0;
		if (poll->fd >= 0)
			poll->revents = (short)(socket ? events_of(sockets, socket) & wanted : POLLNVAL);
		ready += poll->revents != 0;
	}
	return ready;
}

static int64_t until(const struct sockets *sockets, struct socket_call *call, int ready)
{
	if (!call->begun && call->timeout_ms >= 0)
		call->deadline_us = sockets->now_us + (uint64_t)call->timeout_ms * 1000;
	return ready || sockets->now_us >= call->deadline_us ? ready : SOCKET_WAITS;
}

int64_t call_poll(struct sockets *sockets, struct socket_call *call)
{
	return until(sockets, call, look(sockets, call));
}

/* --- epoll ---------------------------------------------------------------------------------------- */

int64_t call_epoll_create(struct sockets *sockets)
{
	struct bsd_socket *epoll = socket_take(sockets);
	int number;

	if (!epoll)
		return -ENFILE;
	epoll->kind = SOCKET_EPOLL;
	epoll->watches = calloc(EPOLL_WATCHES, sizeof(*epoll->watches));
	number = epoll->watches ? socket_number(sockets, epoll) : -ENOMEM;
	if (number < 0) {
		socket_release(sockets, epoll);
		return number;
	}
	for (unsigned i = 0; i < EPOLL_WATCHES; i++)
		epoll->watches[i].number = NUMBER_NONE;
	return number;
}

static struct watch *watch_of(const struct bsd_socket *epoll, int number)
{
	for (unsigned i = 0; i < EPOLL_WATCHES; i++)
		if (epoll->watches[i].number == number)
			return &epoll->watches[i];
	return NULL;
}

static int64_t watch_set(struct sockets *sockets, struct watch *watch, const struct socket_call *call)
{
	if (!call->events)
		return -EFAULT;
	*watch = (struct watch){.number = call->value1,
				.events = call->events->events,
				.data = call->events->data,
				.seen = sockets->numbers[call->value1]->changes - 1};
	sockets->changed = true;
	return 0;
}

int64_t call_epoll_control(struct sockets *sockets, struct bsd_socket *epoll, const struct socket_call *call)
{
	struct bsd_socket *socket = socket_of(sockets, call->value1);
	struct watch *watch, *room = watch_of(epoll, NUMBER_NONE);

	if (!socket)
		return -EBADF;
	if (socket->kind != SOCKET_STREAM)
		return -EINVAL;
	watch = watch_of(epoll, call->value1);
	switch (call->value0) {
	case EPOLL_CTL_ADD:
		if (watch || !room)
			return watch ? -EEXIST : -ENOSPC;
		return watch_set(sockets, room, call);
	case EPOLL_CTL_MOD:
		return watch ? watch_set(sockets, watch, call) : -ENOENT;
	case EPOLL_CTL_DEL:
		if (watch)
			watch->number = NUMBER_NONE;
		return watch ? 0 : -ENOENT;
	default:
		return -EINVAL;
	}
}

void epoll_forget(struct sockets *sockets, int number)
{
	for (unsigned i = 0; i < SOCKETS_MAX; i++) {
		struct watch *watch = NULL;

		if (sockets->sockets[i].kind == SOCKET_EPOLL && sockets->sockets[i].watches)
			watch = watch_of(&sockets->sockets[i], number);
		if (watch)
			watch->number = NUMBER_NONE;
	}
}

/* poll's bits are epoll's, too. */
static uint32_t due(struct sockets *sockets, struct watch *watch)
{
	const struct bsd_socket *socket = sockets->numbers[watch->number];
	uint32_t events;

	if (!socket || watch->told || (watch->events & EPOLLET && watch->seen == socket->changes))
		return 0;
	events = events_of(sockets, socket) & (watch->events | EPOLLERR | EPOLLHUP);
	if (events) {
		watch->seen = socket->changes;
		watch->told = watch->events & EPOLLONESHOT;
	}
	return events;
}

int64_t call_epoll_wait(struct sockets *sockets, struct bsd_socket *epoll, struct socket_call *call)
{
	int ready = 0;

	if (call->count <= 0)
		return -EINVAL;
	for (unsigned i = 0; i < EPOLL_WATCHES && ready < call->count; i++) {
		struct watch *watch = &epoll->watches[i];
		uint32_t events = watch->number == NUMBER_NONE ? 0 : due(sockets, watch);

		if (events)
			call->events[ready++] = (struct epoll_event){.events = events, .data = watch->data};
	}
	return until(sockets, call, ready);
}
