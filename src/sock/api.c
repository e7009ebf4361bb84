/* api.c - the public functions that act on one connection.
 * In: callbacks of the services, on the worker's own thread. */
#include <errno.h>
#include <string.h>

#include "sock/sock.h"
#include "sock/splice.h"
#include "tcp/congestion.h"
#include "tcp/fastopen.h"

#define CORES_MAX 64

static struct core *cores[CORES_MAX];

void sock_register(struct core *core)
{
	CHECK(core->stack_id < CORES_MAX);
	cores[core->stack_id] = core;
}

void sock_unregister(const struct core *core)
{
	if (cores[core->stack_id] == core)
		cores[core->stack_id] = NULL;
}

static struct tcb *tcb_of(const c10m_conn *conn)
{
	return (struct tcb *)(uintptr_t)conn;
}

static struct core *core_of(const c10m_conn *conn)
{
	return cores[tcb_of(conn)->stack_id];
}

static uint32_t index_of(const c10m_conn *conn)
{
	return tcb_index(core_of(conn), tcb_of(conn));
}

void *c10m_conn_state(c10m_conn *conn)
{
	return (uint8_t *)conn + sizeof(struct tcb);
}

void *c10m_conn_user(const c10m_conn *conn)
{
	return core_of(conn)->callbacks[tcb_of(conn)->service].user;
}

c10m_worker *c10m_conn_worker(c10m_conn *conn)
{
	return (c10m_worker *)core_of(conn);
}

/* worker 6 bits, index 26 bits, generation 32 bits; a generation is never 0. */
c10m_handle c10m_conn_handle(const c10m_conn *conn)
{
	const struct tcb *tcb = tcb_of(conn);

	return (uint64_t)tcb->stack_id << 58 | (uint64_t)index_of(conn) << 32 | tcb->generation;
}

uint32_t c10m_handle_worker(c10m_handle handle)
{
	return (uint32_t)(handle >> 58);
}

uint32_t c10m_worker_number(const c10m_worker *worker)
{
	return ((const struct core *)worker)->stack_id;
}

c10m_conn *c10m_conn_find(c10m_worker *worker, c10m_handle handle)
{
	struct core *core = (struct core *)worker;
	uint32_t index = (uint32_t)(handle >> 32) & ((1u << 26) - 1);
	struct tcb *tcb;

	if (handle == 0 || handle >> 58 != core->stack_id || index >= core->blocks.fresh)
		return NULL;
	tcb = tcb_at(core, index);
	if (tcb->state == TCB_FREE || tcb->generation != (uint32_t)handle)
		return NULL;
	return (c10m_conn *)tcb;
}

uint32_t c10m_conn_places(const c10m_worker *worker)
{
	return ((const struct core *)worker)->blocks.fresh;
}

c10m_conn *c10m_conn_at(c10m_worker *worker, uint32_t place)
{
	struct core *core = (struct core *)worker;
	struct tcb *tcb;

	if (place >= core->blocks.fresh)
		return NULL;
	tcb = tcb_at(core, place);
	return tcb->state == TCB_FREE ? NULL : (c10m_conn *)tcb;
}

void c10m_conn_prefetch(const c10m_worker *worker, uint32_t place)
{
	const struct core *core = (const struct core *)worker;
	uint8_t *block;

	if (place >= core->blocks.fresh)
		return;
	block = pool_at(&core->blocks, place);
	PREFETCH_WRITE(block);
	PREFETCH_WRITE(block + CACHE_LINE);
	PREFETCH_WRITE(block + sizeof(struct tcb));
}

int c10m_set_congestion(c10m_conn *conn, const char *name)
{
	return name && congestion_set(tcb_of(conn), name) ? 0 : -ENOENT;
}

void c10m_conn_endpoints(const c10m_conn *conn, struct c10m_endpoints *endpoints)
{
	const struct tuple4 *tuple = &tcb_of(conn)->tuple;

	endpoints->local_address = tuple->local_ip;
	endpoints->remote_address = tuple->remote_ip;
	endpoints->local_port = tuple->local_port;
	endpoints->remote_port = tuple->remote_port;
}

