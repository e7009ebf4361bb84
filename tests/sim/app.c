/* app.c - applications at both ends that do, by the seed, what applications do.
 * In: callbacks of both stacks.  Out: calls of the public interface, world_fail.
 * Owns: what each end has sent, received and decided.
 *
 * The first 16 bytes from a client name its conversation; every further byte of both streams is known
 * from the conversation's keys, so that each byte received is compared. */
#include "sim.h"

#include <errno.h>

#include "wire/bytes.h"

#define HEADER_BYTES 16
#define HEADER_MAGIC 0xc10a5e55U
#define GHOST        UINT32_MAX
#define GHOST_MS     100000u
#define POLL_MS      3000u

struct conn_state {
	uint32_t end; /* index + 1; 0: not known yet; GHOST: nobody's */
};

static struct world *world_now; /* callbacks have no other way to it */

/* --- the streams ------------------------------------------------------------------- */

static uint64_t stream_word(const struct conversation *conversation, unsigned side, uint64_t position)
{
	uint64_t seed = conversation->key[side] + position / 8;

	return random_mix(&seed);
}

static void header_make(const struct conversation *conversation, uint8_t header[HEADER_BYTES])
{
	put32(header, HEADER_MAGIC);
	put32(header + 4, conversation->id);
	put32(header + 8, (uint32_t)conversation->key[0]);
	put32(header + 12, (uint32_t)(conversation->key[0] >> 32));
}

static void stream_fill(const struct conversation *conversation, unsigned side, uint64_t position,
			uint8_t *to, size_t bytes)
{
	uint8_t header[HEADER_BYTES];
	uint64_t word = stream_word(conversation, side, position);

	header_make(conversation, header);
	for (size_t i = 0; i < bytes; i++, position++) {
		if (position % 8 == 0)
			word = stream_word(conversation, side, position);
		to[i] = side == 0 && position < HEADER_BYTES ? header[position]
							     : (uint8_t)(word >> (position % 8 * 8));
	}
}

static struct end *other_of(struct end *end)
{
	return &end->conversation->ends[!end->side];
}

/* --- ends ---------------------------------------------------------------------------- */

static struct end *end_of(c10m_conn *conn)
{
	const struct conn_state *state = c10m_conn_state(conn);
	struct end *end;

	if (state->end == 0 || state->end == GHOST)
		return NULL;
	end = &world_now->conversations[(state->end - 1) / 2].ends[(state->end - 1) % 2];
	if (end->handle != c10m_conn_handle(conn))
		world_fail(world_now, "a connection's state changed under it");
	if (end->closed)
		world_fail(world_now, "a callback came after on_close");
	return end;
}

static void timer_set(struct end *end, c10m_conn *conn, uint32_t ms)
{
	end->timer_set_us = node_now(world_now, end->node);
	end->timer_ms = ms;
	c10m_set_timer(conn, ms);
}

static uint64_t timer_latest_us(const struct end *end)
{
	const struct node *node = &world_now->nodes[end->node];

	return end->timer_set_us + (uint64_t)end->timer_ms * (MS + MS / 64) + 10 * MS + node->late_us +
	       node->tx_gap_us + node->clock_step_us + node->jumped_us;
}

static bool draw(struct end *end, uint32_t in_100)
{
	return !world_now->healed && random_chance(&end->random, in_100, 100);
}

/* What may be sent so far: an idle conversation keeps half for later. */
static uint64_t allowed_bytes(const struct end *end)
{
	uint64_t bytes = end->conversation->bytes[end->side];

	if (end->conversation->plan == PLAN_IDLE && !world_now->healed)
		return MIN_OF(bytes, bytes / 2 + HEADER_BYTES);
	return bytes;
}

static void drive(struct end *end, c10m_conn *conn);

static size_t send_by_message(c10m_conn *conn, const uint8_t *data, size_t bytes)
{
	c10m_message message = c10m_message_new(c10m_conn_worker(conn), data, bytes);
	size_t sent;

	if (!message)
		return c10m_send(conn, data, bytes);
	sent = c10m_conn_send_message(conn, message);
	if (sent != 0 && sent != bytes)
		world_fail(world_now, "a part of a message was taken");
	c10m_message_release(c10m_conn_worker(conn), message);
	return sent;
}

