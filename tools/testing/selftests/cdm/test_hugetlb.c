// SPDX-License-Identifier: GPL-2.0
/*
 * Huge pages of a pool on the device. The root owns them while they are in the
 * pool, and the group that uses them while they are in use. The policy of that
 * group decides what happens when its limit has no room.
 *
 * vm: --allow memory.corruption
 */

#include <errno.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cdm_util.h"

static long free_pool(int node)
{
	return file_long(cdm_pool_path(node, CDM_POOL_KB, "free_hugepages"));
}

/* The number of base pages in @huge huge ones. */
static long base(long huge)
{
	return huge * cdm_hpages;
}

static struct cdm_reply op_set_pool(struct cdm_buf *buf, long node, long pages)
{
	struct cdm_reply reply = {
		.ret = cdm_set_pool(node, CDM_POOL_KB, pages),
	};

	(void)buf;
	return reply;
}

/* Map huge pages without a reservation. */
static struct cdm_reply op_map_loose(struct cdm_buf *buf, long huge, long node)
{
	return buf_map_pool(buf, huge, node, MAP_PRIVATE | MAP_NORESERVE);
}

static struct cdm_reply op_map_shared(struct cdm_buf *buf, long huge, long node)
{
	return buf_map_pool(buf, huge, node, MAP_SHARED);
}

/* Write to each of @nr huge pages from @first on, and count them. */
static struct cdm_reply op_touch_huge(struct cdm_buf *buf, long first, long nr)
{
	struct cdm_reply sum = { 0 }, one;
	long i;

	for (i = first; i < first + nr; i++) {
		one = buf_touch(buf, base(i), 1);
		sum.ok += one.ok;
		sum.bus += one.bus;
		one = buf_count(buf, base(i), 1);
		sum.dev += one.dev;
		sum.other += one.other;
		sum.ram += one.ram;
		sum.bad += one.bad;
	}
	return sum;
}

/* The root owns the pool, even if a group made it that may use nothing. */
static void test_pool(const char *group)
{
	struct cdm_task task;

	CHECK_EQ(cdm_write(group, "cdm.max", "default 0"), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_set_pool, cdm_node, 5).ret, 5);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	cdm_check_root(base(5));
	CHECK_EQ(task_call(&task, op_set_pool, cdm_node, 2).ret, 2);
	cdm_check_root(base(2));
	task_end(&task);
	cdm_check_root(base(2));
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 0), 0);
	cdm_check_root(0);
}

/* A page is charged to its user while it is in use, then to the root again. */
static void test_use(const char *group)
{
	struct cdm_task task;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 4), 4);
	CHECK_EQ(cdm_limit(a, cdm_node, base(4)), 0);
	task_start(&task, a);
	CHECK_EQ(task_call(&task, op_map_pool, 4, cdm_node).ret, 0);
	/* A reservation is no use yet. */
	CHECK_EQ(cdm_usage(a, cdm_node), 0);
	CHECK_EQ(task_call(&task, op_touch_huge, 0, 3).dev, 3);
	CHECK_EQ(cdm_usage(a, cdm_node), base(3));
	CHECK_EQ(cdm_usage(group, cdm_node), base(3));
	CHECK_EQ(cdm_usage(b, cdm_node), 0);
	CHECK_EQ(free_pool(cdm_node), 1);
	cdm_check_root(base(4));

	CHECK_EQ(task_call(&task, op_discard, base(1), base(1)).ret, 0);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, base(2)), base(2));
	cdm_check_root(base(4));
	CHECK_EQ(task_call(&task, op_touch_huge, 1, 3).dev, 3);
	CHECK_EQ(cdm_usage(a, cdm_node), base(4));
	cdm_check_root(base(4));

	/* A pool that shrinks gives up a page in use once it is free. */
	cdm_set_pool(cdm_node, CDM_POOL_KB, 1);
	cdm_check_root(base(4));
	task_end(&task);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 0), 0);
	cdm_check_root(base(1));
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 0), 0);
	cdm_check_root(0);
}

