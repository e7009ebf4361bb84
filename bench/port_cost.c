/* port_cost.c - what a port costs for each packet, and what calling it through a pointer costs.
 *
 * Sending is tx_reserve and tx_submit of a burst; receiving is rx and rx_release of frames that wait already.
 * The bytes of a frame are not looked at. What the kernel does to bring a frame is the sender's time on veth,
 * and a system call of ours on TAP; what it does to send one is ours on both.
 * In: nothing; needs root for all but the wire. Out: lines, ns a packet.
 * Owns: network namespaces without a name, which go with the process. */
#define _GNU_SOURCE /* unshare, setns */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "micro.h"
#include "port/afxdp.h"
#include "port/link.h"
#include "port/packet_socket.h"
#include "port/tap.h"
#include "port/wire_port.h"
#include "wire/bytes.h"

#define OUR_ADDRESS 0x0a4d0001u /* 10.77.0.1 */
#define BURST       32u
#define WAITING     512u /* frames that wait to be received: fewer than the shortest queue holds */
#define ROUNDS      200u
#define CALLS       100000000u
#define TX_PAUSE    64u /* bursts of sending between two rests */

static void die(const char *what, const char *why)
{
	fprintf(stderr, "port_cost: %s: %s\n", what, why);
	exit(1);
}

/* An IPv4 frame to us of a protocol for experiments (RFC 3692). */
static void frame_write(uint8_t *frame, uint32_t bytes)
{
	memset(frame, 0, bytes);
	memset(frame, 0xff, 6);
	put16(frame + 12, 0x0800);
	frame[14] = 0x45;
	put16(frame + 16, (uint16_t)(bytes - 14));
	frame[22] = 64;
	frame[23] = 253;
	put32(frame + 26, 0x0a4d0002u);
	put32(frame + 30, OUR_ADDRESS);
}

static void show(const char *port, const char *what, uint32_t bytes, uint64_t ns, uint64_t packets)
{
	printf("%s, %s, %u bytes  %.1f ns\n", port, what, bytes, (double)ns / (double)packets);
	fflush(stdout);
}

/* --- the two directions ------------------------------------------------------------ */

/* One burst sent; how many frames there was room for. */
static uint32_t send_burst(struct port *port, uint32_t bytes)
{
	struct packet packets[BURST];
	uint32_t room = port_tx_reserve(port, packets, BURST);

	for (uint32_t i = 0; i < room; i++)
		packets[i].bytes = bytes;
	port_tx_submit(port, packets, room, room);
	return room;
}

static void frames_prepare(struct port *port, uint32_t bytes)
{
	struct packet packets[PORT_BURST];
	uint32_t room = port_tx_reserve(port, packets, PORT_BURST);

	for (uint32_t i = 0; i < room; i++)
		frame_write(packets[i].data, bytes);
	port_tx_submit(port, packets, 0, room);
}

static uint32_t receive_all(struct port *port)
{
	struct packet packets[BURST];
	uint32_t total = 0, count;

	while ((count = port_rx(port, packets, BURST)) > 0) {
		port_rx_release(port, packets, count);
		total += count;
	}
	return total;
}

/* --- wire ---------------------------------------------------------------------------- */

static void measure_wire(uint32_t bytes)
{
	const struct link_config config = {.frames = 1024, .frame_bytes = 2048, .mtu = 1500};
	struct port *ends[2];
	uint64_t start, tx_ns = 0, rx_ns = 0, sent = 0, received = 0;

	if (link_open(&config, ends) < 0)
		die("wire", "no memory");
	for (uint32_t round = 0; round < ROUNDS * 10; round++) {
		uint32_t waiting = 0;

		start = micro_now_ns();
		while (waiting < WAITING)
			waiting += send_burst(ends[0], bytes);
		tx_ns += micro_now_ns() - start;
		sent += waiting;
		start = micro_now_ns();
		received += receive_all(ends[1]);
		rx_ns += micro_now_ns() - start;
	}
	if (sent != received)
		die("wire", "frames are missing");
	show("wire", "send", bytes, tx_ns, sent);
	show("wire", "receive", bytes, rx_ns, received);
	port_close(ends[0]);
	port_close(ends[1]);
}

/* --- wire between processes ------------------------------------------------------------ */

