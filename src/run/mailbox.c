/* mailbox.c - messages to workers, and c10m_post, which is made of them.
 * In: messages from any thread. Out: functions called, control messages given to the stack, on the worker.
 * Owns: a ring (Concurrency Kit) for each number that a stack can have. */
#include <errno.h>
#include <sched.h>

#include <ck_ring.h>

#include "base/check.h"
#include "base/tsan.h"
#include "run/mailbox.h"

CK_RING_PROTOTYPE(mailbox, mailbox_message)

struct mailbox {
	CACHE_ALIGNED struct ck_ring ring;
	CACHE_ALIGNED atomic_bool open;
	CACHE_ALIGNED atomic_uint senders; /* between their look at `open` and the end of their call */
	struct waker *waker;
	struct stack *stack;
	uint64_t refused;
	CACHE_ALIGNED struct mailbox_message messages[MAILBOX_MESSAGES];
};

static struct mailbox mailboxes[STACKS_MAX];

struct mailbox *mailbox_at(uint32_t number)
{
	return number < STACKS_MAX ? &mailboxes[number] : NULL;
}

static bool put(struct mailbox *mailbox, const struct mailbox_message *message)
{
	struct mailbox_message copy = *message;
	bool done;

	TSAN_HANDS_OVER(&mailbox->ring);
	TSAN_BLIND_BEGIN();
	done = ck_ring_enqueue_mpsc_mailbox(&mailbox->ring, mailbox->messages, &copy);
	TSAN_BLIND_END();
	return done;
}

static bool get(struct mailbox *mailbox, struct mailbox_message *message)
{
	bool done;

	TSAN_BLIND_BEGIN();
	done = ck_ring_dequeue_mpsc_mailbox(&mailbox->ring, mailbox->messages, message);
	TSAN_BLIND_END();
	TSAN_TAKES_OVER(&mailbox->ring);
	return done;
}

void mailbox_open(struct mailbox *mailbox, struct stack *stack, struct waker *waker)
{
	CHECK(!atomic_load(&mailbox->open));
	ck_ring_init(&mailbox->ring, MAILBOX_MESSAGES);
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

	if (likely(ck_ring_size(&mailbox->ring) == 0))
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