static int is_meant(c10m_conn *conn, void *context)
{
	const struct end *end = context;

	return c10m_conn_handle(conn) == end->handle;
}

static void fanned_out(c10m_worker *worker, const struct c10m_fanout_result *result, void *context)
{
	struct end *end = context;
	c10m_conn *conn = c10m_conn_find(worker, end->handle);

	if (result->queued + result->skipped > 1 || result->closed || result->coalesced)
		world_fail(world_now, "a fan-out to one counts %u receivers, %u skipped", result->queued,
			   result->skipped);
	if (result->queued)
		end->sent += end->fanning;
	end->plainly = !result->queued;
	end->fanning = 0;
	if (!conn || end->closed)
		return;
	if (end->group)
		c10m_group_leave(conn, end->group);
	end->group = 0;
	drive(end, conn);
}

/* The fan-out may take its time; until it is done the stream is not continued. */
static bool send_by_fanout(struct end *end, c10m_conn *conn, const uint8_t *data, size_t bytes)
{
	c10m_worker *worker = c10m_conn_worker(conn);
	struct c10m_fanout_request request = {
		.message = c10m_message_new(worker, data, bytes),
		.service = end->side == 0 || end->conversation->plan == PLAN_CROSS,
		.patience_ms = random_chance(&end->random, 1, 2) ? 1 + random_below(&end->random, 500) : 0,
		.filter = is_meant,
		.on_done = fanned_out,
		.context = end,
	};

	if (!request.message)
		return false;
	if (random_chance(&end->random, 1, 2))
		request.group = c10m_group_new(worker);
	if (request.group && c10m_group_join(conn, request.group))
		world_fail(world_now, "a new group cannot be joined");
	end->group = request.group;
	if (c10m_fanout(worker, &request) == 0)
		end->fanning = bytes;
	else if (request.group)
		c10m_group_leave(conn, request.group);
	c10m_group_release(worker, request.group);
	c10m_message_release(worker, request.message);
	return end->fanning > 0;
}

/* Sends until the stack takes no more, the end rests, or all is sent. */
static void send_more(struct end *end, c10m_conn *conn)
{
	uint8_t data[20000];
	uint64_t allowed = allowed_bytes(end);

	while (end->sent < allowed && !end->finishing && !end->resting && !end->fanning) {
		size_t most = 1 + random_below(&end->random, end->write_max);
		size_t want = MIN_OF((size_t)(allowed - end->sent), most);
		size_t sent;

		stream_fill(end->conversation, end->side, end->sent, data, want);
		if (!end->plainly && draw(end, end->fanout_chance) && send_by_fanout(end, conn, data, want))
			break;
		if (random_chance(&end->random, end->message_chance, 100))
			sent = send_by_message(conn, data, want);
		else if (draw(end, end->urgent_chance))
			sent = c10m_send_urgent(conn, data, want);
		else
			sent = c10m_send(conn, data, want);
		end->plainly = false;
		if (sent > want)
			world_fail(world_now, "c10m_send took more than it was given");
		end->sent += sent;
		if (sent < want)
			break;
		if (draw(end, end->rest_chance)) {
			end->resting = true;
			timer_set(end, conn, 1 + random_below(&end->random, end->rest_ms));
		}
	}
}

static void end_shutdown(struct end *end, c10m_conn *conn)
{
	if (end->finishing)
		return;
	end->finishing = true;
	c10m_shutdown(conn);
}

static void end_close(struct end *end, c10m_conn *conn)
{
	end->finishing = end->closing = true;
	c10m_close(conn);
}

