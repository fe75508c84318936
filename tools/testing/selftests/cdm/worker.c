// SPDX-License-Identifier: GPL-2.0
/* Workers, see worker.h. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "group.h"
#include "node.h"
#include "wait.h"
#include "worker.h"

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

enum request_kind { REQUEST_CALL, REQUEST_FORK, REQUEST_QUIT };

struct request {
	enum request_kind kind;
	cdm_op op;
	long a;
	long b;
};

/* The workers that have not ended yet, to be killed after the case. */
static pid_t running[64];

/* fork() with the child in @group from the start. */
static pid_t fork_into(const char *group)
{
	int fd = dirfd_open_opath(group);
	pid_t pid;

	if (fd < 0)
		return -1;
	pid = clone_into_cgroup(fd);
	close(fd);
	return pid;
}

struct channel {
	int in;
	int out;
};

static void serve(struct channel own, struct channel spare);

/* Fork a worker that uses the spare channel; returns its pid. */
static long serve_fork(struct channel *own, struct channel *spare,
		       const char *group)
{
	struct channel none = { -1, -1 };
	pid_t pid;

	pid = group ? fork_into(group) : fork();
	if (pid) {
		close_fd(&spare->in);
		close_fd(&spare->out);
		return pid < 0 ? -errno : pid;
	}
	close_fd(&own->in);
	close_fd(&own->out);
	serve(*spare, none);
	return 0;
}

/* The buffer of this worker; a forked worker inherits it. */
static struct cdm_buf worker_buf = { .fd = -1 };

static void serve(struct channel own, struct channel spare)
{
	struct request request;
	struct cdm_reply reply;

	while (read(own.in, &request, sizeof(request)) == sizeof(request)) {
		if (request.kind == REQUEST_QUIT)
			break;
		if (request.kind == REQUEST_FORK) {
			memset(&reply, 0, sizeof(reply));
			reply.ret = serve_fork(&own, &spare,
					       (const char *)request.a);
		} else {
			reply = request.op(&worker_buf, request.a, request.b);
		}
		if (write(own.out, &reply, sizeof(reply)) != sizeof(reply))
			break;
	}
	fflush(stdout);
	_exit(0);
}

static void running_add(pid_t pid)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(running); i++) {
		if (!running[i]) {
			running[i] = pid;
			return;
		}
	}
}

static void running_del(pid_t pid)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(running); i++)
		if (running[i] == pid)
			running[i] = 0;
}

/**
 * task_start - start a worker
 * @task: gets the worker
 * @group: its group; NULL for that of the caller
 */
void task_start(struct cdm_task *task, const char *group)
{
	int up[2], down[2], spare_up[2], spare_down[2];
	struct cdm_reply ready = { 0 };

	if (pipe2(up, O_CLOEXEC) || pipe2(down, O_CLOEXEC) ||
	    pipe2(spare_up, O_CLOEXEC) || pipe2(spare_down, O_CLOEXEC))
		ksft_exit_fail_msg("no pipes: %s\n", strerror(errno));
	task->pid = fork();
	if (task->pid < 0)
		ksft_exit_fail_msg("no fork: %s\n", strerror(errno));
	if (!task->pid) {
		struct channel own = { down[0], up[1] };
		struct channel spare = { spare_down[0], spare_up[1] };

		signal(SIGCHLD, SIG_IGN);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_CHILD_SUBREAPER, 0);
		ready.ret = group ? cg_enter_current(group) : 0;
		if (write(own.out, &ready, sizeof(ready)) == sizeof(ready))
			serve(own, spare);
		_exit(1);
	}
	close(up[1]);
	close(down[0]);
	close(spare_up[1]);
	close(spare_down[0]);
	task->up = up[0];
	task->down = down[1];
	task->spare_up = spare_up[0];
	task->spare_down = spare_down[1];
	task->direct = true;
	running_add(task->pid);
	ready = task_reply(task);
	if (ready.ret)
		cdm_fail(__FILE__, __LINE__, "cannot enter %s: %ld", group,
			 ready.ret);
}

