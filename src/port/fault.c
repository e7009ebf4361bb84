/* fault.c - a port that wraps a port and mistreats the frames it delivers.
 * In: the inner port's frames, the time, a seed. Out: what is left of them.
 * Owns: the inner port; a queue of copied frames: those that wait for their time (a
 * heap), and those held back behind later ones; the times at which a slow link takes the
 * frames that wait for it. Each frame costs the same draws from the generator whatever
 * befalls it, so a seed repeats a run exactly. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/random.h"
#include "port/fault.h"
#include "port/fault_cut.h"
#include "wire/bytes.h"

#define ETHERNET_BYTES     14
#define BEHIND_MAX         4     /* a reordered frame comes 1 to 4 frames late */
#define HELD_MAX           64    /* frames held back at a time; the next one passes in order */
#define HOLD_US            10000 /* and at the latest so much later, when nothing follows it */
#define CORRUPT_BITS       8     /* 1 to 8 bits of a corrupted frame are flipped, in one word */
#define QUEUE_DEFAULT      65536
#define QUEUE_LINK_DEFAULT 1000
#define QUEUE_MAX          (1u << 20)
#define SLOT_BYTES_MIN     2048u /* a port that cuts long frames may cut them a little longer than the MTU */
#define TAGS_BYTES         8     /* VLAN tags come on top of the MTU */
#define WIRE_BYTES_LEAST   84    /* of one frame; as many of them as fit the delay are on their way */

struct waiting {
	uint64_t due_us;
	uint64_t number; /* of the frame, in order of arrival: equal times keep their order */
	struct packet packet;
	uint32_t behind; /* held frames only: later ones that still have to pass */
	bool timed;      /* it waits for its time, not only for its turn */
};

/* A link of config.rate_bits: each frame is on it for a while, and the next ones wait. */
struct fault_link {
	uint64_t free_ns; /* when it has sent all that it was given */
	uint64_t rest;    /* of the last division, so that rounding does not add up */
	uint64_t *starts; /* ring: when each frame that waits will be on the link */
	uint32_t first, count, room;
};

/* Probabilities in units of 2^-53, so that 1 is above every draw. */
struct fault_odds {
	uint64_t loss, duplicate, reorder, corrupt;
};

struct fault_port {
	struct port port;
	struct port *inner;
	struct fault_config config;
	struct fault_odds odds;
	struct fault_stats stats;
	struct random random;
	uint64_t now_us, arrivals;
	struct waiting *heap; /* the earliest (due_us, number) first */
	uint32_t heap_count;
	struct waiting held[HELD_MAX]; /* in order of arrival */
	uint32_t held_count;
	struct fault_link link;
	uint32_t *free; /* stack of slots */
	uint32_t free_count, slots, slot_bytes;
	uint8_t *memory;
};

static struct fault_port *fault_of(struct port *port)
{
	return (struct fault_port *)port;
}

/* --- the queue --------------------------------------------------------------- */

static bool waiting_before(const struct waiting *a, const struct waiting *b)
{
	return a->due_us != b->due_us ? a->due_us < b->due_us : a->number < b->number;
}

