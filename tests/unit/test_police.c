/* test_police.c - when SYNs are policed, and until when; the stacks' and the XDP program's counters are ours.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "run/police.h"

#define LOOK_US 100000u
#define WORKERS 4

/* --- in the place of the stacks and of the program ---------------------------------------------- */

static struct counters counters[WORKERS];
static struct afxdp_syns syns;
static uint32_t rates[2];

const struct counters *stack_counters(const struct stack *stack)
{
	return (const struct counters *)stack;
}

void afxdp_police(struct port *port, uint32_t first_rate, uint32_t again_rate)
{
	(void)port;
	rates[0] = first_rate;
	rates[1] = again_rate;
}

void afxdp_police_counts(struct port *port, struct afxdp_syns *counts)
{
	(void)port;
	*counts = syns;
}

/* --- the rig --------------------------------------------------------------------------------------- */

static struct police police;
static struct constable constables[WORKERS];
static uint64_t now_us;
static unsigned said;

static void say(void *context, const char *sentence)
{
	(void)context;
	(void)sentence;
	said++;
}

static int setup(void **state)
{
	(void)state;
	memset(counters, 0, sizeof(counters));
	syns = (struct afxdp_syns){0};
	rates[0] = rates[1] = said = 0;
	now_us = 0;
	police = (struct police){.say = say};
	for (uint32_t i = 0; i < WORKERS; i++)
		constable_init(&constables[i], &police, (const struct stack *)&counters[i]);
	return 0;
}

/* So many looks of each worker, with so many of each a look; `passed` of the program, for all of them. */
static void looks(uint32_t count, uint32_t cookies, uint32_t opened, uint32_t passed, uint32_t dropped)
{
	while (count-- > 0) {
		now_us += LOOK_US;
		syns.first += passed;
		syns.dropped += dropped;
		for (uint32_t i = 0; i < WORKERS; i++) {
			counters[i].tcp_cookies_sent += cookies;
			counters[i].tcp_passive_opens += opened;
			constable_run(&constables[i], now_us);
		}
	}
}

/* --- the tests -------------------------------------------------------------------------------------- */

static void a_flood_is_policed_as_long_as_it_lasts(void **state)
{
	(void)state;
	looks(2, 5000, 0, 0, 0);
	assert_int_equal(rates[0], 0); /* a moment is no flood */
	looks(1, 5000, 0, 0, 0);
	assert_int_equal(rates[0], POLICE_FIRST_RATE);
	assert_int_equal(rates[1], POLICE_AGAIN_RATE);
	looks(100, 1000, 10, 4000, 20000);
	assert_int_equal(rates[0], POLICE_FIRST_RATE);
	looks(40, 0, 0, 0, 0);
	assert_int_equal(rates[0], 0);
	assert_int_equal(said, 2);
}

/* The program counts for all workers what each of them opens a share of. */
static void honest_peers_of_many_workers_end_it(void **state)
{
	(void)state;
	looks(3, 5000, 0, 0, 0);
	assert_int_equal(rates[0], POLICE_FIRST_RATE);
	looks(60, 0, 1000, 4000, 0);
	assert_int_equal(rates[0], 0);
}

static void cookies_that_come_back_are_no_flood(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 50; i++) {
		for (uint32_t worker = 0; worker < WORKERS; worker++)
			counters[worker].tcp_cookies_accepted += 4900;
		looks(1, 5000, 4900, 0, 0);
	}
	assert_int_equal(said, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_flood_is_policed_as_long_as_it_lasts, setup),
		cmocka_unit_test_setup(honest_peers_of_many_workers_end_it, setup),
		cmocka_unit_test_setup(cookies_that_come_back_are_no_flood, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
