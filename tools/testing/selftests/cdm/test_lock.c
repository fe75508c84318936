// SPDX-License-Identifier: GPL-2.0
/*
 * Locked memory, by mlock() and its kin, is resident and no more: on a device
 * it makes way as other memory does, and stays locked, in RAM. Otherwise a task
 * could lock what it has there, and neither a lower limit nor anybody's promise
 * would ever get it back. All with both implementations of the LRU.
 */

#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cdm_util.h"

#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT	1
#endif

/* Bits of /proc/kpageflags. */
#define KPF_UNEVICTABLE	18
#define KPF_MLOCKED	33

/* Reclaim takes this many pages at a time, so may take as many too many. */
#define BATCH		64

#define PAGES		512

/*
 * Ways to lock. Each maps @pages, which are on the device and locked in the
 * end.
 */

static struct cdm_reply lock_before(struct cdm_buf *buf, long pages, long b)
{
	(void)b;
	if (op_map(buf, pages, cdm_node).ret)
		return buf_errno(-1);
	if (op_mlock(buf, 0, pages).ret)
		return buf_errno(-1);
	return op_touch(buf, 0, pages);
}

static struct cdm_reply lock_after(struct cdm_buf *buf, long pages, long b)
{
	(void)b;
	if (op_map(buf, pages, cdm_node).ret)
		return buf_errno(-1);
	op_touch(buf, 0, pages);
	return op_mlock(buf, 0, pages);
}

static struct cdm_reply lock_on_fault(struct cdm_buf *buf, long pages, long b)
{
	(void)b;
	if (op_map(buf, pages, cdm_node).ret)
		return buf_errno(-1);
	if (syscall(__NR_mlock2, buf->addr, pages * cdm_psize, MLOCK_ONFAULT))
		return buf_errno(-1);
	return op_touch(buf, 0, pages);
}

/* All future memory: it is locked in RAM first, and then moved. */
static struct cdm_reply lock_future(struct cdm_buf *buf, long pages, long b)
{
	struct cdm_reply reply;

	(void)b;
	if (mlockall(MCL_FUTURE) || op_map(buf, pages, -1).ret)
		return buf_errno(-1);
	op_touch(buf, 0, pages);
	reply = op_bind(buf, cdm_node, MPOL_MF_MOVE);
	/* Not the rest of what this task maps later. */
	mlockall(MCL_CURRENT);
	return reply;
}

static struct cdm_reply lock_shared(struct cdm_buf *buf, long pages, long b)
{
	(void)b;
	if (op_map_memfd(buf, pages, cdm_node).ret)
		return buf_errno(-1);
	op_touch(buf, 0, pages);
	return op_mlock(buf, 0, pages);
}

static struct cdm_reply lock_huge(struct cdm_buf *buf, long pages, long b)
{
	(void)b;
	if (op_map_huge(buf, pages, cdm_node).ret)
		return buf_errno(-1);
	op_touch(buf, 0, pages);
	return op_mlock(buf, 0, pages);
}

struct kind {
	const char *name;
	cdm_op lock;
	bool huge;
};

static const struct kind kinds[] = {
	{ "mlock before the first access", lock_before, false },
	{ "mlock after it", lock_after, false },
	{ "mlock2 on fault", lock_on_fault, false },
	{ "MCL_FUTURE, and moved", lock_future, false },
	{ "mlock of shared memory", lock_shared, false },
	{ "mlock of huge pages", lock_huge, true },
};

static struct cdm_reply op_locked_kb(struct cdm_buf *buf, long a, long b)
{
	struct cdm_reply reply = { 0 };

	(void)buf;
	(void)a;
	(void)b;
	reply.ret = file_key("/proc/self/status", "VmLck:");
	return reply;
}

/* ->ok is how many pages in RAM the kernel will not take from there. */
static struct cdm_reply op_count_locked(struct cdm_buf *buf, long first,
					long nr)
{
	struct cdm_reply reply = { 0 }, where;
	unsigned long flags;
	int fd;
	long i;

	fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return buf_errno(-1);
	for (i = first; i < first + nr; i++) {
		where = op_count(buf, i, 1);
		if (where.ram != 1)
			continue;
		flags = 0;
		where = op_frame(buf, i, 0);
		if (pread(fd, &flags, sizeof(flags),
			  where.ret * sizeof(flags)) != sizeof(flags))
			reply.ret = -EIO;
		reply.ok += (flags >> KPF_MLOCKED & 1) &&
			    (flags >> KPF_UNEVICTABLE & 1);
	}
	close(fd);
	return reply;
}

static long start_locked(struct cdm_task *task, const char *group,
			 const struct kind *kind, long pages)
{
	long locked;

	task_start(task, group);
	CHECK_GE(task_call(task, kind->lock, pages, 0).ret, 0);
	CHECK_EQ(task_call(task, op_count, 0, pages).dev, pages);
	locked = task_call(task, op_locked_kb, 0, 0).ret;
	CHECK_GE(locked, pages * cdm_psize / 1024);
	cdm_drain_lru();
	return locked;
}

/* @dev pages are left on the device; all are locked, and hold what they did. */
static void check_locked(struct cdm_task *task, const struct kind *kind,
			 long pages, long dev, long locked)
{
	cdm_drain_lru();
	task_check_at(task, pages, dev, pages - dev);
	CHECK_EQ(task_call(task, op_locked_kb, 0, 0).ret, locked);
	/* Reclaim restores the mark of a huge page when it meets one. */
	if (!kind->huge)
		CHECK_EQ(task_call(task, op_count_locked, 0, pages).ok,
			 pages - dev);
	CHECK_EQ(task_call(task, op_verify, 0, pages).bad, 0);
}

