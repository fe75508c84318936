/* SPDX-License-Identifier: GPL-2.0 */
/*
 * All helpers of the cdm selftests, for the programs to include. The helpers
 * themselves include only what they use, and never this file.
 *
 *   case, check		what a program consists of
 *   worker, buffer, call	tasks that use memory, and their system calls
 *   pin, cached, keep		more calls, and a file that keeps its charges
 *   group, usage, memory	files of cgroups: writing and reading them
 *   node, pool			nodes, and their pools of huge pages
 *   system, trace, files	the rest of the kernel's files
 *   syscall, wait		system calls, and waiting for others
 */
#ifndef _SELFTESTS_CDM_UTIL_H
#define _SELFTESTS_CDM_UTIL_H

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "buffer.h"
#include "cached.h"
#include "call.h"
#include "case.h"
#include "check.h"
#include "files.h"
#include "group.h"
#include "keep.h"
#include "memory.h"
#include "node.h"
#include "pin.h"
#include "pool.h"
#include "syscall.h"
#include "system.h"
#include "trace.h"
#include "usage.h"
#include "wait.h"
#include "worker.h"

#endif /* _SELFTESTS_CDM_UTIL_H */
