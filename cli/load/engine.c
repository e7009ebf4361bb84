/* engine.c - one worker's part of a run: phase after phase, a slice of each in every turn.
 * In: turns of the worker's loop. Out: the stop, when all phases are over. Owns: the engines. */
#include <string.h>

#include "load.h"

#define SHOW_US     20000
#define WAIT_US     1000 /* how often a worker looks whether the others are as far */
#define CLOSE_BURST 256u
#define CLOSING_MAX 512u  /* as many as rings of interfaces hold */
#define HOPELESS    1000u /* so many opens fail, and none succeeds: the run ends */

static struct load_engine engines[OWNER_WORKERS_MAX];
static atomic_uint arrivals[PHASE_OVER + 1];
static _Atomic(const char *) verdict;

struct load_engine *engine_at(uint32_t number)
{
	return &engines[number];
}

struct load_engine *engine_of(const c10m_worker *worker)
{
	return &engines[c10m_worker_number(worker)];
}

const char *engines_verdict(void)
{
	return atomic_load(&verdict);
}

/* The connections are shared out as evenly as they can be. */
void engines_prepare(const struct load_config *config, struct load_shown *shown, atomic_flag *locks)
{
	for (uint32_t i = 0; i < config->workers; i++) {
		struct load_engine *engine = &engines[i];

		memset(engine, 0, sizeof(*engine));
		engine->config = config;
		engine->number = i;
		engine->share = config->connections / config->workers +
				(i < config->connections % config->workers);
		engine->random = random_seeded(config->secret + i);
		engine->shown = &shown[i];
		engine->shown_lock = &locks[i];
	}
	for (unsigned i = 0; i <= PHASE_OVER; i++)
		atomic_store(&arrivals[i], 0);
	atomic_store(&verdict, NULL);
}

/* --- phases ------------------------------------------------------------------------------- */

static bool phase_is_wanted(const struct load_config *config, enum load_phase phase)
{
	switch (phase) {
	case PHASE_OPEN:
		return !config->churn;
	case PHASE_PROVE:
		return config->prove_before;
	case PHASE_PACED:
		return config->paced_percent > 0 || config->paced_rate > 0;
	case PHASE_MESSAGE:
		return config->message_bytes > 0;
	case PHASE_PROVE_AFTER:
		return config->prove_after;
	case PHASE_LOAD:
	case PHASE_CLOSE:
	case PHASE_OVER:
		break;
	}
	return true;
}

/* One request a second at least: else nothing would follow a load that nobody answered. */
static double rate_reached(const struct load_engine *engine)
{
	double seconds = (double)(engine->load_last_us - engine->load_first_us) / 1e6;
	double rate = seconds > 0 ? (double)engine->answered_in_load / seconds : 0;

	return rate > 1 ? rate : 1;
}

/* Never more than was reached: latency would tell of a queue that grows as long as it lasts. */
static double rate_paced(const struct load_engine *engine)
{
	const struct load_config *config = engine->config;
	double reached = rate_reached(engine), wanted = (double)config->paced_rate / config->workers;

	if (config->paced_percent)
		return reached * config->paced_percent / 100;
	return wanted < reached ? wanted : reached;
}

static void phase_begin(struct load_engine *engine, enum load_phase phase)
{
	const struct load_config *config = engine->config;

	while (!phase_is_wanted(config, phase))
		phase++;
	engine->phase = phase;
	engine->phase_us = engine->now_us;
	engine->arrived = false;
	engine->cursor = 0;
	engine->enough = false;
	if (phase == PHASE_OPEN || config->churn)
		schedule_begin(&engine->opens, engine->now_us, (double)config->rate / config->workers);
	if (phase == PHASE_CLOSE) {
		engine->held_at_end = engine->held;
		engine->close_first_us = engine->close_last_us = engine->now_us;
	}
	if (phase == PHASE_LOAD) {
		engine->load_first_us = engine->load_last_us = engine->now_us;
		if (config->duration_s)
			engine->jitter =
				(struct jitter){0}; /* to stand beside the latency of this time alone */
		engine->request_rate = (double)config->request_rate / config->workers;
		schedule_begin(&engine->requests, engine->now_us, engine->request_rate);
	}
	if (phase == PHASE_PACED) {
		engine->paced_first_us = engine->paced_last_us = engine->now_us;
		engine->jitter = (struct jitter){0};
		engine->request_rate = rate_paced(engine);
		schedule_begin(&engine->requests, engine->now_us, engine->request_rate);
	}
}

