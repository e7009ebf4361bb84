/* stack.c - making a stack, its control messages, its end.
 * Owns: the order in which the arena is carved. */
#include "stack/internal.h"

#include <errno.h>
#include <string.h>

#include "tcp/congestion.h"

#define ENTRIES_MAX      (1u << 26)
#define DESTINATIONS_MAX 65534u /* an index has 16 bits, and 0 is none */
#define STATE_BYTES_MAX  (1u << 20)
#define RTO_MS_MAX       60000u /* RFC 6298 section 2.5 lets it end there */
#define STOP_SLICE       4096u

_Static_assert(STACK_SERVICES == SERVICES_MAX, "told to users, and what tcp/ has room for");

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
	return value ? value : fallback;
}

static uint32_t between(uint32_t value, uint32_t low, uint32_t high)
{
	return MIN_OF(MAX_OF(value, low), high);
}

/* Zero means a default that grows with the number of connections, within bounds. */
static void fill_defaults(struct stack_config *config)
{
	uint32_t n = config->connections;

	config->half_open = or_default(config->half_open, between(n / 8, 64, 65536));
	config->time_wait = or_default(config->time_wait, between(n / 8, 64, 262144));
	config->destinations = or_default(config->destinations, 1024);
	if (!config->chunks.count[0] && !config->chunks.count[1] && !config->chunks.count[2]) {
		config->chunks.count[0] = between(n, 4096, 2u << 20);
		config->chunks.count[1] = between(n / 4, 1024, 131072);
		config->chunks.count[2] = between(n, 2048, 131072);
	}
	config->mtu = or_default(config->mtu, 1500);
	config->initial_window_segments = or_default(config->initial_window_segments, 10);
	config->delayed_ack_ms = or_default(config->delayed_ack_ms, 40);
	config->rto_min_ms = or_default(config->rto_min_ms, 200);
	config->rto_initial_ms = or_default(config->rto_initial_ms, 1000);
	config->time_wait_ms = or_default(config->time_wait_ms, 60000);
	config->fin_wait2_ms = or_default(config->fin_wait2_ms, 60000);
}

static bool services_make_sense(const struct stack_config *config)
{
	if (config->service_count == 0 || config->service_count > SERVICES_MAX)
		return false;
	for (uint32_t i = 0; i < config->service_count; i++) {
		const struct c10m_service *service = &config->services[i];

		if (!congestion_find(service->congestion) || service->state_size > STATE_BYTES_MAX)
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (service->port && service->port == config->services[j].port)
				return false;
	}
	return true;
}

static bool times_make_sense(const struct stack_config *config)
{
	return config->rto_min_ms <= RTO_MS_MAX && config->rto_initial_ms <= RTO_MS_MAX &&
	       config->delayed_ack_ms <= TICKS_MAX_AHEAD && config->time_wait_ms <= TICKS_MAX_AHEAD &&
	       config->fin_wait2_ms <= TICKS_MAX_AHEAD;
}

static bool gateway_makes_sense(uint32_t gateway, uint32_t address)
{
	return gateway == 0 || (ipv4_is_unicast(gateway) && gateway != address);
}

/* With so many entries no sum of counts leaves 32 bits, and a handle has room for a block's index. */
static bool makes_sense(const struct stack_config *config)
{
	return config->connections && config->connections < ENTRIES_MAX && config->half_open < ENTRIES_MAX &&
	       config->time_wait < ENTRIES_MAX && config->id < STACKS_MAX &&
	       config->destinations <= DESTINATIONS_MAX && ipv4_is_unicast(config->address) &&
	       gateway_makes_sense(config->gateway, config->address) && config->prefix_bits <= 32 &&
	       config->mtu >= 576 && config->mtu <= 9000 && services_make_sense(config) &&
	       times_make_sense(config);
}

struct sizes {
	uint32_t stride, extensions, timers, flows;
	size_t stack, blocks, half_opens, time_waits, extension_pool, chunks, table, wheel, near, net, total;
};

