/* pipeline.c - the same echo in two models: callbacks on the worker, or a thread on another core.
 *
 * Very many peers ask over the port "wire", in this process. The generator shares the worker's core in both
 * models: each round of the loop first takes answers and makes requests, then does what run/worker.c does in
 * a round. Its time is measured and printed. The thread has the second core to itself. Two ways to ask: so
 * many requests in flight at all times, or at a fixed rate, where the time to an answer counts from when its
 * request should have gone, so that a stall is seen whole. Owns: stack, peers, both ports, the thread. */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

#include "bench/micro.h"
#include "cli/bench_server.h"
#include "port/link.h"
#include "run/client.h"
#include "run/errand.h"
#include "run/mailbox.h"
#include "sys/pin.h"

#define FRAME_BYTES   2048u
#define RING_FRAMES   1024u
#define TX_ROUNDS     8 /* as in run/worker.c */
#define LATENCIES_MAX (1u << 24)
#define WARM_UP_NS    300000000u

static struct options {
	uint32_t connections, in_flight, rate, work_ns, seconds, cpu, thread_cpu;
	bool thread, json;
} options = {.connections = 1000, .in_flight = 64, .seconds = 2, .cpu = 1, .thread_cpu = 0};

static struct c10m_service service;
static struct stack *stack;
static struct waker waker;
static void *clients;
static struct port *ends[2]; /* the worker's, the peers' */
static struct peers peers;
static uint64_t *asked_ns; /* by peer */
static uint32_t *latencies_ns;
static uint32_t latency_count;
static uint64_t in_flight, next_ns, start_ns;
static uint64_t generator_ns, stack_ns;
static atomic_uint_fast64_t thread_ns; /* not at rest */
static atomic_bool ready, over;

__attribute__((noreturn)) static void fail(const char *what)
{
	fprintf(stderr, "pipeline: %s\n", what);
	exit(1);
}

/* --- the application, twice ------------------------------------------------------------------- */

static void work(void)
{
	uint64_t end_ns;

	if (options.work_ns == 0)
		return;
	end_ns = micro_now_ns() + options.work_ns;
	while (micro_now_ns() < end_ns)
		continue;
}

static size_t on_data(c10m_conn *conn, const void *data, size_t len)
{
	work();
	return c10m_send(conn, data, len);
}

static void serve(c10m_client *client, const struct c10m_stream_event *event)
{
	uint8_t bytes[PEERS_REQUEST_BYTES];
	c10m_stream stream = event->stream;
	int64_t got;
	int error;

	if (event->events & C10M_STREAM_ACCEPTABLE)
		stream = c10m_client_accept(client, 0, &error);
	got = c10m_client_receive(client, stream, bytes, sizeof(bytes), 0);
	if (got <= 0)
		return;
	work();
	if (c10m_client_send(client, stream, bytes, (size_t)got, 0) != got)
		fail("a ring is full: this is a defect");
}

static void *application(void *unused)
{
	const struct c10m_client_options wanted = {.accepts = options.connections,
						   .receive_bytes = 1024,
						   .send_bytes = 1024,
						   .spin_us = 1000000,
						   .flags = C10M_CLIENT_BATCH};
	struct c10m_stream_event events[64];
	char error[SYS_ERROR_BYTES];
	c10m_client *client;
	int count, code;

	if (sys_pin_thread((int)options.thread_cpu, error) < 0)
		fail(error);
	client = c10m_client_open_with(0, 0, &wanted, &code);
	if (!client)
		fail("no client can be opened");
	atomic_store(&ready, true);
	while ((count = c10m_client_wait(client, events, 64, 100)) >= 0 && !atomic_load(&over)) {
		uint64_t before_ns = micro_now_ns();

		for (int i = 0; i < count; i++)
			serve(client, &events[i]);
		atomic_fetch_add(&thread_ns, micro_now_ns() - before_ns);
	}
	c10m_client_close(client);
	return unused;
}

/* --- the worker's round --------------------------------------------------------------------------- */

static uint64_t clock_us(uint64_t now_ns)
{
	return (now_ns - start_ns) / 1000;
}

static bool run_worker(uint64_t now_us)
{
	struct packet packets[PORT_BURST];
	uint32_t count = port_rx(ends[0], packets, PORT_BURST), sent = 0, wanted = count + 4;
	bool moved = count > 0;

	if (count > 0) {
		stack_rx(stack, now_us, packets, count);
		port_rx_release(ends[0], packets, count);
	}
	moved |= mailbox_run(mailbox_at(0), now_us);
	moved |= clients_run(clients, now_us);
	for (int round = 0; round < TX_ROUNDS && stack_deadline(stack) <= now_us; round++) {
		uint32_t room = port_tx_reserve(ends[0], packets, MIN_OF(wanted, PORT_BURST));

		sent = stack_tx(stack, now_us, packets, room);
		port_tx_submit(ends[0], packets, sent, room);
		moved |= sent > 0;
		wanted = PORT_BURST;
		if (sent < room || room == 0)
			break;
	}
	return moved;
}

