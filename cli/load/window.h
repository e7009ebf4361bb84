/* window.h - how many connections may be opening at a time: as many as the peer answers quickly.
 *
 * It grows while answers come about as fast as the fastest did, and stays while they come later (they queue
 * somewhere: more would only wait longer). An open that took as long as a retransmission, or failed, halves
 * it. */
#ifndef C10M_LOAD_WINDOW_H
#define C10M_LOAD_WINDOW_H

#include "base/compiler.h"

#define WINDOW_FIRST   32.0
#define WINDOW_LEAST   16.0
#define WINDOW_MOST    4096.0
#define WINDOW_LOST_US 500000 /* a SYN is sent again after a second (RFC 6298): slower than this was loss */
#define WINDOW_CALM_US 1000000
#define WINDOW_SLACK   100   /* microseconds beyond twice the fastest that are no queue */
#define WINDOW_NEAR    512.0 /* more than that only fills, and overflows, the rings of interfaces ... */
#define WINDOW_FAR_US  2000  /* ... unless the peer is so far away that most are on their way */

struct window {
	double size, threshold;
	uint64_t fastest_us, halved_us;
};

PURE_INLINE void window_begin(struct window *window)
{
	*window = (struct window){.size = WINDOW_FIRST, .threshold = WINDOW_MOST, .fastest_us = UINT64_MAX};
}

/* Once for a burst of losses. */
PURE_INLINE void window_lost(struct window *window, uint64_t now_us)
{
	if (window->halved_us && now_us - window->halved_us < WINDOW_CALM_US)
		return;
	window->halved_us = now_us;
	window->threshold = MAX_OF(window->size / 2, WINDOW_LEAST);
	window->size = window->threshold;
}

PURE_INLINE double window_most(const struct window *window)
{
	return window->fastest_us < WINDOW_FAR_US ? WINDOW_NEAR : WINDOW_MOST;
}

PURE_INLINE void window_answered(struct window *window, uint64_t now_us, uint64_t took_us)
{
	window->fastest_us = MIN_OF(window->fastest_us, took_us);
	if (took_us > WINDOW_LOST_US && window->fastest_us < WINDOW_LOST_US / 4)
		window_lost(window, now_us);
	else if (took_us <= 2 * window->fastest_us + WINDOW_SLACK && window->size < window_most(window))
		window->size += window->size < window->threshold ? 1 : 1 / window->size;
}

#endif
