/* bench_stack.c - one stack a worker, very many peers, no interface.
 *
 * A group of request frames is made outside the timed part; timed is what a worker does with them,
 * burst by burst: read the clock, stack_rx, stack_tx until it has no more. After that every reply is
 * checked, again outside. The peers' work evicts the caches between groups, so the figure is conservative.
 * In: how many, how long. Out: what it cost. Owns: arena, peers and frames while it runs. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "bench_server.h"
#include "bench_stack.h"
#include "run/crew.h"
#include "sys/clock.h"
#include "sys/entropy.h"
#include "sys/pin.h"
#include "sys/topology.h"

#define GROUP_FRAMES 1024u /* received in one timed part, at most */
#define SENT_FRAMES  2048u /* the ring of frames to send: more waits for the next group */
#define FRAME_BYTES  2048u /* as in a network card's rings */
#define SLICE_NS     100000000u
#define SLICES_MAX   36000u
#define WARM_UP_NS   1000000000u
#define DRAIN_NS     5000000000u

struct bench {
	const struct bench_config *config;
	uint32_t number, connections; /* ours */
	int cpu, code;
	struct bench_result result;
	char error[BENCH_ERROR_BYTES];
	struct sys_memory arena_memory, peers_memory, frame_memory;
	struct stack *stack;
	struct peers peers;
	uint64_t clock_base_ns;
	uint32_t burst;
	struct packet in[GROUP_FRAMES], out[SENT_FRAMES];
	uint32_t in_count, out_count;
	uint64_t timed_ns, frames_in, frames_out;
	double slices[SLICES_MAX];
	uint32_t slice_count;
};

/* --- time and frames ------------------------------------------------------------------- */

static uint64_t bench_now_us(const struct bench *bench)
{
	return (sys_now_ns() - bench->clock_base_ns) / 1000;
}

static uint8_t *frame_at(const struct bench *bench, uint32_t i)
{
	return (uint8_t *)bench->frame_memory.base + (size_t)i * FRAME_BYTES;
}

static void add_frame(struct bench *bench, uint32_t bytes)
{
	struct packet *packet = &bench->in[bench->in_count];

	*packet = (struct packet){.data = frame_at(bench, bench->in_count), .bytes = bytes};
	bench->in_count++;
}

static uint8_t *next_frame(const struct bench *bench)
{
	CHECK(bench->in_count < GROUP_FRAMES);
	return frame_at(bench, bench->in_count);
}

static void send_what_fits(struct bench *bench, uint64_t now_us)
{
	uint32_t sent, max;

	do {
		max = MIN_OF(SENT_FRAMES - bench->out_count, (uint32_t)STACK_BURST);
		sent = stack_tx(bench->stack, now_us, &bench->out[bench->out_count], max);
		bench->out_count += sent;
	} while (sent == max && max > 0);
}

/* The timed part. */
static void run_group(struct bench *bench)
{
	uint64_t start_ns = sys_now_ns();

	for (uint32_t first = 0; first < bench->in_count; first += bench->burst) {
		uint64_t now_us = bench_now_us(bench);

		stack_rx(bench->stack, now_us, &bench->in[first],
			 MIN_OF(bench->burst, bench->in_count - first));
		send_what_fits(bench, now_us);
	}
	if (bench->in_count == 0)
		send_what_fits(bench, bench_now_us(bench));
	bench->timed_ns += sys_now_ns() - start_ns;
}

/* Empties the first `count` frames to send. */
static void reset_frames(struct bench *bench, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		bench->out[i] = (struct packet){.data = frame_at(bench, GROUP_FRAMES + i),
						.room = FRAME_BYTES};
	bench->in_count = bench->out_count = 0;
}

/* Hands every reply to its peer, and takes all frames back. */
static void check_group(struct bench *bench)
{
	uint64_t now_us = bench_now_us(bench);

	for (uint32_t i = 0; i < bench->out_count; i++)
		peers_take(&bench->peers, bench->out[i].data, bench->out[i].bytes, now_us);
	bench->frames_in += bench->in_count;
	bench->frames_out += bench->out_count;
	reset_frames(bench, bench->out_count);
}

