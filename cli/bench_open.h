/* bench_open.h - c10m bench open: what opening and closing a connection costs. */
#ifndef C10M_CLI_BENCH_OPEN_H
#define C10M_CLI_BENCH_OPEN_H

/* argv[0] is the verb's name; returns the exit code. */
int bench_open(int argc, char **argv);

#endif
