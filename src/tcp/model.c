/* model.c - what happens to a connection, as its model is told of it.
 * In: what was sent, has arrived, is lost.  Out: tcb.cwnd, the pace.  Owns: the pool of models. */
#include "tcp/model.h"

#include "tcp/congestion.h"
#include "tcp/recovery.h"

#define RECLAIM_LOOKS 8 /* models that are looked at for one whose connection is idle */

static bool wants_model(const struct core *core, const struct tcb *tcb)
{
	return congestion_of(core, tcb)->flags & CONGESTION_MODEL;
}

struct model *model_of(const struct core *core, const struct tcb *tcb)
{
	const struct tcp_extension *extension = tcb_extension(core, tcb);

	if (!extension || !extension->model || !wants_model(core, tcb))
		return NULL;
	return pool_at(&core->models, extension->model - 1u);
}

static uint32_t in_flight(const struct core *core, const struct tcb *tcb)
{
	return tcb->options & TCB_BOARD ? board_pipe(core, tcb) : tcb->snd_nxt - tcb->snd_una;
}

/* --- attaching */

/* Takes the model of a connection that has nothing to send. */
static uint32_t reclaim(struct core *core)
{
	for (unsigned looks = 0; looks < RECLAIM_LOOKS && core->models.capacity; looks++) {
		uint32_t next = core->model_next++ % core->models.capacity;
		const struct model *model = pool_at(&core->models, next);
		struct tcb *owner = tcb_at(core, model->owner);

		if (owner->snd_bytes || owner->snd_nxt != owner->snd_una)
			continue;
		core->counters.tcp_models_reclaimed++;
		extension_drop(core, owner, EXTENSION_MODEL);
		return pool_take(&core->models);
	}
	core->counters.tcp_models_missing++;
	return POOL_NONE;
}

static void begin(struct core *core, struct tcb *tcb, struct model *model)
{
	uint32_t flight = in_flight(core, tcb), now_us = (uint32_t)core->now_us;

	model->owner = tcb_index(core, tcb);
	model->recovering = false;
	bbr_begin(&model->bbr, MAX_OF(tcb->cwnd, tcp_initial_window(core, tcb)), tcb->mss, tcb->srtt_us,
		  now_us, core_random_below(core, UINT32_MAX));
	rate_begin(&model->rate, tcb->snd_una, now_us);
	if (flight) /* it went just now */
		rate_sent(&model->rate, tcb->snd_nxt, flight, flight, tcb->srtt_us, now_us);
	tcb->cwnd = tcb->ssthresh = model->bbr.cwnd;
}

/* Another algorithm was chosen. */
static void forget(struct core *core, struct tcb *tcb)
{
	if (tcb->extension == POOL_NONE || !tcb_extension(core, tcb)->model)
		return;
	tcb->paced = 0; /* until pace.c finds that it is worth it */
	extension_drop(core, tcb, EXTENSION_MODEL);
}

bool model_consider(struct core *core, struct tcb *tcb)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);
	uint32_t id;

	if (!wants_model(core, tcb)) {
		forget(core, tcb);
		return false;
	}
	if (extension && extension->model)
		return true;
	if (tcb->options & TCB_BACKED || tcb->state < TCP_ESTABLISHED)
		return false;
	id = pool_take(&core->models);
	id = id == POOL_NONE ? reclaim(core) : id;
	if (id == POOL_NONE)
		return false;
	extension = extension_hold(core, tcb, EXTENSION_MODEL);
	if (!extension) {
		pool_give(&core->models, id);
		return false;
	}
	extension->model = (uint16_t)(id + 1);
	begin(core, tcb, pool_at(&core->models, id));
	core->counters.tcp_models++;
	return true;
}

void model_release(struct core *core, struct tcp_extension *extension)
{
	pool_give(&core->models, extension->model - 1u);
	extension->model = 0;
}

/* --- what happens */

void model_sent(struct core *core, struct tcb *tcb, uint32_t end, uint32_t bytes)
{
	struct model *model = model_of(core, tcb);
	uint32_t flight = in_flight(core, tcb), now_us = (uint32_t)core->now_us;

	if (!model)
		return;
	if (flight <= bytes && model->rate.app_limited)
		bbr_idle(&model->bbr, model->rate.delivered, now_us);
	rate_sent(&model->rate, end, bytes, flight, tcb->srtt_us, now_us);
}

/* All was sent, and more might be. */
static bool is_starved(const struct core *core, const struct tcb *tcb)
{
	return tcb->snd_bytes <= tcb->snd_nxt - tcb->snd_una && in_flight(core, tcb) < tcb->cwnd &&
	       (!(tcb->options & TCB_BOARD) || tcb_extension(core, tcb)->lost_bytes == 0);
}

static void sample(struct core *core, struct tcb *tcb, struct model *model, struct rate_sample *sample)
{
	const struct tcp_extension *extension = tcb_extension(core, tcb);
	bool board = tcb->options & TCB_BOARD;

	rate_acked(&model->rate, tcb->snd_una, board ? extension->sacked_bytes : 0,
		   board ? extension->fack : tcb->snd_una, model->bbr.min_rtt_us, (uint32_t)core->now_us,
		   sample);
}

void model_acked(struct core *core, struct tcb *tcb)
{
	struct model *model = model_of(core, tcb);
	bool recovering = tcb->pending & TCB_RECOVERY || tcb->options & TCB_BACKED;
	uint32_t flight = in_flight(core, tcb);
	struct rate_sample news;

	if (!model) {
		forget(core, tcb);
		return;
	}
	sample(core, tcb, model, &news);
	if (is_starved(core, tcb))
		rate_starved(&model->rate, flight);
	if (model->recovering && !recovering)
		bbr_recovered(&model->bbr);
	model->recovering = recovering;
	model->bbr.mss = tcb->mss;
	bbr_acked(&model->bbr,
		  &(struct bbr_ack){
			  .sample = &news,
			  .now_us = (uint32_t)core->now_us,
			  .in_flight = flight,
			  .window_full = flight + news.newly_delivered + news.newly_lost + 2u * tcb->mss >=
					 model->bbr.cwnd,
			  .recovering = recovering,
			  .sack = tcb->options & TCB_SACK,
		  },
		  &model->rate);
	tcb->cwnd = MAX_OF(model->bbr.cwnd, (uint32_t)tcb->mss);
}

void model_lost(struct core *core, struct tcb *tcb, uint32_t start, uint32_t bytes)
{
	struct model *model = model_of(core, tcb);
	const struct rate_record *part;

	if (!model)
		return;
	part = rate_lost(&model->rate, start, bytes);
	bbr_lost(&model->bbr, bytes, part ? part->in_flight : in_flight(core, tcb),
		 part ? model->rate.lost - part->lost : bytes,
		 part ? part->app_limited : model->rate.app_limited, model->rate.delivered,
		 (uint32_t)core->now_us);
}
