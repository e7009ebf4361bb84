/* conn.c - what happens to a connection, and what it counts as.
 * In: callbacks. Out: counts, the next request. Owns: the state in each connection's block. */
#include "load.h"

bool conn_is_free(const struct load_conn *state)
{
	return state->stage == STAGE_OPEN;
}

uint64_t load_lost(const struct load_counts *counts)
{
	return counts->lost_reset + counts->lost_closed + counts->lost_timeout + counts->lost_wrong +
	       counts->lost_repeated + counts->lost_unasked + counts->unanswered;
}

uint64_t load_open_failures(const struct load_counts *counts)
{
	return counts->open_refused + counts->open_timeout + counts->open_unreachable + counts->open_other;
}

static struct load_engine *engine_for(c10m_conn *conn)
{
	return engine_of(c10m_conn_worker(conn));
}

/* Nothing more is expected of it. */
static void settle(struct load_engine *engine, struct load_conn *state, enum load_stage stage)
{
	if (state->stage == STAGE_ASKED)
		engine->in_flight--;
	await_end(engine, state);
	state->stage = (uint8_t)stage;
}

static void let_go(struct load_engine *engine, struct load_conn *state)
{
	engine->held -= state->held;
	state->held = false;
}

void conn_fail(struct load_engine *engine, c10m_conn *conn, uint64_t *counter)
{
	(*counter)++;
	settle(engine, c10m_conn_state(conn), STAGE_FAILED);
	c10m_abort(conn);
}

void conn_close(struct load_engine *engine, c10m_conn *conn)
{
	const struct load_config *config = engine->config;
	struct load_conn *state = c10m_conn_state(conn);

	settle(engine, state, STAGE_CLOSING);
	let_go(engine, state);
	engine->closing++;
	await_begin(engine, state);
	if (config->reset || engine->no_goodbyes ||
	    (config->protocol == LOAD_STREAM && config->direction == LOAD_RECEIVE))
		c10m_abort(conn);
	else if (config->protocol == LOAD_STREAM)
		c10m_shutdown(conn); /* what is on its way comes back, then the end */
	else if (config->protocol == LOAD_HTTP && config->churn)
		return; /* the server closes first, as it was asked to */
	else
		c10m_close(conn);
}

/* --- open -------------------------------------------------------------------------------------- */

static void begin_session(struct load_engine *engine, c10m_conn *conn, uint64_t now_us)
{
	struct load_conn *state = c10m_conn_state(conn);

	if (engine->config->protocol != LOAD_CONNECT || engine->config->requests_per_connection > 0) {
		ask(engine, conn, state->intended_us);
		return;
	}
	histogram_add(&engine->latency, now_us - state->intended_us);
	engine->counts.sessions++;
	engine->answered_in_load++;
	conn_close(engine, conn);
}

static void on_open(c10m_conn *conn)
{
	struct load_engine *engine = engine_for(conn);
	struct load_conn *state = c10m_conn_state(conn);
	uint64_t now_us = c10m_now_us(engine->worker);
	uint32_t took_us = (uint32_t)now_us - state->begun_us;

	if (state->stage != STAGE_OPENING)
		return; /* too late: it is being reset */
	settle(engine, state, STAGE_OPEN);
	engine->opening--;
	engine->held++;
	state->held = true;
	engine->counts.opened++;
	engine->open_last_us = now_us;
	histogram_add(&engine->open_time, took_us);
	window_answered(&engine->window, now_us, took_us);
	if (engine->config->churn)
		begin_session(engine, conn, now_us);
}

static void count_open_failure(struct load_counts *counts, enum c10m_close_reason reason)
{
	switch (reason) {
	case C10M_CLOSE_REFUSED:
	case C10M_CLOSE_RESET:
		counts->open_refused++;
		break;
	case C10M_CLOSE_TIMEOUT:
		counts->open_timeout++;
		break;
	case C10M_CLOSE_UNREACHABLE:
		counts->open_unreachable++;
		break;
	case C10M_CLOSE_STOPPED:
		break;
	default:
		counts->open_other++;
	}
}

