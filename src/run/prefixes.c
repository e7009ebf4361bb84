/* prefixes.c - networks from texts and files.
 * In: an option's text.  Out: struct c10m_prefix, or a sentence.  Owns: nothing; lists are the caller's. */
#include "run/prefixes.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "wire/ipv4.h"

#define LINE_BYTES 256
#define WORD_BYTES 64

/* Where a word stands: an option, or a line of a file. */
struct place {
	const char *option, *file;
	unsigned line;
	char *error;
};

__attribute__((format(printf, 2, 3))) static bool refuse(const struct place *place, const char *format, ...)
{
	va_list arguments;
	int used = place->file ? snprintf(place->error, OPTIONS_ERROR_BYTES,
					  "%s: %.60s, line %u: ", place->option, place->file, place->line)
			       : snprintf(place->error, OPTIONS_ERROR_BYTES, "%s: ", place->option);

	va_start(arguments, format);
	vsnprintf(place->error + used, (size_t)(OPTIONS_ERROR_BYTES - used), format, arguments);
	va_end(arguments);
	return false;
}

static bool append(struct prefix_list *list, const struct c10m_prefix *prefix)
{
	size_t room = list->room ? 2 * list->room : 64;
	struct c10m_prefix *more;

	if (list->count == list->room) {
		more = realloc(list->prefixes, room * sizeof(*more));
		if (!more)
			return false;
		list->prefixes = more;
		list->room = room;
	}
	list->prefixes[list->count++] = *prefix;
	return true;
}

static bool add_word(struct prefix_list *list, const struct place *place, const char *word)
{
	struct c10m_prefix prefix = {.family = 4};
	char text[IPV4_TEXT_BYTES];
	unsigned bits = 32;
	uint32_t rest;

	if (strchr(word, ':'))
		return refuse(place,
			      "'%s' looks like IPv6, which c10m does not speak yet: give IPv4 networks",
			      word);
	if (!ipv4_from_text(word, &prefix.address[0]) &&
	    !ipv4_prefix_from_text(word, &prefix.address[0], &bits))
		return refuse(place,
			      "'%s' is no IPv4 network: write it like 10.0.0.0/8, or 10.1.2.3 for one host",
			      word);
	prefix.bits = (uint8_t)bits;
	rest = bits == 32 ? 0 : UINT32_MAX >> bits;
	if (prefix.address[0] & rest)
		return refuse(place, "'%s' has bits behind its length: write %s/%u for the network", word,
			      ipv4_to_text(prefix.address[0] & ~rest, text), bits);
	return append(list, &prefix) || refuse(place, "too little memory for so many networks: give fewer");
}

/* A word of so many bytes, without the blanks around it. */
static bool add_part(struct prefix_list *list, const struct place *place, const char *at, size_t bytes)
{
	char word[WORD_BYTES];

	while (bytes && strchr(" \t\r\n", *at)) {
		at++;
		bytes--;
	}
	while (bytes && strchr(" \t\r\n", at[bytes - 1]))
		bytes--;
	if (bytes == 0 && place->file)
		return true;
	if (bytes == 0)
		return refuse(place, "a network is missing: write them like 10.0.0.0/8,192.0.2.7");
	if (bytes >= sizeof(word))
		return refuse(place, "'%.40s...' is no IPv4 network: write it like 10.0.0.0/8", at);
	memcpy(word, at, bytes);
	word[bytes] = '\0';
	return add_word(list, place, word);
}

static bool add_lines(struct prefix_list *list, struct place *place, FILE *file)
{
	char line[LINE_BYTES];

	while (fgets(line, sizeof(line), file)) {
		size_t bytes = strcspn(line, "#\n");

		place->line++;
		if (bytes == sizeof(line) - 1)
			return refuse(place, "the line is too long: one network a line");
		if (memchr(line, '#', strlen(line)) && !strchr(line, '\n') && !feof(file))
			for (int c = 0; c != '\n' && c != EOF;) /* the rest of a long comment */
				c = fgetc(file);
		if (!add_part(list, place, line, bytes))
			return false;
	}
	return !ferror(file) || refuse(place, "cannot be read (%s): name a text file", strerror(errno));
}

static bool add_file(struct prefix_list *list, const struct place *at, const char *name)
{
	FILE *file = fopen(name, "re");
	struct place place = {at->option, name, 0, at->error};
	bool good;

	if (!file)
		return refuse(at, "the file %.80s cannot be opened (%s): check its name", name,
			      strerror(errno));
	good = add_lines(list, &place, file);
	fclose(file);
	return good;
}

static bool add_named_file(struct prefix_list *list, const struct place *place, const char *at, size_t bytes)
{
	char *name = strndup(at, bytes);
	bool good = name && add_file(list, place, name);

	if (!name)
		refuse(place, "too little memory for a name of %zu bytes", bytes);
	free(name);
	return good;
}

bool prefix_list_add(struct prefix_list *list, const char *option, const char *text,
		     char error[OPTIONS_ERROR_BYTES])
{
	const struct place place = {option, NULL, 0, error};

	for (;; text++) {
		size_t bytes = strcspn(text, ",");
		bool good = *text == '@' ? add_named_file(list, &place, text + 1, bytes - 1)
					 : add_part(list, &place, text, bytes);

		if (!good)
			return false;
		text += bytes;
		if (*text == '\0')
			return true;
	}
}

void prefix_list_free(struct prefix_list *list)
{
	free(list->prefixes);
	*list = (struct prefix_list){0};
}
