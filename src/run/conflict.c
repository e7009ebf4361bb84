/* conflict.c - looks for others that use our address: the kernel, and hosts on the link.
 * In: an interface and an address. Out: 0, or a sentence. Owns: a packet socket while it asks.
 *
 * It asks through a packet socket, before the port takes frames: the answers to a probe
 * are addressed to nobody's IP, so the port's XDP program would leave them to the kernel. */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "run/conflict.h"
#include "sys/clock.h"
#include "wire/arp.h"
#include "wire/bytes.h"
#include "wire/ipv4.h"

#define PROBES          3
#define PROBE_WAIT_NS   65000000 /* after each */
#define ARP_FRAME_BYTES (ETH_HEADER_BYTES + ARP_BYTES)
#define TAG_AT          12 /* behind the addresses (IEEE 802.1Q) */
#define TAG_BYTES       4
#define VLAN_ID_MASK    0x0fff

/* --- the kernel's addresses ---------------------------------------------------- */

static bool is_ipv4(const struct ifaddrs *entry)
{
	return entry->ifa_addr && entry->ifa_addr->sa_family == AF_INET;
}

static uint32_t ipv4_of(const struct sockaddr *address)
{
	struct sockaddr_in in;

	memcpy(&in, address, sizeof(in));
	return ntohl(in.sin_addr.s_addr);
}

int conflict_check_kernel(uint32_t address, char error[CONFLICT_ERROR_BYTES])
{
	struct ifaddrs *list, *entry;
	char text[IPV4_TEXT_BYTES];

	if (getifaddrs(&list) < 0)
		return 0; /* nothing known against it */
	for (entry = list; entry; entry = entry->ifa_next)
		if (is_ipv4(entry) && ipv4_of(entry->ifa_addr) == address)
			break;
	if (entry)
		snprintf(error, CONFLICT_ERROR_BYTES,
			 "address %s is in use by the kernel on %s: pick another one, serve beside the "
			 "kernel with --shared, or remove it with 'ip address del %s dev %s'",
			 ipv4_to_text(address, text), entry->ifa_name, text, entry->ifa_name);
	freeifaddrs(list);
	return entry ? -EADDRINUSE : 0;
}

int conflict_check_net(uint32_t network, unsigned bits, char error[CONFLICT_ERROR_BYTES])
{
	struct ifaddrs *list, *entry;
	char text[IPV4_TEXT_BYTES], own[IPV4_TEXT_BYTES];

	if (bits == 0 || getifaddrs(&list) < 0)
		return 0;
	for (entry = list; entry; entry = entry->ifa_next)
		if (is_ipv4(entry) && ((ipv4_of(entry->ifa_addr) ^ network) >> (32 - bits)) == 0)
			break;
	if (entry)
		snprintf(error, CONFLICT_ERROR_BYTES,
			 "--source-net %s/%u holds %s, which the kernel has on %s: take another net",
			 ipv4_to_text(network, text), bits, ipv4_to_text(ipv4_of(entry->ifa_addr), own),
			 entry->ifa_name);
	freeifaddrs(list);
	return entry ? -EADDRINUSE : 0;
}

unsigned conflict_network_bits(const char *interface, uint32_t address)
{
	struct ifaddrs *list, *entry;
	unsigned bits = 0;

	if (getifaddrs(&list) < 0)
		return 0;
	for (entry = list; entry; entry = entry->ifa_next) {
		uint32_t mask;

		if (!is_ipv4(entry) || !entry->ifa_netmask || strcmp(entry->ifa_name, interface) != 0)
			continue;
		mask = ipv4_of(entry->ifa_netmask);
		if (((ipv4_of(entry->ifa_addr) ^ address) & mask) == 0)
			bits = MAX_OF(bits, (unsigned)__builtin_popcount(mask));
	}
	freeifaddrs(list);
	return bits;
}

/* --- the link's hosts ------------------------------------------------------------ */

struct prober {
	int fd;
	struct sockaddr_ll to;
	struct eth_address mac;
	uint32_t address;
	uint16_t vlan;
};

/* ARP of our VLAN alone; the kernel has taken its tag out. */
static bool prober_filter(const struct prober *prober)
{
	struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 5, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG)),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, VLAN_ID_MASK),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, prober->vlan, 0, 2),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, TAG_AT),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_TYPE_ARP, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	const struct sock_fprog filter = {.len = ARRAY_COUNT(program), .filter = program};

	return !prober->vlan ||
	       setsockopt(prober->fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) == 0;
}

