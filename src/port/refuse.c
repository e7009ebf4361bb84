/* refuse.c - the sentence that says why a port cannot be opened.
 * In: a format. Out: the sentence, and a negative errno. Owns: nothing. */
#include <stdarg.h>
#include <stdio.h>

#include "port/port.h"

int port_refuse(char error[PORT_ERROR_BYTES], int number, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(error, PORT_ERROR_BYTES, format, arguments);
	va_end(arguments);
	return -number;
}
