/* test_netlink.c - what the kernel's messages are taken for, whole, odd or cut short; and that a kernel
 * answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdlib.h>

#include "base/random.h"
#include "sys/netlink.h"
#include "wire/bytes.h"

#define HEADER_BYTES ((uint32_t)sizeof(struct nlmsghdr))

static uint8_t buffer[1024] __attribute__((aligned(8)));

static struct nlmsghdr *message_begin(uint16_t type, uint16_t flags)
{
	struct nlmsghdr *message;

	memset(buffer, 0, sizeof(buffer));
	message = mnl_nlmsg_put_header(buffer);
	message->nlmsg_type = type;
	message->nlmsg_flags = flags;
	return message;
}

static void put_address(struct nlmsghdr *message, uint16_t kind, uint32_t address)
{
	uint8_t wire[4];

	put32(wire, address);
	mnl_attr_put(message, kind, sizeof(wire), wire);
}

static struct netlink_event parsed(const struct nlmsghdr *message)
{
	struct netlink_event event;

	assert_true(netlink_parse(message, &event));
	return event;
}

static void not_parsed(const struct nlmsghdr *message)
{
	struct netlink_event event;

	assert_false(netlink_parse(message, &event));
}

static struct nlmsghdr *link_made(unsigned flags)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 7};
	struct nlmsghdr *message = message_begin(RTM_NEWLINK, 0);
	struct ifinfomsg *link = mnl_nlmsg_put_extra_header(message, sizeof(*link));

	link->ifi_index = 5;
	link->ifi_flags = flags;
	mnl_attr_put_u32(message, IFLA_MTU, 1400);
	mnl_attr_put(message, IFLA_ADDRESS, sizeof(mac), mac);
	return message;
}

static void links(void **state)
{
	struct netlink_event event = parsed(link_made(IFF_UP | IFF_LOWER_UP));
	struct nlmsghdr *message;

	(void)state;
	assert_int_equal(event.kind, NEWS_LINK);
	assert_int_equal(event.interface, 5);
	assert_int_equal(event.mtu, 1400);
	assert_int_equal(event.mac.octets[5], 7);
	assert_true(event.up && !event.gone);
	assert_false(parsed(link_made(IFF_UP)).up); /* nothing at its other end */
	assert_false(parsed(link_made(IFF_LOWER_UP)).up);
	message = link_made(0);
	message->nlmsg_type = RTM_DELLINK;
	assert_true(parsed(message).gone);
	((struct ifinfomsg *)mnl_nlmsg_get_payload(message))->ifi_family = AF_BRIDGE;
	not_parsed(message); /* left a bridge: it is still there */
}

static void addresses(void **state)
{
	struct nlmsghdr *message = message_begin(RTM_NEWADDR, 0);
	struct ifaddrmsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	struct netlink_event event;

	(void)state;
	header->ifa_family = AF_INET;
	header->ifa_prefixlen = 24;
	header->ifa_index = 3;
	not_parsed(message);
	put_address(message, IFA_ADDRESS, 0x0a000009); /* the other end */
	put_address(message, IFA_LOCAL, 0x0a000001);
	event = parsed(message);
	assert_int_equal(event.kind, NEWS_ADDRESS);
	assert_int_equal(event.address, 0x0a000001);
	assert_int_equal(event.prefix_bits, 24);
	assert_int_equal(event.interface, 3);
	header->ifa_family = AF_INET6;
	not_parsed(message);
}

static struct nlmsghdr *route_made(uint16_t flags, struct rtmsg **header)
{
	struct nlmsghdr *message = message_begin(RTM_NEWROUTE, flags);

	*header = mnl_nlmsg_put_extra_header(message, sizeof(**header));
	(*header)->rtm_family = AF_INET;
	(*header)->rtm_table = RT_TABLE_MAIN;
	(*header)->rtm_type = RTN_UNICAST;
	return message;
}

static void routes(void **state)
{
	struct rtmsg *header;
	struct nlmsghdr *message = route_made(0, &header);
	struct netlink_event event;
	struct nlattr *metrics;

	(void)state;
	header->rtm_dst_len = 16;
	put_address(message, RTA_DST, 0x0a010000);
	put_address(message, RTA_GATEWAY, 0x0a0000fe);
	put_address(message, RTA_PREFSRC, 0x0a000001);
	mnl_attr_put_u32(message, RTA_OIF, 4);
	mnl_attr_put_u32(message, RTA_PRIORITY, 100);
	metrics = mnl_attr_nest_start(message, RTA_METRICS);
	mnl_attr_put_u32(message, RTAX_MTU, 1300);
	mnl_attr_nest_end(message, metrics);
	event = parsed(message);
	assert_int_equal(event.kind, NEWS_ROUTE);
	assert_int_equal(event.interface, 4);
	assert_int_equal(event.route.prefix, 0x0a010000);
	assert_int_equal(event.route.prefix_bits, 16);
	assert_int_equal(event.route.gateway, 0x0a0000fe);
	assert_int_equal(event.route.source, 0x0a000001);
	assert_int_equal(event.route.metric, 100);
	assert_int_equal(event.route.mtu, 1300);
	assert_false(event.route.closed || event.gone);
	header->rtm_type = RTN_UNREACHABLE;
	assert_true(parsed(message).route.closed);
	header->rtm_table = RT_TABLE_LOCAL;
	not_parsed(message);
	mnl_attr_put_u32(message, RTA_TABLE, RT_TABLE_MAIN); /* says it with more bits */
	assert_true(parsed(message).route.closed);
	header->rtm_flags = RTM_F_CLONED;
	not_parsed(message);
}

