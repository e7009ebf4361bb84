/* test_attack.c - segments, frames and messages that mean harm, or are broken: each is dropped with its
 * reason (RFC 5961, RFC 7323 section 5, RFC 5927, RFC 1122, design section 7). */
#include "harness.h"

#include "wire/arp.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"

#define IP  ETH_HEADER_BYTES
#define TCP (ETH_HEADER_BYTES + IPV4_HEADER_BYTES)

/* The connection lives and takes data at this number. */
static void still_works(struct test *t, uint32_t seq)
{
	expect_no_event(t);
	inject(t, "P. seq %u ack 1 len 10", seq);
	expect_event(t, "data 10");
	expect_after(t, 40, ". seq 1 ack %u", seq + 10);
}

/* --- RFC 5961 --------------------------------------------------------------------------- */

/* proves RFC5961-01 */
static void reset_that_hits_exactly(void **state)
{
	struct test *t = begin_open();

	(void)state;
	mark(t);
	inject(t, "R seq 1");
	expect_event(t, "close reset");
	assert_int_equal(counted(t, tcp_resets_in), 1);
	test_finish(t);
}

/* proves RFC5961-01 */
static void reset_in_the_window_is_challenged(void **state)
{
	struct test *t = begin_open();

	(void)state;
	mark(t);
	inject(t, "R seq 2");
	expect(t, ". seq 1 ack 1");
	expect_drop(t, TCP_RST_IGNORED);
	pass_ms(t, 2000);
	inject(t, "R seq 65535");
	expect(t, ". seq 1 ack 1");
	expect_drop(t, TCP_RST_IGNORED);
	assert_int_equal(counted(t, tcp_challenge_acks), 2);
	still_works(t, 1);
	test_finish(t);
}

/* proves RFC5961-01 */
static void reset_outside_the_window_is_dropped(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, "R seq 0");
	expect_nothing(t);
	expect_drop(t, TCP_RST_IGNORED);
	inject(t, "R seq 65536");
	expect_nothing(t);
	expect_drop(t, TCP_RST_IGNORED);
	inject(t, "R seq 2147483649");
	expect_nothing(t);
	expect_drop(t, TCP_RST_IGNORED);
	still_works(t, 1);
	test_finish(t);
}

/* proves RFC5961-02 */
static void syn_in_a_connection_is_challenged(void **state)
{
	static const uint32_t seqs[] = {0, 1, 100, 65535, 70000, 0x80000000u};
	struct test *t = begin_open();

	(void)state;
	mark(t);
	for (unsigned i = 0; i < ARRAY_COUNT(seqs); i++) {
		uint32_t before = t->peer->snd_nxt;

		inject(t, "S seq %u win 1000 mss 1460", seqs[i]);
		t->peer->snd_nxt = before;
		expect(t, ". seq 1 ack 1");
		expect_drop(t, TCP_SYN_IN_CONNECTION);
		pass_ms(t, 2000);
	}
	assert_int_equal(counted(t, tcp_challenge_acks), ARRAY_COUNT(seqs));
	still_works(t, 1);
	test_finish(t);
}

/* Section 5: SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT. */
/* proves RFC9293-MAY-12, RFC9293-EV-07, RFC5961-03 */
static void acknowledgement_of_what_was_never_sent(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, "P. seq 1 ack 2 len 10");
	t->peer->snd_nxt = 1;
	expect(t, ". seq 1 ack 1");
	expect_drop(t, TCP_ACK_INVALID);
	expect_no_event(t);
	pass_ms(t, 2000);
	inject(t, "P. seq 1 aack %u len 10", t->peer->irs + 0x7fffffffu);
	t->peer->snd_nxt = 1;
	expect(t, ". seq 1 ack 1");
	expect_drop(t, TCP_ACK_INVALID);
	still_works(t, 1);
	test_finish(t);
}

/* proves RFC9293-MAY-12, RFC5961-03 */
static void acknowledgement_that_is_too_old(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, "P. seq 1 aack %u len 10", t->peer->irs - 70000u);
	t->peer->snd_nxt = 1;
	expect(t, ". seq 1 ack 1");
	expect_drop(t, TCP_ACK_INVALID);
	still_works(t, 1);
	test_finish(t);
}

