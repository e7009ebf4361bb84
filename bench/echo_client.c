/* echo_client.c - a client on plain kernel sockets for echo servers of any kind.
 *
 *   echo_client ADDRESS [--port P] [--connections N] [--bytes B] [--seconds S] [--warm-up S] [--cpu N]
 *   echo_client ADDRESS --samples N --pause-ms T [--settle-ms T] [...]
 *
 * The first form keeps one request in flight on every connection and reports how many were answered and
 * how long they took. The second leaves all connections idle, at first for the time to settle, and
 * every so many ms asks once on one of them: how long the first answer after a rest takes. Every answer is
 * compared with its request. In: echoes. Out: one line of JSON, "ready" on standard error when all are
 * connected. Owns: its sockets. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX      512
#define BYTES_MAX       4096
#define CONNECT_MS      5000
#define ANSWER_MS       5000
#define FINE_BITS       6 /* a bucket of the histogram is 1/64 wide */
#define BUCKETS         (64u << FINE_BITS)
#define OPENING_AT_ONCE 64

struct options {
	struct sockaddr_in server;
	uint32_t connections, bytes, samples, pause_ms, settle_ms;
	double seconds, warm_up;
};

struct connection {
	int fd;
	uint32_t got;    /* bytes of the present answer */
	uint64_t number; /* of the present request */
	uint64_t sent_ns;
};

struct run {
	const struct options *options;
	struct connection *connections;
	int epoll;
	bool counting, sending;
	uint64_t answered;
	uint64_t buckets[BUCKETS];
	uint64_t worst_ns;
};

static void die(const char *what)
{
	fprintf(stderr, "echo_client: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* --- the histogram ------------------------------------------------------------- */

static uint32_t bucket_of(uint64_t ns)
{
	uint32_t shift;

	if (ns < 1u << FINE_BITS)
		return (uint32_t)ns;
	shift = 63u - (uint32_t)__builtin_clzll(ns) - FINE_BITS;
	return ((shift + 1) << FINE_BITS) + (uint32_t)(ns >> shift) - (1u << FINE_BITS);
}

/* The largest value of a bucket. */
static uint64_t bucket_top(uint32_t bucket)
{
	uint32_t shift = bucket >> FINE_BITS;

	if (shift == 0)
		return bucket;
	shift--;
	return ((((uint64_t)bucket & ((1u << FINE_BITS) - 1)) + (1u << FINE_BITS) + 1) << shift) - 1;
}

static void latency_add(struct run *run, uint64_t ns)
{
	run->buckets[bucket_of(ns)]++;
	run->answered++;
	if (ns > run->worst_ns)
		run->worst_ns = ns;
}

static double percentile_us(const struct run *run, double share)
{
	uint64_t left = (uint64_t)(share * (double)run->answered);
	uint32_t bucket = 0;

	for (; bucket < BUCKETS - 1 && run->buckets[bucket] <= left; bucket++)
		left -= run->buckets[bucket];
	return (double)bucket_top(bucket) / 1000;
}

/* --- requests -------------------------------------------------------------------- */

/* Different for every request of every connection, in its first, last and middle bytes. */
static void request_make(const struct run *run, const struct connection *connection, uint8_t *bytes)
{
	uint64_t value = connection->number * 0x9e3779b97f4a7c15u + (uint64_t)(connection - run->connections);

	for (uint32_t at = 0; at < run->options->bytes; at += (uint32_t)sizeof(value)) {
		uint32_t left = run->options->bytes - at;

		memcpy(bytes + at, &value, left < sizeof(value) ? left : sizeof(value));
		value = value * 0xd1342543de82ef95u + 1;
	}
}

static void request_send(struct run *run, struct connection *connection)
{
	uint8_t bytes[BYTES_MAX];

	connection->number++;
	connection->got = 0;
	request_make(run, connection, bytes);
	connection->sent_ns = now_ns();
	if (send(connection->fd, bytes, run->options->bytes, MSG_NOSIGNAL) != (ssize_t)run->options->bytes)
		die("a request could not be sent whole");
}

/* True when the answer is whole, and right. */
static bool answer_take(const struct run *run, struct connection *connection)
{
	uint8_t expected[BYTES_MAX], bytes[BYTES_MAX];
	uint32_t wanted = run->options->bytes - connection->got;
	ssize_t count = recv(connection->fd, bytes, wanted, 0);

	if (count == 0) {
		errno = ECONNRESET;
		die("the server closed a connection");
	}
	if (count < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (count < 0)
		die("an answer could not be received");
	request_make(run, connection, expected);
	if (memcmp(bytes, expected + connection->got, (size_t)count) != 0) {
		fprintf(stderr, "echo_client: an answer differs from its request\n");
		exit(1);
	}
	connection->got += (uint32_t)count;
	return connection->got == run->options->bytes;
}

/* --- the closed loop ------------------------------------------------------------- */

static void answered(struct run *run, struct connection *connection)
{
	if (!answer_take(run, connection))
		return;
	if (run->counting)
		latency_add(run, now_ns() - connection->sent_ns);
	if (run->sending)
		request_send(run, connection);
}

/* Runs until that time. A second without any answer is a failure: a closed loop would hide it. */
static void loop_until(struct run *run, uint64_t end_ns)
{
	struct epoll_event events[EVENTS_MAX];

	while (now_ns() < end_ns) {
		int count = epoll_wait(run->epoll, events, EVENTS_MAX, ANSWER_MS);

		if (count == 0 && run->sending) {
			errno = ETIMEDOUT;
			die("no answer");
		}
		for (int i = 0; i < count; i++)
			answered(run, &run->connections[events[i].data.u32]);
	}
}

static double closed_loop(struct run *run)
{
	uint64_t start_ns, end_ns;

	run->sending = true;
	for (uint32_t i = 0; i < run->options->connections; i++)
		request_send(run, &run->connections[i]);
	loop_until(run, now_ns() + (uint64_t)(run->options->warm_up * 1e9));
	fprintf(stderr, "warm\n");
	run->counting = true;
	start_ns = now_ns();
	loop_until(run, start_ns + (uint64_t)(run->options->seconds * 1e9));
	end_ns = now_ns();
	run->sending = false;
	return (double)(end_ns - start_ns) / 1e9;
}

/* --- one request after a rest ------------------------------------------------------ */

static double rested_requests(struct run *run)
{
	uint64_t start_ns, state = 1;

	usleep(run->options->settle_ms * 1000);
	start_ns = now_ns();
	for (uint32_t i = 0; i < run->options->samples; i++) {
		struct connection *connection;
		struct pollfd ready;

		usleep(run->options->pause_ms * 1000);
		state = state * 6364136223846793005u + 1442695040888963407u;
		connection = &run->connections[(state >> 33) % run->options->connections];
		ready = (struct pollfd){.fd = connection->fd, .events = POLLIN};
		request_send(run, connection);
		do {
			if (poll(&ready, 1, ANSWER_MS) == 0) {
				errno = ETIMEDOUT;
				die("no answer");
			}
		} while (!answer_take(run, connection));
		latency_add(run, now_ns() - connection->sent_ns);
	}
	return (double)(now_ns() - start_ns) / 1e9;
}

/* --- opening ------------------------------------------------------------------------ */

static void connection_start(const struct run *run, struct connection *connection)
{
	const int one = 1;

	connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (connection->fd < 0)
		die("no socket");
	setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(connection->fd, (const struct sockaddr *)&run->options->server,
		    sizeof(run->options->server)) < 0 &&
	    errno != EINPROGRESS)
		die("connect");
}

static void connection_finish(struct run *run, uint32_t index)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = index};
	struct pollfd ready = {.fd = run->connections[index].fd, .events = POLLOUT};
	socklen_t bytes = sizeof(errno);
	int result = 0;

	if (poll(&ready, 1, CONNECT_MS) != 1) {
		errno = ETIMEDOUT;
		die("connect");
	}
	getsockopt(ready.fd, SOL_SOCKET, SO_ERROR, &result, &bytes);
	if (result != 0) {
		errno = result;
		die("connect");
	}
	if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, ready.fd, &event) < 0)
		die("epoll_ctl");
}

