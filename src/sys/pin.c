/* pin.c - a thread's core and name.
 * In: a cpu, a name.  Out: the calling thread changed.  Owns: nothing. */
#define _GNU_SOURCE
#include "sys/pin.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "sys/topology.h"

int sys_pin_thread(int cpu, char error[SYS_ERROR_BYTES])
{
	cpu_set_t set;
	int ret = EINVAL;

	CPU_ZERO(&set);
	if (cpu >= 0 && cpu < CPU_SETSIZE) {
		CPU_SET((unsigned)cpu, &set);
		ret = pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
	}
	if (ret != 0)
		snprintf(error, SYS_ERROR_BYTES,
			 "cannot run on cpu %d (%s): choose one that is online and that "
			 "this process may use (taskset -cp $$ shows them)",
			 cpu, strerror(ret));
	return -ret;
}

void sys_name_thread(const char *name)
{
	char text[16];

	snprintf(text, sizeof(text), "%s", name);
	pthread_setname_np(pthread_self(), text);
}
