/* bench_bounce.c - round trips of bare frames between two ports: the ceiling of everything above them.
 * In: options. Out: one end sends frames back until it is stopped; the other measures, and prints a line or
 * JSON. Owns: its port.
 *
 * Frames carry an IPv4 protocol for experiments (RFC 3692). More in flight than a ring holds is dropped:
 * what does not come back for 50 ms is counted as lost, and others take its place. */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "bench_bounce.h"
#include "load/histogram.h"
#include "port/choose.h"
#include "run/options.h"
#include "sys/clock.h"
#include "sys/pin.h"
#include "verbs.h"
#include "wire/bytes.h"
#include "wire/ipv4.h"

#define PROTOCOL        253
#define LOST_AFTER_NS   50000000u
#define SPIN_ROUNDS     2000u /* without a frame, before it sleeps */
#define ASK_EVERY       64u   /* rounds without a frame between two readings of the clock */
#define WARM_UP_NS      300000000u
#define IN_FLIGHT       64u
#define IN_FLIGHT_PACED 4096u
#define NS_PER_S        1000000000u
#define HEADERS_BYTES   34u
#define SENT_AT         34u /* the time at which it was meant to be sent */
#define ETHERTYPE_IPV4  0x0800

struct bounce_options {
	struct port_choice choice;
	uint32_t to, in_flight, bytes, seconds, cpu;
	uint32_t rate; /* round trips begun a second; 0: the next one when one is back */
	bool json;
};

struct bounce {
	const struct bounce_options *options;
	struct port *port;
	uint32_t in_flight;
	uint64_t round_trips, lost;
	uint64_t last_ns;         /* when a frame last came back; 0: just now */
	uint64_t begin_ns, begun; /* of a schedule: when it began, frames since then */
	uint64_t due_ns;          /* when the next frame is meant to be sent */
	uint64_t now_ns;
	struct histogram latency; /* us, from that time on */
};

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
	(void)number;
	stop = 1;
}

static bool is_ours(const struct packet *packet)
{
	return packet->bytes >= HEADERS_BYTES && get16(packet->data + 12) == ETHERTYPE_IPV4 &&
	       packet->data[23] == PROTOCOL;
}

/* --- the end that sends back ----------------------------------------------------------------- */

static void send_back(struct port *port, const struct packet *in, uint32_t count)
{
	struct packet out[PORT_BURST];
	uint32_t room = port_tx_reserve(port, out, count), filled = 0;

	for (uint32_t i = 0; i < count && filled < room; i++) {
		uint8_t *to = out[filled].data;

		if (!is_ours(&in[i]) || in[i].bytes > out[filled].room)
			continue;
		memcpy(to, in[i].data, in[i].bytes);
		memcpy(to + 26, in[i].data + 30, 4); /* the addresses change places */
		memcpy(to + 30, in[i].data + 26, 4);
		out[filled++].bytes = in[i].bytes;
	}
	port_tx_submit(port, out, filled, room);
}

static void rest(struct port *port)
{
	struct pollfd fd = {.fd = port->wait_fd, .events = POLLIN};

	if (port->ops->wait_prepare(port))
		poll(&fd, 1, 100);
	if (port->ops->wait_done)
		port->ops->wait_done(port);
}

static void bounce_all(struct port *port)
{
	struct packet in[PORT_BURST];
	uint32_t idle = 0;

	while (!stop) {
		uint32_t count = port_rx(port, in, PORT_BURST);

		if (count > 0)
			send_back(port, in, count);
		port_rx_release(port, in, count);
		idle = count > 0 ? 0 : idle + 1;
		if (idle > SPIN_ROUNDS)
			rest(port);
	}
}

/* --- the end that measures ------------------------------------------------------------------- */

