/* test_path.c - how long packets may be: routers that say nothing (RFC 4821), and routers that lie (RFC
 * 5927). */
#include "harness.h"

#include <string.h>

#include "stack/internal.h"
#include "tcp/path.h"
#include "tcp/recovery.h"
#include "wire/icmp.h"

#define HEADERS     40u
#define STREAM      3000000u
#define TEN_MINUTES 600000u

static struct tcb *block(struct test *t, unsigned slot)
{
	return (struct tcb *)app_conn(t, slot);
}

static uint32_t mss_of(struct test *t)
{
	return block(t, 0)->mss;
}

/* A path that drops what is too long, and a receiver behind it. */
struct path {
	uint32_t mtu;          /* 0: nothing arrives */
	uint32_t tell;         /* a router tells this MTU of what is dropped; 0: it says nothing */
	bool sack, takes_more; /* what follows a packet that is dropped is dropped, too */
	bool dropping;
	uint32_t next; /* all before it has arrived */
	uint32_t dropped, longest;
	uint8_t got[STREAM + 2];
};

static struct path path;

/* Whatever else has come out. */
static void ack(struct test *t, uint32_t next)
{
	uint8_t frame[FRAME_ROOM];

	inject_raw(t, frame, build(t, frame, ". ack %u", next));
}

/* One acknowledgement for what has come; with SACK the last block beyond the hole. */
static void acknowledge(struct test *t, uint32_t start, uint32_t end)
{
	uint8_t frame[FRAME_ROOM];

	while (path.next < STREAM && path.got[path.next])
		path.next++;
	if (path.sack && start > path.next)
		inject_raw(t, frame, build(t, frame, ". ack %u sack %u-%u", path.next, start, end));
	else
		ack(t, path.next);
}

static void take_one(struct test *t)
{
	struct tcp_segment segment;
	uint32_t start, bytes;

	next_segment(t, &segment);
	start = segment.seq - t->peer->irs;
	bytes = segment.payload_bytes;
	if (path.dropping && path.takes_more) {
		path.dropping = false;
		return;
	}
	if (bytes + HEADERS > path.mtu) {
		path.dropping = true;
		path.dropped++;
		if (path.tell)
			inject_icmp_error(t, ICMP_UNREACHABLE, ICMP_CODE_FRAGMENTATION_NEEDED, path.tell,
					  start);
		return;
	}
	path.longest = bytes > path.longest ? bytes : path.longest;
	assert_true(start + bytes <= path.next + t->peer->window);
	assert_true(start + bytes <= STREAM);
	memset(path.got + start, 1, bytes);
	if (bytes)
		acknowledge(t, start, start + bytes);
}

/* What the stack sends crosses the path, for so long. */
static void run(struct test *t, uint32_t ms)
{
	for (uint32_t i = 0; i < ms; i += 10) {
		while (t->out_count > 0)
			take_one(t);
		pass_ms(t, 10);
	}
}

/* So many bytes more, until all has arrived. */
static void deliver(struct test *t, uint32_t bytes)
{
	uint32_t end = path.next + bytes, rounds = 0;

	path.longest = 0;
	assert_int_equal(app_send(t, 0, bytes), bytes);
	while (path.next < end) {
		run(t, 10);
		assert_true(++rounds < 6000);
	}
	run(t, 10);
	discard_out(t);
}

static struct test *begin_path(bool sack, uint32_t mtu)
{
	struct test *t = test_begin();

	memset(&path, 0, sizeof(path));
	path.mtu = mtu;
	path.sack = sack;
	path.next = 1;
	t->peer->offer_sack = sack;
	t->peer->window = 65535;
	t->services[0].send_bytes = 1 << 20;
	test_start(t);
	open_server(t);
	mark(t);
	return t;
}

/* --- routers that say nothing */

