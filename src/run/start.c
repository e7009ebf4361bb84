/* start.c - from a configuration to a running worker, and back to nothing.
 * In: options and services. Out: the ready lines, what was chosen and why, an exit code.
 * Owns: ports, memory, stack and worker of the run; gives all of it back in reverse order. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "port/capture.h"
#include "run/conflict.h"
#include "run/report.h"
#include "run/run.h"
#include "run/worker.h"
#include "sys/clock.h"
#include "sys/entropy.h"
#include "sys/pin.h"
#include "sys/text.h"
#include "sys/topology.h"
#include "wire/ipv4.h"

#define ARENA_SLACK_BYTES 65536 /* the arena's header and the alignment of what is carved */
#define PATIENCE_MS       1000  /* for resets at the end */

struct run {
	const char *name;
	struct run_config config;
	const struct c10m_service *services;
	uint32_t service_count;
	struct stack_config stack_config;
	struct worker_config worker_config;
	struct sys_memory memory;
	struct stack *stack;
	struct worker worker;
	struct report report;
	cpu_set_t old_cpus;
	bool pinned;
	char port_reason[PORT_REASON_BYTES];
	char error[512];
};

__attribute__((format(printf, 2, 3))) static void say(const struct run *run, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "%s: ", run->name);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}

__attribute__((format(printf, 2, 3))) static bool refuse(struct run *run, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(run->error, sizeof(run->error), format, arguments);
	va_end(arguments);
	return false;
}

/* --- the address --------------------------------------------------------------- */

static bool check_gateway(struct run *run)
{
	const struct run_config *config = &run->config;
	uint32_t mask = config->prefix_bits ? UINT32_MAX << (32 - config->prefix_bits) : 0;
	char gateway[IPV4_TEXT_BYTES], address[IPV4_TEXT_BYTES];

	if (!config->gateway || ((config->gateway ^ config->address) & mask) == 0)
		return true;
	return refuse(run,
		      "gateway %s is not in the network of %s/%u: give a router of that network, or another "
		      "prefix length",
		      ipv4_to_text(config->gateway, gateway), ipv4_to_text(config->address, address),
		      config->prefix_bits);
}

static bool choose_address(struct run *run)
{
	struct run_config *config = &run->config;
	char text[IPV4_TEXT_BYTES];

	if (conflict_check_kernel(config->address, run->error) < 0)
		return false;
	if (!config->prefix_given)
		config->prefix_bits = (uint8_t)conflict_network_bits(config->interface, config->address);
	if (config->prefix_bits == 0)
		return refuse(
			run,
			"the kernel has no network around %s on %s to take the prefix from: give the length "
			"too, as in --address %s/24",
			ipv4_to_text(config->address, text), config->interface, text);
	if (!check_gateway(run))
		return false;
	return config->no_probe || conflict_probe(config->interface, config->address, run->error) == 0;
}

/* --- the port ------------------------------------------------------------------ */

static bool wrap_fault(struct run *run)
{
	struct worker_config *worker = &run->worker_config;
	struct port *outer;

	if (!run->config.faulty)
		return true;
	outer = fault_wrap(worker->ports[0], &run->config.fault);
	if (!outer)
		return refuse(run, "too little memory for --fault: ask for a shorter delay, or leave it out");
	worker->ports[0] = worker->fault = outer;
	return true;
}

/* The outermost: it writes down what the stack sees. */
static bool wrap_capture(struct run *run)
{
	struct worker_config *worker = &run->worker_config;
	const struct capture_config config = {
		.path = run->config.capture,
		.filter = run->config.capture_filter,
		.interface_name = run->config.interface,
	};
	struct port *outer;

	if (!run->config.capture)
		return true;
	outer = capture_wrap(worker->ports[0], &config, run->error, sizeof(run->error));
	if (!outer)
		return false;
	worker->ports[0] = worker->capture = outer;
	return true;
}

