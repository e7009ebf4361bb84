/* process.c - processor time and memory of this process.
 * In: clocks of the kernel, /proc/self/smaps.  Out: figures.  Owns: nothing. */
#include "sys/process.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now = {0};

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t sys_thread_cpu_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t sys_process_cpu_ns(void)
{
	return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

/* "Rss" leaves out hugetlb pages, which stand on lines of their own. */
static void add_line(const char *line, struct sys_usage *usage)
{
	uint64_t kilobytes;
	char key[32];

	if (sscanf(line, "%31[A-Za-z_]: %" SCNu64 " kB", key, &kilobytes) != 2)
		return;
	if (strcmp(key, "Rss") == 0) {
		usage->resident_bytes += kilobytes * 1024;
	} else if (strcmp(key, "AnonHugePages") == 0 || strcmp(key, "ShmemPmdMapped") == 0) {
		usage->transparent_bytes += kilobytes * 1024;
	} else if (strcmp(key, "Shared_Hugetlb") == 0 || strcmp(key, "Private_Hugetlb") == 0) {
		usage->hugetlb_bytes += kilobytes * 1024;
		usage->resident_bytes += kilobytes * 1024;
	}
}

/* A mapping begins with a line "START-END PERMISSIONS ..."; its figures follow. */
static int sum_mappings(const char *path, uintptr_t start, uintptr_t end, struct sys_usage *usage)
{
	FILE *file = fopen(path, "re");
	bool within = false;
	char line[512];

	*usage = (struct sys_usage){0};
	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		uintptr_t from, to;

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2)
			within = from >= start && to <= end;
		else if (within)
			add_line(line, usage);
	}
	fclose(file);
	return 0;
}

int sys_process_usage(struct sys_usage *usage)
{
	return sum_mappings("/proc/self/smaps_rollup", 0, UINTPTR_MAX, usage);
}

int sys_range_usage(const void *base, size_t bytes, struct sys_usage *usage)
{
	return sum_mappings("/proc/self/smaps", (uintptr_t)base, (uintptr_t)base + bytes, usage);
}
