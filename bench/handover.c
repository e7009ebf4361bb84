/* handover.c - what it costs to hand a 64-byte packet to the worker that owns it.
 *
 * One thread sorts bursts of 32 frames that all belong to the other: it finds the owner, copies, publishes.
 * The other takes them, reads them, gives the room back. Timed are the calls, not the waiting. Then single
 * frames go to and fro, for how long one is under way. Run with two idle cores: handover [seconds]. */
#define _GNU_SOURCE
#include "bench/micro.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "run/fleet.h"
#include "run/handover.h"
#include "sys/pin.h"
#include "sys/topology.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"

#define FRAMES      1024u
#define ROOM        2048u
#define FRAME_BYTES 64u
#define BURST       32u
#define PING_PONGS  200000u

static struct fleet fleet;
static struct waker wakers[2];
static int cpus[2];
static uint8_t *frames;
static atomic_bool over;

static struct result {
	uint64_t give_ns, given, take_ns, taken, sum;
} result;

__attribute__((noreturn)) static void fail(const char *what)
{
	fprintf(stderr, "handover: %s\n", what);
	exit(1);
}

/* One flow each, all for worker `destination`. */
static void make_frames(void)
{
	frames = micro_map((size_t)FRAMES * ROOM);
	for (uint32_t i = 0; i < FRAMES; i++) {
		uint8_t *frame = frames + (size_t)i * ROOM;
		const struct eth_header eth = {{{2, 0, 0, 0, 0, 1}}, {{2, 0, 0, 0, 0, 2}}, ETH_TYPE_IPV4};
		const struct ipv4_header ip = {.source = 0x0a000002 + i,
					       .destination = 0x0a000001,
					       .total_bytes = FRAME_BYTES - ETH_HEADER_BYTES,
					       .ttl = 64,
					       .protocol = IP_PROTOCOL_TCP};

		eth_emit(frame, &eth);
		ipv4_emit(frame + ETH_HEADER_BYTES, &ip);
	}
}

static void make_fleet(uint32_t owner)
{
	struct fleet_config config = {.workers = 2, .key = {1, 2}, .all = owner};
	char error[FLEET_ERROR_BYTES];

	for (uint32_t i = 0; i < 2; i++) {
		if (waker_init(&wakers[i]) < 0)
			fail("no file descriptor is left");
		config.worker[i] = (struct fleet_worker){&wakers[i], cpus[i], i};
	}
	if (fleet_init(&fleet, &config, error) < 0)
		fail(error);
}

/* On its own processor from the start: at a real-time priority it would never get away from ours. */
static pthread_t start_other(void *(*run)(void *))
{
	pthread_attr_t attributes;
	pthread_t thread;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned)cpus[1], &set);
	pthread_attr_init(&attributes);
	if (pthread_attr_setaffinity_np(&attributes, sizeof(set), &set) ||
	    pthread_create(&thread, &attributes, run, NULL))
		fail("no thread can be started");
	pthread_attr_destroy(&attributes);
	return thread;
}

static void describe(struct packet *packets, uint32_t first, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		packets[i] = (struct packet){.data = frames + (size_t)((first + i) % FRAMES) * ROOM,
					     .bytes = FRAME_BYTES};
}

/* --- many, as fast as it goes ------------------------------------------------------------- */

static void *take_all(void *unused)
{
	struct packet packets[BURST];
	uint64_t start_ns;

	while (!atomic_load_explicit(&over, memory_order_relaxed)) {
		uint32_t count;

		if (!frame_ring_waits(fleet.handovers[1].from[0]))
			continue;
		start_ns = micro_now_ns();
		count = handover_take(&fleet.handovers[1], 0, packets, BURST);
		for (uint32_t i = 0; i < count; i++)
			for (uint32_t at = 0; at < FRAME_BYTES; at += 16)
				result.sum += packets[i].data[at];
		handover_release(&fleet.handovers[1], 0);
		result.take_ns += micro_now_ns() - start_ns;
		result.taken += count;
	}
	return unused;
}

