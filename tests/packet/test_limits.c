/* test_limits.c - who may open a connection: lists of prefixes, caps for each source (c10m_limits). */
#include "harness.h"

#include <errno.h>

#include "stack/internal.h"

#define PREFIX(a, b, c, d, n) \
	{ \
		.bits = (n), .address = {(uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d) } \
	}

static const struct c10m_prefix everybody = PREFIX(0, 0, 0, 0, 0), neighbours = PREFIX(10, 0, 0, 0, 24),
				the_peer = PREFIX(10, 0, 0, 2, 32), low_half = PREFIX(10, 0, 0, 0, 29);

static void set_limits(struct test *t, const struct c10m_limits *limits)
{
	flush(t);
	assert_int_equal(c10m_limits_set(stack_worker(t->stack), 0, limits), 0);
	flush(t);
}

static struct test *begin_limited(const struct c10m_limits *limits)
{
	struct test *t = test_begin();

	for (unsigned i = 0; i < PEERS_MAX; i++) /* three hosts */
		t->peers[i].ip = PEER_IP + i / 6;
	test_start(t);
	set_limits(t, limits);
	return t;
}

static void send_syn(struct test *t, unsigned peer)
{
	use_peer(t, peer);
	t->peer->snd_nxt = 0;
	inject(t, "S seq 0 win 1000 mss 1460");
}

static void reset_at_the_end(struct test *t, unsigned peer, unsigned slot)
{
	use_peer(t, peer);
	inject(t, "R seq 1");
	if (slot)
		expect_event(t, "close reset#%u", slot);
	else
		expect_event(t, "close reset");
}

static uint64_t sources_hold(struct test *t)
{
	stack_verify(t->stack); /* table and blocks agree */
	return usage(t).source_connections;
}

/* --- lists */

static void denied_in_silence(void **state)
{
	struct test *t = begin_limited(&(struct c10m_limits){.deny = &the_peer, .deny_count = 1});

	(void)state;
	send_syn(t, 0);
	expect_nothing(t);
	expect_drop(t, LIMIT_DENIED);
	inject(t, ". seq 1 aack 77 len 10"); /* nothing at all is answered */
	expect_nothing(t);
	expect_drop(t, LIMIT_DENIED);
	inject(t, "S. seq 1 aack 77 win 1000 mss 1460");
	expect_nothing(t);
	expect_drop(t, LIMIT_DENIED);
	assert_int_equal(usage(t).half_open, 0);
	use_peer(t, 6);
	open_server(t);
	test_finish(t);
}

static void denied_by_a_reset(void **state)
{
	struct test *t = begin_limited(
		&(struct c10m_limits){.deny = &the_peer, .deny_count = 1, .flags = C10M_LIMITS_RESET});

	(void)state;
	send_syn(t, 0);
	expect(t, "R. aseq 0 ack 1");
	expect_drop(t, LIMIT_DENIED);
	test_finish(t);
}

static void only_who_is_allowed(void **state)
{
	struct test *t = begin_limited(&(struct c10m_limits){.allow = &the_peer, .allow_count = 1});

	(void)state;
	send_syn(t, 6);
	expect_drop(t, LIMIT_DENIED);
	use_peer(t, 0);
	open_server(t);
	test_finish(t);
}

static void the_longest_prefix_decides(void **state)
{
	const struct c10m_prefix allow[] = {everybody, the_peer}, deny[] = {neighbours, low_half};
	struct test *t = begin_limited(
		&(struct c10m_limits){.allow = allow, .allow_count = 2, .deny = deny, .deny_count = 2});
	c10m_worker *worker = stack_worker(t->stack);

	(void)state;
	use_peer(t, 0);
	open_server(t);
	send_syn(t, 6);
	expect_drop(t, LIMIT_DENIED);
	assert_int_equal(c10m_limits_check(worker, 0, 0x0a000102), C10M_LIMITS_WELCOME);
	assert_int_equal(c10m_limits_check(worker, 0, 0x0a000009), C10M_LIMITS_DENIED);
	assert_int_equal(c10m_limits_check(worker, 1, 0x0a000009), C10M_LIMITS_WELCOME); /* another service */
	assert_int_equal(c10m_limits_check(worker, 2, 0x0a000002), C10M_LIMITS_DENIED);  /* no such service */
	test_finish(t);
}

