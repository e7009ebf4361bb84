/* announce.c - SIGUSR1 becomes a message to all connections of all workers.
 * In: the signal. Out: fan-outs, a line for each on standard error. Owns: the descriptor that hears the
 * signal.
 *
 * The signal is blocked in all threads and read from a descriptor, so that nothing is interrupted by it. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "announce.h"

static const char *announcement;
static _Thread_local uint64_t begun_us;

void announce_prepare(const char *text)
{
	sigset_t set;

	announcement = text;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static void on_done(c10m_worker *worker, const struct c10m_fanout_result *result, void *context)
{
	double seconds = (double)(c10m_now_us(worker) - begun_us) / 1e6;

	(void)context;
	fprintf(stderr,
		"c10m: worker %" PRIu32 ": announced to %" PRIu32 " connections in %.3f s, %" PRIu32
		" have acknowledged it, %" PRIu32 " were skipped\n",
		c10m_worker_number(worker), result->queued, seconds, result->acknowledged, result->skipped);
}

static void announce(c10m_worker *worker, void *unused)
{
	struct c10m_fanout_request request = {.flags = C10M_FANOUT_AWAIT, .on_done = on_done};
	size_t bytes = strlen(announcement);
	char *line = malloc(bytes + 1);

	(void)unused;
	if (line) {
		memcpy(line, announcement, bytes);
		line[bytes] = '\n';
		request.message = c10m_message_new(worker, line, bytes + 1);
	}
	free(line);
	begun_us = c10m_now_us(worker);
	if (request.message == 0 || c10m_fanout(worker, &request) < 0)
		fprintf(stderr, "c10m: too many announcements are under way: send SIGUSR1 less often\n");
	if (request.message)
		c10m_message_release(worker, request.message);
}

static void on_signal(c10m_worker *worker, int fd, unsigned events, void *unused)
{
	struct signalfd_siginfo heard;
	struct c10m_stats stats;
	uint32_t workers = c10m_total_stats(&stats);

	(void)worker;
	(void)events;
	(void)unused;
	if (read(fd, &heard, sizeof(heard)) != (ssize_t)sizeof(heard))
		return;
	for (uint32_t i = 0; i < workers; i++)
		if (c10m_post(i, announce, NULL) < 0)
			fprintf(stderr, "c10m: worker %" PRIu32 " is too busy to announce anything\n", i);
}

void announce_start(c10m_worker *worker)
{
	sigset_t set;
	int fd;

	if (!announcement || c10m_worker_number(worker) != 0)
		return;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0 || c10m_watch_fd(worker, fd, C10M_WATCH_READ, on_signal, NULL) < 0)
		fprintf(stderr, "c10m: no file descriptor is left to hear SIGUSR1 by: raise 'ulimit -n'\n");
}
