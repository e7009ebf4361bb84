/* client.c - what a command of an ordinary thread costs until its event has come back, both sides looking.
 *
 * The command is a connect that the worker refuses at once, for it names no host: so all of it is the way
 * there and back, over the same rings as every other command, and the worker's loop over its clients. Run
 * with two idle cores: client [seconds]. */
#define _GNU_SOURCE
#include "bench/micro.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "run/client.h"
#include "run/errand.h"
#include "run/mailbox.h"
#include "sys/pin.h"
#include "sys/topology.h"

#define BATCH 1000u

static struct c10m_service service;
static struct stack *stack;
static struct waker waker;
static int cpus[2];
static atomic_bool over;

__attribute__((noreturn)) static void fail(const char *what)
{
	fprintf(stderr, "client: %s\n", what);
	exit(1);
}

static void make_stack(void)
{
	const struct stack_config config = {.connections = 1000,
					    .services = &service,
					    .service_count = 1,
					    .address = 0x0a000001,
					    .prefix_bits = 24,
					    .mac = {{2, 0, 0, 0, 0, 1}}};
	const struct arena_secrets secrets = {.flow = {1, 2}, .random_state = {3, 4}};
	size_t bytes = stack_bytes(&config) + 65536;
	struct arena arena;

	arena_init(&arena, micro_map(bytes), bytes, &secrets, 0);
	stack = stack_init(&arena, &config, 0);
	if (!stack || waker_init(&waker) < 0)
		fail("the stack cannot be made");
}

/* The part of the worker's loop that this is about. */
static void *work(void *clients)
{
	char error[SYS_ERROR_BYTES];

	if (sys_pin_thread(cpus[1], error) < 0)
		fail(error);
	while (!atomic_load_explicit(&over, memory_order_relaxed)) {
		mailbox_run(mailbox_at(0), 1);
		clients_run(clients, 1);
	}
	mailbox_close(mailbox_at(0), 1);
	errands_close(0, 1);
	clients_close(0);
	return NULL;
}

static double round_trip(c10m_client *client, uint32_t seconds)
{
	uint64_t start_ns = micro_now_ns(), end_ns = start_ns + (uint64_t)seconds * 1000000000u;
	uint64_t now_ns = start_ns, count = 0;
	int error;

	for (; now_ns < end_ns; now_ns = micro_now_ns(), count += BATCH)
		for (uint32_t i = 0; i < BATCH; i++)
			if (c10m_client_connect(client, 0, 7, -1, &error) || error != -EINVAL)
				fail("the answer is wrong: this is a defect");
	return (double)(now_ns - start_ns) / (double)count;
}

int main(int argc, char **argv)
{
	uint32_t seconds = argc > 1 ? (uint32_t)atoi(argv[1]) : 2;
	struct sys_topology topology;
	char error[SYS_ERROR_BYTES];
	c10m_client *client;
	pthread_t thread;
	int code;

	if (sys_topology_read(&topology) < 0 || sys_pick_cpus(&topology, 2, -1, cpus, error) < 0)
		fail("two processors are needed");
	c10m_client_service(&service, "client");
	make_stack();
	mailbox_open(mailbox_at(0), stack, &waker);
	errands_open(0, stack, &waker);
	if (pthread_create(&thread, NULL, work, clients_open(0, stack)))
		fail("no thread can be started");
	if (sys_pin_thread(cpus[0], error) < 0)
		fail(error);
	client = c10m_client_open(0, 0, &code);
	if (!client)
		fail("no client can be opened");
	printf("%-44s %7.1f ns\n", "a command and its event, both looking", round_trip(client, seconds));
	c10m_client_close(client);
	atomic_store(&over, true);
	pthread_join(thread, NULL);
	return 0;
}
