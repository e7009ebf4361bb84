/* main.c - the c10m command: picks the verb.
 * In: argv. Out: an exit code. Owns: the list of verbs. */
#include <stdio.h>
#include <string.h>

#include "c10m/c10m.h"
#include "verbs.h"

static const struct verb {
	const char *name, *text;
	int (*run)(int argc, char **argv);
} verbs[] = {
	{"serve", "run a server: echo, discard, chargen or http", verb_serve},
	{"load", "load a server with connections and requests, and check every answer", verb_load},
	{"bench", "measure the TCP stack on this machine", verb_bench},
	{"bridge", "join two interfaces by a faulty wire: delay, loss, rate and more", verb_bridge},
	{"version", "print the version", verb_version},
};

static void print_help(FILE *to)
{
	fprintf(to, "usage: c10m VERB [options]\n\n"
		    "TCP in user space, for servers with millions of connections.\n\nverbs:\n");
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		fprintf(to, "  %-10s %s\n", verbs[i].name, verbs[i].text);
	fprintf(to, "\nc10m VERB --help explains each.\n");
}

int verb_version(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		printf("usage: c10m version\n\nPrints the version.\n");
		return 0;
	}
	if (argc > 1) {
		fprintf(stderr, "c10m: version takes no options: leave '%.60s' out\n", argv[1]);
		return EXIT_USAGE;
	}
	printf("c10m %s\n", c10m_version());
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
		print_help(stdout);
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0)
		return verb_version(1, argv);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(argc - 1, argv + 1);
	fprintf(stderr, "c10m: '%.60s' is no verb: c10m --help lists them\n", argv[1]);
	return EXIT_USAGE;
}