/* proves RFC5961-04 */
static void challenges_are_limited(void **state)
{
	struct test *t = begin_open();
	unsigned answers;

	(void)state;
	ignore_drops(t, DROP_TCP_RST_IGNORED);
	ignore_drops(t, DROP_REPLY_RATE);
	for (unsigned i = 0; i < 5000; i++) {
		uint8_t frame[FRAME_ROOM];

		inject_raw(t, frame, build(t, frame, "R seq 100"));
	}
	answers = discard_out(t);
	assert_in_range(answers, 1, 1000);
	assert_true(stack_counters(t->stack)->drops[DROP_REPLY_RATE] > 0);
	pass_ms(t, 5000); /* and come back */
	inject(t, "R seq 100");
	expect(t, ". seq 1 ack 1");
	still_works(t, 1);
	test_finish(t);
}

static void resets_are_limited(void **state)
{
	struct test *t = begin_open();

	(void)state;
	ignore_drops(t, DROP_TCP_NO_FLOW);
	ignore_drops(t, DROP_TCP_NO_LISTENER);
	ignore_drops(t, DROP_REPLY_RATE);
	use_peer(t, 1);
	for (unsigned i = 0; i < 20000; i++) {
		uint8_t frame[FRAME_ROOM];

		inject_raw(t, frame, build(t, frame, ". seq 100 ack %u", i));
		t->out_count = MIN_OF(t->out_count, 3000);
	}
	assert_true(discard_out(t) < 3000);
	assert_true(stack_counters(t->stack)->drops[DROP_REPLY_RATE] > 0);
	use_peer(t, 0);
	still_works(t, 1);
	test_finish(t);
}

/* --- acceptability ------------------------------------------------------------------------- */

/* proves RFC9293-EV-06 */
static void segment_without_ack(void **state)
{
	struct test *t = begin_open();

	(void)state;
	inject(t, "P seq 1 len 10");
	t->peer->snd_nxt = 1;
	expect_nothing(t);
	expect_drop(t, TCP_NO_ACK);
	inject(t, "- seq 1");
	expect_nothing(t);
	expect_drop(t, TCP_NO_ACK);
	still_works(t, 1);
	test_finish(t);
}

static void every_set_of_flags(void **state)
{
	struct test *t = begin_open();

	(void)state;
	for (unsigned i = 1; i < DROP_COUNT; i++)
		ignore_drops(t, (enum drop_reason)i);
	for (unsigned flags = 0; flags < 256; flags++) {
		uint8_t frame[FRAME_ROOM];
		uint32_t bytes = build(t, frame, ". seq 3000 ack 1 len 20");

		frame[TCP + 13] = (uint8_t)flags;
		fix_checksums(frame, bytes);
		inject_raw(t, frame, bytes);
		stack_verify(t->stack);
		discard_out(t);
		discard_events(t); /* URG */
	}
	test_finish(t);
}

/* --- timestamps -------------------------------------------------------------------------------- */

/* RFC 7323 section 5.3: older than the last one: an acknowledgement, and nothing else. */
/* proves RFC7323-11 */
static void paws_drops_old_timestamps(void **state)
{
	struct test *t = begin_with_timestamps();

	(void)state;
	still_works(t, 1);
	inject(t, "P. seq 11 ack 1 len 10 ts -1000 fill 0");
	t->peer->snd_nxt = 11;
	expect(t, ". seq 1 ack 11");
	expect_drop(t, TCP_OLD_DUPLICATE);
	still_works(t, 11);
	test_finish(t);
}

/* proves RFC7323-11 */
static void paws_does_not_stop_resets(void **state)
{
	struct test *t = begin_with_timestamps();

	(void)state;
	inject(t, "R seq 1 ts -1000");
	expect_event(t, "close reset");
	test_finish(t);
}

static void equal_timestamps_are_good(void **state)
{
	struct test *t = begin_with_timestamps();

	(void)state;
	t->app.quiet = true;
	for (unsigned i = 0; i < 4; i += 2) {
		inject(t, ". seq %u ack 1 len 1460 ts 0", 1 + 1460 * i);
		inject(t, ". seq %u ack 1 len 1460 ts 0", 1461 + 1460 * i);
		expect(t, ". seq 1 ack %u", 2921 + 1460 * i);
	}
	assert_int_equal(t->slots[0].rx_bytes, 4 * 1460);
	test_finish(t);
}

