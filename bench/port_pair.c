/* port_pair.c - what two afxdp ports on a veth pair can do: echo round trips a second.
 * In: options. Out: one line, or JSON. Needs root.
 * Owns: two network namespaces without a name; they go with the process, however it ends. */
#define _GNU_SOURCE /* setns, RUSAGE_THREAD */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "port/afxdp.h"
#include "wire/bytes.h"

#define CLIENT_ADDRESS 0x0a000001u /* 10.0.0.1 */
#define SERVER_ADDRESS 0x0a000002u /* 10.0.0.2 */
#define LOST_AFTER_US  10000       /* without an answer for so long, what is in flight is lost */

struct options {
	enum afxdp_mode mode;
	uint32_t in_flight, bytes, frames, threads;
	double seconds;
	bool json;
};

struct end {
	const struct options *options;
	const char *interface;
	uint32_t address;
	int namespace_fd, processor;
	struct port *port;
	uint64_t round_trips, lost, cpu_us;
	uint32_t in_flight;
	double seconds, last; /* when a reply last came; 0: just now */
};

static atomic_bool stop;
static pthread_barrier_t ready;

static void die(const char *what, const char *why)
{
	fprintf(stderr, "port_pair: %s: %s\n", what, why);
	exit(1);
}

static double now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static uint64_t thread_cpu_us(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return (uint64_t)((usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec +
			  usage.ru_stime.tv_usec);
}

/* --- the two namespaces ------------------------------------------------------ */

/* Runs a command line of plain words in a namespace. */
static void run_in(int namespace_fd, const char *line)
{
	char *words[24], copy[256], *next = copy;
	size_t count = 0;
	int status;
	pid_t child;

	snprintf(copy, sizeof(copy), "%s", line);
	while (count < ARRAY_COUNT(words) - 1 && (words[count] = strsep(&next, " ")) != NULL)
		count++;
	words[count] = NULL;
	child = fork();
	if (child == 0) {
		if (setns(namespace_fd, CLONE_NEWNET) == 0)
			execvp(words[0], words);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0)
		die(line, "failed");
}

static int namespace_new(void)
{
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		die("a network namespace", strerror(errno));
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die("/proc/self/ns/net", strerror(errno));
	return fd;
}

/* Leaves the calling thread in the second namespace. */
static void namespaces_join(int fds[2])
{
	char move[64];

	fds[0] = namespace_new();
	run_in(fds[0], "ip link add left type veth peer name right");
	fds[1] = namespace_new();
	snprintf(move, sizeof(move), "ip link set right netns %d", (int)getpid());
	run_in(fds[0], move);
	run_in(fds[0], "ip link set left up");
	run_in(fds[1], "ip link set right up");
}

/* --- the two ends ------------------------------------------------------------ */

static void end_open(struct end *end)
{
	const struct afxdp_config config = {
		.interface = end->interface,
		.address = end->address,
		.mode = end->options->mode,
		.frames = end->options->frames,
	};
	char error[PORT_ERROR_BYTES];
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned int)end->processor, &set);
	sched_setaffinity(0, sizeof(set), &set); /* one processor: both share it */
	if (setns(end->namespace_fd, CLONE_NEWNET) < 0)
		die("setns", strerror(errno));
	if (afxdp_open(&config, &end->port, 1, error) < 0)
		die("afxdp", error);
}

static void server_step(struct end *end)
{
	struct packet in[PORT_BURST], out[PORT_BURST];
	uint32_t room, count = port_rx(end->port, in, PORT_BURST);

	if (count == 0)
		return;
	room = port_tx_reserve(end->port, out, count);
	for (uint32_t i = 0; i < room; i++) {
		memcpy(out[i].data, in[i].data, in[i].bytes);
		memcpy(out[i].data + 26, in[i].data + 30, 4); /* the IPv4 addresses change places */
		memcpy(out[i].data + 30, in[i].data + 26, 4);
		out[i].bytes = in[i].bytes;
	}
	port_rx_release(end->port, in, count);
	port_tx_submit(end->port, out, room, room);
}

static void *server_run(void *argument)
{
	struct end *end = argument;

	end_open(end);
	pthread_barrier_wait(&ready);
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		server_step(end);
	end->cpu_us = thread_cpu_us();
	return NULL;
}

static void request_write(struct packet *packet, uint32_t bytes)
{
	memset(packet->data, 0, bytes);
	memset(packet->data, 0xff, 6);
	put16(packet->data + 12, 0x0800);
	packet->data[14] = 0x45;
	put16(packet->data + 16, (uint16_t)(bytes - 14));
	packet->data[22] = 64;
	packet->data[23] = 253; /* RFC 3692: for experiments */
	put32(packet->data + 26, CLIENT_ADDRESS);
	put32(packet->data + 30, SERVER_ADDRESS);
	packet->bytes = bytes;
}

static uint32_t client_send(struct end *end, uint32_t wanted)
{
	struct packet out[PORT_BURST];
	uint32_t sent = 0, room;

	while (sent < wanted) {
		room = port_tx_reserve(end->port, out, MIN_OF(PORT_BURST, wanted - sent));
		for (uint32_t i = 0; i < room; i++)
			request_write(&out[i], end->options->bytes);
		port_tx_submit(end->port, out, room, room);
		sent += room;
		if (room == 0)
			break;
	}
	return sent;
}

/* Frames can get lost: more in flight than a ring holds, a processor that does other things. */
static void client_expect(struct end *end)
{
	if (end->last == 0)
		end->last = now_seconds();
	if (now_seconds() - end->last < LOST_AFTER_US / 1e6)
		return;
	end->lost += end->in_flight;
	end->in_flight = 0;
	end->last = 0;
}

