/* fanout.c - one message to very many connections of one stack, or their end, and what others notice of it.
 *
 * No interface: frames are made and checked between the timed parts, and a clock that stands still meanwhile
 * is the worker's own. On this clock requests of echo connections come at a fixed rate; the time to their
 * answer counts from when they should have come, so that a stall is seen whole. Receivers acknowledge after
 * 40 ms, as Linux does, not in the order of their connections. The rounds are those of run/worker.c: all that
 * has come, at most 64 frames; then up to 8 bursts out. The generator's work evicts the caches between
 * rounds, so the figures are conservative. Owns: arena, peers and frames while it runs. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/bench_server.h"
#include "stack/stack.h"
#include "sys/clock.h"
#include "sys/entropy.h"
#include "sys/memory.h"
#include "sys/pin.h"

#define TX_ROUNDS      8u /* as in run/worker.c */
#define TX_FIRST_SPARE 4u
#define FRAMES_OUT     (TX_ROUNDS * STACK_BURST)
#define FRAME_BYTES    2048u
#define MESSAGE_BYTES  64u
#define LATENCIES_MAX  (1u << 24)
#define SHUFFLE        32768u /* acknowledgements that are on their way together and come in any order */
#define CLOSE_SLICE    4096u  /* places that are looked at between two rounds */
#define CLOSE_AHEAD    8u     /* places whose blocks are fetched before they are looked at */
#define WARM_UP_US     300000u
#define ALONE_US       1000000u /* echo without a fan-out, to compare */
#define GAP_US         100000u  /* between two fan-outs */

struct options {
	uint32_t connections, echoes, rate, repeat, cpu;
	bool group, close, json;
};

struct latencies {
	uint32_t *ns;
	uint32_t count;
};

struct bench {
	struct options options;
	struct sys_memory arena_memory, peers_memory, frame_memory;
	struct stack *stack;
	struct peers peers;
	uint64_t clock_ns; /* the worker's own: runs in timed parts alone */
	uint64_t timed_ns; /* of it not at rest */
	uint64_t next_echo_ns;
	uint64_t *asked_ns; /* by echo connection: when its request should have come */
	uint32_t next_echo; /* whose turn it is to ask */
	struct latencies latencies;
	struct packet in[STACK_BURST], out[FRAMES_OUT];
	uint64_t out_ns[FRAMES_OUT];
	uint32_t in_count, out_count;
	uint64_t start_ns, last_ns; /* of the fan-out: when it began, when its last message went out */
	struct c10m_fanout_result result;
	bool done;
};

/* Callbacks have no other way to it. */
static struct bench *bench_now;
static c10m_group everybody;

/* --- the server ------------------------------------------------------------------------- */

static size_t on_data(c10m_conn *conn, const void *data, size_t len)
{
	return c10m_send(conn, data, len);
}

/* The receivers are those with the lowest numbers. */
static uint32_t number_of(const c10m_conn *conn)
{
	struct c10m_endpoints endpoints;

	c10m_conn_endpoints(conn, &endpoints);
	return peers_index(&bench_now->peers, endpoints.remote_address, endpoints.remote_port);
}

static int is_receiver(c10m_conn *conn, void *context)
{
	const uint32_t *number = c10m_conn_state(conn);

	return *number < ((const struct bench *)context)->options.connections;
}

static void on_open(c10m_conn *conn)
{
	uint32_t *number = c10m_conn_state(conn);

	*number = number_of(conn);
	if (bench_now->options.group && is_receiver(conn, bench_now) && c10m_group_join(conn, everybody) != 0)
		abort();
}

static void on_start(c10m_worker *worker)
{
	everybody = c10m_group_new(worker);
}

static const struct c10m_service service = {
	.name = "echo",
	.port = BENCH_SERVER_PORT,
	.state_size = 48,
	.groups = 1,
	.on_start = on_start,
	.on_open = on_open,
	.on_data = on_data,
};

static void on_done(c10m_worker *worker, const struct c10m_fanout_result *result, void *context)
{
	struct bench *bench = context;

	(void)worker;
	bench->result = *result;
	bench->done = true;
}

/* --- rounds of the worker ------------------------------------------------------------------ */

static uint64_t now_us(const struct bench *bench)
{
	return bench->clock_ns / 1000;
}

static uint8_t *frame_at(const struct bench *bench, uint32_t i)
{
	return (uint8_t *)bench->frame_memory.base + (size_t)i * FRAME_BYTES;
}

