/* test_wire_port.c - the port "wire" between processes: frames both ways, who meets whom, and an other end
 * that writes what it likes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "numbered_frames.h"
#include "port/wire_meet.h"
#include "port/wire_port.h"

#ifdef __SANITIZE_THREAD__
#define EXCHANGED 200000u
#define ROUNDS    20000u
#else
#define EXCHANGED 1000000u
#define ROUNDS    200000u
#endif

static char folder[32], path[64];

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/c10m-wire-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/socket", folder);
	return 0;
}

/* Nothing is left: else the folder could not be removed. */
static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

static int try_open(struct port **port, uint32_t address, bool no_checksums, char error[PORT_ERROR_BYTES])
{
	const struct wire_config config = {.path = path, .address = address, .no_checksums = no_checksums};

	error[0] = '\0';
	return wire_open(&config, port, error);
}

static struct port *open_end(uint32_t address)
{
	char error[PORT_ERROR_BYTES];
	struct port *port = NULL;

	if (try_open(&port, address, false, error) < 0)
		fail_msg("%s", error);
	return port;
}

/* Who joins waits for the answer, so that the other must look meanwhile. */
struct joining {
	struct port *port;
	int result;
	bool no_checksums;
	atomic_bool done;
	char error[PORT_ERROR_BYTES];
};

static void *join_run(void *argument)
{
	struct joining *joining = argument;

	joining->result = try_open(&joining->port, 2, joining->no_checksums, joining->error);
	atomic_store(&joining->done, true);
	return NULL;
}

/* One round of a worker without work. */
static void look(struct port *port)
{
	struct pollfd fd = {.fd = port->wait_fd, .events = POLLIN};

	if (port->ops->wait_prepare(port))
		poll(&fd, 1, 1);
	port->ops->wait_done(port);
}

static void join(struct port *first, struct joining *joining)
{
	pthread_t thread;

	pthread_create(&thread, NULL, join_run, joining);
	while (!atomic_load(&joining->done))
		look(first);
	pthread_join(thread, NULL);
}

static void open_both(struct port *ends[2])
{
	struct joining joining = {0};

	ends[0] = open_end(1);
	assert_false(wire_is_plugged(ends[0]));
	join(ends[0], &joining);
	if (joining.result < 0)
		fail_msg("%s", joining.error);
	ends[1] = joining.port;
	look(ends[0]); /* its greeting */
	assert_true(wire_is_plugged(ends[0]) && wire_is_plugged(ends[1]));
}

/* --- frames ------------------------------------------------------------------------------ */

static void test_both_directions(void **state)
{
	struct packet packet;
	struct port *ends[2];

	(void)state;
	open_both(ends);
	assert_memory_not_equal(ends[0]->caps.address, ends[1]->caps.address, 6);
	for (uint32_t i = 0; i < 5 * WIRE_SLOTS; i++) {
		send_one(ends[0], i);
		send_one(ends[1], i + 1000000);
		receive_one(ends[1], i);
		receive_one(ends[0], i + 1000000);
	}
	assert_int_equal(port_rx(ends[0], &packet, 1), 0);
	assert_int_equal(ends[0]->stats.tx_packets, 5 * WIRE_SLOTS);
	assert_int_equal(ends[1]->stats.rx_bytes, ends[0]->stats.tx_bytes);
	assert_int_equal(ends[0]->stats.rx_invalid + ends[1]->stats.rx_invalid, 0);
	port_close(ends[0]);
	port_close(ends[1]);
}

/* A full wire lends nothing and loses nothing; what is not filled comes back at once. */
static void test_room(void **state)
{
	struct packet *packets = calloc(WIRE_SLOTS + 1, sizeof(*packets));
	struct port *ends[2];

	(void)state;
	open_both(ends);
	for (uint32_t round = 0; round < 3; round++) {
		assert_int_equal(port_tx_reserve(ends[0], packets, WIRE_SLOTS + 1), WIRE_SLOTS);
		port_tx_submit(ends[0], packets, 0, WIRE_SLOTS);
		assert_int_equal(port_tx_reserve(ends[0], packets, WIRE_SLOTS), WIRE_SLOTS);
		for (uint32_t i = 0; i < WIRE_SLOTS; i++)
			write_frame(&packets[i], i);
		port_tx_submit(ends[0], packets, WIRE_SLOTS, WIRE_SLOTS);
		assert_int_equal(port_tx_reserve(ends[0], packets, 1), 0);
		assert_int_equal(ends[0]->stats.tx_full, 2 * (round + 1));
		for (uint32_t i = 0; i < WIRE_SLOTS; i++)
			receive_one(ends[1], i);
	}
	free(packets);
	port_close(ends[0]);
	port_close(ends[1]);
}

