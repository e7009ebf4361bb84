/* test_tcp_wire.c - TCP headers and options: what is right, and each way to be wrong. */
#include "wire_test.h"

#include "wire/tcp.h"

#define PAYLOAD "hello"

/* A segment of 20 bytes, the given options padded with zeros to whole words, and PAYLOAD.
 * Returns its bytes. */
static size_t build(uint8_t *at, const uint8_t *options, size_t bytes)
{
	size_t header_bytes = ALIGN_UP(TCP_HEADER_BYTES + bytes, (size_t)4);

	memset(at, 0, header_bytes);
	put16(at, 5000);
	put16(at + 2, 80);
	put32(at + 4, 0x01020304);
	put32(at + 8, 0x05060708);
	at[12] = (uint8_t)(header_bytes << 2);
	at[13] = TCP_ACK | TCP_PSH;
	put16(at + 14, 0xfedc);
	put16(at + 18, 7);
	if (bytes)
		memcpy(at + TCP_HEADER_BYTES, options, bytes);
	memcpy(at + header_bytes, PAYLOAD, 5);
	return header_bytes + 5;
}

/* Parses options at the very end of what may be read (no payload behind them). */
static enum drop_reason parse_options(const uint8_t *options, size_t bytes, struct tcp_segment *segment)
{
	static struct guarded guarded;
	uint8_t packet[TCP_HEADER_BYTES_MAX + 5];
	size_t header_bytes = build(packet, options, bytes) - 5;

	if (!guarded.start)
		guarded = guarded_make();
	return tcp_parse(guarded_put(guarded, packet, header_bytes), header_bytes, segment);
}

#define PARSE(segment, ...) \
	parse_options((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), (segment))

static void plain_header(void **state)
{
	uint8_t packet[80];
	size_t bytes = build(packet, NULL, 0);
	struct tcp_segment segment;

	(void)state;
	assert_int_equal(tcp_parse(packet, bytes, &segment), DROP_NONE);
	assert_int_equal(segment.source_port, 5000);
	assert_int_equal(segment.destination_port, 80);
	assert_int_equal(segment.seq, 0x01020304);
	assert_int_equal(segment.ack, 0x05060708);
	assert_int_equal(segment.flags, TCP_ACK | TCP_PSH);
	assert_int_equal(segment.window, 0xfedc);
	assert_int_equal(segment.urgent, 7);
	assert_int_equal(segment.options, 0);
	assert_int_equal(segment.header_bytes, 20);
	assert_int_equal(segment.payload_bytes, 5);
	assert_memory_equal(segment.payload, PAYLOAD, 5);
}

/* Of a header without options, with the usual one and with many: each length is too short
 * until the header is whole. */
static void every_truncation(void **state)
{
	static const uint8_t timestamps[] = {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2};
	static const uint8_t many[] = {2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 7};
	static const struct {
		const uint8_t *options;
		size_t bytes;
	} cases[] = {{NULL, 0}, {timestamps, sizeof(timestamps)}, {many, sizeof(many)}};
	struct guarded guarded = guarded_make();

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		uint8_t packet[80];
		size_t bytes = build(packet, cases[i].options, cases[i].bytes);
		struct tcp_segment segment;

		for (size_t cut = 0; cut <= bytes; cut++) {
			enum drop_reason want = cut < 20          ? DROP_TCP_SHORT
						: cut < bytes - 5 ? DROP_TCP_HEADER_LENGTH
								  : DROP_NONE;

			assert_int_equal(tcp_parse(guarded_put(guarded, packet, cut), cut, &segment), want);
			if (want == DROP_NONE)
				assert_int_equal(segment.payload_bytes, cut - (bytes - 5));
		}
	}
	guarded_free(guarded);
}

