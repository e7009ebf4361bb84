/* board.c - the scoreboard: what of the window has arrived, is lost, was sent again, and when.
 * In: acknowledgements, SACK blocks, what output.c has sent.  Out: how much is on its way, what to send
 * again. Owns: the pool of ranges. Ranges cover the window without gaps, in order; neighbours of one fate are
 * joined. */
#include "tcp/recovery.h"

#include "base/plant.h"
#include "tcp/model.h"

static uint32_t range_bytes(const struct core *core, const struct tcb *tcb, const struct sent_range *range)
{
	return range_end(core, tcb, range) - range->start;
}

static bool counts_as_lost(const struct sent_range *range)
{
	return (range->flags & (SENT_ARRIVED | SENT_LOST | SENT_AGAIN)) == SENT_LOST;
}

/* Of a large window every second segment may be lost: a queue overflows at the end of slow start. */
static uint32_t ranges_allowed(const struct tcb *tcb)
{
	uint32_t segments = (tcb->snd_nxt - tcb->snd_una) / tcb->mss;

	return MIN_OF(MAX_OF(segments, BOARD_RANGES_MIN), BOARD_RANGES_MAX);
}

static uint32_t range_new(struct core *core, const struct tcb *tcb, uint32_t start)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);
	uint32_t id = extension->range_count < ranges_allowed(tcb) ? pool_take(&core->ranges) : POOL_NONE;

	if (id == POOL_NONE) {
		core->counters.tcp_ranges_missing++;
		return POOL_NONE;
	}
	extension->range_count++;
	*range_at(core, id) = (struct sent_range){.start = start, .next = POOL_NONE};
	return id;
}

/* Cuts a range in two; both keep its fate. False when no range is left. */
static bool range_split(struct core *core, struct tcb *tcb, struct sent_range *range, uint32_t at)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);
	uint32_t id = range_new(core, tcb, at);
	struct sent_range *upper;

	if (id == POOL_NONE)
		return false;
	upper = range_at(core, id);
	upper->next = range->next;
	upper->sent_us = range->sent_us;
	upper->flags = PLANTED(RANGE_FATE) ? 0 : range->flags;
	if (range->next == POOL_NONE)
		extension->range_last = id;
	range->next = id;
	return true;
}

/* The range behind this one becomes a part of it. */
static void range_absorb(struct core *core, struct tcb *tcb, struct sent_range *range, uint32_t range_id)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);
	uint32_t id = range->next;

	range->next = range_at(core, id)->next;
	if (range->next == POOL_NONE)
		extension->range_last = range_id;
	extension->range_count--;
	pool_give(&core->ranges, id);
}

bool board_attach(struct core *core, struct tcb *tcb)
{
	struct tcp_extension *extension;
	uint32_t id;

	if (!(tcb->options & TCB_SACK) || tcb->options & TCB_BACKED || tcb->snd_nxt == tcb->snd_una)
		return false;
	extension = extension_hold(core, tcb, EXTENSION_BOARD);
	if (!extension)
		return false;
	id = range_new(core, tcb, tcb->snd_una);
	if (id == POOL_NONE) {
		extension_drop(core, tcb, EXTENSION_BOARD);
		return false;
	}
	range_at(core, id)->flags = SENT_BEFORE;
	range_at(core, id)->sent_us = (uint32_t)core->now_us - 1; /* at the latest */
	extension->range_first = extension->range_last = id;
	extension->sacked_bytes = extension->lost_bytes = 0;
	extension->fack = tcb->snd_una;
	extension->rack_us = (uint32_t)core->now_us - tcb->srtt_us;
	extension->rack_end = tcb->snd_una;
	extension->rack_rtt_us = tcb->srtt_us;
	extension->wider_end = tcb->snd_una;
	probe_cancel(core, tcb);
	tcb->options |= TCB_BOARD;
	core->counters.tcp_scoreboards++;
	return true;
}

static void give_first(struct core *core, struct tcp_extension *extension)
{
	uint32_t id = extension->range_first;

	extension->range_first = range_at(core, id)->next;
	extension->range_count--;
	pool_give(&core->ranges, id);
}

void board_detach(struct core *core, struct tcb *tcb)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);

	if (!(tcb->options & TCB_BOARD))
		return;
	while (extension->range_first != POOL_NONE)
		give_first(core, extension);
	extension->range_last = POOL_NONE;
	tcb->options &= (uint16_t)~TCB_BOARD;
	extension_drop(core, tcb, EXTENSION_BOARD);
}

