/* epoll_echo.c - the server we compare with: echo on plain kernel sockets, one thread, epoll.
 *
 *   epoll_echo [--port P] [--cpu N] [--level]
 *
 * Edge-triggered unless --level says otherwise: a short read has emptied the socket, so one recv and
 * one send serve a request, and epoll_wait does not look at the socket again for nothing.
 * In: connections. Out: what they sent; one line when ready. Ends at SIGINT or SIGTERM.
 * Owns: its sockets. */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_MAX   512
#define BUFFER_BYTES 65536
#define BACKLOG      4096

static uint32_t connection_events = EPOLLIN | EPOLLRDHUP | EPOLLET;
static char buffer[BUFFER_BYTES];

static void die(const char *what)
{
	fprintf(stderr, "epoll_echo: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		die("no such processor");
}

static void watch(int epoll, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.fd = fd};

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		die("epoll_ctl");
}

static int listen_on(uint16_t port)
{
	const int one = 1;
	const struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, BACKLOG) < 0)
		die("the port cannot be listened on");
	return fd;
}

/* All that wait, in one go. */
static void accept_all(int epoll, int listener)
{
	const int one = 1;
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		watch(epoll, fd, connection_events);
	}
	if (errno != EAGAIN && errno != ECONNABORTED)
		die("accept4");
}

/* A peer that does not read is waited for: the measured client reads whatever comes back. */
static bool send_all(int fd, size_t bytes)
{
	for (size_t sent = 0; sent < bytes;) {
		ssize_t count = send(fd, buffer + sent, bytes - sent, MSG_NOSIGNAL);

		if (count >= 0)
			sent += (size_t)count;
		else if (errno != EAGAIN && errno != EINTR)
			return false;
	}
	return true;
}

static void serve(int fd)
{
	ssize_t count;

	do {
		count = recv(fd, buffer, sizeof(buffer), 0);
		if (count == 0 || (count < 0 && errno != EAGAIN) ||
		    (count > 0 && !send_all(fd, (size_t)count))) {
			close(fd);
			return;
		}
	} while (count == BUFFER_BYTES);
}

static void run(int epoll, int listener)
{
	struct epoll_event events[EVENTS_MAX];

	for (;;) {
		int count = epoll_wait(epoll, events, EVENTS_MAX, -1);

		for (int i = 0; i < count; i++) {
			if (events[i].data.fd == listener)
				accept_all(epoll, listener);
			else
				serve(events[i].data.fd);
		}
	}
}

int main(int argc, char **argv)
{
	static const struct option known[] = {
		{"port", required_argument, NULL, 'p'},
		{"cpu", required_argument, NULL, 'c'},
		{"level", no_argument, NULL, 'l'},
		{NULL, 0, NULL, 0},
	};
	struct rlimit files;
	uint16_t port = 7;
	int letter, listener, epoll = epoll_create1(EPOLL_CLOEXEC);

	while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (letter == 'p')
			port = (uint16_t)strtoul(optarg, NULL, 10);
		else if (letter == 'c')
			pin(atoi(optarg));
		else if (letter == 'l')
			connection_events = EPOLLIN | EPOLLRDHUP;
		else
			return 2;
	}
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	listener = listen_on(port);
	watch(epoll, listener, EPOLLIN);
	printf("ready on port %u\n", port);
	fflush(stdout);
	run(epoll, listener);
}