/* Write under a task's policy, which no other fault may come under. */
static struct cdm_reply op_touch_bound(struct cdm_buf *buf, long huge,
				       long node)
{
	long i;

	if (sys_set_mempolicy(MPOL_BIND, 1UL << node))
		return buf_errno(-1);
	for (i = 0; i < huge; i++)
		__atomic_store_n(buf->addr + base(i) * cdm_psize, 1,
				 __ATOMIC_RELAXED);
	sys_set_mempolicy(MPOL_DEFAULT, 0);
	return op_touch_huge(buf, 0, huge);
}

static void test_policies(const char *group)
{
	struct cdm_reply reply;
	struct cdm_task task;

	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 3), 3);
	CHECK_EQ(cdm_set_pool(cdm_ram_node, CDM_POOL_KB, 2), 2);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_loose, 3, -1).ret, 0);
	CHECK_EQ(task_call(&task, op_touch_bound, 3, cdm_node).dev, 3);
	CHECK_EQ(cdm_usage(group, cdm_node), base(3));
	CHECK_EQ(task_call(&task, op_discard, 0, base(3)).ret, 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);

	/* Where no policy names the device: pages of RAM, and then none. */
	reply = task_call(&task, op_touch_huge, 0, 3);
	CHECK_EQ(reply.ram, 2);
	CHECK_EQ(reply.bus, 1);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	CHECK_EQ(free_pool(cdm_node), 3);
	task_end(&task);
	CHECK_EQ(cdm_set_pool(cdm_ram_node, CDM_POOL_KB, 0), 0);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 0), 0);
	cdm_check_root(0);
}

/*
 * A task asks for four, and the quota has room for one and a half.
 *
 *   policy	RAM's pool	on the device	in RAM	SIGBUS
 *   fallback	2		1		2	1
 *   fallback	0		1		0	3
 *   fail	2		1		0	3
 */
static void refuse(const char *group, const char *policy, long pool, long ram)
{
	struct cdm_reply reply;
	struct cdm_task task;

	CHECK_EQ(cdm_write(group, "cdm.policy", "%s", policy), 0);
	CHECK_EQ(cdm_limit(group, cdm_node, base(1) + base(1) / 2), 0);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 4), 4);
	CHECK_EQ(cdm_set_pool(cdm_ram_node, CDM_POOL_KB, pool), pool);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_loose, 4, cdm_node).ret, 0);
	reply = task_call(&task, op_touch_huge, 0, 4);
	CHECK_EQ(reply.dev, 1);
	CHECK_EQ(reply.ram, ram);
	CHECK_EQ(reply.bus, 3 - ram);
	CHECK_EQ(cdm_usage(group, cdm_node), base(1));
	CHECK_EQ(free_pool(cdm_node), 3);
	CHECK_GE(cdm_item(group, "cdm.events.local", cdm_node, "max"), 3);
	cdm_check_root(base(4));
	task_end(&task);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	CHECK_EQ(cdm_set_pool(cdm_ram_node, CDM_POOL_KB, 0), 0);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 0), 0);
	cdm_check_root(0);
}

static void test_refused(const char *group)
{
	refuse(group, "fallback", 2, 2);
	refuse(group, "fallback", 0, 0);
	refuse(group, "fail", 2, 0);
}

/* Overcommitted pages come from RAM, and do not evade the quota. */
static void test_overcommit(const char *group)
{
	struct cdm_reply reply;
	struct cdm_task task;

	CHECK_EQ(cdm_limit(group, cdm_node, base(1)), 0);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 1), 1);
	CHECK_EQ(file_write(CDM_OVERCOMMIT, "4"), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_loose, 3, cdm_node).ret, 0);
	reply = task_call(&task, op_touch_huge, 0, 3);
	CHECK_EQ(reply.dev, 1);
	CHECK_EQ(reply.ram, 2);
	CHECK_EQ(cdm_usage(group, cdm_node), base(1));
	cdm_check_root(base(1));
	task_end(&task);
	CHECK_EQ(file_write(CDM_OVERCOMMIT, "0"), 0);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 0), 0);
	cdm_check_root(0);
}

