/* engine.h - one worker, with sockets that any thread may call: stack, loop and thread in one.
 *
 * A call goes to the worker by its mailbox, and the thread that called sleeps until it is done. Nothing looks
 * in vain: a worker without work sleeps in the kernel. */
#ifndef C10M_POSIX_ENGINE_H
#define C10M_POSIX_ENGINE_H

#include "port/port.h"
#include "posix/sockets.h"

#define ENGINE_ERROR_BYTES 256

struct engine;

struct engine_config {
	uint32_t number;           /* of the worker: no other of this process has it */
	struct port *port;         /* closed by engine_close, or when engine_open fails */
	struct stack_config stack; /* without services; mac and mtu are the port's */
	struct sockets_config sockets;
};

/* NULL and a sentence. */
struct engine *engine_open(const struct engine_config *config, char error[ENGINE_ERROR_BYTES]);
/* Every call that waits ends with -EBADF; connections are forgotten in silence. */
void engine_close(struct engine *engine);

/* Does a call and waits for its end; call->finish and context are the engine's. Any thread, no callback. */
int64_t engine_call(struct engine *engine, struct socket_call *call);

#endif
