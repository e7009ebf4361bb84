/* rx.c - a burst of frames, in stages: what a stage will touch was prefetched by the one before.
 *
 *   1  parse Ethernet, IPv4, TCP; hash; prefetch buckets
 *   2  verify checksums while the buckets come
 *   3  probe the table; prefetch the lines of each block
 *   4  look into the blocks; prefetch what an acknowledgement will free
 *   5  probe again (an earlier packet of the burst may have opened or closed it) and process
 *
 * In: port.  Out: a drop counted, a reply queued, or sock/ told what happened. */
#include "base/plant.h"
#include "stack/internal.h"

#define FRAMES_AHEAD 4u

struct parsed {
	const uint8_t *frame; /* NULL: its checksum was wrong */
	uint64_t hash;
	struct tuple4 tuple;
	uint16_t segment_bytes;
	bool verified; /* by the port */
	uint32_t hint; /* the block that was found, or POOL_NONE: to be found again before it is believed */
	struct tcp_segment segment;
};

static enum drop_reason icmp_input(struct core *core, const uint8_t *frame, const struct ipv4_header *ip)
{
	const uint8_t *at = frame + ETH_HEADER_BYTES + ip->header_bytes;
	struct icmp_message message;
	struct icmp_quote quote;
	enum drop_reason reason = icmp_parse(at, (size_t)ip->total_bytes - ip->header_bytes, &message);

	if (reason)
		return reason;
	if (message.type == ICMP_ECHO_REQUEST && message.code == 0 && !core->settings.shared)
		return net_echo_reply(&core->net, frame, ip, &message);
	if (message.type != ICMP_UNREACHABLE && message.type != ICMP_TIME_EXCEEDED &&
	    message.type != ICMP_PARAMETER_PROBLEM && message.type != ICMP_REDIRECT)
		return DROP_ICMP_UNKNOWN; /* source quench among them: RFC 6633 */
	reason = icmp_parse_quote(&message, &quote);
	if (reason)
		return reason;
	if (message.type == ICMP_REDIRECT)
		return core->settings.shared || quote.protocol != IP_PROTOCOL_TCP
			       ? DROP_ICMP_UNKNOWN /* the kernel tells of routes */
			       : tcp_redirect(core, ip->source, &message, &quote);
	if (message.type == ICMP_TIME_EXCEEDED)
		core->counters.ip_hops_exceeded++;
	if (quote.protocol != IP_PROTOCOL_TCP)
		return DROP_ICMP_NO_FLOW;
	return tcp_icmp_error(core, &message, &quote);
}

/* A sum that was left undone must be this segment's, whatever the port says. */
static bool sum_is_good(const struct packet *packet, const struct ipv4_header *ip)
{
	if (packet->checksum == PACKET_CSUM_PARTIAL)
		return packet->csum_start == ETH_HEADER_BYTES + ip->header_bytes && packet->csum_offset == 16;
	return packet->checksum == PACKET_CSUM_VERIFIED || PLANTED(CHECKSUM_SKIPPED);
}

/* Whether the segment before it in the burst was of the same connection, as those of a stream are. */
static bool same_as_before(const struct parsed *parsed)
{
	return unlikely(parsed->tuple.remote_ip == parsed[-1].tuple.remote_ip) &&
	       tuple4_equal(&parsed->tuple, &parsed[-1].tuple);
}

static enum drop_reason tcp_prepare(struct core *core, const struct packet *packet,
				    const struct ipv4_header *ip, struct parsed *parsed)
{
	const uint8_t *at = packet->data + ETH_HEADER_BYTES + ip->header_bytes;
	size_t bytes = (size_t)ip->total_bytes - ip->header_bytes;
	enum drop_reason reason = tcp_parse(at, bytes, &parsed->segment);

	if (reason)
		return reason;
	parsed->tuple = (struct tuple4){ip->destination, ip->source, parsed->segment.destination_port,
					parsed->segment.source_port};
	parsed->hash = likely(!same_as_before(parsed)) ? core_hash(core, &parsed->tuple) : parsed[-1].hash;
	parsed->frame = packet->data;
	parsed->segment_bytes = (uint16_t)bytes;
	parsed->verified = sum_is_good(packet, ip);
	if (unlikely((ip->tos & IPV4_ECN_CE) == IPV4_ECN_CE))
		parsed->segment.options |= TCP_OPT_CE;
	return DROP_NONE;
}

