/* follower.c - from what the kernel says to what the stack is told.
 * In: netlink events, the stack's requests.  Out: stack_control, claims, sentences.
 * Owns: the netlink socket.
 *
 * The kernel is silent about some changes: routes that go with a link or an address vanish without a word.
 * So every change of a link or an address makes it tell all routes again, a little later, once for many. */
#include "run/follower.h"

#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "net/destination.h"
#include "port/afxdp.h"
#include "wire/ipv4.h"

#define READ_EVERY_US    2000  /* a busy worker looks that often */
#define READS_A_LOOK     8     /* datagrams of the kernel's */
#define REQUESTS_A_ROUND 16    /* each is two system calls */
#define TELL_DELAY_US    50000 /* changes come in swarms */
#define LOOK_EVERY_US    1000000
#define ANSWER_MS        5000
#define SENTENCE_BYTES   320
#define MTU_MIN          PATH_MTU_MIN

__attribute__((format(printf, 2, 3))) static void say(const struct follower *follower, const char *format,
						      ...)
{
	char sentence[SENTENCE_BYTES];
	va_list arguments;

	if (!follower->config.say)
		return;
	va_start(arguments, format);
	vsnprintf(sentence, sizeof(sentence), format, arguments);
	va_end(arguments);
	follower->config.say(follower->config.context, sentence);
}

static int tell(struct follower *follower, const struct stack_message *message)
{
	return stack_control(follower->config.stack, follower->now_us, message);
}

/* --- all of it ---------------------------------------------------------------------- */

static void tell_later(struct follower *follower)
{
	if (follower->stage != FOLLOWER_STEADY)
		follower->torn = true;
	else if (follower->tell_us == UINT64_MAX)
		follower->tell_us = follower->now_us + TELL_DELAY_US;
}

static void ask(struct follower *follower, enum follower_stage stage)
{
	static const enum netlink_news news[] = {[FOLLOWER_LINKS] = NEWS_LINK,
						 [FOLLOWER_ADDRESSES] = NEWS_ADDRESS,
						 [FOLLOWER_ROUTES] = NEWS_ROUTE};

	follower->stage = stage;
	if (netlink_dump(follower->netlink, news[stage]) == 0)
		return;
	follower->stage = FOLLOWER_STEADY; /* no memory, as a rule: later */
	tell_later(follower);
}

static void ask_all(struct follower *follower)
{
	follower->tell_us = UINT64_MAX;
	follower->torn = false;
	if (follower->config.shared)
		tell(follower, &(struct stack_message){.kind = STACK_RETELL});
	if (follower->config.claims)
		shared_retell(follower->config.claims);
	ask(follower, FOLLOWER_LINKS);
}

/* What was torn is not believed where it says that something is no more. */
static void told(struct follower *follower)
{
	follower->stage = FOLLOWER_STEADY;
	if (follower->torn) {
		tell_later(follower);
		return;
	}
	if (follower->config.claims)
		shared_retold(follower->config.claims);
	if (follower->config.shared)
		tell(follower, &(struct stack_message){.kind = STACK_RETOLD});
}

static void take_dumped(struct follower *follower, const struct netlink_event *event)
{
	follower->torn |= event->torn;
	if (follower->stage == FOLLOWER_LINKS && follower->config.shared)
		ask(follower, FOLLOWER_ADDRESSES);
	else if (follower->stage == FOLLOWER_ADDRESSES)
		ask(follower, FOLLOWER_ROUTES);
	else
		told(follower);
}

/* Until all that is kept has been read, changes go on being dropped without another word: what is asked for
 * now could be old before it is read. */
static void take_overrun(struct follower *follower)
{
	if (!follower->overrun_said)
		say(follower,
		    "the kernel changed more, and faster, than could be read: all of it is asked for again");
	follower->overrun_said = true;
	follower->congested = true;
	if (follower->config.shared)
		tell(follower, &(struct stack_message){.kind = STACK_DOUBT_NEIGHBOURS});
}

/* --- the link --------------------------------------------------------------------------- */

static void take_gone(struct follower *follower)
{
	if (follower->gone)
		return;
	follower->gone = true;
	say(follower, "%s was deleted, or moved away: there is nothing left to serve on",
	    follower->config.interface);
	if (follower->config.lost)
		follower->config.lost(follower->config.context);
}

static void say_up(const struct follower *follower, bool up)
{
	if (up)
		say(follower, "%s is up again: connections go on", follower->config.interface);
	else
		say(follower, "%s is down: connections are kept, and go on when it is up again",
		    follower->config.interface);
}

