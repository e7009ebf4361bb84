/* client.h - the worker's side of c10m_client: connections that belong to ordinary threads. */
#ifndef C10M_RUN_CLIENT_H
#define C10M_RUN_CLIENT_H

#include "stack/stack.h"

/* The context of clients_run, a hook of the worker of this number (struct worker_hook). */
void *clients_open(uint32_t number, struct stack *stack);
bool clients_run(void *clients, uint64_t now_us);
/* When the worker's connections have ended, and its mailbox and errands are closed: no thread waits for it
 * any longer. */
void clients_close(uint32_t number);

#endif
