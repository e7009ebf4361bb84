/* drill_main.c - packet tests that are scripts: each file is a test.
 * In: plain, peer-wraps or stack-wraps, then folders and files. Out: TAP, or one line a failure. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "drill.h"
#include "harness.h"

#ifndef DRILL_SCRIPTS
#define DRILL_SCRIPTS "tests/packet/drill" /* where nothing is named; the build knows the whole path */
#endif
#define SCRIPTS_MAX 1024
#define TEXT_MAX    65536

static struct {
	char path[256];
	const char *name;
} scripts[SCRIPTS_MAX];
static struct CMUnitTest tests[SCRIPTS_MAX];
static unsigned script_count;
static char defaults[TEXT_MAX];
static bool has_defaults;

static bool read_file(const char *path, char *text)
{
	FILE *file = fopen(path, "r");
	size_t bytes;

	if (!file)
		return false;
	bytes = fread(text, 1, TEXT_MAX - 1, file);
	text[bytes] = 0;
	fclose(file);
	return bytes < TEXT_MAX - 1;
}

static void run_script(void **state)
{
	static struct drill_script script;
	static char text[TEXT_MAX];
	const char *path = *state;

	if (!read_file(path, text))
		fail_msg("%s cannot be read, or is too long", path);
	if (!drill_parse(&script, path, text, has_defaults ? defaults : NULL) || !drill_run(&script)) {
		print_error("%s\n", script.failure);
		fail();
	}
}

static bool is_script(const char *name)
{
	size_t bytes = strlen(name);

	return bytes > 4 && strcmp(name + bytes - 4, ".pkt") == 0;
}

static void add(const char *path, size_t prefix)
{
	unsigned i = script_count++;

	if (i == SCRIPTS_MAX) {
		fprintf(stderr, "more than %u scripts\n", SCRIPTS_MAX);
		exit(2);
	}
	snprintf(scripts[i].path, sizeof(scripts[i].path), "%s", path);
	scripts[i].name = scripts[i].path + prefix;
	tests[i] = (struct CMUnitTest){
		.name = scripts[i].name, .test_func = run_script, .initial_state = scripts[i].path};
}

static void add_folder(const char *path, size_t prefix)
{
	struct dirent **names;
	int count = scandir(path, &names, NULL, alphasort);
	char inner[256];
	struct stat what;

	for (int i = 0; i < count; i++) {
		snprintf(inner, sizeof(inner), "%.120s/%.120s", path, names[i]->d_name);
		if (names[i]->d_name[0] != '.' && stat(inner, &what) == 0) {
			if (S_ISDIR(what.st_mode))
				add_folder(inner, prefix);
			else if (is_script(inner))
				add(inner, prefix);
		}
		free(names[i]);
	}
	if (count >= 0)
		free(names);
}

static bool add_argument(const char *path)
{
	char inner[256];
	struct stat what;

	if (stat(path, &what) < 0)
		return false;
	if (!S_ISDIR(what.st_mode)) {
		add(path, 0);
		return true;
	}
	snprintf(inner, sizeof(inner), "%.240s/defaults", path);
	has_defaults |= read_file(inner, defaults);
	add_folder(path, strlen(path) + 1);
	return true;
}

/* Settings from a file stand before those of each script. */
static bool take_settings(const char *argument)
{
	has_defaults = read_file(argument + strlen("--flags="), defaults);
	return has_defaults;
}

int main(int argc, char **argv)
{
	bool good = harness_arguments(MIN_OF(argc, 2), argv);

	for (int i = 2; i < argc && good; i++) {
		good = strncmp(argv[i], "--flags=", 8) == 0 ? take_settings(argv[i]) : add_argument(argv[i]);
		if (!good)
			fprintf(stderr, "%s cannot be read\n", argv[i]);
	}
	if (good && script_count == 0)
		good = add_argument(DRILL_SCRIPTS);
	if (!good || script_count == 0) {
		fprintf(stderr, "usage: %s [plain|peer-wraps|stack-wraps [--flags=FILE] [FOLDER|FILE...]]\n",
			argv[0]);
		return 2;
	}
	return _cmocka_run_group_tests("drill", tests, script_count, NULL, NULL);
}
