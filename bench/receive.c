/* receive.c - what a segment of a stream costs that comes in: bursts of frames for one stack, without a port.
 *
 * Some streams, each with so many segments in a row (--run) in every burst; the application takes all bytes
 * and does nothing with them. Frames are made, and acknowledgements taken, untimed. In: options. Out:
 * nanoseconds a segment, the acknowledgements that it took. Owns: arena, peers, frames. */
#include <getopt.h>
#include <inttypes.h>

#include "bench/micro.h"
#include "cli/bench_peers.h"
#include "stack/stack.h"
#include "wire/bytes.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

#define BURST          64u
#define FRAME_BYTES    2048u
#define TCP_AT         (ETH_HEADER_BYTES + IPV4_HEADER_BYTES)
#define SERVER_ADDRESS 0xc0a80001u
#define GATEWAY        0xc0a800feu
#define BURST_US       50u
#define POOLS_FOR      100000u /* connections: memory enough that windows stay open */

struct options {
	uint32_t connections, run, payload, seconds;
	bool verified;
};

struct bench {
	struct options options;
	struct stack *stack;
	struct peers peers;
	uint64_t now_us, ns, segments, frames_out, taken;
	uint32_t next; /* peer */
	struct packet in[BURST], out[BURST];
	uint8_t frames[2 * BURST][FRAME_BYTES];
	uint8_t payload[FRAME_BYTES];
};

static struct bench bench;

static size_t on_data(c10m_conn *conn, const void *data, size_t len)
{
	(void)conn;
	(void)data;
	bench.taken += len;
	return len;
}

static const struct c10m_service discard = {
	.name = "discard",
	.port = 9,
	.receive_bytes = 1 << 20, /* a burst of one stream fits */
	.on_data = on_data,
};

static void set_up(void)
{
	const struct stack_config config = {
		.connections = POOLS_FOR + bench.options.connections,
		.services = &discard,
		.service_count = 1,
		.mac = {{2, 0, 0, 0, 0, 1}},
		.address = SERVER_ADDRESS,
		.prefix_bits = 24,
		.gateway = GATEWAY,
	};
	const struct stack_message neighbour = {
		.kind = STACK_SET_NEIGHBOUR, .address = GATEWAY, .mac = {{2, 0, 0, 0, 0, 2}}};
	const struct arena_secrets secrets = {.random_state = {1, 2}};
	size_t bytes = stack_bytes(&config) + 65536;
	struct arena arena;

	arena_init(&arena, micro_map(bytes), bytes, &secrets, 0);
	bench.stack = stack_init(&arena, &config, 0);
	stack_start(bench.stack, 0);
	stack_control(bench.stack, 0, &neighbour);
	bench.peers.count = bench.options.connections;
	bench.peers.server = SERVER_ADDRESS;
	bench.peers.port = discard.port;
	bench.peers.server_mac = config.mac;
	bench.peers.gateway_mac = neighbour.mac;
	peers_init(&bench.peers, micro_map(peers_bytes(bench.peers.count)));
	for (uint32_t i = 0; i < FRAME_BYTES; i++)
		bench.payload[i] = (uint8_t)(i * 7);
}

/* The peers hear what is sent; how many frames that were. */
static uint32_t exchange(uint32_t count, bool timed)
{
	uint64_t begun_ns;
	uint32_t sent, all = 0;

	bench.now_us += BURST_US;
	begun_ns = micro_now_ns();
	stack_rx(bench.stack, bench.now_us, bench.in, count);
	bench.ns += timed ? micro_now_ns() - begun_ns : 0;
	do {
		for (uint32_t i = 0; i < BURST; i++)
			bench.out[i] = (struct packet){.data = bench.frames[BURST + i], .room = FRAME_BYTES};
		begun_ns = micro_now_ns();
		sent = stack_tx(bench.stack, bench.now_us, bench.out, BURST);
		bench.ns += timed ? micro_now_ns() - begun_ns : 0;
		for (uint32_t i = 0; i < sent; i++)
			peers_take(&bench.peers, bench.out[i].data, bench.out[i].bytes, bench.now_us);
		all += sent;
	} while (sent == BURST);
	return all;
}

static uint8_t *frame_at(uint32_t i, uint32_t bytes)
{
	bench.in[i] = (struct packet){
		.data = bench.frames[i],
		.bytes = bytes,
		.checksum = bench.options.verified ? PACKET_CSUM_VERIFIED : PACKET_CSUM_NONE,
	};
	return bench.frames[i];
}

