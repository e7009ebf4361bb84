/* rate.c - samples of the delivery rate.
 * In: what was sent, what has arrived, what is lost.  Out: rate_sample.  Owns: struct rate. */
#include "tcp/rate.h"

void rate_begin(struct rate *rate, uint32_t una, uint32_t now_us)
{
	rate->delivered = rate->lost = rate->lost_before = 0;
	rate->delivered_us = rate->first_us = now_us;
	rate->seen = rate->newest = una;
	rate->app_limited = rate->first = rate->count = 0;
}

static struct rate_record *record_at(struct rate *rate, uint32_t n)
{
	return &rate->records[(rate->first + n) % RATE_RECORDS];
}

static void snapshot(const struct rate *rate, struct rate_record *record, uint32_t end, uint32_t in_flight,
		     uint32_t now_us)
{
	*record = (struct rate_record){
		.end = end,
		.sent_us = now_us,
		.first_us = rate->first_us,
		.delivered = rate->delivered,
		.delivered_us = rate->delivered_us,
		.lost = rate->lost,
		.in_flight = in_flight & 0x7fffffffu,
		.app_limited = rate->app_limited & 1u,
	};
}

/* Whether it may be counted to what was sent before: in the same fraction of a round trip, and as much
 * limited. In a full ring it is, too. */
static bool belongs(struct rate *rate, uint32_t srtt_us, uint32_t now_us)
{
	const struct rate_record *last;

	if (rate->count == 0)
		return false;
	last = record_at(rate, rate->count - 1u);
	if (rate->count == RATE_RECORDS)
		return true;
	return now_us - last->sent_us <= srtt_us / RATE_PARTS && last->app_limited == rate->app_limited;
}

/* Section 4.1.2.2. */
void rate_sent(struct rate *rate, uint32_t end, uint32_t bytes, uint32_t in_flight, uint32_t srtt_us,
	       uint32_t now_us)
{
	struct rate_record *last;

	if (in_flight <= bytes)
		rate->first_us = rate->delivered_us = now_us;
	if (belongs(rate, srtt_us, now_us)) {
		last = record_at(rate, rate->count - 1u);
		last->end = end;
		last->in_flight = in_flight & 0x7fffffffu;
		return;
	}
	snapshot(rate, record_at(rate, rate->count), end, in_flight, now_us);
	rate->count++;
}

/* The part that holds the byte before `at`. */
static const struct rate_record *part_before(struct rate *rate, uint32_t at)
{
	for (uint32_t i = 0; i < rate->count; i++)
		if (seq_geq(record_at(rate, i)->end, at))
			return record_at(rate, i);
	return NULL;
}

static void forget(struct rate *rate, uint32_t una)
{
	while (rate->count && seq_leq(record_at(rate, 0)->end, una)) {
		rate->first = (uint8_t)((rate->first + 1u) % RATE_RECORDS);
		rate->count--;
	}
}

/* Section 4.1.2.3: a sample by the part that was sent last among all that has arrived. */
static void take_sample(struct rate *rate, const struct rate_record *part, uint32_t min_rtt_us,
			uint32_t now_us, struct rate_sample *sample)
{
	uint32_t send_us = part->sent_us - part->first_us, ack_us = rate->delivered_us - part->delivered_us;
	uint32_t interval_us = MAX_OF(send_us, ack_us);

	sample->valid = true;
	sample->app_limited = part->app_limited;
	sample->prior_delivered = part->delivered;
	sample->delivered = rate->delivered - part->delivered;
	sample->lost = rate->lost - part->lost;
	sample->in_flight = part->in_flight;
	sample->rtt_us = MAX_OF(now_us - part->sent_us, 1u);
	rate->first_us = part->sent_us;
	if (interval_us && interval_us >= min_rtt_us)
		sample->bytes_per_s = (uint64_t)sample->delivered * 1000000 / interval_us;
}

void rate_acked(struct rate *rate, uint32_t una, uint32_t sacked, uint32_t highest, uint32_t min_rtt_us,
		uint32_t now_us, struct rate_sample *sample)
{
	uint32_t seen = una + sacked, newest = seq_max(una, highest);
	const struct rate_record *part = seq_gt(newest, rate->newest) ? part_before(rate, newest) : NULL;

	*sample = (struct rate_sample){.newly_lost = rate->lost - rate->lost_before};
	rate->lost_before = rate->lost;
	if (seq_gt(seen, rate->seen)) { /* a peer that takes back what it told brings nothing new */
		sample->newly_delivered = seen - rate->seen;
		rate->delivered += sample->newly_delivered;
		rate->delivered_us = now_us;
		rate->seen = seen;
	}
	sample->now_delivered = rate->delivered;
	if (rate->app_limited && seq_gt(rate->delivered, rate->bubble_end))
		rate->app_limited = 0;
	if (part && sample->newly_delivered)
		take_sample(rate, part, min_rtt_us, now_us, sample);
	rate->newest = seq_max(rate->newest, newest);
	forget(rate, una);
}

const struct rate_record *rate_lost(struct rate *rate, uint32_t start, uint32_t bytes)
{
	rate->lost += bytes;
	return part_before(rate, start + 1);
}

/* Section 4.1.2.4. */
void rate_starved(struct rate *rate, uint32_t in_flight)
{
	rate->app_limited = 1;
	rate->bubble_end = rate->delivered + in_flight;
}
