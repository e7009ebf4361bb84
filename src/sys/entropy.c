/* entropy.c - random bytes from the kernel.
 * In: getrandom.  Out: seeds and secrets.  Owns: nothing. */
#include "sys/entropy.h"

#include <errno.h>
#include <sys/random.h>

int sys_entropy_fill(void *to, size_t bytes)
{
	ssize_t got;

	if (bytes > SYS_ENTROPY_MAX)
		return -EINVAL;
	do {
		got = getrandom(to, bytes, 0);
	} while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : 0;
}

int sys_entropy_secrets(struct arena_secrets *secrets)
{
	return sys_entropy_fill(secrets, sizeof(*secrets));
}
