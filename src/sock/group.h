/* group.h - sets of connections: each member stands in its own block, linked by index.
 *
 * A group is eight lists, so that a walk over it has eight blocks on their way from memory at any time.
 * Joining, leaving and ending take the same time however large a group is, and need no memory but the block's
 * own. Invariant: a member of list k has a block whose index is k modulo 8. */
#ifndef C10M_SOCK_GROUP_H
#define C10M_SOCK_GROUP_H

#include "tcp/core.h"

#define GROUP_LISTS           8
#define GROUPS_PER_CONNECTION 16

struct group {
	uint32_t heads[GROUP_LISTS];
	uint32_t count;
	uint32_t generation;
	uint32_t fanouts; /* under way over this group */
	bool in_use, released;
	uint8_t pad[18];
};

_Static_assert(sizeof(struct group) == 64, "one cache line");

/* A connection's place in one group: at groups_at of its service, in its block. */
struct member {
	uint32_t group; /* index and one; 0: free */
	uint32_t next, previous;
};

_Static_assert(sizeof(struct member) == 12, "what c10m.h says a group costs");

PURE_INLINE struct group *group_at(const struct core *core, uint32_t index)
{
	return pool_at(&core->groups, index);
}

/* The group that a handle names, or POOL_NONE. */
uint32_t group_find(const struct core *core, c10m_group handle);
/* The place of a connection in a group; NULL when it is no member. */
struct member *group_member(const struct core *core, uint32_t index, uint32_t group);
/* A connection ends. */
void group_leave_all(struct core *core, uint32_t index);
/* After anything that may have made it superfluous. */
void group_settle(struct core *core, uint32_t group);

#endif
