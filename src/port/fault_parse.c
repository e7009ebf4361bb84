/* fault_parse.c - the faults of a link as one line of text.
 * In: "loss=2%,delay=20ms,...". Out: struct fault_config, or a sentence. Owns: nothing.
 * Numbers are read here, since strtod() takes another decimal point in some locales. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "port/fault.h"

#define KEYS       "loss, duplicate, reorder, corrupt, delay, jitter, rate, queue, ecn, seed"
#define DELAY_MAX  3600e6 /* an hour, in microseconds */
#define RATE_MAX   1e12   /* bits a second; the time of a frame has a nanosecond's grain */
#define RATE_MIN   1e3
#define QUEUE_MOST (1u << 20)

struct reader {
	struct fault_config *config;
	char *error;
	size_t error_bytes;
};

enum kind { KIND_CHANCE, KIND_TIME, KIND_RATE, KIND_SEED, KIND_FRAMES };

static const struct key {
	const char *name;
	enum kind kind;
	size_t offset;
} keys[] = {
	{"loss", KIND_CHANCE, offsetof(struct fault_config, loss)},
	{"duplicate", KIND_CHANCE, offsetof(struct fault_config, duplicate)},
	{"reorder", KIND_CHANCE, offsetof(struct fault_config, reorder)},
	{"corrupt", KIND_CHANCE, offsetof(struct fault_config, corrupt)},
	{"delay", KIND_TIME, offsetof(struct fault_config, delay_us)},
	{"jitter", KIND_TIME, offsetof(struct fault_config, jitter_us)},
	{"rate", KIND_RATE, offsetof(struct fault_config, rate_bits)},
	{"queue", KIND_FRAMES, offsetof(struct fault_config, queue_frames)},
	{"ecn", KIND_FRAMES, offsetof(struct fault_config, ecn_frames)},
	{"seed", KIND_SEED, offsetof(struct fault_config, seed)},
};

__attribute__((format(printf, 2, 3))) static int refuse(const struct reader *reader, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reader->error, reader->error_bytes, format, arguments);
	va_end(arguments);
	return -EINVAL;
}

/* Digits with at most one point. Returns where the number ends; `text` itself when there is none. */
static const char *read_decimal(const char *text, double *number)
{
	const char *at = text;
	double scale = 1;
	bool digit = false, point = false;

	for (*number = 0; (*at >= '0' && *at <= '9') || (*at == '.' && !point); at++) {
		if (*at == '.') {
			point = true;
			continue;
		}
		digit = true;
		if (point)
			scale /= 10;
		*number = point ? *number + (*at - '0') * scale : *number * 10 + (*at - '0');
	}
	return digit ? at : text;
}

static int read_chance(const struct reader *reader, const char *name, const char *text, double *chance)
{
	const char *end = read_decimal(text, chance);

	if (end != text && strcmp(end, "%") == 0) {
		*chance /= 100;
		end++;
	}
	if (end == text || *end != '\0' || *chance > 1)
		return refuse(reader, "%s=%s is no probability: write 2%% or 0.02, up to 100%%", name, text);
	return 0;
}

static int read_time(const struct reader *reader, const char *name, const char *text, uint64_t *us)
{
	double number;
	const char *unit = read_decimal(text, &number);
	double factor = strcmp(unit, "us") == 0   ? 1
			: strcmp(unit, "ms") == 0 ? 1e3
			: strcmp(unit, "s") == 0  ? 1e6
						  : 0;

	if (unit == text || factor == 0 || number * factor > DELAY_MAX)
		return refuse(reader, "%s=%s is no time: write 20ms, 500us or 1.5s, up to an hour", name,
			      text);
	*us = (uint64_t)(number * factor + 0.5);
	return 0;
}

static int read_rate(const struct reader *reader, const char *name, const char *text, uint64_t *bits)
{
	double number;
	const char *unit = read_decimal(text, &number);
	double factor = strcmp(unit, "bit") == 0    ? 1
			: strcmp(unit, "kbit") == 0 ? 1e3
			: strcmp(unit, "mbit") == 0 ? 1e6
			: strcmp(unit, "gbit") == 0 ? 1e9
						    : 0;

	if (unit == text || number * factor < RATE_MIN || number * factor > RATE_MAX)
		return refuse(reader,
			      "%s=%s is no rate: write 500kbit, 100mbit or 2.5gbit, from 1kbit to 1000gbit",
			      name, text);
	*bits = (uint64_t)(number * factor + 0.5);
	return 0;
}

static int read_whole(const struct reader *reader, const char *name, const char *text, uint64_t most,
		      uint64_t *number)
{
	const char *at = text;

	for (*number = 0; *at >= '0' && *at <= '9'; at++) {
		uint64_t digit = (uint64_t)(*at - '0');

		if (*number > (most - digit) / 10)
			break;
		*number = *number * 10 + digit;
	}
	if (at == text || *at != '\0')
		return refuse(reader, "%s=%s is no whole number from 0 to %llu", name, text,
			      (unsigned long long)most);
	return 0;
}

static int read_value(const struct reader *reader, const struct key *key, const char *text)
{
	void *field = (char *)reader->config + key->offset;
	uint64_t frames;
	int result;

	switch (key->kind) {
	case KIND_CHANCE:
		return read_chance(reader, key->name, text, field);
	case KIND_TIME:
		return read_time(reader, key->name, text, field);
	case KIND_RATE:
		return read_rate(reader, key->name, text, field);
	case KIND_SEED:
		return read_whole(reader, key->name, text, UINT64_MAX, field);
	case KIND_FRAMES:
		result = read_whole(reader, key->name, text, QUEUE_MOST, &frames);
		if (result == 0)
			*(uint32_t *)field = (uint32_t)frames;
		return result;
	}
	return -EINVAL;
}

/* One "key=value", cut out of the line. */
static int read_pair(const struct reader *reader, char *pair)
{
	char *value = strchr(pair, '=');

	if (value)
		*value++ = '\0';
	for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
		if (strcmp(pair, keys[i].name) != 0)
			continue;
		if (!value)
			return refuse(reader, "fault %s has no value: write %s=...", pair, pair);
		return read_value(reader, &keys[i], value);
	}
	return refuse(reader, "unknown fault '%s': choose from " KEYS, pair);
}

int fault_parse(const char *text, struct fault_config *config, char *error, size_t error_bytes)
{
	const struct reader reader = {.config = config, .error = error, .error_bytes = error_bytes};
	char line[256], *rest = line, *pair;
	int result = 0;

	memset(config, 0, sizeof(*config));
	if (strlen(text) >= sizeof(line))
		return refuse(&reader, "the list of faults is longer than %zu characters", sizeof(line) - 1);
	strcpy(line, text);
	while (result == 0 && (pair = strsep(&rest, ",")) != NULL)
		result = read_pair(&reader, pair);
	if (result == 0 && config->jitter_us > config->delay_us)
		return refuse(&reader, "jitter is more than delay: give a delay at least as long");
	if (result == 0 && config->ecn_frames && !config->rate_bits)
		return refuse(&reader, "ecn marks what waits for a slow link: give a rate, too");
	return result;
}
