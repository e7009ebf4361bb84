/* queues.c - payload that stays: sent and not acknowledged, received and not consumed, out of order.
 * A chunk of the send queue with a note holds no bytes: it names a message (the note is its id and one) of
 * which `start` and `bytes` say the part, and `seq` the topic. Owns: the chunk chains of a block, and its
 * extension while the send queue is longer than a chunk. */
#include "tcp/core.h"

#include <string.h>

#include "base/plant.h"
#include "wire/checksum.h"

static struct tcp_extension *extension_of(const struct core *core, const struct tcb *tcb)
{
	return tcb->extension == POOL_NONE ? NULL : pool_at(&core->extensions, tcb->extension);
}

static void extension_give(struct core *core, struct tcb *tcb)
{
	if (tcb->extension == POOL_NONE)
		return;
	pool_give(&core->extensions, tcb->extension);
	tcb->extension = POOL_NONE;
}

/* Without one (the pool is empty) the queue is walked. */
static void extension_take(struct core *core, struct tcb *tcb, uint32_t tail)
{
	struct tcp_extension *extension;

	tcb->extension = pool_take(&core->extensions);
	extension = extension_of(core, tcb);
	if (!extension)
		return;
	memset(extension, 0, sizeof(*extension));
	extension->owner = tcb_index(core, tcb);
	extension->snd_tail = tail;
	extension->cursor_chunk = tcb->snd_head;
	extension->cursor_seq = tcb->snd_una;
}

static uint32_t sendq_tail(const struct core *core, const struct tcb *tcb)
{
	const struct tcp_extension *extension = extension_of(core, tcb);
	uint32_t id = tcb->snd_head;

	if (extension)
		return extension->snd_tail;
	while (id != CHUNK_NONE && chunk_at(&core->chunks, id)->next != CHUNK_NONE)
		id = chunk_at(&core->chunks, id)->next;
	return id;
}

/* Appends to the last chunk of a chain as much as fits. */
static uint32_t chunk_append(const struct core *core, uint32_t id, const uint8_t *data, uint32_t bytes)
{
	struct chunk *chunk = chunk_at(&core->chunks, id);
	uint32_t room = chunk_capacity(id) - chunk->start - chunk->bytes;

	bytes = MIN_OF(bytes, room);
	memcpy(chunk->data + chunk->start + chunk->bytes, data, bytes);
	chunk->bytes = (uint16_t)(chunk->bytes + bytes);
	return bytes;
}

static bool is_reference(const struct chunk *chunk)
{
	return chunk->note != 0;
}

static const uint8_t *sendq_bytes(const struct core *core, const struct chunk *chunk)
{
	if (unlikely(is_reference(chunk)))
		return message_at(&core->messages, chunk->note - 1)->data + chunk->start;
	return chunk->data + chunk->start;
}

static void sendq_give(struct core *core, uint32_t id, bool acknowledged)
{
	const struct chunk *chunk = chunk_at(&core->chunks, id);

	if (unlikely(is_reference(chunk)))
		message_unrefer(&core->messages, chunk->note - 1, acknowledged);
	chunk_give(&core->chunks, id);
}

static void sendq_link(struct core *core, struct tcb *tcb, uint32_t tail, uint32_t id)
{
	struct tcp_extension *extension = extension_of(core, tcb);

	if (tail == CHUNK_NONE) {
		tcb->snd_head = id;
		return;
	}
	chunk_at(&core->chunks, tail)->next = id;
	if (extension)
		extension->snd_tail = id;
	else
		extension_take(core, tcb, id);
}

uint32_t sendq_add(struct core *core, struct tcb *tcb, const uint8_t *data, uint32_t bytes)
{
	uint32_t limit = core->services[tcb->service].send_bytes;
	uint32_t room = limit > tcb->snd_bytes ? limit - tcb->snd_bytes : 0;
	uint32_t wanted = MIN_OF(bytes, room), done = 0;
	uint32_t tail;

	if (wanted == 0)
		return 0;
	tail = sendq_tail(core, tcb);
	if (tail != CHUNK_NONE && !is_reference(chunk_at(&core->chunks, tail)))
		done = chunk_append(core, tail, data, wanted);
	while (done < wanted) {
		uint32_t id = chunk_take(&core->chunks, wanted - done);

		if (id == CHUNK_NONE) {
			core->counters.tcp_send_refused++;
			break;
		}
		done += chunk_append(core, id, data + done, wanted - done);
		sendq_link(core, tcb, tail, id);
		tail = id;
	}
	tcb->snd_bytes += done;
	return done;
}

