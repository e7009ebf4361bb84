/* world.c - one run of one seed: what is drawn, the order of events, and what must hold at the end.
 * In: a seed.  Out: counters, or the first invariant that failed.  Owns: struct world. */
#include "sim.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "../packet/cut.h"
#include "tcp/congestion.h"
#include "wire/ethernet.h"
#include "wire/print.h"

#define LIVENESS_US  (4000ULL * SECOND) /* after the link is healed everything ends within */
#define PATIENCE_US  (2000ULL * SECOND) /* and whose peer is gone within */
#define BALANCE_US   (1500ULL * SECOND) /* and after that every pool is full again within */
#define STEPS_MAX    20000000ULL
#define HOSTILE_ACTS 20000 /* half as many on average are the least gap */

uint32_t host_ip(unsigned host)
{
	return 0x0a000001u + host;
}

void host_mac(unsigned host, uint8_t mac[6])
{
	static const uint8_t base[6] = {2, 0xc1, 0x0a, 0, 0, 1};

	memcpy(mac, base, 6);
	mac[5] = (uint8_t)(1 + host);
}

uint64_t node_now(const struct world *world, unsigned node)
{
	const struct node *at = &world->nodes[node];
	uint64_t now_us = world->now_us + at->clock_offset_us;

	return at->clock_step_us ? now_us - now_us % at->clock_step_us : now_us;
}

unsigned host_of(const struct world *world, uint32_t ip)
{
	for (unsigned i = 0; i < NODES; i++) {
		if (ip == host_ip(i) || ipv4_range_holds(&world->nodes[i].source_net, ip))
			return i;
	}
	return HOSTS;
}

void world_fail(struct world *world, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (world->failure)
		vsnprintf(world->failure, world->failure_room, format, args);
	else
		vfprintf(stderr, format, args);
	va_end(args);
	if (world->trace)
		printf("%12.6f FAILED\n", (double)world->now_us / SECOND);
	fflush(stdout);
	_exit(3);
}

void world_trace(const struct world *world, const char *what, const uint8_t *frame, uint32_t bytes)
{
	char text[300];

	if (!world->trace)
		return;
	frame_print(frame, bytes, text, sizeof(text));
	printf("%12.6f %s %s\n", (double)world->now_us / SECOND, what, text);
}

/* --- what is drawn ------------------------------------------------------------------------- */

static bool one_in(struct world *world, uint32_t n)
{
	return random_below(&world->random, n) == 0;
}

static uint32_t draw(struct world *world, uint32_t n)
{
	return random_below(&world->random, n);
}

static struct faults draw_faults(struct world *world)
{
	bool strict = world->strict;
	struct faults faults = {
		.delay_us = one_in(world, 2) ? draw(world, 500) : draw(world, 100 * MS),
		.jitter_us = one_in(world, 2) ? 0 : draw(world, 20 * MS),
		.path_mtu = 1500,
	};

	if (one_in(world, 2))
		faults.loss = one_in(world, 4) && !strict ? draw(world, 5000) : draw(world, 500);
	if (one_in(world, 3))
		faults.duplicate = draw(world, 1000);
	if (one_in(world, 3))
		faults.reorder = draw(world, 1000);
	if (one_in(world, 3))
		faults.corrupt = draw(world, 300);
	if (one_in(world, 3))
		faults.resegment = draw(world, 2000);
	if (one_in(world, 4)) {
		faults.bytes_per_ms = 100 + draw(world, 5000);
		faults.queue_bytes = 5000 + draw(world, 60000);
	}
	if (one_in(world, 4)) {
		faults.burst_chance = 1 + draw(world, strict ? 50 : 200);
		faults.burst_frames = 1 + draw(world, strict ? 5 : 30);
	}
	faults.mark = one_in(world, 3) ? draw(world, 3000) : 0;
	if (one_in(world, 6) && !strict) {
		faults.outage_chance = 1 + draw(world, 20);
		faults.outage_us = draw(world, 8 * SECOND);
	}
	return faults;
}