static void take_mtu(struct follower *follower, uint32_t mtu, const struct eth_address *mac)
{
	struct stack_message message = {.kind = STACK_SET_LINK, .mac = *mac};

	message.value = MAX_OF(MIN_OF(mtu, follower->config.mtu_max), (uint32_t)MTU_MIN);
	tell(follower, &message);
	if (follower->link_known && mtu != follower->mtu && mtu < MTU_MIN)
		say(follower, "the MTU of %s is now %u, less than the %u that c10m needs: raise it",
		    follower->config.interface, mtu, MTU_MIN);
	else if (follower->link_known && mtu != follower->mtu)
		say(follower, "the MTU of %s is now %u: segments are made to fit %u",
		    follower->config.interface, mtu, message.value);
	if (follower->link_known && !eth_equal(mac, &follower->mac))
		say(follower, "%s has got another link address: it is used from now on",
		    follower->config.interface);
}

static void take_link(struct follower *follower, const struct netlink_event *event)
{
	/* Those of other interfaces take routes with them. */
	if (follower->stage == FOLLOWER_STEADY && follower->config.shared)
		tell_later(follower);
	if (event->interface != follower->interface)
		return;
	if (event->gone) {
		take_gone(follower);
		return;
	}
	if (event->mtu != follower->mtu || !eth_equal(&event->mac, &follower->mac))
		take_mtu(follower, event->mtu, &event->mac);
	if (follower->link_known && event->up != follower->up)
		say_up(follower, event->up);
	follower->mtu = event->mtu;
	follower->mac = event->mac;
	follower->up = event->up;
	follower->link_known = true;
}

/* --- addresses, routes, neighbours ----------------------------------------------------------- */

static bool is_ours(const struct follower *follower, const struct netlink_event *event)
{
	return event->interface == follower->interface &&
	       (follower->config.address == 0 || follower->config.address == event->address);
}

static void add_address(struct follower *follower, const struct netlink_event *event)
{
	struct stack_message message = {
		.kind = STACK_ADD_ADDRESS, .address = event->address, .prefix_bits = event->prefix_bits};
	char error[SHARED_ERROR_BYTES], text[IPV4_TEXT_BYTES];
	int code = 0;

	if (follower->config.claims)
		code = shared_add(follower->config.claims, event->address, event->prefix_bits, error);
	if (code < 0) {
		say(follower, "%s", error);
		return;
	}
	tell(follower, &message); /* refused: it has as many already, and the first worker has said so */
	if (code > 0)
		say(follower, "%s has got the address %s: it is served too", follower->config.interface,
		    ipv4_to_text(event->address, text));
}

static void remove_address(struct follower *follower, const struct netlink_event *event)
{
	struct stack_message message = {.kind = STACK_REMOVE_ADDRESS, .address = event->address};
	char text[IPV4_TEXT_BYTES];

	if (follower->config.claims && shared_remove(follower->config.claims, event->address))
		say(follower, "%s has lost the address %s: its connections stand still until it is back",
		    follower->config.interface, ipv4_to_text(event->address, text));
	tell(follower, &message); /* refused: it was never told, there were too many */
}

static void take_address(struct follower *follower, const struct netlink_event *event)
{
	if (!is_ours(follower, event))
		return;
	if (event->gone)
		remove_address(follower, event);
	else
		add_address(follower, event);
	if (follower->stage == FOLLOWER_STEADY)
		tell_later(follower);
}

static void take_route(struct follower *follower, const struct netlink_event *event)
{
	struct stack_message message = {
		.kind = event->gone ? STACK_REMOVE_ROUTE : STACK_ADD_ROUTE,
		.route = event->route,
		.value = event->place,
	};

	if (event->interface != follower->interface) {
		message.route.closed = true;
		message.route.gateway = 0;
	}
	if (tell(follower, &message) != -ENOSPC || follower->full_said)
		return;
	follower->full_said = true;
	say(follower,
	    "the kernel has more than %u routes: the rest of them are not used for connections made here",
	    ROUTES_MAX);
}

static void take_neighbour(struct follower *follower, const struct netlink_event *event)
{
	struct stack_message message = {.kind = STACK_LEARN_NEIGHBOUR, .address = event->address};

	if (event->interface != follower->interface)
		return;
	if (!event->gone && event->known) {
		message.mac = event->mac;
		message.value = event->permanent;
	} else if (event->gone || event->silent) {
		message.kind = STACK_LOSE_NEIGHBOUR;
		message.value = !event->gone;
	} else {
		return; /* being asked */
	}
	tell(follower, &message); /* refused: nobody can be at such an address */
}