/* What one end leaves to hardware that there is none of is for both to agree on. */
static void test_no_checksums(void **state)
{
	struct joining joining = {0};
	struct packet packet;
	struct port *first = NULL;

	(void)state;
	assert_int_equal(try_open(&first, 1, true, joining.error), 0);
	assert_true(first->caps.tx_checksum);
	join(first, &joining);
	assert_int_equal(joining.result, -EPROTO);
	assert_non_null(strstr(joining.error, "--no-checksums"));
	look(first);
	joining = (struct joining){.no_checksums = true};
	join(first, &joining);
	assert_int_equal(joining.result, 0);
	look(first);
	assert_int_equal(port_tx_reserve(joining.port, &packet, 1), 1);
	write_frame(&packet, 1);
	packet.checksum = PACKET_CSUM_PARTIAL;
	packet.csum_start = 34;
	packet.csum_offset = 16;
	port_tx_submit(joining.port, &packet, 1, 1);
	assert_int_equal(port_rx(first, &packet, 1), 1);
	assert_int_equal(packet.checksum, PACKET_CSUM_PARTIAL);
	assert_int_equal(packet.csum_start, 34);
	assert_int_equal(packet.csum_offset, 16);
	port_rx_release(first, &packet, 1);
	port_close(joining.port);
	port_close(first);
}

/* --- who meets whom ------------------------------------------------------------------------ */

/* A cable that is not plugged in: frames go nowhere, and are counted. */
static void test_nobody_there(void **state)
{
	struct packet packets[PORT_BURST + 1];
	struct port *port = open_end(1);

	(void)state;
	assert_int_equal(port_rx(port, packets, PORT_BURST), 0);
	assert_int_equal(port_tx_reserve(port, packets, PORT_BURST + 1), PORT_BURST);
	for (uint32_t i = 0; i < PORT_BURST; i++)
		write_frame(&packets[i], i);
	port_tx_submit(port, packets, PORT_BURST - 1, PORT_BURST);
	assert_int_equal(port->stats.tx_lost, PORT_BURST - 1);
	assert_int_equal(port->stats.tx_packets, 0);
	port_close(port);
}

static void test_third_is_refused(void **state)
{
	struct joining third = {0};
	struct port *ends[2];

	(void)state;
	open_both(ends);
	join(ends[0], &third);
	assert_int_equal(third.result, -ECONNREFUSED);
	assert_non_null(strstr(third.error, "another path"));
	send_one(ends[0], 7);
	receive_one(ends[1], 7);
	port_close(ends[0]);
	port_close(ends[1]);
}

/* Whoever is left waits for the next, also who had joined: it listens from then on. */
static void test_next_one(void **state)
{
	struct joining joining = {0};
	struct port *ends[2];

	(void)state;
	open_both(ends);
	send_one(ends[1], 1);
	port_close(ends[1]);
	receive_one(ends[0], 1); /* what was sent before it went is not lost */
	look(ends[0]);
	assert_false(wire_is_plugged(ends[0]));
	join(ends[0], &joining);
	assert_int_equal(joining.result, 0);
	look(ends[0]);
	send_one(ends[0], 2);
	receive_one(joining.port, 2);
	port_close(ends[0]);
	look(joining.port);
	assert_false(wire_is_plugged(joining.port));
	ends[0] = joining.port;
	joining = (struct joining){0};
	join(ends[0], &joining);
	assert_int_equal(joining.result, 0);
	look(ends[0]);
	send_one(joining.port, 3);
	receive_one(ends[0], 3);
	port_close(joining.port);
	port_close(ends[0]);
}

/* A worker that never sleeps notices, too. */
static void test_noticed_while_busy(void **state)
{
	struct packet packet;
	struct port *ends[2];

	(void)state;
	open_both(ends);
	port_close(ends[1]);
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(port_rx(ends[0], &packet, 1), 0);
	assert_false(wire_is_plugged(ends[0]));
	port_close(ends[0]);
}