static void heap_push(struct fault_port *fault, struct waiting entry)
{
	uint32_t at = fault->heap_count++;

	while (at > 0 && waiting_before(&entry, &fault->heap[(at - 1) / 2])) {
		fault->heap[at] = fault->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	fault->heap[at] = entry;
}

static struct waiting heap_pop(struct fault_port *fault)
{
	struct waiting first = fault->heap[0], last = fault->heap[--fault->heap_count];
	uint32_t at = 0, child;

	while ((child = 2 * at + 1) < fault->heap_count) {
		if (child + 1 < fault->heap_count &&
		    waiting_before(&fault->heap[child + 1], &fault->heap[child]))
			child++;
		if (!waiting_before(&fault->heap[child], &last))
			break;
		fault->heap[at] = fault->heap[child];
		at = child;
	}
	fault->heap[at] = last;
	return first;
}

static uint8_t *fault_slot(const struct fault_port *fault, uint32_t slot)
{
	return fault->memory + (size_t)slot * fault->slot_bytes;
}

static bool fault_owns(const struct fault_port *fault, const struct packet *packet)
{
	uintptr_t start = (uintptr_t)fault->memory, at = (uintptr_t)packet->data;

	return at >= start && at < start + (size_t)fault->slots * fault->slot_bytes;
}

/* An empty frame of ours; false when there is none left, or none so long. */
static bool fault_take(struct fault_port *fault, uint32_t bytes, struct packet *packet)
{
	uint32_t slot;

	if (fault->free_count == 0 || bytes > fault->slot_bytes) {
		fault->stats.overflowed++;
		return false;
	}
	slot = fault->free[--fault->free_count];
	*packet = (struct packet){
		.data = fault_slot(fault, slot),
		.room = (uint16_t)fault->slot_bytes,
		.port_ref = slot,
	};
	return true;
}

static void fault_give(struct fault_port *fault, const struct packet *packet)
{
	CHECK(fault->free_count < fault->slots);
	fault->free[fault->free_count++] = (uint32_t)packet->port_ref;
}

static bool fault_copy(struct fault_port *fault, const struct packet *from, struct packet *to)
{
	struct packet ours;

	if (!fault_take(fault, from->bytes, &ours))
		return false;
	*to = *from;
	to->data = ours.data;
	to->room = ours.room;
	to->port_ref = ours.port_ref;
	memcpy(to->data, from->data, from->bytes);
	return true;
}

/* A frame that is ours already stays where it is. False when there is no place for it. */
static bool fault_keep(struct fault_port *fault, const struct packet *packet, struct waiting *entry)
{
	if (!fault_owns(fault, packet))
		return fault_copy(fault, packet, &entry->packet);
	entry->packet = *packet;
	return true;
}

/* Frames held back move one step for each frame that arrived later and is delivered now. */
static void fault_passed(struct fault_port *fault, uint64_t number)
{
	fault->stats.passed++;
	for (uint32_t i = 0; i < fault->held_count; i++) {
		if (fault->held[i].number < number && fault->held[i].behind > 0)
			fault->held[i].behind--;
	}
}

static void fault_note_lateness(struct fault_port *fault, const struct waiting *entry)
{
	uint64_t late_us = fault->now_us - entry->due_us;

	if (!entry->timed)
		return;
	fault->stats.late_frames++;
	fault->stats.late_us += late_us;
	fault->stats.late_max_us = MAX_OF(fault->stats.late_max_us, late_us);
}

static uint32_t fault_deliver_held(struct fault_port *fault, struct packet *packets, uint32_t max)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < fault->held_count && count < max;) {
		struct waiting entry = fault->held[i];

		if (entry.behind > 0 && entry.due_us > fault->now_us) {
			i++;
			continue;
		}
		fault->held_count--;
		memmove(&fault->held[i], &fault->held[i + 1], (fault->held_count - i) * sizeof(entry));
		fault_passed(fault, entry.number);
		packets[count++] = entry.packet;
		i = 0; /* this one may have set free an earlier one */
	}
	return count;
}

/* Whatever of the queue is due. */
static uint32_t fault_deliver_due(struct fault_port *fault, struct packet *packets, uint32_t max)
{
	uint32_t count = fault_deliver_held(fault, packets, max);

	while (count < max && fault->heap_count > 0 && fault->heap[0].due_us <= fault->now_us) {
		struct waiting entry = heap_pop(fault);

		fault_note_lateness(fault, &entry);
		fault_passed(fault, entry.number);
		packets[count++] = entry.packet;
		count += fault_deliver_held(fault, packets + count, max - count);
	}
	return count;
}

/* --- the faults -------------------------------------------------------------- */