static void add_frame(struct bench *bench, uint32_t bytes)
{
	bench->in[bench->in_count] = (struct packet){.data = frame_at(bench, bench->in_count),
						     .bytes = bytes};
	bench->in_count++;
}

/* The next echo connection asks; one that still waits lets the next one ask. */
static void add_request(struct bench *bench)
{
	uint32_t echoes = bench->options.echoes;

	for (uint32_t tries = 0; tries < echoes; tries++) {
		uint32_t echo = bench->next_echo;

		bench->next_echo = (echo + 1) % echoes;
		if (bench->asked_ns[echo])
			continue;
		bench->asked_ns[echo] = bench->next_echo_ns;
		add_frame(bench, peers_request(&bench->peers, bench->options.connections + echo,
					       frame_at(bench, bench->in_count), now_us(bench)));
		return;
	}
}

/* What has come by now: requests and acknowledgements. */
static void gather(struct bench *bench)
{
	while (bench->in_count < STACK_BURST && bench->next_echo_ns <= bench->clock_ns &&
	       bench->options.rate) {
		add_request(bench);
		bench->next_echo_ns += 1000000000u / bench->options.rate;
	}
	while (bench->in_count < STACK_BURST) {
		uint32_t bytes = peers_due_ack(&bench->peers, frame_at(bench, bench->in_count),
					       now_us(bench));

		if (bytes == 0)
			break;
		add_frame(bench, bytes);
	}
}

/* The timed part. */
static void run_round(struct bench *bench)
{
	uint64_t before_ns = sys_now_ns(), start_ns = bench->clock_ns, start_us = now_us(bench);
	uint32_t wanted = MIN_OF(STACK_BURST, bench->in_count + TX_FIRST_SPARE);

	if (bench->in_count)
		stack_rx(bench->stack, start_us, bench->in, bench->in_count);
	for (uint32_t i = 0; i < TX_ROUNDS && stack_deadline(bench->stack) <= start_us;
	     i++, wanted = STACK_BURST) {
		uint32_t sent = stack_tx(bench->stack, start_us, &bench->out[bench->out_count], wanted);

		bench->clock_ns = start_ns + sys_now_ns() - before_ns;
		for (uint32_t j = 0; j < sent; j++)
			bench->out_ns[bench->out_count + j] = bench->clock_ns;
		bench->out_count += sent;
		if (sent < wanted)
			break;
	}
	bench->clock_ns = start_ns + sys_now_ns() - before_ns;
	bench->timed_ns += bench->clock_ns - start_ns;
}

static void note_answer(struct bench *bench, uint32_t echo, uint64_t at_ns)
{
	struct latencies *latencies = &bench->latencies;

	if (latencies->count < LATENCIES_MAX)
		latencies->ns[latencies->count++] = (uint32_t)MIN_OF(at_ns - bench->asked_ns[echo],
								     (uint64_t)UINT32_MAX);
	bench->asked_ns[echo] = 0;
}

static void check_round(struct bench *bench)
{
	for (uint32_t i = 0; i < bench->out_count; i++) {
		struct packet *packet = &bench->out[i];
		uint64_t requests = bench->peers.stats.requests, pushed = bench->peers.stats.pushed;
		uint32_t index = peers_take(&bench->peers, packet->data, packet->bytes,
					    bench->out_ns[i] / 1000);

		if (bench->peers.stats.requests > requests)
			note_answer(bench, index - bench->options.connections, bench->out_ns[i]);
		if (bench->peers.stats.pushed > pushed)
			bench->last_ns = bench->out_ns[i];
		*packet = (struct packet){.data = frame_at(bench, STACK_BURST + i), .room = FRAME_BYTES};
	}
	bench->in_count = bench->out_count = 0;
}

/* Where nothing is to be done the clock jumps to the next thing. */
static void rest(struct bench *bench)
{
	uint64_t next_ns = MIN_OF(stack_deadline(bench->stack), UINT64_MAX / 1000) * 1000;

	if (bench->options.rate)
		next_ns = MIN_OF(next_ns, bench->next_echo_ns);
	if (bench->peers.ack_count)
		next_ns = MIN_OF(next_ns, bench->peers.acks[bench->peers.ack_first].due_us * 1000);
	bench->clock_ns = MAX_OF(bench->clock_ns, MIN_OF(next_ns, bench->clock_ns + 1000000));
}

