/* bbr.c - BBR version 3, in the order of draft-ietf-ccwg-bbr-06 sections 5.2 to 5.6, whose names it keeps in
 * shorter form: max_bw, bw_short and inflight_short (of this cycle's losses), inflight_long (of all).
 * In: samples and losses.  Out: cwnd, pacing_rate.  Owns: struct bbr. */
#include "tcp/bbr.h"

#define PERCENT         100u
#define LOSS_THRESH     2u /* percent of what was in flight */
#define BETA            70u
#define HEADROOM        15u
#define PACING_MARGIN   1u
#define STARTUP_LOSSES  6u
#define MIN_RTT_LEN_US  10000000u
#define PROBE_RTT_US    5000000u /* between two of them */
#define PROBE_RTT_TIME  200000u  /* how long one takes */
#define PROBE_RTT_GAIN  50u
#define PROBE_WAIT_US   2000000u
#define RENO_ROUNDS_MAX 63u
#define FULL_ROUNDS     3u
#define DRAIN_ROUNDS    3u
#define EXTRA_ROUNDS    5u /* of each of two slots */
#define MIN_SEGMENTS    4u
#define BW_UNBOUND      UINT64_MAX

static const uint16_t pacing_gains[] = {277, 50, 90, 100, 100, 125, 100};
static const uint16_t cwnd_gains[] = {200, 200, 200, 200, 200, 225, PROBE_RTT_GAIN};

/* --- small things */

static uint32_t part_of(uint32_t bytes, uint32_t percent)
{
	return (uint32_t)((uint64_t)bytes * percent / PERCENT);
}

static uint32_t random_next_below(struct bbr *bbr, uint32_t bound)
{
	bbr->random = bbr->random * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)bbr->random * bound >> 32);
}

static uint32_t min_pipe(const struct bbr *bbr)
{
	return MIN_SEGMENTS * bbr->mss;
}

static uint64_t max_bw(const struct bbr *bbr)
{
	return MAX_OF(bbr->max_bw[0], bbr->max_bw[1]);
}

static bool in_probe_bw(const struct bbr *bbr)
{
	return bbr->state >= BBR_PROBE_DOWN && bbr->state <= BBR_PROBE_UP;
}

static bool is_probing(const struct bbr *bbr)
{
	return bbr->state == BBR_STARTUP || bbr->state == BBR_PROBE_REFILL || bbr->state == BBR_PROBE_UP;
}

/* Section 5.6.4.2. Rates and round trips of any size stay within 1 GB. */
static uint32_t bdp(const struct bbr *bbr, uint64_t bw, uint32_t gain)
{
	uint64_t bytes;

	if (bbr->min_rtt_us == 0)
		return bbr->initial_cwnd;
	bytes = MIN_OF(bw, 1ull << 38) * MIN_OF(bbr->min_rtt_us, 1u << 25) / 1000000;
	return (uint32_t)MIN_OF(bytes * gain / PERCENT, 1ull << 30);
}

static uint32_t quantised(const struct bbr *bbr, uint32_t inflight)
{
	uint64_t quantum = MIN_OF(bbr->pacing_rate / 1000, 65536ull);
	uint32_t least = 3 * MAX_OF((uint32_t)quantum, 2 * bbr->mss);

	inflight = MAX_OF(MAX_OF(inflight, least), min_pipe(bbr));
	return inflight + (bbr->state == BBR_PROBE_UP ? 2 * bbr->mss : 0);
}

static uint32_t inflight_with_headroom(const struct bbr *bbr)
{
	uint32_t room;

	if (bbr->inflight_long == BBR_INFINITE)
		return BBR_INFINITE;
	room = MIN_OF(MAX_OF(bbr->mss, part_of(bbr->inflight_long, HEADROOM)), bbr->inflight_long);
	return MAX_OF(bbr->inflight_long - room, min_pipe(bbr));
}

static uint32_t target_inflight(const struct bbr *bbr)
{
	return MIN_OF(bdp(bbr, bbr->bw, PERCENT), bbr->cwnd);
}

static void save_cwnd(struct bbr *bbr, bool recovering)
{
	bbr->prior_cwnd = !recovering && bbr->state != BBR_PROBE_RTT ? bbr->cwnd
								     : MAX_OF(bbr->prior_cwnd, bbr->cwnd);
}

