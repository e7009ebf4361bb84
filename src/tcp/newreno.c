/* newreno.c - slow start and congestion avoidance of RFC 5681, halving on loss.
 * Its first word counts what was acknowledged since the window last grew. */
#include "tcp/congestion.h"

#include "base/plant.h"

static uint32_t half_of(const struct c10m_congestion *c)
{
	return MAX_OF(c->flight / 2, 2 * c->mss);
}

/* RFC 5681 section 3.1; avoidance by appropriate byte counting (RFC 3465). */
static void acked(struct c10m_congestion *c, uint32_t bytes)
{
	if (c->cwnd < c->ssthresh) {
		c->cwnd += PLANTED(ACK_SPLIT) ? c->mss : MIN_OF(bytes, ABC_SEGMENTS * c->mss);
		return;
	}
	c->words[0] += bytes;
	if (c->words[0] < c->cwnd)
		return;
	c->words[0] -= c->cwnd;
	c->cwnd += c->mss;
}

static void loss(struct c10m_congestion *c)
{
	c->ssthresh = half_of(c);
	c->words[0] = 0;
}

static void timeout(struct c10m_congestion *c, bool first)
{
	if (first)
		c->ssthresh = half_of(c);
	c->words[0] = 0;
}

const struct c10m_congestion_control congestion_newreno = {
	.name = "newreno",
	.acked = acked,
	.loss = loss,
	.timeout = timeout,
};
