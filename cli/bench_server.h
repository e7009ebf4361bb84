/* bench_server.h - the stack that the benches ask, and the service that echoes. bench_peers.h are who asks.
 */
#ifndef C10M_CLI_BENCH_SERVER_H
#define C10M_CLI_BENCH_SERVER_H

#include "bench_peers.h"
#include "stack/stack.h"

#define BENCH_SERVER_PORT 7

/* The echo of docs/design.md section 4, with 64 bytes of state. */
extern const struct c10m_service bench_echo;

/* Sets how many the peers are and where their server is, before peers_init. */
void bench_server_name(struct peers *peers, uint32_t count);
/* What the stack is to be: the peers' server, and as large as they need. The service is not copied. */
void bench_server_configure(const struct peers *peers, const struct c10m_service *service,
			    struct stack_config *config);
size_t bench_server_bytes(const struct stack_config *config);
/* Makes the stack in the arena and starts it; it knows the way to its peers. 0, or a negative errno. */
int bench_server_start(struct arena *arena, const struct stack_config *config, const struct peers *peers,
		       struct stack **stack);

#endif
