/* config.h - what a run is asked to be: the options that every server has. */
#ifndef C10M_RUN_CONFIG_H
#define C10M_RUN_CONFIG_H

#include "port/choose.h"
#include "port/fault.h"
#include "run/options.h"
#include "stack/stack.h"
#include "sys/memory.h"

#define RUN_CONNECTIONS_DEFAULT 100000
#define RUN_CONNECTIONS_MAX     67000000
#define RUN_CLIENT_PORTS_AUTO   UINT32_MAX /* as the services ask for */

struct run_config {
	const char *interface;
	uint32_t address, gateway;
	uint8_t prefix_bits;
	bool prefix_given;
	uint32_t source_net; /* its hosts are ours to connect from; 0 bits: there is none */
	uint8_t source_net_bits;
	bool shared;           /* with the kernel: its addresses, its routes */
	uint32_t client_ports; /* for outgoing connections then, or RUN_CLIENT_PORTS_AUTO */
	uint32_t vlan;         /* 0: frames have no tag */
	uint32_t mtu;          /* 0: the interface's */
	uint32_t port;         /* 0: the services' own */
	uint32_t connections, half_open, time_wait;
	uint32_t workers;
	int cpus[OWNER_WORKERS_MAX];
	uint32_t cpu_count; /* as asked: none, the first worker's, or all workers' */
	uint32_t owner;     /* OWNER_BY_HASH, but in tests: owns all flows */
	enum sys_page_kind pages;
	enum port_kind via;
	const char *wire;     /* path where it meets its other end; NULL: an interface is served */
	bool no_checksums;    /* on a wire */
	uint32_t tap_address; /* 0: chosen */
	enum afxdp_mode mode;
	uint32_t frames;
	uint32_t spin_us;
	uint32_t helpers;  /* threads for c10m_offload */
	uint32_t drain_ms; /* 0: connections are reset at once */
	const char *capture, *capture_filter;
	struct fault_config fault;
	bool faulty;
	uint32_t rto_min_ms, delayed_ack_ms, quick_acks, receive_max_bytes, time_wait_ms, fin_wait2_ms;
	uint32_t stats_s; /* 0: no lines of statistics */
	bool verbose, no_probe;
};

extern const struct option_spec run_options[];
extern const unsigned run_option_count;

void run_config_init(struct run_config *config);
/* False and a sentence when the options do not fit each other or the services. Puts --port into the
 * services. */
bool run_config_check(struct run_config *config, struct c10m_service *services, uint32_t service_count,
		      char error[OPTIONS_ERROR_BYTES]);
/* The hosts of --source-net; none without it. */
struct ipv4_range run_config_sources(const struct run_config *config);
/* What each worker's stack is to be: its share of all. The interface's part is left to the caller. */
void run_config_stack(const struct run_config *config, struct stack_config *stack);

#endif
