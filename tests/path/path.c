/* path.c - two stacks, and the link between them in virtual time.
 * In: path.h's calls.  Out: bytes that arrived.  Owns: struct path. */
#include "path.h"

#include <stdlib.h>

#include "base/check.h"

#define SENDER_IP   0x0a000001u
#define RECEIVER_IP 0x0a000002u
#define FIRST_PORT  80
#define FRAME_ROOM  1520u
#define FRAMES      32768u
#define BURST       64u
#define WIRE_BYTES  24u /* preamble, checksum and gap */

struct wire_frame {
	uint64_t due_us;
	uint16_t bytes;
	uint8_t data[FRAME_ROOM];
};

/* One direction: first in, first out. */
struct pipe {
	struct wire_frame *frames;
	uint32_t first, count;
	uint32_t waiting;       /* the last so many have not left yet */
	uint64_t busy_until_ns; /* the link */
};

struct flow {
	struct path *path;
	c10m_conn *conn;
	uint64_t received, limit, sent;
};

struct end {
	struct stack *stack;
	void *memory;
	struct arena arena;
	struct c10m_service services[PATH_FLOWS];
	uint64_t wanted_us; /* when it was late */
};

struct path {
	struct path_config config;
	struct random random;
	uint64_t now_us;
	struct end ends[2];
	struct pipe pipes[2];
	uint64_t departs_us[FRAMES]; /* of what waits for the link, a ring beside pipes[0] */
	uint32_t depart_first, depart_count;
	struct flow flows[PATH_FLOWS];
	struct path_counts counts;
};

/* --- the applications */

static void on_writable(c10m_conn *conn)
{
	static const uint8_t zeros[65536];
	struct flow *flow = c10m_conn_user(conn);

	flow->conn = conn;
	for (size_t took = 1; took && flow->sent < flow->limit; flow->sent += took)
		took = c10m_send(conn, zeros, MIN_OF(sizeof(zeros), flow->limit - flow->sent));
}

static size_t on_data(c10m_conn *conn, const void *data, size_t bytes)
{
	struct flow *flow = c10m_conn_user(conn);

	(void)data;
	flow->received += bytes;
	return bytes;
}

static void on_close(c10m_conn *conn, enum c10m_close_reason reason)
{
	(void)conn;
	(void)reason;
	check_failed(__FILE__, __LINE__, "a connection of a path goes on");
}

/* --- the ends */

static void make_services(struct path *path, unsigned which)
{
	const struct path_config *config = &path->config;

	for (unsigned i = 0; i < config->flows; i++) {
		path->flows[i] = (struct flow){.path = path, .limit = UINT64_MAX};
		path->ends[which].services[i] = (struct c10m_service){
			.name = "path",
			.port = (uint16_t)(which ? FIRST_PORT + i : 0),
			.user = &path->flows[i],
			.on_open = which ? NULL : on_writable,
			.on_writable = on_writable,
			.on_data = on_data,
			.on_close = on_close,
			.receive_bytes = config->window_bytes,
			.send_bytes = config->window_bytes,
			.congestion = which ? NULL : config->algorithms[i],
			.congestion_control = which || i ? NULL : config->own,
			.flags = config->paced ? C10M_PACED : 0,
		};
	}
}

static void make_end(struct path *path, unsigned which)
{
	struct end *end = &path->ends[which];
	struct stack_config config = {
		.id = (uint8_t)which,
		.connections = 64,
		.services = end->services,
		.service_count = path->config.flows,
		.address = which ? RECEIVER_IP : SENDER_IP,
		.prefix_bits = 24,
		.mac.octets = {2, 0, 0, 0, 0, (uint8_t)(1 + which)},
		.extensions = path->config.extensions,
		.ranges = path->config.ranges ? path->config.ranges : 16384,
		.no_timestamps = path->config.no_timestamps,
		.no_sack = path->config.no_sack,
	};
	struct stack_message peer = {.kind = STACK_SET_NEIGHBOUR,
				     .address = which ? SENDER_IP : RECEIVER_IP,
				     .mac.octets = {2, 0, 0, 0, 0, (uint8_t)(2 - which)}};
	struct arena_secrets secrets;
	struct random random = random_seeded(path->config.seed * 2 + which);
	size_t bytes;

	for (uint32_t i = 0; i < CHUNK_CLASSES; i++)
		config.chunks.count[i] = path->config.window_bytes / 1400 * path->config.flows + 1000;
	for (size_t i = 0; i < sizeof(secrets); i++)
		((uint8_t *)&secrets)[i] = (uint8_t)random_next(&random);
	make_services(path, which);
	bytes = ALIGN_UP(ALIGN_UP(sizeof(struct arena_header), (size_t)4096) + stack_bytes(&config),
			 (size_t)4096);
	end->memory = aligned_alloc(4096, bytes);
	CHECK(end->memory);
	memset(end->memory, 0, bytes);
	arena_init(&end->arena, end->memory, bytes, &secrets, 0);
	end->stack = stack_init(&end->arena, &config, path->now_us);
	CHECK(end->stack);
	stack_start(end->stack, path->now_us);
	CHECK(stack_control(end->stack, path->now_us, &peer) == 0);
}

