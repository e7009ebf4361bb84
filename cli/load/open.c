/* open.c - connections come: from which address and port each, how many at a time, how fast.
 * In: turns. Out: c10m_connect. Owns: the engine's path and its schedule of opens. */
#include <errno.h>
#include <string.h>

#include "flow/ports.h"
#include "load.h"

#define OPEN_BURST 64u
#define PATH_TRIES 64u /* places taken by connections that have not quite ended */

/* Step by step through all pairs of the target's ports, our addresses and our ports. The order spreads
 * neighbours over addresses. */
static void path_at(const struct load_config *config, uint64_t path, struct c10m_connect_request *request)
{
	uint64_t addresses = MAX_OF(config->source_count, 1u);

	request->remote_address = config->target_address;
	request->remote_port = (uint16_t)(config->target_port + path % config->target_ports);
	path /= config->target_ports;
	if (config->source_count == 0)
		return; /* the stack chooses */
	request->local_address = config->source_address + (uint32_t)(path % addresses);
	request->local_port = (uint16_t)(PORTS_FIRST + path / addresses % PORTS_COUNT);
}

static bool try_one(struct load_engine *engine, const struct load_conn *state, int *error)
{
	struct c10m_connect_request request = {.state = state, .state_bytes = sizeof(*state)};

	path_at(engine->config, engine->path++, &request);
	if (engine->config->fastopen) {
		request.data = engine->config->http_request;
		request.data_bytes = engine->config->http_bytes;
	}
	return c10m_connect(engine->worker, &request, error) != 0;
}

static void count_failure(struct load_engine *engine, int error)
{
	if (error == -ENETUNREACH || error == -EINVAL)
		engine->counts.open_unreachable++;
	else
		engine->counts.open_other++;
}

/* False when there is no room now: no block, or no free port. */
static bool open_one(struct load_engine *engine, uint64_t intended_us)
{
	struct load_conn state = {
		.number = (uint64_t)engine->number << 48 | engine->started,
		.intended_us = intended_us,
		.begun_us = (uint32_t)engine->now_us,
		.stage = STAGE_OPENING,
	};
	int error = -EADDRINUSE;

	await_begin(engine, &state);
	for (uint32_t i = 0; i < PATH_TRIES && (error == -EADDRINUSE || error == -EADDRNOTAVAIL); i++)
		if (try_one(engine, &state, &error))
			break;
	if (error)
		await_end(engine, &state);
	if (error == -ENOMEM || error == -EADDRINUSE || error == -EADDRNOTAVAIL)
		return false;
	engine->started++;
	engine->counts.started++;
	if (error)
		count_failure(engine, error);
	else
		engine->opening++;
	if (engine->open_first_us == 0)
		engine->open_first_us = engine->now_us;
	return true;
}

/* How many may be begun, but for the window. */
static uint64_t wanted(const struct load_engine *engine)
{
	uint64_t present = engine->opening + engine->held + engine->closing, room;

	if (engine->enough)
		return 0;
	if (engine->config->churn)
		room = engine->share > present ? engine->share - present : 0;
	else
		room = engine->share - engine->started;
	if (engine->config->rate)
		room = MIN_OF(room, schedule_owed(&engine->opens, engine->now_us));
	return room;
}

void open_slice(struct load_engine *engine)
{
	uint64_t count = MIN_OF(wanted(engine), (uint64_t)OPEN_BURST);
	bool good = true;

	for (; count > 0 && good && engine->opening < (uint32_t)engine->window.size; count--) {
		uint64_t intended_us = engine->now_us;

		if (engine->config->rate)
			intended_us = schedule_next_us(&engine->opens);
		if (engine->config->churn)
			histogram_add(&engine->send_delay,
				      engine->now_us - MIN_OF(intended_us, engine->now_us));
		good = open_one(engine, intended_us);
		if (good && engine->config->rate)
			schedule_take(&engine->opens);
	}
}

bool open_is_over(const struct load_engine *engine)
{
	return engine->started >= engine->share && engine->opening == 0;
}

uint64_t open_next_us(const struct load_engine *engine)
{
	if (engine->opening >= (uint32_t)engine->window.size)
		return UINT64_MAX;
	if (wanted(engine) > 0)
		return engine->now_us + (engine->opening || engine->closing ? 1 : 0);
	if (engine->config->rate && !engine->enough &&
	    (engine->config->churn || engine->started < engine->share))
		return MAX_OF(schedule_next_us(&engine->opens), engine->now_us + 1);
	return UINT64_MAX;
}
