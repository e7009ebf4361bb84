/* choose.c - which of the ports serves an interface best on this machine.
 * In: what the user named, and what the kernel says about it. Out: open ports and the reason, or a
 * sentence. Owns: nothing.
 *
 * A TAP device that nobody holds is opened from its own end: frames of 64 KB, no checksums. One that a
 * program holds (a virtual machine) has only the kernel's end left, which is served as any other interface:
 * by AF_XDP, and where the kernel or the user's rights do not allow that, by packet sockets. */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "port/choose.h"

const char *const port_kind_names[PORT_KIND_COUNT] = {
	[PORT_KIND_AUTO] = "auto",     [PORT_KIND_AFXDP] = "afxdp", [PORT_KIND_TAP] = "tap",
	[PORT_KIND_PACKET] = "packet", [PORT_KIND_WIRE] = "wire",
};

static int open_afxdp(const struct port_choice *choice, struct port **ports, uint32_t max_ports,
		      char error[PORT_ERROR_BYTES])
{
	const struct afxdp_config config = {
		.interface = choice->interface,
		.address = choice->address,
		.sources = choice->sources,
		.shared = choice->shared,
		.vlan = choice->vlan,
		.tags_must_show = choice->kind == PORT_KIND_AUTO,
		.mode = choice->mode,
		.frames = choice->frames,
	};

	return afxdp_open(&config, ports, max_ports, error);
}

static int open_tap(const struct port_choice *choice, struct port **ports, uint32_t max_ports,
		    char error[PORT_ERROR_BYTES])
{
	struct tap_config config = {
		.interface = choice->interface,
		.must_exist = choice->vlan != 0,
		.address = choice->address,
		.kernel_address = choice->kernel_address,
		.prefix_bits = choice->prefix_bits,
		.network = choice->source_net,
		.network_bits = choice->source_net_bits,
		.queues = choice->queues,
	};
	int result = tap_open(&config, ports, max_ports, error);

	if (result != -EINVAL || config.queues <= 1 || !tap_is_device(config.interface))
		return result;
	config.queues = 1; /* it was made with one */
	return tap_open(&config, ports, max_ports, error);
}

static int open_packet(const struct port_choice *choice, struct port **ports, uint32_t max_ports,
		       char error[PORT_ERROR_BYTES])
{
	const struct packet_socket_config config = {
		.interface = choice->interface,
		.address = choice->address,
		.sources = choice->sources,
		.vlan = choice->vlan,
		.queues = choice->queues,
	};

	return packet_socket_open(&config, ports, max_ports, error);
}

static int open_wire(const struct port_choice *choice, struct port **ports, char error[PORT_ERROR_BYTES])
{
	const struct wire_config config = {
		.path = choice->wire, .address = choice->address, .no_checksums = choice->no_checksums};
	int result = wire_open(&config, ports, error);

	return result < 0 ? result : 1;
}

/* Who names a device that does not exist has mistyped it, as a rule, unless it is called tap. */
static bool is_tap_to_make(const char *interface)
{
	return strncmp(interface, "tap", 3) == 0 && if_nametoindex(interface) == 0;
}

bool port_is_tap(const char *interface)
{
	return tap_is_device(interface) || is_tap_to_make(interface);
}

/* What another port does not change: the interface is not there, not up, or not to be had as asked. */
static bool is_final(int result)
{
	return result == -ENODEV || result == -ENETDOWN || result == -EBUSY || result == -ENOSPC;
}

/* The reason is AF_XDP's own sentence; when both fail it is also the better one to be told. */
static int open_afxdp_or_packet(const struct port_choice *choice, struct port **ports, uint32_t max_ports,
				char reason[PORT_REASON_BYTES], char error[PORT_ERROR_BYTES])
{
	char second[PORT_ERROR_BYTES];
	int result = open_afxdp(choice, ports, max_ports, error), packet;

	snprintf(reason, PORT_REASON_BYTES, "the kernel has AF_XDP, which is fastest");
	if (result >= 0 || is_final(result))
		return result;
	packet = open_packet(choice, ports, max_ports, second);
	if (packet < 0)
		return result;
	snprintf(reason, PORT_REASON_BYTES, "AF_XDP, which is faster, does not work: %s", error);
	return packet;
}

static int open_tap_or_other(const struct port_choice *choice, struct port **ports, uint32_t max_ports,
			     char reason[PORT_REASON_BYTES], char error[PORT_ERROR_BYTES])
{
	const char *name = choice->interface;
	bool make = is_tap_to_make(name);
	int result = open_tap(choice, ports, max_ports, error);

	if (result == -EBUSY) {
		result = open_afxdp_or_packet(choice, ports, max_ports, reason, error);
		snprintf(reason, PORT_REASON_BYTES,
			 "%s is a TAP device that another program holds: its kernel's end is served", name);
		return result;
	}
	snprintf(reason, PORT_REASON_BYTES, "%s %s", name,
		 make ? "did not exist: it is made as a TAP device" : "is a TAP device");
	return result;
}

static int open_best(const struct port_choice *choice, struct port **ports, uint32_t max_ports,
		     char reason[PORT_REASON_BYTES], char error[PORT_ERROR_BYTES])
{
	const char *name = choice->interface;

	if (name && port_is_tap(name))
		return open_tap_or_other(choice, ports, max_ports, reason, error);
	return open_afxdp_or_packet(choice, ports, max_ports, reason, error);
}

int port_choose_open(const struct port_choice *choice, struct port **ports, uint32_t max_ports,
		     char reason[PORT_REASON_BYTES], char error[PORT_ERROR_BYTES])
{
	reason[0] = '\0';
	if (choice->shared) /* no other leaves the kernel its part */
		return open_afxdp(choice, ports, max_ports, error);
	switch (choice->kind) {
	case PORT_KIND_AFXDP:
		return open_afxdp(choice, ports, max_ports, error);
	case PORT_KIND_TAP:
		return open_tap(choice, ports, max_ports, error);
	case PORT_KIND_PACKET:
		return open_packet(choice, ports, max_ports, error);
	case PORT_KIND_WIRE:
		return open_wire(choice, ports, error);
	default:
		return open_best(choice, ports, max_ports, reason, error);
	}
}
