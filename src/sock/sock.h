/* sock.h - connections as the application sees them: what happened becomes callbacks.
 * In: tcp_result from input, timers through core_events.  Out: calls of the services. */
#ifndef C10M_SOCK_SOCK_H
#define C10M_SOCK_SOCK_H

#include "tcp/core.h"

extern const struct core_events sock_events;

/* core->busy_index while a callback runs that is no connection's. */
#define SOCK_BUSY_ELSEWHERE (POOL_NONE - 1)

/* The worker's own timer is due. */
void sock_worker_timer(struct core *core);

/* Cores of this process by id: a c10m_conn finds its core by the id in its block. */
void sock_register(struct core *core);
void sock_unregister(const struct core *core);

/* Tells the application what a segment brought, and closes what is over. */
void sock_input(struct core *core, const struct tcp_result *result);
/* After anything that may have ended a connection or moved its deadlines; false when the block is gone. */
bool sock_settle(struct core *core, uint32_t index);
/* Offers room again, a slice of blocks a call, to those that found no chunk. */
bool sock_can_feed(const struct core *core);
void sock_feed_starved(struct core *core);
void sock_resume(struct core *core, uint32_t index);
/* Whether the connection takes more to send. */
bool sock_may_send(const struct tcb *tcb);
/* The message that a handle names, or MESSAGE_NONE. */
uint32_t sock_message_find(const struct core *core, c10m_message handle);
/* For those who own connections from outside (run/client_worker.c): the number of its service; and the end of
 * one that just opened and that nobody takes, counted and reset. */
uint32_t sock_conn_service(const c10m_conn *conn);
void sock_abort_unaccepted(c10m_conn *conn);

#endif
