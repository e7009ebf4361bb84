/* pressure.c - when memory for data runs out, connections whose peers keep their windows closed go first:
 * what they pin may be pinned for ever, since a peer that answers probes is alive (RFC 6429 section 3). In:
 * whoever found no chunk.  Out: connections that end.  Owns: core->pressure_left, pressure_tick. */
#include "tcp/core.h"

#define PRESSURE_STEP   1024u
#define PROBES_AT_LEAST 4u /* that found the window closed: some seconds */

void pressure_begin(struct core *core)
{
	if (core->pressure_left || core->now_tick - core->pressure_tick < TICKS_PER_SECOND)
		return;
	core->pressure_tick = core->now_tick;
	core->pressure_left = core->blocks.fresh;
}

static bool is_relieved(const struct core *core)
{
	return core->chunks.bytes_live <= core->chunk_bytes / 8 * 7;
}

/* It holds data for a peer whose window has been closed for a while. */
static bool is_pinned(const struct tcb *tcb)
{
	return tcb->state >= TCP_ESTABLISHED && tcb->snd_bytes && tcb->snd_wnd == 0 &&
	       tcb->timers & TCB_TIMER_PERSIST && tcb->backoff >= PROBES_AT_LEAST;
}

void pressure_relieve(struct core *core)
{
	uint32_t count = MIN_OF(PRESSURE_STEP, core->pressure_left);

	for (; count && !is_relieved(core); count--) {
		uint32_t index = --core->pressure_left;

		if (!is_pinned(tcb_at(core, index)))
			continue;
		core->counters.tcp_pinned_ended++;
		tcp_abort_segment(core, tcb_at(core, index));
		conn_end(core, index, C10M_CLOSE_MEMORY);
	}
	if (is_relieved(core))
		core->pressure_left = 0;
}
