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

/* Free the paths of the case's groups. */
void groups_forget(void)
{
	while (nr_paths)
		free(paths[--nr_paths]);
}

/**
 * cdm_make_group - make a group
 * @parent: the path of its parent
 * @name: its name
 *
 * Return: its path, which is valid until the case ends.
 */
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

/* Enable the controller in @parent, and make the groups "a" and "b". */
void cdm_make_two_groups(const char *parent, char **a, char **b)
{
	CHECK_EQ(cdm_enable(parent, "+cdm"), 0);
	*a = cdm_make_group(parent, "a");
	*b = cdm_make_group(parent, "b");
}

/* Write to cgroup.subtree_control, "+cdm" for example. */
int cdm_enable(const char *group, const char *controllers)
{
	return cdm_write(group, "cgroup.subtree_control", "%s", controllers);
}

/* Write to a file of a group, in a single write(). Returns 0 or -errno. */
int cdm_write(const char *group, const char *file, const char *fmt, ...)
{
	char buf[4096];
	va_list args;

	va_start(args, fmt);
	vsnprintf(buf, sizeof(buf), fmt, args);
	va_end(args);
	return cg_write(group, file, buf);
}

/* Limit @group to @pages on @node; negative means no limit. */
int cdm_limit(const char *group, int node, long pages)
{
	if (pages < 0)
		return cdm_write(group, "cdm.max", "node%d max\n", node);
	return cdm_write(group, "cdm.max", "node%d %ld\n", node,
			 pages * cdm_psize);
}

/* Protect @pages of @group on @node; negative means all that it uses. */
int cdm_protect(const char *group, int node, long pages)
{
	if (pages < 0)
		return cdm_write(group, "cdm.low", "node%d max\n", node);
	return cdm_write(group, "cdm.low", "node%d %ld\n", node,
			 pages * cdm_psize);
}

/* Write a word, or lines, to cdm.policy of @group. */
void cdm_policy(const char *group, const char *policy)
{
	CHECK_EQ(cdm_write(group, "cdm.policy", "%s", policy), 0);
}

/*
 * Have @group compete for whatever it misses: under a limit with all that are
 * below it, and on a depleted node with everybody. The word is the root's until
 * the case ends, so groups without a word of their own compete as well.
 */
void cdm_compete(const char *group, const char *policy)
{
	cdm_policy(cdm_root, policy);
	cdm_policy(group, "inherit");
}

/* Demote @pages of @group and the groups below it. */
int cdm_reclaim(const char *group, int node, long pages)
{
	return cdm_write(group, "cdm.reclaim", "node%d %ld\n", node,
			 pages * cdm_psize);
}

/**
 * cdm_mount_option - remount cgroup2 with or without one option
 * @option: the option
 * @on: with it or without it
 *
 * All other options and flags stay as they are.
 *
 * Return: 0 or -errno.
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
	/* The flags have the same bits in statvfs() and in mount(). */
	if (mount("none", cdm_root, NULL, MS_REMOUNT |
		  (st.f_flag & (ST_NOSUID | ST_NODEV | ST_NOEXEC)), options))
		return -errno;
	return 0;
}

int cdm_set_recursive_low(bool on)
{
	return cdm_mount_option("memory_recursiveprot", on);
}
