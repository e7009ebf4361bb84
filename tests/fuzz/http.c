/* http.c - HTTP of `c10m serve http` and of the load generator, over connections that are arrays.
 * In: bytes of libFuzzer: how the stream is cut, how much room there is to send, choices; then what the peer
 * sends.  Out: CHECK, when an answer depends on how the stream was cut, is no HTTP, or a connection hangs.
 * Owns: three connections of the server's (one that gets the stream whole, one in pieces, one that says
 * nothing) and two of the load generator's. */
#define _GNU_SOURCE 1
#include <http_parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../cli/http_service.h"
#include "../../cli/load/load.h"
#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CONNECTIONS 3
#define STATE_BYTES 512
#define OUT_BYTES   30000u /* a peer that takes no more */
#define ROUNDS      100000u

#define CHOICE_LOAD  0x80u /* the bytes are responses, to the load generator */
#define CHOICE_STOP  0x01u /* the service is stopped before the peers close */
#define CHOICE_TIMER 0x02u
#define CHOICE_ORDER 0x04u /* who is closed first: see close_all */
#define CHOICE_BYTES 0x08u /* / has a long body */

enum outcome { OUTCOME_NONE, OUTCOME_ANSWERED, OUTCOME_WRONG, OUTCOME_UNASKED };

struct c10m_conn {
	_Alignas(64) unsigned char state[STATE_BYTES];
	uint8_t *unread; /* of exactly that size, so that a byte beyond it is seen */
	size_t unread_bytes;
	char out[OUT_BYTES + 1];
	size_t out_bytes, room;
	bool open, short_of_room, resumed, shut, closed, aborted, timer;
	bool eof, eof_told;
	enum outcome outcome;
};

static struct c10m_conn conns[CONNECTIONS];
static struct c10m_service service;
static struct load_engine engine;

/* --- what the stack would do ------------------------------------------------------------------ */

void *c10m_conn_state(c10m_conn *conn)
{
	return conn->state;
}

c10m_worker *c10m_conn_worker(c10m_conn *conn)
{
	return (c10m_worker *)conn;
}

c10m_handle c10m_conn_handle(const c10m_conn *conn)
{
	return (c10m_handle)(conn - conns) + 1;
}

c10m_conn *c10m_conn_find(c10m_worker *worker, c10m_handle handle)
{
	(void)worker;
	CHECK(handle >= 1 && handle <= CONNECTIONS);
	return conns[handle - 1].open ? &conns[handle - 1] : NULL;
}

static bool is_over(const c10m_conn *conn)
{
	return conn->closed || conn->aborted;
}

size_t c10m_send(c10m_conn *conn, const void *data, size_t len)
{
	size_t room = MIN_OF(conn->room, (size_t)(OUT_BYTES - conn->out_bytes));
	size_t taken = MIN_OF(len, room);

	if (conn->shut || is_over(conn))
		return 0;
	memcpy(conn->out + conn->out_bytes, data, taken);
	conn->out_bytes += taken;
	conn->room -= taken;
	conn->short_of_room |= taken < len;
	return taken;
}

void c10m_resume(c10m_conn *conn)
{
	conn->resumed = true;
}

void c10m_shutdown(c10m_conn *conn)
{
	conn->shut = true;
}

void c10m_close(c10m_conn *conn)
{
	conn->closed = true;
}

void c10m_abort(c10m_conn *conn)
{
	conn->aborted = true;
}

void c10m_set_timer(c10m_conn *conn, uint32_t ms)
{
	conn->timer = ms > 0;
}

/* --- what the load generator's conn.c would do ------------------------------------------------- */

void conn_fail(struct load_engine *of, c10m_conn *conn, uint64_t *counter)
{
	CHECK(conn->outcome == OUTCOME_NONE);
	conn->outcome = counter == &of->counts.lost_unasked ? OUTCOME_UNASKED : OUTCOME_WRONG;
	conn->aborted = true;
}

void conn_answered(struct load_engine *of, c10m_conn *conn)
{
	(void)of;
	CHECK(conn->outcome == OUTCOME_NONE);
	conn->outcome = OUTCOME_ANSWERED;
}

