/* bench_open.c - c10m bench open: how fast connections are opened, and closed, between two stacks.
 *
 * One stack connects from a source net, the other listens; rings of frames join them. On one thread they take
 * turns, on two each has its own core. Timed is what each of them does in its own calls: connect, receive,
 * send; not the waiting for the other. After each round every pool must be as it was before.
 * In: how many. Out: what it cost. Owns: both stacks, their memory, the rings. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "bench_open.h"
#include "run/crew.h"
#include "run/frame_ring.h"
#include "run/options.h"
#include "stack/stack.h"
#include "sys/clock.h"
#include "sys/entropy.h"
#include "sys/memory.h"
#include "sys/pin.h"
#include "sys/topology.h"
#include "verbs.h"

#define RING_BYTES     (1u << 20)
#define FRAME_BYTES    2048u
#define CLIENT_ADDRESS 0xc0a80002u /* 192.168.0.2 */
#define SERVER_ADDRESS 0xc0a80001u
#define NET            0x0a000000u /* 10.0.0.0/8, behind the client's address */
#define NET_BITS       8
#define SERVER_PORT    7
#define UNDER_WAY      384u /* handshakes at a time: what the rings carry */
#define STALL_NS       10000000000u
#define TIME_WAIT_MS   1000u /* so that the pool for it is full most of the time, and the oldest goes */

struct open_options {
	uint32_t connections, burst, threads, rounds, cpu;
	bool json, given_ports;
};

enum phase { PHASE_OPEN, PHASE_CLOSE };

struct bench;

struct side {
	struct bench *bench;
	struct sys_memory memory;
	struct stack *stack;
	struct frame_ring in, *out;
	struct waker waker;
	uint64_t clock_base_ns;
	uint64_t busy_ns; /* in calls that did something */
	bool client;
	int cpu, code;
};

struct round {
	double open_s, close_s;
	double client_open_ns, server_open_ns, client_close_ns, server_close_ns; /* a connection */
	double recycled; /* share of the connections for whose TIME_WAIT another's gave way */
};

struct bench {
	struct open_options options;
	struct side sides[2]; /* client, server */
	struct sys_memory rings;
	c10m_handle *handles; /* the client's */
	uint32_t opened, closed, asked;
	enum phase phase;
	atomic_bool over; /* the client has all that it wants */
	atomic_uint server_connections;
	char error[256];
};

static struct bench bench;

/* --- the services ------------------------------------------------------------------------------- */

static void client_on_open(c10m_conn *conn)
{
	const uint32_t *number = c10m_conn_state(conn);

	bench.handles[*number] = c10m_conn_handle(conn);
	bench.opened++;
}

static void client_on_close(c10m_conn *conn, enum c10m_close_reason reason)
{
	(void)conn;
	if (reason != C10M_CLOSE_NORMAL && bench.phase == PHASE_OPEN)
		snprintf(bench.error, sizeof(bench.error), "a connection ended early, for reason %d",
			 (int)reason);
	bench.closed++;
}

static const struct c10m_service services[2] = {
	{.name = "client", .state_size = 64, .on_open = client_on_open, .on_close = client_on_close},
	{.name = "server", .state_size = 64, .port = SERVER_PORT},
};

/* --- one side's step ------------------------------------------------------------------------------ */

static bool connect_next(struct side *side)
{
	uint32_t first, hosts = c10m_source_net(stack_worker(side->stack), &first), number = bench.asked;
	struct c10m_connect_request request = {
		.service = 0,
		.remote_address = SERVER_ADDRESS,
		.remote_port = SERVER_PORT,
		.local_address = first + number % hosts,
		.local_port = bench.options.given_ports ? (uint16_t)(1024 + number / hosts) : 0,
		.state = &number,
		.state_bytes = sizeof(number),
	};
	int error;

	if (c10m_connect(stack_worker(side->stack), &request, &error)) {
		bench.asked++;
		return true;
	}
	snprintf(bench.error, sizeof(bench.error), "c10m_connect: %s", strerror(-error));
	return false;
}

/* What the client does of its own accord; returns how much. */
static uint32_t client_work(struct side *side)
{
	uint32_t done = 0, total = bench.options.connections;

	for (; done < bench.options.burst && bench.phase == PHASE_OPEN && bench.asked < total &&
	       bench.asked - bench.opened < UNDER_WAY;
	     done++)
		if (!connect_next(side))
			return done;
	for (; done < bench.options.burst && bench.phase == PHASE_CLOSE && bench.asked < total &&
	       bench.asked - bench.closed < UNDER_WAY;
	     done++) {
		c10m_conn *conn = c10m_conn_find(stack_worker(side->stack), bench.handles[bench.asked++]);

		if (conn)
			c10m_close(conn);
	}
	return done;
}

