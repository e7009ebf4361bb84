/* report.h - what a worker did, in lines for people. */
#ifndef C10M_RUN_REPORT_H
#define C10M_RUN_REPORT_H

#include <stdio.h>

#include "run/worker.h"

/* What the line of statistics before this one said. */
struct report {
	const char *program;
	uint32_t workers;
	struct statistics last;
	uint64_t last_us;
};

void report_init(struct report *report, const char *program, uint32_t workers, uint64_t now_us);
/* One line: connections, rates and load of all workers since the last line. */
void report_line(struct report *report, FILE *to, uint64_t now_us);
/* All counters that are not zero, of stacks, ports and workers. The workers have ended. */
void report_counters(const struct worker *const *workers, uint32_t count, FILE *to);

#endif
