/* available.c - memory that can be taken without getting somebody killed.
 * In: /proc/meminfo and the control groups (versions 1 and 2).
 * Out: bytes, or a sentence that says what to do.  Owns: nothing. */
#include "sys/available.h"

#include <errno.h>
#include <string.h>

#include "sys/text.h"

/* Left to everybody else. */
#define REST_BYTES  (64u << 20)
/* A page table takes 8 bytes for each 4096: this is twice that. */
#define TABLES_PART 256

int sys_available_bytes(uint64_t *bytes)
{
	char text[4096];
	int ret = sys_text_read("/proc/meminfo", text, sizeof(text));
	uint64_t kilobytes;

	if (ret < 0)
		return ret;
	if (!sys_text_find_u64(text, "MemAvailable:", &kilobytes))
		return -ENOTSUP;
	*bytes = kilobytes * 1024;
	return 0;
}

static const struct cgroup_names {
	const char *mount, *limit, *used, *file_active, *file_inactive;
} cgroup_names[2] = {
	{"/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_active_file",
	 "total_inactive_file"},
	{"", "memory.max", "memory.current", "active_file", "inactive_file"},
};

/* File pages count as used, but the kernel drops them when memory is asked for. */
static uint64_t droppable_bytes(const char *folder, const struct cgroup_names *names)
{
	uint64_t active = 0, inactive = 0;
	char path[4300], text[8192];

	snprintf(path, sizeof(path), "%s/memory.stat", folder);
	if (sys_text_read(path, text, sizeof(text)) < 0)
		return 0;
	sys_text_find_u64(text, names->file_active, &active);
	sys_text_find_u64(text, names->file_inactive, &inactive);
	return active + inactive;
}

static uint64_t room_of_group(const char *folder, const struct cgroup_names *names)
{
	uint64_t limit, used;
	char path[4300];

	snprintf(path, sizeof(path), "%s/%s", folder, names->limit);
	if (sys_text_read_u64(path, &limit) < 0)
		return UINT64_MAX;
	snprintf(path, sizeof(path), "%s/%s", folder, names->used);
	/* Version 1 writes "no limit" as a number near 2^63. */
	if (limit >= UINT64_MAX / 4 || sys_text_read_u64(path, &used) < 0)
		return UINT64_MAX;
	used -= MIN_OF(used, droppable_bytes(folder, names));
	return limit - MIN_OF(limit, used);
}

/* A limit holds for all groups below it: the tightest up to the root counts. */
static uint64_t room_up_to_root(const char *root, const char *group, const struct cgroup_names *names)
{
	uint64_t room = UINT64_MAX;
	char folder[4096];
	size_t keep;
	int used = snprintf(folder, sizeof(folder), "%s%s", root, names->mount);

	keep = (size_t)used;
	snprintf(folder + keep, sizeof(folder) - keep, "%s", group);
	for (;;) {
		char *slash;
		uint64_t here = room_of_group(folder, names);

		room = MIN_OF(room, here);
		slash = strrchr(folder + keep, '/');
		if (!slash)
			return room;
		*slash = 0;
	}
}

/* The version 1 entry of the memory controller: "4:memory:/a/b", also "2:cpu,memory:/a". */
static bool names_memory(const char *controllers)
{
	size_t bytes = strcspn(controllers, ",:");

	while (bytes != 6 || strncmp(controllers, "memory", 6) != 0) {
		if (controllers[bytes] != ',')
			return false;
		controllers += bytes + 1;
		bytes = strcspn(controllers, ",:");
	}
	return true;
}

uint64_t sys_cgroup_room_in(const char *root, const char *cgroups)
{
	uint64_t room = UINT64_MAX;

	for (const char *line = cgroups; line && *line; line = strchr(line, '\n')) {
		const char *controllers, *path;
		char group[3000];
		uint64_t here;
		bool unified;

		line += *line == '\n';
		controllers = strchr(line, ':');
		path = controllers ? strchr(controllers + 1, ':') : NULL;
		if (!path)
			break;
		unified = controllers[1] == ':';
		if (!unified && !names_memory(controllers + 1))
			continue;
		snprintf(group, sizeof(group), "%.*s", (int)strcspn(path + 1, "\n"), path + 1);
		here = room_up_to_root(root, group, &cgroup_names[unified]);
		room = MIN_OF(room, here);
	}
	return room;
}

uint64_t sys_cgroup_room_bytes(void)
{
	char text[8192];

	if (sys_text_read("/proc/self/cgroup", text, sizeof(text)) < 0)
		return UINT64_MAX;
	return sys_cgroup_room_in("/sys/fs/cgroup", text);
}

int sys_available_check(uint64_t bytes, bool in_cgroup, char *error, size_t room)
{
	uint64_t wanted = bytes + bytes / TABLES_PART + REST_BYTES, available, group;
	char need[SYS_SIZE_BYTES], have[SYS_SIZE_BYTES];
	int ret = sys_available_bytes(&available);

	if (ret < 0) {
		snprintf(error, room, "/proc/meminfo does not say how much memory is available: mount /proc");
		return ret;
	}
	sys_text_size(wanted, need);
	if (wanted > available || wanted < bytes) {
		snprintf(error, room,
			 "%s of memory are needed but the machine has only %s available: "
			 "ask for fewer connections, or stop other programs",
			 need, sys_text_size(available, have));
		return -ENOMEM;
	}
	group = in_cgroup ? sys_cgroup_room_bytes() : UINT64_MAX;
	if (wanted > group) {
		snprintf(error, room,
			 "%s of memory are needed but the control group leaves only %s: "
			 "ask for fewer connections, or raise the memory limit of the service or container",
			 need, sys_text_size(group, have));
		return -ENOMEM;
	}
	return 0;
}
