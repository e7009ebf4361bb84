/* afxdp_open.c - opens and closes the afxdp port, one AF_XDP socket a queue.
 * In: the configuration. Out: ports, or a sentence that says what to do.
 * Owns: the sockets, their rings, and their UMEM unless the caller brought it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <xdp/libxdp.h>

#include "port/afxdp_internal.h"

#define HUGE_BYTES ((size_t)2 << 20)
#define TAG_BYTES  4 /* of a VLAN, in front of what the MTU counts */

/* How many frames one system call may send (Linux 6.17); older headers lack the name. */
#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9
#endif

/* Reserved huge pages, else an aligned mapping that the kernel may back with them. */
static void *umem_map(size_t bytes)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	void *at = MAP_FAILED;

	if (bytes % HUGE_BYTES == 0)
		at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_HUGETLB, -1, 0);
	if (at != MAP_FAILED)
		return at;
	at = mmap(NULL, bytes + HUGE_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	size_t before = ALIGN_UP((uintptr_t)at, HUGE_BYTES) - (uintptr_t)at;

	if (before > 0)
		munmap(at, before);
	at = (uint8_t *)at + before;
	munmap((uint8_t *)at + bytes, HUGE_BYTES - before);
	madvise(at, bytes, MADV_HUGEPAGE); /* refused: plain pages will do */
	return at;
}

static int umem_register(struct afxdp_port *afxdp)
{
	const struct xsk_umem_config config = {
		/* The kernel publishes late what it took: twice the frames always fit. */
		.fill_size = afxdp->frames,
		.comp_size = afxdp->frames / 2,
		.frame_size = AFXDP_FRAME_BYTES,
	};

	return xsk_umem__create(&afxdp->kernel_umem, afxdp->umem, afxdp->umem_bytes, &afxdp->fill,
				&afxdp->completion, &config);
}

/* Locked memory is not counted for root, as a rule; where it is, lift the limit once. */
static int umem_register_unlimited(struct afxdp_port *afxdp)
{
	const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	int result = umem_register(afxdp);

	if (result == -ENOBUFS && setrlimit(RLIMIT_MEMLOCK, &unlimited) == 0)
		result = umem_register(afxdp);
	return result;
}

static void queue_unbind(struct afxdp_port *afxdp)
{
	if (afxdp->socket)
		xsk_socket__delete(afxdp->socket);
	if (afxdp->kernel_umem)
		xsk_umem__delete(afxdp->kernel_umem);
	afxdp->socket = NULL;
	afxdp->kernel_umem = NULL;
}

static int queue_bind(struct afxdp_port *afxdp, uint16_t bind_flags)
{
	const struct xsk_socket_config config = {
		.rx_size = afxdp->frames / 2,
		.tx_size = afxdp->frames / 2,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.xdp_flags = afxdp->program->native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE,
		.bind_flags = (uint16_t)(bind_flags | XDP_USE_NEED_WAKEUP),
	};
	int result = umem_register_unlimited(afxdp);

	if (result == 0)
		result = xsk_socket__create(&afxdp->socket, afxdp->name, afxdp->queue, afxdp->kernel_umem,
					    &afxdp->rx, &afxdp->tx, &config);
	if (result < 0)
		queue_unbind(afxdp);
	return result;
}

static int queue_refuse(const struct afxdp_port *afxdp, int number, char error[PORT_ERROR_BYTES])
{
	const char *name = afxdp->name;

	switch (number) {
	case EBUSY:
		return port_refuse(error, number,
				   "queue %u of %s is in use by another AF_XDP program: stop that program",
				   afxdp->queue, name);
	case EPERM:
	case EACCES:
		return port_refuse(error, EPERM,
				   "the kernel does not let this user open AF_XDP sockets: run as root, or "
				   "with the capabilities CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF");
	case EAFNOSUPPORT:
		return port_refuse(error, number,
				   "this kernel has no AF_XDP: use one built with CONFIG_XDP_SOCKETS");
	case ENOBUFS:
		return port_refuse(error, number,
				   "the limit on locked memory is below %zu KB: raise it with 'ulimit -l', "
				   "or use fewer frames",
				   afxdp->umem_bytes / 1024);
	case ENOMEM:
		return port_refuse(error, number, "too little memory for %u frames on %s: use fewer frames",
				   afxdp->frames, name);
	default:
		return port_refuse(error, number,
				   "queue %u of %s cannot be opened (%s): check 'ethtool -l %s', and try "
				   "the generic mode",
				   afxdp->queue, name, strerror(number), name);
	}
}

static const char *mode_reason(const struct afxdp_program *program, enum afxdp_mode mode)
{
	if (program->fell_back)
		return "generic mode (no native XDP here)";
	if (mode != AFXDP_AUTO)
		return program->native ? "native mode (as asked)" : "generic mode (as asked)";
	return program->native ? "native mode" : "generic mode (faster on veth)";
}

