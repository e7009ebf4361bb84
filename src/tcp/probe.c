/* probe.c - a tail whose loss nobody would tell of until the time-out is sent once more, early (RFC 8985
 * section 7).
 * In: the retransmission timer, when it means a probe; acknowledgements.  Out: one segment.
 * Owns: the extension's probe_end, while EXTENSION_PROBE is set. */
#include "tcp/recovery.h"

#define PROBE_MIN_US 10000u /* a timer each tick for each busy connection would be dear */

/* Section 7.2. A single segment may wait for the peer's delayed acknowledgement. */
bool probe_due_us(const struct core *core, const struct tcb *tcb, uint32_t rto_us, uint32_t *after_us)
{
	uint32_t flight = tcb->snd_nxt - tcb->snd_una;
	uint64_t after = MAX_OF(2ull * tcb->srtt_us, (uint64_t)PROBE_MIN_US);

	if (flight <= tcb->mss)
		after += DELAYED_ACK_MAX_US;
	if (after >= rto_us || !(tcb->options & TCB_SACK) || tcb->srtt_us == 0 || tcb->backoff ||
	    tcb->options & (TCB_BOARD | TCB_BACKED) || tcb->pending & TCB_RECOVERY ||
	    tcb->state < TCP_ESTABLISHED)
		return false;
	*after_us = (uint32_t)after;
	return tcb->extension == POOL_NONE || !(tcb_extension(core, tcb)->uses & EXTENSION_PROBE);
}

bool probe_begin(struct core *core, struct tcb *tcb)
{
	struct tcp_extension *extension = extension_hold(core, tcb, EXTENSION_PROBE);

	if (!extension)
		return false;
	extension->probe_state = PROBE_WAITS;
	tcb->pending |= TCB_PROBE;
	return true;
}

bool probe_waits(const struct core *core, const struct tcb *tcb)
{
	const struct tcp_extension *extension = tcb_extension(core, tcb);

	return extension && extension->uses & EXTENSION_PROBE && extension->probe_state == PROBE_WAITS;
}

void probe_cancel(struct core *core, struct tcb *tcb)
{
	if (!probe_waits(core, tcb))
		return;
	tcb->pending &= (uint16_t)~TCB_PROBE;
	extension_drop(core, tcb, EXTENSION_PROBE);
}

void probe_sent(struct core *core, struct tcb *tcb, bool again)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);

	extension->probe_state = again ? PROBE_WAS_AGAIN : PROBE_WAS_NEW;
	extension->probe_end = tcb->snd_nxt;
	extension->probe_us = (uint32_t)core->now_us;
	core->counters.tcp_tail_probes++;
}

/* Section 7.4.2: beyond the probe something is acknowledged, and nobody told of a duplicate. Where nothing
 * lies beyond it, time tells: the original would have been acknowledged sooner after the probe. */
static bool has_repaired(const struct core *core, const struct tcb *tcb,
			 const struct tcp_extension *extension)
{
	if (extension->probe_state != PROBE_WAS_AGAIN)
		return false;
	return tcb->snd_una != tcb->snd_nxt ||
	       (uint32_t)core->now_us - extension->probe_us >= tcb->min_rtt_us;
}

/* `duplicate`: a D-SACK came along, so that both arrived. */
void probe_acked(struct core *core, struct tcb *tcb, bool duplicate)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);
	bool again, repaired;

	if (!(extension->uses & EXTENSION_PROBE) || extension->probe_state == PROBE_WAITS ||
	    seq_lt(tcb->snd_una, extension->probe_end))
		return;
	again = extension->probe_state == PROBE_WAS_AGAIN;
	if (again && !duplicate && tcb->snd_una == extension->probe_end && tcb->snd_una != tcb->snd_nxt)
		return; /* both may have arrived: the next acknowledgement tells */
	repaired = !duplicate && has_repaired(core, tcb, extension);
	extension_drop(core, tcb, EXTENSION_PROBE);
	if (repaired) {
		core->counters.tcp_tail_probes_needed++;
		recovery_slow_down(core, tcb);
	}
}