static void draw_pools(struct world *world, struct stack_config *config)
{
	config->connections = 2 * CONVERSATIONS + 8;
	if (world->strict)
		return;
	if (one_in(world, 4))
		config->connections = 1 + draw(world, 12);
	if (one_in(world, 3))
		config->half_open = 1 + draw(world, 4);
	if (one_in(world, 3))
		config->time_wait = 1 + draw(world, 4);
	if (one_in(world, 2))
		config->sources = 1;
	if (one_in(world, 4))
		config->destinations = 2 + draw(world, 6);
	if (one_in(world, 4)) {
		for (unsigned i = 0; i < CHUNK_CLASSES; i++)
			config->chunks.count[i] = 1 + draw(world, 30);
	}
	if (one_in(world, 4)) {
		config->groups = 1 + draw(world, 4);
		for (unsigned i = 0; i < MESSAGE_CLASSES; i++)
			config->messages.count[i] = 1 + draw(world, 3);
	}
}

/* NULL: the default, also where there is none of that name. */
static const char *algorithm(uint64_t choice)
{
	static const char *const names[4] = {NULL, "newreno", "bbr", "dctcp"};
	const char *name = names[choice];

	return name && congestion_find(name) ? name : NULL;
}

/* Who asks for data in SYNs, and how many may wait for the rest of their handshake. */
static void draw_fastopen(struct node *node, uint64_t value)
{
	static const uint32_t pending[] = {0, 1, 5, 100};

	node->services[0].fastopen_pending = pending[value & 3];
	node->services[3].fastopen_pending = pending[value >> 2 & 3];
	if (value & 16)
		node->services[1].flags |= C10M_FASTOPEN;
	if (value & 32)
		node->services[3].flags |= C10M_FASTOPEN;
}

/* From a generator of its own: seeds mean what they meant. */
static void draw_later_options(const struct world *world, struct node *node, unsigned index)
{
	struct random random = random_seeded(~(world->seed * 2 + index));
	uint64_t value = random_next(&random);

	node->config.tx_segmentation = value & 1; /* counts with tx_checksum only */
	if ((value >> 48) % 4 == 0)
		node->config.extensions = 1 + (uint32_t)(value >> 52) % 6;
	if ((value >> 56) % 4 == 0)
		node->config.ranges = 1 + (uint32_t)(value >> 58) % 12;
	for (unsigned i = 0; i < ARRAY_COUNT(node->services); i++)
		node->services[i].congestion = algorithm(value >> (16 + 2 * i) & 3);
	node->config.no_sack = (value >> 40) % 4 == 0;
	draw_fastopen(node, value >> 32);
	if ((value >> 42) % 4 == 0)
		node->config.models = 1;
	node->frame_room = (uint16_t)(value & 2 ? LONG_ROOM : FRAME_ROOM + (value >> 8) % 20000);
}

