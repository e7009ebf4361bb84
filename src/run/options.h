/* options.h - command line options as tables: one table parses them and explains them in --help.
 *
 * Every table has --help and --version besides its own. Operands are refused; what
 * follows "--" is left alone. */
#ifndef C10M_RUN_OPTIONS_H
#define C10M_RUN_OPTIONS_H

#include <stdio.h>

#include "base/compiler.h"

#define OPTIONS_MAX         64 /* of all groups of a page together */
#define OPTIONS_ERROR_BYTES 256

enum option_kind {
	OPTION_FLAG,   /* bool at offset: set */
	OPTION_NUMBER, /* uint32_t at offset, min to max; 10k and 10M are understood */
	OPTION_TEXT,   /* const char * at offset: points into argv */
	OPTION_CUSTOM, /* set() looks at the text */
};

struct option_spec {
	const char *name;     /* without the two dashes */
	const char *argument; /* its name in the help; NULL: takes none */
	const char *help;     /* '\n' starts a new line */
	enum option_kind kind;
	size_t offset; /* in the group's target */
	uint32_t min, max;
	/* false and a sentence when the text makes no sense. */
	bool (*set)(void *target, const char *text, char error[OPTIONS_ERROR_BYTES]);
};

struct option_group {
	const char *title;
	const struct option_spec *specs;
	unsigned count;
	void *target;
};

struct option_page {
	const char *usage; /* "c10m serve echo --interface IF ..." */
	const char *about; /* a sentence or two */
	const struct option_group *groups;
	unsigned group_count;
};

enum options_verdict {
	OPTIONS_RUN,     /* all understood */
	OPTIONS_HELP,    /* --help was there: options_print was not called yet */
	OPTIONS_VERSION, /* --version was there */
	OPTIONS_WRONG,   /* a sentence stands in error */
};

enum options_verdict options_parse(int argc, char **argv, const struct option_page *page,
				   char error[OPTIONS_ERROR_BYTES]);
void options_print(FILE *to, const struct option_page *page);

/* A whole number with an optional k (thousand) or M (million). */
bool option_number(const char *text, uint64_t *value);

#endif
