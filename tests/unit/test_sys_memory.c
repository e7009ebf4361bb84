/* test_sys_memory.c - a worker's memory: every kind of page or a sentence, and nothing left behind.
 * Runs as root and as anybody else; what a machine cannot give must be refused in words. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <numaif.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "sys/available.h"
#include "sys/hugepages.h"
#include "sys/memory.h"
#include "sys/numa.h"
#include "sys/populate.h"
#include "sys/process.h"
#include "sys/text.h"

#define MB         ((size_t)1 << 20)
#define SMALL      (40 * MB)
#define LIMIT_PATH "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages"

/* The administrator's limit: under the lock nobody has it raised. */
static uint64_t limit_of_surplus(void)
{
	int fd = open(LIMIT_PATH, O_RDONLY | O_CLOEXEC);
	uint64_t value = 0;

	if (fd < 0)
		return 0;
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(sys_text_read_u64(LIMIT_PATH, &value), 0);
	close(fd);
	return value;
}

static uint64_t limit_at_start;

static int remember_limit(void **state)
{
	(void)state;
	limit_at_start = limit_of_surplus();
	return 0;
}

static unsigned open_descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(folder);
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

static bool all_zero(const struct sys_memory *memory)
{
	const uint64_t *words = memory->base;
	uint64_t any = 0;

	for (size_t i = 0; i < memory->bytes / 8; i++)
		any |= words[i];
	return any == 0;
}

/* What every success promises, whatever the pages. */
static void check_mapped(const struct sys_memory *memory, size_t asked)
{
	void *second;

	assert_non_null(memory->base);
	assert_int_equal((uintptr_t)memory->base % memory->page_bytes, 0);
	assert_int_equal(memory->bytes % memory->page_bytes, 0);
	assert_in_range(memory->bytes, asked, asked + memory->page_bytes - 1);
	assert_true(all_zero(memory));
	assert_non_null(strstr(memory->sentence, sys_page_kind_name(memory->kind)));
	assert_true(memory->populate_ns > 0);
	/* A successor sees the same bytes, and nobody can cut them. */
	second = mmap(NULL, memory->bytes, PROT_READ, MAP_SHARED, memory->fd, 0);
	assert_ptr_not_equal(second, MAP_FAILED);
	((uint8_t *)memory->base)[memory->bytes - 1] = 77;
	assert_int_equal(((uint8_t *)second)[memory->bytes - 1], 77);
	munmap(second, memory->bytes);
	assert_int_equal(ftruncate(memory->fd, 0), -1);
}

static void check_refused(const struct sys_memory *memory, int ret, const char *error)
{
	assert_true(ret < 0);
	assert_null(memory->base);
	assert_int_equal(memory->fd, -1);
	assert_true(strlen(error) > 20);
}

/* Maps one kind; true when it was had. */
static bool try_kind(enum sys_page_kind kind, struct sys_usage *usage)
{
	const struct sys_memory_request request = {.name = "test", .bytes = SMALL, .kind = kind, .cpu = 0};
	unsigned descriptors = open_descriptors();
	struct sys_memory memory;
	char error[256] = "";
	int ret = sys_memory_map(&request, &memory, error);

	if (ret == 0) {
		if (kind != SYS_PAGES_BEST)
			assert_int_equal(memory.kind, kind);
		check_mapped(&memory, SMALL);
		assert_int_equal(sys_range_usage(memory.base, memory.bytes, usage), 0);
		sys_memory_unmap(&memory);
	} else {
		check_refused(&memory, ret, error);
		assert_non_null(strstr(error, sys_page_kind_name(kind)));
	}
	assert_int_equal(open_descriptors(), descriptors);
	return ret == 0;
}

static void the_best_is_always_something(void **state)
{
	struct sys_usage usage;

	(void)state;
	assert_true(try_kind(SYS_PAGES_BEST, &usage));
	assert_true(usage.resident_bytes >= SMALL);
}

static void plain_pages_are_always_had_and_plain(void **state)
{
	struct sys_usage usage;

	(void)state;
	assert_true(try_kind(SYS_PAGES_PLAIN, &usage));
	assert_true(usage.resident_bytes >= SMALL);
	assert_int_equal(usage.hugetlb_bytes, 0);
}

/* Since 6.1 they can be asked for, unless the administrator denies them. */
static bool kernel_gives_transparent(void)
{
	unsigned major = 0, minor = 0;
	struct utsname name;
	char text[256];

	assert_int_equal(uname(&name), 0);
	assert_int_equal(sscanf(name.release, "%u.%u", &major, &minor), 2);
	return (major > 6 || (major == 6 && minor >= 1)) &&
	       sys_text_read("/sys/kernel/mm/transparent_hugepage/shmem_enabled", text, sizeof(text)) > 0 &&
	       !strstr(text, "[deny]");
}

