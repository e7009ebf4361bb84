/* queues.c - payload that stays: sent and not acknowledged, received and not consumed, out of order.
 * A chunk of the send queue with a note holds no bytes: it names a message (the note is its id and one) of
 * which `start` and `bytes` say the part, and `seq` the topic. Owns: the chunk chains of a block, and its
 * extension while the send queue is longer than a chunk. */
#include "tcp/recovery.h"

#include <string.h>

#include "base/plant.h"
#include "wire/checksum.h"

/* NULL when there is none, or when it is there for something else. */
static struct tcp_extension *send_extension(const struct core *core, const struct tcb *tcb)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);

	return extension && extension->uses & EXTENSION_SEND ? extension : NULL;
}

static uint32_t sendq_tail(const struct core *core, const struct tcb *tcb)
{
	const struct tcp_extension *extension = send_extension(core, tcb);
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

/* Without an extension (the pool is empty) the queue is walked. */
static void begin_cursor(struct core *core, struct tcb *tcb, uint32_t tail)
{
	struct tcp_extension *extension = extension_hold(core, tcb, EXTENSION_SEND);

	if (!extension)
		return;
	extension->snd_tail = tail;
	extension->cursor_chunk = tcb->snd_head;
	extension->cursor_seq = tcb->snd_una;
}

static void sendq_link(struct core *core, struct tcb *tcb, uint32_t tail, uint32_t id)
{
	struct tcp_extension *extension = send_extension(core, tcb);

	if (tail == CHUNK_NONE) {
		tcb->snd_head = id;
		return;
	}
	chunk_at(&core->chunks, tail)->next = id;
	if (extension)
		extension->snd_tail = id;
	else
		begin_cursor(core, tcb, id);
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
			pressure_begin(core);
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
		pressure_begin(core);
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

/* An empty queue takes a chunk of any size: nothing would ever make more room. */
bool sendq_move(struct core *core, struct tcb *to, struct tcb *from)
{
	uint32_t id = from->rcv_head;
	struct chunk *chunk = chunk_at(&core->chunks, id);

	if (to->snd_bytes && to->snd_bytes + chunk->bytes > core->services[to->service].send_bytes)
		return false;
	from->rcv_head = chunk->next;
	if (from->rcv_head == CHUNK_NONE)
		from->rcv_tail = CHUNK_NONE;
	from->rcv_bytes -= chunk->bytes;
	chunk->next = CHUNK_NONE;
	sendq_link(core, to, sendq_tail(core, to), id);
	to->snd_bytes += chunk->bytes;
	return true;
}

bool sendq_replace(struct core *core, struct tcb *tcb, uint32_t message, uint32_t topic)
{
	struct tcp_extension *extension = send_extension(core, tcb);
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
	struct tcp_extension *extension = send_extension(core, tcb);
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
		extension_drop(core, tcb, EXTENSION_SEND);
		return;
	}
	if (seq_lt(extension->cursor_seq, tcb->snd_una + dropped))
		extension->cursor_chunk = CHUNK_NONE; /* set anew by the next copy */
}

/* The chunk that holds the byte at `offset`; *into is its place in that chunk. Starts at the cursor when that
 * does not lie behind. */
static uint32_t sendq_seek(struct core *core, struct tcb *tcb, uint32_t offset, uint32_t *into)
{
	struct tcp_extension *extension = send_extension(core, tcb);
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
	tcb->snd_head = tcb->rcv_head = tcb->rcv_tail = CHUNK_NONE;
	tcb->snd_bytes = tcb->rcv_bytes = 0;
	ooo_give_all(core, tcb);
	board_detach(core, tcb);
	extension_drop(core, tcb, UINT16_MAX);
}

uint32_t recvq_add(struct core *core, struct tcb *tcb, const uint8_t *data, uint32_t bytes)
{
	uint32_t done = 0;

	if (tcb->rcv_tail != CHUNK_NONE)
		done = chunk_append(core, tcb->rcv_tail, data, bytes);
	while (done < bytes) {
		uint32_t id = chunk_take(&core->chunks, bytes - done);

		if (id == CHUNK_NONE) {
			tcp_window_squeeze(core, tcb);
			pressure_begin(core);
			break;
		}
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

/* How many chunks a connection may keep out of order: of small ones not many more than bytes it may receive
 * are worth. */
static uint32_t ooo_limit(const struct core *core, const struct tcb *tcb)
{
	uint32_t wanted = tcp_receive_limit(core, tcb) / 512;

	return MIN_OF(MAX_OF(wanted, OOO_CHUNKS_MIN), UINT16_MAX);
}

/* Where to look for the place of `seq`: at the chunk that took the last segment, when it lies before. */
static uint32_t ooo_start(const struct core *core, const struct tcb *tcb, uint32_t seq)
{
	const struct tcp_extension *extension = tcb_extension(core, tcb);
	uint32_t last = extension && extension->uses & EXTENSION_RECEIVE ? extension->ooo_last : CHUNK_NONE;

	return last != CHUNK_NONE && seq_geq(seq, chunk_at(&core->chunks, last)->seq) ? last : CHUNK_NONE;
}

/* Puts the bytes from seq to stop behind chunk `before` (CHUNK_NONE: first of all), into it if it ends just
 * there. Returns how many found room in one chunk, 0 when there is none. */
static uint32_t ooo_put(struct core *core, struct tcb *tcb, uint32_t *before, uint32_t seq, uint32_t bytes,
			const uint8_t *data)
{
	uint32_t *link = &tcb->ooo_head, id, done;

	if (*before != CHUNK_NONE) {
		struct chunk *chunk = chunk_at(&core->chunks, *before);

		done = chunk->seq + chunk->bytes == seq ? chunk_append(core, *before, data, bytes) : 0;
		if (done)
			return done;
		link = &chunk->next;
	}
	id = tcb->ooo_count < ooo_limit(core, tcb) ? chunk_take(&core->chunks, bytes) : CHUNK_NONE;
	if (id == CHUNK_NONE)
		return 0;
	chunk_at(&core->chunks, id)->seq = seq;
	chunk_at(&core->chunks, id)->next = *link;
	*link = *before = id;
	tcb->ooo_count++;
	return chunk_append(core, id, data, bytes);
}

/* Stores the bytes from *seq to end that no chunk covers yet, and moves *seq behind what is there now. Of
 * what was there already the first piece goes into *twice. */
static enum drop_reason ooo_store(struct core *core, struct tcb *tcb, uint32_t *before, uint32_t *seq,
				  uint32_t end, const uint8_t *data, struct sack_block *twice)
{
	const uint32_t start = *seq;

	while (seq_lt(*seq, end)) {
		const struct chunk *at = *before == CHUNK_NONE ? NULL : chunk_at(&core->chunks, *before);
		uint32_t next = at ? at->next : tcb->ooo_head, stop = end, done;

		if (at && seq_lt(*seq, at->seq + at->bytes)) {
			stop = seq_min(end, at->seq + at->bytes);
			if (twice->start == twice->end)
				*twice = (struct sack_block){*seq, stop};
			*seq = stop;
			continue;
		}
		if (next != CHUNK_NONE && seq_leq(chunk_at(&core->chunks, next)->seq, *seq)) {
			*before = next;
			continue;
		}
		if (next != CHUNK_NONE)
			stop = seq_min(stop, chunk_at(&core->chunks, next)->seq);
		done = ooo_put(core, tcb, before, *seq, stop - *seq, data + (*seq - start));
		if (done == 0 && tcb->ooo_count >= ooo_limit(core, tcb))
			return DROP_REASSEMBLY_FULL;
		if (done == 0) {
			pressure_begin(core);
			return DROP_NO_CHUNK;
		}
		*seq += done;
	}
	return DROP_NONE;
}

/* Keeps the part of a segment that no chunk of the queue covers yet; bytes that are already there win. */
enum drop_reason ooo_add(struct core *core, struct tcb *tcb, uint32_t seq, const uint8_t *data,
			 uint32_t bytes)
{
	uint32_t before = ooo_start(core, tcb, seq), reached = seq;
	struct sack_block twice = {seq, seq};
	enum drop_reason reason = ooo_store(core, tcb, &before, &reached, seq + bytes, data, &twice);

	if (PLANTED(SACK_UNKEPT))
		reached = seq + bytes;
	if (reached != seq)
		sack_arrived(core, tcb, seq, reached, before);
	if (twice.start != twice.end)
		sack_duplicate(core, tcb, twice.start, twice.end);
	return reason;
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

static void ooo_unlink_head(struct core *core, struct tcb *tcb)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);

	if (extension && extension->ooo_last == tcb->ooo_head)
		extension->ooo_last = CHUNK_NONE;
	tcb->ooo_head = chunk_at(&core->chunks, tcb->ooo_head)->next;
	tcb->ooo_count--;
}

static void ooo_take(struct core *core, struct tcb *tcb)
{
	while (tcb->ooo_head != CHUNK_NONE) {
		uint32_t id = tcb->ooo_head;
		struct chunk *chunk = chunk_at(&core->chunks, id);
		uint32_t end = chunk->seq + chunk->bytes, old;

		if (seq_gt(chunk->seq, tcb->rcv_nxt))
			return;
		ooo_unlink_head(core, tcb);
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

void ooo_drain(struct core *core, struct tcb *tcb)
{
	ooo_take(core, tcb);
	sack_trim(core, tcb);
}

void ooo_give_all(struct core *core, struct tcb *tcb)
{
	chunk_give_chain(&core->chunks, tcb->ooo_head);
	tcb->ooo_head = CHUNK_NONE;
	tcb->ooo_count = 0;
	sack_trim(core, tcb);
}

uint32_t tcp_receive_room(const struct core *core, const struct tcb *tcb)
{
	uint32_t limit = tcp_receive_limit(core, tcb);

	return limit > tcb->rcv_bytes ? limit - tcb->rcv_bytes : 0;
}
