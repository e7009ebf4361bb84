/* bridge.c - c10m bridge: what comes in on one interface goes out on another, mistreated on its way.
 * In: argv, frames. Out: frames, a line when it is ready, a report at the end, an exit code.
 * Owns: two packet sockets, each behind a fault port that strikes what it receives. */
#define _GNU_SOURCE
#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "port/fault.h"
#include "port/packet_socket.h"
#include "run/options.h"
#include "sys/clock.h"
#include "verbs.h"

#define LOOK_US       200000 /* how often interfaces are looked after that are down */
#define ROUNDS_A_LOOK 256
#define ROOM_WAITS    50 /* times a kernel without room is waited for, a millisecond each */

enum { AB, BA };

struct bridge_options {
	const char *names[2];
	struct fault_config faults[2];
	bool given[2]; /* a direction's own faults */
	struct fault_config both;
	bool json;
};

/* One direction. */
struct way {
	const char *from, *to;
	struct port *in;       /* the fault port over the interface that frames come from */
	struct port *in_inner; /* and that interface's own */
	struct port *out;
	uint64_t sent, bytes;
	uint64_t stuck; /* lost: the kernel had no room for long */
};

struct bridge {
	struct bridge_options options;
	struct port *ports[2];
	struct way ways[2];
	char error[PORT_ERROR_BYTES];
};

static volatile sig_atomic_t stopped;
static int stop_fd; /* readable from the stop on: none is missed between a look and a sleep */

static void on_signal(int number)
{
	const uint64_t one = 1;
	int saved = errno;

	(void)number;
	stopped = 1;
	if (write(stop_fd, &one, sizeof(one)) < 0)
		errno = saved;
}

/* --- options ------------------------------------------------------------------------ */

static bool set_fault(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	struct bridge_options *options = target;

	return fault_parse(text, &options->both, error, OPTIONS_ERROR_BYTES) == 0;
}

static bool set_fault_ab(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	struct bridge_options *options = target;

	options->given[AB] = true;
	return fault_parse(text, &options->faults[AB], error, OPTIONS_ERROR_BYTES) == 0;
}

static bool set_fault_ba(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	struct bridge_options *options = target;

	options->given[BA] = true;
	return fault_parse(text, &options->faults[BA], error, OPTIONS_ERROR_BYTES) == 0;
}

#define TEXT(field)      .kind = OPTION_TEXT, .offset = offsetof(struct bridge_options, field)
#define CUSTOM(function) .kind = OPTION_CUSTOM, .set = (function)

static const struct option_spec specs[] = {
	{"a", "IF", "one interface; it must be up", TEXT(names[0])},
	{"b", "IF", "the other one", TEXT(names[1])},
	{"fault", "SPEC",
	 "what happens to frames in each direction: a list of\n"
	 "loss=2% duplicate=1% reorder=1% corrupt=0.1%   of all frames, at random\n"
	 "delay=20ms jitter=5ms   each frame arrives 15 to 25 ms later; jitter changes their order\n"
	 "rate=100mbit queue=1000 ecn=20   a link of that speed, counted as on an Ethernet; at most\n"
	 "1000 frames wait for it, and from 20 on those that can be are marked (RFC 3168)\n"
	 "seed=7   the same frames, the same faults",
	 CUSTOM(set_fault)},
	{"fault-ab", "SPEC", "from --a to --b alone, instead of --fault", CUSTOM(set_fault_ab)},
	{"fault-ba", "SPEC", "from --b to --a alone, instead of --fault", CUSTOM(set_fault_ba)},
	{"json", NULL, "the report as JSON, in one line", .kind = OPTION_FLAG,
	 .offset = offsetof(struct bridge_options, json)},
};

/* Each direction draws its own faults of the same kind. */
static bool complete_options(struct bridge_options *options)
{
	for (int way = 0; way < 2; way++)
		if (!options->given[way]) {
			options->faults[way] = options->both;
			options->faults[way].seed = 2 * options->both.seed + (uint64_t)way;
		}
	return options->names[0] && options->names[1];
}

/* --- opening and closing -------------------------------------------------------------- */

static bool open_port(struct bridge *bridge, int which)
{
	const struct packet_socket_config config = {.interface = bridge->options.names[which]};

	return packet_socket_open(&config, &bridge->ports[which], 1, bridge->error) == 1;
}

static bool open_way(struct bridge *bridge, int which)
{
	struct way *way = &bridge->ways[which];

	way->from = bridge->options.names[which];
	way->to = bridge->options.names[1 - which];
	way->in_inner = bridge->ports[which];
	way->out = bridge->ports[1 - which];
	way->in = fault_wrap(way->in_inner, &bridge->options.faults[which]);
	if (!way->in)
		snprintf(
			bridge->error, sizeof(bridge->error),
			"too little memory for what may wait from %s to %s: ask for a shorter delay or queue",
			way->from, way->to);
	return way->in != NULL;
}