static void header_lengths(void **state)
{
	struct guarded guarded = guarded_make();

	(void)state;
	for (unsigned words = 0; words < 16; words++) {
		for (size_t bytes = 20; bytes <= 64; bytes++) {
			uint8_t packet[64];
			struct tcp_segment segment;
			bool right = words >= 5 && words * 4 <= bytes;

			memset(packet, 1, sizeof(packet)); /* options: all NOP */
			packet[12] = (uint8_t)(words << 4 | 0xf);
			assert_int_equal(tcp_parse(guarded_put(guarded, packet, bytes), bytes, &segment),
					 right ? DROP_NONE : DROP_TCP_HEADER_LENGTH);
			if (right)
				assert_int_equal(segment.header_bytes, words * 4);
		}
	}
	guarded_free(guarded);
}

static void port_zero(void **state)
{
	uint8_t packet[80];
	size_t bytes = build(packet, NULL, 0);
	struct tcp_segment segment;

	(void)state;
	put16(packet, 0);
	assert_int_equal(tcp_parse(packet, bytes, &segment), DROP_TCP_PORT_ZERO);
	put16(packet, 256);
	put16(packet + 2, 0);
	assert_int_equal(tcp_parse(packet, bytes, &segment), DROP_TCP_PORT_ZERO);
	put16(packet + 2, 256);
	assert_int_equal(tcp_parse(packet, bytes, &segment), DROP_NONE);
}

static void every_flag(void **state)
{
	uint8_t packet[80];
	size_t bytes = build(packet, NULL, 0);
	struct tcp_segment segment;

	(void)state;
	for (unsigned flags = 0; flags < 256; flags++) {
		packet[13] = (uint8_t)flags;
		assert_int_equal(tcp_parse(packet, bytes, &segment), DROP_NONE);
		assert_int_equal(segment.flags, flags);
		assert_int_equal(tcp_segment_length(&segment),
				 5 + ((flags & TCP_SYN) ? 1 : 0) + ((flags & TCP_FIN) ? 1 : 0));
	}
}

/* proves RFC9293-MUST-4 */
static void options_of_a_syn(void **state)
{
	struct tcp_segment segment;

	(void)state;
	assert_int_equal(PARSE(&segment, 2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 7),
			 DROP_NONE);
	assert_int_equal(segment.options,
			 TCP_OPT_MSS | TCP_OPT_SACK_PERMITTED | TCP_OPT_TIMESTAMPS | TCP_OPT_WSCALE);
	assert_int_equal(segment.mss, 1460);
	assert_int_equal(segment.ts_val, 1);
	assert_int_equal(segment.ts_ecr, 2);
	assert_int_equal(segment.wscale, 7);
	assert_int_equal(segment.header_bytes, 40);
	assert_int_equal(segment.payload_bytes, 0);
}

/* The short way and the long way of the same option agree, wherever it lies. */
/* proves RFC9293-MUST-5, RFC9293-MUST-64 */
static void timestamps_at_every_offset(void **state)
{
	(void)state;
	for (size_t nops = 0; nops <= 30; nops++) {
		uint8_t options[40];
		struct tcp_segment segment;

		memset(options, 1, sizeof(options));
		options[nops] = 8;
		options[nops + 1] = 10;
		put32(options + nops + 2, 0x89abcdef);
		put32(options + nops + 6, 0xfedcba98);
		assert_int_equal(parse_options(options, nops + 10, &segment), DROP_NONE);
		assert_int_equal(segment.options, TCP_OPT_TIMESTAMPS);
		assert_int_equal(segment.ts_val, 0x89abcdef);
		assert_int_equal(segment.ts_ecr, 0xfedcba98);
	}
}

/* The trap of three published stacks: such a length makes no progress. Were it to loop,
 * the alarm would end the test. */
/* proves RFC9293-MUST-7 */
static void option_length_zero_and_one(void **state)
{
	struct tcp_segment segment;

	(void)state;
	alarm(10);
	for (unsigned kind = 2; kind < 256; kind++) {
		for (uint8_t length = 0; length < 2; length++) {
			for (size_t nops = 0; nops <= 38; nops++) {
				uint8_t options[40];

				memset(options, 1, sizeof(options));
				options[nops] = (uint8_t)kind;
				options[nops + 1] = length;
				assert_int_equal(parse_options(options, sizeof(options), &segment),
						 DROP_TCP_OPTIONS);
			}
		}
	}
	alarm(0);
}

