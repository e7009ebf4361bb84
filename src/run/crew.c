/* crew.c - starts threads together and waits for their end.
 * In: what each is to do. Out: an error when one cannot. Owns: the threads. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "run/crew.h"

enum crew_signal { CREW_WAIT, CREW_GO, CREW_GIVE_UP };

struct start {
	const struct crew *crew;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint32_t prepared; /* threads that have tried */
	int code;          /* of the first that failed */
	enum crew_signal signal;
	char *error;
};

struct thread {
	struct start *start;
	void *member;
	pthread_t id;
};

static void prepare(struct start *start, void *member)
{
	char error[CREW_ERROR_BYTES] = "";
	int code = start->crew->prepare(member, error);

	pthread_mutex_lock(&start->lock);
	if (code < 0 && start->code == 0) {
		start->code = code;
		memcpy(start->error, error, CREW_ERROR_BYTES);
	}
	start->prepared++;
	pthread_cond_broadcast(&start->changed);
	pthread_mutex_unlock(&start->lock);
}

static void *thread_main(void *argument)
{
	const struct thread *thread = argument;
	struct start *start = thread->start;
	bool go;

	prepare(start, thread->member);
	pthread_mutex_lock(&start->lock);
	while (start->signal == CREW_WAIT)
		pthread_cond_wait(&start->changed, &start->lock);
	go = start->signal == CREW_GO;
	pthread_mutex_unlock(&start->lock);
	if (go)
		start->crew->run(thread->member);
	return NULL;
}

/* Returns how many threads there are, the caller's not counted. */
static uint32_t begin_threads(struct start *start, struct thread *threads)
{
	uint32_t begun = 0;
	int code = 0;

	for (uint32_t i = 1; i < start->crew->count && code == 0; i++) {
		threads[i] = (struct thread){.start = start, .member = start->crew->members[i]};
		code = pthread_create(&threads[i].id, NULL, thread_main, &threads[i]);
		begun += code == 0;
	}
	if (code != 0) {
		pthread_mutex_lock(&start->lock);
		start->code = -code;
		snprintf(start->error, CREW_ERROR_BYTES,
			 "no thread can be started (%s): use fewer workers, or raise 'ulimit -u'",
			 strerror(code));
		pthread_mutex_unlock(&start->lock);
	}
	return begun;
}

static bool wait_for_all(struct start *start, uint32_t count)
{
	bool good;

	pthread_mutex_lock(&start->lock);
	while (start->prepared < count)
		pthread_cond_wait(&start->changed, &start->lock);
	good = start->code == 0;
	pthread_mutex_unlock(&start->lock);
	return good;
}

static void tell(struct start *start, enum crew_signal signal)
{
	pthread_mutex_lock(&start->lock);
	start->signal = signal;
	pthread_cond_broadcast(&start->changed);
	pthread_mutex_unlock(&start->lock);
}

int crew_run(const struct crew *crew, char error[CREW_ERROR_BYTES])
{
	struct start start = {.crew = crew, .error = error};
	struct thread threads[CREW_MAX];
	uint32_t begun;
	bool good;

	CHECK(crew->count > 0 && crew->count <= CREW_MAX);
	pthread_mutex_init(&start.lock, NULL);
	pthread_cond_init(&start.changed, NULL);
	begun = begin_threads(&start, threads);
	prepare(&start, crew->members[0]);
	good = wait_for_all(&start, begun + 1);
	if (good && crew->ready)
		crew->ready(crew->context);
	tell(&start, good ? CREW_GO : CREW_GIVE_UP);
	if (good)
		crew->run(crew->members[0]);
	for (uint32_t i = 1; i <= begun; i++)
		pthread_join(threads[i].id, NULL);
	pthread_cond_destroy(&start.changed);
	pthread_mutex_destroy(&start.lock);
	return start.code;
}
