/* test_afxdp.c - the rings of the afxdp port, with the test in the kernel's part: frames are
 * never lost or owned twice, and a descriptor that is wrong is refused and counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/random.h"
#include "port/afxdp_internal.h"
#include "port/afxdp_sums.h"
#include "wire/bytes.h"
#include "wire/checksum.h"

#define FRAMES 512u
#define HALF   (FRAMES / 2)

/* The port, the memory of its four rings, and what the kernel holds. */
struct rig {
	struct afxdp_port afxdp;
	uint32_t producer[4], consumer[4], flags[4]; /* fill, completion, rx, tx */
	uint64_t fill[FRAMES], completion[HALF];
	struct xdp_desc rx[HALF], tx[HALF];
	uint64_t held[FRAMES]; /* frames to receive into that the kernel fetched */
	uint32_t held_count;
	struct xdp_desc sending[HALF];
	uint32_t sending_count;
};

static void setup_producer(struct rig *rig, struct xsk_ring_prod *ring, int number, uint32_t size,
			   void *slots)
{
	*ring = (struct xsk_ring_prod){.cached_cons = size,
				       .mask = size - 1,
				       .size = size,
				       .ring = slots,
				       .producer = &rig->producer[number],
				       .consumer = &rig->consumer[number],
				       .flags = &rig->flags[number]};
}

static void setup_consumer(struct rig *rig, struct xsk_ring_cons *ring, int number, uint32_t size,
			   void *slots)
{
	*ring = (struct xsk_ring_cons){.mask = size - 1,
				       .size = size,
				       .ring = slots,
				       .producer = &rig->producer[number],
				       .consumer = &rig->consumer[number],
				       .flags = &rig->flags[number]};
}

static struct rig *rig_new(void)
{
	struct rig *rig = aligned_alloc(CACHE_LINE, ALIGN_UP(sizeof(*rig), (size_t)CACHE_LINE));
	struct afxdp_port *afxdp;

	assert_non_null(rig);
	memset(rig, 0, sizeof(*rig));
	for (int i = 0; i < 4; i++) { /* next to the wrap of the cursors */
		rig->producer[i] = rig->consumer[i] = UINT32_MAX - 100;
	}
	afxdp = &rig->afxdp;
	setup_producer(rig, &afxdp->fill, 0, FRAMES, rig->fill);
	setup_consumer(rig, &afxdp->completion, 1, HALF, rig->completion);
	setup_consumer(rig, &afxdp->rx, 2, HALF, rig->rx);
	setup_producer(rig, &afxdp->tx, 3, HALF, rig->tx);
	afxdp->fill.cached_prod = afxdp->tx.cached_prod = UINT32_MAX - 100;
	afxdp->fill.cached_cons += UINT32_MAX - 100;
	afxdp->tx.cached_cons += UINT32_MAX - 100;
	afxdp->completion.cached_prod = afxdp->completion.cached_cons = UINT32_MAX - 100;
	afxdp->rx.cached_prod = afxdp->rx.cached_cons = UINT32_MAX - 100;
	afxdp->port.ops = &afxdp_ops;
	afxdp->frames = FRAMES;
	afxdp->fd = -1;
	afxdp->umem = calloc(FRAMES, AFXDP_FRAME_BYTES);
	afxdp->umem_bytes = (size_t)FRAMES * AFXDP_FRAME_BYTES;
	afxdp->state = calloc(FRAMES, sizeof(*afxdp->state));
	afxdp->free = calloc(FRAMES, sizeof(*afxdp->free));
	afxdp->spare = calloc(FRAMES, sizeof(*afxdp->spare));
	afxdp_frames_init(afxdp);
	return rig;
}

static void rig_free(struct rig *rig)
{
	free(rig->afxdp.umem);
	free(rig->afxdp.state);
	free(rig->afxdp.free);
	free(rig->afxdp.spare);
	free(rig);
}

/* --- the kernel's part ------------------------------------------------------- */

/* Fetches frames to receive into; says so at once or, as the real one does, later. */
static void kernel_fetch(struct rig *rig, uint32_t *consumer, bool publish)
{
	while (*consumer != rig->producer[0]) {
		rig->held[rig->held_count++] = rig->fill[*consumer % FRAMES];
		*consumer += 1;
	}
	if (publish)
		rig->consumer[0] = *consumer;
}

