/* session.c - whole sessions: bytes become actions of peers, of time and of the application.
 * In: bytes of libFuzzer; see enum action in session.h for their grammar.  Out: CHECK, when an invariant
 * fails. Owns: one stack and what four peers know of their connections.
 *
 * Sequence numbers are relative to what a peer knows and checksums are right, so that sessions reach
 * ESTABLISHED and go on from there. Every payload byte is the low byte of its own sequence number:
 * what is delivered, and what the stack sends again, can be compared without being stored. */
#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../packet/cut.h"
#include "base/check.h"
#include "base/plant.h"
#include "base/seq.h"
#include "wire/ipv4.h"
#include "wire/print.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

struct app_state {
	uint8_t next; /* content of the next byte */
	uint8_t started;
	uint64_t sent;
};

struct run run;
static uint8_t *memory;
static bool tracing; /* SESSION_TRACE in the environment: every frame and event is printed */

static void trace(const char *what, const uint8_t *frame, uint32_t bytes)
{
	char text[300] = "";

	if (!tracing)
		return;
	if (frame)
		frame_print(frame, bytes, text, sizeof(text));
	fprintf(stderr, "%12.6f %s %s\n", (double)run.now_us / 1e6, what, text);
}

/* --- the application ---------------------------------------------------------------------- */

static struct peer *peer_of(c10m_conn *conn)
{
	struct c10m_endpoints endpoints;

	c10m_conn_endpoints(conn, &endpoints);
	CHECK(endpoints.local_address == STACK_IP && endpoints.remote_address == PEER_IP);
	return &run.peers[endpoints.remote_port % PEERS];
}

/* What an ended connection acknowledged and offered does not bind the next: a SYN sent again, or an old
 * segment with a cookie in it, opens one with the same numbers. */
static void on_open(c10m_conn *conn)
{
	struct peer *peer = peer_of(conn);

	trace("open", NULL, 0);
	peer->handle = c10m_conn_handle(conn);
	peer->acked = false;
	peer->fresh = run.count > 1;
}

static size_t on_data(c10m_conn *conn, const void *data, size_t bytes)
{
	struct app_state *state = c10m_conn_state(conn);
	const uint8_t *at = data;
	size_t taken = MIN_OF(bytes, run.consume);

	CHECK(bytes > 0);
	if (!state->started)
		state->next = at[0];
	state->started = 1;
	for (size_t i = 0; i < bytes; i++)
		CHECK(at[i] == (uint8_t)(state->next + i));
	state->next = (uint8_t)(state->next + taken);
	return taken;
}

static void on_timer(c10m_conn *conn)
{
	c10m_resume(conn);
}

static void on_close(c10m_conn *conn, enum c10m_close_reason reason)
{
	CHECK(reason <= C10M_CLOSE_MEMORY);
	trace("close", NULL, 0);
	peer_of(conn)->handle = 0;
}

