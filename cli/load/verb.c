/* verb.c - c10m load: a run from its options to its results.
 * In: argv. Out: an exit code. Owns: the options and the results of the run. */
#include <string.h>

#include "../verbs.h"
#include "progress.h"
#include "result.h"

#define EXIT_LOST 3 /* it ran, and something was lost or did not open */

static struct load_options options;
static struct load_result result = {.options = &options};
static struct load_shown shown[OWNER_WORKERS_MAX];
static atomic_flag shown_locks[OWNER_WORKERS_MAX];
static struct load_interface before;

static struct c10m_service service;

static bool check(struct run_config *run, char error[OPTIONS_ERROR_BYTES])
{
	if (!load_options_check(&options, run, error) || !series_check(&options, error))
		return false;
	if (options.acks == ACKS_QUICK)
		service.flags |= C10M_QUICKACK;
	if (options.config.fastopen)
		service.flags |= C10M_FASTOPEN;
	interface_read(options.interface, &before);
	engines_prepare(&options.config, shown, shown_locks);
	return progress_begin(&options, shown, shown_locks, error);
}

static void add_worker(const struct worker *worker)
{
	struct statistics statistics;

	for (uint32_t i = 0; i < worker->config.port_count; i++) {
		const struct port_stats *stats = &worker->config.ports[i]->stats;

		result.interface.rx_dropped += stats->rx_dropped;
		result.interface.tx_lost += stats->tx_lost;
		result.interface.tx_full += stats->tx_full;
	}
	if (!statistics_read(worker->config.number, &statistics))
		return;
	result.retransmits += statistics.stats.retransmits;
	result.stack_drops += statistics.stats.drops;
	result.memory_bytes += statistics.stats.memory_bytes;
}

static void ended(const struct worker *const *workers, uint32_t count)
{
	struct load_interface after = {0};

	for (uint32_t i = 0; i < count; i++)
		add_worker(workers[i]);
	interface_read(options.interface, &after);
	result.interface.kernel_rx_dropped = after.kernel_rx_dropped - before.kernel_rx_dropped;
	result.interface.kernel_tx_dropped = after.kernel_tx_dropped - before.kernel_tx_dropped;
	result.interface.kernel_errors = after.kernel_errors - before.kernel_errors;
}

static int report(void)
{
	result_collect(&result);
	result_print(&result, options.json ? stderr : stdout);
	if (options.json && !result_print_json(&result)) {
		fprintf(stderr, "c10m: standard output does not take the results: check where it goes\n");
		return EXIT_REFUSED;
	}
	return result_is_good(&result) ? 0 : EXIT_LOST;
}

int verb_load(int argc, char **argv)
{
	const struct option_group extra = {"options of load", load_specs, load_spec_count, &options};
	const struct run_program program = {
		.name = "c10m",
		.usage = "c10m load --interface IF --address A/LEN --target A:P --connections N [options]",
		.about = "Opens connections to a server (1000, if --connections does not say), keeps them "
			 "busy, checks\n"
			 "every answer and tells how long it took. Exit code: 0 nothing was lost, 1 the "
			 "machine\n"
			 "refused, 2 wrong usage, 3 something was lost.",
		.extra = &extra,
		.defaults = load_run_defaults,
		.check = check,
		.ended = ended,
	};
	char error[OPTIONS_ERROR_BYTES] = "";
	int code;

	load_options_init(&options);
	conn_service(&service);
	code = run_main(argc, argv, &program, &service, 1, NULL);
	if (!progress_end(error))
		fprintf(stderr, "c10m: %s\n", error);
	if (code != 0 || !engine_at(0)->worker)
		return code;
	return error[0] ? MAX_OF(report(), EXIT_REFUSED) : report();
}