static void one_round(struct bench *bench)
{
	gather(bench);
	if (bench->in_count == 0 && stack_deadline(bench->stack) > now_us(bench))
		rest(bench);
	else
		run_round(bench);
	check_round(bench);
}

static void run_for(struct bench *bench, uint64_t us)
{
	uint64_t end_ns = bench->clock_ns + us * 1000;

	while (bench->clock_ns < end_ns && bench->peers.stats.wrong == 0)
		one_round(bench);
}

/* --- setting up ------------------------------------------------------------------------------ */

static void refuse(const char *sentence)
{
	fprintf(stderr, "fanout: %s\n", sentence);
	exit(1);
}

static void map(struct sys_memory *memory, const char *name, size_t bytes, int cpu)
{
	const struct sys_memory_request request = {
		.name = name, .bytes = bytes, .kind = SYS_PAGES_BEST, .cpu = cpu};
	char error[SYS_ERROR_BYTES];

	if (sys_memory_map(&request, memory, error) < 0)
		refuse(error);
}

static void make_stack(struct bench *bench)
{
	struct stack_config config;
	struct arena_secrets secrets;
	struct arena arena;

	bench_server_configure(&bench->peers, &service, &config);
	map(&bench->arena_memory, "c10m-fanout", bench_server_bytes(&config), (int)bench->options.cpu);
	if (sys_entropy_secrets(&secrets) < 0)
		refuse("no randomness: check /dev/urandom");
	arena_init(&arena, bench->arena_memory.base, bench->arena_memory.bytes, &secrets, 0);
	if (bench_server_start(&arena, &config, &bench->peers, &bench->stack) < 0)
		refuse("the stack cannot start: ask for fewer connections");
}

static void set_up(struct bench *bench)
{
	static uint8_t message[MESSAGE_BYTES];
	char error[SYS_ERROR_BYTES];

	for (uint32_t i = 0; i < MESSAGE_BYTES; i++)
		message[i] = (uint8_t)(i * 5 + 3);
	bench_now = bench;
	bench_server_name(&bench->peers, bench->options.connections + bench->options.echoes);
	bench->peers.push = message;
	bench->peers.push_bytes = MESSAGE_BYTES;
	bench->peers.shuffle = SHUFFLE;
	map(&bench->peers_memory, "c10m-peers", peers_bytes(bench->peers.count), (int)bench->options.cpu);
	map(&bench->frame_memory, "c10m-frames", (size_t)(STACK_BURST + FRAMES_OUT) * FRAME_BYTES,
	    (int)bench->options.cpu);
	bench->asked_ns = calloc(bench->options.echoes + 1, sizeof(*bench->asked_ns));
	bench->latencies.ns = calloc(LATENCIES_MAX, sizeof(*bench->latencies.ns));
	if (!bench->asked_ns || !bench->latencies.ns)
		refuse("too little memory");
	peers_init(&bench->peers, bench->peers_memory.base);
	bench->out_count = FRAMES_OUT;
	for (uint32_t i = 0; i < FRAMES_OUT; i++)
		bench->out[i] = (struct packet){.data = frame_at(bench, STACK_BURST + i),
						.room = FRAME_BYTES};
	bench->out_count = 0;
	make_stack(bench);
	if (sys_pin_thread((int)bench->options.cpu, error) < 0)
		refuse(error);
}

/* Opens peer by peer in an order that looks random, so that blocks and peers do not lie in the same order. */
static void open_all(struct bench *bench)
{
	uint32_t count = bench->peers.count, step = 7919;

	while (count % step == 0)
		step += 2;
	for (uint64_t i = 0; i < count; i += 16) {
		uint64_t end = MIN_OF(i + 16, (uint64_t)count);

		for (uint64_t j = i; j < end; j++)
			add_frame(bench, peers_syn(&bench->peers, (uint32_t)(j * step % count),
						   frame_at(bench, bench->in_count), now_us(bench)));
		run_round(bench);
		check_round(bench);
		for (uint64_t j = i; j < end; j++) {
			uint32_t bytes = peers_complete(&bench->peers, (uint32_t)(j * step % count),
							frame_at(bench, bench->in_count), now_us(bench));

			if (bytes)
				add_frame(bench, bytes);
		}
		run_round(bench);
		check_round(bench);
	}
	if (bench->peers.stats.opened != count || bench->peers.stats.wrong)
		refuse(bench->peers.wrong[0] ? bench->peers.wrong : "not all connections opened");
}

/* --- measuring --------------------------------------------------------------------------------- */