static void restore_cwnd(struct bbr *bbr)
{
	bbr->cwnd = MAX_OF(bbr->cwnd, bbr->prior_cwnd);
}

static void set_pacing_rate(struct bbr *bbr, uint32_t gain)
{
	uint64_t rate = bbr->bw * gain / PERCENT * (PERCENT - PACING_MARGIN) / PERCENT;

	if (rate && (bbr->full_reached || rate > bbr->pacing_rate))
		bbr->pacing_rate = rate;
}

/* --- rounds and states */

static void start_round(struct bbr *bbr, uint32_t delivered)
{
	bbr->round_end = delivered;
}

static void reset_full_bw(struct bbr *bbr)
{
	bbr->full_bw = 0;
	bbr->full_count = 0;
	bbr->full_now = false;
}

static void reset_short_term(struct bbr *bbr)
{
	bbr->bw_short = BW_UNBOUND;
	bbr->inflight_short = BBR_INFINITE;
}

static void reset_signals(struct bbr *bbr)
{
	bbr->loss_in_round = false;
	bbr->bw_latest = 0;
	bbr->inflight_latest = 0;
}

static void enter_drain(struct bbr *bbr)
{
	bbr->state = BBR_DRAIN;
	bbr->drain_round = bbr->round_count;
}

/* Section 5.3.3.8: between two and three seconds, or as often as Reno would. */
static void start_down(struct bbr *bbr, uint32_t delivered, uint32_t now_us)
{
	reset_signals(bbr);
	bbr->up_acked_step = BBR_INFINITE;
	bbr->rounds_since_probe = random_next_below(bbr, 2);
	bbr->probe_wait_us = PROBE_WAIT_US + random_next_below(bbr, 1000000);
	bbr->cycle_at = now_us;
	bbr->acks = BBR_ACKS_STOPPING;
	start_round(bbr, delivered);
	bbr->state = BBR_PROBE_DOWN;
}

static void start_refill(struct bbr *bbr, uint32_t delivered)
{
	reset_short_term(bbr);
	bbr->up_rounds = 0;
	bbr->up_acked = 0;
	bbr->precautionary = false;
	bbr->acks = BBR_ACKS_REFILLING;
	start_round(bbr, delivered);
	bbr->state = BBR_PROBE_REFILL;
}

static void raise_slope(struct bbr *bbr)
{
	uint32_t step = bbr->cwnd >> bbr->up_rounds;

	bbr->up_rounds = (uint8_t)MIN_OF(bbr->up_rounds + 1u, 30u);
	bbr->up_acked_step = MAX_OF(step, bbr->mss);
}

static void start_up(struct bbr *bbr, const struct rate_sample *sample)
{
	bbr->acks = BBR_ACKS_STARTING;
	start_round(bbr, sample->now_delivered);
	reset_full_bw(bbr);
	bbr->full_bw = sample->bytes_per_s;
	bbr->state = BBR_PROBE_UP;
	raise_slope(bbr);
}

/* --- the model */

/* While nothing but what was sent again arrives, which makes no samples, time tells. */
static bool is_over(const struct bbr *bbr, const struct bbr_ack *ack, uint32_t end, uint32_t began_at)
{
	const struct rate_sample *sample = ack->sample;

	if (sample->valid)
		return seq_geq(sample->prior_delivered, end);
	return sample->newly_delivered && bbr->rtt_us &&
	       ack->now_us - began_at > bbr->rtt_us + bbr->rtt_us / 8;
}

static void update_round(struct bbr *bbr, const struct bbr_ack *ack)
{
	bbr->round_start = is_over(bbr, ack, bbr->round_end, bbr->round_at);
	if (ack->sample->valid)
		bbr->rtt_us = ack->sample->rtt_us;
	if (!bbr->round_start)
		return;
	start_round(bbr, ack->sample->now_delivered);
	bbr->round_at = ack->now_us;
	bbr->round_count++;
	bbr->rounds_since_probe++;
}

