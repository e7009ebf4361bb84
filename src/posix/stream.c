/* stream.c - bytes of a connection: receive and send.
 * In: calls. Out: bytes copied straight between the stack's queues and the caller's buffers. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "posix/internal.h"

static size_t iov_bytes(const struct iovec *iov, int count)
{
	size_t bytes = 0;

	for (int i = 0; i < count; i++)
		bytes += iov[i].iov_len;
	return bytes;
}

/* The part of the buffers at an offset; 0 bytes: that was all. */
static struct iovec iov_at(const struct iovec *iov, int count, size_t offset)
{
	for (int i = 0; i < count; i++) {
		if (offset < iov[i].iov_len)
			return (struct iovec){(uint8_t *)iov[i].iov_base + offset, iov[i].iov_len - offset};
		offset -= iov[i].iov_len;
	}
	return (struct iovec){NULL, 0};
}

int socket_take_error(struct bsd_socket *socket)
{
	int error = socket->error;

	socket->error = 0;
	return error;
}

static size_t scatter(const struct bsd_socket *socket, size_t offset, const void *data, size_t bytes)
{
	size_t done = 0;

	bytes = MIN_OF(bytes, socket->wanted - offset);
	while (done < bytes) {
		struct iovec part = iov_at(socket->iov, socket->iov_count, offset + done);
		size_t some = MIN_OF(part.iov_len, bytes - done);

		memcpy(part.iov_base, (const uint8_t *)data + done, some);
		done += some;
	}
	return done;
}

size_t stream_offered(struct bsd_socket *socket, const void *data, size_t bytes)
{
	size_t taken = scatter(socket, socket->taken, data, bytes);

	socket->taken += taken;
	return taken;
}

static size_t take(struct bsd_socket *socket, struct tcb *tcb, const struct socket_call *call)
{
	size_t taken;

	socket->iov = call->iov;
	socket->iov_count = call->iov_count;
	socket->wanted = iov_bytes(call->iov, call->iov_count);
	socket->taken = call->progress;
	c10m_resume((c10m_conn *)tcb);
	taken = socket->taken;
	socket->iov = NULL;
	socket->iov_count = 0;
	socket->wanted = socket->taken = 0; /* what comes from now on stays with the stack */
	return taken;
}

/* What lies in front, in one piece. */
static size_t peek(struct sockets *sockets, struct bsd_socket *socket, struct tcb *tcb,
		   const struct socket_call *call)
{
	uint32_t bytes = 0;
	const uint8_t *data = recvq_head((struct core *)sockets->worker, tcb, &bytes);
	size_t taken;

	socket->iov = call->iov;
	socket->iov_count = call->iov_count;
	socket->wanted = iov_bytes(call->iov, call->iov_count);
	taken = data ? scatter(socket, 0, data, bytes) : 0;
	socket->wanted = 0;
	return taken;
}

static int64_t would_block(const struct sockets *sockets, const struct bsd_socket *socket,
			   const struct socket_call *call)
{
	if (socket->nonblocking || call->flags & MSG_DONTWAIT || sockets->now_us >= call->deadline_us)
		return call->progress ? (int64_t)call->progress : -EAGAIN;
	return SOCKET_WAITS;
}

static void begin(const struct sockets *sockets, struct socket_call *call, uint64_t patience_us)
{
	if (!call->begun && patience_us)
		call->deadline_us = sockets->now_us + patience_us;
}

/* Nothing is there: the end, an error, or more is to come. */
static int64_t receive_nothing(struct sockets *sockets, struct bsd_socket *socket, const struct tcb *tcb,
			       const struct socket_call *call)
{
	int error;

	if (call->progress)
		return would_block(sockets, socket, call);
	error = socket_take_error(socket);
	if (error)
		return -error;
	if (socket->no_read || socket->state == SOCKET_ENDED || (tcb && tcb->pending & TCB_FIN_TAKEN))
		return 0;
	if (socket->state != SOCKET_OPEN && socket->state != SOCKET_CONNECTING)
		return -ENOTCONN;
	return would_block(sockets, socket, call);
}

static bool satisfied(const struct socket_call *call)
{
	size_t all = iov_bytes(call->iov, call->iov_count);

	return call->progress == all || (call->progress > 0 && !(call->flags & MSG_WAITALL));
}

int64_t call_receive(struct sockets *sockets, struct bsd_socket *socket, struct socket_call *call)
{
	struct tcb *tcb = socket_tcb(sockets, socket);

	if (call->flags & (MSG_OOB | MSG_ERRQUEUE))
		return call->flags & MSG_OOB ? -EINVAL : -EAGAIN; /* RFC 6093: urgent data is in the stream */
	begin(sockets, call, socket->receive_us);
	if (tcb && tcb->rcv_bytes && !socket->no_read) {
		if (call->flags & MSG_PEEK)
			return (int64_t)peek(sockets, socket, tcb, call);
		call->progress = take(socket, tcb, call);
		tcb = socket_tcb(sockets, socket);
		if (satisfied(call))
			return (int64_t)call->progress;
	}
	if (call->progress && (!tcb || tcb->pending & TCB_FIN_TAKEN))
		return (int64_t)call->progress;
	return receive_nothing(sockets, socket, tcb, call);
}

static int64_t send_refused(struct bsd_socket *socket)
{
	int error = socket_take_error(socket);

	return error ? -error : -EPIPE;
}

int64_t call_send(struct sockets *sockets, struct bsd_socket *socket, struct socket_call *call)
{
	struct tcb *tcb = socket_tcb(sockets, socket);
	size_t all = iov_bytes(call->iov, call->iov_count);

	begin(sockets, call, socket->send_us);
	if (call->flags & MSG_OOB)
		return -EOPNOTSUPP; /* RFC 6093 section 6: nothing new should use it */
	if (socket->state == SOCKET_CONNECTING)
		return would_block(sockets, socket, call);
	if (socket->state != SOCKET_OPEN || !tcb || socket->no_write)
		return call->progress ? (int64_t)call->progress : send_refused(socket);
	while (call->progress < all) {
		struct iovec part = iov_at(call->iov, call->iov_count, call->progress);
		size_t sent = c10m_send((c10m_conn *)tcb, part.iov_base, part.iov_len);

		call->progress += sent;
		if (sent < part.iov_len)
			break;
	}
	return call->progress == all ? (int64_t)all : would_block(sockets, socket, call);
}
