// SPDX-License-Identifier: GPL-2.0
/*
 * Limits are exact: a limit of N pages gives a group N pages, not one less and
 * never one more, however it asks for them; and pages that are freed are
 * available again.
 */

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cdm_util.h"

#define TASKS	8
/* Pages to ask for beyond a limit. */
#define EXTRA	20

static void check_usage(const char *group, long pages)
{
	long got = cdm_usage(group, cdm_node);

	if (got != pages)
		cdm_fail(__FILE__, __LINE__, "%s has %ld pages, not %ld",
			 strrchr(group, '/'), got, pages);
}

/* Numbers around the batches in which CPUs charge, and odd ones. */
static const long quotas[] = {
	1, 2, 3, 7, 15, 31, 32, 33, 63, 64, 65, 127, 511, 512, 513, 1001,
};

/* One task asks for more than the limit, and gets exactly the limit. */
static void exact_alone(const char *group, long quota, const char *policy)
{
	bool fail = !strcmp(policy, "fail");
	struct cdm_reply reply;
	struct cdm_task task;

	CHECK_EQ(cdm_limit(group, cdm_node, quota), 0);
	CHECK_EQ(cdm_write(group, "cdm.policy", "%s", policy), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map, quota + EXTRA, cdm_node).ret, 0);
	reply = task_call(&task, op_touch, 0, quota + EXTRA);
	CHECK_EQ(reply.dev, quota);
	CHECK_EQ(reply.ram, fail ? 0 : EXTRA);
	CHECK_EQ(reply.bus, fail ? EXTRA : 0);
	CHECK_EQ(reply.bad, 0);
	check_usage(group, quota);
	task_end(&task);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
}

static void test_alone(const char *group, const void *policy)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(quotas); i++)
		exact_alone(group, quotas[i], policy);
}

/* Huge pages use all of the limit as well. */
static void test_alone_huge(const char *group)
{
	static const long extra[] = { -1, 0, 1, 2, 37 };
	struct cdm_reply reply;
	struct cdm_task task;
	size_t i;

	CHECK_EQ(cdm_write(group, "cdm.policy", "fallback"), 0);
	for (i = 0; i < ARRAY_SIZE(extra); i++) {
		long quota = 2 * cdm_hpages + extra[i];
		long ask = 4 * cdm_hpages;

		CHECK_EQ(cdm_limit(group, cdm_node, quota), 0);
		task_start(&task, group);
		CHECK_EQ(task_call(&task, op_map_huge, ask, cdm_node).ret, 0);
		reply = task_call(&task, op_touch, 0, ask);
		CHECK_EQ(reply.dev, quota);
		CHECK_EQ(reply.ram, ask - quota);
		CHECK_EQ(reply.bad, 0);
		check_usage(group, quota);
		task_end(&task);
		CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);

		CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
		task_start(&task, group);
		CHECK_EQ(task_call(&task, op_map_huge, ask, cdm_node).ret, 0);
		reply = task_call(&task, op_touch, 0, ask);
		CHECK_EQ(reply.dev, quota);
		CHECK_EQ(reply.bus, ask - quota);
		check_usage(group, quota);
		task_end(&task);
		CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
		CHECK_EQ(cdm_write(group, "cdm.policy", "fallback"), 0);
	}
}

/* A process that keeps reading the usage and the peak of a group. */
struct watch {
	pid_t pid;
	atomic_int *stop;
};

static void watch_group(const char *group, long quota, atomic_int *stop)
{
	long reads = 0;

	while (!atomic_load(stop)) {
		reads++;
		if (!CHECK_LE(cdm_usage(group, cdm_node), quota))
			break;
		if (!CHECK_LE(cdm_bytes(group, "cdm.peak", cdm_node),
			      quota * cdm_psize))
			break;
	}
	CHECK_GT(reads, 0);
	fflush(stdout);
	_exit(0);
}

