/* offload.c - calls that may block, on a few threads of their own; and names, which are such calls.
 * In: c10m_offload and c10m_resolve on workers. Out: callbacks on the same workers.
 * Owns: the threads, the jobs (a fixed number), the names that are asked for. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "run/errand.h"
#include "run/helpers.h"

#define JOBS     1024 /* waiting, under way, or on their way back */
#define RESOLVES 128

struct job {
	struct errand errand; /* first: a pointer to it is one to the job */
	uint32_t worker;
	void (*work)(void *argument);
	void (*done)(c10m_worker *worker, void *argument);
	void *argument;
	struct job *next; /* free, or in the queue */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct job jobs[JOBS], *free_jobs, *first, **last = &first;
static pthread_t threads[HELPERS_MAX];
static uint32_t thread_limit, thread_count, idle_count, queued;
static bool ending;

/* --- the threads --------------------------------------------------------------------------- */

static void give_back(struct job *job)
{
	pthread_mutex_lock(&lock);
	job->next = free_jobs;
	free_jobs = job;
	pthread_mutex_unlock(&lock);
}

static void come_back(c10m_worker *worker, struct errand *errand)
{
	struct job *job = (struct job *)errand, now = *job;

	give_back(job);
	if (now.done)
		now.done(worker, now.argument);
}

/* NULL: the end. */
static struct job *next_job(void)
{
	struct job *job;

	pthread_mutex_lock(&lock);
	idle_count++;
	while (!first && !ending)
		pthread_cond_wait(&changed, &lock);
	idle_count--;
	job = ending ? NULL : first;
	if (job) {
		queued--;
		first = job->next;
		if (!first)
			last = &first;
	}
	pthread_mutex_unlock(&lock);
	return job;
}

static void *help(void *unused)
{
	struct job *job;

	while ((job = next_job()) != NULL) {
		job->work(job->argument);
		job->errand.run = come_back;
		if (errand_give(job->worker, &job->errand) < 0)
			give_back(job);
	}
	return unused;
}

void offload_begin(uint32_t limit)
{
	free_jobs = NULL;
	for (uint32_t i = JOBS; i-- > 0;) {
		jobs[i].next = free_jobs;
		free_jobs = &jobs[i];
	}
	first = NULL;
	last = &first;
	queued = 0;
	thread_limit = limit;
	ending = false;
}

void offload_end(void)
{
	pthread_mutex_lock(&lock);
	ending = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	for (uint32_t i = 0; i < thread_count; i++)
		pthread_join(threads[i], NULL);
	thread_count = idle_count = thread_limit = 0;
}

/* --- the workers ------------------------------------------------------------------------------ */

/* One thread more when none is idle for one job more. At least one must be there. Under the lock. */
static int see_to_threads(void)
{
	int code;

	if (idle_count > queued || thread_count == thread_limit)
		return thread_limit > 0 ? 0 : -ESHUTDOWN;
	code = helper_start(&threads[thread_count], "c10m-helper", help, NULL);
	thread_count += code == 0;
	return thread_count > 0 ? 0 : code;
}

static int enqueue(uint32_t worker, void (*work)(void *argument),
		   void (*done)(c10m_worker *worker, void *argument), void *argument)
{
	int code = see_to_threads();
	struct job *job = free_jobs;

	if (code < 0)
		return code;
	if (!job)
		return -EAGAIN;
	free_jobs = job->next;
	*job = (struct job){.worker = worker, .work = work, .done = done, .argument = argument};
	*last = job;
	last = &job->next;
	queued++;
	pthread_cond_signal(&changed);
	return 0;
}

C10M_API int c10m_offload(c10m_worker *worker, void (*work)(void *argument),
			  void (*done)(c10m_worker *worker, void *argument), void *argument)
{
	int code;

	if (!work)
		return -EINVAL;
	pthread_mutex_lock(&lock);
	code = enqueue(c10m_worker_number(worker), work, done, argument);
	pthread_mutex_unlock(&lock);
	return code;
}

/* --- names -------------------------------------------------------------------------------------- */

static struct resolve {
	atomic_bool used;
	char name[254], service[32]; /* RFC 1035 section 2.3.4: 253 characters as text */
	c10m_resolve_callback *callback;
	void *argument;
	struct c10m_resolved resolved;
} resolves[RESOLVES];

static int error_of(int code)
{
	switch (code) {
	case EAI_AGAIN:
		return -EAGAIN;
	case EAI_MEMORY:
		return -ENOMEM;
	case EAI_SYSTEM:
		return errno ? -errno : -EIO;
	case EAI_FAIL:
		return -EIO;
	default:
		return -ENOENT;
	}
}

static void keep(struct c10m_resolved *resolved, const struct addrinfo *list)
{
	for (; list && resolved->count < C10M_RESOLVED_MAX; list = list->ai_next) {
		struct sockaddr_in address;

		if (list->ai_family != AF_INET || list->ai_addrlen < sizeof(address))
			continue;
		memcpy(&address, list->ai_addr, sizeof(address));
		resolved->addresses[resolved->count++] = ntohl(address.sin_addr.s_addr);
		resolved->port = ntohs(address.sin_port);
	}
}

static void look_up(void *argument)
{
	struct resolve *resolve = argument;
	const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
	const char *service = resolve->service[0] ? resolve->service : NULL;
	struct addrinfo *list = NULL;
	int code = getaddrinfo(resolve->name, service, &hints, &list);

	resolve->resolved.error = code ? error_of(code) : 0;
	if (code)
		return;
	keep(&resolve->resolved, list);
	freeaddrinfo(list);
	if (resolve->resolved.count == 0)
		resolve->resolved.error = -ENOENT;
}

static void tell(c10m_worker *worker, void *argument)
{
	struct resolve *resolve = argument;
	c10m_resolve_callback *callback = resolve->callback;
	struct c10m_resolved resolved = resolve->resolved;
	void *own = resolve->argument;

	atomic_store(&resolve->used, false);
	callback(worker, &resolved, own);
}

static struct resolve *take_resolve(void)
{
	for (uint32_t i = 0; i < RESOLVES; i++)
		if (!atomic_exchange(&resolves[i].used, true))
			return &resolves[i];
	return NULL;
}

C10M_API int c10m_resolve(c10m_worker *worker, const char *name, const char *service,
			  c10m_resolve_callback *callback, void *argument)
{
	struct resolve *resolve;
	int code;

	if (!name || !name[0] || strlen(name) >= sizeof(resolve->name) || !callback ||
	    (service && strlen(service) >= sizeof(resolve->service)))
		return -EINVAL;
	resolve = take_resolve();
	if (!resolve)
		return -EAGAIN;
	snprintf(resolve->name, sizeof(resolve->name), "%s", name);
	snprintf(resolve->service, sizeof(resolve->service), "%s", service ? service : "");
	resolve->callback = callback;
	resolve->argument = argument;
	resolve->resolved = (struct c10m_resolved){0};
	code = c10m_offload(worker, look_up, tell, resolve);
	if (code < 0)
		atomic_store(&resolve->used, false);
	return code;
}
