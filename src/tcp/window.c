/* window.c - how much a connection may receive at a time: its service's receive_bytes at first, twice as much
 * again and again while the peer fills it within a round trip and the application keeps up.
 * In: bulk data, as it is acknowledged.  Out: tcb.grown.  Owns: core->tune, a small table of measurements,
 * and core->tuned_bytes: what all windows together have grown by.
 *
 * What was promised is never taken back (RFC 9293 section 3.8.6): a limit that falls only means that the
 * right edge stands still until what comes has reached it. */
#include "tcp/core.h"

#include <string.h>

#define RTT_UNKNOWN_US 100000u

size_t tune_bytes(uint32_t connections)
{
	return (size_t)tune_slots(connections) * sizeof(struct tune_slot);
}

/* A place for each that receives much at the same time; who shares one with another measures later. */
uint32_t tune_slots(uint32_t connections)
{
	uint32_t slots = 64;

	while (slots < connections && slots < TUNE_SLOTS_MAX)
		slots *= 2;
	return slots;
}

void tune_clear(struct core *core)
{
	memset(core->tune, 0, (core->tune_mask + (size_t)1) * sizeof(struct tune_slot));
}

/* By how much the window of a connection is larger than its service's. */
uint32_t tcp_window_grown(const struct core *core, const struct tcb *tcb)
{
	return tcp_receive_limit(core, tcb) - core->services[tcb->service].receive_bytes;
}

/* Twice as much is allowed, and can be told with the scale that was agreed on: 64 KB without one (RFC 7323
 * section 2.2). */
static bool may_double(const struct core *core, const struct tcb *tcb)
{
	uint32_t most = core->services[tcb->service].receive_max_bytes;
	uint64_t limit = tcp_receive_limit(core, tcb);

	return limit < most && tcb->grown < 15 &&
	       MIN_OF(2 * limit, (uint64_t)most) <= 65536u << (tcb->wscales & 15);
}

static bool memory_is_short(const struct core *core)
{
	return core->chunks.bytes_live > core->chunk_bytes / 4 * 3;
}

static void shrink(struct core *core, struct tcb *tcb, uint32_t steps)
{
	core->tuned_bytes -= tcp_window_grown(core, tcb);
	tcb->grown = (uint8_t)(tcb->grown - steps) & 15u;
	core->tuned_bytes += tcp_window_grown(core, tcb);
	core->counters.tcp_windows_shrunk++;
}

void tcp_window_release(struct core *core, struct tcb *tcb)
{
	core->tuned_bytes -= tcp_window_grown(core, tcb);
	tcb->grown = 0;
}

void tcp_windows_recount(struct core *core)
{
	if (core->counters.tcp_windows_grown == 0)
		return;
	core->tuned_bytes = 0;
	for (uint32_t i = 0; i < core->blocks.fresh; i++)
		if (tcb_at(core, i)->state != TCB_FREE)
			core->tuned_bytes += tcp_window_grown(core, tcb_at(core, i));
}

void tcp_window_squeeze(struct core *core, struct tcb *tcb)
{
	if (tcb->grown)
		shrink(core, tcb, tcb->grown);
}

/* Doubles until four times of what a round trip has brought fits: a sender in slow start brings twice as much
 * in the next one, while we still measure this one. */
static void grow(struct core *core, struct tcb *tcb, uint64_t round_bytes)
{
	while (may_double(core, tcb) && tcp_receive_limit(core, tcb) < 4 * round_bytes) {
		uint64_t others = core->tuned_bytes - tcp_window_grown(core, tcb);

		tcb->grown = (uint8_t)(tcb->grown + 1) & 15u;
		if (others + tcp_window_grown(core, tcb) > core->settings.tuned_max_bytes) {
			tcb->grown = (uint8_t)(tcb->grown - 1) & 15u;
			core->counters.tcp_windows_bounded++;
			return;
		}
		core->tuned_bytes = others + tcp_window_grown(core, tcb);
		core->counters.tcp_windows_grown++;
	}
}

static void round_over(struct core *core, struct tcb *tcb, uint64_t round_bytes)
{
	uint32_t limit = tcp_receive_limit(core, tcb);

	if (memory_is_short(core)) {
		if (tcb->grown)
			shrink(core, tcb, 1);
	} else if (round_bytes > limit / 2 && tcb->rcv_bytes <= limit / 4) {
		grow(core, tcb, round_bytes);
	}
}

NO_INLINE void tcp_tune_window(struct core *core, struct tcb *tcb)
{
	uint32_t index = tcb_index(core, tcb), rtt_us = tcb->srtt_us ? tcb->srtt_us : RTT_UNKNOWN_US;
	struct tune_slot *slot = &core->tune[index & core->tune_mask];
	uint32_t elapsed_us = (uint32_t)core->now_us - slot->since_us;

	if (slot->index != index || slot->generation != tcb->generation) {
		*slot = (struct tune_slot){index, tcb->generation, tcb->rcv_nxt, (uint32_t)core->now_us};
		return;
	}
	if (elapsed_us < rtt_us)
		return;
	/* Who was silent for long within the time has brought less in a round trip. */
	round_over(core, tcb, (uint64_t)(tcb->rcv_nxt - slot->from) * rtt_us / MAX_OF(elapsed_us, 1u));
	slot->from = tcb->rcv_nxt;
	slot->since_us = (uint32_t)core->now_us;
}
