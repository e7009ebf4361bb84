/* options.c - setsockopt, getsockopt and ioctl.
 * In: calls. Out: what was set, kept at the socket and told to its connection. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#include "base/ticks.h"
#include "posix/internal.h"
#include "tcp/congestion.h"

/* As <netinet/tcp.h> has them; its names of states are ours, too. */
enum {
	OPTION_NODELAY = 1,
	OPTION_MAXSEG = 2,
	OPTION_KEEPIDLE = 4,
	OPTION_INFO = 11,
	OPTION_CONGESTION = 13,
	OPTION_USER_TIMEOUT = 18,
};

#define KEEP_IDLE_MS 7200000u /* RFC 9293 section 3.8.4: two hours */

void options_apply(struct sockets *sockets, struct bsd_socket *socket)
{
	struct tcb *tcb = socket_tcb(sockets, socket);
	c10m_conn *conn = (c10m_conn *)tcb;

	if (!tcb)
		return;
	if (!(tcb->options & TCB_NODELAY) != !socket->nodelay)
		c10m_set_nodelay(conn, socket->nodelay);
	if (socket->keepalive || tcb->options & TCB_KEEPALIVE)
		c10m_set_keepalive(conn, !socket->keepalive     ? 0
					 : socket->keep_idle_ms ? socket->keep_idle_ms
								: KEEP_IDLE_MS);
	if (socket->user_timeout_ms || tcb->user_timeout_ms)
		c10m_set_user_timeout(conn, socket->user_timeout_ms);
	if (socket->congestion[0])
		c10m_set_congestion(conn, socket->congestion);
}

/* --- setting ------------------------------------------------------------------------------------- */

static int read_int(const struct socket_call *call, int *value)
{
	if (!call->value || !call->value_bytes || *call->value_bytes < sizeof(*value))
		return -EINVAL;
	memcpy(value, call->value, sizeof(*value));
	return 0;
}

