/* http_service.c - answers HTTP/1.1 requests.
 * In: bytes of requests, parsed by http_parser, which keeps its state in the connection's block.
 * Out: one response at a time. A response is a function of a few numbers, so that what c10m_send did not
 * take is made again later, from the byte where it stopped; requests behind it wait unread.
 * Owns: nothing but that state. */
#include <http_parser.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/check.h"
#include "http_service.h"

#define TARGET_BYTES 64  /* of a request's target that are kept: enough for every path we know */
#define NAME_BYTES   8   /* of a header's name, likewise */
#define HEAD_BYTES   320 /* of a response's head, at most */
#define SLICE_BYTES  16384

struct http_state {
	http_parser parser;
	uint64_t body_bytes;    /* of the response */
	uint64_t sent;          /* of head and body together */
	uint64_t request_bytes; /* of the request's body so far */
	uint32_t date;          /* of the response: its head must stay the same when it is made again */
	uint16_t status;        /* of the response; 0: none is on its way */
	bool head_only;         /* HEAD: the body is announced and not sent */
	bool keep;              /* the connection stays open after this response */
	bool old;               /* HTTP/1.0, which must be told that the connection stays */
	bool closing;           /* our last response is out: what still comes is dropped */
	bool eof;               /* the peer has closed its direction */
	bool host, expect;      /* headers that were there */
	uint8_t name_bytes, target_bytes;
	bool in_value;   /* the last header callback was a value */
	bool in_request; /* part of one has come */
	char name[NAME_BYTES];
	char target[TARGET_BYTES];
	c10m_handle newer, older; /* all connections of a worker are linked, for on_stop */
};

static const char hello[] = "Hello from c10m\n";
static const char continue_text[] = "HTTP/1.1 100 Continue\r\n\r\n";
static char slice[SLICE_BYTES]; /* every long body is made of it */
static uint32_t root_bytes;
static _Thread_local c10m_handle newest; /* of this worker */
static _Thread_local bool stopping;      /* each connection ends with the response that it waits for */

/* --- responses ------------------------------------------------------------------ */

static const char *status_text(unsigned status)
{
	switch (status) {
	case 200:
		return "OK";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 413:
		return "Content Too Large";
	case 431:
		return "Request Header Fields Too Large";
	default:
		return "Bad Request";
	}
}

