/* test_fault.c - the port "fault": how often each fault strikes, order, time, repetition, parsing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "port/fault.h"
#include "port/link.h"
#include "wire/checksum.h"

#define FRAMES      200000u
#define FRAME_BYTES 200

/* A wire whose receiving end is mistreated, and what came out of it. */
struct rig {
	struct port *near, *far; /* frames go from near to far, the wrapped one */
	uint64_t now_us;
	uint32_t sent, received;
	uint32_t numbers[2 * FRAMES]; /* of the frames received, in order */
	uint32_t damaged;
	bool struck[FRAME_BYTES]; /* bytes in which a bit was flipped */
	uint64_t digest;          /* of everything received, and when */
};

static struct rig *rig_new(const struct fault_config *config)
{
	const struct link_config wire = {.frames = 1024, .frame_bytes = 2048, .mtu = 1500};
	struct rig *rig = calloc(1, sizeof(*rig));
	struct port *ends[2];

	assert_non_null(rig);
	assert_int_equal(link_open(&wire, ends), 0);
	rig->near = ends[0];
	rig->far = fault_wrap(ends[1], config);
	assert_non_null(rig->far);
	return rig;
}

static void rig_free(struct rig *rig)
{
	port_close(rig->far);
	port_close(rig->near);
	free(rig);
}

static void rig_send(struct rig *rig, uint32_t count)
{
	struct packet packets[PORT_BURST];

	assert_int_equal(port_tx_reserve(rig->near, packets, count), count);
	for (uint32_t i = 0; i < count; i++) {
		packets[i].bytes = FRAME_BYTES;
		memset(packets[i].data, 0, FRAME_BYTES);
		memcpy(packets[i].data, &rig->sent,
		       sizeof(rig->sent)); /* link addresses are never corrupted */
		rig->sent++;
	}
	port_tx_submit(rig->near, packets, count, count);
}

static void rig_note(struct rig *rig, const struct packet *packet)
{
	uint32_t number;
	bool damaged = false;

	assert_int_equal(packet->bytes, FRAME_BYTES);
	memcpy(&number, packet->data, sizeof(number));
	for (uint32_t i = 0; i < FRAME_BYTES; i++) {
		rig->digest = (rig->digest ^ packet->data[i]) * 0x100000001b3ULL;
		rig->struck[i] |= i >= sizeof(number) && packet->data[i] != 0;
		damaged |= i >= sizeof(number) && packet->data[i] != 0;
	}
	rig->digest = (rig->digest ^ rig->now_us) * 0x100000001b3ULL;
	rig->damaged += damaged;
	assert_true(rig->received < ARRAY_COUNT(rig->numbers));
	rig->numbers[rig->received++] = number;
}

static uint32_t rig_receive(struct rig *rig, uint32_t max)
{
	struct packet packets[PORT_BURST];
	uint32_t count;

	fault_set_time(rig->far, rig->now_us);
	count = port_rx(rig->far, packets, max);
	for (uint32_t i = 0; i < count; i++)
		rig_note(rig, &packets[i]);
	port_rx_release(rig->far, packets, count);
	return count;
}

/* Bursts of changing size at changing times, until nothing waits any more. */
static void rig_run(struct rig *rig, uint32_t frames)
{
	for (uint32_t round = 0; rig->sent < frames; round++) {
		rig_send(rig, MIN_OF(1 + round % 32, frames - rig->sent));
		rig->now_us += 100;
		while (rig_receive(rig, 1 + round % PORT_BURST) > 0)
			;
	}
	for (int i = 0; i < 1000 && fault_deadline_us(rig->far) != UINT64_MAX; i++) {
		rig->now_us = MAX_OF(rig->now_us, fault_deadline_us(rig->far));
		while (rig_receive(rig, PORT_BURST) > 0)
			;
	}
	assert_true(fault_deadline_us(rig->far) == UINT64_MAX);
}

static void assert_balanced(const struct rig *rig)
{
	const struct fault_stats *stats = fault_stats(rig->far);

	assert_int_equal(stats->seen, rig->sent);
	assert_int_equal(stats->passed, rig->received);
	assert_int_equal(stats->seen + stats->duplicated, stats->passed + stats->lost + stats->overflowed +
								  stats->queue_drops +
								  fault_waiting(rig->far));
}

