/* own_congestion.c - a server with an algorithm of its own for how much may be in flight: c10m/congestion.h.
 *
 * It wants a queue of two to four segments on the path, as TCP Vegas does: a round trip that is longer than
 * the shortest one says how many wait there. Its one word counts what was acknowledged since it looked last.
 */
#include <c10m/c10m.h>
#include <c10m/congestion.h>

/* How many segments wait on the path. */
static uint32_t waiting(const struct c10m_congestion *c)
{
	uint64_t more_us = c->srtt_us > c->min_rtt_us ? c->srtt_us - c->min_rtt_us : 0;

	return c->srtt_us ? (uint32_t)(c->cwnd * more_us / c->srtt_us / c->mss) : 0;
}

/* Once a round trip it looks, and moves by a segment; while nothing waits at all it doubles. */
static void acked(struct c10m_congestion *c, uint32_t bytes)
{
	if (c->cwnd < c->ssthresh && waiting(c) < 2) {
		c->cwnd += bytes < 8 * c->mss ? bytes : 8 * c->mss;
		return;
	}
	c->ssthresh = c->cwnd < c->ssthresh ? c->cwnd : c->ssthresh;
	c->words[0] += bytes;
	if (c->words[0] < c->cwnd)
		return;
	c->words[0] = 0;
	if (waiting(c) < 2)
		c->cwnd += c->mss;
	else if (waiting(c) > 4)
		c->cwnd -= c->mss;
}

static void loss(struct c10m_congestion *c)
{
	c->ssthresh = c->flight / 4 * 3;
}

static void timeout(struct c10m_congestion *c, bool first)
{
	if (first)
		c->ssthresh = c->flight / 2;
}

static const struct c10m_congestion_control gentle = {
	.name = "gentle",
	.acked = acked,
	.loss = loss,
	.timeout = timeout,
};

/* Sends for ever, to whoever connects. */
static void more(c10m_conn *conn)
{
	static const char text[4096];

	while (c10m_send(conn, text, sizeof(text)) == sizeof(text))
		;
}

int main(int argc, char **argv)
{
	const struct c10m_service service = {
		.name = "own_congestion",
		.port = 19,
		.on_open = more,
		.on_writable = more,
		.send_bytes = 4 << 20,
		.congestion_control = &gentle,
	};

	return c10m_main(argc, argv, &service, 1);
}