/* --- setting up ------------------------------------------------------------------------------ */

static int map(struct sys_memory *memory, const char *name, size_t bytes, enum sys_page_kind kind, int cpu,
	       char error[BENCH_ERROR_BYTES])
{
	const struct sys_memory_request request = {.name = name, .bytes = bytes, .kind = kind, .cpu = cpu};

	return sys_memory_map(&request, memory, error);
}

static int make_stack(struct bench *bench, const struct stack_config *config, char error[BENCH_ERROR_BYTES])
{
	struct arena_secrets secrets;
	struct arena arena;
	int code = sys_entropy_secrets(&secrets);

	bench->clock_base_ns = sys_now_ns();
	if (code == 0) {
		arena_init(&arena, bench->arena_memory.base, bench->arena_memory.bytes, &secrets,
			   bench->clock_base_ns);
		code = bench_server_start(&arena, config, &bench->peers, &bench->stack);
	}
	if (code < 0)
		snprintf(error, BENCH_ERROR_BYTES, "the stack cannot start (%s): try fewer connections",
			 strerror(-code));
	return code;
}

static int set_up(struct bench *bench, int cpu, char error[BENCH_ERROR_BYTES])
{
	struct stack_config config;
	enum sys_page_kind pages = bench->config->pages;
	int code;

	bench_server_name(&bench->peers, bench->connections);
	bench->peers.delayed_acks = !bench->config->piggyback;
	bench_server_configure(&bench->peers, &bench_echo, &config);
	config.id = (uint8_t)bench->number;
	code = map(&bench->arena_memory, "c10m-bench", bench_server_bytes(&config), pages, cpu, error);
	if (code == 0)
		code = map(&bench->peers_memory, "c10m-peers", peers_bytes(bench->peers.count),
			   SYS_PAGES_BEST, cpu, error);
	if (code == 0)
		code = map(&bench->frame_memory, "c10m-frames",
			   (size_t)(GROUP_FRAMES + SENT_FRAMES) * FRAME_BYTES, SYS_PAGES_BEST, cpu, error);
	if (code < 0)
		return code;
	peers_init(&bench->peers, bench->peers_memory.base);
	reset_frames(bench, SENT_FRAMES);
	code = make_stack(bench, &config, error);
	return code < 0 ? code : sys_pin_thread(cpu, error);
}

static void tear_down(struct bench *bench)
{
	struct sys_memory *memory[] = {&bench->arena_memory, &bench->peers_memory, &bench->frame_memory};

	if (bench->stack)
		stack_fini(bench->stack);
	for (unsigned i = 0; i < ARRAY_COUNT(memory); i++)
		if (memory[i]->base)
			sys_memory_unmap(memory[i]);
}

/* --- opening ------------------------------------------------------------------------------------ */

/* SYNs of peers [first, end), the server's answers, and the ACKs that complete them. */
static void open_some(struct bench *bench, uint32_t first, uint32_t end)
{
	uint64_t now_us = bench_now_us(bench);

	for (uint32_t i = first; i < end; i++)
		add_frame(bench, peers_syn(&bench->peers, i, next_frame(bench), now_us));
	run_group(bench);
	check_group(bench);
	for (uint32_t i = first; i < end; i++) {
		uint32_t bytes = peers_complete(&bench->peers, i, next_frame(bench), now_us);

		if (bytes > 0)
			add_frame(bench, bytes);
	}
	run_group(bench);
	check_group(bench);
}

static void say_progress(const struct bench *bench, uint32_t opened, uint64_t *next_ns)
{
	uint64_t now_ns = sys_now_ns();

	if (now_ns < *next_ns)
		return;
	fprintf(stderr, "c10m: %" PRIu32 " of %" PRIu32 " connections are open\n", opened,
		bench->connections);
	*next_ns = now_ns + 2000000000u;
}

