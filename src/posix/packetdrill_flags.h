/* packetdrill_flags.h - what the flags of packetdrill_interface_init say. */
#ifndef C10M_POSIX_PACKETDRILL_FLAGS_H
#define C10M_POSIX_PACKETDRILL_FLAGS_H

#include "posix/sockets.h"

#define FLAGS_ERROR_BYTES 256

struct packetdrill_flags {
	struct stack_config stack;
	struct sockets_config sockets;
	char congestion[16];
	uint32_t mtu, patience_s;
};

/* False and a sentence. */
bool packetdrill_flags_parse(const char *text, struct packetdrill_flags *flags,
			     char error[FLAGS_ERROR_BYTES]);

#endif