/* Other pages of the group make room below its limit. */
static void test_reclaim(const char *group, const void *policy)
{
	struct cdm_task cold, task;
	struct cdm_reply reply;

	CHECK_EQ(cdm_write(group, "cdm.policy", "%s", (const char *)policy),
		 0);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 4), 4);
	CHECK_EQ(cdm_limit(group, cdm_node, base(4)), 0);
	task_start_on(&cold, group, base(3), cdm_node);
	CHECK_EQ(cdm_usage(group, cdm_node), base(3));
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_pool, 3, cdm_node).ret, 0);
	reply = task_call(&task, op_touch_huge, 0, 3);
	CHECK_EQ(reply.dev, 3);
	CHECK_LE(cdm_usage(group, cdm_node), base(4));
	CHECK_GE(cdm_item(group, "cdm.events.local", cdm_node, "reclaim"), 1);
	reply = task_call(&cold, op_count, 0, base(3));
	CHECK_EQ(reply.dev + base(3), cdm_usage(group, cdm_node));
	CHECK_EQ(reply.dev + reply.ram, base(3));
	CHECK_EQ(reply.bad, 0);
	task_end(&task);
	task_end(&cold);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 0), 0);
	cdm_check_root(0);
}

/* A copy has contents: without room it is a page of RAM's pool, not SIGBUS. */
static void test_copy(const char *group)
{
	struct cdm_task parent, child;
	struct cdm_reply reply;

	cdm_policy(group, "fail");
	CHECK_EQ(cdm_limit(group, cdm_node, base(1)), 0);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 2), 2);
	CHECK_EQ(cdm_set_pool(cdm_ram_node, CDM_POOL_KB, 2), 2);
	task_start(&parent, group);
	CHECK_EQ(task_call(&parent, op_map_loose, 1, cdm_node).ret, 0);
	CHECK_EQ(task_call(&parent, op_touch_huge, 0, 1).dev, 1);
	CHECK_EQ(task_fork_into(&parent, &child, group), 0);
	reply = task_call(&child, op_touch_huge, 0, 1);
	CHECK_EQ(reply.bus, 0);
	CHECK_EQ(reply.ram, 1);
	CHECK_EQ(cdm_event(group, "fail"), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), base(1));
	task_end(&child);
	task_end(&parent);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	CHECK_EQ(cdm_set_pool(cdm_ram_node, CDM_POOL_KB, 0), 0);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 0), 0);
	cdm_check_root(0);
}

/* A child's copy is charged to the group of the child. */
static void test_fork(const char *group)
{
	struct cdm_task parent, child;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 4), 4);
	task_start(&parent, a);
	CHECK_EQ(task_call(&parent, op_map_loose, 2, cdm_node).ret, 0);
	CHECK_EQ(task_call(&parent, op_touch_huge, 0, 2).dev, 2);
	CHECK_EQ(task_fork_into(&parent, &child, b), 0);
	CHECK_EQ(cdm_usage(a, cdm_node), base(2));
	CHECK_EQ(cdm_usage(b, cdm_node), 0);
	CHECK_EQ(task_call(&child, op_touch_huge, 0, 1).dev, 1);
	CHECK_EQ(cdm_usage(a, cdm_node), base(2));
	CHECK_EQ(cdm_usage(b, cdm_node), base(1));
	cdm_check_root(base(4));
	task_end(&parent);
	/* The shared page is still charged to a; only the child maps it. */
	CHECK_EQ(cdm_wait_usage(a, cdm_node, base(1)), base(1));
	CHECK_EQ(rmdir(a), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), base(2));
	task_end(&child);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	cdm_check_root(base(4));
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 0), 0);
	cdm_check_root(0);
}

/* A shared page is charged to the group that touches it first. */
static void test_shared(const char *group)
{
	struct cdm_task parent, child;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 3), 3);
	task_start(&parent, a);
	CHECK_EQ(task_call(&parent, op_map_shared, 3, cdm_node).ret, 0);
	CHECK_EQ(task_call(&parent, op_touch_huge, 0, 1).dev, 1);
	CHECK_EQ(task_fork_into(&parent, &child, b), 0);
	CHECK_EQ(task_call(&child, op_touch_huge, 0, 3).dev, 3);
	CHECK_EQ(cdm_usage(a, cdm_node), base(1));
	CHECK_EQ(cdm_usage(b, cdm_node), base(2));
	CHECK_EQ(task_call(&parent, op_touch_huge, 0, 3).dev, 3);
	CHECK_EQ(cdm_usage(a, cdm_node), base(1));
	task_end(&child);
	CHECK_EQ(cdm_usage(b, cdm_node), base(2));
	task_end(&parent);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 0), 0);
	cdm_check_root(0);
}