/* Two time-outs of a full segment, and the third goes in a packet of 1024 bytes, or of 552 then. */
static void full_segments_that_vanish_become_shorter(void **state)
{
	struct test *t = begin_path(false, 0);

	(void)state;
	app_send(t, 0, 2920);
	expect(t, ". seq 1 ack 1 len 1460");
	expect(t, "P. seq 1461 ack 1 len 1460");
	expect_after(t, 200, ". seq 1 ack 1 len 1460");
	expect_after(t, 400, ". seq 1 ack 1 len 1460");
	expect_after(t, 800, ". seq 1 ack 1 len 984");
	assert_int_equal(counted(t, tcp_path_black_holes), 1);
	expect_after(t, 1600, ". seq 1 ack 1 len 512");
	assert_int_equal(counted(t, tcp_path_black_holes), 2);
	expect_after(t, 3200, ". seq 1 ack 1 len 512");
	assert_int_equal(counted(t, tcp_path_black_holes), 2);
	inject(t, ". seq 1 ack 513");
	expect(t, ". seq 513 ack 1 len 512");
	expect(t, ". seq 1025 ack 1 len 512");
	inject(t, ". seq 1 ack 1537");
	discard_out(t);
	inject(t, ". seq 1 ack 2921");
	discard_out(t);
	test_finish(t);
}

static void timestamps_count_as_a_part_of_the_packet(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->peer->offer_timestamps = true;
	t->peer->window = 65535;
	t->services[0].send_bytes = 1 << 20;
	test_start(t);
	open_server(t);
	app_send(t, 0, 1448);
	expect(t, "P. seq 1 ack 1 len 1448");
	expect_after(t, 200, "P. seq 1 ack 1 len 1448");
	expect_after(t, 400, "P. seq 1 ack 1 len 1448");
	expect_after(t, 800, ". seq 1 ack 1 len 972");
	expect_after(t, 1600, ". seq 1 ack 1 len 500");
	inject(t, ". seq 1 ack 1449");
	discard_out(t);
	memset(&path, 0, sizeof(path));
	path.mtu = 1488; /* of 40 bytes of headers */
	path.next = 1449;
	assert_int_equal(app_send(t, 0, 60000), 60000);
	while (path.next < 61449)
		run(t, 10);
	assert_int_equal(mss_of(t), 1448);
	discard_out(t);
	test_finish(t);
}

static void short_segments_that_vanish_say_nothing_of_the_path(void **state)
{
	struct test *t = begin_path(false, 0);

	(void)state;
	app_send(t, 0, 500);
	pass_ms(t, 20000);
	assert_true(discard_out(t) > 4);
	assert_int_equal(counted(t, tcp_path_black_holes), 0);
	assert_int_equal(mss_of(t), 1460);
	inject(t, ". seq 1 ack 501");
	test_finish(t);
}

/* It was no narrow path: the first long packet that is tried arrives, and all are long again. */
static void an_outage_is_soon_forgotten(void **state)
{
	for (unsigned sack = 0; sack < 2; sack++) {
		struct test *t = begin_path(sack, 0);

		(void)state;
		app_send(t, 0, 60000);
		pass_ms(t, 5000);
		discard_out(t);
		assert_int_equal(mss_of(t), 512);
		path.mtu = 1500;
		while (path.next < 60001)
			run(t, 10);
		assert_int_equal(counted(t, tcp_path_trials), 1);
		assert_int_equal(counted(t, tcp_path_mtu_raised), 1);
		assert_int_equal(mss_of(t), 1460);
		assert_int_equal(path.longest, 1460);
		discard_out(t);
		assert_int_equal(usage(t).extensions, 0);
		test_finish(t);
	}
}

/* The longest of the sizes that are tried which the path carries; each that is lost costs one packet, and no
 * other is lost. */
static void the_size_is_found_by_trying(void **state)
{
	static const uint32_t cases[][2] = {{600, 552},   {1100, 1024}, {1300, 1280}, {1410, 1400},
					    {1459, 1440}, {1491, 1480}, {1499, 1492}, {1500, 1500}};

	(void)state;
	for (unsigned i = 0; i < 2 * ARRAY_COUNT(cases); i++) {
		struct test *t = begin_path(i % 2, cases[i / 2][0]);
		uint32_t found = cases[i / 2][1];

		deliver(t, 300000);
		assert_int_equal(mss_of(t), found - HEADERS);
		assert_int_equal(path.longest, found - HEADERS);
		assert_int_equal(counted(t, tcp_path_black_holes), found == 1500 ? 0 : found == 552 ? 2 : 1);
		assert_true(counted(t, tcp_path_trials) <= 6);
		mark(t);
		path.dropped = 0;
		deliver(t, 100000);
		assert_int_equal(counted(t, tcp_path_trials), 0);
		assert_int_equal(path.dropped, 0);
		stack_rebuild(t->stack, t->now_us);
		stack_verify(t->stack);
		assert_int_equal(usage(t).extensions, 0);
		test_finish(t);
	}
}

