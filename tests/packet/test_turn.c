/* test_turn.c - services that begin things by themselves (on_turn), and walks over all connections. */
#include "harness.h"

static unsigned turns;
static uint64_t next_us;
static bool abort_all;

static uint64_t on_turn(c10m_worker *worker)
{
	turns++;
	for (uint32_t i = 0; abort_all && i < c10m_conn_places(worker); i++)
		if (c10m_conn_at(worker, i))
			c10m_abort(c10m_conn_at(worker, i));
	return next_us;
}

static void nobody_has_a_turn(void **state)
{
	struct test *t = test_begin();

	(void)state;
	test_start(t);
	assert_false(stack_turns(t->stack));
	assert_true(stack_turn(t->stack, t->now_us) == UINT64_MAX);
	test_finish(t);
}

static void the_earliest_wish_counts(void **state)
{
	struct test *t = test_begin();

	(void)state;
	turns = 0;
	next_us = 12345;
	t->services[0].on_turn = on_turn;
	test_start(t);
	assert_true(stack_turns(t->stack));
	assert_true(stack_turn(t->stack, t->now_us) == 12345);
	assert_int_equal(turns, 1);
	test_finish(t);
}

/* Nobody's callback runs inside the turn: what it does to connections follows when it has returned. */
static void ends_come_after_the_turn(void **state)
{
	struct test *t = test_begin();

	(void)state;
	t->services[0].on_turn = on_turn;
	test_start(t);
	open_server(t);
	abort_all = true;
	stack_turn(t->stack, t->now_us);
	abort_all = false;
	expect_no_event(t);
	flush(t);
	expect_event(t, "close aborted");
	expect(t, "R. seq 1 ack 1");
	test_finish(t);
}

static void places_hold_who_is_there(void **state)
{
	struct test *t = test_begin();
	c10m_worker *worker;

	(void)state;
	test_start(t);
	worker = stack_worker(t->stack);
	assert_int_equal(c10m_conn_places(worker), 0);
	assert_null(c10m_conn_at(worker, 0));
	c10m_conn_prefetch(worker, 0); /* does nothing, but must not look */
	open_server(t);
	assert_int_equal(c10m_conn_places(worker), 1);
	assert_ptr_equal(c10m_conn_at(worker, 0), app_conn(t, 0));
	c10m_conn_prefetch(worker, 0);
	assert_null(c10m_conn_at(worker, 1));
	app_abort(t, 0);
	expect_event(t, "close aborted");
	expect(t, "R. seq 1 ack 1");
	assert_null(c10m_conn_at(worker, 0));
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(nobody_has_a_turn),
	TEST(the_earliest_wish_counts),
	TEST(ends_come_after_the_turn),
	TEST(places_hold_who_is_there),
};

PACKET_MAIN(tests)
