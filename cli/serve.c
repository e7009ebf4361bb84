/* serve.c - c10m serve: small servers for tests and measurements.
 * In: argv. Out: an exit code. Owns: the services' descriptions. */
#include <stdio.h>
#include <string.h>

#include "announce.h"
#include "http_service.h"
#include "run/prefixes.h"
#include "run/run.h"
#include "verbs.h"

#define KEEPALIVE_MS (7200u * 1000) /* RFC 9293 section 3.8.4 */

/* RFC 864: lines of 72 of 95 printing characters, each starting one character later. */
#define CHARGEN_GLYPHS     95
#define CHARGEN_LINE_BYTES 74
#define CHARGEN_PERIOD     (CHARGEN_GLYPHS * CHARGEN_LINE_BYTES)

struct serve_options {
	uint32_t body_bytes; /* http */
	uint32_t receive_bytes, send_bytes;
	struct prefix_list allow, deny;
	uint32_t source_connections, source_rate, source_burst, source_bits;
	bool refuse_by_reset;
	uint32_t first_byte_ms, idle_ms, unsent_ms;
	uint32_t fastopen_pending;
	uint32_t state_bytes; /* echo */
	const char *announce; /* echo, discard */
};

static struct serve_options options;

/* --- echo (RFC 862) and chargen (RFC 864); discard (RFC 863) is a service without callbacks --- */

static size_t echo_on_data(c10m_conn *conn, const void *data, size_t len)
{
	return c10m_send(conn, data, len);
}

struct echo_state {
	uint64_t bytes; /* sent back; what follows is room that --state-bytes asks for */
};

/* As a service with something to remember does it. */
static size_t echo_with_state(c10m_conn *conn, const void *data, size_t len)
{
	struct echo_state *state = c10m_conn_state(conn);
	size_t sent = c10m_send(conn, data, len);

	state->bytes += sent;
	return sent;
}

struct chargen_state {
	uint32_t offset; /* in the period */
};

static char chargen_text[2 * CHARGEN_PERIOD];

static void chargen_prepare(void)
{
	for (uint32_t i = 0; i < sizeof(chargen_text); i++) {
		uint32_t line = i / CHARGEN_LINE_BYTES, column = i % CHARGEN_LINE_BYTES;

		if (column < CHARGEN_LINE_BYTES - 2)
			chargen_text[i] = (char)(' ' + (line + column) % CHARGEN_GLYPHS);
		else
			chargen_text[i] = column == CHARGEN_LINE_BYTES - 2 ? '\r' : '\n';
	}
}

/* Until c10m_send has had enough; on_writable carries on. */
static void chargen_fill(c10m_conn *conn)
{
	struct chargen_state *state = c10m_conn_state(conn);
	size_t taken;

	do {
		taken = c10m_send(conn, chargen_text + state->offset, CHARGEN_PERIOD);
		state->offset = (uint32_t)((state->offset + taken) % CHARGEN_PERIOD);
	} while (taken == CHARGEN_PERIOD);
}

static void http_prepare(void)
{
	http_service_setup(options.body_bytes);
}

/* --- the options --------------------------------------------------------------------- */

static bool set_allow(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	struct prefix_list *allow = &((struct serve_options *)target)->allow;

	if (!prefix_list_add(allow, "--allow", text, error))
		return false;
	if (allow->count)
		return true;
	snprintf(error, OPTIONS_ERROR_BYTES,
		 "--allow: '%.40s' has no network in it, and everybody would be let in: name one", text);
	return false;
}

static bool set_deny(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	return prefix_list_add(&((struct serve_options *)target)->deny, "--deny", text, error);
}

static bool set_refuse(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	((struct serve_options *)target)->refuse_by_reset = strcmp(text, "reset") == 0;
	if (strcmp(text, "reset") == 0 || strcmp(text, "silent") == 0)
		return true;
	snprintf(error, OPTIONS_ERROR_BYTES, "--refuse takes silent or reset, not '%.40s'", text);
	return false;
}

