/* errand.h - what helper threads bring to a worker: a list that needs no memory of its own and is never full.
 *
 * An errand is part of what its giver owns. From errand_give until its `run` is called it belongs to the
 * list, and must not be given again. Like mailboxes, the lists live as long as the process. */
#ifndef C10M_RUN_ERRAND_H
#define C10M_RUN_ERRAND_H

#include "run/waker.h"
#include "stack/stack.h"

struct errand {
	struct errand *next;
	void (*run)(c10m_worker *worker, struct errand *errand);
};

/* The worker's side, for the worker of this number. From here on errands are taken. */
void errands_open(uint32_t number, struct stack *stack, struct waker *waker);
/* A hook of the worker (struct worker_hook), its context: errands_at. */
bool errands_run(void *errands, uint64_t now_us);
void *errands_at(uint32_t number);
/* No more are taken; those that were are run. */
void errands_close(uint32_t number, uint64_t now_us);

/* Any thread, no signal handler. Those of one thread are run in their order. 0, or -ESHUTDOWN: that worker
 * does not run; the errand is the giver's again. */
int errand_give(uint32_t number, struct errand *errand);
/* Wakes the worker if it runs and sleeps, for what it finds by another hook. Any thread, no signal handler.
 */
void errands_wake(uint32_t number);

#endif
