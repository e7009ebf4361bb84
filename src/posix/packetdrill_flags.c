/* packetdrill_flags.c - reads NAME=VALUE,NAME=VALUE.
 * In: the flags of packetdrill_interface_init. Out: a stack's configuration, or a sentence. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "posix/packetdrill_flags.h"
#include "tcp/congestion.h"

#define PATIENCE_S 120
#define MTU_LEAST  576

/* "192.168.0.1/16"; without a slash 32 bits. */
static bool parse_net(const char *value, uint32_t *address, uint8_t *bits)
{
	char text[INET_ADDRSTRLEN];
	const char *slash = strchr(value, '/');
	size_t bytes = slash ? (size_t)(slash - value) : strlen(value);
	unsigned long count = slash ? strtoul(slash + 1, NULL, 10) : 32;
	struct in_addr parsed;

	if (bytes >= sizeof(text) || count > 32)
		return false;
	memcpy(text, value, bytes);
	text[bytes] = 0;
	if (inet_pton(AF_INET, text, &parsed) != 1)
		return false;
	*address = ntohl(parsed.s_addr);
	*bits = (uint8_t)count;
	return true;
}

/* All others are behind it: the first host of the net, or the second when we are the first. */
static void choose_gateway(struct stack_config *stack)
{
	uint32_t mask, first;

	stack->prefix_bits = stack->prefix_bits < 1 || stack->prefix_bits > 30 ? 24 : stack->prefix_bits;
	mask = UINT32_MAX << (32 - stack->prefix_bits);
	first = (stack->address & mask) + 1;
	stack->gateway = first == stack->address ? first + 1 : first;
}

static bool set_number(struct packetdrill_flags *flags, const char *name, uint32_t value)
{
	const struct {
		const char *name;
		uint32_t *at;
	} numbers[] = {
		{"mtu", &flags->mtu},
		{"patience_s", &flags->patience_s},
		{"window_scale", &flags->stack.window_scale},
		{"initial_window", &flags->stack.initial_window_segments},
		{"quick_acks", &flags->stack.quick_acks},
		{"delayed_ack_ms", &flags->stack.delayed_ack_ms},
		{"rto_min_ms", &flags->stack.rto_min_ms},
		{"rto_initial_ms", &flags->stack.rto_initial_ms},
		{"time_wait_ms", &flags->stack.time_wait_ms},
		{"fin_wait2_ms", &flags->stack.fin_wait2_ms},
		{"receive_bytes", &flags->sockets.receive_bytes},
		{"send_bytes", &flags->sockets.send_bytes},
	};

	for (unsigned i = 0; i < ARRAY_COUNT(numbers); i++) {
		if (strcmp(numbers[i].name, name) == 0) {
			*numbers[i].at = value;
			return true;
		}
	}
	return false;
}

static bool set_one(struct packetdrill_flags *flags, const char *name, const char *value)
{
	uint32_t remote;
	uint8_t bits;

	if (strcmp(name, "local") == 0)
		return parse_net(value, &flags->stack.address, &flags->stack.prefix_bits);
	if (strcmp(name, "remote") == 0)
		return parse_net(value, &remote, &bits); /* whoever it is, the gateway leads there */
	if (strcmp(name, "congestion") == 0) {
		snprintf(flags->congestion, sizeof(flags->congestion), "%s", value);
		return congestion_find(flags->congestion) != NULL;
	}
	if (strcmp(name, "no_timestamps") == 0)
		return flags->stack.no_timestamps = true;
	if (strcmp(name, "no_window_scale") == 0)
		return flags->stack.no_window_scale = true;
	if (strcmp(name, "no_sack") == 0)
		return flags->stack.no_sack = true;
	return *value >= '0' && *value <= '9' && set_number(flags, name, (uint32_t)strtoul(value, NULL, 10));
}

static bool parse_one(char *word, struct packetdrill_flags *flags, char *error)
{
	char *value = strchr(word, '=');

	if (value)
		*value++ = 0;
	if (set_one(flags, word, value ? value : ""))
		return true;
	snprintf(error, FLAGS_ERROR_BYTES, "'%s=%s' is not understood: docs/packetdrill.md lists the flags",
		 word, value ? value : "");
	return false;
}

bool packetdrill_flags_parse(const char *text, struct packetdrill_flags *flags, char error[FLAGS_ERROR_BYTES])
{
	char *copy = strdup(text ? text : ""), *save = NULL, *word;
	bool good = copy != NULL;

	*flags = (struct packetdrill_flags){.mtu = 1500, .patience_s = PATIENCE_S};
	flags->stack.connections = 64;
	flags->stack.destinations = 64;
	snprintf(error, FLAGS_ERROR_BYTES, "the machine gives no memory");
	for (word = copy ? strtok_r(copy, ",", &save) : NULL; word && good; word = strtok_r(NULL, ",", &save))
		good = parse_one(word, flags, error);
	free(copy);
	if (!good)
		return false;
	if (flags->stack.address == 0 || flags->mtu < MTU_LEAST) {
		snprintf(
			error, FLAGS_ERROR_BYTES,
			"say at least local=ADDRESS/BITS, such as local=192.168.0.1/16; an MTU is %d or more",
			MTU_LEAST);
		return false;
	}
	choose_gateway(&flags->stack);
	if (flags->congestion[0])
		flags->sockets.congestion = flags->congestion;
	return true;
}