static int open_all(struct bench *bench, char error[BENCH_ERROR_BYTES])
{
	uint32_t count = bench->connections;
	uint64_t next_ns = sys_now_ns() + 2000000000u;
	struct c10m_stats stats;

	for (uint32_t first = 0; first < count; first += BENCH_BURST_MAX) {
		open_some(bench, first, MIN_OF(first + BENCH_BURST_MAX, count));
		say_progress(bench, first, &next_ns);
	}
	c10m_worker_stats(stack_worker(bench->stack), &stats);
	if (bench->peers.stats.opened == count && stats.connections == count && bench->peers.stats.wrong == 0)
		return 0;
	snprintf(error, BENCH_ERROR_BYTES,
		 "only %" PRIu64 " of %" PRIu32 " connections opened, the server knows %" PRIu64
		 ": this is a defect, please report it (%s)",
		 bench->peers.stats.opened, count, stats.connections,
		 bench->peers.wrong[0] ? bench->peers.wrong : "no wrong frame");
	return -EPROTO;
}

/* --- measuring ------------------------------------------------------------------------------------- */

static uint32_t next_request(struct bench *bench, uint64_t now_us)
{
	uint32_t index = peers_pick(&bench->peers);

	return index == UINT32_MAX ? 0 : peers_request(&bench->peers, index, next_frame(bench), now_us);
}

/* Requests and the acknowledgements that are due share a group, half of it at most for the latter
 * while there are requests to make. Returns the number of requests. */
static uint32_t make_group(struct bench *bench, bool requests)
{
	uint32_t wanted = MIN_OF(GROUP_FRAMES / bench->burst * bench->burst, bench->connections);
	uint64_t now_us = bench_now_us(bench);
	uint32_t acks = 0, bytes = 1;

	while (bench->in_count < wanted && bytes > 0) {
		bytes = 0;
		if (!requests || acks * 2 <= bench->in_count)
			bytes = peers_due_ack(&bench->peers, next_frame(bench), now_us);
		acks += bytes > 0;
		if (bytes == 0 && requests)
			bytes = next_request(bench, now_us);
		if (bytes > 0)
			add_frame(bench, bytes);
	}
	return bench->in_count - acks;
}

/* What the peers are still owed comes by itself: retransmissions, at the latest. */
static int drain(struct bench *bench, uint64_t asked, char error[BENCH_ERROR_BYTES])
{
	uint64_t end_ns = sys_now_ns() + DRAIN_NS;

	while (bench->peers.stats.requests < asked && sys_now_ns() < end_ns) {
		make_group(bench, false);
		run_group(bench);
		check_group(bench);
	}
	if (bench->peers.stats.requests == asked && bench->peers.stats.wrong == 0)
		return 0;
	snprintf(error, BENCH_ERROR_BYTES,
		 "%" PRIu64 " of %" PRIu64 " requests were answered, and %" PRIu64
		 " frames were wrong: this is a defect, please report it (%s)",
		 bench->peers.stats.requests, asked, bench->peers.stats.wrong,
		 bench->peers.wrong[0] ? bench->peers.wrong : "no wrong frame");
	return -EPROTO;
}

struct slice {
	uint64_t start_ns, timed_ns, requests;
};

static void slice_start(const struct bench *bench, struct slice *slice)
{
	*slice = (struct slice){sys_now_ns(), bench->timed_ns, bench->peers.stats.requests};
}

static void slice_end(struct bench *bench, const struct slice *slice)
{
	uint64_t requests = bench->peers.stats.requests - slice->requests;

	if (requests > 0 && bench->slice_count < SLICES_MAX)
		bench->slices[bench->slice_count++] = (double)(bench->timed_ns - slice->timed_ns) /
						      (double)requests;
}