#define WIRE_FRAMES 20000000u

/* The receiving end, on a core of its own, with a mapping of its own as another process would have. */
struct far_end {
	const char *path;
	struct port *port;
	atomic_bool ready;
	uint64_t received, bytes;
};

static void on_core(int number)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned)number, &set);
	sched_setaffinity(0, sizeof(set), &set); /* one core: both share it */
}

static void *far_end_run(void *argument)
{
	struct far_end *end = argument;
	const struct wire_config config = {.path = end->path, .address = OUR_ADDRESS + 1};
	char error[PORT_ERROR_BYTES];
	struct packet packets[PORT_BURST];

	on_core(1);
	if (wire_open(&config, &end->port, error) < 0)
		die("wire between processes", error);
	atomic_store(&end->ready, true);
	while (end->received < WIRE_FRAMES) {
		uint32_t count = port_rx(end->port, packets, PORT_BURST);

		for (uint32_t i = 0; i < count; i++)
			end->bytes += packets[i].bytes + packets[i].data[0];
		port_rx_release(end->port, packets, count);
		end->received += count;
	}
	return NULL;
}

/* Every frame is written anew, as a stack does. */
static void wire_send_all(struct port *port, const uint8_t *frame, uint32_t bytes)
{
	struct packet packets[PORT_BURST];

	for (uint32_t sent = 0; sent < WIRE_FRAMES;) {
		uint32_t room = port_tx_reserve(port, packets, MIN_OF(PORT_BURST, WIRE_FRAMES - sent));

		for (uint32_t i = 0; i < room; i++) {
			memcpy(packets[i].data, frame, bytes);
			packets[i].bytes = bytes;
		}
		port_tx_submit(port, packets, room, room);
		sent += room;
	}
}

static void measure_processes(uint32_t bytes)
{
	char path[64], error[PORT_ERROR_BYTES];
	const struct wire_config config = {.path = path, .address = OUR_ADDRESS};
	struct far_end end = {.path = path};
	struct packet none;
	uint8_t frame[2048];
	pthread_t thread;
	struct port *port;
	cpu_set_t before;
	uint64_t start;

	sched_getaffinity(0, sizeof(before), &before);
	snprintf(path, sizeof(path), "/tmp/c10m-port-cost-%d", (int)getpid());
	frame_write(frame, bytes);
	on_core(0);
	if (wire_open(&config, &port, error) < 0)
		die("wire between processes", error);
	if (pthread_create(&thread, NULL, far_end_run, &end) != 0)
		die("wire between processes", "no thread");
	while (!atomic_load(&end.ready) || !wire_is_plugged(port))
		port_rx(port, &none, 1);
	start = micro_now_ns();
	wire_send_all(port, frame, bytes);
	pthread_join(thread, NULL);
	show("wire between processes", "one way, a core each", bytes, micro_now_ns() - start, WIRE_FRAMES);
	sched_setaffinity(0, sizeof(before), &before);
	port_close(end.port);
	port_close(port);
}

/* --- with a kernel at the other end ----------------------------------------------------- */

static void run(const char *line)
{
	char *words[24], copy[256], *next = copy;
	size_t count = 0;
	int status;
	pid_t child;

	snprintf(copy, sizeof(copy), "%s", line);
	while (count < ARRAY_COUNT(words) - 1 && (words[count] = strsep(&next, " ")) != NULL)
		count++;
	words[count] = NULL;
	child = fork();
	if (child == 0) {
		execvp(words[0], words);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0)
		die(line, "failed");
}

/* Sends frames out of an interface of the present namespace. */
static int sender_open(const char *interface)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(interface)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("a packet socket", strerror(errno));
	return fd;
}

static void measure_receive(const char *name, struct port *port, int sender, uint32_t bytes)
{
	uint8_t frame[2048];
	uint64_t ns = 0, received = 0;

	frame_write(frame, bytes);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		uint64_t start;

		for (uint32_t i = 0; i < WAITING; i++)
			if (send(sender, frame, bytes, 0) != (ssize_t)bytes)
				die("sending", strerror(errno));
		usleep(200); /* what runs later than the sender may finish */
		start = micro_now_ns();
		received += receive_all(port);
		ns += micro_now_ns() - start;
	}
	if (received < (uint64_t)ROUNDS * WAITING * 9 / 10)
		die(name, "frames are missing");
	show(name, "receive", bytes, ns, received);
}

