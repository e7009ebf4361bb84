/* harness.h - one stack on a fake clock: segments go in, replies and events are checked.
 *
 * A segment is one line of text, the same for what goes in and what is expected:
 *
 *   FLAGS [word value]...     FLAGS: S F R P U E C and '.' for ACK; '-' for none
 *
 *   seq N     relative to the sender's initial sequence number (the SYN is 0)
 *   ack N     relative to the other side's; aseq N and aack N are absolute
 *   win N     as on the wire            len N     payload bytes
 *   mss N, wscale N, sackok             options of a SYN
 *   sack A-B[,C-D]...                   relative to the initial sequence number of whom the data is from
 *   ts N      TSval: on the way in N is relative to the peer's clock (milliseconds)
 *   ecr N     TSecr; absolute on the way in, relative to the peer's clock base when expected
 *   uto N     user timeout, as on the wire (RFC 5482)
 *   urg N     the urgent pointer
 *   fo N      fast open with a cookie of N bytes: the one the stack told last, or the peer's
 *   nots      without timestamps, though they were agreed on
 *   ect, ce   the IP header's ECN bits: ECT(0), congestion experienced; exact in an expectation
 *   fill N    every payload byte is N instead of the stream's own content
 *
 * On the way in, what is left out has a useful default (seq and ack: next in order; win: the peer's;
 * timestamps: as agreed). In an expectation flags and length are always exact, options must be those that are
 * named (and timestamps as agreed), the payload must be the stream's content; seq, ack and win are compared
 * when named.
 *
 * The content of byte i of a stream is known, so that nothing has to be stored to be compared.
 * Every frame, drop and event must be expected by the test: what is left over fails it. */
#ifndef C10M_TESTS_PACKET_HARNESS_H
#define C10M_TESTS_PACKET_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stack/stack.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

#define STACK_IP    0x0a000001u /* 10.0.0.1 */
#define PEER_IP     0x0a000002u /* 10.0.0.2 */
#define SERVER_PORT 80
#define PEER_PORT   40000

#define MS     1000u
#define SECOND 1000000u

#define OUT_FRAMES 4096
#define FRAME_ROOM 2048
#define ROOM_MAX   65520u /* of ports that cut frames */
#define EVENTS_MAX 512
#define SLOTS_MAX  64
#define PEERS_MAX  16

/* Where sequence numbers and clocks start; the test program runs once for each. */
enum start_mode {
	START_PLAIN,       /* small numbers */
	START_PEER_WRAPS,  /* the peer's sequence numbers and timestamps, and the stack's clock are about to
			      wrap */
	START_STACK_WRAPS, /* the stack's sequence numbers are about to wrap */
};
extern enum start_mode start_mode;

struct peer {
	uint32_t ip;
	uint32_t via; /* the next hop, when it is another host */
	uint16_t port, stack_port;
	uint32_t iss, irs; /* ours, and the stack's once it is known */
	bool irs_known;
	uint32_t snd_nxt, rcv_nxt; /* relative */
	uint32_t window;           /* default for `win` */
	bool timestamps;           /* agreed on */
	uint32_t ts_base;          /* our timestamp at the start of the test */
	uint32_t ts_seen;          /* the stack's last TSval */
	uint8_t cookie[16];        /* for fast open, as the stack told it or as we grant it */
	/* What `open` offers. */
	uint16_t mss;
	int wscale; /* -1: not offered */
	bool offer_timestamps, offer_sack;
};

struct out_frame {
	uint64_t at_us;
	uint32_t bytes;
	uint8_t data[FRAME_ROOM];
};

struct test;

/* The application's end of one connection. */
struct slot {
	c10m_handle handle;
	uint64_t rx_bytes, tx_bytes; /* consumed, accepted for sending */
	bool closed;
	enum c10m_close_reason reason;
};

/* What the application does by itself, inside callbacks. */
struct app {
	size_t consume; /* at most so many bytes a call of on_data; SIZE_MAX: all */
	bool quiet;     /* no "data" events */
	bool keep_open; /* on_eof does nothing; else c10m_close */
	bool no_check;  /* the content of received data is not compared */
	void (*hook)(struct test *t, c10m_conn *conn, unsigned slot, const char *event);
};

