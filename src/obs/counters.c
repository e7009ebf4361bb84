/* counters.c - names and sums of counters. */
#include "obs/counters.h"

#define X(name, text) [DROP_##name] = #name,
static const char *const drop_names[DROP_COUNT] = {[DROP_NONE] = "NONE", DROP_REASONS(X)};
#undef X

#define X(name, text) [DROP_##name] = text,
static const char *const drop_texts[DROP_COUNT] = {[DROP_NONE] = "not dropped", DROP_REASONS(X)};
#undef X

#define X(name, text) #name,
static const char *const event_names[] = {EVENT_COUNTERS(X)};
#undef X

#define X(name, text) text,
static const char *const event_texts[] = {EVENT_COUNTERS(X)};
#undef X

_Static_assert(ARRAY_COUNT(event_names) == EVENT_COUNTER_COUNT, "one name for each event counter");

const char *drop_reason_name(unsigned reason)
{
	return reason < DROP_COUNT ? drop_names[reason] : NULL;
}

const char *drop_reason_text(unsigned reason)
{
	return reason < DROP_COUNT ? drop_texts[reason] : NULL;
}

const char *event_counter_name(unsigned index)
{
	return index < EVENT_COUNTER_COUNT ? event_names[index] : NULL;
}

const char *event_counter_text(unsigned index)
{
	return index < EVENT_COUNTER_COUNT ? event_texts[index] : NULL;
}

uint64_t event_counter_get(const struct counters *counters, unsigned index)
{
	const uint64_t *events = (const uint64_t *)counters + DROP_COUNT;

	return index < EVENT_COUNTER_COUNT ? events[index] : 0;
}

void counters_add(struct counters *sum, const struct counters *part)
{
	uint64_t *to = (uint64_t *)sum;
	const uint64_t *from = (const uint64_t *)part;

	for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++)
		to[i] += __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}
