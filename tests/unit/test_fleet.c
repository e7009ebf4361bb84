/* test_fleet.c - two workers behind one or two queues, and a host that talks to both: whatever lands, it gets
 * to whom it belongs. Real stacks, real threads; all frames of the host land at worker 0.
 *
 * The thread sanitizer watches. That it would see a race in the hand-over is proved by one that is planted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/plant.h"
#include "base/tsan.h"
#include "port/link.h"
#include "run/crew.h"
#include "run/fleet.h"
#include "run/mailbox.h"
#include "run/relay.h"
#include "run/worker.h"
#include "sys/clock.h"

#define SERVER      0x0a000001u
#define HOST        0x0a000002u
#define WORKERS     2u
#define NODES       3u /* the workers, and the host */
#define CALLS       150u
#define TALK_BYTES  6000u
#define PATIENCE_MS 20000u

/* --- the application: everyone echoes, everyone calls ------------------------------------- */

struct call {
	uint32_t sent, received;
};

static atomic_uint calls_made, calls_done, calls_wrong;
static uint32_t calls_of[NODES];

static uint8_t byte_of(uint32_t offset)
{
	return (uint8_t)(offset * 7 + offset / 251);
}

static size_t echo_on_data(c10m_conn *conn, const void *data, size_t len)
{
	return c10m_send(conn, data, len);
}

