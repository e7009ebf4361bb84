/* around.c - a program on the public interface whose worker has other things to do than connections: for the
 * end-to-end tests. Lines on its standard input are answered by "read ..."; an idle timer of the kernel, a
 * call that blocks and a name report when they are done. Each connection gets a goodbye at the end. */
#include <c10m/c10m.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static c10m_group everybody;

static void say(const char *what)
{
	printf("%s\n", what);
	fflush(stdout);
}

static void on_input(c10m_worker *worker, int fd, unsigned events, void *argument)
{
	char text[100];
	ssize_t bytes = read(fd, text, sizeof(text) - 1);

	(void)argument;
	if (!(events & C10M_WATCH_READ) || bytes <= 0) {
		c10m_unwatch_fd(worker, fd);
		say("input ended");
		return;
	}
	text[bytes] = '\0';
	text[strcspn(text, "\n")] = '\0';
	printf("read %s\n", text);
	fflush(stdout);
}

static void on_timer(c10m_worker *worker, int fd, unsigned events, void *argument)
{
	(void)events;
	(void)argument;
	c10m_unwatch_fd(worker, fd);
	close(fd);
	say("timer");
}

static void block(void *argument)
{
	const struct timespec pause = {0, 100000000};

	nanosleep(&pause, NULL);
	*(int *)argument = 42;
}

static void on_done(c10m_worker *worker, void *argument)
{
	(void)worker;
	say(*(int *)argument == 42 ? "offloaded" : "wrong");
}

static void on_resolved(c10m_worker *worker, const struct c10m_resolved *resolved, void *argument)
{
	(void)worker;
	(void)argument;
	say(resolved->error == 0 && resolved->addresses[0] == 0x7f000001 ? "resolved" : "not resolved");
}

static void on_start(c10m_worker *worker)
{
	const struct itimerspec in_50_ms = {.it_value = {0, 50000000}};
	static int value;
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);

	everybody = c10m_group_new(worker);
	timerfd_settime(timer, 0, &in_50_ms, NULL);
	if (c10m_watch_fd(worker, STDIN_FILENO, C10M_WATCH_READ, on_input, NULL) ||
	    c10m_watch_fd(worker, timer, C10M_WATCH_READ, on_timer, NULL) ||
	    c10m_offload(worker, block, on_done, &value) ||
	    c10m_resolve(worker, "localhost", "http", on_resolved, NULL))
		say("refused");
}

static void on_open(c10m_conn *conn)
{
	c10m_group_join(conn, everybody);
}

static int say_goodbye(c10m_conn *conn, void *context)
{
	(void)context;
	c10m_send(conn, "goodbye\n", 8);
	c10m_close(conn);
	return 0;
}

static void on_stop(c10m_worker *worker)
{
	const struct c10m_fanout_request request = {
		.message = c10m_message_new(worker, ".", 1),
		.group = everybody,
		.filter = say_goodbye,
	};

	say(c10m_fanout(worker, &request) == 0 ? "stop" : "no fan-out");
}

int main(int argc, char **argv)
{
	const struct c10m_service service = {.name = "around",
					     .port = 7,
					     .groups = 1,
					     .on_open = on_open,
					     .on_start = on_start,
					     .on_stop = on_stop};

	return c10m_main(argc, argv, &service, 1);
}
