/* hugepages.c - pools of huge pages below /sys/kernel/mm/hugepages.
 * In: a page size.  Out: what the pool holds; a limit raised for a moment.
 * Owns: the lock on the limit while it is raised. */
#define _GNU_SOURCE
#include "sys/hugepages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "sys/text.h"

#define LOCK_TRIES   100
#define LOCK_WAIT_NS 50000000

#define PATH_BYTES 128

static const char *pool_path(char path[PATH_BYTES], size_t page_bytes, const char *file)
{
	snprintf(path, PATH_BYTES, "/sys/kernel/mm/hugepages/hugepages-%zukB/%s", page_bytes / 1024, file);
	return path;
}

int sys_huge_pool_read(size_t page_bytes, struct sys_huge_pool *pool)
{
	const struct {
		const char *file;
		uint64_t *value;
	} fields[] = {
		{"free_hugepages", &pool->free},
		{"resv_hugepages", &pool->promised},
		{"surplus_hugepages", &pool->surplus},
		{"nr_overcommit_hugepages", &pool->overcommit},
	};
	char path[PATH_BYTES];

	for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
		int ret = sys_text_read_u64(pool_path(path, page_bytes, fields[i].file), fields[i].value);

		if (ret < 0)
			return ret;
	}
	return 0;
}

uint64_t sys_huge_pool_ready(const struct sys_huge_pool *pool)
{
	return pool->free - MIN_OF(pool->free, pool->promised);
}

/* Anyone who may read the file can hold the lock, so the wait is bounded: 5 seconds. */
static int lock_patiently(int fd)
{
	const struct timespec wait = {.tv_nsec = LOCK_WAIT_NS};

	for (unsigned i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		nanosleep(&wait, NULL);
	}
	return -EBUSY;
}

static int write_limit(int fd, uint64_t value)
{
	char text[32];
	int bytes = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)value);

	return pwrite(fd, text, (size_t)bytes, 0) == bytes ? 0 : -errno;
}

static int raise_locked(struct sys_huge_raise *raise, size_t page_bytes, uint64_t pages)
{
	struct sys_huge_pool pool;
	uint64_t ready;
	int ret = lock_patiently(raise->fd);

	if (ret == 0)
		ret = sys_huge_pool_read(page_bytes, &pool);
	if (ret < 0)
		return ret;
	raise->before = pool.overcommit;
	ready = MIN_OF(sys_huge_pool_ready(&pool), pages);
	raise->raised = MAX_OF(pool.overcommit, pool.surplus + pages - ready);
	return raise->raised > raise->before ? write_limit(raise->fd, raise->raised) : 0;
}

int sys_huge_raise_begin(struct sys_huge_raise *raise, size_t page_bytes, uint64_t pages)
{
	char path[PATH_BYTES];
	int ret;

	raise->fd = open(pool_path(path, page_bytes, "nr_overcommit_hugepages"), O_RDWR | O_CLOEXEC);
	if (raise->fd < 0)
		return -errno;
	ret = raise_locked(raise, page_bytes, pages);
	if (ret < 0) {
		close(raise->fd);
		raise->fd = -1;
	}
	return ret;
}

void sys_huge_raise_end(struct sys_huge_raise *raise)
{
	char text[32] = "";
	unsigned long long now = 0;

	if (raise->fd < 0)
		return;
	if (pread(raise->fd, text, sizeof(text) - 1, 0) > 0 && sscanf(text, "%llu", &now) == 1 &&
	    now == raise->raised && raise->raised != raise->before)
		(void)write_limit(raise->fd, raise->before);
	close(raise->fd);
	raise->fd = -1;
}
