/* test_sys_topology.c - this machine's cpus, and the choice of cpus on machines made up here. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <sched.h>
#include <string.h>

#include <cmocka.h>

#include "sys/topology.h"

/* cores = cpus: no SMT. Else cpu i and i + cores share a core. Nodes split the cores evenly. */
static struct sys_topology machine(unsigned cpus, unsigned cores, unsigned nodes)
{
	struct sys_topology topology = {.cpu_count = cpus, .node_count = nodes};

	for (unsigned i = 0; i < cpus; i++) {
		topology.cpus[i].id = (int)i;
		topology.cpus[i].core = (int)(i % cores);
		topology.cpus[i].node = (int)(i % cores * nodes / cores);
	}
	return topology;
}

static void expect(const struct sys_topology *topology, int node, unsigned count, const int *wanted)
{
	int cpus[SYS_CPUS_MAX];
	char error[256];

	assert_int_equal(sys_pick_cpus(topology, count, node, cpus, error), 0);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(cpus[i], wanted[i]);
}

static void one_cpu_is_shared(void **state)
{
	struct sys_topology topology = machine(1, 1, 1);

	(void)state;
	expect(&topology, -1, 1, (const int[]){0});
}

static void linux_keeps_the_first(void **state)
{
	struct sys_topology two = machine(2, 2, 1), four = machine(4, 4, 1);

	(void)state;
	expect(&two, -1, 1, (const int[]){1});
	expect(&two, 0, 2, (const int[]){1, 0});
	expect(&four, -1, 4, (const int[]){3, 2, 1, 0});
}

static void own_cores_come_before_shared_ones(void **state)
{
	struct sys_topology smt = machine(8, 4, 1);

	(void)state;
	expect(&smt, -1, 8, (const int[]){7, 6, 5, 3, 2, 1, 4, 0});
}

static void the_node_of_the_interface_comes_first(void **state)
{
	struct sys_topology nodes = machine(8, 8, 2), both = machine(8, 4, 2);

	(void)state;
	expect(&nodes, 0, 5, (const int[]){3, 2, 1, 7, 6});
	expect(&nodes, 1, 5, (const int[]){7, 6, 5, 4, 3});
	/* A whole core on the other node is worth more than half a core here. */
	expect(&both, 0, 3, (const int[]){5, 7, 6});
}

static void cpus_not_ours_are_left_alone(void **state)
{
	struct sys_topology topology = machine(3, 3, 1);

	(void)state;
	topology.cpus[0].id = topology.cpus[0].core = 4;
	topology.cpus[1].id = topology.cpus[1].core = 9;
	topology.cpus[2].id = topology.cpus[2].core = 200;
	expect(&topology, -1, 3, (const int[]){200, 9, 4});
}

static void more_than_there_are_is_refused(void **state)
{
	struct sys_topology topology = machine(2, 2, 1);
	char error[256] = "";
	int cpus[4];

	(void)state;
	assert_int_equal(sys_pick_cpus(&topology, 3, -1, cpus, error), -EINVAL);
	assert_non_null(strstr(error, "1 to 2"));
	assert_int_equal(sys_pick_cpus(&topology, 0, -1, cpus, error), -EINVAL);
}

static void this_machine_is_read(void **state)
{
	static struct sys_topology topology;
	cpu_set_t set;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	assert_int_equal(sys_topology_read(&topology), 0);
	assert_int_equal(topology.cpu_count, CPU_COUNT(&set));
	assert_true(topology.node_count >= 1);
	for (unsigned i = 0; i < topology.cpu_count; i++) {
		const struct sys_cpu *cpu = &topology.cpus[i];

		assert_true(CPU_ISSET((unsigned)cpu->id, &set));
		assert_true(i == 0 || cpu->id > topology.cpus[i - 1].id);
		assert_true(cpu->core <= cpu->id);
		assert_int_equal(sys_cpu_node(&topology, cpu->id), cpu->node);
	}
	assert_int_equal(sys_cpu_node(&topology, SYS_CPUS_MAX), -1);
}

/* The mask of the thread decides, as under taskset or in a cpuset. */
static void a_narrow_mask_is_honoured(void **state)
{
	static struct sys_topology all, narrow;
	cpu_set_t before, one;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	assert_int_equal(sys_topology_read(&all), 0);
	CPU_ZERO(&one);
	CPU_SET((unsigned)all.cpus[all.cpu_count - 1].id, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(sys_topology_read(&narrow), 0);
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
	assert_int_equal(narrow.cpu_count, 1);
	assert_int_equal(narrow.cpus[0].id, all.cpus[all.cpu_count - 1].id);
}

static void an_interface_without_a_device_has_no_node(void **state)
{
	(void)state;
	assert_int_equal(sys_interface_node("lo"), -1);
	assert_int_equal(sys_interface_node("no-such-interface-anywhere-at-all-0123456789"), -1);
	assert_int_equal(sys_interface_node(""), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_cpu_is_shared),
		cmocka_unit_test(linux_keeps_the_first),
		cmocka_unit_test(own_cores_come_before_shared_ones),
		cmocka_unit_test(the_node_of_the_interface_comes_first),
		cmocka_unit_test(cpus_not_ours_are_left_alone),
		cmocka_unit_test(more_than_there_are_is_refused),
		cmocka_unit_test(this_machine_is_read),
		cmocka_unit_test(a_narrow_mask_is_honoured),
		cmocka_unit_test(an_interface_without_a_device_has_no_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