static void finish(struct end *end, c10m_conn *conn)
{
	struct conversation *conversation = end->conversation;
	bool all_received = end->received == conversation->bytes[!end->side];
	bool ends_by_close = conversation->plan == PLAN_BOTH_CLOSE ||
			     (conversation->plan == PLAN_SERVER_CLOSE && end->side == 1);
	bool half_closes = conversation->plan == PLAN_BOTH_SHUTDOWN || conversation->plan == PLAN_CROSS ||
			   (conversation->plan != PLAN_SERVER_CLOSE && !ends_by_close && end->side == 0);

	if (end->sent < conversation->bytes[end->side])
		return;
	if (ends_by_close && all_received)
		end_close(end, conn);
	else if (half_closes)
		end_shutdown(end, conn);
	if (end->eof && !end->closing)
		end_close(end, conn);
}

static void drive(struct end *end, c10m_conn *conn)
{
	if (end->closing || end->aborted)
		return;
	if (end->sent + end->received >= end->abort_at) {
		if (end->conversation->plan == PLAN_CUT) {
			end_close(end, conn);
		} else {
			end->aborted = true;
			c10m_abort(conn);
		}
		return;
	}
	send_more(end, conn);
	finish(end, conn);
	if (!end->closing && end->timer_ms == 0 && end->conversation->plan == PLAN_IDLE)
		timer_set(end, conn, POLL_MS + random_below(&end->random, POLL_MS));
}

static void on_open(c10m_conn *conn)
{
	struct end *end = end_of(conn);

	if (!end) {
		c10m_set_timer(conn, GHOST_MS);
		return;
	}
	if (end->opened)
		world_fail(world_now, "on_open came twice");
	end->opened = true;
	if (end->conversation->plan == PLAN_VANISH)
		c10m_set_keepalive(conn, 5000 + random_below(&end->random, 20000));
	drive(end, conn);
}

/* --- data ------------------------------------------------------------------------------ */

/* A server learns from the first bytes whom it serves. False: not enough bytes yet. */
static bool recognise(c10m_conn *conn, const uint8_t *data, size_t bytes)
{
	struct conn_state *state = c10m_conn_state(conn);
	struct conversation *conversation;
	struct c10m_endpoints endpoints;
	struct end *end;
	uint8_t header[HEADER_BYTES];
	uint32_t id = bytes >= HEADER_BYTES ? get32(data + 4) : 0;

	c10m_conn_endpoints(conn, &endpoints);
	if (host_of(world_now, endpoints.remote_address) >= NODES) {
		state->end = GHOST;
		return true;
	}
	if (bytes < HEADER_BYTES)
		return false;
	conversation = &world_now->conversations[MIN_OF(id, world_now->conversation_count - 1)];
	header_make(conversation, header);
	if (memcmp(header, data, HEADER_BYTES) != 0 && world_now->hostile.on) {
		state->end = GHOST; /* an old cookie proves no more than that it was sent once */
		return true;
	}
	if (memcmp(header, data, HEADER_BYTES) != 0)
		world_fail(world_now, "the start of a stream arrived wrong");
	end = &conversation->ends[1];
	if (end->opened) { /* an old segment with a cookie in it made it open again */
		state->end = GHOST;
		return true;
	}
	state->end = 2 * id + 2;
	end->opened = true;
	end->handle = c10m_conn_handle(conn);
	c10m_set_timer(conn, 0);
	if (conversation->plan == PLAN_VANISH)
		c10m_set_keepalive(conn, 5000 + random_below(&end->random, 20000));
	return true;
}

static void compare(struct end *end, const uint8_t *data, size_t bytes)
{
	struct end *other = other_of(end);
	bool client = end->side == 0 || end->conversation->plan == PLAN_CROSS;
	const struct c10m_service *service = &world_now->nodes[end->node].services[client];
	uint32_t least = service->receive_bytes ? service->receive_bytes : 65536;
	uint32_t limit = MAX_OF(least, service->receive_max_bytes);
	uint8_t want[4096];

	if (end->received + bytes > other->sent + other->fanning)
		world_fail(world_now, "received %llu bytes, but only %llu were sent",
			   (unsigned long long)(end->received + bytes), (unsigned long long)other->sent);
	if (bytes > limit)
		world_fail(world_now, "%zu unread bytes are kept, the limit is %u", bytes, limit);
	if (end->eof || end->closing || end->aborted)
		world_fail(world_now, "data came after the end");
	for (size_t i = 0; i < bytes; i += sizeof(want)) {
		size_t part = MIN_OF(bytes - i, sizeof(want));

		stream_fill(end->conversation, !end->side, end->received + i, want, part);
		if (memcmp(want, data + i, part) != 0)
			world_fail(world_now, "the stream is wrong near byte %llu of conversation %u side %u",
				   (unsigned long long)(end->received + i), end->conversation->id, end->side);
	}
}

