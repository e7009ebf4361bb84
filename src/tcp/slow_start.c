/* slow_start.c - ends the first slow start before it has filled the path's queue: HyStart++ (RFC 9406), and
 * what it left out of HyStart: acknowledgements that come without a gap for a third of a round trip say that
 * what is in flight fills the path by a third at least, and will fill it in this round, long before a delay
 * tells of a queue. Where that deceives little is lost: the window goes on growing by a quarter each round.
 * In: acknowledgements and how long they took.  Out: how many bytes the window may grow by, and ssthresh.
 * Owns: the extension's part for it. Who has no extension has no more than one chunk queued, and fills no
 * path; what it had seen is forgotten with the extension, and a new round begins. */
#include "tcp/congestion.h"

#define SAMPLES        8u /* N_RTT_SAMPLE; without timestamps there is one sample a round trip */
#define THRESH_MIN_US  4000u
#define THRESH_MAX_US  16000u
#define GROWTH_DIVISOR 4u
#define CAREFUL_ROUNDS 5u
#define TRAIN_GAP_US   2000u
#define TRAIN_SEGMENTS 16u /* a window smaller than that shows no train */

static void begin_round(const struct core *core, const struct tcb *tcb, struct tcp_extension *extension)
{
	extension->start_under_way = 1;
	extension->start_began_us = extension->start_train_us = (uint32_t)core->now_us;
	extension->start_end = tcb->snd_nxt;
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

/* A third of the shortest round trip without a gap. */
static bool is_train(const struct core *core, const struct tcb *tcb, struct tcp_extension *extension)
{
	uint32_t now_us = (uint32_t)core->now_us;

	if (now_us - extension->start_train_us > MAX_OF(TRAIN_GAP_US, tcb->min_rtt_us / 16) ||
	    tcb->cwnd < TRAIN_SEGMENTS * tcb->mss)
		return false;
	extension->start_train_us = now_us;
	return now_us - extension->start_began_us > tcb->min_rtt_us / 3;
}

static bool has_slowed_down(const struct tcp_extension *extension)
{
	uint32_t last = extension->start_last_us;
	uint32_t thresh = MIN_OF(MAX_OF(last / 8, THRESH_MIN_US), THRESH_MAX_US);

	return last && extension->start_now_us >= last + thresh;
}

/* Section 4.2: into conservative slow start when a round trip was longer, out of it when that was wrong. True
 * when slow start is over: it was careful by a train, and now there is a queue. */
static bool judge(struct tcb *tcb, struct tcp_extension *extension, bool train)
{
	bool enough = extension->start_samples >= (tcb->options & TCB_TIMESTAMPS ? SAMPLES : 1);
	bool slower = enough && has_slowed_down(extension);

	if (extension->start_base_us) {
		if (enough && !extension->start_by_train &&
		    extension->start_now_us < extension->start_base_us)
			extension->start_base_us = 0;
		return slower && extension->start_by_train;
	}
	if (slower || (train && extension->start_now_us)) {
		extension->start_base_us = extension->start_now_us;
		extension->start_by_train = !slower;
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
		if (extension->start_base_us && ++extension->start_rounds >= CAREFUL_ROUNDS)
			end_slow_start(core, tcb);
	}
	take_sample(extension, rtt_us);
	if (judge(tcb, extension, is_train(core, tcb, extension)))
		end_slow_start(core, tcb);
	bytes = MIN_OF(bytes, ABC_SEGMENTS * tcb->mss);
	return extension->start_base_us ? bytes / GROWTH_DIVISOR : bytes;
}
