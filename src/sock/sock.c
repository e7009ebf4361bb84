/* sock.c - from what happened to callbacks.
 * Owns: which block's callback runs (core->busy_index): one that ends inside it is freed when it returns.
 * No callback runs inside another. */
#include "sock/sock.h"

#include "sock/group.h"
#include "sock/splice.h"

#define FEED_SLICE 1024u

static const struct c10m_service *service_of(const struct core *core, const struct tcb *tcb)
{
	return &core->callbacks[tcb->service];
}

static c10m_conn *conn_of(struct tcb *tcb)
{
	return (c10m_conn *)tcb;
}

static void call(struct core *core, uint32_t index, void (*callback)(c10m_conn *conn))
{
	if (!callback)
		return;
	core->busy_index = index;
	callback(conn_of(tcb_at(core, index)));
	core->busy_index = POOL_NONE;
}

static void closed(struct core *core, uint32_t index, enum c10m_close_reason reason)
{
	struct tcb *tcb = tcb_at(core, index);

	core->busy_index = index;
	tcb->pending |= TCB_ABORTING;
	if (unlikely(core->services[tcb->service].splices))
		splice_ended(core, tcb, reason);
	if (service_of(core, tcb)->on_close)
		service_of(core, tcb)->on_close(conn_of(tcb), reason);
	core->busy_index = POOL_NONE;
	if (core->services[tcb->service].groups)
		group_leave_all(core, index);
}

static void timer(struct core *core, uint32_t index)
{
	const struct tcb *tcb = tcb_at(core, index);

	if (!(tcb->pending & TCB_ABORTING))
		call(core, index, service_of(core, tcb)->on_timer);
	sock_settle(core, index);
}

/* RFC 9293 section 3.9.1.8. */
static void trouble(struct core *core, uint32_t index, enum c10m_trouble what)
{
	struct tcb *tcb = tcb_at(core, index);

	if (service_of(core, tcb)->on_trouble && !(tcb->pending & (TCB_ABORTING | TCB_NO_READER))) {
		core->busy_index = index;
		service_of(core, tcb)->on_trouble(conn_of(tcb), what);
		core->busy_index = POOL_NONE;
	}
	sock_settle(core, index);
}

const struct core_events sock_events = {closed, timer, trouble};

static uint32_t offer(struct core *core, uint32_t index, const uint8_t *data, uint32_t bytes)
{
	struct tcb *tcb = tcb_at(core, index);
	const struct c10m_service *service = service_of(core, tcb);
	size_t taken;

	if (splice_feeds(core, tcb))
		return splice_put(core, tcb, data, bytes);
	if (!service->on_data)
		return bytes;
	core->busy_index = index;
	taken = service->on_data(conn_of(tcb), data, bytes);
	core->busy_index = POOL_NONE;
	return (uint32_t)MIN_OF(taken, (size_t)bytes);
}

static bool reads(const struct tcb *tcb)
{
	return !(tcb->pending & (TCB_NO_READER | TCB_ABORTING));
}

/* Offers what is kept until the application takes less than it was given. */
static void offer_kept(struct core *core, uint32_t index)
{
	struct tcb *tcb = tcb_at(core, index);
	uint32_t bytes, taken;
	const uint8_t *data;

	if (splice_feeds(core, tcb)) {
		splice_move(core, tcb);
		return;
	}
	while (reads(tcb) && (data = recvq_head(core, tcb, &bytes)) != NULL) {
		taken = offer(core, index, data, bytes);
		if (tcb->rcv_head == CHUNK_NONE)
			return;
		recvq_consume(core, tcb, taken);
		if (taken < bytes)
			break;
	}
	tcp_window_update(core, tcb);
}

static void tell_eof(struct core *core, uint32_t index)
{
	struct tcb *tcb = tcb_at(core, index);

	if (!(tcb->pending & TCB_FIN_TAKEN) || tcb->pending & TCB_EOF_TOLD || tcb->rcv_bytes || !reads(tcb))
		return;
	tcb->pending |= TCB_EOF_TOLD;
	if (splice_feeds(core, tcb) && splice_eof(core, tcb))
		return;
	if (service_of(core, tcb)->on_eof) {
		call(core, index, service_of(core, tcb)->on_eof);
		return;
	}
	tcb->pending |= TCB_NO_READER | TCB_FIN_QUEUED;
	conn_ready(core, index);
}

/* The application has closed without having read all. */
static void abort_unread(struct tcb *tcb)
{
	tcb->pending |= TCB_ABORTING;
}

