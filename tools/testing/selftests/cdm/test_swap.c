// SPDX-License-Identifier: GPL-2.0
/*
 * Swap on a disk, without zswap: the task that faults a page in pays for it,
 * neighbours that are read ahead go to RAM, and so does everything when the
 * swap area is taken out of use.
 */

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cdm_util.h"

#define CLUSTER		"/proc/sys/vm/page-cluster"

/* Make two groups that have files of the memory controller, too. */
static void two_groups(const char *group, char **a, char **b)
{
	CHECK_EQ(cdm_enable(group, "+memory"), 0);
	cdm_make_two_groups(group, a, b);
}

/*
 * Swap out @pages of @task until none of them is left in memory. A page that
 * was written stays in the swap cache until reclaim finds it: evict those on
 * the device to RAM, where memory.reclaim can drop them.
 */
static void swap_out(struct cdm_task *task, const char *group, long pages)
{
	struct cdm_wait wait = cdm_wait_begin(15);

	CHECK_EQ(task_call(task, op_pageout, 0, pages).ret, 0);
	CHECK_EQ(cdm_limit(group, cdm_node, 0), 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	while (task_call(task, op_resident, 0, pages).ret &&
	       cdm_wait_more(&wait)) {
		cdm_drain_lru();
		cdm_write(group, "memory.reclaim", "%ld", pages * cdm_psize);
	}
	CHECK_EQ(task_call(task, op_resident, 0, pages).ret, 0);
	CHECK_EQ(cdm_limit(group, cdm_node, -1), 0);
}

static void check_at(struct cdm_task *task, const char *group, long pages,
		     long dev)
{
	task_check_at(task, pages, dev, pages - dev);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, dev), dev);
}

static long read_ahead;

static void set_read_ahead(bool on)
{
	CHECK_EQ(file_write(CLUSTER, "%ld", on ? read_ahead : 0), 0);
}

/* Pages come in again one by one: by policy, charged, up to the limit. */
static void test_in(const char *group)
{
	struct cdm_task task;

	set_read_ahead(false);
	task_start_on(&task, group, 200, cdm_node);
	swap_out(&task, group, 200);
	CHECK_EQ(task_call(&task, op_verify, 0, 200).bad, 0);
	check_at(&task, group, 200, 200);
	swap_out(&task, group, 200);
	CHECK_EQ(cdm_limit(group, cdm_node, 60), 0);
	CHECK_EQ(task_call(&task, op_verify, 0, 200).bad, 0);
	check_at(&task, group, 200, 60);
	task_end(&task);
	set_read_ahead(true);
}

/* Data that exists is not refused: without room it comes to RAM. */
static void test_in_fail(const char *group)
{
	struct cdm_reply reply;
	struct cdm_task task;

	set_read_ahead(false);
	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	task_start_on(&task, group, 100, cdm_node);
	swap_out(&task, group, 100);
	CHECK_EQ(cdm_limit(group, cdm_node, 30), 0);
	reply = task_call(&task, op_touch, 0, 100);
	CHECK_EQ(reply.ok, 100);
	CHECK_EQ(reply.bus, 0);
	CHECK_EQ(cdm_event(group, "fail"), 0);
	CHECK_EQ(cdm_event(group, "fallback"), 70);
	CHECK_EQ(task_call(&task, op_verify, 0, 100).bad, 0);
	check_at(&task, group, 100, 30);
	task_end(&task);
	set_read_ahead(true);
}

/*
 * When a task changes groups while its pages are swapped out, the new group is
 * charged for them, and not the old one.
 */
static void test_in_elsewhere(const char *group)
{
	struct cdm_task task;
	char *a, *b;

	set_read_ahead(false);
	two_groups(group, &a, &b);
	task_start_on(&task, a, 100, cdm_node);
	swap_out(&task, a, 100);
	CHECK_EQ(cg_enter(b, task.pid), 0);
	CHECK_EQ(cdm_limit(b, cdm_node, 70), 0);
	CHECK_EQ(task_call(&task, op_verify, 0, 100).bad, 0);
	check_at(&task, b, 100, 70);
	CHECK_EQ(cdm_usage(a, cdm_node), 0);
	task_end(&task);
	set_read_ahead(true);
}

