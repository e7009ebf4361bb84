/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* afxdp.bpf.c - the XDP program: which frames are ours, which the kernel's.
 * In: every frame that the interface receives.
 * Out: what is ours goes to the AF_XDP socket of the frame's queue; all else goes on into the kernel: other
 * VLANs' frames too, or all that have a tag. A tag of ours is taken off. With addresses of our own, IPv4 to
 * these and ARP about them is ours. On addresses that are the kernel's too (`by_port`) it is TCP to a claimed
 * port, the later fragments of such datagrams, and ICMP errors that quote what we sent.
 * While SYNs are policed, those that may not pass are dropped here, before they cost anything.
 * Owns: the claimed addresses and ports, the map of sockets, the counters, the fragmented datagrams. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "port/afxdp_shared.h"

#define ARP_HARDWARE_ETHERNET 1
#define VLAN_ID_MASK          0x0fff
#define IP_MORE_FRAGMENTS     0x2000
#define IP_OFFSET_MASK        0x1fff
#define FRAGMENTS_LIVE_NS     60000000000ull /* as long as net/reassembly.h waits */
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

/* What stands behind the addresses of a frame that has a tag (IEEE 802.1Q). */
struct vlan_tag {
	__be16 type; /* ETH_P_8021Q */
	__be16 control;
};

#define STAMP_TIME_SHIFT 24    /* a step of stamps is 16.8 ms ... */
#define STAMP_TIME_MASK  4095u /* ... and they know 69 s */
#define STAMP_TAG_SHIFT  12
#define STAMP_AGAIN_MIN  24u         /* 0.4 s: nobody waits less (RFC 6298 section 2) */
#define STAMP_AGAIN_MAX  1200u       /* 20 s */
#define BUCKET_NS        10000000ull /* a bucket holds what so much time brings */

#define TCP_HEADER_BYTES 20
#define TCP_AT_FLAGS     13
#define TCP_FLAG_SYN     0x02
#define TCP_FLAGS_LOOKED 0x17 /* ACK, RST, SYN, FIN */

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

/* Frames of this VLAN alone; 0: those without a tag. Known before the program is loaded: who has none pays
 * nothing. */
const volatile __u16 vlan_id = 0;

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

static __always_inline int is_our_vlan(void *data, void *end)
{
	struct vlan_tag *tag = data + 2 * ETH_ALEN;

	if (!vlan_id)
		return 1;
	return (void *)(tag + 1) <= end && tag->type == bpf_htons(ETH_P_8021Q) &&
	       (bpf_ntohs(tag->control) & VLAN_ID_MASK) == vlan_id;
}

/* Bytes before the type of what a frame of ours carries. */
static __always_inline __u32 type_at(void)
{
	return 2 * ETH_ALEN + (vlan_id ? sizeof(struct vlan_tag) : 0);
}

static __always_inline int is_ours(void *data, void *end)
{
	__be16 *type = data + type_at();
	struct iphdr *ip = (void *)(type + 1);
	struct arp_ipv4 *arp = (void *)(type + 1);

	if ((void *)(type + 1) > end || !is_our_vlan(data, end))
		return 0;
	if (*type == bpf_htons(ETH_P_IP))
		return (void *)(ip + 1) <= end && is_our_ip(ip, end);
	if (by_port || *type != bpf_htons(ETH_P_ARP) || (void *)(arp + 1) > end)
		return 0;
	if (arp->hardware != bpf_htons(ARP_HARDWARE_ETHERNET) || arp->protocol != bpf_htons(ETH_P_IP) ||
	    arp->hardware_bytes != ETH_ALEN || arp->protocol_bytes != 4)
		return 0;
	return is_claimed(arp->target_protocol);
}

/* Takes the tag out of a frame of ours: what is behind it never sees one. The pointers into it are stale
 * afterwards. */
static __always_inline int untag(struct xdp_md *context)
{
	struct ethhdr *from = (void *)(long)context->data, *to;
	struct ethhdr addresses;

	if ((void *)(from + 1) > (void *)(long)context->data_end)
		return -1;
	addresses = *from;
	if (bpf_xdp_adjust_head(context, sizeof(struct vlan_tag)) < 0)
		return -1;
	to = (void *)(long)context->data;
	if ((void *)(to + 1) > (void *)(long)context->data_end)
		return -1;
	__builtin_memcpy(to->h_dest, addresses.h_dest, ETH_ALEN);
	__builtin_memcpy(to->h_source, addresses.h_source, ETH_ALEN);
	return 0;
}

/* --- while a flood of SYNs is on -----------------------------------------------------
 *
 * A client that means it sends its SYN again, with the same numbers, after a second or so; who forges
 * addresses does not. So each SYN leaves a stamp: a keyed hash of its addresses, ports and sequence number,
 * and the time. One that finds its stamp is sent again, and has a token bucket for its like; all others share
 * a smaller one. Stamps stand in sets of eight, where the oldest gives way. Two processors that write to one
 * set at the same time may lose a stamp: that client waits for its next try. */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, AFXDP_STAMP_SETS);
	__type(key, __u32);
	__type(value, struct afxdp_stamp_set);
} stamps SEC(".maps");

struct bucket {
	__u64 seen_ns, credit_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, AFXDP_SYN_KINDS);
	__type(key, __u32);
	__type(value, struct bucket);
} buckets SEC(".maps");