static void kernel_post_piece(struct rig *rig, uint64_t address, uint32_t bytes, bool more)
{
	rig->rx[rig->producer[2] % HALF] =
		(struct xdp_desc){.addr = address, .len = bytes, .options = more ? XDP_PKT_CONTD : 0};
	rig->producer[2]++;
}

static void kernel_post(struct rig *rig, uint64_t address, uint32_t bytes)
{
	kernel_post_piece(rig, address, bytes, false);
}

static void kernel_receive(struct rig *rig, uint32_t count)
{
	while (count-- > 0 && rig->held_count > 0)
		kernel_post(rig, rig->held[--rig->held_count] + 256, 100);
}

static void kernel_send(struct rig *rig)
{
	while (rig->consumer[3] != rig->producer[3])
		rig->sending[rig->sending_count++] = rig->tx[rig->consumer[3]++ % HALF];
}

static void kernel_complete(struct rig *rig, uint32_t count)
{
	while (count-- > 0 && rig->sending_count > 0)
		rig->completion[rig->producer[1]++ % HALF] = rig->sending[--rig->sending_count].addr;
}

/* Counts each frame in every place where it can be; once in all is right. */
static void assert_frames_whole(const struct rig *rig)
{
	const struct afxdp_port *afxdp = &rig->afxdp;
	uint8_t seen[FRAMES] = {0};

	for (uint32_t i = 0; i < afxdp->free_count; i++)
		seen[afxdp->free[i]]++;
	for (uint32_t i = 0; i < afxdp->spare_count; i++)
		seen[afxdp->spare[i]]++;
	for (uint32_t i = 0; i < rig->held_count; i++)
		seen[rig->held[i] >> AFXDP_FRAME_SHIFT]++;
	for (uint32_t i = 0; i < rig->sending_count; i++)
		seen[rig->sending[i].addr >> AFXDP_FRAME_SHIFT]++;
	for (uint32_t i = 0; i < FRAMES; i++)
		assert_int_equal(seen[i], 1);
}

/* --- tests ------------------------------------------------------------------- */

static void receive_some(struct rig *rig, uint32_t max)
{
	struct packet packets[PORT_BURST];
	uint32_t count = port_rx(&rig->afxdp.port, packets, max);

	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(packets[i].bytes, 100);
		assert_ptr_equal(packets[i].data,
				 rig->afxdp.umem + packets[i].port_ref * AFXDP_FRAME_BYTES + 256);
		assert_int_equal(rig->afxdp.state[packets[i].port_ref], AFXDP_FRAME_LENT);
	}
	for (uint32_t i = count / 2; i > 0; i--) { /* in another order */
		struct packet keep = packets[i - 1];

		packets[i - 1] = packets[count - i];
		packets[count - i] = keep;
	}
	port_rx_release(&rig->afxdp.port, packets, count);
}

static void send_some(struct rig *rig, uint32_t wanted, uint32_t unused)
{
	struct packet packets[PORT_BURST];
	uint32_t count = port_tx_reserve(&rig->afxdp.port, packets, wanted);
	uint32_t filled = count - MIN_OF(count, unused);

	for (uint32_t i = 0; i < filled; i++)
		packets[i].bytes = 60 + i;
	port_tx_submit(&rig->afxdp.port, packets, filled, count);
}

/* Whatever the order of events, with the kernel late in every way it can be. */
static void test_frames_are_never_lost(void **state)
{
	struct rig *rig = rig_new();
	struct random random = random_seeded(11);
	uint32_t fetched = rig->consumer[0];

	(void)state;
	for (uint32_t round = 0; round < 20000; round++) {
		kernel_fetch(rig, &fetched, random_below(&random, 8) == 0);
		kernel_receive(rig, random_below(&random, 80));
		receive_some(rig, random_below(&random, PORT_BURST + 1));
		send_some(rig, random_below(&random, PORT_BURST + 1), random_below(&random, 8));
		kernel_send(rig);
		kernel_complete(rig, random_below(&random, 70));
		assert_int_equal(rig->afxdp.reserved, 0);
	}
	kernel_fetch(rig, &fetched, true);
	kernel_complete(rig, HALF);
	while (rig->consumer[2] != rig->producer[2])
		receive_some(rig, PORT_BURST);
	send_some(rig, 1, 1);
	kernel_fetch(rig, &fetched, true);
	assert_frames_whole(rig);
	assert_int_equal(rig->afxdp.free_count, HALF);
	assert_int_equal(rig->afxdp.sending, 0);
	assert_int_equal(rig->afxdp.port.stats.rx_invalid, 0);
	assert_true(rig->afxdp.port.stats.rx_packets > 100000 && rig->afxdp.port.stats.tx_packets > 100000);
	rig_free(rig);
}

