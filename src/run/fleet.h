/* fleet.h - what several workers share: who owns which flow, and the rings between them.
 *
 * One ring for each ordered pair of workers, and one more from each worker without a queue to the
 * neighbour that sends for it. The rings into a worker lie on the worker's own NUMA node. */
#ifndef C10M_RUN_FLEET_H
#define C10M_RUN_FLEET_H

#include "run/handover.h"
#include "sys/memory.h"
#include "sys/rss.h"

#define FLEET_ERROR_BYTES 256

struct fleet_worker {
	struct waker *waker;
	int cpu;         /* its memory comes to this one's node; -1: any */
	uint32_t sender; /* the worker that sends for it; its own number: it has a queue */
};

struct fleet_config {
	uint32_t workers;
	struct fleet_worker worker[OWNER_WORKERS_MAX];
	struct siphash_key key;    /* secret: decides who owns which flow */
	const struct sys_rss *rss; /* how the card spreads flows; NULL: nobody knows */
	uint32_t queues;           /* that are served: queue i by worker i modulo `workers` */
	uint32_t all;              /* for tests: owns every flow; OWNER_BY_HASH: nobody does */
	uint32_t ring_bytes;       /* 0: a default */
	enum sys_page_kind pages;  /* of the rings */
};

struct fleet {
	struct owner owner;
	struct handover *handovers;  /* one for each worker */
	struct frame_ring *rings;    /* from * workers + to */
	struct frame_ring *relays;   /* by the worker that has no queue */
	struct sys_memory *memories; /* of the rings into each worker */
	uint32_t ring_bytes;
	struct owner_rss *rss; /* NULL: the keyed hash decides */
};

/* 0, or a negative errno and a sentence; what there is of it is freed by fleet_fini then, too. */
int fleet_init(struct fleet *fleet, const struct fleet_config *config, char error[FLEET_ERROR_BYTES]);
void fleet_fini(struct fleet *fleet);

#endif