struct fate {
	bool lost, duplicated, reordered, corrupted;
	uint64_t delay_us, duplicate_delay_us;
	uint32_t behind;
};

static bool draw(struct fault_port *fault, uint64_t odds)
{
	return random_next(&fault->random) >> 11 < odds;
}

static uint64_t draw_delay(struct fault_port *fault)
{
	uint64_t jitter = fault->config.jitter_us, delay = fault->config.delay_us;
	uint64_t offset = random_next(&fault->random) % (2 * jitter + 1);

	return delay + offset < jitter ? 0 : delay + offset - jitter;
}

static struct fate draw_fate(struct fault_port *fault)
{
	return (struct fate){
		.lost = draw(fault, fault->odds.loss),
		.duplicated = draw(fault, fault->odds.duplicate),
		.reordered = draw(fault, fault->odds.reorder),
		.corrupted = draw(fault, fault->odds.corrupt),
		.delay_us = draw_delay(fault),
		.duplicate_delay_us = draw_delay(fault),
		.behind = 1 + random_below(&fault->random, BEHIND_MAX),
	};
}

/* Anywhere behind the Ethernet header, which a switch would have verified with the frame's own sum: some bits
 * of one 16-bit word. That much the Internet checksum always finds (RFC 1071); bits of several words may
 * cancel each other, and who tests with damage wants to blame the receiver for what gets through. */
static void fault_corrupt(struct fault_port *fault, struct packet *packet, uint64_t number)
{
	/* A generator of its own: how much is flipped must not move the draws of later frames. */
	struct random bits = random_seeded(fault->config.seed ^ (number * 0x9e3779b97f4a7c15ULL));
	uint32_t count = 1 + random_below(&bits, CORRUPT_BITS), mask = 0, at;

	if (packet->bytes <= ETHERNET_BYTES)
		return;
	fault_complete_sum(packet); /* else the receiver would make one that fits the damage */
	at = ETHERNET_BYTES + 2 * random_below(&bits, (packet->bytes - ETHERNET_BYTES + 1) / 2);
	while (count-- > 0)
		mask |= 1u << random_below(&bits, 16);
	if (at + 1 == packet->bytes)
		packet->data[at] ^= (uint8_t)(mask >> 8 ? mask >> 8 : mask);
	else
		put16(packet->data + at, (uint16_t)(get16(packet->data + at) ^ mask));
	packet->checksum = PACKET_CSUM_NONE; /* whoever verified it did so before */
	fault->stats.corrupted++;
}

/* --- the link ----------------------------------------------------------------- */

static void link_forget(struct fault_link *link, uint64_t now_ns)
{
	while (link->count > 0 && link->starts[link->first] <= now_ns) {
		link->first = link->first + 1 == link->room ? 0 : link->first + 1;
		link->count--;
	}
}

static void link_wait(struct fault_link *link)
{
	uint32_t at = link->first + link->count++;

	link->starts[at >= link->room ? at - link->room : at] = link->free_ns;
}

/* When the frame will be at the other end of the link. False: too many wait for it already. */
static bool link_admit(struct fault_port *fault, struct packet *packet, uint64_t *ready_us)
{
	const struct fault_config *config = &fault->config;
	struct fault_link *link = &fault->link;
	uint64_t now_ns = fault->now_us * 1000;
	uint64_t work = (uint64_t)fault_wire_bytes(packet) * 8 * 1000000000 + link->rest;

	link_forget(link, now_ns);
	if (link->free_ns > now_ns && link->count >= config->queue_frames) {
		fault->stats.queue_drops++;
		return false;
	}
	if (config->ecn_frames && link->count >= config->ecn_frames && fault_mark_congestion(packet))
		fault->stats.marked++;
	if (link->free_ns > now_ns)
		link_wait(link);
	else
		link->free_ns = now_ns;
	link->free_ns += work / config->rate_bits;
	link->rest = work % config->rate_bits;
	*ready_us = (link->free_ns + 999) / 1000;
	return true;
}

