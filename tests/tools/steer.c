/* steer.c - asks the XDP program, without a network, whose frames are.
 * steer INTERFACE ADDRESS[,ADDRESS...] PORT[,PORT...] [VLAN] < frames in hexadecimal, one a line
 * prints "ours" or "kernel" for each. Claims while it runs: a line "port N", "noport N", "address A" or
 * "noaddress A". "police FIRST,AGAIN" sets rates for SYNs, those beyond them are "dropped". */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "port/afxdp_internal.h"
#include "wire/ipv4.h"

#define LINE_BYTES 8192

static struct port *port;

static void fail(const char *what)
{
	fprintf(stderr, "steer: %s\n", what);
	exit(1);
}

static uint32_t address_of(const char *text)
{
	uint32_t address;

	if (!ipv4_from_text(text, &address))
		fail("that is no address");
	return address;
}

static void claim(const char *kind, char *list)
{
	for (char *word = strtok(list, ","); word; word = strtok(NULL, ",")) {
		if (strcmp(kind, "port") == 0)
			afxdp_claim_port(port, (uint16_t)atoi(word));
		else if (strcmp(kind, "noport") == 0)
			afxdp_disclaim_port(port, (uint16_t)atoi(word));
		else if (strcmp(kind, "noaddress") == 0)
			afxdp_disclaim_address(port, address_of(word));
		else if (strcmp(kind, "address") != 0 || afxdp_claim_address(port, address_of(word)) < 0)
			fail("no such claim, or too many");
	}
}

static void police(const char *rates)
{
	unsigned first, again;

	if (sscanf(rates, "%u,%u", &first, &again) != 2)
		fail("police takes two rates");
	afxdp_police(port, first, again);
}

static const char *verdict(int fd, const char *text)
{
	uint8_t frame[LINE_BYTES / 2];
	unsigned byte;
	int used = 0;
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .repeat = 1);

	for (; sscanf(text, "%2x", &byte) == 1; text += 2)
		frame[used++] = (uint8_t)byte;
	options.data_size_in = (uint32_t)used;
	if (bpf_prog_test_run_opts(fd, &options) < 0)
		fail(strerror(errno));
	return options.retval == XDP_PASS ? "kernel" : options.retval == XDP_DROP ? "dropped" : "ours";
}

int main(int argc, char **argv)
{
	struct afxdp_config config = {.interface = argc > 1 ? argv[1] : NULL, .shared = true};
	char error[PORT_ERROR_BYTES], line[LINE_BYTES], word[64], list[1024];
	int fd;

	if (argc != 4 && argc != 5)
		fail("usage: steer INTERFACE ADDRESSES PORTS [VLAN]");
	config.vlan = (uint16_t)(argc == 5 ? atoi(argv[4]) : 0);
	if (afxdp_open(&config, &port, 1, error) < 0)
		fail(error);
	claim("address", argv[2]);
	claim("port", argv[3]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	fd = afxdp_program_fd(((struct afxdp_port *)port)->program);
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "%63[a-z] %1023s", word, list) == 2 && strchr(line, ' '))
			strcmp(word, "police") == 0 ? police(list) : claim(word, list);
		else
			puts(verdict(fd, line));
	}
	port_close(port);
	return 0;
}
