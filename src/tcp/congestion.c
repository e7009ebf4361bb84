/* congestion.c - which algorithm a connection has, and asking it.
 * In: what happened.  Out: cwnd and ssthresh, within bounds whatever the algorithm says. */
#include "tcp/congestion.h"

#include "tcp/model.h"
#include "tcp/recovery.h"

#include <string.h>

#define CWND_MAX (1u << 30)

static const struct c10m_congestion_control *const algorithms[] = {&congestion_cubic, &congestion_newreno,
								   &congestion_dctcp, &congestion_bbr};

static uint32_t number_of(const char *name)
{
	uint32_t i = 0;

	while (i < ARRAY_COUNT(algorithms) && strcmp(name, algorithms[i]->name) != 0)
		i++;
	return i;
}

const struct c10m_congestion_control *congestion_find(const char *name)
{
	uint32_t number = name ? number_of(name) : 0;

	return number < ARRAY_COUNT(algorithms) ? algorithms[number] : NULL;
}

bool congestion_set(struct tcb *tcb, const char *name)
{
	uint32_t number = number_of(name);

	if (number >= ARRAY_COUNT(algorithms))
		return false;
	tcb->congestion = (number + 1) & 7u;
	tcb->algorithm[0] = tcb->algorithm[1] = 0;
	return true;
}

const struct c10m_congestion_control *congestion_of(const struct core *core, const struct tcb *tcb)
{
	return tcb->congestion ? algorithms[tcb->congestion - 1] : core->services[tcb->service].congestion;
}

static struct c10m_congestion view(const struct core *core, struct tcb *tcb, uint32_t flight)
{
	return (struct c10m_congestion){
		.cwnd = tcb->cwnd,
		.ssthresh = tcb->ssthresh,
		.words = tcb->algorithm,
		.mss = tcb->mss,
		.flight = flight,
		.srtt_us = tcb->srtt_us,
		.min_rtt_us = tcb->min_rtt_us,
		.now_ms = core->now_tick,
	};
}

static void take(struct tcb *tcb, const struct c10m_congestion *c)
{
	tcb->cwnd = MIN_OF(MAX_OF(c->cwnd, (uint32_t)tcb->mss), CWND_MAX);
	tcb->ssthresh = MAX_OF(c->ssthresh, 2u * tcb->mss);
}

/* RFC 7661 section 4.3: a window of which not even half was in use says nothing of the network, and does not
 * grow. */
void congestion_acked(struct core *core, struct tcb *tcb, uint32_t bytes, uint32_t rtt_us)
{
	uint32_t flight = tcb_snd_max(tcb) - tcb->snd_una + bytes;
	struct c10m_congestion c;

	if (flight < tcb->cwnd / 2 || (unlikely(tcb->paced) && model_of(core, tcb)))
		return;
	if (tcb->extension != POOL_NONE && tcb->ssthresh == SSTHRESH_UNKNOWN)
		bytes = slow_start_acked(core, tcb, bytes, rtt_us);
	c = view(core, tcb, flight);
	congestion_of(core, tcb)->acked(&c, bytes);
	take(tcb, &c);
}

void congestion_marked(struct core *core, struct tcb *tcb, uint32_t bytes, bool first)
{
	const struct c10m_congestion_control *control = congestion_of(core, tcb);
	struct model *model = model_of(core, tcb);
	uint32_t cwnd = tcb->cwnd;
	struct c10m_congestion c;

	if (model) {
		if (first)
			bbr_marked(&model->bbr, tcb->snd_nxt - tcb->snd_una, model->rate.delivered,
				   (uint32_t)core->now_us);
		return;
	}
	if (!control->marked) {
		if (first)
			recovery_slow_down(core, tcb);
		return;
	}
	c = view(core, tcb, MIN_OF(tcb->snd_nxt - tcb->snd_una, cwnd));
	control->marked(&c, bytes, first);
	take(tcb, &c);
	if (!first) /* its window is repaired by others, or was made smaller before */
		tcb->cwnd = cwnd;
}

/* What went out beyond cwnd by limited transmit does not count (RFC 5681 section 3.2). */
void congestion_loss(struct core *core, struct tcb *tcb)
{
	struct c10m_congestion c = view(core, tcb, MIN_OF(tcb->snd_nxt - tcb->snd_una, tcb->cwnd));
	struct model *model = model_of(core, tcb);

	if (model) { /* to where recovery leads, but the model says how much meanwhile */
		bbr_recovery(&model->bbr);
		tcb->ssthresh = MAX_OF(tcb->cwnd, 2u * tcb->mss);
		return;
	}
	congestion_of(core, tcb)->loss(&c);
	take(tcb, &c);
}

/* In recovery duplicates have inflated cwnd, and the flight with it: ssthresh is what it was worth. */
void congestion_timeout(struct core *core, struct tcb *tcb, bool first)
{
	uint32_t window = tcb->pending & TCB_RECOVERY ? MIN_OF(tcb->cwnd, tcb->ssthresh) : tcb->cwnd;
	struct c10m_congestion c = view(core, tcb, MIN_OF(tcb->snd_nxt - tcb->snd_una, window));
	struct model *model = model_of(core, tcb);

	if (model) {
		bbr_timeout(&model->bbr);
		tcb->ssthresh = MAX_OF(model->bbr.prior_cwnd, 2u * tcb->mss);
		tcb->cwnd = tcb->mss;
		return;
	}
	congestion_of(core, tcb)->timeout(&c, first);
	c.cwnd = tcb->mss;
	take(tcb, &c);
}

void congestion_idle(struct core *core, struct tcb *tcb)
{
	struct c10m_congestion c = view(core, tcb, 0);
	struct model *model = model_of(core, tcb);

	if (model) /* it is paced: what it knew of the path still holds */
		tcb->cwnd = model->bbr.cwnd;
	if (model || !congestion_of(core, tcb)->idle)
		return;
	congestion_of(core, tcb)->idle(&c);
	take(tcb, &c);
}

void congestion_undone(struct core *core, struct tcb *tcb)
{
	struct model *model = model_of(core, tcb);

	if (!model)
		return;
	bbr_undo(&model->bbr, model->rate.delivered, (uint32_t)core->now_us);
	tcb->cwnd = MAX_OF(model->bbr.cwnd, (uint32_t)tcb->mss);
}
