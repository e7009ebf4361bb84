/* options.c - tables of options: parsing by getopt_long, and help.
 * In: argv. Out: values in the tables' targets, or a sentence. Owns: nothing. */
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#include "run/options.h"

#define VALUE_FIRST   256 /* getopt values of our options; below are characters */
#define VALUE_HELP    (VALUE_FIRST + OPTIONS_MAX)
#define VALUE_VERSION (VALUE_HELP + 1)
#define HELP_COLUMN   26

bool option_number(const char *text, uint64_t *value)
{
	const char *at = text;
	uint64_t number = 0;

	while (*at >= '0' && *at <= '9' && number <= UINT32_MAX)
		number = number * 10 + (uint64_t)(*at++ - '0');
	if (at == text)
		return false;
	if (*at == 'k' || *at == 'M')
		number *= *at++ == 'k' ? 1000 : 1000000;
	*value = number;
	return *at == '\0';
}

/* The i-th option over all groups; NULL behind the last. */
static const struct option_spec *spec_at(const struct option_page *page, unsigned i, void **target)
{
	for (unsigned group = 0; group < page->group_count; group++) {
		const struct option_group *of = &page->groups[group];

		if (i < of->count) {
			*target = of->target;
			return &of->specs[i];
		}
		i -= of->count;
	}
	return NULL;
}

static bool set_number(const struct option_spec *spec, void *at, const char *text,
		       char error[OPTIONS_ERROR_BYTES])
{
	uint64_t value;

	if (option_number(text, &value) && value >= spec->min && value <= spec->max) {
		*(uint32_t *)at = (uint32_t)value;
		return true;
	}
	snprintf(error, OPTIONS_ERROR_BYTES, "--%s takes a number from %u to %u, not '%.40s'", spec->name,
		 spec->min, spec->max, text);
	return false;
}

static bool set_option(const struct option_spec *spec, void *target, const char *text,
		       char error[OPTIONS_ERROR_BYTES])
{
	void *at = (uint8_t *)target + spec->offset;

	switch (spec->kind) {
	case OPTION_FLAG:
		*(bool *)at = true;
		return true;
	case OPTION_NUMBER:
		return set_number(spec, at, text, error);
	case OPTION_TEXT:
		*(const char **)at = text;
		return true;
	case OPTION_CUSTOM:
		break;
	}
	return spec->set(target, text, error);
}

static unsigned long_options(const struct option_page *page, struct option *longs)
{
	const struct option_spec *spec;
	unsigned count = 0;
	void *target;

	for (; count < OPTIONS_MAX && (spec = spec_at(page, count, &target)); count++)
		longs[count] = (struct option){
			.name = spec->name,
			.has_arg = spec->argument ? required_argument : no_argument,
			.val = VALUE_FIRST + (int)count,
		};
	longs[count] = (struct option){.name = "help", .val = VALUE_HELP};
	longs[count + 1] = (struct option){.name = "version", .val = VALUE_VERSION};
	return count;
}

static enum options_verdict parse_one(const struct option_page *page, int value, const char *word,
				      char error[OPTIONS_ERROR_BYTES])
{
	void *target = NULL;
	const struct option_spec *spec;

	switch (value) {
	case VALUE_HELP:
	case 'h':
		return OPTIONS_HELP;
	case VALUE_VERSION:
		return OPTIONS_VERSION;
	case ':':
		snprintf(error, OPTIONS_ERROR_BYTES, "%.60s needs a value: see --help", word);
		return OPTIONS_WRONG;
	case '?':
		snprintf(error, OPTIONS_ERROR_BYTES, "option '%.60s' is not understood: --help lists all",
			 word);
		return OPTIONS_WRONG;
	default:
		spec = spec_at(page, (unsigned)(value - VALUE_FIRST), &target);
		return set_option(spec, target, optarg, error) ? OPTIONS_RUN : OPTIONS_WRONG;
	}
}

enum options_verdict options_parse(int argc, char **argv, const struct option_page *page,
				   char error[OPTIONS_ERROR_BYTES])
{
	struct option longs[OPTIONS_MAX + 3] = {0};
	enum options_verdict verdict = OPTIONS_RUN;
	int value;

	long_options(page, longs);
	opterr = 0;
	optind = 0; /* glibc: start over, also when somebody parsed before */
	while (verdict == OPTIONS_RUN && (value = getopt_long(argc, argv, ":h", longs, NULL)) != -1)
		verdict = parse_one(page, value, argv[optind - 1], error);
	if (verdict != OPTIONS_RUN || optind >= argc || strcmp(argv[optind - 1], "--") == 0)
		return verdict;
	snprintf(error, OPTIONS_ERROR_BYTES, "'%.60s' is not an option: --help lists all", argv[optind]);
	return OPTIONS_WRONG;
}

static void print_option(FILE *to, const struct option_spec *spec)
{
	int width = fprintf(to, "  --%s%s%s", spec->name, spec->argument ? " " : "",
			    spec->argument ? spec->argument : "");

	if (width >= HELP_COLUMN)
		width = fprintf(to, "\n") - 1;
	fprintf(to, "%*s", HELP_COLUMN - width, "");
	for (const char *at = spec->help; *at; at++)
		if (*at == '\n')
			fprintf(to, "\n%*s", HELP_COLUMN, "");
		else
			fputc(*at, to);
	fputc('\n', to);
}

void options_print(FILE *to, const struct option_page *page)
{
	const struct option_spec help = {.name = "help", .help = "this page"};
	const struct option_spec version = {.name = "version", .help = "the version"};

	fprintf(to, "usage: %s\n\n%s\n", page->usage, page->about);
	for (unsigned group = 0; group < page->group_count; group++) {
		fprintf(to, "\n%s:\n", page->groups[group].title);
		for (unsigned i = 0; i < page->groups[group].count; i++)
			print_option(to, &page->groups[group].specs[i]);
	}
	fprintf(to, "\nhelp:\n");
	print_option(to, &help);
	print_option(to, &version);
}
