/* test_checksum.c - the Internet checksum against RFC 1071 and against its plain form. */
#include "wire_test.h"

#include "wire/checksum.h"

/* A memory-order value as the number that is on the wire. */
static uint16_t on_wire(uint16_t value)
{
	uint8_t bytes[2];

	memcpy(bytes, &value, 2);
	return get16(bytes);
}

static void rfc1071_example(void **state)
{
	static const uint8_t example[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
	uint32_t first, second;

	(void)state;
	assert_int_equal(on_wire(csum_finish(csum_add(0, example, 8))), (uint16_t)~0xddf2);
	/* Section 2 (B): the second group starts at an odd byte, so its sum is swapped. */
	first = csum_add(0, example, 3);
	second = csum_add(0, example + 3, 5);
	assert_int_equal(on_wire(csum_finish(csum_join(first, csum_shift_odd(second)))), (uint16_t)~0xddf2);
}

static void known_ipv4_header(void **state)
{
	/* A header whose checksum, 0xb861, is left in place: the sum is all ones. */
	static const uint8_t header[] = {0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
					 0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};
	uint8_t without[sizeof(header)];

	(void)state;
	assert_int_equal(csum_finish(csum_add(0, header, sizeof(header))), 0);
	assert_int_equal(csum_finish(csum_fold64(csum_header(0, header, sizeof(header)))), 0);
	memcpy(without, header, sizeof(header));
	put16(without + 10, 0);
	assert_int_equal(on_wire(csum_finish(csum_add(0, without, sizeof(without)))), 0xb861);
}

static void zero_and_ones(void **state)
{
	static const uint8_t zeros[64], ones[2] = {0xff, 0xff};

	(void)state;
	assert_int_equal(csum_finish(0), 0xffff);
	assert_int_equal(csum_finish(0xffffffff), 0);
	assert_int_equal(csum_add(0, NULL, 0), 0);
	assert_int_equal(csum_finish(csum_add(0, zeros, sizeof(zeros))), 0xffff);
	assert_int_equal(csum_finish(csum_add(0, ones, 2)), 0);
	assert_int_equal(csum_finish(csum_add(0xffffffff, ones, 2)), 0);
}

static void all_ones_carry(void **state)
{
	struct guarded guarded = guarded_make();

	(void)state;
	memset(guarded.start, 0xff, GUARDED_BYTES);
	for (size_t bytes = 65535; bytes <= GUARDED_BYTES; bytes += 65536 - 1) {
		uint32_t sum = csum_add(0xffffffff, guarded.end - bytes, bytes);

		assert_int_equal(on_wire(csum_finish(sum)),
				 (uint16_t)~naive_sum(0xffff, guarded.end - bytes, bytes));
	}
	guarded_free(guarded);
}

/* One piece, at both ends of what may be read. */
static void check_sum(const uint8_t *at, size_t bytes)
{
	assert_int_equal(on_wire(csum_finish(csum_add(0, at, bytes))), naive_checksum(at, bytes));
}

static void every_length_and_alignment(void **state)
{
	struct guarded guarded = guarded_make();

	(void)state;
	test_random_bytes(guarded.start, GUARDED_BYTES);
	for (size_t bytes = 0; bytes <= 1600; bytes++) {
		for (size_t shift = 0; shift < 33; shift++) {
			check_sum(guarded.end - bytes - shift, bytes);
			check_sum(guarded.start + shift, bytes);
		}
	}
	check_sum(guarded.end - 65535, 65535);
	check_sum(guarded.start, GUARDED_BYTES);
	guarded_free(guarded);
}

/* Copies with a frame of known bytes around the target, which must stay. */
static void check_copy(const uint8_t *from, uint8_t *to, size_t bytes, bool room_behind)
{
	uint32_t start = (uint32_t)test_random(), sum;

	memset(to - 8, 0x5a, bytes + 8 + (room_behind ? 8 : 0));
	sum = csum_copy(start, to, from, bytes);
	assert_memory_equal(to, from, bytes);
	assert_int_equal(csum_finish(sum), csum_finish(csum_add(start, from, bytes)));
	for (size_t i = 1; i <= 8; i++) {
		assert_int_equal(to[-(ptrdiff_t)i], 0x5a);
		if (room_behind)
			assert_int_equal(to[bytes + i - 1], 0x5a);
	}
}

static void copy_every_length_and_alignment(void **state)
{
	struct guarded from = guarded_make(), to = guarded_make();

	(void)state;
	test_random_bytes(from.start, GUARDED_BYTES);
	for (size_t bytes = 0; bytes <= 1600; bytes += bytes < 200 ? 1 : 13) {
		for (size_t shift = 0; shift < 17; shift++) {
			check_copy(from.end - bytes - shift, to.end - bytes, bytes, false);
			check_copy(from.end - bytes, to.end - bytes - shift - 8, bytes, true);
		}
	}
	check_copy(from.end - 65535, to.end - 65535, 65535, false);
	guarded_free(from);
	guarded_free(to);
}

static void any_split_gives_the_same(void **state)
{
	uint8_t whole[301];

	(void)state;
	test_random_bytes(whole, sizeof(whole));
	for (size_t cut = 0; cut <= sizeof(whole); cut++) {
		uint32_t first = csum_add(0, whole, cut);
		uint32_t second = csum_add(0, whole + cut, sizeof(whole) - cut);
		uint32_t sum = csum_join(first, cut % 2 ? csum_shift_odd(second) : second);

		assert_int_equal(on_wire(csum_finish(sum)), naive_checksum(whole, sizeof(whole)));
		if (cut % 2 == 0)
			assert_int_equal(csum_finish(csum_add(first, whole + cut, sizeof(whole) - cut)),
					 csum_finish(sum));
	}
}

static void pseudo_header(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 100000; round++) {
		uint32_t source = (uint32_t)test_random(), destination = (uint32_t)test_random();
		uint32_t bytes = round < 4 ? 65535 - round : test_random_below(65536);
		uint8_t protocol = (uint8_t)test_random(), pseudo[12] = {0};

		put32(pseudo, source);
		put32(pseudo + 4, destination);
		pseudo[9] = protocol;
		put16(pseudo + 10, (uint16_t)bytes);
		assert_int_equal(on_wire(csum_finish(csum_pseudo4(source, destination, protocol, bytes))),
				 naive_checksum(pseudo, sizeof(pseudo)));
	}
}

static void flipped_bits_are_seen(void **state)
{
	uint8_t bytes[97];
	uint16_t right;

	(void)state;
	test_random_bytes(bytes, sizeof(bytes));
	right = csum_finish(csum_add(0, bytes, sizeof(bytes)));
	for (size_t bit = 0; bit < sizeof(bytes) * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_not_equal(csum_finish(csum_add(0, bytes, sizeof(bytes))), right);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc1071_example),
		cmocka_unit_test(known_ipv4_header),
		cmocka_unit_test(zero_and_ones),
		cmocka_unit_test(all_ones_carry),
		cmocka_unit_test(every_length_and_alignment),
		cmocka_unit_test(copy_every_length_and_alignment),
		cmocka_unit_test(any_split_gives_the_same),
		cmocka_unit_test(pseudo_header),
		cmocka_unit_test(flipped_bits_are_seen),
	};

	return cmocka_run_group_tests_name("checksum", tests, NULL, NULL);
}