static void talk(c10m_conn *conn)
{
	struct call *call = c10m_conn_state(conn);
	uint8_t bytes[1000];

	while (call->sent < TALK_BYTES) {
		for (uint32_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = byte_of(call->sent + i);
		size_t sent = c10m_send(conn, bytes, sizeof(bytes));

		call->sent += (uint32_t)sent;
		if (sent < sizeof(bytes))
			return;
	}
}

static size_t call_on_data(c10m_conn *conn, const void *data, size_t len)
{
	struct call *call = c10m_conn_state(conn);
	const uint8_t *bytes = data;

	for (size_t i = 0; i < len; i++)
		if (bytes[i] != byte_of(call->received++))
			atomic_fetch_add(&calls_wrong, 1);
	if (call->received == TALK_BYTES)
		c10m_close(conn);
	return len;
}

static void call_on_close(c10m_conn *conn, enum c10m_close_reason reason)
{
	const struct call *call = c10m_conn_state(conn);

	if (reason == C10M_CLOSE_STOPPED)
		return;
	if (reason != C10M_CLOSE_NORMAL || call->received != TALK_BYTES)
		atomic_fetch_add(&calls_wrong, 1);
	atomic_fetch_add(&calls_done, 1);
}

static void call_on_start(c10m_worker *worker)
{
	uint32_t number = c10m_worker_number(worker);
	struct c10m_connect_request request = {.service = 1, .remote_port = 7};

	request.remote_address = number < WORKERS ? HOST : SERVER;
	for (uint32_t i = 0; i < CALLS; i++)
		if (c10m_connect(worker, &request, NULL)) {
			calls_of[number]++;
			atomic_fetch_add(&calls_made, 1);
		}
}

static const struct c10m_service services[2] = {
	{.name = "echo", .port = 7, .on_data = echo_on_data},
	{.name = "call",
	 .state_size = sizeof(struct call),
	 .on_open = talk,
	 .on_writable = talk,
	 .on_data = call_on_data,
	 .on_close = call_on_close,
	 .on_start = call_on_start},
};

/* --- the rig --------------------------------------------------------------------------------- */

struct node {
	struct worker worker;
	struct worker_config config;
	struct stack *stack;
	void *memory;
};

static struct node *nodes; /* the workers, then the host */
static struct fleet fleet;
static struct port *wires[4];
static uint32_t wire_count;

static const struct siphash_key key = {1, 2};

static void make_node(uint32_t number)
{
	struct node *node = &nodes[number];
	struct stack_config config = {
		.id = (uint8_t)number,
		.owner = number < WORKERS ? &fleet.owner : NULL,
		.connections = 4 * CALLS,
		.services = services,
		.service_count = 2,
		.address = number < WORKERS ? SERVER : HOST,
		.prefix_bits = 24,
		.mac = {{2, 0, 0, 0, 0, number < WORKERS ? 1 : 2}},
	};
	const struct arena_secrets secrets = {.flow = {number + 1, 3}, .random_state = {number + 1, 4}};
	size_t bytes = ALIGN_UP(stack_bytes(&config) + 65536, (size_t)4096);
	struct arena arena;

	node->memory = aligned_alloc(4096, bytes);
	assert_non_null(node->memory);
	memset(node->memory, 0, bytes);
	node->config.number = number;
	node->config.spin_max_us = 50;
	node->config.clock_base_ns = sys_now_ns();
	arena_init(&arena, node->memory, bytes, &secrets, node->config.clock_base_ns);
	node->stack = node->config.stack = stack_init(&arena, &config, 0);
	assert_non_null(node->stack);
	node->config.hooks[0] = (struct worker_hook){.run = mailbox_run, .context = mailbox_at(number)};
	node->config.hook_count = 1;
	assert_int_equal(worker_init(&node->worker, &node->config), 0);
}

static void make_wire(uint32_t worker)
{
	const struct link_config config = {.frames = 1024, .frame_bytes = 2048, .mtu = 1500};
	struct port *ends[2];
	struct worker_config *near = &nodes[worker].config, *far = &nodes[WORKERS].config;

	assert_int_equal(link_open(&config, ends), 0);
	near->ports[near->port_count++] = ends[0];
	far->ports[far->port_count++] = ends[1];
	wires[wire_count++] = ends[0];
	wires[wire_count++] = ends[1];
}

static void make_fleet(uint32_t queues, uint32_t all)
{
	struct fleet_config config = {.workers = WORKERS, .key = key, .all = all, .pages = SYS_PAGES_PLAIN};
	char error[FLEET_ERROR_BYTES];

	for (uint32_t i = 0; i < WORKERS; i++)
		config.worker[i] = (struct fleet_worker){&nodes[i].worker.waker, -1, i % queues};
	assert_int_equal(fleet_init(&fleet, &config, error), 0);
	for (uint32_t i = 0; i < WORKERS; i++)
		nodes[i].config.handover = &fleet.handovers[i];
	if (queues == WORKERS)
		return;
	nodes[1].config.relay = &fleet.relays[1];
	nodes[1].config.ports[0] = relay_open(&fleet.relays[1], nodes[0].config.ports[0], 0);
	nodes[1].config.port_count = 1;
	nodes[0].config.relayed[nodes[0].config.relayed_count++] = &fleet.relays[1];
}

static void set_up(uint32_t queues, uint32_t all)
{
	nodes = aligned_alloc(CACHE_LINE, NODES * sizeof(*nodes));
	memset(nodes, 0, NODES * sizeof(*nodes));
	memset(calls_of, 0, sizeof(calls_of));
	wire_count = 0;
	atomic_store(&calls_made, 0);
	atomic_store(&calls_done, 0);
	atomic_store(&calls_wrong, 0);
	for (uint32_t i = 0; i < queues; i++)
		make_wire(i);
	make_fleet(queues, all);
	for (uint32_t i = 0; i < NODES; i++)
		make_node(i);
}

static void tear_down(void)
{
	for (uint32_t i = 0; i < NODES; i++) {
		stack_verify(nodes[i].stack);
		stack_fini(nodes[i].stack);
		worker_fini(&nodes[i].worker);
		free(nodes[i].memory);
	}
	if (nodes[1].config.relay)
		port_close(nodes[1].config.ports[0]);
	for (uint32_t i = 0; i < wire_count; i++)
		port_close(wires[i]);
	fleet_fini(&fleet);
	free(nodes);
}

static int prepare(void *context, char error[CREW_ERROR_BYTES])
{
	struct node *node = context;

	(void)error;
	mailbox_open(mailbox_at(node->config.number), node->stack, &node->worker.waker);
	stack_start(node->stack, worker_now_us(&node->worker));
	return 0;
}

static void run(void *context)
{
	struct node *node = context;

	worker_run(&node->worker);
	mailbox_close(mailbox_at(node->config.number), worker_now_us(&node->worker));
	worker_drain(&node->worker, 1000);
}

/* Stops all when all calls are done, or it took too long. */
static void *watch(void *unused)
{
	for (uint32_t ms = 0; ms < PATIENCE_MS; ms += 5) {
		usleep(5000);
		if (atomic_load(&calls_made) >= 2 * CALLS &&
		    atomic_load(&calls_done) == atomic_load(&calls_made))
			break;
	}
	for (uint32_t i = 0; i < NODES; i++)
		worker_stop(&nodes[i].worker);
	return unused;
}

static void run_all(void)
{
	struct crew crew = {.count = NODES, .prepare = prepare, .run = run};
	char error[CREW_ERROR_BYTES];
	pthread_t watcher;

	for (uint32_t i = 0; i < NODES; i++)
		crew.members[i] = &nodes[i];
	assert_int_equal(pthread_create(&watcher, NULL, watch, NULL), 0);
	assert_int_equal(crew_run(&crew, error), 0);
	pthread_join(watcher, NULL);
}

static void exchange(uint32_t queues, uint32_t all)
{
	set_up(queues, all);
	run_all();
}

/* --- the tests ----------------------------------------------------------------------------------- */

static const struct handover_stats *stats_of(uint32_t number)
{
	return &fleet.handovers[number].stats;
}

static void expect_all_done(void)
{
	assert_int_equal(atomic_load(&calls_made), NODES * CALLS);
	assert_int_equal(atomic_load(&calls_done), NODES * CALLS);
	assert_int_equal(atomic_load(&calls_wrong), 0);
	for (uint32_t i = 0; i < NODES; i++) /* a frame at the wrong worker would be answered by a reset */
		assert_int_equal(stack_counters(nodes[i].stack)->tcp_resets_in, 0);
	assert_int_equal(stats_of(1)->landed, 0);
	/* Last acknowledgements may still lie in the ring when all is stopped. */
	assert_in_range(stats_of(0)->given - stats_of(0)->lost - stats_of(1)->taken, 0, CALLS);
}

static void two_queues_and_everything_lands_at_one(void **state)
{
	(void)state;
	exchange(2, OWNER_BY_HASH);
	expect_all_done();
	assert_in_range(stats_of(0)->given, stats_of(0)->landed / 4, stats_of(0)->landed * 3 / 4);
	tear_down();
}

static void every_flow_is_anothers(void **state)
{
	(void)state;
	exchange(2, 1);
	assert_int_equal(atomic_load(&calls_wrong), 0);
	/* Worker 0 finds no port whose answers would come to it. */
	assert_int_equal(calls_of[0], 0);
	assert_int_equal(atomic_load(&calls_done), 2 * CALLS);
	assert_true(stats_of(0)->given > stats_of(0)->landed * 9 / 10);
	tear_down();
}

static void one_queue_for_two(void **state)
{
	(void)state;
	exchange(1, OWNER_BY_HASH);
	expect_all_done();
	assert_true(stats_of(0)->sent_for_others > CALLS);
	assert_int_equal(nodes[1].config.ports[0]->stats.tx_packets, stats_of(0)->sent_for_others);
	tear_down();
}

#ifdef C10M_TSAN
/* The first report ends the process that it is about. */
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "halt_on_error=1";
}

static void trap_a_race_in_the_hand_over_is_found(void **state)
{
	pid_t child = fork();
	int status = -1;

	(void)state;
	assert_true(child >= 0);
	if (child == 0) {
		alarm(60);
		if (!freopen("/dev/null", "w", stderr))
			_exit(99);
		planted_race = PLANT_RACE_HANDOVER_EARLY;
		exchange(2, 1);
		exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 66); /* the sanitizer's own */
}

#define RACE_TESTS cmocka_unit_test(trap_a_race_in_the_hand_over_is_found),
#else
#define RACE_TESTS
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(two_queues_and_everything_lands_at_one),
					   cmocka_unit_test(every_flow_is_anothers),
					   cmocka_unit_test(one_queue_for_two), RACE_TESTS};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