/* That a long packet is lost says nothing of congestion (RFC 4821 section 7.6.2). */
static void a_trial_that_is_lost_leaves_the_window(void **state)
{
	struct test *t = begin_path(true, 1300);
	uint32_t before;

	(void)state;
	deliver(t, 300000);
	pass_ms(t, TEN_MINUTES);
	block(t, 0)->cwnd = 40000;
	block(t, 0)->ssthresh = 30000;
	mark(t);
	path.dropped = 0;
	before = block(t, 0)->ssthresh;
	app_send(t, 0, 100000);
	for (unsigned i = 0; i < 200 && counted(t, tcp_path_trials) < 2; i++)
		run(t, 10);
	assert_true(path.dropped > 0);
	assert_int_equal(block(t, 0)->ssthresh, before);
	assert_true(block(t, 0)->cwnd >= 14000);
	assert_int_equal(counted(t, tcp_recoveries_undone), path.dropped);
	assert_int_equal(block(t, 0)->rack & RACK_REORDERING, 0); /* nor of reordering */
	run(t, 1000);
	discard_out(t);
	test_finish(t);
}

/* The path gets wider: it is found out some time later, not before, and only where much is sent. */
static void longer_packets_are_tried_after_a_while(void **state)
{
	struct test *t = begin_path(true, 1300);

	(void)state;
	deliver(t, 200000);
	assert_int_equal(mss_of(t), 1240);
	path.mtu = 1500;
	mark(t);
	pass_ms(t, TEN_MINUTES / 2);
	deliver(t, 50000);
	assert_int_equal(counted(t, tcp_path_trials), 0);
	pass_ms(t, TEN_MINUTES / 2);
	deliver(t, 100);
	assert_int_equal(counted(t, tcp_path_trials), 0);
	deliver(t, 50000);
	assert_int_equal(counted(t, tcp_path_trials), 1);
	assert_int_equal(mss_of(t), 1460);
	test_finish(t);
}

/* Other packets were lost, too: nothing is learnt, and it is tried again. */
static void a_trial_among_other_losses_decides_nothing(void **state)
{
	struct test *t = begin_path(true, 1300);

	(void)state;
	deliver(t, 200000);
	pass_ms(t, TEN_MINUTES);
	path.takes_more = true;
	mark(t);
	deliver(t, 60000);
	assert_int_equal(counted(t, tcp_path_trials), 1);
	assert_int_equal(counted(t, tcp_recoveries_undone), 0); /* it was congestion */
	path.mtu = 1500;
	pass_ms(t, 1000);
	deliver(t, 60000);
	assert_int_equal(counted(t, tcp_path_trials), 2);
	assert_int_equal(mss_of(t), 1460);
	test_finish(t);
}

/* Each time another one is lost, too: in the end that is an answer. */
static void it_is_not_tried_for_ever(void **state)
{
	struct test *t = begin_path(true, 1300);

	(void)state;
	deliver(t, 200000);
	pass_ms(t, TEN_MINUTES);
	path.takes_more = true;
	mark(t);
	for (unsigned i = 0; i < 30; i++) {
		pass_ms(t, 1000);
		deliver(t, 60000);
		if (i == 19) {
			assert_in_range(counted(t, tcp_path_trials), 8, 20); /* four of each size */
			mark(t);
		}
	}
	assert_int_equal(counted(t, tcp_path_trials), 0);
	assert_int_equal(mss_of(t), 1240);
	test_finish(t);
}

/* It arrives, though the one before it is lost. */
static void a_trial_that_arrives_among_losses(void **state)
{
	struct test *t = begin_path(true, 1300);
	uint32_t starts[64], bytes[64], count = 0, trial = 0;
	struct tcp_segment segment;

	(void)state;
	deliver(t, 200000);
	pass_ms(t, TEN_MINUTES);
	path.mtu = 1500;
	mark(t);
	assert_int_equal(app_send(t, 0, 60000), 60000);
	while (counted(t, tcp_path_trials) == 0)
		take_one(t);
	for (; t->out_count > 0; count++) {
		next_segment(t, &segment);
		starts[count] = segment.seq - t->peer->irs;
		bytes[count] = segment.payload_bytes;
		if (bytes[count] > 1240)
			trial = count;
	}
	assert_true(trial > 0);
	for (uint32_t i = 0; i < count; i++) {
		if (i == trial - 1)
			continue;
		memset(path.got + starts[i], 1, bytes[i]);
		acknowledge(t, starts[i], starts[i] + bytes[i]);
	}
	while (path.next < 260001)
		run(t, 10);
	discard_out(t);
	assert_int_equal(counted(t, tcp_path_trials), 1);
	assert_true(counted(t, tcp_retransmits) > 0);
	assert_int_equal(mss_of(t), 1460);
	test_finish(t);
}

