/* packet_socket_open.c - opens and closes the packet socket port.
 * In: the configuration. Out: ports, or a sentence that says what to do.
 * Owns: the sockets and the memory of their frames. What an interface is asked for (every frame, whoever it
 * is for) the kernel takes back when the socket is closed, however that happens. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "port/afxdp_internal.h"
#include "port/packet_socket_internal.h"
#include "sys/text.h"

#define BUFFER_BYTES  (16u << 20)
#define QUEUES_MAX    64
#define VLAN_ID_MASK  0x0fff
#define RECEIVE_BYTES ((size_t)PORT_BURST * PACKET_SOCKET_SLOT)
#define SEND_BYTES    ((size_t)PACKET_SOCKET_SENDS * PACKET_SOCKET_SLOT)
#define FORWARDS      "/proc/sys/net/ipv4/ip_forward"
#define FORWARD_ADVICE \
	"this kernel is a router (net.ipv4.ip_forward is 1), and will route packets for the server's " \
	"address, " \
	"too: turn that off, or serve on a host that is none"

/* --- what the kernel is asked for ---------------------------------------------- */

static int set_number(int fd, int option, int value)
{
	return setsockopt(fd, SOL_PACKET, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int attach(int fd, struct sock_filter *program, size_t count)
{
	const struct sock_fprog filter = {.len = (unsigned short)count, .filter = program};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) < 0 ? -errno : 0;
}

/* Frames for the address, or one of the range: IPv4, and ARP that asks for it or answers it, and none for
 * another link address. The kernel has taken VLAN tags out: these are of our VLAN (IEEE 802.1Q, whatever the
 * priority), or have none when we are in none. */
static int attach_filter(int fd, const struct packet_socket_config *config)
{
	const uint32_t address = config->address, vlan = config->vlan;
	struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, vlan != 0, 0, 21),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 5, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TPID)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_8021Q, 0, 18),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG)),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, VLAN_ID_MASK),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, vlan, 0, 15),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OTHERHOST, 13, 0),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 7, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_ARP, 0, 10),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 14), /* ARP between Ethernet and IPv4, RFC 826 */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x00010800, 0, 8),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 18),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x0604, 0, 6),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 38), /* its target */
		BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 30), /* the destination of IPv4 */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, address, 3, 0),
		BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, config->sources.first),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, config->sources.count, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};

	return attach(fd, program, ARRAY_COUNT(program));
}

/* As much as was asked for where the user may have it, else what everybody may have. */
static void set_buffer(int fd, int forced, int plain, uint32_t bytes)
{
	int value = (int)MIN_OF(bytes, (uint32_t)INT32_MAX / 2);

	if (setsockopt(fd, SOL_SOCKET, forced, &value, sizeof(value)) < 0)
		setsockopt(fd, SOL_SOCKET, plain, &value, sizeof(value));
}

static int set_options(struct packet_socket *ps, const struct packet_socket_config *config)
{
	uint32_t bytes = config->buffer_bytes ? config->buffer_bytes : BUFFER_BYTES;
	int result = set_number(ps->fd, PACKET_VNET_HDR, 1);

	if (result == 0)
		result = set_number(ps->fd, PACKET_IGNORE_OUTGOING, 1);
	if (result == 0 && ps->raw)
		result = set_number(ps->fd, PACKET_AUXDATA, 1);
	if (result == 0 && !ps->raw)
		result = attach_filter(ps->fd, config);
	set_buffer(ps->fd, SO_RCVBUFFORCE, SO_RCVBUF, bytes);
	set_buffer(ps->fd, SO_SNDBUFFORCE, SO_SNDBUF, bytes);
	return result;
}

static int bind_to(struct packet_socket *ps)
{
	const struct sockaddr_ll at = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = ps->index,
	};

	return bind(ps->fd, (const struct sockaddr *)&at, sizeof(at)) < 0 ? -errno : 0;
}

static int see_everything(struct packet_socket *ps)
{
	const struct packet_mreq all = {.mr_ifindex = ps->index, .mr_type = PACKET_MR_PROMISC};

	return setsockopt(ps->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) < 0 ? -errno : 0;
}

/* The first socket of a group lets the kernel number it; the others join. A flow stays with one socket. */
static int join_group(struct packet_socket *ps, int *group)
{
	int value = PACKET_FANOUT_HASH << 16;
	socklen_t bytes = sizeof(value);
	int result;

	if (*group < 0)
		value |= PACKET_FANOUT_FLAG_UNIQUEID << 16;
	else
		value |= *group;
	result = set_number(ps->fd, PACKET_FANOUT, value);
	if (result == 0 && *group < 0) {
		if (getsockopt(ps->fd, SOL_PACKET, PACKET_FANOUT, &value, &bytes) < 0)
			return -errno;
		*group = value & 0xffff;
	}
	return result;
}

/* --- one socket ---------------------------------------------------------------- */