/* Within five standard deviations of what the odds say. */
static void assert_share(uint64_t count, uint64_t of, double chance)
{
	double mean = (double)of * chance, deviation = mean * (1 - chance);
	double off = (double)count - mean;

	assert_true(off * off <= 25 * deviation + 1);
}

/* --- faults ------------------------------------------------------------------ */

static void test_none(void **state)
{
	const struct fault_config config = {.seed = 1};
	struct rig *rig = rig_new(&config);

	(void)state;
	rig_run(rig, FRAMES);
	assert_balanced(rig);
	assert_int_equal(rig->received, FRAMES);
	for (uint32_t i = 0; i < FRAMES; i++)
		assert_int_equal(rig->numbers[i], i);
	assert_int_equal(rig->damaged, 0);
	rig_free(rig);
}

static void test_shares(void **state)
{
	const struct fault_config config = {
		.loss = 0.05, .duplicate = 0.02, .reorder = 0.03, .corrupt = 0.01, .seed = 42};
	struct rig *rig = rig_new(&config);
	const struct fault_stats *stats = fault_stats(rig->far);

	(void)state;
	rig_run(rig, FRAMES);
	assert_balanced(rig);
	assert_share(stats->lost, FRAMES, 0.05);
	assert_share(stats->duplicated, FRAMES - stats->lost, 0.02);
	assert_share(stats->reordered, FRAMES - stats->lost, 0.03);
	assert_share(stats->corrupted, FRAMES - stats->lost, 0.01);
	assert_int_equal(stats->overflowed, 0);
	assert_int_equal(stats->delayed, 0);
	/* Of all damaged frames some came twice. */
	assert_true(rig->damaged >= stats->corrupted && rig->damaged <= stats->corrupted * 105 / 100);
	for (uint32_t i = 0; i < FRAME_BYTES; i++)
		assert_int_equal(rig->struck[i], i >= 14);
	rig_free(rig);
}

/* No damage gets past the Internet checksum, whatever the data. */
static void test_damage_is_always_found(void **state)
{
	const struct fault_config config = {.corrupt = 1, .seed = 12};
	struct rig *rig = rig_new(&config);
	struct random random = random_seeded(3);
	struct packet packet;

	(void)state;
	for (uint32_t i = 0; i < 100000; i++) {
		uint32_t bytes = 60 + i % 8, before;

		assert_int_equal(port_tx_reserve(rig->near, &packet, 1), 1);
		for (uint32_t at = 0; at < bytes; at++)
			packet.data[at] = (uint8_t)random_next(&random);
		before = csum_finish(csum_add(0, packet.data + 14, bytes - 14));
		packet.bytes = bytes;
		port_tx_submit(rig->near, &packet, 1, 1);
		assert_int_equal(port_rx(rig->far, &packet, 1), 1);
		assert_true(csum_finish(csum_add(0, packet.data + 14, bytes - 14)) != before);
		port_rx_release(rig->far, &packet, 1);
	}
	rig_free(rig);
}

static void test_loss_of_all_and_healing(void **state)
{
	const struct fault_config config = {.loss = 1, .seed = 3}, healed = {.seed = 3};
	struct rig *rig = rig_new(&config);

	(void)state;
	rig_run(rig, 1000);
	assert_int_equal(rig->received, 0);
	fault_configure(rig->far, &healed);
	rig_run(rig, 2000);
	assert_int_equal(rig->received, 1000);
	assert_balanced(rig);
	rig_free(rig);
}