/* "Mon, 23 Nov 2026 10:00:00 GMT" (RFC 9110 section 5.6.7), made once a second. */
static const char *date_text(uint32_t seconds)
{
	static _Thread_local uint32_t last;
	static _Thread_local char text[32];
	static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t at = (time_t)seconds;
	struct tm tm;

	if (seconds == last && text[0])
		return text;
	gmtime_r(&at, &tm);
	snprintf(text, sizeof(text), "%s, %02u %s %04u %02u:%02u:%02u GMT", days[tm.tm_wday],
		 (unsigned)tm.tm_mday % 100, months[tm.tm_mon], (unsigned)(tm.tm_year + 1900) % 10000,
		 (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
	last = seconds;
	return text;
}

/* What a head depends on. Most responses have the same one as the response before. */
struct head_key {
	uint64_t body_bytes;
	uint32_t date;
	uint16_t status;
	bool keep, old;
};

_Static_assert(sizeof(struct head_key) == 16, "no padding: it is compared whole");

static uint32_t print_head(const struct head_key *key, char head[HEAD_BYTES])
{
	const char *allow = key->status == 405 ? "Allow: GET, HEAD, POST\r\n" : "";
	const char *connection = "";
	int bytes;

	if (!key->keep)
		connection = "Connection: close\r\n";
	else if (key->old)
		connection = "Connection: keep-alive\r\n";
	bytes = snprintf(head, HEAD_BYTES,
			 "HTTP/1.1 %u %s\r\nServer: c10m\r\nDate: %s\r\nContent-Type: text/plain\r\n"
			 "%s%sContent-Length: %" PRIu64 "\r\n\r\n",
			 key->status, status_text(key->status), date_text(key->date), allow, connection,
			 key->body_bytes);
	CHECK(bytes > 0 && bytes < HEAD_BYTES);
	return (uint32_t)bytes;
}

static uint32_t make_head(const struct http_state *state, char head[HEAD_BYTES])
{
	static _Thread_local struct head_key last;
	static _Thread_local char text[HEAD_BYTES];
	static _Thread_local uint32_t bytes;
	const struct head_key key = {state->body_bytes, state->date, state->status, state->keep, state->old};

	if (memcmp(&key, &last, sizeof(key)) != 0) {
		bytes = print_head(&key, text);
		last = key;
	}
	memcpy(head, text, bytes);
	return bytes;
}

/* Up to `room` bytes of the body from `offset` on. */
static uint32_t make_body(const struct http_state *state, uint64_t offset, char *to, uint32_t room)
{
	uint64_t left = state->body_bytes - offset;
	uint32_t bytes = left < room ? (uint32_t)left : room;

	if (state->status == 200 && state->body_bytes == sizeof(hello) - 1 && root_bytes == 0)
		memcpy(to, hello + offset, bytes);
	else
		memcpy(to, slice + offset % 64, bytes);
	return bytes;
}

/* Sends what c10m_send takes; true when the whole response is out. */
static bool push_response(c10m_conn *conn, struct http_state *state)
{
	char buffer[HEAD_BYTES + SLICE_BYTES - 64];
	uint32_t head_bytes = make_head(state, buffer);
	uint64_t total = head_bytes + (state->head_only ? 0 : state->body_bytes);

	while (state->sent < total) {
		uint32_t skip = state->sent < head_bytes ? (uint32_t)state->sent : head_bytes;
		uint32_t bytes = head_bytes - skip;
		size_t taken;

		if (!state->head_only)
			bytes += make_body(state, state->sent + bytes - head_bytes, buffer + head_bytes,
					   SLICE_BYTES - 64);
		taken = c10m_send(conn, buffer + skip, bytes);
		state->sent += taken;
		if (taken < bytes)
			return false;
	}
	return true;
}

/* After the last response: FIN, then wait for the peer's, so that no reset overtakes the response. */
static void finish(c10m_conn *conn, struct http_state *state)
{
	state->closing = true;
	if (state->eof) {
		c10m_close(conn);
		return;
	}
	c10m_shutdown(conn);
	c10m_set_timer(conn, HTTP_LINGER_MS);
}

/* True when the connection is ready for the next request. */
static bool advance_response(c10m_conn *conn, struct http_state *state)
{
	if (state->status == 0)
		return true;
	if (!push_response(conn, state))
		return false;
	state->status = 0;
	if (state->keep && !stopping)
		return true;
	finish(conn, state);
	return false;
}

static void start_response(struct http_state *state, uint16_t status, uint64_t body_bytes, bool keep)
{
	state->status = status;
	state->body_bytes = body_bytes;
	state->keep = keep && !stopping;
	state->sent = 0;
	state->date = (uint32_t)time(NULL);
}

/* --- requests --------------------------------------------------------------------- */

/* The path of the target: without the query, and without scheme and host (RFC 9112 section 3.2). */
static const char *request_path(const struct http_state *state, char path[TARGET_BYTES + 1])
{
	char *at = path;

	memcpy(path, state->target, state->target_bytes);
	path[state->target_bytes] = '\0';
	path[strcspn(path, "?#")] = '\0';
	if (strncasecmp(path, "http://", 7) == 0) {
		at = strchr(path + 7, '/');
		if (!at)
			return "/";
	}
	return at;
}

/* Decimal digits alone, below 10^18. */
static bool number_of(const char *text, uint64_t *value)
{
	size_t digits = strspn(text, "0123456789");

	if (digits == 0 || digits > 18 || text[digits])
		return false;
	for (*value = 0; *text; text++)
		*value = *value * 10 + (uint64_t)(*text - '0');
	return true;
}

static uint16_t route(const struct http_state *state, uint64_t *body_bytes)
{
	char room[TARGET_BYTES + 1];
	const char *path = request_path(state, room);

	*body_bytes = 0;
	if (state->parser.method != HTTP_GET && state->parser.method != HTTP_HEAD &&
	    state->parser.method != HTTP_POST)
		return 405;
	if (strcmp(path, "/") == 0) {
		*body_bytes = root_bytes ? root_bytes : sizeof(hello) - 1;
		return 200;
	}
	if (strncmp(path, "/bytes/", 7) == 0 && number_of(path + 7, body_bytes))
		return 200;
	return 404;
}

static struct http_state *state_of(http_parser *parser)
{
	return c10m_conn_state(parser->data);
}

static int on_message_begin(http_parser *parser)
{
	struct http_state *state = state_of(parser);

	state->host = state->expect = state->in_value = false;
	state->name_bytes = state->target_bytes = 0;
	state->request_bytes = 0;
	state->in_request = true;
	return 0;
}

static int on_url(http_parser *parser, const char *at, size_t bytes)
{
	struct http_state *state = state_of(parser);
	size_t room = TARGET_BYTES - state->target_bytes;
	size_t kept = bytes < room ? bytes : room;

	memcpy(state->target + state->target_bytes, at, kept);
	state->target_bytes = (uint8_t)(state->target_bytes + kept);
	return 0;
}

static int on_header_field(http_parser *parser, const char *at, size_t bytes)
{
	struct http_state *state = state_of(parser);

	if (state->in_value)
		state->name_bytes = 0;
	state->in_value = false;
	for (size_t i = 0; i < bytes && state->name_bytes < NAME_BYTES; i++)
		state->name[state->name_bytes++] = at[i];
	return 0;
}

static bool name_is(const struct http_state *state, const char *name)
{
	return state->name_bytes == strlen(name) && strncasecmp(state->name, name, state->name_bytes) == 0;
}

/* One Host, no more (RFC 9112 section 3.2): a second one stops the parser, which is answered with 400. */
static int on_header_value(http_parser *parser, const char *at, size_t bytes)
{
	struct http_state *state = state_of(parser);

	(void)at, (void)bytes;
	if (state->in_value)
		return 0; /* more of the same value */
	state->in_value = true;
	if (name_is(state, "host")) {
		if (state->host)
			return 1;
		state->host = true;
	}
	state->expect |= name_is(state, "expect");
	return 0;
}

static uint16_t head_verdict(const http_parser *parser, const struct http_state *state)
{
	bool modern = parser->http_major == 1 && parser->http_minor >= 1;

	if (parser->http_major != 1 || (modern && !state->host))
		return 400;
	if (parser->content_length != UINT64_MAX && parser->content_length > HTTP_REQUEST_BYTES_MAX)
		return 413;
	return 0;
}

/* The head is complete. Expect is answered before the body comes (RFC 9110 section 10.1.1). An upgrade is
 * not accepted: its request is an ordinary one (section 7.8). */
static int on_headers_complete(http_parser *parser)
{
	struct http_state *state = state_of(parser);
	uint16_t refused = head_verdict(parser, state);

	if (refused) {
		start_response(state, refused, 0, false);
		http_parser_pause(parser, 1);
		return 0;
	}
	if (state->expect && parser->http_minor >= 1 &&
	    c10m_send(parser->data, continue_text, sizeof(continue_text) - 1) < sizeof(continue_text) - 1)
		c10m_abort(parser->data); /* half a line went out: nothing sensible can follow */
	return 0;
}

static int on_body(http_parser *parser, const char *at, size_t bytes)
{
	struct http_state *state = state_of(parser);

	(void)at;
	state->request_bytes += bytes;
	if (state->request_bytes <= HTTP_REQUEST_BYTES_MAX)
		return 0;
	start_response(state, 413, 0, false);
	return 1;
}

static int on_message_complete(http_parser *parser)
{
	struct http_state *state = state_of(parser);
	uint64_t body_bytes;
	uint16_t status = route(state, &body_bytes);
	bool keep = http_should_keep_alive(parser) && parser->method != HTTP_CONNECT;

	state->in_request = false;
	state->head_only = parser->method == HTTP_HEAD;
	state->old = parser->http_minor == 0;
	start_response(state, status, body_bytes, keep);
	http_parser_pause(parser, 1); /* one response at a time */
	return 0;
}

static const http_parser_settings settings = {
	.on_message_begin = on_message_begin,
	.on_url = on_url,
	.on_header_field = on_header_field,
	.on_header_value = on_header_value,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

/* What stopped the parser, when it was not a response of ours. */
static void answer_parser_error(struct http_state *state)
{
	enum http_errno number = HTTP_PARSER_ERRNO(&state->parser);

	if (number == HPE_OK || state->status != 0)
		return;
	state->head_only = false;
	start_response(state, number == HPE_HEADER_OVERFLOW ? 431 : 400, 0, false);
}

/* --- the service -------------------------------------------------------------------- */

static struct http_state *state_behind(c10m_conn *neighbour, c10m_handle handle)
{
	return handle ? c10m_conn_state(c10m_conn_find(c10m_conn_worker(neighbour), handle)) : NULL;
}

static void on_open(c10m_conn *conn)
{
	struct http_state *state = c10m_conn_state(conn), *older = state_behind(conn, newest);

	http_parser_init(&state->parser, HTTP_REQUEST);
	state->older = newest;
	newest = c10m_conn_handle(conn);
	if (older)
		older->newer = newest;
}

static void on_close(c10m_conn *conn, enum c10m_close_reason reason)
{
	struct http_state *state = c10m_conn_state(conn);
	struct http_state *newer = state_behind(conn, state->newer),
			  *older = state_behind(conn, state->older);

	(void)reason;
	if (newer)
		newer->older = state->older;
	else
		newest = state->older;
	if (older)
		older->newer = state->newer;
}

/* Requests, until one of them has to wait. */
static size_t on_data(c10m_conn *conn, const void *data, size_t len)
{
	struct http_state *state = c10m_conn_state(conn);
	size_t used = 0;

	while (!state->closing && used < len && advance_response(conn, state)) {
		state->parser.data = conn;
		used += http_parser_execute(&state->parser, &settings, (const char *)data + used, len - used);
		if (HTTP_PARSER_ERRNO(&state->parser) == HPE_PAUSED)
			http_parser_pause(&state->parser, 0);
		else
			answer_parser_error(state);
		if (!advance_response(conn, state))
			break;
	}
	return state->closing ? len : used;
}

static void on_writable(c10m_conn *conn)
{
	struct http_state *state = c10m_conn_state(conn);

	if (state->closing)
		return;
	if (advance_response(conn, state) && state->eof)
		c10m_close(conn);
	else if (!state->eof)
		c10m_resume(conn); /* the next request, or what is to be dropped */
}

static void on_eof(c10m_conn *conn)
{
	struct http_state *state = c10m_conn_state(conn);

	state->eof = true;
	if (state->status == 0 || state->closing)
		c10m_close(conn);
}

/* The peer does not close: enough waited. */
static void on_timer(c10m_conn *conn)
{
	c10m_close(conn);
}

static void on_start(c10m_worker *worker)
{
	(void)worker;
	newest = 0;
	stopping = false;
}

/* Who waits for nothing is told now, the others by their response: "Connection: close". */
static void on_stop(c10m_worker *worker)
{
	c10m_handle handle = newest;

	stopping = true;
	while (handle) {
		c10m_conn *conn = c10m_conn_find(worker, handle);
		struct http_state *state = c10m_conn_state(conn);

		handle = state->older;
		if (state->status == 0 && !state->closing && !state->in_request)
			finish(conn, state);
	}
}

void http_service_setup(uint32_t body_bytes)
{
	root_bytes = body_bytes;
	for (uint32_t i = 0; i < SLICE_BYTES; i++)
		slice[i] = i % 64 == 63 ? '\n' : (char)('!' + i % 64); /* a period of 64: see make_body */
	http_parser_set_max_header_size(HTTP_HEAD_BYTES_MAX);
}

void http_service_init(struct c10m_service *service)
{
	service->state_size = sizeof(struct http_state);
	service->on_open = on_open;
	service->on_data = on_data;
	service->on_writable = on_writable;
	service->on_eof = on_eof;
	service->on_timer = on_timer;
	service->on_close = on_close;
	service->on_start = on_start;
	service->on_stop = on_stop;
}