static void write_frame(const struct bounce *bounce, struct packet *packet, uint64_t meant_ns)
{
	const struct bounce_options *options = bounce->options;

	memset(packet->data, 0, options->bytes);
	memset(packet->data, 0xff, 6);
	memcpy(packet->data + 6, bounce->port->caps.address, 6);
	put16(packet->data + 12, ETHERTYPE_IPV4);
	packet->data[14] = 0x45;
	put16(packet->data + 16, (uint16_t)(options->bytes - 14));
	packet->data[22] = 64;
	packet->data[23] = PROTOCOL;
	memcpy(packet->data + SENT_AT, &meant_ns, sizeof(meant_ns));
	put32(packet->data + 26, options->choice.address);
	put32(packet->data + 30, options->to);
	packet->bytes = options->bytes;
}

/* Of a schedule: what should have been sent by now. */
static uint32_t frames_due(const struct bounce *bounce)
{
	if (bounce->options->rate == 0)
		return UINT32_MAX;
	if (bounce->now_ns < bounce->due_ns)
		return 0;
	return (uint32_t)MIN_OF((bounce->now_ns - bounce->due_ns) * bounce->options->rate / NS_PER_S + 1,
				(uint64_t)UINT32_MAX);
}

/* A schedule goes on in whole frames from its start, so that no fraction of its rate is lost. */
static uint64_t next_due(struct bounce *bounce)
{
	uint64_t due_ns = bounce->due_ns;

	if (bounce->options->rate)
		bounce->due_ns = bounce->begin_ns + ++bounce->begun * NS_PER_S / bounce->options->rate;
	return due_ns;
}

static void send_more(struct bounce *bounce)
{
	struct packet out[PORT_BURST];
	uint32_t wanted, room;

	while (bounce->in_flight < bounce->options->in_flight) {
		wanted = MIN_OF(bounce->options->in_flight - bounce->in_flight, (uint32_t)PORT_BURST);
		wanted = MIN_OF(wanted, frames_due(bounce));
		room = port_tx_reserve(bounce->port, out, wanted);
		for (uint32_t i = 0; i < room; i++)
			write_frame(bounce, &out[i], next_due(bounce));
		port_tx_submit(bounce->port, out, room, room);
		bounce->in_flight += room;
		if (room == 0)
			break;
	}
}

static void nothing_came(struct bounce *bounce, uint64_t now_ns)
{
	if (bounce->last_ns == 0)
		bounce->last_ns = now_ns;
	if (now_ns - bounce->last_ns < LOST_AFTER_NS)
		return;
	bounce->lost += bounce->in_flight;
	bounce->in_flight = 0;
	bounce->last_ns = 0;
}

static void note_time(struct bounce *bounce, const struct packet *packet)
{
	uint64_t meant_ns;

	if (bounce->options->rate == 0 || packet->bytes < SENT_AT + sizeof(meant_ns))
		return;
	memcpy(&meant_ns, packet->data + SENT_AT, sizeof(meant_ns));
	histogram_add(&bounce->latency, (bounce->now_ns - MIN_OF(meant_ns, bounce->now_ns)) / 1000);
}

static uint32_t receive(struct bounce *bounce)
{
	struct packet in[PORT_BURST];
	uint32_t count = port_rx(bounce->port, in, PORT_BURST), back = 0;

	if (bounce->options->rate && count > 0)
		bounce->now_ns = sys_now_ns();
	for (uint32_t i = 0; i < count; i++) {
		if (!is_ours(&in[i]))
			continue;
		back++;
		note_time(bounce, &in[i]);
	}
	port_rx_release(bounce->port, in, count);
	bounce->in_flight -= MIN_OF(bounce->in_flight, back);
	bounce->round_trips += back;
	if (back > 0)
		bounce->last_ns = 0;
	return back;
}

/* How long it took, in seconds. */
static double measure(struct bounce *bounce)
{
	uint64_t start_ns = sys_now_ns() + WARM_UP_NS, end_ns;
	uint32_t ask_every = bounce->options->rate ? 1 : ASK_EVERY;
	bool warm = false;

	bounce->begin_ns = bounce->due_ns = start_ns - WARM_UP_NS;
	end_ns = start_ns + (uint64_t)bounce->options->seconds * NS_PER_S;
	for (uint32_t round = 0; !stop && bounce->now_ns < end_ns; round++) {
		send_more(bounce);
		if (receive(bounce) > 0 && round % ask_every != 0)
			continue;
		bounce->now_ns = sys_now_ns();
		if (!warm && bounce->now_ns >= start_ns) {
			warm = true;
			start_ns = bounce->now_ns;
			bounce->round_trips = bounce->lost = 0;
			bounce->latency = (struct histogram){0};
		}
		if (bounce->in_flight > 0)
			nothing_came(bounce, bounce->now_ns);
	}
	return bounce->now_ns > start_ns ? (double)(bounce->now_ns - start_ns) / 1e9 : 0;
}

