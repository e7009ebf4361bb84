/* packetdrill.c - libc10m-packetdrill.so: c10m under the public packetdrill.
 * In: system calls and raw packets of packetdrill, from two threads. Out: the same of c10m.
 * Owns: one engine with one worker. Descriptors are eventfds, since packetdrill closes what a script leaves
 * open by the C library's close. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "posix/engine.h"
#include "posix/exchange.h"
#include "posix/packetdrill.h"
#include "posix/packetdrill_flags.h"

#define WORKER       (STACKS_MAX - 1) /* the process has no other */
#define SPLICE_BYTES 65536

struct drilled {
	struct engine *engine;
	struct exchange *exchange;
	struct packetdrill_flags flags;
};

/* --- descriptors ---------------------------------------------------------------------------------- */

static int open_number(void *context)
{
	int number = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	(void)context;
	return number < 0 ? -errno : number;
}

static void close_number(void *context, int number)
{
	(void)context;
	close(number);
}

/* As the C library returns it. */
static ssize_t call(void *userdata, struct socket_call *call)
{
	const struct drilled *drilled = userdata;
	int64_t result = engine_call(drilled->engine, call);

	if (result >= 0)
		return (ssize_t)result;
	errno = (int)-result;
	return -1;
}

/* --- connections ---------------------------------------------------------------------------------- */

static void drill_free(void *userdata)
{
	struct drilled *drilled = userdata;

	engine_close(drilled->engine); /* and its port, the exchange */
	free(drilled);
}

static int drill_socket(void *userdata, int domain, int type, int protocol)
{
	struct socket_call it = {.kind = CALL_SOCKET, .value0 = domain, .value1 = type, .value2 = protocol};

	return (int)call(userdata, &it);
}

static int with_address(void *userdata, enum socket_call_kind kind, int fd, const struct sockaddr *address,
			socklen_t bytes)
{
	struct sockaddr_storage copy = {0};
	struct socket_call it = {.kind = kind, .number = fd, .address = &copy, .address_bytes = &bytes};

	memcpy(&copy, address, MIN_OF(bytes, (socklen_t)sizeof(copy)));
	return (int)call(userdata, &it);
}

static int drill_bind(void *userdata, int fd, const struct sockaddr *address, socklen_t bytes)
{
	return with_address(userdata, CALL_BIND, fd, address, bytes);
}

static int drill_connect(void *userdata, int fd, const struct sockaddr *address, socklen_t bytes)
{
	return with_address(userdata, CALL_CONNECT, fd, address, bytes);
}

static int drill_listen(void *userdata, int fd, int backlog)
{
	struct socket_call it = {.kind = CALL_LISTEN, .number = fd, .value0 = backlog};

	return (int)call(userdata, &it);
}

static int drill_accept(void *userdata, int fd, struct sockaddr *address, socklen_t *bytes)
{
	struct socket_call it = {
		.kind = CALL_ACCEPT, .number = fd, .address = address, .address_bytes = bytes};

	return (int)call(userdata, &it);
}

static int drill_shutdown(void *userdata, int fd, int how)
{
	struct socket_call it = {.kind = CALL_SHUTDOWN, .number = fd, .value0 = how};

	return (int)call(userdata, &it);
}

/* What is not ours is the kernel's: the ends of a pipe. */
static int drill_close(void *userdata, int fd)
{
	struct socket_call it = {.kind = CALL_CLOSE, .number = fd};
	int result = (int)call(userdata, &it);

	return result < 0 && errno == EBADF ? close(fd) : result;
}

/* --- bytes ---------------------------------------------------------------------------------------- */

static ssize_t move(void *userdata, enum socket_call_kind kind, int fd, const struct iovec *iov, int count,
		    int flags)
{
	struct socket_call it = {.kind = kind, .number = fd, .iov = iov, .iov_count = count, .flags = flags};

	return call(userdata, &it);
}

static ssize_t drill_readv(void *userdata, int fd, const struct iovec *iov, int count)
{
	ssize_t result = move(userdata, CALL_RECEIVE, fd, iov, count, 0);

	return result < 0 && errno == EBADF ? readv(fd, iov, count) : result;
}

static ssize_t drill_writev(void *userdata, int fd, const struct iovec *iov, int count)
{
	ssize_t result = move(userdata, CALL_SEND, fd, iov, count, 0);

	return result < 0 && errno == EBADF ? writev(fd, iov, count) : result;
}

static ssize_t drill_read(void *userdata, int fd, void *data, size_t bytes)
{
	const struct iovec iov = {data, bytes};

	return drill_readv(userdata, fd, &iov, 1);
}