/* --- the peers ----------------------------------------------------------------------------------------- */

static void take_answers(uint64_t now_ns)
{
	struct packet packets[PORT_BURST];
	uint32_t count = port_rx(ends[1], packets, PORT_BURST);

	for (uint32_t i = 0; i < count; i++) {
		uint64_t before = peers.stats.requests;
		uint32_t index = peers_take(&peers, packets[i].data, packets[i].bytes, clock_us(now_ns));

		if (peers.stats.requests == before)
			continue;
		in_flight--;
		if (latency_count < LATENCIES_MAX)
			latencies_ns[latency_count++] = (uint32_t)(now_ns - asked_ns[index]);
	}
	if (count > 0)
		port_rx_release(ends[1], packets, count);
}

/* When the next request is to go; UINT64_MAX: not now. */
static uint64_t request_due(uint64_t now_ns)
{
	uint64_t due_ns = next_ns;

	if (options.rate == 0)
		return in_flight < options.in_flight ? now_ns : UINT64_MAX;
	if (due_ns > now_ns)
		return UINT64_MAX;
	next_ns += 1000000000u / options.rate;
	return due_ns;
}

static uint32_t next_frame(uint8_t *frame, uint64_t now_ns, bool ask)
{
	uint32_t bytes = peers_due_ack(&peers, frame, clock_us(now_ns)), index;
	uint64_t due_ns;

	if (bytes > 0 || !ask || peers.idle == 0)
		return bytes;
	due_ns = request_due(now_ns);
	if (due_ns == UINT64_MAX)
		return 0;
	index = peers_pick(&peers);
	asked_ns[index] = due_ns;
	in_flight++;
	return peers_request(&peers, index, frame, clock_us(now_ns));
}

static void make_requests(uint64_t now_ns, bool ask)
{
	struct packet packets[PORT_BURST];
	uint32_t room = port_tx_reserve(ends[1], packets, PORT_BURST), filled = 0;

	for (; filled < room; filled++) {
		packets[filled].bytes = next_frame(packets[filled].data, now_ns, ask);
		if (packets[filled].bytes == 0)
			break;
	}
	port_tx_submit(ends[1], packets, filled, room);
}

static void one_round(bool ask)
{
	uint64_t first_ns = micro_now_ns(), second_ns, third_ns;

	take_answers(first_ns);
	make_requests(first_ns, ask);
	second_ns = micro_now_ns();
	if (run_worker(clock_us(second_ns))) {
		third_ns = micro_now_ns();
		generator_ns += second_ns - first_ns;
		stack_ns += third_ns - second_ns;
	}
}

static void run_for(uint64_t ns, bool ask)
{
	uint64_t end_ns = micro_now_ns() + ns;

	while (micro_now_ns() < end_ns && peers.stats.wrong == 0)
		one_round(ask);
}

/* --- setting up --------------------------------------------------------------------------------------- */

static void make_stack(void)
{
	const struct arena_secrets secrets = {.flow = {1, 2}, .random_state = {3, 4}};
	struct stack_config config;
	struct arena arena;
	size_t bytes;

	bench_server_configure(&peers, &service, &config);
	bytes = bench_server_bytes(&config);
	arena_init(&arena, micro_map(bytes), bytes, &secrets, 0);
	if (waker_init(&waker) < 0 || bench_server_start(&arena, &config, &peers, &stack) < 0)
		fail("the stack cannot be made: ask for fewer connections");
}

static void set_up(void)
{
	const struct link_config wire = {.frames = RING_FRAMES, .frame_bytes = FRAME_BYTES, .mtu = 1500};

	bench_server_name(&peers, options.connections);
	peers_init(&peers, micro_map(peers_bytes(peers.count)));
	asked_ns = micro_map(peers.count * sizeof(*asked_ns));
	latencies_ns = micro_map(LATENCIES_MAX * sizeof(*latencies_ns));
	start_ns = micro_now_ns();
	if (link_open(&wire, ends) < 0)
		fail("too little memory");
	if (options.thread)
		c10m_client_service(&service, "echo");
	else
		service = (struct c10m_service){
			.name = "echo", .on_data = on_data, .state_size = 8, .flags = C10M_NODELAY};
	service.port = BENCH_SERVER_PORT;
	make_stack();
	mailbox_open(mailbox_at(0), stack, &waker);
	errands_open(0, stack, &waker);
	clients = clients_open(0, stack);
}