/* Returns how much there was to do. */
static uint32_t step(struct side *side)
{
	struct packet packets[STACK_BURST];
	uint64_t start_ns = sys_now_ns(), at_us = (start_ns - side->clock_base_ns) / 1000;
	uint32_t work = 0, count, room;

	stack_begin(side->stack, at_us);
	if (side->client)
		work += client_work(side);
	count = frame_ring_take(&side->in, packets, bench.options.burst);
	if (count > 0) {
		stack_rx(side->stack, at_us, packets, count);
		frame_ring_release(&side->in);
	}
	work += count;
	do {
		room = frame_ring_reserve(side->out, packets, STACK_BURST, FRAME_BYTES);
		count = stack_tx(side->stack, at_us, packets, room);
		frame_ring_fill(side->out, packets, count);
		frame_ring_publish(side->out);
		work += count;
	} while (count == STACK_BURST);
	if (work > 0)
		side->busy_ns += sys_now_ns() - start_ns;
	return work;
}

/* --- one phase ------------------------------------------------------------------------------------- */

static bool phase_done(void)
{
	uint32_t seen = bench.phase == PHASE_OPEN ? bench.opened : bench.closed;

	return seen == bench.options.connections;
}

static void count_server(void)
{
	struct c10m_stats stats;

	c10m_worker_stats(stack_worker(bench.sides[1].stack), &stats);
	atomic_store(&bench.server_connections, (unsigned)stats.connections);
}

static void run_client(struct side *side, struct side *turns)
{
	uint64_t last_ns = sys_now_ns();
	uint32_t wanted = bench.phase == PHASE_OPEN ? bench.options.connections : 0;

	while (!bench.error[0] && (!phase_done() || atomic_load(&bench.server_connections) != wanted)) {
		uint32_t work = step(side);

		if (turns) {
			work += step(turns);
			count_server();
		}
		if (work > 0)
			last_ns = sys_now_ns();
		else if (sys_now_ns() - last_ns > STALL_NS)
			snprintf(bench.error, sizeof(bench.error),
				 "nothing happens any more: %u asked for, %u opened, %u closed", bench.asked,
				 bench.opened, bench.closed);
	}
	atomic_store(&bench.over, true);
}

static void run_side(void *context)
{
	struct side *side = context;

	if (side->client) {
		run_client(side, NULL);
		return;
	}
	while (!atomic_load(&bench.over)) {
		step(side);
		count_server();
	}
}

static int prepare_side(void *context, char error[CREW_ERROR_BYTES])
{
	struct side *side = context;

	return sys_pin_thread(side->cpu, error);
}

/* Returns the seconds that it took; below 0: it failed. */
static double run_phase(enum phase phase)
{
	struct crew crew = {.count = 2,
			    .members = {&bench.sides[0], &bench.sides[1]},
			    .prepare = prepare_side,
			    .run = run_side};
	uint64_t start_ns;

	bench.phase = phase;
	bench.asked = bench.opened = bench.closed = 0;
	bench.sides[0].busy_ns = bench.sides[1].busy_ns = 0;
	atomic_store(&bench.over, false);
	start_ns = sys_now_ns();
	if (bench.options.threads == 1)
		run_client(&bench.sides[0], &bench.sides[1]);
	else if (crew_run(&crew, bench.error) < 0)
		return -1;
	return bench.error[0] ? -1 : (double)(sys_now_ns() - start_ns) / 1e9;
}

/* --- every pool as it was ----------------------------------------------------------------------------- */

static bool pools_are_empty(const struct side *side)
{
	struct stack_usage usage;
	bool empty;

	stack_usage(side->stack, &usage);
	empty = usage.connections == 0 && usage.half_open == 0 && usage.time_wait == 0 &&
		usage.table_entries == 0 && usage.extensions == 0 && usage.replies == 0;
	for (unsigned i = 0; i < CHUNK_CLASSES; i++)
		empty &= usage.chunks[i] == 0;
	if (!empty)
		snprintf(
			bench.error, sizeof(bench.error),
			"the %s does not have all back: %u connections, %u half open, %u in TIME_WAIT, %u in "
			"the table: this is a defect, please report it",
			side->client ? "client" : "server", usage.connections, usage.half_open,
			usage.time_wait, usage.table_entries);
	return empty;
}

/* TIME_WAIT and delayed work come to their end. */
static bool settle(void)
{
	uint64_t end_ns = sys_now_ns() + TIME_WAIT_MS * 5000000ull;

	bench.error[0] = '\0';
	while (!pools_are_empty(&bench.sides[0]) || !pools_are_empty(&bench.sides[1])) {
		if (sys_now_ns() >= end_ns)
			return false;
		bench.error[0] = '\0';
		step(&bench.sides[0]);
		step(&bench.sides[1]);
	}
	return true;
}

static double each(uint64_t ns)
{
	return (double)ns / bench.options.connections;
}

