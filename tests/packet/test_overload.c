/* test_overload.c - more than there is room for: what is let go, what is kept, and that all comes back. */
#include "harness.h"

#include <string.h>

#include "net/net.h"

/* The same probes get another number of answers each second, so that one reset more or less, to somebody
 * else, cannot be told from the rest. */
static void the_limit_of_resets_cannot_be_measured(void **state)
{
	struct test *t = begin_open();
	unsigned answers[20], different = 0;

	(void)state;
	ignore_drops(t, DROP_TCP_NO_FLOW);
	ignore_drops(t, DROP_REPLY_RATE);
	use_peer(t, 1);
	for (unsigned second = 0; second < ARRAY_COUNT(answers); second++) {
		bool seen = false;

		pass_ms(t, 1100);
		for (unsigned i = 0; i < 2000; i++) {
			uint8_t frame[FRAME_ROOM];

			inject_raw(t, frame, build(t, frame, ". seq 100 ack %u", i));
		}
		answers[second] = discard_out(t);
		assert_in_range(answers[second], REPLY_RATE_BURST / 2, REPLY_RATE_BURST * 3 / 2);
		for (unsigned i = 0; i < second; i++)
			seen |= answers[i] == answers[second];
		different += !seen;
	}
	assert_in_range(different, 15, 20);
	use_peer(t, 0);
	inject(t, "P. seq 1 ack 1 len 10");
	expect_event(t, "data 10");
	expect_after(t, 40, ". seq 1 ack 11");
	test_finish(t);
}

/* --- very many that end at once ------------------------------------------------------------ */

#define MANY     3000u
#define SURVIVOR 1234u
#define FIRST_IP 0x0a400001u

/* The peers are hosts behind the gateway; each has said nothing but what opens it. */
static struct crowd {
	c10m_handle handles[MANY];
	uint32_t iss[MANY]; /* the stack's */
	uint32_t opened, closed;
} crowd;

static void crowd_opened(c10m_conn *conn)
{
	struct c10m_endpoints ends;

	c10m_conn_endpoints(conn, &ends);
	crowd.handles[ends.remote_address - FIRST_IP] = c10m_conn_handle(conn);
	crowd.opened++;
}

static size_t crowd_echoes(c10m_conn *conn, const void *data, size_t len)
{
	return c10m_send(conn, data, len);
}

static void crowd_closed(c10m_conn *conn, enum c10m_close_reason reason)
{
	(void)conn;
	(void)reason;
	crowd.closed++;
}

static void say(struct test *t, uint32_t who, uint8_t flags, uint32_t seq, uint32_t ack)
{
	struct tcp_segment segment = {.seq = seq,
				      .ack = ack,
				      .source_port = 5000,
				      .destination_port = SERVER_PORT,
				      .flags = flags,
				      .window = 10000};

	give_segment(t, FIRST_IP + who, STACK_IP, &segment);
}

static struct test *begin_crowd(void)
{
	struct test *t = test_begin();

	memset(&crowd, 0, sizeof(crowd));
	t->services[0] = (struct c10m_service){.name = "crowd",
					       .port = SERVER_PORT,
					       .on_open = crowd_opened,
					       .on_data = crowd_echoes,
					       .on_close = crowd_closed};
	t->config.connections = t->config.half_open = MANY;
	t->config.time_wait = MANY;
	t->config.gateway = PEER_IP;
	test_start(t);
	return t;
}

static void open_crowd(struct test *t)
{
	struct tcp_segment segment;
	struct ipv4_header ip;

	crowd.opened = crowd.closed = 0;
	for (uint32_t i = 0; i < MANY; i++) {
		say(t, i, TCP_SYN, 100, 0);
		take_segment(t, &ip, &segment);
		crowd.iss[i] = segment.seq;
		say(t, i, TCP_ACK, 101, segment.seq + 1);
	}
	assert_int_equal(crowd.opened, MANY);
	expect_nothing(t);
}

/* Whether one call, with room for `max` frames, sends data to the survivor; counts what else it sends. */
static bool one_call_answers(struct test *t, uint32_t max, uint8_t flags, uint32_t *others)
{
	static uint8_t frames[64][FRAME_ROOM];
	struct packet packets[64];
	struct tcp_segment segment;
	struct ipv4_header ip;
	bool answered = false;
	uint32_t count;

	for (uint32_t i = 0; i < max; i++)
		packets[i] = (struct packet){.data = frames[i], .room = FRAME_ROOM};
	count = stack_tx(t->stack, t->now_us, packets, max);
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *at = frames[i] + ETH_HEADER_BYTES;

		assert_int_equal(ipv4_parse(at, packets[i].bytes - ETH_HEADER_BYTES, &ip), DROP_NONE);
		assert_int_equal(
			tcp_parse(at + ip.header_bytes, (size_t)ip.total_bytes - ip.header_bytes, &segment),
			DROP_NONE);
		answered |= ip.destination == FIRST_IP + SURVIVOR && segment.payload_bytes == 5;
		*others += (segment.flags & (TCP_RST | TCP_FIN)) == flags;
	}
	return answered;
}