static void test_full(void **state)
{
	struct rig *rig = rig_new();
	struct port *port = &rig->afxdp.port;
	struct packet packets[HALF + 1];

	(void)state;
	assert_int_equal(port_tx_reserve(port, packets, HALF + 1), HALF);
	assert_int_equal(port->stats.tx_full, 1);
	for (uint32_t i = 0; i < HALF; i++)
		packets[i].bytes = 60;
	port_tx_submit(port, packets, HALF, HALF);
	assert_int_equal(port_tx_reserve(port, packets, 1), 0);
	assert_int_equal(port->stats.tx_full, 2);
	kernel_send(rig);
	assert_int_equal(port_tx_reserve(port, packets, 1), 0); /* sent, but not completed */
	kernel_complete(rig, 3);
	assert_int_equal(port_tx_reserve(port, packets, 5), 3);
	rig_free(rig);
}

/* Several reservations at a time never promise more than there is. */
static void test_reserved_twice(void **state)
{
	struct rig *rig = rig_new();
	struct port *port = &rig->afxdp.port;
	struct packet first[HALF], second[HALF];
	uint32_t count;

	(void)state;
	assert_int_equal(port_tx_reserve(port, first, 200), 200);
	count = port_tx_reserve(port, second, 200);
	assert_int_equal(count, HALF - 200);
	for (uint32_t i = 0; i < 200; i++)
		first[i].bytes = second[i].bytes = 60;
	port_tx_submit(port, first, 200, 200);
	port_tx_submit(port, second, count, count);
	kernel_send(rig);
	assert_int_equal(rig->sending_count, HALF);
	rig_free(rig);
}

/* Completed frames are free again, but the kernel has not said yet that it left the ring's places. */
static void test_late_transmit_ring(void **state)
{
	struct rig *rig = rig_new();
	struct port *port = &rig->afxdp.port;
	struct packet first[HALF], second[HALF];
	uint32_t before = rig->consumer[3], count;

	(void)state;
	send_some(rig, 60, 0);
	kernel_send(rig);
	kernel_complete(rig, 60);
	rig->consumer[3] = before;
	assert_int_equal(port_tx_reserve(port, first, 150), 150);
	count = port_tx_reserve(port, second, 150);
	assert_int_equal(count, HALF - 60 - 150);
	for (uint32_t i = 0; i < 150; i++)
		first[i].bytes = second[i].bytes = 60;
	port_tx_submit(port, second, count, count);
	port_tx_submit(port, first, 150, 150);
	rig_free(rig);
}

static void test_wrong_descriptors(void **state)
{
	struct rig *rig = rig_new();
	struct port *port = &rig->afxdp.port;
	struct packet packets[PORT_BURST];
	uint32_t fetched = rig->consumer[0];
	uint64_t good;

	(void)state;
	kernel_fetch(rig, &fetched, true);
	good = rig->held[--rig->held_count];
	kernel_post(rig, rig->afxdp.umem_bytes, 64);           /* behind the memory */
	kernel_post(rig, UINT64_MAX - 10, 64);                 /* far behind */
	kernel_post(rig, good + 256, AFXDP_FRAME_BYTES - 255); /* into the next frame */
	kernel_post(rig, good, UINT32_MAX);
	kernel_post(rig, (uint64_t)HALF * AFXDP_FRAME_BYTES, 64); /* a frame to send with */
	kernel_post(rig, good + 256, AFXDP_FRAME_BYTES - 256);    /* right */
	kernel_post(rig, good + 256, 64);                         /* and once more */
	assert_int_equal(port_rx(port, packets, PORT_BURST), 1);
	assert_int_equal(packets[0].bytes, AFXDP_FRAME_BYTES - 256);
	assert_int_equal(port->stats.rx_invalid, 6);
	kernel_post(rig, good + 256, 64); /* while it is lent */
	assert_int_equal(port_rx(port, packets + 1, PORT_BURST - 1), 0);
	assert_int_equal(port->stats.rx_invalid, 7);
	port_rx_release(port, packets, 1);
	kernel_fetch(rig, &fetched, true);
	assert_frames_whole(rig);
	rig_free(rig);
}

