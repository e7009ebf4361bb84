/* memory.c - what a random access costs in each kind of page (docs/design.md, section 1).
 *
 *   memory [--gigabytes N] [--repeat N] [--kind 1g|2m|transparent|plain]
 *
 * Two figures a kind, medians of the repeats: one load that must wait for the one
 * before it, and three cache lines of a random 256-byte block, read and the first
 * written, when the blocks of a burst of 64 are prefetched together. Table on standard output. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "sys/clock.h"
#include "sys/memory.h"

#define BLOCK_BYTES 256 /* four lines, of which three are used */
#define BURST       64
#define BURSTS      40000
#define LOADS       1500000
#define REPEATS_MAX 99

struct options {
	double gigabytes;
	unsigned repeats;
	enum sys_page_kind kind; /* SYS_PAGES_BEST: all, one after the other */
};

struct figures {
	double load_ns[REPEATS_MAX];
	double block_ns[REPEATS_MAX];
};

static volatile uint64_t sink; /* what was read is used, as far as the compiler knows */

/* The first word of each line is zero, which the compiler does not know: the next address waits for the load.
 */
static double time_loads(const struct sys_memory *memory, struct random *random)
{
	const uint64_t *words = memory->base;
	const uint32_t lines = (uint32_t)(memory->bytes / CACHE_LINE);
	uint64_t read = 0, start = sys_now_ns();

	for (unsigned i = 0; i < LOADS; i++) {
		uint64_t line = ((random_next(random) >> 32) + read) * lines >> 32;

		read = words[line * (CACHE_LINE / sizeof(*words))];
	}
	sink = read;
	return (double)(sys_now_ns() - start) / LOADS;
}

static double time_blocks(const struct sys_memory *memory, struct random *random)
{
	const uint32_t blocks = (uint32_t)(memory->bytes / BLOCK_BYTES);
	const size_t line_words = CACHE_LINE / sizeof(uint64_t);
	uint64_t *picked[BURST];
	uint64_t sum = 0, start = sys_now_ns();

	for (unsigned burst = 0; burst < BURSTS; burst++) {
		for (unsigned i = 0; i < BURST; i++) {
			picked[i] = (uint64_t *)memory->base + random_below(random, blocks) * 4 * line_words;
			for (unsigned line = 0; line < 3; line++)
				PREFETCH_WRITE(picked[i] + line * line_words);
		}
		for (unsigned i = 0; i < BURST; i++)
			sum += picked[i][1]++ + picked[i][line_words] + picked[i][2 * line_words];
	}
	sink = sum;
	return (double)(sys_now_ns() - start) / ((double)BURSTS * BURST);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Median, lowest and highest. */
static void print_figure(double *values, unsigned count)
{
	qsort(values, count, sizeof(*values), compare);
	printf("  %7.1f (%5.1f to %5.1f)", values[count / 2], values[0], values[count - 1]);
}

static int run_kind(const struct options *options, enum sys_page_kind kind)
{
	const struct sys_memory_request request = {
		.name = "bench-memory",
		.bytes = (size_t)(options->gigabytes * (double)(1u << 30)),
		.kind = kind,
		.cpu = -1,
	};
	struct random random = random_seeded(1);
	struct figures figures;
	struct sys_memory memory;
	char error[256];

	if (sys_memory_map(&request, &memory, error) < 0) {
		printf("%-24s not measured: %s\n", sys_page_kind_name(kind), error);
		return 0;
	}
	for (unsigned i = 0; i < options->repeats; i++) {
		figures.load_ns[i] = time_loads(&memory, &random);
		figures.block_ns[i] = time_blocks(&memory, &random);
	}
	printf("%-24s", sys_page_kind_name(kind));
	print_figure(figures.load_ns, options->repeats);
	print_figure(figures.block_ns, options->repeats);
	printf("  %8.2f\n", (double)memory.populate_ns / 1e9);
	sys_memory_unmap(&memory);
	return 1;
}

static enum sys_page_kind parse_kind(const char *text)
{
	static const char *const names[] = {
		[SYS_PAGES_1G] = "1g",
		[SYS_PAGES_2M] = "2m",
		[SYS_PAGES_TRANSPARENT] = "transparent",
		[SYS_PAGES_PLAIN] = "plain",
	};

	for (enum sys_page_kind kind = SYS_PAGES_1G; kind <= SYS_PAGES_PLAIN; kind++) {
		if (strcmp(text, names[kind]) == 0)
			return kind;
	}
	return SYS_PAGES_BEST;
}

static bool parse_options(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{"gigabytes", required_argument, NULL, 'g'},
		{"repeat", required_argument, NULL, 'r'},
		{"kind", required_argument, NULL, 'k'},
		{0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (option == 'g')
			options->gigabytes = atof(optarg);
		else if (option == 'r')
			options->repeats = (unsigned)atoi(optarg);
		else if (option != 'k' || (options->kind = parse_kind(optarg)) == SYS_PAGES_BEST)
			return false;
	}
	/* Lines and blocks are counted in 32 bits. */
	return optind == argc && options->gigabytes >= 0.01 && options->gigabytes <= 255 &&
	       options->repeats >= 1 && options->repeats <= REPEATS_MAX;
}

int main(int argc, char **argv)
{
	struct options options = {.gigabytes = 4, .repeats = 5, .kind = SYS_PAGES_BEST};
	int measured = 0;

	if (!parse_options(argc, argv, &options)) {
		fprintf(stderr,
			"usage: memory [--gigabytes 0.01..255] [--repeat 1..%d] "
			"[--kind 1g|2m|transparent|plain]\n",
			REPEATS_MAX);
		return 2;
	}
	printf("%.1f GB, medians of %u (lowest to highest)\n", options.gigabytes, options.repeats);
	printf("%-24s  %-24s  %-24s  %8s\n", "", "dependent load, ns", "block in a burst, ns", "fill, s");
	for (enum sys_page_kind kind = SYS_PAGES_1G; kind <= SYS_PAGES_PLAIN; kind++) {
		if (options.kind == SYS_PAGES_BEST || options.kind == kind)
			measured += run_kind(&options, kind);
	}
	return measured > 0 ? 0 : 1;
}