/* --- what becomes of a frame -------------------------------------------------- */

enum verdict {
	PASSES, /* as it is, now */
	KEPT,
	GONE,
};

static bool fault_has_due(const struct fault_port *fault)
{
	return fault->heap_count > 0 && fault->heap[0].due_us <= fault->now_us;
}

/* What passes at once must not overtake what is due now, and waits for the caller only. */
static enum verdict fault_send(struct fault_port *fault, struct packet *packet, uint64_t number,
			       uint64_t delay_us, uint32_t behind)
{
	struct waiting entry = {.number = number, .due_us = fault->now_us, .behind = behind};

	if (fault->config.rate_bits && !link_admit(fault, packet, &entry.due_us))
		return GONE;
	entry.due_us += delay_us;
	if (behind > 0) {
		entry.due_us += HOLD_US;
		fault->stats.reordered++;
		if (!fault_keep(fault, packet, &entry))
			return GONE;
		fault->held[fault->held_count++] = entry;
		return KEPT;
	}
	entry.timed = entry.due_us > fault->now_us;
	if (!entry.timed && !fault_has_due(fault) && !fault_owns(fault, packet))
		return PASSES;
	fault->stats.delayed += entry.timed;
	if (!fault_keep(fault, packet, &entry))
		return GONE;
	heap_push(fault, entry);
	return KEPT;
}

/* The copy is a frame like any other on its way, but is never held back. */
static void fault_duplicate(struct fault_port *fault, const struct packet *packet, uint64_t number,
			    uint64_t delay_us)
{
	struct packet copy;

	fault->stats.duplicated++;
	if (fault_copy(fault, packet, &copy) && fault_send(fault, &copy, number, delay_us, 0) == GONE)
		fault_give(fault, &copy);
}

static enum verdict fault_strike(struct fault_port *fault, struct packet *packet, uint64_t number)
{
	struct fate fate = draw_fate(fault);
	enum verdict verdict;

	fault->stats.seen++;
	if (fate.lost) {
		fault->stats.lost++;
		return GONE;
	}
	if (fate.corrupted)
		fault_corrupt(fault, packet, number);
	verdict = fault_send(fault, packet, number, fate.delay_us,
			     fate.reordered && fault->held_count < HELD_MAX ? fate.behind : 0);
	if (fate.duplicated)
		fault_duplicate(fault, packet, number, fate.duplicate_delay_us);
	return verdict;
}

/* Each segment of a long frame is a frame of ours. */
static void fault_strike_segments(struct fault_port *fault, const struct fault_cut *cut)
{
	fault->stats.cut++;
	for (uint32_t i = 0; i < cut->segments; i++) {
		uint64_t number = fault->arrivals++;
		struct packet segment;

		if (!fault_take(fault, cut->headers + cut->segment_bytes, &segment)) {
			draw_fate(fault);
			fault->stats.seen++;
			continue;
		}
		fault_cut_segment(cut, i, &segment);
		if (fault_strike(fault, &segment, number) == GONE)
			fault_give(fault, &segment);
	}
}

/* Without faults a long frame may stay one. */
static bool fault_cuts(const struct fault_port *fault)
{
	const struct fault_config *config = &fault->config;

	return fault->odds.loss || fault->odds.duplicate || fault->odds.reorder || fault->odds.corrupt ||
	       config->delay_us || config->jitter_us || config->rate_bits;
}

/* --- the functions of the port ----------------------------------------------- */

