/* check.c - the end of a program that found itself wrong. */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

void check_failed(const char *file, int line, const char *expression)
{
	fprintf(stderr, "c10m: internal error at %s:%d: %s\n", file, line, expression);
	abort();
}
