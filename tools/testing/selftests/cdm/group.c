// SPDX-License-Identifier: GPL-2.0
/* Groups, see group.h. */

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "check.h"
#include "files.h"
#include "group.h"
#include "node.h"

char cdm_root[PATH_MAX];

/* Paths of the groups that the running case has made. */
static char *paths[64];
static size_t nr_paths;

void groups_init(void)
{
	if (cg_find_unified_root(cdm_root, sizeof(cdm_root), NULL))
		ksft_exit_skip("cgroup v2 is not mounted\n");
	if (cdm_enable(cdm_root, "+memory +cdm"))
		ksft_exit_skip("no cdm controller\n");
}

/* The case is over: the paths of its groups are good no more. */
void groups_forget(void)
{
	while (nr_paths)
		free(paths[--nr_paths]);
}

/* Make a group. Its path is good until the case ends. */
char *cdm_make_group(const char *parent, const char *name)
{
	char *group = cg_name(parent, name);

	if (nr_paths == ARRAY_SIZE(paths))
		ksft_exit_fail_msg("too many groups\n");
	paths[nr_paths++] = group;
	if (mkdir(group, 0755))
		cdm_fail(__FILE__, __LINE__, "mkdir %s: %s", group,
			 strerror(errno));
	return group;
}

/* Make the groups a and b, with the controller on. */
void cdm_make_two_groups(const char *parent, char **a, char **b)
{
	CHECK_EQ(cdm_enable(parent, "+cdm"), 0);
	*a = cdm_make_group(parent, "a");
	*b = cdm_make_group(parent, "b");
}

int cdm_enable(const char *group, const char *controllers)
{
	return cdm_write(group, "cgroup.subtree_control", "%s", controllers);
}

/* Returns 0 or -errno; the whole text goes in one write(). */
int cdm_write(const char *group, const char *file, const char *fmt, ...)
{
	char buf[4096];
	va_list args;

	va_start(args, fmt);
	vsnprintf(buf, sizeof(buf), fmt, args);
	va_end(args);
	return cg_write(group, file, buf);
}

/* Limit @group to @pages on @node, or not at all if that is negative. */
int cdm_limit(const char *group, int node, long pages)
{
	if (pages < 0)
		return cdm_write(group, "cdm.max", "node%d max\n", node);
	return cdm_write(group, "cdm.max", "node%d %ld\n", node,
			 pages * cdm_psize);
}

/* Promise @group @pages on @node, or all that it uses if that is negative. */
int cdm_protect(const char *group, int node, long pages)
{
	if (pages < 0)
		return cdm_write(group, "cdm.low", "node%d max\n", node);
	return cdm_write(group, "cdm.low", "node%d %ld\n", node,
			 pages * cdm_psize);
}

/* Have @pages of @group and what is below it demoted. */
int cdm_reclaim(const char *group, int node, long pages)
{
	return cdm_write(group, "cdm.reclaim", "node%d %ld\n", node,
			 pages * cdm_psize);
}

/*
 * Mount cgroup2 anew, with an option or without it, and all else as it is.
 * Returns 0 or -errno.
 */
int cdm_mount_option(const char *option, bool on)
{
	static const char * const all[] = {
		"nsdelegate", "favordynmods", "memory_localevents",
		"memory_recursiveprot", "memory_hugetlb_accounting",
		"pids_localevents",
	};
	char mounts[1 << 14], key[PATH_MAX + 16], options[256], *pos;
	struct statvfs st;
	size_t i;

	if (file_read("/proc/self/mounts", mounts, sizeof(mounts)) ||
	    statvfs(cdm_root, &st))
		return -errno;
	snprintf(key, sizeof(key), " %s cgroup2 ", cdm_root);
	pos = strstr(mounts, key);
	if (!pos)
		return -ENOENT;
	*strchrnul(pos, '\n') = '\0';
	snprintf(options, sizeof(options), "%s", on ? option : "");
	for (i = 0; i < ARRAY_SIZE(all); i++)
		if (strstr(pos, all[i]) && strcmp(all[i], option))
			snprintf(options + strlen(options),
				 sizeof(options) - strlen(options), ",%s",
				 all[i]);
	/* The flags of a mount have the same bits in both interfaces. */
	if (mount("none", cdm_root, NULL, MS_REMOUNT |
		  (st.f_flag & (ST_NOSUID | ST_NODEV | ST_NOEXEC)), options))
		return -errno;
	return 0;
}

int cdm_set_recursive_low(bool on)
{
	return cdm_mount_option("memory_recursiveprot", on);
}
