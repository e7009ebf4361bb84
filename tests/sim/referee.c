/* referee.c - what must hold for everything that a stack puts on the wire.
 * In: each frame when a stack sends it or is given it.  Out: world_fail.  Owns: what is known of each flow.
 */
#include "sim.h"

#include "base/seq.h"
#include "wire/ethernet.h"

struct seen {
	struct ipv4_header ip;
	struct tcp_segment segment;
};

static bool parse(const uint8_t *frame, uint32_t bytes, struct seen *seen)
{
	struct eth_header eth;
	const uint8_t *ip = frame + ETH_HEADER_BYTES;

	if (eth_parse(frame, bytes, &eth) || eth.type != ETH_TYPE_IPV4 ||
	    ipv4_parse(ip, bytes - ETH_HEADER_BYTES, &seen->ip) || seen->ip.protocol != IP_PROTOCOL_TCP)
		return false;
	return tcp_parse(ip + seen->ip.header_bytes, (size_t)seen->ip.total_bytes - seen->ip.header_bytes,
			 &seen->segment) == DROP_NONE;
}

static struct flow *find(struct referee *referee, uint32_t source, uint16_t source_port, uint32_t destination,
			 uint16_t destination_port)
{
	for (uint32_t i = 0; i < referee->count; i++) {
		struct flow *flow = &referee->flows[i];

		if (flow->source_port == source_port && flow->destination_port == destination_port &&
		    flow->source == source && flow->destination == destination)
			return flow;
	}
	return NULL;
}

static struct flow *find_or_add(struct referee *referee, uint32_t source, uint16_t source_port,
				uint32_t destination, uint16_t destination_port)
{
	struct flow *flow = find(referee, source, source_port, destination, destination_port);

	if (flow || referee->count == FLOWS)
		return flow;
	flow = &referee->flows[referee->count++];
	*flow = (struct flow){
		.source = source,
		.destination = destination,
		.source_port = source_port,
		.destination_port = destination_port,
	};
	return flow;
}

struct flow *referee_reverse(struct world *world, const struct flow *flow)
{
	return find(&world->referee, flow->destination, flow->destination_port, flow->source,
		    flow->source_port);
}

struct flow *referee_any_flow(struct world *world)
{
	struct referee *referee = &world->referee;

	for (unsigned tries = 0; referee->count > 0 && tries < 8; tries++) {
		struct flow *flow = &referee->flows[random_below(&world->random, referee->count)];

		if (flow->used && flow->last_bytes > 0 && !flow->ambiguous)
			return flow;
	}
	return NULL;
}

static void flow_begin(struct flow *flow, const struct tcp_segment *segment)
{
	*flow = (struct flow){
		.source = flow->source,
		.destination = flow->destination,
		.source_port = flow->source_port,
		.destination_port = flow->destination_port,
		.used = true,
		.iss = segment->seq,
		.snd_max = segment->seq + tcp_segment_length(segment),
		.syn_window = segment->window,
		.wscale_offered = segment->options & TCP_OPT_WSCALE,
		.wscale = segment->wscale,
		.ts_offered = segment->options & TCP_OPT_TIMESTAMPS,
		.ts_first = segment->ts_val,
	};
}

/* A SYN starts a connection, repeats one, crosses another, or makes the matter unclear. So does a second
 * connection with the same ports where an old segment with a cookie in it may bring the first to life again.
 */
