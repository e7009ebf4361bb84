/* load.h - a load generator: what a run is asked for, what each worker does for it, what it counts.
 *
 * Each worker has an engine, which its service's on_turn drives: phases one after the other, in each of them
 * a slice a turn. A connection's state stands in its block: nothing else is kept of it. */
#ifndef C10M_LOAD_LOAD_H
#define C10M_LOAD_LOAD_H

#include <stdatomic.h>

#include "base/random.h"
#include "c10m/c10m.h"
#include "flow/owner.h"
#include "histogram.h"
#include "jitter.h"
#include "schedule.h"
#include "token.h"
#include "window.h"

enum load_protocol { LOAD_ECHO, LOAD_HTTP, LOAD_CONNECT, LOAD_IDLE, LOAD_STREAM };
enum load_direction { LOAD_BOTH, LOAD_SEND, LOAD_RECEIVE };

#define LOAD_AWAIT_TICK_US   100000u /* how exactly a late answer is known */
#define LOAD_AWAIT_SLOTS     256u
#define LOAD_LATE_MS_MAX     20000u /* within the slots */
#define LOAD_REQUEST_BYTES   512
#define LOAD_PACED_IN_FLIGHT 16384u /* where a schedule tells when to ask */

struct load_config {
	enum load_protocol protocol;
	enum load_direction direction; /* of a stream */
	uint32_t connections;
	uint32_t target_address;
	uint32_t target_port, target_ports;    /* the first, and how many from there on */
	uint32_t source_address, source_count; /* the first address and how many; 0: the stack chooses */
	uint32_t rate, request_rate;           /* a second; 0: as fast as it goes */
	uint32_t paced_percent;                /* of the rate reached, for as long again; 0: not */
	uint32_t paced_rate;                   /* or at most so many requests a second */
	uint32_t payload;                      /* bytes of an echo */
	uint32_t duration_s;
	uint32_t in_flight;               /* requests without answer at a time, where there is no rate */
	uint32_t requests_per_connection; /* then it is closed and another opened; with churn */
	bool churn;                       /* connections come and go */
	uint32_t late_ms;
	uint32_t message_bytes, message_wait_s; /* what the server sends to all by itself; 0: nothing */
	bool prove_before, prove_after;
	bool reset;      /* end connections by a reset */
	bool stay;       /* until Ctrl-C */
	uint64_t secret; /* of all tokens */
	char http_request[LOAD_REQUEST_BYTES];
	uint32_t http_bytes;
	bool fastopen; /* a connection's first request goes with its SYN, where the server takes it */
	uint32_t workers;
};

/* --- what is counted ------------------------------------------------------------------------ */

/* Each with its key in JSON and its text in the table. */
#define LOAD_COUNTS(X) \
	X(started, "started", "opens begun") \
	X(opened, "opened", "connections established") \
	X(open_refused, "refused", "opens refused: nobody listens there") \
	X(open_timeout, "timeout", "opens not answered in time") \
	X(open_unreachable, "unreachable", "opens without a way to the target") \
	X(open_other, "other", "opens that failed otherwise") \
	X(lost_reset, "reset", "connections reset by the peer") \
	X(lost_closed, "closed", "connections closed by the peer") \
	X(lost_timeout, "timeout", "connections whose data was never acknowledged") \
	X(lost_wrong, "wrong", "connections with a wrong answer") \
	X(lost_repeated, "repeated", "connections with an answer that came twice") \
	X(lost_unasked, "unasked", "connections with data that nobody asked for") \
	X(unanswered, "unanswered", "requests not answered in time") \
	X(late, "late", "of these answered after all") \
	X(unsent, "unsent", "requests that no connection was free for at the end") \
	X(unclosed, "unclosed", "connections whose close was not answered in time") \
	X(requests, "requests", "requests sent") \
	X(answers, "answers", "right answers in time") \
	X(proved, "proved", "connections proved before") \
	X(proved_after, "proved_after", "connections proved after") \
	X(sessions, "sessions", "connections that did all they should and were closed") \
	X(messages, "messages", "connections that got the message") \
	X(messages_wrong, "messages_wrong", "messages that differ from the first one") \
	X(closed, "closed", "connections closed in order") \
	X(bytes_out, "bytes_out", "bytes of requests") \
	X(bytes_in, "bytes_in", "bytes of answers")

struct load_counts {
#define COUNT_FIELD(field, key, text) uint64_t field;
	LOAD_COUNTS(COUNT_FIELD)
#undef COUNT_FIELD
};

#define LOAD_COUNT (sizeof(struct load_counts) / sizeof(uint64_t))

/* Connections of which something was lost, and requests without answer. */
uint64_t load_lost(const struct load_counts *counts);
uint64_t load_open_failures(const struct load_counts *counts);

/* --- one connection ---------------------------------------------------------------------------- */

enum load_stage {
	STAGE_OPENING,
	STAGE_OPEN,
	STAGE_ASKED,  /* a request is out */
	STAGE_LATE,   /* it was not answered in time */
	STAGE_FAILED, /* and counted: its end says nothing new */
	STAGE_CLOSING,
};

struct load_conn {
	uint64_t number;      /* never used twice in a run */
	uint64_t intended_us; /* when the present request, or the open, was meant to happen */
	uint32_t request;     /* the last one */
	uint32_t await_tick;  /* since when something is awaited */
	uint32_t begun_us;    /* when it was opened; low 32 bits */
	uint8_t stage;
	bool awaits, held, messaged;
	union {
		uint64_t http[4]; /* a http_parser */
		struct {
			uint32_t sent, got;           /* bytes of the present request and answer */
			uint32_t message_got, digest; /* of the message to all */
		} echo;
		struct {
			uint64_t sent, got; /* bytes */
		} stream;
	};
};