static void draw_node(struct world *world, unsigned index)
{
	static const uint16_t mtus[] = {1500, 1500, 1500, 576, 1280};
	struct node *node = &world->nodes[index];
	struct stack_config *config = &node->config;

	app_services(world, index);
	*config = (struct stack_config){
		.id = (uint8_t)index,
		.services = node->services,
		.service_count = ARRAY_COUNT(node->services),
		.address = host_ip(index),
		.prefix_bits = 24,
		.gateway = one_in(world, 2) ? ROUTER_IP : 0,
		.mtu = mtus[draw(world, ARRAY_COUNT(mtus))],
		.tx_checksum = one_in(world, 2),
		.initial_window_segments = one_in(world, 3) ? 1 + draw(world, 10) : 0,
		.delayed_ack_ms = one_in(world, 3) ? 1 + draw(world, 400) : 0,
		.rto_min_ms = one_in(world, 3) ? 50 + draw(world, 1000) : 0,
		.rto_initial_ms = one_in(world, 3) ? 500 + draw(world, 2500) : 0,
		/* Strict: the last acknowledgement may be lost many times over. */
		.time_wait_ms = world->strict      ? 300 * 1000
				: one_in(world, 2) ? 500 + draw(world, 5000)
						   : 0,
		.fin_wait2_ms = world->strict ? 3600 * 1000 : 1000 + draw(world, 60000),
		.no_timestamps = one_in(world, 4),
		.no_window_scale = one_in(world, 4),
		.always_cookies = one_in(world, 8) && !world->strict,
	};
	host_mac(index, config->mac.octets);
	draw_pools(world, config);
	node->ip = host_ip(index);
	node->tx_room = one_in(world, 3) ? 1 + draw(world, 4) : 64;
	node->tx_gap_us = draw(world, 100);
	node->late_us = one_in(world, 2) ? 0 : draw(world, 3 * MS);
	node->rx_quantum_us = one_in(world, 2) ? 1 : 1 + draw(world, 300);
	node->rx_verified = one_in(world, 3);
	draw_later_options(world, node, index);
}

/* The stacks side by side, or each alone with the router; or one of them connects from a whole net. */
static void draw_topology(struct world *world)
{
	uint32_t kind = draw(world, 4);

	if (kind == 0) {
		world->routed = true;
		for (unsigned i = 0; i < NODES; i++) {
			world->nodes[i].config.prefix_bits = 32;
			world->nodes[i].config.gateway = ROUTER_IP;
		}
	} else if (kind == 1) {
		unsigned who = draw(world, NODES);
		struct ipv4_range net = ipv4_hosts(0x0a020000u, 16);

		world->nodes[who].source_net = world->nodes[who].config.source_net = net;
		world->nodes[!who].config.gateway = host_ip(who);
	}
}

/* Coarse ones, and such as jump ahead when the machine was asleep. */
static void draw_clock(struct world *world, struct node *node)
{
	static const uint32_t steps[] = {0, 0, 0, 100, MS, 10 * MS};

	node->clock_step_us = steps[draw(world, ARRAY_COUNT(steps))];
	node->jump_at_us = UINT64_MAX;
	if (!one_in(world, 6))
		return;
	node->jump_at_us = draw(world, (uint32_t)world->heal_us);
	node->jump_us = draw(world, (world->strict ? 2 : 20) * SECOND);
}

static void draw_world(struct world *world)
{
	world->strict = one_in(world, 2);
	world->heal_us = SECOND + (one_in(world, 3) ? draw(world, 60 * SECOND) : draw(world, 6 * SECOND));
	world->verify_gap = 20 + draw(world, 500);
	world->stop_us = world->rebuild_us = UINT64_MAX;
	for (unsigned i = 0; i < HOSTS; i++)
		world->link.faults[i] = draw_faults(world);
	for (unsigned i = 0; i < NODES; i++)
		draw_node(world, i);
	draw_topology(world);
	for (unsigned i = 0; i < NODES; i++)
		draw_clock(world, &world->nodes[i]);
	if (one_in(world, 6)) {
		world->down_us = draw(world, (uint32_t)world->heal_us);
		world->up_us = world->down_us + draw(world, (world->strict ? 2 : 10) * SECOND);
	}
	if (one_in(world, 10))
		world->rebuild_us = draw(world, (uint32_t)world->heal_us);
	if (!world->strict && one_in(world, 20))
		world->stop_us = draw(world, (uint32_t)world->heal_us);
	if (!world->strict && one_in(world, 2)) {
		const uint32_t gap_us = 1 + draw(world, 100 * MS);

		world->hostile.on = true;
		world->hostile.gap_us = MAX_OF(gap_us, (uint32_t)(world->heal_us / HOSTILE_ACTS));
		world->hostile.flood = 1 + draw(world, 30);
		world->hostile.collisions = one_in(world, 16) ? 3 : 0;
		liars_begin(world);
		if (one_in(world, 32)) {
			world->hostile.flood = 1500;
			world->hostile.gap_us = MAX_OF(world->hostile.gap_us,
						       (uint32_t)(world->heal_us / 200));
		}
	}
	app_plan(world);
}