/* A lower cdm.max is met, and cdm.reclaim gets all. */
static void test_taken(const char *group, const void *arg)
{
	const struct kind *kind = arg;
	long pages = kind->huge ? 2 * cdm_hpages : PAGES;
	long step = kind->huge ? cdm_hpages : BATCH, locked, left;
	struct cdm_task task;

	locked = start_locked(&task, group, kind, pages);
	left = cdm_usage(group, cdm_node);
	CHECK_EQ(cdm_limit(group, cdm_node, left - pages / 2), 0);
	CHECK_LE(cdm_usage(group, cdm_node), left - pages / 2);
	CHECK_GT(cdm_usage(group, cdm_node), left - pages / 2 - step);
	check_locked(&task, kind, pages, cdm_usage(group, cdm_node), locked);

	CHECK_EQ(cdm_reclaim(group, cdm_node, cdm_usage(group, cdm_node)), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	check_locked(&task, kind, pages, 0, locked);

	/* Back again, and unlocked. */
	CHECK_EQ(cdm_limit(group, cdm_node, -1), 0);
	CHECK_EQ(task_call(&task, op_bind, cdm_node, MPOL_MF_MOVE).ret, 0);
	CHECK_EQ(task_call(&task, op_count, 0, pages).dev, pages);
	CHECK_EQ(task_call(&task, op_locked_kb, 0, 0).ret, locked);
	task_end(&task);
}

static struct cdm_reply op_munlock(struct cdm_buf *buf, long first, long nr)
{
	return buf_errno(munlock(buf->addr + first * cdm_psize,
				 nr * cdm_psize));
}

/* What is unlocked on the device is nobody's lock in RAM. */
static void test_unlocked(const char *group)
{
	const struct kind *kind = &kinds[1];
	struct cdm_task task;

	start_locked(&task, group, kind, PAGES);
	CHECK_EQ(task_call(&task, op_munlock, 0, PAGES / 2).ret, 0);
	cdm_drain_lru();
	CHECK_EQ(cdm_reclaim(group, cdm_node, PAGES), 0);
	cdm_drain_lru();
	CHECK_EQ(task_call(&task, op_count_locked, 0, PAGES / 2).ok, 0);
	CHECK_EQ(task_call(&task, op_count_locked, PAGES / 2, PAGES / 2).ok,
		 PAGES / 2);
	task_end(&task);
}

/*
 * One group has all that there is, locked. Another one is promised half of it,
 * or its parent's word lets colder pages make way: it gets what it asks for.
 */
static void get_room(const char *group, const struct kind *kind,
		     const char *policy, long low)
{
	long pages = kind->huge ? 2 * cdm_hpages : PAGES, locked;
	struct cdm_task greedy, tenant;
	struct cdm_reply reply;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_protect(group, cdm_node, -1), 0);
	CHECK_EQ(cdm_protect(b, cdm_node, low), 0);
	CHECK_EQ(cdm_write(group, "cdm.policy", "%s", policy), 0);
	locked = start_locked(&greedy, a, kind, pages);
	CHECK_EQ(cdm_limit(group, cdm_node, cdm_usage(a, cdm_node)), 0);
	task_start(&tenant, b);
	reply = task_ask(&tenant, pages / 2);
	CHECK_EQ(reply.bus, 0);
	/* Without a promise its own pages make way as well. */
	CHECK_GE(reply.dev, low ? pages / 2 : 1);
	CHECK_LE(cdm_usage(a, cdm_node), low ? pages / 2 : pages - 1);
	check_locked(&greedy, kind, pages, cdm_usage(a, cdm_node), locked);
	task_end(&tenant);
	task_end(&greedy);
}

static void test_promised(const char *group, const void *arg)
{
	const struct kind *kind = arg;

	get_room(group, kind, "fallback",
		 (kind->huge ? 2 * cdm_hpages : PAGES) / 2);
}

static void test_way(const char *group, const void *arg)
{
	get_room(group, arg, "reclaim", 0);
}

/* A task makes way for itself: its newest pages are on the device. */
static void test_itself(const char *group)
{
	const struct kind *kind = &kinds[2];
	long locked;
	struct cdm_reply reply;
	struct cdm_task task;

	CHECK_EQ(cdm_write(group, "cdm.policy", "reclaim,fail"), 0);
	CHECK_EQ(cdm_limit(group, cdm_node, PAGES / 2), 0);
	task_start(&task, group);
	reply = task_call(&task, kind->lock, PAGES, 0);
	CHECK_EQ(reply.bus, 0);
	CHECK_EQ(reply.ok, PAGES);
	CHECK_EQ(reply.last_dev, true);
	locked = task_call(&task, op_locked_kb, 0, 0).ret;
	CHECK_EQ(locked, PAGES * cdm_psize / 1024);
	check_locked(&task, kind, PAGES, cdm_usage(group, cdm_node), locked);
	task_end(&task);
}

static void run(void)
{
	char name[100];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		snprintf(name, sizeof(name), "%s: it can be taken",
			 kinds[i].name);
		cdm_case_arg(name, test_taken, &kinds[i]);
	}
	cdm_case("unlocked on the device", test_unlocked);
	cdm_case_arg("a promise gets it", test_promised, &kinds[1]);
	cdm_case_arg("a promise gets huge pages", test_promised, &kinds[5]);
	cdm_case_arg("it makes way", test_way, &kinds[2]);
	cdm_case_arg("huge pages make way", test_way, &kinds[5]);
	cdm_case("one's own makes way", test_itself);
}

int main(void)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

	setrlimit(RLIMIT_MEMLOCK, &all);
	cdm_init(2 * (ARRAY_SIZE(kinds) + 6));
	cdm_run_each_lru(run);
	cdm_exit();
}
