/* client.c - connections that belong to ordinary threads: the thread's side.
 * In: calls of a thread on its client. Out: what is asked of the worker; bytes and events for the caller.
 * Owns: the clients of the process, their memory, and who frees them when a thread ends. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "run/client.h"
#include "run/client_shared.h"
#include "run/errand.h"
#include "sys/clock.h"

#define RING_BYTES     16384u
#define RING_BYTES_MIN 256u
#define RING_BYTES_MAX (1u << 20)
#define SPIN_US        20u
#define NO_DEADLINE    UINT64_MAX
#define AT_ONCE        0u

pthread_mutex_t clients_lock = PTHREAD_MUTEX_INITIALIZER;
c10m_client *clients_of_process[CLIENTS];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

/* --- asking and waiting --------------------------------------------------------------------------- */

static void announce(c10m_client *client)
{
	if (client->unannounced) {
		client->unannounced = false;
		errands_wake(client->worker);
	}
}

static void ask(c10m_client *client, struct place *place, unsigned bits)
{
	if (atomic_fetch_or(&place->asked, bits) == 0)
		numbers_put(&client->asks, place_index(client, place));
	client->unannounced = true;
	if (!client->batch)
		announce(client);
}

static uint64_t deadline_of(int timeout_ms)
{
	if (timeout_ms <= 0)
		return timeout_ms == 0 ? AT_ONCE : NO_DEADLINE;
	return sys_now_ns() + (uint64_t)timeout_ms * 1000000;
}

static void sleep_until(c10m_client *client, unsigned sequence, uint64_t left_ns)
{
	struct timespec left;

	left_ns = MIN_OF(left_ns, 1000000000ull);
	left = (struct timespec){(time_t)(left_ns / 1000000000), (long)(left_ns % 1000000000)};
	atomic_store(&client->waiting, true);
	if (atomic_load(&client->sequence) == sequence)
		syscall(SYS_futex, &client->sequence, FUTEX_WAIT_PRIVATE, sequence, &left, NULL, 0);
	atomic_store(&client->waiting, false);
}

/* Until `sequence` is not what it was, or a bit later. False: the time is over. */
static bool wait_for_bell(c10m_client *client, unsigned sequence, uint64_t deadline_ns)
{
	uint64_t now_ns, spin_end_ns;

	if (deadline_ns == AT_ONCE)
		return false;
	announce(client);
	now_ns = sys_now_ns();
	spin_end_ns = MIN_OF(now_ns + client->spin_ns, deadline_ns);
	while (atomic_load_explicit(&client->sequence, memory_order_acquire) == sequence &&
	       now_ns < spin_end_ns) {
		RELAX_PROCESSOR();
		now_ns = sys_now_ns();
	}
	if (now_ns >= deadline_ns)
		return false;
	if (now_ns >= spin_end_ns)
		sleep_until(client, sequence, deadline_ns - now_ns);
	return true;
}

static int time_over(int timeout_ms)
{
	return timeout_ms == 0 ? -EAGAIN : -ETIMEDOUT;
}

/* --- streams and places ------------------------------------------------------------------------------ */

static c10m_stream stream_of(const c10m_client *client, const struct place *place)
{
	return (uint64_t)place->generation << 32 | client->number << 24 | (place_index(client, place) + 1);
}

static struct place *find(c10m_client *client, c10m_stream stream)
{
	uint32_t index = ((uint32_t)stream & 0xffffff) - 1;
	struct place *place;

	if (index >= client->connects + client->accepts || (uint32_t)stream >> 24 != client->number)
		return NULL;
	place = &client->places[index];
	return place->taken && place->generation == stream >> 32 ? place : NULL;
}

static struct place *take_place(c10m_client *client)
{
	struct place *place;
	uint32_t index;

	while (numbers_get(&client->released, &index))
		stock_give(&client->own, index);
	if (!stock_take(&client->own, &index))
		return NULL;
	place = &client->places[index];
	place->taken = true;
	place->generation++;
	place->send_end = place->send_start = place->receive_start = place->receive_end = 0;
	place->eof = place->starved = place->wants_room = false;
	place->error = 0;
	return place;
}

static int await_open(c10m_client *client, struct place *place, int timeout_ms)
{
	uint64_t deadline_ns = deadline_of(timeout_ms);

	while (timeout_ms != 0) {
		unsigned sequence = atomic_load(&client->sequence);

		if (atomic_load(&place->state) != PLACE_CONNECTING)
			break;
		if (atomic_load(&client->detached))
			return -ESHUTDOWN;
		if (!wait_for_bell(client, sequence, deadline_ns))
			return -ETIMEDOUT;
	}
	if (atomic_load(&place->state) == PLACE_ENDED)
		return place->error ? place->error : -ECONNRESET;
	return 0;
}

