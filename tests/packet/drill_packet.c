/* drill_packet.c - packets of a script: built, taken apart, compared.
 * In: events, frames. Out: frames into the stack, verdicts.
 *
 * A script counts from its own SYN. What is on the wire is moved by a base for each direction: the peer's
 * follows from where this run starts, the stack's is learnt from its SYN. */
#include "drill_internal.h"

#include <stdio.h>

#include "base/seq.h"
#include "wire/icmp.h"
#include "wire/print.h"

/* --- options ---------------------------------------------------------------------------------------- */

/* What the stack told as its timestamp, as the wire had it. */
static uint32_t stamp_live(const struct drill *drill, uint32_t script)
{
	for (unsigned i = drill->stamp_count; i-- > 0;)
		if (drill->stamps[i].script == script)
			return drill->stamps[i].live;
	return drill->stamp_known ? script + drill->stamp_offset : script;
}

static uint32_t emit_option(const struct drill *drill, const struct drill_option *option, uint8_t *at)
{
	at[0] = option->kind;
	switch (option->kind) {
	case 0:
	case 1:
		return 1;
	case 2:
		put16(at + 2, (uint16_t)option->numbers[0]);
		return at[1] = 4;
	case 3:
		at[2] = (uint8_t)option->numbers[0];
		return at[1] = 3;
	case 5:
		for (unsigned i = 0; i < option->count; i++)
			put32(at + 2 + (size_t)i * 4, option->numbers[i] + drill->local_base);
		return at[1] = (uint8_t)(2 + option->count * 4);
	case 8:
		put32(at + 2, option->numbers[0] + drill->t->peer->ts_base);
		put32(at + 6, option->numbers[1] ? stamp_live(drill, option->numbers[1]) : 0);
		return at[1] = 10;
	default:
		memcpy(at + 2, option->bytes, option->count);
		return at[1] = (uint8_t)(2 + option->count);
	}
}

/* Padded by zeros, which end the list. Returns the header's bytes. */
static uint32_t emit_options(struct drill *drill, const struct drill_event *event, uint8_t *tcp)
{
	const struct drill_packet *packet = &event->packet;
	uint8_t options[DRILL_OPTIONS * 38] = {0};
	uint32_t bytes = 0;

	for (unsigned i = 0; i < packet->option_count; i++)
		bytes += emit_option(drill, &packet->options[i], options + bytes);
	bytes = ALIGN_UP(bytes, 4u);
	if (bytes > 40)
		drill_fail(drill, event, "the options take %u bytes, and a segment has room for 40", bytes);
	memcpy(tcp + TCP_HEADER_BYTES, options, bytes);
	return TCP_HEADER_BYTES + bytes;
}

static void parse_one(const struct drill *drill, const uint8_t *at, uint32_t bytes,
		      struct drill_option *option)
{
	*option = (struct drill_option){.kind = at[0]};
	switch (at[0]) {
	case 0:
	case 1:
	case 4:
		break;
	case 2:
		option->numbers[0] = get16(at + 2);
		break;
	case 3:
		option->numbers[0] = at[2];
		break;
	case 5:
		for (uint32_t i = 2; i + 4 <= bytes && option->count < 8; i += 4)
			option->numbers[option->count++] = get32(at + i) - drill->remote_base;
		break;
	case 8:
		option->numbers[0] = get32(at + 2);
		option->numbers[1] = get32(at + 6);
		break;
	default:
		option->count = (uint8_t)MIN_OF(bytes - 2, (uint32_t)sizeof(option->bytes));
		memcpy(option->bytes, at + 2, option->count);
	}
}

/* The header was parsed before: lengths are good. */
static void parse_options(const struct drill *drill, const uint8_t *tcp, uint32_t header_bytes,
			  struct drill_packet *packet)
{
	uint32_t at = TCP_HEADER_BYTES;

	while (at < header_bytes && packet->option_count < DRILL_OPTIONS) {
		uint32_t bytes = tcp[at] <= 1 ? 1 : tcp[at + 1];

		parse_one(drill, tcp + at, bytes, &packet->options[packet->option_count++]);
		if (tcp[at] == 0)
			return;
		at += bytes;
	}
}

/* --- in ------------------------------------------------------------------------------------------- */

static void set_ecn(uint8_t *ip, enum drill_ecn ecn)
{
	if (ecn > ECN_NONE)
		ip[1] = (uint8_t)((ip[1] & 0xfc) | ecn);
}

