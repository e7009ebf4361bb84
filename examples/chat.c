/* chat.c - a chat: a line from one goes to all others in the room. "/room NAME" goes to another room, "/name
 * NAME" says who one is.
 *
 * A room is a group of connections; a line is one message, stored once. Groups and messages belong to a
 * worker: run it with one. A guest who does not read misses lines, but holds nobody up. */
#include <stdio.h>
#include <string.h>

#include <c10m/c10m.h>

#define ROOMS_MAX 1000
#define NAME_MAX  24
#define LINE_MAX  1000

struct room {
	char name[NAME_MAX];
	c10m_group group; /* 0: free */
};

struct guest {
	struct room *room;
	char name[NAME_MAX];
};

static struct room rooms[ROOMS_MAX];

/* The room of that name, or a new one; NULL: there are too many. */
static struct room *find_room(c10m_worker *worker, const char *name)
{
	struct room *unused = NULL;

	for (struct room *room = rooms; room < rooms + ROOMS_MAX; room++) {
		if (room->group && strcmp(room->name, name) == 0)
			return room;
		if (!room->group && !unused)
			unused = room;
	}
	if (unused && (unused->group = c10m_group_new(worker)) != 0)
		snprintf(unused->name, sizeof(unused->name), "%s", name);
	return unused && unused->group ? unused : NULL;
}

static void leave(c10m_conn *conn, struct guest *guest)
{
	c10m_worker *worker = c10m_conn_worker(conn);

	if (!guest->room)
		return;
	c10m_group_leave(conn, guest->room->group);
	if (c10m_group_count(worker, guest->room->group) == 0) {
		c10m_group_release(worker, guest->room->group);
		guest->room->group = 0;
	}
	guest->room = NULL;
}

static void enter(c10m_conn *conn, struct guest *guest, const char *name)
{
	leave(conn, guest);
	guest->room = find_room(c10m_conn_worker(conn), name);
	if (guest->room)
		c10m_group_join(conn, guest->room->group);
	else
		c10m_close(conn);
}

/* To all others in the room. 0: too much is under way, try again. */
static int say(c10m_conn *conn, const struct guest *guest, const char *line)
{
	struct c10m_fanout_request request = {.group = guest->room->group, .except = c10m_conn_handle(conn)};
	c10m_worker *worker = c10m_conn_worker(conn);
	char text[LINE_MAX + NAME_MAX + 4];
	int bytes = snprintf(text, sizeof(text), "%s: %s\n", guest->name, line), refused;

	request.message = c10m_message_new(worker, text, (size_t)bytes);
	if (!request.message)
		return 0;
	refused = c10m_fanout(worker, &request);
	c10m_message_release(worker, request.message);
	return !refused;
}

static int take_line(c10m_conn *conn, struct guest *guest, const char *line)
{
	char name[NAME_MAX];

	if (sscanf(line, "/room %23s", name) == 1)
		enter(conn, guest, name);
	else if (sscanf(line, "/name %23s", name) == 1)
		memcpy(guest->name, name, sizeof(name));
	else if (guest->room)
		return say(conn, guest, line);
	return 1;
}

/* Whole lines are taken; the beginning of one stays with c10m until its end has come. */
static size_t on_data(c10m_conn *conn, const void *data, size_t len)
{
	const char *at = data, *end = at + len;

	while (at < end) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		char line[LINE_MAX + 1];
		int length = (int)((stop ? stop : end) - at);

		if (!stop && length < LINE_MAX)
			break;
		snprintf(line, sizeof(line), "%.*s", length, at);
		line[strcspn(line, "\r")] = '\0';
		if (!take_line(conn, c10m_conn_state(conn), line)) {
			c10m_set_timer(conn, 10);
			break;
		}
		at += (size_t)length < LINE_MAX ? length : LINE_MAX;
		at += stop == at;
	}
	return (size_t)(at - (const char *)data);
}

static void on_open(c10m_conn *conn)
{
	struct guest *guest = c10m_conn_state(conn);

	snprintf(guest->name, sizeof(guest->name), "guest");
	enter(conn, guest, "lobby");
}

static void on_close(c10m_conn *conn, enum c10m_close_reason reason)
{
	(void)reason;
	leave(conn, c10m_conn_state(conn));
}

int main(int argc, char **argv)
{
	const struct c10m_service chat = {
		.name = "chat",
		.port = 6667,
		.flags = C10M_NODELAY,
		.state_size = sizeof(struct guest),
		.groups = 1,
		.on_open = on_open,
		.on_data = on_data,
		.on_timer = c10m_resume,
		.on_close = on_close,
		.keepalive_ms = 60000,
	};

	return c10m_main(argc, argv, &chat, 1);
}
