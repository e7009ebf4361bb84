/* arena.c - carving a worker's memory into its parts, and the header before them.
 * In: zeroed, mapped memory and the secrets.  Out: parts at offsets that depend on
 * the order of carving alone.
 * Owns: the header; each part belongs to whoever carved it. */
#include "mem/arena.h"

#include "base/check.h"

#define FNV_PRIME 0x100000001b3ULL

void arena_init(struct arena *arena, void *memory, size_t bytes, const struct arena_secrets *secrets,
		uint64_t clock_base_ns)
{
	struct arena_header *header = memory;

	CHECK((uintptr_t)memory % ARENA_ALIGN_MAX == 0);
	CHECK(bytes >= sizeof(*header));
	*header = (struct arena_header){
		.magic = ARENA_MAGIC,
		.bytes = bytes,
		.clock_base_ns = clock_base_ns,
		.secrets = *secrets,
	};
	*arena = (struct arena){.base = memory, .bytes = bytes, .used = sizeof(*header)};
}

/* The offset is aligned, not the address: another process that maps the arena
 * elsewhere finds every part at the same offset. */
void *arena_carve(struct arena *arena, size_t bytes, size_t align)
{
	size_t start;

	CHECK(align > 0 && (align & (align - 1)) == 0 && align <= ARENA_ALIGN_MAX);
	/* In this order no sum can wrap. */
	if (arena->bytes - arena->used < (0 - arena->used) % align)
		return NULL;
	start = ALIGN_UP(arena->used, align);
	if (bytes > arena->bytes - start)
		return NULL;
	arena->used = start + bytes;
	return arena->base + start;
}

struct arena_header *arena_header(const struct arena *arena)
{
	return (struct arena_header *)(void *)arena->base;
}

uint64_t arena_hash(uint64_t hash, const void *data, size_t bytes)
{
	const uint8_t *byte = data;

	for (size_t i = 0; i < bytes; i++)
		hash = (hash ^ byte[i]) * FNV_PRIME;
	return hash;
}