/* The whole message or nothing. Of the chunk only the header is used, so that the smallest will do. */
bool sendq_refer(struct core *core, struct tcb *tcb, uint32_t message, uint32_t topic)
{
	uint32_t id = chunk_take(&core->chunks, 0);
	struct chunk *chunk;

	if (id == CHUNK_NONE) {
		core->counters.tcp_send_refused++;
		return false;
	}
	chunk = chunk_at(&core->chunks, id);
	chunk->note = (message + 1) & CHUNK_NOTE_MAX;
	chunk->seq = topic;
	chunk->bytes = (uint16_t)message_at(&core->messages, message)->bytes;
	message_refer(&core->messages, message);
	sendq_link(core, tcb, sendq_tail(core, tcb), id);
	tcb->snd_bytes += chunk->bytes;
	return true;
}

bool sendq_replace(struct core *core, struct tcb *tcb, uint32_t message, uint32_t topic)
{
	struct tcp_extension *extension = extension_of(core, tcb);
	uint32_t sent = tcb_snd_max(tcb) - tcb->snd_una, at = 0, id = tcb->snd_head;

	for (unsigned i = 0; i < SENDQ_LOOK_MAX && id != CHUNK_NONE; i++) {
		struct chunk *chunk = chunk_at(&core->chunks, id);

		if (at >= sent && is_reference(chunk) && chunk->seq == topic) {
			message_unrefer(&core->messages, chunk->note - 1, false);
			message_refer(&core->messages, message);
			tcb->snd_bytes -= chunk->bytes;
			chunk->note = (message + 1) & CHUNK_NOTE_MAX;
			chunk->bytes = (uint16_t)message_at(&core->messages, message)->bytes;
			tcb->snd_bytes += chunk->bytes;
			if (extension) /* what lies behind has moved */
				extension->cursor_chunk = CHUNK_NONE;
			return true;
		}
		at += chunk->bytes;
		id = chunk->next;
	}
	return false;
}

void sendq_recount(struct core *core, const struct tcb *tcb)
{
	for (uint32_t id = tcb->snd_head; id != CHUNK_NONE; id = chunk_at(&core->chunks, id)->next) {
		const struct chunk *chunk = chunk_at(&core->chunks, id);

		if (is_reference(chunk))
			message_refer(&core->messages, chunk->note - 1);
	}
}

void sendq_drop(struct core *core, struct tcb *tcb, uint32_t bytes)
{
	struct tcp_extension *extension = extension_of(core, tcb);
	uint32_t dropped = bytes;

	CHECK(bytes <= tcb->snd_bytes);
	tcb->snd_bytes -= bytes;
	while (bytes) {
		struct chunk *chunk = chunk_at(&core->chunks, tcb->snd_head);
		uint32_t id = tcb->snd_head, part = MIN_OF(bytes, (uint32_t)chunk->bytes);

		chunk->start = (uint16_t)(chunk->start + part);
		chunk->bytes = (uint16_t)(chunk->bytes - part);
		bytes -= part;
		if (chunk->bytes)
			break;
		tcb->snd_head = chunk->next;
		sendq_give(core, id, true);
	}
	if (!extension)
		return;
	if (tcb->snd_head == CHUNK_NONE || tcb->snd_head == extension->snd_tail) {
		extension_give(core, tcb);
		return;
	}
	if (seq_lt(extension->cursor_seq, tcb->snd_una + dropped))
		extension->cursor_chunk = CHUNK_NONE; /* set anew by the next copy */
}

/* The chunk that holds the byte at `offset`; *into is its place in that chunk. Starts at the cursor when that
 * does not lie behind. */
static uint32_t sendq_seek(struct core *core, struct tcb *tcb, uint32_t offset, uint32_t *into)
{
	struct tcp_extension *extension = extension_of(core, tcb);
	uint32_t id = tcb->snd_head, at = 0;

	if (extension && extension->cursor_chunk != CHUNK_NONE &&
	    extension->cursor_seq - tcb->snd_una <= offset) {
		id = extension->cursor_chunk;
		at = extension->cursor_seq - tcb->snd_una;
	}
	while (offset - at >= chunk_at(&core->chunks, id)->bytes) {
		at += chunk_at(&core->chunks, id)->bytes;
		id = chunk_at(&core->chunks, id)->next;
	}
	if (extension) {
		extension->cursor_chunk = id;
		extension->cursor_seq = tcb->snd_una + at;
	}
	*into = offset - at;
	return id;
}