static bool open_all(struct bridge *bridge)
{
	if (strcmp(bridge->options.names[0], bridge->options.names[1]) == 0) {
		snprintf(bridge->error, sizeof(bridge->error),
			 "--a and --b are the same interface: a bridge needs two");
		return false;
	}
	return open_port(bridge, 0) && open_port(bridge, 1) && open_way(bridge, AB) && open_way(bridge, BA);
}

static void close_all(struct bridge *bridge)
{
	for (int i = 0; i < 2; i++)
		port_close(bridge->ways[i].in ? bridge->ways[i].in : bridge->ports[i]);
}

/* --- the loop --------------------------------------------------------------------------- */

/* The kernel tells when it has room again; where it does not, frames are lost and counted. */
static void wait_for_room(const struct port *port)
{
	struct pollfd fd = {.fd = port->wait_fd, .events = POLLOUT};

	poll(&fd, 1, 1);
}

static void send_on(struct way *way, const struct packet *packets, uint32_t count)
{
	uint32_t done = packet_socket_send(way->out, packets, count);

	for (int wait = 0; done < count && wait < ROOM_WAITS && !stopped; wait++) {
		wait_for_room(way->out);
		done += packet_socket_send(way->out, packets + done, count - done);
	}
	way->stuck += count - done;
}

static uint32_t pass_on(struct way *way)
{
	struct packet packets[PORT_BURST];
	uint32_t count;

	fault_set_time(way->in, sys_now_ns() / 1000);
	count = port_rx(way->in, packets, PORT_BURST);
	if (count == 0)
		return 0;
	send_on(way, packets, count);
	port_rx_release(way->in, packets, count);
	return count;
}

/* Until a frame comes, one is due, or a signal. */
static void sleep_until_due(struct bridge *bridge, bool down)
{
	uint64_t at_us = UINT64_MAX, now_us;
	struct pollfd fds[3] = {[2] = {.fd = stop_fd, .events = POLLIN}};
	struct timespec timeout;

	for (int i = 0; i < 2; i++) {
		struct way *way = &bridge->ways[i];

		if (!way->in->ops->wait_prepare(way->in))
			return;
		at_us = MIN_OF(at_us, fault_deadline_us(way->in));
		fds[i] = (struct pollfd){.fd = way->in->wait_fd, .events = POLLIN};
	}
	now_us = sys_now_ns() / 1000;
	if (at_us <= now_us)
		return;
	at_us = MIN_OF(at_us - now_us, down ? LOOK_US : 3600u * 1000000u);
	timeout = (struct timespec){(time_t)(at_us / 1000000), (long)(at_us % 1000000 * 1000)};
	ppoll(fds, ARRAY_COUNT(fds), &timeout, NULL);
}

/* False when an interface is gone; `down`: one of them may be. */
static bool interfaces_exist(struct bridge *bridge, bool *down)
{
	*down = false;
	for (int i = 0; i < 2; i++) {
		if (packet_socket_gone(bridge->ports[i])) {
			snprintf(bridge->error, sizeof(bridge->error),
				 "interface %s was deleted: make it again, then start the bridge again",
				 bridge->options.names[i]);
			return false;
		}
		*down |= packet_socket_down(bridge->ports[i]);
	}
	return true;
}

static bool run(struct bridge *bridge)
{
	bool down = false, good = true;

	for (uint32_t round = 1; !stopped && good; round++) {
		uint32_t moved = pass_on(&bridge->ways[AB]) + pass_on(&bridge->ways[BA]);

		if (moved > 0 && round % ROUNDS_A_LOOK != 0)
			continue;
		good = interfaces_exist(bridge, &down);
		if (good && moved == 0)
			sleep_until_due(bridge, down);
	}
	return good;
}

/* --- the report ---------------------------------------------------------------------------- */

struct figure {
	const char *name, *text;
	uint64_t value;
};

#define FIGURES 18

