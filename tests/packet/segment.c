/* segment.c - segments as lines of text (see harness.h): built, injected, expected.
 * In: lines.  Out: frames into the stack, verdicts on what came out.  Owns: struct peer. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/print.h"

/* --- building segments ------------------------------------------------------------ */

struct line {
	struct tcp_segment segment;
	bool has_seq, has_ack, has_win, has_ecr, has_urg, nots;
	uint8_t ecn; /* of the IP header */
	bool absolute_seq, absolute_ack;
	bool wants_options;
	int fill; /* -1: the stream's content */
	uint8_t sack[8 * 4];
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
	} else if (strcmp(word, "uto") == 0) {
		segment->user_timeout = (uint16_t)value;
		segment->options |= TCP_OPT_USER_TIMEOUT;
	} else if (strcmp(word, "fo") == 0) {
		segment->cookie_bytes = (uint8_t)value;
		segment->options |= TCP_OPT_FASTOPEN;
	} else if (strcmp(word, "urg") == 0) {
		segment->urgent = (uint16_t)value;
		line->has_urg = true;
	} else {
		fail_msg("unknown word '%s'", word);
	}
}

static void line_number(struct line *line, const char *word, int64_t value)
{
	struct tcp_segment *segment = &line->segment;
	const char *name = word[0] == 'a' && (strcmp(word, "aseq") == 0 || strcmp(word, "aack") == 0)
				   ? word + 1
				   : word;

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

/* "A-B" or "A-B,C-D": relative for now. */
static void line_sack(struct line *line, const char *value)
{
	struct tcp_segment *segment = &line->segment;
	char *end = NULL;

	segment->options |= TCP_OPT_SACK;
	do {
		uint8_t *at = line->sack + (size_t)segment->sack_blocks++ * 8;

		assert_true(segment->sack_blocks <= 4);
		put32(at, (uint32_t)strtoll(value, &end, 0));
		assert_int_equal(*end, '-');
		put32(at + 4, (uint32_t)strtoll(end + 1, &end, 0));
		value = end + 1;
	} while (*end == ',');
	assert_int_equal(*end, 0);
}

static void line_sack_base(struct line *line, uint32_t base)
{
	for (uint8_t *at = line->sack; at < line->sack + (size_t)line->segment.sack_blocks * 8; at += 4)
		put32(at, get32(at) + base);
	line->segment.sack = line->sack;
}

static void line_parse(struct line *line, const char *format, va_list args)
{
	char text[256], *save = NULL, *word, *value;

	*line = (struct line){.fill = -1};
	vsnprintf(text, sizeof(text), format, args);
	word = strtok_r(text, " ", &save);
	line->segment.flags = flags_of(word);
	while ((word = strtok_r(NULL, " ", &save))) {
		if (strcmp(word, "sackok") == 0) {
			line->segment.options |= TCP_OPT_SACK_PERMITTED;
		} else if (strcmp(word, "nots") == 0) {
			line->nots = true;
		} else if (strcmp(word, "ce") == 0) {
			line->ecn = 3;
		} else if (strcmp(word, "ect") == 0) {
			line->ecn = 2;
		} else {
			value = strtok_r(NULL, " ", &save);
			if (!value)
				fail_msg("'%s' needs a value", word);
			if (strcmp(word, "sack") == 0)
				line_sack(line, value);
			else
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
	if (segment->options & TCP_OPT_FASTOPEN)
		segment->cookie = peer->cookie;
	else
		line_sack_base(line, peer->irs);
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

uint32_t emit_headers(uint8_t *frame, uint32_t source, uint32_t destination, uint8_t protocol, uint32_t bytes)
{
	struct eth_header eth = {.type = ETH_TYPE_IPV4};
	struct ipv4_header ip = {
		.source = source,
		.destination = destination,
		.flags = IPV4_DF,
		.ttl = 64,
		.protocol = protocol,
		.total_bytes = (uint16_t)(IPV4_HEADER_BYTES + bytes),
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
	frame[ETH_HEADER_BYTES + 1] = line->ecn;
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
	uint64_t pseudo = (uint64_t)get16(ip + 12) + get16(ip + 14) + get16(ip + 16) + get16(ip + 18) +
			  ip[9] + bytes;

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
		packets[i] = (struct packet){.data = malloc(bytes[i] ? bytes[i] : 1), .bytes = bytes[i]};
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

void show_frame(const char *what, const uint8_t *frame, uint32_t bytes)
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

		show_frame("came out:", out->data, out->bytes);
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

	mac_of(t->peer->via ? t->peer->via : t->peer->ip, mac);
	if (eth_parse(out->data, out->bytes, &eth) || eth.type != ETH_TYPE_IPV4 ||
	    ipv4_parse(ip_at, out->bytes - ETH_HEADER_BYTES, &ip) || ip.protocol != IP_PROTOCOL_TCP) {
		show_frame("came out:", out->data, out->bytes);
		FAIL_AT(file, line, "not a TCP segment");
	}
	bytes = (uint32_t)ip.total_bytes - ip.header_bytes;
	if (ip.source != STACK_IP || ip.destination != t->peer->ip ||
	    memcmp(eth.source.octets, t->config.mac.octets, 6) != 0 ||
	    memcmp(eth.destination.octets, mac, 6) != 0)
		FAIL_AT(file, line, "addresses are wrong");
	if (out->bytes != ETH_HEADER_BYTES + (uint32_t)ip.total_bytes)
		FAIL_AT(file, line, "frame has %u bytes, the packet %u", out->bytes, ip.total_bytes);
	if (tcp_sum(ip_at, ip.header_bytes, bytes) != 0)
		FAIL_AT(file, line, "TCP checksum is wrong");
	if (tcp_parse(ip_at + ip.header_bytes, bytes, segment) != DROP_NONE)
		FAIL_AT(file, line, "TCP header or options are malformed");
	if (segment->source_port != t->peer->stack_port || segment->destination_port != t->peer->port) {
		show_frame("came out:", out->data, out->bytes);
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
		if (segment->options & TCP_OPT_FASTOPEN && segment->cookie_bytes)
			memcpy(peer->cookie, segment->cookie, segment->cookie_bytes);
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
	bad |= number_differs("options", true, got->options, options);
	bad |= number_differs("number of SACK blocks, or of bytes of a cookie", true, got->sack_blocks,
			      want->sack_blocks);
	for (unsigned i = 0; options & TCP_OPT_SACK && i < want->sack_blocks && !bad; i++) {
		uint32_t want_start, want_end, start, end;

		tcp_sack_block(want, i, &want_start, &want_end);
		tcp_sack_block(got, i, &start, &end);
		bad |= number_differs("start of a SACK block", true, start - t->peer->iss, want_start);
		bad |= number_differs("end of a SACK block", true, end - t->peer->iss, want_end);
	}
	bad |= number_differs("mss", options & TCP_OPT_MSS, got->mss, want->mss);
	bad |= number_differs("user timeout", options & TCP_OPT_USER_TIMEOUT, got->user_timeout,
			      want->user_timeout);
	bad |= number_differs("urgent pointer", line->has_urg, got->urgent, want->urgent);
	bad |= number_differs("wscale", options & TCP_OPT_WSCALE, got->wscale, want->wscale);
	bad |= number_differs("ecr", line->has_ecr, got->ts_ecr - t->peer->ts_base, want->ts_ecr);
	return bad;
}

static bool payload_differs(const struct line *line, const struct tcp_segment *got, uint32_t relative)
{
	for (uint32_t i = 0; i < got->payload_bytes; i++) {
		uint8_t want = line->fill >= 0 ? (uint8_t)line->fill
					       : stream_byte(relative + i - !(got->flags & TCP_SYN));

		if (got->payload[i] != want) {
			print_error("byte %u of the payload is wrong\n", i);
			return true;
		}
	}
	return false;
}

static bool segment_differs(struct test *t, const struct line *line, const struct tcp_segment *got)
{
	const struct out_frame *out = &t->out[(t->out_first + OUT_FRAMES - 1) % OUT_FRAMES];
	const struct tcp_segment *want = &line->segment;
	uint32_t seq_base = line->absolute_seq ? 0 : t->peer->irs;
	uint32_t ack_base = line->absolute_ack ? 0 : t->peer->iss;
	bool bad = false;

	bad |= number_differs("flags", true, got->flags & (uint8_t)~TCP_PSH, want->flags & (uint8_t)~TCP_PSH);
	bad |= number_differs("seq", line->has_seq, got->seq - seq_base, want->seq);
	bad |= number_differs("ack", line->has_ack, got->ack - ack_base, want->ack);
	bad |= number_differs("win", line->has_win, got->window, want->window);
	bad |= number_differs("len", true, got->payload_bytes, want->payload_bytes);
	bad |= number_differs("ECN bits", true, out->data[ETH_HEADER_BYTES + 1] & 3u, line->ecn);
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
	line.segment.sack = line.sack;
	next_segment_at(t, file, line_no, &got);
	if (segment_differs(t, &line, &got)) {
		const struct out_frame *out = &t->out[(t->out_first + OUT_FRAMES - 1) % OUT_FRAMES];

		show_frame("came out:", out->data, out->bytes);
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

/* --- between any two addresses ---------------------------------------------- */

void take_segment(struct test *t, struct ipv4_header *ip, struct tcp_segment *segment)
{
	const struct out_frame *out = next_out(t);
	const uint8_t *at = out->data + ETH_HEADER_BYTES;

	assert_int_equal(ipv4_parse(at, out->bytes - ETH_HEADER_BYTES, ip), DROP_NONE);
	at += ip->header_bytes;
	assert_int_equal(tcp_parse(at, (size_t)ip->total_bytes - ip->header_bytes, segment), DROP_NONE);
	assert_true(tcp_checksum_good(at, (size_t)ip->total_bytes - ip->header_bytes, ip->source,
				      ip->destination));
}

void give_segment(struct test *t, uint32_t from, uint32_t to, struct tcp_segment *segment)
{
	uint8_t frame[FRAME_ROOM] = {0}, *tcp = frame + ETH_HEADER_BYTES + IPV4_HEADER_BYTES;
	struct eth_header eth = {.destination = t->config.mac, .type = ETH_TYPE_IPV4};
	uint32_t bytes = tcp_emit(tcp, segment);
	const struct ipv4_header ip = {.source = from,
				       .destination = to,
				       .total_bytes = (uint16_t)(IPV4_HEADER_BYTES + bytes),
				       .ttl = 64,
				       .protocol = IP_PROTOCOL_TCP};

	mac_of(PEER_IP, eth.source.octets);
	eth_emit(frame, &eth);
	ipv4_emit(frame + ETH_HEADER_BYTES, &ip);
	tcp_store_checksum(tcp, bytes, 0, 0, from, to);
	inject_raw(t, frame, ETH_HEADER_BYTES + ip.total_bytes);
}