static void update_latest(struct bbr *bbr, const struct bbr_ack *ack)
{
	const struct rate_sample *sample = ack->sample;

	bbr->bw_latest = MAX_OF(bbr->bw_latest, sample->bytes_per_s);
	bbr->inflight_latest = MAX_OF(bbr->inflight_latest, sample->delivered);
	bbr->loss_round_start = is_over(bbr, ack, bbr->loss_round_end, bbr->loss_round_at);
	if (!bbr->loss_round_start)
		return;
	bbr->loss_round_end = sample->now_delivered;
	bbr->loss_round_at = ack->now_us;
}

/* Section 5.5.10.3: what losses of this round say while nothing is probed. */
static void adapt_lower_bounds(struct bbr *bbr)
{
	if (is_probing(bbr) || !bbr->loss_in_round)
		return;
	if (bbr->bw_short == BW_UNBOUND)
		bbr->bw_short = max_bw(bbr);
	if (bbr->inflight_short == BBR_INFINITE)
		bbr->inflight_short = bbr->cwnd;
	bbr->bw_short = MAX_OF(bbr->bw_latest, bbr->bw_short / PERCENT * BETA);
	bbr->inflight_short = MAX_OF(bbr->inflight_latest, part_of(bbr->inflight_short, BETA));
}

static void update_signals(struct bbr *bbr, const struct bbr_ack *ack)
{
	const struct rate_sample *sample = ack->sample;

	update_round(bbr, ack);
	if (sample->bytes_per_s && (sample->bytes_per_s >= max_bw(bbr) || !sample->app_limited))
		bbr->max_bw[1] = MAX_OF(bbr->max_bw[1], sample->bytes_per_s);
	if (bbr->loss_round_start)
		adapt_lower_bounds(bbr);
}

/* A cycle without samples leaves the last one's in force. */
static void advance_max_bw(struct bbr *bbr)
{
	if (bbr->max_bw[1] == 0)
		return;
	bbr->max_bw[0] = bbr->max_bw[1];
	bbr->max_bw[1] = 0;
}

static void note_extra(struct bbr *bbr, uint32_t extra)
{
	if (bbr->round_start)
		bbr->extra_rounds = (uint8_t)MIN_OF(bbr->extra_rounds + 1u, 31u);
	if (bbr->extra_rounds >= (bbr->full_reached ? EXTRA_ROUNDS : 1u)) {
		bbr->extra_rounds = 0;
		bbr->extra_acked[0] = bbr->extra_acked[1];
		bbr->extra_acked[1] = 0;
	}
	bbr->extra_acked[1] = MAX_OF(bbr->extra_acked[1], extra);
}

/* Section 5.5.9: by how much acknowledgements run ahead of the rate. */
static void update_aggregation(struct bbr *bbr, const struct bbr_ack *ack)
{
	uint64_t expected = MIN_OF(bbr->bw, 1ull << 38) * (ack->now_us - bbr->extra_at) / 1000000;

	if (ack->sample->newly_delivered == 0)
		return;
	if (bbr->extra_delivered <= expected) {
		bbr->extra_delivered = 0;
		bbr->extra_at = ack->now_us;
		expected = 0;
	}
	bbr->extra_delivered += ack->sample->newly_delivered;
	note_extra(bbr, MIN_OF(bbr->extra_delivered - (uint32_t)expected, bbr->cwnd));
}

/* Section 5.3.1.2. */
static void check_full_bw(struct bbr *bbr, const struct rate_sample *sample)
{
	if (bbr->full_now || !bbr->round_start || sample->app_limited || sample->bytes_per_s == 0)
		return;
	if (sample->bytes_per_s >= bbr->full_bw + bbr->full_bw / 4) {
		reset_full_bw(bbr);
		bbr->full_bw = sample->bytes_per_s;
		return;
	}
	bbr->full_count++;
	bbr->full_now = bbr->full_count >= FULL_ROUNDS;
	bbr->full_reached |= bbr->full_now;
}

static bool is_too_high(uint32_t lost, uint32_t in_flight, bool sack)
{
	return lost > part_of(in_flight, LOSS_THRESH) || (lost && !sack);
}

