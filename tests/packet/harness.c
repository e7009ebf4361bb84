/* harness.c - a stack on a fake clock and the world around it.
 * In: lines of text (see harness.h).  Out: frames into the stack, verdicts.  Owns: struct test. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/seq.h"
#include "wire/arp.h"
#include "wire/checksum.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/print.h"

enum start_mode start_mode;

#define FAIL_AT(file, line, ...) \
	do { \
		print_error(__VA_ARGS__); \
		print_error("\n"); \
		_fail((file), (line)); \
	} while (0)

bool harness_arguments(int argc, char **argv)
{
	static const char *const names[] = { "plain", "peer-wraps", "stack-wraps" };

	if (argc > 2)
		cmocka_set_test_filter(argv[2]);
	if (argc < 2)
		return true;
	for (unsigned i = 0; i < ARRAY_COUNT(names); i++) {
		if (strcmp(argv[1], names[i]) == 0) {
			start_mode = (enum start_mode)i;
			return true;
		}
	}
	fprintf(stderr, "usage: %s [plain|peer-wraps|stack-wraps [TEST]]\n", argv[0]);
	return false;
}

uint8_t stream_byte(uint64_t position)
{
	return (uint8_t)(position * 7 + (position >> 8) * 13 + 1);
}

void mac_of(uint32_t ip, uint8_t mac[6])
{
	mac[0] = 2;
	mac[1] = 0xc1;
	put32(mac + 2, ip);
}

/* --- the application ------------------------------------------------------------ */

static struct test *current; /* callbacks have no other way to it before a connection exists */

struct conn_state {
	uint32_t slot_plus_one;
};

static void event_add(struct test *t, unsigned slot, const char *format, ...)
{
	va_list args;
	char *text;
	size_t used;

	assert_true(t->event_count < EVENTS_MAX);
	text = t->events[(t->event_first + t->event_count++) % EVENTS_MAX];
	va_start(args, format);
	vsnprintf(text, sizeof(t->events[0]), format, args);
	va_end(args);
	used = strlen(text);
	if (slot > 0)
		snprintf(text + used, sizeof(t->events[0]) - used, "#%u", slot);
}

static unsigned slot_of(struct test *t, c10m_conn *conn)
{
	struct conn_state *state = c10m_conn_state(conn);
	c10m_handle handle = c10m_conn_handle(conn);

	assert_true((uintptr_t)state % 64 == 0);
	for (unsigned i = t->slot_count; i-- > 0;) {
		if (t->slots[i].handle == handle) {
			state->slot_plus_one = i + 1;
			return i;
		}
	}
	assert_true(t->slot_count < SLOTS_MAX);
	assert_int_equal(state->slot_plus_one, 0); /* zeroed at open */
	t->slots[t->slot_count].handle = handle;
	state->slot_plus_one = ++t->slot_count;
	return t->slot_count - 1;
}

static void call_hook(struct test *t, c10m_conn *conn, unsigned slot, const char *event)
{
	if (t->app.hook)
		t->app.hook(t, conn, slot, event);
}

static void on_open(c10m_conn *conn)
{
	unsigned slot = slot_of(current, conn);

	event_add(current, slot, "open");
	call_hook(current, conn, slot, "open");
}

static size_t on_data(c10m_conn *conn, const void *data, size_t bytes)
{
	struct test *t = current;
	unsigned index = slot_of(t, conn);
	struct slot *slot = &t->slots[index];
	const uint8_t *at = data;
	size_t taken = MIN_OF(bytes, t->app.consume);

	assert_true(bytes > 0);
	assert_false(slot->closed);
	for (size_t i = 0; i < bytes && !t->app.no_check; i++) {
		if (at[i] != stream_byte(slot->rx_bytes + i))
			fail_msg("byte %llu of the stream is wrong", (unsigned long long)(slot->rx_bytes + i));
	}
	slot->rx_bytes += taken;
	if (!t->app.quiet)
		event_add(t, index, "data %zu", bytes);
	call_hook(t, conn, index, "data");
	return taken;
}

static void on_writable(c10m_conn *conn)
{
	unsigned slot = slot_of(current, conn);

	event_add(current, slot, "writable");
	call_hook(current, conn, slot, "writable");
}

static void on_eof(c10m_conn *conn)
{
	unsigned slot = slot_of(current, conn);

	event_add(current, slot, "eof");
	call_hook(current, conn, slot, "eof");
	if (!current->app.keep_open)
		c10m_close(conn);
}

static void on_timer(c10m_conn *conn)
{
	unsigned slot = slot_of(current, conn);

	event_add(current, slot, "timer");
	call_hook(current, conn, slot, "timer");
}

static void on_close(c10m_conn *conn, enum c10m_close_reason reason)
{
	static const char *const names[] = {
		[C10M_CLOSE_NORMAL] = "normal",       [C10M_CLOSE_RESET] = "reset",
		[C10M_CLOSE_REFUSED] = "refused",     [C10M_CLOSE_TIMEOUT] = "timeout",
		[C10M_CLOSE_KEEPALIVE] = "keepalive", [C10M_CLOSE_UNREACHABLE] = "unreachable",
		[C10M_CLOSE_ABORTED] = "aborted",     [C10M_CLOSE_STOPPED] = "stopped",
	};
	unsigned index = slot_of(current, conn);
	struct slot *slot = &current->slots[index];

	assert_false(slot->closed);
	slot->closed = true;
	slot->reason = reason;
	event_add(current, index, "close %s", names[reason]);
	call_hook(current, conn, index, "close");
}