/* A peer's first long frame would be sent again in parts, slowly, after each timeout. */
static const char long_frames_are_lost[] =
	"this kernel cannot receive TCP frames longer than the MTU here (Linux 6.6 can): uploads from the "
	"other end "
	"of the veth pair crawl, unless 'ethtool -K IF tso off gso off' is said there, or --mode native here";

static const char tags_may_be_lost[] =
	"a kernel at the other end of a veth pair keeps VLAN tags beside its frames, where XDP does not see "
	"them: say "
	"'ethtool -K IF txvlan off' there, or --via packet here";

static void queue_describe(struct afxdp_port *afxdp, const struct afxdp_device *device, enum afxdp_mode mode)
{
	struct xdp_options options = {0};
	socklen_t bytes = sizeof(options);
	bool zero_copy;

	zero_copy = getsockopt(afxdp->fd, SOL_XDP, XDP_OPTIONS, &options, &bytes) == 0 &&
		    (options.flags & XDP_OPTIONS_ZEROCOPY) != 0;
	snprintf(afxdp->port.text, sizeof(afxdp->port.text), "afxdp %s queue %u, %s, %s", device->name,
		 afxdp->queue, mode_reason(afxdp->program, mode), zero_copy ? "zero copy" : "copying");
	memcpy(afxdp->port.caps.address, device->address, sizeof(device->address));
	afxdp->port.caps.queues = device->queues;
	afxdp->port.wait_fd = afxdp->fd;
	if (afxdp->left_sums && !afxdp->program->native && !afxdp->in_pieces)
		afxdp->port.advice = long_frames_are_lost;
	if (afxdp->port.caps.vlan && afxdp->left_sums)
		afxdp->port.advice = tags_may_be_lost;
}

/* Native drivers that cannot lend their buffers may still refuse the attempt: then copy. */
static int queue_open(struct afxdp_port *afxdp, char error[PORT_ERROR_BYTES])
{
	bool native = afxdp->program->native;
	libxdp_print_fn_t print = libxdp_set_print(NULL);
	uint32_t budget = afxdp->frames / 2;
	int result = -EINVAL;

	afxdp->in_pieces = afxdp->left_sums && !native;
	if (afxdp->in_pieces)
		result = queue_bind(afxdp, XDP_COPY | XDP_USE_SG);
	if (result == -EINVAL) {
		afxdp->in_pieces = false;
		result = queue_bind(afxdp, native ? 0 : XDP_COPY);
	}
	if (result < 0 && result != -EBUSY && result != -EPERM && native)
		result = queue_bind(afxdp, XDP_COPY);
	libxdp_set_print(print);
	if (result < 0)
		return queue_refuse(afxdp, -result, error);
	afxdp->fd = xsk_socket__fd(afxdp->socket);
	fcntl(afxdp->fd, F_SETFD, FD_CLOEXEC);
	setsockopt(afxdp->fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &budget, sizeof(budget)); /* older: 32 a call */
	afxdp_frames_init(afxdp);
	result = afxdp_program_add_socket(afxdp->program, afxdp->queue, afxdp->fd);
	if (result < 0)
		return queue_refuse(afxdp, -result, error);
	return 0;
}

static struct afxdp_port *queue_new(const struct afxdp_config *config, const struct afxdp_device *device,
				    uint32_t frames, uint32_t queue)
{
	struct afxdp_port *afxdp = aligned_alloc(CACHE_LINE, ALIGN_UP(sizeof(*afxdp), (size_t)CACHE_LINE));

	if (!afxdp)
		return NULL;
	memset(afxdp, 0, sizeof(*afxdp));
	afxdp->port.ops = &afxdp_ops;
	afxdp->fd = -1;
	afxdp->frames = frames;
	afxdp->queue = queue;
	/* Only a peer in memory, at the other end of a veth pair, leaves its sums undone, its frames uncut.
	 */
	afxdp->left_sums = strcmp(device->driver, "veth") == 0;
	afxdp->port.caps.mtu = MIN_OF(device->mtu, AFXDP_MTU_MAX - (config->vlan ? TAG_BYTES : 0u));
	afxdp->port.caps.vlan = config->vlan;
	afxdp->umem_bytes = (size_t)frames * AFXDP_FRAME_BYTES;
	afxdp->umem_mapped = !config->umem;
	memcpy(afxdp->name, device->name, sizeof(afxdp->name));
	afxdp->umem = config->umem ? (uint8_t *)config->umem + queue * afxdp->umem_bytes
				   : umem_map(afxdp->umem_bytes);
	afxdp->state = calloc(frames, sizeof(*afxdp->state));
	afxdp->free = calloc(frames, sizeof(*afxdp->free));
	afxdp->spare = calloc(frames, sizeof(*afxdp->spare));
	return afxdp;
}