/* Section 5.3.1.3: a round of recovery in which much was lost. */
static void check_startup_losses(struct bbr *bbr, const struct bbr_ack *ack)
{
	const struct rate_sample *sample = ack->sample;

	if (bbr->full_reached || !bbr->loss_round_start)
		return;
	if (bbr->loss_in_round && ack->recovering && /* the round began with its first loss */
	    (bbr->loss_events >= STARTUP_LOSSES || !ack->sack) &&
	    is_too_high(bbr->lost_in_round, sample->valid ? sample->in_flight : bbr->cwnd, ack->sack)) {
		bbr->undo_state = BBR_STARTUP + 1;
		bbr->full_reached = true;
		bbr->inflight_long = MAX_OF(bdp(bbr, max_bw(bbr), PERCENT), bbr->inflight_latest);
	}
	bbr->loss_events = 0;
	bbr->lost_in_round = 0;
}

static void check_startup_and_drain(struct bbr *bbr, const struct bbr_ack *ack)
{
	check_startup_losses(bbr, ack);
	if (bbr->state == BBR_STARTUP && bbr->full_reached)
		enter_drain(bbr);
	if (bbr->state == BBR_DRAIN && (ack->in_flight <= quantised(bbr, bdp(bbr, bbr->bw, PERCENT)) ||
					bbr->round_count > bbr->drain_round + DRAIN_ROUNDS))
		start_down(bbr, ack->sample->now_delivered, ack->now_us);
}

/* --- probing for bandwidth: section 5.3.3.9 */

static void probe_long_term_upward(struct bbr *bbr, const struct bbr_ack *ack)
{
	uint32_t steps;

	if (!ack->window_full || bbr->cwnd < bbr->inflight_long)
		return;
	bbr->up_acked += ack->sample->newly_delivered;
	if (bbr->up_acked >= bbr->up_acked_step) {
		steps = bbr->up_acked / bbr->up_acked_step;
		bbr->up_acked -= steps * bbr->up_acked_step;
		bbr->inflight_long += MIN_OF(steps * bbr->mss,
					     (1u << 30) - MIN_OF(bbr->inflight_long, 1u << 30));
	}
	if (bbr->round_start)
		raise_slope(bbr);
}

/* True when it has decided where to go. */
static bool feedback_is_over(struct bbr *bbr, const struct rate_sample *sample)
{
	bbr->probe_sample = false;
	bbr->acks = BBR_ACKS_INIT;
	if (in_probe_bw(bbr) && !sample->app_limited)
		advance_max_bw(bbr);
	if (!in_probe_bw(bbr) || !bbr->precautionary || bbr->too_high)
		return false;
	start_refill(bbr, sample->now_delivered);
	return true;
}

static bool adapt_long_term(struct bbr *bbr, const struct bbr_ack *ack)
{
	const struct rate_sample *sample = ack->sample;

	if (bbr->acks == BBR_ACKS_STARTING && bbr->round_start)
		bbr->acks = BBR_ACKS_FEEDBACK;
	if (bbr->acks == BBR_ACKS_STOPPING && bbr->round_start && feedback_is_over(bbr, sample))
		return true;
	if (bbr->inflight_long == BBR_INFINITE || is_too_high(sample->lost, sample->in_flight, ack->sack))
		return false;
	if (sample->valid)
		bbr->inflight_long = MAX_OF(bbr->inflight_long, sample->in_flight);
	if (bbr->state == BBR_PROBE_UP)
		probe_long_term_upward(bbr, ack);
	return false;
}

static bool is_time_to_probe(const struct bbr *bbr, uint32_t now_us)
{
	uint32_t reno_rounds = target_inflight(bbr) / bbr->mss;

	return now_us - bbr->cycle_at > bbr->probe_wait_us ||
	       bbr->rounds_since_probe >= MIN_OF(reno_rounds, RENO_ROUNDS_MAX);
}

static bool is_time_to_cruise(const struct bbr *bbr, uint32_t in_flight)
{
	return in_flight <= inflight_with_headroom(bbr) &&
	       in_flight <= quantised(bbr, bdp(bbr, max_bw(bbr), PERCENT));
}

static bool is_time_to_go_down(struct bbr *bbr, const struct bbr_ack *ack)
{
	if (bbr->too_high && ack->in_flight >= bbr->inflight_long) {
		bbr->precautionary = true;
		return true;
	}
	if (ack->window_full && bbr->cwnd >= bbr->inflight_long) {
		reset_full_bw(bbr); /* it is inflight_long that bounds the rate */
		bbr->full_bw = ack->sample->bytes_per_s;
		return false;
	}
	return bbr->full_now;
}

