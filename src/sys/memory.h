/* memory.h - one worker's memory: a shared memory object in the largest pages the machine gives.
 *
 * Everything is populated before sys_memory_map returns: memory that is missing
 * is an error at start with a sentence, never a signal later. The descriptor can
 * be handed to a successor, which maps the same bytes.
 *
 * Nothing stays behind: surplus huge pages go with the last mapping, also after
 * kill -9, and the limit that was raised for them is put back before the call
 * returns. */
#ifndef C10M_SYS_MEMORY_H
#define C10M_SYS_MEMORY_H

#include "base/compiler.h"

enum sys_page_kind {
	SYS_PAGES_BEST,        /* a request only: the first of the following that works */
	SYS_PAGES_1G,          /* reserved by the administrator */
	SYS_PAGES_2M,          /* reserved, or added for us */
	SYS_PAGES_TRANSPARENT, /* shared memory in transparent huge pages */
	SYS_PAGES_PLAIN,
};

struct sys_memory_request {
	const char *name;        /* in /proc/PID/maps; may be NULL */
	size_t bytes;            /* rounded up to whole pages */
	enum sys_page_kind kind; /* SYS_PAGES_BEST, or the only one wanted */
	int cpu;                 /* the memory comes to its NUMA node; -1: any */
	unsigned threads;        /* that populate; 0: one for each cpu this thread may use */
	/* May be NULL. Called by the calling thread while memory is populated. */
	void (*progress)(void *context, size_t done_bytes, size_t total_bytes);
	void *progress_context;
};

struct sys_memory {
	void *base; /* zeroed, aligned to page_bytes and at least to 2 MB where pages are huge */
	size_t bytes;
	int fd; /* of the shared memory object, closed on exec */
	enum sys_page_kind kind;
	size_t page_bytes;
	size_t huge_bytes;    /* how much of it lies in huge pages */
	int numa_node;        /* -1: not placed (one node, no NUMA, or not asked) */
	uint64_t populate_ns; /* time it took to map and fill */
	char why[512];        /* why each better kind was not had; "" when the best was */
	char sentence[1024];  /* for the user: what we got, what it costs, what to do */
};

/* Call it before pinning the thread, so that all its cpus can help.
 * 0, or -errno (-ENOMEM: the machine has not enough) and a sentence. */
int sys_memory_map(const struct sys_memory_request *request, struct sys_memory *memory, char error[256]);
/* Also closes the descriptor. */
void sys_memory_unmap(struct sys_memory *memory);

/* "1 GB huge pages", ... */
const char *sys_page_kind_name(enum sys_page_kind kind);

#endif
