/* populate.c - every page of a mapping is made now, not at its first touch.
 * In: a mapping.  Out: the same, all of it in memory, or an error instead of a signal.
 * Owns: helper threads while it runs; they share one cursor over slices. */
#define _GNU_SOURCE
#include "sys/populate.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>

/* Since Linux 5.14 and 6.1; the C library of Debian 12 knows the first only. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define SLICE_BYTES ((size_t)32 << 20)
#define HUGE_BYTES  ((size_t)2 << 20)
#define HELPERS_MAX 63
#define POLL_NS     5000000

struct run {
	const struct sys_populate *what;
	atomic_size_t next; /* first byte that nobody has taken */
	atomic_size_t done;
	atomic_int error; /* the first that happened, positive */
};

/* One written byte in each huge page gives it a page table, which collapsing needs;
 * the whole is then made, cleared and mapped in one step, whatever the setting
 * shmem_enabled says. Where it fails, plain pages follow and the caller sees it. */
static int collapse_slice(uint8_t *base, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += HUGE_BYTES) {
		if (madvise(base + at, 4096, MADV_POPULATE_WRITE) != 0)
			return errno;
	}
	(void)madvise(base, bytes, MADV_COLLAPSE);
	return 0;
}

static int populate_slice(const struct sys_populate *what, size_t start, size_t bytes)
{
	int error = what->collapse ? collapse_slice(what->base + start, bytes) : 0;

	while (error == 0 && madvise(what->base + start, bytes, MADV_POPULATE_WRITE) != 0) {
		if (errno != EINTR && errno != EAGAIN)
			error = errno;
	}
	/* Before 5.14 the kernel does not know the advice. */
	return error == EINVAL ? ENOSYS : error;
}

/* False when nothing is left to take, or something failed. */
static bool run_slice(struct run *run)
{
	size_t start = atomic_fetch_add(&run->next, SLICE_BYTES), bytes;
	int error, none = 0;

	if (start >= run->what->bytes || atomic_load(&run->error) != 0)
		return false;
	bytes = MIN_OF(SLICE_BYTES, run->what->bytes - start);
	error = populate_slice(run->what, start, bytes);
	if (error != 0)
		atomic_compare_exchange_strong(&run->error, &none, error);
	atomic_fetch_add(&run->done, bytes);
	return error == 0;
}

static void *helper_main(void *context)
{
	while (run_slice(context))
		;
	return NULL;
}

static void report(const struct run *run, size_t done)
{
	if (run->what->progress)
		run->what->progress(run->what->progress_context, done, run->what->bytes);
}

/* Works along with the helpers, then waits for their last slices. */
static void run_main(struct run *run)
{
	const struct timespec wait = {.tv_nsec = POLL_NS};
	size_t told = 0, done;

	while (run_slice(run)) {
		told = atomic_load(&run->done);
		report(run, told);
	}
	while (told < run->what->bytes && atomic_load(&run->error) == 0) {
		done = atomic_load(&run->done);
		if (done != told)
			report(run, done);
		told = done;
		if (told < run->what->bytes)
			nanosleep(&wait, NULL);
	}
}

int sys_populate_run(const struct sys_populate *populate)
{
	struct run run = {.what = populate};
	size_t slices = (populate->bytes + SLICE_BYTES - 1) / SLICE_BYTES;
	size_t wanted = MIN_OF(MIN_OF((size_t)populate->threads, slices), (size_t)HELPERS_MAX + 1);
	pthread_t helpers[HELPERS_MAX];
	size_t started = 0;

	/* A thread that cannot be started is not missed: the others do its share. */
	while (started + 1 < wanted && pthread_create(&helpers[started], NULL, helper_main, &run) == 0)
		started++;
	run_main(&run);
	while (started > 0)
		pthread_join(helpers[--started], NULL);
	return -atomic_load(&run.error);
}
