/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* afxdp.bpf.c - the XDP program: which frames are ours, which the kernel's.
 * In: every frame that the interface receives.
 * Out: what is ours goes to the AF_XDP socket of the frame's queue; all else, VLAN-tagged
 * frames included, goes on into the kernel. With addresses of our own, IPv4 to these and ARP about
 * them is ours. On addresses that are the kernel's too (`by_port`) it is TCP to a claimed
 * port, the later fragments of such datagrams, and ICMP errors that quote what we sent.
 * Owns: the claimed addresses and ports, the map of sockets, the counters, the fragmented datagrams. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "port/afxdp_shared.h"

#define ARP_HARDWARE_ETHERNET 1
#define IP_MORE_FRAGMENTS     0x2000
#define IP_OFFSET_MASK        0x1fff
#define FRAGMENTS_LIVE_NS     30000000000ull /* a datagram is whole by then or never (RFC 791) */
#define ICMP_ERROR_BYTES      8              /* before the packet that an error quotes */

/* ARP for IPv4 over Ethernet (RFC 826). */
struct arp_ipv4 {
	__be16 hardware, protocol;
	__u8 hardware_bytes, protocol_bytes;
	__be16 operation;
	__u8 sender_link[ETH_ALEN];
	__u8 sender_protocol[4];
	__u8 target_link[ETH_ALEN];
	__be32 target_protocol;
} __attribute__((packed));

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, AFXDP_QUEUES);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, AFXDP_VERDICTS);
	__type(key, __u32);
	__type(value, __u64);
} verdicts SEC(".maps");

/* Datagrams whose first fragment was ours, and when. */
struct datagram {
	__be32 source, destination;
	__be16 id;
	__u16 protocol;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, AFXDP_DATAGRAMS);
	__type(key, struct datagram);
	__type(value, __u64);
} fragmented SEC(".maps");

/* In network order; 0 is an unused place, and never a destination of ours. */
__u32 claimed[AFXDP_ADDRESSES] = {0};

/* And a whole net, known by its ends, in host order. */
__u32 net_first = 0, net_count = 0;

/* Only these TCP ports are ours, and a bit for each of them. */
__u32 by_port = 0;
__u64 claimed_ports[65536 / 64] = {0};

static __always_inline int is_claimed(__u32 address)
{
	int found = 0;

#pragma unroll
	for (int i = 0; i < AFXDP_ADDRESSES; i++)
		found |= claimed[i] == address;
	found |= bpf_ntohl(address) - net_first < net_count;
	return address != 0 && found;
}

static __always_inline void count_verdict(__u32 verdict)
{
	__u64 *count = bpf_map_lookup_elem(&verdicts, &verdict);

	if (count)
		*count += 1; /* a slot a processor, and no preemption in here: no atomic needed */
}

static __always_inline int is_claimed_port(__be16 number)
{
	__u32 port = bpf_ntohs(number);

	return claimed_ports[port / 64 & 1023] >> port % 64 & 1;
}

/* What stands behind an IPv4 header of any length; `bytes` of it are there. */
static __always_inline void *behind(struct iphdr *ip, __u32 bytes, void *end)
{
	void *at = (void *)ip + ip->ihl * 4;

	return ip->ihl < 5 || at + bytes > end ? 0 : at;
}

static __always_inline int is_our_tcp(struct iphdr *ip, void *end)
{
	__be16 *ports = behind(ip, 4, end);

	return ports && is_claimed_port(ports[1]);
}

/* An error is ours when we sent what it quotes. */
static __always_inline int is_our_icmp(struct iphdr *ip, void *end)
{
	__u8 *icmp = behind(ip, ICMP_ERROR_BYTES, end);
	struct iphdr *quoted;
	__be16 *ports;

	if (!icmp || (icmp[0] != AFXDP_ICMP_UNREACHABLE && icmp[0] != AFXDP_ICMP_TIME_EXCEEDED &&
		      icmp[0] != AFXDP_ICMP_PARAMETER))
		return 0;
	quoted = (void *)(icmp + ICMP_ERROR_BYTES);
	if ((void *)(quoted + 1) > end || quoted->protocol != IPPROTO_TCP || !is_claimed(quoted->saddr))
		return 0;
	ports = behind(quoted, 4, end);
	return ports && is_claimed_port(ports[0]);
}

/* Ports stand in the first fragment only. One that is not ours ends what an earlier one with the same
 * number meant. */
static __always_inline int is_our_fragment(struct iphdr *ip, void *end)
{
	struct datagram datagram = {ip->saddr, ip->daddr, ip->id, ip->protocol};
	__u64 now_ns = bpf_ktime_get_ns(), *seen_ns;

	if (ip->frag_off & bpf_htons(IP_OFFSET_MASK)) {
		seen_ns = bpf_map_lookup_elem(&fragmented, &datagram);
		return seen_ns && now_ns - *seen_ns < FRAGMENTS_LIVE_NS;
	}
	if (!is_our_tcp(ip, end)) {
		bpf_map_delete_elem(&fragmented, &datagram);
		return 0;
	}
	bpf_map_update_elem(&fragmented, &datagram, &now_ns, BPF_ANY);
	return 1;
}

static __always_inline int is_our_ip(struct iphdr *ip, void *end)
{
	int fragment = ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_OFFSET_MASK);

	if (!is_claimed(ip->daddr))
		return 0;
	if (!by_port)
		return 1;
	if (ip->protocol == IPPROTO_TCP)
		return fragment ? is_our_fragment(ip, end) : is_our_tcp(ip, end);
	return ip->protocol == IPPROTO_ICMP && !fragment && is_our_icmp(ip, end);
}

static __always_inline int is_ours(void *data, void *end)
{
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct arp_ipv4 *arp = (void *)(eth + 1);

	if ((void *)(eth + 1) > end)
		return 0;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return (void *)(ip + 1) <= end && is_our_ip(ip, end);
	if (by_port || eth->h_proto != bpf_htons(ETH_P_ARP) || (void *)(arp + 1) > end)
		return 0;
	if (arp->hardware != bpf_htons(ARP_HARDWARE_ETHERNET) || arp->protocol != bpf_htons(ETH_P_IP) ||
	    arp->hardware_bytes != ETH_ALEN || arp->protocol_bytes != 4)
		return 0;
	return is_claimed(arp->target_protocol);
}

SEC("xdp")
int afxdp_steer(struct xdp_md *context)
{
	void *data = (void *)(long)context->data;
	void *end = (void *)(long)context->data_end;
	int action;

	if (!is_ours(data, end)) {
		count_verdict(AFXDP_PASSED);
		return XDP_PASS;
	}
	/* The last argument is the verdict when the queue has no socket. The kernel would answer for a port
	 * that it shares with us, with a reset. */
	action = bpf_redirect_map(&sockets, context->rx_queue_index, by_port ? XDP_DROP : XDP_PASS);
	count_verdict(action == XDP_REDIRECT ? AFXDP_REDIRECTED : AFXDP_NO_SOCKET);
	return action;
}

char afxdp_license[] SEC("license") = "Dual BSD/GPL";