/* A reordered frame comes behind one to four later ones, not much later and never lost. */
static void test_reorder(void **state)
{
	const struct fault_config config = {.reorder = 0.1, .seed = 9};
	struct rig *rig = rig_new(&config);
	uint32_t late = 0, highest = 0;

	(void)state;
	rig_run(rig, FRAMES);
	assert_int_equal(rig->received, FRAMES);
	for (uint32_t i = 0; i < FRAMES; i++) {
		late += rig->numbers[i] < highest;
		highest = MAX_OF(highest, rig->numbers[i]);
		assert_in_range(rig->numbers[i] + 40, i, i + 80);
	}
	/* The last frames of the run have nothing to wait for. */
	assert_true(late + 100 > fault_stats(rig->far)->reordered * 8 / 10 && late > FRAMES / 20);
	assert_balanced(rig);
	rig_free(rig);
}

/* Held back with nothing behind it, a frame comes when its time is up. */
static void test_reorder_last(void **state)
{
	const struct fault_config config = {.reorder = 1, .seed = 9};
	struct rig *rig = rig_new(&config);

	(void)state;
	rig_send(rig, 1);
	assert_int_equal(rig_receive(rig, 1), 0);
	assert_true(fault_deadline_us(rig->far) > 0 && fault_deadline_us(rig->far) <= 50000);
	assert_true(rig->far->ops->wait_prepare(rig->far));
	rig->far->ops->wait_done(rig->far);
	rig->now_us = fault_deadline_us(rig->far);
	assert_int_equal(rig_receive(rig, 1), 1);
	rig_free(rig);
}

static void test_delay(void **state)
{
	const struct fault_config config = {.delay_us = 20000, .seed = 5};
	struct rig *rig = rig_new(&config);

	(void)state;
	for (uint32_t i = 0; i < 10; i++) {
		rig->now_us = i;
		rig_send(rig, 1);
		assert_int_equal(rig_receive(rig, PORT_BURST), 0);
	}
	assert_int_equal(fault_deadline_us(rig->far), 20000);
	rig->now_us = 19999;
	assert_int_equal(rig_receive(rig, PORT_BURST), 0);
	for (uint32_t i = 0; i < 10; i++) {
		rig->now_us = 20000 + i;
		fault_set_time(rig->far, rig->now_us);
		assert_false(rig->far->ops->wait_prepare(rig->far));
		assert_int_equal(rig_receive(rig, PORT_BURST), 1);
		assert_int_equal(rig->numbers[i], i);
	}
	assert_balanced(rig);
	rig_free(rig);
}

/* Frames of one moment keep their order. */
static void test_delay_of_a_burst(void **state)
{
	const struct fault_config config = {.delay_us = 20000, .seed = 5};
	struct rig *rig = rig_new(&config);

	(void)state;
	rig_send(rig, 60);
	assert_int_equal(rig_receive(rig, PORT_BURST), 0);
	rig->now_us = 20000;
	while (rig_receive(rig, 9) > 0)
		;
	assert_int_equal(rig->received, 60);
	for (uint32_t i = 0; i < 60; i++)
		assert_int_equal(rig->numbers[i], i);
	rig_free(rig);
}

static void test_jitter(void **state)
{
	const struct fault_config config = {.delay_us = 20000, .jitter_us = 5000, .seed = 5};
	struct rig *rig = rig_new(&config);
	uint64_t first = 0, last = 0;
	uint32_t out_of_order = 0;

	(void)state;
	for (uint32_t i = 0; i < 1000; i += 50)
		rig_send(rig, 50);
	for (uint32_t i = 0; i < 1000; i += 5) /* all are taken in at time 0 */
		rig_receive(rig, 7);
	for (rig->now_us = 0; rig->now_us < 30000; rig->now_us += 10) {
		uint32_t before = rig->received;

		while (rig_receive(rig, 7) > 0)
			;
		if (rig->received > 0 && first == 0)
			first = rig->now_us;
		if (rig->received > before)
			last = rig->now_us;
	}
	assert_int_equal(rig->received, 1000);
	assert_in_range(first, 15000, 15200);
	assert_in_range(last, 24800, 25010);
	for (uint32_t i = 1; i < 1000; i++)
		out_of_order += rig->numbers[i] < rig->numbers[i - 1];
	assert_true(out_of_order > 300);
	rig_free(rig);
}