/* Returns the requests made in `length_ns` of wall time. */
static uint64_t ask_for(struct bench *bench, uint64_t length_ns)
{
	uint64_t end_ns = sys_now_ns() + length_ns, asked = 0;
	struct slice slice;

	slice_start(bench, &slice);
	while (sys_now_ns() < end_ns && bench->peers.stats.wrong == 0) {
		asked += make_group(bench, true);
		run_group(bench);
		check_group(bench);
		if (sys_now_ns() - slice.start_ns >= SLICE_NS) {
			slice_end(bench, &slice);
			slice_start(bench, &slice);
		}
	}
	return asked;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void sum_up_slices(struct bench *bench, struct bench_slices *slices)
{
	uint32_t count = bench->slice_count;

	*slices = (struct bench_slices){.count = count};
	if (count == 0)
		return;
	qsort(bench->slices, count, sizeof(bench->slices[0]), compare_doubles);
	slices->median = bench->slices[count / 2];
	slices->low = bench->slices[count / 20];
	slices->high = bench->slices[count - 1 - count / 20];
}

/* Cycles become time by what the whole took. What is outside the stages is the peers' work, too. */
static void sum_up_stages(const struct bench *bench, const struct stages *before, struct bench_result *result)
{
	const struct stages *after = stack_stages(bench->stack);
	double all = 0;

	for (unsigned i = 0; i < STAGE_COUNT; i++)
		all += (double)(after->cycles[i] - before->cycles[i]);
	for (unsigned i = 0; i < STAGE_COUNT && all > 0 && result->requests; i++)
		result->stage_ns[i] = (double)(after->cycles[i] - before->cycles[i]) / all *
				      (double)result->wall_ns / (double)result->requests;
}

/* Counters of stack and peers at the start of the measurement are taken off at its end. */
static int measure(struct bench *bench, struct bench_result *result, char error[BENCH_ERROR_BYTES])
{
	struct counters before = *stack_counters(bench->stack);
	const struct counters *after = stack_counters(bench->stack);
	struct stages stages = *stack_stages(bench->stack);
	struct peers_stats peers = bench->peers.stats;
	uint64_t start_ns = sys_now_ns(), asked;

	bench->timed_ns = bench->frames_in = bench->frames_out = 0;
	bench->slice_count = 0;
	asked = ask_for(bench, (uint64_t)bench->config->seconds * 1000000000u);
	result->wall_ns = sys_now_ns() - start_ns;
	result->timed_ns = bench->timed_ns;
	result->requests = bench->peers.stats.requests - peers.requests;
	result->acks = bench->peers.stats.acks - peers.acks;
	result->frames_in = bench->frames_in;
	result->frames_out = bench->frames_out;
	result->retransmits = after->tcp_retransmits - before.tcp_retransmits;
	result->timers = after->timer_fired - before.timer_fired;
	sum_up_slices(bench, &result->slices);
	sum_up_stages(bench, &stages, result);
	return drain(bench, peers.requests + asked, error);
}

static void describe(const struct bench *bench, struct bench_result *result)
{
	struct stack_usage *usage = &result->usage;

	stack_usage(bench->stack, usage);
	result->connections = bench->connections;
	result->burst = bench->burst;
	result->bytes_per_connection =
		(double)(usage->block_bytes + usage->table_bytes + usage->wheel_bytes) / bench->connections;
	result->page_bytes = bench->arena_memory.page_bytes;
	snprintf(result->pages, sizeof(result->pages), "%s", sys_page_kind_name(bench->arena_memory.kind));
}

/* --- workers --------------------------------------------------------------------------------------- */

/* All that comes before the measurement; on the worker's thread, as what follows. */
static int prepare(void *context, char error[CREW_ERROR_BYTES])
{
	struct bench *bench = context;
	uint64_t start_ns, asked;
	int code = set_up(bench, bench->cpu, bench->error);

	if (code == 0) {
		if (bench->number == 0)
			fprintf(stderr, "c10m: memory: %s\n", bench->arena_memory.sentence);
		start_ns = sys_now_ns();
		code = open_all(bench, bench->error);
		bench->result.open_ns = sys_now_ns() - start_ns;
	}
	if (code == 0) {
		asked = bench->peers.stats.requests + ask_for(bench, WARM_UP_NS);
		code = drain(bench, asked, bench->error);
	}
	snprintf(error, CREW_ERROR_BYTES, "%.*s", CREW_ERROR_BYTES - 1, bench->error);
	return code;
}

static void run(void *context)
{
	struct bench *bench = context;

	bench->code = measure(bench, &bench->result, bench->error);
	describe(bench, &bench->result);
}

static void add_result(struct bench_result *sum, const struct bench_result *part)
{
	sum->connections += part->connections;
	sum->requests += part->requests;
	sum->acks += part->acks;
	sum->retransmits += part->retransmits;
	sum->timers += part->timers;
	sum->frames_in += part->frames_in;
	sum->frames_out += part->frames_out;
	sum->timed_ns += part->timed_ns;
	sum->wall_ns = MAX_OF(sum->wall_ns, part->wall_ns);
	sum->open_ns = MAX_OF(sum->open_ns, part->open_ns);
	sum->usage.arena_bytes += part->usage.arena_bytes;
	if (part->timed_ns > 0)
		sum->requests_per_second += (double)part->requests / ((double)part->timed_ns / 1e9);
}

/* The first worker's figures, and what the others add to them. */
static int sum_up(struct bench **benches, uint32_t count, struct bench_result *result,
		  char error[BENCH_ERROR_BYTES])
{
	for (uint32_t i = 0; i < count; i++) {
		struct bench_result part = benches[i]->result;

		if (benches[i]->code < 0) {
			memcpy(error, benches[i]->error, BENCH_ERROR_BYTES);
			return benches[i]->code;
		}
		if (i > 0) {
			add_result(result, &part);
			continue;
		}
		*result = part;
		if (part.timed_ns > 0)
			result->requests_per_second = (double)part.requests / ((double)part.timed_ns / 1e9);
	}
	result->workers = count;
	result->cpu = benches[0]->cpu;
	return 0;
}

static int choose_cpus(const struct bench_config *config, int cpus[BENCH_WORKERS_MAX],
		       char error[BENCH_ERROR_BYTES])
{
	struct sys_topology topology;
	int code = 0;

	cpus[0] = (int)config->cpu;
	if (config->cpu == UINT32_MAX) {
		code = sys_topology_read(&topology);
		if (code == 0)
			return sys_pick_cpus(&topology, config->workers, -1, cpus, error);
		snprintf(error, BENCH_ERROR_BYTES,
			 "the machine's processors cannot be listed (%s): use --cpu", strerror(-code));
	} else if (config->workers > 1) {
		snprintf(error, BENCH_ERROR_BYTES, "--cpu names one processor: leave it out, or --workers");
		code = -EINVAL;
	}
	return code;
}

static struct bench *make_bench(const struct bench_config *config, uint32_t number, int cpu)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	uint32_t extra = number < config->connections % config->workers;

	if (!bench)
		return NULL;
	bench->config = config;
	bench->number = number;
	bench->cpu = cpu;
	bench->connections = config->connections / config->workers + extra;
	bench->burst = MIN_OF(config->burst, bench->connections);
	return bench;
}

int bench_stack_run(const struct bench_config *config, struct bench_result *result,
		    char error[BENCH_ERROR_BYTES])
{
	struct crew crew = {.count = config->workers, .prepare = prepare, .run = run};
	struct bench *benches[BENCH_WORKERS_MAX] = {0};
	int cpus[BENCH_WORKERS_MAX] = {0};
	int code = choose_cpus(config, cpus, error);

	*result = (struct bench_result){0};
	for (uint32_t i = 0; i < config->workers && code == 0; i++) {
		crew.members[i] = benches[i] = make_bench(config, i, cpus[i]);
		if (!benches[i]) {
			snprintf(error, BENCH_ERROR_BYTES, "too little memory: stop other programs");
			code = -ENOMEM;
		}
	}
	if (code == 0)
		code = crew_run(&crew, error);
	if (code == 0)
		code = sum_up(benches, config->workers, result, error);
	for (uint32_t i = 0; i < config->workers && benches[i]; i++) {
		tear_down(benches[i]);
		free(benches[i]);
	}
	return code;
}