/* Who is denied from now on keeps what he has, and gets nothing new: not even what a handshake had begun. */
static void lists_change_under_way(void **state)
{
	struct test *t = begin_limited(NULL);

	(void)state;
	use_peer(t, 0);
	open_server(t);
	send_syn(t, 1);
	expect(t, "S. seq 0 ack 1 mss 1460");
	set_limits(t, &(struct c10m_limits){.deny = &the_peer, .deny_count = 1, .flags = C10M_LIMITS_RESET});
	inject(t, ". seq 1 ack 1");
	expect(t, "R seq 1");
	expect_drop(t, LIMIT_DENIED);
	assert_int_equal(usage(t).half_open, 0);
	send_syn(t, 2);
	expect(t, "R. aseq 0 ack 1");
	expect_drop(t, LIMIT_DENIED);
	use_peer(t, 0);
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	expect_after(t, 40, ". seq 1 ack 11");
	set_limits(t, NULL);
	use_peer(t, 3);
	open_server(t);
	test_finish(t);
}

static void caps_change_and_lists_stay(void **state)
{
	struct test *t = begin_limited(&(struct c10m_limits){.deny = &the_peer, .deny_count = 1});

	(void)state;
	set_limits(t, &(struct c10m_limits){.source_connections = 1, .flags = C10M_LIMITS_KEEP_LISTS});
	send_syn(t, 0);
	expect_drop(t, LIMIT_DENIED);
	use_peer(t, 6);
	open_server(t);
	send_syn(t, 7);
	expect_drop(t, LIMIT_CONNECTIONS);
	test_finish(t);
}

static void limits_from_the_start(void **state)
{
	const struct c10m_limits limits = {.source_connections = 2,
					   .deny = &low_half,
					   .deny_count = 1,
					   .allow = (const struct c10m_prefix[]){everybody, the_peer},
					   .allow_count = 2};
	struct test *t = test_begin();

	(void)state;
	t->services[0].limits = &limits;
	t->peers[2].ip = PEER_IP + 1;
	test_start(t);
	open_server(t);
	use_peer(t, 1);
	open_server(t);
	send_syn(t, 2);
	expect_drop(t, LIMIT_DENIED);
	use_peer(t, 3);
	t->peer->ip = PEER_IP;
	send_syn(t, 3);
	expect_drop(t, LIMIT_CONNECTIONS);
	test_finish(t);
}

/* --- connections of a source */

static void as_many_as_it_may(void **state)
{
	struct test *t = begin_limited(&(struct c10m_limits){.source_connections = 2});

	(void)state;
	open_server(t);
	use_peer(t, 1);
	open_server(t);
	send_syn(t, 2);
	expect_nothing(t);
	expect_drop(t, LIMIT_CONNECTIONS);
	assert_int_equal(usage(t).half_open, 0);
	assert_int_equal(sources_hold(t), 2);
	use_peer(t, 6); /* another host */
	open_server(t);
	assert_int_equal(c10m_limits_check(stack_worker(t->stack), 0, PEER_IP), C10M_LIMITS_CONNECTIONS);
	reset_at_the_end(t, 0, 0);
	assert_int_equal(sources_hold(t), 2);
	use_peer(t, 3);
	open_server(t);
	test_finish(t);
}

/* Handshakes that began before the cap was reached: who completes later is refused, and let in when there is
 * room again. */