static struct sizes sizes_of(const struct stack_config *config)
{
	struct sizes s = {0};
	size_t state = 0;

	for (uint32_t i = 0; i < config->service_count; i++)
		state = MAX_OF(state, config->services[i].state_size);
	s.stride = (uint32_t)(sizeof(struct tcb) + ALIGN_UP(state, (size_t)CACHE_LINE));
	s.extensions = between(config->connections / 16, 64, 65536);
	/* A near and a far entry each, and room for overtaken ones: at most four for each connection that is
	 * busy in both directions, and packet rates bound how many these can be. */
	s.timers = 2 * config->connections + MIN_OF(4 * config->connections + 1024, 1u << 19);
	s.flows = config->connections + config->half_open + config->time_wait;
	s.stack = sizeof(struct stack);
	s.blocks = pool_bytes(config->connections, s.stride);
	s.half_opens = pool_bytes(config->half_open, sizeof(struct half_open));
	s.time_waits = pool_bytes(config->time_wait, TIME_WAIT_STRIDE);
	s.extension_pool = pool_bytes(s.extensions, sizeof(struct tcp_extension));
	s.chunks = chunk_pool_bytes(&config->chunks);
	s.table = flow_table_bytes(s.flows);
	s.wheel = wheel_bytes(s.timers);
	s.near = conn_near_bytes(config->connections);
	s.net = net_bytes(config->destinations + 1);
	s.total = s.stack + s.blocks + s.half_opens + s.time_waits + s.extension_pool + s.chunks + s.table +
		  s.wheel + s.near + s.net + (size_t)11 * CACHE_LINE;
	return s;
}

size_t stack_bytes(const struct stack_config *config)
{
	struct stack_config full = *config;

	fill_defaults(&full);
	return makes_sense(&full) ? sizes_of(&full).total : 0;
}

static void settings_init(struct core *core, const struct stack_config *config)
{
	core->settings = (struct core_settings){
		.initial_window_segments = config->initial_window_segments,
		.delayed_ack_ms = config->delayed_ack_ms,
		.rto_min_us = config->rto_min_ms * 1000,
		.rto_initial_us = config->rto_initial_ms * 1000,
		.time_wait_ms = config->time_wait_ms,
		.fin_wait2_ms = config->fin_wait2_ms,
		.no_timestamps = config->no_timestamps,
		.no_window_scale = config->no_window_scale,
		.always_cookies = config->always_cookies,
		.tx_checksum = config->tx_checksum,
	};
}

static void listen_on(struct core *core, uint32_t service, bool on)
{
	uint16_t port = core->services[service].port;

	if (port == 0)
		return;
	if (on && !core->listeners[port])
		ports_exclude(&core->ports, port);
	if (!on && core->listeners[port])
		ports_admit(&core->ports, port);
	core->listeners[port] = on ? (uint8_t)(service + 1) : 0;
}

/* RFC 7323 section 2.2. */
static uint8_t scale_for(uint32_t bytes)
{
	uint8_t scale = 0;

	while (scale < 14 && bytes >> scale > 65536)
		scale++;
	return scale;
}

static void services_init(struct core *core, const struct stack_config *config)
{
	core->callbacks = config->services;
	core->service_count = config->service_count;
	for (uint32_t i = 0; i < config->service_count; i++) {
		const struct c10m_service *from = &config->services[i];

		core->services[i] = (struct tcp_service){
			.receive_bytes = MIN_OF(or_default(from->receive_bytes, 65536), 1u << 30),
			.send_bytes = MIN_OF(or_default(from->send_bytes, 65536), 1u << 30),
			.keepalive_ms = MIN_OF(from->keepalive_ms, TICKS_MAX_AHEAD),
			.user_timeout_ms = MIN_OF(from->user_timeout_ms, TICKS_MAX_AHEAD),
			.congestion = congestion_find(from->congestion),
			.port = from->port,
			.nodelay = from->flags & C10M_NODELAY,
		};
		core->services[i].wscale = scale_for(core->services[i].receive_bytes);
		listen_on(core, i, true);
	}
}