/* --- the end --------------------------------------------------------------------------------------- */

static void count_loss(struct load_counts *counts, enum c10m_close_reason reason)
{
	switch (reason) {
	case C10M_CLOSE_RESET:
		counts->lost_reset++;
		break;
	case C10M_CLOSE_TIMEOUT:
	case C10M_CLOSE_KEEPALIVE:
		counts->lost_timeout++;
		break;
	case C10M_CLOSE_STOPPED:
		break;
	default:
		counts->lost_closed++;
	}
}

static void count_close(struct load_engine *engine, enum c10m_close_reason reason)
{
	engine->closing--;
	engine->close_last_us = c10m_now_us(engine->worker);
	if (reason == C10M_CLOSE_NORMAL || reason == C10M_CLOSE_ABORTED)
		engine->counts.closed++;
	else
		count_loss(&engine->counts, reason);
}

static void on_close(c10m_conn *conn, enum c10m_close_reason reason)
{
	struct load_engine *engine = engine_for(conn);
	struct load_conn *state = c10m_conn_state(conn);

	switch ((enum load_stage)state->stage) {
	case STAGE_OPENING:
		engine->opening--;
		count_open_failure(&engine->counts, reason);
		window_lost(&engine->window, c10m_now_us(engine->worker));
		break;
	case STAGE_CLOSING:
		count_close(engine, reason);
		break;
	case STAGE_OPEN:
	case STAGE_ASKED:
	case STAGE_LATE:
		count_loss(&engine->counts, reason);
		break;
	case STAGE_FAILED:
		break;
	}
	settle(engine, state, STAGE_FAILED);
	let_go(engine, state);
}

static void on_eof(c10m_conn *conn)
{
	struct load_engine *engine = engine_for(conn);
	struct load_conn *state = c10m_conn_state(conn);

	if (engine->config->protocol == LOAD_HTTP && state->stage == STAGE_ASKED)
		http_eof(engine, conn);
	if (state->held && state->stage != STAGE_FAILED) {
		engine->counts.lost_closed++;
		settle(engine, state, STAGE_FAILED);
	}
	c10m_close(conn);
}

/* A request that was not answered in time is lost, even if the answer comes after all. */
void conn_late(struct load_engine *engine, c10m_conn *conn)
{
	struct load_conn *state = c10m_conn_state(conn);

	if (state->stage == STAGE_OPENING) {
		engine->opening--;
		window_lost(&engine->window, engine->now_us);
		conn_fail(engine, conn, &engine->counts.open_timeout);
	} else if (state->stage == STAGE_CLOSING) {
		engine->closing--;
		engine->no_goodbyes = true;
		conn_fail(engine, conn, &engine->counts.unclosed);
	} else if (engine->config->churn || engine->config->protocol == LOAD_STREAM) {
		conn_fail(engine, conn, &engine->counts.unanswered);
	} else {
		engine->counts.unanswered++;
		settle(engine, state, STAGE_LATE);
	}
}

/* --- data --------------------------------------------------------------------------------------------- */

static void session_goes_on(struct load_engine *engine, c10m_conn *conn)
{
	const struct load_conn *state = c10m_conn_state(conn);

	if (state->request < engine->config->requests_per_connection) {
		ask(engine, conn, c10m_now_us(engine->worker));
		return;
	}
	engine->counts.sessions++;
	conn_close(engine, conn);
}

