/* rack.c - what is lost, by time (RFC 8985): a segment is, when one that was sent later has arrived and a
 * reordering window is over since.
 * In: what arrives, from board.c.  Out: ranges marked as lost.  Owns: what is known of reordering, tcb.rack.
 *
 * When what was in flight before there was a scoreboard was sent nobody has written down, so that nothing is
 * written while nothing is lost. All of it was sent in order: a hole in it is as old as the first thing
 * behind it that arrives, and that was sent a round trip ago. */
#include "tcp/recovery.h"

#include "base/plant.h"

#define UNKNOWN_WINDOW_US 10000u

static bool sent_after(uint32_t us, uint32_t end, uint32_t other_us, uint32_t other_end)
{
	return us == other_us ? seq_gt(end, other_end) : seq_gt(us, other_us);
}

/* A round trip ago, and before there was a scoreboard: queues make round trips longer than the smoothed one,
 * and what was sent since would seem to have been overtaken. */
static uint32_t before_us(const struct core *core, const struct tcb *tcb, const struct sent_range *range)
{
	uint32_t us = (uint32_t)core->now_us - tcb->srtt_us;

	return seq_lt(us, range->sent_us) ? us : range->sent_us;
}

void rack_arrived(struct core *core, struct tcb *tcb, const struct sent_range *range, uint32_t end)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);
	uint32_t now_us = (uint32_t)core->now_us, sent_us = range->sent_us;

	if (range->flags & SENT_AGAIN) {
		/* Section 6.2 step 2: faster than any round trip it was the first transmission that arrived.
		 */
		if (now_us - sent_us < tcb->min_rtt_us)
			return;
	} else if (seq_lt(end, extension->fack) && !(range->flags & SENT_EVER) &&
		   !(tcb->rack & RACK_REORDERING)) {
		tcb->rack |= RACK_REORDERING;
		core->counters.tcp_reordering_seen++;
	}
	if (range->flags & SENT_BEFORE)
		sent_us = before_us(core, tcb, range);
	extension->rack_rtt_us = now_us - sent_us;
	if (sent_after(sent_us, end, extension->rack_us, extension->rack_end)) {
		extension->rack_us = sent_us;
		extension->rack_end = end;
	}
}

/* Section 6.2 step 4. */
static uint32_t reordering_window_us(const struct tcb *tcb, const struct tcp_extension *extension)
{
	uint32_t quarter = tcb->min_rtt_us / 4;

	if (!(tcb->rack & RACK_REORDERING) && (tcb->pending & TCB_RECOVERY || tcb->duplicate_acks >= 3 ||
					       extension->sacked_bytes > 2u * tcb->mss))
		return 0;
	if (tcb->min_rtt_us == 0)
		return UNKNOWN_WINDOW_US;
	return MIN_OF(quarter * (1 + (tcb->rack & RACK_WIDER)), tcb->srtt_us);
}

/* A hole is known as one from now on. */
static void reveal(const struct core *core, struct tcb *tcb, struct sent_range *range)
{
	range->sent_us = before_us(core, tcb, range);
	range->flags &= (uint8_t)~SENT_BEFORE;
}

/* What of such a range was sent last must not seem overtaken by what was sent again in between. */
static uint32_t spread_us(const struct tcb *tcb, const struct sent_range *range)
{
	return range->flags & SENT_SPREAD ? tcb->srtt_us / SENT_TOGETHER : 0;
}

uint32_t rack_detect(struct core *core, struct tcb *tcb)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);
	uint32_t window_us = reordering_window_us(tcb, extension), wait_us = 0;
	int32_t left;

	for (uint32_t id = extension->range_first; id != POOL_NONE; id = range_at(core, id)->next) {
		struct sent_range *range = range_at(core, id);
		uint32_t end = range_end(core, tcb, range);

		if ((range->flags & SENT_ARRIVED && !PLANTED(RACK_ARRIVED)) ||
		    (range->flags & (SENT_LOST | SENT_AGAIN)) == SENT_LOST)
			continue;
		if (range->flags & SENT_BEFORE && seq_leq(end, extension->fack))
			reveal(core, tcb, range);
		if (range->flags & SENT_BEFORE ||
		    !sent_after(extension->rack_us, extension->rack_end, range->sent_us, end))
			continue;
		left = (int32_t)(range->sent_us + extension->rack_rtt_us + window_us + spread_us(tcb, range) -
				 (uint32_t)core->now_us);
		if (left > 0)
			wait_us = MAX_OF(wait_us, (uint32_t)left);
		else
			board_lose(core, tcb, range);
	}
	board_join(core, tcb);
	return wait_us;
}

/* Section 6.2 step 4: wider by a quarter of a round trip for each round trip with a D-SACK; the width is
 * kept for sixteen recoveries. */
void rack_duplicate_told(struct core *core, struct tcb *tcb)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);
	uint32_t wider = MIN_OF((tcb->rack & RACK_WIDER) + 1u, RACK_WIDER);

	tcb->rack = (uint8_t)((tcb->rack & RACK_REORDERING) | RACK_PERSIST | (tcb->rack & RACK_WIDER));
	if (extension && seq_lt(tcb->snd_una, extension->wider_end))
		return;
	tcb->rack = (uint8_t)((tcb->rack & ~RACK_WIDER) | wider);
	if (extension)
		extension->wider_end = tcb->snd_nxt;
}

void rack_recovered(struct tcb *tcb)
{
	if (tcb->rack & RACK_PERSIST)
		tcb->rack = (uint8_t)(tcb->rack - 8);
	else
		tcb->rack &= RACK_REORDERING;
}