/* proves RFC9293-MUST-68 */
static void option_beyond_the_header(void **state)
{
	(void)state;
	for (unsigned kind = 2; kind < 256; kind++) {
		for (size_t left = 1; left <= 40; left++) {
			uint8_t options[40];
			struct tcp_segment segment;

			memset(options, 1, sizeof(options));
			options[40 - left] = (uint8_t)kind;
			if (left > 1)
				options[40 - left + 1] = (uint8_t)(left + 1);
			assert_int_equal(parse_options(options, sizeof(options), &segment), DROP_TCP_OPTIONS);
			if (left > 1)
				options[40 - left + 1] = 255;
			assert_int_equal(parse_options(options, sizeof(options), &segment), DROP_TCP_OPTIONS);
		}
	}
}

/* Every known kind with every length that fits. */
static void wrong_length_of_a_known_option(void **state)
{
	(void)state;
	for (uint8_t kind = 2; kind <= 8; kind++) {
		for (uint8_t length = 2; length <= 40; length++) {
			uint8_t options[40];
			struct tcp_segment segment;
			bool right = kind == 2   ? length == 4
				     : kind == 3 ? length == 3
				     : kind == 4 ? length == 2
				     : kind == 5
					     ? length == 10 || length == 18 || length == 26 || length == 34
				     : kind == 8 ? length == 10
						 : true;

			memset(options, 1, sizeof(options));
			options[0] = kind;
			options[1] = length;
			assert_int_equal(parse_options(options, sizeof(options), &segment),
					 right ? DROP_NONE : DROP_TCP_OPTIONS);
		}
	}
}

/* proves RFC9293-MUST-4 */
static void end_of_options_in_the_middle(void **state)
{
	struct tcp_segment segment;

	(void)state;
	/* What lies behind the end is not looked at, right or wrong. */
	assert_int_equal(PARSE(&segment, 2, 4, 5, 0xb4, 0, 3, 3, 7), DROP_NONE);
	assert_int_equal(segment.options, TCP_OPT_MSS);
	assert_int_equal(PARSE(&segment, 1, 0, 2, 0, 8, 1, 9, 255), DROP_NONE);
	assert_int_equal(segment.options, 0);
	assert_int_equal(PARSE(&segment, 0, 255, 255, 255), DROP_NONE);
	assert_int_equal(segment.options, 0);
}

/* proves RFC9293-MUST-6, RFC9293-MUST-68 */
static void unknown_options_are_skipped(void **state)
{
	struct tcp_segment segment;

	(void)state;
	for (unsigned kind = 9; kind < 256; kind++) {
		assert_int_equal(PARSE(&segment, (uint8_t)kind, 5, 0, 0, 0, 2, 4, 1, 2, (uint8_t)kind, 2, 1),
				 DROP_NONE);
		assert_int_equal(segment.options, TCP_OPT_MSS);
		assert_int_equal(segment.mss, 0x0102);
	}
}

/* proves RFC7323-03 */
static void wscale_is_limited(void **state)
{
	(void)state;
	for (unsigned shift = 0; shift < 256; shift++) {
		struct tcp_segment segment;

		assert_int_equal(PARSE(&segment, 3, 3, (uint8_t)shift, 1), DROP_NONE);
		assert_int_equal(segment.options, TCP_OPT_WSCALE);
		assert_int_equal(segment.wscale, shift < 14 ? shift : 14);
	}
}

static void sack_of_one_to_four_blocks(void **state)
{
	(void)state;
	for (uint8_t blocks = 1; blocks <= 4; blocks++) {
		for (size_t nops = 0; nops + 2 + 8u * blocks <= 40; nops++) {
			uint8_t options[40];
			struct tcp_segment segment;

			memset(options, 1, sizeof(options));
			options[nops] = 5;
			options[nops + 1] = (uint8_t)(2 + 8 * blocks);
			for (uint32_t i = 0; i < 2u * blocks; i++)
				put32(options + nops + 2 + 4 * i, 0xfffffff0 + i * 8);
			assert_int_equal(parse_options(options, nops + 2 + 8u * blocks, &segment), DROP_NONE);
			assert_int_equal(segment.options, TCP_OPT_SACK);
			assert_int_equal(segment.sack_blocks, blocks);
			for (uint32_t i = 0; i < blocks; i++) {
				uint32_t start, end;

				tcp_sack_block(&segment, i, &start, &end);
				assert_int_equal(start, 0xfffffff0 + i * 16);
				assert_int_equal(end, 0xfffffff8 + i * 16);
			}
		}
	}
}