static void inject_icmp(struct drill *drill, const struct drill_packet *packet)
{
	uint8_t frame[FRAME_ROOM], quote[IPV4_HEADER_BYTES + 8] = {0};
	const struct ipv4_header ip = {
		.source = STACK_IP,
		.destination = drill->t->peer->ip,
		.flags = IPV4_DF,
		.ttl = 60,
		.protocol = IP_PROTOCOL_TCP,
		.total_bytes = (uint16_t)(IPV4_HEADER_BYTES + TCP_HEADER_BYTES + packet->bytes),
	};
	uint32_t bytes;

	ipv4_emit(quote, &ip);
	put16(quote + 20, drill->local_port);
	put16(quote + 22, drill->remote_port);
	put32(quote + 24, packet->seq + drill->local_base);
	bytes = build_icmp(drill->t, frame, packet->icmp_type, packet->icmp_code, packet->icmp_mtu, quote,
			   sizeof(quote));
	inject_raw(drill->t, frame, bytes);
}

void drill_inject(struct drill *drill, const struct drill_event *event)
{
	const struct drill_packet *packet = &event->packet;
	uint8_t frame[10000] = {0}, *ip = frame + ETH_HEADER_BYTES, *tcp = ip + IPV4_HEADER_BYTES;
	uint32_t header_bytes;

	if (packet->icmp) {
		inject_icmp(drill, packet);
		return;
	}
	if ((packet->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		drill->may_learn = true;
	if (packet->flags & TCP_SYN)
		drill->remote_syn = packet->seq;
	header_bytes = emit_options(drill, event, tcp);
	put16(tcp, drill->remote_port);
	put16(tcp + 2, drill->local_port);
	put32(tcp + 4, packet->seq + drill->remote_base);
	put32(tcp + 8, packet->flags & TCP_ACK ? packet->ack + drill->local_base : 0);
	tcp[12] = (uint8_t)(header_bytes << 2);
	tcp[13] = packet->flags;
	put16(tcp + 14, (uint16_t)packet->win);
	put16(tcp + 18, (uint16_t)packet->urgent);
	for (uint32_t i = 0; i < packet->bytes; i++)
		tcp[header_bytes + i] =
			stream_byte(packet->seq - drill->remote_syn - !(packet->flags & TCP_SYN) + i);
	header_bytes = emit_headers(frame, drill->t->peer->ip, STACK_IP, IP_PROTOCOL_TCP,
				    header_bytes + packet->bytes);
	set_ecn(ip, packet->ecn);
	fix_checksums(frame, header_bytes);
	for (unsigned i = 0; i < packet->option_count; i++)
		drill->heard_stamp |= packet->options[i].kind == 8;
	inject_raw(drill->t, frame, header_bytes);
}

/* --- out ------------------------------------------------------------------------------------------ */

/* Into the script's numbers; false when it is no good segment to the peer. */
static bool take_apart(struct drill *drill, const struct out_frame *frame, struct tcp_segment *segment,
		       struct drill_packet *packet)
{
	const uint8_t *at = frame->data + ETH_HEADER_BYTES, *tcp;
	struct ipv4_header ip;
	uint32_t bytes;

	*packet = (struct drill_packet){.has_win = true};
	if (get16(frame->data + 12) != ETH_TYPE_IPV4 ||
	    ipv4_parse(at, frame->bytes - ETH_HEADER_BYTES, &ip) || ip.protocol != IP_PROTOCOL_TCP ||
	    ip.source != STACK_IP || ip.destination != drill->t->peer->ip)
		return false;
	tcp = at + ip.header_bytes;
	bytes = (uint32_t)ip.total_bytes - ip.header_bytes;
	if (tcp_parse(tcp, bytes, segment) || !tcp_checksum_good(tcp, bytes, ip.source, ip.destination))
		return false;
	packet->ecn = (enum drill_ecn)(at[1] & 3);
	packet->flags = segment->flags;
	packet->seq = segment->seq - drill->local_base;
	packet->bytes = segment->payload_bytes;
	packet->ack = segment->ack - drill->remote_base;
	packet->win = segment->window;
	packet->urgent = segment->urgent;
	parse_options(drill, tcp, segment->header_bytes, packet);
	return true;
}

void drill_show_frame(struct drill *drill, const struct out_frame *frame, char *text, unsigned room)
{
	struct drill_packet packet;
	struct tcp_segment segment;
	int used = snprintf(text, room, "%.6f ", (double)(frame->at_us - drill->start_us) / SECOND);

	if (take_apart(drill, frame, &segment, &packet))
		drill_print(&packet, false, text + used, room - (unsigned)used);
	else
		frame_print(frame->data, frame->bytes, text + used, room - (unsigned)used);
}

static void learn_base(struct drill *drill, const struct drill_packet *want,
		       const struct tcp_segment *segment)
{
	if (!(segment->flags & TCP_SYN) || !(want->flags & TCP_SYN))
		return;
	if (!drill->local_known || drill->may_learn) {
		drill->local_base = segment->seq - want->seq;
		drill->local_known = true;
		drill->may_learn = false;
	}
	if (!drill->local_seen) {
		drill->local_seen = true;
		drill->local_first = segment->seq;
	}
	drill->local_syn = want->seq;
	drill->local_port = segment->source_port;
	drill->remote_port = segment->destination_port;
}

static bool stamp_differs(struct drill *drill, const struct drill_option *want,
			  const struct drill_option *got)
{
	uint32_t ecr = want->numbers[1] + drill->t->peer->ts_base;

	if (!drill->stamp_known) {
		drill->stamp_known = true;
		drill->stamp_offset = got->numbers[0] - want->numbers[0];
	}
	drill->stamps[drill->stamp_count++ % DRILL_STAMPS] = (struct drill_stamp){want->numbers[0],
										  got->numbers[0]};
	if (drill->stamp_count >= DRILL_STAMPS)
		drill->stamp_count = DRILL_STAMPS / 2;
	if (drill->stamp_tick_us && got->numbers[0] - drill->stamp_offset != want->numbers[0])
		return true;
	return got->numbers[1] != (want->numbers[1] || drill->heard_stamp ? ecr : 0);
}

static bool option_differs(struct drill *drill, const struct drill_option *want,
			   const struct drill_option *got)
{
	if (want->kind != got->kind)
		return true;
	if (want->kind == 8)
		return stamp_differs(drill, want, got);
	return want->count != got->count || memcmp(want->numbers, got->numbers, sizeof(want->numbers)) != 0 ||
	       memcmp(want->bytes, got->bytes, sizeof(want->bytes)) != 0;
}

static const char *options_differ(struct drill *drill, const struct drill_packet *want,
				  const struct drill_packet *got)
{
	if (want->any_options)
		return NULL;
	if (want->option_count != got->option_count)
		return "options";
	for (unsigned i = 0; i < want->option_count; i++)
		if (option_differs(drill, &want->options[i], &got->options[i]))
			return "options";
	return NULL;
}

static const char *content_differs(const struct drill *drill, const struct tcp_segment *segment,
				   const struct drill_packet *got)
{
	uint32_t position = got->seq - drill->local_syn - !(segment->flags & TCP_SYN);

	/* A reset of a connection that never was has no stream. */
	if (!drill->local_known || drill->any_content)
		return NULL;
	for (uint32_t i = 0; i < segment->payload_bytes; i++)
		if (segment->payload[i] != stream_byte(position + i))
			return "content";
	return NULL;
}

static const char *packet_differs(struct drill *drill, const struct drill_packet *want,
				  const struct drill_packet *got, const struct tcp_segment *segment)
{
	const char *what;

	if (want->flags != got->flags)
		return "flags";
	if (want->seq != got->seq)
		return "sequence number";
	if (want->bytes != got->bytes)
		return "length";
	if (want->flags & TCP_ACK && want->ack != got->ack)
		return "acknowledgement number";
	if (want->has_win && want->win != got->win)
		return "window";
	if (want->has_urgent && want->urgent != got->urgent)
		return "urgent pointer";
	if (want->ecn != ECN_ANY && want->ecn != got->ecn)
		return "ECN mark";
	what = options_differ(drill, want, got);
	return what ? what : content_differs(drill, segment, got);
}

/* Who is nobody's peer yet is spoken to from the ports of the script. */
static bool ports_differ(const struct drill *drill, const struct tcp_segment *segment)
{
	return drill->local_known &&
	       (segment->source_port != drill->local_port || segment->destination_port != drill->remote_port);
}

void drill_match(struct drill *drill, const struct drill_event *event, const struct out_frame *frame)
{
	struct drill_packet got;
	struct tcp_segment segment;
	char want_text[256], got_text[256];
	const char *what;

	drill_print(&event->packet, false, want_text, sizeof(want_text));
	if (!take_apart(drill, frame, &segment, &got)) {
		drill_show_frame(drill, frame, got_text, sizeof(got_text));
		drill_fail(drill, event, "no good segment to the peer\n  expected: %s\n  came out: %s",
			   want_text, got_text);
	}
	learn_base(drill, &event->packet, &segment);
	take_apart(drill, frame, &segment, &got);
	what = ports_differ(drill, &segment) ? "ports"
					     : packet_differs(drill, &event->packet, &got, &segment);
	if (!what)
		return;
	drill_show_frame(drill, frame, got_text, sizeof(got_text));
	drill_fail(drill, event, "another packet: %s\n  expected: %s\n  came out: %s", what, want_text,
		   got_text);
}
