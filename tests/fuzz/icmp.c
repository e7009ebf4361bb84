/* icmp.c - any ICMP messages, and IPv4 headers with any options, at a stack that has a connection with data
 * in flight and a router. In: bytes of libFuzzer: a kind, a code, a second word; then a quote that is random,
 * or of the connection with what the input says changed.  Checksums are right.  Whatever comes, the stack
 * keeps its invariants, sends a bounded number of frames, none of them an error about an error, and the
 * connection lives on. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "stack/internal.h"
#include "wire/icmp.h"

#define OUR_IP  0x0a000001u
#define PEER_IP 0x0a080002u
#define ROUTER  0x0a0000feu
#define PORT    80
#define IP_AT   ETH_HEADER_BYTES
#define BODY_AT (ETH_HEADER_BYTES + IPV4_HEADER_BYTES)
#define FRAMES  64u
#define ROOM    2048u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t frames[FRAMES][ROOM];
static unsigned closed;

static void on_close(c10m_conn *conn, enum c10m_close_reason reason)
{
	(void)conn;
	(void)reason;
	closed++;
}

struct world {
	struct stack *stack;
	uint64_t now_us;
	uint32_t seq; /* of the stack's SYN */
	bool answering;
};

static void headers(uint8_t *frame, uint32_t source, uint8_t protocol, uint32_t bytes)
{
	struct eth_header eth = {{{2, 0, 0, 0, 0, 1}}, {{2, 0, 0, 0, 0, 2}}, ETH_TYPE_IPV4};
	struct ipv4_header ip = {.source = source,
				 .destination = OUR_IP,
				 .ttl = 9,
				 .protocol = protocol,
				 .total_bytes = (uint16_t)(IPV4_HEADER_BYTES + bytes)};

	eth_emit(frame, &eth);
	ipv4_emit(frame + IP_AT, &ip);
}

/* Everything that waits goes out; the last TCP segment's sequence number. */
static uint32_t drain(struct world *world, uint32_t seq)
{
	struct packet packets[FRAMES];
	uint32_t count, rounds = 0;

	do {
		CHECK(++rounds < 100);
		for (uint32_t i = 0; i < FRAMES; i++)
			packets[i] = (struct packet){.data = frames[i], .room = ROOM};
		count = stack_tx(world->stack, world->now_us, packets, FRAMES);
		for (uint32_t i = 0; i < count; i++) {
			if (frames[i][IP_AT + 9] == IP_PROTOCOL_TCP)
				seq = get32(frames[i] + BODY_AT + 4);
			if (frames[i][IP_AT + 9] == IP_PROTOCOL_ICMP && world->answering)
				CHECK(!icmp_is_error(frames[i][BODY_AT]));
		}
	} while (count == FRAMES);
	return seq;
}

static void give(struct world *world, const uint8_t *frame, uint32_t bytes)
{
	uint8_t *copy = malloc(bytes);
	struct packet packet = {.data = copy, .bytes = bytes};

	CHECK(copy);
	memcpy(copy, frame, bytes);
	stack_rx(world->stack, world->now_us, &packet, 1);
	free(copy);
}

static void segment(struct world *world, struct tcp_segment *segment)
{
	uint8_t frame[256];
	uint32_t bytes;

	segment->source_port = 40000;
	segment->destination_port = PORT;
	segment->window = 60000;
	bytes = tcp_emit(frame + BODY_AT, segment);
	headers(frame, PEER_IP, IP_PROTOCOL_TCP, bytes);
	tcp_store_checksum(frame + BODY_AT, bytes, 0, 0, PEER_IP, OUR_IP);
	give(world, frame, BODY_AT + bytes);
}

static void on_open(c10m_conn *conn)
{
	static const uint8_t bytes[3000];

	c10m_send(conn, bytes, sizeof(bytes));
}

static void open_connection(struct world *world)
{
	struct tcp_segment syn = {.flags = TCP_SYN, .seq = 100}, ack = {.flags = TCP_ACK, .seq = 101};
	struct stack_message message = {
		.kind = STACK_SET_NEIGHBOUR, .address = ROUTER, .mac = {{2, 0, 0, 0, 0, 2}}};

	stack_control(world->stack, world->now_us, &message);
	segment(world, &syn);
	world->seq = drain(world, 0);
	ack.ack = world->seq + 1;
	segment(world, &ack);
	drain(world, 0);
	world->answering = true;
}

