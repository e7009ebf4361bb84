/* liar.c - peers that keep no rule of TCP on connections of their own: SACK blocks that lie, acknowledgements
 * of what was never sent, in splinters or ahead of the data, windows that close and shrink, resets and SYNs
 * inside and outside the window, timestamps from any time, ICMP about themselves, the same bytes with other
 * content. In: what the stacks send to their addresses.  Out: frames for both stacks.
 *
 * What becomes of such a connection is nobody's concern; that it costs no more than itself is: no other
 * stream suffers, no memory stays, and no window opens by more than what was acknowledged (window.c). */
#include "sim.h"

#include "base/seq.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"

#define LIAR_FRAMES 4000 /* in one world: they cost time */

static uint32_t draw(struct world *world, uint32_t n)
{
	return random_below(&world->random, n);
}

/* Its next segment, everything right. */
static struct tcp_segment right(const struct lie *lie, uint8_t flags)
{
	return (struct tcp_segment){
		.source_port = lie->port,
		.destination_port = lie->stack_port,
		.seq = lie->snd,
		.ack = lie->rcv,
		.flags = flags,
		.window = 60000,
		.options = lie->timestamps ? TCP_OPT_TIMESTAMPS : 0,
		.ts_val = lie->ts_base,
		.ts_ecr = lie->ts_recent,
	};
}

/* The content is a byte that changes, so that overlaps differ. */
static uint32_t build(struct world *world, const struct lie *lie, const struct tcp_segment *segment,
		      uint8_t *frame)
{
	uint8_t *tcp = frame + ETH_HEADER_BYTES + 20;
	uint32_t header = tcp_emit(tcp, segment), bytes;

	memset(tcp + header, (int)draw(world, 256), segment->payload_bytes);
	bytes = hostile_headers(frame, lie->target, lie->ip, IP_PROTOCOL_TCP,
				header + segment->payload_bytes);
	frame_fix_checksums(frame);
	return bytes;
}

static void put_after(struct world *world, const struct lie *lie, const uint8_t *frame, uint32_t bytes,
		      uint32_t us)
{
	if (world->hostile.liar_frames == 0)
		return;
	world->hostile.liar_frames--;
	link_deliver(world, (uint8_t)lie->target, frame, bytes, world->now_us + us);
}

static void put(struct world *world, const struct lie *lie, const uint8_t *frame, uint32_t bytes)
{
	put_after(world, lie, frame, bytes, draw(world, 2 * MS));
}

static void say(struct world *world, const struct lie *lie, const struct tcp_segment *segment)
{
	uint8_t frame[FRAME_ROOM];

	put(world, lie, frame, build(world, lie, segment, frame));
}

/* --- lies about what has arrived */

/* Somewhere around what the stack has sent. */
static uint32_t about(struct world *world, const struct lie *lie)
{
	switch (draw(world, 6)) {
	case 0:
		return lie->stack_max;
	case 1:
		return lie->stack_max + draw(world, 3000);
	case 2:
		return lie->rcv - draw(world, 3000);
	case 3:
		return (uint32_t)random_next(&world->random);
	default:
		return lie->rcv + draw(world, lie->stack_max - lie->rcv + 2);
	}
}

static void lie_sack(struct world *world, struct lie *lie)
{
	struct tcp_segment segment = right(lie, TCP_ACK);
	uint8_t blocks[32];
	uint32_t honest = draw(world, 2);

	segment.options |= TCP_OPT_SACK;
	segment.sack = blocks;
	segment.sack_blocks = (uint8_t)(1 + draw(world, lie->timestamps ? 3 : 4));
	for (unsigned i = 0; i < segment.sack_blocks; i++) {
		uint32_t start = about(world, lie),
			 end = draw(world, 3) ? start + draw(world, 4000) : about(world, lie);

		if (honest && lie->stack_max != lie->rcv) {
			start = lie->rcv + 1 + draw(world, lie->stack_max - lie->rcv);
			end = start + draw(world, lie->stack_max - start + 1);
		}
		put32(blocks + 8 * i, start);
		put32(blocks + 8 * i + 4, end);
	}
	say(world, lie, &segment);
}

