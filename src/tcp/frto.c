/* frto.c - whether a time-out was for nothing, found out without timestamps: F-RTO (RFC 5682).
 * After the first acknowledgement that follows a time-out new data goes out instead of old. If the next one
 * is for something that was sent once only, nothing was lost.
 * In: time-outs and acknowledgements.  Out: a recovery undone, or the usual one.  Owns: the extension's frto.
 */
#include "tcp/recovery.h"

/* Section 2.1 step 1: not within a recovery, nor for the second time-out in a row. */
void frto_timeout(struct core *core, struct tcb *tcb, bool first)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);

	if (!first) {
		if (extension)
			extension->frto = FRTO_NONE;
		return;
	}
	extension = extension_hold(core, tcb, EXTENSION_UNDO);
	if (!extension)
		return;
	recovery_remember(core, tcb);
	extension->frto = FRTO_TIMED_OUT;
	extension->frto_original = 0;
}

static bool has_new_data(const struct tcb *tcb)
{
	uint32_t flight = tcb_snd_max(tcb) - tcb->snd_una;

	return tcb->snd_bytes > flight && tcb->snd_wnd > flight;
}

/* With a scoreboard (section 3): it knows whether something arrived that was not sent again. */
void frto_told(struct core *core, struct tcb *tcb, uint32_t acked)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);

	if (extension->frto == FRTO_NONE)
		return;
	if (extension->frto_original) {
		extension->frto = FRTO_NONE;
		recovery_undo(core, tcb);
		return;
	}
	extension->frto = extension->frto == FRTO_TIMED_OUT && acked && has_new_data(tcb) ? FRTO_NEW_DATA
											  : FRTO_NONE;
}

/* Without one (section 2): snd_nxt goes back to where it was, so that two new segments follow. */
static void send_new_data(struct core *core, struct tcb *tcb, struct tcp_extension *extension)
{
	extension->frto = FRTO_NONE;
	if (!(tcb->options & TCB_BACKED) || seq_geq(tcb->snd_una, tcb->recover) || !has_new_data(tcb) ||
	    tcb_snd_max(tcb) - tcb->snd_una > extension->undo_cwnd) /* the window had shrunk before */
		return;
	tcb->snd_nxt = tcb_snd_max(tcb);
	tcb->options &= (uint16_t)~TCB_BACKED;
	tcb->cwnd = tcb->snd_nxt - tcb->snd_una + 2u * tcb->mss;
	extension->frto = FRTO_NEW_DATA;
	tcp_arm_rtx(core, tcb); /* what was pulled back had none */
}

void frto_acked(struct core *core, struct tcb *tcb)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);

	if (extension->frto == FRTO_NONE || tcb->options & TCB_BOARD)
		return;
	if (extension->frto == FRTO_TIMED_OUT) {
		send_new_data(core, tcb, extension);
	} else { /* step 3b: it moves on, though nothing more was sent again */
		extension->frto = FRTO_NONE;
		recovery_undo(core, tcb);
	}
	conn_ready(core, tcb_index(core, tcb));
}

/* Step 3a: all of it was lost indeed. */
void frto_duplicate(struct core *core, struct tcb *tcb)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);

	if (extension->frto == FRTO_NEW_DATA && !(tcb->options & TCB_BOARD)) {
		tcb->recover = tcb->snd_nxt;
		tcb->snd_nxt = tcb->snd_una;
		tcb->options |= TCB_BACKED;
		tcb->cwnd = MIN_OF(tcb->cwnd, 3u * tcb->mss);
	}
	extension->frto = FRTO_NONE;
}
