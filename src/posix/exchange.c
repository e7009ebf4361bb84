/* exchange.c - the port "exchange": raw IP packets handed in and taken out by ordinary threads.
 * In: packets of threads, frames of the worker. Out: frames for the worker, packets with their time.
 * Owns: two queues under one lock; the descriptor that wakes the worker. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "posix/exchange.h"
#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"

#define FRAME_ROOM 9216
#define MTU_MAX    9000

struct frame {
	uint32_t bytes;
	struct timeval when;
	uint8_t data[FRAME_ROOM];
};

struct queue {
	struct frame *frames;
	unsigned first, count;
};

struct exchange {
	struct port port;
	pthread_mutex_t lock;
	pthread_cond_t news; /* for those who take */
	struct queue in, out;
	struct frame *sending; /* PORT_BURST of them, lent to the worker */
	unsigned lent;         /* of `in`, not released yet */
};

static const struct eth_address neighbour = {{2, 0, 0, 0, 0, 2}};

static struct exchange *exchange_of(struct port *port)
{
	return (struct exchange *)(void *)port; /* its first member */
}

static struct frame *queue_at(const struct queue *queue, unsigned index)
{
	return &queue->frames[(queue->first + index) % EXCHANGE_PACKETS];
}

/* NULL: full. */
static struct frame *queue_add(struct queue *queue)
{
	return queue->count == EXCHANGE_PACKETS ? NULL : queue_at(queue, queue->count++);
}

static void queue_drop(struct queue *queue, unsigned count)
{
	queue->first = (queue->first + count) % EXCHANGE_PACKETS;
	queue->count -= count;
}

static void wake(const struct exchange *exchange)
{
	const uint64_t one = 1;
	ssize_t written = write(exchange->port.wait_fd, &one, sizeof(one));

	(void)written; /* EAGAIN: it is readable */
}

/* --- the worker's side --------------------------------------------------------------------------- */

/* Frames stay where they are until they are released: nobody else moves the first ones. */
static uint32_t receive(struct port *port, struct packet *packets, uint32_t max)
{
	struct exchange *exchange = exchange_of(port);
	uint32_t count;

	pthread_mutex_lock(&exchange->lock);
	count = MIN_OF(max, exchange->in.count);
	for (uint32_t i = 0; i < count; i++) {
		struct frame *frame = queue_at(&exchange->in, i);

		packets[i] = (struct packet){.data = frame->data, .bytes = frame->bytes};
		port->stats.rx_packets++;
		port->stats.rx_bytes += frame->bytes;
	}
	exchange->lent = count;
	pthread_mutex_unlock(&exchange->lock);
	return count;
}

static void release(struct port *port, struct packet *packets, uint32_t count)
{
	struct exchange *exchange = exchange_of(port);

	(void)packets;
	(void)count;
	pthread_mutex_lock(&exchange->lock);
	queue_drop(&exchange->in, exchange->lent);
	exchange->lent = 0;
	pthread_mutex_unlock(&exchange->lock);
}

static uint32_t reserve(struct port *port, struct packet *packets, uint32_t max)
{
	struct exchange *exchange = exchange_of(port);
	uint32_t count;

	pthread_mutex_lock(&exchange->lock);
	count = MIN_OF(MIN_OF(max, (uint32_t)PORT_BURST), EXCHANGE_PACKETS - exchange->out.count);
	pthread_mutex_unlock(&exchange->lock);
	for (uint32_t i = 0; i < count; i++)
		packets[i] = (struct packet){.data = exchange->sending[i].data, .room = FRAME_ROOM};
	return count;
}

/* Whoever is asked for is the neighbour. */
static void answer_arp(struct exchange *exchange, const uint8_t *frame, uint32_t bytes)
{
	struct eth_header eth = {.type = ETH_TYPE_ARP, .source = neighbour};
	struct arp_packet asked, answer = {.operation = ARP_REPLY, .sender = neighbour};
	struct frame *to;

	if (arp_parse(frame + ETH_HEADER_BYTES, bytes - ETH_HEADER_BYTES, &asked) ||
	    asked.operation != ARP_REQUEST || asked.target_ip == asked.sender_ip)
		return;
	to = queue_add(&exchange->in);
	if (!to)
		return;
	eth.destination = asked.sender;
	answer.sender_ip = asked.target_ip;
	answer.target = asked.sender;
	answer.target_ip = asked.sender_ip;
	eth_emit(to->data, &eth);
	arp_emit(to->data + ETH_HEADER_BYTES, &answer);
	to->bytes = ETH_HEADER_BYTES + ARP_BYTES;
	wake(exchange);
}

static void send_one(struct exchange *exchange, const uint8_t *data, uint32_t bytes, struct timeval now)
{
	struct eth_header eth;
	struct frame *to;

	if (eth_parse(data, bytes, &eth))
		return;
	if (eth.type == ETH_TYPE_ARP)
		answer_arp(exchange, data, bytes);
	if (eth.type != ETH_TYPE_IPV4)
		return;
	to = queue_add(&exchange->out);
	if (!to) {
		exchange->port.stats.tx_lost++;
		return;
	}
	to->bytes = bytes - ETH_HEADER_BYTES;
	to->when = now;
	memcpy(to->data, data + ETH_HEADER_BYTES, to->bytes);
	exchange->port.stats.tx_packets++;
	exchange->port.stats.tx_bytes += bytes;
}

