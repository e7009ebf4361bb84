/* test_handover.c - whose frame is whose: what stays, what goes, what is lost, and who hears of neighbours.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "port/port.h"
#include "run/fleet.h"
#include "run/mailbox.h"
#include "wire/arp.h"
#include "wire/ipv4.h"

#define WORKERS 3u

/* --- a stack that takes notes ---------------------------------------------------------------- */

struct stack {
	uint32_t controls;
	struct stack_message last;
};

static struct stack stacks[WORKERS];

c10m_worker *stack_worker(struct stack *of)
{
	return (c10m_worker *)of;
}

void stack_begin(struct stack *of, uint64_t now_us)
{
	(void)of;
	(void)now_us;
}

int stack_control(struct stack *of, uint64_t now_us, const struct stack_message *message)
{
	(void)now_us;
	of->controls++;
	of->last = *message;
	return 0;
}

/* --- the rig ------------------------------------------------------------------------------------ */

static struct fleet fleet;
static struct waker wakers[WORKERS];
static uint8_t frames[PORT_BURST][128];
static struct packet packets[PORT_BURST];

static int setup(void **state)
{
	struct fleet_config config = {
		.workers = WORKERS, .key = {5, 6}, .all = OWNER_BY_HASH, .ring_bytes = FRAME_RING_BYTES_MIN};
	char error[FLEET_ERROR_BYTES];

	(void)state;
	memset(stacks, 0, sizeof(stacks));
	config.pages = SYS_PAGES_PLAIN;
	for (uint32_t i = 0; i < WORKERS; i++) {
		assert_int_equal(waker_init(&wakers[i]), 0);
		config.worker[i] = (struct fleet_worker){&wakers[i], -1, i};
		mailbox_open(mailbox_at(i), &stacks[i], &wakers[i]);
	}
	assert_int_equal(fleet_init(&fleet, &config, error), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < WORKERS; i++) {
		mailbox_close(mailbox_at(i), 0);
		waker_fini(&wakers[i]);
	}
	fleet_fini(&fleet);
	return 0;
}

/* A segment from this port; the first byte of what follows its ports is a number. */
static uint32_t make_segment(uint32_t slot, uint16_t port)
{
	const struct eth_header eth = {{{2, 0, 0, 0, 0, 1}}, {{2, 0, 0, 0, 0, 2}}, ETH_TYPE_IPV4};
	const struct ipv4_header ip = {.source = 0x0a000002,
				       .destination = 0x0a000001,
				       .total_bytes = 46,
				       .ttl = 64,
				       .protocol = IP_PROTOCOL_TCP};
	uint8_t *frame = frames[slot];

	eth_emit(frame, &eth);
	ipv4_emit(frame + ETH_HEADER_BYTES, &ip);
	put16(frame + 34, port);
	put16(frame + 36, 80);
	frame[38] = (uint8_t)slot;
	packets[slot] = (struct packet){.data = frame, .bytes = 60, .port_ref = slot};
	return owner_of(&fleet.owner, &(struct tuple4){0x0a000001, 0x0a000002, 80, port});
}

static void make_arp(uint32_t slot, uint16_t operation, uint32_t sender)
{
	const struct eth_header eth = {eth_broadcast, {{2, 0, 0, 0, 0, 7}}, ETH_TYPE_ARP};
	const struct arp_packet arp = {.operation = operation,
				       .sender = {{2, 0, 0, 0, 0, 7}},
				       .sender_ip = sender,
				       .target_ip = 0x0a000001};

	memset(frames[slot], 0, sizeof(frames[slot]));
	eth_emit(frames[slot], &eth);
	arp_emit(frames[slot] + ETH_HEADER_BYTES, &arp);
	packets[slot] = (struct packet){.data = frames[slot], .bytes = 60, .port_ref = slot};
}

/* --- the tests ------------------------------------------------------------------------------------ */

