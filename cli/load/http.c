/* http.c - GET requests of HTTP/1.1, one at a time on a connection.
 * In: responses. Out: requests. Owns: the parser in each connection's state. */
#include <http_parser.h>
#include <string.h>

#include "load.h"

_Static_assert(sizeof(http_parser) <= sizeof(((struct load_conn *)0)->http), "it lies in the state");

static http_parser *parser_of(struct load_conn *state)
{
	return (http_parser *)(void *)state->http;
}

/* Stops behind the response. */
static int on_message_complete(http_parser *parser)
{
	http_parser_pause(parser, 1);
	return 0;
}

static const http_parser_settings settings = {.on_message_complete = on_message_complete};

void http_send(struct load_engine *engine, c10m_conn *conn)
{
	const struct load_config *config = engine->config;
	struct load_conn *state = c10m_conn_state(conn);

	http_parser_init(parser_of(state), HTTP_RESPONSE);
	if (config->fastopen && state->request == 1) { /* open.c has queued it */
		engine->counts.bytes_out += config->http_bytes;
		return;
	}
	/* An idle connection's queue takes a request whole, unless memory is used up. */
	if (c10m_send(conn, config->http_request, config->http_bytes) < config->http_bytes)
		conn_fail(engine, conn, &engine->counts.lost_timeout);
	else
		engine->counts.bytes_out += config->http_bytes;
}

static bool is_complete(const http_parser *parser)
{
	return HTTP_PARSER_ERRNO(parser) == HPE_PAUSED;
}

static bool is_success(const http_parser *parser)
{
	return parser->status_code >= 200 && parser->status_code < 400;
}

static void complete(struct load_engine *engine, c10m_conn *conn)
{
	if (is_success(parser_of(c10m_conn_state(conn))))
		conn_answered(engine, conn);
	else
		conn_fail(engine, conn, &engine->counts.lost_wrong);
}

size_t http_data(struct load_engine *engine, c10m_conn *conn, const uint8_t *data, size_t len)
{
	http_parser *parser = parser_of(c10m_conn_state(conn));
	size_t parsed = http_parser_execute(parser, &settings, (const char *)data, len);

	if (HTTP_PARSER_ERRNO(parser) == HPE_OK)
		return len;
	if (!is_complete(parser))
		conn_fail(engine, conn, &engine->counts.lost_wrong);
	else if (parsed < len)
		conn_fail(engine, conn, &engine->counts.lost_unasked);
	else
		complete(engine, conn);
	return len;
}

/* A response without a length ends with the connection. */
void http_eof(struct load_engine *engine, c10m_conn *conn)
{
	http_parser *parser = parser_of(c10m_conn_state(conn));

	http_parser_execute(parser, &settings, NULL, 0);
	if (is_complete(parser))
		complete(engine, conn);
}
