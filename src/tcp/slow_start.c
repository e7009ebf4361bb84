/* slow_start.c - ends the first slow start before it has filled the path's queue: HyStart++ (RFC 9406), and
 * what it left out of HyStart: acknowledgements that come without a gap for a part of a round trip come as
 * fast as the path carries data, and so tell how much it holds, long before a delay tells of a queue. Up to
 * there the window doubles, but goes out no faster than that (pace.c), since what it has doubled by would
 * fill the queue; beyond it grows by a quarter each round, so that little is lost where that deceives. In:
 * acknowledgements and how long they took.  Out: how many bytes the window may grow by, and ssthresh. Owns:
 * the extension's part for it. Who has no extension has no more than one chunk queued, and fills no path;
 * what it had seen is forgotten with the extension, and a new round begins. */
#include "tcp/congestion.h"

#define SAMPLES        8u /* N_RTT_SAMPLE; without timestamps there is one sample a round trip */
#define THRESH_MIN_US  4000u
#define THRESH_MAX_US  16000u
#define GROWTH_DIVISOR 4u
#define CAREFUL_ROUNDS 5u
#define TRAIN_GAP_US   2000u
#define TRAIN_SEGMENTS 16u /* a window smaller than that shows no train */
#define TRAIN_PART     6u  /* of a round trip */
#define TRAIN_DIVISOR  8u  /* of growth beyond what the path holds */

static void begin_round(const struct core *core, const struct tcb *tcb, struct tcp_extension *extension)
{
	extension->start_under_way = 1;
	extension->start_began_us = extension->start_train_us = (uint32_t)core->now_us;
	extension->start_end = tcb->snd_nxt;
	if (!extension->start_base_us)
		extension->start_fits_bytes = 0; /* what was acknowledged in this round, so far */
	if (extension->start_now_us)
		extension->start_last_us = extension->start_now_us;
	extension->start_now_us = 0;
	extension->start_samples = 0;
}

static void take_sample(struct tcp_extension *extension, uint32_t rtt_us)
{
	if (rtt_us == 0)
		return;
	if (extension->start_samples < SAMPLES)
		extension->start_samples++;
	if (extension->start_now_us == 0 || rtt_us < extension->start_now_us)
		extension->start_now_us = rtt_us;
}

/* A part of the shortest round trip without a gap. */
static bool is_train(const struct core *core, const struct tcb *tcb, struct tcp_extension *extension,
		     uint32_t bytes)
{
	uint32_t now_us = (uint32_t)core->now_us;

	if (!extension->start_base_us && extension->start_began_us != now_us)
		extension->start_fits_bytes += bytes;
	if (now_us - extension->start_train_us > MAX_OF(TRAIN_GAP_US, tcb->min_rtt_us / 16) ||
	    tcb->cwnd < TRAIN_SEGMENTS * tcb->mss)
		return false;
	extension->start_train_us = now_us;
	return now_us - extension->start_began_us > tcb->min_rtt_us / TRAIN_PART;
}

/* What a train brought, stretched to a whole round trip; after a delay that came first the window itself. */
static uint32_t fits(const struct core *core, const struct tcb *tcb, const struct tcp_extension *extension)
{
	uint32_t took_us = MAX_OF((uint32_t)core->now_us - extension->start_began_us, 1u);

	if (!extension->start_by_train)
		return 0;
	return (uint32_t)MIN_OF((uint64_t)extension->start_fits_bytes * tcb->min_rtt_us / took_us,
				(uint64_t)SSTHRESH_UNKNOWN / 8);
}

static bool is_slower(uint32_t now_us, uint32_t last_us)
{
	uint32_t thresh_us = MIN_OF(MAX_OF(last_us / 8, THRESH_MIN_US), THRESH_MAX_US);

	return last_us && now_us >= last_us + thresh_us;
}

/* Section 4.2: into conservative slow start when a round trip was longer, out of it when that was wrong. True
 * when slow start is over: it was careful by a train, and now there is a queue. */
static bool is_careful(const struct tcb *tcb, const struct tcp_extension *extension)
{
	return extension->start_base_us && tcb->cwnd >= extension->start_fits_bytes;
}

/* What goes out evenly makes no queue of its own: each sample counts. */
static bool queue_shows(const struct tcb *tcb, const struct tcp_extension *extension, uint32_t rtt_us)
{
	return extension->start_by_train && is_careful(tcb, extension) &&
	       is_slower(rtt_us, extension->start_base_us);
}

static bool judge(const struct core *core, const struct tcb *tcb, struct tcp_extension *extension, bool train)
{
	bool enough = extension->start_samples >= (tcb->options & TCB_TIMESTAMPS ? SAMPLES : 1);
	bool slower = enough && is_slower(extension->start_now_us, extension->start_last_us);

	if (extension->start_base_us) {
		if (enough && !extension->start_by_train &&
		    extension->start_now_us < extension->start_base_us)
			extension->start_base_us = 0;
		return slower && extension->start_by_train;
	}
	if (slower || (train && extension->start_now_us)) {
		extension->start_base_us = extension->start_now_us;
		extension->start_by_train = !slower;
		extension->start_fits_bytes = fits(core, tcb, extension);
		extension->start_rounds = 0;
	}
	return false;
}

static void end_slow_start(struct core *core, struct tcb *tcb)
{
	tcb->ssthresh = MAX_OF(tcb->cwnd, 2u * tcb->mss);
	core->counters.tcp_slow_start_exits++;
}

uint32_t slow_start_acked(struct core *core, struct tcb *tcb, uint32_t bytes, uint32_t rtt_us)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);

	if (!extension || tcb->ssthresh != SSTHRESH_UNKNOWN)
		return bytes;
	if (!extension->start_under_way) {
		begin_round(core, tcb, extension);
	} else if (seq_gt(tcb->snd_una, extension->start_end)) { /* by the first that was sent in it */
		begin_round(core, tcb, extension);
		if (is_careful(tcb, extension) && ++extension->start_rounds >= CAREFUL_ROUNDS)
			end_slow_start(core, tcb);
	}
	take_sample(extension, rtt_us);
	if (queue_shows(tcb, extension, rtt_us) ||
	    judge(core, tcb, extension, is_train(core, tcb, extension, bytes)))
		end_slow_start(core, tcb);
	bytes = MIN_OF(bytes, ABC_SEGMENTS * tcb->mss);
	if (!is_careful(tcb, extension))
		return bytes;
	return bytes / (extension->start_by_train ? TRAIN_DIVISOR : GROWTH_DIVISOR);
}