_Static_assert(sizeof(struct load_conn) == 64, "a cache line behind the TCB");

/* --- one worker ----------------------------------------------------------------------------------- */

enum load_phase {
	PHASE_OPEN,
	PHASE_PROVE,
	PHASE_LOAD,
	PHASE_PACED, /* the same at a share of the rate that was reached, by a schedule */
	PHASE_MESSAGE,
	PHASE_PROVE_AFTER,
	PHASE_CLOSE,
	PHASE_OVER,
};

/* What a worker shows of itself to the thread that tells the user. */
struct load_shown {
	struct load_counts counts;
	uint64_t held, opening, in_flight;
	uint32_t phase;
	struct histogram latency;
};

struct load_engine {
	const struct load_config *config;
	c10m_worker *worker;
	uint32_t number, share; /* how many of the connections are this worker's */
	enum load_phase phase;
	uint64_t now_us, phase_us; /* when the phase began */
	bool arrived;              /* at its end, and waits for the other workers */
	struct random random;
	struct load_counts counts;
	/* opening */
	uint64_t started; /* connections begun */
	uint64_t held_at_end;
	uint64_t moved, moved_us; /* what the server has done so far, and when it did so last */
	bool no_goodbyes;         /* somebody's close was not answered in time: nobody else waits for that */
	bool interrupted;         /* by Ctrl-C, before all phases were over */
	uint64_t path;            /* address and ports of the next one */
	uint32_t opening, held, closing;
	bool enough; /* nothing more is opened */
	struct window window;
	struct schedule opens;
	/* requests */
	uint32_t in_flight;
	uint32_t cursor; /* of a walk over all places */
	struct schedule requests;
	/* what is awaited, by when it began */
	uint32_t awaited[LOAD_AWAIT_SLOTS];
	uint32_t await_checked; /* tick: nothing older is awaited */
	uint32_t sweep_next, sweep_end;
	uint64_t sweep_us; /* the earliest time of the next one */
	/* the message to all */
	uint64_t message_first_us, message_last_us;
	uint32_t message_digest;
	bool message_seen;
	/* what took how long */
	struct histogram latency, open_time, send_delay;
	struct jitter jitter;
	uint64_t open_first_us, open_last_us; /* the time of opening */
	uint64_t close_first_us, close_last_us;
	uint64_t load_first_us, load_last_us;
	uint64_t asked_in_load, answered_in_load;
	double request_rate; /* of the present phase, this worker's; 0: no schedule */
	struct histogram paced;
	uint64_t paced_first_us, paced_last_us, answered_paced;
	uint64_t show_us, rest_until_us;
	struct load_shown *shown;
	atomic_flag *shown_lock;
};

/* --- files of this folder --------------------------------------------------------------------- */

/* engine.c */
void engine_start(c10m_worker *worker);
uint64_t engine_turn(c10m_worker *worker);
void engine_stop(c10m_worker *worker);
struct load_engine *engine_of(const c10m_worker *worker);
struct load_engine *engine_at(uint32_t number);
/* Before a run; `shown` are as many as workers. */
void engines_prepare(const struct load_config *config, struct load_shown *shown, atomic_flag *locks);
/* Why the run ended early; NULL: it did not. */
const char *engines_verdict(void);

/* open.c: connections come */
void open_slice(struct load_engine *engine);
bool open_is_over(const struct load_engine *engine);
uint64_t open_next_us(const struct load_engine *engine); /* UINT64_MAX: waits for answers */

/* ask.c: requests */
void ask(struct load_engine *engine, c10m_conn *conn, uint64_t intended_us);
void ask_slice(struct load_engine *engine);   /* at random */
void prove_slice(struct load_engine *engine); /* one after the other */
/* Whether a connection that was answered is asked again: all may be busy, so nobody need be found at random.
 */
bool ask_again_at_once(const struct load_engine *engine);
/* Requests are asked for at random. */
static inline bool load_is_on(const struct load_engine *engine)
{
	return (engine->phase == PHASE_LOAD || engine->phase == PHASE_PACED) && !engine->enough;
}
bool prove_is_over(const struct load_engine *engine);
uint64_t ask_next_us(const struct load_engine *engine);

/* await.c: what is not answered in time */
void await_begin(struct load_engine *engine, struct load_conn *state);
void await_end(struct load_engine *engine, struct load_conn *state);
void await_slice(struct load_engine *engine);
uint64_t await_next_us(const struct load_engine *engine);

/* conn.c: what happens to a connection */
void conn_fail(struct load_engine *engine, c10m_conn *conn, uint64_t *counter);
void conn_answered(struct load_engine *engine, c10m_conn *conn);
void conn_close(struct load_engine *engine, c10m_conn *conn);
void conn_unasked(struct load_engine *engine, c10m_conn *conn, const uint8_t *data, size_t len);
void conn_service(struct c10m_service *service);
/* Whether something may be asked of it now. */
bool conn_is_free(const struct load_conn *state);
void conn_late(struct load_engine *engine, c10m_conn *conn);

/* echo.c, http.c, stream.c */
void echo_send(struct load_engine *engine, c10m_conn *conn);
size_t echo_data(struct load_engine *engine, c10m_conn *conn, const uint8_t *data, size_t len);
uint64_t echo_seed(const struct load_config *config, const struct load_conn *state);
void http_begin(struct load_conn *state);
void http_send(struct load_engine *engine, c10m_conn *conn);
size_t http_data(struct load_engine *engine, c10m_conn *conn, const uint8_t *data, size_t len);
void http_eof(struct load_engine *engine, c10m_conn *conn);
void stream_send(struct load_engine *engine, c10m_conn *conn);
size_t stream_data(struct load_engine *engine, c10m_conn *conn, const uint8_t *data, size_t len);

#endif