/* Who joined cannot listen at once, since somebody else holds the folder: it tries again by itself. */
static void test_listens_later(void **state)
{
	struct joining joining = {0};
	struct port *ends[2];
	struct pollfd fd;
	int lock = open(folder, O_RDONLY | O_DIRECTORY);

	(void)state;
	open_both(ends);
	port_close(ends[0]);
	assert_int_equal(flock(lock, LOCK_EX), 0);
	look(ends[1]);
	assert_false(wire_is_plugged(ends[1]));
	assert_int_not_equal(access(path, F_OK), 0);
	close(lock);
	fd = (struct pollfd){.fd = ends[1]->wait_fd, .events = POLLIN};
	assert_true(ends[1]->ops->wait_prepare(ends[1]));
	assert_int_equal(poll(&fd, 1, 10000), 1);
	ends[1]->ops->wait_done(ends[1]);
	assert_int_equal(poll(&fd, 1, 300), 0); /* and sleeps then */
	join(ends[1], &joining);
	assert_int_equal(joining.result, 0);
	port_close(joining.port);
	port_close(ends[1]);
}

static void test_paths(void **state)
{
	struct joining joining = {0};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char kept[sizeof(path)];
	struct port *port = NULL;
	int fd;

	(void)state;
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(try_open(&port, 1, false, joining.error), -EADDRINUSE);
	assert_int_equal(access(path, F_OK), 0); /* what is not ours stays */
	close(fd);
	unlink(path);
	memcpy(address.sun_path, path, sizeof(path));
	fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd); /* as one that was killed leaves it */
	port = open_end(1);
	join(port, &joining);
	assert_int_equal(joining.result, 0);
	port_close(joining.port);
	port_close(port);
	strcpy(kept, path);
	snprintf(path, sizeof(path), "%s/none/socket", folder);
	assert_int_equal(try_open(&port, 1, false, joining.error), -ENOENT);
	assert_non_null(strstr(joining.error, "--wire"));
	strcpy(path, "/sys/c10m-wire"); /* no file system for sockets: EPERM, or EROFS, or EACCES */
	assert_true(try_open(&port, 1, false, joining.error) < -1);
	assert_non_null(strstr(joining.error, "--wire"));
	strcpy(path, kept);
}

/* --- an other end that writes what it likes ------------------------------------------------ */

struct hostile {
	int socket;
	struct wire_region *own;
	struct wire_region *seen; /* the victim's */
};

static void hostile_connect(struct hostile *hostile)
{
	struct wire_meet meet;
	char error[PORT_ERROR_BYTES];

	*hostile = (struct hostile){.socket = wire_meet_open(&meet, path, 1000, error)};
	assert_true(hostile->socket >= 0);
}

static void hostile_plug_in(struct hostile *hostile, struct port *victim)
{
	int fd;

	hostile_connect(hostile);
	hostile->own = wire_region_make(&fd);
	assert_non_null(hostile->own);
	assert_true(wire_hello_send(hostile->socket, fd, true));
	close(fd);
	look(victim);
	assert_int_equal(wire_hello_receive(hostile->socket, true, &hostile->seen), 1);
	assert_true(wire_is_plugged(victim));
}

static void hostile_leave(struct hostile *hostile)
{
	wire_region_unmap(hostile->own);
	wire_region_unmap(hostile->seen);
	close(hostile->socket);
}

