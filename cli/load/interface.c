/* interface.c - what the kernel says it dropped on an interface.
 * In: /sys/class/net. Out: counts. Owns: nothing. */
#include "progress.h"
#include "sys/text.h"

static uint64_t counter(const char *name, const char *which)
{
	uint64_t value = 0;
	char path[128];

	if (snprintf(path, sizeof(path), "/sys/class/net/%s/statistics/%s", name, which) >=
		    (int)sizeof(path) ||
	    sys_text_read_u64(path, &value) < 0)
		return 0;
	return value;
}

void interface_read(const char *name, struct load_interface *counts)
{
	counts->kernel_rx_dropped = counter(name, "rx_dropped");
	counts->kernel_tx_dropped = counter(name, "tx_dropped");
	counts->kernel_errors = counter(name, "rx_errors") + counter(name, "tx_errors");
}
