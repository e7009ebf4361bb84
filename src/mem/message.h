/* message.h - bytes that many send queues share.
 *
 * A message is written once, lies in one piece and never changes. Its references are chunks of send queues
 * that name it; holds are the application's and those of fan-outs under way. It goes when it has
 * neither. Four sizes, charged at their true size. A message is named by a 32-bit id (class above the
 * index), and for the application by id and generation. */
#ifndef C10M_MEM_MESSAGE_H
#define C10M_MEM_MESSAGE_H

#include "mem/pool.h"

#define MESSAGE_NONE       UINT32_MAX
#define MESSAGE_CLASSES    4
#define MESSAGE_INDEX_BITS 24
#define MESSAGE_COUNT_MAX  (1u << MESSAGE_INDEX_BITS)
#define MESSAGE_ID_BITS    26

struct message {
	uint32_t references;   /* chunks that name it: can be counted anew from the send queues */
	uint32_t holds;        /* of the application and of fan-outs */
	uint32_t generation;   /* never 0 */
	uint32_t bytes;        /* valid bytes */
	uint32_t acknowledged; /* references that ended because the peer has acknowledged them, modulo 2^32 */
	uint32_t unused[3];
	uint8_t data[];
};

#define MESSAGE_HEADER_BYTES sizeof(struct message)
_Static_assert(sizeof(struct message) == 32, "header of a message");

/* Whole sizes, header included. */
extern const uint32_t message_class_bytes[MESSAGE_CLASSES]; /* 128, 1024, 8192, 65536 */
#define MESSAGE_BYTES_MAX (65536 - MESSAGE_HEADER_BYTES)

struct message_pool {
	struct pool classes[MESSAGE_CLASSES];
};

struct message_config {
	uint32_t count[MESSAGE_CLASSES]; /* below MESSAGE_COUNT_MAX each */
};

size_t message_pool_bytes(const struct message_config *config);
void message_pool_init(struct message_pool *messages, void *memory, const struct message_config *config);

PURE_INLINE struct message *message_at(const struct message_pool *messages, uint32_t id)
{
	return pool_at(&messages->classes[id >> MESSAGE_INDEX_BITS], id & (MESSAGE_COUNT_MAX - 1));
}

/* A copy of `data`, held once. MESSAGE_NONE: it is empty or longer than MESSAGE_BYTES_MAX, or neither its
 * class nor a larger one has room. */
uint32_t message_make(struct message_pool *messages, const void *data, size_t bytes);
/* The id, when it names a live message of this generation; else MESSAGE_NONE. Any numbers may be asked for.
 */
uint32_t message_find(const struct message_pool *messages, uint32_t id, uint32_t generation);

PURE_INLINE void message_hold(struct message_pool *messages, uint32_t id)
{
	message_at(messages, id)->holds++;
}

/* Gives up a hold, which may be the last that kept the message. */
void message_release(struct message_pool *messages, uint32_t id);

PURE_INLINE void message_refer(struct message_pool *messages, uint32_t id)
{
	message_at(messages, id)->references++;
}

/* A reference is gone: the peer has acknowledged all of it, or its queue has ended. */
void message_unrefer(struct message_pool *messages, uint32_t id, bool acknowledged);

uint32_t message_live(const struct message_pool *messages);

/* Design idea 8: references are set to 0, counted anew by the caller with message_refer, and then what is
 * free is found again. */
void message_rebuild_begin(struct message_pool *messages);
void message_rebuild_end(struct message_pool *messages);

/* Calls `visit` for each live message. */
void message_each(const struct message_pool *messages,
		  void (*visit)(void *context, const struct message *message), void *context);

#endif
