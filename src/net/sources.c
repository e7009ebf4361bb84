/* sources.c - the table of sources and their token buckets.
 * In: keyed hashes of sources, the tick.  Out: entries.  Owns: the table. */
#include "net/sources.h"

#include <string.h>

static uint32_t bucket_count_for(uint32_t sources)
{
	return (MAX_OF(sources, 1u) + SOURCE_WAYS - 1) / SOURCE_WAYS;
}

size_t source_table_bytes(uint32_t sources)
{
	return (size_t)bucket_count_for(sources) * sizeof(struct source_bucket);
}

void source_table_init(struct source_table *table, void *memory, uint32_t sources)
{
	*table = (struct source_table){.buckets = memory, .bucket_count = bucket_count_for(sources)};
	source_table_clear(table);
}

void source_table_clear(struct source_table *table)
{
	memset(table->buckets, 0, table->bucket_count * sizeof(struct source_bucket));
}

static uint32_t tag_of(uint32_t service, uint64_t hash)
{
	uint32_t part = (uint32_t)hash << 4;

	return (part ? part : 1u << 4) | service;
}

static uint32_t service_of(const struct source *source)
{
	return source->tag & (SOURCE_SERVICES - 1);
}

/* Both come from parts of the hash that the tag does not hold or mixes well. */
static struct source_bucket *bucket_of(const struct source_table *table, uint64_t hash, unsigned which)
{
	uint32_t part = which ? (uint32_t)hash * 0x9e3779b1u : (uint32_t)(hash >> 32);

	return &table->buckets[(uint64_t)part * table->bucket_count >> 32];
}

struct source *source_find(const struct source_table *table, uint32_t service, uint64_t hash)
{
	uint32_t tag = tag_of(service, hash);

	for (unsigned which = 0; which < 2; which++) {
		struct source_bucket *bucket = bucket_of(table, hash, which);

		for (unsigned i = 0; i < SOURCE_WAYS; i++)
			if (bucket->sources[i].tag == tag)
				return &bucket->sources[i];
	}
	return NULL;
}

static uint32_t whole_burst(const struct source_table *table, uint32_t service)
{
	return table->rates[service].burst * SOURCE_TOKEN;
}

/* A token a second is a thousandth of one a tick. */
uint32_t source_tokens(const struct source_table *table, uint32_t service, const struct source *source,
		       uint32_t now_tick)
{
	const struct source_rate *rate = &table->rates[service];
	uint32_t whole = whole_burst(table, service);
	uint64_t tokens;

	if (!source || !rate->rate)
		return whole;
	tokens = source->tokens + (uint64_t)(now_tick - source->tick) * rate->rate;
	return (uint32_t)MIN_OF(tokens, (uint64_t)whole);
}

/* What is lost when it is forgotten: UINT32_MAX when it must not be. */
static uint32_t loss_of(const struct source_table *table, const struct source *source, uint32_t now_tick)
{
	uint32_t service = service_of(source);

	if (!source->tag)
		return 0;
	if (source->connections)
		return UINT32_MAX;
	return whole_burst(table, service) - source_tokens(table, service, source, now_tick);
}

struct source *source_make(struct source_table *table, uint32_t service, uint64_t hash, uint32_t now_tick)
{
	struct source *best = source_find(table, service, hash);
	uint32_t least = UINT32_MAX;

	if (best)
		return best;
	for (unsigned i = 0; i < 2 * SOURCE_WAYS && least; i++) {
		struct source *source = &bucket_of(table, hash, i & 1)->sources[i / 2];
		uint32_t loss = loss_of(table, source, now_tick);

		if (loss < least) {
			least = loss;
			best = source;
		}
	}
	if (!best)
		return NULL;
	table->forgotten += least > 0;
	*best = (struct source){
		.tag = tag_of(service, hash), .tick = now_tick, .tokens = whole_burst(table, service)};
	return best;
}

void source_spend(const struct source_table *table, struct source *source, uint32_t now_tick)
{
	uint32_t tokens = source_tokens(table, service_of(source), source, now_tick);

	source->tokens = tokens >= SOURCE_TOKEN ? tokens - SOURCE_TOKEN : 0;
	source->tick = now_tick;
}

uint64_t source_table_connections(const struct source_table *table)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < table->bucket_count; i++)
		for (unsigned way = 0; way < SOURCE_WAYS; way++)
			sum += table->buckets[i].sources[way].connections;
	return sum;
}
