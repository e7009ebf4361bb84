/* session.h - what the session fuzzer's parts share: the grammar of its inputs, and one run.
 * session.c holds the application, judges what the stack sends and acts; session_peers.c is what peers send.
 */
#ifndef C10M_TESTS_FUZZ_SESSION_H
#define C10M_TESTS_FUZZ_SESSION_H

#include "stack/stack.h"
#include "wire/tcp.h"

#define STACK_IP   0x0a000001u
#define PEER_IP    0x0a000002u
#define PEERS      4
#define PORT       80
#define LOCAL_PORT 6000u /* of connections that the stack opens */
#define FRAME_ROOM 2048
#define LONG_ROOM  65520u /* of a frame that the port cuts */
#define ISS        0xfffffff0u
#define ACTIONS    400
#define ARENA_ROOM (8u << 20)

/* One byte each, then its operands. */
enum action {
	ACT_SYN,       /* peer: opens, or answers our SYN */
	ACT_GOOD,      /* peer, length: the next segment, everything right */
	ACT_FIN,       /* peer: the next segment, with FIN */
	ACT_SEGMENT,   /* peer, flags, seq (2), ack (2), window (2), length (2); offsets from what is right,
			  plus 0x8000 */
	ACT_OPTIONS,   /* peer, flags, count, bytes: a segment with these options */
	ACT_OLD,       /* peer, age: a segment with an older timestamp */
	ACT_PASS,      /* milliseconds */
	ACT_PASS_LONG, /* seconds * 4 */
	ACT_DEADLINE,  /* to the stack's next deadline */
	ACT_BURST,     /* from here to the next action that needs output, all in one burst */
	ACT_SEND,      /* peer, length (2): the application sends */
	ACT_CONSUME,   /* how much on_data takes from now on */
	ACT_CLOSE,     /* peer */
	ACT_SHUTDOWN,  /* peer */
	ACT_ABORT,     /* peer */
	ACT_RESUME,    /* peer */
	ACT_TIMER,     /* peer, milliseconds (2) */
	ACT_CONNECT,   /* peer: the application connects to it */
	ACT_ICMP,      /* peer, type, code, rest (2), seq (2) */
	ACT_RAW,       /* count, bytes: a frame */
	ACT_ARP,       /* peer */
	ACT_REBUILD,
	ACT_REOPEN,    /* peer: forgets its connection, new numbers */
	ACT_ONE_FRAME, /* the port takes one frame only */
	ACT_LIMITS,    /* rules: other limits from now on; 0: none */
	ACT_COUNT,
	/* Bytes from 0xf8 on. */
	ACT_SACK = ACT_COUNT, /* peer, count, for each block: start (2), length (2); from the stack's next
				 number */
	ACT_TIME,      /* peer, TSval (2), shift, TSecr (2), length: a segment with timestamps that lie */
	ACT_MARK,      /* the ECN bits of all frames from now on */
	ACT_ALGORITHM, /* peer, which: another congestion control */
	ACT_END,
};

#define ACT_LATER 0xf8u

/* Bits of the second byte of an input, and of the operand of ACT_LIMITS, which has no deadlines. */
#define RULE_SILENCE   0x01u /* deadlines for the first byte and for silence */
#define RULE_UNSENT    0x02u
#define RULE_DENY      0x04u
#define RULE_CAP       0x08u
#define RULE_RATE      0x10u
#define RULE_RESET     0x20u
#define RULE_NETS      0x40u /* a source is a network */
#define RULE_FEW_KNOWN 0x80u /* the table of sources is small; two at a time instead of one */

struct peer {
	bool irs_known, timestamps, active; /* active: the stack connects */
	uint32_t iss, irs;
	uint32_t snd_nxt, snd_max;  /* what comes next, and the highest that was sent */
	uint32_t rcv_nxt;           /* the stack's next */
	uint32_t ack_sent;          /* what the peer acknowledged last */
	uint32_t ack_max, edge_max; /* what the stack acknowledged and offered */
	bool acked;
	bool fresh;    /* opened in a burst: answers to what came before it are still to be sent */
	uint8_t scale; /* of the stack's windows */
	uint32_t ts_seen, ts_base;
	c10m_handle handle;
};

/* One input's run. */
struct run {
	const uint8_t *at, *end;
	struct stack *stack;
	struct stack_config config;
	struct c10m_service services[2];
	struct c10m_limits limits;
	uint64_t now_us;
	struct peer peers[PEERS];
	uint8_t frames[STACK_BURST][FRAME_ROOM];
	uint32_t bytes[STACK_BURST];
	uint32_t count;
	bool burst;
	uint8_t ecn;
	size_t consume;
};

extern struct run run;

/* session.c */
void deliver(void);
void transmit(uint32_t most);

/* session_peers.c: the input, and the actions that are frames. */
uint8_t byte(void);
uint16_t word(void);
unsigned which(void);
bool act_frame(enum action action);
void act_reopen(unsigned index);

#endif