static void watch_start(struct watch *watch, const char *group, long quota)
{
	watch->stop = mmap(NULL, cdm_psize, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	watch->pid = fork();
	if (!watch->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		watch_group(group, quota, watch->stop);
	}
}

static void watch_end(struct watch *watch)
{
	atomic_store(watch->stop, 1);
	waitpid(watch->pid, NULL, 0);
	munmap(watch->stop, cdm_psize);
}

/* The tasks are spread over the groups; the limit is for their sum. */
static void exact_together(const char *limited, char *const groups[],
			   int nr_groups, long quota, bool fail)
{
	struct cdm_reply reply, sum = { 0 };
	struct cdm_task task[TASKS];
	struct watch watch;
	int i;

	CHECK_EQ(cdm_limit(limited, cdm_node, quota), 0);
	CHECK_EQ(cdm_write(limited, "cdm.policy", fail ? "fail" : "fallback"),
		 0);
	watch_start(&watch, limited, quota);
	for (i = 0; i < TASKS; i++) {
		task_start(&task[i], groups[i % nr_groups]);
		CHECK_EQ(task_call(&task[i], op_map, quota, cdm_node).ret, 0);
	}
	for (i = 0; i < TASKS; i++)
		task_send(&task[i], op_touch, 0, quota);
	for (i = 0; i < TASKS; i++) {
		reply = task_reply(&task[i]);
		sum.dev += reply.dev;
		sum.ram += reply.ram;
		sum.bus += reply.bus;
		sum.bad += reply.bad;
	}
	watch_end(&watch);
	CHECK_EQ(sum.dev, quota);
	CHECK_EQ(sum.ram, fail ? 0 : (TASKS - 1) * quota);
	CHECK_EQ(sum.bus, fail ? (TASKS - 1) * quota : 0);
	CHECK_EQ(sum.bad, 0);
	check_usage(limited, quota);
	CHECK_LE(cdm_bytes(limited, "cdm.peak", cdm_node), quota * cdm_psize);
	for (i = 0; i < TASKS; i++)
		task_end(&task[i]);
	CHECK_EQ(cdm_wait_usage(limited, cdm_node, 0), 0);
}

static const long shared_quotas[] = { 1, 3, 13, 100, 257, 1001, 2047 };

static void test_together(const char *group, const void *policy)
{
	char *own = cdm_make_group(group, "own");
	size_t i;

	cdm_enable(group, "+cdm");
	for (i = 0; i < ARRAY_SIZE(shared_quotas); i++)
		exact_together(own, &own, 1, shared_quotas[i],
			       !strcmp(policy, "fail"));
}

/*
 * The top has the limit, and the tasks are in a, b and c:
 *
 *	top - a
 *	    - b - c
 *	        - d
 */
static void test_together_ancestor(const char *group, const void *policy)
{
	char *groups[3], *top, *b;
	size_t i;

	cdm_enable(group, "+cdm");
	top = cdm_make_group(group, "top");
	cdm_enable(top, "+cdm");
	b = cdm_make_group(top, "b");
	cdm_enable(b, "+cdm");
	groups[0] = cdm_make_group(top, "a");
	groups[1] = cdm_make_group(b, "c");
	groups[2] = cdm_make_group(b, "d");
	for (i = 0; i < ARRAY_SIZE(shared_quotas); i++)
		exact_together(top, groups, 3, shared_quotas[i],
			       !strcmp(policy, "fail"));
}

/* The lowest of the limits on the way to the root counts. */
static void test_tightest_limit(const char *group)
{
	char *mid, *leaf;
	struct cdm_task task;
	int level;

	cdm_enable(group, "+cdm");
	mid = cdm_make_group(group, "mid");
	cdm_enable(mid, "+cdm");
	leaf = cdm_make_group(mid, "leaf");
	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	for (level = 0; level < 3; level++) {
		CHECK_EQ(cdm_limit(group, cdm_node, level == 0 ? 50 : 90), 0);
		CHECK_EQ(cdm_limit(mid, cdm_node, level == 1 ? 50 : 80), 0);
		CHECK_EQ(cdm_limit(leaf, cdm_node, level == 2 ? 50 : 70), 0);
		task_start(&task, leaf);
		CHECK_EQ(task_call(&task, op_map, 100, cdm_node).ret, 0);
		CHECK_EQ(task_call(&task, op_touch, 0, 100).dev, 50);
		check_usage(group, 50);
		task_end(&task);
		CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	}
}

/*
 * The usage of a group is its own and that of its children; "own" is what a
 * task was charged before it moved to another group.
 *
 *	group - a - a1 (100 pages)	b has 30 of its own
 *	          - a2 (23)
 *	      - b - b1 (41)
 *	          - b2 (0)
 */
static void test_sums(const char *group)
{
	static const long pages[] = { 100, 23, 41, 0 };
	struct cdm_task task[4], mover;
	char *a, *b, *leaf[4];
	int i;

	cdm_make_two_groups(group, &a, &b);
	task_start_on(&mover, b, 30, cdm_node);
	CHECK_EQ(cg_enter(cdm_root, mover.pid), 0);

	cdm_enable(a, "+cdm");
	CHECK_EQ(cdm_enable(b, "+cdm"), 0);
	leaf[0] = cdm_make_group(a, "a1");
	leaf[1] = cdm_make_group(a, "a2");
	leaf[2] = cdm_make_group(b, "b1");
	leaf[3] = cdm_make_group(b, "b2");
	for (i = 0; i < 4; i++) {
		task_start(&task[i], leaf[i]);
		task_call(&task[i], op_map, pages[i] + 1, cdm_node);
		CHECK_EQ(task_call(&task[i], op_touch, 0, pages[i]).dev,
			 pages[i]);
	}
	for (i = 0; i < 4; i++)
		check_usage(leaf[i], pages[i]);
	check_usage(a, 123);
	check_usage(b, 71);
	check_usage(group, 194);

	/* The tasks end one by one. */
	task_end(&task[1]);
	CHECK_EQ(cdm_wait_usage(leaf[1], cdm_node, 0), 0);
	check_usage(a, 100);
	check_usage(group, 171);
	task_end(&mover);
	CHECK_EQ(cdm_wait_usage(b, cdm_node, 41), 41);
	check_usage(group, 141);
	task_end(&task[2]);
	CHECK_EQ(cdm_wait_usage(b, cdm_node, 0), 0);
	check_usage(group, 100);
	task_end(&task[0]);
	task_end(&task[3]);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
}

/* "default 0" denies all nodes; a node's own setting is an exception. */
static void test_deny(const char *group)
{
	struct cdm_reply reply;
	struct cdm_task task;

	CHECK_EQ(cdm_write(group, "cdm.max", "default 0"), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map, 64, cdm_node).ret, 0);
	reply = task_call(&task, op_touch, 0, 16);
	CHECK_EQ(reply.ram, 16);
	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	reply = task_call(&task, op_touch, 16, 16);
	CHECK_EQ(reply.bus, 16);
	CHECK_EQ(reply.ram, 0);
	check_usage(group, 0);
	CHECK_EQ(cdm_bytes(group, "cdm.peak", cdm_node), 0);

	CHECK_EQ(cdm_limit(group, cdm_node, 9), 0);
	reply = task_call(&task, op_touch, 32, 16);
	CHECK_EQ(reply.dev, 9);
	CHECK_EQ(reply.bus, 7);
	check_usage(group, 9);
	task_end(&task);
}

