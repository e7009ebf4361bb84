/* old_kernel.c - to be preloaded: a kernel before Linux 6.6, which cannot receive long frames in pieces.
 * In: the program's calls of bind. Out: refusals as that kernel's. Owns: nothing. */
#include <errno.h>
#include <linux/if_xdp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define IN_PIECES (1 << 4) /* XDP_USE_SG, which older headers lack */

int bind(int fd, const struct sockaddr *address, socklen_t bytes)
{
	const struct sockaddr_xdp *xdp = (const void *)address;

	if (bytes >= sizeof(*xdp) && xdp->sxdp_family == AF_XDP && xdp->sxdp_flags & IN_PIECES) {
		errno = EINVAL;
		return -1;
	}
	return (int)syscall(SYS_bind, fd, address, bytes);
}
