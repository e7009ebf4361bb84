/* packetdrill.h - what the public packetdrill expects of a library under test: a table of functions.
 *
 * Each takes userdata first; but for that they are the C library's functions of those names, and return what
 * these return. */
#ifndef C10M_POSIX_PACKETDRILL_H
#define C10M_POSIX_PACKETDRILL_H

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "c10m/c10m.h"

/* The order is packetdrill's. */
struct packetdrill_interface {
	void *userdata;
	void (*free)(void *userdata);
	int (*socket)(void *userdata, int domain, int type, int protocol);
	int (*bind)(void *userdata, int fd, const struct sockaddr *address, socklen_t bytes);
	int (*listen)(void *userdata, int fd, int backlog);
	int (*accept)(void *userdata, int fd, struct sockaddr *address, socklen_t *bytes);
	int (*connect)(void *userdata, int fd, const struct sockaddr *address, socklen_t bytes);
	ssize_t (*read)(void *userdata, int fd, void *data, size_t bytes);
	ssize_t (*readv)(void *userdata, int fd, const struct iovec *iov, int count);
	ssize_t (*recv)(void *userdata, int fd, void *data, size_t bytes, int flags);
	ssize_t (*recvfrom)(void *userdata, int fd, void *data, size_t bytes, int flags,
			    struct sockaddr *address, socklen_t *address_bytes);
	ssize_t (*recvmsg)(void *userdata, int fd, struct msghdr *message, int flags);
	ssize_t (*write)(void *userdata, int fd, const void *data, size_t bytes);
	ssize_t (*writev)(void *userdata, int fd, const struct iovec *iov, int count);
	ssize_t (*send)(void *userdata, int fd, const void *data, size_t bytes, int flags);
	ssize_t (*sendto)(void *userdata, int fd, const void *data, size_t bytes, int flags,
			  const struct sockaddr *address, socklen_t address_bytes);
	ssize_t (*sendmsg)(void *userdata, int fd, const struct msghdr *message, int flags);
	int (*fcntl)(void *userdata, int fd, int command, ...);
	int (*ioctl)(void *userdata, int fd, unsigned long request, ...);
	int (*close)(void *userdata, int fd);
	int (*shutdown)(void *userdata, int fd, int how);
	int (*getsockopt)(void *userdata, int fd, int level, int option, void *value, socklen_t *bytes);
	int (*setsockopt)(void *userdata, int fd, int level, int option, const void *value, socklen_t bytes);
	int (*poll)(void *userdata, struct pollfd *fds, nfds_t count, int timeout_ms);
	/* One raw IP packet in; the next one out, with the room and then the length in *bytes. 0 or -1. */
	int (*netdev_send)(void *userdata, const void *packet, size_t bytes);
	int (*netdev_receive)(void *userdata, void *packet, size_t *bytes, long long *time_us);
	int (*usleep)(void *userdata, unsigned us); /* useconds_t */
	int (*gettimeofday)(void *userdata, struct timeval *now, struct timezone *zone);
	int (*epoll_create)(void *userdata, int size);
	int (*epoll_ctl)(void *userdata, int epoll, int operation, int fd, struct epoll_event *event);
	int (*epoll_wait)(void *userdata, int epoll, struct epoll_event *events, int count, int timeout_ms);
	int (*pipe)(void *userdata, int fds[2]);
	int (*splice)(void *userdata, int from, loff_t *from_offset, int to, loff_t *to_offset, size_t bytes,
		      unsigned flags);
};

/* Fills the struct, which is the caller's. flags: local=A/BITS,remote=A/BITS,mtu=N and settings of
 * docs/packetdrill.md; what makes no sense ends the process with a sentence. */
C10M_API void packetdrill_interface_init(const char *flags, struct packetdrill_interface *table);

#endif
