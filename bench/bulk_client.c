/* bulk_client.c - one kernel socket that sends, or receives, as fast as it can.
 *
 *   bulk_client ADDRESS --port P [--receive] [--seconds S] [--warm-up S] [--cpu N]
 *
 * In: a discard or a chargen server. Out: one line of JSON. Owns: its socket. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "micro.h"

#define PIECE_BYTES (256u * 1024)

struct options {
	struct sockaddr_in server;
	double seconds, warm_up;
	bool receive;
};

static void die(const char *what)
{
	fprintf(stderr, "bulk_client: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static double now_seconds(void)
{
	return (double)micro_now_ns() / 1e9;
}

/* Moves bytes for so long; how many. */
static double move(int fd, const struct options *options, double seconds)
{
	static uint8_t piece[PIECE_BYTES];
	double end = now_seconds() + seconds, moved = 0;

	while (now_seconds() < end) {
		ssize_t done = options->receive ? recv(fd, piece, sizeof(piece), 0)
						: send(fd, piece, sizeof(piece), MSG_NOSIGNAL);

		if (done <= 0)
			die(options->receive ? "receiving" : "sending");
		moved += (double)done;
	}
	return moved;
}

static void pin(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		die("--cpu");
}

static void options_parse(struct options *options, int argc, char **argv)
{
	static const struct option known[] = {
		{"port", required_argument, NULL, 'p'},    {"receive", no_argument, NULL, 'r'},
		{"seconds", required_argument, NULL, 's'}, {"warm-up", required_argument, NULL, 'w'},
		{"cpu", required_argument, NULL, 'c'},     {NULL, 0, NULL, 0},
	};
	int letter;

	options->server.sin_family = AF_INET;
	while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (letter == 'p')
			options->server.sin_port = htons((uint16_t)strtoul(optarg, NULL, 10));
		else if (letter == 'r')
			options->receive = true;
		else if (letter == 's')
			options->seconds = strtod(optarg, NULL);
		else if (letter == 'w')
			options->warm_up = strtod(optarg, NULL);
		else if (letter == 'c')
			pin((unsigned)strtoul(optarg, NULL, 10));
		else
			exit(2);
	}
	if (optind + 1 != argc || inet_pton(AF_INET, argv[optind], &options->server.sin_addr) != 1) {
		fprintf(stderr, "usage: bulk_client ADDRESS --port P [--receive] [--seconds S] [--warm-up S] "
				"[--cpu N]\n");
		exit(2);
	}
}

int main(int argc, char **argv)
{
	struct options options = {.seconds = 3, .warm_up = 0.5};
	double start, cpu, bytes, seconds;
	int fd;

	options_parse(&options, argc, argv);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&options.server, sizeof(options.server)) < 0)
		die("connecting");
	move(fd, &options, options.warm_up);
	fputs("warm\n", stderr);
	start = now_seconds();
	cpu = cpu_seconds();
	bytes = move(fd, &options, options.seconds);
	seconds = now_seconds() - start;
	printf("{\"bytes\": %.0f, \"seconds\": %.6f, \"gigabits_per_second\": %.3f, \"cpu_share\": %.3f}\n",
	       bytes, seconds, bytes * 8 / seconds / 1e9, (cpu_seconds() - cpu) / seconds);
	close(fd);
	return 0;
}
