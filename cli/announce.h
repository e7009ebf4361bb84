/* announce.h - a server that says one thing to all its connections when it is told to by a signal. */
#ifndef C10M_CLI_ANNOUNCE_H
#define C10M_CLI_ANNOUNCE_H

#include <c10m/c10m.h>

/* On the first thread, before there are others: from then on SIGUSR1 sends `text` and a line's end to all
 * connections of the only service. The text is kept by the caller. */
void announce_prepare(const char *text);
/* The service's on_start. */
void announce_start(c10m_worker *worker);

#endif