/* All is lost for a while, the trial in the middle of it: that decides nothing either. */
static void a_trial_in_an_outage_decides_nothing(void **state)
{
	struct test *t = begin_path(true, 1300);

	(void)state;
	deliver(t, 200000);
	pass_ms(t, TEN_MINUTES);
	mark(t);
	path.mtu = 1500;
	app_send(t, 0, 60000);
	for (unsigned i = 0; i < 8 && counted(t, tcp_path_trials) == 0; i++) {
		pass_ms(t, 1);
		take_one(t); /* segment by segment, until it is on its way */
	}
	assert_int_equal(counted(t, tcp_path_trials), 1);
	pass_ms(t, 300); /* and nothing of all that arrives */
	discard_out(t);
	assert_int_equal(mss_of(t), 1240);
	while (path.next < 260001)
		run(t, 10);
	pass_ms(t, 2000);
	deliver(t, 60000);
	assert_int_equal(counted(t, tcp_path_trials), 2);
	assert_int_equal(mss_of(t), 1460); /* the size at first is tried again */
	test_finish(t);
}

/* The interface's MTU falls while it is on its way: all goes again, and that it arrives says nothing. */
static void a_trial_when_the_interface_changes(void **state)
{
	struct test *t = begin_path(true, 1300);
	struct stack_message message = {.kind = STACK_SET_LINK, .value = 1200};

	(void)state;
	deliver(t, 200000);
	pass_ms(t, TEN_MINUTES);
	path.mtu = 1500;
	mark(t);
	app_send(t, 0, 60000);
	while (counted(t, tcp_path_trials) == 0)
		take_one(t);
	discard_out(t);
	message.mac = t->config.mac;
	assert_int_equal(stack_control(t->stack, t->now_us, &message), 0);
	while (path.next < 260001)
		run(t, 10);
	assert_int_equal(counted(t, tcp_path_mtu_raised), 0);
	assert_int_equal(mss_of(t), 1160);
	discard_out(t);
	test_finish(t);
}

/* What would be beyond the peer's window is not tried, nor what is longer than the interface takes by now. */
static void a_trial_has_its_limits(void **state)
{
	struct test *t = begin_path(true, 1300);

	(void)state;
	deliver(t, 200000);
	pass_ms(t, TEN_MINUTES);
	path.mtu = 1500;
	t->peer->window = 2600;
	inject(t, ". ack %u win 2600", path.next);
	mark(t);
	deliver(t, 50000);
	assert_int_equal(counted(t, tcp_path_trials), 0);
	t->peer->window = 65535;
	inject(t, ". ack %u win 65535", path.next);
	t->stack->core.net.destinations.routes.mtu = 1400;
	deliver(t, 50000);
	assert_int_equal(counted(t, tcp_path_trials), 0);
	t->stack->core.net.destinations.routes.mtu = 1500;
	test_finish(t);
}

/* Its loss would be noticed by a time-out only, if nothing followed it. */
static void a_trial_is_never_the_last(void **state)
{
	struct test *t = begin_path(true, 1300);

	(void)state;
	deliver(t, 200000);
	pass_ms(t, TEN_MINUTES);
	path.mtu = 1500;
	mark(t);
	for (unsigned i = 0; i < 4; i++)
		app_send(t, 0, 3720);
	run(t, 100);
	discard_out(t);
	assert_int_equal(counted(t, tcp_path_trials), 0);
	test_finish(t);
}

/* Who sends nothing any more keeps nothing attached. */
static void a_trial_that_never_left_is_let_go(void **state)
{
	struct test *t = begin_path(true, 1300);

	(void)state;
	deliver(t, 200000);
	pass_ms(t, TEN_MINUTES);
	mark(t);
	deliver(t, 3000); /* enough to think of it, too little to do it */
	assert_int_equal(counted(t, tcp_path_trials), 0);
	assert_int_equal(usage(t).extensions, 0);
	test_finish(t);
}

