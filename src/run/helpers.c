/* helpers.c - starts and ends the threads beside the workers.
 * In: which processors are left to them. Out: threads. Owns: that knowledge. */
#define _GNU_SOURCE
#include "run/helpers.h"

#include <signal.h>

static cpu_set_t cpus;

void helpers_begin(const struct helpers_config *config)
{
	cpus = config->cpus;
	offload_begin(config->blocking);
}

void helpers_end(void)
{
	watch_end();
	offload_end();
}

/* Signals are the workers' and the program's: none interrupts a helper. */
int helper_start(pthread_t *thread, const char *name, void *(*run)(void *argument), void *argument)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	int code;

	sigfillset(&all);
	pthread_attr_init(&attributes);
	if (CPU_COUNT(&cpus) > 0)
		pthread_attr_setaffinity_np(&attributes, sizeof(cpus), &cpus);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	code = pthread_create(thread, &attributes, run, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (code == 0)
		pthread_setname_np(*thread, name);
	return -code;
}
