/* client_shared.h - what the two sides of a client share: its places and rings.
 *
 * What a side has to say about a place are bits; its number enters the ring when the first of them is set,
 * and the reader takes them all at once. So a ring with room for every place is never full. */
#ifndef C10M_RUN_CLIENT_SHARED_H
#define C10M_RUN_CLIENT_SHARED_H

#include <pthread.h>
#include <stdatomic.h>

#include "c10m/c10m.h"
#include "run/byte_ring.h"

#define CLIENTS 256u /* in a process */

/* What the thread asks for. */
#define ASK_CONNECT 0x1u
#define ASK_SEND    0x2u
#define ASK_MORE    0x4u /* there is room to receive */
#define ASK_CLOSE   0x8u

enum place_state { PLACE_FREE, PLACE_CONNECTING, PLACE_OPEN, PLACE_ENDED };

/* Whether the descriptor is to be made readable. */
enum bell_state {
	BELL_IDLE,    /* nobody wants it */
	BELL_ARMED,   /* it is to ring */
	BELL_RINGING, /* somebody writes to it just now */
	BELL_RUNG,    /* it is readable */
};

/* Numbers of places; one writer, one reader. */
struct numbers {
	CACHE_ALIGNED atomic_uint end; /* the writer's */
	CACHE_ALIGNED atomic_uint start;
	CACHE_ALIGNED uint32_t *room;
	uint32_t mask; /* the room's size less 1 */
};

/* Places of one side that are free: what was given back, the last first, then those never used. */
struct stock {
	uint32_t *given;
	uint32_t count, fresh, end;
};

struct place {
	/* The thread's side. */
	CACHE_ALIGNED atomic_uint asked;
	atomic_uint send_end, receive_start;
	uint32_t generation; /* of an accepted one the worker's, until the thread has it */
	uint32_t address;
	uint16_t port;
	bool taken;             /* by the thread */
	atomic_bool wants_room; /* bytes of the thread wait for room in the ring */
	/* The worker's side. */
	CACHE_ALIGNED atomic_uint told;
	atomic_uint send_start, receive_end;
	_Atomic enum place_state state;
	atomic_bool eof;
	atomic_bool starved; /* bytes of the peer wait for room in the ring */
	atomic_int error;    /* why it ended; 0: in order */
	bool closing;
	c10m_handle conn;
	struct c10m_endpoints endpoints;
};

struct c10m_client {
	uint32_t number, worker, service;
	uint32_t connects, accepts; /* places for either; those for connecting stand first */
	uint32_t backlog;
	uint32_t send_size, receive_size; /* of the rings of bytes */
	uint64_t spin_ns;
	size_t bytes; /* of all of it */
	int fd;
	bool batch;
	struct place *places;
	uint8_t *rings;
	/* The thread's. */
	CACHE_ALIGNED c10m_client *next_of_thread;
	struct stock own; /* places to connect with */
	bool unannounced; /* the worker may sleep over what was asked */
	bool end_told;    /* that nobody listens any more */
	/* The worker's. */
	CACHE_ALIGNED c10m_client *next_of_worker;
	struct stock vacant; /* places for accepted connections */
	bool news;           /* the bell is due */
	/* Both sides'. */
	CACHE_ALIGNED atomic_bool closing;  /* the thread has left */
	atomic_bool detached;               /* the worker will not touch it again */
	atomic_bool stopping;               /* the worker does not listen any more */
	struct numbers asks;                /* to the worker */
	struct numbers tells;               /* to the thread */
	struct numbers released;            /* to the thread: free again, places to connect with */
	struct numbers arrivals;            /* to the thread: connections to accept */
	CACHE_ALIGNED atomic_uint sequence; /* counts bells: the futex */
	atomic_bool waiting;
	_Atomic enum bell_state bell;
};

/* By number, taken and given back under the lock. A worker looks only at those that it has not detached. */
extern c10m_client *clients_of_process[CLIENTS];
extern pthread_mutex_t clients_lock;

/* On the worker: the client is its. */
void client_attach(c10m_worker *worker, void *client);
/* What c10m_client_service puts into a service; its state holds the owner of the connection. */
void client_service_describe(struct c10m_service *service, const char *name);
/* Tells the thread, asleep or not, that there is news. Either side. */
void client_ring_bell(c10m_client *client);

/* There is room: no place stands in it twice. */
static inline void numbers_put(struct numbers *numbers, uint32_t place)
{
	unsigned end = atomic_load_explicit(&numbers->end, memory_order_relaxed);

	numbers->room[end & numbers->mask] = place;
	atomic_store_explicit(&numbers->end, end + 1, memory_order_release);
}

static inline bool numbers_get(struct numbers *numbers, uint32_t *place)
{
	unsigned start = atomic_load_explicit(&numbers->start, memory_order_relaxed);

	if (start == atomic_load(&numbers->end)) /* often the last look before a sleep */
		return false;
	*place = numbers->room[start & numbers->mask];
	atomic_store_explicit(&numbers->start, start + 1, memory_order_release);
	return true;
}

/* How many wait; exact for one of the sides, old news of the other. */
static inline uint32_t numbers_count(const struct numbers *numbers)
{
	unsigned start = atomic_load_explicit(&numbers->start, memory_order_acquire);

	return atomic_load(&numbers->end) - start;
}

static inline bool stock_take(struct stock *stock, uint32_t *place)
{
	if (stock->count > 0)
		*place = stock->given[--stock->count];
	else if (stock->fresh < stock->end)
		*place = stock->fresh++;
	else
		return false;
	return true;
}

static inline void stock_give(struct stock *stock, uint32_t place)
{
	stock->given[stock->count++] = place;
}

static inline uint32_t place_index(const c10m_client *client, const struct place *place)
{
	return (uint32_t)(place - client->places);
}

static inline struct byte_ring place_send_ring(const c10m_client *client, struct place *place)
{
	size_t stride = (size_t)client->send_size + client->receive_size;

	return (struct byte_ring){client->rings + place_index(client, place) * stride, client->send_size,
				  &place->send_end, &place->send_start};
}

static inline struct byte_ring place_receive_ring(const c10m_client *client, struct place *place)
{
	size_t stride = (size_t)client->send_size + client->receive_size;

	return (struct byte_ring){client->rings + place_index(client, place) * stride + client->send_size,
				  client->receive_size, &place->receive_end, &place->receive_start};
}

#endif
