/* stack.h - one core's instance of everything, and the only way in and out of it.
 *
 * Pure: it makes no system call, reads no clock, draws no randomness. All that goes in
 * is stack_rx and stack_control; all that comes out is stack_tx, stack_request and
 * stack_deadline, and the callbacks of the services. now_us is microseconds since the arena's
 * clock base and never goes back. One thread at a time. */
#ifndef C10M_STACK_STACK_H
#define C10M_STACK_STACK_H

#include "c10m/c10m.h"
#include "flow/owner.h"
#include "mem/arena.h"
#include "mem/chunk.h"
#include "mem/message.h"
#include "mem/packet.h"
#include "net/route.h"
#include "obs/counters.h"

struct stack;

#define STACK_BURST    64 /* packets that one stage handles at a time */
#define STACK_SERVICES 16
#define STACKS_MAX     64 /* stacks in one process, by id */

struct stack_config {
	uint8_t id;           /* 0 .. STACKS_MAX-1, free in this process */
	uint32_t connections; /* blocks; of these, half_open and time_wait less than 2^26 each */
	uint32_t half_open;   /* compact entries; 0: a default from connections */
	uint32_t time_wait;   /* compact entries; 0: a default */
	uint32_t extensions;  /* what attaches to busy connections; 0: a default from connections */
	uint32_t ranges;      /* of scoreboards; 0: a default from connections */
	uint32_t models; /* of paths, for connections with bbr; 65,534 at most; 0: a default from connections
			  */
	uint32_t destinations; /* 0: 1024; at most 65534 */
	uint32_t sources;      /* remembered for c10m_limits, less than 2^26; 0: a default from connections */
	struct chunk_config chunks;     /* all 0: a default from connections; else some of the smallest */
	struct message_config messages; /* all 0: a default from connections, 1 to 7 MB */
	uint32_t groups;                /* 0: a default from connections */
	const struct c10m_service *services; /* no two on one port, state_size 1 MB at most */
	uint32_t service_count;
	const struct owner *owner; /* which flows are ours, those of worker `id`; NULL: all of them */

	/* The interface. */
	struct eth_address mac;
	uint32_t address;
	uint8_t prefix_bits;
	uint32_t gateway; /* 0: none */
	/* Ours as well, for connections that we open: unicast, without `address` and `gateway`. */
	struct ipv4_range source_net;
	uint32_t mtu;         /* 0: 1500 */
	bool tx_checksum;     /* the port completes PACKET_CSUM_PARTIAL */
	bool tx_segmentation; /* and cuts frames that say gso_bytes; counts with tx_checksum only */
	/* The kernel goes on using the interface: it resolves neighbours (STACK_REQUEST_RESOLVE) and answers
	 * ARP and pings, all routes come by messages, and ports that are not ours are never answered for.
	 * Ours are the services' and client_ports: a bit for each of 65536, NULL for none; read by stack_init
	 * only. */
	bool shared;
	const uint64_t *client_ports;

	/* TCP. 0 means the default in brackets. */
	uint32_t initial_window_segments; /* [10] RFC 6928 */
	uint32_t delayed_ack_ms;          /* [40] */
	uint32_t quick_acks;              /* full segments that are acknowledged at once at the start; [0] */
	/* Up to where windows grow of services that say neither receive_bytes nor receive_max_bytes; [they do
	 * not] */
	uint32_t receive_max_bytes;
	uint64_t tuned_max_bytes; /* by which all windows together may grow; [half of the chunks' bytes] */
	uint32_t rto_min_ms;      /* [200]; RFC 6298 asks for 1000, deployed stacks use 200 */
	uint32_t rto_initial_ms;  /* [1000]; both 60000 at most */
	uint32_t time_wait_ms;    /* [60000] 2 MSL */
	uint32_t fin_wait2_ms;    /* [60000] after a full close */
	uint32_t window_scale; /* at least this one is offered, 14 at most; [0]: the least that tells of the
				  buffer */
	bool no_timestamps, no_window_scale, no_sack, always_cookies; /* for tests */
};

/* Bytes of arena that stack_init will carve (arena header excluded); 0 when the configuration makes no sense.
 */
size_t stack_bytes(const struct stack_config *config);
/* Carves and initialises. NULL when the arena is too small or the configuration makes no sense. The
 * services array must live as long as the stack. on_start is not called here: stack_start does. */
struct stack *stack_init(struct arena *arena, const struct stack_config *config, uint64_t now_us);
void stack_start(struct stack *stack, uint64_t now_us);
/* Lets the services do what they begin by themselves (on_turn): between stack_rx and stack_tx, and before
 * each sleep. Returns when it is to be called again at the latest; now or before: there is more to do. */
uint64_t stack_turn(struct stack *stack, uint64_t now_us);
/* Whether there is such a service. */
bool stack_turns(const struct stack *stack);
/* The services stop listening, and on_stop is called. */
void stack_wind_down(struct stack *stack, uint64_t now_us);
/* Resets every connection (on_close with C10M_CLOSE_STOPPED) in slices; true when none is left. Resets go out
 * by stack_tx. */
