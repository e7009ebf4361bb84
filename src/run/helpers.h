/* helpers.h - the threads beside the workers: the watcher of descriptors and those that may block.
 *
 * They run on the processors that no worker has, as far as there are any, and start when they are first
 * needed. One set in a process, while services run. */
#ifndef C10M_RUN_HELPERS_H
#define C10M_RUN_HELPERS_H

#include <pthread.h>
#include <sched.h>

#include "base/compiler.h"

#define HELPERS_MAX 64

struct helpers_config {
	cpu_set_t cpus;
	uint32_t blocking; /* threads for c10m_offload, 1 to HELPERS_MAX */
};

void helpers_begin(const struct helpers_config *config);
/* Waits for all of them: work that blocks holds it up. After the workers have ended. */
void helpers_end(void);

/* For the helpers' own files. 0, or a negative errno. */
int helper_start(pthread_t *thread, const char *name, void *(*run)(void *argument), void *argument);

/* watch.c */
void watch_end(void);
/* offload.c */
void offload_begin(uint32_t threads);
void offload_end(void);

#endif