/* RFC 5482 section 4: one of another length is ignored. */
static void user_timeout(void **state)
{
	const uint8_t emitted[] = {2, 4, 5, 0xb4, 28, 4, 0x80, 5};
	uint8_t packet[TCP_HEADER_BYTES_MAX];
	struct tcp_segment segment;

	(void)state;
	assert_int_equal(PARSE(&segment, 28, 4, 0x80, 5), DROP_NONE);
	assert_int_equal(segment.options, TCP_OPT_USER_TIMEOUT);
	assert_int_equal(segment.user_timeout, 0x8005);
	assert_int_equal(PARSE(&segment, 28, 3, 0x80, 1), DROP_NONE);
	assert_int_equal(segment.options, 0);
	segment = (struct tcp_segment){
		.options = TCP_OPT_MSS | TCP_OPT_USER_TIMEOUT, .mss = 1460, .user_timeout = 0x8005};
	assert_int_equal(tcp_emit(packet, &segment), 28);
	assert_memory_equal(packet + 20, emitted, sizeof(emitted));
}

/* RFC 7413 section 4.1.1: of a SYN only, 4 to 16 bytes, an even number of them, or none. */
static void fast_open(void **state)
{
	uint8_t packet[TCP_HEADER_BYTES_MAX];
	struct tcp_segment segment, again;

	(void)state;
	for (uint32_t cookie = 0; cookie <= 30; cookie++) {
		uint8_t syn[TCP_HEADER_BYTES_MAX];
		bool right = cookie == 0 || (cookie >= 4 && cookie <= 16 && cookie % 2 == 0);
		uint8_t options[40] = {34, (uint8_t)(2 + cookie)};

		for (uint32_t i = 0; i < cookie; i++)
			options[2 + i] = (uint8_t)(i * 7 + 3);
		build(syn, options, 2 + cookie);
		syn[13] = TCP_SYN;
		assert_int_equal(tcp_parse(syn, ALIGN_UP(22 + cookie, 4u), &segment), DROP_NONE);
		assert_int_equal(segment.options, right ? TCP_OPT_FASTOPEN : 0);
		assert_int_equal(segment.cookie_bytes, right ? cookie : 0);
		syn[13] = TCP_ACK;
		assert_int_equal(tcp_parse(syn, ALIGN_UP(22 + cookie, 4u), &again), DROP_NONE);
		assert_int_equal(again.options, 0);
		if (!right)
			continue;
		segment.options |= TCP_OPT_MSS | TCP_OPT_TIMESTAMPS | TCP_OPT_SACK_PERMITTED | TCP_OPT_WSCALE;
		segment.mss = 1400;
		segment.flags = TCP_SYN;
		assert_int_equal(tcp_emit(packet, &segment), 40 + ALIGN_UP(2 + cookie, 4u));
		assert_int_equal(tcp_parse(packet, 40 + ALIGN_UP(2 + cookie, 4u), &again), DROP_NONE);
		assert_int_equal(again.options, segment.options);
		assert_int_equal(again.cookie_bytes, cookie);
		assert_memory_equal(again.cookie, options + 2, cookie);
	}
}

static void absent_options_are_zero(void **state)
{
	struct tcp_segment segment;

	(void)state;
	memset(&segment, 0xff, sizeof(segment));
	assert_int_equal(PARSE(&segment, 1, 1, 1, 1), DROP_NONE);
	assert_int_equal(segment.options | segment.wscale | segment.sack_blocks | segment.mss, 0);
	assert_int_equal(segment.ts_val | segment.ts_ecr, 0);
	assert_null(segment.sack);
}