/* --- connections -------------------------------------------------------------------------------- */

static void conn_start(c10m_conn *conn)
{
	memset(conn, 0, sizeof(*conn));
	conn->unread = malloc(1);
	conn->room = SIZE_MAX;
	conn->open = true;
	CHECK(conn->unread);
}

static void conn_append(c10m_conn *conn, const uint8_t *data, size_t bytes)
{
	uint8_t *longer = malloc(conn->unread_bytes + bytes + 1);

	CHECK(longer);
	memcpy(longer, conn->unread, conn->unread_bytes);
	memcpy(longer + conn->unread_bytes, data, bytes);
	free(conn->unread);
	conn->unread = longer;
	conn->unread_bytes += bytes;
}

static void conn_consumed(c10m_conn *conn, size_t used)
{
	CHECK(used <= conn->unread_bytes);
	conn->unread_bytes -= used;
	memmove(conn->unread, conn->unread + used, conn->unread_bytes);
}

static void offer(c10m_conn *conn)
{
	uint8_t *exact;

	if (is_over(conn) || conn->unread_bytes == 0)
		return;
	exact = malloc(conn->unread_bytes);
	CHECK(exact);
	memcpy(exact, conn->unread, conn->unread_bytes);
	conn_consumed(conn, service.on_data(conn, exact, conn->unread_bytes));
	free(exact);
}

/* One thing that the stack would tell; false: there is nothing. */
static bool tell(c10m_conn *conn)
{
	if (is_over(conn))
		return false;
	if (conn->short_of_room && conn->room > 0 && conn->out_bytes < OUT_BYTES) {
		conn->short_of_room = false;
		service.on_writable(conn);
	} else if (conn->resumed) {
		conn->resumed = false;
		offer(conn);
	} else if (conn->eof && conn->unread_bytes == 0 && !conn->eof_told) {
		conn->eof_told = true;
		service.on_eof(conn);
	} else {
		return false;
	}
	return true;
}

static void pump(c10m_conn *conn)
{
	unsigned rounds = 0;

	while (tell(conn))
		CHECK(++rounds < ROUNDS);
}

static void receive(c10m_conn *conn, const uint8_t *data, size_t bytes)
{
	conn_append(conn, data, bytes);
	offer(conn);
	pump(conn);
}

/* --- what the server answered ------------------------------------------------------------------- */

/* The second in which an answer was made may differ. */
static void hide_dates(c10m_conn *conn)
{
	static const char name[] = "\r\nDate: ";
	char *at = conn->out;

	conn->out[conn->out_bytes] = '\0';
	while ((at = strstr(at, name))) {
		at += sizeof(name) - 1;
		for (unsigned i = 0; i < 29 && at[i] && at[i] != '\r'; i++)
			at[i] = 'x';
	}
}

/* Responses follow each other, and nothing follows the last one. To HEAD there is no body, which a parser
 * that did not see the request cannot know. */
static void judge(const c10m_conn *conn, bool asked_for_heads)
{
	static const http_parser_settings none;
	http_parser parser;

	if (asked_for_heads || conn->out_bytes == OUT_BYTES)
		return;
	http_parser_init(&parser, HTTP_RESPONSE);
	CHECK(http_parser_execute(&parser, &none, conn->out, conn->out_bytes) == conn->out_bytes);
	CHECK(HTTP_PARSER_ERRNO(&parser) == HPE_OK || conn->aborted);
}

/* An interim response that does not fit ends the connection, so that one may have less than the other. */
static void compare(const c10m_conn *whole, const c10m_conn *pieces)
{
	CHECK(memcmp(whole->out, pieces->out, MIN_OF(whole->out_bytes, pieces->out_bytes)) == 0);
	if (whole->aborted || pieces->aborted)
		return;
	CHECK(whole->out_bytes == pieces->out_bytes);
	if (whole->out_bytes < OUT_BYTES)
		CHECK(whole->closed && pieces->closed && !whole->unread_bytes && !pieces->unread_bytes);
}

static size_t next_piece(uint8_t cut, size_t piece, size_t left)
{
	size_t bytes = cut < 64 ? cut + 1u : 1 + (cut * (piece + 1) * 7 + piece * piece) % (cut - 62u);

	return MIN_OF(bytes, left);
}

