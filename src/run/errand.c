/* errand.c - what helper threads bring to a worker.
 * In: errands from any thread. Out: their `run` called on the worker. Owns: the lists. */
#include <errno.h>
#include <sched.h>

#include "base/check.h"
#include "run/errand.h"

static struct errands {
	CACHE_ALIGNED _Atomic(struct errand *) newest;
	atomic_uint givers; /* between their look at `open` and the end of their call */
	atomic_bool open;
	struct stack *stack;
	struct waker *waker;
} lists[STACKS_MAX];

void *errands_at(uint32_t number)
{
	CHECK(number < STACKS_MAX);
	return &lists[number];
}

void errands_open(uint32_t number, struct stack *stack, struct waker *waker)
{
	struct errands *errands = errands_at(number);

	CHECK(!atomic_load(&errands->open));
	errands->stack = stack;
	errands->waker = waker;
	atomic_store(&errands->open, true);
}

/* All are taken at once, so that a pointer that returns can confuse nobody. */
static void push(struct errands *errands, struct errand *errand)
{
	errand->next = atomic_load_explicit(&errands->newest, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&errands->newest, &errand->next, errand,
						      memory_order_release, memory_order_relaxed))
		continue;
}

int errand_give(uint32_t number, struct errand *errand)
{
	struct errands *errands = errands_at(number);
	int result = -ESHUTDOWN;

	atomic_fetch_add(&errands->givers, 1);
	if (atomic_load(&errands->open)) {
		push(errands, errand);
		waker_wake(errands->waker);
		result = 0;
	}
	atomic_fetch_sub(&errands->givers, 1);
	return result;
}

void errands_wake(uint32_t number)
{
	struct errands *errands = errands_at(number);

	atomic_fetch_add(&errands->givers, 1);
	if (atomic_load(&errands->open))
		waker_wake(errands->waker);
	atomic_fetch_sub(&errands->givers, 1);
}

static struct errand *oldest_first(struct errand *newest)
{
	struct errand *first = NULL;

	while (newest) {
		struct errand *next = newest->next;

		newest->next = first;
		first = newest;
		newest = next;
	}
	return first;
}

bool errands_run(void *context, uint64_t now_us)
{
	struct errands *errands = context;
	struct errand *errand, *next;

	if (likely(!atomic_load_explicit(&errands->newest, memory_order_relaxed)))
		return false;
	errand = oldest_first(atomic_exchange_explicit(&errands->newest, NULL, memory_order_acquire));
	stack_begin(errands->stack, now_us);
	for (; errand; errand = next) {
		next = errand->next; /* after its run it is its giver's again */
		errand->run(stack_worker(errands->stack), errand);
	}
	return true;
}

void errands_close(uint32_t number, uint64_t now_us)
{
	struct errands *errands = errands_at(number);

	if (!atomic_exchange(&errands->open, false))
		return;
	while (atomic_load(&errands->givers) > 0)
		sched_yield();
	while (errands_run(errands, now_us))
		continue;
}
