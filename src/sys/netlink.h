/* netlink.h - what the kernel says about interfaces, addresses, routes and neighbours (rtnetlink, IPv4
 * alone).
 *
 * A source is a nonblocking socket. What changes comes by itself; netlink_dump asks for all there is. The
 * kernel drops what does not fit the socket's buffer and says so once (NEWS_OVERRUN): then all is to be asked
 * for again. One thread at a time. */
#ifndef C10M_SYS_NETLINK_H
#define C10M_SYS_NETLINK_H

#include "net/route.h"

#define NETLINK_ERROR_BYTES 256

enum netlink_news {
	NEWS_LINK,
	NEWS_ADDRESS,
	NEWS_ROUTE,
	NEWS_NEIGHBOUR,
	NEWS_DUMPED,  /* all of what was asked for has come; `torn`: it changed meanwhile, ask again */
	NEWS_OVERRUN, /* changes were lost */
};

struct netlink_event {
	enum netlink_news kind;
	bool gone;      /* was deleted */
	bool torn;      /* of NEWS_DUMPED */
	bool up;        /* of a link: switched on, and something at its other end */
	bool permanent; /* of a neighbour: not to be confirmed */
	bool known;     /* of a neighbour: mac is valid */
	bool silent;    /* of a neighbour: it was asked and did not answer */
	bool secondary; /* of an address: another one of the same network came first */
	uint8_t prefix_bits;
	uint32_t interface; /* index; of a route 0 when it leads through none, or several */
	uint32_t address;   /* of an address or a neighbour */
	uint32_t mtu;       /* of a link */
	struct eth_address mac;
	struct route route; /* not `closed` when it leads through `interface` */
	enum route_place place;
};

/* Which changes are followed. */
#define FOLLOW_LINKS      0x1u
#define FOLLOW_ADDRESSES  0x2u
#define FOLLOW_ROUTES     0x4u
#define FOLLOW_NEIGHBOURS 0x8u

struct netlink;

/* NULL and a sentence when the kernel gives none. `buffer_bytes`: what it keeps for us; 0: a default. */
struct netlink *netlink_open(unsigned follow, uint32_t buffer_bytes, char error[NETLINK_ERROR_BYTES]);
void netlink_close(struct netlink *netlink);
/* Readable when there is something to read. */
int netlink_fd(const struct netlink *netlink);

/* Asks for all links, addresses or routes; NEWS_DUMPED ends the answer. One at a time. A negative errno. */
int netlink_dump(struct netlink *netlink, enum netlink_news kind);
/* Asks the kernel to find a neighbour out, or to make sure of it when it is known (it is in use), and what is
 * known of it: the answer is an event. A negative errno. */
int netlink_resolve(struct netlink *netlink, uint32_t interface, uint32_t address);

/* Reads once and hands what was read to `take`. False when there was nothing. */
bool netlink_read(struct netlink *netlink, void (*take)(void *context, const struct netlink_event *event),
		  void *context);

/* Parses one message of the kernel's; false: it is of no interest. For tests. */
struct nlmsghdr;
bool netlink_parse(const struct nlmsghdr *message, struct netlink_event *event);

#endif
