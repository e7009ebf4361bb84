/* drill_calls.c - system calls of a script: begun, and compared with what the script expects.
 * In: events. Out: calls of src/posix. Owns: the buffers of calls that wait. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drill_internal.h"

static const struct drill_value *argument(struct drill *drill, const struct drill_event *event,
					  unsigned index)
{
	const struct drill_value *value = event->call.arguments;

	for (unsigned i = 0; i < index && value; i++)
		value = value->next;
	if (!value)
		drill_fail(drill, event, "%s needs more than %u arguments", event->call.name, index);
	return value;
}

static int64_t number_at(struct drill *drill, const struct drill_event *event, unsigned index)
{
	const struct drill_value *value = argument(drill, event, index);

	if (value->kind != VALUE_NUMBER)
		drill_fail(drill, event, "argument %u of %s must be a number", index + 1, event->call.name);
	return value->number;
}

static int descriptor(struct drill *drill, int64_t script)
{
	return script >= 0 && script < DRILL_FDS && drill->fds[script] >= 0 ? drill->fds[script]
									    : SOCKETS_NUMBERS_MAX;
}

/* --- arguments ------------------------------------------------------------------------------------- */

/* bind: our own side; connect: the peer's. The port of the first of them counts. */
static void fill_address(struct drill_running *running, uint32_t ip, uint16_t port)
{
	const struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(ip),
	};

	memcpy(running->address, &address, sizeof(address));
	running->address_bytes = sizeof(address);
	running->call.address = running->address;
	running->call.address_bytes = &running->address_bytes;
}

static void fill_buffer(struct drill *drill, struct drill_running *running, int64_t bytes)
{
	if (bytes < 0 || bytes > DRILL_BYTES)
		drill_fail(drill, running->event, "a call moves %d bytes at most", DRILL_BYTES);
	running->buffer = malloc((size_t)bytes + 1);
	running->iov = (struct iovec){running->buffer, (size_t)bytes};
	running->call.iov = &running->iov;
	running->call.iov_count = 1;
}

static void fill_stream(struct drill *drill, struct drill_running *running, int64_t fd)
{
	uint64_t from = fd >= 0 && fd < DRILL_FDS ? drill->sent[fd] : 0;

	for (size_t i = 0; i < running->iov.iov_len; i++)
		running->buffer[i] = stream_byte(from + i);
}

static const struct drill_value *field(const struct drill_value *value, const char *name)
{
	for (const struct drill_value *each = value->first; each; each = each->next)
		if (strcmp(each->name, name) == 0)
			return each;
	return NULL;
}

/* [1], "cubic", {onoff=1, linger=0}, {sec=1, usec=0}. */
static void fill_value(struct drill *drill, struct drill_running *running, const struct drill_value *value)
{
	const struct drill_value *first, *second;
	int pair[2];

	running->call.value = running->value;
	running->call.value_bytes = &running->value_bytes;
	if (value->kind == VALUE_LIST && value->first)
		value = value->first;
	if (value->kind == VALUE_NUMBER) {
		pair[0] = (int)value->number;
		memcpy(running->value, pair, sizeof(pair[0]));
		running->value_bytes = sizeof(pair[0]);
	} else if (value->kind == VALUE_TEXT) {
		memcpy(running->value, value->text, sizeof(value->text));
		running->value_bytes = (socklen_t)strlen(value->text);
	} else if (value->kind == VALUE_STRUCT && field(value, "onoff") && field(value, "linger")) {
		pair[0] = (int)field(value, "onoff")->number;
		pair[1] = (int)field(value, "linger")->number;
		memcpy(running->value, pair, sizeof(pair));
		running->value_bytes = sizeof(pair);
	} else if (value->kind == VALUE_STRUCT && field(value, "sec") && field(value, "usec")) {
		first = field(value, "sec");
		second = field(value, "usec");
		running->value[0] = (uint64_t)first->number;
		running->value[1] = (uint64_t)second->number;
		running->value_bytes = 2 * sizeof(running->value[0]);
	} else {
		drill_fail(drill, running->event, "this value of an option is not understood");
	}
}

