/* internal.h - what the files of stack/ share. */
#ifndef C10M_STACK_INTERNAL_H
#define C10M_STACK_INTERNAL_H

#include "sock/fanout.h"
#include "sock/sock.h"
#include "sock/splice.h"
#include "stack/stack.h"

struct stack {
	struct core core; /* first: a c10m_worker is a core */
	struct stack_config config;
	uint64_t arena_bytes;
	uint64_t block_bytes, table_bytes, wheel_bytes, chunk_bytes, compact_bytes;
	uint32_t stop_next;
};

PURE_INLINE void stack_set_time(struct stack *stack, uint64_t now_us)
{
	stack->core.now_us = now_us;
	stack->core.now_tick = ticks_of_us(now_us);
	stack->core.net.now_tick = stack->core.now_tick;
}

#endif