/* Nothing that is not a sealed region of the right size is mapped. */
static void test_false_greetings(void **state)
{
	struct port *victim = open_end(1);
	struct hostile hostile;
	int unsealed = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int small = memfd_create("small", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int others[] = {unsealed, small, STDERR_FILENO};

	(void)state;
	assert_int_equal(ftruncate(unsealed, 2 << 20), 0);
	assert_int_equal(fcntl(small, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | 0x0010), 0);
	for (uint32_t i = 0; i < ARRAY_COUNT(others); i++) {
		hostile_connect(&hostile);
		assert_true(wire_hello_send(hostile.socket, others[i], true));
		look(victim);
		look(victim);
		assert_false(wire_is_plugged(victim));
		assert_int_equal(victim->stats.rx_invalid, i + 1);
		hostile_leave(&hostile);
	}
	hostile_connect(&hostile);
	assert_int_equal(send(hostile.socket, "c10m?", 5, 0), 5);
	look(victim);
	look(victim);
	assert_false(wire_is_plugged(victim));
	assert_int_equal(victim->stats.rx_invalid, ARRAY_COUNT(others) + 1);
	hostile_leave(&hostile);
	close(unsealed);
	close(small);
	port_close(victim);
}

static void send_two_descriptors(int to, int fd)
{
	struct iovec part = {"c10m?", 5};
	union {
		struct cmsghdr header;
		uint8_t bytes[CMSG_SPACE(2 * sizeof(int))];
	} control = {.header = {.cmsg_level = SOL_SOCKET,
				.cmsg_type = SCM_RIGHTS,
				.cmsg_len = CMSG_LEN(2 * sizeof(int))}};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};

	memcpy(CMSG_DATA(&control.header), (const int[]){fd, fd}, 2 * sizeof(int));
	assert_int_equal(sendmsg(to, &message, 0), 5);
}

/* The lowest one that is free. */
static int next_descriptor(void)
{
	int fd = dup(STDERR_FILENO);

	close(fd);
	return fd;
}

/* Descriptors that nobody asked for do not pile up: else anybody could use up all that we may have. */
static void test_descriptors_are_closed(void **state)
{
	struct port *victim = open_end(1);
	struct hostile hostile;
	int before = next_descriptor();

	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		hostile_connect(&hostile);
		send_two_descriptors(hostile.socket, STDERR_FILENO);
		look(victim);
		look(victim);
		assert_false(wire_is_plugged(victim));
		hostile_leave(&hostile);
	}
	assert_int_equal(next_descriptor(), before);
	port_close(victim);
}

/* Our frames are ours: the other end has no way to write them, whatever it is given. */
static void test_read_only(void **state)
{
	struct wire_region *region, *other;
	int fd;

	(void)state;
	region = wire_region_make(&fd);
	assert_non_null(region);
	assert_true(mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	assert_int_not_equal(ftruncate(fd, 0), 0);
	assert_int_not_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2 << 20), 0);
	other = wire_region_map(fd);
	assert_non_null(other);
	assert_int_not_equal(mprotect(other, 2 << 20, PROT_READ | PROT_WRITE), 0);
	wire_region_unmap(other);
	wire_region_unmap(region);
	close(fd);
}

/* Who connects and says nothing does not keep the place; the next one gets it. */
static void test_silent_one(void **state)
{
	struct port *victim = open_end(1);
	struct hostile silent;
	struct joining joining = {0};

	(void)state;
	hostile_connect(&silent);
	look(victim);
	assert_false(wire_is_plugged(victim));
	join(victim, &joining);
	assert_int_equal(joining.result, 0);
	look(victim);
	send_one(victim, 9);
	receive_one(joining.port, 9);
	hostile_leave(&silent);
	port_close(joining.port);
	port_close(victim);
}

static void test_impossible_counters(void **state)
{
	struct packet packets[PORT_BURST];
	struct port *victim = open_end(1);
	struct hostile hostile;

	(void)state;
	hostile_plug_in(&hostile, victim);
	atomic_store(&hostile.own->sent, WIRE_SLOTS + 1);
	assert_int_equal(port_rx(victim, packets, PORT_BURST), 0);
	assert_false(wire_is_plugged(victim));
	hostile_leave(&hostile);
	hostile_plug_in(&hostile, victim);
	atomic_store(&hostile.own->taken, 1); /* nothing was sent */
	for (uint32_t i = 0; i < WIRE_SLOTS / PORT_BURST; i++) {
		assert_int_equal(port_tx_reserve(victim, packets, PORT_BURST), PORT_BURST);
		for (uint32_t j = 0; j < PORT_BURST; j++)
			write_frame(&packets[j], j);
		if (i == 0) /* all before anything is sent: the next look sees it */
			atomic_store(&hostile.own->taken, 1000);
		port_tx_submit(victim, packets, i ? PORT_BURST : PORT_BURST - 1, PORT_BURST);
	}
	atomic_store(&hostile.own->taken, WIRE_SLOTS * 2);
	port_tx_reserve(victim, packets, PORT_BURST);
	assert_false(wire_is_plugged(victim));
	assert_int_equal(victim->stats.rx_invalid, 2);
	hostile_leave(&hostile);
	port_close(victim);
}

