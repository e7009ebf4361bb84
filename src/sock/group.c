/* group.c - joining and leaving sets of connections.
 * In: the application, and connections that end.  Owns: the groups' lists; the members' places in the blocks.
 */
#include "sock/group.h"

#include <errno.h>
#include <string.h>

#include "sock/fanout.h"
#include "sock/sock.h"

#define HANDLE_INDEX_BITS 26

static uint64_t handle_of(const struct core *core, uint32_t index)
{
	return (uint64_t)core->stack_id << 58 | (uint64_t)index << 32 | group_at(core, index)->generation;
}

uint32_t group_find(const struct core *core, c10m_group handle)
{
	uint32_t index = (uint32_t)(handle >> 32) & ((1u << HANDLE_INDEX_BITS) - 1);
	const struct group *group;

	if (handle == 0 || handle >> 58 != core->stack_id || index >= core->groups.fresh)
		return POOL_NONE;
	group = group_at(core, index);
	return group->in_use && !group->released && group->generation == (uint32_t)handle ? index : POOL_NONE;
}

static struct member *members_of(const struct core *core, uint32_t index, uint32_t *count)
{
	const struct tcb *tcb = tcb_at(core, index);
	const struct tcp_service *service = &core->services[tcb->service];

	*count = service->groups;
	return (struct member *)(uintptr_t)((const uint8_t *)tcb + service->groups_at);
}

struct member *group_member(const struct core *core, uint32_t index, uint32_t group)
{
	uint32_t count;
	struct member *members = members_of(core, index, &count);

	for (uint32_t i = 0; i < count; i++)
		if (members[i].group == group + 1)
			return &members[i];
	return NULL;
}

static struct member *free_place(const struct core *core, uint32_t index)
{
	uint32_t count;
	struct member *members = members_of(core, index, &count);

	for (uint32_t i = 0; i < count; i++)
		if (members[i].group == 0)
			return &members[i];
	return NULL;
}

void group_settle(struct core *core, uint32_t index)
{
	struct group *group = group_at(core, index);

	if (!group->released || group->count || group->fanouts)
		return;
	group->in_use = false;
	pool_give(&core->groups, index);
}

/* New members stand before all others: a walk under way does not meet them. */
static void link_member(struct core *core, uint32_t index, uint32_t group_index, struct member *member)
{
	struct group *group = group_at(core, group_index);
	uint32_t *head = &group->heads[index % GROUP_LISTS];

	*member = (struct member){group_index + 1, *head, POOL_NONE};
	if (*head != POOL_NONE)
		group_member(core, *head, group_index)->previous = index;
	*head = index;
	group->count++;
}

static void unlink_member(struct core *core, uint32_t index, struct member *member)
{
	uint32_t group_index = member->group - 1;
	struct group *group = group_at(core, group_index);

	if (group->fanouts)
		fanout_step_over(core, group_index, index, member->next);
	if (member->next != POOL_NONE)
		group_member(core, member->next, group_index)->previous = member->previous;
	if (member->previous != POOL_NONE)
		group_member(core, member->previous, group_index)->next = member->next;
	else
		group->heads[index % GROUP_LISTS] = member->next;
	member->group = 0;
	group->count--;
	group_settle(core, group_index);
}

void group_leave_all(struct core *core, uint32_t index)
{
	uint32_t count;
	struct member *members = members_of(core, index, &count);

	for (uint32_t i = 0; i < count; i++)
		if (members[i].group)
			unlink_member(core, index, &members[i]);
}

c10m_group c10m_group_new(c10m_worker *worker)
{
	struct core *core = (struct core *)worker;
	uint32_t index = pool_take(&core->groups), generation;
	struct group *group;

	if (index == POOL_NONE)
		return 0;
	group = group_at(core, index);
	generation = group->generation + 1;
	*group = (struct group){.generation = generation ? generation : 1, .in_use = true};
	for (unsigned i = 0; i < GROUP_LISTS; i++)
		group->heads[i] = POOL_NONE;
	return handle_of(core, index);
}

void c10m_group_release(c10m_worker *worker, c10m_group handle)
{
	struct core *core = (struct core *)worker;
	uint32_t index = group_find(core, handle);

	if (index == POOL_NONE)
		return;
	group_at(core, index)->released = true;
	group_settle(core, index);
}

int c10m_group_join(c10m_conn *conn, c10m_group handle)
{
	struct core *core = (struct core *)c10m_conn_worker(conn);
	uint32_t index = tcb_index(core, (const struct tcb *)conn), group = group_find(core, handle);
	struct member *member;

	if (group == POOL_NONE || ((const struct tcb *)conn)->pending & TCB_ABORTING)
		return -EINVAL;
	if (group_member(core, index, group))
		return 0;
	member = free_place(core, index);
	if (!member)
		return -ENOSPC;
	link_member(core, index, group, member);
	return 0;
}

int c10m_group_leave(c10m_conn *conn, c10m_group handle)
{
	struct core *core = (struct core *)c10m_conn_worker(conn);
	uint32_t index = tcb_index(core, (const struct tcb *)conn);
	uint32_t group = (uint32_t)(handle >> 32) & ((1u << HANDLE_INDEX_BITS) - 1);
	struct member *member;

	if (handle == 0 || handle >> 58 != core->stack_id || group >= core->groups.fresh ||
	    group_at(core, group)->generation != (uint32_t)handle)
		return -ENOENT; /* a released group can still be left */
	member = group_member(core, index, group);
	if (!member)
		return -ENOENT;
	unlink_member(core, index, member);
	return 0;
}

uint32_t c10m_group_count(const c10m_worker *worker, c10m_group handle)
{
	const struct core *core = (const struct core *)worker;
	uint32_t index = group_find(core, handle);

	return index == POOL_NONE ? 0 : group_at(core, index)->count;
}
