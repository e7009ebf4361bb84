/* epoll_echo.c - the server we compare with: echo on plain kernel sockets, one thread, epoll.
 *
 *   epoll_echo [--port P] [--cpu N] [--level] [--processes N] [--announce TEXT]
 *
 * With --processes it is so many processes that share the port (SO_REUSEPORT), since each may open only so
 * many files; one that has no file left refuses who comes. SIGUSR1 makes all of them send --announce to all
 * connections. Edge-triggered unless --level says otherwise: a short read has emptied the socket, so one recv
 * and one send serve a request, and epoll_wait does not look at the socket again for nothing. In:
 * connections. Out: what they sent; one line when ready. Ends at SIGINT or SIGTERM. Owns: its sockets. */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX   512
#define BUFFER_BYTES 65536
#define BACKLOG      4096
#define FILES_MAX    (1u << 20)

static uint32_t connection_events = EPOLLIN | EPOLLRDHUP | EPOLLET;
static char buffer[BUFFER_BYTES];
static const char *announcement = "";
static bool *is_connection; /* by descriptor */
static int files_end;       /* no connection stands there or beyond */
static volatile sig_atomic_t asked;

/* What all processes together have done. */
static struct shared {
	atomic_ullong announced, out_of_files;
	atomic_uint done;
} * shared;

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

static int listen_on(uint16_t port, bool several)
{
	const int one = 1;
	const struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    (several && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0) ||
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
		is_connection[fd] = true;
		files_end = fd >= files_end ? fd + 1 : files_end;
	}
	if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
		atomic_fetch_add(&shared->out_of_files, 1);
	else if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
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
			is_connection[fd] = false;
			close(fd);
			return;
		}
	} while (count == BUFFER_BYTES);
}

static void announce(void)
{
	size_t bytes = (size_t)snprintf(buffer, sizeof(buffer), "%s\n", announcement);
	unsigned long long count = 0;

	for (int fd = 0; fd < files_end; fd++)
		count += is_connection[fd] && send(fd, buffer, bytes, MSG_NOSIGNAL) == (ssize_t)bytes;
	atomic_fetch_add(&shared->announced, count);
	atomic_fetch_add(&shared->done, 1);
}

static __attribute__((noreturn)) void run(int epoll, int listener)
{
	struct epoll_event events[EVENTS_MAX];

	for (;;) {
		int count = epoll_wait(epoll, events, EVENTS_MAX, -1);

		if (asked) {
			asked = 0;
			announce();
		}
		for (int i = 0; i < count; i++) {
			if (events[i].data.fd == listener)
				accept_all(epoll, listener);
			else
				serve(events[i].data.fd);
		}
	}
}

static void on_signal(int number)
{
	(void)number;
	asked = 1;
}

static __attribute__((noreturn)) void serve_port(uint16_t port, bool several)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), listener = listen_on(port, several);

	is_connection = calloc(FILES_MAX, sizeof(*is_connection));
	if (!is_connection)
		die("no memory");
	watch(epoll, listener, EPOLLIN);
	if (!several) {
		printf("ready on port %u\n", port);
		fflush(stdout);
	}
	atomic_fetch_add(&shared->done, 1);
	run(epoll, listener);
}

static void wait_for(unsigned processes)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	while (atomic_load(&shared->done) < processes)
		nanosleep(&pause, NULL);
	atomic_store(&shared->done, 0);
}

/* The first process serves nobody: it hands on the signal, and tells what came of it. */
static __attribute__((noreturn)) void serve_in_parts(uint16_t port, unsigned processes)
{
	pid_t *children = calloc(processes, sizeof(*children));
	sigset_t set;
	int number;

	for (unsigned i = 0; i < processes; i++) {
		children[i] = fork();
		if (children[i] < 0)
			die("fork");
		if (children[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			serve_port(port, true);
		}
	}
	wait_for(processes);
	printf("ready on port %u\n", port);
	fflush(stdout);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	while (sigwait(&set, &number) == 0) {
		for (unsigned i = 0; i < processes; i++)
			kill(children[i], SIGUSR1);
		wait_for(processes);
		fprintf(stderr, "epoll_echo: announced to %llu connections, %llu times no file was left\n",
			(unsigned long long)atomic_exchange(&shared->announced, 0),
			(unsigned long long)atomic_load(&shared->out_of_files));
	}
	exit(1);
}

/* As many files as this user may have; who may raise the limit has as many as the kernel allows. */
static void raise_files(void)
{
	struct rlimit files = {FILES_MAX, FILES_MAX};

	if (setrlimit(RLIMIT_NOFILE, &files) == 0 || getrlimit(RLIMIT_NOFILE, &files) < 0)
		return;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

int main(int argc, char **argv)
{
	const struct sigaction action = {.sa_handler = on_signal};
	static const struct option known[] = {
		{"port", required_argument, NULL, 'p'},     {"cpu", required_argument, NULL, 'c'},
		{"level", no_argument, NULL, 'l'},          {"processes", required_argument, NULL, 'n'},
		{"announce", required_argument, NULL, 'a'}, {NULL, 0, NULL, 0},
	};
	unsigned processes = 1;
	uint16_t port = 7;
	int letter;

	while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (letter == 'p')
			port = (uint16_t)strtoul(optarg, NULL, 10);
		else if (letter == 'c')
			pin(atoi(optarg));
		else if (letter == 'l')
			connection_events = EPOLLIN | EPOLLRDHUP;
		else if (letter == 'n')
			processes = (unsigned)strtoul(optarg, NULL, 10);
		else if (letter == 'a')
			announcement = optarg;
		else
			return 2;
	}
	raise_files();
	sigaction(SIGUSR1, &action, NULL);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("no memory");
	if (processes > 1)
		serve_in_parts(port, processes);
	serve_port(port, false);
}
