/* test_verify.c - stack_verify, which ends nearly every packet test, finds what is wrong. */
#include "harness.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stack/internal.h"

static void overflow_count(struct core *core)
{
	core->table.buckets[0].overflow++;
}

static void table_count(struct core *core)
{
	core->table.live++;
}

static void chunk_bytes(struct core *core)
{
	core->chunks.bytes_live++;
}

static void lost_chunk(struct core *core)
{
	chunk_take(&core->chunks, 100);
}

static void lost_block(struct core *core)
{
	pool_take(&core->blocks);
}

static void lost_extension(struct core *core)
{
	pool_take(&core->extensions);
}

static void lost_half_open(struct core *core)
{
	pool_take(&core->half_opens);
}

static void lost_time_wait(struct core *core)
{
	pool_take(&core->time_waits);
}

static void destination_held_twice(struct core *core)
{
	destination_hold(&core->net.destinations, tcb_at(core, 0)->destination);
}

static void count_of_questions(struct core *core)
{
	core->net.destinations.probing++;
}

static void not_on_the_ready_list(struct core *core)
{
	tcb_at(core, 0)->pending |= TCB_READY;
}

static void not_on_a_neighbours_list(struct core *core)
{
	tcb_at(core, 0)->pending |= TCB_WAITING;
}

static void timer_without_an_entry(struct core *core)
{
	tcb_at(core, 0)->timers |= TCB_TIMER_KEEP;
	tcb_at(core, 0)->timers &= (uint8_t) ~(TCB_FILED_NEAR | TCB_FILED_FAR);
}

static void queue_and_its_count(struct core *core)
{
	tcb_at(core, 0)->snd_bytes++;
}

/* Whether stack_verify ends a process whose stack is damaged so. */
static bool is_found(struct test *t, void (*damage)(struct core *core))
{
	const struct rlimit no_dump = {0, 0};
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		setrlimit(RLIMIT_CORE, &no_dump);
		signal(SIGABRT, SIG_DFL);
		close(STDERR_FILENO); /* what it has to say is expected */
		damage(&t->stack->core);
		stack_verify(t->stack);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void each_damage_is_found(void **state)
{
	void (*const damages[])(struct core * core) = {
		overflow_count,
		table_count,
		chunk_bytes,
		lost_chunk,
		lost_block,
		lost_extension,
		lost_half_open,
		lost_time_wait,
		destination_held_twice,
		count_of_questions,
		not_on_the_ready_list,
		not_on_a_neighbours_list,
		queue_and_its_count,
		timer_without_an_entry,
	};
	struct test *t = begin_open();

	(void)state;
	app_send(t, 0, 100);
	discard_out(t);
	stack_verify(t->stack);
	for (unsigned i = 0; i < ARRAY_COUNT(damages); i++)
		if (!is_found(t, damages[i]))
			fail_msg("damage %u was not found", i);
	test_finish(t);
}

static const struct CMUnitTest tests[] = {
	TEST(each_damage_is_found),
};

PACKET_MAIN(tests)