static ssize_t drill_write(void *userdata, int fd, const void *data, size_t bytes)
{
	const struct iovec iov = {(void *)(uintptr_t)data, bytes};

	return drill_writev(userdata, fd, &iov, 1);
}

static ssize_t drill_recvfrom(void *userdata, int fd, void *data, size_t bytes, int flags,
			      struct sockaddr *address, socklen_t *address_bytes)
{
	const struct iovec iov = {data, bytes};

	(void)address; /* a stream tells none */
	if (address_bytes)
		*address_bytes = 0;
	return move(userdata, CALL_RECEIVE, fd, &iov, 1, flags);
}

static ssize_t drill_recv(void *userdata, int fd, void *data, size_t bytes, int flags)
{
	return drill_recvfrom(userdata, fd, data, bytes, flags, NULL, NULL);
}

static ssize_t drill_recvmsg(void *userdata, int fd, struct msghdr *message, int flags)
{
	ssize_t result = move(userdata, CALL_RECEIVE, fd, message->msg_iov, (int)message->msg_iovlen, flags);

	if (result < 0)
		return result;
	message->msg_namelen = 0;
	message->msg_controllen = 0;
	message->msg_flags = 0;
	return result;
}

static ssize_t drill_sendto(void *userdata, int fd, const void *data, size_t bytes, int flags,
			    const struct sockaddr *address, socklen_t address_bytes)
{
	const struct iovec iov = {(void *)(uintptr_t)data, bytes};

	(void)address; /* a stream knows where it leads */
	(void)address_bytes;
	return move(userdata, CALL_SEND, fd, &iov, 1, flags);
}

static ssize_t drill_send(void *userdata, int fd, const void *data, size_t bytes, int flags)
{
	return drill_sendto(userdata, fd, data, bytes, flags, NULL, 0);
}

static ssize_t drill_sendmsg(void *userdata, int fd, const struct msghdr *message, int flags)
{
	return move(userdata, CALL_SEND, fd, message->msg_iov, (int)message->msg_iovlen, flags);
}

static int drill_pipe(void *userdata, int fds[2])
{
	(void)userdata;
	return pipe(fds);
}

/* Through a buffer: what matters here is what the other end sees. */
static int drill_splice(void *userdata, int from, loff_t *from_offset, int to, loff_t *to_offset,
			size_t bytes, unsigned flags)
{
	char buffer[SPLICE_BYTES];
	ssize_t got;

	(void)flags;
	if (from_offset || to_offset) {
		errno = ESPIPE;
		return -1;
	}
	got = drill_read(userdata, from, buffer, MIN_OF(bytes, sizeof(buffer)));
	return (int)(got > 0 ? drill_write(userdata, to, buffer, (size_t)got) : got);
}

/* --- options -------------------------------------------------------------------------------------- */

static int drill_fcntl(void *userdata, int fd, int command, ...)
{
	struct socket_call it = {.kind = CALL_FCNTL, .number = fd, .value0 = command};
	va_list args;

	va_start(args, command);
	if (command == F_SETFL || command == F_SETFD)
		it.value1 = va_arg(args, int);
	va_end(args);
	return (int)call(userdata, &it);
}

static int drill_ioctl(void *userdata, int fd, unsigned long request, ...)
{
	struct socket_call it = {.kind = CALL_IOCTL, .number = fd, .value0 = (int)request};
	va_list args;

	va_start(args, request);
	it.value = va_arg(args, void *);
	va_end(args);
	return (int)call(userdata, &it);
}

static int drill_getsockopt(void *userdata, int fd, int level, int option, void *value, socklen_t *bytes)
{
	struct socket_call it = {.kind = CALL_GET_OPTION,
				 .number = fd,
				 .value0 = level,
				 .value1 = option,
				 .value = value,
				 .value_bytes = bytes};

	return (int)call(userdata, &it);
}

static int drill_setsockopt(void *userdata, int fd, int level, int option, const void *value, socklen_t bytes)
{
	struct socket_call it = {.kind = CALL_SET_OPTION,
				 .number = fd,
				 .value0 = level,
				 .value1 = option,
				 .value = (void *)(uintptr_t)value,
				 .value_bytes = &bytes};

	return (int)call(userdata, &it);
}

/* --- readiness ------------------------------------------------------------------------------------ */

static int drill_poll(void *userdata, struct pollfd *fds, nfds_t count, int timeout_ms)
{
	struct socket_call it = {
		.kind = CALL_POLL, .polls = fds, .count = (int)count, .timeout_ms = timeout_ms};

	return (int)call(userdata, &it);
}

static int drill_epoll_create(void *userdata, int size)
{
	struct socket_call it = {.kind = CALL_EPOLL_CREATE};

	if (size > 0)
		return (int)call(userdata, &it);
	errno = EINVAL;
	return -1;
}