static void lists_init(struct core *core)
{
	const struct index_list empty = {POOL_NONE, POOL_NONE};

	core->ready_head = core->ready_tail = POOL_NONE;
	core->busy_index = POOL_NONE;
	core->time_wait_list = empty;
	for (unsigned i = 0; i < HALF_OPEN_TRIES; i++)
		core->half_open_lists[i] = empty;
}

static bool carve_pool(struct arena *arena, struct pool *pool, uint32_t capacity, uint32_t stride)
{
	void *memory = arena_carve(arena, pool_bytes(capacity, stride), CACHE_LINE);

	if (memory)
		pool_init(pool, memory, capacity, stride);
	return memory != NULL;
}

static bool carve(struct stack *stack, struct arena *arena, const struct sizes *s)
{
	const struct stack_config *config = &stack->config;
	struct core *core = &stack->core;
	void *chunks, *table, *wheel, *net;
	struct route route = {
		.address = config->address,
		.mask = config->prefix_bits ? UINT32_MAX << (32 - config->prefix_bits) : 0,
		.gateway = config->gateway,
		.mtu = config->mtu,
		.mac = config->mac,
	};

	if (!carve_pool(arena, &core->blocks, config->connections, s->stride) ||
	    !carve_pool(arena, &core->half_opens, config->half_open, sizeof(struct half_open)) ||
	    !carve_pool(arena, &core->time_waits, config->time_wait, TIME_WAIT_STRIDE) ||
	    !carve_pool(arena, &core->extensions, s->extensions, sizeof(struct tcp_extension)))
		return false;
	chunks = arena_carve(arena, s->chunks, CACHE_LINE);
	table = arena_carve(arena, s->table, CACHE_LINE);
	wheel = arena_carve(arena, s->wheel, CACHE_LINE);
	core->near_bits = arena_carve(arena, s->near, CACHE_LINE);
	net = arena_carve(arena, s->net, CACHE_LINE);
	if (!chunks || !table || !wheel || !core->near_bits || !net)
		return false;
	chunk_pool_init(&core->chunks, chunks, &config->chunks);
	flow_table_init(&core->table, table, s->flows);
	core->wheel = wheel_init(wheel, s->timers, core->now_tick);
	memset(core->near_bits, 0, s->near);
	net_init(&core->net, net, config->destinations + 1, &route, &core->secrets->flow);
	return true;
}

struct stack *stack_init(struct arena *arena, const struct stack_config *config, uint64_t now_us)
{
	struct stack_config full = *config;
	struct arena_header *header = arena_header(arena);
	struct stack *stack;
	struct sizes s;

	fill_defaults(&full);
	if (!makes_sense(&full))
		return NULL;
	s = sizes_of(&full);
	stack = arena_carve(arena, sizeof(*stack), CACHE_LINE);
	if (!stack)
		return NULL;
	memset(stack, 0, sizeof(*stack));
	stack->config = full;
	stack_set_time(stack, now_us);
	stack->core.stack_id = full.id;
	stack->core.events = &sock_events;
	stack->core.secrets = &header->secrets;
	stack->core.random = random_from_state(header->secrets.random_state);
	stack->core.net.counters = &stack->core.counters;
	stack->core.net.chunks = &stack->core.chunks;
	stack->core.net.resolved = conn_waiters;
	stack->core.net.context = &stack->core;
	ports_init(&stack->core.ports, &header->secrets.port);
	stack->core.challenge_tick = stack->core.now_tick - TICKS_PER_SECOND;
	lists_init(&stack->core);
	settings_init(&stack->core, &full);
	services_init(&stack->core, &full);
	if (!carve(stack, arena, &s))
		return NULL;
	stack->arena_bytes = arena->bytes;
	stack->block_bytes = s.blocks;
	stack->table_bytes = s.table;
	stack->wheel_bytes = s.wheel + s.near;
	stack->chunk_bytes = s.chunks;
	stack->compact_bytes = s.half_opens + s.time_waits + s.extension_pool;
	header->state_offset = (uint64_t)((uint8_t *)stack - arena->base);
	header->layout_hash = arena_hash(ARENA_HASH_START, &s, sizeof(s));
	sock_register(&stack->core);
	return stack;
}

