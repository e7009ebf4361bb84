/* client_worker.c - connections that belong to ordinary threads: the worker's side.
 * In: what threads ask for; the callbacks of their connections. Out: commands to the stack; bytes, events and
 * new connections for the threads. Owns: which clients belong to a worker, and whose turn it is to accept.
 *
 * What happens in a round of the loop is told at its end: one wake for a burst, none to a thread that looks.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "run/client.h"
#include "run/client_shared.h"
#include "sock/sock.h"

/* The state of a connection. */
struct owner_of_conn {
	uint32_t client; /* its number + 1; 0: nobody */
	uint32_t place;
};

static struct clients {
	c10m_client *first;
	c10m_client *last_accepted[STACK_SERVICES]; /* the next connection is the next one's */
	bool stopping;
	struct stack *stack;
} of_worker[STACKS_MAX];

/* --- bells ---------------------------------------------------------------------------------------- */

static void make_readable(c10m_client *client)
{
	const uint64_t one = 1;
	enum bell_state armed = BELL_ARMED;

	if (!atomic_compare_exchange_strong(&client->bell, &armed, BELL_RINGING))
		return;
	CHECK(write(client->fd, &one, sizeof(one)) == sizeof(one) || errno == EAGAIN);
	atomic_store(&client->bell, BELL_RUNG);
}

void client_ring_bell(c10m_client *client)
{
	atomic_fetch_add(&client->sequence, 1);
	if (unlikely(atomic_load(&client->waiting)))
		syscall(SYS_futex, &client->sequence, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	if (unlikely(atomic_load(&client->bell) == BELL_ARMED))
		make_readable(client);
}

static void tell(c10m_client *client, struct place *place, unsigned bits)
{
	if (atomic_fetch_or(&place->told, bits) == 0)
		numbers_put(&client->tells, place_index(client, place));
	client->news = true;
}

/* --- connections and their places ------------------------------------------------------------------ */

/* NULL: nobody's any longer. */
static struct place *place_of(c10m_conn *conn, c10m_client **client)
{
	const struct owner_of_conn *owner = c10m_conn_state(conn);

	if (owner->client == 0)
		return NULL;
	*client = clients_of_process[owner->client - 1];
	return &(*client)->places[owner->place];
}

static void disown(c10m_conn *conn)
{
	((struct owner_of_conn *)c10m_conn_state(conn))->client = 0;
}

/* The thread has closed it: the place is free again, whatever becomes of the connection. */
static void release(c10m_client *client, struct place *place)
{
	uint32_t index = place_index(client, place);

	place->conn = 0;
	place->closing = false;
	atomic_store_explicit(&place->state, PLACE_FREE, memory_order_release);
	if (index < client->connects)
		numbers_put(&client->released, index);
	else
		stock_give(&client->vacant, index);
}

/* The thread that finds no room says so, and looks once more: here room comes first. */
static void push_out(c10m_client *client, struct place *place, c10m_conn *conn)
{
	struct byte_ring ring = place_send_ring(client, place);
	uint32_t bytes, sent, total = 0;
	const uint8_t *data = byte_ring_look(&ring, &bytes);

	for (; bytes > 0; data = byte_ring_look(&ring, &bytes)) {
		sent = (uint32_t)c10m_send(conn, data, bytes);
		total += sent;
		if (sent > 0)
			byte_ring_drop(&ring, sent);
		if (sent < bytes)
			break;
	}
	if (place->closing && bytes == 0) {
		disown(conn);
		release(client, place);
		c10m_close(conn);
	} else if (total > 0 && atomic_load(&place->wants_room) &&
		   atomic_exchange(&place->wants_room, false)) {
		tell(client, place, C10M_STREAM_WRITABLE);
	}
}

static void end_place(c10m_client *client, struct place *place, int error)
{
	place->conn = 0;
	if (place->closing) {
		release(client, place);
		return;
	}
	atomic_store_explicit(&place->error, error, memory_order_relaxed);
	atomic_store_explicit(&place->state, PLACE_ENDED, memory_order_release);
	tell(client, place, C10M_STREAM_READABLE | C10M_STREAM_WRITABLE | C10M_STREAM_ENDED);
}

/* --- accepting -------------------------------------------------------------------------------------- */

static bool accepts(const c10m_client *client, uint32_t service)
{
	return client->service == service &&
	       (client->vacant.count || client->vacant.fresh < client->vacant.end) &&
	       numbers_count(&client->arrivals) < client->backlog &&
	       !atomic_load_explicit(&client->closing, memory_order_relaxed);
}

/* In turns, from behind the one that got the last. */
static c10m_client *next_to_accept(struct clients *mine, uint32_t service)
{
	c10m_client *last = mine->last_accepted[service], *client;

	for (client = last ? last->next_of_worker : NULL; client; client = client->next_of_worker)
		if (accepts(client, service))
			return client;
	for (client = mine->first; client; client = client->next_of_worker) {
		if (accepts(client, service))
			return client;
		if (client == last)
			break;
	}
	return NULL;
}

static void accept_conn(c10m_conn *conn)
{
	struct clients *mine = &of_worker[c10m_worker_number(c10m_conn_worker(conn))];
	uint32_t service = sock_conn_service(conn), index;
	c10m_client *client = next_to_accept(mine, service);
	struct place *place;

	if (!client || !stock_take(&client->vacant, &index)) {
		sock_abort_unaccepted(conn);
		return;
	}
	mine->last_accepted[service] = client;
	*(struct owner_of_conn *)c10m_conn_state(conn) = (struct owner_of_conn){client->number + 1, index};
	place = &client->places[index];
	place->send_end = place->send_start = place->receive_start = place->receive_end = 0;
	place->eof = place->starved = place->wants_room = false;
	place->error = 0;
	place->generation++;
	place->conn = c10m_conn_handle(conn);
	c10m_conn_endpoints(conn, &place->endpoints);
	atomic_store_explicit(&place->state, PLACE_OPEN, memory_order_release);
	numbers_put(&client->arrivals, index);
	client->news = true;
}

/* --- callbacks ----------------------------------------------------------------------------------------- */

/* Whom nobody owns came by the service's port: our own were given up before they opened. */
static void on_open(c10m_conn *conn)
{
	c10m_client *client;
	struct place *place = place_of(conn, &client);

	if (!place) {
		accept_conn(conn);
		return;
	}
	c10m_conn_endpoints(conn, &place->endpoints);
	atomic_store_explicit(&place->state, PLACE_OPEN, memory_order_release);
	tell(client, place, C10M_STREAM_WRITABLE);
	push_out(client, place, conn);
}

/* Who finds no room says so, and looks once more: the thread makes room first and looks for the word then. */
static size_t on_data(c10m_conn *conn, const void *data, size_t len)
{
	c10m_client *client;
	struct place *place = place_of(conn, &client);
	struct byte_ring ring;
	size_t taken;

	if (!place || place->closing)
		return len;
	ring = place_receive_ring(client, place);
	taken = byte_ring_put(&ring, data, len);
	if (taken < len) {
		atomic_store(&place->starved, true);
		taken += byte_ring_put(&ring, (const uint8_t *)data + taken, len - taken);
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
	tell(client, place, C10M_STREAM_READABLE | C10M_STREAM_EOF);
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
		[C10M_CLOSE_SPLICED] = -ECONNABORTED,
		[C10M_CLOSE_MEMORY] = -ENOBUFS,
	};

	return (size_t)reason < ARRAY_COUNT(errors) ? errors[reason] : -EIO;
}

static void on_close(c10m_conn *conn, enum c10m_close_reason reason)
{
	c10m_client *client;
	struct place *place = place_of(conn, &client);

	if (place)
		end_place(client, place, error_of(reason));
}

/* Threads that accept hear that nobody will come any more. */
static void on_stop(c10m_worker *worker)
{
	struct clients *mine = &of_worker[c10m_worker_number(worker)];

	mine->stopping = true;
	for (c10m_client *client = mine->first; client; client = client->next_of_worker) {
		atomic_store(&client->stopping, true);
		client->news = true;
	}
}

void client_service_describe(struct c10m_service *service, const char *name)
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
		.on_stop = on_stop,
	};
}