static size_t consume(struct end *end, c10m_conn *conn, size_t bytes)
{
	size_t taken = bytes;

	if (end->paused && !world_now->healed && end->timer_ms > 0)
		return 0;
	if (draw(end, end->partial_chance))
		taken = random_below(&end->random, (uint32_t)bytes + 1);
	if (draw(end, end->pause_chance))
		taken = random_below(&end->random, (uint32_t)bytes + 1);
	if (taken < bytes) {
		end->paused = true;
		if (end->timer_ms == 0)
			timer_set(end, conn, 1 + random_below(&end->random, end->rest_ms));
	}
	return taken;
}

static size_t on_data(c10m_conn *conn, const void *data, size_t bytes)
{
	const struct conn_state *state = c10m_conn_state(conn);
	struct end *end;
	size_t taken;

	if (bytes == 0)
		world_fail(world_now, "on_data without data");
	if (state->end == 0 && !recognise(conn, data, bytes))
		return 0;
	end = end_of(conn);
	if (!end)
		return bytes;
	compare(end, data, bytes);
	taken = consume(end, conn, bytes);
	end->received += taken;
	drive(end, conn);
	return taken;
}

static void on_writable(c10m_conn *conn)
{
	struct end *end = end_of(conn);

	if (end)
		drive(end, conn);
}

/* The peer has given up, and an old segment of this end with a cookie in it may have opened another stream;
 * or its SYN, sent again after the answer to the data in the first was lost. */
static bool strangers(struct end *end)
{
	const struct end *other = other_of(end);
	bool again = !world_now->strict || end->offered;

	return again && other->closed && other->reason != C10M_CLOSE_NORMAL;
}

/* A fan-out of which nobody has told yet may have been sent or not. */
static bool all_received(struct end *end)
{
	const struct end *other = other_of(end);

	return end->received == other->sent || end->received == other->sent + other->fanning;
}

static void on_eof(c10m_conn *conn)
{
	struct end *end = end_of(conn);

	if (!end) {
		c10m_close(conn);
		return;
	}
	if (end->eof)
		world_fail(world_now, "on_eof came twice");
	if (!strangers(end) && (!other_of(end)->finishing || !all_received(end)))
		world_fail(world_now, "on_eof after %llu bytes, %llu were sent",
			   (unsigned long long)end->received, (unsigned long long)other_of(end)->sent);
	end->eof = true;
	drive(end, conn);
}

static void on_timer(c10m_conn *conn)
{
	struct end *end = end_of(conn);
	uint64_t now_us;

	if (!end) {
		c10m_abort(conn);
		return;
	}
	now_us = node_now(world_now, end->node);
	if (end->timer_ms == 0)
		world_fail(world_now, "on_timer, but no timer was set");
	if (now_us < end->timer_set_us + (uint64_t)end->timer_ms * MS)
		world_fail(world_now, "a timer of %u ms fired after %llu us", end->timer_ms,
			   (unsigned long long)(now_us - end->timer_set_us));
	if (now_us > timer_latest_us(end))
		world_fail(world_now, "a timer of %u ms fired late, after %llu us", end->timer_ms,
			   (unsigned long long)(now_us - end->timer_set_us));
	end->timer_ms = 0;
	end->resting = false;
	if (end->paused) {
		end->paused = false;
		c10m_resume(conn);
	}
	drive(end, conn);
}

/* --- the end ----------------------------------------------------------------------------- */

