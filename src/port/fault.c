/* fault.c - a port that wraps a port and mistreats the frames it delivers.
 * In: the inner port's frames, the time, a seed. Out: what is left of them.
 * Owns: the inner port; a queue of copied frames: those that wait for their time (a
 * heap), and those held back behind later ones. Each frame costs the same draws
 * from the generator whatever befalls it, so a seed repeats a run exactly. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/random.h"
#include "port/fault.h"

#define ETHERNET_BYTES 14
#define BEHIND_MAX     4     /* a reordered frame comes 1 to 4 frames late */
#define HELD_MAX       64    /* frames held back at a time; the next one passes in order */
#define HOLD_US        10000 /* and at the latest so much later, when nothing follows it */
#define CORRUPT_BITS   8     /* 1 to 8 bits of a corrupted frame are flipped */
#define QUEUE_DEFAULT  4096
#define QUEUE_MAX      (1u << 20)
#define SLOT_BYTES_MIN 2048u /* a port that cuts long frames may cut them a little longer than the MTU */

struct waiting {
	uint64_t due_us;
	uint64_t number; /* of the frame, in order of arrival: equal times keep their order */
	uint32_t slot;
	uint32_t bytes;
	uint32_t behind; /* held frames only: later ones that still have to pass */
	uint8_t checksum;
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

/* Copies the frame into a slot of ours; false when it has no room there. */
static bool fault_keep(struct fault_port *fault, const struct packet *packet, struct waiting *entry)
{
	if (fault->free_count == 0 || packet->bytes > fault->slot_bytes) {
		fault->stats.overflowed++;
		return false;
	}
	entry->slot = fault->free[--fault->free_count];
	entry->bytes = packet->bytes;
	entry->checksum = packet->checksum;
	memcpy(fault_slot(fault, entry->slot), packet->data, packet->bytes);
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

static struct packet fault_deliver(struct fault_port *fault, const struct waiting *entry)
{
	fault_passed(fault, entry->number);
	return (struct packet){
		.data = fault_slot(fault, entry->slot),
		.bytes = entry->bytes,
		.room = (uint16_t)fault->slot_bytes,
		.checksum = entry->checksum,
		.port_ref = entry->slot,
	};
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
		packets[count++] = fault_deliver(fault, &entry);
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

		packets[count++] = fault_deliver(fault, &entry);
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

/* Anywhere behind the Ethernet header, which a switch would have verified with the frame's own sum. */
static void fault_corrupt(struct fault_port *fault, struct packet *packet, uint64_t number)
{
	/* A generator of its own: how much is flipped must not move the draws of later frames. */
	struct random bits = random_seeded(fault->config.seed ^ (number * 0x9e3779b97f4a7c15ULL));
	uint32_t count = 1 + random_below(&bits, CORRUPT_BITS);

	if (packet->bytes <= ETHERNET_BYTES)
		return;
	while (count-- > 0) {
		uint32_t at = random_below(&bits, (packet->bytes - ETHERNET_BYTES) * 8);

		packet->data[ETHERNET_BYTES + at / 8] ^= (uint8_t)(1u << (at % 8));
	}
	packet->checksum = PACKET_CSUM_NONE; /* whoever verified it did so before */
	fault->stats.corrupted++;
}

static void fault_duplicate(struct fault_port *fault, const struct packet *packet, const struct fate *fate,
			    uint64_t number)
{
	struct waiting entry = {.due_us = fault->now_us + fate->duplicate_delay_us, .number = number};

	fault->stats.duplicated++;
	if (fault_keep(fault, packet, &entry))
		heap_push(fault, entry);
}

/* False when the frame passes as it is; else the queue has it, or nobody. */
static bool fault_strike(struct fault_port *fault, struct packet *packet, uint64_t number)
{
	struct fate fate = draw_fate(fault);
	struct waiting entry = {.due_us = fault->now_us + fate.delay_us, .number = number};

	fault->stats.seen++;
	if (fate.lost) {
		fault->stats.lost++;
		return true;
	}
	if (fate.corrupted)
		fault_corrupt(fault, packet, number);
	if (fate.duplicated)
		fault_duplicate(fault, packet, &fate, number);
	if (fate.reordered && fault->held_count < HELD_MAX) {
		entry.due_us += HOLD_US;
		entry.behind = fate.behind;
		fault->stats.reordered++;
		if (fault_keep(fault, packet, &entry))
			fault->held[fault->held_count++] = entry;
		return true;
	}
	if (fate.delay_us == 0)
		return false;
	fault->stats.delayed++;
	if (fault_keep(fault, packet, &entry))
		heap_push(fault, entry);
	return true;
}

/* --- the functions of the port ----------------------------------------------- */

/* The burst is compacted in place to the frames that pass; the others go back to their port. */
static uint32_t fault_filter(struct fault_port *fault, struct packet *packets, uint32_t count)
{
	struct packet gone[PORT_BURST];
	uint32_t kept = 0, taken = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t number = fault->arrivals++;

		if (fault_strike(fault, &packets[i], number)) {
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

static bool fault_owns(const struct fault_port *fault, const struct packet *packet)
{
	uintptr_t start = (uintptr_t)fault->memory, at = (uintptr_t)packet->data;

	return at >= start && at < start + (size_t)fault->slots * fault->slot_bytes;
}

static void fault_rx_release(struct port *port, struct packet *packets, uint32_t count)
{
	struct fault_port *fault = fault_of(port);
	uint32_t inner = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (fault_owns(fault, &packets[i])) {
			CHECK(fault->free_count < fault->slots);
			fault->free[fault->free_count++] = (uint32_t)packets[i].port_ref;
		} else {
			packets[inner++] = packets[i];
		}
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

struct port *fault_wrap(struct port *inner, const struct fault_config *config)
{
	struct fault_port *fault = calloc(1, sizeof(*fault));
	uint32_t slots = config->queue_frames ? MIN_OF(config->queue_frames, QUEUE_MAX) : QUEUE_DEFAULT;

	if (!fault)
		return NULL;
	fault->slots = slots;
	fault->slot_bytes = ALIGN_UP(MIN_OF(inner->caps.mtu, 65400u) + ETHERNET_BYTES + 4,
				     (uint32_t)CACHE_LINE);
	fault->slot_bytes = MAX_OF(fault->slot_bytes, SLOT_BYTES_MIN);
	fault->heap = calloc(slots, sizeof(*fault->heap));
	fault->free = calloc(slots, sizeof(*fault->free));
	fault->memory = aligned_alloc(CACHE_LINE, (size_t)slots * fault->slot_bytes);
	if (!fault->heap || !fault->free || !fault->memory) {
		fault_free(fault);
		return NULL;
	}
	while (fault->free_count < slots) {
		fault->free[fault->free_count] = fault->free_count;
		fault->free_count++;
	}
	fault->port = (struct port){
		.ops = &fault_ops, .caps = inner->caps, .wait_fd = inner->wait_fd, .advice = inner->advice};
	snprintf(fault->port.text, sizeof(fault->port.text), "fault over %.80s", inner->text);
	fault->inner = inner;
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
