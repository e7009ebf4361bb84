/* netlink.c - rtnetlink through libmnl.
 * In: messages of the kernel.  Out: events, questions to the kernel.  Owns: the socket and its buffer. */
#include "sys/netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "wire/bytes.h"

#define READ_BYTES     32768 /* what the kernel fills at once when it tells all */
#define BUFFER_DEFAULT (1u << 20)

struct netlink {
	struct mnl_socket *socket;
	uint32_t dump_seq; /* of the dump that runs; 0: none */
	uint32_t seq;
	bool torn;
	_Alignas(struct nlmsghdr) uint8_t buffer[READ_BYTES];
};

/* --- parsing ------------------------------------------------------------------------- */

/* libmnl's own loops are macros that convert without a word. */
#define EACH_ATTRIBUTE(attr, from, end) \
	for ((attr) = (from); is_attribute((attr), (end)); (attr) = mnl_attr_next(attr))
#define EACH_IN(attr, message, header_bytes) \
	EACH_ATTRIBUTE(attr, mnl_nlmsg_get_payload_offset((message), (header_bytes)), \
		       (const char *)(message) + (message)->nlmsg_len) /* libmnl rounds it up */

static bool is_attribute(const struct nlattr *attr, const void *end)
{
	return mnl_attr_ok(attr, (int)((const char *)end - (const char *)attr));
}

/* An attribute of at least so many bytes, NULL when there is none. The last one of a kind counts. */
static const void *attribute(const struct nlmsghdr *message, size_t header_bytes, uint16_t kind, size_t bytes)
{
	const struct nlattr *attr, *found = NULL;

	EACH_IN(attr, message, header_bytes)
	if (mnl_attr_get_type(attr) == kind)
		found = attr;
	return found && mnl_attr_get_payload_len(found) >= bytes ? mnl_attr_get_payload(found) : NULL;
}

/* In the machine's order, as the kernel keeps counts and indices. */
static uint32_t number(const struct nlmsghdr *message, size_t header_bytes, uint16_t kind)
{
	const void *at = attribute(message, header_bytes, kind, sizeof(uint32_t));
	uint32_t value = 0;

	if (at)
		memcpy(&value, at, sizeof(value));
	return value;
}

static uint32_t address(const struct nlmsghdr *message, size_t header_bytes, uint16_t kind)
{
	const void *at = attribute(message, header_bytes, kind, sizeof(uint32_t));

	return at ? get32(at) : 0;
}

static bool link_parse(const struct nlmsghdr *message, struct netlink_event *event)
{
	const struct ifinfomsg *link = mnl_nlmsg_get_payload(message);
	const void *mac = attribute(message, sizeof(*link), IFLA_ADDRESS, sizeof(event->mac));

	/* A bridge tells of its ports by the same kind of message, in a family of its own. */
	if (link->ifi_family != AF_UNSPEC)
		return false;
	event->kind = NEWS_LINK;
	event->gone = message->nlmsg_type == RTM_DELLINK;
	event->interface = (uint32_t)link->ifi_index;
	event->up = (link->ifi_flags & IFF_UP) && (link->ifi_flags & IFF_LOWER_UP);
	event->mtu = number(message, sizeof(*link), IFLA_MTU);
	if (mac)
		memcpy(event->mac.octets, mac, sizeof(event->mac.octets));
	return true;
}

static bool address_parse(const struct nlmsghdr *message, struct netlink_event *event)
{
	const struct ifaddrmsg *header = mnl_nlmsg_get_payload(message);

	if (header->ifa_family != AF_INET)
		return false;
	event->kind = NEWS_ADDRESS;
	event->gone = message->nlmsg_type == RTM_DELADDR;
	event->interface = header->ifa_index;
	event->prefix_bits = header->ifa_prefixlen;
	event->secondary = header->ifa_flags & IFA_F_SECONDARY;
	/* On a point-to-point link IFA_ADDRESS is the other end. */
	event->address = address(message, sizeof(*header), IFA_LOCAL);
	if (event->address == 0)
		event->address = address(message, sizeof(*header), IFA_ADDRESS);
	return event->address != 0;
}

/* Of several ways at once the first is taken. */
static void hops_parse(const void *at, size_t bytes, struct netlink_event *event)
{
	const struct rtnexthop *hop = at;
	const struct nlattr *attr;

	if (bytes < sizeof(*hop) || hop->rtnh_len < sizeof(*hop) || hop->rtnh_len > bytes)
		return;
	event->interface = (uint32_t)hop->rtnh_ifindex;
	EACH_ATTRIBUTE(attr, (const void *)(hop + 1), (const char *)at + hop->rtnh_len)
	if (mnl_attr_get_type(attr) == RTA_GATEWAY && mnl_attr_get_payload_len(attr) >= 4)
		event->route.gateway = get32(mnl_attr_get_payload(attr));
}

