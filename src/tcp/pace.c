/* pace.c - a large window goes out spread over the round trip, not at once: bursts would fill queues that the
 * path has room for.
 * In: output.c asks before each frame.  Out: connections that may go on, on the ready list.
 * Owns: the pacer, a wheel whose slots are a quarter of a millisecond wide; the extension's part for it.
 * Who was late makes up for it (design idea 10), for an eighth of a round trip at most. The first slow start
 * is not paced until it has learnt from how close together acknowledgements come (slow_start.c). Who is not
 * paced at other times is while much of his window is free at once. */
#include "tcp/pace.h"

#include "tcp/congestion.h"
#include "tcp/model.h"
#include "tcp/recovery.h"

#define SLOT_LOG2      8         /* 256 us */
#define CREDIT_US      1000u     /* at least: an eighth of a round trip */
#define FRAME_US       1000u     /* a frame that the port cuts holds no more than goes out in that time */
#define SEGMENTS_MIN   16u       /* a smaller window is no burst */
#define BURST_SEGMENTS 128u      /* of who is not paced at other times */
#define RTT_MIN_US     4000u     /* nor does a short path have room for one */
#define AHEAD_MAX_US   (1 << 20) /* whatever the window was */
#define DUE_MAX        64u

size_t pacer_bytes(uint32_t extensions)
{
	return wheel_bytes(2 * extensions); /* an entry that was overtaken stays until it fires */
}

uint32_t pacer_slot(uint64_t us)
{
	return (uint32_t)(us >> SLOT_LOG2);
}

/* In the first slow start: it has seen how much the path holds. */
static bool fills_the_path(const struct tcb *tcb, const struct tcp_extension *extension)
{
	return tcb->ssthresh == SSTHRESH_UNKNOWN && extension->start_base_us && extension->start_by_train;
}

/* Twice the window a round trip while that doubles, as slow start has to; else a quarter more than it. */
static uint64_t quarters_a_round_trip(const struct tcb *tcb, const struct tcp_extension *extension)
{
	uint32_t window = MAX_OF(tcb->cwnd, (uint32_t)tcb->mss);

	if (fills_the_path(tcb, extension))
		return 4ull * MAX_OF(window, extension->start_fits_bytes);
	if (tcb->pending & TCB_RECOVERY)
		window = MAX_OF(window, MIN_OF(tcb->ssthresh, SSTHRESH_UNKNOWN / 8));
	return (uint64_t)window * (tcb->cwnd < tcb->ssthresh ? 8 : 5);
}

/* Much of the window came free at once, as after a recovery. */
static bool would_burst(const struct core *core, const struct tcb *tcb)
{
	uint32_t used = tcb->options & TCB_BOARD ? board_pipe(core, tcb) : tcb->snd_nxt - tcb->snd_una;
	uint32_t room = tcb->cwnd - MIN_OF(tcb->cwnd, used);

	return room > (tcb->paced ? 2u : BURST_SEGMENTS) * tcb->mss;
}

static bool worth_it(const struct core *core, const struct tcb *tcb, const struct tcp_extension *extension)
{
	if (!extension || tcb->srtt_us < RTT_MIN_US || tcb->cwnd < SEGMENTS_MIN * tcb->mss)
		return false;
	if (tcb->ssthresh == SSTHRESH_UNKNOWN)
		return fills_the_path(tcb, extension);
	return core->services[tcb->service].paced || would_burst(core, tcb);
}

void pace_consider(struct core *core, struct tcb *tcb)
{
	bool wanted = model_consider(core, tcb) || worth_it(core, tcb, tcb_extension(core, tcb));
	struct tcp_extension *extension = tcb_extension(core, tcb);

	if (tcb->paced == wanted)
		return;
	tcb->paced = wanted;
	if (!wanted)
		return;
	extension->pace_us = (uint32_t)core->now_us;
	core->counters.tcp_paced++;
}

/* False when the pacer is full: then it goes at once. */
static bool file(struct core *core, struct tcb *tcb, struct tcp_extension *extension, uint32_t wait_us)
{
	uint32_t slot = pacer_slot(core->now_us + wait_us) + 1;

	if (extension->pace_filed)
		return true;
	if (wheel_live(core->pacer) == 0) /* it has not been told the time while it was empty */
		wheel_expire(core->pacer, pacer_slot(core->now_us), NULL, 0);
	if (!wheel_file(core->pacer, tcb_index(core, tcb), slot))
		return false;
	extension->pace_slot = slot;
	extension->pace_filed = 1;
	return true;
}

