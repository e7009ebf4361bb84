/* test_scale.c - more connections than 16 bits count: traps of design section 7 that need many. */
#include "harness.h"

#include <stdlib.h>
#include <time.h>

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

static const struct CMUnitTest tests[] = {
	TEST(trap_index_wider_than_its_field),
	TEST(trap_linear_scans),
};

PACKET_MAIN(tests)