/*
 * Freed pages can be charged again, any number of times. All on one CPU, as
 * others may have pages in their batches that the task has freed.
 */
static void test_reuse(const char *group)
{
	struct cdm_task task;
	int i;

	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	CHECK_EQ(cdm_limit(group, cdm_node, 77), 0);
	task_start_cpu(&task, group, 0);
	CHECK_EQ(task_call(&task, op_map, 77, cdm_node).ret, 0);
	for (i = 0; i < 100; i++) {
		CHECK_EQ(task_call(&task, op_touch, 0, 77).dev, 77);
		task_call(&task, op_discard, i % 77, 77 - i % 77);
	}
	task_end(&task);
}

/* Write to the first pages and free them, @times times. */
static struct cdm_reply op_again(struct cdm_buf *buf, long pages, long times)
{
	struct cdm_reply reply = { 0 };

	while (times--) {
		reply.ok += buf_touch(buf, 0, pages).ok;
		op_discard(buf, 0, pages);
	}
	return reply;
}

/*
 * cdm.stat counts each charge and each uncharge, also more of them than a CPU
 * keeps to itself, also of pages that move, and none for requests that miss.
 */
static void test_charged(const char *group)
{
	const long pages = 300, before = 40 * 1800;
	struct cdm_task task;
	char *child;
	long all;

	cdm_enable(group, "+cdm");
	child = cdm_make_group(group, "child");
	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	task_start_cpu(&task, child, 0);
	CHECK_EQ(task_call(&task, op_map, pages, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_again, 40, 1800).ok, before);
	all = before;
	CHECK_EQ(cdm_wait_usage(child, cdm_node, 0), 0);
	CHECK_EQ(cdm_stat(child, "charged"), all);
	CHECK_EQ(cdm_stat(child, "uncharged"), all);

	CHECK_EQ(task_call(&task, op_touch, 0, pages).dev, pages);
	CHECK_EQ(task_call(&task, op_move, 50, cdm_ram_node).ok, 50);
	CHECK_EQ(cdm_wait_usage(child, cdm_node, pages - 50), pages - 50);
	CHECK_EQ(cdm_stat(child, "charged"), all + pages);
	CHECK_EQ(cdm_stat(child, "uncharged"), all + 50);
	CHECK_EQ(task_call(&task, op_move, 50, cdm_node).ok, 50);
	all += pages + 50;
	CHECK_EQ(cdm_stat(child, "charged"), all);

	task_call(&task, op_discard, 0, 50);
	CHECK_EQ(cdm_wait_usage(child, cdm_node, pages - 50), pages - 50);
	CHECK_EQ(cdm_limit(child, cdm_node, pages - 50), 0);
	CHECK_EQ(task_call(&task, op_write, 0, 50).bus, 50);
	CHECK_EQ(cdm_stat(child, "charged"), all);
	CHECK_EQ(cdm_stat(child, "uncharged"), before + 100);
	CHECK_EQ(cdm_stat(group, "charged"), all);

	task_end(&task);
	CHECK_EQ(cdm_wait_usage(child, cdm_node, 0), 0);
	CHECK_EQ(cdm_stat(child, "uncharged"), all);
	CHECK_EQ(rmdir(child), 0);
	CHECK_EQ(cdm_stat(group, "charged"), all);
	CHECK_EQ(cdm_stat(group, "uncharged"), all);
}

