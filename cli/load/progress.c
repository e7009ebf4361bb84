/* progress.c - a thread that tells how the run goes.
 * In: what the workers show. Out: a line redrawn on a terminal, lines elsewhere, samples. Owns: the thread.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "progress.h"
#include "sys/clock.h"

#define BEGIN_MS  10 /* the first second is to be one */
#define DRAW_MS   250
#define SECOND_NS 1000000000u

static struct progress {
	const struct load_options *options;
	struct load_shown *shown;
	atomic_flag *locks;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	bool running, over, terminal, series;
	uint64_t start_ns, second_ns;
	struct load_shown now, before; /* sums of all workers */
	struct sample sample;
	char error[OPTIONS_ERROR_BYTES];
} progress = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static const char *const phase_names[] = {
	[PHASE_OPEN] = "opening",    [PHASE_PROVE] = "proving",       [PHASE_LOAD] = "load",
	[PHASE_MESSAGE] = "message", [PHASE_PROVE_AFTER] = "proving", [PHASE_CLOSE] = "closing",
	[PHASE_OVER] = "over",       [PHASE_PACED] = "paced",
};

static void add(struct load_shown *sum, const struct load_shown *part)
{
	uint64_t *to = (uint64_t *)&sum->counts;
	const uint64_t *from = (const uint64_t *)&part->counts;

	for (size_t i = 0; i < LOAD_COUNT; i++)
		to[i] += from[i];
	sum->held += part->held;
	sum->opening += part->opening;
	sum->in_flight += part->in_flight;
	sum->phase = part->phase;
	histogram_merge(&sum->latency, &part->latency);
}

static void look(struct progress *run)
{
	memset(&run->now, 0, sizeof(run->now));
	for (uint32_t i = 0; i < run->options->config.workers; i++) {
		while (atomic_flag_test_and_set_explicit(&run->locks[i], memory_order_acquire))
			sched_yield();
		add(&run->now, &run->shown[i]);
		atomic_flag_clear_explicit(&run->locks[i], memory_order_release);
	}
}

/* What came since the last second. */
static void take_sample(struct progress *run, uint64_t now_ns)
{
	static struct histogram since;
	double seconds = (double)(now_ns - run->second_ns) / 1e9;
	const struct load_counts *now = &run->now.counts, *before = &run->before.counts;

	histogram_since(&since, &run->now.latency, &run->before.latency);
	run->sample = (struct sample){
		.seconds = (double)(now_ns - run->start_ns) / 1e9,
		.opened = (double)(now->opened - before->opened) / seconds,
		.requests = (double)(now->answers - before->answers) / seconds,
		.held = run->now.held,
		.in_flight = run->now.in_flight,
		.p50 = histogram_percentile(&since, 0.5),
		.p99 = histogram_percentile(&since, 0.99),
		.max = since.max,
		.lost = load_lost(now),
		.failed = load_open_failures(now),
		.phase = run->now.phase,
	};
	run->before = run->now;
	run->second_ns = now_ns;
}

static void draw(const struct progress *run, const char *begin, const char *end)
{
	const struct sample *sample = &run->sample;

	fprintf(stderr,
		"%s%6.1f s  %-8s %" PRIu64 " held, %.0f opened/s, %.0f answers/s, p50 %" PRIu64
		" p99 %" PRIu64 " max %" PRIu64 " us, lost %" PRIu64 ", not opened %" PRIu64 "%s",
		begin, sample->seconds, phase_names[sample->phase], sample->held, sample->opened,
		sample->requests, sample->p50, sample->p99, sample->max, sample->lost, sample->failed, end);
	fflush(stderr);
}

static void tell(struct progress *run)
{
	uint64_t now_ns = sys_now_ns();
	bool second = now_ns - run->second_ns >= SECOND_NS;

	look(run);
	if (second) {
		take_sample(run, now_ns);
		if (run->series)
			series_add(&run->sample);
	}
	run->sample.held = run->now.held;
	run->sample.phase = run->now.phase;
	run->sample.seconds = (double)(now_ns - run->start_ns) / 1e9;
	if (run->options->quiet)
		return;
	if (run->terminal)
		draw(run, "\r\033[K", "");
	else if (second)
		draw(run, "c10m: ", "\n");
}

static void wait_a_while(struct progress *run, long ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += ms * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	pthread_cond_timedwait(&run->wake, &run->mutex, &until);
}

/* Workers that have not begun show zeroes: nothing is told before the first has. */
static bool has_begun(struct progress *run)
{
	look(run);
	return run->now.counts.started > 0;
}

static void *tell_all(void *context)
{
	struct progress *run = context;
	bool begun = false;

	pthread_mutex_lock(&run->mutex);
	while (!run->over) {
		wait_a_while(run, begun ? DRAW_MS : BEGIN_MS);
		if (!begun) {
			begun = has_begun(run);
			run->start_ns = run->second_ns = sys_now_ns();
		} else if (!run->over) {
			tell(run);
		}
	}
	if (run->terminal && begun && !run->options->quiet)
		fputs("\r\033[K", stderr);
	pthread_mutex_unlock(&run->mutex);
	return NULL;
}

static bool start_thread(struct progress *run)
{
	pthread_condattr_t attributes;
	sigset_t all, old;
	int code;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&run->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	sigfillset(&all); /* signals are the workers' */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	code = pthread_create(&run->thread, NULL, tell_all, run);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return code == 0;
}

bool progress_begin(const struct load_options *options, struct load_shown *shown, atomic_flag *locks,
		    char error[OPTIONS_ERROR_BYTES])
{
	progress.options = options;
	progress.shown = shown;
	progress.locks = locks;
	progress.terminal = isatty(STDERR_FILENO);
	progress.series = options->csv || options->plot;
	if (progress.series && !series_begin(options, error))
		return false;
	progress.running = start_thread(&progress);
	if (!progress.running)
		snprintf(error, OPTIONS_ERROR_BYTES,
			 "no thread can be started: raise the limit with 'ulimit -u'");
	return progress.running;
}

bool progress_end(char error[OPTIONS_ERROR_BYTES])
{
	if (!progress.running)
		return true;
	pthread_mutex_lock(&progress.mutex);
	progress.over = true;
	pthread_cond_signal(&progress.wake);
	pthread_mutex_unlock(&progress.mutex);
	pthread_join(progress.thread, NULL);
	progress.running = false;
	return !progress.series || series_end(error);
}