static void lie_ack(struct world *world, struct lie *lie)
{
	struct tcp_segment segment = right(lie, TCP_ACK);
	uint32_t step = 1 + draw(world, 300), count = 1 + draw(world, 40);
	uint8_t frame[FRAME_ROOM];

	switch (draw(world, 5)) {
	case 0: /* in splinters (RFC 5681 section 3.1, RFC 3465) */
		for (uint32_t i = 0; i < count && seq_lt(segment.ack + step, lie->stack_max); i++) {
			segment.ack += step;
			put_after(world, lie, frame, build(world, lie, &segment, frame), 10 * i);
		}
		lie->rcv = segment.ack;
		return;
	case 1: /* ahead of the data */
		segment.ack = lie->rcv = lie->stack_max;
		break;
	case 2: /* of what was never sent */
		segment.ack = lie->stack_max + 1 + draw(world, 100000);
		break;
	case 3: /* again and again (RFC 5681 section 3.2) */
		for (uint32_t i = 0; i < count; i++)
			say(world, lie, &segment);
		return;
	default:
		segment.ack = about(world, lie);
		break;
	}
	say(world, lie, &segment);
}

static void lie_window(struct world *world, struct lie *lie)
{
	struct tcp_segment segment = right(lie, TCP_ACK);

	segment.window = (uint16_t)(draw(world, 3) ? draw(world, 3) : draw(world, 65536));
	say(world, lie, &segment);
}

static void lie_timestamp(struct world *world, struct lie *lie)
{
	struct tcp_segment segment = right(lie, TCP_ACK);

	segment.options ^= draw(world, 3) ? 0 : TCP_OPT_TIMESTAMPS;
	segment.payload_bytes = draw(world, 2);
	switch (draw(world, 4)) {
	case 0:
		segment.ts_val += 1u << (10 + draw(world, 21));
		break;
	case 1:
		segment.ts_val -= 1u << draw(world, 32);
		break;
	case 2:
		segment.ts_ecr = (uint32_t)random_next(&world->random);
		break;
	default:
		segment.ts_ecr += draw(world, 100000);
		break;
	}
	say(world, lie, &segment);
}

/* --- lies in what it sends */

static void lie_data(struct world *world, struct lie *lie)
{
	struct tcp_segment segment = right(lie, TCP_ACK | TCP_PSH);
	uint32_t bytes = 1 + draw(world, draw(world, 2) ? 1400 : 10);

	segment.payload_bytes = bytes;
	switch (draw(world, 5)) {
	case 0: /* a hole before it */
		segment.seq += 1 + draw(world, 5000);
		break;
	case 1: /* again, with other content */
		segment.seq -= draw(world, 3000);
		break;
	case 2:
		segment.seq += draw(world, 100000);
		segment.flags |= (uint8_t)(draw(world, 2) ? TCP_FIN : TCP_URG);
		segment.urgent = (uint16_t)draw(world, 65536);
		break;
	default:
		lie->snd += bytes;
		break;
	}
	say(world, lie, &segment);
}

/* More holes than anybody keeps. */
static void lie_holes(struct world *world, struct lie *lie)
{
	struct tcp_segment segment = right(lie, TCP_ACK);
	uint32_t count = 1 + draw(world, 60);

	for (uint32_t i = 0; i < count; i++) {
		segment.seq += 2 + draw(world, 200);
		segment.payload_bytes = 1 + draw(world, 3);
		say(world, lie, &segment);
	}
}

/* Resets and SYNs everywhere; one that hits is rare, since it ends the fun. */
static void lie_flags(struct world *world, struct lie *lie)
{
	struct tcp_segment segment = right(lie, (uint8_t)(draw(world, 2) ? TCP_RST : TCP_SYN));

	if (draw(world, 2))
		segment.flags |= TCP_ACK;
	if (draw(world, 16) == 0)
		segment.flags = (uint8_t)draw(world, 256);
	segment.seq += draw(world, 8) ? 1 + draw(world, 70000) : 0;
	if (draw(world, 4) == 0)
		segment.seq = (uint32_t)random_next(&world->random);
	if (draw(world, 4) == 0)
		segment.ack = about(world, lie);
	say(world, lie, &segment);
}

static void lie_fin(struct world *world, struct lie *lie)
{
	struct tcp_segment segment = right(lie, TCP_ACK | TCP_FIN);

	segment.payload_bytes = draw(world, 2) ? draw(world, 500) : 0;
	segment.seq += draw(world, 3) ? 0 : draw(world, 3000);
	if (draw(world, 4) == 0)
		lie->snd += 1 + segment.payload_bytes;
	say(world, lie, &segment);
}

/* What it takes a segment to be, its options are not. */
static void lie_options(struct world *world, struct lie *lie)
{
	struct tcp_segment segment = right(lie, TCP_ACK);
	uint8_t frame[FRAME_ROOM];
	uint32_t bytes;

	segment.payload_bytes = 40;
	bytes = build(world, lie, &segment, frame);
	for (unsigned i = 0; i < 40; i++)
		frame[ETH_HEADER_BYTES + 40 + i] = (uint8_t)(draw(world, 3) ? draw(world, 12)
									    : draw(world, 256));
	frame[ETH_HEADER_BYTES + 32] = (uint8_t)((5 + draw(world, 11)) << 4);
	frame_fix_checksums(frame);
	put(world, lie, frame, bytes);
}

