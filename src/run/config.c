/* config.c - the options that every server has, and whether they fit each other.
 * In: texts from the command line. Out: struct run_config. Owns: the table of options. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run/config.h"
#include "port/vlan.h"
#include "run/helpers.h"
#include "wire/ipv4.h"
#include "tcp/admission.h"
#include "tcp/congestion.h"

static bool refuse(char error[OPTIONS_ERROR_BYTES], const char *option, const char *wants, const char *text)
{
	snprintf(error, OPTIONS_ERROR_BYTES, "%s takes %s, not '%.40s'", option, wants, text);
	return false;
}

/* Picks a word of a list; its position, or -1. */
static int word_of(const char *text, const char *const *words, int count)
{
	for (int i = 0; i < count; i++)
		if (strcmp(text, words[i]) == 0)
			return i;
	return -1;
}

static bool set_address(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	struct run_config *config = target;
	unsigned bits = 0;

	config->prefix_given = ipv4_prefix_from_text(text, &config->address, &bits);
	config->prefix_bits = (uint8_t)bits;
	if (config->prefix_given || ipv4_from_text(text, &config->address)) {
		if (ipv4_is_unicast(config->address) && config->address >> 24 != 127)
			return true;
		if (config->address >> 24 == 127) {
			snprintf(
				error, OPTIONS_ERROR_BYTES,
				"--address: %.40s is a loopback address, which never leaves its own host and "
				"cannot be served on: take one of the interface's network",
				text);
			return false;
		}
	}
	return refuse(error, "--address", "an IPv4 address of a host with its prefix, such as 10.0.0.1/24",
		      text);
}

static bool set_gateway(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	struct run_config *config = target;

	if (ipv4_from_text(text, &config->gateway) && ipv4_is_unicast(config->gateway))
		return true;
	return refuse(error, "--gateway", "the IPv4 address of a host, such as 10.0.0.254", text);
}

static bool set_source_net(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	struct run_config *config = target;
	unsigned bits = 0;

	if (ipv4_prefix_from_text(text, &config->source_net, &bits) && bits > 0) {
		config->source_net_bits = (uint8_t)bits;
		return true;
	}
	return refuse(error, "--source-net",
		      "a network and the length of its prefix, 1 to 32, such as "
		      "10.64.0.0/12",
		      text);
}

/* "3" or "2,3" */
static bool set_cpus(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	struct run_config *config = target;
	const char *at = text;

	for (config->cpu_count = 0; config->cpu_count < OWNER_WORKERS_MAX;) {
		char *end;
		long cpu = *at >= '0' && *at <= '9' ? strtol(at, &end, 10) : -1;

		if (cpu < 0 || cpu > 65535)
			break;
		config->cpus[config->cpu_count++] = (int)cpu;
		if (*end == '\0')
			return true;
		if (*end != ',')
			break;
		at = end + 1;
	}
	return refuse(error, "--cpu", "a processor's number, or one for each worker, such as 2,3", text);
}

static bool set_mode(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	static const char *const words[] = {
		[AFXDP_AUTO] = "auto", [AFXDP_GENERIC] = "generic", [AFXDP_NATIVE] = "native"};
	struct run_config *config = target;
	int mode = word_of(text, words, (int)ARRAY_COUNT(words));

	if (mode < 0)
		return refuse(error, "--mode", "auto, generic or native", text);
	config->mode = (enum afxdp_mode)mode;
	return true;
}

static bool set_via(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	struct run_config *config = target;
	int kind = word_of(text, port_kind_names, PORT_KIND_COUNT);

	if (kind < 0)
		return refuse(error, "--via", "auto, afxdp, tap, packet or wire", text);
	config->via = (enum port_kind)kind;
	return true;
}

static bool set_tap_address(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	struct run_config *config = target;

	if (ipv4_from_text(text, &config->tap_address) && ipv4_is_unicast(config->tap_address))
		return true;
	return refuse(error, "--tap-address", "the IPv4 address of a host, such as 10.0.0.2", text);
}

static bool set_pages(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	static const char *const words[] = {
		[SYS_PAGES_BEST] = "auto",       [SYS_PAGES_1G] = "1g",       [SYS_PAGES_2M] = "2m",
		[SYS_PAGES_TRANSPARENT] = "thp", [SYS_PAGES_PLAIN] = "plain",
	};
	struct run_config *config = target;
	int kind = word_of(text, words, (int)ARRAY_COUNT(words));

	if (kind < 0)
		return refuse(error, "--huge", "auto, 1g, 2m, thp or plain", text);
	config->pages = (enum sys_page_kind)kind;
	return true;
}