static bool open_port(struct run *run)
{
	const struct run_config *config = &run->config;
	struct worker_config *worker = &run->worker_config;
	const struct port_choice choice = {
		.kind = config->via,
		.interface = config->interface,
		.address = config->address,
		.prefix_bits = config->prefix_bits,
		.mode = config->mode,
		.frames = config->frames,
		.kernel_address = config->tap_address,
	};
	int count = port_choose_open(&choice, worker->ports, WORKER_QUEUES, run->port_reason, run->error);

	if (count < 0)
		return false;
	worker->port_count = (uint32_t)count;
	if (count > 1 && (config->capture || config->faulty))
		return refuse(run,
			      "--capture and --fault need an interface with one queue, %s has %d: try "
			      "'ethtool -L %s "
			      "combined 1'",
			      config->interface, count, config->interface);
	if (config->mtu > worker->ports[0]->caps.mtu)
		return refuse(
			run,
			"--mtu %u is more than %s can carry (%u): leave it out, or raise the interface's MTU",
			config->mtu, config->interface, worker->ports[0]->caps.mtu);
	return wrap_fault(run) && wrap_capture(run);
}

/* --- processor and memory ---------------------------------------------------------- */

static bool choose_cpu(struct run *run, int *cpu)
{
	struct sys_topology topology;
	int code = sys_topology_read(&topology);

	if (code < 0)
		return refuse(run,
			      "the machine's processors cannot be listed (%s): check that /sys is mounted",
			      strerror(-code));
	if (run->config.cpu == RUN_CPU_ANY)
		return sys_pick_cpus(&topology, 1, sys_interface_node(run->config.interface), cpu,
				     run->error) == 0;
	*cpu = (int)run->config.cpu;
	return true;
}

static void complete_stack_config(struct run *run)
{
	struct stack_config *stack = &run->stack_config;
	const struct port *port = run->worker_config.ports[0];

	run_config_stack(&run->config, stack);
	stack->services = run->services;
	stack->service_count = run->service_count;
	memcpy(stack->mac.octets, port->caps.address, sizeof(stack->mac.octets));
	stack->mtu = run->config.mtu ? run->config.mtu : port->caps.mtu;
	stack->tx_checksum = port->caps.tx_checksum;
	stack->tx_segmentation = port->caps.tx_segmentation;
}

static bool map_memory(struct run *run, int cpu)
{
	const struct sys_memory_request request = {
		.name = "c10m-worker-0",
		.bytes = stack_bytes(&run->stack_config) + ARENA_SLACK_BYTES,
		.kind = run->config.pages,
		.cpu = cpu,
	};

	return sys_memory_map(&request, &run->memory, run->error) == 0;
}

static bool make_stack(struct run *run)
{
	struct arena_secrets secrets;
	struct arena arena;
	int code = sys_entropy_secrets(&secrets);

	if (code < 0)
		return refuse(run, "the machine gives no randomness (%s): check /dev/urandom",
			      strerror(-code));
	run->worker_config.clock_base_ns = sys_now_ns();
	arena_init(&arena, run->memory.base, run->memory.bytes, &secrets, run->worker_config.clock_base_ns);
	run->stack = stack_init(&arena, &run->stack_config, 0);
	if (!run->stack)
		return refuse(
			run,
			"the services and limits do not fit together: check state sizes and --connections");
	return true;
}

static bool pin(struct run *run, int cpu)
{
	if (pthread_getaffinity_np(pthread_self(), sizeof(run->old_cpus), &run->old_cpus) != 0)
		return refuse(run, "the thread's processors cannot be read: run without --cpu");
	run->pinned = sys_pin_thread(cpu, run->error) == 0;
	return run->pinned;
}

/* --- what was chosen ------------------------------------------------------------------ */

