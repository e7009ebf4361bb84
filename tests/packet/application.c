/* application.c - the application on top of the stack under test: callbacks that note what happened.
 * In: callbacks.  Out: events, and calls of the public interface that a test asks for.  Owns: struct slot. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

/* --- the application ------------------------------------------------------------ */

struct test *current_test;

struct conn_state {
	uint32_t slot_plus_one;
};

static void event_add(struct test *t, unsigned slot, const char *format, ...)
{
	va_list args;
	char *text;
	size_t used;

	assert_true(t->event_count < EVENTS_MAX);
	text = t->events[(t->event_first + t->event_count++) % EVENTS_MAX];
	va_start(args, format);
	vsnprintf(text, sizeof(t->events[0]), format, args);
	va_end(args);
	used = strlen(text);
	if (slot > 0)
		snprintf(text + used, sizeof(t->events[0]) - used, "#%u", slot);
}

static unsigned slot_of(struct test *t, c10m_conn *conn)
{
	struct conn_state *state = c10m_conn_state(conn);
	c10m_handle handle = c10m_conn_handle(conn);

	assert_true((uintptr_t)state % 64 == 0);
	for (unsigned i = t->slot_count; i-- > 0;) {
		if (t->slots[i].handle == handle) {
			state->slot_plus_one = i + 1;
			return i;
		}
	}
	assert_true(t->slot_count < SLOTS_MAX);
	assert_int_equal(state->slot_plus_one, 0); /* zeroed at open */
	t->slots[t->slot_count].handle = handle;
	state->slot_plus_one = ++t->slot_count;
	return t->slot_count - 1;
}

static void call_hook(struct test *t, c10m_conn *conn, unsigned slot, const char *event)
{
	if (t->app.hook)
		t->app.hook(t, conn, slot, event);
}

static void on_open(c10m_conn *conn)
{
	unsigned slot = slot_of(current_test, conn);

	event_add(current_test, slot, "open");
	call_hook(current_test, conn, slot, "open");
}

static size_t on_data(c10m_conn *conn, const void *data, size_t bytes)
{
	struct test *t = current_test;
	unsigned index = slot_of(t, conn);
	struct slot *slot = &t->slots[index];
	const uint8_t *at = data;
	size_t taken = MIN_OF(bytes, t->app.consume);

	assert_true(bytes > 0);
	assert_false(slot->closed);
	for (size_t i = 0; i < bytes && !t->app.no_check; i++) {
		if (at[i] != stream_byte(slot->rx_bytes + i))
			fail_msg("byte %llu of the stream is wrong",
				 (unsigned long long)(slot->rx_bytes + i));
	}
	slot->rx_bytes += taken;
	if (!t->app.quiet)
		event_add(t, index, "data %zu", bytes);
	call_hook(t, conn, index, "data");
	return taken;
}

static void on_writable(c10m_conn *conn)
{
	unsigned slot = slot_of(current_test, conn);

	event_add(current_test, slot, "writable");
	call_hook(current_test, conn, slot, "writable");
}

static void on_urgent(c10m_conn *conn)
{
	unsigned slot = slot_of(current_test, conn);

	event_add(current_test, slot, "urgent %zu", c10m_urgent_bytes(conn));
	call_hook(current_test, conn, slot, "urgent");
}

static void on_eof(c10m_conn *conn)
{
	unsigned slot = slot_of(current_test, conn);

	event_add(current_test, slot, "eof");
	call_hook(current_test, conn, slot, "eof");
	if (!current_test->app.keep_open)
		c10m_close(conn);
}

static void on_timer(c10m_conn *conn)
{
	unsigned slot = slot_of(current_test, conn);

	event_add(current_test, slot, "timer");
	call_hook(current_test, conn, slot, "timer");
}