struct test {
	struct stack_config config;
	struct c10m_service services[4];
	struct arena_secrets secrets;
	struct stack *stack;
	struct arena arena;
	void *memory;
	uint64_t start_us, now_us;
	struct peer peers[PEERS_MAX];
	struct peer *peer; /* whom inject and expect speak for */
	struct app app;
	struct slot slots[SLOTS_MAX];
	unsigned slot_count;
	char events[EVENTS_MAX][32];
	unsigned event_first, event_count;
	struct out_frame *out;
	unsigned out_first, out_count;
	struct counters mark;       /* when `counted` looked last */
	struct counters drops_seen; /* when drops were looked at last */
	bool no_neighbours;         /* set before test_start: nobody's link address is known */
	bool drops_ignored[DROP_COUNT];
	unsigned partial; /* frames whose checksum was left to the port */
	unsigned cut;     /* frames that the port cut into segments */
	uint32_t longest; /* payload of the last of these */
	uint32_t room;    /* of a frame to send; set before test_start */
	bool active;      /* set before test_start: open_client will be used, not open_server */
};

/* A test's life: `begin` sets defaults, the test may change config, services[0] and peers, `start` makes the
 * stack; `finish` checks that nothing is left over and every invariant holds. */
struct test *test_begin(void);
void test_start(struct test *t);
void test_finish(struct test *t);
/* Checks that nothing unexpected happened so far. */
void test_settled(struct test *t, const char *file, int line);

/* --- time */
/* Moves the clock, waking the stack exactly at its own deadlines. */
void pass_us(struct test *t, uint64_t us);
#define pass_ms(t, ms) pass_us((t), (uint64_t)(ms)*MS)
/* Runs stack_tx now. */
void flush(struct test *t);

