/* bench.c - c10m bench: options in, figures out.
 * In: argv. Out: a report on standard error, or JSON on standard output. Owns: nothing. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "bench_bounce.h"
#include "bench_open.h"
#include "bench_peers.h"
#include "bench_stack.h"
#include "run/options.h"
#include "sys/text.h"
#include "verbs.h"

struct bench_options {
	struct bench_config stack;
	bool json;
};

static bool set_acks(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	struct bench_options *options = target;

	options->stack.piggyback = strcmp(text, "piggyback") == 0;
	if (options->stack.piggyback || strcmp(text, "delayed") == 0)
		return true;
	snprintf(error, OPTIONS_ERROR_BYTES, "--acks takes delayed or piggyback, not '%.40s'", text);
	return false;
}

static bool set_pages(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	static const char *const words[] = {"auto", "1g", "2m", "thp", "plain"};
	struct bench_options *options = target;

	for (unsigned i = 0; i < ARRAY_COUNT(words); i++)
		if (strcmp(text, words[i]) == 0) {
			options->stack.pages = (enum sys_page_kind)i;
			return true;
		}
	snprintf(error, OPTIONS_ERROR_BYTES, "--huge takes auto, 1g, 2m, thp or plain, not '%.40s'", text);
	return false;
}

#define NUMBER(field, from, to) OPTION_NUMBER, offsetof(struct bench_options, field), (from), (to), NULL

static const struct option_spec specs[] = {
	{"connections", "N", "connections to open (1000); 10k and 10M are understood",
	 NUMBER(stack.connections, 1, PEERS_MAX)},
	{"workers", "N",
	 "threads that each have a stack and a share of the connections (1); all measure at once",
	 NUMBER(stack.workers, 1, BENCH_WORKERS_MAX)},
	{"burst", "B", "frames handed to the stack at a time (32)", NUMBER(stack.burst, 1, BENCH_BURST_MAX)},
	{"seconds", "S", "how long to measure, after a second of warming up (5)",
	 NUMBER(stack.seconds, 1, 3600)},
	{"acks", "WHICH",
	 "delayed: a reply that no request acknowledges within 40 ms gets an ACK of its own,\n"
	 "whose cost counts as the request's (default); piggyback: only requests acknowledge",
	 OPTION_CUSTOM, .set = set_acks},
	{"cpu", "N", "processor to run on; default: the one that is disturbed least",
	 NUMBER(stack.cpu, 0, 65535)},
	{"huge", "KIND", "memory: auto (the best that works), 1g, 2m, thp, plain", OPTION_CUSTOM,
	 .set = set_pages},
	{"json", NULL, "figures as JSON on standard output", OPTION_FLAG,
	 offsetof(struct bench_options, json), 0, 0, NULL},
};

/* --- what the figures belong to ------------------------------------------------------------- */

static void processor_name(char *name, size_t room)
{
	char text[4096];
	char *at = NULL;

	if (sys_text_read("/proc/cpuinfo", text, sizeof(text)) > 0)
		at = strstr(text, "model name");
	if (at)
		at = strchr(at, ':');
	snprintf(name, room, "%s", at ? at + 2 : "unknown processor");
	name[strcspn(name, "\n")] = '\0';
}

static void machine_name(char *name, size_t room)
{
	char processor[128];
	struct utsname kernel;

	processor_name(processor, sizeof(processor));
	if (uname(&kernel) < 0)
		snprintf(name, room, "%s", processor);
	else
		snprintf(name, room, "%s, %s, Linux %.40s", processor, kernel.machine, kernel.release);
}

/* --- output ------------------------------------------------------------------------------------ */

static double per_request(const struct bench_result *result, double value)
{
	return result->requests ? value / (double)result->requests : 0;
}

static void add_slices(cJSON *json, const struct bench_slices *slices)
{
	cJSON *object = cJSON_AddObjectToObject(json, "ns_per_request_slices");

	cJSON_AddNumberToObject(object, "median", slices->median);
	cJSON_AddNumberToObject(object, "p5", slices->low);
	cJSON_AddNumberToObject(object, "p95", slices->high);
	cJSON_AddNumberToObject(object, "count", slices->count);
}

static int print_json(const struct bench_config *config, const struct bench_result *result)
{
	cJSON *json = cJSON_CreateObject();
	char machine[256], *text;

	machine_name(machine, sizeof(machine));
	cJSON_AddNumberToObject(json, "connections", result->connections);
	cJSON_AddNumberToObject(json, "requests", (double)result->requests);
	cJSON_AddNumberToObject(json, "ns_per_request", per_request(result, (double)result->timed_ns));
	cJSON_AddNumberToObject(json, "bytes_per_connection", result->bytes_per_connection);
	cJSON_AddNumberToObject(json, "page_size", (double)result->page_bytes);
	cJSON_AddNumberToObject(json, "burst", result->burst);
	cJSON_AddNumberToObject(json, "requests_per_second", result->requests_per_second);
	cJSON_AddNumberToObject(json, "workers", result->workers);
	add_slices(json, &result->slices);
	cJSON_AddStringToObject(json, "acks", config->piggyback ? "piggyback" : "delayed");
	cJSON_AddNumberToObject(json, "pure_acks", (double)result->acks);
	cJSON_AddNumberToObject(json, "frames_in", (double)result->frames_in);
	cJSON_AddNumberToObject(json, "frames_out", (double)result->frames_out);
	cJSON_AddNumberToObject(json, "timer_fired", (double)result->timers);
	cJSON_AddNumberToObject(json, "retransmits", (double)result->retransmits);
	cJSON_AddNumberToObject(json, "block_bytes", result->usage.block_stride);
	cJSON_AddNumberToObject(json, "arena_bytes", (double)result->usage.arena_bytes);
	cJSON_AddStringToObject(json, "pages", result->pages);
	cJSON_AddNumberToObject(json, "open_seconds", (double)result->open_ns / 1e9);
	cJSON_AddNumberToObject(json, "seconds", (double)result->wall_ns / 1e9);
	cJSON_AddNumberToObject(json, "cpu", result->cpu);
	cJSON_AddStringToObject(json, "machine", machine);
	text = cJSON_Print(json);
	cJSON_Delete(json);
	if (!text || printf("%s\n", text) < 0 || fflush(stdout) != 0) {
		fprintf(stderr, "c10m: standard output does not take the figures: check where it goes\n");
		free(text);
		return EXIT_REFUSED;
	}
	free(text);
	return 0;
}