static void submit(struct port *port, struct packet *packets, uint32_t filled, uint32_t reserved)
{
	struct exchange *exchange = exchange_of(port);
	struct timeval now;

	(void)reserved;
	gettimeofday(&now, NULL);
	pthread_mutex_lock(&exchange->lock);
	for (uint32_t i = 0; i < filled; i++)
		send_one(exchange, packets[i].data, packets[i].bytes, now);
	pthread_cond_broadcast(&exchange->news);
	pthread_mutex_unlock(&exchange->lock);
}

static bool wait_prepare(struct port *port)
{
	struct exchange *exchange = exchange_of(port);
	uint64_t count;
	ssize_t got = read(port->wait_fd, &count, sizeof(count));
	bool empty;

	(void)got; /* EAGAIN: nothing has come */
	pthread_mutex_lock(&exchange->lock);
	empty = exchange->in.count == 0;
	pthread_mutex_unlock(&exchange->lock);
	return empty;
}

static void close_exchange(struct port *port)
{
	struct exchange *exchange = exchange_of(port);

	if (port->wait_fd >= 0)
		close(port->wait_fd);
	pthread_cond_destroy(&exchange->news);
	pthread_mutex_destroy(&exchange->lock);
	free(exchange->in.frames);
	free(exchange->out.frames);
	free(exchange->sending);
	free(exchange);
}

static const struct port_ops exchange_ops = {
	.name = "exchange",
	.rx = receive,
	.rx_release = release,
	.tx_reserve = reserve,
	.tx_submit = submit,
	.wait_prepare = wait_prepare,
	.close = close_exchange,
};

struct exchange *exchange_open(uint32_t mtu)
{
	struct exchange *exchange = mtu <= MTU_MAX ? calloc(1, sizeof(*exchange)) : NULL;
	static const struct eth_address own = {{2, 0, 0, 0, 0, 1}};

	if (!exchange)
		return NULL;
	exchange->port.ops = &exchange_ops;
	exchange->port.caps = (struct port_caps){.mtu = mtu, .queues = 1};
	memcpy(exchange->port.caps.address, own.octets, sizeof(own.octets));
	exchange->port.wait_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	snprintf(exchange->port.text, sizeof(exchange->port.text), "packets of this process");
	pthread_mutex_init(&exchange->lock, NULL);
	pthread_cond_init(&exchange->news, NULL);
	exchange->in.frames = calloc(EXCHANGE_PACKETS, sizeof(struct frame));
	exchange->out.frames = calloc(EXCHANGE_PACKETS, sizeof(struct frame));
	exchange->sending = calloc(PORT_BURST, sizeof(struct frame));
	if (exchange->port.wait_fd < 0 || !exchange->in.frames || !exchange->out.frames ||
	    !exchange->sending) {
		close_exchange(&exchange->port);
		return NULL;
	}
	return exchange;
}

struct port *exchange_port(struct exchange *exchange)
{
	return &exchange->port;
}

/* --- the threads' side --------------------------------------------------------------------------- */

int exchange_give(struct exchange *exchange, const void *packet, size_t bytes)
{
	const struct eth_header eth = {
		.destination = {{2, 0, 0, 0, 0, 1}}, .source = neighbour, .type = ETH_TYPE_IPV4};
	struct frame *to;

	if (bytes > FRAME_ROOM - ETH_HEADER_BYTES)
		return -EMSGSIZE;
	pthread_mutex_lock(&exchange->lock);
	to = queue_add(&exchange->in);
	if (to) {
		eth_emit(to->data, &eth);
		memcpy(to->data + ETH_HEADER_BYTES, packet, bytes);
		to->bytes = (uint32_t)(ETH_HEADER_BYTES + bytes);
		wake(exchange);
	}
	pthread_mutex_unlock(&exchange->lock);
	return to ? 0 : -ENOBUFS;
}

/* False: the time is over. The lock is held. */
static bool wait_for_news(struct exchange *exchange, uint32_t timeout_ms)
{
	struct timespec until;
	int error = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	while (exchange->out.count == 0 && error == 0)
		error = pthread_cond_timedwait(&exchange->news, &exchange->lock, &until);
	return exchange->out.count > 0;
}

int exchange_take(struct exchange *exchange, void *packet, size_t room, struct timeval *when,
		  uint32_t timeout_ms)
{
	const struct frame *from;
	int result = -ETIMEDOUT;

	pthread_mutex_lock(&exchange->lock);
	if (wait_for_news(exchange, timeout_ms)) {
		from = queue_at(&exchange->out, 0);
		result = from->bytes <= room ? (int)from->bytes : -EMSGSIZE;
		if (result >= 0)
			memcpy(packet, from->data, from->bytes);
		*when = from->when;
		queue_drop(&exchange->out, 1);
	}
	pthread_mutex_unlock(&exchange->lock);
	return result;
}