static bool set_fault(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	struct run_config *config = target;

	config->faulty = true;
	return fault_parse(text, &config->fault, error, OPTIONS_ERROR_BYTES) == 0;
}

#define AT(field)               .offset = offsetof(struct run_config, field)
#define NUMBER(field, from, to) .kind = OPTION_NUMBER, AT(field), .min = (from), .max = (to)
#define CUSTOM(function)        .kind = OPTION_CUSTOM, .set = (function)

const struct option_spec run_options[] = {
	{"interface", "IF",
	 "network interface to use (required, unless there is --wire). A name that starts with\n"
	 "tap and does not exist is made, with the kernel of this machine at the other end",
	 .kind = OPTION_TEXT, AT(interface)},
	{"address", "A/LEN",
	 "IPv4 address to have and the length of its network's prefix (required, unless there is\n"
	 "--shared). It must not be used by this or another host. Without /LEN the interface's\n"
	 "own network is taken",
	 CUSTOM(set_address)},
	{"shared", NULL,
	 "serve on the addresses that the interface has, beside the kernel and its SSH: only\n"
	 "the services' TCP ports are taken, all else stays the kernel's; its addresses,\n"
	 "routes and neighbours are followed. --address then names the only one to serve on",
	 .kind = OPTION_FLAG, AT(shared)},
	{"client-ports", "N",
	 "with --shared: ports to reserve for outgoing connections; default: 1000 when a\n"
	 "service has no port of its own, else none",
	 NUMBER(client_ports, 0, 30000)},
	{"gateway", "G", "next hop to other networks; default: none, only the own network is reached",
	 CUSTOM(set_gateway)},
	{"source-net", "N/LEN",
	 "network whose hosts are ours to connect from, beside the address: so many times\n"
	 "60,000 connections to one server. Others reach it by a route: 'ip route add N/LEN\n"
	 "via ADDRESS'; nobody is asked whether one of its hosts exists elsewhere",
	 CUSTOM(set_source_net)},
	{"vlan", "ID",
	 "serve in this VLAN (IEEE 802.1Q): what is sent gets its tag, and all frames of others are\n"
	 "left alone. --address with its prefix is one of that VLAN",
	 NUMBER(vlan, VLAN_ID_MIN, VLAN_ID_MAX)},
	{"via", "PORT",
	 "how frames move: auto (the best that works, and it is said why), afxdp, tap,\n"
	 "packet (packet sockets: slow, but they work on any interface), wire",
	 CUSTOM(set_via)},
	{"wire", "PATH",
	 "no interface, but memory that is shared with one other c10m program, which is given\n"
	 "the same: they meet at a socket PATH, who comes first waits for the other there.\n"
	 "Each takes an address of its own in one network",
	 .kind = OPTION_TEXT, AT(wire)},
	{"no-checksums", NULL,
	 "with --wire: leave TCP checksums out, since memory garbles nothing; for both ends",
	 .kind = OPTION_FLAG, AT(no_checksums)},
	{"tap-address", "A",
	 "of the kernel's end of a TAP device that is made; default: the first other\n"
	 "host of the network",
	 CUSTOM(set_tap_address)},
	{"port", "P", "TCP port to listen on, instead of the service's own", NUMBER(port, 1, 65535)},
	{"connections", "N", "connections at most (100000; c10m load: 1000); 10k and 10M are understood",
	 NUMBER(connections, 1, RUN_CONNECTIONS_MAX)},
	{"half-open", "N",
	 "connections in their handshake at most, beyond that SYN cookies are used;\n"
	 "default: from --connections",
	 NUMBER(half_open, 1, 1u << 24)},
	{"time-wait", "N",
	 "ended connections remembered at most (RFC 9293 section 3.6.1);\n"
	 "default: from --connections",
	 NUMBER(time_wait, 1, 1u << 24)},
	{"workers", "N",
	 "threads to serve with, each on a processor of its own (1). Each takes its share of\n"
	 "the connections, and of the interface's queues as far as there are any",
	 NUMBER(workers, 1, OWNER_WORKERS_MAX)},
	{"cpu", "N[,N...]",
	 "processor of the first worker, or of each; default: those that are disturbed least",
	 CUSTOM(set_cpus)},
	{"huge", "KIND",
	 "memory: auto (the best that works), 1g or 2m (huge pages), thp (transparent\n"
	 "huge pages), plain (4 KB pages)",
	 CUSTOM(set_pages)},
	{"mode", "MODE", "XDP mode: auto, generic (works everywhere), native (needs the driver's help)",
	 CUSTOM(set_mode)},
	{"frames", "N", "2 KB frames for each queue of the interface; default: the port's choice",
	 NUMBER(frames, 64, 1u << 20)},
	{"mtu", "BYTES", "largest IP packet; default: the interface's", NUMBER(mtu, 576, 9000)},
	{"spin-us", "US", "microseconds to look for work before sleeping, at most (50); 0: never spin",
	 NUMBER(spin_us, 0, 1000000)},
	{"helpers", "N", "threads beside the workers for calls that block, at most (2)",
	 NUMBER(helpers, 1, HELPERS_MAX)},
	{"drain-ms", "MS",
	 "after SIGINT or SIGTERM no connection is accepted, and those that are open may go on\n"
	 "for so long; a second signal ends them at once (0: they are reset at once)",
	 NUMBER(drain_ms, 0, 86400000)},
	{"rto-min-ms", "MS", "least retransmission timeout (200)", NUMBER(rto_min_ms, 1, 60000)},
	{"delayed-ack-ms", "MS", "an acknowledgement waits this long for data to travel with (40)",
	 NUMBER(delayed_ack_ms, 1, 500)},
	{"quick-acks", "N", "so many full segments of each connection are acknowledged at once (16)",
	 NUMBER(quick_acks, 0, 1000)},
	{"receive-max", "BYTES",
	 "up to where receive windows grow that the services leave to c10m (4 MB); 65536: they\n"
	 "do not",
	 NUMBER(receive_max_bytes, 65536, 1u << 30)},
	{"time-wait-ms", "MS", "how long an ended connection is remembered (60000; c10m load: 100)",
	 NUMBER(time_wait_ms, 1, 600000)},
	{"fin-wait-ms", "MS", "how long a closed connection waits for the peer's FIN (60000)",
	 NUMBER(fin_wait2_ms, 1, 600000)},
	{"capture", "FILE", "write all frames, both ways, to FILE as pcapng", .kind = OPTION_TEXT,
	 AT(capture)},
	{"capture-filter", "EXPR", "only frames that match this pcap-filter(7) expression",
	 .kind = OPTION_TEXT, AT(capture_filter)},
	{"fault", "SPEC",
	 "mistreat received frames, for tests, for instance\n"
	 "loss=2%,delay=20ms,jitter=5ms,reorder=1%,duplicate=1%,corrupt=0.1%,seed=7",
	 CUSTOM(set_fault)},
	{"owner", "N", "worker that all connections belong to, for tests; default: spread by a keyed hash",
	 NUMBER(owner, 0, OWNER_WORKERS_MAX - 1)},
	{"no-probe", NULL, "do not ask the network whether the address is in use (saves 0.2 s)",
	 .kind = OPTION_FLAG, AT(no_probe)},
	{"stats", "SECONDS", "a line of statistics on standard error that often", NUMBER(stats_s, 1, 86400)},
	{"verbose", NULL, "print all counters at the end", .kind = OPTION_FLAG, AT(verbose)},
};

