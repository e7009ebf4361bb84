/* bench_stack.h - c10m bench stack: what one request costs inside the stack. */
#ifndef C10M_CLI_BENCH_STACK_H
#define C10M_CLI_BENCH_STACK_H

#include "obs/counters.h"
#include "obs/stages.h"
#include "stack/stack.h"
#include "sys/memory.h"

#define BENCH_ERROR_BYTES 512
#define BENCH_BURST_MAX   64

struct bench_config {
	uint32_t connections, burst, seconds; /* connections: of all workers together */
	uint32_t workers;
	uint32_t cpu;   /* UINT32_MAX: chosen; for one worker only */
	bool piggyback; /* replies are acknowledged by later requests alone */
	enum sys_page_kind pages;
};

struct bench_slices {
	double median, low, high; /* 5th and 95th percentile */
	uint32_t count;
};

#define BENCH_WORKERS_MAX 64

struct bench_result {
	uint32_t connections, burst, workers;
	double requests_per_second; /* of all workers, each while it was timed */
	uint64_t requests, acks, retransmits, timers;
	uint64_t frames_in, frames_out;
	uint64_t timed_ns, wall_ns;
	uint64_t open_ns; /* for all connections, with the peers' own work */
	double bytes_per_connection;
	struct stack_usage usage;
	size_t page_bytes;
	char pages[32];
	struct bench_slices slices;   /* ns per request */
	double stage_ns[STAGE_COUNT]; /* of the first worker, for a request; all zero unless compiled in */
	int cpu;                      /* of the first worker */
};

/* One thread a worker, the first is the caller's, and all measure at the same time. Figures are sums, but for
 * those of a request, which are means. Pins the threads. 0, or a negative errno and a sentence; -EPROTO: the
 * stack answered wrongly. */
int bench_stack_run(const struct bench_config *config, struct bench_result *result,
		    char error[BENCH_ERROR_BYTES]);

#endif