/* Never so far ahead that the ring is full: a refused frame would cost less. */
static void wait_for_room(void)
{
	const struct frame_ring *ring = fleet.handovers[0].to[1];

	while (ring->written - atomic_load_explicit(&ring->released, memory_order_acquire) > ring->bytes / 2)
		continue;
}

static double stream(uint32_t seconds)
{
	uint64_t start_ns = micro_now_ns(), end_ns = start_ns + (uint64_t)seconds * 1000000000u, now_ns;
	struct packet packets[BURST];
	pthread_t thread = start_other(take_all);

	for (uint32_t first = 0; (now_ns = micro_now_ns()) < end_ns; first += BURST) {
		describe(packets, first, BURST);
		wait_for_room();
		now_ns = micro_now_ns();
		handover_sort(&fleet.handovers[0], packets, BURST, now_ns / 1000);
		result.give_ns += micro_now_ns() - now_ns;
	}
	result.given = fleet.handovers[0].stats.given;
	while (frame_ring_waits(fleet.handovers[0].to[1]) && micro_now_ns() < end_ns + 1000000000u)
		sched_yield();
	atomic_store(&over, true);
	pthread_join(thread, NULL);
	if (fleet.handovers[0].stats.lost > 0 || result.taken + BURST < result.given)
		fail("frames were lost: this is a defect");
	return (double)(end_ns - start_ns) / (double)result.given;
}

/* --- one at a time -------------------------------------------------------------------------- */

static void put_one(uint32_t from, uint32_t to)
{
	const struct packet packet = {.data = frames + (size_t)from * ROOM, .bytes = FRAME_BYTES};

	if (!frame_ring_put(fleet.handovers[from].to[to], &packet))
		fail("a ring is full: this is a defect");
	frame_ring_publish(fleet.handovers[from].to[to]);
}

static void take_one(uint32_t at, uint32_t from)
{
	struct packet packet;

	while (handover_take(&fleet.handovers[at], from, &packet, 1) == 0)
		continue;
	result.sum += packet.data[0];
	handover_release(&fleet.handovers[at], from);
}

static void *answer(void *unused)
{
	for (uint32_t i = 0; i < PING_PONGS; i++) {
		take_one(1, 0);
		put_one(1, 0);
	}
	return unused;
}

static double ping_pong(void)
{
	uint64_t start_ns;
	pthread_t thread = start_other(answer);

	start_ns = micro_now_ns();
	for (uint32_t i = 0; i < PING_PONGS; i++) {
		put_one(0, 1);
		take_one(0, 1);
	}
	pthread_join(thread, NULL);
	return (double)(micro_now_ns() - start_ns) / PING_PONGS / 2;
}

int main(int argc, char **argv)
{
	uint32_t seconds = argc > 1 ? (uint32_t)atoi(argv[1]) : 2;
	struct sys_topology topology;
	double wall_ns, give_ns, take_ns;
	char error[SYS_ERROR_BYTES];

	if (sys_topology_read(&topology) < 0 || sys_pick_cpus(&topology, 2, -1, cpus, error) < 0)
		fail("two processors are needed");
	if (sys_pin_thread(cpus[0], error) < 0)
		fail(error);
	make_frames();
	make_fleet(1);
	wall_ns = stream(seconds);
	give_ns = (double)result.give_ns / (double)result.given;
	take_ns = (double)result.take_ns / (double)result.taken;
	printf("%-44s %7.1f ns\n", "hand over: find the owner, copy, publish", give_ns);
	printf("%-44s %7.1f ns\n", "take over: find, read, give the room back", take_ns);
	printf("%-44s %7.1f ns\n", "both workers together, a frame", give_ns + take_ns);
	printf("%-44s %7.1f ns\n", "from one frame to the next, both at work", wall_ns);
	printf("%-44s %7.1f ns\n", "one frame under way, both looking for it", ping_pong());
	fleet_fini(&fleet);
	return result.sum == 1;
}