static void fill_polls(struct drill *drill, struct drill_running *running)
{
	const struct drill_value *list = argument(drill, running->event, 0);

	for (const struct drill_value *each = list->first; each; each = each->next) {
		const struct drill_value *fd = field(each, "fd"), *events = field(each, "events");

		if (!fd || !events || running->call.count == (int)ARRAY_COUNT(running->polls))
			drill_fail(drill, running->event, "poll takes up to %zu {fd=, events=, revents=}",
				   ARRAY_COUNT(running->polls));
		running->polls[running->call.count++] = (struct pollfd){descriptor(drill, fd->number),
									(short)events->number, 0};
	}
	running->call.polls = running->polls;
	running->call.timeout_ms = (int)number_at(drill, running->event, 2);
}

/* --- each call ------------------------------------------------------------------------------------ */

typedef void fill_function(struct drill *drill, struct drill_running *running);

static void fill_socket(struct drill *drill, struct drill_running *running)
{
	const struct drill_value *domain = argument(drill, running->event, 0);

	running->call.value0 = domain->kind == VALUE_ELLIPSIS ? AF_INET : (int)domain->number;
	running->call.value1 = (int)number_at(drill, running->event, 1);
	running->call.value2 = (int)number_at(drill, running->event, 2);
}

static void fill_bind(struct drill *drill, struct drill_running *running)
{
	(void)drill;
	fill_address(running, STACK_IP, DRILL_PORT);
}

static void fill_connect(struct drill *drill, struct drill_running *running)
{
	fill_address(running, drill->t->peer->ip, DRILL_PORT);
	drill->connection = (int)number_at(drill, running->event, 0);
}

static void fill_first(struct drill *drill, struct drill_running *running)
{
	running->call.value0 = (int)number_at(drill, running->event, 1);
}

static void fill_accept(struct drill *drill, struct drill_running *running)
{
	fill_address(running, 0, 0);
	if (strcmp(running->event->call.name, "accept4") == 0)
		running->call.flags = (int)number_at(drill, running->event, 3);
}

static int flags_of(struct drill *drill, const struct drill_event *event)
{
	const char *name = event->call.name;

	return strcmp(name, "read") == 0 || strcmp(name, "write") == 0 ? 0 : (int)number_at(drill, event, 3);
}

static void fill_receive(struct drill *drill, struct drill_running *running)
{
	fill_buffer(drill, running, number_at(drill, running->event, 2));
	running->call.flags = flags_of(drill, running->event);
}

static void fill_send(struct drill *drill, struct drill_running *running)
{
	fill_buffer(drill, running, number_at(drill, running->event, 2));
	fill_stream(drill, running, number_at(drill, running->event, 0));
	running->call.flags = flags_of(drill, running->event);
}

static void fill_option(struct drill *drill, struct drill_running *running)
{
	running->call.value0 = (int)number_at(drill, running->event, 1);
	running->call.value1 = (int)number_at(drill, running->event, 2);
	if (running->call.kind == CALL_SET_OPTION) {
		fill_value(drill, running, argument(drill, running->event, 3));
		return;
	}
	running->call.value = running->value;
	running->call.value_bytes = &running->value_bytes;
	running->value_bytes = sizeof(running->value);
}

static void fill_fcntl(struct drill *drill, struct drill_running *running)
{
	const struct drill_value *command = argument(drill, running->event, 1);

	running->call.value0 = (int)command->number;
	running->call.value1 = command->next ? (int)number_at(drill, running->event, 2) : 0;
}

static void fill_ioctl(struct drill *drill, struct drill_running *running)
{
	running->call.value0 = (int)number_at(drill, running->event, 1);
	running->call.value = running->value;
}

