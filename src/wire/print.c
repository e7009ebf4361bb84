/* print.c - a frame as one line, whatever its bytes are.
 * In: any bytes.  Out: text.  Owns: nothing. */
#include "wire/print.h"

#include <stdarg.h>
#include <stdio.h>

#include "wire/arp.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

/* Text that grows until the room is full, and counts on. */
struct line {
	char *text;
	size_t room, bytes;
};

__attribute__((format(printf, 2, 3))) static void line_add(struct line *line, const char *format, ...)
{
	size_t used = MIN_OF(line->bytes, line->room);
	char none = 0, *at = line->room ? line->text + used : &none;
	va_list arguments;
	int added;

	va_start(arguments, format);
	added = vsnprintf(at, line->room - used, format, arguments);
	va_end(arguments);
	if (added > 0)
		line->bytes += (size_t)added;
}

static void add_link(struct line *line, const struct eth_address *address)
{
	const uint8_t *o = address->octets;

	line_add(line, "%02x:%02x:%02x:%02x:%02x:%02x", o[0], o[1], o[2], o[3], o[4], o[5]);
}

static void add_ip(struct line *line, uint32_t address)
{
	char text[IPV4_TEXT_BYTES];

	line_add(line, "%s", ipv4_to_text(address, text));
}

static void add_bad(struct line *line, const char *what, enum drop_reason reason, size_t bytes)
{
	line_add(line, "%s bad (%s), %zu bytes", what, drop_reason_name(reason), bytes);
}

static void add_arp(struct line *line, const uint8_t *at, size_t bytes)
{
	struct arp_packet arp;
	enum drop_reason reason = arp_parse(at, bytes, &arp);

	if (reason) {
		add_bad(line, "arp", reason, bytes);
	} else if (arp.operation == ARP_REQUEST) {
		line_add(line, "arp who-has ");
		add_ip(line, arp.target_ip);
		line_add(line, " tell ");
		add_ip(line, arp.sender_ip);
	} else {
		line_add(line, "arp reply ");
		add_ip(line, arp.sender_ip);
		line_add(line, " is-at ");
		add_link(line, &arp.sender);
	}
}

static void add_addresses(struct line *line, const struct ipv4_header *ip)
{
	add_ip(line, ip->source);
	line_add(line, " > ");
	add_ip(line, ip->destination);
	line_add(line, ": ");
}

static void add_icmp_error(struct line *line, const struct icmp_message *message)
{
	struct icmp_quote quote;

	line_add(line, "icmp type %u code %u", message->type, message->code);
	if (icmp_parse_quote(message, &quote)) {
		line_add(line, " with a bad quote");
		return;
	}
	if (message->type == ICMP_UNREACHABLE && message->code == ICMP_CODE_FRAGMENTATION_NEEDED)
		line_add(line, " mtu %u", icmp_next_mtu(message, &quote));
	line_add(line, " about ");
	add_ip(line, quote.source);
	line_add(line, ".%u > ", quote.source_port);
	add_ip(line, quote.destination);
	line_add(line, ".%u seq %u", quote.destination_port, quote.seq);
}

static void add_icmp(struct line *line, const uint8_t *at, size_t bytes)
{
	struct icmp_message message;
	enum drop_reason reason = icmp_parse(at, bytes, &message);

	if (reason)
		add_bad(line, "icmp", reason, bytes);
	else if (message.type == ICMP_ECHO_REQUEST || message.type == ICMP_ECHO_REPLY)
		line_add(line, "icmp echo %s id %u seq %u len %u",
			 message.type == ICMP_ECHO_REQUEST ? "request" : "reply", message.rest >> 16,
			 message.rest & 0xffff, message.body_bytes);
	else if (icmp_is_error(message.type))
		add_icmp_error(line, &message);
	else
		line_add(line, "icmp type %u code %u len %u", message.type, message.code, message.body_bytes);
}

static void add_sack(struct line *line, const struct tcp_segment *segment, const char *separator)
{
	line_add(line, "%ssack %u", separator, segment->sack_blocks);
	for (unsigned i = 0; i < segment->sack_blocks; i++) {
		uint32_t start, end;

		tcp_sack_block(segment, i, &start, &end);
		line_add(line, " %u:%u", start, end);
	}
}