static bool excused(const struct end *end, const struct end *other)
{
	return !world_now->strict || end->conversation->plan >= PLAN_CLEAN_COUNT || other->aborted;
}

static void judge_reason(struct end *end, enum c10m_close_reason reason)
{
	const struct end *other = other_of(end);

	/* After a full close FIN_WAIT_2 ends by itself (fin_wait2_ms). */
	if (reason == C10M_CLOSE_NORMAL && other->opened && !other->finishing &&
	    !(end->offered && other->closed) && (!end->closing || world_now->strict))
		world_fail(
			world_now,
			"conversation %u plan %u side %u closed as normal, but the other end has not closed",
			end->conversation->id, end->conversation->plan, end->side);
	if (reason == C10M_CLOSE_NORMAL && !end->closing && !all_received(end))
		world_fail(world_now, "conversation %u plan %u side %u closed as normal with bytes missing",
			   end->conversation->id, end->conversation->plan, end->side);
	if (reason == C10M_CLOSE_ABORTED && !end->aborted && !end->closing)
		world_fail(world_now, "closed as aborted, but nobody did");
	if (reason != C10M_CLOSE_NORMAL && !end->aborted && !excused(end, other))
		world_fail(world_now, "conversation %u plan %u side %u ended for reason %u without a cause",
			   end->conversation->id, end->conversation->plan, end->side, reason);
	if (!end->opened && (reason == C10M_CLOSE_NORMAL || reason == C10M_CLOSE_KEEPALIVE))
		world_fail(world_now, "closed for reason %u, but never opened", reason);
}

static void on_close(c10m_conn *conn, enum c10m_close_reason reason)
{
	struct end *end = end_of(conn);
	struct c10m_endpoints ends;

	c10m_conn_endpoints(conn, &ends);
	if (reason != C10M_CLOSE_NORMAL)
		referee_ended(world_now, &ends);
	if (!end)
		return;
	judge_reason(end, reason);
	end->closed = true;
	end->reason = reason;
}

/* In a strict world they are so long that they end nothing. */
static void draw_deadlines(struct world *world, struct c10m_service *service, uint32_t least_ms)
{
	struct random *random = &world->random;

	if (random_chance(random, 1, 4))
		service->first_byte_ms = least_ms + random_below(random, 10000);
	if (random_chance(random, 1, 4))
		service->idle_ms = least_ms + random_below(random, 20000);
	if (random_chance(random, 1, 4))
		service->unsent_ms = least_ms + random_below(random, 10000);
}

/* On the service that only the third host uses. */
static void draw_limits(struct world *world, unsigned index)
{
	struct random *random = &world->random;
	struct node *node = &world->nodes[index];

	node->denied = (struct c10m_prefix){.bits = 27, .address = {RANDOM_IP & 0xffffffe0u}};
	node->limits = (struct c10m_limits){
		.deny = &node->denied,
		.deny_count = random_below(random, 2),
		.source_connections = random_below(random, 3),
		.source_rate = random_below(random, 3),
		.source_burst = random_below(random, 4),
		.flags = random_below(random, 2) ? C10M_LIMITS_RESET : 0,
	};
	if (!node->limits.source_rate)
		node->limits.source_burst = 0; /* makes no sense without */
	if (random_chance(random, 1, 2))
		node->services[2].limits = &node->limits;
}

