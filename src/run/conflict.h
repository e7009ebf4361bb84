/* conflict.h - whether an IPv4 address can be ours: nobody else may answer for it. */
#ifndef C10M_RUN_CONFLICT_H
#define C10M_RUN_CONFLICT_H

#include "base/compiler.h"

#define CONFLICT_ERROR_BYTES 256

/* 0, or -EADDRINUSE and a sentence: this machine's kernel has the address, on any interface. */
int conflict_check_kernel(uint32_t address, char error[CONFLICT_ERROR_BYTES]);

/* The same for all addresses of a network of 0 (none) to 32 bits. */
int conflict_check_net(uint32_t network, unsigned bits, char error[CONFLICT_ERROR_BYTES]);

/* The prefix of the kernel's network on this interface that the address lies in; 0: there is none. */
unsigned conflict_network_bits(const char *interface, uint32_t address);

/* Asks the network, or a VLAN of it (0: none), three times within 200 ms (an ARP probe, RFC 5227
 * section 2.1.1, with shorter waits). 0: nobody answered, or the question cannot be asked (no such interface,
 * no right to: the port will say so). -EADDRINUSE and a sentence: somebody did. */
int conflict_probe(const char *interface, uint16_t vlan, uint32_t address, char error[CONFLICT_ERROR_BYTES]);

#endif