/* --- stacks --------------------------------------------------------------------------------- */

static void node_make(struct world *world, unsigned index)
{
	struct node *node = &world->nodes[index];
	struct arena_secrets secrets;
	struct random random = random_seeded(world->seed * 2 + index);
	size_t bytes = 4096 + ALIGN_UP(stack_bytes(&node->config), (size_t)4096);

	for (unsigned i = 0; i < sizeof(secrets) / 8; i++) {
		uint64_t word = random_next(&random);

		memcpy((uint8_t *)&secrets + 8 * i, &word, 8);
	}
	node->memory = aligned_alloc(4096, bytes);
	CHECK(node->memory);
	memset(node->memory, 0, bytes);
	arena_init(&node->arena, node->memory, bytes, &secrets, 0);
	node->stack = stack_init(&node->arena, &node->config, node_now(world, index));
	if (!node->stack)
		world_fail(world, "stack_init refused the configuration");
	stack_start(node->stack, node_now(world, index));
}

static void node_unmake(struct node *node)
{
	stack_fini(node->stack);
	free(node->memory);
	node->stack = NULL;
}

/* The first sequence number that a node would choose for conversation 0 if its clock stood here. */
static uint32_t probe_iss(struct world *world, unsigned node_index, bool client, uint64_t clock_us)
{
	struct node *node = &world->nodes[node_index];
	const struct tcp_segment syn = {
		.flags = TCP_SYN, .window = 1000, .source_port = 1024, .destination_port = SERVER_PORT};
	const struct c10m_connect_request request = {.service = 1,
						     .remote_address = host_ip(!node_index),
						     .remote_port = SERVER_PORT,
						     .local_port = 1024};
	struct stack_message message = {.kind = STACK_SET_NEIGHBOUR, .address = host_ip(!node_index)};
	uint8_t frame[FRAME_ROOM];
	struct packet packet = {.data = frame, .bytes = ETH_HEADER_BYTES + 40};
	uint32_t seq = 0;

	node->clock_offset_us = clock_us;
	node_make(world, node_index);
	host_mac(!node_index, message.mac.octets);
	stack_control(node->stack, clock_us, &message);
	if (client) {
		c10m_connect(stack_worker(node->stack), &request, NULL);
	} else {
		struct eth_header eth = {
			.type = ETH_TYPE_IPV4, .source = message.mac, .destination = node->config.mac};
		struct ipv4_header ip = {.source = host_ip(!node_index),
					 .destination = node->ip,
					 .ttl = 64,
					 .protocol = IP_PROTOCOL_TCP,
					 .total_bytes = 40};

		eth_emit(frame, &eth);
		ipv4_emit(frame + ETH_HEADER_BYTES, &ip);
		tcp_emit(frame + ETH_HEADER_BYTES + 20, &syn);
		frame_fix_checksums(frame);
		stack_rx(node->stack, clock_us, &packet, 1);
	}
	packet = (struct packet){.data = frame, .room = FRAME_ROOM};
	if (stack_tx(node->stack, clock_us, &packet, 1) == 1)
		seq = get32(frame + ETH_HEADER_BYTES + 24);
	node_unmake(node);
	return seq;
}