static void handshakes_beside_each_other(void **state)
{
	struct test *t = begin_limited(&(struct c10m_limits){.source_connections = 1});

	(void)state;
	send_syn(t, 0);
	expect(t, "S. seq 0 ack 1 mss 1460");
	send_syn(t, 1);
	expect(t, "S. seq 0 ack 1 mss 1460");
	use_peer(t, 0);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	use_peer(t, 1);
	inject(t, ". seq 1 ack 1");
	expect_nothing(t);
	expect_drop(t, LIMIT_CONNECTIONS);
	assert_int_equal(usage(t).half_open, 1);
	reset_at_the_end(t, 0, 0);
	use_peer(t, 1);
	inject(t, "P. seq 1 ack 1 len 5");
	expect_event(t, "open#1");
	expect_event(t, "data 5#1");
	expect_after(t, 40, ". seq 1 ack 6");
	assert_int_equal(sources_hold(t), 1);
	test_finish(t);
}

/* A cookie keeps no state; its acknowledgement meets the limits once more. */
static void cookies_are_policed(void **state)
{
	struct test *t = test_begin();
	const struct c10m_limits limits = {.source_connections = 1};

	(void)state;
	t->config.always_cookies = true;
	test_start(t);
	set_limits(t, &limits);
	for (unsigned i = 0; i < 2; i++) {
		send_syn(t, i);
		expect(t, "S. seq 0 ack 1 mss 1460");
	}
	use_peer(t, 0);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	send_syn(t, 2); /* no cookie any more */
	expect_nothing(t);
	expect_drop(t, LIMIT_CONNECTIONS);
	use_peer(t, 1);
	inject(t, ". seq 1 ack 1");
	expect_nothing(t);
	expect_drop(t, LIMIT_CONNECTIONS);
	set_limits(t, &(struct c10m_limits){.source_connections = 1, .flags = C10M_LIMITS_RESET});
	inject(t, ". seq 1 ack 1");
	expect(t, "R seq 1");
	expect_drop(t, LIMIT_CONNECTIONS);
	reset_at_the_end(t, 0, 0);
	use_peer(t, 1);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open#1");
	test_finish(t);
}

/* However a connection ends, its source has one less. */
static void every_end_is_counted(void **state)
{
	struct test *t = begin_limited(&(struct c10m_limits){.source_connections = 1});

	(void)state;
	t->services[0].user_timeout_ms = 0;
	open_server(t); /* by TIME_WAIT */
	app_close(t, 0);
	expect(t, "F. seq 1 ack 1");
	inject(t, "F. seq 1 ack 2");
	expect(t, ". seq 2 ack 2");
	expect_event(t, "close normal");
	assert_int_equal(usage(t).time_wait, 1);
	assert_int_equal(sources_hold(t), 0);
	use_peer(t, 1);
	open_server(t); /* by the application's reset */
	app_abort(t, 1);
	expect(t, "R. seq 1 ack 1");
	expect_event(t, "close aborted#1");
	assert_int_equal(sources_hold(t), 0);
	use_peer(t, 2);
	open_server(t); /* by LAST_ACK */
	inject(t, "F. seq 1 ack 1");
	expect(t, "F. seq 1 ack 2");
	expect_event(t, "eof#2");
	assert_int_equal(sources_hold(t), 1);
	inject(t, ". seq 2 ack 2");
	expect_event(t, "close normal#2");
	assert_int_equal(sources_hold(t), 0);
	use_peer(t, 3);
	open_server(t); /* by a timeout */
	c10m_set_user_timeout(app_conn(t, 3), 1000);
	app_send(t, 3, 10);
	pass_ms(t, 2000);
	expect_event(t, "close timeout#3");
	discard_out(t);
	assert_int_equal(sources_hold(t), 0);
	use_peer(t, 4);
	open_server(t); /* by the end of all */
	assert_true(stack_stop(t->stack, t->now_us));
	flush(t);
	expect(t, "R. seq 1 ack 1");
	expect_event(t, "close stopped#4");
	assert_int_equal(sources_hold(t), 0);
	test_finish(t);
}

