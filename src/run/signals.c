/* signals.c - SIGINT, SIGTERM and c10m_stop: how a run is told to end.
 * In: signals, calls from any thread. Out: worker_wind_down, the second time worker_stop. Owns: the handlers
 * while services run. */
#include <signal.h>
#include <stdatomic.h>

#include "run/run.h"
#include "run/worker.h"

static atomic_bool running;
static atomic_uint asked;                            /* how often */
static _Atomic(struct worker *) watched[STACKS_MAX]; /* up to the first NULL */
static struct sigaction old_interrupt, old_terminate;

static void tell(struct worker *worker, unsigned times)
{
	if (times > 1)
		worker_stop(worker);
	else
		worker_wind_down(worker);
}

C10M_API void c10m_stop(void)
{
	unsigned times = atomic_fetch_add(&asked, 1) + 1;
	struct worker *worker;

	for (uint32_t i = 0; i < STACKS_MAX && (worker = atomic_load(&watched[i])) != NULL; i++)
		tell(worker, times);
}

static void on_signal(int number)
{
	(void)number;
	c10m_stop();
}

bool run_signals_begin(void)
{
	/* Without SA_RESTART: a signal ends a sleep at once. */
	struct sigaction action = {.sa_handler = on_signal};

	if (atomic_exchange(&running, true))
		return false;
	atomic_store(&asked, 0);
	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, &old_interrupt);
	sigaction(SIGTERM, &action, &old_terminate);
	return true;
}

void run_signals_watch(struct worker *worker)
{
	atomic_store(&watched[worker->config.number], worker);
	if (atomic_load(&asked) > 0)
		tell(worker, atomic_load(&asked));
}

/* The handlers go first: after that only another thread's c10m_stop could still hold the worker,
 * and it only writes to a descriptor and a flag that live in run_services' frame until later. */
void run_signals_end(void)
{
	sigaction(SIGINT, &old_interrupt, NULL);
	sigaction(SIGTERM, &old_terminate, NULL);
	for (uint32_t i = 0; i < STACKS_MAX; i++)
		atomic_store(&watched[i], NULL);
	atomic_store(&running, false);
}