static void print_report(const struct bench_result *result)
{
	const struct bench_slices *slices = &result->slices;

	fprintf(stderr, "connections           %12" PRIu32 "  opened in %.1f s\n", result->connections,
		(double)result->open_ns / 1e9);
	fprintf(stderr, "requests              %12" PRIu64 "  in bursts of %" PRIu32 ", all answers right\n",
		result->requests, result->burst);
	fprintf(stderr,
		"ns per request        %12.1f  slices of 100 ms: median %.1f, 5%% to 95%% %.1f to %.1f\n",
		per_request(result, (double)result->timed_ns), slices->median, slices->low, slices->high);
	if (result->workers > 1)
		fprintf(stderr, "requests per second   %12.0f  of %" PRIu32 " workers together\n",
			result->requests_per_second, result->workers);
	for (unsigned i = STAGE_OUTSIDE + 1; i < STAGE_COUNT && result->stage_ns[STAGE_PARSE] > 0; i++)
		fprintf(stderr, "  %-20s%12.1f  ns\n", stage_names[i], result->stage_ns[i]);
	fprintf(stderr, "frames per request    %12.2f  in, %.2f out; %.2f pure ACKs among those in\n",
		per_request(result, (double)result->frames_in),
		per_request(result, (double)result->frames_out), per_request(result, (double)result->acks));
	fprintf(stderr,
		"bytes per connection  %12.1f  block of %" PRIu32 ", with its share of table and timers\n",
		result->bytes_per_connection, result->usage.block_stride);
	fprintf(stderr, "timers fired          %12" PRIu64 "\nretransmits           %12" PRIu64 "\n",
		result->timers, result->retransmits);
	fprintf(stderr, "page size             %12zu  %s, processor %d\n", result->page_bytes, result->pages,
		result->cpu);
}

/* --- the verb -------------------------------------------------------------------------------------- */

static int bench_stack(int argc, char **argv)
{
	struct bench_options options = {
		.stack = {.connections = 1000, .workers = 1, .burst = 32, .seconds = 5, .cpu = UINT32_MAX}};
	const struct option_group group = {"options", specs, ARRAY_COUNT(specs), &options};
	const struct option_page page = {
		"c10m bench stack [options]",
		"Opens N connections in one stack, without an interface, and measures what a 64-byte echo "
		"request\n"
		"costs: frame in, TCP, application, TCP, frame out. Every answer is checked, untimed.",
		&group, 1};
	struct bench_result result;
	char error[BENCH_ERROR_BYTES];
	int code;

	if (!verb_options(argc, argv, &page, &code))
		return code;
	if (options.stack.workers > options.stack.connections) {
		fprintf(stderr, "c10m: --workers wants a connection for each: raise --connections\n");
		return EXIT_USAGE;
	}
	if (bench_stack_run(&options.stack, &result, error) < 0) {
		fprintf(stderr, "c10m: %s\n", error);
		return EXIT_REFUSED;
	}
	print_report(&result);
	return options.json ? print_json(&options.stack, &result) : 0;
}

int verb_bench(int argc, char **argv)
{
	static const char help[] = "usage: c10m bench stack [options]\n"
				   "       c10m bench open [options]\n"
				   "       c10m bench bounce [options]\n\n"
				   "stack   measures the TCP stack without an interface: requests on open "
				   "connections\n"
				   "open    the same: opening and closing them\n"
				   "bounce  measures what two ports carry without TCP\n\n"
				   "Each explains its options after --help.\n";

	if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		fputs(help, stdout);
		return 0;
	}
	if (argc >= 2 && strcmp(argv[1], "stack") == 0)
		return bench_stack(argc - 1, argv + 1);
	if (argc >= 2 && strcmp(argv[1], "open") == 0)
		return bench_open(argc - 1, argv + 1);
	if (argc >= 2 && strcmp(argv[1], "bounce") == 0)
		return bench_bounce(argc - 1, argv + 1);
	if (argc >= 2)
		fprintf(stderr,
			"c10m: '%.60s' cannot be measured: say 'c10m bench stack', 'open' or 'bounce'\n",
			argv[1]);
	else
		fputs(help, stderr);
	return EXIT_USAGE;
}
