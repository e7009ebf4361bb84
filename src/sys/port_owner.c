/* port_owner.c - the process behind a TCP port.
 * In: sock_diag's list of sockets, /proc.  Out: a name for people.  Owns: a netlink socket while it asks. */
#include "sys/port_owner.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire/bytes.h"

#define READ_BYTES 32768
#define STATES_ALL UINT32_MAX

struct search {
	uint16_t port;
	uint32_t inode; /* 0: not found */
};

static int take_socket(const struct nlmsghdr *message, void *context)
{
	const struct inet_diag_msg *socket_found = mnl_nlmsg_get_payload(message);
	struct search *search = context;

	if (mnl_nlmsg_get_payload_len(message) >= sizeof(*socket_found) && socket_found->idiag_inode != 0 &&
	    ntohs(socket_found->id.idiag_sport) == search->port)
		search->inode = socket_found->idiag_inode;
	return MNL_CB_OK;
}

static void find_in_family(struct mnl_socket *diag, uint8_t family, struct search *search)
{
	static uint8_t buffer[READ_BYTES] __attribute__((aligned(8)));
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct inet_diag_req_v2 *request;
	ssize_t bytes;

	message->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request = mnl_nlmsg_put_extra_header(message, sizeof(*request));
	request->sdiag_family = family;
	request->sdiag_protocol = IPPROTO_TCP;
	request->idiag_states = STATES_ALL;
	if (mnl_socket_sendto(diag, message, message->nlmsg_len) < 0)
		return;
	do
		bytes = mnl_socket_recvfrom(diag, buffer, sizeof(buffer));
	while (bytes > 0 && mnl_cb_run(buffer, (size_t)bytes, 0, 0, take_socket, search) > MNL_CB_STOP);
}

/* Whether this process has the socket open. */
static bool has_socket(const char *pid, uint32_t inode)
{
	char path[300], link[64], wanted[64];
	struct dirent *entry;
	bool found = false;
	DIR *directory;

	snprintf(wanted, sizeof(wanted), "socket:[%u]", inode);
	snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
	directory = opendir(path);
	while (directory && !found && (entry = readdir(directory))) {
		ssize_t bytes = readlinkat(dirfd(directory), entry->d_name, link, sizeof(link) - 1);

		if (bytes > 0) {
			link[bytes] = '\0';
			found = strcmp(link, wanted) == 0;
		}
	}
	if (directory)
		closedir(directory);
	return found;
}

static bool process_name(const char *pid, char text[PORT_OWNER_BYTES])
{
	char path[300], name[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%.16s/comm", pid);
	file = fopen(path, "r");
	if (file && fgets(name, sizeof(name), file))
		name[strcspn(name, "\n")] = '\0';
	if (file)
		fclose(file);
	snprintf(text, PORT_OWNER_BYTES, "%.31s (process %.16s)", name, pid);
	return name[0] != '\0';
}

static bool process_of(uint32_t inode, char text[PORT_OWNER_BYTES])
{
	DIR *processes = opendir("/proc");
	struct dirent *entry;
	bool found = false;

	while (processes && !found && (entry = readdir(processes)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && has_socket(entry->d_name, inode))
			found = process_name(entry->d_name, text);
	if (processes)
		closedir(processes);
	return found;
}

bool sys_port_owner(uint16_t port, char text[PORT_OWNER_BYTES])
{
	struct mnl_socket *diag = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	struct search search = {.port = port};

	if (!diag)
		return false;
	if (mnl_socket_bind(diag, 0, MNL_SOCKET_AUTOPID) == 0) {
		find_in_family(diag, AF_INET, &search);
		if (search.inode == 0)
			find_in_family(diag, AF_INET6, &search);
	}
	mnl_socket_close(diag);
	return search.inode != 0 && process_of(search.inode, text);
}
