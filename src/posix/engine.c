/* engine.c - one worker, with sockets that any thread may call.
 * In: calls of threads, frames of the port. Out: results, frames.
 * Owns: thread, memory, stack and sockets of the worker. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "posix/engine.h"
#include "run/mailbox.h"
#include "run/worker.h"
#include "sys/clock.h"
#include "sys/entropy.h"

#define ARENA_SLACK_BYTES 65536 /* the arena's header and the alignment of what is carved */

struct engine {
	uint32_t number;
	struct port *port;
	struct stack_config config;
	struct sockets *sockets;
	void *memory;
	struct stack *stack;
	struct worker worker;
	pthread_t thread;
	bool runs;
};

/* A call on its way, in the frame of the thread that made it. */
struct errand {
	struct engine *engine;
	struct socket_call *call;
	sem_t done;
};

static void call_done(struct socket_call *call)
{
	struct errand *errand = call->context;

	sem_post(&errand->done);
}

static void run_call(c10m_worker *worker, void *argument)
{
	struct errand *errand = argument;

	if (sockets_call(errand->engine->sockets, c10m_now_us(worker), errand->call))
		sem_post(&errand->done);
}

/* The mailbox is full only for as long as the worker has not been let run. */
static int post(struct errand *errand)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	int error;

	while ((error = c10m_post(errand->engine->number, run_call, errand)) == -EAGAIN)
		nanosleep(&pause, NULL);
	return error;
}

int64_t engine_call(struct engine *engine, struct socket_call *call)
{
	struct errand errand = {engine, call, {{0}}};
	int error;

	call->finish = call_done;
	call->context = &errand; /* cppcheck-suppress autoVariables; it is awaited below */
	sem_init(&errand.done, 0, 0);
	error = post(&errand);
	if (error) {
		sem_destroy(&errand.done);
		return -EBADF;
	}
	while (sem_wait(&errand.done) < 0)
		continue; /* a signal */
	sem_destroy(&errand.done);
	return call->result;
}

/* --- the worker ----------------------------------------------------------------------------------- */

static bool sockets_hook(void *context, uint64_t now_us)
{
	return sockets_run(context, now_us);
}

static uint64_t sockets_hook_deadline(void *context)
{
	return sockets_deadline(context);
}

static void *run(void *argument)
{
	struct engine *engine = argument;

	stack_start(engine->stack, worker_now_us(&engine->worker));
	worker_run(&engine->worker);
	mailbox_close(mailbox_at(engine->number), worker_now_us(&engine->worker));
	sockets_end_waiting(engine->sockets, -EBADF);
	return NULL;
}

static bool refuse(char *error, const char *sentence)
{
	snprintf(error, ENGINE_ERROR_BYTES, "%s", sentence);
	return false;
}

static bool make_stack(struct engine *engine, struct worker_config *worker, char *error)
{
	size_t bytes = ALIGN_UP(stack_bytes(&engine->config) + ARENA_SLACK_BYTES, (size_t)4096);
	struct arena_secrets secrets;
	struct arena arena;

	engine->memory = aligned_alloc(4096, bytes);
	if (!engine->memory || sys_entropy_secrets(&secrets) < 0)
		return refuse(error, "the machine gives no memory or no randomness");
	memset(engine->memory, 0, bytes);
	worker->clock_base_ns = sys_now_ns();
	arena_init(&arena, engine->memory, bytes, &secrets, worker->clock_base_ns);
	engine->stack = stack_init(&arena, &engine->config, 0);
	if (!engine->stack)
		return refuse(error, "these addresses and limits make no sense together");
	sockets_attach(engine->sockets, engine->stack);
	return true;
}

static bool make_worker(struct engine *engine, struct worker_config *worker, char *error)
{
	worker->number = engine->number;
	worker->stack = engine->stack;
	worker->ports[0] = engine->port;
	worker->port_count = 1;
	worker->hooks[0] = (struct worker_hook){.run = mailbox_run, .context = mailbox_at(engine->number)};
	worker->hooks[1] = (struct worker_hook){
		.run = sockets_hook, .deadline_us = sockets_hook_deadline, .context = engine->sockets};
	worker->hook_count = 2;
	if (worker_init(&engine->worker, worker) < 0)
		return refuse(error, "no file descriptor is left: raise the limit (ulimit -n)");
	mailbox_open(mailbox_at(engine->number), engine->stack, &engine->worker.waker);
	engine->runs = pthread_create(&engine->thread, NULL, run, engine) == 0;
	if (engine->runs)
		return true;
	mailbox_close(mailbox_at(engine->number), 0);
	worker_fini(&engine->worker);
	return refuse(error, "no thread can be started: raise the limit (ulimit -u)");
}

struct engine *engine_open(const struct engine_config *config, char error[ENGINE_ERROR_BYTES])
{
	struct engine *engine = calloc(1, sizeof(*engine));
	struct worker_config worker = {0};

	if (!engine) {
		port_close(config->port);
		refuse(error, "the machine gives no memory");
		return NULL;
	}
	engine->number = config->number;
	engine->port = config->port;
	engine->sockets = sockets_new(&config->sockets);
	engine->config = config->stack;
	engine->config.id = (uint8_t)config->number;
	engine->config.mtu = config->port->caps.mtu;
	memcpy(engine->config.mac.octets, config->port->caps.address, sizeof(engine->config.mac.octets));
	if (engine->sockets) {
		engine->config.services = sockets_services(engine->sockets);
		engine->config.service_count = STACK_SERVICES;
	}
	if (!engine->sockets || !make_stack(engine, &worker, error) || !make_worker(engine, &worker, error)) {
		engine_close(engine);
		return NULL;
	}
	return engine;
}

void engine_close(struct engine *engine)
{
	if (engine->runs) {
		worker_stop(&engine->worker);
		pthread_join(engine->thread, NULL);
		worker_fini(&engine->worker);
	}
	if (engine->stack)
		stack_fini(engine->stack);
	free(engine->memory);
	if (engine->sockets)
		sockets_free(engine->sockets);
	port_close(engine->port);
	free(engine);
}
