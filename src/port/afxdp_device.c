/* afxdp_device.c - what the kernel says about an interface.
 * In: its name. Out: index, link address, MTU, driver, queues; or a sentence.
 * Owns: nothing. Reads only; works in the network namespace of the calling thread. */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "port/afxdp_internal.h"

/* One SIOC request by interface name. 0 or a negative errno. */
static int device_ask(int fd, const char *name, unsigned long request, struct ifreq *answer)
{
	memset(answer, 0, sizeof(*answer));
	snprintf(answer->ifr_name, sizeof(answer->ifr_name), "%s", name);
	return ioctl(fd, request, answer) < 0 ? -errno : 0;
}

static int device_ask_ethtool(int fd, const char *name, void *command)
{
	struct ifreq request = {.ifr_data = command};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	return ioctl(fd, SIOCETHTOOL, &request) < 0 ? -errno : 0;
}

/* A queue serves us when it both receives and sends. A driver that does not tell has one. */
static uint16_t device_queues(int fd, const char *name)
{
	struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
	uint32_t queues;

	if (device_ask_ethtool(fd, name, &channels) < 0)
		return 1;
	queues = channels.combined_count + MIN_OF(channels.rx_count, channels.tx_count);
	return (uint16_t)MAX_OF(1, MIN_OF(queues, UINT16_MAX));
}

static bool device_takes_tags(int fd, const char *name)
{
	struct ethtool_value flags = {.cmd = ETHTOOL_GFLAGS};

	return device_ask_ethtool(fd, name, &flags) == 0 && (flags.data & ETH_FLAG_RXVLAN);
}

static int device_read(int fd, struct afxdp_device *device, char error[PORT_ERROR_BYTES])
{
	struct ethtool_drvinfo driver = {.cmd = ETHTOOL_GDRVINFO};
	const char *name = device->name;
	struct ifreq answer;

	if (device_ask(fd, name, SIOCGIFFLAGS, &answer) < 0)
		return port_refuse(error, ENODEV,
				   "interface %s does not exist: 'ip link' lists those that do", name);
	if (!(answer.ifr_flags & IFF_UP))
		return port_refuse(error, ENETDOWN,
				   "interface %s is down: bring it up with 'ip link set %s up'", name, name);
	if (device_ask(fd, name, SIOCGIFHWADDR, &answer) < 0 || answer.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		return port_refuse(error, EOPNOTSUPP, "interface %s is not Ethernet: choose one that is",
				   name);
	memcpy(device->address, answer.ifr_hwaddr.sa_data, sizeof(device->address));
	if (device_ask(fd, name, SIOCGIFMTU, &answer) < 0)
		return port_refuse(error, ENODEV, "interface %s went away while it was opened: try again",
				   name);
	device->mtu = (uint32_t)MAX_OF(answer.ifr_mtu, 68); /* RFC 791: the least that IPv4 works with */
	if (device_ask_ethtool(fd, name, &driver) == 0)
		snprintf(device->driver, sizeof(device->driver), "%s", driver.driver);
	device->queues = device_queues(fd, name);
	device->takes_tags = device_takes_tags(fd, name);
	return 0;
}

int afxdp_device_query(const char *interface, struct afxdp_device *device, char error[PORT_ERROR_BYTES])
{
	int fd, result;

	memset(device, 0, sizeof(*device));
	if (!interface || !interface[0])
		return port_refuse(error, EINVAL,
				   "no interface is named: name one of those that 'ip link' lists");
	device->index = strlen(interface) < sizeof(device->name) ? if_nametoindex(interface) : 0;
	if (device->index == 0)
		return port_refuse(error, ENODEV,
				   "interface %.64s does not exist: 'ip link' lists those that do",
				   interface);
	snprintf(device->name, sizeof(device->name), "%s", interface);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return port_refuse(error, errno, "no socket to ask the kernel about %s: %s", interface,
				   strerror(errno));
	result = device_read(fd, device, error);
	close(fd);
	return result;
}