/* What became of the frames of one direction, in the order of their way. */
static void collect(const struct way *way, struct figure figures[FIGURES])
{
	const struct fault_stats *stats = fault_stats(way->in);
	const struct packet_socket_stats *out = packet_socket_stats(way->out);
	const struct port_stats *in = &way->in_inner->stats;
	const struct figure all[FIGURES] = {
		{"received", "frames received; a long one that was cut counts as what came of it",
		 stats->seen},
		{"bytes", "bytes received", in->rx_bytes},
		{"long_frames", "long frames cut", stats->cut},
		{"lost", "lost", stats->lost},
		{"corrupted", "corrupted", stats->corrupted},
		{"duplicated", "duplicated", stats->duplicated},
		{"queue_drops", "dropped: the queue before the link was full", stats->queue_drops},
		{"ecn_marks", "marked: congestion experienced", stats->marked},
		{"delayed", "delayed", stats->delayed},
		{"late_us_mean", "microseconds that delayed frames left late, on average",
		 stats->late_frames ? stats->late_us / stats->late_frames : 0},
		{"late_us_max", "microseconds that a delayed frame left late, at most", stats->late_max_us},
		{"reordered", "reordered", stats->reordered},
		{"overflowed", "dropped: too many waited for their time", stats->overflowed},
		{"sent", "sent", way->out->stats.tx_packets},
		{"unsent", "dropped: the other interface was down or full", out->tx_lost + way->stuck},
		{"refused", "refused by the other interface: longer than its MTU", out->tx_refused},
		{"waiting", "still waiting at the end", fault_waiting(way->in)},
		{"missed", "lost before they were seen: the bridge was too slow, or could not read them",
		 in->rx_dropped + in->rx_invalid},
	};

	memcpy(figures, all, sizeof(all));
}

static void print_text(const struct way *way)
{
	struct figure figures[FIGURES];

	collect(way, figures);
	printf("%s to %s:\n", way->from, way->to);
	for (int i = 0; i < FIGURES; i++)
		if (figures[i].value)
			printf("%12" PRIu64 "  %s\n", figures[i].value, figures[i].text);
}

static void print_json(const struct bridge *bridge)
{
	static const char *const names[] = {"a_to_b", "b_to_a"};
	cJSON *json = cJSON_CreateObject();
	char *text;

	for (int way = 0; way < 2; way++) {
		cJSON *object = cJSON_AddObjectToObject(json, names[way]);
		struct figure figures[FIGURES];

		collect(&bridge->ways[way], figures);
		for (int i = 0; i < FIGURES; i++)
			cJSON_AddNumberToObject(object, figures[i].name, (double)figures[i].value);
	}
	text = cJSON_PrintUnformatted(json);
	printf("%s\n", text ? text : "{}");
	free(text);
	cJSON_Delete(json);
}

static void print_report(struct bridge *bridge)
{
	for (int way = 0; way < 2; way++)
		bridge->ports[way]->ops->wait_prepare(bridge->ports[way]); /* reads the kernel's counters */
	if (bridge->options.json)
		print_json(bridge);
	else
		for (int way = 0; way < 2; way++)
			print_text(&bridge->ways[way]);
	fflush(stdout);
}

/* --- the verb ----------------------------------------------------------------------------- */

static bool catch_signals(struct bridge *bridge)
{
	const struct sigaction action = {.sa_handler = on_signal};

	stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (stop_fd < 0) {
		snprintf(bridge->error, sizeof(bridge->error),
			 "no file descriptor is left (%s): raise the limit with 'ulimit -n'",
			 strerror(errno));
		return false;
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	return true;
}

static bool is_timed(const struct fault_config *config)
{
	return config->delay_us || config->rate_bits;
}

/* Frames that leave on time need a processor on time. Who may not ask for one does with what there is. */
static void keep_time(const struct bridge *bridge)
{
	const struct sched_param first = {.sched_priority = 1};

	prctl(PR_SET_TIMERSLACK, 1UL); /* else sleeps end 50 microseconds late */
	if ((is_timed(&bridge->options.faults[AB]) || is_timed(&bridge->options.faults[BA])) &&
	    sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &first) < 0)
		fprintf(stderr,
			"c10m: no real-time priority (%s): frames may leave late while other programs are "
			"busy; run as root, or with CAP_SYS_NICE\n",
			strerror(errno));
}

static int serve(struct bridge *bridge)
{
	bool good = open_all(bridge) && catch_signals(bridge);

	if (good) {
		keep_time(bridge);
		printf("bridge: %s and %s\n", bridge->options.names[0], bridge->options.names[1]);
		fflush(stdout);
		good = run(bridge);
		print_report(bridge);
	}
	if (!good)
		fprintf(stderr, "c10m: %s\n", bridge->error);
	close_all(bridge);
	return good ? 0 : EXIT_REFUSED;
}

int verb_bridge(int argc, char **argv)
{
	static struct bridge bridge;
	const struct option_group group = {"options", specs, ARRAY_COUNT(specs), &bridge.options};
	const struct option_page page = {
		"c10m bridge --a IF --b IF [--fault SPEC] [options]",
		"Carries every frame between two interfaces, as a wire would, and mistreats them on the way\n"
		"if asked to. Stop it with Ctrl-C: it reports what it did.",
		&group,
		1,
	};
	int code;

	if (!verb_options(argc, argv, &page, &code))
		return code;
	if (!complete_options(&bridge.options)) {
		fprintf(stderr, "c10m: say which interfaces to join: --a IF --b IF ('ip link' lists them)\n");
		return EXIT_USAGE;
	}
	return serve(&bridge);
}
