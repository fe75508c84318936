// SPDX-License-Identifier: GPL-2.0
/*
 * The OOM killer frees RAM. What a process has on a device, and how much it
 * is, does not make it the one to kill, neither for a group at its memory.max
 * nor for the machine.
 *
 * vm: --allow [Oo]ut.of.memory|invoked.oom-killer
 */

#include <linux/mempolicy.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cdm_util.h"

#define MIB	(1024 * 1024L)

/* More on the device than anybody has in RAM. */
#define DEVICE	(192 * MIB)
#define RAM	(64 * MIB)

/* A process in @group that writes to @bytes of RAM; and then waits, or ends. */
static pid_t hog(const char *group, long bytes, bool waits)
{
	pid_t pid = fork();
	char *addr;

	if (pid)
		return pid;
	if (cg_enter_current(group))
		_exit(1);
	addr = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (addr == MAP_FAILED)
		_exit(2);
	memset(addr, 1, bytes);
	while (waits)
		pause();
	_exit(0);
}

/* How it ended: the signal, or minus its exit status. */
static int ended(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return -1000;
	return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static long rss_anon(pid_t pid)
{
	char path[64], text[4096] = "", *line;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file_read(path, text, sizeof(text));
	line = strstr(text, "RssAnon:");
	return line ? atol(line + 8) * 1024 : 0;
}

/* Has @task lost nothing? */
static void check_lives(struct cdm_task *task, long pages)
{
	task_check_at(task, pages, pages, 0);
}

static void test_max(const char *group, const void *arg)
{
	const long pages = DEVICE / cdm_psize;
	struct cdm_task tasks[3];
	cdm_op map = arg;
	size_t i;
	pid_t pid;

	CHECK_EQ(cdm_write(group, "memory.swap.max", "0"), 0);
	for (i = 0; i < ARRAY_SIZE(tasks); i++) {
		task_start(&tasks[i], group);
		CHECK_EQ(task_call(&tasks[i], map, pages / 3, cdm_node).ret, 0);
		CHECK_EQ(task_call(&tasks[i], op_touch, 0, pages / 3).dev,
			 pages / 3);
	}
	CHECK_EQ(cdm_write(group, "memory.max", "%ld", RAM / 2), 0);
	pid = hog(group, RAM * 3 / 4, false);
	CHECK_EQ(ended(pid), SIGKILL);
	CHECK_EQ(cg_read_key_long(group, "memory.events", "oom_kill "), 1);
	for (i = 0; i < ARRAY_SIZE(tasks); i++) {
		check_lives(&tasks[i], pages / 3);
		task_end(&tasks[i]);
	}
}

/* Who has more in RAM as well is killed as ever. */
static void test_more_ram(const char *group)
{
	const long pages = RAM / cdm_psize, both = pages / 2;
	struct cdm_task task, other;

	CHECK_EQ(cdm_write(group, "memory.swap.max", "0"), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map, both, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, both).dev, both);
	CHECK_EQ(task_call(&task, op_bind, cdm_ram_node, MPOL_MF_MOVE).ret, 0);
	CHECK_EQ(task_call(&task, op_count, 0, both).ram, both);
	task_start(&other, group);
	CHECK_EQ(task_call(&other, op_map, pages, cdm_node).ret, 0);
	CHECK_EQ(task_call(&other, op_touch, 0, pages).dev, pages);
	CHECK_EQ(cdm_write(group, "memory.max", "%ld",
			   (both + pages / 8) * cdm_psize), 0);
	CHECK_EQ(ended(hog(group, RAM / 4, false)), 0);
	CHECK_EQ(cg_read_key_long(group, "memory.events", "oom_kill "), 1);
	check_lives(&other, pages);
	task_end(&other);
	CHECK_EQ(task_kill(&task), -SIGKILL);
}

/*
 * The administrator has the machine's OOM killer kill one. It is the largest in
 * RAM, which is made sure of here: nobody else has a half of that.
 */
static void test_machine(const char *group)
{
	const long pages = DEVICE / cdm_psize;
	struct cdm_task task;
	pid_t pid;

	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map, pages, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, pages).dev, pages);
	pid = hog(group, 2 * RAM, true);
	CHECK_EQ(cdm_wait_until(30, rss_anon(pid) >= 2 * RAM), true);
	CHECK_EQ(file_write("/proc/sysrq-trigger", "f"), 0);
	CHECK_EQ(ended(pid), SIGKILL);
	check_lives(&task, pages);
	task_end(&task);
}

int main(void)
{
	cdm_expects_oom = true;
	cdm_init(5);
	cdm_case_arg("memory.max kills who has RAM", test_max, op_map);
	cdm_case_arg("memory.max kills who has RAM, huge pages", test_max,
		     op_map_huge);
	cdm_case_arg("memory.max kills who has RAM, shared memory", test_max,
		     op_map_memfd);
	cdm_case("who has more RAM as well is killed", test_more_ram);
	cdm_case("the machine kills who has RAM", test_machine);
	cdm_exit();
}
