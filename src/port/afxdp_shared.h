/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* afxdp_shared.h - what the XDP program and the process that loads it agree on. */
#ifndef C10M_PORT_AFXDP_SHARED_H
#define C10M_PORT_AFXDP_SHARED_H

#include <linux/types.h>

#define AFXDP_ADDRESSES 8    /* IPv4 addresses one program can claim */
#define AFXDP_QUEUES    128  /* receive queues one interface can give us */
#define AFXDP_DATAGRAMS 1024 /* datagrams in fragments that are followed at once */

/* ICMP errors (RFC 792); the kernel's header of these cannot be had for BPF everywhere. */
#define AFXDP_ICMP_UNREACHABLE   3
#define AFXDP_ICMP_TIME_EXCEEDED 11
#define AFXDP_ICMP_PARAMETER     12

/* What each SYN leaves behind while they are policed: 20 bits of hash, 12 of time. So many sets hold what
 * comes in two seconds at two million a second; they are 16 MB of the kernel's memory. */
#define AFXDP_STAMP_SETS (1u << 19)
#define AFXDP_STAMP_WAYS 8

struct afxdp_stamp_set {
	__u32 stamps[AFXDP_STAMP_WAYS];
};

/* Each kind has its rate. */
enum afxdp_syn_kind {
	AFXDP_SYN_FIRST, /* not seen before, or forgotten */
	AFXDP_SYN_AGAIN, /* the same was seen a while ago: somebody means it */
	AFXDP_SYN_KINDS,
};

/* Slots of the per-processor counters. */
enum afxdp_verdict {
	AFXDP_REDIRECTED,  /* handed to a socket of ours */
	AFXDP_PASSED,      /* not ours: the kernel's */
	AFXDP_NO_SOCKET,   /* ours, but its queue has no socket: the kernel's, or nobody's when by port */
	AFXDP_SYN_LUCKY,   /* policed: a first SYN that passed */
	AFXDP_SYN_KNOWN,   /* policed: one sent again that passed */
	AFXDP_SYN_DROPPED, /* policed: dropped */
	AFXDP_VERDICTS,
};

#endif