static void without_an_extension_nothing_is_tried(void **state)
{
	struct test *t = begin_path(false, 1300);

	(void)state;
	deliver(t, 300000);
	pass_ms(t, TEN_MINUTES);
	while (pool_take(&t->stack->core.extensions) != POOL_NONE)
		;
	mark(t);
	path.mtu = 1500;
	deliver(t, 100000);
	assert_int_equal(counted(t, tcp_path_trials), 0);
	assert_int_equal(mss_of(t), 1240);
	for (uint32_t i = 0; i < t->stack->core.extensions.capacity; i++)
		pool_give(&t->stack->core.extensions, i);
	test_finish(t);
}

/* Two connections share a place: the second gets shorter packets as well, and stays with them. */
static void without_a_place_it_stays_short(void **state)
{
	struct test *t = begin_path(false, 1300);

	(void)state;
	t->stack->core.tune_mask = 0;
	deliver(t, 300000);
	assert_int_equal(mss_of(t), 1240);
	use_peer(t, 1);
	open_server(t);
	mark(t);
	app_send(t, 1, 1460);
	pass_ms(t, 1500);
	discard_out(t);
	assert_int_equal(block(t, 1)->mss, 984);
	assert_int_equal(counted(t, tcp_paths_without_place), 1);
	inject(t, ". seq 1 ack 1461");
	pass_ms(t, TEN_MINUTES);
	app_send(t, 1, 20000);
	for (unsigned i = 0; i < 100; i++) {
		struct tcp_segment segment;

		while (t->out_count > 0) {
			next_segment(t, &segment);
			assert_true(segment.payload_bytes <= 984);
			ack(t, segment.seq + segment.payload_bytes - t->peer->irs);
		}
		pass_ms(t, 10);
	}
	assert_int_equal(block(t, 1)->snd_bytes, 0);
	app_abort(t, 0); /* the first ends, and its place is free */
	discard_events(t);
	discard_out(t);
	app_send(t, 1, 984);
	pass_ms(t, 5000);
	discard_out(t);
	assert_int_equal(block(t, 1)->mss, 512);
	assert_int_equal(counted(t, tcp_paths_without_place), 1);
	inject(t, ". ack 22445");
	test_finish(t);
}

/* --- routers that speak */

static void tell(struct test *t, uint32_t mtu, uint32_t seq)
{
	inject_icmp_error(t, ICMP_UNREACHABLE, ICMP_CODE_FRAGMENTATION_NEEDED, mtu, seq);
}

/* A quote of a packet that was no longer than what would fit. */
static void tell_of(struct test *t, uint32_t mtu, uint32_t seq, uint16_t quoted_bytes)
{
	uint8_t frame[FRAME_ROOM], quote[IPV4_HEADER_BYTES + 8] = {0};
	const struct ipv4_header ip = {.source = STACK_IP,
				       .destination = t->peer->ip,
				       .flags = IPV4_DF,
				       .ttl = 60,
				       .protocol = IP_PROTOCOL_TCP,
				       .total_bytes = quoted_bytes};

	ipv4_emit(quote, &ip);
	put16(quote + 20, t->peer->stack_port);
	put16(quote + 22, t->peer->port);
	put32(quote + 24, t->peer->irs + seq);
	inject_raw(t, frame,
		   build_icmp(t, frame, ICMP_UNREACHABLE, ICMP_CODE_FRAGMENTATION_NEEDED, mtu, quote,
			      sizeof(quote)));
}

static void a_quote_that_contradicts_itself(void **state)
{
	struct test *t = begin_path(false, 1500);

	(void)state;
	app_send(t, 0, 1460);
	expect(t, "P. seq 1 ack 1 len 1460");
	tell_of(t, 1000, 1, 1000);
	expect_drop(t, ICMP_LIE);
	tell_of(t, 300, 1, 552); /* below the least that is believed */
	expect_drop(t, ICMP_LIE);
	expect_nothing(t);
	assert_int_equal(mss_of(t), 1460);
	tell_of(t, 1000, 1, 1001);
	expect(t, ". seq 1 ack 1 len 960");
	discard_out(t);
	inject(t, ". seq 1 ack 1461");
	test_finish(t);
}

