/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Workers: processes in a group that make one call at a time, as they are told,
 * and send back what came of it. A case that drives several of them is still
 * straight-line code, and never has to sleep.
 */
#ifndef _SELFTESTS_CDM_WORKER_H
#define _SELFTESTS_CDM_WORKER_H

#include <stdbool.h>
#include <sys/types.h>

#include "call.h"

struct cdm_task {
	pid_t pid;
	int up;			/* replies */
	int down;		/* requests */
	int spare_up;		/* the same for a child of the worker */
	int spare_down;
	bool direct;		/* our own child, to be waited for */
};

void task_start(struct cdm_task *task, const char *group);
void task_start_on(struct cdm_task *task, const char *group, long pages,
		   int node);
void task_start_cpu(struct cdm_task *task, const char *group, int cpu);
int task_fork(struct cdm_task *task, struct cdm_task *child);
int task_fork_into(struct cdm_task *task, struct cdm_task *child,
		   const char *group);
void task_send(struct cdm_task *task, cdm_op op, long a, long b);
struct cdm_reply task_reply(struct cdm_task *task);
struct cdm_reply task_call(struct cdm_task *task, cdm_op op, long a, long b);
int task_end(struct cdm_task *task);

/* Have the worker map a new buffer on cdm_node and write to it. */
struct cdm_reply task_ask(struct cdm_task *task, long pages);

/* Check where the first @pages of the buffer are, and what they hold. */
void task_check_at(struct cdm_task *task, long pages, long dev, long ram);
int task_kill(struct cdm_task *task);

/* For the cases, see case.h. */
void workers_kill(void);

#endif /* _SELFTESTS_CDM_WORKER_H */