/* Connections that we open are nobody's share. */
static void active_opens_do_not_count(void **state)
{
	struct test *t = test_begin();
	const struct c10m_limits limits = {.source_connections = 1, .source_rate = 1};

	(void)state;
	t->active = true;
	t->services[1].limits = &limits;
	test_start(t);
	open_client(t);
	use_peer(t, 1);
	open_client(t);
	assert_int_equal(sources_hold(t), 0);
	assert_int_equal(c10m_limits_set(stack_worker(t->stack), 1, NULL),
			 0); /* nor when all are counted anew */
	assert_int_equal(c10m_limits_set(stack_worker(t->stack), 1, &limits), 0);
	flush(t);
	assert_int_equal(sources_hold(t), 0);
	test_finish(t);
}

/* Forged SYNs take nothing from the host whose address they bear. */
static void forged_syns_cost_their_victim_nothing(void **state)
{
	struct test *t = begin_limited(&(struct c10m_limits){.source_connections = 1, .source_rate = 1});

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		use_peer(t, 0);
		t->peer->port = (uint16_t)(50000 + i);
		t->peer->snd_nxt = 0;
		inject(t, "S seq 0 win 1000 mss 1460");
		assert_int_equal(discard_out(t), 1);
	}
	use_peer(t, 1);
	open_server(t);
	assert_int_equal(sources_hold(t), 1);
	pass_ms(t, 200 * 1000);
	discard_out(t);
	test_finish(t);
}

static void a_network_as_one_source(void **state)
{
	struct test *t = begin_limited(&(struct c10m_limits){.source_connections = 2, .source_bits = 24});

	(void)state;
	open_server(t);
	use_peer(t, 6);
	open_server(t);
	send_syn(t, 12);
	expect_drop(t, LIMIT_CONNECTIONS);
	assert_int_equal(c10m_limits_check(stack_worker(t->stack), 0, 0x0a0000ff), C10M_LIMITS_CONNECTIONS);
	assert_int_equal(c10m_limits_check(stack_worker(t->stack), 0, 0x0a0001ff), C10M_LIMITS_WELCOME);
	test_finish(t);
}

/* --- new connections a second */

static void a_burst_and_then_the_rate(void **state)
{
	struct test *t = begin_limited(&(struct c10m_limits){.source_rate = 2, .source_burst = 3});

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		use_peer(t, i);
		open_server(t);
	}
	send_syn(t, 3);
	expect_nothing(t);
	expect_drop(t, LIMIT_RATE);
	pass_ms(t, 498);
	send_syn(t, 3);
	expect_drop(t, LIMIT_RATE);
	assert_int_equal(c10m_limits_check(stack_worker(t->stack), 0, PEER_IP), C10M_LIMITS_RATE);
	pass_ms(t, 2);
	use_peer(t, 4);
	open_server(t);
	use_peer(t, 6); /* another host has tokens of its own */
	open_server(t);
	assert_int_equal(sources_hold(t), 0);
	test_finish(t);
}

static void a_rate_by_resets(void **state)
{
	struct test *t = begin_limited(&(struct c10m_limits){.source_rate = 1, .flags = C10M_LIMITS_RESET});

	(void)state;
	send_syn(t, 0);
	expect(t, "S. seq 0 ack 1 mss 1460");
	send_syn(t, 1);
	expect(t, "S. seq 0 ack 1 mss 1460");
	use_peer(t, 0);
	inject(t, ". seq 1 ack 1");
	expect_event(t, "open");
	use_peer(t, 1);
	inject(t, ". seq 1 ack 1");
	expect(t, "R seq 1");
	expect_drop(t, LIMIT_RATE);
	assert_int_equal(usage(t).half_open, 0);
	test_finish(t);
}

/* --- changes, rebuilding, a full table */