/* Moves obey the owner's quota, and so do those of a base page beside them. */
static struct cdm_reply op_move_huge(struct cdm_buf *buf, long huge, long node)
{
	static char *small;
	void *page[16] = { NULL };
	int nodes[16] = { 0 }, status[16] = { 0 };
	struct cdm_reply reply = { 0 };
	long i;

	if (!small) {
		small = mmap(NULL, cdm_psize, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		*small = 1;
	}
	for (i = 0; i < huge; i++)
		page[i] = buf->addr + base(i) * cdm_psize;
	page[huge] = small;
	for (i = 0; i <= huge; i++)
		nodes[i] = node;
	sys_move_pages(0, huge + 1, page, nodes, status, MPOL_MF_MOVE);
	sys_move_pages(0, huge + 1, page, NULL, status, 0);
	for (i = 0; i < huge; i++)
		reply.ok += status[i] == node;
	reply.ret = status[huge];
	return reply;
}

static void test_move(const char *group)
{
	struct cdm_reply reply;
	struct cdm_task task;

	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 3), 3);
	CHECK_EQ(cdm_set_pool(cdm_ram_node, CDM_POOL_KB, 3), 3);
	CHECK_EQ(cdm_limit(group, cdm_node, base(2) + 1), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_pool, 3, cdm_ram_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch_huge, 0, 3).ram, 3);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	reply = task_call(&task, op_move_huge, 3, cdm_node);
	CHECK_EQ(reply.ok, 2);
	CHECK_EQ(reply.ret, cdm_node);
	CHECK_EQ(cdm_usage(group, cdm_node), base(2) + 1);
	reply = task_call(&task, op_move_huge, 3, cdm_ram_node);
	CHECK_EQ(reply.ok, 3);
	CHECK_EQ(reply.ret, cdm_ram_node);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	task_end(&task);
	CHECK_EQ(cdm_set_pool(cdm_ram_node, CDM_POOL_KB, 0), 0);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 0), 0);
	cdm_check_root(0);
}

/* Bind the buffer to two nodes. */
static struct cdm_reply op_bind_two(struct cdm_buf *buf, long a, long b)
{
	return buf_errno(sys_mbind_nodes(buf->addr, buf->pages * cdm_psize,
					 MPOL_BIND, 1UL << a | 1UL << b, 0));
}

/*
 * Pages that do not fit, or are pinned long-term, come from the RAM that the
 * policy names, and from no other.
 */
static void test_named(const char *group)
{
	int ram[CDM_MAX_NODES], far;
	struct cdm_task task;

	if (!CHECK_GE(node_list("/sys/devices/system/node/has_cpu", ram,
				CDM_MAX_NODES), 2))
		return;
	far = ram[1];
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 1), 1);
	CHECK_EQ(cdm_set_pool(far, CDM_POOL_KB, 1), 1);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_loose, 1, -1).ret, 0);
	CHECK_EQ(task_call(&task, op_bind_two, cdm_ram_node, cdm_node).ret, 0);
	CHECK_EQ(cdm_limit(group, cdm_node, 0), 0);
	CHECK_EQ(task_call(&task, op_touch_huge, 0, 1).bus, 1);
	CHECK_EQ(cdm_limit(group, cdm_node, base(1)), 0);
	CHECK_EQ(task_call(&task, op_longterm, 0, 1).ret, -EFAULT);
	CHECK_EQ(free_pool(far), 1);
	CHECK_EQ(free_pool(cdm_node), 1);
	CHECK_EQ(task_call(&task, op_longterm_end, 0, 0).ret, 0);
	CHECK_EQ(task_call(&task, op_bind_two, far, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_longterm, 0, 1).ret, 0);
	CHECK_EQ(free_pool(far), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	CHECK_EQ(task_call(&task, op_longterm_end, 0, 0).ret, 0);
	task_end(&task);
	CHECK_EQ(cdm_set_pool(far, CDM_POOL_KB, 0), 0);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 0), 0);
	cdm_check_root(0);
}