/* What waits is bounded; more is lost, and counted. */
static void test_overflow(void **state)
{
	const struct fault_config config = {.delay_us = 1000, .seed = 5, .queue_frames = 100};
	struct rig *rig = rig_new(&config);

	(void)state;
	for (uint32_t i = 0; i < 500; i += 50) {
		rig_send(rig, 50);
		rig_receive(rig, PORT_BURST);
	}
	assert_int_equal(fault_stats(rig->far)->overflowed, 400);
	rig->now_us = 1000;
	assert_int_equal(rig_receive(rig, PORT_BURST) + rig_receive(rig, PORT_BURST), 100);
	assert_balanced(rig);
	for (uint32_t i = 0; i < 50; i++) { /* its places are free again */
		rig_send(rig, 50);
		rig_receive(rig, PORT_BURST);
		rig->now_us += 1000;
		assert_int_equal(rig_receive(rig, PORT_BURST), 50);
	}
	rig_free(rig);
}

static uint64_t digest_of(uint64_t seed, double corrupt)
{
	const struct fault_config config = {.loss = 0.05,
					    .duplicate = 0.05,
					    .reorder = 0.05,
					    .corrupt = corrupt,
					    .delay_us = 2000,
					    .jitter_us = 500,
					    .seed = seed};
	struct rig *rig = rig_new(&config);
	uint64_t digest;

	rig_run(rig, 20000);
	assert_balanced(rig);
	assert_true(fault_stats(rig->far)->delayed > 10000);
	digest = rig->digest;
	rig_free(rig);
	return digest;
}

static void test_repeats_by_seed(void **state)
{
	(void)state;
	assert_true(digest_of(77, 0.05) == digest_of(77, 0.05));
	assert_true(digest_of(77, 0) == digest_of(77, 0));
	assert_true(digest_of(77, 0) != digest_of(78, 0));
	assert_true(digest_of(0, 0) != digest_of(1, 0));
}

/* What goes out passes untouched. */
static void test_sending(void **state)
{
	const struct fault_config config = {.loss = 1, .seed = 1};
	struct rig *rig = rig_new(&config);
	struct packet packet;

	(void)state;
	assert_int_equal(port_tx_reserve(rig->far, &packet, 1), 1);
	packet.bytes = 100;
	memset(packet.data, 7, 100);
	port_tx_submit(rig->far, &packet, 1, 1);
	assert_int_equal(port_rx(rig->near, &packet, 1), 1);
	assert_int_equal(packet.data[99], 7);
	port_rx_release(rig->near, &packet, 1);
	assert_int_equal(rig->far->stats.tx_packets, 1);
	assert_int_equal(rig->far->caps.mtu, 1500);
	rig_free(rig);
}

/* --- a slow link --------------------------------------------------------------- */

#define WIRE_BITS ((FRAME_BYTES + 24u) * 8u)

/* When the frame of this number has passed a link of so many bits a second that was free at time 0. */
static uint64_t through_us(uint64_t number, uint64_t rate_bits)
{
	return ((number + 1) * WIRE_BITS * 1000000 + rate_bits - 1) / rate_bits;
}

/* Every frame leaves in its own microsecond, and rounding does not add up. */
static void test_rate(void **state)
{
	const struct fault_config config = {.rate_bits = 7000000, .queue_frames = 2000, .seed = 1};
	struct rig *rig = rig_new(&config);

	(void)state;
	for (uint32_t i = 0; i < 2000; i += 50) {
		rig_send(rig, 50);
		assert_int_equal(rig_receive(rig, PORT_BURST), 0);
	}
	for (uint64_t i = 0; i < 2000; i++) {
		uint64_t due_us = through_us(i, 7000000);

		assert_int_equal(fault_deadline_us(rig->far), due_us);
		rig->now_us = due_us - 1;
		assert_int_equal(rig_receive(rig, PORT_BURST), 0);
		rig->now_us = due_us;
		assert_int_equal(rig_receive(rig, PORT_BURST), 1);
		assert_int_equal(rig->numbers[i], i);
	}
	assert_balanced(rig);
	assert_int_equal(fault_stats(rig->far)->delayed, 2000);
	rig_free(rig);
}

