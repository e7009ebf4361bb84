/* test_fragments.c - datagrams in fragments (RFC 791, RFC 1122 section 3.3.2, RFC 1858, RFC 3128, RFC 5722).
 */
#include "harness.h"

#include <string.h>

#include "net/reassembly.h"
#include "stack/internal.h"
#include "wire/icmp.h"

#define LONG_ROOM 70000
#define IP_AT     ETH_HEADER_BYTES
#define BODY_AT   (ETH_HEADER_BYTES + IPV4_HEADER_BYTES)

/* A datagram as it was before somebody cut it. */
struct whole {
	uint8_t frame[LONG_ROOM];
	uint32_t bytes; /* of its payload */
	uint16_t id;
	uint8_t tos;
};

static struct whole whole; /* one at a time */

static void make(struct test *t, const char *format, unsigned len, uint16_t id)
{
	uint32_t bytes = build(t, whole.frame, format, len);

	whole.bytes = bytes - BODY_AT;
	whole.id = id;
	whole.tos = 0;
}

/* Injects the bytes from..to of the datagram's payload as one fragment. */
static void give_as(struct test *t, uint32_t source, uint32_t from, uint32_t to, bool more)
{
	static uint8_t frame[LONG_ROOM];
	struct ipv4_header ip = {
		.source = source,
		.destination = STACK_IP,
		.total_bytes = (uint16_t)(IPV4_HEADER_BYTES + to - from),
		.id = whole.id,
		.tos = whole.tos,
		.flags = more ? IPV4_MF : 0,
		.fragment_offset = (uint16_t)from,
		.ttl = 1,
		.protocol = whole.frame[IP_AT + 9],
	};

	memcpy(frame, whole.frame, ETH_HEADER_BYTES);
	ipv4_emit(frame + IP_AT, &ip);
	memcpy(frame + BODY_AT, whole.frame + BODY_AT + from, to - from);
	inject_raw(t, frame, BODY_AT + to - from);
}

static void give(struct test *t, uint32_t from, uint32_t to)
{
	give_as(t, PEER_IP, from, to, to < whole.bytes);
}

static struct reassembly *table_of(struct test *t)
{
	return &t->stack->core.net.reassembly;
}

/* All is as before: nothing is held, a connection works. */
static void expect_empty(struct test *t)
{
	assert_int_equal(table_of(t)->live, 0);
	assert_int_equal(pool_live(&table_of(t)->pages), 0);
}

static void expect_error(struct test *t, uint8_t type, uint8_t code)
{
	const struct out_frame *out = next_out(t);
	const uint8_t *icmp = out->data + BODY_AT;

	assert_int_equal(out->data[IP_AT + 9], IP_PROTOCOL_ICMP);
	assert_int_equal(get32(out->data + IP_AT + 16), PEER_IP);
	assert_int_equal(icmp[0], type);
	assert_int_equal(icmp[1], code);
	assert_int_equal(csum_finish(csum_add(0, icmp, out->bytes - BODY_AT)), 0);
}

/* At once, or after the delay. */
static void expect_acked(struct test *t, unsigned ack)
{
	pass_ms(t, 100);
	expect(t, ". seq 1 ack %u", ack);
}

/* --- in any order ---------------------------------------------------------------------- */

static void a_segment_in_two_fragments(void **state)
{
	struct test *t = begin_open();

	(void)state;
	make(t, "P. seq 1 ack 1 len %u", 1000, 7);
	give(t, 0, 520);
	expect_nothing(t);
	give(t, 520, whole.bytes);
	expect_event(t, "data 1000");
	expect_acked(t, 1001);
	assert_int_equal(counted(t, ip_fragments_in), 2);
	assert_int_equal(counted(t, ip_reassembled), 1);
	expect_empty(t);
	test_finish(t);
}

/* Every order of four fragments.
 * proves RFC1122-IP-07 */