bool stack_stop(struct stack *stack, uint64_t now_us);
/* Frees the id. Memory is the caller's. */
void stack_fini(struct stack *stack);

/* Takes any number of frames. Frames are only lent: none is kept. */
void stack_rx(struct stack *stack, uint64_t now_us, struct packet *packets, uint32_t count);

/* The next frame that belongs to another worker (config.owner says whose): part of a datagram whose fragments
 * came here. Its bytes are lent until the next call of any function of the stack. False: there is none. */
bool stack_elsewhere(struct stack *stack, struct packet *packet);

/* Runs what is due by time (some thousand timers a call), then fills up to `max` of the given frames; returns
 * how many. When it returns `max` there may be more; stack_deadline tells of all else that is left. Call it
 * at the end of every burst and at every deadline. */
uint32_t stack_tx(struct stack *stack, uint64_t now_us, struct packet *packets, uint32_t max);

/* Sets the time for public functions that are called on the worker outside of callbacks (c10m_post). */
void stack_begin(struct stack *stack, uint64_t now_us);

/* When stack_tx wants to be called at the latest (now or before: at once); UINT64_MAX: not at all. */
uint64_t stack_deadline(const struct stack *stack);
/* Whether output waits: call stack_tx as soon as the port has room. */
bool stack_has_output(const struct stack *stack);

enum stack_message_kind {
	STACK_SET_ADDRESS,   /* address, prefix_bits, gateway: instead of all addresses and routes */
	STACK_SET_NEIGHBOUR, /* address, mac: a permanent entry */
	STACK_LISTEN,        /* service index in `value`: starts listening (services listen from the start) */
	STACK_UNLISTEN,      /* service index in `value` */
	STACK_SET_LINK,      /* mac, value: MTU of the interface */
	/* The kernel's, on a shared interface. */
	STACK_ADD_ADDRESS,      /* address, prefix_bits */
	STACK_REMOVE_ADDRESS,   /* address. Its connections stand still until it is back, or time out */
	STACK_ADD_ROUTE,        /* route, value: enum route_place */
	STACK_REMOVE_ROUTE,     /* route */
	STACK_RETELL,           /* all addresses and routes follow once more ... */
	STACK_RETOLD,           /* ... and those that did not are no more */
	STACK_LEARN_NEIGHBOUR,  /* address, mac; value: 1 when it is permanent */
	STACK_LOSE_NEIGHBOUR,   /* address; value: 1 when it was asked and did not answer */
	STACK_DOUBT_NEIGHBOURS, /* changes may have been missed: ask again for those in use */
	/* Another worker's. */
	STACK_HEAR_NEIGHBOUR, /* address, mac of an ARP frame: from the network, so no permanent entry goes */
};

struct stack_message {
	enum stack_message_kind kind;
	uint32_t address, gateway, value;
	uint8_t prefix_bits;
	struct eth_address mac;
	struct route route;
};

/* A negative errno: -EINVAL when the message makes no sense, -ENOSPC when a table is full. */
int stack_control(struct stack *stack, uint64_t now_us, const struct stack_message *message);

/* The service of this index has changed in the array that was given at the start: its port (it listens there
 * from now on; 0: it does not), its limits. Callbacks, state and groups must be what they were; on a shared
 * interface the port must be ours already. 0, -EINVAL when the services make no sense, -EADDRINUSE. */
int stack_reread_service(struct stack *stack, uint32_t service);

enum stack_request_kind {
	STACK_REQUEST_NONE,
	STACK_REQUEST_RESOLVE, /* neighbour `address` is wanted, or known and in use: only when shared */
};

struct stack_request {
	enum stack_request_kind kind;
	uint32_t address;
};

/* The next thing that the stack wants from outside; false when there is none. */
bool stack_request(struct stack *stack, struct stack_request *request);

const struct counters *stack_counters(const struct stack *stack);
/* Cycles of each stage so far; all zero unless compiled in. */
const struct stages *stack_stages(const struct stack *stack);
c10m_worker *stack_worker(struct stack *stack);

/* What every pool holds, for tests, statistics and the memory report. */
struct stack_usage {
	uint32_t connections, half_open, time_wait, destinations, table_entries, timer_entries, extensions,
		ranges, models;
	uint32_t chunks[CHUNK_CLASSES];
	uint32_t replies, messages, groups, fanouts;
	uint64_t source_connections; /* that c10m_limits counts */
	uint32_t block_stride;       /* bytes from block to block: ours, and the application's state */
	uint64_t arena_bytes;
	uint64_t block_bytes, table_bytes, wheel_bytes, chunk_bytes, compact_bytes; /* carved */
};
void stack_usage(const struct stack *stack, struct stack_usage *usage);

/* Rebuilds table, wheel and free lists from blocks, attached chunks and compact entries alone (design idea
 * 8). */
void stack_rebuild(struct stack *stack, uint64_t now_us);
/* Walks everything and checks every invariant: pools balance, each connection is found by the table and has
 * its timers filed, queues and lists agree with their counts, destinations with their holders. Aborts by
 * CHECK when one does not hold. For tests. */
void stack_verify(const struct stack *stack);

#endif