/* A child in another group pays for its copies, and for nothing else. */
static void test_fork(const char *group)
{
	struct cdm_task parent, child;
	struct cdm_reply reply;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	task_start_on(&parent, a, 100, cdm_node);
	CHECK_EQ(task_fork(&parent, &child), 0);
	CHECK_EQ(cg_enter(b, child.pid), 0);

	/* Shared pages cost nothing. */
	reply = task_call(&child, op_count, 0, 100);
	CHECK_EQ(reply.dev, 100);
	CHECK_EQ(reply.bad, 0);
	check_usage(a, 100);
	check_usage(b, 0);

	reply = task_call(&child, op_touch, 0, 40);
	CHECK_EQ(reply.dev, 40);
	check_usage(a, 100);
	check_usage(b, 40);

	/* The parent pays for its own copies; the child keeps the originals. */
	CHECK_EQ(task_call(&parent, op_touch, 50, 10).dev, 10);
	check_usage(a, 110);
	check_usage(b, 40);

	/* Pages that only the child maps now are still charged to a. */
	task_end(&parent);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 60), 60);
	check_usage(b, 40);
	CHECK_EQ(task_call(&child, op_count, 0, 100).bad, 0);

	/* The last task to map a page writes to it without a copy. */
	CHECK_EQ(task_call(&child, op_touch, 60, 5).dev, 5);
	check_usage(a, 60);
	check_usage(b, 40);
	task_end(&child);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 0), 0);
	CHECK_EQ(cdm_wait_usage(b, cdm_node, 0), 0);
}

/* Copies obey the limit and the policy of the child's group. */
static void test_fork_limit(const char *group)
{
	struct cdm_task parent, child;
	struct cdm_reply reply;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_limit(a, cdm_node, 50), 0);
	CHECK_EQ(cdm_limit(b, cdm_node, 7), 0);
	task_start_on(&parent, a, 50, cdm_node);
	CHECK_EQ(task_fork(&parent, &child), 0);
	CHECK_EQ(cg_enter(b, child.pid), 0);

	reply = task_call(&child, op_touch, 0, 20);
	CHECK_EQ(reply.dev, 7);
	CHECK_EQ(reply.ram, 13);
	CHECK_EQ(cdm_write(b, "cdm.policy", "fail"), 0);
	/* Data that exists is not refused. */
	reply = task_call(&child, op_touch, 20, 10);
	CHECK_EQ(reply.bus, 0);
	CHECK_EQ(reply.ram, 10);
	CHECK_EQ(task_call(&child, op_verify, 0, 30).bad, 0);
	check_usage(a, 50);
	check_usage(b, 7);
	task_end(&child);
	CHECK_EQ(cdm_wait_usage(b, cdm_node, 0), 0);
	check_usage(a, 50);
	task_end(&parent);
}

