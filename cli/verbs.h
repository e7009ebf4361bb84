/* verbs.h - what the c10m command can do; each verb is a file. */
#ifndef C10M_CLI_VERBS_H
#define C10M_CLI_VERBS_H

#include <stdbool.h>

#define EXIT_REFUSED 1 /* the machine refused; a sentence stands on standard error */
#define EXIT_USAGE   2

/* argv[0] is the verb. Each returns the exit code. */
int verb_serve(int argc, char **argv);
int verb_load(int argc, char **argv);
int verb_bench(int argc, char **argv);
int verb_bridge(int argc, char **argv);
int verb_version(int argc, char **argv);

struct option_page;
/* Reads the options of a verb that has a page of its own. False when nothing is left to run: help or the
 * version was asked for, or an option is wrong, which was told; *code is the exit code. */
bool verb_options(int argc, char **argv, const struct option_page *page, int *code);

#endif
