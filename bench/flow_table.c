/* flow_table.c - what the flow table costs: lookups, insertions, churn.
 * Run alone on an idle core: flow_table [entries]. */
#include "bench/micro.h"
#include "flow/table.h"
#include "flow/tuple.h"

#define LOOKUPS (1u << 23)
#define MISSING (1ull << 40) /* added to an index: a key that is not there */

static uint64_t check_sum; /* keeps results alive */

static uint64_t entry_hash(uint64_t index)
{
	return micro_mix(index);
}

static void fail(const char *what)
{
	fprintf(stderr, "flow_table: %s\n", what);
	exit(1);
}

static void report(const char *what, uint64_t start_ns, uint64_t operations)
{
	printf("%-44s %7.1f ns\n", what, (double)(micro_now_ns() - start_ns) / (double)operations);
}

static void table_fill(struct flow_table *table, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		if (!flow_table_insert(table, entry_hash(i), i))
			fail("an insertion below capacity was refused");
}

static void print_overflow(const struct flow_table *table, const char *when)
{
	uint64_t away = 0, spilled = 0;

	for (uint32_t i = 0; i < table->bucket_count; i++) {
		away += table->buckets[i].overflow;
		spilled += table->buckets[i].overflow != 0;
	}
	printf("%-44s %7.2f %% of entries away from home, %.2f %% of buckets overflowed, %lu moves\n", when,
	       100.0 * (double)away / table->live, 100.0 * (double)spilled / table->bucket_count,
	       table->moves);
}

/* Each lookup's key depends on the result of the one before. */
static void bench_chained(const struct flow_table *table, uint32_t entries, uint64_t offset, const char *what)
{
	uint32_t refs[FLOW_CANDIDATES_MAX], index = 0, lookups = LOOKUPS / 4;
	uint64_t start_ns = micro_now_ns(), found = 0;

	for (uint32_t i = 0; i < lookups; i++) {
		uint32_t count = flow_table_candidates(table, entry_hash(index + offset), refs);

		found += count;
		index = (uint32_t)((micro_mix(i + count) >> 32) * entries >> 32);
	}
	report(what, start_ns, lookups);
	check_sum += found;
	if (!offset && found < lookups)
		fail("a lookup missed");
}

static void bench_burst(const struct flow_table *table, uint32_t entries, uint64_t offset, uint32_t burst,
			bool second_stage, const char *what)
{
	uint32_t refs[FLOW_CANDIDATES_MAX];
	uint64_t hashes[64], start_ns = micro_now_ns(), found = 0;

	for (uint32_t i = 0; i < LOOKUPS; i += burst) {
		for (uint32_t j = 0; j < burst; j++) {
			hashes[j] = entry_hash(((micro_mix(i + j) >> 32) * entries >> 32) + offset);
			flow_table_prefetch(table, hashes[j]);
		}
		if (second_stage)
			for (uint32_t j = 0; j < burst; j++)
				flow_table_prefetch_second(table, hashes[j]);
		for (uint32_t j = 0; j < burst; j++) {
			found += flow_table_candidates(table, hashes[j], refs);
			check_sum += refs[0];
		}
	}
	report(what, start_ns, LOOKUPS);
	if (!offset && found < LOOKUPS)
		fail("a lookup missed");
}

static void bench_lookups(const struct flow_table *table, uint32_t entries)
{
	bench_chained(table, entries, 0, "  hit, one at a time");
	bench_chained(table, entries, MISSING, "  miss, one at a time");
	bench_burst(table, entries, 0, 32, false, "  hit, bursts of 32");
	bench_burst(table, entries, 0, 32, true, "  hit, bursts of 32, second prefetched");
	bench_burst(table, entries, 0, 64, false, "  hit, bursts of 64");
	bench_burst(table, entries, 0, 64, true, "  hit, bursts of 64, second prefetched");
	bench_burst(table, entries, MISSING, 64, false, "  miss, bursts of 64");
	bench_burst(table, entries, MISSING, 64, true, "  miss, bursts of 64, second prefetched");
}

static void bench_hash(void)
{
	const struct siphash_key key = {0x0123456789abcdef, 0xfedcba9876543210};
	struct tuple4 tuple = {.local_ip = 0x0a000001, .local_port = 80};
	uint64_t start_ns = micro_now_ns();

	for (uint32_t i = 0; i < LOOKUPS; i++) {
		tuple.remote_ip = i;
		tuple.remote_port = (uint16_t)(i * 7);
		check_sum += tuple4_hash(&key, &tuple);
	}
	report("tuple4_hash, independent", start_ns, LOOKUPS);
}