static bool run_round(struct round *round)
{
	uint64_t recycled = stack_counters(bench.sides[0].stack)->tcp_time_wait_recycled;

	round->open_s = run_phase(PHASE_OPEN);
	if (round->open_s < 0)
		return false;
	round->client_open_ns = each(bench.sides[0].busy_ns);
	round->server_open_ns = each(bench.sides[1].busy_ns);
	round->close_s = run_phase(PHASE_CLOSE);
	if (round->close_s < 0)
		return false;
	round->client_close_ns = each(bench.sides[0].busy_ns);
	round->server_close_ns = each(bench.sides[1].busy_ns);
	recycled = stack_counters(bench.sides[0].stack)->tcp_time_wait_recycled - recycled;
	round->recycled = (double)recycled / bench.options.connections;
	return settle();
}

/* --- setting up ----------------------------------------------------------------------------------------- */

static void configure(const struct side *side, struct stack_config *config)
{
	*config = (struct stack_config){
		.id = side->client ? 0 : 1,
		.connections = bench.options.connections,
		.services = side->client ? &services[0] : &services[1],
		.service_count = 1,
		.mac = {{2, 0, 0, 0, 0, side->client ? 1 : 2}},
		.address = side->client ? CLIENT_ADDRESS : SERVER_ADDRESS,
		.prefix_bits = 24,
		.gateway = side->client ? 0 : CLIENT_ADDRESS,
		.time_wait_ms = TIME_WAIT_MS,
	};
	if (side->client)
		config->source_net = ipv4_hosts(NET, NET_BITS);
}

static int make_stack(struct side *side)
{
	const struct stack_message neighbour = {.kind = STACK_SET_NEIGHBOUR,
						.address = side->client ? SERVER_ADDRESS : CLIENT_ADDRESS,
						.mac = {{2, 0, 0, 0, 0, side->client ? 2 : 1}}};
	struct sys_memory_request request = {.name = "c10m-bench", .kind = SYS_PAGES_BEST, .cpu = side->cpu};
	struct stack_config config;
	struct arena_secrets secrets;
	struct arena arena;
	int code;

	configure(side, &config);
	request.bytes = stack_bytes(&config) + 65536;
	code = sys_memory_map(&request, &side->memory, bench.error);
	if (code < 0)
		return code;
	code = sys_entropy_secrets(&secrets);
	side->clock_base_ns = sys_now_ns();
	if (code == 0) {
		arena_init(&arena, side->memory.base, side->memory.bytes, &secrets, side->clock_base_ns);
		side->stack = stack_init(&arena, &config, 0);
		code = side->stack ? 0 : -EINVAL;
	}
	if (code == 0) {
		stack_start(side->stack, 0);
		code = stack_control(side->stack, 0, &neighbour);
	}
	if (code < 0)
		snprintf(bench.error, sizeof(bench.error),
			 "the stack cannot start (%s): try fewer connections", strerror(-code));
	return code;
}

static int choose_cpus(void)
{
	struct sys_topology topology;
	int cpus[2] = {(int)bench.options.cpu, (int)bench.options.cpu};
	int code = sys_topology_read(&topology);

	if (code < 0) {
		snprintf(bench.error, sizeof(bench.error),
			 "the processors cannot be listed (%s): name one by --cpu", strerror(-code));
		return code;
	}
	if (bench.options.cpu == UINT32_MAX || bench.options.threads == 2)
		code = sys_pick_cpus(&topology, bench.options.threads, -1, cpus, bench.error);
	bench.sides[1].cpu = cpus[0]; /* the server's is the one that is disturbed least */
	bench.sides[0].cpu = bench.options.threads == 2 ? cpus[1] : cpus[0];
	return code;
}

static int set_up(void)
{
	const struct sys_memory_request request = {
		.name = "c10m-rings", .bytes = 2 * RING_BYTES, .kind = SYS_PAGES_BEST, .cpu = -1};
	int code = choose_cpus();

	for (unsigned i = 0; i < 2 && code == 0; i++) {
		bench.sides[i].client = i == 0;
		bench.sides[i].out = &bench.sides[1 - i].in;
		code = waker_init(&bench.sides[i].waker);
		if (code < 0)
			snprintf(bench.error, sizeof(bench.error), "no file descriptor is left: %s",
				 strerror(-code));
		if (code == 0)
			code = make_stack(&bench.sides[i]);
	}
	if (code == 0)
		code = sys_memory_map(&request, &bench.rings, bench.error);
	for (unsigned i = 0; i < 2 && code == 0; i++)
		frame_ring_init(&bench.sides[i].in, (uint8_t *)bench.rings.base + i * RING_BYTES, RING_BYTES,
				&bench.sides[i].waker);
	if (code == 0) {
		bench.handles = calloc(bench.options.connections, sizeof(*bench.handles));
		code = bench.handles ? 0 : -ENOMEM;
		if (code < 0)
			snprintf(bench.error, sizeof(bench.error),
				 "too little memory: try fewer connections");
	}
	if (code == 0 && bench.options.threads == 1)
		code = sys_pin_thread(bench.sides[0].cpu, bench.error);
	return code;
}