C10M_API c10m_stream c10m_client_connect(c10m_client *client, uint32_t address, uint16_t port, int timeout_ms,
					 int *error)
{
	bool over = atomic_load(&client->detached);
	struct place *place = over ? NULL : take_place(client);
	c10m_stream stream;

	*error = over ? -ESHUTDOWN : -EAGAIN;
	if (!place)
		return 0;
	place->address = address;
	place->port = port;
	atomic_store(&place->state, PLACE_CONNECTING);
	ask(client, place, ASK_CONNECT);
	stream = stream_of(client, place);
	*error = await_open(client, place, timeout_ms);
	if (*error == 0)
		return stream;
	c10m_client_end(client, stream);
	return 0;
}

C10M_API c10m_stream c10m_client_accept(c10m_client *client, int timeout_ms, int *error)
{
	uint64_t deadline_ns = deadline_of(timeout_ms);
	uint32_t index;

	for (;;) {
		unsigned sequence = atomic_load(&client->sequence);
		bool over = atomic_load(&client->stopping) || atomic_load(&client->detached);

		*error = 0;
		if (numbers_get(&client->arrivals, &index)) {
			client->places[index].taken = true;
			return stream_of(client, &client->places[index]);
		}
		*error = client->accepts == 0 ? -EINVAL : over ? -ESHUTDOWN : time_over(timeout_ms);
		if (over || client->accepts == 0 || !wait_for_bell(client, sequence, deadline_ns))
			return 0;
	}
}

C10M_API int c10m_client_endpoints(c10m_client *client, c10m_stream stream, struct c10m_endpoints *endpoints)
{
	struct place *place = find(client, stream);

	if (!place)
		return -ESTALE;
	if (atomic_load_explicit(&place->state, memory_order_acquire) == PLACE_CONNECTING)
		return -ENOTCONN;
	*endpoints = place->endpoints;
	return 0;
}

/* 0: the stream may go on. */
static int64_t why_ended(c10m_client *client, const struct place *place)
{
	if (atomic_load_explicit(&place->state, memory_order_acquire) == PLACE_ENDED)
		return place->error ? place->error : -EPIPE;
	return atomic_load(&client->detached) ? -ESHUTDOWN : 0;
}

/* Who finds no room says so, and looks once more: the worker makes room first and looks for the word then. */
static uint32_t put_bytes(c10m_client *client, struct place *place, const uint8_t *data, size_t len)
{
	struct byte_ring ring = place_send_ring(client, place);
	uint32_t bytes = byte_ring_put(&ring, data, len);

	if (unlikely(bytes < len)) {
		atomic_store(&place->wants_room, true);
		bytes += byte_ring_put(&ring, data + bytes, len - bytes);
	}
	if (bytes > 0)
		ask(client, place, ASK_SEND);
	return bytes;
}

C10M_API int64_t c10m_client_send(c10m_client *client, c10m_stream stream, const void *data, size_t len,
				  int timeout_ms)
{
	uint64_t deadline_ns = deadline_of(timeout_ms);
	struct place *place = find(client, stream);
	size_t sent = 0;

	if (!place)
		return -ESTALE;
	while (sent < len) {
		unsigned sequence = atomic_load(&client->sequence);
		int64_t ended = why_ended(client, place);

		if (ended)
			return sent ? (int64_t)sent : ended;
		sent += put_bytes(client, place, (const uint8_t *)data + sent, len - sent);
		if (sent < len && !wait_for_bell(client, sequence, deadline_ns))
			break;
	}
	return sent > 0 || len == 0 ? (int64_t)sent : time_over(timeout_ms);
}

C10M_API int64_t c10m_client_receive(c10m_client *client, c10m_stream stream, void *buffer, size_t len,
				     int timeout_ms)
{
	uint64_t deadline_ns = deadline_of(timeout_ms);
	struct place *place = find(client, stream);
	struct byte_ring ring;

	if (!place)
		return -ESTALE;
	ring = place_receive_ring(client, place);
	for (;;) {
		unsigned sequence = atomic_load(&client->sequence);
		int64_t ended = why_ended(client, place); /* before the bytes: the last come before the end */
		bool eof = atomic_load_explicit(&place->eof, memory_order_acquire);
		uint32_t bytes = byte_ring_take(&ring, buffer, len);

		if (bytes > 0 && atomic_load(&place->starved) && atomic_exchange(&place->starved, false))
			ask(client, place, ASK_MORE);
		if (bytes > 0 || eof || ended == -EPIPE || len == 0)
			return bytes;
		if (ended)
			return ended;
		if (!wait_for_bell(client, sequence, deadline_ns))
			return time_over(timeout_ms);
	}
}

