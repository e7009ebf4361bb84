/* sim.h - two stacks, a faulty link, applications and a hostile third host: one world for each seed.
 *
 * Everything in a world is drawn from its seed and from nothing else, so a seed repeats exactly. */
#ifndef C10M_TESTS_SIM_SIM_H
#define C10M_TESTS_SIM_SIM_H

#include <stdio.h>

#include "base/random.h"
#include "stack/stack.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

#define MS     1000u
#define SECOND 1000000u

#define NODES         2
#define HOSTILE       2 /* the third host on the link */
#define HOSTS         3
#define CHAT_PORT     82  /* a service that only liars use */
#define WINDOWS       128 /* blocks of a node that window.c looks at */
#define ROUTER_IP     0x0a0000feu
#define SERVER_PORT   80
#define CONVERSATIONS 40
#define FRAME_ROOM    2048
#define LONG_ROOM     65520u /* of a frame that the port cuts */

struct world;

/* --- the link: link.c */

/* Faults strike frames from one host to another; chances are in 1/10000. */
struct faults {
	uint32_t loss, duplicate, reorder, corrupt, resegment;
	uint32_t delay_us, jitter_us;
	uint32_t bytes_per_ms;  /* 0: no limit */
	uint32_t queue_bytes;   /* waiting at the limit; more is lost */
	uint32_t path_mtu;      /* longer packets are answered by ICMP */
	uint32_t outage_chance; /* in 1/10000 a frame: nothing passes for outage_us */
	uint32_t outage_us;
	uint32_t burst_chance, burst_frames; /* so many in a row are lost */
	uint32_t mark;                       /* of what may be marked, that a router marks (RFC 3168) */
};

struct frame {
	uint64_t at_us, order;
	struct frame *next_free;
	uint32_t bytes;
	uint8_t to;
	bool verified; /* the port has verified its checksum */
	uint8_t data[FRAME_ROOM];
};

struct link {
	struct faults faults[HOSTS]; /* by sender */
	uint64_t busy_until_us[HOSTS];
	uint64_t outage_until_us[HOSTS];
	uint32_t burst_left[HOSTS];
	struct frame **heap;
	uint32_t count, room;
	uint64_t order;
	struct frame *free;
	/* Clients whose frames vanish for ever, by address and port: another host may use the same port. */
	uint32_t dead_ips[CONVERSATIONS];
	uint16_t dead_ports[CONVERSATIONS];
	uint32_t dead_count;
};

void link_send(struct world *world, uint8_t from, const uint8_t *data, uint32_t bytes);
/* Past all faults, at once. */
void link_deliver(struct world *world, uint8_t to, const uint8_t *data, uint32_t bytes, uint64_t at_us);
uint64_t link_next_us(const struct link *link);
/* The next frame when it is due for this host; the caller gives it back. */
struct frame *link_take(struct world *world);
void link_give(struct link *link, struct frame *frame);
void link_free(struct link *link);
void frame_fix_checksums(uint8_t *frame);
/* Whether all checksums of a frame from a stack hold. */
bool frame_checksums_good(const uint8_t *frame, uint32_t bytes);

/* --- what passed by: referee.c */

/* One direction of one connection, as seen on the wire when a stack sent it. */
struct flow {
	uint32_t source, destination;
	uint16_t source_port, destination_port;
	bool used;      /* its SYN was seen */
	bool ambiguous; /* two first sequence numbers for one peer's SYN: not judged */
	bool acked;     /* it has sent an acknowledgement since */
	bool fin_seen, wscale_offered;
	uint8_t wscale;
	uint32_t iss, snd_max; /* first sequence number, end of what was sent */
	uint32_t syn_window;
	uint32_t ack_max, edge_max; /* highest acknowledgement and window edge that it gave */
	bool ts_offered;
	uint32_t ts_first;
	uint32_t last_bytes; /* of its last segment with an ACK, in referee.last */
	/* A FIN from the other side that reached this one. */
	bool fin_arrived;
	uint32_t fin_seq;
	uint64_t drops_then;
};

#define FLOWS 256

struct referee {
	struct flow flows[FLOWS];
	uint32_t count;
	uint8_t last[FLOWS][FRAME_ROOM];
};