c10m_conn *app_conn(struct test *t, unsigned slot)
{
	c10m_conn *conn = c10m_conn_find(stack_worker(t->stack), t->slots[slot].handle);

	if (!conn)
		fail_msg("connection %u has ended", slot);
	return conn;
}

size_t app_send(struct test *t, unsigned index, size_t bytes)
{
	struct slot *slot = &t->slots[index];
	uint8_t *data = malloc(bytes + 1);
	size_t sent;

	for (size_t i = 0; i < bytes; i++)
		data[i] = stream_byte(slot->tx_bytes + i);
	flush(t); /* the stack learns the time */
	sent = c10m_send(app_conn(t, index), data, bytes);
	free(data);
	assert_true(sent <= bytes);
	slot->tx_bytes += sent;
	flush(t);
	return sent;
}

void app_close(struct test *t, unsigned slot)
{
	flush(t);
	c10m_close(app_conn(t, slot));
	flush(t);
}

void app_shutdown(struct test *t, unsigned slot)
{
	flush(t);
	c10m_shutdown(app_conn(t, slot));
	flush(t);
}

void app_abort(struct test *t, unsigned slot)
{
	flush(t);
	c10m_abort(app_conn(t, slot));
	flush(t);
}

void app_resume(struct test *t, unsigned slot)
{
	flush(t);
	c10m_resume(app_conn(t, slot));
	flush(t);
}

unsigned app_connect_to(struct test *t, uint32_t ip, uint16_t port, uint16_t local_port, int *error)
{
	const struct c10m_connect_request request = {
		.service = 1, .remote_address = ip, .remote_port = port, .local_port = local_port,
	};
	int why = 1;
	c10m_handle handle;

	flush(t);
	handle = c10m_connect(stack_worker(t->stack), &request, &why);
	if (error)
		*error = handle ? 0 : why;
	else
		assert_true(handle != 0);
	if (!handle) {
		assert_true(why < 0);
		return SLOTS_MAX;
	}
	/* A failure that is known at once may have been reported already. */
	if (t->slot_count == 0 || t->slots[t->slot_count - 1].handle != handle)
		t->slots[t->slot_count++].handle = handle;
	flush(t);
	return t->slot_count - 1;
}

unsigned app_connect(struct test *t, uint16_t local_port)
{
	t->peer->stack_port = local_port;
	return app_connect_to(t, t->peer->ip, t->peer->port, local_port, NULL);
}

/* --- a test's life -------------------------------------------------------------- */

static void service_defaults(struct c10m_service *service, const char *name, uint16_t port)
{
	*service = (struct c10m_service){
		.name = name,
		.port = port,
		.state_size = sizeof(struct conn_state),
		.on_open = on_open,
		.on_data = on_data,
		.on_writable = on_writable,
		.on_eof = on_eof,
		.on_timer = on_timer,
		.on_close = on_close,
	};
}

static void peer_defaults(struct peer *peer, unsigned index)
{
	bool wraps = start_mode == START_PEER_WRAPS;

	*peer = (struct peer){
		.ip = PEER_IP,
		.port = (uint16_t)(PEER_PORT + index),
		.stack_port = SERVER_PORT,
		.iss = wraps ? 0xfffffff0u - index : 1000 + 5000 * index,
		.window = 65535,
		.ts_base = wraps ? 0xffffff00u : 5000000,
		.mss = 1460,
		.wscale = -1,
	};
}

struct test *test_begin(void)
{
	struct test *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->out = calloc(OUT_FRAMES, sizeof(*t->out));
	assert_non_null(t->out);
	service_defaults(&t->services[0], "server", SERVER_PORT);
	service_defaults(&t->services[1], "client", 0);
	t->config = (struct stack_config){
		.connections = 64,
		.services = t->services,
		.service_count = 2,
		.address = STACK_IP,
		.prefix_bits = 24,
		.gateway = 0x0a0000feu,
	};
	mac_of(STACK_IP, t->config.mac.octets);
	for (unsigned i = 0; i < sizeof(t->secrets); i++)
		((uint8_t *)&t->secrets)[i] = (uint8_t)(i * 29 + 11);
	for (unsigned i = 0; i < PEERS_MAX; i++)
		peer_defaults(&t->peers[i], i);
	t->peer = &t->peers[0];
	t->app.consume = SIZE_MAX;
	t->start_us = start_mode == START_PEER_WRAPS ? ((1ULL << 32) - 3000) * MS : 0;
	return t;
}

static void stack_make(struct test *t)
{
	size_t bytes = ALIGN_UP(sizeof(struct arena_header), (size_t)4096) + stack_bytes(&t->config);

	bytes = ALIGN_UP(bytes, (size_t)4096);
	t->memory = aligned_alloc(4096, bytes);
	assert_non_null(t->memory);
	memset(t->memory, 0, bytes);
	arena_init(&t->arena, t->memory, bytes, &t->secrets, 0);
	t->stack = stack_init(&t->arena, &t->config, t->now_us);
	assert_non_null(t->stack);
	stack_start(t->stack, t->now_us);
}