static int drill_epoll_ctl(void *userdata, int epoll, int operation, int fd, struct epoll_event *event)
{
	struct socket_call it = {.kind = CALL_EPOLL_CONTROL,
				 .number = epoll,
				 .value0 = operation,
				 .value1 = fd,
				 .events = event};

	return (int)call(userdata, &it);
}

static int drill_epoll_wait(void *userdata, int epoll, struct epoll_event *events, int count, int timeout_ms)
{
	struct socket_call it = {.kind = CALL_EPOLL_WAIT,
				 .number = epoll,
				 .events = events,
				 .count = count,
				 .timeout_ms = timeout_ms};

	return (int)call(userdata, &it);
}

/* --- packets and time ------------------------------------------------------------------------------ */

static int drill_netdev_send(void *userdata, const void *packet, size_t bytes)
{
	const struct drilled *drilled = userdata;
	int error = exchange_give(drilled->exchange, packet, bytes);

	errno = -error;
	return error ? -1 : 0;
}

/* A script that waits for what never comes would hang for ever: packetdrill has no time limit of its own. */
static int drill_netdev_receive(void *userdata, void *packet, size_t *bytes, long long *time_us)
{
	const struct drilled *drilled = userdata;
	struct timeval when;
	int got = exchange_take(drilled->exchange, packet, *bytes, &when, drilled->flags.patience_s * 1000);

	if (got == -ETIMEDOUT) {
		fprintf(stderr,
			"c10m: no packet came out in %u s: the script expects one that c10m does not send "
			"(patience_s=N waits longer)\n",
			drilled->flags.patience_s);
		exit(EXIT_FAILURE);
	}
	if (got < 0) {
		errno = -got;
		return -1;
	}
	*bytes = (size_t)got;
	*time_us = (long long)when.tv_sec * 1000000 + when.tv_usec;
	return 0;
}

static int drill_usleep(void *userdata, useconds_t us)
{
	(void)userdata;
	return usleep(us);
}

static int drill_gettimeofday(void *userdata, struct timeval *now, struct timezone *zone)
{
	(void)userdata;
	return gettimeofday(now, zone);
}

static const struct packetdrill_interface functions = {
	.free = drill_free,
	.socket = drill_socket,
	.bind = drill_bind,
	.listen = drill_listen,
	.accept = drill_accept,
	.connect = drill_connect,
	.read = drill_read,
	.readv = drill_readv,
	.recv = drill_recv,
	.recvfrom = drill_recvfrom,
	.recvmsg = drill_recvmsg,
	.write = drill_write,
	.writev = drill_writev,
	.send = drill_send,
	.sendto = drill_sendto,
	.sendmsg = drill_sendmsg,
	.fcntl = drill_fcntl,
	.ioctl = drill_ioctl,
	.close = drill_close,
	.shutdown = drill_shutdown,
	.getsockopt = drill_getsockopt,
	.setsockopt = drill_setsockopt,
	.poll = drill_poll,
	.netdev_send = drill_netdev_send,
	.netdev_receive = drill_netdev_receive,
	.usleep = drill_usleep,
	.gettimeofday = drill_gettimeofday,
	.epoll_create = drill_epoll_create,
	.epoll_ctl = drill_epoll_ctl,
	.epoll_wait = drill_epoll_wait,
	.pipe = drill_pipe,
	.splice = drill_splice,
};

static void __attribute__((noreturn)) give_up(const char *sentence)
{
	fprintf(stderr, "c10m: %s\n", sentence);
	exit(EXIT_FAILURE);
}

C10M_API void packetdrill_interface_init(const char *flags, struct packetdrill_interface *table)
{
	struct drilled *drilled = calloc(1, sizeof(*drilled));
	struct engine_config config = {.number = WORKER};
	char error[MAX_OF(ENGINE_ERROR_BYTES, FLAGS_ERROR_BYTES)];

	if (!drilled)
		give_up("the machine gives no memory");
	if (!packetdrill_flags_parse(flags, &drilled->flags, error))
		give_up(error);
	drilled->exchange = exchange_open(drilled->flags.mtu);
	if (!drilled->exchange)
		give_up("no memory, or an MTU of more than 9000");
	config.port = exchange_port(drilled->exchange);
	config.stack = drilled->flags.stack;
	config.sockets = drilled->flags.sockets;
	config.sockets.open_number = open_number;
	config.sockets.close_number = close_number;
	drilled->engine = engine_open(&config, error);
	if (!drilled->engine)
		give_up(error);
	*table = functions;
	table->userdata = drilled;
}
