/* numa.h - memory on the node of the core that uses it. */
#ifndef C10M_SYS_NUMA_H
#define C10M_SYS_NUMA_H

#include "base/compiler.h"

/* The node to place memory of this cpu on; -1: there is nothing to choose (one node, a
 * kernel without NUMA, or no cpu given). */
int sys_numa_node(int cpu);

/* While it lasts, new huge pages come from this node alone. */
struct sys_numa_scope {
	bool active;
	int mode;
	unsigned long nodes[16];
};

/* false: the kernel refused; then nothing has changed. */
bool sys_numa_enter(struct sys_numa_scope *scope, int node);
void sys_numa_leave(struct sys_numa_scope *scope);
/* Pages of this range come from the node as long as it has any, then from others: a
 * strict binding would let the kernel kill the process instead. 0, or -errno. */
int sys_numa_prefer(void *base, size_t bytes, int node);

#endif
