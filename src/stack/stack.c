/* stack.c - making a stack, its control messages, its end.
 * Owns: the order in which the arena is carved. */
#include "stack/internal.h"

#include <errno.h>
#include <string.h>

#include "tcp/pace.h"
#include "tcp/path.h"
#include "tcp/congestion.h"
#include "tcp/model.h"

#define ENTRIES_MAX       (1u << 26)
#define DESTINATIONS_MAX  65534u /* an index has 16 bits, and 0 is none */
#define STATE_BYTES_MAX   (1u << 20)
#define RTO_MS_MAX        60000u /* RFC 6298 section 2.5 lets it end there */
#define STOP_SLICE        4096u
#define RECEIVE_BYTES     65536u
#define RECEIVE_BYTES_MAX (1u << 30)

_Static_assert(STACK_SERVICES == SERVICES_MAX, "told to users, and what tcp/ has room for");

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
	return value ? value : fallback;
}

static uint32_t between(uint32_t value, uint32_t low, uint32_t high)
{
	return MIN_OF(MAX_OF(value, low), high);
}

static bool asks_for_models(const struct stack_config *config)
{
	if (config->service_count > SERVICES_MAX) /* nobody has looked at it yet */
		return false;
	for (uint32_t i = 0; i < config->service_count; i++) {
		const struct c10m_congestion_control *named = congestion_find(config->services[i].congestion);

		if (named && named->flags & CONGESTION_MODEL)
			return true;
	}
	return false;
}

/* Zero means a default that grows with the number of connections, within bounds. */
static void fill_defaults(struct stack_config *config)
{
	uint32_t n = config->connections;

	config->half_open = or_default(config->half_open, between(n / 8, 64, 65536));
	config->time_wait = or_default(config->time_wait, between(n / 8, 64, 262144));
	config->extensions = or_default(config->extensions, between(n / 16, 64, 65536));
	config->ranges = or_default(config->ranges, between(n / 4, 2048, 131072));
	config->models = or_default(config->models,
				    asks_for_models(config) ? between(n / 16, 64, 16384) : 16);
	config->destinations = or_default(config->destinations, 1024);
	config->sources = or_default(config->sources, between(n / 8, 1024, 262144));
	if (!config->chunks.count[0] && !config->chunks.count[1] && !config->chunks.count[2]) {
		config->chunks.count[0] = between(n, 4096, 2u << 20);
		config->chunks.count[1] = between(n / 4, 1024, 131072);
		config->chunks.count[2] = between(n, 2048, 131072);
	}
	if (!config->messages.count[0] && !config->messages.count[1] && !config->messages.count[2] &&
	    !config->messages.count[3])
		config->messages = (struct message_config){
			{between(n / 16, 1024, 16384), between(n / 64, 256, 4096), 32, 8}};
	config->groups = or_default(config->groups, between(n / 16, 64, 65536));
	config->mtu = or_default(config->mtu, 1500);
	config->initial_window_segments = or_default(config->initial_window_segments, 10);
	config->delayed_ack_ms = or_default(config->delayed_ack_ms, 40);
	config->rto_min_ms = or_default(config->rto_min_ms, 200);
	config->rto_initial_ms = or_default(config->rto_initial_ms, 1000);
	config->time_wait_ms = or_default(config->time_wait_ms, 60000);
	config->fin_wait2_ms = or_default(config->fin_wait2_ms, 60000);
	if (config->tuned_max_bytes == 0)
		config->tuned_max_bytes = chunk_pool_bytes(&config->chunks) / 2;
}

static bool services_make_sense(const struct stack_config *config)
{
	if (config->service_count == 0 || config->service_count > SERVICES_MAX)
		return false;
	for (uint32_t i = 0; i < config->service_count; i++) {
		const struct c10m_service *service = &config->services[i];

		if ((!service->congestion_control && !congestion_find(service->congestion)) ||
		    service->state_size > STATE_BYTES_MAX ||
		    (service->limits && admission_wrong(service->limits)))
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (service->port && service->port == config->services[j].port)
				return false;
	}
	return true;
}

