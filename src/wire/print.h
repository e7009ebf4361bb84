/* print.h - a frame as one line of text, for people and test failures. */
#ifndef C10M_WIRE_PRINT_H
#define C10M_WIRE_PRINT_H

#include "base/compiler.h"

/* For instance "10.0.0.2.5000 > 10.0.0.1.80: [S.] seq 1 ack 2 win 65535 len 0 <mss 1460,ts 1 2>".
 * Always ends the text with NUL; returns what snprintf would. */
int frame_print(const uint8_t *frame, size_t bytes, char *text, size_t room);

#endif
