/* prefixes.h - lists of networks as people write them: on the command line, and in files. */
#ifndef C10M_RUN_PREFIXES_H
#define C10M_RUN_PREFIXES_H

#include "c10m/c10m.h"
#include "run/options.h"

struct prefix_list {
	struct c10m_prefix *prefixes;
	size_t count, room;
};

/* Adds "10.0.0.0/8,192.0.2.7,@FILE": prefixes and addresses separated by commas; a file has one a line, and
 * '#' starts a comment. False and a sentence, which begins with `option`, when there is anything else; the
 * list then holds what stood before it. */
bool prefix_list_add(struct prefix_list *list, const char *option, const char *text,
		     char error[OPTIONS_ERROR_BYTES]);
void prefix_list_free(struct prefix_list *list);

#endif