static void transparent_pages_are_huge_or_refused(void **state)
{
	struct sys_usage usage;

	(void)state;
	if (try_kind(SYS_PAGES_TRANSPARENT, &usage))
		assert_true(usage.transparent_bytes >= SMALL / 2);
	else
		assert_false(kernel_gives_transparent());
}

static void two_megabyte_pages_are_had_by_whoever_may(void **state)
{
	struct sys_usage usage;

	(void)state;
	if (try_kind(SYS_PAGES_2M, &usage))
		assert_true(usage.hugetlb_bytes >= SMALL);
	else
		assert_int_not_equal(access(LIMIT_PATH, W_OK), 0);
	assert_int_equal(limit_of_surplus(), limit_at_start);
}

/* Two are asked for, so that a machine with one reserved does not succeed by luck. */
static void gigabyte_pages_need_a_reservation(void **state)
{
	const struct sys_memory_request request = {.bytes = 2048 * MB, .kind = SYS_PAGES_1G, .cpu = -1};
	struct sys_huge_pool pool = {0};
	struct sys_memory memory;
	char error[256] = "";
	int ret;

	(void)state;
	if (sys_huge_pool_read(1024 * MB, &pool) == 0 && pool.overcommit + sys_huge_pool_ready(&pool) >= 2)
		return (void)assert_int_equal(try_kind(SYS_PAGES_1G, &(struct sys_usage){0}), true);
	ret = sys_memory_map(&request, &memory, error);
	check_refused(&memory, ret, error);
	assert_non_null(strstr(error, "1 GB huge pages"));
}

static void too_much_is_refused_in_words(void **state)
{
	unsigned descriptors = open_descriptors();
	uint64_t available;

	(void)state;
	assert_int_equal(sys_available_bytes(&available), 0);
	for (enum sys_page_kind kind = SYS_PAGES_BEST; kind <= SYS_PAGES_PLAIN; kind++) {
		const struct sys_memory_request request = {.bytes = available * 2, .kind = kind, .cpu = -1};
		struct sys_memory memory;
		char error[256] = "";
		int ret = sys_memory_map(&request, &memory, error);

		check_refused(&memory, ret, error);
		if (kind != SYS_PAGES_1G)
			assert_int_equal(ret, -ENOMEM);
	}
	assert_int_equal(limit_of_surplus(), limit_at_start);
	assert_int_equal(open_descriptors(), descriptors);
}

static void nonsense_is_refused(void **state)
{
	static const size_t sizes[] = {0, SIZE_MAX, SIZE_MAX - 4096};
	struct sys_memory memory;
	char error[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
		const struct sys_memory_request request = {.bytes = sizes[i], .cpu = -1};

		assert_int_equal(sys_memory_map(&request, &memory, error), -EINVAL);
		check_refused(&memory, -EINVAL, error);
	}
}

struct progress {
	unsigned calls;
	size_t done, total;
	bool backwards;
};

static void note_progress(void *context, size_t done_bytes, size_t total_bytes)
{
	struct progress *progress = context;

	progress->calls++;
	progress->backwards |= done_bytes < progress->done;
	progress->done = done_bytes;
	progress->total = total_bytes;
}

static void progress_is_told_up_to_the_end(void **state)
{
	struct progress progress = {0};
	const struct sys_memory_request request = {
		.bytes = 130 * MB,
		.kind = SYS_PAGES_PLAIN,
		.cpu = -1,
		.threads = 4,
		.progress = note_progress,
		.progress_context = &progress,
	};
	struct sys_memory memory;
	char error[256];

	(void)state;
	assert_int_equal(sys_memory_map(&request, &memory, error), 0);
	assert_true(progress.calls > 0);
	assert_false(progress.backwards);
	assert_int_equal(progress.done, memory.bytes);
	assert_int_equal(progress.total, memory.bytes);
	sys_memory_unmap(&memory);
}

