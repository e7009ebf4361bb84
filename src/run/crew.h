/* crew.h - threads that start together, one a worker; the caller's is the first. */
#ifndef C10M_RUN_CREW_H
#define C10M_RUN_CREW_H

#include "base/compiler.h"

#define CREW_MAX         64
#define CREW_ERROR_BYTES 256

struct crew {
	uint32_t count;
	void *members[CREW_MAX]; /* each thread gets its own */
	/* On each thread; 0, or a negative errno and a sentence: then nobody runs. */
	int (*prepare)(void *member, char error[CREW_ERROR_BYTES]);
	/* On the caller's thread, when all are prepared. */
	void (*ready)(void *context);
	void *context;
	/* On each thread, after `ready` has returned. */
	void (*run)(void *member);
};

/* Returns when all threads have ended. 0, or the first failure's errno and sentence. */
int crew_run(const struct crew *crew, char error[CREW_ERROR_BYTES]);

#endif