static bool has_deadlines(const struct c10m_service *service)
{
	return service->first_byte_ms || service->idle_ms || service->unsent_ms;
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

static bool sources_make_sense(const struct stack_config *config)
{
	const struct ipv4_range *net = &config->source_net;

	return net->count == 0 ||
	       (net->count - 1 <= UINT32_MAX - net->first && ipv4_is_unicast(net->first) &&
		ipv4_is_unicast(net->first + (net->count - 1)) && !ipv4_range_holds(net, 127u << 24) &&
		!ipv4_range_holds(net, config->address) &&
		(config->gateway == 0 || !ipv4_range_holds(net, config->gateway)) && !config->shared);
}

static bool counts_fit(const struct stack_config *config)
{
	/* References to messages live in the smallest chunks: without any a fan-out would wait for ever. */
	bool fit = config->groups < 1u << 26 && config->chunks.count[0] > 0;

	for (unsigned i = 0; i < MESSAGE_CLASSES; i++)
		fit &= config->messages.count[i] < MESSAGE_COUNT_MAX;
	for (uint32_t i = 0; i < config->service_count; i++)
		fit &= config->services[i].groups <= GROUPS_PER_CONNECTION;
	return fit;
}

/* With so many entries no sum of counts leaves 32 bits, and a handle has room for a block's index. */
static bool makes_sense(const struct stack_config *config)
{
	return config->connections && config->connections < ENTRIES_MAX && config->half_open < ENTRIES_MAX &&
	       config->time_wait < ENTRIES_MAX && config->extensions < ENTRIES_MAX &&
	       config->ranges < ENTRIES_MAX && config->models <= MODELS_MAX &&
	       config->sources < ENTRIES_MAX && config->id < STACKS_MAX &&
	       config->destinations <= DESTINATIONS_MAX && ipv4_is_unicast(config->address) &&
	       gateway_makes_sense(config->gateway, config->address) && config->prefix_bits <= 32 &&
	       sources_make_sense(config) && config->mtu >= 576 && config->mtu <= 9000 &&
	       services_make_sense(config) && times_make_sense(config);
}

struct sizes {
	uint32_t stride, timers, flows, rules;
	size_t stack, blocks, half_opens, time_waits, extension_pool, range_pool, model_pool, chunks,
		messages, groups, fanouts, table, wheel, pacer, near, net, admission, tune, paths, suspects,
		total;
};

/* Behind the application's state stand the connection's places in groups. */
static size_t groups_at(const struct c10m_service *service)
{
	return sizeof(struct tcb) + ALIGN_UP(service->state_size, sizeof(uint32_t));
}

/* And behind these whom it is spliced with. */
static size_t own_bytes(const struct c10m_service *service)
{
	return groups_at(service) + service->groups * sizeof(struct member) +
	       (service->flags & C10M_SPLICE ? sizeof(struct splice) : 0);
}

static struct sizes sizes_of(const struct stack_config *config)
{
	struct sizes s = {0};
	size_t state = 0, watch = 0;

	for (uint32_t i = 0; i < config->service_count; i++)
		state = MAX_OF(state, own_bytes(&config->services[i]));
	for (uint32_t i = 0; i < config->service_count; i++)
		if (has_deadlines(&config->services[i]))
			watch = sizeof(struct tcb_watch);
	s.stride = (uint32_t)ALIGN_UP(state + watch, (size_t)CACHE_LINE);
	/* A near and a far entry each, and room for overtaken ones: at most four for each connection that is
	 * busy in both directions, and packet rates bound how many these can be. */
	s.timers = 2 * config->connections + MIN_OF(4 * config->connections + 1024, 1u << 19);
	s.flows = config->connections + config->half_open + config->time_wait;
	s.stack = sizeof(struct stack);
	s.blocks = pool_bytes(config->connections, s.stride);
	s.half_opens = pool_bytes(config->half_open, sizeof(struct half_open));
	s.time_waits = pool_bytes(config->time_wait, TIME_WAIT_STRIDE);
	s.extension_pool = pool_bytes(config->extensions, sizeof(struct tcp_extension));
	s.range_pool = pool_bytes(config->ranges, sizeof(struct sent_range));
	s.model_pool = pool_bytes(config->models, sizeof(struct model));
	s.chunks = chunk_pool_bytes(&config->chunks);
	s.messages = message_pool_bytes(&config->messages);
	s.groups = pool_bytes(config->groups, sizeof(struct group));
	s.fanouts = pool_bytes(C10M_FANOUTS_MAX, FANOUT_STRIDE);
	s.table = flow_table_bytes(s.flows);
	s.wheel = wheel_bytes(s.timers);
	s.pacer = pacer_bytes(config->extensions);
	s.near = conn_near_bytes(config->connections);
	s.net = net_bytes(config->destinations + 1);
	s.tune = tune_bytes(config->connections);
	s.paths = path_bytes(config->connections);
	s.suspects = pressure_bytes(config->connections);
	s.rules = admission_rules(config->services, config->service_count);
	s.admission = admission_bytes(config->service_count, s.rules, config->sources);
	s.total = s.stack + s.blocks + s.half_opens + s.time_waits + s.extension_pool + s.range_pool +
		  s.model_pool + s.chunks + s.messages + s.groups + s.fanouts + s.table + s.wheel + s.pacer +
		  s.near + s.net + s.admission + s.tune + s.paths + s.suspects + (size_t)16 * CACHE_LINE;
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
		.rto_min_us = config->rto_min_ms * 1000,
		.rto_initial_us = config->rto_initial_ms * 1000,
		.time_wait_ms = config->time_wait_ms,
		.fin_wait2_ms = config->fin_wait2_ms,
		.quick_acks = config->quick_acks,
		.tuned_max_bytes = config->tuned_max_bytes,
		.no_timestamps = config->no_timestamps,
		.no_window_scale = config->no_window_scale,
		.no_sack = config->no_sack,
		.always_cookies = config->always_cookies,
		.tx_checksum = config->tx_checksum,
		.shared = config->shared,
		.tx_segmentation = config->tx_checksum && config->tx_segmentation,
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

/* Who says how much may be kept means it. */
static uint32_t receive_max(const struct stack_config *config, const struct c10m_service *service)
{
	uint32_t bytes = or_default(service->receive_bytes, RECEIVE_BYTES), most = service->receive_max_bytes;

	if (!most && !service->receive_bytes)
		most = config->receive_max_bytes;
	return MIN_OF(MAX_OF(most, bytes), RECEIVE_BYTES_MAX);
}

/* What services from `first` on ask for, defaults filled in. */
static void services_set(struct core *core, const struct stack_config *config, uint32_t first, uint32_t end)
{
	for (uint32_t i = first; i < end; i++) {
		const struct c10m_service *from = &config->services[i];

		core->services[i] = (struct tcp_service){
			.receive_bytes = MIN_OF(or_default(from->receive_bytes, RECEIVE_BYTES),
						RECEIVE_BYTES_MAX),
			.receive_max_bytes = receive_max(config, from),
			.send_bytes = MIN_OF(or_default(from->send_bytes, 65536), 1u << 30),
			.keepalive_ms = MIN_OF(from->keepalive_ms, TICKS_MAX_AHEAD),
			.user_timeout_ms = MIN_OF(from->user_timeout_ms, TICKS_MAX_AHEAD),
			.congestion = from->congestion_control ? from->congestion_control
							       : congestion_find(from->congestion),
			.port = from->port,
			.groups = from->groups,
			.groups_at = (uint32_t)groups_at(from),
			.nodelay = from->flags & C10M_NODELAY,
			.splices = from->flags & C10M_SPLICE,
			.fastopen_pending = from->fastopen_pending,
			.fastopen_client = from->flags & C10M_FASTOPEN,
			.tells_timeout = from->flags & C10M_USER_TIMEOUT_OPTION,
			.user_timeout_max_ms = MIN_OF(from->user_timeout_max_ms, TICKS_MAX_AHEAD),
			.marked = (from->ttl && from->ttl != IPV4_TTL) || (from->dscp && from->dscp < 64),
			.ttl = from->ttl ? from->ttl : IPV4_TTL,
			.dscp = from->dscp < 64 ? from->dscp : 0,
			.paced = from->flags & C10M_PACED,
			.ecn_accepts = from->ecn != C10M_ECN_OFF,
			.delayed_ack_ms = from->flags & C10M_QUICKACK ? 0 : config->delayed_ack_ms,
		};
		core->services[i].ecn_asks = from->ecn == C10M_ECN_ASK ||
					     (from->ecn == C10M_ECN_ACCEPT &&
					      core->services[i].congestion->flags & C10M_CONGESTION_ECN);
		core->services[i].wscale =
			(uint8_t)MAX_OF((uint32_t)scale_for(core->services[i].receive_max_bytes),
					MIN_OF(config->window_scale, 14u));
		core->deadlines[i] = (struct service_deadlines){
			.first_byte_ms = MIN_OF(from->first_byte_ms, TICKS_MAX_AHEAD),
			.idle_ms = MIN_OF(from->idle_ms, TICKS_MAX_AHEAD),
			.unsent_ms = MIN_OF(from->unsent_ms, TICKS_MAX_AHEAD),
		};
		listen_on(core, i, true);
	}
}

static void services_init(struct core *core, const struct stack_config *config)
{
	core->callbacks = config->services;
	core->service_count = config->service_count;
	services_set(core, config, 0, config->service_count);
}

int stack_reread_service(struct stack *stack, uint32_t service)
{
	struct core *core = &stack->core;
	uint8_t wscale;
	uint16_t port;

	if (service >= core->service_count || !services_make_sense(&stack->config))
		return -EINVAL;
	port = stack->config.services[service].port;
	if (port && core->listeners[port] && core->listeners[port] != service + 1)
		return -EADDRINUSE;
	listen_on(core, service, false);
	wscale = core->services[service].wscale;
	services_set(core, &stack->config, service, service + 1);
	core->services[service].wscale_before = wscale;
	core->services[service].rescaled = true;
	core->services[service].rescaled_tick = core->now_tick;
	tcp_windows_recount(core);
	return 0;
}

static void lists_init(struct core *core)
{
	const struct index_list empty = {POOL_NONE, POOL_NONE};

	core->ready_head = core->ready_tail = POOL_NONE;
	core->closing = empty;
	core->busy_index = POOL_NONE;
	core->time_wait_list = empty;
	core->fanouts_active = core->fanouts_queued = core->fanouts_awaiting = empty;
	core->fanout_share.at_us = core->closing_share.at_us = UINT64_MAX;
	for (unsigned i = 0; i < HALF_OPEN_TRIES; i++)
		core->half_open_lists[i] = empty;
}

/* All that is known about addresses and routes without a kernel that tells them. */
static void routes_set(struct routes *routes, uint32_t address, uint8_t prefix_bits, uint32_t gateway,
		       bool shared)
{
	uint32_t mask = prefix_bits ? UINT32_MAX << (32 - prefix_bits) : 0;
	const struct route network = {.prefix = address & mask, .prefix_bits = prefix_bits};
	const struct route other = {.gateway = gateway};

	routes_begin(routes);
	routes_end(routes); /* forgets all */
	routes_add_address(routes, address, prefix_bits);
	if (shared)
		return;
	routes_add(routes, &network, ROUTE_LAST);
	if (gateway)
		routes_add(routes, &other, ROUTE_LAST);
}

/* Which ports are ours, and which of these outgoing connections may have. */
static void ports_own(struct core *core, const struct stack_config *config)
{
	if (!config->shared)
		memset(core->owned, 0xff, sizeof(core->owned));
	else if (config->client_ports)
		memcpy(core->owned, config->client_ports, sizeof(core->owned));
	if (config->shared)
		ports_restrict(&core->ports, core->owned);
	for (uint32_t i = 0; i < core->service_count; i++)
		core->owned[core->services[i].port / 64] |= 1ull << core->services[i].port % 64;
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
	struct routes routes = {.mtu = config->mtu, .mac = config->mac, .sources = config->source_net};
	void *chunks, *messages, *table, *wheel, *pacer, *net, *admission;

	routes_set(&routes, config->address, config->prefix_bits, config->gateway, config->shared);
	if (!carve_pool(arena, &core->blocks, config->connections, s->stride) ||
	    !carve_pool(arena, &core->half_opens, config->half_open, sizeof(struct half_open)) ||
	    !carve_pool(arena, &core->time_waits, config->time_wait, TIME_WAIT_STRIDE) ||
	    !carve_pool(arena, &core->extensions, config->extensions, sizeof(struct tcp_extension)) ||
	    !carve_pool(arena, &core->ranges, config->ranges, sizeof(struct sent_range)) ||
	    !carve_pool(arena, &core->models, config->models, sizeof(struct model)))
		return false;
	if (!carve_pool(arena, &core->groups, config->groups, sizeof(struct group)) ||
	    !carve_pool(arena, &core->fanouts, C10M_FANOUTS_MAX, FANOUT_STRIDE))
		return false;
	chunks = arena_carve(arena, s->chunks, CACHE_LINE);
	messages = arena_carve(arena, s->messages, CACHE_LINE);
	table = arena_carve(arena, s->table, CACHE_LINE);
	wheel = arena_carve(arena, s->wheel, CACHE_LINE);
	pacer = arena_carve(arena, s->pacer, CACHE_LINE);
	core->near_bits = arena_carve(arena, s->near, CACHE_LINE);
	net = arena_carve(arena, s->net, CACHE_LINE);
	admission = arena_carve(arena, s->admission, CACHE_LINE);
	core->tune = arena_carve(arena, s->tune, CACHE_LINE);
	core->paths = arena_carve(arena, s->paths, CACHE_LINE);
	core->suspects = arena_carve(arena, s->suspects, CACHE_LINE);
	if (!chunks || !messages || !table || !wheel || !pacer || !core->near_bits || !net || !admission ||
	    !core->tune || !core->paths || !core->suspects)
		return false;
	core->tune_mask = tune_slots(config->connections) - 1;
	tune_clear(core);
	path_clear(core);
	pressure_clear(core);
	core->chunk_bytes = s->chunks;
	chunk_pool_init(&core->chunks, chunks, &config->chunks);
	message_pool_init(&core->messages, messages, &config->messages);
	flow_table_init(&core->table, table, s->flows);
	core->wheel = wheel_init(wheel, s->timers, core->now_tick);
	core->pacer = wheel_init(pacer, 2 * config->extensions, pacer_slot(core->now_us));
	memset(core->near_bits, 0, s->near);
	admission_init(&core->admission, admission, config->service_count, s->rules, config->sources);
	net_init(&core->net, net, config->destinations + 1, &routes, &core->secrets->flow);
	core->net.shared = config->shared;
	return true;
}

struct stack *stack_init(struct arena *arena, const struct stack_config *config, uint64_t now_us)
{
	struct stack_config full = *config;
	struct arena_header *header = arena_header(arena);
	struct stack *stack;
	struct sizes s;

	fill_defaults(&full);
	if (!makes_sense(&full) || !counts_fit(&full))
		return NULL;
	s = sizes_of(&full);
	stack = arena_carve(arena, sizeof(*stack), CACHE_LINE);
	if (!stack)
		return NULL;
	memset(stack, 0, sizeof(*stack));
	stack->config = full;
	stack_set_time(stack, now_us);
	stack->core.stack_id = full.id;
	stack->core.owner = full.owner;
	stack->core.events = &sock_events;
	stack->core.secrets = &header->secrets;
	stack->core.random = random_from_state(header->secrets.random_state);
	stack->core.net.random = &stack->core.random;
	stack->core.net.counters = &stack->core.counters;
	stack->core.net.chunks = &stack->core.chunks;
	stack->core.net.resolved = conn_waiters;
	stack->core.net.context = &stack->core;
	ports_init(&stack->core.ports, &header->secrets.port);
	stack->core.challenge_tick = stack->core.pressure_tick = stack->core.now_tick - TICKS_PER_SECOND;
	lists_init(&stack->core);
	settings_init(&stack->core, &full);
	services_init(&stack->core, &full);
	ports_own(&stack->core, &full);
	if (!carve(stack, arena, &s))
		return NULL;
	for (uint32_t i = 0; i < full.service_count; i++)
		if (admission_set(&stack->core, i, full.services[i].limits) != 0)
			return NULL;
	stack->arena_bytes = arena->bytes;
	stack->block_bytes = s.blocks;
	stack->table_bytes = s.table;
	stack->wheel_bytes = s.wheel + s.pacer + s.near;
	stack->chunk_bytes = s.chunks;
	stack->compact_bytes = s.half_opens + s.time_waits + s.extension_pool + s.range_pool + s.model_pool;
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

bool stack_turns(const struct stack *stack)
{
	for (uint32_t i = 0; i < stack->core.service_count; i++)
		if (stack->core.callbacks[i].on_turn)
			return true;
	return false;
}

uint64_t stack_turn(struct stack *stack, uint64_t now_us)
{
	struct core *core = &stack->core;
	uint64_t at_us = UINT64_MAX;

	stack_set_time(stack, now_us);
	core->busy_index = SOCK_BUSY_ELSEWHERE;
	for (uint32_t i = 0; i < core->service_count; i++)
		if (core->callbacks[i].on_turn) {
			uint64_t next_us = core->callbacks[i].on_turn(stack_worker(stack));

			at_us = MIN_OF(at_us, next_us);
		}
	core->busy_index = POOL_NONE;
	return at_us;
}

void stack_wind_down(struct stack *stack, uint64_t now_us)
{
	for (uint32_t i = 0; i < stack->core.service_count; i++) {
		const struct stack_message message = {.kind = STACK_UNLISTEN, .value = i};

		/* Refused for a service that does not listen: then there is nothing to do. */
		stack_control(stack, now_us, &message);
	}
	for (uint32_t i = 0; i < stack->core.service_count; i++)
		if (stack->core.callbacks[i].on_stop)
			stack->core.callbacks[i].on_stop(stack_worker(stack));
}

void stack_begin(struct stack *stack, uint64_t now_us)
{
	stack_set_time(stack, now_us);
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

/* --- control messages ---------------------------------------------------------------- */

static int set_address(struct core *core, const struct stack_message *message)
{
	if (!ipv4_is_unicast(message->address) || message->prefix_bits > 32 ||
	    !gateway_makes_sense(message->gateway, message->address))
		return -EINVAL;
	routes_set(&core->net.destinations.routes, message->address, message->prefix_bits, message->gateway,
		   core->settings.shared);
	tcp_reroute_begin(core);
	return 0;
}

static int set_link(struct core *core, const struct stack_message *message)
{
	struct routes *routes = &core->net.destinations.routes;

	if (message->value < PATH_MTU_MIN || message->value > 9000 || eth_is_multicast(&message->mac))
		return -EINVAL;
	routes->mac = message->mac;
	if (message->value < routes->mtu)
		tcp_reroute_begin(core);
	routes->mtu = message->value;
	return 0;
}

static int set_neighbour(struct core *core, const struct stack_message *message)
{
	struct destinations *table = &core->net.destinations;

	if (!ipv4_is_unicast(message->address) || eth_is_multicast(&message->mac) ||
	    routes_is_local(&table->routes, message->address))
		return -EINVAL;
	if (routes_next_hop(&table->routes, message->address) != message->address)
		return -EINVAL;
	if (!destination_for(table, message->address, 0))
		return -ENOMEM;
	net_set_neighbour(&core->net, message->address, &message->mac, true);
	return 0;
}

static int change_neighbour(struct core *core, const struct stack_message *message)
{
	if (!ipv4_is_unicast(message->address) || eth_is_multicast(&message->mac))
		return -EINVAL;
	if (message->kind == STACK_HEAR_NEIGHBOUR)
		net_hear_neighbour(&core->net, message->address, &message->mac);
	else if (message->kind == STACK_LEARN_NEIGHBOUR)
		net_learn_neighbour(&core->net, message->address, &message->mac, message->value != 0);
	else
		net_lose_neighbour(&core->net, message->address, message->value != 0);
	return 0;
}

static int change_address(struct core *core, const struct stack_message *message)
{
	struct routes *routes = &core->net.destinations.routes;

	if (!ipv4_is_unicast(message->address) || message->prefix_bits > 32)
		return -EINVAL;
	if (message->kind == STACK_ADD_ADDRESS)
		return routes_add_address(routes, message->address, message->prefix_bits);
	return routes_remove_address(routes, message->address) ? 0 : -EINVAL;
}

static int change_route(struct core *core, const struct stack_message *message)
{
	struct routes *routes = &core->net.destinations.routes;
	uint32_t before = routes->changes;
	int code;

	if (message->value > ROUTE_REPLACE || !gateway_makes_sense(message->route.gateway, 0))
		return -EINVAL;
	if (message->kind == STACK_ADD_ROUTE)
		code = routes_add(routes, &message->route, (enum route_place)message->value);
	else
		code = routes_remove(routes, &message->route) ? 0 : -EINVAL;
	if (routes->changes != before)
		tcp_reroute_begin(core);
	return code;
}

static int retell(struct core *core, bool done)
{
	struct routes *routes = &core->net.destinations.routes;
	uint32_t before = routes->changes;

	if (!done)
		routes_begin(routes);
	else
		routes_end(routes);
	if (routes->changes != before)
		tcp_reroute_begin(core);
	return 0;
}

static int listen_message(struct core *core, const struct stack_message *message)
{
	if (message->value >= core->service_count || core->services[message->value].port == 0)
		return -EINVAL;
	listen_on(core, message->value, message->kind == STACK_LISTEN);
	return 0;
}

int stack_control(struct stack *stack, uint64_t now_us, const struct stack_message *message)
{
	struct core *core = &stack->core;

	stack_set_time(stack, now_us);
	switch (message->kind) {
	case STACK_SET_ADDRESS:
		return set_address(core, message);
	case STACK_SET_NEIGHBOUR:
		return set_neighbour(core, message);
	case STACK_LISTEN:
	case STACK_UNLISTEN:
		return listen_message(core, message);
	case STACK_SET_LINK:
		return set_link(core, message);
	case STACK_ADD_ADDRESS:
	case STACK_REMOVE_ADDRESS:
		return change_address(core, message);
	case STACK_ADD_ROUTE:
	case STACK_REMOVE_ROUTE:
		return change_route(core, message);
	case STACK_RETELL:
	case STACK_RETOLD:
		return retell(core, message->kind == STACK_RETOLD);
	case STACK_LEARN_NEIGHBOUR:
	case STACK_LOSE_NEIGHBOUR:
	case STACK_HEAR_NEIGHBOUR:
		return change_neighbour(core, message);
	case STACK_DOUBT_NEIGHBOURS:
		net_doubt_neighbours(&core->net);
		return 0;
	}
	return -EINVAL;
}

bool stack_request(struct stack *stack, struct stack_request *request)
{
	if (likely(!net_request(&stack->core.net, &request->address)))
		return false;
	request->kind = STACK_REQUEST_RESOLVE;
	return true;
}
