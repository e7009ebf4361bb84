/* newreno.c - slow start and congestion avoidance of RFC 5681, halving on loss. */
#include <string.h>

#include "tcp/congestion.h"

#define CWND_MAX (1u << 30)

static uint32_t half_of(const struct tcb *tcb, uint32_t flight)
{
	return MAX_OF(flight / 2, 2u * tcb->mss);
}

/* RFC 5681 section 3.1; avoidance by appropriate byte counting (RFC 3465). */
static void acked(struct tcb *tcb, uint32_t bytes)
{
	if (tcb->cwnd < tcb->ssthresh) {
		tcb->cwnd += MIN_OF(bytes, (uint32_t)tcb->mss);
	} else {
		tcb->algorithm[0] += bytes;
		if (tcb->algorithm[0] < tcb->cwnd)
			return;
		tcb->algorithm[0] -= tcb->cwnd;
		tcb->cwnd += tcb->mss;
	}
	tcb->cwnd = MIN_OF(tcb->cwnd, CWND_MAX);
}

static void loss(struct tcb *tcb, uint32_t flight)
{
	tcb->ssthresh = half_of(tcb, flight);
	tcb->cwnd = tcb->ssthresh + 3u * tcb->mss;
	tcb->algorithm[0] = 0;
}

static void timeout(struct tcb *tcb, uint32_t flight, bool first)
{
	if (first)
		tcb->ssthresh = half_of(tcb, flight);
	tcb->cwnd = tcb->mss;
	tcb->algorithm[0] = 0;
}

const struct congestion_control congestion_newreno = {"newreno", acked, loss, timeout};

const struct congestion_control *congestion_find(const char *name)
{
	if (!name || strcmp(name, congestion_newreno.name) == 0)
		return &congestion_newreno;
	return NULL;
}
