/* test_congestion.c - CUBIC (RFC 9438) and NewReno (RFC 5681) as functions of time and bytes. */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "tcp/congestion.h"

#define MSS 1000u

static uint32_t words[2];

static struct c10m_congestion connection(uint32_t cwnd, uint32_t ssthresh, uint32_t rtt_ms)
{
	memset(words, 0, sizeof(words));
	return (struct c10m_congestion){
		.cwnd = cwnd,
		.ssthresh = ssthresh,
		.words = words,
		.mss = MSS,
		.flight = cwnd,
		.srtt_us = rtt_ms * 1000,
		.min_rtt_us = rtt_ms * 1000,
		.now_ms = 4294960000u, /* the clock wraps in the middle */
	};
}

/* All that is in flight is acknowledged, two segments at a time, over one round trip. */
static void round_trip(const struct c10m_congestion_control *control, struct c10m_congestion *c)
{
	uint32_t left = c->cwnd, started = c->now_ms, all = left;

	while (left > 0) {
		uint32_t bytes = MIN_OF(left, 2 * MSS);

		left -= bytes;
		c->now_ms = started + (uint32_t)((uint64_t)(all - left) * c->srtt_us / 1000 / all);
		c->flight = c->cwnd;
		control->acked(c, bytes);
	}
}

static void names(void **state)
{
	(void)state;
	assert_ptr_equal(congestion_find(NULL), &congestion_cubic);
	assert_ptr_equal(congestion_find("cubic"), &congestion_cubic);
	assert_ptr_equal(congestion_find("newreno"), &congestion_newreno);
	assert_null(congestion_find("vegas"));
	assert_null(congestion_find(""));
}

/* By all that is acknowledged, but by eight segments for one acknowledgement at most (RFC 9406, RFC 3465). */
/* proves RFC5681-04 */
static void slow_start(void **state)
{
	struct c10m_congestion c = connection(10 * MSS, UINT32_MAX / 2, 100);

	(void)state;
	round_trip(&congestion_cubic, &c);
	assert_int_equal(c.cwnd, 20 * MSS);
	congestion_cubic.acked(&c, 50 * MSS);
	assert_int_equal(c.cwnd, 28 * MSS);
	c = connection(10 * MSS, UINT32_MAX / 2, 100);
	round_trip(&congestion_newreno, &c);
	assert_int_equal(c.cwnd, 20 * MSS);
	congestion_newreno.acked(&c, 50 * MSS);
	assert_int_equal(c.cwnd, 28 * MSS);
}

/* proves RFC5681-05, RFC5681-06 */
static void newreno_adds_a_segment_and_halves(void **state)
{
	struct c10m_congestion c = connection(10 * MSS, 10 * MSS, 100);

	(void)state;
	for (unsigned i = 1; i <= 5; i++) {
		round_trip(&congestion_newreno, &c);
		assert_in_range(c.cwnd, (9 + i) * MSS, (10 + i) * MSS);
	}
	c.flight = c.cwnd = 20 * MSS;
	congestion_newreno.loss(&c);
	assert_int_equal(c.ssthresh, 10 * MSS);
	c.flight = MSS;
	congestion_newreno.timeout(&c, false);
	assert_int_equal(c.ssthresh, 10 * MSS);
	congestion_newreno.timeout(&c, true);
	assert_int_equal(c.ssthresh, 2 * MSS);
}

/* Section 4.6: to 0.7; section 4.7: to 0.85 of W_max when the window had not come back. */
static void cubic_reduces(void **state)
{
	struct c10m_congestion c = connection(1000 * MSS, UINT32_MAX / 2, 100);

	(void)state;
	congestion_cubic.loss(&c);
	assert_int_equal(c.ssthresh, 700 * MSS);
	assert_int_equal(words[0], 1000 * MSS);
	c.cwnd = c.flight = 800 * MSS;
	congestion_cubic.loss(&c);
	assert_int_equal(c.ssthresh, 560 * MSS);
	assert_int_equal(words[0], 680 * MSS);
	c.cwnd = c.flight = MSS;
	congestion_cubic.loss(&c);
	assert_int_equal(c.ssthresh, 2 * MSS);
}

