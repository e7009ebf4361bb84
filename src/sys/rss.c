/* rss.c - asks the kernel for a card's receive side scaling.
 * In: the name of an interface.  Out: key and table.  Owns: nothing. */
#include "sys/rss.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define HASH_TOEPLITZ 1 /* the bit of the first function that the kernel names */
#define FOUR_TUPLE    (RXH_IP_SRC | RXH_IP_DST | RXH_L4_B_0_1 | RXH_L4_B_2_3)

static int ask(int fd, const char *interface, void *command)
{
	struct ifreq request = {.ifr_data = command};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	return ioctl(fd, SIOCETHTOOL, &request) < 0 ? -errno : 0;
}

static bool hashes_four_tuple(int fd, const char *interface)
{
	struct ethtool_rxnfc fields = {.cmd = ETHTOOL_GRXFH, .flow_type = TCP_V4_FLOW};

	return ask(fd, interface, &fields) == 0 && (fields.data & ~(uint64_t)RXH_DISCARD) == FOUR_TUPLE;
}

/* Asked twice: first for the sizes. Of the reserved bytes some are today's hashes that are symmetric: not
 * ours. */
static int read_table(int fd, const char *interface, struct sys_rss *rss)
{
	union {
		struct ethtool_rxfh head;
		uint32_t words[sizeof(struct ethtool_rxfh) / 4 + SYS_RSS_ENTRIES + SYS_RSS_KEY_BYTES / 4];
	} table = {.head.cmd = ETHTOOL_GRSSH};
	uint32_t entries, key_bytes;
	int code = ask(fd, interface, &table);

	if (code < 0)
		return code;
	entries = table.head.indir_size;
	key_bytes = table.head.key_size;
	if (table.head.hfunc != HASH_TOEPLITZ || table.head.rsvd8[0] != 0 || entries == 0 ||
	    entries > SYS_RSS_ENTRIES || (entries & (entries - 1)) != 0 || key_bytes < 16 ||
	    key_bytes > SYS_RSS_KEY_BYTES)
		return -EOPNOTSUPP;
	table.head =
		(struct ethtool_rxfh){.cmd = ETHTOOL_GRSSH, .indir_size = entries, .key_size = key_bytes};
	code = ask(fd, interface, &table);
	if (code < 0 || table.head.indir_size != entries || table.head.key_size != key_bytes)
		return code < 0 ? code : -EOPNOTSUPP;
	rss->entries = entries;
	rss->key_bytes = key_bytes;
	memcpy(rss->queues, table.head.rss_config, entries * sizeof(uint32_t));
	memcpy(rss->key, table.head.rss_config + entries, key_bytes);
	return 0;
}

int sys_rss_read(const char *interface, struct sys_rss *rss)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int code;

	memset(rss, 0, sizeof(*rss));
	if (fd < 0)
		return -errno;
	code = hashes_four_tuple(fd, interface) ? read_table(fd, interface, rss) : -EOPNOTSUPP;
	close(fd);
	return code;
}