/* The stock of another CPU does not keep a page from moving. */
static void test_move_stock(const char *group)
{
	struct cdm_task task, other;

	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 1), 1);
	CHECK_EQ(cdm_set_pool(cdm_ram_node, CDM_POOL_KB, 1), 1);
	CHECK_EQ(cdm_limit(group, cdm_node, base(1) + 1), 0);
	task_start_cpu(&task, group, 0);
	CHECK_EQ(task_call(&task, op_map_pool, 1, cdm_ram_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch_huge, 0, 1).ram, 1);
	task_start_cpu(&other, group, 1);
	CHECK_EQ(task_call(&other, op_map, 16, cdm_node).ret, 0);
	CHECK_EQ(task_call(&other, op_touch, 0, 16).dev, 16);
	CHECK_EQ(task_call(&other, op_unmap, 0, 16).ret, 0);
	CHECK_EQ(task_call(&task, op_move_huge, 1, cdm_node).ok, 1);
	task_end(&other);
	task_end(&task);
	CHECK_EQ(cdm_set_pool(cdm_ram_node, CDM_POOL_KB, 0), 0);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 0), 0);
	cdm_check_root(0);
}

/* A page that another task moves between devices keeps its owner. */
static void test_moved(const char *group)
{
	int from, to, status = -1;
	struct cdm_task task;
	void *page;

	CHECK_EQ(cdm_hotplug("add", "movable"), 0);
	from = cdm_node;
	to = cdm_other_node();
	if (!CHECK_GE(to, 0))
		return;
	CHECK_EQ(cdm_set_pool(from, CDM_POOL_KB, 1), 1);
	CHECK_EQ(cdm_set_pool(to, CDM_POOL_KB, 1), 1);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_loose, 1, from).ret, 0);
	CHECK_EQ(task_call(&task, op_touch_huge, 0, 1).dev, 1);
	CHECK_EQ(cdm_usage(group, from), base(1));
	page = (void *)task_call(&task, op_address, 0, 0).ret;
	CHECK_EQ(sys_move_pages(task.pid, 1, &page, &to, &status,
				MPOL_MF_MOVE_ALL), 0);
	CHECK_EQ(status, to);
	CHECK_EQ(cdm_usage(group, from), 0);
	CHECK_EQ(cdm_usage(group, to), base(1));
	task_end(&task);
	CHECK_EQ(cdm_usage(group, to), 0);
	CHECK_EQ(cdm_set_pool(from, CDM_POOL_KB, 0), 0);
	CHECK_EQ(cdm_set_pool(to, CDM_POOL_KB, 0), 0);
	CHECK_EQ(cdm_hotplug("remove", NULL), 0);
}

/* Offlined, a page is replaced by one of the pool, with the same owner. */
static struct cdm_reply op_soft_offline(struct cdm_buf *buf, long huge, long b)
{
	struct cdm_reply reply = {
		.ret = op_frame(buf, base(huge) + 3, 0).ret,
	};

	(void)b;
	if (madvise(buf->addr + (base(huge) + 3) * cdm_psize, cdm_psize,
		    MADV_SOFT_OFFLINE))
		reply.ret = -errno;
	return reply;
}

static void test_soft_offline(const char *group)
{
	struct cdm_task task;
	long frame;

	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 3), 3);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_loose, 2, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch_huge, 0, 2).dev, 2);
	frame = task_call(&task, op_soft_offline, 0, 0).ret;
	CHECK_GT(frame, 0);
	CHECK_EQ(task_call(&task, op_touch_huge, 0, 2).dev, 2);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, base(2)), base(2));
	CHECK_EQ(cdm_audit(cdm_node, "poisoned"), 1);
	task_end(&task);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 0), 0);
	cdm_check_root(0);
	CHECK_EQ(cdm_audit(cdm_node, "poisoned"), 1);
	CHECK_EQ(cdm_unpoison(frame), 0);
	CHECK_EQ(cdm_audit(cdm_node, "poisoned"), 0);
	cdm_check_root(0);
}

/* A page fails in use: its user gets a signal, and its charge ends. */
#ifndef MADV_HWPOISON
#define MADV_HWPOISON	100
#endif

