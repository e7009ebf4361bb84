/* choose.c - which of the ports serves an interface best on this machine.
 * In: what the user named, and what the kernel says about it. Out: open ports and the reason, or a
 * sentence. Owns: nothing.
 *
 * A TAP device that nobody holds is opened from its own end: frames of 64 KB, no checksums. One that a
 * program holds (a virtual machine) has only the kernel's end left, where AF_XDP serves as on any other. */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "port/choose.h"

const char *const port_kind_names[PORT_KIND_COUNT] = {
	[PORT_KIND_AUTO] = "auto",
	[PORT_KIND_AFXDP] = "afxdp",
	[PORT_KIND_TAP] = "tap",
};

/* Who names a device that does not exist has mistyped it, as a rule, unless it is called tap. */
static bool is_tap_to_make(const char *interface)
{
	return strncmp(interface, "tap", 3) == 0 && if_nametoindex(interface) == 0;
}

static int open_tap_or_afxdp(const struct port_choice *choice, struct port **ports, uint32_t max_ports,
			     char reason[PORT_REASON_BYTES], char error[PORT_ERROR_BYTES])
{
	const char *name = choice->tap.interface;
	bool make = is_tap_to_make(name);
	int result = tap_open(&choice->tap, ports, max_ports, error);

	if (result == -EBUSY) {
		snprintf(reason, PORT_REASON_BYTES,
			 "%s is a TAP device that another program holds: its kernel's end is served", name);
		return afxdp_open(&choice->afxdp, ports, max_ports, error);
	}
	snprintf(reason, PORT_REASON_BYTES, "%s %s", name,
		 make ? "did not exist: it is made as a TAP device" : "is a TAP device");
	return result;
}

static int open_best(const struct port_choice *choice, struct port **ports, uint32_t max_ports,
		     char reason[PORT_REASON_BYTES], char error[PORT_ERROR_BYTES])
{
	const char *name = choice->tap.interface;

	if (name && (tap_is_device(name) || is_tap_to_make(name)))
		return open_tap_or_afxdp(choice, ports, max_ports, reason, error);
	snprintf(reason, PORT_REASON_BYTES, "the kernel has AF_XDP, which is fastest");
	return afxdp_open(&choice->afxdp, ports, max_ports, error);
}

int port_choose_open(const struct port_choice *choice, struct port **ports, uint32_t max_ports,
		     char reason[PORT_REASON_BYTES], char error[PORT_ERROR_BYTES])
{
	reason[0] = '\0';
	switch (choice->kind) {
	case PORT_KIND_AFXDP:
		return afxdp_open(&choice->afxdp, ports, max_ports, error);
	case PORT_KIND_TAP:
		return tap_open(&choice->tap, ports, max_ports, error);
	default:
		return open_best(choice, ports, max_ports, reason, error);
	}
}
