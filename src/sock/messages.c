/* messages.c - the public functions that make messages and queue them on one connection.
 * In: the application, on the worker's own thread.  Owns: how a message's handle is written. */
#include "sock/sock.h"

_Static_assert(C10M_MESSAGE_MAX == MESSAGE_BYTES_MAX, "what c10m.h says");

/* worker 6 bits, id 26 bits, generation 32 bits; a generation is never 0. */
uint32_t sock_message_find(const struct core *core, c10m_message handle)
{
	uint32_t id = (uint32_t)(handle >> 32) & ((1u << MESSAGE_ID_BITS) - 1);

	if (handle == 0 || handle >> 58 != core->stack_id)
		return MESSAGE_NONE;
	return message_find(&core->messages, id, (uint32_t)handle);
}

c10m_message c10m_message_new(c10m_worker *worker, const void *data, size_t len)
{
	struct core *core = (struct core *)worker;
	uint32_t id = message_make(&core->messages, data, len);

	if (id == MESSAGE_NONE) {
		core->counters.messages_refused++;
		return 0;
	}
	return (uint64_t)core->stack_id << 58 | (uint64_t)id << 32 |
	       message_at(&core->messages, id)->generation;
}

void c10m_message_release(c10m_worker *worker, c10m_message handle)
{
	struct core *core = (struct core *)worker;
	uint32_t id = sock_message_find(core, handle);

	if (id != MESSAGE_NONE && message_at(&core->messages, id)->holds > 0)
		message_release(&core->messages, id);
}

uint32_t c10m_message_pending(const c10m_worker *worker, c10m_message handle)
{
	const struct core *core = (const struct core *)worker;
	uint32_t id = sock_message_find(core, handle);

	return id == MESSAGE_NONE ? 0 : message_at(&core->messages, id)->references;
}

size_t c10m_conn_send_message(c10m_conn *conn, c10m_message handle)
{
	struct core *core = (struct core *)c10m_conn_worker(conn);
	struct tcb *tcb = (struct tcb *)conn;
	uint32_t id = sock_message_find(core, handle), limit = core->services[tcb->service].send_bytes, bytes;

	if (id == MESSAGE_NONE || !sock_may_send(tcb))
		return 0;
	bytes = message_at(&core->messages, id)->bytes;
	if ((tcb->snd_bytes && tcb->snd_bytes + bytes > limit) || !sendq_refer(core, tcb, id, 0)) {
		tcb->pending |= TCB_WANTS_ROOM;
		if (tcb->snd_bytes == 0)
			core->starved = core->starved_seen =
				true; /* no acknowledgement of its own will wake it */
		return 0;
	}
	conn_ready(core, tcb_index(core, tcb));
	return bytes;
}
