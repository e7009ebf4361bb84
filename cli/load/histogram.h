/* histogram.h - how often each value came, to within 1.6% of the value: 64 buckets for each power of two.
 *
 * Values are whole microseconds here, up to 38 hours; larger ones count as the largest. One for each worker,
 * added up at the end. */
#ifndef C10M_LOAD_HISTOGRAM_H
#define C10M_LOAD_HISTOGRAM_H

#include "base/compiler.h"

#define HISTOGRAM_FINE_BITS 6
#define HISTOGRAM_BUCKETS   2048
#define HISTOGRAM_MAX       ((1ull << 37) - 1)

struct histogram {
	uint64_t count, max;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

PURE_INLINE uint32_t histogram_bucket(uint64_t value)
{
	uint32_t shift;

	if (value < 1u << HISTOGRAM_FINE_BITS)
		return (uint32_t)value;
	value = MIN_OF(value, HISTOGRAM_MAX);
	shift = 63u - (uint32_t)__builtin_clzll(value) - HISTOGRAM_FINE_BITS;
	return (shift << HISTOGRAM_FINE_BITS) + (uint32_t)(value >> shift);
}

PURE_INLINE void histogram_add(struct histogram *histogram, uint64_t value)
{
	histogram->buckets[histogram_bucket(value)]++;
	histogram->count++;
	histogram->max = MAX_OF(histogram->max, value);
}

/* The largest value that falls into a bucket. */
uint64_t histogram_top(uint32_t bucket);
/* The smallest value that `share` (0 to 1) of all do not exceed, as its bucket's largest; 0 when empty. */
uint64_t histogram_percentile(const struct histogram *histogram, double share);
void histogram_merge(struct histogram *sum, const struct histogram *part);
/* What has come since `before`, an earlier state of `now`; its max is that of the highest bucket. */
void histogram_since(struct histogram *since, const struct histogram *now, const struct histogram *before);

#endif
