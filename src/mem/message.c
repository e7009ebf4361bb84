/* message.c - making, counting and giving back the bytes that many send queues share.
 * In: the application's bytes.  Out: the id of a message.
 * Owns: four pools, one behind the other in one piece of arena. */
#include "mem/message.h"

#include <string.h>

const uint32_t message_class_bytes[MESSAGE_CLASSES] = {128, 1024, 8192, 65536};

size_t message_pool_bytes(const struct message_config *config)
{
	size_t bytes = 0;

	for (unsigned class = 0; class < MESSAGE_CLASSES; class ++)
		bytes += pool_bytes(config->count[class], message_class_bytes[class]);
	return bytes;
}

void message_pool_init(struct message_pool *messages, void *memory, const struct message_config *config)
{
	uint8_t *next = memory;

	for (unsigned class = 0; class < MESSAGE_CLASSES; class ++) {
		CHECK(config->count[class] < MESSAGE_COUNT_MAX);
		pool_init(&messages->classes[class], next, config->count[class], message_class_bytes[class]);
		next += pool_bytes(config->count[class], message_class_bytes[class]);
	}
}

uint32_t message_make(struct message_pool *messages, const void *data, size_t bytes)
{
	for (uint32_t class = 0; class < MESSAGE_CLASSES && bytes > 0; class ++) {
		uint32_t index, generation;
		struct message *message;

		if (message_class_bytes[class] - MESSAGE_HEADER_BYTES < bytes)
			continue;
		index = pool_take(&messages->classes[class]);
		if (index == POOL_NONE)
			continue;
		message = pool_at(&messages->classes[class], index);
		generation = message->generation + 1;
		*message = (struct message){
			.holds = 1,
			.generation = generation ? generation : 1,
			.bytes = (uint32_t)bytes,
		};
		memcpy(message->data, data, bytes);
		return class << MESSAGE_INDEX_BITS | index;
	}
	return MESSAGE_NONE;
}

static bool is_live(void *context, const void *object)
{
	const struct message *message = object;

	(void)context;
	return message->references > 0 || message->holds > 0;
}

uint32_t message_find(const struct message_pool *messages, uint32_t id, uint32_t generation)
{
	uint32_t class = id >> MESSAGE_INDEX_BITS, index = id & (MESSAGE_COUNT_MAX - 1);
	const struct message *message;

	if (class >= MESSAGE_CLASSES || index >= messages->classes[class].fresh)
		return MESSAGE_NONE;
	message = message_at(messages, id);
	return message->generation == generation && is_live(NULL, message) ? id : MESSAGE_NONE;
}

static void give_unused(struct message_pool *messages, uint32_t id)
{
	if (!is_live(NULL, message_at(messages, id)))
		pool_give(&messages->classes[id >> MESSAGE_INDEX_BITS], id & (MESSAGE_COUNT_MAX - 1));
}

void message_release(struct message_pool *messages, uint32_t id)
{
	CHECK(message_at(messages, id)->holds > 0);
	message_at(messages, id)->holds--;
	give_unused(messages, id);
}

void message_unrefer(struct message_pool *messages, uint32_t id, bool acknowledged)
{
	struct message *message = message_at(messages, id);

	CHECK(message->references > 0);
	message->references--;
	message->acknowledged += acknowledged;
	if (message->references == 0)
		give_unused(messages, id);
}

uint32_t message_live(const struct message_pool *messages)
{
	uint32_t live = 0;

	for (unsigned class = 0; class < MESSAGE_CLASSES; class ++)
		live += pool_live(&messages->classes[class]);
	return live;
}

void message_rebuild_begin(struct message_pool *messages)
{
	for (unsigned class = 0; class < MESSAGE_CLASSES; class ++)
		for (uint32_t i = 0; i < messages->classes[class].fresh; i++)
			((struct message *)pool_at(&messages->classes[class], i))->references = 0;
}

void message_rebuild_end(struct message_pool *messages)
{
	for (unsigned class = 0; class < MESSAGE_CLASSES; class ++)
		pool_rebuild(&messages->classes[class], messages->classes[class].fresh, is_live, NULL);
}

void message_each(const struct message_pool *messages,
		  void (*visit)(void *context, const struct message *message), void *context)
{
	for (unsigned class = 0; class < MESSAGE_CLASSES; class ++)
		for (uint32_t i = 0; i < messages->classes[class].fresh; i++) {
			const struct message *message = pool_at(&messages->classes[class], i);

			if (is_live(NULL, message))
				visit(context, message);
		}
}