static uint64_t load_end_us(const struct load_engine *engine)
{
	if (engine->config->stay)
		return UINT64_MAX;
	return engine->phase_us + (uint64_t)engine->config->duration_s * 1000000;
}

static uint64_t *load_last(struct load_engine *engine)
{
	return engine->phase == PHASE_PACED ? &engine->paced_last_us : &engine->load_last_us;
}

/* What was meant to be asked in this time, and could not be. */
static void load_end(struct load_engine *engine)
{
	engine->enough = true;
	*load_last(engine) = load_end_us(engine);
	if (engine->request_rate > 0 && !engine->config->churn)
		engine->counts.unsent += schedule_owed(&engine->requests, *load_last(engine) - 1);
}

static bool load_slice(struct load_engine *engine)
{
	const struct load_config *config = engine->config;

	if (!engine->enough && engine->now_us >= load_end_us(engine))
		load_end(engine);
	if (config->churn) {
		open_slice(engine);
		return engine->enough && engine->opening + engine->held + engine->closing == 0;
	}
	if (engine->enough)
		return config->protocol == LOAD_STREAM || engine->in_flight == 0;
	*load_last(engine) = engine->now_us;
	if (config->protocol == LOAD_ECHO || config->protocol == LOAD_HTTP)
		ask_slice(engine);
	else if (config->protocol == LOAD_STREAM)
		prove_slice(engine);
	return false;
}

static bool message_is_over(const struct load_engine *engine)
{
	return engine->counts.messages >= engine->held ||
	       engine->now_us >= engine->phase_us + (uint64_t)engine->config->message_wait_s * 1000000;
}

static bool close_slice(struct load_engine *engine)
{
	uint32_t places = c10m_conn_places(engine->worker), budget = CLOSE_BURST;

	for (; engine->cursor < places && budget > 0 && engine->closing < CLOSING_MAX; budget--) {
		c10m_conn *conn = c10m_conn_at(engine->worker, engine->cursor++);

		c10m_conn_prefetch(engine->worker, engine->cursor + 8);
		if (conn && ((struct load_conn *)c10m_conn_state(conn))->held)
			conn_close(engine, conn);
	}
	return engine->cursor >= places && engine->closing == 0;
}

/* True when this worker's part of the phase is done. */
static bool phase_slice(struct load_engine *engine)
{
	switch (engine->phase) {
	case PHASE_OPEN:
		open_slice(engine);
		return open_is_over(engine);
	case PHASE_PROVE:
	case PHASE_PROVE_AFTER:
		prove_slice(engine);
		return prove_is_over(engine);
	case PHASE_LOAD:
	case PHASE_PACED:
		return load_slice(engine);
	case PHASE_MESSAGE:
		return message_is_over(engine);
	case PHASE_CLOSE:
		return close_slice(engine);
	case PHASE_OVER:
		break;
	}
	return false;
}

/* The next phase begins when all workers are as far. */
static void advance(struct load_engine *engine)
{
	uint32_t workers = engine->config->workers;

	if (engine->phase == PHASE_OVER)
		return;
	if (!engine->arrived && phase_slice(engine)) {
		engine->arrived = true;
		atomic_fetch_add(&arrivals[engine->phase], 1);
	}
	if (!engine->arrived || atomic_load(&arrivals[engine->phase]) < workers)
		return;
	phase_begin(engine, engine->phase + 1);
	if (engine->phase == PHASE_OVER && atomic_fetch_add(&arrivals[PHASE_OVER], 1) + 1 == workers)
		c10m_stop();
}

/* --- the turn -------------------------------------------------------------------------------- */

static void show(struct load_engine *engine)
{
	struct load_shown *shown = engine->shown;

	engine->show_us = engine->now_us + SHOW_US;
	if (atomic_flag_test_and_set_explicit(engine->shown_lock, memory_order_acquire))
		return; /* it is being read: the next time, then */
	shown->counts = engine->counts;
	shown->held = engine->held;
	shown->opening = engine->opening;
	shown->in_flight = engine->in_flight;
	shown->phase = engine->phase;
	shown->latency = engine->latency;
	histogram_merge(&shown->latency, &engine->paced);
	atomic_flag_clear_explicit(engine->shown_lock, memory_order_release);
}