C10M_API int c10m_client_end(c10m_client *client, c10m_stream stream)
{
	struct place *place = find(client, stream);

	if (!place)
		return -ESTALE;
	place->taken = false;
	ask(client, place, ASK_CLOSE);
	return 0;
}

/* --- events --------------------------------------------------------------------------------------------- */

/* As long as connections wait; and once when the last has come. */
static bool acceptable(c10m_client *client)
{
	if (client->accepts == 0)
		return false;
	if (numbers_count(&client->arrivals) > 0)
		return true;
	if (client->end_told || !atomic_load(&client->stopping))
		return false;
	client->end_told = true;
	return true;
}

static int collect(c10m_client *client, struct c10m_stream_event *events, int max)
{
	uint32_t index;
	int count = 0;

	if (max > 0 && acceptable(client))
		events[count++] = (struct c10m_stream_event){0, C10M_STREAM_ACCEPTABLE};
	while (count < max && numbers_get(&client->tells, &index)) {
		struct place *place = &client->places[index];
		unsigned told = atomic_exchange(&place->told, 0);

		if (!place->taken)
			continue;
		if (atomic_load(&place->state) != PLACE_ENDED)
			told &= ~C10M_STREAM_ENDED; /* it was the last one's */
		if (!atomic_load(&place->eof))
			told &= ~C10M_STREAM_EOF;
		if (told)
			events[count++] = (struct c10m_stream_event){stream_of(client, place), told};
	}
	return count;
}

/* The next bell makes the descriptor readable, unless it is. */
static void arm(c10m_client *client)
{
	enum bell_state bell = atomic_load(&client->bell);
	uint64_t rings;

	if (bell == BELL_RUNG && read(client->fd, &rings, sizeof(rings)) < 0)
		CHECK(errno == EAGAIN || errno == EINTR);
	if (bell == BELL_RUNG || bell == BELL_IDLE)
		atomic_store(&client->bell, BELL_ARMED);
}

C10M_API int c10m_client_fd(const c10m_client *client)
{
	return client->fd;
}

C10M_API int c10m_client_poll(c10m_client *client, struct c10m_stream_event *events, int max)
{
	int count;

	announce(client);
	arm(client); /* before the look: what comes after it rings */
	count = collect(client, events, max);
	if (count == max)
		client_ring_bell(client); /* there may be more */
	return count;
}

C10M_API int c10m_client_wait(c10m_client *client, struct c10m_stream_event *events, int max, int timeout_ms)
{
	uint64_t deadline_ns = deadline_of(timeout_ms);

	announce(client);
	for (;;) {
		unsigned sequence = atomic_load(&client->sequence);
		bool over = atomic_load(&client->detached);
		int count = collect(client, events, max);

		if (count > 0 || over)
			return count > 0 ? count : -ESHUTDOWN;
		if (!wait_for_bell(client, sequence, deadline_ns))
			return 0;
	}
}

C10M_API void c10m_client_flush(c10m_client *client)
{
	announce(client);
}

/* --- beginning and end ---------------------------------------------------------------------------------- */

static void close_all_of_thread(void *first)
{
	for (c10m_client *client = first, *next; client; client = next) {
		next = client->next_of_thread;
		client->next_of_thread = NULL;
		c10m_client_close(client);
	}
}

static void make_key(void)
{
	CHECK(pthread_key_create(&key, close_all_of_thread) == 0);
}

static bool ring_size_good(uint32_t bytes)
{
	return bytes >= RING_BYTES_MIN && bytes <= RING_BYTES_MAX && (bytes & (bytes - 1)) == 0;
}

/* False: they make no sense. */
static bool complete(struct c10m_client_options *options)
{
	if (options->streams == 0)
		options->streams = C10M_CLIENT_STREAMS;
	if (options->receive_bytes == 0)
		options->receive_bytes = RING_BYTES;
	if (options->send_bytes == 0)
		options->send_bytes = RING_BYTES;
	if (options->backlog == 0)
		options->backlog = options->accepts;
	if (options->spin_us == 0)
		options->spin_us = SPIN_US;
	return options->streams <= C10M_CLIENT_STREAMS_MAX && options->accepts <= C10M_CLIENT_STREAMS_MAX &&
	       ring_size_good(options->receive_bytes) && ring_size_good(options->send_bytes) &&
	       !(options->flags & ~C10M_CLIENT_BATCH) && options->reserved == 0;
}

static uint32_t numbers_size(uint32_t places)
{
	uint32_t size = 1;

	while (size < places)
		size *= 2;
	return size;
}

/* Carves one array behind the other; without memory it only counts. */
static void *carve(uint8_t *memory, size_t *used, size_t bytes)
{
	void *at = memory ? memory + *used : NULL;

	*used += ALIGN_UP(bytes, (size_t)CACHE_LINE);
	return at;
}