uint32_t sendq_copy(struct core *core, struct tcb *tcb, uint32_t offset, uint8_t *to, uint32_t bytes)
{
	uint32_t sum = 0, done = 0, into, id;

	if (bytes == 0)
		return 0;
	CHECK(offset + bytes <= tcb->snd_bytes);
	id = sendq_seek(core, tcb, offset, &into);
	while (done < bytes) {
		const struct chunk *chunk = chunk_at(&core->chunks, id);
		uint32_t part = MIN_OF(bytes - done, chunk->bytes - into);
		const uint8_t *from = sendq_bytes(core, chunk) + into;

		if (core->settings.tx_checksum) {
			memcpy(to + done, from, part);
		} else {
			uint32_t piece = csum_copy(0, to + done, from, part);

			sum = csum_join(sum, done & 1 ? csum_shift_odd(piece) : piece);
		}
		done += part;
		into = 0;
		id = chunk->next;
	}
	return sum;
}

static void sendq_give_all(struct core *core, struct tcb *tcb)
{
	while (tcb->snd_head != CHUNK_NONE) {
		uint32_t id = tcb->snd_head;

		tcb->snd_head = chunk_at(&core->chunks, id)->next;
		sendq_give(core, id, false);
	}
}

void queues_free(struct core *core, struct tcb *tcb)
{
	if (!PLANTED(RESET_LEAK))
		sendq_give_all(core, tcb);
	chunk_give_chain(&core->chunks, tcb->rcv_head);
	chunk_give_chain(&core->chunks, tcb->ooo_head);
	tcb->snd_head = tcb->rcv_head = tcb->rcv_tail = tcb->ooo_head = CHUNK_NONE;
	tcb->snd_bytes = tcb->rcv_bytes = 0;
	tcb->ooo_count = 0;
	extension_give(core, tcb);
}

uint32_t recvq_add(struct core *core, struct tcb *tcb, const uint8_t *data, uint32_t bytes)
{
	uint32_t done = 0;

	if (tcb->rcv_tail != CHUNK_NONE)
		done = chunk_append(core, tcb->rcv_tail, data, bytes);
	while (done < bytes) {
		uint32_t id = chunk_take(&core->chunks, bytes - done);

		if (id == CHUNK_NONE)
			break;
		done += chunk_append(core, id, data + done, bytes - done);
		if (tcb->rcv_tail == CHUNK_NONE)
			tcb->rcv_head = id;
		else
			chunk_at(&core->chunks, tcb->rcv_tail)->next = id;
		tcb->rcv_tail = id;
	}
	tcb->rcv_bytes += done;
	return done;
}

void recvq_consume(struct core *core, struct tcb *tcb, uint32_t bytes)
{
	struct chunk *chunk = chunk_at(&core->chunks, tcb->rcv_head);
	uint32_t id = tcb->rcv_head;

	CHECK(bytes <= chunk->bytes);
	chunk->start = (uint16_t)(chunk->start + bytes);
	chunk->bytes = (uint16_t)(chunk->bytes - bytes);
	tcb->rcv_bytes -= bytes;
	if (chunk->bytes)
		return;
	tcb->rcv_head = chunk->next;
	if (tcb->rcv_head == CHUNK_NONE)
		tcb->rcv_tail = CHUNK_NONE;
	chunk_give(&core->chunks, id);
}

/* A larger chunk in place of the first, when there is one. */
static void recvq_enlarge_head(struct core *core, struct tcb *tcb)
{
	uint32_t id = tcb->rcv_head, fresh = chunk_take(&core->chunks, tcb->rcv_bytes);
	const struct chunk *head = chunk_at(&core->chunks, id);

	if (fresh == CHUNK_NONE)
		return;
	if (chunk_capacity(fresh) <= chunk_capacity(id)) {
		chunk_give(&core->chunks, fresh);
		return;
	}
	chunk_append(core, fresh, head->data + head->start, head->bytes);
	chunk_at(&core->chunks, fresh)->next = head->next;
	tcb->rcv_head = fresh;
	chunk_give(&core->chunks, id);
}

/* Brings what lies behind the first chunk into it: an application may wait for more than lies there. */
static void recvq_gather(struct core *core, struct tcb *tcb)
{
	struct chunk *head;

	if (tcb->rcv_head == tcb->rcv_tail)
		return; /* none or one */
	if (chunk_capacity(tcb->rcv_head) < MIN_OF(tcb->rcv_bytes, (uint32_t)CHUNK_BYTES_MAX))
		recvq_enlarge_head(core, tcb);
	head = chunk_at(&core->chunks, tcb->rcv_head);
	if (head->start)
		memmove(head->data, head->data + head->start, head->bytes);
	head->start = 0;
	while (head->next != CHUNK_NONE) {
		uint32_t id = head->next;
		struct chunk *next = chunk_at(&core->chunks, id);
		uint32_t part = chunk_append(core, tcb->rcv_head, next->data + next->start, next->bytes);

		next->start = (uint16_t)(next->start + part);
		next->bytes = (uint16_t)(next->bytes - part);
		if (next->bytes)
			return;
		head->next = next->next;
		chunk_give(&core->chunks, id);
	}
	tcb->rcv_tail = tcb->rcv_head;
}

