/* tap_open.c - attaches to a TAP device, or makes one and gives the kernel's end an address.
 * In: the configuration. Out: ports, or a sentence that says what to do. Owns: nothing; the
 * device that it makes lives as long as the descriptors of its ports. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <linux/route.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "port/tap_internal.h"
#include "wire/ipv4.h"

#define CLONE_DEVICE "/dev/net/tun"
#define QUEUES_MAX   256
#define MTU_MAX      9000u

/* What is known about the device while its queues are opened. */
struct opening {
	const struct tap_config *config;
	struct ifreq request; /* its name */
	int control;          /* a socket to ask the kernel by */
	bool created;
	uint32_t kernel_address;
	uint32_t mtu;
};

/* --- what is there ------------------------------------------------------------- */

static void name_request(struct ifreq *request, const char *name)
{
	memset(request, 0, sizeof(*request));
	snprintf(request->ifr_name, sizeof(request->ifr_name), "%s", name);
}

static bool is_tap(int control, const char *name)
{
	struct ethtool_drvinfo driver = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq request;

	name_request(&request, name);
	request.ifr_data = (void *)&driver;
	return ioctl(control, SIOCETHTOOL, &request) == 0 && strcmp(driver.driver, "tun") == 0 &&
	       strcmp(driver.bus_info, "tap") == 0;
}

bool tap_is_device(const char *interface)
{
	int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool tap = control >= 0 && is_tap(control, interface);

	if (control >= 0)
		close(control);
	return tap;
}

/* --- one queue ------------------------------------------------------------------- */

static int refuse_clone_device(int number, char error[PORT_ERROR_BYTES])
{
	if (number == EACCES || number == EPERM)
		return port_refuse(error, number,
				   CLONE_DEVICE " may not be opened by this user: 'chmod 666 " CLONE_DEVICE
						"' as root, which most systems have done");
	return port_refuse(error, number,
			   CLONE_DEVICE
			   " cannot be opened (%s): load the kernel's module with 'modprobe tun'",
			   strerror(number));
}

static int refuse_attach(const struct opening *opening, int number, char error[PORT_ERROR_BYTES])
{
	const char *name = opening->config->interface;

	switch (number) {
	case EBUSY:
		return port_refuse(error, number,
				   "%s is in use by another program: stop it, or name another device", name);
	case EPERM:
		return port_refuse(
			error, number,
			"this user may not make network devices: run it under 'unshare -rn', or as root "
			"'ip tuntap add dev %s mode tap user NAME'",
			name);
	case E2BIG:
		return port_refuse(error, number, "%s has no queue left: use fewer", name);
	case EINVAL:
		return port_refuse(
			error, number,
			"%s is no TAP device, or its queues do not fit: see 'ip -d link show %s'; with "
			"'multi_queue' it may have several",
			name, name);
	default:
		return port_refuse(error, number, "%s cannot be used as a TAP device (%s): name another one",
				   name, strerror(number));
	}
}

/* A device has one queue or may have several from its making on; who attaches must say which. */
static int attach(struct opening *opening, int fd, bool several)
{
	opening->request.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	if (several)
		opening->request.ifr_flags = (short)(opening->request.ifr_flags | IFF_MULTI_QUEUE);
	return ioctl(fd, TUNSETIFF, &opening->request) < 0 ? -errno : 0;
}

/* The descriptor of one more queue, or a negative errno. */
static int queue_open(struct opening *opening, char error[PORT_ERROR_BYTES])
{
	int fd = open(CLONE_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC), result;
	int vnet_bytes = TAP_VNET_BYTES;

	if (fd < 0)
		return refuse_clone_device(errno, error);
	result = attach(opening, fd, opening->config->queues > 1);
	if (result == -EINVAL && opening->config->queues <= 1)
		result = attach(opening, fd, true);
	if (result == 0 && ioctl(fd, TUNSETVNETHDRSZ, &vnet_bytes) < 0)
		result = -errno;
	if (result == 0 && ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO_ECN) < 0)
		result = -errno;
	if (result == 0)
		return fd;
	close(fd);
	return refuse_attach(opening, -result, error);
}