static void carve_numbers(uint8_t *memory, size_t *used, struct numbers *numbers, uint32_t places)
{
	numbers->mask = numbers_size(places) - 1;
	numbers->room = carve(memory, used, (numbers->mask + (size_t)1) * sizeof(uint32_t));
}

/* How large the client is, or, with its memory, where all of it lies. */
static size_t lay_out(c10m_client *client, uint8_t *memory)
{
	uint32_t connects = client->connects, accepts = client->accepts;
	size_t used = ALIGN_UP(sizeof(*client), (size_t)CACHE_LINE), places = connects + accepts;

	client->places = carve(memory, &used, places * sizeof(struct place));
	carve_numbers(memory, &used, &client->asks, connects + accepts);
	carve_numbers(memory, &used, &client->tells, connects + accepts);
	carve_numbers(memory, &used, &client->released, connects);
	carve_numbers(memory, &used, &client->arrivals, accepts);
	client->own.given = carve(memory, &used, connects * sizeof(uint32_t));
	client->vacant.given = carve(memory, &used, accepts * sizeof(uint32_t));
	client->own.end = connects;
	client->vacant.fresh = connects;
	client->vacant.end = connects + accepts;
	client->rings = carve(memory, &used, places * ((size_t)client->send_size + client->receive_size));
	return used;
}

/* Pages that no stream has used yet take no memory. */
static c10m_client *map_client(const struct c10m_client_options *options)
{
	c10m_client plan = {
		.connects = options->streams,
		.accepts = options->accepts,
		.backlog = options->backlog,
		.send_size = options->send_bytes,
		.receive_size = options->receive_bytes,
		.spin_ns = (uint64_t)options->spin_us * 1000,
		.batch = options->flags & C10M_CLIENT_BATCH,
	};
	uint8_t *memory;

	plan.bytes = lay_out(&plan, NULL);
	memory = mmap(NULL, plan.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return NULL;
	lay_out(&plan, memory);
	memcpy(memory, &plan, sizeof(plan));
	return (c10m_client *)memory;
}

static c10m_client *make_client(uint32_t worker, uint32_t service, const struct c10m_client_options *options,
				int *error)
{
	c10m_client *client = map_client(options);
	uint32_t number = 0;

	*error = -ENOMEM;
	if (!client)
		return NULL;
	client->worker = worker;
	client->service = service;
	client->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	pthread_mutex_lock(&clients_lock);
	while (number < CLIENTS && clients_of_process[number])
		number++;
	if (number < CLIENTS && client->fd >= 0)
		clients_of_process[number] = client;
	pthread_mutex_unlock(&clients_lock);
	client->number = number;
	if (number < CLIENTS && client->fd >= 0)
		return client;
	*error = client->fd < 0 ? -EMFILE : -EAGAIN;
	if (client->fd >= 0)
		close(client->fd);
	munmap(client, client->bytes);
	return NULL;
}

static void free_client(c10m_client *client)
{
	pthread_mutex_lock(&clients_lock);
	clients_of_process[client->number] = NULL;
	pthread_mutex_unlock(&clients_lock);
	close(client->fd);
	munmap(client, client->bytes);
}

C10M_API c10m_client *c10m_client_open_with(uint32_t worker, uint32_t service,
					    const struct c10m_client_options *wanted, int *error)
{
	struct c10m_client_options options = *wanted;
	c10m_client *client;

	*error = -EINVAL;
	if (worker >= STACKS_MAX || !complete(&options))
		return NULL;
	pthread_once(&once, make_key);
	client = make_client(worker, service, &options, error);
	if (!client)
		return NULL;
	*error = c10m_post(worker, client_attach, client);
	if (*error < 0) {
		free_client(client);
		return NULL;
	}
	client->next_of_thread = pthread_getspecific(key);
	pthread_setspecific(key, client);
	return client;
}

C10M_API c10m_client *c10m_client_open(uint32_t worker, uint32_t service, int *error)
{
	const struct c10m_client_options options = {0};

	return c10m_client_open_with(worker, service, &options, error);
}

static void forget(c10m_client *client)
{
	c10m_client *first = pthread_getspecific(key), **link = &first;

	while (*link && *link != client)
		link = &(*link)->next_of_thread;
	if (*link)
		*link = client->next_of_thread;
	pthread_setspecific(key, first);
}

C10M_API void c10m_client_close(c10m_client *client)
{
	forget(client);
	atomic_store(&client->closing, true);
	for (;;) {
		unsigned sequence = atomic_load(&client->sequence);

		if (atomic_load(&client->detached))
			break;
		errands_wake(client->worker);
		wait_for_bell(client, sequence, NO_DEADLINE);
	}
	free_client(client);
}

C10M_API void c10m_client_service(struct c10m_service *service, const char *name)
{
	client_service_describe(service, name);
}
