// SPDX-License-Identifier: GPL-2.0
/*
 * Pages that fail: in use, as part of a huge page, in a file, or free; and
 * pages that are offlined before they fail. The charge of a lost page ends,
 * once; a page that is replaced keeps its charge, even if the limit has no
 * room. A page that is put back into service is like any other.
 *
 * vm: --allow memory.corruption
 */

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cdm_util.h"

#ifndef MADV_HWPOISON
#define MADV_HWPOISON	100
#endif

static atomic_int signalled;

/* No jump is needed: the signal comes when the system call returns. */
static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	signalled = info->si_code;
}

/* ->ret is the frame of the bad page, ->code the si_code of the signal. */
static struct cdm_reply take_away(struct cdm_buf *buf, long page, int advice)
{
	struct sigaction sa = {
		.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO,
	}, old;
	struct cdm_reply reply = { .ret = op_frame(buf, page, 0).ret };

	signalled = 0;
	sigaction(SIGBUS, &sa, &old);
	if (madvise(buf->addr + page * cdm_psize, cdm_psize, advice))
		reply.ret = -errno;
	sigaction(SIGBUS, &old, NULL);
	reply.code = signalled;
	return reply;
}

static struct cdm_reply op_poison(struct cdm_buf *buf, long page, long b)
{
	(void)b;
	return take_away(buf, page, MADV_HWPOISON);
}

static struct cdm_reply op_soft_offline(struct cdm_buf *buf, long page, long b)
{
	(void)b;
	return take_away(buf, page, MADV_SOFT_OFFLINE);
}

/* A poisoned page is neither used nor free, and has no owner. */
static void check_poisoned(long pages)
{
	CHECK_EQ(cdm_audit(cdm_node, "poisoned"), pages);
	CHECK_EQ(cdm_audit(cdm_node, "unowned"), 0);
	CHECK_EQ(cdm_audit(cdm_node, "stale"), 0);
	CHECK_EQ(cdm_audit(cdm_node, "present"),
		 cdm_audit(cdm_node, "free") + cdm_audit(cdm_node, "used") +
		 pages);
}

/* Put a page back into service: the node is as before. */
static void restore(long frame, long free)
{
	CHECK_EQ(cdm_unpoison(frame), 0);
	check_poisoned(0);
	CHECK_EQ(cdm_audit(cdm_node, "free"), free);
}

/* End the task, and put the bad page back into service. */
static void finish(struct cdm_task *task, const char *group, long frame,
		   long free)
{
	task_end(task);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	check_poisoned(1);
	restore(frame, free);
}

static void test_base(const char *group)
{
	long free = cdm_audit(cdm_node, "free");
	struct cdm_reply reply;
	struct cdm_task task;
	long frame;

	CHECK_EQ(cdm_limit(group, cdm_node, 50), 0);
	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	task_start_on(&task, group, 50, cdm_node);
	reply = task_call(&task, op_poison, 7, 0);
	frame = reply.ret;
	CHECK_GT(frame, 0);
	CHECK_EQ(reply.code, BUS_MCEERR_AR);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 49), 49);
	check_poisoned(1);
	task_check_at(&task, 50, 49, 0);

	/* The page is lost, but not its room below the limit. */
	reply = task_call(&task, op_touch, 7, 1);
	CHECK_EQ(reply.bus, 1);
	CHECK_EQ(reply.code, BUS_MCEERR_AR);
	CHECK_EQ(task_call(&task, op_discard, 7, 1).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 7, 1).dev, 1);
	CHECK_EQ(cdm_usage(group, cdm_node), 50);
	finish(&task, group, frame, free);
}

/* One base page of a huge page is lost, and the others are kept. */
static void test_tail(const char *group)
{
	long free = cdm_audit(cdm_node, "free");
	struct cdm_task task;
	long frame;

	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_huge, cdm_hpages, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, cdm_hpages).dev, cdm_hpages);
	frame = task_call(&task, op_poison, 100, 0).ret;
	CHECK_GT(frame, 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, cdm_hpages - 1),
		 cdm_hpages - 1);
	check_poisoned(1);
	task_check_at(&task, cdm_hpages, cdm_hpages - 1, 0);
	CHECK_EQ(task_call(&task, op_touch, 100, 1).bus, 1);
	finish(&task, group, frame, free);
}

/* Both tasks that share a page get the signal; its charge ends once. */
static void test_shared(const char *group)
{
	long free = cdm_audit(cdm_node, "free");
	struct cdm_task parent, child;
	long frame;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	task_start_on(&parent, a, 30, cdm_node);
	CHECK_EQ(task_fork_into(&parent, &child, b), 0);
	frame = task_call(&child, op_poison, 3, 0).ret;
	CHECK_GT(frame, 0);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 29), 29);
	CHECK_EQ(cdm_usage(b, cdm_node), 0);
	CHECK_EQ(task_call(&child, op_touch, 3, 1).bus, 1);
	CHECK_EQ(task_call(&parent, op_touch, 3, 1).bus, 1);
	check_poisoned(1);
	task_end(&parent);
	task_end(&child);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 0), 0);
	restore(frame, free);
}

