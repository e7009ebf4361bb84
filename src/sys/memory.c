/* memory.c - a worker's memory in the best pages to be had.
 * In: how many bytes, for which cpu.  Out: a populated shared memory object, what it is
 * made of, and why of nothing better.
 * Owns: the mapping and its descriptor, until sys_memory_unmap. */
#define _GNU_SOURCE
#include "sys/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sys/available.h"
#include "sys/clock.h"
#include "sys/hugepages.h"
#include "sys/numa.h"
#include "sys/populate.h"
#include "sys/process.h"
#include "sys/text.h"

#ifndef MFD_HUGE_SHIFT
#define MFD_HUGE_SHIFT 26
#endif

#define BYTES_2M ((size_t)2 << 20)
#define BYTES_1G ((size_t)1 << 30)

#define REASON_BYTES 224

/* One kind of pages being tried. */
struct attempt {
	const struct sys_memory_request *request;
	struct sys_memory *memory;
	int node;                  /* -1: nothing to place */
	char reason[REASON_BYTES]; /* why it failed */
};

const char *sys_page_kind_name(enum sys_page_kind kind)
{
	static const char *const names[] = {
		[SYS_PAGES_BEST] = "the best pages", [SYS_PAGES_1G] = "1 GB huge pages",
		[SYS_PAGES_2M] = "2 MB huge pages",  [SYS_PAGES_TRANSPARENT] = "transparent huge pages",
		[SYS_PAGES_PLAIN] = "plain pages",
	};

	return (unsigned)kind < ARRAY_COUNT(names) ? names[kind] : "unknown pages";
}

