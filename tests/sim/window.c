/* window.c - what must hold for each connection's congestion window, whatever its peer says.
 * In: the blocks of both stacks, between two steps.  Out: world_fail.  Owns: what was seen of each block.
 *
 * For the algorithms that answer losses (CUBIC, NewReno): outside of recovery a window is never larger than
 * the largest before it and what was acknowledged since (RFC 5681 section 3.1, RFC 3465); a loss makes it
 * smaller; in recovery what is on its way falls to the new threshold as fast as data arrives (RFC 6937). */
#include "sim.h"

#include <string.h>

#include "stack/internal.h"
#include "tcp/congestion.h"
#include "tcp/recovery.h"

#define FIRST_WINDOW (10 * 1460u)
#define SLACK        (4 * 1460u) /* limited transmit, a probe, the first window after a lost SYN */

static bool answers_losses(const struct core *core, const struct tcb *tcb)
{
	const char *name = congestion_of(core, tcb)->name;

	return strcmp(name, "cubic") == 0 || strcmp(name, "newreno") == 0;
}

/* Data that has left while D of F bytes arrived is D * ssthresh / F at most, but for what keeps the pipe from
 * running dry below ssthresh. */
static void judge_pipe(struct world *world, const struct core *core, const struct tcb *tcb)
{
	const struct tcp_extension *extension = tcb_extension(core, tcb);
	uint64_t flight, delivered, most;

	if (!(tcb->options & TCB_BOARD) || extension->after_timeout || core->counters.tcp_ranges_missing)
		return;
	flight = MAX_OF(extension->prr_flight, 1u);
	delivered = MIN_OF((uint64_t)extension->prr_delivered, flight);
	most = flight - delivered + delivered * tcb->ssthresh / flight;
	most = MAX_OF(most, (uint64_t)tcb->ssthresh) + SLACK;
	if (board_pipe(core, tcb) > most)
		world_fail(world, "%u bytes are on their way in recovery, %llu are allowed",
			   board_pipe(core, tcb), (unsigned long long)most);
}

static void judge(struct world *world, const struct core *core, const struct tcb *tcb,
		  struct window_seen *seen)
{
	uint32_t acked = seq_gt(tcb->snd_una, seen->una) ? tcb->snd_una - seen->una : 0;
	uint64_t most = (uint64_t)MAX_OF(seen->cwnd, seen->undo) + acked + SLACK;
	const struct tcp_extension *extension = tcb_extension(core, tcb);
	bool recovers = tcb->pending & TCB_RECOVERY;

	seen->all += acked;
	most = MIN_OF(most, seen->all + SLACK);
	if (recovers && tcb->ssthresh > most / 10 * 7 + 3000)
		world_fail(world, "a loss left a window of %u from %u, and %u bytes acknowledged since",
			   tcb->ssthresh, seen->cwnd, acked);
	if (recovers)
		judge_pipe(world, core, tcb);
	else if (tcb->cwnd > most)
		world_fail(world, "the congestion window is %u, it was %u, and %u bytes were acknowledged",
			   tcb->cwnd, seen->cwnd, acked);
	if (!recovers)
		seen->cwnd = MAX_OF(seen->cwnd, tcb->cwnd);
	else if (!seen->recovers) /* so far it may have grown before the loss */
		seen->cwnd += acked;
	seen->recovers = recovers;
	seen->undo = extension && extension->uses & EXTENSION_UNDO ? extension->undo_cwnd : 0;
	seen->una = tcb->snd_una;
}

/* Then its window was once larger than it is, and nobody has seen it. */
static bool has_lost(const struct core *core, const struct tcb *tcb)
{
	const struct tcp_extension *extension = tcb_extension(core, tcb);

	return tcb->pending & TCB_RECOVERY || (extension && extension->uses & EXTENSION_UNDO);
}

void windows_judge(struct world *world, unsigned node)
{
	const struct core *core = &world->nodes[node].stack->core;

	for (uint32_t i = 0; i < MIN_OF(core->blocks.fresh, (uint32_t)WINDOWS); i++) {
		const struct tcb *tcb = tcb_at(core, i);
		struct window_seen *seen = &world->windows[node][i];

		if (tcb->state < TCP_ESTABLISHED || !answers_losses(core, tcb)) {
			seen->generation = 0;
		} else if (seen->generation == tcb->generation) {
			judge(world, core, tcb, seen);
		} else if (!has_lost(core, tcb)) {
			*seen = (struct window_seen){tcb->generation,
						     tcb->snd_una,
						     MAX_OF(tcb->cwnd, FIRST_WINDOW),
						     0,
						     MAX_OF(tcb->cwnd, FIRST_WINDOW),
						     false};
		}
	}
}
