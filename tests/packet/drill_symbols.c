/* drill_symbols.c - the names that scripts use for numbers. */
#define _GNU_SOURCE
#include "drill.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/compiler.h"

#define NAME(name) \
	{ \
#name, name \
	}

static const struct {
	const char *name;
	int64_t value;
} symbols[] = {
	NAME(AF_INET),
	NAME(AF_INET6),
	NAME(PF_INET),
	NAME(SOCK_STREAM),
	NAME(SOCK_DGRAM),
	NAME(SOCK_NONBLOCK),
	NAME(SOCK_CLOEXEC),
	NAME(IPPROTO_TCP),
	NAME(IPPROTO_UDP),
	NAME(IPPROTO_IP),
	NAME(SOL_SOCKET),
	{"SOL_TCP", IPPROTO_TCP},
	NAME(SO_REUSEADDR),
	NAME(SO_KEEPALIVE),
	NAME(SO_LINGER),
	NAME(SO_ERROR),
	NAME(SO_TYPE),
	NAME(SO_RCVBUF),
	NAME(SO_SNDBUF),
	NAME(SO_ACCEPTCONN),
	NAME(SO_RCVTIMEO),
	NAME(SO_SNDTIMEO),
	/* As <netinet/tcp.h> has them. */
	{"TCP_NODELAY", 1},
	{"TCP_MAXSEG", 2},
	{"TCP_CORK", 3},
	{"TCP_KEEPIDLE", 4},
	{"TCP_INFO", 11},
	{"TCP_QUICKACK", 12},
	{"TCP_CONGESTION", 13},
	{"TCP_USER_TIMEOUT", 18},
	{"TCP_FASTOPEN", 23},
	{"TCP_FASTOPEN_CONNECT", 30},
	{"TCP_ESTABLISHED", 1},
	{"TCP_SYN_SENT", 2},
	{"TCP_SYN_RECV", 3},
	{"TCP_FIN_WAIT1", 4},
	{"TCP_FIN_WAIT2", 5},
	{"TCP_TIME_WAIT", 6},
	{"TCP_CLOSE", 7},
	{"TCP_CLOSE_WAIT", 8},
	{"TCP_LAST_ACK", 9},
	{"TCP_LISTEN", 10},
	{"TCP_CLOSING", 11},
	{"TCP_CA_Open", 0},
	{"TCP_CA_Disorder", 1},
	{"TCP_CA_CWR", 2},
	{"TCP_CA_Recovery", 3},
	{"TCP_CA_Loss", 4},
	NAME(F_GETFL),
	NAME(F_SETFL),
	NAME(O_RDWR),
	NAME(O_NONBLOCK),
	NAME(SHUT_RD),
	NAME(SHUT_WR),
	NAME(SHUT_RDWR),
	NAME(MSG_DONTWAIT),
	NAME(MSG_PEEK),
	NAME(MSG_OOB),
	NAME(MSG_WAITALL),
	NAME(MSG_NOSIGNAL),
	NAME(MSG_FASTOPEN),
	NAME(MSG_MORE),
	NAME(FIONREAD),
	{"SIOCINQ", FIONREAD},
	{"SIOCOUTQ", TIOCOUTQ},
	NAME(POLLIN),
	NAME(POLLOUT),
	NAME(POLLERR),
	NAME(POLLHUP),
	NAME(POLLNVAL),
	NAME(POLLRDHUP),
	NAME(POLLRDNORM),
	NAME(POLLWRNORM),
	NAME(EAGAIN),
	NAME(EWOULDBLOCK),
	NAME(EINPROGRESS),
	NAME(EALREADY),
	NAME(EISCONN),
	NAME(ENOTCONN),
	NAME(ECONNRESET),
	NAME(ECONNREFUSED),
	NAME(ECONNABORTED),
	NAME(EPIPE),
	NAME(ETIMEDOUT),
	NAME(EINVAL),
	NAME(EBADF),
	NAME(EADDRINUSE),
	NAME(EADDRNOTAVAIL),
	NAME(EHOSTUNREACH),
	NAME(ENETUNREACH),
	NAME(EOPNOTSUPP),
	NAME(ENOPROTOOPT),
	NAME(EDESTADDRREQ),
	NAME(EAFNOSUPPORT),
	NAME(ENOENT),
	NAME(ENOBUFS),
	NAME(ENOMEM),
	NAME(EMSGSIZE),
	NAME(EPROTONOSUPPORT),
	NAME(ESOCKTNOSUPPORT),
	NAME(EFAULT),
	NAME(ENOTSOCK),
};

bool drill_symbol(const char *name, int64_t *value)
{
	for (unsigned i = 0; i < ARRAY_COUNT(symbols); i++) {
		if (strcmp(symbols[i].name, name) == 0) {
			*value = symbols[i].value;
			return true;
		}
	}
	return false;
}
