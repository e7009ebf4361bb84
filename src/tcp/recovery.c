/* recovery.c - what follows for the window from what is lost: proportional rate reduction (RFC 6937), and
 * undoing when nothing was (RFC 3522, RFC 3708, RFC 4015). In: acknowledgements with SACK blocks, timers.
 * Out: cwnd, ssthresh, the deadline. Owns: the extension's part for it. */
#include "tcp/recovery.h"

#include "base/plant.h"
#include "tcp/congestion.h"
#include "tcp/model.h"

/* The first block tells of a duplicate when it lies below the acknowledgement, or inside the second (RFC 2883
 * section 4). */
static bool is_duplicate(const struct tcp_segment *segment, uint32_t *bytes)
{
	uint32_t start, end, outer_start, outer_end;

	if (!(segment->options & TCP_OPT_SACK))
		return false;
	tcp_sack_block(segment, 0, &start, &end);
	*bytes = end - start;
	if (seq_geq(start, end))
		return false;
	if (seq_lt(start, segment->ack))
		return true;
	if (segment->sack_blocks < 2)
		return false;
	tcp_sack_block(segment, 1, &outer_start, &outer_end);
	return seq_leq(outer_start, start) && seq_leq(end, outer_end);
}

/* --- in and out of recovery */

void recovery_remember(struct core *core, struct tcb *tcb)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);

	extension->undo_cwnd = tcb->cwnd;
	extension->undo_ssthresh = tcb->ssthresh;
	extension->undo_algorithm[0] = tcb->algorithm[0];
	extension->undo_algorithm[1] = tcb->algorithm[1];
	extension->undo_from = tcb->snd_una;
	extension->undo_bytes = 0;
	extension->undo_timed = 0;
	extension_hold(core, tcb, EXTENSION_UNDO);
}

static void enter(struct core *core, struct tcb *tcb, uint32_t delivered)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);

	recovery_remember(core, tcb);
	congestion_loss(core, tcb);
	extension->after_timeout = 0;
	extension->prr_delivered = extension->prr_out = 0;
	extension->prr_flight = tcb->snd_nxt - tcb->snd_una - extension->sacked_bytes + delivered;
	tcb->recover = tcb->snd_nxt;
	tcb->pending |= TCB_RECOVERY;
	core->counters.tcp_fast_retransmits++;
}

static void leave(struct core *core, struct tcb *tcb)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);

	if (!extension->after_timeout)
		tcb->cwnd = MAX_OF(tcb->ssthresh, (uint32_t)tcb->mss);
	tcb->pending &= (uint16_t)~TCB_RECOVERY;
	rack_recovered(tcb);
}

void recovery_undo(struct core *core, struct tcb *tcb)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);

	/* In recovery cwnd says how much may be sent now, and nothing of the network. */
	tcb->cwnd = MAX_OF(tcb->pending & TCB_RECOVERY ? 0 : tcb->cwnd, extension->undo_cwnd) +
		    (PLANTED(UNDO_TWICE) ? tcb->cwnd : 0);
	tcb->ssthresh = extension->undo_ssthresh;
	tcb->algorithm[0] = extension->undo_algorithm[0];
	tcb->algorithm[1] = extension->undo_algorithm[1];
	tcb->backoff = 0; /* RFC 4015 section 3.3; and the next time-out is a first one again */
	tcb->pending &= (uint16_t)~TCB_RECOVERY;
	tcb->rack |= RACK_REORDERING;
	if (tcb->options & TCB_BOARD)
		board_regret(core, tcb);
	core->counters.tcp_recoveries_undone++;
	congestion_undone(core, tcb);
	extension->start_under_way = 0;
	extension->frto = FRTO_NONE;
	extension_drop(core, tcb, EXTENSION_UNDO);
}

/* RFC 3522: what is acknowledged left before the first that was sent again, and that lay before it. */
static bool eifel(const struct tcb *tcb, const struct tcp_extension *extension,
		  const struct tcp_segment *segment)
{
	return extension->undo_timed && segment->options & TCP_OPT_TIMESTAMPS && segment->ts_ecr &&
	       seq_gt(tcb->snd_una, extension->undo_from) && seq_lt(segment->ts_ecr, extension->undo_ts);
}