static void judge_syn(const struct world *world, struct flow *flow, struct flow *reverse,
		      const struct tcp_segment *segment)
{
	bool again = flow->used && flow->iss == segment->seq, unclear;

	if (!(segment->flags & TCP_ACK)) {
		if (again)
			return;
		if (reverse->acked)
			*reverse = (struct flow){
				.source = reverse->source,
				.destination = reverse->destination,
				.source_port = reverse->source_port,
				.destination_port = reverse->destination_port,
			};
		unclear = flow->used && !world->strict;
		flow_begin(flow, segment);
		flow->ambiguous = unclear;
		return;
	}
	if (!again) {
		unclear = flow->used;
		flow_begin(flow, segment);
		flow->ambiguous = unclear;
	}
	if (world->hostile.on &&
	    (seq_leq(segment->ack, reverse->iss) || seq_gt(segment->ack, reverse->snd_max)))
		flow->ambiguous = reverse->ambiguous = true; /* it answers a SYN that a stranger has forged */
	flow->ack_max = segment->ack;
	if (!flow->acked || seq_gt(segment->ack + segment->window, flow->edge_max))
		flow->edge_max = segment->ack + segment->window;
	flow->acked = true;
}

/* An old segment with a cookie in it may bring to life again what has ended. */
static void judge_end(const struct world *world, struct flow *flow, struct flow *reverse)
{
	if (!world->strict)
		flow->ambiguous = reverse->ambiguous = true;
}

void referee_ended(struct world *world, const struct c10m_endpoints *ends)
{
	struct flow *flow = find(&world->referee, ends->local_address, ends->local_port, ends->remote_address,
				 ends->remote_port);
	struct flow *reverse = find(&world->referee, ends->remote_address, ends->remote_port,
				    ends->local_address, ends->local_port);

	if (flow && reverse)
		judge_end(world, flow, reverse);
}

static void judge_window(struct world *world, struct flow *flow, const struct flow *reverse,
			 const struct tcp_segment *segment)
{
	uint8_t scale = flow->wscale_offered && reverse->wscale_offered ? flow->wscale : 0;
	uint32_t edge = segment->ack + ((uint32_t)segment->window << scale);

	if (!flow->acked) {
		flow->acked = true;
		flow->ack_max = segment->ack;
		/* Fast open uses the window of the SYN, which is not scaled (RFC 7413 section 4.2). */
		flow->edge_max = seq_max(edge, reverse->iss + 1 + flow->syn_window);
		return;
	}
	if (seq_lt(segment->ack, flow->ack_max))
		world_fail(world, "an acknowledgement went back by %u", flow->ack_max - segment->ack);
	if (seq_gt(segment->ack, flow->edge_max + reverse->fin_seen))
		world_fail(world, "acknowledged %u bytes beyond the window it had offered",
			   segment->ack - flow->edge_max);
	if (seq_leq(edge + (1u << scale), flow->edge_max) && !flow->fin_seen && !reverse->fin_seen)
		world_fail(world, "the window's right edge went back by %u", flow->edge_max - edge);
	flow->ack_max = segment->ack;
	flow->edge_max = seq_max(flow->edge_max, edge);
}

/* Told of as arrived is only what was sent, in pieces that are not empty; only the first may lie below the
 * acknowledgement, or inside the second, when it came twice (RFC 2883). */
static void judge_sack(struct world *world, const struct flow *reverse, const struct tcp_segment *segment)
{
	for (unsigned i = 0; i < segment->sack_blocks; i++) {
		uint32_t start, end;

		tcp_sack_block(segment, i, &start, &end);
		if (seq_geq(start, end) || seq_gt(end, reverse->snd_max))
			world_fail(world, "a SACK block tells of what was never sent");
		if (i > 0 && seq_leq(start, segment->ack))
			world_fail(world, "a SACK block tells of what is acknowledged");
	}
}

static uint64_t drops_of(const struct world *world, unsigned node)
{
	const struct counters *counters = stack_counters(world->nodes[node].stack);
	uint64_t sum = 0;

	for (unsigned i = 1; i < DROP_COUNT; i++)
		sum += counters->drops[i];
	return sum;
}

static void judge_fin(struct world *world, unsigned node, struct flow *flow,
		      const struct tcp_segment *segment)
{
	if (!flow->fin_arrived || segment->ack != flow->fin_seq)
		return;
	if (drops_of(world, node) == flow->drops_then)
		world_fail(world, "a FIN had arrived, all before it was acknowledged, but the FIN was not");
	flow->fin_arrived = false;
}

