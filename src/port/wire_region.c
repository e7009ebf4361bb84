/* wire_region.c - shared memory that one process writes and another reads.
 * In: the machine's memory, a stranger's descriptor. Out: mappings. Owns: nothing; the memory goes with the
 * last mapping. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "port/wire_region.h"
#include "sys/hugepages.h"

#define REGION_BYTES ((size_t)2 << 20) /* one huge page, and as much in small ones */

/* Since Linux 5.1; older headers lack it. */
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE)

static void *map_writable(int fd)
{
	void *base = mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);

	return base == MAP_FAILED ? NULL : base;
}

/* A page that is reserved, or one that is made for us. */
static void *map_huge(int fd)
{
	void *base = map_writable(fd);
	struct sys_huge_raise raise;

	if (base || sys_huge_raise_begin(&raise, REGION_BYTES, 1) < 0)
		return base;
	base = map_writable(fd);
	sys_huge_raise_end(&raise);
	return base;
}

/* Behind these seals only the mapping that exists can write. */
static struct wire_region *make(unsigned flags, int *fd)
{
	void *base = NULL;

	*fd = memfd_create("c10m-wire", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
	if (*fd < 0)
		return NULL;
	if (ftruncate(*fd, (off_t)REGION_BYTES) == 0)
		base = flags ? map_huge(*fd) : map_writable(*fd);
	if (base && fcntl(*fd, F_ADD_SEALS, SEALS) == 0) {
		(void)madvise(base, REGION_BYTES, MADV_DONTDUMP);
		return base;
	}
	if (base)
		munmap(base, REGION_BYTES);
	close(*fd);
	*fd = -1;
	return NULL;
}

struct wire_region *wire_region_make(int *fd)
{
	struct wire_region *region = make(MFD_HUGETLB | (21u << 26), fd); /* log2 of 2 MB: memfd_create(2) */

	return region ? region : make(0, fd);
}

struct wire_region *wire_region_map(int fd)
{
	struct stat about;
	int seals = fcntl(fd, F_GET_SEALS);
	void *base;

	if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &about) < 0 ||
	    about.st_size != (off_t)REGION_BYTES)
		return NULL;
	base = mmap(NULL, REGION_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		return NULL;
	(void)madvise(base, REGION_BYTES, MADV_DONTDUMP);
	return base;
}

void wire_region_unmap(struct wire_region *region)
{
	if (region)
		munmap(region, REGION_BYTES);
}
