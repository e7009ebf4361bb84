/* bench_bounce.h - c10m bench bounce: what two ports and the cable between them carry, without TCP. */
#ifndef C10M_CLI_BENCH_BOUNCE_H
#define C10M_CLI_BENCH_BOUNCE_H

/* argv[0] is "bounce". Returns the exit code. */
int bench_bounce(int argc, char **argv);

#endif