/* Pieces that overlap, come twice, or never end (RFC 5722, RFC 8900). */
static void lie_fragments(struct world *world, struct lie *lie)
{
	struct tcp_segment segment = right(lie, TCP_ACK);
	uint8_t frame[FRAME_ROOM], piece[FRAME_ROOM], *ip = piece + ETH_HEADER_BYTES;
	uint16_t id = (uint16_t)draw(world, 65536);

	segment.payload_bytes = 200 + draw(world, 1000);
	build(world, lie, &segment, frame);
	for (uint32_t at = 0, step; at < segment.payload_bytes + 20; at += step) {
		uint32_t left = segment.payload_bytes + 20 - at, take = 8 + 8 * draw(world, 40);
		bool last = take >= left && draw(world, 8);

		step = draw(world, 6) ? take : 8 * (1 + draw(world, 3));
		memcpy(piece, frame, ETH_HEADER_BYTES + 20);
		take = MIN_OF(take, left);
		memcpy(ip + 20, frame + ETH_HEADER_BYTES + 20 + at, take);
		put16(ip + 2, (uint16_t)(20 + take));
		put16(ip + 4, id);
		put16(ip + 6, (uint16_t)(at / 8 | (last ? 0u : (uint32_t)IPV4_MF)));
		hostile_fix_ip(piece);
		if (draw(world, 8))
			put(world, lie, piece, ETH_HEADER_BYTES + 20 + take);
	}
}

/* An error about its own connection, from itself or a router. */
static void lie_icmp(struct world *world, struct lie *lie)
{
	static const uint8_t codes[] = {0, 1, 2, 3, 4, 4, 4, 5, 9, 13};
	uint8_t frame[FRAME_ROOM], quote[28] = {0};
	const struct ipv4_header ip = {.source = world->nodes[lie->target].ip,
				       .destination = lie->ip,
				       .ttl = 60,
				       .flags = IPV4_DF,
				       .protocol = IP_PROTOCOL_TCP,
				       .total_bytes = (uint16_t)(40 + draw(world, 1460))};
	uint32_t bytes;

	ipv4_emit(quote, &ip);
	put16(quote + 20, lie->stack_port);
	put16(quote + 22, lie->port);
	put32(quote + 24, about(world, lie));
	bytes = icmp_emit(frame + ETH_HEADER_BYTES + 20,
			  draw(world, 8) ? ICMP_UNREACHABLE : ICMP_TIME_EXCEEDED,
			  codes[draw(world, ARRAY_COUNT(codes))], draw(world, 3000), quote, sizeof(quote));
	put(world, lie, frame,
	    hostile_headers(frame, lie->target, draw(world, 2) ? ROUTER_IP : lie->ip, IP_PROTOCOL_ICMP,
			    bytes));
}

/* --- connections */

static void start(struct world *world, struct lie *lie)
{
	uint32_t ip = LIAR_IP + (uint32_t)(lie - world->hostile.lies);

	const struct lie before = *lie;

	*lie = (struct lie){
		.used = true,
		.target = draw(world, NODES),
		.ip = ip,
		.port = (uint16_t)(30000 + draw(world, 20000)),
		.stack_port = CHAT_PORT,
		.snd = (uint32_t)random_next(&world->random),
		.ts_base = (uint32_t)random_next(&world->random),
		.offers = (uint8_t)draw(world, 16),
		.active = draw(world, 3) == 0,
	};
	lie->cookie_bytes = before.cookie_bytes;
	memcpy(lie->cookie, before.cookie, sizeof(lie->cookie));
	if (!lie->active) {
		liar_syn(world, lie, TCP_SYN);
		lie->snd++;
		return;
	}
	lie->stack_port = chatter_connect(world, lie->target, lie->ip, lie->port);
	lie->used = lie->stack_port != 0;
}

/* Cookies of fast open that were granted, are too short or too long, or were never seen (RFC 7413). */
static void lie_cookie(struct world *world, const struct lie *lie, struct tcp_segment *syn)
{
	static const uint8_t wrong[16] = {1, 2, 3};
	static const uint8_t sizes[] = {0, 4, 8, 8, 16};

	syn->options |= TCP_OPT_FASTOPEN;
	syn->cookie = draw(world, 2) ? lie->cookie : wrong;
	syn->cookie_bytes = draw(world, 2) ? lie->cookie_bytes : sizes[draw(world, ARRAY_COUNT(sizes))];
	syn->payload_bytes = draw(world, 3) ? draw(world, 500) : 0;
}

