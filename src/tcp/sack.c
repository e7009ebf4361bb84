/* sack.c - what is told of data that is not in order (RFC 2018), and of data that came twice (RFC 2883).
 * In: what arrived, as queues.c keeps it.  Out: SACK blocks for the next acknowledgement.
 * Owns: the extension's blocks. Without an extension nothing is told, which RFC 2018 allows. */
#include "tcp/core.h"

static void block_remove(struct tcp_extension *extension, uint32_t at)
{
	extension->sack_count--;
	for (uint32_t i = at; i < extension->sack_count; i++)
		extension->sacks[i] = extension->sacks[i + 1];
}

static void block_add_first(struct tcp_extension *extension, struct sack_block block)
{
	if (extension->sack_count < SACK_BLOCKS_MAX)
		extension->sack_count++;
	for (uint32_t i = extension->sack_count - 1u; i > 0; i--)
		extension->sacks[i] = extension->sacks[i - 1];
	extension->sacks[0] = block;
}

static bool touches(const struct sack_block *a, const struct sack_block *b)
{
	return seq_leq(a->start, b->end) && seq_leq(b->start, a->end);
}

/* RFC 2018 section 4: the first block is the one that the latest segment belongs to, the others follow by
 * age. */
void sack_arrived(struct core *core, struct tcb *tcb, uint32_t start, uint32_t end, uint32_t chunk)
{
	struct sack_block block = {start, end};
	struct tcp_extension *extension;

	if (!(tcb->options & TCB_SACK))
		return;
	extension = extension_hold(core, tcb, EXTENSION_RECEIVE);
	if (!extension)
		return;
	extension->ooo_last = chunk;
	for (uint32_t i = 0; i < extension->sack_count;) {
		if (!touches(&extension->sacks[i], &block)) {
			i++;
			continue;
		}
		block.start = seq_min(block.start, extension->sacks[i].start);
		block.end = seq_max(block.end, extension->sacks[i].end);
		block_remove(extension, i);
	}
	block_add_first(extension, block);
}

void sack_duplicate(struct core *core, struct tcb *tcb, uint32_t start, uint32_t end)
{
	struct tcp_extension *extension;

	if (!(tcb->options & TCB_SACK) || seq_geq(start, end))
		return;
	extension = extension_hold(core, tcb, EXTENSION_RECEIVE);
	if (!extension)
		return;
	extension->has_duplicate = 1;
	extension->duplicate = (struct sack_block){start, end};
}

static void drop_if_done(struct core *core, struct tcb *tcb, const struct tcp_extension *extension)
{
	if (extension->sack_count == 0 && !extension->has_duplicate)
		extension_drop(core, tcb, EXTENSION_RECEIVE);
}

void sack_trim(struct core *core, struct tcb *tcb)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);

	if (!extension || !(extension->uses & EXTENSION_RECEIVE))
		return;
	for (uint32_t i = extension->sack_count; i-- > 0;)
		if (tcb->ooo_head == CHUNK_NONE || seq_leq(extension->sacks[i].end, tcb->rcv_nxt))
			block_remove(extension, i);
	if (tcb->ooo_head == CHUNK_NONE)
		extension->ooo_last = CHUNK_NONE;
	drop_if_done(core, tcb, extension);
}

bool sack_waits(const struct core *core, const struct tcb *tcb)
{
	const struct tcp_extension *extension = tcb_extension(core, tcb);

	return extension && (extension->sack_count || extension->has_duplicate);
}

static void put_block(uint8_t *blocks, uint32_t at, const struct sack_block *block)
{
	put32(blocks + (size_t)at * 8, block->start);
	put32(blocks + (size_t)at * 8 + 4, block->end);
}

/* As many blocks as the header takes, and the packet beside its payload (a segment to be cut takes none): NOP
 * NOP and the head of the option are four bytes more. */
static uint32_t blocks_that_fit(const struct tcb *tcb, const struct tcp_segment *segment)
{
	uint32_t header = TCP_HEADER_BYTES_MAX - tcp_header_bytes(segment->options, 0);
	uint32_t packet = tcb->mss > segment->payload_bytes ? tcb->mss - segment->payload_bytes : 0;
	uint32_t room = MIN_OF(header, packet);

	return room < 4 ? 0 : MIN_OF((room - 4) / 8, (uint32_t)SACK_BLOCKS_MAX);
}

void sack_tell(struct core *core, struct tcb *tcb, struct tcp_segment *segment, uint8_t *blocks)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);
	uint32_t room, count = 0;

	if (!sack_waits(core, tcb))
		return;
	room = blocks_that_fit(tcb, segment);
	if (room && extension->has_duplicate) { /* RFC 2883 section 4: first, and once */
		put_block(blocks, count++, &extension->duplicate);
		extension->has_duplicate = 0;
		core->counters.tcp_duplicates_told++;
	}
	for (uint32_t i = 0; i < extension->sack_count && count < room; i++)
		put_block(blocks, count++, &extension->sacks[i]);
	if (count) {
		segment->options |= TCP_OPT_SACK;
		segment->sack = blocks;
		segment->sack_blocks = (uint8_t)count;
		core->counters.tcp_sack_blocks_out++;
	}
	drop_if_done(core, tcb, extension);
}