static uint32_t metrics_mtu(const struct nlmsghdr *message)
{
	const struct nlattr *attr, *metric;

	EACH_IN(attr, message, sizeof(struct rtmsg))
	{
		if (mnl_attr_get_type(attr) != RTA_METRICS)
			continue;
		EACH_ATTRIBUTE(metric, mnl_attr_get_payload(attr),
			       (const char *)mnl_attr_get_payload(attr) + mnl_attr_get_payload_len(attr))
		if (mnl_attr_get_type(metric) == RTAX_MTU && mnl_attr_get_payload_len(metric) >= 4)
			return mnl_attr_get_u32(metric);
	}
	return 0;
}

static enum route_place place_of(const struct nlmsghdr *message)
{
	if (message->nlmsg_flags & NLM_F_MULTI) /* of a dump: in the kernel's order */
		return ROUTE_LAST;
	if (message->nlmsg_flags & NLM_F_REPLACE)
		return ROUTE_REPLACE;
	return message->nlmsg_flags & NLM_F_APPEND ? ROUTE_LAST : ROUTE_FIRST;
}

/* Only the main table's: what rules of policy routing would say differently is not seen. A way through an
 * IPv6 gateway is one that we cannot take. */
static bool route_parse(const struct nlmsghdr *message, struct netlink_event *event)
{
	const struct rtmsg *header = mnl_nlmsg_get_payload(message);
	uint32_t table = number(message, sizeof(*header), RTA_TABLE), mtu = metrics_mtu(message);
	const struct nlattr *attr;

	if (header->rtm_family != AF_INET || header->rtm_flags & RTM_F_CLONED || header->rtm_dst_len > 32 ||
	    (table ? table : header->rtm_table) != RT_TABLE_MAIN || header->rtm_tos != 0)
		return false;
	event->kind = NEWS_ROUTE;
	event->gone = message->nlmsg_type == RTM_DELROUTE;
	event->interface = number(message, sizeof(*header), RTA_OIF);
	event->route = (struct route){
		.prefix = address(message, sizeof(*header), RTA_DST),
		.gateway = address(message, sizeof(*header), RTA_GATEWAY),
		.source = address(message, sizeof(*header), RTA_PREFSRC),
		.metric = number(message, sizeof(*header), RTA_PRIORITY),
		.mtu = (uint16_t)MIN_OF(mtu, UINT16_MAX),
		.prefix_bits = header->rtm_dst_len,
		.closed = header->rtm_type != RTN_UNICAST,
	};
	event->place = place_of(message);
	EACH_IN(attr, message, sizeof(*header))
	{
		if (mnl_attr_get_type(attr) == RTA_MULTIPATH)
			hops_parse(mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr), event);
		else if (mnl_attr_get_type(attr) == RTA_VIA)
			event->route.closed = true;
	}
	return true;
}

static bool neighbour_parse(const struct nlmsghdr *message, struct netlink_event *event)
{
	const struct ndmsg *header = mnl_nlmsg_get_payload(message);
	const void *mac = attribute(message, sizeof(*header), NDA_LLADDR, sizeof(event->mac));

	if (header->ndm_family != AF_INET || header->ndm_flags & NTF_PROXY)
		return false;
	event->kind = NEWS_NEIGHBOUR;
	event->gone = message->nlmsg_type == RTM_DELNEIGH;
	event->interface = (uint32_t)header->ndm_ifindex;
	event->address = address(message, sizeof(*header), NDA_DST);
	event->permanent = header->ndm_state & (NUD_PERMANENT | NUD_NOARP);
	event->known = mac && header->ndm_state & (NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE |
						   NUD_STALE | NUD_DELAY);
	event->silent = header->ndm_state & NUD_FAILED;
	if (mac)
		memcpy(event->mac.octets, mac, sizeof(event->mac.octets));
	return event->address != 0;
}

bool netlink_parse(const struct nlmsghdr *message, struct netlink_event *event)
{
	size_t bytes = mnl_nlmsg_get_payload_len(message);

	*event = (struct netlink_event){0};
	switch (message->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return bytes >= sizeof(struct ifinfomsg) && link_parse(message, event);
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return bytes >= sizeof(struct ifaddrmsg) && address_parse(message, event);
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return bytes >= sizeof(struct rtmsg) && route_parse(message, event);
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		return bytes >= sizeof(struct ndmsg) && neighbour_parse(message, event);
	default:
		return false;
	}
}

/* --- the socket ---------------------------------------------------------------------- */

static unsigned groups_of(unsigned follow)
{
	unsigned groups = 0;

	if (follow & FOLLOW_LINKS)
		groups |= RTMGRP_LINK;
	if (follow & FOLLOW_ADDRESSES)
		groups |= RTMGRP_IPV4_IFADDR;
	if (follow & FOLLOW_ROUTES)
		groups |= RTMGRP_IPV4_ROUTE;
	if (follow & FOLLOW_NEIGHBOURS)
		groups |= RTMGRP_NEIGH;
	return groups;
}

struct netlink *netlink_open(unsigned follow, uint32_t buffer_bytes, char error[NETLINK_ERROR_BYTES])
{
	struct netlink *netlink = calloc(1, sizeof(*netlink));
	int bytes = (int)(buffer_bytes ? buffer_bytes : BUFFER_DEFAULT), fd;