/* A file keeps its lost page until the file is gone. */
static void test_file(const char *group)
{
	long free = cdm_audit(cdm_node, "free");
	struct cdm_task task;
	long frame;

	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_memfd, 40, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 40).dev, 40);
	frame = task_call(&task, op_poison, 11, 0).ret;
	CHECK_GT(frame, 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 39), 39);
	check_poisoned(1);
	CHECK_EQ(task_call(&task, op_touch, 11, 1).bus, 1);
	task_check_at(&task, 40, 39, 0);
	finish(&task, group, frame, free);
}

/* A free page, and one that a group has just freed. */
static void test_free(const char *group)
{
	long free = cdm_audit(cdm_node, "free");
	struct cdm_task task;
	long frame;

	task_start_on(&task, group, 20, cdm_node);
	frame = task_call(&task, op_frame, 5, 0).ret;
	CHECK_EQ(task_call(&task, op_discard, 5, 1).ret, 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 19), 19);
	CHECK_EQ(file_write("/sys/kernel/debug/hwpoison/corrupt-pfn", "%ld",
			    frame), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 19);
	check_poisoned(1);
	CHECK_EQ(cdm_audit(cdm_node, "free"), free - 20);
	finish(&task, group, frame, free);
}

/* An offlined page is replaced on its node, even if the limit has no room. */
static void test_soft_base(const char *group)
{
	long free = cdm_audit(cdm_node, "free");
	struct cdm_task task;
	long frame[3], i;

	CHECK_EQ(cdm_limit(group, cdm_node, 50), 0);
	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	task_start_on(&task, group, 50, cdm_node);
	for (i = 0; i < 3; i++) {
		frame[i] = task_call(&task, op_soft_offline, 10 * i, 0).ret;
		CHECK_GT(frame[i], 0);
		CHECK_NE(task_call(&task, op_frame, 10 * i, 0).ret, frame[i]);
		CHECK_EQ(cdm_wait_usage(group, cdm_node, 50), 50);
		check_poisoned(i + 1);
	}
	task_check_at(&task, 50, 50, 0);
	CHECK_EQ(cdm_item(group, "cdm.events", cdm_node, "max"), 0);
	task_end(&task);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	CHECK_EQ(cdm_unpoison(frame[0]), 0);
	CHECK_EQ(cdm_unpoison(frame[1]), 0);
	restore(frame[2], free);
}

static void test_soft_tail(const char *group)
{
	long free = cdm_audit(cdm_node, "free");
	struct cdm_task task;
	long frame;

	CHECK_EQ(cdm_limit(group, cdm_node, cdm_hpages), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_huge, cdm_hpages, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, cdm_hpages).dev, cdm_hpages);
	frame = task_call(&task, op_soft_offline, 77, 0).ret;
	CHECK_GT(frame, 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, cdm_hpages), cdm_hpages);
	check_poisoned(1);
	task_check_at(&task, cdm_hpages, cdm_hpages, 0);
	finish(&task, group, frame, free);
}

static void test_soft_file(const char *group)
{
	long free = cdm_audit(cdm_node, "free");
	struct cdm_task task;
	long frame;

	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_memfd, 40, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 40).dev, 40);
	frame = task_call(&task, op_soft_offline, 20, 0).ret;
	CHECK_GT(frame, 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 40), 40);
	check_poisoned(1);
	task_check_at(&task, 40, 40, 0);
	finish(&task, group, frame, free);
}

/* Poisoned in one group, put back into service, and used by another. */
static void test_again(const char *group)
{
	long pages = node_meminfo(cdm_node, "MemFree:") * 1024 / cdm_psize;
	struct cdm_task task;
	char *a, *b;
	long frame;

	cdm_make_two_groups(group, &a, &b);
	task_start_on(&task, a, 1, cdm_node);
	frame = task_call(&task, op_poison, 0, 0).ret;
	task_end(&task);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 0), 0);
	check_poisoned(1);
	CHECK_EQ(rmdir(a), 0);
	CHECK_EQ(cdm_unpoison(frame), 0);
	/* Use the whole node, that page included, and then free it. */
	task_start(&task, b);
	CHECK_EQ(task_call(&task, op_map, pages, cdm_node).ret, 0);
	CHECK_GT(task_call(&task, op_touch, 0, pages).dev, pages - 2048);
	CHECK_EQ(cdm_audit(cdm_node, "unowned"), 0);
	CHECK_EQ(cdm_audit(cdm_node, "wrong"), 0);
	task_end(&task);
	CHECK_EQ(cdm_wait_usage(b, cdm_node, 0), 0);
	check_poisoned(0);
}

int main(void)
{
	cdm_init(9);
	cdm_case("a page fails in use", test_base);
	cdm_case("a part of a huge page fails", test_tail);
	cdm_case("a page of two processes fails", test_shared);
	cdm_case("a page of a file fails", test_file);
	cdm_case("a free page fails", test_free);
	cdm_case("a page is taken out of service", test_soft_base);
	cdm_case("a part of a huge page is taken out of service",
		 test_soft_tail);
	cdm_case("a page of a file is taken out of service", test_soft_file);
	cdm_case("a page is put in service again", test_again);
	cdm_exit();
}
