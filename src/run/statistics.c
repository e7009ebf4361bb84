/* statistics.c - counters of all workers, for any thread.
 * In: copies that workers make. Out: sums. Owns: a copy for each number that a stack can have. */
#include <stdatomic.h>
#include <string.h>

#include "run/statistics.h"

#define WORDS (sizeof(struct statistics) / sizeof(uint64_t))

_Static_assert(sizeof(struct statistics) % sizeof(uint64_t) == 0, "copied by words");

static struct shown {
	CACHE_ALIGNED atomic_bool running;
	_Atomic uint64_t words[WORDS];
} shown[STACKS_MAX];

void statistics_begin(uint32_t number)
{
	const struct statistics nothing = {0};

	statistics_publish(number, &nothing);
	atomic_store(&shown[number].running, true);
}

void statistics_end(uint32_t number)
{
	atomic_store(&shown[number].running, false);
}

void statistics_publish(uint32_t number, const struct statistics *statistics)
{
	uint64_t words[WORDS];

	memcpy(words, statistics, sizeof(words));
	for (size_t i = 0; i < WORDS; i++)
		atomic_store_explicit(&shown[number].words[i], words[i], memory_order_relaxed);
}

bool statistics_read(uint32_t number, struct statistics *statistics)
{
	uint64_t words[WORDS];

	if (number >= STACKS_MAX || !atomic_load(&shown[number].running))
		return false;
	for (size_t i = 0; i < WORDS; i++)
		words[i] = atomic_load_explicit(&shown[number].words[i], memory_order_relaxed);
	memcpy(statistics, words, sizeof(words));
	return true;
}

/* All of it is counts of 64 bits, and a sum is what each of them means for all workers. */
void statistics_add(struct statistics *sum, const struct statistics *part)
{
	uint64_t to[WORDS], from[WORDS];

	memcpy(to, sum, sizeof(to));
	memcpy(from, part, sizeof(from));
	for (size_t i = 0; i < WORDS; i++)
		to[i] += from[i];
	memcpy(sum, to, sizeof(to));
}

uint32_t statistics_sum(struct statistics *sum)
{
	struct statistics part;
	uint32_t count = 0;

	*sum = (struct statistics){0};
	for (uint32_t i = 0; i < STACKS_MAX; i++)
		if (statistics_read(i, &part)) {
			statistics_add(sum, &part);
			count++;
		}
	return count;
}

C10M_API uint32_t c10m_total_stats(struct c10m_stats *stats)
{
	struct statistics sum;
	uint32_t count = statistics_sum(&sum);

	*stats = sum.stats;
	return count;
}