/* Sets a node's clock so that the sequence numbers of conversation 0 wrap early in its stream. */
static void start_before_wrap(struct world *world)
{
	struct conversation *conversation = &world->conversations[0];
	unsigned side = draw(world, 2), node = conversation->ends[side].node;
	uint32_t first = probe_iss(world, node, side == 0, 0);
	uint32_t slope = probe_iss(world, node, side == 0, SECOND) - first; /* a second */
	uint32_t target = (uint32_t)-4000 - draw(world, 30000);

	conversation->plan = (enum plan)draw(world, PLAN_IDLE);
	conversation->bytes[side] = 50000 + draw(world, 50000);
	conversation->ends[0].abort_at = conversation->ends[1].abort_at = UINT64_MAX;
	if (conversation->ends[side].write_max < 1000)
		conversation->ends[side].write_max = 1000;
	if (slope > 0)
		world->nodes[node].clock_offset_us = (uint64_t)(target - first) * SECOND / slope;
}

static void draw_clocks(struct world *world)
{
	static const uint64_t wraps_ms[] = {1ULL << 32, 1ULL << 31, (1ULL << 32) / 1000 + 3000, 3000};
	bool always_cookies = world->nodes[0].config.always_cookies || world->nodes[1].config.always_cookies;

	for (unsigned i = 0; i < NODES; i++)
		world->nodes[i].clock_offset_us = (wraps_ms[draw(world, 4)] - draw(world, 3000)) * MS;
	if (one_in(world, 3) && !always_cookies)
		start_before_wrap(world);
}

/* --- running ---------------------------------------------------------------------------------- */

static void node_sent(struct world *world, unsigned index, const struct packet *packet)
{
	if (packet->bytes < ETH_HEADER_BYTES || packet->bytes > ETH_HEADER_BYTES + 1500)
		world_fail(world, "node %u sent a frame of %u bytes", index, packet->bytes);
	if (packet->checksum == PACKET_CSUM_PARTIAL)
		cut_complete(packet->data, packet->bytes, packet);
	world->hash = arena_hash(world->hash, packet->data, packet->bytes);
	world_trace(world, index == 0 ? "0 >" : "1 >", packet->data, packet->bytes);
	referee_sent(world, index, packet->data, packet->bytes);
	link_send(world, (uint8_t)index, packet->data, packet->bytes);
}

/* What a port does that cuts long frames. */
static void node_sent_long(struct world *world, unsigned index, const struct packet *packet)
{
	uint8_t frame[FRAME_ROOM];
	const uint32_t segment = packet->gso_bytes, payload = packet->bytes - packet->header_bytes;

	if (!world->nodes[index].config.tx_segmentation || !world->nodes[index].config.tx_checksum ||
	    packet->header_bytes + segment > FRAME_ROOM)
		world_fail(world, "node %u sent a long frame of %u bytes", index, packet->bytes);
	cut_check(packet);
	for (uint32_t at = 0; at < payload; at += segment) {
		struct packet single = {.data = frame, .checksum = PACKET_CSUM_NONE};

		single.bytes = cut_segment(packet, at, frame);
		node_sent(world, index, &single);
	}
}

/* When a node's clock shows this time, in the world's; later than now. */
static uint64_t when(const struct world *world, const struct node *node, uint64_t clock_us)
{
	uint32_t step_us = MAX_OF(node->clock_step_us, 1u);

	clock_us = MAX_OF(clock_us, world->now_us + node->clock_offset_us + 1);
	return (clock_us + step_us - 1) / step_us * step_us - node->clock_offset_us;
}

static void node_tx(struct world *world, unsigned index)
{
	static uint8_t frames[STACK_BURST][LONG_ROOM];
	struct node *node = &world->nodes[index];
	struct packet packets[STACK_BURST];
	uint64_t deadline_us;
	uint32_t room = world->now_us >= node->tx_busy_until_us ? node->tx_room : 0, count;

	for (uint32_t i = 0; i < room; i++)
		packets[i] = (struct packet){.data = frames[i], .room = node->frame_room};
	count = stack_tx(node->stack, node_now(world, index), packets, room);
	if (count > room)
		world_fail(world, "stack_tx filled more frames than it was given");
	for (uint32_t i = 0; i < count; i++)
		(packets[i].gso_bytes ? node_sent_long : node_sent)(world, index, &packets[i]);
	if (count == room && room > 0)
		node->tx_busy_until_us = world->now_us + node->tx_gap_us;
	deadline_us = stack_deadline(node->stack);
	if (stack_has_output(node->stack))
		node->due_us = MAX_OF(node->tx_busy_until_us, world->now_us + 1);
	else if (deadline_us == UINT64_MAX)
		node->due_us = UINT64_MAX;
	else
		node->due_us = when(world, node, deadline_us) + draw(world, node->late_us + 1);
}