/* A cap that comes later counts those that are there. */
static void existing_connections_are_counted(void **state)
{
	struct test *t = begin_limited(NULL);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		use_peer(t, i);
		open_server(t);
	}
	assert_int_equal(sources_hold(t), 0);
	set_limits(t, &(struct c10m_limits){.source_connections = 3});
	assert_int_equal(sources_hold(t), 3);
	send_syn(t, 3);
	expect_drop(t, LIMIT_CONNECTIONS);
	use_peer(t, 6);
	open_server(t);
	set_limits(t, &(struct c10m_limits){.source_connections = 4, .source_bits = 24});
	assert_int_equal(sources_hold(t), 4);
	send_syn(t, 7);
	expect_drop(t, LIMIT_CONNECTIONS);
	set_limits(t,
		   &(struct c10m_limits){.source_bits = 24}); /* what was counted is counted until it ends */
	reset_at_the_end(t, 0, 0);
	reset_at_the_end(t, 6, 3);
	assert_int_equal(sources_hold(t), 2);
	set_limits(t, NULL); /* by another length, of which nobody is to be counted */
	assert_int_equal(sources_hold(t), 0);
	test_finish(t);
}

/* While blocks still know the length before the last, no third one may come. */
static void one_length_after_the_other(void **state)
{
	struct test *t = begin_limited(&(struct c10m_limits){.source_connections = 3});
	c10m_worker *worker = stack_worker(t->stack);
	struct c10m_limits limits = {.source_connections = 3, .source_bits = 24};

	(void)state;
	open_server(t);
	assert_int_equal(c10m_limits_set(worker, 0, &limits), 0);
	limits.source_bits = 16;
	assert_int_equal(c10m_limits_set(worker, 0, &limits), -EBUSY);
	reset_at_the_end(t, 0, 0); /* counted by the old length */
	assert_int_equal(sources_hold(t), 0);
	assert_int_equal(c10m_limits_set(worker, 0, &limits), 0);
	flush(t);
	assert_int_equal(c10m_limits_check(worker, 0, PEER_IP), C10M_LIMITS_WELCOME);
	test_finish(t);
}

static void counts_are_rebuilt_from_blocks(void **state)
{
	struct test *t = begin_limited(&(struct c10m_limits){.source_connections = 2});

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		use_peer(t, i);
		open_server(t);
	}
	use_peer(t, 6);
	open_server(t);
	use_peer(t, 7);
	open_server(t);
	reset_at_the_end(t, 7, 3);
	source_table_clear(&t->stack->core.admission.sources);
	stack_rebuild(t->stack, t->now_us);
	assert_int_equal(sources_hold(t), 3);
	send_syn(t, 2);
	expect_drop(t, LIMIT_CONNECTIONS);
	use_peer(t, 8);
	open_server(t);
	reset_at_the_end(t, 0, 0);
	assert_int_equal(sources_hold(t), 3);
	test_finish(t);
}

/* More hosts with connections than the table has room for: the others are let in all the same. */
static void a_full_table_locks_nobody_out(void **state)
{
	struct test *t = test_begin();
	const struct c10m_limits limits = {.source_connections = 1};

	(void)state;
	t->config.sources = 4;
	for (unsigned i = 0; i < 10; i++)
		t->peers[i].ip = i < 5 ? PEER_IP + i : 0x0a000100u + i; /* the rest behind the router */
	for (unsigned i = 10; i < 14; i++)
		t->peers[i].ip = PEER_IP + i - 10;
	test_start(t);
	set_limits(t, &limits);
	mark(t);
	for (unsigned i = 0; i < 10; i++) {
		use_peer(t, i);
		open_server(t);
	}
	assert_int_equal(counted(t, limit_untracked), 6);
	assert_int_equal(sources_hold(t), 4);
	for (unsigned i = 10; i < 14; i++) { /* who is known stays capped */
		send_syn(t, i);
		expect_drop(t, LIMIT_CONNECTIONS);
	}
	reset_at_the_end(t, 9, 9); /* was not counted */
	assert_int_equal(sources_hold(t), 4);
	reset_at_the_end(t, 0, 0);
	assert_int_equal(sources_hold(t), 3);
	test_finish(t);
}

