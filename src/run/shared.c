/* shared.c - placeholders in the kernel, claims in the XDP program.
 * In: services, the addresses of an interface.  Out: sentences about ports in use.
 * Owns: the placeholders. Order: reserve, claim, listen; and back. */
#include "run/shared.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "port/afxdp.h"
#include "sys/netlink.h"
#include "sys/port_owner.h"
#include "wire/ipv4.h"

#define ANSWER_MS 5000

/* --- placeholders ------------------------------------------------------------------- */

/* A descriptor, or a negative errno. SO_REUSEADDR stays off: nobody can bind beside it. */
static int placeholder_bind(uint32_t address, uint16_t port)
{
	const struct sockaddr_in name = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), saved;

	if (fd < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&name, sizeof(name)) == 0)
		return fd;
	saved = errno;
	close(fd);
	return -saved;
}

static int tcp_port_refuse(uint32_t address, const struct c10m_service *service, int number,
			   char error[SHARED_ERROR_BYTES])
{
	char text[IPV4_TEXT_BYTES], owner[PORT_OWNER_BYTES];

	ipv4_to_text(address, text);
	if (number == EMFILE || number == ENFILE)
		snprintf(error, SHARED_ERROR_BYTES,
			 "no file descriptor is left to reserve port %u: raise the limit with 'ulimit -n'",
			 service->port);
	else if (number != EADDRINUSE)
		snprintf(error, SHARED_ERROR_BYTES, "port %u of %s cannot be reserved in the kernel (%s): %s",
			 service->port, text, strerror(number),
			 number == EACCES ? "run as root, or take one above 1023" : "take another one");
	else if (sys_port_owner(service->port, owner))
		snprintf(error, SHARED_ERROR_BYTES,
			 "port %u of %s is in use by %s: stop it, or give %.40s another one with --port",
			 service->port, text, owner, service->name);
	else
		snprintf(error, SHARED_ERROR_BYTES,
			 "port %u of %s is in use by another program ('ss -tanp' shows whose), perhaps "
			 "another "
			 "c10m: stop it, or give %.40s another one with --port",
			 service->port, text, service->name);
	return -number;
}

static void address_release(struct shared *shared, struct shared_address *entry)
{
	for (uint32_t i = 0; i < shared->config.service_count; i++)
		if (entry->placeholders[i] >= 0)
			close(entry->placeholders[i]);
}

static int address_reserve(struct shared *shared, struct shared_address *entry,
			   char error[SHARED_ERROR_BYTES])
{
	for (uint32_t i = 0; i < SHARED_SERVICES; i++)
		entry->placeholders[i] = -1;
	for (uint32_t i = 0; i < shared->config.service_count; i++) {
		const struct c10m_service *service = &shared->config.services[i];
		int fd = service->port ? placeholder_bind(entry->address, service->port) : -1;

		if (service->port && fd < 0) {
			address_release(shared, entry);
			return tcp_port_refuse(entry->address, service, -fd, error);
		}
		entry->placeholders[i] = fd;
	}
	return 0;
}

/* --- ports for connections that we open ------------------------------------------------ */

/* A placeholder each costs a descriptor: as many as the machine lets us have. */
static void raise_file_limit(uint32_t more)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= limit.rlim_max)
		return;
	limit.rlim_cur = MIN_OF(limit.rlim_max, limit.rlim_cur + more);
	setrlimit(RLIMIT_NOFILE, &limit); /* refused: the bind that fails says it */
}