/* The burst is compacted in place to the frames that pass; the others go back to their port. */
static uint32_t fault_filter(struct fault_port *fault, struct packet *packets, uint32_t count)
{
	struct packet gone[PORT_BURST];
	uint32_t kept = 0, taken = 0;
	bool cuts = fault_cuts(fault);
	struct fault_cut cut;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t number;

		if (cuts && fault_cut_begin(&cut, &packets[i], fault->port.caps.mtu)) {
			fault_strike_segments(fault, &cut);
			gone[taken++] = packets[i];
			continue;
		}
		number = fault->arrivals++;
		if (fault_strike(fault, &packets[i], number) != PASSES) {
			gone[taken++] = packets[i];
			continue;
		}
		fault_passed(fault, number);
		packets[kept++] = packets[i];
	}
	if (taken > 0)
		port_rx_release(fault->inner, gone, taken);
	return kept;
}

static uint32_t fault_rx(struct port *port, struct packet *packets, uint32_t max)
{
	struct fault_port *fault = fault_of(port);
	uint32_t count = fault_deliver_due(fault, packets, max);
	uint32_t room = MIN_OF(max - count, PORT_BURST);

	if (room > 0)
		count += fault_filter(fault, packets + count, port_rx(fault->inner, packets + count, room));
	count += fault_deliver_due(fault, packets + count, max - count);
	port->stats = fault->inner->stats;
	return count;
}

static void fault_rx_release(struct port *port, struct packet *packets, uint32_t count)
{
	struct fault_port *fault = fault_of(port);
	uint32_t inner = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (fault_owns(fault, &packets[i]))
			fault_give(fault, &packets[i]);
		else
			packets[inner++] = packets[i];
	}
	if (inner > 0)
		port_rx_release(fault->inner, packets, inner);
}

static uint32_t fault_tx_reserve(struct port *port, struct packet *packets, uint32_t max)
{
	struct port *inner = fault_of(port)->inner;
	uint32_t count = port_tx_reserve(inner, packets, max);

	port->stats = inner->stats;
	return count;
}

static void fault_tx_submit(struct port *port, struct packet *packets, uint32_t filled, uint32_t reserved)
{
	struct port *inner = fault_of(port)->inner;

	port_tx_submit(inner, packets, filled, reserved);
	port->stats = inner->stats;
}

/* A frame that is due later does not keep the worker awake: it asks fault_deadline_us. */
static bool fault_wait_prepare(struct port *port)
{
	struct fault_port *fault = fault_of(port);

	if (fault_deadline_us(port) <= fault->now_us)
		return false;
	return !fault->inner->ops->wait_prepare || fault->inner->ops->wait_prepare(fault->inner);
}

static void fault_wait_done(struct port *port)
{
	struct port *inner = fault_of(port)->inner;

	if (inner->ops->wait_done)
		inner->ops->wait_done(inner);
}

static void fault_free(struct fault_port *fault)
{
	free(fault->heap);
	free(fault->link.starts);
	free(fault->free);
	free(fault->memory);
	free(fault);
}

static void fault_close(struct port *port)
{
	struct fault_port *fault = fault_of(port);

	port_close(fault->inner);
	fault_free(fault);
}

static const struct port_ops fault_ops = {
	.name = "fault",
	.rx = fault_rx,
	.rx_release = fault_rx_release,
	.tx_reserve = fault_tx_reserve,
	.tx_submit = fault_tx_submit,
	.wait_prepare = fault_wait_prepare,
	.wait_done = fault_wait_done,
	.close = fault_close,
};

/* --- what the owner calls ---------------------------------------------------- */

/* What may wait: for the time of the way, and for the link before that. */
static uint32_t slots_of(const struct fault_config *config)
{
	double way_us = (double)(config->delay_us + config->jitter_us + HOLD_US);
	double slots = config->queue_frames ? config->queue_frames : QUEUE_DEFAULT;

	if (config->rate_bits)
		slots = (config->queue_frames ? config->queue_frames : QUEUE_LINK_DEFAULT) +
			2 * (way_us * 1e-6 * (double)config->rate_bits / (8.0 * WIRE_BYTES_LEAST) +
			     PORT_BURST);
	return slots > QUEUE_MAX ? QUEUE_MAX : (uint32_t)slots;
}