static const struct {
	const char *name;
	double share;
} percentiles[] = {{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}, {"max", 1}};

static void print_latency(const struct bounce *bounce)
{
	bool json = bounce->options->json;

	if (bounce->options->rate == 0)
		return;
	printf("%s", json ? ", \"latency_us\": {" : "latency, us:");
	for (unsigned i = 0; i < ARRAY_COUNT(percentiles); i++) {
		uint64_t us = histogram_percentile(&bounce->latency, percentiles[i].share);

		if (json)
			printf("%s\"%s\": %" PRIu64, i ? ", " : "", percentiles[i].name, us);
		else
			printf("  %s %" PRIu64, percentiles[i].name, us);
	}
	printf(json ? "}" : "\n");
}

static int report(const struct bounce *bounce, double seconds)
{
	double rate = seconds > 0 ? (double)bounce->round_trips / seconds : 0;
	const struct bounce_options *options = bounce->options;

	if (options->json)
		printf("{\"round_trips_per_second\": %.0f, \"in_flight\": %" PRIu32 ", \"bytes\": %" PRIu32
		       ", \"lost\": %" PRIu64 ", \"seconds\": %.2f, \"port\": \"%s\"",
		       rate, options->in_flight, options->bytes, bounce->lost, seconds, bounce->port->text);
	else
		printf("%s: %.0f round trips/s of %" PRIu32 " bytes, %" PRIu32 " in flight, %" PRIu64
		       " lost\n",
		       bounce->port->text, rate, options->bytes, options->in_flight, bounce->lost);
	print_latency(bounce);
	if (options->json)
		printf("}\n");
	if (bounce->round_trips > 0)
		return 0;
	fprintf(stderr, "c10m: nothing came back: is 'c10m bench bounce' without --to at the other end?\n");
	return EXIT_REFUSED;
}

/* --- the options ---------------------------------------------------------------------------------- */

static bool set_ipv4(uint32_t *address, const char *name, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	if (ipv4_from_text(text, address) && ipv4_is_unicast(*address))
		return true;
	snprintf(error, OPTIONS_ERROR_BYTES, "%s takes the IPv4 address of a host, not '%.40s'", name, text);
	return false;
}

static bool set_address(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	return set_ipv4(&((struct bounce_options *)target)->choice.address, "--address", text, error);
}

static bool set_to(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	return set_ipv4(&((struct bounce_options *)target)->to, "--to", text, error);
}

static bool set_via(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	struct bounce_options *options = target;

	for (int kind = 0; kind < PORT_KIND_COUNT; kind++)
		if (strcmp(text, port_kind_names[kind]) == 0) {
			options->choice.kind = (enum port_kind)kind;
			return true;
		}
	snprintf(error, OPTIONS_ERROR_BYTES, "--via takes auto, afxdp, tap, packet or wire, not '%.40s'",
		 text);
	return false;
}

static bool set_mode(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	static const char *const words[] = {
		[AFXDP_AUTO] = "auto", [AFXDP_GENERIC] = "generic", [AFXDP_NATIVE] = "native"};
	struct bounce_options *options = target;

	for (unsigned i = 0; i < ARRAY_COUNT(words); i++)
		if (strcmp(text, words[i]) == 0) {
			options->choice.mode = (enum afxdp_mode)i;
			return true;
		}
	snprintf(error, OPTIONS_ERROR_BYTES, "--mode takes auto, generic or native, not '%.40s'", text);
	return false;
}

#define AT(field)               .offset = offsetof(struct bounce_options, field)
#define NUMBER(field, from, to) .kind = OPTION_NUMBER, AT(field), .min = (from), .max = (to)
#define CUSTOM(function)        .kind = OPTION_CUSTOM, .set = (function)