/* RFC 7323 section 3.2: without the option what was agreed on is broken; a reset needs none. */
/* proves RFC7323-07 */
static void missing_timestamp(void **state)
{
	struct test *t = begin_with_timestamps();

	(void)state;
	inject(t, "P. seq 1 ack 1 len 10 nots");
	t->peer->snd_nxt = 1;
	expect_nothing(t);
	expect_drop(t, TCP_TIMESTAMP_MISSING);
	still_works(t, 1);
	inject(t, "R seq 11 nots");
	expect_event(t, "close reset");
	test_finish(t);
}

/* RFC 7323 section 4.3: what is echoed is the timestamp of the segment that advanced the window, not of one
 * that came out of order. */
/* proves RFC7323-06, RFC7323-10 */
static void echoed_timestamps(void **state)
{
	struct test *t = begin_with_timestamps();

	(void)state;
	t->app.quiet = true;
	pass_ms(t, 100);
	inject(t, ". seq 1 ack 1 len 10"); /* at 100, acknowledged later */
	pass_ms(t, 10);
	inject(t, ". seq 11 ack 1 len 10");
	pass_ms(t, 41);
	expect(t, ". seq 1 ack 21 ecr 100"); /* the older of the two that it acknowledges */
	inject(t, ". seq 31 ack 1 len 10");  /* out of order */
	expect(t, ". seq 1 ack 21 ecr 100");
	pass_ms(t, 10);
	inject(t, ". seq 21 ack 1 len 10"); /* at 162, and it fills the hole */
	expect(t, ". seq 1 ack 41 ecr 161");
	test_finish(t);
}

/* The peer's clock stood for more than 24 days of silence: its timestamps may have wrapped (section 5.5). */
/* proves RFC7323-12 */
static void timestamps_after_a_very_long_silence(void **state)
{
	struct test *t = begin_with_timestamps();

	(void)state;
	pass_ms(t, 25ULL * 24 * 3600 * 1000);
	still_works(t, 1);
	still_works(t, 11); /* the old one is forgotten */
	test_finish(t);
}

/* Section 5.3 (R2, R3): what is not in the window, or acknowledges what was never sent, sets no timestamp.
 * Else one segment from somebody who sees nothing would have all of the peer's dropped. */
/* proves RFC7323-10 */
static void timestamps_of_refused_segments_teach_nothing(void **state)
{
	struct test *t = begin_with_timestamps();

	(void)state;
	inject(t, ". seq -5000 ack 1 ts 1000000");
	t->peer->snd_nxt = 1;
	expect(t, ". seq 1 ack 1");
	expect_drop(t, TCP_OUT_OF_WINDOW);
	still_works(t, 1);
	inject(t, ". seq 11 ack 5000 ts 1000000");
	expect(t, ". seq 1 ack 11");
	expect_drop(t, TCP_ACK_INVALID);
	still_works(t, 11);
	test_finish(t);
}

/* A peer that has lost its state and starts anew without the option must learn that we have not (RFC 5961
 * section 4, RFC 9293 section 3.5.1). */
static void syn_without_timestamps_is_challenged(void **state)
{
	struct test *t = begin_with_timestamps();

	(void)state;
	inject(t, "S seq 5000 win 1000 mss 1460 nots");
	t->peer->snd_nxt = 1;
	expect(t, ". seq 1 ack 1");
	expect_drop(t, TCP_SYN_IN_CONNECTION);
	still_works(t, 1);
	test_finish(t);
}

/* --- broken headers: each layer ------------------------------------------------------------------- */

struct damage {
	enum drop_reason reason;
	uint32_t at;
	uint8_t value;
	bool fix;
};

