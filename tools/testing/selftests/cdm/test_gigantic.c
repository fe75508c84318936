// SPDX-License-Identifier: GPL-2.0
/*
 * Pages of 1 GiB, which are taken out of the node as a contiguous range: what
 * was there is migrated away, at its owners' expense still. Those that the
 * command line asks for come from RAM, or not at all.
 *
 * vm: --nodes big --append hugepagesz=1G --append hugepages=3
 */

#include <linux/mempolicy.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "cdm_util.h"

#ifndef MAP_HUGE_1GB
#define MAP_HUGE_1GB	(30 << 26)
#endif

#define GIB		(1L << 30)

static const char *pool_path(int node, const char *file)
{
	static char path[256];

	snprintf(path, sizeof(path),
		 "/sys/devices/system/node/node%d/hugepages/hugepages-1048576kB/%s",
		 node, file);
	return path;
}

static long set_pool(int node, long pages)
{
	file_write(pool_path(node, "nr_hugepages"), "%ld", pages);
	return file_long(pool_path(node, "nr_hugepages"));
}

static long base(long pages)
{
	return pages * (GIB / cdm_psize);
}

static void check_root(long pages)
{
	CHECK_EQ(cdm_settle(cdm_root, cdm_node, pages), pages);
	CHECK_EQ(cdm_audit(cdm_node, "unowned"), 0);
	CHECK_EQ(cdm_audit(cdm_node, "stale"), 0);
	CHECK_EQ(cdm_audit(cdm_node, "charged"), pages);
}

/* The command line has asked for more than RAM has, and the device has some. */
static void test_boot(const char *group)
{
	(void)group;
	CHECK_EQ(file_long(pool_path(cdm_node, "nr_hugepages")), 0);
	CHECK_GE(file_long(pool_path(cdm_ram, "nr_hugepages")), 1);
	check_root(0);
	CHECK_EQ(set_pool(cdm_ram, 0), 0);
	check_root(0);
}

/* The pool is the root's, whoever makes it, and however often. */
static struct cdm_reply op_set_pool(struct cdm_buf *buf, long node, long pages)
{
	struct cdm_reply reply = { .ret = set_pool(node, pages) };

	(void)buf;
	return reply;
}

static void test_pool(const char *group)
{
	struct cdm_task task;
	int i;

	CHECK_EQ(cdm_write(group, "cdm.max", "default 0"), 0);
	task_start(&task, group);
	for (i = 0; i < 3; i++) {
		CHECK_EQ(task_call(&task, op_set_pool, cdm_node, 1).ret, 1);
		CHECK_EQ(cdm_pages(group, cdm_node), 0);
		check_root(base(1));
		CHECK_EQ(task_call(&task, op_set_pool, cdm_node, 0).ret, 0);
		check_root(0);
	}
	task_end(&task);
}

#define PAGES	20000

/* Discard all but one in sixteen pages, so that they are everywhere. */
static struct cdm_reply op_thin(struct cdm_buf *buf, long pages, long b)
{
	long i;

	(void)b;
	for (i = 0; i < pages; i += 16)
		op_discard(buf, i, 15);
	return buf_errno(0);
}

/*
 * Pages of two groups are where the range is to be. They are moved within the
 * node, or to RAM, and each group is charged for its own that are on the node.
 */
static void test_occupied(const char *group)
{
	struct cdm_task task[2];
	struct cdm_reply reply;
	char *child[2];
	long dev = 0;
	int i;

	cdm_two_groups(group, &child[0], &child[1]);
	for (i = 0; i < 2; i++)
		task_start_on(&task[i], child[i], PAGES, cdm_node);
	for (i = 0; i < 2; i++) {
		task_call(&task[i], op_thin, PAGES, 0);
		CHECK_EQ(cdm_settle(child[i], cdm_node, PAGES / 16),
			 PAGES / 16);
	}
	CHECK_EQ(set_pool(cdm_node, 1), 1);
	for (i = 0; i < 2; i++) {
		reply = task_call(&task[i], op_count, 0, PAGES);
		CHECK_EQ(reply.dev + reply.ram, PAGES / 16);
		CHECK_EQ(reply.bad, 0);
		CHECK_EQ(cdm_settle(child[i], cdm_node, reply.dev), reply.dev);
		dev += reply.dev;
	}
	check_root(base(1) + dev);
	task_end(&task[0]);
	CHECK_EQ(cdm_settle(child[0], cdm_node, 0), 0);
	task_end(&task[1]);
	CHECK_EQ(cdm_settle(child[1], cdm_node, 0), 0);
	check_root(base(1));
	CHECK_EQ(set_pool(cdm_node, 0), 0);
	check_root(0);
}

static struct cdm_reply op_map_gib(struct cdm_buf *buf, long pages, long node)
{
	buf->pages = base(pages);
	buf->addr = mmap(NULL, pages * GIB, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
			 MAP_HUGETLB | MAP_HUGE_1GB, -1, 0);
	if (buf->addr == MAP_FAILED)
		return buf_errno(-1);
	return op_bind(buf, node, 0);
}

/* In use it is its user's, if the user has that much. */
static void test_use(const char *group)
{
	struct cdm_reply reply;
	struct cdm_task task;

	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	CHECK_EQ(cdm_limit(group, cdm_node, base(1) - 1), 0);
	CHECK_EQ(set_pool(cdm_node, 1), 1);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_gib, 1, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 1).bus, 1);
	CHECK_EQ(cdm_pages(group, cdm_node), 0);
	check_root(base(1));
	CHECK_EQ(cdm_limit(group, cdm_node, base(1)), 0);
	reply = task_call(&task, op_touch, 0, 1);
	CHECK_EQ(reply.dev, 1);
	CHECK_EQ(cdm_pages(group, cdm_node), base(1));
	check_root(base(1));
	task_end(&task);
	CHECK_EQ(cdm_settle(group, cdm_node, 0), 0);
	check_root(base(1));
	CHECK_EQ(set_pool(cdm_node, 0), 0);
	check_root(0);
}

int main(void)
{
	cdm_init(4);
	if (!file_exists(pool_path(cdm_node, "nr_hugepages")))
		ksft_exit_skip("no pages of 1 GiB\n");
	cdm_case("pages from the command line are in RAM", test_boot);
	cdm_case("a pool is the root's", test_pool);
	cdm_case("what is in the way stays its owners'", test_occupied);
	cdm_case("a page in use is its user's", test_use);
	cdm_exit();
}
