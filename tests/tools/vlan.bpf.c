/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* vlan.bpf.c - puts a kernel into VLAN 5, as its own VLAN devices do, for kernels that have none.
 * In: what an interface sends and receives (tc, clsact). Out: the same with a tag, or without it.
 * As such a device does it leaves the tag beside the frame: what becomes of it there is the driver's
 * business. Frames that have a tag already keep it; what comes in without the right one is dropped. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define VLAN_ID      5
#define VLAN_ID_MASK 0x0fff

SEC("tc/egress")
int vlan_tag(struct __sk_buff *skb)
{
	if (!skb->vlan_present && skb->protocol != bpf_htons(ETH_P_8021Q))
		bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), VLAN_ID);
	return TC_ACT_OK;
}

SEC("tc/ingress")
int vlan_untag(struct __sk_buff *skb)
{
	if (!skb->vlan_present || (skb->vlan_tci & VLAN_ID_MASK) != VLAN_ID)
		return TC_ACT_SHOT;
	return bpf_skb_vlan_pop(skb) < 0 ? TC_ACT_SHOT : TC_ACT_OK;
}

char vlan_license[] SEC("license") = "Dual BSD/GPL";
