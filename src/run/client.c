/* client.c - connections that belong to ordinary threads.
 * In: calls of a thread on its client; the callbacks of its connections, on a worker. Out: both to each
 * other. Owns: the clients: places for connections, with a ring of bytes each way, and rings of what changed.
 *
 * What a side has to say about a place are bits; its number enters the ring when the first of them is set,
 * and the reader takes them all at once. So a ring with room for every place is never full. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "run/client.h"
#include "run/errand.h"
#include "sys/clock.h"

#define CLIENTS     256u /* in a process */
#define PLACES      C10M_CLIENT_STREAMS
#define RING_BYTES  16384u
#define NUMBERS     128u /* room of the rings of places */
#define SPIN_NS     20000
#define NO_DEADLINE UINT64_MAX

_Static_assert(NUMBERS > PLACES && UINT32_MAX % NUMBERS == NUMBERS - 1, "every place finds room");

/* What the thread asks for. */
#define ASK_CONNECT 0x1u
#define ASK_SEND    0x2u
#define ASK_MORE    0x4u /* there is room to receive */
#define ASK_CLOSE   0x8u

enum place_state { PLACE_FREE, PLACE_CONNECTING, PLACE_OPEN, PLACE_ENDED };

/* One writer, one reader. */
struct numbers {
	CACHE_ALIGNED atomic_uint end; /* the writer's */
	CACHE_ALIGNED atomic_uint start;
	CACHE_ALIGNED uint32_t room[NUMBERS];
};

struct place {
	/* The thread's side. */
	CACHE_ALIGNED atomic_uint asked;
	atomic_uint send_end, receive_start; /* bytes since the beginning */
	uint32_t generation;
	uint32_t address;
	uint16_t port;
	bool taken; /* by the thread */
	/* The worker's side. */
	CACHE_ALIGNED atomic_uint told;
	atomic_uint send_start, receive_end;
	_Atomic enum place_state state;
	atomic_bool eof;
	atomic_bool starved; /* bytes wait for room in our ring */
	atomic_int error;    /* why it ended; 0: in order */
	bool closing;
	c10m_handle conn;
	CACHE_ALIGNED uint8_t send[RING_BYTES], receive[RING_BYTES];
};

struct c10m_client {
	uint32_t number, worker, service;
	int fd;
	c10m_client *next_of_thread, *next_of_worker;
	atomic_bool closing;                /* the thread has left */
	atomic_bool detached;               /* the worker will not touch it again */
	struct numbers asks;                /* to the worker */
	struct numbers tells;               /* to the thread */
	CACHE_ALIGNED atomic_uint sequence; /* counts what was told: the futex */
	atomic_bool waiting, armed;
	struct place places[PLACES];
};

