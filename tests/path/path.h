/* path.h - connections over one bottleneck, in virtual time: a stack that sends, a link with a rate, a queue,
 * a delay and losses, and a stack that receives. Ten seconds of 100 Mbit/s take a fraction of one, and the
 * same seed gives the same figures on any machine. */
#ifndef C10M_TESTS_PATH_H
#define C10M_TESTS_PATH_H

#include "stack/internal.h"

#define PATH_FLOWS 4

struct path_config {
	uint64_t rate_bps;
	uint32_t delay_us;           /* in each direction */
	uint32_t queue_frames;       /* that wait for the link; 0: 1000 */
	uint32_t loss;               /* of 10,000 frames, in the direction of the data */
	uint32_t gather_us;          /* the receiver is given what has come once in such a time; 0: at once */
	uint32_t mark_frames;        /* frames capable of it are marked while so many wait; 0: none are */
	uint32_t window_bytes;       /* of both ends' buffers; 0: 8 MB */
	uint32_t extensions, ranges; /* of both stacks; 0: the default */
	uint32_t tx_late_us;         /* the sender's worker is late by up to so much */
	bool paced, no_timestamps, no_sack;
	uint64_t seed;
	unsigned flows;
	const char *algorithms[PATH_FLOWS];        /* NULL: the default */
	const struct c10m_congestion_control *own; /* of flow 0, instead */
};

struct path_counts {
	uint64_t dropped, lost, marked; /* by the full queue, by chance */
	uint32_t queued_most;
};

struct path;

struct path *path_begin(const struct path_config *config);
void path_end(struct path *path);
void path_open(struct path *path, unsigned flow); /* it sends for ever, until path_limit */
/* No more than so many bytes from now on; then path_more lets it send again. */
void path_limit(struct path *path, unsigned flow, uint64_t bytes);
void path_change(struct path *path, uint64_t rate_bps, uint32_t delay_us, uint32_t loss);
void path_run(struct path *path, uint64_t us); /* for so long */
uint64_t path_now_us(const struct path *path);
uint64_t path_received(const struct path *path, unsigned flow); /* bytes, by the application */
struct tcb *path_block(const struct path *path, unsigned flow);
struct core *path_core(const struct path *path);   /* the sender's */
struct path_counts path_counts(struct path *path); /* since the last call */
uint32_t path_queued(const struct path *path);     /* frames that wait for the link */
void path_rebuild(struct path *path);              /* of the sender's stack, and checks it */

#endif
