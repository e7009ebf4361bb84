/* histogram.c - what a histogram says.
 * In: counted values. Out: percentiles. Owns: nothing. */
#include "histogram.h"

uint64_t histogram_top(uint32_t bucket)
{
	uint32_t shift = bucket >> HISTOGRAM_FINE_BITS;

	if (shift <= 1)
		return bucket;
	shift--;
	return ((((uint64_t)bucket & ((1u << HISTOGRAM_FINE_BITS) - 1)) + (1u << HISTOGRAM_FINE_BITS) + 1)
		<< shift) -
	       1;
}

uint64_t histogram_percentile(const struct histogram *histogram, double share)
{
	double rank = share * (double)histogram->count;
	uint64_t below = 0;

	if (histogram->count == 0)
		return 0;
	for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
		below += histogram->buckets[bucket];
		if (below > 0 && (double)below >= rank)
			return MIN_OF(histogram_top(bucket), histogram->max);
	}
	return histogram->max;
}

void histogram_merge(struct histogram *sum, const struct histogram *part)
{
	for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++)
		sum->buckets[bucket] += part->buckets[bucket];
	sum->count += part->count;
	sum->max = MAX_OF(sum->max, part->max);
}

void histogram_since(struct histogram *since, const struct histogram *now, const struct histogram *before)
{
	since->count = now->count - before->count;
	since->max = 0;
	for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
		since->buckets[bucket] = now->buckets[bucket] - before->buckets[bucket];
		if (since->buckets[bucket])
			since->max = MIN_OF(histogram_top(bucket), now->max);
	}
}
