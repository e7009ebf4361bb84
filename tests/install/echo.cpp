// echo.cpp - the same program outside the tree, in C++.
#include <c10m/c10m.h>

#include <cstdint>

namespace {

struct Session {
	std::uint64_t bytes;
};

std::size_t on_data(c10m_conn *conn, const void *data, std::size_t len)
{
	auto *session = static_cast<Session *>(c10m_conn_state(conn));
	std::size_t sent = c10m_send(conn, data, len);

	session->bytes += sent;
	return sent;
}

} // namespace

int main(int argc, char **argv)
{
	c10m_service echo = {};

	echo.name = "echo";
	echo.port = 7;
	echo.state_size = sizeof(Session);
	echo.on_data = on_data;
	return c10m_main(argc, argv, &echo, 1);
}