const uint8_t *recvq_head(struct core *core, struct tcb *tcb, uint32_t *bytes)
{
	const struct chunk *chunk;

	if (tcb->rcv_head == CHUNK_NONE)
		return NULL;
	recvq_gather(core, tcb);
	chunk = chunk_at(&core->chunks, tcb->rcv_head);
	*bytes = chunk->bytes;
	return chunk->data + chunk->start;
}

/* Keeps the part of a segment that no chunk of the queue covers yet; bytes that are already there win. */
enum drop_reason ooo_add(struct core *core, struct tcb *tcb, uint32_t seq, const uint8_t *data,
			 uint32_t bytes)
{
	uint32_t *link = &tcb->ooo_head;
	uint32_t end = seq + bytes;

	while (seq_lt(seq, end)) {
		struct chunk *at = *link == CHUNK_NONE ? NULL : chunk_at(&core->chunks, *link);
		uint32_t stop = end, id;
		struct chunk *fresh;

		if (at && seq_geq(seq, at->seq)) {
			if (seq_lt(seq, at->seq + at->bytes)) {
				data += at->seq + at->bytes - seq;
				seq = at->seq + at->bytes;
			}
			link = &at->next;
			continue;
		}
		if (at)
			stop = seq_min(stop, at->seq);
		if (tcb->ooo_count >= OOO_CHUNKS_MAX)
			return DROP_REASSEMBLY_FULL;
		id = chunk_take(&core->chunks, stop - seq);
		if (id == CHUNK_NONE)
			return DROP_NO_CHUNK;
		fresh = chunk_at(&core->chunks, id);
		fresh->seq = seq;
		fresh->next = *link;
		*link = id;
		link = &fresh->next;
		tcb->ooo_count++;
		stop = seq + chunk_append(core, id, data, stop - seq);
		data += stop - seq;
		seq = stop;
	}
	return DROP_NONE;
}

/* Copies what the last chunk has room for: a peer that sends single bytes must not hold a chunk for each. */
static void recvq_take(struct core *core, struct tcb *tcb, uint32_t id)
{
	struct chunk *chunk = chunk_at(&core->chunks, id), *tail;

	tcb->rcv_bytes += chunk->bytes;
	if (tcb->rcv_tail == CHUNK_NONE) {
		tcb->rcv_head = tcb->rcv_tail = id;
		return;
	}
	tail = chunk_at(&core->chunks, tcb->rcv_tail);
	if (chunk_capacity(tcb->rcv_tail) - tail->start - tail->bytes >= chunk->bytes) {
		chunk_append(core, tcb->rcv_tail, chunk->data + chunk->start, chunk->bytes);
		chunk_give(&core->chunks, id);
		return;
	}
	tail->next = id;
	tcb->rcv_tail = id;
}

void ooo_drain(struct core *core, struct tcb *tcb)
{
	while (tcb->ooo_head != CHUNK_NONE) {
		uint32_t id = tcb->ooo_head;
		struct chunk *chunk = chunk_at(&core->chunks, id);
		uint32_t end = chunk->seq + chunk->bytes, old;

		if (seq_gt(chunk->seq, tcb->rcv_nxt))
			return;
		tcb->ooo_head = chunk->next;
		tcb->ooo_count--;
		core->counters.tcp_reassembled++;
		if (seq_leq(end, tcb->rcv_nxt)) {
			chunk_give(&core->chunks, id);
			continue;
		}
		old = PLANTED(REASSEMBLY_OVERLAP) ? 0 : tcb->rcv_nxt - chunk->seq;
		chunk->start = (uint16_t)(chunk->start + old);
		chunk->bytes = (uint16_t)(chunk->bytes - old);
		chunk->next = CHUNK_NONE;
		core->counters.tcp_data_bytes_in += chunk->bytes;
		tcb->rcv_nxt = end;
		recvq_take(core, tcb, id);
	}
}

uint32_t tcp_receive_room(const struct core *core, const struct tcb *tcb)
{
	uint32_t limit = core->services[tcb->service].receive_bytes;

	return limit > tcb->rcv_bytes ? limit - tcb->rcv_bytes : 0;
}
