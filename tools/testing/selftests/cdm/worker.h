/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Workers: processes in a group that do what they are told, a call at a time,
 * and answer. A case that drives them stays a straight line, and nothing ever
 * waits for a time to pass.
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
	bool direct;		/* our own child: to be waited for */
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

/* Have the worker ask for @pages of cdm_node, in a new buffer. */
struct cdm_reply task_ask(struct cdm_task *task, long pages);

/* Of the first @pages of the worker's buffer so many are where, none is bad. */
void task_check_at(struct cdm_task *task, long pages, long dev, long ram);
int task_kill(struct cdm_task *task);

/* For the cases, see case.h. */
void workers_kill(void);

#endif /* _SELFTESTS_CDM_WORKER_H */
