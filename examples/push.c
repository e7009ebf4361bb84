/* push.c - the same news to all connections: every second (PUSH_MS in the environment says otherwise) each
 * gets a line.
 *
 * The line is stored once, however many receive it. Who is too slow misses lines but not the newest: one that
 * was not sent yet gives way to it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <c10m/c10m.h>

#define TOPIC 1

static uint32_t period_ms = 1000;
static _Thread_local uint64_t pushes; /* each worker has its own connections and counts for itself */

static void push(c10m_worker *worker, void *unused)
{
	struct c10m_fanout_request news = {
		.slow = C10M_SLOW_COALESCE, .topic = TOPIC, .patience_ms = period_ms};
	char line[80];
	int bytes = snprintf(line, sizeof(line), "news %" PRIu64 " after %" PRIu64 " ms\n", ++pushes,
			     c10m_now_us(worker) / 1000);

	(void)unused;
	news.message = c10m_message_new(worker, line, (size_t)bytes);
	if (news.message) {
		c10m_fanout(worker, &news); /* refused while 64 are under way: the next one is newer anyhow */
		c10m_message_release(worker, news.message);
	}
	c10m_worker_timer(worker, period_ms, push, NULL);
}

static void on_start(c10m_worker *worker)
{
	c10m_worker_timer(worker, period_ms, push, NULL);
}

int main(int argc, char **argv)
{
	const struct c10m_service service = {
		.name = "push",
		.port = 7000,
		.on_start = on_start,
		.flags = C10M_NODELAY,
		.keepalive_ms = 60000, /* receivers say nothing: it finds those that are gone */
	};

	if (getenv("PUSH_MS"))
		period_ms = (uint32_t)strtoul(getenv("PUSH_MS"), NULL, 10);
	return c10m_main(argc, argv, &service, 1);
}