/* The state of a connection. */
struct owner_of_conn {
	uint32_t client; /* its number + 1; 0: nobody */
	uint32_t place;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static c10m_client *clients[CLIENTS]; /* a worker looks only at those that it has not detached */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

static struct clients {
	c10m_client *first;
	struct stack *stack;
} of_worker[STACKS_MAX];

/* --- rings and bells -------------------------------------------------------------------------- */

/* There is room: no place stands in it twice. */
static void put_number(struct numbers *numbers, uint32_t place)
{
	unsigned end = atomic_load_explicit(&numbers->end, memory_order_relaxed);

	numbers->room[end % NUMBERS] = place;
	atomic_store_explicit(&numbers->end, end + 1, memory_order_release);
}

static bool get_number(struct numbers *numbers, uint32_t *place)
{
	unsigned start = atomic_load_explicit(&numbers->start, memory_order_relaxed);

	if (start == atomic_load_explicit(&numbers->end, memory_order_acquire))
		return false;
	*place = numbers->room[start % NUMBERS];
	atomic_store_explicit(&numbers->start, start + 1, memory_order_release);
	return true;
}

static void ask(c10m_client *client, uint32_t index, unsigned bits)
{
	if (atomic_fetch_or(&client->places[index].asked, bits) == 0)
		put_number(&client->asks, index);
	errands_wake(client->worker);
}

static void ring_bell(c10m_client *client)
{
	const uint64_t one = 1;

	atomic_fetch_add(&client->sequence, 1);
	if (unlikely(atomic_load(&client->waiting)))
		syscall(SYS_futex, &client->sequence, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	if (unlikely(atomic_load(&client->armed)) && atomic_exchange(&client->armed, false))
		CHECK(write(client->fd, &one, sizeof(one)) == sizeof(one) || errno == EAGAIN);
}

static void tell(c10m_client *client, struct place *place, unsigned bits)
{
	if (atomic_fetch_or(&place->told, bits) == 0)
		put_number(&client->tells, (uint32_t)(place - client->places));
	ring_bell(client);
}

/* --- on the worker ------------------------------------------------------------------------------- */

/* NULL: nobody's any longer. */
static struct place *place_of(c10m_conn *conn, c10m_client **client)
{
	const struct owner_of_conn *owner = c10m_conn_state(conn);

	if (owner->client == 0)
		return NULL;
	*client = clients[owner->client - 1];
	return &(*client)->places[owner->place];
}

static void disown(c10m_conn *conn)
{
	((struct owner_of_conn *)c10m_conn_state(conn))->client = 0;
}

/* The thread has closed it: the place is free again, whatever becomes of the connection. */
static void release(struct place *place)
{
	place->conn = 0;
	place->closing = false;
	atomic_store_explicit(&place->state, PLACE_FREE, memory_order_release);
}

static void push_out(c10m_client *client, struct place *place, c10m_conn *conn)
{
	uint32_t start = atomic_load_explicit(&place->send_start, memory_order_relaxed);
	uint32_t end = atomic_load_explicit(&place->send_end, memory_order_acquire);
	uint32_t first = start;

	while (start != end) {
		uint32_t at = start % RING_BYTES, bytes = MIN_OF(end - start, RING_BYTES - at);
		uint32_t sent = (uint32_t)c10m_send(conn, place->send + at, bytes);

		start += sent;
		if (sent < bytes)
			break;
	}
	atomic_store_explicit(&place->send_start, start, memory_order_release);
	if (place->closing && start == end) {
		disown(conn);
		release(place);
		c10m_close(conn);
	} else if (start != first) {
		tell(client, place, C10M_STREAM_WRITABLE);
	}
}

static void on_open(c10m_conn *conn)
{
	c10m_client *client;
	struct place *place = place_of(conn, &client);

	if (!place) {
		c10m_abort(conn);
		return;
	}
	atomic_store_explicit(&place->state, PLACE_OPEN, memory_order_release);
	tell(client, place, C10M_STREAM_WRITABLE);
	push_out(client, place, conn);
}

static uint32_t copy_in(struct place *place, const uint8_t *data, size_t len)
{
	uint32_t end = atomic_load_explicit(&place->receive_end, memory_order_relaxed);
	uint32_t room = RING_BYTES - (end - atomic_load(&place->receive_start));
	uint32_t bytes = (uint32_t)MIN_OF(len, (size_t)room);
	uint32_t at = end % RING_BYTES, first = MIN_OF(bytes, RING_BYTES - at);

	memcpy(place->receive + at, data, first);
	memcpy(place->receive, data + first, bytes - first);
	atomic_store_explicit(&place->receive_end, end + bytes, memory_order_release);
	return bytes;
}

/* Who finds no room says so, and looks once more: the thread makes room first and looks for the word then. */
static size_t on_data(c10m_conn *conn, const void *data, size_t len)
{
	c10m_client *client;
	struct place *place = place_of(conn, &client);
	size_t taken;

	if (!place || place->closing)
		return len;
	taken = copy_in(place, data, len);
	if (taken < len) {
		atomic_store(&place->starved, true);
		taken += copy_in(place, (const uint8_t *)data + taken, len - taken);
	}
	if (taken > 0)
		tell(client, place, C10M_STREAM_READABLE);
	return taken;
}

static void on_writable(c10m_conn *conn)
{
	c10m_client *client;
	struct place *place = place_of(conn, &client);

	if (place)
		push_out(client, place, conn);
}

static void on_eof(c10m_conn *conn)
{
	c10m_client *client;
	struct place *place = place_of(conn, &client);

	if (!place)
		return;
	atomic_store_explicit(&place->eof, true, memory_order_release);
	tell(client, place, C10M_STREAM_READABLE);
}

static int error_of(enum c10m_close_reason reason)
{
	static const int errors[] = {
		[C10M_CLOSE_NORMAL] = 0,
		[C10M_CLOSE_RESET] = -ECONNRESET,
		[C10M_CLOSE_REFUSED] = -ECONNREFUSED,
		[C10M_CLOSE_TIMEOUT] = -ETIMEDOUT,
		[C10M_CLOSE_KEEPALIVE] = -ETIMEDOUT,
		[C10M_CLOSE_UNREACHABLE] = -EHOSTUNREACH,
		[C10M_CLOSE_ABORTED] = -ECONNABORTED,
		[C10M_CLOSE_STOPPED] = -ESHUTDOWN,
		[C10M_CLOSE_DEADLINE] = -ETIMEDOUT,
	};

	return (size_t)reason < ARRAY_COUNT(errors) ? errors[reason] : -EIO;
}

static void end_place(c10m_client *client, struct place *place, int error)
{
	place->conn = 0;
	if (place->closing) {
		release(place);
		return;
	}
	atomic_store_explicit(&place->error, error, memory_order_relaxed);
	atomic_store_explicit(&place->state, PLACE_ENDED, memory_order_release);
	tell(client, place, C10M_STREAM_READABLE | C10M_STREAM_WRITABLE | C10M_STREAM_ENDED);
}

static void on_close(c10m_conn *conn, enum c10m_close_reason reason)
{
	c10m_client *client;
	struct place *place = place_of(conn, &client);

	if (place)
		end_place(client, place, error_of(reason));
}

static void connect_place(c10m_worker *worker, c10m_client *client, struct place *place)
{
	const struct owner_of_conn owner = {client->number + 1, (uint32_t)(place - client->places)};
	const struct c10m_connect_request request = {
		.service = client->service,
		.remote_address = place->address,
		.remote_port = place->port,
		.state = &owner,
		.state_bytes = sizeof(owner),
	};
	int error = 0;

	place->conn = c10m_connect(worker, &request, &error);
	if (!place->conn)
		end_place(client, place, error);
}

static void serve_place(c10m_worker *worker, c10m_client *client, struct place *place)
{
	unsigned asked = atomic_exchange(&place->asked, 0);
	c10m_conn *conn;

	if (asked & ASK_CONNECT)
		connect_place(worker, client, place);
	if (asked & ASK_CLOSE)
		place->closing = true;
	conn = place->conn ? c10m_conn_find(worker, place->conn) : NULL;
	if (!conn) {
		if (place->closing)
			release(place);
		return;
	}
	if (place->closing && atomic_load(&place->state) == PLACE_CONNECTING) {
		disown(conn);
		release(place);
		c10m_abort(conn);
		return;
	}
	if (asked & (ASK_SEND | ASK_CLOSE))
		push_out(client, place, conn);
	if (asked & ASK_MORE && place->conn)
		c10m_resume(conn);
}

/* The thread frees it under the lock, so that the bell is not rung in freed memory. */
static void let_go(c10m_client *client)
{
	pthread_mutex_lock(&lock);
	atomic_store(&client->detached, true);
	ring_bell(client);
	pthread_mutex_unlock(&lock);
}

/* What the thread left open is reset. */
static void detach(c10m_worker *worker, c10m_client *client)
{
	for (uint32_t i = 0; i < PLACES; i++) {
		c10m_conn *conn = client->places[i].conn ? c10m_conn_find(worker, client->places[i].conn)
							 : NULL;

		if (!conn)
			continue;
		disown(conn);
		c10m_abort(conn);
	}
	let_go(client);
}

static bool serve(c10m_worker *worker, c10m_client **link)
{
	c10m_client *client = *link;
	uint32_t place;
	bool moved = false;

	while (get_number(&client->asks, &place)) {
		serve_place(worker, client, &client->places[place]);
		moved = true;
	}
	if (unlikely(atomic_load_explicit(&client->closing, memory_order_acquire))) {
		*link = client->next_of_worker;
		detach(worker, client); /* from here on the thread may free it */
		return true;
	}
	return moved;
}

bool clients_run(void *context, uint64_t now_us)
{
	struct clients *mine = context;
	bool moved = false;

	if (likely(!mine->first))
		return false;
	stack_begin(mine->stack, now_us);
	for (c10m_client **link = &mine->first; *link;) {
		c10m_client *client = *link;

		moved |= serve(stack_worker(mine->stack), link);
		if (*link == client)
			link = &client->next_of_worker;
	}
	return moved;
}

void *clients_open(uint32_t number, struct stack *stack)
{
	CHECK(number < STACKS_MAX);
	of_worker[number] = (struct clients){.stack = stack};
	return &of_worker[number];
}

void clients_close(uint32_t number)
{
	struct clients *mine = &of_worker[number];

	while (mine->first) {
		c10m_client *client = mine->first;

		mine->first = client->next_of_worker;
		for (uint32_t i = 0; i < PLACES; i++)
			if (client->places[i].state == PLACE_CONNECTING ||
			    client->places[i].state == PLACE_OPEN)
				end_place(client, &client->places[i], -ESHUTDOWN);
		let_go(client);
	}
}

static void attach(c10m_worker *worker, void *argument)
{
	c10m_client *client = argument;
	struct clients *mine = &of_worker[c10m_worker_number(worker)];

	client->next_of_worker = mine->first;
	mine->first = client;
}

/* --- on the thread -------------------------------------------------------------------------------- */

#if defined(__x86_64__) || defined(__i386__)
#define RELAX() __builtin_ia32_pause()
#else
#define RELAX() __asm__ volatile("")
#endif

static uint64_t deadline_of(int timeout_ms)
{
	return timeout_ms < 0 ? NO_DEADLINE : sys_now_ns() + (uint64_t)timeout_ms * 1000000;
}

/* Until `sequence` is not what it was, or a bit later. False: the time is over. */
static bool wait_for_bell(c10m_client *client, unsigned sequence, uint64_t deadline_ns)
{
	uint64_t now_ns = sys_now_ns(), spin_end_ns = MIN_OF(now_ns + SPIN_NS, deadline_ns);
	struct timespec left;

	while (atomic_load_explicit(&client->sequence, memory_order_acquire) == sequence &&
	       now_ns < spin_end_ns) {
		RELAX();
		now_ns = sys_now_ns();
	}
	if (now_ns >= deadline_ns)
		return false;
	atomic_store(&client->waiting, true);
	if (atomic_load(&client->sequence) == sequence) {
		uint64_t left_ns = MIN_OF(deadline_ns - now_ns, 1000000000ull);

		left = (struct timespec){(time_t)(left_ns / 1000000000), (long)(left_ns % 1000000000)};
		syscall(SYS_futex, &client->sequence, FUTEX_WAIT_PRIVATE, sequence, &left, NULL, 0);
	}
	atomic_store(&client->waiting, false);
	return true;
}

static c10m_stream stream_of(const c10m_client *client, uint32_t index)
{
	return (uint64_t)client->places[index].generation << 32 | client->number << 16 | (index + 1);
}

static struct place *find(c10m_client *client, c10m_stream stream)
{
	uint32_t index = ((uint32_t)stream & 0xffff) - 1;
	struct place *place;

	if (index >= PLACES || ((uint32_t)stream >> 16) != client->number)
		return NULL;
	place = &client->places[index];
	return place->taken && place->generation == stream >> 32 ? place : NULL;
}

static struct place *take_place(c10m_client *client)
{
	for (uint32_t i = 0; i < PLACES; i++) {
		struct place *place = &client->places[i];

		if (place->taken || atomic_load_explicit(&place->state, memory_order_acquire) != PLACE_FREE)
			continue;
		place->taken = true;
		place->generation++;
		place->send_end = place->send_start = place->receive_start = place->receive_end = 0;
		place->eof = place->starved = false;
		place->error = 0;
		return place;
	}
	return NULL;
}

C10M_API c10m_stream c10m_client_connect(c10m_client *client, uint32_t address, uint16_t port, int timeout_ms,
					 int *error)
{
	uint64_t deadline_ns = deadline_of(timeout_ms);
	struct place *place = take_place(client);
	int result = 0;
	c10m_stream stream;

	if (!place || atomic_load(&client->detached)) {
		*error = place ? -ESHUTDOWN : -EAGAIN;
		if (place)
			place->taken = false;
		return 0;
	}
	place->address = address;
	place->port = port;
	atomic_store(&place->state, PLACE_CONNECTING);
	ask(client, (uint32_t)(place - client->places), ASK_CONNECT);
	stream = stream_of(client, (uint32_t)(place - client->places));
	while (timeout_ms != 0 && result == 0) {
		unsigned sequence = atomic_load(&client->sequence);

		if (atomic_load(&place->state) != PLACE_CONNECTING)
			break;
		if (atomic_load(&client->detached))
			result = -ESHUTDOWN;
		else if (!wait_for_bell(client, sequence, deadline_ns))
			result = -ETIMEDOUT;
	}
	if (atomic_load(&place->state) == PLACE_ENDED)
		result = place->error ? place->error : -ECONNRESET;
	*error = result;
	if (result == 0)
		return stream;
	c10m_client_end(client, stream);
	return 0;
}

/* 0: the stream may go on. */
static int64_t why_ended(c10m_client *client, const struct place *place)
{
	if (atomic_load_explicit(&place->state, memory_order_acquire) == PLACE_ENDED)
		return place->error ? place->error : -EPIPE;
	return atomic_load(&client->detached) ? -ESHUTDOWN : 0;
}

static uint32_t put_bytes(struct place *place, const uint8_t *data, size_t len)
{
	uint32_t end = atomic_load_explicit(&place->send_end, memory_order_relaxed);
	uint32_t room = RING_BYTES - (end - atomic_load_explicit(&place->send_start, memory_order_acquire));
	uint32_t bytes = (uint32_t)MIN_OF(len, (size_t)room);
	uint32_t at = end % RING_BYTES, first = MIN_OF(bytes, RING_BYTES - at);

	memcpy(place->send + at, data, first);
	memcpy(place->send, data + first, bytes - first);
	atomic_store_explicit(&place->send_end, end + bytes, memory_order_release);
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
		uint32_t bytes;

		if (ended)
			return sent ? (int64_t)sent : ended;
		bytes = put_bytes(place, (const uint8_t *)data + sent, len - sent);
		sent += bytes;
		if (bytes > 0)
			ask(client, (uint32_t)(place - client->places), ASK_SEND);
		if (sent < len && !wait_for_bell(client, sequence, deadline_ns))
			break;
	}
	if (sent > 0 || len == 0)
		return (int64_t)sent;
	return timeout_ms == 0 ? -EAGAIN : -ETIMEDOUT;
}

static uint32_t take_bytes(struct place *place, uint8_t *buffer, size_t len)
{
	uint32_t start = atomic_load_explicit(&place->receive_start, memory_order_relaxed);
	uint32_t there = atomic_load_explicit(&place->receive_end, memory_order_acquire) - start;
	uint32_t bytes = (uint32_t)MIN_OF(len, (size_t)there);
	uint32_t at = start % RING_BYTES, first = MIN_OF(bytes, RING_BYTES - at);

	memcpy(buffer, place->receive + at, first);
	memcpy(buffer + first, place->receive, bytes - first);
	atomic_store(&place->receive_start, start + bytes);
	return bytes;
}

C10M_API int64_t c10m_client_receive(c10m_client *client, c10m_stream stream, void *buffer, size_t len,
				     int timeout_ms)
{
	uint64_t deadline_ns = deadline_of(timeout_ms);
	struct place *place = find(client, stream);

	if (!place)
		return -ESTALE;
	for (;;) {
		unsigned sequence = atomic_load(&client->sequence);
		int64_t ended = why_ended(client, place); /* before the bytes: the last come before the end */
		bool eof = atomic_load_explicit(&place->eof, memory_order_acquire);
		uint32_t bytes = take_bytes(place, buffer, len);

		if (bytes > 0 && atomic_load(&place->starved) && atomic_exchange(&place->starved, false))
			ask(client, (uint32_t)(place - client->places), ASK_MORE);
		if (bytes > 0 || eof || ended == -EPIPE || len == 0)
			return bytes;
		if (ended)
			return ended;
		if (!wait_for_bell(client, sequence, deadline_ns))
			return timeout_ms == 0 ? -EAGAIN : -ETIMEDOUT;
	}
}

C10M_API int c10m_client_end(c10m_client *client, c10m_stream stream)
{
	struct place *place = find(client, stream);

	if (!place)
		return -ESTALE;
	place->taken = false;
	ask(client, (uint32_t)(place - client->places), ASK_CLOSE);
	return 0;
}

C10M_API int c10m_client_fd(const c10m_client *client)
{
	return client->fd;
}

C10M_API int c10m_client_poll(c10m_client *client, struct c10m_stream_event *events, int max)
{
	uint64_t rings;
	uint32_t index;
	int count = 0;

	if (read(client->fd, &rings, sizeof(rings)) < 0)
		CHECK(errno == EAGAIN || errno == EINTR);
	atomic_store(&client->armed, true); /* before the look: what comes after it rings */
	while (count < max && get_number(&client->tells, &index)) {
		struct place *place = &client->places[index];
		unsigned told = atomic_exchange(&place->told, 0);

		if (atomic_load(&place->state) != PLACE_ENDED)
			told &= ~C10M_STREAM_ENDED; /* it was the last one's */
		if (place->taken && told)
			events[count++] = (struct c10m_stream_event){stream_of(client, index), told};
	}
	if (count == max)
		ring_bell(client); /* there may be more */
	return count;
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

static c10m_client *make_client(uint32_t worker, uint32_t service, int *error)
{
	c10m_client *client = mmap(NULL, sizeof(*client), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				   -1, 0);
	uint32_t number = 0;

	*error = -ENOMEM;
	if (client == MAP_FAILED)
		return NULL;
	client->worker = worker;
	client->service = service;
	client->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	pthread_mutex_lock(&lock);
	while (number < CLIENTS && clients[number])
		number++;
	if (number < CLIENTS && client->fd >= 0)
		clients[number] = client;
	pthread_mutex_unlock(&lock);
	client->number = number;
	if (number < CLIENTS && client->fd >= 0)
		return client;
	*error = client->fd < 0 ? -EMFILE : -EAGAIN;
	if (client->fd >= 0)
		close(client->fd);
	munmap(client, sizeof(*client));
	return NULL;
}

static void free_client(c10m_client *client)
{
	pthread_mutex_lock(&lock);
	clients[client->number] = NULL;
	pthread_mutex_unlock(&lock);
	close(client->fd);
	munmap(client, sizeof(*client));
}

C10M_API c10m_client *c10m_client_open(uint32_t worker, uint32_t service, int *error)
{
	c10m_client *client;

	if (worker >= STACKS_MAX) {
		*error = -EINVAL;
		return NULL;
	}
	pthread_once(&once, make_key);
	client = make_client(worker, service, error);
	if (!client)
		return NULL;
	*error = c10m_post(worker, attach, client);
	if (*error < 0) {
		free_client(client);
		return NULL;
	}
	client->next_of_thread = pthread_getspecific(key);
	pthread_setspecific(key, client);
	return client;
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
	*service = (struct c10m_service){
		.name = name,
		.flags = C10M_NODELAY,
		.state_size = sizeof(struct owner_of_conn),
		.on_open = on_open,
		.on_data = on_data,
		.on_writable = on_writable,
		.on_eof = on_eof,
		.on_close = on_close,
	};
}
