/* start.c - from a configuration to running workers, and back to nothing.
 * In: options and services. Out: the ready lines, what was chosen and why, an exit code.
 * Owns: ports, memory, stacks and workers of the run; gives all of it back in reverse order. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "port/capture.h"
#include "port/vlan.h"
#include "run/client.h"
#include "run/conflict.h"
#include "run/crew.h"
#include "run/errand.h"
#include "run/fleet.h"
#include "run/follower.h"
#include "run/helpers.h"
#include "run/mailbox.h"
#include "run/police.h"
#include "run/relay.h"
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
#define PORTS_MAX         64    /* queues of the interface */
#define PROGRESS_NS       1000000000u
#define LOSS_LOOK_US      100000

struct run;

struct member {
	struct run *run;
	int cpu;
	struct sys_memory memory;
	struct stack *stack;
	struct worker_config config;
	struct worker worker;
	struct follower follower;
	uint64_t turn_us; /* when the services want their turn again */
	struct constable constable;
};

struct run {
	const char *name;
	const struct run_program *program;
	struct run_config config;
	const struct c10m_service *services;
	uint32_t service_count, worker_count;
	struct port *ports[PORTS_MAX]; /* of the interface; the wrapping ones in their place */
	uint32_t port_count;
	struct port *fault, *capture;
	struct port *interface_port; /* queue 0's own, behind these */
	struct shared *shared;       /* what is held beside the kernel; NULL: the address is ours alone */
	bool lost;                   /* the interface is gone */
	bool packet_sockets;         /* is served by them */
	uint64_t look_us;            /* when it is looked for, if it is down */
	struct stack_config stack_config; /* each worker's, but for its number */
	struct siphash_key fastopen;      /* for all workers: what one has granted is good for the others */
	struct fleet fleet;
	struct police police;
	struct member *members;
	struct report report;
	atomic_uint unended;  /* workers that have connections left at the end */
	uint64_t progress_ns; /* when to say how far the memory is */
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

static uint32_t client_ports_wanted(const struct run *run)
{
	if (run->config.client_ports != RUN_CLIENT_PORTS_AUTO)
		return run->config.client_ports;
	for (uint32_t i = 0; i < run->service_count; i++)
		if (run->services[i].port == 0)
			return SHARED_CLIENT_PORTS_DEFAULT;
	return 0;
}

/* The kernel's own addresses; ports are reserved there before anything else happens. */
static bool share_address(struct run *run)
{
	const struct shared_config config = {
		.interface = run->config.interface,
		.address = run->config.address,
		.services = run->services,
		.service_count = run->service_count,
		.client_ports = client_ports_wanted(run),
	};

	run->shared = shared_open(&config, run->error);
	if (!run->shared)
		return false;
	run->config.address = run->shared->addresses[0].address;
	run->config.prefix_bits = run->shared->addresses[0].prefix_bits;
	return true;
}

static bool choose_address(struct run *run)
{
	struct run_config *config = &run->config;
	char text[IPV4_TEXT_BYTES];

	if (config->shared)
		return share_address(run);
	if (config->wire) /* it leads to no kernel, and to no other host than one */
		return check_gateway(run);
	if (conflict_check_kernel(config->address, run->error) < 0 ||
	    conflict_check_net(config->source_net, config->source_net_bits, run->error) < 0)
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
	return config->no_probe ||
	       conflict_probe(config->interface, (uint16_t)config->vlan, config->address, run->error) == 0;
}

/* --- the port ------------------------------------------------------------------ */

/* All queues, and innermost: what mistreats frames or writes them down sees no tags. */
static bool wrap_vlan(struct run *run)
{
	for (uint32_t i = 0; run->config.vlan && i < run->port_count; i++) {
		struct port *outer = vlan_wrap(run->ports[i], (uint16_t)run->config.vlan);

		if (!outer)
			return refuse(run, "too little memory for --vlan: free some");
		run->ports[i] = outer;
	}
	return true;
}

static bool wrap_fault(struct run *run)
{
	struct port *outer;

	if (!run->config.faulty)
		return true;
	outer = fault_wrap(run->ports[0], &run->config.fault);
	if (!outer)
		return refuse(run, "too little memory for --fault: ask for a shorter delay, or leave it out");
	run->ports[0] = run->fault = outer;
	return true;
}

/* The outermost: it writes down what the stack sees. */
static bool wrap_capture(struct run *run)
{
	const struct capture_config config = {
		.path = run->config.capture,
		.filter = run->config.capture_filter,
		.interface_name = run->config.interface,
	};
	struct port *outer;

	if (!run->config.capture)
		return true;
	outer = capture_wrap(run->ports[0], &config, run->error, sizeof(run->error));
	if (!outer)
		return false;
	run->ports[0] = run->capture = outer;
	return true;
}

static bool open_port(struct run *run)
{
	const struct run_config *config = &run->config;
	const struct port_choice choice = {
		.kind = config->via,
		.interface = config->interface,
		.address = config->address,
		.sources = run_config_sources(config),
		.source_net = config->source_net,
		.source_net_bits = config->source_net_bits,
		.shared = config->shared,
		.vlan = (uint16_t)config->vlan,
		.prefix_bits = config->prefix_bits,
		.mode = config->mode,
		.frames = config->frames,
		.kernel_address = config->tap_address,
		.wire = config->wire,
		.no_checksums = config->no_checksums,
		.queues = (uint16_t)(config->capture || config->faulty ? 1 : config->workers),
	};
	uint32_t room = MIN_OF(config->workers * WORKER_QUEUES, (uint32_t)PORTS_MAX);
	int count = port_choose_open(&choice, run->ports, room, run->port_reason, run->error);

	if (count < 0)
		return false;
	run->port_count = (uint32_t)count;
	run->interface_port = run->ports[0];
	run->packet_sockets = strcmp(run->ports[0]->ops->name, "packet") == 0;
	if (count > 1 && (config->capture || config->faulty))
		return refuse(run,
			      "--capture and --fault need an interface with one queue, %s has %d: try "
			      "'ethtool -L %s "
			      "combined 1'",
			      config->interface, count, config->interface);
	if (config->mtu > run->ports[0]->caps.mtu)
		return refuse(
			run,
			"--mtu %u is more than %s can carry (%u): leave it out, or raise the interface's MTU",
			config->mtu, config->interface, run->ports[0]->caps.mtu);
	return wrap_vlan(run) && wrap_fault(run) && wrap_capture(run);
}

/* Worker i serves queue i, and queue i + workers, and so on. A worker without one sends through another. */
static void share_ports(struct run *run)
{
	for (uint32_t i = 0; i < run->port_count; i++) {
		struct worker_config *worker = &run->members[i % run->worker_count].config;

		worker->ports[worker->port_count++] = run->ports[i];
	}
	run->members[0].config.fault = run->fault;
	run->members[0].config.capture = run->capture;
}

static uint32_t sender_of(const struct run *run, uint32_t number)
{
	return run->port_count ? number % run->port_count : 0;
}

/* --- processor and memory ---------------------------------------------------------- */

/* The first as asked, the others from what is left. */
static bool choose_others(struct run *run, struct sys_topology *topology, int cpus[OWNER_WORKERS_MAX])
{
	unsigned kept = 0;

	cpus[0] = run->config.cpus[0];
	if (run->worker_count == 1)
		return true;
	for (unsigned i = 0; i < topology->cpu_count; i++)
		if (topology->cpus[i].id != cpus[0])
			topology->cpus[kept++] = topology->cpus[i];
	topology->cpu_count = kept;
	return sys_pick_cpus(topology, run->worker_count - 1, sys_interface_node(run->config.interface),
			     cpus + 1, run->error) == 0;
}

static bool choose_cpus(struct run *run)
{
	const struct run_config *config = &run->config;
	struct sys_topology topology;
	int cpus[OWNER_WORKERS_MAX] = {0};
	int code = sys_topology_read(&topology);
	bool chosen;

	if (code < 0)
		return refuse(run,
			      "the machine's processors cannot be listed (%s): check that /sys is mounted",
			      strerror(-code));
	if (config->cpu_count == run->worker_count) {
		memcpy(cpus, config->cpus, sizeof(cpus));
		chosen = true;
	} else if (config->cpu_count == 1) {
		chosen = choose_others(run, &topology, cpus);
	} else {
		chosen = sys_pick_cpus(&topology, run->worker_count, sys_interface_node(config->interface),
				       cpus, run->error) == 0;
	}
	for (uint32_t i = 0; i < run->worker_count; i++)
		run->members[i].cpu = cpus[i];
	return chosen;
}

static void complete_stack_config(struct run *run)
{
	struct stack_config *stack = &run->stack_config;
	const struct port *port = run->ports[0];

	run_config_stack(&run->config, stack);
	stack->services = run->services;
	stack->service_count = run->service_count;
	memcpy(stack->mac.octets, port->caps.address, sizeof(stack->mac.octets));
	stack->mtu = run->config.mtu ? run->config.mtu : port->caps.mtu;
	stack->tx_checksum = port->caps.tx_checksum;
	stack->tx_segmentation = port->caps.tx_segmentation;
	stack->shared = run->shared != NULL;
	stack->client_ports = run->shared ? run->shared->client_ports : NULL;
	stack->owner = run->worker_count > 1 ? &run->fleet.owner : NULL;
}

/* A line a second, for those who wait. */
static void say_progress(void *context, size_t done, size_t total)
{
	struct run *run = context;
	char some[SYS_SIZE_BYTES], all[SYS_SIZE_BYTES];
	uint64_t now_ns = sys_now_ns();

	if (now_ns < run->progress_ns)
		return;
	if (run->progress_ns && done < total)
		say(run, "memory: %s of %s are filled", sys_text_size(done, some), sys_text_size(total, all));
	run->progress_ns = now_ns + PROGRESS_NS;
}

static bool map_memory(struct run *run, struct member *member)
{
	char name[32];
	const struct sys_memory_request request = {
		.progress = say_progress,
		.progress_context = run,
		.name = name,
		.bytes = stack_bytes(&run->stack_config) + ARENA_SLACK_BYTES,
		.kind = run->config.pages,
		.cpu = member->cpu,
	};

	snprintf(name, sizeof(name), "c10m-worker-%u", member->config.number);
	return sys_memory_map(&request, &member->memory, run->error) == 0;
}

static bool draw_secrets(struct run *run, struct arena_secrets *secrets)
{
	int code = sys_entropy_secrets(secrets);

	return code == 0 ||
	       refuse(run, "the machine gives no randomness (%s): check /dev/urandom", strerror(-code));
}

static bool make_stack(struct run *run, struct member *member)
{
	struct stack_config config = run->stack_config;
	struct arena_secrets secrets;
	struct arena arena;

	if (!draw_secrets(run, &secrets))
		return false;
	if (member == run->members)
		run->fastopen = secrets.fastopen;
	secrets.fastopen = run->fastopen;
	config.id = (uint8_t)member->config.number;
	member->config.clock_base_ns = sys_now_ns();
	arena_init(&arena, member->memory.base, member->memory.bytes, &secrets, member->config.clock_base_ns);
	member->stack = stack_init(&arena, &config, 0);
	if (!member->stack)
		return refuse(
			run,
			"the services and limits do not fit together: check state sizes and --connections");
	return true;
}

/* --- several workers --------------------------------------------------------------------- */

static bool make_relay(struct run *run, struct member *member)
{
	struct worker_config *config = &member->config;
	uint32_t sender = sender_of(run, config->number);
	struct worker_config *neighbour = &run->members[sender].config;
	struct frame_ring *ring = &run->fleet.relays[config->number];
	struct port *port = relay_open(ring, neighbour->ports[0], sender);

	if (!port)
		return refuse(run, "too little memory for %u workers: use fewer", run->worker_count);
	config->ports[config->port_count++] = port;
	config->relay = ring;
	neighbour->relayed[neighbour->relayed_count++] = ring;
	return true;
}

/* Packet sockets share the flows among themselves, whatever the card does. */
static bool queues_are_the_cards(const struct run *run)
{
	return run->port_count > 1 && !run->packet_sockets;
}

static bool make_fleet(struct run *run)
{
	struct arena_secrets secrets;
	struct sys_rss rss;
	struct fleet_config config = {.workers = run->worker_count,
				      .queues = run->port_count,
				      .all = run->config.owner,
				      .pages = run->config.pages};

	if (run->worker_count == 1)
		return true;
	if (queues_are_the_cards(run) && sys_rss_read(run->config.interface, &rss) == 0)
		config.rss = &rss;
	if (!draw_secrets(run, &secrets))
		return false;
	config.key = secrets.flow;
	for (uint32_t i = 0; i < run->worker_count; i++)
		config.worker[i] = (struct fleet_worker){&run->members[i].worker.waker, run->members[i].cpu,
							 sender_of(run, i)};
	if (fleet_init(&run->fleet, &config, run->error) < 0)
		return false;
	for (uint32_t i = 0; i < run->worker_count; i++) {
		run->members[i].config.handover = &run->fleet.handovers[i];
		if (run->members[i].config.port_count == 0 && !make_relay(run, &run->members[i]))
			return false;
	}
	return true;
}

/* --- what was chosen ------------------------------------------------------------------ */

static void say_worker(const struct run *run, const struct member *member)
{
	const char *why = run->config.cpu_count > 0 ? "as asked" : "the one that Linux disturbs least";

	if (run->worker_count == 1)
		return;
	if (run->config.cpu_count <= member->config.number)
		why = "chosen";
	say(run, "worker %u: processor %d (%s), %s%s", member->config.number, member->cpu, why,
	    member->config.ports[0]->text, member->config.port_count > 1 ? " and more" : "");
}

static void say_sharing(const struct run *run)
{
	struct sys_topology topology;

	if (run->worker_count == 1)
		return;
	if (run->port_count == 1)
		say(run,
		    "%s has one queue for %u workers: worker 0 receives, and hands over what is not "
		    "its own",
		    run->config.interface, run->worker_count);
	else if (run->fleet.rss)
		say(run,
		    "%s tells how it spreads connections over its queues: they belong to the worker of "
		    "their queue",
		    run->config.interface);
	else
		say(run,
		    "%s does not tell how it spreads connections over its queues: a hash says whose they "
		    "are, "
		    "and their packets are handed over where they arrive elsewhere",
		    run->config.interface);
	if (sys_topology_read(&topology) == 0 && topology.cpu_count <= run->worker_count)
		say(run, "the workers take every processor: Linux shares them, and disturbs");
}

static void say_memory(const struct run *run)
{
	char total[SYS_SIZE_BYTES], blocks[SYS_SIZE_BYTES];
	struct stack_usage usage;
	uint64_t held;

	stack_usage(run->members[0].stack, &usage);
	held = usage.block_bytes + usage.table_bytes + usage.wheel_bytes;
	say(run, "memory%s: %s", run->worker_count > 1 ? " of each worker" : "",
	    run->members[0].memory.sentence);
	say(run,
	    "%u connections%s: %s, of it %s for connections (%.0f bytes each with table and timers, %u of "
	    "them the block), the rest for data and handshakes",
	    run->stack_config.connections, run->worker_count > 1 ? " a worker" : "",
	    sys_text_size(usage.arena_bytes, total), sys_text_size(held, blocks),
	    (double)held / run->stack_config.connections, usage.block_stride);
}

static void say_shared(const struct run *run)
{
	if (!run->shared)
		return;
	say(run,
	    "shared with the kernel: of %u address%s only the ports that are listened on%s are ours; this "
	    "machine's own programs do not reach them, and nftables does not see them",
	    run->shared->address_count, run->shared->address_count == 1 ? "" : "es",
	    run->shared->client_count ? ", and those for outgoing connections," : "");
}

static void say_sources(const struct run *run)
{
	struct ipv4_range net = run->stack_config.source_net;
	char first[IPV4_TEXT_BYTES], last[IPV4_TEXT_BYTES], own[IPV4_TEXT_BYTES];

	if (net.count)
		say(run,
		    "%u addresses more to connect from, %s to %s: who answers needs a route to them, by way "
		    "of %s",
		    net.count, ipv4_to_text(net.first, first),
		    ipv4_to_text(net.first + (net.count - 1), last), ipv4_to_text(run->config.address, own));
}

static void say_choices(const struct run *run)
{
	char text[IPV4_TEXT_BYTES], advice[OPTIONS_ERROR_BYTES];

	for (uint32_t i = 0; i < run->port_count; i++)
		say(run, "port: %s", run->ports[i]->text);
	if (run->port_reason[0])
		say(run, "this port, because %s (--via names another)", run->port_reason);
	if (run->ports[0]->advice)
		say(run, "%s", run->ports[0]->advice);
	ipv4_to_text(run->config.address, text);
	if (run->worker_count == 1)
		say(run, "address %s/%u, MTU %u, processor %d (%s)", text, run->config.prefix_bits,
		    run->stack_config.mtu, run->members[0].cpu,
		    run->config.cpu_count ? "as asked" : "the one that Linux disturbs least");
	else
		say(run, "address %s/%u, MTU %u, %u workers", text, run->config.prefix_bits,
		    run->stack_config.mtu, run->worker_count);
	for (uint32_t i = 0; i < run->worker_count; i++)
		say_worker(run, &run->members[i]);
	say_sources(run);
	say_shared(run);
	say_sharing(run);
	say_memory(run);
	sys_clock_advice(sys_clock_cost_ns(), advice, sizeof(advice));
	if (advice[0])
		say(run, "%s", advice);
}

static void say_listening(const struct run *run, uint32_t address)
{
	char text[IPV4_TEXT_BYTES];

	for (uint32_t i = 0; i < run->service_count; i++)
		if (run->services[i].port)
			printf("%s: listening on %s:%u\n", run->services[i].name, ipv4_to_text(address, text),
			       run->services[i].port);
}

static void say_ready(void *context)
{
	const struct run *run = context;

	for (uint32_t i = 0; run->shared && i < run->shared->address_count; i++)
		say_listening(run, run->shared->addresses[i].address);
	if (!run->shared)
		say_listening(run, run->config.address);
	fflush(stdout);
}

/* --- the run ---------------------------------------------------------------------------- */

static void print_report(void *context, uint64_t now_us)
{
	struct run *run = context;

	report_line(&run->report, stderr, now_us);
}

static void say_sentence(void *context, const char *sentence)
{
	say(context, "%s", sentence);
}

static void interface_lost(void *context)
{
	struct run *run = context;

	run->lost = true;
	c10m_stop();
}

/* A TAP device says so itself; an interface that is down is looked for, which asks the system. */
static bool interface_is_gone(struct run *run, uint64_t now_us)
{
	if (!run->packet_sockets || !packet_socket_down(run->interface_port))
		return run->interface_port->gone;
	if (now_us < run->look_us)
		return false;
	run->look_us = now_us + LOSS_LOOK_US;
	return packet_socket_gone(run->interface_port);
}

/* Where no follower is told. */
static bool look_for_loss(void *context, uint64_t now_us)
{
	struct run *run = context;

	if (run->lost || likely(!interface_is_gone(run, now_us)))
		return false;
	say(run, "%s was deleted, or moved away: there is nothing left to serve on", run->config.interface);
	interface_lost(run);
	return true;
}

static uint64_t next_look_us(void *context)
{
	const struct run *run = context;

	return run->packet_sockets && packet_socket_down(run->interface_port) ? run->look_us : UINT64_MAX;
}

/* The kernel's word on the interface, and on a shared one on all else. */
static bool make_follower(struct run *run, struct member *member)
{
	struct worker_config *worker = &member->config;
	struct follower_config config = {
		.stack = member->stack,
		.interface = run->config.interface,
		.shared = run->shared != NULL,
		.address = run->shared ? run->shared->config.address : 0,
		.mtu_max = run->config.mtu ? run->config.mtu : afxdp_mtu_max(),
	};

	if (!afxdp_is(run->interface_port)) {
		if (worker->number == 0)
			worker->hooks[worker->hook_count++] = (struct worker_hook){
				.run = look_for_loss, .deadline_us = next_look_us, .context = run};
		return true;
	}
	if (worker->number == 0) {
		config.claims = run->shared;
		config.port = run->interface_port;
		config.say = say_sentence;
		config.lost = interface_lost;
		config.context = run;
	}
	if (follower_start(&member->follower, &config, (sys_now_ns() - worker->clock_base_ns) / 1000,
			   run->error) < 0)
		return false;
	worker->hooks[worker->hook_count++] = (struct worker_hook){.run = follower_run,
								   .deadline_us = follower_deadline_us,
								   .context = &member->follower,
								   .fd = follower_fd(&member->follower)};
	return true;
}

static bool take_turn(void *context, uint64_t now_us)
{
	struct member *member = context;

	member->turn_us = stack_turn(member->stack, now_us);
	return member->turn_us <= now_us;
}

static uint64_t turn_deadline_us(void *context)
{
	return ((const struct member *)context)->turn_us;
}

static void make_constable(struct run *run, struct member *member)
{
	struct worker_config *worker = &member->config;

	if (!afxdp_is(run->interface_port))
		return;
	run->police.port = run->interface_port;
	run->police.say = say_sentence;
	run->police.context = run;
	constable_init(&member->constable, &run->police, member->stack);
	worker->hooks[worker->hook_count++] = (struct worker_hook){
		.run = constable_run, .deadline_us = constable_deadline_us, .context = &member->constable};
}

static bool make_worker(struct run *run, struct member *member)
{
	struct worker_config *config = &member->config;
	int code;

	make_constable(run, member);
	config->stack = member->stack;
	config->spin_max_us = run->config.spin_us;
	config->drain_ms = run->config.drain_ms;
	config->unended = &run->unended;
	config->hooks[config->hook_count++] = (struct worker_hook){.run = mailbox_run,
								   .context = mailbox_at(config->number)};
	config->hooks[config->hook_count++] = (struct worker_hook){.run = errands_run,
								   .context = errands_at(config->number)};
	config->hooks[config->hook_count++] = (struct worker_hook){
		.run = clients_run, .context = clients_open(config->number, member->stack)};
	if (stack_turns(member->stack))
		config->hooks[config->hook_count++] = (struct worker_hook){
			.run = take_turn, .deadline_us = turn_deadline_us, .context = member};
	if (config->number == 0) {
		config->report_us = (uint64_t)run->config.stats_s * 1000000;
		config->report = print_report;
		config->report_context = run;
	}
	code = worker_init(&member->worker, config);
	if (code < 0)
		return refuse(run, "no file descriptor is left (%s): raise the limit with 'ulimit -n'",
			      strerror(-code));
	return true;
}

static bool make_members(struct run *run)
{
	run->worker_count = run->config.workers;
	run->members = aligned_alloc(CACHE_LINE, run->worker_count * sizeof(*run->members));
	if (!run->members)
		return refuse(run, "too little memory for %u workers: use fewer", run->worker_count);
	memset(run->members, 0, run->worker_count * sizeof(*run->members));
	for (uint32_t i = 0; i < run->worker_count; i++) {
		run->members[i].run = run;
		run->members[i].config.number = i;
		run->members[i].worker.waker.fd = -1;
	}
	return true;
}

/* On the processors that are left; on all when none is. */
static void begin_helpers(const struct run *run)
{
	struct helpers_config config = {.cpus = run->old_cpus, .blocking = run->config.helpers};

	for (uint32_t i = 0; i < run->worker_count; i++)
		CPU_CLR((unsigned)run->members[i].cpu, &config.cpus);
	if (CPU_COUNT(&config.cpus) == 0)
		config.cpus = run->old_cpus;
	helpers_begin(&config);
}

static bool start(struct run *run)
{
	bool good = make_members(run) && choose_address(run) && open_port(run) && choose_cpus(run);

	if (!good)
		return false;
	share_ports(run);
	complete_stack_config(run);
	good = make_fleet(run);
	for (uint32_t i = 0; i < run->worker_count && good; i++)
		good = map_memory(run, &run->members[i]) && make_stack(run, &run->members[i]) &&
		       make_follower(run, &run->members[i]) && make_worker(run, &run->members[i]);
	if (good && pthread_getaffinity_np(pthread_self(), sizeof(run->old_cpus), &run->old_cpus) != 0)
		good = refuse(run, "the thread's processors cannot be read: run without --cpu");
	if (good)
		begin_helpers(run);
	return good;
}

/* --- on each worker's thread ------------------------------------------------------------------ */

static int prepare_member(void *context, char error[CREW_ERROR_BYTES])
{
	struct member *member = context;
	int code = sys_pin_thread(member->cpu, error);

	if (code < 0)
		return code;
	if (member->config.number == 0)
		member->run->pinned = true;
	else
		sys_name_thread("c10m-worker");
	mailbox_open(mailbox_at(member->config.number), member->stack, &member->worker.waker);
	errands_open(member->config.number, member->stack, &member->worker.waker);
	stack_start(member->stack, worker_now_us(&member->worker));
	return 0;
}

static void run_member(void *context)
{
	struct member *member = context;

	worker_run(&member->worker);
	mailbox_close(mailbox_at(member->config.number), worker_now_us(&member->worker));
	errands_close(member->config.number, worker_now_us(&member->worker));
	worker_drain(&member->worker, PATIENCE_MS);
	clients_close(member->config.number);
}

/* Nothing is ours before all workers are ready to answer for it. */
static void say_all(void *context)
{
	struct run *run = context;

	if (run->shared)
		shared_claim(run->shared, run->interface_port);
	say_choices(context);
	say_ready(context);
}

static bool serve(struct run *run)
{
	struct crew crew = {.count = run->worker_count,
			    .prepare = prepare_member,
			    .ready = say_all,
			    .context = run,
			    .run = run_member};
	const struct worker *workers[OWNER_WORKERS_MAX];

	atomic_store(&run->unended, run->worker_count);
	report_init(&run->report, run->name, run->worker_count, worker_now_us(&run->members[0].worker));
	for (uint32_t i = 0; i < run->worker_count; i++) {
		crew.members[i] = &run->members[i];
		workers[i] = &run->members[i].worker;
		run_signals_watch(&run->members[i].worker);
	}
	if (crew_run(&crew, run->error) < 0)
		return false;
	if (run->shared)
		shared_withdraw(run->shared);
	if (run->config.verbose)
		report_counters(workers, run->worker_count, stderr);
	if (run->program->ended)
		run->program->ended(workers, run->worker_count);
	if (run->config.verbose)
		police_report(&run->police, stderr);
	return true;
}

static void free_member(struct member *member)
{
	mailbox_close(mailbox_at(member->config.number), 0);
	follower_stop(&member->follower);
	errands_close(member->config.number, 0);
	clients_close(member->config.number);
	if (member->stack)
		stack_fini(member->stack);
	if (member->config.relay)
		port_close(member->config.ports[0]);
	if (member->memory.base)
		sys_memory_unmap(&member->memory);
	worker_fini(&member->worker);
}

static void clean_up(struct run *run)
{
	helpers_end();
	for (uint32_t i = 0; run->members && i < run->worker_count; i++)
		free_member(&run->members[i]);
	for (uint32_t i = 0; i < run->port_count; i++)
		port_close(run->ports[i]);
	shared_close(run->shared); /* after the program that takes frames for its ports */
	fleet_fini(&run->fleet);
	if (run->pinned)
		pthread_setaffinity_np(pthread_self(), sizeof(run->old_cpus), &run->old_cpus);
	free(run->members);
}

int run_services(const char *name, const struct run_program *program, const struct run_config *config,
		 const struct c10m_service *services, uint32_t service_count)
{
	struct run run = {.name = name,
			  .program = program,
			  .config = *config,
			  .services = services,
			  .service_count = service_count};
	bool good;

	if (config->wire)
		run.config.interface = "wire"; /* as sentences and captures call it */
	if (!run_signals_begin()) {
		say(&run, "services run already in this process: stop them first");
		return RUN_REFUSED;
	}
	good = start(&run) && serve(&run);
	if (!good)
		say(&run, "%s", run.error);
	run_signals_end();
	clean_up(&run);
	return good && !run.lost ? RUN_OK : RUN_REFUSED;
}
