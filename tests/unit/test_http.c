/* test_http.c - the HTTP service, over a connection that is an array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../cli/http_service.h"

#define OUT_BYTES 4000000

/* --- the connection ------------------------------------------------------------------ */

static struct c10m_service service;
static _Alignas(64) unsigned char block[1024];
static char out[OUT_BYTES];
static size_t out_bytes, room;
static char unread[100000];
static size_t unread_bytes;
static int resumed, shut, closed, aborted;
static uint32_t timer_ms;

static c10m_conn *conn(void)
{
	return (c10m_conn *)block;
}

void *c10m_conn_state(c10m_conn *of)
{
	return of;
}

size_t c10m_send(c10m_conn *of, const void *data, size_t len)
{
	size_t taken = len < room ? len : room;

	(void)of;
	if (shut || closed || aborted)
		return 0;
	assert_true(out_bytes + taken < OUT_BYTES);
	memcpy(out + out_bytes, data, taken);
	out_bytes += taken;
	room -= taken;
	return taken;
}

void c10m_resume(c10m_conn *of)
{
	(void)of;
	resumed = 1;
}

void c10m_shutdown(c10m_conn *of)
{
	(void)of;
	shut = 1;
}

void c10m_close(c10m_conn *of)
{
	(void)of;
	closed = 1;
}

void c10m_abort(c10m_conn *of)
{
	(void)of;
	aborted = 1;
}

c10m_worker *c10m_conn_worker(c10m_conn *of)
{
	return (c10m_worker *)of;
}

c10m_handle c10m_conn_handle(const c10m_conn *of)
{
	(void)of;
	return 77;
}

c10m_conn *c10m_conn_find(c10m_worker *worker, c10m_handle handle)
{
	assert_int_equal(handle, 77);
	return (c10m_conn *)worker;
}

void c10m_set_timer(c10m_conn *of, uint32_t ms)
{
	(void)of;
	timer_ms = ms;
}

/* Offers what is unread, as the stack would. */
static void offer(void)
{
	size_t used;

	if (unread_bytes == 0)
		return;
	used = service.on_data(conn(), unread, unread_bytes);
	assert_true(used <= unread_bytes);
	memmove(unread, unread + used, unread_bytes - used);
	unread_bytes -= used;
}

static void receive(const char *bytes, size_t count)
{
	assert_true(unread_bytes + count <= sizeof(unread));
	memcpy(unread + unread_bytes, bytes, count);
	unread_bytes += count;
	offer();
}

static void ask(const char *text)
{
	receive(text, strlen(text));
}

/* Room appears; the service may ask for unread data. */
static void make_room(size_t bytes)
{
	room = bytes;
	resumed = 0;
	service.on_writable(conn());
	if (resumed)
		offer();
}

static int setup(void **state)
{
	(void)state;
	memset(block, 0, sizeof(block));
	http_service_setup(0);
	http_service_init(&service);
	assert_true(service.state_size <= 256);
	out_bytes = unread_bytes = 0;
	resumed = shut = closed = aborted = 0;
	timer_ms = 0;
	room = OUT_BYTES;
	service.on_start(c10m_conn_worker(conn()));
	service.on_open(conn());
	return 0;
}

/* --- reading answers --------------------------------------------------------------------- */

struct answer {
	unsigned status;
	size_t length;
	const char *body;
	int close;
};

static const char *find(const char *from, const char *text, const char *end)
{
	for (; from + strlen(text) <= end; from++)
		if (memcmp(from, text, strlen(text)) == 0)
			return from;
	return NULL;
}

/* Takes the answer that starts at `at`; returns where the next one starts. */
static size_t read_answer(size_t at, int head, struct answer *answer)
{
	const char *end = find(out + at, "\r\n\r\n", out + out_bytes);
	const char *length;

	assert_non_null(end);
	assert_int_equal(memcmp(out + at, "HTTP/1.1 ", 9), 0);
	answer->status = (unsigned)atoi(out + at + 9);
	length = find(out + at, "Content-Length: ", end);
	assert_non_null(length);
	assert_non_null(find(out + at, "Date: ", end));
	answer->length = (size_t)atoll(length + 16);
	answer->close = find(out + at, "Connection: close\r\n", end + 2) != NULL;
	answer->body = end + 4;
	at = (size_t)(end + 4 - out) + (head ? 0 : answer->length);
	assert_true(at <= out_bytes);
	return at;
}