static void on_close(c10m_conn *conn, enum c10m_close_reason reason)
{
	static const char *const names[] = {
		[C10M_CLOSE_NORMAL] = "normal",       [C10M_CLOSE_RESET] = "reset",
		[C10M_CLOSE_REFUSED] = "refused",     [C10M_CLOSE_TIMEOUT] = "timeout",
		[C10M_CLOSE_KEEPALIVE] = "keepalive", [C10M_CLOSE_UNREACHABLE] = "unreachable",
		[C10M_CLOSE_ABORTED] = "aborted",     [C10M_CLOSE_STOPPED] = "stopped",
		[C10M_CLOSE_DEADLINE] = "deadline",   [C10M_CLOSE_SPLICED] = "spliced",
		[C10M_CLOSE_MEMORY] = "memory",
	};
	unsigned index = slot_of(current_test, conn);
	struct slot *slot = &current_test->slots[index];

	assert_false(slot->closed);
	slot->closed = true;
	slot->reason = reason;
	event_add(current_test, index, "close %s", names[reason]);
	call_hook(current_test, conn, index, "close");
}

c10m_conn *app_conn(struct test *t, unsigned slot)
{
	c10m_conn *conn = c10m_conn_find(stack_worker(t->stack), t->slots[slot].handle);

	if (!conn)
		fail_msg("connection %u has ended", slot);
	return conn;
}

size_t app_send(struct test *t, unsigned index, size_t bytes)
{
	struct slot *slot = &t->slots[index];
	uint8_t *data = malloc(bytes + 1);
	size_t sent;

	for (size_t i = 0; i < bytes; i++)
		data[i] = stream_byte(slot->tx_bytes + i);
	flush(t); /* the stack learns the time */
	sent = c10m_send(app_conn(t, index), data, bytes);
	free(data);
	assert_true(sent <= bytes);
	slot->tx_bytes += sent;
	flush(t);
	return sent;
}

void app_close(struct test *t, unsigned slot)
{
	flush(t);
	c10m_close(app_conn(t, slot));
	flush(t);
}

void app_shutdown(struct test *t, unsigned slot)
{
	flush(t);
	c10m_shutdown(app_conn(t, slot));
	flush(t);
}

void app_abort(struct test *t, unsigned slot)
{
	flush(t);
	c10m_abort(app_conn(t, slot));
	flush(t);
}

void app_resume(struct test *t, unsigned slot)
{
	flush(t);
	c10m_resume(app_conn(t, slot));
	flush(t);
}

unsigned app_connect_to(struct test *t, uint32_t ip, uint16_t port, uint16_t local_port, int *error)
{
	const struct c10m_connect_request request = {
		.service = 1,
		.remote_address = ip,
		.remote_port = port,
		.local_port = local_port,
	};
	int why = 1;
	c10m_handle handle;

	flush(t);
	handle = c10m_connect(stack_worker(t->stack), &request, &why);
	if (error)
		*error = handle ? 0 : why;
	else
		assert_true(handle != 0);
	if (!handle) {
		assert_true(why < 0);
		return SLOTS_MAX;
	}
	/* A failure that is known at once may have been reported already. */
	if (t->slot_count == 0 || t->slots[t->slot_count - 1].handle != handle)
		t->slots[t->slot_count++].handle = handle;
	flush(t);
	return t->slot_count - 1;
}

unsigned app_connect(struct test *t, uint16_t local_port)
{
	t->peer->stack_port = local_port;
	return app_connect_to(t, t->peer->ip, t->peer->port, local_port, NULL);
}

void service_defaults(struct c10m_service *service, const char *name, uint16_t port)
{
	*service = (struct c10m_service){
		.name = name,
		.port = port,
		.state_size = sizeof(struct conn_state),
		.congestion = "newreno",
		.on_open = on_open,
		.on_data = on_data,
		.on_writable = on_writable,
		.on_eof = on_eof,
		.on_urgent = on_urgent,
		.on_timer = on_timer,
		.on_close = on_close,
	};
}
