/* text.c - reading the kernel's small text files.
 * In: a path below /proc or /sys.  Out: text or a number.  Owns: nothing. */
#include "sys/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int sys_text_read(const char *path, char *text, size_t room)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret = 0;
	size_t used = 0;

	if (fd < 0)
		return -errno;
	while (used < room - 1) {
		ssize_t got = read(fd, text + used, room - 1 - used);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			ret = -errno;
		if (got <= 0)
			break;
		used += (size_t)got;
	}
	close(fd);
	text[used] = 0;
	return ret < 0 ? ret : (int)used;
}

static bool parse_u64(const char *text, uint64_t *value)
{
	char *end;

	if (strncmp(text, "max", 3) == 0) {
		*value = UINT64_MAX;
		return true;
	}
	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoull(text, &end, 10);
	return errno == 0;
}

int sys_text_read_u64(const char *path, uint64_t *value)
{
	char text[64];
	int ret = sys_text_read(path, text, sizeof(text));

	if (ret < 0)
		return ret;
	return parse_u64(text, value) ? 0 : -EINVAL;
}

bool sys_text_find_u64(const char *text, const char *key, uint64_t *value)
{
	size_t key_bytes = strlen(key);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, key_bytes) == 0)
			return parse_u64(line + key_bytes + strspn(line + key_bytes, " \t"), value);
	}
	return false;
}

const char *sys_text_size(uint64_t bytes, char text[SYS_SIZE_BYTES])
{
	if (bytes >= 1u << 30)
		snprintf(text, SYS_SIZE_BYTES, "%.1f GB", (double)bytes / (double)(1u << 30));
	else if (bytes >= 1u << 20)
		snprintf(text, SYS_SIZE_BYTES, "%.0f MB", (double)bytes / (double)(1u << 20));
	else
		snprintf(text, SYS_SIZE_BYTES, "%.0f KB", (double)bytes / (double)(1u << 10));
	return text;
}