static void end_early(struct load_engine *engine, const char *why)
{
	atomic_store(&verdict, why);
	engine->held_at_end = engine->held;
	if (engine->phase == PHASE_LOAD && !engine->enough)
		engine->load_last_us = engine->now_us;
	engine->phase = PHASE_OVER;
	c10m_stop();
}

/* Who waits for answers, and got none for twice the time in which one is late, waits for nobody. */
static void watch_for_standstill(struct load_engine *engine)
{
	const struct load_counts *counts = &engine->counts;
	uint64_t moved = counts->opened + counts->answers + counts->late + counts->closed + counts->bytes_in +
			 counts->lost_reset + counts->lost_closed + load_open_failures(counts);
	bool waits = engine->opening + engine->in_flight + engine->closing > 0;

	if (moved != engine->moved || !waits) {
		engine->moved = moved;
		engine->moved_us = engine->now_us;
	} else if (engine->phase != PHASE_OVER &&
		   engine->now_us - engine->moved_us > 2000ull * engine->config->late_ms) {
		end_early(engine, "the target does not answer any more");
	}
}

static void give_up(struct load_engine *engine)
{
	const struct load_counts *counts = &engine->counts;

	if (engine->phase == PHASE_OVER || counts->opened > 0 ||
	    load_open_failures(counts) < MIN_OF(HOPELESS, engine->share))
		return;
	if (counts->open_refused)
		end_early(engine, "the target refuses every connection: is a server listening on that port?");
	else if (counts->open_unreachable)
		end_early(engine, "the target cannot be reached: nobody has that address in this network, or "
				  "--gateway is missing or wrong");
	else
		end_early(engine,
			  "the target answers no connection: is the address right, and a server there? "
			  "With --source-net it needs a route back");
}

static uint64_t phase_next_us(const struct load_engine *engine)
{
	if (engine->arrived)
		return engine->now_us + WAIT_US;
	switch (engine->phase) {
	case PHASE_OPEN:
		return open_next_us(engine);
	case PHASE_PROVE:
	case PHASE_PROVE_AFTER:
		return engine->cursor < c10m_conn_places(engine->worker) ? engine->now_us : UINT64_MAX;
	case PHASE_LOAD:
	case PHASE_PACED:
		if (engine->enough)
			return engine->now_us + WAIT_US;
		return MIN_OF(ask_next_us(engine), load_end_us(engine));
	case PHASE_MESSAGE:
		return engine->now_us + WAIT_US;
	case PHASE_CLOSE:
		return engine->cursor < c10m_conn_places(engine->worker) ? engine->now_us
									 : engine->now_us + WAIT_US;
	case PHASE_OVER:
		break;
	}
	return UINT64_MAX;
}

uint64_t engine_turn(c10m_worker *worker)
{
	struct load_engine *engine = engine_of(worker);
	uint64_t next_us;

	engine->now_us = c10m_now_us(worker);
	if (engine->phase <= PHASE_PACED)
		jitter_turn(&engine->jitter, engine->now_us, engine->rest_until_us);
	await_slice(engine);
	advance(engine);
	if (engine->now_us >= engine->show_us) {
		show(engine);
		give_up(engine);
		watch_for_standstill(engine);
	}
	next_us = MIN_OF(phase_next_us(engine), await_next_us(engine));
	next_us = MIN_OF(next_us, engine->show_us);
	engine->rest_until_us = next_us > engine->now_us ? next_us : 0;
	return next_us;
}

void engine_start(c10m_worker *worker)
{
	struct load_engine *engine = engine_of(worker);

	engine->worker = worker;
	engine->now_us = c10m_now_us(worker);
	engine->await_checked = (uint32_t)(engine->now_us / LOAD_AWAIT_TICK_US);
	window_begin(&engine->window);
	phase_begin(engine, PHASE_OPEN);
}

/* Ctrl-C, or the end: what is open is reset by the worker. */
void engine_stop(c10m_worker *worker)
{
	struct load_engine *engine = engine_of(worker);

	if (engine->phase == PHASE_OVER)
		return;
	if (load_is_on(engine))
		*load_last(engine) = c10m_now_us(worker);
	if (engine->phase < PHASE_CLOSE)
		engine->held_at_end = engine->held;
	engine->interrupted = true;
	engine->phase = PHASE_OVER;
}