/* A task that is killed while it faults leaves nothing charged. */
static void test_kill(const char *group)
{
	struct cdm_task task;
	int i;

	for (i = 0; i < 10; i++) {
		task_start(&task, group);
		CHECK_EQ(task_call(&task, op_map, 20000, cdm_node).ret, 0);
		task_send(&task, op_touch, 0, 20000);
		while (cdm_usage(group, cdm_node) < 50 * (i + 1))
			continue;
		CHECK_EQ(task_kill(&task), -SIGKILL);
		CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	}
}

/* A limit below usage evicts pages to RAM, with their contents. */
static void lower_limit(const char *group, cdm_op map, long pages)
{
	struct cdm_reply reply;
	struct cdm_task task;

	CHECK_EQ(cdm_limit(group, cdm_node, -1), 0);
	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, map, pages + 1, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, pages).dev, pages);

	CHECK_EQ(cdm_limit(group, cdm_node, pages / 3), 0);
	reply = task_call(&task, op_count, 0, pages);
	CHECK_LE(reply.dev, pages / 3);
	CHECK_EQ(reply.dev + reply.ram, pages);
	CHECK_EQ(reply.bad, 0);
	check_usage(group, reply.dev);

	CHECK_EQ(cdm_limit(group, cdm_node, 0), 0);
	reply = task_call(&task, op_count, 0, pages);
	CHECK_EQ(reply.dev, 0);
	CHECK_EQ(reply.ram, pages);
	CHECK_EQ(reply.bad, 0);
	check_usage(group, 0);
	CHECK_EQ(task_call(&task, op_touch, pages, 1).bus, 1);
	task_end(&task);
}

static void test_lower_limit(const char *group)
{
	lower_limit(group, op_map, 301);
}

static void test_lower_limit_huge(const char *group)
{
	lower_limit(group, op_map_huge, 3 * cdm_hpages);
}

/* "default" evicts pages just as a node's own setting does. */
static void test_lower_default(const char *group)
{
	struct cdm_reply reply;
	struct cdm_task task;

	task_start_on(&task, group, 200, cdm_node);
	CHECK_EQ(cdm_write(group, "cdm.max", "default 0\n"), 0);
	reply = task_call(&task, op_count, 0, 200);
	CHECK_EQ(reply.ram, 200);
	CHECK_EQ(reply.bad, 0);
	check_usage(group, 0);
	task_end(&task);
}

/* The limit of a group also evicts pages of its descendants. */
static void test_lower_limit_ancestor(const char *group)
{
	struct cdm_task task[2];
	struct cdm_reply reply;
	char *child[2];
	long dev = 0;
	int i;

	cdm_enable(group, "+cdm");
	for (i = 0; i < 2; i++) {
		child[i] = cdm_make_group(group, i ? "b" : "a");
		task_start(&task[i], child[i]);
		CHECK_EQ(task_call(&task[i], op_map, 150, cdm_node).ret, 0);
		CHECK_EQ(task_call(&task[i], op_touch, 0, 150).dev, 150);
	}
	CHECK_EQ(cdm_limit(group, cdm_node, 120), 0);
	for (i = 0; i < 2; i++) {
		reply = task_call(&task[i], op_count, 0, 150);
		CHECK_EQ(reply.dev + reply.ram, 150);
		CHECK_EQ(reply.bad, 0);
		check_usage(child[i], reply.dev);
		dev += reply.dev;
	}
	CHECK_LE(dev, 120);
	check_usage(group, dev);
	for (i = 0; i < 2; i++)
		task_end(&task[i]);
}