void app_services(struct world *world, unsigned node)
{
	static const uint32_t windows[] = {0, 0, 0, 1000, 4096, 20000, 300000};
	static const uint32_t keepalives[] = {0, 0, 1000, 20000};
	const struct c10m_service service = {
		.name = "server",
		.port = SERVER_PORT,
		.state_size = sizeof(struct conn_state),
		.on_open = on_open,
		.on_data = on_data,
		.on_writable = on_writable,
		.on_eof = on_eof,
		.on_timer = on_timer,
		.on_close = on_close,
	};
	struct random *random = &world->random;

	world_now = world;
	for (unsigned i = 0; i < 2; i++) {
		struct c10m_service *s = &world->nodes[node].services[i];

		*s = service;
		s->flags = random_chance(random, 1, 2) ? C10M_NODELAY : 0;
		s->flags |= random_chance(random, 1, 4) ? C10M_PACED : 0;
		s->groups = 1;
		s->receive_bytes = windows[random_below(random, ARRAY_COUNT(windows))];
		s->send_bytes = windows[random_below(random, ARRAY_COUNT(windows))];
		s->keepalive_ms = keepalives[random_below(random, ARRAY_COUNT(keepalives))];
		if (random_chance(random, 1, 3))
			s->receive_max_bytes = random_below(random, 500000);
		if (!world->strict && random_chance(random, 1, 3))
			s->user_timeout_ms = 500 + random_below(random, 20000);
		if (!world->strict && random_chance(random, 1, 3))
			s->flags |= C10M_USER_TIMEOUT_OPTION;
		draw_deadlines(world, s, world->strict ? 24 * 3600 * 1000 : 500);
	}
	world->nodes[node].services[1].name = "client";
	world->nodes[node].services[1].port = 0;
	world->nodes[node].services[2] = (struct c10m_service){
		.name = "discard",
		.port = SERVER_PORT + 1,
		.receive_bytes = 2000,
		.keepalive_ms = 2000,
	};
	chatter_service(world, &world->nodes[node].services[3]);
	draw_deadlines(world, &world->nodes[node].services[2], 100);
	if (!world->strict)
		draw_limits(world, node);
}

/* --- plans ---------------------------------------------------------------------------------- */

static uint64_t draw_bytes(struct random *random)
{
	switch (random_below(random, 10)) {
	case 0:
		return 0;
	case 1:
	case 2:
	case 3:
		return random_below(random, 100);
	case 4:
	case 5:
	case 6:
		return random_below(random, 5000);
	case 7:
	case 8:
		return random_below(random, 60000);
	default:
		return random_below(random, 250000);
	}
}

static void plan_end(struct conversation *conversation, unsigned side, unsigned node)
{
	struct random *random = &conversation->world->random;
	struct end *end = &conversation->ends[side];

	*end = (struct end){
		.conversation = conversation,
		.side = side,
		.node = node,
		.abort_at = UINT64_MAX,
		.random = random_seeded(conversation->key[side] ^ 0x5eed),
		.write_max = random_chance(random, 1, 3) ? 20 : 20000,
		.rest_chance = random_chance(random, 1, 3) ? random_below(random, 20) : 0,
		.pause_chance = random_chance(random, 1, 3) ? random_below(random, 20) : 0,
		.partial_chance = random_chance(random, 1, 3) ? random_below(random, 60) : 0,
		.rest_ms = random_chance(random, 1, 4) ? 8000 : 200,
		.urgent_chance = random_chance(random, 1, 4) ? random_below(random, 30) : 0,
		.message_chance = random_chance(random, 1, 3) ? random_below(random, 101) : 0,
		.fanout_chance = random_chance(random, 1, 3) ? random_below(random, 50) : 0,
	};
	if (end->write_max == 20)
		conversation->bytes[side] %= 2000;
	if ((conversation->plan == PLAN_ABORT || conversation->plan == PLAN_CUT) &&
	    side == (conversation->id & 1))
		end->abort_at = random_below(random,
					     2 + (uint32_t)(conversation->bytes[0] + conversation->bytes[1]));
}

static enum plan draw_plan(struct random *random)
{
	if (random_chance(random, 2, 3))
		return (enum plan)random_below(random, PLAN_CLEAN_COUNT);
	return (enum plan)random_below(random, PLAN_COUNT);
}