static bool prober_open(struct prober *prober, const char *interface)
{
	struct ifreq request = {0};
	struct sockaddr_ll *to = &prober->to;

	/* Nothing comes in before the filter is there. */
	prober->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (prober->fd < 0)
		return false;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	*to = (struct sockaddr_ll){
		.sll_family = AF_PACKET,
		/* The kernel takes frames of a VLAN that it is in itself away from the interface. */
		.sll_protocol = htons(prober->vlan ? ETH_P_ALL : ETH_TYPE_ARP),
		.sll_ifindex = (int)if_nametoindex(interface),
	};
	if (to->sll_ifindex != 0 && ioctl(prober->fd, SIOCGIFHWADDR, &request) == 0 &&
	    prober_filter(prober) && bind(prober->fd, (struct sockaddr *)to, sizeof(*to)) == 0) {
		memcpy(prober->mac.octets, request.ifr_hwaddr.sa_data, sizeof(prober->mac.octets));
		return true;
	}
	close(prober->fd);
	return false;
}

/* The sender's IP address is zero, so that no host learns a wrong neighbour from it. */
static void prober_ask(const struct prober *prober)
{
	uint8_t frame[ARP_FRAME_BYTES + TAG_BYTES];
	size_t bytes = ARP_FRAME_BYTES;
	const struct eth_header header = {eth_broadcast, prober->mac, ETH_TYPE_ARP};
	const struct arp_packet arp = {
		.operation = ARP_REQUEST, .sender = prober->mac, .target_ip = prober->address};

	eth_emit(frame, &header);
	arp_emit(frame + ETH_HEADER_BYTES, &arp);
	if (prober->vlan) {
		memmove(frame + TAG_AT + TAG_BYTES, frame + TAG_AT, bytes - TAG_AT);
		put16(frame + TAG_AT, ETH_P_8021Q);
		put16(frame + TAG_AT + 2, prober->vlan);
		bytes += TAG_BYTES;
	}
	/* Refused (the interface is down): nobody will answer, and the port will say it. */
	if (sendto(prober->fd, frame, bytes, 0, (const struct sockaddr *)&prober->to, sizeof(prober->to)) < 0)
		return;
}

/* Whether this frame says that somebody else has the address, or is about to take it. */
static bool prober_conflicts(const struct prober *prober, const uint8_t *frame, size_t bytes,
			     struct arp_packet *arp)
{
	struct eth_header header;

	if (eth_parse(frame, bytes, &header) != DROP_NONE || header.type != ETH_TYPE_ARP ||
	    arp_parse(frame + ETH_HEADER_BYTES, bytes - ETH_HEADER_BYTES, arp) != DROP_NONE)
		return false;
	if (eth_equal(&arp->sender, &prober->mac))
		return false;
	return arp->sender_ip == prober->address ||
	       (arp->operation == ARP_REQUEST && arp->sender_ip == 0 && arp->target_ip == prober->address);
}

/* True when a conflict was heard before the time was over. */
static bool prober_listen(const struct prober *prober, uint64_t end_ns, struct arp_packet *arp)
{
	uint8_t frame[128];
	uint64_t now_ns;

	while ((now_ns = sys_now_ns()) < end_ns) {
		struct pollfd wait = {.fd = prober->fd, .events = POLLIN};
		ssize_t bytes;

		poll(&wait, 1, (int)((end_ns - now_ns) / 1000000) + 1);
		bytes = recv(prober->fd, frame, sizeof(frame), 0);
		if (bytes > 0 && prober_conflicts(prober, frame, (size_t)bytes, arp))
			return true;
		if (bytes < 0 && errno != EAGAIN && errno != EINTR)
			return false;
	}
	return false;
}

int conflict_probe(const char *interface, uint16_t vlan, uint32_t address, char error[CONFLICT_ERROR_BYTES])
{
	struct prober prober = {.address = address, .vlan = vlan};
	struct arp_packet arp;
	char text[IPV4_TEXT_BYTES];
	bool heard = false;

	if (!prober_open(&prober, interface))
		return 0;
	for (int i = 0; i < PROBES && !heard; i++) {
		prober_ask(&prober);
		heard = prober_listen(&prober, sys_now_ns() + PROBE_WAIT_NS, &arp);
	}
	close(prober.fd);
	if (!heard)
		return 0;
	snprintf(error, CONFLICT_ERROR_BYTES,
		 "address %s is in use by %02x:%02x:%02x:%02x:%02x:%02x on the network of %.16s: pick "
		 "another one",
		 ipv4_to_text(address, text), arp.sender.octets[0], arp.sender.octets[1],
		 arp.sender.octets[2], arp.sender.octets[3], arp.sender.octets[4], arp.sender.octets[5],
		 interface);
	return -EADDRINUSE;
}
