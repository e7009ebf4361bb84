/* mailbox.h - messages to a worker from any thread: a ring with many producers and one consumer.
 *
 * The mailboxes of a process live as long as it does, one for each number that a stack can have. So a
 * late sender finds a closed one, never freed memory. A message that was taken is run exactly once, on the
 * worker, before the worker ends. */
#ifndef C10M_RUN_MAILBOX_H
#define C10M_RUN_MAILBOX_H

#include "run/waker.h"
#include "stack/stack.h"

#define MAILBOX_MESSAGES 2048u /* that may wait */
#define MAILBOX_BURST    64    /* run in one round of the worker's loop */

enum mailbox_kind {
	MAILBOX_CALL,    /* function(worker, argument) */
	MAILBOX_CONTROL, /* stack_control */
};

struct mailbox_message {
	enum mailbox_kind kind;
	uint32_t value; /* the sender's and the function's own */
	union {
		struct {
			void (*function)(c10m_worker *worker, void *argument);
			void *argument;
			uint64_t words[5]; /* the sender's and the function's own */
		};
		struct stack_message control;
	};
};

_Static_assert(sizeof(struct mailbox_message) == CACHE_LINE, "a message is a cache line");

struct mailbox;

/* NULL: no stack can have this number. */
struct mailbox *mailbox_at(uint32_t number);

/* The worker's side. From here on messages are taken; `waker` is rung for them while the worker sleeps. */
void mailbox_open(struct mailbox *mailbox, struct stack *stack, struct waker *waker);
/* A hook of the worker (struct worker_hook): runs what has come; true when there was something. */
bool mailbox_run(void *mailbox, uint64_t now_us);
/* No more messages are taken; those that were are run. */
void mailbox_close(struct mailbox *mailbox, uint64_t now_us);

/* Any thread, no signal handler. 0, -EAGAIN: full, -ESHUTDOWN: nobody reads it. */
int mailbox_send(struct mailbox *mailbox, const struct mailbox_message *message);

/* Messages that stack_control refused; on the worker. */
uint64_t mailbox_refused(const struct mailbox *mailbox);

#endif