/* With O_NONBLOCK the limit is set and nothing is evicted. */
static void test_lower_limit_nonblock(const char *group)
{
	struct cdm_task task;
	char line[64];
	int fd, len;

	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map, 200, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 100).dev, 100);

	fd = cg_open(group, "cdm.max", O_WRONLY | O_NONBLOCK);
	len = snprintf(line, sizeof(line), "node%d %ld\n", cdm_node,
		       10 * cdm_psize);
	CHECK_EQ(write(fd, line, len), len);
	close(fd);
	check_usage(group, 100);
	CHECK_EQ(cdm_bytes(group, "cdm.max", cdm_node), 10 * cdm_psize);
	CHECK_EQ(task_call(&task, op_touch, 100, 5).bus, 5);
	check_usage(group, 100);

	task_call(&task, op_unmap, 0, 92);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 8), 8);
	CHECK_EQ(task_call(&task, op_touch, 100, 5).dev, 2);
	check_usage(group, 10);
	task_end(&task);
}

/* Pinned pages stay, and no new ones fit until usage is below the limit. */
static void test_lower_limit_pinned(const char *group)
{
	struct cdm_reply reply;
	struct cdm_task task;

	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map, 100, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 64).dev, 64);
	CHECK_EQ(task_call(&task, op_pin, 0, 48).ret, 48);

	CHECK_EQ(cdm_limit(group, cdm_node, 16), 0);
	reply = task_call(&task, op_count, 0, 64);
	CHECK_EQ(reply.dev, 48);
	CHECK_EQ(reply.ram, 16);
	CHECK_EQ(reply.bad, 0);
	check_usage(group, 48);
	CHECK_EQ(task_call(&task, op_touch, 64, 4).bus, 4);

	/* Once they are unpinned, the next write can move them. */
	task_call(&task, op_unpin, 0, 0);
	CHECK_EQ(cdm_limit(group, cdm_node, 16), 0);
	reply = task_call(&task, op_count, 0, 64);
	CHECK_LE(reply.dev, 16);
	CHECK_EQ(reply.dev + reply.ram, 64);
	CHECK_EQ(reply.bad, 0);
	check_usage(group, reply.dev);

	task_call(&task, op_unmap, 0, 64);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	CHECK_EQ(task_call(&task, op_touch, 64, 20).dev, 16);
	check_usage(group, 16);
	task_end(&task);
}

/* Old charges stay, and new ones go to the task's new group. */
static void test_task_move(const char *group)
{
	struct cdm_task task;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_limit(b, cdm_node, 10), 0);
	task_start(&task, a);
	CHECK_EQ(task_call(&task, op_map, 100, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 60).dev, 60);
	CHECK_EQ(cg_enter(b, task.pid), 0);
	check_usage(a, 60);
	check_usage(b, 0);
	CHECK_EQ(task_call(&task, op_touch, 60, 20).dev, 10);
	check_usage(a, 60);
	check_usage(b, 10);
	task_call(&task, op_discard, 0, 60);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 0), 0);
	check_usage(b, 10);
	task_end(&task);
}

/* The owner of the memory pays for what another task writes to it. */
static void test_remote_write(const char *group)
{
	struct cdm_task owner;
	char path[64], *a, *b;
	long i, addr;
	int fd;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_limit(a, cdm_node, 20), 0);
	CHECK_EQ(cdm_write(a, "cdm.policy", "fail"), 0);
	task_start(&owner, a);
	CHECK_EQ(task_call(&owner, op_map, 30, cdm_node).ret, 0);
	addr = task_call(&owner, op_address, 0, 0).ret;
	snprintf(path, sizeof(path), "/proc/%d/mem", owner.pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK_GE(fd, 0);
	CHECK_EQ(cg_enter_current(b), 0);
	for (i = 0; i < 30; i++)
		CHECK_EQ(pwrite(fd, "x", 1, addr + i * cdm_psize),
			 i < 20 ? 1 : -1);
	CHECK_EQ(cg_enter_current(cdm_root), 0);
	close(fd);
	check_usage(a, 20);
	check_usage(b, 0);
	CHECK_EQ(task_call(&owner, op_count, 0, 30).dev, 20);
	task_end(&owner);
}

/* How often other CPUs have interrupted CPU 1. */
static long asked(void)
{
	static char buf[1 << 14];
	char *pos;

	if (file_read("/proc/interrupts", buf, sizeof(buf)))
		return CDM_NONE;
	pos = strstr(buf, "CAL:");
	if (!pos)
		return CDM_NONE;
	strtol(pos + strlen("CAL:"), &pos, 10);
	return strtol(pos, NULL, 10);
}