static void update_cycle(struct bbr *bbr, const struct bbr_ack *ack)
{
	uint32_t delivered = ack->sample->now_delivered;

	if (!bbr->full_reached || adapt_long_term(bbr, ack) || !in_probe_bw(bbr))
		return;
	switch (bbr->state) {
	case BBR_PROBE_DOWN:
	case BBR_PROBE_CRUISE:
		if (is_time_to_probe(bbr, ack->now_us))
			start_refill(bbr, delivered);
		else if (bbr->state == BBR_PROBE_DOWN && is_time_to_cruise(bbr, ack->in_flight))
			bbr->state = BBR_PROBE_CRUISE;
		return;
	case BBR_PROBE_REFILL:
		if (!bbr->round_start)
			return;
		bbr->probe_sample = true;
		start_up(bbr, ack->sample);
		return;
	default:
		if (!is_time_to_go_down(bbr, ack))
			return;
		bbr->too_high = false;
		start_down(bbr, delivered, ack->now_us);
	}
}

/* --- probing for the round trip: section 5.3.4.3 */

static void update_min_rtt(struct bbr *bbr, const struct bbr_ack *ack)
{
	uint32_t rtt_us = ack->sample->rtt_us;

	bbr->probe_rtt_expired = ack->now_us - bbr->probe_rtt_at > PROBE_RTT_US;
	if (rtt_us && (bbr->probe_rtt_us == 0 || rtt_us < bbr->probe_rtt_us || bbr->probe_rtt_expired)) {
		bbr->probe_rtt_us = rtt_us;
		bbr->probe_rtt_at = ack->now_us;
	}
	if (bbr->probe_rtt_us && (bbr->min_rtt_us == 0 || bbr->probe_rtt_us < bbr->min_rtt_us ||
				  ack->now_us - bbr->min_rtt_at > MIN_RTT_LEN_US)) {
		bbr->min_rtt_us = bbr->probe_rtt_us;
		bbr->min_rtt_at = bbr->probe_rtt_at;
	}
}

static uint32_t probe_rtt_cwnd(const struct bbr *bbr)
{
	return MAX_OF(bdp(bbr, bbr->bw, PROBE_RTT_GAIN), min_pipe(bbr));
}

static void leave_probe_rtt(struct bbr *bbr, uint32_t delivered, uint32_t now_us)
{
	if (!bbr->probe_rtt_timed || (int32_t)(now_us - bbr->probe_rtt_until) <= 0)
		return;
	bbr->probe_rtt_at = now_us;
	restore_cwnd(bbr);
	reset_short_term(bbr);
	if (!bbr->full_reached) {
		bbr->state = BBR_STARTUP;
		return;
	}
	start_down(bbr, delivered, now_us);
	bbr->state = BBR_PROBE_CRUISE;
}

/* What arrives meanwhile says nothing of the rate. */
static void handle_probe_rtt(struct bbr *bbr, const struct bbr_ack *ack, struct rate *rate)
{
	rate_starved(rate, ack->in_flight);
	if (!bbr->probe_rtt_timed) {
		if (ack->in_flight > probe_rtt_cwnd(bbr))
			return;
		bbr->probe_rtt_timed = true;
		bbr->probe_rtt_until = ack->now_us + PROBE_RTT_TIME;
		bbr->probe_rtt_round = false;
		start_round(bbr, ack->sample->now_delivered);
		return;
	}
	bbr->probe_rtt_round |= bbr->round_start;
	if (bbr->probe_rtt_round)
		leave_probe_rtt(bbr, ack->sample->now_delivered, ack->now_us);
}

static void check_probe_rtt(struct bbr *bbr, const struct bbr_ack *ack, struct rate *rate)
{
	if (bbr->state != BBR_PROBE_RTT && bbr->probe_rtt_expired && !bbr->idle_restart) {
		/* The draft does not count a cycle that ends here. On a path that became slower, whose queue
		 * makes round trips long, each would, and the old maximum stay for ever. */
		if (bbr->acks == BBR_ACKS_FEEDBACK)
			advance_max_bw(bbr);
		save_cwnd(bbr, ack->recovering);
		bbr->state = BBR_PROBE_RTT;
		bbr->probe_rtt_timed = false;
		bbr->acks = BBR_ACKS_STOPPING;
		start_round(bbr, ack->sample->now_delivered);
	}
	if (bbr->state == BBR_PROBE_RTT)
		handle_probe_rtt(bbr, ack, rate);
	if (ack->sample->newly_delivered)
		bbr->idle_restart = false;
}

