/* jitter.c - how long the worker was kept from its work.
 * In: the time of each turn, the processor time of the thread. Out: histograms. Owns: nothing. */
#include <time.h>

#include "jitter.h"

#define READ_EVERY_US 1000

static uint64_t thread_cpu_us(void)
{
	struct timespec used = {0};

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

static void read_both(struct jitter *jitter, uint64_t now_us)
{
	jitter->wall_us = now_us;
	jitter->cpu_us = thread_cpu_us();
}

static void add_taken(struct jitter *jitter, uint64_t taken_us)
{
	if (taken_us < JITTER_LONG_US)
		return;
	jitter->taken_us += taken_us;
	histogram_add(&jitter->taken, taken_us);
}

/* What the thread did not have of the time since both clocks were read, most of it in this long turn. */
static void account(struct jitter *jitter, uint64_t now_us, uint64_t turn_us)
{
	uint64_t wall_us = now_us - jitter->wall_us, cpu_us = thread_cpu_us();
	uint64_t had_us = cpu_us - jitter->cpu_us;

	jitter->wall_us = now_us;
	jitter->cpu_us = cpu_us;
	if (wall_us > had_us)
		add_taken(jitter, MIN_OF(wall_us - had_us, turn_us));
}

static void after_rest(struct jitter *jitter, uint64_t now_us, uint64_t rest_until_us)
{
	read_both(jitter, now_us);
	if (now_us > rest_until_us)
		add_taken(jitter, now_us - rest_until_us);
}

void jitter_turn(struct jitter *jitter, uint64_t now_us, uint64_t rest_until_us)
{
	uint64_t turn_us = now_us - jitter->turn_us;

	if (jitter->turn_us == 0)
		rest_until_us = UINT64_MAX;
	else
		jitter->watched_us += turn_us;
	jitter->turn_us = now_us;
	if (rest_until_us && turn_us >= JITTER_LONG_US) {
		after_rest(jitter, now_us, rest_until_us);
		return;
	}
	histogram_add(&jitter->turns, turn_us);
	if (unlikely(turn_us >= JITTER_LONG_US))
		account(jitter, now_us, turn_us);
	else if (unlikely(now_us - jitter->wall_us >= READ_EVERY_US))
		read_both(jitter, now_us);
}

/* How much of all time is spent further than `us` from the end of a time taken away. */
static double time_beyond(const struct jitter *jitter, uint64_t us)
{
	double beyond = 0;

	for (uint32_t bucket = histogram_bucket(us); bucket < HISTOGRAM_BUCKETS; bucket++) {
		uint64_t length = MIN_OF(histogram_top(bucket), jitter->taken.max);

		if (length > us)
			beyond += (double)jitter->taken.buckets[bucket] * (double)(length - us);
	}
	return beyond;
}

uint64_t jitter_percentile(const struct jitter *jitter, double share)
{
	double allowed = (1 - share) * (double)jitter->watched_us;

	if (jitter->taken.count == 0 || time_beyond(jitter, 0) <= allowed)
		return 0;
	for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++)
		if (time_beyond(jitter, histogram_top(bucket)) <= allowed)
			return MIN_OF(histogram_top(bucket), jitter->taken.max);
	return jitter->taken.max;
}

void jitter_merge(struct jitter *sum, const struct jitter *part)
{
	sum->watched_us += part->watched_us;
	sum->taken_us += part->taken_us;
	histogram_merge(&sum->taken, &part->taken);
	histogram_merge(&sum->turns, &part->turns);
}