/* Start a worker with @pages on @node; in RAM if @node is negative. */
void task_start_on(struct cdm_task *task, const char *group, long pages,
		   int node)
{
	struct cdm_reply reply;

	task_start(task, group);
	CHECK_EQ(task_call(task, op_map, pages, node).ret, 0);
	reply = task_call(task, op_touch, 0, pages);
	if (node == cdm_node)
		CHECK_EQ(reply.dev, pages);
	else
		CHECK_EQ(node < 0 ? reply.ram : reply.other, pages);
}

/* Start a worker that runs on one CPU only. */
void task_start_cpu(struct cdm_task *task, const char *group, int cpu)
{
	task_start(task, group);
	CHECK_EQ(task_call(task, op_on_cpu, cpu, 0).ret, 0);
}

static void request(struct cdm_task *task, enum request_kind kind, cdm_op op,
		    long a, long b)
{
	struct request request = { kind, op, a, b };

	if (write(task->down, &request, sizeof(request)) != sizeof(request) &&
	    kind != REQUEST_QUIT)
		cdm_fail(__FILE__, __LINE__, "worker %d is gone", task->pid);
}

/**
 * task_fork_into - fork a worker
 * @task: the worker
 * @child: gets the child, which has the memory and the buffer of @task
 * @group: the child's group, which must have been made before @task was
 *	started; NULL for the group of @task
 *
 * A worker can be forked once. Return: 0 or -errno.
 */
int task_fork_into(struct cdm_task *task, struct cdm_task *child,
		   const char *group)
{
	struct cdm_reply reply;

	request(task, REQUEST_FORK, NULL, (long)group, 0);
	reply = task_reply(task);
	child->pid = reply.ret;
	child->up = task->spare_up;
	child->down = task->spare_down;
	child->spare_up = -1;
	child->spare_down = -1;
	child->direct = false;
	task->spare_up = -1;
	task->spare_down = -1;
	return reply.ret < 0 ? reply.ret : 0;
}

int task_fork(struct cdm_task *task, struct cdm_task *child)
{
	return task_fork_into(task, child, NULL);
}

void task_send(struct cdm_task *task, cdm_op op, long a, long b)
{
	request(task, REQUEST_CALL, op, a, b);
}

struct cdm_reply task_reply(struct cdm_task *task)
{
	struct cdm_reply reply;

	cdm_progress();
	if (read(task->up, &reply, sizeof(reply)) != sizeof(reply)) {
		cdm_fail(__FILE__, __LINE__, "worker %d died", task->pid);
		memset(&reply, 0, sizeof(reply));
		reply.ret = -EPIPE;
	}
	return reply;
}

struct cdm_reply task_call(struct cdm_task *task, cdm_op op, long a, long b)
{
	task_send(task, op, a, b);
	return task_reply(task);
}

/*
 * Wait until the worker's memory is gone: its pipe is closed after that.
 * Returns its exit status, or minus the signal that killed it.
 */
static int task_gone(struct cdm_task *task)
{
	struct cdm_reply reply;
	int status = 0;

	while (read(task->up, &reply, sizeof(reply)) > 0)
		continue;
	if (task->direct) {
		while (waitpid(task->pid, &status, 0) < 0 && errno == EINTR)
			continue;
		running_del(task->pid);
	}
	close_fd(&task->up);
	close_fd(&task->down);
	close_fd(&task->spare_up);
	close_fd(&task->spare_down);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

struct cdm_reply task_ask(struct cdm_task *task, long pages)
{
	CHECK_EQ(task_call(task, op_map, pages, cdm_node).ret, 0);
	return task_call(task, op_touch, 0, pages);
}

void task_check_at(struct cdm_task *task, long pages, long dev, long ram)
{
	struct cdm_reply reply = task_call(task, op_count, 0, pages);

	CHECK_EQ(reply.dev, dev);
	CHECK_EQ(reply.ram, ram);
	CHECK_EQ(reply.bad, 0);
}

int task_end(struct cdm_task *task)
{
	request(task, REQUEST_QUIT, NULL, 0, 0);
	return task_gone(task);
}

int task_kill(struct cdm_task *task)
{
	kill(task->pid, SIGKILL);
	return task_gone(task);
}

/* Kill the workers that the case did not end; the caller reaps them. */
void workers_kill(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(running); i++) {
		if (running[i])
			kill(running[i], SIGKILL);
		running[i] = 0;
	}
}
