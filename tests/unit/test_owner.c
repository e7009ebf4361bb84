/* test_owner.c - which worker a flow, and a frame, belongs to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "flow/owner.h"
#include "wire/arp.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"

#define SERVER 0x0a000001u
#define PEER   0x0a000002u
#define HERE   2u

static const struct siphash_key key = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
static struct owner owner;
static uint8_t frame[256];

static int setup(void **state)
{
	(void)state;
	owner_init(&owner, &key, 4, OWNER_BY_HASH);
	memset(frame, 0, sizeof(frame));
	return 0;
}

/* Ethernet and IPv4 in front of `bytes` more. */
static uint32_t make_ipv4(uint8_t protocol, uint16_t fragment, uint32_t source, uint32_t destination,
			  uint32_t bytes)
{
	const struct eth_header eth = {{{2, 0, 0, 0, 0, 1}}, {{2, 0, 0, 0, 0, 2}}, ETH_TYPE_IPV4};
	const struct ipv4_header ip = {
		.source = source,
		.destination = destination,
		.total_bytes = (uint16_t)(IPV4_HEADER_BYTES + bytes),
		.flags = fragment & IPV4_MF,
		.fragment_offset = (uint16_t)(fragment & 0x1fff),
		.ttl = 64,
		.protocol = protocol,
	};

	eth_emit(frame, &eth);
	ipv4_emit(frame + ETH_HEADER_BYTES, &ip);
	return ETH_HEADER_BYTES + IPV4_HEADER_BYTES + bytes;
}

static uint8_t *body(void)
{
	return frame + ETH_HEADER_BYTES + IPV4_HEADER_BYTES;
}

static uint32_t make_tcp(uint16_t source_port, uint16_t destination_port)
{
	uint32_t bytes = make_ipv4(IP_PROTOCOL_TCP, 0, PEER, SERVER, 20);

	put16(body(), source_port);
	put16(body() + 2, destination_port);
	return bytes;
}

/* 10,000 ports of one peer: a fair share for each, and all of one flow at one place. */
static void flows_are_spread_evenly(void **state)
{
	(void)state;
	for (uint32_t workers = 1; workers <= 5; workers++) {
		uint32_t counts[5] = {0};

		owner_init(&owner, &key, workers, OWNER_BY_HASH);
		for (uint32_t port = 1; port <= 10000; port++) {
			const struct tuple4 tuple = {SERVER, PEER, 80, (uint16_t)port};
			uint32_t who = owner_of(&owner, &tuple);

			assert_true(who < workers);
			assert_int_equal(owner_of_frame(&owner, frame, make_tcp((uint16_t)port, 80), HERE),
					 who);
			counts[who]++;
		}
		for (uint32_t i = 0; i < workers; i++)
			assert_in_range(counts[i], 10000 / workers * 9 / 10, 10000 / workers * 11 / 10 + 1);
	}
}

/* Flows that meet at one worker under one key are spread under another: nobody outside can choose. */
static void another_key_spreads_otherwise(void **state)
{
	const struct siphash_key other = {1, 2};
	struct owner under_other;
	uint32_t same = 0, seen = 0;

	(void)state;
	owner_init(&under_other, &other, 4, OWNER_BY_HASH);
	for (uint32_t port = 1; port <= 8000; port++) {
		const struct tuple4 tuple = {SERVER, PEER, 80, (uint16_t)port};

		if (owner_of(&owner, &tuple) != 0)
			continue;
		seen++;
		same += owner_of(&under_other, &tuple) == 0;
	}
	assert_in_range(same, seen / 5, seen / 3);
}

static void a_test_may_name_the_owner(void **state)
{
	(void)state;
	owner_init(&owner, &key, 4, 3);
	for (uint32_t port = 1; port <= 100; port++)
		assert_int_equal(owner_of_frame(&owner, frame, make_tcp((uint16_t)port, 80), HERE), 3);
}

static void control_frames_belong_to_worker_0(void **state)
{
	const struct eth_header arp = {eth_broadcast, {{2, 0, 0, 0, 0, 2}}, ETH_TYPE_ARP};
	const uint8_t ping[8] = {8};
	uint32_t bytes;

	(void)state;
	eth_emit(frame, &arp);
	assert_int_equal(owner_of_frame(&owner, frame, ETH_HEADER_BYTES + ARP_BYTES, HERE), 0);
	bytes = make_ipv4(IP_PROTOCOL_ICMP, 0, PEER, SERVER, 16);
	icmp_emit(body(), ICMP_ECHO_REQUEST, 0, 1, ping, 8);
	assert_int_equal(owner_of_frame(&owner, frame, bytes, HERE), 0);
	bytes = make_ipv4(IP_PROTOCOL_UDP, 0, PEER, SERVER, 16);
	assert_int_equal(owner_of_frame(&owner, frame, bytes, HERE), 0);
}

/* Whichever fragment has the ports: they must meet. */
static void fragments_meet(void **state)
{
	uint32_t bytes;

	(void)state;
	bytes = make_ipv4(IP_PROTOCOL_TCP, IPV4_MF, PEER, SERVER, 24);
	put16(body(), 1234);
	assert_int_equal(owner_of_frame(&owner, frame, bytes, HERE), 0);
	bytes = make_ipv4(IP_PROTOCOL_TCP, 24, PEER, SERVER, 24);
	assert_int_equal(owner_of_frame(&owner, frame, bytes, HERE), 0);
}

