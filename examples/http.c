/* http.c - a small HTTP/1.1 server: every GET is answered with a greeting and a count.
 *
 * It shows how a parser that wants to be fed piece by piece lives in a connection's state, how
 * an answer that did not fit is carried over, and how a connection ends. */
#include <http_parser.h>
#include <stdio.h>
#include <string.h>

#include <c10m/c10m.h>

struct session {
	http_parser parser;
	unsigned requests;
	unsigned answer_bytes, answer_sent; /* of the answer that is on its way */
	int last;                           /* close after it */
	char answer[256];
};

/* Sends what c10m takes; true when nothing is left of the answer. */
static int push(c10m_conn *conn, struct session *session)
{
	session->answer_sent += (unsigned)c10m_send(conn, session->answer + session->answer_sent,
						    session->answer_bytes - session->answer_sent);
	if (session->answer_sent < session->answer_bytes)
		return 0;
	if (session->last && session->answer_bytes > 0) {
		c10m_shutdown(conn); /* the rest of the peer's bytes is read, so that no reset overtakes us */
		c10m_set_timer(conn, 5000);
	}
	session->answer_bytes = session->answer_sent = 0;
	return 1;
}

/* The parser calls it at the end of each request, and stops there: one answer at a time. */
static int on_request(http_parser *parser)
{
	struct session *session = c10m_conn_state(parser->data);
	char body[64];
	int body_bytes = snprintf(body, sizeof(body), "Hello, this is request %u.\n", ++session->requests);

	session->last = !http_should_keep_alive(parser);
	session->answer_bytes = (unsigned)snprintf(
		session->answer, sizeof(session->answer),
		"HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n%s\r\n%s",
		parser->method == HTTP_GET ? "200 OK" : "405 Method Not Allowed\r\nAllow: GET", body_bytes,
		session->last ? "Connection: close\r\n" : "", parser->method == HTTP_HEAD ? "" : body);
	http_parser_pause(parser, 1);
	return 0;
}

static const http_parser_settings settings = {.on_message_complete = on_request};

static void on_open(c10m_conn *conn)
{
	struct session *session = c10m_conn_state(conn);

	http_parser_init(&session->parser, HTTP_REQUEST);
}

static size_t on_data(c10m_conn *conn, const void *data, size_t len)
{
	struct session *session = c10m_conn_state(conn);
	size_t used = 0;

	if (session->last)
		return len; /* what follows the last request is nobody's */
	while (used < len && !session->last && push(conn, session)) {
		session->parser.data = conn;
		used += http_parser_execute(&session->parser, &settings, (const char *)data + used,
					    len - used);
		if (HTTP_PARSER_ERRNO(&session->parser) == HPE_PAUSED)
			http_parser_pause(&session->parser, 0);
		else if (HTTP_PARSER_ERRNO(&session->parser) != HPE_OK)
			return c10m_abort(conn), len;
	}
	push(conn, session);
	return used;
}

static void on_writable(c10m_conn *conn)
{
	if (push(conn, c10m_conn_state(conn)))
		c10m_resume(conn);
}

/* The peer has its last answer and does not close. */
static void on_timer(c10m_conn *conn)
{
	c10m_close(conn);
}

int main(int argc, char **argv)
{
	const struct c10m_service http = {
		.name = "http",
		.port = 80,
		.state_size = sizeof(struct session),
		.on_open = on_open,
		.on_data = on_data,
		.on_writable = on_writable,
		.on_timer = on_timer,
	};

	return c10m_main(argc, argv, &http, 1);
}