static struct cdm_reply op_poison(struct cdm_buf *buf, long huge, long b)
{
	struct cdm_reply reply = { .ret = op_frame(buf, base(huge), 0).ret };

	(void)b;
	signal(SIGBUS, SIG_IGN);
	if (madvise(buf->addr + base(huge) * cdm_psize, cdm_psize,
		    MADV_HWPOISON))
		reply.ret = -errno;
	return reply;
}

static void test_poison(const char *group)
{
	struct cdm_task task;

	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 2), 2);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_loose, 2, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch_huge, 0, 2).dev, 2);
	/* The signal of a fault cannot be ignored, and kills the worker. */
	task_send(&task, op_poison, 0, 0);
	CHECK_EQ(task_end(&task), -SIGBUS);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 0), 0);
	/* All except the bad page can be used again. */
	cdm_check_root(0);
	CHECK_EQ(cdm_audit(cdm_node, "poisoned"), 1);
}

static long huge_key(const char *key)
{
	return file_key("/proc/meminfo", key);
}

/* Reserve, and use, under a policy for the device with @mode. */
static struct cdm_reply op_reserve(struct cdm_buf *buf, long huge, long mode)
{
	struct cdm_reply reply;

	/* See buf_map_pool(): what is written to is this process's own. */
	buf->pages = 0;
	errno = 0;
	if (sys_set_mempolicy(mode, 1UL << cdm_node))
		return buf_errno(-1);
	reply = buf_map_pool(buf, huge, -1, MAP_PRIVATE);
	sys_set_mempolicy(MPOL_DEFAULT, 0);
	if (reply.ret)
		return reply;
	return buf_errno(sys_mbind(buf->addr, buf->pages * cdm_psize, mode,
				   cdm_node, 0));
}

/*
 * Who is denied the device cannot have its pool promised, whether he names it
 * or not; and cannot keep it from who may have it.
 */
static void test_denied(const char *group)
{
	struct cdm_task denied, task;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_write(a, "cdm.max", "default 0"), 0);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 5), 5);
	task_start(&denied, a);
	CHECK_EQ(task_call(&denied, op_map_pool, 1, -1).ret, -ENOMEM);
	CHECK_EQ(task_call(&denied, op_map_pool, 1, cdm_node).ret, -ENOMEM);
	/* Nor pages beyond the pool. */
	CHECK_EQ(file_write(CDM_OVERCOMMIT, "3"), 0);
	CHECK_EQ(task_call(&denied, op_map_pool, 1, cdm_node).ret, -ENOMEM);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 5), 5);
	CHECK_EQ(file_write(CDM_OVERCOMMIT, "0"), 0);
	CHECK_EQ(huge_key("HugePages_Rsvd:"), 0);

	task_start(&task, b);
	CHECK_EQ(task_call(&task, op_map_pool, 5, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch_huge, 0, 5).dev, 5);
	task_end(&task);
	task_end(&denied);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 0), 0);
	cdm_check_root(0);
}

/* What is reserved is there, and nobody else takes it. */
static void test_reserved(const char *group)
{
	struct cdm_task task, other;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 5), 5);
	CHECK_EQ(cdm_limit(a, cdm_node, base(4)), 0);
	task_start(&task, a);
	task_start(&other, b);
	/* No more than the limit, in one piece or several. */
	CHECK_EQ(task_call(&task, op_map_pool, 5, cdm_node).ret, -ENOMEM);
	CHECK_EQ(task_call(&other, op_map_pool, 2, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_map_pool, 4, cdm_node).ret, -ENOMEM);
	CHECK_EQ(task_call(&task, op_map_pool, 3, cdm_node).ret, 0);
	CHECK_EQ(huge_key("HugePages_Rsvd:"), 0);
	/* All five are free and reserved; none can leave the pool. */
	CHECK_EQ(free_pool(cdm_node), 5);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 0), 5);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 5), 5);
	task_end(&other);
	task_start(&other, b);
	CHECK_EQ(task_call(&other, op_map_loose, 4, cdm_node).ret, 0);
	CHECK_EQ(task_call(&other, op_touch_huge, 0, 4).dev, 2);
	CHECK_EQ(task_call(&task, op_touch_huge, 0, 3).dev, 3);
	task_end(&other);
	/* What is discarded is reserved again, with a policy or without. */
	CHECK_EQ(task_call(&task, op_discard, base(1), base(1)).ret, 0);
	CHECK_EQ(huge_key("HugePages_Rsvd:"), 0);
	task_start(&other, b);
	CHECK_EQ(task_call(&other, op_map_loose, 4, cdm_node).ret, 0);
	CHECK_EQ(task_call(&other, op_touch_huge, 0, 4).dev, 2);
	CHECK_EQ(task_call(&task, op_touch_huge, 0, 3).dev, 3);
	task_end(&other);
	/* What was used is used up; the rest goes with the map. */
	CHECK_EQ(task_call(&task, op_unmap, 0, base(3)).ret, 0);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 0), 0);
	CHECK_EQ(task_call(&task, op_map_pool, 4, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch_huge, 0, 1).dev, 1);
	task_end(&task);
	task_start(&task, a);
	CHECK_EQ(task_call(&task, op_map_pool, 4, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch_huge, 0, 4).dev, 4);
	task_end(&task);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 0), 0);
	cdm_check_root(0);
}