/* The part of a range up to `end` has arrived for sure. Returns how much of it is news. */
static uint32_t take_away(struct core *core, struct tcb *tcb, const struct sent_range *range, uint32_t end)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);
	uint32_t bytes = end - range->start;

	if (range->flags & SENT_ARRIVED) {
		extension->sacked_bytes -= bytes;
		return 0;
	}
	if (counts_as_lost(range)) {
		extension->lost_bytes -= bytes;
		extension->frto_original |= !(range->flags & SENT_EVER);
	}
	rack_arrived(core, tcb, range, end);
	return bytes;
}

uint32_t board_acked(struct core *core, struct tcb *tcb)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);
	uint32_t news = 0;

	while (extension->range_first != POOL_NONE) {
		struct sent_range *range = range_at(core, extension->range_first);
		uint32_t end = range_end(core, tcb, range), stop = seq_min(end, tcb->snd_una);

		if (seq_geq(range->start, tcb->snd_una))
			break;
		news += take_away(core, tcb, range, stop);
		range->start = stop;
		if (stop == end)
			give_first(core, extension);
	}
	if (extension->range_first == POOL_NONE)
		extension->range_last = POOL_NONE;
	extension->fack = seq_max(extension->fack, tcb->snd_una);
	return news;
}

/* From the first range on that ends behind start, marks what lies before end. */
uint32_t board_arrived(struct core *core, struct tcb *tcb, uint32_t start, uint32_t end)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);
	uint32_t news = 0;

	if (seq_lt(start, tcb->snd_una) && tcb->snd_una - start < 1u << 30)
		start = tcb->snd_una; /* some of it is acknowledged by now */
	if (seq_geq(start, end) || seq_lt(start, tcb->snd_una) ||
	    (seq_gt(end, tcb->snd_nxt) && !PLANTED(SACK_BEYOND))) {
		core->counters.tcp_sack_ignored++;
		return 0;
	}
	for (uint32_t id = extension->range_first; id != POOL_NONE; id = range_at(core, id)->next) {
		struct sent_range *range = range_at(core, id);
		uint32_t stop = range_end(core, tcb, range);

		if (seq_geq(range->start, end))
			break;
		if (seq_leq(stop, start) || range->flags & SENT_ARRIVED)
			continue;
		if (seq_lt(range->start, start)) {
			range_split(core, tcb, range, start); /* the upper part comes next */
			continue;
		}
		if (seq_gt(stop, end) && !range_split(core, tcb, range, end))
			break;
		stop = seq_min(stop, end);
		news += take_away(core, tcb, range, stop);
		range->flags = SENT_ARRIVED;
		extension->sacked_bytes += stop - range->start;
		extension->fack = seq_max(extension->fack, PLANTED(SACK_BEYOND) ? end : stop);
	}
	return news;
}

/* What is not known any more, since there is no range left to remember it in, is on its way. */
static void forget_fate(struct core *core, struct tcb *tcb, struct sent_range *range, uint32_t end)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);

	if (range->flags & SENT_ARRIVED)
		extension->sacked_bytes -= end - range->start;
	else if (counts_as_lost(range))
		extension->lost_bytes -= end - range->start;
	range->flags = 0;
	range->sent_us = (uint32_t)core->now_us;
}

void board_sent(struct core *core, struct tcb *tcb, uint32_t start)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);
	struct sent_range *last = range_at(core, extension->range_last);
	uint32_t now_us = (uint32_t)core->now_us, id;

	if ((last->flags & ~SENT_SPREAD) == 0 && now_us - last->sent_us <= tcb->srtt_us / SENT_TOGETHER) {
		last->flags |= now_us == last->sent_us ? 0 : SENT_SPREAD;
		return;
	}
	id = range_new(core, tcb, start);
	if (id == POOL_NONE) {
		forget_fate(core, tcb, last, start);
		return;
	}
	last->next = id;
	extension->range_last = id;
	range_at(core, id)->sent_us = now_us;
}

/* The range that starts there, and the one before it. */
static uint32_t range_from(const struct core *core, const struct tcb *tcb, uint32_t start, uint32_t *before)
{
	uint32_t id = tcb_extension(core, tcb)->range_first;

	*before = POOL_NONE;
	while (id != POOL_NONE && range_at(core, id)->start != start) {
		*before = id;
		id = range_at(core, id)->next;
	}
	return id;
}