static void test_impossible_descriptors(void **state)
{
	static const uint64_t lengths[] = {0, 13, WIRE_SLOT_BYTES + 1, 65535, 14, WIRE_SLOT_BYTES};
	struct packet packets[PORT_BURST];
	struct port *victim = open_end(1);
	struct hostile hostile;

	(void)state;
	hostile_plug_in(&hostile, victim);
	for (uint32_t i = 0; i < ARRAY_COUNT(lengths); i++)
		atomic_store(&hostile.own->descriptors[i], lengths[i] | WIRE_PARTIAL | (uint64_t)-1 << 49);
	atomic_store(&hostile.own->sent, (uint32_t)ARRAY_COUNT(lengths));
	assert_int_equal(port_rx(victim, packets, PORT_BURST), 2);
	assert_int_equal(packets[0].bytes, 14);
	assert_int_equal(packets[1].bytes, WIRE_SLOT_BYTES);
	assert_int_equal(packets[0].checksum, PACKET_CSUM_NONE);
	assert_int_equal(victim->stats.rx_invalid, 4);
	port_rx_release(victim, packets, 2);
	assert_true(wire_is_plugged(victim));
	hostile_leave(&hostile);
	port_close(victim);
}

static uint64_t mix(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 17;
}

struct scribbler {
	struct wire_region *region;
	int socket;
	atomic_bool stop;
};

