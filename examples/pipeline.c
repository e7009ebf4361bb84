/* pipeline.c - the stack on one core, the application in an ordinary thread on another: echo (RFC 862). */
#include <c10m/c10m.h>

#include <errno.h>
#include <pthread.h>

/* Sends back what has come; closes when the peer has. */
static void echo(c10m_client *client, c10m_stream stream)
{
	char bytes[4096];
	int64_t got;

	while ((got = c10m_client_receive(client, stream, bytes, sizeof(bytes), 0)) > 0)
		if (c10m_client_send(client, stream, bytes, (size_t)got, 1000) != got)
			break; /* who takes nothing for a second is left */
	if (got != -EAGAIN)    /* else that was all for now */
		c10m_client_end(client, stream);
}

/* It may block, use files, wait for other threads: packets are handled meanwhile. */
static void *application(void *worker)
{
	const struct c10m_client_options options = {.accepts = 10000, .flags = C10M_CLIENT_BATCH};
	struct c10m_stream_event events[64];
	int error, count;
	c10m_client *client = c10m_client_open_with((uint32_t)(uintptr_t)worker, 0, &options, &error);

	while (client && (count = c10m_client_wait(client, events, 64, -1)) >= 0)
		for (int i = 0; i < count; i++) {
			c10m_stream stream = events[i].stream;

			if (events[i].events & C10M_STREAM_ACCEPTABLE)
				stream = c10m_client_accept(client, 0, &error);
			if (stream)
				echo(client, stream);
		}
	if (client)
		c10m_client_close(client);
	c10m_stop();
	return NULL;
}

/* Each worker that is ready gets a thread of its own: a connection stays with its worker. */
static void on_start(c10m_worker *worker)
{
	uintptr_t number = c10m_worker_number(worker);
	pthread_t thread;

	if (pthread_create(&thread, NULL, application, (void *)number) == 0)
		pthread_detach(thread);
}

int main(int argc, char **argv)
{
	struct c10m_service service;

	c10m_client_service(&service, "pipeline");
	service.port = 7;
	service.on_start = on_start;
	return c10m_main(argc, argv, &service, 1);
}
