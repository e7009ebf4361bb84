/* chatter.c - the application that liars talk to: it says much, reads slowly, and ends after a while.
 * In: callbacks of both stacks.  Out: calls of the public interface.  Owns: nothing. */
#include "sim.h"

static struct world *chat_world; /* callbacks have no other way to it */

struct chat_state {
	uint32_t left, rounds;
};

static void chat_say(c10m_conn *conn)
{
	static const uint8_t words[40000];
	struct chat_state *state = c10m_conn_state(conn);
	uint32_t most = 1 + random_below(&chat_world->random, sizeof(words));
	uint32_t want = MIN_OF(state->left, most);
	size_t sent = want ? c10m_send(conn, words, want) : 0;

	state->left -= (uint32_t)sent;
	if (state->left == 0 && state->rounds & 1)
		c10m_shutdown(conn);
}

static void chat_open(c10m_conn *conn)
{
	struct chat_state *state = c10m_conn_state(conn);

	*state = (struct chat_state){random_below(&chat_world->random, 100000),
				     random_below(&chat_world->random, 8)};
	c10m_set_timer(conn, 1 + random_below(&chat_world->random, 3000));
	chat_say(conn);
}

static size_t chat_data(c10m_conn *conn, const void *data, size_t bytes)
{
	(void)conn;
	(void)data;
	return random_below(&chat_world->random, 3) ? bytes
						    : random_below(&chat_world->random, (uint32_t)bytes + 1);
}

static void chat_eof(c10m_conn *conn)
{
	if (random_below(&chat_world->random, 2))
		c10m_close(conn);
}

static void chat_timer(c10m_conn *conn)
{
	struct chat_state *state = c10m_conn_state(conn);

	if (++state->rounds > 16 || chat_world->healed) {
		c10m_abort(conn);
		return;
	}
	c10m_set_timer(conn, 1 + random_below(&chat_world->random, 6000));
	c10m_resume(conn);
	chat_say(conn);
}

void chatter_service(struct world *world, struct c10m_service *service)
{
	chat_world = world;
	*service = (struct c10m_service){
		.name = "chatter",
		.port = CHAT_PORT,
		.state_size = sizeof(struct chat_state),
		.on_open = chat_open,
		.on_data = chat_data,
		.on_writable = chat_say,
		.on_eof = chat_eof,
		.on_timer = chat_timer,
		.receive_bytes = random_chance(&world->random, 1, 2) ? 0 : 3000,
		.send_bytes = random_chance(&world->random, 1, 2) ? 0 : 200000,
	};
}

uint16_t chatter_connect(struct world *world, unsigned node, uint32_t ip, uint16_t port)
{
	static const uint8_t words[3000];
	const struct c10m_connect_request request = {
		.service = 3,
		.remote_address = ip,
		.remote_port = port,
		.data = words,
		.data_bytes = world->nodes[node].services[3].flags & C10M_FASTOPEN
				      ? random_below(&world->random, sizeof(words))
				      : 0,
	};
	c10m_worker *worker = stack_worker(world->nodes[node].stack);
	struct c10m_endpoints endpoints;
	c10m_handle handle;

	if (world->nodes[node].stopped)
		return 0;
	handle = c10m_connect(worker, &request, NULL);
	world->nodes[node].due_us = 0;
	if (!handle)
		return 0;
	c10m_conn_endpoints(c10m_conn_find(worker, handle), &endpoints);
	return endpoints.local_port;
}
