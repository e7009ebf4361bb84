/* path.c - how long packets may be on their way. Routers tell (RFC 1191), or lie (RFC 5927), or drop what is
 * too long and say nothing (RFC 2923): then it is found out by trying (RFC 4821).
 * In: ICMP errors, time-outs, acknowledgements, output of much data.  Out: the connection's destination,
 * which names its MTU, and its segment size.  Owns: core->paths, a small table; EXTENSION_PATH.
 *
 * Shorter: a router's word counts at once before anything long has arrived, later only when what it quotes
 * times out; and when full segments time out again and again, nobody has to say anything.
 * Longer: some time later a segment of the stream is sent in a longer packet. If it is lost, and nothing else
 * is, that says nothing of congestion. A connection without a place in the table stays as it is. */
#include "tcp/path.h"

#include <string.h>

#include "base/plant.h"
#include "tcp/congestion.h"
#include "tcp/recovery.h"

#define HEADERS_BYTES   (IPV4_HEADER_BYTES + TCP_HEADER_BYTES)
#define TIMEOUTS        2u      /* of full segments in a row: what goes again is shorter */
#define RAISE_TICKS     600000u /* RFC 1191 section 6.3, RFC 4821 section 7.7: ten minutes */
#define UNDECIDED_TICKS 1000u   /* other segments were lost, too: once more, later */
#define UNDECIDED_MAX   3u
#define TOLD_TICKS      120000u /* what a router said is forgotten: more than the longest time-out */

/* Sizes that paths have: tunnels in tunnels, Ethernet, jumbo frames. The first two are where the search
 * begins when nothing is known (RFC 4821 section 7.2). */
static const uint16_t sizes[] = {PATH_MTU_MIN, 1024, 1280, 1400, 1420, 1440, 1460, 1472,
				 1480,         1492, 1500, 2002, 4352, 8166, 9000};

size_t path_bytes(uint32_t connections)
{
	return (size_t)tune_slots(connections) * sizeof(struct path_slot);
}

void path_clear(struct core *core)
{
	memset(core->paths, 0, (core->tune_mask + (size_t)1) * sizeof(struct path_slot));
}

/* --- places */

static struct path_slot *place(const struct core *core, const struct tcb *tcb)
{
	return &core->paths[tcb_index(core, tcb) & core->tune_mask];
}

static bool is_of(const struct core *core, const struct path_slot *slot, const struct tcb *tcb)
{
	return slot->generation == tcb->generation && slot->index == tcb_index(core, tcb);
}

static struct path_slot *slot_of(const struct core *core, const struct tcb *tcb)
{
	struct path_slot *slot = place(core, tcb);

	return is_of(core, slot, tcb) ? slot : NULL;
}

/* Bytes of a packet with a full segment. */
static uint32_t packet_bytes(const struct tcb *tcb)
{
	return tcb->mss + HEADERS_BYTES + (tcb->options & TCB_TIMESTAMPS ? 12u : 0u);
}

static bool waits_for_proof(const struct core *core, const struct path_slot *slot)
{
	return slot->told && core->now_tick - slot->told_tick <= TOLD_TICKS;
}

/* By a connection that lives, and still needs it. */
static bool is_taken(const struct core *core, const struct path_slot *slot)
{
	const struct tcb *tcb;

	if (!slot->generation || slot->index >= core->blocks.fresh)
		return false;
	tcb = tcb_at(core, slot->index);
	return tcb->state != TCB_FREE && is_of(core, slot, tcb) &&
	       (packet_bytes(tcb) < slot->top || waits_for_proof(core, slot));
}

/* NULL: another connection has the place, and lives. */
static struct path_slot *take(struct core *core, const struct tcb *tcb)
{
	struct path_slot *slot = place(core, tcb);

	if (is_of(core, slot, tcb))
		return slot;
	if (is_taken(core, slot)) {
		core->counters.tcp_paths_without_place++;
		return NULL;
	}
	*slot = (struct path_slot){
		.index = tcb_index(core, tcb),
		.generation = tcb->generation,
		.top = (uint16_t)packet_bytes(tcb),
		.lost = (uint16_t)(packet_bytes(tcb) + 1),
	};
	return slot;
}

/* --- other sizes */

/* False when there is no destination left for it. */
static bool set_bytes(struct core *core, struct tcb *tcb, uint32_t bytes)
{
	struct destinations *table = &core->net.destinations;
	uint16_t destination = destination_for(table, tcb->tuple.remote_ip, bytes);

	if (!destination)
		return false;
	destination_hold(table, destination);
	if (!PLANTED(DESTINATION_HELD))
		destination_release(table, tcb->destination);
	tcb->destination = destination;
	tcp_set_mss(core, tcb, bytes - HEADERS_BYTES);
	return true;
}

/* No attempt is under way any more. */
static void rest(struct core *core, struct tcb *tcb, struct path_slot *slot, uint32_t ticks)
{
	slot->state = PATH_RESTS;
	slot->due_tick = core->now_tick + ticks;
	extension_drop(core, tcb, EXTENSION_PATH);
}