/* --- what follows: section 5.6 */

static void bound_cwnd(struct bbr *bbr)
{
	uint32_t cap = BBR_INFINITE;

	if (bbr->state == BBR_PROBE_RTT || bbr->state == BBR_PROBE_CRUISE)
		cap = inflight_with_headroom(bbr);
	else if (in_probe_bw(bbr))
		cap = bbr->inflight_long;
	cap = MAX_OF(MIN_OF(cap, bbr->inflight_short), min_pipe(bbr));
	bbr->cwnd = MIN_OF(bbr->cwnd, cap);
}

static void set_cwnd(struct bbr *bbr, const struct rate_sample *sample)
{
	uint32_t extra = MAX_OF(bbr->extra_acked[0], bbr->extra_acked[1]);
	uint32_t most = quantised(bbr, bdp(bbr, bbr->bw, cwnd_gains[bbr->state]) + MIN_OF(extra, 1u << 30));
	uint32_t grown = MIN_OF(bbr->cwnd + sample->newly_delivered, 1u << 30);

	if (bbr->full_reached)
		bbr->cwnd = MIN_OF(grown, most);
	else if (bbr->cwnd < most || sample->now_delivered < bbr->initial_cwnd)
		bbr->cwnd = grown;
	bbr->cwnd = MAX_OF(bbr->cwnd, min_pipe(bbr));
	if (bbr->state == BBR_PROBE_RTT)
		bbr->cwnd = MIN_OF(bbr->cwnd, probe_rtt_cwnd(bbr));
	bound_cwnd(bbr);
}

/* --- events */

void bbr_begin(struct bbr *bbr, uint32_t cwnd, uint32_t mss, uint32_t srtt_us, uint32_t now_us,
	       uint32_t random)
{
	uint64_t nominal = (uint64_t)cwnd * 1000000 / (srtt_us ? srtt_us : 1000);

	*bbr = (struct bbr){
		.cwnd = cwnd,
		.initial_cwnd = cwnd,
		.mss = mss,
		.min_rtt_us = srtt_us,
		.min_rtt_at = now_us,
		.probe_rtt_us = srtt_us,
		.probe_rtt_at = now_us,
		.extra_at = now_us,
		.round_at = now_us,
		.loss_round_at = now_us,
		.inflight_long = BBR_INFINITE,
		.up_acked_step = BBR_INFINITE,
		.random = random,
		.pacing_rate = nominal * pacing_gains[BBR_STARTUP] / PERCENT,
	};
	reset_short_term(bbr);
	bbr->undo_bw_short = bbr->bw_short;
	bbr->undo_inflight_short = bbr->undo_inflight_long = BBR_INFINITE;
}

/* Section 5.2.3. */
void bbr_acked(struct bbr *bbr, const struct bbr_ack *ack, struct rate *rate)
{
	const struct rate_sample *sample = ack->sample;

	update_latest(bbr, ack);
	update_signals(bbr, ack);
	update_aggregation(bbr, ack);
	check_full_bw(bbr, sample);
	check_startup_and_drain(bbr, ack);
	if (bbr->loss_round_start)
		bbr->loss_in_round = false;
	update_cycle(bbr, ack);
	update_min_rtt(bbr, ack);
	check_probe_rtt(bbr, ack, rate);
	if (bbr->loss_round_start) {
		bbr->bw_latest = sample->bytes_per_s;
		bbr->inflight_latest = sample->delivered;
	}
	bbr->bw = MIN_OF(max_bw(bbr), bbr->bw_short);
	set_pacing_rate(bbr, pacing_gains[bbr->state]);
	set_cwnd(bbr, sample);
}

