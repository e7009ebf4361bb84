/* police.c - judges from a stack's counters whether a flood of SYNs is on.
 * In: counters of the stack and of the XDP program. Out: the program's rates, sentences. Owns: the judgement.
 */
#include <inttypes.h>

#include "run/police.h"

#define LOOK_US    100000u
#define BAD_LOOKS  3u     /* so long it must last before anything is done */
#define CALM_LOOKS 20u    /* and so many are judged together, whether it is over */
#define BAD_SYNS   1000u  /* cookies that are not answered, in one look */
#define CALM_SYNS  10000u /* SYNs in these that need no police */

void constable_init(struct constable *constable, struct police *police, const struct stack *stack)
{
	*constable = (struct constable){.police = police, .stack = stack};
}

static uint64_t since(uint64_t now, uint64_t *last)
{
	uint64_t grown = now - *last;

	*last = now;
	return grown;
}

static void alarm_begin(struct constable *constable)
{
	struct police *police = constable->police;
	struct afxdp_syns syns;

	constable->alarmed = true;
	constable->looks = 0;
	afxdp_police_counts(police->port, &syns);
	constable->passed = syns.first + syns.again;
	constable->dropped = syns.dropped;
	constable->opened_by_all = atomic_load_explicit(&police->opened, memory_order_relaxed);
	if (atomic_fetch_add(&police->alarmed, 1) > 0)
		return;
	afxdp_police(police->port, POLICE_FIRST_RATE, POLICE_AGAIN_RATE);
	police->say(police->context, "many SYNs come that lead to no connection: until it is over, most "
				     "first ones are dropped and "
				     "those that are sent again let in");
}

static void alarm_end(struct constable *constable)
{
	struct police *police = constable->police;

	constable->alarmed = false;
	constable->bad = 0;
	if (atomic_fetch_sub(&police->alarmed, 1) > 1)
		return;
	afxdp_police(police->port, 0, 0);
	police->say(police->context, "the flood of SYNs is over: all are let in again");
}

/* A look is bad when cookies go out that nobody answers. */
static void look_for_flood(struct constable *constable, uint64_t sent, uint64_t accepted)
{
	if (sent < BAD_SYNS + accepted || accepted * 10 >= sent * 9)
		constable->bad = 0;
	else if (++constable->bad == BAD_LOOKS)
		alarm_begin(constable);
}

/* It is over when few SYNs come, or those that pass are honest. The program counts them for all workers, and
 * each of these tells of its connections once in a look: so many looks together are judged. */
static void look_for_peace(struct constable *constable)
{
	struct police *police = constable->police;
	struct afxdp_syns syns;
	uint64_t passed, dropped, opened;

	if (++constable->looks < CALM_LOOKS)
		return;
	constable->looks = 0;
	afxdp_police_counts(police->port, &syns);
	passed = since(syns.first + syns.again, &constable->passed);
	dropped = since(syns.dropped, &constable->dropped);
	opened = since(atomic_load_explicit(&police->opened, memory_order_relaxed),
		       &constable->opened_by_all);
	if (passed + dropped <= CALM_SYNS || opened * 10 >= passed * 9)
		alarm_end(constable);
}

bool constable_run(void *context, uint64_t now_us)
{
	struct constable *constable = context;
	const struct counters *counters;
	uint64_t sent, accepted;

	if (likely(now_us < constable->look_us))
		return false;
	counters = stack_counters(constable->stack);
	sent = since(counters->tcp_cookies_sent, &constable->cookies_sent);
	accepted = since(counters->tcp_cookies_accepted, &constable->cookies_accepted);
	atomic_fetch_add_explicit(&constable->police->opened,
				  since(counters->tcp_passive_opens, &constable->opened),
				  memory_order_relaxed);
	constable->look_us = now_us + LOOK_US;
	if (constable->alarmed)
		look_for_peace(constable);
	else
		look_for_flood(constable, sent, accepted);
	return false;
}

/* Who sleeps is under no flood: only its end is to be seen in time. */
uint64_t constable_deadline_us(void *context)
{
	const struct constable *constable = context;

	return constable->alarmed ? constable->look_us : UINT64_MAX;
}

void police_report(const struct police *police, FILE *to)
{
	struct afxdp_syns syns;

	if (!police->port)
		return;
	afxdp_police_counts(police->port, &syns);
	if (syns.first + syns.again + syns.dropped == 0)
		return;
	fprintf(to,
		"%16" PRIu64 "  SYNs dropped by the XDP program, while they were policed\n%16" PRIu64
		"  first SYNs that passed meanwhile\n%16" PRIu64
		"  SYNs that passed since they were sent again\n",
		syns.dropped, syns.first, syns.again);
}
