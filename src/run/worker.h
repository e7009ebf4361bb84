/* worker.h - one core that runs one stack over the queues of a port, to completion.
 *
 * The loop: frames in, stack, frames out, until nothing is left; then it looks
 * again for a while, then it sleeps until a frame, a deadline or a stop. How long it
 * looks adapts: a sleep that was short makes it longer, a long one shorter. */
#ifndef C10M_RUN_WORKER_H
#define C10M_RUN_WORKER_H

#include <stdatomic.h>

#include "port/port.h"
#include "run/statistics.h"
#include "run/waker.h"
#include "stack/stack.h"

#define WORKER_QUEUES 16
#define WORKER_HOOKS  8

/* What else is done on the worker, between receiving and sending of each round. */
struct worker_hook {
	/* True: something was done. It is also the last look before a sleep: who brings work from another
	 * thread makes it visible first and calls waker_wake then. */
	bool (*run)(void *context, uint64_t now_us);
	/* When it must be called again at the latest, UINT64_MAX: not at all. NULL: never asks for a time. */
	uint64_t (*deadline_us)(void *context);
	void *context;
	int fd; /* readable ends a sleep; 0: none */
};

struct worker_config {
	uint32_t number; /* the stack's id */
	struct stack *stack;
	struct port *ports[WORKER_QUEUES]; /* queues to serve; all output goes to the first */
	uint32_t port_count;
	/* With other workers, NULL without: */
	struct handover *handover;
	struct frame_ring *relayed[OWNER_WORKERS_MAX]; /* frames of workers without a queue: we send them */
	uint32_t relayed_count;
	struct frame_ring *relay;     /* behind ports[0] when we are such a worker */
	struct port *fault, *capture; /* the wrapping ports in front of ports[0], or NULL */
	uint64_t clock_base_ns;       /* of the arena */
	uint32_t spin_max_us;
	uint32_t drain_ms;    /* worker_wind_down: how long connections may go on at most */
	atomic_uint *unended; /* counts the workers that have connections left then: none ends before all can,
			       * since they may send for each other */
	struct worker_hook hooks[WORKER_HOOKS];
	uint32_t hook_count;
	/* Called every report_us, when not 0. */
	uint64_t report_us;
	void (*report)(void *context, uint64_t now_us);
	void *report_context;
};

struct worker {
	struct worker_config config;
	struct worker_stats stats;
	atomic_bool stop, wind_down;
	bool winding_down, ended; /* ended: not counted in `unended` */
	uint64_t drained_at_us;
	struct waker waker;
	bool blocked;     /* output waits for room in the port */
	uint32_t spin_ns; /* the present budget */
	uint64_t now_ns;  /* of the present round, on the machine's clock */
	uint64_t idle_since_ns;
	uint64_t report_at_us, publish_at_us;
	uint64_t chores_at_us; /* the earlier of both */
};

/* 0, or a negative errno: no file descriptor left. */
int worker_init(struct worker *worker, const struct worker_config *config);
/* Runs until worker_stop. */
void worker_run(struct worker *worker);
/* Shows what it has counted so far (run/statistics.h). On the worker. */
void worker_publish(struct worker *worker);
/* Asks worker_run to return. Any thread, any signal handler. */
void worker_stop(struct worker *worker);
/* Asks it to return when no connection is left, drain_ms later at the latest; nothing listens from then on.
 */
void worker_wind_down(struct worker *worker);
/* After worker_run: nothing listens, every connection is reset. The resets are sent for `patience_ms` at
 * most; what is left by then ends unsent. */
void worker_drain(struct worker *worker, uint32_t patience_ms);
void worker_fini(struct worker *worker);

/* Microseconds on the stack's clock, read now. */
uint64_t worker_now_us(const struct worker *worker);

#endif