static struct answer only_answer(void)
{
	struct answer answer;

	assert_int_equal(read_answer(0, 0, &answer), out_bytes);
	return answer;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

/* --- the tests ------------------------------------------------------------------------------ */

static void get_answers(void **state)
{
	struct answer answer;

	(void)state;
	ask(GET("/"));
	answer = only_answer();
	assert_int_equal(answer.status, 200);
	assert_int_equal(answer.length, strlen("Hello from c10m\n"));
	assert_memory_equal(answer.body, "Hello from c10m\n", answer.length);
	assert_false(answer.close);
	assert_false(shut || closed || aborted);
	assert_int_equal(unread_bytes, 0);
}

static void byte_by_byte(void **state)
{
	static const char request[] = GET("/bytes/100");

	(void)state;
	for (size_t i = 0; i + 1 < sizeof(request); i++) {
		assert_int_equal(out_bytes, 0);
		receive(request + i, 1);
	}
	assert_int_equal(only_answer().length, 100);
}

static void pipelined(void **state)
{
	struct answer answer;
	size_t at = 0;

	(void)state;
	ask(GET("/") GET("/bytes/3") GET("/nothing") GET("/"));
	at = read_answer(at, 0, &answer);
	assert_int_equal(answer.status, 200);
	at = read_answer(at, 0, &answer);
	assert_int_equal(answer.length, 3);
	at = read_answer(at, 0, &answer);
	assert_int_equal(answer.status, 404);
	at = read_answer(at, 0, &answer);
	assert_int_equal(answer.length, 16);
	assert_int_equal(at, out_bytes);
	assert_false(shut || closed);
}

/* However small the pieces that the stack takes, the bytes are the same. */
static void backpressure(void **state)
{
	static char whole[OUT_BYTES];
	size_t whole_bytes;

	ask(GET("/bytes/70000") GET("/"));
	whole_bytes = out_bytes;
	memcpy(whole, out, out_bytes);
	for (size_t piece = 1; piece < 60000; piece = piece * 7 + 1) {
		setup(state);
		room = 0;
		ask(GET("/bytes/70000") GET("/"));
		assert_int_equal(out_bytes, 0);
		assert_int_equal(unread_bytes, strlen(GET("/")));
		for (size_t i = 0; i <= whole_bytes / piece + 1; i++)
			make_room(piece);
		assert_int_equal(out_bytes, whole_bytes);
		assert_int_equal(unread_bytes, 0);
		/* The date may have changed in between: compare what is behind the first head. */
		assert_memory_equal(out + 200, whole + 200, 70000 - 200);
	}
}

static void body_is_what_was_set(void **state)
{
	struct answer answer;

	(void)state;
	http_service_setup(100000);
	ask(GET("/"));
	answer = only_answer();
	assert_int_equal(answer.length, 100000);
	for (size_t i = 64; i < answer.length; i++)
		assert_int_equal(answer.body[i], answer.body[i - 64]);
}

static void head_sends_no_body(void **state)
{
	struct answer answer;

	(void)state;
	ask("HEAD /bytes/1000000 HTTP/1.1\r\nHost: a\r\n\r\n" GET("/"));
	assert_int_equal(read_answer(read_answer(0, 1, &answer), 0, &answer), out_bytes);
	assert_int_equal(answer.length, 16);
}

static void closes_when_asked(void **state)
{
	(void)state;
	ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" GET("/"));
	assert_true(only_answer().close);
	assert_true(shut);
	assert_false(closed);
	assert_int_equal(timer_ms, HTTP_LINGER_MS);
	assert_int_equal(unread_bytes, 0); /* what followed is dropped, so that no reset is sent */
	service.on_eof(conn());
	assert_true(closed);
}

static void lingers_no_longer_than_the_timer(void **state)
{
	(void)state;
	ask("GET / HTTP/1.0\r\n\r\n");
	assert_true(only_answer().close);
	assert_true(shut);
	service.on_timer(conn());
	assert_true(closed);
}

static void old_clients(void **state)
{
	struct answer answer;

	(void)state;
	ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	answer = only_answer();
	assert_false(answer.close);
	assert_non_null(find(out, "Connection: keep-alive\r\n", out + out_bytes));
	assert_false(shut);
}

static void bodies_are_skipped(void **state)
{
	struct answer answer;
	size_t at;

	(void)state;
	ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello");
	assert_int_equal(out_bytes, 0);
	ask(" there" GET("/bytes/5"));
	at = read_answer(0, 0, &answer);
	assert_int_equal(read_answer(at, 0, &answer), out_bytes);
	assert_int_equal(answer.length, 5);
}

static void chunked_bodies_are_skipped(void **state)
{
	struct answer answer;
	size_t at;

	(void)state;
	ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n "
	    "there\r\n0\r\n"
	    "Trailer: z\r\n\r\n" GET("/bytes/5"));
	at = read_answer(0, 0, &answer);
	assert_int_equal(answer.status, 200);
	assert_int_equal(read_answer(at, 0, &answer), out_bytes);
	assert_int_equal(answer.length, 5);
}

