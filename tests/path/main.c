/* main.c - what algorithms do on a path, as a table: see usage.
 * In: words.  Out: lines.  Owns: nothing. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "path.h"
#include "tcp/model.h"
#include "tcp/recovery.h"

struct words {
	struct path_config path;
	uint64_t seconds, seeds, trace_ms, begin_ms[PATH_FLOWS];
};

static int usage(void)
{
	fputs("usage: path [word=value]...\n"
	      "  flows=cubic[,bbr]...   one connection each; paced=1: all are\n"
	      "  mbit=100 delay_ms=20 queue=1000 loss=100 (of 10,000) mark=0 gather_us=0 late_us=0\n"
	      "  window=8388608 no_timestamps=0 no_sack=0 ranges=0\n"
	      "  seconds=10 seeds=1 seed=1 begin_ms=0[,1000]... trace_ms=0\n"
	      "Prints payload Mbit/s of each flow, seed by seed.\n",
	      stderr);
	return 2;
}

static void trace_model(const struct path *path, const struct tcb *tcb)
{
	static const char *const states[] = {"startup", "drain", "down", "cruise", "refill", "up", "rtt"};
	const struct model *model = model_of(path_core(path), tcb);

	if (model)
		printf("         %s bw %.1f pacing %.1f short %.1f Mbit/s min %u long %d short %d round %u "
		       "full %d\n",
		       states[model->bbr.state], (double)model->bbr.bw * 8 / 1e6,
		       (double)model->bbr.pacing_rate * 8 / 1e6, (double)model->bbr.bw_short * 8 / 1e6,
		       model->bbr.min_rtt_us, (int)model->bbr.inflight_long, (int)model->bbr.inflight_short,
		       model->bbr.round_count, model->bbr.full_reached);
}

static void trace(const struct path *path, unsigned flow)
{
	const struct tcb *tcb = path_block(path, flow);
	const struct tcp_extension *extension;

	if (!tcb)
		return;
	extension = tcb_extension(path_core(path), tcb);
	printf("%8.3f #%u cwnd %7u ssthresh %10u flight %7u srtt %6u min %6u queued %4u lost %6u sacked %7u "
	       "again %5" PRIu64 " to %" PRIu64 " %s%s%s received %" PRIu64 "\n",
	       (double)path_now_us(path) / 1e6, flow, tcb->cwnd, tcb->ssthresh, tcb->snd_nxt - tcb->snd_una,
	       tcb->srtt_us, tcb->min_rtt_us, path_queued(path), extension ? extension->lost_bytes : 0,
	       extension ? extension->sacked_bytes : 0, path_core(path)->counters.tcp_retransmits,
	       path_core(path)->counters.tcp_retransmit_timeouts, tcb->pending & TCB_RECOVERY ? "R" : "-",
	       tcb->options & TCB_BOARD ? "B" : "-",
	       extension && extension->start_base_us ? (extension->start_by_train ? "t" : "d") : "-",
	       path_received(path, flow));
	trace_model(path, tcb);
}

static void run(const struct words *words, uint64_t seed)
{
	struct path_config config = words->path;
	struct path_counts counts;
	struct path *path;
	uint64_t end_ms = words->seconds * 1000, step_ms = words->trace_ms ? words->trace_ms : 10;
	uint64_t begun[PATH_FLOWS] = {0};

	config.seed = seed;
	path = path_begin(&config);
	for (uint64_t ms = 0; ms < end_ms; ms += step_ms) {
		for (unsigned i = 0; i < config.flows; i++) {
			if (words->begin_ms[i] >= ms && words->begin_ms[i] < ms + step_ms)
				path_open(path, i);
			if (words->trace_ms)
				trace(path, i);
		}
		path_run(path, step_ms * 1000);
		for (unsigned i = 0; i < config.flows && ms * 2 < end_ms; i++)
			begun[i] = path_received(path, i);
	}
	counts = path_counts(path);
	for (unsigned i = 0; i < config.flows; i++)
		printf("%6.2f (%6.2f) ", (double)path_received(path, i) * 8 / 1e6 / (double)words->seconds,
		       (double)(path_received(path, i) - begun[i]) * 16 / 1e6 / (double)words->seconds);
	printf(" dropped %" PRIu64 " lost %" PRIu64 " marked %" PRIu64 " queued %u again %" PRIu64
	       " timeouts %" PRIu64 " undone %" PRIu64 "\n",
	       counts.dropped, counts.lost, counts.marked, counts.queued_most,
	       path_core(path)->counters.tcp_retransmits, path_core(path)->counters.tcp_retransmit_timeouts,
	       path_core(path)->counters.tcp_recoveries_undone);
	path_end(path);
}

static void read_flows(struct words *words, char *list)
{
	char *rest = list, *name;

	for (words->path.flows = 0; (name = strsep(&rest, ",")) && words->path.flows < PATH_FLOWS;)
		words->path.algorithms[words->path.flows++] = name;
}

static void read_begins(struct words *words, char *list)
{
	char *rest = list, *text;

	for (unsigned i = 0; (text = strsep(&rest, ",")) && i < PATH_FLOWS; i++)
		words->begin_ms[i] = strtoull(text, NULL, 10);
}

static bool read_number(struct words *words, const char *key, uint64_t value)
{
	struct path_config *path = &words->path;
	struct {
		const char *key;
		uint64_t *wide;
		uint32_t *narrow;
		bool *flag;
	} keys[] = {
		{"delay_us", NULL, &path->delay_us, NULL},
		{"queue", NULL, &path->queue_frames, NULL},
		{"loss", NULL, &path->loss, NULL},
		{"mark", NULL, &path->mark_frames, NULL},
		{"gather_us", NULL, &path->gather_us, NULL},
		{"late_us", NULL, &path->tx_late_us, NULL},
		{"window", NULL, &path->window_bytes, NULL},
		{"ranges", NULL, &path->ranges, NULL},
		{"no_timestamps", NULL, NULL, &path->no_timestamps},
		{"no_sack", NULL, NULL, &path->no_sack},
		{"paced", NULL, NULL, &path->paced},
		{"seconds", &words->seconds, NULL, NULL},
		{"seeds", &words->seeds, NULL, NULL},
		{"seed", &path->seed, NULL, NULL},
		{"trace_ms", &words->trace_ms, NULL, NULL},
	};

	if (strcmp(key, "mbit") == 0)
		path->rate_bps = value * 1000000;
	else if (strcmp(key, "delay_ms") == 0)
		path->delay_us = (uint32_t)value * 1000;
	for (unsigned i = 0; i < ARRAY_COUNT(keys); i++) {
		if (strcmp(key, keys[i].key) != 0)
			continue;
		if (keys[i].wide)
			*keys[i].wide = value;
		else if (keys[i].narrow)
			*keys[i].narrow = (uint32_t)value;
		else
			*keys[i].flag = value;
		return true;
	}
	return strcmp(key, "mbit") == 0 || strcmp(key, "delay_ms") == 0;
}

int main(int argc, char **argv)
{
	struct words words = {
		.path = {.rate_bps = 100000000, .delay_us = 20000, .seed = 1, .flows = 1},
		.seconds = 10,
		.seeds = 1,
	};

	for (int i = 1; i < argc; i++) {
		char *value = strchr(argv[i], '=');

		if (!value)
			return usage();
		*value++ = 0;
		if (strcmp(argv[i], "flows") == 0)
			read_flows(&words, value);
		else if (strcmp(argv[i], "begin_ms") == 0)
			read_begins(&words, value);
		else if (!read_number(&words, argv[i], strtoull(value, NULL, 10)))
			return usage();
	}
	for (uint64_t i = 0; i < words.seeds; i++)
		run(&words, words.path.seed + i);
	return 0;
}