/* Pages beyond the end of the object cannot be had: a touch of them would be a signal. */
static void missing_pages_are_an_error_not_a_signal(void **state)
{
	struct sys_populate populate = {.bytes = 64 * MB, .threads = 2};
	int fd = memfd_create("short", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(ftruncate(fd, 1 * (off_t)MB), 0);
	for (unsigned collapse = 0; collapse < 2; collapse++) {
		populate.base = mmap(NULL, populate.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		populate.collapse = collapse;
		assert_ptr_not_equal(populate.base, MAP_FAILED);
		assert_true(sys_populate_run(&populate) < 0);
		munmap(populate.base, populate.bytes);
	}
	close(fd);
}

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

/* The child dies with its memory mapped; a pipe tells when that is so. */
static void nothing_is_left_after_kill(void **state)
{
	const struct sys_memory_request request = {.name = "victim", .bytes = SMALL, .cpu = -1};
	struct sys_huge_pool before = {0}, after = {0};
	char error[256], kind = 0;
	int ends[2], status;
	pid_t child;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	sys_huge_pool_read(2 * MB, &before);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct sys_memory memory;

		kind = sys_memory_map(&request, &memory, error) == 0 ? (char)memory.kind : 0;
		if (write(ends[1], &kind, 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ends[0], &kind, 1), 1);
	assert_int_not_equal(kind, 0);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(limit_of_surplus(), limit_at_start);
	/* Others may use huge pages meanwhile: it is enough to see ours gone once. */
	for (unsigned i = 0; i < 250; i++) {
		sys_huge_pool_read(2 * MB, &after);
		if (after.surplus <= before.surplus)
			break;
		nap();
	}
	assert_true(after.surplus <= before.surplus);
	close(ends[0]);
	close(ends[1]);
}

/* Only who may write the limit can raise it; a value that somebody else wrote stays. */
static void the_limit_is_put_back_unless_changed(void **state)
{
	uint64_t limit = limit_at_start, value;
	struct sys_huge_raise raise;
	char text[32];
	int ret = sys_huge_raise_begin(&raise, 2 * MB, 1u << 20), bytes;

	(void)state;
	if (access(LIMIT_PATH, W_OK) != 0) {
		assert_true(ret < 0);
		assert_int_equal(raise.fd, -1);
		return;
	}
	assert_int_equal(ret, 0);
	assert_int_equal(sys_text_read_u64(LIMIT_PATH, &value), 0);
	assert_true(value > limit);
	assert_int_equal(raise.before, limit);
	sys_huge_raise_end(&raise);
	assert_int_equal(limit_of_surplus(), limit_at_start);

	assert_int_equal(sys_huge_raise_begin(&raise, 2 * MB, 1u << 20), 0);
	bytes = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)limit + 1);
	assert_int_equal(pwrite(raise.fd, text, (size_t)bytes, 0), bytes);
	sys_huge_raise_end(&raise);
	value = limit_of_surplus();
	/* Back to what the administrator had, before anything is asserted. */
	ret = open(LIMIT_PATH, O_WRONLY | O_CLOEXEC);
	assert_true(dprintf(ret, "%llu\n", (unsigned long long)limit) > 0);
	close(ret);
	assert_int_equal(value, limit + 1);
	assert_int_equal(limit_of_surplus(), limit_at_start);
}

static void numa_policies_come_and_go(void **state)
{
	void *base = mmap(NULL, MB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct sys_numa_scope scope = {0};
	int before = -1, during = -1, after = -1, range = -1;

	(void)state;
	assert_ptr_not_equal(base, MAP_FAILED);
	assert_false(sys_numa_enter(&scope, 100000));
	assert_int_equal(sys_numa_prefer(base, MB, 100000), -EINVAL);
	assert_int_equal(sys_numa_node(-1), -1);
	if (get_mempolicy(&before, NULL, 0, NULL, 0) != 0) {
		/* A kernel without NUMA, or a sandbox: nothing may seem to work. */
		assert_false(sys_numa_enter(&scope, 0));
		assert_true(sys_numa_prefer(base, MB, 0) < 0);
		return;
	}
	assert_true(sys_numa_enter(&scope, 0));
	assert_int_equal(get_mempolicy(&during, NULL, 0, NULL, 0), 0);
	assert_int_equal(during, MPOL_BIND);
	sys_numa_leave(&scope);
	assert_int_equal(get_mempolicy(&after, NULL, 0, NULL, 0), 0);
	assert_int_equal(after, before);
	assert_int_equal(sys_numa_prefer(base, MB, 0), 0);
	assert_int_equal(get_mempolicy(&range, NULL, 0, base, MPOL_F_ADDR), 0);
	assert_int_equal(range, MPOL_PREFERRED);
	munmap(base, MB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_best_is_always_something),
		cmocka_unit_test(plain_pages_are_always_had_and_plain),
		cmocka_unit_test(transparent_pages_are_huge_or_refused),
		cmocka_unit_test(two_megabyte_pages_are_had_by_whoever_may),
		cmocka_unit_test(gigabyte_pages_need_a_reservation),
		cmocka_unit_test(too_much_is_refused_in_words),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(progress_is_told_up_to_the_end),
		cmocka_unit_test(missing_pages_are_an_error_not_a_signal),
		cmocka_unit_test(nothing_is_left_after_kill),
		cmocka_unit_test(the_limit_is_put_back_unless_changed),
		cmocka_unit_test(numa_policies_come_and_go),
	};

	return cmocka_run_group_tests(tests, remember_limit, NULL);
}
