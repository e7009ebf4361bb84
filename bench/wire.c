/* wire.c - what a packet's headers and checksums cost, everything in the first cache.
 * Run alone on an idle core: wire.  Prints the median of ROUNDS and what the middle
 * eight tenths lie between. */
#include "bench/micro.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

#define ROUNDS      101 /* short ones: those that were interrupted do not reach the median */
#define REPEAT      20000u
#define SLOT_BYTES  2048u
#define SLOTS       8u  /* so that no result can be taken from the call before */
#define FRAME_START 34u /* where a segment lies in a frame that starts a cache line */
#define SOURCE      0x0a000002u
#define DESTINATION 0x0a000001u

static CACHE_ALIGNED uint8_t packets[SLOTS][SLOT_BYTES], copies[SLOTS][SLOT_BYTES];

/* Tells the compiler that somebody reads all that was written. */
PURE_INLINE void keep(const void *result)
{
	__asm__ volatile("" : : "r"(result) : "memory");
}

static int by_size(const void *a, const void *b)
{
	double first = *(const double *)a, second = *(const double *)b;

	return (first > second) - (first < second);
}

static void report(const char *what, double ns[ROUNDS])
{
	qsort(ns, ROUNDS, sizeof(ns[0]), by_size);
	printf("%-44s %7.1f ns  (%.1f to %.1f)\n", what, ns[ROUNDS / 2], ns[ROUNDS / 10],
	       ns[ROUNDS - 1 - ROUNDS / 10]);
}

/* Times `call` REPEAT times in a row; `i` is the slot it works on. */
#define MEASURE(what, call) \
	do { \
		double ns[ROUNDS]; \
		for (unsigned round = 0; round < ROUNDS; round++) { \
			uint64_t start_ns = micro_now_ns(); \
			for (uint32_t repeat = 0; repeat < REPEAT; repeat++) { \
				uint32_t i = repeat % SLOTS; \
				call; \
			} \
			ns[round] = (double)(micro_now_ns() - start_ns) / REPEAT; \
		} \
		report(what, ns); \
	} while (0)

static struct tcp_segment usual_segment(uint32_t i)
{
	return (struct tcp_segment){
		.source_port = (uint16_t)(5000 + i),
		.destination_port = 80,
		.seq = 0x01020304 + i,
		.ack = 0x05060708,
		.window = 65535,
		.flags = TCP_ACK | TCP_PSH,
		.options = TCP_OPT_TIMESTAMPS,
		.ts_val = 1000 + i,
		.ts_ecr = 2000,
	};
}

static void bench_sums(uint32_t bytes)
{
	uint32_t sums[SLOTS];
	char what[64];

	snprintf(what, sizeof(what), "checksum of %u bytes", bytes);
	MEASURE(what, (sums[i] = csum_add(1, packets[i] + FRAME_START, bytes), keep(&sums[i])));
	snprintf(what, sizeof(what), "copy and checksum of %u bytes", bytes);
	MEASURE(what, (sums[i] = csum_copy(1, copies[i] + FRAME_START + 32, packets[i] + FRAME_START, bytes),
		       keep(&sums[i])));
	snprintf(what, sizeof(what), "tcp_checksum_good, %u bytes of payload", bytes);
	MEASURE(what, (sums[i] = tcp_checksum_good(packets[i] + FRAME_START, 32 + bytes, SOURCE, DESTINATION),
		       keep(&sums[i])));
}

static void bench_tcp(void)
{
	struct tcp_segment segments[SLOTS], parsed[SLOTS];
	enum drop_reason reasons[SLOTS];

	for (uint32_t i = 0; i < SLOTS; i++) {
		segments[i] = usual_segment(i);
		tcp_emit(packets[i] + FRAME_START, &segments[i]);
	}
	MEASURE("tcp_parse, timestamps", (reasons[i] = tcp_parse(packets[i] + FRAME_START, 96, &parsed[i]),
					  keep(&parsed[i]), keep(&reasons[i])));
	MEASURE("tcp_emit, timestamps",
		(keep(&segments[i]), tcp_emit(copies[i] + FRAME_START, &segments[i]), keep(copies[i])));
	MEASURE("tcp_emit and tcp_store_checksum, timestamps",
		(keep(&segments[i]), tcp_emit(copies[i] + FRAME_START, &segments[i]),
		 tcp_store_checksum(copies[i] + FRAME_START, 32, 64, 7, SOURCE, DESTINATION),
		 keep(copies[i])));
	for (uint32_t i = 0; i < SLOTS; i++) {
		segments[i].options = TCP_OPT_MSS | TCP_OPT_SACK_PERMITTED | TCP_OPT_TIMESTAMPS |
				      TCP_OPT_WSCALE;
		tcp_emit(packets[i] + FRAME_START, &segments[i]);
	}
	MEASURE("tcp_parse, options of a SYN",
		(reasons[i] = tcp_parse(packets[i] + FRAME_START, 40, &parsed[i]), keep(&parsed[i]),
		 keep(&reasons[i])));
	MEASURE("tcp_emit, options of a SYN",
		(keep(&segments[i]), tcp_emit(copies[i] + FRAME_START, &segments[i]), keep(copies[i])));
}

static void bench_ipv4(void)
{
	struct ipv4_header headers[SLOTS], parsed[SLOTS];
	enum drop_reason reasons[SLOTS];

	for (uint32_t i = 0; i < SLOTS; i++) {
		headers[i] = (struct ipv4_header){
			.source = SOURCE + i,
			.destination = DESTINATION,
			.total_bytes = 116,
			.flags = IPV4_DF,
			.ttl = 64,
			.protocol = IP_PROTOCOL_TCP,
		};
		ipv4_emit(packets[i] + 14, &headers[i]);
	}
	MEASURE("ipv4_parse", (reasons[i] = ipv4_parse(packets[i] + 14, 116, &parsed[i]), keep(&parsed[i]),
			       keep(&reasons[i])));
	MEASURE("ipv4_emit", (keep(&headers[i]), ipv4_emit(copies[i] + 14, &headers[i]), keep(copies[i])));
}

int main(void)
{
	for (uint32_t i = 0; i < SLOTS; i++)
		for (uint32_t at = 0; at < SLOT_BYTES; at++)
			packets[i][at] = (uint8_t)micro_mix(i * SLOT_BYTES + at);
	bench_sums(64);
	bench_sums(1460);
	bench_ipv4();
	bench_tcp();
	return 0;
}