void referee_sent(struct world *world, unsigned node, const uint8_t *frame, uint32_t bytes);
void referee_delivered(struct world *world, unsigned node, const uint8_t *frame, uint32_t bytes);
/* A connection ended other than in order; its reset may have been lost before it was sent. */
void referee_ended(struct world *world, const struct c10m_endpoints *ends);
/* A flow between the two stacks whose last segment is kept; NULL when there is none. */
struct flow *referee_any_flow(struct world *world);
struct flow *referee_reverse(struct world *world, const struct flow *flow);

/* --- applications: app.c */

enum plan {
	PLAN_HALF_CLOSE,    /* the client closes its direction, the server goes on and then closes */
	PLAN_BOTH_SHUTDOWN, /* each closes its direction when it has sent all */
	PLAN_SERVER_CLOSE,  /* the server closes when it has sent and received all */
	PLAN_BOTH_CLOSE,    /* each closes when it has sent and received all */
	PLAN_IDLE,          /* as HALF_CLOSE, but silent until the link is healed */
	PLAN_CROSS,         /* both connect to each other at the same time, then as BOTH_SHUTDOWN */
	PLAN_CLEAN_COUNT,   /* those above end normally on a good day */
	PLAN_ABORT = PLAN_CLEAN_COUNT, /* one side resets at some point */
	PLAN_CUT,                      /* one side closes with data on its way */
	PLAN_VANISH,                   /* at some point no frame passes any more */
	PLAN_NOBODY,                   /* connects to a host that does not exist */
	PLAN_NO_LISTENER,              /* connects to a port where nobody listens */
	PLAN_COUNT,
};

/* One side of a conversation. */
struct end {
	struct conversation *conversation;
	unsigned side; /* 0 client, 1 server */
	unsigned node;
	c10m_handle handle;
	bool opened, closed, eof, finishing, closing, paused, aborted, resting;
	bool offered; /* its first bytes were given with the connect */
	enum c10m_close_reason reason;
	uint64_t sent, received; /* accepted by c10m_send; consumed */
	uint64_t timer_set_us;
	uint32_t timer_ms; /* 0: not set */
	struct random random;
	uint32_t write_max, rest_chance, pause_chance, partial_chance, rest_ms;
	uint32_t message_chance, fanout_chance, urgent_chance;
	uint64_t fanning;  /* bytes of a fan-out under way */
	c10m_group group;  /* of that fan-out; 0: it looks at all connections */
	bool plainly;      /* the last fan-out skipped this end */
	uint64_t abort_at; /* bytes sent and received; UINT64_MAX: never */
};

struct conversation {
	struct world *world;
	uint32_t id;
	enum plan plan;
	bool started;
	uint64_t start_us, key[2];
	uint64_t bytes[2]; /* by sending side */
	struct end ends[2];
	uint16_t client_port;
	uint32_t client_ip;
};

void app_services(struct world *world, unsigned node);
void app_plan(struct world *world);
void app_connect(struct conversation *conversation);
/* From now on nobody rests, and what waits for the healed link goes on. */
void app_healed(struct world *world);
void app_lose_patience(struct world *world);
void app_check_timers(struct world *world);
bool app_all_finished(const struct world *world);
void app_check_end(struct world *world);

/* --- the third host: hostile.c */

#define LIARS   4
#define LIAR_IP 0x0a000020u /* and three more */

/* A connection with a peer that keeps no rule: liar.c. */
struct lie {
	bool used, open;
	bool active; /* the stack opens it */
	bool timestamps;
	uint8_t offers;
	unsigned target;
	uint32_t ip;
	uint16_t port, stack_port;
	uint32_t snd, rcv;  /* its next number, and the stack's next */
	uint32_t stack_max; /* end of what the stack has sent */
	uint32_t ts_base, ts_recent;
	uint8_t cookie[16], cookie_bytes; /* of fast open, as granted to it */
};

struct hostile {
	bool on;
	uint32_t collisions; /* times that it uses the key of the flow table */
	uint64_t next_us;
	uint32_t gap_us;
	uint32_t flood; /* SYNs a burst */
	/* Its own conversation with a server. */
	unsigned target;
	uint16_t port;
	bool open;
	uint32_t address; /* from which it was opened */
	uint32_t snd, rcv;
	uint32_t cookie_acks;
	uint32_t liar_frames; /* that its liars may still send */
	struct lie lies[LIARS];
};

