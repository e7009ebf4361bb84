/* segment.c - segments that belong to no block: resets, SYN-ACKs, acknowledgements from TIME_WAIT.
 * Out: replies, to the link address that the cause came from. */
#include "tcp/core.h"

/* A service that listens there may want its packets marked. */
static void mark(const struct core *core, uint8_t *ip, uint16_t port)
{
	for (uint32_t i = 0; i < core->service_count; i++)
		if (core->services[i].marked && core->services[i].port == port)
			ipv4_mark(ip, core->services[i].ttl, core->services[i].dscp);
}

void tcp_reply(struct core *core, const struct eth_address *to, const struct tuple4 *tuple,
	       struct tcp_segment *segment)
{
	uint32_t tcp_bytes = tcp_header_bytes(segment->options, segment->sack_blocks);
	uint32_t headers = ETH_HEADER_BYTES + IPV4_HEADER_BYTES;
	uint8_t *frame = net_reply(&core->net, headers + tcp_bytes);

	if (!frame)
		return;
	segment->source_port = tuple->local_port;
	segment->destination_port = tuple->remote_port;
	net_emit_headers(&core->net, frame, to, tuple->local_ip, tuple->remote_ip, IP_PROTOCOL_TCP,
			 IPV4_HEADER_BYTES + tcp_bytes);
	mark(core, frame + ETH_HEADER_BYTES, tuple->local_port);
	tcp_emit(frame + headers, segment);
	tcp_store_checksum(frame + headers, tcp_bytes, 0, 0, tuple->local_ip, tuple->remote_ip);
	core->counters.tcp_segments_out++;
	if (segment->flags & TCP_RST)
		core->counters.tcp_resets_out++;
}

/* RFC 9293 section 3.10.7.1. */
void tcp_send_reset(struct core *core, const uint8_t *frame, const struct tuple4 *tuple,
		    const struct tcp_segment *segment)
{
	struct tcp_segment reset = {.flags = TCP_RST};
	struct eth_header eth;

	if (segment->flags & TCP_RST)
		return;
	if (!net_reply_allowed(&core->net)) {
		core->counters.drops[DROP_REPLY_RATE]++;
		return;
	}
	if (segment->flags & TCP_ACK) {
		reset.seq = segment->ack;
	} else {
		reset.flags |= TCP_ACK;
		reset.ack = segment->seq + tcp_segment_length(segment);
	}
	eth_parse(frame, ETH_HEADER_BYTES, &eth);
	tcp_reply(core, &eth.source, tuple, &reset);
}