static void fragments_in_any_order(void **state)
{
	static const uint32_t edges[] = {0, 400, 800, 808, 1220};
	struct test *t = begin_open();
	uint32_t ack = 1;

	(void)state;
	for (unsigned order = 0; order < 256; order++) {
		unsigned used = 0;

		for (unsigned i = 0; i < 4; i++)
			used |= 1u << (order >> 2 * i & 3);
		if (used != 15)
			continue;
		make(t, "P. ack 1 len %u", 1200, (uint16_t)order);
		for (unsigned i = 0; i < 4; i++) {
			unsigned part = order >> 2 * i & 3;

			give(t, edges[part], edges[part + 1]);
		}
		expect_event(t, "data 1200");
		ack += 1200;
		pass_ms(t, 50);
		discard_out(t);
		expect_empty(t);
	}
	assert_int_equal(ack, 1 + 24 * 1200);
	test_finish(t);
}

/* The longest that there can be arrives as segments of a length that the stack takes.
 * proves RFC1122-IP-15 */
static void the_longest_datagram(void **state)
{
	struct test *t = test_begin();
	uint64_t bytes = 65535 - 40;

	(void)state;
	t->app.quiet = true;
	test_start(t);
	open_server(t);
	make(t, "P. seq 1 ack 1 len %u", (unsigned)bytes, 9);
	assert_int_equal(whole.bytes, 65515);
	for (uint32_t from = 0; from < whole.bytes; from += 1480) {
		assert_int_equal(t->slots[0].rx_bytes, 0);
		give(t, from, MIN_OF(from + 1480, whole.bytes));
	}
	assert_int_equal(t->slots[0].rx_bytes, bytes);
	pass_ms(t, 100);
	discard_out(t);
	expect_empty(t);
	inject(t, "P. seq 65496 ack 1 len 10"); /* the next byte is the one behind */
	assert_int_equal(t->slots[0].rx_bytes, bytes + 10);
	pass_ms(t, 100);
	discard_out(t);
	test_finish(t);
}

static void a_fin_counts_once_all_is_there(void **state)
{
	struct test *t = begin_open();

	(void)state;
	t->app.quiet = true;
	make(t, "FP. seq 1 ack 1 len %u", 4000, 11);
	give(t, 2960, whole.bytes);
	give(t, 0, 1480);
	expect_no_event(t);
	give(t, 1480, 2960);
	assert_int_equal(t->slots[0].rx_bytes, 4000);
	discard_events(t);
	discard_out(t);
	pass_ms(t, 300000);
	discard_out(t);
	test_finish(t);
}

static void a_connection_opened_by_fragments(void **state)
{
	struct test *t = test_begin();

	(void)state;
	test_start(t);
	make(t, "S seq 0 win 60000 mss 1460 wscale %u", 2, 12);
	give(t, 24, whole.bytes);
	expect_nothing(t);
	give(t, 0, 24);
	t->peer->snd_nxt = 1;
	expect(t, "S. seq 0 ack 1 mss 1460 wscale 0");
	discard_events(t);
	pass_ms(t, 300000);
	discard_out(t);
	test_finish(t);
}

/* Damage is found over all of it. */
static void a_damaged_fragment(void **state)
{
	struct test *t = begin_open();

	(void)state;
	make(t, "P. seq 1 ack 1 len %u", 3000, 13);
	t->peer->snd_nxt = 1;
	whole.frame[BODY_AT + 2900] ^= 4;
	give(t, 0, 1480);
	give(t, 1480, whole.bytes);
	expect_nothing(t);
	expect_drop(t, TCP_CHECKSUM);
	expect_empty(t);
	test_finish(t);
}

/* --- bad input ----------------------------------------------------------------------------- */

/* RFC 5722: with an overlap all of the datagram is lost, also what comes later, and nothing of it is seen. */
static void fragments_that_overlap(void **state)
{
	static const uint32_t second[][2] = {{0, 528}, {512, 600}, {504, 1000}, {0, 1016}, {264, 272}};
	struct test *t = begin_open();

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(second); i++) {
		make(t, "P. seq 1 ack 1 len %u", 1000, (uint16_t)(20 + i));
		t->peer->snd_nxt = 1;
		give(t, 0, 520);
		memset(whole.frame + BODY_AT + 256, 0xee, 100 + 200 * i); /* other bytes */
		whole.frame[BODY_AT + 519] ^= 1;
		whole.frame[BODY_AT] ^= 1;
		give(t, second[i][0], second[i][1]);
		expect_drop(t, FRAGMENT_OVERLAP);
		give(t, 520, whole.bytes);
		expect_drop(t, FRAGMENT_OVERLAP);
		assert_int_equal(pool_live(&table_of(t)->pages), 0);
	}
	expect_no_event(t);
	expect_nothing(t);
	pass_ms(t, 61000); /* remembered for as long as they could come, and no error is sent */
	expect_nothing(t);
	expect_empty(t);
	test_finish(t);
}

