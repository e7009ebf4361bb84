/* available.h - how much memory this process can still take before something is killed. */
#ifndef C10M_SYS_AVAILABLE_H
#define C10M_SYS_AVAILABLE_H

#include "base/compiler.h"

/* What the machine has available (MemAvailable). 0, or -errno. */
int sys_available_bytes(uint64_t *bytes);
/* What the control groups of this process leave; UINT64_MAX without a limit. */
uint64_t sys_cgroup_room_bytes(void);
/* The same from the text of /proc/PID/cgroup and a tree mounted at root. */
uint64_t sys_cgroup_room_in(const char *root, const char *cgroups);
/* 0, or -ENOMEM and a sentence: `bytes` more, with page tables and some rest for others,
 * are not there. in_cgroup: the memory is charged to the control group. */
int sys_available_check(uint64_t bytes, bool in_cgroup, char *error, size_t room);

#endif
