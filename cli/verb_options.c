/* verb_options.c - what verbs with a page of options of their own begin with.
 * In: the words behind the verb. Out: whether to go on; help, version or a complaint otherwise. */
#include <stdio.h>

#include "run/options.h"
#include "verbs.h"

bool verb_options(int argc, char **argv, const struct option_page *page, int *code)
{
	char error[OPTIONS_ERROR_BYTES];

	switch (options_parse(argc, argv, page, error)) {
	case OPTIONS_RUN:
		return true;
	case OPTIONS_HELP:
		options_print(stdout, page);
		*code = 0;
		break;
	case OPTIONS_VERSION:
		*code = verb_version(1, argv);
		break;
	case OPTIONS_WRONG:
		fprintf(stderr, "c10m: %s\n", error);
		*code = EXIT_USAGE;
		break;
	}
	return false;
}