const unsigned run_option_count = ARRAY_COUNT(run_options);

void run_config_init(struct run_config *config)
{
	*config = (struct run_config){
		.connections = RUN_CONNECTIONS_DEFAULT,
		.workers = 1,
		.helpers = 2,
		.owner = OWNER_BY_HASH,
		.client_ports = RUN_CLIENT_PORTS_AUTO,
		.pages = SYS_PAGES_BEST,
		.mode = AFXDP_AUTO,
		.spin_us = 50,
		.quick_acks = 16,
		.receive_max_bytes = 4u << 20,
	};
}

/* The first and the last address of a network name no host (RFC 1122 section 3.2.1.3),
 * unless the network is a point-to-point link (RFC 3021) or a single host. */
static bool address_names_host(const struct run_config *config)
{
	uint32_t host_mask;

	if (!config->prefix_given || config->prefix_bits >= 31)
		return true;
	host_mask = UINT32_MAX >> config->prefix_bits;
	return (config->address & host_mask) != 0 && (config->address & host_mask) != host_mask;
}

static uint32_t network_mask(const struct run_config *config)
{
	return config->prefix_bits ? UINT32_MAX << (32 - config->prefix_bits) : 0;
}

/* What is said of interfaces makes no sense for a wire; NULL: nothing is wrong. */
static const char *wrong_with_wire(const struct run_config *config)
{
	if (!config->wire && config->no_checksums)
		return "--no-checksums is for --wire: on an interface others must be able to read our frames";
	if (!config->wire && config->via == PORT_KIND_WIRE)
		return "--via wire needs --wire PATH: the other program is given the same path";
	if (!config->wire)
		return NULL;
	if (config->via != PORT_KIND_AUTO && config->via != PORT_KIND_WIRE)
		return "--wire takes no other --via: leave that out";
	if (config->interface)
		return "--wire takes the place of --interface: give one of them";
	if (config->shared)
		return "--shared is for interfaces: on a wire there is no kernel to share with";
	if (!config->prefix_given || config->prefix_bits == 0)
		return "say which address to have on the wire, and its network: --address A/LEN";
	return NULL;
}