void board_sent_again(struct core *core, struct tcb *tcb, uint32_t start, uint32_t end)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);
	uint32_t before_id, id = range_from(core, tcb, start, &before_id);
	struct sent_range *range = range_at(core, id), *before;

	if (range_end(core, tcb, range) != end)
		range_split(core, tcb, range, end); /* or all of it counts as sent, and is found lost again */
	if (counts_as_lost(range) && !PLANTED(LOST_COUNT))
		extension->lost_bytes -= range_bytes(core, tcb, range);
	range->flags = SENT_LOST | SENT_AGAIN | SENT_EVER;
	range->sent_us = (uint32_t)core->now_us;
	if (before_id == POOL_NONE)
		return;
	before = range_at(core, before_id);
	if (before->flags == range->flags && before->sent_us == range->sent_us)
		range_absorb(core, tcb, before, before_id);
}

bool board_lost(const struct core *core, const struct tcb *tcb, uint32_t *start, uint32_t *end)
{
	const struct tcp_extension *extension = tcb_extension(core, tcb);

	if (extension->lost_bytes == 0)
		return false;
	for (uint32_t id = extension->range_first; id != POOL_NONE; id = range_at(core, id)->next) {
		const struct sent_range *range = range_at(core, id);

		if (!counts_as_lost(range))
			continue;
		*start = range->start;
		*end = range_end(core, tcb, range);
		return true;
	}
	return false;
}

void board_lose(struct core *core, struct tcb *tcb, struct sent_range *range)
{
	if (counts_as_lost(range) || (range->flags & SENT_ARRIVED && !PLANTED(RACK_ARRIVED)))
		return;
	core->counters.tcp_lost_again += (range->flags & SENT_AGAIN) != 0;
	range->flags = (uint8_t)(SENT_LOST | (range->flags & (SENT_BEFORE | SENT_EVER)));
	tcb_extension(core, tcb)->lost_bytes += range_bytes(core, tcb, range);
	if (tcb->paced)
		model_lost(core, tcb, range->start, range_bytes(core, tcb, range));
}

void board_join(struct core *core, struct tcb *tcb)
{
	uint32_t id = tcb_extension(core, tcb)->range_first;

	while (id != POOL_NONE && range_at(core, id)->next != POOL_NONE) {
		struct sent_range *range = range_at(core, id), *next = range_at(core, range->next);
		bool timeless = range->flags & (SENT_ARRIVED | SENT_BEFORE) || counts_as_lost(range);

		if (range->flags == next->flags && (timeless || range->sent_us == next->sent_us))
			range_absorb(core, tcb, range, id);
		else
			id = range->next;
	}
}

void board_lose_all(struct core *core, struct tcb *tcb, bool forget)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);

	for (uint32_t id = extension->range_first; id != POOL_NONE; id = range_at(core, id)->next) {
		struct sent_range *range = range_at(core, id);

		if (forget && range->flags & SENT_ARRIVED) {
			extension->sacked_bytes -= range_bytes(core, tcb, range);
			range->flags = 0;
		}
		board_lose(core, tcb, range);
	}
	board_join(core, tcb);
}

void board_regret(struct core *core, struct tcb *tcb)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);

	for (uint32_t id = extension->range_first; id != POOL_NONE; id = range_at(core, id)->next) {
		struct sent_range *range = range_at(core, id);

		if (!(range->flags & SENT_LOST))
			continue;
		range->flags = 0;
		range->sent_us = (uint32_t)core->now_us;
	}
	extension->lost_bytes = 0;
	board_join(core, tcb);
}

/* RFC 2018 section 8: the peer may drop what it told of, and has when it acknowledges just up to there. */
bool board_reneged(const struct core *core, const struct tcb *tcb)
{
	return range_at(core, tcb_extension(core, tcb)->range_first)->flags & SENT_ARRIVED;
}

void board_verify(const struct core *core, const struct tcb *tcb)
{
	const struct tcp_extension *extension = tcb_extension(core, tcb);
	uint32_t sacked = 0, lost = 0, count = 0, at = tcb->snd_una, last = POOL_NONE;

	CHECK(extension && extension->uses & EXTENSION_BOARD && tcb->options & TCB_SACK);
	CHECK(!(tcb->options & TCB_BACKED));
	for (uint32_t id = extension->range_first; id != POOL_NONE; id = range_at(core, id)->next, count++) {
		const struct sent_range *range = range_at(core, id);

		CHECK(range->start == at && seq_lt(at, range_end(core, tcb, range)));
		at = range_end(core, tcb, range);
		last = id;
		if (range->flags & SENT_ARRIVED)
			sacked += range_bytes(core, tcb, range);
		else if (counts_as_lost(range))
			lost += range_bytes(core, tcb, range);
	}
	CHECK(at == tcb->snd_nxt && last == extension->range_last && count == extension->range_count);
	CHECK(sacked == extension->sacked_bytes && lost == extension->lost_bytes);
	CHECK(count <= BOARD_RANGES_MAX && seq_leq(extension->fack, tcb->snd_nxt));
}
