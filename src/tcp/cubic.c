/* cubic.c - CUBIC, RFC 9438: the window grows with the cube of the time since the last loss, whatever the
 * round trip is; where that is slower than Reno would be, as Reno. Its words: W_max in bytes, and when this
 * epoch began (0: it has not). cwnd_epoch is ssthresh, since that is where slow start and recovery leave the
 * window. Whole numbers only: milliseconds and bytes. */
#include "tcp/congestion.h"

#include "base/plant.h"

#define W_MAX 0
#define EPOCH 1

#define LONG_MS 200000u /* no curve is followed for longer: its numbers still fit */

/* The cube root, bit by bit. */
static uint32_t cube_root(uint64_t value)
{
	uint64_t root = 0;

	for (int shift = 63; shift >= 0; shift -= 3) {
		uint64_t bit;

		root *= 2;
		bit = 3 * root * (root + 1) + 1;
		if (value >> shift >= bit) {
			value -= bit << shift;
			root++;
		}
	}
	return (uint32_t)root;
}

/* K of section 4.2: how long the curve takes to W_max, with C = 0.4 segments a cubic second. */
static uint32_t k_ms(const struct c10m_congestion *c, uint32_t w_max)
{
	uint64_t below = w_max > c->ssthresh ? w_max - c->ssthresh : 0;

	return cube_root(below * 2500000000u / c->mss);
}

/* W_cubic(t) of section 4.2. */
static uint64_t curve(const struct c10m_congestion *c, uint32_t w_max, uint32_t t_ms)
{
	uint32_t k = k_ms(c, w_max), distance = MIN_OF(t_ms > k ? t_ms - k : k - t_ms, LONG_MS);
	uint64_t cube = (uint64_t)distance * distance * distance / 1000;
	uint64_t bytes = cube * c->mss * 4 / 10000000;

	if (t_ms >= k)
		return w_max + bytes;
	return w_max > bytes ? w_max - bytes : 0;
}

/* W_est of section 4.3: Reno with alpha = 3 * (1 - 0.7) / (1 + 0.7) = 0.529 segments a round trip. */
static uint64_t as_reno(const struct c10m_congestion *c, uint32_t t_ms)
{
	uint64_t rtt_us = MAX_OF(c->srtt_us, 1u);

	return c->ssthresh + (uint64_t)MIN_OF(t_ms, LONG_MS) * 529 * c->mss / rtt_us;
}

static void avoid(struct c10m_congestion *c, uint32_t bytes)
{
	uint32_t t_ms, w_max;
	uint64_t target, reno;

	if (c->words[EPOCH] == 0) { /* a time of 0 is none */
		c->words[EPOCH] = c->now_ms | 1;
		c->words[W_MAX] = MAX_OF(c->words[W_MAX], c->cwnd);
	}
	t_ms = c->now_ms - c->words[EPOCH];
	t_ms = (int32_t)t_ms < 0 ? 0 : t_ms;
	w_max = MAX_OF(c->words[W_MAX], c->ssthresh);
	reno = MIN_OF(as_reno(c, t_ms), (uint64_t)c->cwnd + bytes);
	target = curve(c, w_max, t_ms + c->srtt_us / 1000);
	target = MIN_OF(target, (uint64_t)c->cwnd + c->cwnd / 2);
	if (target > c->cwnd)
		c->cwnd += (uint32_t)((target - c->cwnd) * bytes / c->cwnd);
	c->cwnd = (uint32_t)MAX_OF((uint64_t)c->cwnd, reno);
}

static void acked(struct c10m_congestion *c, uint32_t bytes)
{
	if (c->cwnd < c->ssthresh)
		c->cwnd += MIN_OF(bytes, ABC_SEGMENTS * c->mss);
	else
		avoid(c, bytes);
}

/* Sections 4.6 and 4.7: beta is 0.7; who lost before he was back where he was makes room for others. */
static void reduce(struct c10m_congestion *c)
{
	uint32_t window = MAX_OF(c->flight, c->mss);

	c->words[W_MAX] = window < c->words[W_MAX] ? window / 20 * 17 : window;
	c->words[EPOCH] = 0;
	c->ssthresh = MAX_OF(PLANTED(CUBIC_STAYS) ? window : window / 10 * 7, 2 * c->mss);
}

static void timeout(struct c10m_congestion *c, bool first)
{
	if (first)
		reduce(c);
	c->words[EPOCH] = 0;
}

/* Section 4.2: time in which nothing is sent does not count. */
static void idle(struct c10m_congestion *c)
{
	c->words[EPOCH] = 0;
}

const struct c10m_congestion_control congestion_cubic = {
	.name = "cubic",
	.acked = acked,
	.loss = reduce,
	.timeout = timeout,
	.idle = idle,
};

/* Without a model of the path: model.c. */
const struct c10m_congestion_control congestion_bbr = {
	.name = "bbr",
	.acked = acked,
	.loss = reduce,
	.timeout = timeout,
	.idle = idle,
	.flags = CONGESTION_MODEL,
};