static void open_all(void)
{
	for (uint32_t i = 0; i < bench.peers.count; i++) {
		bench.in[0].bytes = peers_syn(&bench.peers, i, frame_at(0, 0), bench.now_us);
		exchange(1, false);
		bench.in[0].bytes = peers_complete(&bench.peers, i, frame_at(0, 0), bench.now_us);
		exchange(1, false);
	}
}

/* The headers are a request's, with another payload behind them. */
static uint32_t write_segment(uint32_t index, uint8_t *frame)
{
	struct peer *peer = &bench.peers.peer[index];
	uint32_t payload = bench.options.payload, source, sum;
	struct tcp_segment segment;
	struct ipv4_header ip;
	struct peer before = *peer;

	peers_request(&bench.peers, index, frame, bench.now_us);
	bench.peers.idle++;
	*peer = before;
	ipv4_parse(frame + ETH_HEADER_BYTES, FRAME_BYTES, &ip);
	source = ip.source;
	tcp_parse(frame + TCP_AT, (size_t)ip.total_bytes - IPV4_HEADER_BYTES, &segment);
	sum = csum_copy(0, frame + TCP_AT + segment.header_bytes, bench.payload, payload);
	ip.total_bytes = (uint16_t)(IPV4_HEADER_BYTES + segment.header_bytes + payload);
	ipv4_emit(frame + ETH_HEADER_BYTES, &ip);
	put16(frame + TCP_AT + 16, 0);
	tcp_store_checksum(frame + TCP_AT, segment.header_bytes, payload, sum, source, SERVER_ADDRESS);
	peer->seq += payload;
	return ETH_HEADER_BYTES + ip.total_bytes;
}

static void one_burst(bool timed)
{
	for (uint32_t i = 0; i < BURST; i++) {
		uint8_t *frame = frame_at(i, 0);

		bench.in[i].bytes = write_segment(bench.next, frame);
		if ((i + 1) % bench.options.run == 0)
			bench.next = (bench.next + 1) % bench.peers.count;
	}
	bench.frames_out += exchange(BURST, timed);
	bench.segments += BURST;
}

static void parse(int argc, char **argv, struct options *options)
{
	static const struct option names[] = {
		{"connections", required_argument, NULL, 'c'}, {"run", required_argument, NULL, 'r'},
		{"payload", required_argument, NULL, 'p'},     {"seconds", required_argument, NULL, 's'},
		{"verified", no_argument, NULL, 'v'},          {NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
		uint32_t value = optarg ? (uint32_t)strtoul(optarg, NULL, 10) : 0;

		switch (option) {
		case 'c':
			options->connections = value;
			break;
		case 'r':
			options->run = value;
			break;
		case 'p':
			options->payload = value;
			break;
		case 's':
			options->seconds = value;
			break;
		case 'v':
			options->verified = true;
			break;
		default:
			fprintf(stderr, "usage: receive [--connections N] [--run SEGMENTS] [--payload BYTES] "
					"[--seconds N] [--verified]\n");
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	uint32_t payload;
	uint64_t end_ns;

	bench.options = (struct options){.connections = 64, .run = 64, .payload = 1448, .seconds = 2};
	parse(argc, argv, &bench.options);
	set_up();
	open_all();
	payload = bench.options.payload;
	bench.options.payload = 64; /* the window of a SYN is 64 KB at most */
	for (uint32_t i = 0; i < 10000; i++)
		one_burst(false);
	bench.options.payload = payload;
	bench.ns = bench.segments = bench.frames_out = bench.taken = 0;
	end_ns = micro_now_ns() + bench.options.seconds * 1000000000ull;
	while (micro_now_ns() < end_ns)
		one_burst(true);
	if (bench.taken != bench.segments * bench.options.payload) {
		fprintf(stderr, "receive: %" PRIu64 " bytes of %" PRIu64 " were taken\n", bench.taken,
			bench.segments * bench.options.payload);
		return 1;
	}
	printf("%u streams, %u segments of %u bytes in a row%s: %.1f ns a segment, %.3f frames sent for "
	       "each\n",
	       bench.options.connections, bench.options.run, bench.options.payload,
	       bench.options.verified ? ", verified" : "", (double)bench.ns / (double)bench.segments,
	       (double)bench.frames_out / (double)bench.segments);
	return 0;
}