/* From the top down: there the kernel takes none for itself (ip_local_port_range ends below, as a rule). */
static int client_reserve(struct shared *shared, char error[SHARED_ERROR_BYTES])
{
	uint32_t wanted = shared->config.client_ports;
	int fd = 0;

	if (wanted == 0)
		return 0;
	raise_file_limit(wanted + 64);
	shared->client_placeholders = calloc(wanted, sizeof(*shared->client_placeholders));
	for (uint32_t port = 65535; shared->client_placeholders && port >= 1024; port--) {
		if (shared->client_count == wanted)
			return 0;
		fd = placeholder_bind(INADDR_ANY, (uint16_t)port);
		if (fd == -EADDRINUSE)
			continue;
		if (fd < 0)
			break;
		shared->client_placeholders[shared->client_count++] = fd;
		shared->client_ports[port / 64] |= 1ull << port % 64;
	}
	snprintf(error, SHARED_ERROR_BYTES,
		 "of %u ports for outgoing connections %u could be reserved (%s): ask for fewer with "
		 "--client-ports, or raise the limit on open files with 'ulimit -n'",
		 wanted, shared->client_count, fd < 0 ? strerror(-fd) : "no more are free");
	return fd < 0 ? fd : -EADDRINUSE;
}

/* --- addresses --------------------------------------------------------------------- */

static struct shared_address *address_find(struct shared *shared, uint32_t address)
{
	for (uint32_t i = 0; i < shared->address_count; i++)
		if (shared->addresses[i].address == address)
			return &shared->addresses[i];
	return NULL;
}

bool shared_has(const struct shared *shared, uint32_t address)
{
	return address_find((struct shared *)(uintptr_t)shared, address) != NULL;
}

int shared_add(struct shared *shared, uint32_t address, uint8_t prefix_bits, char error[SHARED_ERROR_BYTES])
{
	struct shared_address *entry = address_find(shared, address);
	char text[IPV4_TEXT_BYTES];
	int code;

	if (entry) {
		entry->seen = true;
		entry->prefix_bits = prefix_bits;
		return 0;
	}
	if ((shared->config.address && shared->config.address != address) || !ipv4_is_unicast(address))
		return 0;
	if (shared->address_count == ROUTES_ADDRESSES) {
		snprintf(error, SHARED_ERROR_BYTES,
			 "%s has more than %u addresses: %s is left to the kernel, unless --address names it",
			 shared->config.interface, ROUTES_ADDRESSES, ipv4_to_text(address, text));
		return -ENOSPC;
	}
	entry = &shared->addresses[shared->address_count];
	*entry = (struct shared_address){.address = address, .prefix_bits = prefix_bits, .seen = true};
	code = address_reserve(shared, entry, error);
	if (code < 0)
		return code;
	shared->address_count++;
	if (shared->port)
		afxdp_claim_address(shared->port, address); /* there is room: it has as many places as we */
	return 1;
}

static void address_drop(struct shared *shared, struct shared_address *entry)
{
	struct shared_address *end = &shared->addresses[shared->address_count - 1];

	if (shared->port)
		afxdp_disclaim_address(shared->port, entry->address);
	address_release(shared, entry);
	memmove(entry, entry + 1, (size_t)(end - entry) * sizeof(*entry));
	shared->address_count--;
}

bool shared_remove(struct shared *shared, uint32_t address)
{
	struct shared_address *entry = address_find(shared, address);

	if (entry)
		address_drop(shared, entry);
	return entry != NULL;
}

void shared_retell(struct shared *shared)
{
	for (uint32_t i = 0; i < shared->address_count; i++)
		shared->addresses[i].seen = false;
}

void shared_retold(struct shared *shared)
{
	for (uint32_t i = shared->address_count; i-- > 0;)
		if (!shared->addresses[i].seen)
			address_drop(shared, &shared->addresses[i]);
}

/* --- claims ---------------------------------------------------------------------------- */

static void claim_ports(struct shared *shared, void (*claim)(struct port *port, uint16_t number))
{
	for (uint32_t i = 0; i < shared->config.service_count; i++)
		if (shared->config.services[i].port)
			claim(shared->port, shared->config.services[i].port);
	for (uint32_t port = 0; port < 65536; port++)
		if (shared->client_ports[port / 64] >> port % 64 & 1)
			claim(shared->port, (uint16_t)port);
}

void shared_claim(struct shared *shared, struct port *port)
{
	shared->port = port;
	claim_ports(shared, afxdp_claim_port);
	for (uint32_t i = 0; i < shared->address_count; i++)
		afxdp_claim_address(port, shared->addresses[i].address);
}

