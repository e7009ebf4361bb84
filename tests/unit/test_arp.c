/* test_arp.c - ARP packets: what is right, and each way to be wrong. */
#include "wire_test.h"

#include "wire/arp.h"

static const uint8_t request[ARP_BYTES] = {
	0, 1, 8, 0, 6, 4, 0,  1,       /* Ethernet, IPv4, request */
	2, 0, 0, 0, 0, 2, 10, 0, 0, 2, /* sender */
	0, 0, 0, 0, 0, 0, 10, 0, 0, 1, /* target */
};

static void known_request(void **state)
{
	struct arp_packet arp;
	uint8_t again[ARP_BYTES];

	(void)state;
	assert_int_equal(arp_parse(request, sizeof(request), &arp), DROP_NONE);
	assert_int_equal(arp.operation, ARP_REQUEST);
	assert_int_equal(arp.sender_ip, 0x0a000002);
	assert_int_equal(arp.target_ip, 0x0a000001);
	assert_memory_equal(&arp.sender, request + 8, 6);
	assert_memory_equal(&arp.target, request + 18, 6);
	arp_emit(again, &arp);
	assert_memory_equal(again, request, sizeof(request));
}

static void every_truncation(void **state)
{
	struct guarded guarded = guarded_make();
	struct arp_packet arp;

	(void)state;
	for (size_t bytes = 0; bytes < ARP_BYTES; bytes++)
		assert_int_equal(arp_parse(guarded_put(guarded, request, bytes), bytes, &arp),
				 DROP_ARP_MALFORMED);
	assert_int_equal(arp_parse(guarded_put(guarded, request, ARP_BYTES), ARP_BYTES, &arp), DROP_NONE);
	guarded_free(guarded);
}

static void link_padding_is_fine(void **state)
{
	uint8_t padded[46] = {0};
	struct arp_packet arp;

	(void)state;
	memcpy(padded, request, sizeof(request));
	assert_int_equal(arp_parse(padded, sizeof(padded), &arp), DROP_NONE);
}

/* Every other value of the bytes that say what kind of packet it is. */
static void wrong_kinds(void **state)
{
	(void)state;
	for (unsigned at = 0; at < 8; at++) {
		for (unsigned value = 0; value < 256; value++) {
			uint8_t wrong[ARP_BYTES];
			struct arp_packet arp;
			bool right = value == request[at] || (at == 7 && value == ARP_REPLY);

			memcpy(wrong, request, sizeof(wrong));
			wrong[at] = (uint8_t)value;
			assert_int_equal(arp_parse(wrong, sizeof(wrong), &arp),
					 right ? DROP_NONE : DROP_ARP_MALFORMED);
		}
	}
}

static void group_sender(void **state)
{
	uint8_t wrong[ARP_BYTES];
	struct arp_packet arp;

	(void)state;
	memcpy(wrong, request, sizeof(wrong));
	memset(wrong + 8, 0xff, 6);
	assert_int_equal(arp_parse(wrong, sizeof(wrong), &arp), DROP_ARP_MALFORMED);
	wrong[8] = 1;
	assert_int_equal(arp_parse(wrong, sizeof(wrong), &arp), DROP_ARP_MALFORMED);
}

static void round_trip(void **state)
{
	struct guarded guarded = guarded_make();
	uint8_t *at = guarded.end - ARP_BYTES;

	(void)state;
	for (unsigned round = 0; round < 10000; round++) {
		struct arp_packet in, out;

		test_random_bytes((uint8_t *)&in, sizeof(in));
		in.operation = round % 2 ? ARP_REQUEST : ARP_REPLY;
		in.sender.octets[0] &= 0xfe;
		arp_emit(at, &in);
		assert_int_equal(arp_parse(at, ARP_BYTES, &out), DROP_NONE);
		assert_int_equal(in.operation, out.operation);
		assert_memory_equal(&in.sender, &out.sender, 6);
		assert_memory_equal(&in.target, &out.target, 6);
		assert_int_equal(in.sender_ip, out.sender_ip);
		assert_int_equal(in.target_ip, out.target_ip);
	}
	guarded_free(guarded);
}

static void hostile_bytes(void **state)
{
	struct guarded guarded = guarded_make();
	unsigned parsed = 0;

	(void)state;
	for (unsigned round = 0; round < 1000000; round++) {
		size_t bytes = test_random_below(ARP_BYTES + 8);
		uint8_t *at = guarded.end - bytes;
		struct arp_packet arp;

		test_random_bytes(at, bytes);
		for (size_t i = 0; i < bytes && i < 7; i++)
			if (test_random() >> 61)
				at[i] = request[i];
		parsed += arp_parse(at, bytes, &arp) == DROP_NONE;
	}
	assert_true(parsed > 0);
	guarded_free(guarded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_request),        cmocka_unit_test(every_truncation),
		cmocka_unit_test(link_padding_is_fine), cmocka_unit_test(wrong_kinds),
		cmocka_unit_test(group_sender),         cmocka_unit_test(round_trip),
		cmocka_unit_test(hostile_bytes),
	};

	return cmocka_run_group_tests_name("arp", tests, NULL, NULL);
}
