/* numa.c - placing memory on NUMA nodes, through libnuma.
 * In: a cpu, a mapped range.  Out: policies of the range and, for a moment, of the thread.
 * Owns: nothing. */
#define _GNU_SOURCE
#include "sys/numa.h"

#include <errno.h>
#include <numa.h>
#include <numaif.h>

#define NODES_MAX (sizeof(((struct sys_numa_scope *)0)->nodes) * 8)
#define WORD_BITS (sizeof(unsigned long) * 8)

int sys_numa_node(int cpu)
{
	if (cpu < 0 || numa_available() < 0 || numa_num_configured_nodes() < 2)
		return -1;
	return numa_node_of_cpu(cpu);
}

static bool set_node(unsigned long *nodes, int node)
{
	if (node < 0 || (size_t)node >= NODES_MAX)
		return false;
	nodes[(size_t)node / WORD_BITS] = 1UL << ((size_t)node % WORD_BITS);
	return true;
}

/* The kernel counts one bit less than it is told. */
bool sys_numa_enter(struct sys_numa_scope *scope, int node)
{
	unsigned long nodes[ARRAY_COUNT(scope->nodes)] = {0};

	scope->active = false;
	if (!set_node(nodes, node) || get_mempolicy(&scope->mode, scope->nodes, NODES_MAX, NULL, 0) != 0)
		return false;
	scope->active = set_mempolicy(MPOL_BIND, nodes, NODES_MAX + 1) == 0;
	return scope->active;
}

void sys_numa_leave(struct sys_numa_scope *scope)
{
	bool empty = true;

	if (!scope->active)
		return;
	for (size_t i = 0; i < ARRAY_COUNT(scope->nodes); i++)
		empty = empty && scope->nodes[i] == 0;
	(void)set_mempolicy(scope->mode, empty ? NULL : scope->nodes, empty ? 0 : NODES_MAX + 1);
	scope->active = false;
}

int sys_numa_prefer(void *base, size_t bytes, int node)
{
	unsigned long nodes[ARRAY_COUNT(((struct sys_numa_scope *)0)->nodes)] = {0};

	if (!set_node(nodes, node))
		return -EINVAL;
	return mbind(base, bytes, MPOL_PREFERRED, nodes, NODES_MAX + 1, 0) == 0 ? 0 : -errno;
}