/* The packet that an error quotes: ours, but for what the input changes. */
static uint32_t quote(struct world *world, uint8_t *at, const uint8_t *data, uint32_t size)
{
	struct ipv4_header ip = {.source = OUR_IP,
				 .destination = PEER_IP,
				 .ttl = 60,
				 .protocol = IP_PROTOCOL_TCP,
				 .total_bytes = 1500};

	ipv4_emit(at, &ip);
	put16(at + 20, PORT);
	put16(at + 22, 40000);
	put32(at + 24, world->seq + 1);
	for (uint32_t i = 0; i + 1 < size; i += 2)
		at[data[i] % 28] ^= data[i + 1];
	return 28;
}

static void seal(uint8_t *frame, uint32_t total)
{
	uint8_t *ip = frame + IP_AT, *icmp = ip + (ip[0] & 15u) * 4;
	uint32_t bytes = total - (uint32_t)(icmp - frame);
	uint16_t check;

	if (ip[9] == IP_PROTOCOL_ICMP && bytes >= 8) {
		put16(icmp + 2, 0);
		check = csum_finish(csum_add(0, icmp, bytes));
		memcpy(icmp + 2, &check, sizeof(check));
	}
	put16(ip + 10, 0);
	check = csum_finish(csum_add(0, ip, (ip[0] & 15u) * 4));
	memcpy(ip + 10, &check, sizeof(check));
}

/* One action: what it is, how many bytes of input belong to it. */
static void act(struct world *world, uint8_t action, const uint8_t *data, uint32_t size)
{
	uint8_t frame[700] = {0};
	uint32_t options = action >> 4 & 3, body = 0, at = BODY_AT + 4 * options;

	headers(frame, action & 1 ? ROUTER : PEER_IP, IP_PROTOCOL_ICMP, 0);
	for (uint32_t i = 0; i < 4 * options && i < size; i++)
		frame[BODY_AT + i] = data[i];
	frame[IP_AT] = (uint8_t)(0x45 + options);
	if (size > 12) {
		memcpy(frame + at, data + 4, 8);
		body = 8;
		if (action & 2) {
			body += quote(world, frame + at + 8, data + 12, size - 12);
		} else {
			memcpy(frame + at + 8, data + 12, size - 12);
			body += size - 12;
		}
	}
	if (action & 4)
		frame[IP_AT + 9] = 0x11; /* UDP, which nobody takes */
	world->answering = !(action & 4) && !options;
	put16(frame + IP_AT + 2, (uint16_t)(at - IP_AT + body));
	seal(frame, at + body);
	give(world, frame, at + body);
	world->now_us += action & 8 ? 50000 : 10;
	drain(world, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t *memory;
	const struct c10m_service service = {
		.name = "fuzz", .port = PORT, .on_open = on_open, .on_close = on_close};
	const struct stack_config config = {.connections = 8,
					    .services = &service,
					    .service_count = 1,
					    .mac = {{2, 0, 0, 0, 0, 1}},
					    .address = OUR_IP,
					    .prefix_bits = 24,
					    .gateway = ROUTER};
	const struct arena_secrets secrets = {0};
	size_t bytes = (stack_bytes(&config) + 8191) / 4096 * 4096;
	struct world world = {.now_us = 1};
	struct arena arena;

	if (!memory)
		memory = aligned_alloc(4096, bytes);
	CHECK(memory);
	memset(memory, 0, 4096);
	closed = 0;
	arena_init(&arena, memory, bytes, &secrets, 0);
	world.stack = stack_init(&arena, &config, world.now_us);
	CHECK(world.stack);
	stack_start(world.stack, world.now_us);
	open_connection(&world);
	while (size > 2) {
		uint32_t part = MIN_OF((uint32_t)data[1], (uint32_t)(size - 2));

		act(&world, data[0], data + 2, part);
		data += 2 + part;
		size -= 2 + part;
	}
	stack_verify(world.stack);
	CHECK(closed == 0); /* an error about an open connection is a hint, and no more (RFC 5927) */
	stack_fini(world.stack);
	return 0;
}
