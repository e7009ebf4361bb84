/* populate.h - making mapped memory real, by several threads. */
#ifndef C10M_SYS_POPULATE_H
#define C10M_SYS_POPULATE_H

#include "base/compiler.h"

struct sys_populate {
	uint8_t *base;
	size_t bytes;
	bool collapse; /* ask for transparent huge pages, at once */
	unsigned threads;
	void (*progress)(void *context, size_t done_bytes, size_t total_bytes);
	void *progress_context;
};

/* 0, or -errno: the kernel could not give some page. No signal is raised. */
int sys_populate_run(const struct sys_populate *populate);

#endif