static void places_of_routes(void **state)
{
	static const struct {
		uint16_t flags;
		enum route_place place;
	} cases[] = {
		{NLM_F_MULTI, ROUTE_LAST},
		{NLM_F_CREATE | NLM_F_APPEND, ROUTE_LAST},
		{NLM_F_CREATE | NLM_F_REPLACE, ROUTE_REPLACE},
		{NLM_F_CREATE | NLM_F_EXCL, ROUTE_FIRST},
	};
	struct rtmsg *header;

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(cases); i++)
		assert_int_equal(parsed(route_made(cases[i].flags, &header)).place, cases[i].place);
}

static void several_ways_at_once(void **state)
{
	struct rtmsg *header;
	struct nlmsghdr *message = route_made(0, &header);
	uint8_t hops[2 * (sizeof(struct rtnexthop) + 8)] __attribute__((aligned(4))) = {0};
	struct netlink_event event;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *at = hops + i * sizeof(hops) / 2;
		const struct rtnexthop hop = {.rtnh_len = sizeof(hops) / 2, .rtnh_ifindex = (int)(7 + i)};
		const struct nlattr gateway = {.nla_len = 8, .nla_type = RTA_GATEWAY};

		memcpy(at, &hop, sizeof(hop));
		memcpy(at + sizeof(hop), &gateway, sizeof(gateway));
		put32(at + sizeof(hop) + sizeof(gateway), 0x0a000064 + i);
	}
	mnl_attr_put(message, RTA_MULTIPATH, sizeof(hops), hops);
	event = parsed(message);
	assert_int_equal(event.interface, 7);
	assert_int_equal(event.route.gateway, 0x0a000064);
}

static void neighbours(void **state)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 9};
	struct nlmsghdr *message = message_begin(RTM_NEWNEIGH, 0);
	struct ndmsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));

	(void)state;
	header->ndm_family = AF_INET;
	header->ndm_ifindex = 2;
	header->ndm_state = NUD_INCOMPLETE;
	put_address(message, NDA_DST, 0x0a000005);
	assert_false(parsed(message).known || parsed(message).silent);
	header->ndm_state = NUD_FAILED;
	assert_true(parsed(message).silent);
	mnl_attr_put(message, NDA_LLADDR, sizeof(mac), mac);
	for (uint16_t bit = NUD_INCOMPLETE; bit <= NUD_PERMANENT; bit = (uint16_t)(bit << 1)) {
		header->ndm_state = bit;
		assert_int_equal(parsed(message).known, bit != NUD_INCOMPLETE && bit != NUD_FAILED);
		assert_int_equal(parsed(message).permanent, bit == NUD_PERMANENT || bit == NUD_NOARP);
	}
	assert_int_equal(parsed(message).address, 0x0a000005);
	assert_int_equal(parsed(message).mac.octets[5], 9);
	header->ndm_flags = NTF_PROXY;
	not_parsed(message);
}

/* Whatever the bytes are, nothing beyond the message is read (the address sanitizer watches). */
static void any_bytes(void **state)
{
	struct random random = random_seeded(3);
	unsigned understood = 0;

	(void)state;
	for (unsigned round = 0; round < 200000; round++) {
		uint32_t bytes = HEADER_BYTES + random_below(&random, 120);
		uint8_t *copy = malloc(bytes);
		struct nlmsghdr header = {.nlmsg_len = bytes,
					  .nlmsg_type = (uint16_t)(RTM_BASE + random_below(&random, 20))};
		struct netlink_event event;

		assert_non_null(copy);
		for (uint32_t i = 0; i < bytes; i++)
			copy[i] = random_below(&random, 3) ? (uint8_t)random_below(&random, 24) : 0;
		if (bytes > HEADER_BYTES)
			copy[HEADER_BYTES] = random_below(&random, 2) ? AF_INET : 0;
		memcpy(copy, &header, sizeof(header));
		understood += netlink_parse((const struct nlmsghdr *)(const void *)copy, &event);
		free(copy);
	}
	assert_true(understood > 1000);
}

struct seen {
	unsigned links, dumped;
};

static void take(void *context, const struct netlink_event *event)
{
	struct seen *seen = context;

	seen->links += event->kind == NEWS_LINK;
	seen->dumped += event->kind == NEWS_DUMPED;
}

/* Every machine has a loopback interface. */
static void the_kernel_lists_its_links(void **state)
{
	char error[NETLINK_ERROR_BYTES];
	struct netlink *netlink = netlink_open(FOLLOW_LINKS, 0, error);
	struct seen seen = {0};

	(void)state;
	assert_non_null(netlink);
	assert_false(netlink_read(netlink, take, &seen));
	assert_int_equal(netlink_dump(netlink, NEWS_LINK), 0);
	while (seen.dumped == 0) {
		struct pollfd wait = {.fd = netlink_fd(netlink), .events = POLLIN};

		assert_int_equal(poll(&wait, 1, 5000), 1);
		assert_true(netlink_read(netlink, take, &seen));
	}
	assert_true(seen.links >= 1);
	netlink_close(netlink);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(links),
		cmocka_unit_test(addresses),
		cmocka_unit_test(routes),
		cmocka_unit_test(places_of_routes),
		cmocka_unit_test(several_ways_at_once),
		cmocka_unit_test(neighbours),
		cmocka_unit_test(any_bytes),
		cmocka_unit_test(the_kernel_lists_its_links),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
