/* SPDX-License-Identifier: GPL-2.0 */
/* The memory controller beside cdm: RAM of a group. */
#ifndef _SELFTESTS_CDM_MEMORY_H
#define _SELFTESTS_CDM_MEMORY_H

/* RAM that counts in memory.current, which CPUs' stocks make inexact. */
#define CDM_RAM_SLACK	256
long cdm_ram_usage(const char *group);
void cdm_check_ram(const char *group, long before, long pages);
void cdm_check_no_oom(const char *group);

/* Set a file of the memory controller to @pages, or to max if negative. */
void cdm_set_memory(const char *group, const char *file, long pages);

/* memory.max as it is now, and no swap: nothing more fits into RAM. */
void cdm_fill_ram(const char *group);

#endif /* _SELFTESTS_CDM_MEMORY_H */
