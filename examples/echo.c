/* echo.c - sends back what it receives (RFC 862). */
#include <c10m/c10m.h>

struct session { /* lives inside the connection's own block */
	uint64_t bytes;
};

/* Returns the bytes it has consumed; the rest is offered again. */
static size_t on_data(c10m_conn *conn, const void *data, size_t len)
{
	struct session *session = c10m_conn_state(conn);
	size_t sent = c10m_send(conn, data, len); /* bytes accepted: backpressure */

	session->bytes += sent;
	return sent;
}

int main(int argc, char **argv)
{
	const struct c10m_service echo = {
		.name = "echo", .port = 7, .state_size = sizeof(struct session), .on_data = on_data};

	return c10m_main(argc, argv, &echo, 1);
}