/* Old routers give no MTU: the next smaller size that links of their time had. */
/* proves RFC1191-01 */
static void a_router_that_gives_no_mtu(void **state)
{
	struct test *t = begin_path(false, 1500);

	(void)state;
	app_send(t, 0, 1460);
	expect(t, "P. seq 1 ack 1 len 1460");
	tell(t, 0, 1);
	expect(t, ". seq 1 ack 1 len 1452");
	discard_out(t);
	tell_of(t, 0, 1, 1492);
	expect(t, ". seq 1 ack 1 len 966");
	discard_out(t);
	inject(t, ". seq 1 ack 1461");
	test_finish(t);
}

/* A path that gets narrow twice: at the start each router is believed at once. */
static void two_routers_at_the_start(void **state)
{
	struct test *t = begin_path(false, 1500);

	(void)state;
	app_send(t, 0, 14600);
	assert_int_equal(discard_out(t), 10);
	tell(t, 1400, 1);
	expect(t, ". seq 1 ack 1 len 1360");
	discard_out(t);
	tell(t, 1300, 1);
	expect(t, ". seq 1 ack 1 len 1260");
	discard_out(t);
	assert_int_equal(counted(t, tcp_path_mtu_lowered), 2);
	inject(t, ". seq 1 ack 14601");
	discard_out(t);
	app_send(t, 0, 1260);
	discard_out(t);
	tell(t, 1200, 14601); /* but now that something has arrived */
	expect_nothing(t);
	assert_int_equal(counted(t, tcp_path_mtu_doubted), 1);
	inject(t, ". seq 1 ack 15861");
	test_finish(t);
}

/* Nor is a connection young that has lost something: its window is small, and long packets have arrived. */
static void a_small_window_is_no_start(void **state)
{
	struct test *t = begin_path(false, 1500);

	(void)state;
	deliver(t, 50000);
	app_send(t, 0, 1460);
	discard_out(t);
	pass_ms(t, 250);
	discard_out(t);
	inject(t, ". ack 51461");
	assert_true(block(t, 0)->cwnd <= 14600);
	app_send(t, 0, 1460);
	discard_out(t);
	mark(t);
	tell(t, 600, 51461);
	expect_nothing(t);
	assert_int_equal(counted(t, tcp_path_mtu_doubted), 1);
	inject(t, ". ack 52921");
	test_finish(t);
}

/* Seed 1799514: what used a small window in the end was too long, and went again and again: the router's word
 * was never put to the proof. */
static void what_fills_a_small_window_gets_shorter(void **state)
{
	struct test *t = begin_path(false, 1500);

	(void)state;
	deliver(t, 50000);
	inject(t, ". ack 50001 win 800");
	app_send(t, 0, 2000);
	expect_nothing(t);
	for (unsigned i = 0; i < 40 && t->out_count == 0; i++)
		pass_ms(t, 10);
	expect(t, ". seq 50001 ack 1 len 800");
	tell(t, 600, 50001);
	expect_nothing(t);
	for (unsigned i = 0; i < 100 && t->out_count == 0; i++)
		pass_ms(t, 10);
	expect(t, ". seq 50001 ack 1 len 560");
	expect(t, ". seq 50561 ack 1 len 240"); /* and what else the window holds */
	discard_out(t);
	inject(t, ". ack 50801 win 65535");
	discard_out(t);
	inject(t, ". ack 51921");
	discard_out(t);
	inject(t, ". ack 52001");
	test_finish(t);
}

/* A lie that was never proved holds no place for long. */
static void a_doubted_word_gives_its_place_back(void **state)
{
	struct test *t = begin_path(false, 1500);

	(void)state;
	t->stack->core.tune_mask = 0;
	deliver(t, 50000);
	app_send(t, 0, 1460);
	discard_out(t);
	tell(t, 600, path.next);
	inject(t, ". ack 51461");
	use_peer(t, 1);
	open_server(t);
	pass_ms(t, 121000);
	mark(t);
	app_send(t, 1, 1460);
	pass_ms(t, 1500);
	discard_out(t);
	assert_int_equal(block(t, 1)->mss, 984);
	assert_int_equal(counted(t, tcp_paths_without_place), 0);
	inject(t, ". seq 1 ack 1461");
	discard_out(t);
	test_finish(t);
}