static void save_state(struct bbr *bbr)
{
	bbr->undo_state = 0;
	bbr->undo_bw_short = bbr->bw_short;
	bbr->undo_inflight_short = bbr->inflight_short;
	bbr->undo_inflight_long = bbr->inflight_long;
}

static void note_loss(struct bbr *bbr, uint32_t delivered)
{
	if (!bbr->loss_in_round) {
		bbr->loss_round_end = delivered;
		save_state(bbr);
	}
	bbr->loss_in_round = true;
	if (bbr->loss_events < UINT16_MAX)
		bbr->loss_events++;
}

static void handle_too_high(struct bbr *bbr, uint32_t in_flight, bool app_limited, uint32_t delivered,
			    uint32_t now_us)
{
	bbr->too_high = true;
	bbr->probe_sample = false; /* once for each probe */
	if (!app_limited)
		bbr->inflight_long = MAX_OF(in_flight, part_of(target_inflight(bbr), BETA));
	if (bbr->state != BBR_PROBE_UP)
		return;
	bbr->undo_state = BBR_PROBE_UP + 1;
	start_down(bbr, delivered, now_us);
}

/* Section 5.5.10.2, with what was in flight where losses became too many. */
void bbr_lost(struct bbr *bbr, uint32_t bytes, uint32_t in_flight, uint32_t lost, bool app_limited,
	      uint32_t delivered, uint32_t now_us)
{
	uint32_t before = in_flight - MIN_OF(bytes, in_flight), lost_before = lost - MIN_OF(bytes, lost);
	uint32_t allowed = part_of(before, LOSS_THRESH), prefix = 0;

	note_loss(bbr, delivered);
	bbr->lost_in_round += bytes;
	if (!bbr->probe_sample || !is_too_high(lost, in_flight, true))
		return;
	if (allowed > lost_before)
		prefix = (uint32_t)((uint64_t)(allowed - lost_before) * PERCENT / (PERCENT - LOSS_THRESH));
	handle_too_high(bbr, before + MIN_OF(prefix, bytes), app_limited, delivered, now_us);
}

/* The draft leaves open what marks mean. RFC 3168 does not: what a loss means. */
void bbr_marked(struct bbr *bbr, uint32_t in_flight, uint32_t delivered, uint32_t now_us)
{
	note_loss(bbr, delivered);
	if (bbr->probe_sample)
		handle_too_high(bbr, in_flight, false, delivered, now_us);
}

void bbr_recovery(struct bbr *bbr)
{
	save_cwnd(bbr, false);
}

void bbr_timeout(struct bbr *bbr)
{
	save_cwnd(bbr, false);
	bbr->cwnd = bbr->mss;
}

void bbr_recovered(struct bbr *bbr)
{
	restore_cwnd(bbr);
	bound_cwnd(bbr);
}

/* Section 5.5.11.2. */
void bbr_undo(struct bbr *bbr, uint32_t delivered, uint32_t now_us)
{
	uint8_t state = bbr->undo_state;

	(void)now_us;
	restore_cwnd(bbr);
	bbr->loss_in_round = false;
	reset_full_bw(bbr);
	bbr->bw_short = MAX_OF(bbr->bw_short, bbr->undo_bw_short);
	bbr->inflight_short = MAX_OF(bbr->inflight_short, bbr->undo_inflight_short);
	bbr->inflight_long = MAX_OF(bbr->inflight_long, bbr->undo_inflight_long);
	bbr->undo_state = 0;
	if (state == BBR_STARTUP + 1 && bbr->state != BBR_STARTUP) {
		bbr->full_reached = false;
		if (bbr->state != BBR_PROBE_RTT)
			bbr->state = BBR_STARTUP;
	} else if (state == BBR_PROBE_UP + 1 && bbr->state != BBR_PROBE_UP && bbr->state != BBR_PROBE_RTT) {
		start_refill(bbr, delivered);
	}
}

/* Section 5.4.1. */
void bbr_idle(struct bbr *bbr, uint32_t delivered, uint32_t now_us)
{
	bbr->idle_restart = true;
	bbr->extra_at = now_us;
	bbr->extra_delivered = 0;
	if (in_probe_bw(bbr))
		set_pacing_rate(bbr, PERCENT);
	else if (bbr->state == BBR_PROBE_RTT)
		leave_probe_rtt(bbr, delivered, now_us);
}