void app_plan(struct world *world)
{
	struct random *random = &world->random;
	uint32_t most = random_chance(random, 1, 4) ? CONVERSATIONS : 8;

	world->conversation_count = 1 + random_below(random, most);
	for (uint32_t i = 0; i < world->conversation_count; i++) {
		struct conversation *conversation = &world->conversations[i];
		unsigned client = random_below(random, 2);

		conversation->world = world;
		conversation->id = i;
		conversation->plan = draw_plan(random);
		conversation->start_us =
			i == 0 ? world->now_us
			       : world->now_us +
					 random_below(random, (uint32_t)(world->heal_us - world->now_us) / 2);
		for (unsigned side = 0; side < 2; side++) {
			conversation->key[side] = random_next(random);
			conversation->bytes[side] = draw_bytes(random);
		}
		plan_end(conversation, 0, client);
		plan_end(conversation, 1, !client);
		conversation->bytes[0] = MAX_OF(conversation->bytes[0], (uint64_t)HEADER_BYTES);
	}
}

/* Some host of the node's net, or the node itself. */
static uint32_t local_address(struct end *end)
{
	const struct ipv4_range *net = &world_now->nodes[end->node].source_net;

	if (net->count == 0 || end->conversation->plan == PLAN_CROSS || end->conversation->id % 4 == 3)
		return 0;
	return net->first + random_below(&end->random, 200);
}

/* What is given with the connect: no more than an empty queue takes. */
static size_t first_bytes(const struct end *end)
{
	const struct c10m_service *service = &world_now->nodes[end->node].services[1];
	size_t most = service->send_bytes ? service->send_bytes : 65536;
	size_t some = end->conversation->key[0] % 3 == 0 ? 0 : end->conversation->key[0] % 4000;

	if (!(service->flags & C10M_FASTOPEN))
		return 0;
	return MIN_OF(MIN_OF(some, most), (size_t)allowed_bytes(end));
}

static void connect_end(struct end *end, uint16_t local_port, uint16_t remote_port, uint32_t remote)
{
	uint8_t first[4000];
	const struct conn_state state = {.end = 2 * end->conversation->id + end->side + 1};
	struct c10m_connect_request request = {
		.service = 1,
		.remote_address = remote,
		.remote_port = remote_port,
		.local_port = local_port,
		.local_address = local_address(end),
		.state = &state,
		.state_bytes = sizeof(state),
		.data = first,
		.data_bytes = first_bytes(end),
	};
	struct node *node = &world_now->nodes[end->node];
	int error = 0;

	stream_fill(end->conversation, end->side, 0, first, request.data_bytes);

	if (node->stopped) {
		end->closed = true;
		return;
	}
	end->handle = c10m_connect(stack_worker(node->stack), &request, &error);
	if (error == -EADDRINUSE &&
	    end->conversation->plan != PLAN_CROSS) { /* both closed at the same time */
		request.local_port = 0;
		end->handle = c10m_connect(stack_worker(node->stack), &request, &error);
	}
	node->due_us = 0;
	end->sent = end->handle ? request.data_bytes : 0;
	end->offered = end->sent > 0;
	if (end->handle)
		return;
	if (error >= 0)
		world_fail(world_now, "c10m_connect failed without an error");
	if (world_now->strict && end->conversation->plan < PLAN_CLEAN_COUNT)
		world_fail(world_now, "c10m_connect failed with %d", error);
	end->closed = true;
}

/* The port that the stack chose: to let a conversation vanish. */
static void learn_port(struct conversation *conversation)
{
	struct node *node = &world_now->nodes[conversation->ends[0].node];
	c10m_conn *conn = c10m_conn_find(stack_worker(node->stack), conversation->ends[0].handle);
	struct c10m_endpoints endpoints;

	if (!conn)
		return;
	c10m_conn_endpoints(conn, &endpoints);
	conversation->client_port = endpoints.local_port;
	conversation->client_ip = endpoints.local_address;
}

/* The port of an ended conversation whose server is in TIME_WAIT now, to go through that; 0: any port. Not in
 * a strict world: after much data in little time the new sequence number is not beyond the old ones, and the
 * attempt has to fail (RFC 6191 section 2). */
