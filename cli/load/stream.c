/* stream.c - bulk: as many bytes as the connection takes, and what comes back compared with them.
 * In: what comes back. Out: bytes that tell their place in the stream. Owns: nothing. */
#include "load.h"

#define PIECE_BYTES 4096u

static bool sends(const struct load_engine *engine, const struct load_conn *state)
{
	return engine->config->direction != LOAD_RECEIVE && state->stage == STAGE_ASKED && load_is_on(engine);
}

/* As long as bytes move, nobody is late. */
static void moved(struct load_engine *engine, struct load_conn *state)
{
	if (!state->awaits ||
	    state->await_tick == (uint32_t)(c10m_now_us(engine->worker) / LOAD_AWAIT_TICK_US))
		return;
	await_end(engine, state);
	await_begin(engine, state);
}

static uint64_t seed_of(const struct load_engine *engine, const struct load_conn *state)
{
	return token_seed(engine->config->secret, state->number, 0);
}

void stream_send(struct load_engine *engine, c10m_conn *conn)
{
	struct load_conn *state = c10m_conn_state(conn);
	uint64_t seed = seed_of(engine, state);
	uint8_t bytes[PIECE_BYTES];
	size_t taken = PIECE_BYTES;

	while (taken == PIECE_BYTES && sends(engine, state)) {
		token_fill(seed, state->stream.sent, bytes, PIECE_BYTES);
		taken = c10m_send(conn, bytes, PIECE_BYTES);
		state->stream.sent += taken;
		engine->counts.bytes_out += taken;
		if (taken)
			moved(engine, state);
	}
}

size_t stream_data(struct load_engine *engine, c10m_conn *conn, const uint8_t *data, size_t len)
{
	struct load_conn *state = c10m_conn_state(conn);

	moved(engine, state);
	if (engine->config->direction == LOAD_RECEIVE)
		return len;
	if (state->stream.sent - state->stream.got < len || engine->config->direction == LOAD_SEND)
		conn_fail(engine, conn, &engine->counts.lost_unasked);
	else if (!token_matches(seed_of(engine, state), state->stream.got, data, len))
		conn_fail(engine, conn, &engine->counts.lost_wrong);
	state->stream.got += len;
	return len;
}