/* A link that was idle starts anew; the delay comes behind it. */
static void test_rate_and_delay(void **state)
{
	const struct fault_config config = {.rate_bits = 1000000, .delay_us = 30000, .seed = 1};
	struct rig *rig = rig_new(&config);

	(void)state;
	for (uint64_t start_us = 0; start_us < 1000000; start_us += 200000) {
		rig->now_us = start_us;
		rig_send(rig, 2);
		assert_int_equal(rig_receive(rig, PORT_BURST), 0);
		assert_int_equal(fault_deadline_us(rig->far), start_us + through_us(0, 1000000) + 30000);
		rig->now_us = start_us + through_us(0, 1000000) + 30000;
		assert_int_equal(rig_receive(rig, PORT_BURST), 1);
		assert_int_equal(fault_deadline_us(rig->far), start_us + through_us(1, 1000000) + 30000);
		rig->now_us = start_us + through_us(1, 1000000) + 30000;
		assert_int_equal(rig_receive(rig, PORT_BURST), 1);
	}
	rig_free(rig);
}

/* One frame is on the link, ten wait, the others are lost; what is on its way takes no place of the queue. */
static void test_queue_before_the_link(void **state)
{
	const struct fault_config config = {
		.rate_bits = 1000000, .delay_us = 500000, .queue_frames = 10, .seed = 1};
	struct rig *rig = rig_new(&config);

	(void)state;
	rig_send(rig, 50);
	rig_receive(rig, PORT_BURST);
	assert_int_equal(fault_stats(rig->far)->queue_drops, 39);
	assert_int_equal(fault_waiting(rig->far), 11);
	rig->now_us = through_us(2, 1000000); /* three are through: the fourth is on the link, seven wait */
	rig_send(rig, 4);
	rig_receive(rig, PORT_BURST);
	assert_int_equal(fault_stats(rig->far)->queue_drops, 40);
	rig->now_us = 400000; /* all are through, and none has arrived */
	rig_send(rig, 12);
	rig_receive(rig, PORT_BURST);
	assert_int_equal(fault_stats(rig->far)->queue_drops, 41);
	assert_int_equal(rig->received, 0);
	assert_int_equal(fault_stats(rig->far)->overflowed, 0);
	while (fault_deadline_us(rig->far) != UINT64_MAX) {
		rig->now_us = fault_deadline_us(rig->far);
		rig_receive(rig, PORT_BURST);
	}
	assert_int_equal(rig->received, 66 - 41);
	assert_balanced(rig);
	rig_free(rig);
}

/* Long before the queue is full, those who understand it are told. */
static void test_congestion_marks(void **state)
{
	const struct fault_config config = {.rate_bits = 1000000, .ecn_frames = 5, .seed = 1};
	struct rig *rig = rig_new(&config);
	struct packet packets[20];

	(void)state;
	assert_int_equal(port_tx_reserve(rig->near, packets, 20), 20);
	for (uint32_t i = 0; i < 20; i++) { /* ECT(0), and every fourth knows nothing of it */
		packets[i].bytes = FRAME_BYTES;
		memset(packets[i].data, 0, FRAME_BYTES);
		packets[i].data[12] = 8;
		packets[i].data[14] = 0x45;
		packets[i].data[15] = i % 4 == 3 ? 0 : 2;
	}
	port_tx_submit(rig->near, packets, 20, 20);
	assert_int_equal(port_rx(rig->far, packets, 20), 0);
	assert_int_equal(fault_stats(rig->far)->marked, 14 - 4); /* of 6 to 19 */
	fault_set_time(rig->far, 1000000);
	assert_int_equal(port_rx(rig->far, packets, 20), 20);
	for (uint32_t i = 0; i < 20; i++)
		assert_int_equal(packets[i].data[15], i % 4 == 3 ? 0 : i < 6 ? 2 : 3);
	port_rx_release(rig->far, packets, 20);
	rig_free(rig);
}

