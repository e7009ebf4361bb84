/* link.c - the port "wire": two ports joined through memory, without a copy.
 * In: frames that one end submits. Out: the same frames, lent to the other end.
 * Owns: all frames, two lanes (one a direction), the eventfds that wake a sleeper.
 *
 * Each lane is a pair of rings with one writer and one reader: frames forth, and their
 * numbers back. A burst is published by one store, which is why the rings are
 * ours: those of Concurrency Kit publish each element on its own. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "port/link.h"

#define LINK_FRAMES_MAX      (1u << 20)
#define LINK_FRAME_BYTES_MIN 64
#define LINK_FRAME_BYTES_MAX 65472 /* packet.room has 16 bits */
#define ETHERNET_BYTES       14

struct link_slot {
	uint32_t frame;
	uint32_t bytes;
};

/* One direction. What each side writes lies in cache lines of its own. */
struct lane {
	CACHE_ALIGNED atomic_uint sent;    /* slots that the sender has filled, ever */
	CACHE_ALIGNED atomic_uint back;    /* numbers that the receiver has put into returned[], ever */
	CACHE_ALIGNED atomic_bool asleep;  /* the receiver waits for its eventfd */
	CACHE_ALIGNED uint32_t count_mask; /* constant from here on */
	uint32_t frame_bytes;
	struct link_slot *slots;
	uint32_t *returned;
	uint8_t *frames;
	int wake_fd; /* the receiver's */
};

struct link_end {
	struct port port;
	struct link_shared *shared;
	struct lane *out, *in;
	/* As sender on `out`. */
	uint32_t *free; /* stack of frame numbers */
	uint32_t free_count;
	uint32_t sent;      /* out->sent, which nobody else writes */
	uint32_t reclaimed; /* numbers fetched from out->returned, ever */
	/* As receiver on `in`. */
	uint32_t received; /* slots taken, ever */
	uint32_t returned; /* in->back, which nobody else writes */
} CACHE_ALIGNED;

struct link_shared {
	struct lane lanes[2];
	struct link_end ends[2];
	atomic_uint open_ends;
	uint8_t *memory;
};

static struct link_end *link_end_of(struct port *port)
{
	return (struct link_end *)port;
}

/* --- receiving --------------------------------------------------------------- */

static uint32_t link_rx(struct port *port, struct packet *packets, uint32_t max)
{
	struct link_end *end = link_end_of(port);
	const struct lane *lane = end->in;
	uint32_t ready = atomic_load_explicit(&lane->sent, memory_order_acquire) - end->received;
	uint32_t count = MIN_OF(ready, max);
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct link_slot *slot = &lane->slots[(end->received + i) & lane->count_mask];

		packets[i] = (struct packet){
			.data = lane->frames + (size_t)slot->frame * lane->frame_bytes,
			.bytes = slot->bytes,
			.room = (uint16_t)lane->frame_bytes,
			.port_ref = slot->frame,
		};
		bytes += slot->bytes;
	}
	end->received += count;
	port->stats.rx_packets += count;
	port->stats.rx_bytes += bytes;
	return count;
}

static void link_rx_release(struct port *port, struct packet *packets, uint32_t count)
{
	struct link_end *end = link_end_of(port);
	struct lane *lane = end->in;

	CHECK(count <= end->received - end->returned);
	for (uint32_t i = 0; i < count; i++) {
		CHECK(packets[i].port_ref <= lane->count_mask);
		lane->returned[(end->returned + i) & lane->count_mask] = (uint32_t)packets[i].port_ref;
	}
	end->returned += count;
	atomic_store_explicit(&lane->back, end->returned, memory_order_release);
}

/* --- sending ----------------------------------------------------------------- */

static void link_reclaim(struct link_end *end)
{
	const struct lane *lane = end->out;
	uint32_t back = atomic_load_explicit(&lane->back, memory_order_acquire);

	for (; end->reclaimed != back; end->reclaimed++)
		end->free[end->free_count++] = lane->returned[end->reclaimed & lane->count_mask];
}

static uint32_t link_tx_reserve(struct port *port, struct packet *packets, uint32_t max)
{
	struct link_end *end = link_end_of(port);
	const struct lane *lane = end->out;
	uint32_t count;

	if (end->free_count < max)
		link_reclaim(end);
	count = MIN_OF(max, end->free_count);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t frame = end->free[--end->free_count];

		packets[i] = (struct packet){
			.data = lane->frames + (size_t)frame * lane->frame_bytes,
			.room = (uint16_t)lane->frame_bytes,
			.port_ref = frame,
		};
	}
	if (count < max)
		port->stats.tx_full++;
	return count;
}

static void link_wake(const struct lane *lane)
{
	const uint64_t one = 1;

	if (write(lane->wake_fd, &one, sizeof(one)) < 0)
		CHECK(errno == EAGAIN); /* the counter is full: it is readable all the more */
}

static void link_tx_submit(struct port *port, struct packet *packets, uint32_t filled, uint32_t reserved)
{
	struct link_end *end = link_end_of(port);
	struct lane *lane = end->out;
	uint64_t bytes = 0;

	CHECK(filled <= reserved);
	for (uint32_t i = filled; i < reserved; i++)
		end->free[end->free_count++] = (uint32_t)packets[i].port_ref;
	if (filled == 0)
		return;
	for (uint32_t i = 0; i < filled; i++) {
		CHECK(packets[i].port_ref <= lane->count_mask && packets[i].bytes <= lane->frame_bytes);
		lane->slots[(end->sent + i) & lane->count_mask] = (struct link_slot){
			.frame = (uint32_t)packets[i].port_ref,
			.bytes = packets[i].bytes,
		};
		bytes += packets[i].bytes;
	}
	end->sent += filled;
	port->stats.tx_packets += filled;
	port->stats.tx_bytes += bytes;
	/* Sequentially consistent against link_wait_prepare: either it sees these
	 * frames, or the load below sees that it sleeps. */
	atomic_store(&lane->sent, end->sent);
	if (atomic_load(&lane->asleep) && atomic_exchange(&lane->asleep, false))
		link_wake(lane);
}