static uint16_t port_again(const struct conversation *conversation)
{
	for (uint32_t i = 0; i < world_now->conversation_count && !world_now->strict; i++) {
		const struct conversation *old = &world_now->conversations[i];

		if (old->plan == PLAN_SERVER_CLOSE && old->client_port != 0 &&
		    old->ends[0].node == conversation->ends[0].node && old->ends[0].closed &&
		    old->ends[0].reason == C10M_CLOSE_NORMAL && old->ends[1].closed)
			return old->client_port;
	}
	return 0;
}

void app_connect(struct conversation *conversation)
{
	struct end *client = &conversation->ends[0], *server = &conversation->ends[1];
	uint16_t fixed = (uint16_t)(1024 + conversation->id);

	conversation->started = true;
	if (conversation->plan == PLAN_CROSS) {
		connect_end(client, fixed, fixed, host_ip(server->node));
		connect_end(server, fixed, fixed, host_ip(client->node));
		return;
	}
	if (conversation->plan == PLAN_NOBODY)
		connect_end(client, 0, SERVER_PORT, conversation->id % 4 == 0 ? 0x0b000001u : 0x0a000063u);
	else
		connect_end(client, conversation->id == 0 ? fixed : port_again(conversation),
			    conversation->plan == PLAN_NO_LISTENER ? 9 : SERVER_PORT, host_ip(server->node));
	if (client->handle)
		learn_port(conversation);
}

void app_healed(struct world *world)
{
	for (uint32_t i = 0; i < world->conversation_count; i++) {
		struct conversation *conversation = &world->conversations[i];

		if (!conversation->started) {
			conversation->started = true;
			conversation->ends[0].closed = conversation->ends[1].closed = true;
		}
	}
}

/* The peer is gone and what it said of that was lost: without keepalive TCP waits for ever, people do not. */
void app_lose_patience(struct world *world)
{
	for (uint32_t i = 0; i < 2 * world->conversation_count; i++) {
		struct end *end = &world->conversations[i / 2].ends[i % 2];
		const struct end *other = other_of(end);
		c10m_conn *conn = c10m_conn_find(stack_worker(world->nodes[end->node].stack), end->handle);

		if (!conn || !end->opened || end->closed || !other->closed ||
		    other->reason == C10M_CLOSE_NORMAL)
			continue;
		end->aborted = true;
		world->nodes[end->node].due_us = 0;
		c10m_abort(conn);
	}
}

void app_check_timers(struct world *world)
{
	for (uint32_t i = 0; i < 2 * world->conversation_count; i++) {
		struct end *end = &world->conversations[i / 2].ends[i % 2];

		if (end->opened && !end->closed && !end->aborted && !end->closing && end->timer_ms > 0 &&
		    node_now(world, end->node) > timer_latest_us(end))
			world_fail(world, "a timer of %u ms was lost", end->timer_ms);
	}
}

bool app_all_finished(const struct world *world)
{
	for (uint32_t i = 0; i < world->conversation_count; i++) {
		const struct conversation *conversation = &world->conversations[i];

		for (unsigned side = 0; side < 2; side++) {
			const struct end *end = &conversation->ends[side];

			if (!end->closed && (end->opened || end->handle || !conversation->started))
				return false;
		}
	}
	return true;
}

void app_check_end(struct world *world)
{
	for (uint32_t i = 0; i < world->conversation_count; i++) {
		struct conversation *conversation = &world->conversations[i];

		for (unsigned side = 0; side < 2; side++) {
			struct end *end = &conversation->ends[side];

			if (end->handle &&
			    c10m_conn_find(stack_worker(world->nodes[end->node].stack), end->handle))
				world_fail(world, "the handle of an ended connection still finds one");
			if (!world->strict || conversation->plan >= PLAN_CLEAN_COUNT)
				continue;
			if (end->sent != conversation->bytes[side] ||
			    end->received != conversation->bytes[!side])
				world_fail(world,
					   "conversation %u plan %u side %u: %llu of %llu bytes sent, %llu "
					   "of %llu received",
					   i, conversation->plan, side, (unsigned long long)end->sent,
					   (unsigned long long)conversation->bytes[side],
					   (unsigned long long)end->received,
					   (unsigned long long)conversation->bytes[!side]);
		}
	}
}