#define NUMBER(field, from, to) OPTION_NUMBER, offsetof(struct serve_options, field), (from), (to), NULL
#define CUSTOM(function)        OPTION_CUSTOM, 0, 0, 0, (function)
#define DAYS_24                 (24u * 24 * 3600 * 1000)

/* What every server here has. */
#define SHARED_SPECS \
	{"receive-bytes", "N", "unread bytes kept for a connection (65536)", \
	 NUMBER(receive_bytes, 2048, 16u << 20)}, \
		{"send-bytes", "N", "bytes sent and not acknowledged, at most (65536)", \
		 NUMBER(send_bytes, 2048, 16u << 20)}, \
		{"allow", "NET,...", \
		 "let only these IPv4 networks connect, such as 10.0.0.0/8,192.0.2.7; @FILE has\n" \
		 "one a line. Of --allow and --deny the longer prefix counts. c10m's traffic\n" \
		 "does not pass nftables: this is what stands in its place", \
		 CUSTOM(set_allow)}, \
		{"deny", "NET,...", "let these networks not connect", CUSTOM(set_deny)}, \
		{"source-connections", "N", "connections of one source at a time, at most", \
		 NUMBER(source_connections, 1, UINT32_MAX)}, \
		{"source-rate", "N", "new connections of one source a second, at most", \
		 NUMBER(source_rate, 1, 1000000)}, \
		{"source-burst", "N", "... and so many at once; default: as many as a second", \
		 NUMBER(source_burst, 1, 1000000)}, \
		{"source-bits", "N", "a source is a network of this prefix length (32)", \
		 NUMBER(source_bits, 1, 32)}, \
		{"refuse", "HOW", "who may not connect is refused silent (default) or by a reset", \
		 CUSTOM(set_refuse)}, \
		{"first-byte-ms", "MS", "end connections whose peer says nothing for so long at first", \
		 NUMBER(first_byte_ms, 1, DAYS_24)}, \
		{"fastopen", "N", \
		 "open connections by data in their SYN (TCP Fast Open), so many at a time", \
		 NUMBER(fastopen_pending, 1, 1u << 20)}, \
		{"idle-ms", "MS", "end connections on which nothing happens for so long", \
		 NUMBER(idle_ms, 1, DAYS_24)}, \
	{ \
		"unsent-ms", "MS", "end connections whose peer takes none of our data for so long", \
			NUMBER(unsent_ms, 1, DAYS_24) \
	}

#define ANNOUNCE_SPEC \
	{ \
		"announce", "TEXT", "send a line to all connections whenever the process gets SIGUSR1", \
			OPTION_TEXT, offsetof(struct serve_options, announce), 0, 0, NULL \
	}

static const struct option_spec common_specs[] = {SHARED_SPECS};

static const struct option_spec discard_specs[] = {ANNOUNCE_SPEC, SHARED_SPECS};

static const struct option_spec echo_specs[] = {
	{"state-bytes", "N", "bytes of state to keep for each connection, and to use (0)",
	 NUMBER(state_bytes, sizeof(struct echo_state), 65536)},
	ANNOUNCE_SPEC,
	SHARED_SPECS,
};

static const struct option_spec http_specs[] = {
	{"body-bytes", "N", "bytes of the body of / (default: a line of text); /bytes/N is N bytes",
	 NUMBER(body_bytes, 1, 1u << 30)},
	SHARED_SPECS,
};

/* --- the verb ------------------------------------------------------------------------ */

static const struct server {
	const char *name, *about;
	uint16_t port;
	const struct option_spec *specs;
	unsigned spec_count;
	void (*prepare)(void);
} servers[] = {
	{"echo", "Sends back what it receives (RFC 862).", 7, echo_specs, ARRAY_COUNT(echo_specs), NULL},
	{"discard", "Throws away what it receives (RFC 863).", 9, discard_specs, ARRAY_COUNT(discard_specs),
	 NULL},
	{"chargen", "Sends lines of characters without end (RFC 864).", 19, common_specs,
	 ARRAY_COUNT(common_specs), chargen_prepare},
	{"http", "Answers HTTP/1.1: GET, HEAD and POST of / and /bytes/N, with keep-alive and pipelining.",
	 80, http_specs, ARRAY_COUNT(http_specs), http_prepare},
};

