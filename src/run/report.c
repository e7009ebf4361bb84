/* report.c - lines of statistics.
 * In: what workers show of their counters, their ports'. Out: text. Owns: what the last line said. */
#include <inttypes.h>

#include "run/report.h"

void report_init(struct report *report, const char *program, uint32_t workers, uint64_t now_us)
{
	*report = (struct report){.program = program, .workers = workers, .last_us = now_us};
}

static double rate(uint64_t now, uint64_t before, double seconds)
{
	return (double)(now - before) / seconds;
}

void report_line(struct report *report, FILE *to, uint64_t now_us)
{
	double seconds = (double)(now_us - report->last_us) / 1e6;
	const struct statistics *last = &report->last;
	struct statistics now;

	if (seconds <= 0)
		return;
	statistics_sum(&now);
	fprintf(to,
		"%s: %" PRIu64 " connections, %" PRIu64 " half open, %" PRIu64
		" in TIME_WAIT; each second: %.0f opened, "
		"%.0f packets in, %.0f out, %.0f retransmits, %.0f drops",
		report->program, now.stats.connections, now.stats.half_open, now.stats.time_wait,
		rate(now.stats.opened, last->stats.opened, seconds),
		rate(now.stats.rx_packets, last->stats.rx_packets, seconds),
		rate(now.stats.tx_packets, last->stats.tx_packets, seconds),
		rate(now.stats.retransmits, last->stats.retransmits, seconds),
		rate(now.stats.drops, last->stats.drops, seconds));
	if (report->workers > 1)
		fprintf(to, ", %.0f handed to another worker",
			rate(now.handover.given, last->handover.given, seconds));
	fprintf(to, "; busy %.1f%%, asleep %.1f%%\n",
		rate(now.worker.busy_ns, last->worker.busy_ns, seconds) / 1e7 / report->workers,
		rate(now.worker.sleep_ns, last->worker.sleep_ns, seconds) / 1e7 / report->workers);
	report->last = now;
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

static void print_ports(const struct worker *worker, FILE *to)
{
	for (uint32_t i = 0; i < worker->config.port_count; i++) {
		const struct port_stats *stats = &worker->config.ports[i]->stats;

		fprintf(to, "%s:\n", worker->config.ports[i]->text);
		print_count(to, stats->rx_packets, "frames received");
		print_count(to, stats->tx_packets, "frames sent");
		print_count(to, stats->rx_dropped, "frames lost before we saw them");
		print_count(to, stats->rx_invalid, "descriptors refused");
		print_count(to, stats->rx_others, "frames of no VLAN of ours");
		print_count(to, stats->tx_full, "times without room to send");
		print_count(to, stats->tx_lost, "frames that the interface did not take");
	}
}

static void print_shares(const struct worker *const *workers, uint32_t count, FILE *to)
{
	struct statistics part;

	for (uint32_t i = 0; i < count; i++) {
		if (!statistics_read(workers[i]->config.number, &part))
			continue;
		fprintf(to,
			"worker %u: %" PRIu64 " connections opened, %" PRIu64 " frames landed, %" PRIu64
			" given away, %" PRIu64 " taken over, %" PRIu64 " of others sent\n",
			i, part.stats.opened, part.handover.landed, part.handover.given, part.handover.taken,
			part.handover.sent_for_others);
	}
}

/* Whether queues steer flows to their owners: the more are handed over, the more they are not. */
static void print_handover(const struct handover_stats *stats, FILE *to)
{
	print_count(to, stats->landed, "frames landed");
	print_count(to, stats->given, "of these at another worker than their flow's, and handed over");
	print_count(to, stats->lost, "of these lost: the ring to the flow's worker was full");
	print_count(to, stats->neighbours_told, "messages about neighbours");
}

void report_counters(const struct worker *const *workers, uint32_t count, FILE *to)
{
	struct statistics sum = {0}, part;

	for (uint32_t i = 0; i < count; i++)
		if (statistics_read(workers[i]->config.number, &part))
			statistics_add(&sum, &part);
	for (unsigned i = 1; i < DROP_COUNT; i++)
		print_count(to, sum.counters.drops[i], drop_reason_text(i));
	for (unsigned i = 0; i < EVENT_COUNTER_COUNT; i++)
		print_count(to, event_counter_get(&sum.counters, i), event_counter_text(i));
	print_handover(&sum.handover, to);
	for (uint32_t i = 0; i < count; i++)
		print_ports(workers[i], to);
	print_worker(&sum.worker, to);
	if (count > 1)
		print_shares(workers, count, to);
}
