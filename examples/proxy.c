/* proxy.c - a TCP proxy: who connects to it talks to one of the servers behind it.
 *
 *     proxy --interface eth0 -- 10.0.0.8:80 10.0.0.9:80
 *
 * After both connections are open the program has nothing to do with their bytes: two splices carry them, and
 * couple the windows, so that the slower side sets the pace and nothing piles up in between. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <c10m/c10m.h>

#define SERVERS_MAX 64

enum { FRONT, BACK };

struct session {
	c10m_handle other; /* the connection on the other side */
};

static struct c10m_connect_request servers[SERVERS_MAX];
static unsigned server_count;
static _Thread_local unsigned turn; /* each worker goes round by itself */

static c10m_conn *other_of(c10m_conn *conn)
{
	const struct session *session = c10m_conn_state(conn);

	return c10m_conn_find(c10m_conn_worker(conn), session->other);
}

/* Somebody has come: a connection to the server whose turn it is. */
static void front_open(c10m_conn *front)
{
	c10m_worker *worker = c10m_conn_worker(front);
	const struct session back = {.other = c10m_conn_handle(front)};
	struct c10m_connect_request request = servers[turn++ % server_count];
	uint32_t first, addresses = c10m_source_net(worker, &first);

	if (addresses) /* --source-net: 64,000 connections to each server from each of these */
		request.local_address = first + turn % addresses;
	request.state = &back;
	request.state_bytes = sizeof(back);
	((struct session *)c10m_conn_state(front))->other = c10m_connect(worker, &request, NULL);
	if (!((struct session *)c10m_conn_state(front))->other)
		c10m_abort(front);
}

/* The server has answered: from now on bytes and ends go both ways by themselves. */
static void back_open(c10m_conn *back)
{
	c10m_conn *front = other_of(back);

	c10m_set_user_timeout(back, 0); /* a server may keep its window closed for as long as it likes */
	if (!front || c10m_splice(front, back) < 0 || c10m_splice(back, front) < 0)
		c10m_abort(back);
}

/* Until then what comes is kept, and the window says how much more may come. */
static size_t keep(c10m_conn *conn, const void *data, size_t len)
{
	(void)conn, (void)data, (void)len;
	return 0;
}

/* The splice will tell the other side. */
static void wait_for_splice(c10m_conn *conn)
{
	(void)conn;
}

static void on_close(c10m_conn *conn, enum c10m_close_reason reason)
{
	c10m_conn *other = other_of(conn);

	if (reason != C10M_CLOSE_NORMAL && other)
		c10m_abort(other);
}

/* "10.0.0.8:80"; 0 when it is none. */
static int server_add(const char *text)
{
	struct c10m_connect_request *server = &servers[server_count];
	const char *colon = strchr(text, ':');
	char address[16] = "";
	struct in_addr binary;
	char *end;

	if (!colon || colon - text >= (ptrdiff_t)sizeof(address) || server_count == SERVERS_MAX)
		return 0;
	memcpy(address, text, (size_t)(colon - text));
	server->service = BACK;
	server->remote_port = (uint16_t)strtoul(colon + 1, &end, 10);
	if (inet_pton(AF_INET, address, &binary) != 1 || *end || server->remote_port == 0)
		return 0;
	server->remote_address = ntohl(binary.s_addr);
	server_count++;
	return 1;
}

int main(int argc, char **argv)
{
	const struct c10m_service services[] = {
		[FRONT] = {.name = "proxy",
			   .port = 8080,
			   .flags = C10M_SPLICE | C10M_NODELAY,
			   .state_size = sizeof(struct session),
			   .keepalive_ms = 60000,
			   .on_open = front_open,
			   .on_data = keep,
			   .on_eof = wait_for_splice,
			   .on_close = on_close},
		[BACK] = {.name = "proxy to its servers",
			  .flags = C10M_SPLICE | C10M_NODELAY,
			  .state_size = sizeof(struct session),
			  .keepalive_ms = 60000,
			  .user_timeout_ms = 10000, /* to connect; back_open takes it back */
			  .on_open = back_open,
			  .on_data = keep,
			  .on_eof = wait_for_splice,
			  .on_close = on_close},
	};
	int own = 0;

	for (int i = 1; i < argc; i++)
		if (own && !server_add(argv[i]))
			return fprintf(stderr, "proxy: '%s' is no ADDRESS:PORT\n", argv[i]), 2;
		else if (strcmp(argv[i], "--") == 0)
			own = 1;
	if (server_count == 0 && !(argc > 1 && strcmp(argv[1], "--help") == 0))
		return fputs("proxy: say behind -- whom to connect to: ADDRESS:PORT...\n", stderr), 2;
	return c10m_main(argc, argv, services, 2);
}