static void expect_is_answered_first(void **state)
{
	static const char promise[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct answer answer;

	(void)state;
	ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
	assert_int_equal(out_bytes, sizeof(promise) - 1);
	assert_memory_equal(out, promise, sizeof(promise) - 1);
	ask("ok");
	assert_int_equal(read_answer(sizeof(promise) - 1, 0, &answer), out_bytes);
	assert_int_equal(answer.status, 200);
}

static void upgrades_are_not_taken(void **state)
{
	struct answer answer;
	size_t at;

	(void)state;
	ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
	    "HTTP2-Settings: AAMAAABk\r\n\r\n" GET("/bytes/5"));
	at = read_answer(0, 0, &answer);
	assert_int_equal(answer.status, 200);
	assert_int_equal(read_answer(at, 0, &answer), out_bytes);
}

static void paths(void **state)
{
	static const struct {
		const char *target;
		unsigned status;
		size_t length;
	} cases[] = {
		{"/?query=1", 200, 16},
		{"/bytes/0", 200, 0},
		{"/bytes/12?x", 200, 12},
		{"http://host:80/bytes/7", 200, 7},
		{"http://host", 200, 16},
		{"/bytes/", 404, 0},
		{"/bytes/1x", 404, 0},
		{"/bytes/-1", 404, 0},
		{"/bytes/9999999999999999999", 404, 0},
		{"/bytes", 404, 0},
		{"/index.html", 404, 0},
		{"/0123456789012345678901234567890123456789012345678901234567890123456789", 404, 0},
	};
	char request[256];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct answer answer;

		setup(state);
		snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", cases[i].target);
		ask(request);
		answer = only_answer();
		if (answer.status != cases[i].status || answer.length != cases[i].length || answer.close)
			fail_msg("%s: status %u, %zu bytes", cases[i].target, answer.status, answer.length);
	}
}

