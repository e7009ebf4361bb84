/* caller.c - a program on the public interface with threads of its own that call a server over c10m: for the
 * end-to-end tests. caller ADDRESS PORT [options of c10m]: two threads send lines and check that they come
 * back; then the first ends its streams in order, the second leaves one open, and the program stops. */
#include <c10m/c10m.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 200

static uint32_t address;
static uint16_t port;
static pthread_t threads[2];

static int talk(c10m_client *client, c10m_stream stream)
{
	char out[64], in[64];

	for (int i = 0; i < ROUNDS; i++) {
		int bytes = snprintf(out, sizeof(out), "line %d\n", i), got = 0;

		if (c10m_client_send(client, stream, out, (size_t)bytes, 5000) != bytes)
			return 0;
		while (got < bytes) {
			int64_t more = c10m_client_receive(client, stream, in + got, (size_t)(bytes - got),
							   5000);

			if (more <= 0)
				return 0;
			got += (int)more;
		}
		if (memcmp(out, in, (size_t)bytes) != 0)
			return 0;
	}
	return 1;
}

static void *call(void *in_order)
{
	int error, good;
	c10m_client *client = c10m_client_open(0, 0, &error);
	c10m_stream stream = client ? c10m_client_connect(client, address, port, 5000, &error) : 0;

	good = stream && talk(client, stream);
	if (good && in_order) {
		good = c10m_client_end(client, stream) == 0;
		c10m_client_close(client);
	}
	printf("%s\n", good ? "good" : "bad");
	fflush(stdout);
	return NULL;
}

static void *call_twice(void *unused)
{
	for (intptr_t i = 0; i < 2; i++) {
		pthread_create(&threads[i], NULL, call, (void *)(i == 0 ? &threads : NULL));
		pthread_join(threads[i], NULL);
	}
	c10m_stop();
	return unused;
}

static void on_start(c10m_worker *worker)
{
	static pthread_t thread;

	(void)worker;
	pthread_create(&thread, NULL, call_twice, NULL);
	pthread_detach(thread);
}

int main(int argc, char **argv)
{
	struct c10m_service service;
	struct in_addr to;

	if (argc < 3 || inet_aton(argv[1], &to) == 0)
		return 2;
	address = ntohl(to.s_addr);
	port = (uint16_t)atoi(argv[2]);
	argv[2] = argv[0];
	c10m_client_service(&service, "caller");
	service.on_start = on_start;
	return c10m_main(argc - 2, argv + 2, &service, 1);
}
