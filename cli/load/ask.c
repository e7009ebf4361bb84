/* ask.c - requests: when, on which connection, how many at a time.
 * In: turns. Out: requests sent. Owns: the engine's schedule of requests and its walk over all places. */
#include "load.h"

#define ASK_BURST   128u
#define GROUP       32u /* places whose blocks are fetched together */
#define TRIES_EACH  4u
#define PROVE_AHEAD 16u
#define PACED_MORE  4u /* times as many in flight */

void ask(struct load_engine *engine, c10m_conn *conn, uint64_t intended_us)
{
	struct load_conn *state = c10m_conn_state(conn);

	state->stage = STAGE_ASKED;
	state->intended_us = intended_us;
	state->request++;
	engine->in_flight++;
	engine->counts.requests++;
	await_begin(engine, state);
	engine->asked_in_load += engine->phase == PHASE_LOAD;
	if (engine->phase == PHASE_LOAD && !engine->config->churn)
		histogram_add(&engine->send_delay,
			      engine->now_us > intended_us ? engine->now_us - intended_us : 0);
	switch (engine->config->protocol) {
	case LOAD_HTTP:
		http_send(engine, conn);
		break;
	case LOAD_STREAM:
		stream_send(engine, conn);
		break;
	case LOAD_ECHO:
	case LOAD_CONNECT:
	case LOAD_IDLE:
		state->echo.sent = state->echo.got = 0;
		echo_send(engine, conn);
		break;
	}
}

/* --- at random ----------------------------------------------------------------------------------- */

/* Behind a load some more than what reached the whole rate: a schedule's arrears go on waiting there, where
 * they are counted. Very many at once would only stand in our own queue of output, whose blocks are in no
 * cache any longer when their turn comes: that slows the generator down until it never catches up. */
static uint32_t in_flight_max(const struct load_engine *engine)
{
	uint32_t most = engine->config->in_flight;

	if (engine->phase == PHASE_PACED)
		most *= PACED_MORE;
	return MAX_OF(most / engine->config->workers, 1u);
}

bool ask_again_at_once(const struct load_engine *engine)
{
	return load_is_on(engine) && engine->request_rate == 0 && engine->held <= in_flight_max(engine);
}

static uint64_t owed(const struct load_engine *engine)
{
	uint32_t limit = in_flight_max(engine);
	uint64_t room = limit > engine->in_flight ? limit - engine->in_flight : 0, due;

	if (engine->request_rate == 0)
		return room;
	due = schedule_owed(&engine->requests, engine->now_us);
	return MIN_OF(room, due);
}

/* Asks on those of a few places where somebody is free; returns how many. */
static uint32_t ask_group(struct load_engine *engine, uint32_t places, uint32_t count)
{
	uint32_t picked[GROUP], asked = 0;

	for (uint32_t i = 0; i < count; i++) {
		picked[i] = random_below(&engine->random, places);
		c10m_conn_prefetch(engine->worker, picked[i]);
	}
	for (uint32_t i = 0; i < count; i++) {
		c10m_conn *conn = c10m_conn_at(engine->worker, picked[i]);

		if (!conn || !conn_is_free(c10m_conn_state(conn)))
			continue;
		ask(engine, conn,
		    engine->request_rate > 0 ? schedule_take(&engine->requests) : engine->now_us);
		asked++;
	}
	return asked;
}

void ask_slice(struct load_engine *engine)
{
	uint32_t places = c10m_conn_places(engine->worker);
	uint32_t left = (uint32_t)MIN_OF(owed(engine), (uint64_t)ASK_BURST),
		 tries = left * TRIES_EACH + GROUP;

	while (left > 0 && tries > 0 && engine->held > engine->in_flight) {
		uint32_t count = MIN_OF(MIN_OF(left, GROUP), tries);

		left -= ask_group(engine, places, count);
		tries -= count;
	}
}

uint64_t ask_next_us(const struct load_engine *engine)
{
	const struct load_config *config = engine->config;

	if (config->churn)
		return open_next_us(engine);
	if (config->protocol == LOAD_STREAM)
		return engine->cursor < c10m_conn_places(engine->worker) ? engine->now_us : UINT64_MAX;
	if (config->protocol != LOAD_ECHO && config->protocol != LOAD_HTTP)
		return UINT64_MAX;
	if (engine->held <= engine->in_flight || engine->in_flight >= in_flight_max(engine))
		return UINT64_MAX; /* enough are busy: an answer comes first */
	if (engine->request_rate > 0)
		return schedule_next_us(&engine->requests);
	return owed(engine) ? engine->now_us : UINT64_MAX;
}

/* --- one after the other ------------------------------------------------------------------------------ */

void prove_slice(struct load_engine *engine)
{
	uint32_t places = c10m_conn_places(engine->worker), budget = ASK_BURST;
	uint32_t limit = in_flight_max(engine);

	if (engine->config->protocol == LOAD_STREAM)
		limit = UINT32_MAX;
	for (; engine->cursor < places && budget > 0 && engine->in_flight < limit; budget--) {
		c10m_conn *conn = c10m_conn_at(engine->worker, engine->cursor++);

		c10m_conn_prefetch(engine->worker, engine->cursor + PROVE_AHEAD);
		if (conn && conn_is_free(c10m_conn_state(conn)))
			ask(engine, conn, engine->now_us);
	}
}

bool prove_is_over(const struct load_engine *engine)
{
	return engine->cursor >= c10m_conn_places(engine->worker) && engine->in_flight == 0;
}
