/* transfer.c - one end of transfers whose every byte is known; the other end is transfer_peer.py.
 * In: words (see usage) in front of the options of every c10m server, and a file whose content, over and
 * over, is what all streams are made of. Out: a JSON line on standard output for each connection that ended.
 * Owns: the content. It uses the public interface alone.
 *
 * A stream starts at a place of the content that depends on the port of the end that connected and
 * on the direction, so bytes that reach the wrong connection are noticed. */
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <c10m/c10m.h>

#define PIECE_BYTES 65536u

struct job {
	const char *content_path;
	uint32_t address; /* to connect to; 0: listen */
	uint16_t port;
	uint64_t count;       /* connections to open */
	uint64_t send_bytes;  /* of stream, for each connection */
	uint64_t after_eof;   /* sends when the peer has closed, not before */
	uint64_t hold_fin;    /* closes its direction when the peer has closed, not when all is sent */
	uint64_t echo;        /* sends back what it receives */
	uint64_t pause_bytes; /* stops reading in the middle of a piece, after so many ... */
	uint64_t pause_ms;    /* ... for this long */
	uint64_t user_timeout_ms;
	uint64_t keepalive_ms;
	uint64_t ecn;          /* as in struct c10m_service */
	uint64_t window_bytes; /* of both directions' buffers; 0: c10m's default */
	const char *congestion;
};

/* Lives inside the connection's own block. */
struct session {
	uint64_t started_us;
	uint64_t sent, received, wrong; /* wrong: bytes that are not what they should be */
	uint32_t key;
	bool connected, opened, eof, paused, has_paused;
};

static struct job job = {.count = 1};
static uint8_t *content; /* followed by its own beginning, so that no piece wraps */
static size_t content_bytes;
static uint64_t ended;

/* --- the streams ----------------------------------------------------------------- */

static const uint8_t *stream_at(const struct session *session, bool from_connector, uint64_t offset)
{
	uint64_t start = (session->key + (from_connector ? 0 : 65536u)) * 7919u;

	return content + (start + offset) % content_bytes;
}

static void check(struct session *session, const uint8_t *data, size_t len)
{
	for (size_t at = 0; at < len;) {
		size_t piece = len - at < PIECE_BYTES ? len - at : PIECE_BYTES;
		const uint8_t *wanted = stream_at(session, !session->connected, session->received + at);

		if (memcmp(data + at, wanted, piece) != 0)
			session->wrong += piece;
		at += piece;
	}
}

static bool may_send(const struct session *session)
{
	return session->opened && (session->eof || !job.after_eof);
}

/* Sends what it can, and closes when both directions are done. */
static void go_on(c10m_conn *conn)
{
	struct session *session = c10m_conn_state(conn);
	size_t piece, taken = 1;

	while (may_send(session) && session->sent < job.send_bytes && taken > 0) {
		uint64_t left = job.send_bytes - session->sent;

		piece = left < PIECE_BYTES ? left : PIECE_BYTES;
		taken = c10m_send(conn, stream_at(session, session->connected, session->sent), piece);
		session->sent += taken;
	}
	if (!may_send(session) || (session->sent < job.send_bytes && !job.echo))
		return;
	if (session->eof)
		c10m_close(conn);
	else if (!job.hold_fin && !job.echo)
		c10m_shutdown(conn);
}

/* --- callbacks --------------------------------------------------------------------- */

static void on_open(c10m_conn *conn)
{
	struct session *session = c10m_conn_state(conn);
	struct c10m_endpoints ends;

	c10m_conn_endpoints(conn, &ends);
	session->key = session->connected ? ends.local_port : ends.remote_port;
	if (!session->connected)
		session->started_us = c10m_now_us(c10m_conn_worker(conn));
	session->opened = true;
	go_on(conn);
}

static size_t take(c10m_conn *conn, struct session *session, const uint8_t *data, size_t len)
{
	size_t taken = job.echo ? c10m_send(conn, data, len) : len;

	check(session, data, taken);
	session->received += taken;
	session->sent += job.echo ? taken : 0;
	return taken;
}

static size_t on_data(c10m_conn *conn, const void *data, size_t len)
{
	struct session *session = c10m_conn_state(conn);

	if (session->paused)
		return 0;
	if (!job.pause_ms || session->has_paused || session->received + len <= job.pause_bytes)
		return take(conn, session, data, len);
	session->paused = session->has_paused = true;
	c10m_set_timer(conn, (uint32_t)job.pause_ms);
	return take(conn, session, data, job.pause_bytes - session->received);
}

static void on_timer(c10m_conn *conn)
{
	struct session *session = c10m_conn_state(conn);

	session->paused = false;
	c10m_resume(conn);
}

static void on_eof(c10m_conn *conn)
{
	struct session *session = c10m_conn_state(conn);

	session->eof = true;
	go_on(conn);
}

static void print_end(const struct session *session, const char *reason, uint64_t now_us)
{
	printf("{\"key\": %u, \"reason\": \"%s\", \"opened\": %s, \"eof\": %s, \"sent\": %llu, "
	       "\"received\": %llu, \"wrong\": %llu, \"ms\": %.3f}\n",
	       session->key, reason, session->opened ? "true" : "false", session->eof ? "true" : "false",
	       (unsigned long long)session->sent, (unsigned long long)session->received,
	       (unsigned long long)session->wrong, (double)(now_us - session->started_us) / 1000);
	fflush(stdout);
	if (job.address && ++ended == job.count)
		c10m_stop();
}