static void a_fragment_that_came_twice(void **state)
{
	struct test *t = begin_open();

	(void)state;
	make(t, "P. seq 1 ack 1 len %u", 1000, 30);
	give(t, 0, 520);
	give(t, 0, 520);
	expect_drop(t, FRAGMENT_DUPLICATE);
	give(t, 520, whole.bytes);
	expect_event(t, "data 1000");
	expect_acked(t, 1001);
	test_finish(t);
}

static void fragments_that_disagree_about_the_end(void **state)
{
	struct test *t = begin_open();

	(void)state;
	make(t, "P. seq 1 ack 1 len %u", 2000, 31);
	t->peer->snd_nxt = 1;
	give_as(t, PEER_IP, 1000, 1504, false);
	give_as(t, PEER_IP, 1504, 2000, true); /* beyond the end */
	expect_drop(t, FRAGMENT_OVERLAP);
	whole.id++;
	give_as(t, PEER_IP, 1504, 2000, true);
	give_as(t, PEER_IP, 1000, 1504, false); /* the end before it */
	expect_drop(t, FRAGMENT_OVERLAP);
	whole.id++;
	give_as(t, PEER_IP, 1000, 1504, false);
	give_as(t, PEER_IP, 1600, 1700, false); /* two ends */
	expect_drop(t, FRAGMENT_OVERLAP);
	pass_ms(t, 61000);
	expect_nothing(t);
	test_finish(t);
}

static void fragments_that_fit_nowhere(void **state)
{
	struct test *t = begin_open();

	(void)state;
	make(t, "P. seq 1 ack 1 len %u", 2000, 33);
	t->peer->snd_nxt = 1;
	give_as(t, PEER_IP, 0, 1001, true); /* no multiple of 8 */
	expect_drop(t, FRAGMENT_MALFORMED);
	give_as(t, PEER_IP, 1000, 1000, false); /* nothing in it */
	expect_drop(t, FRAGMENT_MALFORMED);
	give_as(t, PEER_IP, 65520 - 8, 65520 + 100, false); /* beyond 65,535: the old ping of death */
	expect_drop(t, FRAGMENT_MALFORMED);
	give_as(t, PEER_IP, 0, 16, true); /* RFC 3128: without the flags */
	expect_drop(t, FRAGMENT_TINY);
	give_as(t, PEER_IP, 8, 24, true); /* RFC 1858: over the flags */
	expect_drop(t, FRAGMENT_TINY);
	give_as(t, PEER_IP, 16, 24, true);
	expect_drop(t, FRAGMENT_TINY);
	expect_empty(t);
	expect_nothing(t);
	test_finish(t);
}

/* RFC 3168 section 5.3: a mark on one is a mark on the whole; a mark that cannot be loses it.
 * proves RFC3168-07 */
static void congestion_marks(void **state)
{
	struct test *t = begin_open();

	(void)state;
	make(t, "P. seq 1 ack 1 len %u", 1000, 40);
	whole.tos = 2;
	give(t, 0, 520);
	whole.tos = 3;
	give(t, 520, whole.bytes);
	expect_event(t, "data 1000");
	expect_acked(t, 1001);
	assert_int_equal(table_of(t)->frame[IP_AT + 1] & 3, 3);
	make(t, "P. ack 1 len %u", 1000, 41);
	t->peer->snd_nxt = 1001;
	whole.tos = 0;
	give(t, 0, 520);
	whole.tos = 3;
	give(t, 520, whole.bytes);
	expect_drop(t, FRAGMENT_MALFORMED);
	expect_empty(t);
	test_finish(t);
}

