/* main.c - c10m-sim: runs seeds, says which ones fail and what occurred.
 * In: options.  Out: TAP lines, FAIL lines that repeat a failure, a table of events.
 *
 * Each seed runs in a child process, so that an assertion that fails and a run that hangs are found too. */
#define _GNU_SOURCE 1
#include "sim.h"

#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/plant.h"
#include "commit.h"

#define JOBS_MAX        16
#define HANG_SECONDS    30 /* of processor time, for one seed */
#define REPEAT_EVERY    64 /* each so many seeds one runs twice and must do the same */
#define SELF_TEST_SEEDS 3000
#define FAILURE_ROOM    400

/* Shared with the children. */
struct job {
	uint64_t seed;
	char failure[FAILURE_ROOM];
	struct counters sum;
};

struct shared {
	uint64_t next, end, done;
	bool stop;
	struct job jobs[JOBS_MAX];
};

struct options {
	uint64_t first, count;
	unsigned jobs, bug;
	double seconds;
	bool trace, self_test, require_events, table, in_process;
	uint64_t limit;
};

static struct shared *shared;
static int child_output[JOBS_MAX]; /* what a child wrote on standard error */
static uint64_t failed_seed;
static char failed_why[FAILURE_ROOM + 200];

#ifdef C10M_PLANT
#define PLANT_BUILT true
static void plant(unsigned bug)
{
	planted_bug = (enum planted_bug)bug;
}
#else
#define PLANT_BUILT false
static void plant(unsigned bug)
{
	(void)bug;
}
#endif

static const char *const bug_names[PLANT_COUNT] = {
#define X(name, text) [PLANT_##name] = #name,
	PLANTED_BUGS(X)
#undef X
};

/* Events that two honest stacks over a bad link, small pools and a hostile host must bring about. Left out
 * is only what cannot happen here, with the reason beside it. */
static const char *const impossible_events[] = {
	"timer_sweeps", /* the wheel is sized for every object */
	"splices",      /* no application here is a proxy: packet/test_splice.c */
	"splice_bytes", /* likewise, and for those behind it */
	"splice_moved_bytes",
	"splice_waits",
	"splice_aborts",
	"tcp_paths_without_place", /* more places than connections: packet/test_path.c */
	"unaccepted",              /* threads take connections, and none are here: tests/unit/test_client.c */
	NULL,
};

static const char *const impossible_drops[] = {
	"PORT_FRAME", /* a reply is never longer than the MTU, and frames here hold that */
	NULL,
};

static bool listed(const char *const *list, const char *name)
{
	for (; *list; list++) {
		if (strcmp(*list, name) == 0)
			return true;
	}
	return false;
}

/* --- children ------------------------------------------------------------------------------ */

static void run_seed(struct job *job, uint64_t seed, bool trace)
{
	uint64_t hash;

	setitimer(ITIMER_PROF, &(struct itimerval){.it_value.tv_sec = HANG_SECONDS}, NULL);
	job->seed = seed;
	job->failure[0] = 0;
	hash = world_run(seed, trace, &job->sum, job->failure, sizeof(job->failure));
	if (seed % REPEAT_EVERY == 0) {
		struct counters ignored = {0};

		if (world_run(seed, false, &ignored, job->failure, sizeof(job->failure)) != hash) {
			snprintf(job->failure, sizeof(job->failure),
				 "the same seed did something else the second time");
			_exit(3);
		}
	}
}

static void child(unsigned index, const struct options *options)
{
	struct job *job = &shared->jobs[index];

	if (!options->trace)
		dup2(child_output[index], STDERR_FILENO);
	plant(options->bug);
	for (;;) {
		uint64_t seed = __atomic_fetch_add(&shared->next, 1, __ATOMIC_RELAXED);

		if (seed >= shared->end || shared->stop)
			_exit(0);
		if (ftruncate(child_output[index], 0) != 0 || lseek(child_output[index], 0, SEEK_SET) != 0)
			_exit(4);
		run_seed(job, seed, options->trace);
		fflush(stdout);
		__atomic_fetch_add(&shared->done, 1, __ATOMIC_RELAXED);
	}
}