/* What a SYN of each kind takes from its bucket; 0: nothing is policed. */
__u64 syn_cost_ns[AFXDP_SYN_KINDS] = {0};
__u64 syn_key[2] = {0};

#define ROTL(x, bits) ((x) << (bits) | (x) >> (64 - (bits)))

static __always_inline void sip_round(__u64 v[4])
{
	v[0] += v[1];
	v[1] = ROTL(v[1], 13) ^ v[0];
	v[0] = ROTL(v[0], 32);
	v[2] += v[3];
	v[3] = ROTL(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = ROTL(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = ROTL(v[1], 17) ^ v[2];
	v[2] = ROTL(v[2], 32);
}

/* SipHash-1-3 of two words; both ends know their length. */
static __always_inline __u64 sip(__u64 a, __u64 b)
{
	__u64 v[4] = {syn_key[0] ^ 0x736f6d6570736575ULL, syn_key[1] ^ 0x646f72616e646f6dULL,
		      syn_key[0] ^ 0x6c7967656e657261ULL, syn_key[1] ^ 0x7465646279746573ULL};

	v[3] ^= a;
	sip_round(v);
	v[0] ^= a;
	v[3] ^= b;
	sip_round(v);
	v[0] ^= b;
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static __always_inline int bucket_take(__u32 kind, __u64 now_ns)
{
	struct bucket *bucket = bpf_map_lookup_elem(&buckets, &kind);
	__u64 cost_ns = syn_cost_ns[kind & (AFXDP_SYN_KINDS - 1)], credit_ns;

	if (!bucket)
		return 1;
	credit_ns = bucket->credit_ns + (now_ns - bucket->seen_ns);
	if (credit_ns > BUCKET_NS)
		credit_ns = BUCKET_NS;
	bucket->seen_ns = now_ns;
	bucket->credit_ns = credit_ns < cost_ns ? credit_ns : credit_ns - cost_ns;
	return credit_ns >= cost_ns;
}

static __always_inline int syn_passes(__u32 kind, __u64 now_ns)
{
	int passes = bucket_take(kind, now_ns);

	count_verdict(!passes                   ? AFXDP_SYN_DROPPED
		      : kind == AFXDP_SYN_AGAIN ? AFXDP_SYN_KNOWN
						: AFXDP_SYN_LUCKY);
	return passes;
}

/* hash: of all that a SYN sent again has in common with the first. */
static __always_inline int syn_may_pass(__u64 hash)
{
	__u32 key = (__u32)hash & (AFXDP_STAMP_SETS - 1), tag = (__u32)(hash >> 44), place = 0, oldest = 0;
	struct afxdp_stamp_set *set = bpf_map_lookup_elem(&stamps, &key);
	__u64 now_ns = bpf_ktime_get_ns();
	__u32 step = (__u32)(now_ns >> STAMP_TIME_SHIFT) & STAMP_TIME_MASK, stamp;

	if (!set)
		return 1;
	stamp = tag << STAMP_TAG_SHIFT | step;
#pragma unroll
	for (__u32 i = 0; i < AFXDP_STAMP_WAYS; i++) {
		__u32 age = (step - set->stamps[i]) & STAMP_TIME_MASK;

		if (set->stamps[i] >> STAMP_TAG_SHIFT == tag && age <= STAMP_AGAIN_MAX) {
			if (age < STAMP_AGAIN_MIN)
				return syn_passes(AFXDP_SYN_FIRST, now_ns);
			if (!syn_passes(AFXDP_SYN_AGAIN, now_ns))
				return 0;
			set->stamps[i] = stamp; /* and not again for a while */
			return 1;
		}
		if (age >= oldest) {
			oldest = age;
			place = i;
		}
	}
	set->stamps[place & (AFXDP_STAMP_WAYS - 1)] = stamp;
	return syn_passes(AFXDP_SYN_FIRST, now_ns);
}

/* Whether to drop a frame that is ours. All that is not a bare SYN goes on: segments of connections, and the
 * acknowledgements that complete a handshake. */
static __always_inline int is_unwelcome(void *data, void *end)
{
	__be16 *type = data + type_at();
	struct iphdr *ip = (void *)(type + 1);
	__u8 *tcp;

	if (!syn_cost_ns[AFXDP_SYN_FIRST] || (void *)(ip + 1) > end || *type != bpf_htons(ETH_P_IP) ||
	    ip->protocol != IPPROTO_TCP || ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_OFFSET_MASK))
		return 0;
	tcp = behind(ip, TCP_HEADER_BYTES, end);
	if (!tcp || (tcp[TCP_AT_FLAGS] & TCP_FLAGS_LOOKED) != TCP_FLAG_SYN)
		return 0;
	return !syn_may_pass(
		sip((__u64)ip->saddr << 32 | ip->daddr, (__u64)((__u32 *)tcp)[0] << 32 | ((__u32 *)tcp)[1]));
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
	if (is_unwelcome(data, end))
		return XDP_DROP;
	if (vlan_id && untag(context) < 0)
		return XDP_DROP;
	/* The last argument is the verdict when the queue has no socket. The kernel would answer for a port
	 * that it shares with us, with a reset. */
	action = bpf_redirect_map(&sockets, context->rx_queue_index, by_port ? XDP_DROP : XDP_PASS);
	count_verdict(action == XDP_REDIRECT ? AFXDP_REDIRECTED : AFXDP_NO_SOCKET);
	return action;
}

char afxdp_license[] SEC("license") = "Dual BSD/GPL";