/* --- time and room ------------------------------------------------------------------------ */

/* RFC 1122 section 3.3.2: after a minute, with an error if the first fragment is there, as it came.
 * proves RFC1122-IP-16, RFC1122-ICMP-02 */
static void a_datagram_that_never_ends(void **state)
{
	struct test *t = begin_open();
	uint8_t quoted[IPV4_HEADER_BYTES + 8];

	(void)state;
	make(t, "P. seq 1 ack 1 len %u", 1000, 50);
	t->peer->snd_nxt = 1;
	give(t, 0, 520);
	pass_ms(t, 59999);
	expect_nothing(t);
	pass_ms(t, 2);
	expect_drop(t, FRAGMENT_TIMEOUT);
	expect_empty(t);
	memcpy(quoted + IPV4_HEADER_BYTES, whole.frame + BODY_AT, 8);
	assert_memory_equal(t->out[t->out_first].data + BODY_AT + 8 + IPV4_HEADER_BYTES,
			    quoted + IPV4_HEADER_BYTES, 8);
	assert_int_equal(get16(t->out[t->out_first].data + BODY_AT + 8 + 4), 50);
	assert_int_equal(get16(t->out[t->out_first].data + BODY_AT + 8 + 6), IPV4_MF);
	expect_error(t, ICMP_TIME_EXCEEDED, ICMP_CODE_REASSEMBLY_TIME);
	give(t, 520, whole.bytes); /* too late, and alone it says nothing to anybody */
	pass_ms(t, 61000);
	expect_drop(t, FRAGMENT_TIMEOUT);
	expect_nothing(t);
	expect_empty(t);
	test_finish(t);
}

/* One source has its share: its own oldest goes, others' stay. */
static void one_source_cannot_fill_the_table(void **state)
{
	struct test *t = begin_open();

	(void)state;
	make(t, "P. seq 1 ack 1 len %u", 1000, 60);
	t->peer->snd_nxt = 1;
	give(t, 0, 520); /* an honest one */
	whole.id = 1000;
	for (unsigned i = 0; i < 4 * REASSEMBLY_MAX; i++, whole.id++)
		give_as(t, PEER_IP + 9, 520, 1020, false);
	expect_drops(t, FRAGMENT_FULL);
	assert_int_equal(table_of(t)->live, 1 + REASSEMBLY_SOURCE_MAX);
	whole.id = 60;
	give(t, 520, whole.bytes);
	expect_event(t, "data 1000");
	expect_acked(t, 1001);
	ignore_drops(t, DROP_FRAGMENT_TIMEOUT);
	pass_ms(t, 61000);
	expect_empty(t);
	test_finish(t);
}

/* Nor with long ones: pages are shared out, too. */
static void one_source_cannot_take_all_pages(void **state)
{
	struct test *t = begin_open();

	(void)state;
	ignore_drops(t, DROP_FRAGMENT_FULL);
	ignore_drops(t, DROP_FRAGMENT_TIMEOUT);
	make(t, "P. seq 1 ack 1 len %u", 60000, 70);
	t->peer->snd_nxt = 1;
	for (unsigned i = 0; i < REASSEMBLY_SOURCE_MAX; i++, whole.id++)
		for (uint32_t from = 1480; from < whole.bytes; from += 1480)
			give_as(t, PEER_IP + 9, from, MIN_OF(from + 1480, whole.bytes),
				from + 1480 < whole.bytes);
	assert_true(pool_live(&table_of(t)->pages) <= REASSEMBLY_SOURCE_PAGES);
	assert_true(pool_live(&table_of(t)->pages) > REASSEMBLY_SOURCE_PAGES - REASSEMBLY_DATAGRAM_PAGES);
	pass_ms(t, 61000);
	expect_empty(t);
	test_finish(t);
}

