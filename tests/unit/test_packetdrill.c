/* test_packetdrill.c - libc10m-packetdrill.so, loaded and called as the public packetdrill does: packets and
 * calls from one thread, calls that block from a second one. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "posix/packetdrill.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

#define FLAGS       "local=192.168.0.1/16,remote=192.0.2.0/24,mtu=1500"
#define LOCAL       0xc0a80001u
#define REMOTE      0xc0000201u
#define LOCAL_PORT  8080
#define REMOTE_PORT 40000
#define ISS         1000u

static const char *library_path;
static struct packetdrill_interface with;
static void *library;

#define USER with.userdata

/* --- packets --------------------------------------------------------------------------------------- */

struct seen {
	struct tcp_segment segment;
	uint8_t packet[2048];
	uint8_t options[40];
	uint32_t option_bytes;
	long long time_us;
};

static uint32_t irs; /* the stack's */

static void give(uint8_t flags, uint32_t seq, uint32_t ack, uint32_t bytes, const char *options,
		 size_t option_bytes)
{
	uint8_t packet[2048] = {0}, *tcp = packet + IPV4_HEADER_BYTES;
	uint32_t header = TCP_HEADER_BYTES + (uint32_t)option_bytes;
	const struct ipv4_header ip = {.source = REMOTE,
				       .destination = LOCAL,
				       .ttl = 64,
				       .protocol = IP_PROTOCOL_TCP,
				       .total_bytes = (uint16_t)(IPV4_HEADER_BYTES + header + bytes)};
	const struct tcp_segment segment = {.source_port = REMOTE_PORT,
					    .destination_port = LOCAL_PORT,
					    .seq = ISS + seq,
					    .ack = flags & TCP_ACK ? irs + ack : 0,
					    .flags = flags,
					    .window = 65535};

	tcp_emit(tcp, &segment);
	memcpy(tcp + TCP_HEADER_BYTES, options, option_bytes);
	tcp[12] = (uint8_t)(header << 2);
	memset(tcp + header, 'x', bytes);
	ipv4_emit(packet, &ip);
	tcp_store_checksum(tcp, header + bytes, 0, 0, REMOTE, LOCAL);
	assert_int_equal(with.netdev_send(USER, packet, ip.total_bytes), 0);
}

static void take_any(struct seen *seen)
{
	size_t room = sizeof(seen->packet);
	struct ipv4_header ip;
	const uint8_t *tcp;

	assert_int_equal(with.netdev_receive(USER, seen->packet, &room, &seen->time_us), 0);
	assert_int_equal(ipv4_parse(seen->packet, (uint32_t)room, &ip), DROP_NONE);
	assert_int_equal(ip.total_bytes, room);
	assert_int_equal(ip.source, LOCAL);
	assert_int_equal(ip.destination, REMOTE);
	tcp = seen->packet + ip.header_bytes;
	assert_int_equal(tcp_parse(tcp, room - ip.header_bytes, &seen->segment), DROP_NONE);
	assert_true(tcp_checksum_good(tcp, room - ip.header_bytes, LOCAL, REMOTE));
	seen->option_bytes = seen->segment.header_bytes - TCP_HEADER_BYTES;
	memcpy(seen->options, tcp + TCP_HEADER_BYTES, seen->option_bytes);
}

static void take(struct seen *seen, uint8_t flags, uint32_t bytes)
{
	take_any(seen);
	assert_int_equal(seen->segment.flags, flags);
	assert_int_equal(seen->segment.payload_bytes, bytes);
}

/* --- a second thread ---------------------------------------------------------------------------------- */

enum what { ACCEPTS, READS, WRITES, CONNECTS };

struct blocked {
	pthread_t thread;
	int fd, error;
	ssize_t result;
	char data[4000];
	enum what what;
};

static void address(struct sockaddr_in *to, uint32_t ip, uint16_t port)
{
	*to = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(ip)};
}

static void *block(void *argument)
{
	struct blocked *blocked = argument;
	struct sockaddr_in to;
	socklen_t bytes = sizeof(to);

	address(&to, REMOTE, REMOTE_PORT);
	if (blocked->what == ACCEPTS)
		blocked->result = with.accept(USER, blocked->fd, (struct sockaddr *)&to, &bytes);
	else if (blocked->what == READS)
		blocked->result = with.read(USER, blocked->fd, blocked->data, sizeof(blocked->data));
	else if (blocked->what == WRITES)
		blocked->result = with.write(USER, blocked->fd, blocked->data, sizeof(blocked->data));
	else
		blocked->result = with.connect(USER, blocked->fd, (struct sockaddr *)&to, bytes);
	blocked->error = errno;
	return NULL;
}