/* Perhaps nothing long has arrived so far (RFC 5927 section 7.2): as long as the window has neither grown nor
 * shrunk; or, on a path that gets narrow twice, nothing since the first router spoke. */
static bool is_young(const struct core *core, const struct tcb *tcb)
{
	const struct path_slot *slot = slot_of(core, tcb);

	if (slot && slot->young && slot->start == tcb->snd_una)
		return true;
	return tcb->ssthresh == SSTHRESH_UNKNOWN && tcb->cwnd <= tcp_initial_window(core, tcb);
}

/* A longer packet was tried, and a router says what would fit: that is where the search ends. */
static void bound(const struct core *core, const struct tcb *tcb, uint32_t mtu, uint32_t seq)
{
	struct path_slot *slot = slot_of(core, tcb);

	if (slot && slot->state == PATH_FLIES && slot->start == seq)
		slot->lost = (uint16_t)MIN_OF(slot->lost, mtu + 1);
}

static void grow_old(struct core *core, const struct tcb *tcb)
{
	struct path_slot *slot = slot_of(core, tcb);

	if (slot) {
		slot->young = 1;
		slot->start = tcb->snd_una;
	}
}

static bool narrow(struct core *core, struct tcb *tcb, uint32_t bytes, uint32_t raise_ticks)
{
	struct path_slot *slot = take(core, tcb);

	if (!set_bytes(core, tcb, bytes))
		return false;
	if (slot) {
		slot->lost = (uint16_t)(slot->top + 1);
		rest(core, tcb, slot, raise_ticks);
	}
	return true;
}

enum drop_reason path_told(struct core *core, struct tcb *tcb, uint32_t mtu, uint32_t quoted_bytes,
			   uint32_t seq)
{
	struct path_slot *slot;

	mtu = MAX_OF(mtu, PATH_MTU_MIN);
	if (mtu >= packet_bytes(tcb)) { /* they are shorter already */
		bound(core, tcb, mtu, seq);
		return DROP_NONE;
	}
	if (quoted_bytes <= mtu)
		return DROP_ICMP_LIE;
	if (is_young(core, tcb)) {
		if (!narrow(core, tcb, mtu, RAISE_TICKS))
			return DROP_NO_DESTINATION;
		grow_old(core, tcb);
		tcp_path_shrunk(core, tcb);
		core->counters.tcp_path_mtu_lowered++;
		return DROP_NONE;
	}
	slot = take(core, tcb);
	if (!slot)
		return DROP_NO_DESTINATION;
	slot->told = (uint16_t)mtu;
	slot->told_seq = seq;
	slot->told_tick = core->now_tick;
	core->counters.tcp_path_mtu_doubted++;
	return DROP_NONE;
}

/* What the router quoted has timed out: it may have told the truth. */
static bool take_told(struct core *core, struct tcb *tcb)
{
	struct path_slot *slot = slot_of(core, tcb);
	uint32_t told;

	if (!slot || !waits_for_proof(core, slot))
		return false;
	told = slot->told;
	slot->told = 0;
	if (seq_lt(slot->told_seq, tcb->snd_una) || told >= packet_bytes(tcb) ||
	    !narrow(core, tcb, told, RAISE_TICKS))
		return false;
	core->counters.tcp_path_mtu_lowered++;
	return true;
}

/* The longest size of those that are tried blindly, much shorter than what is lost; 0: it is short enough. */
static uint32_t shorter(const struct tcb *tcb)
{
	uint32_t first = MIN_OF(MIN_OF(tcb->snd_bytes, tcb_snd_max(tcb) - tcb->snd_una), (uint32_t)tcb->mss);
	uint32_t bytes = first + packet_bytes(tcb) - tcb->mss;

	return bytes >= sizes[2] ? sizes[1] : bytes > sizes[0] ? sizes[0] : 0;
}

/* Of what was tried nobody knows whether it was too long, unless it is the first that is missing. */
void path_give_up(struct core *core, struct tcb *tcb)
{
	struct path_slot *slot = slot_of(core, tcb);

	if (!path_tries(core, tcb) || !slot)
		return;
	if (slot->state == PATH_FLIES && tcb->snd_una == slot->start)
		slot->lost = MIN_OF(slot->lost, slot->tried);
	rest(core, tcb, slot, UNDECIDED_TICKS);
}

void path_timeout(struct core *core, struct tcb *tcb)
{
	uint32_t bytes;

	path_give_up(core, tcb);
	if (take_told(core, tcb) || tcb->backoff < TIMEOUTS)
		return;
	bytes = shorter(tcb);
	if (bytes && narrow(core, tcb, bytes, 0))
		core->counters.tcp_path_black_holes++;
}

/* What used a small window in the end, and is no retransmission, has not arrived: a router's word is put to
 * the proof by it, too. Nothing is guessed: who keeps his window closed takes nothing, however short. */
void path_probe_timeout(struct core *core, struct tcb *tcb)
{
	take_told(core, tcb);
}

/* --- longer packets */