static void test_wrong_completions(void **state)
{
	struct rig *rig = rig_new();
	const uint64_t wrong[] = {UINT64_MAX, (uint64_t)FRAMES * AFXDP_FRAME_BYTES, 0,
				  (uint64_t)HALF << AFXDP_FRAME_SHIFT};
	uint32_t fetched = rig->consumer[0];

	(void)state;
	send_some(rig, 1, 0);
	kernel_send(rig);
	kernel_complete(rig, 1);
	send_some(rig, 1, 1);
	for (uint32_t i = 0; i < ARRAY_COUNT(wrong); i++) /* foreign, to receive with, free already */
		rig->completion[rig->producer[1]++ % HALF] = wrong[i];
	send_some(rig, 1, 1);
	assert_int_equal(rig->afxdp.port.stats.rx_invalid, ARRAY_COUNT(wrong));
	assert_int_equal(rig->afxdp.free_count, HALF);
	kernel_fetch(rig, &fetched, true);
	assert_frames_whole(rig);
	rig_free(rig);
}

/* --- sums left undone -------------------------------------------------------- */

static uint8_t mark(const uint8_t *frame, uint32_t bytes)
{
	uint8_t copy[256];
	struct packet packet = {.data = copy, .bytes = bytes};

	memcpy(copy, frame, bytes);
	memset(copy + bytes, 0xee, sizeof(copy) - bytes);
	afxdp_sums_mark(&packet, 1);
	return packet.checksum;
}

/* A UDP datagram of 20 bytes as the kernel sends it on veth: the field holds the pseudo-header's sum. */
static void write_partial(uint8_t *frame)
{
	memset(frame, 0x55, 80);
	put16(frame + 12, 0x0800);
	frame[14] = 0x45;
	put16(frame + 16, 48);
	put16(frame + 20, 0x4000);
	frame[23] = 17;
	put32(frame + 26, 0x0a4d0001);
	put32(frame + 30, 0x0a4d000a);
	put16(frame + 40, (uint16_t)(0x0a4d + 0x0001 + 0x0a4d + 0x000a + 17 + 28));
}

static void test_sums(void **state)
{
	uint8_t frame[256];

	(void)state;
	write_partial(frame);
	assert_int_equal(mark(frame, 62), PACKET_CSUM_VERIFIED);
	assert_int_equal(mark(frame, 80), PACKET_CSUM_VERIFIED); /* padded */
	assert_int_equal(mark(frame, 61), PACKET_CSUM_NONE);     /* cut short */
	for (uint32_t at = 26; at < 34; at++) {                  /* the sum must fit these addresses */
		frame[at] ^= 1;
		assert_int_equal(mark(frame, 62), PACKET_CSUM_NONE);
		frame[at] ^= 1;
	}
	frame[20] |= 0x20; /* a fragment */
	assert_int_equal(mark(frame, 62), PACKET_CSUM_NONE);
	write_partial(frame);
	frame[14] = 0x41; /* a header of 4 bytes */
	assert_int_equal(mark(frame, 62), PACKET_CSUM_NONE);
	frame[14] = 0x4f; /* one that leaves no room for the field */
	assert_int_equal(mark(frame, 62), PACKET_CSUM_NONE);
	write_partial(frame);
	frame[23] = 6; /* the field is elsewhere */
	assert_int_equal(mark(frame, 62), PACKET_CSUM_NONE);
	put16(frame + 50, (uint16_t)(0x0a4d + 0x0001 + 0x0a4d + 0x000a + 6 + 28));
	assert_int_equal(mark(frame, 62), PACKET_CSUM_VERIFIED);
	for (uint32_t bytes = 0; bytes < 62; bytes++)
		assert_int_equal(mark(frame, bytes), PACKET_CSUM_NONE);
}

/* --- long frames in pieces --------------------------------------------------- */

#define LONG_HEADERS 66 /* with timestamps */
#define PIECE        1792
#define CWR_PSH_FIN  0x89

