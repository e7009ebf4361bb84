/* exchange.h - the port "exchange": raw IP packets handed in and taken out by ordinary threads.
 *
 * Any thread may give and take. What goes out keeps the time at which it was sent. Neighbours are one host
 * that answers every ARP request. */
#ifndef C10M_POSIX_EXCHANGE_H
#define C10M_POSIX_EXCHANGE_H

#include <sys/time.h>

#include "port/port.h"

#define EXCHANGE_PACKETS 256 /* each way; what comes when all wait is dropped */

struct exchange;

/* NULL: no memory, no descriptor left, or an MTU beyond 9000. */
struct exchange *exchange_open(uint32_t mtu);
struct port *exchange_port(struct exchange *exchange);
/* port_close of its port frees it. */

/* A packet without Ethernet header comes in. 0, -EMSGSIZE, or -ENOBUFS. */
int exchange_give(struct exchange *exchange, const void *packet, size_t bytes);
/* The next one that goes out, and when it went. Waits until then for this time at most. Its bytes, -EMSGSIZE:
 * there is less room, and it is lost, -ETIMEDOUT. */
int exchange_take(struct exchange *exchange, void *packet, size_t room, struct timeval *when,
		  uint32_t timeout_ms);

#endif