bool pace_allows(struct core *core, struct tcb *tcb)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);
	uint32_t now_us = (uint32_t)core->now_us;
	int32_t late_us = (int32_t)(now_us - extension->pace_us);
	int32_t ahead_us = tcb->srtt_us < RTT_MIN_US ? 2 << SLOT_LOG2 : 0; /* slots are too wide for it */
	uint32_t credit_us = extension->pace_held ? MAX_OF(tcb->srtt_us / 8, CREDIT_US) : CREDIT_US;

	if (late_us < (int32_t)CREDIT_US)
		extension->pace_held = 0;
	if (late_us > (int32_t)credit_us)
		extension->pace_us = now_us - credit_us;
	if (late_us < -AHEAD_MAX_US)
		extension->pace_us = now_us;
	if (late_us >= -ahead_us || late_us < -AHEAD_MAX_US || tcb->snd_nxt == tcb->snd_una)
		return true;
	extension->pace_held = file(core, tcb, extension, (uint32_t)-late_us);
	return !extension->pace_held;
}

/* How long so many bytes take at the connection's pace. */
static uint64_t takes_us(const struct core *core, const struct tcb *tcb, uint32_t bytes)
{
	const struct model *model = model_of(core, tcb);

	if (model)
		return (uint64_t)bytes * 1000000 / MAX_OF(model->bbr.pacing_rate, 1ull);
	return (uint64_t)bytes * 4 * tcb->srtt_us / quarters_a_round_trip(tcb, tcb_extension(core, tcb));
}

void pace_sent(struct core *core, struct tcb *tcb, uint32_t end, uint32_t bytes, bool again)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);

	extension->pace_us += (uint32_t)MIN_OF(takes_us(core, tcb, bytes), (uint64_t)AHEAD_MAX_US);
	if (extension->model && !again)
		model_sent(core, tcb, end, bytes);
}

uint32_t pace_frame_bytes(const struct core *core, const struct tcb *tcb)
{
	uint64_t bytes = (uint64_t)FRAME_US * 65536 / MAX_OF(takes_us(core, tcb, 65536), 1ull);

	return (uint32_t)MAX_OF(MIN_OF(bytes, 1ull << 30), 2ull * tcb->mss);
}

/* An entry of another time means nothing: the extension was given back, or attached anew. */
static void fired(struct core *core, const struct wheel_entry *entry)
{
	struct tcb *tcb = tcb_at(core, entry->index);
	struct tcp_extension *extension;

	if (tcb->state == TCB_FREE || tcb->extension == POOL_NONE)
		return;
	extension = tcb_extension(core, tcb);
	if (!extension->pace_filed || extension->pace_slot != entry->tick)
		return;
	extension->pace_filed = 0;
	conn_ready(core, entry->index);
}

void pace_expire(struct core *core)
{
	struct wheel_entry due[DUE_MAX];
	uint32_t count = DUE_MAX;

	while (count == DUE_MAX) {
		count = wheel_expire(core->pacer, pacer_slot(core->now_us), due, DUE_MAX);
		for (uint32_t i = 0; i < count; i++)
			PREFETCH_WRITE(tcb_at(core, due[i].index));
		for (uint32_t i = 0; i < count; i++)
			fired(core, &due[i]);
	}
}

uint64_t pace_deadline_us(const struct core *core)
{
	uint32_t slot, now = pacer_slot(core->now_us);

	if (likely(wheel_live(core->pacer) == 0) || !wheel_next(core->pacer, &slot))
		return UINT64_MAX;
	if (tick_reached(slot, now))
		return core->now_us;
	return ((core->now_us >> SLOT_LOG2) + (slot - now)) << SLOT_LOG2;
}

void pace_rebuild(struct core *core, uint32_t index)
{
	struct tcp_extension *extension = tcb_extension(core, tcb_at(core, index));

	if (!extension || !extension->pace_filed)
		return;
	extension->pace_filed = 0;
	conn_ready(core, index);
}