/* --- sleeping ---------------------------------------------------------------- */

static bool link_wait_prepare(struct port *port)
{
	struct link_end *end = link_end_of(port);

	atomic_store(&end->in->asleep, true);
	if (atomic_load(&end->in->sent) == end->received)
		return true;
	atomic_store(&end->in->asleep, false);
	return false;
}

/* A wake-up that comes after this read makes the next sleep end at once, and is read then. */
static void link_wait_done(struct port *port)
{
	struct link_end *end = link_end_of(port);
	uint64_t count;

	atomic_store(&end->in->asleep, false);
	if (read(end->in->wake_fd, &count, sizeof(count)) < 0)
		CHECK(errno == EAGAIN || errno == EINTR);
}

/* --- opening and closing ----------------------------------------------------- */

static void link_free(struct link_shared *shared)
{
	for (int i = 0; i < 2; i++) {
		if (shared->lanes[i].wake_fd >= 0)
			close(shared->lanes[i].wake_fd);
		free(shared->lanes[i].slots);
		free(shared->lanes[i].returned);
		free(shared->ends[i].free);
	}
	free(shared->memory);
	free(shared);
}

/* The frames stay until both ends are closed: the other one may still look at some. */
static void link_close(struct port *port)
{
	struct link_shared *shared = link_end_of(port)->shared;

	if (atomic_fetch_sub(&shared->open_ends, 1) == 1)
		link_free(shared);
}

static const struct port_ops link_ops = {
	.name = "wire",
	.rx = link_rx,
	.rx_release = link_rx_release,
	.tx_reserve = link_tx_reserve,
	.tx_submit = link_tx_submit,
	.wait_prepare = link_wait_prepare,
	.wait_done = link_wait_done,
	.close = link_close,
};

static int lane_init(struct lane *lane, const struct link_config *config)
{
	lane->count_mask = config->frames - 1;
	lane->frame_bytes = config->frame_bytes;
	lane->slots = calloc(config->frames, sizeof(*lane->slots));
	lane->returned = calloc(config->frames, sizeof(*lane->returned));
	lane->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (lane->wake_fd < 0)
		return -errno;
	return lane->slots && lane->returned ? 0 : -ENOMEM;
}

static int end_init(struct link_shared *shared, int number, const struct link_config *config)
{
	struct link_end *end = &shared->ends[number];

	end->shared = shared;
	end->out = &shared->lanes[number];
	end->in = &shared->lanes[1 - number];
	end->port.ops = &link_ops;
	end->port.caps = (struct port_caps){.mtu = config->mtu, .queues = 1};
	end->port.caps.address[0] = 2; /* locally administered */
	end->port.caps.address[5] = (uint8_t)(number + 1);
	end->port.wait_fd = end->in->wake_fd;
	snprintf(end->port.text, sizeof(end->port.text), "wire end %d, %u frames of %u bytes each way",
		 number, config->frames, config->frame_bytes);
	end->free = calloc(config->frames, sizeof(*end->free));
	if (!end->free)
		return -ENOMEM;
	while (end->free_count < config->frames) {
		end->free[end->free_count] = config->frames - 1 - end->free_count;
		end->free_count++;
	}
	return 0;
}

static int link_init(struct link_shared *shared, const struct link_config *config)
{
	size_t lane_bytes = (size_t)config->frames * config->frame_bytes;
	int result = 0;

	shared->lanes[0].wake_fd = shared->lanes[1].wake_fd = -1;
	shared->memory = aligned_alloc(CACHE_LINE, 2 * lane_bytes);
	if (!shared->memory)
		return -ENOMEM;
	for (int i = 0; i < 2 && result == 0; i++) {
		shared->lanes[i].frames = shared->memory + (size_t)i * lane_bytes;
		result = lane_init(&shared->lanes[i], config);
	}
	for (int i = 0; i < 2 && result == 0; i++)
		result = end_init(shared, i, config);
	return result;
}

int link_open(const struct link_config *config, struct port *ends[2])
{
	struct link_config sized = *config;
	struct link_shared *shared;
	int result;

	sized.frame_bytes = ALIGN_UP(config->frame_bytes, (uint32_t)CACHE_LINE);
	if (config->frames == 0 || config->frames > LINK_FRAMES_MAX ||
	    (config->frames & (config->frames - 1)) != 0 || config->frame_bytes < LINK_FRAME_BYTES_MIN ||
	    config->frame_bytes > LINK_FRAME_BYTES_MAX || config->mtu > config->frame_bytes - ETHERNET_BYTES)
		return -EINVAL;
	shared = aligned_alloc(CACHE_LINE, sizeof(*shared));
	if (!shared)
		return -ENOMEM;
	memset(shared, 0, sizeof(*shared));
	atomic_init(&shared->open_ends, 2);
	result = link_init(shared, &sized);
	if (result < 0) {
		link_free(shared);
		return result;
	}
	ends[0] = &shared->ends[0].port;
	ends[1] = &shared->ends[1].port;
	return 0;
}