static void stack_unmake(struct test *t)
{
	stack_fini(t->stack);
	free(t->memory);
	t->stack = NULL;
}

static void neighbours_make(struct test *t)
{
	static const uint32_t last[] = { 2, 3, 4, 5, 6, 254 };

	for (unsigned i = 0; i < ARRAY_COUNT(last) && !t->no_neighbours; i++) {
		struct stack_message message = {
			.kind = STACK_SET_NEIGHBOUR, .address = (STACK_IP & 0xffffff00u) | last[i],
		};

		mac_of(message.address, message.mac.octets);
		assert_int_equal(stack_control(t->stack, t->now_us, &message), 0);
	}
}

/* The stack's first sequence number towards the first peer if it starts now; the stack is thrown away. */
static uint32_t probe_iss(struct test *t, uint64_t now_us)
{
	struct tcp_segment segment;
	struct stack_config config = t->config;
	bool no_neighbours = t->no_neighbours;

	t->now_us = now_us;
	t->config.always_cookies = false;
	t->no_neighbours = false;
	stack_make(t);
	neighbours_make(t);
	if (t->active)
		app_connect(t, 5000);
	else
		inject(t, "S seq 0 win 1000 mss 1460");
	next_segment(t, &segment);
	stack_unmake(t);
	t->config = config;
	t->no_neighbours = no_neighbours;
	t->event_count = t->slot_count = t->out_count = 0;
	memset(t->slots, 0, sizeof(t->slots));
	memset(&t->drops_seen, 0, sizeof(t->drops_seen));
	peer_defaults(t->peer, 0);
	return segment.seq;
}

/* Initial sequence numbers grow with the clock (RFC 6528): start when they are about to wrap. */
static uint64_t start_before_wrap(struct test *t)
{
	struct peer peer = *t->peer;
	uint32_t first = probe_iss(t, 0);
	uint32_t slope = probe_iss(t, SECOND) - first; /* a second */
	uint64_t at_us;

	assert_true(slope >= 1000 && slope <= 1000000000);
	at_us = (uint64_t)(0xfffffff0u - first) * SECOND / slope;
	assert_true(probe_iss(t, at_us) > 0xffffff00u);
	*t->peer = peer;
	return at_us;
}

void test_start(struct test *t)
{
	current = t;
	if (start_mode == START_STACK_WRAPS)
		t->start_us = start_before_wrap(t);
	t->now_us = t->start_us;
	stack_make(t);
	neighbours_make(t);
	flush(t);
}

void test_settled(struct test *t, const char *file, int line)
{
	const struct counters *now = stack_counters(t->stack);

	expect_nothing_at(t, file, line);
	for (unsigned i = 1; i < DROP_COUNT; i++) {
		if (now->drops[i] != t->drops_seen.drops[i] && !t->drops_ignored[i])
			FAIL_AT(file, line, "dropped and not expected: %s", drop_reason_name(i));
	}
	t->drops_seen = *now;
}

void test_finish(struct test *t)
{
	flush(t);
	test_settled(t, "at the end of the test", 0);
	expect_no_event(t);
	stack_verify(t->stack);
	stack_unmake(t);
	free(t->out);
	free(t);
	current = NULL;
}

struct stack_usage usage(struct test *t)
{
	struct stack_usage result;

	stack_usage(t->stack, &result);
	return result;
}

/* --- time ----------------------------------------------------------------------- */

void flush(struct test *t)
{
	struct packet packets[16];
	uint8_t frames[16][FRAME_ROOM];
	uint32_t count;

	do {
		for (unsigned i = 0; i < 16; i++)
			packets[i] = (struct packet){ .data = frames[i], .room = FRAME_ROOM };
		count = stack_tx(t->stack, t->now_us, packets, 16);
		assert_true(count <= 16);
		for (unsigned i = 0; i < count; i++) {
			struct out_frame *out = &t->out[(t->out_first + t->out_count) % OUT_FRAMES];

			assert_true(t->out_count++ < OUT_FRAMES);
			assert_true(packets[i].bytes <= FRAME_ROOM && packets[i].data == frames[i]);
			out->at_us = t->now_us;
			out->bytes = packets[i].bytes;
			memcpy(out->data, frames[i], packets[i].bytes);
		}
	} while (count == 16);
	assert_false(stack_has_output(t->stack));
}

void pass_us(struct test *t, uint64_t us)
{
	uint64_t target = t->now_us + us;
	unsigned idle = 0;

	flush(t);
	for (;;) {
		uint64_t deadline = stack_deadline(t->stack);

		if (deadline > target)
			break;
		idle = deadline <= t->now_us ? idle + 1 : 0;
		if (idle > 1000)
			fail_msg("the stack asks to be called again and again at the same time");
		t->now_us = MAX_OF(deadline, t->now_us);
		flush(t);
	}
	t->now_us = target;
	flush(t);
}

/* --- building segments ------------------------------------------------------------ */

struct line {
	struct tcp_segment segment;
	bool has_seq, has_ack, has_win, has_ecr, nots;
	bool absolute_seq, absolute_ack;
	bool wants_options;
	int fill;           /* -1: the stream's content */
};

