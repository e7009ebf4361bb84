/* pressure.c - when memory for data runs out, connections whose peers take nothing go first: what they pin
 * may be pinned for ever, since a peer that answers is alive (RFC 6429 section 3). In: whoever found no
 * chunk. Out: connections that end.  Owns: core->pressure_left, pressure_next, pressure_tick; core->suspects.
 *
 * All blocks are looked at, some each millisecond, round and round while memory is short. A window that four
 * probes found closed is enough. A peer that takes a byte a probe resets that count, or never closes its
 * window quite: so what each has taken is noted, and five seconds later it must be something. */
#include "tcp/core.h"

#include <string.h>

#define PRESSURE_STEP   512u /* blocks a tick: packets go on, and ten million take twenty seconds */
#define PROBES_AT_LEAST 4u   /* that found the window closed: some seconds */
#define SUSPECT_TICKS   5000u
#define STALE_TICKS     60000u /* nobody came back to look */
#define PROGRESS_BYTES  2048u  /* a chunk: less gives no memory back */

/* What a connection had to send, and how far it was, when memory was short. */
struct suspect {
	uint32_t index, generation;
	uint32_t una, wanted; /* progress: so far, and so much of it in time */
	uint32_t tick;
};

size_t pressure_bytes(uint32_t connections)
{
	return (size_t)tune_slots(connections) * sizeof(struct suspect);
}

void pressure_clear(struct core *core)
{
	memset(core->suspects, 0, (core->tune_mask + (size_t)1) * sizeof(struct suspect));
	core->pressure_left = core->pressure_next = 0;
}

void pressure_begin(struct core *core)
{
	if (core->pressure_left == 0)
		core->pressure_left = core->blocks.fresh;
}

uint32_t pressure_deadline(const struct core *core)
{
	return core->pressure_tick + 1;
}

static bool is_relieved(const struct core *core)
{
	return core->chunks.bytes_live <= core->chunk_bytes / 8 * 7;
}

/* It holds data for a peer whose window has been closed for a while. */
static bool is_pinned(const struct tcb *tcb)
{
	return tcb->snd_wnd == 0 && tcb->timers & TCB_TIMER_PERSIST && tcb->backoff >= PROBES_AT_LEAST;
}

static void note(const struct core *core, const struct tcb *tcb, struct suspect *slot)
{
	*slot = (struct suspect){
		.index = tcb_index(core, tcb),
		.generation = tcb->generation,
		.una = tcb->snd_una,
		.wanted = MIN_OF(tcb->snd_bytes, PROGRESS_BYTES),
		.tick = core->now_tick,
	};
}

/* Or next to nothing, though its peer answers: was heard in the second half of the time. Who is silent is not
 * meant: time-outs are for him. */
static bool takes_nothing(const struct core *core, const struct tcb *tcb)
{
	uint32_t index = tcb_index(core, tcb);
	struct suspect *slot = &core->suspects[index & core->tune_mask];
	uint32_t age = core->now_tick - slot->tick;
	bool his = slot->index == index && slot->generation == tcb->generation;

	if (his && age < SUSPECT_TICKS)
		return false;
	if (his && tcb->snd_una - slot->una < slot->wanted && age <= STALE_TICKS)
		return !tick_before(tcb->last_rx_tick, slot->tick + age / 2);
	if (his || slot->generation == 0 || age > STALE_TICKS)
		note(core, tcb, slot);
	return false;
}

static void look_at(struct core *core, uint32_t index)
{
	struct tcb *tcb = tcb_at(core, index);

	if (tcb->state < TCP_ESTABLISHED || tcb->snd_bytes == 0 ||
	    (!is_pinned(tcb) && !takes_nothing(core, tcb)))
		return;
	core->counters.tcp_pinned_ended++;
	tcp_abort_segment(core, tcb);
	conn_end(core, index, C10M_CLOSE_MEMORY);
}

void pressure_relieve(struct core *core)
{
	uint32_t count = MIN_OF(PRESSURE_STEP, core->pressure_left);

	if (core->pressure_tick == core->now_tick)
		return;
	core->pressure_tick = core->now_tick;
	for (; count && !is_relieved(core); count--) {
		uint32_t index = core->pressure_next < core->blocks.fresh ? core->pressure_next : 0;

		core->pressure_next = index + 1;
		core->pressure_left--;
		look_at(core, index);
	}
	if (is_relieved(core))
		core->pressure_left = 0;
}