static void judge(struct world *world, unsigned node, struct flow *flow, struct flow *reverse,
		  const struct tcp_segment *segment)
{
	uint32_t end = segment->seq + tcp_segment_length(segment);
	bool fin = segment->flags & TCP_FIN;

	if (!flow->used || !reverse->used || flow->ambiguous || reverse->ambiguous)
		return;
	if (!(segment->flags & TCP_ACK))
		world_fail(world, "a segment without ACK on a synchronised connection");
	if (seq_gt(segment->ack, reverse->snd_max))
		world_fail(world, "acknowledged %u bytes that were never sent",
			   segment->ack - reverse->snd_max);
	/* A probe of a closed window goes one byte beyond it. */
	if (reverse->acked && seq_gt(end, reverse->edge_max + 1 + fin) && seq_gt(end, flow->snd_max))
		world_fail(world, "sent %u bytes beyond the window it was offered", end - reverse->edge_max);
	flow->snd_max = seq_max(flow->snd_max, end);
	flow->fin_seen |= fin;
	judge_window(world, flow, reverse, segment);
	judge_sack(world, reverse, segment);
	judge_fin(world, node, flow, segment);
	if (flow->fin_seen && reverse->fin_seen)
		judge_end(world, flow, reverse);
}

static bool between_stacks(const struct world *world, const struct seen *seen)
{
	return host_of(world, seen->ip.source) + host_of(world, seen->ip.destination) == 1;
}

void referee_sent(struct world *world, unsigned node, const uint8_t *frame, uint32_t bytes)
{
	struct referee *referee = &world->referee;
	struct flow *flow, *reverse;
	struct seen seen;

	if (get16(frame + 12) == ETH_TYPE_IPV4 && !frame_checksums_good(frame, bytes))
		world_fail(world, "node %u sent a frame with a wrong checksum or length", node);
	if (!parse(frame, bytes, &seen) || !between_stacks(world, &seen))
		return;
	if (host_of(world, seen.ip.source) != node)
		world_fail(world, "node %u sent from another host's address", node);
	flow = find_or_add(referee, seen.ip.source, seen.segment.source_port, seen.ip.destination,
			   seen.segment.destination_port);
	reverse = find_or_add(referee, seen.ip.destination, seen.segment.destination_port, seen.ip.source,
			      seen.segment.source_port);
	if (!flow || !reverse)
		return;
	if (seen.segment.flags & TCP_RST)
		judge_end(world, flow, reverse);
	else if (seen.segment.flags & TCP_SYN)
		judge_syn(world, flow, reverse, &seen.segment);
	else
		judge(world, node, flow, reverse, &seen.segment);
	if ((seen.segment.flags & (TCP_ACK | TCP_SYN | TCP_RST)) == TCP_ACK) {
		flow->last_bytes = bytes;
		memcpy(referee->last[flow - referee->flows], frame, bytes);
	}
}

void referee_delivered(struct world *world, unsigned node, const uint8_t *frame, uint32_t bytes)
{
	struct flow *flow;
	struct seen seen;

	if (!frame_checksums_good(frame, bytes) || !parse(frame, bytes, &seen) ||
	    !between_stacks(world, &seen) || !(seen.segment.flags & TCP_FIN) ||
	    (seen.segment.flags & (TCP_SYN | TCP_RST)))
		return;
	flow = find(&world->referee, seen.ip.destination, seen.segment.destination_port, seen.ip.source,
		    seen.segment.source_port);
	if (!flow || !flow->acked || flow->ambiguous || flow->fin_arrived)
		return;
	if (seq_gt(seen.segment.seq, flow->ack_max) &&
	    seq_lt(seen.segment.seq + tcp_segment_length(&seen.segment), flow->edge_max)) {
		flow->fin_arrived = true;
		flow->fin_seq = seen.segment.seq + seen.segment.payload_bytes;
		flow->drops_then = drops_of(world, node);
	}
}
