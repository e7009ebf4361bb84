/* test_prefixes.c - networks as people write them, right and wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "run/prefixes.h"

static char error[OPTIONS_ERROR_BYTES];

static void expect_prefix(const struct prefix_list *list, size_t i, uint32_t address, unsigned bits)
{
	assert_true(i < list->count);
	assert_int_equal(list->prefixes[i].family, 4);
	assert_int_equal(list->prefixes[i].address[0], address);
	assert_int_equal(list->prefixes[i].address[1], 0);
	assert_int_equal(list->prefixes[i].bits, bits);
}

static void texts_are_understood(void **state)
{
	struct prefix_list list = {0};

	(void)state;
	assert_true(prefix_list_add(&list, "--deny", "10.0.0.0/8", error));
	assert_true(prefix_list_add(&list, "--deny", "192.0.2.7, 0.0.0.0/0,10.0.0.1/32", error));
	assert_int_equal(list.count, 4);
	expect_prefix(&list, 0, 0x0a000000, 8);
	expect_prefix(&list, 1, 0xc0000207, 32);
	expect_prefix(&list, 2, 0, 0);
	expect_prefix(&list, 3, 0x0a000001, 32);
	prefix_list_free(&list);
	assert_int_equal(list.count, 0);
}

/* Each is refused by a sentence that holds these words. */
static void nonsense_is_refused(void **state)
{
	static const struct {
		const char *text, *words;
	} cases[] = {
		{"", "a network is missing"},
		{"10.0.0.0/8,", "a network is missing"},
		{",10.0.0.0/8", "a network is missing"},
		{"10.0.0.0/33", "'10.0.0.0/33' is no IPv4 network: write it like 10.0.0.0/8"},
		{"10.0.0/8", "is no IPv4 network"},
		{"10.0.0.256", "is no IPv4 network"},
		{"10.0.0.0/", "is no IPv4 network"},
		{"10.0.0.0/8/8", "is no IPv4 network"},
		{"example.org", "is no IPv4 network"},
		{"10.1.2.3/8", "'10.1.2.3/8' has bits behind its length: write 10.0.0.0/8"},
		{"1.2.3.4/0", "write 0.0.0.0/0"},
		{"2001:db8::/32", "looks like IPv6"},
		{"@/nowhere/at/all", "/nowhere/at/all cannot be opened (No such file or directory)"},
		{"@", "cannot be opened"},
		{"@/", "cannot be read"},
		{"10.0.0.000000000000000000000000000000000000000000000000000000000000000001",
		 "is no IPv4 network"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct prefix_list list = {0};

		error[0] = '\0';
		assert_false(prefix_list_add(&list, "--deny", cases[i].text, error));
		if (!strstr(error, cases[i].words) || strncmp(error, "--deny: ", 8) != 0)
			fail_msg("'%s' gave '%s'", cases[i].text, error);
		prefix_list_free(&list);
	}
}

static bool add_file(struct prefix_list *list, const char *content)
{
	char name[] = "/tmp/c10m-prefixes-XXXXXX", text[64];
	int file = mkstemp(name);
	bool good;

	assert_true(file >= 0);
	assert_int_equal(write(file, content, strlen(content)), (int)strlen(content));
	close(file);
	snprintf(text, sizeof(text), "192.0.2.1,@%s,192.0.2.2", name);
	good = prefix_list_add(list, "--allow", text, error);
	unlink(name);
	return good;
}

static void files_are_read(void **state)
{
	struct prefix_list list = {0};
	char content[20000];
	size_t used;

	(void)state;
	assert_true(add_file(&list,
			     "# people we know\n\n  10.0.0.0/8  # all of them\r\n\t10.1.0.0/16\n172.16.0.9"));
	assert_int_equal(list.count, 5);
	expect_prefix(&list, 1, 0x0a000000, 8);
	expect_prefix(&list, 2, 0x0a010000, 16);
	expect_prefix(&list, 3, 0xac100009, 32);
	expect_prefix(&list, 4, 0xc0000202, 32);
	prefix_list_free(&list);
	used = (size_t)snprintf(content, sizeof(content), "10.0.0.1 #");
	memset(content + used, 'x', 3000); /* a long comment is a comment */
	snprintf(content + used + 3000, 100, "\n10.0.0.2\n");
	assert_true(add_file(&list, content));
	assert_int_equal(list.count, 4);
	prefix_list_free(&list);
	used = 0;
	for (unsigned i = 0; i < 1000; i++)
		used += (size_t)snprintf(content + used, sizeof(content) - used, "10.1.%u.%u\n", i / 256,
					 i % 256);
	assert_true(add_file(&list, content));
	assert_int_equal(list.count, 1002);
	expect_prefix(&list, 1000, 0x0a010000 + 999, 32);
	prefix_list_free(&list);
}

static void lines_of_files_are_named(void **state)
{
	struct prefix_list list = {0};
	char content[1000];

	(void)state;
	assert_false(add_file(&list, "10.0.0.0/8\n\n10.0.0.1/8\n"));
	assert_non_null(strstr(error, "--allow: /tmp/c10m-prefixes-"));
	assert_non_null(strstr(error, ", line 3: '10.0.0.1/8' has bits behind its length"));
	prefix_list_free(&list);
	assert_false(add_file(&list, "10.0.0.0/8,10.1.0.0/16\n")); /* one a line */
	assert_non_null(strstr(error, "line 1: "));
	prefix_list_free(&list);
	memset(content, '1', sizeof(content) - 1);
	content[sizeof(content) - 1] = '\0';
	assert_false(add_file(&list, content));
	assert_non_null(strstr(error, "line 1: the line is too long"));
	prefix_list_free(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_are_understood),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(files_are_read),
		cmocka_unit_test(lines_of_files_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