static void ours_come_first_and_theirs_arrive(void **state)
{
	uint32_t owners[PORT_BURST], counts[WORKERS] = {0}, ours, at;
	bool seen[PORT_BURST] = {false};
	struct packet got[PORT_BURST];

	(void)state;
	for (uint32_t i = 0; i < PORT_BURST; i++)
		counts[owners[i] = make_segment(i, (uint16_t)(1000 + i * 7))]++;
	ours = handover_sort(&fleet.handovers[1], packets, PORT_BURST, 0);
	assert_int_equal(ours, counts[1]);
	for (uint32_t i = 0, last = 0; i < PORT_BURST; i++) { /* each once, ours in order */
		uint32_t slot = (uint32_t)packets[i].port_ref;

		assert_false(seen[slot]);
		seen[slot] = true;
		assert_int_equal(owners[slot] == 1, i < ours);
		assert_true(i == 0 || i >= ours || slot > last);
		last = slot;
	}
	for (uint32_t to = 0; to < WORKERS; to += 2) {
		assert_true(handover_waits(&fleet.handovers[to]));
		assert_int_equal(handover_take(&fleet.handovers[to], 1, got, PORT_BURST), counts[to]);
		at = 0;
		for (uint32_t i = 0; i < PORT_BURST; i++)
			if (owners[i] == to)
				assert_memory_equal(got[at++].data, frames[i], 60);
		handover_release(&fleet.handovers[to], 1);
		assert_false(handover_waits(&fleet.handovers[to]));
		assert_int_equal(handover_take(&fleet.handovers[to], 2 - to, got, PORT_BURST), 0);
	}
	assert_int_equal(fleet.handovers[1].stats.landed, PORT_BURST);
	assert_int_equal(fleet.handovers[1].stats.given, PORT_BURST - ours);
	assert_int_equal(fleet.handovers[0].stats.taken, counts[0]);
}

/* An owner that does not read loses what does not fit, and nobody waits for it. */
static void a_full_ring_loses_and_counts(void **state)
{
	uint32_t fits = FRAME_RING_BYTES_MIN / 128, sent = 0;
	struct packet got[PORT_BURST];
	uint16_t port = 1;

	(void)state;
	while (make_segment(0, port) != 2)
		port++;
	for (; sent < fits + 100; sent++) {
		make_segment(0, port);
		assert_int_equal(handover_sort(&fleet.handovers[0], packets, 1, 0), 0);
	}
	assert_int_equal(fleet.handovers[0].stats.given, sent);
	assert_int_equal(fleet.handovers[0].stats.lost, 100);
	assert_int_equal(handover_take(&fleet.handovers[2], 0, got, PORT_BURST), PORT_BURST);
	handover_release(&fleet.handovers[2], 0);
	make_segment(0, port);
	handover_sort(&fleet.handovers[0], packets, 1, 0);
	assert_int_equal(fleet.handovers[0].stats.lost, 100);
}

static void neighbours_are_told_to_all(void **state)
{
	struct packet got[PORT_BURST];

	(void)state;
	make_arp(0, ARP_REPLY, 0x0a000063);
	assert_int_equal(handover_sort(&fleet.handovers[1], packets, 1, 5), 0);
	assert_int_equal(handover_take(&fleet.handovers[0], 1, got, PORT_BURST),
			 1); /* the frame is worker 0's */
	for (uint32_t i = 0; i < WORKERS; i++)
		mailbox_run(mailbox_at(i), 10);
	assert_int_equal(stacks[0].controls, 0);
	for (uint32_t i = 1; i < WORKERS; i++) {
		assert_int_equal(stacks[i].controls, 1);
		assert_int_equal(stacks[i].last.kind, STACK_HEAR_NEIGHBOUR);
		assert_int_equal(stacks[i].last.address, 0x0a000063);
		assert_int_equal(stacks[i].last.mac.octets[5], 7);
	}
	assert_int_equal(fleet.handovers[1].stats.neighbours_told, 2);
}

static void a_flood_of_arp_leaves_the_mailboxes_alone(void **state)
{
	uint32_t before;

	(void)state;
	for (uint32_t round = 0; round < 100; round++) {
		for (uint32_t i = 0; i < PORT_BURST; i++)
			make_arp(i, ARP_REQUEST, 0x0a000100 + round * PORT_BURST + i);
		assert_int_equal(handover_sort(&fleet.handovers[0], packets, PORT_BURST, 7000), PORT_BURST);
	}
	assert_true(fleet.handovers[0].stats.neighbours_told <= 64); /* all within one millisecond */
	before = (uint32_t)fleet.handovers[0].stats.neighbours_told;
	make_arp(0, ARP_REQUEST, 0x0a000063);
	handover_sort(&fleet.handovers[0], packets, 1, 8000);
	assert_int_equal(fleet.handovers[0].stats.neighbours_told, before + 2);
	/* Cut short, it is nobody's and told to nobody. */
	make_arp(0, ARP_REQUEST, 0x0a000063);
	packets[0].bytes = ETH_HEADER_BYTES + ARP_BYTES - 1;
	handover_sort(&fleet.handovers[0], packets, 1, 9000);
	assert_int_equal(fleet.handovers[0].stats.neighbours_told, before + 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(ours_come_first_and_theirs_arrive, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_ring_loses_and_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(neighbours_are_told_to_all, setup, teardown),
		cmocka_unit_test_setup_teardown(a_flood_of_arp_leaves_the_mailboxes_alone, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
