/* police.h - when SYNs are policed: while most of them lead to nothing.
 *
 * Each worker looks at its own stack ten times a second. Where many SYN cookies go out and few come back for
 * a while, it asks the XDP program to let few SYNs pass, but those that are sent again; it takes that back
 * when for two seconds few SYNs come, or most that pass complete their handshake, on whichever worker. A hook
 * of the worker; AF_XDP alone. */
#ifndef C10M_RUN_POLICE_H
#define C10M_RUN_POLICE_H

#include <stdatomic.h>
#include <stdio.h>

#include "port/afxdp.h"
#include "stack/stack.h"

/* Each processor lets so many SYNs pass in a second while they are policed. */
#define POLICE_FIRST_RATE 50000u
#define POLICE_AGAIN_RATE 200000u

/* Of the interface: shared by the workers. */
struct police {
	struct port *port;       /* any of its AF_XDP ports */
	atomic_uint alarmed;     /* workers that are under a flood */
	_Atomic uint64_t opened; /* handshakes completed, on all workers */
	void (*say)(void *context, const char *sentence);
	void *context;
};

/* A worker's. */
struct constable {
	struct police *police;
	const struct stack *stack;
	uint64_t look_us;                                /* when to look again */
	uint64_t cookies_sent, cookies_accepted, opened; /* when it looked last */
	uint64_t passed, dropped;                        /* SYNs, counted by the program, ... */
	uint64_t opened_by_all; /* ... and what became of them: at the last judgement */
	uint32_t bad;           /* looks on end */
	uint32_t looks;         /* since the last judgement */
	bool alarmed;
};

void constable_init(struct constable *constable, struct police *police, const struct stack *stack);
/* The parts of a hook. */
bool constable_run(void *context, uint64_t now_us);
uint64_t constable_deadline_us(void *context);

/* A line or two about what was policed; nothing when nothing was. */
void police_report(const struct police *police, FILE *to);

#endif