static const struct known_call {
	const char *name;
	enum socket_call_kind kind;
	fill_function *fill;
} known_calls[] = {
	{"socket", CALL_SOCKET, fill_socket},
	{"bind", CALL_BIND, fill_bind},
	{"listen", CALL_LISTEN, fill_first},
	{"accept", CALL_ACCEPT, fill_accept},
	{"accept4", CALL_ACCEPT, fill_accept},
	{"connect", CALL_CONNECT, fill_connect},
	{"read", CALL_RECEIVE, fill_receive},
	{"recv", CALL_RECEIVE, fill_receive},
	{"recvfrom", CALL_RECEIVE, fill_receive},
	{"write", CALL_SEND, fill_send},
	{"send", CALL_SEND, fill_send},
	{"sendto", CALL_SEND, fill_send},
	{"shutdown", CALL_SHUTDOWN, fill_first},
	{"close", CALL_CLOSE, NULL},
	{"getsockopt", CALL_GET_OPTION, fill_option},
	{"setsockopt", CALL_SET_OPTION, fill_option},
	{"fcntl", CALL_FCNTL, fill_fcntl},
	{"ioctl", CALL_IOCTL, fill_ioctl},
	{"poll", CALL_POLL, fill_polls},
};

static const struct known_call *known_call(struct drill *drill, const struct drill_event *event)
{
	for (unsigned i = 0; i < ARRAY_COUNT(known_calls); i++)
		if (strcmp(known_calls[i].name, event->call.name) == 0)
			return &known_calls[i];
	drill_fail(drill, event, "there is no system call '%s' here: docs/packetdrill.md lists them",
		   event->call.name);
}

/* --- judging -------------------------------------------------------------------------------------- */

static void judge_value(struct drill *drill, const struct drill_running *running,
			const struct drill_value *wanted)
{
	int got;

	memcpy(&got, running->value, sizeof(got));
	if (wanted->kind == VALUE_LIST && wanted->first)
		wanted = wanted->first;
	if (wanted->kind == VALUE_ELLIPSIS)
		return;
	if (wanted->kind == VALUE_TEXT) {
		if (strcmp((const char *)running->value, wanted->text) != 0)
			drill_fail(drill, running->event, "%s gave \"%.31s\", expected \"%s\"",
				   running->event->call.name, (const char *)running->value, wanted->text);
		return;
	}
	if (wanted->kind != VALUE_NUMBER)
		drill_fail(drill, running->event, "what is expected must be a number or a text");
	if (got != (int)wanted->number)
		drill_fail(drill, running->event, "%s gave %d, expected %lld", running->event->call.name, got,
			   (long long)wanted->number);
}

static void judge_polls(struct drill *drill, const struct drill_running *running)
{
	const struct drill_value *each = argument(drill, running->event, 0)->first;

	for (int i = 0; i < running->call.count; i++, each = each->next) {
		const struct drill_value *wanted = field(each, "revents");

		if (wanted && running->polls[i].revents != (short)wanted->number)
			drill_fail(drill, running->event, "revents of %d is 0x%x, expected 0x%x",
				   running->polls[i].fd, (unsigned)running->polls[i].revents,
				   (unsigned)wanted->number);
	}
}

static void judge_received(struct drill *drill, const struct drill_running *running)
{
	int64_t fd = number_at(drill, running->event, 0);

	for (int64_t i = 0; i < running->call.result && !drill->any_content; i++)
		if (running->buffer[i] != stream_byte(drill->received[fd] + (uint64_t)i))
			drill_fail(drill, running->event, "byte %lld of the stream is wrong",
				   (long long)(drill->received[fd] + (uint64_t)i));
	if (!(running->call.flags & MSG_PEEK))
		drill->received[fd] += (uint64_t)running->call.result;
}

