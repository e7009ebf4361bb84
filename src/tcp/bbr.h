/* bbr.h - BBR version 3 (draft-ietf-ccwg-bbr-06): a model of the path, its rate and its round trip, says how
 * fast to send and how much may be in flight. Losses only bound the model.
 *
 * It knows nothing of connections: samples go in (rate.h), cwnd and a pacing rate come out. */
#ifndef C10M_TCP_BBR_H
#define C10M_TCP_BBR_H

#include "tcp/rate.h"

enum bbr_state {
	BBR_STARTUP,
	BBR_DRAIN,
	BBR_PROBE_DOWN,
	BBR_PROBE_CRUISE,
	BBR_PROBE_REFILL,
	BBR_PROBE_UP,
	BBR_PROBE_RTT,
};

enum bbr_acks { BBR_ACKS_INIT, BBR_ACKS_REFILLING, BBR_ACKS_STARTING, BBR_ACKS_FEEDBACK, BBR_ACKS_STOPPING };

#define BBR_INFINITE UINT32_MAX

/* Rates in bytes a second, the rest in bytes and microseconds. */
struct bbr {
	uint64_t pacing_rate, bw, max_bw[2], bw_latest, bw_short, full_bw;
	uint64_t undo_bw_short;
	uint32_t cwnd, prior_cwnd;
	uint32_t initial_cwnd, mss;
	uint32_t inflight_latest, inflight_short, inflight_long;
	uint32_t undo_inflight_short, undo_inflight_long;
	uint32_t min_rtt_us, min_rtt_at, probe_rtt_us, probe_rtt_at, probe_rtt_until;
	uint32_t round_end, round_count, loss_round_end; /* by what had been delivered */
	uint32_t round_at, loss_round_at, rtt_us;        /* when they began; the last round trip */
	uint32_t lost_in_round;
	uint32_t extra_acked[2], extra_at, extra_delivered;
	uint32_t cycle_at, probe_wait_us, rounds_since_probe, drain_round;
	uint32_t up_acked, up_acked_step;
	uint32_t random;
	uint16_t loss_events;
	uint8_t state, acks, undo_state, full_count, up_rounds, extra_rounds;
	bool round_start, loss_round_start, loss_in_round;
	bool full_now, full_reached, probe_sample, too_high, precautionary;
	bool idle_restart, probe_rtt_timed, probe_rtt_round, probe_rtt_expired;
};

/* What an acknowledgement brought. */
struct bbr_ack {
	const struct rate_sample *sample;
	uint32_t now_us;
	uint32_t in_flight; /* after it */
	bool window_full;   /* before it */
	bool recovering, sack;
};

void bbr_begin(struct bbr *bbr, uint32_t cwnd, uint32_t mss, uint32_t srtt_us, uint32_t now_us,
	       uint32_t random);
void bbr_acked(struct bbr *bbr, const struct bbr_ack *ack, struct rate *rate);
/* So many bytes are lost that had been sent when so much was in flight; lost: since then, with it. */
void bbr_lost(struct bbr *bbr, uint32_t bytes, uint32_t in_flight, uint32_t lost, bool app_limited,
	      uint32_t delivered, uint32_t now_us);
void bbr_marked(struct bbr *bbr, uint32_t in_flight, uint32_t delivered, uint32_t now_us);
void bbr_recovery(struct bbr *bbr);                                  /* one begins */
void bbr_timeout(struct bbr *bbr);                                   /* likewise, by the timer */
void bbr_recovered(struct bbr *bbr);                                 /* it is over */
void bbr_undo(struct bbr *bbr, uint32_t delivered, uint32_t now_us); /* and was for nothing */
/* Something is about to be sent after a pause. */
void bbr_idle(struct bbr *bbr, uint32_t delivered, uint32_t now_us);

#endif