/* The same insertions several times over: an insertion's own duration is its shortest one,
 * what exceeds it is the machine's doing. */
static void bench_insertion_pause(struct flow_table *table, void *memory, uint32_t entries)
{
	uint32_t *shortest_ns = micro_map(sizeof(*shortest_ns) * entries);
	struct micro_pauses pauses = {.calls = 0};

	memset(shortest_ns, 0xff, sizeof(*shortest_ns) * entries);
	for (uint32_t run = 0; run < 4; run++) {
		uint64_t start_ns, end_ns;

		flow_table_init(table, memory, entries);
		start_ns = micro_now_ns();
		for (uint32_t i = 0; i < entries; i++, start_ns = end_ns) {
			if (!flow_table_insert(table, entry_hash(i), i))
				fail("an insertion below capacity was refused");
			end_ns = micro_now_ns();
			shortest_ns[i] = (uint32_t)MIN_OF(shortest_ns[i], end_ns - start_ns);
		}
	}
	for (uint32_t i = 0; i < entries; i++)
		micro_pause_add(&pauses, shortest_ns[i]);
	micro_pause_print("insertion, one (with the clock)", &pauses);
	munmap(shortest_ns, ALIGN_UP(sizeof(*shortest_ns) * entries, MICRO_HUGE_BYTES));
}

static void bench_fill(struct flow_table *table, void *memory, uint32_t entries)
{
	uint64_t start_ns;

	bench_insertion_pause(table, memory, entries);
	flow_table_init(table, memory, entries);
	start_ns = micro_now_ns();
	table_fill(table, 0, entries);
	report("insertion, empty to full", start_ns, entries);
	print_overflow(table, "  after filling");
}

/* Removes a random live entry and inserts a new one in its place. slots[i] is the key of
 * reference i. */
static void bench_churn(struct flow_table *table, uint32_t entries, uint64_t operations)
{
	uint64_t *keys = micro_map(sizeof(*keys) * entries), next_key = entries, start_ns;

	for (uint32_t i = 0; i < entries; i++)
		keys[i] = i;
	start_ns = micro_now_ns();
	for (uint64_t i = 0; i < operations / 2; i++) {
		uint32_t ref = (uint32_t)((micro_mix(i) >> 32) * entries >> 32);

		if (!flow_table_remove(table, entry_hash(keys[ref]), ref))
			fail("an entry was lost");
		keys[ref] = next_key++;
		if (!flow_table_insert(table, entry_hash(keys[ref]), ref))
			fail("an insertion below capacity was refused");
	}
	report("churn, a removal or an insertion", start_ns, operations);
	print_overflow(table, "  after churn");
	bench_burst(table, entries, MISSING, 64, false, "  miss, bursts of 64");
	bench_burst(table, entries, MISSING, 64, true, "  miss, bursts of 64, second prefetched");
	if (!flow_table_verify(table))
		fail("the table does not verify after churn");
	start_ns = micro_now_ns();
	for (uint32_t i = 0; i < entries; i++)
		if (!flow_table_remove(table, entry_hash(keys[i]), i))
			fail("an entry was lost");
	report("removal, full to empty", start_ns, entries);
	if (table->live || !flow_table_verify(table))
		fail("the emptied table does not verify");
}

int main(int argc, char **argv)
{
	uint32_t entries = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 10000000;
	const uint32_t sizes[] = {1000, 1000000, entries};
	void *memory = micro_map(flow_table_bytes(MAX_OF(entries, 1000000u)));
	struct flow_table table;

	bench_hash();
	for (uint32_t i = 0; i < ARRAY_COUNT(sizes); i++) {
		printf("%u entries, %.2f bytes an entry\n", sizes[i],
		       (double)flow_table_bytes(sizes[i]) / sizes[i]);
		flow_table_init(&table, memory, sizes[i]);
		table_fill(&table, 0, sizes[i]);
		bench_lookups(&table, sizes[i]);
	}
	bench_fill(&table, memory, entries);
	bench_churn(&table, entries, 100000000);
	printf("check sum %lx\n", check_sum);
	return 0;
}