/* Where there are fewer processors than workers some must share. */
static bool cpu_named_twice(const struct run_config *config)
{
	if (sysconf(_SC_NPROCESSORS_ONLN) < (long)config->cpu_count)
		return false;
	for (uint32_t i = 0; i < config->cpu_count; i++)
		for (uint32_t j = 0; j < i; j++)
			if (config->cpus[i] == config->cpus[j])
				return true;
	return false;
}

/* NULL: the kernel's end of a device is ours to name, if there is to be one. */
static const char *wrong_with_tap_address(const struct run_config *config)
{
	bool tap = config->via == PORT_KIND_TAP || (config->via == PORT_KIND_AUTO && !config->shared &&
						    config->interface && port_is_tap(config->interface));

	if (!config->tap_address)
		return NULL;
	if (!tap)
		return "--tap-address is for TAP devices alone, and this is none: leave it out, or say "
		       "--interface tap0";
	if (config->tap_address == config->address)
		return "--tap-address is the kernel's own address, not the server's: give another host's";
	if ((config->tap_address ^ config->address) & network_mask(config))
		return "--tap-address must be in the network of --address";
	return NULL;
}

/* The kernel's own VLAN interface has its addresses, and shows frames without tags. */
static const char *wrong_with_vlan(const struct run_config *config)
{
	if (config->vlan && config->shared)
		return "--vlan is for an address of c10m's own: with --shared name the kernel's interface in "
		       "that VLAN, as in --interface eth0.5";
	if (config->vlan && !config->prefix_given)
		return "--vlan needs the network of the VLAN: give --address with its prefix, such as "
		       "10.0.0.1/24";
	if (config->vlan && config->tap_address)
		return "--tap-address is not for --vlan: the kernel's end of the device needs a VLAN of its "
		       "own";
	return NULL;
}

static const char *wrong_with_interface(const struct run_config *config)
{
	const char *wrong = NULL;

	if (!config->interface && !config->wire)
		wrong = "say which network interface to serve on: --interface IF ('ip link' lists them)";
	else if (!config->address && !config->shared)
		wrong = "say which address to serve on: --address A/LEN, one that no host uses; or --shared";
	else if (config->shared && config->gateway)
		wrong = "--gateway is not for --shared: the kernel's routes are used ('ip route' shows them)";
	else if (config->shared && config->via != PORT_KIND_AUTO && config->via != PORT_KIND_AFXDP)
		wrong = "--shared works with AF_XDP alone: leave --via out";
	else if (config->client_ports != RUN_CLIENT_PORTS_AUTO && !config->shared)
		wrong = "--client-ports is for --shared: on an address of its own c10m has all ports";
	else if (config->prefix_given && config->prefix_bits == 0)
		wrong = "--address needs a prefix of 1 to 32 bits, such as 10.0.0.1/24";
	else if (!address_names_host(config))
		wrong = "--address names a whole network, or its broadcast address: pick a host's in between";
	else if (wrong_with_tap_address(config))
		wrong = wrong_with_tap_address(config);
	else if (wrong_with_vlan(config))
		wrong = wrong_with_vlan(config);
	else if (config->gateway && config->gateway == config->address)
		wrong = "--gateway cannot be the server's own address: give the router's";
	else if (config->cpu_count > 1 && config->cpu_count != config->workers)
		wrong = "--cpu takes one processor, or as many as there are workers";
	else if (cpu_named_twice(config))
		wrong = "--cpu names a processor twice: each worker needs one of its own";
	else if (config->owner != OWNER_BY_HASH && config->owner >= config->workers)
		wrong = "--owner takes the number of a worker: they count from 0";
	else if (config->capture_filter && !config->capture)
		wrong = "--capture-filter needs --capture FILE";
	return wrong;
}

static bool check_interface(const struct run_config *config, char error[OPTIONS_ERROR_BYTES])
{
	const char *wrong = wrong_with_wire(config);

	if (!wrong)
		wrong = wrong_with_interface(config);
	if (wrong)
		snprintf(error, OPTIONS_ERROR_BYTES, "%s", wrong);
	return !wrong;
}

struct ipv4_range run_config_sources(const struct run_config *config)
{
	return config->source_net_bits ? ipv4_hosts(config->source_net, config->source_net_bits)
				       : (struct ipv4_range){0};
}