/* Few at a time: the backlog and the wire are bounded. */
static void open_peers(void)
{
	struct packet packet;

	for (uint32_t i = 0; i < peers.count; i++) {
		for (int step = 0; step < 2; step++) {
			uint64_t now_us = clock_us(micro_now_ns());

			if (port_tx_reserve(ends[1], &packet, 1) != 1)
				fail("the wire is full: this is a defect");
			packet.bytes = step ? peers_complete(&peers, i, packet.data, now_us)
					    : peers_syn(&peers, i, packet.data, now_us);
			port_tx_submit(ends[1], &packet, packet.bytes > 0, 1);
			one_round(false);
			one_round(false);
		}
	}
	run_for(WARM_UP_NS / 3, false);
	if (peers.idle != peers.count)
		fail("not all connections opened: this is a defect");
}

/* --- the figures ------------------------------------------------------------------------------------------
 */

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void measure(void)
{
	uint64_t before, begin_ns, requests, wall_ns;
	double count;

	next_ns = micro_now_ns();
	run_for(WARM_UP_NS, true);
	before = peers.stats.requests;
	latency_count = 0;
	generator_ns = stack_ns = 0;
	atomic_store(&thread_ns, 0);
	begin_ns = micro_now_ns();
	run_for((uint64_t)options.seconds * 1000000000u, true);
	wall_ns = micro_now_ns() - begin_ns;
	requests = peers.stats.requests - before;
	if (peers.stats.wrong || requests == 0 || peers.stats.again)
		fail(peers.stats.wrong ? peers.wrong : "requests were not answered, or sent again");
	count = (double)requests;
	qsort(latencies_ns, latency_count, sizeof(*latencies_ns), compare);
	printf(options.json ? "{\"requests_per_second\": %.0f, \"p50_us\": %.2f, \"p99_us\": %.2f, "
			      "\"generator_ns\": %.1f, \"stack_ns\": %.1f, \"thread_ns\": %.1f}\n"
			    : "%.0f requests/s, p50 %.2f us, p99 %.2f us; for a request: generator %.1f ns, "
			      "worker %.1f ns, thread %.1f ns\n",
	       count * 1e9 / (double)wall_ns, latencies_ns[latency_count / 2] / 1e3,
	       latencies_ns[latency_count - 1 - latency_count / 100] / 1e3, (double)generator_ns / count,
	       (double)stack_ns / count, (double)atomic_load(&thread_ns) / count);
}

static void parse(int argc, char **argv)
{
	static const struct option longs[] = {{"thread", no_argument, NULL, 't'},
					      {"json", no_argument, NULL, 'j'},
					      {"connections", required_argument, NULL, 'c'},
					      {"in-flight", required_argument, NULL, 'f'},
					      {"rate", required_argument, NULL, 'r'},
					      {"work-ns", required_argument, NULL, 'w'},
					      {"seconds", required_argument, NULL, 's'},
					      {"cpu", required_argument, NULL, 'p'},
					      {"thread-cpu", required_argument, NULL, 'q'},
					      {0}};
	uint32_t *numbers[128] = {
		['c'] = &options.connections, ['f'] = &options.in_flight, ['r'] = &options.rate,
		['w'] = &options.work_ns,     ['s'] = &options.seconds,   ['p'] = &options.cpu,
		['q'] = &options.thread_cpu,
	};
	int letter;

	while ((letter = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (letter == '?')
			exit(2);
		if (numbers[letter])
			*numbers[letter] = (uint32_t)atoi(optarg);
		options.thread |= letter == 't';
		options.json |= letter == 'j';
	}
	if (options.connections == 0 || options.seconds == 0 || options.in_flight == 0)
		fail("numbers start at 1");
}

int main(int argc, char **argv)
{
	char error[SYS_ERROR_BYTES];
	pthread_t thread;

	parse(argc, argv);
	set_up();
	if (options.thread && pthread_create(&thread, NULL, application, NULL))
		fail("no thread can be started");
	if (sys_pin_thread((int)options.cpu, error) < 0)
		fail(error);
	while (options.thread && !atomic_load(&ready))
		one_round(false);
	open_peers();
	measure();
	atomic_store(&over, true);
	while (options.thread && pthread_tryjoin_np(thread, NULL) == EBUSY)
		one_round(false);
	return 0;
}