/* proves RFC9293-MUST-3, RFC1122-IP-01, RFC1122-IP-02, RFC1122-IP-04, RFC1122-IP-05 */
static void broken_headers(void **state)
{
	static const struct damage damages[] = {
		{DROP_ETH_NOT_OURS, 5, 0x77, false},
		{DROP_ETH_TYPE, 12, 0x86, false},
		{DROP_IP_VERSION, IP, 0x65, true},
		{DROP_IP_HEADER_LENGTH, IP, 0x44, false},
		{DROP_IP_HEADER_LENGTH, IP, 0x40, false},
		{DROP_IP_TOTAL_LENGTH, IP + 2, 0x7f, true},
		{DROP_IP_CHECKSUM, IP + 10, 0x5a, false},
		{DROP_IP_NOT_OURS, IP + 19, 0x77, true},
		{DROP_IP_BAD_SOURCE, IP + 12, 0xe0, true}, /* multicast */
		{DROP_IP_BAD_SOURCE, IP + 12, 0x7f, true}, /* loopback */
		{DROP_IP_BAD_SOURCE, IP + 12, 0x00, true},
		{DROP_IP_BAD_SOURCE, IP + 12, 0xf0, true},     /* class E */
		{DROP_FRAGMENT_MALFORMED, IP + 6, 0x20, true}, /* more fragments behind an odd length */
		{DROP_FRAGMENT_TINY, IP + 7, 0x02, true},      /* an offset within the TCP header */
		{DROP_IP_PROTOCOL, IP + 9, 17, true},
		{DROP_IP_PROTOCOL, IP + 9, 0, true},
		{DROP_TCP_HEADER_LENGTH, TCP + 12, 0x40, true},
		{DROP_TCP_HEADER_LENGTH, TCP + 12, 0x00, true},
		{DROP_TCP_HEADER_LENGTH, TCP + 12, 0xf0, true},
		{DROP_TCP_CHECKSUM, TCP + 16, 0x99, false},
		{DROP_TCP_CHECKSUM, TCP + 20, 0x99, false},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(damages); i++) {
		const struct damage *damage = &damages[i];
		struct test *t = begin_open();
		uint8_t frame[FRAME_ROOM];
		uint32_t bytes = build(t, frame, "P. seq 1 ack 1 len 10");

		t->peer->snd_nxt = 1;
		if (frame[damage->at] == damage->value)
			frame[damage->at] ^= 1;
		else
			frame[damage->at] = damage->value;
		if (damage->fix && damage->reason != DROP_IP_TOTAL_LENGTH)
			fix_checksums(frame, bytes);
		if (damage->reason == DROP_IP_TOTAL_LENGTH) { /* the header's own sum only */
			uint8_t protocol = frame[IP + 9];

			frame[IP + 9] = 253;
			fix_checksums(frame, bytes);
			frame[IP + 9] = protocol;
			put16(frame + IP + 10, (uint16_t)(get16(frame + IP + 10) + 253 - protocol));
		}
		inject_raw(t, frame, bytes);
		if (damage->reason == DROP_IP_PROTOCOL) /* an error goes back: packet/test_icmp_errors.c */
			discard_out(t);
		expect_nothing(t);
		expect_drop_at(t, "broken_headers, case", (int)i, damage->reason);
		still_works(t, 1);
		test_finish(t);
	}
}

static void truncated_frames(void **state)
{
	struct test *t = begin_open();
	uint8_t frame[FRAME_ROOM];
	uint32_t bytes = build(t, frame, "P. seq 1 ack 1 len 10");

	(void)state;
	t->peer->snd_nxt = 1;
	for (uint32_t cut = 0; cut < bytes; cut++) {
		inject_raw(t, frame, cut);
		expect_nothing(t);
		expect_drop_at(t, "truncated_frames, bytes", (int)cut,
			       cut < ETH_HEADER_BYTES ? DROP_ETH_SHORT
			       : cut < TCP            ? DROP_IP_SHORT
						      : DROP_IP_TOTAL_LENGTH);
	}
	inject_raw(t, frame, bytes);
	expect_event(t, "data 10");
	expect_after(t, 40, ". seq 1 ack 11");
	test_finish(t);
}

/* A TCP header that the IP packet does not hold. */
static void truncated_tcp_header(void **state)
{
	struct test *t = begin_open();
	uint8_t frame[FRAME_ROOM];

	(void)state;
	for (uint32_t cut = 0; cut < TCP_HEADER_BYTES; cut++) {
		uint32_t bytes = build(t, frame, ". seq 1 ack 1");

		put16(frame + IP + 2, (uint16_t)(IPV4_HEADER_BYTES + cut));
		fix_checksums(frame, bytes);
		inject_raw(t, frame, TCP + cut);
		expect_drop_at(t, "truncated_tcp_header, bytes", (int)cut, DROP_TCP_SHORT);
	}
	still_works(t, 1);
	test_finish(t);
}

