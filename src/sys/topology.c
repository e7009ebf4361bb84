/* topology.c - cpus, cores and nodes, from the affinity mask and /sys.
 * In: /sys/devices/system, /sys/class/net.  Out: struct sys_topology, a choice of cpus.
 * Owns: nothing. */
#define _GNU_SOURCE
#include "sys/topology.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sys/text.h"

/* The folder of a cpu holds a link node<N> to its node. */
static int read_node(int cpu)
{
	char path[96];
	const struct dirent *entry;
	int node = 0;
	DIR *folder;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d", cpu);
	folder = opendir(path);
	if (!folder)
		return 0;
	while ((entry = readdir(folder))) {
		if (sscanf(entry->d_name, "node%d", &node) == 1)
			break;
	}
	closedir(folder);
	return node;
}

/* The list of a core's cpus begins with the lowest. */
static int read_core(int cpu)
{
	char path[96];
	uint64_t first;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
	return sys_text_read_u64(path, &first) == 0 && first < SYS_CPUS_MAX ? (int)first : cpu;
}

static unsigned count_nodes(void)
{
	DIR *folder = opendir("/sys/devices/system/node");
	const struct dirent *entry;
	unsigned count = 0;
	int node;

	if (!folder)
		return 1;
	while ((entry = readdir(folder)))
		count += sscanf(entry->d_name, "node%d", &node) == 1;
	closedir(folder);
	return MAX_OF(count, 1u);
}

int sys_topology_read(struct sys_topology *topology)
{
	cpu_set_t set;

	_Static_assert(SYS_CPUS_MAX == CPU_SETSIZE, "one mask holds all cpus");
	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return -errno;
	topology->node_count = count_nodes();
	topology->cpu_count = 0;
	for (int cpu = 0; cpu < SYS_CPUS_MAX; cpu++) {
		if (CPU_ISSET((unsigned)cpu, &set))
			topology->cpus[topology->cpu_count++] =
				(struct sys_cpu){.id = cpu, .node = read_node(cpu), .core = read_core(cpu)};
	}
	return 0;
}

int sys_cpu_node(const struct sys_topology *topology, int cpu)
{
	for (unsigned i = 0; i < topology->cpu_count; i++) {
		if (topology->cpus[i].id == cpu)
			return topology->cpus[i].node;
	}
	return -1;
}

int sys_interface_node(const char *interface)
{
	char path[128], text[16];

	snprintf(path, sizeof(path), "/sys/class/net/%.32s/device/numa_node", interface);
	/* The file says -1 where the firmware does not know. */
	return sys_text_read(path, text, sizeof(text)) > 0 ? MAX_OF(atoi(text), -1) : -1;
}

static bool core_taken(const struct sys_topology *topology, const bool *taken, int core)
{
	for (unsigned i = 0; i < topology->cpu_count; i++) {
		if (taken[i] && topology->cpus[i].core == core)
			return true;
	}
	return false;
}

/* The first cpu is Linux's, and so is the core that it shares. */
static unsigned rank(const struct sys_topology *topology, const bool *taken, unsigned i, int node)
{
	const struct sys_cpu *cpu = &topology->cpus[i];
	unsigned near = node < 0 || cpu->node == node;

	if (i == 0)
		return 1;
	if (cpu->core == topology->cpus[0].core)
		return 2 + near;
	return (core_taken(topology, taken, cpu->core) ? 4 : 6) + near;
}

int sys_pick_cpus(const struct sys_topology *topology, unsigned count, int node, int *cpus, char error[256])
{
	bool taken[SYS_CPUS_MAX] = {false};

	if (count == 0 || count > topology->cpu_count) {
		snprintf(error, 256,
			 "%u workers asked for, but this process may use %u cpu%s: ask for 1 to %u", count,
			 topology->cpu_count, topology->cpu_count == 1 ? "" : "s", topology->cpu_count);
		return -EINVAL;
	}
	for (unsigned picked = 0; picked < count; picked++) {
		unsigned best = 0, best_rank = 0;

		for (unsigned i = 0; i < topology->cpu_count; i++) {
			unsigned here = taken[i] ? 0 : rank(topology, taken, i, node);

			if (here > 0 && here >= best_rank) {
				best = i;
				best_rank = here;
			}
		}
		taken[best] = true;
		cpus[picked] = topology->cpus[best].id;
	}
	return 0;
}