struct figures {
	double messages_per_second, all_acknowledged_ms;
	double ns_per_message;               /* with its acknowledgement, and the echo beside it */
	double alone_us[3], meanwhile_us[3]; /* p50, p99, the longest */
	uint64_t answers, again;
};

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void sum_up(struct latencies *latencies, double us[3])
{
	uint32_t count = latencies->count;

	us[0] = us[1] = us[2] = 0;
	if (count) {
		qsort(latencies->ns, count, sizeof(*latencies->ns), compare);
		us[0] = latencies->ns[count / 2] / 1e3;
		us[1] = latencies->ns[count - 1 - count / 100] / 1e3;
		us[2] = latencies->ns[count - 1] / 1e3;
	}
	latencies->count = 0;
}

static void fan_out(struct bench *bench, struct figures *figures)
{
	c10m_worker *worker = stack_worker(bench->stack);
	const struct c10m_fanout_request request = {
		.message = c10m_message_new(worker, bench->peers.push, MESSAGE_BYTES),
		.group = bench->options.group ? everybody : 0,
		.filter = bench->options.group ? NULL : is_receiver,
		.flags = C10M_FANOUT_AWAIT,
		.on_done = on_done,
		.context = bench,
	};
	uint64_t pushed = bench->peers.stats.pushed, count = bench->options.connections;

	bench->done = false;
	bench->peers.stats.again = 0;
	bench->latencies.count = 0;
	bench->start_ns = bench->clock_ns;
	bench->timed_ns = 0;
	if (c10m_fanout(worker, &request) < 0)
		refuse("no fan-out begins");
	c10m_message_release(worker, request.message);
	while (bench->peers.stats.pushed < pushed + count && bench->peers.stats.wrong == 0)
		one_round(bench);
	figures->answers = bench->latencies.count;
	sum_up(&bench->latencies, figures->meanwhile_us);
	figures->messages_per_second = (double)count / ((double)(bench->last_ns - bench->start_ns) / 1e9);
	while (!bench->done && bench->peers.stats.wrong == 0)
		one_round(bench);
	figures->ns_per_message = (double)bench->timed_ns / (double)count;
	figures->again = bench->peers.stats.again;
	figures->all_acknowledged_ms = (double)(bench->clock_ns - bench->start_ns) / 1e6;
	if (bench->peers.stats.wrong)
		refuse(bench->peers.wrong);
	if (bench->result.queued != count || bench->result.acknowledged != count)
		refuse("not every connection got the message: this is a defect, please report it");
}

/* Those that still have a block. */
static uint32_t blocks_in_use(const struct bench *bench)
{
	struct stack_usage usage;

	stack_usage(bench->stack, &usage);
	return usage.connections;
}

/* The application closes so many of the receivers between two rounds; returns whether all were. */
static bool close_some(struct bench *bench, uint32_t *next)
{
	c10m_worker *worker = stack_worker(bench->stack);
	uint64_t before_ns = sys_now_ns();
	uint32_t places = c10m_conn_places(worker), end = MIN_OF(*next + CLOSE_SLICE, places);

	for (; *next < end; (*next)++) {
		c10m_conn *conn;

		if (*next + CLOSE_AHEAD < places)
			c10m_conn_prefetch(worker, *next + CLOSE_AHEAD);
		conn = c10m_conn_at(worker, *next);
		if (conn && is_receiver(conn, bench))
			c10m_close(conn);
	}
	bench->clock_ns += sys_now_ns() - before_ns;
	return end == places;
}

static void close_all(struct bench *bench)
{
	uint64_t count = bench->options.connections;
	uint32_t next = 0;
	double us[3], seconds;

	bench->peers.may_close = true;
	bench->peers.stats.again = 0;
	bench->latencies.count = 0;
	bench->start_ns = bench->clock_ns;
	while (!close_some(bench, &next))
		one_round(bench);
	while (blocks_in_use(bench) > bench->options.echoes && bench->peers.stats.wrong == 0)
		one_round(bench);
	seconds = (double)(bench->clock_ns - bench->start_ns) / 1e9;
	sum_up(&bench->latencies, us);
	if (bench->peers.stats.wrong)
		refuse(bench->peers.wrong);
	if (bench->peers.stats.closed != count || blocks_in_use(bench) != bench->options.echoes)
		refuse("not every peer was told: this is a defect, please report it");
	if (bench->options.json)
		printf("{\"connections\": %" PRIu64 ", \"close_seconds\": %.3f, "
		       "\"close_per_second\": %.0f, \"sent_again\": %" PRIu64
		       ", \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}\n",
		       count, seconds, (double)count / seconds, bench->peers.stats.again, us[0], us[1],
		       us[2]);
	else
		printf("%" PRIu64 " closed at once: %.3f s until the last had ended, %" PRIu64
		       " sent again\n  echo meanwhile: p50 %.1f us, p99 %.1f us, longest %.1f us\n",
		       count, seconds, bench->peers.stats.again, us[0], us[1], us[2]);
}