static pid_t child_start(unsigned index, const struct options *options)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		perror("c10m-sim: fork");
		exit(1);
	}
	if (pid == 0)
		child(index, options);
	return pid;
}

/* Why a child died: its own word, else what it wrote last, else the signal. */
static void failure_of(unsigned index, int status, char *text, size_t room)
{
	char output[FAILURE_ROOM] = "";
	ssize_t bytes = pread(child_output[index], output, sizeof(output) - 1, 0);

	if (shared->jobs[index].failure[0])
		snprintf(text, room, "%s", shared->jobs[index].failure);
	else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF)
		snprintf(text, room, "hangs: no end within %d s", HANG_SECONDS);
	else if (bytes > 0)
		snprintf(text, room, "%.*s", (int)strcspn(output, "\n"), output);
	else
		snprintf(text, room, "died by signal %d", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

static void report_failure(unsigned index, int status, const struct options *options)
{
	char text[FAILURE_ROOM + 100];

	failure_of(index, status, text, sizeof(text));
	failed_seed = shared->jobs[index].seed;
	snprintf(failed_why, sizeof(failed_why), "%s", text);
	if (!options->self_test)
		printf("FAIL seed=%llu commit=%s %s%s%s%s\n", (unsigned long long)failed_seed, SIM_COMMIT,
		       options->bug ? "bug=" : "", options->bug ? bug_names[options->bug] : "",
		       options->bug ? " " : "", text);
}

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Runs seeds; returns how many failed. stop_at_first: one failure is enough. */
static unsigned run_seeds(const struct options *options, uint64_t first, uint64_t count, bool stop_at_first)
{
	pid_t pids[JOBS_MAX];
	unsigned failed = 0, running = options->jobs;
	double end = seconds_now() + options->seconds;

	shared->next = first;
	shared->end = first + count;
	shared->done = 0;
	shared->stop = false;
	for (unsigned i = 0; i < options->jobs; i++)
		pids[i] = child_start(i, options);
	while (running > 0) {
		int status;
		pid_t pid = waitpid(-1, &status, options->seconds > 0 ? WNOHANG : 0);

		if (pid <= 0) {
			if (seconds_now() > end)
				shared->stop = true;
			usleep(20000);
			continue;
		}
		for (unsigned i = 0; i < options->jobs; i++) {
			if (pids[i] != pid)
				continue;
			running--;
			if (status == 0)
				break;
			report_failure(i, status, options);
			failed++;
			if (stop_at_first || failed >= 20) {
				shared->stop = true;
			} else {
				pids[i] = child_start(i, options);
				running++;
			}
		}
	}
	return failed;
}

/* --- reports --------------------------------------------------------------------------------- */

static void sum_counters(struct counters *sum)
{
	memset(sum, 0, sizeof(*sum));
	for (unsigned i = 0; i < JOBS_MAX; i++)
		counters_add(sum, &shared->jobs[i].sum);
}

static void print_table(const struct counters *sum)
{
	for (unsigned i = 0; i < EVENT_COUNTER_COUNT; i++)
		printf("# %14llu  %s\n", (unsigned long long)event_counter_get(sum, i),
		       event_counter_name(i));
	for (unsigned i = 1; i < DROP_COUNT; i++)
		printf("# %14llu  dropped: %s\n", (unsigned long long)sum->drops[i], drop_reason_name(i));
}

/* A TAP line each, for what must have occurred. */
static unsigned check_events(const struct counters *sum)
{
	unsigned failed = 0;

	for (unsigned i = 0; i < EVENT_COUNTER_COUNT; i++) {
		const char *name = event_counter_name(i);

		if (listed(impossible_events, name) || event_counter_get(sum, i) > 0)
			continue;
		printf("not ok - event %s never occurred\n", name);
		failed++;
	}
	for (unsigned i = 1; i < DROP_COUNT; i++) {
		if (sum->drops[i] > 0 || listed(impossible_drops, drop_reason_name(i)))
			continue;
		printf("not ok - drop reason %s never occurred\n", drop_reason_name(i));
		failed++;
	}
	if (failed == 0)
		printf("ok - every event and drop reason occurred\n");
	return failed;
}

static int run_all(const struct options *options)
{
	double start = seconds_now();
	unsigned failed = run_seeds(options, options->first, options->count, false);
	struct counters sum;

	sum_counters(&sum);
	if (options->table)
		print_table(&sum);
	printf("%s - sim: %llu seeds from %llu in %.1f s, %u failed\n", failed ? "not ok" : "ok",
	       (unsigned long long)shared->done, (unsigned long long)options->first, seconds_now() - start,
	       failed);
	if (options->require_events)
		failed += check_events(&sum);
	return failed ? 1 : 0;
}

/* Plants one bug and searches a seed that finds it. The seed must pass without the bug. */
static bool self_test_bug(struct options *options, unsigned bug)
{
	double start = seconds_now();
	uint64_t seed, tried;

	options->bug = bug;
	if (run_seeds(options, options->first, options->limit, true) == 0) {
		printf("not ok - bug %s: not found in %llu seeds\n", bug_names[bug],
		       (unsigned long long)shared->done);
		return false;
	}
	seed = failed_seed;
	tried = shared->done + 1;
	options->bug = PLANT_NONE;
	options->jobs = 1;
	if (run_seeds(options, seed, 1, true) > 0) {
		printf("not ok - bug %s: seed %llu fails without it too: %s\n", bug_names[bug],
		       (unsigned long long)seed, failed_why);
		return false;
	}
	printf("ok - bug %s: found by seed %llu, after %llu seeds and %.1f s: %s\n", bug_names[bug],
	       (unsigned long long)seed, (unsigned long long)tried, seconds_now() - start, failed_why);
	return true;
}

static int self_test(struct options *options)
{
	unsigned missed = 0, jobs = options->jobs;

	if (!PLANT_BUILT) {
		fprintf(stderr, "c10m-sim: built without bugs to find: build with -Dplant=true, "
				"or use ./dev sim --self-test\n");
		return 1;
	}
	for (unsigned bug = 1; bug < PLANT_COUNT; bug++) {
		options->jobs = jobs;
		missed += !self_test_bug(options, bug);
	}
	return missed ? 1 : 0;
}

static int run_here(const struct options *options)
{
	struct counters sum = {0};

	plant(options->bug);
	for (uint64_t i = 0; i < options->count; i++)
		printf("seed %llu: %016llx\n", (unsigned long long)(options->first + i),
		       (unsigned long long)world_run(options->first + i, options->trace, &sum, NULL, 0));
	if (options->table)
		print_table(&sum);
	return 0;
}

/* --- options ------------------------------------------------------------------------------------ */

static void usage(FILE *to)
{
	fputs("usage: c10m-sim [OPTION]...\n"
	      "Runs two stacks over a faulty link, beside a hostile host; every seed repeats exactly.\n\n"
	      "  --seeds N | A-B    run N seeds from 1 (default 200), or seeds A to B\n"
	      "  --seed S           run one seed\n"
	      "  --start S          first seed, with --seeds N\n"
	      "  --count N          as --seeds N\n"
	      "  --seconds N        stop after N seconds\n"
	      "  --jobs N           seeds at a time (default: 2)\n"
	      "  --trace            print every frame (with --seed)\n"
	      "  --here             run in this process, for a debugger (with --seed)\n"
	      "  --require-events   fail when an event or drop reason never occurred\n"
	      "  --no-table         do not print how often each event occurred\n"
	      "  --bug NAME         plant a bug (build with -Dplant=true); --bug list names them\n"
	      "  --self-test        plant each bug in turn and search a seed that finds it\n"
	      "  --limit N          seeds to search for each bug (default 3000)\n",
	      to);
}

static unsigned bug_named(const char *name)
{
	for (unsigned i = 1; i < PLANT_COUNT; i++) {
		if (strcmp(name, bug_names[i]) == 0)
			return i;
		if (strcmp(name, "list") == 0)
			puts(bug_names[i]);
	}
	if (strcmp(name, "list") == 0)
		exit(0);
	fprintf(stderr, "c10m-sim: there is no bug '%s': --bug list names them\n", name);
	exit(2);
}

static void parse_seeds(struct options *options, const char *text)
{
	char *end;
	uint64_t first = strtoull(text, &end, 10);

	if (*end == '-') {
		options->first = first;
		options->count = strtoull(end + 1, &end, 10) + 1 - first;
	} else {
		options->count = first;
	}
	if (*end || options->count == 0 || options->count > UINT32_MAX) {
		fprintf(stderr, "c10m-sim: '%s' is no number of seeds and no range A-B\n", text);
		exit(2);
	}
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 10);

	if (*end || end == text) {
		fprintf(stderr, "c10m-sim: '%s' is no number\n", text);
		exit(2);
	}
	return value;
}

