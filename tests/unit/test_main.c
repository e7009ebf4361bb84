/* test_main.c - c10m_main: services of programs that were built for another version, and exit codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "c10m/c10m.h"

/* What a program that was built before the limits were added knows of a service. */
#define OLD_BYTES offsetof(struct c10m_service, receive_bytes)

static unsigned char services[4 * (sizeof(struct c10m_service) + 64)];

static void put_service(size_t index, size_t bytes, const char *name, uint16_t port)
{
	const struct c10m_service service = {.name = name, .port = port};

	memset(services + index * bytes, 0, bytes);
	memcpy(services + index * bytes, &service, bytes < sizeof(service) ? bytes : sizeof(service));
}

static int run(size_t count, size_t bytes, const char *option, const char *value)
{
	char words[3][64] = {"program"};
	char *argv[] = {words[0], words[1], words[2], "--address=10.1.1.1/24", NULL};

	strncpy(words[1], option, 63);
	strncpy(words[2], value, 63);
	return c10m_main_sized(4, argv, (const void *)services, count, bytes);
}

#define NOWHERE "--interface", "c10m-nowhere" /* refused by the machine: all options were right */

static void the_machine_refuses(void **state)
{
	(void)state;
	put_service(0, sizeof(struct c10m_service), "one", 7);
	assert_int_equal(run(1, sizeof(struct c10m_service), NOWHERE), 1);
	assert_int_equal(run(1, sizeof(struct c10m_service), NOWHERE), 1); /* and nothing stays */
}

static void usage_is_wrong(void **state)
{
	(void)state;
	put_service(0, sizeof(struct c10m_service), "one", 7);
	assert_int_equal(run(1, sizeof(struct c10m_service), "--bogus", "x"), 2);
	assert_int_equal(run(1, sizeof(struct c10m_service), "--port", "0"), 2);
	assert_int_equal(run(0, sizeof(struct c10m_service), NOWHERE), 2);
	assert_int_equal(run(17, sizeof(struct c10m_service), NOWHERE), 2);
	put_service(0, sizeof(struct c10m_service), NULL, 7);
	assert_int_equal(run(1, sizeof(struct c10m_service), NOWHERE), 2);
}

static void help_is_no_error(void **state)
{
	(void)state;
	put_service(0, sizeof(struct c10m_service), "one", 7);
	assert_int_equal(run(1, sizeof(struct c10m_service), "--stats=1", "--help"), 0);
	assert_int_equal(run(1, sizeof(struct c10m_service), "--stats=1", "--version"), 0);
}

/* Services that share a port are refused: so both were read from their right places. */
static void services_of_any_size_are_read(void **state)
{
	static const size_t sizes[] = {OLD_BYTES, sizeof(struct c10m_service),
				       sizeof(struct c10m_service) + 64};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		put_service(0, sizes[i], "one", 7);
		put_service(1, sizes[i], "two", 8);
		put_service(2, sizes[i], "three", 9);
		assert_int_equal(run(3, sizes[i], NOWHERE), 1);
		put_service(2, sizes[i], "three", 8);
		assert_int_equal(run(3, sizes[i], NOWHERE), 2);
	}
}

static void features_that_are_not_known_are_refused(void **state)
{
	const size_t bytes = sizeof(struct c10m_service) + 64;

	(void)state;
	put_service(0, bytes, "one", 7);
	assert_int_equal(run(1, bytes, NOWHERE), 1);
	services[bytes - 1] = 1;
	assert_int_equal(run(1, bytes, NOWHERE), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_machine_refuses),
		cmocka_unit_test(usage_is_wrong),
		cmocka_unit_test(help_is_no_error),
		cmocka_unit_test(services_of_any_size_are_read),
		cmocka_unit_test(features_that_are_not_known_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