static uint8_t flags_of(const char *word)
{
	static const char letters[] = "FSRP.UEC";
	uint8_t flags = 0;

	for (; *word; word++) {
		const char *at = strchr(letters, *word);

		if (at)
			flags |= (uint8_t)(1u << (at - letters));
		else if (*word != '-')
			fail_msg("unknown flag '%c'", *word);
	}
	return flags;
}

static void line_option(struct line *line, const char *word, int64_t value)
{
	struct tcp_segment *segment = &line->segment;

	if (strcmp(word, "mss") == 0) {
		segment->mss = (uint16_t)value;
		segment->options |= TCP_OPT_MSS;
	} else if (strcmp(word, "wscale") == 0) {
		segment->wscale = (uint8_t)value;
		segment->options |= TCP_OPT_WSCALE;
	} else if (strcmp(word, "ts") == 0) {
		segment->ts_val = (uint32_t)value;
		segment->options |= TCP_OPT_TIMESTAMPS;
	} else if (strcmp(word, "ecr") == 0) {
		segment->ts_ecr = (uint32_t)value;
		line->has_ecr = true;
	} else {
		fail_msg("unknown word '%s'", word);
	}
}

static void line_number(struct line *line, const char *word, int64_t value)
{
	struct tcp_segment *segment = &line->segment;
	const char *name = word[0] == 'a' && (strcmp(word, "aseq") == 0 || strcmp(word, "aack") == 0) ?
			   word + 1 : word;

	if (strcmp(name, "seq") == 0) {
		segment->seq = (uint32_t)value;
		line->has_seq = true;
		line->absolute_seq = name != word;
	} else if (strcmp(name, "ack") == 0) {
		segment->ack = (uint32_t)value;
		line->has_ack = true;
		line->absolute_ack = name != word;
	} else if (strcmp(word, "win") == 0) {
		segment->window = (uint16_t)value;
		line->has_win = true;
	} else if (strcmp(word, "len") == 0) {
		segment->payload_bytes = (uint32_t)value;
	} else if (strcmp(word, "fill") == 0) {
		line->fill = (int)value;
	} else {
		line_option(line, word, value);
	}
}

static void line_parse(struct line *line, const char *format, va_list args)
{
	char text[256], *save = NULL, *word, *value;

	*line = (struct line){ .fill = -1 };
	vsnprintf(text, sizeof(text), format, args);
	word = strtok_r(text, " ", &save);
	line->segment.flags = flags_of(word);
	while ((word = strtok_r(NULL, " ", &save))) {
		if (strcmp(word, "sackok") == 0) {
			line->segment.options |= TCP_OPT_SACK_PERMITTED;
		} else if (strcmp(word, "nots") == 0) {
			line->nots = true;
		} else {
			value = strtok_r(NULL, " ", &save);
			if (!value)
				fail_msg("'%s' needs a value", word);
			line_number(line, word, strtoll(value, NULL, 0));
		}
	}
}

static uint32_t peer_clock(const struct test *t)
{
	return t->peer->ts_base + (uint32_t)((t->now_us - t->start_us) / MS);
}

/* From relative numbers and defaults to what goes on the wire. */
static void line_resolve(const struct test *t, struct line *line)
{
	const struct peer *peer = t->peer;
	struct tcp_segment *segment = &line->segment;

	if (!line->has_seq)
		segment->seq = peer->snd_nxt;
	if (!line->absolute_seq)
		segment->seq += peer->iss;
	if (!line->has_ack && (segment->flags & TCP_ACK))
		segment->ack = peer->rcv_nxt;
	if (!line->absolute_ack && (segment->flags & TCP_ACK))
		segment->ack += peer->irs;
	if (!line->has_win)
		segment->window = (uint16_t)peer->window;
	if (segment->options & TCP_OPT_TIMESTAMPS)
		segment->ts_val += peer_clock(t);
	else if (peer->timestamps && !line->nots && !(segment->flags & TCP_RST)) {
		segment->options |= TCP_OPT_TIMESTAMPS;
		segment->ts_val = peer_clock(t);
	}
	if (!line->has_ecr && (segment->flags & TCP_ACK))
		segment->ts_ecr = peer->ts_seen;
	segment->source_port = peer->port;
	segment->destination_port = peer->stack_port;
}

static uint32_t emit_headers(uint8_t *frame, uint32_t source, uint32_t destination, uint8_t protocol, uint32_t bytes)
{
	struct eth_header eth = { .type = ETH_TYPE_IPV4 };
	struct ipv4_header ip = {
		.source = source, .destination = destination, .flags = IPV4_DF, .ttl = 64,
		.protocol = protocol, .total_bytes = (uint16_t)(IPV4_HEADER_BYTES + bytes),
	};

	mac_of(source, eth.source.octets);
	mac_of(destination, eth.destination.octets);
	eth_emit(frame, &eth);
	ipv4_emit(frame + ETH_HEADER_BYTES, &ip);
	return ETH_HEADER_BYTES + IPV4_HEADER_BYTES + bytes;
}

