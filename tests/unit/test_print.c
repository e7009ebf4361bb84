/* test_print.c - one line for every frame, whatever its bytes are. */
#include "wire_test.h"

#include "wire/arp.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/print.h"
#include "wire/tcp.h"

static const struct eth_address first = {{2, 0, 0, 0, 0, 1}}, second = {{2, 0, 0, 0, 0, 2}};

static uint8_t *put_ethernet(uint8_t *frame, uint16_t type)
{
	eth_emit(frame, &(struct eth_header){.destination = first, .source = second, .type = type});
	return frame + ETH_HEADER_BYTES;
}

/* Returns where the body goes; the frame has ETH_HEADER_BYTES + 20 + body_bytes. */
static uint8_t *put_ip(uint8_t *frame, uint8_t protocol, uint32_t body_bytes)
{
	const struct ipv4_header ip = {
		.source = 0x0a000002,
		.destination = 0x0a000001,
		.total_bytes = (uint16_t)(IPV4_HEADER_BYTES + body_bytes),
		.ttl = 64,
		.protocol = protocol,
	};

	ipv4_emit(put_ethernet(frame, ETH_TYPE_IPV4), &ip);
	return frame + ETH_HEADER_BYTES + IPV4_HEADER_BYTES;
}

static size_t put_tcp(uint8_t *frame, const struct tcp_segment *segment, uint32_t payload_bytes)
{
	uint32_t header_bytes = tcp_header_bytes(segment->options, segment->sack_blocks);
	uint8_t *at = put_ip(frame, IP_PROTOCOL_TCP, header_bytes + payload_bytes);

	tcp_emit(at, segment);
	memset(at + header_bytes, 0, payload_bytes);
	tcp_store_checksum(at, header_bytes, payload_bytes, 0, 0x0a000002, 0x0a000001);
	return ETH_HEADER_BYTES + IPV4_HEADER_BYTES + header_bytes + payload_bytes;
}

static void assert_line(const uint8_t *frame, size_t bytes, const char *want)
{
	char text[256];

	assert_int_equal(frame_print(frame, bytes, text, sizeof(text)), strlen(want));
	assert_string_equal(text, want);
}

static void tcp_lines(void **state)
{
	static const uint8_t sack[] = {0, 0, 0, 10, 0, 0, 0, 20, 0, 0, 0, 30, 0, 0, 0, 40};
	struct tcp_segment segment = {
		.source_port = 5000,
		.destination_port = 80,
		.seq = 1,
		.ack = 2,
		.window = 65535,
		.flags = TCP_SYN | TCP_ACK,
		.options = TCP_OPT_MSS | TCP_OPT_TIMESTAMPS,
		.mss = 1460,
		.ts_val = 1,
		.ts_ecr = 2,
		.sack = sack,
	};
	uint8_t frame[256];

	(void)state;
	assert_line(frame, put_tcp(frame, &segment, 0),
		    "10.0.0.2.5000 > 10.0.0.1.80: [S.] seq 1 ack 2 win 65535 len 0 <mss 1460,ts 1 2>");
	segment.flags = TCP_SYN;
	segment.options |= TCP_OPT_SACK_PERMITTED | TCP_OPT_WSCALE;
	segment.wscale = 7;
	assert_line(
		frame, put_tcp(frame, &segment, 0),
		"10.0.0.2.5000 > 10.0.0.1.80: [S] seq 1 win 65535 len 0 <mss 1460,sackOK,ts 1 2,wscale 7>");
	segment.flags = TCP_ACK | TCP_PSH | TCP_URG;
	segment.urgent = 3;
	segment.options = TCP_OPT_SACK;
	segment.sack_blocks = 2;
	assert_line(
		frame, put_tcp(frame, &segment, 5),
		"10.0.0.2.5000 > 10.0.0.1.80: [P.U] seq 1 ack 2 win 65535 urg 3 len 5 <sack 2 10:20 30:40>");
	segment.flags = TCP_FIN | TCP_RST | TCP_ECE | TCP_CWR;
	segment.options = 0;
	assert_line(frame, put_tcp(frame, &segment, 0),
		    "10.0.0.2.5000 > 10.0.0.1.80: [FREW] seq 1 win 65535 len 0");
}

static void bad_tcp_lines(void **state)
{
	const struct tcp_segment segment = {.source_port = 1, .destination_port = 2, .flags = TCP_ACK};
	uint8_t frame[256], *tcp = frame + ETH_HEADER_BYTES + IPV4_HEADER_BYTES;
	size_t bytes = put_tcp(frame, &segment, 1);

	(void)state;
	tcp[20] ^= 1;
	assert_line(frame, bytes, "10.0.0.2.1 > 10.0.0.1.2: [.] seq 0 ack 0 win 0 len 1 bad checksum");
	tcp[12] = 0x40;
	assert_line(frame, bytes, "10.0.0.2 > 10.0.0.1: tcp bad (TCP_HEADER_LENGTH), 21 bytes");
}

static void arp_lines(void **state)
{
	struct arp_packet arp = {
		.operation = ARP_REQUEST, .sender = second, .sender_ip = 0x0a000002, .target_ip = 0x0a000001};
	uint8_t frame[ETH_HEADER_BYTES + ARP_BYTES];

	(void)state;
	arp_emit(put_ethernet(frame, ETH_TYPE_ARP), &arp);
	assert_line(frame, sizeof(frame), "arp who-has 10.0.0.1 tell 10.0.0.2");
	arp.operation = ARP_REPLY;
	arp_emit(put_ethernet(frame, ETH_TYPE_ARP), &arp);
	assert_line(frame, sizeof(frame), "arp reply 10.0.0.2 is-at 02:00:00:00:00:02");
	assert_line(frame, sizeof(frame) - 1, "arp bad (ARP_MALFORMED), 27 bytes");
}