static bool in_source_net(const struct run_config *config, uint32_t address)
{
	return address && ((address ^ config->source_net) >> (32 - config->source_net_bits)) == 0;
}

static bool check_source_net(const struct run_config *config, char error[OPTIONS_ERROR_BYTES])
{
	uint32_t first = config->source_net, others, last;
	const char *wrong = NULL;

	if (config->source_net_bits == 0)
		return true;
	others = UINT32_MAX >> (config->source_net_bits - 1) >> 1;
	last = first | others;
	if (first & others)
		wrong = "--source-net has bits set behind its prefix: say 10.64.0.0/12, not 10.64.0.1/12";
	else if (config->shared)
		wrong = "--source-net is for an address of c10m's own: leave out --shared";
	else if (first >> 24 <= 127 && last >> 24 >= 127)
		wrong = "--source-net holds loopback addresses (127.0.0.0/8), which leave no host: take "
			"another net";
	else if (last >= 224u << 24)
		wrong = "--source-net holds multicast or reserved addresses (from 224.0.0.0 on), which no "
			"host "
			"has: take another net";
	else if (first >> 24 == 0)
		wrong = "--source-net holds addresses of 0.0.0.0/8, which no host has: take another net";
	else if (in_source_net(config, config->address))
		wrong = "--source-net holds --address: take a net without it, since it is ours anyway";
	else if (in_source_net(config, config->gateway))
		wrong = "--source-net holds --gateway, which is another host: take a net without it";
	else if (in_source_net(config, config->tap_address))
		wrong = "--source-net holds --tap-address, which is the kernel's: take a net without it";
	if (wrong)
		snprintf(error, OPTIONS_ERROR_BYTES, "%s", wrong);
	return !wrong;
}

static bool check_services(const struct run_config *config, struct c10m_service *services, uint32_t count,
			   char error[OPTIONS_ERROR_BYTES])
{
	for (uint32_t i = 0; i < count; i++) {
		if (!services[i].congestion_control && !congestion_find(services[i].congestion)) {
			snprintf(error, OPTIONS_ERROR_BYTES,
				 "service %.40s asks for the congestion control %.40s, which does not exist: "
				 "leave it out, or say cubic, newreno or dctcp",
				 services[i].name, services[i].congestion);
			return false;
		}
		if (services[i].limits && admission_wrong(services[i].limits)) {
			snprintf(error, OPTIONS_ERROR_BYTES, "the limits of service %.40s make no sense: %s",
				 services[i].name, admission_wrong(services[i].limits));
			return false;
		}
		if (config->port && services[i].port)
			services[i].port = (uint16_t)config->port;
		for (uint32_t j = 0; j < i; j++)
			if (services[i].port && services[i].port == services[j].port) {
				snprintf(error, OPTIONS_ERROR_BYTES,
					 "port %u is wanted by the services %.40s and %.40s: give each its "
					 "own%s",
					 services[i].port, services[j].name, services[i].name,
					 config->port ? ", without --port" : "");
				return false;
			}
	}
	return true;
}

bool run_config_check(struct run_config *config, struct c10m_service *services, uint32_t service_count,
		      char error[OPTIONS_ERROR_BYTES])
{
	if (config->wire && !config->interface && config->via == PORT_KIND_AUTO)
		config->via = PORT_KIND_WIRE;
	return check_interface(config, error) && check_source_net(config, error) &&
	       check_services(config, services, service_count, error);
}

/* A hash spreads flows evenly, but not exactly so: a sixteenth more covers the difference. */
static uint32_t share_of(const struct run_config *config, uint32_t all)
{
	uint32_t share = (all + config->workers - 1) / config->workers;

	if (config->workers == 1 || all == 0 || config->owner != OWNER_BY_HASH)
		return all;
	return MIN_OF(share + share / 16 + 64, all);
}

void run_config_stack(const struct run_config *config, struct stack_config *stack)
{
	*stack = (struct stack_config){
		.connections = share_of(config, config->connections),
		.half_open = share_of(config, config->half_open),
		.time_wait = share_of(config, config->time_wait),
		.address = config->address,
		.prefix_bits = config->prefix_bits,
		.gateway = config->gateway,
		.source_net = run_config_sources(config),
		.mtu = config->mtu,
		.rto_min_ms = config->rto_min_ms,
		.delayed_ack_ms = config->delayed_ack_ms,
		.quick_acks = config->quick_acks,
		.receive_max_bytes = config->receive_max_bytes,
		.time_wait_ms = config->time_wait_ms,
		.fin_wait2_ms = config->fin_wait2_ms,
	};
}