static void say_choices(const struct run *run, int cpu)
{
	char total[SYS_SIZE_BYTES], blocks[SYS_SIZE_BYTES], text[IPV4_TEXT_BYTES],
		advice[OPTIONS_ERROR_BYTES];
	const struct worker_config *worker = &run->worker_config;
	struct stack_usage usage;

	stack_usage(run->stack, &usage);
	for (uint32_t i = 0; i < worker->port_count; i++)
		say(run, "port: %s", worker->ports[i]->text);
	if (run->port_reason[0])
		say(run, "this port, because %s (--via names another)", run->port_reason);
	if (worker->ports[0]->advice)
		say(run, "%s", worker->ports[0]->advice);
	say(run, "address %s/%u, MTU %u, processor %d (%s)", ipv4_to_text(run->config.address, text),
	    run->config.prefix_bits, run->stack_config.mtu, cpu,
	    run->config.cpu == RUN_CPU_ANY ? "the one that Linux disturbs least" : "as asked");
	say(run, "memory: %s", run->memory.sentence);
	say(run,
	    "%u connections: %s, of it %s for connections (%.0f bytes each with table and timers, %u of them "
	    "the "
	    "block), the rest for data and handshakes",
	    run->config.connections, sys_text_size(usage.arena_bytes, total),
	    sys_text_size(usage.block_bytes + usage.table_bytes + usage.wheel_bytes, blocks),
	    (double)(usage.block_bytes + usage.table_bytes + usage.wheel_bytes) / run->config.connections,
	    usage.block_stride);
	sys_clock_advice(sys_clock_cost_ns(), advice, sizeof(advice));
	if (advice[0])
		say(run, "%s", advice);
}

static void say_ready(const struct run *run)
{
	char text[IPV4_TEXT_BYTES];

	for (uint32_t i = 0; i < run->service_count; i++)
		if (run->services[i].port)
			printf("%s: listening on %s:%u\n", run->services[i].name,
			       ipv4_to_text(run->config.address, text), run->services[i].port);
	fflush(stdout);
}

/* --- the run ---------------------------------------------------------------------------- */

static void print_report(void *context, uint64_t now_us)
{
	struct run *run = context;

	report_line(&run->report, stderr, now_us);
}

static bool start_worker(struct run *run)
{
	int code;

	run->worker_config.stack = run->stack;
	run->worker_config.service_count = run->service_count;
	run->worker_config.spin_max_us = run->config.spin_us;
	run->worker_config.report_us = (uint64_t)run->config.stats_s * 1000000;
	run->worker_config.report = print_report;
	run->worker_config.report_context = run;
	code = worker_init(&run->worker, &run->worker_config);
	if (code < 0)
		return refuse(run, "no file descriptor is left (%s): raise the limit with 'ulimit -n'",
			      strerror(-code));
	report_init(&run->report, run->name, &run->worker);
	return true;
}

static bool start(struct run *run)
{
	int cpu = -1;

	if (!choose_address(run) || !open_port(run) || !choose_cpu(run, &cpu))
		return false;
	complete_stack_config(run);
	if (!map_memory(run, cpu) || !make_stack(run) || !pin(run, cpu) || !start_worker(run))
		return false;
	say_choices(run, cpu);
	return true;
}

static void serve(struct run *run)
{
	run_signals_watch(&run->worker);
	stack_start(run->stack, worker_now_us(&run->worker));
	say_ready(run);
	worker_run(&run->worker);
	worker_drain(&run->worker, PATIENCE_MS);
	if (run->config.verbose)
		report_counters(&run->worker, stderr);
}

static void clean_up(struct run *run)
{
	if (run->stack)
		stack_fini(run->stack);
	for (uint32_t i = 0; i < run->worker_config.port_count; i++)
		port_close(run->worker_config.ports[i]);
	if (run->memory.base)
		sys_memory_unmap(&run->memory);
	if (run->pinned)
		pthread_setaffinity_np(pthread_self(), sizeof(run->old_cpus), &run->old_cpus);
	worker_fini(&run->worker);
}

int run_services(const char *name, const struct run_config *config, const struct c10m_service *services,
		 uint32_t service_count)
{
	struct run run = {
		.name = name,
		.config = *config,
		.services = services,
		.service_count = service_count,
		.worker.wake_fd = -1,
	};
	bool started;

	if (!run_signals_begin()) {
		say(&run, "services run already in this process: stop them first");
		return RUN_REFUSED;
	}
	started = start(&run);
	if (started)
		serve(&run);
	else
		say(&run, "%s", run.error);
	run_signals_end();
	clean_up(&run);
	return started ? RUN_OK : RUN_REFUSED;
}