/* Of a parent and a child in two groups, the one that faults first pays. */
static void test_in_shared(const char *group)
{
	struct cdm_task parent, child;
	char *a, *b;

	set_read_ahead(false);
	two_groups(group, &a, &b);
	task_start_on(&parent, a, 100, cdm_node);
	swap_out(&parent, a, 100);
	CHECK_EQ(task_fork_into(&parent, &child, b), 0);
	CHECK_EQ(task_call(&child, op_verify, 0, 40).bad, 0);
	CHECK_EQ(cdm_usage(b, cdm_node), 40);
	CHECK_EQ(cdm_usage(a, cdm_node), 0);
	CHECK_EQ(task_call(&parent, op_verify, 40, 60).bad, 0);
	CHECK_EQ(cdm_usage(b, cdm_node), 40);
	CHECK_EQ(cdm_usage(a, cdm_node), 60);
	/* Pages that the other has brought in are shared. */
	CHECK_EQ(task_call(&parent, op_verify, 0, 100).bad, 0);
	CHECK_EQ(task_call(&child, op_verify, 0, 100).bad, 0);
	CHECK_EQ(cdm_usage(b, cdm_node), 40);
	CHECK_EQ(cdm_usage(a, cdm_node), 60);
	task_end(&parent);
	task_end(&child);
}

/*
 * Pages of two groups alternate in the swap area. Readahead may bring in pages
 * of the group that may use nothing of the device: to RAM, without a charge.
 */
static void test_read_ahead(const char *group)
{
	const long pages = 256;
	struct cdm_task wants, denied;
	struct cdm_reply reply;
	struct cdm_wait wait;
	char *a, *b;
	long i;

	two_groups(group, &a, &b);
	CHECK_EQ(cdm_write(b, "cdm.max", "default 0"), 0);
	file_write("/sys/kernel/mm/swap/vma_ra_enabled", "0");
	task_start_on(&wants, a, pages, cdm_node);
	task_start_on(&denied, b, pages, -1);
	task_call(&wants, op_on_cpu, 0, 0);
	task_call(&denied, op_on_cpu, 0, 0);
	for (i = 0; i < pages; i += 4) {
		task_call(&wants, op_pageout, i, 4);
		task_call(&denied, op_pageout, i, 4);
	}
	swap_out(&wants, a, pages);
	/* Here the limit must stay as it is, so swap_out() cannot do it. */
	wait = cdm_wait_begin(15);
	while (task_call(&denied, op_resident, 0, pages).ret &&
	       cdm_wait_more(&wait) &&
	       !cdm_write(b, "memory.reclaim", "%ld", pages * cdm_psize))
		continue;

	CHECK_EQ(task_call(&wants, op_verify, 0, pages).bad, 0);
	CHECK_EQ(cdm_usage(b, cdm_node), 0);
	reply = task_call(&wants, op_count, 0, pages);
	CHECK_EQ(reply.dev + reply.ram, pages);
	CHECK_GT(reply.dev, 0);
	CHECK_EQ(cdm_usage(a, cdm_node), reply.dev);
	CHECK_EQ(cdm_usage(group, cdm_node), reply.dev);
	CHECK_EQ(task_call(&denied, op_verify, 0, pages).bad, 0);
	check_at(&denied, b, pages, 0);
	CHECK_EQ(cdm_usage(a, cdm_node), reply.dev);
	file_write("/sys/kernel/mm/swap/vma_ra_enabled", "1");
	task_end(&wants);
	task_end(&denied);
}

/* process_madvise(MADV_WILLNEED) of another task: the owner pays. */
static void test_will_need(const char *group)
{
	struct cdm_task task;
	struct iovec iov;
	char *a, *b;
	int pidfd;

	set_read_ahead(false);
	two_groups(group, &a, &b);
	task_start_on(&task, a, 80, cdm_node);
	swap_out(&task, a, 80);
	iov.iov_base = (void *)task_call(&task, op_address, 0, 0).ret;
	iov.iov_len = 80 * cdm_psize;
	pidfd = syscall(__NR_pidfd_open, task.pid, 0);
	CHECK_GE(pidfd, 0);
	CHECK_EQ(cg_enter_current(b), 0);
	CHECK_EQ(syscall(__NR_process_madvise, pidfd, &iov, 1, MADV_WILLNEED,
			 0), iov.iov_len);
	CHECK_EQ(cg_enter_current(cdm_root), 0);
	close(pidfd);
	CHECK_EQ(cdm_usage(b, cdm_node), 0);
	CHECK_EQ(cdm_bytes(b, "cdm.peak", cdm_node), 0);
	CHECK_EQ(cdm_usage(a, cdm_node), 80);
	CHECK_EQ(task_call(&task, op_verify, 0, 80).bad, 0);
	CHECK_EQ(cdm_usage(b, cdm_node), 0);
	check_at(&task, a, 80, 80);
	task_end(&task);
	set_read_ahead(true);
}