static void add_tcp_options(struct line *line, const struct tcp_segment *segment)
{
	const char *separator = "";

	if (!segment->options)
		return;
	line_add(line, " <");
	if (segment->options & TCP_OPT_MSS) {
		line_add(line, "mss %u", segment->mss);
		separator = ",";
	}
	if (segment->options & TCP_OPT_SACK_PERMITTED) {
		line_add(line, "%ssackOK", separator);
		separator = ",";
	}
	if (segment->options & TCP_OPT_TIMESTAMPS) {
		line_add(line, "%sts %u %u", separator, segment->ts_val, segment->ts_ecr);
		separator = ",";
	}
	if (segment->options & TCP_OPT_WSCALE) {
		line_add(line, "%swscale %u", separator, segment->wscale);
		separator = ",";
	}
	if (segment->options & TCP_OPT_USER_TIMEOUT) {
		line_add(line, "%suto %u", separator, segment->user_timeout);
		separator = ",";
	}
	if (segment->options & TCP_OPT_FASTOPEN)
		line_add(line, "%sfastopen %u", separator, segment->cookie_bytes);
	if (segment->options & TCP_OPT_SACK)
		add_sack(line, segment, separator);
	line_add(line, ">");
}

static void add_tcp_segment(struct line *line, const struct tcp_segment *segment)
{
	static const char letters[] = "FSRP.UEW"; /* bit 0 first */

	line_add(line, "[");
	for (unsigned bit = 0; bit < 8; bit++)
		if (segment->flags >> bit & 1)
			line_add(line, "%c", letters[bit]);
	line_add(line, "] seq %u", segment->seq);
	if (segment->flags & TCP_ACK)
		line_add(line, " ack %u", segment->ack);
	line_add(line, " win %u", segment->window);
	if (segment->flags & TCP_URG)
		line_add(line, " urg %u", segment->urgent);
	line_add(line, " len %u", segment->payload_bytes);
	add_tcp_options(line, segment);
}

static void add_tcp(struct line *line, const struct ipv4_header *ip, const uint8_t *at, size_t bytes)
{
	struct tcp_segment segment;
	enum drop_reason reason = tcp_parse(at, bytes, &segment);

	if (reason) {
		add_addresses(line, ip);
		add_bad(line, "tcp", reason, bytes);
		return;
	}
	add_ip(line, ip->source);
	line_add(line, ".%u > ", segment.source_port);
	add_ip(line, ip->destination);
	line_add(line, ".%u: ", segment.destination_port);
	add_tcp_segment(line, &segment);
	if (!tcp_checksum_good(at, bytes, ip->source, ip->destination))
		line_add(line, " bad checksum");
}

static void add_ipv4(struct line *line, const uint8_t *at, size_t bytes)
{
	struct ipv4_header ip;
	enum drop_reason reason = ipv4_parse(at, bytes, &ip);
	size_t body_bytes;

	if (reason) {
		add_bad(line, "ip", reason, bytes);
		return;
	}
	body_bytes = (size_t)(ip.total_bytes - ip.header_bytes);
	at += ip.header_bytes;
	if (ip.fragment_offset || ip.flags & IPV4_MF) {
		add_addresses(line, &ip);
		line_add(line, "fragment of %u, protocol %u, at %u len %zu%s", ip.id, ip.protocol,
			 ip.fragment_offset, body_bytes, ip.flags & IPV4_MF ? " more" : "");
	} else if (ip.protocol == IP_PROTOCOL_TCP) {
		add_tcp(line, &ip, at, body_bytes);
	} else {
		add_addresses(line, &ip);
		if (ip.protocol == IP_PROTOCOL_ICMP)
			add_icmp(line, at, body_bytes);
		else
			line_add(line, "protocol %u len %zu", ip.protocol, body_bytes);
	}
}

int frame_print(const uint8_t *frame, size_t bytes, char *text, size_t room)
{
	struct line line = {text, room, 0};
	struct eth_header eth;
	enum drop_reason reason = eth_parse(frame, bytes, &eth);

	if (room)
		text[0] = '\0';
	if (reason) {
		add_bad(&line, "frame", reason, bytes);
	} else if (eth.type == ETH_TYPE_ARP) {
		add_arp(&line, frame + ETH_HEADER_BYTES, bytes - ETH_HEADER_BYTES);
	} else if (eth.type == ETH_TYPE_IPV4) {
		add_ipv4(&line, frame + ETH_HEADER_BYTES, bytes - ETH_HEADER_BYTES);
	} else {
		add_link(&line, &eth.source);
		line_add(&line, " > ");
		add_link(&line, &eth.destination);
		line_add(&line, ": type 0x%04x len %zu", eth.type, bytes - ETH_HEADER_BYTES);
	}
	return (int)line.bytes;
}