/* How late the owner came for its frames. */
static void test_lateness(void **state)
{
	const struct fault_config config = {.delay_us = 1000, .seed = 1};
	struct rig *rig = rig_new(&config);
	const struct fault_stats *stats = fault_stats(rig->far);

	(void)state;
	rig_send(rig, 2);
	rig_receive(rig, PORT_BURST);
	rig->now_us = 1000;
	rig_receive(rig, 1);
	assert_int_equal(stats->late_max_us, 0);
	rig->now_us = 1030;
	rig_receive(rig, PORT_BURST);
	assert_int_equal(stats->late_frames, 2);
	assert_int_equal(stats->late_us, 30);
	assert_int_equal(stats->late_max_us, 30);
	rig_free(rig);
}

/* --- long frames ----------------------------------------------------------------- */

#define LONG_HEADERS 66u
#define LONG_BYTES   (LONG_HEADERS + 20 * 1000)

/* A port that delivers long frames, each followed by a short one, as many as it is told. */
struct source {
	struct port port;
	uint32_t left, delivered, released;
	uint8_t frames[2][LONG_BYTES];
};

static void source_fill(uint8_t *frame, uint32_t number, uint32_t payload)
{
	memset(frame, 0, LONG_HEADERS);
	frame[12] = 8;
	frame[14] = 0x45;
	frame[16] = (uint8_t)((payload + 52) >> 8);
	frame[17] = (uint8_t)(payload + 52);
	frame[23] = 6;
	frame[38] = (uint8_t)(number >> 8); /* the sequence number tells the frames apart */
	frame[39] = (uint8_t)number;
	frame[46] = 0x80;
	memset(frame + LONG_HEADERS, (int)(number & 0xff), payload);
}

static uint32_t source_rx(struct port *port, struct packet *packets, uint32_t max)
{
	struct source *source = (struct source *)port;

	if (source->left == 0 || max < 2)
		return 0;
	source->left--;
	source_fill(source->frames[0], source->delivered, LONG_BYTES - LONG_HEADERS);
	source_fill(source->frames[1], source->delivered, 10);
	packets[0] = packets[1] =
		(struct packet){.checksum = PACKET_CSUM_PARTIAL, .csum_start = 34, .csum_offset = 16};
	packets[0].data = source->frames[0];
	packets[0].bytes = LONG_BYTES;
	packets[0].gso_bytes = 1000;
	packets[0].header_bytes = LONG_HEADERS;
	packets[1].data = source->frames[1];
	packets[1].bytes = LONG_HEADERS + 10;
	source->delivered++;
	return 2;
}

static void source_rx_release(struct port *port, struct packet *packets, uint32_t count)
{
	(void)packets;
	((struct source *)port)->released += count;
}

static void source_close(struct port *port)
{
	(void)port; /* the test's own */
}

static const struct port_ops source_ops = {
	.name = "source", .rx = source_rx, .rx_release = source_rx_release, .close = source_close};

static struct port *source_wrapped(struct source *source, uint32_t frames, const struct fault_config *config)
{
	struct port *fault;

	*source = (struct source){.port = {.ops = &source_ops, .caps = {.mtu = 1500}}, .left = frames};
	fault = fault_wrap(&source->port, config);
	assert_non_null(fault);
	return fault;
}

/* Without faults they are left alone. */
static void test_long_frames_pass(void **state)
{
	const struct fault_config config = {.seed = 1};
	static struct source source;
	struct port *fault = source_wrapped(&source, 1, &config);
	struct packet packets[PORT_BURST];

	(void)state;
	assert_int_equal(port_rx(fault, packets, PORT_BURST), 2);
	assert_int_equal(packets[0].bytes, LONG_BYTES);
	assert_int_equal(packets[0].gso_bytes, 1000);
	assert_int_equal(fault_stats(fault)->cut, 0);
	port_rx_release(fault, packets, 2);
	assert_int_equal(source.released, 2);
	port_close(fault);
}

