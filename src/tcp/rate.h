/* rate.h - how fast the path delivers: samples of the delivery rate (draft-ietf-ccwg-bbr section 4.1).
 *
 * Of each part of the window it is written down when it was sent and what had been delivered by then; when it
 * arrives the difference is a sample. A part is what was sent within a fraction of a round trip, as the draft
 * has it for aggregates, so that a ring of fixed size holds any window. What was sent again makes no sample.
 */
#ifndef C10M_TCP_RATE_H
#define C10M_TCP_RATE_H

#include "base/compiler.h"
#include "base/seq.h"

#define RATE_RECORDS 64u
#define RATE_PARTS   48u /* of a round trip; the rest of the ring is for round trips that get longer */

struct rate_record {
	uint32_t end; /* sequence number behind it */
	uint32_t sent_us;
	uint32_t first_us;  /* when that was sent which had arrived last by then */
	uint32_t delivered; /* bytes that had arrived by then ... */
	uint32_t delivered_us;
	uint32_t lost;
	uint32_t in_flight : 31, app_limited : 1; /* with it */
};

/* Bytes are counted modulo 2^32: only differences mean something. */
struct rate {
	uint32_t delivered, delivered_us, first_us, lost;
	uint32_t seen;        /* snd_una, and what has arrived beyond it, at the last look */
	uint32_t bubble_end;  /* while app_limited: of `delivered`, when the gap has left the path */
	uint32_t newest;      /* of what has arrived: end of its part */
	uint32_t lost_before; /* at the last look */
	uint8_t app_limited, first, count, pad;
	struct rate_record records[RATE_RECORDS];
};

struct rate_sample {
	bool valid, app_limited;
	uint64_t bytes_per_s; /* 0: not known */
	uint32_t delivered;   /* in the time of the sample */
	uint32_t prior_delivered, now_delivered;
	uint32_t newly_delivered, newly_lost; /* since the last look */
	uint32_t lost;                        /* since what arrived was sent */
	uint32_t in_flight;                   /* when it was sent */
	uint32_t rtt_us;                      /* 0: not known */
};

void rate_begin(struct rate *rate, uint32_t una, uint32_t now_us);
/* New data was sent, up to `end`; in_flight counts it. */
void rate_sent(struct rate *rate, uint32_t end, uint32_t bytes, uint32_t in_flight, uint32_t srtt_us,
	       uint32_t now_us);
/* So much has arrived: all up to una, and `sacked` bytes beyond it, the last of which ends at `highest`. */
void rate_acked(struct rate *rate, uint32_t una, uint32_t sacked, uint32_t highest, uint32_t min_rtt_us,
		uint32_t now_us, struct rate_sample *sample);
/* What starts there is lost. Returns what was written down of it; NULL: nothing. */
const struct rate_record *rate_lost(struct rate *rate, uint32_t start, uint32_t bytes);
/* There is nothing to send, though more might be. */
void rate_starved(struct rate *rate, uint32_t in_flight);

#endif