static void tear_down(void)
{
	for (unsigned i = 0; i < 2; i++) {
		if (bench.sides[i].stack)
			stack_fini(bench.sides[i].stack);
		if (bench.sides[i].memory.base)
			sys_memory_unmap(&bench.sides[i].memory);
		waker_fini(&bench.sides[i].waker);
	}
	if (bench.rings.base)
		sys_memory_unmap(&bench.rings);
	free(bench.handles);
}

/* --- what is said ------------------------------------------------------------------------------------------
 */

static void print_round(const struct round *round)
{
	double count = bench.options.connections;

	fprintf(stderr, "opened  %10.0f a second; ns each: client %.0f, server %.0f\n", count / round->open_s,
		round->client_open_ns, round->server_open_ns);
	fprintf(stderr, "closed  %10.0f a second; ns each: client %.0f, server %.0f\n",
		count / round->close_s, round->client_close_ns, round->server_close_ns);
	fprintf(stderr, "        %9.0f%% of these took the place of the oldest in TIME_WAIT\n",
		100 * round->recycled);
}

static int print_json(const struct round *round)
{
	cJSON *json = cJSON_CreateObject();
	char *text;

	cJSON_AddNumberToObject(json, "connections", bench.options.connections);
	cJSON_AddNumberToObject(json, "threads", bench.options.threads);
	cJSON_AddNumberToObject(json, "rounds", bench.options.rounds);
	cJSON_AddNumberToObject(json, "open_per_second", bench.options.connections / round->open_s);
	cJSON_AddNumberToObject(json, "close_per_second", bench.options.connections / round->close_s);
	cJSON_AddNumberToObject(json, "client_open_ns", round->client_open_ns);
	cJSON_AddNumberToObject(json, "server_open_ns", round->server_open_ns);
	cJSON_AddNumberToObject(json, "client_close_ns", round->client_close_ns);
	cJSON_AddNumberToObject(json, "server_close_ns", round->server_close_ns);
	cJSON_AddNumberToObject(json, "time_wait_recycled", round->recycled);
	text = cJSON_Print(json);
	cJSON_Delete(json);
	if (text)
		puts(text);
	free(text);
	return text && fflush(stdout) == 0 ? 0 : EXIT_REFUSED;
}

static int run_rounds(void)
{
	struct round round = {0};

	if (set_up() == 0)
		for (uint32_t i = 0; i < bench.options.rounds && run_round(&round); i++)
			print_round(&round);
	if (bench.error[0]) {
		fprintf(stderr, "c10m: %s\n", bench.error);
		return EXIT_REFUSED;
	}
	return bench.options.json ? print_json(&round) : 0;
}

/* --- the verb
 * -------------------------------------------------------------------------------------------------- */

#define NUMBER(field, from, to) OPTION_NUMBER, offsetof(struct open_options, field), (from), (to), NULL
#define FLAG(field)             OPTION_FLAG, offsetof(struct open_options, field), 0, 0, NULL

static const struct option_spec specs[] = {
	{"connections", "N", "connections to open (1M)", NUMBER(connections, 1, 60000000)},
	{"threads", "N", "1: both stacks take turns on one core; 2: a core each (2)", NUMBER(threads, 1, 2)},
	{"rounds", "N", "all are opened and closed so often, and the last time counts (3)",
	 NUMBER(rounds, 1, 1000)},
	{"burst", "B", "frames and calls at a time (32)", NUMBER(burst, 1, STACK_BURST)},
	{"given-ports", NULL, "the local ports are given, not picked", FLAG(given_ports)},
	{"cpu", "N", "with one thread: the processor; default: the one that is disturbed least",
	 NUMBER(cpu, 0, 65535)},
	{"json", NULL, "figures as JSON on standard output", FLAG(json)},
};

int bench_open(int argc, char **argv)
{
	const struct option_group group = {"options", specs, ARRAY_COUNT(specs), &bench.options};
	const struct option_page page = {
		"c10m bench open [options]",
		"Opens N connections between two stacks, from very many addresses, and closes them: how many "
		"a "
		"second,\nand what each costs either side. Checks that all memory comes back.",
		&group, 1};
	int code;

	bench.options = (struct open_options){
		.connections = 1000000, .burst = 32, .threads = 2, .rounds = 3, .cpu = UINT32_MAX};
	if (!verb_options(argc, argv, &page, &code))
		return code;
	bench.sides[0].waker.fd = bench.sides[1].waker.fd = -1;
	code = run_rounds();
	tear_down();
	return code;
}