/* Sections 4.1 to 4.5, against the formula in floating point: W_cubic(t) = 0.4 * (t - K)^3 + W_max. */
/* proves RFC9293-MAY-18 */
static void cubic_follows_the_curve(void **state)
{
	static const uint32_t windows[] = {200, 1000, 10000, 100000};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(windows); i++) {
		struct c10m_congestion c = connection(windows[i] * MSS, UINT32_MAX / 2, 100);
		double w_max = windows[i], k = cbrt(w_max * 0.3 / 0.4);
		uint32_t began;

		congestion_cubic.loss(&c);
		c.cwnd = c.ssthresh;
		began = c.now_ms;
		while ((int32_t)(c.now_ms - began) < (int32_t)(k * 1500)) {
			double t, want, got;

			round_trip(&congestion_cubic, &c);
			t = (c.now_ms - began) / 1000.0;
			want = 0.4 * pow(t - k, 3) + w_max;
			got = c.cwnd / (double)MSS;
			assert_true(got > want * 0.97 - 2 &&
				    got < 0.4 * pow(t + 0.1 - k, 3) + w_max * 1.01 + 2);
		}
	}
}

/* Section 4.3: on a short round trip with a small window it grows as Reno does, by 0.529 segments a round. */
static void cubic_is_friendly_to_reno(void **state)
{
	struct c10m_congestion c = connection(10 * MSS, UINT32_MAX / 2, 1);

	(void)state;
	congestion_cubic.loss(&c);
	c.cwnd = c.ssthresh;
	for (unsigned i = 0; i < 100; i++)
		round_trip(&congestion_cubic, &c);
	assert_in_range(c.cwnd, (7 + 45) * MSS, (7 + 60) * MSS);
}

/* It never grows faster than by half a round trip, and not at all by time alone. */
static void cubic_is_bounded(void **state)
{
	struct c10m_congestion c = connection(100 * MSS, UINT32_MAX / 2, 100);
	uint32_t before;

	(void)state;
	congestion_cubic.loss(&c);
	c.cwnd = c.ssthresh;
	congestion_cubic.acked(&c, MSS);
	c.now_ms += 10000000;
	before = c.cwnd;
	congestion_cubic.acked(&c, 2 * MSS);
	assert_true(c.cwnd <= before + 2 * MSS);
	congestion_cubic.idle(&c); /* section 4.2 */
	before = c.cwnd;
	congestion_cubic.acked(&c, 2 * MSS);
	assert_true(c.cwnd <= before + MSS);
}

/* Unknown or absurd round trips, windows at their limits: no division by zero, nothing overflows. */
static void extremes(void **state)
{
	static const uint32_t values[] = {1, 1000, 65535, 1u << 30};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		for (unsigned j = 0; j < 4; j++) {
			struct c10m_congestion c = connection(values[i], values[j], 0);

			c.srtt_us = i ? UINT32_MAX : 0;
			for (unsigned k = 0; k < 100; k++) {
				uint32_t before = c.cwnd;

				c.now_ms += 0x10000001;
				congestion_cubic.acked(&c, values[k % 4]);
				assert_true(c.cwnd >= before &&
					    c.cwnd <= before + MAX_OF(before / 2 + 1, values[k % 4]));
				c.cwnd = MIN_OF(c.cwnd, 1u << 30);
				if (k % 10 == 9)
					congestion_cubic.loss(&c);
			}
		}
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(slow_start),
		cmocka_unit_test(newreno_adds_a_segment_and_halves),
		cmocka_unit_test(cubic_reduces),
		cmocka_unit_test(cubic_follows_the_curve),
		cmocka_unit_test(cubic_is_friendly_to_reno),
		cmocka_unit_test(cubic_is_bounded),
		cmocka_unit_test(extremes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