static const uint8_t sack_bytes[32] = {0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4,
				       0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0, 8};

static struct tcp_segment random_segment(uint8_t options)
{
	return (struct tcp_segment){
		.seq = (uint32_t)test_random(),
		.ack = (uint32_t)test_random(),
		.source_port = (uint16_t)(1 + test_random_below(65535)),
		.destination_port = (uint16_t)(1 + test_random_below(65535)),
		.window = (uint16_t)test_random(),
		.urgent = (uint16_t)test_random(),
		.flags = (uint8_t)test_random(),
		.options = options,
		.wscale = (uint8_t)test_random_below(15),
		.sack_blocks = (uint8_t)test_random_below(5),
		.mss = (uint16_t)test_random(),
		.ts_val = (uint32_t)test_random(),
		.ts_ecr = (uint32_t)test_random(),
		.sack = sack_bytes,
	};
}

static void assert_same(const struct tcp_segment *in, const struct tcp_segment *out)
{
	assert_int_equal(in->seq, out->seq);
	assert_int_equal(in->ack, out->ack);
	assert_int_equal(in->source_port, out->source_port);
	assert_int_equal(in->destination_port, out->destination_port);
	assert_int_equal(in->window, out->window);
	assert_int_equal(in->urgent, out->urgent);
	assert_int_equal(in->flags, out->flags);
	assert_int_equal(out->mss, in->options & TCP_OPT_MSS ? in->mss : 0);
	assert_int_equal(out->wscale, in->options & TCP_OPT_WSCALE ? in->wscale : 0);
	assert_int_equal(out->ts_val, in->options & TCP_OPT_TIMESTAMPS ? in->ts_val : 0);
	assert_int_equal(out->ts_ecr, in->options & TCP_OPT_TIMESTAMPS ? in->ts_ecr : 0);
}

/* How many SACK blocks fit behind the other options of a set. */
static unsigned blocks_that_fit(const struct tcp_segment *in)
{
	unsigned used = (in->options & TCP_OPT_MSS ? 4 : 0) + (in->options & TCP_OPT_WSCALE ? 4 : 0);

	if (in->options & TCP_OPT_TIMESTAMPS)
		used += 12;
	else if (in->options & TCP_OPT_SACK_PERMITTED)
		used += 4;
	return MIN_OF(in->sack_blocks, (40 - used - 4) / 8);
}

/* Every set of options, random fields; nothing is written behind the header. */
static void round_trip(void **state)
{
	struct guarded guarded = guarded_make();

	(void)state;
	for (unsigned round = 0; round < 320000; round++) {
		struct tcp_segment in = random_segment(round % 32), out;
		uint32_t bytes = tcp_header_bytes(in.options, in.sack_blocks);
		uint8_t *at = guarded.end - bytes;
		unsigned blocks = in.options & TCP_OPT_SACK ? blocks_that_fit(&in) : 0;

		assert_int_equal(bytes % 4, 0);
		assert_in_range(bytes, TCP_HEADER_BYTES, TCP_HEADER_BYTES_MAX);
		memset(at, 0xa5, bytes);
		assert_int_equal(tcp_emit(at, &in), bytes);
		assert_int_equal(get16(at + 16), 0);
		assert_int_equal(tcp_parse(at, bytes, &out), DROP_NONE);
		assert_same(&in, &out);
		assert_int_equal(out.header_bytes, bytes);
		assert_int_equal(out.options, blocks ? in.options : in.options & ~TCP_OPT_SACK);
		assert_int_equal(out.sack_blocks, blocks);
		if (blocks)
			assert_memory_equal(out.sack, sack_bytes, 8 * blocks);
	}
	guarded_free(guarded);
}