void shared_withdraw(struct shared *shared)
{
	if (!shared->port)
		return;
	for (uint32_t i = 0; i < shared->address_count; i++)
		afxdp_disclaim_address(shared->port, shared->addresses[i].address);
	claim_ports(shared, afxdp_disclaim_port);
	shared->port = NULL;
}

/* --- the beginning and the end ------------------------------------------------------------ */

/* What goes along while the kernel lists its addresses. */
struct listing {
	struct shared *shared;
	bool done;
	int code;
	char *error;
};

static void take_listed(void *context, const struct netlink_event *event)
{
	struct listing *listing = context;
	int code = 0;

	if (event->kind == NEWS_DUMPED)
		listing->done = true;
	if (event->kind != NEWS_ADDRESS || event->interface != listing->shared->interface ||
	    listing->code < 0)
		return;
	code = shared_add(listing->shared, event->address, event->prefix_bits, listing->error);
	if (code < 0 && code != -ENOSPC)
		listing->code = code;
}

static int list_addresses(struct shared *shared, char error[SHARED_ERROR_BYTES])
{
	struct netlink *netlink = netlink_open(0, 0, error);
	struct listing listing = {.shared = shared, .error = error};

	if (!netlink)
		return -EPERM;
	listing.code = netlink_dump(netlink, NEWS_ADDRESS);
	while (listing.code == 0 && !listing.done) {
		struct pollfd wait = {.fd = netlink_fd(netlink), .events = POLLIN};

		if (!netlink_read(netlink, take_listed, &listing) && poll(&wait, 1, ANSWER_MS) == 0) {
			snprintf(error, SHARED_ERROR_BYTES,
				 "the kernel does not list its addresses: try again");
			listing.code = -ETIMEDOUT;
		}
	}
	netlink_close(netlink);
	return listing.code;
}

static int refuse_addressless(const struct shared *shared, char error[SHARED_ERROR_BYTES])
{
	const char *name = shared->config.interface;
	char text[IPV4_TEXT_BYTES];

	if (shared->config.address)
		snprintf(error, SHARED_ERROR_BYTES,
			 "%s is no address of %s: 'ip address show dev %s' lists them; without --shared it "
			 "would "
			 "be c10m's alone",
			 ipv4_to_text(shared->config.address, text), name, name);
	else
		snprintf(error, SHARED_ERROR_BYTES,
			 "%s has no IPv4 address to share: give it one with 'ip address add A/LEN dev %s'",
			 name, name);
	return -EADDRNOTAVAIL;
}

static int reserve_all(struct shared *shared, char error[SHARED_ERROR_BYTES])
{
	int code;

	shared->interface = if_nametoindex(shared->config.interface);
	if (shared->interface == 0) {
		snprintf(error, SHARED_ERROR_BYTES,
			 "interface %.64s does not exist: 'ip link' lists those that do",
			 shared->config.interface);
		return -ENODEV;
	}
	code = list_addresses(shared, error);
	if (code == 0 && shared->address_count == 0)
		code = refuse_addressless(shared, error);
	return code < 0 ? code : client_reserve(shared, error);
}

struct shared *shared_open(const struct shared_config *config, char error[SHARED_ERROR_BYTES])
{
	struct shared *shared = calloc(1, sizeof(*shared));

	if (!shared) {
		snprintf(error, SHARED_ERROR_BYTES, "too little memory: free some");
		return NULL;
	}
	shared->config = *config;
	if (reserve_all(shared, error) == 0)
		return shared;
	shared_close(shared);
	return NULL;
}

void shared_close(struct shared *shared)
{
	if (!shared)
		return;
	shared_withdraw(shared);
	while (shared->address_count > 0)
		address_drop(shared, &shared->addresses[shared->address_count - 1]);
	for (uint32_t i = 0; i < shared->client_count; i++)
		close(shared->client_placeholders[i]);
	free(shared->client_placeholders);
	free(shared);
}