void afxdp_close(struct port *port)
{
	struct afxdp_port *afxdp = (struct afxdp_port *)port;

	queue_unbind(afxdp);
	if (afxdp->umem_mapped && afxdp->umem)
		munmap(afxdp->umem, afxdp->umem_bytes);
	if (afxdp->program)
		afxdp_program_put(afxdp->program);
	free(afxdp->spare);
	free(afxdp->free);
	free(afxdp->state);
	free(afxdp);
}

static int queue_add(const struct afxdp_config *config, const struct afxdp_device *device,
		     struct afxdp_program *program, uint32_t frames, uint32_t queue, struct port **port,
		     char error[PORT_ERROR_BYTES])
{
	struct afxdp_port *afxdp = queue_new(config, device, frames, queue);
	int result;

	if (!afxdp || !afxdp->umem || !afxdp->state || !afxdp->free || !afxdp->spare) {
		if (afxdp)
			afxdp_close(&afxdp->port);
		return port_refuse(error, ENOMEM, "too little memory for %u frames on %s: use fewer frames",
				   frames, device->name);
	}
	atomic_fetch_add(&program->users, 1);
	afxdp->program = program;
	result = queue_open(afxdp, error);
	if (result < 0) {
		afxdp_close(&afxdp->port);
		return result;
	}
	queue_describe(afxdp, device, config->mode);
	*port = &afxdp->port;
	return 0;
}

/* Rounded up to a power of two, since rings have no other size. */
static int frames_choose(const struct afxdp_config *config, uint32_t *frames, char error[PORT_ERROR_BYTES])
{
	uint32_t wanted = config->frames ? config->frames : AFXDP_FRAMES_DEFAULT;

	if (wanted > AFXDP_FRAMES_MAX)
		return port_refuse(error, EINVAL, "%u frames a queue are too many: at most %u", wanted,
				   AFXDP_FRAMES_MAX);
	for (*frames = AFXDP_FRAMES_MIN; *frames < wanted;)
		*frames *= 2;
	if (config->umem && (*frames != wanted || (uintptr_t)config->umem % 4096 != 0))
		return port_refuse(error, EINVAL,
				   "memory for frames must start on a page and hold a power of two of them, "
				   "at least %u",
				   AFXDP_FRAMES_MIN);
	return 0;
}

/* A tag that stands beside the frame, where the card or the sender's kernel has put it, is nothing that an
 * XDP program sees. */
static int tags_check(const struct afxdp_config *config, const struct afxdp_device *device,
		      char error[PORT_ERROR_BYTES])
{
	bool veth = strcmp(device->driver, "veth") == 0;

	if (!config->vlan || !device->takes_tags || (veth && !config->tags_must_show))
		return 0;
	if (veth)
		return port_refuse(error, EOPNOTSUPP,
				   "the kernel at the other end of %s may keep VLAN tags beside its frames: "
				   "say 'ethtool -K IF txvlan off' there, and --via afxdp here",
				   device->name);
	return port_refuse(error, EOPNOTSUPP,
			   "%s takes VLAN tags off before XDP sees them: say 'ethtool -K %s rxvlan off'",
			   device->name, device->name);
}

static int queues_choose(const struct afxdp_config *config, const struct afxdp_device *device,
			 uint32_t max_ports, uint32_t *queues, char error[PORT_ERROR_BYTES])
{
	uint32_t room = MIN_OF(max_ports, AFXDP_QUEUES);

	if (config->queues > device->queues)
		return port_refuse(error, EINVAL, "%s has %u queues, not %u: see 'ethtool -l %s'",
				   device->name, device->queues, config->queues, device->name);
	*queues = config->queues ? config->queues : device->queues;
	if (*queues > room)
		return port_refuse(error, ENOSPC,
				   "%s has %u queues and there is room for %u: reduce them with "
				   "'ethtool -L %s combined %u', or say how many to use",
				   device->name, *queues, room, device->name, room);
	return 0;
}

int afxdp_open(const struct afxdp_config *config, struct port **ports, uint32_t max_ports,
	       char error[PORT_ERROR_BYTES])
{
	struct afxdp_device device;
	struct afxdp_program *program;
	uint32_t frames = 0, queues = 0, opened = 0;
	int result = afxdp_device_query(config->interface, &device, error);

	if (result == 0)
		result = tags_check(config, &device, error);
	if (result == 0)
		result = frames_choose(config, &frames, error);
	if (result == 0)
		result = queues_choose(config, &device, max_ports, &queues, error);
	if (result < 0)
		return result;
	program = afxdp_program_load(&device, config, error);
	if (!program)
		return -errno;
	for (; result == 0 && opened < queues; opened += result == 0)
		result = queue_add(config, &device, program, frames, opened, &ports[opened], error);
	afxdp_program_put(program); /* the ports hold it from here on */
	while (result < 0 && opened > 0) {
		port_close(ports[--opened]);
		ports[opened] = NULL;
	}
	return result < 0 ? result : (int)opened;
}