/* With faults each of their packets has its own fate; those that pass keep their order. */
static void test_long_frames_are_cut(void **state)
{
	const struct fault_config config = {.loss = 0.1, .seed = 1};
	static struct source source;
	struct port *fault = source_wrapped(&source, 1000, &config);
	struct packet packets[PORT_BURST];
	uint32_t shorts = 0, segments = 0, last = 0, idle = 0;

	(void)state;
	while (idle++ < 3) {
		uint32_t count = port_rx(fault, packets, PORT_BURST);

		for (uint32_t i = 0; i < count; i++) {
			const uint8_t *data = packets[i].data;
			uint32_t number = (uint32_t)(source.delivered - 1) * 64;

			assert_true(packets[i].bytes == LONG_HEADERS + 1000 ||
				    packets[i].bytes == LONG_HEADERS + 10);
			assert_int_equal(packets[i].checksum, PACKET_CSUM_PARTIAL);
			assert_int_equal(packets[i].gso_bytes, 0);
			assert_int_equal(packets[i].csum_start, 34);
			assert_int_equal(data[packets[i].bytes - 1], (source.delivered - 1) & 0xff);
			number += packets[i].bytes > 100 ? (uint32_t)(data[40] << 8 | data[41]) / 1000 : 63;
			assert_true(number > last || last == 0);
			last = number;
			segments += packets[i].bytes > 100;
			shorts += packets[i].bytes < 100;
		}
		port_rx_release(fault, packets, count);
		if (count > 0)
			idle = 0;
	}
	assert_int_equal(fault_stats(fault)->cut, 1000);
	assert_int_equal(fault_stats(fault)->seen, 21000);
	assert_int_equal(segments + shorts + fault_stats(fault)->lost, 21000);
	assert_share(20000 - segments, 20000, 0.1);
	assert_share(1000 - shorts, 1000, 0.1);
	assert_int_equal(source.released, 2000);
	port_close(fault);
}

/* Damage is done to a frame whose sum was right before: nobody makes one that fits it. */
static void test_damage_to_a_sum_left_undone(void **state)
{
	const struct fault_config config = {.corrupt = 1, .seed = 1};
	static struct source source;
	struct port *fault = source_wrapped(&source, 1, &config);
	struct packet packets[PORT_BURST];
	uint32_t count;

	(void)state;
	count = port_rx(fault, packets, PORT_BURST);
	assert_int_equal(count, 21);
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(packets[i].checksum, PACKET_CSUM_NONE);
	port_rx_release(fault, packets, count);
	port_close(fault);
}

/* A link of 8 Mbit/s takes a microsecond for each byte that the segments have on the wire. */
static void test_long_frames_on_a_link(void **state)
{
	const struct fault_config config = {.rate_bits = 8000000, .seed = 1};
	static struct source source;
	struct port *fault = source_wrapped(&source, 1, &config);
	struct packet packets[PORT_BURST];

	(void)state;
	assert_int_equal(port_rx(fault, packets, PORT_BURST), 0);
	fault_set_time(fault, 20 * (LONG_HEADERS + 1000 + 24) - 1);
	assert_int_equal(port_rx(fault, packets, PORT_BURST), 19);
	port_rx_release(fault, packets, 19);
	fault_set_time(fault, 20 * (LONG_HEADERS + 1000 + 24) + LONG_HEADERS + 10 + 24);
	assert_int_equal(port_rx(fault, packets, PORT_BURST), 2);
	port_rx_release(fault, packets, 2);
	assert_true(fault_deadline_us(fault) == UINT64_MAX);
	port_close(fault);
}

/* --- parsing ----------------------------------------------------------------- */