	if (netlink)
		netlink->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (!netlink || !netlink->socket ||
	    mnl_socket_bind(netlink->socket, groups_of(follow), MNL_SOCKET_AUTOPID) < 0) {
		snprintf(error, NETLINK_ERROR_BYTES,
			 "the kernel cannot be asked for its addresses and routes (%s): check the limit on "
			 "open "
			 "files, and that nothing forbids netlink sockets",
			 strerror(errno));
		netlink_close(netlink);
		return NULL;
	}
	fd = mnl_socket_get_fd(netlink->socket);
	/* The first needs a privilege; the second is cut to a limit of the machine. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	return netlink;
}

void netlink_close(struct netlink *netlink)
{
	if (netlink && netlink->socket)
		mnl_socket_close(netlink->socket);
	free(netlink);
}

int netlink_fd(const struct netlink *netlink)
{
	return mnl_socket_get_fd(netlink->socket);
}

/* --- asking ----------------------------------------------------------------------------- */

static int send_message(struct netlink *netlink, struct nlmsghdr *message)
{
	message->nlmsg_seq = ++netlink->seq ? netlink->seq : ++netlink->seq;
	if (mnl_socket_sendto(netlink->socket, message, message->nlmsg_len) < 0)
		return -errno;
	return 0;
}

int netlink_dump(struct netlink *netlink, enum netlink_news kind)
{
	static const uint16_t types[] = {
		[NEWS_LINK] = RTM_GETLINK, [NEWS_ADDRESS] = RTM_GETADDR, [NEWS_ROUTE] = RTM_GETROUTE};
	uint8_t bytes[128] __attribute__((aligned(8)));
	struct nlmsghdr *message = mnl_nlmsg_put_header(bytes);
	uint8_t *header;
	int code;

	message->nlmsg_type = types[kind];
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	/* Each kind has a header of its own, and the family is the first byte of all. */
	header = mnl_nlmsg_put_extra_header(message, sizeof(struct ifinfomsg));
	*header = kind == NEWS_LINK ? AF_UNSPEC : AF_INET;
	code = send_message(netlink, message);
	if (code == 0)
		netlink->dump_seq = message->nlmsg_seq;
	netlink->torn = false;
	return code;
}

static int neighbour_message(struct netlink *netlink, uint16_t type, uint16_t flags, uint8_t use,
			     uint32_t interface, uint32_t neighbour)
{
	uint8_t bytes[128] __attribute__((aligned(8)));
	struct nlmsghdr *message = mnl_nlmsg_put_header(bytes);
	struct ndmsg *header;
	uint8_t wire[4];

	message->nlmsg_type = type;
	message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->ndm_family = AF_INET;
	header->ndm_ifindex = (int)interface;
	header->ndm_state = NUD_NONE;
	header->ndm_flags = use;
	put32(wire, neighbour);
	mnl_attr_put(message, NDA_DST, sizeof(wire), wire);
	return send_message(netlink, message);
}

int netlink_resolve(struct netlink *netlink, uint32_t interface, uint32_t neighbour)
{
	/* In use: the kernel asks when it does not know, and makes sure when it has not heard for long. It
	 * never believes us, so we cannot keep a dead one alive. */
	int code = neighbour_message(netlink, RTM_NEWNEIGH, NLM_F_CREATE, NTF_USE, interface, neighbour);

	return code ? code : neighbour_message(netlink, RTM_GETNEIGH, 0, 0, interface, neighbour);
}

/* --- reading ---------------------------------------------------------------------------- */

typedef void take_function(void *context, const struct netlink_event *event);

static void take_end(struct netlink *netlink, const struct nlmsghdr *message, take_function *take,
		     void *context)
{
	const struct netlink_event done = {.kind = NEWS_DUMPED, .torn = netlink->torn};

	if (netlink->dump_seq == 0 || message->nlmsg_seq != netlink->dump_seq)
		return; /* a question about a neighbour that was refused: the stack asks again */
	netlink->dump_seq = 0;
	take(context, &done);
}

static void take_messages(struct netlink *netlink, size_t bytes, take_function *take, void *context)
{
	const struct nlmsghdr *message = (const struct nlmsghdr *)netlink->buffer;
	int left = (int)bytes;

	for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
		struct netlink_event event;

		if (message->nlmsg_flags & NLM_F_DUMP_INTR && message->nlmsg_seq == netlink->dump_seq)
			netlink->torn = true;
		if (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR) {
			netlink->torn |= message->nlmsg_type == NLMSG_ERROR &&
					 message->nlmsg_seq == netlink->dump_seq;
			take_end(netlink, message, take, context);
		} else if (netlink_parse(message, &event)) {
			take(context, &event);
		}
	}
}

bool netlink_read(struct netlink *netlink, take_function *take, void *context)
{
	const struct netlink_event overrun = {.kind = NEWS_OVERRUN};
	ssize_t bytes = mnl_socket_recvfrom(netlink->socket, netlink->buffer, sizeof(netlink->buffer));

	if (bytes > 0)
		take_messages(netlink, (size_t)bytes, take, context);
	else if (bytes < 0 && (errno == ENOBUFS || errno == ENOSPC))
		take(context, &overrun);
	else
		return false;
	return true;
}
