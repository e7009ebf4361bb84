/* progress.h - a run as it goes on: a view for people, a line a second for a file, a picture at the end.
 *
 * A thread of its own looks at what the workers show; it never stops a worker. */
#ifndef C10M_LOAD_PROGRESS_H
#define C10M_LOAD_PROGRESS_H

#include "result.h"

/* One second of a run. */
struct sample {
	double seconds;          /* since the start */
	double opened, requests; /* a second */
	uint64_t held, in_flight, p50, p99, max, lost, failed;
	uint32_t phase;
};

bool progress_begin(const struct load_options *options, struct load_shown *shown, atomic_flag *locks,
		    char error[OPTIONS_ERROR_BYTES]);
/* False and a sentence when the file or the picture could not be written. */
bool progress_end(char error[OPTIONS_ERROR_BYTES]);

/* --- series.c: the file and the picture */

/* Whether both can be written. */
bool series_check(const struct load_options *options, char error[OPTIONS_ERROR_BYTES]);
bool series_begin(const struct load_options *options, char error[OPTIONS_ERROR_BYTES]);
void series_add(const struct sample *sample);
bool series_end(char error[OPTIONS_ERROR_BYTES]);

/* --- interface.c: what the kernel counts on an interface; what cannot be read counts as 0 */
void interface_read(const char *name, struct load_interface *counts);

#endif
