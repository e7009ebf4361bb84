/* port_bounce.c - the smallest thing that lives on a port: every frame goes back.
 * In: an interface and an address. Out: answers to ARP and ping, all other IPv4 frames with
 * their addresses (and UDP ports) exchanged; on standard output one line when it
 * is ready, and counters as JSON at the end.
 * Sleeps when nothing comes. SIGINT and SIGTERM end it; what it is refused ends it with code 1. */
#include <arpa/inet.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "port/afxdp.h"
#include "port/packet_socket.h"
#include "wire/bytes.h"

#define PORTS_MAX   16
#define SPIN_ROUNDS 200

struct bounce {
	struct port *ports[PORTS_MAX];
	int count;
	uint32_t address;
	bool packet_socket; /* instead of AF_XDP */
	uint32_t reopen;    /* times to open and close before the one that counts */
	uint64_t verified, unsent, sleeps;
};

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
	(void)number;
	stop = 1;
}

static void exchange(uint8_t *a, uint8_t *b, size_t bytes)
{
	uint8_t keep[16];

	memcpy(keep, a, bytes);
	memcpy(a, b, bytes);
	memcpy(b, keep, bytes);
}

/* An ARP request becomes its reply (RFC 826). */
static void answer_arp(uint8_t *frame, const uint8_t own[6])
{
	put16(frame + 20, 2);
	memcpy(frame + 32, frame + 22, 10); /* the sender becomes the target */
	memcpy(frame + 22, own, 6);
}

/* Exchanging addresses or ports changes no sum; making an echo request a reply adds 0x0800. */
static void answer_ipv4(uint8_t *frame, uint32_t bytes)
{
	uint8_t *transport = frame + 14 + (size_t)(frame[14] & 15) * 4;

	exchange(frame + 26, frame + 30, 4);
	if (transport + 8 > frame + bytes)
		return;
	if (frame[23] == 17)
		exchange(transport, transport + 2, 2);
	if (frame[23] == 1 && transport[0] == 8) {
		uint32_t sum = get16(transport + 2) + 0x0800u;

		transport[0] = 0;
		put16(transport + 2, (uint16_t)(sum + (sum >> 16)));
	}
}

static void answer(const struct bounce *bounce, const struct port *port, const struct packet *in,
		   struct packet *out)
{
	uint8_t own_protocol[4];

	memcpy(out->data, in->data, in->bytes);
	out->bytes = in->bytes;
	memcpy(out->data, in->data + 6, 6);
	memcpy(out->data + 6, port->caps.address, 6);
	if (get16(out->data + 12) == 0x0806) {
		answer_arp(out->data, port->caps.address);
		put32(own_protocol, bounce->address);
		memcpy(out->data + 28, own_protocol, 4);
	} else {
		answer_ipv4(out->data, out->bytes);
	}
}

static uint32_t bounce_once(struct bounce *bounce, struct port *port)
{
	struct packet in[PORT_BURST], out[PORT_BURST];
	uint32_t count = port_rx(port, in, PORT_BURST), room;

	if (count == 0)
		return 0;
	room = port_tx_reserve(port, out, count);
	bounce->unsent += count - room;
	for (uint32_t i = 0; i < room; i++) {
		bounce->verified += in[i].checksum == PACKET_CSUM_VERIFIED;
		answer(bounce, port, &in[i], &out[i]);
	}
	port_rx_release(port, in, count);
	port_tx_submit(port, out, room, room);
	return count;
}

static void bounce_sleep(struct bounce *bounce)
{
	struct pollfd waits[PORTS_MAX];
	bool may = true;

	for (int i = 0; i < bounce->count; i++) {
		waits[i] = (struct pollfd){.fd = bounce->ports[i]->wait_fd, .events = POLLIN};
		may &= bounce->ports[i]->ops->wait_prepare(bounce->ports[i]);
	}
	if (may) {
		poll(waits, (nfds_t)bounce->count, 500);
		bounce->sleeps++;
	}
	for (int i = 0; i < bounce->count; i++) {
		if (bounce->ports[i]->ops->wait_done)
			bounce->ports[i]->ops->wait_done(bounce->ports[i]);
	}
}

static void bounce_run(struct bounce *bounce)
{
	uint32_t idle = 0;

	while (!stop) {
		uint32_t count = 0;

		for (int i = 0; i < bounce->count; i++)
			count += bounce_once(bounce, bounce->ports[i]);
		idle = count > 0 ? 0 : idle + 1;
		if (idle > SPIN_ROUNDS)
			bounce_sleep(bounce);
	}
}

