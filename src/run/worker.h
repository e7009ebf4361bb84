/* worker.h - one core that runs one stack over the queues of a port, to completion.
 *
 * The loop: frames in, stack, frames out, until nothing is left; then it looks
 * again for a while, then it sleeps until a frame, a deadline or a stop. How long it
 * looks adapts: a sleep that was short makes it longer, a long one shorter. */
#ifndef C10M_RUN_WORKER_H
#define C10M_RUN_WORKER_H

#include <stdatomic.h>

#include "port/port.h"
#include "stack/stack.h"

#define WORKER_QUEUES 16

struct worker_stats {
	uint64_t loops;    /* rounds of the loop */
	uint64_t bursts;   /* rounds that received frames */
	uint64_t busy_ns;  /* time of rounds that received or sent */
	uint64_t spin_ns;  /* time of rounds that found nothing to do */
	uint64_t sleep_ns; /* time asleep */
	uint64_t sleeps;
	uint64_t short_sleeps; /* woken by a frame before the longest spin would have ended */
	uint64_t tx_blocked;   /* rounds that ended because the port had no room */
};

struct worker_config {
	struct stack *stack;
	uint32_t service_count;
	struct port *ports[WORKER_QUEUES]; /* queues to serve; all output goes to the first */
	uint32_t port_count;
	struct port *fault, *capture; /* the wrapping ports in front of ports[0], or NULL */
	uint64_t clock_base_ns;       /* of the arena */
	uint32_t spin_max_us;
	/* Called every report_us, when not 0. */
	uint64_t report_us;
	void (*report)(void *context, uint64_t now_us);
	void *report_context;
};

struct worker {
	struct worker_config config;
	struct worker_stats stats;
	atomic_bool stop;
	int wake_fd;      /* eventfd: ends a sleep */
	bool blocked;     /* output waits for room in the port */
	uint32_t spin_ns; /* the present budget */
	uint64_t now_ns;  /* of the present round, on the machine's clock */
	uint64_t idle_since_ns;
	uint64_t report_at_us;
};

/* 0, or a negative errno: no file descriptor left. */
int worker_init(struct worker *worker, const struct worker_config *config);
/* Runs until worker_stop. */
void worker_run(struct worker *worker);
/* Asks worker_run to return. Any thread, any signal handler. */
void worker_stop(struct worker *worker);
/* After worker_run: listeners off, every connection reset. The resets are sent for `patience_ms` at most;
 * what is left by then ends unsent. */
void worker_drain(struct worker *worker, uint32_t patience_ms);
void worker_fini(struct worker *worker);

/* Microseconds on the stack's clock, read now. */
uint64_t worker_now_us(const struct worker *worker);

#endif
