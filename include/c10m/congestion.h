/* congestion.h - how much may be in flight: an algorithm of one's own.
 *
 * A service names an algorithm that c10m has (c10m_service.congestion: "cubic", RFC 9438, "newreno", RFC
 * 5681, "bbr", draft-ietf-ccwg-bbr, or "dctcp", RFC 8257), or brings one: c10m_service.congestion_control.
 * Losses are found, and repaired, by c10m (RFC 8985, RFC 6937); the algorithm says what follows from them for
 * the window. Its functions are called on the worker's own thread, and change nothing but what the struct
 * below lets them change. */
#ifndef C10M_CONGESTION_H
#define C10M_CONGESTION_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What an algorithm sees of a connection. It may change cwnd, ssthresh and its words. */
struct c10m_congestion {
	uint32_t cwnd;     /* bytes that may be in flight; kept between one segment and 1 GB */
	uint32_t ssthresh; /* bytes; below it a window is in slow start. Kept at two segments at least */
	uint32_t *words;   /* two of its own for each connection, 0 at first */
	uint32_t mss;      /* bytes of a full segment */
	uint32_t flight;   /* bytes in flight when it happened */
	uint32_t srtt_us;  /* 0: not known yet */
	uint32_t min_rtt_us;
	uint32_t now_ms; /* wraps: compare by difference */
};

struct c10m_congestion_control {
	const char *name;
	/* New data was acknowledged, outside of recoveries, and the window is in use (RFC 7661). */
	void (*acked)(struct c10m_congestion *c, uint32_t bytes);
	/* Something was lost: sets ssthresh. While the loss is repaired c10m sets cwnd, to ssthresh in the
	 * end. */
	void (*loss)(struct c10m_congestion *c);
	/* The retransmission timer expired; `first` when it did not already before. Sets ssthresh; cwnd is
	 * one segment afterwards. */
	void (*timeout)(struct c10m_congestion *c, bool first);
	/* Nothing was in flight for longer than a time-out; cwnd is small again. NULL: nothing to do. */
	void (*idle)(struct c10m_congestion *c);
	/* So many bytes were acknowledged by a segment that tells of congestion on the path (ECN, RFC 3168).
	 * `first`: of a window; then cwnd may be made smaller. NULL: as a loss, and cwnd becomes ssthresh. */
	void (*marked)(struct c10m_congestion *c, uint32_t bytes, bool first);
	uint32_t flags;
};

/* Bits of c10m_congestion_control.flags. */
#define C10M_CONGESTION_ECN \
	0x1u /* asks for ECN when it opens, and tells of marks one by one as DCTCP does (RFC 8257): for \
		networks in which all do so */

#ifdef __cplusplus
}
#endif

#endif
