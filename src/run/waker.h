/* waker.h - wakes a worker that sleeps, and costs next to nothing while it does not.
 *
 * The sleeper announces its sleep, then looks for work once more, then sleeps. Who brings work makes
 * it visible first and looks for the announcement then. Whatever the order, one of them sees the other. */
#ifndef C10M_RUN_WAKER_H
#define C10M_RUN_WAKER_H

#include <stdatomic.h>

#include <ck_pr.h>

#include "base/compiler.h"

struct waker {
	CACHE_ALIGNED atomic_bool asleep;
	int fd; /* an eventfd, to poll for reading; -1: not open */
};

/* 0, or a negative errno: no file descriptor left. */
int waker_init(struct waker *waker);
void waker_fini(struct waker *waker);

/* Ends the present sleep, or the next one at once. Any thread, any signal handler. */
void waker_ring(struct waker *waker);

/* After work was made visible in a queue that the sleeper looks into. Any thread. */
static inline void waker_wake(struct waker *waker)
{
	ck_pr_fence_memory();
	if (unlikely(atomic_load_explicit(&waker->asleep, memory_order_relaxed)) &&
	    atomic_exchange(&waker->asleep, false))
		waker_ring(waker);
}

/* The sleeper: before its last look for work ... */
static inline void waker_prepare(struct waker *waker)
{
	atomic_store_explicit(&waker->asleep, true, memory_order_relaxed);
	ck_pr_fence_memory();
}

/* ... and after its sleep. rung: the descriptor was readable. */
void waker_done(struct waker *waker, bool rung);

#endif