/* True when a segment was prepared. */
static bool parse(struct core *core, const struct packet *packet, struct parsed *parsed)
{
	const struct routes *routes = &core->net.destinations.routes;
	struct eth_header eth;
	struct ipv4_header ip;
	enum drop_reason reason = eth_parse(packet->data, packet->bytes, &eth);
	bool segment = false;

	if (!reason && !eth_equal(&eth.destination, &routes->mac) && !eth_is_multicast(&eth.destination))
		reason = DROP_ETH_NOT_OURS;
	if (!reason && eth.type == ETH_TYPE_ARP) {
		reason = net_arp_input(&core->net, packet->data, packet->bytes);
	} else if (!reason && eth.type == ETH_TYPE_IPV4) {
		reason = ipv4_parse(packet->data + ETH_HEADER_BYTES, packet->bytes - ETH_HEADER_BYTES, &ip);
		if (!reason && !routes_is_local(routes, ip.destination))
			reason = DROP_IP_NOT_OURS;
		if (!reason && eth_is_multicast(&eth.destination))
			reason = DROP_ETH_NOT_OURS;
		if (!reason && (routes_is_local(routes, ip.source) || routes_is_broadcast(routes, ip.source)))
			reason = DROP_IP_BAD_SOURCE;
		if (!reason && unlikely(ip.header_bytes > IPV4_HEADER_BYTES))
			reason = net_options_input(&core->net, packet->data, &ip);
		if (!reason && unlikely(ip.flags & IPV4_MF || ip.fragment_offset))
			reason = net_fragment_input(&core->net, packet->data, &ip);
		else if (!reason && likely(ip.protocol == IP_PROTOCOL_TCP))
			segment = (reason = tcp_prepare(core, packet, &ip, parsed)) == DROP_NONE;
		else if (!reason && ip.protocol == IP_PROTOCOL_ICMP)
			reason = icmp_input(core, packet->data, &ip);
		else if (!reason)
			reason = net_refuse_protocol(&core->net, packet->data, &ip);
	} else if (!reason) {
		reason = DROP_ETH_TYPE;
	}
	if (reason)
		core->counters.drops[reason]++;
	return segment;
}

static void verify(struct core *core, struct parsed *parsed)
{
	const uint8_t *at = parsed->segment.payload - parsed->segment.header_bytes;

	if (parsed->verified || likely(tcp_checksum_good(at, parsed->segment_bytes, parsed->tuple.remote_ip,
							 parsed->tuple.local_ip))) {
		core->counters.tcp_segments_in++;
		return;
	}
	core->counters.drops[DROP_TCP_CHECKSUM]++;
	parsed->frame = NULL;
}

static void prefetch_flow(const struct core *core, struct parsed *parsed, uint32_t ref)
{
	const uint8_t *block;

	if (unlikely(flow_ref_kind(ref) != FLOW_BLOCK)) {
		PREFETCH_WRITE(core_tuple_of(core, ref));
		return;
	}
	parsed->hint = flow_ref_index(ref);
	block = core->blocks.objects + (size_t)parsed->hint * core->blocks.stride;
	PREFETCH_WRITE(block);
	PREFETCH_WRITE(block + CACHE_LINE);
	PREFETCH_WRITE(block + (size_t)2 * CACHE_LINE);
	conn_near_prefetch(core, parsed->hint);
	if (parsed->segment.payload_bytes) /* the application's state */
		PREFETCH_WRITE(block + (size_t)3 * CACHE_LINE);
}