static void take_option(struct options *options, int option)
{
	switch (option) {
	case 's':
		parse_seeds(options, optarg);
		break;
	case '1':
		options->first = number(optarg);
		options->count = options->jobs = 1;
		break;
	case 'S':
		options->first = number(optarg);
		break;
	case 't':
		options->seconds = (double)number(optarg);
		break;
	case 'j':
		options->jobs = (unsigned)number(optarg);
		break;
	case 'l':
		options->limit = number(optarg);
		break;
	case 'b':
		options->bug = bug_named(optarg);
		break;
	case 'h':
		usage(stdout);
		exit(0);
	default:
		usage(stderr);
		exit(2);
	}
}

static struct options parse(int argc, char **argv)
{
	static struct options options = {
		.first = 1, .count = 200, .jobs = 2, .table = true, .limit = SELF_TEST_SEEDS};
	static int flags[5];
	static const struct option names[] = {
		{"seeds", required_argument, NULL, 's'},
		{"seed", required_argument, NULL, '1'},
		{"start", required_argument, NULL, 'S'},
		{"count", required_argument, NULL, 's'},
		{"seconds", required_argument, NULL, 't'},
		{"jobs", required_argument, NULL, 'j'},
		{"limit", required_argument, NULL, 'l'},
		{"bug", required_argument, NULL, 'b'},
		{"help", no_argument, NULL, 'h'},
		{"trace", no_argument, &flags[0], 1},
		{"here", no_argument, &flags[1], 1},
		{"require-events", no_argument, &flags[2], 1},
		{"no-table", no_argument, &flags[3], 1},
		{"self-test", no_argument, &flags[4], 1},
		{NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "h", names, NULL)) != -1) {
		if (option != 0)
			take_option(&options, option);
	}
	options.trace = flags[0];
	options.in_process = flags[1];
	options.require_events = flags[2];
	options.table = !flags[3];
	options.self_test = flags[4];
	if (optind < argc || options.jobs == 0 || options.jobs > JOBS_MAX) {
		fputs("c10m-sim: wrong arguments: see --help\n", stderr);
		exit(2);
	}
	if (options.bug && !PLANT_BUILT) {
		fputs("c10m-sim: built without bugs: build with -Dplant=true\n", stderr);
		exit(2);
	}
	return options;
}

int main(int argc, char **argv)
{
	struct options options = parse(argc, argv);

	if (options.in_process)
		return run_here(&options);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) {
		perror("c10m-sim: mmap");
		return 1;
	}
	for (unsigned i = 0; i < options.jobs; i++) {
		child_output[i] = memfd_create("c10m-sim", 0);
		if (child_output[i] < 0) {
			perror("c10m-sim: memfd_create");
			return 1;
		}
	}
	return options.self_test ? self_test(&options) : run_all(&options);
}