static void describe_service(const struct server *server, struct c10m_service *service)
{
	*service = (struct c10m_service){
		.name = server->name,
		.port = server->port,
		.flags = C10M_NODELAY, /* answers go out whole: Nagle would only hold back their last segment
					*/
		.keepalive_ms = KEEPALIVE_MS,
	};
	if (strcmp(server->name, "echo") == 0) {
		service->on_data = echo_on_data;
	} else if (strcmp(server->name, "chargen") == 0) {
		service->state_size = sizeof(struct chargen_state);
		service->on_open = chargen_fill;
		service->on_writable = chargen_fill;
	} else if (strcmp(server->name, "http") == 0) {
		http_service_init(service);
	}
}

/* The sizes are known only after the options were read: prepare hooks in between. */
static const struct server *chosen;
static struct c10m_service service;

static void set_limits(void)
{
	static struct c10m_limits limits;

	limits = (struct c10m_limits){
		.allow = options.allow.prefixes,
		.allow_count = options.allow.count,
		.deny = options.deny.prefixes,
		.deny_count = options.deny.count,
		.source_connections = options.source_connections,
		.source_rate = options.source_rate,
		.source_burst = options.source_burst,
		.source_bits = options.source_bits,
		.flags = options.refuse_by_reset ? C10M_LIMITS_RESET : 0,
	};
	service.limits = &limits;
}

static void prepare(void)
{
	service.receive_bytes = options.receive_bytes;
	service.send_bytes = options.send_bytes;
	service.first_byte_ms = options.first_byte_ms;
	service.idle_ms = options.idle_ms;
	service.unsent_ms = options.unsent_ms;
	service.fastopen_pending = options.fastopen_pending;
	if (options.state_bytes) {
		service.state_size = options.state_bytes;
		service.on_data = echo_with_state;
	}
	if (options.announce) {
		announce_prepare(options.announce);
		service.on_start = announce_start;
	}
	set_limits();
	if (chosen->prepare)
		chosen->prepare();
}

static bool check(struct run_config *config, char error[OPTIONS_ERROR_BYTES])
{
	(void)config;
	if (!options.source_burst || options.source_rate)
		return true;
	snprintf(
		error, OPTIONS_ERROR_BYTES,
		"--source-burst needs --source-rate: it is how many connections of a source may come at once "
		"when so many a second may");
	return false;
}

static int serve(const struct server *server, int argc, char **argv)
{
	char usage[128], title[32];
	struct option_group extra = {title, server->specs, server->spec_count, &options};
	const struct run_program program = {
		.name = "c10m", .usage = usage, .about = server->about, .extra = &extra, .check = check};

	snprintf(usage, sizeof(usage), "c10m serve %s --interface IF --address A/LEN [--port P] [options]",
		 server->name);
	snprintf(title, sizeof(title), "options of %s", server->name);
	chosen = server;
	describe_service(server, &service);
	return run_main(argc, argv, &program, &service, 1, prepare);
}

static void print_help(FILE *to)
{
	fprintf(to,
		"usage: c10m serve SERVER --interface IF --address A/LEN [--port P] [options]\n\nservers:\n");
	for (size_t i = 0; i < ARRAY_COUNT(servers); i++)
		fprintf(to, "  %-8s port %-3u %s\n", servers[i].name, servers[i].port, servers[i].about);
	fprintf(to, "\nc10m serve SERVER --help lists the options.\n");
}

int verb_serve(int argc, char **argv)
{
	if (argc < 2) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		print_help(stdout);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_COUNT(servers); i++)
		if (strcmp(argv[1], servers[i].name) == 0)
			return serve(&servers[i], argc - 1, argv + 1);
	fprintf(stderr, "c10m: '%.60s' is no server: c10m serve --help lists them\n", argv[1]);
	return EXIT_USAGE;
}
