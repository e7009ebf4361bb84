/* main.c - c10m_main: a program that is nothing but services.
 * In: argv and services. Out: an exit code. Owns: its copy of the services. */
#include <stdio.h>
#include <string.h>

#include "run/run.h"

#define STRING(x)  #x
#define NUMBER(x)  STRING(x)
#define VERSION    NUMBER(C10M_VERSION_MAJOR) "." NUMBER(C10M_VERSION_MINOR) "." NUMBER(C10M_VERSION_PATCH)
#define TEXT_BYTES 256

C10M_API const char *c10m_version(void)
{
	return VERSION;
}

static const char *program_name(const struct run_program *program, char **argv)
{
	const char *name = program->name ? program->name : argv[0];
	const char *slash = name ? strrchr(name, '/') : NULL;

	return slash ? slash + 1 : name ? name : "c10m";
}

/* "echo on port 7, http on port 80" */
static void describe_services(const struct c10m_service *services, uint32_t count, char text[TEXT_BYTES])
{
	size_t used = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < count && used < TEXT_BYTES; i++) {
		int wrote = snprintf(text + used, TEXT_BYTES - used, "%s%s", i ? ", " : "Serves ",
				     services[i].name);

		used += (size_t)wrote;
		if (services[i].port && used < TEXT_BYTES)
			used += (size_t)snprintf(text + used, TEXT_BYTES - used, " on TCP port %u",
						 services[i].port);
	}
	if (used < TEXT_BYTES)
		snprintf(text + used, TEXT_BYTES - used, ".");
}

static int parse(int argc, char **argv, const char *name, const struct run_program *program,
		 const struct c10m_service *services, uint32_t service_count, struct run_config *config)
{
	char error[OPTIONS_ERROR_BYTES], usage[TEXT_BYTES], about[TEXT_BYTES];
	struct option_group groups[2] = {{"options of every program", run_options, run_option_count, config}};
	struct option_page page = {program->usage, program->about, groups, 1};

	if (program->extra) {
		groups[1] = groups[0];
		groups[0] = *program->extra;
		page.group_count = 2;
	}
	if (!page.usage) {
		snprintf(usage, sizeof(usage), "%s --interface IF --address A/LEN [options]", name);
		describe_services(services, service_count, about);
		page.usage = usage;
		page.about = about;
	}
	switch (options_parse(argc, argv, &page, error)) {
	case OPTIONS_RUN:
		return -1;
	case OPTIONS_HELP:
		options_print(stdout, &page);
		return RUN_OK;
	case OPTIONS_VERSION:
		printf("%s\n", c10m_version());
		return RUN_OK;
	case OPTIONS_WRONG:
		break;
	}
	fprintf(stderr, "%s: %s\n", name, error);
	return RUN_WRONG;
}

int run_main(int argc, char **argv, const struct run_program *program, struct c10m_service *services,
	     uint32_t service_count, void (*prepare)(void))
{
	const char *name = program_name(program, argv);
	struct run_config config;
	char error[OPTIONS_ERROR_BYTES];
	int code;

	run_config_init(&config);
	if (program->defaults)
		program->defaults(&config);
	code = parse(argc, argv, name, program, services, service_count, &config);
	if (code >= 0)
		return code;
	if (!run_config_check(&config, services, service_count, error) ||
	    (program->check && !program->check(&config, error))) {
		fprintf(stderr, "%s: %s\n", name, error);
		return RUN_WRONG;
	}
	if (prepare)
		prepare();
	return run_services(name, program, &config, services, service_count);
}

/* A program built for another version has a struct of another size: what it lacks is zero, what
 * we do not know must be zero. */
static const char *copy_service(struct c10m_service *to, const uint8_t *from, size_t from_bytes)
{
	size_t known = MIN_OF(from_bytes, sizeof(*to));

	*to = (struct c10m_service){0};
	memcpy(to, from, known);
	for (size_t i = known; i < from_bytes; i++)
		if (from[i] != 0)
			return "the program uses features of a newer c10m: install that version";
	if (!to->name)
		return "a service has no name: give it one";
	return NULL;
}

C10M_API int c10m_main_sized(int argc, char **argv, const struct c10m_service *services, size_t count,
			     size_t service_size)
{
	const struct run_program program = {0};
	struct c10m_service copies[STACK_SERVICES];
	const char *wrong = NULL;

	if (count < 1 || count > STACK_SERVICES)
		wrong = "c10m_main takes 1 to " NUMBER(STACK_SERVICES) " services";
	for (size_t i = 0; i < count && !wrong; i++)
		wrong = copy_service(&copies[i], (const uint8_t *)services + i * service_size, service_size);
	if (wrong) {
		fprintf(stderr, "%s: %s\n", program_name(&program, argv), wrong);
		return RUN_WRONG;
	}
	return run_main(argc, argv, &program, copies, (uint32_t)count, NULL);
}
