/* drill_run.c - runs a script: its events one after the other, on a fake clock.
 * In: struct drill_script. Out: a verdict. Owns: the stack and the sockets of the run. */
#include "drill_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define TOLERANCE_US 4000
#define FOR_EVER_US  (3600ull * SECOND)
#define SLOPE_AT_US  SECOND /* how fast initial sequence numbers grow is seen after so long */

void drill_fail(struct drill *drill, const struct drill_event *event, const char *format, ...)
{
	char *to = drill->script->failure;
	va_list args;
	int used = snprintf(to, DRILL_FAILURE, "%s:%u:%u: at %.6f s, ", drill->script->path,
			    event->place.line, event->place.column,
			    (double)(drill->t->now_us - drill->start_us) / SECOND);

	va_start(args, format);
	used += vsnprintf(to + used, DRILL_FAILURE - (size_t)used, format, args);
	va_end(args);
	if (used < DRILL_FAILURE)
		snprintf(to + used, DRILL_FAILURE - (size_t)used, "\n  script:   %s", event->text);
	longjmp(drill->failed, 1);
}

/* --- settings --------------------------------------------------------------------------------------- */

struct settings {
	struct stack_config *stack;
	struct sockets_config sockets;
	struct drill *drill;
};

static bool set_number(struct settings *to, const char *name, uint32_t value)
{
	const struct {
		const char *name;
		uint32_t *at;
	} numbers[] = {
		{"mtu", &to->stack->mtu},
		{"initial_window", &to->stack->initial_window_segments},
		{"delayed_ack_ms", &to->stack->delayed_ack_ms},
		{"rto_min_ms", &to->stack->rto_min_ms},
		{"rto_initial_ms", &to->stack->rto_initial_ms},
		{"time_wait_ms", &to->stack->time_wait_ms},
		{"fin_wait2_ms", &to->stack->fin_wait2_ms},
		{"receive_bytes", &to->sockets.receive_bytes},
		{"send_bytes", &to->sockets.send_bytes},
	};

	for (unsigned i = 0; i < ARRAY_COUNT(numbers); i++) {
		if (strcmp(numbers[i].name, name) == 0) {
			*numbers[i].at = value;
			return true;
		}
	}
	return false;
}

static bool set_one(struct settings *to, const struct drill_setting *setting)
{
	uint32_t value = (uint32_t)strtoul(setting->value, NULL, 0);
	const char *name = setting->name;
	bool flag = value || setting->value[0] == 0;

	if (strcmp(name, "tolerance_usecs") == 0)
		to->drill->tolerance_us = value;
	else if (strcmp(name, "tcp_ts_tick_usecs") == 0)
		to->drill->stamp_tick_us = value;
	else if (strcmp(name, "no_timestamps") == 0)
		to->stack->no_timestamps = flag;
	else if (strcmp(name, "no_window_scale") == 0)
		to->stack->no_window_scale = flag;
	else if (strcmp(name, "no_sack") == 0)
		to->stack->no_sack = flag;
	else if (strcmp(name, "always_cookies") == 0)
		to->stack->always_cookies = flag;
	else if (strcmp(name, "any_content") == 0)
		to->drill->any_content = flag;
	else if (strcmp(name, "congestion") == 0)
		to->sockets.congestion = setting->value;
	else
		return set_number(to, name, value);
	return true;
}

static bool set_all(struct settings *to, struct drill_script *script)
{
	for (unsigned i = 0; i < script->setting_count; i++) {
		const struct drill_setting *setting = &script->settings[i];

		if (set_one(to, setting))
			continue;
		snprintf(script->failure, DRILL_FAILURE,
			 "%s:%u:%u: unknown setting '%s': docs/packetdrill.md lists them",
			 setting->from_defaults ? "defaults" : script->path, setting->place.line,
			 setting->place.column, setting->name);
		return false;
	}
	return true;
}

/* --- time ------------------------------------------------------------------------------------------- */

/* Everything that can happen now. */
static void settle(struct drill *drill)
{
	flush(drill->t);
	while (sockets_run(drill->sockets, drill->t->now_us))
		flush(drill->t);
	for (unsigned i = 0; i < DRILL_CALLS; i++)
		if (drill->running[i].used && drill->running[i].done)
			drill_judge(drill, &drill->running[i]);
}

static uint64_t deadline(const struct drill *drill)
{
	uint64_t stack_us = stack_deadline(drill->t->stack), sockets_us = sockets_deadline(drill->sockets);

	return MAX_OF(MIN_OF(stack_us, sockets_us), drill->t->now_us);
}

static void pass_until(struct drill *drill, uint64_t target_us)
{
	unsigned idle = 0;

	settle(drill);
	while (deadline(drill) <= target_us) {
		idle = deadline(drill) == drill->t->now_us ? idle + 1 : 0;
		if (idle > 1000)
			drill_fail(drill, drill->event, "the stack asks to be called again and again");
		drill->t->now_us = deadline(drill);
		settle(drill);
	}
	drill->t->now_us = MAX_OF(target_us, drill->t->now_us);
	settle(drill);
}

static uint64_t at_us(const struct drill *drill, int64_t us, bool relative)
{
	return (relative ? drill->last_us : drill->start_us) + (uint64_t)us;
}

/* --- events ----------------------------------------------------------------------------------------- */

/* Waits for a frame, until this time at most. */
static const struct out_frame *await_frame(struct drill *drill, const struct drill_event *event,
					   uint64_t limit_us)
{
	struct test *t = drill->t;
	char want[256];

	settle(drill);
	while (t->out_count == 0 && deadline(drill) <= limit_us)
		pass_until(drill, deadline(drill));
	if (t->out_count > 0)
		return next_out(t);
	drill->t->now_us = MAX_OF(MIN_OF(limit_us, t->now_us + FOR_EVER_US), t->now_us);
	drill_print(&event->packet, false, want, sizeof(want));
	drill_fail(drill, event, "nothing came out\n  expected: %s", want);
}

