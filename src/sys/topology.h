/* topology.h - which cpus there are, where they lie, and which of them workers should take.
 *
 * Linux keeps the first cpu that we may use, where it runs most of its own work;
 * workers take the last ones. With one cpu both share it. */
#ifndef C10M_SYS_TOPOLOGY_H
#define C10M_SYS_TOPOLOGY_H

#include "base/compiler.h"

#define SYS_CPUS_MAX 1024

struct sys_cpu {
	int id;
	int node; /* NUMA node; 0 where the machine has none */
	int core; /* lowest cpu of the same physical core; its own id without SMT */
};

/* The cpus that are online and that this process may use, in rising order. */
struct sys_topology {
	unsigned cpu_count;
	unsigned node_count; /* NUMA nodes of the machine, 1 at least */
	struct sys_cpu cpus[SYS_CPUS_MAX];
};

/* 0, or -errno. */
int sys_topology_read(struct sys_topology *topology);
/* -1: not one of our cpus. */
int sys_cpu_node(const struct sys_topology *topology, int cpu);
/* The node of the interface's device; -1: it is virtual, or unknown. */
int sys_interface_node(const char *interface);

/* Picks `count` different cpus for workers, best first: own physical core before a
 * shared one, then the given node before others (-1: any), then the highest number;
 * Linux's cpu and its core last of all. 0, or -EINVAL and a sentence: there are not
 * so many. */
int sys_pick_cpus(const struct sys_topology *topology, unsigned count, int node, int *cpus, char error[256]);

#endif
