/* afxdp_program.c - loads the XDP program and keeps it attached.
 * In: the interface, the address to claim, the mode.
 * Out: a program that steers frames to the sockets it is given.
 * Owns: the BPF objects and the link. Nothing is pinned: all goes with the process.
 *
 * Claims are plain memory that the program reads (its .bss is mapped): they take effect at once. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/check.h"
#include "port/afxdp_internal.h"
#include "sys/entropy.h"

/* Written by a tool, for less strict warnings than ours. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#include "afxdp.skel.h"
#pragma GCC diagnostic pop

#define PROCESSORS_MAX 1024 /* more than Linux has here */

static int program_refuse_load(int number, char error[PORT_ERROR_BYTES])
{
	if (number == EPERM || number == EACCES)
		return port_refuse(error, EPERM,
				   "the kernel does not let this user load an XDP program: run as root, or "
				   "with the capabilities CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF");
	return port_refuse(error, number,
			   "the kernel refused the XDP program (%s): Linux 5.9 or later with "
			   "CONFIG_XDP_SOCKETS is needed",
			   strerror(number));
}

static int program_refuse_attach(const char *name, int number, char error[PORT_ERROR_BYTES])
{
	if (number == EBUSY || number == EEXIST)
		return port_refuse(error, EBUSY,
				   "another XDP program is attached to %s: stop its owner, or remove it with "
				   "'ip link set dev %s xdp off'",
				   name, name);
	if (number == EPERM)
		return program_refuse_load(number, error);
	if (number == EOPNOTSUPP)
		return port_refuse(error, number, "the driver of %s has no native XDP: use the generic mode",
				   name);
	return port_refuse(error, number,
			   "the XDP program cannot be attached to %s (%s): an MTU of 1500 and the other mode "
			   "are worth a try",
			   name, strerror(number));
}

/* A file descriptor of the link, or a negative errno. */
static int program_attach(struct afxdp_program *program, const struct afxdp_device *device, bool native)
{
	LIBBPF_OPTS(bpf_link_create_opts, options, .flags = native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);
	int program_fd = bpf_program__fd(program->skeleton->progs.afxdp_steer);
	int fd = bpf_link_create(program_fd, (int)device->index, BPF_XDP, &options);

	return fd < 0 ? -errno : fd;
}

/* Generic on veth, where it measured faster (docs/benchmarks.md); elsewhere native if it can be had. */
static int program_attach_mode(struct afxdp_program *program, const struct afxdp_device *device,
			       enum afxdp_mode mode, char error[PORT_ERROR_BYTES])
{
	bool native = mode == AFXDP_NATIVE || (mode == AFXDP_AUTO && strcmp(device->driver, "veth") != 0);
	int fd = program_attach(program, device, native);

	if (fd < 0 && native && mode == AFXDP_AUTO && fd != -EBUSY && fd != -EEXIST && fd != -EPERM) {
		native = false;
		program->fell_back = true;
		fd = program_attach(program, device, native);
	}
	if (fd < 0)
		return program_refuse_attach(device->name, -fd, error);
	program->link_fd = fd;
	program->native = native;
	return 0;
}

static int program_configure(struct afxdp_bpf *skeleton, const struct afxdp_config *config)
{
	struct afxdp_bpf__bss *bss = skeleton->bss;

	skeleton->rodata->vlan_id = config->vlan;
	bss->by_port = config->shared;
	if (!config->shared)
		bss->claimed[0] = htonl(config->address);
	bss->net_first = config->sources.first;
	bss->net_count = config->sources.count;
	return sys_entropy_fill(bss->syn_key, sizeof(bss->syn_key));
}

static int program_start(struct afxdp_program *program, const struct afxdp_device *device,
			 const struct afxdp_config *config, char error[PORT_ERROR_BYTES])
{
	libbpf_print_fn_t print = libbpf_set_print(NULL);
	int result;

	program->skeleton = afxdp_bpf__open();
	result = program->skeleton ? program_configure(program->skeleton, config) : -errno;
	if (result == 0)
		result = afxdp_bpf__load(program->skeleton);
	libbpf_set_print(print);
	if (result < 0)
		return program_refuse_load(-result, error);
	return program_attach_mode(program, device, config->mode, error);
}

