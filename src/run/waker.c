/* waker.c - the eventfd behind a worker's sleep.
 * In: calls from any thread. Out: a readable descriptor. Owns: the descriptor. */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "run/waker.h"

int waker_init(struct waker *waker)
{
	atomic_init(&waker->asleep, false);
	waker->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return waker->fd < 0 ? -errno : 0;
}

void waker_fini(struct waker *waker)
{
	if (waker->fd >= 0)
		close(waker->fd);
	waker->fd = -1;
}

void waker_ring(struct waker *waker)
{
	const uint64_t one = 1;
	int saved = errno;

	/* Full means that it is readable already. */
	if (write(waker->fd, &one, sizeof(one)) < 0)
		errno = saved;
}

/* A ring that comes after the read makes the next sleep end at once, and is read then. */
void waker_done(struct waker *waker, bool rung)
{
	uint64_t count;

	atomic_store_explicit(&waker->asleep, false, memory_order_relaxed);
	if (rung && read(waker->fd, &count, sizeof(count)) < 0)
		CHECK(errno == EAGAIN || errno == EINTR);
}
