/* train.c - what a server does most, on a clock of its own: from it a release build learns which way each
 * branch of the core goes (-Dtrain, src/meson.build). The same each time, so that two builds agree.
 *
 * Connections are opened; requests come in bursts, first often enough to carry the acknowledgements along,
 * then so rarely that most of these come alone.
 * In: nothing; or which of the two kinds, often or rarely, and how many requests, for who counts instructions
 * (./dev bench instructions). Out: the counters that the compiler has put into the core. Owns: arena, peers,
 * frames. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench_server.h"

#define CONNECTIONS 60000u
#define REQUESTS    500000ul /* of each kind */
#define BURST       32u
#define OFTEN_US    8u /* for a burst of requests: 4 million a second */
#define RARELY_US   60u
#define FRAME_BYTES 2048u
#define PAGE_BYTES  ((size_t)2 << 20)

struct training {
	struct stack *stack;
	struct peers peers;
	uint64_t now_us, asked;
	struct packet in[BURST], out[BURST];
	uint32_t in_count;
	uint8_t frames[2 * BURST][FRAME_BYTES];
};

static void *zeroed(size_t bytes)
{
	size_t whole = (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
	void *memory = aligned_alloc(PAGE_BYTES, whole);

	if (!memory) {
		fprintf(stderr, "train: no memory for %zu MB\n", whole >> 20);
		exit(1);
	}
	return memset(memory, 0, whole);
}

static void set_up(struct training *training)
{
	const struct arena_secrets secrets = {.random_state = {1, 2}};
	struct stack_config config;
	struct arena arena;
	size_t bytes;

	bench_server_name(&training->peers, CONNECTIONS);
	bench_server_configure(&training->peers, &bench_echo, &config);
	bytes = bench_server_bytes(&config);
	arena_init(&arena, zeroed(bytes), bytes, &secrets, 0);
	if (bench_server_start(&arena, &config, &training->peers, &training->stack) < 0) {
		fprintf(stderr, "train: the stack cannot start\n");
		exit(1);
	}
	peers_init(&training->peers, zeroed(peers_bytes(CONNECTIONS)));
}

static void add(struct training *training, uint32_t bytes)
{
	training->in[training->in_count++].bytes = bytes;
}

static uint8_t *next_frame(struct training *training)
{
	struct packet *packet = &training->in[training->in_count];

	*packet = (struct packet){.data = training->frames[training->in_count]};
	return packet->data;
}

/* The burst goes in, all answers come out and to their peers. */
static void run(struct training *training, uint32_t us)
{
	uint32_t sent;

	training->now_us += us;
	stack_rx(training->stack, training->now_us, training->in, training->in_count);
	training->in_count = 0;
	do {
		for (uint32_t i = 0; i < BURST; i++)
			training->out[i] = (struct packet){.data = training->frames[BURST + i],
							   .room = FRAME_BYTES};
		sent = stack_tx(training->stack, training->now_us, training->out, BURST);
		for (uint32_t i = 0; i < sent; i++)
			peers_take(&training->peers, training->out[i].data, training->out[i].bytes,
				   training->now_us);
	} while (sent == BURST);
}

static void open_all(struct training *training)
{
	for (uint32_t first = 0; first < CONNECTIONS; first += BURST) {
		for (uint32_t i = first; i < first + BURST; i++)
			add(training, peers_syn(&training->peers, i, next_frame(training), training->now_us));
		run(training, OFTEN_US);
		for (uint32_t i = first; i < first + BURST; i++)
			add(training,
			    peers_complete(&training->peers, i, next_frame(training), training->now_us));
		run(training, OFTEN_US);
	}
}

/* Requests of `count` peers drawn at random, and the acknowledgements that are due. */
static void ask(struct training *training, unsigned long wanted, uint32_t us)
{
	for (unsigned long requests = 0; requests < wanted; run(training, us)) {
		while (training->in_count < BURST) {
			uint32_t peer, bytes = peers_due_ack(&training->peers, next_frame(training),
							     training->now_us);

			if (bytes == 0) {
				peer = peers_pick(&training->peers);
				bytes = peers_request(&training->peers, peer, next_frame(training),
						      training->now_us);
				requests++;
				training->asked++;
			}
			add(training, bytes);
		}
	}
}

int main(int argc, char **argv)
{
	static struct training training;
	unsigned long wanted = argc == 3 ? strtoul(argv[2], NULL, 10) : REQUESTS;

	set_up(&training);
	open_all(&training);
	if (argc < 2 || strcmp(argv[1], "often") == 0)
		ask(&training, wanted, OFTEN_US);
	if (argc < 2 || strcmp(argv[1], "rarely") == 0)
		ask(&training, wanted, RARELY_US);
	if (training.peers.stats.requests == training.asked && training.peers.stats.wrong == 0)
		return 0;
	fprintf(stderr,
		"train: %llu of %llu requests were answered, %llu frames were wrong (%s): the core is "
		"broken.\n"
		"train: -Dtrain=false builds it without training, so that its tests can say more\n",
		(unsigned long long)training.peers.stats.requests, (unsigned long long)training.asked,
		(unsigned long long)training.peers.stats.wrong, training.peers.wrong);
	return 1;
}
