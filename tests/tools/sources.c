/* sources.c - a program on the public interface that connects from all over its --source-net: for the
 * end-to-end tests. sources ADDRESS PORT COUNT WORKERS [options of c10m]: each worker opens its share, from
 * addresses that lie equally far apart; each connection sends a word of its own, and gets it back before it
 * closes. Prints how many did. */
#include <c10m/c10m.h>

#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct call {
	uint64_t word, got;
	uint32_t bytes;
};

static uint32_t address, count, workers;
static uint16_t port;
static atomic_uint good, over, refused;

static void on_open(c10m_conn *conn)
{
	const struct call *call = c10m_conn_state(conn);

	c10m_send(conn, &call->word, sizeof(call->word));
}

static size_t on_data(c10m_conn *conn, const void *data, size_t len)
{
	struct call *call = c10m_conn_state(conn);

	if (call->bytes + len > sizeof(call->got)) {
		c10m_abort(conn);
		return len;
	}
	memcpy((char *)&call->got + call->bytes, data, len);
	call->bytes += (uint32_t)len;
	if (call->bytes == sizeof(call->got))
		c10m_close(conn);
	return len;
}

static void on_close(c10m_conn *conn, enum c10m_close_reason reason)
{
	const struct call *call = c10m_conn_state(conn);

	if (reason == C10M_CLOSE_NORMAL && call->word == call->got)
		atomic_fetch_add(&good, 1);
	if (atomic_fetch_add(&over, 1) + 1 + atomic_load(&refused) == count)
		c10m_stop();
}

static void on_start(c10m_worker *worker)
{
	uint32_t first, hosts = c10m_source_net(worker, &first);
	struct call call = {0};
	struct c10m_connect_request request = {
		.remote_address = address, .remote_port = port, .state = &call, .state_bytes = sizeof(call)};

	for (uint32_t i = c10m_worker_number(worker); i < count; i += workers) {
		int error;

		request.local_address = first + (uint32_t)((uint64_t)i * (hosts - 1) / (count - 1));
		call.word = request.local_address * 0x9e3779b97f4a7c15u;
		if (!c10m_connect(worker, &request, &error)) {
			fprintf(stderr, "sources: %s\n", strerror(-error));
			if (atomic_fetch_add(&refused, 1) + 1 + atomic_load(&over) == count)
				c10m_stop();
		}
	}
}

int main(int argc, char **argv)
{
	const struct c10m_service service = {.name = "sources",
					     .state_size = sizeof(struct call),
					     .on_open = on_open,
					     .on_data = on_data,
					     .on_close = on_close,
					     .on_start = on_start};
	struct in_addr to;
	int code;

	if (argc < 5 || inet_pton(AF_INET, argv[1], &to) != 1 || atoi(argv[3]) < 2 || atoi(argv[4]) < 1)
		return 2;
	address = ntohl(to.s_addr);
	port = (uint16_t)atoi(argv[2]);
	count = (uint32_t)atoi(argv[3]);
	workers = (uint32_t)atoi(argv[4]);
	argv[4] = argv[0];
	code = c10m_main(argc - 4, argv + 4, &service, 1);
	printf("%u of %u\n", atomic_load(&good), count);
	return code;
}
