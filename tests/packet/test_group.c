/* test_group.c - sets of connections: joining, leaving, ending, also while a fan-out works. */
#include "fanout_test.h"

#include <errno.h>

static void members_alone_receive(void **state)
{
	struct test *t = begin_many(12);
	c10m_group room = c10m_group_new(worker_of(t));
	struct done done = {0};

	(void)state;
	for (unsigned i = 0; i < 12; i += 3)
		assert_int_equal(c10m_group_join(app_conn(t, i), room), 0);
	assert_int_equal(c10m_group_join(app_conn(t, 0), room), 0); /* once only */
	assert_int_equal(c10m_group_count(worker_of(t), room), 4);
	to_group(t, room, message_at_position(t, 0, 10), &done);
	assert_int_equal(done.result.queued, 4);
	discard_out(t);
	for (unsigned i = 0; i < 12; i += 3)
		ack_each(t, i, i + 1, 11);
	assert_int_equal(usage(t).messages, 0);
	assert_int_equal(c10m_group_leave(app_conn(t, 3), room), 0);
	assert_int_equal(c10m_group_leave(app_conn(t, 3), room), -ENOENT);
	use_peer(t, 9);
	inject(t, "R seq 1"); /* leaves by itself */
	expect_event(t, "close reset#9");
	assert_int_equal(c10m_group_count(worker_of(t), room), 2);
	stack_verify(t->stack);
	to_group(t, room, message_at_position(t, 10, 10), &done);
	expect_each(t, 0, 1, 11, 10);
	expect_each(t, 6, 7, 11, 10);
	expect_nothing(t);
	ack_each(t, 0, 1, 21);
	ack_each(t, 6, 7, 21);
	test_finish(t);
}

/* 16 connections, two in each list; the fan-out stands still after six. */
static void members_come_and_go_meanwhile(void **state)
{
	struct test *t = begin_with_chunks(8, 16);
	c10m_group room = c10m_group_new(worker_of(t));
	struct done done = {0};

	(void)state;
	for (unsigned i = 0; i < 15; i++)
		assert_int_equal(c10m_group_join(app_conn(t, i), room), 0);
	to_group(t, room, message_at_position(t, 0, 10), &done);
	assert_int_equal(discard_out(t), 6);
	assert_int_equal(done.calls, 0);
	/* 8 to 13 stand first in their lists and have it. */
	assert_int_equal(c10m_group_leave(app_conn(t, 0), room),
			 0); /* whose turn would come next in its list */
	assert_int_equal(c10m_group_leave(app_conn(t, 8), room), 0);
	use_peer(t, 14);
	inject(t, "R seq 1"); /* the next of all */
	expect_event(t, "close reset#14");
	assert_int_equal(c10m_group_join(app_conn(t, 15), room), 0); /* too late */
	stack_verify(t->stack);
	ack_each(t, 8, 14, 11);
	assert_int_equal(done.calls, 0); /* 7 and 6, 1 to 5: one more than there is room for */
	assert_int_equal(discard_out(t), 6);
	for (unsigned i = 1; i < 8; i++)
		ack_each(t, i, i + 1, 11);
	assert_int_equal(discard_out(t), 1);
	ack_each(t, 1, 8, 11);
	assert_int_equal(done.calls, 1);
	assert_int_equal(done.result.queued, 6 + 7);
	assert_int_equal(usage(t).messages + usage(t).chunks[0], 0);
	ignore_drops(t, DROP_TCP_ACK_INVALID);
	discard_out(t);
	test_finish(t);
}

static void groups_end(void **state)
{
	struct test *t = begin_many(2);
	c10m_group a = c10m_group_new(worker_of(t)), b = c10m_group_new(worker_of(t)),
		   c = c10m_group_new(worker_of(t));

	(void)state;
	assert_true(a && b && c && a != b);
	assert_int_equal(c10m_group_join(app_conn(t, 0), a), 0);
	assert_int_equal(c10m_group_join(app_conn(t, 0), b), 0);
	assert_int_equal(c10m_group_join(app_conn(t, 0), c), -ENOSPC);
	assert_int_equal(c10m_group_join(app_conn(t, 1), c), 0);
	c10m_group_release(worker_of(t), a);
	assert_int_equal(c10m_group_join(app_conn(t, 1), a), -EINVAL);
	assert_int_equal(usage(t).groups, 3);
	assert_int_equal(c10m_group_leave(app_conn(t, 0), a), 0);
	assert_int_equal(usage(t).groups, 2);
	c10m_group_release(worker_of(t), b);
	use_peer(t, 0);
	inject(t, "R seq 1");
	expect_event(t, "close reset");
	assert_int_equal(usage(t).groups, 1);
	assert_int_equal(c10m_group_count(worker_of(t), c), 1);
	c10m_group_leave(app_conn(t, 1), c);
	c10m_group_release(worker_of(t), c);
	c10m_group_release(worker_of(t), c);
	assert_int_equal(usage(t).groups, 0);
	test_finish(t);
}

/* The places lie behind the state, however large that is. */
static void large_state_and_groups(void **state)
{
	struct test *t = test_begin();
	c10m_group group;

	(void)state;
	t->services[0].state_size = 100001;
	t->services[0].groups = 16;
	t->config.connections = 4;
	test_start(t);
	open_many(t, 2);
	for (unsigned i = 0; i < 16; i++) {
		group = c10m_group_new(worker_of(t));
		assert_int_equal(c10m_group_join(app_conn(t, 0), group), 0);
		assert_int_equal(c10m_group_join(app_conn(t, 1), group), 0);
		c10m_group_release(worker_of(t), group);
	}
	for (unsigned i = 4; i < 100001; i++)
		assert_int_equal(((const uint8_t *)c10m_conn_state(app_conn(t, 0)))[i], 0);
	stack_verify(t->stack);
	assert_int_equal(usage(t).groups, 16);
	app_abort(t, 0);
	app_abort(t, 1);
	discard_events(t);
	discard_out(t);
	assert_int_equal(usage(t).groups, 0);
	test_finish(t);
}

static void group_pool_empty(void **state)
{
	struct test *t = test_begin();
	c10m_group group;

	(void)state;
	t->config.groups = 1;
	test_start(t);
	group = c10m_group_new(worker_of(t));
	assert_true(group != 0);
	assert_int_equal(c10m_group_new(worker_of(t)), 0);
	open_server(t);
	assert_int_equal(c10m_group_join(app_conn(t, 0), group), -ENOSPC); /* its service has none */
	c10m_group_release(worker_of(t), group);
	assert_true(c10m_group_new(worker_of(t)) != group);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(members_alone_receive),
	TEST(members_come_and_go_meanwhile),
	TEST(groups_end),
	TEST(large_state_and_groups),
	TEST(group_pool_empty),
};

PACKET_MAIN(tests)