/* Sometimes near the truth, so that it stays plugged in for a while. */
static void *scribble(void *argument)
{
	struct scribbler *scribbler = argument;
	struct wire_region *region = scribbler->region;
	uint64_t state = 42;

	while (!atomic_load(&scribbler->stop)) {
		uint64_t r = mix(&state);

		atomic_store(&region->descriptors[r % WIRE_SLOTS], r << 40 | mix(&state));
		if (r % 3 == 0)
			atomic_fetch_add(&region->sent, (uint32_t)(r >> 8) % 4);
		if (r % 5 == 0)
			atomic_fetch_add(&region->taken, (uint32_t)(r >> 8) % 3);
		if (r % 7 == 0)
			atomic_store(&region->sleeps, (uint32_t)r);
		if (r % 4099 == 0)
			atomic_store(&region->sent, (uint32_t)mix(&state));
		if (r % 4111 == 0)
			atomic_store(&region->taken, (uint32_t)mix(&state));
		if (r % 101 == 0)
			(void)send(scribbler->socket, &r, r % 8 + 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	return NULL;
}

static void work_on(struct port *victim)
{
	struct packet packets[PORT_BURST];
	uint32_t count = port_rx(victim, packets, PORT_BURST), room;

	for (uint32_t i = 0; i < count; i++) {
		assert_in_range(packets[i].bytes, 14, WIRE_SLOT_BYTES);
		assert_true(packets[i].csum_start + packets[i].csum_offset <= packets[i].bytes);
	}
	port_rx_release(victim, packets, count);
	room = port_tx_reserve(victim, packets, 1 + count);
	assert_true(room <= 1 + count);
	for (uint32_t i = 0; i < room; i++)
		write_frame(&packets[i], i);
	port_tx_submit(victim, packets, room, room);
}

/* Whatever it writes, whenever: the victim goes on, and has its place free for an honest one. */
static void test_scribbler(void **state)
{
	struct port *victim = open_end(1);
	struct joining joining = {0};
	uint32_t unplugged = 0;

	(void)state;
	for (uint32_t rounds = 0; rounds < ROUNDS;) {
		struct hostile hostile;
		struct scribbler scribbler = {0};
		pthread_t thread;

		hostile_plug_in(&hostile, victim);
		scribbler.region = hostile.own;
		scribbler.socket = hostile.socket;
		pthread_create(&thread, NULL, scribble, &scribbler);
		for (uint32_t i = 0; i < ROUNDS / 4 && wire_is_plugged(victim); i++, rounds++) {
			work_on(victim);
			if (i % 512 == 0)
				look(victim);
		}
		unplugged += !wire_is_plugged(victim);
		rounds += ROUNDS / 64;
		atomic_store(&scribbler.stop, true);
		pthread_join(thread, NULL);
		hostile_leave(&hostile);
		look(victim);
		look(victim);
		assert_false(wire_is_plugged(victim));
	}
	assert_true(unplugged > 0 && victim->stats.rx_invalid >= unplugged);
	join(victim, &joining);
	assert_int_equal(joining.result, 0);
	look(victim);
	send_one(victim, 11);
	receive_one(joining.port, 11);
	port_close(joining.port);
	port_close(victim);
}

/* --- two threads ------------------------------------------------------------------------------ */

struct worker {
	struct port *port;
	uint32_t sent, received, wrong, slept;
};

static uint32_t worker_send(struct worker *worker)
{
	struct packet packets[PORT_BURST];
	uint32_t wanted = MIN_OF(1 + worker->sent * 31 % PORT_BURST, EXCHANGED - worker->sent);
	uint32_t room = port_tx_reserve(worker->port, packets, wanted);
	uint32_t filled = room > 1 && room % 3 == 0 ? room - 1 : room;

	for (uint32_t i = 0; i < filled; i++)
		write_frame(&packets[i], worker->sent++);
	port_tx_submit(worker->port, packets, filled, room);
	return filled;
}

static uint32_t worker_receive(struct worker *worker)
{
	struct packet packets[PORT_BURST];
	uint32_t max = 1 + worker->received % PORT_BURST, count = port_rx(worker->port, packets, max);

	worker->wrong += count > max;
	for (uint32_t i = 0; i < count; i++)
		worker->wrong += !frame_is(&packets[i], worker->received++);
	port_rx_release(worker->port, packets, count);
	return count;
}

/* As a worker rests: when it has sent all it has room for, a frame or room must come, or it sleeps for ever.
 */
static void *worker_run(void *argument)
{
	struct worker *worker = argument;

	while (worker->sent < EXCHANGED || worker->received < EXCHANGED) {
		struct pollfd fd = {.fd = worker->port->wait_fd, .events = POLLIN};

		if (worker_send(worker) + worker_receive(worker) > 0)
			continue;
		if (worker->sent == EXCHANGED && worker->port->ops->wait_prepare(worker->port)) {
			worker->slept++;
			if (poll(&fd, 1, 10000) == 0)
				worker->wrong++;
		} else {
			sched_yield();
		}
		worker->port->ops->wait_done(worker->port);
	}
	return NULL;
}

static void test_two_threads(void **state)
{
	struct worker workers[2] = {0};
	struct port *ends[2];
	pthread_t threads[2];

	(void)state;
	open_both(ends);
	for (int i = 0; i < 2; i++) {
		workers[i].port = ends[i];
		pthread_create(&threads[i], NULL, worker_run, &workers[i]);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(workers[i].wrong, 0);
		assert_int_equal(workers[i].received, EXCHANGED);
	}
	port_close(ends[0]);
	port_close(ends[1]);
}

static void *wait_for_frame(void *argument)
{
	struct port *port = argument;
	struct packet packet;

	while (port_rx(port, &packet, 1) == 0) {
		struct pollfd fd = {.fd = port->wait_fd, .events = POLLIN};

		if (port->ops->wait_prepare(port) && poll(&fd, 1, 10000) != 1)
			return "nobody woke us";
		port->ops->wait_done(port);
	}
	port_rx_release(port, &packet, 1);
	return NULL;
}

static void test_woken(void **state)
{
	struct port *ends[2];
	void *wrong = NULL;
	pthread_t thread;

	(void)state;
	open_both(ends);
	for (uint32_t i = 0; i < 200; i++) {
		pthread_create(&thread, NULL, wait_for_frame, ends[1]);
		usleep(i % 2 ? 500 : 0);
		send_one(ends[0], i);
		pthread_join(thread, &wrong);
		if (wrong)
			fail_msg("%s", (const char *)wrong);
	}
	port_close(ends[0]);
	port_close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_directions),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_no_checksums),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_third_is_refused),
		cmocka_unit_test(test_next_one),
		cmocka_unit_test(test_noticed_while_busy),
		cmocka_unit_test(test_listens_later),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_false_greetings),
		cmocka_unit_test(test_descriptors_are_closed),
		cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_silent_one),
		cmocka_unit_test(test_impossible_counters),
		cmocka_unit_test(test_impossible_descriptors),
		cmocka_unit_test(test_scribbler),
		cmocka_unit_test(test_two_threads),
		cmocka_unit_test(test_woken),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
