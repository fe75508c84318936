/* SPDX-License-Identifier: GPL-2.0 */
/* Groups: making them and writing to their files. */
#ifndef _SELFTESTS_CDM_GROUP_H
#define _SELFTESTS_CDM_GROUP_H

#include <stdbool.h>

#include "cgroup_util.h"

extern char cdm_root[];		/* where cgroup2 is mounted */

void groups_init(void);
void groups_forget(void);
char *cdm_make_group(const char *parent, const char *name);
void cdm_make_two_groups(const char *parent, char **a, char **b);
int cdm_enable(const char *group, const char *controllers);
int cdm_write(const char *group, const char *file, const char *fmt, ...)
	__printf(3, 4);
int cdm_limit(const char *group, int node, long pages);
int cdm_protect(const char *group, int node, long pages);
void cdm_policy(const char *group, const char *policy);
void cdm_compete(const char *group, const char *policy);
int cdm_reclaim(const char *group, int node, long pages);
int cdm_mount_option(const char *option, bool on);
int cdm_set_recursive_low(bool on);

#endif /* _SELFTESTS_CDM_GROUP_H */