static void link_padding_is_ignored(void **state)
{
	struct test *t = begin_open();
	uint8_t frame[FRAME_ROOM];
	uint32_t bytes = build(t, frame, ". seq 1 ack 1 len 1");

	(void)state;
	memset(frame + bytes, 0xff, 60);
	inject_raw(t, frame, bytes + 5);
	expect_event(t, "data 1");
	expect_after(t, 40, ". seq 1 ack 2");
	test_finish(t);
}

/* proves RFC9293-MUST-50, RFC1122-IP-11 */
static void ip_options_are_skipped(void **state)
{
	struct test *t = begin_open();
	uint8_t frame[FRAME_ROOM], longer[FRAME_ROOM];
	uint32_t bytes = build(t, frame, "P. seq 1 ack 1 len 10");

	(void)state;
	memcpy(longer, frame, TCP);
	memset(longer + TCP, 1, 8); /* no operation */
	memcpy(longer + TCP + 8, frame + TCP, bytes - TCP);
	longer[IP] = 0x47;
	put16(longer + IP + 2, (uint16_t)(bytes - IP + 8));
	fix_checksums(longer, bytes + 8);
	inject_raw(t, longer, bytes + 8);
	expect_event(t, "data 10");
	expect_after(t, 40, ". seq 1 ack 11");
	test_finish(t);
}

/* Three published stacks hang on an option of length 0 or 1 (design section 7). */
/* proves RFC9293-MUST-7 */
static void trap_option_of_length_0_or_1(void **state)
{
	struct test *t = begin_with_timestamps();
	uint8_t frame[FRAME_ROOM];

	(void)state;
	for (unsigned length = 0; length < 2; length++) {
		for (unsigned kind = 2; kind < 256; kind++) {
			uint32_t bytes = build(t, frame, ". seq 1 ack 1");

			frame[TCP + 20] = (uint8_t)kind;
			frame[TCP + 21] = (uint8_t)length;
			fix_checksums(frame, bytes);
			inject_raw(t, frame, bytes);
			expect_nothing(t);
			expect_drop(t, TCP_OPTIONS);
		}
	}
	still_works(t, 1);
	test_finish(t);
}

/* proves RFC9293-MUST-7 */
static void option_beyond_the_header(void **state)
{
	struct test *t = begin_with_timestamps();
	uint8_t frame[FRAME_ROOM];
	uint32_t bytes = build(t, frame, ". seq 1 ack 1");

	(void)state;
	memset(frame + TCP + 20, 1, 12);
	frame[TCP + 30] = 8;
	frame[TCP + 31] = 10;
	fix_checksums(frame, bytes);
	inject_raw(t, frame, bytes);
	expect_drop(t, TCP_OPTIONS);
	bytes = build(t, frame, ". seq 1 ack 1");
	memset(frame + TCP + 20, 1, 12);
	frame[TCP + 31] = 8; /* a kind without its length */
	fix_checksums(frame, bytes);
	inject_raw(t, frame, bytes);
	expect_drop(t, TCP_OPTIONS);
	still_works(t, 1);
	test_finish(t);
}

/* proves RFC9293-MUST-5, RFC9293-MUST-6 */
static void unknown_options_are_skipped(void **state)
{
	struct test *t = begin_open();
	uint8_t frame[FRAME_ROOM];
	uint32_t bytes = build(t, frame, ". seq 1 ack 1 len 12"); /* its payload becomes options */

	(void)state;
	t->peer->snd_nxt = 1;
	frame[TCP + 12] = 0x80;
	memset(frame + TCP + 20, 0, 12);
	frame[TCP + 20] = 254;
	frame[TCP + 21] = 10;
	fix_checksums(frame, bytes);
	inject_raw(t, frame, bytes);
	expect_nothing(t);
	still_works(t, 1);
	test_finish(t);
}

static void port_zero(void **state)
{
	struct test *t = test_begin();

	(void)state;
	test_start(t);
	t->peer->port = 0;
	inject(t, "S seq 0 win 1000 mss 1460");
	expect_nothing(t);
	expect_drop(t, TCP_PORT_ZERO);
	t->peer->port = 1234;
	t->peer->stack_port = 0;
	inject(t, "S seq 0 win 1000 mss 1460");
	expect_nothing(t);
	expect_drop(t, TCP_PORT_ZERO);
	test_finish(t);
}