/*
 * A group whose limit is full keeps asking. That does not interrupt CPUs whose
 * stock is another group's, but it does find what they have in stock for it.
 */
static void test_leave_alone(const char *group)
{
	struct cdm_task full, other;
	char *a, *b;
	long before;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_limit(a, cdm_node, 100), 0);
	task_start_cpu(&other, b, 1);
	CHECK_EQ(task_call(&other, op_map, 200, cdm_node).ret, 0);
	CHECK_EQ(task_call(&other, op_touch, 0, 100).dev, 100);
	task_start_cpu(&full, a, 0);
	CHECK_EQ(task_call(&full, op_map, 800, cdm_node).ret, 0);
	CHECK_EQ(task_call(&full, op_touch, 0, 200).dev, 100);
	before = asked();
	CHECK_EQ(task_call(&full, op_touch, 200, 500).ram, 500);
	CHECK_LE(asked() - before, 100);
	CHECK_EQ(cdm_item(a, "cdm.events", cdm_node, "max"), 600);
	CHECK_EQ(cdm_item(a, "cdm.events", cdm_node, "fallback"), 600);
	CHECK_EQ(cdm_item(a, "cdm.events.local", cdm_node, "max"), 600);
	CHECK_EQ(cdm_item(group, "cdm.events", cdm_node, "fallback"), 600);
	CHECK_EQ(cdm_item(group, "cdm.events.local", cdm_node, "fallback"), 0);
	task_end(&other);

	/* A page that is freed on another CPU is available. */
	task_start_cpu(&other, a, 1);
	cdm_drain_lru();
	CHECK_EQ(task_call(&full, op_unmap, 0, 10).ret, 0);
	CHECK_EQ(task_call(&other, op_map, 20, cdm_node).ret, 0);
	CHECK_EQ(task_call(&other, op_touch, 0, 20).dev, 10);
	CHECK_EQ(task_call(&other, op_unmap, 0, 5).ret, 0);
	CHECK_EQ(task_call(&full, op_touch, 700, 100).dev, 5);
	CHECK_EQ(cdm_usage(a, cdm_node), 100);
	task_end(&other);
	task_end(&full);
}

int main(void)
{
	cdm_init(24);
	cdm_case_arg("a quota of N pages gives N pages (fallback)", test_alone,
		     "fallback");
	cdm_case_arg("a quota of N pages gives N pages (fail)", test_alone,
		     "fail");
	cdm_case("a quota of N pages gives N pages to huge faults",
		 test_alone_huge);
	cdm_case_arg("eight tasks of a group share N pages (fallback)",
		     test_together, "fallback");
	cdm_case_arg("eight tasks of a group share N pages (fail)",
		     test_together, "fail");
	cdm_case_arg("eight tasks below a limit share N pages (fallback)",
		     test_together_ancestor, "fallback");
	cdm_case_arg("eight tasks below a limit share N pages (fail)",
		     test_together_ancestor, "fail");
	cdm_case("the tightest of the limits holds", test_tightest_limit);
	cdm_case("usage is a group's own and its children's", test_sums);
	cdm_case("default 0 is deny", test_deny);
	cdm_case("freed pages can be used again", test_reuse);
	cdm_case("cdm.stat counts each charge", test_charged);
	cdm_case("fork shares, a copy is the copier's", test_fork);
	cdm_case("copies obey the limit of the copier", test_fork_limit);
	cdm_case("a task killed while it faults leaves nothing", test_kill);
	cdm_case("a limit below usage evicts to RAM", test_lower_limit);
	cdm_case("a limit below usage evicts huge pages",
		 test_lower_limit_huge);
	cdm_case("a default below usage evicts to RAM", test_lower_default);
	cdm_case("an ancestor's limit below usage evicts to RAM",
		 test_lower_limit_ancestor);
	cdm_case("a limit set with O_NONBLOCK does not evict",
		 test_lower_limit_nonblock);
	cdm_case("pinned pages stay when the limit is lowered",
		 test_lower_limit_pinned);
	cdm_case("charges stay when a task moves", test_task_move);
	cdm_case("a quota that is used up leaves others alone",
		 test_leave_alone);
	cdm_case("the owner pays for what others write to it",
		 test_remote_write);
	cdm_exit();
}