/* The time that sending takes, and what a port without room for more takes to make some. */
static void measure_send(const char *name, struct port *port, uint32_t bytes)
{
	uint64_t ns = 0, sent = 0;

	frames_prepare(port, bytes);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		uint64_t start = micro_now_ns();

		for (uint32_t i = 0; i < TX_PAUSE; i++)
			sent += send_burst(port, bytes);
		while (!port->ops->wait_prepare(port))
			receive_all(port);
		ns += micro_now_ns() - start;
	}
	show(name, "send", bytes, ns, sent);
}

static void measure_port(const char *name, struct port *port, int sender)
{
	static const uint32_t lengths[] = {64, 1514};

	receive_all(port);
	for (unsigned i = 0; i < ARRAY_COUNT(lengths); i++) {
		measure_send(name, port, lengths[i]);
		measure_receive(name, port, sender, lengths[i]);
	}
	close(sender);
	port_close(port);
}

static void measure_tap(void)
{
	const struct tap_config config = {.interface = "tap0", .address = OUR_ADDRESS, .prefix_bits = 24};
	char error[PORT_ERROR_BYTES];
	struct port *port;

	if (unshare(CLONE_NEWNET) < 0)
		die("a network namespace", strerror(errno));
	run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1");
	if (tap_open(&config, &port, 1, error) < 0)
		die("tap", error);
	measure_port("tap", port, sender_open("tap0"));
}

/* A veth pair in a namespace of its own. */
static void veth_make(void)
{
	if (unshare(CLONE_NEWNET) < 0)
		die("a network namespace", strerror(errno));
	run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1");
	run("ip link add ours type veth peer name theirs");
	run("ip link set ours up");
	run("ip link set theirs up");
}

static void measure_afxdp(const char *name, enum afxdp_mode mode)
{
	const struct afxdp_config config = {.interface = "ours", .address = OUR_ADDRESS, .mode = mode};
	char error[PORT_ERROR_BYTES];
	struct port *port;

	veth_make();
	if (afxdp_open(&config, &port, 1, error) < 0)
		die("afxdp", error);
	measure_port(name, port, sender_open("theirs"));
}

static void measure_packet(void)
{
	const struct packet_socket_config config = {.interface = "ours", .address = OUR_ADDRESS};
	char error[PORT_ERROR_BYTES];
	struct port *port;

	veth_make();
	if (packet_socket_open(&config, &port, 1, error) < 0)
		die("packet", error);
	measure_port("packet", port, sender_open("theirs"));
}

/* --- the call itself ---------------------------------------------------------------------- */

static __attribute__((noinline)) uint32_t nothing(struct port *port, struct packet *packets, uint32_t max)
{
	__asm__ volatile("" : : "r"(port), "r"(packets) : "memory");
	return max;
}

/* The compiler does not know the function behind the pointer; nor is it told what the direct one does. */
static void measure_call(void)
{
	const struct port_ops ops = {.name = "none", .rx = nothing};
	struct port port = {.ops = &ops};
	struct packet packets[1];
	uint64_t start, direct_ns, pointer_ns;

	start = micro_now_ns();
	for (uint32_t i = 0; i < CALLS; i++)
		nothing(&port, packets, i);
	direct_ns = micro_now_ns() - start;
	start = micro_now_ns();
	for (uint32_t i = 0; i < CALLS; i++) {
		__asm__ volatile("" : : "r"(&port) : "memory");
		port_rx(&port, packets, i);
	}
	pointer_ns = micro_now_ns() - start;
	printf("call through the port's pointer  %.2f ns\n", (double)pointer_ns / CALLS);
	printf("the same call, direct  %.2f ns\n", (double)direct_ns / CALLS);
}

int main(void)
{
	measure_call();
	measure_wire(64);
	measure_wire(1514);
	measure_processes(64);
	measure_processes(1514);
	if (geteuid() != 0)
		die("TAP, AF_XDP and packet sockets", "these are measured as root only");
	measure_tap();
	measure_afxdp("afxdp, generic", AFXDP_GENERIC);
	measure_afxdp("afxdp, native", AFXDP_NATIVE);
	measure_packet();
	return 0;
}
