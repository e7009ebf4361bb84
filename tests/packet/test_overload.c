/* test_overload.c - more than there is room for: what is let go, what is kept, and that all comes back. */
#include "harness.h"

#include "net/net.h"

/* The same probes get another number of answers each second, so that one reset more or less, to somebody
 * else, cannot be told from the rest. */
static void the_limit_of_resets_cannot_be_measured(void **state)
{
	struct test *t = begin_open();
	unsigned answers[20], different = 0;

	(void)state;
	ignore_drops(t, DROP_TCP_NO_FLOW);
	ignore_drops(t, DROP_REPLY_RATE);
	use_peer(t, 1);
	for (unsigned second = 0; second < ARRAY_COUNT(answers); second++) {
		bool seen = false;

		pass_ms(t, 1100);
		for (unsigned i = 0; i < 2000; i++) {
			uint8_t frame[FRAME_ROOM];

			inject_raw(t, frame, build(t, frame, ". seq 100 ack %u", i));
		}
		answers[second] = discard_out(t);
		assert_in_range(answers[second], REPLY_RATE_BURST / 2, REPLY_RATE_BURST * 3 / 2);
		for (unsigned i = 0; i < second; i++)
			seen |= answers[i] == answers[second];
		different += !seen;
	}
	assert_in_range(different, 15, 20);
	use_peer(t, 0);
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	expect_after(t, 40, ". seq 1 ack 11");
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(the_limit_of_resets_cannot_be_measured),
};

PACKET_MAIN(tests)