/* The survivor's request comes when the others' end has begun, and before any of it was sent. */
static void ask_survivor(struct test *t)
{
	uint8_t frame[FRAME_ROOM], *tcp = frame + ETH_HEADER_BYTES + IPV4_HEADER_BYTES;
	struct eth_header eth = {.destination = t->config.mac, .type = ETH_TYPE_IPV4};
	const struct ipv4_header ip = {.source = FIRST_IP + SURVIVOR,
				       .destination = STACK_IP,
				       .total_bytes = IPV4_HEADER_BYTES + TCP_HEADER_BYTES + 5,
				       .ttl = 64,
				       .protocol = IP_PROTOCOL_TCP};
	struct tcp_segment segment = {.seq = 101,
				      .ack = crowd.iss[SURVIVOR] + 1,
				      .source_port = 5000,
				      .destination_port = SERVER_PORT,
				      .flags = TCP_ACK,
				      .window = 10000};
	struct packet packet = {.data = frame, .bytes = ETH_HEADER_BYTES + ip.total_bytes};

	mac_of(PEER_IP, eth.source.octets);
	eth_emit(frame, &eth);
	ipv4_emit(frame + ETH_HEADER_BYTES, &ip);
	tcp_emit(tcp, &segment);
	memcpy(tcp + TCP_HEADER_BYTES, "hello", 5);
	fix_checksums(frame, packet.bytes);
	stack_rx(t->stack, t->now_us, &packet, 1);
}

static void end_all_others(struct test *t, void (*end)(c10m_conn *conn))
{
	stack_begin(t->stack, t->now_us);
	for (uint32_t i = 0; i < MANY; i++)
		if (i != SURVIVOR)
			end(c10m_conn_find(stack_worker(t->stack), crowd.handles[i]));
}

/* Calls until all is sent; returns how many frames had these flags. */
static uint32_t drain_calls(struct test *t, uint8_t flags, uint32_t first)
{
	uint32_t sent = first;

	for (unsigned calls = 0; stack_has_output(t->stack); calls++) {
		t->now_us++; /* so many FINs go out while the clock stands */
		one_call_answers(t, 64, flags, &sent);
		assert_in_range(calls, 0, MANY);
	}
	return sent;
}

static void aborted_at_once_each_gets_its_reset(void **state)
{
	struct test *t = begin_crowd();
	uint32_t resets = 0;

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		open_crowd(t);
		resets = 0;
		end_all_others(t, c10m_abort);
		ask_survivor(t);
		assert_true(one_call_answers(t, 64, TCP_RST, &resets));
		assert_in_range(usage(t).connections, MANY / 4, MANY); /* the rest has its turn later */
		assert_int_equal(drain_calls(t, TCP_RST, resets), MANY - 1);
		assert_int_equal(crowd.closed, MANY - 1);
		assert_int_equal(usage(t).connections, 1);
		stack_verify(t->stack);
		say(t, SURVIVOR, TCP_RST | TCP_ACK, 106, 0);
		discard_out(t);
		assert_int_equal(usage(t).connections + usage(t).half_open + usage(t).table_entries, 0);
	}
	test_finish(t);
}

static void closed_at_once_each_gets_its_fin(void **state)
{
	struct test *t = begin_crowd();
	uint32_t fins;

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		open_crowd(t);
		fins = 0;
		end_all_others(t, c10m_close);
		ask_survivor(t);
		assert_true(one_call_answers(t, 64, TCP_FIN, &fins));
		assert_in_range(fins, 8, 32);
		one_call_answers(t, 64, TCP_FIN,
				 &fins); /* in the same round of the worker: as many as can answer */
		assert_in_range(fins, 8, 32);
		assert_int_equal(drain_calls(t, TCP_FIN, fins), MANY - 1);
		for (uint32_t i = 0; i < MANY; i++)
			if (i != SURVIVOR)
				say(t, i, TCP_FIN | TCP_ACK, 101, crowd.iss[i] + 2);
		assert_int_equal(crowd.closed, MANY - 1);
		assert_int_equal(usage(t).time_wait, MANY - 1);
		say(t, SURVIVOR, TCP_RST | TCP_ACK, 106, 0);
		pass_ms(t, 61000);
		discard_out(t);
		assert_int_equal(usage(t).connections + usage(t).time_wait + usage(t).table_entries, 0);
		for (unsigned i = 0; i < CHUNK_CLASSES; i++)
			assert_int_equal(usage(t).chunks[i], 0);
		stack_verify(t->stack);
	}
	test_finish(t);
}

/* More answers to strangers than the port can carry: those who are connected get their share of it (design
 * idea 13). */
static void flood_of_replies_leaves_room_for_connections(void **state)
{
	struct test *t = begin_open();
	static uint8_t syns[16][FRAME_ROOM], out[8][FRAME_ROOM];
	struct packet in[16], packets[8];
	unsigned payload = 0;

	(void)state;
	ignore_drops(t, DROP_REPLY_QUEUE_FULL);
	c10m_send(app_conn(t, 0), out, 1000);
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < 16; i++) {
			t->peer->port = (uint16_t)(1024 + 16 * round + i);
			in[i] = (struct packet){.data = syns[i]};
			in[i].bytes = build(t, syns[i], "S seq 0 win 1000 mss 1460");
		}
		stack_rx(t->stack, t->now_us, in, 16);
		for (unsigned i = 0; i < 8; i++)
			packets[i] = (struct packet){.data = out[i], .room = FRAME_ROOM};
		assert_int_equal(stack_tx(t->stack, t->now_us, packets, 8), 8);
		for (unsigned i = 0; i < 8; i++)
			payload += packets[i].bytes > 1000;
	}
	assert_int_equal(payload, 1);
	flush(t);
	discard_out(t);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(aborted_at_once_each_gets_its_reset),
	TEST(closed_at_once_each_gets_its_fin),
	TEST(the_limit_of_resets_cannot_be_measured),
	TEST(flood_of_replies_leaves_room_for_connections),
};

PACKET_MAIN(tests)
