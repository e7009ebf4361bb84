/* report.h - what a worker did, in lines for people. */
#ifndef C10M_RUN_REPORT_H
#define C10M_RUN_REPORT_H

#include <stdio.h>

#include "run/worker.h"

/* What the line of statistics before this one said. */
struct report {
	const char *program;
	const struct worker *worker;
	struct c10m_stats last;
	struct worker_stats last_worker;
	uint64_t last_us;
};

void report_init(struct report *report, const char *program, const struct worker *worker);
/* One line: connections, rates and load since the last line. */
void report_line(struct report *report, FILE *to, uint64_t now_us);
/* All counters that are not zero, of stack, port and worker. */
void report_counters(const struct worker *worker, FILE *to);

#endif
