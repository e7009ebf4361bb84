/* mailbox.c - messages to workers, and c10m_post, which is made of them.
 * In: messages from any thread. Out: functions called, control messages given to the stack, on the worker.
 * Owns: a ring for each number that a stack can have.
 *
 * Each place of a ring has a turn: the number of the message that may be written there, and one more when it
 * can be read. So no sender waits for another. (In the rings of Concurrency Kit senders finish in the order
 * in which they began: where threads outnumber processors, each waits until the one before it is let run.) */
#include <errno.h>
#include <sched.h>

#include "base/check.h"
#include "run/mailbox.h"

struct mailbox {
	CACHE_ALIGNED atomic_uint begun; /* messages that were begun, ever */
	CACHE_ALIGNED uint32_t read;     /* messages that were read, ever: the worker's */
	CACHE_ALIGNED atomic_bool open;
	CACHE_ALIGNED atomic_uint senders; /* between their look at `open` and the end of their call */
	struct waker *waker;
	struct stack *stack;
	uint64_t refused;
	atomic_uint turns[MAILBOX_MESSAGES];
	CACHE_ALIGNED struct mailbox_message messages[MAILBOX_MESSAGES];
};

_Static_assert((MAILBOX_MESSAGES & (MAILBOX_MESSAGES - 1)) == 0, "numbers go round");

static struct mailbox mailboxes[STACKS_MAX];

struct mailbox *mailbox_at(uint32_t number)
{
	return number < STACKS_MAX ? &mailboxes[number] : NULL;
}

static atomic_uint *turn_of(struct mailbox *mailbox, uint32_t number)
{
	return &mailbox->turns[number % MAILBOX_MESSAGES];
}

/* False: full. */
static bool put(struct mailbox *mailbox, const struct mailbox_message *message)
{
	uint32_t number = atomic_load_explicit(&mailbox->begun, memory_order_relaxed);

	for (;;) {
		uint32_t turn = atomic_load_explicit(turn_of(mailbox, number), memory_order_acquire);

		if ((int32_t)(turn - number) < 0)
			return false;
		if (turn != number) /* somebody else has begun it */
			number = atomic_load_explicit(&mailbox->begun, memory_order_relaxed);
		else if (atomic_compare_exchange_weak_explicit(&mailbox->begun, &number, number + 1,
							       memory_order_relaxed, memory_order_relaxed))
			break;
	}
	mailbox->messages[number % MAILBOX_MESSAGES] = *message;
	atomic_store_explicit(turn_of(mailbox, number), number + 1, memory_order_release);
	return true;
}

static bool waits(struct mailbox *mailbox)
{
	return atomic_load_explicit(turn_of(mailbox, mailbox->read), memory_order_acquire) ==
	       mailbox->read + 1;
}

static bool get(struct mailbox *mailbox, struct mailbox_message *message)
{
	if (!waits(mailbox))
		return false;
	*message = mailbox->messages[mailbox->read % MAILBOX_MESSAGES];
	atomic_store_explicit(turn_of(mailbox, mailbox->read), mailbox->read + MAILBOX_MESSAGES,
			      memory_order_release);
	mailbox->read++;
	return true;
}

void mailbox_open(struct mailbox *mailbox, struct stack *stack, struct waker *waker)
{
	CHECK(!atomic_load(&mailbox->open));
	mailbox->read = 0;
	atomic_store(&mailbox->begun, 0);
	for (uint32_t i = 0; i < MAILBOX_MESSAGES; i++)
		atomic_store_explicit(&mailbox->turns[i], i, memory_order_relaxed);
	mailbox->stack = stack;
	mailbox->waker = waker;
	mailbox->refused = 0;
	atomic_store(&mailbox->open, true);
}

int mailbox_send(struct mailbox *mailbox, const struct mailbox_message *message)
{
	int result = -ESHUTDOWN;

	atomic_fetch_add(&mailbox->senders, 1);
	if (atomic_load(&mailbox->open)) {
		result = put(mailbox, message) ? 0 : -EAGAIN;
		waker_wake(mailbox->waker);
	}
	atomic_fetch_sub(&mailbox->senders, 1);
	return result;
}

static void run_one(struct mailbox *mailbox, uint64_t now_us, const struct mailbox_message *message)
{
	switch (message->kind) {
	case MAILBOX_CALL:
		message->function(stack_worker(mailbox->stack), message->argument);
		return;
	case MAILBOX_CONTROL:
		if (stack_control(mailbox->stack, now_us, &message->control) < 0)
			mailbox->refused++;
		return;
	}
}

bool mailbox_run(void *context, uint64_t now_us)
{
	struct mailbox *mailbox = context;
	struct mailbox_message message;
	int count = 0;

	if (likely(!waits(mailbox)))
		return false;
	stack_begin(mailbox->stack, now_us);
	while (count < MAILBOX_BURST && get(mailbox, &message)) {
		run_one(mailbox, now_us, &message);
		count++;
	}
	return count > 0;
}

/* Who found it open is waited for: its message is the last that can come. */
void mailbox_close(struct mailbox *mailbox, uint64_t now_us)
{
	if (!atomic_exchange(&mailbox->open, false))
		return;
	while (atomic_load(&mailbox->senders) > 0)
		sched_yield();
	while (mailbox_run(mailbox, now_us))
		continue;
}

uint64_t mailbox_refused(const struct mailbox *mailbox)
{
	return mailbox->refused;
}

C10M_API int c10m_post(uint32_t worker, void (*function)(c10m_worker *worker, void *argument), void *argument)
{
	const struct mailbox_message message = {
		.kind = MAILBOX_CALL, .function = function, .argument = argument};
	struct mailbox *mailbox = mailbox_at(worker);

	if (!mailbox || !function)
		return -EINVAL;
	return mailbox_send(mailbox, &message);
}
