/* fanout_test.h - what the tests of fan-outs and of groups share. */
#ifndef C10M_TESTS_PACKET_FANOUT_TEST_H
#define C10M_TESTS_PACKET_FANOUT_TEST_H

#include "harness.h"

/* What on_done was told last, and how often. */
struct done {
	struct c10m_fanout_result result;
	unsigned calls;
};

static inline void on_done(c10m_worker *worker, const struct c10m_fanout_result *result, void *context)
{
	struct done *done = context;

	(void)worker;
	done->result = *result;
	done->calls++;
}

static inline c10m_worker *worker_of(struct test *t)
{
	return stack_worker(t->stack);
}

/* Bytes of every stream from `position` on. */
static inline c10m_message message_at_position(struct test *t, uint32_t position, uint32_t bytes)
{
	static uint8_t data[C10M_MESSAGE_MAX];
	c10m_message message;

	for (uint32_t i = 0; i < bytes; i++)
		data[i] = stream_byte(position + i);
	message = c10m_message_new(worker_of(t), data, bytes);
	assert_true(message != 0);
	return message;
}

static inline void start(struct test *t, const struct c10m_fanout_request *request)
{
	assert_int_equal(c10m_fanout(worker_of(t), request), 0);
	c10m_message_release(worker_of(t), request->message);
	flush(t);
}

static inline void fan_out(struct test *t, c10m_message message, struct done *done)
{
	start(t, &(struct c10m_fanout_request){.message = message, .on_done = on_done, .context = done});
}

static inline void open_many(struct test *t, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		use_peer(t, i);
		open_server(t);
	}
}

static inline struct test *begin_many(unsigned count)
{
	struct test *t = test_begin();

	t->services[0].groups = 2;
	test_start(t);
	open_many(t, count);
	return t;
}

/* Each peer of [first, end) gets `bytes` from `seq` on. */
static inline void expect_each(struct test *t, unsigned first, unsigned end, unsigned seq, unsigned bytes)
{
	for (unsigned i = first; i < end; i++) {
		use_peer(t, i);
		expect(t, "P. seq %u ack 1 len %u", seq, bytes);
	}
}

static inline void ack_each(struct test *t, unsigned first, unsigned end, unsigned ack)
{
	static struct burst burst;

	burst.count = 0;
	for (unsigned i = first; i < end; i++) {
		use_peer(t, i);
		burst_add(t, &burst, ". seq 1 ack %u", ack);
	}
	inject_burst(t, &burst);
}

/* Small chunks are the references' memory, and a quarter of them is not theirs. */
static inline struct test *begin_with_chunks(unsigned chunks, unsigned connections)
{
	struct test *t = test_begin();

	t->config.chunks = (struct chunk_config){{chunks, 2, 2}};
	t->services[0].groups = 2;
	test_start(t);
	open_many(t, connections);
	return t;
}

static inline void to_group(struct test *t, c10m_group group, c10m_message message, struct done *done)
{
	start(t, &(struct c10m_fanout_request){
			 .message = message, .group = group, .on_done = on_done, .context = done});
}

#endif
