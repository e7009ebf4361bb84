/* wire_meet.h - how the two ends of a wire find each other: a socket in the file system.
 *
 * Who comes first listens; who comes next joins. There is one place: a third is sent away. The file's mode
 * lets only the same user and root join. */
#ifndef C10M_PORT_WIRE_MEET_H
#define C10M_PORT_WIRE_MEET_H

#include <sys/stat.h>
#include <sys/un.h>

#include "port/port.h"
#include "port/wire_region.h"

struct wire_meet {
	struct sockaddr_un address;
	int listener; /* -1: the other end listens */
	dev_t device; /* of the socket that is ours */
	ino_t inode;
};

/* Joins who listens at `path`, or else listens there. Returns a connected socket, or -1 with a listener in
 * `meet`; else a negative errno below -1 and a sentence. Others who start at the same time are waited for. */
int wire_meet_open(struct wire_meet *meet, const char *path, uint32_t patience_ms,
		   char error[PORT_ERROR_BYTES]);
/* Removes the socket that we listen at. */
void wire_meet_close(struct wire_meet *meet);
/* The next who wants to join; -1: nobody. */
int wire_meet_accept(const struct wire_meet *meet);

/* Says what we are, and hands over our region. */
bool wire_hello_send(int socket, int region_fd, bool checksums);
/* 1: the other has said the same, and *region is its own; 0: not yet; -1: it is gone, or talks nonsense;
 * -EPROTO: it wants other checksums. */
int wire_hello_receive(int socket, bool checksums, struct wire_region **region);

#endif