static void test_parse(void **state)
{
	struct fault_config config;
	char error[160] = "";

	(void)state;
	assert_int_equal(
		fault_parse(
			"loss=2%,delay=20ms,jitter=5ms,reorder=1%,duplicate=0.5,corrupt=0.1%,seed=7,queue=9",
			&config, error, sizeof(error)),
		0);
	assert_true(config.loss > 0.01999 && config.loss < 0.02001);
	assert_true(config.corrupt > 0.000999 && config.corrupt < 0.001001);
	assert_true(config.reorder > 0.00999 && config.reorder < 0.01001);
	assert_true(config.duplicate > 0.4999 && config.duplicate < 0.5001);
	assert_int_equal(config.delay_us, 20000);
	assert_int_equal(config.jitter_us, 5000);
	assert_int_equal(config.seed, 7);
	assert_int_equal(config.queue_frames, 9);
	assert_int_equal(fault_parse("delay=1.5s,seed=18446744073709551615", &config, error, sizeof(error)),
			 0);
	assert_int_equal(config.delay_us, 1500000);
	assert_true(config.seed == UINT64_MAX);
	assert_true(config.loss < 1e-9 && config.queue_frames == 0);
	assert_int_equal(fault_parse("rate=2.5gbit,queue=1000,ecn=20", &config, error, sizeof(error)), 0);
	assert_true(config.rate_bits == 2500000000);
	assert_int_equal(config.queue_frames, 1000);
	assert_int_equal(config.ecn_frames, 20);
	assert_int_equal(fault_parse("rate=1000bit", &config, error, sizeof(error)), 0);
	assert_true(config.rate_bits == 1000);
	assert_int_equal(fault_parse("rate=56.6kbit", &config, error, sizeof(error)), 0);
	assert_true(config.rate_bits == 56600);
	assert_int_equal(fault_parse("delay=300us,loss=100%", &config, error, sizeof(error)), 0);
	assert_true(config.delay_us == 300 && config.loss > 0.999);
}

static void test_parse_errors(void **state)
{
	static const struct {
		const char *text, *word;
	} wrong[] = {
		{"", "unknown"},
		{"loss", "value"},
		{"loss=", "probability"},
		{"loss=x", "probability"},
		{"loss=101%", "probability"},
		{"loss=1.5", "probability"},
		{"loss=-1%", "probability"},
		{"loss=.", "probability"},
		{"loss=1e-2", "probability"},
		{"loss=2%%", "probability"},
		{"lose=2%", "unknown"},
		{"loss=2%,", "unknown"},
		{"delay=20", "time"},
		{"delay=ms", "time"},
		{"delay=20min", "time"},
		{"delay=99999s", "time"},
		{"jitter=1ms", "delay"},
		{"seed=-1", "whole"},
		{"seed=18446744073709551616", "whole"},
		{"seed=0x1", "whole"},
		{"queue=4294967296", "whole"},
		{"ecn=x,rate=1mbit", "whole"},
		{"ecn=20", "rate"},
		{"rate=100", "rate"},
		{"rate=100m", "rate"},
		{"rate=0mbit", "rate"},
		{"rate=999bit", "rate"},
		{"rate=1001gbit", "rate"},
		{"rate=mbit", "rate"},
		{"=2%", "unknown"},
		{"loss =2%", "unknown"},
	};
	struct fault_config config;
	char error[160], tiny[4], many[400];

	(void)state;
	for (uint32_t i = 0; i < ARRAY_COUNT(wrong); i++) {
		error[0] = '\0';
		assert_int_equal(fault_parse(wrong[i].text, &config, error, sizeof(error)), -EINVAL);
		assert_non_null(strstr(error, wrong[i].word));
	}
	assert_int_equal(fault_parse("loss=7", &config, tiny, sizeof(tiny)), -EINVAL);
	assert_int_equal(strlen(tiny), 3);
	memset(many, 'a', sizeof(many));
	many[sizeof(many) - 1] = '\0';
	assert_int_equal(fault_parse(many, &config, error, sizeof(error)), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_damage_is_always_found),
		cmocka_unit_test(test_loss_of_all_and_healing),
		cmocka_unit_test(test_reorder),
		cmocka_unit_test(test_reorder_last),
		cmocka_unit_test(test_delay),
		cmocka_unit_test(test_delay_of_a_burst),
		cmocka_unit_test(test_jitter),
		cmocka_unit_test(test_overflow),
		cmocka_unit_test(test_repeats_by_seed),
		cmocka_unit_test(test_sending),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_rate_and_delay),
		cmocka_unit_test(test_queue_before_the_link),
		cmocka_unit_test(test_congestion_marks),
		cmocka_unit_test(test_lateness),
		cmocka_unit_test(test_long_frames_pass),
		cmocka_unit_test(test_long_frames_are_cut),
		cmocka_unit_test(test_damage_to_a_sum_left_undone),
		cmocka_unit_test(test_long_frames_on_a_link),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_parse_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