static uint32_t line_emit(struct test *t, const struct line *line, uint8_t *frame)
{
	const struct tcp_segment *segment = &line->segment;
	struct peer *peer = t->peer;
	uint8_t *tcp = frame + ETH_HEADER_BYTES + IPV4_HEADER_BYTES;
	uint32_t header_bytes = tcp_emit(tcp, segment);
	uint32_t relative = segment->seq - peer->iss;
	uint32_t bytes = header_bytes + segment->payload_bytes;
	uint32_t end = relative + tcp_segment_length(segment);

	for (uint32_t i = 0; i < segment->payload_bytes; i++) {
		/* Data may go with the SYN, before which there is nothing. */
		uint32_t position = relative + i - !(segment->flags & TCP_SYN);

		tcp[header_bytes + i] = line->fill >= 0 ? (uint8_t)line->fill : stream_byte(position);
	}
	bytes = emit_headers(frame, peer->ip, STACK_IP, IP_PROTOCOL_TCP, bytes);
	fix_checksums(frame, bytes);
	if (!line->absolute_seq && relative == peer->snd_nxt && !(segment->flags & TCP_RST))
		peer->snd_nxt = end;
	return bytes;
}

static uint16_t plain_checksum(const uint8_t *at, uint32_t bytes, uint64_t sum)
{
	for (uint32_t i = 0; i + 1 < bytes; i += 2)
		sum += get16(at + i);
	if (bytes & 1)
		sum += (uint32_t)at[bytes - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* The sum over pseudo-header and segment: zero when the checksum in it holds. */
static uint16_t tcp_sum(const uint8_t *ip, uint32_t ip_bytes, uint32_t bytes)
{
	uint64_t pseudo = (uint64_t)get16(ip + 12) + get16(ip + 14) + get16(ip + 16) + get16(ip + 18) + ip[9] + bytes;

	return plain_checksum(ip + ip_bytes, bytes, pseudo);
}

void fix_checksums(uint8_t *frame, uint32_t bytes)
{
	uint8_t *ip = frame + ETH_HEADER_BYTES;
	uint32_t ip_bytes = (uint32_t)(ip[0] & 15) * 4, total = get16(ip + 2);
	uint8_t *body = ip + ip_bytes;

	assert_true(bytes >= ETH_HEADER_BYTES + IPV4_HEADER_BYTES);
	put16(ip + 10, 0);
	put16(ip + 10, plain_checksum(ip, ip_bytes, 0));
	if (ip[9] == IP_PROTOCOL_TCP && total >= ip_bytes + TCP_HEADER_BYTES) {
		put16(body + 16, 0);
		put16(body + 16, tcp_sum(ip, ip_bytes, total - ip_bytes));
	} else if (ip[9] == IP_PROTOCOL_ICMP && total >= ip_bytes + ICMP_HEADER_BYTES) {
		put16(body + 2, 0);
		put16(body + 2, plain_checksum(body, total - ip_bytes, 0));
	}
}

uint32_t build(struct test *t, uint8_t *frame, const char *format, ...)
{
	struct line line;
	va_list args;

	va_start(args, format);
	line_parse(&line, format, args);
	va_end(args);
	line_resolve(t, &line);
	return line_emit(t, &line, frame);
}

/* Frames are lent: each lies in memory of its own exact size, which is spoilt afterwards. */
static void rx(struct test *t, const uint8_t *const *frames, const uint32_t *bytes, uint32_t count)
{
	struct packet packets[STACK_BURST];

	for (uint32_t i = 0; i < count; i++) {
		packets[i] = (struct packet){ .data = malloc(bytes[i] ? bytes[i] : 1), .bytes = bytes[i] };
		assert_non_null(packets[i].data);
		memcpy(packets[i].data, frames[i], bytes[i]);
	}
	stack_rx(t->stack, t->now_us, packets, count);
	for (uint32_t i = 0; i < count; i++) {
		memset(packets[i].data, 0xa5, bytes[i]);
		free(packets[i].data);
	}
	flush(t);
}

void inject_raw(struct test *t, const uint8_t *frame, uint32_t bytes)
{
	rx(t, &frame, &bytes, 1);
}

void inject_at(struct test *t, const char *file, int line_number_, const char *format, ...)
{
	uint8_t frame[70000];
	struct line line;
	va_list args;

	test_settled(t, file, line_number_);
	va_start(args, format);
	line_parse(&line, format, args);
	va_end(args);
	line_resolve(t, &line);
	inject_raw(t, frame, line_emit(t, &line, frame));
}

void burst_add(struct test *t, struct burst *burst, const char *format, ...)
{
	struct line line;
	va_list args;

	assert_true(burst->count < STACK_BURST);
	va_start(args, format);
	line_parse(&line, format, args);
	va_end(args);
	line_resolve(t, &line);
	burst->bytes[burst->count] = line_emit(t, &line, burst->frames[burst->count]);
	burst->count++;
}

void inject_burst(struct test *t, const struct burst *burst)
{
	const uint8_t *frames[STACK_BURST];

	for (uint32_t i = 0; i < burst->count; i++)
		frames[i] = burst->frames[i];
	rx(t, frames, burst->bytes, burst->count);
}

void use_peer(struct test *t, unsigned index)
{
	assert_true(index < PEERS_MAX);
	t->peer = &t->peers[index];
}

/* --- expecting segments --------------------------------------------------------------- */

static void show(const char *what, const uint8_t *frame, uint32_t bytes)
{
	char text[256];

	frame_print(frame, bytes, text, sizeof(text));
	print_error("%s %s\n", what, text);
}

const struct out_frame *next_out_at(struct test *t, const char *file, int line)
{
	const struct out_frame *out = &t->out[t->out_first];

	if (t->out_count == 0)
		FAIL_AT(file, line, "no frame came out");
	t->out_first = (t->out_first + 1) % OUT_FRAMES;
	t->out_count--;
	return out;
}

unsigned discard_out(struct test *t)
{
	unsigned count = t->out_count;

	t->out_first = (t->out_first + count) % OUT_FRAMES;
	t->out_count = 0;
	return count;
}

void expect_nothing_at(struct test *t, const char *file, int line)
{
	if (t->out_count == 0)
		return;
	for (unsigned i = 0; i < t->out_count && i < 5; i++) {
		const struct out_frame *out = &t->out[(t->out_first + i) % OUT_FRAMES];

		show("came out:", out->data, out->bytes);
	}
	FAIL_AT(file, line, "%u frames came out that nobody expected", t->out_count);
}

/* Everything about a frame from the stack that must always hold. */
static void parse_out(struct test *t, const char *file, int line, const struct out_frame *out,
		      struct tcp_segment *segment)
{
	const uint8_t *ip_at = out->data + ETH_HEADER_BYTES;
	struct eth_header eth;
	struct ipv4_header ip;
	uint8_t mac[6];
	uint32_t bytes;

	mac_of(t->peer->ip, mac);
	if (eth_parse(out->data, out->bytes, &eth) || eth.type != ETH_TYPE_IPV4 ||
	    ipv4_parse(ip_at, out->bytes - ETH_HEADER_BYTES, &ip) || ip.protocol != IP_PROTOCOL_TCP) {
		show("came out:", out->data, out->bytes);
		FAIL_AT(file, line, "not a TCP segment");
	}
	bytes = (uint32_t)ip.total_bytes - ip.header_bytes;
	if (ip.source != STACK_IP || ip.destination != t->peer->ip ||
	    memcmp(eth.source.octets, t->config.mac.octets, 6) != 0 || memcmp(eth.destination.octets, mac, 6) != 0)
		FAIL_AT(file, line, "addresses are wrong");
	if (out->bytes != ETH_HEADER_BYTES + (uint32_t)ip.total_bytes)
		FAIL_AT(file, line, "frame has %u bytes, the packet %u", out->bytes, ip.total_bytes);
	if (tcp_sum(ip_at, ip.header_bytes, bytes) != 0)
		FAIL_AT(file, line, "TCP checksum is wrong");
	if (tcp_parse(ip_at + ip.header_bytes, bytes, segment) != DROP_NONE)
		FAIL_AT(file, line, "TCP header or options are malformed");
	if (segment->source_port != t->peer->stack_port || segment->destination_port != t->peer->port) {
		show("came out:", out->data, out->bytes);
		FAIL_AT(file, line, "ports are wrong");
	}
}

static void peer_learn(struct peer *peer, const struct tcp_segment *segment)
{
	uint32_t relative;

	if (segment->flags & TCP_SYN) {
		peer->irs = segment->seq;
		peer->irs_known = true;
		peer->rcv_nxt = 0;
	}
	relative = segment->seq - peer->irs;
	if (peer->irs_known && relative == peer->rcv_nxt)
		peer->rcv_nxt += tcp_segment_length(segment);
	if (segment->options & TCP_OPT_TIMESTAMPS)
		peer->ts_seen = segment->ts_val;
}

void next_segment_at(struct test *t, const char *file, int line, struct tcp_segment *segment)
{
	static struct out_frame copy;

	copy = *next_out_at(t, file, line);
	parse_out(t, file, line, &copy, segment);
	peer_learn(t->peer, segment);
}

static bool number_differs(const char *name, bool wanted, uint32_t got, uint32_t want)
{
	if (!wanted || got == want)
		return false;
	print_error("%s is %u (%d), expected %u\n", name, got, (int32_t)got, want);
	return true;
}

static bool options_differ(const struct test *t, const struct line *line, const struct tcp_segment *got)
{
	const struct tcp_segment *want = &line->segment;
	uint8_t options = want->options;
	bool bad = false;

	if (t->peer->timestamps && !(want->flags & (TCP_SYN | TCP_RST)) && !line->nots)
		options |= TCP_OPT_TIMESTAMPS;
	if (want->flags & TCP_RST && t->peer->timestamps && !line->nots)
		options |= got->options & TCP_OPT_TIMESTAMPS; /* RFC 7323 section 5.2 leaves it open */
	bad |= number_differs("options", true, got->options & (uint8_t)~TCP_OPT_SACK, options);
	bad |= number_differs("mss", options & TCP_OPT_MSS, got->mss, want->mss);
	bad |= number_differs("wscale", options & TCP_OPT_WSCALE, got->wscale, want->wscale);
	bad |= number_differs("ecr", line->has_ecr, got->ts_ecr - t->peer->ts_base, want->ts_ecr);
	return bad;
}

static bool payload_differs(const struct line *line, const struct tcp_segment *got, uint32_t relative)
{
	for (uint32_t i = 0; i < got->payload_bytes; i++) {
		uint8_t want = line->fill >= 0 ? (uint8_t)line->fill :
			       stream_byte(relative + i - !(got->flags & TCP_SYN));

		if (got->payload[i] != want) {
			print_error("byte %u of the payload is wrong\n", i);
			return true;
		}
	}
	return false;
}

static bool segment_differs(struct test *t, const struct line *line, const struct tcp_segment *got)
{
	const struct tcp_segment *want = &line->segment;
	uint32_t seq_base = line->absolute_seq ? 0 : t->peer->irs;
	uint32_t ack_base = line->absolute_ack ? 0 : t->peer->iss;
	bool bad = false;

	bad |= number_differs("flags", true, got->flags & (uint8_t)~TCP_PSH, want->flags & (uint8_t)~TCP_PSH);
	bad |= number_differs("seq", line->has_seq, got->seq - seq_base, want->seq);
	bad |= number_differs("ack", line->has_ack, got->ack - ack_base, want->ack);
	bad |= number_differs("win", line->has_win, got->window, want->window);
	bad |= number_differs("len", true, got->payload_bytes, want->payload_bytes);
	bad |= options_differ(t, line, got);
	return bad || (t->peer->irs_known && payload_differs(line, got, got->seq - t->peer->irs));
}

static void expect_line(struct test *t, const char *file, int line_no, const char *format, va_list args)
{
	char text[256];
	va_list copy;
	struct line line;
	struct tcp_segment got;

	va_copy(copy, args);
	vsnprintf(text, sizeof(text), format, copy);
	va_end(copy);
	if (t->out_count == 0)
		FAIL_AT(file, line_no, "expected '%s', but nothing came out", text);
	line_parse(&line, format, args);
	next_segment_at(t, file, line_no, &got);
	if (segment_differs(t, &line, &got)) {
		const struct out_frame *out = &t->out[(t->out_first + OUT_FRAMES - 1) % OUT_FRAMES];

		show("came out:", out->data, out->bytes);
		FAIL_AT(file, line_no, "expected:  %s", text);
	}
}

void expect_at(struct test *t, const char *file, int line, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	expect_line(t, file, line, format, args);
	va_end(args);
}

void expect_after_at(struct test *t, const char *file, int line, uint64_t ms, const char *format, ...)
{
	uint64_t start_us = t->now_us, late_us = (2 + ms / 64) * MS, stop_us = start_us + ms * MS + late_us;
	va_list args;

	flush(t);
	expect_nothing_at(t, file, line);
	while (t->out_count == 0 && t->now_us < stop_us) {
		uint64_t deadline = MIN_OF(stack_deadline(t->stack), stop_us);

		pass_us(t, MAX_OF(deadline, t->now_us + 1) - t->now_us);
	}
	if (t->out_count > 0 && t->now_us < start_us + ms * MS)
		FAIL_AT(file, line, "came after %.3f ms, expected after %llu",
			(double)(t->now_us - start_us) / MS, (unsigned long long)ms);
	va_start(args, format);
	expect_line(t, file, line, format, args);
	va_end(args);
}

/* --- ARP and ICMP ------------------------------------------------------------------------ */

uint32_t build_arp(uint8_t *frame, uint16_t operation, uint32_t sender_ip, const uint8_t sender_mac[6],
		   uint32_t target_ip, bool broadcast)
{
	struct eth_header eth = { .type = ETH_TYPE_ARP, .destination = eth_broadcast };
	struct arp_packet arp = { .operation = operation, .sender_ip = sender_ip, .target_ip = target_ip };

	memcpy(eth.source.octets, sender_mac, 6);
	memcpy(arp.sender.octets, sender_mac, 6);
	if (!broadcast)
		mac_of(target_ip, eth.destination.octets);
	if (operation == ARP_REPLY)
		mac_of(target_ip, arp.target.octets);
	eth_emit(frame, &eth);
	arp_emit(frame + ETH_HEADER_BYTES, &arp);
	return ETH_HEADER_BYTES + ARP_BYTES;
}

uint32_t build_icmp(struct test *t, uint8_t *frame, uint8_t type, uint8_t code, uint32_t rest, const void *body,
		    uint32_t bytes)
{
	uint32_t icmp_bytes = icmp_emit(frame + ETH_HEADER_BYTES + IPV4_HEADER_BYTES, type, code, rest, body, bytes);

	return emit_headers(frame, t->peer->ip, STACK_IP, IP_PROTOCOL_ICMP, icmp_bytes);
}

void inject_icmp_error(struct test *t, uint8_t type, uint8_t code, uint32_t rest, uint32_t quoted_seq)
{
	uint8_t frame[FRAME_ROOM], quote[IPV4_HEADER_BYTES + 8] = { 0 };
	const struct ipv4_header ip = {
		.source = STACK_IP, .destination = t->peer->ip, .flags = IPV4_DF, .ttl = 60,
		.protocol = IP_PROTOCOL_TCP, .total_bytes = 1500,
	};

	ipv4_emit(quote, &ip);
	put16(quote + 20, t->peer->stack_port);
	put16(quote + 22, t->peer->port);
	put32(quote + 24, t->peer->irs + quoted_seq);
	inject_raw(t, frame, build_icmp(t, frame, type, code, rest, quote, sizeof(quote)));
}

void expect_arp_request_at(struct test *t, const char *file, int line, uint32_t ip)
{
	const struct out_frame *out = next_out_at(t, file, line);
	struct eth_header eth;
	struct arp_packet arp;

	if (eth_parse(out->data, out->bytes, &eth) || eth.type != ETH_TYPE_ARP ||
	    arp_parse(out->data + ETH_HEADER_BYTES, out->bytes - ETH_HEADER_BYTES, &arp) ||
	    arp.operation != ARP_REQUEST || arp.target_ip != ip || arp.sender_ip != STACK_IP ||
	    memcmp(arp.sender.octets, t->config.mac.octets, 6) != 0) {
		show("came out:", out->data, out->bytes);
		FAIL_AT(file, line, "expected an ARP request for host .%u", ip & 255);
	}
}

void inject_arp_reply(struct test *t, uint32_t ip)
{
	uint8_t frame[FRAME_ROOM], mac[6];

	mac_of(ip, mac);
	inject_raw(t, frame, build_arp(frame, ARP_REPLY, ip, mac, STACK_IP, false));
}

/* --- drops and events ---------------------------------------------------------------------- */

static uint64_t drops_since(struct test *t, const char *file, int line, enum drop_reason reason)
{
	const struct counters *now = stack_counters(t->stack);
	uint64_t count = now->drops[reason] - t->drops_seen.drops[reason];

	for (unsigned i = 1; i < DROP_COUNT; i++) {
		if (i != reason && now->drops[i] != t->drops_seen.drops[i] && !t->drops_ignored[i])
			FAIL_AT(file, line, "dropped as %s, expected %s", drop_reason_name(i), drop_reason_name(reason));
	}
	t->drops_seen = *now;
	return count;
}

void expect_drop_at(struct test *t, const char *file, int line, enum drop_reason reason)
{
	uint64_t count = drops_since(t, file, line, reason);

	if (count != 1)
		FAIL_AT(file, line, "%llu drops counted as %s, expected 1", (unsigned long long)count,
			drop_reason_name(reason));
}

void expect_drops_at(struct test *t, const char *file, int line, enum drop_reason reason)
{
	if (drops_since(t, file, line, reason) == 0)
		FAIL_AT(file, line, "no drop counted as %s", drop_reason_name(reason));
}

void ignore_drops(struct test *t, enum drop_reason reason)
{
	t->drops_ignored[reason] = true;
}

void mark(struct test *t)
{
	t->mark = *stack_counters(t->stack);
}

void expect_event_at(struct test *t, const char *file, int line, const char *format, ...)
{
	char want[64];
	const char *got = t->events[t->event_first];
	va_list args;

	va_start(args, format);
	vsnprintf(want, sizeof(want), format, args);
	va_end(args);
	if (t->event_count == 0)
		FAIL_AT(file, line, "expected event '%s', but there was none", want);
	t->event_first = (t->event_first + 1) % EVENTS_MAX;
	t->event_count--;
	if (strcmp(got, want) != 0)
		FAIL_AT(file, line, "expected event '%s', but got '%s'", want, got);
}

void expect_no_event_at(struct test *t, const char *file, int line)
{
	if (t->event_count > 0)
		FAIL_AT(file, line, "event '%s' that nobody expected", t->events[t->event_first]);
}

void discard_events(struct test *t)
{
	t->event_count = 0;
}

/* --- shortcuts -------------------------------------------------------------------------------- */

static void offer(const struct peer *peer, char *text, size_t room)
{
	int used = snprintf(text, room, "win %u mss %u", peer->window, peer->mss);

	if (peer->offer_sack)
		used += snprintf(text + used, room - (size_t)used, " sackok");
	if (peer->offer_timestamps)
		used += snprintf(text + used, room - (size_t)used, " ts 0");
	if (peer->wscale >= 0)
		snprintf(text + used, room - (size_t)used, " wscale %d", peer->wscale);
}

unsigned open_server(struct test *t)
{
	struct peer *peer = t->peer;
	struct tcp_segment segment;
	char options[128];
	unsigned slot = t->slot_count;

	offer(peer, options, sizeof(options));
	peer->snd_nxt = 0;
	inject(t, "S seq 0 %s", options);
	next_segment(t, &segment);
	assert_int_equal(segment.flags, TCP_SYN | TCP_ACK);
	assert_int_equal(segment.ack, peer->iss + 1);
	peer->timestamps = peer->offer_timestamps && (segment.options & TCP_OPT_TIMESTAMPS);
	inject(t, ". seq 1 ack 1");
	if (slot == 0)
		expect_event(t, "open");
	else
		expect_event(t, "open#%u", slot);
	assert_int_equal(t->slot_count, slot + 1);
	expect_nothing(t);
	return slot;
}

unsigned open_client(struct test *t)
{
	struct peer *peer = t->peer;
	struct tcp_segment segment;
	char options[128];
	unsigned slot = app_connect(t, (uint16_t)(5000 + t->slot_count));

	next_segment(t, &segment);
	assert_int_equal(segment.flags, TCP_SYN);
	offer(peer, options, sizeof(options));
	peer->snd_nxt = 0;
	inject(t, "S. seq 0 ack 1 %s", options);
	peer->timestamps = peer->offer_timestamps && (segment.options & TCP_OPT_TIMESTAMPS);
	expect(t, ". seq 1 ack 1");
	if (slot == 0)
		expect_event(t, "open");
	else
		expect_event(t, "open#%u", slot);
	return slot;
}

struct test *begin_open(void)
{
	struct test *t = test_begin();

	test_start(t);
	open_server(t);
	return t;
}