static void sources_are_forgotten_for_others(void **state)
{
	struct test *t = test_begin();
	const struct c10m_limits limits = {.source_rate = 1};

	(void)state;
	t->config.sources = 4;
	for (unsigned i = 0; i < 5; i++)
		t->peers[i].ip = PEER_IP + i;
	test_start(t);
	set_limits(t, &limits);
	mark(t);
	for (unsigned i = 0; i < 5; i++) {
		use_peer(t, i);
		open_server(t);
	}
	assert_int_equal(counted(t, limit_forgotten), 1);
	assert_int_equal(counted(t, limit_untracked), 0);
	test_finish(t);
}

/* --- what makes no sense */

static void bad_limits_change_nothing(void **state)
{
	static const struct c10m_prefix bad[] = {
		{.bits = 33},
		{.bits = 8, .address = {0x0a000001}},
		{.bits = 0, .address = {1}},
		{.family = 6, .bits = 32, .address = {0x0a000001}},
		{.bits = 32, .address = {1, 2}},
	};
	struct test *t = begin_limited(&(struct c10m_limits){.deny = &the_peer, .deny_count = 1});
	c10m_worker *worker = stack_worker(t->stack);
	static struct c10m_prefix many[1025];

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(bad); i++) {
		assert_int_equal(
			c10m_limits_set(worker, 0, &(struct c10m_limits){.deny = &bad[i], .deny_count = 1}),
			-EINVAL);
		assert_int_equal(
			c10m_limits_set(worker, 0, &(struct c10m_limits){.allow = &bad[i], .allow_count = 1}),
			-EINVAL);
	}
	assert_int_equal(c10m_limits_set(worker, 0, &(struct c10m_limits){.source_bits = 33}), -EINVAL);
	assert_int_equal(c10m_limits_set(worker, 0, &(struct c10m_limits){.source_rate = 1000001}), -EINVAL);
	assert_int_equal(c10m_limits_set(worker, 0, &(struct c10m_limits){.source_burst = 5}), -EINVAL);
	assert_int_equal(c10m_limits_set(worker, 0, &(struct c10m_limits){.flags = 0x80}), -EINVAL);
	assert_int_equal(c10m_limits_set(worker, 0, &(struct c10m_limits){.reserved = {1}}), -EINVAL);
	assert_int_equal(c10m_limits_set(worker, 0, &(struct c10m_limits){.allow_count = 1}), -EINVAL);
	assert_int_equal(c10m_limits_set(worker, 2, NULL), -EINVAL);
	assert_int_equal(
		c10m_limits_set(worker, 0, &(struct c10m_limits){.allow = many, .allow_count = 1025}),
		-ENOSPC);
	send_syn(t, 0);
	expect_drop(t, LIMIT_DENIED);
	assert_int_equal(
		c10m_limits_set(worker, 0, &(struct c10m_limits){.allow = many, .allow_count = 1024}), 0);
	use_peer(t, 1);
	open_server(t);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(denied_in_silence),
	TEST(denied_by_a_reset),
	TEST(only_who_is_allowed),
	TEST(the_longest_prefix_decides),
	TEST(lists_change_under_way),
	TEST(caps_change_and_lists_stay),
	TEST(limits_from_the_start),
	TEST(as_many_as_it_may),
	TEST(handshakes_beside_each_other),
	TEST(cookies_are_policed),
	TEST(every_end_is_counted),
	TEST(active_opens_do_not_count),
	TEST(forged_syns_cost_their_victim_nothing),
	TEST(a_network_as_one_source),
	TEST(a_burst_and_then_the_rate),
	TEST(a_rate_by_resets),
	TEST(existing_connections_are_counted),
	TEST(one_length_after_the_other),
	TEST(counts_are_rebuilt_from_blocks),
	TEST(a_full_table_locks_nobody_out),
	TEST(sources_are_forgotten_for_others),
	TEST(bad_limits_change_nothing),
};

PACKET_MAIN(tests)
