/* test_gro.c - segments of one connection that stand side by side in a burst are taken with less work, and
 * that is all that may differ: the same segments with strangers in between lead to the same frames, events
 * and counters. */
#include "harness.h"

#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "base/seq.h"

#define ROUNDS    24u
#define SEEDS     400u
#define LOG_BYTES (1u << 20)
#define IN_ORDER  100u

/* What one run led to. */
struct log {
	uint8_t bytes[LOG_BYTES];
	size_t used;
	struct counters counters;
};

/* One run. */
struct play {
	struct test *t;
	struct random random;
	struct log *log;
	bool side_by_side;
	uint32_t next;    /* the peer's, relative */
	uint32_t highest; /* behind all that came out */
	uint32_t acked;
	uint32_t close_at, abort_at; /* bytes that have come in; 0: not at all */
};

static struct play *current;

static uint32_t draw(struct play *play, uint32_t bound)
{
	return random_below(&play->random, bound);
}

static void note(struct log *log, const void *bytes, size_t count)
{
	assert_true(log->used + count <= LOG_BYTES);
	memcpy(log->bytes + log->used, bytes, count);
	log->used += count;
}

/* The connection may end in the middle of a burst. */
static void hook(struct test *t, c10m_conn *conn, unsigned slot, const char *event)
{
	uint64_t bytes = t->slots[slot].rx_bytes;

	if (slot != 0 || strcmp(event, "data") != 0)
		return;
	if (current->abort_at && bytes >= current->abort_at)
		c10m_abort(conn);
	else if (current->close_at && bytes >= current->close_at)
		c10m_close(conn);
	else if (bytes % 7 == 3)
		t->slots[slot].tx_bytes += c10m_send(conn, "abc", 3);
}

static void note_out(struct play *play)
{
	struct test *t = play->t;
	struct tcp_segment segment;

	flush(t);
	while (t->out_count) {
		const struct out_frame *frame = next_out(t);

		note(play->log, frame->data, frame->bytes);
		if (tcp_parse(frame->data + 34, frame->bytes - 34, &segment) == DROP_NONE &&
		    segment.destination_port == t->peers[0].port &&
		    segment.seq + segment.payload_bytes - t->peers[0].irs < (1u << 30))
			play->highest = MAX_OF(play->highest,
					       segment.seq + segment.payload_bytes - t->peers[0].irs);
	}
	for (unsigned i = 0; i < t->event_count; i++)
		note(play->log, t->events[(t->event_first + i) % EVENTS_MAX], sizeof(t->events[0]));
	discard_events(t);
}

/* A segment that goes on with the stream, as most do, or one that differs from it in one thing. */
static void add_segment(struct play *play, struct burst *burst)
{
	struct test *t = play->t;
	uint32_t bytes = 1 + draw(play, 300), kind = draw(play, 60), seq = play->next;
	const char *flags = draw(play, 3) ? "." : "P.", *more = "";

	use_peer(t, 0);
	switch (kind) {
	case 0:
		flags = "F.";
		break;
	case 1:
		seq += 50; /* a hole */
		break;
	case 2:
		seq -= MIN_OF(seq - 1, 60u); /* some of it came before */
		break;
	case 3:
		more = "win 0";
		break;
	case 4:
		more = "win 5000";
		break;
	case 5:
		play->acked = play->highest;
		break;
	case 6:
		more = "ts -1000000"; /* older than all */
		break;
	case 7:
		more = "nots";
		break;
	case 8:
		flags = "U.";
		more = "urg 3";
		break;
	case 9:
		more = "sack 1-2";
		break;
	case 10:
		bytes = 0;
		break;
	case 11:
		more = "uto 100";
		break;
	case 12:
		flags = draw(play, 4) ? "C." : "R.";
		break;
	case 13:
		more = "ce";
		break;
	case 14:
		play->acked = play->highest + 1; /* of what was never sent */
		break;
	default:
		break;
	}
	burst_add(t, burst, "%s seq %u ack %u len %u %s", flags, seq, play->acked, bytes, more);
	play->acked = MIN_OF(play->acked, play->highest);
	if (seq_leq(seq, play->next))
		play->next = MAX_OF(play->next, seq + bytes);
}

/* A stranger's segment says nothing new. */
static void add_stranger(struct play *play, struct burst *burst)
{
	use_peer(play->t, 1);
	burst_add(play->t, burst, ". seq 1 ack 1");
	use_peer(play->t, 0);
}

