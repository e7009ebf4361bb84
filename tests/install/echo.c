/* echo.c - a program outside the tree: the server of docs/design.md, section 4. */
#include <c10m/c10m.h>

/* A name that the library uses inside: a program may have its own. */
int check_failed;

struct session {
	uint64_t bytes;
};

static size_t on_data(c10m_conn *conn, const void *data, size_t len)
{
	struct session *session = c10m_conn_state(conn);
	size_t sent = c10m_send(conn, data, len);

	session->bytes += sent;
	return sent;
}

int main(int argc, char **argv)
{
	const struct c10m_service echo = {
		.name = "echo",
		.port = 7,
		.state_size = sizeof(struct session),
		.on_data = on_data,
	};

	return c10m_main(argc, argv, &echo, 1);
}
