/* capture.h - a port that wraps a port and writes what passes, both ways, as pcapng. */
#ifndef C10M_PORT_CAPTURE_H
#define C10M_PORT_CAPTURE_H

#include "port/port.h"

struct capture_config {
	const char *path;
	const char *filter;   /* a pcap-filter(7) expression, NULL: everything */
	uint32_t snap_bytes;  /* bytes kept of a frame; 0: all */
	uint64_t limit_bytes; /* the file stops growing here; 0: no limit */
	const char *interface_name;
};

struct capture_stats {
	uint64_t captured; /* frames written, or about to be */
	uint64_t filtered; /* frames the filter did not want */
	uint64_t missed;   /* frames after the capture ended: disk full, limit reached */
};

/* Takes ownership of inner. On failure NULL, inner untouched, and a sentence in error. */
struct port *capture_wrap(struct port *inner, const struct capture_config *config, char *error,
			  size_t error_bytes);
/* Unix time of the frames that follow, in microseconds. */
void capture_set_time(struct port *port, uint64_t unix_us);
const struct capture_stats *capture_stats(const struct port *port);

#endif