static int read_time(const struct socket_call *call, uint64_t *us)
{
	struct timeval time;

	if (!call->value || !call->value_bytes || *call->value_bytes < sizeof(time))
		return -EINVAL;
	memcpy(&time, call->value, sizeof(time));
	if (time.tv_usec < 0 || time.tv_usec >= 1000000)
		return -EDOM;
	*us = time.tv_sec < 0 ? 0 : (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_usec;
	return 0;
}

static int set_linger(struct bsd_socket *socket, const struct socket_call *call)
{
	if (!call->value || !call->value_bytes || *call->value_bytes < sizeof(socket->linger))
		return -EINVAL;
	memcpy(&socket->linger, call->value, sizeof(socket->linger));
	return 0;
}

static int set_socket_option(struct bsd_socket *socket, const struct socket_call *call)
{
	int value = 0, error;

	if (call->value1 == SO_LINGER)
		return set_linger(socket, call);
	if (call->value1 == SO_RCVTIMEO)
		return read_time(call, &socket->receive_us);
	if (call->value1 == SO_SNDTIMEO)
		return read_time(call, &socket->send_us);
	error = read_int(call, &value);
	if (error)
		return error;
	switch (call->value1) {
	case SO_REUSEADDR:
		socket->reuse = value;
		return 0;
	case SO_KEEPALIVE:
		socket->keepalive = value;
		return 0;
	case SO_RCVBUF:
		socket->receive_bytes = (uint32_t)MAX_OF(MIN_OF(value, 1 << 30), 256);
		return 0;
	case SO_SNDBUF:
		socket->send_bytes = (uint32_t)MAX_OF(MIN_OF(value, 1 << 30), 256);
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

static int set_congestion(struct sockets *sockets, struct bsd_socket *socket, const struct socket_call *call)
{
	struct tcb *tcb = socket_tcb(sockets, socket);
	char name[sizeof(socket->congestion)] = "";
	size_t bytes = call->value_bytes ? *call->value_bytes : 0;

	if (!call->value || bytes == 0)
		return -EINVAL;
	memcpy(name, call->value, MIN_OF(bytes, sizeof(name) - 1));
	if (strcmp(name, "reno") == 0)
		strcpy(name, "newreno"); /* Linux's name for it */
	if (!congestion_find(name) || (tcb && c10m_set_congestion((c10m_conn *)tcb, name) < 0))
		return -ENOENT;
	memcpy(socket->congestion, name, sizeof(name));
	return 0;
}

static int set_tcp_option(struct sockets *sockets, struct bsd_socket *socket, const struct socket_call *call)
{
	int value = 0, error;

	if (call->value1 == OPTION_CONGESTION)
		return set_congestion(sockets, socket, call);
	error = read_int(call, &value);
	if (error)
		return error;
	switch (call->value1) {
	case OPTION_NODELAY:
		socket->nodelay = value;
		return 0;
	case OPTION_KEEPIDLE:
		if (value < 1 || value > 32767)
			return -EINVAL;
		socket->keep_idle_ms = (uint32_t)value * 1000;
		return 0;
	case OPTION_USER_TIMEOUT:
		if (value < 0)
			return -EINVAL;
		socket->user_timeout_ms = (uint32_t)value;
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

int64_t call_set_option(struct sockets *sockets, struct bsd_socket *socket, const struct socket_call *call)
{
	int error = -ENOPROTOOPT;

	if (call->value0 == SOL_SOCKET)
		error = set_socket_option(socket, call);
	else if (call->value0 == IPPROTO_TCP)
		error = set_tcp_option(sockets, socket, call);
	if (!error)
		options_apply(sockets, socket);
	return error;
}

/* --- getting ------------------------------------------------------------------------------------- */

static int64_t give(const struct socket_call *call, const void *from, size_t bytes)
{
	if (!call->value || !call->value_bytes)
		return -EFAULT;
	bytes = MIN_OF(bytes, (size_t)*call->value_bytes);
	memcpy(call->value, from, bytes);
	*call->value_bytes = (socklen_t)bytes;
	return 0;
}

static int64_t give_int(const struct socket_call *call, int64_t value)
{
	int number = (int)value;

	return give(call, &number, sizeof(number));
}

static int64_t give_time(const struct socket_call *call, uint64_t us)
{
	const struct timeval time = {(time_t)(us / 1000000), (suseconds_t)(us % 1000000)};

	return give(call, &time, sizeof(time));
}

static int64_t get_socket_option(const struct sockets *sockets, struct bsd_socket *socket,
				 const struct socket_call *call)
{
	const struct tcp_service *service =
		&((const struct core *)sockets->worker)->services[socket->service];

	switch (call->value1) {
	case SO_ERROR:
		return give_int(call, socket_take_error(socket));
	case SO_TYPE:
		return give_int(call, SOCK_STREAM);
	case SO_DOMAIN:
		return give_int(call, AF_INET);
	case SO_PROTOCOL:
		return give_int(call, IPPROTO_TCP);
	case SO_ACCEPTCONN:
		return give_int(call, socket->state == SOCKET_LISTENING);
	case SO_REUSEADDR:
		return give_int(call, socket->reuse);
	case SO_KEEPALIVE:
		return give_int(call, socket->keepalive);
	case SO_RCVBUF:
		return give_int(call, socket->receive_bytes ? socket->receive_bytes : service->receive_bytes);
	case SO_SNDBUF:
		return give_int(call, socket->send_bytes ? socket->send_bytes : service->send_bytes);
	case SO_LINGER:
		return give(call, &socket->linger, sizeof(socket->linger));
	case SO_RCVTIMEO:
		return give_time(call, socket->receive_us);
	case SO_SNDTIMEO:
		return give_time(call, socket->send_us);
	default:
		return -ENOPROTOOPT;
	}
}

static int64_t give_info(struct sockets *sockets, const struct bsd_socket *socket,
			 const struct socket_call *call)
{
	if (!call->value || !call->value_bytes)
		return -EFAULT;
	*call->value_bytes = info_fill(sockets, socket, call->value, *call->value_bytes);
	return 0;
}

static int64_t get_tcp_option(struct sockets *sockets, struct bsd_socket *socket,
			      const struct socket_call *call)
{
	const struct tcb *tcb = socket_tcb(sockets, socket);
	const char *name = socket->congestion[0] ? socket->congestion : sockets->config.congestion;

	switch (call->value1) {
	case OPTION_NODELAY:
		return give_int(call, socket->nodelay);
	case OPTION_MAXSEG:
		return give_int(call, tcb ? tcb->mss : 536);
	case OPTION_KEEPIDLE:
		return give_int(call, (socket->keep_idle_ms ? socket->keep_idle_ms : KEEP_IDLE_MS) / 1000);
	case OPTION_USER_TIMEOUT:
		return give_int(call, socket->user_timeout_ms);
	case OPTION_CONGESTION:
		name = name ? name : "cubic";
		return give(call, name, strlen(name) + 1);
	case OPTION_INFO:
		return give_info(sockets, socket, call);
	default:
		return -ENOPROTOOPT;
	}
}

int64_t call_get_option(struct sockets *sockets, struct bsd_socket *socket, const struct socket_call *call)
{
	if (call->value0 == SOL_SOCKET)
		return get_socket_option(sockets, socket, call);
	if (call->value0 == IPPROTO_TCP)
		return get_tcp_option(sockets, socket, call);
	return -ENOPROTOOPT;
}

int64_t call_ioctl(struct sockets *sockets, struct bsd_socket *socket, const struct socket_call *call)
{
	const struct tcb *tcb = socket_tcb(sockets, socket);
	int *value = call->value;

	if (!value)
		return -EFAULT;
	switch ((unsigned)call->value0) {
	case FIONREAD:
		*value = tcb ? (int)tcb->rcv_bytes : 0;
		return socket->state == SOCKET_LISTENING ? -EINVAL : 0;
	case TIOCOUTQ:
		*value = tcb ? (int)tcb->snd_bytes : 0;
		return 0;
	case FIONBIO:
		socket->nonblocking = *value;
		return 0;
	default:
		return -ENOTTY;
	}
}