static void take(void *context, const struct netlink_event *event)
{
	struct follower *follower = context;

	switch (event->kind) {
	case NEWS_LINK:
		take_link(follower, event);
		break;
	case NEWS_ADDRESS:
		take_address(follower, event);
		break;
	case NEWS_ROUTE:
		take_route(follower, event);
		break;
	case NEWS_NEIGHBOUR:
		take_neighbour(follower, event);
		break;
	case NEWS_DUMPED:
		take_dumped(follower, event);
		break;
	case NEWS_OVERRUN:
		take_overrun(follower);
		break;
	}
}

/* --- the hook -------------------------------------------------------------------------------- */

static bool answer_requests(struct follower *follower)
{
	struct stack_request request;
	int count = 0;

	while (count < REQUESTS_A_ROUND && stack_request(follower->config.stack, &request)) {
		netlink_resolve(follower->netlink, follower->interface, request.address);
		count++; /* refused: the stack asks again in a second */
	}
	return count > 0;
}

static void look_for_strays(struct follower *follower)
{
	uint64_t strays = afxdp_stray_frames(follower->config.port);

	follower->look_us = follower->now_us + LOOK_EVERY_US;
	if (strays > 0 && follower->strays == 0)
		say(follower,
		    "frames come on queues of %s that nobody serves: it has got more of them. Put them back "
		    "with "
		    "'ethtool -L %s', or start again",
		    follower->config.interface, follower->config.interface);
	follower->strays = strays;
}

static bool read_news(struct follower *follower)
{
	bool any = false;

	for (int i = 0; i < READS_A_LOOK; i++) {
		if (!netlink_read(follower->netlink, take, follower)) {
			follower->read_us = follower->now_us;
			if (follower->congested)
				tell_later(follower);
			follower->congested = false;
			break;
		}
		any = true;
	}
	return any; /* all were read: there may be more, and the next round looks */
}

bool follower_run(void *context, uint64_t now_us)
{
	struct follower *follower = context;
	bool moved;

	follower->now_us = now_us;
	moved = answer_requests(follower);
	if (moved || now_us - follower->read_us >= READ_EVERY_US)
		moved |= read_news(follower);
	if (now_us >= follower->tell_us && !follower->congested) {
		ask_all(follower);
		moved = true;
	}
	if (follower->config.port && now_us >= follower->look_us)
		look_for_strays(follower);
	return moved;
}

uint64_t follower_deadline_us(void *context)
{
	const struct follower *follower = context;

	return follower->config.port ? MIN_OF(follower->tell_us, follower->look_us) : follower->tell_us;
}

int follower_fd(const struct follower *follower)
{
	return netlink_fd(follower->netlink);
}

/* --- the beginning and the end ----------------------------------------------------------------- */

/* Nothing is served before all is known. */
static int settle(struct follower *follower, char error[NETLINK_ERROR_BYTES])
{
	ask_all(follower);
	while (follower->stage != FOLLOWER_STEADY || follower->tell_us != UINT64_MAX) {
		struct pollfd wait = {.fd = follower_fd(follower), .events = POLLIN};

		if (follower->stage == FOLLOWER_STEADY)
			ask_all(follower);
		if (netlink_read(follower->netlink, take, follower) || poll(&wait, 1, ANSWER_MS) > 0)
			continue;
		snprintf(error, NETLINK_ERROR_BYTES,
			 "the kernel does not list its addresses and routes: try again");
		return -ETIMEDOUT;
	}
	return 0;
}

int follower_start(struct follower *follower, const struct follower_config *config, uint64_t now_us,
		   char error[NETLINK_ERROR_BYTES])
{
	unsigned follow = FOLLOW_LINKS;

	if (config->shared)
		follow |= FOLLOW_ADDRESSES | FOLLOW_ROUTES | FOLLOW_NEIGHBOURS;
	*follower = (struct follower){
		.config = *config,
		.interface = if_nametoindex(config->interface),
		.now_us = now_us,
		.tell_us = UINT64_MAX,
	};
	follower->netlink = netlink_open(follow, 0, error);
	return follower->netlink ? settle(follower, error) : -EPERM;
}

void follower_stop(struct follower *follower)
{
	if (follower->netlink)
		netlink_close(follower->netlink);
	follower->netlink = NULL;
}