/* RFC 3708: all that was sent again has come twice. */
static bool all_twice(struct tcp_extension *extension, uint32_t duplicate_bytes)
{
	if (extension->undo_bytes == 0 || duplicate_bytes == 0)
		return false;
	extension->undo_bytes -= MIN_OF(extension->undo_bytes, duplicate_bytes);
	return extension->undo_bytes == 0;
}

static void consider_undo(struct core *core, struct tcb *tcb, const struct tcp_segment *segment,
			  uint32_t acked, uint32_t duplicate_bytes)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);

	if (!extension || !(extension->uses & EXTENSION_UNDO))
		return;
	if ((acked && eifel(tcb, extension, segment)) || all_twice(extension, duplicate_bytes))
		recovery_undo(core, tcb);
}

/* --- the window */

/* RFC 6937, with the bound of a safe acknowledgement (RFC 9937): cwnd is what is on its way and what this
 * acknowledgement allows beyond it. */
static void reduce(struct core *core, struct tcb *tcb, uint32_t delivered, bool safe)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);
	uint32_t pipe = board_pipe(core, tcb), sent = extension->prr_out,
		 flight = MAX_OF(extension->prr_flight, 1u);
	uint64_t allowed;

	extension->prr_delivered += delivered;
	if (PLANTED(PRR_BLIND)) {
		allowed = (uint64_t)delivered + tcb->mss;
	} else if (pipe > tcb->ssthresh) {
		allowed = ((uint64_t)extension->prr_delivered * tcb->ssthresh + flight - 1) / flight;
		allowed = allowed > sent ? allowed - sent : 0;
	} else {
		uint32_t owed = extension->prr_delivered > sent ? extension->prr_delivered - sent : 0;

		allowed = MAX_OF(owed, delivered) + (safe ? tcb->mss : 0u);
		allowed = MIN_OF(allowed, (uint64_t)(tcb->ssthresh - pipe));
	}
	if (sent == 0)
		allowed = MAX_OF(allowed, (uint64_t)tcb->mss);
	/* Without a range left to tell what was lost, that counts as on its way: no reason for a wider
	 * window. */
	tcb->cwnd = (uint32_t)MIN_OF(pipe + allowed, (uint64_t)extension->undo_cwnd + 3u * tcb->mss);
}

static void look_again_after(struct core *core, struct tcb *tcb, uint32_t us)
{
	if (us) {
		conn_set_timer(core, tcb, TCB_TIMER_RTX, core->now_tick + ticks_round_up(us));
		tcb->timers |= TCB_TIMER_SOON;
	} else if (tcb->timers & TCB_TIMER_SOON) {
		tcp_arm_rtx(core, tcb);
	}
}

/* What is lost by now, and what follows from it. */
static void respond(struct core *core, struct tcb *tcb, uint32_t acked, uint32_t delivered)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);
	uint32_t lost = extension->lost_bytes, wait_us;

	if (tcb->pending & TCB_RECOVERY && seq_geq(tcb->snd_una, tcb->recover))
		leave(core, tcb);
	wait_us = rack_detect(core, tcb);
	if (extension->lost_bytes && !(tcb->pending & TCB_RECOVERY))
		enter(core, tcb, delivered);
	if (!(tcb->pending & TCB_RECOVERY)) {
		if (acked)
			congestion_acked(core, tcb, acked, 0);
	} else if (unlikely(tcb->paced) && model_of(core, tcb)) {
		; /* model_acked comes */
	} else if (!extension->after_timeout) {
		reduce(core, tcb, delivered, acked && extension->lost_bytes <= lost);
	} else if (acked) { /* what was known to have arrived before counts no more */
		congestion_acked(core, tcb, MIN_OF(acked, delivered), 0);
	}
	look_again_after(core, tcb, wait_us);
	conn_ready(core, tcb_index(core, tcb));
	if (!(tcb->pending & TCB_RECOVERY) && extension->sacked_bytes == 0 && extension->lost_bytes == 0)
		board_detach(core, tcb);
}

/* The blocks come by age; here they are taken by place, so that what one acknowledgement tells of is no
 * reordering. */