/* swapoff brings all pages to RAM, whatever the policies, and does not fail. */
static void test_swapoff(const char *group)
{
	struct cdm_task anon, file;
	char *a, *b;

	two_groups(group, &a, &b);
	CHECK_EQ(cdm_write(a, "cdm.policy", "fail"), 0);
	CHECK_EQ(cdm_write(b, "cdm.policy", "fail"), 0);
	task_start_on(&anon, a, 150, cdm_node);
	task_start(&file, b);
	CHECK_EQ(task_call(&file, op_map_memfd, 150, cdm_node).ret, 0);
	CHECK_EQ(task_call(&file, op_touch, 0, 150).dev, 150);
	swap_out(&anon, a, 150);
	swap_out(&file, b, 150);

	CHECK_EQ(cdm_set_swap(false), 0);
	CHECK_EQ(cdm_usage(a, cdm_node), 0);
	CHECK_EQ(cdm_usage(b, cdm_node), 0);
	CHECK_EQ(cdm_usage(cdm_root, cdm_node), 0);
	CHECK_EQ(task_call(&anon, op_verify, 0, 150).bad, 0);
	CHECK_EQ(task_call(&file, op_verify, 0, 150).bad, 0);
	check_at(&anon, a, 150, 0);
	check_at(&file, b, 150, 0);
	CHECK_EQ(cdm_set_swap(true), 0);
	/* They can move to the device again. */
	CHECK_EQ(task_call(&anon, op_move, 150, cdm_node).ok, 150);
	check_at(&anon, a, 150, 150);
	task_end(&anon);
	task_end(&file);
}

/* Shared memory: the task that faults a page in pays, not the first writer. */
static void test_shared_memory(const char *group)
{
	struct cdm_task first, second;
	char *a, *b;

	set_read_ahead(false);
	two_groups(group, &a, &b);
	task_start(&first, a);
	CHECK_EQ(task_call(&first, op_map_memfd, 100, cdm_node).ret, 0);
	CHECK_EQ(task_call(&first, op_touch, 0, 100).dev, 100);
	CHECK_EQ(cdm_usage(a, cdm_node), 100);
	swap_out(&first, a, 100);
	CHECK_EQ(task_fork_into(&first, &second, b), 0);
	CHECK_EQ(task_call(&second, op_verify, 0, 30).bad, 0);
	CHECK_EQ(cdm_usage(a, cdm_node), 0);
	CHECK_EQ(cdm_usage(b, cdm_node), 30);
	CHECK_EQ(task_call(&first, op_verify, 0, 100).bad, 0);
	CHECK_EQ(cdm_usage(a, cdm_node), 70);
	CHECK_EQ(cdm_usage(b, cdm_node), 30);
	/* Truncation ends all charges, and frees the swap area. */
	task_end(&second);
	CHECK_EQ(cdm_usage(b, cdm_node), 30);
	task_end(&first);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	set_read_ahead(true);
}

int main(void)
{
	cdm_init(8);
	if (cdm_set_swap(false))
		ksft_exit_skip("no swap\n");
	CHECK_EQ(cdm_set_swap(true), 0);
	read_ahead = file_long(CLUSTER);
	cdm_case("swapped in by policy and quota", test_in);
	cdm_case("swapped in without room, policy fail", test_in_fail);
	cdm_case("swapped in from another group", test_in_elsewhere);
	cdm_case("swapped in by parent or child", test_in_shared);
	cdm_case("read ahead leaves neighbours in RAM", test_read_ahead);
	cdm_case("process_madvise by another: the owner pays",
		 test_will_need);
	cdm_case("swapoff brings everything to RAM", test_swapoff);
	cdm_case("the task that faults shared memory in pays",
		 test_shared_memory);
	cdm_exit();
}
