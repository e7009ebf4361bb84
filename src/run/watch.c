/* watch.c - kernel descriptors that a worker waits for, without a system call of its own while they are
 * quiet. In: c10m_watch_fd on workers; what the kernel says of the descriptors, on a thread of its own. Out:
 * callbacks on the workers. Owns: the table of watches, the thread and its epoll descriptor.
 *
 * A watch is armed for one event. The thread hands it to its worker, which calls back and arms it again: so
 * there is at most one event of each under way, and a worker that is slow is not flooded. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "run/errand.h"
#include "run/helpers.h"

#define WATCHES 1024
#define EVENTS  64
#define NO_DATA UINT64_MAX /* of the pipe that ends the thread */

struct watch {
	struct errand errand; /* first: a pointer to it is one to the watch */
	bool used;            /* somebody waits */
	bool given;           /* the errand is on its way: the entry cannot be used anew */
	int fd;
	uint32_t worker, generation;
	unsigned wanted, seen;
	c10m_watch_callback *callback;
	void *argument;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct watch watches[WATCHES];
static bool running;
static pthread_t thread;
static int epoll_fd, end_fds[2]; /* while it runs */

/* --- under the lock ---------------------------------------------------------------------- */

static int arm(struct watch *watch, int operation)
{
	struct epoll_event event = {
		.events = EPOLLONESHOT | (watch->wanted & C10M_WATCH_READ ? EPOLLIN | EPOLLRDHUP : 0u) |
			  (watch->wanted & C10M_WATCH_WRITE ? EPOLLOUT : 0u),
		.data.u64 = (uint64_t)watch->generation << 32 | (uint32_t)(watch - watches),
	};

	return epoll_ctl(epoll_fd, operation, watch->fd, &event) < 0 ? -errno : 0;
}

static struct watch *find(int fd)
{
	for (uint32_t i = 0; i < WATCHES; i++)
		if (watches[i].used && watches[i].fd == fd)
			return &watches[i];
	return NULL;
}

/* Those whose descriptors were closed without a word are looked for when there is no other. */
static struct watch *find_free(void)
{
	for (uint32_t i = 0; i < WATCHES; i++)
		if (!watches[i].used && !watches[i].given)
			return &watches[i];
	for (uint32_t i = 0; i < WATCHES; i++)
		if (!watches[i].given && fcntl(watches[i].fd, F_GETFD) < 0)
			return &watches[i];
	return NULL;
}

/* --- the thread ----------------------------------------------------------------------------- */

static void fire(c10m_worker *worker, struct errand *errand)
{
	struct watch *watch = (struct watch *)errand, now;

	pthread_mutex_lock(&lock);
	watch->given = false;
	now = *watch;
	pthread_mutex_unlock(&lock);
	if (!now.used)
		return;
	now.callback(worker, now.fd, now.seen, now.argument);
	pthread_mutex_lock(&lock);
	if (watch->used && watch->generation == now.generation && arm(watch, EPOLL_CTL_MOD) < 0)
		watch->used = false; /* it was closed */
	pthread_mutex_unlock(&lock);
}

static void see(const struct epoll_event *event)
{
	struct watch *watch = &watches[(uint32_t)event->data.u64];

	pthread_mutex_lock(&lock);
	if (watch->used && !watch->given && watch->generation == event->data.u64 >> 32) {
		watch->seen = (event->events & (EPOLLIN | EPOLLRDHUP) ? C10M_WATCH_READ : 0) |
			      (event->events & EPOLLOUT ? C10M_WATCH_WRITE : 0) |
			      (event->events & (EPOLLERR | EPOLLHUP) ? C10M_WATCH_ERROR : 0);
		watch->given = true;
		watch->errand.run = fire;
		if (errand_give(watch->worker, &watch->errand) < 0)
			watch->used = watch->given = false;
	}
	pthread_mutex_unlock(&lock);
}

static void *watch_all(void *unused)
{
	struct epoll_event events[EVENTS];

	for (;;) {
		int count = epoll_wait(epoll_fd, events, EVENTS, -1);

		for (int i = 0; i < count; i++) {
			if (events[i].data.u64 == NO_DATA)
				return unused;
			see(&events[i]);
		}
	}
}

static int begin(void)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = NO_DATA};
	int code = 0;

	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		return -errno;
	if (pipe2(end_fds, O_CLOEXEC) < 0) {
		code = -errno;
		close(epoll_fd);
		return code;
	}
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, end_fds[0], &event) < 0)
		code = -errno;
	if (code == 0)
		code = helper_start(&thread, "c10m-watcher", watch_all, NULL);
	if (code == 0) {
		running = true;
		return 0;
	}
	close(epoll_fd);
	close(end_fds[0]);
	close(end_fds[1]);
	return code;
}

void watch_end(void)
{
	if (!running)
		return;
	close(end_fds[1]); /* the other end becomes readable */
	pthread_join(thread, NULL);
	close(end_fds[0]);
	close(epoll_fd);
	running = false;
	for (uint32_t i = 0; i < WATCHES; i++)
		watches[i].used = watches[i].given = false;
}

/* --- the workers ------------------------------------------------------------------------------ */

static int start_watch(const struct watch *wanted)
{
	struct watch *watch = find(wanted->fd);
	uint32_t generation;
	int code;

	if (watch && arm(watch, EPOLL_CTL_MOD) == 0)
		return -EEXIST;
	if (watch)
		watch->used = false; /* that one was closed; this has its number by chance */
	watch = find_free();
	if (!watch)
		return -ENOSPC;
	generation = watch->generation + 1;
	*watch = *wanted;
	watch->generation = generation;
	code = arm(watch, EPOLL_CTL_ADD);
	if (code == -EEXIST) /* a copy of the one that was closed is open: epoll takes this for the same */
		code = arm(watch, EPOLL_CTL_MOD);
	watch->used = code == 0;
	return code;
}

C10M_API int c10m_watch_fd(c10m_worker *worker, int fd, unsigned events, c10m_watch_callback *callback,
			   void *argument)
{
	const struct watch wanted = {.fd = fd,
				     .worker = c10m_worker_number(worker),
				     .wanted = events,
				     .callback = callback,
				     .argument = argument};
	int code = 0;

	if (fd < 0 || !callback || events == 0 || events & ~(C10M_WATCH_READ | C10M_WATCH_WRITE))
		return -EINVAL;
	pthread_mutex_lock(&lock);
	if (!running)
		code = begin();
	if (code == 0)
		code = start_watch(&wanted);
	pthread_mutex_unlock(&lock);
	return code;
}

C10M_API int c10m_unwatch_fd(c10m_worker *worker, int fd)
{
	struct watch *watch;

	pthread_mutex_lock(&lock);
	watch = find(fd);
	if (watch && watch->worker != c10m_worker_number(worker))
		watch = NULL;
	if (watch) {
		watch->used = false;
		epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL); /* refused when it was closed */
	}
	pthread_mutex_unlock(&lock);
	return watch ? 0 : -ENOENT;
}