/* Many sources: the oldest datagram goes, memory stays what it was. */
static void fragments_from_everywhere(void **state)
{
	struct test *t = begin_open();

	(void)state;
	ignore_drops(t, DROP_FRAGMENT_FULL);
	ignore_drops(t, DROP_FRAGMENT_TIMEOUT);
	make(t, "P. seq 1 ack 1 len %u", 60000, 80);
	t->peer->snd_nxt = 1;
	for (unsigned i = 0; i < 200; i++)
		for (uint32_t from = 1480; from < 1480 * 6; from += 1480)
			give_as(t, PEER_IP + 20 + i, from, from + 1480, true);
	assert_true(table_of(t)->live <= REASSEMBLY_MAX);
	assert_true(pool_live(&table_of(t)->pages) <= REASSEMBLY_PAGES);
	whole.id = 81;
	make(t, "P. seq 1 ack 1 len %u", 3000, 81); /* who comes last is served */
	give(t, 0, 1480);
	give(t, 1480, whole.bytes);
	assert_int_equal(t->slots[0].rx_bytes, 3000);
	discard_events(t);
	pass_ms(t, 61000);
	discard_out(t);
	expect_empty(t);
	test_finish(t);
}

/* --- pings ------------------------------------------------------------------------------------ */

/* RFC 1122 section 3.2.2.6: the answer holds what fits.
 * proves RFC1122-ICMP-09 */
static void a_long_ping(void **state)
{
	struct test *t = begin_open();
	uint8_t body[4000];
	const struct out_frame *out;

	(void)state;
	for (unsigned i = 0; i < sizeof(body); i++)
		body[i] = stream_byte(i);
	whole.bytes = build_icmp(t, whole.frame, ICMP_ECHO_REQUEST, 0, 0x55, body, sizeof(body)) - BODY_AT;
	whole.id = 90;
	whole.tos = 0;
	give(t, 2960, whole.bytes);
	give(t, 0, 1480);
	give(t, 1480, 2960);
	out = next_out(t);
	assert_int_equal(out->bytes, ETH_HEADER_BYTES + 1500);
	assert_int_equal(out->data[BODY_AT], ICMP_ECHO_REPLY);
	assert_memory_equal(out->data + BODY_AT + 8, body, 1472);
	assert_int_equal(csum_finish(csum_add(0, out->data + BODY_AT, 1480)), 0);
	expect_empty(t);
	whole.frame[BODY_AT + 3000] ^= 1;
	whole.id++;
	give(t, 0, 1480);
	give(t, 1480, whole.bytes);
	expect_drop(t, ICMP_CHECKSUM);
	expect_nothing(t);
	test_finish(t);
}

/* --- several workers ------------------------------------------------------------------------ */

/* Fragments come to worker 0, and what they make whole goes to its connection's owner. */
static void a_datagram_of_another_worker(void **state)
{
	struct test *t = test_begin();
	struct owner owner = {.workers = 2, .all = 1};
	struct packet packet;
	uint32_t payload = 0;

	(void)state;
	t->config.owner = &owner;
	test_start(t);
	make(t, "P. seq 1 ack 1 len %u", 3000, 95);
	t->peer->snd_nxt = 0;
	give(t, 0, 1480);
	assert_false(stack_elsewhere(t->stack, &packet));
	give(t, 1480, whole.bytes);
	while (stack_elsewhere(t->stack, &packet)) {
		assert_int_equal(packet.checksum, PACKET_CSUM_VERIFIED);
		payload += packet.bytes - BODY_AT - TCP_HEADER_BYTES;
	}
	assert_int_equal(payload, 3000);
	expect_empty(t);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(a_segment_in_two_fragments),
	TEST(fragments_in_any_order),
	TEST(the_longest_datagram),
	TEST(a_fin_counts_once_all_is_there),
	TEST(a_connection_opened_by_fragments),
	TEST(a_damaged_fragment),
	TEST(fragments_that_overlap),
	TEST(a_fragment_that_came_twice),
	TEST(fragments_that_disagree_about_the_end),
	TEST(fragments_that_fit_nowhere),
	TEST(congestion_marks),
	TEST(a_datagram_that_never_ends),
	TEST(one_source_cannot_fill_the_table),
	TEST(one_source_cannot_take_all_pages),
	TEST(fragments_from_everywhere),
	TEST(a_long_ping),
	TEST(a_datagram_of_another_worker),
};

PACKET_MAIN(tests)
