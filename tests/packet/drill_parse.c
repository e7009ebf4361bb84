/* drill_parse.c - scripts in the packetdrill language, read into events.
 * In: text. Out: struct drill_script, or one sentence with line and column. Owns: nothing. */
#include "drill.h"

#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "wire/tcp.h"

struct reader {
	struct drill_script *script;
	const char *text, *at;
	jmp_buf wrong;
};

static struct drill_place place_of(const struct reader *reader, const char *at)
{
	struct drill_place place = {1, 1};

	for (const char *c = reader->text; c < at; c++) {
		place.column++;
		if (*c == '\n')
			place = (struct drill_place){place.line + 1, 1};
	}
	return place;
}

static void __attribute__((noreturn, format(printf, 2, 3)))
wrong(struct reader *reader, const char *format, ...)
{
	struct drill_place place = place_of(reader, reader->at);
	char *to = reader->script->failure;
	va_list args;
	int used = snprintf(to, DRILL_FAILURE, "%s:%u:%u: ", reader->script->path, place.line, place.column);

	va_start(args, format);
	vsnprintf(to + used, DRILL_FAILURE - (size_t)used, format, args);
	va_end(args);
	longjmp(reader->wrong, 1);
}

/* --- words ---------------------------------------------------------------------------------------- */

static void skip_comment(struct reader *reader)
{
	const char *end = strstr(reader->at + 2, "*/");

	if (!end)
		wrong(reader, "this comment has no end: write */");
	reader->at = end + 2;
}

static void skip_line(struct reader *reader)
{
	while (*reader->at && *reader->at != '\n')
		reader->at++;
}