void liar_syn(struct world *world, const struct lie *lie, uint8_t flags)
{
	struct tcp_segment syn = right(lie, flags);

	syn.options = (uint8_t)((lie->offers & 1 ? TCP_OPT_TIMESTAMPS : 0) |
				(lie->offers & 2 ? TCP_OPT_SACK_PERMITTED : 0) |
				(lie->offers & 4 ? TCP_OPT_WSCALE : 0) | TCP_OPT_MSS);
	syn.wscale = (uint8_t)draw(world, 16);
	syn.mss = (uint16_t)(draw(world, 3) ? 1460 : draw(world, 2000));
	if (lie->offers & 8)
		lie_cookie(world, lie, &syn);
	say(world, lie, &syn);
}

static void tell_one(struct world *world, struct lie *lie)
{
	static void (*const lies[])(struct world * world, struct lie * lie) = {
		lie_sack,    lie_sack,      lie_ack,  lie_ack,       lie_window,
		lie_data,    lie_data,      lie_data, lie_timestamp, lie_fin,
		lie_options, lie_fragments, lie_icmp, lie_flags,     lie_holes,
	};

	lies[draw(world, ARRAY_COUNT(lies))](world, lie);
}

void liar_act(struct world *world)
{
	struct lie *lie = &world->hostile.lies[draw(world, LIARS)];

	if (world->hostile.liar_frames == 0)
		return;
	if (!lie->used || draw(world, 100) == 0 || (!lie->open && draw(world, 10) == 0))
		start(world, lie);
	else if (lie->open)
		tell_one(world, lie);
}

static void learn(struct lie *lie, const struct tcp_segment *segment)
{
	uint32_t end = segment->seq + tcp_segment_length(segment);

	if (seq_gt(end, lie->stack_max))
		lie->stack_max = end;
	if (segment->seq == lie->rcv)
		lie->rcv = end;
	if (segment->options & TCP_OPT_TIMESTAMPS)
		lie->ts_recent = segment->ts_val;
	lie->ts_base++;
}

static void answer_syn(struct world *world, struct lie *lie, const struct tcp_segment *segment)
{
	struct tcp_segment ack;

	lie->rcv = lie->stack_max = segment->seq + 1;
	if (draw(world, 2))
		lie->rcv = lie->stack_max += segment->payload_bytes;
	if (segment->options & TCP_OPT_FASTOPEN && !lie->active) {
		lie->cookie_bytes = segment->cookie_bytes;
		memcpy(lie->cookie, segment->cookie, segment->cookie_bytes);
	}
	lie->timestamps = lie->offers & 1 && segment->options & TCP_OPT_TIMESTAMPS;
	lie->ts_recent = segment->ts_val;
	if (lie->active) {
		uint32_t kind = draw(world, 8);

		liar_syn(world, lie, kind == 0 ? TCP_SYN : TCP_SYN | TCP_ACK);
		lie->snd += !lie->open;
		lie->open = true;
		return;
	}
	lie->open = true;
	ack = right(lie, TCP_ACK);
	ack.payload_bytes = draw(world, 3) ? 0 : draw(world, 100);
	lie->snd += ack.payload_bytes;
	say(world, lie, &ack);
}

/* Mostly it acknowledges, so that there is something to lie about. */
void liar_receive(struct world *world, const struct ipv4_header *ip, const struct tcp_segment *segment)
{
	struct lie *lie = &world->hostile.lies[ip->destination - LIAR_IP];
	struct tcp_segment ack;

	if (!lie->used || ip->source != world->nodes[lie->target].ip ||
	    segment->destination_port != lie->port || segment->source_port != lie->stack_port)
		return;
	if (segment->flags & TCP_RST) {
		lie->used = draw(world, 4) == 0;
		return;
	}
	if (segment->flags & TCP_SYN) {
		answer_syn(world, lie, segment);
		return;
	}
	learn(lie, segment);
	if (segment->payload_bytes == 0 || draw(world, 4) == 0)
		return;
	if (draw(world, 3) == 0) {
		tell_one(world, lie);
		return;
	}
	ack = right(lie, TCP_ACK);
	say(world, lie, &ack);
}

void liars_begin(struct world *world)
{
	if (draw(world, 2))
		world->hostile.liar_frames = 1 + draw(world, LIAR_FRAMES);
}
