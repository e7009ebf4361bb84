/* wire_port.c - the port between two processes: frames are written where the other end reads them.
 * In: frames of the other process, which may write anything at any time. Out: lent copies of them; frames in
 * the ring that we own. Owns: its region, the mapping of the other's, the sockets, the copies.
 *
 * A burst costs one store and no system call. Slots are filled and copied out in order, so that a counter
 * each way says everything. The socket wakes who sleeps, and tells when the other end has gone. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/check.h"
#include "port/wire_meet.h"
#include "port/wire_port.h"
#include "wire/bytes.h"

#define ETHERNET_BYTES 14
#define LOOK_EVERY     256   /* rounds without a frame, until the sockets are looked at */
#define GREET_MS       10000 /* for who listens to answer: it may be making its memory ready */
#define START_MS       2000  /* for others who start at the same path */
#define RETRY_MS       100   /* until we try again to listen, when we could not */
#define DRAIN_MESSAGES 64    /* of the other's wake-ups, at a time */
#define AHEAD          8     /* slots that are fetched before they are copied */

struct wire_port {
	struct port port;
	struct wire_region *ours;
	const struct wire_region *theirs; /* NULL: not plugged in */
	/* As sender. */
	uint32_t sent;
	uint32_t taken; /* of these, as far as we know */
	uint32_t woken; /* the sleep of the other that we ended last */
	/* As receiver. */
	uint32_t received;
	uint32_t lent;
	uint32_t sleeps;
	uint32_t idle_rounds;
	/* The rest. */
	struct wire_meet meet;
	int events, peer; /* peer: the socket, -1: nobody is there */
	int retry;        /* a timer: nobody is there, and nobody can come */
	bool no_checksums;
	uint8_t *copies;  /* of received frames */
	uint8_t *nowhere; /* frames that are sent while nobody is there */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

static struct wire_port *wire_of(struct port *port)
{
	return (struct wire_port *)port;
}

bool wire_is_plugged(const struct port *port)
{
	return ((const struct wire_port *)port)->theirs != NULL;
}

/* --- plugging in and out ------------------------------------------------------------------ */

static void watch(const struct wire_port *wire, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	(void)epoll_ctl(wire->events, EPOLL_CTL_ADD, fd,
			&event); /* what is not watched is looked at, later */
}

/* Whoever sleeps without a peer or a listener is woken to try again. */
static void retry_set(const struct wire_port *wire, bool wanted)
{
	const struct itimerspec once = {.it_value = {.tv_nsec = wanted ? RETRY_MS * 1000000 : 0}};

	(void)timerfd_settime(wire->retry, 0, &once, NULL); /* what has fired is forgotten, too */
}

static void unplug(struct wire_port *wire)
{
	if (wire->peer >= 0)
		close(wire->peer); /* epoll forgets it */
	if (wire->meet.listener < 0)
		retry_set(wire, true);
	wire->peer = -1;
	wire_region_unmap((struct wire_region *)wire->theirs);
	wire_region_unmap(wire->ours);
	wire->theirs = wire->ours = NULL;
}

/* A region of its own for each who comes: the last one may still read the old one. 0; -ENOMEM; -ECONNREFUSED:
 * it is gone again. */
static int greet(struct wire_port *wire, int peer)
{
	int fd;
	bool good;

	wire->peer = peer;
	wire->ours = wire_region_make(&fd);
	if (!wire->ours) {
		unplug(wire);
		return -ENOMEM;
	}
	wire->sent = wire->taken = wire->received = wire->lent = 0;
	wire->sleeps = wire->woken = 0;
	good = wire_hello_send(peer, fd, !wire->no_checksums);
	close(fd);
	if (good)
		watch(wire, peer);
	else
		unplug(wire);
	return good ? 0 : -ECONNREFUSED;
}

/* Who refuses what the other breaks off for: it is counted, and its place is free. */
static void misbehaved(struct wire_port *wire)
{
	wire->port.stats.rx_invalid++;
	unplug(wire);
}

static int hear_greeting(struct wire_port *wire)
{
	struct wire_region *theirs = NULL;
	int result = wire_hello_receive(wire->peer, !wire->no_checksums, &theirs);

	if (result == 1)
		wire->theirs = theirs;
	else if (result < 0)
		misbehaved(wire);
	return result;
}

/* The one that listened is gone: who is left listens, for whoever comes next. */
static void meet_again(struct wire_port *wire)
{
	char error[PORT_ERROR_BYTES];
	int peer;

	if (wire->meet.listener >= 0)
		return;
	peer = wire_meet_open(&wire->meet, wire->path, 0, error);
	retry_set(wire, peer < -1);
	if (peer >= 0)
		(void)greet(wire, peer);
	else if (wire->meet.listener >= 0)
		watch(wire, wire->meet.listener);
}

/* Wake-ups say nothing: all of them are one. */
static void hear_peer(struct wire_port *wire)
{
	uint8_t byte;
	ssize_t got = 1;

	if (!wire->theirs && hear_greeting(wire) <= 0)
		return;
	for (int i = 0; i < DRAIN_MESSAGES && got > 0; i++)
		got = recv(wire->peer, &byte, sizeof(byte), MSG_DONTWAIT);
	if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
		unplug(wire);
}

/* Who has connected and said nothing makes room for the next. */
static void admit(struct wire_port *wire)
{
	int peer = wire_meet_accept(&wire->meet);

	if (peer < 0)
		return;
	if (wire->theirs) {
		close(peer);
		return;
	}
	if (wire->peer >= 0)
		unplug(wire);
	if (greet(wire, peer) == 0)
		hear_peer(wire);
}

static void look_at_sockets(struct wire_port *wire)
{
	struct epoll_event ready[3];
	int count = epoll_wait(wire->events, ready, 2, 0);
	bool newcomer = false;

	wire->idle_rounds = 0;
	for (int i = 0; i < count; i++) {
		if (ready[i].data.fd == wire->meet.listener)
			newcomer = true;
		else if (ready[i].data.fd == wire->peer)
			hear_peer(wire);
	}
	if (newcomer) /* after the old one was heard: it may have gone */
		admit(wire);
	if (wire->peer < 0)
		meet_again(wire);
}

/* --- receiving ----------------------------------------------------------------------------- */

/* Whether the rest of a checksum may be left out: as far as both ends agreed, and inside the frame. */
static void describe(const struct wire_port *wire, struct packet *packet, uint64_t descriptor)
{
	uint32_t start = (uint32_t)(descriptor >> 16) & 0xffff,
		 offset = (uint32_t)(descriptor >> 32) & 0xffff;

	if (!(descriptor & WIRE_PARTIAL) || !wire->no_checksums || start + offset + 2 > packet->bytes)
		return;
	packet->checksum = PACKET_CSUM_PARTIAL;
	packet->csum_start = (uint16_t)start;
	packet->csum_offset = (uint16_t)offset;
}

/* Descriptors are read once; true: it makes sense. */
static bool take(const struct wire_port *wire, uint32_t number, struct packet *packet, uint8_t *copy)
{
	uint32_t slot = number % WIRE_SLOTS;
	uint64_t descriptor = atomic_load_explicit(&wire->theirs->descriptors[slot], memory_order_relaxed);
	uint32_t bytes = (uint32_t)descriptor & 0xffff;

	if (bytes < ETHERNET_BYTES || bytes > WIRE_SLOT_BYTES)
		return false;
	*packet = (struct packet){.data = copy, .bytes = bytes, .room = WIRE_SLOT_BYTES};
	memcpy(copy, wire->theirs->frames[slot], bytes);
	describe(wire, packet, descriptor);
	return true;
}

static void fetch_ahead(const struct wire_port *wire, uint32_t number)
{
	const uint8_t *frame = wire->theirs->frames[number % WIRE_SLOTS];

	PREFETCH_READ(frame);
	PREFETCH_READ(frame + CACHE_LINE);
}

/* How many frames wait; more than there are slots is nonsense. */
static uint32_t frames_waiting(struct wire_port *wire)
{
	uint32_t waiting;

	if (!wire->theirs)
		return 0;
	waiting = atomic_load_explicit(&wire->theirs->sent, memory_order_acquire) - wire->received;
	if (likely(waiting <= WIRE_SLOTS))
		return waiting;
	misbehaved(wire);
	return 0;
}

static uint32_t wire_rx(struct port *port, struct packet *packets, uint32_t max)
{
	struct wire_port *wire = wire_of(port);
	uint32_t waiting = frames_waiting(wire), most = MIN_OF(max, (uint32_t)PORT_BURST), count = 0;

	CHECK(wire->lent == 0);
	waiting = MIN_OF(waiting, most);
	if (waiting == 0) {
		if (++wire->idle_rounds >= LOOK_EVERY)
			look_at_sockets(wire);
		return 0;
	}
	wire->idle_rounds = 0;
	for (uint32_t i = 0; i < MIN_OF(waiting, (uint32_t)AHEAD); i++)
		fetch_ahead(wire, wire->received + i);
	for (uint32_t i = 0; i < waiting; i++) {
		if (i + AHEAD < waiting)
			fetch_ahead(wire, wire->received + i + AHEAD);
		if (take(wire, wire->received + i, &packets[count], wire->copies + count * WIRE_SLOT_BYTES))
			port->stats.rx_bytes += packets[count++].bytes;
		else
			port->stats.rx_invalid++;
	}
	wire->received += waiting;
	wire->lent = count;
	atomic_store_explicit(&wire->ours->taken, wire->received, memory_order_release);
	port->stats.rx_packets += count;
	return count;
}

static void wire_rx_release(struct port *port, struct packet *packets, uint32_t count)
{
	struct wire_port *wire = wire_of(port);

	(void)packets;
	CHECK(count <= wire->lent);
	wire->lent -= count;
}

/* --- sending ------------------------------------------------------------------------------- */

/* Slots that we may fill. Who takes back what it took, or takes what was not sent, is unplugged. */
static uint32_t slots_free(struct wire_port *wire, uint32_t wanted)
{
	uint32_t taken;

	if (WIRE_SLOTS - (wire->sent - wire->taken) >= wanted)
		return wanted;
	taken = atomic_load_explicit(&wire->theirs->taken, memory_order_acquire);
	if (taken - wire->taken > wire->sent - wire->taken) {
		misbehaved(wire);
		return 0;
	}
	wire->taken = taken;
	return MIN_OF(wanted, WIRE_SLOTS - (wire->sent - taken));
}

/* A cable that is not plugged in takes everything. */
static uint32_t reserve_nowhere(const struct wire_port *wire, struct packet *packets, uint32_t max)
{
	uint32_t count = MIN_OF(max, (uint32_t)PORT_BURST);

	for (uint32_t i = 0; i < count; i++)
		packets[i] = (struct packet){.data = wire->nowhere + i * WIRE_SLOT_BYTES,
					     .room = WIRE_SLOT_BYTES};
	return count;
}

static uint32_t wire_tx_reserve(struct port *port, struct packet *packets, uint32_t max)
{
	struct wire_port *wire = wire_of(port);
	uint32_t count = wire->theirs ? slots_free(wire, max) : 0;

	if (unlikely(!wire->theirs))
		return reserve_nowhere(wire, packets, max);
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *frame = wire->ours->frames[(wire->sent + i) % WIRE_SLOTS];

		PREFETCH_WRITE(frame);
		PREFETCH_WRITE(frame + CACHE_LINE);
		packets[i] = (struct packet){.data = frame, .room = WIRE_SLOT_BYTES};
	}
	if (count < max)
		port->stats.tx_full++;
	return count;
}

