/* test_fault.c - the port "fault": how often each fault strikes, order, time, repetition, parsing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "port/fault.h"
#include "port/link.h"

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
	assert_int_equal(stats->seen + stats->duplicated, stats->passed + stats->lost + stats->overflowed);
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
	/* Of all damaged frames some came twice; two flips of one bit undo each other, but rarely. */
	assert_true(rig->damaged >= stats->corrupted * 99 / 100 &&
		    rig->damaged <= stats->corrupted * 105 / 100);
	for (uint32_t i = 0; i < FRAME_BYTES; i++)
		assert_int_equal(rig->struck[i], i >= 14);
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
		cmocka_unit_test(test_loss_of_all_and_healing),
		cmocka_unit_test(test_reorder),
		cmocka_unit_test(test_reorder_last),
		cmocka_unit_test(test_delay),
		cmocka_unit_test(test_delay_of_a_burst),
		cmocka_unit_test(test_jitter),
		cmocka_unit_test(test_overflow),
		cmocka_unit_test(test_repeats_by_seed),
		cmocka_unit_test(test_sending),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_parse_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
