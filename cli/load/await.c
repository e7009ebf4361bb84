/* await.c - what is not answered in time, without a list or a timer for it.
 *
 * Of each tenth of a second it is known how many still wait since then. While answers come, these counts fall
 * to zero by themselves, and nothing else is done. One that does not within the time means that somebody
 * waits too long: then all places are walked over, a slice a turn. In: turns. Out: conn_late. Owns: the
 * engine's counts of what is awaited. */
#include "load.h"

#define SWEEP_BURST 2048u
#define SWEEP_AHEAD 16u
#define SWEEP_US    500000 /* between two walks, at least */

static uint32_t tick_of(uint64_t us)
{
	return (uint32_t)(us / LOAD_AWAIT_TICK_US);
}

static uint32_t late_ticks(const struct load_engine *engine)
{
	return engine->config->late_ms * 1000 / LOAD_AWAIT_TICK_US;
}

void await_begin(struct load_engine *engine, struct load_conn *state)
{
	state->await_tick = tick_of(c10m_now_us(engine->worker));
	state->awaits = true;
	engine->awaited[state->await_tick % LOAD_AWAIT_SLOTS]++;
}

void await_end(struct load_engine *engine, struct load_conn *state)
{
	if (!state->awaits)
		return;
	state->awaits = false;
	engine->awaited[state->await_tick % LOAD_AWAIT_SLOTS]--;
}

static bool is_late(const struct load_engine *engine, const struct load_conn *state)
{
	return state->awaits && tick_of(engine->now_us) - state->await_tick > late_ticks(engine);
}

static void sweep(struct load_engine *engine)
{
	for (uint32_t i = 0; i < SWEEP_BURST && engine->sweep_next < engine->sweep_end; i++) {
		c10m_conn *conn = c10m_conn_at(engine->worker, engine->sweep_next++);

		c10m_conn_prefetch(engine->worker, engine->sweep_next + SWEEP_AHEAD);
		if (conn && is_late(engine, c10m_conn_state(conn)))
			conn_late(engine, conn);
	}
}

void await_slice(struct load_engine *engine)
{
	uint32_t now = tick_of(engine->now_us), late = late_ticks(engine);

	if (unlikely(engine->sweep_next < engine->sweep_end)) {
		sweep(engine);
		return;
	}
	for (; now - engine->await_checked > late; engine->await_checked++) {
		if (likely(engine->awaited[engine->await_checked % LOAD_AWAIT_SLOTS] == 0))
			continue;
		if (engine->now_us >= engine->sweep_us) {
			engine->sweep_next = 0;
			engine->sweep_end = c10m_conn_places(engine->worker);
			engine->sweep_us = engine->now_us + SWEEP_US;
		}
		return;
	}
}

uint64_t await_next_us(const struct load_engine *engine)
{
	if (engine->sweep_next < engine->sweep_end)
		return engine->now_us;
	return (uint64_t)(tick_of(engine->now_us) + 1) * LOAD_AWAIT_TICK_US;
}