bool sock_may_send(const struct tcb *tcb)
{
	return !(tcb->pending & (TCB_FIN_QUEUED | TCB_ABORTING)) &&
	       (tcb->state == TCP_ESTABLISHED || tcb->state == TCP_CLOSE_WAIT || tcb_fast_opened(tcb));
}

size_t c10m_send(c10m_conn *conn, const void *data, size_t len)
{
	struct core *core = core_of(conn);
	struct tcb *tcb = tcb_of(conn);
	uint32_t accepted;

	if (!sock_may_send(tcb))
		return 0;
	accepted = sendq_add(core, tcb, data, (uint32_t)MIN_OF(len, (size_t)UINT32_MAX));
	if (accepted < len)
		tcb->pending |= TCB_WANTS_ROOM;
	if (tcb->snd_bytes == 0 && len > 0)
		core->starved = core->starved_seen = true; /* no acknowledgement of its own will wake it */
	if (accepted)
		conn_ready(core, tcb_index(core, tcb));
	return accepted;
}

size_t c10m_send_urgent(c10m_conn *conn, const void *data, size_t len)
{
	struct core *core = core_of(conn);
	struct tcb *tcb = tcb_of(conn);
	size_t accepted = c10m_send(conn, data, len);

	if (accepted && urgent_begin(core, tcb))
		tcb->pending |= TCB_ACK_NOW; /* a closed window does not hold the pointer back */
	return accepted;
}

size_t c10m_urgent_bytes(const c10m_conn *conn)
{
	return urgent_left(core_of(conn), tcb_of(conn));
}

size_t c10m_send_room(const c10m_conn *conn)
{
	const struct tcb *tcb = tcb_of(conn);
	uint32_t limit = core_of(conn)->services[tcb->service].send_bytes;

	return sock_may_send(tcb) && limit > tcb->snd_bytes ? limit - tcb->snd_bytes : 0;
}

/* What follows from a command comes when the callback that gave it has returned: at its end for its own
 * connection, from the ready list for another. So no callback runs inside another. */
static bool deferred(struct core *core, struct tcb *tcb)
{
	uint32_t index = tcb_index(core, tcb);

	if (core->busy_index == POOL_NONE)
		return false;
	if (core->busy_index != index) {
		tcb->pending |= TCB_RESUME;
		conn_ready(core, index);
	}
	return true;
}

void c10m_resume(c10m_conn *conn)
{
	struct core *core = core_of(conn);
	uint32_t index = index_of(conn);

	if (core->busy_index == index) {
		tcb_of(conn)->pending |= TCB_RESUME;
		conn_ready(core, index);
	} else if (!deferred(core, tcb_of(conn))) {
		sock_resume(core, index);
	}
}

void c10m_shutdown(c10m_conn *conn)
{
	struct core *core = core_of(conn);
	struct tcb *tcb = tcb_of(conn);

	if (tcb->state == TCP_SYN_SENT || tcb->pending & (TCB_FIN_QUEUED | TCB_ABORTING))
		return;
	tcb->pending |= TCB_FIN_QUEUED;
	conn_ready(core, tcb_index(core, tcb));
}

void c10m_abort(c10m_conn *conn)
{
	struct core *core = core_of(conn);
	struct tcb *tcb = tcb_of(conn);
	uint32_t index = index_of(conn);

	if (tcb->pending & TCB_ABORTING)
		return;
	tcb->pending |= TCB_ABORTING;
	if (core->busy_index == index)
		return;
	if (core->busy_index == POOL_NONE && !core_closes_many(core)) {
		sock_settle(core, index);
		return;
	}
	tcb->pending |= TCB_RESUME;
	conn_ready_to_close(core, index);
}

uint32_t sock_conn_service(const c10m_conn *conn)
{
	return tcb_of(conn)->service;
}

void sock_abort_unaccepted(c10m_conn *conn)
{
	core_of(conn)->counters.unaccepted++;
	c10m_abort(conn);
}