static void header_bytes_of_the_usual(void **state)
{
	const uint8_t all = TCP_OPT_MSS | TCP_OPT_SACK_PERMITTED | TCP_OPT_TIMESTAMPS | TCP_OPT_WSCALE;

	(void)state;
	assert_int_equal(tcp_header_bytes(0, 4), 20);
	assert_int_equal(tcp_header_bytes(TCP_OPT_TIMESTAMPS, 0), 32);
	assert_int_equal(tcp_header_bytes(all, 0), 40);
	assert_int_equal(tcp_header_bytes(TCP_OPT_MSS, 0), 24);
	assert_int_equal(tcp_header_bytes(TCP_OPT_SACK, 4), 56);
	assert_int_equal(tcp_header_bytes(TCP_OPT_SACK, 0), 20);
	assert_int_equal(tcp_header_bytes(TCP_OPT_SACK | TCP_OPT_TIMESTAMPS, 4), 60);
}

/* The bytes that a peer sees, in the promised order. */
/* proves RFC9293-MUST-69 */
static void emitted_bytes(void **state)
{
	static const uint8_t syn[] = {2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 3, 3, 9};
	static const uint8_t sack[] = {1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8,
				       1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2};
	struct tcp_segment segment = {
		.flags = TCP_SYN,
		.options = TCP_OPT_MSS | TCP_OPT_SACK_PERMITTED | TCP_OPT_TIMESTAMPS | TCP_OPT_WSCALE,
		.mss = 1460,
		.wscale = 9,
		.ts_val = 0x01020304,
		.ts_ecr = 0x05060708,
		.sack = sack_bytes,
	};
	uint8_t packet[TCP_HEADER_BYTES_MAX];

	(void)state;
	assert_int_equal(tcp_emit(packet, &segment), 40);
	assert_memory_equal(packet + 20, syn, sizeof(syn));
	segment.flags = TCP_ACK;
	segment.options = TCP_OPT_TIMESTAMPS | TCP_OPT_SACK;
	segment.sack_blocks = 1;
	assert_int_equal(tcp_emit(packet, &segment), 44);
	assert_memory_equal(packet + 20, sack, sizeof(sack));
}

