/* echo.c - requests that are answered by themselves.
 * In: what comes back. Out: bytes that belong to one request of one connection. Owns: nothing. */
#include "load.h"

#define PIECE_BYTES 2048u

uint64_t echo_seed(const struct load_config *config, const struct load_conn *state)
{
	return token_seed(config->secret, state->number, state->request);
}

/* From where it was left: on_writable comes back to it. */
void echo_send(struct load_engine *engine, c10m_conn *conn)
{
	struct load_conn *state = c10m_conn_state(conn);
	uint64_t seed = echo_seed(engine->config, state);
	uint8_t bytes[PIECE_BYTES];
	uint32_t count, taken;

	do {
		count = MIN_OF(engine->config->payload - state->echo.sent, PIECE_BYTES);
		token_fill(seed, state->echo.sent, bytes, count);
		taken = (uint32_t)c10m_send(conn, bytes, count);
		state->echo.sent += taken;
		engine->counts.bytes_out += taken;
	} while (taken == count && state->echo.sent < engine->config->payload);
}

/* The answer to the last request but one, once more? */
static bool is_repeated(const struct load_config *config, const struct load_conn *state, const uint8_t *data,
			size_t len)
{
	uint64_t before = token_seed(config->secret, state->number, state->request - 1);

	return state->request > 1 && token_matches(before, state->echo.got, data, len);
}

/* Whatever comes before all was sent can only be what was sent of it. */
size_t echo_data(struct load_engine *engine, c10m_conn *conn, const uint8_t *data, size_t len)
{
	struct load_conn *state = c10m_conn_state(conn);
	uint32_t wanted = engine->config->payload - state->echo.got;
	uint32_t count = (uint32_t)MIN_OF(len, (size_t)wanted);

	if (!token_matches(echo_seed(engine->config, state), state->echo.got, data, count)) {
		conn_fail(engine, conn,
			  is_repeated(engine->config, state, data, count) ? &engine->counts.lost_repeated
									  : &engine->counts.lost_wrong);
		return len;
	}
	state->echo.got += count;
	if (state->echo.got < engine->config->payload)
		return len;
	if (len > count)
		conn_unasked(engine, conn, data + count, len - count);
	else
		conn_answered(engine, conn);
	return len;
}
