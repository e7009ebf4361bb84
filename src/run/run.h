/* run.h - services run on the machine: from options to the exit code. */
#ifndef C10M_RUN_RUN_H
#define C10M_RUN_RUN_H

#include "run/config.h"

struct worker;

/* What a program adds to the options that every server has. */
struct run_program {
	const char *name;                 /* in front of sentences; NULL: argv[0] */
	const char *usage, *about;        /* NULL: made from the services */
	const struct option_group *extra; /* may be NULL */
	/* Each may be NULL. defaults: before the options are read. check: behind c10m's own checks; false and
	 * a sentence when they make no sense together. ended: the workers have, and their counters are there.
	 */
	void (*defaults)(struct run_config *config);
	bool (*check)(struct run_config *config, char error[OPTIONS_ERROR_BYTES]);
	void (*ended)(const struct worker *const *workers, uint32_t count);
};

#define RUN_OK      0
#define RUN_REFUSED 1 /* by the machine */
#define RUN_WRONG   2 /* usage */

/* Parses, starts, runs until a signal or c10m_stop, and cleans up. `services` is changed (--port) and
 * must live until it returns. Returns the exit code. prepare: called when the options are known and before
 * anything starts; may be NULL. */
int run_main(int argc, char **argv, const struct run_program *program, struct c10m_service *services,
	     uint32_t service_count, void (*prepare)(void));

/* start.c: starts and runs; a sentence on standard error when the machine refuses. */
int run_services(const char *name, const struct run_program *program, const struct run_config *config,
		 const struct c10m_service *services, uint32_t service_count);

/* signals.c: whom SIGINT, SIGTERM and c10m_stop stop. */
/* False when services run already in this process. Forgets stops that were asked for earlier. */
bool run_signals_begin(void);
/* From here on signals reach this worker, too, and stops asked for since run_signals_begin take effect.
 * Workers are named in the order of their numbers, from 0. */
void run_signals_watch(struct worker *worker);
void run_signals_end(void);

#endif