/* Header and payload of all sizes, odd ones too; one flipped bit anywhere is seen. */
/* proves RFC9293-MUST-2, RFC9293-MUST-3 */
static void checksums(void **state)
{
	struct guarded guarded = guarded_make();

	(void)state;
	for (uint32_t round = 0; round < 3000; round++) {
		struct tcp_segment segment = random_segment(round % 32);
		uint32_t payload_bytes = round < 1500 ? round : test_random_below(65000);
		uint32_t header_bytes = tcp_header_bytes(segment.options, segment.sack_blocks);
		uint32_t bytes = header_bytes + payload_bytes, bit, payload_sum;
		uint32_t source = (uint32_t)test_random(), destination = (uint32_t)test_random();
		uint8_t *at = guarded.end - bytes, payload[2048];

		test_random_bytes(payload, MIN_OF(payload_bytes, sizeof(payload)));
		memset(at + header_bytes, 0x77, payload_bytes);
		tcp_emit(at, &segment);
		if (payload_bytes <= sizeof(payload))
			payload_sum = csum_copy(0, at + header_bytes, payload, payload_bytes);
		else
			payload_sum = csum_add(0, at + header_bytes, payload_bytes);
		tcp_store_checksum(at, header_bytes, payload_bytes, payload_sum, source, destination);
		assert_int_equal(naive_tcp_checksum(at, bytes, source, destination), 0);
		assert_true(tcp_checksum_good(at, bytes, source, destination));
		bit = test_random_below(bytes * 8);
		at[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(tcp_checksum_good(at, bytes, source, destination));
		at[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(tcp_checksum_good(at, bytes, source ^ 1, destination));
		assert_false(tcp_checksum_good(at, bytes, source, destination ^ 0x80000000));
	}
	guarded_free(guarded);
}

/* The option parser once more, as plainly as it can be said: bits of what is there, -1
 * when malformed. */
static int plain_options(const uint8_t *at, size_t bytes)
{
	static const uint8_t lengths[9] = {0, 0, 4, 3, 2, 0, 0, 0, 10};
	static const uint8_t bits[9] = {
		0, 0, TCP_OPT_MSS,       TCP_OPT_WSCALE, TCP_OPT_SACK_PERMITTED, TCP_OPT_SACK,
		0, 0, TCP_OPT_TIMESTAMPS};
	size_t length;

	if (bytes == 0 || at[0] == 0)
		return 0;
	if (at[0] == 1)
		return plain_options(at + 1, bytes - 1);
	if (bytes == 1)
		return -1;
	length = at[1];
	if (length < 2 || length > bytes)
		return -1;
	if (at[0] < 9) {
		if (lengths[at[0]] && lengths[at[0]] != length)
			return -1;
		if (at[0] == 5 && (length % 8 != 2 || length == 2))
			return -1;
	}
	if (plain_options(at + length, bytes - length) < 0)
		return -1;
	if (at[0] == 28 && length == 4) /* any other length of it means nothing */
		return TCP_OPT_USER_TIMEOUT | plain_options(at + length, bytes - length);
	return (at[0] < 9 ? bits[at[0]] : 0) | plain_options(at + length, bytes - length);
}

/* Random bytes that look like options often enough to go deep. */
static void hostile_options(uint8_t *at, size_t bytes)
{
	static const uint8_t likely_bytes[] = {0, 1, 2, 4, 3, 3, 4, 2, 5, 10, 18, 8, 10, 10, 8, 255, 1, 1};

	test_random_bytes(at, bytes);
	for (size_t i = 0; i < bytes; i++)
		if (at[i] & 1)
			at[i] = likely_bytes[test_random_below(sizeof(likely_bytes))];
}

static void hostile_bytes(void **state)
{
	struct guarded guarded = guarded_make();
	unsigned seen[DROP_COUNT] = {0};

	(void)state;
	for (unsigned round = 0; round < 3000000; round++) {
		size_t bytes = test_random_below(70);
		uint8_t *at = guarded.end - bytes;
		struct tcp_segment segment;
		enum drop_reason reason;

		hostile_options(at, bytes);
		if (bytes > 12 && round % 16)
			at[12] = (uint8_t)((4 + test_random_below((uint32_t)bytes / 4)) << 4);
		reason = tcp_parse(at, bytes, &segment);
		seen[reason]++;
		if (reason == DROP_NONE || reason == DROP_TCP_OPTIONS) {
			int want = plain_options(at + 20, (size_t)(at[12] >> 4) * 4 - 20);

			assert_int_equal(reason, want < 0 ? DROP_TCP_OPTIONS : DROP_NONE);
			if (want >= 0)
				assert_int_equal(segment.options & ~TCP_OPT_FASTOPEN, want);
		}
		if (reason == DROP_NONE)
			assert_int_equal(segment.header_bytes + segment.payload_bytes, bytes);
	}
	for (unsigned reason = DROP_TCP_SHORT; reason <= DROP_TCP_OPTIONS; reason++)
		assert_true(seen[reason] > 0);
	assert_true(seen[DROP_NONE] > 10000);
	guarded_free(guarded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_header),
		cmocka_unit_test(every_truncation),
		cmocka_unit_test(header_lengths),
		cmocka_unit_test(port_zero),
		cmocka_unit_test(every_flag),
		cmocka_unit_test(options_of_a_syn),
		cmocka_unit_test(timestamps_at_every_offset),
		cmocka_unit_test(option_length_zero_and_one),
		cmocka_unit_test(option_beyond_the_header),
		cmocka_unit_test(wrong_length_of_a_known_option),
		cmocka_unit_test(end_of_options_in_the_middle),
		cmocka_unit_test(unknown_options_are_skipped),
		cmocka_unit_test(wscale_is_limited),
		cmocka_unit_test(sack_of_one_to_four_blocks),
		cmocka_unit_test(user_timeout),
		cmocka_unit_test(fast_open),
		cmocka_unit_test(absent_options_are_zero),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(header_bytes_of_the_usual),
		cmocka_unit_test(emitted_bytes),
		cmocka_unit_test(checksums),
		cmocka_unit_test(hostile_bytes),
	};

	return cmocka_run_group_tests_name("tcp_wire", tests, NULL, NULL);
}