static void end_streams(uint8_t choices)
{
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		conns[i].room = SIZE_MAX;
		pump(&conns[i]);
		if (choices & CHOICE_TIMER && conns[i].timer && !is_over(&conns[i]))
			service.on_timer(&conns[i]);
		conns[i].eof = true;
		pump(&conns[i]);
	}
}

static void close_all(uint8_t choices)
{
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		/* The one in the middle of the service's list first, or the oldest. */
		c10m_conn *conn = &conns[choices & CHOICE_ORDER ? (i + 1) % CONNECTIONS : i];

		service.on_close(conn, C10M_CLOSE_NORMAL);
		conn->open = false;
		free(conn->unread);
	}
	service.on_stop((c10m_worker *)conns); /* nobody is left to be told */
}

static void serve(const uint8_t *data, size_t size, uint8_t cut, uint8_t room, uint8_t choices)
{
	c10m_conn *whole = &conns[0], *pieces = &conns[2];
	bool heads = memmem(data, size, "HEAD", 4);
	size_t piece = 0;

	http_service_setup(choices & CHOICE_BYTES ? 5000 : 0);
	http_service_init(&service);
	CHECK(service.state_size <= STATE_BYTES);
	service.on_start((c10m_worker *)conns);
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		conn_start(&conns[i]);
		service.on_open(&conns[i]);
	}
	for (size_t at = 0; at < size; piece++) {
		size_t bytes = next_piece(cut, piece, size - at);

		pieces->room = room ? room * 8u : SIZE_MAX;
		receive(pieces, data + at, bytes);
		at += bytes;
		if (piece == 1)
			receive(whole, data, size); /* in the middle of the other */
	}
	if (piece < 2)
		receive(whole, data, size);
	if (choices & CHOICE_STOP)
		service.on_stop((c10m_worker *)conns);
	end_streams(choices);
	for (unsigned i = 0; i < CONNECTIONS; i++)
		hide_dates(&conns[i]);
	judge(whole, heads);
	judge(pieces, heads);
	if (!(choices & (CHOICE_STOP | CHOICE_TIMER)))
		compare(whole, pieces);
	CHECK(is_over(&conns[1]));
	close_all(choices);
}

/* --- what the load generator makes of an answer --------------------------------------------------- */

static void load_receive(c10m_conn *conn, const uint8_t *data, size_t bytes)
{
	uint8_t *exact = malloc(bytes ? bytes : 1);

	CHECK(exact);
	memcpy(exact, data, bytes);
	CHECK(http_data(&engine, conn, exact, bytes) == bytes);
	free(exact);
}

static void load(const uint8_t *data, size_t size, uint8_t cut)
{
	static const struct load_config config = {.http_request = "GET / HTTP/1.1\r\n\r\n", .http_bytes = 18};
	c10m_conn *whole = &conns[0], *pieces = &conns[1];
	size_t piece = 0;

	engine.config = &config;
	for (unsigned i = 0; i < 2; i++) {
		conn_start(&conns[i]);
		http_send(&engine, &conns[i]);
		CHECK(conns[i].out_bytes == config.http_bytes);
	}
	load_receive(whole, data, size);
	for (size_t at = 0; at < size && pieces->outcome == OUTCOME_NONE; piece++) {
		size_t bytes = next_piece(cut, piece, size - at);

		load_receive(pieces, data + at, bytes);
		at += bytes;
	}
	for (unsigned i = 0; i < 2; i++) {
		if (conns[i].outcome == OUTCOME_NONE)
			http_eof(&engine, &conns[i]);
		free(conns[i].unread);
	}
	if (whole->outcome == OUTCOME_UNASKED || pieces->outcome == OUTCOME_UNASKED)
		CHECK(whole->outcome != OUTCOME_NONE && pieces->outcome != OUTCOME_NONE);
	else
		CHECK(whole->outcome == pieces->outcome);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 4)
		return 0;
	if (data[2] & CHOICE_LOAD)
		load(data + 3, size - 3, data[0]);
	else
		serve(data + 3, size - 3, data[0], data[1], data[2]);
	return 0;
}
