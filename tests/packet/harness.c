/* harness.c - a stack on a fake clock and the world around it.
 * In: lines of text (see harness.h).  Out: frames into the stack, verdicts.  Owns: struct test. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/seq.h"
#include "cut.h"
#include "wire/arp.h"
#include "wire/checksum.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/print.h"

enum start_mode start_mode;

bool harness_arguments(int argc, char **argv)
{
	static const char *const names[] = {"plain", "peer-wraps", "stack-wraps"};

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

/* --- a test's life -------------------------------------------------------------- */

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
	t->room = FRAME_ROOM;
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
	static const uint32_t last[] = {2, 3, 4, 5, 6, 254};

	for (unsigned i = 0; i < ARRAY_COUNT(last) && !t->no_neighbours; i++) {
		struct stack_message message = {
			.kind = STACK_SET_NEIGHBOUR,
			.address = (STACK_IP & 0xffffff00u) | last[i],
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
	t->config.destinations = 0;
	t->config.shared = false;
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
	current_test = t;
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
	current_test = NULL;
}

struct stack_usage usage(struct test *t)
{
	struct stack_usage result;

	stack_usage(t->stack, &result);
	return result;
}

/* --- time ----------------------------------------------------------------------- */

static uint8_t *out_add(struct test *t, uint32_t bytes)
{
	struct out_frame *out = &t->out[(t->out_first + t->out_count) % OUT_FRAMES];

	assert_true(t->out_count++ < OUT_FRAMES);
	assert_true(bytes <= FRAME_ROOM);
	out->at_us = t->now_us;
	out->bytes = bytes;
	return out->data;
}

/* What a port with segmentation offload does. */
static void cut(struct test *t, const struct packet *packet)
{
	uint32_t payload = packet->bytes - packet->header_bytes;

	assert_true(t->config.tx_segmentation);
	cut_check(packet);
	t->cut++;
	t->longest = payload;
	for (uint32_t at = 0; at < payload; at += packet->gso_bytes) {
		uint32_t bytes = packet->header_bytes + MIN_OF(payload - at, (uint32_t)packet->gso_bytes);

		assert_int_equal(cut_segment(packet, at, out_add(t, bytes)), bytes);
	}
}

static void flush_once(struct test *t)
{
	static uint8_t frames[16][ROOM_MAX];
	struct packet packets[16];
	uint32_t count;

	do {
		for (unsigned i = 0; i < 16; i++)
			packets[i] = (struct packet){.data = frames[i], .room = (uint16_t)t->room};
		count = stack_tx(t->stack, t->now_us, packets, 16);
		assert_true(count <= 16);
		for (unsigned i = 0; i < count; i++) {
			uint8_t *out;

			assert_true(packets[i].bytes <= t->room && packets[i].data == frames[i]);
			t->partial += packets[i].checksum == PACKET_CSUM_PARTIAL;
			if (packets[i].gso_bytes) {
				cut(t, &packets[i]);
				continue;
			}
			out = out_add(t, packets[i].bytes);
			memcpy(out, frames[i], packets[i].bytes);
			if (packets[i].checksum == PACKET_CSUM_PARTIAL)
				cut_complete(out, packets[i].bytes, &packets[i]);
		}
	} while (count == 16);
}

/* Of very many that end at once some go out each time the clock moves. */
void flush(struct test *t)
{
	flush_once(t);
	for (unsigned round = 0; round < 1000 && stack_has_output(t->stack); round++) {
		t->now_us++;
		flush_once(t);
	}
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

/* --- ARP and ICMP ------------------------------------------------------------------------ */

uint32_t build_arp(uint8_t *frame, uint16_t operation, uint32_t sender_ip, const uint8_t sender_mac[6],
		   uint32_t target_ip, bool broadcast)
{
	struct eth_header eth = {.type = ETH_TYPE_ARP, .destination = eth_broadcast};
	struct arp_packet arp = {.operation = operation, .sender_ip = sender_ip, .target_ip = target_ip};

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

uint32_t build_icmp(struct test *t, uint8_t *frame, uint8_t type, uint8_t code, uint32_t rest,
		    const void *body, uint32_t bytes)
{
	uint32_t icmp_bytes = icmp_emit(frame + ETH_HEADER_BYTES + IPV4_HEADER_BYTES, type, code, rest, body,
					bytes);

	return emit_headers(frame, t->peer->ip, STACK_IP, IP_PROTOCOL_ICMP, icmp_bytes);
}

void inject_icmp_error(struct test *t, uint8_t type, uint8_t code, uint32_t rest, uint32_t quoted_seq)
{
	uint8_t frame[FRAME_ROOM], quote[IPV4_HEADER_BYTES + 8] = {0};
	const struct ipv4_header ip = {
		.source = STACK_IP,
		.destination = t->peer->ip,
		.flags = IPV4_DF,
		.ttl = 60,
		.protocol = IP_PROTOCOL_TCP,
		.total_bytes = 1500,
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
		show_frame("came out:", out->data, out->bytes);
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
			FAIL_AT(file, line, "dropped as %s, expected %s", drop_reason_name(i),
				drop_reason_name(reason));
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

static struct test *start_and_open(struct test *t)
{
	test_start(t);
	open_server(t);
	return t;
}

struct test *begin_open(void)
{
	return start_and_open(test_begin());
}

struct test *begin_unread(uint32_t receive_bytes)
{
	struct test *t = test_begin();

	t->services[0].receive_bytes = receive_bytes;
	t->app.consume = 0;
	return start_and_open(t);
}

struct test *begin_with_timestamps(void)
{
	struct test *t = test_begin();

	t->peer->offer_timestamps = true;
	return start_and_open(t);
}

struct test *begin_nodelay(void)
{
	struct test *t = test_begin();

	t->services[0].flags = C10M_NODELAY;
	return start_and_open(t);
}
