/* SPDX-License-Identifier: GPL-2.0 */
/* What the memory controller says of a group: its RAM. */
#ifndef _SELFTESTS_CDM_MEMORY_H
#define _SELFTESTS_CDM_MEMORY_H

/*
 * RAM by memory.current, in pages. What CPUs keep in stock makes the file
 * inexact, by no more than the slack with the CPUs that test machines have.
 */
#define CDM_RAM_SLACK	256
long cdm_ram_usage(const char *group);
void cdm_check_ram(const char *group, long before, long pages);
void cdm_check_no_oom(const char *group);

/* Write @pages to a file of the memory controller; negative means max. */
void cdm_set_memory(const char *group, const char *file, long pages);

/* Leave no room: set memory.max to the current usage, and forbid swap. */
void cdm_fill_ram(const char *group);

#endif /* _SELFTESTS_CDM_MEMORY_H */
