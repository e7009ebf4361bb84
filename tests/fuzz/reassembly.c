/* reassembly.c - any fragments in any order, and ICMP messages: nothing may grow, hang or come out that did
 * not go in. In: bytes of libFuzzer, as actions: a fragment of one of a few datagrams with the right bytes or
 * with wrong ones, a raw header, an ICMP message of any kind, time.  Each byte of a datagram is known from
 * its number and its place: what comes out whole without a lie in between must be exactly that. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "net/reassembly.h"
#include "wire/tcp.h"

#define DATAGRAMS 24u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *at, *end;
};

static uint32_t take(struct input *input, unsigned bytes)
{
	uint32_t value = 0;

	for (; bytes && input->at < input->end; bytes--)
		value = value << 8 | *input->at++;
	return value;
}

static uint8_t byte_of(uint32_t datagram, uint32_t offset)
{
	if (offset == 12)
		return 0x50; /* a TCP header of 20 bytes ... */
	if (offset == 13)
		return TCP_ACK;
	if (offset == 16 || offset == 17 || offset == 18 || offset == 19)
		return 0;
	return (uint8_t)((offset * 31 ^ offset >> 5) + datagram * 7);
}

/* ... whose checksum makes the sum over `bytes` bytes right. */
static void seal(uint8_t *payload, uint32_t source, uint32_t destination, uint32_t bytes)
{
	uint16_t check = csum_finish(
		csum_add(csum_pseudo4(source, destination, IP_PROTOCOL_TCP, bytes), payload, bytes));

	memcpy(payload + 16, &check, sizeof(check));
}

static uint8_t payloads[DATAGRAMS][65536];

static uint32_t bytes_of(uint32_t i)
{
	static const uint32_t lengths[] = {24, 60, 600, 1500, 3000, 9000, 40000, 65515};

	return lengths[i % ARRAY_COUNT(lengths)];
}

/* What datagram i is. */
static void make(uint8_t *payload, uint32_t i)
{
	uint32_t bytes = bytes_of(i);

	for (uint32_t at = 0; at < bytes; at++)
		payload[at] = byte_of(i, at);
	seal(payload, 0x0a000100 + i % 5, 0x0a000001, bytes);
}

static uint32_t emit(uint8_t *frame, uint32_t i, uint32_t offset, uint32_t bytes, bool more, uint8_t protocol)
{
	const struct ipv4_header ip = {
		.source = 0x0a000100 + i % 5,
		.destination = 0x0a000001,
		.id = (uint16_t)i,
		.flags = more ? IPV4_MF : 0,
		.fragment_offset = (uint16_t)offset,
		.ttl = 1,
		.protocol = protocol,
		.total_bytes = (uint16_t)(IPV4_HEADER_BYTES + bytes),
	};

	memset(frame, 2, ETH_HEADER_BYTES);
	put16(frame + 12, ETH_TYPE_IPV4);
	ipv4_emit(frame + ETH_HEADER_BYTES, &ip);
	return ETH_HEADER_BYTES + IPV4_HEADER_BYTES + bytes;
}

/* What comes out parses, has a length that fits, and is where it says. Nobody lied about this datagram's
 * length and checksum, so it is the one that went in. */
static void look(struct reassembly *table)
{
	struct packet packet;
	uint32_t rounds = 0, datagram = UINT32_MAX, at = 0;

	while (reassembly_next(table, REASSEMBLY_WHOLE, &packet)) {
		struct ipv4_header ip;

		CHECK(++rounds < 4000);
		CHECK(packet.bytes <= ETH_HEADER_BYTES + REASSEMBLY_PIECE_BYTES);
		CHECK(ipv4_parse(packet.data + ETH_HEADER_BYTES, packet.bytes - ETH_HEADER_BYTES, &ip) ==
		      DROP_NONE);
		CHECK(!(ip.flags & IPV4_MF) && ip.fragment_offset == 0);
		if (ip.protocol != IP_PROTOCOL_TCP)
			continue;
		if (datagram != ip.id)
			at = TCP_HEADER_BYTES;
		datagram = ip.id;
		if (datagram >= DATAGRAMS)
			continue;
		for (uint32_t i = ETH_HEADER_BYTES + IPV4_HEADER_BYTES + TCP_HEADER_BYTES; i < packet.bytes;
		     i++)
			CHECK(packet.data[i] == byte_of(datagram, at++));
	}
	CHECK(table->ready == 0);
}