/* Once long packets have arrived a router's word needs proof: as long as they go on arriving it is a lie. */
static void a_lie_about_what_arrives(void **state)
{
	struct test *t = begin_path(false, 1500);

	(void)state;
	deliver(t, 50000);
	mark(t);
	app_send(t, 0, 1460);
	assert_int_equal(discard_out(t), 1);
	tell(t, 600, path.next);
	expect_nothing(t);
	assert_int_equal(counted(t, tcp_path_mtu_doubted), 1);
	inject(t, ". ack 51461"); /* it has arrived */
	path.next = 51461;
	path.mtu = 0;
	app_send(t, 0, 1460);
	pass_ms(t, 500); /* another packet is lost: that is no proof */
	discard_out(t);
	assert_int_equal(mss_of(t), 1460);
	assert_int_equal(counted(t, tcp_path_mtu_lowered), 0);
	inject(t, ". ack 52921");
	test_finish(t);
}

static void a_word_that_a_timeout_proves(void **state)
{
	struct test *t = begin_path(false, 1500);

	(void)state;
	deliver(t, 50000);
	mark(t);
	app_send(t, 0, 1460);
	assert_int_equal(discard_out(t), 1);
	tell(t, 600, path.next);
	expect_nothing(t);
	expect_after(t, 200, ". seq 50001 len 560");
	assert_int_equal(counted(t, tcp_path_mtu_lowered), 1);
	assert_int_equal(counted(t, tcp_path_mtu_doubted), 1);
	inject(t, ". ack 51461");
	discard_out(t);
	test_finish(t);
}

/* Nobody waits for ever for the proof. */
static void an_old_word_is_forgotten(void **state)
{
	struct test *t = begin_path(false, 1500);

	(void)state;
	deliver(t, 50000);
	app_send(t, 0, 1460);
	discard_out(t);
	tell(t, 600, path.next + 100); /* in the middle of the segment */
	inject(t, ". ack %u", path.next + 50);
	discard_out(t);
	block(t, 0)->rtx_tick += 130000; /* as if nothing had to be sent again for so long */
	pass_ms(t, 131000);
	discard_out(t);
	assert_int_equal(counted(t, tcp_path_mtu_lowered), 0);
	inject(t, ". ack 51461");
	discard_out(t);
	test_finish(t);
}

/* After a router's word, too, longer packets are tried some time later. */
static void a_word_holds_for_ten_minutes(void **state)
{
	struct test *t = begin_path(true, 1300);

	(void)state;
	path.tell = 1300;
	deliver(t, 50000);
	assert_int_equal(mss_of(t), 1260);
	assert_int_equal(counted(t, tcp_path_black_holes), 0);
	assert_int_equal(counted(t, tcp_path_trials), 0);
	pass_ms(t, TEN_MINUTES);
	path.dropped = 0;
	deliver(t, 100000); /* what the router says of the first one saves all others */
	assert_int_equal(path.dropped, 1);
	assert_int_equal(counted(t, tcp_path_trials), 1);
	assert_int_equal(mss_of(t), 1260);
	pass_ms(t, TEN_MINUTES);
	path.mtu = 1500;
	deliver(t, 100000);
	assert_int_equal(mss_of(t), 1460);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(full_segments_that_vanish_become_shorter),
	TEST(timestamps_count_as_a_part_of_the_packet),
	TEST(short_segments_that_vanish_say_nothing_of_the_path),
	TEST(an_outage_is_soon_forgotten),
	TEST(the_size_is_found_by_trying),
	TEST(a_trial_that_is_lost_leaves_the_window),
	TEST(longer_packets_are_tried_after_a_while),
	TEST(a_trial_among_other_losses_decides_nothing),
	TEST(it_is_not_tried_for_ever),
	TEST(a_trial_that_arrives_among_losses),
	TEST(a_trial_in_an_outage_decides_nothing),
	TEST(a_trial_when_the_interface_changes),
	TEST(a_trial_has_its_limits),
	TEST(a_trial_is_never_the_last),
	TEST(a_trial_that_never_left_is_let_go),
	TEST(without_an_extension_nothing_is_tried),
	TEST(without_a_place_it_stays_short),
	TEST(a_quote_that_contradicts_itself),
	TEST(a_router_that_gives_no_mtu),
	TEST(two_routers_at_the_start),
	TEST(a_small_window_is_no_start),
	TEST(what_fills_a_small_window_gets_shorter),
	TEST(a_doubted_word_gives_its_place_back),
	TEST(a_lie_about_what_arrives),
	TEST(a_word_that_a_timeout_proves),
	TEST(an_old_word_is_forgotten),
	TEST(a_word_holds_for_ten_minutes),
};

PACKET_MAIN(tests)