static void probe(const struct core *core, struct parsed *parsed)
{
	uint32_t refs[FLOW_BUCKET_ENTRIES];

	parsed->hint = POOL_NONE;
	if (likely(flow_table_first(&core->table, parsed->hash, refs)))
		prefetch_flow(core, parsed, refs[0]);
	else
		flow_table_prefetch_second(&core->table, parsed->hash);
}

static void look_ahead(const struct core *core, struct parsed *parsed)
{
	uint32_t refs[FLOW_BUCKET_ENTRIES], chunk;

	if (parsed->hint == POOL_NONE) {
		if (flow_table_second(&core->table, parsed->hash, refs))
			prefetch_flow(core, parsed, refs[0]);
		return;
	}
	chunk = tcb_at(core, parsed->hint)->snd_head;
	if (chunk != CHUNK_NONE) /* given back by this segment, it is the one that is taken next */
		chunk_prefetch(&core->chunks, chunk);
}

static enum drop_reason block_input(struct core *core, const struct parsed *parsed, uint32_t index,
				    struct tcp_result *result)
{
	enum drop_reason reason;

	result->index = index;
	reason = tcp_input(core, tcb_at(core, index), &parsed->segment, result);
	if (result->events & TCP_EVENT_RESET)
		tcp_send_reset(core, parsed->frame, &parsed->tuple, &parsed->segment);
	sock_input(core, result);
	return reason;
}

/* Another kind of entry, or none. */
static enum drop_reason other_input(struct core *core, const struct parsed *parsed, uint32_t ref)
{
	struct tcp_result result = {.index = POOL_NONE};
	enum drop_reason reason = DROP_NONE;

	if (ref != FLOW_NONE && flow_ref_kind(ref) == FLOW_TIME_WAIT &&
	    !tcp_time_wait_input(core, parsed->frame, flow_ref_index(ref), &parsed->segment, &reason))
		return reason;
	if (ref != FLOW_NONE && flow_ref_kind(ref) == FLOW_HALF_OPEN)
		reason = tcp_half_open_input(core, parsed->frame, flow_ref_index(ref), parsed->hash,
					     &parsed->segment, &result);
	else
		reason = tcp_listen_input(core, parsed->frame, &parsed->tuple, parsed->hash, &parsed->segment,
					  &result);
	if (result.events & TCP_EVENT_DATA) /* it came with the SYN: RFC 7413 */
		sock_input(core, &result);
	else if (result.events & TCP_EVENT_OPEN) /* the third segment may carry data */
		return block_input(core, parsed, result.index, &result);
	return reason;
}

/* A block in use that has these addresses is the connection, whatever happened since it was found. */
static bool hint_holds(const struct core *core, const struct parsed *parsed)
{
	const struct tcb *tcb;

	if (unlikely(parsed->hint == POOL_NONE))
		return false;
	tcb = tcb_at(core, parsed->hint);
	return likely(tuple4_equal(&tcb->tuple, &parsed->tuple) &&
		      (tcb->state != TCB_FREE || PLANTED(HINT_STATE)));
}

static enum drop_reason segment_input(struct core *core, const struct parsed *parsed)
{
	struct tcp_result result = {.index = POOL_NONE};
	uint32_t ref;

	core->reused = false;
	if (likely(hint_holds(core, parsed)))
		return block_input(core, parsed, parsed->hint, &result);
	ref = core_find(core, &parsed->tuple, parsed->hash);
	if (ref != FLOW_NONE && flow_ref_kind(ref) == FLOW_BLOCK)
		return block_input(core, parsed, flow_ref_index(ref), &result);
	return other_input(core, parsed, ref);
}

/* Headers, and the payload of a small segment. */
static void prefetch_frame(const struct packet *packet)
{
	PREFETCH_READ(packet->data);
	PREFETCH_READ(packet->data + CACHE_LINE);
	PREFETCH_READ(packet->data + (size_t)2 * CACHE_LINE);
}

