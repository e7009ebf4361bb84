/* test_model.c - connections with bbr: when a model of the path attaches, what it costs others when none is
 * left, and that it goes again. What it makes of samples is tests/unit/test_bbr.c's. */
#include "harness.h"

#include "stack/internal.h"
#include "tcp/congestion.h"
#include "tcp/model.h"

#define FULL 1448u

static struct tcb *block(struct test *t, unsigned slot)
{
	return (struct tcb *)app_conn(t, slot);
}

static struct model *model(struct test *t, unsigned slot)
{
	return model_of(&t->stack->core, block(t, slot));
}

static struct test *begin(uint32_t models)
{
	struct test *t = test_begin();

	t->services[0].send_bytes = 1 << 20;
	t->services[0].congestion = "bbr";
	t->config.models = models;
	for (unsigned i = 0; i < PEERS_MAX; i++) {
		t->peers[i].offer_timestamps = t->peers[i].offer_sack = true;
		t->peers[i].wscale = 10;
	}
	test_start(t);
	return t;
}

static void open_at(struct test *t, unsigned slot)
{
	t->peer = &t->peers[slot];
	open_server(t);
	block(t, slot)->srtt_us = block(t, slot)->min_rtt_us = 100 * MS;
	block(t, slot)->rttvar_us = 50 * MS;
}

/* Sends so many segments, and all of it is acknowledged after a round trip. */
static void burst(struct test *t, unsigned slot, uint32_t segments)
{
	t->peer = &t->peers[slot];
	app_send(t, slot, segments * FULL);
	discard_out(t);
	for (unsigned i = 0; i < 50 && block(t, slot)->snd_bytes; i++) {
		pass_ms(t, 100);
		discard_out(t);
		inject(t, ". seq 1 ack %u", block(t, slot)->snd_nxt - t->peer->irs);
		discard_out(t);
	}
	assert_int_equal(block(t, slot)->snd_bytes, 0);
}

static void end(struct test *t)
{
	discard_out(t);
	discard_events(t);
	test_finish(t);
}

/* With the first burst, not with a segment; and it is paced from then on, whatever the service says. */
static void attaches_with_a_burst(void **state)
{
	struct test *t = begin(4);

	(void)state;
	open_at(t, 0);
	burst(t, 0, 1);
	assert_null(model(t, 0));
	mark(t);
	app_send(t, 0, 30 * FULL);
	assert_non_null(model(t, 0));
	assert_int_equal(counted(t, tcp_models), 1);
	assert_true(block(t, 0)->paced);
	assert_int_equal(discard_out(t), 10);
	pass_ms(t, 100);
	inject(t, ". seq 1 ack %u", block(t, 0)->snd_nxt - t->peer->irs);
	assert_int_equal(block(t, 0)->cwnd, model(t, 0)->bbr.cwnd);
	assert_int_equal(model(t, 0)->rate.delivered, 10 * FULL);
	end(t);
}

/* Its window is no burst: 20 segments go in 1/2.77 of a round trip. */
static void is_paced(void **state)
{
	struct test *t = begin(4);
	unsigned sent;

	(void)state;
	open_at(t, 0);
	app_send(t, 0, 60 * FULL);
	discard_out(t);
	pass_ms(t, 100);
	inject(t, ". seq 1 ack %u", block(t, 0)->snd_nxt - t->peer->irs);
	sent = discard_out(t);
	assert_in_range(sent, 1, 3);
	pass_ms(t, 20);
	sent += discard_out(t);
	assert_in_range(sent, 4, 10);
	pass_ms(t, 60);
	sent += discard_out(t);
	assert_int_equal(sent, 20);
	end(t);
}

/* An idle connection gives its model to one that is busy; a busy one keeps it, and the other has CUBIC. */
static void none_is_left(void **state)
{
	struct test *t = begin(1);

	(void)state;
	open_at(t, 0);
	open_at(t, 1);
	open_at(t, 2);
	mark(t);
	burst(t, 0, 20);
	assert_non_null(model(t, 0));
	t->peer = &t->peers[1];
	app_send(t, 1, 20 * FULL);
	discard_out(t);
	assert_null(model(t, 0));
	assert_non_null(model(t, 1));
	assert_int_equal(counted(t, tcp_models_reclaimed), 1);
	stack_verify(t->stack);
	burst(t, 2, 40);
	assert_null(model(t, 2));
	assert_non_null(model(t, 1));
	assert_true(counted(t, tcp_models_missing) > 0);
	assert_true(block(t, 2)->cwnd > 20 * FULL); /* it grows all the same */
	end(t);
}

static void goes_with_its_connection(void **state)
{
	struct test *t = begin(4);

	(void)state;
	open_at(t, 0);
	app_send(t, 0, 20 * FULL);
	discard_out(t);
	assert_int_equal(usage(t).models, 1);
	app_abort(t, 0);
	assert_int_equal(usage(t).models, 0);
	end(t);
}

