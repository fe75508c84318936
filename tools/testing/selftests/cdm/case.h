/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Cases.
 *
 * A program consists of cases. cdm_case() gives each one a new cgroup, runs it,
 * kills the workers that it left behind and checks the books: no group has any
 * usage left, the root's usage is what it was before, each page is owned by the
 * group that it is charged to, and nothing was killed for lack of memory.
 */
#ifndef _SELFTESTS_CDM_CASE_H
#define _SELFTESTS_CDM_CASE_H

#include <stdbool.h>

#include "kselftest.h"

extern bool cdm_expects_oom;	/* the OOM killer is what is tested */

void cdm_init(unsigned int cases);
void cdm_case(const char *name, void (*fn)(const char *group));
void cdm_case_arg(const char *name,
		  void (*fn)(const char *group, const void *arg),
		  const void *arg);
void cdm_run_each_lru(void (*run)(void));
void cdm_report(bool good, const char *name);
void cdm_case_skip(const char *name, const char *why);
void __noreturn cdm_exit(void);

#endif /* _SELFTESTS_CDM_CASE_H */
