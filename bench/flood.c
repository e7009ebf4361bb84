/* flood.c - SYNs from random sources, as fast as an interface takes them or at a rate: to measure, and to
 * test, how a server stands a flood. It wants root, and belongs into a network namespace:
 *
 *   flood INTERFACE LINK-ADDRESS ADDRESS PORT RATE SECONDS
 *
 * RATE is SYNs a second, 0 as many as possible; SECONDS at most 120. Prints how many went out, as JSON.
 * Sources are drawn from 11.0.0.0 to 126.255.255.255 and 128.0.0.0 to 223.255.255.255; nobody sends from
 * there. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "base/random.h"
#include "sys/clock.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

#define BURST       64u
#define FRAME_BYTES (ETH_HEADER_BYTES + IPV4_HEADER_BYTES + TCP_HEADER_BYTES + 4u)
#define SECONDS_MAX 120

struct flood {
	int fd;
	struct eth_address from, to;
	uint32_t address;
	uint16_t port;
	uint64_t rate, end_ns;
	struct random random;
	uint8_t frames[BURST][FRAME_BYTES];
	struct mmsghdr messages[BURST];
	struct iovec parts[BURST];
};

static struct flood flood;

__attribute__((noreturn)) static void fail(const char *what)
{
	fprintf(stderr, "flood: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void open_socket(const char *interface)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(interface)};
	struct ifreq request = {0};
	int one = 1;

	flood.fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (flood.fd < 0)
		fail("no packet socket");
	if (at.sll_ifindex == 0 || bind(flood.fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		fail(interface);
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	if (ioctl(flood.fd, SIOCGIFHWADDR, &request) < 0)
		fail(interface);
	memcpy(flood.from.octets, request.ifr_hwaddr.sa_data, sizeof(flood.from.octets));
	if (setsockopt(flood.fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) < 0)
		fail("PACKET_QDISC_BYPASS");
}

static uint32_t random_source(void)
{
	uint32_t address;

	do
		address = (uint32_t)random_next(&flood.random);
	while (address >> 24 < 11 || address >> 24 == 127 || address >> 24 >= 224);
	return address;
}

static void make_syn(uint8_t frame[FRAME_BYTES])
{
	const struct eth_header eth = {flood.to, flood.from, ETH_TYPE_IPV4};
	const struct ipv4_header ip = {.source = random_source(),
				       .destination = flood.address,
				       .total_bytes = FRAME_BYTES - ETH_HEADER_BYTES,
				       .ttl = 64,
				       .protocol = IP_PROTOCOL_TCP};
	const struct tcp_segment segment = {
		.seq = (uint32_t)random_next(&flood.random),
		.source_port = (uint16_t)(1024 + random_below(&flood.random, 64000)),
		.destination_port = flood.port,
		.flags = TCP_SYN,
		.window = 64240,
		.options = TCP_OPT_MSS,
		.mss = 1460};
	uint8_t *tcp = frame + ETH_HEADER_BYTES + IPV4_HEADER_BYTES;
	uint32_t bytes;

	eth_emit(frame, &eth);
	ipv4_emit(frame + ETH_HEADER_BYTES, &ip);
	bytes = tcp_emit(tcp, &segment);
	tcp_store_checksum(tcp, bytes, 0, 0, ip.source, ip.destination);
}

/* Frames that the interface does not take are lost, as on any wire. */
static uint32_t send_burst(uint32_t count)
{
	uint32_t done = 0, sent = 0;

	for (uint32_t i = 0; i < count; i++)
		make_syn(flood.frames[i]);
	while (done < count) {
		int result = sendmmsg(flood.fd, flood.messages + done, count - done, 0);

		if (result < 0 && errno != ENOBUFS && errno != EAGAIN && errno != EINTR)
			fail("the interface refuses");
		sent += result > 0 ? (uint32_t)result : 0;
		done += result > 0 ? (uint32_t)result : 1;
	}
	return sent;
}

static void run(void)
{
	uint64_t start_ns = sys_now_ns(), now_ns, asked = 0, sent = 0;

	while ((now_ns = sys_now_ns()) < start_ns + flood.end_ns) {
		uint64_t due = flood.rate ? (now_ns - start_ns) / 1000 * flood.rate / 1000000 : UINT64_MAX;
		uint32_t count = (uint32_t)MIN_OF(due - MIN_OF(asked, due), (uint64_t)BURST);
		const struct timespec nap = {.tv_nsec = 100000};

		if (count == 0)
			nanosleep(&nap, NULL);
		sent += send_burst(count);
		asked += count;
	}
	printf("{\"sent\": %" PRIu64 ", \"asked\": %" PRIu64 ", \"seconds\": %.3f}\n", sent, asked,
	       (double)(now_ns - start_ns) / 1e9);
}

static bool read_arguments(char **argv)
{
	unsigned octets[6];
	int port = atoi(argv[4]), seconds = atoi(argv[6]);

	if (sscanf(argv[2], "%x:%x:%x:%x:%x:%x", &octets[0], &octets[1], &octets[2], &octets[3], &octets[4],
		   &octets[5]) != 6 ||
	    !ipv4_from_text(argv[3], &flood.address) || port < 1 || port > 65535 || seconds < 1 ||
	    seconds > SECONDS_MAX)
		return false;
	for (unsigned i = 0; i < 6; i++)
		flood.to.octets[i] = (uint8_t)octets[i];
	flood.port = (uint16_t)port;
	flood.rate = strtoull(argv[5], NULL, 10);
	flood.end_ns = (uint64_t)seconds * 1000000000u;
	return true;
}

int main(int argc, char **argv)
{
	if (argc != 7 || !read_arguments(argv)) {
		fprintf(stderr, "usage: flood INTERFACE LINK-ADDRESS ADDRESS PORT RATE SECONDS\n");
		return 2;
	}
	flood.random = random_seeded(sys_now_ns());
	for (unsigned i = 0; i < BURST; i++) {
		flood.parts[i] = (struct iovec){flood.frames[i], FRAME_BYTES};
		flood.messages[i].msg_hdr = (struct msghdr){.msg_iov = &flood.parts[i], .msg_iovlen = 1};
	}
	open_socket(argv[1]);
	run();
	return 0;
}