static uint64_t descriptor_of(const struct packet *packet)
{
	CHECK(packet->bytes >= ETHERNET_BYTES && packet->bytes <= WIRE_SLOT_BYTES && packet->gso_bytes == 0);
	if (packet->checksum != PACKET_CSUM_PARTIAL)
		return packet->bytes;
	return packet->bytes | (uint64_t)packet->csum_start << 16 | (uint64_t)packet->csum_offset << 32 |
	       WIRE_PARTIAL;
}

/* A byte that does not fit lies behind others that wake just as well. */
static void wake(const struct wire_port *wire)
{
	(void)send(wire->peer, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Sequentially consistent against wire_wait_prepare: either it sees these frames, or the load sees that it
 * sleeps. */
static void publish(struct wire_port *wire)
{
	uint32_t sleeps;

	atomic_store(&wire->ours->sent, wire->sent);
	sleeps = atomic_load(&wire->theirs->sleeps);
	if (likely(!(sleeps & 1) || sleeps == wire->woken))
		return;
	wire->woken = sleeps;
	wake(wire);
}

static void wire_tx_submit(struct port *port, struct packet *packets, uint32_t filled, uint32_t reserved)
{
	struct wire_port *wire = wire_of(port);

	CHECK(filled <= reserved);
	if (unlikely(!wire->theirs)) {
		port->stats.tx_lost += filled;
		return;
	}
	for (uint32_t i = 0; i < filled; i++) {
		uint32_t slot = (wire->sent + i) % WIRE_SLOTS;

		CHECK(packets[i].data == wire->ours->frames[slot]);
		atomic_store_explicit(&wire->ours->descriptors[slot], descriptor_of(&packets[i]),
				      memory_order_relaxed);
		port->stats.tx_bytes += packets[i].bytes;
	}
	if (filled == 0)
		return;
	wire->sent += filled;
	port->stats.tx_packets += filled;
	publish(wire);
}

/* --- sleeping ------------------------------------------------------------------------------ */

static bool wire_wait_prepare(struct port *port)
{
	struct wire_port *wire = wire_of(port);

	if (!wire->theirs)
		return true;
	wire->sleeps |= 1;
	atomic_store(&wire->ours->sleeps, wire->sleeps);
	return atomic_load(&wire->theirs->sent) == wire->received;
}

static void wire_wait_done(struct port *port)
{
	struct wire_port *wire = wire_of(port);

	if (wire->theirs) {
		wire->sleeps = (wire->sleeps | 1) + 1;
		atomic_store(&wire->ours->sleeps, wire->sleeps);
	}
	look_at_sockets(wire);
}

/* --- opening and closing ------------------------------------------------------------------- */

static void wire_close(struct port *port)
{
	struct wire_port *wire = wire_of(port);

	unplug(wire);
	wire_meet_close(&wire->meet);
	if (wire->events >= 0)
		close(wire->events);
	if (wire->retry >= 0)
		close(wire->retry);
	free(wire->copies);
	free(wire->nowhere);
	free(wire);
}

static const struct port_ops wire_ops = {
	.name = "wire",
	.rx = wire_rx,
	.rx_release = wire_rx_release,
	.tx_reserve = wire_tx_reserve,
	.tx_submit = wire_tx_submit,
	.wait_prepare = wire_wait_prepare,
	.wait_done = wire_wait_done,
	.close = wire_close,
};

static struct wire_port *wire_new(const struct wire_config *config)
{
	struct wire_port *wire = calloc(1, sizeof(*wire));

	if (!wire)
		return NULL;
	wire->port.ops = &wire_ops;
	wire->peer = wire->meet.listener = -1;
	wire->no_checksums = config->no_checksums;
	snprintf(wire->path, sizeof(wire->path), "%s", config->path ? config->path : "");
	wire->events = wire->port.wait_fd = epoll_create1(EPOLL_CLOEXEC);
	wire->retry = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	wire->copies = aligned_alloc(CACHE_LINE, PORT_BURST * WIRE_SLOT_BYTES);
	wire->nowhere = aligned_alloc(CACHE_LINE, PORT_BURST * WIRE_SLOT_BYTES);
	wire->port.caps = (struct port_caps){
		.mtu = 1500,
		.address = {0x02, 0xc1},
		.tx_checksum = config->no_checksums,
		.rx_checksum = config->no_checksums,
		.queues = 1,
	};
	put32(wire->port.caps.address + 2, config->address);
	if (wire->copies && wire->nowhere && wire->events >= 0 && wire->retry >= 0) {
		watch(wire, wire->retry);
		return wire;
	}
	wire_close(&wire->port);
	return NULL;
}

/* Waits for the answer of who listens. A negative errno and a sentence when there is none. */
static int await_greeting(struct wire_port *wire, int greeted, char error[PORT_ERROR_BYTES])
{
	struct pollfd fd = {.fd = wire->peer, .events = POLLIN};
	int result = greeted;

	if (greeted == 0 && poll(&fd, 1, GREET_MS) > 0)
		result = hear_greeting(wire);
	if (result == 1)
		return 0;
	if (result == -EPROTO)
		snprintf(error, PORT_ERROR_BYTES,
			 "the other end of %.120s takes other checksums: give --no-checksums to both or none",
			 wire->path);
	else if (result < 0)
		snprintf(error, PORT_ERROR_BYTES,
			 "%.120s has no end left: two programs share a wire, give these two another path",
			 wire->path);
	else
		snprintf(error, PORT_ERROR_BYTES,
			 "who listens at %.120s does not answer: stop it, or give --wire another path",
			 wire->path);
	return result == -EPROTO ? result : -ECONNREFUSED;
}

static int plug_in(struct wire_port *wire, const char *path, char error[PORT_ERROR_BYTES])
{
	int peer = wire_meet_open(&wire->meet, path, START_MS, error), result;

	if (peer < -1)
		return peer;
	if (peer == -1) {
		watch(wire, wire->meet.listener);
		return 0;
	}
	result = greet(wire, peer);
	if (result != -ENOMEM)
		return await_greeting(wire, result, error);
	snprintf(error, PORT_ERROR_BYTES, "no memory to share with the other end of %.120s (%s): free some",
		 path, strerror(errno));
	return -ENOMEM;
}

int wire_open(const struct wire_config *config, struct port **port, char error[PORT_ERROR_BYTES])
{
	struct wire_port *wire = wire_new(config);
	int result;

	if (!wire) {
		snprintf(error, PORT_ERROR_BYTES, "too little memory for a wire: free some");
		return -ENOMEM;
	}
	result = plug_in(wire, config->path, error);
	if (result < 0) {
		wire_close(&wire->port);
		return result;
	}
	snprintf(wire->port.text, sizeof(wire->port.text), "wire %.40s, %s%s", wire->path,
		 wire->theirs ? "joined" : "waits for its other end",
		 config->no_checksums ? ", without checksums" : "");
	*port = &wire->port;
	return 0;
}