static void open_all(struct run *run)
{
	uint32_t count = run->options->connections;
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	run->epoll = epoll_create1(EPOLL_CLOEXEC);
	run->connections = calloc(count, sizeof(*run->connections));
	if (run->epoll < 0 || !run->connections)
		die("too little memory");
	for (uint32_t i = 0; i < count + OPENING_AT_ONCE; i++) {
		if (i < count)
			connection_start(run, &run->connections[i]);
		if (i >= OPENING_AT_ONCE)
			connection_finish(run, i - OPENING_AT_ONCE);
	}
	fprintf(stderr, "ready\n");
}

/* --- the command ---------------------------------------------------------------------- */

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		die("no such processor");
}

static void options_parse(struct options *options, int argc, char **argv)
{
	static const struct option known[] = {
		{"port", required_argument, NULL, 'p'},      {"connections", required_argument, NULL, 'n'},
		{"bytes", required_argument, NULL, 'b'},     {"seconds", required_argument, NULL, 's'},
		{"warm-up", required_argument, NULL, 'w'},   {"cpu", required_argument, NULL, 'c'},
		{"pause-ms", required_argument, NULL, 't'},  {"samples", required_argument, NULL, 'k'},
		{"settle-ms", required_argument, NULL, 'q'}, {NULL, 0, NULL, 0},
	};
	int letter;

	while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (letter) {
		case 'p':
			options->server.sin_port = htons((uint16_t)strtoul(optarg, NULL, 10));
			break;
		case 'n':
			options->connections = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'b':
			options->bytes = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 's':
			options->seconds = strtod(optarg, NULL);
			break;
		case 'w':
			options->warm_up = strtod(optarg, NULL);
			break;
		case 'c':
			pin(atoi(optarg));
			break;
		case 't':
			options->pause_ms = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'q':
			options->settle_ms = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'k':
			options->samples = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		default:
			exit(2);
		}
	}
	if (optind + 1 != argc || inet_pton(AF_INET, argv[optind], &options->server.sin_addr) != 1 ||
	    options->connections == 0 || options->bytes == 0 || options->bytes > BYTES_MAX) {
		fprintf(stderr, "usage: see the head of echo_client.c\n");
		exit(2);
	}
}

int main(int argc, char **argv)
{
	static struct run run;
	struct options options = {
		.server = {.sin_family = AF_INET, .sin_port = htons(7)},
		.connections = 64,
		.bytes = 64,
		.seconds = 3,
		.warm_up = 1,
	};
	double seconds;

	options_parse(&options, argc, argv);
	run.options = &options;
	open_all(&run);
	seconds = options.samples ? rested_requests(&run) : closed_loop(&run);
	printf("{\"connections\": %u, \"bytes\": %u, \"requests\": %lu, \"seconds\": %.3f, "
	       "\"requests_per_second\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"worst_us\": %.1f}\n",
	       options.connections, options.bytes, run.answered, seconds, (double)run.answered / seconds,
	       percentile_us(&run, 0.5), percentile_us(&run, 0.99), (double)run.worst_ns / 1000);
	return 0;
}