/* A group may go while what it reserved stays, in a file. */
static void test_reserved_file(const char *group)
{
	struct cdm_task task, other;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 4), 4);
	task_start(&task, a);
	CHECK_EQ(task_call(&task, op_map_shared, 4, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch_huge, 0, 1).dev, 1);
	CHECK_EQ(task_fork_into(&task, &other, b), 0);
	task_end(&task);
	CHECK_EQ(rmdir(a), 0);
	CHECK_EQ(task_call(&other, op_touch_huge, 0, 4).dev, 4);
	task_end(&other);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	/* Nothing of it is left. */
	task_start(&task, b);
	CHECK_EQ(task_call(&task, op_map_pool, 4, cdm_node).ret, 0);
	task_end(&task);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 0), 0);
	cdm_check_root(0);
}

/* One who only prefers the device reserves in RAM what it does not have. */
static void test_prefer(const char *group)
{
	struct cdm_task task, loose;
	struct cdm_reply reply;

	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 2), 2);
	CHECK_EQ(cdm_set_pool(cdm_ram_node, CDM_POOL_KB, 3), 3);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_reserve, 2, MPOL_PREFERRED).ret, 0);
	CHECK_EQ(huge_key("HugePages_Rsvd:"), 0);
	CHECK_EQ(task_call(&task, op_touch_huge, 0, 2).dev, 2);
	task_call(&task, op_unmap, 0, base(2));
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	CHECK_EQ(task_call(&task, op_reserve, 3, MPOL_PREFERRED).ret, 0);
	CHECK_EQ(huge_key("HugePages_Rsvd:"), 3);
	CHECK_EQ(task_call(&task, op_map_pool, 4, -1).ret, -ENOMEM);
	CHECK_EQ(huge_key("HugePages_Rsvd:"), 3);
	task_end(&task);
	CHECK_EQ(huge_key("HugePages_Rsvd:"), 0);

	/* Falling back does not take what is reserved in RAM. */
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_pool, 3, -1).ret, 0);
	task_start(&loose, group);
	CHECK_EQ(task_call(&loose, op_map_loose, 4, cdm_node).ret, 0);
	reply = task_call(&loose, op_touch_huge, 0, 4);
	CHECK_EQ(reply.dev, 2);
	CHECK_EQ(reply.ram, 0);
	CHECK_EQ(reply.bus, 2);
	CHECK_EQ(task_call(&task, op_touch_huge, 0, 3).ram, 3);
	task_end(&loose);
	task_end(&task);
	CHECK_EQ(cdm_set_pool(cdm_ram_node, CDM_POOL_KB, 0), 0);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 0), 0);
	cdm_check_root(0);
}