struct path *path_begin(const struct path_config *config)
{
	struct path *path = calloc(1, sizeof(*path));

	CHECK(path && config->flows <= PATH_FLOWS && config->rate_bps);
	path->config = *config;
	path->config.flows = MAX_OF(config->flows, 1u);
	path->config.queue_frames = config->queue_frames ? config->queue_frames : 1000;
	path->config.window_bytes = config->window_bytes ? config->window_bytes : 8u << 20;
	path->random = random_seeded(config->seed);
	path->now_us = 1000000;
	for (unsigned i = 0; i < 2; i++) {
		path->pipes[i].frames = calloc(FRAMES, sizeof(*path->pipes[i].frames));
		CHECK(path->pipes[i].frames);
		make_end(path, i);
	}
	return path;
}

void path_end(struct path *path)
{
	for (unsigned i = 0; i < 2; i++) {
		stack_verify(path->ends[i].stack);
		stack_fini(path->ends[i].stack);
		free(path->ends[i].memory);
		free(path->pipes[i].frames);
	}
	free(path);
}

/* --- the link */

static void put_on_way(struct path *path, unsigned from, const struct packet *packet, uint64_t due_us)
{
	struct pipe *pipe = &path->pipes[from];
	struct wire_frame *frame = &pipe->frames[(pipe->first + pipe->count) % FRAMES];

	CHECK(pipe->count < FRAMES && packet->bytes <= FRAME_ROOM);
	pipe->count++;
	frame->due_us = due_us;
	frame->bytes = (uint16_t)packet->bytes;
	memcpy(frame->data, packet->data, packet->bytes);
}

static void departed(struct path *path)
{
	while (path->depart_count && path->departs_us[path->depart_first] <= path->now_us) {
		path->depart_first = (path->depart_first + 1) % FRAMES;
		path->depart_count--;
	}
}

static void mark(struct path *path, uint8_t *frame)
{
	uint8_t *ip = frame + ETH_HEADER_BYTES;
	uint16_t sum;

	if (!(ip[1] & 3) || !path->config.mark_frames || path->depart_count < path->config.mark_frames)
		return;
	ip[1] |= 3;
	ip[10] = ip[11] = 0;
	sum = csum_finish(csum_add(0, ip, IPV4_HEADER_BYTES));
	memcpy(ip + 10, &sum, sizeof(sum));
	path->counts.marked++;
}

/* What is lost by chance is lost behind the link, and has taken its time. */
static void through_the_link(struct path *path, const struct packet *packet)
{
	struct pipe *pipe = &path->pipes[0];
	uint64_t ns = (packet->bytes + WIRE_BYTES) * 8000000000ULL / path->config.rate_bps;

	departed(path);
	if (path->depart_count >= path->config.queue_frames) {
		path->counts.dropped++;
		return;
	}
	mark(path, packet->data);
	pipe->busy_until_ns = MAX_OF(pipe->busy_until_ns, path->now_us * 1000) + ns;
	path->departs_us[(path->depart_first + path->depart_count++) % FRAMES] = pipe->busy_until_ns / 1000;
	path->counts.queued_most = MAX_OF(path->counts.queued_most, path->depart_count);
	if (random_below(&path->random, 10000) < path->config.loss) {
		path->counts.lost++;
		return;
	}
	put_on_way(path, 0, packet, pipe->busy_until_ns / 1000 + path->config.delay_us);
}

static void end_sends(struct path *path, unsigned which)
{
	static uint8_t frames[BURST][FRAME_ROOM];
	struct packet packets[BURST];
	uint32_t count;

	do {
		for (unsigned i = 0; i < BURST; i++)
			packets[i] = (struct packet){.data = frames[i], .room = FRAME_ROOM};
		count = stack_tx(path->ends[which].stack, path->now_us, packets, BURST);
		for (unsigned i = 0; i < count; i++) {
			if (which)
				put_on_way(path, 1, &packets[i], path->now_us + path->config.delay_us);
			else
				through_the_link(path, &packets[i]);
		}
	} while (count == BURST);
}