/* --- addresses ---------------------------------------------------------------------------------------- */

/* From itself to itself: the land attack. */
/* proves RFC1122-IP-05 */
static void source_is_our_own_address(void **state)
{
	struct test *t = test_begin();

	(void)state;
	test_start(t);
	t->peer->ip = STACK_IP;
	t->peer->port = SERVER_PORT;
	inject(t, "S seq 0 win 1000 mss 1460");
	expect_nothing(t);
	expect_drop(t, IP_BAD_SOURCE);
	assert_int_equal(usage(t).half_open, 0);
	test_finish(t);
}

/* RFC 1122 section 4.2.3.10: a SYN to or from a broadcast or multicast address is dropped in silence. */
/* proves RFC9293-MUST-57, RFC9293-MUST-63, RFC1122-IP-05, RFC1122-IP-19 */
static void broadcast_addresses(void **state)
{
	static const uint32_t bad_sources[] = {0xffffffffu, 0x0a0000ffu, 0xe0000001u};
	struct test *t = test_begin();
	uint8_t frame[FRAME_ROOM];
	uint32_t bytes;

	(void)state;
	test_start(t);
	for (unsigned i = 0; i < ARRAY_COUNT(bad_sources); i++) {
		t->peer->ip = bad_sources[i];
		t->peer->snd_nxt = 0;
		inject(t, "S seq 0 win 1000 mss 1460");
		expect_nothing(t);
		expect_drop(t, IP_BAD_SOURCE);
	}
	t->peer->ip = PEER_IP;
	for (unsigned i = 0; i < ARRAY_COUNT(bad_sources); i++) {
		t->peer->snd_nxt = 0;
		bytes = build(t, frame, "S seq 0 win 1000 mss 1460");
		put32(frame + IP + 16, bad_sources[i]);
		fix_checksums(frame, bytes);
		inject_raw(t, frame, bytes);
		expect_nothing(t);
		expect_drop(t, IP_NOT_OURS);
	}
	/* Our address, but a broadcast frame. */
	t->peer->snd_nxt = 0;
	bytes = build(t, frame, "S seq 0 win 1000 mss 1460");
	memset(frame, 0xff, 6);
	inject_raw(t, frame, bytes);
	expect_nothing(t);
	expect_drop(t, ETH_NOT_OURS);
	test_finish(t);
}

/* --- ICMP against TCP (RFC 5927) ----------------------------------------------------------------------- */

/* proves RFC9293-MUST-54, RFC9293-SHLD-26, RFC1122-ICMP-03 */
static void hard_error_in_flight_ends_a_connect(void **state)
{
	struct test *t = test_begin();
	struct tcp_segment segment;

	(void)state;
	t->active = true;
	test_start(t);
	app_connect(t, 5000);
	next_segment(t, &segment);
	inject_icmp_error(t, ICMP_UNREACHABLE, ICMP_CODE_PORT_UNREACHABLE, 0, 0);
	assert_int_equal(t->event_count, 1);
	assert_true(t->slots[0].closed);
	assert_true(t->slots[0].reason == C10M_CLOSE_REFUSED || t->slots[0].reason == C10M_CLOSE_UNREACHABLE);
	discard_events(t);
	test_finish(t);
}

/* RFC 5927 section 6.3, RFC 9293 section 3.9.2.2: an established connection is not ended by a message that
 * anybody can forge. */
/* proves RFC9293-MUST-56, RFC1122-ICMP-05, RFC1122-ICMP-07, RFC1122-ICMP-08 */
static void errors_do_not_end_established_connections(void **state)
{
	static const uint8_t codes[] = {
		ICMP_CODE_NET_UNREACHABLE,  ICMP_CODE_HOST_UNREACHABLE,    ICMP_CODE_PROTOCOL_UNREACHABLE,
		ICMP_CODE_PORT_UNREACHABLE, ICMP_CODE_SOURCE_ROUTE_FAILED,
	};
	struct test *t = begin_open();

	(void)state;
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 1 len 100");
	mark(t);
	for (unsigned i = 0; i < ARRAY_COUNT(codes); i++)
		inject_icmp_error(t, ICMP_UNREACHABLE, codes[i], 0, 1);
	inject_icmp_error(t, ICMP_TIME_EXCEEDED, 0, 0, 1);
	inject_icmp_error(t, ICMP_PARAMETER_PROBLEM, 0, 0, 1);
	assert_int_equal(counted(t, tcp_soft_errors), ARRAY_COUNT(codes) + 2);
	assert_int_equal(counted(t, ip_hops_exceeded), 1);
	inject(t, ". seq 1 ack 101");
	inject(t, "P. seq 1 ack 101 len 10");
	expect_event(t, "data 10");
	expect_after(t, 40, ". seq 101 ack 11");
	test_finish(t);
}

