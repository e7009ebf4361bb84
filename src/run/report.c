/* report.c - lines of statistics.
 * In: the counters of a stack, its worker and its ports. Out: text. Owns: what the last line said. */
#include <inttypes.h>

#include "run/report.h"

void report_init(struct report *report, const char *program, const struct worker *worker)
{
	*report = (struct report){.program = program, .worker = worker, .last_us = worker_now_us(worker)};
}

void report_line(struct report *report, FILE *to, uint64_t now_us)
{
	const struct worker_stats *worker = &report->worker->stats;
	struct c10m_stats now;
	double seconds = (double)(now_us - report->last_us) / 1e6;

	if (seconds <= 0)
		return;
	c10m_worker_stats(stack_worker(report->worker->config.stack), &now);
	fprintf(to,
		"%s: %" PRIu64 " connections, %" PRIu64 " half open, %" PRIu64
		" in TIME_WAIT; each second: %.0f opened, "
		"%.0f packets in, %.0f out, %.0f retransmits, %.0f drops; busy %.1f%%, asleep %.1f%%\n",
		report->program, now.connections, now.half_open, now.time_wait,
		(double)(now.opened - report->last.opened) / seconds,
		(double)(now.rx_packets - report->last.rx_packets) / seconds,
		(double)(now.tx_packets - report->last.tx_packets) / seconds,
		(double)(now.retransmits - report->last.retransmits) / seconds,
		(double)(now.drops - report->last.drops) / seconds,
		(double)(worker->busy_ns - report->last_worker.busy_ns) / seconds / 1e7,
		(double)(worker->sleep_ns - report->last_worker.sleep_ns) / seconds / 1e7);
	report->last = now;
	report->last_worker = *worker;
	report->last_us = now_us;
}

static void print_count(FILE *to, uint64_t count, const char *text)
{
	if (count > 0)
		fprintf(to, "%16" PRIu64 "  %s\n", count, text);
}

static void print_worker(const struct worker_stats *stats, FILE *to)
{
	print_count(to, stats->loops, "rounds of the worker's loop");
	print_count(to, stats->bursts, "bursts received");
	print_count(to, stats->tx_blocked, "rounds that ended because the port had no room");
	print_count(to, stats->sleeps, "times asleep");
	print_count(to, stats->short_sleeps, "of these shorter than the longest spin");
	print_count(to, stats->busy_ns / 1000000, "ms busy");
	print_count(to, stats->spin_ns / 1000000, "ms looking for work");
	print_count(to, stats->sleep_ns / 1000000, "ms asleep");
}

void report_counters(const struct worker *worker, FILE *to)
{
	const struct counters *counters = stack_counters(worker->config.stack);

	for (unsigned i = 1; i < DROP_COUNT; i++)
		print_count(to, counters->drops[i], drop_reason_text(i));
	for (unsigned i = 0; i < EVENT_COUNTER_COUNT; i++)
		print_count(to, event_counter_get(counters, i), event_counter_text(i));
	for (uint32_t i = 0; i < worker->config.port_count; i++) {
		const struct port_stats *stats = &worker->config.ports[i]->stats;

		fprintf(to, "%s:\n", worker->config.ports[i]->text);
		print_count(to, stats->rx_packets, "frames received");
		print_count(to, stats->tx_packets, "frames sent");
		print_count(to, stats->rx_dropped, "frames lost before we saw them");
		print_count(to, stats->rx_invalid, "descriptors refused");
		print_count(to, stats->tx_full, "times without room to send");
		print_count(to, stats->tx_lost, "frames that the interface did not take");
	}
	print_worker(&worker->stats, to);
}
