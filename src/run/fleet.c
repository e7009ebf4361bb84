/* fleet.c - makes what workers share, and takes it apart.
 * In: how many, where they run. Out: the rings of each. Owns: the rings and their memory. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "run/fleet.h"

#define WORKER_RING_BYTES (8u << 20) /* all rings into one worker together ... */
#define RING_BYTES_MAX \
	(1u << 20) /* ... and each of them: hundreds of long frames, thousands of short ones \
		    */

static uint32_t choose_ring_bytes(const struct fleet_config *config)
{
	uint32_t bytes = RING_BYTES_MAX;

	if (config->ring_bytes)
		return config->ring_bytes;
	while (bytes > FRAME_RING_BYTES_MIN && bytes * config->workers > WORKER_RING_BYTES)
		bytes /= 2;
	return bytes;
}

static void *allocate(size_t count, size_t bytes)
{
	void *memory = aligned_alloc(CACHE_LINE, ALIGN_UP(count * bytes, (size_t)CACHE_LINE));

	if (memory)
		memset(memory, 0, count * bytes);
	return memory;
}

static bool allocate_all(struct fleet *fleet, uint32_t workers)
{
	fleet->handovers = allocate(workers, sizeof(*fleet->handovers));
	fleet->rings = allocate((size_t)workers * workers, sizeof(*fleet->rings));
	fleet->relays = allocate(workers, sizeof(*fleet->relays));
	fleet->memories = allocate(workers, sizeof(*fleet->memories));
	return fleet->handovers && fleet->rings && fleet->relays && fleet->memories;
}

/* The rings into worker `to`: from each other worker, and from those that it sends for. */
static int connect_worker(struct fleet *fleet, const struct fleet_config *config, uint32_t to,
			  char error[FLEET_ERROR_BYTES])
{
	const struct sys_memory_request request = {
		.name = "c10m-rings",
		.bytes = 2 * (size_t)config->workers * fleet->ring_bytes,
		.kind = config->pages,
		.cpu = config->worker[to].cpu,
	};
	struct waker *waker = config->worker[to].waker;
	uint8_t *at;
	int code = sys_memory_map(&request, &fleet->memories[to], error);

	if (code < 0)
		return code;
	at = fleet->memories[to].base;
	for (uint32_t from = 0; from < config->workers; from++) {
		struct frame_ring *ring = &fleet->rings[from * config->workers + to];

		if (from == to)
			continue;
		frame_ring_init(ring, at, fleet->ring_bytes, waker);
		at += fleet->ring_bytes;
		fleet->handovers[to].from[from] = ring;
		fleet->handovers[from].to[to] = ring;
		if (config->worker[from].sender != to)
			continue;
		frame_ring_init(&fleet->relays[from], at, fleet->ring_bytes, waker);
		at += fleet->ring_bytes;
	}
	return 0;
}

/* The card's table counts only when each of its queues is served. */
static bool table_is_ours(const struct fleet_config *config)
{
	if (!config->rss || config->all != OWNER_BY_HASH)
		return false;
	for (uint32_t i = 0; i < config->rss->entries; i++)
		if (config->rss->queues[i] >= config->queues)
			return false;
	return config->rss->entries > 0 && config->rss->entries <= OWNER_RSS_ENTRIES;
}

static void follow_card(struct fleet *fleet, const struct fleet_config *config)
{
	const struct sys_rss *card = config->rss;

	if (!table_is_ours(config))
		return;
	fleet->rss = allocate(1, sizeof(*fleet->rss));
	if (!fleet->rss) /* the keyed hash does, too */
		return;
	owner_rss_init(fleet->rss, card->key, card->key_bytes, card->entries);
	for (uint32_t i = 0; i < card->entries; i++)
		fleet->rss->workers[i] = (uint8_t)(card->queues[i] % config->workers);
	fleet->owner.rss = fleet->rss;
}

int fleet_init(struct fleet *fleet, const struct fleet_config *config, char error[FLEET_ERROR_BYTES])
{
	int code = 0;

	*fleet = (struct fleet){.ring_bytes = choose_ring_bytes(config)};
	owner_init(&fleet->owner, &config->key, config->workers, config->all);
	follow_card(fleet, config);
	if (!allocate_all(fleet, config->workers)) {
		snprintf(error, FLEET_ERROR_BYTES,
			 "too little memory for the rings between workers: use fewer workers");
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < config->workers; i++) {
		fleet->handovers[i].owner = &fleet->owner;
		fleet->handovers[i].here = i;
	}
	for (uint32_t i = 0; i < config->workers && code == 0; i++)
		code = connect_worker(fleet, config, i, error);
	return code;
}

void fleet_fini(struct fleet *fleet)
{
	for (uint32_t i = 0; fleet->memories && i < fleet->owner.workers; i++)
		if (fleet->memories[i].base)
			sys_memory_unmap(&fleet->memories[i]);
	free(fleet->rss);
	free(fleet->memories);
	free(fleet->relays);
	free(fleet->rings);
	free(fleet->handovers);
	*fleet = (struct fleet){0};
}