static void client_step(struct end *end, uint32_t round)
{
	struct packet in[PORT_BURST];
	uint32_t count;

	end->in_flight += client_send(end, end->options->in_flight - end->in_flight);
	count = port_rx(end->port, in, PORT_BURST);
	if (count > 0) {
		port_rx_release(end->port, in, count);
		end->in_flight -= MIN_OF(end->in_flight, count);
		end->round_trips += count;
		end->last = 0;
	} else if (round % 64 == 0) {
		client_expect(end);
	}
}

/* With a server it plays that part too, in turns. */
static void client_loop(struct end *client, struct end *server)
{
	double start = now_seconds();

	for (uint32_t round = 0; !atomic_load_explicit(&stop, memory_order_relaxed); round++) {
		client_step(client, round);
		if (server)
			server_step(server);
	}
	client->seconds = now_seconds() - start;
	client->cpu_us = thread_cpu_us();
}

static void *client_run(void *argument)
{
	struct end *end = argument;

	end_open(end);
	pthread_barrier_wait(&ready);
	client_loop(end, NULL);
	return NULL;
}

static void *both_run(void *argument)
{
	struct end *ends = argument;

	end_open(&ends[1]);
	end_open(&ends[0]);
	pthread_barrier_wait(&ready);
	client_loop(&ends[0], &ends[1]);
	return NULL;
}

/* --- the whole --------------------------------------------------------------- */

static void report(const struct end *client, const struct end *server)
{
	const struct options *options = client->options;
	double rate = (double)client->round_trips / client->seconds;
	double cpu_ns = (double)(client->cpu_us + server->cpu_us) * 1e3 /
			(double)MAX_OF(client->round_trips, 1);

	if (options->json)
		printf("{\"round_trips_per_second\": %.0f, \"in_flight\": %u, \"bytes\": %u, \"lost\": %llu, "
		       "\"dropped\": %llu, \"cpu_ns_per_round_trip\": %.0f, \"port\": \"%s\"}\n",
		       rate, options->in_flight, options->bytes, (unsigned long long)client->lost,
		       (unsigned long long)(client->port->stats.rx_dropped + server->port->stats.rx_dropped),
		       cpu_ns, server->port->text);
	else
		printf("%s: %.0f round trips/s, %u in flight, %llu lost, %.0f ns of processor each\n",
		       server->port->text, rate, options->in_flight, (unsigned long long)client->lost,
		       cpu_ns);
}

static __attribute__((noreturn)) void usage(void)
{
	fprintf(stderr, "usage: port_pair [--mode auto|generic|native] [--in-flight N] [--bytes N]\n"
			"                 [--frames N] [--seconds S] [--threads 1|2] [--json]\n");
	exit(2);
}

static enum afxdp_mode mode_parse(const char *text)
{
	static const char *const names[] = {"auto", "generic", "native"};

	for (uint32_t i = 0; i < ARRAY_COUNT(names); i++) {
		if (strcmp(text, names[i]) == 0)
			return (enum afxdp_mode)i;
	}
	usage();
}

static void options_parse(struct options *options, int argc, char **argv)
{
	static const struct option known[] = {
		{"mode", required_argument, NULL, 'm'},    {"in-flight", required_argument, NULL, 'n'},
		{"bytes", required_argument, NULL, 'b'},   {"frames", required_argument, NULL, 'f'},
		{"seconds", required_argument, NULL, 's'}, {"json", no_argument, NULL, 'j'},
		{"threads", required_argument, NULL, 't'}, {NULL, 0, NULL, 0},
	};
	int letter;

	while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (letter == 'm')
			options->mode = mode_parse(optarg);
		else if (letter == 'n')
			options->in_flight = (uint32_t)strtoul(optarg, NULL, 10);
		else if (letter == 'b')
			options->bytes = (uint32_t)strtoul(optarg, NULL, 10);
		else if (letter == 'f')
			options->frames = (uint32_t)strtoul(optarg, NULL, 10);
		else if (letter == 's')
			options->seconds = strtod(optarg, NULL);
		else if (letter == 't')
			options->threads = (uint32_t)strtoul(optarg, NULL, 10);
		else if (letter == 'j')
			options->json = true;
		else
			usage();
	}
	if (optind != argc || options->bytes < 60 || options->bytes > 1514 || options->in_flight == 0 ||
	    options->threads < 1 || options->threads > 2 || !(options->seconds > 0))
		usage();
}

static pthread_t thread_start(void *(*run)(void *), struct end *end)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run, end) != 0)
		die("a thread", strerror(EAGAIN));
	return thread;
}

static void measure(struct end ends[2])
{
	const struct options *options = ends[0].options;
	pthread_t threads[2];

	pthread_barrier_init(&ready, NULL, options->threads + 1);
	threads[0] = thread_start(options->threads == 1 ? both_run : client_run, &ends[0]);
	if (options->threads == 2)
		threads[1] = thread_start(server_run, &ends[1]);
	pthread_barrier_wait(&ready);
	usleep((useconds_t)(options->seconds * 1e6));
	atomic_store(&stop, true);
	for (uint32_t i = 0; i < options->threads; i++)
		pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
	struct options options = {.in_flight = 64, .bytes = 118, .threads = 2, .seconds = 2};
	struct end ends[2] = {
		{.options = &options, .interface = "left", .address = CLIENT_ADDRESS, .processor = 0},
		{.options = &options, .interface = "right", .address = SERVER_ADDRESS, .processor = 1},
	};
	int namespaces[2];

	options_parse(&options, argc, argv);
	namespaces_join(namespaces);
	for (int i = 0; i < 2; i++)
		ends[i].namespace_fd = namespaces[i];
	measure(ends);
	report(&ends[0], &ends[1]);
	for (int i = 0; i < 2; i++)
		port_close(ends[i].port);
	return 0;
}
