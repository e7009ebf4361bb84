/* bench_peers.h - the other ends of very many connections, as light as they can be.
 *
 * They live behind one gateway in 10.0.0.0/8, 16 on each address. A peer keeps
 * its next sequence number, the one it expects, the last timestamp it saw and how many
 * requests it made: 16 bytes. It has at most one request in flight. */
#ifndef C10M_CLI_BENCH_PEERS_H
#define C10M_CLI_BENCH_PEERS_H

#include "base/random.h"
#include "wire/ethernet.h"

#define PEERS_MAX            (1u << 28) /* 16 on each of the addresses of a /8 */
#define PEERS_REQUEST_BYTES  64
#define PEERS_DELAYED_ACK_US 40000 /* Linux acknowledges after 40 ms when it has nothing to send */
#define PEERS_ACKS_WAITING   (1u << 19)

struct peer {
	uint32_t seq;     /* our next byte */
	uint32_t ack;     /* the next byte we expect */
	uint32_t ts_echo; /* the last timestamp of the server */
	uint16_t asked;   /* requests made, modulo 2^16 */
	uint8_t state;
	uint8_t unused;
};

_Static_assert(sizeof(struct peer) == 16, "the bench must not need more memory than the stack");

/* A reply that is to be acknowledged when no request of the same peer has done so. */
struct peers_ack {
	uint32_t index;
	uint32_t asked;
	uint64_t due_us;
};

struct peers_stats {
	uint64_t opened;
	uint64_t requests;  /* answered, and right in every byte we look at */
	uint64_t closed;    /* have got a FIN */
	uint64_t pushed;    /* messages that nobody asked for, and right */
	uint64_t acks;      /* sent on their own */
	uint64_t again;     /* segments that we had already: retransmissions */
	uint64_t bare_acks; /* from the server, without data */
	uint64_t resets;
	uint64_t wrong; /* frames that should not have come */
};

struct peers {
	struct peer *peer;
	uint32_t count;
	bool delayed_acks;
	uint32_t server; /* address */
	uint16_t port;
	struct eth_address server_mac, gateway_mac;
	const uint8_t *push; /* what comes to a peer that waits for nothing; NULL: nothing may */
	uint32_t push_bytes;
	bool may_close;         /* the server; a peer then acknowledges and closes its own direction */
	uint32_t shuffle;       /* acknowledgements come in another order, by so many places at most */
	struct peers_ack *acks; /* a ring, oldest first */
	uint32_t ack_first, ack_count;
	struct random random;
	uint32_t idle; /* open, and without a request in flight */
	struct peers_stats stats;
	char wrong[256]; /* the first frame that should not have come */
};

/* Bytes for peers_init; memory is zeroed. */
size_t peers_bytes(uint32_t count);
/* The fields from `count` to `shuffle` are set by the caller. */
void peers_init(struct peers *peers, void *memory);

/* The peer of this name; UINT32_MAX: there is none. */
uint32_t peers_index(const struct peers *peers, uint32_t address, uint16_t port);

/* Each writes one frame and returns its bytes. */
uint32_t peers_syn(struct peers *peers, uint32_t index, uint8_t *frame, uint64_t now_us);
uint32_t peers_complete(struct peers *peers, uint32_t index, uint8_t *frame, uint64_t now_us);
uint32_t peers_request(struct peers *peers, uint32_t index, uint8_t *frame, uint64_t now_us);
/* A peer without a request in flight; UINT32_MAX: there is none. */
uint32_t peers_pick(struct peers *peers);
/* The next acknowledgement that is due: writes it and returns its bytes, 0 when there is none. */
uint32_t peers_due_ack(struct peers *peers, uint8_t *frame, uint64_t now_us);
/* Checks a frame of the server byte for byte and takes note of it. Whom it was for; UINT32_MAX: nobody. */
uint32_t peers_take(struct peers *peers, const uint8_t *frame, uint32_t bytes, uint64_t now_us);

#endif