static void node_rx(struct world *world, unsigned index, struct frame **frames, uint32_t count)
{
	struct node *node = &world->nodes[index];
	struct packet packets[STACK_BURST];

	for (uint32_t i = 0; i < count; i++) {
		bool good = node->rx_verified && frame_checksums_good(frames[i]->data, frames[i]->bytes);

		packets[i] = (struct packet){
			.data = frames[i]->data,
			.bytes = frames[i]->bytes,
			.checksum = good ? PACKET_CSUM_VERIFIED : PACKET_CSUM_NONE,
		};
		world_trace(world, index == 0 ? "0  <" : "1  <", frames[i]->data, frames[i]->bytes);
		referee_delivered(world, index, frames[i]->data, frames[i]->bytes);
	}
	stack_rx(node->stack, node_now(world, index), packets, count);
	for (uint32_t i = 0; i < count; i++) {
		memset(frames[i]->data, 0xa5, frames[i]->bytes);
		link_give(&world->link, frames[i]);
	}
}

/* All frames that are due now, in bursts. */
static void deliver(struct world *world)
{
	struct frame *batch[NODES][STACK_BURST], *frame;
	uint32_t count[NODES] = {0};

	while ((frame = link_take(world))) {
		if (frame->to == HOSTILE) {
			hostile_receive(world, frame->data, frame->bytes);
			link_give(&world->link, frame);
			continue;
		}
		batch[frame->to][count[frame->to]++] = frame;
		if (count[frame->to] == STACK_BURST)
			break;
	}
	for (unsigned i = 0; i < NODES; i++) {
		if (count[i] == 0)
			continue;
		node_rx(world, i, batch[i], count[i]);
		node_tx(world, i);
	}
}

static void heal(struct world *world)
{
	world->healed = true;
	world->hostile.next_us = UINT64_MAX;
	for (unsigned i = 0; i < HOSTS; i++) {
		struct faults *faults = &world->link.faults[i];

		*faults = (struct faults){.delay_us = faults->delay_us, .path_mtu = faults->path_mtu};
		world->link.outage_until_us[i] = 0;
	}
	app_healed(world);
}

static void vanish(struct world *world)
{
	for (uint32_t i = 0; i < world->conversation_count; i++) {
		struct conversation *conversation = &world->conversations[i];
		struct link *link = &world->link;

		if (conversation->plan == PLAN_VANISH && conversation->client_port != 0 &&
		    world->now_us > conversation->start_us + SECOND / 2) {
			link->dead_ips[link->dead_count] = conversation->client_ip;
			link->dead_ports[link->dead_count++] = conversation->client_port;
			conversation->client_port = 0;
		}
	}
}

static uint64_t next_connect_us(const struct world *world)
{
	uint64_t next_us = UINT64_MAX;

	for (uint32_t i = 0; i < world->conversation_count; i++) {
		if (!world->conversations[i].started)
			next_us = MIN_OF(next_us, world->conversations[i].start_us);
	}
	return next_us;
}

static void connect_due(struct world *world)
{
	for (uint32_t i = 0; i < world->conversation_count; i++) {
		struct conversation *conversation = &world->conversations[i];

		if (conversation->started || conversation->start_us > world->now_us)
			continue;
		app_connect(conversation);
		for (unsigned node = 0; node < NODES; node++)
			node_tx(world, node);
	}
}

