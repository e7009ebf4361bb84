/* check.h - assertions: what we did wrong, never what a peer did.
 *
 * CHECK stays on in release builds and must cost registers only.
 * CHECK_SLOW walks structures; it runs in debug builds and in the simulator.
 * A byte from the network can never trip either. */
#ifndef C10M_BASE_CHECK_H
#define C10M_BASE_CHECK_H

#include "base/compiler.h"

#ifndef C10M_SLOW_CHECKS
#define C10M_SLOW_CHECKS 0
#endif

/* Prints the place and the expression to standard error, and aborts. */
__attribute__((noreturn, cold)) void check_failed(const char *file, int line, const char *expression);

#define CHECK(x)      (likely(x) ? (void)0 : check_failed(__FILE__, __LINE__, #x))
#define CHECK_SLOW(x) ((!C10M_SLOW_CHECKS || likely(x)) ? (void)0 : check_failed(__FILE__, __LINE__, #x))

#endif
