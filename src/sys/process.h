/* process.h - what this process costs: processor time and memory. For benchmarks and statistics. */
#ifndef C10M_SYS_PROCESS_H
#define C10M_SYS_PROCESS_H

#include "base/compiler.h"

/* Processor time used so far, user and system. */
uint64_t sys_thread_cpu_ns(void);
uint64_t sys_process_cpu_ns(void);

struct sys_usage {
	uint64_t resident_bytes;    /* of any page size, huge pages included */
	uint64_t transparent_bytes; /* of these in transparent huge pages, private or shared */
	uint64_t hugetlb_bytes;     /* of these in reserved huge pages */
};

/* 0, or -errno. Of the whole process: */
int sys_process_usage(struct sys_usage *usage);
/* Of the mappings within [base, base + bytes): */
int sys_range_usage(const void *base, size_t bytes, struct sys_usage *usage);

#endif