static void on_close(c10m_conn *conn, enum c10m_close_reason reason)
{
	static const char *const names[] = {
		[C10M_CLOSE_NORMAL] = "normal",       [C10M_CLOSE_RESET] = "reset",
		[C10M_CLOSE_REFUSED] = "refused",     [C10M_CLOSE_TIMEOUT] = "timeout",
		[C10M_CLOSE_KEEPALIVE] = "keepalive", [C10M_CLOSE_UNREACHABLE] = "unreachable",
		[C10M_CLOSE_ABORTED] = "aborted",     [C10M_CLOSE_STOPPED] = "stopped",
		[C10M_CLOSE_DEADLINE] = "deadline",   [C10M_CLOSE_MEMORY] = "memory",
	};

	print_end(c10m_conn_state(conn), names[reason], c10m_now_us(c10m_conn_worker(conn)));
}

static void on_start(c10m_worker *worker)
{
	const struct session session = {.connected = true, .started_us = c10m_now_us(worker)};
	const struct c10m_connect_request request = {
		.remote_address = job.address,
		.remote_port = job.port,
		.state = &session,
		.state_bytes = sizeof(session),
	};
	char reason[32];
	int error;

	if (!job.address)
		return;
	for (uint64_t i = 0; i < job.count; i++) {
		if (c10m_connect(worker, &request, &error))
			continue;
		snprintf(reason, sizeof(reason), "error %d", -error);
		print_end(&session, reason, session.started_us);
	}
}

/* --- the command line -------------------------------------------------------------- */

static int usage(const char *wrong)
{
	fprintf(stderr,
		"transfer: %s\n"
		"usage: transfer content=FILE [connect=A:PORT count=N] [send=BYTES] [after_eof=1] "
		"[hold_fin=1]\n"
		"       [echo=1] [pause_bytes=N pause_ms=MS] [user_timeout_ms=MS] [keepalive_ms=MS] "
		"[window_bytes=N] [congestion=NAME] [ecn=N] "
		"[options]\n",
		wrong);
	return 2;
}

static bool set_peer(const char *text)
{
	char address[16] = "";
	unsigned port = 0;
	struct in_addr in;

	if (sscanf(text, "%15[0-9.]:%u", address, &port) != 2 || inet_pton(AF_INET, address, &in) != 1)
		return false;
	job.address = ntohl(in.s_addr);
	job.port = (uint16_t)port;
	return port >= 1 && port <= 65535;
}

static bool set_word(const char *word)
{
	static const struct {
		const char *name;
		uint64_t *to;
	} numbers[] = {
		{"count", &job.count},
		{"send", &job.send_bytes},
		{"after_eof", &job.after_eof},
		{"hold_fin", &job.hold_fin},
		{"echo", &job.echo},
		{"pause_bytes", &job.pause_bytes},
		{"pause_ms", &job.pause_ms},
		{"user_timeout_ms", &job.user_timeout_ms},
		{"keepalive_ms", &job.keepalive_ms},
		{"window_bytes", &job.window_bytes},
		{"ecn", &job.ecn},
	};
	const char *value = strchr(word, '=');
	size_t name_bytes = value ? (size_t)(value - word) : 0;

	if (strncmp(word, "content=", 8) == 0) {
		job.content_path = value + 1;
		return true;
	}
	if (strncmp(word, "congestion=", 11) == 0) {
		job.congestion = value + 1;
		return true;
	}
	if (strncmp(word, "connect=", 8) == 0)
		return set_peer(value + 1);
	for (size_t i = 0; value && i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (strlen(numbers[i].name) != name_bytes || strncmp(numbers[i].name, word, name_bytes) != 0)
			continue;
		*numbers[i].to = strtoull(value + 1, NULL, 10);
		return true;
	}
	return false;
}

static bool read_content(void)
{
	FILE *file = job.content_path ? fopen(job.content_path, "rb") : NULL;
	long bytes = -1;

	if (!file)
		return false;
	if (fseek(file, 0, SEEK_END) == 0 && (bytes = ftell(file)) >= (long)PIECE_BYTES) {
		rewind(file);
		content = malloc((size_t)bytes + PIECE_BYTES);
		if (content && fread(content, 1, (size_t)bytes, file) == (size_t)bytes)
			content_bytes = (size_t)bytes;
	}
	fclose(file);
	if (content_bytes)
		memcpy(content + content_bytes, content, PIECE_BYTES);
	return content_bytes > 0;
}

int main(int argc, char **argv)
{
	int words = 1, code;

	while (words < argc && argv[words][0] != '-')
		if (!set_word(argv[words++]))
			return usage(argv[words - 1]);
	if (!read_content())
		return usage("content=FILE is missing, or shorter than 64 KB");
	argv[words - 1] = argv[0];
	const struct c10m_service service = {
		.name = "transfer",
		.port = job.address ? 0 : 7000,
		.flags = C10M_NODELAY,
		.state_size = sizeof(struct session),
		.on_open = on_open,
		.on_data = on_data,
		.on_writable = go_on,
		.on_eof = on_eof,
		.on_timer = on_timer,
		.on_close = on_close,
		.user_timeout_ms = (uint32_t)job.user_timeout_ms,
		.keepalive_ms = (uint32_t)job.keepalive_ms,
		.receive_bytes = (uint32_t)job.window_bytes,
		.send_bytes = (uint32_t)job.window_bytes,
		.ecn = (uint32_t)job.ecn,
		.congestion = job.congestion,
		.on_start = on_start,
	};

	code = c10m_main(argc - words + 1, argv + words - 1, &service, 1);
	free(content);
	return code;
}
