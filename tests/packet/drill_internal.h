/* drill_internal.h - a script that runs, shared by the files that run it. */
#ifndef C10M_TESTS_PACKET_DRILL_INTERNAL_H
#define C10M_TESTS_PACKET_DRILL_INTERNAL_H

#include <setjmp.h>

#include "drill.h"
#include "internal.h"
#include "posix/sockets.h"

#define DRILL_FDS    64
#define DRILL_CALLS  16
#define DRILL_STAMPS 128
#define DRILL_PORT   8080
#define DRILL_BYTES  (1 << 20) /* of one call */

/* A number of the script and the one on the wire. */
struct drill_stamp {
	uint32_t script, live;
};

struct drill_running {
	bool used, done;
	const struct drill_event *event;
	struct socket_call call;
	uint64_t started_us, done_us;
	int live_fd;
	/* Where the call's pointers lead. */
	struct iovec iov;
	uint8_t *buffer;
	uint8_t address[32];
	socklen_t address_bytes, value_bytes;
	uint64_t value[32];
	struct pollfd polls[8];
	struct drill *drill;
};

struct drill {
	struct drill_script *script;
	struct test *t;
	struct sockets *sockets;
	jmp_buf failed;
	const struct drill_event *event; /* the present one */
	uint64_t start_us, last_us;      /* of the script, of the last event */
	int64_t tolerance_us;
	int64_t stamp_tick_us; /* 0: timestamps are not compared */
	/* Between the script's numbers and those on the wire. */
	uint32_t local_base, remote_base, local_first; /* local_first: of the stack's first SYN */
	bool local_known, may_learn, local_seen;
	uint16_t local_port, remote_port;
	uint32_t remote_syn, local_syn; /* as the script has them */
	struct drill_stamp stamps[DRILL_STAMPS];
	unsigned stamp_count;
	bool stamp_known, heard_stamp;
	uint32_t stamp_offset;
	int fds[DRILL_FDS]; /* -1: no such */
	uint64_t received[DRILL_FDS], sent[DRILL_FDS];
	bool any_content;
	int connection; /* the script's descriptor that assertions are about */
	struct drill_running running[DRILL_CALLS];
};

void drill_fail(struct drill *drill, const struct drill_event *event, const char *format, ...)
	__attribute__((noreturn, format(printf, 3, 4)));

/* drill_packet.c */
void drill_inject(struct drill *drill, const struct drill_event *event);
/* Fails when the frame is not what the event says. */
void drill_match(struct drill *drill, const struct drill_event *event, const struct out_frame *frame);
/* Into `text`, in the script's numbers. */
void drill_show_frame(struct drill *drill, const struct out_frame *frame, char *text, unsigned room);

/* drill_calls.c: begins a call, and compares what came of it when it is done. */
void drill_call(struct drill *drill, const struct drill_event *event);
void drill_judge(struct drill *drill, struct drill_running *running);
/* drill_info.c */
void drill_compare_info(struct drill *drill, const struct drill_event *event);

#endif