static void data_input(struct core *core, const struct tcp_result *result)
{
	struct tcb *tcb = tcb_at(core, result->index);
	uint32_t taken = 0, kept;

	if (result->bytes && tcb->rcv_bytes == 0 && reads(tcb))
		taken = offer(core, result->index, result->data, result->bytes);
	if (tcb->pending & (TCB_NO_READER | TCB_ABORTING)) {
		if (taken < result->bytes)
			abort_unread(tcb);
		tcp_taken(core, tcb, result, taken);
		return;
	}
	if (taken < result->bytes) {
		bool behind = tcb->rcv_bytes > 0;

		kept = recvq_add(core, tcb, result->data + taken, result->bytes - taken);
		if (taken + kept < result->bytes)
			core->counters.drops[DROP_NO_CHUNK]++;
		taken += kept;
		tcp_taken(core, tcb, result, taken);
		if (behind || tcb->rcv_bytes > kept)
			offer_kept(core, result->index);
		return;
	}
	tcp_taken(core, tcb, result, taken);
	offer_kept(core, result->index);
}

void sock_resume(struct core *core, uint32_t index)
{
	struct tcb *tcb = tcb_at(core, index);

	tcb->pending &= (uint16_t)~TCB_RESUME;
	offer_kept(core, index);
	sock_settle(core, index);
}

bool sock_can_feed(const struct core *core)
{
	bool room = false;

	for (unsigned i = 0; i < CHUNK_CLASSES; i++)
		room |= pool_room(&core->chunks.classes[i]) > 0;
	return core->starved && room;
}

static void offer_room(struct core *core, uint32_t index)
{
	struct tcb *tcb = tcb_at(core, index);

	tcb->pending &= (uint16_t)~TCB_WANTS_ROOM;
	if (splice_is_fed(core, tcb))
		splice_room(core, tcb);
	else
		call(core, index, service_of(core, tcb)->on_writable);
	if (tcb->rcv_bytes)
		offer_kept(core, index);
}

void sock_feed_starved(struct core *core)
{
	uint32_t end = MIN_OF(core->starved_next + FEED_SLICE, core->blocks.fresh);

	while (core->starved_next < end && sock_can_feed(core)) {
		uint32_t index = core->starved_next++;
		struct tcb *tcb = tcb_at(core, index);

		if (tcb->state == TCB_FREE || !(tcb->pending & TCB_WANTS_ROOM) || tcb->snd_bytes ||
		    !reads(tcb))
			continue;
		offer_room(core, index);
		core->starved_seen |= tcb->pending & TCB_WANTS_ROOM && tcb->snd_bytes == 0;
		sock_settle(core, index);
	}
	if (core->starved_next >= core->blocks.fresh) {
		core->starved_next = 0;
		core->starved = core->starved_seen;
		core->starved_seen = false;
	}
}

static void finish(struct core *core, uint32_t index)
{
	struct tcb *tcb = tcb_at(core, index);

	tcp_last_ack(core, tcb);
	if (tcb->state == TCP_TIME_WAIT)
		time_wait_enter(core, tcb);
	conn_end(core, index, C10M_CLOSE_NORMAL);
}

/* What the application left unread when it closed is told by a reset (RFC 9293 section 3.6.1). */
static bool closed_unread(const struct tcb *tcb)
{
	return tcb->pending & TCB_NO_READER && (tcb->rcv_bytes || tcb->ooo_head != CHUNK_NONE);
}

bool sock_settle(struct core *core, uint32_t index)
{
	struct tcb *tcb = tcb_at(core, index);

	if (index == core->busy_index)
		return true; /* its callback runs: settled when that returns */
	if (closed_unread(tcb))
		abort_unread(tcb);
	if (tcb->pending & TCB_ABORTING) {
		tcp_abort_segment(core, tcb);
		conn_end(core, index, splice_abort_reason(core, tcb));
		return false;
	}
	tell_eof(core, index);
	if (tcb->pending & TCB_ABORTING)
		return sock_settle(core, index);
	if (tcp_finished(tcb)) {
		finish(core, index);
		return false;
	}
	if (!(tcb->pending & TCB_READY)) /* else once, after its output, which may cancel some */
		conn_file_timers(core, index);
	return true;
}

/* What comes before the data. */
static void announce(struct core *core, const struct tcp_result *result)
{
	struct tcb *tcb = tcb_at(core, result->index);

	if (result->events & TCP_EVENT_OPEN && reads(tcb)) /* else closed before it was open */
		call(core, result->index, service_of(core, tcb)->on_open);
	if (result->events & TCP_EVENT_URGENT && reads(tcb))
		call(core, result->index, service_of(core, tcb)->on_urgent);
}

void sock_input(struct core *core, const struct tcp_result *result)
{
	uint32_t index = result->index;
	struct tcb *tcb = tcb_at(core, index);

	if (unlikely(result->events & (TCP_EVENT_OPEN | TCP_EVENT_URGENT)))
		announce(core, result);
	if (result->events & TCP_EVENT_CLOSED) {
		conn_end(core, index, result->reason);
		return;
	}
	if (result->events & TCP_EVENT_DATA && !(tcb->pending & TCB_ABORTING))
		data_input(core, result);
	if (result->events & TCP_EVENT_WRITABLE && reads(tcb)) {
		if (tcb->pending & TCB_WANTS_ROOM)
			offer_room(core, index);
		else if (tcb->rcv_bytes) /* perhaps it waits for c10m_send_room */
			offer_kept(core, index);
	}
	sock_settle(core, index);
}