static void icmp_lines(void **state)
{
	static const uint8_t body[48];
	uint8_t frame[256], quoted[256], *at = put_ip(frame, IP_PROTOCOL_ICMP, 56);
	const struct tcp_segment segment = {.source_port = 80, .destination_port = 5000, .seq = 77};

	(void)state;
	icmp_emit(at, ICMP_ECHO_REQUEST, 0, 0x00010002, body, 48);
	assert_line(frame, 90, "10.0.0.2 > 10.0.0.1: icmp echo request id 1 seq 2 len 48");
	icmp_emit(at, ICMP_ECHO_REPLY, 0, 0x00010002, body, 48);
	assert_line(frame, 90, "10.0.0.2 > 10.0.0.1: icmp echo reply id 1 seq 2 len 48");
	icmp_emit(at, 13, 0, 0, body, 48);
	assert_line(frame, 90, "10.0.0.2 > 10.0.0.1: icmp type 13 code 0 len 48");
	icmp_emit(at, ICMP_TIME_EXCEEDED, 1, 0, body, 48);
	assert_line(frame, 90, "10.0.0.2 > 10.0.0.1: icmp type 11 code 1 with a bad quote");
	put_tcp(quoted, &segment, 0);
	icmp_emit(at, ICMP_UNREACHABLE, ICMP_CODE_FRAGMENTATION_NEEDED, 1400, quoted + ETH_HEADER_BYTES, 40);
	put_ip(frame, IP_PROTOCOL_ICMP, 48);
	assert_line(
		frame, 82,
		"10.0.0.2 > 10.0.0.1: icmp type 3 code 4 mtu 1400 about 10.0.0.2.80 > 10.0.0.1.5000 seq 77");
	at[9] ^= 1;
	assert_line(frame, 82, "10.0.0.2 > 10.0.0.1: icmp bad (ICMP_CHECKSUM), 48 bytes");
}

static void other_lines(void **state)
{
	const struct ipv4_header fragment = {
		.source = 0x0a000002,
		.destination = 0x0a000001,
		.total_bytes = 30,
		.id = 9,
		.flags = IPV4_MF,
		.fragment_offset = 1480,
		.protocol = 17,
	};
	uint8_t frame[128] = {0};

	(void)state;
	put_ethernet(frame, ETH_TYPE_IPV6);
	assert_line(frame, 74, "02:00:00:00:00:02 > 02:00:00:00:00:01: type 0x86dd len 60");
	put_ip(frame, IP_PROTOCOL_UDP, 10);
	assert_line(frame, 44, "10.0.0.2 > 10.0.0.1: protocol 17 len 10");
	ipv4_emit(frame + ETH_HEADER_BYTES, &fragment);
	assert_line(frame, 44, "10.0.0.2 > 10.0.0.1: fragment of 9, protocol 17, at 1480 len 10 more");
	assert_line(frame, 40, "ip bad (IP_TOTAL_LENGTH), 26 bytes");
	assert_line(frame, 13, "frame bad (ETH_SHORT), 13 bytes");
}

/* Every size of room: cut, ended with NUL, nothing behind it touched, the full length returned. */
static void little_room(void **state)
{
	const struct tcp_segment segment = {
		.source_port = 5000,
		.destination_port = 80,
		.flags = TCP_ACK,
		.options = TCP_OPT_TIMESTAMPS,
	};
	struct guarded guarded = guarded_make();
	uint8_t frame[256];
	size_t bytes = put_tcp(frame, &segment, 0);
	char whole[256];
	int length = frame_print(frame, bytes, whole, sizeof(whole));

	(void)state;
	assert_int_equal(length, strlen(whole));
	assert_int_equal(frame_print(frame, bytes, NULL, 0), length);
	for (size_t room = 1; room <= (size_t)length + 4; room++) {
		char *text = (char *)guarded.end - room;

		memset(text, 'x', room);
		assert_int_equal(frame_print(frame, bytes, text, room), length);
		assert_int_equal(strlen(text), MIN_OF(room - 1, (size_t)length));
		assert_memory_equal(text, whole, strlen(text));
	}
	guarded_free(guarded);
}

static void hostile_bytes(void **state)
{
	struct guarded guarded = guarded_make();

	(void)state;
	for (unsigned round = 0; round < 300000; round++) {
		size_t bytes = test_random_below(128);
		uint8_t *at = guarded.end - bytes;
		char text[512];
		int length;

		test_random_bytes(at, bytes);
		if (bytes >= 34 && round % 8) {
			put16(at + 12, round % 2 ? ETH_TYPE_IPV4 : ETH_TYPE_ARP);
			put_ip(at, test_random() >> 63 ? IP_PROTOCOL_TCP : IP_PROTOCOL_ICMP,
			       (uint32_t)bytes - 34);
		}
		length = frame_print(at, bytes, text, sizeof(text));
		assert_in_range(length, 1, sizeof(text) - 1);
		assert_int_equal(strlen(text), length);
		for (int i = 0; i < length; i++)
			assert_in_range(text[i], ' ', '~');
	}
	guarded_free(guarded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tcp_lines),     cmocka_unit_test(bad_tcp_lines),
		cmocka_unit_test(arp_lines),     cmocka_unit_test(icmp_lines),
		cmocka_unit_test(other_lines),   cmocka_unit_test(little_room),
		cmocka_unit_test(hostile_bytes),
	};

	return cmocka_run_group_tests_name("print", tests, NULL, NULL);
}
