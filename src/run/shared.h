/* shared.h - what c10m holds on an interface that the kernel goes on using: ports, and addresses.
 *
 * A port of ours is reserved in the kernel by a placeholder: a socket that is bound and nothing else. So no
 * other program gets it, and the kernel picks it for no connection of its own. Only what is reserved is
 * claimed from the XDP program, and it is given up in the opposite order. All of it ends with the process,
 * however that ends. */
#ifndef C10M_RUN_SHARED_H
#define C10M_RUN_SHARED_H

#include "c10m/c10m.h"
#include "net/route.h"
#include "port/port.h"

#define SHARED_ERROR_BYTES          256
#define SHARED_CLIENT_PORTS_DEFAULT 1000
#define SHARED_SERVICES             16

struct shared_config {
	const char *interface;
	uint32_t address; /* the only one to serve on; 0: all that the interface has */
	const struct c10m_service *services;
	uint32_t service_count;
	uint32_t client_ports; /* for connections that we open; may be 0 */
};

struct shared_address {
	uint32_t address;
	uint8_t prefix_bits;
	bool seen; /* since shared_retell */
	int placeholders[SHARED_SERVICES];
};

struct shared {
	struct shared_config config;
	uint32_t interface; /* index */
	struct shared_address addresses[ROUTES_ADDRESSES];
	uint32_t address_count;
	struct port *port; /* whose program is told of claims; NULL: none yet */
	uint64_t client_ports[65536 / 64];
	int *client_placeholders;
	uint32_t client_count;
};

/* Reads the interface's addresses and reserves the ports. NULL and a sentence when that cannot be. */
struct shared *shared_open(const struct shared_config *config, char error[SHARED_ERROR_BYTES]);
/* Gives all back. shared_withdraw comes before it. */
void shared_close(struct shared *shared);

/* Claims what is reserved, and from now on what is added. `port` is the interface's own, none that wraps it.
 */
void shared_claim(struct shared *shared, struct port *port);
/* No frame is ours any more. */
void shared_withdraw(struct shared *shared);

/* The interface has got an address, or lost it. Adding reserves, and claims when that has begun. 1: it is
 * new; 0: nothing changed, or it is not to be served; a negative errno and a sentence. */
int shared_add(struct shared *shared, uint32_t address, uint8_t prefix_bits, char error[SHARED_ERROR_BYTES]);
bool shared_remove(struct shared *shared, uint32_t address);
/* All addresses are told anew: shared_remove is done for those that were not added again. */
void shared_retell(struct shared *shared);
void shared_retold(struct shared *shared);
bool shared_has(const struct shared *shared, uint32_t address);

#endif
