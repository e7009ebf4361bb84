/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* afxdp_shared.h - what the XDP program and the process that loads it agree on. */
#ifndef C10M_PORT_AFXDP_SHARED_H
#define C10M_PORT_AFXDP_SHARED_H

#define AFXDP_ADDRESSES 8    /* IPv4 addresses one program can claim */
#define AFXDP_QUEUES    128  /* receive queues one interface can give us */
#define AFXDP_DATAGRAMS 1024 /* datagrams in fragments that are followed at once */

/* ICMP errors (RFC 792); the kernel's header of these cannot be had for BPF everywhere. */
#define AFXDP_ICMP_UNREACHABLE   3
#define AFXDP_ICMP_TIME_EXCEEDED 11
#define AFXDP_ICMP_PARAMETER     12

/* Slots of the per-processor counters. */
enum afxdp_verdict {
	AFXDP_REDIRECTED, /* handed to a socket of ours */
	AFXDP_PASSED,     /* not ours: the kernel's */
	AFXDP_NO_SOCKET,  /* ours, but its queue has no socket: the kernel's, or nobody's when by port */
	AFXDP_VERDICTS,
};

#endif
