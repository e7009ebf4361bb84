/* bench_stack.h - c10m bench stack: what one request costs inside the stack. */
#ifndef C10M_CLI_BENCH_STACK_H
#define C10M_CLI_BENCH_STACK_H

#include "obs/counters.h"
#include "stack/stack.h"
#include "sys/memory.h"

#define BENCH_ERROR_BYTES 512
#define BENCH_BURST_MAX   64

struct bench_config {
	uint32_t connections, burst, seconds;
	uint32_t cpu;   /* UINT32_MAX: chosen */
	bool piggyback; /* replies are acknowledged by later requests alone */
	enum sys_page_kind pages;
};

struct bench_slices {
	double median, low, high; /* 5th and 95th percentile */
	uint32_t count;
};

struct bench_result {
	uint32_t connections, burst;
	uint64_t requests, acks, retransmits, timers;
	uint64_t frames_in, frames_out;
	uint64_t timed_ns, wall_ns;
	uint64_t open_ns; /* for all connections, with the peers' own work */
	double bytes_per_connection;
	struct stack_usage usage;
	size_t page_bytes;
	char pages[32];
	struct bench_slices slices; /* ns per request */
	int cpu;
};

/* Pins the calling thread. 0, or a negative errno and a sentence; -EPROTO: the stack answered wrongly. */
int bench_stack_run(const struct bench_config *config, struct bench_result *result,
		    char error[BENCH_ERROR_BYTES]);

#endif
