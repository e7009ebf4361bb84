/* test_scale.c - more connections than 16 bits count: traps of design section 7 that need many. */
#include "harness.h"

#include <stdlib.h>
#include <time.h>

#include "stack/internal.h"

#define MANY  70000u
#define PROBE 2000u

static size_t echo(c10m_conn *conn, const void *data, size_t bytes)
{
	return c10m_send(conn, data, bytes);
}

/* Peer i: 25,000 ports on each of a few hosts. */
static void aim(struct test *t, unsigned i)
{
	t->peer->ip = PEER_IP + i / 25000;
	t->peer->port = (uint16_t)(1024 + i % 25000);
	t->peer->snd_nxt = 0;
	t->peer->irs_known = false;
}

static uint32_t open_one(struct test *t, unsigned i)
{
	aim(t, i);
	inject(t, "S seq 0 win 60000 mss 1460");
	expect(t, "S. seq 0 ack 1 mss 1460");
	inject(t, ". seq 1 ack 1");
	return t->peer->irs;
}

static struct test *begin_echo(uint32_t connections)
{
	struct test *t = test_begin();

	t->config.connections = connections;
	t->services[0] = (struct c10m_service){.name = "echo", .port = SERVER_PORT, .on_data = echo};
	test_start(t);
	return t;
}

/* An index wider than the field it is stored in: connections 65,536 apart must not meet. */
static void trap_index_wider_than_its_field(void **state)
{
	static const unsigned looked_at[] = {0, 1, 4463, 4464, 65534, 65535, 65536, 65537, MANY - 1};
	struct test *t = begin_echo(MANY);
	uint32_t *irs = calloc(MANY, sizeof(*irs));

	(void)state;
	assert_non_null(irs);
	for (unsigned i = 0; i < MANY; i++)
		irs[i] = open_one(t, i);
	assert_int_equal(usage(t).connections, MANY);
	for (unsigned i = 0; i < ARRAY_COUNT(looked_at); i++) {
		aim(t, looked_at[i]);
		t->peer->irs = irs[looked_at[i]];
		t->peer->irs_known = true;
		t->peer->rcv_nxt = 1;
		inject(t, "P. seq 1 ack 1 len %u", 10 + i);
		expect(t, "P. seq 1 ack %u len %u", 11 + i, 10 + i);
	}
	stack_verify(t->stack);
	pass_ms(t, 205); /* those, and no others, send again */
	assert_int_equal(discard_out(t), ARRAY_COUNT(looked_at));
	free(irs);
	test_finish(t);
}

/* Processor seconds to open and reset some connections, and to let their timers pass. */
static double churn(struct test *t, unsigned first)
{
	clock_t start = clock();

	for (unsigned i = first; i < first + PROBE; i++) {
		open_one(t, i);
		inject(t, "P. seq 1 ack 1 len 1");
		expect(t, "P. seq 1 ack 2 len 1");
		inject(t, "R seq 2");
	}
	return (double)(clock() - start) / CLOCKS_PER_SEC;
}

/* Linear scans over connections in timers, lookup or close: 60,000 others must not make it ten times slower.
 */
static void trap_linear_scans(void **state)
{
	struct test *t = begin_echo(MANY);
	double alone, among_many;

	(void)state;
	alone = churn(t, MANY);
	for (unsigned i = 0; i < 60000; i++)
		open_one(t, i);
	among_many = churn(t, MANY);
	if (among_many > 10 * alone + 0.05)
		fail_msg("%.3f s among 60,000 connections, %.3f s alone", among_many, alone);
	test_finish(t);
}

/* A peer whose handshake's numbers are known sends one byte and acknowledges all echoes before it. */
static void say_one(struct test *t, unsigned i, uint32_t irs, uint32_t said)
{
	aim(t, i);
	t->peer->irs = irs;
	t->peer->irs_known = true;
	t->peer->rcv_nxt = 1 + said;
	inject(t, "P. seq %u ack %u len 1", 1 + said, 1 + said);
}

/* No entry is left in the wheel: blocks are swept (design idea 10). One that goes on and on lacking an entry
 * must not keep the sweep from those that lie behind. */
static void without_a_timer_entry_all_blocks_are_swept(void **state)
{
	struct test *t = begin_echo(3000);
	struct core *core = &t->stack->core;
	uint32_t first, last, said = 0;

	(void)state;
	core->wheel = wheel_init(core->wheel, 0, core->now_tick);
	first = open_one(t, 0);
	for (unsigned i = 1; i < 2999; i++)
		open_one(t, i);
	last = open_one(t, 2999);
	say_one(t, 2999, last, 0);
	discard_out(t);
	mark(t);
	for (unsigned ms = 0; ms < 240; ms++) {
		t->now_us += MS;
		say_one(t, 0, first, said++);
		discard_out(t);
	}
	assert_true(stack_counters(t->stack)->timer_sweeps >= 1);
	assert_int_equal(counted(t, tcp_retransmits), 1);
	discard_out(t);
	aim(t, 2999);
	t->peer->irs = last;
	inject(t, "R seq 2");
	aim(t, 0);
	t->peer->irs = first;
	inject(t, "R seq %u", 1 + said);
	for (unsigned calls = 0; calls < 4; calls++)
		flush(t);
	assert_true(stack_deadline(t->stack) > t->now_us); /* nobody lacks an entry now: it has ended */
	test_finish(t);
}

/* Time has stood still, and all timers are due: one call runs some of them, the next ones the others. */
static void a_call_runs_a_bounded_number_of_timers(void **state)
{
	const unsigned connections = 9000, most = 4500;
	struct test *t = begin_echo(connections);
	struct packet packet = {.data = t->out[0].data, .room = FRAME_ROOM};
	uint64_t fired = 0;

	(void)state;
	for (unsigned i = 0; i < connections; i++) {
		say_one(t, i, open_one(t, i), 0);
		discard_out(t);
	}
	mark(t);
	t->now_us += 10 * SECOND;
	while (counted(t, timer_fired) < connections) {
		assert_true(stack_deadline(t->stack) <= t->now_us);
		stack_tx(t->stack, t->now_us, &packet, 1);
		assert_in_range(counted(t, timer_fired) - fired, 1, most);
		fired = counted(t, timer_fired);
	}
	while (stack_has_output(t->stack))
		stack_tx(t->stack, t->now_us, &packet, 1);
	assert_int_equal(counted(t, tcp_retransmits), connections);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(trap_index_wider_than_its_field),
	TEST(trap_linear_scans),
	TEST(without_a_timer_entry_all_blocks_are_swept),
	TEST(a_call_runs_a_bounded_number_of_timers),
};

PACKET_MAIN(tests)