static void print(const struct bench *bench, const struct figures *figures)
{
	const struct options *options = &bench->options;

	if (options->json) {
		printf("{\"connections\": %" PRIu32 ", \"group\": %s, \"messages_per_second\": %.0f, "
		       "\"ns_per_message\": %.1f, \"all_acknowledged_ms\": %.1f, \"sent_again\": %" PRIu64
		       ", \"echo_rate\": %" PRIu32 ", \"answers\": %" PRIu64
		       ", \"alone_p50_us\": %.1f, \"alone_p99_us\": %.1f, "
		       "\"alone_max_us\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}\n",
		       options->connections, options->group ? "true" : "false", figures->messages_per_second,
		       figures->ns_per_message, figures->all_acknowledged_ms, figures->again, options->rate,
		       figures->answers, figures->alone_us[0], figures->alone_us[1], figures->alone_us[2],
		       figures->meanwhile_us[0], figures->meanwhile_us[1], figures->meanwhile_us[2]);
		return;
	}
	printf("%" PRIu32 " connections%s: %.0f messages/s, %.0f ns each with its acknowledgement, all "
	       "acknowledged after %.0f ms, %" PRIu64 " sent again\n",
	       options->connections, options->group ? " of a group" : "", figures->messages_per_second,
	       figures->ns_per_message, figures->all_acknowledged_ms, figures->again);
	printf("  echo at %" PRIu32 "/s: p50 %.1f us, p99 %.1f us, longest %.1f us of %" PRIu64
	       " (without fan-out %.1f, %.1f, %.1f)\n",
	       options->rate, figures->meanwhile_us[0], figures->meanwhile_us[1], figures->meanwhile_us[2],
	       figures->answers, figures->alone_us[0], figures->alone_us[1], figures->alone_us[2]);
}

static void parse(int argc, char **argv, struct options *options)
{
	static const struct option names[] = {
		{"connections", required_argument, NULL, 'c'},
		{"echoes", required_argument, NULL, 'e'},
		{"rate", required_argument, NULL, 'r'},
		{"repeat", required_argument, NULL, 'n'},
		{"cpu", required_argument, NULL, 'p'},
		{"group", no_argument, NULL, 'g'},
		{"close", no_argument, NULL, 'x'},
		{"json", no_argument, NULL, 'j'},
		{NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
		uint32_t value = optarg ? (uint32_t)strtoul(optarg, NULL, 10) : 0;

		switch (option) {
		case 'c':
			options->connections = value;
			break;
		case 'e':
			options->echoes = value;
			break;
		case 'r':
			options->rate = value;
			break;
		case 'n':
			options->repeat = value;
			break;
		case 'p':
			options->cpu = value;
			break;
		case 'g':
			options->group = true;
			break;
		case 'x':
			options->close = true;
			break;
		case 'j':
			options->json = true;
			break;
		default:
			fprintf(stderr,
				"usage: fanout [--connections N] [--echoes N] [--rate N] [--repeat N] "
				"[--cpu N] [--group] [--close] [--json]\n");
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	static struct bench bench = {
		.options = {.connections = 1000000, .echoes = 1000, .rate = 100000, .repeat = 3, .cpu = 1}};
	struct figures figures = {0};

	parse(argc, argv, &bench.options);
	if (bench.options.connections == 0 || bench.options.echoes == 0)
		refuse("connections and echoes start at 1");
	set_up(&bench);
	open_all(&bench);
	bench.next_echo_ns = bench.clock_ns;
	run_for(&bench, WARM_UP_US);
	bench.latencies.count = 0;
	run_for(&bench, ALONE_US);
	sum_up(&bench.latencies, figures.alone_us);
	if (bench.options.close)
		close_all(&bench);
	for (uint32_t i = 0; i < bench.options.repeat && !bench.options.close; i++) {
		fan_out(&bench, &figures);
		print(&bench, &figures);
		run_for(&bench, GAP_US);
	}
	stack_fini(bench.stack);
	return 0;
}
