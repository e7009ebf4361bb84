/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* afxdp.bpf.c - the XDP program: which frames are ours, which the kernel's.
 * In: every frame that the interface receives.
 * Out: IPv4 to a claimed address and ARP about one go to the AF_XDP socket of the
 * frame's queue; all else, VLAN-tagged frames included, goes on into the kernel.
 * Owns: the list of claimed addresses, the map of sockets, the counters. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "port/afxdp_shared.h"

#define ARP_HARDWARE_ETHERNET 1

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

/* In network order; 0 is an unused place, and never a destination of ours. */
__u32 claimed[AFXDP_ADDRESSES] = {0};

static __always_inline int is_claimed(__u32 address)
{
	int found = 0;

#pragma unroll
	for (int i = 0; i < AFXDP_ADDRESSES; i++)
		found |= claimed[i] == address;
	return address != 0 && found;
}

static __always_inline void count_verdict(__u32 verdict)
{
	__u64 *count = bpf_map_lookup_elem(&verdicts, &verdict);

	if (count)
		*count += 1; /* a slot a processor, and no preemption in here: no atomic needed */
}

static __always_inline int is_ours(void *data, void *end)
{
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct arp_ipv4 *arp = (void *)(eth + 1);

	if ((void *)(eth + 1) > end)
		return 0;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		if ((void *)(ip + 1) > end)
			return 0;
		return is_claimed(ip->daddr);
	}
	if (eth->h_proto != bpf_htons(ETH_P_ARP) || (void *)(arp + 1) > end)
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
	/* The last argument is the verdict when the queue has no socket. */
	action = bpf_redirect_map(&sockets, context->rx_queue_index, XDP_PASS);
	count_verdict(action == XDP_REDIRECT ? AFXDP_REDIRECTED : AFXDP_NO_SOCKET);
	return action;
}

char afxdp_license[] SEC("license") = "Dual BSD/GPL";