static void begin(struct blocked *blocked, enum what what, int fd)
{
	*blocked = (struct blocked){.what = what, .fd = fd, .result = -7};
	assert_int_equal(pthread_create(&blocked->thread, NULL, block, blocked), 0);
	assert_int_equal(with.usleep(USER, 20000), 0);
	assert_int_equal(blocked->result, -7); /* it waits */
}

static ssize_t end(struct blocked *blocked)
{
	assert_int_equal(pthread_join(blocked->thread, NULL), 0);
	return blocked->result;
}

/* --- tests ------------------------------------------------------------------------------------------ */

static void load(const char *flags)
{
	void (*init)(const char *text, struct packetdrill_interface *table);

	library = dlopen(library_path, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		fail_msg("%s", dlerror());
	*(void **)&init = dlsym(library, "packetdrill_interface_init");
	assert_non_null(init);
	memset(&with, 0, sizeof(with));
	init(flags, &with);
	for (size_t i = 0; i < sizeof(with) / sizeof(void *); i++)
		assert_non_null(((void **)&with)[i]);
	irs = 0;
}

static int begin_test(void **state)
{
	(void)state;
	load(FLAGS ",receive_bytes=65535,send_bytes=2000");
	return 0;
}

static int end_test(void **state)
{
	(void)state;
	with.free(USER);
	return dlclose(library);
}

static int listener(void)
{
	struct sockaddr_in here;
	int fd = with.socket(USER, AF_INET, SOCK_STREAM, IPPROTO_TCP), on = 1;

	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) >= 0); /* a real one */
	assert_int_equal(with.setsockopt(USER, fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	address(&here, LOCAL, LOCAL_PORT);
	assert_int_equal(with.bind(USER, fd, (struct sockaddr *)&here, sizeof(here)), 0);
	assert_int_equal(with.listen(USER, fd, 1), 0);
	return fd;
}

/* As Linux's own: mss, sackOK, timestamps, nop, wscale. */
#define SYN_OPTIONS "\x02\x04\x05\xb4\x04\x02\x08\x0a\0\0\0\1\0\0\0\0\x01\x03\x03\x07"

static int open_passive(int listening)
{
	struct blocked accepting;
	struct seen seen;
	int fd;

	begin(&accepting, ACCEPTS, listening);
	give(TCP_SYN, 0, 0, 0, "\x02\x04\x05\xb4", 4);
	take(&seen, TCP_SYN | TCP_ACK, 0);
	irs = seen.segment.seq;
	give(TCP_ACK, 1, 1, 0, "", 0);
	fd = (int)end(&accepting);
	assert_true(fd >= 0 && fd != listening);
	return fd;
}

static void a_second_thread_accepts_and_reads(void **state)
{
	int listening = listener(), fd = open_passive(listening), bytes = 0;
	struct blocked reading;
	struct seen seen;

	(void)state;
	begin(&reading, READS, fd);
	give(TCP_ACK | TCP_PSH, 1, 1, 100, "", 0);
	assert_int_equal(end(&reading), 100);
	assert_memory_equal(reading.data, "xxxxxxxxxx", 10);
	take(&seen, TCP_ACK, 0);
	assert_int_equal(seen.segment.ack, ISS + 101);
	give(TCP_ACK | TCP_PSH, 101, 1, 30, "", 0);
	take(&seen, TCP_ACK, 0);
	assert_int_equal(with.ioctl(USER, fd, FIONREAD, &bytes), 0);
	assert_int_equal(bytes, 30);
	give(TCP_ACK | TCP_FIN, 131, 1, 0, "", 0);
	take(&seen, TCP_ACK, 0);
	assert_int_equal(with.recv(USER, fd, reading.data, 100, MSG_PEEK), 30);
	assert_int_equal(with.recv(USER, fd, reading.data, 100, 0), 30);
	assert_int_equal(with.read(USER, fd, reading.data, 100), 0);
	assert_int_equal(with.close(USER, fd), 0);
	take(&seen, TCP_FIN | TCP_ACK, 0);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void a_write_waits_for_room(void **state)
{
	int fd = open_passive(listener());
	struct blocked writing;
	struct seen seen;
	uint32_t arrived = 0;

	(void)state;
	begin(&writing, WRITES, fd);
	while (arrived < 4000) {
		take_any(&seen);
		assert_int_equal(seen.segment.seq, irs + 1 + arrived);
		assert_true(seen.segment.payload_bytes > 0);
		arrived += seen.segment.payload_bytes;
		give(TCP_ACK, 1, 1 + arrived, 0, "", 0);
	}
	assert_int_equal(arrived, 4000);
	assert_int_equal(end(&writing), 4000);
}

static long long now_us(void)
{
	struct timeval now;

	assert_int_equal(with.gettimeofday(USER, &now, NULL), 0);
	return (long long)now.tv_sec * 1000000 + now.tv_usec;
}

static void connect_blocks_and_packets_have_their_time(void **state)
{
	int fd = with.socket(USER, AF_INET, SOCK_STREAM, IPPROTO_TCP), error = 5;
	socklen_t bytes = sizeof(error);
	struct sockaddr_in here;
	struct blocked connecting;
	struct seen seen;
	long long before_us = now_us();

	(void)state;
	address(&here, LOCAL, LOCAL_PORT);
	assert_int_equal(with.bind(USER, fd, (struct sockaddr *)&here, sizeof(here)), 0);
	begin(&connecting, CONNECTS, fd);
	with.usleep(USER, 50000); /* the packet's time is not that of its taking */
	take(&seen, TCP_SYN, 0);
	assert_true(seen.time_us >= before_us && seen.time_us < now_us() - 45000);
	/* Linux's order, and its window scale where it is asked for. */
	assert_int_equal(seen.option_bytes, 20);
	assert_memory_equal(seen.options, SYN_OPTIONS, 8);
	assert_memory_equal(seen.options + 16, "\x01\x03\x03", 3);
	irs = seen.segment.seq;
	give(TCP_SYN | TCP_ACK, 0, 1, 0, "\x02\x04\x05\xb4", 4);
	assert_int_equal(end(&connecting), 0);
	take(&seen, TCP_ACK, 0);
	assert_int_equal(with.getsockopt(USER, fd, SOL_SOCKET, SO_ERROR, &error, &bytes), 0);
	assert_int_equal(error, 0);
	give(TCP_RST | TCP_ACK, 1, 1, 0, "", 0);
	with.usleep(USER, 20000);
	assert_int_equal(with.read(USER, fd, &error, sizeof(error)), -1);
	assert_int_equal(errno, ECONNRESET);
}

static void readiness(void **state)
{
	int fd = open_passive(listener()), epoll = with.epoll_create(USER, 1);
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.u64 = 77}, got;
	struct pollfd poll = {.fd = fd, .events = POLLIN | POLLOUT};
	char info[256] = {0};
	socklen_t bytes = sizeof(info);
	struct seen seen;

	(void)state;
	assert_true(epoll >= 0);
	assert_int_equal(with.poll(USER, &poll, 1, 0), 1);
	assert_int_equal(poll.revents, POLLOUT);
	assert_int_equal(with.epoll_ctl(USER, epoll, EPOLL_CTL_ADD, fd, &event), 0);
	assert_int_equal(with.epoll_wait(USER, epoll, &got, 1, 10), 0);
	give(TCP_ACK | TCP_PSH, 1, 1, 10, "", 0);
	take(&seen, TCP_ACK, 0);
	assert_int_equal(with.epoll_wait(USER, epoll, &got, 1, 1000), 1);
	assert_int_equal(got.events, EPOLLIN);
	assert_int_equal(got.data.u64, 77);
	assert_int_equal(with.epoll_ctl(USER, epoll, EPOLL_CTL_DEL, fd, NULL), 0);
	assert_int_equal(with.epoll_wait(USER, epoll, &got, 1, 0), 0);
	assert_int_equal(with.getsockopt(USER, fd, IPPROTO_TCP, 11 /* TCP_INFO */, info, &bytes), 0);
	assert_int_equal(info[0], 1); /* established */
	assert_true(bytes >= 104);
	assert_int_equal(with.fcntl(USER, fd, F_SETFL, O_RDWR | O_NONBLOCK), 0);
	assert_true(with.fcntl(USER, fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(with.read(USER, fd, info, 100), 10);
	assert_int_equal(with.read(USER, fd, info, 100), -1);
	assert_int_equal(errno, EAGAIN);
}

static void vectors_and_pipes(void **state)
{
	int fd = open_passive(listener()), ends[2];
	char first[3], second[100];
	struct iovec iov[2] = {{first, sizeof(first)}, {second, sizeof(second)}};
	struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};
	struct seen seen;

	(void)state;
	give(TCP_ACK | TCP_PSH, 1, 1, 10, "", 0);
	take(&seen, TCP_ACK, 0);
	assert_int_equal(with.recvmsg(USER, fd, &message, 0), 10);
	assert_memory_equal(second, "xxxxxxx", 7);
	iov[1].iov_len = 7;
	assert_int_equal(with.writev(USER, fd, iov, 2), 10);
	take(&seen, TCP_ACK | TCP_PSH, 10);
	assert_int_equal(with.pipe(USER, ends), 0);
	assert_int_equal(with.write(USER, ends[1], "through", 7), 7);
	give(TCP_ACK, 11, 11, 0, "", 0);
	assert_int_equal(with.splice(USER, ends[0], NULL, fd, NULL, 100, 0), 7);
	take(&seen, TCP_ACK | TCP_PSH, 7);
	assert_memory_equal(seen.segment.payload, "through", 7);
	assert_int_equal(with.close(USER, ends[0]), 0);
	assert_int_equal(with.close(USER, ends[1]), 0);
}

/* packetdrill closes what a script left open by the C library's close; the number may be given again. */
static void closed_behind_our_back(void **state)
{
	int listening = listener(), fd, again;

	(void)state;
	fd = with.socket(USER, AF_INET, SOCK_STREAM, 0);
	close(fd);
	again = with.socket(USER, AF_INET, SOCK_STREAM, 0);
	assert_int_equal(again, fd);
	assert_int_equal(with.close(USER, again), 0);
	assert_int_equal(with.close(USER, listening), 0);
	assert_int_equal(with.read(USER, listening, &fd, 1), -1);
	assert_int_equal(errno, EBADF);
}

/* Under SCHED_RR whoever looks in vain stops the machine. */
static void nothing_spins(void **state)
{
	struct rusage before, after;
	long long us;

	(void)state;
	open_passive(listener());
	getrusage(RUSAGE_SELF, &before);
	with.usleep(USER, 500000);
	getrusage(RUSAGE_SELF, &after);
	us = (after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec -
	      before.ru_stime.tv_sec) *
		     1000000LL +
	     after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec -
	     before.ru_stime.tv_usec;
	assert_true(us < 50000);
}

static void free_ends_calls_that_wait(void **state)
{
	struct blocked accepting;

	(void)state;
	load(FLAGS);
	begin(&accepting, ACCEPTS, listener());
	with.free(USER);
	assert_int_equal(end(&accepting), -1);
	assert_int_equal(accepting.error, EBADF);
	dlclose(library);
}

static void settings(void **state)
{
	int fd;
	struct seen seen;

	(void)state;
	load(FLAGS ",no_timestamps,window_scale=9,initial_window=3,receive_bytes=20000,congestion=newreno");
	fd = open_passive(listener());
	with.close(USER, fd);
	take(&seen, TCP_FIN | TCP_ACK, 0);
	fd = with.socket(USER, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	{
		struct sockaddr_in to;

		address(&to, REMOTE, 99);
		assert_int_equal(with.connect(USER, fd, (struct sockaddr *)&to, sizeof(to)), -1);
		assert_int_equal(errno, EINPROGRESS);
	}
	take(&seen, TCP_SYN, 0);
	assert_int_equal(seen.segment.wscale, 9);
	assert_int_equal(seen.segment.window, 20000);
	assert_false(seen.segment.options & TCP_OPT_TIMESTAMPS);
	with.free(USER);
	dlclose(library);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_second_thread_accepts_and_reads, begin_test, end_test),
		cmocka_unit_test_setup_teardown(a_write_waits_for_room, begin_test, end_test),
		cmocka_unit_test_setup_teardown(connect_blocks_and_packets_have_their_time, begin_test,
						end_test),
		cmocka_unit_test_setup_teardown(readiness, begin_test, end_test),
		cmocka_unit_test_setup_teardown(vectors_and_pipes, begin_test, end_test),
		cmocka_unit_test_setup_teardown(closed_behind_our_back, begin_test, end_test),
		cmocka_unit_test_setup_teardown(nothing_spins, begin_test, end_test),
		cmocka_unit_test(free_ends_calls_that_wait),
		cmocka_unit_test(settings),
	};

	if (argc != 2) {
		fprintf(stderr, "usage: %s LIBRARY\n", argv[0]);
		return 2;
	}
	library_path = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