static void wrong_requests(void **state)
{
	static const struct {
		const char *text;
		unsigned status;
		int stays;
	} cases[] = {
		{"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, 1},
		{"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405, 0},
		{"GET / HTTP/1.1\r\n\r\n", 400, 0},
		{"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", 400, 0},
		{"GET / HTTP/9.1\r\nHost: a\r\n\r\n", 400, 0},
		{"nonsense\r\n\r\n", 400, 0},
		{"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400, 0},
		{"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
		 0},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", 413, 0},
		{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct answer answer;

		setup(state);
		ask(cases[i].text);
		answer = only_answer();
		if (answer.status != cases[i].status || answer.close == cases[i].stays)
			fail_msg("case %zu: status %u, close %d", i, answer.status, answer.close);
		assert_int_equal(shut, !cases[i].stays);
		if (!cases[i].stays) {
			ask("more that nobody reads");
			assert_int_equal(unread_bytes, 0);
		}
	}
}

static void too_large_a_head(void **state)
{
	(void)state;
	ask("GET / HTTP/1.1\r\nHost: a\r\n");
	for (int i = 0; i < 2000 && out_bytes == 0; i++)
		ask("X-Filler: abcdefgh\r\n");
	assert_int_equal(only_answer().status, 431);
	assert_true(shut);
}

/* A chunked body of which no length was told is cut off too. */
static void too_large_a_body(void **state)
{
	static char chunk[65536 + 8];
	int bytes = snprintf(chunk, sizeof(chunk), "10000\r\n");

	(void)state;
	memset(chunk + bytes, 'x', 65536);
	ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (uint32_t i = 0; i < HTTP_REQUEST_BYTES_MAX / 65536 + 2 && out_bytes == 0; i++) {
		receive(chunk, (size_t)bytes + 65536);
		ask("\r\n");
	}
	assert_int_equal(only_answer().status, 413);
	assert_true(shut);
}

static void half_closed_peer_gets_its_answer(void **state)
{
	(void)state;
	room = 10;
	ask(GET("/bytes/1000"));
	service.on_eof(conn());
	assert_false(closed);
	make_room(100000);
	assert_int_equal(only_answer().length, 1000);
	assert_true(closed);
}

/* Both directions are done: nothing to linger for. */
static void half_closed_peer_is_closed_after_its_last_answer(void **state)
{
	(void)state;
	room = 10;
	ask("GET /bytes/1000 HTTP/1.0\r\n\r\n");
	service.on_eof(conn());
	assert_false(closed);
	make_room(100000);
	assert_int_equal(only_answer().length, 1000);
	assert_true(closed);
	assert_false(shut);
}

static void idle_peer_closes(void **state)
{
	(void)state;
	ask(GET("/"));
	service.on_eof(conn());
	assert_true(closed);
}

/* Who waits for nothing is closed; who waits gets what it asked for, and the word that it was the last. */
static void a_stop_closes_who_is_idle(void **state)
{
	(void)state;
	ask(GET("/"));
	assert_false(shut);
	service.on_stop(c10m_conn_worker(conn()));
	assert_true(shut && timer_ms == HTTP_LINGER_MS);
	ask(GET("/"));
	assert_false(only_answer().close);
	service.on_close(conn(), C10M_CLOSE_NORMAL);
	service.on_stop(c10m_conn_worker(conn())); /* nobody is left */
}

static void a_stop_lets_requests_end(void **state)
{
	(void)state;
	ask("GET /bytes/100 HTTP/1.1\r\nHost: a\r\n");
	service.on_stop(c10m_conn_worker(conn()));
	assert_false(shut || closed);
	ask("\r\n");
	assert_int_equal(only_answer().length, 100);
	assert_true(only_answer().close && shut);
}

static void a_stop_lets_answers_end(void **state)
{
	(void)state;
	room = 50;
	ask(GET("/bytes/100"));
	service.on_stop(c10m_conn_worker(conn()));
	assert_false(shut || closed);
	make_room(OUT_BYTES);
	assert_int_equal(only_answer().length, 100);
	assert_true(shut);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(get_answers, setup),
		cmocka_unit_test_setup(byte_by_byte, setup),
		cmocka_unit_test_setup(pipelined, setup),
		cmocka_unit_test_setup(backpressure, setup),
		cmocka_unit_test_setup(body_is_what_was_set, setup),
		cmocka_unit_test_setup(head_sends_no_body, setup),
		cmocka_unit_test_setup(closes_when_asked, setup),
		cmocka_unit_test_setup(lingers_no_longer_than_the_timer, setup),
		cmocka_unit_test_setup(old_clients, setup),
		cmocka_unit_test_setup(bodies_are_skipped, setup),
		cmocka_unit_test_setup(chunked_bodies_are_skipped, setup),
		cmocka_unit_test_setup(expect_is_answered_first, setup),
		cmocka_unit_test_setup(upgrades_are_not_taken, setup),
		cmocka_unit_test_setup(paths, setup),
		cmocka_unit_test_setup(wrong_requests, setup),
		cmocka_unit_test_setup(too_large_a_head, setup),
		cmocka_unit_test_setup(too_large_a_body, setup),
		cmocka_unit_test_setup(half_closed_peer_gets_its_answer, setup),
		cmocka_unit_test_setup(half_closed_peer_is_closed_after_its_last_answer, setup),
		cmocka_unit_test_setup(idle_peer_closes, setup),
		cmocka_unit_test_setup(a_stop_closes_who_is_idle, setup),
		cmocka_unit_test_setup(a_stop_lets_requests_end, setup),
		cmocka_unit_test_setup(a_stop_lets_answers_end, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