static uint8_t payload_byte(uint32_t at)
{
	return (uint8_t)(at * 7 + (at >> 8));
}

/* A frame as the kernel's TCP hands it over for a card to cut. */
static void write_long(uint8_t *frame, uint32_t payload)
{
	const uint32_t transport = payload + 32;
	uint32_t sum = 0x0a4d + 0x0001 + 0x0a4d + 0x000a + 6 + transport;

	memset(frame, 0x55, LONG_HEADERS);
	put16(frame + 12, 0x0800);
	frame[14] = 0x45;
	put16(frame + 16, (uint16_t)(20 + transport));
	put16(frame + 20, 0x4000);
	frame[23] = 6;
	put32(frame + 26, 0x0a4d0001);
	put32(frame + 30, 0x0a4d000a);
	put32(frame + 38, 0xfffff000); /* the sequence number wraps in the middle */
	frame[46] = 0x80;
	frame[47] = 0x10 | CWR_PSH_FIN;
	put16(frame + 50, (uint16_t)((sum & 0xffff) + (sum >> 16)));
	for (uint32_t i = 0; i < payload; i++)
		frame[LONG_HEADERS + i] = payload_byte(i);
}

/* As Linux does: each piece behind 256 free bytes of a frame of its own. */
static void kernel_receive_long(struct rig *rig, const uint8_t *frame, uint32_t bytes)
{
	for (uint32_t at = 0; at < bytes; at += PIECE) {
		uint64_t address = rig->held[--rig->held_count] + 256;
		uint32_t piece = MIN_OF((uint32_t)PIECE, bytes - at);

		memcpy(rig->afxdp.umem + address, frame + at, piece);
		kernel_post_piece(rig, address, piece, at + piece < bytes);
	}
}

/* Where the payload of this segment lies in the stream; it must be what belongs there. */
static uint32_t assert_segment(const struct packet *packet, uint32_t payload_bytes)
{
	const uint8_t *ip = packet->data + 14;
	uint32_t at = get32(packet->data + 38) - 0xfffff000, bytes = packet->bytes - LONG_HEADERS;

	assert_int_equal(packet->checksum, PACKET_CSUM_VERIFIED);
	assert_int_equal(packet->room, AFXDP_FRAME_BYTES - 256 + (at ? LONG_HEADERS : 0));
	assert_int_equal(get16(ip + 2), packet->bytes - 14);
	assert_int_equal(csum_finish(csum_add(0, ip, 20)), 0);
	assert_int_equal(packet->data[47] & 0x80, at == 0 ? 0x80 : 0);
	assert_int_equal(packet->data[47] & 0x09, at + bytes == payload_bytes ? 0x09 : 0);
	for (uint32_t i = 0; i < bytes; i++)
		assert_int_equal(packet->data[LONG_HEADERS + i], payload_byte(at + i));
	return at;
}

static struct rig *rig_of_pieces(uint32_t *fetched)
{
	struct rig *rig = rig_new();

	rig->afxdp.left_sums = rig->afxdp.in_pieces = true;
	*fetched = rig->consumer[0];
	kernel_fetch(rig, fetched, true);
	return rig;
}

/* Of every size around the edges of pieces, taken in bursts of every size. */
static void test_long_frames_become_segments(void **state)
{
	static const uint32_t sizes[] = {1727, 1728, 3517, 3518, 3519, 5310, 30000, 65463};
	static uint8_t frame[65536];
	struct packet packets[PORT_BURST];

	(void)state;
	for (uint32_t i = 0; i < ARRAY_COUNT(sizes) * PORT_BURST; i++) {
		uint32_t payload = sizes[i % ARRAY_COUNT(sizes)], burst = i / ARRAY_COUNT(sizes) + 1;
		uint32_t fetched, seen = 0, count;
		struct rig *rig = rig_of_pieces(&fetched);

		write_long(frame, payload);
		kernel_receive_long(rig, frame, LONG_HEADERS + payload);
		while ((count = port_rx(&rig->afxdp.port, packets, burst)) > 0) {
			for (uint32_t k = 0; k < count; k++) {
				assert_int_equal(assert_segment(&packets[k], payload), seen);
				seen += packets[k].bytes - LONG_HEADERS;
			}
			port_rx_release(&rig->afxdp.port, packets, count);
		}
		assert_int_equal(seen, payload);
		assert_int_equal(rig->afxdp.port.stats.rx_invalid, 0);
		kernel_fetch(rig, &fetched, true);
		assert_frames_whole(rig);
		rig_free(rig);
	}
}