static void an_icmp_error_follows_its_flow(void **state)
{
	(void)state;
	for (uint16_t port = 1; port < 500; port++) {
		const struct ipv4_header quoted = {.source = SERVER,
						   .destination = PEER,
						   .total_bytes = 40,
						   .ttl = 1,
						   .protocol = IP_PROTOCOL_TCP};
		const struct tuple4 tuple = {SERVER, PEER, 80, port};
		uint8_t quote[IPV4_HEADER_BYTES + 8] = {0};
		uint32_t bytes = make_ipv4(IP_PROTOCOL_ICMP, 0, 0x0a000063, SERVER,
					   ICMP_HEADER_BYTES + sizeof(quote));

		ipv4_emit(quote, &quoted);
		put16(quote + IPV4_HEADER_BYTES, 80);
		put16(quote + IPV4_HEADER_BYTES + 2, port);
		icmp_emit(body(), ICMP_UNREACHABLE, ICMP_CODE_FRAGMENTATION_NEEDED, 1400, quote,
			  sizeof(quote));
		assert_int_equal(owner_of_frame(&owner, frame, bytes, HERE), owner_of(&owner, &tuple));
	}
}

/* What makes no sense stays where it is, and is dropped there; no length trips it. */
static void what_cannot_be_parsed_stays(void **state)
{
	uint32_t bytes = make_tcp(1, 2);

	(void)state;
	for (uint32_t cut = 0; cut < bytes - 20 + 4; cut++) {
		uint32_t who = owner_of_frame(&owner, frame, cut, HERE);

		assert_int_equal(who, HERE);
	}
	frame[ETH_HEADER_BYTES] = 0x65;
	assert_int_equal(owner_of_frame(&owner, frame, bytes, HERE), HERE);
	bytes = make_ipv4(IP_PROTOCOL_TCP, 0, PEER, SERVER, 3);
	assert_int_equal(owner_of_frame(&owner, frame, bytes, HERE), HERE);
	bytes = make_ipv4(IP_PROTOCOL_ICMP, 0, PEER, SERVER, 4);
	assert_int_equal(owner_of_frame(&owner, frame, bytes, HERE), HERE);
}

/* --- the card's hash ------------------------------------------------------------------------ */

/* The key and the sums that Microsoft publishes to verify receive side scaling. */
static const uint8_t published_key[40] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

static void the_cards_hash_is_toeplitz(void **state)
{
	static const struct {
		const char *destination, *source;
		uint16_t destination_port, source_port;
		uint32_t hash;
	} published[] = {
		{"161.142.100.80", "66.9.149.187", 1766, 2794, 0x51ccc178},
		{"65.69.140.83", "199.92.111.2", 4739, 14230, 0xc626b0ea},
		{"12.22.207.184", "24.19.198.95", 38024, 12898, 0x5c2b394a},
		{"209.142.163.6", "38.27.205.30", 2217, 48228, 0xafc7327f},
		{"202.188.127.2", "153.39.163.191", 1303, 44251, 0x10e828a2},
	};
	static struct owner_rss rss;

	(void)state;
	owner_rss_init(&rss, published_key, sizeof(published_key), 128);
	for (size_t i = 0; i < ARRAY_COUNT(published); i++) {
		struct tuple4 tuple = {.local_port = published[i].destination_port,
				       .remote_port = published[i].source_port};

		assert_true(ipv4_from_text(published[i].destination, &tuple.local_ip));
		assert_true(ipv4_from_text(published[i].source, &tuple.remote_ip));
		assert_int_equal(owner_rss_hash(&rss, &tuple), published[i].hash);
	}
}

static void flows_belong_where_the_card_sends_them(void **state)
{
	static struct owner_rss rss;
	uint32_t counts[4] = {0};

	(void)state;
	owner_rss_init(&rss, published_key, sizeof(published_key), 128);
	for (uint32_t i = 0; i < 128; i++)
		rss.workers[i] = (uint8_t)(i % 4);
	owner.rss = &rss;
	for (uint32_t port = 1; port <= 10000; port++) {
		const struct tuple4 tuple = {SERVER, PEER, 80, (uint16_t)port};
		uint32_t who = owner_of_frame(&owner, frame, make_tcp((uint16_t)port, 80), HERE);

		assert_int_equal(who, owner_rss_hash(&rss, &tuple) % 4);
		counts[who]++;
	}
	for (uint32_t i = 0; i < 4; i++)
		assert_in_range(counts[i], 2000, 3000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(flows_are_spread_evenly, setup),
		cmocka_unit_test_setup(another_key_spreads_otherwise, setup),
		cmocka_unit_test_setup(a_test_may_name_the_owner, setup),
		cmocka_unit_test_setup(control_frames_belong_to_worker_0, setup),
		cmocka_unit_test_setup(fragments_meet, setup),
		cmocka_unit_test_setup(an_icmp_error_follows_its_flow, setup),
		cmocka_unit_test_setup(what_cannot_be_parsed_stays, setup),
		cmocka_unit_test_setup(the_cards_hash_is_toeplitz, setup),
		cmocka_unit_test_setup(flows_belong_where_the_card_sends_them, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