static int queue_add(struct opening *opening, struct port **port, char error[PORT_ERROR_BYTES])
{
	int fd = queue_open(opening, error);
	struct tap_port *tap;

	if (fd < 0)
		return fd;
	tap = tap_port_new(fd);
	if (!tap) {
		close(fd);
		return port_refuse(error, ENOMEM, "too little memory for the frames of %s: use fewer queues",
				   opening->config->interface);
	}
	*port = &tap->port;
	return 0;
}

/* --- the kernel's end --------------------------------------------------------------- */

static int set_address(const struct opening *opening, unsigned long what, uint32_t address)
{
	struct ifreq request;
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};

	name_request(&request, opening->config->interface);
	memcpy(&request.ifr_addr, &in, sizeof(in));
	return ioctl(opening->control, what, &request) < 0 ? -errno : 0;
}

/* The first host of our network that we are not. Of two addresses both are hosts (RFC 3021). */
static uint32_t other_host(uint32_t address, unsigned bits)
{
	uint32_t first = address & ~(UINT32_MAX >> bits);

	if (bits == 31)
		return address ^ 1;
	return address == first + 1 ? first + 2 : first + 1;
}

static int give_address(struct opening *opening, char error[PORT_ERROR_BYTES])
{
	const struct tap_config *config = opening->config;
	uint32_t address = config->kernel_address;
	int result;

	if (config->prefix_bits == 0 || config->prefix_bits > 31)
		return port_refuse(error, EINVAL,
				   "%s has no other host on it: give the address with its network, as in /24",
				   config->interface);
	if (address == 0)
		address = other_host(config->address, config->prefix_bits);
	result = set_address(opening, SIOCSIFADDR, address);
	if (result == 0)
		result = set_address(opening, SIOCSIFNETMASK, UINT32_MAX << (32 - config->prefix_bits));
	if (result < 0)
		return port_refuse(error, -result,
				   "the kernel's end of %s gets no address (%s): run it under 'unshare "
				   "-rn', or as root",
				   config->interface, strerror(-result));
	opening->kernel_address = address;
	return 0;
}

static void set_sockaddr(struct sockaddr *to, uint32_t address)
{
	const struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};

	memcpy(to, &in, sizeof(in));
}

/* By way of our address, so that the kernel keeps one neighbour for all of it. It goes with the device. */
static int give_route(struct opening *opening, char error[PORT_ERROR_BYTES])
{
	const struct tap_config *config = opening->config;
	struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
	char name[IFNAMSIZ], text[IPV4_TEXT_BYTES];

	if (config->network_bits == 0)
		return 0;
	snprintf(name, sizeof(name), "%s", config->interface);
	route.rt_dev = name;
	set_sockaddr(&route.rt_dst, config->network);
	set_sockaddr(&route.rt_genmask, UINT32_MAX << (32 - config->network_bits));
	set_sockaddr(&route.rt_gateway, config->address);
	if (ioctl(opening->control, SIOCADDRT, &route) == 0 || errno == EEXIST)
		return 0;
	return port_refuse(
		error, errno,
		"the kernel's end of %s gets no route to the source net (%s): see what 'ip route get "
		"%s' says, or take another net",
		config->interface, strerror(errno), ipv4_to_text(config->network, text));
}