/* Timers of the stack may be late by 1/64 of what they waited for. */
static void run_out(struct drill *drill, const struct drill_event *event)
{
	const struct drill_when *when = &event->when;
	uint64_t from_us = at_us(drill, when->start_us, when->start_relative);
	uint64_t to_us = when->kind == WHEN_RANGE ? at_us(drill, when->end_us, when->end_relative) : from_us;
	uint64_t slack_us = (uint64_t)drill->tolerance_us;
	const struct out_frame *frame;
	char text[256];

	if (when->kind == WHEN_AT && from_us > drill->last_us)
		slack_us += (from_us - drill->last_us) / 64;
	frame = await_frame(drill, event,
			    when->kind == WHEN_ANY ? drill->last_us + FOR_EVER_US : to_us + slack_us);
	drill_match(drill, event, frame);
	if (when->kind != WHEN_ANY &&
	    (frame->at_us + slack_us < from_us || frame->at_us > to_us + slack_us)) {
		drill_show_frame(drill, frame, text, sizeof(text));
		drill_fail(drill, event, "the packet came at another time, expected at %.6f\n  came out: %s",
			   (double)(from_us - drill->start_us) / SECOND, text);
	}
	drill->last_us = MAX_OF(drill->last_us, frame->at_us);
}

static void run_event(struct drill *drill, const struct drill_event *event)
{
	uint64_t when_us = at_us(drill, event->when.start_us, event->when.start_relative);

	drill->event = event;
	if (event->kind == DRILL_OUT) {
		run_out(drill, event);
		return;
	}
	if (when_us + (uint64_t)drill->tolerance_us < drill->t->now_us)
		drill_fail(drill, event, "the time of this event is over");
	pass_until(drill, when_us);
	drill->last_us = MAX_OF(when_us, drill->last_us);
	if (event->kind == DRILL_IN)
		drill_inject(drill, event);
	else if (event->kind == DRILL_CALL)
		drill_call(drill, event);
	else
		drill_compare_info(drill, event);
	settle(drill);
}

/* A call that is to be over later is waited for; nothing may be left. */
static void run_end(struct drill *drill)
{
	const struct drill_event *last = drill->event;
	char text[256];

	for (unsigned i = 0; i < DRILL_CALLS; i++) {
		const struct drill_event *event = drill->running[i].event;

		if (drill->running[i].used)
			pass_until(drill, drill->running[i].started_us +
						  (uint64_t)(event->when.end_us - event->when.start_us +
							     drill->tolerance_us));
		if (drill->running[i].used)
			drill_fail(drill, event, "%s waits still", event->call.name);
	}
	if (drill->t->out_count == 0)
		return;
	drill_show_frame(drill, next_out(drill->t), text, sizeof(text));
	drill_fail(drill, last, "after the end a packet came out that nobody expected\n  came out: %s", text);
}

static bool run_events(struct drill *drill)
{
	if (setjmp(drill->failed)) {
		flush(drill->t);
		discard_out(drill->t);
		return false;
	}
	for (unsigned i = 0; i < drill->script->event_count; i++)
		run_event(drill, &drill->script->events[i]);
	run_end(drill);
	return true;
}

/* --- the run ---------------------------------------------------------------------------------------- */

static void begin(struct drill *drill, uint64_t start_us)
{
	drill->local_port = DRILL_PORT;
	drill->remote_port = PEER_PORT;
	drill->remote_base = drill->t->peer->iss;
	drill->connection = -1;
	for (unsigned i = 0; i < DRILL_FDS; i++)
		drill->fds[i] = -1;
	drill->t->start_us += start_us;
	drill->start_us = drill->last_us = drill->t->start_us;
}

static bool run_from(struct drill_script *script, uint64_t start_us, struct drill *drill)
{
	struct settings settings;
	enum start_mode mode = start_mode;
	bool good;

	*drill = (struct drill){.script = script, .tolerance_us = TOLERANCE_US, .t = test_begin()};
	settings = (struct settings){.stack = &drill->t->config, .drill = drill};
	begin(drill, start_us);
	if (!set_all(&settings, script)) {
		free(drill->t->out);
		free(drill->t);
		return false;
	}
	drill->sockets = sockets_new(&settings.sockets);
	drill->t->config.services = sockets_services(drill->sockets);
	drill->t->config.service_count = STACK_SERVICES;
	for (unsigned i = 1; i < DROP_COUNT; i++)
		ignore_drops(drill->t, (enum drop_reason)i);
	if (mode == START_STACK_WRAPS)
		start_mode = START_PLAIN; /* how that is reached is our own business */
	test_start(drill->t);
	start_mode = mode;
	sockets_attach(drill->sockets, drill->t->stack);
	good = run_events(drill);
	for (unsigned i = 0; i < DRILL_CALLS; i++)
		free(drill->running[i].buffer);
	test_finish(drill->t);
	sockets_free(drill->sockets);
	return good;
}

bool drill_run(struct drill_script *script)
{
	static struct drill drill;
	uint32_t first, slope;

	if (start_mode != START_STACK_WRAPS)
		return run_from(script, 0, &drill);
	if (!run_from(script, 0, &drill))
		return false;
	first = drill.local_first;
	if (!drill.local_seen)
		return true; /* the stack began nothing */
	if (!run_from(script, SLOPE_AT_US, &drill))
		return false;
	slope = drill.local_first - first;
	if (slope == 0)
		return true;
	return run_from(script, (uint64_t)(0xfffffff0u - first) * SLOPE_AT_US / slope, &drill);
}