/* Other caps in the middle of it all, and another idea of what a source is. */
static void change_limits(struct world *world)
{
	unsigned index = draw(world, NODES);
	struct node *node = &world->nodes[index];
	int code;

	node->limits.source_connections = draw(world, 3);
	node->limits.source_rate = draw(world, 3);
	if (!node->limits.source_rate)
		node->limits.source_burst = 0; /* makes no sense without */
	node->limits.source_bits = draw(world, 2) ? 0 : 28;
	code = c10m_limits_set(stack_worker(node->stack), 2, draw(world, 4) ? &node->limits : NULL);
	if (code != 0 && code != -EBUSY)
		world_fail(world, "c10m_limits_set failed with %d", code);
	node->due_us = 0;
}

static void jump(struct world *world, struct node *node)
{
	if (world->now_us < node->jump_at_us)
		return;
	node->jump_at_us = UINT64_MAX;
	node->clock_offset_us += node->jump_us;
	node->jumped_us += node->jump_us;
	node->due_us = 0;
}

static void change_path(struct world *world)
{
	struct faults *faults = &world->link.faults[draw(world, NODES)];

	if (draw(world, 2))
		faults->path_mtu = 552 + draw(world, 949);
	else
		faults->delay_us = one_in(world, 2) ? draw(world, 500) : draw(world, 100 * MS);
}

static void scheduled(struct world *world)
{
	if (!world->healed && world->now_us >= world->heal_us)
		heal(world);
	if (world->healed && world->now_us >= world->heal_us + PATIENCE_US)
		app_lose_patience(world);
	if (world->now_us >= world->rebuild_us) {
		for (unsigned i = 0; i < NODES; i++)
			stack_rebuild(world->nodes[i].stack, node_now(world, i));
		world->rebuild_us = UINT64_MAX;
	}
	if (world->now_us >= world->stop_us) {
		world->nodes[0].stopped = stack_stop(world->nodes[0].stack, node_now(world, 0));
		if (world->nodes[0].stopped)
			world->stop_us = UINT64_MAX;
		node_tx(world, 0);
	}
	if (one_in(world, 1000) && world->now_us < world->heal_us)
		change_path(world);
	for (unsigned i = 0; i < NODES; i++)
		jump(world, &world->nodes[i]);
	if (!world->strict && !world->healed && one_in(world, 1000))
		change_limits(world);
	vanish(world);
}

static uint64_t next_event_us(const struct world *world)
{
	uint64_t next_us = MIN_OF(link_next_us(&world->link), next_connect_us(world));

	for (unsigned i = 0; i < NODES; i++)
		next_us = MIN_OF(next_us, world->nodes[i].due_us);
	if (world->hostile.on)
		next_us = MIN_OF(next_us, world->hostile.next_us);
	if (!world->healed)
		next_us = MIN_OF(next_us, world->heal_us);
	else if (world->now_us < world->heal_us + PATIENCE_US)
		next_us = MIN_OF(next_us, world->heal_us + PATIENCE_US);
	next_us = MIN_OF(next_us, world->stop_us);
	return MAX_OF(next_us, world->now_us);
}

static void step(struct world *world)
{
	uint64_t next_us = next_event_us(world);

	if (next_us == UINT64_MAX)
		next_us = world->now_us + SECOND;
	world->now_us = next_us;
	scheduled(world);
	connect_due(world);
	if (world->hostile.on && world->now_us >= world->hostile.next_us)
		hostile_act(world);
	deliver(world);
	for (unsigned i = 0; i < NODES; i++) {
		if (world->nodes[i].due_us <= world->now_us)
			node_tx(world, i);
	}
	if (world->steps % 16 == 0) {
		for (unsigned i = 0; i < NODES; i++)
			windows_judge(world, i);
	}
	if (++world->steps % world->verify_gap == 0) {
		for (unsigned i = 0; i < NODES; i++)
			stack_verify(world->nodes[i].stack);
		app_check_timers(world);
	}
	if (world->steps > STEPS_MAX)
		world_fail(world, "no end after %llu steps", (unsigned long long)world->steps);
}