static void check_table(const struct reassembly *table)
{
	uint32_t live = 0, pages = 0;

	for (uint32_t i = 0; i < REASSEMBLY_MAX; i++) {
		const struct reassembly_datagram *datagram = &table->datagrams[i];

		live += datagram->state != REASSEMBLY_FREE;
		pages += datagram->page_count;
		CHECK(datagram->have_bytes <= datagram->highest || datagram->state != REASSEMBLY_FILLING);
	}
	CHECK(live == table->live && pages == pool_live(&table->pages));
}

/* Bytes of the frame: exactly as many as it has, so that one beyond is seen. */
static void give(struct reassembly *table, const uint8_t *frame, uint32_t bytes, uint32_t now)
{
	uint8_t *copy = malloc(bytes);
	struct ipv4_header ip;

	CHECK(copy);
	memcpy(copy, frame, bytes);
	if (ipv4_parse(copy + ETH_HEADER_BYTES, bytes - ETH_HEADER_BYTES, &ip) == DROP_NONE)
		reassembly_input(table, copy, &ip, now);
	free(copy);
}

static void act(struct reassembly *table, struct input *input, uint32_t *now)
{
	static uint8_t frame[70000];
	uint32_t action = take(input, 1), i = take(input, 1) % DATAGRAMS, whole = bytes_of(i);
	uint32_t offset = take(input, 2) * 8 % (whole + 7) / 8 * 8, bytes = take(input, 2), total;
	struct reassembly_quote quote;

	offset = MIN_OF(offset, whole - 1) / 8 * 8;
	bytes = MIN_OF(bytes, whole - offset);
	if (offset + bytes < whole)
		bytes &= ~7u;
	total = emit(frame, i, offset, bytes, offset + bytes < whole, IP_PROTOCOL_TCP);
	memcpy(frame + total - bytes, payloads[i] + offset, bytes);
	switch (action % 8) {
	case 0: /* another protocol, which is never mixed up with it */
		frame[ETH_HEADER_BYTES + 9] = IP_PROTOCOL_ICMP;
		break;
	case 1: /* flags and offset as they like: the id is none of those that are compared */
		put16(frame + ETH_HEADER_BYTES + 4, (uint16_t)(DATAGRAMS + take(input, 1) % 3));
		put16(frame + ETH_HEADER_BYTES + 6, (uint16_t)take(input, 2));
		break;
	case 2:
		*now += take(input, 2);
		while (table->live && reassembly_expire(table, *now, &quote))
			CHECK(quote.bytes <= sizeof(quote.packet));
		return;
	default:
		break;
	}
	put16(frame + ETH_HEADER_BYTES + 10, 0);
	{
		uint16_t check = csum_finish(csum_add(0, frame + ETH_HEADER_BYTES, IPV4_HEADER_BYTES));

		memcpy(frame + ETH_HEADER_BYTES + 10, &check, sizeof(check));
	}
	give(table, frame, total, *now);
	look(table);
	check_table(table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void *memory;
	struct input input = {data, data + size};
	struct counters counters = {0};
	struct reassembly table;
	uint32_t now = 0xfffff000u; /* the clock wraps on the way */

	for (uint32_t i = 0; !memory && i < DATAGRAMS; i++)
		make(payloads[i], i);
	if (!memory)
		memory = aligned_alloc(64, (reassembly_bytes() + 63) / 64 * 64);
	CHECK(memory);
	reassembly_init(&table, memory, &counters);
	while (input.at < input.end)
		act(&table, &input, &now);
	return 0;
}
