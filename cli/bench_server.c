/* bench_server.c - the stack that the benches ask, and the service that echoes.
 * In: peers and an arena. Out: a stack that waits for their SYNs. Owns: nothing. */
#include <errno.h>

#include "bench_server.h"

#define KEEPALIVE_MS   7200000u
#define SERVER_ADDRESS 0xc0a80001u /* 192.168.0.1 */
#define GATEWAY        0xc0a800feu /* 192.168.0.254 */
#define ARENA_SPARE    65536u      /* for the arena's own header, and what it rounds up */

struct session {
	uint64_t bytes;
	uint8_t rest[56];
};

static size_t on_data(c10m_conn *conn, const void *data, size_t len)
{
	struct session *session = c10m_conn_state(conn);
	size_t sent = c10m_send(conn, data, len);

	session->bytes += sent;
	return sent;
}

const struct c10m_service bench_echo = {
	.name = "echo",
	.port = BENCH_SERVER_PORT,
	.state_size = sizeof(struct session),
	.on_data = on_data,
	.keepalive_ms = KEEPALIVE_MS,
};

void bench_server_name(struct peers *peers, uint32_t count)
{
	peers->count = count;
	peers->delayed_acks = true;
	peers->server = SERVER_ADDRESS;
	peers->port = BENCH_SERVER_PORT;
	peers->server_mac = (struct eth_address){{2, 0, 0, 0, 0, 1}};
	peers->gateway_mac = (struct eth_address){{2, 0, 0, 0, 0, 2}};
}

void bench_server_configure(const struct peers *peers, const struct c10m_service *service,
			    struct stack_config *config)
{
	*config = (struct stack_config){
		.connections = peers->count,
		.services = service,
		.service_count = 1,
		.mac = peers->server_mac,
		.address = SERVER_ADDRESS,
		.prefix_bits = 24,
		.gateway = GATEWAY,
	};
}

size_t bench_server_bytes(const struct stack_config *config)
{
	return stack_bytes(config) + ARENA_SPARE;
}

int bench_server_start(struct arena *arena, const struct stack_config *config, const struct peers *peers,
		       struct stack **stack)
{
	const struct stack_message neighbour = {
		.kind = STACK_SET_NEIGHBOUR, .address = GATEWAY, .mac = peers->gateway_mac};

	*stack = stack_init(arena, config, 0);
	if (!*stack)
		return -EINVAL;
	stack_start(*stack, 0);
	return stack_control(*stack, 0, &neighbour);
}
