/* entropy.c - random bytes from the kernel.
 * In: getrandom.  Out: seeds and secrets.  Owns: nothing. */
#include "sys/entropy.h"

#include <errno.h>
#include <sys/random.h>

int sys_entropy_fill(void *to, size_t bytes)
{
	uint8_t *next = to;

	while (bytes > 0) {
		ssize_t got = getrandom(next, bytes, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		next += got;
		bytes -= (size_t)got;
	}
	return 0;
}

int sys_entropy_secrets(struct arena_secrets *secrets)
{
	return sys_entropy_fill(secrets, sizeof(*secrets));
}