/* Addresses that it answers for. */
#define ALIASES   8
#define ALIAS_IP  0x0a000010u
#define RANDOM_IP 0x0a000030u /* and a hundred more: whom its SYNs say they are from */

void hostile_act(struct world *world);
/* Ethernet and IPv4 headers; returns the frame's bytes. */
uint32_t hostile_headers(uint8_t *frame, unsigned to, uint32_t source, uint8_t protocol, uint32_t bytes);
void hostile_fix_ip(uint8_t *frame);
void hostile_receive(struct world *world, const uint8_t *frame, uint32_t bytes);

/* --- chatter.c: the application that liars talk to */
void chatter_service(struct world *world, struct c10m_service *service);
/* The local port of a connection to a liar, 0 when the stack refuses. */
uint16_t chatter_connect(struct world *world, unsigned node, uint32_t ip, uint16_t port);

/* --- liar.c */
void liars_begin(struct world *world);
void liar_act(struct world *world);
void liar_syn(struct world *world, const struct lie *lie, uint8_t flags);
void liar_receive(struct world *world, const struct ipv4_header *ip, const struct tcp_segment *segment);

/* --- window.c */
struct window_seen {
	uint32_t generation, una, cwnd;
	uint32_t undo; /* the window that undoing the last recovery leads back to */
	uint64_t all;  /* the first window, and all that was acknowledged since */
	bool recovers;
};

void windows_judge(struct world *world, unsigned node);

/* --- one run: world.c */

struct node {
	struct stack *stack;
	struct stack_config config;
	struct c10m_service services[4]; /* server, client, a second server that never reads, the liars' */
	struct arena arena;
	void *memory;
	uint32_t ip;
	uint64_t clock_offset_us; /* its own clock runs ahead of the world's by so much */
	uint32_t clock_step_us;   /* and moves by so much */
	uint64_t jump_at_us;      /* in the world's time; UINT64_MAX: never */
	uint32_t jump_us, jumped_us;
	struct ipv4_range source_net; /* it connects from any host of it */
	uint16_t frame_room;
	uint32_t tx_room, tx_gap_us, late_us, rx_quantum_us;
	uint64_t tx_busy_until_us, due_us;
	bool rx_verified;          /* the port verifies checksums */
	struct c10m_limits limits; /* of the third service */
	struct c10m_prefix denied;
	bool stopped;
};

struct world {
	uint64_t seed, now_us, heal_us, verify_gap, steps;
	struct random random;
	struct node nodes[NODES];
	struct link link;
	struct referee referee;
	struct hostile hostile;
	struct window_seen windows[NODES][WINDOWS];
	struct conversation conversations[CONVERSATIONS];
	uint32_t conversation_count;
	bool healed;
	bool routed;             /* the stacks reach each other through the router */
	bool strict;             /* nothing in this world excuses a connection that fails */
	bool gentle;             /* loss alone: no drop is counted by an honest stack */
	uint64_t stop_us;        /* node 0 stops here; UINT64_MAX: never */
	uint64_t rebuild_us;     /* tables are rebuilt here */
	uint64_t down_us, up_us; /* nobody hears anybody in between */
	uint64_t hash;           /* of all that was sent: two runs of a seed must agree */
	bool trace;
	char *failure; /* where world_fail writes */
	size_t failure_room;
};

/* Runs one seed; does not return when an invariant fails. Adds what was counted to `sum`. Returns the hash.
 */
uint64_t world_run(uint64_t seed, bool trace, struct counters *sum, char *failure, size_t failure_room);
void world_fail(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));
uint64_t node_now(const struct world *world, unsigned node);
uint32_t host_ip(unsigned host);
/* Whose address it is: a node's, one of its net's, or HOSTS for nobody's. */
unsigned host_of(const struct world *world, uint32_t ip);
void host_mac(unsigned host, uint8_t mac[6]);
void world_trace(const struct world *world, const char *what, const uint8_t *frame, uint32_t bytes);

#endif
