/* test_sys_available.c - how much memory is left: control groups of both versions from a made-up
 * tree, sizes in words, numbers in text. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "sys/available.h"
#include "sys/text.h"

static char root[] = "/tmp/c10m-test-XXXXXX";

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
	(void)status;
	(void)kind;
	(void)where;
	return remove(path);
}

static int setup(void **state)
{
	(void)state;
	memcpy(root + strlen(root) - 6, "XXXXXX", 6);
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Writes root/path, making the folders on the way. */
static void put(const char *path, const char *text)
{
	char whole[512];
	FILE *file;

	snprintf(whole, sizeof(whole), "%s/%s", root, path);
	for (char *slash = whole + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = 0;
		assert_true(mkdir(whole, 0700) == 0 || errno == EEXIST);
		*slash = '/';
	}
	file = fopen(whole, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void version_two_takes_the_tightest_up_to_the_root(void **state)
{
	(void)state;
	put("a/memory.max", "1000000\n");
	put("a/memory.current", "300000\n");
	put("a/memory.stat", "anon 250000\ninactive_file 40000\nactive_file 10000\n");
	put("a/b/memory.max", "max\n");
	put("a/b/memory.current", "200000\n");
	assert_int_equal(sys_cgroup_room_in(root, "0::/a/b\n"), 1000000 - 250000);
	put("a/b/memory.max", "210000\n");
	assert_int_equal(sys_cgroup_room_in(root, "0::/a/b\n"), 10000);
	/* Already above its limit: nothing is left, and nothing wraps. */
	put("a/b/memory.max", "100\n");
	assert_int_equal(sys_cgroup_room_in(root, "0::/a/b\n"), 0);
	assert_int_equal(sys_cgroup_room_in(root, "0::/a\n"), 750000);
}

static void version_one_has_a_line_for_memory(void **state)
{
	(void)state;
	put("memory/x/memory.limit_in_bytes", "5000\n");
	put("memory/x/memory.usage_in_bytes", "2000\n");
	put("memory/x/memory.stat", "inactive_file 9\ntotal_inactive_file 500\ntotal_active_file 100\n");
	put("memory/memory.limit_in_bytes", "9223372036854771712\n");
	put("memory/memory.usage_in_bytes", "1\n");
	assert_int_equal(sys_cgroup_room_in(root, "9:name=systemd:/\n4:memory:/x\n0::/\n"), 3600);
	assert_int_equal(sys_cgroup_room_in(root, "4:cpu,memory:/x"), 3600);
	assert_int_equal(sys_cgroup_room_in(root, "4:memory,cpu:/x"), 3600);
	assert_true(sys_cgroup_room_in(root, "4:memorynot,cpu:/x\n") == UINT64_MAX);
	assert_true(sys_cgroup_room_in(root, "4:memory:/\n") == UINT64_MAX);
}

static void without_a_limit_there_is_none(void **state)
{
	(void)state;
	assert_true(sys_cgroup_room_in(root, "0::/nowhere/at/all\n") == UINT64_MAX);
	assert_true(sys_cgroup_room_in(root, "") == UINT64_MAX);
	assert_true(sys_cgroup_room_in(root, "nonsense\n\n::\n") == UINT64_MAX);
}

static void what_is_available_is_granted_and_more_is_not(void **state)
{
	uint64_t available;
	char error[256] = "";

	(void)state;
	assert_int_equal(sys_available_bytes(&available), 0);
	assert_true(available > 1u << 20);
	assert_int_equal(sys_available_check(available / 2, false, error, sizeof(error)), 0);
	assert_int_equal(sys_available_check(available * 2, false, error, sizeof(error)), -ENOMEM);
	assert_non_null(strstr(error, "available"));
	assert_int_equal(sys_available_check(UINT64_MAX, false, error, sizeof(error)), -ENOMEM);
}

static void numbers_are_found_at_the_start_of_a_line(void **state)
{
	const char *text = "xMem: 1\nMem: 23 kB\nMemory: 4\nBad: x\nLast: 18446744073709551615";
	uint64_t value = 0;

	(void)state;
	assert_true(sys_text_find_u64(text, "Mem:", &value));
	assert_int_equal(value, 23);
	assert_true(sys_text_find_u64(text, "Last:", &value));
	assert_true(value == UINT64_MAX);
	assert_false(sys_text_find_u64(text, "Bad:", &value));
	assert_false(sys_text_find_u64(text, "None:", &value));
	assert_false(sys_text_find_u64("", "None:", &value));
}

static void files_are_read_as_far_as_they_fit(void **state)
{
	char path[64], text[5];
	uint64_t value = 7;

	(void)state;
	put("f", "12345678\n");
	snprintf(path, sizeof(path), "%s/f", root);
	assert_int_equal(sys_text_read(path, text, sizeof(text)), 4);
	assert_string_equal(text, "1234");
	assert_int_equal(sys_text_read_u64(path, &value), 0);
	assert_int_equal(value, 12345678);
	put("f", "-1\n");
	assert_int_equal(sys_text_read_u64(path, &value), -EINVAL);
	put("f", "99999999999999999999999\n");
	assert_int_equal(sys_text_read_u64(path, &value), -EINVAL);
	snprintf(path, sizeof(path), "%s/none", root);
	assert_int_equal(sys_text_read_u64(path, &value), -ENOENT);
}

static void sizes_are_words(void **state)
{
	char text[SYS_SIZE_BYTES];

	(void)state;
	assert_string_equal(sys_text_size(3221225472u, text), "3.0 GB");
	assert_string_equal(sys_text_size(2 << 20, text), "2 MB");
	assert_string_equal(sys_text_size(4096, text), "4 KB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(version_two_takes_the_tightest_up_to_the_root, setup,
						teardown),
		cmocka_unit_test_setup_teardown(version_one_has_a_line_for_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(without_a_limit_there_is_none, setup, teardown),
		cmocka_unit_test(what_is_available_is_granted_and_more_is_not),
		cmocka_unit_test(numbers_are_found_at_the_start_of_a_line),
		cmocka_unit_test_setup_teardown(files_are_read_as_far_as_they_fit, setup, teardown),
		cmocka_unit_test(sizes_are_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