static void one_burst(struct play *play)
{
	struct burst *burst = calloc(1, sizeof(*burst));
	uint32_t count = 1 + draw(play, STACK_BURST / 2 - 1);

	for (uint32_t i = 0; i < count; i++) {
		add_segment(play, burst);
		if (!play->side_by_side)
			add_stranger(play, burst);
	}
	for (uint32_t i = 0; play->side_by_side && i < count; i++)
		add_stranger(play, burst);
	inject_burst(play->t, burst);
	free(burst);
}

static void set_up(struct play *play)
{
	struct test *t = play->t;

	t->services[0].receive_bytes = 4096u << draw(play, 5);
	t->services[0].flags |= draw(play, 4) ? 0 : C10M_QUICKACK;
	for (unsigned i = 0; i < 2; i++) {
		t->peers[i].offer_timestamps = draw(play, 3) > 0;
		t->peers[i].offer_sack = draw(play, 2);
	}
	test_start(t);
	for (enum drop_reason reason = 1; reason < DROP_COUNT; reason++)
		ignore_drops(t, reason);
	open_server(t);
	use_peer(t, 1);
	open_server(t);
	use_peer(t, 0);
	t->app.hook = hook;
	t->app.consume = draw(play, 3) ? SIZE_MAX : 1 + draw(play, 400);
	play->next = play->acked = play->highest = 1;
	play->close_at = draw(play, 3) ? 0 : 1 + draw(play, 20000);
	play->abort_at = draw(play, 3) ? 0 : 1 + draw(play, 20000);
	mark(t);
}

static void run(uint64_t seed, bool side_by_side, struct log *log)
{
	struct play play = {
		.t = test_begin(), .random = random_seeded(seed), .log = log, .side_by_side = side_by_side};
	uint64_t merged;

	current = &play;
	log->used = 0;
	set_up(&play);
	for (uint32_t round = 0; round < ROUNDS && !play.t->slots[0].closed; round++) {
		one_burst(&play);
		note_out(&play);
		pass_us(play.t, draw(&play, 60000));
		if (!play.t->slots[0].closed && draw(&play, 4) == 0)
			app_send(play.t, 0, draw(&play, 3000));
		if (!play.t->slots[0].closed && draw(&play, 4) == 0)
			app_resume(play.t, 0);
		note_out(&play);
	}
	log->counters = *stack_counters(play.t->stack);
	merged = counted(play.t, tcp_segments_merged);
	if (!side_by_side)
		assert_int_equal(merged, 0);
	log->counters.tcp_segments_merged = merged;
	for (unsigned slot = 0; slot < 2; slot++)
		if (!play.t->slots[slot].closed)
			app_abort(play.t, slot);
	note_out(&play);
	test_finish(play.t);
}

static void strangers_in_between_change_nothing(void **state)
{
	struct log *together = calloc(1, sizeof(*together)), *apart = calloc(1, sizeof(*apart));
	uint64_t merged = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		run(seed, true, together);
		run(seed, false, apart);
		merged += together->counters.tcp_segments_merged;
		together->counters.tcp_segments_merged = 0;
		if (together->used != apart->used || memcmp(together->bytes, apart->bytes, apart->used) != 0)
			fail_msg("seed %llu: other frames or events", (unsigned long long)seed);
		if (memcmp(&together->counters, &apart->counters, sizeof(apart->counters)) != 0)
			fail_msg("seed %llu: other counters", (unsigned long long)seed);
	}
	free(together);
	free(apart);
	assert_true(merged > 10 * SEEDS);
}

/* Else the test above would compare one thing with itself. */
static void a_stream_is_taken_so(void **state)
{
	struct test *t = begin_open();
	struct burst *burst = calloc(1, sizeof(*burst));

	(void)state;
	t->app.quiet = true;
	for (unsigned i = 0; i < 10; i++)
		burst_add(t, burst, "%s seq %u ack 1 len %u", i % 3 ? "." : "P.", 1 + i * IN_ORDER, IN_ORDER);
	mark(t);
	inject_burst(t, burst);
	free(burst);
	assert_int_equal(counted(t, tcp_segments_merged), 9);
	assert_int_equal(counted(t, tcp_segments_in), 10);
	assert_int_equal(t->slots[0].rx_bytes, 10 * IN_ORDER);
	expect_after(t, 40, ". seq 1 ack %u", 1 + 10 * IN_ORDER);
	test_finish(t);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_stream_is_taken_so),
		TEST(strangers_in_between_change_nothing),
	};

	if (!harness_arguments(argc, argv))
		return 2;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