/* --- the end ------------------------------------------------------------------------------------- */

/* What a pool still holds; NULL when all are full again. */
static const char *unbalanced(const struct node *node)
{
	struct stack_usage usage;

	stack_usage(node->stack, &usage);
	if (usage.connections)
		return "connections";
	if (usage.half_open)
		return "half-open entries";
	if (usage.time_wait)
		return "TIME_WAIT entries";
	if (usage.table_entries)
		return "flow table entries";
	if (usage.extensions)
		return "extensions";
	if (usage.ranges)
		return "ranges";
	if (usage.source_connections)
		return "connections of sources";
	if (usage.replies)
		return "replies";
	if (usage.fanouts)
		return "fan-outs";
	if (usage.messages)
		return "messages";
	if (usage.groups)
		return "groups";
	for (unsigned i = 0; i < CHUNK_CLASSES; i++) {
		if (usage.chunks[i])
			return "chunks";
	}
	return NULL;
}

static void name_unfinished(struct world *world)
{
	for (uint32_t i = 0; i < 2 * world->conversation_count; i++) {
		struct conversation *conversation = &world->conversations[i / 2];
		const struct end *end = &conversation->ends[i % 2], *other = &conversation->ends[!(i % 2)];

		if (end->closed || !(end->opened || end->handle))
			continue;
		world_fail(world,
			   "conversation %u plan %u side %u did not end: sent %llu of %llu, received %llu of "
			   "%llu%s%s%s%s; the other sent %llu, received %llu%s%s%s%s",
			   conversation->id, conversation->plan, end->side, (unsigned long long)end->sent,
			   (unsigned long long)conversation->bytes[end->side],
			   (unsigned long long)end->received,
			   (unsigned long long)conversation->bytes[!end->side], end->eof ? " eof" : "",
			   end->paused ? " paused" : "", end->resting ? " resting" : "",
			   end->finishing ? " finishing" : "", (unsigned long long)other->sent,
			   (unsigned long long)other->received, other->eof ? " eof" : "",
			   other->paused ? " paused" : "", other->resting ? " resting" : "",
			   other->finishing ? " finishing" : "");
	}
	world_fail(world, "a conversation never began");
}

static void run_to_end(struct world *world)
{
	uint64_t finished_us;

	while (!world->healed || !app_all_finished(world)) {
		step(world);
		if (world->now_us > world->heal_us + LIVENESS_US)
			name_unfinished(world);
	}
	finished_us = world->now_us;
	for (unsigned i = 0; i < NODES; i++) {
		while (unbalanced(&world->nodes[i])) {
			step(world);
			if (world->now_us > finished_us + BALANCE_US)
				world_fail(world, "node %u never got all %s back", i,
					   unbalanced(&world->nodes[i]));
		}
	}
	app_check_end(world);
	for (unsigned i = 0; i < NODES; i++)
		stack_verify(world->nodes[i].stack);
}

uint64_t world_run(uint64_t seed, bool trace, struct counters *sum, char *failure, size_t failure_room)
{
	struct world *world = calloc(1, sizeof(*world));
	uint64_t hash;

	CHECK(world);
	world->seed = seed;
	world->trace = trace;
	world->failure = failure;
	world->failure_room = failure_room;
	world->random = random_seeded(seed);
	world->hash = ARENA_HASH_START;
	draw_world(world);
	draw_clocks(world);
	for (unsigned i = 0; i < NODES; i++)
		node_make(world, i);
	run_to_end(world);
	for (unsigned i = 0; i < NODES; i++) {
		counters_add(sum, stack_counters(world->nodes[i].stack));
		node_unmake(&world->nodes[i]);
	}
	link_free(&world->link);
	hash = world->hash;
	free(world);
	return hash;
}