static uint32_t take_blocks(struct core *core, struct tcb *tcb, const struct tcp_segment *segment,
			    unsigned first)
{
	struct sack_block blocks[SACK_BLOCKS_MAX], block;
	uint32_t news = 0, count = 0, i;

	for (; first < segment->sack_blocks && count < SACK_BLOCKS_MAX; first++) {
		tcp_sack_block(segment, first, &block.start, &block.end);
		if (seq_leq(block.end, tcb->snd_una) && seq_lt(block.start, block.end))
			continue; /* it is old */
		for (i = count++; i > 0 && seq_lt(block.start, blocks[i - 1].start); i--)
			blocks[i] = blocks[i - 1];
		blocks[i] = block;
	}
	for (i = 0; i < count; i++)
		news += board_arrived(core, tcb, blocks[i].start, blocks[i].end);
	return news;
}

bool recovery_input(struct core *core, struct tcb *tcb, const struct tcp_segment *segment, uint32_t acked)
{
	uint32_t duplicate_bytes = 0, delivered;
	bool duplicate = is_duplicate(segment, &duplicate_bytes);

	if (duplicate) {
		core->counters.tcp_duplicates_heard++;
		rack_duplicate_told(core, tcb);
		if (tcb->extension != POOL_NONE)
			probe_acked(core, tcb, true);
	}
	if (!(tcb->options & TCB_BOARD)) {
		consider_undo(core, tcb, segment, acked, duplicate ? duplicate_bytes : 0);
		if (acked == 0 && duplicate && segment->sack_blocks == 1)
			return true; /* something came twice: that is no hole (RFC 6675 section 2) */
		if (segment->sack_blocks <= duplicate || tcb->pending & TCB_RECOVERY ||
		    !board_attach(core, tcb))
			return false;
	}
	delivered = board_acked(core, tcb);
	delivered += take_blocks(core, tcb, segment, duplicate);
	if (acked == 0 && delivered && tcb->duplicate_acks < DUPLICATE_ACKS_MAX) /* RFC 6675 section 2 */
		tcb->duplicate_acks++;
	if (tcb->snd_una == tcb->snd_nxt) {
		if (tcb->pending & TCB_RECOVERY)
			leave(core, tcb);
		board_detach(core, tcb);
		return true;
	}
	consider_undo(core, tcb, segment, acked, duplicate ? duplicate_bytes : 0);
	frto_told(core, tcb, acked);
	respond(core, tcb, acked, delivered);
	return true;
}

void recovery_look(struct core *core, struct tcb *tcb)
{
	core->counters.tcp_reordering_windows++;
	respond(core, tcb, 0, 0);
	if (!(tcb->timers & TCB_TIMER_RTX))
		tcp_arm_rtx(core, tcb);
}

/* RFC 8985 section 6.3: all that has not arrived is lost; cwnd starts from one segment (RFC 5681). */
bool recovery_timeout(struct core *core, struct tcb *tcb)
{
	struct tcp_extension *extension;
	bool reneged;

	if (!(tcb->options & TCB_BOARD) && !board_attach(core, tcb))
		return false;
	extension = tcb_extension(core, tcb);
	if (!(tcb->pending & TCB_RECOVERY))
		recovery_remember(core, tcb);
	frto_timeout(core, tcb, tcb->backoff == 0 && !(tcb->pending & TCB_RECOVERY));
	reneged = board_reneged(core, tcb);
	core->counters.tcp_sack_reneged += reneged;
	congestion_timeout(core, tcb, tcb->backoff == 0);
	board_lose_all(core, tcb, reneged);
	extension->after_timeout = 1;
	tcb->recover = tcb->snd_nxt;
	tcb->pending |= TCB_RECOVERY;
	return true;
}

void recovery_sent(struct core *core, struct tcb *tcb, uint32_t start, uint32_t end, bool again)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);

	extension->prr_out += end - start;
	if (!again) {
		board_sent(core, tcb, start);
		return;
	}
	board_sent_again(core, tcb, start, end);
	extension->undo_bytes += end - start;
	if (extension->undo_timed)
		return;
	extension->undo_timed = 1;
	extension->undo_ts = tcp_clock(core, tcb->ts_offset);
	extension->undo_from = start;
}

void recovery_slow_down(struct core *core, struct tcb *tcb)
{
	congestion_loss(core, tcb);
	tcb->cwnd = MAX_OF(MIN_OF(tcb->cwnd, tcb->ssthresh), (uint32_t)tcb->mss);
}