void c10m_close(c10m_conn *conn)
{
	struct core *core = core_of(conn);
	struct tcb *tcb = tcb_of(conn);
	bool unread = tcb->rcv_bytes > 0 || tcb->ooo_head != CHUNK_NONE;

	if (tcb->pending & (TCB_NO_READER | TCB_ABORTING))
		return;
	/* RFC 9293 section 3.6.1: unread data that is dropped is told by a reset. While on_data runs, what it
	 * has before it may still be consumed by its return value. */
	if (tcb->state == TCP_SYN_SENT || (unread && core->busy_index != tcb_index(core, tcb))) {
		c10m_abort(conn);
		return;
	}
	if (unlikely(core->services[tcb->service].splices))
		splice_leave(core, tcb);
	tcb->pending |= TCB_NO_READER | TCB_FIN_QUEUED;
	if (tcb->state == TCP_FIN_WAIT_2)
		conn_set_timer(core, tcb, TCB_TIMER_KEEP, core->now_tick + core->settings.fin_wait2_ms);
	conn_ready_to_close(core, tcb_index(core, tcb));
	if (!deferred(core, tcb))
		sock_settle(core, tcb_index(core, tcb));
}

void c10m_set_timer(c10m_conn *conn, uint32_t ms)
{
	struct core *core = core_of(conn);
	struct tcb *tcb = tcb_of(conn);

	tcb->timers &= (uint8_t)~TCB_TIMER_USER;
	if (ms == 0)
		return;
	conn_set_timer(core, tcb, TCB_TIMER_USER, core->now_tick + MIN_OF(ms, TICKS_MAX_AHEAD));
	conn_file_timers(core, tcb_index(core, tcb));
}

void c10m_set_nodelay(c10m_conn *conn, int on)
{
	struct tcb *tcb = tcb_of(conn);

	tcb->options &= (uint16_t)~TCB_NODELAY;
	if (on)
		tcb->options |= TCB_NODELAY;
	conn_ready(core_of(conn), index_of(conn));
}

void c10m_set_dscp(c10m_conn *conn, uint8_t dscp)
{
	tcb_set_dscp(tcb_of(conn), dscp < 64 ? dscp : 0);
}

void c10m_set_keepalive(c10m_conn *conn, uint32_t ms)
{
	struct core *core = core_of(conn);
	struct tcb *tcb = tcb_of(conn);

	if (tcb->pending & (TCB_NO_READER | TCB_ABORTING))
		return; /* the timer is that of the close */
	tcb->keepalive_ms = MIN_OF(ms, TICKS_MAX_AHEAD);
	tcb->options |= TCB_KEEPALIVE;
	if (tcb->state < TCP_ESTABLISHED)
		return;
	tcb->timers &= (uint8_t)~TCB_TIMER_KEEP;
	tcp_arm_keepalive(core, tcb);
	conn_file_timers(core, tcb_index(core, tcb));
}

void c10m_set_user_timeout(c10m_conn *conn, uint32_t ms)
{
	tcb_of(conn)->user_timeout_ms = MIN_OF(ms, TICKS_MAX_AHEAD) & 0x7fffffffu;
	tcb_of(conn)->timeout_set = 1;
	user_timeout_change(core_of(conn), tcb_of(conn));
	tcp_heed_user_timeout(tcb_of(conn));
	conn_file_timers(core_of(conn), index_of(conn));
}

uint32_t c10m_source_net(const c10m_worker *worker, uint32_t *first)
{
	const struct ipv4_range *net = &((const struct core *)worker)->net.destinations.routes.sources;

	*first = net->first;
	return net->count;
}

static bool port_is_free(void *context, const struct tuple4 *tuple)
{
	struct core *core = context;
	uint32_t ref = core_find(core, tuple, core_hash(core, tuple));

	return ref == FLOW_NONE || time_wait_may_reuse(core, ref);
}

/* Whether the answers will come to us. */
static bool port_lands_here(void *context, const struct tuple4 *tuple)
{
	const struct core *core = context;

	return !core->owner || owner_of(core->owner, tuple) == core->stack_id;
}