/* Software GRO: the segment before was of the same connection, and perhaps this one only goes on with it. */
static bool goes_on(struct core *core, const struct parsed *parsed)
{
	struct tcp_result result = {.index = parsed->hint};

	core->reused = false;
	if (!hint_holds(core, parsed) ||
	    !tcp_goes_on(core, tcb_at(core, parsed->hint), &parsed->segment, &result))
		return false;
	core->counters.tcp_segments_merged++;
	sock_input(core, &result);
	return true;
}

static void process(struct core *core, const struct parsed *parsed)
{
	enum drop_reason reason;

	if (parsed->hint == parsed[-1].hint && goes_on(core, parsed))
		return;
	reason = segment_input(core, parsed);

	if (reason)
		core->counters.drops[reason]++;
}

static void burst(struct stack *stack, const struct packet *packets, uint32_t count)
{
	struct parsed all[STACK_BURST + 1], *parsed = all + 1; /* before the first stands nobody's */
	struct core *core = &stack->core;
	uint32_t segments = 0;

	all[0].tuple = (struct tuple4){0};
	all[0].hint = POOL_NONE;
	stage_begin(&core->stages, STAGE_PARSE);
	for (uint32_t i = 0; i < count; i++) {
		core->counters.rx_packets++;
		core->counters.rx_bytes += packets[i].bytes;
		if (i + FRAMES_AHEAD < count)
			prefetch_frame(&packets[i + FRAMES_AHEAD]);
		segments += parse(core, &packets[i], &parsed[segments]);
	}
	for (uint32_t i = 0; i < segments; i++)
		flow_table_prefetch(&core->table, parsed[i].hash);
	for (uint32_t i = 0; i < segments; i++)
		verify(core, &parsed[i]);
	stage_begin(&core->stages, STAGE_PROBE);
	for (uint32_t i = 0; i < segments; i++)
		probe(core, &parsed[i]);
	stage_begin(&core->stages, STAGE_LOOK_AHEAD);
	for (uint32_t i = 0; i < segments; i++)
		look_ahead(core, &parsed[i]);
	stage_begin(&core->stages, STAGE_PROCESS);
	for (uint32_t i = 0; i < segments; i++)
		if (parsed[i].frame)
			process(core, &parsed[i]);
	stage_begin(&core->stages, STAGE_OUTSIDE);
}

/* What fragments have made whole is taken like frames, but for the count of these. */
static NO_INLINE void whole_input(struct stack *stack)
{
	struct core *core = &stack->core;
	struct reassembly *reassembly = &core->net.reassembly;
	const struct owner *owner = stack->config.owner;
	struct packet packet;

	while (reassembly_next(reassembly, REASSEMBLY_WHOLE, &packet)) {
		uint32_t here = stack->config.id;

		if (owner && owner_of_frame(owner, packet.data, packet.bytes, here) != here) {
			reassembly_put_aside(reassembly);
			continue;
		}
		core->counters.rx_packets--;
		core->counters.rx_bytes -= packet.bytes;
		burst(stack, &packet, 1);
	}
}

bool stack_elsewhere(struct stack *stack, struct packet *packet)
{
	struct reassembly *reassembly = &stack->core.net.reassembly;

	return unlikely(reassembly->aside) && reassembly_next(reassembly, REASSEMBLY_ASIDE, packet);
}

void stack_rx(struct stack *stack, uint64_t now_us, struct packet *packets, uint32_t count)
{
	stack_set_time(stack, now_us);
	/* While no timer ran nobody had to call: the wheel must know the time before one is filed. */
	if (wheel_live(stack->core.wheel) == 0)
		wheel_expire(stack->core.wheel, stack->core.now_tick, NULL, 0);
	for (uint32_t done = 0; done < count; done += STACK_BURST)
		burst(stack, packets + done, MIN_OF(count - done, (uint32_t)STACK_BURST));
	if (unlikely(stack->core.net.reassembly.ready))
		whole_input(stack);
}