static unsigned thread_count(const struct sys_memory_request *request)
{
	cpu_set_t set;

	if (request->threads > 0)
		return request->threads;
	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

static int refuse(struct attempt *attempt, const char *what, int error)
{
	snprintf(attempt->reason, REASON_BYTES, "%s failed: %s", what, strerror(error));
	return -error;
}

/* Sealed, so that nobody who is handed the descriptor can cut it under our feet. */
static int open_object(struct attempt *attempt, unsigned flags)
{
	const char *name = attempt->request->name ? attempt->request->name : "c10m";
	struct sys_memory *memory = attempt->memory;

	memory->fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
	if (memory->fd < 0)
		return refuse(attempt, "memfd_create", errno);
	if (ftruncate(memory->fd, (off_t)memory->bytes) != 0)
		return refuse(attempt, "ftruncate", errno);
	if (fcntl(memory->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
		return refuse(attempt, "sealing the memory object", errno);
	return 0;
}

/* Places the mapping and fills it. A core dump leaves it out: it holds secrets. */
static int fill(struct attempt *attempt)
{
	struct sys_memory *memory = attempt->memory;
	const struct sys_populate populate = {
		.base = memory->base,
		.bytes = memory->bytes,
		.collapse = memory->kind == SYS_PAGES_TRANSPARENT,
		.threads = thread_count(attempt->request),
		.progress = attempt->request->progress,
		.progress_context = attempt->request->progress_context,
	};
	int ret;

	(void)madvise(memory->base, memory->bytes, MADV_DONTDUMP);
	if (attempt->node >= 0 && sys_numa_prefer(memory->base, memory->bytes, attempt->node) == 0)
		memory->numa_node = attempt->node;
	ret = sys_populate_run(&populate);
	if (ret == -ENOSYS) {
		snprintf(attempt->reason, REASON_BYTES,
			 "the kernel cannot populate memory on request: Linux 5.14 "
			 "or newer is needed");
	} else if (ret < 0) {
		snprintf(attempt->reason, REASON_BYTES, "the kernel did not give all pages: %s",
			 strerror(-ret));
		ret = -ENOMEM;
	}
	return ret;
}

/* The kernel promises all pages of a shared mapping when it is made, or refuses. */
static int map_huge(struct attempt *attempt)
{
	struct sys_memory *memory = attempt->memory;
	struct sys_numa_scope scope = {0};

	if (attempt->node >= 0)
		sys_numa_enter(&scope, attempt->node);
	memory->base = mmap(NULL, memory->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory->fd, 0);
	sys_numa_leave(&scope);
	if (memory->base == MAP_FAILED && attempt->node >= 0)
		memory->base = mmap(NULL, memory->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory->fd, 0);
	if (memory->base != MAP_FAILED)
		return 0;
	memory->base = NULL;
	return refuse(attempt, "mapping (memory may be too fragmented)", errno);
}

/* 0 when the pool has, or may make, what is needed; else the reason why not. */
static int check_pool(struct attempt *attempt, uint64_t *missing, bool *raise)
{
	const struct sys_memory *memory = attempt->memory;
	uint64_t pages = memory->bytes / memory->page_bytes, ready;
	struct sys_huge_pool pool;

	if (sys_huge_pool_read(memory->page_bytes, &pool) < 0) {
		snprintf(attempt->reason, REASON_BYTES, "this kernel offers none");
		return -ENOENT;
	}
	ready = sys_huge_pool_ready(&pool);
	*missing = pages - MIN_OF(pages, ready);
	*raise = *missing > pool.overcommit - MIN_OF(pool.overcommit, pool.surplus);
	if (memory->kind == SYS_PAGES_1G && *raise) {
		snprintf(attempt->reason, REASON_BYTES, "%llu free, %llu needed", (unsigned long long)ready,
			 (unsigned long long)pages);
		return -ENOMEM;
	}
	if (*missing == 0)
		return 0;
	/* Huge pages are not charged to the control group. */
	return sys_available_check(*missing * memory->page_bytes, false, attempt->reason, REASON_BYTES);
}

static int map_raised(struct attempt *attempt, uint64_t missing)
{
	const struct sys_memory *memory = attempt->memory;
	uint64_t pages = memory->bytes / memory->page_bytes;
	struct sys_huge_raise raise;
	int ret = sys_huge_raise_begin(&raise, memory->page_bytes, pages);

	if (ret < 0) {
		snprintf(attempt->reason, REASON_BYTES, "%llu of %llu are missing, and %s%s",
			 (unsigned long long)missing, (unsigned long long)pages,
			 ret == -EACCES ? "only root may add them" : "adding them failed: ",
			 ret == -EACCES ? "" : strerror(-ret));
		return ret;
	}
	ret = map_huge(attempt);
	sys_huge_raise_end(&raise);
	return ret;
}

static int try_huge(struct attempt *attempt)
{
	struct sys_memory *memory = attempt->memory;
	unsigned size_bits = (unsigned)__builtin_ctzll(memory->page_bytes);
	uint64_t missing;
	bool raise;
	int ret;

	if (memory->kind == SYS_PAGES_1G && attempt->request->kind == SYS_PAGES_BEST &&
	    attempt->request->bytes < BYTES_1G / 2) {
		snprintf(attempt->reason, REASON_BYTES, "too large for so little memory");
		return -EINVAL;
	}
	ret = check_pool(attempt, &missing, &raise);
	if (ret == 0)
		ret = open_object(attempt, MFD_HUGETLB | size_bits << MFD_HUGE_SHIFT);
	if (ret == 0)
		ret = raise ? map_raised(attempt, missing) : map_huge(attempt);
	if (ret == 0)
		ret = fill(attempt);
	memory->huge_bytes = memory->bytes;
	return ret;
}

/* At a multiple of 2 MB, which huge pages need: cut out of a larger reservation. */
static int map_aligned(struct attempt *attempt)
{
	struct sys_memory *memory = attempt->memory;
	size_t reserved = memory->bytes + BYTES_2M;
	uint8_t *whole = mmap(NULL, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *base, *end;

	if (whole == MAP_FAILED)
		return refuse(attempt, "mapping", errno);
	base = (uint8_t *)ALIGN_UP((uintptr_t)whole, (uintptr_t)BYTES_2M);
	end = base + memory->bytes;
	if (mmap(base, memory->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memory->fd, 0) ==
	    MAP_FAILED) {
		int error = errno;

		munmap(whole, reserved);
		return refuse(attempt, "mapping", error);
	}
	if (base > whole)
		munmap(whole, (size_t)(base - whole));
	if (end < whole + reserved)
		munmap(end, (size_t)(whole + reserved - end));
	memory->base = base;
	return 0;
}

/* Transparent huge pages that cover less than half are no better than none. */
static int count_huge(struct attempt *attempt)
{
	struct sys_memory *memory = attempt->memory;
	char got[SYS_SIZE_BYTES], all[SYS_SIZE_BYTES];
	struct sys_usage usage;

	if (sys_range_usage(memory->base, memory->bytes, &usage) < 0)
		return refuse(attempt, "reading /proc/self/smaps", ENOTSUP);
	memory->huge_bytes = usage.transparent_bytes;
	if (memory->kind == SYS_PAGES_PLAIN || memory->huge_bytes >= memory->bytes / 2)
		return 0;
	snprintf(attempt->reason, REASON_BYTES,
		 "the kernel gave %s of %s (see shmem_enabled in "
		 "/sys/kernel/mm/transparent_hugepage)",
		 sys_text_size(memory->huge_bytes, got), sys_text_size(memory->bytes, all));
	return -ENOMEM;
}

static int try_shared(struct attempt *attempt)
{
	struct sys_memory *memory = attempt->memory;
	bool huge = memory->kind == SYS_PAGES_TRANSPARENT;
	int ret = sys_available_check(memory->bytes, true, attempt->reason, REASON_BYTES);

	if (ret == 0)
		ret = open_object(attempt, 0);
	if (ret == 0)
		ret = map_aligned(attempt);
	if (ret < 0)
		return ret;
	/* A kernel without them refuses the advice: then plain pages it is. */
	(void)madvise(memory->base, memory->bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	ret = fill(attempt);
	return ret < 0 ? ret : count_huge(attempt);
}

static int try_kind(struct attempt *attempt, enum sys_page_kind kind)
{
	size_t bytes = attempt->request->bytes, page_bytes = BYTES_2M;
	struct sys_memory *memory = attempt->memory;
	int ret;

	if (kind == SYS_PAGES_1G)
		page_bytes = BYTES_1G;
	else if (kind == SYS_PAGES_PLAIN)
		page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	memory->fd = -1;
	memory->base = NULL;
	memory->kind = kind;
	memory->page_bytes = page_bytes;
	memory->bytes = ALIGN_UP(bytes, page_bytes);
	memory->huge_bytes = 0;
	memory->numa_node = -1;
	ret = kind == SYS_PAGES_1G || kind == SYS_PAGES_2M ? try_huge(attempt) : try_shared(attempt);
	if (ret < 0)
		sys_memory_unmap(memory);
	return ret;
}

static size_t append(char *text, size_t room, size_t used, const char *more)
{
	int added = snprintf(text + used, room - used, "%s", more);

	return MIN_OF(used + (size_t)MAX_OF(added, 0), room - 1);
}

/* Costs: docs/design.md section 1, one dependent load somewhere in 4 GB. Other machines
 * differ in the figures more than in their ratio; bench/memory measures both. */
static void describe(const struct attempt *attempt)
{
	static const char *const costs[] = {
		[SYS_PAGES_1G] = ", the fastest there are",
		[SYS_PAGES_2M] = ", where a random access takes 287 ns against 470 in plain pages",
		[SYS_PAGES_TRANSPARENT] =
			", as fast as reserved ones: 287 ns for a random access against 470 in plain "
			"pages",
		[SYS_PAGES_PLAIN] = ", where a random access takes 470 ns against 287 in huge pages",
	};
	struct sys_memory *memory = attempt->memory;
	const size_t room = sizeof(memory->sentence);
	char size[SYS_SIZE_BYTES], line[256];
	size_t used;

	snprintf(line, sizeof(line), "%s in %s%s (filled in %.2f s)", sys_text_size(memory->bytes, size),
		 sys_page_kind_name(memory->kind), costs[memory->kind], (double)memory->populate_ns / 1e9);
	used = append(memory->sentence, room, 0, line);
	if (memory->numa_node >= 0)
		snprintf(line, sizeof(line), ", on NUMA node %d", memory->numa_node);
	else
		snprintf(line, sizeof(line), "%s",
			 attempt->request->cpu < 0 ? ""
						   : ", not placed on a NUMA node: "
						     "there is one only");
	if (attempt->node >= 0 && memory->numa_node < 0)
		snprintf(line, sizeof(line), ", not placed on NUMA node %d: the kernel refused",
			 attempt->node);
	used = append(memory->sentence, room, used, line);
	used = append(memory->sentence, room, used, ".");
	if (memory->why[0] && memory->kind > SYS_PAGES_2M) {
		used = append(memory->sentence, room, used, " Not better because: ");
		used = append(memory->sentence, room, used, memory->why);
		used = append(memory->sentence, room, used, ".");
	}
	if (memory->kind == SYS_PAGES_PLAIN && attempt->request->kind == SYS_PAGES_BEST) {
		snprintf(line, sizeof(line),
			 " Run as root, or reserve huge pages: sysctl -w vm.nr_hugepages=%zu",
			 (memory->bytes + BYTES_2M - 1) / BYTES_2M);
		append(memory->sentence, room, used, line);
	}
}

/* From the best downwards; each that fails leaves its reason. */
static int try_all(struct attempt *attempt)
{
	struct sys_memory *memory = attempt->memory;
	size_t used = 0;
	int ret = -ENOMEM;

	for (enum sys_page_kind kind = SYS_PAGES_1G; kind <= SYS_PAGES_PLAIN; kind++) {
		ret = try_kind(attempt, kind);
		if (ret == 0)
			break;
		used = append(memory->why, sizeof(memory->why), used, used > 0 ? "; " : "");
		used = append(memory->why, sizeof(memory->why), used, sys_page_kind_name(kind));
		used = append(memory->why, sizeof(memory->why), used, ": ");
		used = append(memory->why, sizeof(memory->why), used, attempt->reason);
	}
	return ret;
}

int sys_memory_map(const struct sys_memory_request *request, struct sys_memory *memory, char error[256])
{
	struct attempt attempt = {.request = request, .memory = memory, .node = sys_numa_node(request->cpu)};
	uint64_t start_ns = sys_now_ns();
	int ret;

	*memory = (struct sys_memory){.fd = -1, .numa_node = -1};
	if (request->bytes == 0 || request->bytes > SIZE_MAX / 4 ||
	    (unsigned)request->kind > SYS_PAGES_PLAIN) {
		snprintf(error, 256, "memory of %zu bytes in %s makes no sense", request->bytes,
			 sys_page_kind_name(request->kind));
		return -EINVAL;
	}
	if (request->kind == SYS_PAGES_BEST)
		ret = try_all(&attempt);
	else
		ret = try_kind(&attempt, request->kind);
	if (ret < 0) {
		if (request->kind == SYS_PAGES_BEST)
			snprintf(error, 256, "%s", attempt.reason);
		else
			snprintf(error, 256, "no %s: %.180s; --huge auto takes the best that works",
				 sys_page_kind_name(request->kind), attempt.reason);
		return ret;
	}
	memory->populate_ns = sys_now_ns() - start_ns;
	describe(&attempt);
	return 0;
}

void sys_memory_unmap(struct sys_memory *memory)
{
	if (memory->base)
		munmap(memory->base, memory->bytes);
	if (memory->fd >= 0)
		close(memory->fd);
	memory->base = NULL;
	memory->fd = -1;
}
