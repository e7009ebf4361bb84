/* ethernet.c - the 14 bytes in front of every packet.
 * In: frames from a port.  Out: addresses and type, or a drop reason.  Owns: nothing. */
#include "wire/ethernet.h"

const struct eth_address eth_broadcast = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

enum drop_reason eth_parse(const uint8_t *frame, size_t bytes, struct eth_header *header)
{
	if (unlikely(bytes < ETH_HEADER_BYTES))
		return DROP_ETH_SHORT;
	memcpy(&header->destination, frame, 6);
	memcpy(&header->source, frame + 6, 6);
	header->type = get16(frame + 12);
	return DROP_NONE;
}

void eth_emit(uint8_t *at, const struct eth_header *header)
{
	memcpy(at, &header->destination, 6);
	memcpy(at + 6, &header->source, 6);
	put16(at + 12, header->type);
}