void conn_answered(struct load_engine *engine, c10m_conn *conn)
{
	struct load_conn *state = c10m_conn_state(conn);

	if (state->stage == STAGE_LATE) {
		engine->counts.late++;
		state->stage = STAGE_OPEN;
		return;
	}
	engine->counts.answers++;
	if (engine->phase == PHASE_LOAD) {
		histogram_add(&engine->latency, c10m_now_us(engine->worker) - state->intended_us);
		engine->answered_in_load++;
	} else if (engine->phase == PHASE_PACED) {
		histogram_add(&engine->paced, c10m_now_us(engine->worker) - state->intended_us);
		engine->answered_paced++;
	} else if (engine->phase == PHASE_PROVE) {
		engine->counts.proved++;
	} else if (engine->phase == PHASE_PROVE_AFTER) {
		engine->counts.proved_after++;
	}
	settle(engine, state, STAGE_OPEN);
	if (engine->config->churn)
		session_goes_on(engine, conn);
	else if (ask_again_at_once(engine))
		ask(engine, conn, c10m_now_us(engine->worker));
}

/* An answer that came already, or something else. */
void conn_unasked(struct load_engine *engine, c10m_conn *conn, const uint8_t *data, size_t len)
{
	const struct load_conn *state = c10m_conn_state(conn);
	size_t bytes = MIN_OF(len, (size_t)engine->config->payload);
	bool repeated = engine->config->protocol != LOAD_HTTP && state->request > 0 &&
			token_matches(echo_seed(engine->config, state), 0, data, bytes);

	conn_fail(engine, conn, repeated ? &engine->counts.lost_repeated : &engine->counts.lost_unasked);
}

/* The message to all: every connection must get the same bytes. FNV-1a is enough to see that. */
static void take_message(struct load_engine *engine, c10m_conn *conn, const uint8_t *data, size_t len)
{
	struct load_conn *state = c10m_conn_state(conn);
	uint32_t digest = state->echo.message_got ? state->echo.digest : 2166136261u;

	if (state->messaged || len > engine->config->message_bytes - state->echo.message_got) {
		conn_fail(engine, conn, &engine->counts.lost_unasked);
		return;
	}
	for (size_t i = 0; i < len; i++)
		digest = (digest ^ data[i]) * 16777619u;
	state->echo.digest = digest;
	state->echo.message_got += (uint32_t)len;
	if (state->echo.message_got < engine->config->message_bytes)
		return;
	state->messaged = true;
	engine->counts.messages++;
	engine->message_last_us = c10m_now_us(engine->worker);
	if (!engine->message_seen) {
		engine->message_seen = true;
		engine->message_first_us = engine->message_last_us;
		engine->message_digest = digest;
	}
	engine->counts.messages_wrong += digest != engine->message_digest;
}

static size_t on_data(c10m_conn *conn, const void *data, size_t len)
{
	struct load_engine *engine = engine_for(conn);
	struct load_conn *state = c10m_conn_state(conn);

	engine->counts.bytes_in += len;
	if (state->stage == STAGE_FAILED)
		return len;
	if (engine->config->protocol == LOAD_STREAM)
		return stream_data(engine, conn, data, len);
	if (state->stage == STAGE_CLOSING)
		return len;
	if (state->stage == STAGE_OPEN && engine->config->message_bytes)
		take_message(engine, conn, data, len);
	else if (state->stage == STAGE_OPEN)
		conn_unasked(engine, conn, data, len);
	else if (engine->config->protocol == LOAD_HTTP)
		return http_data(engine, conn, data, len);
	else
		return echo_data(engine, conn, data, len);
	return len;
}

static void on_writable(c10m_conn *conn)
{
	struct load_engine *engine = engine_for(conn);
	const struct load_conn *state = c10m_conn_state(conn);

	if (state->stage != STAGE_ASKED && state->stage != STAGE_LATE)
		return;
	if (engine->config->protocol == LOAD_STREAM)
		stream_send(engine, conn);
	else if (engine->config->protocol != LOAD_HTTP)
		echo_send(engine, conn);
}

void conn_service(struct c10m_service *service)
{
	*service = (struct c10m_service){
		.name = "load",
		.flags = C10M_NODELAY,
		.state_size = sizeof(struct load_conn),
		.on_open = on_open,
		.on_data = on_data,
		.on_writable = on_writable,
		.on_eof = on_eof,
		.on_close = on_close,
		.on_start = engine_start,
		.on_turn = engine_turn,
		.on_stop = engine_stop,
	};
}