/* When the end is given what comes next: together with what comes a little later, where it gathers. */
static uint64_t arrival_us(const struct path *path, unsigned from)
{
	const struct pipe *pipe = &path->pipes[from];
	uint64_t gather_us = from == 0 ? path->config.gather_us : 0, due_us;

	if (pipe->count == 0)
		return UINT64_MAX;
	due_us = pipe->frames[pipe->first].due_us;
	return gather_us ? (due_us + gather_us - 1) / gather_us * gather_us : due_us;
}

static void end_receives(struct path *path, unsigned from)
{
	struct pipe *pipe = &path->pipes[from];
	struct packet packets[BURST];

	while (arrival_us(path, from) <= path->now_us) {
		uint32_t count = 0;

		while (count < BURST && pipe->count && pipe->frames[pipe->first].due_us <= path->now_us) {
			struct wire_frame *frame = &pipe->frames[pipe->first];

			packets[count++] = (struct packet){.data = frame->data, .bytes = frame->bytes};
			pipe->first = (pipe->first + 1) % FRAMES;
			pipe->count--;
		}
		stack_rx(path->ends[!from].stack, path->now_us, packets, count);
	}
}

/* A worker that shares its processor comes late. */
static uint64_t due_us(struct path *path, unsigned which)
{
	uint64_t us = stack_deadline(path->ends[which].stack);
	struct end *end = &path->ends[which];

	if (!path->config.tx_late_us || which || us == UINT64_MAX)
		return us;
	if (end->wanted_us < path->now_us)
		end->wanted_us = MAX_OF(us, path->now_us) +
				 random_below(&path->random, path->config.tx_late_us);
	return MAX_OF(us, end->wanted_us);
}

void path_run(struct path *path, uint64_t us)
{
	uint64_t until_us = path->now_us + us, next_us;

	for (;;) {
		next_us = MIN_OF(arrival_us(path, 0), arrival_us(path, 1));
		next_us = MIN_OF(next_us, MIN_OF(due_us(path, 0), due_us(path, 1)));
		if (next_us > until_us)
			break;
		path->now_us = MAX_OF(path->now_us, next_us);
		for (unsigned i = 0; i < 2; i++)
			end_receives(path, i);
		for (unsigned i = 0; i < 2; i++)
			end_sends(path, i);
	}
	path->now_us = until_us;
}

/* --- what tests do and ask */

void path_open(struct path *path, unsigned flow)
{
	const struct c10m_connect_request request = {
		.service = flow, .remote_address = RECEIVER_IP, .remote_port = (uint16_t)(FIRST_PORT + flow)};

	stack_begin(path->ends[0].stack, path->now_us);
	CHECK(c10m_connect(stack_worker(path->ends[0].stack), &request, NULL));
	end_sends(path, 0);
}

void path_limit(struct path *path, unsigned flow, uint64_t bytes)
{
	struct flow *at = &path->flows[flow];

	at->limit = bytes == UINT64_MAX ? bytes : at->sent + bytes;
	if (!at->conn)
		return;
	stack_begin(path->ends[0].stack, path->now_us);
	on_writable(at->conn);
	end_sends(path, 0);
}

void path_change(struct path *path, uint64_t rate_bps, uint32_t delay_us, uint32_t loss)
{
	path->config.rate_bps = rate_bps;
	path->config.delay_us = delay_us;
	path->config.loss = loss;
}

uint64_t path_now_us(const struct path *path)
{
	return path->now_us;
}

uint64_t path_received(const struct path *path, unsigned flow)
{
	return path->flows[flow].received;
}

struct tcb *path_block(const struct path *path, unsigned flow)
{
	return (struct tcb *)path->flows[flow].conn;
}

struct core *path_core(const struct path *path)
{
	return &path->ends[0].stack->core;
}

struct path_counts path_counts(struct path *path)
{
	struct path_counts counts = path->counts;

	path->counts = (struct path_counts){0};
	return counts;
}

uint32_t path_queued(const struct path *path)
{
	return path->depart_count;
}

void path_rebuild(struct path *path)
{
	stack_rebuild(path->ends[0].stack, path->now_us);
	stack_verify(path->ends[0].stack);
}