/* --- segments */
void inject_at(struct test *t, const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
void expect_at(struct test *t, const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* The frame comes after `ms` milliseconds and not earlier; late by two ticks and 1/64 at most. */
void expect_after_at(struct test *t, const char *file, int line, uint64_t ms, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
void expect_nothing_at(struct test *t, const char *file, int line);
#define inject(t, ...)           inject_at((t), __FILE__, __LINE__, __VA_ARGS__)
#define expect(t, ...)           expect_at((t), __FILE__, __LINE__, __VA_ARGS__)
#define expect_after(t, ms, ...) expect_after_at((t), __FILE__, __LINE__, (ms), __VA_ARGS__)
#define expect_nothing(t)        expect_nothing_at((t), __FILE__, __LINE__)
/* Builds the frame of a segment without injecting it; returns its bytes. */
uint32_t build(struct test *t, uint8_t *frame, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Puts right the checksums of a frame that was changed by hand. */
void fix_checksums(uint8_t *frame, uint32_t bytes);
void inject_raw(struct test *t, const uint8_t *frame, uint32_t bytes);
/* Several frames in one burst. */
struct burst {
	uint8_t frames[STACK_BURST][FRAME_ROOM];
	uint32_t bytes[STACK_BURST];
	uint32_t count;
};
void burst_add(struct test *t, struct burst *burst, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void inject_burst(struct test *t, const struct burst *burst);
/* The next frame that came out, parsed no further; fails when there is none. */
const struct out_frame *next_out_at(struct test *t, const char *file, int line);
#define next_out(t) next_out_at((t), __FILE__, __LINE__)
/* Throws away what came out. Returns how many frames. */
unsigned discard_out(struct test *t);
/* Takes the next frame, which must be a good TCP segment to the current peer. `segment` points into a copy
 * that lives until the next call. */
void next_segment_at(struct test *t, const char *file, int line, struct tcp_segment *segment);
#define next_segment(t, segment) next_segment_at((t), __FILE__, __LINE__, (segment))
/* Which peer inject and expect speak for. */
void use_peer(struct test *t, unsigned index);

/* Between any two addresses: the next frame, which must be TCP; and one that comes from the usual host. */
void take_segment(struct test *t, struct ipv4_header *ip, struct tcp_segment *segment);
void give_segment(struct test *t, uint32_t from, uint32_t to, struct tcp_segment *segment);

/* --- ARP and ICMP */
uint32_t build_arp(uint8_t *frame, uint16_t operation, uint32_t sender_ip, const uint8_t sender_mac[6],
		   uint32_t target_ip, bool broadcast);
uint32_t build_icmp(struct test *t, uint8_t *frame, uint8_t type, uint8_t code, uint32_t rest,
		    const void *body, uint32_t bytes);
/* An ICMP error that quotes a segment the stack sent with this relative sequence number. */
void inject_icmp_error(struct test *t, uint8_t type, uint8_t code, uint32_t rest, uint32_t quoted_seq);
void expect_arp_request_at(struct test *t, const char *file, int line, uint32_t ip);
#define expect_arp_request(t, ip) expect_arp_request_at((t), __FILE__, __LINE__, (ip))
void inject_arp_reply(struct test *t, uint32_t ip);
/* The link address that the harness gives to a host. */
void mac_of(uint32_t ip, uint8_t mac[6]);

/* --- drops and counters */
/* Exactly one drop since the last look, for this reason. */
void expect_drop_at(struct test *t, const char *file, int line, enum drop_reason reason);
#define expect_drop(t, reason) expect_drop_at((t), __FILE__, __LINE__, DROP_##reason)
/* Any drops of this reason, at least one. */
void expect_drops_at(struct test *t, const char *file, int line, enum drop_reason reason);
#define expect_drops(t, reason) expect_drops_at((t), __FILE__, __LINE__, DROP_##reason)
/* This reason may be counted any number of times from now on. */
void ignore_drops(struct test *t, enum drop_reason reason);
/* How much an event counter grew since the last `mark`. */
void mark(struct test *t);
#define counted(t, name) (stack_counters((t)->stack)->name - (t)->mark.name)

/* --- events and the application */
void expect_event_at(struct test *t, const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
void expect_no_event_at(struct test *t, const char *file, int line);
#define expect_event(t, ...) expect_event_at((t), __FILE__, __LINE__, __VA_ARGS__)
#define expect_no_event(t)   expect_no_event_at((t), __FILE__, __LINE__)
void discard_events(struct test *t);
c10m_conn *app_conn(struct test *t, unsigned slot); /* fails when it has ended */
size_t app_send(struct test *t, unsigned slot, size_t bytes);
void app_close(struct test *t, unsigned slot);
void app_shutdown(struct test *t, unsigned slot);
void app_abort(struct test *t, unsigned slot);
void app_resume(struct test *t, unsigned slot);
/* Connects from a fixed local port to the current peer; the slot. */
unsigned app_connect(struct test *t, uint16_t local_port);
unsigned app_connect_to(struct test *t, uint32_t ip, uint16_t port, uint16_t local_port, int *error);

/* --- shortcuts */
/* A connection that the current peer opened; takes the "open" event. Returns the slot. */
unsigned open_server(struct test *t);
/* A connection that the stack opened to the current peer. */
unsigned open_client(struct test *t);
struct test *begin_open(void); /* begin, start, open_server */
/* The same, and the application reads nothing: so much is kept for it; 0: the default. */
struct test *begin_unread(uint32_t receive_bytes);
/* The same as begin_open, ... */
struct test *begin_with_timestamps(void);
struct test *begin_nodelay(void); /* without Nagle */
struct stack_usage usage(struct test *t);
uint8_t stream_byte(uint64_t position);

/* Runs a group with the start mode named by the first argument (plain, peer-wraps, stack-wraps; default
 * plain). */
#define PACKET_MAIN(tests) \
	int main(int argc, char **argv) \
	{ \
		if (!harness_arguments(argc, argv)) \
			return 2; \
		return cmocka_run_group_tests(tests, NULL, NULL); \
	}
bool harness_arguments(int argc, char **argv);

#define TEST(name) cmocka_unit_test(name)

#endif