void stack_start(struct stack *stack, uint64_t now_us)
{
	stack_set_time(stack, now_us);
	for (uint32_t i = 0; i < stack->core.service_count; i++)
		if (stack->core.callbacks[i].on_start)
			stack->core.callbacks[i].on_start(stack_worker(stack));
}

void stack_fini(struct stack *stack)
{
	sock_unregister(&stack->core);
}

/* True when none is left. */
static bool stop_half_opens(struct core *core)
{
	uint32_t budget = STOP_SLICE;

	for (unsigned i = 0; i < HALF_OPEN_TRIES; i++) {
		for (; core->half_open_lists[i].oldest != POOL_NONE; budget--) {
			if (!budget)
				return false;
			half_open_free(core, core->half_open_lists[i].oldest);
		}
	}
	return true;
}

bool stack_stop(struct stack *stack, uint64_t now_us)
{
	struct core *core = &stack->core;
	uint32_t end;

	stack_set_time(stack, now_us);
	core->stopping = true;
	if (!stop_half_opens(core))
		return false;
	end = MIN_OF(stack->stop_next + STOP_SLICE, core->blocks.fresh);
	for (; stack->stop_next < end && core->net.reply_count < REPLIES; stack->stop_next++) {
		struct tcb *tcb = tcb_at(core, stack->stop_next);

		if (tcb->state == TCB_FREE)
			continue;
		tcp_abort_segment(core, tcb);
		conn_end(core, stack->stop_next, C10M_CLOSE_STOPPED);
	}
	return stack->stop_next >= core->blocks.fresh;
}

static int set_address(struct stack *stack, const struct stack_message *message)
{
	struct route *route = &stack->core.net.destinations.route;

	if (!ipv4_is_unicast(message->address) || message->prefix_bits > 32 ||
	    !gateway_makes_sense(message->gateway, message->address))
		return -EINVAL;
	route->address = message->address;
	route->mask = message->prefix_bits ? UINT32_MAX << (32 - message->prefix_bits) : 0;
	route->gateway = message->gateway;
	return 0;
}

int stack_control(struct stack *stack, uint64_t now_us, const struct stack_message *message)
{
	struct core *core = &stack->core;

	stack_set_time(stack, now_us);
	switch (message->kind) {
	case STACK_SET_ADDRESS:
		return set_address(stack, message);
	case STACK_SET_NEIGHBOUR:
		if (!ipv4_is_unicast(message->address) || eth_is_multicast(&message->mac) ||
		    message->address == core->net.destinations.route.address)
			return -EINVAL;
		if (route_next_hop(&core->net.destinations.route, message->address) != message->address)
			return -EINVAL;
		if (!destination_for(&core->net.destinations, message->address, 0))
			return -ENOMEM;
		net_set_neighbour(&core->net, message->address, &message->mac, true);
		return 0;
	case STACK_LISTEN:
	case STACK_UNLISTEN:
		if (message->value >= core->service_count || core->services[message->value].port == 0)
			return -EINVAL;
		listen_on(core, message->value, message->kind == STACK_LISTEN);
		return 0;
	}
	return -EINVAL;
}

bool stack_request(struct stack *stack, struct stack_request *request)
{
	(void)stack; /* c10m speaks ARP itself on an interface of its own */
	request->kind = STACK_REQUEST_NONE;
	return false;
}