/* Byte n of what the application sends is the low byte of n: its sequence number less the first. */
static void app_send(c10m_conn *conn, size_t bytes)
{
	struct app_state *state = c10m_conn_state(conn);
	static uint8_t data[65536];

	for (size_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(state->sent + i);
	state->sent += c10m_send(conn, data, bytes);
}

static const struct c10m_service services[2] = {
	{.name = "server",
	 .port = PORT,
	 .state_size = sizeof(struct app_state),
	 .on_open = on_open,
	 .on_data = on_data,
	 .on_timer = on_timer,
	 .on_close = on_close,
	 .keepalive_ms = 20000,
	 .receive_bytes = 5000,
	 .send_bytes = 20000},
	{.name = "client",
	 .flags = C10M_NODELAY,
	 .state_size = sizeof(struct app_state),
	 .on_open = on_open,
	 .on_data = on_data,
	 .on_timer = on_timer,
	 .on_close = on_close,
	 .user_timeout_ms = 30000,
	 .ecn = C10M_ECN_ASK},
};

/* --- what the stack sends -------------------------------------------------------------------- */

static void learn_window(struct peer *peer, const struct tcp_segment *segment)
{
	uint8_t scale = segment->flags & TCP_SYN ? 0 : peer->scale;
	uint32_t edge = segment->ack + ((uint32_t)segment->window << scale);

	if (peer->fresh || seq_lt(segment->ack, peer->iss)) /* of a connection before this one */
		return;
	/* The answer of a half-open entry waits in the ring of replies: the connection's own may overtake it.
	 */
	if (peer->acked && segment->ack == peer->iss + 1 && segment->seq == peer->irs + 1)
		return;
	CHECK(seq_leq(segment->ack, peer->snd_max));
	if (peer->acked) {
		CHECK(seq_leq(segment->ack, peer->edge_max + 1)); /* a FIN may stand at the edge */
		CHECK(seq_geq(segment->ack, peer->ack_max));
	} else {
		peer->edge_max = edge;
	}
	peer->acked = true;
	peer->ack_max = segment->ack;
	peer->edge_max = seq_max(peer->edge_max, edge);
}

static void learn(struct peer *peer, const struct tcp_segment *segment)
{
	if (segment->flags & TCP_RST)
		return;
	/* A SYN-ACK that the connection's own segments have overtaken in the same burst: sent again, or a
	 * cookie for a later SYN. */
	if (segment->flags & TCP_SYN && peer->handle && peer->irs_known)
		return;
	if (segment->flags & TCP_SYN) {
		if (!peer->irs_known || peer->irs != segment->seq || !peer->handle)
			peer->acked = false;
		peer->irs = segment->seq;
		peer->irs_known = true;
		peer->rcv_nxt = peer->ack_sent = segment->seq + 1;
		peer->timestamps = segment->options & TCP_OPT_TIMESTAMPS;
		peer->scale = segment->options & TCP_OPT_WSCALE ? segment->wscale : 0;
	}
	if (segment->options & TCP_OPT_TIMESTAMPS)
		peer->ts_seen = segment->ts_val;
	if (!peer->irs_known)
		return;
	for (uint32_t i = 0; i < segment->payload_bytes; i++)
		CHECK(segment->payload[i] == (uint8_t)(segment->seq + i - peer->irs - 1));
	peer->rcv_nxt = seq_max(peer->rcv_nxt, segment->seq + tcp_segment_length(segment));
	if (segment->flags & TCP_ACK)
		learn_window(peer, segment);
}

static void look(const uint8_t *frame, uint32_t bytes)
{
	struct eth_header eth;
	struct ipv4_header ip;
	struct tcp_segment segment;
	const uint8_t *at = frame + ETH_HEADER_BYTES;

	trace("<", frame, bytes);
	CHECK(eth_parse(frame, bytes, &eth) == DROP_NONE);
	if (eth.type != ETH_TYPE_IPV4)
		return;
	CHECK(ipv4_parse(at, bytes - ETH_HEADER_BYTES, &ip) == DROP_NONE);
	CHECK(bytes == ETH_HEADER_BYTES + (uint32_t)ip.total_bytes && ip.total_bytes <= 1500);
	if (ip.protocol != IP_PROTOCOL_TCP)
		return;
	at += ip.header_bytes;
	bytes = (uint32_t)ip.total_bytes - ip.header_bytes;
	CHECK(tcp_checksum_good(at, bytes, ip.source, ip.destination));
	CHECK(tcp_parse(at, bytes, &segment) == DROP_NONE);
	if (ip.destination == PEER_IP && segment.destination_port >= 5000 &&
	    segment.destination_port < 5000 + PEERS &&
	    segment.source_port == (run.peers[segment.destination_port % PEERS].active
					    ? LOCAL_PORT + segment.destination_port % PEERS
					    : PORT))
		learn(&run.peers[segment.destination_port % PEERS], &segment);
}

/* What a port does that completes checksums and cuts long frames. */
static void port_sends(const struct packet *packet)
{
	uint8_t frame[FRAME_ROOM];

	if (!packet->gso_bytes) {
		if (packet->checksum == PACKET_CSUM_PARTIAL)
			cut_complete(packet->data, packet->bytes, packet);
		look(packet->data, packet->bytes);
		return;
	}
	cut_check(packet);
	for (uint32_t at = 0; at < packet->bytes - packet->header_bytes; at += packet->gso_bytes)
		look(frame, cut_segment(packet, at, frame));
}

void transmit(uint32_t most)
{
	static uint8_t frames[16][LONG_ROOM];
	struct packet packets[16];
	uint32_t count, room;

	do {
		room = MIN_OF(most, 16u);
		for (uint32_t i = 0; i < room; i++)
			packets[i] = (struct packet){.data = frames[i], .room = LONG_ROOM};
		count = stack_tx(run.stack, run.now_us, packets, room);
		CHECK(count <= room);
		for (uint32_t i = 0; i < count; i++)
			port_sends(&packets[i]);
		most -= count;
	} while (count == room && most > 0);
	for (unsigned i = 0; i < PEERS; i++)
		run.peers[i].fresh = false;
}

void deliver(void)
{
	struct packet packets[STACK_BURST];
	uint8_t *copies[STACK_BURST];

	for (uint32_t i = 0; i < run.count; i++) {
		trace(" >", run.frames[i], run.bytes[i]);
		copies[i] = malloc(run.bytes[i] ? run.bytes[i] : 1); /* exact: a byte beyond it is seen */
		CHECK(copies[i]);
		memcpy(copies[i], run.frames[i], run.bytes[i]);
		packets[i] = (struct packet){.data = copies[i], .bytes = run.bytes[i]};
	}
	if (run.count > 0)
		stack_rx(run.stack, run.now_us, packets, run.count);
	for (uint32_t i = 0; i < run.count; i++)
		free(copies[i]);
	run.count = 0;
	run.burst = false;
}

/* --- the rest ------------------------------------------------------------------------------------- */

static void pass(uint64_t us)
{
	uint64_t target = run.now_us + us;
	unsigned calls = 0;

	for (;;) {
		uint64_t deadline = stack_deadline(run.stack);

		if (deadline > target)
			break;
		CHECK(deadline > run.now_us || calls < 1000);
		calls = deadline > run.now_us ? 0 : calls + 1;
		run.now_us = MAX_OF(run.now_us, deadline);
		transmit(1000);
	}
	run.now_us = target;
	transmit(1000);
}

static void act_connect(unsigned index)
{
	struct peer *peer = &run.peers[index];
	const struct c10m_connect_request request = {
		.service = 1,
		.remote_address = PEER_IP,
		.remote_port = (uint16_t)(5000 + index),
		.local_port = (uint16_t)(LOCAL_PORT + index),
	};

	if (peer->handle)
		return;
	act_reopen(index);
	peer->active = true;
	peer->handle = c10m_connect(stack_worker(run.stack), &request, NULL);
	transmit(1000);
}

static void act_app(enum action action, unsigned index)
{
	static const char *const algorithms[] = {"cubic", "newreno", "dctcp", "bbr"};
	uint32_t number = action == ACT_SEND || action == ACT_TIMER || action == ACT_ALGORITHM ? word() : 0;
	c10m_conn *conn = c10m_conn_find(stack_worker(run.stack), run.peers[index].handle);

	if (!conn)
		return;
	switch (action) {
	case ACT_SEND:
		app_send(conn, number);
		break;
	case ACT_CLOSE:
		c10m_close(conn);
		break;
	case ACT_SHUTDOWN:
		c10m_shutdown(conn);
		break;
	case ACT_ABORT:
		c10m_abort(conn);
		break;
	case ACT_RESUME:
		c10m_resume(conn);
		break;
	case ACT_ALGORITHM:
		c10m_set_congestion(conn, algorithms[number % ARRAY_COUNT(algorithms)]);
		break;
	default:
		c10m_set_timer(conn, number);
		break;
	}
	transmit(1000);
}

static const struct c10m_limits *make_limits(uint8_t rules)
{
	static const struct c10m_prefix denied = {.bits = 31, .address = {PEER_IP & ~1u}};

	run.limits = (struct c10m_limits){
		.deny = &denied,
		.deny_count = rules & RULE_DENY ? 1 : 0,
		.source_connections = rules & RULE_CAP ? 1 + (rules & RULE_FEW_KNOWN ? 1 : 0) : 0,
		.source_rate = rules & RULE_RATE ? 1 : 0,
		.source_burst = rules & RULE_RATE ? 2 : 0,
		.source_bits = rules & RULE_NETS ? 24 : 32,
		.flags = rules & RULE_RESET ? C10M_LIMITS_RESET : 0,
	};
	return rules ? &run.limits : NULL;
}

/* Whose source_bits change is counted anew, and for a while not changed again. */
static void act_limits(uint8_t rules)
{
	int result;

	stack_begin(run.stack, run.now_us);
	result = c10m_limits_set(stack_worker(run.stack), 0, make_limits(rules));
	CHECK(result == 0 || result == -EBUSY);
}

static void act_other(enum action action)
{
	uint64_t deadline;

	switch (action) {
	case ACT_PASS:
		pass(byte() * 1000u);
		break;
	case ACT_PASS_LONG:
		pass(byte() * 4000000ULL);
		break;
	case ACT_DEADLINE:
		deadline = stack_deadline(run.stack);
		if (deadline != UINT64_MAX && deadline > run.now_us && deadline < run.now_us + 1000000000ULL)
			pass(deadline - run.now_us);
		break;
	case ACT_CONSUME:
		run.consume = byte() * 8u;
		break;
	case ACT_CONNECT:
		act_connect(which());
		break;
	case ACT_REBUILD:
		stack_rebuild(run.stack, run.now_us);
		break;
	case ACT_REOPEN:
		act_reopen(which());
		break;
	case ACT_ONE_FRAME:
		transmit(1);
		break;
	case ACT_LIMITS:
		act_limits(byte());
		break;
	default:
		act_app(action, which());
		break;
	}
}

static void act(void)
{
	uint8_t number = byte();
	enum action action =
		(enum action)(number < ACT_LATER ? number % ACT_COUNT
						 : ACT_COUNT + (number - ACT_LATER) % (ACT_END - ACT_COUNT));

	if (act_frame(action))
		return;
	deliver();
	act_other(action);
}

static void start_services(uint8_t rules)
{
	memcpy(run.services, services, sizeof(services));
	for (unsigned i = 0; i < ARRAY_COUNT(services); i++) {
		run.services[i].first_byte_ms = rules & RULE_SILENCE ? 300 : 0;
		run.services[i].idle_ms = rules & RULE_SILENCE ? 2000 : 0;
		run.services[i].unsent_ms = rules & RULE_UNSENT ? 1500 : 0;
	}
	run.services[0].limits = make_limits(rules & (uint8_t) ~(RULE_SILENCE | RULE_UNSENT));
}

static void start(uint8_t choices, uint8_t rules)
{
	static struct arena_secrets secrets;
	struct arena arena;
	size_t bytes;
	struct stack_message neighbour = {
		.kind = STACK_SET_NEIGHBOUR, .address = PEER_IP, .mac = {{2, 0, 0, 0, 0, 2}}};

	memset(&run.peers, 0, sizeof(run.peers));
	run.config = (struct stack_config){
		.connections = choices & 1 ? 2 : 8,
		.half_open = choices & 2 ? 1 : 8,
		.time_wait = choices & 4 ? 1 : 8,
		.destinations = 8,
		.services = run.services,
		.service_count = 2,
		.sources = rules & RULE_FEW_KNOWN ? 1 : 8,
		.chunks = {.count = {choices & 8 ? 2 : 64, choices & 8 ? 2 : 32, choices & 8 ? 2 : 32}},
		.mac = {{2, 0, 0, 0, 0, 1}},
		.address = STACK_IP,
		.prefix_bits = 24,
		.gateway = 0x0a0000fe,
		.no_timestamps = choices & 16,
		.always_cookies = choices & 32,
		.tx_checksum = choices & 128,
		.tx_segmentation = choices & 128,
	};
	start_services(rules);
	run.now_us = choices & 64 ? ((1ULL << 32) - 3000) * 1000 : 0;
	run.count = 0;
	run.burst = false;
	run.ecn = 0;
	run.consume = SIZE_MAX;
	for (unsigned i = 0; i < PEERS; i++)
		run.peers[i].iss = run.peers[i].snd_nxt = run.peers[i].snd_max = ISS - (i << 8);
	for (unsigned i = 0; i < PEERS; i++)
		run.peers[i].ts_base = 0xfffff000u;
	memset(&secrets, 0x5a, sizeof(secrets));
	bytes = 8192 + stack_bytes(&run.config);
	CHECK(bytes <= ARENA_ROOM);
	memset(memory, 0, bytes);
	arena_init(&arena, memory, bytes, &secrets, 0);
	run.stack = stack_init(&arena, &run.config, run.now_us);
	CHECK(run.stack);
	stack_start(run.stack, run.now_us);
	CHECK(stack_control(run.stack, run.now_us, &neighbour) == 0);
}

static void finish(void)
{
	struct stack_usage usage;
	unsigned calls = 0;

	deliver();
	transmit(1000);
	stack_verify(run.stack);
	while (!stack_stop(run.stack, run.now_us)) {
		CHECK(++calls < 1000);
		transmit(1000);
	}
	transmit(1000);
	stack_verify(run.stack);
	stack_usage(run.stack, &usage);
	CHECK(usage.connections == 0 && usage.extensions == 0 && usage.ranges == 0);
	CHECK(usage.source_connections == 0);
	CHECK(usage.chunks[0] + usage.chunks[1] + usage.chunks[2] == 0);
	stack_fini(run.stack);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	run.at = data + 2;
	run.end = data + size;
	start(data[0], data[1]);
	for (unsigned i = 0; i < ACTIONS && run.at < run.end; i++)
		act();
	finish();
	return 0;
}

#ifdef C10M_PLANT
static void plant(const char *name)
{
	static const char *const names[PLANT_COUNT] = {
#define X(bug, text) [PLANT_##bug] = #bug,
		PLANTED_BUGS(X)
#undef X
	};

	for (unsigned i = 1; i < PLANT_COUNT; i++) {
		if (strcmp(name, names[i]) == 0)
			planted_bug = (enum planted_bug)i;
	}
	CHECK(planted_bug != PLANT_NONE);
}
#else
static void plant(const char *name)
{
	(void)name;
	CHECK(!"built without bugs: build with -Dplant=true");
}
#endif

/* PLANTED_BUG names a bug to find: see self_test.sh. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *bug = getenv("PLANTED_BUG");

	(void)argc;
	(void)argv;
	tracing = getenv("SESSION_TRACE");
	memory = aligned_alloc(4096, ARENA_ROOM);
	CHECK(memory);
	if (bug)
		plant(bug);
	return 0;
}