static int connect_checked(struct core *core, const struct c10m_connect_request *request, uint32_t *index)
{
	struct tuple4 tuple = {request->local_address, request->remote_address, request->local_port,
			       request->remote_port};
	const struct ports_query query = {port_is_free, port_lands_here, core, PORTS_COUNT};
	const struct routes *routes = &core->net.destinations.routes;
	int error;

	if (request->service >= core->service_count || request->remote_port == 0 || core->stopping ||
	    !ipv4_is_unicast(request->remote_address) || routes_is_local(routes, request->remote_address) ||
	    routes_is_broadcast(routes, request->remote_address) ||
	    (tuple.local_ip && !routes_is_local(routes, tuple.local_ip)) ||
	    (request->data_bytes && !request->data) ||
	    request->data_bytes > core->services[request->service].send_bytes ||
	    (request->state && request->state_bytes > core->callbacks[request->service].state_size))
		return -EINVAL;
	if (tuple.local_ip == 0)
		tuple.local_ip = routes_source(routes, tuple.remote_ip);
	if (tuple.local_ip == 0 || (tuple.local_port && !core_owns_port(core, tuple.local_port)))
		return -EADDRNOTAVAIL;
	if (tuple.local_port == 0) {
		error = ports_choose(&core->ports, &query, &tuple);
		if (error)
			return -EADDRNOTAVAIL;
	}
	if (!port_lands_here(core, &tuple))
		return -EADDRNOTAVAIL;
	return tcp_connect(core, &tuple, (uint8_t)request->service, index);
}

/* What is to be sent first. In one piece: without memory for it nothing is opened. */
static bool queue_first(struct core *core, uint32_t index, const struct c10m_connect_request *request)
{
	struct tcb *tcb = tcb_at(core, index);

	return sendq_add(core, tcb, request->data, (uint32_t)request->data_bytes) == request->data_bytes;
}

c10m_handle c10m_connect(c10m_worker *worker, const struct c10m_connect_request *request, int *error)
{
	struct core *core = (struct core *)worker;
	uint32_t index = 0;
	int result = connect_checked(core, request, &index);
	c10m_conn *conn;

	if (error)
		*error = result;
	if (result)
		return 0;
	conn = (c10m_conn *)tcb_at(core, index);
	if (request->data_bytes && !queue_first(core, index, request)) {
		conn_free(core, index);
		if (error)
			*error = -ENOMEM;
		return 0;
	}
	if (request->state)
		memcpy(c10m_conn_state(conn), request->state, request->state_bytes);
	return c10m_conn_handle(conn);
}

int c10m_limits_set(c10m_worker *worker, uint32_t service, const struct c10m_limits *limits)
{
	return admission_set((struct core *)worker, service, limits);
}

enum c10m_limits_answer c10m_limits_check(const c10m_worker *worker, uint32_t service, uint32_t address)
{
	const struct core *core = (const struct core *)worker;

	if (service >= core->service_count)
		return C10M_LIMITS_DENIED;
	switch (admission_check(core, service, address)) {
	case DROP_NONE:
		return C10M_LIMITS_WELCOME;
	case DROP_LIMIT_CONNECTIONS:
		return C10M_LIMITS_CONNECTIONS;
	case DROP_LIMIT_RATE:
		return C10M_LIMITS_RATE;
	default:
		return C10M_LIMITS_DENIED;
	}
}

/* A tick may have almost passed already: one more, as for connections. */
void c10m_worker_timer(c10m_worker *worker, uint32_t ms, void (*on_time)(c10m_worker *worker, void *context),
		       void *context)
{
	struct core *core = (struct core *)worker;

	core->timer = (struct worker_timer){
		.on_time = ms ? on_time : NULL,
		.context = context,
		.tick = core->now_tick + MIN_OF(ms, TICKS_MAX_AHEAD) + 1,
	};
}

void sock_worker_timer(struct core *core)
{
	struct worker_timer due = core->timer;

	core->timer.on_time = NULL;
	core->busy_index = SOCK_BUSY_ELSEWHERE;
	due.on_time((c10m_worker *)core, due.context);
	core->busy_index = POOL_NONE;
}

uint64_t c10m_now_us(const c10m_worker *worker)
{
	return ((const struct core *)worker)->now_us;
}