/* proves RFC9293-MUST-54, RFC1122-ICMP-03 */
static void error_that_quotes_nothing_in_flight(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 1 len 100");
	inject_icmp_error(t, ICMP_UNREACHABLE, ICMP_CODE_FRAGMENTATION_NEEDED, 600, 5000);
	expect_drop(t, ICMP_NOT_IN_FLIGHT);
	inject_icmp_error(t, ICMP_UNREACHABLE, ICMP_CODE_FRAGMENTATION_NEEDED, 600, 0xffffff00u);
	expect_drop(t, ICMP_NOT_IN_FLIGHT);
	expect_nothing(t);
	t->peer->port++;
	inject_icmp_error(t, ICMP_UNREACHABLE, ICMP_CODE_FRAGMENTATION_NEEDED, 600, 1);
	expect_drop(t, ICMP_NO_FLOW);
	test_finish(t);
}

/* RFC 1191: smaller segments at once, and for what follows. */
/* proves RFC9293-MUST-54, RFC9293-SHLD-6, RFC1191-01 */
static void fragmentation_needed_lowers_the_mtu(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_send(t, 0, 2920);
	expect(t, ". seq 1 ack 1 len 1460");
	expect(t, ". seq 1461 ack 1 len 1460");
	mark(t);
	inject_icmp_error(t, ICMP_UNREACHABLE, ICMP_CODE_FRAGMENTATION_NEEDED, 1000, 1);
	assert_int_equal(counted(t, tcp_path_mtu_lowered), 1);
	expect(t, ". seq 1 ack 1 len 960");
	discard_out(t);
	inject(t, ". seq 1 ack 2921");
	discard_out(t);
	app_send(t, 0, 5000);
	expect(t, ". seq 2921 ack 1 len 960");
	discard_out(t);
	test_finish(t);
}

/* proves RFC1191-01 */
static void mtu_never_falls_below_the_minimum(void **state)
{
	static const uint32_t mtus[] = {0, 1, 20, 40, 67, 68};
	struct test *t = begin_open();
	struct tcp_segment segment;

	(void)state;
	c10m_set_nodelay(app_conn(t, 0), 1);
	for (unsigned i = 0; i < ARRAY_COUNT(mtus); i++) {
		app_send(t, 0, 1460);
		next_segment(t, &segment);
		inject_icmp_error(t, ICMP_UNREACHABLE, ICMP_CODE_FRAGMENTATION_NEEDED, mtus[i],
				  segment.seq - t->peer->irs);
		while (t->out_count > 0) {
			next_segment(t, &segment);
			assert_true(segment.payload_bytes > 0);
		}
		inject(t, ". seq 1 ack %u", 1 + 1460 * (i + 1));
		discard_out(t);
		ignore_drops(t, DROP_ICMP_MALFORMED);
	}
	app_send(t, 0, 1000);
	next_segment(t, &segment);
	assert_true(segment.payload_bytes >= 400); /* 552 or 576 less headers: lower is not believed */
	discard_out(t);
	test_finish(t);
}

static void mtu_is_never_raised_by_icmp(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_send(t, 0, 1460);
	expect(t, ". seq 1 ack 1 len 1460");
	mark(t);
	inject_icmp_error(t, ICMP_UNREACHABLE, ICMP_CODE_FRAGMENTATION_NEEDED, 9000, 1);
	assert_int_equal(counted(t, tcp_path_mtu_lowered), 0);
	inject(t, ". seq 1 ack 1461");
	app_send(t, 0, 3000);
	expect(t, ". seq 1461 ack 1 len 1460");
	discard_out(t);
	test_finish(t);
}