static void skip(struct reader *reader)
{
	for (;;) {
		const char *at = reader->at;

		if (isspace((unsigned char)*at))
			reader->at++;
		else if (at[0] == '/' && at[1] == '*')
			skip_comment(reader);
		else if (*at == '#' || (at[0] == '/' && at[1] == '/'))
			skip_line(reader);
		else
			return;
	}
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* Whether these characters come next, as a whole word if they end in a letter; then they are read. */
static bool take(struct reader *reader, const char *what)
{
	size_t bytes = strlen(what);

	skip(reader);
	if (strncmp(reader->at, what, bytes) != 0 || (is_word(what[bytes - 1]) && is_word(reader->at[bytes])))
		return false;
	reader->at += bytes;
	return true;
}

static void need(struct reader *reader, const char *what)
{
	if (!take(reader, what))
		wrong(reader, "'%s' was expected here", what);
}

static void word(struct reader *reader, char *to, size_t room, const char *what)
{
	size_t bytes = 0;

	skip(reader);
	while (is_word(reader->at[bytes]))
		bytes++;
	if (bytes == 0 || bytes >= room)
		wrong(reader, "%s was expected here", what);
	memcpy(to, reader->at, bytes);
	to[bytes] = 0;
	reader->at += bytes;
}

static int64_t number(struct reader *reader)
{
	char *end;
	int64_t value;

	skip(reader);
	if (!isdigit((unsigned char)*reader->at) && *reader->at != '-')
		wrong(reader, "a number was expected here");
	errno = 0;
	value = strtoll(reader->at, &end, 0);
	if (errno || end == reader->at)
		wrong(reader, "this number is too large");
	reader->at = end;
	return value;
}

static uint32_t number32(struct reader *reader)
{
	int64_t value = number(reader);

	if (value < 0 || value > UINT32_MAX)
		wrong(reader, "the number before must be 0 to 4294967295");
	return (uint32_t)value;
}

/* --- times -------------------------------------------------------------------------------------- */

/* Seconds with a fraction; a dot belongs to it only before a digit, as "..." may follow. */
static int64_t seconds_us(struct reader *reader)
{
	int64_t us = 0, unit = 100000;
	bool any = false;

	skip(reader);
	for (; isdigit((unsigned char)*reader->at); reader->at++, any = true)
		us = us * 10 + (*reader->at - '0') * 1000000;
	if (*reader->at == '.' && isdigit((unsigned char)reader->at[1]))
		for (reader->at++; isdigit((unsigned char)*reader->at); reader->at++, unit /= 10, any = true)
			us += (*reader->at - '0') * unit;
	if (!any)
		wrong(reader, "a time in seconds was expected here, such as 0.100, +0.1 or *");
	return us;
}

static void parse_when(struct reader *reader, struct drill_when *when)
{
	*when = (struct drill_when){.kind = WHEN_AT};
	if (take(reader, "*")) {
		when->kind = WHEN_ANY;
		return;
	}
	when->start_relative = take(reader, "+");
	when->start_us = seconds_us(reader);
	if (take(reader, "~"))
		when->kind = WHEN_RANGE;
	else if (take(reader, "..."))
		when->kind = WHEN_LASTS;
	else
		return;
	when->end_relative = take(reader, "+") || when->start_relative;
	when->end_us = seconds_us(reader);
	if (when->end_us < when->start_us)
		wrong(reader, "the end of a range comes before its start");
}

/* --- packets -------------------------------------------------------------------------------------- */

static enum drill_ecn parse_ecn(struct reader *reader)
{
	enum drill_ecn ecn = ECN_ANY;

	if (!take(reader, "["))
		return ECN_ANY;
	if (take(reader, "noecn"))
		ecn = ECN_NONE;
	else if (take(reader, "ect0"))
		ecn = ECN_ECT0;
	else if (take(reader, "ect1"))
		ecn = ECN_ECT1;
	else if (take(reader, "ce"))
		ecn = ECN_CE;
	else
		wrong(reader, "unknown mark: noecn, ect0, ect1 and ce are known");
	need(reader, "]");
	return ecn;
}

/* In packetdrill's order; W is CWR. */
static uint8_t parse_flags(struct reader *reader)
{
	static const struct {
		char letter;
		uint8_t flag;
	} known[] = {{'S', TCP_SYN}, {'F', TCP_FIN}, {'R', TCP_RST}, {'P', TCP_PSH},
		     {'.', TCP_ACK}, {'U', TCP_URG}, {'E', TCP_ECE}, {'W', TCP_CWR}};
	uint8_t flags = 0;

	skip(reader);
	if (*reader->at == '-') {
		reader->at++;
		return 0;
	}
	for (; !isspace((unsigned char)*reader->at) && *reader->at; reader->at++) {
		unsigned i = 0;

		while (i < ARRAY_COUNT(known) && known[i].letter != *reader->at)
			i++;
		if (i == ARRAY_COUNT(known))
			wrong(reader, "unknown flag '%c': S F R P . U E W are known, - is none", *reader->at);
		flags |= known[i].flag;
	}
	return flags;
}

static void parse_sequence(struct reader *reader, struct drill_packet *packet)
{
	uint32_t end;

	packet->seq = number32(reader);
	need(reader, ":");
	end = number32(reader);
	need(reader, "(");
	packet->bytes = number32(reader);
	need(reader, ")");
	if (end - packet->seq != packet->bytes)
		wrong(reader, "from %u to %u are not %u bytes", packet->seq, end, packet->bytes);
	if (packet->bytes > 9000)
		wrong(reader, "a packet has 9000 bytes at most");
}

static void parse_hex(struct reader *reader, struct drill_option *option)
{
	skip(reader);
	while (isxdigit((unsigned char)reader->at[0]) && isxdigit((unsigned char)reader->at[1]) &&
	       option->count < sizeof(option->bytes)) {
		const char digits[3] = {reader->at[0], reader->at[1], 0};

		option->bytes[option->count++] = (uint8_t)strtoul(digits, NULL, 16);
		reader->at += 2;
	}
}

static void parse_sack(struct reader *reader, struct drill_option *option)
{
	option->kind = 5;
	do {
		if (option->count == ARRAY_COUNT(option->numbers))
			wrong(reader, "an option holds four SACK blocks at most");
		option->numbers[option->count++] = number32(reader);
		need(reader, ":");
		option->numbers[option->count++] = number32(reader);
		skip(reader);
	} while (isdigit((unsigned char)*reader->at));
}

static void parse_option(struct reader *reader, struct drill_option *option)
{
	*option = (struct drill_option){0};
	if (take(reader, "eol")) {
		option->kind = 0;
	} else if (take(reader, "nop")) {
		option->kind = 1;
	} else if (take(reader, "mss")) {
		option->kind = 2;
		option->numbers[0] = number32(reader);
	} else if (take(reader, "wscale")) {
		option->kind = 3;
		option->numbers[0] = number32(reader);
	} else if (take(reader, "sackOK")) {
		option->kind = 4;
	} else if (take(reader, "sack")) {
		parse_sack(reader, option);
	} else if (take(reader, "TS")) {
		option->kind = 8;
		need(reader, "val");
		option->numbers[0] = number32(reader);
		need(reader, "ecr");
		option->numbers[1] = number32(reader);
	} else if (take(reader, "FO")) {
		option->kind = 34;
		parse_hex(reader, option);
	} else if (take(reader, "kind")) {
		option->kind = (uint8_t)number32(reader);
		parse_hex(reader, option);
	} else {
		wrong(reader, "unknown option: mss, wscale, sackOK, sack, TS, FO, nop, eol and kind are "
			      "known");
	}
}

static void parse_options(struct reader *reader, struct drill_packet *packet)
{
	if (take(reader, "...")) {
		packet->any_options = true;
		need(reader, ">");
		return;
	}
	while (!take(reader, ">")) {
		if (packet->option_count == DRILL_OPTIONS)
			wrong(reader, "too many options: %u at most", DRILL_OPTIONS);
		parse_option(reader, &packet->options[packet->option_count++]);
		if (!take(reader, ",")) {
			need(reader, ">");
			return;
		}
	}
}

static void parse_tcp(struct reader *reader, struct drill_packet *packet)
{
	packet->flags = parse_flags(reader);
	parse_sequence(reader, packet);
	for (;;) {
		if (take(reader, "ack")) {
			packet->ack = number32(reader);
		} else if (take(reader, "win")) {
			packet->has_win = true;
			packet->win = number32(reader);
		} else if (take(reader, "urg")) {
			packet->has_urgent = true;
			packet->urgent = number32(reader);
		} else if (take(reader, "<")) {
			parse_options(reader, packet);
			return;
		} else {
			return;
		}
	}
}

static void parse_icmp(struct reader *reader, struct drill_packet *packet)
{
	static const struct {
		const char *name;
		uint8_t type, code;
	} known[] = {{"net_unreachable", 3, 0},   {"host_unreachable", 3, 1}, {"proto_unreachable", 3, 2},
		     {"port_unreachable", 3, 3},  {"frag_needed", 3, 4},      {"src_route_failed", 3, 5},
		     {"admin_prohibited", 3, 13}, {"ttl_exceeded", 11, 0},    {"source_quench", 4, 0},
		     {"parameter_problem", 12, 0}};
	char name[24];
	unsigned i = 0;

	packet->icmp = true;
	take(reader, "unreachable");
	word(reader, name, sizeof(name), "the kind of ICMP error");
	while (i < ARRAY_COUNT(known) && strcmp(known[i].name, name) != 0)
		i++;
	if (i == ARRAY_COUNT(known))
		wrong(reader, "unknown ICMP error '%s': docs/packetdrill.md lists them", name);
	packet->icmp_type = known[i].type;
	packet->icmp_code = known[i].code;
	if (take(reader, "mtu"))
		packet->icmp_mtu = number32(reader);
	need(reader, "[");
	parse_sequence(reader, packet);
	need(reader, "]");
}

static void parse_packet(struct reader *reader, struct drill_event *event)
{
	struct drill_packet *packet = &event->packet;

	packet->ecn = parse_ecn(reader);
	if (!take(reader, "icmp")) {
		parse_tcp(reader, packet);
		return;
	}
	if (event->kind == DRILL_OUT)
		wrong(reader, "ICMP can only come in");
	parse_icmp(reader, packet);
}

/* --- calls ---------------------------------------------------------------------------------------- */

static struct drill_value *parse_value(struct reader *reader);

static struct drill_value *new_value(struct reader *reader, enum drill_value_kind kind)
{
	struct drill_script *script = reader->script;
	struct drill_value *value;

	if (script->value_count == DRILL_VALUES)
		wrong(reader, "the script is too long");
	value = &script->values[script->value_count++];
	*value = (struct drill_value){.kind = kind, .place = place_of(reader, reader->at)};
	return value;
}

/* A number or a name, and others or-ed to it. */
static int64_t constant(struct reader *reader)
{
	char name[32];
	int64_t value = 0, part;

	do {
		skip(reader);
		if (isdigit((unsigned char)*reader->at) || *reader->at == '-') {
			value |= number(reader);
			continue;
		}
		word(reader, name, sizeof(name), "a number or a name");
		if (!drill_symbol(name, &part))
			wrong(reader, "the name '%s' before is not known", name);
		value |= part;
	} while (take(reader, "|"));
	return value;
}

static void parse_text(struct reader *reader, struct drill_value *value)
{
	const char *end = strchr(reader->at, '"');

	if (!end || (size_t)(end - reader->at) >= sizeof(value->text))
		wrong(reader, "a text ends by \" and has less than %zu characters", sizeof(value->text));
	memcpy(value->text, reader->at, (size_t)(end - reader->at));
	reader->at = end + 1;
}

static void parse_elements(struct reader *reader, struct drill_value *parent, const char *end)
{
	struct drill_value **to = &parent->first;

	while (!take(reader, end)) {
		char name[24] = "";
		const char *before = reader->at;

		if (parent->kind == VALUE_STRUCT && isalpha((unsigned char)*reader->at)) {
			word(reader, name, sizeof(name), "a field");
			if (!take(reader, "=")) {
				reader->at = before;
				name[0] = 0;
			}
		}
		*to = parse_value(reader);
		memcpy((*to)->name, name, sizeof(name));
		to = &(*to)->next;
		if (!take(reader, ",")) {
			need(reader, end);
			return;
		}
	}
}

static struct drill_value *parse_value(struct reader *reader)
{
	struct drill_value *value;

	skip(reader);
	value = new_value(reader, VALUE_NUMBER);
	if (take(reader, "...")) {
		value->kind = VALUE_ELLIPSIS;
	} else if (take(reader, "[")) {
		value->kind = VALUE_LIST;
		parse_elements(reader, value, "]");
	} else if (take(reader, "{")) {
		value->kind = VALUE_STRUCT;
		parse_elements(reader, value, "}");
	} else if (take(reader, "\"")) {
		value->kind = VALUE_TEXT;
		parse_text(reader, value);
	} else {
		value->number = constant(reader);
	}
	return value;
}

static void parse_result(struct reader *reader, struct drill_call *call)
{
	char name[24];
	int64_t error;

	if (take(reader, "?")) {
		call->any_result = true;
		return;
	}
	call->result = constant(reader);
	skip(reader);
	if (call->result == -1 && *reader->at == 'E') {
		word(reader, name, sizeof(name), "the name of an error");
		if (!drill_symbol(name, &error))
			wrong(reader, "the error '%s' before is not known", name);
		call->error = (int)error;
	}
	if (take(reader, "(")) {
		while (*reader->at && *reader->at != ')')
			reader->at++;
		need(reader, ")");
	}
}

static void parse_call(struct reader *reader, struct drill_event *event)
{
	struct drill_call *call = &event->call;
	struct drill_value *list;

	word(reader, call->name, sizeof(call->name), "a packet (< or >), a system call or %{");
	need(reader, "(");
	list = new_value(reader, VALUE_LIST);
	parse_elements(reader, list, ")");
	call->arguments = list->first;
	need(reader, "=");
	parse_result(reader, call);
}

/* --- assertions ----------------------------------------------------------------------------------- */

static void parse_one_assert(struct reader *reader, struct drill_assert *assert)
{
	static const char *const operators[] = {"==", "!=", "<=", ">=", "<", ">"};
	unsigned i = 0;

	word(reader, assert->field, sizeof(assert->field), "a field such as tcpi_snd_cwnd");
	if (strncmp(assert->field, "tcpi_", 5) != 0)
		wrong(reader, "only fields of TCP_INFO can be compared, and '%s' is none", assert->field);
	while (i < ARRAY_COUNT(operators) && !take(reader, operators[i]))
		i++;
	if (i == ARRAY_COUNT(operators))
		wrong(reader, "a comparison was expected here: == != <= >= < or >");
	memcpy(assert->operator, operators[i], strlen(operators[i]) + 1);
	assert->value = constant(reader);
}

/* What Python would print stands behind a comma. */
static void parse_asserts(struct reader *reader, struct drill_event *event)
{
	while (!take(reader, "}%")) {
		if (take(reader, ";"))
			continue;
		need(reader, "assert");
		do {
			if (event->assert_count == DRILL_ASSERTS)
				wrong(reader, "%u comparisons at most", DRILL_ASSERTS);
			parse_one_assert(reader, &event->asserts[event->assert_count++]);
		} while (take(reader, "and"));
		if (*reader->at == ',')
			while (*reader->at && *reader->at != '\n' && *reader->at != ';' &&
			       strncmp(reader->at, "}%", 2) != 0)
				reader->at++;
	}
}

/* --- the script ----------------------------------------------------------------------------------- */

static void parse_setting(struct reader *reader, bool from_defaults)
{
	struct drill_script *script = reader->script;
	struct drill_setting *setting = &script->settings[script->setting_count];
	size_t bytes = 0;

	if (script->setting_count++ == DRILL_SETTINGS)
		wrong(reader, "too many settings");
	*setting = (struct drill_setting){.place = place_of(reader, reader->at),
					  .from_defaults = from_defaults};
	word(reader, setting->name, sizeof(setting->name), "the name of a setting");
	if (!take(reader, "="))
		return;
	while (reader->at[bytes] && !isspace((unsigned char)reader->at[bytes]))
		bytes++;
	if (bytes == 0 || bytes >= sizeof(setting->value))
		wrong(reader, "the value of a setting has 1 to %zu characters", sizeof(setting->value) - 1);
	memcpy(setting->value, reader->at, bytes);
	reader->at += bytes;
}

static void parse_event(struct reader *reader)
{
	struct drill_script *script = reader->script;
	struct drill_event *event = &script->events[script->event_count];
	const char *start = reader->at, *end;

	if (script->event_count++ == DRILL_EVENTS)
		wrong(reader, "too many events: %u at most", DRILL_EVENTS);
	*event = (struct drill_event){.place = place_of(reader, start)};
	parse_when(reader, &event->when);
	event->kind = take(reader, "<") ? DRILL_IN : take(reader, ">") ? DRILL_OUT : DRILL_CALL;
	if (event->kind != DRILL_CALL) {
		parse_packet(reader, event);
	} else if (take(reader, "%{")) {
		event->kind = DRILL_ASSERT;
		parse_asserts(reader, event);
	} else {
		parse_call(reader, event);
	}
	end = reader->at;
	reader->at = start; /* where complaints point to */
	if (event->kind != DRILL_CALL && event->when.kind == WHEN_LASTS)
		wrong(reader, "only a system call can last: write ~ for a range of time");
	if (event->kind != DRILL_OUT && (event->when.kind == WHEN_ANY || event->when.kind == WHEN_RANGE))
		wrong(reader, "only for packets that go out a range of time can be expected");
	reader->at = end;
	if (strcspn(start, "\n") < (size_t)(end - start))
		end = start + strcspn(start, "\n");
	snprintf(event->text, sizeof(event->text), "%.*s", (int)(end - start), start);
}

static bool parse_all(struct reader *reader, const char *text, bool only_settings)
{
	reader->text = reader->at = text;
	if (setjmp(reader->wrong))
		return false;
	for (skip(reader); *reader->at; skip(reader)) {
		if (take(reader, "--"))
			parse_setting(reader, only_settings);
		else if (*reader->at == '`')
			wrong(reader, "commands are not run here: say by --settings what they should do");
		else if (only_settings)
			wrong(reader, "only --settings may stand here");
		else
			parse_event(reader);
	}
	return true;
}

bool drill_parse(struct drill_script *script, const char *path, const char *text, const char *defaults)
{
	struct reader reader = {.script = script};

	*script = (struct drill_script){.path = "defaults"};
	if (defaults && !parse_all(&reader, defaults, true))
		return false;
	script->path = path;
	return parse_all(&reader, text, false);
}
