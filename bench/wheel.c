/* wheel.c - what the timer wheel costs: filing, moving down, firing, pauses.
 * Run alone on an idle core: wheel [entries]. */
#include "bench/micro.h"
#include "timer/wheel.h"

#define DUE_MAX    64
#define CALLS_MAX  (8u << 20)
#define START_TICK (UINT32_MAX - 100000)

struct run {
	struct wheel *wheel;
	uint32_t entries, now_tick;
	uint64_t fired, early, late_ticks_worst;
};

static void fail(const char *what)
{
	fprintf(stderr, "wheel: %s\n", what);
	exit(1);
}

/* The nth entry's distance within `reach` ticks. */
static uint32_t distance(uint32_t n, uint32_t reach)
{
	return 1 + (uint32_t)((micro_mix(n) >> 32) * reach >> 32);
}

static void fill_random(struct run *run, uint32_t reach)
{
	wheel_clear(run->wheel, run->now_tick);
	for (uint32_t i = 0; i < run->entries; i++)
		if (!wheel_file(run->wheel, i, run->now_tick + distance(i, reach)))
			fail("refused below capacity");
}

/* All in one slot of 2^20 ticks, the third from now. */
static void fill_one_slot(struct run *run, uint32_t reach)
{
	uint32_t slot_tick = (run->now_tick & 0xfff00000u) + (3u << 20);

	wheel_clear(run->wheel, run->now_tick);
	for (uint32_t i = 0; i < run->entries; i++)
		if (!wheel_file(run->wheel, i, slot_tick + distance(i, reach) - 1))
			fail("refused below capacity");
}

static void bench_file(struct run *run, uint32_t reach)
{
	uint64_t start_ns = micro_now_ns(), ns;

	fill_random(run, reach);
	ns = micro_now_ns() - start_ns;
	printf("  file at random: %.1f ns an entry, %.2f bytes an entry\n", (double)ns / run->entries,
	       (double)wheel_live_bytes(run->wheel) / run->entries);
}

static uint32_t run_expire(struct run *run)
{
	struct wheel_entry due[DUE_MAX];
	uint32_t count = wheel_expire(run->wheel, run->now_tick, due, DUE_MAX);

	for (uint32_t i = 0; i < count; i++) {
		uint32_t late = run->now_tick - due[i].tick;

		run->early += (int32_t)late < 0;
		run->late_ticks_worst = MAX_OF(run->late_ticks_worst, late);
	}
	run->fired += count;
	return count;
}

/* Ticks pass one by one and every one is settled; timed is the whole. */
static void bench_settled(struct run *run)
{
	uint64_t start_ns = micro_now_ns(), calls = 0, ns;
	uint32_t next, start_tick = run->now_tick;

	run->fired = run->late_ticks_worst = 0;
	for (; wheel_next(run->wheel, &next); run->now_tick++)
		do {
			run_expire(run);
			calls++;
		} while (wheel_next(run->wheel, &next) && next == run->now_tick);
	ns = micro_now_ns() - start_ns;
	if (run->fired != run->entries || run->early)
		fail("an entry was lost or came early");
	printf("  expire all, every tick settled: %.1f ns an entry, %.1f ns a call, %lu calls in %u ticks, "
	       "latest %lu ticks late\n",
	       (double)ns / run->entries, (double)ns / (double)calls, calls, run->now_tick - start_tick,
	       run->late_ticks_worst);
}

/* One timed call a tick, more only where `max` were due. The run is the same each time: a
 * call's own duration is its shortest one, what exceeds it is the machine's doing. */
static void bench_single_calls(struct run *run, void (*fill)(struct run *run, uint32_t reach), uint32_t reach)
{
	uint32_t *shortest_ns = micro_map(sizeof(*shortest_ns) * CALLS_MAX), calls = 0, count, next;
	struct micro_pauses pauses = {.calls = 0};

	memset(shortest_ns, 0xff, sizeof(*shortest_ns) * CALLS_MAX);
	for (uint32_t repeat = 0; repeat < 4; repeat++) {
		run->now_tick = START_TICK;
		run->fired = run->late_ticks_worst = calls = 0;
		fill(run, reach);
		for (; wheel_next(run->wheel, &next); run->now_tick++)
			do {
				uint64_t start_ns = micro_now_ns();

				count = run_expire(run);
				start_ns = micro_now_ns() - start_ns;
				shortest_ns[calls] = (uint32_t)MIN_OF(shortest_ns[calls], start_ns);
				if (++calls == CALLS_MAX)
					fail("more calls than expected");
			} while (count == DUE_MAX);
		if (run->fired != run->entries || run->early)
			fail("an entry was lost or came early");
	}
	for (uint32_t i = 0; i < calls; i++)
		micro_pause_add(&pauses, shortest_ns[i]);
	micro_pause_print("  one call (with the clock)", &pauses);
	printf("  latest %lu ticks late with one call a tick\n", run->late_ticks_worst);
	munmap(shortest_ns, sizeof(*shortest_ns) * CALLS_MAX);
}

/* Every slot holds some entries, then hours pass at once: the worst call there is. */
static void bench_jump(struct run *run)
{
	const uint32_t entries = MIN_OF(run->entries, 480 * 100u);
	uint64_t worst_ns = UINT64_MAX;

	for (uint32_t repeat = 0; repeat < 20; repeat++) {
		uint64_t longest_ns = 0;
		uint32_t next;

		wheel_clear(run->wheel, run->now_tick);
		for (uint32_t i = 0; i < entries; i++) {
			uint32_t bits = i % 17 < 8 ? 8 : 8 + 6 * (1 + i % 4);

			wheel_file(run->wheel, i, run->now_tick + distance(i, (1u << MIN_OF(bits, 30)) - 1));
		}
		run->now_tick += 1u << 30;
		while (wheel_next(run->wheel, &next)) {
			uint64_t start_ns = micro_now_ns();

			run_expire(run);
			longest_ns = MAX_OF(longest_ns, micro_now_ns() - start_ns);
		}
		worst_ns = MIN_OF(worst_ns, longest_ns);
	}
	printf("  jump of 12 days over %u entries in all slots: the longest call takes %lu ns\n", entries,
	       worst_ns);
}

int main(int argc, char **argv)
{
	uint32_t entries = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 10000000;
	struct run run = {.entries = entries, .now_tick = START_TICK};
	const uint32_t reaches[] = {10000, 7200000};
	static const char *const names[] = {"within 10 seconds", "within 2 hours (keepalive)"};

	run.wheel = wheel_init(micro_map(wheel_bytes(entries)), entries, run.now_tick);
	printf("%u entries, %.3f bytes an entry\n", entries, (double)wheel_bytes(entries) / entries);
	for (uint32_t i = 0; i < ARRAY_COUNT(reaches); i++) {
		printf("%s\n", names[i]);
		bench_file(&run, reaches[i]);
		bench_settled(&run);
		bench_single_calls(&run, fill_random, reaches[i]);
	}
	printf("all in one slot of 17 minutes\n");
	bench_single_calls(&run, fill_one_slot, 1u << 20);
	printf("jump\n");
	bench_jump(&run);
	return 0;
}
