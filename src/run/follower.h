/* follower.h - keeps a worker's stack in step with the kernel, by netlink.
 *
 * On an interface of our own it follows the link: down, up, MTU, link address, deleted. On a shared one also
 * addresses, routes and neighbours, and it asks the kernel for the neighbours that the stack wants. Each
 * worker has one; the first also speaks to the user and keeps the claims. It is a hook of the worker: what it
 * reads in a round is bounded, and it makes no system call in most. */
#ifndef C10M_RUN_FOLLOWER_H
#define C10M_RUN_FOLLOWER_H

#include "run/shared.h"
#include "stack/stack.h"
#include "sys/netlink.h"

struct follower_config {
	struct stack *stack;
	const char *interface;
	bool shared;           /* addresses, routes and neighbours too */
	uint32_t address;      /* the only one of the interface's that is ours; 0: all */
	struct shared *claims; /* the first worker's, on a shared interface; else NULL */
	struct port *port;     /* the first worker's, when it is an AF_XDP port; else NULL */
	uint32_t mtu_max;      /* that the port carries, or the user wants */
	/* The first worker's; NULL with the others. */
	void (*say)(void *context, const char *sentence);
	void (*lost)(void *context); /* the interface was deleted */
	void *context;
};

enum follower_stage {
	FOLLOWER_STEADY,
	FOLLOWER_LINKS, /* these are being told, then ... */
	FOLLOWER_ADDRESSES,
	FOLLOWER_ROUTES,
};

struct follower {
	struct follower_config config;
	struct netlink *netlink;
	uint32_t interface;
	enum follower_stage stage;
	bool torn;        /* what is being told changed meanwhile */
	bool congested;   /* the kernel drops all changes until we have read what it kept */
	uint64_t now_us;  /* of the call that runs */
	uint64_t read_us; /* when it was looked last */
	uint64_t tell_us; /* when all is to be told again; UINT64_MAX: not needed */
	uint64_t look_us; /* when stray frames are counted */
	bool link_known, up, gone, overrun_said, full_said;
	uint32_t mtu;
	struct eth_address mac;
	uint64_t strays;
};

/* 0 once the stack knows all that the kernel knows, or a negative errno and a sentence. */
int follower_start(struct follower *follower, const struct follower_config *config, uint64_t now_us,
		   char error[NETLINK_ERROR_BYTES]);
void follower_stop(struct follower *follower);

/* The parts of a hook. */
bool follower_run(void *context, uint64_t now_us);
uint64_t follower_deadline_us(void *context);
int follower_fd(const struct follower *follower);

#endif