static const struct option_spec specs[] = {
	{"interface", "IF", "interface to use", .kind = OPTION_TEXT, AT(choice.interface)},
	{"wire", "PATH", "instead: memory shared with the other end", .kind = OPTION_TEXT, AT(choice.wire)},
	{"address", "A", "our address (required), which nobody else has", CUSTOM(set_address)},
	{"to", "A", "measure, with the end that has this address; without it: send back", CUSTOM(set_to)},
	{"via", "PORT", "how frames move: auto, afxdp, tap, packet, wire", CUSTOM(set_via)},
	{"mode", "MODE", "XDP mode: auto, generic, native", CUSTOM(set_mode)},
	{"in-flight", "N", "frames on their way at a time (64; with --rate 4096 at most)",
	 NUMBER(in_flight, 1, 65536)},
	{"rate", "R",
	 "begin so many round trips a second by a schedule, and tell how long they take from the\n"
	 "time at which they were meant to begin; default: the next one when one is back",
	 NUMBER(rate, 1, 100000000)},
	{"bytes", "N", "length of a frame (118: 64 bytes behind the headers of TCP)",
	 NUMBER(bytes, 60, 1514)},
	{"seconds", "S", "how long to measure (2)", NUMBER(seconds, 1, 3600)},
	{"cpu", "N", "processor to run on", NUMBER(cpu, 0, 65535)},
	{"json", NULL, "the figure as JSON", .kind = OPTION_FLAG, AT(json)},
};

static const char *contradiction(struct bounce_options *options)
{
	if (options->choice.wire && options->choice.kind == PORT_KIND_AUTO && !options->choice.interface)
		options->choice.kind = PORT_KIND_WIRE;
	if (options->in_flight == 0)
		options->in_flight = options->rate ? IN_FLIGHT_PACED : IN_FLIGHT;
	if ((options->choice.interface != NULL) == (options->choice.wire != NULL))
		return "say where: --interface IF, or --wire PATH";
	if (options->choice.wire && options->choice.kind != PORT_KIND_WIRE)
		return "--wire takes no other --via: leave that out";
	if (!options->choice.address)
		return "say which address to have: --address A, one that no host uses";
	if (options->to == options->choice.address)
		return "--to is our own address: give the other end's";
	return NULL;
}

static int run(const struct bounce_options *options)
{
	const struct sigaction action = {.sa_handler = on_signal};
	char reason[PORT_REASON_BYTES], error[PORT_ERROR_BYTES];
	struct bounce bounce = {.options = options};
	int result = 0;

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	if (options->cpu != UINT32_MAX && sys_pin_thread((int)options->cpu, error) < 0) {
		fprintf(stderr, "c10m: %s\n", error);
		return EXIT_REFUSED;
	}
	if (port_choose_open(&options->choice, &bounce.port, 1, reason, error) < 0) {
		fprintf(stderr, "c10m: %s\n", error);
		return EXIT_REFUSED;
	}
	if (options->to) {
		result = report(&bounce, measure(&bounce));
	} else {
		printf("sends back: %s\n", bounce.port->text);
		fflush(stdout);
		bounce_all(bounce.port);
	}
	port_close(bounce.port);
	return result;
}

int bench_bounce(int argc, char **argv)
{
	struct bounce_options options = {
		.choice.prefix_bits = 24, .bytes = 118, .seconds = 2, .cpu = UINT32_MAX};
	const struct option_group group = {"options", specs, ARRAY_COUNT(specs), &options};
	const struct option_page page = {
		"c10m bench bounce --interface IF --address A [--to B] [options]",
		"Frames without TCP between two ends: what the ports and the cable carry is the ceiling of\n"
		"everything above them. Start one end without --to, then the other with it.",
		&group, 1};
	const char *wrong;
	int code;

	if (!verb_options(argc, argv, &page, &code))
		return code;
	wrong = contradiction(&options);
	if (!wrong)
		return run(&options);
	fprintf(stderr, "c10m: %s\n", wrong);
	return EXIT_USAGE;
}