static bool fault_allocate(struct fault_port *fault, const struct fault_config *config)
{
	uint32_t mtu = MIN_OF(fault->inner->caps.mtu, 65400u);

	fault->slots = slots_of(config);
	fault->slot_bytes = ALIGN_UP(mtu + ETHERNET_BYTES + TAGS_BYTES, (uint32_t)CACHE_LINE);
	fault->slot_bytes = MAX_OF(fault->slot_bytes, SLOT_BYTES_MIN);
	fault->link.room = config->queue_frames ? MIN_OF(config->queue_frames, QUEUE_MAX)
						: QUEUE_LINK_DEFAULT;
	fault->link.starts = calloc(fault->link.room, sizeof(*fault->link.starts));
	fault->heap = calloc(fault->slots, sizeof(*fault->heap));
	fault->free = calloc(fault->slots, sizeof(*fault->free));
	fault->memory = aligned_alloc(CACHE_LINE, (size_t)fault->slots * fault->slot_bytes);
	if (!fault->link.starts || !fault->heap || !fault->free || !fault->memory)
		return false;
	while (fault->free_count < fault->slots) {
		fault->free[fault->free_count] = fault->free_count;
		fault->free_count++;
	}
	return true;
}

struct port *fault_wrap(struct port *inner, const struct fault_config *config)
{
	struct fault_port *fault = calloc(1, sizeof(*fault));

	if (!fault)
		return NULL;
	fault->inner = inner;
	if (!fault_allocate(fault, config)) {
		fault_free(fault);
		return NULL;
	}
	fault->port = (struct port){
		.ops = &fault_ops, .caps = inner->caps, .wait_fd = inner->wait_fd, .advice = inner->advice};
	snprintf(fault->port.text, sizeof(fault->port.text), "fault over %.80s", inner->text);
	fault->random = random_seeded(config->seed);
	fault_configure(&fault->port, config);
	return &fault->port;
}

void fault_set_time(struct port *port, uint64_t now_us)
{
	fault_of(port)->now_us = now_us;
}

static uint64_t odds_of(double probability)
{
	const double one = (double)(1ULL << 53);

	if (!(probability > 0))
		return 0;
	return probability >= 1 ? (uint64_t)one : (uint64_t)(probability * one);
}

/* The seed counts at the start only: the generator runs on, and so a later change repeats too. */
void fault_configure(struct port *port, const struct fault_config *config)
{
	struct fault_port *fault = fault_of(port);

	fault->config = *config;
	fault->config.jitter_us = MIN_OF(config->jitter_us, (uint64_t)UINT32_MAX);
	fault->config.queue_frames = config->queue_frames ? MIN_OF(config->queue_frames, fault->link.room)
							  : MIN_OF(QUEUE_LINK_DEFAULT, fault->link.room);
	fault->odds = (struct fault_odds){
		.loss = odds_of(config->loss),
		.duplicate = odds_of(config->duplicate),
		.reorder = odds_of(config->reorder),
		.corrupt = odds_of(config->corrupt),
	};
}

const struct fault_stats *fault_stats(const struct port *port)
{
	return &((const struct fault_port *)port)->stats;
}

uint32_t fault_waiting(const struct port *port)
{
	const struct fault_port *fault = (const struct fault_port *)port;

	return fault->heap_count + fault->held_count;
}

uint64_t fault_deadline_us(const struct port *port)
{
	const struct fault_port *fault = (const struct fault_port *)port;
	uint64_t deadline_us = fault->heap_count > 0 ? fault->heap[0].due_us : UINT64_MAX;

	for (uint32_t i = 0; i < fault->held_count; i++) {
		uint64_t due_us = fault->held[i].behind == 0 ? fault->now_us : fault->held[i].due_us;

		deadline_us = MIN_OF(deadline_us, due_us);
	}
	return deadline_us;
}