static void bounce_report(const struct bounce *bounce)
{
	printf("{\"verified\": %llu, \"unsent\": %llu, \"sleeps\": %llu, \"queues\": [",
	       (unsigned long long)bounce->verified, (unsigned long long)bounce->unsent,
	       (unsigned long long)bounce->sleeps);
	for (int i = 0; i < bounce->count; i++) {
		const struct port_stats *stats = &bounce->ports[i]->stats;

		printf("%s{\"rx\": %llu, \"tx\": %llu, \"dropped\": %llu, \"invalid\": %llu, \"full\": %llu}",
		       i ? ", " : "", (unsigned long long)stats->rx_packets,
		       (unsigned long long)stats->tx_packets, (unsigned long long)stats->rx_dropped,
		       (unsigned long long)stats->rx_invalid, (unsigned long long)stats->tx_full);
	}
	printf("]}\n");
}

static __attribute__((noreturn)) void usage(void)
{
	fprintf(stderr, "usage: port_bounce --interface IF --address A [--mode auto|generic|native]\n"
			"                   [--queues N] [--frames N] [--reopen N] [--packet]\n");
	exit(2);
}

static enum afxdp_mode mode_parse(const char *text)
{
	static const char *const names[] = {"auto", "generic", "native"};

	for (uint32_t i = 0; i < ARRAY_COUNT(names); i++) {
		if (strcmp(text, names[i]) == 0)
			return (enum afxdp_mode)i;
	}
	usage();
}

static struct afxdp_config config_parse(struct bounce *bounce, int argc, char **argv)
{
	static const struct option known[] = {
		{"interface", required_argument, NULL, 'i'}, {"address", required_argument, NULL, 'a'},
		{"mode", required_argument, NULL, 'm'},      {"queues", required_argument, NULL, 'q'},
		{"frames", required_argument, NULL, 'f'},    {"reopen", required_argument, NULL, 'r'},
		{"packet", no_argument, NULL, 'p'},          {NULL, 0, NULL, 0},
	};
	struct afxdp_config config = {0};
	struct in_addr address;
	int letter;

	while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (letter == 'i')
			config.interface = optarg;
		else if (letter == 'a' && inet_pton(AF_INET, optarg, &address) == 1)
			config.address = ntohl(address.s_addr);
		else if (letter == 'm')
			config.mode = mode_parse(optarg);
		else if (letter == 'q')
			config.queues = (uint16_t)strtoul(optarg, NULL, 10);
		else if (letter == 'f')
			config.frames = (uint32_t)strtoul(optarg, NULL, 10);
		else if (letter == 'r')
			bounce->reopen = (uint32_t)strtoul(optarg, NULL, 10);
		else if (letter == 'p')
			bounce->packet_socket = true;
		else
			usage();
	}
	bounce->address = config.address;
	if (!config.interface || config.address == 0 || optind != argc)
		usage();
	return config;
}

static void bounce_open(struct bounce *bounce, const struct afxdp_config *config)
{
	const struct packet_socket_config packet = {
		.interface = config->interface, .address = config->address, .queues = config->queues};
	char error[PORT_ERROR_BYTES];

	if (bounce->packet_socket)
		bounce->count = packet_socket_open(&packet, bounce->ports, PORTS_MAX, error);
	else
		bounce->count = afxdp_open(config, bounce->ports, PORTS_MAX, error);
	if (bounce->count < 0) {
		fprintf(stderr, "port_bounce: %s\n", error);
		exit(1);
	}
}

static void bounce_close(const struct bounce *bounce)
{
	for (int i = 0; i < bounce->count; i++)
		port_close(bounce->ports[i]);
}

int main(int argc, char **argv)
{
	const struct sigaction action = {.sa_handler = on_signal};
	struct bounce bounce = {0};
	const struct afxdp_config config = config_parse(&bounce, argc, argv);

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	bounce_open(&bounce, &config);
	for (; bounce.reopen > 0; bounce.reopen--) {
		bounce_close(&bounce);
		bounce_open(&bounce, &config);
	}
	printf("ready: %s%s%s\n", bounce.ports[0]->text, bounce.ports[0]->advice ? "; " : "",
	       bounce.ports[0]->advice ? bounce.ports[0]->advice : "");
	fflush(stdout);
	bounce_run(&bounce);
	bounce_report(&bounce);
	bounce_close(&bounce);
	return 0;
}