struct afxdp_program *afxdp_program_load(const struct afxdp_device *device, const struct afxdp_config *config,
					 char error[PORT_ERROR_BYTES])
{
	struct afxdp_program *program = calloc(1, sizeof(*program));
	int result;

	if (!program) {
		errno = -port_refuse(error, ENOMEM, "too little memory for the XDP program: free some");
		return NULL;
	}
	program->link_fd = -1;
	atomic_init(&program->users, 1);
	result = program_start(program, device, config, error);
	if (result < 0) {
		afxdp_program_put(program);
		errno = -result;
		return NULL;
	}
	return program;
}

int afxdp_program_add_socket(struct afxdp_program *program, uint32_t queue, int socket_fd)
{
	int map = bpf_map__fd(program->skeleton->maps.sockets);

	if (bpf_map_update_elem(map, &queue, &socket_fd, BPF_ANY) < 0)
		return -errno;
	return 0;
}

int afxdp_program_fd(const struct afxdp_program *program)
{
	return bpf_program__fd(program->skeleton->progs.afxdp_steer);
}

/* --- claims ------------------------------------------------------------------ */

static struct afxdp_program *program_of(struct port *port)
{
	CHECK(afxdp_is(port));
	return ((struct afxdp_port *)port)->program;
}

int afxdp_claim_address(struct port *port, uint32_t address)
{
	__u32 *claimed = program_of(port)->skeleton->bss->claimed, word = htonl(address);
	int place = -1;

	for (int i = AFXDP_ADDRESSES; i-- > 0;) {
		if (claimed[i] == word)
			return 0;
		if (claimed[i] == 0)
			place = i;
	}
	if (place < 0)
		return -ENOSPC;
	__atomic_store_n(&claimed[place], word, __ATOMIC_RELEASE);
	return 0;
}

void afxdp_disclaim_address(struct port *port, uint32_t address)
{
	__u32 *claimed = program_of(port)->skeleton->bss->claimed;

	for (int i = 0; i < AFXDP_ADDRESSES; i++)
		if (claimed[i] == htonl(address))
			__atomic_store_n(&claimed[i], 0, __ATOMIC_RELEASE);
}

void afxdp_claim_port(struct port *port, uint16_t number)
{
	__u64 *words = program_of(port)->skeleton->bss->claimed_ports;

	__atomic_fetch_or(&words[number / 64], 1ull << number % 64, __ATOMIC_RELEASE);
}

void afxdp_disclaim_port(struct port *port, uint16_t number)
{
	__u64 *words = program_of(port)->skeleton->bss->claimed_ports;

	__atomic_fetch_and(&words[number / 64], ~(1ull << number % 64), __ATOMIC_RELEASE);
}

/* --- SYNs ----------------------------------------------------------------------- */

void afxdp_police(struct port *port, uint32_t first_rate, uint32_t again_rate)
{
	__u64 *costs_ns = program_of(port)->skeleton->bss->syn_cost_ns;
	const uint64_t second_ns = 1000000000;

	__atomic_store_n(&costs_ns[AFXDP_SYN_AGAIN], again_rate ? second_ns / again_rate : 0,
			 __ATOMIC_RELAXED);
	__atomic_store_n(&costs_ns[AFXDP_SYN_FIRST], first_rate ? second_ns / first_rate : 0,
			 __ATOMIC_RELEASE);
}

static uint64_t verdicts_of(struct port *port, uint32_t verdict)
{
	int map = bpf_map__fd(program_of(port)->skeleton->maps.verdicts);
	int processors = libbpf_num_possible_cpus();
	uint64_t counts[PROCESSORS_MAX] = {0}, sum = 0;

	if (processors < 1 || processors > PROCESSORS_MAX || bpf_map_lookup_elem(map, &verdict, counts) < 0)
		return 0;
	for (int i = 0; i < processors; i++)
		sum += counts[i];
	return sum;
}

void afxdp_police_counts(struct port *port, struct afxdp_syns *syns)
{
	*syns = (struct afxdp_syns){verdicts_of(port, AFXDP_SYN_LUCKY), verdicts_of(port, AFXDP_SYN_KNOWN),
				    verdicts_of(port, AFXDP_SYN_DROPPED)};
}

uint64_t afxdp_stray_frames(struct port *port)
{
	return verdicts_of(port, AFXDP_NO_SOCKET);
}

void afxdp_program_put(struct afxdp_program *program)
{
	if (atomic_fetch_sub(&program->users, 1) != 1)
		return;
	if (program->link_fd >= 0)
		close(program->link_fd);
	afxdp_bpf__destroy(program->skeleton);
	free(program);
}
