/* text.h - the small text files in which Linux tells about itself. */
#ifndef C10M_SYS_TEXT_H
#define C10M_SYS_TEXT_H

#include <stdio.h>

#include "base/compiler.h"

/* Reads what fits and ends it with a zero byte. Bytes read, or -errno. */
int sys_text_read(const char *path, char *text, size_t room);
/* A file that begins with a decimal number; "max" reads as UINT64_MAX. 0, or -errno. */
int sys_text_read_u64(const char *path, uint64_t *value);
/* The number behind `key` at the start of a line; false when there is no such line. */
bool sys_text_find_u64(const char *text, const char *key, uint64_t *value);

#define SYS_SIZE_BYTES 32

/* "3.0 GB", "12 MB": powers of 1024. Returns text. */
const char *sys_text_size(uint64_t bytes, char text[SYS_SIZE_BYTES]);

#endif
