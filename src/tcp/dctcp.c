/* dctcp.c - DCTCP, RFC 8257: the window shrinks by how much of it came with marks, not by half for each. Its
 * words: how much came without, and a spare one. Without ECN on the path it is NewReno.
 *
 * Section 3.3 has alpha updated once for each window, by a sixteenth of the share that was marked. Here each
 * acknowledgement updates it by its own part of the window: after a whole one that is the same, and no
 * counters have to be kept. Alpha is 1 at first: what is kept is 1 - alpha, so that zero is right. */
#include "tcp/congestion.h"

#define UNMARKED 0
#define ONE      (1u << 30)
#define G_LOG2   4

static void learn(struct c10m_congestion *c, uint32_t bytes, bool marked)
{
	uint64_t part = MIN_OF((uint64_t)bytes * ONE / MAX_OF(c->cwnd, 1u), (uint64_t)ONE) >> G_LOG2;
	uint32_t far = marked ? c->words[UNMARKED] : ONE - MIN_OF(c->words[UNMARKED], ONE);
	uint32_t step = (uint32_t)(part * far / ONE);

	c->words[UNMARKED] = marked ? c->words[UNMARKED] - step : c->words[UNMARKED] + step;
}

/* RFC 5681 section 3.1. */
static void acked(struct c10m_congestion *c, uint32_t bytes)
{
	learn(c, bytes, false);
	if (c->cwnd < c->ssthresh)
		c->cwnd += MIN_OF(bytes, ABC_SEGMENTS * c->mss);
	else
		c->cwnd += MAX_OF((uint32_t)((uint64_t)MIN_OF(bytes, c->cwnd) * c->mss / c->cwnd), 1u);
}

/* Section 3.5: a loss is one. */
static void loss(struct c10m_congestion *c)
{
	c->ssthresh = MAX_OF(c->flight / 2, 2 * c->mss);
}

static void timeout(struct c10m_congestion *c, bool first)
{
	if (first)
		loss(c);
}

/* Section 3.3 step 9: cwnd * (1 - alpha / 2). */
static void marked(struct c10m_congestion *c, uint32_t bytes, bool first)
{
	uint64_t unmarked;

	learn(c, bytes, true);
	if (!first)
		return;
	unmarked = MIN_OF(c->words[UNMARKED], ONE);
	c->ssthresh = MAX_OF((uint32_t)(c->cwnd * (ONE + unmarked) / (2ull * ONE)), 2 * c->mss);
	c->cwnd = MIN_OF(c->cwnd, c->ssthresh);
}

const struct c10m_congestion_control congestion_dctcp = {
	.name = "dctcp",
	.acked = acked,
	.loss = loss,
	.timeout = timeout,
	.marked = marked,
	.flags = C10M_CONGESTION_ECN,
};