static void judge_data(struct drill *drill, const struct drill_running *running)
{
	switch (running->call.kind) {
	case CALL_RECEIVE:
		judge_received(drill, running);
		return;
	case CALL_SEND:
		drill->sent[number_at(drill, running->event, 0)] += (uint64_t)running->call.result;
		return;
	case CALL_GET_OPTION:
		judge_value(drill, running, argument(drill, running->event, 3));
		return;
	case CALL_IOCTL:
		judge_value(drill, running, argument(drill, running->event, 2));
		return;
	case CALL_POLL:
		judge_polls(drill, running);
		return;
	default:
		return;
	}
}

/* A new descriptor has the script's number from now on. */
static void learn_descriptor(struct drill *drill, const struct drill_running *running)
{
	int64_t script = running->event->call.any_result ? running->call.result : running->event->call.result;

	if (script < 0 || script >= DRILL_FDS)
		drill_fail(drill, running->event, "descriptors are 0 to %d here", DRILL_FDS - 1);
	drill->fds[script] = (int)running->call.result;
	drill->received[script] = drill->sent[script] = 0;
	if (running->call.kind == CALL_ACCEPT || drill->connection < 0)
		drill->connection = (int)script;
}

static bool makes_descriptor(const struct drill_running *running)
{
	return running->call.kind == CALL_SOCKET || running->call.kind == CALL_ACCEPT;
}

static void judge_result(struct drill *drill, const struct drill_running *running)
{
	const struct drill_call *want = &running->event->call;
	int64_t got = running->call.result;
	bool same;

	if (want->any_result)
		return;
	if (want->error)
		same = got == -want->error;
	else if (makes_descriptor(running) && want->result >= 0)
		same = got >= 0;
	else
		same = want->result < 0 ? got < 0 : got == want->result;
	if (!same && got < 0)
		drill_fail(drill, running->event, "%s gave -1 (%s)", want->name, strerror((int)-got));
	if (!same)
		drill_fail(drill, running->event, "%s gave %lld", want->name, (long long)got);
}

static void judge_time(struct drill *drill, const struct drill_running *running)
{
	const struct drill_when *when = &running->event->when;
	int64_t took_us = (int64_t)(running->done_us - running->started_us);
	int64_t wanted_us = when->end_us - when->start_us;

	if (when->kind == WHEN_LASTS &&
	    (took_us < wanted_us - drill->tolerance_us || took_us > wanted_us + drill->tolerance_us))
		drill_fail(drill, running->event, "%s was over after %.6f s, expected after %.6f",
			   running->event->call.name, (double)took_us / SECOND, (double)wanted_us / SECOND);
}

void drill_judge(struct drill *drill, struct drill_running *running)
{
	judge_result(drill, running);
	judge_time(drill, running);
	if (running->call.result >= 0) {
		if (makes_descriptor(running))
			learn_descriptor(drill, running);
		judge_data(drill, running);
	}
	free(running->buffer);
	running->buffer = NULL;
	running->used = false;
}

static void finished(struct socket_call *call)
{
	struct drill_running *running = call->context;

	running->done = true;
	running->done_us = running->drill->t->now_us;
}

void drill_call(struct drill *drill, const struct drill_event *event)
{
	const struct known_call *known = known_call(drill, event);
	struct drill_running *running = drill->running;

	while (running->used && running < drill->running + DRILL_CALLS)
		running++;
	if (running == drill->running + DRILL_CALLS)
		drill_fail(drill, event, "%d calls wait already", DRILL_CALLS);
	*running = (struct drill_running){.used = true, .event = event, .drill = drill};
	running->call = (struct socket_call){.kind = known->kind, .finish = finished, .context = running};
	running->started_us = running->done_us = drill->t->now_us;
	if (known->kind != CALL_SOCKET && known->kind != CALL_POLL)
		running->call.number = descriptor(drill, number_at(drill, event, 0));
	if (known->fill)
		known->fill(drill, running);
	running->done = sockets_call(drill->sockets, drill->t->now_us, &running->call);
	if (running->done)
		drill_judge(drill, running);
	else if (event->when.kind != WHEN_LASTS)
		drill_fail(drill, event, "%s waits: give it a time such as +0...0.1, or make it non-blocking",
			   event->call.name);
}