/* Another algorithm is chosen, and this one again. */
static void by_connection(void **state)
{
	struct test *t = begin(4);

	(void)state;
	open_at(t, 0);
	app_send(t, 0, 20 * FULL);
	discard_out(t);
	assert_int_equal(c10m_set_congestion(app_conn(t, 0), "newreno"), 0);
	assert_null(model(t, 0));
	pass_ms(t, 100);
	inject(t, ". seq 1 ack %u", block(t, 0)->snd_nxt - t->peer->irs);
	discard_out(t);
	assert_int_equal(usage(t).models, 0);
	assert_int_equal(c10m_set_congestion(app_conn(t, 0), "bbr"), 0);
	burst(t, 0, 40);
	assert_int_equal(usage(t).models, 1);
	end(t);
}

static void survives_a_rebuild(void **state)
{
	struct test *t = begin(4);
	struct bbr before;

	(void)state;
	open_at(t, 0);
	open_at(t, 1);
	burst(t, 0, 40);
	burst(t, 1, 20);
	t->peer = &t->peers[0];
	app_abort(t, 1);
	discard_out(t);
	before = model(t, 0)->bbr;
	stack_rebuild(t->stack, t->now_us);
	stack_verify(t->stack);
	assert_int_equal(usage(t).models, 1);
	assert_memory_equal(&model(t, 0)->bbr, &before, sizeof(before));
	burst(t, 0, 40);
	end(t);
}

/* A loss leaves the window where the model has it, while it is repaired and after; a time-out, too. */
static void loss_is_no_halving(void **state)
{
	struct test *t = begin(4);
	uint32_t una, cwnd;

	(void)state;
	open_at(t, 0);
	burst(t, 0, 60);
	app_send(t, 0, 60 * FULL);
	pass_ms(t, 90);
	discard_out(t);
	una = block(t, 0)->snd_una - t->peer->irs;
	cwnd = block(t, 0)->cwnd;
	assert_true(cwnd > 15 * FULL);
	mark(t);
	inject(t, ". seq 1 ack %u sack %u-%u", una, una + FULL, una + 6 * FULL);
	assert_int_equal(counted(t, tcp_fast_retransmits), 1);
	assert_true(block(t, 0)->cwnd >= cwnd);
	pass_ms(t, 50);
	discard_out(t);
	assert_int_equal(counted(t, tcp_retransmits), 1);
	inject(t, ". seq 1 ack %u", una + 6 * FULL);
	assert_false(block(t, 0)->pending & TCB_RECOVERY);
	assert_true(block(t, 0)->cwnd >= cwnd);
	discard_out(t);
	pass_ms(t, 2000);
	discard_out(t);
	assert_true(block(t, 0)->cwnd <= 2 * FULL);
	cwnd = model(t, 0)->bbr.prior_cwnd;
	inject(t, ". seq 1 ack %u", block(t, 0)->snd_nxt - t->peer->irs);
	pass_ms(t, 100);
	discard_out(t);
	assert_true(block(t, 0)->cwnd >= cwnd / 2);
	end(t);
}

/* After a pause the window is what it was, and the rate too. */
static void keeps_its_window_when_idle(void **state)
{
	struct test *t = begin(4);
	uint32_t cwnd;

	(void)state;
	open_at(t, 0);
	burst(t, 0, 100);
	cwnd = block(t, 0)->cwnd;
	assert_true(cwnd > 20 * FULL);
	pass_ms(t, 8000);
	app_send(t, 0, 100 * FULL);
	assert_int_equal(block(t, 0)->cwnd, cwnd);
	assert_true(model(t, 0)->bbr.idle_restart);
	assert_in_range(discard_out(t), 1, 20);
	end(t);
}

/* Without SACK duplicates alone tell of losses, and it goes on. */
static void without_sack(void **state)
{
	struct test *t = begin(4);
	uint32_t una;

	(void)state;
	t->peers[0].offer_sack = false;
	open_at(t, 0);
	app_send(t, 0, 40 * FULL);
	discard_out(t);
	pass_ms(t, 100);
	una = block(t, 0)->snd_una - t->peer->irs;
	mark(t);
	for (unsigned i = 0; i < 4; i++) {
		inject(t, ". seq 1 ack %u", una);
		discard_out(t);
	}
	assert_int_equal(counted(t, tcp_fast_retransmits), 1);
	discard_out(t);
	inject(t, ". seq 1 ack %u", block(t, 0)->snd_nxt - t->peer->irs);
	discard_out(t);
	assert_true(block(t, 0)->cwnd >= 4 * FULL);
	app_abort(t, 0);
	end(t);
}

static const struct CMUnitTest tests[] = {
	TEST(attaches_with_a_burst), TEST(is_paced),
	TEST(none_is_left),          TEST(goes_with_its_connection),
	TEST(by_connection),         TEST(survives_a_rebuild),
	TEST(loss_is_no_halving),    TEST(keeps_its_window_when_idle),
	TEST(without_sack),
};

PACKET_MAIN(tests)