/* proves RFC9293-MUST-55, RFC6633-01 */
static void source_quench_is_ignored(void **state)
{
	struct test *t = begin_open();

	(void)state;
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 1 len 100");
	inject_icmp_error(t, ICMP_SOURCE_QUENCH, 0, 0, 1); /* RFC 6633 */
	expect_nothing(t);
	expect_drop(t, ICMP_UNKNOWN);
	inject_icmp_error(t, ICMP_REDIRECT, 1, PEER_IP + 1, 1);
	expect_nothing(t);
	expect_drop(t, ICMP_UNKNOWN);
	test_finish(t);
}

static void truncated_icmp_errors(void **state)
{
	struct test *t = begin_open();
	uint8_t frame[FRAME_ROOM], quote[28] = {0x45};

	(void)state;
	app_send(t, 0, 100);
	expect(t, "P. seq 1 ack 1 len 100");
	for (uint32_t bytes = 0; bytes < 28; bytes++) {
		uint32_t all = build_icmp(t, frame, ICMP_UNREACHABLE, 1, 0, quote, bytes);

		inject_raw(t, frame, all);
		expect_drop_at(t, "truncated_icmp_errors, bytes", (int)bytes, DROP_ICMP_MALFORMED);
	}
	quote[0] = 0x4f; /* the quoted header claims to be longer */
	inject_raw(t, frame, build_icmp(t, frame, ICMP_UNREACHABLE, 1, 0, quote, 28));
	expect_drop(t, ICMP_MALFORMED);
	test_finish(t);
}

/* Sequence comparison with plain '<' (design section 7): the same acts with numbers on both sides of the
 * wrap; this program runs with three starts, and here every distance to the wrap is tried. */
static void trap_comparisons_across_the_wrap(void **state)
{
	(void)state;
	for (uint32_t distance = 0; distance < 40; distance += 3) {
		struct test *t = test_begin();

		t->peer->iss = 0u - distance;
		test_start(t);
		open_server(t);
		t->app.quiet = true;
		inject(t, ". seq 21 ack 1 len 10");
		expect(t, ". seq 1 ack 1");
		inject(t, ". seq 11 ack 1 len 10");
		expect(t, ". seq 1 ack 1");
		inject(t, ". seq 1 ack 1 len 10");
		expect(t, ". seq 1 ack 31");
		inject(t, ". seq 1 ack 1 len 10");
		expect(t, ". seq 1 ack 31");
		expect_drop(t, TCP_OUT_OF_WINDOW);
		assert_int_equal(t->slots[0].rx_bytes, 30);
		test_finish(t);
	}
}

static const struct CMUnitTest tests[] = {
	TEST(reset_that_hits_exactly),
	TEST(reset_in_the_window_is_challenged),
	TEST(reset_outside_the_window_is_dropped),
	TEST(syn_in_a_connection_is_challenged),
	TEST(acknowledgement_of_what_was_never_sent),
	TEST(acknowledgement_that_is_too_old),
	TEST(challenges_are_limited),
	TEST(resets_are_limited),
	TEST(segment_without_ack),
	TEST(every_set_of_flags),
	TEST(paws_drops_old_timestamps),
	TEST(paws_does_not_stop_resets),
	TEST(equal_timestamps_are_good),
	TEST(missing_timestamp),
	TEST(echoed_timestamps),
	TEST(timestamps_after_a_very_long_silence),
	TEST(timestamps_of_refused_segments_teach_nothing),
	TEST(syn_without_timestamps_is_challenged),
	TEST(broken_headers),
	TEST(truncated_frames),
	TEST(truncated_tcp_header),
	TEST(link_padding_is_ignored),
	TEST(ip_options_are_skipped),
	TEST(trap_option_of_length_0_or_1),
	TEST(option_beyond_the_header),
	TEST(unknown_options_are_skipped),
	TEST(port_zero),
	TEST(source_is_our_own_address),
	TEST(broadcast_addresses),
	TEST(hard_error_in_flight_ends_a_connect),
	TEST(errors_do_not_end_established_connections),
	TEST(error_that_quotes_nothing_in_flight),
	TEST(fragmentation_needed_lowers_the_mtu),
	TEST(mtu_never_falls_below_the_minimum),
	TEST(mtu_is_never_raised_by_icmp),
	TEST(source_quench_is_ignored),
	TEST(truncated_icmp_errors),
	TEST(trap_comparisons_across_the_wrap),
};

PACKET_MAIN(tests)
