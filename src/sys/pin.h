/* pin.h - which core the calling thread runs on, and what it is called. */
#ifndef C10M_SYS_PIN_H
#define C10M_SYS_PIN_H

#define SYS_ERROR_BYTES 256

/* From here on the calling thread runs on this cpu alone. 0, or -errno and a sentence.
 * Threads that it starts later inherit this. */
int sys_pin_thread(int cpu, char error[SYS_ERROR_BYTES]);
/* Shown by top -H and ps -L; cut to 15 bytes. */
void sys_name_thread(const char *name);

#endif