/* What was lost with the first search may have been an outage: the size at first comes first. Then the middle
 * of what is between the longest that arrives and the shortest that does not. 0: nothing is. */
static uint32_t next_size(const struct tcb *tcb, const struct path_slot *slot)
{
	uint32_t now = packet_bytes(tcb), from = 0, to;

	if (now >= slot->top)
		return 0;
	if (slot->lost > slot->top)
		return slot->top;
	while (from < ARRAY_COUNT(sizes) && sizes[from] <= now)
		from++;
	for (to = from; to < ARRAY_COUNT(sizes) && sizes[to] < slot->lost;)
		to++;
	return from < to ? sizes[from + (to - from) / 2] : 0;
}

NO_INLINE void path_consider(struct core *core, struct tcb *tcb)
{
	struct path_slot *slot = slot_of(core, tcb);

	if (!slot || slot->state != PATH_RESTS || tcb->backoff ||
	    !tick_reached(slot->due_tick, core->now_tick))
		return;
	slot->tried = (uint16_t)next_size(tcb, slot);
	if (slot->tried == 0 || slot->tried > core->net.destinations.routes.mtu) {
		slot->lost = (uint16_t)(slot->top + 1);
		rest(core, tcb, slot, RAISE_TICKS);
	} else if (extension_hold(core, tcb, EXTENSION_PATH)) {
		slot->state = PATH_WAITS;
	}
}

uint32_t path_trial_bytes(const struct core *core, const struct tcb *tcb)
{
	const struct path_slot *slot = slot_of(core, tcb);

	if (!slot || slot->state != PATH_WAITS)
		return 0;
	return slot->tried - (packet_bytes(tcb) - tcb->mss);
}

void path_trial_sent(struct core *core, struct tcb *tcb, uint32_t start)
{
	struct path_slot *slot = slot_of(core, tcb);

	slot->state = PATH_FLIES;
	slot->young = 0;
	slot->start = start;
	slot->end = tcb->snd_nxt;
	slot->again_bytes = 0;
	slot->was_lost = 0;
	core->counters.tcp_path_trials++;
}

void path_sent_again(struct core *core, struct tcb *tcb, uint32_t start, uint32_t bytes)
{
	struct path_slot *slot;

	if (!path_tries(core, tcb) || seq_geq(start, tcb_snd_max(tcb)))
		return;
	slot = slot_of(core, tcb);
	if (!slot || slot->state != PATH_FLIES)
		return;
	slot->again_bytes += bytes;
	if (seq_lt(start, slot->end) && seq_gt(start + bytes, slot->start))
		slot->was_lost = 1;
}

/* RFC 4821 section 7.6.1. */
static void arrived(struct core *core, struct tcb *tcb, struct path_slot *slot)
{
	uint32_t bytes = slot->tried;

	slot->undecided = 0;
	rest(core, tcb, slot, 0);
	if (set_bytes(core, tcb, bytes))
		core->counters.tcp_path_mtu_raised++;
}

/* Without SACK its last piece is sent again with some of what follows. */
static bool lost_alone(const struct tcb *tcb, const struct path_slot *slot)
{
	uint32_t bytes = slot->end - slot->start;

	return slot->again_bytes <= (tcb->options & TCB_SACK ? bytes : bytes + tcb->mss);
}

/* Section 7.6.3: others were lost, too. */
static void postpone(struct core *core, struct tcb *tcb, struct path_slot *slot)
{
	slot->undecided++;
	rest(core, tcb, slot, UNDECIDED_TICKS);
}

/* Section 7.6.2: only it was lost, and the window is as if nothing was. */
static void too_long(struct core *core, struct tcb *tcb, struct path_slot *slot)
{
	const struct tcp_extension *extension = tcb_extension(core, tcb);
	uint8_t rack = tcb->rack;

	slot->undecided = 0;
	slot->lost = MIN_OF(slot->lost, slot->tried);
	if (extension->uses & EXTENSION_UNDO && !(tcb->options & TCB_BOARD && extension->lost_bytes)) {
		recovery_undo(core, tcb);
		tcb->rack = rack;
	}
	rest(core, tcb, slot, 0);
}

void path_acked(struct core *core, struct tcb *tcb)
{
	struct path_slot *slot = slot_of(core, tcb);

	if (!slot) {
		extension_drop(core, tcb, EXTENSION_PATH);
		return;
	}
	if (slot->state == PATH_WAITS && tcb->snd_una == tcb->snd_nxt)
		rest(core, tcb, slot, 0); /* nothing is sent just now, and nothing must stay attached */
	if (slot->state != PATH_FLIES || seq_lt(tcb->snd_una, slot->end))
		return;
	if (!slot->was_lost)
		arrived(core, tcb, slot);
	else if (lost_alone(tcb, slot) || slot->undecided >= UNDECIDED_MAX)
		too_long(core, tcb, slot);
	else
		postpone(core, tcb, slot);
}

bool path_agrees(const struct core *core, const struct tcb *tcb)
{
	const struct path_slot *slot = slot_of(core, tcb);

	return path_tries(core, tcb) == (slot && slot->state != PATH_RESTS);
}