static int refuse(const struct packet_socket *ps, int number, char error[PORT_ERROR_BYTES])
{
	switch (number) {
	case EPERM:
	case EACCES:
		return port_refuse(error, EPERM,
				   "the kernel does not let this user open packet sockets: run as root, or "
				   "with the capability CAP_NET_RAW");
	case EAFNOSUPPORT:
	case EPROTONOSUPPORT:
	case ENOPROTOOPT:
		return port_refuse(error, number,
				   "this kernel's packet sockets cannot do what is needed: use Linux 4.20 or "
				   "later with CONFIG_PACKET");
	case ENOMEM:
	case ENOBUFS:
		return port_refuse(error, ENOMEM, "too little memory for a packet socket on %s: free some",
				   ps->name);
	case EMFILE:
	case ENFILE:
		return port_refuse(error, number,
				   "no file descriptor is left: raise the limit with 'ulimit -n'");
	default:
		return port_refuse(error, number,
				   "no packet socket can be opened on %s (%s): check 'ip link show %s'",
				   ps->name, strerror(number), ps->name);
	}
}

/* Untouched pages of it cost nothing. */
static uint8_t *map_frames(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

static int open_socket(struct packet_socket *ps, const struct packet_socket_config *config, int *group)
{
	int result;

	ps->receive = map_frames(RECEIVE_BYTES);
	ps->send = map_frames(SEND_BYTES);
	ps->headers = calloc(PORT_BURST, sizeof(*ps->headers));
	if (!ps->receive || !ps->send || !ps->headers)
		return -ENOMEM;
	/* Protocol 0: nothing comes in before the filter is there. */
	ps->fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (ps->fd < 0)
		return -errno;
	result = set_options(ps, config);
	if (result == 0)
		result = bind_to(ps);
	if (result == 0 && config->queues > 1)
		result = join_group(ps, group);
	if (result == 0 && ps->raw)
		result = see_everything(ps);
	return result;
}

void packet_socket_close(struct port *port)
{
	struct packet_socket *ps = (struct packet_socket *)port;

	if (ps->fd >= 0)
		close(ps->fd);
	if (ps->receive)
		munmap(ps->receive, RECEIVE_BYTES);
	if (ps->send)
		munmap(ps->send, SEND_BYTES);
	free(ps->headers);
	free(ps);
}

static void describe(struct packet_socket *ps, const struct afxdp_device *device, uint32_t number,
		     uint32_t count)
{
	struct port *port = &ps->port;
	uint64_t forwards = 0;

	port->ops = &packet_socket_ops;
	port->wait_fd = ps->fd;
	port->caps = (struct port_caps){
		.mtu = device->mtu,
		.tx_checksum = true,
		.rx_checksum = true,
		.tx_segmentation = true,
		.queues = (uint16_t)count,
	};
	port->caps.vlan = ps->vlan;
	memcpy(port->caps.address, device->address, sizeof(port->caps.address));
	if (!ps->raw && sys_text_read_u64(FORWARDS, &forwards) == 0 && forwards)
		port->advice = FORWARD_ADVICE;
	snprintf(port->text, sizeof(port->text), "packet socket on %s, %u of %u, %s", ps->name, number + 1,
		 count, ps->raw ? "every frame" : "frames for the address");
	for (uint32_t i = 0; i < PACKET_SOCKET_SENDS; i++)
		ps->send_free[ps->send_free_count++] = PACKET_SOCKET_SENDS - 1 - i;
}

int packet_socket_open(const struct packet_socket_config *config, struct port **ports, uint32_t max_ports,
		       char error[PORT_ERROR_BYTES])
{
	uint32_t count = MAX_OF(config->queues, 1), opened = 0;
	struct afxdp_device device;
	int group = -1, result = afxdp_device_query(config->interface, &device, error);

	if (result < 0)
		return result;
	if (count > MIN_OF(max_ports, QUEUES_MAX))
		return port_refuse(error, EINVAL, "%u sockets on %s are too many: ask for %u at most", count,
				   device.name, MIN_OF(max_ports, QUEUES_MAX));
	while (result == 0 && opened < count) {
		struct packet_socket *ps = calloc(1, sizeof(*ps));

		if (!ps) {
			result = port_refuse(error, ENOMEM,
					     "too little memory for a packet socket on %s: free some",
					     device.name);
			break;
		}
		ps->fd = -1;
		ps->index = (int)device.index;
		ps->raw = config->address == 0;
		ps->vlan = config->vlan;
		snprintf(ps->name, sizeof(ps->name), "%s", device.name);
		ports[opened] = &ps->port;
		result = open_socket(ps, config, &group);
		if (result < 0)
			refuse(ps, -result, error);
		describe(ps, &device, opened, count);
		opened++;
	}
	while (result < 0 && opened > 0) {
		port_close(ports[--opened]);
		ports[opened] = NULL;
	}
	return result < 0 ? result : (int)opened;
}
