/* test_ethernet.c - Ethernet headers. */
#include "wire_test.h"

#include "wire/ethernet.h"

/* proves RFC1122-LINK-04 */
static void known_frame(void **state)
{
	static const uint8_t frame[] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x06};
	struct eth_header header;

	(void)state;
	assert_int_equal(eth_parse(frame, sizeof(frame), &header), DROP_NONE);
	assert_memory_equal(&header.destination, frame, 6);
	assert_memory_equal(&header.source, frame + 6, 6);
	assert_int_equal(header.type, ETH_TYPE_ARP);
}

static void every_truncation(void **state)
{
	static const uint8_t frame[ETH_HEADER_BYTES];
	struct guarded guarded = guarded_make();
	struct eth_header header;

	(void)state;
	for (size_t bytes = 0; bytes < ETH_HEADER_BYTES; bytes++)
		assert_int_equal(eth_parse(guarded_put(guarded, frame, bytes), bytes, &header),
				 DROP_ETH_SHORT);
	assert_int_equal(eth_parse(guarded_put(guarded, frame, ETH_HEADER_BYTES), ETH_HEADER_BYTES, &header),
			 DROP_NONE);
	guarded_free(guarded);
}

/* proves RFC1122-LINK-04 */
static void round_trip(void **state)
{
	struct guarded guarded = guarded_make();
	uint8_t *at = guarded.end - ETH_HEADER_BYTES;

	(void)state;
	for (unsigned round = 0; round < 10000; round++) {
		struct eth_header in, out;

		test_random_bytes((uint8_t *)&in, sizeof(in));
		eth_emit(at, &in);
		assert_int_equal(get16(at + 12), in.type);
		assert_int_equal(eth_parse(at, ETH_HEADER_BYTES, &out), DROP_NONE);
		assert_true(eth_equal(&in.destination, &out.destination));
		assert_true(eth_equal(&in.source, &out.source));
		assert_int_equal(in.type, out.type);
	}
	guarded_free(guarded);
}

static void addresses(void **state)
{
	struct eth_address one = {{2, 0, 0, 0, 0, 1}}, other = one;

	(void)state;
	assert_true(eth_is_multicast(&eth_broadcast));
	assert_false(eth_is_multicast(&one));
	assert_true(eth_is_multicast(&(struct eth_address){{1, 0, 0x5e, 0, 0, 1}}));
	assert_true(eth_equal(&one, &other));
	for (unsigned i = 0; i < 6; i++) {
		other.octets[i] ^= 0x80;
		assert_false(eth_equal(&one, &other));
		other.octets[i] ^= 0x80;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_frame),
		cmocka_unit_test(every_truncation),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(addresses),
	};

	return cmocka_run_group_tests_name("ethernet", tests, NULL, NULL);
}
