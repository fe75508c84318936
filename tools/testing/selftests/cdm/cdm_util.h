/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Helpers of the cdm selftests: every part, for the programs. The parts
 * themselves include what they use, and none of them this.
 *
 *   case, check		what a program consists of
 *   worker, buffer, call	tasks that use memory, and what they do with it
 *   pin, cached, keep		more of their calls, and a file that keeps charges
 *   group, usage, memory	files of cgroups: to write to, and to read
 *   node, pool			the machine, and its pools of huge pages
 *   system, trace, files	what the kernel has beside that
 *   syscall, wait		for all of them
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