/* Nothing of such a frame is taken, all its pieces are free again, and the next frame is taken. */
static void assert_long_refused(uint8_t *frame, uint32_t bytes)
{
	static uint8_t good[65536];
	struct packet packets[PORT_BURST];
	uint32_t fetched;
	struct rig *rig = rig_of_pieces(&fetched);

	write_long(good, 3000);
	kernel_receive_long(rig, frame, bytes);
	kernel_receive_long(rig, good, LONG_HEADERS + 3000);
	assert_int_equal(port_rx(&rig->afxdp.port, packets, PORT_BURST), 2);
	assert_int_equal(assert_segment(&packets[0], 3000), 0);
	assert_int_equal(assert_segment(&packets[1], 3000), PIECE - LONG_HEADERS);
	assert_int_equal(rig->afxdp.port.stats.rx_invalid, (bytes + PIECE - 1) / PIECE);
	port_rx_release(&rig->afxdp.port, packets, 2);
	kernel_fetch(rig, &fetched, true);
	assert_frames_whole(rig);
	rig_free(rig);
	write_long(frame, bytes - LONG_HEADERS);
}

static void test_long_frames_of_no_use(void **state)
{
	static uint8_t frame[65536];

	(void)state;
	write_long(frame, 5000);
	frame[50] ^= 1; /* a sum that was made, or is wrong */
	assert_long_refused(frame, 5066);
	frame[13] = 6; /* not IPv4 */
	assert_long_refused(frame, 5066);
	frame[20] |= 0x20; /* a fragment */
	assert_long_refused(frame, 5066);
	frame[23] = 17; /* UDP, with its sum left undone */
	put16(frame + 40, (uint16_t)(get16(frame + 50) + 11));
	assert_long_refused(frame, 5066);
	frame[46] = 0x40; /* a TCP header that is too short */
	assert_long_refused(frame, 5066);
}

/* The frame says that it is shorter than what comes, or longer; a piece in the middle is lost. */
static void test_long_frames_that_lie(void **state)
{
	static uint8_t frame[65536];
	struct packet packets[PORT_BURST];
	uint32_t fetched;
	struct rig *rig = rig_of_pieces(&fetched);

	(void)state;
	write_long(frame, 2000);
	kernel_receive_long(rig, frame, LONG_HEADERS + 9000);
	assert_int_equal(port_rx(&rig->afxdp.port, packets, PORT_BURST), 2);
	assert_int_equal(packets[0].bytes + packets[1].bytes, 2000 + 2 * LONG_HEADERS);
	assert_int_equal(rig->afxdp.port.stats.rx_invalid, 4);
	port_rx_release(&rig->afxdp.port, packets, 2);
	write_long(frame, 9000);
	kernel_receive_long(rig, frame, LONG_HEADERS + 4000);
	assert_int_equal(port_rx(&rig->afxdp.port, packets, PORT_BURST), 3);
	assert_int_equal(packets[2].data[47] & 0x09, 0);
	port_rx_release(&rig->afxdp.port, packets, 3);
	kernel_receive_long(rig, frame, LONG_HEADERS + 9000);
	rig->rx[(rig->producer[2] - 3) % HALF].len = 5000; /* the last but two is not whole */
	assert_int_equal(port_rx(&rig->afxdp.port, packets, PORT_BURST), 3);
	assert_int_equal(assert_segment(&packets[2], 9000), 2 * PIECE - LONG_HEADERS);
	assert_int_equal(rig->afxdp.port.stats.rx_invalid, 4 + 3);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames_are_never_lost),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_reserved_twice),
		cmocka_unit_test(test_late_transmit_ring),
		cmocka_unit_test(test_wrong_descriptors),
		cmocka_unit_test(test_wrong_completions),
		cmocka_unit_test(test_sums),
		cmocka_unit_test(test_long_frames_become_segments),
		cmocka_unit_test(test_long_frames_of_no_use),
		cmocka_unit_test(test_long_frames_that_lie),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
