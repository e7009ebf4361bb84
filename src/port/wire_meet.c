/* wire_meet.c - the socket by which two processes hand each other their regions.
 * In: a path. Out: a connection, the other's region. Owns: the socket file, as long as it listens there.
 *
 * Two who start at the same time take turns by a lock on the folder: no file is left over from it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "port/wire_meet.h"

#define MAGIC    0x6331306d77697265u /* "c10mwire" */
#define VERSION  1u
#define CLOSE_MS 1000 /* then the file is removed without the lock */

struct hello {
	uint64_t magic;
	uint32_t version, slots, slot_bytes, checksums;
};

/* --- who listens ------------------------------------------------------------------------- */

/* A descriptor that holds the lock, or a negative errno. */
static int lock_folder(const struct wire_meet *meet, uint32_t patience_ms)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	char path[sizeof(meet->address.sun_path) + 1];
	int fd;

	snprintf(path, sizeof(path), "%s", meet->address.sun_path);
	fd = open(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (patience_ms-- == 0) {
			close(fd);
			return -EBUSY;
		}
		nanosleep(&pause, NULL);
	}
	return fd;
}

static int new_socket(void)
{
	return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* A connected socket, or a negative errno. */
static int join(const struct wire_meet *meet)
{
	int fd = new_socket(), number;

	if (fd < 0 || connect(fd, (const struct sockaddr *)&meet->address, sizeof(meet->address)) == 0)
		return fd < 0 ? -errno : fd;
	number = errno;
	close(fd);
	return -number;
}

static bool is_socket(const struct wire_meet *meet, struct stat *about)
{
	return stat(meet->address.sun_path, about) == 0 && S_ISSOCK(about->st_mode);
}

/* A socket that nobody listens at any longer was left by one that was killed. */
static int listen_there(struct wire_meet *meet, bool stale)
{
	struct stat about;
	int fd = new_socket(), number;

	if (fd < 0)
		return -errno;
	if (stale && is_socket(meet, &about))
		(void)unlink(meet->address.sun_path);
	if (fchmod(fd, 0600) == 0 &&
	    bind(fd, (const struct sockaddr *)&meet->address, sizeof(meet->address)) == 0 &&
	    listen(fd, 4) == 0 && is_socket(meet, &about)) {
		meet->listener = fd;
		meet->device = about.st_dev;
		meet->inode = about.st_ino;
		return 0;
	}
	number = errno;
	close(fd);
	return -number;
}

static int refuse_path(const char *path, int number, char error[PORT_ERROR_BYTES])
{
	if (number == EADDRINUSE)
		return port_refuse(error, number,
				   "%.150s is there and no socket of c10m: give --wire another path", path);
	if (number == EACCES)
		return port_refuse(
			error, number,
			"%.150s belongs to another user: run both ends as the same one, or give --wire "
			"another path",
			path);
	if (number == EPERM) /* -1 has another meaning */
		return port_refuse(error, ENOTSUP,
				   "no socket can be made at %.120s: give --wire a path in a folder such as "
				   "/run/user or /tmp",
				   path);
	if (number == EBUSY || number == EAGAIN)
		return port_refuse(
			error, number,
			"%.120s is busy (%s): try again in a moment, or give --wire a path in a folder of "
			"your own",
			path, strerror(number));
	return port_refuse(error, number,
			   "no wire at %.120s (%s): give --wire a path in a folder that you may write", path,
			   strerror(number));
}

int wire_meet_open(struct wire_meet *meet, const char *path, uint32_t patience_ms,
		   char error[PORT_ERROR_BYTES])
{
	int lock, result;
	bool listens;

	*meet = (struct wire_meet){.address.sun_family = AF_UNIX, .listener = -1};
	if (!path || !path[0] || strlen(path) >= sizeof(meet->address.sun_path))
		return port_refuse(error, EINVAL,
				   "--wire takes the path of a socket, in at most %zu characters",
				   sizeof(meet->address.sun_path) - 1);
	memcpy(meet->address.sun_path, path, strlen(path));
	lock = lock_folder(meet, patience_ms);
	if (lock < 0)
		return refuse_path(path, -lock, error);
	result = join(meet);
	listens = result == -ENOENT || result == -ECONNREFUSED;
	if (listens)
		result = listen_there(meet, result == -ECONNREFUSED);
	close(lock);
	if (result < 0)
		return refuse_path(path, -result, error);
	return listens ? -1 : result;
}

void wire_meet_close(struct wire_meet *meet)
{
	struct stat about;
	int lock;

	if (meet->listener < 0)
		return;
	lock = lock_folder(meet, CLOSE_MS);
	if (is_socket(meet, &about) && about.st_dev == meet->device && about.st_ino == meet->inode)
		(void)unlink(meet->address.sun_path);
	close(meet->listener);
	meet->listener = -1;
	if (lock >= 0)
		close(lock);
}

int wire_meet_accept(const struct wire_meet *meet)
{
	return accept4(meet->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/* --- what is said ------------------------------------------------------------------------- */

static struct hello hello_of(bool checksums)
{
	return (struct hello){
		.magic = MAGIC,
		.version = VERSION,
		.slots = WIRE_SLOTS,
		.slot_bytes = WIRE_SLOT_BYTES,
		.checksums = checksums,
	};
}

union control {
	struct cmsghdr header;
	uint8_t bytes[CMSG_SPACE(sizeof(int))];
};

bool wire_hello_send(int socket, int region_fd, bool checksums)
{
	struct hello hello = hello_of(checksums);
	struct iovec part = {&hello, sizeof(hello)};
	union control control = {0};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};

	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.header), &region_fd, sizeof(int));
	return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(hello);
}

/* The one descriptor that came along; -1: none. */
static int descriptor_of(struct msghdr *message)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);
	int fd = -1;

	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
	    header->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(header), sizeof(int));
	return fd;
}

int wire_hello_receive(int socket, bool checksums, struct wire_region **region)
{
	struct hello hello = {0}, ours = hello_of(checksums);
	struct iovec part = {&hello, sizeof(hello)};
	union control control = {0};
	/* With the padding there is room for two descriptors: what does not fit the kernel keeps. */
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = CMSG_LEN(sizeof(int))};
	ssize_t got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int fd, result = -1;

	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	fd = descriptor_of(&message);
	*region = NULL;
	if (got == (ssize_t)sizeof(hello) && hello.checksums != ours.checksums && hello.magic == MAGIC)
		result = -EPROTO;
	else if (got == (ssize_t)sizeof(hello) && memcmp(&hello, &ours, sizeof(hello)) == 0 && fd >= 0)
		*region = wire_region_map(fd);
	if (fd >= 0)
		close(fd);
	return *region ? 1 : result;
}
