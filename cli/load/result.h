/* result.h - what a run has shown: the sums of all workers, and how they are told. */
#ifndef C10M_LOAD_RESULT_H
#define C10M_LOAD_RESULT_H

#include <stdio.h>

#include "options.h"
#include "run/worker.h"

/* What the interface did not carry: no loss of the server's. */
struct load_interface {
	uint64_t rx_dropped; /* lost before the stack saw them */
	uint64_t tx_lost;    /* not taken by the interface */
	uint64_t tx_full;    /* times that it had no room: they were sent later */
	uint64_t kernel_rx_dropped, kernel_tx_dropped,
		kernel_errors; /* as the kernel counts, since the start */
};

struct load_result {
	const struct load_options *options;
	struct load_counts counts;
	struct histogram latency, paced, open_time, send_delay;
	struct jitter jitter;
	struct load_interface interface;
	uint64_t held; /* when the run began to end */
	double open_seconds, load_seconds, paced_seconds, message_seconds, close_seconds;
	uint64_t asked, answered; /* under load */
	uint64_t answered_paced;
	uint64_t retransmits, stack_drops, memory_bytes;
	const char *verdict; /* why it ended early; NULL: it did not */
	bool interrupted;
};

/* Of the workers' engines; they have ended. */
void result_collect(struct load_result *result);
void result_print(const struct load_result *result, FILE *to);
/* False when standard output does not take it. */
bool result_print_json(const struct load_result *result);
/* Nothing failed and nothing was lost. */
bool result_is_good(const struct load_result *result);

#endif