/* Who is bound to the device reserves beyond its pool, and gives it back. */
static void test_reserve_more(const char *group)
{
	struct cdm_task task;

	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 1), 1);
	CHECK_EQ(cdm_set_pool(cdm_ram_node, CDM_POOL_KB, 5), 5);
	CHECK_EQ(file_write(CDM_OVERCOMMIT, "2"), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_pool, 4, cdm_node).ret, -ENOMEM);
	CHECK_EQ(task_call(&task, op_map_pool, 3, cdm_node).ret, 0);
	CHECK_EQ(huge_key("HugePages_Rsvd:"), 0);
	CHECK_EQ(free_pool(cdm_node), 3);
	CHECK_EQ(task_call(&task, op_touch_huge, 0, 2).dev, 2);
	task_end(&task);
	CHECK_EQ(huge_key("HugePages_Rsvd:"), 0);
	CHECK_EQ(huge_key("HugePages_Free:"), 5);
	CHECK_EQ(free_pool(cdm_node), 1);
	CHECK_EQ(file_write(CDM_OVERCOMMIT, "0"), 0);
	CHECK_EQ(cdm_set_pool(cdm_ram_node, CDM_POOL_KB, 0), 0);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 0), 0);
	cdm_check_root(0);
}

#define TARGET	"/proc/sys/vm/nr_hugepages"

/* Numbers and targets that are of no node are of RAM. */
static void test_numbers(const char *group)
{
	long limit = huge_key("CommitLimit:");
	struct cdm_task task;

	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 5), 5);
	CHECK_EQ(huge_key("CommitLimit:"), limit);
	CHECK_EQ(file_long(TARGET), 0);
	CHECK_EQ(huge_key("HugePages_Total:"), 0);
	CHECK_EQ(huge_key("HugePages_Free:"), 0);
	CHECK_EQ(huge_key("Hugetlb:"), 0);
	CHECK_EQ(file_write(TARGET, "3"), 0);
	CHECK_EQ(file_long(TARGET), 3);
	CHECK_EQ(huge_key("HugePages_Total:"), 3);
	CHECK_EQ(huge_key("HugePages_Free:"), 3);
	CHECK_EQ(huge_key("Hugetlb:"), 3 * CDM_POOL_KB);
	CHECK_EQ(free_pool(cdm_node), 5);

	/* What is reserved in RAM cannot be taken for what is on the device. */
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_pool, 2, -1).ret, 0);
	CHECK_EQ(file_write(TARGET, "0"), 0);
	CHECK_EQ(huge_key("HugePages_Free:"), 2);
	CHECK_EQ(free_pool(cdm_node), 5);
	CHECK_EQ(task_call(&task, op_touch_huge, 0, 2).ram, 2);
	task_end(&task);
	CHECK_EQ(file_write(TARGET, "0"), 0);
	CHECK_EQ(huge_key("HugePages_Total:"), 0);
	CHECK_EQ(free_pool(cdm_node), 5);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 0), 0);
	cdm_check_root(0);
}

int main(void)
{
	cdm_init(22);
	if (!file_exists(cdm_pool_path(cdm_node, CDM_POOL_KB, "nr_hugepages")))
		ksft_exit_skip("no huge pages\n");
	cdm_case("a pool is the root's", test_pool);
	cdm_case("a page in use is its user's", test_use);
	cdm_case("pages of a pool by policies", test_policies);
	cdm_case("refused by a quota", test_refused);
	cdm_case("a copy is not refused", test_copy);
	cdm_case("overcommitted pages come from RAM", test_overcommit);
	cdm_case_arg("room is made by demotion (reclaim)", test_reclaim,
		     "reclaim");
	cdm_case_arg("room is made by demotion (reclaim,fail)", test_reclaim,
		     "reclaim,fail");
	cdm_case("a child's copy is the child's", test_fork);
	cdm_case("the first to touch a shared page pays", test_shared);
	cdm_case("moved to the device and back", test_move);
	cdm_case("another CPU's stock is no obstacle to a move",
		 test_move_stock);
	cdm_case("a page in RAM is from the RAM that is named", test_named);
	cdm_case("moved by somebody else to another device", test_moved);
	cdm_case("a page is taken out of service", test_soft_offline);
	cdm_case("who is denied reserves nothing", test_denied);
	cdm_case("what is reserved is there", test_reserved);
	cdm_case("a file's reservation", test_reserved_file);
	cdm_case("reserved in RAM by who prefers the device", test_prefer);
	cdm_case("reserved beyond the pool", test_reserve_more);
	cdm_case("numbers and targets are those of RAM", test_numbers);
	cdm_case("a page fails in use", test_poison);
	cdm_exit();
}