static int bring_up(struct opening *opening, char error[PORT_ERROR_BYTES])
{
	const char *name = opening->config->interface;
	struct ifreq request;

	name_request(&request, name);
	if (ioctl(opening->control, SIOCGIFFLAGS, &request) == 0 && !(request.ifr_flags & IFF_UP)) {
		request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
		if (ioctl(opening->control, SIOCSIFFLAGS, &request) < 0)
			return port_refuse(error, errno,
					   "interface %s is down: bring it up with 'ip link set %s up'", name,
					   name);
	}
	name_request(&request, name);
	if (ioctl(opening->control, SIOCGIFMTU, &request) < 0)
		return port_refuse(error, ENODEV, "interface %s went away while it was opened: try again",
				   name);
	opening->mtu = MIN_OF((uint32_t)MAX_OF(request.ifr_mtu, 68), MTU_MAX);
	return 0;
}

/* --- all of it ------------------------------------------------------------------------ */

/* The kernel's end has the device's own link address; ours is locally administered, and the same each time.
 */
static void make_link_address(uint8_t mac[6], uint32_t address)
{
	mac[0] = 0x02;
	mac[1] = 0xc1;
	put32(mac + 2, address);
}

static void describe(const struct opening *opening, struct port *port, uint32_t queue)
{
	char text[IPV4_TEXT_BYTES];
	int used;

	port->caps = (struct port_caps){
		.mtu = opening->mtu,
		.tx_checksum = true,
		.rx_checksum = true,
		.tx_segmentation = true,
		.queues = MAX_OF(opening->config->queues, (uint16_t)1),
	};
	make_link_address(port->caps.address, opening->config->address);
	used = snprintf(port->text, sizeof(port->text), "tap %s queue %u, frames up to 64 KB",
			opening->config->interface, queue);
	if (opening->created)
		snprintf(port->text + used, sizeof(port->text) - (size_t)used,
			 ", made here: the kernel is %s", ipv4_to_text(opening->kernel_address, text));
}

static int open_queues(struct opening *opening, struct port **ports, char error[PORT_ERROR_BYTES])
{
	uint32_t queues = MAX_OF(opening->config->queues, (uint16_t)1), opened = 0;
	int result = 0;

	for (; result == 0 && opened < queues; opened += result == 0)
		result = queue_add(opening, &ports[opened], error);
	if (result == 0 && opening->created)
		result = give_address(opening, error);
	if (result == 0)
		result = bring_up(opening, error);
	if (result == 0 && opening->created)
		result = give_route(opening, error);
	for (uint32_t queue = 0; result == 0 && queue < opened; queue++)
		describe(opening, ports[queue], queue);
	while (result < 0 && opened > 0) {
		port_close(ports[--opened]);
		ports[opened] = NULL;
	}
	return result < 0 ? result : (int)opened;
}

int tap_open(const struct tap_config *config, struct port **ports, uint32_t max_ports,
	     char error[PORT_ERROR_BYTES])
{
	struct opening opening = {.config = config};
	int result;

	if (!config->interface || !config->interface[0] || strlen(config->interface) >= IFNAMSIZ)
		return port_refuse(error, EINVAL,
				   "no TAP device is named: name one, in at most %d characters",
				   IFNAMSIZ - 1);
	if (config->queues > MIN_OF(max_ports, (uint32_t)QUEUES_MAX))
		return port_refuse(error, ENOSPC, "%u queues of %s are too many: there is room for %u",
				   config->queues, config->interface,
				   MIN_OF(max_ports, (uint32_t)QUEUES_MAX));
	if (config->must_exist && if_nametoindex(config->interface) == 0)
		return port_refuse(
			error, ENODEV,
			"there is no device %s, and for a VLAN none is made: 'ip tuntap add %s mode tap', "
			"and give "
			"the kernel's end its VLAN by 'ip link add link %s ... type vlan id N'",
			config->interface, config->interface, config->interface);
	opening.control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (opening.control < 0)
		return port_refuse(error, errno, "no socket to ask the kernel about %s: %s",
				   config->interface, strerror(errno));
	opening.created = if_nametoindex(config->interface) == 0;
	name_request(&opening.request, config->interface);
	result = open_queues(&opening, ports, error);
	close(opening.control);
	return result;
}