/* --- what threads ask for ----------------------------------------------------------------------------- */

static void connect_place(c10m_worker *worker, c10m_client *client, struct place *place)
{
	const struct owner_of_conn owner = {client->number + 1, place_index(client, place)};
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
			release(client, place);
		return;
	}
	if (place->closing && atomic_load(&place->state) == PLACE_CONNECTING) {
		disown(conn);
		release(client, place);
		c10m_abort(conn);
		return;
	}
	if (asked & (ASK_SEND | ASK_CLOSE))
		push_out(client, place, conn);
	if (asked & ASK_MORE && place->conn)
		c10m_resume(conn);
}

/* --- the beginning and the end of a client ------------------------------------------------------------ */

void client_attach(c10m_worker *worker, void *argument)
{
	c10m_client *client = argument;
	struct clients *mine = &of_worker[c10m_worker_number(worker)];

	client->next_of_worker = mine->first;
	mine->first = client;
	if (mine->stopping) {
		atomic_store(&client->stopping, true);
		client->news = true;
	}
}

/* The thread frees it under the lock, so that the bell is not rung in freed memory. */
static void let_go(c10m_client *client)
{
	pthread_mutex_lock(&clients_lock);
	atomic_store(&client->detached, true);
	client_ring_bell(client);
	pthread_mutex_unlock(&clients_lock);
}

static void abort_places(c10m_worker *worker, c10m_client *client, uint32_t first, uint32_t end)
{
	for (uint32_t i = first; i < end; i++) {
		c10m_conn *conn = client->places[i].conn ? c10m_conn_find(worker, client->places[i].conn)
							 : NULL;

		if (!conn)
			continue;
		disown(conn);
		c10m_abort(conn);
	}
}

/* What the thread left open, or never accepted, is reset. */
static void detach(struct clients *mine, c10m_client *client)
{
	c10m_worker *worker = stack_worker(mine->stack);

	for (uint32_t i = 0; i < STACK_SERVICES; i++)
		if (mine->last_accepted[i] == client)
			mine->last_accepted[i] = NULL;
	abort_places(worker, client, 0, client->own.fresh);
	abort_places(worker, client, client->connects, client->vacant.fresh);
	let_go(client);
}

static bool serve(struct clients *mine, c10m_client **link)
{
	c10m_client *client = *link;
	/* Before the count: what was asked before the end is done. */
	bool closing = atomic_load_explicit(&client->closing, memory_order_acquire);
	uint32_t count = numbers_count(&client->asks),
		 place; /* what is asked meanwhile waits: packets, too */
	bool moved = count > 0;

	for (; count > 0 && numbers_get(&client->asks, &place); count--)
		serve_place(stack_worker(mine->stack), client, &client->places[place]);
	if (unlikely(closing)) {
		*link = client->next_of_worker;
		detach(mine, client); /* from here on the thread may free it */
		return true;
	}
	if (client->news) {
		client->news = false;
		client_ring_bell(client);
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

		moved |= serve(mine, link);
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
		for (uint32_t i = 0; i < client->connects + client->accepts; i++)
			if (client->places[i].state == PLACE_CONNECTING ||
			    client->places[i].state == PLACE_OPEN)
				end_place(client, &client->places[i], -ESHUTDOWN);
		let_go(client);
	}
}
